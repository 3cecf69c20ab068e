# SPDX-License-Identifier: MIT
"""Tunnels and messages on every pair of legs: four ways to speak to the proxy x four kinds of next hop. What one end does is what the other
end sees, whatever both are made of (DESIGN 2; U11 U12 C18 C19 C47 C62 C63)."""

import base64
import functools
import hashlib
import os
import random
import threading
import time

import pytest

from harness import CUT, FIN, OPEN, RST, Ginnel, Truncated, eventually, kernel_room, scaled
from harness.peer import Sender
from harness.sides import SIDES, Side

LONG = bool(os.environ.get("GINNEL_TEST_LONG"))
BULK = hashlib.sha256(b"bulk").digest() * (1 << 19)  # 16 MiB
PART = BULK[:1 << 20]


def much(ends):
    """16 MiB where both ends are quick enough to take it in a fraction of a second."""
    return PART if Ginnel.instrumented() and any("Stream" in type(end).__name__ for end in ends) else BULK


def both_ways(pair):
    side, leg = pair
    near, far = leg.tunnel(side)
    return (near, far), (far, near)


# --- bytes -------------------------------------------------------------------------------------------------------------


@pytest.mark.workers
def test_bytes(pair):
    """C18: everything, both ways at once, and small things behind it"""
    side, leg = pair
    near, far = leg.tunnel(side)
    for one, other in ((near, far), (far, near)):
        one.send(b"ping")
        assert other.recv_exactly(4) == b"ping"
    senders = [near.send_in_background(PART), far.send_in_background(PART[::-1])]
    assert far.recv_exactly(len(PART), 20) == PART and near.recv_exactly(len(PART), 20) == PART[::-1]
    for sender in senders:
        sender.join(5)
    for i in range(20):
        near.send(b"%06d" % i)
        assert far.recv_exactly(6) == b"%06d" % i
        far.send(b"%06d" % -i)
        assert near.recv_exactly(6) == b"%06d" % -i
    near.expect_silence(0.02)
    far.expect_silence(0.02)


def test_early_data(pair):
    """S000-7 C20: what follows the CONNECT at once arrives, and never before the next hop's 2xx"""
    side, leg = pair
    result = []
    thread = threading.Thread(target=lambda: result.append(side.tunnel(leg.authority, b"early bytes")))
    thread.start()
    far = leg.accept_tunnel()  # looks for bytes before it answers
    assert far.recv_exactly(11) == b"early bytes"
    thread.join()
    far.send(b"back")
    assert result[0].recv_exactly(4) == b"back"


# --- FIN ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["up", "down"])
def test_half_close_and_much_behind_it(pair, way):
    """U12 C18 C19 C62: one end is done, the other has 16 MiB to say"""
    one, other = both_ways(pair)[way == "down"]
    data = much((one, other))
    one.send(b"question")
    one.shut_write()
    other.expect_end(FIN, b"question")
    one.expect_silence(0.05)
    sender = other.send_in_background(data)
    assert one.recv_exactly(len(data), 20) == data
    sender.join(5)
    assert one.ended() == OPEN
    other.shut_write()
    one.expect_end(FIN)


def test_upload_goes_on_after_the_servers_end(pair):
    """U12: in the middle of an upload the server says that it is done; the upload is not cut"""
    side, leg = pair
    near, far = leg.tunnel(side)
    data = much((near, far))
    sender = near.send_in_background(data)
    first = far.recv_exactly(50000)
    far.send(b"done already")
    far.shut_write()
    near.expect_end(FIN, b"done already")
    assert first + far.recv_exactly(len(data) - 50000, 20) == data
    sender.join(5)
    near.shut_write()
    far.expect_end(FIN)


# what one direction carries: around records and frames (16 KiB), the first window of a stream (64 KiB) and its growth, pipes and sockets
SIZES = [n + d for n in (1, 1 << 14, 65535, 1 << 16, 1 << 17, 1 << 18) for d in (-1, 0, 1)]
REPETITIONS = int(os.environ.get("GINNEL_TEST_REPETITIONS", "10000" if LONG else "12" if Ginnel.instrumented() else "50"))


def size_of(i, rng):
    """Mostly little, one in eight at a boundary; one in 250 has a megabyte, one in a thousand 16."""
    if i % 1000 == 999:
        return len(BULK)
    if i % 250 == 249:
        return len(PART) + rng.randint(-2, 2)
    return rng.choice(SIZES) if i % 8 == 7 else rng.randint(0, 3000)


def half_close(near, far, i, rng):
    """One end says its question and FIN; behind that the other says all that it has, which it began before (every fourth time), and FIN."""
    one, other = (near, far) if i % 2 else (far, near)
    at, size = rng.randint(0, 4096), size_of(i // 2, rng)
    question, answer = b"q%05d" % i, BULK[at:] + BULK[:at] if size == len(BULK) else BULK[at:at + size]
    before = 0 if i % 8 not in (5, 6) else size if size > 1 << 19 else size // 2
    sender = Sender(lambda data: _say(other, data, before == size), answer[:before]) if before else None
    first = one.recv_exactly(1, 20) if before else b""
    one.send(question)
    one.shut_write()
    other.expect_end(FIN, question)
    if before < size or not sender:
        if sender:
            sender.join(scaled(20))
        sender = Sender(lambda data: _say(other, data, True), answer[before:])
    got = first + one.recv_all(20)
    sender.join(scaled(20))
    assert not sender.is_alive() and not sender.error, sender.error
    assert one.end == FIN and len(got) == size and got == answer, f"repetition {i}: {one.end} after {len(got)} of {size}"


def _say(end, data, whole):
    end.send(data, within=20)
    if whole:
        end.shut_write()


class Remembering:
    """An authority whose contexts are made once: one takes as long as the repetition that it is for."""

    def __init__(self, authority):
        contexts = functools.lru_cache(maxsize=None)(authority.client_context)
        self.client_context = lambda alpn: contexts(tuple(alpn))


def forget(*ends):
    """What nobody will ask for again, of thousands."""
    for end in ends:
        end.close()
        end.received.clear()
        if hasattr(end, "conn"):
            end.conn.streams.pop(end.id, None)


@pytest.mark.timeout(100 + REPETITIONS / 5)
def test_half_closes_again_and_again(pair):
    """U12: no race. 50 on each pair; 10 000 with GINNEL_TEST_LONG=1, or as many as GINNEL_TEST_REPETITIONS says"""
    side, leg = pair
    side.authority = Remembering(side.authority)
    rng = random.Random(12)
    for i in range(REPETITIONS):
        near, far = leg.tunnel(side)
        half_close(near, far, i, rng)
        forget(near, far)
        if not leg.is_h2:
            leg.server.conns.clear()


def test_an_empty_end(pair):
    """C62: END_STREAM on a frame of its own and nothing else"""
    for one, other in both_ways(pair):
        one.shut_write()
        other.expect_end(FIN)


def test_everything_then_the_end_to_a_slow_reader(pair):
    """C18"""
    side, leg = pair
    near, far = leg.tunnel(side)
    for one, other in ((near, far), (far, near)):
        sender = one.send_in_background(PART)
        time.sleep(0.1)
        assert other.recv_exactly(len(PART), 20) == PART
        sender.join(5)
        one.shut_write()
        other.expect_end(FIN)


# --- RST ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["up", "down"])
def test_reset(pair, way):
    """U11 C63: within a second, and what was there before arrives first"""
    one, other = both_ways(pair)[way == "down"]
    one.send(b"some bytes")
    other.recv_exactly(4)
    time.sleep(0.02)
    began = time.monotonic()
    one.reset()
    other.expect_end(RST, b" bytes")
    assert time.monotonic() - began < scaled(2)
    if hasattr(other, "code"):
        assert other.code == 10, f"code {other.code}: a TCP error is CONNECT_ERROR"


@pytest.mark.parametrize("way", ["up", "down"])
def test_reset_in_the_middle_of_much(pair, way):
    """U11: a right prefix, and no end that looks like one"""
    one, other = both_ways(pair)[way == "down"]
    sender = one.send_in_background(PART)
    first = other.recv_exactly(1000)
    time.sleep(0.02)
    one.reset()
    sender.join(5)
    rest = other.recv_all(20)
    assert other.end == RST and PART.startswith(first + rest)


def test_reset_by_the_one_that_only_reads(pair):
    """U11: after a half-close too"""
    for one, other in both_ways(pair)[:1]:
        one.shut_write()
        other.expect_end(FIN)
        one.reset()
        with pytest.raises((OSError, AssertionError)):
            deadline = time.monotonic() + scaled(5)
            while time.monotonic() < deadline:
                other.send(b"x" * 1000)
                time.sleep(0.01)
            raise RuntimeError("the reset did not arrive")


@pytest.mark.workers
def test_resets_again_and_again(pair):
    """U11 U12: no race"""
    side, leg = pair
    for i in range(500 if LONG else 6 if Ginnel.instrumented() else 10):
        near, far = leg.tunnel(side)
        one, other = (near, far) if i % 2 else (far, near)
        one.send(b"x" * (i * 100 + 1))
        other.recv_exactly(1)
        one.reset()
        other.recv_all()
        assert other.end == RST
        other.close()


@pytest.mark.parametrize("name", ["tls-h1"])
def test_tls_without_close_notify_is_a_cut(crossing, certificates, next_hops, name):
    """C80: an end that anybody could have made is passed on as none"""
    side = Side.of(name, crossing, certificates.authority)
    for leg in next_hops.legs.values():
        near, far = leg.tunnel(side)
        near.send(b"part")
        far.recv_exactly(4)
        near.cut()
        far.expect_end(RST)


@pytest.mark.parametrize("name", SIDES)
def test_tls_parent_without_close_notify_is_a_cut(crossing, certificates, next_hops, name):
    """C80"""
    side = Side.of(name, crossing, certificates.authority)
    near, far = next_hops.legs["https-h1-parent"].tunnel(side)
    far.send(b"part")
    near.recv_exactly(4)
    far.sock.sock.shutdown(1)
    near.expect_end(RST)


@pytest.mark.parametrize("name", ["clear-h2", "tls-h2"])
def test_lost_connection_resets_its_streams(crossing, certificates, next_hops, name):
    """C63: the connection of many tunnels dies; each of them is told"""
    side = Side.of(name, crossing, certificates.authority)
    pairs = [leg.tunnel(side) for leg in next_hops.legs.values()]
    side.conn().reset_connection()
    for _, far in pairs:
        far.expect_end(RST)


@pytest.mark.parametrize("name", SIDES)
def test_lost_parent_connection_resets_its_streams(crossing, certificates, next_hops, name):
    """C63: the same at the other end"""
    side, leg = Side.of(name, crossing, certificates.authority), next_hops.legs["https-h2-parent"]
    pairs = [leg.tunnel(side) for _ in range(6)]
    conns = {id(far.conn): far.conn for _, far in pairs}
    assert len(conns) <= 2, "one connection a worker"
    for conn in conns.values():
        conn.reset_connection()
    for near, _ in pairs:
        near.expect_end(RST)


# --- many on one -------------------------------------------------------------------------------------------------------


@pytest.mark.workers
@pytest.mark.parametrize("name", ["clear-h2", "tls-h2"])
def test_one_stalled_of_many(crossing, certificates, origin, name):
    """C64: 64 tunnels on one connection; one of them stalls, with all behind it that the origin could send; the others go on"""
    side = Side.of(name, crossing, certificates.authority)
    ends = []
    for _ in range(64):
        near = side.tunnel(origin.authority)
        ends.append((near, origin.accept()))
    assert len(side.conn().streams) == 64
    before = crossing.rss()
    (stalled, source), *others = ends
    held = source.send_until_blocked(BULK, 64 << 20)
    assert held < kernel_room(), "what one stalled stream takes is bounded"
    for i, (near, conn) in enumerate(others):
        near.send(b"%02d" % i)
        assert conn.recv_exactly(2) == b"%02d" % i
        sender = conn.send_in_background(PART[:100000])
        assert near.recv_exactly(100000, 20) == PART[:100000]
        sender.join(5)
    if not Ginnel.instrumented():
        assert crossing.rss() - before < 24 << 20
    assert stalled.recv_exactly(held, 20) == (BULK * (held // len(BULK) + 1))[:held]


@pytest.mark.parametrize("name", ["clear-h2", "tls-h2"])
def test_streams_of_one_connection_share_it(crossing, certificates, origin, name):
    """issue 6: fairly"""
    side = Side.of(name, crossing, certificates.authority)
    ends = []
    for _ in range(8):
        near = side.tunnel(origin.authority)
        ends.append((near, origin.accept()))
    senders = [conn.send_in_background(BULK) for _, conn in ends]
    for near, _ in ends:  # from here on all of them wait for the connection, none for its origin's thread to begin
        near.recv_exactly(1 << 16, 20)
    for near, _ in ends:
        near._take(len(near.buffer))
    taken = [0] * len(ends)
    while sum(taken) < 8 << 20:
        for i, (near, _) in enumerate(ends):
            if near._look(0.01):
                taken[i] += len(near._take(len(near.buffer)))
    assert min(taken) * 4 > max(taken), taken
    for near, _ in ends:
        near.reset()
    for sender in senders:
        sender.join(10)


# --- messages ----------------------------------------------------------------------------------------------------------


def ask(pair, method="POST", path="/x", fields=(), **options):
    """(the client's exchange, the far end with the request's head)"""
    side, leg = pair
    exchange = side.begin(method, leg.url(path), fields, **options)
    return exchange, leg.accept_request()


def test_request_and_answer(pair):
    """S001-5 C10 C59: the same request, in the form that each next hop wants"""
    _, leg = pair
    exchange, far = ask(pair, path="/a?b", fields=[("X-A", "1")], length=4)
    exchange.send(b"body")
    exchange.finish()
    got = far.read()
    assert (got.method, got.body, got.value("x-a")) == ("POST", b"body", "1")
    if leg.is_h2:
        assert (got.scheme, got.authority, got.target) == ("http", leg.authority, "/a?b") and not got.has("connection")
    else:
        assert got.target == (leg.url("/a?b") if leg.is_parent else "/a?b") and got.value("host") == leg.authority
    far.answer(200, [("X-B", "2")], b"answer")
    answer = exchange.recv_response()
    assert (answer.status, answer.body, answer.value("x-b")) == (200, b"answer", "2")


def test_much_up_and_down(pair):
    exchange, far = ask(pair, length=len(PART))
    sending = exchange.send_whole(PART)
    assert far.read(20).body == PART
    sending.join(5)
    far.answer(200, [], PART[::-1])
    assert exchange.recv_response(20).body == PART[::-1]


def test_trailers(pair):
    """C47: both ways, on every pair"""
    exchange, far = ask(pair, fields=[("TE", "trailers")])
    exchange.send(b"up")
    exchange.finish([("X-Up", "1")])
    got = far.read()
    assert got.body == b"up" and ("x-up", "1") in [(n.lower(), v) for n, v in got.trailers] and not got.has("x-up")
    far.answer(200, [], b"down", [("X-Down", "2")])
    answer = exchange.recv_response()
    assert answer.body == b"down" and ("x-down", "2") in [(n.lower(), v) for n, v in answer.trailers]


def test_interim(pair):
    """C30: 100 and 103"""
    exchange, far = ask(pair, fields=[("Expect", "100-continue")], length=4)
    far.interim(103, [("Link", "</a.css>")])
    assert exchange.recv_head().value("link") == "</a.css>"
    far.interim(100)
    assert exchange.recv_head().status == 100
    exchange.send(b"body")
    exchange.finish()
    assert far.read().body == b"body"
    far.answer(200, [], b"x")
    assert exchange.recv_response().body == b"x"


def test_answer_that_breaks_off(pair):
    """U11 C48: what was cut looks cut"""
    exchange, far = ask(pair, "GET", content=False)
    far.read()
    far.begin(200)
    far.send(b"part")
    assert exchange.recv_head().status == 200
    far.abort()
    with pytest.raises((Truncated, AssertionError)):
        for _ in range(1000):
            exchange.recv_part(1)
        raise RuntimeError("endless")
    side, _ = pair
    if side.is_h2:
        assert exchange.stream.end == RST


def test_request_that_breaks_off(pair):
    """U11: the next hop is told, and never sees an end"""
    exchange, far = ask(pair)
    exchange.send(b"part")
    eventually(lambda: b"part" in bytes(far.conn.received if hasattr(far, "conn") else far.stream._incoming)
               or hasattr(far, "conn") and far.conn._look(0.01) and False, what="the part")
    exchange.abort()
    end = far.gone()
    if hasattr(far, "stream"):
        assert end == RST
    else:
        assert not far.conn.received.endswith(b"0\r\n\r\n") and end in (RST, FIN, CUT)


def test_client_that_is_gone(pair):
    """U8: so is its request"""
    exchange, far = ask(pair, "GET", content=False)
    far.read()
    exchange.abort()
    assert far.gone() in (RST, FIN)



# --- WebSocket ---------------------------------------------------------------------------------------------------------

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def accept_of(key):
    return base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


def websocket(pair, fields=()):
    """(near, far) after the switch, each a connection or a stream"""
    side, leg = pair
    if side.is_h2:
        side.conn().wait_settings()
        near = side.conn().open([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", leg.authority), (":path", "/chat?x=1"),
                                 ("sec-websocket-version", "13"), ("origin", "http://a.test"), *fields])
    else:
        near = side.client()
        near.send(f"GET {leg.url('/chat?x=1')} HTTP/1.1\r\nHost: {leg.authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n"
                  "Sec-WebSocket-Version: 13\r\nOrigin: http://a.test\r\n\r\n".encode())
    far = leg.accept_request(upgrade=True)
    head = far.head
    assert head.value("sec-websocket-version") == "13" and head.value("origin") == "http://a.test"
    if hasattr(far, "stream"):
        assert (head.method, head.protocol, head.scheme, head.authority, head.target) == ("CONNECT", "websocket", "http", leg.authority, "/chat?x=1")
        assert not head.has("sec-websocket-key") and not head.has("upgrade") and not head.has("connection")
        return near, far, far.stream
    assert head.method == "GET" and head.value("upgrade") == "websocket" and "upgrade" in head.elements("connection")
    assert len(base64.b64decode(head.value("sec-websocket-key"))) == 16
    return near, far, far.conn


def switch(pair, near, far):
    side, _ = pair
    if hasattr(far, "stream"):
        far.interim(200)
    else:
        key = far.head.value("sec-websocket-key")
        far.interim(101, [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_of(key))])
    answer = near.recv_response_head()
    if side.is_h2:
        assert answer.status == 200 and not {"upgrade", "connection", "sec-websocket-accept"} & set(answer.names())
    else:
        assert answer.status == 101 and answer.value("upgrade").lower() == "websocket" and answer.value("sec-websocket-accept") == ACCEPT


@pytest.mark.parametrize("end", ["FIN", "RST"])
def test_websocket(pair, end):
    """U25 C70: the switch, bytes both ways, and the end as what it was"""
    near, far, there = websocket(pair)
    switch(pair, near, far)
    for one, other in ((near, there), (there, near)):
        one.send(b"\x81\x05hello")
        assert other.recv_exactly(7) == b"\x81\x05hello"
    if end == "FIN":
        near.shut_write()
        there.expect_end(FIN)
        there.send(b"bye")
        assert near.recv_exactly(3) == b"bye"
        there.shut_write()
        near.expect_end(FIN)
    else:
        there.reset()
        near.expect_end(RST)


def test_websocket_refused(pair):
    """C70: no switch, but an answer, which is passed on"""
    side, _ = pair
    near, far, _ = websocket(pair)
    far.answer(403, [], b"not here")
    answer = near.recv_response()
    assert (answer.status, answer.body) == (403, b"not here")
    if side.is_h2:
        near.conn.ping()
