# SPDX-License-Identifier: MIT
"""Many connections through a proxy, both ends of each in the hands of one thread: bare sockets, nothing kept of what they receive."""

import collections
import os
import resource
import select
import socket
import struct
import time

import pytest

from . import scope
from .clock import Deadline, scaled

BATCH = 64  # connections opened at a time

Tunnel = collections.namedtuple("Tunnel", "client origin")


def need_descriptors(n):
    """Raises this process's limit, and that of what it starts, to have n descriptors beside the usual ones."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n += 200
    if hard != resource.RLIM_INFINITY and hard < n:
        pytest.skip(f"needs {n} descriptors, the limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < n:
        resource.setrlimit(resource.RLIMIT_NOFILE, (n, hard))


def recv_exactly(sock, n):
    data = sock.recv(n)
    while len(data) < n:
        more = sock.recv(n - len(data))
        assert more, f"the end after {len(data)} of {n} bytes"
        data += more
    return data


def recv_head(sock):
    """A head, and nothing may follow it at once but what is returned as the second value."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        assert more, f"the end after {data!r}"
        data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    return head, rest


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Crowd:
    """Clients of `proxy`, and the origin that they ask for. Sockets block, with a deadline. `mss` makes segments as small as on a
    network: with those of loopback (64 KB) the kernel buffers megabytes for each of them."""

    def __init__(self, proxy, rcvbuf=None, sndbuf=None, mss=None, within=10):
        self.to = (proxy.host, proxy.port)
        self.options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf), (socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf),
                        (socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)]
        self.within = within
        self.clients, self.origins = [], []
        self.listener = self._socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(4096)
        self.authority = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.connect_bytes = f"CONNECT {self.authority} HTTP/1.1\r\nHost: {self.authority}\r\n\r\n".encode()
        scope.track(self, scope.CLIENT)

    def _socket(self):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        for level, option, value in self.options:
            if value:
                sock.setsockopt(level, option, value)
        sock.settimeout(scaled(self.within))
        return sock

    def dial(self, first=b""):
        """A new client, which has sent `first`."""
        sock = self._socket()
        self.clients.append(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(self.to)
        if first:
            sock.sendall(first)
        return sock

    def accept(self):
        """The next connection at the origin."""
        sock, _ = self.listener.accept()
        sock.settimeout(scaled(self.within))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.origins.append(sock)
        return sock

    def tunnels(self, n):
        """n more tunnels, after a message of four bytes in each direction; which end belongs to which is what they say."""
        made = []
        while len(made) < n:
            clients = [self.dial(self.connect_bytes) for _ in range(min(BATCH, n - len(made)))]
            for i, client in enumerate(clients):
                head, rest = recv_head(client)
                assert head.startswith(b"HTTP/1.1 200") and not rest, head
                client.sendall(struct.pack("!I", i))
            for _ in clients:
                origin = self.accept()
                name = recv_exactly(origin, 4)
                origin.sendall(name)
                made.append(Tunnel(clients[struct.unpack("!I", name)[0]], origin))
            for client in clients:
                recv_exactly(client, 4)
        return made

    def drop(self, sock):
        """Forgets a socket that the test closes or has closed."""
        for socks in (self.clients, self.origins):
            if sock in socks:
                socks.remove(sock)
        sock.close()

    def close(self):
        scope.forget(self)
        for sock in self.clients + self.origins + [self.listener]:
            sock.close()


PERIOD = 1 << 20
PATTERN = os.urandom(PERIOD)
PATTERN = memoryview(PATTERN + PATTERN)


class Flow:
    """Bytes from one socket to another, each compared with what was sent: a pattern that repeats after PERIOD. `total` None: without end."""

    def __init__(self, source, sink, total=None):
        self.source, self.sink, self.total = source, sink, total
        self.sent = self.received = 0
        self.last_send = time.monotonic()
        source.setblocking(False)
        sink.setblocking(False)

    def send(self, most=PERIOD):
        """Sends what goes in, `most` at most; how much that was."""
        if self.total is not None:
            most = min(most, self.total - self.sent)
        at = self.sent % PERIOD
        try:
            n = self.source.send(PATTERN[at:at + min(most, PERIOD)])
        except BlockingIOError:
            return 0
        self.sent += n
        self.last_send = time.monotonic()
        return n

    def recv(self, most=PERIOD):
        """Receives what is there; how much that was."""
        try:
            data = self.sink.recv(min(most, PERIOD))
        except BlockingIOError:
            return 0
        assert data, f"the end after {self.received} of {self.sent} bytes"
        at = self.received % PERIOD
        assert data == PATTERN[at:at + len(data)], f"other bytes than were sent, after {self.received}"
        self.received += len(data)
        return len(data)

    def done(self):
        return self.received == (self.sent if self.total is None else self.total)


def finish(flows, within=20):
    """Sends what is left to send, and receives it all."""
    deadline = Deadline(within)
    poll = select.epoll()
    todo = [flow for flow in flows if not flow.done()]
    sinks = {flow.sink.fileno(): flow for flow in todo}
    sources = {flow.source.fileno(): flow for flow in todo if flow.total is not None and flow.sent < flow.total}
    for fd in sinks.keys() | sources.keys():
        poll.register(fd, (select.EPOLLIN if fd in sinks else 0) | (select.EPOLLOUT if fd in sources else 0))
    try:
        while sinks:
            for fd, events in poll.poll(0.2):
                if events & select.EPOLLOUT and fd in sources:
                    sources[fd].send()
                    if sources[fd].sent == sources[fd].total:
                        del sources[fd]
                        poll.modify(fd, select.EPOLLIN if fd in sinks else 0)
                if fd in sinks and events & ~select.EPOLLOUT:
                    sinks[fd].recv()
                    if sinks[fd].done():
                        del sinks[fd]
                        poll.modify(fd, select.EPOLLOUT if fd in sources else 0)
            assert not deadline.passed(), f"{len(sinks)} transfers do not end: {[(f.sent, f.received) for f in sinks.values()][:5]}"
    finally:
        poll.close()
