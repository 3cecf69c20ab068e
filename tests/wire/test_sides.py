# SPDX-License-Identifier: MIT
"""What a proxy does, over each of the four ways to speak to it: plain requests and refusals. Tunnels and how things end are in test_pairs.py."""

import hashlib
import re

import pytest

from harness import (FIN, RST, Client, HttpOrigin, Origin, TlsClient, Truncated, chunked, eventually, free_port, parse_proxy_status, request,
                     response, scaled)
from harness.h2raw import PREFACE, RawH2, get, headers, settings
from harness.hello import client_hello
from harness.sides import SIDES, Side, listen

BULK = hashlib.sha256(b"bulk").digest() * (1 << 19)  # 16 MiB


def answer_to(side, origin, raw, method="GET", fields=()):
    """(the answer that the client got to what the origin sent, the request that the origin got); the origin closes."""
    exchange = side.begin(method, origin.url("/x"), fields, content=False)
    conn = origin.accept()
    got = conn.recv_request()
    conn.send(raw)
    conn.shut_write()
    return exchange.recv_response(), got


# --- requests and answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method, body", [("GET", None), ("HEAD", None), ("POST", b"hello"), ("PUT", b""), ("DELETE", None), ("PROPFIND", b"<x/>")])
def test_methods(side, web, method, body):
    """S001-5 S001-14: the same on each side"""
    answer = side.ask(method, web.url("/a?b=%20c"), [("X-A", "1")], body)
    assert (answer.status, answer.body) == (200, b"" if method == "HEAD" else f"{method} /a?b=%20c".encode())
    got = web.requests[-1]
    assert (got.method, got.target, got.version, got.body) == (method, "/a?b=%20c", "1.1", body or b"")
    assert got.value("host") == web.authority and got.value("x-a") == "1" and "wire" in got.value("via")
    assert "wire" in answer.value("via")


def test_via_says_what_was_received(side, web):
    """C27"""
    side.ask("GET", web.url("/"))
    assert re.fullmatch(r"2(\.0)? wire" if side.is_h2 else r"1\.1 wire", web.requests[-1].value("via"))


def test_nothing_of_the_hop_goes_on(side, web):
    """C24 C25 C57"""
    side.ask("GET", web.url("/"), [("Proxy-Authorization", "Basic eDp5"), ("X-End-To-End", "yes")])
    got = web.requests[-1]
    assert not {"proxy-authorization", "te", "connection", "transfer-encoding", "upgrade"} & {n.lower() for n in got.names()}
    assert got.value("x-end-to-end") == "yes"


def test_fields_keep_their_order_and_bytes(side, web):
    """C1 C26"""
    side.ask("GET", web.url("/"), [("X-Many", "a"), ("X-Many", "b, c"), ("X-Bytes", "\xff\x80"), ("X-Many", ""), ("X-Tab", "a\tb")])
    got = web.requests[-1]
    assert got.values("x-many") == ["a", "b, c", ""] and got.value("x-bytes") == "\xff\x80" and got.value("x-tab") == "a\tb"


def test_answers_keep_their_fields(side):
    """C26: Set-Cookie is never joined"""
    web = HttpOrigin(response(200, "Set-Cookie: a=1", "Set-Cookie: b=2", "X-Bytes: \xff", "Keep-Alive: timeout=5", "Connection: x-hop", "X-Hop: 1", body=b"x"))
    answer = side.ask("GET", web.url("/"))
    assert answer.values("set-cookie") == ["a=1", "b=2"] and answer.value("x-bytes") == "\xff"
    assert not answer.has("x-hop") and (not side.is_h2 or not answer.has("connection") and not answer.has("keep-alive"))


def test_cookie_crumbs_are_joined(both, certificates, web):
    """C58"""
    for name in ("clear-h2", "tls-h2"):
        Side.of(name, both, certificates.authority).ask("GET", web.url("/"), [("cookie", "a=1"), ("x-a", "x"), ("cookie", "b=2"), ("cookie", "c=3")])
        assert web.requests[-1].values("cookie") == ["a=1; b=2; c=3"]


@pytest.mark.parametrize("raw, body", [
    (response(200, body=b"x" * 70000), b"x" * 70000),
    (response(200, "Transfer-Encoding: chunked", body=chunked(b"a" * 3, b"b" * 40000, b"c")), b"aaa" + b"b" * 40000 + b"c"),
    (response(200, "Connection: close", body=None) + b"until the end", b"until the end"),
    (response(204, body=None), b""),
    (response(304, "Content-Length: 5", body=None), b""),
    (response(200, body=b""), b""),
    (b"HTTP/1.0 200 OK\r\n\r\nold", b"old"),
], ids=["length", "chunked", "close", "204", "304", "empty", "1.0"])
def test_framings(side, origin, raw, body):
    """C38 to C46 flavour: every framing of the origin's is one that the client understands"""
    answer, _ = answer_to(side, origin, raw)
    assert answer.body == body
    if side.is_h2:
        assert not answer.has("transfer-encoding") and not answer.has("connection")


def test_trailers_down(side, origin):
    """C47: they stay trailers, or are dropped"""
    answer, _ = answer_to(side, origin, response(200, "Transfer-Encoding: chunked", "Trailer: X-T", body=chunked(b"body", trailers=["X-T: end"])),
                          fields=[("TE", "trailers")])
    assert answer.body == b"body" and not answer.has("x-t")
    assert [(n.lower(), v) for n, v in answer.trailers] == [("x-t", "end")]


def test_trailers_up(side, web):
    """C47"""
    assert side.ask("POST", web.url("/"), body=b"body", trailers=[("X-T", "end")]).status == 200
    got = web.requests[-1]
    assert got.body == b"body" and not got.has("x-t")
    assert [(n.lower(), v) for n, v in got.trailers] == [("x-t", "end")]


def test_body_of_unknown_length(side, origin):
    """h2 without content-length is chunked towards h1"""
    exchange = side.begin("POST", origin.url("/"))
    conn = origin.accept()
    head = conn.recv_request_head()
    exchange.send(b"first")
    assert conn.recv_until(b"first\r\n")
    exchange.send(b"second")
    exchange.finish()
    conn.recv_until(b"0\r\n\r\n")
    assert head.framing == "chunked"
    conn.send(response(200, body=b"ok"))
    assert exchange.recv_response().body == b"ok"


def test_interim_answers(side, origin):
    """C30"""
    exchange = side.begin("GET", origin.url("/"), content=False)
    conn = origin.accept()
    conn.recv_request()
    conn.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
    hints = exchange.recv_head()
    assert (hints.status, hints.value("link")) == (103, "</a.css>")
    conn.send(response(200, body=b"x"))
    assert exchange.recv_response().body == b"x"


def test_100_continue(side, origin):
    """C31 flavour: the body is sent when the origin asks for it"""
    exchange = side.begin("POST", origin.url("/"), [("Expect", "100-continue")], length=4)
    conn = origin.accept()
    assert conn.recv_request_head().value("expect") == "100-continue"
    conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert exchange.recv_head().status == 100
    exchange.send(b"body")
    exchange.finish()
    assert conn.recv_exactly(4) == b"body"
    conn.send(response(200, body=b"x"))
    assert exchange.recv_response().body == b"x"


def test_417_without_the_body(side, origin):
    exchange = side.begin("POST", origin.url("/"), [("Expect", "100-continue")], length=4)
    conn = origin.accept()
    conn.recv_request_head()
    conn.send(response(417, body=b"no"))
    head = exchange.recv_head()
    assert head.status == 417


def test_much_both_ways(side):
    """16 MB up and down, unchanged"""
    digests = []

    def reply(req):
        digests.append((len(req.body), hashlib.sha256(req.body).hexdigest()))
        return response(body=BULK)

    web = HttpOrigin(reply)
    answer = side.ask("POST", web.url("/"), body=BULK, within=30)
    assert digests == [(len(BULK), hashlib.sha256(BULK).hexdigest())]
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(BULK).digest()


def test_early_answer(side, origin):
    """DESIGN 6: an answer before the upload is complete gets through, whole"""
    exchange = side.begin("POST", origin.url("/"), length=len(BULK))
    conn = origin.accept()
    conn.recv_request_head()
    exchange.send(BULK[:100000])
    conn.send(response(413, "Connection: close", body=b"too much"))
    conn.shut_write()
    answer = exchange.recv_response()
    assert (answer.status, answer.body) == (413, b"too much")


def test_several_requests_on_a_connection(side, web):
    """S004-1"""
    if side.is_h2:
        answers = [side.ask("GET", web.url(f"/{i}")).body for i in range(20)]
        assert len(side.conn().streams) == 20
    else:
        client = side.client()
        answers = [side.begin_on(client, "GET", web.url(f"/{i}"), (), content=False).recv_response().body for i in range(20)]
    assert answers == [f"GET /{i}".encode() for i in range(20)]


def test_requests_at_the_same_time_on_one_connection(both, certificates):
    """C64: answers come in the order in which the origin gives them"""
    for name in ("clear-h2", "tls-h2"):
        origin = Origin()
        side = Side.of(name, both, certificates.authority)
        exchanges = {f"/{i}": side.begin("GET", origin.url(f"/{i}"), content=False) for i in range(8)}
        conns = {}
        for _ in exchanges:
            conn = origin.accept()
            conns[conn.recv_request().target] = conn
        for path in sorted(conns, reverse=True):
            conns[path].send(response(body=path.encode()))
            assert exchanges[path].recv_response().body == path.encode()


# --- what is not whole does not look whole -----------------------------------------------------------------------------


@pytest.mark.parametrize("raw, part", [
    (response(200, "Content-Length: 10", body=b"part"), b"part"),
    (response(200, "Transfer-Encoding: chunked", body=b"4\r\npart\r\n"), b"part"),
    (response(200, "Transfer-Encoding: chunked", body=b"a\r\npart"), b"part"),
], ids=["length", "chunks", "chunk"])
def test_cut_answer_is_cut(side, origin, raw, part):
    """U11 C48 FAILURES 21: a broken body never looks whole"""
    exchange = side.begin("GET", origin.url("/"), content=False)
    conn = origin.accept()
    conn.recv_request()
    conn.send(raw)
    conn.shut_write()
    with pytest.raises(Truncated) as cut:
        exchange.recv_response()
    assert part.startswith(cut.value.part) or cut.value.part == part


def test_cut_request_is_cut(side, origin):
    """U11 C48: the origin never sees an end that the client did not give"""
    exchange = side.begin("POST", origin.url("/"))
    conn = origin.accept()
    conn.recv_request_head()
    exchange.send(b"part")
    conn.recv_until(b"part\r\n")
    exchange.abort()
    assert conn.recv_all() == b"" and conn.end in (RST, FIN)


def test_reset_of_a_close_delimited_answer(side, origin):
    """U11"""
    exchange = side.begin("GET", origin.url("/"), content=False)
    conn = origin.accept()
    conn.recv_request()
    conn.send(response(200, "Connection: close", body=None) + b"part")
    assert exchange.recv_head().status == 200
    conn.reset()
    with pytest.raises(Truncated):
        while True:
            exchange.recv_part(1)


def test_client_that_loses_interest(side, origin):
    """U8: the origin's connection ends with its only reader"""
    exchange = side.begin("GET", origin.url("/"), content=False)
    conn = origin.accept()
    conn.recv_request()
    exchange.abort()
    conn.wait_ended()


# --- refusals ----------------------------------------------------------------------------------------------------------


def member(answer):
    return parse_proxy_status(answer.values("proxy-status"))[-1][1]


def test_refused_connect(side):
    """S000-8 C71 C72: a status, a reason, a page"""
    answer = side.refused(f"127.0.0.1:{free_port()}")
    assert answer.status == 502 and member(answer)["error"] == "connection_refused" and answer.body


def test_refused_request(side):
    answer = side.ask("GET", f"http://127.0.0.1:{free_port()}/")
    assert answer.status == 502 and member(answer)["error"] == "connection_refused" and answer.body


def test_refused_connect_leaves_the_other_streams_alone(both, certificates, origin):
    """C21: over h2 a refusal is the stream's only"""
    for name in ("clear-h2", "tls-h2"):
        side = Side.of(name, both, certificates.authority)
        tunnel = side.tunnel(origin.authority)
        conn = origin.accept()
        assert side.refused(f"127.0.0.1:{free_port()}").status == 502
        tunnel.send(b"ping")
        assert conn.recv_exactly(4) == b"ping"
        assert not side.conn().goaways


def test_bad_targets(side):
    """C16"""
    for target in ("h.test", "h.test:0", "h.test:65536", "h.test:+1", "u@h.test:1", ":1"):
        if side.is_h2:
            stream = side.conn().open([(":method", "CONNECT"), (":authority", target)])
            try:
                assert stream.recv_response("CONNECT").status == 400, target
            except Truncated:
                assert stream.code == 1, target
        else:
            assert side.refused(target).status == 400, target


@pytest.fixture
def strict(start, certificates, tmp_path):
    """A proxy that asks who it is, and has a rule."""
    secret = "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2"
    (tmp_path / "users").write_text(f"john:{secret}\n")
    return start({"listen": listen(certificates), "users": str(tmp_path / "users"), "ports": "any", "private": "allow",
                  "rules": [{"deny": "bad.test", "name": "no-bad"}, {"allow": "any", "port": "any"}]})


@pytest.mark.parametrize("name", SIDES)
def test_407_and_403(strict, certificates, web, origin, name):
    """S001-6 C36 U1 flavour: passwords and rules, request and CONNECT"""
    side = Side.of(name, strict, certificates.authority)
    john = [("Proxy-Authorization", "Basic am9objpzZWNyZXQ=")]
    for answer in (side.ask("GET", web.url("/")), side.refused(origin.authority), side.refused(origin.authority, [("Proxy-Authorization", "Basic eDp5")])):
        assert answer.status == 407 and answer.value("proxy-authenticate").startswith("Basic ")
    assert side.ask("GET", web.url("/"), john).status == 200
    for answer in (side.ask("GET", "http://bad.test/", john), side.refused("bad.test:443", john)):
        assert answer.status == 403 and member(answer)["error"] == "http_request_denied"
        assert "no-bad" in answer.body.decode()
    record = strict.wait_access(1, {"http.response.status_code": 403})[0]
    assert record["user.name"] == "john"


# --- what is said of it ------------------------------------------------------------------------------------------------


def test_access_log(side, both, web):
    """One record a request, with the version that the client spoke"""
    path = f"/{side}/logged"
    side.ask("GET", web.url(path))
    (record,) = both.wait_access(1, {"url.path": path})
    assert record["network.protocol.version"] == ("2" if side.is_h2 else "1.1")
    assert record["client.address"] == "127.0.0.1" and record["ginnel.end"] == "done"


def test_names_of_listeners_that_answer(side):
    """U5 flavour: its own health check, asked in origin-form, on each listener"""
    if side.is_h2:
        stream = side.conn().request("GET", "https" if side.is_tls else "http", f"localhost:{side.address[1]}", "/healthz")
        assert stream.recv_response().status == 200
    else:
        assert side.client().ask(request("GET", "/healthz", host="localhost")).status == 200


def test_idle_connection_is_closed_in_order(start, certificates, web):
    """C68 flavour: keepalive's end is no error"""
    proxy = start({"listen": listen(certificates), "timeouts": {"keepalive": "300ms"}})
    for name in SIDES:
        side = Side.of(name, proxy, certificates.authority)
        if side.is_h2:
            assert side.ask("GET", web.url("/")).status == 200
            conn = side._conn
            eventually(lambda: conn.end != "open", 3, "the end of an idle connection")
            assert conn.end == FIN and conn.goaways[-1][1] == 0
        else:
            client = side.client()
            assert side.begin_on(client, "GET", web.url("/"), (), content=False).recv_response().status == 200
            client.expect_end(FIN, within=3)


def test_clear_text_on_the_tls_port_is_answered(both):
    """issue 6, bad input: a 400 that can be read"""
    client = Client(*both.listeners[1])
    client.send(b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    answer = client.recv_response()
    assert answer.status == 400 and b"https://" in answer.body
    client.expect_end(FIN)


def test_tls_on_the_clear_port_is_closed(both, certificates):
    """issue 6, bad input: one line in the log, and the end"""
    client = Client(*both.listeners[0])
    client.send(client_hello("localhost"))
    client.recv_all(within=scaled(3))
    eventually(lambda: re.search(r"TLS", both.stderr()), what="a line about TLS")


def test_both_greetings_split(both, certificates, web):
    """C55: preface and request byte by byte, in clear and through TLS"""
    for name in ("clear-h2", "tls-h2"):
        side = Side.of(name, both, certificates.authority)
        peer = TlsClient(*side.address, certificates.authority.client_context(["h2"])) if side.is_tls else Client(*side.address)
        peer.send_bytewise(PREFACE + settings() + headers(1, *get(web.authority, "/slow")))
        raw = RawH2(peer, preface=False)
        assert raw.answer(1).body == b"GET /slow"


def test_greeting_without_alpn(both, certificates, web):
    """DESIGN 5: without ALPN the first bytes decide, after TLS as before it"""
    plain = TlsClient(*both.listeners[1], certificates.authority.client_context())
    assert plain.alpn() is None and plain.ask(request("GET", web.url("/a"))).body == b"GET /a"
    known = TlsClient(*both.listeners[1], certificates.authority.client_context())
    raw = RawH2(known)
    raw.send(headers(1, *get(web.authority, "/b")))
    assert raw.answer(1).body == b"GET /b"


def test_tls_origin_that_is_asked_for_with_https(side, certificates):
    """CONFIG origins: https:// in a plain request is verified and fetched by ginnel; here it does not trust the origin"""
    web = HttpOrigin(context=certificates.leaf.server_context(["http/1.1"]))
    answer = side.ask("GET", f"https://localhost:{web.port}/x")
    assert answer.status == 502 and member(answer)["error"] == "tls_certificate_error"
    assert not web.requests

