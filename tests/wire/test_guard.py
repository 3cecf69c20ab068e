# SPDX-License-Identifier: MIT
"""The guard (`private`): no program is tricked into reaching the inside. FAILURES 17, U2 U3 U4.

Everything happens in a network namespace in which every address is at home and answers, so what is not refused is reached, and seen.
BLOCKS is a copy of IANA's registries of special-purpose addresses, made by hand; it is not the program's."""

import contextlib
import ipaddress
import subprocess
import time

import pytest

from harness import Client, DnsServer, Ginnel, eventually, free_port, parse_proxy_status, request, run_ginnel, scope
from harness.everywhere import Everywhere

# https://www.iana.org/assignments/iana-ipv4-special-registry, …/iana-ipv6-special-registry, and multicast
BLOCKS = """
0.0.0.0/8           this network
10.0.0.0/8          private use
100.64.0.0/10       shared address space (carrier-grade NAT)
127.0.0.0/8         loopback
169.254.0.0/16      link-local
172.16.0.0/12       private use
192.0.0.0/24        IETF protocol assignments
192.0.0.0/29        IPv4 service continuity
192.0.0.8/32        IPv4 dummy address
192.0.0.9/32        Port Control Protocol anycast
192.0.0.10/32       TURN anycast
192.0.0.170/31      NAT64/DNS64 discovery
192.0.2.0/24        documentation
192.31.196.0/24     AS112
192.52.193.0/24     AMT
192.88.99.0/24      6to4 relay anycast, deprecated
192.168.0.0/16      private use
192.175.48.0/24     direct delegation AS112
198.18.0.0/15       benchmarking
198.51.100.0/24     documentation
203.0.113.0/24      documentation
224.0.0.0/4         multicast
240.0.0.0/4         reserved
255.255.255.255/32  limited broadcast
::1/128             loopback
::/128              unspecified
::/96               IPv4-compatible, deprecated
64:ff9b:1::/48      IPv4-IPv6 translation, local use
100::/64            discard only
100:0:0:1::/64      dummy prefix
2001::/23           IETF protocol assignments
2001::/32           Teredo
2001:1::1/128       Port Control Protocol anycast
2001:1::2/128       TURN anycast
2001:1::3/128       DNS-SD service registration anycast
2001:2::/48         benchmarking
2001:3::/32         AMT
2001:4:112::/48     AS112
2001:10::/28        ORCHID, deprecated
2001:20::/28        ORCHIDv2
2001:30::/28        drone remote id
2001:db8::/32       documentation
2002::/16           6to4
2620:4f:8000::/48   direct delegation AS112
3fff::/20           documentation
5f00::/16           segment routing identifiers
fc00::/7            unique local
fe80::/10           link-local
fec0::/10           site-local, deprecated
ff00::/8            multicast
"""
BLOCKS = [ipaddress.ip_network(line.split()[0]) for line in BLOCKS.strip().splitlines()]
# what clouds answer at; the last is in none of the blocks
METADATA = ["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"]
CASES = [str(block) for block in BLOCKS] + METADATA
INSIDE = ["127.0.0.1", "10.0.0.1", "169.254.169.254"]
GOOD4, GOOD6 = "8.8.4.4", "2600:1::4"


def samples(case):
    """The first address, the last one, and one between them; a metadata address is itself."""
    block = ipaddress.ip_network(case)
    chosen = dict.fromkeys([block[0], block[-1], block[block.num_addresses * 5 // 8]])
    return [str(address) for address in chosen]


def bracketed(address):
    return f"[{address}]" if ":" in address else address


def names_of(case, kind):
    """A name for each sample of the case: (name, address)."""
    return [(f"{kind}{i}.case{CASES.index(case)}.test", address) for i, address in enumerate(samples(case))]


def embedded(address):
    """The IPv6 addresses that carry an IPv4 one, by the way they do it."""
    v4 = int(ipaddress.ip_address(address))
    hi, lo = v4 >> 16, v4 & 0xffff
    return {
        "mapped": f"::ffff:{hi:x}:{lo:x}",
        "compatible": f"::{hi:x}:{lo:x}",
        "NAT64": f"64:ff9b::{hi:x}:{lo:x}",
        "NAT64, local /96": f"64:ff9b:1::{hi:x}:{lo:x}",
        "NAT64, local /48": f"64:ff9b:1:{hi:x}:{lo >> 8:x}:{(lo & 0xff) << 8:x}::",
        "6to4": f"2002:{hi:x}:{lo:x}::1",
        "Teredo, the client": f"2001:0:4136:e378:8000:63bf:{hi ^ 0xffff:x}:{lo ^ 0xffff:x}",
        "Teredo, the server": f"2001:0:{hi:x}:{lo:x}:8000:63bf:f7f7:fbfb",
        "ISATAP": f"2600:1:2:3::5efe:{hi:x}:{lo:x}",
        "ISATAP, universal": f"2600:1:2:3:200:5efe:{hi:x}:{lo:x}",
    }


# --- the place ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world():
    try:
        made = Everywhere()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespace here: {error}")
    made.clients = 0  # connections that the tests have opened themselves
    yield made
    made.close()


@pytest.fixture(scope="module")
def names(world):
    """The resolver that is asked. It outlives the tests, as do the proxies below."""
    dns = world.call(DnsServer)
    scope.forget(dns)
    yield dns
    dns.close()


def start(world, names, **config):
    base = {"workers": 1, "resolver": {"servers": [names.address]}}
    return world.call(Ginnel, {**base, **config}, tracked=False)


@pytest.fixture(scope="module")
def running(world, names):
    ginnel = start(world, names, private="deny")
    yield ginnel
    ginnel.close()


@pytest.fixture
def guarded(running):
    """A proxy of this machine with `private: deny` and without rules, so that nothing but the guard refuses."""
    yield running
    assert running.alive(), f"ginnel died during this test:\n{running.stderr()[-6000:]}"
    running.check_log()


def new_client(world, ginnel):
    world.clients += 1
    return world.call(Client, ginnel.host, ginnel.port)


def ask(world, ginnel, method, target, *fields):
    """One request on a connection of its own. `target` is host:port; a CONNECT that passes is used for one request inside."""
    client = new_client(world, ginnel)
    if method != "CONNECT":
        host = target.rsplit(":", 1)[0] if target.endswith(":80") else target
        return client.ask(request(method, f"http://{host}/", *fields))
    answer = client.ask(request("CONNECT", target))
    if answer.status == 200:
        answer = client.ask(request("GET", "/", host="inside"))
    client.close()
    return answer


def assert_refused(answer):
    """403, and the type of error says that it is the address."""
    assert answer.status == 403, f"{answer}: {answer.body[:200]}"
    error = parse_proxy_status(answer.values("proxy-status"))[-1][1].get("error")
    assert error == "destination_ip_prohibited", answer


@contextlib.contextmanager
def nobody_dials(world):
    """Nobody but the test's own clients opens a connection meanwhile, with success or without."""
    clients, opens, talks = world.clients, world.opens(), len(world.talks)
    yield
    opened = world.opens() - opens - (world.clients - clients)
    assert opened == 0, f"{opened} connections were tried, to {world.talks[talks:]}"


def assert_not_dialled(world, *addresses):
    dialled = world.dialled() & {ipaddress.ip_address(address) for address in addresses}
    assert not dialled, f"these were dialled: {', '.join(map(str, dialled))}"


def assert_reached(answer, *addresses):
    assert answer.status == 200, f"{answer}: {answer.body[:300]}"
    assert answer.body.decode() in addresses, f"{answer.body} answered, not one of {addresses}"


# --- every block, in every way to ask for it ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", ["CONNECT", "GET"])
def test_literal(world, guarded, method, case):
    """U3 FAILURES 17: written as an address"""
    with nobody_dials(world):
        for address in samples(case):
            assert_refused(ask(world, guarded, method, f"{bracketed(address)}:80"))


@pytest.mark.parametrize("case", CASES)
def test_name(world, names, guarded, case):
    """U3 FAILURES 17: a name that has the address, and no other"""
    with nobody_dials(world):
        for name, address in names_of(case, "n"):
            names.answer(name, **records(address))
            for method in ("CONNECT", "GET"):
                assert_refused(ask(world, guarded, method, f"{name}:80"))


def records(*addresses, ttl=60):
    return {"a": [a for a in addresses if ":" not in a], "aaaa": [a for a in addresses if ":" in a], "ttl": ttl}


@pytest.mark.parametrize("case", CASES)
def test_name_with_a_good_and_a_bad_address(world, names, guarded, case):
    """U3 FAILURES 17: the bad one is dropped, wherever it stands; the good one serves, in its own family or in the other"""
    for name, bad in names_of(case, "b"):
        for i, addresses in enumerate([(bad, GOOD4), (GOOD6, bad), (bad, GOOD4, GOOD6)]):
            names.answer(f"o{i}.{name}", **records(*addresses))
            assert_reached(ask(world, guarded, "CONNECT" if i else "GET", f"o{i}.{name}:80"), GOOD4, GOOD6)
    assert_not_dialled(world, *samples(case))


@pytest.fixture(scope="module")
def rebound(world, names, running):
    """All names for the tests of rebinding have had their first lookup, by a request that passed; the second is still to come."""
    for case in CASES:
        for name, bad in names_of(case, "r"):
            names.answer(name, **records(GOOD6 if ":" in bad else GOOD4, ttl=0))
    with world.call(Client, running.host, running.port) as client:
        for case in CASES:
            for name, _ in names_of(case, "r"):
                assert_reached(client.ask(request("GET", f"http://{name}/")), GOOD4, GOOD6)
    for case in CASES:
        for name, bad in names_of(case, "r"):
            names.answer(name, **records(bad, ttl=0))
    time.sleep(1.1)  # nothing of a TTL of zero is remembered longer than a second


@pytest.mark.parametrize("case", CASES)
def test_rebinding(world, names, guarded, rebound, case):
    """U3 FAILURES 17: the second lookup has another answer; the connection that the first one left in the pool does not help"""
    with nobody_dials(world):
        for name, _ in names_of(case, "r"):
            asked = names.asked(name)
            for method in ("GET", "CONNECT"):
                assert_refused(ask(world, guarded, method, f"{name}:80"))
            assert names.asked(name) > asked


@pytest.fixture(scope="module")
def reloaded(world, names):
    """A proxy that reached everything, has the connections still, and was then told not to. Gives (proxy, the addresses reached)."""
    ginnel = start(world, names, private="allow")
    reached = set()
    for case in CASES:
        with world.call(Client, ginnel.host, ginnel.port) as client:
            for name, address in names_of(case, "p"):
                names.answer(name, **records(address))
                for host in (bracketed(address), name):
                    answer = client.ask(request("GET", f"http://{host}/"))
                    assert answer.status in (200, 502), answer  # 502: what no socket can dial, multicast for one
                    if answer.status == 200:
                        reached.add(address)
    ginnel.write_config({"workers": 1, "resolver": {"servers": [names.address]}, "private": "deny"})
    done = ginnel.command("reload")
    assert done.returncode == 0, done.stderr
    world.forget()
    yield ginnel, reached
    ginnel.close()


@pytest.mark.parametrize("case", CASES)
def test_kept_connection_from_before_a_reload(world, reloaded, case):
    """U3 FAILURES 17: a connection in the pool is judged like a new one"""
    ginnel, _ = reloaded
    requests = len(world.requests)
    with nobody_dials(world):
        for name, address in names_of(case, "p"):
            for host in (bracketed(address), name):
                assert_refused(ask(world, ginnel, "GET", f"{host}:80"))
    assert len(world.requests) == requests


def test_the_trap_works(reloaded):
    """What the tests above rely on: without the guard nearly all of these are reached."""
    _, reached = reloaded
    missed = [a for case in CASES for a in samples(case) if a not in reached]
    impossible = ["224.0.0.0/4", "127.255.255.255/32", "255.255.255.255/32", "ff00::/8", "fe80::/10"]  # no TCP goes there, or not without an interface's name
    impossible = [ipaddress.ip_network(net) for net in impossible]
    assert not [a for a in missed if not any(ipaddress.ip_address(a) in net for net in impossible)]


@pytest.mark.parametrize("case", CASES)
def test_upgrade(world, names, guarded, case):
    """U3 FAILURES 17: what would become a tunnel by 101"""
    fields = ("Connection: upgrade", "Upgrade: websocket")
    with nobody_dials(world):
        for name, address in names_of(case, "u"):
            names.answer(name, **records(address))
            for host in (bracketed(address), name):
                assert_refused(ask(world, guarded, "GET", f"{host}:80", *fields))


def test_upgrade_to_a_good_address(world, guarded):
    """The positive of the test above."""
    client = new_client(world, guarded)
    answer = client.ask(request("GET", f"http://{GOOD4}/", "Connection: upgrade", "Upgrade: websocket"))
    assert answer.status == 101
    client.send(b"echo")
    assert client.recv_exactly(4) == b"echo"


def outside():
    """The addresses just before and just after each block that are in no block themselves."""
    for block in BLOCKS:
        for address in (int(block[0]) - 1, int(block[-1]) + 1):
            if 0 <= address < 1 << block.max_prefixlen:
                address = type(block[0])(address)
                if not any(address in other for other in BLOCKS if other.version == block.version):
                    yield str(address)


def test_next_to_the_blocks(world, guarded):
    """U3: no more is refused than that"""
    unicast = ipaddress.ip_network("2000::/3")  # what is beyond that is nobody's, and may be refused
    tried = [a for a in dict.fromkeys(outside()) if "." in a or ipaddress.ip_address(a) in unicast]
    assert len(tried) > 40
    refused = [a for a in tried if ask(world, guarded, "CONNECT", f"{bracketed(a)}:80").status != 200]
    assert not refused


# --- IPv4 inside IPv6 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", embedded("127.0.0.1"))
@pytest.mark.parametrize("inside", INSIDE)
def test_embedded(world, names, guarded, inside, way):
    """U2 U3 FAILURES 17: ::ffff:, 64:ff9b::, and the other ways to write an IPv4 address into an IPv6 one"""
    address = embedded(inside)[way]
    name = f"e.{INSIDE.index(inside)}.{''.join(c for c in way if c.isalnum())}.test"
    names.answer(name, **records(address))
    with nobody_dials(world):
        for host in (bracketed(address), name):
            for method in ("CONNECT", "GET"):
                assert_refused(ask(world, guarded, method, f"{host}:80"))


def test_embedded_public_address(world, guarded):
    """U2: a mapped address is the IPv4 address that it is"""
    assert_reached(ask(world, guarded, "CONNECT", f"[{embedded(GOOD4)['mapped']}]:80"), GOOD4)
    assert_reached(ask(world, guarded, "GET", f"[::ffff:{GOOD4}]:80"), GOOD4)


# --- spellings ---------------------------------------------------------------------------------------------------------


def spellings():
    """Ways to write the three addresses that something somewhere understands."""
    for address in ("169.254.169.254", "127.0.0.1"):
        value = int(ipaddress.ip_address(address))
        a, b, c, d = parts = ipaddress.ip_address(address).packed
        wide = str.maketrans("0123456789", "".join(chr(0xff10 + i) for i in range(10)))
        yield address
        yield from (f"{address}.", f"{address}..", f".{address}", f"[{address}]")
        yield from (str(value), hex(value), hex(value).upper().replace("0X", "0x"), f"0{value:o}", f"00{value:o}", f"0x{value:016x}")
        yield from (str(value + (1 << 32)), f"{value}.", f"+{value}", f"{value:032b}")
        yield from (f"{a}.{value & 0xffffff}", f"{a}.{b}.{value & 0xffff}", f"0x{a:x}.{value & 0xffffff}", f"{a}.0x{value & 0xffffff:x}")
        yield from (".".join(hex(p) for p in parts), ".".join(f"0{p:o}" for p in parts), ".".join(f"{p:03d}" for p in parts))
        yield from (f"0{a:o}.{b}.{c}.{d}", f"{a}.{b}.{c}.0{d:o}", f"{a}.{b}.{c}.0x{d:x}", f"0x{a:x}.0{b:o}.{c}.{d}", f"{a}.{b}.{c}.{d:03d}")
        yield from (f"{a + 256}.{b}.{c}.{d}", f"{a}.{b}.{c}.{d + 256}", f"{a}.{b}.{c}.{d}.0", f"{a}.{b}.{c}.{d}%00", f"{a}.{b}.{c}.{d}%20")
        yield from (f"{address}%2e", f"{address}%00.good.test", f"{address}%23.good.test", f"{address}%2f.good.test", f"{address}%5c.good.test")
        yield "".join(f"%{ord(ch):02x}" for ch in address)
        yield address.replace(".", "%2e")
        yield address.replace("1", "%31", 1)
        yield from (address.translate(wide), address.replace(".", "\u3002"), address.replace(".", "\uff0e"), address.replace(".", "\uff61"))
        yield from (address.translate(wide).replace(".", "\u3002"), address.replace("1", "\u2460", 1), address.replace("2", "\u00b2", 1))
        yield from (address.replace(".", "\u3002", 1), f"{address}\u3002", address.replace("1", "1\u00ad", 1), address.replace("1", "1\u200b", 1))
        yield from (f"xn--{address}", f"{address}@good.test", f"good.test@{address}", f"good.test:80@{address}", f"good.test\\@{address}")
        yield from (f"{address}#@good.test", f"{address}?@good.test", f"{address};good.test", f"{address},good.test", f"{address}\\.good.test")
        yield from (f"[::ffff:{address}]", f"[::FFFF:{address}]", f"[0:0:0:0:0:ffff:{value >> 16:x}:{value & 0xffff:x}]", f"[::{address}]")
        yield from (f"[0000:0000:0000:0000:0000:ffff:{value >> 16:04x}:{value & 0xffff:04x}]", f"[::ffff:{address}%25lo]", f"[::ffff:{address}%lo]")
        yield from (f"[::ffff:0:{address}]", f"[64:ff9b::{address}]", f"[2002:{value >> 16:x}:{value & 0xffff:x}::]", f"::ffff:{address}")
        yield from (f"[::ffff:{hex(value)}]", f"[::ffff:0{a:o}.{b}.{c}.{d}]", f"[::ffff:{a}.{value & 0xffffff}]", f"[ffff::ffff:{address}:1]")
    yield from ("[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::01]", "[::0001]", "[0::1]", "[::0:1]", "[0::0:1]")
    yield from ("[::1%25lo]", "[::1%lo]", "[::1%1]", "[::1%251]", "[::1%]", "[::1%25]", "[fe80::1%25lo]", "[fe80::1%lo]", "[fe80::1]", "[::1].")
    yield from ("[::0.0.0.1]", "[::00001]", "[:::1]", "[::1::]", "[0:0:0:0:0:0:0:0:1]", "[1]", "[]", "[::", "[::1", "::1]", "::1", "0::1", "[::1]x")
    yield from ("[v1.::1]", "[::%31]", "%5b::1%5d", "[\uff1a\uff1a1]", "[::\uff11]", "[::1\u3002]", "[0x::1]", "[::0x1]", "[::]", "[0::]", "[::0]")
    yield from ("0", "00", "0x0", "0.0", "0.0.0.0", "0.0.0.0.", "1", "127.1", "127.0.1", "127.1.", "127.65530", "2130706433.", "0x7f.1", "017700000001")
    yield from ("localhost", "localhost.", "LOCALHOST", "LocalHost.", "loc%61lhost", "\uff4cocalhost", "\u24db\u24de\u24d2alhost", "LOCALHO\u017fT")


SPELLINGS = list(dict.fromkeys(spellings()))


def raw_ask(world, ginnel, line, host):
    client = new_client(world, ginnel)
    answer = client.ask(line + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    client.close()
    return answer


@pytest.mark.parametrize("name", SPELLINGS)
def test_spelling(world, names, guarded, name):
    """U2 FAILURES 17: refused as malformed, or normalised and then refused; no connection, and no question to a resolver, leads there"""
    asked = len(names.queries)
    host = name.encode()
    with_port = host + b":80"
    with nobody_dials(world):
        for line, field in ((b"CONNECT " + with_port, with_port), (b"GET http://" + host + b"/", host),
                            (b"GET http://" + with_port + b"/", with_port), (b"GET http://good.test@" + host + b"/", host)):
            answer = raw_ask(world, guarded, line, field)
            assert answer.status in (400, 403), f"{line!r}: {answer} {answer.body[:200]}"
            if answer.status == 403:
                assert_refused(answer)
    assert names.queries[asked:] == []


def test_spellings_before_rules(world, names):
    """U2: rules see the normal form, and cannot be passed by by another one"""
    rules = [{"deny": ["127.0.0.1", "169.254.0.0/16", "::1"], "name": "inside"}, {"allow": "any", "port": "any"}]
    ginnel = start(world, names, private="allow", rules=rules)
    try:
        world.forget()
        for name in SPELLINGS:
            answer = raw_ask(world, ginnel, b"CONNECT " + name.encode() + b":80", b"x")
            if answer.status == 200:
                reached = eventually(lambda: world.talks, what="the connection")[-1]
                assert ipaddress.ip_address(reached) not in ipaddress.ip_network("169.254.0.0/16"), name
                world.talks.clear()
        assert_not_dialled(world, "127.0.0.1", "169.254.169.254", "::1")
        world.forget()
    finally:
        ginnel.close()


# --- modes, and what opens it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", METADATA + [a for way, a in embedded("169.254.169.254").items() if "server" not in way])
def test_metadata_mode(world, names, on_loopback, address):
    """U3: the default of a proxy for this machine: metadata is refused"""
    name = f"m{abs(hash(address)):x}.test"
    names.answer(name, **records(address))
    with nobody_dials(world):
        for host in (bracketed(address), name):
            for method in ("CONNECT", "GET"):
                assert_refused(ask(world, on_loopback, method, f"{host}:80"))


@pytest.fixture(scope="module")
def on_loopback(world, names):
    """Nothing is written about `private`, all listeners are on loopback, there are no rules."""
    ginnel = start(world, names)
    yield ginnel
    ginnel.close()


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.9", "192.168.1.1", "fd00::1", "100.64.0.1", "::1"])
def test_metadata_mode_reaches_the_rest(world, on_loopback, address):
    """CONFIG private: and the rest of the inside is not refused there"""
    assert_reached(ask(world, on_loopback, "GET", f"{bracketed(address)}:80"), address)
    assert_reached(ask(world, on_loopback, "CONNECT", f"{bracketed(address)}:8080"), address)


DEFAULTS = [
    ({}, "metadata"),
    ({"listen": ["127.0.0.1:0", "[::1]:0"]}, "metadata"),
    ({"rules": [{"allow": "any", "port": "any", "sni": "off"}]}, "deny"),
    ({"listen": ["127.0.0.1:0", "0.0.0.0:0"], "clients": "127.0.0.0/8"}, "deny"),
    ({"rules": [{"allow": "any", "sni": "off"}], "private": "metadata"}, "metadata"),
    ({"rules": [{"allow": "any", "sni": "off"}], "private": "allow"}, "allow"),
    ({"listen": "0.0.0.0:0", "clients": "127.0.0.0/8", "private": "allow"}, "allow"),
]


@pytest.mark.parametrize("config, mode", DEFAULTS)
def test_default_mode(world, names, config, mode):
    """CONFIG private: deny when a listener is off loopback or rules exist, else metadata; it is said at start"""
    ginnel = start(world, names, **config)
    try:
        ginnel.host = "127.0.0.1"
        passes = {"10.1.2.3": mode != "deny", "169.254.169.254": mode == "allow", "168.63.129.16": mode == "allow", GOOD4: True}
        for address, reached in passes.items():
            answer = ask(world, ginnel, "CONNECT", f"{address}:80")
            assert_reached(answer, address) if reached else assert_refused(answer)
        said = [line for line in ginnel.stderr().splitlines() if "private" in line]
        words = {"deny": "denied", "metadata": "open, but", "allow": "open ("}[mode]
        assert len(said) == 1 and words in said[0], said or ginnel.stderr()
    finally:
        ginnel.close()


RULES = [
    {"deny": "10.66.0.0/16", "name": "not-that-one"},
    {"allow": ".mirror.test", "to": "10.20.0.0/16", "name": "mirror", "sni": "off"},
    {"allow": "192.168.7.0/24", "name": "literals", "sni": "off"},
    {"allow": ["any", ".test"], "name": "the-world", "sni": "off"},
]


@pytest.fixture(scope="module")
def ruled(world, names):
    ginnel = start(world, names, rules=RULES)
    yield ginnel
    ginnel.close()


OPENED = [
    # what is asked for, the addresses of the name, what answers (none: refused)
    ("mirror.test", ["10.20.3.4"], "10.20.3.4"),                   # U4: exactly that
    ("mirror.test", ["10.21.3.4"], None),                          # and nothing beside it
    ("mirror.test", ["127.0.0.1"], None),
    ("mirror.test", ["169.254.169.254"], None),
    ("mirror.test", ["::ffff:10.20.3.4"], "10.20.3.4"),            # that is 10.20.3.4
    ("mirror.test", ["64:ff9b::a14:304"], None),                   # that goes through a translator
    ("mirror.test", ["10.21.3.4", "10.20.3.4"], "10.20.3.4"),      # each address by itself
    ("mirror.test", [GOOD4], GOOD4),                               # the last rule's
    ("other.test", ["10.20.3.4"], None),                           # names open nothing
    ("other.test", ["192.168.7.1"], None),                         # and a literal's range is for literals
    ("other.test", [GOOD4], GOOD4),
    ("192.168.7.1", None, "192.168.7.1"),
    ("192.168.8.1", None, None),
    ("10.20.3.4", None, None),                                     # `to` is for the name beside it
    (GOOD4, None, GOOD4),
    ("[::ffff:192.168.7.1]", None, "192.168.7.1"),
    ("[::ffff:10.66.0.1]", None, None),
]


@pytest.mark.parametrize("host, addresses, reached", OPENED)
def test_what_opens_private_addresses(world, names, ruled, host, addresses, reached):
    """U4 U1 CONFIG: only an `allow` with `to`, or with the literal's own range"""
    if addresses:
        host = f"x{abs(hash(tuple(addresses))):x}.{host}"  # nobody has asked for it before
        names.answer(host, **records(*addresses))
    world.forget()
    for method in ("GET", "CONNECT"):
        answer = ask(world, ruled, method, f"{host}:80")
        if reached:
            assert_reached(answer, reached)
        else:
            assert answer.status == 403, answer
            assert parse_proxy_status(answer.values("proxy-status"))[-1][1]["error"] in ("destination_ip_prohibited", "http_request_denied")
    assert world.dialled() == ({ipaddress.ip_address(reached)} if reached else set())


def test_dotted_deny_judges_the_dialled_address(world, names):
    """CONFIG: a range in `deny` judges the address, too, whatever the name; FAILURES 17"""
    ginnel = start(world, names, private="allow", rules=[{"deny": "8.8.0.0/16", "name": "eights"}, {"allow": "any"}])
    try:
        names.answer("eights.test", a=["8.8.1.1"])
        names.answer("partly.test", a=["8.8.1.1", "9.9.9.9"])
        names.answer("mapped.test", aaaa=["::ffff:8.8.1.1"])
        world.forget()
        for host in ("8.8.1.1", "eights.test", "[::ffff:8.8.1.1]", "mapped.test"):
            for method in ("GET", "CONNECT"):
                answer = ask(world, ginnel, method, f"{host}:80")
                assert answer.status == 403 and "eights" in answer.body.decode(), f"{host}: {answer} {answer.body}"
        assert_reached(ask(world, ginnel, "GET", "partly.test:80"), "9.9.9.9")
        assert world.dialled() == {ipaddress.ip_address("9.9.9.9")}
    finally:
        ginnel.close()


# --- ourselves ---------------------------------------------------------------------------------------------------------


def test_own_listeners_and_administration(world, names):
    """CONFIG: never reachable through the proxy, whatever is written"""
    rules = [{"allow": [{"host": "any", "to": ["0.0.0.0/0", "::/0"]}, "127.0.0.0/8", "::1"], "port": "any"}]
    port, admin = world.call(lambda: (free_port(), free_port()))
    ginnel = start(world, names, listen=["127.0.0.1:0", f"0.0.0.0:{port}"], clients="any", admin=f"127.0.0.1:{admin}", private="allow", rules=rules)
    try:
        names.answer("self.test", a=["127.0.0.1"])
        hosts = ["127.0.0.1", "self.test", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "0"]
        for host in hosts:
            for method in ("CONNECT", "GET"):
                answer = ask(world, ginnel, method, f"{host}:{admin}")
                assert answer.status in (400, 403), f"{host} {method}: {answer} {answer.body}"
                for own in (ginnel.port, port):
                    answer = ask(world, ginnel, method, f"{host}:{own}")
                    assert answer.status in (400, 403, 502) and answer.has("proxy-status"), f"{host}:{own} {method}: {answer}"
                    assert answer.status != 502 or "proxy_loop_detected" in answer.value("proxy-status")
        assert_reached(ask(world, ginnel, "GET", "127.0.0.1:80"), "127.0.0.1")
    finally:
        ginnel.close()


# --- words -------------------------------------------------------------------------------------------------------------


def test_refusal_says_why(world, names, guarded):
    """U3 U39: the page, Proxy-Status and the log tell that it is the guard, and about which address"""
    names.answer("inside.test", a=["10.1.2.3"])
    for host in ("10.1.2.3", "inside.test"):
        answer = ask(world, guarded, "CONNECT", f"{host}:443")
        text = answer.body.decode()
        assert answer.status == 403 and "private" in text and "10.0.0.0/8" in text, text
        _, said = parse_proxy_status(answer.values("proxy-status"))[-1]
        assert said["error"] == "destination_ip_prohibited" and "private" in said["details"]
    record = guarded.wait_access(1, {"server.address": "inside.test"})[-1]
    assert record["ginnel.end"] == "address-denied" and record["http.response.status_code"] == 403


@pytest.mark.parametrize("value, hint", [("denny", "deny"), ("metdata", "metadata"), (7, "deny")])
def test_mistyped(value, hint):
    """CONFIG private: a wrong value is said with its place"""
    result = run_ginnel("check", config={"private": value})
    said = result.stderr + result.stdout
    assert result.returncode == 78 and "ginnel.yaml:1:" in said and "private" in said and hint in said
