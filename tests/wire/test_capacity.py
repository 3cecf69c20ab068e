# SPDX-License-Identifier: MIT
"""At the limit: connections in all and of one address, memory, descriptors; who is refused learns why, who runs goes on, who looks after
ginnel gets in, and everything resumes by itself. And clients that send slowly."""

import contextlib
import os
import resource
import signal
import socket
import time

import pytest

from harness import Client, HttpOrigin, Origin, UnixClient, eventually, request, scaled

REFUSING = 64  # sessions of a worker that wait for the request that they will refuse


def refused(answer, why, connection="close"):
    assert answer.status == 503, answer
    assert answer.value("Retry-After") == "1"
    assert answer.value("Connection") == connection
    assert "error=connection_limit_reached" in answer.value("Proxy-Status")
    assert why in answer.value("Proxy-Status")
    return answer


def connections(proxy):
    return proxy.status()["capacity"]["connections"]


def said(proxy, text):
    eventually(lambda: text in proxy.stderr(), what=f"the line with {text}")


@contextlib.contextmanager
def crowd(proxy, n):
    """n idle clients; back when they have gone."""
    clients = [proxy.client() for _ in range(n)]
    eventually(lambda: connections(proxy) == n, what=f"{n} connections")
    yield clients
    for client in clients:
        client.close()


# --- connections -----------------------------------------------------------------------------------------------------


@pytest.mark.workers
def test_connections_in_all(start, web):
    """U8 S001-25 C72: over the limit 503 with reason and record; those who are there are served; room comes back by itself"""
    proxy = start({"capacity": {"connections": 4}, "admin": "127.0.0.1:0"})
    with crowd(proxy, 4) as clients:
        over = proxy.client()
        refused(over.ask(request("GET", web.url("/over"))), "all connections that clients may have are in use")
        over.expect_end("FIN")
        assert proxy.wait_access(1)[0]["ginnel.end"] == "capacity-connections"
        tunnel = proxy.client()
        tunnel.send(request("CONNECT", web.authority))
        refused(tunnel.recv_response("CONNECT"), "in use")
        for client in clients:
            assert client.ask(request("GET", web.url("/"))).status == 200
        # whoever looks after it gets in
        assert proxy.admin().ask(request("GET", "/healthz", host="localhost")).status == 200
        metrics = proxy.metrics()
        assert metrics["ginnel_capacity_connections"] == 4 and metrics["ginnel_capacity_connections_limit"] == 4
        assert metrics['ginnel_exchanges_ended_total{reason="capacity-connections"}'] == 2
        assert "capacity        4 of 4 connections" in proxy.command("status").stdout
    assert "/over" not in web.paths()
    said(proxy, "capacity.connections (4) is reached")
    assert proxy.stderr().count("capacity.connections") == 1
    eventually(lambda: connections(proxy) == 0, what="the count to come back")
    assert proxy.client().ask(request("GET", web.url("/"))).status == 200


def test_connections_of_an_address(start, web):
    """one address at its limit; the other is served"""
    proxy = start({"capacity": {"per-client": 3}})
    held = [Client(proxy.host, proxy.port, source="127.0.0.1") for _ in range(3)]
    eventually(lambda: connections(proxy) == 3, what="three connections")
    refused(Client(proxy.host, proxy.port, source="127.0.0.1").ask(request("GET", web.url("/"))), "that this client may have")
    assert Client(proxy.host, proxy.port, source="127.0.0.2").ask(request("GET", web.url("/"))).status == 200
    assert proxy.wait_access(2)[0]["ginnel.end"] == "capacity-client"
    said(proxy, "capacity.per-client (3) is reached by 127.0.0.1")
    held.pop().close()
    eventually(lambda: Client(proxy.host, proxy.port, source="127.0.0.1").ask(request("GET", web.url("/"))).status == 200,
               what="room for the address")


def test_unix_clients_have_no_address(start, web, tmp_path):
    """they count in all, and not for each address"""
    proxy = start({"listen": ["127.0.0.1:0", f"unix:{tmp_path}/s"], "capacity": {"per-client": 1, "connections": 3}})
    clients = [UnixClient(tmp_path / "s") for _ in range(3)]
    for client in clients:
        assert client.ask(request("GET", web.url("/"))).status == 200
    refused(UnixClient(tmp_path / "s").ask(request("GET", web.url("/"))), "all connections that clients may have")


def test_reload_changes_the_limits(start, web):
    """raised and lowered while clients are there"""
    proxy = start({"capacity": {"connections": 2}})
    with crowd(proxy, 2) as clients:
        refused(proxy.client().ask(request("GET", web.url("/"))), "in use")
        assert "capacity" in proxy.reload({"capacity": {"connections": 3}})
        third = proxy.client()
        assert third.ask(request("GET", web.url("/"))).status == 200
        proxy.reload({"capacity": {"connections": 100, "per-client": 2}})
        refused(proxy.client().ask(request("GET", web.url("/"))), "that this client may have")
        # nobody is sent away by it
        for client in [*clients, third]:
            assert client.ask(request("GET", web.url("/"))).status == 200


def test_reasons_none_tells_no_details(start, web):
    """DESIGN: how much a refusal tells is `reasons` to say"""
    proxy = start({"capacity": {"connections": 1}, "reasons": "none"})
    with crowd(proxy, 1):
        answer = proxy.client().ask(request("GET", web.url("/")))
        assert answer.status == 503 and answer.value("Proxy-Status") == "wire; error=connection_limit_reached"


def test_more_than_may_refuse(start, web):
    """more than 64 a worker wait in vain: the others are told at once, without a session, and everything comes back"""
    proxy = start({"capacity": {"connections": 1}, "workers": 1})
    base = proxy.fds()
    with crowd(proxy, 1) as (first,):
        waiting = [proxy.client() for _ in range(REFUSING)]
        eventually(lambda: proxy.metrics()["ginnel_sessions"] == 1 + REFUSING, what="the sessions that refuse")
        for _ in range(20):
            client = proxy.client()
            client.send(request("GET", web.url("/")))
            refused(client.recv_response(), "in use")
            client.expect_end("FIN")
        assert proxy.metrics()["ginnel_sessions_turned_away_total"] == 20
        assert first.ask(request("GET", web.url("/"))).status == 200
        refused(waiting[0].ask(request("GET", web.url("/"))), "in use")
        for client in waiting:
            client.close()
    eventually(lambda: proxy.fds() <= base + 1, what="the descriptors to come back")
    assert proxy.client().ask(request("GET", web.url("/"))).status == 200


# --- memory ----------------------------------------------------------------------------------------------------------


def test_memory(start):
    """U8: new connections and new requests are refused, what runs goes on, and it ends by itself"""
    proxy = start({"capacity": {"memory": "6MB"}, "workers": 1})
    tunnels = Origin(lambda conn: conn.recv_all(within=60))
    web = HttpOrigin()
    kept = proxy.client()
    assert kept.ask(request("GET", web.url("/"))).status == 200
    held = []
    try:
        # A head of 60 KB that is not complete is memory.
        while proxy.status()["capacity"]["memory_bytes"] < (6 << 20) + (256 << 10) and len(held) < 200:
            client = proxy.client()
            if len(held) == 1:
                client.connect(tunnels.authority)
            else:
                client.send(request("GET", web.url("/"))[:-2] + b"X-a: " + b"x" * 50000)
            held.append(client)
        eventually(lambda: proxy.status()["capacity"]["memory_bytes"] >= 6 << 20, what="the memory to be used up")
        time.sleep(0.05)
        with contextlib.suppress(AssertionError):
            proxy.client().ask(request("GET", web.url("/")))  # the first that notices may be let in
        time.sleep(0.05)
        refused(proxy.client().ask(request("GET", web.url("/"))), "the memory for connections and requests is in use")
        refused(kept.ask(request("GET", web.url("/"))), "the memory for connections and requests is in use")
        kept.expect_end("FIN")
        held[1].send(b"still here")
        eventually(lambda: tunnels.conns[0].received == b"still here", what="the tunnel to go on")
        assert proxy.control("GET", "/healthz").status == 200
        metrics = proxy.metrics()
        assert metrics["ginnel_capacity_memory_limit_bytes"] == 6 << 20
        said(proxy, "capacity.memory is reached")
    finally:
        for client in held:
            client.close()
    eventually(lambda: proxy.status()["capacity"]["memory_bytes"] < 6 << 20, what="the memory to come back")
    eventually(lambda: proxy.client().ask(request("GET", web.url("/"))).status == 200, what="service")


def test_counted_memory_comes_back(start, web):
    """U8: what is counted after many connections is what was counted before, though they went through several threads"""
    proxy = start()

    def mixture(n):
        for i in range(n):
            with proxy.client() as client, proxy.client() as tunnel, proxy.client() as other:
                client.ask(request("GET", web.url("/"), "X-a: " + "x" * 20000))
                tunnel.connect(web.authority)
                other.ask(request("GET", f"http://localhost:{web.port}/" if i % 2 else "http://127.0.0.1:1/"))
        eventually(lambda: proxy.metrics()["ginnel_sessions"] == 0, what="all to have gone")

    mixture(30)
    before = proxy.status()["capacity"]["memory_bytes"]
    for seconds in range(30, 33):
        mixture(20)
        proxy.reload({"timeouts": {"idle": f"{seconds}s"}})
    assert abs(proxy.status()["capacity"]["memory_bytes"] - before) < 256 << 10


def test_memory_does_not_depend_on_ulimit(start):
    """U59: the limit of open files is a number to compare with; the highest one here is 2^30 in some containers"""
    if start.instrumented():
        pytest.skip("sanitizers have memory of their own")
    limits = [256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]]
    proxies = [start(wrap=["prlimit", f"--nofile={limit}:{limit}"]) for limit in limits]
    assert [proxy.status()["descriptors"]["limit"] for proxy in proxies] == limits
    assert abs(proxies[0].rss() - proxies[1].rss()) < 6 << 20


@pytest.mark.workers
def test_idle_connections_go_first(start, web):
    """what is kept for later is given up before anybody is refused, also by a worker that nobody asks"""
    proxy = start({"capacity": {"memory": "6MB"}})

    def kept():
        return [worker["kept"] for worker in proxy.status()["workers"]]

    for _ in range(10):
        clients = [proxy.client() for _ in range(6)]
        for client in clients:
            client.send(request("GET", web.url("/")))
        for client in clients:
            assert client.recv_response().status == 200
        if min(kept()) > 1:
            break
    assert min(kept()) > 1, kept()
    held = []
    while proxy.status()["capacity"]["memory_bytes"] < (6 << 20) + (256 << 10) and len(held) < 200:
        held.append(proxy.client())
        held[-1].send(request("GET", web.url("/"))[:-2] + b"X-a: " + b"x" * 50000)
    proxy.client().send(request("GET", web.url("/")))
    # that of this one may be kept
    eventually(lambda: sum(kept()) <= 1, what="the kept connections of both workers to be closed")
    # those who had begun are not ended
    for client in held:
        client.expect_silence(0.01)


# --- descriptors -----------------------------------------------------------------------------------------------------


def until_full(proxy, web):
    """Clients until one is turned away for lack of descriptors."""
    clients = []
    while len(clients) < 200:
        client = proxy.client()
        client.send(request("GET", web.url("/")))
        answer = client.recv_response()
        if answer.status == 503:
            assert "out of file descriptors" in answer.value("Proxy-Status")
            return clients
        clients.append(client)
    raise AssertionError("the descriptors do not run out")


@pytest.mark.workers
def test_service_at_the_limit_of_descriptors(start, web):
    """FAILURES 24: logs are opened, configurations read, questions answered while clients have taken all they may have; then it resumes"""
    proxy = start({"admin": "127.0.0.1:0"}, wrap=["prlimit", "--nofile=128:128"])
    clients = until_full(proxy, web)
    assert proxy.fds() >= 128 - 32 - 4
    for _ in range(3):
        assert proxy.command("status").returncode == 0
        assert proxy.admin().ask(request("GET", "/metrics", host="localhost")).status == 200
    assert proxy.reload({"admin": "127.0.0.1:0", "timeouts": {"idle": "77s"}}).startswith("reloaded")
    proxy.access_path.rename(proxy.dir / "access.log.1")
    proxy.signal(signal.SIGUSR1)
    eventually(proxy.access_path.exists, what="a new log file")
    # those who are there are served: their connection to the origin was made before
    answered = [client.ask(request("GET", web.url("/"))).status for client in clients[:5]]
    assert set(answered) <= {200, 503} and 200 in answered
    # accepting neither spins nor waits for somebody to come
    waiting = [proxy.client() for _ in range(30)]
    before = proxy.cpu_seconds()
    time.sleep(0.5)
    assert proxy.cpu_seconds() - before < scaled(0.2)
    for client in waiting + clients:
        client.close()
    eventually(lambda: proxy.client().ask(request("GET", web.url("/"))).status == 200, what="service to resume")


def test_queued_client_is_served_when_there_is_room(start, web):
    """FAILURES 24: who waits in the queue gets in without anybody else having to come"""
    proxy = start({"workers": 1}, wrap=["prlimit", "--nofile=64:64"])
    clients = until_full(proxy, web)
    for client in clients:
        client.close()
    late = proxy.client()
    assert late.ask(request("GET", web.url("/")), within=5).status == 200


def test_dial_at_the_limit_of_descriptors(start, web):
    """a request whose connection would get a kept descriptor: 503, and the next one is served when there is one"""
    proxy = start({"workers": 1}, wrap=["prlimit", "--nofile=64:64"])
    tunnels = []
    origin = Origin(lambda conn: conn.recv_all(within=60))
    idle = [proxy.client() for _ in range(6)]
    eventually(lambda: connections(proxy) == 6, what="six idle clients")
    while len(tunnels) < 64:
        client = proxy.client()
        client.send(request("CONNECT", origin.authority))
        if client.recv_response("CONNECT").status != 200:
            break
        tunnels.append(client)
    answer = idle[0].ask(request("GET", web.url("/")))
    assert answer.status == 503 and "out of file descriptors" in answer.value("Proxy-Status")
    assert proxy.wait_access(1, {"ginnel.end": "no-descriptors"})
    tunnels.pop().close()
    eventually(lambda: idle[1].ask(request("GET", web.url("/"))).status == 200, what="a descriptor")


# --- slow senders ----------------------------------------------------------------------------------------------------


def test_slowloris(start, web):
    """many heads that trickle end at the deadline, and nobody else waits for them"""
    proxy = start({"timeouts": {"head": "1s"}})
    began = time.monotonic()
    slow = [proxy.client() for _ in range(40)]
    for client in slow:
        client.send(b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n")
    open_ones = list(slow)
    while open_ones and time.monotonic() - began < scaled(4):
        for client in list(open_ones):
            try:
                client.sock.setblocking(False)
                if client.sock.recv(65536, socket.MSG_PEEK) is not None:
                    open_ones.remove(client)
                    continue
            except BlockingIOError:
                pass
            except OSError:
                open_ones.remove(client)
                continue
            with contextlib.suppress(OSError):
                client.sock.send(b"X-a: b\r\n")
        assert proxy.client().ask(request("GET", web.url("/"))).status == 200
        time.sleep(0.1)
    assert not open_ones
    assert len(proxy.wait_access(40, {"ginnel.end": "request-timeout"})) == 40
    assert time.monotonic() - began >= 1


@pytest.mark.skipif("GINNEL_TEST_LONG" not in os.environ, reason="takes ten seconds: GINNEL_TEST_LONG=1; tests/sim/test_slow.c has it, too")
def test_slow_upload(start, origin):
    """body-rate: 408 after ten seconds in which the origin waited"""
    proxy = start({"timeouts": {"body-rate": "1KB/s"}})
    client = proxy.client()
    client.send(request("POST", origin.url("/"), "Content-Length: 100000"))
    conn = origin.accept()
    conn.recv_request_head()
    began = time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - began < 9:
            client.send(b"x" * 100)
            time.sleep(0.25)
    answer = client.recv_response(within=6)
    assert answer.status == 408 and "too slowly" in answer.value("Proxy-Status")
    assert 9.5 <= time.monotonic() - began
    assert proxy.wait_access()[0]["ginnel.end"] == "request-timeout"
