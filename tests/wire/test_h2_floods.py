# SPDX-License-Identifier: MIT
"""What a peer can do to an HTTP/2 server at no cost to itself (C65, FAILURES 18 to 20): each flood ends in GOAWAY ENHANCE_YOUR_CALM or stays bounded, in memory
and CPU, and others are served meanwhile. And the ends that are no floods: drain (C68), reload (C69)."""

import signal
import time

import pytest

from harness import FIN, OPEN, Client, H2Client, HttpOrigin, Origin, TlsClient, request, response, scaled
from harness.h2 import SETTINGS as CODES
from harness.h2raw import (COMPRESSION_ERROR, CONTINUATION, END_HEADERS, ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR, HEADERS, INITIAL_WINDOW_SIZE, PREFACE, PRIORITY,
                           PROTOCOL_ERROR, RawH2, block, connect, data, frame,
                           get, headers, ping, rst, settings, window_update)
from harness.sides import Side, listen

MB = 1 << 20
MEMORY = 24 * MB  # a flood may cost that much, whatever its size
SECONDS = 4.0     # of CPU


class Watch:
    """Others on the same proxy are served while it lasts, and at the end neither memory nor CPU have run away."""

    def __init__(self, proxy, web):
        self.proxy, self.web = proxy, web

    def others(self):
        began = time.monotonic()
        with self.proxy.client() as client:
            assert client.ask(request("GET", self.web.url("/other"))).status == 200
        assert time.monotonic() - began < scaled(2), "somebody else waited"

    def __enter__(self):
        self.others()
        self.rss, self.cpu = self.proxy.rss(), self.proxy.cpu_seconds()
        return self

    def __exit__(self, kind, *rest):
        if kind is None:
            self.others()
            assert self.proxy.alive()
            spent, grown = self.proxy.cpu_seconds() - self.cpu, self.proxy.rss() - self.rss
            if not self.proxy.instrumented():
                assert spent < SECONDS and grown < MEMORY, f"{spent:.1f} s of CPU, {grown >> 10} KB"


@pytest.fixture
def watch(both, web):
    with Watch(both, web) as watch:
        yield watch


@pytest.fixture
def raw(both, watch):
    return RawH2(Client(*both.listeners[0])).begin()


def flood(raw, make, most=60000, batch=200, reads=True, code=ENHANCE_YOUR_CALM):
    """Sends make(i) again and again; the connection has to be ended with that code before `most` of them. Returns how many were taken."""
    sent = 0
    while sent < most:
        if not raw.send(b"".join(make(i) for i in range(sent, sent + batch))):
            break
        sent += batch
        if reads:
            raw.peer.ended()
            while len(raw.peer.buffer) >= 9 and not raw.goaway:
                raw.recv_frame()
        if raw.goaway:
            break
    else:
        raise AssertionError(f"{sent} were taken without a word")
    got, _ = raw.ended()
    if code is not None and (reads or got is not None):
        assert got == code, f"GOAWAY {got} after {sent}"
    return sent


def test_rapid_reset(raw, watch):
    """FAILURES 18, CVE-2023-44487"""
    slow = Origin()
    assert flood(raw, lambda i: headers(2 * i + 1, *get(slow.authority)) + rst(2 * i + 1)) < 30000


def test_rapid_reset_of_connects(raw, watch):
    """FAILURES 18, with tunnels"""
    slow = Origin()
    assert flood(raw, lambda i: headers(2 * i + 1, *connect(slow.authority), end=False) + rst(2 * i + 1)) < 30000


@pytest.mark.parametrize("fault, code", [
    (lambda i: window_update(i, 0x7FFFFFFF), ENHANCE_YOUR_CALM), (lambda i: window_update(i, 0), PROTOCOL_ERROR),  # the connection's, for nghttp2
    (lambda i: frame(PRIORITY, 0, i, b"1234"), FRAME_SIZE_ERROR), (lambda i: headers(i, ("x", "y")), None), (lambda i: data(i, b"x"), None),
], ids=["window overflow", "zero increment", "short PRIORITY", "HEADERS", "DATA"])
def test_resets_that_are_provoked(raw, watch, fault, code):
    """FAILURES 18, MadeYouReset (CVE-2025-8671): the server is made to reset, by a fault after the head"""
    slow = Origin()
    assert flood(raw, lambda i: headers(2 * i + 1, *get(slow.authority), end=True) + fault(2 * i + 1), code=code) < 30000


def test_malformed_heads_again_and_again(raw, watch):
    """FAILURES 18, the same by malformed requests"""
    assert flood(raw, lambda i: headers(2 * i + 1, *get("a.test", "/", ("X-Upper", "1")))) < 30000


def test_refused_streams_again_and_again(raw, watch):
    """FAILURES 18: streams beyond the limit"""
    slow = Origin()
    assert flood(raw, lambda i: headers(2 * i + 1, *get(slow.authority, method="POST"), end=False)) < 30000


@pytest.mark.parametrize("make", [
    lambda i: frame(CONTINUATION, 0, 1, b"\0\7x-flood\x40" + b"x" * 64), lambda i: frame(CONTINUATION, 0, 1, b""),
    lambda i: frame(CONTINUATION, 0, 1, b"\0\7x-flood\x7f\x81\x7e" + b"x" * 16128),
], ids=["small", "empty", "16 KB"])
def test_continuation_flood(raw, watch, make):
    """FAILURES 19, CVE-2024-27316: a head that never ends"""
    raw.send(frame(HEADERS, 0, 1, block(*get("a.test"))))
    flood(raw, make, most=8000, batch=50, code=None)


@pytest.mark.parametrize("name, make", [
    ("PING", lambda i: ping()), ("SETTINGS", lambda i: settings()), ("SETTINGS with content", lambda i: settings((INITIAL_WINDOW_SIZE, 65535 + i % 2))),
    ("PRIORITY", lambda i: frame(PRIORITY, 0, 2 * i + 101, b"\0\0\0\0\1")), ("WINDOW_UPDATE", lambda i: window_update(0, 1)),
    ("PING answers", lambda i: ping(ack=True)), ("unknown", lambda i: frame(0xEE, 0, 0, b"")),
], ids=lambda v: v if isinstance(v, str) else "")
def test_control_floods(raw, watch, name, make):
    """FAILURES 20, CVE-2019-9512, 9513, 9515"""
    flood(raw, make, most=200000, batch=1000)


@pytest.mark.parametrize("make", [lambda i: ping(), lambda i: settings()], ids=["PING", "SETTINGS"])
def test_control_floods_unread(raw, watch, make):
    """FAILURES 20: nobody reads the answers"""
    flood(raw, make, most=400000, batch=1000, reads=False, code=None)


@pytest.mark.parametrize("kind", ["request", "tunnel"])
def test_empty_data_flood(raw, watch, kind):
    """FAILURES 20, CVE-2019-9518"""
    origin = Origin()
    fields = connect(origin.authority) if kind == "tunnel" else get(origin.authority, method="POST")
    raw.send(headers(1, *fields, end=False))
    origin.accept()
    flood(raw, lambda i: data(1), most=200000, batch=1000)


def test_empty_padded_data_flood(raw, watch):
    """FAILURES 20: padding is no content"""
    origin = Origin()
    raw.send(headers(1, *connect(origin.authority), end=False))
    origin.accept()
    flood(raw, lambda i: frame(0, 8, 1, b"\0"), most=200000, batch=1000)


def test_window_in_drops(raw, watch):
    """FAILURES 20, CVE-2019-9517: an answer asked for byte by byte"""
    web = HttpOrigin(response(body=b"x" * MB))
    raw.send(settings((INITIAL_WINDOW_SIZE, 0)), headers(1, *get(web.authority)))
    flood(raw, lambda i: window_update(1, 1), most=200000, batch=500)


def test_big_answers_into_no_window(both, watch):
    """C64, CVE-2019-9511: a hundred answers of 4 MB that nobody takes cost what their windows allow"""
    web = HttpOrigin(response(body=b"x" * (4 * MB)))
    raw = RawH2(Client(*both.listeners[0]), own=[(INITIAL_WINDOW_SIZE, 1)])
    raw.begin()
    raw.send(*(headers(2 * i + 1, *get(web.authority)) for i in range(100)))
    assert raw.sync()
    time.sleep(scaled(0.5))
    watch.others()
    raw.peer.reset()


def test_big_answers_that_nobody_reads(both, watch):
    """The same with open windows and a closed socket"""
    web = HttpOrigin(response(body=b"x" * (4 * MB)))
    raw = RawH2(Client(*both.listeners[0], rcvbuf=8192), own=[(INITIAL_WINDOW_SIZE, (1 << 31) - 1)])
    raw.send(window_update(0, (1 << 31) - 1 - 65535), *(headers(2 * i + 1, *get(web.authority)) for i in range(50)))
    time.sleep(scaled(0.5))
    watch.others()
    raw.peer.reset()


def test_stalled_answer_is_not_kept_for_ever(start, certificates):
    """CONFIG idle: an answer that nobody takes ends"""
    web = HttpOrigin(response(body=b"x" * MB))
    proxy = start({"listen": listen(certificates), "timeouts": {"idle": "500ms"}})
    raw = RawH2(Client(*proxy.listeners[0]), own=[(INITIAL_WINDOW_SIZE, 1)]).begin()
    raw.send(headers(1, *get(web.authority)))
    assert raw.until(lambda: raw.stream(1).code is not None or raw.goaway, 8, "the end of a stalled answer") or raw.peer.end != OPEN


def bomb(references):
    """One large field in the table, and a head of nothing but references to it (CVE-2016-6581)."""
    return b"\x40\1x\x7f\xa1\x1e" + b"y" * 4000 + b"\xbe" * references


def test_hpack_bomb(raw, watch):
    """FAILURES 19: 4 bytes become 16 MB"""
    fields = block(*get("a.test"))
    raw.send(frame(HEADERS, 0, 1, fields + bomb(0)), frame(CONTINUATION, END_HEADERS, 1, b"\xbe" * 4000))
    raw.until(lambda: raw.goaway or raw.stream(1).code is not None or raw.stream(1).ended)
    answer = raw.stream(1)
    assert raw.goaway or answer.code is not None or answer.status == 431, answer


def test_many_bombs(raw, watch):
    """FAILURES 19: on every stream that there may be"""
    fields = block(*get("a.test"))
    raw.send(frame(HEADERS, 5, 1, fields + bomb(0)))
    for i in range(1, 200):
        if not raw.send(frame(HEADERS, 5, 2 * i + 1, fields + b"\xbe" * 4000)):
            break
    try:
        raw.until(lambda: raw.goaway or raw.stream(399).code is not None or raw.stream(399).ended)
    except AssertionError:
        pass
    watch.others()


@pytest.mark.parametrize("size, fields", [(70000, 1), (200, 350), (1, 300)], ids=["one long", "long in all", "many"])
def test_head_beyond_the_limit(raw, watch, size, fields):
    """C14 C65: 431, or an error of the stream; the connection goes on"""
    whole = block(*get("127.0.0.1:1"), *(("x-%d" % i, "y" * size) for i in range(fields)))
    pieces = [whole[i:i + 16384] for i in range(0, len(whole), 16384)]
    raw.send(frame(HEADERS, 1 if len(pieces) > 1 else 5, 1, pieces[0]),
             *(frame(CONTINUATION, END_HEADERS if piece is pieces[-1] else 0, 1, piece) for piece in pieces[1:]))
    answer = raw.answer(1)
    # a field of 64 KB and more is none for nghttp2
    assert answer.status == 431 or answer.code in (1, 11) or raw.goaway and raw.goaway[1] in (ENHANCE_YOUR_CALM, COMPRESSION_ERROR), answer


def test_long_target(raw, watch):
    """C14: 414"""
    web = HttpOrigin()
    raw.send(headers(1, *get(web.authority, "/" + "x" * 8000)))
    assert raw.answer(1).status == 200
    raw.send(headers(3, *get(web.authority, "/" + "x" * 16300)))
    answer = raw.answer(3)
    assert answer.status in (200, 414, 431) or answer.code == 1


def test_slow_preface_and_settings(start, certificates):
    """DESIGN 5: a deadline on each greeting"""
    proxy = start({"listen": listen(certificates), "timeouts": {"head": "400ms", "tls": "400ms"}})
    for piece in (PREFACE[:5], PREFACE[:23]):
        client = Client(*proxy.listeners[0])
        client.send(piece)
        client.wait_ended(4)
    slow = Client(*proxy.listeners[1])
    slow.send(b"\x16\3\1\1\0\1")
    slow.wait_ended(4)


def test_half_a_head_has_a_deadline(start, certificates):
    """FAILURES 22 flavour: HEADERS without an end, and nothing more"""
    proxy = start({"listen": listen(certificates), "timeouts": {"head": "400ms", "keepalive": "400ms"}})
    raw = RawH2(Client(*proxy.listeners[0])).begin()
    raw.send(frame(HEADERS, 0, 1, block(*get("a.test"))))
    raw.ended(6)


def test_flood_of_handshakes(both, certificates, web, watch):
    """issue 6: half-open handshakes never starve tunnels"""
    origin = Origin()
    tunnel = Side.of("tls-h2", both, certificates.authority).tunnel(origin.authority)
    conn = origin.accept()
    half = [Client(*both.listeners[1]) for _ in range(200)]
    for client in half:
        client.send(b"\x16\3\1\2\0\1\0\1\xfc\3\3")
    for i in range(20):
        tunnel.send(b"%04d" % i)
        assert conn.recv_exactly(4) == b"%04d" % i
    fresh = TlsClient(*both.listeners[1], certificates.authority.client_context(["http/1.1"]))
    assert fresh.ask(request("GET", web.url("/"))).status == 200


# --- ends that are meant -----------------------------------------------------------------------------------------------


def h2(proxy, certificates, kind):
    context = certificates.authority.client_context(["h2"])
    return H2Client(*proxy.listeners[kind == "tls"], context if kind == "tls" else None)


@pytest.mark.parametrize("kind", ["clear", "tls"])
def test_drain(start, certificates, kind):
    """C68: two steps. What runs is completed, what came in before the second GOAWAY too, and nothing looks cut"""
    origin = Origin()
    proxy = start({"listen": listen(certificates), "timeouts": {"drain": "10s"}})
    conn = h2(proxy, certificates, kind)
    running = conn.request("GET", "http", origin.authority, "/running")
    there = origin.accept()
    there.recv_request()
    proxy.signal(signal.SIGTERM)
    last, code = conn.wait_goaway()
    assert code == 0 and last == (1 << 31) - 1, "the first one says: no more, please"
    there.send(response(body=b"complete"))
    assert running.recv_response().body == b"complete"
    conn.wait_goaway(n=2)
    assert conn.goaways[1] == (1, 0)
    assert conn.wait_end() == FIN
    assert proxy.wait_exit() == 0


def test_drain_cuts_tunnels_at_last(start, certificates, origin):
    """DESIGN 6: tunnels get `drain`, then end as a cut"""
    proxy = start({"listen": listen(certificates), "timeouts": {"drain": "500ms"}})
    conn = h2(proxy, certificates, "clear")
    tunnel = conn.connect(origin.authority)
    there = origin.accept()
    proxy.signal(signal.SIGTERM)
    conn.wait_goaway()
    tunnel.send(b"still")
    assert there.recv_exactly(5) == b"still"
    tunnel.wait_ended(5)
    assert tunnel.end != FIN
    assert proxy.wait_exit(8) == 0


def test_reload_with_open_streams(start, certificates, origin, web):
    """C69: what was offered once is not taken back; open streams stay"""
    proxy = start({"listen": listen(certificates)})
    conn = h2(proxy, certificates, "clear")
    tunnel = conn.connect(origin.authority)
    there = origin.accept()
    assert conn.wait_settings()[CODES.ENABLE_CONNECT_PROTOCOL] == 1
    proxy.reload({"listen": listen(certificates), "timeouts": {"idle": "4m"}})
    tunnel.send(b"still")
    assert there.recv_exactly(5) == b"still"
    conn.ping()
    assert conn.setting(CODES.ENABLE_CONNECT_PROTOCOL) == 1
    again = conn if not conn.goaways else h2(proxy, certificates, "clear")
    assert again.request("GET", "http", web.authority, "/after").recv_response().status == 200
    there.send(b"back")
    assert tunnel.recv_exactly(4) == b"back"
