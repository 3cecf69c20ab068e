# SPDX-License-Identifier: MIT
"""ginnel behind others' proxies and behind itself: squid (plain and with a password), another ginnel (http, https with h2), nghttpx (h2), and chains of them (U13 U14,
"Resolved when" of the stage). The same clients as everywhere, through one module."""

import asyncio
import hashlib
import os

import pytest
import websockets.client

from harness import FIN, RST, Client, Ginnel, HttpOrigin, Origin, free_port, parse_proxy_status, scaled
from harness.origins import WebSocketEcho
from harness.others import Nghttpx, Squid
from harness.sides import SIDES, Side, listen

HELLO = "hello from the origin\n"
PASSWORD = "geheim"
KINDS = ("squid", "squid with a password", "ginnel, http", "ginnel, https and h2", "nghttpx, https and h2", "a chain of two")


class Family:
    """Parents that live as long as the session, and for each kind a ginnel that goes through it."""

    def __init__(self, workdir, certificates, names):
        self.dir, self.certificates, self.names = workdir, certificates, names
        self.parents, self.children = {}, {}

    def _ginnel(self, config, name):
        return Ginnel({"listen": listen(self.certificates), "name": name, "resolver": {"servers": [self.names.address]}, **config}, tracked=False)

    def parent(self, kind):
        if kind not in self.parents:
            self.parents[kind] = self._make(kind)
        return self.parents[kind]

    def _make(self, kind):
        if kind.startswith("squid"):
            return Squid(PASSWORD if "password" in kind else None)
        if kind == "nghttpx":
            plain = self.parent("ginnel").listeners[0]
            return Nghttpx(self.dir, plain, h2=False, pair=self.certificates.leaf)
        return self._ginnel({}, kind)

    def upstream(self, kind):
        ca = {"trust": str(self.certificates.ca)}
        if kind == "squid":
            return {"via": [self.parent("squid").url]}, {}
        if kind == "squid with a password":
            return {"via": [self.parent("squid with a password").url], "auth": {"basic": f"parent:{PASSWORD}"}}, {}
        if kind == "ginnel, http":
            return {"via": ["http://127.0.0.1:%d" % self.parent("ginnel").listeners[0][1]]}, {}
        if kind == "ginnel, https and h2":
            return {"via": ["https://localhost:%d" % self.parent("ginnel").listeners[1][1]]}, ca
        if kind == "nghttpx, https and h2":
            return {"via": ["https://localhost:%d" % self.parent("nghttpx").port]}, ca
        return {"chain": [self.parent("squid").url, "https://localhost:%d" % self.parent("ginnel").listeners[1][1]]}, ca

    def child(self, kind):
        if kind not in self.children:
            entry, more = self.upstream(kind)
            self.children[kind] = self._ginnel({"upstream": [{"for": "any", **entry}], **more}, "child")
        return self.children[kind]

    def stop(self):
        for child in self.children.values():
            child.close()
        for kind in ("nghttpx", "squid", "squid with a password"):
            if kind in self.parents:
                self.parents.pop(kind).stop()
        for parent in self.parents.values():
            parent.close()


@pytest.fixture(scope="module")
def family(workdir, certificates, names):
    family = Family(workdir, certificates, names)
    yield family
    family.stop()


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def child(kind, family):
    ginnel = family.child(kind)
    yield ginnel
    assert ginnel.alive(), ginnel.stderr()[-6000:]
    ginnel.check_log()


@pytest.fixture
def curl(run, child, certificates):
    def curl(*args, **options):
        return run("curl", "-sS", "--max-time", scaled(30), "--cacert", certificates.ca, "-x", f"http://127.0.0.1:{child.port}", *args, **options)

    return curl


def asked(family, kind):
    """How often the parent has been asked."""
    if kind.startswith("squid"):
        return len(family.parent(kind).requests())
    return len(family.parent("ginnel").access())


def test_plain_and_connect(curl, family, kind, nginx):
    """U14: each is asked for at the parent, and nowhere else"""
    before = asked(family, kind)
    url = nginx.url("/small.txt")
    assert curl(url, url).stdout == HELLO * 2
    assert curl("-w", "%{http_version} %{http_connect}", nginx.url("/small.txt", tls=True)).stdout == f"{HELLO}2 200"
    assert curl("-p", nginx.url("/small.txt")).stdout == HELLO
    assert asked(family, kind) >= before + 1


def test_what_the_origin_sees(curl, kind):
    """C27: each of them in Via, in order; nothing of the hops"""
    web = HttpOrigin()
    assert curl(f"http://origin.test:{web.port}/seen?a=%20b").stdout == "GET /seen?a=%20b"
    got = web.requests[0]
    assert got.value("host") == f"origin.test:{web.port}" and not got.has("proxy-authorization")
    via = ", ".join(got.values("via"))
    assert "child" in via
    if "ginnel" in kind or "nghttpx" in kind:
        assert via.index("child") < via.index("ginnel")


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_much_up_and_down(curl, nginx, tmp, tls):
    body = os.urandom(8 << 20)
    (tmp / "body").write_bytes(body)
    assert curl("-T", tmp / "body", "-o", "/dev/null", "-w", "%{http_code}", nginx.url("/upload/parents", tls=tls)).stdout in ("201", "204")
    assert (nginx.www / "upload/parents").read_bytes() == body
    assert hashlib.sha256(curl(nginx.url("/upload/parents", tls=tls), text=False).stdout).digest() == hashlib.sha256(body).digest()


def test_chunks_head_404(curl, nginx):
    assert curl(nginx.url("/chunked.html")).stdout == HELLO
    assert "content-length: 22" in curl("-I", nginx.url("/small.txt")).stdout.lower()
    assert curl("-o", "/dev/null", "-w", "%{http_code}", nginx.url("/nothing")).stdout == "404"


def test_many_at_once(curl, nginx):
    urls = [f"{nginx.url('/small.txt')}?{i}" for i in range(60)] + [f"{nginx.url('/small.txt', tls=True)}?{i}" for i in range(20)]
    out = curl("-Z", "--parallel-max", "40", "-w", "%{http_code}\n", *(a for u in urls for a in ("-o", "/dev/null", u))).stdout
    assert out.split() == ["200"] * 80


def test_other_clients(run, child, nginx, certificates, tmp):
    env = {"http_proxy": f"http://127.0.0.1:{child.port}", "https_proxy": f"http://127.0.0.1:{child.port}"}
    for tls in False, True:
        run("wget", "-q", "--tries=1", f"--ca-certificate={certificates.ca}", "-O", f"out{tls}", nginx.url("/small.txt", tls=tls), **env)
        assert (tmp / f"out{tls}").read_text() == HELLO
    ran = run("openssl", "s_client", "-proxy", child.addr, "-connect", f"origin.test:{nginx.https}", "-servername", "origin.test", "-CAfile", certificates.ca,
              "-verify_return_error", "-alpn", "http/1.1", "-ign_eof", input="GET /small.txt HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n")
    assert HELLO in ran.stdout


def test_every_side(child, certificates, nginx):
    """All four combinations of h1 and h2, before and behind"""
    for name in SIDES:
        side = Side.of(name, child, certificates.authority)
        assert side.ask("GET", nginx.url("/small.txt")).body.decode() == HELLO
        tunnel = side.tunnel(f"origin.test:{nginx.http}")
        tunnel.send(b"GET /small.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert tunnel.recv_all().endswith(HELLO.encode())
        tunnel.close()


def test_websocket(child, certificates, serve, kind):
    """U25: through CONNECT"""
    echo = serve(WebSocketEcho())

    async def talk(sock):
        async with websockets.client.connect(f"ws://ws.test:{echo.port}/chat", sock=sock, max_size=None) as ws:
            for size in (0, 125, 65536, 300_000):
                await ws.send(b"\xff" * size)
                assert await asyncio.wait_for(ws.recv(), 10) == b"\xff" * size

    with Client("127.0.0.1", child.port) as client:
        client.connect(f"ws.test:{echo.port}")
        asyncio.run(talk(client.sock.dup()))


def test_refused_by_the_parent(child, kind):
    """U13: a 502 that says what the parent said"""
    client = Client("127.0.0.1", child.port)
    target = f"origin.test:{free_port()}"
    client.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    answer = client.recv_response("CONNECT")
    assert answer.status == 502, answer
    members = parse_proxy_status(answer.values("proxy-status"))
    assert members[-1][0] == "child"
    if "ginnel" in kind:
        assert members[0][0] == "ginnel" and members[0][1]["error"] == "connection_refused"
    assert client.expect_end() == FIN


def test_names_are_the_parents_business(curl, child, kind):
    """No name is resolved here; what the parent makes of it comes back"""
    out = curl("-o", "/dev/null", "-w", "%{http_code}", "http://nosuch.test/").stdout
    assert out in ("502", "503", "504")


# --- passwords ---------------------------------------------------------------------------------------------------------


def test_407_of_a_parent_stays_here(family, nginx):
    """U13: the client must not be asked for the parent's password"""
    squid = family.parent("squid with a password")
    for auth in ({}, {"auth": {"basic": "parent:wrong"}}):
        with family._ginnel({"upstream": [{"for": "any", "via": [squid.url], **auth}]}, "child") as child:
            for message in (f"GET {nginx.url('/small.txt')}", f"CONNECT origin.test:{nginx.http}"):
                client = Client("127.0.0.1", child.port)
                method, target = message.split()
                client.send(f"{message} HTTP/1.1\r\nHost: origin.test:{nginx.http}\r\n\r\n".encode())
                answer = client.recv_response(method)
                assert answer.status == 502 and not answer.has("proxy-authenticate"), answer
                client.close()


def test_password_from_a_file(family, tmp, nginx):
    (tmp / "secret").write_text(f"parent:{PASSWORD}\n")
    squid = family.parent("squid with a password")
    with family._ginnel({"upstream": [{"for": "any", "via": [{"url": squid.url, "auth": {"basic": {"file": str(tmp / "secret")}}}]}]}, "child") as child:
        client = Client("127.0.0.1", child.port)
        client.send(f"GET {nginx.url('/small.txt')} HTTP/1.1\r\nHost: origin.test:{nginx.http}\r\n\r\n".encode())
        assert client.recv_response().body.decode() == HELLO


def test_password_goes_to_its_parent_only(family, nginx, certificates):
    """Never to a host that is not named"""
    named, other = HttpOrigin(), HttpOrigin()
    entries = [{"for": "named.test", "via": [named.url("").rstrip("/")], "auth": {"basic": "u:p"}}, {"for": "other.test", "via": [other.url("").rstrip("/")]}]
    with family._ginnel({"upstream": entries}, "child") as child:
        side = Side.of("clear-h1", child, certificates.authority)
        side.ask("GET", "http://named.test/")
        side.ask("GET", "http://other.test/")
    assert named.requests[0].value("proxy-authorization") == "Basic dTpw" and not other.requests[0].has("proxy-authorization")


# --- how things end through two ginnels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("parent", ["ginnel, http", "ginnel, https and h2"])
@pytest.mark.parametrize("name", SIDES)
def test_ends_through_a_chain(family, certificates, name, parent):
    """U11 U12 C19 C63: FIN and RST through two of them, both ways, many times"""
    side = Side.of(name, family.child(parent), certificates.authority)
    origin = Origin()
    bulk = hashlib.sha256(b"bulk").digest() * (1 << 15)
    for i in range(12):
        near = side.tunnel(origin.authority)
        far = origin.accept()
        one, other = (near, far) if i % 2 else (far, near)
        one.send(b"question")
        if i % 4 < 2:
            one.shut_write()
            other.expect_end(FIN, b"question")
            sender = other.send_in_background(bulk)
            assert one.recv_exactly(len(bulk), 20) == bulk
            sender.join(5)
            other.shut_write()
            one.expect_end(FIN)
        else:
            assert other.recv_exactly(8) == b"question"
            one.reset()
            other.expect_end(RST)
        near.close()
        far.close()
