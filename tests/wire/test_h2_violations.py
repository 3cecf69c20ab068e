# SPDX-License-Identifier: MIT
"""HTTP/2 as it must not be: every violation ends in the RFC's error code, on that stream or that connection only, and nothing of it is ever written
to an origin in h1 (C55 to C61, C63, C65; FAILURES 21)."""

import re

import pytest

from harness import FIN, RST, Client, HttpOrigin, Origin, TlsClient, request
from harness.h2raw import (COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY,
                           HEADERS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, PING, PREFACE, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, REFUSED_STREAM,
                           RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, RawH2, block, connect, data, frame, get, headers, ping, rst,
                           settings, window_update)
from harness.sides import listen

AT = "@"  # stands for the origin's authority


@pytest.fixture(params=["clear", "tls"])
def raw(request, both, certificates):
    """A connection on which SETTINGS have been exchanged. Over TLS too, where it is cheap."""
    return connection(both, certificates, request.param)


@pytest.fixture
def clear(both, certificates):
    return connection(both, certificates, "clear")


def connection(proxy, certificates, kind, **options):
    if kind == "tls":
        peer = TlsClient(*proxy.listeners[1], certificates.authority.client_context(["h2"]))
    else:
        peer = Client(*proxy.listeners[0])
    return RawH2(peer, **options).begin()


def at(fields, origin):
    """The fields with the origin's authority in them."""
    def put(value):
        return value.replace(AT.encode(), origin.authority.encode()) if isinstance(value, bytes) else value.replace(AT, origin.authority)

    return [(name, put(value)) for name, value in fields]


def still_works(raw, origin, stream=101, seen=0):
    """The connection goes on; nothing but this request has come to the origin."""
    raw.send(headers(stream, *get(origin.authority, f"/good{stream}")))
    answer = raw.answer(stream)
    assert (answer.status, answer.body) == (200, f"GET /good{stream}".encode()), answer
    assert not raw.goaway
    assert origin.paths()[seen:] == [f"/good{stream}"] and not origin.cut, origin.requests


def connection_error(raw, *codes):
    code, end = raw.ended()
    assert code in codes, f"GOAWAY {code}, wanted {codes}; {raw.frames[-5:]}"
    assert end in (FIN, RST)


# --- the head of a request ---------------------------------------------------------------------------------------------

GOOD = get(AT)
MALFORMED = {
    # C56: names
    "upper case": get(AT, "/", ("X-Upper", "1")), "upper case inside": get(AT, "/", ("x-uPper", "1")),
    "space in a name": get(AT, "/", ("x a", "1")), "colon in a name": get(AT, "/", ("x:a", "1")), "name that ends in a colon": get(AT, "/", ("x:", "1")),
    "empty name": get(AT, "/", ("", "1")), "CR in a name": get(AT, "/", ("x\ra", "1")), "LF in a name": get(AT, "/", ("x\na", "1")),
    "NUL in a name": get(AT, "/", ("x\0a", "1")), "CRLF in a name": get(AT, "/", ("x: 1\r\nhost", "evil")), "8 bit in a name": get(AT, "/", ("x\xff", "1")),
    "DEL in a name": get(AT, "/", ("x\x7f", "1")), "tab in a name": get(AT, "/", ("x\t", "1")), "brackets in a name": get(AT, "/", ("x(a)", "1")),
    # C56: values
    "CR in a value": get(AT, "/", ("x-a", "a\rb")), "LF in a value": get(AT, "/", ("x-a", "a\nb")), "NUL in a value": get(AT, "/", ("x-a", "a\0b")),
    "CRLF and a field": get(AT, "/", ("x-a", "a\r\ntransfer-encoding: chunked")),
    "CRLF and a request": get(AT, "/", ("x-a", "a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x")),
    "leading space": get(AT, "/", ("x-a", " a")), "leading tab": get(AT, "/", ("x-a", "\ta")), "trailing space": get(AT, "/", ("x-a", "a ")),
    "trailing tab": get(AT, "/", ("x-a", "a\t")), "a space alone": get(AT, "/", ("x-a", " ")),
    # C56: pseudo-fields
    "late pseudo": ((":method", "GET"), (":scheme", "http"), (":authority", AT), ("x-a", "1"), (":path", "/")),
    "two paths": get(AT, "/", (":path", "/b")), "two methods": ((":method", "POST"), *GOOD), "two schemes": ((":scheme", "https"), *GOOD),
    "two authorities": ((":authority", "evil.test"), *GOOD), "unknown pseudo": ((":foo", "1"), *GOOD), "status": ((":status", "200"), *GOOD),
    "no method": GOOD[1:], "no scheme": (GOOD[0], *GOOD[2:]), "no path": GOOD[:3], "empty path": get(AT, ""), "empty method": get(AT, method=""),
    "no authority and no host": (GOOD[0], GOOD[1], GOOD[3]), "empty authority": get(""), "only fields": (("x-a", "1"),),
    "protocol without CONNECT": ((":protocol", "websocket"), *GOOD),
    # C57
    "connection": get(AT, "/", ("connection", "x-a")), "connection: close": get(AT, "/", ("connection", "close")),
    "connection: keep-alive": get(AT, "/", ("connection", "keep-alive")), "keep-alive": get(AT, "/", ("keep-alive", "timeout=5")),
    "proxy-connection": get(AT, "/", ("proxy-connection", "keep-alive")), "upgrade": get(AT, "/", ("upgrade", "websocket")),
    "transfer-encoding": get(AT, "/", ("transfer-encoding", "chunked")), "te: gzip": get(AT, "/", ("te", "gzip")),
    "te: trailers and more": get(AT, "/", ("te", "trailers, gzip")),
    # C59
    "other host": get(AT, "/", ("host", "evil.test")), "two hosts": get(AT, "/", ("host", AT), ("host", "evil.test")),
    "userinfo": get("user:pass@" + AT), "user": get("user@" + AT), "space in the authority": get(AT + " x"), "slash in the authority": get(AT + "/x"),
    "CRLF in the authority": get(AT + "\r\nx: y"), "query in the authority": get(AT + "?x"), "fragment in the authority": get(AT + "#x"),
    "comma in the authority": get(AT + ",evil.test"), "port of letters": get("127.0.0.1:8x"), "port too high": get("127.0.0.1:65536"),
    # what would become a request line
    "space in the path": get(AT, "/a b"), "version in the path": get(AT, "/ HTTP/1.1\r\nx: y"), "CR in the path": get(AT, "/\rx"), "LF in the path": get(AT, "/\nx"),
    "NUL in the path": get(AT, "/\0"), "tab in the path": get(AT, "/\tx"), "no slash": get(AT, "x"), "authority in the path": get(AT, "http://evil.test/"),
    "fragment": get(AT, "/a#b"), "star": get(AT, "*"),
    "space in the method": get(AT, method="GET /smuggled HTTP/1.1"), "CRLF in the method": get(AT, method="GET\r\nx"), "separator in the method": get(AT, method="GE(T"),
    "CRLF in the scheme": get(AT, scheme="http\r\nx"), "space in the scheme": get(AT, scheme="ht tp"),
    # C65: lengths
    "length of letters": get(AT, "/", ("content-length", "x")), "length with a sign": get(AT, "/", ("content-length", "+0")),
    "length with a minus": get(AT, "/", ("content-length", "-1")), "two lengths": get(AT, "/", ("content-length", "0"), ("content-length", "5")),
    "length of 65 bits": get(AT, "/", ("content-length", "18446744073709551616")), "list of lengths": get(AT, "/", ("content-length", "0, 5")),
    "length, and the end": get(AT, "/", ("content-length", "5")),
    # C60
    "CONNECT with a path": connect(AT, (":path", "/")), "CONNECT with a scheme": connect(AT, (":scheme", "http")),
    "CONNECT with both": connect(AT, (":scheme", "http"), (":path", "/")), "CONNECT without authority": ((":method", "CONNECT"),),
}

# What is no grammatical fault of HTTP/2 may get an answer instead of a reset: a 400, or a 501 for a scheme.
ANSWERED = re.compile("authority|user|port|path|slash|fragment|star|scheme|host|method|separator")


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_head(clear, name):
    """C56 C57 C59 C60 C65; FAILURES 21: never forwarded, only that stream"""
    web = HttpOrigin()
    fields = at(MALFORMED[name], web)
    clear.send(headers(1, *fields, end=dict(fields).get(":method") != "CONNECT"))
    answer = clear.answer(1)
    if answer.heads and ANSWERED.search(name):
        assert answer.status in (400, 501), answer
    else:
        assert answer.code == PROTOCOL_ERROR and not answer.heads, answer
    still_works(clear, web)


def test_malformed_heads_over_tls(both, certificates):
    """The same on the other listener, a few"""
    raw = connection(both, certificates, "tls")
    web = HttpOrigin()
    for i, name in enumerate(["upper case", "CRLF and a request", "transfer-encoding", "other host", "late pseudo"]):
        raw.send(headers(2 * i + 1, *at(MALFORMED[name], web)))
        answer = raw.answer(2 * i + 1)
        assert answer.code == PROTOCOL_ERROR or answer.status == 400 and "host" in name, (name, answer)
    still_works(raw, web)


@pytest.mark.parametrize("fields", [
    get(AT, "/", ("te", "trailers")), get(AT, "/", ("host", AT)), (GOOD[0], GOOD[1], GOOD[3], ("host", AT)), get(AT, "/", ("x-a", "")),
    get(AT, "/", ("x-a", "\xff\x80")), get(AT, "/", ("x-a", "a\tb")), get(AT, "/", ("content-length", "0")), get(AT, "/%0d%0a%00?a=b|c"),
    (GOOD[3], GOOD[2], GOOD[1], GOOD[0]), get(AT, "/", ("x" * 200, "1")), get(AT, "/", ("!#$%&'*+-.^_`|~09", "1")),
], ids=["te", "same host", "host alone", "empty value", "8 bit value", "tab inside", "length 0", "escapes", "other order", "long name", "token"])
def test_odd_and_allowed(clear, fields):
    """C59: Host makes up for a missing :authority; nothing is refused that is only unusual"""
    web = HttpOrigin()
    clear.send(headers(1, *at(fields, web)))
    assert clear.answer(1).status == 200
    assert web.requests[0].values("host") == [web.authority]


def test_what_the_origin_gets_to_the_byte(clear):
    """C65: the translation, compared byte by byte"""
    web = HttpOrigin()
    clear.send(headers(1, *get(web.authority, "/a?b=%20", ("user-agent", "raw"), ("cookie", "a=1"), ("te", "trailers"), ("cookie", "b=2"), ("x-b", "2"), ("x-a", "1"))))
    assert clear.answer(1).status == 200
    lines = bytes(web.conns[0].received).split(b"\r\n")
    assert lines[0] == b"GET /a?b=%20 HTTP/1.1" and lines[1] == b"Host: " + web.authority.encode() and lines[-2:] == [b"", b""]
    rest = [line for line in lines[2:-2]]
    names = [line.split(b":")[0].lower() for line in rest]
    assert rest[names.index(b"cookie")].lower() == b"cookie: a=1; b=2" and names.count(b"cookie") == 1
    assert names.index(b"x-b") < names.index(b"x-a")
    assert set(names) <= {b"user-agent", b"cookie", b"te", b"connection", b"x-b", b"x-a", b"via"}, rest


# --- content -----------------------------------------------------------------------------------------------------------


def post(origin, *fields):
    return get(origin.authority, "/post", *fields, method="POST")


def nothing_whole(origin):
    """What did come to the origin did not look complete."""
    assert not [req for req in origin.requests if req.target == "/post"], origin.requests


@pytest.mark.parametrize("said, sent", [(5, [b"1234"]), (5, [b"123456"]), (0, [b"x"]), (5, [b"123", b"4567"]), (5, [])])
def test_length_disagrees(clear, said, sent):
    """C65, H2.CL: content-length is not what comes"""
    web = HttpOrigin()
    clear.send(headers(1, *post(web, ("content-length", str(said))), end=False), *[data(1, part) for part in sent], data(1, b"", end=True))
    answer = clear.answer(1)
    assert answer.code == PROTOCOL_ERROR or answer.status == 400, answer
    nothing_whole(web)
    clear.send(headers(101, *get(web.authority, "/good")))
    assert clear.answer(101).body == b"GET /good"


def test_smuggled_behind_a_length(clear):
    """H2.CL (PortSwigger 2021): the content is never somebody else's request"""
    web = HttpOrigin()
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    clear.send(headers(1, *post(web, ("content-length", "0")), end=False), data(1, smuggled, end=True))
    clear.answer(1)
    clear.send(headers(3, *post(web), end=False), data(3, b"0\r\n\r\n" + smuggled, end=True))
    assert clear.answer(3).status == 200
    assert "/smuggled" not in web.paths()
    assert [req.body for req in web.requests if req.body] == [b"0\r\n\r\n" + smuggled]


@pytest.mark.parametrize("trailer", [(":path", "/"), (":status", "200"), ("X-Upper", "1"), ("connection", "close"), ("transfer-encoding", "chunked"), ("x-a", "a\r\nb: c")])
def test_malformed_trailers(clear, trailer):
    """C47 C56"""
    web = HttpOrigin()
    clear.send(headers(1, *post(web), end=False), data(1, b"body"), headers(1, trailer))
    assert clear.answer(1).code == PROTOCOL_ERROR
    nothing_whole(web)
    assert clear.sync() and not clear.goaway


def test_head_in_the_middle(clear):
    """C56: a second head that ends nothing"""
    web = HttpOrigin()
    clear.send(headers(1, *post(web), end=False), data(1, b"body"), headers(1, ("x-a", "1"), end=False))
    assert clear.answer(1).code == PROTOCOL_ERROR
    nothing_whole(web)


# --- tunnels -----------------------------------------------------------------------------------------------------------


def opened(raw, origin, stream=1):
    raw.send(headers(stream, *connect(origin.authority), end=False))
    conn = origin.accept()
    assert raw.until(lambda: raw.stream(stream).heads) and raw.stream(stream).status == 200
    return conn


def test_trailers_on_a_tunnel(clear, origin):
    """C61: a stream error, and the TCP connection is reset"""
    conn = opened(clear, origin)
    clear.send(data(1, b"x"))
    assert conn.recv_exactly(1) == b"x"
    clear.send(headers(1, ("x-a", "1")))
    assert clear.answer(1).code == PROTOCOL_ERROR
    conn.expect_end(RST)
    assert clear.sync() and not clear.goaway


def test_polite_frames_on_a_tunnel(clear, origin):
    """C61: PRIORITY, WINDOW_UPDATE, unknown types are no fault"""
    conn = opened(clear, origin)
    clear.send(frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"), window_update(1, 1000), frame(0xEE, 0xFF, 1, b"grease"), data(1, b"x"))
    assert conn.recv_exactly(1) == b"x"


def test_length_zero_frames_on_a_tunnel(clear, origin):
    """C62: empty DATA is nothing; with END_STREAM it is the FIN"""
    conn = opened(clear, origin)
    clear.send(data(1), data(1), data(1, b"x"), data(1))
    assert conn.recv_exactly(1) == b"x"
    conn.expect_silence(0.05)
    clear.send(data(1, b"", end=True))
    conn.expect_end(FIN)


def test_padding_is_not_content(clear, origin):
    """9113 6.1"""
    conn = opened(clear, origin)
    clear.send(frame(DATA, 8, 1, b"\x05" + b"content" + b"\0" * 5))
    assert conn.recv_exactly(7) == b"content"
    conn.expect_silence(0.05)


@pytest.mark.parametrize("stream_error", ["WINDOW_UPDATE of 0", "window overflow"])
def test_stream_error_on_a_tunnel_is_a_reset(clear, origin, stream_error):
    """C63: an error of the stream is an RST of the TCP connection"""
    conn = opened(clear, origin)
    clear.send(window_update(1, 0) if "0" in stream_error else window_update(1, 0x7FFFFFFF))
    clear.until(lambda: clear.stream(1).code is not None or clear.goaway)
    conn.expect_end(RST)


def test_connection_error_resets_every_tunnel(clear, origin):
    """C63"""
    conns = [opened(clear, origin, 1 + 2 * i) for i in range(3)]
    clear.send(frame(PING, 0, 0, b"short"))
    connection_error(clear, FRAME_SIZE_ERROR)
    for conn in conns:
        conn.expect_end(RST)


# --- frames ------------------------------------------------------------------------------------------------------------

# name: (frames, what GOAWAY may say). Stream 1 is a request that has been answered, 3 one that waits for its content, above 3 is idle.
BROKEN = {
    "DATA before HEADERS": (lambda: data(5, b"x"), [PROTOCOL_ERROR]),
    "RST_STREAM before HEADERS": (lambda: rst(5), [PROTOCOL_ERROR]),
    "WINDOW_UPDATE before HEADERS": (lambda: window_update(5, 1), [PROTOCOL_ERROR]),
    "DATA on 0": (lambda: data(0, b"x"), [PROTOCOL_ERROR]),
    "HEADERS on 0": (lambda: headers(0, ("x", "y")), [PROTOCOL_ERROR]),
    "PRIORITY on 0": (lambda: frame(PRIORITY, 0, 0, b"\0" * 5), [PROTOCOL_ERROR]),
    "RST_STREAM on 0": (lambda: rst(0), [PROTOCOL_ERROR]),
    "SETTINGS on 3": (lambda: frame(SETTINGS, 0, 3), [PROTOCOL_ERROR]),
    "PING on 3": (lambda: frame(PING, 0, 3, b"12345678"), [PROTOCOL_ERROR]),
    "GOAWAY on 3": (lambda: frame(GOAWAY, 0, 3, b"\0" * 8), [PROTOCOL_ERROR]),
    "CONTINUATION on 0": (lambda: frame(CONTINUATION, END_HEADERS, 0, b""), [PROTOCOL_ERROR]),
    "even id": (lambda: headers(6, *get("a.test")), [PROTOCOL_ERROR]),
    "id going backward": (lambda: headers(9, *get("127.0.0.1:1")) + headers(5, *get("a.test")), [PROTOCOL_ERROR, STREAM_CLOSED]),
    "PUSH_PROMISE": (lambda: frame(PUSH_PROMISE, END_HEADERS, 3, b"\0\0\0\x08" + block(*get("a.test"))), [PROTOCOL_ERROR]),
    "CONTINUATION of nothing": (lambda: frame(CONTINUATION, END_HEADERS, 3, block(("x", "y"))), [PROTOCOL_ERROR]),
    "DATA in a head": (lambda: headers(5, *get("a.test"), flags=0) + data(3, b"x"), [PROTOCOL_ERROR]),
    "PING in a head": (lambda: headers(5, *get("a.test"), flags=0) + ping(), [PROTOCOL_ERROR]),
    "unknown type in a head": (lambda: headers(5, *get("a.test"), flags=0) + frame(0xEE, 0, 5), [PROTOCOL_ERROR]),
    "HEADERS in a head": (lambda: headers(5, *get("a.test"), flags=0) + headers(7, *get("a.test")), [PROTOCOL_ERROR]),
    "CONTINUATION of another": (lambda: headers(5, *get("a.test"), flags=0) + frame(CONTINUATION, END_HEADERS, 7), [PROTOCOL_ERROR]),
    "short PING": (lambda: frame(PING, 0, 0, b"1234567"), [FRAME_SIZE_ERROR]),
    "long PING": (lambda: frame(PING, 0, 0, b"123456789"), [FRAME_SIZE_ERROR]),
    "SETTINGS of 5 bytes": (lambda: frame(SETTINGS, 0, 0, b"12345"), [FRAME_SIZE_ERROR]),
    "SETTINGS ACK with content": (lambda: frame(SETTINGS, 1, 0, b"\0\3\0\0\0\1"), [FRAME_SIZE_ERROR]),
    "short RST_STREAM": (lambda: frame(RST_STREAM, 0, 3, b"123"), [FRAME_SIZE_ERROR]),
    "short WINDOW_UPDATE": (lambda: frame(WINDOW_UPDATE, 0, 0, b"123"), [FRAME_SIZE_ERROR]),
    "short GOAWAY": (lambda: frame(GOAWAY, 0, 0, b"1234567"), [FRAME_SIZE_ERROR]),
    "short HEADERS with priority": (lambda: frame(HEADERS, 0x25, 5, b"1234"), [FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
    "too long DATA": (lambda: data(3, b"x" * 16385), [FRAME_SIZE_ERROR]),
    "too long HEADERS": (lambda: frame(HEADERS, 5, 5, b"\0" * 16385), [FRAME_SIZE_ERROR]),
    "padding longer than DATA": (lambda: frame(DATA, 8, 3, b"\x08abc"), [PROTOCOL_ERROR]),
    "padding longer than HEADERS": (lambda: frame(HEADERS, 0xD, 5, b"\xff" + block(*get("a.test"))[:20]), [PROTOCOL_ERROR]),
    "ENABLE_PUSH 2": (lambda: settings((2, 2)), [PROTOCOL_ERROR]),
    "window of 2^31": (lambda: settings((INITIAL_WINDOW_SIZE, 1 << 31)), [FLOW_CONTROL_ERROR]),
    "frames of 16383": (lambda: settings((MAX_FRAME_SIZE, 16383)), [PROTOCOL_ERROR]),
    "frames of 2^24": (lambda: settings((MAX_FRAME_SIZE, 1 << 24)), [PROTOCOL_ERROR]),
    "zero increment": (lambda: window_update(0, 0), [PROTOCOL_ERROR]),
    "window overflow": (lambda: window_update(0, 0x7FFFFFFF), [FLOW_CONTROL_ERROR]),
    # A window that SETTINGS overflow (6.9.2) is an error of the streams for nghttp2, not of the connection.
    "index of nothing": (lambda: frame(HEADERS, 5, 5, b"\xff\x7f"), [COMPRESSION_ERROR]),
    "index 0": (lambda: frame(HEADERS, 5, 5, b"\x80"), [COMPRESSION_ERROR]),
    "table too large": (lambda: frame(HEADERS, 5, 5, b"\x3f\xff\xff\x3f" + block(*get("a.test"))), [COMPRESSION_ERROR]),
    "cut literal": (lambda: frame(HEADERS, 5, 5, b"\0\x05ab"), [COMPRESSION_ERROR]),
    "endless integer": (lambda: frame(HEADERS, 5, 5, b"\0\x7f" + b"\xff" * 12), [COMPRESSION_ERROR]),
    "bad Huffman": (lambda: frame(HEADERS, 5, 5, b"\0\x84\xff\xff\xff\xff\x01x"), [COMPRESSION_ERROR]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_connection_error(clear, name):
    """C56 C65: GOAWAY with the RFC's code, and nothing more; the request that waits for its content does not become whole"""
    web = HttpOrigin()
    frames, codes = BROKEN[name]
    clear.send(headers(1, *get(web.authority, "/first")))
    assert clear.answer(1).status == 200
    clear.send(headers(3, *post(web), end=False))
    assert clear.sync()
    clear.send(frames())
    connection_error(clear, *codes)
    nothing_whole(web)
    assert set(web.paths()) == {"/first"}


@pytest.mark.parametrize("name, frames, codes", [
    ("zero increment", lambda: window_update(3, 0), [PROTOCOL_ERROR]),
    ("window overflow", lambda: window_update(3, 0x7FFFFFFF), [FLOW_CONTROL_ERROR]),
    # 9113 6.9.2 has a connection error here; nghttp2 makes it the stream's
    ("window overflow by SETTINGS", lambda: window_update(3, 0x7FFF0000) + settings((INITIAL_WINDOW_SIZE, 0x7FFFFFFF)), [FLOW_CONTROL_ERROR]),
    ("short PRIORITY", lambda: frame(PRIORITY, 0, 3, b"1234"), [FRAME_SIZE_ERROR]),
    ("DATA after the end", lambda: data(3, b"", end=True) + data(3, b"x"), [STREAM_CLOSED]),
    ("HEADERS after the end", lambda: data(3, b"", end=True) + headers(3, ("x", "y")), [STREAM_CLOSED]),
], ids=lambda v: v if isinstance(v, str) else "")
def test_stream_error(clear, name, frames, codes):
    """9113 5.4.2: an error of one stream. A connection error is allowed in its place; then the code is the same"""
    held = Origin()  # never answers
    clear.send(headers(3, *get(held.authority, "/held", method="POST"), end=False))
    assert clear.sync()
    clear.send(frames())
    clear.until(lambda: clear.stream(3).code is not None or clear.goaway, what="an error")
    assert (clear.goaway[1] if clear.goaway else clear.stream(3).code) in codes, clear.frames


def test_more_than_the_window(clear, origin):
    """9113 6.9.1: more DATA than was granted"""
    opened(clear, origin)
    for _ in range(4000):  # 64 MB, more than any window is allowed to grow to, and nobody reads them
        if not clear.send(data(1, b"x" * 16384)):
            break
        clear.peer.ended()
        while len(clear.peer.buffer) >= 9:
            clear.recv_frame()
        if clear.goaway or clear.stream(1).code is not None:
            break
    else:
        raise AssertionError("64 MB were taken")
    code = clear.goaway[1] if clear.goaway else clear.stream(1).code or clear.ended()[0]
    assert code == FLOW_CONTROL_ERROR


def test_what_is_unknown_is_ignored(raw):
    """9113 5.5, 6.5.2: types, flags, settings; priorities are taken politely"""
    web = HttpOrigin()
    raw.send(frame(0xEE, 0xFF, 0, b"grease"), frame(0xEE, 0, 7, b"grease"), settings((0x0A0A, 1)), frame(PING, 0xFE, 0, b"12345678"),
             frame(PRIORITY, 0, 9, b"\0\0\0\7\xff"), frame(PRIORITY, 0, 11, b"\x80\0\0\0\0"), frame(0x10, 0, 0, b"\0\0\0\x01u=1"))
    raw.send(frame(HEADERS, 0x25, 1, b"\x80\0\0\0\xff" + block(*get(web.authority, "/priority"))))
    assert raw.answer(1).body == b"GET /priority"
    still_works(raw, web, seen=1)


def test_head_in_pieces(raw):
    """9113 6.10: CONTINUATION, a byte each (as many as nghttp2 takes)"""
    web = HttpOrigin()
    whole = block(*get(web.authority, "/pieces", ("x-a", "1")))
    pieces = [frame(CONTINUATION, 0, 1, whole[i:i + 1]) for i in range(1, 6)]
    raw.send(frame(HEADERS, END_STREAM, 1, whole[:1]), *pieces, frame(CONTINUATION, END_HEADERS, 1, whole[6:]))
    assert raw.answer(1).body == b"GET /pieces"


def test_every_split_of_the_wire(both):
    """C55: however the bytes are cut"""
    web = HttpOrigin()
    whole = PREFACE + settings() + headers(1, *get(web.authority, "/split")) + ping()
    for at_byte in [*range(1, 30), 32, 33, 34, 40, 42, 43, 60, len(whole) - 1]:
        peer = Client(*both.listeners[0])
        peer.send(whole[:at_byte])
        peer.expect_silence(0.001) if at_byte < 24 else None
        peer.send(whole[at_byte:])
        raw = RawH2(peer, preface=False)
        assert raw.answer(1).body == b"GET /split", at_byte
        peer.close()


@pytest.mark.parametrize("bad", [
    PREFACE[:-1] + b"X", PREFACE[:-6] + b"XM\r\n\r\n", PREFACE.replace(b"2.0", b"2.1"), PREFACE.replace(b"PRI", b"PRJ"), b"PRI * HTTP/2.0\r\n\r\n\r\n\r\n\r\n\r\n",
    PREFACE.replace(b"\r\n", b"\n"), b"PRI * HTTP/1.1\r\n\r\n",
], ids=["last byte", "SM", "2.1", "PRJ", "no SM", "LF", "1.1"])
def test_bad_preface(both, bad):
    """C55: it is no HTTP/2, and no request either"""
    client = Client(*both.listeners[0])
    client.send(bad + settings() + b"\r\n\r\n")
    assert not re.match(rb"HTTP/1\.[01] [23]", client.recv_all())


def test_something_else_before_settings(both):
    """C55: SETTINGS come first"""
    for first in (ping(), headers(1, *get("a.test")), window_update(0, 10)):
        raw = RawH2(Client(*both.listeners[0]), preface=False)
        raw.send(PREFACE + first)
        connection_error(raw, PROTOCOL_ERROR)


def test_its_own_settings(raw):
    """C55 C67 C69: what ginnel says first"""
    first = raw.frames[0]
    assert type(first).__name__ == "SettingsFrame" and "ACK" not in first.flags
    assert raw.settings[8] == 1, "RFC 8441"
    assert raw.settings[3] == 256 and raw.settings[4] <= 65536 and raw.settings[6] >= 16384


def test_too_many_streams(start, certificates, origin):
    """C65: beyond MAX_CONCURRENT_STREAMS a stream is refused, and the others go on"""
    proxy = start({"listen": listen(certificates), "h2": {"streams": 4}})
    raw = connection(proxy, certificates, "clear")
    assert raw.settings[3] == 4
    conns = [opened(raw, origin, 1 + 2 * i) for i in range(4)]
    raw.send(headers(9, *connect(origin.authority), end=False))
    assert raw.answer(9).code in (REFUSED_STREAM, PROTOCOL_ERROR)
    origin.expect_no_connection(0.05)
    raw.send(data(1, b"x"))
    assert conns[0].recv_exactly(1) == b"x"
    raw.send(rst(3))
    conns[1].expect_end(RST)
    opened(raw, origin, 11)


def test_upgrade_to_h2c_is_not_taken(both):
    """RFC 9113 took it out: the request is h1, and the two fields stay at this hop"""
    web = HttpOrigin()
    answer = Client(*both.listeners[0]).ask(request("GET", web.url("/"), "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"))
    assert answer.status == 200 and not web.requests[0].has("http2-settings")
