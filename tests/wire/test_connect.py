# SPDX-License-Identifier: MIT
"""CONNECT: how a tunnel opens, how it is refused, and what passes through it. How it ends is in test_ends.py."""

import hashlib
import threading
import time

import pytest

from harness import RST, BlackHole, HttpOrigin, Origin, eventually, free_port, parse_proxy_status, request, scaled

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
ESTABLISHED_1_0 = b"HTTP/1.0 200 Connection established\r\n\r\n"


def tunnel(proxy, origin):
    """An open tunnel: (client, the origin's connection)."""
    client = proxy.client().connect(origin.authority)
    return client, origin.accept()


def echoes(client, conn, data=b"ping"):
    client.send(data)
    assert conn.recv_exactly(len(data)) == data
    conn.send(data[::-1])
    assert client.recv_exactly(len(data)) == data[::-1]


# --- opening -------------------------------------------------------------------------------------------------------


def test_tunnel(proxy, origin):
    """S000-1 S001-1 S002-1 S003-4 S004-1 C16"""
    client, conn = tunnel(proxy, origin)
    echoes(client, conn)
    echoes(client, conn, bytes(range(256)))


def test_the_typed_request_of_the_demo(proxy, origin):
    """S000-5: typed in netcat, so LF line ends and no Host"""
    client = proxy.client()
    client.send(f"CONNECT {origin.authority} HTTP/1.1\n".encode())
    client.expect_silence(0.05)
    client.send(b"\n")
    conn = origin.accept()
    assert client.recv_exactly(len(ESTABLISHED)) == ESTABLISHED
    for line in (b"hello\n", b"from here\n"):
        client.send(line)
        assert conn.recv_exactly(len(line)) == line
        conn.send(line)
        assert client.recv_exactly(len(line)) == line


@pytest.mark.parametrize("head, answer", [
    ("CONNECT @ HTTP/1.1\r\nHost: @\r\n\r\n", ESTABLISHED),
    ("CONNECT @ HTTP/1.1\r\n\r\n", ESTABLISHED),
    ("CONNECT @ HTTP/1.1\nHost: @\nUser-Agent: x\n\n", ESTABLISHED),
    ("CONNECT @ HTTP/1.1\r\nHost: @\r\nProxy-Connection: Keep-Alive\r\nUser-Agent: curl/7.88.1\r\n\r\n", ESTABLISHED),
    ("CONNECT @ HTTP/1.0\r\n\r\n", ESTABLISHED_1_0),
    ("CONNECT @ HTTP/1.0\r\nUser-Agent: Mozilla/4.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n"
     "Pragma: no-cache\r\n\r\n", ESTABLISHED_1_0),
    ("\r\nCONNECT @ HTTP/1.1\r\nHost: @\r\n\r\n", ESTABLISHED),
    ("CONNECT @ HTTP/1.1\r\nHost: elsewhere.example:1\r\n\r\n", ESTABLISHED),
    ("CONNECT @ HTTP/1.1\r\nHost: @\r\nX-Bytes: \xff\x80\r\n\r\n", ESTABLISHED),
], ids=["plain", "no Host", "LF", "curl", "1.0", "Fiddler", "empty line first", "other Host", "not UTF-8"])
@pytest.mark.parametrize("send", ["send", "send_bytewise"])
def test_accepted_heads(proxy, origin, head, answer, send):
    """C17 S000-3 S000-5 S000-6 S000-15 S002-2 S002-27 S003-1 S003-2 S003-11: the answer is exactly this, then the tunnel"""
    client = proxy.client()
    getattr(client, send)(head.replace("@", origin.authority).encode("latin-1"))
    conn = origin.accept()
    assert client.recv_exactly(len(answer)) == answer
    client.expect_silence(0.03)
    conn.send(b"\x16\x03")
    assert client.recv_exactly(2) == b"\x16\x03"
    client.send(b"\x16\x01")
    assert conn.recv_exactly(2) == b"\x16\x01"


def test_ipv6_literal(proxy, ipv6):
    """S002-4 U6"""
    origin = Origin(host="::1")
    echoes(*tunnel(proxy, origin))


def test_localhost(proxy, origin):
    """DESIGN 6: localhost is ::1 and 127.0.0.1, whichever answers"""
    client = proxy.client().connect(f"localhost:{origin.port}")
    echoes(client, origin.accept())


def test_ipv6_listener(start, origin, ipv6):
    """S002-15"""
    proxy = start({"listen": "[::1]:0"})
    assert proxy.host == "::1"
    echoes(*tunnel(proxy, origin))


def test_early_data(proxy, origin):
    """S000-7: bytes in the same segment belong to the tunnel"""
    client = proxy.client()
    client.send(f"CONNECT {origin.authority} HTTP/1.1\r\nHost: x\r\n\r\nearly bytes".encode())
    conn = origin.accept()
    assert conn.recv_exactly(11) == b"early bytes"
    assert client.recv_exactly(len(ESTABLISHED)) == ESTABLISHED
    client.send(b" and more")
    assert conn.recv_exactly(9) == b" and more"


@pytest.mark.workers
def test_much_early_data(proxy, origin):
    """S000-7 with more than any head buffer holds"""
    data = hashlib.sha256(b"early").digest() * 8192
    client = proxy.client()
    client.send_in_background(f"CONNECT {origin.authority} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + data)
    assert origin.accept().recv_exactly(len(data)) == data


def test_early_data_and_fin(proxy, origin):
    """S000-7 C18: everything in one go, then the end"""
    client = proxy.client()
    client.send(f"CONNECT {origin.authority} HTTP/1.1\r\nHost: x\r\n\r\nall of it".encode())
    client.shut_write()
    conn = origin.accept()
    conn.expect_end("FIN", b"all of it")
    conn.send(b"answer")
    conn.close()
    client.expect_end("FIN", ESTABLISHED + b"answer")


def test_server_speaks_first(proxy, origin):
    """S000-5: any protocol"""
    client = proxy.client()
    client.send(f"CONNECT {origin.authority} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    origin.accept().send(b"SSH-2.0-x\r\n")
    assert client.recv_exactly(len(ESTABLISHED) + 11) == ESTABLISHED + b"SSH-2.0-x\r\n"


def test_tunnel_content_is_not_looked_at(proxy, origin):
    """S000-5 S001-1 S003-4: HTTP inside stays what it is"""
    client, conn = tunnel(proxy, origin)
    inner = b"GET http://127.0.0.1:1/ HTTP/1.1\nHost : \0\r\n\r\nCONNECT x HTTP/9"
    client.send(inner)
    assert conn.recv_exactly(len(inner)) == inner
    conn.send(b"HTTP/1.1 999\n\n")
    assert client.recv_exactly(14) == b"HTTP/1.1 999\n\n"


def test_connect_after_plain_requests(client, web, origin):
    """S000-2 S004-1: decided by the method, for each request"""
    assert client.ask(request("GET", web.url("/"))).status == 200
    echoes(client.connect(origin.authority), origin.accept())


def test_connect_behind_a_pipelined_request(client, web, origin):
    """C50: in order"""
    client.send(request("GET", web.url("/1")) + request("CONNECT", origin.authority) + b"early")
    assert client.recv_response().body == b"GET /1"
    assert client.recv_exactly(len(ESTABLISHED)) == ESTABLISHED
    assert origin.accept().recv_exactly(5) == b"early"


@pytest.mark.workers
def test_many_tunnels(proxy, origin):
    """S002-4: not one connection, many"""
    tunnels = [tunnel(proxy, origin) for _ in range(60)]
    for i, (client, conn) in enumerate(tunnels):
        echoes(client, conn, b"%05d" % i)


def test_zero_configuration(start, origin, web):
    """U5: a correct loopback CONNECT and HTTP proxy without a file"""
    proxy = start(False, args=["--listen", "127.0.0.1:0"])
    echoes(*tunnel(proxy, origin))
    assert proxy.client().ask(request("GET", web.url("/"))).status == 200


# --- refusals ------------------------------------------------------------------------------------------------------


def refused_connect(client, status, error):
    """A refused CONNECT is answered with a body and closed (U64 C21)."""
    answer = client.recv_response("CONNECT", within=8)
    assert answer.status == status, answer
    assert parse_proxy_status(answer.values("proxy-status"))[-1][1]["error"] == error
    assert answer.body and answer.value("content-length") == str(len(answer.body))
    assert answer.closes and answer.value("via")
    assert client.expect_end() == "FIN"
    return answer


def test_refused_target(client):
    """S000-8 S001-11 S003-5: connected before the 200; a failure is a status"""
    client.send(request("CONNECT", f"127.0.0.1:{free_port()}"))
    refused_connect(client, 502, "connection_refused")


def test_nothing_behind_a_refused_connect_is_processed(client, web):
    """C21 U64: RFC 9931"""
    client.send(request("CONNECT", f"127.0.0.1:{free_port()}") + request("GET", web.url("/smuggled")))
    refused_connect(client, 502, "connection_refused")
    assert not web.requests


def test_nothing_that_comes_later_is_processed_either(client, web):
    """C21"""
    client.send(request("CONNECT", f"127.0.0.1:{free_port()}"))
    assert client.recv_response("CONNECT").status == 502
    try:
        client.send(request("GET", web.url("/smuggled")))
    except OSError:
        pass
    time.sleep(0.1)
    assert not web.requests


def test_refusal_with_a_lot_behind_is_readable(client):
    """C52 U64: the answer is not lost to an RST"""
    sender = client.send_in_background(request("CONNECT", f"127.0.0.1:{free_port()}") + b"x" * (4 << 20))
    answer = client.recv_response("CONNECT")
    assert answer.status == 502 and answer.body
    client.hang_up()
    sender.join(5)


def test_refused_connect_of_http_1_0(client):
    """C21 S003-2"""
    client.send(request("CONNECT", f"127.0.0.1:{free_port()}", version="1.0"))
    assert client.recv_response("CONNECT").status == 502
    client.expect_end()


@pytest.mark.parametrize("target", [
    "h.test", "h.test:", "h.test:0", "h.test:65536", "h.test:+1", "h.test:-1", "h.test:1x", "h.test: 1", "h.test:0x50", "h.test:4294967376",
    "h.test:18446744073709551696", "http://h.test:1", "http://h.test:1/", "https://h.test", "/", "/h.test:1", "h.test:1/", "h.test:1/x", "h.test:1?x",
    "h.test:1#x", "u@h.test:1", "u:p@h.test:1", "*", ":1", ":", "[::1]", "[::1]:", "[::1:1", "::1:1", "[]:1", "[fe80::1%25lo]:1", "h.test:1:1", "h..test:1",
    "h%00.test:1", "h%0d%0a.test:1", "h.test%3a1", "h,test:1", "256.1.1.1:1", "1.2.3.4.5:1", "h.test;1", "[h.test]:1", "127.0.0.1:\t1",
])
def test_malformed_targets(proxy, target, origin):
    """C16 S002-4; FAILURES 6 15: ports are never read with atoi"""
    for send in ("send", "send_bytewise"):
        client = proxy.client()
        getattr(client, send)(request("CONNECT", target, host="h.test:1") + b"behind")
        refused_connect(client, 400, "http_request_error")


@pytest.mark.parametrize("fields", [("Content-Length: 5",), ("Transfer-Encoding: chunked",), ("Content-Length: 0", "Content-Length: 5")])
def test_connect_with_a_body(proxy, origin, fields):
    """DESIGN 2; C54"""
    client = proxy.client()
    client.send(request("CONNECT", origin.authority, *fields) + b"0\r\n\r\n")
    refused_connect(client, 400, "http_request_error")
    origin.expect_no_connection(0.03)


@pytest.mark.parametrize("head", [
    "CONNECT @ HTTP/1.1\r\nHost : @\r\n\r\n", "CONNECT @ HTTP/1.1\r\nX: a\r\n b\r\n\r\n", "CONNECT @ HTTP/1.1\r\nX: \0\r\n\r\n",
    "CONNECT @ HTTP/1.1\r\nX: a\rb\r\n\r\n", "CONNECT @ HTTP/1.1\r\n: x\r\n\r\n", "CONNECT @ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "CONNECT  @ HTTP/1.1\r\n\r\n", "CONNECT @\r\n\r\n", "CONNECT @ HTTP/1.1\r\rHost: x\r\n\r\n", "connect @ HTTP/1.1\r\nHost: @\r\n\r\n",
    "CONNECT @ HTTP/1.1\nX: a\n b\n\n",
])
def test_tolerance_ends_at_lf_and_host(proxy, origin, head):
    """S000-5 C54 S003-12: nothing else is forgiven"""
    client = proxy.client()
    client.send(head.replace("@", origin.authority).encode("latin-1"))
    refused_connect(client, 400, "http_request_error")
    origin.expect_no_connection(0.03)


def test_connect_of_another_version(proxy, origin):
    """C37"""
    client = proxy.client()
    client.send(request("CONNECT", origin.authority, version="2.0"))
    refused_connect(client, 505, "http_request_error")


def test_connect_is_a_method_not_a_path(client, web):
    """S003-12 S004-1"""
    assert client.ask(request("GET", web.url("/CONNECT"))).body == b"GET /CONNECT"


# --- bytes ---------------------------------------------------------------------------------------------------------


@pytest.mark.workers
def test_both_directions_at_once(proxy, origin):
    """S000-4 S002-3 C18: 16 MiB each way at the same time, ends included, nothing lost or changed"""
    client, conn = tunnel(proxy, origin)
    up = hashlib.sha256(b"up").digest() * (1 << 19)
    down = hashlib.sha256(b"down").digest() * (1 << 19)
    senders = [client.send_in_background(up), conn.send_in_background(down)]
    received = {}

    def finish(sender, peer):
        sender.join(20)
        assert sender.error is None
        peer.shut_write()

    reader = threading.Thread(target=lambda: received.update(up=conn.digest_all(within=20)))
    ender = threading.Thread(target=lambda: [finish(senders[0], client), finish(senders[1], conn)])
    reader.start(), ender.start()
    received["down"] = client.digest_all(within=20)
    reader.join(20), ender.join(20)
    assert received["up"] == (len(up), hashlib.sha256(up).hexdigest())
    assert received["down"] == (len(down), hashlib.sha256(down).hexdigest())
    assert client.end == conn.end == "FIN"


def test_one_blocked_direction_does_not_block_the_other(proxy, origin):
    """S000-4"""
    client, conn = tunnel(proxy, origin)
    client.send_until_blocked(b"x" * 65536, 1 << 28)
    for _ in range(20):
        conn.send(b"still here")
        assert client.recv_exactly(10) == b"still here"


def test_tunnel_memory_is_bounded(start):
    """S001-1 DESIGN 8.4; FAILURES 22"""
    proxy = start()
    before = proxy.rss()
    client, _ = tunnel(proxy, Origin(rcvbuf=16384))
    assert client.send_until_blocked(b"x" * 65536, 1 << 28) < 48 << 20
    if not proxy.instrumented():
        assert proxy.rss() - before < 3 << 20


@pytest.mark.parametrize("size", [1, 2, 100, 4095, 4096, 16383, 16384, 16385, 65536, 262144, 262145, 1000003])
def test_sizes_around_the_buffers(proxy, origin, size):
    """C18 DESIGN 5: where the relay changes between copy and splice"""
    client, conn = tunnel(proxy, origin)
    data = (hashlib.sha256(b"%d" % size).digest() * (size // 32 + 1))[:size]
    for _ in range(3):
        sender = client.send_in_background(data)
        assert conn.recv_exactly(size) == data
        sender.join()
        sender = conn.send_in_background(data)
        assert client.recv_exactly(size) == data
        sender.join()


def test_bulk_then_small_then_bulk(proxy, origin):
    """DESIGN 5: small messages after bulk are not held back"""
    client, conn = tunnel(proxy, origin)
    bulk = bytes(range(256)) * 8192
    for _ in range(3):
        sender = client.send_in_background(bulk)
        assert conn.recv_exactly(len(bulk)) == bulk
        sender.join()
        for _ in range(10):
            began = time.monotonic()
            echoes(client, conn, b"s")
            assert time.monotonic() - began < scaled(1)


def test_byte_by_byte_both_ways(proxy, origin):
    """S000-6"""
    client, conn = tunnel(proxy, origin)
    sender = client.send_in_background(b"abcdefghij" * 20, bytewise=True)
    back = conn.send_in_background(b"0123456789" * 20, bytewise=True)
    assert conn.recv_exactly(200) == b"abcdefghij" * 20
    assert client.recv_exactly(200) == b"0123456789" * 20
    sender.join(), back.join()


# --- deadlines -----------------------------------------------------------------------------------------------------


def test_silent_tunnel_is_cut(start, origin):
    """CONFIG tunnel; DESIGN 2: our own cut is an RST on both sides"""
    proxy = start({"timeouts": {"tunnel": "400ms"}})
    client, conn = tunnel(proxy, origin)
    echoes(client, conn)
    began = time.monotonic()
    client.expect_end(RST)
    conn.expect_end(RST)
    assert 0.3 < time.monotonic() - began < scaled(2)
    assert proxy.wait_access()[0]["ginnel.end"] == "tunnel-timeout"


def test_one_moving_direction_keeps_a_tunnel(start, origin):
    """CONFIG tunnel: no bytes either way"""
    client, conn = tunnel(start({"timeouts": {"tunnel": "600ms"}}), origin)
    for _ in range(8):
        time.sleep(0.15)
        conn.send(b"x")
        client.recv_exactly(1)
    echoes(client, conn)


def test_idle_and_keepalive_do_not_concern_tunnels(start, origin):
    """CONFIG: idle is of a message, keepalive of a connection without one"""
    client, conn = tunnel(start({"timeouts": {"idle": "200ms", "keepalive": "200ms", "head": "200ms", "response": "200ms"}}), origin)
    time.sleep(0.6)
    echoes(client, conn)


def test_client_that_leaves_while_connecting(start):
    """U8 S000-8"""
    proxy = start({"timeouts": {"connect": "30s"}})
    base = proxy.fds()
    client = proxy.client()
    client.send(request("CONNECT", BlackHole().authority))
    time.sleep(0.1)
    client.reset()
    eventually(lambda: proxy.fds() <= base, within=2, what="the attempt to end with its client")


def test_tunnel_to_a_plain_origin(proxy):
    """S001-1: an inner request as through any TCP connection"""
    web = HttpOrigin()
    client = proxy.client().connect(web.authority)
    answer = client.ask(request("GET", "/inner", host=web.authority))
    assert answer.body == b"GET /inner" and not answer.has("via")
