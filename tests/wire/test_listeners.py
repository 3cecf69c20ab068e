# SPDX-License-Identifier: MIT
"""Where ginnel listens: addresses, Unix sockets, what systemd hands over; who is admitted there, and what they are told."""

import json
import os
import pathlib
import re
import resource
import socket
import stat
import subprocess
import sys
import time

import pytest

from harness import FIN, Client, Ginnel, UnixClient, binary, eventually, free_port, request, run_ginnel
from harness.ginnel import environment

NOBODY = 65534


def ask(client, web):
    return client.ask(request("GET", web.url("/")))


# --- addresses -----------------------------------------------------------------------------------------------------


def test_many_addresses(start, web, ipv6, tmp_path):
    """S002-15 CONFIG listen: addresses, ports, IPv6, localhost, Unix sockets, as items of either kind"""
    ports = [free_port() for _ in range(2)]
    proxy = start({"listen": ["127.0.0.1:0", f"127.0.0.2:{ports[0]}", {"address": f"127.0.0.1:{ports[1]}", "name": "x"}, "[::1]:0",
                              "localhost:0", f"unix:{tmp_path}/a.sock", {"address": f"unix:{tmp_path}/b.sock"}]})
    assert ("127.0.0.2", ports[0]) in proxy.listeners and ("127.0.0.1", ports[1]) in proxy.listeners
    assert [host for host, _ in proxy.listeners].count("::1") == 2 and len(proxy.listeners) == 6
    assert sorted(proxy.unix_listeners) == [f"{tmp_path}/a.sock", f"{tmp_path}/b.sock"]
    for host, port in proxy.listeners:
        assert ask(Client(host, port), web).status == 200
    for path in proxy.unix_listeners:
        assert ask(UnixClient(path), web).status == 200
    told = {item["address"] for item in proxy.status()["listeners"]}
    assert {f"127.0.0.2:{ports[0]}", f"unix:{tmp_path}/a.sock"} <= told


@pytest.mark.parametrize("listen", ["0.0.0.0:0", {"address": "0.0.0.0:0", "name": "all"}, ["127.0.0.1:0", {"address": "[::]:0"}]])
def test_off_loopback_needs_clients(listen):
    """U5 S002-14 CONFIG: an open proxy is written out, or there is none"""
    result = run_ginnel(config={"listen": listen})
    assert result.returncode == 78 and "clients" in result.stderr and re.search(r"ginnel\.yaml:1:\d+", result.stderr)


def test_off_loopback_with_clients_of_its_own(start, web):
    """CONFIG: an item may carry its own clients"""
    proxy = start({"listen": ["127.0.0.1:0", {"address": "0.0.0.0:0", "clients": ["127.0.0.0/8"]}], "private": "allow", "ports": "any"})
    assert ask(Client("127.0.0.1", proxy.listeners[1][1]), web).status == 200
    result = run_ginnel(config={"listen": [{"address": "0.0.0.0:0", "clients": ["10.0.0.0/8"]}, "0.0.0.0:0"]})
    assert result.returncode == 78 and "clients" in result.stderr


def test_off_loopback_at_a_reload(start):
    """U5: what may not be started may not be reloaded either"""
    proxy = start()
    proxy.write_config({"listen": ["127.0.0.1:0", "0.0.0.0:0"]})
    done = proxy.command("reload")
    assert done.returncode == 78 and "clients" in done.stderr
    proxy.write_config({"listen": ["127.0.0.1:0", "0.0.0.0:0"], "clients": ["127.0.0.0/8"]})
    assert proxy.command("reload").returncode == 0
    proxy.write_config({"listen": ["127.0.0.1:0", "0.0.0.0:0"]})
    assert proxy.command("reload").returncode == 78


def test_the_limit_is_raised_and_said():
    """CONFIG: the soft descriptor limit becomes the hard one"""
    proxy = Ginnel(wrap=("prlimit", "--nofile=300:1200"))
    assert re.search(r"^ginnel: info: .*\b1200\b.*\b300\b", proxy.stderr(), re.M)
    assert proxy.status()["descriptors"]["limit"] == 1200


def test_huge_limit_and_reloads(web):
    """U59: nor does a reload size anything by the limit"""
    if Ginnel.instrumented():
        pytest.skip("sanitizers have memory of their own")
    sizes = []
    most = int(pathlib.Path("/proc/sys/fs/nr_open").read_text())
    if subprocess.run(["prlimit", f"--nofile={most}:{most}", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limit in (1024, most):
        proxy = Ginnel(wrap=("prlimit", f"--nofile={limit}:{limit}"))
        proxy.write_config({"listen": ["127.0.0.1:0", "127.0.0.2:0"], "name": "second"})
        assert proxy.command("reload").returncode == 0
        assert ask(proxy.client(), web).status == 200
        eventually(lambda: proxy.metrics()["ginnel_snapshots"] == 1, what="the end of the first configuration")
        sizes.append(proxy.rss())
    assert abs(sizes[1] - sizes[0]) <= 1 << 20, sizes


# --- Unix sockets --------------------------------------------------------------------------------------------------


def unix_proxy(path, **config):
    return Ginnel({"listen": f"unix:{path}", **config})


def test_unix_socket(web, origin, tmp_path):
    """CONFIG listen: forwarding, keep-alive, CONNECT; nothing else is listened on"""
    proxy = unix_proxy(tmp_path / "p.sock")
    assert proxy.listeners == []
    client = UnixClient(tmp_path / "p.sock")
    for _ in range(3):
        assert ask(client, web).status == 200
    assert web.requests[-1].value("via") == "1.1 wire"
    tunnel = UnixClient(tmp_path / "p.sock").connect(origin.authority, early=b"early")
    conn = origin.accept()
    assert conn.recv_exactly(5) == b"early"
    data = os.urandom(3 << 20)
    sender = conn.send_in_background(data)
    assert tunnel.recv_exactly(len(data)) == data
    sender.join()
    tunnel.shut_write()
    conn.expect_end(FIN)
    conn.send(b"rest")
    conn.close()
    tunnel.expect_end(FIN, b"rest")
    record = proxy.wait_access(1, {"http.request.method": "CONNECT"})[0]
    assert record["ginnel.bytes_down"] == len(data) + 4 and record["ginnel.listener"] == f"unix:{tmp_path}/p.sock"
    assert not re.search(r"^(0\.0\.0\.0|127\.|::)", str(record.get("client.address", "")))


def test_unix_socket_and_clients(web, tmp_path):
    """CONFIG: clients are addresses; whoever may open the socket's file has none, and is admitted"""
    unix_proxy(tmp_path / "p.sock", clients=["10.0.0.0/8"])
    assert ask(UnixClient(tmp_path / "p.sock"), web).status == 200


def test_unix_socket_is_for_other_users(root, web, tmp_path):
    """CONFIG listen: other users may connect to it; only root and ginnel's own user to the control socket"""
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == os.getuid() and directory != pathlib.Path("/") and directory != pathlib.Path("/tmp"):
            directory.chmod(0o755)
    proxy = Ginnel({"listen": f"unix:{tmp_path}/p.sock", "control": f"unix:{tmp_path}/c.sock"})
    assert stat.S_IMODE((tmp_path / "p.sock").stat().st_mode) == 0o666
    assert stat.S_IMODE((tmp_path / "c.sock").stat().st_mode) == 0o600
    get = ("import socket,sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
           "s.sendall(b'GET http://ginnel.internal/ HTTP/1.1\\r\\nHost: ginnel.internal\\r\\n\\r\\n'); print(s.recv(99))")
    asked = subprocess.run([sys.executable, "-c", get, tmp_path / "p.sock"], user=NOBODY, group=NOBODY, extra_groups=[],
                           capture_output=True, text=True, check=False)
    assert "HTTP/1.1 200" in asked.stdout, asked
    asked = subprocess.run([sys.executable, "-c", get, tmp_path / "c.sock"], user=NOBODY, group=NOBODY, extra_groups=[],
                           capture_output=True, text=True, check=False)
    assert "PermissionError" in asked.stderr, asked
    os.chmod(tmp_path / "c.sock", 0o666)  # the file lets them in: the peer's user is looked at all the same
    asked = subprocess.run([sys.executable, "-c", get, tmp_path / "c.sock"], user=NOBODY, group=NOBODY, extra_groups=[],
                           capture_output=True, text=True, check=False)
    assert "HTTP/1.1 2" not in asked.stdout, asked
    assert proxy.alive()


def test_stale_unix_socket(web, tmp_path):
    """CONFIG listen: what a killed process has left is replaced"""
    path = tmp_path / "p.sock"
    first = unix_proxy(path)
    first.kill()
    assert path.is_socket()
    unix_proxy(path)
    assert ask(UnixClient(path), web).status == 200


@pytest.mark.parametrize("kind", ["file", "directory", "link to a file"])
def test_something_else_in_the_way(tmp_path, kind):
    """CONFIG listen: a file that is no socket is left alone, and named"""
    path = tmp_path / "p.sock"
    if kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.write_text("precious")
    else:
        (tmp_path / "precious").write_text("precious")
        path.symlink_to("precious")
    result = run_ginnel(config={"listen": f"unix:{path}"})
    assert result.returncode in (69, 77) and str(path) in result.stderr and re.search(r"^ginnel: error: ", result.stderr, re.M), result
    assert path.exists() and (kind == "directory" or path.read_text() == "precious")


def test_live_unix_socket(web, tmp_path):
    """CONFIG listen: 69: another instance has it, and keeps it"""
    path = tmp_path / "p.sock"
    unix_proxy(path)
    result = run_ginnel(config={"listen": f"unix:{path}"})
    assert result.returncode == 69 and str(path) in result.stderr
    assert ask(UnixClient(path), web).status == 200


def test_unix_socket_is_removed_at_the_end(tmp_path):
    """CONFIG listen: and the control socket"""
    proxy = unix_proxy(tmp_path / "p.sock")
    assert (tmp_path / "p.sock").is_socket() and proxy.control_path.is_socket()
    proxy.signal()
    assert proxy.wait_exit() == 0
    assert not (tmp_path / "p.sock").exists() and not proxy.control_path.exists()


def test_unix_socket_of_somebody_else_stays(web, tmp_path):
    """CONFIG listen: what is there by then may be another instance's"""
    path = tmp_path / "p.sock"
    first = unix_proxy(path)
    path.unlink()
    unix_proxy(path)
    first.signal()
    assert first.wait_exit() == 0
    assert ask(UnixClient(path), web).status == 200


def test_unix_socket_over_reloads(start, web, tmp_path):
    """U57: added, kept, removed: its file goes, its connections stay"""
    path = tmp_path / "p.sock"
    proxy = start()
    both = {"listen": ["127.0.0.1:0", f"unix:{path}"]}
    proxy.write_config(both)
    assert proxy.command("reload").returncode == 0
    kept = UnixClient(path)
    assert ask(kept, web).status == 200
    inode = path.stat().st_ino
    proxy.write_config({**both, "name": "second"})
    assert proxy.command("reload").returncode == 0
    assert path.stat().st_ino == inode and not ask(kept, web).closes
    proxy.write_config()
    assert proxy.command("reload").returncode == 0
    assert not path.exists()
    assert ask(kept, web).closes
    kept.expect_end(FIN)


def test_long_path():
    """CONFIG listen: what no socket's name can hold is said with its place"""
    result = run_ginnel(config={"listen": "unix:/tmp/" + "x" * 200})
    assert result.returncode in (69, 78) and "xxx" in result.stderr and re.search(r"^ginnel: error: |ginnel\.yaml:\d", result.stderr, re.M)


# --- what belongs to a listener ------------------------------------------------------------------------------------


def test_names_in_the_log(start, web):
    """CONFIG listen: name; without one it is the address"""
    proxy = start({"listen": [{"address": "127.0.0.1:0", "name": "lan"}, "127.0.0.2:0"]})
    for host, port in proxy.listeners:
        assert ask(Client(host, port), web).status == 200
    records = proxy.wait_access(2)
    assert {record["ginnel.listener"] for record in records} == {"lan", "127.0.0.2:%d" % proxy.listeners[1][1]}
    assert {item["name"] for item in proxy.status()["listeners"]} >= {"lan"}


FILE = """\
workers: 2
listen:
  - address: 127.0.0.1:0
    name: lan
    clients: [127.0.0.2]
  - 127.0.0.3:0
clients: [127.0.0.1, 127.0.0.4]
log: {access: @DIR@/access.log, level: info}
timeouts: {drain: 1s}
reasons: own
"""


@pytest.mark.parametrize("listener, source, line", [(0, "127.0.0.2", 0), (0, "127.0.0.1", 5), (0, "127.0.0.4", 5),
                                                    (1, "127.0.0.4", 0), (1, "127.0.0.1", 0), (1, "127.0.0.2", 7)])
def test_clients_of_a_listener(start, web, listener, source, line):
    """CONFIG: an item's own clients replace the top's; a refusal is 403 and close, and names the line that refused"""
    proxy = start(FILE)
    host, port = proxy.listeners[listener]
    client = Client(host, port, source=source)
    answer = ask(client, web)
    if not line:
        assert answer.status == 200
        return
    assert answer.status == 403 and answer.closes
    assert 'error=http_request_denied' in answer.value("proxy-status")
    assert re.search(rf"ginnel\.yaml:{line}\b", answer.body.decode()) and "clients" in answer.body.decode()
    client.expect_end(FIN)
    assert not web.requests
    assert proxy.wait_access()[0]["ginnel.end"] == "not-admitted"
    tunnel = Client(host, port, source=source)
    assert tunnel.ask(request("CONNECT", web.authority)).status == 403
    tunnel.expect_end(FIN)


ACCEPTS = {"json": "application/json", "html": "text/html", "text": "text/plain"}


def body_text(answer, form):
    """The body, of the type that was asked for and well-formed."""
    text = answer.body.decode()
    assert answer.value("content-type").startswith(ACCEPTS[form])
    if form == "json":
        assert isinstance(json.loads(text), dict)
    assert ("<html" in text.lower()) == (form == "html")
    return text


@pytest.mark.parametrize("form", ACCEPTS)
@pytest.mark.parametrize("reasons", ["none", "own", "all"])
def test_reasons(start, reasons, form):
    """CONFIG reasons, C74: what each level tells and does not tell, of a refusal by `clients` and of a target that refuses"""
    proxy = start(FILE.replace("reasons: own", f"reasons: {reasons}"))
    accept = f"Accept: {ACCEPTS[form]}"
    denied = proxy.client(source="127.0.0.1").ask(request("GET", "http://h.test/", accept))
    port = free_port()
    failed = proxy.client(source="127.0.0.2").ask(request("GET", f"http://localhost:{port}/", accept))
    texts = [answer.value("proxy-status") + " " + body_text(answer, form) for answer in (denied, failed)]
    assert (denied.status, failed.status) == (403, 502)
    assert "error=http_request_denied" in texts[0] and "error=connection_refused" in texts[1]
    told = reasons != "none"
    assert ("ginnel.yaml:5" in texts[0]) == told and ("`clients`" in texts[0]) == told
    assert ("details=" in texts[0]) == ("details=" in texts[1]) == told
    assert (f"localhost:{port}" in texts[1]) == told
    assert (f"127.0.0.1:{port}" in texts[1]) == (reasons == "all")


@pytest.mark.parametrize("kind, level", [("loopback", "all"), ("unix", "all"), ("wildcard", "own")])
def test_default_reasons(start, tmp_path, kind, level):
    """CONFIG reasons: all where only this machine can ask, own elsewhere"""
    address = {"loopback": "127.0.0.1:0", "unix": f"unix:{tmp_path}/p.sock", "wildcard": "0.0.0.0:0"}[kind]
    proxy = start({"listen": address, "clients": ["127.0.0.0/8"], "private": "allow", "ports": "any"})
    client = UnixClient(tmp_path / "p.sock") if kind == "unix" else Client("127.0.0.1", proxy.port)
    port = free_port()
    answer = client.ask(request("GET", f"http://localhost:{port}/"))
    assert answer.status == 502 and f"localhost:{port}" in answer.body.decode()
    assert (f"127.0.0.1:{port}" in answer.body.decode()) == (level == "all")


def test_reasons_of_one_listener(start):
    """CONFIG: an item's reasons replace the top's"""
    proxy = start({"listen": [{"address": "127.0.0.1:0", "reasons": "none"}, "127.0.0.1:0"], "reasons": "all"})
    answers = [Client(host, port).ask(request("GET", f"http://127.0.0.1:{free_port()}/")) for host, port in proxy.listeners]
    assert ["details=" in answer.value("proxy-status") for answer in answers] == [False, True]


# --- admin ---------------------------------------------------------------------------------------------------------


def test_admin(start, web):
    """ginnel(1): metrics and health; nothing else, no proxy, and not through the proxy; `clients` does not apply"""
    proxy = start({"admin": f"127.0.0.1:{free_port()}", "clients": ["127.0.0.9"]})
    for path in ("/metrics", "/healthz", "/readyz"):
        assert proxy.admin().ask(request("GET", path, host="x")).status == 200
    for path in ("/status", "/config"):
        assert proxy.admin().ask(request("GET", path, host="x")).status == 404
    for path in ("/reload", "/drain"):
        assert proxy.admin().ask(request("POST", path, host="x", body=b"")).status in (404, 405)
    assert proxy.admin().ask(request("GET", web.url("/"))).status >= 400 and not web.requests
    assert proxy.admin().ask(request("CONNECT", web.authority)).status >= 400 and not web.requests
    assert proxy.alive()


def test_admin_is_not_reached_through_the_proxy(start):
    """CONFIG admin: never reachable through the proxy"""
    port = free_port()
    proxy = start({"admin": f"127.0.0.1:{port}"})
    for name in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
        assert proxy.client().ask(request("GET", f"http://{name}:{port}/metrics")).status in (403, 502)
        answer = proxy.client().ask(request("CONNECT", f"{name}:{port}"))
        assert answer.status in (403, 502), answer
    assert proxy.client().ask(request("GET", f"http://127.0.0.1:{port}/metrics")).status == 403
    other = free_port()
    proxy.write_config({"admin": f"127.0.0.1:{other}"})
    assert proxy.command("reload").returncode == 0
    assert proxy.client().ask(request("CONNECT", f"127.0.0.1:{other}")).status == 403
    assert Client("127.0.0.1", other).ask(request("GET", "/healthz", host="x")).status == 200


# --- systemd -------------------------------------------------------------------------------------------------------


HAND_OVER = ("import os,sys; n=int(sys.argv[1]); [os.dup2(100+i, 3+i) for i in range(n)]; os.environ['LISTEN_FDS']=str(n);"
             "os.environ['LISTEN_PID']=str(os.getpid()); os.execvp(sys.argv[2], sys.argv[2:])")


class Handed:
    """Sockets that are handed over as systemd does it."""

    def __init__(self, *sockets):
        self.sockets = sockets
        self.fds = [os.dup2(sock.fileno(), 100 + i) for i, sock in enumerate(sockets)]

    def start(self, config, **options):
        return Ginnel(config, wrap=(sys.executable, "-c", HAND_OVER, str(len(self.fds))), pass_fds=self.fds, **options)

    def run(self, config):
        directory = Ginnel()
        path = directory.dir / "handed.yaml"
        path.write_text(json.dumps(config))
        return subprocess.run([sys.executable, "-c", HAND_OVER, str(len(self.fds)), binary(), "-c", str(path)], pass_fds=self.fds,
                              env=environment(directory.dir), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for fd in self.fds:
            os.close(fd)
        for sock in self.sockets:
            sock.close()


def listening(address="127.0.0.1", family=socket.AF_INET):
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(address if family == socket.AF_UNIX else (address, 0))
    sock.listen(64)
    return sock


def test_handed_over(web, tmp_path):
    """ginnel(1) SYSTEMD: instead of the default addresses; over a reload, and the socket's file stays systemd's"""
    with Handed(listening(), listening(str(tmp_path / "s.sock"), socket.AF_UNIX)) as handed:
        port = handed.sockets[0].getsockname()[1]
        proxy = handed.start({"listen": None})
        assert proxy.listeners == [("127.0.0.1", port)]
        kept = proxy.client()
        assert ask(kept, web).status == 200 and ask(UnixClient(tmp_path / "s.sock"), web).status == 200
        proxy.write_config({"listen": None, "name": "second"})
        assert proxy.command("reload").returncode == 0
        assert ask(proxy.client(), web).status == 200 and not ask(kept, web).closes
        proxy.signal()
        assert proxy.wait_exit() == 0
        assert (tmp_path / "s.sock").is_socket()


def test_handed_over_and_named(web):
    """ginnel(1) SYSTEMD: an item of listen with the same address lends its name and clients"""
    with Handed(listening(), listening()) as handed:
        first, second = (sock.getsockname()[1] for sock in handed.sockets)
        proxy = handed.start({"listen": {"address": f"127.0.0.1:{first}", "name": "named", "clients": ["127.0.0.2"]}})
        assert sorted(port for _, port in proxy.listeners) == sorted((first, second))
        assert ask(Client("127.0.0.1", first), web).status == 403
        assert ask(Client("127.0.0.1", first, source="127.0.0.2"), web).status == 200
        assert ask(Client("127.0.0.1", second), web).status == 200
        assert {record["ginnel.listener"] for record in proxy.wait_access(3)} == {"named", f"127.0.0.1:{second}"}


def test_handed_over_and_open(web):
    """U5 SYSTEMD: handed over off loopback, it needs clients too"""
    with Handed(listening("0.0.0.0")) as handed:
        result = handed.run({"name": "x"})
        assert result.returncode == 78 and "clients" in result.stderr
        proxy = handed.start({"listen": None, "clients": ["127.0.0.0/8"], "private": "allow", "ports": "any"})
        assert ask(Client("127.0.0.1", proxy.port), web).status == 200


class Notify:
    """The other side of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.path = str(path)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.said = []

    def lines(self):
        while True:
            try:
                self.said += self.sock.recv(4096, socket.MSG_DONTWAIT).decode().splitlines()
            except BlockingIOError:
                return self.said

    def wait(self, line, n=1):
        eventually(lambda: self.lines().count(line) >= n, what=f"{line} {n} times; said {self.said}")


def test_notify(tmp_path):
    """ginnel(1) SYSTEMD: ready, reloading, ready again, stopping; the watchdog as long as it turns"""
    notify = Notify(tmp_path / "notify")
    proxy = Ginnel(env={"NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "400000"})
    notify.wait("READY=1")
    notify.wait("WATCHDOG=1", 2)
    began = notify.said.count("WATCHDOG=1")
    time.sleep(1)
    assert 2 <= notify.lines().count("WATCHDOG=1") - began <= 20  # several times an interval would be waste
    assert "RELOADING=1" not in notify.said and "STOPPING=1" not in notify.said
    proxy.reload({"name": "second"})
    notify.wait("READY=1", 2)
    assert "RELOADING=1" in notify.said
    proxy.reload("workes: 1\n")
    notify.wait("READY=1", 3)
    proxy.signal()
    notify.wait("STOPPING=1")
    assert proxy.wait_exit() == 0
    notify.sock.close()
