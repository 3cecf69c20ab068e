# SPDX-License-Identifier: MIT
"""Requests that must be refused. Every case: the status, a closed connection, nothing of it or behind it at the origin, and the
next client is unharmed. Request heads are tried whole and one byte a segment: a split never changes the result."""

import re
import time

import pytest

from harness import chunk, eventually, parse_proxy_status, request, scaled

FOLLOWER = "GET http://@/smuggled HTTP/1.1\r\nHost: @\r\n\r\n"  # stands behind every case; must never be processed


def fill(text, web):
    """@ in a case stands for the origin's authority."""
    return text.replace("@", web.authority).encode("latin-1")


def refused(client, status):
    """Receives a refusal and checks all that holds for every one of them."""
    answer = client.recv_response()
    assert answer.status == status if isinstance(status, int) else answer.status in status, answer
    members = parse_proxy_status(answer.values("proxy-status"))
    assert members[-1][1]["error"] == "http_request_error"
    assert answer.closes
    assert client.expect_end() == "FIN"
    return answer


def unharmed(proxy, web):
    assert proxy.client().ask(request("GET", web.url("/unharmed"))).body == b"GET /unharmed"


def refused_whole_and_bytewise(proxy, web, raw, status):
    for send in ("send", "send_bytewise"):
        client = proxy.client()
        try:
            getattr(client, send)(raw)
        except OSError:
            pass  # refused before the last byte
        refused(client, status)
    unharmed(proxy, web)
    assert set(web.paths()) == {"/unharmed"}
    assert not web.cut


# --- the request line ----------------------------------------------------------------------------------------------

REQUEST_LINES = {
    # C15
    "two blanks before the target": ("GET  http://@/ HTTP/1.1", 400),
    "two blanks before the version": ("GET http://@/  HTTP/1.1", 400),
    "blank at the end": ("GET http://@/ HTTP/1.1 ", 400),
    "tab for blank": ("GET\thttp://@/\tHTTP/1.1", 400),
    "vertical tab for blank": ("GET\x0bhttp://@/\x0bHTTP/1.1", 400),
    "leading blank": (" GET http://@/ HTTP/1.1", 400),
    "no version": ("GET http://@/", 400),
    "no target": ("GET HTTP/1.1", 400),
    "method alone": ("GET", 400),
    "no method": (" http://@/ HTTP/1.1", 400),
    "junk behind": ("GET http://@/ HTTP/1.1 x", 400),
    "blank inside the target": ("GET http://@/a b HTTP/1.1", 400),
    # C37
    "HTTP/2.0": ("GET http://@/ HTTP/2.0", 505),
    "HTTP/3.0": ("GET http://@/ HTTP/3.0", 505),
    "HTTP/0.9 written out": ("GET http://@/ HTTP/0.9", 505),
    "lower-case version": ("GET http://@/ http/1.1", 400),
    "version with a comma": ("GET http://@/ HTTP/1,1", 400),
    "two digits of minor": ("GET http://@/ HTTP/1.10", (400, 505)),
    "two digits of major": ("GET http://@/ HTTP/01.1", (400, 505)),
    "no minor": ("GET http://@/ HTTP/1", (400, 505)),
    "other protocol": ("GET http://@/ ICY/1.1", 400),
    "spelling": ("GET http://@/ HTPP/1.1", 400),
    # 9110 9.1
    "parenthesis in the method": ("G(T http://@/ HTTP/1.1", 400),
    "colon in the method": ("GET: http://@/ HTTP/1.1", 400),
    "NUL in the method": ("G\0T http://@/ HTTP/1.1", 400),
    "high byte in the method": ("G\xc4T http://@/ HTTP/1.1", 400),
    # C1 C2
    "NUL in the target": ("GET http://@/\0 HTTP/1.1", 400),
    "control in the target": ("GET http://@/\x01 HTTP/1.1", 400),
    "DEL in the target": ("GET http://@/\x7f HTTP/1.1", 400),
    "CR in the target": ("GET http://@/\rx HTTP/1.1", 400),
    "CR before the line end": ("GET http://@/ HTTP/1.1\r", 400),
    "tab in the target": ("GET http://@/a\tb HTTP/1.1", 400),
}


@pytest.mark.parametrize("case", REQUEST_LINES)
def test_request_line(proxy, web, case):
    """C1 C2 C15 C37; FAILURES 14 15"""
    line, status = REQUEST_LINES[case]
    refused_whole_and_bytewise(proxy, web, fill(line + "\r\nHost: @\r\n\r\n" + FOLLOWER, web), status)


def test_http_0_9(proxy, web):
    """C15"""
    client = proxy.client()
    client.send(fill("GET http://@/\r\n", web))
    client.shut_write()
    assert client.recv_response().status == 400
    assert not web.requests


TARGETS = {
    # C13
    "userinfo": "http://u:p@@/", "user alone": "http://u@@/", "empty userinfo": "http://:@@/",
    # 9112 3.2, S000-15; FAILURES: ports are digits in 1..65535
    "port 0": "http://127.0.0.1:0/", "port 65536": "http://127.0.0.1:65536/", "port with a sign": "http://127.0.0.1:+80/",
    "negative port": "http://127.0.0.1:-80/", "port with junk": "http://127.0.0.1:80x/", "port beyond 32 bits": "http://127.0.0.1:4294967376/",
    "port beyond 64 bits": "http://127.0.0.1:18446744073709551696/", "port with a blank encoded": "http://127.0.0.1:80%20/",
    "hex port": "http://127.0.0.1:0x50/", "two ports": "http://127.0.0.1:80:80/",
    "no host": "http:///", "no host but a port": "http://:80/", "no authority": "http:/x", "no slashes": "http:x", "nothing": "http:",
    "scheme alone": "http://", "query for host": "http://?q", "no scheme": "://@/", "relative": "@/x",
    "unclosed bracket": "http://[::1/", "junk after bracket": "http://[::1]x/", "empty brackets": "http://[]/", "zone": "http://[fe80::1%25lo]/",
    "bracketed name": "http://[name]/", "bracketed IPv4": "http://[127.0.0.1]/", "IPv6 without brackets": "http://::1/",
    "IPvFuture": "http://[v1.x]/", "nine groups": "http://[1:2:3:4:5:6:7:8:9]/", "two ellipses": "http://[1::2::3]/",
    "encoded NUL": "http://a%00b/", "encoded line end": "http://a%0d%0aX/", "encoded slash": "http://a%2fb/", "encoded at": "http://a%40b/",
    "encoded blank": "http://a%20b/", "bad escape": "http://a%zz/", "cut escape": "http://a%4/",
    "blank in host": "http://a b/", "backslash": "http://a\\b/", "quote in host": 'http://a"b/', "angle in host": "http://a<b/",
    "empty label": "http://a..b/", "leading dot": "http://.a/", "long label": "http://" + "a" * 64 + ".test/",
    "long name": "http://" + "a." * 130 + "test/", "number beyond IPv4": "http://256.256.256.256/", "five octets": "http://1.2.3.4.5/",
    "octet beyond 32 bits": "http://4294967296/",
    "fragment": "http://@/#f", "fragment of the host": "http://@#f",
    "asterisk with GET": "*", "authority-form with GET": "@", "empty scheme name": ":http://@/", "scheme with a blank": "ht tp://@/",
    "digit first": "1http://@/",
}


@pytest.mark.parametrize("case", TARGETS)
def test_target(proxy, web, case):
    """C13 C15 S000-15; FAILURES 6 14 16"""
    # a case with two @ has userinfo: only the last one stands for the origin
    target = re.sub("@@", "\0@", TARGETS[case])
    raw = fill("GET " + target + " HTTP/1.1\r\nHost: @\r\n\r\n" + FOLLOWER, web).replace(b"\0", b"@")
    refused_whole_and_bytewise(proxy, web, raw, 400)


# --- fields --------------------------------------------------------------------------------------------------------

FIELDS = {
    "blank before the colon": "X : y",                       # C5; FAILURES 3
    "tab before the colon": "X\t: y",
    "Host with blank before the colon": "Host : x",
    "Content-Length with blank before the colon": "Content-Length : 5",
    "Transfer-Encoding with blank before the colon": "Transfer-Encoding : chunked",
    "no colon": "X",
    "empty name": ": x",                                     # FAILURES 4
    "only a colon": ":",
    "name with a blank": "X Y: z",
    "name with a parenthesis": "X(: y",
    "name with a slash": "X/Y: z",
    "name with a high byte": "X\xe4: y",
    "name with NUL": "X\0: y",
    "name with VT": "\x0bX: y",
    "NUL in the value": "X: a\0b",                           # C1
    "control in the value": "X: a\x01b",
    "VT in the value": "X: a\x0bb",
    "FF in the value": "X: a\x0cb",
    "BS in the value": "X: a\x08b",
    "ESC in the value": "X: \x1b[2J",
    "DEL in the value": "X: a\x7fb",
    "bare CR in the value": "X: a\rb",                       # C2
    "bare CR before a field": "X: a\rContent-Length: 5",
    "CR CR LF": "X: a\r",
    "bare LF between fields": "X: a\nY: b",
    "LF then CR": "X: a\n\rY: b",
    "fold with a blank": "X: a\r\n b",                       # C6
    "fold with a tab": "X: a\r\n\tb",
    "fold of nothing": "X: a\r\n ",
    "folded Transfer-Encoding": "Transfer-Encoding:\r\n chunked",
}


@pytest.mark.parametrize("case", FIELDS)
def test_field(proxy, web, case):
    """C1 C2 C5 C6 S000-3; FAILURES 3 4"""
    refused_whole_and_bytewise(proxy, web, fill("GET http://@/ HTTP/1.1\r\nHost: @\r\n" + FIELDS[case] + "\r\n\r\n" + FOLLOWER, web), 400)


@pytest.mark.parametrize("blank", [" ", "\t", " X: y\r\n", " \r\n"], ids=["blank", "tab", "blank and field", "blank line"])
def test_blank_before_the_first_field(proxy, web, blank):
    """C4"""
    refused_whole_and_bytewise(proxy, web, fill("GET http://@/ HTTP/1.1\r\n" + blank + "Host: @\r\n\r\n" + FOLLOWER, web), 400)


@pytest.mark.parametrize("raw", [
    "GET http://@/ HTTP/1.1\nHost: @\n\n",
    "GET http://@/ HTTP/1.1\nHost: @\r\n\r\n",
    "GET http://@/ HTTP/1.1\r\nHost: @\n\r\n",
    "GET http://@/ HTTP/1.1\r\nHost: @\r\n\n",
    "GET http://@/ HTTP/1.1\r\rHost: @\r\n\r\n",
], ids=["everywhere", "request line", "field", "empty line", "CR CR"])
def test_bare_line_ends(proxy, web, raw):
    """C2 C54 LF-only heads: tolerated for CONNECT alone"""
    refused_whole_and_bytewise(proxy, web, fill(raw + FOLLOWER, web), 400)


HOSTS = {
    "missing": "X: y", "repeated": "Host: @\r\nHost: @", "repeated with another": "Host: @\r\nHost: b.example",
    "repeated in other case": "Host: @\r\nhOST: @", "blank inside": "Host: a b", "list": "Host: @, b", "userinfo": "Host: u@@",
    "path": "Host: @/x", "scheme": "Host: http://@", "no number for port": "Host: a:b", "port too large": "Host: a:65536",
    "port with a sign": "Host: a:+1", "unclosed bracket": "Host: [::1", "quote": 'Host: "a"', "encoded NUL": "Host: a%00",
    "query": "Host: a?b", "fragment": "Host: a#b", "backslash": "Host: a\\b",
}


@pytest.mark.parametrize("case", HOSTS)
def test_host(proxy, web, case):
    """C8 C54"""
    fields = re.sub("@@", "\0@", HOSTS[case])
    raw = fill("GET http://@/ HTTP/1.1\r\n" + fields + "\r\n\r\n" + FOLLOWER, web).replace(b"\0", b"@")
    refused_whole_and_bytewise(proxy, web, raw, 400)


# --- framing -------------------------------------------------------------------------------------------------------

FRAMING = {
    # C43; FAILURES 5 6
    "length with a sign": ("Content-Length: +5", 400), "negative length": ("Content-Length: -5", 400),
    "hex length": ("Content-Length: 0x5", 400), "two numbers": ("Content-Length: 5 5", 400), "differing list": ("Content-Length: 5,6", 400),
    "differing list with blank": ("Content-Length: 5, 6", 400), "differing lines": ("Content-Length: 5\r\nContent-Length: 6", 400),
    "empty length": ("Content-Length:", 400), "empty length beside another": ("Content-Length:\r\nContent-Length: 5", 400),
    "another beside empty length": ("Content-Length: 5\r\nContent-Length:", 400),
    "2^64": ("Content-Length: 18446744073709551616", 400), "2^64 and five": ("Content-Length: 18446744073709551621", 400),
    "thirty digits": ("Content-Length: " + "1" * 30, 400), "length with junk": ("Content-Length: 5;", 400),
    "length with a point": ("Content-Length: 5.0", 400), "length with exponent": ("Content-Length: 1e1", 400),
    "length quoted": ('Content-Length: "5"', 400), "length with a comma": ("Content-Length: ,5", 400),
    "underscores of number": ("Content-Length: 1_0", 400), "high-byte digits": ("Content-Length: \xb2\xb3", 400),
    # C40 C54; FAILURES 2
    "chunked not last": ("Transfer-Encoding: chunked, identity", 400), "chunked twice": ("Transfer-Encoding: chunked, chunked", 400),
    "chunked twice in two lines": ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
    "chunked then identity in two lines": ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", 400),
    "xchunked": ("Transfer-Encoding: xchunked", (400, 501)), "identity": ("Transfer-Encoding: identity", (400, 501)),
    "empty coding": ("Transfer-Encoding:", 400), "quoted chunked": ('Transfer-Encoding: "chunked"', 400),
    "chunked with parameter": ("Transfer-Encoding: chunked;q=1", (400, 501)), "chunked with a colon": ("Transfer-Encoding: :chunked", 400),
    "chunked with VT": ("Transfer-Encoding: chunked\x0b", 400), "VT chunked": ("Transfer-Encoding: \x0bchunked", 400),
    "chunked with NUL": ("Transfer-Encoding: chunked\0", 400), "chunked with CR": ("Transfer-Encoding: chunked\r", 400),
    "two words": ("Transfer-Encoding: chunked chunked", 400), "gzip alone": ("Transfer-Encoding: gzip", (400, 501)),
    "chunked in pieces": ("Transfer-Encoding: chun\r\n ked", 400),
    # C42
    "gzip, chunked": ("Transfer-Encoding: gzip, chunked", 501),
    "gzip and chunked in two lines": ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 501),
    # C39; FAILURES 1
    "length and chunked": ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
    "chunked and length": ("Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
    "length 0 and chunked": ("Content-Length: 0\r\nTransfer-Encoding: chunked", 400),
    "length and identity": ("Content-Length: 5\r\nTransfer-Encoding: identity", (400, 501)),
    "length and empty coding": ("Content-Length: 5\r\nTransfer-Encoding:", 400),
}


@pytest.mark.parametrize("case", FRAMING)
def test_framing(proxy, web, case):
    """C39 C40 C42 C43 C54; FAILURES 1 2 5 6"""
    fields, status = FRAMING[case]
    raw = fill("POST http://@/ HTTP/1.1\r\nHost: @\r\n" + fields + "\r\n\r\n", web) + b"0\r\n\r\n" + fill(FOLLOWER, web)
    refused_whole_and_bytewise(proxy, web, raw, status)


def test_transfer_encoding_in_http_1_0(proxy, web):
    """C41"""
    raw = fill("POST http://@/ HTTP/1.0\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + FOLLOWER, web)
    refused_whole_and_bytewise(proxy, web, raw, 400)


CHUNKS = {
    # C46; FAILURES 6 7 8
    "hex prefix": "0x5\r\nhello\r\n", "sign": "+5\r\nhello\r\n", "minus": "-5\r\nhello\r\n", "leading blank": " 5\r\nhello\r\n",
    "no digits": "\r\nhello\r\n", "no hex": "g\r\nhello\r\n", "junk behind the digits": "5x\r\nhello\r\n", "two sizes": "5 5\r\nhello\r\n",
    "2^64 and five": "10000000000000005\r\nhello\r\n", "twenty digits": "f" * 20 + "\r\nhello\r\n", "2^64-1": "ffffffffffffffff\r\nhello\r\n",
    "2^63": "8000000000000000\r\nhello\r\n",
    "thousand zeros": "0" * 1000 + "5\r\nhello\r\n", "NUL in the size": "5\0\r\nhello\r\n", "VT after the size": "5\x0b\r\nhello\r\n",
    "bare LF after the size": "5\nhello\r\n", "bare CR after the size": "5\rhello\r\n", "CR CR LF": "5\r\r\nhello\r\n",
    "bare LF after the data": "5\r\nhello\n", "bare CR after the data": "5\r\nhello\r0\r\n\r\n", "data too long": "5\r\nhello!\r\n",
    "data too short": "5\r\nhell\r\n0\r\n\r\n",
    "LF in an extension": "5;a\nb\r\nhello\r\n", "CR in an extension": "5;a\rb\r\nhello\r\n", "NUL in an extension": "5;a\0\r\nhello\r\n",
    "line end in a quoted extension": '5;a="\r\n"\r\nhello\r\n', "LF in a quoted extension": '5;a="\n"\r\nhello\r\n',
    "extension without name": "5;\r\nhello\r\n", "unclosed quote": '5;a="b\r\nhello\r\n', "large extension": "5;" + "a" * 1000000 + "\r\nhello\r\n",
    "large extensions in all": ("1;" + "a" * 2000 + "\r\nx\r\n") * 50,
    "bare LF after the last chunk": "0\n\n", "junk after the last chunk": "0\r\nhello\r\n\r\n",
    "blank before the colon of a trailer": "0\r\nX : y\r\n\r\n", "folded trailer": "0\r\nX: y\r\n z\r\n\r\n", "NUL in a trailer": "0\r\nX: \0\r\n\r\n",
    "trailer with bare LF": "0\r\nX: y\n\r\n", "trailer without name": "0\r\n: y\r\n\r\n",
    "endless trailers": "0\r\n" + "X: " + "y" * 200000 + "\r\n\r\n", "too many trailers": "0\r\n" + "X: y\r\n" * 1000 + "\r\n",
}


@pytest.mark.parametrize("case", CHUNKS)
def test_chunks(proxy, web, case):
    """C46; FAILURES 6 7 8 22: refused, and the origin never gets a whole request"""
    client = proxy.client()
    raw = fill("POST http://@/ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n", web)
    raw += CHUNKS[case].encode("latin-1") + b"0\r\n\r\n" + fill(FOLLOWER, web)
    sender = client.send_in_background(raw)
    answer = client.recv_response()
    assert answer.status in ((400, 431) if "trailer" in case else (400, 413)), answer
    assert answer.closes
    client.expect_end()
    sender.join(5)
    unharmed(proxy, web)
    assert set(web.paths()) == {"/unharmed"}


def test_large_chunk_is_not_refused_for_its_size(client, web):
    """C46: a big number is not an overflow"""
    client.send(fill("POST http://@/ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nabc", web))
    client.expect_silence(0.1)


# --- limits --------------------------------------------------------------------------------------------------------


def boundary(accepted, low, high):
    """The largest n in [low, high) for which accepted(n) holds, accepted(high) being false."""
    assert accepted(low) and not accepted(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if accepted(middle) else (low, middle)
    return low


def test_limit_of_the_line(start, web):
    """C14: 414 at one byte more than the limit"""
    proxy = start({"sizes": {"line": "2KB"}})

    def accepted(length):
        client = proxy.client()
        prefix = f"GET {web.url('/')}"
        client.send(request("GET", web.url("/") + "x" * (length - len(prefix) - len(" HTTP/1.1"))))
        answer = client.recv_response()
        assert answer.status in (200, 414)
        if answer.status == 414:
            client.expect_end()
        return answer.status == 200

    assert boundary(accepted, 1000, 3000) in (2000, 2048)


def test_limit_of_the_head(start, web):
    """C14: 431 at one byte more than the limit"""
    proxy = start({"sizes": {"line": "1KB", "head": "4KB"}})

    def accepted(length):
        client = proxy.client()
        empty = len(request("GET", web.url("/"), "X: "))
        client.send(request("GET", web.url("/"), "X: " + "v" * (length - empty)))
        answer = client.recv_response()
        assert answer.status in (200, 431)
        return answer.status == 200

    assert boundary(accepted, 3000, 5000) in (4000, 4096)


def test_limit_of_the_number_of_fields(start, web):
    """C14: Host counts as one"""
    proxy = start({"sizes": {"fields": 10}})

    def status(n):
        return proxy.client().ask(request("GET", web.url("/"), *["X: y"] * (n - 1))).status

    assert (status(10), status(11)) == (200, 431)


def test_default_limits(proxy, web):
    """C14: 8,000 octets of request line are supported"""
    assert proxy.client().ask(request("GET", web.url("/") + "x" * 8000)).status == 200
    assert proxy.client().ask(request("GET", web.url("/"), "X: " + "v" * 40000)).status == 200
    assert proxy.client().ask(request("GET", web.url("/") + "x" * 40000)).status == 414
    assert proxy.client().ask(request("GET", web.url("/"), *["X: " + "v" * 1000] * 100)).status == 431
    assert proxy.client().ask(request("GET", web.url("/"), *["X: y"] * 300)).status == 431


@pytest.mark.parametrize("endless, status", [
    (b"G" * 100, (400, 414)), (b"GET http://a/" + b"x" * 100, (414,)), (b"GET http://a/ HTTP/1.1\r\nHost: a\r\nX: " + b"v" * 100, (431,)),
    (b"GET http://a/ HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100, (431,)), (b"\r\n" * 50, (400,)),
], ids=["method", "target", "value", "fields", "empty lines"])
def test_endless_heads(start, endless, status):
    """C14; FAILURES 19 22: refused early, memory stays"""
    proxy = start()
    client = proxy.client()
    before = proxy.rss()
    tail = endless[-6:] if endless.endswith(b"\r\n") else endless[-1:] * 6
    sender = client.send_in_background(endless + tail * 500000)
    assert client.recv_response().status in status
    client.hang_up()
    sender.join(5)
    if not proxy.instrumented():
        assert proxy.rss() - before < 2 << 20


# --- slow ----------------------------------------------------------------------------------------------------------


def test_slow_head(start):
    """DESIGN 2: head too slow is 408; bytes do not push the deadline"""
    proxy = start({"timeouts": {"head": "500ms"}})
    client = proxy.client()
    began = time.monotonic()
    sender = client.send_in_background(b"GET http://a.test/" + b"x" * 100000, bytewise=True)
    assert client.recv_response().status == 408
    assert 0.4 < time.monotonic() - began < scaled(1.5)
    client.expect_end()
    client.hang_up()
    sender.join(5)


def test_head_without_end(start):
    """DESIGN 2"""
    client = start({"timeouts": {"head": "300ms"}}).client()
    client.send(b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n")
    assert client.recv_response().status == 408
    client.expect_end("FIN")


def test_connection_without_a_byte_is_closed(start):
    """DESIGN 4: a deadline each"""
    client = start({"timeouts": {"head": "300ms", "keepalive": "300ms"}}).client()
    client.recv_all(within=3)


def test_idle_kept_connection_is_closed_silently(start, web):
    """CONFIG keepalive: no 408 for a request that nobody has begun"""
    client = start({"timeouts": {"head": "5s", "keepalive": "300ms"}}).client()
    assert client.ask(request("GET", web.url("/"))).status == 200
    began = time.monotonic()
    client.expect_end("FIN")
    assert 0.2 < time.monotonic() - began < scaled(1.5)


def test_second_head_has_a_deadline_too(start, web):
    """DESIGN 2"""
    client = start({"timeouts": {"head": "300ms"}}).client()
    assert client.ask(request("GET", web.url("/"))).status == 200
    client.send(b"GET http://a.test/ HTT")
    assert client.recv_response().status == 408
    client.expect_end()


def test_deadline_counts_from_now_after_a_quiet_time(start, web):
    """DESIGN 4: a proxy that has slept for longer than its deadlines still gives the next client all of them"""
    proxy = start({"workers": 1, "timeouts": {"head": "300ms", "keepalive": "300ms", "response": "300ms", "idle": "300ms"}})
    for _ in range(6):
        time.sleep(0.5)
        assert proxy.client().ask(request("GET", web.url("/"), "Connection: close")).status == 200


def test_slow_chunk_line(start, web):
    """DESIGN 2: body too slow is 408"""
    client = start({"timeouts": {"idle": "300ms"}}).client()
    client.send(request("POST", web.url("/"), "Transfer-Encoding: chunked", body=chunk(b"abc") + b"5"))
    assert client.recv_response().status == 408
    client.expect_end()
    eventually(lambda: web.cut, what="the incomplete request at the origin")


# --- leaving in the middle -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [b"", b"G", b"GET http://a.test/ HTTP/1.1\r\n", b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r"])
@pytest.mark.parametrize("how", ["FIN", "RST", "close"])
def test_client_leaves_inside_the_head(proxy, web, part, how):
    """S000-8; DESIGN 2: nothing is forwarded, nobody is harmed"""
    client = proxy.client()
    client.send(part)
    if how == "FIN":
        client.shut_write()
        rest = client.recv_all()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 400 ")
    elif how == "RST":
        client.reset()
    else:
        client.close()
    unharmed(proxy, web)


def test_garbage(proxy, web):
    """FAILURES 15: nothing reachable from the network aborts"""
    for seed in range(200):
        client = proxy.client()
        noise = bytes((seed * 7919 + i * i * 31 + (i >> 3)) & 255 for i in range(1 + seed * 13 % 400))
        try:
            client.send(noise)
            client.shut_write()
            client.recv_all()
        except OSError:
            pass
        client.close()
    unharmed(proxy, web)
