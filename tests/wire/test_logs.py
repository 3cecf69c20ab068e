# SPDX-License-Identifier: MIT
"""The access log as ginnel.yaml(5) promises it, written by the running proxy: tunnels with one id, selection, and what is never in it."""

import json
import re
import time

import pytest

from harness import FIN, Client, eventually, request, scaled

SECRETS = ("hunter2", "s3ss10n", "qu3ry", "fr4g")


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def records(path):
    return [json.loads(line) for line in lines(path)]


def tunnel(proxy, origin, payload=b"ping"):
    client = proxy.client().connect(origin.authority)
    far = origin.accept()
    client.send(payload)
    assert far.recv_exactly(len(payload)) == payload
    return client, far


def test_a_tunnel_at_both_ends(start, origin):
    """U61 S003-3: a line when it begins, one when it ends, the same id"""
    proxy = start({"log": {"tunnels": "both"}})
    client, far = tunnel(proxy, origin)
    eventually(lambda: len(records(proxy.access_path)) == 1, what="the line of the beginning")
    begin = records(proxy.access_path)[0]
    assert begin["ginnel.event"] == "begin" and begin["ginnel.tunnel"] is True and "ginnel.end" not in begin
    assert begin["http.response.status_code"] == 200 and begin["server.port"] == origin.port
    far.close()
    client.expect_end(FIN)
    client.close()
    eventually(lambda: len(records(proxy.access_path)) == 2, what="the line of the end")
    end = records(proxy.access_path)[1]
    assert end["ginnel.id"] == begin["ginnel.id"] and re.fullmatch(r"[0-9a-f]{16}", end["ginnel.id"])
    assert "ginnel.event" not in end and end["ginnel.end"] == "tunnel-done" and end["ginnel.bytes_up"] == 4


def test_a_tunnel_every_second(start, origin):
    """U61: a long tunnel tells that it lives, with its bytes so far"""
    proxy = start({"log": {"tunnels": "every 1s"}})
    client, far = tunnel(proxy, origin)
    eventually(lambda: len(records(proxy.access_path)) >= 3, within=8, what="two lines while it lives")
    client.send(b"more")
    assert far.recv_exactly(4) == b"more"
    client.close()
    far.close()
    eventually(lambda: "ginnel.end" in records(proxy.access_path)[-1], what="the last line")
    got = records(proxy.access_path)
    assert len({r["ginnel.id"] for r in got}) == 1
    assert [r.get("ginnel.event") for r in got] == ["begin"] + ["still"] * (len(got) - 2) + [None]
    assert got[1]["ginnel.bytes_up"] == 4 and got[-1]["ginnel.bytes_up"] == 8
    assert got[1]["ginnel.duration_ms"] >= 1000


def test_a_quiet_tunnel_is_not_kept_alive_by_its_lines(start, origin):
    """timeouts.tunnel counts bytes, not lines"""
    proxy = start({"log": {"tunnels": "every 1s"}, "timeouts": {"tunnel": "2500ms"}})
    began = time.monotonic()
    client, _ = tunnel(proxy, origin)
    client.expect_end(within=8)
    assert 2.3 < time.monotonic() - began < scaled(5)
    eventually(lambda: records(proxy.access_path)[-1].get("ginnel.end") == "tunnel-timeout", what="its last line")


def test_each_output_takes_its_own(start, web):
    """CONFIG: a list of logs with `for`"""
    proxy = start("""
listen:
  - {address: 127.0.0.1:0, name: one}
  - {address: 127.0.0.1:0, name: two}
workers: 2
log:
  - {access: @DIR@/all.log}
  - {access: @DIR@/two.log, for: {listener: two}}
  - {access: @DIR@/posts.log, format: common, for: {method: POST}}
  - {access: @DIR@/deep.log, format: squid, for: {path: /deep/, port: %d}}
  - {access: @DIR@/never.log, for: .example.com}
  - {access: @DIR@/from.log, for: {from: 127.0.0.0/8, to: 127.0.0.1}}
""" % web.port)
    first = proxy.client()
    assert first.ask(request("GET", web.url("/"))).status == 200
    assert first.ask(request("POST", web.url("/deep/er"), body=b"x")).status == 200
    second = Client(*proxy.listeners[1])
    assert second.ask(request("GET", web.url("/deep"))).status == 200
    eventually(lambda: len(lines(proxy.dir / "all.log")) == 3, what="three lines")
    eventually(lambda: len(lines(proxy.dir / "from.log")) == 3, what="all came from loopback and went there")
    assert [r["ginnel.listener"] for r in records(proxy.dir / "two.log")] == ["two"]
    posts, deep = lines(proxy.dir / "posts.log"), lines(proxy.dir / "deep.log")
    assert len(posts) == 1 and '"POST http://' in posts[0]
    assert len(deep) == 1 and "/deep/er" in deep[0] and "TCP_MISS/200" in deep[0]
    assert lines(proxy.dir / "never.log") == []


@pytest.mark.parametrize("layout", ["json", "squid", "common", "combined"])
def test_secrets_are_never_written(start, web, layout):
    """DESIGN 8, S002-8: neither query strings nor credentials nor cookies, in no format"""
    proxy = start({"log": {"format": layout}})
    fields = ["Authorization: Basic hunter2", "Proxy-Authorization: Basic hunter2", "Cookie: id=s3ss10n",
              "Referer: http://a.example/page?token=qu3ry#fr4g", "User-Agent: probe/1"]
    bad = "Bad Name: hunter2"
    client = proxy.client()
    assert client.ask(request("GET", web.url("/seen?token=qu3ry"), *fields)).status == 200
    client.send(request("GET", web.url("/broken?token=qu3ry"), *fields, bad))
    assert client.recv_response().status == 400
    eventually(lambda: len(lines(proxy.access_path)) == 2, what="two lines")
    text = proxy.access_path.read_text()
    assert "/seen" in text and not [word for word in SECRETS if word in text]
    if layout == "combined":
        assert '"http://a.example/page"' in text and '"probe/1"' in text
    assert not [word for word in SECRETS if word in proxy.stderr_path.read_text()]
