# SPDX-License-Identifier: MIT
"""Desynchronisation: two parties that count requests or responses differently. What the origin counts must be what the client
was answered, directly and through two proxies in a row, and an origin must not be able to answer a question nobody asked it."""

import socket
import threading

import pytest

from harness import FIN, HttpOrigin, Origin, Truncated, chunk, chunked, request, response


class Bridge(Origin):
    """Joins two proxies: takes each origin-form request of the first, strictly parsed, to the second one in absolute-form. The
    bytes of fields and content are passed on untouched in both directions."""

    def __init__(self, proxy, authority):
        self.second, self.target = proxy, authority.encode()
        super().__init__(self._bridge)

    def _bridge(self, conn):
        onward = self.second.client()
        threading.Thread(target=self._back, args=(onward, conn), daemon=True).start()
        try:
            while head := conn.recv_request_head(within=30):
                method, rest = head.raw_head.split(b" ", 1)
                onward.send(method + b" http://" + self.target + rest)
                conn.recv_content(head, head.framing)
                onward.send(head.raw_body)
        except Truncated:
            onward.hang_up()
        else:
            onward.shut_write()
            onward.wait_ended(within=30)

    @staticmethod
    def _back(onward, conn):
        try:
            while data := onward.recv_some(within=30):
                conn.send(data)
            conn.sock.shutdown(socket.SHUT_RDWR)
        except (OSError, AssertionError):
            pass


@pytest.fixture(params=["one proxy", "two proxies"])
def path(request, proxy, start, web):
    """(a client, the authority to ask for, the origin that counts)"""
    if request.param == "one proxy":
        return proxy.client(), web.authority, web
    second = start({"name": "second"})
    return proxy.client(), Bridge(second, web.authority).authority, web


def answers(client):
    """All complete final answers until the connection ends or falls silent."""
    found = []
    client.shut_write()
    try:
        while True:
            found.append(client.recv_response())
    except Truncated:
        return found


SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: xy\r\n\r\n"  # 36 bytes
HEAD = "POST http://@/outer HTTP/1.1\r\nHost: @\r\n"

# name: bytes; @ is the authority. None of them may bring /smuggled to the origin.
CORPUS = {
    "CL.TE": HEAD + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.CL": HEAD + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5e\r\n" + SMUGGLED + "0\r\n\r\n",
    "CL.CL": HEAD + "Content-Length: 0\r\nContent-Length: 36\r\n\r\n" + SMUGGLED,
    "CL.CL list": HEAD + "Content-Length: 0, 36\r\n\r\n" + SMUGGLED,
    "CL blank": HEAD + "Content-Length : 36\r\n\r\n" + SMUGGLED,
    "CL folded": HEAD + "Content-Length:\r\n 36\r\n\r\n" + SMUGGLED,
    "CL in a folded value": HEAD + "X: y\r\n Content-Length: 36\r\n\r\n" + SMUGGLED,
    "CL behind a bare CR": HEAD + "X: y\rContent-Length: 36\r\n\r\n" + SMUGGLED,
    "CL behind a bare LF": HEAD + "X: y\nContent-Length: 36\r\n\r\n" + SMUGGLED,
    "CL behind an empty name": HEAD + ": y\r\nContent-Length: 36\r\n\r\n" + SMUGGLED,
    "CL with plus": HEAD + "Content-Length: +36\r\n\r\n" + SMUGGLED,
    "CL with NUL": HEAD + "Content-Length: 36\0\r\n\r\n" + SMUGGLED,
    "CL wraps 2^64": HEAD + "Content-Length: 18446744073709551616\r\n\r\n" + SMUGGLED,
    "CL wraps 2^32": HEAD + "Content-Length: 4294967296\r\n\r\n" + SMUGGLED,
    "TE.TE xchunked": HEAD + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.TE blank": HEAD + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.TE tab": HEAD + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.TE VT": HEAD + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.TE bare CR": HEAD + "Transfer-Encoding: x\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.TE bare LF": HEAD + "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.TE two lines": HEAD + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.TE list": HEAD + "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.TE twice": HEAD + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.TE leading blank": HEAD + " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.TE folded": HEAD + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.TE quoted": HEAD + 'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + SMUGGLED,
    "TE.TE semicolon": HEAD + "Transfer-Encoding: chunked;x\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE in 1.0": HEAD.replace("1.1", "1.0") + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunk size wraps": HEAD + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n" + SMUGGLED,
    "chunk size hex prefix": HEAD + "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + SMUGGLED,
    "chunk size sign": HEAD + "Transfer-Encoding: chunked\r\n\r\n-0\r\n\r\n" + SMUGGLED,
    "chunk size empty": HEAD + "Transfer-Encoding: chunked\r\n\r\n\r\n\r\n" + SMUGGLED,
    "chunk extension LF": HEAD + "Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n0\r\n\r\n" + SMUGGLED,
    "chunk extension CR": HEAD + "Transfer-Encoding: chunked\r\n\r\n0;\r\r\n\r\n" + SMUGGLED,
    "chunk quoted line end": HEAD + 'Transfer-Encoding: chunked\r\n\r\n1;a="\r\nX\r\n0\r\n\r\n' + SMUGGLED,
    "chunk data LF": HEAD + "Transfer-Encoding: chunked\r\n\r\n1\r\nX\n0\r\n\r\n" + SMUGGLED,
    "chunk last LF": HEAD + "Transfer-Encoding: chunked\r\n\r\n0\n\n" + SMUGGLED,
    "chunk spill": HEAD + "Transfer-Encoding: chunked\r\n\r\n1\r\nXY\r\n0\r\n\r\n" + SMUGGLED,
    "trailer is no head": HEAD + "Transfer-Encoding: chunked\r\n\r\n0\r\nX : y\r\n\r\n" + SMUGGLED,
    "two Hosts": HEAD + "Host: b\r\n\r\n" + SMUGGLED,
    "LF head": (HEAD + "\r\n").replace("\r\n", "\n") + SMUGGLED,
    "CR head": (HEAD + "\r\n").replace("\r\n", "\r") + SMUGGLED,
    "line end in the target": "GET http://@/x\r\nX: HTTP/1.1\r\nHost: @\r\n\r\n" + SMUGGLED,
    "CONNECT with a length": "CONNECT @ HTTP/1.1\r\nHost: @\r\nContent-Length: 36\r\n\r\n" + SMUGGLED,
    "CONNECT with chunks": "CONNECT @ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n" + SMUGGLED,
    "TRACE with a body": HEAD.replace("POST", "TRACE") + "Content-Length: 36\r\n\r\n" + SMUGGLED,
}


@pytest.mark.parametrize("case", CORPUS)
def test_nothing_is_smuggled(path, case):
    """C39 C40 C41 C43 C46 C54; FAILURES 1 to 8"""
    client, authority, web = path
    client.send(CORPUS[case].replace("@", authority).encode("latin-1"))
    found = answers(client)
    assert "/smuggled" not in web.paths()
    assert len(web.requests) <= len(found)
    assert len(found) <= 1 and all(answer.status >= 400 for answer in found)


# name: (bytes, what the origin must count). Legal, if unusual: all parties have to count alike.
LEGAL = {
    "CL.0": (HEAD.replace("POST", "GET") + "Content-Length: 36\r\n\r\n" + SMUGGLED, ["/outer"]),
    "HEAD with a body": (HEAD.replace("POST", "HEAD") + "Content-Length: 36\r\n\r\n" + SMUGGLED, ["/outer"]),
    "chunks that look like a request": (HEAD + "Transfer-Encoding: chunked\r\n\r\n24\r\n" + SMUGGLED + "\r\n0\r\n\r\n", ["/outer"]),
    "Content_Length": (HEAD + "Content_Length: 99\r\n\r\nGET http://@/2 HTTP/1.1\r\nHost: @\r\n\r\n", ["/outer", "/2"]),
    "Transfer_Encoding": (HEAD + "Transfer_Encoding: chunked\r\n\r\nGET http://@/2 HTTP/1.1\r\nHost: @\r\n\r\n", ["/outer", "/2"]),
    "Connection: content-length": (HEAD + "Connection: content-length\r\nContent-Length: 36\r\n\r\n" + SMUGGLED, ["/outer"]),
    "Connection: transfer-encoding": (HEAD + "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n24\r\n" + SMUGGLED
                                      + "\r\n0\r\n\r\n", ["/outer"]),
    "Connection: host": (HEAD + "Connection: host\r\nContent-Length: 36\r\n\r\n" + SMUGGLED, ["/outer"]),
    "Proxy-Connection: content-length": (HEAD + "Proxy-Connection: content-length\r\nContent-Length: 36\r\n\r\n" + SMUGGLED, ["/outer"]),
    "length 0": (HEAD + "Content-Length: 0\r\n\r\nGET http://@/2 HTTP/1.1\r\nHost: @\r\n\r\n", ["/outer", "/2"]),
    "length with zeros": (HEAD + "Content-Length: 036\r\n\r\n" + SMUGGLED, ["/outer"]),
    "X-HTTP-Method-Override": (HEAD + "X-HTTP-Method-Override: HEAD\r\nContent-Length: 36\r\n\r\n" + SMUGGLED, ["/outer"]),
    "framing fields in trailers": (HEAD + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 36\r\n\r\n"
                                   "GET http://@/2 HTTP/1.1\r\nHost: @\r\n\r\n", ["/outer", "/2"]),
    "Host of another": ("GET http://@/outer HTTP/1.1\r\nHost: internal.example\r\n\r\n", ["/outer"]),
}


@pytest.mark.parametrize("case", LEGAL)
def test_all_count_alike(path, case):
    """C9 C24 C47 C54"""
    client, authority, web = path
    text, expected = LEGAL[case]
    assert text.count(SMUGGLED) == 0 or len(SMUGGLED) == 36
    client.send(text.replace("@", authority).encode("latin-1"))
    found = answers(client)
    assert "/smuggled" not in web.paths()
    if [answer.status for answer in found] != [400]:  # refusing is never wrong here
        assert web.paths() == expected
        assert len(found) == len(expected)


def test_host_of_another_never_arrives(path):
    """C9"""
    client, authority, web = path
    client.ask(request("GET", f"http://{authority}/", host="internal.example"))
    assert "internal.example" not in str(web.requests[0].fields)


def test_two_proxies_add_two_vias(path):
    """C27 C71: and the answer carries both"""
    client, authority, web = path
    answer = client.ask(request("GET", f"http://{authority}/"))
    assert len(web.requests[0].elements("via")) == len(answer.elements("via")) in (1, 2)


def test_bodies_through_the_path(path):
    """The path itself works, or the corpus would prove nothing"""
    client, authority, web = path
    assert client.ask(request("POST", f"http://{authority}/a", body=b"abc")).status == 200
    assert client.ask(request("POST", f"http://{authority}/b", "Transfer-Encoding: chunked", body=chunked(b"d", b"ef"))).status == 200
    assert client.ask(request("GET", f"http://{authority}/c")).body == b"GET /c"
    assert [(req.target, req.body) for req in web.requests] == [("/a", b"abc"), ("/b", b"def"), ("/c", b"")]


# --- the other direction -------------------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
SPLIT = response(200, "X-Smuggled: yes", body=b"smuggled")

# name: what the origin answers. It must be 502.
NONSENSE = {
    "no status line": b"hello\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "lower case": b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "other protocol": b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status wraps 2^32": b"HTTP/1.1 4294967496 OK\r\nContent-Length: 0\r\n\r\n",
    "status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "status with sign": b"HTTP/1.1 +200 OK\r\nContent-Length: 0\r\n\r\n",
    "two blanks": b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
    "CR in the reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
    "no colon": OK + b"X\r\nContent-Length: 0\r\n\r\n",
    "empty name": OK + b": x\r\nContent-Length: 0\r\n\r\n",
    "blank name": OK + b"X Y: z\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": OK + b"X: \0\r\nContent-Length: 0\r\n\r\n",
    "bare CR in a value": OK + b"X: a\rSet-Cookie: b=c\r\nContent-Length: 0\r\n\r\n",
    "bare LF in a head": OK + b"X: a\nSet-Cookie: b=c\r\nContent-Length: 0\r\n\r\n",
    "LF only": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "blank before the first field": OK + b" X: y\r\nContent-Length: 0\r\n\r\n",
    # C43
    "differing lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "differing list": OK + b"Content-Length: 5, 6\r\n\r\nhello!",
    "length with sign": OK + b"Content-Length: +5\r\n\r\nhello",
    "hex length": OK + b"Content-Length: 0x5\r\n\r\nhello",
    "empty length": OK + b"Content-Length:\r\n\r\nhello",
    "2^64": OK + b"Content-Length: 18446744073709551616\r\n\r\n",
    "length and chunked": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    # FAILURES 22
    "endless head": OK + b"X: y\r\n" * 60000,
    "endless line": b"HTTP/1.1 200 " + b"x" * 300000,
    "endless value": OK + b"X: " + b"x" * 300000,
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_of_the_origin_is_502(client, web, case):
    """C2 C37 C43; FAILURES 4 22; S003-7. The connection of the client goes on, that of the origin does not."""
    web.reply = lambda req: NONSENSE[case] if req.target == "/bad" else HttpOrigin.echo_target(req)
    web.keep = False
    answer = client.ask(request("GET", web.url("/bad")))
    if case == "length and chunked" and answer.status == 200:  # 9112 6.3: Transfer-Encoding wins, Content-Length goes
        assert answer.body == b"" and not answer.has("content-length")
        return
    assert answer.status == 502, answer
    assert answer.value("proxy-status")
    assert b"Set-Cookie" not in answer.raw_head
    if not answer.closes:
        assert client.ask(request("GET", web.url("/next"))).body == b"GET /next"


@pytest.mark.parametrize("raw, name, value", [
    (b"X : y\r\n", "X", "y"), (b"X\t : y\r\n", "X", "y"),
    (b"X: a\r\n b\r\n", "X", "a b"), (b"X: a\r\n\t  b\r\n c\r\n", "X", "a b c"),
], ids=["blank before the colon", "tab before the colon", "fold", "two folds"])
def test_repairs_that_the_rfc_demands(client, web, raw, name, value):
    """C5 C6: removed and unfolded in responses"""
    web.reply = OK + raw + b"Content-Length: 2\r\n\r\nok"
    answer = client.ask(request("GET", web.url("/")))
    assert answer.body == b"ok"
    assert " ".join(answer.value(name).split()) == value


def test_blank_before_the_colon_of_a_length(client, web):
    """C5 C54: repaired before it is judged, so two of them still differ"""
    web.reply = OK + b"Content-Length : 2\r\nContent-Length: 50\r\n\r\nok"
    web.keep = False
    assert client.ask(request("GET", web.url("/"))).status == 502


SPLITS = {
    "a second response": response(200, body=b"first") + SPLIT,
    "behind a 204": response(204, body=None) + SPLIT,
    "behind a 304": response(304, "Content-Length: 60", body=None) + SPLIT,
    "behind chunks": response(200, "Transfer-Encoding: chunked", body=chunk(b"first") + b"0\r\n\r\n") + SPLIT,
    "garbage": response(200, body=b"first") + b"garbage",
    "one line end": response(200, body=b"first") + b"\r\n",
}


@pytest.mark.parametrize("case", SPLITS)
def test_extra_bytes_never_answer_the_next_request(single, case):
    """C49 C45; FAILURES 25: response queue poisoning"""
    web = HttpOrigin(lambda req: SPLITS[case] if req.target == "/first" else HttpOrigin.echo_target(req))
    client = single.client()
    assert client.ask(request("GET", web.url("/first"))).body in (b"first", b"")
    for answer in (client.ask(request("GET", web.url("/own"))), single.client().ask(request("GET", web.url("/own")))):
        assert answer.body == b"GET /own" and not answer.has("x-smuggled")
    assert len(web.conns) >= 2


def test_extra_bytes_that_come_late_poison_the_idle_connection(single, origin):
    """C49: bytes that arrive while the connection lies in the pool"""
    client = single.client()
    client.send(request("GET", origin.url("/first")))
    conn = origin.accept()
    conn.recv_request()
    conn.send(response(200, body=b"first"))
    assert client.recv_response().body == b"first"
    conn.send(SPLIT)
    conn.wait_ended()
    client.send(request("GET", origin.url("/second")))
    fresh = origin.accept()
    assert fresh.recv_request().target == "/second"
    fresh.send(response(200, body=b"second"))
    assert client.recv_response().body == b"second"


def test_body_of_a_head_answer_is_not_the_next_answer(single):
    """C45 C49"""
    web = HttpOrigin(lambda req: response(200, body=b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")
                     if req.method == "HEAD" else HttpOrigin.echo_target(req))
    client = single.client()
    assert client.ask(request("HEAD", web.url("/"))).status == 200
    assert client.ask(request("GET", web.url("/next"))).body == b"GET /next"


def test_encoded_line_ends_stay_encoded(client, web):
    """FAILURES 14"""
    web.reply = response(302, "Location: /%0d%0aSet-Cookie:%20a=b", body=b"")
    answer = client.ask(request("GET", web.url("/%0d%0aX-Injected:%20y")))
    assert not answer.has("set-cookie") and not web.requests[0].has("x-injected")


def test_content_of_a_204_or_304_is_not_passed_on(single):
    """C45"""
    web = HttpOrigin(lambda req: b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nHELLO")
    client = single.client()
    answer = client.ask(request("GET", web.url("/")))
    assert answer.status == 304
    client.expect_silence(0.1)


def test_answers_never_cross_clients(single):
    """FAILURES 25: many clients on one worker share the pool"""
    web = HttpOrigin()
    clients = [single.client() for _ in range(20)]
    for turn in range(5):
        for i, client in enumerate(clients):
            client.send(request("GET", web.url(f"/{turn}-{i}")))
        for i, client in enumerate(clients):
            assert client.recv_response().body == f"GET /{turn}-{i}".encode()
    assert len(web.requests) == 100


def test_bridge_passes_a_clean_end(proxy, start, web):
    """The harness of this file: an end is an end through two proxies"""
    client = proxy.client()
    bridge = Bridge(start({"name": "second"}), web.authority)
    client.ask(request("GET", bridge.url("/"), "Connection: close"))
    client.expect_end(FIN)
