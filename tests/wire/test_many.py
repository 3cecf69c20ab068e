# SPDX-License-Identifier: MIT
"""Many requests, quickly: none of them fails (U43)."""

import contextlib
import socket

import pytest

from harness import HttpOrigin, eventually, request, response

SEQUENTIAL, PARALLEL, ON_ONE = 10_000, 1_000, 250
BODY = b"all is well"


@pytest.fixture(name="web")
def answering():
    origin = HttpOrigin()
    origin.reply = response(200, body=BODY)
    yield origin
    origin.close()


def whole_answer(sock, seen=b""):
    """Reads one answer and says whether it is the one that is due."""
    while not seen.endswith(b"\r\n\r\n" + BODY):
        more = sock.recv(4096)
        assert more, f"it ended after {seen!r}"
        seen += more
    assert seen.startswith(b"HTTP/1.1 200 "), seen


def connected(proxy):
    sock = socket.create_connection(("127.0.0.1", proxy.port), timeout=60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@pytest.mark.parametrize("workers", [1, 2])
def test_one_after_the_other(start, web, workers):
    """U43: ten thousand, on connections that are kept for a while"""
    proxy = start({"workers": workers, "log": {"access": "off"}})
    ask = request("GET", web.url("/"))
    for _ in range(SEQUENTIAL // workers // ON_ONE):
        with contextlib.closing(connected(proxy)) as sock:
            for _ in range(ON_ONE):
                sock.sendall(ask)
                whole_answer(sock)


def test_all_at_once(start, web):
    """U43: a thousand clients, none of which waits for another"""
    proxy = start({"log": {"access": "off"}})
    ask = request("GET", web.url("/"))
    with contextlib.ExitStack() as held:
        socks = [held.enter_context(contextlib.closing(connected(proxy))) for _ in range(PARALLEL)]
        for sock in socks:
            sock.sendall(ask)
        for sock in socks:
            whole_answer(sock)
        done = 'ginnel_exchanges_ended_total{reason="done"}'
        eventually(lambda: proxy.metrics().get(done) == PARALLEL, what=f"{done} to be {PARALLEL}")
