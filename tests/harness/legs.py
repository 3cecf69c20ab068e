# SPDX-License-Identifier: MIT
"""The four kinds of next hop, as one interface: the origin itself, and a parent that is spoken to in h1, in h1 over TLS, in h2 over TLS. The test is the
far end of each: a CONNECT that comes in is answered with 200, and what is behind it is the test's, like an origin's connection.

    leg.authority, leg.url(path)    what a client has to ask for so that ginnel goes this way
    leg.tunnel(side)                (the client's end, the far end) of an open tunnel
    leg.accept_request()            the next request, as a Far"""

import threading

from . import scope
from .build import chunk
from .clock import DEFAULT, eventually
from .h2 import SETTINGS
from .message import Request
from .origin import H2Origin, Origin

LEGS = ("origin", "http-parent", "https-h1-parent", "https-h2-parent")


class Legs:
    """All of them, and the configuration of a ginnel that goes by them. They outlive tests; close() ends them."""

    def __init__(self, certificates):
        leaf = certificates.leaf
        servers = Origin(), Origin(), Origin(context=leaf.server_context(["http/1.1"])), \
            H2Origin(context=leaf.server_context(["h2", "http/1.1"]), handler=_stay, settings={SETTINGS.ENABLE_CONNECT_PROTOCOL: 1})
        self.legs = {name: Leg(name, server) for name, server in zip(LEGS, servers)}
        for server in servers:
            scope.forget(server)
        entries = [{"for": f"{leg.name}.test", "via": [leg.parent_url]} for leg in self.legs.values() if leg.parent_url]
        self.config = {"upstream": entries, "trust": str(certificates.ca)}

    def close(self):
        for leg in self.legs.values():
            leg.server.close()


def _stay(conn):
    """Connections are used by whoever calls accept on them."""
    eventually(lambda: conn.sock.fileno() < 0, 3600)


class Leg:
    def __init__(self, name, server):
        self.name, self.server = name, server
        self.is_h2, self.is_parent = "-h2" in name, name != "origin"
        self.parent_url = None
        if self.is_parent:
            self.parent_url = f"http://{server.authority}" if name == "http-parent" else f"https://localhost:{server.port}"

    def __repr__(self):
        return self.name

    @property
    def authority(self):
        return f"{self.name}.test:8080" if self.is_parent else self.server.authority

    def url(self, path="/"):
        return f"http://{self.authority}{path}"

    def _stream(self, within):
        """h2: the next stream on whatever connection it comes."""
        conn = eventually(lambda: next((c for c in self.server.conns if c.arrived), None), within, f"a stream at {self}")
        return conn.accept()

    def accept_tunnel(self, within=DEFAULT):
        """The far end of the next tunnel. A parent's 200 is sent."""
        if self.is_h2:
            stream = self._stream(within)
            assert stream.fields[:2] == [(":method", "CONNECT"), (":authority", self.authority)], stream.fields
            stream.send_head([(":status", "200")])
            return stream
        conn = self.server.accept(within)
        if self.is_parent:
            head = conn.recv_until(b"\r\n\r\n", within)
            assert head.startswith(f"CONNECT {self.authority} HTTP/1.1\r\n".encode()), head
            conn.expect_silence(0.003)
            conn.send(b"HTTP/1.1 200 OK\r\n\r\n")
        return conn

    def tunnel(self, side, within=DEFAULT):
        result = []
        thread = threading.Thread(target=lambda: result.append(_outcome(self.accept_tunnel, within)))
        thread.start()
        try:
            near = side.tunnel(self.authority, within=within)
        finally:
            thread.join()
        if isinstance(result[0], Exception):
            raise result[0]
        return near, result[0]

    def accept_request(self, within=DEFAULT, upgrade=False):
        """The next request's head; its content is read by .read(). With `upgrade` it may come in h1 where the next hop takes both: that of h1 is always there,
        that of h2 (RFC 8441) has to be offered."""
        if self.is_h2 and upgrade:
            plain = eventually(lambda: any(c.arrived for c in self.server.conns) or self._untouched(), within, f"a request at {self}")
            if plain is not True:
                return H1Far(plain, plain.recv_request_head(within))
        if self.is_h2:
            stream = self._stream(within)
            pseudo = {name: value for name, value in stream.fields if name.startswith(":")}
            head = Request(b"", pseudo[":method"], pseudo[":path"], "2")
            head.fields = [field for field in stream.fields if field[0] not in pseudo]
            head.scheme, head.authority, head.protocol = pseudo[":scheme"], pseudo[":authority"], pseudo.get(":protocol")
            return H2Far(stream, head)
        conn = self._kept() or self.server.accept(within)
        return H1Far(conn, conn.recv_request_head(within))

    def _untouched(self):
        """A connection in h1 at a next hop that takes both."""
        return next((c for c in self.server.others if c.sock.fileno() >= 0 and not c.received), None)

    def _kept(self):
        """A connection of the pool's on which something has come in."""
        return next((c for c in self.server.conns if c.sock.fileno() >= 0 and (c.buffer or c._look(0)) and c.end == "open"), None)


class H1Far:
    def __init__(self, conn, head):
        self.conn, self.head = conn, head

    def read(self, within=DEFAULT):
        """The whole request."""
        return self.conn.recv_content(self.head, self.head.framing, within)

    def interim(self, status, fields=()):
        self.conn.send(_head(status, fields))

    def answer(self, status=200, fields=(), body=b"", trailers=()):
        """Framed by its length, or by chunks when there are trailers."""
        if trailers:
            self.conn.send(_head(status, [*fields, ("Transfer-Encoding", "chunked")]))
            tail = "".join(f"{n}: {v}\r\n" for n, v in trailers).encode()
            return self.conn.send((chunk(body) if body else b"") + b"0\r\n" + tail + b"\r\n")
        data = _head(status, [*fields, ("Content-Length", str(len(body)))]) + body
        return self.conn.send_in_background(data) if len(data) > 16384 else self.conn.send(data)

    def begin(self, status=200, fields=()):
        """An answer whose content is chunked, and sent piece by piece."""
        self.conn.send(_head(status, [*fields, ("Transfer-Encoding", "chunked")]))

    def send(self, data):
        self.conn.send(chunk(data))

    def abort(self):
        self.conn.reset()

    def gone(self, within=DEFAULT):
        """How the client's loss of interest came through."""
        return self.conn.wait_ended(within)


class H2Far:
    def __init__(self, stream, head):
        self.stream, self.head = stream, head

    def read(self, within=DEFAULT):
        self.head.body = self.stream.recv_message(within)
        self.head.trailers = self.stream.trailers
        return self.head

    def interim(self, status, fields=()):
        self.stream.send_head([(":status", str(status)), *_lower(fields)])

    def answer(self, status=200, fields=(), body=b"", trailers=()):
        more = [] if trailers else [("content-length", str(len(body)))]
        self.stream.send_head([(":status", str(status)), *_lower(fields), *more], end=not body and not trailers)
        if body or trailers:
            return self.stream.send_message(body, _lower(trailers))

    def begin(self, status=200, fields=()):
        self.stream.send_head([(":status", str(status)), *_lower(fields)])

    def send(self, data):
        self.stream.send(data)

    def abort(self):
        self.stream.reset(2)

    def gone(self, within=DEFAULT):
        return self.stream.wait_ended(within)


def _lower(fields):
    return [(n.lower(), v) for n, v in fields]


def _head(status, fields):
    return b"HTTP/1.1 %d X\r\n" % status + "".join(f"{n}: {v}\r\n" for n, v in fields).encode() + b"\r\n"


def _outcome(function, *args):
    try:
        return function(*args)
    except Exception as error:  # for the thread that waits
        return error
