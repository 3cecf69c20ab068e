# SPDX-License-Identifier: MIT
"""User instructions an operation, counted by callgrind in the worker's thread: the difference between a run with some operations of a
kind and one with more of them, so that the start and everything else cancels out. One connection at a time, so an operation pays for its turns
of the loop alone: under load it is cheaper."""

import json
import pathlib

import pytest

from harness import binary, request, response
from harness.callgrind import Callgrind
from harness.crowd import Crowd, recv_exactly, recv_head, reset

KB = 1 << 10
FEW, MANY = 30, 330

# Instructions an operation, at most: what was measured, and a tenth. gcc 12, -O2, x86-64. Bring them down with the code.
BUDGET = {
    "fwd": 19600,   # GET, 1 KB, keep-alive on both sides
    "fwdc": 25600,  # the same, a new client connection each: its greeting (which listener, PROXY, TLS, preface?) is 1,200 of it
    "pp": 5200,     # 64 bytes there and back in a tunnel
    "cps": 28000,   # CONNECT, four bytes there and back, RST by the client; folding its record and back is 600 of it
}
# What rules, guard, users and a limit add to a request of "fwd", likewise.
POLICY = 2200
SECRET = "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2"


def optimised():
    """Whether the build is one whose figures mean anything; a binary from elsewhere is taken for one."""
    options = pathlib.Path(binary()).resolve().parent / "meson-info" / "intro-buildoptions.json"
    if not options.exists():
        return True
    values = {option["name"]: option["value"] for option in json.loads(options.read_text())}
    return values.get("optimization") in ("2", "3")


class Load:
    """One operation after the other, both ends in the hands of the test."""

    def __init__(self, ginnel, *fields):
        self.crowd = Crowd(ginnel)
        self.get = request("GET", f"http://{self.crowd.authority}/", *fields)

    def forward(self, client):
        client.sendall(self.get)
        origin = self.crowd.origins[0] if self.crowd.origins else self.crowd.accept()
        recv_head(origin)
        origin.sendall(response(200, body=b"x" * KB))
        head, rest = recv_head(client)
        assert head.startswith(b"HTTP/1.1 200") and rest + recv_exactly(client, KB - len(rest)) == b"x" * KB

    def fwd(self, n):
        client = self.crowd.dial()
        for _ in range(n):
            self.forward(client)

    def fwdc(self, n):
        for _ in range(n):
            client = self.crowd.dial()
            self.forward(client)
            self.crowd.drop(client)

    def pp(self, n):
        tunnel = self.crowd.tunnels(1)[0]
        for _ in range(n):
            for sender, receiver in (tunnel, tunnel[::-1]):
                sender.sendall(b"m" * 64)
                recv_exactly(receiver, 64)

    def cps(self, n):
        for _ in range(n):
            tunnel = self.crowd.tunnels(1)[0]
            reset(tunnel.client)
            with pytest.raises(ConnectionResetError):
                tunnel.origin.recv(1)
            self.crowd.drop(tunnel.client)
            self.crowd.drop(tunnel.origin)


def measure(many):
    """What each thread executes in a run in which there are MANY operations of one kind, and FEW of each other."""
    ginnel = Callgrind({"workers": 1, "log": {"access": "off"}, "timeouts": {"drain": "0s"}})
    load = Load(ginnel)
    for kind in BUDGET:
        getattr(load, kind)(MANY if kind == many else FEW)
    load.crowd.close()
    threads = ginnel.finish()
    ginnel.close()
    return threads


def per_operation(kind, base):
    """The worker is the thread that had more to do."""
    return max(many - few for many, few in zip(measure(kind), base)) // (MANY - FEW)


def test_instructions():
    """BENCH: user instructions per operation are stable, so they are gated"""
    if not optimised():
        pytest.skip("not an optimised build")
    base = measure(None)
    now = {kind: per_operation(kind, base) for kind in BUDGET}
    table = "\n".join(f"  {kind:6} {now[kind]:7} of {BUDGET[kind]:7}" for kind in BUDGET)
    print("\ninstructions an operation, and the budget\n" + table)
    assert all(now[kind] <= BUDGET[kind] for kind in BUDGET), f"\n{table}"


def forwards(many, config, *fields):
    """What each thread executes for so many requests of one connection."""
    ginnel = Callgrind({"workers": 1, "log": {"access": "off"}, "timeouts": {"drain": "0s"}, **config})
    load = Load(ginnel, *fields)
    load.fwd(many)
    load.crowd.close()
    threads = ginnel.finish()
    ginnel.close()
    return threads


def a_request(config, *fields):
    """The password is verified once, by another thread."""
    few, many = forwards(FEW, config, *fields), forwards(MANY, config, *fields)
    assert len(few) == len(many)
    return max(b - a for a, b in zip(few, many)) // (MANY - FEW)


def test_policy(tmp_path):
    """BENCH: what policy costs a request of a kept connection"""
    if not optimised():
        pytest.skip("not an optimised build")
    (tmp_path / "users").write_text(f"john:{SECRET}\n")
    policy = {
        "users": {"file": str(tmp_path / "users")},
        "rules": [{"deny": ["ads.example", ".tracker.example"]}, {"deny": "any", "port": 25}, {"allow": ".example", "user": ["ci"]},
                  {"allow": "127.0.0.0/8", "port": "1-65535", "user": ["john"]}],
        "private": "deny",
        "limits": [{"per": "client", "requests": "1000000/s", "bandwidth": "10GB/s"}],
    }
    plain, with_policy = a_request({}), a_request(policy, "Proxy-Authorization: Basic am9objpzZWNyZXQ=")
    print(f"\npolicy adds {with_policy - plain} of {POLICY} instructions to {plain}")
    assert with_policy - plain <= POLICY
