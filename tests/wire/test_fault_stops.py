# SPDX-License-Identifier: MIT
"""The proxy itself is stopped for a while, its clock jumps, and what has queued up meanwhile is served (issue 4, overload and faults)."""

import contextlib
import os
import pathlib
import re
import resource
import select
import signal
import socket
import struct
import time

import pytest

from harness import FIN, HttpOrigin, Neighbours, Origin, eventually, request, response, scaled

LONG = bool(os.environ.get("GINNEL_TEST_LONG"))
STOPPED = 60.0 if LONG else 2.5  # seconds
BURST = 10000


@contextlib.contextmanager
def stopped(proxy):
    """Inside, the process does not run; /proc says so."""
    proxy.signal(signal.SIGSTOP)
    try:
        eventually(lambda: re.search(r"^State:\s+T", pathlib.Path(f"/proc/{proxy.pid}/status").read_text(), re.M), what="the stop")
        yield
    finally:
        proxy.signal(signal.SIGCONT)


def test_stopped_in_the_middle_of_transfers(start):
    """issue 4: SIGSTOP, SIGCONT: nothing is lost; the timeouts are long"""
    proxy = start()
    with Neighbours(proxy, tunnels=8, clients=8, stall=STOPPED + 5) as neighbours:
        for seconds in (0.2, STOPPED):
            with stopped(proxy):
                time.sleep(seconds)
            neighbours.wait_rounds(1)
    assert neighbours.longest >= STOPPED * 0.8, "they ran on while it was stopped?"


def many_tunnels(start, wait):
    """400 of them, all in use a moment ago, and the proxy; None when the machine was too busy for that within `wait` seconds."""
    proxy = start({"workers": 1, "timeouts": {"tunnel": f"{wait}s"}, "log": {"access": "off"}})
    origin = Origin()
    pairs = []
    began = time.monotonic()
    try:
        for _ in range(400):
            client = proxy.client().connect(origin.authority)
            pairs.append((client, origin.accept()))
        for client, conn in pairs:  # their time begins now
            client.send(b"now")
            assert conn.recv_exactly(3) == b"now"
    except (OSError, AssertionError):
        if time.monotonic() - began < wait:
            raise
    return (proxy, pairs) if time.monotonic() - began < wait * 0.8 else None


def test_many_after_a_stop(start):
    """The same with more of them than one wait reports"""
    wait, made = 1, None
    while not made:
        made = many_tunnels(start, wait)
        wait *= 1 if made else 4
    proxy, pairs = made
    with stopped(proxy):
        for i, (client, conn) in enumerate(pairs):
            (client if i % 2 else conn).send(b"in time")
        time.sleep(wait * 1.3)
    for i, (client, conn) in enumerate(pairs):
        assert (conn if i % 2 else client).recv_exactly(7) == b"in time", f"tunnel {i}"


def test_stopped_for_longer_than_its_timeouts(start):
    """CONFIG timeouts: what has arrived meanwhile is there, so it was not late; a tunnel that is quiet has had its time"""
    wait = scaled(1)
    names = ("idle", "response", "tunnel", "keepalive", "head", "half-close")
    proxy = start({"timeouts": {name: f"{int(wait * 1000)}ms" for name in names}})
    origin = Origin()
    data = os.urandom(100_000)

    tunnel = proxy.client().connect(origin.authority)
    far = origin.accept()
    half = proxy.client().connect(origin.authority)
    half_far = origin.accept()
    half.shut_write()
    half_far.expect_end(FIN)
    download = proxy.client()
    download.send(request("GET", origin.url("/a")))
    answering = origin.accept()
    answering.recv_request()
    answering.send(response(200, f"Content-Length: {2 * len(data)}", body=None) + data)
    upload = proxy.client()
    upload.send(request("POST", origin.url("/b"), f"Content-Length: {2 * len(data)}") + data)
    reading = origin.accept()
    reading.recv_until(b"\r\n\r\n")
    waiting = proxy.client()
    waiting.send(request("GET", origin.url("/c")))
    late = origin.accept()
    late.recv_request()
    slow = proxy.client()
    slow.send(b"GET http://")
    time.sleep(0.05)
    with stopped(proxy):
        tunnel.send(data)
        half_far.send(data)
        answering.send(data)
        late.send(response(body=b"in time"))
        slow.send(origin.authority.encode() + b"/d HTTP/1.1\r\nHost: " + origin.authority.encode() + b"\r\n\r\n")
        sender = upload.send_in_background(data)
        time.sleep(wait * 1.5)
    assert far.recv_exactly(len(data)) == data
    assert half.recv_exactly(len(data)) == data
    assert download.recv_response().body == data * 2
    assert reading.recv_exactly(2 * len(data)) == data * 2
    sender.join(5)
    assert waiting.recv_response().body == b"in time"
    fifth = origin.accept()
    assert fifth.recv_request().target == "/d"


def test_sigpipe(start):
    """issue 4: neither the signal nor peers that go away while they are written to"""
    proxy = start()
    origin = Origin()
    proxy.signal(signal.SIGPIPE)
    for _ in range(10):
        client = proxy.client().connect(origin.authority)
        conn = origin.accept()
        conn.send_until_blocked(b"x" * 65536, 1 << 22, quiet=0.02)
        client.reset()
    assert proxy.alive()
    assert proxy.client().ask(request("GET", HttpOrigin().url())).status == 200


# --- more connections than the queue has room for ------------------------------------------------------------------------


def pss(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+) kB", text, re.M).group(1)) * 1024


def burst(proxy, n):
    """n connections while the process is stopped; then every one of them is answered."""
    socks, poll = {}, select.epoll()
    ask = request("GET", "/healthz", host="localhost")
    answers = {"200": 0, "503": 0, "closed": 0}
    try:
        with stopped(proxy):
            for _ in range(n):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex((proxy.host, proxy.port))
                socks[sock.fileno()] = sock
                poll.register(sock.fileno(), select.EPOLLOUT)
            time.sleep(0.2)
        began = time.monotonic()
        while socks and time.monotonic() - began < scaled(30):  # a SYN that was dropped is sent again after 1, 3, 7 and 15 s
            for fd, events in poll.poll(0.5, 4096):
                try:
                    if events & select.EPOLLOUT:
                        socks[fd].send(ask)
                        poll.modify(fd, select.EPOLLIN)
                        continue
                    answers[socks[fd].recv(100)[9:12].decode() or "closed"] += 1
                except ConnectionError:
                    answers["closed"] += 1
                poll.unregister(fd)
                sock = socks.pop(fd)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # nothing lingers in the kernel
                sock.close()
        print(f"{answers} in {time.monotonic() - began:.1f} s")
        assert answers["200"] == n, f"{answers}, {len(socks)} of {n} hang"
    finally:
        for sock in socks.values():
            sock.close()
        poll.close()


def test_burst_against_a_stopped_process(start):
    """issue 4: accept queue overrun; who was let in is served, the others come in when there is room again, and the memory of a burst
    is there for the next one"""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n = min(BURST, hard - 1000)
    if n < 5000:
        pytest.skip(f"only {hard} open files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, n + 1000), hard))
    proxy = start({"log": {"access": "off"}})
    assert proxy.client().ask(request("GET", "/healthz", host="localhost")).status == 200
    fds, before = proxy.fds(), pss(proxy.pid)
    try:
        burst(proxy, n)
        eventually(lambda: proxy.fds() <= fds + 2, within=8, what="the descriptors to come back")
        after = pss(proxy.pid)
        burst(proxy, 4000)
        eventually(lambda: proxy.fds() <= fds + 2, within=8, what="the descriptors to come back")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if not proxy.instrumented():
        print(f"{before} bytes before, {after} after one burst, {pss(proxy.pid)} after two")
        assert after - before < n * 6144
        assert pss(proxy.pid) - after < 4 << 20


# --- clocks that jump ----------------------------------------------------------------------------------------------------


FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


@pytest.mark.parametrize("jump", ["+86400", "-86400"])
def test_the_time_of_day_jumps(start, tmp_path, jump):
    """issue 4: only dates follow the wall clock; nothing that waits does"""
    if not os.path.exists(FAKETIME):
        pytest.skip("no libfaketime here")
    if start.instrumented():
        pytest.skip("libfaketime does not go together with sanitizers")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    env = {"LD_PRELOAD": FAKETIME, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_TIMESTAMP_FILE": str(clock),
           "FAKETIME_NO_CACHE": "1", "FAKETIME_CACHE_DURATION": "1"}
    proxy = start({"timeouts": {"keepalive": "60s"}}, env=env)
    web = HttpOrigin()
    day_before = date_of(proxy, web)
    idle = proxy.client()
    assert idle.ask(request("GET", web.url("/idle"))).status == 200
    with Neighbours(proxy, tunnels=4, clients=4, pause=0.01) as neighbours:
        fresh = tmp_path / "fresh"
        fresh.write_text(jump)
        fresh.rename(clock)
        eventually(lambda: abs(date_of(proxy, web) - day_before) > 80000, what="the proxy's clock to have jumped")
        neighbours.wait_rounds(5)
    assert idle.ask(request("GET", web.url("/again"))).body == b"GET /again"
    began, cpu = time.monotonic(), proxy.cpu_seconds()
    time.sleep(0.3)
    assert proxy.cpu_seconds() - cpu < 0.1 + (time.monotonic() - began - 0.3), "it spins"


def date_of(proxy, web):
    """The proxy's own date: that of an answer which it makes."""
    from email.utils import parsedate_to_datetime
    answer = proxy.client().ask(request("GET", "http://ginnel.internal/"))
    return parsedate_to_datetime(answer.value("date")).timestamp()
