# SPDX-License-Identifier: MIT
"""What can be seen of a running ginnel: the sessions in the dump, a worker that does not turn, a process that was stopped, and that the sweep finds nothing
where everything waits as it should."""

import ctypes
import os
import pathlib
import re
import signal
import time

import pytest

from harness import OPEN, Origin, eventually, request
from harness.systemd import Systemd

SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000


class Held:
    """One thread of a process, standing still as long as the test wants."""

    def __init__(self, tid):
        self.tid = tid
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        if self.libc.ptrace(SEIZE, tid, None, None):
            pytest.skip(f"no ptrace here: {os.strerror(ctypes.get_errno())}")
        assert self.libc.ptrace(INTERRUPT, tid, None, None) == 0
        os.waitpid(tid, WALL)

    def let_go(self):
        assert self.libc.ptrace(DETACH, self.tid, None, None) == 0


def thread_of(proxy, worker):
    for task in pathlib.Path(f"/proc/{proxy.pid}/task").iterdir():
        if (task / "comm").read_text().strip() == f"ginnel-{worker}":
            return int(task.name)
    raise AssertionError(f"no thread ginnel-{worker}")


def dump(proxy, until):
    before = len(proxy.stderr())
    proxy.signal(signal.SIGUSR2)
    eventually(lambda: re.search(until, proxy.stderr()[before:]), what=f"{until!r} in the dump")
    return proxy.stderr()[before:]


def test_sessions_in_the_dump(start, web):
    """ginnel(1) USR2: after the status every worker's sessions, with their steps and what each side has ready"""
    proxy = start({"workers": 1})
    far, slow = Origin(), Origin()
    tunnel, kept, begun, waiting = proxy.client(), proxy.client(), proxy.client(), proxy.client()
    tunnel.connect(far.authority)
    conn = far.accept()
    tunnel.send(b"x" * 1000)
    conn.recv_exactly(1000)
    assert kept.ask(request("GET", web.url("/"))).status == 200
    begun.send(b"GET http://example.com/ HTTP/1.1\r\nHo")
    waiting.send(request("GET", slow.url("/secret")))
    slow.accept().recv_request()
    silent = proxy.client()
    eventually(lambda: proxy.status()["workers"][0]["sessions"] >= 5, what="all of them")
    text = dump(proxy, r"worker 0: \d+ sessions, (?s:.*) relay exchange (?s:.*)down run")

    def line(start):
        found = re.search(rf"^ginnel: info:   {start}.*\nginnel: info:     .*$", text, re.M)
        assert found, f"no {start} in {text}"
        return found.group()

    def port(client):
        return client.sock.getsockname()[1]

    assert re.search(r"^ginnel: info: worker 0: running, turn \d+, tasks run \d+, queued \d+ and bulk \d+, timers \d+", text, re.M)
    assert re.search(r"^ginnel: info: worker 0: 5 sessions, 5 shown: 1 greet, 1 idle, 1 head, 1 reply, 1 relay$", text, re.M)
    assert f"greet: 127.0.0.1:{port(silent)}, " in line("greet")
    assert f"idle: 127.0.0.1:{port(kept)}, " in line("idle")
    assert re.search(rf"127\.0\.0\.1:{port(begun)}, - - at -, .*deadline \d+\.\ds \(request-timeout\)", line("head"))
    assert re.search(rf"127\.0\.0\.1:{port(waiting)}, GET 127\.0\.0\.1 port {slow.port} at 127\.0\.0\.1:{slow.port}", line("reply"))
    relay = line("relay")
    assert re.search(rf"127\.0\.0\.1:{port(tunnel)}, CONNECT 127\.0\.0\.1 port {far.port} at .*, 200, .*\(tunnel-timeout\), up 1000, down 0", relay)
    assert "steps head auth policy resolve policy route dial send reply relay; client body/body ready w; origin body/body ready w; up run; down run" in relay
    assert "secret" not in text
    assert tunnel.ended() == OPEN


def test_a_crowd_in_the_dump(start):
    """200 of each worker and no more, all of them, though the log takes only so much at once; one alone in its state is among them"""
    proxy = start({"workers": 1})
    far = Origin()
    clients = [proxy.client() for _ in range(240)]
    for client in clients:
        client.connect(far.authority)
    silent = proxy.client()
    eventually(lambda: proxy.status()["workers"][0]["sessions"] == 241, what="all of them")
    before = len(proxy.stderr())
    proxy.signal(signal.SIGUSR2)
    eventually(lambda: len(re.findall(r"^ginnel: info:     (?:client|steps)", proxy.stderr()[before:], re.M)) == 200, what="200 sessions in the dump")
    text = proxy.stderr()[before:]
    assert "worker 0: 241 sessions, 200 shown: 1 greet, 240 relay\n" in text
    assert len(re.findall(r"^ginnel: info:   greet: 127", text, re.M)) == 1
    assert len(re.findall(r"^ginnel: info:   relay exchange", text, re.M)) == 199
    assert silent.ended() == clients[0].ended() == OPEN


def test_nobody_writes_lines_of_their_own(start, dns):
    """Hosts and methods are the client's: none reaches the log as it is"""
    proxy = start({"workers": 1, "resolver": {"servers": [dns.address]}})
    client = proxy.client()
    client.send(b"GET http://\x1b[31mexample.com/ HTTP/1.1\r\nHost: a\r\n\r\n")
    text = dump(proxy, r"worker 0: \d+ session")
    assert "\x1b" not in text


def test_a_stopped_process(start, origin):
    """SIGSTOP and SIGCONT: no stall, and nothing is cut whose time has not passed"""
    proxy = start()
    client = proxy.client().connect(origin.authority)
    conn = origin.accept()
    proxy.signal(signal.SIGSTOP)
    client.send(b"meanwhile")
    time.sleep(2.2)
    proxy.signal(signal.SIGCONT)
    assert conn.recv_exactly(9) == b"meanwhile"
    conn.send(b"back")
    assert client.recv_exactly(4) == b"back"
    assert "does not turn" not in proxy.stderr()
    assert re.search(r"^ginnel_loop_stalls_total 0$", proxy.control("GET", "/metrics").body.decode(), re.M)
    assert all(w["answers"] for w in proxy.status()["workers"])


def test_a_stopped_service():
    """The same under systemd's watchdog: the workers are not blamed, and it is fed again"""
    systemd = Systemd(watchdog=0.6)
    proxy = systemd.start()
    systemd.wait_for("WATCHDOG=1")
    proxy.signal(signal.SIGSTOP)
    time.sleep(1.5)
    n = len(systemd.notes("WATCHDOG=1"))
    proxy.signal(signal.SIGCONT)
    eventually(lambda: len(systemd.notes("WATCHDOG=1")) >= n + 3, what="food again")
    assert "does not turn" not in proxy.stderr()


def test_a_worker_that_stands_still(start, web):
    """The others are told about, it is named, and afterwards it goes on"""
    proxy = start()
    proxy.client().ask(request("GET", web.url("/")))
    held = Held(thread_of(proxy, 1))
    try:
        text = proxy.command("status").stdout
        workers = proxy.status()["workers"]
        dumped = dump(proxy, "worker 1 does not answer")
    finally:
        held.let_go()
    assert re.search(r"^ +1   does not answer", text, re.M) and re.search(r"^ +0 +\d+ .* running", text, re.M)
    assert [w["answers"] for w in workers] == [True, False]
    assert workers[1]["turn_ms"] >= 0
    assert re.search(r"worker 0: running, turn", dumped)
    eventually(lambda: all(w["answers"] for w in proxy.status()["workers"]), what="its answers")
    for _ in range(4):
        assert proxy.client().ask(request("GET", web.url("/"))).status == 200
    metrics = proxy.control("GET", "/metrics").body.decode()
    assert re.search(r'^ginnel_worker_turn_seconds\{worker="1"\} ', metrics, re.M)
    for name in ("loop_stalls", "lost_wakeups", "sweeps"):
        assert re.search(rf"^ginnel_{name}_total \d+$", metrics, re.M)


def test_the_watchdog_is_told_of_it():
    """systemd is not fed while a worker stands still, the log says which one and why; then it is fed again"""
    systemd = Systemd(watchdog=1)
    proxy = systemd.start()
    systemd.wait_for("WATCHDOG=1")
    held = Held(thread_of(proxy, 0))
    try:
        eventually(lambda: "worker 0 does not turn, for " in proxy.stderr(), what="the line")
        n = len(systemd.notes("WATCHDOG=1"))
        time.sleep(1.2)
        assert len(systemd.notes("WATCHDOG=1")) == n
    finally:
        held.let_go()
    assert re.search(r"warning: worker 0 does not turn, for \d+\.\d s; task \w+.*: systemd is sent no keep-alive", proxy.stderr())
    eventually(lambda: len(systemd.notes("WATCHDOG=1")) > n, what="food again")


@pytest.mark.skipif(not os.environ.get("GINNEL_TEST_LONG"), reason="45 s; GINNEL_TEST_LONG=1")
def test_the_sweep_finds_nothing(start, web):
    """Every kind of waiting at once, for four sweeps: readers that do not read, half-closed tunnels, bulk that was spliced and is quiet, kept connections"""
    proxy = start({"workers": 1})
    full, half, bulk, slow = Origin(), Origin(), Origin(), Origin()
    stuck = proxy.client().connect(full.authority)
    source = full.accept()
    source.sock.setblocking(False)
    try:
        for _ in range(10000):
            source.sock.send(b"x" * 65536)
    except BlockingIOError:
        pass
    one = proxy.client().connect(half.authority)
    other = half.accept()
    one.shut_write()
    spliced = proxy.client().connect(bulk.authority)
    sender = bulk.accept()
    for _ in range(64):
        sender.send(b"y" * 262144)
        spliced.recv_exactly(262144)
    kept, waiting = proxy.client(), proxy.client()
    assert kept.ask(request("GET", web.url("/"))).status == 200
    waiting.send(request("GET", slow.url("/")) + request("GET", slow.url("/pipelined")))
    slow.accept().recv_request()
    ticking = proxy.client()
    end = time.monotonic() + 45
    while time.monotonic() < end:
        assert ticking.ask(request("GET", web.url("/tick"))).status == 200
        time.sleep(0.05)
    metrics = proxy.control("GET", "/metrics").body.decode()
    assert int(re.search(r"^ginnel_sweeps_total (\d+)$", metrics, re.M).group(1)) >= 3
    assert re.search(r"^ginnel_lost_wakeups_total 0$", metrics, re.M)
    assert "wake-up was lost" not in proxy.stderr()
    other.send(b"late")
    assert one.recv_exactly(4) == b"late"
    assert stuck.ended() == OPEN
