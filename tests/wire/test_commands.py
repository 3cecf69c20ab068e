# SPDX-License-Identifier: MIT
"""The command line without a running ginnel: commands, help, refusals, exit codes, colours."""

import json
import os
import pathlib
import pty
import subprocess

import pytest

from harness import binary, run_ginnel, scaled
from harness.ginnel import environment

ROOT = pathlib.Path(__file__).resolve().parents[2]
WRONG = "listen: 127.0.0.1:0\nworkes: 2\n"


def on_terminal(home, *args, **env):
    """Runs the program with stderr on a terminal; what the terminal got, and the exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([binary(), *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs,
                               env=environment(home, **env), cwd=home)
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not data:
            break
        seen += data
    os.close(ours)
    return seen.decode(), process.wait(scaled(10))


# --- help ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args,words", [
    (["--help"], ["usage: ginnel", "check [FILE]", "config schema", "completion bash|zsh|fish"]),
    (["help"], ["usage: ginnel", "reload"]),
    (["help", "status"], ["usage: ginnel status", "--json"]),
    (["status", "--help"], ["usage: ginnel status", "--exchanges N"]),
    (["help", "config"], ["usage: ginnel config show", "usage: ginnel config schema"]),
    (["config", "show", "-h"], ["usage: ginnel config show", "--running"]),
    (["help", "trust"], ["not in this build"]),
    (["help", "why"], ["usage: ginnel why", "[--header FIELD]", " URL"]),
])
def test_help(args, words):
    """CONFIG"""
    ran = run_ginnel(*args)
    assert ran.returncode == 0 and not ran.stderr
    for word in words:
        assert word in ran.stdout
    assert "trust" in args or "Install the certificate" not in ran.stdout
    assert max(map(len, ran.stdout.split("\n"))) <= 80


@pytest.mark.parametrize("args,says", [
    (["chekc"], "did you mean `check`?"),
    (["config"], "`config show` `config schema`"),
    (["config", "shwo"], "did you mean `config show`?"),
    (["--confg", "x"], "did you mean `--config`?"),
    (["status", "--jsn"], "did you mean `--json`?"),
    (["help", "nope"], "no such command"),
    (["status", "--listen", "127.0.0.1:1"], "--listen does not go with `status`"),
    (["status", "--exchanges", "many"], "a number up to"),
    (["completion", "tcsh"], "bash|zsh|fish"),
    (["-c", "a", "-c", "b"], "given twice"),
    (["\x1b[31mred"], "\\x1b"),
])
def test_refusals(args, says):
    """CONFIG: 64, one line, and what was probably meant"""
    ran = run_ginnel(*args)
    assert ran.returncode == 64 and not ran.stdout
    assert says in ran.stderr and ran.stderr.count("\n") == 1 and "\x1b" not in ran.stderr


@pytest.mark.parametrize("args,name", [
    (["flows"], "flows"), (["trust"], "trust"), (["env"], "env"),
    (["run", "--", "curl", "-v"], "run"),
])
def test_not_in_this_build(args, name):
    """CONFIG: known, and refused by name"""
    ran = run_ginnel(*args)
    assert ran.returncode == 64 and not ran.stdout
    assert ran.stderr == f"ginnel: `{name}` is not in this build\n"


# --- check ---------------------------------------------------------------------------------------------------------


def test_check(tmp_path):
    """CONFIG"""
    (tmp_path / "good.yaml").write_text("listen: 127.0.0.1:0\n")
    (tmp_path / "wrong.yaml").write_text(WRONG + "via: maybe\n")
    for args in (["check", tmp_path / "good.yaml"], ["check", "-c", tmp_path / "good.yaml"], ["-c", tmp_path / "good.yaml", "check"]):
        ran = run_ginnel(*args)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"{tmp_path}/good.yaml: correct\n", "")
    ran = run_ginnel("check", tmp_path / "wrong.yaml")
    assert ran.returncode == 78 and not ran.stdout
    assert f"{tmp_path}/wrong.yaml:2:1:" in ran.stderr and f"{tmp_path}/wrong.yaml:3:6:" in ran.stderr
    assert run_ginnel("check", tmp_path / "none.yaml").returncode == 66


def test_colours(tmp_path):
    """Only on a terminal, and not where NO_COLOR asks for none."""
    (tmp_path / "wrong.yaml").write_text(WRONG)
    seen, code = on_terminal(tmp_path, "check", "wrong.yaml")
    assert code == 78 and "\x1b[" in seen and "did you mean" in seen
    seen, code = on_terminal(tmp_path, "check", "wrong.yaml", NO_COLOR="1")
    assert code == 78 and "\x1b" not in seen and "did you mean" in seen
    assert "\x1b" not in run_ginnel("check", tmp_path / "wrong.yaml").stderr


# --- config show, config schema, completion ------------------------------------------------------------------------


def test_config_show(tmp_path):
    """What it prints loads, and means the same."""
    given, shown = tmp_path / "given.yaml", tmp_path / "shown.yaml"
    given.write_text("name: x\nlisten: [localhost:8080, {address: 10.0.0.1:1, name: lan}]\nclients: [10.0.0.0/9, 10.128.0.0/9]\n"
                     "timeouts: {connect: 90s}\nlog: {for: [.b.example, a.example], tunnels: every 5m}\n")
    first = run_ginnel("config", "show", "-c", given)
    assert first.returncode == 0 and not first.stderr
    shown.write_text(first.stdout)
    second = run_ginnel("-c", shown, "config", "show")
    assert second.returncode == 0
    assert first.stdout.split("\n", 1)[1] == second.stdout.split("\n", 1)[1]
    assert f"# {given}, completed" in first.stdout and "- 10.0.0.0/8\n" in first.stdout and "  connect: 90s\n" in first.stdout


def test_config_show_defaults(tmp_path):
    ran = run_ginnel("config", "show", "--defaults")
    assert ran.returncode == 0 and "\n  connect: 10s\n" in ran.stdout and "\nworkers: auto\n" in ran.stdout
    (tmp_path / "defaults.yaml").write_text(ran.stdout)
    assert run_ginnel("check", tmp_path / "defaults.yaml").returncode == 0


def test_config_show_of_a_wrong_file(tmp_path):
    (tmp_path / "wrong.yaml").write_text(WRONG)
    ran = run_ginnel("config", "show", "-c", tmp_path / "wrong.yaml")
    assert ran.returncode == 78 and not ran.stdout and "workes" in ran.stderr


def test_config_schema():
    ran = run_ginnel("config", "schema")
    assert ran.returncode == 0 and not ran.stderr
    assert json.loads(ran.stdout)["$schema"] == "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["config", "show"], ["config", "schema"], ["completion", "bash"]])
def test_output_that_cannot_be_written(tmp_path, args):
    """74: a full disk is not a success"""
    with open("/dev/full", "w", encoding="ascii") as full:
        ran = subprocess.run([binary(), *args], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
                             env=environment(tmp_path), cwd=tmp_path, timeout=scaled(10))
    assert ran.returncode == 74 and "cannot write to stdout" in ran.stderr
