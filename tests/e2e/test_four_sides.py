# SPDX-License-Identifier: MIT
"""Real clients over {clear, TLS} x {h1, h2}, each through the same tests (U14, S001-5, S001-14, S004-8). What speaks TLS to a proxy by itself does so; HAProxy
and nghttpx in front make TLS and h2 clients of the others."""

import asyncio
import hashlib
import os
import pathlib

import aiohttp
import pytest
import requests
import websockets.client

from harness import Client, free_port, scaled
from harness.origins import Site, WebSocketEcho

CLIENTS = pathlib.Path(__file__).parent / "clients"
HELLO = "hello from the origin\n"


@pytest.fixture
def curl(run, front, certificates):
    """curl over the side; by itself where it can."""

    def curl(*args, native=True, **options):
        proxy = front.native if native and not front.is_h2 else front.url
        return run("curl", "-sS", "--max-time", scaled(30), "--cacert", certificates.ca, "--proxy-cacert", certificates.ca, "-x", proxy, *args, **options)

    return curl


def seen(text):
    return dict(line.split("=", 1) for line in text.splitlines())


def test_two_requests(curl, front, nginx):
    url = nginx.url("/small.txt")
    out = curl("-w", "%{http_code} %{num_connects}\n", url, url).stdout
    assert out == f"{HELLO}200 1\n{HELLO}200 0\n"
    assert nginx.seen()[-1][1] == "HTTP/1.1"


def test_what_the_origin_sees(curl, nginx):
    got = seen(curl("-H", "X-Proxy-Note: end to end", nginx.url("/seen?a=%20b")).stdout)
    assert got["request"] == "GET /seen?a=%20b HTTP/1.1" and got["host"] == f"origin.test:{nginx.http}"
    assert "e2e" in got["via"] and got["forwarded"] == "" and got["proxy-note"] == "end to end"


def test_https_inside(curl, nginx):
    """S001-1: TLS in TLS in h2"""
    out = curl("-w", "%{http_version} %{http_connect}", nginx.url("/small.txt", tls=True)).stdout
    assert out == f"{HELLO}2 200"


def test_tunnel_to_an_http_port(curl, nginx):
    assert curl("-p", nginx.url("/small.txt")).stdout == HELLO


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_upload(curl, front, nginx, tmp, tls, chunked):
    """16 MB up, with Expect: 100-continue where curl sends it"""
    body = os.urandom(16 << 20)
    (tmp / "body").write_bytes(body)
    name = f"/upload/{front.name}-{tls}-{chunked}"
    out = curl("-T", "-" if chunked else tmp / "body", "-o", "/dev/null", "-w", "%{http_code}", *(["--http1.1"] if chunked else []), nginx.url(name, tls=tls),
               input=body if chunked else b"", text=False).stdout
    assert out in (b"201", b"204")
    arrived = nginx.www / name.lstrip("/")
    assert hashlib.sha256(arrived.read_bytes()).digest() == hashlib.sha256(body).digest()
    arrived.unlink()


@pytest.mark.parametrize("tunnel", [False, True], ids=["forward", "tunnel"])
def test_download(curl, nginx, tunnel):
    """16 MB down"""
    body = hashlib.sha256(b"16").digest() * (1 << 19)
    (nginx.www / "big").write_bytes(body)
    out = curl(*(["-p"] if tunnel else []), nginx.url("/big"), text=False).stdout
    assert hashlib.sha256(out).digest() == hashlib.sha256(body).digest()


def test_chunked_head_range_redirect(curl, nginx):
    assert curl(nginx.url("/chunked.html")).stdout == HELLO
    assert "content-length: 22" in curl("-I", nginx.url("/small.txt")).stdout.lower()
    assert curl("-r", "6-9", "-w", " %{http_code}", nginx.url("/small.txt")).stdout == "from 206"
    assert curl("-o", "/dev/null", "-w", "%{http_code}", nginx.url("/redirect")).stdout == "302"
    assert curl("-o", "/dev/null", "-w", "%{http_code}", nginx.url("/nothing")).stdout == "404"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "PROPFIND"])
def test_methods_and_repeated_fields(curl, serve, method):
    site = serve(Site(lambda request: (200, {}, f"{request.command} {len(request.body)} {'|'.join(request.headers.get_all('X-Many', []))}".encode()), methods=[method]))
    assert curl("-X", method, "-d", "12345", "-H", "X-Many: a", "-H", "X-Many: b", site.url("origin.test", "/x")).stdout == f"{method} 5 a|b"


@pytest.mark.parametrize("what, error", [("name", "dns_error"), ("port", "connection_refused")])
def test_failures_say_why(curl, what, error):
    """S003-5: a 502 and its reason, for a request and a CONNECT"""
    target = "http://nosuch.test:80/" if what == "name" else f"http://origin.test:{free_port()}/"
    for args, status in ((["-w", "%{http_code}"], 0), (["-p", "-w", "%{http_connect}"], 56)):
        out = curl(*args, "-D", "-", "-o", "/dev/null", target, status=status).stdout
        assert out.endswith("502"), out
        assert error in next(line for line in out.lower().splitlines() if line.startswith("proxy-status:"))


def test_many_at_once(curl, nginx):
    urls = [f"{nginx.url('/small.txt')}?{i}" for i in range(100)] + [f"{nginx.url('/small.txt', tls=True)}?{i}" for i in range(20)]
    # curl 7.88 forgets streams of h2 in TLS in TLS, whoever the proxy is
    out = curl("-Z", "--parallel-max", "50", "-w", "%{http_code}\n", *(a for u in urls for a in ("-o", "/dev/null", u)), native=False).stdout
    assert out.split() == ["200"] * 120


def test_wget(run, front, nginx, certificates, tmp):
    for tls in False, True:
        run("wget", "-q", "--tries=1", f"--ca-certificate={certificates.ca}", "-O", f"out{tls}", nginx.url("/small.txt", tls=tls), http_proxy=front.url,
            https_proxy=front.url)
        assert (tmp / f"out{tls}").read_text() == HELLO


def test_python_requests(front, nginx, certificates):
    """https proxies by itself, too"""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(certificates.ca)
        proxy = front.native if not front.is_h2 else front.url
        session.proxies = {"http": proxy, "https": proxy}
        for tls in False, True:
            for _ in range(3):
                assert session.get(nginx.url("/small.txt", tls=tls), timeout=10).text == HELLO
        parts = [bytes([i]) * 10_000 for i in range(100)]
        assert session.put(nginx.url("/upload/requests"), data=iter(parts), timeout=30).status_code in (201, 204)
        assert (nginx.www / "upload/requests").read_bytes() == b"".join(parts)


def test_aiohttp(front, nginx, certificates):
    async def fetch(session, tls, n):
        async with session.get(nginx.url(f"/small.txt?{n}", tls=tls), proxy=front.url, ssl=certificates.client_context() if tls else None) as response:
            return response.status, await response.text()

    async def all_of_them():
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session:
            return await asyncio.gather(*(fetch(session, n % 4 == 0, n) for n in range(60)))

    assert set(asyncio.run(all_of_them())) == {(200, HELLO)}


def test_node(run, front, nginx, certificates):
    ran = run("node", CLIENTS / "client.js", front.host, front.port, certificates.ca, nginx.url(""), nginx.url("", tls=True))
    hello = '{"status":200,"text":"hello from the origin\\n","version":"1.1"}'
    assert ran.stdout.splitlines() == [f"http {hello}", "put true", "many true", "early 0", f"https {hello}"]


def test_openssl(run, front, nginx, certificates):
    ran = run("openssl", "s_client", "-proxy", front.addr, "-connect", f"origin.test:{nginx.https}", "-servername", "origin.test", "-CAfile", certificates.ca,
              "-verify_return_error", "-alpn", "http/1.1", "-ign_eof", input="GET /small.txt HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n")
    assert "Verify return code: 0 (ok)" in ran.stdout and HELLO in ran.stdout


def test_netcat(run, front, nginx):
    """A request from a pipe, and the end of input behind it"""
    request = f"GET {nginx.url('/small.txt')} HTTP/1.1\r\nHost: origin.test:{nginx.http}\r\nConnection: close\r\n\r\n"
    options = ["-N"] if not front.other else ["-q", "-1"]  # HAProxy and nghttpx take the end for one of both directions
    out = run("nc.openbsd", *options, front.host, front.port, input=request.encode(), text=False).stdout
    assert out.startswith(b"HTTP/1.1 200 OK\r\n") and out.endswith(HELLO.encode())


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_websocket(front, certificates, serve, tls):
    """U25: through CONNECT, over every side"""
    echo = serve(WebSocketEcho(certificates.server_context() if tls else None))

    async def talk(sock):
        extra = {"ssl": certificates.client_context(), "server_hostname": "ws.test"} if tls else {}
        async with websockets.client.connect(f"{'wss' if tls else 'ws'}://ws.test:{echo.port}/chat", sock=sock, max_size=None, **extra) as ws:
            for size in (0, 125, 126, 65536, 300_000):
                await ws.send(b"\xff" * size)
                assert await asyncio.wait_for(ws.recv(), 10) == b"\xff" * size

    with Client(front.host, front.port) as client:
        client.send(f"CONNECT ws.test:{echo.port} HTTP/1.1\r\nHost: ws.test:{echo.port}\r\n\r\n".encode())
        assert client.recv_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        asyncio.run(talk(client.sock.dup()))
    assert echo.paths == ["/chat"]


def test_go(run, front, nginx, certificates, workdir, tmp):
    """Go speaks TLS to a proxy by itself"""
    proxy = front.native if not front.is_h2 else front.url
    ran = run("go", "run", CLIENTS / "client.go", proxy, certificates.ca, nginx.url("").rstrip("/"), nginx.url("", tls=True), GOFLAGS="-mod=mod", GOPROXY="off",
              GO111MODULE="off", GOCACHE=workdir / "go", GOPATH=tmp / "gopath", timeout=110)
    inner = "1.1" if proxy.startswith("https:") else "2.0"
    assert ran.stdout.splitlines()[:3] == ['http: HTTP/1.1 200 "hello from the origin\\n"', f'https: HTTP/{inner} 200 "hello from the origin\\n"', "put: true"]
    assert ran.stdout.splitlines()[-1] == "done"
