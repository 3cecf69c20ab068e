# SPDX-License-Identifier: MIT
"""The harness against itself: a harness that sees nothing would pass every test."""

import hashlib
import socket
import time

import pytest

from harness import (FIN, NXDOMAIN, RST, BlackHole, Client, DnsServer, HttpOrigin, Malformed, Origin, Truncated, chunked,
                     parse_proxy_status, request, response)
from harness.ginnel import merge
from harness.message import parse_request_head, parse_response_head

pytestmark = pytest.mark.harness


def pair(origin):
    return Client(origin.host, origin.port), origin.accept()


# --- the strict parser ---------------------------------------------------------------------------------------------


def test_parses_a_plain_request():
    head = parse_request_head(b"GET /a?b HTTP/1.1\r\nHost: x\r\nX: 1\r\nx:2 \r\n\r\n")
    assert (head.method, head.target, head.version) == ("GET", "/a?b", "1.1")
    assert head.values("X") == ["1", "2"]
    assert head.framing == "none"


@pytest.mark.parametrize("raw", [
    b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: b\nc: d\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
])
def test_refuses_odd_requests(raw):
    with pytest.raises(Malformed):
        parse_request_head(raw)


@pytest.mark.parametrize("raw", [b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 200\r\n\r\n", b"http/1.1 200 OK\r\n\r\n",
                                 b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n"])
def test_refuses_odd_responses(raw):
    with pytest.raises(Malformed):
        parse_response_head(raw)


def test_proxy_status():
    members = parse_proxy_status(['a; error=dns_error; rcode="NX \\"q\\""', "b;received-status=502;x"])
    assert members == [("a", {"error": "dns_error", "rcode": 'NX "q"'}), ("b", {"received-status": 502, "x": True})]
    for bad in ("a;", "a,", "a; error=made_up", "a b", 'a; details="x', "1a", "a; Error=dns_error"):
        with pytest.raises(AssertionError):
            parse_proxy_status(bad)


def test_merge_of_configurations():
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 9, "c": None}}) == {"a": {"b": 9}, "d": 3}


# --- client and origin ---------------------------------------------------------------------------------------------


def test_messages_travel(origin):
    client, conn = pair(origin)
    client.send(request("POST", f"http://{origin.authority}/x", body=b"hello"))
    req = conn.recv_request()
    assert (req.value("host"), req.body) == (origin.authority, b"hello")
    conn.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + response(200, body=b"bye"))
    res = client.recv_response()
    assert (res.status, res.body, [r.status for r in res.interim]) == (200, b"bye", [103])


def test_chunked_with_trailers(origin):
    client, conn = pair(origin)
    conn.send(response(200, "Transfer-Encoding: chunked", body=chunked(b"ab", b"c", trailers=["X: 1"])))
    res = client.recv_response()
    assert (res.body, res.trailers) == (b"abc", [("X", "1")])


@pytest.mark.parametrize("size", [b"0x1", b"+1", b"1 ", b"1;a=b", b"", b"g"])
def test_chunk_tricks_are_refused(origin, size):
    client, conn = pair(origin)
    conn.send(response(200, "Transfer-Encoding: chunked", body=size + b"\r\na\r\n0\r\n\r\n"))
    with pytest.raises(Malformed):
        client.recv_response()


def test_truncation_is_seen(origin):
    client, conn = pair(origin)
    conn.send(response(200, "Content-Length: 10", body=b"abc"))
    conn.close()
    with pytest.raises(Truncated) as cut:
        client.recv_response()
    assert (cut.value.part, cut.value.end) == (b"abc", FIN)


def test_a_missing_last_chunk_is_seen(origin):
    client, conn = pair(origin)
    conn.send(response(200, "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n"))
    conn.close()
    with pytest.raises(Truncated):
        client.recv_response()


def test_fin_and_rst_are_told_apart(origin):
    client, conn = pair(origin)
    conn.close()
    assert client.expect_end() == FIN
    client, conn = pair(origin)
    conn.send(b"abc")
    conn.reset()
    assert client.expect_end(rest=b"abc") == RST


def test_half_close(origin):
    client, conn = pair(origin)
    client.send(b"up")
    client.shut_write()
    assert conn.recv_all() == b"up" and conn.end == FIN
    conn.send(b"down")
    conn.close()
    assert client.expect_end(rest=b"down") == FIN


def test_close_delimited_and_reset_is_truncated(origin):
    client, conn = pair(origin)
    conn.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
    time.sleep(0.02)
    conn.reset()
    with pytest.raises(Truncated):
        client.recv_response()


def test_bytewise_arrives_in_many_segments(origin):
    client, conn = pair(origin)
    sender = client.send_in_background(b"x" * 50, bytewise=True)
    assert len(conn.recv_some()) < 50
    sender.join()
    assert sender.error is None


def test_digest(origin):
    client, conn = pair(origin)
    data = bytes(range(256)) * 1000
    conn.send(data)
    conn.close()
    assert client.digest_all() == (len(data), hashlib.sha256(data).hexdigest())


def test_a_blocked_sender_is_noticed(origin):
    client, _ = pair(origin)
    assert 0 < client.send_until_blocked(b"x" * 65536, 1 << 30) < 1 << 26


def test_silence(origin):
    client, conn = pair(origin)
    client.expect_silence(0.02)
    conn.send(b"x")
    with pytest.raises(AssertionError):
        client.expect_silence(1)


def test_http_origin_records_requests():
    web = HttpOrigin()
    client = Client(web.host, web.port)
    assert client.ask(request("GET", web.url("/a"))).body.startswith(b"GET http://")
    client.send(request("POST", web.url("/b"), "Content-Length: 5", body=b"abc"))
    client.close()
    for _ in range(500):
        if web.cut:
            break
        time.sleep(0.005)
    assert len(web.requests) == 1 and web.cut[0].part == b"abc"


def test_complaints_of_handlers_are_raised():
    def handler(conn):
        assert conn.recv_exactly(1) == b"a"
    origin = Origin(handler)
    client = Client(origin.host, origin.port)
    client.send(b"b")
    client.expect_end()
    time.sleep(0.05)
    with pytest.raises(AssertionError):
        origin.close()


# --- the others ----------------------------------------------------------------------------------------------------


def ask_dns(dns, name, kind):
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0" + bytes([0, kind, 0, 1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.sendto(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + question, (dns.host, dns.port))
        return sock.recv(512)


def test_dns_server():
    dns = DnsServer()
    dns.answer("a.test", a=["127.0.0.9"], ttl=7)
    answer = ask_dns(dns, "a.test", 1)
    assert answer[:2] == b"\x12\x34" and answer[3] & 15 == 0
    assert answer.endswith(b"\0\0\0\x07\0\x04\x7f\0\0\x09")
    assert ask_dns(dns, "b.test", 28)[3] & 15 == NXDOMAIN
    assert dns.queries == [("a.test", "A"), ("b.test", "AAAA")]


def test_black_hole_does_not_answer():
    hole = BlackHole()
    with socket.socket() as sock:
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.connect((hole.host, hole.port))
