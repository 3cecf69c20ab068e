# SPDX-License-Identifier: MIT
"""What is left of one way when a request goes another."""

from harness import DnsServer, HttpOrigin, Origin, request
from test_parents import upstream, via


def test_secrets_stay_with_the_parent(start):
    """C25: a parent that breaks off is followed by the origin itself, which gets neither the parent's credentials nor the absolute-form"""
    parent = Origin()
    origin = Origin()
    behind = start(upstream({"via": [f"http://{parent.authority}", "direct"], "auth": {"basic": "user:password"}}, private="allow"))
    client = behind.client()
    client.send(request("GET", f"http://{origin.authority}/a"))
    conn = parent.accept()
    assert conn.recv_request_head().values("proxy-authorization")
    conn.close()
    conn = origin.accept()
    head = conn.recv_request_head()
    assert head.target == "/a" and not head.values("proxy-authorization")
    conn.send(b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n")
    assert client.recv_response().status == 407
    assert not behind.wait_access(1)[0].get("ginnel.via")


def test_what_goes_direct_after_all_is_judged(start):
    """a name that a parent got unresolved is resolved and judged before it goes direct"""
    parent, origin, dns = Origin(), HttpOrigin(), DnsServer()
    dns.answer("name.test", a=["127.0.0.1"])
    behind = start(upstream(via(parent, "direct"), private="deny", resolver={"servers": [dns.address]}))
    client = behind.client()
    client.send(request("GET", origin.url("/", name="name.test")))
    conn = parent.accept()
    conn.recv_request_head()
    conn.close()
    assert client.recv_response().status == 403
    assert origin.requests == []
