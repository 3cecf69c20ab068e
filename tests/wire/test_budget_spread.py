# SPDX-License-Identifier: MIT
"""Connections spread over the workers evenly, also when they are few and long, and when they come at once. A connection goes to another worker
when that one has at least two, and an eighth, less (design 001): so no two differ by more in the end, as long as nobody leaves."""

import collections
import json

import pytest

from harness import eventually
from harness.crowd import Crowd, need_descriptors, recv_head

pytestmark = pytest.mark.workers


def spread(proxy, n):
    """How many client connections each worker has, when there are n in all."""
    def counted():
        found = [worker["sessions"] for worker in proxy.status()["workers"]]
        return found if sum(found) == n else None

    found = eventually(counted, what=f"{n} sessions in all")
    metrics = proxy.metrics()
    assert found == [metrics[f'ginnel_worker_sessions{{worker="{i}"}}'] for i in range(len(found))]
    return found


def check(found, races=0):
    """Within the rule, and nobody with twice the share of another; `races`: workers that accept at the same time may choose the same one."""
    assert max(found) <= min(found) + 2 + min(found) // 8 + races, found
    assert 2 * min(found) >= sum(found) / len(found) >= max(found) / 2, found


def started(start, workers):
    return start({"workers": workers, "log": {"access": "off"}, "timeouts": {"drain": "0s"}})


def burst(crowd, n):
    """n tunnels, asked for at once."""
    clients = [crowd.dial(crowd.connect_bytes) for _ in range(n)]
    for client in clients:
        assert recv_head(client)[0].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("n", [8, 16, 64])
@pytest.mark.parametrize("workers", [2, 4])
def test_one_after_the_other(start, workers, n):
    """Issue 4, speed: few and long ones too"""
    proxy = started(start, workers)
    crowd = Crowd(proxy)
    for _ in range(n):
        crowd.tunnels(1)
    check(spread(proxy, n))


@pytest.mark.parametrize("n", [16, 64, 400])
@pytest.mark.parametrize("workers", [2, 4])
def test_in_a_burst(start, workers, n):
    """Issue 4, speed: what is on its way to a worker counts as its own"""
    need_descriptors(1000)
    proxy = started(start, workers)
    crowd = Crowd(proxy)
    burst(crowd, n)
    check(spread(proxy, n), races=workers)


def test_evens_out_after_some_have_left(start):
    """Connections never move; new ones go to where there are few"""
    proxy = started(start, 4)
    crowd = Crowd(proxy)
    tunnels = crowd.tunnels(32)
    spread(proxy, 32)
    shown = json.loads(proxy.control("GET", "/status?json&exchanges=100").body)["exchanges"]
    served = {exchange["client"]: exchange["worker"] for exchange in shown}
    full = served[next(iter(served))]
    gone = 0
    for tunnel in tunnels:
        host, port = tunnel.client.getsockname()
        if served[f"{host}:{port}"] != full:
            crowd.drop(tunnel.client)
            crowd.drop(tunnel.origin)
            gone += 1
    left = 32 - gone
    alone = spread(proxy, left)
    assert sorted(alone) == [0, 0, 0, left], alone
    for _ in range(gone):
        crowd.tunnels(1)
    check(spread(proxy, 32))


def test_kept_connections_count_too(start, web):
    """A client that keeps its connection is a connection, whatever it asks for: what is spread is connections, not requests"""
    proxy = started(start, 2)
    clients = [proxy.client() for _ in range(16)]
    for client in clients:
        assert client.ask(f"GET {web.url('/')} HTTP/1.1\r\nHost: {web.authority}\r\n\r\n".encode()).status == 200
    check(spread(proxy, 16), races=1)
    assert collections.Counter(web.paths()) == {"/": 16}
