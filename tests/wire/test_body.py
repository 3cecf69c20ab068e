# SPDX-License-Identifier: MIT
"""Content: framing both ways, streaming, bounded memory, early answers, and bodies that break off."""

import contextlib
import hashlib
import os
import pathlib
import random
import time

import pytest

from harness import FIN, RST, HttpOrigin, Origin, Truncated, chunk, chunked, eventually, request, response, scaled

ALL_BYTES = bytes(range(256)) * 4


def begin(client, origin, method="GET", *fields, body=None, version="1.1"):
    """Sends a request and accepts it; returns the origin's connection and the head it got."""
    client.send(request(method, origin.url("/"), *fields, body=body, version=version))
    conn = origin.accept()
    return conn, conn.recv_request_head()


def ask_cut(client, method="GET"):
    """Receives an answer that must not look complete."""
    with pytest.raises(Truncated) as cut:
        client.recv_response(method)
    return cut.value


# --- framing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"x", ALL_BYTES, b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"\0" * 70000])
def test_sized_request_body(client, web, body):
    """S000-15 S004-2: any bytes"""
    client.ask(request("POST", web.url("/"), body=body))
    req = web.requests[0]
    assert req.body == body and req.value("content-length") == str(len(body))


def test_chunked_request_body(client, web):
    """S004-2 C25: re-framed, content unchanged"""
    client.ask(request("POST", web.url("/"), "Transfer-Encoding: chunked", body=chunked(ALL_BYTES, b"x", b"end")))
    req = web.requests[0]
    assert req.body == ALL_BYTES + b"xend" and req.framing == "chunked"


@pytest.mark.parametrize("value", ["chunked", "CHUNKED", "Chunked", " \tchunked\t "])
def test_chunked_in_any_case(client, web, value):
    """FAILURES 2"""
    client.ask(request("POST", web.url("/"), f"transfer-ENCODING:{value}", body=chunked(b"abc")))
    assert web.requests[0].body == b"abc"


def test_request_trailers(client, web):
    """C47: trailers stay trailers or are dropped, framing fields among them are dropped"""
    client.ask(request("POST", web.url("/"), "Transfer-Encoding: chunked", "Trailer: X-Sum",
                       body=chunked(b"abc", trailers=["X-Sum: 1", "Content-Length: 99", "Transfer-Encoding: x", "Host: evil",
                                                      "Connection: close"])))
    req = web.requests[0]
    assert req.body == b"abc" and not req.has("x-sum")
    assert [name.lower() for name, _ in req.trailers if name.lower() != "host"] in ([], ["x-sum"])


def test_chunk_extensions_are_dropped(client, web):
    """C46: the strict parser at the origin accepts no extension"""
    body = (chunk(b"abc", b";a=b") + chunk(b"def", b' ; c ; d="e;\\" f"') + b"0;last\r\n\r\n")
    client.ask(request("POST", web.url("/"), "Transfer-Encoding: chunked", body=body))
    assert web.requests[0].body == b"abcdef"


@pytest.mark.parametrize("size", [b"3", b"03", b"0000000000000003"])
def test_leading_zeros_of_a_chunk_size(client, web, size):
    """C46"""
    client.ask(request("POST", web.url("/"), "Transfer-Encoding: chunked", body=size + b"\r\nabc\r\n0\r\n\r\n"))
    assert web.requests[0].body == b"abc"


def test_chunks_byte_by_byte(client, web):
    """S000-6"""
    client.send_bytewise(request("POST", web.url("/"), "Transfer-Encoding: chunked",
                                 body=chunked(b"hello", b"x" * 17, trailers=["X: y"])))
    assert client.recv_response().status == 200
    assert web.requests[0].body == b"hello" + b"x" * 17


def test_thousands_of_tiny_chunks(client, web):
    """FAILURES 9: no recursion a chunk"""
    client.ask(request("POST", web.url("/"), "Transfer-Encoding: chunked", body=chunk(b"x") * 100000 + b"0\r\n\r\n"), within=20)
    assert web.requests[0].body == b"x" * 100000


@pytest.mark.parametrize("fields, wire", [
    ((), None),
    (("Transfer-Encoding: chunked",), chunked(ALL_BYTES, b"tail", trailers=["X-Sum: 1"])),
    (("Transfer-Encoding: chunked",), chunk(ALL_BYTES, b';a="b"') + chunk(b"tail") + b"0 ;x\r\n\r\n"),
], ids=["sized", "chunked with trailers", "chunked with extensions"])
def test_response_body(client, web, fields, wire):
    """S002-7 S000-15 C46 C47"""
    web.reply = response(200, *fields, body=ALL_BYTES + b"tail" if wire is None else wire)
    answer = client.ask(request("GET", web.url("/")))
    assert answer.body == ALL_BYTES + b"tail"
    assert not answer.has("x-sum")
    assert answer.trailers in ([], [("X-Sum", "1")])
    assert client.ask(request("GET", web.url("/"))).body == answer.body


def test_response_byte_by_byte(client, origin):
    """S000-6 for the other side"""
    conn, _ = begin(client, origin)
    conn.send_bytewise(response(200, "Transfer-Encoding: chunked", body=chunked(b"hello", b"world", trailers=["X: y"])))
    assert client.recv_response().body == b"helloworld"


def test_response_until_close(client, web):
    """S002-7 C40: a body that ends with the connection is whole after a FIN"""
    web.reply, web.keep = b"HTTP/1.1 200 OK\r\n\r\n" + ALL_BYTES, False
    assert client.ask(request("GET", web.url("/"))).body == ALL_BYTES


def test_response_coding_other_than_chunked_last_is_read_to_close(client, web):
    """C40: never taken for chunks, never passed on as if its framing were known"""
    web.reply, web.keep = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n", False
    answer = client.ask(request("GET", web.url("/")))
    assert answer.status == 502 or answer.body == b"5\r\nhello\r\n0\r\n\r\n"


# --- streaming -----------------------------------------------------------------------------------------------------


def test_response_is_streamed(client, origin):
    """S002-7: the first event arrives before the second is sent"""
    conn, _ = begin(client, origin)
    conn.send(response(200, "Transfer-Encoding: chunked", "Content-Type: text/event-stream", body=chunk(b"data: 1\n\n")))
    client.recv_response_head()
    client.recv_until(b"data: 1\n\n")
    conn.send(chunk(b"data: 2\n\n"))
    client.recv_until(b"data: 2\n\n")


def test_request_is_streamed(client, origin):
    """S004-2"""
    conn, _ = begin(client, origin, "POST", "Transfer-Encoding: chunked")
    client.send(chunk(b"one"))
    conn.recv_until(b"one")
    client.send(chunk(b"two") + b"0\r\n\r\n")
    conn.recv_until(b"0\r\n\r\n")
    conn.send(response(200, body=b"x"))
    assert client.recv_response().body == b"x"


def test_response_head_does_not_wait_for_the_body(client, origin):
    """S002-7"""
    conn, _ = begin(client, origin)
    conn.send(response(200, "Content-Length: 10", body=b""))
    assert client.recv_response_head().status == 200
    conn.send(b"0123456789")
    assert client.recv_exactly(10) == b"0123456789"


@pytest.mark.parametrize("framing", ["sized", "chunked", "close"])
def test_large_download(client, web, framing):
    """C18 for plain HTTP: nothing lost in 16 MiB"""
    data = hashlib.sha256(b"d").digest() * (1 << 19)
    whole = {"sized": response(200, body=data),
             "chunked": response(200, "Transfer-Encoding: chunked", body=chunk(data[:1 << 20]) * 16 + b"0\r\n\r\n"),
             "close": b"HTTP/1.1 200 OK\r\n\r\n" + data}[framing]
    web.reply, web.keep = whole, framing != "close"
    assert client.ask(request("GET", web.url("/")), within=20).body == data


@pytest.mark.workers
@pytest.mark.parametrize("fields", [(), ("Transfer-Encoding: chunked",)], ids=["sized", "chunked"])
def test_large_upload(client, web, fields):
    """C18 for plain HTTP; FAILURES: squid cuts uploads over 512 KB to a slow origin"""
    data = hashlib.sha256(b"u").digest() * (1 << 19)
    body = chunked(data[:3 << 20], data[3 << 20:]) if fields else data
    sender = client.send_in_background(request("PUT", web.url("/"), *fields, body=body))
    assert client.recv_response(within=20).status == 200
    sender.join()
    assert web.requests[0].body == data


def odd_chunks(data, seed):
    """Pieces of all sizes: some are worth a splice, some end where a read ends"""
    dice, at, out = random.Random(seed), 0, []
    while at < len(data):
        size = dice.choice((1, 100, 16384 - 8, 16384, 16384 + 1, 40000, 65536, 262144, 262145, 700001)) + dice.randrange(3)
        out.append(chunk(data[at:at + size]))
        at += size
    return b"".join(out) + b"0\r\nX-Sum: 1\r\n\r\n"


@pytest.mark.workers
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_large_pieces_to_a_reader_that_pauses(client, web, framing, version):
    """Spliced where the pieces are large enough; each byte in its place, whatever the framing on either side"""
    data = random.Random(4).randbytes(9 << 20)
    web.reply = b"HTTP/1.1 200 OK\r\n\r\n" + data
    if framing == "chunked":
        web.reply = response(200, "Transfer-Encoding: chunked", body=odd_chunks(data, 5))
    web.keep = framing != "close"
    client.send(request("GET", web.url("/"), version=version))
    time.sleep(0.3)
    reply = client.recv_response(within=20)
    assert reply.body == data
    assert reply.framing_for("GET") == ("chunked" if version == "1.1" else "close")


@pytest.mark.workers
def test_large_chunks_of_an_upload(client, web):
    data = random.Random(6).randbytes(9 << 20)
    sender = client.send_in_background(request("PUT", web.url("/"), "Transfer-Encoding: chunked", body=odd_chunks(data, 7)))
    assert client.recv_response(within=20).status == 200
    sender.join()
    assert web.requests[0].body == data
    # The connection to the origin is still in step.
    assert client.ask(request("GET", web.url("/after"))).status == 200


def test_slow_reader_costs_bounded_memory(start, origin):
    """S002-7; DESIGN 8.4; FAILURES 22: the origin is blocked, the memory stays"""
    proxy = start()
    client = proxy.client(rcvbuf=16384)
    before = proxy.rss()
    conn, _ = begin(client, origin)
    conn.send(response(200, f"Content-Length: {1 << 30}", body=b""))
    taken = conn.send_until_blocked(b"x" * 65536, 1 << 28)
    assert taken < 48 << 20, "the origin was not blocked"
    if not proxy.instrumented():
        assert proxy.rss() - before < 3 << 20
    assert proxy.client().ask(request("GET", "http://ginnel.internal/")).status == 200


def test_slow_origin_costs_bounded_memory(start):
    """DESIGN 8.4: the same for uploads"""
    proxy = start()
    client = proxy.client()
    before = proxy.rss()
    begin(client, Origin(rcvbuf=16384), "POST", f"Content-Length: {1 << 30}")
    taken = client.send_until_blocked(b"x" * 65536, 1 << 28)
    assert taken < 48 << 20, "the client was not blocked"
    if not proxy.instrumented():
        assert proxy.rss() - before < 3 << 20


def test_a_blocked_client_does_not_hold_up_others(single, origin, web):
    """S000-4: one worker, one client that does not read"""
    client = single.client(rcvbuf=16384)
    conn, _ = begin(client, origin)
    conn.send(response(200, f"Content-Length: {1 << 30}", body=b""))
    conn.send_until_blocked(b"x" * 65536, 1 << 28, quiet=0.2)
    began = time.monotonic()
    assert single.client().ask(request("GET", web.url("/"))).status == 200
    assert time.monotonic() - began < scaled(3)


def pipes(proxy):
    """How many descriptors of pipes the program holds."""
    names = []
    for entry in pathlib.Path(f"/proc/{proxy.pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            names.append(os.readlink(entry))
    return sum(name.startswith("pipe:") for name in names)


@pytest.mark.workers
def test_finished_uploads_hold_no_pipe(start, origin):
    """FAILURES 22 U8; DESIGN 8.4: a spliced upload that is complete gives its pipe back at once, while its answer is still waited for.
    (A hundred of them kept 196 descriptors.) One after the other they need one pipe, which the pool keeps"""
    proxy = start({"workers": 1, "timeouts": {"response": "60s"}})
    base = pipes(proxy)
    size = 3 << 20
    data = hashlib.sha256(b"pipe").digest() * (size // 32)
    waiting = []
    for i in range(20):
        client = proxy.client()
        sender = client.send_in_background(request("POST", origin.url("/"), body=data))
        conn = origin.accept()
        if i == 0:
            eventually(lambda: pipes(proxy) == base + 2, what="the upload to be spliced")
        assert conn.recv_request(within=20).body == data
        sender.join()
        waiting.append((client, conn))
    eventually(lambda: pipes(proxy) <= base + 2, what="the pipes to be given back")
    for client, conn in waiting:
        conn.send(response(200, body=b"at last"))
        assert client.recv_response().body == b"at last"


# --- early answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin_then", ["closes", "stops reading", "resets"])
def test_early_answer_to_a_large_upload_is_readable(client, origin, origin_then):
    """C52 C53: the answer comes at byte 1 of a 64 MB upload and must not be lost to an RST"""
    conn, _ = begin(client, origin, "POST", f"Content-Length: {64 << 20}")
    sender = client.send_in_background(b"x" * (64 << 20))
    conn.recv_exactly(1)
    conn.send(response(413, body=b"too much"))
    if origin_then == "closes":
        conn.shut_write()
    elif origin_then == "resets":
        time.sleep(0.05)
        conn.reset()
    answer = client.recv_response(within=10)
    assert (answer.status, answer.body) == (413, b"too much")
    client.hang_up()
    sender.join(5)


def test_early_answer_keeps_a_connection_whose_upload_is_nearly_done(client, origin, web):
    """DESIGN 6: up to 256 KB are discarded to keep the connection"""
    conn, _ = begin(client, origin, "POST", "Content-Length: 100000")
    client.send(b"x" * 10000)
    conn.recv_exactly(10000)
    conn.send(response(200, body=b"enough"))
    answer = client.recv_response()
    assert answer.body == b"enough"
    client.send(b"x" * 90000)
    if not answer.closes:
        assert client.ask(request("GET", web.url("/next"))).body == b"GET /next"


def test_local_error_during_an_upload_is_readable(proxy):
    """C52: ginnel's own answer, too"""
    client = proxy.client()
    client.send(request("POST", "http://u:p@127.0.0.1:1/", f"Content-Length: {64 << 20}", host="127.0.0.1:1"))
    sender = client.send_in_background(b"x" * (8 << 20))
    assert client.recv_response(within=10).status == 400
    client.hang_up()
    sender.join(5)


def test_early_answer_never_returns_the_upstream_connection_to_the_pool(single, origin):
    """C49 C53: the rest of the body must not become the next request"""
    client = single.client()
    conn, _ = begin(client, origin, "POST", "Content-Length: 100000")
    client.send(b"x" * 10)
    conn.recv_exactly(10)
    conn.send(response(200, body=b"early"))
    client.recv_response()
    other = single.client()
    other.send(request("GET", origin.url("/next")))
    fresh = origin.accept()
    assert fresh.recv_request().target == "/next"
    assert b"/next" not in bytes(conn.received)


# --- bodies that break off: a broken body never looks whole (DESIGN 8.2) ---------------------------------------------

HALF_ANSWERS = {
    "short length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 60,
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"x" * 60),
    "inside a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n" + b"x" * 60,
    "inside the trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"x" * 60) + b"0\r\nX: y\r\n",
}


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("end", [FIN, RST])
@pytest.mark.parametrize("what", HALF_ANSWERS)
def test_incomplete_response_stays_incomplete(proxy, origin, what, end, version):
    """C48 U11; to an HTTP/1.0 client a FIN would look complete"""
    client = proxy.client()
    conn, _ = begin(client, origin, version=version)
    conn.send(HALF_ANSWERS[what])
    head = client.recv_response_head()
    time.sleep(0.02)
    conn.reset() if end == RST else conn.close()
    with pytest.raises(Truncated) as cut:
        client.recv_content(head, head.framing_for("GET"))
    assert set(cut.value.part) <= set(b"x")
    if head.framing_for("GET") == "close":
        assert cut.value.end == RST


def test_reset_of_a_close_delimited_response(client, origin):
    """U11: an RST arrives as anything but a clean end"""
    conn, _ = begin(client, origin)
    conn.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
    head = client.recv_response_head()
    time.sleep(0.02)
    conn.reset()
    with pytest.raises(Truncated):
        client.recv_content(head, head.framing_for("GET"))


@pytest.mark.parametrize("bad", [b"zz\r\n", b"3\r\nabcd\r\n", b"3\nabc\r\n", b"-1\r\n", b"3\r\nabc\n0\r\n\r\n"])
def test_chunk_nonsense_in_a_response_cuts_it(client, origin, bad):
    """C46 C48"""
    conn, _ = begin(client, origin)
    conn.send(response(200, "Transfer-Encoding: chunked", body=chunk(b"good")))
    head = client.recv_response_head()
    time.sleep(0.02)
    conn.send(bad)
    with pytest.raises(Truncated) as cut:
        client.recv_content(head, head.framing_for("GET"))
    assert cut.value.part.startswith(b"good")
    conn.wait_ended()


@pytest.mark.parametrize("how", [FIN, RST])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_incomplete_request_stays_incomplete(proxy, origin, framing, how):
    """C48 the other way: the origin never sees a whole request"""
    client = proxy.client()
    fields = ("Content-Length: 100",) if framing == "length" else ("Transfer-Encoding: chunked",)
    conn, head = begin(client, origin, "POST", *fields)
    client.send(b"x" * 60 if framing == "length" else chunk(b"x" * 60))
    conn.recv_until(b"x" * 60)
    client.reset() if how == RST else client.shut_write()
    rest = conn.recv_all()
    assert b"0\r\n" not in rest and len(rest) < 40
    assert head.framing == framing


def test_origin_that_falls_silent_in_a_body(start, origin):
    """DESIGN 2: ginnel's own cut never looks complete; timeouts.idle"""
    proxy = start({"timeouts": {"idle": "400ms"}})
    client = proxy.client()
    conn, _ = begin(client, origin)
    conn.send(response(200, "Transfer-Encoding: chunked", body=chunk(b"abc")))
    began = time.monotonic()
    assert ask_cut(client).part == b"abc"
    assert 0.3 < time.monotonic() - began < scaled(2)
    conn.wait_ended()
    assert proxy.wait_access()[0]["ginnel.end"] == "idle-timeout"


def test_client_that_falls_silent_in_a_body(start, origin):
    """DESIGN 2: body too slow, 408"""
    proxy = start({"timeouts": {"idle": "400ms"}})
    client = proxy.client()
    conn, _ = begin(client, origin, "POST", "Content-Length: 10")
    client.send(b"abc")
    assert client.recv_response().status == 408
    client.expect_end()
    eventually(lambda: conn.ended() != "open", what="the origin's connection to end")


def test_steady_trickle_is_not_idle(start, origin):
    """CONFIG: idle counts between bytes"""
    client = start({"timeouts": {"idle": "600ms"}}).client()
    conn, _ = begin(client, origin)
    conn.send(response(200, "Content-Length: 8", body=b""))
    for _ in range(8):
        time.sleep(0.15)
        conn.send(b"x")
    assert client.recv_response(within=5).body == b"x" * 8


def test_equal_lengths_twice(client, web):
    """C43: either refused or made one"""
    answer = client.ask(request("POST", web.url("/"), "Content-Length: 3", "Content-Length: 3", body=b"abc"))
    assert answer.status in (200, 400)
    for req in web.requests:
        assert (req.value("content-length"), req.body) == ("3", b"abc")


def test_get_with_a_body(client, web):
    """C54 class CL.0: a body is a body with every method"""
    inner = request("GET", web.url("/smuggled"))
    for method in ("GET", "HEAD", "DELETE", "OPTIONS", "FOO"):
        client.ask(request(method, web.url("/outer"), body=inner))
    assert set(web.paths()) == {"/outer"}
    assert all(req.body == inner for req in web.requests)


def test_body_of_a_default_reply_is_not_needed(client):
    """C45: POST answered with nothing at all"""
    web = HttpOrigin(response(200))
    assert client.ask(request("POST", web.url("/"), body=b"abc")).body == b""
