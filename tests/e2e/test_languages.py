# SPDX-License-Identifier: MIT
"""The HTTP clients of Go, Python and Node, and Node's server as an origin."""

import asyncio
import concurrent.futures
import hashlib
import pathlib
import time
import urllib.error
import urllib.request

import aiohttp
import pytest
import requests

from harness import request
from harness.origins import NodeServer
from harness.ways import GINNEL_H2, GINNEL_HTTPS

CLIENTS = pathlib.Path(__file__).parent / "clients"
HELLO = "hello from the origin\n"


@pytest.mark.ways("clear-h1", "tls-h1", "tls-h2", GINNEL_H2, workers=True)
def test_go(run, way, nginx, certificates, tmp, workdir):
    """S001-1, S001-2, U43: forward, CONNECT with h2 inside, a chunked upload, a hundred at once. Go speaks TLS to a proxy by itself, and no h2 inside then."""
    ran = run("go", "run", CLIENTS / "client.go", way.native_curl, certificates.ca, nginx.url("").rstrip("/"),
              nginx.url("", tls=True), GOFLAGS="-mod=mod", GOPROXY="off", GO111MODULE="off", GOCACHE=workdir / "go",
              GOPATH=tmp / "gopath", timeout=110)
    body = b"0123456789" * 500000
    assert ran.stdout.splitlines() == [
        'http: HTTP/1.1 200 "hello from the origin\\n"',
        f'https: HTTP/{"1.1" if way.native_curl.startswith("https:") else "2.0"} 200 "hello from the origin\\n"',
        "put: true",
        f"sha1: {hashlib.sha1(body).hexdigest()}",
        "done",
    ]
    assert (nginx.www / "upload/go").read_bytes() == body


def test_node(run, way, nginx, certificates):
    """S003-11: nothing comes before the handshake; keep-alive, chunks, a hundred requests over four connections."""
    ran = run("node", CLIENTS / "client.js", way.host, way.port, certificates.ca, nginx.url(""),
              nginx.url("", tls=True))
    hello = '{"status":200,"text":"hello from the origin\\n","version":"1.1"}'
    assert ran.stdout.splitlines() == [f"http {hello}", "put true", "many true", "early 0", f"https {hello}"]
    assert (nginx.www / "upload/node").read_bytes() == b"one two three"


@pytest.fixture
def session(way, certificates):
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": way.native_curl, "https": way.native_curl}  # it speaks TLS to a proxy by itself
        session.verify = str(certificates.ca)
        yield session


def test_requests(session, nginx):
    for tls in False, True:
        for _ in range(3):
            assert session.get(nginx.url("/small.txt", tls=tls), timeout=10).text == HELLO


def test_requests_streams_an_upload(session, nginx):
    parts = [bytes([i]) * 10_000 for i in range(100)]
    response = session.put(nginx.url("/upload/requests"), data=iter(parts), timeout=30)
    assert response.status_code in (201, 204)
    assert (nginx.www / "upload/requests").read_bytes() == b"".join(parts)


def test_requests_sees_a_failed_connect_as_one(session):
    with pytest.raises(requests.exceptions.ProxyError, match="502"):
        session.get("https://nosuch.test/", timeout=10)


@pytest.mark.ways("clear-h1", "tls-h2", GINNEL_HTTPS, workers=True)
def test_quick_requests_in_a_row_and_in_parallel(session, way, nginx):
    """U43 flavour: five to ten quick requests were enough for others' 502."""
    url = nginx.url("/small.txt")
    assert {session.get(url, timeout=10).status_code for _ in range(300)} == {200}
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        codes = pool.map(lambda _: requests.get(url, proxies={"http": way.url}, timeout=20).status_code, range(200))
        assert set(codes) == {200}


def test_urllib(way, nginx, certificates):
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({"http": way.url, "https": way.url}),
        urllib.request.HTTPSHandler(context=certificates.client_context()),
    )
    for tls in False, True:
        with opener.open(nginx.url("/small.txt", tls=tls), timeout=10) as response:
            assert response.read().decode() == HELLO
    with pytest.raises(urllib.error.HTTPError) as error:
        opener.open("http://nosuch.test/", timeout=10)
    assert error.value.code == 502


@pytest.mark.ways(workers=True)
def test_aiohttp(way, nginx, certificates):
    async def fetch(session, tls, n):
        url = nginx.url(f"/small.txt?{n}", tls=tls)
        async with session.get(url, proxy=way.url, ssl=certificates.client_context() if tls else None) as response:
            return response.status, await response.text()

    async def all_of_them():
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session:
            return await asyncio.gather(*(fetch(session, n % 4 == 0, n) for n in range(100)))

    assert set(asyncio.run(all_of_them())) == {(200, HELLO)}


@pytest.mark.ways("clear-h1", workers=True)
def test_node_as_an_origin_that_hangs_up_after_five_seconds(way, serve, tmp):
    """U43, design section 6: node closes a quiet connection after 5 s. Whoever asks again just then must not get a 502, with
    a request that may be repeated or with one that may not."""
    node = serve(NodeServer(tmp))
    target = f"http://node.test:{node.port}/"
    offsets = [4.90 + 0.01 * i for i in range(24)]  # seconds between the two requests

    def twice(job):
        offset, method = job
        message = request(method, target, body=None if method == "GET" else b"hello")
        codes = []
        with way.client() as client:
            for pause in 0, offset:
                time.sleep(pause)
                codes.append(client.ask(message).status)
        return codes

    jobs = [(offset, method) for offset in offsets for method in ("GET", "POST")]
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        outcome = dict(zip(jobs, pool.map(twice, jobs)))
    assert {job: codes for job, codes in outcome.items() if codes != [200, 200]} == {}
