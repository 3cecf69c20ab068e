# SPDX-License-Identifier: MIT
"""Scripted origins on loopback. Either the test accepts and drives each connection itself, or a handler does it in a thread."""

import socket
import threading

from . import scope
from .build import response
from .clock import DEFAULT, eventually, scaled
from .h2 import H2Conn
from .peer import Peer, Truncated
from .tls import TlsSocket


class Origin:
    """A listening socket. Without a handler: `conn = origin.accept()` gives the next connection to the test. With one, every
    connection runs handler(conn) in a thread of its own and is closed when that returns; what a handler asserts is raised when
    the origin is closed. With a context it speaks TLS."""

    def __init__(self, handler=None, host="127.0.0.1", port=0, rcvbuf=None, context=None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        try:
            self.sock.bind((host, port))
        except OSError:
            self.sock.close()
            raise
        self.sock.listen(256)
        self.sock.settimeout(None)
        self.host, self.port = host, self.sock.getsockname()[1]
        self.conns = []      # every connection ever accepted
        self.complaints = []
        self.context = context
        self.failed = []     # TLS handshakes that were not completed
        self._stopping = False
        if handler:
            threading.Thread(target=self._serve, args=(handler,), daemon=True).start()
        scope.track(self, scope.ORIGIN)

    @property
    def authority(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def url(self, path="/", name=None):
        """A URL here; `name` stands for the address."""
        authority = f"{name}:{self.port}" if name else self.authority
        return f"{'https' if self.context else 'http'}://{authority}{path}"

    def accept(self, within=DEFAULT):
        self.sock.settimeout(scaled(within))
        try:
            sock, _ = self.sock.accept()
        except TimeoutError:
            raise AssertionError(f"no connection to {self.authority} in time") from None
        return self._keep(sock)

    def expect_no_connection(self, seconds=0.2):
        self.sock.settimeout(seconds)
        try:
            sock, _ = self.sock.accept()
        except TimeoutError:
            return
        conn = self._keep(sock)
        raise AssertionError(f"unexpected connection, first bytes {conn.recv_some()!r}")

    def wait_conns(self, n, within=DEFAULT):
        eventually(lambda: len(self.conns) >= n, within, f"{n} connections at the origin")
        return self.conns

    def close(self):
        scope.forget(self)
        self._stopping = True
        try:
            self.sock.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread
        except OSError:
            pass
        self.sock.close()
        for conn in self.conns:
            conn.hang_up()
        if self.complaints:
            raise self.complaints[0]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def _keep(self, sock):
        source = _host_of(sock)
        if self.context:
            try:
                sock = TlsSocket(sock, self.context, server=True)
            except OSError as error:
                self.failed.append(error)
                sock.close()
                raise
        conn = Peer(sock, scope.ORIGIN)
        conn.source = source
        self.conns.append(conn)
        return conn

    def _serve(self, handler):
        while not self._stopping:
            try:
                sock, _ = self.sock.accept()
                conn = self._keep(sock)
            except OSError:
                if self._stopping or self.sock.fileno() < 0:
                    return
                continue
            threading.Thread(target=self._run, args=(handler, conn), daemon=True).start()

    def _run(self, handler, conn):
        try:
            handler(conn)
        except (OSError, ValueError):
            pass  # the other side has left, or the test is over (a closed descriptor is -1, which select does not like)
        except AssertionError as complaint:
            if not self._stopping:
                self.complaints.append(complaint)
        finally:
            conn.close()


def _host_of(sock):
    """Whom it came from; None when that one has left again."""
    try:
        return sock.getpeername()[0]
    except OSError:
        return None


class HttpOrigin(Origin):
    """Answers every request. `reply` is the bytes of a response, or a function of the request that returns them; None from it
    closes the connection. `requests` has every complete request, `cut` every incomplete one."""

    def __init__(self, reply=None, host="127.0.0.1", port=0, keep=True, context=None):
        self.reply = reply if reply is not None else self.echo_target
        self.keep = keep
        self.requests = []
        self.cut = []
        super().__init__(self._talk, host, port, context=context)

    @staticmethod
    def echo_target(req):
        """The default answer: what was asked for."""
        body = b"" if req.method == "HEAD" else f"{req.method} {req.target}".encode("latin-1")
        return response(body=body)

    def wait_requests(self, n, within=DEFAULT):
        eventually(lambda: len(self.requests) >= n, within, f"{n} requests at the origin")
        return self.requests

    def paths(self):
        return [req.target for req in self.requests]

    def _talk(self, conn):
        while True:
            try:
                req = conn.recv_request(within=60)
            except Truncated as cut:
                self.cut.append(cut)
                return
            if req is None:
                return
            req.conn = conn
            self.requests.append(req)
            answer = self.reply(req) if callable(self.reply) else self.reply
            if answer is None:
                return
            conn.send(answer)
            if not self.keep:
                return


class H2Origin(Origin):
    """Speaks HTTP/2: each connection is an H2Conn in the server role, given to the test by accept(). With a context, over TLS; whom that context gives
    http/1.1 is a Peer in .others."""

    def __init__(self, host="127.0.0.1", port=0, context=None, handler=None, **options):
        self.options = options
        self.others = []
        super().__init__(handler, host, port, context=context)

    def _keep(self, sock):
        if self.context:
            try:
                sock = TlsSocket(sock, self.context, server=True)
            except OSError as error:
                self.failed.append(error)
                sock.close()
                raise
            if sock.alpn() == "http/1.1":
                conn = Peer(sock, scope.ORIGIN)
                self.others.append(conn)
                return conn
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn = H2Conn(sock, client=False, rank=scope.ORIGIN, **self.options)
        self.conns.append(conn)
        return conn
