# SPDX-License-Identifier: MIT
"""Plain HTTP: what arrives at the origin and what comes back, for requests and answers in which nothing is wrong."""

import json
import re

import pytest

from harness import HttpOrigin, chunked, request, response

HTTP_DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d GMT")


def forwarded(client, web, method, target, *fields, **options):
    """Sends one request and returns what the origin got of it."""
    client.ask(request(method, target, *fields, **options))
    return web.wait_requests(1)[-1]


# --- the request line ----------------------------------------------------------------------------------------------


def test_absolute_form_becomes_origin_form(client, web):
    """S001-2 S004-9 S002-6 C10"""
    answer = client.ask(request("GET", web.url("/index.html?q=1")))
    assert (answer.status, answer.body) == (200, b"GET /index.html?q=1")
    req = web.requests[0]
    assert (req.method, req.target, req.version) == ("GET", "/index.html?q=1", "1.1")
    assert req.value("host") == web.authority


def test_first_request_other_than_connect_loses_no_byte(client, web):
    """S000-2 S000-9"""
    client.send_bytewise(request("POST", web.url("/p"), body=b"payload"))
    assert client.recv_response().status == 200
    assert web.requests[0].body == b"payload"


@pytest.mark.parametrize("path, arrives", [
    ("", "/"), ("/", "/"), ("?q=1", "/?q=1"), ("/?", "/?"),
    ("/a%2Fb", "/a%2Fb"), ("/a%2fb%41", "/a%2fb%41"), ("//a//b/", "//a//b/"), ("/a/../b/./c", "/a/../b/./c"),
    ("/..", "/.."), ("/a;b=c,d", "/a;b=c,d"), ("/?a=b?c&d=/../", "/?a=b?c&d=/../"), ("/~'()*!@:$&+=", "/~'()*!@:$&+="),
    ("/%0d%0aX:%20y", "/%0d%0aX:%20y"), ("/%00", "/%00"), ("/x?%0aHost:b", "/x?%0aHost:b"),
    ("/\xc3\xa4\xff\x80", "/\xc3\xa4\xff\x80"), ("/?\xfc", "/?\xfc"), ("/http://b/", "/http://b/"),
])
def test_path_and_query_arrive_byte_by_byte(client, web, path, arrives):
    """C12; FAILURES 14: nothing in a path is decoded"""
    assert forwarded(client, web, "GET", f"http://{web.authority}{path}").target == arrives


def test_options_without_path_asks_for_the_server(client, web):
    """C11"""
    req = forwarded(client, web, "OPTIONS", f"http://{web.authority}")
    assert (req.method, req.target) == ("OPTIONS", "*")


def test_options_with_path_keeps_it(client, web):
    """C11"""
    assert forwarded(client, web, "OPTIONS", web.url("/")).target == "/"


def test_scheme_in_any_case(client, web):
    """C10"""
    assert forwarded(client, web, "GET", f"HtTP://{web.authority}/x", host=web.authority).target == "/x"


def test_ipv6_literal(client, ipv6):
    """U6 S002-4"""
    web = HttpOrigin(host="::1")
    req = forwarded(client, web, "GET", web.url("/six"))
    assert (req.target, req.value("host")) == ("/six", f"[::1]:{web.port}")


def test_host_comes_from_the_target(client, web):
    """C9: the received Host says nothing; smuggling class Host against target"""
    req = forwarded(client, web, "GET", web.url("/"), host="b.example:99")
    assert req.value("host") == web.authority


def test_default_port_is_left_out_of_host(client, proxy, root):
    """C9"""
    address = f"127.{64 + proxy.pid % 64}.{proxy.port >> 8}.{proxy.port & 255}"
    web = HttpOrigin(host=address, port=80)
    req = forwarded(client, web, "GET", f"http://{address}:80/")
    assert req.value("host") == address


def test_options_with_a_query_alone_is_not_the_server(client, web):
    """C11"""
    assert forwarded(client, web, "OPTIONS", f"http://{web.authority}?q").target == "/?q"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "PROPFIND", "M-SEARCH", "FOO", "get", "X!#$%&'*+.^_`|~"])
def test_every_method_is_forwarded_as_written(client, web, method):
    """S002-9 S002-6 S004-1"""
    assert forwarded(client, web, method, web.url("/m")).method == method


# --- fields --------------------------------------------------------------------------------------------------------

ODD_FIELDS = ["X-B: 2", "x-a: 1", "Accept: */*", "X-B: 1", "COOKIE: a=b; c=d", "X-Empty:", "X-Tab: a\tb", "X-Bytes: \x80\xff\xc3\xa4",
              "X_Under: _", "X-B:3", "Referer: http://x/", 'If-None-Match: "e"', "Range: bytes=0-1", "Authorization: Basic eA==",
              "Cache-Control: no-transform", "X-!#$%&'*+.^_`|~: t", "X-Comma: a,,b ,c"]


def parsed(fields):
    pairs = [field.split(":", 1) for field in fields]
    return [(name, value.strip(" ")) for name, value in pairs]


def test_request_fields_keep_order_case_and_bytes(client, web):
    """C1 C26 S004-2 S002-9 S000-3 S000-15 C34 C34a C34b; FAILURES: a list of fields is a list"""
    req = forwarded(client, web, "GET", web.url("/"), *ODD_FIELDS)
    names = {name for name, _ in parsed(ODD_FIELDS)}
    assert [field for field in req.fields if field[0] in names] == parsed(ODD_FIELDS)


def test_many_fields_and_a_large_head(client, web):
    """S000-15: more than 16 fields, more than 1 KB"""
    fields = [f"X-{i}: {'v' * 300}" for i in range(100)]
    req = forwarded(client, web, "GET", web.url("/"), *fields)
    assert [field for field in req.fields if field[0].startswith("X-")] == parsed(fields)


def test_response_fields_keep_order_case_and_bytes(client, web):
    """C26 S004-7 C34a"""
    odd = ["Set-Cookie: a=1, b", "X-B: 2", "set-cookie: c=2", "WWW-Authenticate: Basic realm=\"x\"", "X-B: 1", 'ETag: "e"',
           "Vary: *", "Location: /x", "X-Bytes: \xe4\xff", "Server: s", "Allow: GET", "X-Empty:", "Retry-After: 3"]
    web.reply = response(401, *odd, body=b"no", reason="\xdcbel genommen")
    answer = client.ask(request("GET", web.url("/")))
    names = {name for name, _ in parsed(odd)}
    assert [field for field in answer.fields if field[0] in names] == parsed(odd)
    assert (answer.status, answer.body) == (401, b"no")


def test_request_hop_by_hop_fields_are_removed(client, web):
    """C24 C25 S001-9 S002-2 S004-8; FAILURES 11: the list may name its own field"""
    req = forwarded(client, web, "GET", web.url("/"), "X-One: 1", "Connection: x-one, X-TWO ,,connection, keep-alive", "x-two: 2",
                    "Connection: x-three", "X-Three: 3", "X-Four: 4", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive",
                    "TE: gzip", "Upgrade: websocket")
    assert req.value("x-four") == "4"
    for name in ("x-one", "x-two", "x-three", "keep-alive", "proxy-connection", "te", "upgrade"):
        assert not req.has(name), name
    assert not set(req.elements("connection")) - {"keep-alive"}


def test_connection_cannot_remove_what_matters(client, web):
    """C24; FAILURES 13"""
    protected = ["Host", "Via", "Content-Length", "Authorization", "Cookie", "Content-Type", "Cache-Control", "X-Forwarded-For"]
    req = forwarded(client, web, "POST", web.url("/"), "Connection: " + ", ".join(protected), "Authorization: a", "Cookie: c=d",
                    "Content-Type: t/t", "Cache-Control: no-store", "X-Forwarded-For: 192.0.2.1", body=b"abc")
    assert req.body == b"abc"
    for name in protected:
        assert req.has(name), name


def test_te_trailers_survives_as_our_own(client, web):
    """C25"""
    req = forwarded(client, web, "GET", web.url("/"), "TE: trailers, gzip;q=0.5", "Connection: TE")
    assert req.elements("te") in ([], ["trailers"])
    if req.has("te"):
        assert "te" in req.elements("connection")


def test_response_hop_by_hop_fields_are_removed(client, web):
    """C24 C25 S001-9"""
    web.reply = response(200, "X-One: 1", "Connection: x-one", "Keep-Alive: timeout=5, max=100", "Proxy-Connection: keep-alive",
                         "Upgrade: h2c", "TE: x", "X-Two: 2", body=b"x")
    answer = client.ask(request("GET", web.url("/")))
    assert answer.value("x-two") == "2"
    for name in ("x-one", "keep-alive", "proxy-connection", "upgrade", "te"):
        assert not answer.has(name), name
    assert "x-one" not in answer.elements("connection")


def test_proxy_credentials_go_no_further(client, web):
    """C36; FAILURES 25"""
    req = forwarded(client, web, "GET", web.url("/"), "Proxy-Authorization: Basic c2VjcmV0", "Authorization: Basic b3RoZXI=")
    assert not req.has("proxy-authorization")
    assert req.value("authorization") == "Basic b3RoZXI="
    assert b"c2VjcmV0" not in req.raw


def test_large_credentials_do_no_harm(client, web):
    """FAILURES 10: nothing is copied into a fixed buffer"""
    for value in ("Digest nc=" + "0" * 50000, "Basic " + "QUFB" * 12000, "Negotiate " + "A" * 55000, "x" * 60000):
        assert client.ask(request("GET", web.url("/"), f"Proxy-Authorization: {value}")).status == 200
    assert not any(req.has("proxy-authorization") for req in web.requests)


def test_large_answer_heads_pass(client, web):
    """C26: many cookies and long values of an origin"""
    cookies = [f"Set-Cookie: c{i}={'v' * 300}" for i in range(150)]
    web.reply = response(200, *cookies, body=b"x")
    answer = client.ask(request("GET", web.url("/")))
    assert answer.values("set-cookie") == [cookie.split(": ", 1)[1] for cookie in cookies]


def test_via_is_added_both_ways(client, proxy, web):
    """C27"""
    answer = client.ask(request("GET", web.url("/")))
    assert web.requests[0].values("via") == [f"1.1 {proxy.name}"]
    assert answer.values("via") == [f"1.1 {proxy.name}"]


def test_via_is_appended(client, proxy, web):
    """C27 S002-7 (which prepends; the RFC appends)"""
    web.reply = response(200, "Via: 1.0 x", body=b"")
    answer = client.ask(request("GET", web.url("/"), "Via: 1.0 fred, 1.1 p.example (c)", "Via: HTTP/2 q"))
    assert web.requests[0].elements("via") == ["1.0 fred", "1.1 p.example (c)", "http/2 q", f"1.1 {proxy.name}"]
    assert answer.elements("via") == ["1.0 x", f"1.1 {proxy.name}"]


def test_via_names_the_received_version(proxy, web):
    """C27 C7"""
    web.reply = response(200, version="1.0")
    web.keep = False
    answer = proxy.client().ask(request("GET", web.url("/"), version="1.0"))
    assert web.requests[0].values("via") == [f"1.0 {proxy.name}"]
    assert answer.values("via") == [f"1.0 {proxy.name}"]


def test_via_can_be_switched_off(start, web):
    """CONFIG via: off"""
    answer = start({"via": False}).client().ask(request("GET", web.url("/")))
    assert not answer.has("via") and not web.requests[0].has("via")


def test_name_is_random_unless_given(start, web):
    """C27: a pseudonym that says nothing about the host"""
    start({"name": None}).client().ask(request("GET", web.url("/")))
    assert re.fullmatch(r"1\.1 ginnel-[0-9a-f]{4,}", web.requests[0].value("via"))


def test_date_is_added_when_missing(client, web):
    """C35"""
    assert HTTP_DATE.fullmatch(client.ask(request("GET", web.url("/"))).value("date"))


def test_date_is_kept(client, web):
    """C35"""
    web.reply = response(200, "Date: Tue, 15 Nov 1994 08:12:31 GMT")
    assert client.ask(request("GET", web.url("/"))).value("date") == "Tue, 15 Nov 1994 08:12:31 GMT"


def test_client_address_is_not_revealed(proxy, web):
    """S001-3"""
    client = proxy.client(source="127.9.8.7")
    client.ask(request("POST", web.url("/"), body=b"x"))
    req = web.requests[0]
    assert not req.has("x-forwarded-for") and not req.has("forwarded") and not req.has("x-real-ip")
    assert b"127.9.8.7" not in req.raw and str(client.local[1]).encode() not in req.raw_head


def test_no_fields_are_invented(client, web):
    """C34b: no Max-Forwards, no User-Agent, no Accept-Encoding; S001-3"""
    req = forwarded(client, web, "GET", web.url("/"))
    assert {name.lower() for name in req.names()} <= {"host", "via", "connection"}


# --- answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 206, 226, 299, 301, 302, 307, 400, 404, 418, 421, 451, 500, 503, 599])
def test_any_final_status_is_passed_on(client, web, status):
    """S004-7: redirects are the client's business; C34b"""
    web.reply = response(status, "Location: http://elsewhere.example/", body=b"body", reason="Whatever it says")
    answer = client.ask(request("GET", web.url("/")))
    assert (answer.status, answer.body) == (status, b"body")
    assert len(web.requests) == 1


def test_empty_reason(client, web):
    """9112 4: the blank before it stays"""
    web.reply = b"HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nx"
    assert client.ask(request("GET", web.url("/"))).body == b"x"


@pytest.mark.parametrize("method, answer", [
    ("HEAD", response(200, "Content-Length: 1000000", body=None)),
    ("HEAD", response(200, "Transfer-Encoding: chunked", body=None)),
    ("HEAD", response(200, body=None)),
    ("GET", response(304, "Content-Length: 1000000", 'ETag: "e"', body=None, reason="Not Modified")),
    ("GET", response(304, body=None, reason="Not Modified")),
    ("GET", response(204, body=None, reason="No Content")),
])
def test_answers_without_content(client, web, method, answer):
    """C45: the answer that follows on the same connection is intact"""
    web.reply = lambda req: answer if req.target == "/empty" else HttpOrigin.echo_target(req)
    empty = client.ask(request(method, web.url("/empty")))
    assert empty.body == b"" and empty.status in (200, 204, 304)
    assert client.ask(request("GET", web.url("/next"))).body == b"GET /next"


def test_head_keeps_the_length_it_would_have(client, web):
    """C45 C34a"""
    web.reply = response(200, "Content-Length: 1000000", body=None)
    assert client.ask(request("HEAD", web.url("/"))).value("content-length") == "1000000"


# --- connections and versions --------------------------------------------------------------------------------------


def test_kept_connection(client, web):
    """S001-2 S002-4: later requests on the same connection"""
    for i in range(5):
        answer = client.ask(request("GET", web.url(f"/{i}")))
        assert answer.body == f"GET /{i}".encode() and not answer.closes
    client.expect_silence(0.05)


@pytest.mark.workers
def test_kept_connection_to_several_origins(client, web):
    """S001-2"""
    other = HttpOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")
    assert client.ask(request("GET", web.url("/1"))).body == b"GET /1"
    assert client.ask(request("GET", other.url("/2"))).body == b"other"
    assert client.ask(request("GET", web.url("/3"))).body == b"GET /3"


def test_connection_close_is_obeyed(client, web):
    """C52: answered, closed, and nothing after it is processed"""
    client.send(request("GET", web.url("/1"), "Connection: close") + request("GET", web.url("/2")))
    assert client.recv_response().closes
    client.expect_end("FIN")
    assert web.paths() == ["/1"]


@pytest.mark.workers
def test_fifty_pipelined_requests(client, web):
    """C50"""
    client.send(b"".join(request("GET", web.url(f"/{i}")) for i in range(50)))
    assert [client.recv_response().body for _ in range(50)] == [f"GET /{i}".encode() for i in range(50)]
    assert web.paths() == [f"/{i}" for i in range(50)]


def test_pipelined_bodies_and_empty_lines(client, web):
    """C50 C3"""
    client.send(b"\r\n" + request("POST", web.url("/1"), body=b"GET / HTTP/1.1\r\n\r\n")
                + b"\r\n\r\n" + request("POST", web.url("/2"), "Transfer-Encoding: chunked", body=chunked(b"abc"))
                + request("GET", web.url("/3")))
    assert [client.recv_response().body for _ in range(3)] == [b"POST /1", b"POST /2", b"GET /3"]
    assert [req.body for req in web.requests] == [b"GET / HTTP/1.1\r\n\r\n", b"abc", b""]


def test_no_pipelining_upstream(client, origin):
    """C50"""
    client.send(request("GET", origin.url("/1")) + request("GET", origin.url("/2")))
    conn = origin.accept()
    assert conn.recv_request().target == "/1"
    conn.expect_silence(0.1)
    origin.expect_no_connection(0.05)


def test_http_1_0_client(proxy, web):
    """C7 C51: closes, whatever is asked for; the origin sees 1.1"""
    client = proxy.client()
    answer = client.ask(request("GET", web.url("/"), "Connection: keep-alive", "Proxy-Connection: Keep-Alive", version="1.0"))
    assert (answer.status, answer.body) == (200, b"GET /")
    client.expect_end("FIN")
    assert web.requests[0].version == "1.1"
    assert "keep-alive" not in answer.elements("connection")


def test_http_1_0_client_gets_no_chunks(proxy, web):
    """C51"""
    web.reply = response(200, "Transfer-Encoding: chunked", body=chunked(b"abc", b"def", trailers=["X: y"]))
    client = proxy.client()
    answer = client.ask(request("GET", web.url("/"), version="1.0"))
    assert not answer.has("transfer-encoding")
    assert answer.body == b"abcdef"
    assert client.expect_end() == "FIN"


def test_http_1_0_client_with_a_body(proxy, web):
    """C7"""
    assert proxy.client().ask(request("POST", web.url("/"), version="1.0", body=b"abc")).status == 200
    assert web.requests[0].body == b"abc"


def test_http_1_0_origin(client, web):
    """C7: forwarded messages carry our own version; the body ends with the connection"""
    web.reply, web.keep = b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nuntil the close", False
    answer = client.ask(request("GET", web.url("/")))
    assert (answer.version, answer.body, answer.value("x")) == ("1.1", b"until the close", "y")


def test_http_1_0_origin_with_a_length(proxy, web):
    """C7"""
    web.reply, web.keep = response(200, body=b"sized", version="1.0"), False
    for path in ("/1", "/2"):
        answer = proxy.client().ask(request("GET", web.url(path)))
        assert (answer.version, answer.body) == ("1.1", b"sized")


# --- methods with rules of their own -------------------------------------------------------------------------------


def test_trace_is_off(client, web):
    """C29"""
    answer = client.ask(request("TRACE", web.url("/"), "Cookie: secret=1"))
    assert answer.status == 405
    assert b"secret" not in answer.raw
    assert not web.requests


def test_options_with_max_forwards_zero_is_answered_here(client, web):
    """C28"""
    answer = client.ask(request("OPTIONS", web.url("/"), "Max-Forwards: 0"))
    assert answer.status in (200, 204)
    assert not web.requests


@pytest.mark.parametrize("received, sent", [("1", "0"), ("5", "4"), ("100", "99")])
def test_max_forwards_counts_down(client, web, received, sent):
    """C28"""
    req = forwarded(client, web, "OPTIONS", web.url("/"), f"Max-Forwards: {received}")
    assert req.values("max-forwards") == [sent]


def test_max_forwards_is_ignored_elsewhere(client, web):
    """C28"""
    assert forwarded(client, web, "GET", web.url("/"), "Max-Forwards: 0").value("max-forwards") == "0"


@pytest.mark.parametrize("value", ["-1", "x", "", "0x1", "99999999999999999999"])
def test_odd_max_forwards_do_no_harm(client, web, value):
    """C28"""
    answer = client.ask(request("OPTIONS", web.url("/"), f"Max-Forwards: {value}"))
    assert answer.status in (200, 400)
    assert client.ask(request("GET", web.url("/"))).status == 200 if not answer.closes else True


# --- what the proxy port answers itself ----------------------------------------------------------------------------


def test_ginnel_internal_says_who_asks(proxy):
    """S001-27"""
    client = proxy.client()
    answer = client.ask(request("GET", "http://ginnel.internal/"))
    assert answer.status == 200
    assert answer.value("content-type").startswith("application/json")
    text = json.dumps(json.loads(answer.body))
    assert client.local[0] in text
    assert re.search(r'"[a-z_.]*version"', text)
    assert not client.ask(request("HEAD", "http://ginnel.internal/")).body


def test_origin_form_is_not_forwarded(proxy, web):
    """S002-28; DESIGN 2: DNS rebinding"""
    answer = proxy.client().ask(request("GET", "/x", host=web.authority))
    assert answer.status == 400
    assert b"proxy" in answer.body.lower()
    assert not web.requests


@pytest.mark.parametrize("host", ["localhost", "evil.example", "127.0.0.1:3128"])
def test_healthz(proxy, host):
    """S002-28: with any Host"""
    answer = proxy.client().ask(request("GET", "/healthz", host=host))
    assert (answer.status, answer.body.strip()) == (200, b"ok")


@pytest.mark.parametrize("target", ["/", "/index.html", "/healthzz", "/healthz/", "/proxy.pac/x", "//healthz", "/..//healthz", "*"])
def test_everything_else_of_ours_is_400(proxy, target):
    """S002-28"""
    method = "OPTIONS" if target == "*" else "GET"
    assert proxy.client().ask(request(method, target, host="localhost")).status == 400


@pytest.mark.parametrize("first", [
    bytes.fromhex("16030100050100000100"), bytes.fromhex("160301"), b"\x05\x01\x00", b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
])
def test_other_protocols_are_closed(proxy, first):
    """FAILURES 16: TLS, SOCKS5, SOCKS4 on the plain port"""
    client = proxy.client()
    client.send(first)
    client.expect_end()


@pytest.mark.parametrize("scheme", ["ftp", "gopher", "file", "ws", "cache_object", "whois", "urn", "javascript", "unix"])
def test_two_schemes_only(proxy, origin, scheme):
    """FAILURES 16"""
    assert proxy.client().ask(request("GET", f"{scheme}://{origin.authority}/", host=origin.authority)).status == 400
    origin.expect_no_connection(0.05)


def test_https_targets_are_never_sent_in_the_clear(proxy, origin):
    """DESIGN 2: to an origin that speaks no TLS nothing of the request is sent (test_parents_tls.py has those that do)"""
    client = proxy.client()
    client.send(request("GET", f"https://{origin.authority}/secret"))
    conn = origin.accept()
    assert conn.recv_some()[0] == 0x16
    conn.send(response(body=b"clear"))
    assert client.recv_response().status == 502
    assert b"secret" not in conn.received
