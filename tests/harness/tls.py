# SPDX-License-Identifier: MIT
"""TLS over a socket with the ends kept apart: close_notify is the end of the stream, a FIN without one is CUT, an RST is an RST.
Python's own ssl sockets can neither close one direction nor tell these apart."""

import select
import socket
import ssl
import threading
import time

from .clock import DEFAULT, scaled
from .peer import Asking, CutOff, open_socket

RECORD = 1 << 16


class TlsSocket:
    """Enough of a socket for a Peer. One thread may send while another receives."""

    def __init__(self, sock, context, name=None, server=False, within=DEFAULT):
        self.sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.obj = context.wrap_bio(self._in, self._out, server_side=server, server_hostname=None if server else name)
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._plain = bytearray()
        self._left = bytearray()  # sealed, not yet sent
        self._end = None  # b"" or an exception to be raised, once everything before it is read
        self.timeout = scaled(within)
        self._handshake()

    # what a Peer asks of the socket below
    family = property(lambda self: self.sock.family)

    def setsockopt(self, *args):
        self.sock.setsockopt(*args)

    def getsockname(self):
        return self.sock.getsockname()

    def getpeername(self):
        return self.sock.getpeername()

    def fileno(self):
        return self.sock.fileno()

    def settimeout(self, seconds):
        self.timeout = seconds

    def setblocking(self, yes):
        self.timeout = None if yes else 0

    def close(self):
        self.sock.close()

    def alpn(self):
        return self.obj.selected_alpn_protocol()

    def _handshake(self):
        self.sock.settimeout(self.timeout)
        while True:
            try:
                self.obj.do_handshake()
                self._flush()
                self.sock.setblocking(False)  # with a timeout Python waits in spite of MSG_DONTWAIT
                return self._open_all()
            except ssl.SSLWantReadError:
                self._flush()
                data = self.sock.recv(RECORD)
                if not data:
                    raise CutOff("the connection ended in the handshake") from None
                self._in.write(data)
            except ssl.SSLError:
                self._flush()
                raise

    def _flush(self):
        self._left += self._out.read()
        self._send_left()

    def send(self, data):
        """What can be taken now, at most a record; BlockingIOError when that is nothing."""
        with self._sending:
            self._send_some()
            if self._left:
                raise BlockingIOError
            data = data[:16384]
            if data:
                self._seal(data)
                self._send_some()
                # The end of a record that does not fit must not wait for a next send, which may never come.
                if self._left and select.select([], [self.sock], [], 0.2)[1]:
                    self._send_some()
            return len(data)

    @property
    def unsent(self):
        return bool(self._left)

    def sendall(self, data):
        with self._sending:
            for at in range(0, len(data), RECORD):
                self._seal(data[at:at + RECORD])
                self._send_left()

    def _seal(self, data):
        with self._lock:
            self.obj.write(bytes(data))
            self._left += self._out.read()

    def _send_some(self):
        """Without waiting."""
        try:
            while self._left:
                del self._left[:self.sock.send(self._left, socket.MSG_DONTWAIT)]
        except BlockingIOError:
            pass

    def _send_left(self):
        deadline = time.monotonic() + (self.timeout or scaled(DEFAULT))
        self._send_some()
        while self._left:
            if not select.select([], [self.sock], [], max(deadline - time.monotonic(), 0))[1]:
                raise TimeoutError("timed out")
            self._send_some()

    def send_raw(self, data):
        """Past TLS."""
        with self._sending:
            self._left += data
            self._send_left()

    def shutdown(self, how):
        """Our direction: close_notify, and the FIN behind it. Both: the socket below."""
        if how == socket.SHUT_WR:
            with self._sending:
                self._open_all()
                with self._lock:
                    try:
                        self.obj.unwrap()
                    except ssl.SSLError:  # it would now wait for the other side's
                        pass
                    self._left += self._out.read()
                self._send_left()
        self.sock.shutdown(how)

    def _open_all(self):
        """Decrypts what has been received; a close_notify among it is remembered."""
        with self._lock:
            while self._end is None:
                try:
                    data = self.obj.read(RECORD)
                except ssl.SSLWantReadError:
                    return
                except (ssl.SSLZeroReturnError, ssl.SSLSyscallError):
                    self._end = b""
                    return
                except ssl.SSLError as error:
                    self._end = error
                    return
                if not data:
                    self._end = b""
                    return
                self._plain += data

    def recv(self, n):
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        while not self._plain and self._end is None:
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            if not select.select([self.sock], [], [], left)[0]:
                raise TimeoutError("timed out")
            self._more()
        if self._plain:
            data = bytes(self._plain[:n])
            del self._plain[:n]
            return data
        if isinstance(self._end, Exception):
            raise self._end
        return b""

    def _more(self):
        """Receives once, if there is something."""
        try:
            data = self.sock.recv(RECORD, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            self._open_all()
            if self._end is None:
                self._end = error
            return
        if data:
            with self._lock:
                self._in.write(data)
            self._open_all()
        elif self._end is None:
            self._end = CutOff("FIN without close_notify")

    def look(self, seconds):
        """Whether recv would return at once, now or within that time."""
        until = time.monotonic() + seconds
        while not self._plain and self._end is None:
            if not select.select([self.sock], [], [], max(until - time.monotonic(), 0))[0]:
                return False
            self._more()
        return True


class TlsClient(Asking):
    """A raw client connection over TLS. `context` decides whom it trusts and what it offers."""

    def __init__(self, host, port, context, name="localhost", source=None, rcvbuf=None, within=DEFAULT, before=b""):
        sock = open_socket(host, port, source, rcvbuf, within)
        try:
            if before:
                sock.sendall(before)
            tls = TlsSocket(sock, context, name, within=within)
        except BaseException:
            sock.close()
            raise
        super().__init__(tls)

    def cut(self):
        """Ends the connection with a FIN and no close_notify: what an attacker can do."""
        self.sock.sock.shutdown(socket.SHUT_WR)

    def alpn(self):
        return self.sock.alpn()
