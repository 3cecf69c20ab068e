# SPDX-License-Identifier: MIT
"""Tunnels and kept connections after a reload of other rules. In slices, and while something is on its way: tests/sim/test_recheck.c."""

import time

import pytest

from harness import RST, HttpOrigin, Origin, request
from harness.hello import client_hello

BASE = """\
listen: 127.0.0.1:0
workers: 2
name: wire
log: {access: "@DIR@/access.log", level: info}
timeouts: {drain: 1s}
private: allow
policy: {recheck: %s}
rules:
%s
"""
ALL = "  - {allow: any, port: any, sni: log}"
SOME = "  - {deny: [gone.localhost], name: closed}\n  - {deny: any, sni: .bad.test, name: bad}\n  - {allow: any, port: any, sni: log}"


def conf(recheck, rules):
    return BASE % ("yes" if recheck else "no", rules)


@pytest.fixture
def origin():
    with Origin() as listening:
        yield listening


def tunnel(proxy, origin, name, sent=b""):
    client = proxy.client().connect(f"{name}:{origin.port}")
    conn = origin.accept()
    client.send(sent)
    assert conn.recv_exactly(len(sent)) == sent
    return client, conn


def alive(client, conn):
    client.send(b"ping")
    assert conn.recv_exactly(4) == b"ping"
    conn.send(b"pong")
    assert client.recv_exactly(4) == b"pong"


def test_tunnels_are_judged_again(start, origin):
    """U57, issue: within five seconds, with the new rule in the record"""
    proxy = start(conf(True, ALL))
    stay = [tunnel(proxy, origin, f"stay{i}.localhost", b"x") for i in range(5)]
    go = [tunnel(proxy, origin, "gone.localhost", b"x") for _ in range(5)]
    named = tunnel(proxy, origin, "stay.localhost", client_hello("a.bad.test"))
    silent = tunnel(proxy, origin, "silent.localhost")
    started = time.monotonic()
    proxy.reload(conf(True, SOME))
    for client, conn in [*go, named]:
        assert client.expect_end(RST) == RST and conn.expect_end(RST) == RST
    assert time.monotonic() - started < 8
    records = proxy.wait_access(5, {"ginnel.end": "reload", "ginnel.rule": "closed"})
    assert len(records) == 5 and {r["server.address"] for r in records} == {"gone.localhost"}
    assert len(proxy.wait_access(1, {"ginnel.end": "reload", "ginnel.rule": "bad"})) == 1
    for client, conn in stay:
        alive(client, conn)
    # It has still to say its name.
    silent[0].send(client_hello("b.bad.test"))
    assert silent[0].expect_end(RST) == RST and silent[1].expect_end(RST) == RST
    proxy.wait_access(2, {"ginnel.end": "reload", "ginnel.rule": "bad"})


def test_tunnels_stay_without_it(start, origin):
    """U57"""
    proxy = start(conf(False, ALL))
    client, conn = tunnel(proxy, origin, "gone.localhost", b"x")
    proxy.reload(conf(False, SOME))
    assert proxy.client().ask(request("CONNECT", f"gone.localhost:{origin.port}", host="x")).status == 403
    alive(client, conn)


def test_a_kept_connection_is_judged_again(start):
    """S004-7, issue: private addresses are closed by the reload; the connection is there, and is of no use"""
    with HttpOrigin() as web:
        proxy = start(conf(False, ALL))
        assert proxy.client().ask(request("GET", web.url("/", name="kept.localhost"))).status == 200
        proxy.reload(conf(False, ALL).replace("private: allow", "private: deny"))
        answer = proxy.client().ask(request("GET", web.url("/", name="kept.localhost")))
        assert answer.status == 403 and b"private" in answer.body
        proxy.reload(conf(False, ALL))
        assert proxy.client().ask(request("GET", web.url("/", name="kept.localhost"))).status == 200
        assert len(web.requests) == 2
