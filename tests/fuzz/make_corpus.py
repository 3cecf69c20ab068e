#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of the fuzz corpora, one file a message, named after what it shows.

    tests/fuzz/make_corpus.py            # rewrites tests/fuzz/corpus/*/seed-*

Only files that begin with "seed-" are touched: inputs that a fuzzer found are kept beside them.
The smuggling classes are those published between 2005 and 2025 (C54); the names say which.
"""
import pathlib

HERE = pathlib.Path(__file__).parent / "corpus"
CRLF = b"\r\n"


def head(line, *fields):
    return CRLF.join([line, *fields, b"", b""])


def get(*fields):
    return head(b"GET http://example.com/a?b HTTP/1.1", b"Host: example.com", *fields)


def post(*fields, body=b""):
    return head(b"POST http://example.com/ HTTP/1.1", b"Host: example.com", *fields) + body


def connect(target, *fields, version=b"1.1"):
    return head(b"CONNECT " + target + b" HTTP/" + version, *fields)


CL5 = b"Content-Length: 5"
TE = b"Transfer-Encoding: chunked"
SMUGGLED = b"0\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n"

REQUESTS = {
    # plain ones
    "get": get(),
    "get-origin-form": head(b"GET /x HTTP/1.1", b"Host: h:8080"),
    "get-1.0": head(b"GET http://h/ HTTP/1.0"),
    "get-browser": get(
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0",
        b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        b"Accept-Language: en-US,en;q=0.5", b"Accept-Encoding: gzip, deflate",
        b"Cookie: a=b; c=\"d e\"", b"Proxy-Connection: keep-alive", b"Upgrade-Insecure-Requests: 1"),
    "get-octets": get(b"X: \x80\xff\xc3(", b"Y:\t a \t "),
    "get-pipelined": get() * 3,
    "post-length": post(CL5, body=b"hello"),
    "post-chunked": post(TE, body=b"5\r\nhello\r\n0\r\n\r\n"),
    "post-expect": post(CL5, b"Expect: 100-continue"),
    "options-star": head(b"OPTIONS * HTTP/1.1", b"Host: h"),
    "options-absolute": head(b"OPTIONS http://h:81 HTTP/1.1", b"Host: h:81", b"Max-Forwards: 0"),
    "connect": connect(b"example.com:443", b"Host: example.com:443"),
    "connect-v6": connect(b"[2001:db8::1]:443", b"Host: [2001:db8::1]:443"),
    "connect-by-hand": b"CONNECT 127.0.0.1:9002 HTTP/1.1\n\nhello\n",
    "connect-lf-fields": b"CONNECT h:1 HTTP/1.1\nHost: h\r\nA: b\n\n",
    "connect-fiddler": connect(b"www.microsoft.com:443", b"Host: www.microsoft.com",
                               b"Content-Length: 0", b"Connection: Keep-Alive",
                               b"Pragma: no-cache", version=b"1.0"),
    "websocket": get(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
                     b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    "h2c-upgrade": get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
                       b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
    "te-trailers": get(b"TE: trailers", b"Connection: TE"),
    "empty-lines-first": b"\r\n\n\r\n" + get(),
    "all-hop-by-hop": get(b"Connection: close, X-A", b"Proxy-Connection: close", b"Keep-Alive: timeout=5",
                          b"X-A: 1", b"X-B: 2", b"Proxy-Authorization: Basic dTpw"),
    "idn-host": head("GET http://b\u00fccher.example/ HTTP/1.1".encode(), b"Host: x"),
    "many-fields": get(*[b"F%d: %d" % (i, i) for i in range(60)]),
    "long-value": get(b"X: " + b"v" * 3000),
    "long-target": head(b"GET http://h/" + b"t" * 3000 + b" HTTP/1.1", b"Host: h"),
    # start lines that are none
    "no-version": b"GET /\r\n",
    "http-2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http-1.2": head(b"GET / HTTP/1.2", b"Host: h"),
    "two-spaces": head(b"GET  / HTTP/1.1", b"Host: h"),
    "tab-in-line": head(b"GET\t/\tHTTP/1.1", b"Host: h"),
    "space-in-target": head(b"GET /a b HTTP/1.1", b"Host: h"),
    "fragment": head(b"GET http://h/#f HTTP/1.1", b"Host: h"),
    "userinfo": head(b"GET http://u:p@h/ HTTP/1.1", b"Host: h"),
    "scheme-ftp": head(b"GET ftp://h/ HTTP/1.1", b"Host: h"),
    "client-hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "socks5": b"\x05\x01\x00",
    # smuggling: which of the two counts?
    "smuggle-cl.te": post(b"Content-Length: 44", TE, body=SMUGGLED),
    "smuggle-te.cl": post(TE, b"Content-Length: 4", body=b"5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n"),
    "smuggle-te.te-x": post(TE, b"Transfer-Encoding: x", body=SMUGGLED),
    "smuggle-te.te-case": post(TE, b"Transfer-encoding: cow", body=SMUGGLED),
    "smuggle-te.te-identity": post(b"Transfer-Encoding: chunked, identity", body=SMUGGLED),
    "smuggle-te-identity-first": post(b"Transfer-Encoding: identity, chunked", body=SMUGGLED),
    "smuggle-te-xchunked": post(b"Transfer-Encoding: xchunked", CL5, body=SMUGGLED),
    "smuggle-te-space-colon": post(b"Transfer-Encoding : chunked", CL5, body=SMUGGLED),
    "smuggle-te-leading-space": head(b"POST http://h/ HTTP/1.1", b" Transfer-Encoding: chunked",
                                     b"Host: h", CL5) + SMUGGLED,
    "smuggle-te-fold": post(b"Transfer-Encoding:\r\n chunked", CL5, body=SMUGGLED),
    "smuggle-te-fold-before": post(b"X: y\r\n Transfer-Encoding: chunked", CL5, body=SMUGGLED),
    "smuggle-te-tab": post(b"Transfer-Encoding:\tchunked", CL5, body=SMUGGLED),
    "smuggle-te-vtab": post(b"Transfer-Encoding:\x0bchunked", CL5, body=SMUGGLED),
    "smuggle-te-ff": post(b"Transfer-Encoding: chunked\x0c", CL5, body=SMUGGLED),
    "smuggle-te-nul": post(b"Transfer-Encoding: chunked\x00", CL5, body=SMUGGLED),
    "smuggle-te-cr": post(b"Transfer-Encoding: chunked\rX: y", CL5, body=SMUGGLED),
    "smuggle-te-lf": post(b"X: y\nTransfer-Encoding: chunked", CL5, body=SMUGGLED),
    "smuggle-te-nbsp": post(b"Transfer-Encoding: chunked\xa0", CL5, body=SMUGGLED),
    "smuggle-te-quoted": post(b'Transfer-Encoding: "chunked"', CL5, body=SMUGGLED),
    "smuggle-te-parameter": post(b"Transfer-Encoding: chunked;q=0.5", CL5, body=SMUGGLED),
    "smuggle-te-comma": post(b"Transfer-Encoding: ,chunked,", CL5, body=SMUGGLED),
    "smuggle-te-twice": post(TE, TE, body=SMUGGLED),
    "smuggle-te-underscore": post(b"Transfer_Encoding: chunked", CL5, body=b"hello"),
    "smuggle-te-1.0": head(b"POST http://h/ HTTP/1.0", b"Host: h", TE, b"Connection: keep-alive") + SMUGGLED,
    "smuggle-te-gzip": post(b"Transfer-Encoding: gzip, chunked", body=SMUGGLED),
    "smuggle-te-empty": post(b"Transfer-Encoding:", CL5, body=SMUGGLED),
    "smuggle-cl.0": post(b"Content-Length: 38", body=SMUGGLED),
    "smuggle-0.cl": get(b"Expect: y 100-continue", b"Content-Length: 38") + SMUGGLED,
    "smuggle-expect": post(b"Expect:\t100-continue", b"Content-Length: 38", body=SMUGGLED),
    "smuggle-cl-twice": post(CL5, b"Content-Length: 6", body=b"hello!"),
    "smuggle-cl-twice-equal": post(CL5, b"content-length: 05", body=b"hello"),
    "smuggle-cl-list": post(b"Content-Length: 5, 6", body=b"hello!"),
    "smuggle-cl-empty": post(b"Content-Length:", CL5, body=b"hello"),
    "smuggle-cl-plus": post(b"Content-Length: +5", body=b"hello"),
    "smuggle-cl-hex": post(b"Content-Length: 0x5", body=b"hello"),
    "smuggle-cl-2-64": post(b"Content-Length: 18446744073709551621", body=b"hello"),
    "smuggle-cl-2-32": post(b"Content-Length: 4294967301", body=b"hello"),
    "smuggle-cl-space": post(b"Content-Length: 5 5", body=b"hello"),
    "smuggle-cl-space-colon": post(b"Content-Length : 5", body=b"hello"),
    "smuggle-cl-connection": post(CL5, b"Connection: content-length", body=b"hello"),
    "smuggle-te-connection": post(TE, b"Connection: transfer-encoding", body=SMUGGLED),
    "smuggle-empty-name": post(b": x", CL5, body=b"hello"),
    "smuggle-no-colon": post(b"Content-Length", TE, body=SMUGGLED),
    "smuggle-connect-body": connect(b"h:80", b"Content-Length: 36") + SMUGGLED,
    "smuggle-connect-te": connect(b"h:80", TE) + SMUGGLED,
    "smuggle-crlf-in-target": head(b"GET http://h/%0d%0aX:%20y HTTP/1.1", b"Host: h"),
    "smuggle-crlf-in-host": head(b"GET http://h%0d%0a/ HTTP/1.1", b"Host: h"),
    "smuggle-get-body": get(b"Content-Length: 38") + SMUGGLED,
    "smuggle-lf-head": b"GET / HTTP/1.1\nHost: h\n\n",
    "smuggle-upgrade-body": post(CL5, b"Connection: upgrade", b"Upgrade: x", body=b"hello"),
    # Host
    "host-missing": head(b"GET / HTTP/1.1"),
    "host-twice": head(b"GET / HTTP/1.1", b"Host: a", b"Host: b"),
    "host-differs": head(b"GET http://a/ HTTP/1.1", b"Host: b"),
    "host-empty": head(b"GET http://a/ HTTP/1.1", b"Host:"),
    "host-list": head(b"GET / HTTP/1.1", b"Host: a, b"),
    "host-port-junk": head(b"GET / HTTP/1.1", b"Host: a:80x"),
    "host-userinfo": head(b"GET / HTTP/1.1", b"Host: a@b"),
    "host-fold": head(b"GET / HTTP/1.1", b"Host:\r\n a"),
    "host-octal": head(b"GET / HTTP/1.1", b"Host: 0177.1"),
    # FAILURES 11, 13
    "connection-names-itself": get(b"Connection: connection, close, connection"),
    "connection-names-all": get(b"Connection: host, via, cookie, te, x", b"Via: 1.1 a", b"Cookie: b", b"X: y"),
    "connection-list": get(b"Connection: " + b",".join(b"a%d" % i for i in range(100)), b"a7: 1"),
}

OK = b"HTTP/1.1 200 OK"
RESPONSES = {
    "ok-length": head(OK, b"Content-Length: 5", b"Content-Type: text/plain") + b"hello",
    "ok-chunked": head(OK, TE) + b"5\r\nhello\r\n0\r\n\r\n",
    "ok-close": head(OK, b"Connection: close") + b"hello",
    "ok-1.0": head(b"HTTP/1.0 200 OK", b"Server: x") + b"hello",
    "ok-1.0-keep": head(b"HTTP/1.0 200 OK", b"Connection: keep-alive", b"Content-Length: 0"),
    "ok-server": head(OK, b"Date: Mon, 27 Jul 2009 12:28:53 GMT", b"Server: Apache", b"ETag: \"a-b\"",
                      b"Set-Cookie: a=b; Path=/", b"Set-Cookie: c=d", b"Content-Length: 0",
                      b"Keep-Alive: timeout=5, max=100", b"Connection: Keep-Alive"),
    "no-reason": head(b"HTTP/1.1 404 ", b"Content-Length: 0"),
    "no-reason-no-space": head(b"HTTP/1.1 404", b"Content-Length: 0"),
    "reason-octets": head(b"HTTP/1.1 404 Nicht \xfcblich\t ", b"Content-Length: 0"),
    "continue": head(b"HTTP/1.1 100 Continue"),
    "early-hints": head(b"HTTP/1.1 103 Early Hints", b"Link: </a>; rel=preload"),
    "switching": head(b"HTTP/1.1 101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: websocket",
                      b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    "no-content": head(b"HTTP/1.1 204 No Content", CL5),
    "not-modified": head(b"HTTP/1.1 304 Not Modified", b"Content-Length: 1234"),
    "connect-200": head(b"HTTP/1.0 200 Connection established", b"Proxy-agent: x"),
    "connect-407": head(b"HTTP/1.1 407 x", b"Proxy-Authenticate: Negotiate", b"Proxy-Authenticate: Basic realm=\"a\"",
                        b"Content-Length: 0"),
    "proxy-status": head(b"HTTP/1.1 502 Bad Gateway", b"Proxy-Status: a; error=dns_error", b"Content-Length: 0"),
    "space-before-colon": head(OK, b"Content-Length : 5", b"X\t: y"),
    "fold": head(OK, b"X: a", b" b", b"\tc", b"Content-Length: 0"),
    "fold-empty": head(OK, b"X:", b" ", b" a", b"Content-Length: 0"),
    "fold-length": head(OK, b"Content-Length:", b" 5"),
    "fold-first": head(OK, b" X: y"),
    "cl-and-te": head(OK, CL5, TE),
    "cl-twice": head(OK, CL5, b"Content-Length: 6"),
    "cl-equal": head(OK, CL5, b"X: y", b"Content-Length: 5, 05"),
    "cl-junk": head(OK, b"Content-Length: 5x"),
    "cl-huge": head(OK, b"Content-Length: 18446744073709551616"),
    "te-gzip": head(OK, b"Transfer-Encoding: gzip"),
    "te-gzip-chunked": head(OK, b"Transfer-Encoding: gzip, chunked"),
    "te-identity": head(OK, b"Transfer-Encoding: identity"),
    "te-twice": head(OK, TE, TE),
    "te-1.0": head(b"HTTP/1.0 200 OK", TE),
    "te-empty-elements": head(OK, b"Transfer-Encoding: ,, chunked ,"),
    "status-99": head(b"HTTP/1.1 099 x"),
    "status-600": head(b"HTTP/1.1 600 x"),
    "status-2-32": head(b"HTTP/1.1 4294967496 x"),
    "http-2": head(b"HTTP/2.0 200 OK"),
    "icy": head(b"ICY 200 OK"),
    "lf-only": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare-cr": head(OK, b"X: a\rb"),
    "nul": head(OK, b"X: a\x00b"),
    "split-header": head(OK, b"X: a\r\nSet-Cookie: b\r\nContent-Length: 0"),
    "two-responses": head(OK, b"Content-Length: 0") * 2,
    "html": b"<html><body>hello</body></html>",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "connection-names-itself": head(OK, b"Connection: connection, x, x", b"X: 1", b"Content-Length: 0"),
    "many-fields": head(OK, *[b"F%d: %d" % (i, i) for i in range(60)]),
    "long-value": head(OK, b"X: " + b"v" * 3000),
}

END = b"0\r\n\r\n"
CHUNKED = {
    "empty": END,
    "one": b"5\r\nhello\r\n" + END,
    "several": b"1\r\na\r\n0A\r\n0123456789\r\n3\r\n\r\nx\r\n" + END,
    "upper-case": b"1A\r\n" + b"x" * 26 + b"\r\n" + END,
    "leading-zeros": b"0000000000000001\r\nx\r\n000\r\n\r\n",
    "seventeen-digits": b"00000000000000001\r\nx\r\n" + END,
    "then-more": END + b"GET / HTTP/1.1\r\n\r\n",
    "max-size": b"7fffffffffffffff\r\nx",
    "over-max": b"8000000000000000\r\nx",
    "2-64": b"10000000000000000\r\nx",
    "negative": b"-1\r\nx",
    "0x": b"0x5\r\nhello\r\n" + END,
    "space-before": b" 5\r\nhello\r\n" + END,
    "space-after": b"5 \r\nhello\r\n" + END,
    "underscore": b"1_0\r\nx",
    "no-digits": b"\r\nx",
    "junk-tail": b"5x\r\nhello\r\n" + END,
    "extension": b"5;a=b;c=\"d\\\"e\";f\r\nhello\r\n0;g\r\n\r\n",
    "extension-blanks": b"5 ; a\t=\tb ;c\r\nhello\r\n" + END,
    "extension-empty": b"5;\r\nhello\r\n" + END,
    "extension-long": b"5;" + b"a" * 5000 + b"\r\nhello\r\n" + END,
    "extension-limit": b"5;" + b"a" * 4095 + b"\r\nhello\r\n" + END,
    # a line end that one reader sees and the other does not
    "term.ext": b"2;\nxx\r\n4c\r\n0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n0\r\n\r\n",
    "ext.term": b"2;\r\nxx\r\n4c\r\n0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n0\r\n\r\n",
    "term.spill": b"5\r\nhelloXX0\r\n\r\n",
    "spill.term": b"5\r\nhello\n" + END,
    "one.two": b"5\r\nhello\r0\r\n\r\n",
    "two.one": b"5\r\nhello\r\n\n" + END,
    "zero.two": b"5\r\nhello0\r\n\r\n",
    "quoted-crlf": b"5;a=\"\r\nhello\r\n0\r\n\r\n",
    "quoted-pair-crlf": b"5;a=\"\\\r\n\"\r\nhello\r\n" + END,
    "bare-lf-size": b"5\nhello\r\n" + END,
    "bare-cr-size": b"5\rhello\r\n" + END,
    "bare-lf-data": b"5\r\nhello\n" + END,
    "bare-lf-last": b"5\r\nhello\r\n0\n\n",
    "nul-extension": b"5;a\x00\r\nhello\r\n" + END,
    "trailers": b"5\r\nhello\r\n0\r\nA: 1\r\nb:2\r\n\r\n",
    "trailers-framing": b"0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: x\r\nok: 1\r\n\r\n",
    "trailers-fold": b"0\r\nA: 1\r\n 2\r\n\r\n",
    "trailers-space-colon": b"0\r\nA : 1\r\n\r\n",
    "trailers-lf": b"0\r\nA: 1\n\r\n",
    "trailers-request": b"0\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n",
    "trailers-many": b"0\r\n" + b"a: b\r\n" * 100 + b"\r\n",
    "cut-in-size": b"5\r\nhello\r\n1",
    "cut-in-data": b"5\r\nhel",
    "many": b"1\r\nx\r\n" * 300 + END,
}

URLS = """
a
example.com
EXAMPLE.com.
example.com:443
a.b:0
a.b:65535
a.b:65536
a.b:+80
a.b:80x
a.b:4294967376
a.b:
:80
a_b-c.d
a..b
.a
a b
a,b
a@b
u:p@a:80
%65xample%2ecom
a%00
a%2fb
a%0d%0ab
a%c3%bc
127.0.0.1
127.1
0x7f.1
0x7f000001
017700000001
2130706433
0177.0.0.01
1.2.3.4.
1.2.3.256
1.2.3.4.5
256.1
4294967296
0x
0x1ffffffff
08.1
a.0x1
example.com.1
169.254.43518
0xa9fea9fe
[::1]
[::1]:443
[0:0:0:0:0:0:0:1]
[::ffff:127.0.0.1]
[::ffff:7f00:1]
[64:ff9b::a9fe:a9fe]
[fe80::1%25eth0]
[fe80::1%eth0]
[::1
::1
[]
[a]
[::127.0.0.1]
[1:2:3:4:5:6:7:8]
[1:2:3:4:5:6:7:8:9]
b\u00fccher.example
B\u00dcCHER.example
\uff11\uff12\uff17.\uff10.\uff10.\uff11
127\u30020\u30020\u30021
fa\u00df.de
a\uff20b
xn--bcher-kva.example
/
/a/../%2F//b?c=/?&d
/a#b
//a@b/
*
?
http://a
http://a/
http://a:80/b?c
HTTPS://A:8443/
http://a?b
http://a#b
http://u:p@a/
http://[::1]:80/
http://0x7f.1/
http://a/?http://b@c/
http:///
http://
http:/a
http:a
https://a:0/
ftp://a/
ws://a/
a:80
://a
""".strip("\n").split("\n")


def url_seeds():
    seeds = {"%02d" % i: u.encode() for i, u in enumerate(URLS)}
    seeds["latin1"] = b"b\xfccher.example"
    seeds["overlong"] = b"\xc0\xae.example"
    seeds["nul"] = b"a\x00b"
    seeds["long-label"] = b"a" * 64 + b".b"
    seeds["long-name"] = b"a.b" * 90
    return seeds


def extension(kind, data=b""):
    return kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def server_name(*names):
    names = b"".join(b"\0" + len(n).to_bytes(2, "big") + n for n in names)
    return extension(0, len(names).to_bytes(2, "big") + names)


def client_hello(*extensions, record=16384, behind=b"", short=0):
    block = b"".join(extensions)
    body = b"\3\3" + bytes(32) + b"\x20" + bytes(32) + b"\0\4\x0a\x0a\x13\1" + b"\1\0" + (len(block) - short).to_bytes(2, "big") + block
    message = b"\1" + len(body).to_bytes(3, "big") + body + behind
    pieces = [message[i:i + record] for i in range(0, len(message), record)]
    return b"".join(b"\x16\3\1" + len(p).to_bytes(2, "big") + p for p in pieces)


ONE = server_name(b"one.test")
VERSIONS = extension(43, b"\6\x3a\x3a\3\4\3\3")
HELLOS = {
    "plain": client_hello(VERSIONS, ONE),
    "upper-case-and-dot": client_hello(server_name(b"ONE.Test.")),
    "no-name": client_hello(VERSIONS),
    "ech": client_hello(server_name(b"public.test"), extension(0xFE0D, bytes(40))),
    "two-names": client_hello(server_name(b"one.test", b"evil.test")),
    "two-extensions": client_hello(ONE, VERSIONS, server_name(b"evil.test")),
    "nul": client_hello(server_name(b"one.test\0evil")),
    "empty-name": client_hello(server_name(b"")),
    "records-of-1": client_hello(ONE, record=1),
    "records-of-50": client_hello(ONE, record=50),
    "behind": client_hello(ONE, behind=b"x"),
    "short": client_hello(ONE, short=1),
    "two": client_hello(ONE) + client_hello(server_name(b"evil.test")),
    "change-cipher-spec-first": b"\x14\3\3\0\1\1" + client_hello(ONE),
    "ssl2": b"\x80\x2e\1\3\1\0\x15\0\0\0\x10" + bytes(40),
    "dtls": b"\x16\xfe\xff" + bytes(8),
    "http": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "h2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
}

# Rules, and a request as the last line (tests/support/policy_text.h).
MATCHERS = {
    "office": "deny ads.example .tracker.example\nallow any from=10.1.0.0/16\nCONNECT www.example:443 from=10.1.9.9 to=?",
    "ci": "allow artifactory.corp.example to=10.20.0.0/16 port=8443\nallow .github.com .pypi.org user=ci\n"
          "CONNECT api.github.com:443 user=? to=?",
    "tenants": "allow .a.example group=a\nallow .b.example group=b\ndeny any group=a,b\nallow any\n"
               "CONNECT www.a.example:443 user=?",
    "ranges": "deny 192.168.1.5\nallow 192.168.0.0/16\nCONNECT 192.168.1.6:443",
    "dialled": "private allow\ndeny 10.0.0.0/8\nallow any !to=8.0.0.0/8\nGET http://a.example/ to=?",
    "maps": "allow {a.example to=10.0.0.0/8 port=1-65535} {b.example !path=/x} any !user=guest\n"
            "GET http://b.example/x user=? to=?",
    "report": "report\ndeny any to=10.0.0.0/8 report\nallow a.example report\ndeny b.example\n"
              "CONNECT a.example:443 to=? user=? sni=?",
    "requests": "deny any path=/admin,~\\.exe$ header=cookie\nallow any method=GET header=x-team:blue\n"
                "GET http://a.example/x/%2e%2e/admin header=X-Team:blue header=Cookie:a",
    "sni": "deny any sni=.bad.example\nallow .a.example sni=.a.example\nCONNECT www.a.example:443 sni=?",
    "time": "allow any time=mon-fri_08:00-18:00 listener=lan\ndeny any time=22:00-06:00\n"
            "GET http://a.example/ at=sat_05:00 listener=lan",
    "labels": "deny any label=red !label=prio=high\nallow any label=blue\nCONNECT a.example:443 user=bob labels=red,blue granted=blue",
    "own": "own 0.0.0.0:3128\nlocal 8.8.8.8\nadmin 127.0.0.1:8128\nallow any to=0.0.0.0/0,::/0 port=any\n"
           "CONNECT a.example:3128 to=?",
    "no-rules": "ports 80,443,8000-8099\nprivate metadata\nGET http://[64:ff9b::a9fe:a9fe]:8080/",
    "nothing": "rules\nGET http://a.example/",
    "many": "".join(f"deny n{i}.example .u{i}.example 10.{i}.0.0/16\n" for i in range(18))
            + "allow .a.example user=bob group=qa to=1.0.0.0/8\ndeny 8.0.0.0/8 from=10.0.0.0/8\nallow any port=1-65535\n"
            + "CONNECT www.a.example:443 user=? to=? from=10.1.2.3",
    "expression": "deny any path=~^(a+)+$\nallow any\nGET http://a.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
}


# --- HTTP/2: what follows the preface ---


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def block(*fields):
    """Literals without indexing, lengths below 127."""
    return b"".join(b"\0" + bytes([len(n)]) + n + bytes([len(v)]) + v for n, v in fields)


H2_GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"example.com"), (b":path", b"/a?b")]
H2_POST = [(b":method", b"POST"), *H2_GET[1:]]
H2_CONNECT = [(b":method", b"CONNECT"), (b":authority", b"example.com:443")]
H2_SOCKET = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *H2_GET[1:], (b"sec-websocket-version", b"13")]
H2_BEGIN = frame(4, 0, 0) + frame(4, 1, 0)


def h2(*frames):
    return H2_BEGIN + b"".join(frames)


def h2_get(*fields):
    return h2(frame(1, 5, 1, block(*H2_GET, *fields)))


H2 = {
    "get": h2_get((b"accept", b"*/*"), (b"user-agent", b"x")),
    "cookies": h2_get((b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")),
    "huffman": h2(frame(1, 5, 1, bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff"))),
    "table": h2(frame(1, 5, 1, block(*H2_GET) + b"\x40\1x\1y"), frame(1, 5, 3, block(*H2_GET) + b"\xbe")),
    "table-size": h2(frame(1, 5, 1, b"\x20" + block(*H2_GET))),
    "post-trailers": h2(frame(1, 4, 1, block(*H2_POST)), frame(0, 0, 1, b"hello"), frame(1, 5, 1, block((b"x-sum", b"5")))),
    "post-length": h2(frame(1, 4, 1, block(*H2_POST, (b"content-length", b"5"))), frame(0, 1, 1, b"hello")),
    "post-length-wrong": h2(frame(1, 4, 1, block(*H2_POST, (b"content-length", b"6"))), frame(0, 1, 1, b"hello")),
    "padded": h2(frame(1, 12, 1, b"\2" + block(*H2_POST) + b"\0\0"), frame(0, 9, 1, b"\3hello\0\0\0")),
    "connect": h2(frame(1, 4, 1, block(*H2_CONNECT)), frame(0, 0, 1, b"ping"), frame(0, 1, 1)),
    "connect-reset": h2(frame(1, 4, 1, block(*H2_CONNECT)), frame(0, 0, 1, b"ping"), frame(3, 0, 1, b"\0\0\0\x0a")),
    "connect-headers": h2(frame(1, 4, 1, block(*H2_CONNECT)), frame(1, 5, 1, block((b"x", b"y")))),
    "websocket": h2(frame(1, 4, 1, block(*H2_SOCKET)), frame(0, 0, 1, b"\x81\5hello")),
    "continuation": h2(frame(1, 1, 1, block(*H2_GET[:2])), frame(9, 0, 1, block(H2_GET[2])), frame(9, 4, 1, block(H2_GET[3]))),
    "windows": h2(frame(4, 0, 0, b"\0\4\0\0\0\1"), frame(1, 4, 1, block(*H2_POST)), frame(8, 0, 1, b"\0\0\0\1"), frame(8, 0, 0, b"\0\0\1\0"), frame(0, 1, 1, b"hello")),
    "control": h2(frame(6, 0, 0, b"12345678"), frame(2, 0, 3, b"\0\0\0\0\x10"), frame(7, 0, 0, b"\0" * 8), frame(0xee, 0, 0, b"?")),
    "priority": h2(frame(1, 0x25, 1, b"\x80\0\0\0\xff" + block(*H2_GET, (b"priority", b"u=1, i")))),
    "upper-case": h2_get((b"X-Upper", b"1")),
    "crlf": h2_get((b"x", b"a\r\nhost: evil")),
    "te-chunked": h2_get((b"transfer-encoding", b"chunked")),
    "host-differs": h2_get((b"host", b"evil.example")),
    "nul": h2_get((b"x", b"a\0b")),
    "late-pseudo": h2(frame(1, 5, 1, block((b"x", b"y"), *H2_GET))),
    "many-streams": h2(*(frame(1, 4, 2 * i + 1, block(*H2_CONNECT)) for i in range(20))),
    "resets": h2(*(frame(1, 5, 2 * i + 1, block(*H2_GET)) + frame(3, 0, 2 * i + 1, b"\0\0\0\x08") for i in range(20))),
    "cut": h2_get()[:-3],
}


def write(folder, seeds):
    where = HERE / folder
    where.mkdir(parents=True, exist_ok=True)
    for old in where.glob("seed-*"):
        old.unlink()
    for name, data in seeds.items():
        (where / ("seed-" + name)).write_bytes(data)
    print(folder, len(seeds), sum(map(len, seeds.values())), "bytes")


if __name__ == "__main__":
    write("h2", H2)
    write("request", REQUESTS)
    write("response", RESPONSES)
    write("chunked", CHUNKED)
    write("url", url_seeds())
    write("clienthello", HELLOS)
    write("matcher", {name: text.encode() for name, text in MATCHERS.items()})
