# SPDX-License-Identifier: MIT
"""HTTP/2 without a library's good manners: frames are built one by one, also wrong ones, and what comes back is read frame by frame."""

import hpack
import hyperframe.frame as hf
from hyperframe.exceptions import HyperframeError

from .clock import DEFAULT, Deadline
from .peer import Truncated

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, \
    COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(12)
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE, ENABLE_CONNECT_PROTOCOL = 3, 4, 5, 6, 8
END_STREAM, END_HEADERS = 1, 4
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """A frame, whatever its parts are worth; `length` is what its header says."""
    return (len(payload) if length is None else length).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def block(*fields):
    """A header block of literals without indexing: every byte of names and values survives, and no state is kept."""
    out = b""
    for name, value in fields:
        out += b"\0" + _string(name) + _string(value)
    return out


def _string(text):
    data = text if isinstance(text, bytes) else text.encode("latin-1")
    if len(data) < 127:
        return bytes([len(data)]) + data
    n, out = len(data) - 127, b"\x7f"
    while n >= 128:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n]) + data


def headers(stream, *fields, end=True, flags=END_HEADERS):
    return frame(HEADERS, flags | (END_STREAM if end else 0), stream, block(*fields))


def data(stream, payload=b"", end=False):
    return frame(DATA, END_STREAM if end else 0, stream, payload)


def rst(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def settings(*pairs, ack=False):
    return frame(SETTINGS, 1 if ack else 0, 0, b"".join(k.to_bytes(2, "big") + v.to_bytes(4, "big") for k, v in pairs))


def ping(payload=b"12345678", ack=False):
    return frame(PING, 1 if ack else 0, 0, payload)


def window_update(stream, n):
    return frame(WINDOW_UPDATE, 0, stream, n.to_bytes(4, "big"))


def get(authority, path="/", *fields, method="GET", scheme="http"):
    """The fields of a plain request."""
    return (":method", method), (":scheme", scheme), (":authority", authority), (":path", path), *fields


def connect(authority, *fields):
    return (":method", "CONNECT"), (":authority", authority), *fields


class Answer:
    """What came on a stream so far."""

    def __init__(self):
        self.heads, self.body, self.ended, self.code = [], b"", False, None

    @property
    def status(self):
        return int(dict(self.heads[-1])[b":status"]) if self.heads else None

    def __repr__(self):
        return f"<answer {self.heads} {self.body[:100]!r} {'END' if self.ended else ''} {'RST %s' % self.code if self.code is not None else ''}>"


class RawH2:
    """Over any Peer. settings=None sends nothing at all at first."""

    def __init__(self, peer, own=(), preface=True):
        self.peer = peer
        self.decoder = hpack.Decoder()
        self.decoder.max_header_list_size = 1 << 20
        self.settings = {}       # the other side's
        self.acked = 0           # our SETTINGS that it has acknowledged
        self.pongs = 0
        self.goaway = None       # (last stream, code) of the last GOAWAY
        self.goaways = []
        self.streams = {}
        self.frames = []         # every frame received
        self.reads = True
        if preface:
            self.send(PREFACE + settings(*own))

    def send(self, *frames):
        """True while the other side takes it."""
        try:
            self.peer.send(b"".join(frames))
            return True
        except OSError:
            return False

    def stream(self, stream_id):
        return self.streams.setdefault(stream_id, Answer())

    def recv_frame(self, within=DEFAULT):
        """The next frame, taken account of; None at the end of the connection."""
        try:
            head = self.peer.recv_exactly(9, within)
            got, length = hf.Frame.parse_frame_header(memoryview(head))
            got.parse_body(memoryview(self.peer.recv_exactly(length, within)))
        except Truncated:
            return None
        except HyperframeError as error:
            raise AssertionError(f"ginnel sent a frame that is none: {error!r}") from None
        self.frames.append(got)
        self._take(got)
        return got

    def _take(self, got):
        answer = self.stream(got.stream_id) if got.stream_id else None
        if isinstance(got, hf.SettingsFrame):
            if "ACK" in got.flags:
                self.acked += 1
            else:
                self.settings.update(got.settings)
                self.send(settings(ack=True))
        elif isinstance(got, hf.PingFrame):
            if "ACK" in got.flags:
                self.pongs += 1
            else:
                self.send(ping(got.opaque_data, ack=True))
        elif isinstance(got, hf.GoAwayFrame):
            self.goaway = got.last_stream_id, got.error_code
            self.goaways.append(self.goaway)
        elif isinstance(got, hf.RstStreamFrame):
            answer.code = got.error_code
        elif isinstance(got, hf.HeadersFrame):
            assert "END_HEADERS" in got.flags, "continued head"
            answer.heads.append(self.decoder.decode(got.data, raw=True))
        elif isinstance(got, hf.DataFrame):
            answer.body += got.data
        if answer and "END_STREAM" in got.flags:
            answer.ended = True

    def until(self, check, within=DEFAULT, what="what was waited for"):
        """Reads frames until check() holds; False when the connection ends before."""
        deadline = Deadline(within)
        while not check():
            assert not deadline.passed(), f"{what}: not in time; frames so far: {self.frames[-8:]}"
            if self.recv_frame(deadline.left()) is None:
                return bool(check())
        return True

    def begin(self):
        """The exchange of SETTINGS."""
        assert self.until(lambda: self.acked and self.settings, what="SETTINGS and their ACK")
        return self

    def answer(self, stream_id, within=DEFAULT):
        """The answer once it is over, by END_STREAM or RST_STREAM, or the connection is."""
        answer = self.stream(stream_id)
        self.until(lambda: answer.ended or answer.code is not None, within, f"the end of stream {stream_id}")
        return answer

    def sync(self, within=DEFAULT):
        """A PING there and back: whatever was sent before has been seen. False when the connection is over."""
        before = self.pongs
        self.send(ping())
        return self.until(lambda: self.pongs > before, within, "the answer to a PING")

    def ended(self, within=DEFAULT):
        """Reads to the end of the connection; (GOAWAY's code or None, how it ended)."""
        deadline = Deadline(within)
        while self.recv_frame(deadline.left()) is not None:
            assert not deadline.passed(), "the connection does not end"
        return self.goaway and self.goaway[1], self.peer.end
