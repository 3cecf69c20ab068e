# SPDX-License-Identifier: MIT
"""Interim responses, Expect, and the one that ends HTTP: 101."""

import pytest

from harness import FIN, HttpOrigin, chunked, request, response

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-A: 1\r\n\r\n"


def start_exchange(client, origin, *fields, method="GET", version="1.1", body=None):
    """Sends a request and accepts it at the origin."""
    client.send(request(method, origin.url("/"), *fields, version=version, body=body))
    conn = origin.accept()
    return conn, conn.recv_request_head()


# --- 1xx -----------------------------------------------------------------------------------------------------------


def test_early_hints_come_before_the_answer(client, origin):
    """C30"""
    conn, _ = start_exchange(client, origin)
    conn.send(HINTS)
    hints = client.recv_response_head()
    assert (hints.status, hints.value("link"), hints.value("x-a")) == (103, "</a.css>; rel=preload", "1")
    client.expect_silence(0.05)
    conn.send(response(200, body=b"x"))
    assert client.recv_response().body == b"x"


def test_interim_and_final_in_one_segment(client, origin):
    """C30"""
    conn, _ = start_exchange(client, origin)
    conn.send(HINTS + b"HTTP/1.1 102 Processing\r\n\r\n" + response(200, body=b"x"))
    answer = client.recv_response()
    assert [interim.status for interim in answer.interim] == [103, 102]
    assert answer.body == b"x"


def test_no_interim_to_http_1_0(proxy, origin):
    """C30"""
    client = proxy.client()
    conn, _ = start_exchange(client, origin, version="1.0")
    conn.send(CONTINUE + HINTS + response(200, body=b"x"))
    answer = client.recv_response()
    assert answer.interim == [] and answer.body == b"x"


def test_100_that_nobody_asked_for_is_dropped(client, origin):
    """C30; DESIGN 6: 100 only if asked for"""
    conn, _ = start_exchange(client, origin)
    conn.send(CONTINUE + response(200, body=b"x"))
    assert client.recv_response().interim == []


def test_sixteen_interim_responses_pass(client, origin):
    """DESIGN 6"""
    conn, _ = start_exchange(client, origin)
    conn.send(HINTS * 16 + response(200, body=b"x"))
    answer = client.recv_response()
    assert len(answer.interim) == 16 and answer.body == b"x"


@pytest.mark.parametrize("interim", [HINTS * 17, CONTINUE * 40, (HINTS[:-2] + b"X-Big: " + b"v" * 12000 + b"\r\n\r\n") * 8],
                         ids=["seventeen", "unasked", "over 64 KB"])
def test_endless_interim_responses_are_cut(client, origin, interim):
    """DESIGN 6; FAILURES 22"""
    conn, _ = start_exchange(client, origin)
    conn.send(interim + response(200, body=b"x"))
    assert client.recv_response().status == 502
    conn.wait_ended()


# --- Expect --------------------------------------------------------------------------------------------------------


def test_expect_is_forwarded_and_100_comes_back(client, origin):
    """C31 C30; DESIGN 6: no body until the client sends one"""
    conn, head = start_exchange(client, origin, "Expect: 100-continue", "Content-Length: 5", method="POST")
    assert head.value("expect").lower() == "100-continue"
    client.expect_silence(0.05)
    conn.expect_silence(0.05)
    conn.send(CONTINUE)
    assert client.recv_response_head().status == 100
    client.send(b"hello")
    assert conn.recv_exactly(5) == b"hello"
    conn.send(response(200, body=b"done"))
    assert client.recv_response().body == b"done"


def test_final_answer_instead_of_100(client, origin):
    """C31: the body is not waited for, 417 is not invented"""
    conn, _ = start_exchange(client, origin, "Expect: 100-continue", "Content-Length: 500000", method="POST")
    conn.send(response(401, "WWW-Authenticate: Basic realm=x", body=b"who?"))
    answer = client.recv_response()
    assert (answer.status, answer.body) == (401, b"who?")


def test_client_that_does_not_wait_for_100(client, origin):
    """C31"""
    conn, head = start_exchange(client, origin, "Expect: 100-continue", method="PUT", body=b"hello")
    conn.recv_content(head, "length")
    conn.send(CONTINUE + response(200, body=b"x"))
    answer = client.recv_response()
    assert head.body == b"hello" and answer.body == b"x"


def test_expect_from_http_1_0_gets_no_100(proxy, origin):
    """C30 C31"""
    client = proxy.client()
    conn, _ = start_exchange(client, origin, "Expect: 100-continue", method="POST", version="1.0", body=b"hello")
    conn.send(CONTINUE + response(200, body=b"x"))
    answer = client.recv_response()
    assert answer.interim == [] and answer.status == 200


def test_the_next_request_after_a_refused_expectation_is_not_its_body(proxy, origin):
    """C31, smuggling class 0.CL: whatever the client sends next is either the body or not read at all"""
    client = proxy.client()
    trick = request("GET", origin.url("/smuggled"))
    conn, _ = start_exchange(client, origin, "Expect: 100-continue", f"Content-Length: {len(trick)}", method="POST")
    conn.send(response(417, body=b"no"))
    assert client.recv_response().status == 417
    try:
        client.send(trick + request("GET", origin.url("/next"), "Connection: close"))
        rest = client.recv_all()
    except OSError:
        rest = b""
    assert rest.count(b"HTTP/1.1 ") <= 1
    assert b"GET /smuggled" not in bytes(conn.received)


# --- 101 -----------------------------------------------------------------------------------------------------------

WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
SWITCH = (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
          b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")


def upgraded(client, origin, behind=b""):
    """An open websocket; `behind` follows the origin's 101 in the same segment."""
    conn, head = start_exchange(client, origin, *WEBSOCKET)
    assert head.elements("upgrade") == ["websocket"] and "upgrade" in head.elements("connection")
    assert head.value("sec-websocket-key") == "dGhlIHNhbXBsZSBub25jZQ=="
    conn.send(SWITCH + behind)
    answer = client.recv_response_head()
    assert answer.status == 101
    assert answer.elements("upgrade") == ["websocket"] and answer.elements("connection") == ["upgrade"]
    assert answer.value("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    return conn


def test_upgrade_and_echo(client, origin):
    """C32 U25 S002-29: 101 ends HTTP both ways"""
    conn = upgraded(client, origin)
    for data in (b"\x81\x05hello", b"GET http://x/ HTTP/1.1\r\n\r\n", bytes(range(256)) * 100):
        client.send(data)
        assert conn.recv_exactly(len(data)) == data
        conn.send(data[::-1])
        assert client.recv_exactly(len(data)) == data[::-1]


def test_bytes_right_behind_the_101(client, origin):
    """U25"""
    upgraded(client, origin, behind=b"\x81\x02hi")
    assert client.recv_exactly(4) == b"\x81\x02hi"


def test_upgraded_connection_ends_like_a_tunnel(client, origin):
    """U25 S004-15"""
    conn = upgraded(client, origin)
    client.send(b"last")
    client.shut_write()
    assert conn.recv_all() == b"last" and conn.end == FIN
    conn.send(b"answer")
    conn.close()
    client.expect_end(FIN, b"answer")


def test_upgrade_declined(client, origin):
    """C32"""
    conn, _ = start_exchange(client, origin, *WEBSOCKET)
    conn.send(response(200, body=b"no thanks"))
    assert client.recv_response().body == b"no thanks"
    client.send(request("GET", origin.url("/next")))
    assert (conn if conn.ended() == "open" else origin.accept()).recv_request().target == "/next"


@pytest.mark.parametrize("fields", [
    ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
    ("Upgrade: websocket",),
    ("Connection: x", "Upgrade: websocket"),
], ids=["h2c", "not in Connection", "other Connection"])
def test_upgrade_is_stripped(client, web, fields):
    """C32"""
    assert client.ask(request("GET", web.url("/"), *fields)).status == 200
    req = web.requests[0]
    assert not req.has("upgrade") and not req.has("http2-settings")
    assert "upgrade" not in req.elements("connection")


def test_no_upgrade_from_http_1_0(proxy, web):
    """C32"""
    assert proxy.client().ask(request("GET", web.url("/"), *WEBSOCKET, version="1.0")).status == 200
    assert not web.requests[0].has("upgrade")


@pytest.mark.parametrize("fields, answer", [
    ((), SWITCH),
    (WEBSOCKET, SWITCH.replace(b"websocket", b"h2c")),
    (WEBSOCKET, SWITCH.replace(b"Upgrade: websocket\r\n", b"")),
    (("Connection: Upgrade", "Upgrade: h2c"), SWITCH.replace(b"websocket", b"h2c")),
], ids=["nothing offered", "another one", "none named", "h2c"])
def test_unoffered_101_is_refused(client, origin, fields, answer):
    """C32"""
    conn, _ = start_exchange(client, origin, *fields)
    conn.send(answer + b"raw bytes")
    assert client.recv_response().status == 502
    conn.wait_ended()


@pytest.mark.workers
def test_several_upgrades_on_one_proxy(proxy, origin):
    """U25"""
    pairs = []
    for _ in range(5):
        client = proxy.client()
        pairs.append((client, upgraded(client, origin)))
    for i, (client, conn) in enumerate(pairs):
        client.send(b"%d" % i)
        assert conn.recv_exactly(1) == b"%d" % i


def test_upgrade_with_a_chunked_body_first(client, origin):
    """C32: the request's body is still HTTP"""
    client.send(request("POST", origin.url("/"), *WEBSOCKET, "Transfer-Encoding: chunked", body=chunked(b"abc")))
    conn = origin.accept()
    assert conn.recv_request().body == b"abc"
    conn.send(SWITCH)
    assert client.recv_response_head().status == 101
    client.send(b"raw")
    assert conn.recv_exactly(3) == b"raw"


def test_normal_requests_follow_on_other_connections(proxy, origin):
    """U25: an upgraded connection never goes into the pool"""
    conn = upgraded(proxy.client(), origin)
    web = HttpOrigin()
    assert proxy.client().ask(request("GET", web.url("/"))).status == 200
    second = proxy.client()
    second.send(request("GET", origin.url("/2")))
    assert origin.accept().recv_request().target == "/2"
    conn.expect_silence(0.05)


def test_bytes_sent_ahead_of_a_101_belong_to_the_new_protocol(client, origin, web):
    """C32; RFC 9931: they are never taken for a request once the protocol has changed"""
    ahead = request("GET", web.url("/smuggled"))
    client.send(request("GET", origin.url("/"), *WEBSOCKET) + ahead)
    conn = origin.accept()
    conn.recv_request_head()
    conn.send(SWITCH)
    assert client.recv_response_head().status == 101
    assert conn.recv_exactly(len(ahead)) == ahead
    assert not web.requests


def test_bytes_sent_ahead_of_a_refused_upgrade_are_the_next_request(client, origin, web):
    """C32: without a 101 the connection is still HTTP"""
    client.send(request("GET", origin.url("/"), *WEBSOCKET) + request("GET", web.url("/next")))
    conn = origin.accept()
    conn.recv_request()
    conn.send(response(426, "Upgrade: other", body=b"no"))
    assert client.recv_response().status == 426
    assert client.recv_response().body == b"GET /next"


def test_reset_after_an_upgrade(client, origin):
    """U11 U25"""
    conn = upgraded(client, origin)
    conn.reset()
    client.expect_end("RST")


def test_upgrade_is_logged_as_what_it_was(proxy, origin):
    """U61 U25: 101 and its bytes"""
    client = proxy.client()
    conn = upgraded(client, origin)
    client.send(b"12345")
    assert conn.recv_exactly(5) == b"12345"
    conn.send(b"123")
    assert client.recv_exactly(3) == b"123"
    client.close()
    conn.close()
    record = proxy.wait_access(1, {"server.port": origin.port})[0]
    assert (record["http.response.status_code"], record["ginnel.bytes_up"], record["ginnel.bytes_down"]) == (101, 5, 3)
