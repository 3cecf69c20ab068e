# SPDX-License-Identifier: MIT
"""The four ways to speak to the proxy, {clear, TLS} x {h1, h2}, as one interface: a test that takes a Side runs over each.

    side.tunnel(authority)          an open CONNECT tunnel: a TCP connection, a TLS one, or a stream, all with a Peer's methods
    side.ask(method, url, …)        a request and its whole answer
    side.begin(method, url, …)      a request that the test sends piece by piece

HTTP/2 puts everything of one test on one connection, so that what a test does to one stream happens beside the others."""

from urllib.parse import urlsplit

from .build import chunk
from .clock import DEFAULT
from .h2 import H2Client
from .peer import OPEN, Client
from .tls import TlsClient

SIDES = ("clear-h1", "tls-h1", "clear-h2", "tls-h2")
HOST = "localhost"  # what the certificate of the proxy is for


def listen(pair, host="127.0.0.1"):
    """The configuration of two listeners: the first in clear, the second with TLS."""
    return [{"address": f"{host}:0"}, {"address": f"{host}:0", "tls": {"cert": str(pair.cert), "key": str(pair.key)}}]


def _lines(fields):
    return b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in fields)


def _lower(fields):
    return [(name.lower(), value) for name, value in fields]


class Side:
    """`address` is (host, port) of the listener, or of whatever stands for it; `authority` an harness.certs.Authority that signed its certificate."""

    def __init__(self, name, address, authority):
        self.name, self.address, self.authority = name, address, authority
        self.is_tls, self.is_h2 = name.startswith("tls"), name.endswith("h2")
        self._conn = None

    @classmethod
    def of(cls, name, proxy, authority):
        """Of a ginnel whose listeners are those of listen()."""
        return cls(name, proxy.listeners[name.startswith("tls")], authority)

    def __repr__(self):
        return self.name

    @property
    def url(self):
        """For h1 clients; of an h2 side too, since its port speaks both."""
        return f"{'https' if self.is_tls else 'http'}://{HOST if self.is_tls else self.address[0]}:{self.address[1]}"

    def client(self, **options):
        """A new connection of this side: a Client, TlsClient or H2Client."""
        host, port = self.address
        if self.is_h2:
            return H2Client(host, port, self.authority.client_context(["h2"]) if self.is_tls else None, HOST, **options)
        if self.is_tls:
            return TlsClient(host, port, self.authority.client_context(["http/1.1"]), HOST, **options)
        return Client(host, port, **options)

    def conn(self):
        """h2: the connection that streams are opened on; a new one when the last has ended."""
        if not self._conn or self._conn.end != OPEN or self._conn.goaways:
            self._conn = self.client()
        return self._conn

    def tunnel(self, authority, early=b"", within=DEFAULT):
        if self.is_h2:
            return self.conn().connect(authority, early=early, within=within)
        return self.client().connect(authority, early, within)

    def refused(self, authority, fields=(), within=DEFAULT):
        """The answer to a CONNECT that is refused, whole."""
        if self.is_h2:
            stream = self.conn().open([(":method", "CONNECT"), (":authority", authority), *_lower(fields)])
            return stream.recv_response("CONNECT", within)
        client = self.client()
        client.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n".encode() + _lines(fields) + b"\r\n")
        return client.recv_response("CONNECT", within)

    def begin(self, method, url, fields=(), content=True, length=None):
        """An Exchange whose head is sent. `content`: more follows; its length is said if it is given."""
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        fields = list(fields) + ([("Content-Length", str(length))] if length is not None else [])
        if self.is_h2:
            pseudo = [(":method", method), (":scheme", parts.scheme), (":authority", parts.netloc), (":path", path)]
            return H2Exchange(self.conn().open(pseudo + _lower(fields), end=not content), method)
        return self.begin_on(self.client(), method, url, fields, content, length)

    @staticmethod
    def begin_on(client, method, url, fields, content=True, length=None):
        """h1: on a connection that is there."""
        chunked = content and length is None
        fields = list(fields) + ([("Transfer-Encoding", "chunked")] if chunked else [])
        client.send(f"{method} {url} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n".encode() + _lines(fields) + b"\r\n")
        return H1Exchange(client, method, chunked)

    def ask(self, method, url, fields=(), body=None, trailers=(), within=DEFAULT):
        """The whole answer. A body has a length unless trailers follow it."""
        exchange = self.begin(method, url, fields, content=body is not None, length=None if body is None or trailers else len(body))
        if body is not None:
            exchange.send_whole(body, trailers)
        return exchange.recv_response(within)


class H1Exchange:
    def __init__(self, client, method, chunked):
        self.client, self.method, self.chunked = client, method, chunked

    def send(self, data, within=DEFAULT):
        self.client.send(chunk(data) if self.chunked else data, within)

    def send_whole(self, body, trailers=()):
        """Content and end; long content in the background, so that the answer can be read meanwhile."""
        data = self._framed(body, trailers)
        if len(data) <= 16384:
            return self.client.send(data)
        return self.client.send_in_background(data)

    def _framed(self, body, trailers):
        if not self.chunked:
            return body
        pieces = [chunk(body[at:at + 65536]) for at in range(0, len(body), 65536)]
        return b"".join(pieces) + b"0\r\n" + _lines(trailers) + b"\r\n"

    def finish(self, trailers=()):
        if self.chunked:
            self.client.send(b"0\r\n" + _lines(trailers) + b"\r\n")

    def recv_head(self, within=DEFAULT):
        return self.client.recv_response_head(within)

    def recv_response(self, within=DEFAULT):
        return self.client.recv_response(self.method, within)

    def recv_part(self, n, within=DEFAULT):
        """So many bytes of the content, whose framing is the test's business to avoid."""
        return self.client.recv_exactly(n, within)

    def abort(self):
        self.client.reset()


class H2Exchange:
    def __init__(self, stream, method):
        self.stream, self.method = stream, method

    def send(self, data, within=DEFAULT):
        self.stream.send(data, within)

    def send_whole(self, body, trailers=()):
        return self.stream.send_message(body, _lower(trailers))

    def finish(self, trailers=()):
        if trailers:
            self.stream.send_head(_lower(trailers), end=True)
        else:
            self.stream.shut_write()

    def recv_head(self, within=DEFAULT):
        return self.stream.recv_response_head(within)

    def recv_response(self, within=DEFAULT):
        return self.stream.recv_response(self.method, within)

    def recv_part(self, n, within=DEFAULT):
        return self.stream.recv_exactly(n, within)

    def abort(self):
        self.stream.reset()
