# SPDX-License-Identifier: MIT
"""HTTP/2 for tests, over python3-h2: a connection in either role whose streams can be used like the TCP connections of peer.py, so that the same
test drives both: END_STREAM is FIN, RST_STREAM is RST. A stream's window is given back as the test reads, the connection's at once,
so that a stream which nobody reads stalls alone. Frames that no library would send are sent with send_frame (and see h2raw.py)."""

import os
import select
import socket
import ssl
import struct
import threading
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.frame

from . import scope
from .clock import DEFAULT, Deadline, scaled
from .message import Response
from .peer import CUT, FIN, OPEN, RST, CutOff, Peer, Sender, Truncated, open_socket
from .tls import TlsSocket

LOST = "LOST"  # the connection has ended under the stream
CODES = h2.errors.ErrorCodes
SETTINGS = h2.settings.SettingCodes
QUEUE = 1 << 18  # bytes that wait for the socket before a sender has to wait
STREAM_WINDOW = 1 << 20


def _text(fields):
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]


def _raw(fields):
    return [(n if isinstance(n, bytes) else n.encode("latin-1"), v if isinstance(v, bytes) else v.encode("latin-1")) for n, v in fields]


class _Library(h2.connection.H2Connection):
    """python3-h2 takes a GOAWAY for the end of everything; here what is open goes on."""

    def _receive_goaway_frame(self, frame):
        event = h2.events.ConnectionTerminated()
        event.error_code, event.last_stream_id, event.additional_data = frame.error_code, frame.last_stream_id, frame.additional_data
        return [], [event]


class H2Conn:
    """One connection. Its thread reads and writes; everything else is called from tests' threads."""

    def __init__(self, sock, client=True, window=STREAM_WINDOW, settings=None, rank=scope.CLIENT, validate=True):
        self.sock = sock
        self.local, self.remote = sock.getsockname()[:2], sock.getpeername()[:2]
        self.streams = {}
        self.arrived = []      # server: streams that the other side has opened, not yet accepted
        self.goaways = []      # (last stream, error code) of each GOAWAY received
        self.end = OPEN        # how the connection ended: FIN, RST, CUT
        self.error = None      # what the other side did that python3-h2 does not allow
        self.pings = 0         # PING answers received
        self._window = window
        config = h2.config.H2Configuration(client_side=client, header_encoding=None, validate_outbound_headers=False,
                                           normalize_outbound_headers=False, validate_inbound_headers=validate and client,
                                           normalize_inbound_headers=False)
        self.h2 = _Library(config)
        ours = {**dict(self.h2.local_settings), SETTINGS.INITIAL_WINDOW_SIZE: window}
        if client:
            ours[SETTINGS.ENABLE_PUSH] = 0
        self.h2.local_settings = h2.settings.Settings(client=client, initial_values={**ours, **(settings or {})})
        self.changed = threading.Condition(threading.RLock())
        self._out = bytearray()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._closing = False
        scope.track(self, rank)
        with self.changed:
            self.h2.initiate_connection()
            self.h2.increment_flow_control_window((1 << 31) - 1 - 65535)
            self._pump()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    # --- the thread ------------------------------------------------------------------------------------------------

    def _run(self):
        try:
            self._read()
            while not self._closing and self.end == OPEN:
                self._turn()
        except (OSError, ValueError) as error:
            self._ended(RST if isinstance(error, ConnectionError) else CUT if isinstance(error, CutOff) else repr(error))

    def _turn(self):
        with self.changed:
            writing = bool(self._out) or getattr(self.sock, "unsent", False)
        readable, writable, _ = select.select([self.sock, self._wake], [self.sock] if writing else [], [], 1)
        if self._wake in readable:
            os.eventfd_read(self._wake)
        if writable:
            self._write()
        if self.sock in readable:
            self._read()

    def _write(self):
        with self.changed:
            data = bytes(self._out[:1 << 16])
        self.sock.setblocking(False)
        try:
            n = self.sock.send(data)
        except BlockingIOError:
            return
        except OSError:
            n = len(data)  # what was received before the end is still to be read
        with self.changed:
            del self._out[:n]
            self.changed.notify_all()

    def _read(self):
        self.sock.setblocking(False)
        try:
            data = self.sock.recv(1 << 18)
        except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
            return
        if not data:
            return self._ended(FIN)
        with self.changed:
            self._feed(data)
            self._pump()

    def _feed(self, data):
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self.error = repr(error)
            return self._ended(f"protocol error {error!r}")
        for event in events:
            self._take(event)
        self.changed.notify_all()

    def _take(self, event):
        kind = type(event).__name__
        stream = self.streams.get(getattr(event, "stream_id", None))
        if kind == "RequestReceived":
            stream = H2Stream(self, event.stream_id)
            stream.fields = _text(event.headers)
            self.arrived.append(stream)
        elif kind == "ConnectionTerminated":
            self.goaways.append((event.last_stream_id, int(event.error_code)))
        elif kind == "PingAckReceived":
            self.pings += 1
        elif stream:
            stream.take(kind, event)

    def _pump(self):
        self._out += self.h2.data_to_send()
        if self._out and self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def _ended(self, how):
        with self.changed:
            if self.end == OPEN:
                self.end = how
            for stream in self.streams.values():
                if stream.end_seen == OPEN:
                    stream.end_seen = LOST
            self.changed.notify_all()

    # --- for tests -------------------------------------------------------------------------------------------------

    def wait(self, check, within=DEFAULT, what="what was waited for"):
        deadline = Deadline(within)
        with self.changed:
            while not (result := check()):
                assert not deadline.passed(), f"{what} did not come; connection {self.end}, {self.goaways}, {self.error}"
                self.changed.wait(min(deadline.left(), 0.2))
            return result

    def send_frame(self, raw):
        """These bytes, between frames. The library does not learn of it."""
        with self.changed:
            self._out += raw if isinstance(raw, bytes) else raw.serialize()
            self._pump()

    def open(self, fields, end=False):
        """A new stream that begins with this head. Past GOAWAY too: whether to is the test's business."""
        with self.changed:
            assert self.end == OPEN, f"the connection has ended: {self.end} {self.goaways} {self.error}"
            stream = H2Stream(self, self.h2.get_next_available_stream_id())
            self.h2.send_headers(stream.id, _raw(fields), end_stream=end)
            self._pump()
        if end:
            stream.ended_here = True
        return stream

    def connect(self, authority, fields=(), early=b"", within=DEFAULT):
        """CONNECT; asserts success and returns the open tunnel."""
        stream = self.open([(":method", "CONNECT"), (":authority", authority), *fields])
        if early:
            stream.send(early)
        head = stream.recv_response_head(within)
        assert head.status == 200, (head, stream.recv_all())
        assert not head.has("content-length") and not head.has("transfer-encoding"), head
        return stream

    def request(self, method, scheme, authority, path, fields=(), body=None, trailers=None):
        """Sends a whole request (the body from the background if it is long); the stream that the answer comes on."""
        stream = self.open([(":method", method), (":scheme", scheme), (":authority", authority), (":path", path), *fields],
                           end=body is None and not trailers)
        if body is not None or trailers:
            stream.send_message(body or b"", trailers)
        return stream

    def ping(self, within=DEFAULT):
        """A round trip."""
        with self.changed:
            before = self.pings
            self.h2.ping(os.urandom(8))
            self._pump()
        self.wait(lambda: self.pings > before or self.end != OPEN, within, "the answer to a PING")
        assert self.pings > before, f"the connection has ended: {self.end} {self.goaways}"

    def setting(self, code):
        return self.h2.remote_settings.get(code)

    def wait_settings(self, within=DEFAULT):
        """Until the other side's SETTINGS are here."""
        self.ping(within)
        return self.h2.remote_settings

    def wait_goaway(self, within=DEFAULT, n=1):
        self.wait(lambda: len(self.goaways) >= n, within, f"GOAWAY number {n}")
        return self.goaways[n - 1]

    def wait_end(self, within=DEFAULT):
        self.wait(lambda: self.end != OPEN, within, "the end of the connection")
        return self.end

    def accept(self, within=DEFAULT):
        """Server: the next stream."""
        self.wait(lambda: self.arrived, within, "a stream")
        return self.arrived.pop(0)

    def goaway(self, last=None, code=0):
        with self.changed:
            last = self.h2.highest_inbound_stream_id if last is None else last
            self._out += hyperframe.frame.GoAwayFrame(0, last_stream_id=last, error_code=code).serialize()
            self._pump()

    def flush(self, within=DEFAULT):
        """Until everything has been given to the kernel."""
        self.wait(lambda: not self._out or self.end != OPEN, within, "room in the socket")

    def close(self):
        """The socket, in good order."""
        scope.forget(self)
        with self.changed:
            if self._closing:
                return
            self._closing = True
            os.eventfd_write(self._wake, 1)
        self.thread.join(scaled(5))
        with self.changed:  # whoever still sends must not write to somebody else's descriptor
            wake, self._wake = self._wake, -1
        self.sock.close()
        os.close(wake)

    hang_up = close

    def reset_connection(self):
        """Ends the TCP connection with an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class H2Stream(Peer):
    """A stream, with what a Peer can do where that makes sense."""

    def __init__(self, conn, stream_id):
        self.conn, self.id = conn, stream_id
        self.buffer, self.received = bytearray(), bytearray()
        self.end = OPEN           # how it ended, as far as the test has read
        self.end_seen = OPEN      # how it ended, as far as has been received
        self.code = None          # of the RST_STREAM
        self.broken = False       # nothing can be sent any more
        self.fields = []          # server: the request's
        self.trailers = []
        self.ended_here = False
        self._heads, self._incoming = [], bytearray()
        self._unread = 0
        conn.streams[stream_id] = self

    def __repr__(self):
        return f"<stream {self.id} {self.end_seen}>"

    # --- what the connection's thread calls --------------------------------------------------------------------------

    def take(self, kind, event):
        if kind in ("ResponseReceived", "InformationalResponseReceived"):
            fields = _text(event.headers)
            head = Response(b"", "2", int(fields[0][1]), "")
            head.fields = fields[1:]
            self._heads.append(head)
        elif kind == "TrailersReceived":
            self.trailers = _text(event.headers)
        elif kind == "DataReceived":
            self._incoming += event.data
            self._unread += event.flow_controlled_length
        elif kind == "StreamEnded":
            self.end_seen = FIN
        elif kind == "StreamReset":
            # behind END_STREAM it says that the rest of what we send is not wanted (NO_ERROR), or more
            self.code, self.broken = int(event.error_code), True
            if self.end_seen == OPEN:
                self.end_seen = RST

    # --- sending ---------------------------------------------------------------------------------------------------

    def _writable(self):
        conn = self.conn
        if self.broken or self.end_seen == LOST or conn.end != OPEN:
            raise ConnectionResetError(f"{self} has ended ({self.end_seen}, {self.code}, connection {conn.end})")
        if len(conn._out) > QUEUE:
            return 0
        return min(conn.h2.local_flow_control_window(self.id), conn.h2.max_outbound_frame_size)

    def send(self, data, within=DEFAULT, end=False):
        """With `end` the last frame has END_STREAM."""
        deadline, at = Deadline(within), 0
        conn = self.conn
        with conn.changed:
            while at < len(data):
                n = min(self._writable(), len(data) - at)
                if n > 0:
                    last = end and at + n == len(data)
                    conn.h2.send_data(self.id, bytes(data[at:at + n]), end_stream=last)
                    self.ended_here |= last
                    conn._pump()
                    at += n
                elif deadline.passed():
                    raise TimeoutError("timed out")
                else:
                    conn.changed.wait(min(deadline.left(), 0.2))

    def send_until_blocked(self, block, limit, quiet=0.4):
        sent, conn = 0, self.conn
        last = time.monotonic()
        with conn.changed:
            while sent < limit and time.monotonic() - last < scaled(quiet):
                n = min(self._writable(), len(block) - sent % len(block))
                if n > 0:
                    conn.h2.send_data(self.id, block[sent % len(block):][:n])
                    conn._pump()
                    sent, last = sent + n, time.monotonic()
                else:
                    conn.changed.wait(0.05)
        return sent

    def send_message(self, body, trailers=None):
        """The content, and the end; long content in the background."""
        def whole(data):
            self.send(data, within=60, end=not trailers)
            if trailers:
                self.send_head(trailers, end=True)
            elif not data:
                self.shut_write()

        if len(body) <= 16384:
            return whole(body)
        return Sender(whole, body)

    def send_head(self, fields, end=False):
        """Server: an answer's head. Client: trailers (with end)."""
        with self.conn.changed:
            self.conn.h2.send_headers(self.id, _raw(fields), end_stream=end)
            self.conn._pump()
            self.ended_here |= end

    def answer(self, status=200, fields=(), body=b""):
        """Server: a whole answer."""
        self.send_head([(":status", str(status)), *fields], end=not body)
        if body:
            return self.send_message(body)

    def shut_write(self):
        """END_STREAM behind what was sent."""
        with self.conn.changed:
            if self.broken or self.end_seen == LOST:
                raise ConnectionResetError(f"{self} has ended")
            self.conn.h2.end_stream(self.id)
            self.conn._pump()
        self.ended_here = True

    def reset(self, code=CODES.CANCEL):
        """RST_STREAM."""
        with self.conn.changed:
            self.conn.h2.reset_stream(self.id, code)
            self.conn._pump()
        self.end = self.end_seen = RST
        self.broken = True

    def close(self):
        """As a socket is closed: our END_STREAM if there was none."""
        with self.conn.changed:
            if not self.ended_here and not self.broken and self.end_seen != LOST and self.conn.end == OPEN:
                try:
                    self.shut_write()
                except h2.exceptions.ProtocolError:
                    pass

    hang_up = close

    # --- receiving -------------------------------------------------------------------------------------------------

    def _fill(self, deadline):
        conn = self.conn
        if self.end != OPEN:
            return False
        with conn.changed:
            while not self._incoming and self.end_seen == OPEN:
                if deadline.passed():
                    raise AssertionError(f"nothing received in time on {self}; connection {conn.end} {conn.goaways}; unread: "
                                         f"{bytes(self.buffer[:300])!r}")
                conn.changed.wait(min(deadline.left(), 0.2))
            if not self._incoming:
                self.end = self.end_seen
                return False
            data, self._incoming = self._incoming, bytearray()
            unread, self._unread = self._unread, 0
            self._give_back(unread)
        self.buffer += data
        self.received += data
        return True

    def _give_back(self, n):
        if n and self.conn.end == OPEN:
            try:
                self.conn.h2.acknowledge_received_data(n, self.id)
            except h2.exceptions.ProtocolError:  # the stream is closed
                pass
            self.conn._pump()

    def _look(self, seconds):
        if self.end != OPEN:
            return False
        until = time.monotonic() + seconds
        with self.conn.changed:
            while not self._incoming and self.end_seen == OPEN:
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self.conn.changed.wait(left)
        self._fill(Deadline())
        return True

    def recv_response_head(self, within=DEFAULT):
        conn, deadline = self.conn, Deadline(within)
        with conn.changed:
            while not self._heads:
                if self.end_seen != OPEN:
                    raise Truncated(f"waiting for a head (code {self.code})", b"", self.end_seen)
                assert not deadline.passed(), f"no head in time on {self}; connection {conn.end} {conn.goaways} {conn.error}"
                conn.changed.wait(min(deadline.left(), 0.2))
            return self._heads.pop(0)

    def recv_response(self, method="GET", within=DEFAULT):
        """A whole answer, its interim ones in .interim; an incomplete one is Truncated."""
        interim = []
        while (head := self.recv_response_head(within)).status < 200:
            interim.append(head)
        head.interim = interim
        head.body = head.raw_body = self.recv_all(within)
        if self.end != FIN:
            raise Truncated(f"content of an answer (code {self.code})", head.body, self.end, head)
        head.trailers = self.trailers
        if method != "HEAD" and head.has("content-length") and head.status != 304:
            assert int(head.value("content-length")) == len(head.body)
        return head

    def recv_message(self, within=DEFAULT):
        """Server: the request's whole content."""
        data = self.recv_all(within)
        assert self.end == FIN, self.end
        return data


class H2Client(H2Conn):
    """To a proxy: over TLS when a context is given (which must offer h2), else with prior knowledge."""

    def __init__(self, host, port, context=None, name="localhost", source=None, rcvbuf=None, within=DEFAULT, **options):
        sock = open_socket(host, port, source, rcvbuf, within)
        if context:
            try:
                sock = TlsSocket(sock, context, name, within=within)
                assert sock.alpn() == "h2", f"ALPN is {sock.alpn()}"
            except BaseException:
                sock.close()
                raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock, **options)
