# SPDX-License-Identifier: MIT
"""The two ends of a case of bench/exact-legs, each a TCP connection, a TLS one, or an HTTP/2 stream, over the clients and far ends of
tests/harness. An end runs a small program (exact_plans.py) in one thread and looks at what comes in in another, byte by byte."""
import base64
import contextlib
import hashlib
import os
import random
import select
import socket
import threading
import time

import h2.exceptions

from harness import h2 as harness_h2
from harness.message import Malformed, parse_response_head
from harness.peer import FIN, OPEN, RST

PERIOD = 1048573  # of the contents: a prime, so that a loss or a repetition of a whole buffer shows
AHEAD = 1 << 18
_BLOCK = random.Random(42).randbytes(PERIOD)
BLOCK = memoryview(_BLOCK + _BLOCK[:AHEAD])
PIECE = 1 << 16
SLOW_READ = 32 << 10  # a millisecond
SMALL_BUFFER = 64 << 10
BLOCKED = 0.1
RST_LIMIT = 1.0
TICK = 0.02

RAW, CLOSE, LENGTH, CHUNKED = "raw", "close", "length", "chunked"
EAGER, SLOWLY, STALLED = "eager", "slowly", "stalled"


class Stop(Exception):
    """The case is over, or nothing can be sent any more."""


def accept_of(key):
    return base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


class End:
    """What one end is to do, and what it has seen so far. `case.changed` guards what both threads write."""

    def __init__(self, case, is_client):
        self.case, self.is_client, self.who = case, is_client, "client" if is_client else "far end"
        self.other = self.chan = None
        self.ops, self.expect, self.reader, self.may_refuse = [], None, EAGER, False
        self.shift = case.rng.randrange(PERIOD)
        # what it sends
        self.framing, self.declared, self.framed = RAW, 0, 0
        self.bytewise = self.cork = self.blocked = self.ended = False
        self.did_fin = self.did_rst = self.send_failed = self.met = self.finished = False
        self.fin_at = self.rst_at = self.ended_at = 0
        # what it receives
        self.got, self.status = 0, 0
        self.open = self.fin = self.err = self.read_done = self.done = self.in_close = self.settled = False
        self.last_at = self.end_at = self.err_at = 0
        self.how = OPEN

    def story(self):
        """For whoever looks into a failure."""
        words = [word for word in ("open", "met", "finished", "blocked", "send_failed", "did_fin", "did_rst", "err", "settled") if getattr(self, word)]
        there = "" if self.chan else " (never there)"
        return f"{self.who}{there}: sent {self.framed} got {self.got} {self.how}, {' '.join(words)}"

    def content_at(self, offset, n):
        at = (offset + self.shift) % PERIOD
        return bytes(BLOCK[at:at + min(n, AHEAD)])

    def arrived(self):
        return self.other.got == self.framed

    # --- receiving -------------------------------------------------------------------------------------------------

    def take_content(self, data):
        """Bytes of the other's content have come."""
        other, at = self.other, 0
        while at < len(data):
            piece = data[at:at + AHEAD]
            if self.got + len(piece) > other.framed:
                return self.case.wrong(f"the {self.who} got bytes that nobody sent")
            if other.content_at(self.got, len(piece)) != piece:
                return self.case.wrong(f"the {self.who} got a wrong byte behind {self.got}")
            self.got += len(piece)
            at += len(piece)

    def saw_error(self):
        if not self.err:
            self.err, self.err_at = True, time.monotonic()
        self.case.tell()

    def listen(self):
        """The thread that looks."""
        try:
            while not self.case.over and not self.read_done:
                self._pace()
                if self.chan.look():
                    self.last_at = self.case.progress = time.monotonic()
                    self.chan.decode()
                    self.case.tell()
                if self.chan.ended() != OPEN:
                    self._at_end(self.chan.ended())
            while not self.case.over and not self.err and not self.did_rst:
                if self.chan.lost():
                    self.saw_error()
                time.sleep(0.003)
        except Stop:
            pass
        except Malformed as error:
            self.case.wrong(f"the {self.who} got a broken message: {error}")

    def _pace(self):
        if self.reader == SLOWLY and not self.err and self.open:
            time.sleep(max(0.001, self.chan.last_read / SLOW_READ / 1000))
        while self.reader == STALLED and self.open and not self.case.over:
            late = self.other.did_rst and time.monotonic() - self.other.rst_at > 2 * RST_LIMIT
            if self.err or late or self.chan.lost():
                self.reader = EAGER
                self.saw_error() if not late else None
                self.chan.widen()
            time.sleep(0.003)

    def _at_end(self, how):
        """An error that a send has consumed leaves a 0 for the reader, in clear: that is no FIN."""
        self.how = how
        if how == FIN and (self.chan.ends_are_said or self.other.did_fin or not (self.send_failed or self.chan.lost())):
            self.fin = True
        else:
            self.saw_error()
        self.case.progress = self.end_at = time.monotonic()
        self.chan.at_end()
        self.read_done = True
        self.case.tell()

    # --- the program -----------------------------------------------------------------------------------------------

    def run(self):
        """The thread that does."""
        try:
            for at, (kind, n) in enumerate(self.ops):
                following = self.ops[at + 1][0] if at + 1 < len(self.ops) else None
                getattr(self, f"_op_{kind}")(n, following)
                self.case.tell()
            self.finished = True
        except Stop:
            pass
        except (OSError, ValueError) as error:
            if not self.case.over and not isinstance(error, TimeoutError):
                self.send_failed = True
                self.saw_error()
        self.case.tell()

    def _op_send(self, n, following):
        left = n
        if not n and following == "fin":
            return
        while left:
            size = min(left, 20 if self.bytewise else PIECE)
            left -= size
            last = not left and (following == "end" or following == "fin" and self.cork)
            if last:  # it may be seen before we know that it is sent
                self._ending(following)
            self.chan.send_content(self._next(size), self.bytewise, last)
        self.chan.flush()

    def _ending(self, how):
        if how == "end":
            self.ended, self.ended_at = True, time.monotonic()
        else:
            self.did_fin, self.fin_at = True, time.monotonic()

    def _next(self, size):
        data = self.content_at(self.framed, size)
        self.framed += len(data)
        return data

    def _op_fill(self, _n, _following):
        """As much as goes, until nothing goes any more."""
        wire, last = b"", time.monotonic()
        while not self.case.over:
            wire = wire or self.chan.framed(self._next(16384))
            n = self.chan.send_now(wire)
            if n:
                wire, last = wire[n:], time.monotonic()
                self.case.progress = last
            elif time.monotonic() - last > BLOCKED * self.case.patience:
                break
            else:
                time.sleep(0.002)
        self.blocked = True

    def _op_head(self, _n, following):
        self.chan.send_answer()

    def _op_end(self, _n, _following):
        self._ending("end")
        self.chan.finish()

    def _op_cork(self, _n, _following):
        self.cork = True
        self.chan.hold()

    def _op_met(self, _n, _following):
        self.met = True
        other = self.other
        self.case.wait(lambda: self.arrived() and other.arrived() and (other.met or other.finished))

    def _op_pause(self, n, _following):
        time.sleep(n / 1e6)

    def _op_heard(self, _n, _following):
        self.case.wait(lambda: self.fin)

    def _op_asked(self, _n, _following):
        self.case.wait(lambda: self.case.far.open)

    def _op_open(self, _n, _following):
        self.case.wait(lambda: self.case.client.open)

    def _op_whole(self, _n, _following):
        self.case.wait(lambda: self.done)

    def _op_got(self, n, _following):
        self.case.wait(lambda: self.got >= n)

    def _op_blocked(self, _n, _following):
        self.case.wait(lambda: self.other.blocked)

    def _op_fin(self, _n, _following):
        self.chan.flush()
        self._ending("fin")
        self.chan.fin()

    def _op_rst(self, _n, _following):
        self.did_rst, self.rst_at = True, time.monotonic()
        self.chan.rst()

    def _op_trunc(self, _n, _following):
        self.chan.flush()
        self.did_rst, self.rst_at = True, time.monotonic()
        self.chan.trunc()

    def _op_lose(self, _n, _following):
        self.did_rst, self.rst_at = True, time.monotonic()
        if self.is_client:
            self.case.side._conn = None
        self.chan.lose()


# --- HTTP/1 and bare bytes, in clear or over TLS -----------------------------------------------------------------------

(IN_HEAD, IN_RAW, IN_LENGTH, IN_CHUNK_SIZE, IN_CHUNK, IN_CHUNK_END, IN_TRAILERS, IN_DONE) = range(8)


class H1Chan:
    """Over a harness Peer. What is in its buffer already is decoded first."""

    def __init__(self, end, peer, state):
        self.end, self.peer, self.state, self.left, self.last_read = end, peer, state, 0, 0
        self.lock, self.closed = threading.Lock(), False
        self.tls = peer.sock if hasattr(peer.sock, "look") else None
        self.ends_are_said = bool(self.tls)
        self.sock = self.tls.sock if self.tls else peer.sock
        if end.reader != EAGER:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF) if end.case.buffer else ():
            self.sock.setsockopt(socket.SOL_SOCKET, option, end.case.buffer)
        if end.other.reader == STALLED:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        self.first = bool(peer.buffer)
        self.sock.setblocking(False)

    # receiving

    def look(self):
        """True when something has come."""
        if self.first:
            self.first = False
            return True
        with self.lock:
            if self.closed:
                raise Stop
            before = len(self.peer.buffer)
            try:
                self.peer._look(0)
            except BlockingIOError:
                pass
            except OSError:
                self.peer.end = RST
            self.last_read = len(self.peer.buffer) - before
            self.peer.received.clear()
        if self.last_read:
            return True
        if self.peer.end == OPEN:
            try:
                select.select([self.sock], [], [], TICK)
            except (OSError, ValueError):
                pass
        return False

    def ended(self):
        return self.peer.end

    def lost(self):
        """An RST behind a FIN, or before anything is read."""
        with self.lock:
            if self.closed:
                return False
            poll = select.poll()
            poll.register(self.sock, 0)
            events = sum(event for _, event in poll.poll(0))
        return bool(events & select.POLLERR) or bool(events & select.POLLHUP) and not self.end.did_fin

    def widen(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)

    def at_end(self):
        end = self.end
        if self.state == IN_RAW and end.in_close and end.fin:
            end.done = True

    def decode(self):
        buffer = self.peer.buffer
        while buffer and not self.end.case.over:
            n = self._decode_some(buffer)
            if not n:
                return
            del buffer[:n]

    def _decode_some(self, buffer):
        """How many bytes are used up; 0: more are needed."""
        if self.state == IN_RAW:
            self.end.take_content(bytes(buffer))
            return len(buffer)
        if self.state in (IN_LENGTH, IN_CHUNK):
            return self._sized(buffer)
        if self.state == IN_DONE:
            if self.end.status < 400:
                self.end.case.wrong(f"the {self.end.who} got bytes behind the message")
            return len(buffer)
        mark = b"\r\n\r\n" if self.state == IN_HEAD else b"\r\n"
        at = buffer.find(mark)
        if at < 0:
            return 0
        line = bytes(buffer[:at + len(mark)])
        if self.state == IN_HEAD:
            self._answer_head(parse_response_head(line))
        else:
            self._chunk_line(line)
        return len(line)

    def _sized(self, buffer):
        data = bytes(buffer[:self.left])
        self.end.take_content(data)
        self.left -= len(data)
        if not self.left:
            self._to(IN_DONE if self.state == IN_LENGTH else IN_CHUNK_END)
        return len(data)

    def _chunk_line(self, line):
        if self.state == IN_CHUNK_SIZE:
            self.left = int(line.split(b";")[0], 16)
            self._to(IN_CHUNK if self.left else IN_TRAILERS)
        elif self.state == IN_CHUNK_END:
            if line != b"\r\n":
                self.end.case.wrong(f"the {self.end.who} got a chunk of a wrong size")
            self._to(IN_CHUNK_SIZE)
        elif line == b"\r\n":
            self._to(IN_DONE)

    def _answer_head(self, head):
        end = self.end
        end.status = head.status
        if head.status == 100:
            return
        if head.status >= 400:
            self._to(IN_DONE)
        elif end.case.is_tunnel:
            end.open = True
            self._to(IN_RAW)
        else:
            end.open = True
            self.expect_content(head)

    def expect_content(self, head):
        """Request or answer: the framing that its fields tell."""
        if head.has("transfer-encoding"):
            self._to(IN_CHUNK_SIZE)
        elif head.has("content-length"):
            self.left = int(head.value("content-length"))
            self._to(IN_LENGTH if self.left else IN_DONE)
        elif self.end.is_client:
            self.end.in_close = True
            self._to(IN_RAW)
        else:
            self._to(IN_DONE)

    def _to(self, state):
        self.state = state
        if state == IN_DONE:
            self.end.done = self.end.status < 400

    # sending

    def send_now(self, data):
        """How much went, without waiting."""
        try:
            return self.tls.send(data[:16384]) if self.tls else os.write(self.sock.fileno(), data)
        except BlockingIOError:
            return 0

    def send_wire(self, data, bytewise=False):
        at, end = 0, self.end
        while at < len(data):
            if end.case.over or end.did_rst:
                raise Stop
            n = self.send_now(data[at:at + 1] if bytewise else data[at:])
            at += n
            if n:
                end.case.progress = time.monotonic()
            else:
                select.select([], [self.sock], [], TICK)

    def flush(self):
        while self.tls and self.tls.unsent and not self.end.case.over:
            if not self.send_now(b""):
                select.select([], [self.sock], [], TICK)

    def framed(self, data):
        return b"%x\r\n%s\r\n" % (len(data), data) if self.end.framing == CHUNKED and data else data

    def send_content(self, data, bytewise, _last):
        self.send_wire(self.framed(data), bytewise)

    def finish(self):
        if self.end.framing == CHUNKED:
            self.send_wire(b"0\r\n\r\n", self.end.bytewise)
        self.flush()

    def hold(self):
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)

    def send_request(self, method, url, authority, path, fields):
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        self.send_wire(f"{method} {url} HTTP/1.1\r\nHost: {authority}\r\n{lines}\r\n".encode(), self.end.bytewise)

    def send_answer(self):
        end = self.end
        field = {LENGTH: f"Content-Length: {end.declared}\r\n", CHUNKED: "Transfer-Encoding: chunked\r\n"}.get(end.framing, "")
        self.send_wire(f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/octet-stream\r\n{field}\r\n".encode(), end.bytewise)

    def greet(self, status_line, fields=()):
        """What opens a tunnel."""
        self.send_wire(f"HTTP/1.1 {status_line}\r\n{''.join(f'{n}: {v}{chr(13)}{chr(10)}' for n, v in fields)}\r\n".encode())

    def fin(self):
        self.peer.shut_write()

    def rst(self):
        with self.lock:
            self.closed = True
            self.peer.reset()

    def trunc(self):
        """TLS: a FIN without close_notify."""
        self.sock.shutdown(socket.SHUT_WR)

    lose = rst

    def close(self):
        with self.lock:
            if not self.closed:
                self.closed = True
                with contextlib.suppress(OSError):
                    self.peer.reset()


# --- a stream of HTTP/2 ------------------------------------------------------------------------------------------------


class H2Chan:
    """Over a harness H2Stream. A message's end is END_STREAM; so is a tunnel's FIN."""

    ends_are_said = True

    def __init__(self, end, stream):
        self.end, self.stream, self.last_read, self.said_end, self.length = end, stream, 0, False, None

    # receiving

    def look(self):
        stream = self.stream
        if self.end.is_client and not self.end.open and not self._answer_head():
            return False
        before = len(stream.buffer)
        stream._look(TICK)
        stream.received.clear()
        self.last_read = len(stream.buffer) - before
        return bool(self.last_read)

    def _answer_head(self):
        """True when the head is here, or never will be."""
        end, stream = self.end, self.stream
        with stream.conn.changed:
            if not stream._heads and stream.end_seen == OPEN:
                stream.conn.changed.wait(TICK)
            head = stream._heads.pop(0) if stream._heads else None
        if not head:
            return stream.end_seen != OPEN
        if head.status < 200:
            return False
        end.status, end.open = head.status, True
        end.last_at = end.case.progress = time.monotonic()
        if head.has("content-length"):
            self.length = int(head.value("content-length"))
        end.case.tell()
        return True

    def ended(self):
        return self.stream.end

    def lost(self):
        """Whether the stream is reset, or its connection lost, read or not."""
        stream = self.stream
        return stream.broken or stream.end_seen in (RST, harness_h2.LOST)

    def widen(self):
        pass

    def at_end(self):
        end = self.end
        if end.fin and end.status < 400 and not end.case.is_tunnel:
            end.done = self.length is None or end.got == self.length
            if not end.done:
                end.case.wrong(f"the {end.who} saw END_STREAM after {end.got} of {self.length}")

    def decode(self):
        data = bytes(self.stream.buffer)
        self.stream.buffer.clear()
        if self.end.status < 400:
            self.end.take_content(data)

    def expect_content(self, head):
        if head.has("content-length"):
            self.length = int(head.value("content-length"))

    # sending

    def send_now(self, data, last=False):
        stream, conn = self.stream, self.stream.conn
        with conn.changed:
            n = min(stream._writable(), len(data))
            if n <= 0:
                conn.changed.wait(0.002)
                return 0
            end = last and n == len(data)
            conn.h2.send_data(stream.id, bytes(data[:n]), end_stream=end)
            stream.ended_here |= end
            conn._pump()
        return n

    def send_content(self, data, bytewise, last):
        """One byte a frame, where it is to be slow. `last`: END_STREAM on the last frame."""
        at, end = 0, self.end
        while at < len(data):
            if end.case.over or end.did_rst:
                raise Stop
            piece = data[at:at + 1] if bytewise else data[at:]
            n = self.send_now(piece, last and at + len(piece) == len(data))
            at += n
            if n:
                end.case.progress = time.monotonic()
            else:
                time.sleep(0.0005)
        self.said_end |= last

    def framed(self, data):
        return data

    def flush(self):
        """Our own queue leaves before we wait for anything."""
        conn = self.stream.conn
        with conn.changed:
            while conn._out and conn.end == OPEN and not self.end.case.over:
                conn.changed.wait(TICK)

    def finish(self):
        if not self.said_end:
            self.said_end = True
            try:
                self.stream.shut_write()
            except h2.exceptions.ProtocolError:  # the other side has reset it
                raise ConnectionResetError(f"{self.stream} has ended") from None

    fin = finish

    def hold(self):
        pass

    def send_answer(self):
        end = self.end
        more = [("content-length", str(end.declared))] if end.framing == LENGTH else []
        self._head([(":status", "200"), ("content-type", "application/octet-stream"), *more])

    def greet(self, _status_line, _fields=()):
        self._head([(":status", "200")])

    def _head(self, fields):
        try:
            self.stream.send_head(fields)
        except h2.exceptions.ProtocolError:  # the other side has reset it
            raise ConnectionResetError(f"{self.stream} has ended") from None

    def rst(self):
        self.stream.reset()

    def lose(self):
        self.stream.conn.reset_connection()

    def close(self):
        stream = self.stream
        with stream.conn.changed:
            if stream.conn.end == OPEN and not stream.broken and (stream.end_seen == OPEN or not stream.ended_here):
                try:
                    stream.reset()
                except Exception:  # closed on both sides meanwhile: there is nothing to reset
                    pass
        stream.conn.streams.pop(stream.id, None)


