# SPDX-License-Identifier: MIT
"""The completions of the command line, as real shells offer them."""

import os
import pty
import select
import subprocess

import pytest

from harness import Deadline, binary
from harness.origins import clean_env

COMMANDS = {"check", "config", "status", "reload", "drain", "why", "denied", "policy", "passwd", "completion", "help"}
FILES = {"apple.yaml", "two words.yaml"}
# the line up to the cursor -> what is offered for its last word; None: exactly the files
CASES = {
    "ginnel ": COMMANDS,
    "ginnel con": {"config"},
    "ginnel config ": {"show", "schema"},
    "ginnel config s": {"show", "schema"},
    "ginnel config sh": {"show"},
    "ginnel config show ": set(),
    "ginnel -c ": None,
    "ginnel --config ": None,
    "ginnel check ": None,
    "ginnel check apple.yaml ": set(),
    "ginnel -c apple.yaml ": COMMANDS,
    "ginnel -c apple.yaml config ": {"show", "schema"},
    "ginnel --config apple.yaml con": {"config"},
    "ginnel config -c apple.yaml sc": {"schema"},
    "ginnel completion ": {"bash", "zsh", "fish"},
    "ginnel completion z": {"zsh"},
    "ginnel completion zsh ": set(),
    "ginnel help ": COMMANDS,
    "ginnel status ": set(),
    "ginnel status --j": {"--json"},
    "ginnel config show --": {"--config", "--defaults", "--running", "--help"},
    "ginnel reload --": {"--config", "--help"},
    "ginnel --l": {"--listen"},
    "ginnel --listen ": set(),
    "ginnel wh": {"why"},
    "ginnel policy ": {"from-log"},
    "ginnel why --he": {"--header", "--help"},
    "ginnel policy from-log --su": {"--suffixes"},
    "ginnel fl": set(),  # `flows` is not in this build
}
LINES = pytest.mark.parametrize("line", CASES)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with two files, and the scripts outside of it."""
    top = tmp_path_factory.mktemp("completion")
    (top / "files").mkdir()
    for name in FILES:
        (top / "files" / name).touch()
    for shell in ("bash", "zsh", "fish"):
        made = subprocess.run([binary(), "completion", shell], capture_output=True, text=True, check=True, timeout=60)
        assert made.stderr == ""
        (top / f"ginnel.{shell}").write_text(made.stdout)
    (top / "zsh").mkdir()
    (top / "zsh" / "_ginnel").write_text((top / "ginnel.zsh").read_text())
    return top


def shell(place, *argv, **more):
    ran = subprocess.run(argv, cwd=place / "files", env=clean_env(place, **more), stdin=subprocess.DEVNULL, timeout=60,
                         capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and ran.stderr == "", f"{argv}: {ran}"
    return ran.stdout


def expected(line):
    return FILES if CASES[line] is None else CASES[line]


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_syntax(place, name):
    shell(place, name, "-n", str(place / f"ginnel.{name}"))


# --- bash ------------------------------------------------------------------------------------------------------------

# What readline does: cut the line into words at COMP_WORDBREAKS and call the function.
BASH = r"""
source "$1"
[[ $(complete -p ginnel) == 'complete -F _ginnel ginnel' ]] || exit 3
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_ginnel ginnel "${COMP_WORDS[COMP_CWORD]}" ""
((${#COMPREPLY[@]})) && printf '%s\n' "${COMPREPLY[@]}"
exit 0
"""


def in_bash(place, *words):
    return set(shell(place, "bash", "--norc", "-c", BASH, "bash", place / "ginnel.bash", *words).splitlines())


@LINES
def test_bash(place, line):
    assert in_bash(place, *line.split(" ")) == expected(line)


@pytest.mark.parametrize("words,offered", [
    (["ginnel", "--config", "="], FILES),
    (["ginnel", "--config", "=", "ap"], {"apple.yaml"}),
    (["ginnel", "--config", "=", "apple.yaml", "st"], {"status"}),
])
def test_bash_equals_sign(place, words, offered):
    assert in_bash(place, *words) == offered


# --- fish ------------------------------------------------------------------------------------------------------------

@LINES
def test_fish(place, line):
    out = shell(place, "fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", str(place / "ginnel.fish"), line)
    assert {offer.split("\t")[0].replace("\\ ", " ") for offer in out.splitlines()} == expected(line)


def test_fish_says_what_they_are(place):
    out = shell(place, "fish", "--no-config", "-c", "source $argv[1]; complete -C 'ginnel rel'", str(place / "ginnel.fish"))
    assert out.startswith("reload\tLet the running ginnel ")


# --- zsh -------------------------------------------------------------------------------------------------------------

# Completion works at a prompt only: a shell on a terminal of ours, in which compadd also writes down what it takes.
ZSH = r"""
PS1= PS2= RPS1=
unsetopt zle_bracketed_paste prompt_sp prompt_cr beep
fpath=($PLACE/zsh $fpath)
autoload -Uz compinit && compinit -u -D
zstyle ':completion:*' list-max 0
compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)* ]]; then
        builtin compadd "$@"
        return
    fi
    local -a offered
    builtin compadd -A offered "$@"
    print -rl -- "${offered[@]}" >> $PLACE/offered
    builtin compadd "$@"
}
offer() {
    zle complete-word
    print -r -- done >> $PLACE/offered
    zle kill-buffer
}
zle -N offer
bindkey '^T' offer
bindkey '^I' offer
"""


class Zsh:
    """zsh at a terminal."""

    def __init__(self, place):
        self.place = place
        (place / ".zshrc").write_text(ZSH)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(place / "files")
            os.execvpe("zsh", ["zsh", "-i"], clean_env(place, PLACE=str(place), ZDOTDIR=str(place), TERM="dumb"))

    def offers(self, line):
        offered = self.place / "offered"
        offered.write_text("")
        os.write(self.fd, line.encode() + b"\x14")
        deadline = Deadline(20)
        screen = b""
        while not offered.read_text().endswith("done\n"):
            assert not deadline.passed(), f"zsh does not answer; its screen: {screen}"
            if select.select([self.fd], [], [], 0.02)[0]:
                screen += os.read(self.fd, 65536)
        return {offer.replace("\\ ", " ") for offer in offered.read_text().split("\n")[:-2]} - {""}

    def stop(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


@pytest.fixture(scope="module")
def zsh(place):
    zsh = Zsh(place)
    yield zsh
    zsh.stop()


@LINES
def test_zsh(zsh, line):
    assert zsh.offers(line) == expected(line)


def test_zsh_sourced(place):
    """Behind compinit the script registers itself."""
    out = shell(place, "zsh", "-f", "-c", "autoload -Uz compinit; compinit -u -D; source $1; print -r -- $_comps[ginnel]",
                "zsh", str(place / "ginnel.zsh"))
    assert out == "_ginnel\n"
