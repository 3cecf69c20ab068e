# SPDX-License-Identifier: MIT
"""The program around the proxy: command line, configuration, start, access log, drain."""

import fcntl
import json
import os
import pathlib
import re
import resource
import select
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import (FIN, OPEN, RST, Client, Ginnel, binary, eventually, free_port, request, response, run_ginnel,
                     scaled)
from harness.ginnel import environment


# --- command line --------------------------------------------------------------------------------------------------


def test_version():
    """CONFIG"""
    result = run_ginnel("--version")
    assert result.returncode == 0 and re.search(r"\d+\.\d+", result.stdout)


def test_help():
    """CONFIG U5"""
    result = run_ginnel("--help")
    assert result.returncode == 0
    for word in ("--listen", "-c", "check"):
        assert word in result.stdout


@pytest.mark.parametrize("args", [("--no-such-option",), ("no-such-command",), ("-c",), ("--listen",), ("check", "a", "b", "c")])
def test_usage(args):
    """CONFIG: 64"""
    result = run_ginnel(*args)
    assert result.returncode == 64, result
    assert result.stderr and not result.stdout


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "127.0.0.1", "[::1:0", ""])
def test_listen_option_with_no_address(address):
    """CONFIG: said at once, and what was wrong"""
    result = run_ginnel("--listen", address)
    assert result.returncode in (64, 78) and "--listen" in result.stderr


def test_missing_file():
    """CONFIG: 66, and the name"""
    result = run_ginnel("-c", "/no/such/ginnel.yaml")
    assert result.returncode == 66 and "/no/such/ginnel.yaml" in result.stderr


def test_port_in_use():
    """CONFIG: 69, and which one"""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        result = run_ginnel("--listen", f"127.0.0.1:{port}")
    assert result.returncode == 69 and f"127.0.0.1:{port}" in result.stderr


def test_port_of_another_ginnel(proxy):
    """CONFIG: 69: no silent sharing of a port"""
    result = run_ginnel("--listen", proxy.addr)
    assert result.returncode == 69 and proxy.addr in result.stderr


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
def test_open_proxy_must_be_written_out(listen):
    """CONFIG U5 S002-14: off loopback without clients it refuses to start"""
    result = run_ginnel("--listen", listen)
    assert result.returncode == 78 and "clients" in result.stderr
    result = run_ginnel(config={"listen": listen})
    assert result.returncode == 78 and "clients" in result.stderr


# --- the configuration file ------------------------------------------------------------------------------------------


def test_all_errors_are_shown_at_once():
    """CONFIG: 78; file:line:column, the line, a caret, a hint"""
    result = run_ginnel(config="listen: 127.0.0.1:0\nworkes: 2\ntimeouts:\n  connect: soon\n  head: 30s\nclients: 10.0.0.0/33\n")
    assert result.returncode == 78
    for place in ("ginnel.yaml:2:", "ginnel.yaml:4:", "ginnel.yaml:6:"):
        assert place in result.stderr
    assert "did you mean" in result.stderr and "workers" in result.stderr
    assert "workes: 2" in result.stderr and "^" in result.stderr


@pytest.mark.parametrize("text", [
    "listen: [", "listen: 127.0.0.1", "listen: 127.0.0.1:http", "listen: 127.0.0.1:65536", "listen: localhost:1:2", "- a\n- b\n", "just text",
    "listen: &a 127.0.0.1:0\nname: x\n", "name: *a\n", "name: !!str x\n", "workers: 1\nworkers: 2\n", "--- {}\n--- {}\n", "workers: -1",
    "workers: many", "timeouts: {connect: -1s}", "timeouts: {connect: 10 parsecs}", "timeouts: 10s", "sizes: {line: 1}", "sizes: {line: x}",
    "clients: 10.0.0.1/8", "clients: nowhere", "clients: [10.0.0.0/8, '*']", "via: perhaps", "name: 'two words'", "name: \"a\\r\\nX: y\"",
    "log: {access: relative.log}", "log: {level: loud}", "resolver: {servers: [not-an-address]}", "resolver: {family: 5}", "a: {b: {c: d}}",
    "\tworkers: 1", "listen: \xff",
])
def test_bad_files(text):
    """CONFIG: 78 with file:line; FAILURES 15: never a crash"""
    result = run_ginnel(config=text)
    assert result.returncode == 78, result
    assert re.search(r"ginnel\.yaml:\d+", result.stderr)


def test_empty_file(start, web):
    """CONFIG: everything has a default"""
    proxy = start("# nothing\n", args=["--listen", "127.0.0.1:0"])
    assert proxy.client().ask(request("GET", web.url("/"))).status == 200


def test_single_values_and_lists_mean_the_same(start, web):
    """CONFIG"""
    proxy = start("listen: 127.0.0.1:0\nclients: 127.0.0.0/8\nworkers: auto\nlog: {access: off}\nresolver: {servers: 127.0.0.1:53}\n")
    assert proxy.client().ask(request("GET", web.url("/"))).status == 200


def test_check(tmp_path):
    """CONFIG"""
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("listen: 127.0.0.1:0\n")
    bad.write_text("listen: 127.0.0.1:0\nno-such-key: 1\n")
    assert run_ginnel("check", good).returncode == 0
    result = run_ginnel("check", bad)
    assert result.returncode == 78 and "bad.yaml:2" in result.stderr
    assert run_ginnel("check", tmp_path / "none.yaml").returncode == 66


def test_the_first_line_says_which_file():
    """CONFIG: the file used, or none"""
    assert re.search(r"\bno\b|\bnone\b", Ginnel(False, args=["--listen", "127.0.0.1:0"]).stderr().splitlines()[0])
    proxy = Ginnel()
    assert str(proxy.dir / "ginnel.yaml") in proxy.stderr().splitlines()[0]


def test_file_named_by_the_environment(tmp_path, web):
    """CONFIG GINNEL_CONFIG"""
    (tmp_path / "x.yaml").write_text("listen: 127.0.0.1:0\nname: from-environment\n")
    proxy = Ginnel(False, env={"GINNEL_CONFIG": str(tmp_path / "x.yaml")})
    proxy.client().ask(request("GET", web.url("/")))
    assert web.requests[0].value("via") == "1.1 from-environment"


def test_listen_option_replaces_the_file(start, web):
    """CONFIG"""
    proxy = start({"listen": "127.0.0.1:1"}, args=["--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0"])
    assert [host for host, _ in proxy.listeners] == ["127.0.0.1", "127.0.0.2"]
    for host, port in proxy.listeners:
        assert Client(host, port).ask(request("GET", web.url("/"))).status == 200


def test_default_listeners(netns):
    """S000-14 S002-5 S002-15 U5: loopback, port 3128, IPv4 and IPv6"""
    proxy = netns.call(Ginnel, False)
    assert set(proxy.listeners) == {("127.0.0.1", 3128), ("::1", 3128)}
    for host, port in proxy.listeners:
        client = netns.call(Client, host, port)
        assert netns.call(client.ask, request("GET", "http://ginnel.internal/")).status == 200


def test_several_listeners(start, web, ipv6):
    """S002-15"""
    proxy = start({"listen": ["127.0.0.1:0", "[::1]:0"]})
    for host, port in proxy.listeners:
        assert Client(host, port).ask(request("GET", web.url("/"))).status == 200


def largest_descriptor_limit():
    """What the kernel allows, or at least what this process has."""
    most = int(pathlib.Path("/proc/sys/fs/nr_open").read_text())
    if subprocess.run(["prlimit", f"--nofile={most}:{most}", "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        return most
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def test_descriptor_limit_sizes_nothing(web):
    """U59: a huge RLIMIT_NOFILE changes nothing but the limit"""
    if Ginnel.instrumented():
        pytest.skip("sanitizers have memory of their own")
    sizes = []
    for limit in (1024, largest_descriptor_limit()):
        proxy = Ginnel(wrap=("prlimit", f"--nofile={limit}:{limit}"))
        assert proxy.client().ask(request("GET", web.url("/"))).status == 200
        sizes.append(proxy.rss())
    assert abs(sizes[1] - sizes[0]) <= 1 << 20, sizes


def test_soft_limit_is_raised():
    """CONFIG: the soft fd limit is raised to the hard one"""
    proxy = Ginnel(wrap=("prlimit", "--nofile=256:1000"))
    limits = pathlib.Path(f"/proc/{proxy.pid}/limits").read_text()
    assert re.search(r"Max open files\s+1000\s+1000", limits)


def test_a_quiet_proxy_costs_nothing(start, web):
    """DESIGN 4: no system calls, no processor time"""
    proxy = start()
    proxy.client().ask(request("GET", web.url("/")))
    time.sleep(0.2)
    before = proxy.cpu_seconds()
    time.sleep(1)
    assert proxy.cpu_seconds() - before <= 0.02


# --- access log ------------------------------------------------------------------------------------------------------


def test_record_of_a_request(proxy, web):
    """S002-8 S003-3 S004-3 S001-12 S002-11"""
    client = proxy.client()
    client.ask(request("POST", web.url("/path/x?secret=1"), body=b"12345"))
    record = proxy.wait_access(1, {"server.port": web.port, "url.path": "/path/x"})[0]
    answer = b"POST /path/x?secret=1"
    expected = {
        "client.address": "127.0.0.1", "client.port": client.local[1], "http.request.method": "POST", "server.address": "127.0.0.1",
        "server.port": web.port, "url.path": "/path/x", "http.response.status_code": 200, "network.protocol.version": "1.1",
        "network.peer.address": "127.0.0.1", "network.peer.port": web.port, "network.local.address": "127.0.0.1",
        "ginnel.bytes_up": 5, "ginnel.bytes_down": len(answer), "ginnel.reused": False, "ginnel.end": "done",
    }
    assert {key: record.get(key) for key in expected} == expected
    assert record["network.local.port"] == web.conns[0].remote[1]
    for key in ("ginnel.duration_ms", "ginnel.connect_ms", "ginnel.first_byte_ms"):
        assert 0 <= record[key] < 5000, key
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", str(record["time"]))
    assert "secret" not in json.dumps(record)


def test_record_of_a_tunnel(proxy, origin):
    """S001-12 S002-11 S003-3 S004-5: addresses, times, bytes each way, once it has ended"""
    client = proxy.client().connect(origin.authority, early=b"123")
    conn = origin.accept()
    conn.recv_exactly(3)
    conn.send(b"x" * 100000)
    client.recv_exactly(100000)
    client.send(b"4567")
    conn.recv_exactly(4)
    time.sleep(0.1)
    assert not proxy.access({"server.port": origin.port})
    client.close()
    conn.expect_end(FIN)
    conn.close()
    record = proxy.wait_access(1, {"server.port": origin.port})[0]
    expected = {"http.request.method": "CONNECT", "server.address": "127.0.0.1", "http.response.status_code": 200, "ginnel.bytes_up": 7,
                "ginnel.bytes_down": 100000, "ginnel.end": "tunnel-done", "network.peer.port": origin.port,
                "network.local.port": conn.remote[1], "client.port": client.local[1]}
    assert {key: record.get(key) for key in expected} == expected
    assert record["ginnel.duration_ms"] >= 100


def test_large_counts(proxy, origin):
    """S003-3: also what was spliced is counted"""
    client = proxy.client().connect(origin.authority)
    conn = origin.accept()
    sender = client.send_in_background(b"x" * (8 << 20))
    conn.recv_exactly(8 << 20)
    sender.join()
    client.close()
    conn.close()
    record = proxy.wait_access(1, {"server.port": origin.port})[0]
    assert (record["ginnel.bytes_up"], record["ginnel.bytes_down"]) == (8 << 20, 0)


def test_one_record_a_request(proxy, web):
    """S004-3 U61"""
    client = proxy.client()
    client.send(b"".join(request("GET", web.url(f"/{i}")) for i in range(10)))
    for _ in range(10):
        client.recv_response()
    client.close()
    time.sleep(0.2)
    records = proxy.wait_access(10, {"server.port": web.port})
    assert [record["url.path"] for record in records] == [f"/{i}" for i in range(10)]


def test_no_record_without_a_request(start):
    """U62: a connection that says nothing is no request"""
    proxy = start()
    proxy.client().close()
    client = proxy.client()
    client.send(b"\r\n")
    client.close()
    time.sleep(0.3)
    assert proxy.access() == []


def test_content_is_counted_without_its_framing(proxy, web):
    """S003-3"""
    web.reply = response(200, "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n")
    proxy.client().ask(request("POST", web.url("/"), "Transfer-Encoding: chunked", body=b"3;x\r\nabc\r\n0\r\n\r\n"))
    record = proxy.wait_access(1, {"server.port": web.port})[0]
    assert (record["ginnel.bytes_up"], record["ginnel.bytes_down"]) == (3, 5)


def test_http_1_0_is_named(proxy, web):
    """S004-3"""
    proxy.client().ask(request("GET", web.url("/"), version="1.0"))
    assert proxy.wait_access(1, {"server.port": web.port})[0]["network.protocol.version"] == "1.0"


@pytest.mark.parametrize("raw", [
    'GET http://@/"}{"x":"y\\ HTTP/1.1\r\nHost: @\r\n\r\n', "GET http://@/\xff\xc3\xa4\xed\xa0\x80 HTTP/1.1\r\nHost: @\r\n\r\n",
    "GET http://@/\x1b[2J HTTP/1.1\r\nHost: @\r\n\r\n", "GET http://@/\0 HTTP/1.1\r\nHost: @\r\n\r\n", 'G"E\\T http://@/ HTTP/1.1\r\nHost: @\r\n\r\n',
    'GET http://"\\/ HTTP/1.1\r\nHost: @\r\n\r\n', "GET http://@/\n{\"time\":1} HTTP/1.1\r\nHost: @\r\n\r\n", "\x01\x02\x03\r\n\r\n",
    "GET http://@/\x7f\x80 HTTP/1.1\r\nHost: @\r\n\r\n", "GET http://@/%0a%0d%00%1b HTTP/1.1\r\nHost: @\r\n\r\n",
])
def test_log_injection(start, web, raw):
    """S002-8: every line stays one line of JSON, control bytes escaped"""
    proxy = start()
    client = proxy.client()
    client.send(raw.replace("@", web.authority).encode("latin-1"))
    client.recv_response()
    client.close()
    assert proxy.client().ask(request("GET", web.url("/last"))).status == 200
    eventually(lambda: proxy.access_path.read_bytes().count(b"\n") >= 2, what="both records")
    data = proxy.access_path.read_bytes()
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", data)
    records = [json.loads(line) for line in data.decode("utf-8").splitlines()]
    assert len(records) == 2 and [record for record in records if record.get("url.path") == "/last"]
    assert all("ginnel.end" in record for record in records)


def test_no_credentials_in_logs(start, web):
    """C13 U62: nothing of userinfo, queries, authorisation"""
    proxy = start({"log": {"level": "debug"}})
    proxy.client().ask(request("GET", f"http://user:hunter2@{web.authority}/", host=web.authority))
    proxy.client().ask(request("GET", web.url("/?token=hunter2"), "Proxy-Authorization: hunter2", "Authorization: hunter2", "Cookie: a=hunter2"))
    proxy.wait_access(2)
    assert "hunter2" not in proxy.access_path.read_text() and "hunter2" not in proxy.stderr()


@pytest.mark.parametrize("where", ["stdout", "stderr"])
def test_log_to_a_stream(start, web, where):
    """CONFIG log.access"""
    proxy = start({"log": {"access": where}})
    proxy.client().ask(request("GET", web.url("/streamed")))
    path = proxy.stdout_path if where == "stdout" else proxy.stderr_path
    eventually(lambda: "/streamed" in path.read_text(), what="the record")
    line = [line for line in path.read_text().splitlines() if line.startswith("{")][0]
    assert json.loads(line)["url.path"] == "/streamed"


def test_log_off(start, web):
    """CONFIG log.access: off"""
    proxy = start({"log": {"access": "off"}})
    proxy.client().ask(request("GET", web.url("/unseen")))
    time.sleep(0.2)
    assert "/unseen" not in proxy.stderr() + proxy.stdout_path.read_text()
    assert not os.path.exists(proxy.access_path)


def test_log_file_is_appended_to(start, web, tmp_path):
    """CONFIG log.access"""
    path = tmp_path / "access.log"
    path.write_text('{"old": 1}\n')
    proxy = start({"log": {"access": str(path)}})
    proxy.client().ask(request("GET", web.url("/")))
    eventually(lambda: path.read_text().count("\n") == 2, what="the record")
    assert path.read_text().startswith('{"old": 1}\n')


def test_log_file_that_cannot_be_written():
    """CONFIG log.access: said at start"""
    result = run_ginnel(config={"listen": "127.0.0.1:0", "log": {"access": "/no/such/directory/access.log"}})
    assert result.returncode not in (0, -signal.SIGABRT) and "/no/such/directory/access.log" in result.stderr


def test_log_reader_that_leaves(web):
    """U62: a broken pipe of the log does not take the proxy with it"""
    read_end, write_end = os.pipe()
    proxy = Ginnel({"log": {"access": f"/proc/self/fd/{write_end}"}}, pass_fds=(write_end,))
    os.close(write_end)
    os.close(read_end)
    for _ in range(5):
        assert proxy.client().ask(request("GET", web.url("/"))).status == 200
        time.sleep(0.05)


@pytest.mark.workers
def test_records_are_written_before_the_end(start, web):
    """S002-13: nothing of the log is lost by a drain"""
    proxy = start()
    for i in range(50):
        proxy.client().ask(request("GET", web.url(f"/{i}")))
    proxy.signal()
    assert proxy.wait_exit() == 0
    assert len(proxy.access()) == 50


def records_of(path):
    """Every line is one record, and whole."""
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b"", "the last line has no end"
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise AssertionError(f"line {number} is no record ({error}): {line[:2000]!r}") from None
        assert isinstance(records[-1], dict) and "ginnel.end" in records[-1], line
    return records


@pytest.mark.workers
def test_records_of_two_workers_do_not_mix(start, web):
    """S004-3 U61: thousands of requests with long records, several times what the rings of the log hold: every line is one
    record, and each request has one"""
    each = 400 if Ginnel.instrumented() else 1200
    proxy = start({"workers": 2})
    web.reply = response(200, body=b"x")
    errors = []

    def path(name, i):
        return f"/{name}/{i}/" + '"' * (600 + i * 37 % 400)  # each of them escaped: two bytes of the record

    def ask(name):
        try:
            client = proxy.client()
            for first in range(0, each, 40):
                client.send(b"".join(request("GET", web.url(path(name, i))) for i in range(first, first + 40)))
                for _ in range(40):
                    assert client.recv_response(within=20).status == 200
        except (AssertionError, OSError) as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    proxy.signal()
    assert proxy.wait_exit() == 0
    seen = [tuple(record["url.path"].split("/")[1:3]) for record in records_of(proxy.access_path)]
    assert sorted(seen) == sorted((name, str(i)) for name in "abcdef" for i in range(each))


@pytest.mark.parametrize("access", ["stderr", "off"])
def test_stuck_reader_of_stderr(web, tmp_path, access):
    """U62 S002-13: a reader of stderr who has stopped reading costs lines: requests are answered, and TERM ends the program"""
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    config = {"listen": "127.0.0.1:0", "workers": 2, "log": {"access": access, "level": "debug"}, "timeouts": {"drain": "1s"}}
    (tmp_path / "ginnel.yaml").write_text(json.dumps(config))
    process = subprocess.Popen([binary(), "-c", str(tmp_path / "ginnel.yaml")], env=environment(tmp_path),
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=write_end)
    try:
        said = b""
        while b"info: ready" not in said:
            said += os.read(read_end, 4096)
        port = int(re.search(rb"listening on 127\.0\.0\.1:(\d+)", said).group(1))
        while select.select([], [write_end], [], 0)[1]:
            os.write(write_end, b"x" * 512)  # nothing more is taken from here on
        for i in range(300):
            assert Client("127.0.0.1", port).ask(request("GET", web.url("/" + "p" * 3000))).status == 200, i
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(scaled(15)) == 0
        assert time.monotonic() - began < scaled(8)
    finally:
        process.kill()
        process.wait()
        os.close(read_end)
        os.close(write_end)


# --- drain -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_proxy_stops_at_once(start, web, number):
    """S001-13 S002-13: idle connections are closed"""
    proxy = start({"timeouts": {"drain": "30s"}})
    silent, kept = proxy.client(), proxy.client()
    assert kept.ask(request("GET", web.url("/"))).status == 200
    began = time.monotonic()
    proxy.signal(number)
    kept.expect_end(FIN)
    silent.wait_ended()
    assert proxy.wait_exit() == 0
    assert time.monotonic() - began < scaled(2)


def test_listeners_close_first(start, origin):
    """S001-13"""
    proxy = start({"timeouts": {"drain": "5s"}})
    client = proxy.client().connect(origin.authority)
    conn = origin.accept()
    proxy.signal()
    eventually(lambda: refused(proxy), within=2, what="the listener to close")
    client.send(b"goes on")
    assert conn.recv_exactly(7) == b"goes on"
    client.close()
    conn.close()
    assert proxy.wait_exit() == 0


def refused(proxy):
    try:
        proxy.client(within=0.5).close()
    except OSError:
        return True
    return False


@pytest.mark.workers
def test_running_request_finishes(start, origin):
    """S001-13 DESIGN 6: with Connection: close"""
    proxy = start({"timeouts": {"drain": "5s"}})
    client = proxy.client()
    client.send(request("GET", origin.url("/")))
    conn = origin.accept()
    conn.recv_request()
    proxy.signal()
    time.sleep(0.2)
    conn.send(response(200, body=b"finished"))
    answer = client.recv_response()
    assert answer.body == b"finished" and answer.closes
    client.expect_end(FIN)
    assert proxy.wait_exit() == 0


def test_running_download_finishes(start, origin):
    """S001-13"""
    proxy = start({"timeouts": {"drain": "5s"}})
    client = proxy.client()
    client.send(request("GET", origin.url("/")))
    conn = origin.accept()
    conn.recv_request()
    conn.send(response(200, "Content-Length: 10", body=b"01234"))
    client.recv_response_head()
    proxy.signal()
    time.sleep(0.2)
    conn.send(b"56789")
    assert client.recv_exactly(10) == b"0123456789"
    client.expect_end()
    assert proxy.wait_exit() == 0


@pytest.mark.workers
def test_tunnels_get_the_drain_time_and_end_as_cut(start, origin):
    """S001-13 DESIGN 6 U58: RST on both sides, never something that looks complete"""
    proxy = start({"timeouts": {"drain": "600ms"}})
    client = proxy.client().connect(origin.authority)
    conn = origin.accept()
    began = time.monotonic()
    proxy.signal()
    time.sleep(0.3)
    assert client.ended() == conn.ended() == OPEN
    client.send(b"x")
    conn.recv_exactly(1)
    client.expect_end(RST)
    conn.expect_end(RST)
    assert 0.5 < time.monotonic() - began < scaled(2)
    assert proxy.wait_exit() == 0
    assert proxy.access()[0]["ginnel.end"] == "drained"


def test_second_signal_stops_now(start, origin):
    """CONFIG"""
    proxy = start({"timeouts": {"drain": "30s"}})
    client = proxy.client().connect(origin.authority)
    origin.accept()
    proxy.signal()
    eventually(lambda: refused(proxy), within=2)
    began = time.monotonic()
    proxy.signal()
    proxy.wait_exit()
    assert time.monotonic() - began < scaled(1)
    assert client.expect_end() in (FIN, RST)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE])
def test_other_signals_do_not_end_it(start, web, number):
    """CONFIG: HUP, USR1 and USR2 have other meanings"""
    proxy = start()
    for _ in range(3):
        proxy.signal(number)
        time.sleep(0.05)
    assert proxy.client().ask(request("GET", web.url("/"))).status == 200


def test_restart_on_the_same_port(start, web):
    """S002-13: connections of the old process do not hold the port"""
    port = free_port()
    for _ in range(3):
        proxy = start({"listen": f"127.0.0.1:{port}"})
        client = proxy.client()
        assert client.ask(request("GET", web.url("/"))).status == 200
        proxy.close()
