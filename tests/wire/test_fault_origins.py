# SPDX-License-Identifier: MIT
"""Origins that fail at every step: what the client sees (a status with its reason, or a truncation that nobody can take for an end),
when, what the log says; the upstream connection is gone afterwards, and a tunnel and a client beside it have not noticed (DESIGN 2, 8)."""

import contextlib
import json
import pathlib
import random
import re
import shutil
import subprocess
import threading
import time

import pytest

from harness import (FIN, RST, BlackHole, Ginnel, HttpOrigin, Neighbours, Origin, Truncated, chunk, eventually,
                     free_port, held, parse_proxy_status, request, response, scaled)

WAIT = scaled(0.4)  # connect, response and idle, in seconds
SOON = 3.0          # unscaled: what needs no deadline has happened by then
CONFIG = {"timeouts": {name: f"{int(WAIT * 1000)}ms" for name in ("connect", "response", "idle")}}
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSED = b"HTTP/1.1 200 OK\r\n\r\n"
BODY = random.Random(4).randbytes(50000)
GONE = ("upstream-closed", "upstream-reset")


@pytest.fixture(scope="module")
def house():
    """One proxy for the whole file, and two who use it all the time."""
    proxy = Ginnel(CONFIG, tracked=False)
    neighbours = Neighbours(proxy, tunnels=1, clients=1, pause=0.01)
    yield proxy, neighbours
    neighbours.stop()
    proxy.close()


@pytest.fixture
def proxy(house):
    """The proxy; after the test its neighbours have gone on unharmed, and its log has no report."""
    proxy, neighbours = house
    neighbours.check()
    proxy.read_from = proxy.access_path.stat().st_size  # ports come round again
    yield proxy
    assert proxy.alive(), proxy.stderr()[-4000:]
    neighbours.wait_rounds()
    proxy.check_log()


def expect_gone(origin, others=0):
    eventually(lambda: len(held(origin.port)) <= others, within=SOON, what="the upstream connection to go")


def made_here(answer, status, *errors):
    assert answer.status == status, answer
    (name, parameters), = parse_proxy_status(answer.values("proxy-status"))
    assert name == "wire" and parameters["error"] in errors, parameters
    return parameters


def ended(proxy, origin, *reasons):
    mark = f'"server.port":{getattr(origin, "port", origin)},'  # the neighbours' records are many, so they are not parsed

    def told():
        with open(proxy.access_path, "rb") as log:
            log.seek(getattr(proxy, "read_from", 0))
            return [line for line in log.read().decode().split("\n")[:-1] if mark in line.replace(" ", "")]

    record = json.loads(eventually(told, what="the record")[0])
    assert record["ginnel.end"] in reasons, record["ginnel.end"]


class Clock:
    """Says whether something took as long as it should have."""

    def __init__(self):
        self.began = time.monotonic()

    def soon(self):
        took = time.monotonic() - self.began
        assert took < scaled(SOON), f"took {took:.2f} s"

    def waited(self, wait=WAIT):
        took = time.monotonic() - self.began
        assert wait * 0.5 <= took < wait + scaled(SOON), f"took {took:.2f} s instead of {wait:.2f}"


def leave(conn, how):
    """FIN, or RST."""
    conn.close() if how == FIN else conn.reset()


ways = pytest.mark.parametrize("how", [FIN, RST])


# --- no connection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "CONNECT"])
def test_refuses(proxy, method):
    """C72 DESIGN 2"""
    target = f"127.0.0.1:{free_port()}"
    clock = Clock()
    answer = proxy.client().ask(request(method, target if method == "CONNECT" else f"http://{target}/"))
    made_here(answer, 502, "connection_refused")
    clock.soon()
    ended(proxy, int(target.split(":")[1]), "connect-refused")


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_swallows_the_syn(proxy, method):
    """U9: a full queue drops the SYN; 504 when timeouts.connect has passed"""
    hole = BlackHole()
    clock = Clock()
    answer = proxy.client().ask(request(method, hole.authority if method == "CONNECT" else f"http://{hole.authority}/"))
    made_here(answer, 504, "connection_timeout")
    clock.waited()
    ended(proxy, hole, "connect-timeout")
    eventually(lambda: len(held(hole.port)) <= len(hole._queue), what="the attempt to be given up")


def nft(*lines):
    subprocess.run(["nft", "-f", "-"], input="\n".join(lines), text=True, check=True, capture_output=True)


@pytest.fixture
def lossy(netns):
    """A network of its own with a firewall that can swallow what an origin sends or gets."""
    if not shutil.which("nft"):
        pytest.skip("no nft here")
    try:
        netns.call(nft, "add table inet t", "add chain inet t out { type filter hook output priority 0; }")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no nftables here: {error.stderr.strip()}")
    netns.proxy = netns.call(Ginnel, CONFIG)
    return netns


def swallow(netns, port):
    """From now on nothing reaches or leaves that port."""
    netns.call(nft, f"add rule inet t out tcp dport {port} drop", f"add rule inet t out tcp sport {port} drop")


def test_network_swallows_the_syn(lossy):
    """U9: as a firewall does"""
    swallow(lossy, 4444)
    clock = Clock()
    made_here(lossy.call(lossy.proxy.client).ask(request("GET", "http://127.0.0.1:4444/")), 504, "connection_timeout")
    clock.waited()


def test_network_goes_away_before_the_answer(lossy):
    """C72: not even an RST comes"""
    origin = lossy.call(Origin)
    client = lossy.call(lossy.proxy.client)
    client.send(request("GET", origin.url()))
    conn = origin.accept()
    conn.recv_request()
    swallow(lossy, origin.port)
    clock = Clock()
    made_here(client.recv_response(), 504, "http_response_timeout")
    clock.waited()
    ended(lossy.proxy, origin, "upstream-timeout")


def test_network_goes_away_in_an_answer(lossy):
    """DESIGN 8.2: the cut shows"""
    origin = lossy.call(Origin)
    client = lossy.call(lossy.proxy.client)
    client.send(request("GET", origin.url()))
    conn = origin.accept()
    conn.recv_request()
    conn.send(LENGTH + BODY)
    head = client.recv_response_head()
    assert client.recv_exactly(len(BODY)) == BODY
    swallow(lossy, origin.port)
    clock = Clock()
    with pytest.raises(Truncated):
        client.recv_content(head, "length")
    clock.waited()
    ended(lossy.proxy, origin, "idle-timeout")


# --- it leaves before the head of its answer is complete -----------------------------------------------------------------


@ways
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_leaves_at_accept(proxy, how, method):
    """C72: a new connection, so nothing is tried again"""
    origin = Origin()
    clock = Clock()
    client = proxy.client()
    sender = client.send_in_background(request(method, origin.url(), body=b"x" * 200000 if method == "POST" else None))
    leave(origin.accept(), how)
    # an RST may be there before the connection is seen to stand
    early = how == RST
    made_here(client.recv_response(), 502, "http_response_incomplete", *(["connection_terminated"] if early else []))
    clock.soon()
    ended(proxy, origin, *GONE, *(["connect-failed"] if early else []))
    expect_gone(origin)
    origin.expect_no_connection(0.05)
    client.hang_up()
    sender.join(5)


@ways
def test_leaves_after_the_first_byte(proxy, how):
    """C72"""
    origin = Origin()
    client = proxy.client()
    client.send(request("POST", origin.url(), body=b"body"))
    conn = origin.accept()
    assert conn.sock.recv(1) == b"P"
    leave(conn, how)
    made_here(client.recv_response(), 502, "http_response_incomplete")
    ended(proxy, origin, *GONE)
    expect_gone(origin)


@ways
def test_leaves_during_the_upload(proxy, how):
    """C72 C53: the client has not sent everything, and is told at once"""
    origin = Origin()
    client = proxy.client()
    client.send(request("POST", origin.url(), "Content-Length: 100000") + b"some")
    conn = origin.accept()
    conn.recv_until(b"some")
    clock = Clock()
    leave(conn, how)
    made_here(client.recv_response(), 502, "http_response_incomplete")
    clock.soon()
    ended(proxy, origin, *GONE)
    expect_gone(origin)


BEFORE = {
    "the first byte": b"", "in the status line": b"HTTP/1.1 20", "behind the status line": b"HTTP/1.1 200 OK\r\n",
    "in a field": b"HTTP/1.1 200 OK\r\nContent-Le", "in the last line end": LENGTH[:-1],
    "behind an interim answer": b"HTTP/1.1 103 Early Hints\r\n\r\n", "in an interim answer": b"HTTP/1.1 103 Early Hi",
}


@ways
@pytest.mark.parametrize("where", BEFORE)
def test_leaves_before_its_head_is_complete(proxy, where, how):
    """C72 U61"""
    origin = Origin()
    client = proxy.client()
    client.send(request("GET", origin.url()))
    conn = origin.accept()
    conn.recv_request()
    conn.send(BEFORE[where])
    time.sleep(0.02)
    clock = Clock()
    leave(conn, how)
    made_here(client.recv_response(), 502, "http_response_incomplete")
    clock.soon()
    ended(proxy, origin, "upstream-closed" if how == FIN else "upstream-reset")
    expect_gone(origin)


# --- it leaves in its body -------------------------------------------------------------------------------------------


CUTS = {
    "no body, length": (LENGTH, b""), "body, length": (LENGTH + BODY, BODY),
    "no body, chunked": (CHUNKED, b""), "in a size": (CHUNKED + chunk(b"abc") + b"1", b"abc"),
    "in a chunk": (CHUNKED + b"c350\r\n" + BODY[:30000], BODY[:30000]),
    "between chunks": (CHUNKED + chunk(BODY[:20000]) + chunk(b"def"), BODY[:20000] + b"def"),
    "before the last chunk's line end": (CHUNKED + chunk(b"abc") + b"0", b"abc"),
    "before the trailers": (CHUNKED + chunk(b"abc") + b"0\r\n", b"abc"),
    "in the trailers": (CHUNKED + chunk(b"abc") + b"0\r\nX-Sum: 12", b"abc"),
    "behind a trailer": (CHUNKED + chunk(b"abc") + b"0\r\nX-Sum: 12\r\n", b"abc"),
    "no body, until close": (CLOSED, b""), "body, until close": (CLOSED + BODY, BODY),
}


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("where, how", [(where, how) for where in CUTS for how in (FIN, RST)
                                        if (how, where.split(", ")[-1]) != (FIN, "until close")])
def test_leaves_in_its_body(proxy, where, how, version):
    """C48 DESIGN 8.2: a correct prefix and no clean end, whatever the framing and whoever asks"""
    data, body = CUTS[where]
    origin = Origin()
    client = proxy.client()
    client.send(request("GET", origin.url(), version=version))
    conn = origin.accept()
    conn.recv_request()
    conn.send(data)
    head = client.recv_response_head()
    assert head.status == 200
    time.sleep(0.03)
    clock = Clock()
    leave(conn, how)
    with pytest.raises(Truncated) as cut:
        client.recv_content(head, head.framing_for("GET"))
    clock.soon()
    assert body.startswith(cut.value.part)
    if how == FIN:
        assert cut.value.part == body, "what came before a FIN is all there"
    if version == "1.0":
        assert cut.value.end == RST, "for a 1.0 client only a reset says so"
    ended(proxy, origin, "upstream-closed" if how == FIN else "upstream-reset")
    expect_gone(origin)


def test_fin_ends_a_body_until_close(proxy):
    """C48: the one framing in which a FIN is an end"""
    web = HttpOrigin(CLOSED + BODY, keep=False)
    answer = proxy.client().ask(request("GET", web.url()))
    assert answer.status == 200 and answer.body == BODY
    ended(proxy, web, "done")


# --- it is silent, or slow -------------------------------------------------------------------------------------------


def test_accepts_and_is_silent(proxy):
    """C72 DESIGN 2"""
    origin = Origin()
    clock = Clock()
    client = proxy.client()
    client.send(request("GET", origin.url()))
    conn = origin.accept()
    made_here(client.recv_response(), 504, "http_response_timeout")
    clock.waited()
    ended(proxy, origin, "upstream-timeout")
    conn.wait_ended()
    expect_gone(origin)


def test_accepts_and_never_reads(proxy):
    """CONFIG idle: an upload that does not move"""
    origin = Origin(rcvbuf=4096)
    client = proxy.client()
    sender = client.send_in_background(request("POST", origin.url(), body=b"x" * (8 << 20)))
    origin.accept()
    clock = Clock()
    with contextlib.suppress(Truncated, OSError):
        made_here(client.recv_response(), 504, "http_response_timeout", "connection_timeout", "connection_write_timeout")
    clock.waited()
    ended(proxy, origin, "upstream-timeout", "idle-timeout")
    client.hang_up()
    sender.join(5)


@pytest.mark.parametrize("where", ["in the status line", "in a field"])
def test_silent_in_its_head(proxy, where):
    """C72: no answer was passed on yet, so there is a status"""
    origin = Origin()
    client = proxy.client()
    client.send(request("GET", origin.url()))
    conn = origin.accept()
    conn.recv_request()
    clock = Clock()
    conn.send(BEFORE[where])
    made_here(client.recv_response(), 504, "http_response_timeout", "connection_timeout")
    clock.waited()
    ended(proxy, origin, "upstream-timeout", "idle-timeout")
    conn.wait_ended()


@pytest.mark.parametrize("where", ["body, length", "in a chunk", "between chunks", "body, until close"])
def test_silent_in_its_body(proxy, where):
    """CONFIG idle, DESIGN 2: our own cut is never something that looks complete"""
    data, body = CUTS[where]
    origin = Origin()
    client = proxy.client()
    client.send(request("GET", origin.url()))
    conn = origin.accept()
    conn.recv_request()
    conn.send(data)
    head = client.recv_response_head()
    clock = Clock()
    with pytest.raises(Truncated) as cut:
        client.recv_content(head, head.framing_for("GET"))
    clock.waited()
    assert cut.value.part == body
    assert cut.value.end == RST, "the manual: the connection is reset"
    ended(proxy, origin, "idle-timeout")
    conn.wait_ended()


@pytest.mark.parametrize("data", [response(body=b"a whole answer"), CHUNKED + chunk(b"some") + b"0\r\nX-Sum: 1\r\n\r\n"])
def test_one_byte_at_a_time(single, data):
    """DESIGN 8.3: however it is cut up; a proxy with time, since a busy machine has little for each byte"""
    origin = Origin()
    client = single.client()
    client.send(request("GET", origin.url()))
    conn = origin.accept()
    conn.recv_request()
    conn.send_bytewise(data)
    assert client.recv_response().body in (b"a whole answer", b"some")


def test_slow_but_not_idle(proxy):
    """CONFIG idle: between two bytes, not in all"""
    origin = Origin()
    client = proxy.client()
    client.send(request("GET", origin.url()))
    conn = origin.accept()
    conn.recv_request()
    conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    for i in range(5):
        time.sleep(WAIT * 0.4)
        conn.send(b"%d" % i)
    assert client.recv_response().body == b"01234"


def test_slower_than_idle(proxy):
    """CONFIG idle"""
    origin = Origin()
    client = proxy.client()
    client.send(request("GET", origin.url()))
    conn = origin.accept()
    conn.recv_request()
    conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n0")
    time.sleep(WAIT * 1.5)
    with contextlib.suppress(OSError):
        conn.send(b"1234")
    with pytest.raises(Truncated) as cut:
        client.recv_response()
    assert cut.value.part == b"0"
    ended(proxy, origin, "idle-timeout")


def test_trickles_its_head_for_ever(proxy):
    """FAILURES slow heads: a head must come to an end, also when its bytes keep coming"""
    stop = threading.Event()

    def trickle(conn):
        conn.recv_request()
        conn.send(b"HTTP/1.1 200 OK\r\n")
        while not stop.wait(WAIT / 4):
            conn.send(b"X")

    origin = Origin(trickle)
    clock = Clock()
    client = proxy.client()
    client.send(request("GET", origin.url()))
    try:
        made_here(client.recv_response(within=6 * WAIT), 504, "http_response_timeout", "connection_timeout")
    finally:
        stop.set()
    assert time.monotonic() - clock.began < 5 * WAIT


# --- it sends something else than it says ----------------------------------------------------------------------------------


def ask_again(proxy, client, origin):
    """The next request is answered by a connection that has nothing to do with the one before."""
    client.send(request("GET", origin.url("/next")))
    fresh = origin.accept()
    assert fresh.recv_request().target == "/next"
    fresh.send(response(body=b"next"))
    answer = client.recv_response()
    assert answer.status == 200 and answer.body == b"next"


STRANGE = {
    "longer than it says": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, world", 200, b"hello"),
    "another answer behind it": (response(body=b"hello") + response(body=b"SPLIT"), 200, b"hello"),
    "garbage behind it": (response(body=b"hello") + b"\r\n\r\n\0\0", 200, b"hello"),
    "garbage behind the last chunk": (CHUNKED + chunk(b"hello") + b"0\r\n\r\nSPLIT", 200, b"hello"),
    "a 204 with a body": (b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nSPLIT", 204, b""),
    "a 304 with a body": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nSPLIT", 304, b""),
    "a 204 with a length and a body": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nSPLIT", 204, b""),
}


@pytest.mark.parametrize("what", STRANGE)
def test_more_than_it_says(proxy, what):
    """C49: what is beyond the answer is never the next one, and the connection is not used again"""
    data, status, body = STRANGE[what]
    origin = Origin()
    client = proxy.client()
    client.send(request("GET", origin.url()))
    conn = origin.accept()
    conn.recv_request()
    conn.send(data)
    answer = client.recv_response()
    assert (answer.status, answer.body) == (status, body)
    conn.wait_ended()
    if answer.closes:
        client.expect_end(FIN)
        client = proxy.client()
    ask_again(proxy, client, origin)


@pytest.mark.parametrize("garbage", [b"x", b"\r\n", response(body=b"SPLIT"), b"\0" * 100000])
def test_speaks_on_an_idle_connection(proxy, garbage):
    """C49: an answer that nobody asked for"""
    origin = Origin()
    client = proxy.client()
    client.send(request("GET", origin.url()))
    conn = origin.accept()
    conn.recv_request()
    conn.send(response(body=b"first"))
    assert client.recv_response().body == b"first"
    with contextlib.suppress(OSError):
        conn.send(garbage)
    conn.wait_ended()
    ask_again(proxy, client, origin)


@pytest.mark.parametrize("garbage", [b"\0", b"SPLIT\r\n\r\n", b"HTTP/1.1 XYZ\r\n\r\n", b"\x16\x03\x01\x02\x00", b"220 mail\r\n",
                                     b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                                     b"HTTP/1.1 200 OK\r\nbare\rcr: 1\r\n\r\n"])
def test_nonsense_instead_of_an_answer(proxy, garbage):
    """C72 C43"""
    origin = Origin()
    client = proxy.client()
    client.send(request("GET", origin.url()))
    conn = origin.accept()
    conn.recv_request()
    clock = Clock()
    conn.send(garbage)
    made_here(client.recv_response(), 502, "http_protocol_error")
    if garbage != b"\0":
        clock.soon()
    ended(proxy, origin, "upstream-nonsense")
    conn.wait_ended()


@pytest.mark.parametrize("size", [b"g\r\n", b"-1\r\n", b"ffffffffffffffff1\r\n", b" 5\r\nhello", b"5\rhello", b"5\r\nhelloXX"])
def test_nonsense_in_its_chunks(proxy, size):
    """C48 DESIGN 8.2"""
    origin = Origin()
    client = proxy.client()
    client.send(request("GET", origin.url()))
    conn = origin.accept()
    conn.recv_request()
    conn.send(CHUNKED + chunk(b"good") + size)
    with pytest.raises(Truncated) as cut:
        client.recv_response()
    assert b"goodhello".startswith(cut.value.part)
    ended(proxy, origin, "upstream-nonsense")
    conn.wait_ended()


# --- too much ----------------------------------------------------------------------------------------------------------


def flood(proxy, data, repeat, *errors):
    """Sends until ginnel has had enough; returns the answer."""
    before = proxy.rss()

    def pour(conn):
        conn.recv_request()
        for _ in range(repeat):
            conn.send(data, within=10)

    origin = Origin(pour)
    client = proxy.client()
    clock = Clock()
    client.send(request("GET", origin.url()))
    answer = client.recv_response(within=10)
    clock.soon()
    made_here(answer, 502, *errors)
    expect_gone(origin)
    assert proxy.instrumented() or proxy.rss() - before < 4 << 20
    return answer, origin


def test_a_hundred_thousand_fields(proxy):
    """CONFIG sizes.head: larger answers get 502"""
    data = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(100000)) + b"\r\n"
    _, origin = flood(proxy, data, 1, "http_protocol_error", "http_response_header_section_size")
    ended(proxy, origin, "upstream-nonsense")


def test_a_field_of_ten_megabytes(proxy):
    """CONFIG sizes.head"""
    data = b"HTTP/1.1 200 OK\r\nX: " + b"x" * (10 << 20) + b"\r\n\r\n"
    flood(proxy, data, 1, "http_protocol_error", "http_response_header_section_size", "http_response_header_size")


def test_a_status_line_of_ten_megabytes(proxy):
    """CONFIG sizes.head"""
    flood(proxy, b"HTTP/1.1 200 " + b"x" * (10 << 20), 1, "http_protocol_error", "http_response_header_section_size")


@pytest.mark.parametrize("fields", [b"", b"X: " + b"x" * 8000 + b"\r\n"])
def test_endless_interim_answers(proxy, fields):
    """DESIGN 6: at most 16 and 64 KB in all"""
    answer, _ = flood(proxy, b"HTTP/1.1 103 Early Hints\r\n" + fields + b"\r\n", 100000, "http_protocol_error")
    assert len(answer.interim) <= 16


def test_interim_answers_and_a_final_one(proxy):
    """DESIGN 6: sixteen are still fine"""
    web = HttpOrigin(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 16 + response(body=b"at last"))
    answer = proxy.client().ask(request("GET", web.url()))
    assert answer.status == 200 and answer.body == b"at last" and len(answer.interim) == 16


def test_too_many_interim_answers_and_a_final_one(proxy):
    """DESIGN 6"""
    web = HttpOrigin(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17 + response(body=b"at last"))
    made_here(proxy.client().ask(request("GET", web.url())), 502, "http_protocol_error")


def test_endless_trailers(proxy):
    """DESIGN 8.4: trailers have a bound, and what is cut there shows"""
    def pour(conn):
        conn.recv_request()
        conn.send(CHUNKED + chunk(b"abc") + b"0\r\n")
        for _ in range(1000):
            conn.send(b"X-Y: " + b"z" * 8000 + b"\r\n", within=10)

    origin = Origin(pour)
    with pytest.raises(Truncated) as cut:
        proxy.client().ask(request("GET", origin.url()))
    assert cut.value.part.startswith(b"abc")
    ended(proxy, origin, "upstream-nonsense")
    expect_gone(origin)


def test_endless_chunk_extension(proxy):
    """DESIGN 8.4"""
    def pour(conn):
        conn.recv_request()
        conn.send(CHUNKED + chunk(b"abc") + b"5;x=")
        for _ in range(1000):
            conn.send(b"z" * 8000, within=10)

    origin = Origin(pour)
    with pytest.raises(Truncated) as cut:
        proxy.client().ask(request("GET", origin.url()))
    assert b"abc".startswith(cut.value.part)
    expect_gone(origin)


# --- it answers before the request ends --------------------------------------------------------------------------------------


THEN = ["reads on", "stops reading", FIN, RST]


def read_on(conn, body):
    """Reads the upload to its end, or to where it is given up; it is what was sent, as far as it goes."""
    got = bytearray()
    while len(got) < len(body) and (data := conn.recv_some(within=10)):
        got += data
    assert body.startswith(got)


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
@pytest.mark.parametrize("then", THEN)
@pytest.mark.parametrize("size", [100000, 4 << 20])
def test_answers_early(proxy, connection, then, size):
    """C53 DESIGN 6: the client gets the whole answer, whatever becomes of its upload"""
    origin = Origin()
    client = proxy.client()
    answer = response(413, f"Connection: {connection}", body=BODY)
    body = random.Random(size).randbytes(size)
    sender = client.send_in_background(request("POST", origin.url(), body=body))
    conn = origin.accept()
    conn.recv_request_head()
    conn.send(answer)
    if then in (FIN, RST):
        leave(conn, then)
    elif then == "reads on":
        reader = threading.Thread(target=read_on, args=(conn, body))
        reader.start()
    got = client.recv_response()
    assert got.status == 413 and got.body == BODY
    if then == "reads on":
        sender.join(10)
        reader.join(10)
        assert not sender.is_alive() and not reader.is_alive()
    client.hang_up()
    sender.join(5)
    ended(proxy, origin, "done")
    # a small upload may be complete in the kernel's buffers, and then the connection is as good as new
    expect_gone(origin, others=1 if then in ("reads on", "stops reading") and connection == "keep-alive" else 0)


@ways
def test_leaves_in_an_early_answer(proxy, how):
    """C48 C53: half an answer in the middle of an upload is still a truncation"""
    origin = Origin()
    client = proxy.client()
    client.send(request("POST", origin.url(), "Content-Length: 100000") + b"x" * 1000)
    conn = origin.accept()
    conn.recv_request_head()
    conn.recv_exactly(1000)
    conn.send(LENGTH + BODY)
    head = client.recv_response_head()
    client.recv_exactly(len(BODY))
    leave(conn, how)
    with pytest.raises(Truncated):
        client.recv_content(head, "length")
    ended(proxy, origin, *GONE)
    expect_gone(origin)


# --- tunnels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", [FIN, RST])
def test_tunnel_to_one_that_leaves_at_accept(proxy, then):
    """DESIGN 2: the tunnel stood, so its end is passed on"""
    origin = Origin()
    client = proxy.client()
    client.send(request("CONNECT", origin.authority))
    leave(origin.accept(), then)
    head = client.recv_response_head()
    reasons = ["tunnel-done", "client-gone"] if then == FIN else ["upstream-reset"]
    if head.status == 200:
        clock = Clock()
        client.expect_end(then)
        clock.soon()
    else:
        assert (head.status, then) == (502, RST), "a reset may be there before the connection is seen to stand"
        reasons = ["connect-failed"]
    client.close()
    ended(proxy, origin, *reasons)
    expect_gone(origin)


# --- all in all ----------------------------------------------------------------------------------------------------------


def test_nothing_is_left(house):
    """U8: after all of this"""
    proxy, neighbours = house
    neighbours.wait_rounds(3)
    samples = proxy.metrics()
    kept = [name for name in samples if re.match(r"ginnel_.*(idle|kept|pool)", name)]
    most = 4 + 2 + 2 + sum(samples[name] for name in kept if not name.endswith("_total"))
    sockets = lambda: sum(1 for fd in pathlib.Path(f"/proc/{proxy.pid}/fd").iterdir() if _is_socket(fd))
    eventually(lambda: sockets() <= most + 8, within=3, what=f"{sockets()} sockets to become few")


def _is_socket(fd):
    with contextlib.suppress(OSError):
        return fd.readlink().as_posix().startswith("socket:")
    return False
