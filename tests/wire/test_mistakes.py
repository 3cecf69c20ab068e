# SPDX-License-Identifier: MIT
"""Typical mistakes in a configuration: from each message a person gets to a working file without the manual.

The person here knows nothing but the messages: which line and column, and what the hint says. What they do is taken from the hint's
words; where a hint vanishes or changes its meaning, they are stuck, and the test fails.
"""

import json
import os
import pathlib
import re

import pytest

from harness import eventually, free_port, request, run_ginnel

PROBLEM = re.compile(r"^(\S+):(\d+):(\d+): (.*)\n.*\n.*\^(?:\n   hint: (.*))?$", re.M)


class Problem:
    """The first thing that `ginnel check` complains about."""

    def __init__(self, text):
        match = PROBLEM.search(text)
        assert match, f"no message with a place, the line and a caret:\n{text}"
        self.path, line, column, self.message, self.hint = match.groups()
        self.path, self.row, self.column = pathlib.Path(self.path), int(line) - 1, int(column) - 1
        words = re.search(r" wants (\S+(?:, \S+)* or \S+), not ", self.message)
        self.words = re.split(r", | or ", words.group(1)) if words else []
        assert self.hint or self.words, f"no hint:\n{text}"


class Person:
    """Reads a message, does what its hint says."""

    def __init__(self, problem):
        self.problem = problem
        self.lines = problem.path.read_text().split("\n")

    @property
    def line(self):
        return self.lines[self.problem.row]

    @line.setter
    def line(self, text):
        self.lines[self.problem.row] = text

    def replace(self, pattern, text):
        """Puts text where the pattern matches at the caret."""
        start = self.problem.column
        match = re.compile(pattern).match(self.line, start)
        assert match, f"nothing to replace at column {start + 1} of {self.line!r}"
        self.line = self.line[:start] + text + self.line[match.end():]

    def follow(self):
        """Does what the hint says; without one, takes the word of the message that looks most like what was written."""
        if not self.problem.hint:
            written = re.compile(r"[^\s,{}\[\]]+").match(self.line, self.problem.column).group()
            self.another_word(max(self.problem.words, key=lambda word: len(os.path.commonprefix([word, written]))))
            self.problem.path.write_text("\n".join(self.lines))
            return
        for pattern, act in HINTS:
            match = re.search(pattern, self.problem.hint)
            if match:
                act(self, *match.groups())
                self.problem.path.write_text("\n".join(self.lines))
                return
        raise AssertionError(f"a person does not know what to do with {self.problem.hint!r}")

    # --- what people do ---

    def another_word(self, word):
        self.replace(r"[^\s:,{}\[\]\"']+", word)

    def another_value(self, value):
        self.replace(r"\"[^\"]*\"|'[^']*'|\[[^\]]*\]:\d+|[^\s,{}\[\]]+", value)

    def a_unit(self, unit):
        self.replace(r"(\d+)", re.compile(r"\d+").match(self.line, self.problem.column).group() + unit)

    def blanks(self):
        self.line = self.line.replace("\t", "  ")

    def quotes(self):
        key, value = re.match(r"(\s*(?:- |[\w-]+: *))(.*)", self.line).groups()
        self.line = f'{key}"{value.strip()}"'

    def one_more_line(self, text):
        self.lines.insert(0, text)

    def a_blank(self, key):
        self.replace(re.escape(key), key + " ")

    def the_same_column(self):
        """As deep as a line before it that has the same kind of content; the shallower of the two next to it."""
        before = next(line for line in reversed(self.lines[:self.problem.row]) if line.strip() and not line.rstrip().endswith(":"))
        depth = len(before) - len(before.lstrip())
        self.line = " " * depth + self.line.lstrip()

    def into_a_section(self, section, key):
        """Out of its place, and the example of the hint with the value that was written."""
        value = re.fullmatch(rf"\s*{key}\s*:\s*(.*)", self.line).group(1)
        self.line = f"{section}: {{{key}: {value}}}"

    def to_the_top(self, _key):
        text = self.line.strip()
        del self.lines[self.problem.row]
        self.lines.insert(0, text)

    def a_map(self):
        self.line = re.sub(r"^(\s*)(\S+)\s+", r"\1\2: ", self.line)

    def no_dashes(self):
        """Of the section that the caret is in."""
        for row in range(self.problem.row, len(self.lines)):
            self.lines[row] = re.sub(r"^(\s*)- ", r"\1  ", self.lines[row])

    def the_file_beside(self):
        """The path is relative to the file: so the list belongs beside it."""
        name = re.search(r"\./([\w.-]+)", self.line).group(1)
        (self.problem.path.parent.parent / name).rename(self.problem.path.parent / name)

    def remove_the_line(self):
        del self.lines[self.problem.row]


HINTS = [
    (r"did you mean `([^`]+)`\?$", Person.another_word),
    (r"write `([\w-]+: [^`…]+)` \(or .* for an open proxy\)", Person.one_more_line),
    (r"the port is missing: (\S+)$", Person.another_value),
    (r"the address is missing: (\S+)$", Person.another_value),
    (r"write the address too: (\S+?)(?:,|$)", Person.another_value),
    (r"an IPv6 address stands in brackets, its port behind them: (\"\S+\")", Person.another_value),
    (r"a number and a unit: .*?\b10(s)\b", Person.a_unit),
    (r"a number and a unit: .*?\b20(MB)\b", Person.a_unit),
    (r"indent with blanks", Person.blanks),
    (r"an IPv6 address is quoted", Person.quotes),
    (r"(?:everybody|everything) is `(any)`", Person.another_value),
    (r"all addresses are (\S+)", Person.another_value),
    (r"a blank belongs behind the colon: `([\w-]+:) …`", Person.a_blank),
    (r"in the same column", Person.the_same_column),
    (r"write `([\w-]+): \{([\w-]+): …\}`", Person.into_a_section),
    (r"`([\w-]+)` stands at the top of the file", Person.to_the_top),
    (r"bits behind the prefix are zero: (\S+)", Person.another_value),
    (r"write `key: value`", Person.a_map),
    (r"write one map, without dashes", Person.no_dashes),
    (r"relative to the file that names it", Person.the_file_beside),
    (r"it stands in line \d+ already", Person.remove_the_line),
]

# name: (what was written, what a person ends with)
MISTAKES = {
    "wrong key": ("workes: 2\n", r"^workers: 2$"),
    "underscore": ("timeouts: {half_close: 30s}\n", r"half-close: 30s"),
    "wrong word": ("log: {level: warning}\n", r"level: warn\b"),
    "tab": ("timeouts:\n\tconnect: 5s\n", r"^timeouts:\n +connect: 5s$"),
    "missing unit": ("timeouts: {connect: 5}\n", r"connect: 5s"),
    "missing port": ("listen: 127.0.0.1\n", r"^listen: 127\.0\.0\.1:3128$"),
    "missing address": ("listen: :3128\n", r"^listen: \S+:3128$"),
    "IPv6 without quotes": ("listen: [::1]:3128\n", r'^listen: "\[::1\]:3128"$'),
    "IPv6 without brackets": ('listen: "::1:3128"\n', r'^listen: "\[::1\]:3128"$'),
    "an open proxy": ("listen: 0.0.0.0:3128\n", r"^clients: \[10\.0\.0\.0/8\]\nlisten: 0\.0\.0\.0:3128$"),
    "star for everybody": ("clients: '*'\nlisten: 0.0.0.0:3128\n", r"^clients: any$"),
    "bare star": ("clients: *\nlisten: 0.0.0.0:3128\n", r"^clients: any$"),
    "star as address": ("listen: '*:3128'\nclients: [10.0.0.0/8]\n", r"^listen: 0\.0\.0\.0:3128$"),
    "range with host bits": ("clients: [10.1.2.3/8]\n", r"^clients: \[10\.0\.0\.0/8\]$"),
    "no blank behind the colon": ("via:off\n", r"^via: off$"),
    "wrong indentation": ("timeouts:\n  connect: 5s\n   idle: 5m\n", r"^timeouts:\n  connect: 5s\n  idle: 5m$"),
    "less indentation": ("timeouts:\n    connect: 5s\n  idle: 5m\n", r"^timeouts:\n    connect: 5s\n    idle: 5m$"),
    "key at the wrong level": ("connect: 5s\n", r"^timeouts: \{connect: 5s\}$"),
    "top key in a section": ("timeouts:\n  connect: 5s\n  via: off\n", r"^via: off\ntimeouts:\n  connect: 5s$"),
    "list where a map belongs": ("timeouts:\n  - connect: 5s\n  - idle: 5m\n", r"^timeouts:\n +connect: 5s\n +idle: 5m$"),
    "key given twice": ("name: a\nname: a\n", r"\Aname: a\n*\Z"),
    "as squid writes it": ("http_port 3128\n", r"^listen: \S*:3128$"),
    "as squid writes it, with a colon": ("http_port: 3128\n", r"^listen: \S*:3128$"),
    "a port for an address": ("listen: 8080\n", r"^listen: \S+:8080$"),
    "list file in another directory": ("clients: [./list.txt]\n", r"^clients: \[\./list\.txt\]$"),
    "five at once": ("listen: 0.0.0.0\nworkes: 2\ntimeouts:\n\tconnect: 5\n\ttunel: 1h\n",
                     r"^clients: \[10\.0\.0\.0/8\]\nlisten: 0\.0\.0\.0:3128\nworkers: 2\ntimeouts:\n +connect: 5s\n +tunnel: 1h$"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_from_the_message_to_a_working_file(tmp_path, mistake):
    """CONFIG: each hint, followed word for word, leads on, and after a few of them the file is right, and means what was meant"""
    text, meant = MISTAKES[mistake]
    etc = tmp_path / "etc"
    etc.mkdir()
    path = etc / "ginnel.yaml"
    path.write_text(text)
    (tmp_path / "list.txt").write_text("10.0.0.0/8\n")
    messages = []
    for _ in range(8):
        result = run_ginnel("check", path)
        if result.returncode == 0:
            break
        assert result.returncode == 78, result
        messages.append(result.stderr)
        Person(Problem(result.stderr)).follow()
    else:
        raise AssertionError(f"still wrong: {path.read_text()!r}; the messages:\n" + "\n".join(messages))
    assert messages, "nothing was wrong with it"
    assert re.search(meant, path.read_text(), re.M), path.read_text()


def test_the_mended_file_serves(start, web, tmp_path):
    """CONFIG: what was mended is what runs"""
    port = free_port()
    path = tmp_path / "ginnel.yaml"
    path.write_text(f"listen: :{port}\nnmae: mended\nlog: {{access: of}}\n")
    while (result := run_ginnel("check", path)).returncode:
        Person(Problem(result.stderr)).follow()
    proxy = start(False, args=["-c", str(path)])
    assert proxy.port == port and proxy.client().ask(request("GET", web.url("/"))).status == 200
    assert web.requests[-1].value("via") == "1.1 mended"


def test_the_same_words_at_the_start_and_at_a_reload(start):
    """CONFIG: who mends a running configuration reads the same messages"""
    text = "listen: 127.0.0.1:0\nworkes: 2\n"
    proxy = start()
    proxy.write_config(text)
    problems = [Problem(run.stderr) for run in (run_ginnel("check", proxy.config_path), run_ginnel("-c", proxy.config_path), proxy.command("reload"))]
    eventually(lambda: "did you mean `workers`?" in proxy.stderr(), what="the hint in the log")
    assert len({(p.row, p.column, p.message, p.hint) for p in problems}) == 1
    assert json.loads(proxy.control("GET", "/status?json").body)["last_reload"]["errors"].count("did you mean `workers`?") == 1
