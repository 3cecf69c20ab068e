# SPDX-License-Identifier: MIT
"""Parent proxies in clear, scripted: what they are asked, what becomes of their answers, and which of several is asked."""

import base64
import socket

import pytest

from harness import FIN, RST, DnsServer, HttpOrigin, Origin, eventually, request, response
from harness.proxy_status import parse_proxy_status

OK = b"HTTP/1.1 200 Connection established\r\n\r\n"
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def upstream(*entries, **more):
    return {"workers": 1, "upstream": list(entries), **more}


def via(*parents, **more):
    return {"via": [p if isinstance(p, str) else f"http://{p.authority}" for p in parents], **more}


def dead_port():
    """Nobody listens there."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def parent():
    return Origin()


@pytest.fixture
def behind(start, parent):
    """A ginnel whose only way is that parent."""
    return start(upstream(via(parent)))


def open_tunnel(client, parent, authority="name.test:443"):
    """CONNECT through both; returns the parent's end."""
    client.send(request("CONNECT", authority))
    conn = parent.accept()
    head = conn.recv_request_head()
    assert (head.method, head.target) == ("CONNECT", authority)
    conn.send(OK)
    assert client.recv_response_head().status == 200
    return conn


# --- CONNECT -------------------------------------------------------------------------------------------------------


def test_tunnel(behind, parent):
    """U25: bytes and ends both ways; the name is the parent's to resolve: there is no resolver that knows it"""
    client = behind.client()
    conn = open_tunnel(client, parent)
    client.send(b"ping")
    assert conn.recv_exactly(4) == b"ping"
    conn.send(b"pong")
    assert client.recv_exactly(4) == b"pong"
    client.shut_write()
    conn.expect_end(FIN)
    conn.send(b"late")
    conn.close()
    client.expect_end(FIN, rest=b"late")
    record = behind.wait_access(1)[0]
    assert record["ginnel.via"] == f"http://{parent.authority}"
    assert record["network.peer.port"] == parent.port
    assert record["ginnel.end"] == "tunnel-done"


def test_reset_is_passed_on(behind, parent):
    """U11"""
    client = behind.client()
    conn = open_tunnel(client, parent)
    conn.reset()
    client.expect_end(RST)


def test_bytes_behind_the_200(behind, parent):
    """What comes with the parent's answer is the tunnel's"""
    client = behind.client()
    client.send(request("CONNECT", "name.test:443"))
    conn = parent.accept()
    conn.recv_request_head()
    conn.send(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"SSH-2.0-x\r\n")
    assert client.recv_response_head().status == 200
    assert client.recv_exactly(11) == b"SSH-2.0-x\r\n"


def test_nothing_before_the_answer(behind, parent):
    """C20: what the client sends early stays here until the parent's 2xx; and does not leave at all with another answer"""
    client = behind.client()
    client.send(request("CONNECT", "name.test:443") + b"EARLY")
    conn = parent.accept()
    conn.recv_request_head()
    conn.expect_silence()
    conn.send(OK)
    assert conn.recv_exactly(5) == b"EARLY"
    other = behind.client()
    other.send(request("CONNECT", "name.test:443") + b"EARLY")
    conn = parent.accept()
    conn.recv_request_head()
    conn.send(REFUSED)
    assert other.recv_response().status == 502
    assert b"EARLY" not in conn.recv_all()


def test_ipv6_keeps_its_brackets(start, parent):
    """U6: and no literal is looked up"""
    dns = DnsServer()
    behind = start(upstream(via(parent), private="allow", resolver={"servers": [dns.address]}))
    client = behind.client()
    client.send(request("CONNECT", "[2001:db8::1]:443"))
    conn = parent.accept()
    head = conn.recv_request_head()
    assert head.target == "[2001:db8::1]:443" and head.value("host") == "[2001:db8::1]:443"
    conn.send(OK)
    assert client.recv_response_head().status == 200
    plain = behind.client()
    plain.send(request("GET", "http://[2001:db8::2]/x"))
    conn = parent.accept()
    head = conn.recv_request_head()
    assert head.target == "http://[2001:db8::2]/x" and head.value("host") == "[2001:db8::2]"
    assert dns.queries == []


# --- a parent's "no" -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept, lead", [("text/plain", b"The parent proxy says:"), ("text/html", b"<pre>"), ("application/json", b"parent_body")])
def test_refusal_is_told(behind, parent, accept, lead):
    """U13: the parent's status, its body as text, its Proxy-Status members before ours (C71); the connection ends"""
    client = behind.client()
    client.send(request("CONNECT", "name.test:443", f"Accept: {accept}"))
    conn = parent.accept()
    conn.recv_request_head()
    conn.send(response(403, "Proxy-Status: big; error=http_request_denied", "Content-Type: text/html", body=b"<b>blocked by category</b>", reason="Forbidden"))
    answer = client.recv_response("CONNECT")
    assert answer.status == 502
    members = parse_proxy_status(answer.values("proxy-status"))
    assert [name for name, _ in members] == ["big", "wire"]
    assert members[1][1]["error"] == "destination_unavailable" and members[1][1]["received-status"] == 403
    assert lead in answer.body and b"blocked by category" in answer.body
    if accept == "text/html":
        assert b"<b>blocked" not in answer.body and b"&lt;b&gt;blocked" in answer.body
    client.expect_end(FIN)
    record = behind.wait_access(1)[0]
    assert record["ginnel.end"] == "parent-refused" and "403" in record["ginnel.detail"] and parent.authority in record["ginnel.detail"]


def test_long_refusal_is_cut(behind, parent):
    """U13: 64 KB of it"""
    client = behind.client()
    client.send(request("CONNECT", "name.test:443"))
    conn = parent.accept()
    conn.recv_request_head()
    conn.send(b"HTTP/1.1 500 No\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 200000, within=10)
    answer = client.recv_response("CONNECT")
    assert answer.status == 502 and 65536 <= answer.body.count(b"x") < 65536 + 100


def test_challenge_is_never_passed_on(behind, parent):
    """U13 C25: a 407 of the parent's is between the two proxies, for a CONNECT and for a plain request"""
    for target in ("CONNECT", "GET"):
        client = behind.client()
        client.send(request("CONNECT", "name.test:443") if target == "CONNECT" else request("GET", "http://name.test/"))
        conn = parent.accept()
        conn.recv_request_head()
        conn.send(response(407, 'Proxy-Authenticate: Basic realm="p"', body=b"who?", reason="Auth"))
        answer = client.recv_response(target)
        assert answer.status == 502 and not answer.values("proxy-authenticate")
        [(_, parameters)] = parse_proxy_status(answer.values("proxy-status"))
        assert parameters["error"] == "proxy_configuration_error"
    assert [r["ginnel.end"] for r in behind.wait_access(2)] == ["parent-auth"] * 2


def test_closes_instead(behind, parent):
    for end in ("close", "reset"):
        client = behind.client()
        client.send(request("CONNECT", "name.test:443"))
        conn = parent.accept()
        conn.recv_request_head()
        getattr(conn, end)()
        assert client.recv_response("CONNECT").status == 502


def test_nonsense(behind, parent):
    client = behind.client()
    client.send(request("CONNECT", "name.test:443"))
    conn = parent.accept()
    conn.recv_request_head()
    conn.send(b"SSH-2.0-OpenSSH\r\n\r\n")
    answer = client.recv_response("CONNECT")
    assert answer.status == 502
    assert parse_proxy_status(answer.values("proxy-status"))[0][1]["error"] == "http_protocol_error"


def test_silent(start, parent):
    """Every wait has an end"""
    behind = start(upstream(via(parent), timeouts={"response": "300ms"}))
    client = behind.client()
    client.send(request("CONNECT", "name.test:443"))
    parent.accept().recv_request_head()
    answer = client.recv_response("CONNECT")
    assert answer.status == 504


# --- plain requests ------------------------------------------------------------------------------------------------


def test_absolute_form(behind, parent):
    """C10: the whole target, Via, no credentials of the client's"""
    client = behind.client()
    client.send(request("GET", "http://name.test/a?b=c", "Proxy-Authorization: Basic c2VjcmV0"))
    conn = parent.accept()
    req = conn.recv_request()
    assert req.target == "http://name.test/a?b=c" and req.value("host") == "name.test"
    assert "wire" in req.value("via") and not req.values("proxy-authorization")
    conn.send(response(200, "Proxy-Status: big; received-status=200", body=b"hello"))
    answer = client.recv_response()
    assert answer.body == b"hello"
    members = parse_proxy_status(answer.values("proxy-status"))
    assert [name for name, _ in members] == ["big", "wire"]


def test_post_and_trailers(behind, parent):
    """C47: content up, interim answers, chunks and trailers down"""
    client = behind.client()
    client.send(request("POST", "http://name.test/", body=b"content"))
    conn = parent.accept()
    req = conn.recv_request()
    assert req.method == "POST" and req.body == b"content"
    conn.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n"
              b"3\r\nabc\r\n0\r\nX-End: yes\r\n\r\n")
    answer = client.recv_response()
    assert answer.interim[0].status == 103 and answer.body == b"abc"
    assert ("x-end", "yes") in [(n.lower(), v) for n, v in answer.trailers]


def test_connection_is_kept(start):
    """DESIGN 2: one connection to the parent serves other clients and other targets"""
    parent = HttpOrigin()
    behind = start(upstream(via(parent)))
    for i in range(4):
        with behind.client() as client:
            assert client.ask(request("GET", f"http://name{i}.test/")).body == f"GET http://name{i}.test/".encode()
    assert len(parent.conns) == 1


def test_websocket(behind, parent):
    """U25: an upgrade stays with the parent, absolute-form, and is a tunnel behind the 101"""
    client = behind.client()
    client.send(request("GET", "http://name.test/ws", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"))
    conn = parent.accept()
    req = conn.recv_request()
    assert req.target == "http://name.test/ws" and req.value("upgrade") == "websocket"
    conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
    assert client.recv_response_head().status == 101
    assert client.recv_exactly(2) == b"hi"
    client.send(b"yo")
    assert conn.recv_exactly(2) == b"yo"


# --- credentials ---------------------------------------------------------------------------------------------------


def test_credentials_go_to_the_named_alone(start, parent):
    """Basic for the one parent; the other never sees it"""
    secret = "Basic " + base64.b64encode(b"user:pass word").decode()
    other = Origin()
    behind = start(upstream(
        {"for": ".one.test", "via": [{"url": f"http://{parent.authority}", "auth": {"basic": "user:pass word"}}]},
        {"via": [f"http://{other.authority}"]}))
    for target, conn_of, expected in (("a.one.test", parent, [secret]), ("b.test", other, [])):
        client = behind.client()
        client.send(request("CONNECT", f"{target}:443"))
        assert conn_of.accept().recv_request_head().values("proxy-authorization") == expected
        client = behind.client()
        client.send(request("GET", f"http://{target}/"))
        assert conn_of.accept().recv_request_head().values("proxy-authorization") == expected


# --- several -------------------------------------------------------------------------------------------------------


def test_failover_and_memory(start):
    """The next alternative where one cannot be connected; and it is not asked first again for a while"""
    second = HttpOrigin()
    bad = dead_port()
    behind = start(upstream(via(f"http://127.0.0.1:{bad}", second)))
    with behind.client() as client:
        assert client.ask(request("GET", "http://name.test/")).status == 200
    eventually(lambda: f"http://127.0.0.1:{bad}" in behind.stderr(), what="a line in the log")
    first = HttpOrigin(port=bad)
    with behind.client() as client:
        assert client.ask(request("GET", "http://name.test/2")).status == 200
    assert first.requests == [] and len(second.requests) == 2


def test_failover_of_a_tunnel(start, parent):
    """One that closes instead of answering a CONNECT; the next one gets it"""
    second = Origin()
    behind = start(upstream(via(parent, second)))
    client = behind.client()
    client.send(request("CONNECT", "name.test:443") + b"x")
    conn = parent.accept()
    conn.recv_request_head()
    conn.close()
    conn = second.accept()
    conn.recv_request_head()
    conn.send(OK)
    assert client.recv_response_head().status == 200
    assert conn.recv_exactly(1) == b"x"


def test_no_failover_on_an_answer(start, parent):
    second = Origin()
    behind = start(upstream(via(parent, second)))
    client = behind.client()
    client.send(request("CONNECT", "name.test:443"))
    conn = parent.accept()
    conn.recv_request_head()
    conn.send(REFUSED)
    assert client.recv_response("CONNECT").status == 502
    second.expect_no_connection()


def test_all_fail(start):
    behind = start(upstream(via(f"http://127.0.0.1:{dead_port()}", f"http://127.0.0.1:{dead_port()}")))
    with behind.client() as client:
        answer = client.ask(request("CONNECT", "name.test:443"))
    assert answer.status == 502
    assert parse_proxy_status(answer.values("proxy-status"))[0][1]["error"] == "connection_refused"


def test_direct_is_last(start):
    """The name is resolved, and its addresses judged, when it comes to that"""
    origin, dns = HttpOrigin(), DnsServer()
    dns.answer("name.test", a=["127.0.0.1"])
    behind = start(upstream(via(f"http://127.0.0.1:{dead_port()}", "direct"), resolver={"servers": [dns.address]}))
    with behind.client() as client:
        assert client.ask(request("GET", origin.url("/", name="name.test"))).body == b"GET /"


def test_direct_is_first(start, parent):
    """Where the name has no address here, the parent is next"""
    dns = DnsServer()
    behind = start(upstream(via("direct", parent), resolver={"servers": [dns.address]}))
    client = behind.client()
    client.send(request("CONNECT", "name.test:443"))
    assert parent.accept().recv_request_head().target == "name.test:443"


# --- which way -----------------------------------------------------------------------------------------------------


def test_deny(start):
    """U4: an entry that refuses: 403 with its place and the way out"""
    behind = start(upstream({"for": ".bad.test", "deny": True}))
    with behind.client() as client:
        answer = client.ask(request("CONNECT", "x.bad.test:443"))
    assert answer.status == 403
    [(_, parameters)] = parse_proxy_status(answer.values("proxy-status"))
    assert parameters["error"] == "http_request_denied" and "upstream" in parameters["details"] and "ginnel.yaml:" in parameters["details"]
    assert behind.wait_access(1)[0]["ginnel.end"] == "upstream-denied"


def test_private_is_not_about_the_parent(start, parent):
    """U4: the parent's address is private, the target is judged; a literal is"""
    behind = start(upstream(via(parent), private="deny"))
    open_tunnel(behind.client(), parent)
    with behind.client() as client:
        assert client.ask(request("CONNECT", "10.1.2.3:443")).status == 403


def test_rules_by_name(start, parent):
    """An allow that wants the address does not hold; one by name does"""
    behind = start(upstream(via(parent), rules=[{"allow": "a.test", "to": "10.0.0.0/8"}, {"allow": "b.test"}]))
    with behind.client() as client:
        assert client.ask(request("CONNECT", "a.test:443")).status == 403
    open_tunnel(behind.client(), parent, "b.test:443")


def test_resolve_local(start, parent):
    """U4: resolved and judged here; the checked address is what the parent is asked for. A plain request keeps its name: it goes inside a tunnel to the address"""
    dns = DnsServer()
    dns.answer("name.test", a=["192.0.2.7"])
    dns.answer("inside.test", a=["10.0.0.7"])
    behind = start(upstream(via(parent, resolve="local"), rules=[{"deny": "10.0.0.0/8"}, {"allow": "any", "to": "192.0.2.0/24"}],
                            resolver={"servers": [dns.address]}))
    client = behind.client()
    client.send(request("CONNECT", "name.test:443"))
    head = parent.accept().recv_request_head()
    assert (head.target, head.value("host")) == ("192.0.2.7:443", "192.0.2.7:443")
    client = behind.client()
    for i in range(2):
        client.send(request("GET", f"http://name.test/p{i}"))
        if not i:
            conn = parent.accept()
            head = conn.recv_request_head()
            assert (head.method, head.target, head.value("host")) == ("CONNECT", "192.0.2.7:80", "192.0.2.7:80")
            conn.send(OK)
        head = conn.recv_request_head()
        assert (head.method, head.target, head.value("host")) == ("GET", f"/p{i}", "name.test")
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        assert client.recv_response().body == b"hi"
    client = behind.client()
    client.send(request("GET", "http://192.0.2.9/p"))
    head = parent.accept().recv_request_head()
    assert (head.target, head.value("host")) == ("http://192.0.2.9/p", "192.0.2.9")
    with behind.client() as client:
        assert client.ask(request("CONNECT", "inside.test:443")).status == 403


@pytest.mark.parametrize("no", [b"HTTP/1.1 502 No\r\n", b"HTTP/1.1 503 No\r\n", b"HTTP/1.1 504 No\r\n",
                                b'HTTP/1.1 500 No\r\nProxy-Status: p; details="a; error=x", q; error=connection_refused\r\n'])
@pytest.mark.parametrize("plain", [False, True])
def test_resolve_local_tries_the_next_address(start, parent, no, plain):
    """U4, U9: the parent does not reach the first checked address"""
    dns = DnsServer()
    dns.answer("name.test", a=["192.0.2.7", "192.0.2.8"])
    behind = start(upstream(via(parent, resolve="local"), private="allow", resolver={"servers": [dns.address]}))
    client = behind.client()
    client.send(request("GET", "http://name.test/p") if plain else request("CONNECT", "name.test:80"))
    asked = []
    for answer in (no + b"Content-Length: 0\r\n\r\n", OK):
        conn = parent.accept()
        asked.append(conn.recv_request_head().target)
        conn.send(answer)
    assert sorted(asked) == ["192.0.2.7:80", "192.0.2.8:80"]
    if plain:
        assert conn.recv_request_head().value("host") == "name.test"
        conn.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.recv_response_head().status == (204 if plain else 200)


def test_resolve_local_ends_with_the_last_address(start, parent):
    """U4: a refusal that is not about the address, and the one of the last address, are answers"""
    dns = DnsServer()
    dns.answer("name.test", a=["192.0.2.7", "192.0.2.8"])
    behind = start(upstream(via(parent, resolve="local"), private="allow", resolver={"servers": [dns.address]}))
    for statuses in ([403], [503, 504], [502, 403]):
        client = behind.client()
        client.send(request("CONNECT", "name.test:443") + b"EARLY")
        for status in statuses:
            conn = parent.accept()
            conn.recv_request_head()
            conn.send(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
            assert b"EARLY" not in conn.recv_all()
        answer = client.recv_response()
        assert answer.status == 502 and str(statuses[-1]) in answer.values("proxy-status")[0]


def test_never_itself(start):
    """C38: a parent whose name leads to one of ginnel's own listeners"""
    dns = DnsServer()
    dns.answer("self.test", a=["127.0.0.1"])
    port = dead_port()
    behind = start(upstream(via(f"http://self.test:{port}"), listen=f"127.0.0.1:{port}", resolver={"servers": [dns.address]}))
    with behind.client() as client:
        answer = client.ask(request("CONNECT", "name.test:443"))
    assert answer.status == 502 and parse_proxy_status(answer.values("proxy-status"))[0][1]["error"] == "proxy_loop_detected"


@pytest.mark.parametrize("reasons, told", [("own", False), ("all", True)])
def test_names_of_parents_stay_inside(start, reasons, told):
    """C74: who may not know does not read which parent it was; the log says it"""
    bad = f"http://127.0.0.1:{dead_port()}"
    behind = start(upstream(via(bad), reasons=reasons))
    with behind.client() as client:
        answer = client.ask(request("CONNECT", "name.test:443"))
    assert answer.status == 502 and (bad in answer.body.decode()) == told
    assert bad in behind.wait_access(1)[0]["ginnel.detail"]


# --- chains --------------------------------------------------------------------------------------------------------


def test_chain(start, parent):
    """Hops passed in order: the second is asked through the first; each gets its own credentials alone"""
    behind = start(upstream({"chain": [{"url": f"http://{parent.authority}", "auth": {"basic": "a:1"}}, {"url": "http://second.test:3128", "auth": {"basic": "b:2"}}]}))
    client = behind.client()
    client.send(request("CONNECT", "name.test:443") + b"x")
    conn = parent.accept()
    head = conn.recv_request_head()
    assert head.target == "second.test:3128"
    assert head.values("proxy-authorization") == ["Basic " + base64.b64encode(b"a:1").decode()]
    conn.expect_silence()
    conn.send(OK)
    head = conn.recv_request_head()
    assert head.target == "name.test:443"
    assert head.values("proxy-authorization") == ["Basic " + base64.b64encode(b"b:2").decode()]
    conn.expect_silence()
    conn.send(OK)
    assert client.recv_response_head().status == 200
    assert conn.recv_exactly(1) == b"x"
    conn.send(b"back")
    conn.close()
    assert client.recv_exactly(4) == b"back"
    client.close()
    plain = behind.client()
    plain.send(request("GET", "http://name.test/"))
    conn = parent.accept()
    assert conn.recv_request_head().target == "second.test:3128"
    conn.send(OK)
    assert conn.recv_request_head().target == "http://name.test/"
    conn.send(response(body=b"through"))
    assert plain.recv_response().body == b"through"
    # The same way is kept.
    plain.send(request("GET", "http://other.test/"))
    assert conn.recv_request_head().target == "http://other.test/"
