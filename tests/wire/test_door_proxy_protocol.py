# SPDX-License-Identifier: MIT
"""PROXY headers: from those who are named, where they are required, and from nobody else (C86)."""

import ipaddress
import json
import struct
import time

import pytest

from harness import FIN, Client, eventually, request
from harness.certs import Authority
from harness.tls import TlsClient

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
BALANCER, OTHER = "127.0.0.2", "127.0.0.3"


def v1(source="198.51.100.7", port=40000):
    return f"PROXY TCP4 {source} 192.0.2.1 {port} 443\r\n".encode()


def v2(source="198.51.100.7", port=40000, command=1, tlvs=b""):
    if not command:
        return SIGNATURE + bytes([0x20, 0]) + struct.pack("!H", 0)
    address = ipaddress.ip_address(source)
    rest = address.packed + ipaddress.ip_address("192.0.2.1" if address.version == 4 else "2001:db8::1").packed + struct.pack("!HH", port, 443) + tlvs
    return SIGNATURE + bytes([0x21, 0x11 if address.version == 4 else 0x21]) + struct.pack("!H", len(rest)) + rest


def config(**more):
    return {"listen": {"address": "127.0.0.1:0", "name": "edge", "proxy-protocol": {"from": [f"{BALANCER}/32"]}}, "clients": "any", **more}


@pytest.fixture
def edge(start):
    return start(config())


def arrive(proxy, header, source=BALANCER):
    client = Client(proxy.host, proxy.port, source=source)
    client.send(header)
    return client


def refused(proxy):
    return proxy.metrics()["ginnel_proxy_headers_refused_total"]


HEADERS = ((v1(), "198.51.100.7"), (v2(), "198.51.100.7"), (v2("2001:db8::9"), "2001:db8::9"), (v2(tlvs=b"\x04\0\x03abc\x02\0\x08one.test"), "198.51.100.7"))


def test_headers(edge):
    """Both versions, however they come; logs and the proxy's own page see the client, and the balancer beside it"""
    ask = request("GET", "http://ginnel.internal/")
    n = 0
    for header, address in HEADERS:
        for way in ("alone", "with the request", "byte by byte"):
            client = Client(edge.host, edge.port, source=BALANCER)
            if way == "alone":
                client.send(header)
                time.sleep(0.02)
                client.send(ask)
            elif way == "with the request":
                client.send(header + ask)
            else:
                client.send_bytewise(header + ask)
            told = json.loads(client.recv_response().body)
            assert told["client_address"] == address and told["client_port"] == 40000, (header, way)
            n += 1
    assert len(edge.wait_access(n, {"client.port": 40000, "ginnel.balancer.address": BALANCER})) == n


def test_required_and_from_nobody_else(edge):
    """A balancer that sends none, one that sends nonsense, and others who would like to be somebody else"""
    for data in (request("GET", "http://ginnel.internal/"), b"PROXY TCP4 1.2.3.4\r\n", SIGNATURE + b"\x41\0\0\0", b"\x16\x03\x01\0\x05hello"):
        arrive(edge, data).wait_ended()
    for header in (v1(), v2()):
        arrive(edge, header + request("GET", "http://ginnel.internal/"), OTHER).wait_ended()
    assert refused(edge) == 6
    assert edge.access() == []
    eventually(lambda: "does not name this sender" in edge.stderr(), what="it to be said")
    client = Client(edge.host, edge.port, source=OTHER)
    told = json.loads(client.ask(request("GET", "http://ginnel.internal/")).body)
    assert told["client_address"] == OTHER
    assert client.ask(request("PROPFIND", "http://ginnel.internal/")).status == 405


def test_health_checks(edge):
    """LOCAL, and v1 UNKNOWN: the balancer itself; one that only connects is no news"""
    for header in (v2(command=0), b"PROXY UNKNOWN\r\n"):
        told = json.loads(arrive(edge, header).ask(request("GET", "http://ginnel.internal/")).body)
        assert told["client_address"] == BALANCER
    arrive(edge, v2(command=0)).shut_write()
    arrive(edge, b"").close()
    assert refused(edge) == 0


def test_rules_limits_and_capacity_see_the_client(start):
    """The header's address is admitted or not, has its own share of connections, and the balancer none"""
    proxy = start(config(clients=["198.51.100.0/24"], capacity={"per-client": 2}))
    admitted = [arrive(proxy, v1("198.51.100.7")) for _ in range(2)]
    for client in admitted:
        assert client.ask(request("GET", "http://ginnel.internal/")).status == 200
    third = arrive(proxy, v1("198.51.100.7"))
    assert third.ask(request("GET", "http://ginnel.internal/")).status == 503
    for last in range(8, 14):
        assert arrive(proxy, v2(f"198.51.100.{last}")).ask(request("GET", "http://ginnel.internal/")).status == 200
    assert arrive(proxy, v1("203.0.113.1")).ask(request("GET", "http://ginnel.internal/")).status == 403
    for client in admitted:
        client.close()
    eventually(lambda: arrive(proxy, v1("198.51.100.7")).ask(request("GET", "http://ginnel.internal/")).status == 200, what="its places to be free again")


def test_header_has_its_time(start):
    """Three seconds at least, whatever `timeouts.head` says; then it is closed, and said"""
    proxy = start(config(timeouts={"head": "100ms"}))
    slow, silent = (Client(proxy.host, proxy.port, source=BALANCER) for _ in range(2))
    slow.send(v1()[:10])
    time.sleep(1.5)
    slow.send(v1()[10:] + request("GET", "http://ginnel.internal/"))
    assert slow.recv_response().status == 200
    silent.expect_end(FIN)
    eventually(lambda: "no PROXY header came in time" in proxy.stderr(), what="it to be said")


def test_before_tls(start, tmp_path):
    """The header comes before the handshake"""
    authority = Authority(tmp_path)
    pair = authority.issue("one.test")
    base = config()
    base["listen"]["tls"] = {"cert": str(pair.cert), "key": str(pair.key)}
    proxy = start(base)
    client = TlsClient(proxy.host, proxy.port, authority.client_context(["http/1.1"]), "localhost", source=BALANCER, before=v2())
    assert json.loads(client.ask(request("GET", "http://ginnel.internal/")).body)["client_address"] == "198.51.100.7"
    with pytest.raises((OSError, AssertionError)):
        TlsClient(proxy.host, proxy.port, authority.client_context(["http/1.1"]), "localhost", source=BALANCER)


def test_a_reload_changes_who_is_believed(start):
    proxy = start(config())
    changed = config()
    changed["listen"]["proxy-protocol"]["from"] = [f"{OTHER}/32"]
    assert "changed listen" in proxy.reload(changed)
    assert json.loads(arrive(proxy, v1(), OTHER).ask(request("GET", "http://ginnel.internal/")).body)["client_address"] == "198.51.100.7"
    arrive(proxy, v1(), BALANCER).wait_ended()
