# SPDX-License-Identifier: MIT
"""Many exchanges on one HTTP/2 connection: what one of them does, or the connection, leaves the others as they are."""

import time

import pytest

from harness import OPEN, Client, H2Client, HttpOrigin, Origin, request, response, scaled
from harness.h2raw import CONTINUATION, END_HEADERS, HEADERS, INITIAL_WINDOW_SIZE, RawH2, block, connect, frame, get, headers
from harness.hello import client_hello
from harness.origin import H2Origin


def raw_of(proxy, **options):
    return RawH2(Client(*proxy.listeners[0]), **options).begin()


def test_keepalive_begins_again(start):
    """CONFIG keepalive: it is between requests that a connection waits, however short they were (DESIGN 5)"""
    web = HttpOrigin(response(body=b"x" * 12000))  # it leaves at once, nothing is queued behind it
    proxy = start({"timeouts": {"keepalive": "1500ms"}})
    conn = H2Client(*proxy.listeners[0])
    for _ in range(8):
        time.sleep(0.3)
        assert not conn.goaways, "closed while it was in use"
        assert conn.request("GET", "http", web.authority, "/").recv_response().status == 200
    began = time.monotonic()
    for _ in range(50):
        if conn.end != OPEN:
            break
        conn.h2.ping(b"12345678")
        with conn.changed:
            conn._pump()
        time.sleep(0.1)
    assert conn.end != OPEN and time.monotonic() - began > 1.0, "PINGs are no requests"


def test_connection_dies_with_many_streams(start):
    """FAILURES 22: a hundred exchanges in every state lose their connection at once"""
    origin, web = Origin(), HttpOrigin(response(body=b"x" * 3000000))
    proxy = start()
    for end in ("reset", "close"):
        raw = raw_of(proxy, own=[(INITIAL_WINDOW_SIZE, 10)])
        for i in range(90):
            fields = connect(origin.authority) if i % 3 == 0 else get(web.authority) if i % 3 == 1 else get("unknown.invalid")
            raw.send(headers(2 * i + 1, *fields, end=i % 3 != 0))
        if end == "reset":
            raw.peer.reset()
        else:
            raw.peer.close()
    with proxy.client() as client:
        assert client.ask(request("GET", HttpOrigin().url("/"))).status == 200


@pytest.mark.parametrize("window", [0, 100, 65535])
def test_looked_at_before_a_small_window(start, certificates, window):
    """U49 C64: the first message of a tunnel was read before anything was dialled; the parent's window takes it bit by bit, and nothing is lost"""
    parent = H2Origin(context=certificates.server_context(["h2"]), window=window)
    rules = [{"deny": "any", "port": "any", "sni": ".bad.test"}, {"allow": "any", "port": "any"}]
    proxy = start({"trust": [str(certificates.ca)], "upstream": [{"via": [f"https://{parent.authority}"]}], "rules": rules})
    client = Client(*proxy.listeners[0])
    said = client_hello("name.test")
    client.send(request("CONNECT", "name.test:443"))
    assert client.recv_response_head().status == 200
    client.send(said)
    there = parent.accept().accept()
    there.send_head([(":status", "200")])
    if not window:
        time.sleep(scaled(0.2))
        with there.conn.changed:
            there.conn.h2.increment_flow_control_window(100000, there.id)
            there.conn._pump()
    assert there.recv_exactly(len(said)) == said
    client.send(b"more" * 100)
    assert there.recv_exactly(400) == b"more" * 100


def test_refused_head_request(start, web):
    """C45: whatever the answer to a HEAD says, it has no content; also where the head itself is refused"""
    raw = RawH2(Client(*start().listeners[0])).begin()
    for stream, (method, path) in zip(range(1, 9, 2), [("GET", "/x#frag"), ("HEAD", "/x#frag"), ("GET", "/" + "x" * 40000), ("HEAD", "/" + "x" * 40000)]):
        fields = get(web.authority, path, method=method)
        whole = block(*fields)
        pieces = [whole[i:i + 16384] for i in range(0, len(whole), 16384)]
        raw.send(frame(HEADERS, 1 if len(pieces) > 1 else 5, stream, pieces[0]),
                 *(frame(CONTINUATION, END_HEADERS if piece is pieces[-1] else 0, stream, piece) for piece in pieces[1:]))
        answer = raw.answer(stream)
        assert answer.status in (400, 414, 431) and answer.ended, answer
        assert bool(answer.body) == (method == "GET"), answer
