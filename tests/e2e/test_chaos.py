# SPDX-License-Identifier: MIT
"""bench/chaos in its short form: clients of every protocol, good and bad, parents that die and come back, reloads; after some seconds all must add up. And that it
would notice if not."""

import importlib.machinery
import importlib.util
import os
import pathlib
import subprocess
import sys
import types

import pytest

from harness.ginnel import binary

ROOT = pathlib.Path(__file__).resolve().parents[2]
LONG = os.environ.get("GINNEL_TEST_LONG") == "1"

pytest.importorskip("hpack")


@pytest.fixture(scope="module")
def chaos():
    """bench/chaos as a module."""
    path = list(sys.path)
    try:
        loader = importlib.machinery.SourceFileLoader("chaos", str(ROOT / "bench" / "chaos"))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader("chaos", loader))
        loader.exec_module(module)
        yield module
    finally:
        sys.path[:] = path


def test_it_all_adds_up(tmp):
    """U8, U11: no byte and no end is false; C55 to C70: what one peer does wrong is nobody else's trouble; nothing is left behind."""
    minutes, clients = ("2", "30") if LONG else ("0.1", "12")
    ran = subprocess.run([str(ROOT / "bench" / "chaos"), "--minutes", minutes, "--clients", clients, "--binary", binary()], capture_output=True, text=True, timeout=300,
                         check=False)
    assert ran.returncode == 0, ran.stdout[-12000:] + ran.stderr[-3000:]


def stream(chaos, **more):
    conn = types.SimpleNamespace(initial=65535, ours=65535, over=True)
    s = chaos.Stream(conn, 1)
    s.check, s.fields = True, {b":status": b"200"}
    for name, value in more.items():
        setattr(s, name, value)
    return s


@pytest.mark.harness
def test_it_notices_another_byte(chaos):
    data = bytearray(chaos.pattern(0, 200000))
    good, bad, lost, echo = stream(chaos), stream(chaos), stream(chaos), stream(chaos, first=b"\xff")
    for at in range(0, len(data), 16384):
        good.got(bytes(data[at:at + 16384]))
    assert good.at == 200000 and not good.bad
    data[123456] ^= 1
    for at in range(0, len(data), 16384):
        bad.got(bytes(data[at:at + 16384]))
    lost.got(chaos.pattern(0, 1000))
    lost.got(chaos.pattern(1001, 1000))
    echo.got(b"\xff" + chaos.pattern(1, 99))
    assert bad.bad and lost.bad and not echo.bad
    with pytest.raises(chaos.Wrong):
        bad.leave()


@pytest.mark.harness
def test_it_notices_what_a_program_says(chaos, tmp):
    for text in ("==12==ERROR: AddressSanitizer: heap-use-after-free on address", "src/a.c:3:1: runtime error: signed integer overflow", "CHECK failed: x",
                 "WARNING: ThreadSanitizer: data race"):
        assert chaos.REPORT.search(f"ginnel: info: ready\n{text}\n"), text
    assert not chaos.REPORT.search("ginnel: info: CHECK yourself\n")


@pytest.mark.harness
def test_where_bytes_are_in_the_pattern(chaos):
    assert chaos.pattern(5, 10) == chaos.BLOCK[5:15]
    assert chaos.pattern(len(chaos.BLOCK) - 1, 3) == chaos.BLOCK[-1:] + chaos.BLOCK[:2]
