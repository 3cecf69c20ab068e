# SPDX-License-Identifier: MIT
"""One tunnel over HTTP/2 on a long fat link, which bench/links makes of two network namespaces: its window grows to what the link holds (C64, DESIGN flow)."""

import os
import pathlib
import shutil
import subprocess

import pytest

from harness import binary

LINKS = pathlib.Path(__file__).resolve().parents[2] / "bench" / "links"
LONG = bool(os.environ.get("GINNEL_TEST_LONG"))


def no_link():
    if os.geteuid() != 0 or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "no TUN device for this user"
    if not shutil.which("nsenter"):
        return "no nsenter"
    try:
        with open("/dev/net/tun", "rb"):
            pass
    except OSError as e:
        return f"/dev/net/tun: {e}"
    ran = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return f"no network namespace: {ran.stderr}" if ran.returncode else ""


pytestmark = pytest.mark.skipif(bool(no_link()), reason=no_link() or "-")


TRIES = 3  # a neighbour may have the processor for all of a load; what does not grow fails every time


def links(*options):
    for left in reversed(range(TRIES)):
        ran = subprocess.run([str(LINKS), "--binary", str(binary()), *options], capture_output=True, text=True, check=False, timeout=100)
        if ran.returncode == 0:
            return
        assert left, ran.stdout + ran.stderr


def test_upload():
    """A window of 64 KB would be a tenth of what 100 Mbit/s x 50 ms holds: 0.1 of HTTP/1's rate; 0.4 is asked for"""
    links("--rate", "100", "--rows", "up", "--columns", "h1,h2", "--control", "reno", "--secs", "1.6", "--warm", "0.8", "--goal", "0.4")


@pytest.mark.skipif(not LONG, reason="GINNEL_TEST_LONG is not set")
def test_both_roles():
    """Both roles of ginnel, both directions, 200 Mbit/s x 100 ms, in clear and over TLS"""
    links("--rate", "200", "--delay", "50", "--secs", "4", "--warm", "2", "--control", "reno", "--goal", "0.7")
