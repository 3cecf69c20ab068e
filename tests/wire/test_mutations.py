# SPDX-License-Identifier: MIT
"""No byte leaves that a strict parser would refuse (DESIGN 8.1): well-formed messages are damaged at random, the same way in every
run, and whatever comes out on the other side is parsed strictly. GINNEL_TEST_MUTATIONS sets how many are tried. Origins are asked for by
name, and only the scripted server is asked for names: a damaged name never leads out of the machine."""

import os
import random

import pytest

from harness import OPEN, HttpOrigin, Malformed, Origin, Truncated, chunk, request, response

COUNT = int(os.environ.get("GINNEL_TEST_MUTATIONS", "300"))
SEED = int(os.environ.get("GINNEL_TEST_SEED", "1"))

PIECES = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b'"', b"\r\n\r\n", b"\r\n ", b"\xff", b"%0d%0a", b"0", b"-", b"\x0b",
          b"Content-Length: 3\r\n", b"Content-Length: 99\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n",
          b"Connection: close\r\n", b"Connection: content-length\r\n", b"Host: b\r\n", b"Expect: 100-continue\r\n", b"Upgrade: x\r\n",
          b"0\r\n\r\n", b"HTTP/1.1", b"HTTP/1.0", b"GET http://x/ HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n"]


def damaged(dice, message):
    """One to three small damages."""
    data = bytearray(message)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(data) + 1)
        kind = dice.randrange(5)
        if kind == 0:
            data[at:at] = dice.choice(PIECES)
        elif kind == 1:
            del data[at:at + dice.choice((1, 1, 2, 5, 20))]
        elif kind == 2 and at < len(data):
            data[at] = dice.randrange(256)
        elif kind == 3:
            data[at:at] = data[at:at + dice.choice((1, 4, 16, 40))]
        else:
            data[at:at + 1] = dice.choice(PIECES)
    return bytes(data)


NAME = "origin.wire.test"


@pytest.fixture
def lone(start, dns):
    """A proxy that knows one name."""
    dns.answer(NAME, a=["127.0.0.1"])
    return start({"workers": 1, "resolver": {"servers": [dns.address]},
                  "timeouts": {"head": "2s", "connect": "1s", "idle": "2s", "response": "2s", "keepalive": "2s"}})


def requests_for(web, sink):
    url = web.url("/p?q", name=NAME)
    return [
        request("GET", url, "Accept: */*", "X-A: b"),
        request("POST", url, "X-A: b", body=b"abcdef"),
        request("POST", url, "Transfer-Encoding: chunked", "Trailer: X", body=chunk(b"abc", b";e=f") + chunk(b"defg") + b"0\r\nX: y\r\n\r\n"),
        request("HEAD", url, "Connection: keep-alive, x-a", "X-A: b", version="1.0"),
        request("OPTIONS", web.url("", name=NAME), "Max-Forwards: 2", "Via: 1.0 a"),
        request("GET", url, "Connection: Upgrade, TE", "Upgrade: websocket", "TE: trailers"),
        request("CONNECT", f"{NAME}:{sink.port}"),
    ]


def whole_answers(client, raw):
    """Strictly parses what comes until the end; a cut, or raw bytes behind a tunnel's 200, are fine."""
    method = raw.lstrip(b"\r\n").split(b" ")[0].decode("latin-1")
    try:
        while True:
            answer = client.recv_response(method, within=8)
            if method == "CONNECT" and answer.status == 200:
                client.recv_all(within=8)
            method = "GET"  # whatever the damage has put behind
    except Truncated:
        return


@pytest.mark.parametrize("part", range(4))
def test_damaged_requests(lone, part):
    """C1 to C16, C39 to C47 at once; FAILURES 1 to 8, 14, 15"""
    dice = random.Random(SEED * 1000 + part)
    web = HttpOrigin()
    kinds = requests_for(web, Origin(lambda conn: conn.recv_all()))
    for _ in range(COUNT // 4):
        raw = damaged(dice, dice.choice(kinds))
        client = lone.client()
        try:
            client.send(raw)
            client.shut_write()
            whole_answers(client, raw)
        except AssertionError as complaint:
            raise AssertionError(f"{complaint} after {raw!r}") from None
        except OSError:
            pass
        assert client.end != OPEN, f"not ended after {raw!r}"
        client.close()
    # what the origin could not parse strictly is raised when it is closed
    assert not [complaint for complaint in web.complaints if isinstance(complaint, Malformed)], web.complaints


ANSWERS = [
    response(200, "X-A: b", "Set-Cookie: a=b", body=b"abcdef"),
    response(200, "Transfer-Encoding: chunked", body=chunk(b"abc", b";e=f") + chunk(b"defg") + b"0\r\nX: y\r\n\r\n"),
    response(304, "Content-Length: 5", body=None),
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + response(200, "Connection: x-a", "X-A: b", body=b"abc"),
    b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nuntil the close",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nraw",
]


@pytest.mark.parametrize("part", range(4))
def test_damaged_answers(single, part):
    """C5 C6 C40 C43 C45 C48 C49; FAILURES 4 to 8, 25: and the next question gets its own answer"""
    dice = random.Random(SEED * 1000 + 500 + part)
    script = {}
    web = HttpOrigin(lambda req: script["raw"] if req.target == "/bad" else HttpOrigin.echo_target(req))
    for _ in range(COUNT // 4):
        web.keep = dice.random() < 0.2
        script["raw"] = raw = damaged(dice, dice.choice(ANSWERS))
        client = single.client()
        fields = ("Connection: Upgrade", "Upgrade: websocket") if dice.random() < 0.3 else ()
        client.send(request("GET", web.url("/bad"), *fields, version=dice.choice(("1.1", "1.1", "1.0"))))
        try:
            answer = client.recv_response(within=0.3 if web.keep else 8)
            own = answer.status != 101 and not answer.closes and answer.version == "1.1" and client.ended() == OPEN
            if own:
                client.send(request("GET", web.url("/own")))
                head = client.recv_response_head()
                assert client.recv_content(head, head.framing_for("GET")).body == b"GET /own", f"a foreign answer after {raw!r}"
        except Malformed as complaint:
            raise AssertionError(f"{complaint} after {raw!r}") from None
        except Truncated as cut:
            assert cut.end != OPEN
        except AssertionError as complaint:
            assert web.keep and "nothing received" in str(complaint), f"{complaint} after {raw!r}"  # the rest is still awaited
        client.close()


def test_the_same_in_every_run():
    """A failure can be repeated"""
    assert damaged(random.Random(7), b"abc" * 20) == damaged(random.Random(7), b"abc" * 20)
