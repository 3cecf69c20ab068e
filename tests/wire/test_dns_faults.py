# SPDX-License-Identifier: MIT
"""DNS under fault: servers that are dead, slow, stalled, cut short, lying, huge or restarted; floods of names. Whoever asks gets the documented status
in the documented time, other names work meanwhile, and nothing is left behind."""

import struct
import time

import pytest

from harness import NXDOMAIN, SERVFAIL, DnsServer, HttpOrigin, eventually, free_port, parse_proxy_status, request, response, scaled
from harness.dns import address_record, message, wire_name

LOOKUP = 5  # seconds that a lookup takes at most: ginnel(1)


@pytest.fixture
def web():
    """Nothing of it is kept, so that each request needs an address."""
    origin = HttpOrigin(keep=False)
    origin.reply = lambda req: response(200, "Connection: close", body=b"ok")
    return origin


@pytest.fixture
def resolving(start, dns):
    return start({"workers": 1, "resolver": {"servers": [dns.address]}})


def ask(proxy, web, name):
    """A client whose request for that name is on its way."""
    client = proxy.client()
    client.send(request("GET", web.url("/", name=name)))
    return client


def get(proxy, web, name, within=LOOKUP + 2):
    with ask(proxy, web, name) as client:
        return client.recv_response(within=within)


def error_of(answer):
    if answer.status == 200:
        return 200
    _, parameters = parse_proxy_status(answer.values("proxy-status"))[-1]
    return parameters["error"]


# --- answers of all kinds --------------------------------------------------------------------------------------------


def other_id(answer, query):
    return [bytes([answer[0] ^ 1]) + answer[1:]]


def other_question(answer, query):
    return [message(query, address_record("127.0.0.1"), question=wire_name("else.wire.test") + struct.pack("!HH", 1, 1))]


def other_name(answer, query):
    return [message(query, address_record("127.0.0.9", owner=wire_name("else.wire.test")))]


def name_loop(answer, query):
    """A name that points to itself."""
    at = len(message(query))
    return [message(query, struct.pack("!H", 0xc000 | at) + struct.pack("!HHIH", 1, 1, 60, 4) + b"\x7f\0\0\1")]


def name_behind_the_end(answer, query):
    return [message(query, b"\xff\xff" + struct.pack("!HHIH", 1, 1, 60, 4) + b"\x7f\0\0\1")]


def alias_loop_of_pointers(answer, query):
    """The alias's name points to itself."""
    at = len(message(query)) + 12
    return [message(query, b"\xc0\x0c" + struct.pack("!HHIHH", 5, 1, 60, 2, 0xc000 | at))]


def long_record(answer, query):
    return [message(query, b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4000) + b"\x7f\0\0\1")]


def many_counted(answer, query):
    """More records are announced than there are."""
    return [answer[:6] + b"\xff\xff" + answer[8:]]


def big(answer, query):
    """Sixty-odd KB in few records."""
    text = b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 60, 20000) + (b"\xff" + b"x" * 255) * 78 + b"\x1f" + b"x" * 31
    assert len(text) == 12 + 20000
    return [message(query, address_record("127.0.0.1"), text, text, text)]


def four_thousand(answer, query):
    return [message(query, *[address_record(f"127.0.{i >> 8}.{i & 255}") for i in range(4000)])]


def alias_loop(answer, query):
    return [message(query, struct.pack("!H", 0xc00c) + struct.pack("!HHIH", 5, 1, 60, 2) + b"\xc0\x0c")]


def upper_case(answer, query):
    end = 12 + len(wire_name("case.wire.test"))
    return [answer[:12] + answer[12:end].upper() + answer[end:]]


def cut_in_the_middle(answer, query):
    return [answer[:-3]]


FAULTS = {
    "silent": (dict(mute=("A", "AAAA")), "dns_timeout"),
    "slow": (dict(a=["127.0.0.1"], delay=1), 200),
    "servfail": (dict(rcode=SERVFAIL), "dns_error"),
    "formerr": (dict(a=["127.0.0.1"], edns=False), 200),
    "tcp": (dict(a=["127.0.0.1"], cut=True), 200),
    "tcp-slow": (dict(a=["127.0.0.1"], cut=True, delay=0.3), 200),
    "tcp-stall": (dict(a=["127.0.0.1"], cut=True, tcp="stall"), "dns_timeout"),
    "tcp-close": (dict(a=["127.0.0.1"], cut=True, tcp="close"), "dns_error"),
    "tcp-half": (dict(a=["127.0.0.1"], cut=True, tcp="half"), "dns_timeout"),
    "tcp-half-close": (dict(a=["127.0.0.1"], cut=True, tcp="half close"), "dns_error"),
    "other-id": (dict(a=["127.0.0.1"], spoil=other_id), "dns_timeout"),
    "other-question": (dict(spoil=other_question), "dns_timeout"),
    "other-port": (dict(a=["127.0.0.1"], other_port=True), "dns_timeout"),
    "other-name": (dict(spoil=other_name), "dns_error"),
    "name-loop": (dict(spoil=name_loop), "dns_error"),
    "name-behind": (dict(spoil=name_behind_the_end), "dns_error"),
    "alias-pointers": (dict(spoil=alias_loop_of_pointers), "dns_error"),
    "long-record": (dict(spoil=long_record), "dns_error"),
    "many-counted": (dict(a=["127.0.0.1"], spoil=many_counted), "dns_error"),
    "cut-short": (dict(a=["127.0.0.1"], aaaa=["::1"], spoil=cut_in_the_middle), "dns_error"),
    "big": (dict(cut=True, spoil=big), 200),
    "four-thousand": (dict(cut=True, spoil=four_thousand), "dns_error"),
    "alias-loop": (dict(spoil=alias_loop), "dns_error"),
    "chain-8": (dict(a=["127.0.0.1"], aliases=[f"x{i}.wire.test" for i in range(8)]), 200),
    "chain-24": (dict(a=["127.0.0.1"], aliases=[f"x{i}.wire.test" for i in range(24)]), "dns_error"),
    "alias-of-nothing": (dict(aliases=["nothing.wire.test"]), "dns_error"),
    "case": (dict(a=["127.0.0.1"], spoil=upper_case), 200),
    "empty": (dict(soa=False), "dns_error"),
    "ttl-0": (dict(a=["127.0.0.1"], ttl=0), 200),
    "ttl-high": (dict(a=["127.0.0.1"], ttl=1 << 31), 200),
    "ttl-highest": (dict(a=["127.0.0.1"], ttl=(1 << 32) - 1), 200),
    # More than are asked over TCP at the same time
    **{f"tcp-stall-{i}": (dict(a=["127.0.0.1"], cut=True, tcp="stall"), "dns_timeout") for i in range(12)},
}


def test_faults(resolving, dns, web):
    """S003-5 S003-6 C72 U8: all at once; a good name is answered meanwhile"""
    dns.answer("good.wire.test", a=["127.0.0.1"], ttl=0)
    for name, (script, _) in FAULTS.items():
        dns.answer(f"{name}.wire.test", **script)
    assert get(resolving, web, "good.wire.test").status == 200
    before = resolving.fds()
    began = time.monotonic()
    clients = {name: ask(resolving, web, f"{name}.wire.test") for name in FAULTS}
    for _ in range(10):
        asked = time.monotonic()
        assert get(resolving, web, "good.wire.test").status == 200
        assert time.monotonic() - asked < scaled(1)
        time.sleep(0.05)
    wrong = {}
    for name, client in clients.items():
        got = error_of(client.recv_response(within=LOOKUP + 2))
        if got != FAULTS[name][1]:
            wrong[name] = got
        client.close()
    assert not wrong
    assert time.monotonic() - began < scaled(LOOKUP + 1.5)
    assert get(resolving, web, "good.wire.test").status == 200
    eventually(lambda: resolving.fds() <= before, what="descriptors that come back")


def test_one_family_does_not_exist(resolving, dns, ipv6):
    """A server that says NXDOMAIN for A and has an answer for AAAA"""
    six = HttpOrigin(host="::1")
    dns.answer("six.wire.test", aaaa=["::1"], rcodes={"A": NXDOMAIN})
    assert get(resolving, six, "six.wire.test").status == 200


# --- servers that are not there --------------------------------------------------------------------------------------


def test_nobody_there(start, web):
    """S003-5: an ICMP error is an answer: it does not take the whole time. Literals and localhost need nobody (U6)."""
    proxy = start({"workers": 1, "resolver": {"servers": [f"127.0.0.1:{free_port()}"]}})
    began = time.monotonic()
    assert error_of(get(proxy, web, "a.wire.test")) == "dns_error"
    assert time.monotonic() - began < scaled(2)
    for name in ("127.0.0.1", "localhost", "x.localhost"):
        assert get(proxy, web, name).status == 200


def test_tcp_refused(start, web):
    """A cut answer, and nobody there for TCP"""
    dns = DnsServer()
    dns.answer("cut.wire.test", a=["127.0.0.1"], cut=True)
    dns.answer("web.wire.test", a=["127.0.0.1"])
    dns._running.tcp.close()
    proxy = start({"workers": 1, "resolver": {"servers": [dns.address]}})
    assert error_of(get(proxy, web, "cut.wire.test")) in ("dns_error", "dns_timeout")
    assert get(proxy, web, "web.wire.test").status == 200


def test_the_next_server(start, dns, web):
    """One that is dead and one that is silent in front of one that works"""
    silent = DnsServer()
    for name in ("a", "b"):
        silent.silence(f"{name}.wire.test")
        dns.answer(f"{name}.wire.test", a=["127.0.0.1"])
    proxy = start({"workers": 1, "resolver": {"servers": [f"127.0.0.1:{free_port()}", silent.address, dns.address]}})
    assert get(proxy, web, "a.wire.test").status == 200


def test_restart(resolving, dns, web):
    """A server that is away for a while: lookups work again, without a restart of ginnel"""
    for i in range(20):
        dns.answer(f"n{i}.wire.test", a=["127.0.0.1"], ttl=0)
    assert get(resolving, web, "n0.wire.test").status == 200
    dns.stop()
    for i in range(1, 4):
        assert error_of(get(resolving, web, f"n{i}.wire.test")) in ("dns_error", "dns_timeout")
    dns.start()
    assert get(resolving, web, "n4.wire.test").status == 200  # at once
    eventually(lambda: get(resolving, web, "n1.wire.test").status == 200, within=3, what="a name that failed a second ago")


def test_restart_in_the_middle(resolving, dns, web):
    """Lookups that are under way while the server is away a short while"""
    dns.answer("held.wire.test", a=["127.0.0.1"])
    dns.answer("slow.wire.test", a=["127.0.0.1"], delay=30)
    dns.hold()
    held = ask(resolving, web, "held.wire.test")
    eventually(lambda: dns.asked("held.wire.test", "A"), what="the question")
    dns.stop()
    dns.start()
    with dns._lock:
        dns._held = None  # what was asked before is forgotten
    assert held.recv_response(within=LOOKUP + 2).status == 200


def test_stalled_tcp(resolving, dns, web):
    """A connection on which nothing comes any more holds up its own question, and no other one over TCP"""
    dns.answer("stall.wire.test", a=["127.0.0.1"], cut=True, tcp="stall")
    dns.answer("close.wire.test", a=["127.0.0.1"], cut=True, tcp="close")
    dns.answer("slow.wire.test", a=["127.0.0.1"], cut=True, delay=0.3)
    with ask(resolving, web, "stall.wire.test"):
        eventually(lambda: "stall.wire.test" in dns.over_tcp, what="the question over TCP")
        began = time.monotonic()
        slow = ask(resolving, web, "slow.wire.test")
        for _ in range(3):
            assert error_of(get(resolving, web, "close.wire.test")) == "dns_error"
        assert slow.recv_response().status == 200
        assert time.monotonic() - began < scaled(1.5)


# --- floods ----------------------------------------------------------------------------------------------------------


def test_many_names(resolving, dns, web):
    """FAILURES 6: so many lookups at once, no more: 503 and when to come again; known names and literals work on"""
    limit, more = 1024, 6
    dns.answer("known.wire.test", a=["127.0.0.1"])
    assert get(resolving, web, "known.wire.test").status == 200
    before = resolving.fds()
    dns.hold()
    clients = [ask(resolving, web, f"n{i}.wire.test") for i in range(limit)]
    eventually(lambda: len(dns.queries) >= 2 * limit, what="the questions")
    for i in range(more):
        answer = get(resolving, web, f"more{i}.wire.test")
        assert answer.status == 503 and answer.value("retry-after") == "1"
        assert error_of(answer) == "connection_limit_reached"
    assert resolving.wait_access(more, {"ginnel.end": "resolver-busy"})
    for name in ("known.wire.test", "127.0.0.1", "localhost"):
        assert get(resolving, web, name).status == 200
    assert dns.asked("known.wire.test", "A") == 1
    dns.release()
    for client in clients:
        assert error_of(client.recv_response(within=LOOKUP + 2)) == "dns_error"
        client.close()
    dns.answer("after.wire.test", a=["127.0.0.1"])
    assert get(resolving, web, "after.wire.test").status == 200
    eventually(lambda: resolving.fds() <= before, what="descriptors that come back")


def test_many_clients(resolving, dns, web):
    """DESIGN 6: one question, however many wait for the answer"""
    dns.answer("one.wire.test", a=["127.0.0.1"])
    dns.hold()
    clients = [ask(resolving, web, "one.wire.test") for _ in range(500)]
    eventually(lambda: len(dns.queries) >= 2, what="the question")
    time.sleep(0.2)
    dns.release()
    for client in clients:
        assert client.recv_response(within=LOOKUP + 2).status == 200
    assert dns.asked("one.wire.test", "A") == dns.asked("one.wire.test", "AAAA") == 1


# --- past their time -------------------------------------------------------------------------------------------------


def test_stale(start, dns, web):
    """CONFIG stale: past its time an answer is used at once while one refresh runs, and while none succeeds; "no" ends it"""
    config = {"workers": 2, "resolver": {"servers": [dns.address], "stale": "1m"}}
    proxy = start(config)
    for name in ("a", "gone"):
        dns.answer(f"{name}.wire.test", a=["127.0.0.1"], ttl=1)
        assert get(proxy, web, f"{name}.wire.test").status == 200
    time.sleep(1.1)
    dns.stop()
    for _ in range(3):
        began = time.monotonic()
        assert get(proxy, web, "a.wire.test").status == 200
        assert time.monotonic() - began < scaled(3)
    assert proxy.metrics()["ginnel_dns_stale_answers_total"] == 3
    dns.start()
    dns.answer("gone.wire.test", rcode=NXDOMAIN)
    assert get(proxy, web, "gone.wire.test").status == 200
    eventually(lambda: error_of(get(proxy, web, "gone.wire.test")) == "dns_error", what="the end of a name")
    dns.answer("a.wire.test", a=["127.0.0.1"], ttl=60)
    eventually(lambda: get(proxy, web, "a.wire.test").status == 200 and dns.asked("a.wire.test", "A") >= 2, what="a refresh")
    config["resolver"]["stale"] = "0s"
    assert "resolver" in proxy.reload(config)
