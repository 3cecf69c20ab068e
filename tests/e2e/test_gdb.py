# SPDX-License-Identifier: MIT
"""tools/gdb/ginnel.py: what every worker is doing, from a living process and from a core, by debug information alone."""

import os
import platform
import re
import shutil
import subprocess
import time

import pytest

from harness import OPEN, Origin, binary, eventually, request, scaled
from harness.ginnel import ROOT

SCRIPT = ROOT / "tools" / "gdb" / "ginnel.py"


def gdb(*args):
    out = subprocess.run(["gdb", "-q", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set auto-load safe-path /nowhere", *map(str, args)],
                         capture_output=True, text=True, errors="replace", timeout=scaled(60))
    if re.search(r"ptrace: Operation not permitted|Could not attach", out.stderr):
        pytest.skip("no ptrace here")
    return out


@pytest.fixture(scope="module", autouse=True)
def wanted():
    if not shutil.which("gdb"):
        pytest.skip("no gdb: tools/install-deps test")
    sections = subprocess.run(["readelf", "-S", binary()], capture_output=True, text=True).stdout
    if ".debug_info" not in sections:
        pytest.skip("a program without debug information")


@pytest.fixture
def busy(start):
    """A proxy with a tunnel, a request that waits for its answer, and a connection that has said nothing."""
    proxy = start({"workers": 2})
    far, slow = Origin(), Origin()
    tunnel = proxy.client().connect(far.authority)
    conn = far.accept()
    tunnel.send(b"0123456789")
    conn.recv_exactly(10)
    waiting = proxy.client()
    waiting.send(request("GET", slow.url("/")))
    slow.accept().recv_request()
    proxy.client()
    proxy.status()
    return proxy, tunnel, waiting, far, slow


def check(out, busy):
    _, tunnel, waiting, far, slow = busy

    def port(client):
        return client.sock.getsockname()[1]

    text = out.stdout
    assert "Python Exception" not in out.stderr and "Error" not in out.stderr, out.stderr
    relay = re.search(rf"^  relay exchange \d+: 127\.0\.0\.1:{port(tunnel)}, CONNECT 127\.0\.0\.1 port {far.port} at 127\.0\.0\.1:{far.port}, 200, "
                      rf"age \d+\.\ds, deadline \d+\.\ds \(tunnel-timeout\), up 10, down 0\n    (.*)$", text, re.M)
    assert relay, text + out.stderr
    assert re.search(r"steps head auth policy resolve policy route dial send reply relay; client body/body ready w fd \d+; origin body/body ready w fd \d+; up run; down run",
                     relay.group(1)), relay.group(1)
    reply = re.search(rf"^  reply exchange \d+: 127\.0\.0\.1:{port(waiting)}, GET 127\.0\.0\.1 port {slow.port} at .*\n    steps head .* reply; "
                      r"client end/head ready w fd \d+; origin head/end ready w fd \d+; up off; down off", text, re.M)
    assert reply, text
    assert re.search(r"^  greet: 127\.0\.0\.1:\d+, age \d+\.\ds, deadline \d+\.\ds\n    client ready w fd \d+", text, re.M), text
    assert [w for w in re.findall(r"^worker (\w+): run, turn \d+, ", text, re.M)] == ["0", "1", "house"], text


def test_living(busy):
    """It stands still for a moment, and goes on"""
    proxy, tunnel = busy[:2]
    check(gdb("-x", SCRIPT, "-p", proxy.pid, "-ex", "ginnel-dump"), busy)
    assert tunnel.ended() == OPEN and all(w["answers"] for w in proxy.status()["workers"])


def test_core(busy, tmp):
    """The same from a core, with the process gone"""
    proxy = busy[0]
    if proxy.instrumented():
        pytest.skip("a sanitizer's shadow memory does not fit into a core")
    core = tmp / "core"
    made = gdb("-p", proxy.pid, "-ex", f"gcore {core}")
    if not core.exists():
        pytest.skip(f"no core: {made.stderr[-300:]}")
    check(gdb("-x", SCRIPT, binary(), core, "-ex", "ginnel-dump"), busy)


# Puts a worker's thread on an instruction that jumps to itself, or back to where it was.
SPIN = """
import gdb
inferior = gdb.selected_inferior()
next(t for t in inferior.threads() if t.name == "ginnel-1").switch()
for line in gdb.execute("info proc mappings", to_string=True).splitlines():
    part = line.split()
    if len(part) > 5 and part[4] == "r-xp" and "libc" in part[-1]:
        at = inferior.search_memory(int(part[0], 16), int(part[1], 16) - int(part[0], 16), b"\\xeb\\xfe")
        if at:
            print("was at", int(gdb.parse_and_eval("$pc")))
            gdb.execute(f"set $pc = {at}")
            break
"""
BACK = """
import gdb
next(t for t in gdb.selected_inferior().threads() if t.name == "ginnel-1").switch()
gdb.execute("set $pc = %s")
"""


@pytest.mark.skipif(not os.environ.get("GINNEL_TEST_LONG"), reason="20 s and more; GINNEL_TEST_LONG=1")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="knows x86 instructions")
def test_a_worker_that_spins(start, tmp):
    """One report, with where it is; status says what it can; afterwards it serves again, and a second standstill is a second report"""
    proxy = start({"workers": 2})
    (tmp / "spin.py").write_text(SPIN)
    for n in (1, 2):
        out = gdb("-p", proxy.pid, "-x", tmp / "spin.py")
        was = re.search(r"^was at (\d+)$", out.stdout, re.M)
        if not was:
            pytest.skip(f"no such instruction to be found: {out.stderr[-300:]}")
        eventually(lambda: proxy.stderr().count("worker 1 does not turn") == n, within=30, what="the report")
        assert [w["answers"] for w in proxy.status()["workers"]] == [True, False]
        time.sleep(2.5)
        assert proxy.metrics()["ginnel_loop_stalls_total"] == n
        (tmp / "back.py").write_text(BACK % was.group(1))
        gdb("-p", proxy.pid, "-x", tmp / "back.py")
        eventually(lambda: all(w["answers"] for w in proxy.status()["workers"]), what="its answers")
    reports = re.findall(r"^ginnel: error: worker 1 does not turn: .*; stack: (.*)$", proxy.stderr(), re.M)
    assert len(reports) == 2 and all(re.match(r"libc\.so\.6\+0x[0-9a-f]+", r) for r in reports), reports


def test_without_a_server():
    out = gdb("-x", SCRIPT, binary(), "-ex", "ginnel-dump")
    assert "ginnel is not serving" in out.stderr
