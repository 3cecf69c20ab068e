# SPDX-License-Identifier: MIT
"""Connections to origins that are kept and used again: when they are, when they must not be, and what is sent twice (never what
could do harm)."""

import threading
import time

import pytest

from harness import OPEN, HttpOrigin, eventually, request, response


def serve(conn, answer=None):
    """Receives one request on conn and answers it."""
    req = conn.recv_request()
    conn.send(answer or response(200, body=req.target.encode()))
    return req


def first_exchange(client, origin, answer=None):
    """One complete exchange; returns the connection, which may now lie in the pool."""
    client.send(request("GET", origin.url("/first")))
    conn = origin.accept()
    serve(conn, answer)
    assert client.recv_response().status == 200
    return conn


def next_connection(origin, conn, seconds=3):
    """Where the next request has arrived: on conn, or on a new connection."""
    origin.sock.setblocking(False)

    def look():
        conn.ended()
        if conn.buffer:
            return conn
        try:
            return origin.accept(within=0.002)
        except AssertionError:
            return None

    return eventually(look, within=seconds, what="the next request")


# --- reuse ---------------------------------------------------------------------------------------------------------


def test_one_client_reuses(single, origin):
    """U5 S002-14: not a new connection a request; S001-12: and the log says so"""
    client = single.client()
    conn = first_exchange(client, origin)
    client.send(request("GET", origin.url("/second")))
    assert serve(conn).target == "/second"
    assert client.recv_response().body == b"/second"
    records = single.wait_access(2, {"server.port": origin.port})
    assert [record["ginnel.reused"] for record in records] == [False, True]


def test_other_clients_reuse(single, origin):
    """DESIGN 2: pooling, not pinning"""
    conn = first_exchange(single.client(), origin)
    other = single.client()
    other.send(request("GET", origin.url("/second")))
    assert serve(conn).target == "/second"
    assert other.recv_response().body == b"/second"


def test_reuse_survives_the_client(single, origin):
    """DESIGN 2"""
    client = single.client()
    conn = first_exchange(client, origin)
    client.close()
    time.sleep(0.05)
    assert conn.ended() == OPEN
    other = single.client()
    other.send(request("GET", origin.url("/second")))
    assert serve(conn).target == "/second"


def test_concurrent_requests_take_a_connection_each(single, origin):
    """C50 D: no pipelining upstream"""
    clients = [single.client() for _ in range(3)]
    for client in clients:
        client.send(request("GET", origin.url("/")))
    conns = [origin.accept() for _ in clients]
    for conn in conns:
        serve(conn)
    for client in clients:
        assert client.recv_response().status == 200


def test_names_do_not_share(start, dns, origin):
    """DESIGN 6: the key has the host, not only the address"""
    dns.answer("a.pool.test", a=["127.0.0.1"])
    dns.answer("b.pool.test", a=["127.0.0.1"])
    client = start({"workers": 1, "resolver": {"servers": [dns.address]}}).client()
    client.send(request("GET", origin.url("/a", name="a.pool.test")))
    conn = origin.accept()
    serve(conn)
    client.recv_response()
    client.send(request("GET", origin.url("/b", name="b.pool.test")))
    assert serve(origin.accept()).target == "/b"


@pytest.mark.parametrize("answer", [
    response(200, body=b"x"), response(200, "Transfer-Encoding: chunked", body=b"1\r\nx\r\n0\r\n\r\n"), response(204, body=None),
    response(304, body=None), response(200, "Connection: keep-alive", body=b"x"), response(404, body=b"x"),
], ids=["sized", "chunked", "204", "304", "keep-alive", "404"])
def test_complete_answers_leave_a_usable_connection(single, origin, answer):
    """C45 C49"""
    client = single.client()
    client.send(request("GET", origin.url("/first")))
    conn = origin.accept()
    serve(conn, answer)
    client.recv_response()
    client.send(request("GET", origin.url("/second")))
    assert next_connection(origin, conn) is conn


@pytest.mark.parametrize("answer", [
    response(200, "Connection: close", body=b"x"), response(200, "Connection: x, Close", body=b"x"), response(200, body=b"x", version="1.0"),
    response(200, body=b"x") + b"y", response(200, "Keep-Alive: timeout=1", body=b"x"),
], ids=["close", "close in a list", "HTTP/1.0", "extra byte", "hint of a second"])
def test_connections_that_are_not_kept(single, origin, answer):
    """C49 C52 DESIGN 6: the Keep-Alive hint less a second"""
    conn = first_exchange(single.client(), origin, answer)
    other = single.client()
    other.send(request("GET", origin.url("/second")))
    fresh = next_connection(origin, conn)
    assert fresh is not conn
    serve(fresh)
    assert other.recv_response().body == b"/second"


@pytest.mark.parametrize("answer", [response(200, "Connection: close", body=b"x"), response(200, body=b"x", version="1.0")],
                         ids=["close", "HTTP/1.0"])
def test_close_of_the_origin_is_of_its_hop_only(client, web, answer):
    """C24 S001-9: a sized answer leaves the client's connection as it was"""
    web.reply, web.keep = answer, False
    for _ in range(2):
        assert not client.ask(request("GET", web.url("/"))).closes


def test_request_with_connection_close_says_nothing_about_the_origin(single, origin):
    """C24: Connection is of the client's hop"""
    client = single.client()
    client.send(request("GET", origin.url("/first"), "Connection: close"))
    conn = origin.accept()
    serve(conn)
    client.recv_response()
    other = single.client()
    other.send(request("GET", origin.url("/second")))
    serve(next_connection(origin, conn))
    assert other.recv_response().body == b"/second"


def test_keep_alive_hint_caps_the_idle_time(single, origin):
    """DESIGN 6"""
    client = single.client()
    conn = first_exchange(client, origin, response(200, "Keep-Alive: timeout=2", body=b"x"))
    time.sleep(1.4)
    client.send(request("GET", origin.url("/second")))
    fresh = next_connection(origin, conn)
    assert fresh is not conn
    assert conn.ended() != OPEN


def test_pool_goes_with_the_drain(start, origin):
    """S002-13"""
    proxy = start({"workers": 1})
    conn = first_exchange(proxy.client(), origin)
    proxy.signal()
    conn.wait_ended()
    assert proxy.wait_exit() == 0


@pytest.mark.workers
def test_pools_of_several_workers(start):
    """C33 C49 S002-14; FAILURES 25: two workers, clients and origins that come and go: every answer is the client's own, connections are
    kept, and no request arrives twice"""
    proxy = start({"workers": 2})
    origins = [HttpOrigin(lambda req, i=i: response(200, *(["Connection: close"] if req.target.endswith("9") else []),
                                                    body=f"{i} {req.target}".encode())) for i in range(3)]
    errors = []

    def ask(name):
        try:
            for first in range(0, 60, 6):
                with proxy.client() as client:
                    for i in range(first, first + 6):
                        answer = client.ask(request("GET", origins[i % 3].url(f"/{name}/{i}")))
                        assert answer.body == f"{i % 3} /{name}/{i}".encode(), answer
        except (AssertionError, OSError) as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    paths = [path for origin in origins for path in origin.paths()]
    assert sorted(paths) == sorted(f"/{name}/{i}" for name in range(8) for i in range(60))
    assert sum(len(origin.conns) for origin in origins) < len(paths) / 2


# --- connections that die in the pool --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_dead_idle_connection_is_not_used(single, origin, how):
    """C53a C33"""
    client = single.client()
    conn = first_exchange(client, origin)
    getattr(conn, how)()
    time.sleep(0.05)
    client.send(request("POST", origin.url("/second"), body=b"once"))
    fresh = origin.accept()
    assert serve(fresh).body == b"once"
    assert client.recv_response().body == b"/second"


def test_408_on_an_idle_connection_answers_nobody(single, origin):
    """C49; FAILURES 25: servers send it when they give up waiting"""
    client = single.client()
    conn = first_exchange(client, origin)
    conn.send(response(408, "Connection: close", body=b""))
    conn.close()
    time.sleep(0.05)
    client.send(request("GET", origin.url("/second")))
    serve(origin.accept())
    assert client.recv_response().body == b"/second"


def stale(single, origin, method, *fields, body=None, partial=b"", how="close"):
    """A request on a pooled connection that the origin ends on arrival, after `partial`. Returns the client."""
    client = single.client()
    conn = first_exchange(client, origin)
    client.send(request(method, origin.url("/second"), *fields, body=body))
    taken = next_connection(origin, conn)
    assert taken is conn, "the pooled connection was not used"
    conn.recv_request()
    if partial:
        conn.send(partial)
        time.sleep(0.02)
    getattr(conn, how)()
    return client


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method, body", [("GET", None), ("HEAD", None), ("OPTIONS", None), ("DELETE", None), ("PUT", b"x" * 10000), ("GET", b"q")])
def test_idempotent_requests_are_sent_again(single, origin, method, body, how):
    """C33 DESIGN 6: whole, and only once more"""
    client = stale(single, origin, method, body=body, how=how)
    again = origin.accept()
    req = again.recv_request()
    assert (req.method, req.target, req.body) == (method, "/second", body or b"")
    again.send(response(200, "X-Again: yes"))
    assert client.recv_response(method).value("x-again") == "yes"
    origin.expect_no_connection(0.05)


def test_a_chunked_request_is_sent_again_whole(single, origin):
    """C33"""
    client = stale(single, origin, "PUT", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    again = origin.accept()
    assert again.recv_request().body == b"abcde"
    again.send(response(200))
    assert client.recv_response().status == 200


@pytest.mark.parametrize("method", ["POST", "PATCH", "FOO", "get"])
def test_other_requests_never_arrive_twice(single, method):
    """C33: one arrival, and 502 if it had no answer"""
    seen = []

    def reply(req):
        if req.target == "/first":
            return response(200)
        seen.append(req)
        return None

    web = HttpOrigin(reply)
    client = single.client()
    client.ask(request("GET", web.url("/first")))
    answer = client.ask(request(method, web.url("/second"), body=b"once"))
    time.sleep(0.1)
    assert answer.status == 502 and len(seen) == 1


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("partial", [b"H", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_nothing_is_sent_again_after_a_response_byte(single, origin, partial, how):
    """C33"""
    client = stale(single, origin, "GET", partial=partial, how=how)
    assert client.recv_response().status == 502
    origin.expect_no_connection(0.1)


def test_half_an_answer_is_not_asked_for_again(single, origin):
    """C33 C48"""
    client = stale(single, origin, "GET", partial=b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    assert client.recv_response_head().status == 200
    assert client.recv_all() == b"abc"
    origin.expect_no_connection(0.1)


def test_a_fresh_connection_that_fails_is_no_reason_to_repeat(client, web):
    """C33: only a stale pooled connection excuses a second try"""
    web.reply = lambda req: None
    assert client.ask(request("GET", web.url("/"))).status == 502
    time.sleep(0.1)
    assert len(web.requests) == 1


def test_a_second_failure_is_final(single):
    """C33: sent again once, not for ever"""
    seen = []

    def reply(req):
        seen.append(req.target)
        return response(200) if req.target == "/first" else None

    web = HttpOrigin(reply)
    client = single.client()
    client.ask(request("GET", web.url("/first")))
    assert client.ask(request("GET", web.url("/second"))).status == 502
    time.sleep(0.1)
    assert seen.count("/second") <= 2


def test_what_cannot_be_repeated_avoids_connections_idle_for_long(single, origin):
    """DESIGN 6: a POST dials when the pooled connection has been idle for more than a second"""
    client = single.client()
    conn = first_exchange(client, origin)
    time.sleep(1.3)
    client.send(request("POST", origin.url("/second"), body=b"once"))
    fresh = next_connection(origin, conn)
    assert fresh is not conn
    assert serve(fresh).body == b"once"
    assert client.recv_response().body == b"/second"


def test_a_get_still_takes_it(single, origin):
    """DESIGN 6"""
    client = single.client()
    conn = first_exchange(client, origin)
    time.sleep(1.3)
    client.send(request("GET", origin.url("/second")))
    assert next_connection(origin, conn) is conn


def test_upload_beyond_the_replay_buffer_is_not_repeated(single, origin):
    """DESIGN 6: 64 KB are kept; a PUT that has sent more ends in 502, or was never at risk"""
    client = single.client()
    conn = first_exchange(client, origin)
    body = b"x" * 300000
    sender = client.send_in_background(request("PUT", origin.url("/second"), body=body))
    taken = next_connection(origin, conn)
    taken.recv_exactly(200000)
    taken.reset()
    assert client.recv_response().status == 502
    origin.expect_no_connection(0.1)
    client.hang_up()
    sender.join(5)


def test_sequential_load_on_an_origin_that_closes_often(single):
    """U43 U8 in small: an origin that closes after every third answer causes no error"""
    count = [0]

    def reply(req):
        count[0] += 1
        if count[0] % 3 == 0:
            req.conn.send(HttpOrigin.echo_target(req))
            return None
        return HttpOrigin.echo_target(req)

    web = HttpOrigin(reply)
    client = single.client()
    for i in range(100):
        answer = client.ask(request("GET", web.url(f"/{i}")))
        assert (answer.status, answer.body) == (200, f"GET /{i}".encode())
