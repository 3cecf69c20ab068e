# SPDX-License-Identifier: MIT
"""The addresses that do not proxy: metrics and health on the admin address, the operator's pages on the control socket. Nobody reaches
them through the proxy, whatever it is called."""

import json
import pathlib
import re
import socket
import tempfile

import pytest

from harness import Client, Ginnel, HttpOrigin, Peer, eventually, parse_proxy_status, request

ADMIN = re.compile(r"^ginnel: info: admin on (\S+):(\d+)$", re.M)


class Control(Peer):
    """A raw connection to the control socket."""

    def __init__(self, path):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(path))
        except OSError:
            sock.close()
            raise
        super().__init__(sock)

    def ask(self, method, target, *fields):
        self.send(request(method, target, *fields, host="ginnel"))
        return self.recv_response(method)


def admin_of(proxy):
    """Host and port of the admin address."""
    found = ADMIN.search(proxy.stderr())
    assert found, proxy.stderr()
    return found[1].strip("[]"), int(found[2])


def ask(proxy, method, target, *fields):
    """One request to the admin address."""
    with Client(*admin_of(proxy)) as client:
        return client.ask(request(method, target, *fields, host="any.name"))


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="ginnel-test-") as directory:
        yield pathlib.Path(directory)


@pytest.fixture
def admin(start):
    """A proxy with an admin address and nobody's control socket."""
    return start({"admin": "127.0.0.1:0", "control": "off"})


@pytest.fixture
def run(start, folder):
    """run(config) -> a proxy with both, and the path of its control socket."""

    def run(config=None):
        path = folder / "control"
        return start({"admin": "127.0.0.1:0", "control": f"unix:{path}", **(config or {})}), path

    return run


# --- the admin address ---------------------------------------------------------------------------------------------


def test_healthy_and_ready(admin):
    """DESIGN 5"""
    for path, body in (("/healthz", b"ok\n"), ("/readyz", b"ready\n")):
        answer = ask(admin, "GET", path)
        assert (answer.status, answer.body) == (200, body)
        assert answer.value("content-type") == "text/plain; charset=utf-8"


def test_metrics(admin):
    """U63"""
    answer = ask(admin, "GET", "/metrics")
    assert answer.status == 200
    assert answer.value("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert b"\nginnel_sessions_accepted_total 0\n" in answer.body


def test_the_first_page_names_the_others(admin):
    answer = ask(admin, "GET", "/")
    assert answer.status == 200
    for path in (b"/metrics", b"/healthz", b"/readyz"):
        assert path in answer.body
    assert b"/reload" not in answer.body


def test_head(admin):
    """C1"""
    with Client(*admin_of(admin)) as client:
        for _ in range(2):  # the connection stays usable: there was no content
            answer = client.ask(request("HEAD", "/metrics", host="x"))
            assert answer.status == 200 and not answer.body
            assert answer.value("content-type").startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FETCH"])
def test_other_methods(admin, method):
    """RFC 9110 15.5.6: a 405 says what is allowed"""
    for path in ("/", "/metrics", "/healthz", "/readyz"):
        answer = ask(admin, method, path)
        assert answer.status == 405
        assert answer.value("allow") == "GET, HEAD"


@pytest.mark.parametrize("path", ["/x", "/metrics/", "//metrics", "/METRICS", "/proxy.pac", "/../metrics"])
def test_other_pages(admin, path):
    assert ask(admin, "GET", path).status == 404


@pytest.mark.parametrize("method,path", [("GET", "/status"), ("GET", "/config"), ("POST", "/reload"), ("POST", "/drain")])
def test_the_operators_pages_are_not_there(admin, method, path):
    """The admin address is for whoever reaches it: it tells figures and changes nothing."""
    assert ask(admin, method, path).status == 404
    assert ask(admin, "GET", "/readyz").body == b"ready\n"


def test_it_is_no_proxy(admin, web):
    for data in (request("GET", web.url("/")), request("CONNECT", web.authority)):
        with Client(*admin_of(admin)) as client:
            assert client.ask(data).status == 400
    assert not web.conns


def test_the_rules_of_the_proxy_are_not_its(start, web):
    """U63: metrics stay reachable for those whom the proxy does not serve"""
    proxy = start({"admin": "127.0.0.1:0", "clients": "192.0.2.0/24"})
    assert proxy.client().ask(request("GET", web.url("/"))).status == 403
    assert not web.conns
    assert ask(proxy, "GET", "/metrics").status == 200
    eventually(lambda: b'ginnel_exchanges_ended_total{reason="not-admitted"} 1\n' in ask(proxy, "GET", "/metrics").body, what="its reason")


def test_without_the_key_there_is_none(start):
    proxy = start()
    assert not ADMIN.search(proxy.stderr())


# --- never through the proxy ---------------------------------------------------------------------------------------

SPELLINGS = [
    "127.0.0.1", "localhost", "LOCALHOST", "LocalHost", "localhost.", "any.localhost", "0.0.0.0", "0", "[::ffff:127.0.0.1]",
    "[::FFFF:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "[::ffff:0.0.0.0]", "2130706433", "0x7f000001", "0X7F000001", "017700000001", "127.1",
    "127.0.1", "0x7f.1", "0177.0.0.1", "127.0.0.1.", "%31%32%37.0.0.1", "l%6Fcalhost",
]


def refused(answer):
    """It says no because of the address, or does not take the spelling for a host at all."""
    assert b"ginnel_" not in answer.body and answer.body != b"ok\n"
    if answer.status == 400:
        return
    assert answer.status == 403, answer
    (_, parameters), = parse_proxy_status(answer.values("proxy-status"))
    assert parameters["error"] == "destination_ip_prohibited"


def both_ways(proxy, host, port):
    """By GET and by CONNECT, on fresh connections."""
    for data in (request("GET", f"http://{host}:{port}/metrics"), request("CONNECT", f"{host}:{port}")):
        with proxy.client() as client:
            refused(client.ask(data))


@pytest.fixture(scope="module")
def guarded():
    """One proxy for all spellings."""
    proxy = Ginnel({"admin": "127.0.0.1:0", "control": "off"}, tracked=False)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("host", SPELLINGS)
def test_spellings(guarded, host):
    """FAILURES 17; DESIGN 2: never the admin port, however it is spelled"""
    both_ways(guarded, host, admin_of(guarded)[1])


def test_it_is_there_all_the_same(guarded):
    """What the spellings do not reach is really there."""
    assert ask(guarded, "GET", "/healthz").body == b"ok\n"


@pytest.mark.parametrize("answers", [
    {"a": ["127.0.0.1"]}, {"a": ["0.0.0.0"]}, {"aaaa": ["::ffff:127.0.0.1"]}, {"a": ["127.0.0.1", "0.0.0.0"], "aaaa": ["::ffff:127.0.0.1"]},
], ids=str)
def test_names(start, dns, answers):
    """FAILURES 17: what was judged is what is dialled"""
    proxy = start({"admin": "127.0.0.1:0", "control": "off", "resolver": {"servers": [dns.address]}})
    dns.answer("admin.wire.test", **answers)
    for name in ("admin.wire.test", "ADMIN.Wire.Test", "admin.wire.test."):
        both_ways(proxy, name, admin_of(proxy)[1])


@pytest.mark.parametrize("host", ["[::1]", "[0:0:0:0:0:0:0:1]", "[::0001]", "[::]", "localhost"])
def test_spellings_of_ipv6(start, ipv6, host):
    """FAILURES 17"""
    proxy = start({"admin": "[::1]:0", "control": "off"})
    assert ask(proxy, "GET", "/healthz").status == 200
    both_ways(proxy, host, admin_of(proxy)[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "0.0.0.0", "localhost", "127.1"])
def test_spellings_of_a_wildcard(start, host):
    """FAILURES 17: it listens on every address of the machine, and none of them is dialled"""
    proxy = start({"admin": "0.0.0.0:0", "control": "off"})
    both_ways(proxy, host, admin_of(proxy)[1])


def test_the_same_port_elsewhere_is_not_it(start):
    """Only the address that it listens on is forbidden, not the port."""
    proxy = start({"admin": "127.0.0.1:0", "control": "off"})
    web = HttpOrigin(host="127.0.0.2", port=admin_of(proxy)[1])
    assert proxy.client().ask(request("GET", web.url("/"))).status == 200


# --- the control socket --------------------------------------------------------------------------------------------


def test_control_has_the_same_pages(run):
    proxy, path = run()
    for page, body in (("/healthz", b"ok\n"), ("/readyz", b"ready\n")):
        assert Control(path).ask("GET", page).body == body
    assert b"ginnel_build_info" in Control(path).ask("GET", "/metrics").body
    assert b"/reload" in Control(path).ask("GET", "/").body
    assert proxy.alive()


def test_status_for_people(run, origin):
    proxy, path = run()
    tunnel = proxy.client().connect(origin.authority)
    origin.accept()
    answer = Control(path).ask("GET", "/status")
    assert answer.status == 200
    assert answer.value("content-type") == "text/plain; charset=utf-8"
    text = answer.body.decode("ascii")
    assert f"process {proxy.pid}, ready" in text
    assert str(proxy.dir / "ginnel.yaml") in text
    assert proxy.addr in text and str(path) in text
    assert f"CONNECT {origin.authority}" in text
    assert "head auth policy resolve policy route dial send reply relay" in text
    assert all(len(line) <= 120 for line in text.splitlines()), text
    tunnel.close()


def test_status_as_json(run, origin):
    """S004-3; U61: the id is the one that the access log has"""
    proxy, path = run()
    tunnel = proxy.client().connect(origin.authority)
    server = origin.accept()
    tunnel.send(b"x" * 1000)
    assert server.recv_exactly(1000)
    server.send(b"y" * 10)
    assert tunnel.recv_exactly(10)

    def seen():
        status = json.loads(Control(path).ask("GET", "/status?json").body)
        return status if [x for x in status["exchanges"] if x["bytes_down"] == 10] else None

    status = eventually(seen, what="the tunnel in the status")
    host, port = tunnel.sock.getsockname()
    exchange, = status["exchanges"]
    assert exchange["method"] == "CONNECT" and exchange["tunnel"] is True and exchange["step"] == "relay"
    assert f"{exchange['host']}:{exchange['port']}" == origin.authority == exchange["peer"]
    assert exchange["client"] == f"{host}:{port}"
    assert (exchange["bytes_up"], exchange["bytes_down"], exchange["status"]) == (1000, 10, 200)
    assert 0 <= exchange["quiet_ms"] <= exchange["age_ms"] < 60000
    assert exchange["deadline_ms"] > 1000
    assert exchange["steps"][0] == "head" and exchange["steps"][-1] == "relay"
    assert status["pid"] == proxy.pid and status["phase"] == "ready"
    assert [worker["answers"] for worker in status["workers"]] == [True, True]
    assert sum(worker["tunnels"] for worker in status["workers"]) == 1
    assert {listener["role"] for listener in status["listeners"]} == {"proxy", "admin", "control"}
    assert status["configuration"]["generation"] == 1
    assert 0 < status["descriptors"]["open"] < status["descriptors"]["limit"]
    assert status["memory"]["resident_bytes"] > 1 << 20
    tunnel.close()
    server.close()


def test_status_is_json_for_those_who_accept_it(run):
    _, path = run()
    answer = Control(path).ask("GET", "/status", "Accept: application/json")
    assert answer.value("content-type") == "application/json"
    assert json.loads(answer.body)["exchanges"] == []


def test_status_shows_as_many_as_are_asked_for(run, origin):
    proxy, path = run({"workers": 1})
    tunnels = [proxy.client().connect(origin.authority) for _ in range(30)]

    def shown(query):
        return len(json.loads(Control(path).ask("GET", "/status?json" + query).body)["exchanges"])

    eventually(lambda: shown("&exchanges=10000") == 30, what="30 tunnels")
    assert (shown(""), shown("&exchanges=3"), shown("&exchanges=0")) == (20, 3, 0)
    for tunnel in tunnels:
        tunnel.close()


def test_large_pages(run, origin):
    """More than is read at once: it is sent in several runs, beside traffic"""
    proxy, path = run({"workers": 1})
    tunnels = [proxy.client().connect(origin.authority) for _ in range(100)]

    def page():
        body = Control(path).ask("GET", "/status?json&exchanges=10000").body
        return body if len(json.loads(body)["exchanges"]) == 100 else None

    assert len(eventually(page, what="100 tunnels")) > 20000
    assert Control(path).ask("GET", "/status?exchanges=100").status == 200
    for tunnel in tunnels:
        tunnel.close()


@pytest.mark.parametrize("query", ["exchanges=10001", "exchanges=-1", "exchanges=", "exchanges=x", "exchange=1"])
def test_status_refuses_what_it_does_not_know(run, query):
    _, path = run()
    assert Control(path).ask("GET", "/status?" + query).status == 400


def test_methods_of_the_control_socket(run):
    """RFC 9110 15.5.6; FAILURES 17: what changes something is never a GET"""
    proxy, path = run()
    for page in ("/reload", "/drain"):
        answer = Control(path).ask("GET", page)
        assert (answer.status, answer.value("allow")) == (405, "POST")
    assert Control(path).ask("POST", "/status").value("allow") == "GET, HEAD"
    assert Control(path).ask("GET", "/readyz").body == b"ready\n"
    assert "reload" not in proxy.stderr()


def test_config(run):
    _, path = run()
    answer = Control(path).ask("GET", "/config")
    assert answer.status == 200
    assert b"workers: 2" in answer.body


def test_reload_is_counted(run):
    proxy, path = run()
    assert Control(path).ask("POST", "/reload").status == 200
    (proxy.dir / "ginnel.yaml").write_text("workes: 2\n")
    answer = Control(path).ask("POST", "/reload")
    assert answer.status == 422
    assert b"ginnel.yaml:1:" in answer.body and b"workers" in answer.body
    metrics = ask(proxy, "GET", "/metrics").body
    assert b'ginnel_config_reloads_total{result="unchanged"} 1\n' in metrics
    assert b"ginnel_config_last_reload_successful 0\n" in metrics
    status = json.loads(Control(path).ask("GET", "/status?json").body)
    assert status["last_reload"]["result"] == "failed" and "ginnel.yaml:1:" in status["last_reload"]["errors"]


def test_drain(run, origin):
    """The admin address and the control socket answer while there is anything to wait for."""
    proxy, path = run({"timeouts": {"drain": "30s"}})
    tunnel = proxy.client().connect(origin.authority)
    server = origin.accept()
    answer = Control(path).ask("POST", "/drain")
    assert (answer.status, answer.body) == (202, b"draining\n")
    eventually(lambda: ask(proxy, "GET", "/readyz").status == 503, what="not ready")
    assert ask(proxy, "GET", "/readyz").body == b"draining\n"
    assert ask(proxy, "GET", "/healthz").status == 200
    assert b"\nginnel_draining 1\n" in ask(proxy, "GET", "/metrics").body
    status = json.loads(Control(path).ask("GET", "/status?json").body)
    assert status["phase"] == "draining" and 0 < status["drain_left_ms"] <= 30000
    assert len(status["exchanges"]) == 1
    server.send(b"still")
    assert tunnel.recv_exactly(5) == b"still"
    tunnel.close()
    server.close()
    assert proxy.wait_exit() == 0
