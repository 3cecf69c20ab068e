# SPDX-License-Identifier: MIT
"""Parties that do not read, do not stop, or do not leave: memory stays bounded, deadlines hold, others are served, and the
descriptors come back."""

import contextlib
import time

import pytest

from harness import BlackHole, HttpOrigin, Origin, chunk, eventually, request, response, scaled

MUCH = 1 << 28
BOUND = 48 << 20  # what the kernel's socket buffers and pipes may hold on the way


def grown(proxy, before):
    return 0 if proxy.instrumented() else proxy.rss() - before


# --- parties that do not read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version, framing", [("1.1", "chunked"), ("1.1", "close"), ("1.0", "chunked")])
def test_client_that_does_not_read(start, origin, version, framing):
    """FAILURES 22; DESIGN 8.4: whatever the framing on either side"""
    proxy = start()
    client = proxy.client(rcvbuf=16384)
    before = proxy.rss()
    client.send(request("GET", origin.url("/"), version=version))
    conn = origin.accept()
    conn.recv_request()
    conn.send(response(200, "Transfer-Encoding: chunked", body=b"") if framing == "chunked" else b"HTTP/1.1 200 OK\r\n\r\n")
    block = chunk(b"x" * 4096) if framing == "chunked" else b"x" * 65536
    assert conn.send_until_blocked(block, MUCH) < BOUND
    assert grown(proxy, before) < 3 << 20


def test_pipelining_client_that_does_not_read(start):
    """FAILURES 22: requests are not read ahead without end"""
    web = HttpOrigin(response(200, body=b"x" * 100000))
    proxy = start()
    client = proxy.client(rcvbuf=16384)
    before = proxy.rss()
    assert client.send_until_blocked(request("GET", web.url("/")), MUCH) < BOUND
    assert grown(proxy, before) < 3 << 20
    assert proxy.client().ask(request("GET", web.url("/"))).status == 200


@pytest.mark.parametrize("method", ["CONNECT", "POST"])
def test_upload_to_a_target_that_is_not_connected_yet(start, method):
    """FAILURES 22: what comes before the connection stands is bounded too"""
    proxy = start({"timeouts": {"connect": "20s"}})
    hole = BlackHole()
    client = proxy.client()
    before = proxy.rss()
    if method == "CONNECT":
        client.send(request("CONNECT", hole.authority))
    else:
        client.send(request("POST", f"http://{hole.authority}/", f"Content-Length: {MUCH}"))
    assert client.send_until_blocked(b"x" * 65536, MUCH) < BOUND
    assert grown(proxy, before) < 3 << 20
    client.reset()


def test_client_that_never_reads_has_a_deadline(start, origin):
    """CONFIG idle: no bytes move, so the exchange ends"""
    proxy = start({"timeouts": {"idle": "500ms"}})
    client = proxy.client(rcvbuf=16384)
    client.send(request("GET", origin.url("/")))
    conn = origin.accept()
    conn.recv_request()
    conn.send(response(200, f"Content-Length: {MUCH}", body=b""))
    with contextlib.suppress(OSError):  # cut while it is still being tried
        conn.send_until_blocked(b"x" * 65536, MUCH, quiet=0.3)
    assert proxy.wait_access(within=4)[0]["ginnel.end"] == "idle-timeout"


def test_origin_that_never_reads_has_a_deadline(start):
    """CONFIG idle, response: one of them ends it"""
    proxy = start({"timeouts": {"idle": "500ms", "response": "500ms"}})
    origin = Origin(rcvbuf=16384)
    client = proxy.client()
    client.send(request("POST", origin.url("/"), f"Content-Length: {MUCH}"))
    origin.accept()
    with contextlib.suppress(OSError):
        client.send_until_blocked(b"x" * 65536, MUCH, quiet=0.3)
    assert len(proxy.wait_access(within=4)) == 1


# --- parties that do not stop ----------------------------------------------------------------------------------------


def test_refused_client_that_goes_on_sending(start):
    """C52 DESIGN 4: LINGER ends; the descriptor comes back"""
    proxy = start()
    base = proxy.fds()
    client = proxy.client()
    client.send(b"GET http://a:0/ HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.recv_response().status == 400
    client.expect_end("FIN")
    eventually(lambda: proxy.fds() <= base, within=4, what="the refused client's descriptor to come back")


def test_early_answer_and_a_client_that_stops(start, origin):
    """DESIGN 6: the rest of the upload is waited for a second, not for ever"""
    proxy = start()
    base = proxy.fds()
    client = proxy.client()
    client.send(request("POST", origin.url("/"), "Content-Length: 100000"))
    conn = origin.accept()
    conn.recv_request_head()
    conn.send(response(200, body=b"early"))
    assert client.recv_response().body == b"early"
    client.recv_all(within=4)
    eventually(lambda: proxy.fds() <= base, within=4, what="the descriptors to come back")


def test_early_answer_and_a_client_that_sends_too_much(start, origin, web):
    """DESIGN 6: beyond 256 KB the connection is given up; the answer stays readable"""
    client = start().client()
    client.send(request("POST", origin.url("/"), "Content-Length: 3000000"))
    conn = origin.accept()
    conn.recv_request_head()
    conn.send(response(200, body=b"early"))
    assert client.recv_response().body == b"early"
    sender = client.send_in_background(b"x" * 3000000 + request("GET", web.url("/smuggled")))
    rest = client.recv_all(within=8)
    client.hang_up()
    sender.join(5)
    assert rest == b"" and not web.requests


def test_malformed_behind_a_good_one(client, web):
    """C50 C15: the good one is answered first"""
    client.send(request("GET", web.url("/good")) + b"BAD\r\n\r\n" + request("GET", web.url("/smuggled")))
    assert client.recv_response().body == b"GET /good"
    assert client.recv_response().status == 400
    client.expect_end("FIN")
    assert web.paths() == ["/good"]


# --- many ------------------------------------------------------------------------------------------------------------


@pytest.mark.workers
def test_many_clients_at_once(start, web):
    """U5 U43: three hundred at a time, no failure"""
    proxy = start()
    clients = [proxy.client() for _ in range(300)]
    for i, client in enumerate(clients):
        client.send(request("GET", web.url(f"/{i}")))
    for i, client in enumerate(clients):
        assert client.recv_response(within=10).body == f"GET /{i}".encode()


def test_idle_tunnels_are_small(start):
    """DESIGN 8.4 and 4: an idle tunnel holds two descriptors and no buffer"""
    if start.instrumented():
        pytest.skip("sanitizers have memory of their own")
    proxy = start()
    origin = Origin(lambda conn: conn.recv_all(within=60))
    proxy.client().connect(origin.authority)
    before = proxy.rss()
    for _ in range(400):
        client = proxy.client().connect(origin.authority)
        client.send(b"x")
    eventually(lambda: len(origin.conns) == 401 and all(conn.received for conn in origin.conns[1:]), what="all tunnels")
    assert proxy.rss() - before < 400 * 8192


def test_idle_kept_connections_are_small(start, web):
    """DESIGN 8.4"""
    if start.instrumented():
        pytest.skip("sanitizers have memory of their own")
    proxy = start()
    proxy.client().ask(request("GET", web.url("/")))
    before = proxy.rss()
    for _ in range(400):
        assert proxy.client().ask(request("GET", web.url("/"))).status == 200
    assert proxy.rss() - before < 400 * 8192


def test_requests_do_not_leak(start, web):
    """U8: memory is where it was after many requests of every kind"""
    if start.instrumented():
        pytest.skip("sanitizers have memory of their own")
    proxy = start()

    def mixture(n):
        for i in range(n):
            client = proxy.client()
            client.ask(request("POST", web.url("/"), "Transfer-Encoding: chunked", body=chunk(b"x" * 5000) + b"0\r\n\r\n"))
            client.ask(request("GET", "http://127.0.0.1:1/"))
            client.send(b"BAD" if i % 2 else b"GET http://a.test/ HTTP/1.1\r\nX : y\r\n\r\n")
            client.close()
            proxy.client().connect(web.authority).reset()

    mixture(100)
    before = proxy.rss()
    mixture(400)
    assert proxy.rss() - before < 1 << 20


# --- records of those who leave ----------------------------------------------------------------------------------------


def test_records_of_those_who_leave(start, origin):
    """U61: one token, one record, for each way to leave"""
    proxy = start({"timeouts": {"head": "300ms"}})
    slow = proxy.client()
    slow.send(b"GET http://a.test/ HTT")
    assert slow.recv_response().status == 408
    assert proxy.wait_access(1)[0]["ginnel.end"] == "request-timeout"

    client = proxy.client()
    client.send(request("GET", origin.url("/")))
    origin.accept().recv_request()
    client.reset()
    assert proxy.wait_access(2)[1]["ginnel.end"] in ("client-reset", "client-gone")

    client = proxy.client()
    client.send(request("POST", origin.url("/"), "Content-Length: 10", body=b"abc"))
    conn = origin.accept()
    conn.recv_request_head()
    client.shut_write()
    conn.wait_ended()
    assert proxy.wait_access(3)[2]["ginnel.end"] in ("client-gone", "bad-request")


def test_time_to_the_first_byte(start, origin):
    """S001-12 U61: the times of a record are of their phase"""
    proxy = start()
    client = proxy.client()
    client.send(request("GET", origin.url("/")))
    conn = origin.accept()
    conn.recv_request()
    time.sleep(0.3)
    conn.send(response(200, "Content-Length: 2", body=b"a"))
    time.sleep(0.3)
    conn.send(b"b")
    client.recv_response()
    record = proxy.wait_access()[0]
    connected, first, whole = (record[f"ginnel.{name}_ms"] for name in ("connect", "first_byte", "duration"))
    assert 250 <= first < 300 + 1000 * scaled(2)
    assert 550 <= whole < 600 + 1000 * scaled(3)
    assert connected <= first - 250 and first <= whole - 250
