# SPDX-License-Identifier: MIT
"""System calls an operation, counted with strace on the one worker of a ginnel in its steady state. They do not depend on the machine's mood,
so a call more than the table says fails. What a turn of the loop costs (`epoll_wait`, the accept that finds nothing) is shared by
the connections that it finds ready: the process is held still while a round of them is prepared."""

import contextlib
import os
import re
import select
import socket
import subprocess
import tempfile
import time

import pytest

from harness import Deadline, Ginnel, chunk, request, response, scaled
from harness.crowd import Crowd, Flow, finish, need_descriptors, recv_exactly, recv_head, reset
from harness.strace import Strace, frozen, thread, threads, wait_asleep

KB, MB = 1 << 10, 1 << 20
TOGETHER, ROUNDS = 16, 8   # connections of a round
OPS = TOGETHER * ROUNDS
PHASE = 3 / TOGETHER       # turns that a round may take for each time that something comes for all its connections
BIG_OPS = 6                # transfers of 1 MB
TUNNEL_MB, STRETCHES = 24, 3
BULK_TURNS = 40            # for 1 MB: bulk has a slice of time in each turn, and strace makes time short
QUIET = 20 if os.environ.get("GINNEL_TEST_LONG") else 3  # seconds

# Calls an operation, at most; what is not named may not happen. "name ERROR" bounds the calls that failed so (they count under their name too).
ACCEPT = {"accept4": 1 + PHASE, "accept4 EAGAIN": PHASE}
# pairs of 64 KB or more; the head and the copy that finds out that there is much; now and then a piece that is too small to splice
BULK = {"splice": 32, "splice EAGAIN": 2, "read": 8, "read EAGAIN": 4, "write": 8, "epoll_wait": BULK_TURNS}
# pieces of 256 KB, and what stands between them
CHUNKS = {**BULK, "read": 16, "write": 24}
BUDGET = {
    # GET, 1 KB, keep-alive on both sides
    "fwd": {"read": 2, "write": 2, "epoll_wait": 2 * PHASE},
    # POST, 1 KB that comes with its head, keep-alive on both sides
    "post": {"read": 2, "write": 2, "epoll_wait": 2 * PHASE},
    # GET, 1 KB, a new client connection each, which the client closes
    "fwdc": {**ACCEPT, "epoll_ctl": 1, "read": 3, "write": 2, "close": 1, "epoll_wait": 4 * PHASE},
    # 64 bytes there and back in a tunnel
    "pp": {"read": 2, "write": 2, "epoll_wait": 2 * PHASE},
    # CONNECT, a byte echoed, RST by the client
    "cps": {**ACCEPT, "socket": 1, "connect": 1, "connect EINPROGRESS": 1, "epoll_ctl": 2, "setsockopt": 2, "read": 4, "read ECONNRESET": 1,
            "write": 3, "close": 2, "epoll_wait": 5 * PHASE},
    # the same, FIN by the client, answered by the origin's
    "cps-fin": {**ACCEPT, "socket": 1, "connect": 1, "connect EINPROGRESS": 1, "epoll_ctl": 2, "setsockopt": 1, "read": 5, "write": 3,
                "shutdown": 1, "close": 2, "epoll_wait": 6 * PHASE},
    # 1 MB through a tunnel
    "down": BULK,
    "up": BULK,
    "upgrade-down": BULK,
    "upgrade-up": BULK,
    # a message with 1 MB, keep-alive on both sides
    "get-1M": BULK,
    "get-1M-chunked": CHUNKS,
    "post-1M": BULK,
    "post-1M-chunked": CHUNKS,
    # its end is that of the connection, for a client of 1.0 as for the origin: new ones each, and the FIN goes through
    "get-1M-close": {**BULK, "read": 10, "socket": 1, "connect": 1, "connect EINPROGRESS": 1, "setsockopt": 1, "accept4": 2, "accept4 EAGAIN": 1,
                     "epoll_ctl": 2, "shutdown": 1, "close": 2},
    # the same for a client of 1.1, which gets chunks and keeps its connection
    "get-1M-to-chunks": {**CHUNKS, "socket": 1, "connect": 1, "connect EINPROGRESS": 1, "setsockopt": 1, "epoll_ctl": 1, "close": 1},
}
GROWTH = {"memory": 0.1}  # the allocator asks the kernel now and then

# Where this version is over its budget: (load, call) -> (what it takes, why). A whole number is exact, and what has come down since is
# to be taken out; a fraction is a bound.
KNOWN = {
    ("cps", "ioctl"): (1, "SIOCOUTQ: whether the RST would throw away what the other side has not got yet"),
}


@contextlib.contextmanager
def non_blocking(*socks):
    """Non-blocking for a while."""
    timeouts = [sock.gettimeout() for sock in socks]
    for sock in socks:
        sock.setblocking(False)
    yield
    for sock, timeout in zip(socks, timeouts):
        sock.settimeout(timeout)


def carry(source, sink, data, done, fin=False):
    """Sends (a FIN behind it with `fin`) and receives at the same time, until done(what has come) or the end."""
    deadline, left, got, ended = Deadline(20), memoryview(data), bytearray(), False
    with non_blocking(source, sink), select.epoll() as poll:
        poll.register(source, select.EPOLLOUT)
        poll.register(sink, select.EPOLLIN)
        while not ended and not done(got):
            for fd, _ in poll.poll(0.2):
                with contextlib.suppress(BlockingIOError):
                    if fd == sink.fileno():
                        part = sink.recv(MB)
                        got += part
                        ended = not part
                    elif left:
                        left = left[source.send(left[:MB]):]
                        if not left:
                            poll.modify(source, 0)
                            if fin:
                                source.shutdown(socket.SHUT_WR)
            assert not deadline.passed(), f"{len(got)} bytes have come, {len(left)} are left to send"
    return bytes(got)


def content(message):
    """What is in a message, by its framing."""
    head, rest = message.split(b"\r\n\r\n", 1)
    if b"chunked" not in head.lower():
        return rest
    found = b""
    while not found or rest[:1] != b"0":
        size = re.match(rb"([0-9a-fA-F]+)[^\r\n]*\r\n", rest)
        assert size, f"no chunk: {rest[:60]!r}"
        found += rest[size.end():size.end() + int(size[1], 16)]
        rest = rest[size.end() + int(size[1], 16) + 2:]
    return found


def sized(n):
    """Whether a message with n bytes of content is complete."""
    return lambda got: 0 <= got.find(b"\r\n\r\n") <= len(got) - n - 4


def last_chunk(got):
    return got.endswith(b"\r\n0\r\n\r\n")


class Bench:
    """A ginnel with one worker and no log, and both ends of its connections. fields: what clients say to the proxy beside the rest."""

    def __init__(self, config=None, fields=(), byte=b"x"):
        self.fields, self.byte = list(fields), byte
        self.ginnel = Ginnel({"workers": 1, "log": {"access": "off"}, "timeouts": {"drain": "0s"}, **(config or {})})
        self.pid = self.ginnel.pid
        self.worker = thread(self.pid, "ginnel-0")
        self.crowd = Crowd(self.ginnel)
        self.crowd.connect_bytes = request("CONNECT", self.crowd.authority, *self.fields)
        self.url = f"http://{self.crowd.authority}/"

    def request(self, method, *fields, **more):
        return request(method, self.url, *self.fields, *fields, **more)

    def frozen(self):
        return frozen(self.pid, self.worker)

    def count(self, run, *args):
        """The worker's calls during run(*args)."""
        wait_asleep(self.pid, self.worker)
        strace = Strace(self.pid)
        run(*args)
        wait_asleep(self.pid, self.worker)
        return strace.stop()[self.worker]

    # --- rounds of small ones --------------------------------------------------------------------------------------

    def send(self, socks, data):
        with self.frozen():
            for sock in socks:
                sock.sendall(data)

    def answer(self, origins, clients, body):
        for origin in origins:
            recv_head(origin)
        self.send(origins, response(200, body=body))
        for client in clients:
            head, rest = recv_head(client)
            assert head.startswith(b"HTTP/1.1 200")
            assert rest + recv_exactly(client, len(body) - len(rest)) == body

    def origins(self):
        """The connections of a round to the origin, which are kept."""
        while len(self.crowd.origins) < TOGETHER:
            self.crowd.accept()
        return self.crowd.origins

    def forward(self, rounds, message, answer):
        clients = self.crowd.clients or [self.crowd.dial() for _ in range(TOGETHER)]
        for _ in range(rounds):
            self.send(clients, message)
            self.answer(self.origins(), clients, answer)

    def fwd(self, rounds):
        self.forward(rounds, self.request("GET"), b"x" * KB)

    def post(self, rounds):
        self.forward(rounds, self.request("POST", body=b"y" * KB), b"ok")

    def fwdc(self, rounds):
        for _ in range(rounds):
            with self.frozen():
                clients = [self.crowd.dial(self.request("GET")) for _ in range(TOGETHER)]
            self.answer(self.origins(), clients, b"x" * KB)
            with self.frozen():
                for client in clients:
                    self.crowd.drop(client)

    def echo(self, tunnels, data):
        clients, origins = [t[0] for t in tunnels], [t[1] for t in tunnels]
        for senders, receivers in ((clients, origins), (origins, clients)):
            self.send(senders, data)
            for receiver in receivers:
                assert recv_exactly(receiver, len(data)) == data

    def pp(self, rounds):
        if not self.crowd.clients:
            self.crowd.tunnels(TOGETHER)
        for _ in range(rounds):
            self.echo(list(zip(self.crowd.clients, self.crowd.origins)), b"m" * 64)

    def connect_round(self):
        """Open tunnels, over which a byte has come and gone."""
        with self.frozen():
            clients = [self.crowd.dial(self.crowd.connect_bytes) for _ in range(TOGETHER)]
        origins = [self.crowd.accept() for _ in clients]
        for client in clients:
            assert recv_head(client)[0].startswith(b"HTTP/1.1 200")
        self.echo(list(zip(clients, origins)), self.byte)
        return clients, origins

    def cps(self, rounds):
        for _ in range(rounds):
            clients, origins = self.connect_round()
            with self.frozen():
                for client in clients:
                    reset(client)
            for origin in origins:
                with pytest.raises(ConnectionResetError):
                    origin.recv(1)
            for sock in clients + origins:
                self.crowd.drop(sock)

    def cps_fin(self, rounds):
        for _ in range(rounds):
            clients, origins = self.connect_round()
            for ending, other in ((clients, origins), (origins, clients)):
                with self.frozen():
                    for sock in ending:
                        sock.shutdown(socket.SHUT_WR)
                for sock in other:
                    assert sock.recv(1) == b""
            for sock in clients + origins:
                self.crowd.drop(sock)

    # --- bulk ------------------------------------------------------------------------------------------------------

    def flow(self, upgrade, up):
        """A tunnel that is in its stride: what is left to do is to add to its total and to finish it."""
        if upgrade:
            client = self.crowd.dial(self.request("GET", "Connection: upgrade", "Upgrade: bulk"))
            origin = self.crowd.accept()
            recv_head(origin)
            origin.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: bulk\r\n\r\n")
            assert recv_head(client)[0].startswith(b"HTTP/1.1 101")
        else:
            client, origin = self.crowd.tunnels(1)[0]
        flow = Flow(client, origin, 8 * MB) if up else Flow(origin, client, 8 * MB)
        finish([flow])
        return flow

    def pair(self, first):
        """A client that has sent `first`, on a new connection when there is none, and the origin that gets it."""
        client = self.crowd.clients[0] if self.crowd.clients else self.crowd.dial()
        client.sendall(first)
        return client, self.crowd.origins[0] if self.crowd.origins else self.crowd.accept()

    def big_post(self, fields, body, done):
        message = self.request("POST", *fields, body=body)
        at = message.index(b"\r\n\r\n") + 4
        client, origin = self.pair(message[:at])
        assert content(carry(client, origin, message[at:], done)) == content(message)
        origin.sendall(response(200, body=b""))
        assert recv_head(client)[0].startswith(b"HTTP/1.1 200")

    def big_get(self, message, done):
        client, origin = self.pair(self.request("GET"))
        recv_head(origin)
        assert content(carry(origin, client, message, done)) == content(message)

    def big_get_close(self, body, version):
        client, origin = self.pair(self.request("GET", version=version))
        recv_head(origin)
        done = last_chunk if version == "1.1" else lambda got: False
        got = carry(origin, client, b"HTTP/1.1 200 OK\r\n\r\n" + body, done, fin=True)
        assert content(got) == body
        self.crowd.drop(origin)
        if version == "1.0":
            self.crowd.drop(client)

    def big(self, n, load):
        body = os.urandom(MB)
        chunks = b"".join(chunk(body[at:at + MB // 4]) for at in range(0, MB, MB // 4)) + b"0\r\n\r\n"
        run = {
            "get-1M": lambda: self.big_get(response(200, body=body), sized(MB)),
            "get-1M-chunked": lambda: self.big_get(response(200, "Transfer-Encoding: chunked", body=chunks), last_chunk),
            "get-1M-close": lambda: self.big_get_close(body, "1.0"),
            "get-1M-to-chunks": lambda: self.big_get_close(body, "1.1"),
            "post-1M": lambda: self.big_post([], body, sized(MB)),
            "post-1M-chunked": lambda: self.big_post(["Transfer-Encoding: chunked"], chunks, last_chunk),
        }[load]
        for _ in range(n):
            run()
            wait_asleep(self.pid, self.worker)


@pytest.fixture
def bench():
    need_descriptors(0)
    return Bench()


def check(load, calls, n):
    """Compares the calls of n operations with the budget, and says all figures."""
    budget = {**GROWTH, **BUDGET[load]}
    rows, bad = [f"{load + ', calls an operation':34}  now  budget"], []
    for name in sorted(calls.keys() | BUDGET[load].keys()):
        now, limit = calls[name] / n, budget.get(name, 0)
        known, why = KNOWN.get((load, name), (limit, ""))
        rows.append(f"  {name:30} {now:7.2f} {limit:7.2f}" + (f"  (known: {known}, {why})" if why else ""))
        if now > known:
            bad.append(f"{name}: {now:.2f}, not {known:g}")
        elif why and isinstance(known, int) and now <= limit:
            bad.append(f"{name} is within its budget now: take it out of KNOWN")
    if calls["splice"]:
        rows.append(f"  {'bytes a splice':30} {calls.moved['splice'] / calls['splice']:7.0f}")
    table = "\n".join(rows)
    print("\n" + table)
    assert not bad, f"{'; '.join(bad)}\n{table}"


@pytest.mark.parametrize("load", ["fwd", "post", "fwdc", "pp", "cps", "cps-fin"])
def test_calls_of_small_operations(bench, load):
    """BENCH, system calls: exact, whatever the machine does meanwhile"""
    rounds = getattr(bench, load.replace("-", "_"))
    rounds(2)
    check(load, bench.count(rounds, ROUNDS), OPS)


PASSWORD = "Proxy-Authorization: Basic YmVuY2g6YmVuY2g="  # bench:bench


@pytest.fixture
def policed(tmp_path):
    """bench(expect, byte): the same with rules, guard, limits and names with passwords, all of which match."""
    need_descriptors(0)
    users = tmp_path / "users"
    hashed = subprocess.run(["openssl", "passwd", "-6", "-salt", "bench", "bench"], check=True, capture_output=True, text=True)
    users.write_text(f"bench:{hashed.stdout}")

    def bench(expect, byte=b"x"):
        return Bench({
            "clients": ["127.0.0.0/8"],
            "users": {"file": str(users)},
            "rules": [
                {"deny": [".blocked.example", "10.0.0.0/8"]},
                {"allow": "127.0.0.0/8", "port": "any", "user": ["bench"], "expect": expect},
            ],
            "limits": [{"per": "client", "requests": "100000/s", "bandwidth": "10GB/s", "tunnels": 10000, "quota": "1000GB/month", "upload": "1GB"}],
        }, [PASSWORD], byte)

    return bench


@pytest.mark.parametrize("load, expect, byte", [("fwd", "any", b"x"), ("post", "any", b"x"), ("fwdc", "any", b"x"), ("pp", "any", b"x"),
                                                ("cps", "any", b"x"), ("cps", "ssh", b"SSH-2.0-test\r\n"), ("cps-fin", "ssh", b"SSH-2.0-test\r\n")])
def test_calls_with_a_policy(policed, load, expect, byte):
    """Issue 5: rules, guard, limits and users that match cost no call, nor does looking at what a tunnel begins with"""
    bench = policed(expect, byte)
    rounds = getattr(bench, load.replace("-", "_"))
    rounds(2)
    check(load, bench.count(rounds, ROUNDS), OPS)


def test_calls_of_bulk_with_a_policy(policed):
    """Issue 5: bulk tunnels under a bandwidth stay on the splice path"""
    bench = policed("any")
    flow = bench.flow(False, False)

    def stretch():
        flow.total += TUNNEL_MB * MB
        finish([flow])

    check("down", min((bench.count(stretch) for _ in range(STRETCHES)), key=lambda calls: calls.total()), TUNNEL_MB)


@pytest.mark.parametrize("load", ["down", "up", "upgrade-down", "upgrade-up"])
def test_calls_of_bulk_in_tunnels(bench, load):
    """BENCH, down64: splice pairs of 64 KB or more, no epoll_ctl, no EAGAIN pair for each chunk. How much a call finds depends on the
    peers: the best of three stretches counts."""
    flow = bench.flow(load.startswith("upgrade"), load.endswith("up"))

    def stretch():
        flow.total += TUNNEL_MB * MB
        finish([flow])

    check(load, min((bench.count(stretch) for _ in range(STRETCHES)), key=lambda calls: calls.total()), TUNNEL_MB)


@pytest.mark.parametrize("load", ["get-1M", "get-1M-chunked", "get-1M-close", "get-1M-to-chunks", "post-1M", "post-1M-chunked"])
def test_calls_of_bulk_in_messages(bench, load):
    """Issue 4, hybrid relay: plain-HTTP bodies of either framing are spliced too; chunked where the pieces are large (256 KB here)"""
    bench.big(2, load)
    check(load, min((bench.count(bench.big, BIG_OPS // STRETCHES, load) for _ in range(STRETCHES)), key=lambda calls: calls.total()),
          BIG_OPS // STRETCHES)


def test_calls_of_quiet_ones(monkeypatch):
    """BENCH, idle; issue 4: with 1,000 quiet tunnels and 200 kept clients no thread makes a call, the log's and the helpers' included"""
    need_descriptors(2 * 1000 + 2 * 200)
    # ginnel watches the folders on the way to its file, and /tmp is not quiet
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")
    bench = Bench({"workers": 2, "log": {}})
    crowd = bench.crowd
    crowd.tunnels(1000)
    kept = [crowd.dial(request("GET", bench.url)) for _ in range(200)]
    bench.answer([crowd.accept() for _ in kept], kept, b"kept")
    bench.ginnel.wait_access(200)
    time.sleep(scaled(0.5))  # the log's thread waits a little for more records
    strace = Strace(bench.pid)
    time.sleep(QUIET)
    calls = strace.stop()
    names = threads(bench.pid)
    # Being attached to interrupts a wait, and a loop that was interrupted looks once at what has come meanwhile.
    calls = {tid: made for tid, made in calls.items() if dict(made) != {"epoll_wait": 1}}
    assert not calls, f"{QUIET:g} s of quiet: {({names[tid]: dict(made) for tid, made in calls.items()})}"
