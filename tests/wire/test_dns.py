# SPDX-License-Identifier: MIT
"""Names: what is asked, what is not, what is remembered, and what a failure becomes."""

import time

import pytest

from harness import NXDOMAIN, REFUSED, SERVFAIL, BlackHole, HttpOrigin, Origin, free_port, parse_proxy_status, quickest, request, scaled


@pytest.fixture
def resolving(start, dns):
    """A proxy with one worker that asks the scripted server."""
    return start({"workers": 1, "resolver": {"servers": [dns.address]}})


def get(proxy, web, name, path="/", within=5):
    return proxy.client().ask(request("GET", web.url(path, name=name)), within=within)


def failed(answer, status, error):
    assert answer.status == status, answer
    _, parameters = parse_proxy_status(answer.values("proxy-status"))[-1]
    assert parameters["error"] == error
    return parameters


# --- answers -------------------------------------------------------------------------------------------------------


def test_name(resolving, dns, web):
    """S001-2 C9"""
    dns.answer("web.wire.test", a=["127.0.0.1"])
    assert get(resolving, web, "web.wire.test").status == 200
    assert web.requests[0].value("host") == f"web.wire.test:{web.port}"
    assert dns.asked("web.wire.test", "A") == dns.asked("web.wire.test", "AAAA") == 1


def test_connect_to_a_name(resolving, dns, origin):
    """S000-1"""
    dns.answer("web.wire.test", a=["127.0.0.1"])
    resolving.client().connect(f"web.wire.test:{origin.port}").send(b"x")
    assert origin.accept().recv_exactly(1) == b"x"


def test_ipv6_only_name(resolving, dns, ipv6):
    """S002-15 DESIGN 6: two queries"""
    web = HttpOrigin(host="::1")
    dns.answer("six.wire.test", aaaa=["::1"])
    assert get(resolving, web, "six.wire.test").status == 200


@pytest.mark.parametrize("name", ["WEB.wire.TEST", "web.wire.test."])
def test_spelling_of_a_name(resolving, dns, web, name):
    """C12: one name, however it is written"""
    dns.answer("web.wire.test", a=["127.0.0.1"])
    assert get(resolving, web, name).status == 200
    assert dns.asked("web.wire.test")


def test_underscores_and_long_names(resolving, dns, web):
    """9110 4.2: what DNS allows"""
    name = "_a_b." + "x" * 63 + ".wire.test"
    dns.answer(name, a=["127.0.0.1"])
    assert get(resolving, web, name).status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "017700000001", "127.1"])
def test_literals_are_never_asked_for(resolving, dns, web, host):
    """U6: no query for a literal; odd spellings are addresses too"""
    assert get(resolving, web, host).status == 200
    assert dns.queries == []


@pytest.mark.parametrize("name", ["localhost", "LocalHost", "x.localhost"])
def test_localhost_is_never_asked_for(resolving, dns, web, name):
    """DESIGN 6; RFC 6761"""
    assert get(resolving, web, name).status == 200
    assert dns.queries == []


def test_no_search_list_by_default(resolving, dns, web):
    """CONFIG search: no"""
    dns.answer("short", a=["127.0.0.1"])
    assert get(resolving, web, "short").status == 200
    assert {name for name, _ in dns.queries} == {"short"}


def test_address_ranges_cause_no_lookup(start, dns, web):
    """U7: judging a client's address asks nobody and costs nothing"""
    ranges = ["127.0.0.0/8", "::1"] + [f"10.{i // 256}.{i % 256}.0/24" for i in range(500)] + [f"2001:db8:{i:x}::/48" for i in range(500)]
    proxy = start({"clients": ranges, "resolver": {"servers": [dns.address]}})
    client = proxy.client()
    began = time.monotonic()
    for _ in range(20):
        assert client.ask(request("GET", web.url("/"))).status == 200
    assert time.monotonic() - began < scaled(1)
    assert dns.queries == []


@pytest.mark.parametrize("family, asked", [(4, "A"), (6, "AAAA")])
def test_family(start, dns, web, ipv6, family, asked):
    """U9: one family only"""
    proxy = start({"resolver": {"servers": [dns.address], "family": family}})
    dns.answer("web.wire.test", a=["127.0.0.1"], aaaa=["::1"])
    get(proxy, web, "web.wire.test")
    assert {kind for _, kind in dns.queries} == {asked}


def test_prefer_4(start, dns, ipv6):
    """U9: family order is settable"""
    four = HttpOrigin()
    HttpOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nsix", host="::1", port=four.port)
    dns.answer("web.wire.test", a=["127.0.0.1"], aaaa=["::1"])
    proxy = start({"resolver": {"servers": [dns.address], "family": "prefer-4"}})
    assert get(proxy, four, "web.wire.test").body == b"GET /"


# --- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rcode", [NXDOMAIN, SERVFAIL, REFUSED])
def test_failure(resolving, dns, web, rcode):
    """S000-8 S002-6 S003-5 C72: 502 dns_error"""
    dns.answer("bad.wire.test", rcode=rcode)
    parameters = failed(get(resolving, web, "bad.wire.test", within=8), 502, "dns_error")
    if rcode == NXDOMAIN:
        assert parameters.get("rcode") == "NXDOMAIN"
    client = resolving.client()
    client.send(request("CONNECT", "bad.wire.test:1"))
    failed(client.recv_response("CONNECT", within=8), 502, "dns_error")


def test_name_without_address(resolving, dns, web):
    """S003-5: NODATA"""
    dns.answer("empty.wire.test")
    failed(get(resolving, web, "empty.wire.test"), 502, "dns_error")


def test_silent_server(resolving, dns, web):
    """S003-6 C72: 504 dns_timeout, after five seconds at most"""
    dns.silence("silent.wire.test")
    began = time.monotonic()
    failed(get(resolving, web, "silent.wire.test", within=9), 504, "dns_timeout")
    assert time.monotonic() - began < scaled(6.5)


def test_one_silent_name_does_not_hold_up_others(resolving, dns, web):
    """U8"""
    dns.silence("silent.wire.test")
    dns.answer("web.wire.test", a=["127.0.0.1"])
    resolving.client().send(request("GET", web.url("/", name="silent.wire.test")))
    began = time.monotonic()
    assert get(resolving, web, "web.wire.test").status == 200
    assert time.monotonic() - began < scaled(3)


def test_slow_server(resolving, dns, web):
    """S003-6: slow is not silent"""
    dns.answer("slow.wire.test", a=["127.0.0.1"], delay=0.5)
    assert get(resolving, web, "slow.wire.test").status == 200


def test_aaaa_that_never_comes(resolving, dns, web):
    """U9: an answer for one family is used; broken AAAA does not cost the whole timeout for ever"""
    dns.answer("half.wire.test", a=["127.0.0.1"], mute=("AAAA",))
    assert get(resolving, web, "half.wire.test", within=8).status == 200


def test_client_that_leaves_while_resolving(resolving, dns):
    """U8"""
    dns.silence("silent.wire.test")
    clients = [resolving.client() for _ in range(10)]
    for client in clients:
        client.send(request("CONNECT", "silent.wire.test:1"))
    time.sleep(0.1)
    for client in clients:
        client.reset()
    time.sleep(0.1)
    assert resolving.client().ask(request("GET", "http://ginnel.internal/")).status == 200


# --- memory --------------------------------------------------------------------------------------------------------


def test_answers_are_remembered(resolving, dns, web):
    """U60"""
    web.keep = False  # no connection is used again, so the address is needed each time
    dns.answer("web.wire.test", a=["127.0.0.1"], ttl=60)
    for _ in range(5):
        assert get(resolving, web, "web.wire.test").status == 200
    assert dns.asked("web.wire.test", "A") == 1


@pytest.mark.workers
def test_memory_is_shared_by_workers(start, dns, web):
    """DESIGN 4: facts are shared"""
    proxy = start({"workers": 2, "resolver": {"servers": [dns.address]}})
    dns.answer("web.wire.test", a=["127.0.0.1"], ttl=60)
    get(proxy, web, "web.wire.test")
    for _ in range(12):
        get(proxy, web, "web.wire.test")
    assert dns.asked("web.wire.test", "A") == 1


def test_ttl_is_honoured(resolving, dns):
    """U60: after the TTL the new address is used, not before"""
    old = HttpOrigin(host="127.0.0.1", keep=False)
    new = HttpOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew", host="127.0.0.3", port=old.port)
    old.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nold"
    dns.answer("web.wire.test", a=["127.0.0.1"], ttl=2)
    assert get(resolving, old, "web.wire.test").body == b"old"
    dns.answer("web.wire.test", a=["127.0.0.3"], ttl=2)
    assert get(resolving, old, "web.wire.test").body == b"old"
    time.sleep(2.3)
    assert get(resolving, old, "web.wire.test").body == b"new"
    assert len(new.requests) == 1


def test_ttl_cap(start, dns, web):
    """U60: min(TTL, cap)"""
    proxy = start({"workers": 1, "resolver": {"servers": [dns.address], "ttl-max": "1s"}})
    dns.answer("web.wire.test", a=["127.0.0.1"], ttl=3600)
    web.keep = False
    get(proxy, web, "web.wire.test")
    time.sleep(1.3)
    get(proxy, web, "web.wire.test")
    assert dns.asked("web.wire.test", "A") == 2


@pytest.mark.parametrize("rcode", [NXDOMAIN, 0])
def test_negative_answers_are_remembered(resolving, dns, web, rcode):
    """U60: for the SOA's minimum"""
    dns.answer("no.wire.test", rcode=rcode, negative_ttl=2)
    for _ in range(3):
        assert get(resolving, web, "no.wire.test").status == 502
    assert dns.asked("no.wire.test", "A") == 1
    dns.answer("no.wire.test", a=["127.0.0.1"])
    time.sleep(2.3)
    assert get(resolving, web, "no.wire.test").status == 200


def test_one_query_in_flight_a_name(resolving, dns, web):
    """DESIGN 6"""
    dns.answer("web.wire.test", a=["127.0.0.1"], delay=0.2)
    clients = [resolving.client() for _ in range(10)]
    for client in clients:
        client.send(request("GET", web.url("/", name="web.wire.test")))
    for client in clients:
        assert client.recv_response().status == 200
    assert dns.asked("web.wire.test", "A") == dns.asked("web.wire.test", "AAAA") == 1


# --- several addresses ---------------------------------------------------------------------------------------------


def test_the_next_address_is_tried(resolving, dns, web):
    """U9 S000-8: one refusal is not the end"""
    dns.answer("web.wire.test", a=["127.0.0.2", "127.0.0.1"])
    for _ in range(3):
        assert get(resolving, web, "web.wire.test").status == 200


def test_all_addresses_refuse(resolving, dns, web):
    """S002-6"""
    dns.answer("web.wire.test", a=["127.0.0.2", "127.0.0.4"])
    failed(get(resolving, web, "web.wire.test"), 502, "connection_refused")


def test_refused_ipv6_falls_back_at_once(resolving, dns, ipv6):
    """U9"""
    dns.answer("web.wire.test", a=["127.0.0.1"], aaaa=["::1"])

    def timed():
        web = HttpOrigin()  # at a new port nothing is known of the dead address
        began = time.monotonic()
        assert get(resolving, web, "web.wire.test").status == 200
        return time.monotonic() - began

    assert quickest(timed, scaled(0.2)) < scaled(0.2)


def test_black_holed_ipv6_costs_little_and_once(resolving, dns, ipv6):
    """U9 U60: at most 300 ms, then the dead address is remembered"""
    port = free_port()
    hole = BlackHole("::1", port)
    web = HttpOrigin(port=port)
    web.keep = False
    assert hole.port == web.port
    dns.answer("web.wire.test", a=["127.0.0.1"], aaaa=["::1"])

    def timed():
        began = time.monotonic()
        assert get(resolving, web, "web.wire.test").status == 200
        return time.monotonic() - began

    assert 0.2 < timed() < 0.3 + scaled(1)  # tests/sim knows the time exactly
    assert quickest(timed, scaled(0.1)) < scaled(0.1)


def test_peer_address_in_the_log(resolving, dns, web):
    """S001-12: the address that was dialled; DESIGN 8.7"""
    dns.answer("web.wire.test", a=["127.0.0.2", "127.0.0.1"])
    get(resolving, web, "web.wire.test")
    record = resolving.wait_access()[0]
    assert record["server.address"] == "web.wire.test"
    assert (record["network.peer.address"], record["network.peer.port"]) == ("127.0.0.1", web.port)
    assert record["ginnel.dns_ms"] >= 0


def test_answers_from_strangers_are_ignored(resolving, dns, web):
    """FAILURES 17: an answer with another id or name does not count"""
    dns.answer("web.wire.test", a=["127.0.0.1"], forge=True)
    assert get(resolving, web, "web.wire.test").status == 200


def test_tunnel_to_several_addresses(resolving, dns):
    """U9"""
    origin = Origin(host="127.0.0.3")
    dns.answer("web.wire.test", a=["127.0.0.2", "127.0.0.3"])
    resolving.client().connect(f"web.wire.test:{origin.port}")
    origin.accept()
