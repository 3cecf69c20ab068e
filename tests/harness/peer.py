# SPDX-License-Identifier: MIT
"""One end of a TCP connection: sends exact bytes, receives with deadlines, and knows how the other side ended."""

import hashlib
import pathlib
import re
import select
import socket
import struct
import threading
import time

from . import scope
from .clock import DEFAULT, Deadline, eventually, scaled
from .message import Malformed, parse_fields, parse_request_head, parse_response_head

OPEN, FIN, RST = "open", "FIN", "RST"
CUT = "CUT"  # TLS: a FIN without close_notify
READ_SIZE = 1 << 16
CHUNK_SIZE_LINE = re.compile(rb"[0-9a-fA-F]{1,16}")


def kernel_room():
    """What the sockets between a writer and the proxy's own may hold: the kernel lets a receive buffer grow while bytes come fast."""
    largest = [int((pathlib.Path("/proc/sys/net/ipv4") / name).read_text().split()[2]) for name in ("tcp_rmem", "tcp_wmem", "tcp_wmem")]
    return sum(largest) + (4 << 20)


class Truncated(AssertionError):
    """The connection ended inside a message. `part` is what had been received of its content, `end` how it ended."""

    def __init__(self, what, part, end, head=None):
        super().__init__(f"{what}: {end} after {len(part)} bytes")
        self.part, self.end, self.head = bytes(part), end, head


class CutOff(OSError):
    """TLS: a FIN without close_notify."""


class Peer:
    def __init__(self, sock, rank=scope.CLIENT):
        self.sock = sock
        if sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()    # received, not yet consumed
        self.received = bytearray()  # every byte received so far
        self.end = OPEN              # how the other side has ended
        self.local = sock.getsockname()[:2]
        self.remote = sock.getpeername()[:2]
        scope.track(self, rank)

    # --- sending ---------------------------------------------------------------------------------------------------

    def send(self, data, within=DEFAULT):
        self.sock.settimeout(scaled(within))
        self.sock.sendall(data)

    def send_bytewise(self, data, pause=0.0003):
        """One byte a segment."""
        for i in range(len(data)):
            self.send(data[i:i + 1])
            time.sleep(pause)

    def send_in_background(self, data, bytewise=False):
        """Starts sending; join() the result, whose .error is what ended it early."""
        return Sender(self.send_bytewise if bytewise else lambda d: self.send(d, within=30), data)

    def send_until_blocked(self, block, limit, quiet=0.4):
        """Sends `block` again and again until nothing is taken for `quiet` seconds or `limit` is reached; returns how many
        bytes were taken."""
        sent = 0
        self.sock.setblocking(False)
        while sent < limit:
            if not select.select([], [self.sock], [], scaled(quiet))[1]:
                break
            try:
                sent += self.sock.send(block[sent % len(block):])
            except BlockingIOError:
                continue
        return sent

    def shut_write(self):
        """Half-close: a FIN after what was sent."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Ends the connection with an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        scope.forget(self)
        self.sock.close()

    def hang_up(self):
        """Closes also when another thread is waiting for the socket, which a close alone would not reach."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    # --- receiving bytes -------------------------------------------------------------------------------------------

    def _fill(self, deadline):
        """Receives once into the buffer. False at the end of the connection."""
        if self.end != OPEN:
            return False
        self.sock.settimeout(deadline.left())
        try:
            data = self.sock.recv(READ_SIZE)
        except ConnectionResetError:
            self.end = RST
            return False
        except TimeoutError:
            raise AssertionError(f"nothing received in time; so far unread: {bytes(self.buffer[:300])!r}") from None
        except CutOff:
            self.end = CUT
            return False
        if not data:
            self.end = FIN
            return False
        self.buffer += data
        self.received += data
        return True

    def _take(self, n):
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data

    def recv_exactly(self, n, within=DEFAULT):
        deadline = Deadline(within)
        while len(self.buffer) < n:
            if not self._fill(deadline):
                raise Truncated(f"wanted {n} bytes", self.buffer, self.end)
        return self._take(n)

    def recv_until(self, mark, within=DEFAULT):
        """Everything up to and including `mark`."""
        deadline, start = Deadline(within), 0
        while (at := self.buffer.find(mark, start)) < 0:
            start = max(0, len(self.buffer) - len(mark))
            if not self._fill(deadline):
                raise Truncated(f"waiting for {mark!r}", self.buffer, self.end)
        return self._take(at + len(mark))

    def recv_some(self, within=DEFAULT):
        """What is there, at least one byte; b"" at the end."""
        if not self.buffer:
            self._fill(Deadline(within))
        return self._take(len(self.buffer))

    def recv_all(self, within=DEFAULT):
        """Everything up to the end; then self.end is FIN or RST."""
        deadline = Deadline(within)
        while self._fill(deadline):
            pass
        return self._take(len(self.buffer))

    def digest_all(self, within=DEFAULT):
        """(length, sha256) of everything up to the end, for bulk."""
        deadline, digest, length = Deadline(within), hashlib.sha256(self.buffer), len(self.buffer)
        self.buffer.clear()
        while self._fill(deadline):
            digest.update(self.buffer)
            length += len(self.buffer)
            self.buffer.clear()
            self.received.clear()
        return length, digest.hexdigest()

    def expect_end(self, kind=None, rest=b"", within=DEFAULT):
        """The connection ends, with exactly `rest` before, in the way of `kind` (FIN, RST, or either)."""
        data = self.recv_all(within)
        assert data == rest, f"unexpected bytes before the end: {data[:300]!r}"
        assert kind in (None, self.end), f"ended by {self.end}, not {kind}"
        return self.end

    def expect_silence(self, seconds=0.2):
        """Neither bytes nor an end arrive for that long."""
        assert not self.buffer, f"unexpected bytes: {bytes(self.buffer[:300])!r}"
        if self._look(seconds):
            raise AssertionError(f"expected silence, got {self.end} {bytes(self.buffer[:300])!r}")

    def ended(self):
        """Reads what is there without blocking; how the other side has ended by now."""
        while self._look(0):
            pass
        return self.end

    def _look(self, seconds):
        """Receives once if there is something within that time; whether bytes or an end came."""
        if self.end != OPEN:
            return False
        look = getattr(self.sock, "look", None)  # TLS has bytes of its own
        if not (look(seconds) if look else select.select([self.sock], [], [], seconds)[0]):
            return False
        self._fill(Deadline())
        return True

    def wait_ended(self, within=DEFAULT):
        """Waits for the end and keeps what arrives before it in the buffer."""
        return eventually(lambda: self.ended() != OPEN and self.end, within, "the end of the connection")

    # --- receiving messages ----------------------------------------------------------------------------------------

    def recv_request_head(self, within=DEFAULT):
        """The next request's head, or None when the connection ends before its first byte."""
        raw = self._recv_head(within, none_at_end=True)
        return raw and parse_request_head(raw)

    def recv_request(self, within=DEFAULT):
        """A whole request, or None when the connection ends before its first byte."""
        head = self.recv_request_head(within)
        if head:
            self.recv_content(head, head.framing, within)
        return head

    def recv_response_head(self, within=DEFAULT):
        """The next response's head, whatever its status."""
        return parse_response_head(self._recv_head(within))

    def recv_response(self, method="GET", within=DEFAULT):
        """A whole final response to a request of that method, its interim responses in .interim."""
        interim = []
        while (head := self.recv_response_head(within)).status < 200 and head.status != 101:
            interim.append(head)
        head.interim = interim
        return self.recv_content(head, head.framing_for(method), within)

    def recv_content(self, head, framing, within=DEFAULT):
        """Reads the content that belongs to head into head.body."""
        if framing == "length":
            self._recv_sized(head, int(head.value("content-length")), within)
        elif framing == "chunked":
            self._recv_chunked(head, within)
        elif framing == "close":
            self._recv_closed(head, within)
        return head

    def _recv_head(self, within, none_at_end=False):
        try:
            return self.recv_until(b"\r\n\r\n", within)
        except Truncated as cut:
            if none_at_end and not cut.part:
                return None
            raise

    def _recv_sized(self, head, length, within):
        try:
            head.body = head.raw_body = self.recv_exactly(length, within)
        except Truncated as cut:
            raise Truncated("content shorter than Content-Length", cut.part, cut.end, head) from None

    def _recv_closed(self, head, within):
        head.body = head.raw_body = self.recv_all(within)
        if self.end == RST:
            raise Truncated("content up to the close", head.body, self.end, head)

    def _recv_chunked(self, head, within):
        raw, body = bytearray(), bytearray()
        try:
            while True:
                line = self.recv_until(b"\r\n", within)
                raw += line
                if not CHUNK_SIZE_LINE.fullmatch(line[:-2]):
                    raise Malformed(f"chunk size line {line!r}")
                size = int(line, 16)
                if size == 0:
                    break
                data = self.recv_exactly(size + 2, within)
                raw += data
                if data[-2:] != b"\r\n":
                    raise Malformed(f"chunk data ends in {data[-2:]!r}")
                body += data[:-2]
            while (line := self.recv_until(b"\r\n", within)) != b"\r\n":
                raw += line
                head.trailers += parse_fields([line[:-2]])
            raw += line
        except Truncated as cut:
            raise Truncated("chunked content", bytes(body) + cut.part, cut.end, head) from None
        head.body, head.raw_body = bytes(body), bytes(raw)


class Sender(threading.Thread):
    def __init__(self, send, data):
        super().__init__(daemon=True)
        self._call, self.error = (send, data), None
        self.start()

    def run(self):
        send, data = self._call
        try:
            send(data)
        except OSError as error:
            self.error = error


class Asking(Peer):
    """What every client can do."""

    def ask(self, data, method=None, within=DEFAULT):
        """Sends a request and receives the response to it."""
        self.send(data)
        return self.recv_response(method or data.split(b" ", 1)[0].decode("latin-1"), within)

    def connect(self, authority, early=b"", within=DEFAULT):
        """CONNECT; asserts success and returns self as the open tunnel."""
        target = authority.encode()
        self.send(b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n%s" % (target, target, early))
        head = self.recv_until(b"\r\n\r\n", within)
        assert head == b"HTTP/1.1 200 Connection established\r\n\r\n", head
        return self


def open_socket(host, port, source=None, rcvbuf=None, within=DEFAULT):
    """A connected TCP socket."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.settimeout(scaled(within))
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            sock.bind((source, 0))
        sock.connect((host, port))
    except OSError:
        sock.close()
        raise
    return sock


class Client(Asking):
    """A raw client connection."""

    def __init__(self, host, port, source=None, rcvbuf=None, within=DEFAULT):
        super().__init__(open_socket(host, port, source, rcvbuf, within))


class UnixClient(Asking):
    """The same over a Unix socket."""

    def __init__(self, path, within=DEFAULT):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(scaled(within))
            sock.connect(str(path))
        except OSError:
            sock.close()
            raise
        super().__init__(sock)
