# SPDX-License-Identifier: MIT
"""System calls that fail: strace makes every few of one kind fail with one error while a scripted load runs. The exchange that is hit
ends with a status or with a break that nobody can take for an end, never with a wrong byte or a silent truncation; nothing hangs, leaks
or spins, and afterwards all is as before (DESIGN 8.2, 8.5)."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import pytest

from harness import (FIN, RST, Ginnel, HttpOrigin, Origin, Truncated, chunk, eventually, parse_proxy_status, request,
                     response, scaled)

DATA = random.Random(8).randbytes(700_000)
LONG = bool(os.environ.get("GINNEL_TEST_LONG"))
WAIT = 4.0  # unscaled; no exchange may take that long
CONFIG = {"workers": 1, "timeouts": {name: f"{int(scaled(1.5) * 1000)}ms" for name in ("response", "idle", "tunnel", "half-close")}}
TIMEOUTS = ("idle-timeout", "tunnel-timeout", "half-close-timeout", "upstream-timeout")


@pytest.fixture(scope="module")
def tracer():
    """The path of strace, if it may look at a process here."""
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("no strace here")
    child = subprocess.Popen(["sleep", "30"])
    try:
        tried = subprocess.run([strace, "-f", "-o", "/dev/null", "-e", "inject=accept4:error=EPERM", "-p", str(child.pid)],
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1, check=False)
        pytest.skip(f"tracing is not permitted here: {tried.stderr.strip()[-200:]}")
    except subprocess.TimeoutExpired:
        return strace  # it was looking when the time was over
    finally:
        child.kill()
        child.wait()


class World:
    """A proxy with one worker, so that every n-th call is one of everybody's; origins of both kinds; the load."""

    def __init__(self):
        self.proxy = Ginnel(CONFIG, tracked=False)
        self.read_from = 0

    def load(self, web, echo):
        """One pass: every kind of exchange once, each on a connection of its own; what became of each."""
        kinds = [("GET", "/small"), ("GET", "/length"), ("POST", "/upload"), ("GET", "/chunked"), ("CONNECT", "up and down"),
                 ("GET", "/close"), ("CONNECT", "down")]
        return [self._one(web, echo, method, what) for method, what in kinds]

    def _one(self, web, echo, method, what):
        began = time.monotonic()
        try:
            with self.proxy.client() as client:
                outcome = self._tunnel(client, echo, what) if method == "CONNECT" else self._message(client, web, method, what)
        except (ConnectionError, BrokenPipeError) as error:
            outcome = f"cut: {error}"
        took = time.monotonic() - began
        assert took < scaled(WAIT), f"{method} {what} took {took:.1f} s"
        return outcome

    @staticmethod
    def _message(client, web, method, what):
        """GETs: twice over the same connection."""
        for _ in range(2 if what == "/small" else 1):
            body = DATA if method == "POST" else None
            sender = client.send_in_background(request(method, web.url(what), body=body))
            try:
                answer = client.recv_response(method, within=WAIT)
            except Truncated as cut:
                part = cut.part if cut.head else b""
                wanted = {"/upload": DATA[::-1], "/small": b"small"}.get(what, DATA)
                assert wanted.startswith(part), f"{what}: wrong bytes before the cut"
                return f"cut: {cut}"
            if answer.status != 200:
                if answer.has("proxy-status"):
                    parse_proxy_status(answer.values("proxy-status"))
                assert answer.status in (502, 503, 500, 504) and answer.body, answer
                return f"status: {answer.status} {answer.values('proxy-status')}"
            sender.join(WAIT)
            wanted = {"/upload": DATA[::-1], "/small": b"small"}.get(what, DATA)
            assert answer.body == wanted, f"{what}: {len(answer.body)} bytes instead of {len(wanted)}, and an end that looks right"
        return "ok"

    @staticmethod
    def _tunnel(client, echo, what):
        client.send(request("CONNECT", echo.authority))
        try:
            head = client.recv_response_head(WAIT)
        except Truncated as cut:
            return f"cut: {cut}"
        if head.status != 200:
            assert head.status in (502, 503, 500, 504), head
            return f"status: {head.status} {head.values('proxy-status')}"
        up = DATA[:3] if what == "down" else DATA
        sender = threading.Thread(target=_send_and_shut, args=(client, up), daemon=True)
        sender.start()
        got = client.recv_all(within=WAIT)
        client.hang_up()
        sender.join(WAIT)
        wanted = up + DATA
        assert wanted.startswith(got), "wrong bytes in a tunnel"
        if client.end == FIN:
            return "ok" if got == wanted else f"silent: a FIN after {len(got)} of {len(wanted)} bytes"
        return f"cut: {client.end} after {len(got)}"

    def reasons(self):
        """The ends of what was logged since the last look."""
        records = self.proxy.access()
        fresh, self.read_from = records[self.read_from:], len(records)
        return [record["ginnel.end"] for record in fresh]


def _send_and_shut(client, data):
    with contextlib.suppress(OSError):
        client.sock.sendall(data)
        client.shut_write()


def pages(req):
    """What the origin has; the same bytes in every framing."""
    if req.target == "/small":
        return response(body=b"small")
    if req.target == "/upload":
        return response(body=req.body[::-1])
    if req.target == "/length":
        return response(body=DATA)
    if req.target == "/chunked":
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(DATA[:400_000]) + chunk(DATA[400_000:]) + b"0\r\n\r\n"
    req.conn.send(b"HTTP/1.1 200 OK\r\n\r\n" + DATA, within=WAIT)
    return None


def echo_then_more(conn):
    """A tunnel's far side: everything back, and then as much again."""
    while data := conn.recv_some(within=30):
        conn.send(data, within=30)
    if conn.end == FIN:
        conn.send(DATA, within=30)


@pytest.fixture(scope="module")
def house():
    world = World()
    yield world
    world.proxy.close()


@pytest.fixture
def world(house):
    """The house, with origins of this test, and how many descriptors it had."""
    house.web, house.echo = HttpOrigin(pages), Origin(echo_then_more)
    assert set(house.load(house.web, house.echo)) == {"ok"}
    eventually(lambda: house.proxy.metrics()["ginnel_sessions"] == 0, what="the sessions to end")
    yield house
    assert house.proxy.alive(), house.proxy.stderr()[-4000:]
    house.proxy.check_log()


class Tracing:
    """strace on the running proxy. `calls` are those that were made, `injected` those that failed."""

    def __init__(self, tracer, proxy, inject):
        self.tmp = tempfile.TemporaryDirectory(prefix="ginnel-trace-")
        self.out = pathlib.Path(self.tmp.name, "out")
        err = open(pathlib.Path(self.tmp.name, "err"), "w+b")
        call = inject.split(":")[0]
        self.child = subprocess.Popen([tracer, "-f", "-o", str(self.out), "-e", f"trace={call}", "-e", f"inject={inject}",
                                       "-p", str(proxy.pid)], stdin=subprocess.DEVNULL, stdout=err, stderr=err)
        eventually(lambda: self._attached(err, proxy), within=10, what="strace to be there")

    def _attached(self, err, proxy):
        err.seek(0)
        text = err.read().decode()
        assert self.child.poll() is None, f"strace has ended: {text}"
        tasks = list(pathlib.Path(f"/proc/{proxy.pid}/task").iterdir())
        return all(f"TracerPid:\t{self.child.pid}\n" in (task / "status").read_text() for task in tasks)

    def stop(self):
        self.child.send_signal(signal.SIGINT)
        self.child.wait(scaled(10))
        text = self.out.read_text(errors="replace")
        self.tmp.cleanup()
        return text


# call → its errors, and whether the exchange that is hit may notice (EINTR and the like must be invisible)
CALLS = {
    "accept4": ("2+3", ["ECONNABORTED", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPROTO", "EINTR"]),
    "socket": ("2+3", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"]),
    "connect": ("2+3", ["EADDRNOTAVAIL", "ENOBUFS", "EAGAIN", "ENETUNREACH", "EPERM", "EINTR"]),
    "epoll_ctl": ("2+3", ["ENOSPC", "ENOMEM"]),
    "sendto": ("5+6", ["ENOBUFS", "ENOMEM", "EPIPE", "ECONNRESET", "EINTR"]),
    "sendmsg": ("2+3", ["ENOBUFS", "EPIPE", "EINTR"]),
    "recvfrom": ("5+6", ["ENOMEM", "ECONNRESET", "EINTR", "ETIMEDOUT"]),
    "splice": ("3+4", ["ENOMEM", "EAGAIN"]),
    "setsockopt": ("1+1", ["ENOPROTOOPT", "ENOMEM"]),
    "getsockopt": ("1+1", ["ENOBUFS"]),
    "shutdown": ("1+2", ["ENOTCONN"]),  # UNREAL
    "getsockname": ("1+1", ["ENOBUFS"]),
    "ioctl": ("1+1", ["EINVAL"]),
    "epoll_wait": ("2+3", ["EINTR"]),
    "read": ("1+2", ["EINTR", "EAGAIN"]),
}
INVISIBLE = {("accept4", "EINTR"), ("sendto", "EINTR"), ("sendmsg", "EINTR"), ("recvfrom", "EINTR"), ("splice", "EINTR"), ("epoll_wait", "EINTR"),
             ("setsockopt", "ENOPROTOOPT"), ("setsockopt", "ENOMEM"), ("getsockname", "ENOBUFS"), ("getsockopt", "ENOBUFS"), ("ioctl", "EINVAL"), ("read", "EINTR")}
SELDOM = {"getsockopt", "ioctl", "sendmsg", "read"}  # not in every load
# What no kernel says of a connection that lives: nobody hears the edge that should follow, so a time-out ends it.
UNREAL = {("splice", "EAGAIN"), ("shutdown", "ENOTCONN")}


def fail_one(tracer, world, call, error, when):
    """A load while that call fails, and one after it."""
    tracing = Tracing(tracer, world.proxy, f"{call}:error={error}:when={when}")
    try:
        outcomes = world.load(world.web, world.echo)
    finally:
        trace = tracing.stop()
    assert "(INJECTED)" in trace or call in SELDOM, f"{call} was never made to fail:\n{trace[:2000]}"
    silent = [outcome for outcome in outcomes if outcome.startswith("silent")]
    assert not silent, f"{call} {error}: {silent}"
    if (call, error) in INVISIBLE:
        assert set(outcomes) == {"ok"}, f"{call} {error}: {outcomes}"
    if error == "EADDRNOTAVAIL":
        time.sleep(scaled(1.1))  # a source whose ports are used up is left alone for a second at most
    after = world.load(world.web, world.echo)
    assert set(after) == {"ok"}, f"after {call} {error}: {after}"
    ends = world.reasons()
    if (call, error) not in UNREAL:
        assert not set(ends) & set(TIMEOUTS), f"{call} {error}: somebody was forgotten: {ends}, {outcomes}"


def expect_nothing_left(proxy, fds):
    eventually(lambda: proxy.metrics()["ginnel_sessions"] == 0, within=8, what="the sessions to end")
    eventually(lambda: proxy.fds() <= fds + 8, what=f"{proxy.fds()} descriptors to be about {fds} again")


@pytest.mark.parametrize("call", CALLS)
def test_every_few_calls_fail(tracer, world, call):
    """issue 4: EMFILE at every call that can give it, ENOBUFS, ENOMEM, and the rest of what these calls can say"""
    when, errors = CALLS[call]
    fds = world.proxy.fds()
    world.reasons()
    for error in errors:
        if (call, error) in UNREAL and not LONG:
            continue  # they wait for time-outs
        fail_one(tracer, world, call, error, when)
    expect_nothing_left(world.proxy, fds)


def test_interrupted_splice(tracer, world):
    """EINTR is no error of the connection"""
    world.reasons()
    fail_one(tracer, world, "splice", "EINTR", "3+4")


def test_splice_that_the_kernel_refuses(tracer, world):
    """DESIGN 8.2: what is given up in the middle does not end in a FIN"""
    world.reasons()
    fail_one(tracer, world, "splice", "EINVAL", "3+4")


@pytest.mark.parametrize("call, error", [("pipe2", "EMFILE"), ("pipe2", "ENFILE"), ("fcntl", "EPERM"), ("fcntl", "EBUSY")])
def test_no_pipes(tracer, world, call, error):
    """issue 4: without pipes bulk is copied. A new proxy, for one that has run has pipes in reserve"""
    fresh = World()
    try:
        fds = fresh.proxy.fds()
        tracing = Tracing(tracer, fresh.proxy, f"{call}:error={error}")
        try:
            outcomes = fresh.load(world.web, world.echo)
        finally:
            trace = tracing.stop()
        assert "(INJECTED)" in trace, trace
        assert set(outcomes) == {"ok"}, outcomes
        assert set(fresh.load(world.web, world.echo)) == {"ok"}
        expect_nothing_left(fresh.proxy, fds + 8)
    finally:
        fresh.proxy.close()


def send_fails(tracer, world, error):
    """Whom the proxy cannot send to, although the connection lives, sees it, and so does the other side; returns both ends."""
    client = world.proxy.client().connect(world.echo.authority)
    client.send(b"first")
    assert client.recv_exactly(5) == b"first"
    tracing = Tracing(tracer, world.proxy, f"sendto:error={error}")
    try:
        world.echo.conns[-1].send(b"second")
        assert client.recv_all() == b""
    finally:
        assert "(INJECTED)" in tracing.stop()
    return client.end


@pytest.mark.parametrize("error", ["ENOBUFS", "EPERM"])
def test_cut_because_of_a_failed_send(tracer, world, error):
    """DESIGN 2 and 8.2: our own cut of a tunnel is an RST"""
    assert send_fails(tracer, world, error) == RST


def test_cut_because_there_is_no_memory(tracer, world):
    """DESIGN 2 and 8.2"""
    assert send_fails(tracer, world, "ENOMEM") == RST


@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS"])
def test_no_spinning_at_accept(tracer, world, error):
    """issue 4: stop accepting, no spinning, serve what is there, resume by itself"""
    there = world.proxy.client().connect(world.echo.authority)
    tracing = Tracing(tracer, world.proxy, f"accept4:error={error}")
    try:
        waiting = [world.proxy.client() for _ in range(5)]
        began, cpu = time.monotonic(), world.proxy.cpu_seconds()
        while time.monotonic() - began < 0.5:
            there.send(b"still served")
            assert there.recv_exactly(12) == b"still served"
            time.sleep(0.02)
        cpu = world.proxy.cpu_seconds() - cpu
    finally:
        trace = tracing.stop()
    calls = trace.count("accept4(")
    assert 2 <= calls < 40, f"{calls} calls in half a second"
    assert world.proxy.instrumented() or cpu < 0.3
    for client in waiting:
        answer = client.ask(request("GET", world.web.url("/small")))
        assert answer.body == b"small"
    there.close()
