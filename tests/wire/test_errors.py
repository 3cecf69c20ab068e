# SPDX-License-Identifier: MIT
"""Answers that ginnel makes itself: for every cause the status, the Proxy-Status error, a readable body, and one log record that
says the same (the table of DESIGN 2, the tokens of end_reasons.h)."""

import json
import re
import socket
import time

import pytest

from harness import (NXDOMAIN, BlackHole, Client, Ginnel, HttpOrigin, eventually, free_port, parse_proxy_status, quickest, request,
                     response, scaled)

HTTP_DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d GMT")
BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def made_here(answer, status, error, name="wire", method="GET"):
    """What holds for every answer made here (C35 C27 C71 C72); returns the parameters of our Proxy-Status member."""
    assert answer.status == status, answer
    (member, parameters), = parse_proxy_status(answer.values("proxy-status"))
    assert (member, parameters["error"]) == (name, error)
    assert parameters.get("details"), parameters
    assert answer.elements("via") == [f"1.1 {name}"]
    assert HTTP_DATE.fullmatch(answer.value("date"))
    assert not answer.has("location")
    if method != "HEAD":
        assert answer.body and answer.value("content-length") == str(len(answer.body))
        assert b"\0" not in answer.body
        answer.body.decode("utf-8")
    return parameters


def refused_url():
    return f"http://127.0.0.1:{free_port()}/"


# --- the body ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields, kind", [
    ((), "text/plain"), (("Accept: */*",), "text/plain"), (("Accept: application/json",), "application/json"),
    (("Accept: application/json;q=0.9, image/png",), "application/json"), ((BROWSER,), "text/html"),
    (("Accept: text/html",), "text/html"), (("Accept: text/plain",), "text/plain"), (("Accept: image/png",), "text/plain"),
    (("Accept: application/json;q=0",), "text/plain"), (("Accept: ,;,=/",), "text/plain"),
])
def test_body_by_accept(client, fields, kind):
    """S002-6 S004-7; DESIGN 2; FAILURES 12"""
    answer = client.ask(request("GET", refused_url(), *fields))
    made_here(answer, 502, "connection_refused")
    assert answer.value("content-type").split(";")[0] == kind
    if kind == "application/json":
        body = json.loads(answer.body)
        assert body["status"] == 502 and body["error"] == "connection_refused"
        assert body["reason"] and "detail" in body
    elif kind == "text/html":
        assert answer.body.lstrip().lower().startswith(b"<!doctype html")
    else:
        assert b"<" not in answer.body and b"502" in answer.body + answer.reason.encode()


def test_error_to_head_has_no_body(client, web):
    """C45"""
    answer = client.ask(request("HEAD", refused_url()))
    made_here(answer, 502, "connection_refused", method="HEAD")
    if not answer.closes:
        assert client.ask(request("GET", web.url("/next"))).body == b"GET /next"


def test_a_failed_request_does_not_spoil_the_connection(client, web):
    """S004-7: the connection says whether it goes on, and keeps its word"""
    answer = client.ask(request("GET", refused_url()))
    if answer.closes:
        client.expect_end("FIN")
    else:
        assert client.ask(request("GET", web.url("/next"))).body == b"GET /next"


@pytest.mark.parametrize("accept", [BROWSER, "Accept: application/json", "Accept: text/plain"])
def test_nothing_of_the_request_becomes_markup(start, dns, accept):
    """FAILURES 12 14: what is quoted is escaped"""
    proxy = start({"resolver": {"servers": [dns.address]}})
    for target in ("http://no.wire.test/\"><script>alert(1)</script>", "http://<script>alert(1)</script>.test/",
                   "http://no.wire.test/?'\"<img src=x>&lt;"):
        answer = proxy.client().ask(request("GET", target, accept, host="no.wire.test"))
        assert answer.status in (400, 502)
        if "html" in accept:
            assert b"<script>alert" not in answer.body and b"<img" not in answer.body
        elif "json" in answer.value("content-type"):
            json.loads(answer.body)
        parse_proxy_status(answer.values("proxy-status"))


def test_errors_go_to_http_1_0_as_well(client):
    """C51"""
    client.send(request("GET", refused_url(), version="1.0"))
    answer = client.recv_response()
    assert answer.status == 502 and answer.body
    client.expect_end("FIN")


# --- cause, status, error, record ------------------------------------------------------------------------------------


def test_refused(client):
    """S000-8 S002-6 S003-7 C72 U61"""
    made_here(client.ask(request("GET", refused_url())), 502, "connection_refused")


def test_connect_timeout(start):
    """U9 S003-6 S002-5 S002-12 S004-4: 504 at the configured time, give or take 100 ms"""
    proxy = start({"timeouts": {"connect": "600ms"}})
    for method in ("GET", "CONNECT"):
        def timed():
            hole = BlackHole()
            client = proxy.client()
            target = hole.authority if method == "CONNECT" else f"http://{hole.authority}/"
            began = time.monotonic()
            answer = client.ask(request(method, target))
            took = time.monotonic() - began
            made_here(answer, 504, "connection_timeout")
            assert took > 0.5
            record = proxy.wait_access(1, {"server.port": hole.port})[0]
            assert record["ginnel.end"] == "connect-timeout"
            return took

        enough = 0.6 + scaled(0.1)
        assert quickest(timed, enough) < enough


def test_unreachable(netns):
    """C72: in a network that has only a loopback"""
    proxy = netns.call(Ginnel)
    answer = netns.call(proxy.client).ask(request("GET", "http://192.0.2.1/"))
    made_here(answer, 502, "destination_ip_unroutable")
    answer = netns.call(proxy.client).ask(request("GET", "http://[2001:db8::1]/"))
    made_here(answer, 502, "destination_ip_unroutable")


def test_silent_origin(start, origin):
    """C72 S003-6: timeouts.response counts from the end of the request"""
    proxy = start({"timeouts": {"response": "500ms"}})
    client = proxy.client()
    began = time.monotonic()
    client.send(request("GET", origin.url("/")))
    conn = origin.accept()
    made_here(client.recv_response(), 504, "http_response_timeout")
    assert 0.4 < time.monotonic() - began < scaled(1.2)
    conn.wait_ended()
    assert proxy.wait_access()[0]["ginnel.end"] == "upstream-timeout"


def test_slow_upload_is_not_a_silent_origin(start, origin):
    """CONFIG response: first byte after the request is complete"""
    client = start({"timeouts": {"response": "400ms"}}).client()
    client.send(request("POST", origin.url("/"), "Content-Length: 6"))
    conn = origin.accept()
    for _ in range(6):
        time.sleep(0.15)
        client.send(b"x")
    conn.recv_request()
    conn.send(response(200, body=b"patient"))
    assert client.recv_response().body == b"patient"


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("before", [b"", b"HTT", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_origin_leaves_before_its_answer(proxy, origin, before, how):
    """C72 U61"""
    client = proxy.client()
    client.send(request("GET", origin.url("/")))
    conn = origin.accept()
    conn.recv_request()
    if before:
        conn.send(before)
        time.sleep(0.02)
    getattr(conn, how)()
    made_here(client.recv_response(), 502, "http_response_incomplete")
    end = proxy.wait_access(1, {"server.port": origin.port})[0]["ginnel.end"]
    assert end == ("upstream-closed" if how == "close" else "upstream-reset")


def test_nonsense(client, proxy, web):
    """C72 U61"""
    web.reply = b"what?\r\n\r\n"
    made_here(client.ask(request("GET", web.url("/"))), 502, "http_protocol_error")
    assert proxy.wait_access(1, {"server.port": web.port})[0]["ginnel.end"] == "upstream-nonsense"


OUTCOMES = {
    # what the client asks (@ a web origin, ! a port that refuses, ~ a name that does not exist): status, error, token
    "done": ("GET http://@/ HTTP/1.1\r\nHost: @\r\n\r\n", 200, None, "done"),
    "refused": ("GET http://!/ HTTP/1.1\r\nHost: !\r\n\r\n", 502, "connection_refused", "connect-refused"),
    "refused tunnel": ("CONNECT ! HTTP/1.1\r\nHost: !\r\n\r\n", 502, "connection_refused", "connect-refused"),
    "unknown name": ("GET http://~/ HTTP/1.1\r\nHost: ~\r\n\r\n", 502, "dns_error", "dns-error"),
    "unknown name of a tunnel": ("CONNECT ~:1 HTTP/1.1\r\nHost: ~:1\r\n\r\n", 502, "dns_error", "dns-error"),
    "malformed": ("GET http://@/ HTTP/1.1\r\nHost : @\r\n\r\n", 400, "http_request_error", "bad-request"),
    "long line": ("GET http://@/" + "x" * 40000 + " HTTP/1.1\r\nHost: @\r\n\r\n", 414, "http_request_error", "uri-too-long"),
    "large head": ("GET http://@/ HTTP/1.1\r\nHost: @\r\nX: " + "x" * 90000 + "\r\n\r\n", 431, "http_request_error", "head-too-large"),
    "coding": ("POST http://@/ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "http_request_error",
               "not-implemented"),
    "version": ("GET http://@/ HTTP/2.0\r\nHost: @\r\n\r\n", 505, "http_request_error", "bad-version"),
    "TRACE": ("TRACE http://@/ HTTP/1.1\r\nHost: @\r\n\r\n", 405, "http_request_denied", "trace-off"),
    "own Via": ("GET http://@/ HTTP/1.1\r\nHost: @\r\nVia: 1.1 wire\r\n\r\n", 502, "proxy_loop_detected", "loop"),
    "own site": ("GET http://ginnel.internal/ HTTP/1.1\r\nHost: ginnel.internal\r\n\r\n", 200, None, "local"),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_one_outcome_everywhere(start, dns, web, case):
    """U61 C37 C72 S003-5 S003-7 S004-3: status, Proxy-Status and log say the same, in one record"""
    text, status, error, token = OUTCOMES[case]
    proxy = start({"resolver": {"servers": [dns.address]}})
    raw = text.replace("@", web.authority).replace("!", f"127.0.0.1:{free_port()}").replace("~", "no.wire.test").encode()
    client = proxy.client()
    sender = client.send_in_background(raw)
    answer = client.recv_response(raw.split(b" ")[0].decode())
    sender.join()
    if error:
        made_here(answer, status, error)
    assert answer.status == status
    client.close()
    records = proxy.wait_access()
    assert len(records) == 1
    assert (records[0]["http.response.status_code"], records[0]["ginnel.end"]) == (status, token)


def test_405_names_what_is_allowed(client, web):
    """9110 15.5.6: MUST"""
    assert client.ask(request("TRACE", web.url("/"))).has("allow")


def test_dns_error_has_its_rcode(start, dns):
    """C72"""
    dns.answer("no.wire.test", rcode=NXDOMAIN)
    proxy = start({"resolver": {"servers": [dns.address]}})
    answer = proxy.client().ask(request("GET", "http://no.wire.test/"))
    assert made_here(answer, 502, "dns_error").get("rcode") == "NXDOMAIN"


# --- loops ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["1.1 wire", "1.0 fred, 1.1 WIRE", "1.1 wire (comment)", "HTTP/1.1 wire", "1.1 a,1.1 wire,1.1 b"])
def test_own_via_is_a_loop(client, web, via):
    """C38: before connecting"""
    made_here(client.ask(request("GET", web.url("/"), f"Via: {via}")), 502, "proxy_loop_detected")
    assert not web.conns


@pytest.mark.parametrize("via", ["1.1 wired", "1.1 x.wire", "1.1 x (wire)", "1.1 host:wire"])
def test_other_vias_are_none(client, web, via):
    """C38"""
    assert client.ask(request("GET", web.url("/"), f"Via: {via}")).status == 200


OWN_ADDRESSES = ["127.0.0.1:@", "[::ffff:127.0.0.1]:@", "localhost:@", "0.0.0.0:@", "[::]:@", "2130706433:@", "0x7f000001:@", "127.1:@"]


@pytest.mark.parametrize("address", OWN_ADDRESSES)
@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_own_listener_is_a_loop(start, method, address):
    """C38 DESIGN 2; FAILURES 17: ginnel never connects to its own listeners, however they are spelled"""
    proxy = start()
    authority = address.replace("@", str(proxy.port))
    client = proxy.client()
    answer = client.ask(request(method, authority if method == "CONNECT" else f"http://{authority}/healthz"))
    assert answer.status == 502, answer
    error = parse_proxy_status(answer.values("proxy-status"))[-1][1]["error"]
    # ::1 and :: are not listened on: there is nothing to loop into
    assert error == "proxy_loop_detected" or (address == "[::]:@" and error in ("connection_refused", "destination_ip_unroutable"))


def test_own_listener_by_a_name(start, dns):
    """C38"""
    proxy = start({"resolver": {"servers": [dns.address]}})
    dns.answer("me.wire.test", a=["127.0.0.1"])
    made_here(proxy.client().ask(request("GET", f"http://me.wire.test:{proxy.port}/")), 502, "proxy_loop_detected")
    made_here(proxy.client().ask(request("CONNECT", f"me.wire.test:{proxy.port}")), 502, "proxy_loop_detected")


def test_own_wildcard_listener(start):
    """C38: 0.0.0.0 listens on every address of the machine"""
    proxy = start({"listen": "0.0.0.0:0", "clients": "127.0.0.0/8", "ports": "any"})
    for host in ("127.0.0.1", "127.5.5.5"):
        answer = Client("127.0.0.1", proxy.port).ask(request("CONNECT", f"{host}:{proxy.port}"))
        made_here(answer, 502, "proxy_loop_detected")


def test_own_wildcard_listener_by_the_address_of_the_machine(start):
    """C38"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address = probe.getsockname()[0]
    proxy = start({"listen": "0.0.0.0:0", "clients": "any", "private": "allow", "ports": "any"})
    made_here(Client("127.0.0.1", proxy.port).ask(request("CONNECT", f"{address}:{proxy.port}")), 502, "proxy_loop_detected")


def test_every_listener_counts(start):
    """C38"""
    proxy = start({"listen": ["127.0.0.1:0", "127.0.0.2:0"]})
    host, port = proxy.listeners[1]
    made_here(proxy.client().ask(request("CONNECT", f"{host}:{port}")), 502, "proxy_loop_detected")


def test_two_proxies_are_no_loop(start, proxy, web):
    """C38"""
    second = start({"name": "second"})
    client = proxy.client().connect(second.addr)
    assert client.ask(request("GET", web.url("/"))).status == 200


# --- other people's Proxy-Status ---------------------------------------------------------------------------------------


def test_existing_members_are_kept(client, web):
    """C71 C72: nearest to the origin first"""
    web.reply = response(502, 'Proxy-Status: other; error=dns_error; rcode="SERVFAIL"', "Proxy-Status: third", body=b"x")
    members = parse_proxy_status(client.ask(request("GET", web.url("/"))).values("proxy-status"))
    assert members[:2] == [("other", {"error": "dns_error", "rcode": "SERVFAIL"}), ("third", {})]


def test_no_proxy_status_error_on_what_was_only_forwarded(client, web):
    """C72: a 502 of the origin is not ours"""
    web.reply = response(502, body=b"theirs")
    answer = client.ask(request("GET", web.url("/")))
    assert answer.body == b"theirs"
    for _, parameters in parse_proxy_status(answer.values("proxy-status")) if answer.has("proxy-status") else []:
        assert "error" not in parameters


# --- who may -------------------------------------------------------------------------------------------------------


def test_client_that_is_not_admitted(start, web):
    """DESIGN 2: 403 and close; U39: policy never looks like an outage"""
    proxy = start({"clients": ["127.0.0.1/32", "10.0.0.0/8"]})
    for raw in (request("GET", web.url("/")), request("CONNECT", web.authority)):
        client = proxy.client(source="127.0.0.2")
        client.send(raw)
        made_here(client.recv_response(), 403, "http_request_denied")
        client.expect_end("FIN")
    assert not web.conns
    assert proxy.client().ask(request("GET", web.url("/"))).status == 200
    # Two workers' records come in any order.
    records = sorted(proxy.wait_access(3), key=lambda record: record["ginnel.end"])
    assert [record["ginnel.end"] for record in records] == ["done", "not-admitted", "not-admitted"]
    assert records[1]["client.address"] == "127.0.0.2"


def test_any_is_the_written_out_open_proxy(start, web):
    """CONFIG clients"""
    proxy = start({"listen": "0.0.0.0:0", "clients": "any", "private": "allow", "ports": "any"})
    assert Client("127.0.0.1", proxy.port, source="127.0.0.9").ask(request("GET", web.url("/"))).status == 200


def test_ipv4_clients_of_an_ipv6_listener(start, web, ipv6):
    """CONFIG clients: a mapped address is the IPv4 address"""
    proxy = start({"listen": "[::]:0", "clients": ["::1", "127.0.0.1"], "private": "allow", "ports": "any"})
    assert Client("::1", proxy.port).ask(request("GET", web.url("/"))).status == 200
    try:
        client = Client("127.0.0.1", proxy.port)
    except ConnectionRefusedError:
        return  # IPv6 only is an answer, too
    assert client.ask(request("GET", web.url("/"))).status == 200
    assert proxy.wait_access(2)[1]["client.address"] == "127.0.0.1"
    refused = Client("127.0.0.1", proxy.port, source="127.0.0.2").ask(request("GET", web.url("/")))
    made_here(refused, 403, "http_request_denied")


# --- draining --------------------------------------------------------------------------------------------------------


def test_draining_past_its_deadline(start, origin):
    """DESIGN 2: draining, after its deadline: 503 destination_unavailable"""
    proxy = start({"timeouts": {"drain": "300ms"}})
    client = proxy.client()
    client.send(request("GET", origin.url("/")))
    origin.accept().recv_request()
    proxy.signal()
    made_here(client.recv_response(), 503, "destination_unavailable")
    assert proxy.wait_exit() == 0


# --- descriptors -----------------------------------------------------------------------------------------------------


def test_out_of_descriptors(start, web, origin):
    """FAILURES 24 U8 DESIGN 8.5: who comes too late is turned away, others go on, nothing spins, and it recovers by itself"""
    proxy = start({"workers": 1}, wrap=("prlimit", "--nofile=64:64"))
    tunnel = proxy.client().connect(origin.authority)
    conn = origin.accept()
    crowd = []
    for _ in range(100):
        crowd.append(proxy.client())
    turned_away = eventually(lambda: [client for client in crowd if client.ended() != "open"], what="someone to be turned away")
    for client in turned_away:
        assert not client.buffer or client.buffer.startswith(b"HTTP/1.1 503 ")
    tunnel.send(b"still here")
    assert conn.recv_exactly(10) == b"still here"
    conn.send(b"indeed")
    assert tunnel.recv_exactly(6) == b"indeed"
    cpu = proxy.cpu_seconds()
    time.sleep(0.5)
    assert proxy.cpu_seconds() - cpu < 0.2, "accept spins"
    for client in crowd:
        client.close()
    eventually(lambda: answers(proxy, web), what="recovery")


def answers(proxy, web):
    try:
        return proxy.client().ask(request("GET", web.url("/"))).status == 200
    except (AssertionError, OSError):
        return False


def test_no_descriptor_left_for_the_upstream(start, origin):
    """FAILURES 24: 503 connection_limit_reached, or turned away at the door; never a hang"""
    proxy = start({"workers": 1}, wrap=("prlimit", "--nofile=48:48"))
    holders = []
    for _ in range(60):
        client = proxy.client()
        holders.append(client)
        client.send(request("CONNECT", origin.authority))
        head = client.recv_some(within=3)
        if not head.startswith(b"HTTP/1.1 200 "):
            break
    else:
        raise AssertionError("sixty tunnels with 48 descriptors")
    assert head == b"" or b"error=connection_limit_reached" in head
    for client in holders:
        client.reset()
    web = HttpOrigin()
    eventually(lambda: answers(proxy, web), what="recovery")
