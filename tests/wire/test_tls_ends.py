# SPDX-License-Identifier: MIT
"""TLS clients at the edges: a stop while the last bytes leave, certificates without a subject, handshakes that take all places."""

import os
import time

import pytest

from harness import FIN, HttpOrigin, Origin, eventually, request, response
from harness.certs import Authority
from harness.tls import TlsClient


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ends"))


@pytest.fixture(scope="session")
def pair(authority):
    return authority.issue("door.test", ("door.test",))


def config(pair, tls=None, **more):
    return {"workers": 1, "private": "allow", "listen": [{"address": "127.0.0.1:0", "tls": {"cert": str(pair.cert), "key": str(pair.key), **(tls or {})}}], **more}


def connect(proxy, authority, pair=None, **options):
    return TlsClient(proxy.host, proxy.port, authority.client_context(["http/1.1"], pair), "door.test", **options)


def queued(client):
    """What the kernel holds of the bytes for this client, at both ends."""
    here, there = (f":{end[1]:04X}" for end in (client.local, client.remote))
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    send = sum(int(row[4].split(":")[0], 16) for row in rows if row[1].endswith(there) and row[2].endswith(here))
    return send + sum(int(row[4].split(":")[1], 16) for row in rows if row[1].endswith(here) and row[2].endswith(there))


def fill(proxy, client, web, size):
    """Asks until the kernel has not taken the end of an answer; returns how many there are."""
    asked = 0
    while asked < 200 and queued(client) >= asked * size:
        asked += 1
        client.send(request("GET", f"http://{web.authority}/"))
        for _ in range(30):
            if queued(client) < asked * size:
                time.sleep(0.01)
    client.shut_write()
    return asked


@pytest.mark.skipif(not os.environ.get("GINNEL_TEST_LONG"), reason="long: GINNEL_TEST_LONG=1")
def test_stop_waits_for_last_records(start, authority, pair):
    """C80 U58: what TLS has sealed and the kernel has not yet taken reaches a slow reader before the process ends"""
    size = 60000
    web = HttpOrigin(lambda req: response(body=b"x" * size))
    proxy = start(config(pair))
    # Whether the last answer is wholly in TLS's hands depends on how it came: then the session is over.
    for _ in range(8):
        client = connect(proxy, authority, rcvbuf=65536)
        asked = fill(proxy, client, web, size)
        time.sleep(1)
        if not proxy.metrics()["ginnel_sessions"]:
            break
        client.reset()
        eventually(lambda: not proxy.metrics()["ginnel_sessions"], what="the session to be over")
    else:
        pytest.skip("its moment was not met")
    proxy.signal()
    time.sleep(0.3)
    assert sum(len(client.recv_response().body) for _ in range(asked)) == asked * size
    client.expect_end(FIN)
    assert proxy.wait_exit() == 0


def test_certificate_without_a_subject(start, authority, pair):
    """RFC 5280 4.1.2.6: who is named in the alternatives alone is somebody too"""
    bare = authority.issue("bare", ("bare.test",), client=True, subject="/")
    proxy = start(config(pair, {"client-ca": str(authority.cert), "client-name": "dns"}))
    answer = connect(proxy, authority, bare).ask(request("GET", "http://ginnel.internal/", "Accept: application/json"))
    assert answer.status == 200 and b'"user":"bare.test"' in answer.body.replace(b" ", b"")


def test_stop_while_a_tunnel_is_reset(start, certificates):
    """U58: TLS through a parent's HTTP/2, reset with sealed bytes that no window lets out: the stream ends before its connection does"""
    origin = Origin(context=certificates.server_context())
    parent = start({"workers": 1, "name": "up", "private": "allow",
                    "listen": [{"address": "127.0.0.1:0", "tls": {"cert": str(certificates.leaf.cert), "key": str(certificates.leaf.key)}}]})
    proxy = start({"workers": 1, "private": "allow", "trust": str(certificates.ca), "upstream": [{"via": [f"https://localhost:{parent.port}"]}]})
    client = proxy.client()
    client.send(request("POST", f"https://localhost:{origin.port}/", f"Content-Length: {1 << 30}"))
    origin.accept().recv_request_head()
    client.send_until_blocked(b"x" * 65536, 1 << 28)
    client.reset()
    time.sleep(0.05)
    proxy.signal()
    assert proxy.wait_exit() == 0
