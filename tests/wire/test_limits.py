# SPDX-License-Identifier: MIT
"""`limits` from outside: rates and their 429, waiting, bandwidth by the clock, quotas that outlive the process, caps, reloads, two workers that count
together."""

import hashlib
import os
import re
import selectors
import shutil
import subprocess
import threading
import time

import pytest

from harness import HttpOrigin, Origin, chunked, eventually, request, response, scaled

LONG = bool(os.environ.get("GINNEL_TEST_LONG"))
KB, MB = 1024, 1 << 20


def refused(answer, why, limit):
    assert answer.status == 429, answer
    assert int(answer.value("Retry-After")) >= 1
    assert "error=http_request_denied" in answer.value("Proxy-Status")
    assert limit in answer.value("Proxy-Status")
    assert limit in answer.body.decode() and f"ginnel: {why} " in answer.body.decode()
    return answer


def get(proxy, web, path="/"):
    with proxy.client() as client:
        return client.ask(request("GET", web.url(path)))


def feed(data, hold=None):
    """An origin that sends data as soon as it is connected to, and then ends."""
    def serve(conn):
        conn.send(data, within=60)
        if hold:
            hold.wait(60)
        conn.shut_write()
    return Origin(serve)


def timed(fn):
    began = time.monotonic()
    value = fn()
    return value, time.monotonic() - began


# --- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.workers
def test_rate_over_two_workers(start, web):
    """S001-25: whichever worker serves a connection, all count in one bucket: the burst passes, the rest gets 429 with Retry-After"""
    proxy = start({"limits": [{"per": "client", "requests": "1/s", "burst": 10, "name": "ten"}], "workers": 2})
    answers = []
    began = time.monotonic()
    clients = [proxy.client() for _ in range(24)]
    for client in clients:
        answers.append(client.ask(request("GET", web.url("/"))))
    passed = sum(a.status == 200 for a in answers)
    assert 10 <= passed <= 11 + int(time.monotonic() - began)
    for answer in answers:
        if answer.status != 200:
            refused(answer, "limit-requests", "ten allows 1 requests a second for each client")
    records = proxy.wait_access(24 - passed, {"ginnel.end": "limit-requests"})
    assert records[0]["http.response.status_code"] == 429
    assert proxy.metrics()['ginnel_exchanges_ended_total{reason="limit-requests"}'] == 24 - passed
    assert proxy.metrics()["ginnel_limit_buckets"] == 1
    for client in clients:
        client.close()


def test_limits_add_up(start, web):
    """S001-25: one for all stands over one for each host: both must hold, and a refused request has paid"""
    proxy = start({"limits": [{"requests": "1/s", "burst": 4, "name": "all"}, {"per": "host", "requests": "1/s", "burst": 2, "name": "host"}]})
    assert get(proxy, web).status == 200
    assert get(proxy, web).status == 200
    refused(get(proxy, web), "limit-requests", "the limit host allows")
    refused(get(proxy, web), "limit-requests", "the limit host allows")
    refused(get(proxy, web), "limit-requests", "the limit all allows")


def test_refused_by_rules_has_paid(start, web):
    """requests are charged before the rules"""
    proxy = start({"limits": [{"requests": "1/s", "burst": 2}], "rules": [{"deny": "any"}]})
    assert [get(proxy, web).status for _ in range(3)] == [403, 403, 429]


def test_pace(start, web):
    """S001-25: instead of a refusal a wait; nobody is refused, and the rate holds"""
    proxy = start({"limits": [{"requests": "20/s", "burst": 1, "pace": True}]})
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(get(proxy, web).status)) for _ in range(11)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 11
    assert time.monotonic() - began >= 0.49
    assert proxy.metrics()["ginnel_limit_wait_seconds_total"] > 0.5


def test_curl_comes_again(start, web, tmp_path):
    """curl understands Retry-After"""
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    proxy = start({"limits": [{"requests": "1/s", "burst": 1}]})
    argv = ["curl", "-sS", "--retry", "5", "-w", "%{http_code}", "-o", str(tmp_path / "out"), "-x", f"http://{proxy.addr}", web.url("/")]
    outs = [subprocess.run(argv, capture_output=True, text=True, timeout=scaled(20), check=True).stdout for _ in range(2)]
    assert [out[-3:] for out in outs] == ["200", "200"]
    assert proxy.wait_access(1, {"ginnel.end": "limit-requests"})


# --- tunnels ---------------------------------------------------------------------------------------------------------


@pytest.mark.workers
def test_tunnels(start, origin):
    """S001-25: so many at the same time, over all workers; an ended one makes room"""
    proxy = start({"limits": [{"per": "client", "tunnels": 3, "name": "three"}]})
    tunnels = [proxy.client() for _ in range(3)]
    for tunnel in tunnels:
        tunnel.connect(origin.authority)
    with proxy.client() as over:
        over.send(request("CONNECT", origin.authority))
        refused(over.recv_response("CONNECT"), "limit-tunnels", "three allows 3 tunnels")
    tunnels[0].reset()

    def again():
        with proxy.client() as client:
            client.send(request("CONNECT", origin.authority))
            return client.recv_until(b"\r\n").startswith(b"HTTP/1.1 200")

    eventually(again, what="room for a tunnel")


# --- bandwidth -------------------------------------------------------------------------------------------------------


def test_bandwidth_of_a_message(start):
    """S002-10 U10: a download on plain HTTP at the configured rate, all of it right"""
    data = os.urandom(3 * MB)
    web = HttpOrigin(lambda req: response(200, body=data))
    proxy = start({"limits": [{"bandwidth": "2MB/s"}]})
    answer, seconds = timed(lambda: get(proxy, web))
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(data).digest()
    # a tenth of a second's worth may come at once
    assert seconds >= 1.4 * 0.95
    assert seconds <= scaled(1.5 * 1.05 + 0.3)


def test_bandwidth_of_a_tunnel(start):
    """S002-10 S002-11 U10: the same on CONNECT; its record has size and duration"""
    data = os.urandom(3 * MB)
    origin = feed(data)
    proxy = start({"limits": [{"bandwidth-down": "2MB/s"}]})
    with proxy.client() as client:
        client.connect(origin.authority)
        client.shut_write()
        digest, seconds = timed(lambda: client.digest_all(within=30))
    assert digest == (len(data), hashlib.sha256(data).hexdigest())
    assert seconds >= 1.4 * 0.95
    assert seconds <= scaled(1.5 * 1.05 + 0.3)
    record = proxy.wait_access(1)[0]
    assert record["ginnel.bytes_down"] == len(data) and record["ginnel.end"] == "tunnel-done"
    assert record["ginnel.duration_ms"] >= 1300


def test_bandwidth_both_ways_together(start):
    """S002-10: one bucket for both directions and all connections"""
    def echo(conn):
        while piece := conn.recv_some(within=60):
            conn.send(piece, within=60)
        conn.shut_write()

    origin = Origin(echo)
    proxy = start({"limits": [{"bandwidth": "2MB/s"}]})
    data = os.urandom(MB)
    with proxy.client() as client:
        client.connect(origin.authority)
        client.send_in_background(data)
        got, seconds = timed(lambda: client.recv_exactly(MB, within=30))
    assert got == data
    assert seconds >= 0.9 * 0.95
    assert proxy.metrics()["ginnel_limit_wait_seconds_total"] > 0.3


def test_upload(start):
    """U10: an upload is delayed, not broken, whatever the deadline of its silence"""
    data = os.urandom(MB)
    web = HttpOrigin(lambda req: response(200, body=hashlib.sha256(req.body).hexdigest().encode()))
    proxy = start({"limits": [{"bandwidth-up": "1MB/s"}], "timeouts": {"idle": "300ms", "response": "1500ms", "body-rate": "100MB/s"}})
    with proxy.client() as client:
        began = time.monotonic()
        client.send_in_background(request("POST", web.url("/"), body=data))
        answer = client.recv_response("POST", within=30)
    assert answer.body.decode() == hashlib.sha256(data).hexdigest()
    assert time.monotonic() - began >= 0.85


def pour(conn):
    block = bytes(256 * KB)
    try:
        while True:
            conn.sock.settimeout(60)
            conn.sock.sendall(block)
    except OSError:
        pass


def read_for(clients, seconds):
    """What each of them got in that time."""
    got = dict.fromkeys(clients, 0)
    with selectors.DefaultSelector() as selector:
        for client in clients:
            client.sock.setblocking(False)
            selector.register(client.sock, selectors.EVENT_READ, client)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                got[key.data] += len(key.fileobj.recv(256 * KB))
    return list(got.values())


def test_fair(start):
    """64 tunnels under one bucket, of two workers: nobody gets less than four fifths of what another gets, and all together the rate"""
    rate, seconds, n = (20 * MB, 5, 64) if LONG else (8 * MB, 2.5, 32)
    origin = Origin(pour)
    proxy = start({"limits": [{"bandwidth": f"{rate}B/s"}], "workers": 2})
    clients = [proxy.client() for _ in range(n)]
    for client in clients:
        client.connect(origin.authority)
    read_for(clients, 0.5)
    got = read_for(clients, seconds)
    for client in clients:
        client.reset()
    assert sum(got) <= rate * seconds * 1.05 + rate / 10
    # a machine that is busy with something else gives less to everybody
    if sum(got) >= rate * seconds * 0.95:
        assert min(got) >= 0.8 * max(got), sorted(got)


def test_quiet_when_nothing_moves(start, origin):
    """a limited tunnel that is quiet costs no turn"""
    proxy = start({"limits": [{"bandwidth": "1MB/s", "quota": "1GB/day", "requests": "100/s", "tunnels": 5}]})
    with proxy.client() as client:
        client.connect(origin.authority)
        client.send(b"ping")
        origin.accept().recv_exactly(4)
        time.sleep(0.2)
        before = proxy.cpu_seconds()
        turns = sum(w["turns"] for w in proxy.status()["workers"]) if "turns" in proxy.status()["workers"][0] else None
        time.sleep(0.7)
        assert proxy.cpu_seconds() - before <= 0.05
        if turns is not None:
            assert sum(w["turns"] for w in proxy.status()["workers"]) - turns < 20


# --- quotas ----------------------------------------------------------------------------------------------------------


def test_quota(start, tmp_path):
    """what runs ends with reason quota, the quiet tunnel too, on whatever worker; what comes gets 429; a restart changes nothing"""
    state = tmp_path / "state"
    config = {"limits": [{"quota": "1MB/month", "name": "little"}], "workers": 2}
    origin = feed(bytes(2 * MB))
    idle = Origin(lambda conn: conn.wait_ended(60))
    proxy = start(config, env={"STATE_DIRECTORY": str(state)})
    quiet = [proxy.client() for _ in range(4)]
    for tunnel in quiet:
        tunnel.connect(idle.authority)
    with proxy.client() as client:
        client.connect(origin.authority)
        n = 0
        try:
            while piece := client.recv_some(within=10):
                n += len(piece)
        except ConnectionError:
            pass
        assert n < 2 * MB
    for tunnel in quiet:
        tunnel.wait_ended(within=2)
    records = proxy.wait_access(5, {"ginnel.end": "quota"})
    assert all(r["ginnel.tunnel"] for r in records)
    with proxy.client() as client:
        client.send(request("CONNECT", origin.authority))
        answer = refused(client.recv_response("CONNECT"), "quota", "little allows 1048576 bytes a month")
        assert 1 <= int(answer.value("Retry-After")) <= 31 * 86400
    assert "quotas are kept in" in proxy.stderr()
    proxy.stop()
    text = (state / "quota").read_text()
    assert text.startswith("ginnel quota 1\n") and re.search(r"^end 1 [0-9a-f]+$", text, re.M)
    proxy = start(config, env={"STATE_DIRECTORY": str(state)})
    assert "1 of them count already" in proxy.stderr()
    web = HttpOrigin()
    refused(get(proxy, web), "quota", "little")
    # a larger one, after a reload: what was counted counts
    proxy.reload({**config, "limits": [{"quota": "1GB/month", "name": "little"}]})
    assert get(proxy, web).status == 200
    # another one: nothing was
    proxy.reload({**config, "limits": [{"quota": "1MB/day", "name": "little"}]})
    assert get(proxy, web).status == 200


def test_quota_in_the_middle_of_an_answer(start):
    """an answer that a quota cuts never looks complete"""
    def serve(conn):
        conn.recv_request()
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(bytes(64 * KB), bytes(64 * KB)), within=30)

    origin = Origin(serve)
    proxy = start({"limits": [{"quota": "20KB/hour"}]})
    with proxy.client() as client:
        client.send(request("GET", f"http://{origin.authority}/"))
        got = b""
        try:
            while piece := client.recv_some(within=10):
                got += piece
        except ConnectionError:
            pass
    assert b"\r\n0\r\n\r\n" not in got
    assert proxy.wait_access(1)[0]["ginnel.end"] == "quota"


@pytest.mark.parametrize("damage", ["cut", "changed", "foreign", "unreadable"])
def test_quota_file_that_makes_no_sense(start, web, tmp_path, damage):
    """it is said, put aside, and everything else goes on"""
    path = tmp_path / "quota"
    config = {"limits": [{"quota": "1GB/month"}]}
    env = {"STATE_DIRECTORY": str(tmp_path)}
    proxy = start(config, env=env)
    assert get(proxy, web).status == 200
    proxy.stop()
    good = path.read_bytes()
    if damage == "unreadable":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes({"cut": good[:-9], "changed": good.replace(b" ", b" 1", 1), "foreign": b"\x00" * 100}[damage])
    proxy = start(config, env=env)
    assert f"{path} is damaged" in proxy.stderr()
    assert get(proxy, web).status == 200
    assert (tmp_path / "quota.damaged").exists()


def test_quota_without_a_folder(start, web):
    """nowhere to write: said, and the quota holds all the same"""
    proxy = start({"limits": [{"quota": "10B/month"}]}, env={"STATE_DIRECTORY": "/proc/ginnel"})
    assert "quotas are not saved" in proxy.stderr()
    # bytes are counted just after they are passed on
    eventually(lambda: get(proxy, web).status == 429, what="the quota to be used up")
    refused(get(proxy, web), "quota", "10 bytes a month")


def test_two_of_them_do_not_share_a_file(start, tmp_path):
    """the second one says so, and lets the first keep its file"""
    config, env = {"limits": [{"quota": "1GB/month"}]}, {"STATE_DIRECTORY": str(tmp_path)}
    start(config, env=env)
    assert "another ginnel keeps its quotas" in start(config, env=env).stderr()


# --- caps ------------------------------------------------------------------------------------------------------------


def test_caps(start):
    """413 and 403 where a length is announced, and nothing is dialled or passed on; else a cut"""
    web = HttpOrigin(lambda req: response(200, body=bytes(3000)))
    proxy = start({"limits": [{"upload": "1000B", "download": "2000B", "name": "small"}]})
    with proxy.client() as client:
        answer = client.ask(request("POST", web.url("/up"), body=bytes(1001)))
        assert answer.status == 413 and "small allows 1000 bytes of an upload" in answer.body.decode()
    assert "/up" not in web.paths()
    with proxy.client() as client:
        answer = client.ask(request("GET", web.url("/down")))
        assert answer.status == 403 and "download" in answer.value("Proxy-Status")
    origin = feed(bytes(2000), hold=threading.Event())
    with proxy.client() as client:
        client.connect(origin.authority)
        assert client.recv_exactly(2000) == bytes(2000)
        client.send(bytes(1000))
        client.expect_silence()
        client.send(b"!")
        client.expect_end("RST")
    ends = [r["ginnel.end"] for r in proxy.wait_access(3)]
    assert ends == ["upload-cap", "download-cap", "upload-cap"]


# --- reload ----------------------------------------------------------------------------------------------------------


def test_reload_keeps_counts(start, web, origin):
    """what was counted counts, be the amounts others, and limits that are gone are gone"""
    proxy = start({"limits": [{"requests": "1/s", "burst": 50, "tunnels": 1, "name": "a"}]})
    held = proxy.client()
    held.connect(origin.authority)
    for _ in range(40):
        assert get(proxy, web).status == 200
    proxy.reload({"limits": [{"requests": "1/s", "burst": 20, "tunnels": 1, "name": "renamed"}]})
    refused(get(proxy, web), "limit-requests", "renamed")
    proxy.reload({"limits": [{"tunnels": 1}]})
    assert get(proxy, web).status == 200
    proxy.reload({"limits": []})
    with proxy.client() as client:
        client.connect(origin.authority)
    held.send(b"ping")


# --- waiting, and the rules ------------------------------------------------------------------------------------------


def test_who_has_waited_was_judged(start, dns):
    """U2: a limit that wants to know the rule lets requests wait behind the judgement of their addresses: what was refused then stays refused"""
    outside = HttpOrigin(lambda req: response(body=b"outside"))
    inside = HttpOrigin(lambda req: response(body=b"inside"), host="127.0.0.2", port=outside.port)
    dns.answer("two.test", a=["127.0.0.2", "127.0.0.1"])
    proxy = start({"resolver": {"servers": [dns.address]}, "private": "allow",
                   "rules": [{"deny": "127.0.0.2", "port": "any"}, {"allow": ".test", "port": "any"}],
                   "limits": [{"per": "rule", "requests": "4/s", "burst": 1, "pace": True}]})
    for _ in range(4):
        with proxy.client() as client:
            assert client.ask(request("GET", f"http://two.test:{outside.port}/")).body == b"outside"
    assert not inside.requests


def test_who_is_in_many_groups(start, web, tmp_path):
    """S001-25: a bandwidth for each group holds for each of forty"""
    script = tmp_path / "helper"
    script.write_text("#!/bin/sh\nwhile read line; do echo OK group=%s; done\n" % ",".join(f"g{i}" for i in range(40)))
    script.chmod(0o755)
    proxy = start({"users": {"command": [str(script)], "children": 1}, "rules": [{"allow": "any", "port": "any", "to": "127.0.0.0/8"}],
                   "limits": [{"per": "group", "bandwidth": "2MB/s"}]})
    for _ in range(3):
        with proxy.client() as client:
            answer = client.ask(request("GET", web.url("/many"), "Proxy-Authorization: Basic am9objpzZWNyZXQ="))
            assert answer.status == 200 and answer.body == b"GET /many", answer
