# SPDX-License-Identifier: MIT
"""Where connections come from, and what happens when every port towards a target is in use. What narrows the ports or adds addresses happens in a
network namespace of the test's own."""

import os
import pathlib
import re
import subprocess

import pytest

from harness import Ginnel, HttpOrigin, Origin, UnixClient, eventually, parse_proxy_status, request, response, run_ginnel

PORTS = 32


@pytest.fixture
def narrow(netns):
    """A namespace in which a target can be reached from 32 ports of an address."""
    home = os.stat("/proc/self/ns/net").st_ino

    def write():
        assert os.stat("/proc/thread-self/ns/net").st_ino != home  # nothing of the machine itself is touched
        pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"32768 {32768 + PORTS - 1}")

    netns.call(write)
    return netns


@pytest.fixture
def inside(narrow, tmp_path):
    """inside(config) runs a proxy in there; clients come through a Unix socket and need no port."""
    path = tmp_path / "p.sock"

    def run(config=None):
        proxy = narrow.call(Ginnel, {"workers": 1, "listen": f"unix:{path}", **(config or {})})
        proxy.client = lambda: UnixClient(path)
        return proxy

    return run


def tunnels(proxy, target, n):
    return [proxy.client().connect(target) for _ in range(n)]


def refused(proxy, target, method="CONNECT"):
    """The answer to one request more."""
    client = proxy.client()
    data = request("CONNECT", target) if method == "CONNECT" else request("GET", f"http://{target}/")
    return client.ask(data, method)


def assert_no_ports(answer):
    assert answer.status == 503, answer
    assert answer.value("retry-after") == "1"
    _, parameters = parse_proxy_status(answer.values("proxy-status"))[-1]
    assert parameters["error"] == "connection_limit_reached"


def from_where(origin):
    return [conn.source for conn in origin.conns]


def accepting(conn):
    conn.recv_all(within=60)


# --- ports -----------------------------------------------------------------------------------------------------------


def test_ports_used_up(narrow, inside):
    """FAILURES 4: the message names the limit; other targets go on; ports that come back are used"""
    origin = narrow.call(Origin, accepting, port=8000)
    other = narrow.call(Origin, accepting, port=8001)
    proxy = inside()
    held = tunnels(proxy, origin.authority, PORTS)
    for method in ("CONNECT", "GET"):
        assert_no_ports(refused(proxy, origin.authority, method))
    record = proxy.wait_access(1, {"ginnel.end": "no-ports"})[0]
    assert record["server.port"] == origin.port
    tunnels(proxy, other.authority, 3)
    for client in held[:4]:
        client.reset()
    eventually(lambda: refused(proxy, origin.authority).status == 200, what="a port that came back")


def test_two_addresses_have_twice_as_many(narrow, inside):
    """CONFIG bind: single addresses are taken in turn, and one that is used up makes way for the other"""
    origin = narrow.call(Origin, accepting, port=8000)
    lone = narrow.call(Origin, accepting, port=8001)
    proxy = inside({"upstream": [{"for": {"port": 8000}, "bind": ["127.0.0.5", "127.0.0.6"]},
                                 {"for": {"port": 8001}, "bind": "127.0.0.5"}]})
    held = tunnels(proxy, origin.authority, 2 * PORTS)
    assert_no_ports(refused(proxy, origin.authority))
    origin.wait_conns(2 * PORTS)
    assert sorted(from_where(origin)) == ["127.0.0.5"] * PORTS + ["127.0.0.6"] * PORTS
    # A port is used up towards one target, not towards the next.
    tunnels(proxy, lone.authority, PORTS)
    assert_no_ports(refused(proxy, lone.authority))
    # One address is full, the other has a port: whoever's turn it is.
    held.pop(0).reset()
    eventually(lambda: refused(proxy, origin.authority).status == 200, what="the port that came back")


def test_ports_of_kept_connections(narrow, inside):
    """Kept connections use ports too, and are used before new ones are wanted"""
    web = narrow.call(HttpOrigin, port=8000)
    proxy = inside()
    clients = [proxy.client() for _ in range(PORTS)]
    for client in clients:
        client.send(request("GET", web.url("/")))
    for client in clients:
        assert client.recv_response().status == 200
    for _ in range(2 * PORTS):
        assert proxy.client().ask(request("GET", web.url("/"))).status == 200
    assert len(web.conns) <= PORTS


def test_no_ipv6_is_no_lack_of_ports(narrow, inside):
    """connect(2) says the same of both"""
    netns = narrow
    netns.call(pathlib.Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text, "1")
    proxy = inside()
    answer = refused(proxy, "[::1]:8000", "GET")
    assert answer.status == 502, answer
    _, parameters = parse_proxy_status(answer.values("proxy-status"))[-1]
    assert parameters["error"] == "destination_ip_unroutable"


# --- addresses -------------------------------------------------------------------------------------------------------


def test_the_first_entry_that_matches(start):
    """CONFIG upstream: the first match decides, none is as without"""
    web = HttpOrigin(keep=False)
    web.reply = lambda req: response(200, "Connection: close", body=req.target.encode())
    proxy = start({"upstream": [{"for": {"path": "/a/"}, "bind": "127.0.0.5"},
                                {"for": [{"path": "/a"}, {"method": "PUT"}], "bind": ["127.0.0.6"]},
                                {"for": "127.9.0.0/16", "bind": "127.0.0.7"}]})
    for path in ("/a/x", "/ab", "/b"):
        assert proxy.client().ask(request("GET", web.url(path))).status == 200
    assert from_where(web) == ["127.0.0.5", "127.0.0.6", "127.0.0.1"]


def test_an_entry_without_for(start):
    """CONFIG upstream: without `for` it is about everything, CONNECT too"""
    origin = Origin()
    proxy = start({"upstream": {"bind": "127.0.0.5"}})
    proxy.client().connect(origin.authority)
    assert origin.accept().source == "127.0.0.5"
    assert proxy.client().ask(request("GET", "http://ginnel.internal/")).status == 200


def test_a_range(start):
    """CONFIG bind: an address of the range for each connection"""
    web = HttpOrigin(keep=False)
    web.reply = lambda req: response(200, "Connection: close")
    proxy = start({"upstream": [{"bind": "127.1.2.0/24"}]})
    for _ in range(16):
        assert proxy.client().ask(request("GET", web.url("/"))).status == 200
    seen = from_where(web)
    assert all(address.startswith("127.1.2.") for address in seen) and len(set(seen)) > 4


def test_an_ipv6_range(netns, tmp_path):
    """CONFIG bind: addresses that no interface has, for the network routes them here"""
    command = ["ip", "-6", "route", "add", "local", "2001:db8:1::/64", "dev", "lo"]
    try:
        netns.call(subprocess.run, command, check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no IPv6 route here: {error.stderr}")
    web = netns.call(HttpOrigin, host="::1", port=8000, keep=False)
    web.reply = lambda req: response(200, "Connection: close")
    path = tmp_path / "p.sock"
    netns.call(Ginnel, {"listen": f"unix:{path}", "upstream": [{"bind": ["2001:db8:1::/64", "203.0.113.0/24"]}]})
    for _ in range(6):
        assert UnixClient(path).ask(request("GET", web.url("/"))).status == 200
    seen = from_where(web)
    assert all(address.startswith("2001:db8:1:") for address in seen) and len(set(seen)) == 6


def test_an_address_of_another_machine(start):
    """An address that is not here: said in the answer and in the log; another one of the entry is used"""
    web = HttpOrigin(keep=False)
    web.reply = lambda req: response(200, "Connection: close")
    proxy = start({"upstream": [{"for": {"path": "/only"}, "bind": "203.0.113.9"}, {"bind": ["203.0.113.9", "127.0.0.5"]}]})
    answer = proxy.client().ask(request("GET", web.url("/only")))
    assert answer.status == 502
    _, parameters = parse_proxy_status(answer.values("proxy-status"))[-1]
    assert parameters["error"] == "destination_ip_unroutable" and "ginnel.yaml:" in parameters["details"]
    eventually(lambda: "203.0.113.9 is not an address of this machine" in proxy.stderr(), what="the warning")
    for _ in range(4):
        assert proxy.client().ask(request("GET", web.url("/"))).status == 200
    assert from_where(web) == ["127.0.0.5"] * 4


def test_no_address_of_the_family(start, dns, ipv6):
    """An address without a source of its family is not dialled; without any other, the answer names the entry"""
    four = HttpOrigin()
    six = HttpOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nsix", host="::1", port=four.port)
    dns.answer("both.wire.test", a=["127.0.0.1"], aaaa=["::1"])
    proxy = start({"resolver": {"servers": [dns.address]}, "upstream": [{"bind": "127.0.0.5"}]})
    assert proxy.client().ask(request("GET", four.url("/", name="both.wire.test"))).body == b"GET /"
    assert from_where(four) == ["127.0.0.5"]
    answer = proxy.client().ask(request("GET", six.url("/")))
    assert answer.status == 502 and not six.conns
    _, parameters = parse_proxy_status(answer.values("proxy-status"))[-1]
    assert parameters["error"] == "destination_ip_unroutable" and "ginnel.yaml:" in parameters["details"]


def test_a_mapped_target(start, web):
    """An IPv4 address is one, however it is written"""
    proxy = start({"upstream": [{"bind": "127.0.0.5"}]})
    assert proxy.client().ask(request("GET", f"http://[::ffff:127.0.0.1]:{web.port}/")).status == 200
    assert from_where(web) == ["127.0.0.5"]


def test_kept_connections_have_a_source(start, web):
    """DESIGN 6: a kept connection is used by whoever would come from its address, and by nobody else"""
    config = {"workers": 1, "upstream": [{"for": {"path": "/a"}, "bind": "127.0.0.5"}]}
    proxy = start(config)
    for path in ("/a", "/b", "/a", "/b"):
        assert proxy.client().ask(request("GET", web.url(path))).status == 200
    assert from_where(web) == ["127.0.0.5", "127.0.0.1"]
    config["upstream"][0]["bind"] = ["127.0.0.6"]
    proxy.reload(config)
    for path in ("/a", "/b", "/a"):
        assert proxy.client().ask(request("GET", web.url(path))).status == 200
    assert from_where(web) == ["127.0.0.5", "127.0.0.1", "127.0.0.6"]


def test_what_is_shown(start):
    """config show gives what can be read again"""
    proxy = start({"upstream": [{"for": {"port": 80}, "bind": ["127.0.0.5", "2001:db8::/64"]}]})
    shown = proxy.command("config", "show").stdout
    assert "upstream:" in shown and "2001:db8::/64" in shown and "127.0.0.5" in shown
    assert run_ginnel("check", config=shown).returncode == 0


# --- marks and interfaces ----------------------------------------------------------------------------------------------


def ask_each(proxy, web, paths):
    return [proxy.client().ask(request("GET", web.url(path))).status for path in paths]


@pytest.fixture
def marked(netns):
    """A namespace in which packets with the mark 7 go nowhere."""
    try:
        for command in ("rule add pref 100 lookup local", "rule del pref 0", "rule add pref 10 fwmark 7 prohibit"):
            netns.call(subprocess.run, ["ip", *command.split()], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no rules of routing here: {error.stderr}")
    return netns


def unix_proxy(netns, tmp_path, config, **options):
    path = tmp_path / "p.sock"
    proxy = netns.call(Ginnel, {"workers": 1, "listen": f"unix:{path}", **config}, **options)
    proxy.client = lambda: UnixClient(path)
    return proxy


def test_a_mark(marked, tmp_path):
    """CONFIG mark: the kernel sees it, beside an address and without; a kept connection with another one is not used"""
    web = marked.call(HttpOrigin, port=8000)
    proxy = unix_proxy(marked, tmp_path, {"upstream": [
        {"for": {"path": "/7"}, "mark": 7}, {"for": {"path": "/8"}, "mark": 8},
        {"for": {"path": "/b"}, "mark": 8, "bind": "127.0.0.5"}]})
    assert ask_each(proxy, web, ["/8", "/none", "/7", "/8", "/none", "/b", "/b", "/7"]) == [200, 200, 502, 200, 200, 200, 200, 502]
    assert from_where(web) == ["127.0.0.1", "127.0.0.1", "127.0.0.5"]
    assert {record["network.local.address"] for record in proxy.wait_access(6, {"ginnel.end": "done"})} == {"127.0.0.1", "127.0.0.5"}


def test_a_mark_that_is_not_permitted(tmp_path, start):
    """A process without the right says so, with file and line; other requests go on, and the target is not blamed"""
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    web = HttpOrigin()
    proxy = start({"upstream": [{"for": {"path": "/7"}, "mark": 7}]}, unprivileged=True)
    answer = proxy.client().ask(request("GET", web.url("/7")))
    assert answer.status == 502, answer
    _, parameters = parse_proxy_status(answer.values("proxy-status"))[-1]
    assert "`mark` of `upstream`" in parameters["details"] and "ginnel.yaml:" in parameters["details"]
    eventually(lambda: "`mark` is not permitted to this process: it takes CAP_NET_ADMIN" in proxy.stderr(), what="the warning")
    assert ask_each(proxy, web, ["/"]) == [200] and len(web.conns) == 1


def test_an_interface(netns, tmp_path):
    """CONFIG interface: the connection leaves by it, or not at all"""
    made = [netns.call(subprocess.run, ["ip", "link", "add", "d0", "type", kind], capture_output=True).returncode
            for kind in ("dummy", "bridge", "ifb")]
    if all(made):
        pytest.skip("no interface can be made here")
    netns.call(subprocess.run, ["ip", "link", "set", "d0", "up"], check=True)
    web = netns.call(HttpOrigin, port=8000)
    proxy = unix_proxy(netns, tmp_path, {"timeouts": {"connect": "1s", "drain": "1s"}, "upstream": [
        {"for": {"path": "/lo"}, "interface": "lo"}, {"for": {"path": "/d0"}, "interface": "d0"},
        {"for": {"path": "/gone"}, "interface": "gone0"}]})
    assert ask_each(proxy, web, ["/lo", "/", "/lo"]) == [200, 200, 200]
    assert len(web.conns) == 2
    assert ask_each(proxy, web, ["/d0"])[0] in (502, 504)
    answer = proxy.client().ask(request("GET", web.url("/gone")))
    assert answer.status == 502
    _, parameters = parse_proxy_status(answer.values("proxy-status"))[-1]
    assert "the interface of `upstream`" in parameters["details"] and "ginnel.yaml:" in parameters["details"]
    eventually(lambda: "there is no network interface gone0" in proxy.stderr(), what="the warning")
    assert len(web.conns) == 2


# --- what is said of private addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("config, said", [
    ({}, "open, but for those at which clouds tell secrets (no listener is off loopback and there are no rules)"),
    ({"rules": [{"allow": "a.example"}]}, "denied (there are rules)"),
    ({"listen": "0.0.0.0:0", "clients": "127.0.0.0/8"}, "denied (a listener is off loopback)"),
    ({"listen": "0.0.0.0:0", "clients": "127.0.0.0/8", "private": "allow"}, "open (ginnel.yaml:"),
])
def test_private_is_said_at_start(start, config, said):
    """CONFIG private: printed at start, with the reason"""
    proxy = start(config)
    lines = [line for line in proxy.stderr().split("\n") if "private addresses: " in line]
    assert len(lines) == 1, lines
    place = str(proxy.config_path) if said.startswith("open (") else ""
    assert lines[0].startswith(f"ginnel: info: private addresses: {said.replace('ginnel.yaml', place) if place else said}")


def test_private_is_said_when_it_changes(start):
    """… and after a reload that changes it, which names what changed"""
    proxy = start()
    proxy.reload({"rules": [{"allow": "a.example"}], "ports": [80]})
    assert "private addresses: denied (there are rules)" in proxy.stderr()
    assert re.search(r"changed rules, private, ports$", proxy.stderr(), re.M)
    proxy.reload({"rules": [{"allow": "a.example", "name": "x"}], "ports": [80], "policy": {"recheck": "yes"}})
    assert proxy.stderr().count("private addresses: ") == 2
    assert re.search(r"changed rules, policy$", proxy.stderr(), re.M)
