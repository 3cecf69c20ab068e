# SPDX-License-Identifier: MIT
"""Every configuration that a reader may copy passes `ginnel check`: the blocks of README.md and of the manual, and the files of dist.

What they name lies beside them here: users, groups, lists, secrets, and what they look for in /etc/ginnel. (test_conf_print.c compares the manual with the
tables; this is what a reader does.)"""

import pathlib
import re

import pytest

from harness import run_ginnel
from harness.certs import Authority

ROOT = pathlib.Path(__file__).resolve().parents[2]
MANUAL = ROOT / "man" / "ginnel.yaml.5.scd"

HASH = "$6$rounds=5000$saltsalt$" + "x" * 86
BESIDE = {
    "users.htpasswd": f"alice:{HASH}\n",
    "groups.txt": "staff: alice\nred: alice\nblue: alice\n",
    "partners.txt": "api.partner.example\n",
    "parent.secret": "user:secret\n",
}


def blocks(text, fence):
    """The text of each block that begins with this line, and the number of that line."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line == fence:
            yield number + 1, "\n".join(lines[number + 1:lines.index("```", number + 1)]) + "\n"


def manual():
    """The fences of the manual with the line that announces them: ("yaml" or "file NAME", text)"""
    lines = MANUAL.read_text().split("\n")
    for number, line in enumerate(lines):
        announced = re.fullmatch(r"; (yaml|file (\S+))( defaults)?", line)
        if announced:
            assert lines[number + 1] == "```", number
            yield number + 1, announced[2], "\n".join(lines[number + 2:lines.index("```", number + 2)]) + "\n"


def configurations():
    for number, text in blocks((ROOT / "README.md").read_text(), "```yaml"):
        yield pytest.param(text, id=f"README.md:{number}")
    for number, name, text in manual():
        if not name or name.endswith(".yaml"):
            yield pytest.param(text, id=f"ginnel.yaml.5:{number}")
    for path in sorted((ROOT / "dist").rglob("*.yaml")):
        yield pytest.param(path.read_text(), id=str(path.relative_to(ROOT)))


CONFIGURATIONS = list(configurations())


@pytest.fixture(scope="module")
def around(tmp_path_factory):
    """What the examples name. Files of the manual lie where it says."""
    folder = tmp_path_factory.mktemp("examples")
    for name, text in BESIDE.items():
        (folder / name).write_text(text)
    for _, name, text in manual():
        if name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    Authority(folder).issue("proxy", ["proxy.corp.example"])
    return folder


def test_there_are_examples():
    names = [c.id for c in CONFIGURATIONS]
    for where, least in (("README.md", 10), ("ginnel.yaml.5", 20), ("dist/examples", 8)):
        assert sum(n.startswith(where) for n in names) >= least, (where, names)


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_passes_check(text, around):
    path = around / "ginnel.yaml"
    path.write_text(text.replace("/etc/ginnel/", f"{around}/").replace("/usr/lib/squid/basic_ldap_auth", "/bin/true"))
    ran = run_ginnel("check", path)
    assert ran.returncode == 0, ran.stderr
