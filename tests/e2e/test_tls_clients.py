# SPDX-License-Identifier: MIT
"""Programs that speak TLS or HTTP/2 to the proxy themselves, and programs that stand in front of it (U14 U25 C70 C83 C86 S001-14 S001-26)."""

import json
import pathlib
import re
import shutil
import xml.etree.ElementTree

import pytest

from harness import Client, Ginnel, H2Client, TlsClient, eventually, request, scaled
from harness.browser import PNG, Page, browser
from harness.origins import WebSocketEcho
from harness.others import STREAM_MODULE, Haproxy, NginxStream
from harness.sides import Side, listen

CLIENTS = pathlib.Path(__file__).parent / "clients"
HELLO = "hello from the origin\n"


def need(program):
    path = shutil.which(program, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    if not path:
        pytest.skip(f"no {program}")
    return path


# --- browsers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def chromium(both):
    """Through the TLS listener, which a browser speaks h2 to."""
    need("chromium")
    url = f"https://localhost:{both.listeners[1][1]}"
    with browser(url) as start:
        yield start


def versions(proxy, paths):
    """The version that each of these paths was asked for with."""
    records = [r for r in proxy.access() if r.get("url.path") in paths]
    return {r["network.protocol.version"] for r in records}


def test_chromium_over_h2(both, chromium, serve, certificates):
    """U14 U25 C70, the issue's words: a page with sub-resources and a WebSocket through the h2 proxy"""
    plain, secure = serve(WebSocketEcho()), serve(WebSocketEcho(certificates.server_context()))
    page = serve(Page("", {"/h2-image": lambda request: (200, {"Content-Type": "image/png"}, PNG)}))
    page.html = f"""<!DOCTYPE html><title>h2</title><body><script>
        const result = {{loaded: 0, failed: 0, sockets: []}};
        function done() {{
            if (result.loaded + result.failed === 100 && result.sockets.length === 2)
                fetch('/report', {{method: 'POST', body: JSON.stringify(result)}});
        }}
        function echo(url) {{
            const ws = new WebSocket(url);
            ws.onopen = () => ws.send('x'.repeat(70000));
            ws.onmessage = (event) => {{ result.sockets.push(event.data.length); ws.close(); done(); }};
            ws.onerror = () => {{ result.sockets.push('error'); done(); }};
        }}
        for (let i = 0; i < 100; i++) {{
            const image = new Image();
            image.onload = () => {{ result.loaded++; done(); }};
            image.onerror = () => {{ result.failed++; done(); }};
            image.src = 'http://' + ['origin.test', 'ws.test', 'git.test'][i % 3] + ':{page.port}/h2-image?' + i;
            document.body.append(image);
        }}
        echo('ws://ws.test:{plain.port}/a');
        echo('wss://ws.test:{secure.port}/b');
        </script>"""
    chromium(f"http://origin.test:{page.port}/")
    report = eventually(lambda: page.report, 30, "the page's report")
    assert report == {"loaded": 100, "failed": 0, "sockets": [70000, 70000]}
    assert (plain.paths, secure.paths) == (["/a"], ["/b"])
    assert versions(both, ["/h2-image"]) == {"2"}
    images = [r for r in both.access() if r.get("url.path") == "/h2-image"]
    assert len({(r["client.address"], r["client.port"]) for r in images}) == 1, "one connection for all of them"


def test_chromium_to_an_https_page(chromium, nginx):
    """TLS inside h2 inside TLS"""
    dom, _ = chromium(nginx.url("/seen", tls=True), "--dump-dom").communicate(timeout=scaled(40))
    assert b"alpn=h2" in dom


# --- libraries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["clear", "tls"])
def test_node_http2(run, both, certificates, nginx, serve, kind):
    """node's http2 module: requests, a tunnel with TLS inside, RFC 8441"""
    need("node")
    echo = serve(WebSocketEcho())
    port = both.listeners[kind == "tls"][1]
    ran = run("node", CLIENTS / "h2.js", f"{'https' if kind == 'tls' else 'http'}://localhost:{port}", certificates.ca, nginx.url(""), f"origin.test:{nginx.https}",
              f"ws.test:{echo.port}")
    hello = '{"status":200,"text":"hello from the origin\\n"}'
    assert ran.stdout.splitlines() == [f"plain {hello}", "many true", "tunnel true", "extended true", "websocket 200 hello"]
    assert echo.paths == ["/chat"]


@pytest.mark.ways("clear-h1", "tls-h2")
def test_java(run, way, certificates, nginx):
    """Java knows no https proxies: whoever makes TLS and h2 of what it says stands between"""
    need("javac")
    ran = run("java", "-XX:TieredStopAtLevel=1", CLIENTS / "Client.java", way.host, way.port, certificates.ca, nginx.url("").rstrip("/"), nginx.url("", tls=True).rstrip("/"),
              timeout=100)
    assert ran.stdout.splitlines() == ["200 HTTP_1_1 hello from the origin", "200 HTTP_2 hello from the origin", "put true", "many true"]


def authority(nginx):
    return f"127.0.0.1:{nginx.http}"


@pytest.mark.parametrize("kind", ["clear", "tls"])
def test_nghttp(run, both, nginx, kind):
    """nghttp asks for something else than it connects to: that is a proxy's client"""
    need("nghttp")
    port = both.listeners[kind == "tls"][1]
    ran = run("nghttp", "--no-verify-peer", "-H", f":authority: {authority(nginx)}", "-H", ":scheme: http",
              f"{'https' if kind == 'tls' else 'http'}://localhost:{port}/small.txt")
    assert ran.stdout == HELLO
    up = "x" * 300000
    ran = run("nghttp", "--no-verify-peer", "-v", "-d", "-", "-H", f":authority: {authority(nginx)}", "-H", ":scheme: http", "-H", ":method: PUT",
              f"{'https' if kind == 'tls' else 'http'}://localhost:{port}/upload/nghttp-{kind}", input=up)
    assert re.search(r":status: 20[14]", ran.stdout), ran.stdout
    assert (nginx.www / f"upload/nghttp-{kind}").read_text() == up


@pytest.mark.parametrize("kind", ["clear", "tls"])
def test_h2load(run, both, nginx, kind):
    """Four connections of fifty streams"""
    need("h2load")
    port = both.listeners[kind == "tls"][1]
    out = run("h2load", "-n", "2000", "-c", "4", "-m", "50", "-t", "1", "-H", f":authority: {authority(nginx)}", "-H", ":scheme: http",
              f"{'https' if kind == 'tls' else 'http'}://localhost:{port}/small.txt").stdout
    assert re.search(r"2000 succeeded, 0 failed, 0 errored", out), out
    assert "2xx, 0 3xx, 0 4xx, 0 5xx" in out


# --- what is offered ---------------------------------------------------------------------------------------------------


def s_client(run, both, certificates, *args, status=None, text="Q\n"):
    host, port = both.listeners[1]
    return run("openssl", "s_client", "-connect", f"{host}:{port}", "-servername", "localhost", "-CAfile", certificates.ca, *args, input=text, status=status)


@pytest.mark.parametrize("version, ok", [("-tls1_3", True), ("-tls1_2", True), ("-tls1_1", False), ("-tls1", False)])
def test_versions(run, both, certificates, version, ok):
    """TLS 1.2 and 1.3, nothing older"""
    out = s_client(run, both, certificates, version, "-cipher", "DEFAULT:@SECLEVEL=0", "-verify_return_error").stdout
    assert ("Verify return code: 0 (ok)" in out and "Cipher is (NONE)" not in out) == ok, out


@pytest.mark.parametrize("offer, chosen", [("h2,http/1.1", "h2"), ("http/1.1,h2", "h2"), ("http/1.1", "http/1.1"), ("h2", "h2"), (None, None)])
def test_alpn(run, both, certificates, offer, chosen):
    """C83: exactly one answer, from the client's list"""
    out = s_client(run, both, certificates, *(["-alpn", offer] if offer else [])).stdout
    got = re.search(r"ALPN protocol: (\S+)", out)
    assert (got and got.group(1)) == chosen, out


def test_alpn_without_overlap(run, both, certificates):
    """C83: no_application_protocol"""
    ran = s_client(run, both, certificates, "-alpn", "dot")
    assert "no application protocol" in ran.stderr + ran.stdout


def test_request_typed_into_openssl(run, both, certificates, nginx):
    """S004-8: an https proxy, by hand"""
    text = f"GET {nginx.url('/small.txt')} HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n"
    assert HELLO in s_client(run, both, certificates, "-quiet", "-ign_eof", text=text).stdout


def test_resumption(run, both, certificates, tmp):
    """Tickets are taken back, by whichever worker"""
    for version in ("-tls1_2", "-tls1_3"):
        text = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        s_client(run, both, certificates, version, "-sess_out", tmp / "session", "-ign_eof", text=text)
        for _ in range(6):
            out = s_client(run, both, certificates, version, "-sess_in", tmp / "session").stdout
            assert "Reused, TLSv1" in out, out


def test_sslscan(run, both):
    """Nothing weak is offered"""
    need("sslscan")
    host, port = both.listeners[1]
    report = xml.etree.ElementTree.fromstring(run("sslscan", "--xml=-", "--no-colour", f"{host}:{port}", timeout=100).stdout)
    enabled = {f"{p.get('type')} {p.get('version')}" for p in report.iter("protocol") if p.get("enabled") == "1"}
    assert enabled == {"tls 1.2", "tls 1.3"}
    assert {c.get("sslversion") for c in report.iter("cipher")} == {"TLSv1.2", "TLSv1.3"}
    assert not [c.get("cipher") for c in report.iter("cipher") if c.get("strength") not in ("strong", "acceptable")]
    assert not [c.get("cipher") for c in report.iter("cipher") if re.search("RC4|DES|NULL|EXP|MD5|anon", c.get("cipher"))]
    assert all(h.get("vulnerable") == "0" for h in report.iter("heartbleed"))
    assert all(c.get("supported") == "0" for c in report.iter("compression"))
    assert all(r.get("supported") != "1" or r.get("secure") == "1" for r in report.iter("renegotiation"))


# --- in front ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def behind(start_with, certificates):
    """A ginnel that wants PROXY headers from loopback, in clear and with TLS."""
    return start_with({"listen": [dict(entry, **{"proxy-protocol": {"from": "127.0.0.0/8"}}) for entry in listen(certificates)]})


@pytest.fixture
def start_with(names, serve):
    def start_with(config):
        ginnel = Ginnel({"resolver": {"servers": [names.address]}, **config})
        return ginnel
    return start_with


def asked_from(proxy, address, source, nginx, context=None):
    """The record of a request that came from `source`."""
    path = f"/small.txt?{source}{address[1]}"
    options = {"source": source}
    client = TlsClient(*address, context, **options) if context else Client(*address, **options)
    port = client.local[1]
    assert client.ask(request("GET", nginx.url(path, host="origin.test"))).status == 200
    client.close()
    record = proxy.wait_access(1, {"url.path": "/small.txt", "client.port": port})[-1]
    return record["client.address"]


def in_front(kind, workdir, address):
    if kind == "nginx":
        if not STREAM_MODULE.exists():
            pytest.skip("no nginx stream module")
        return NginxStream(workdir, address, "proxy_protocol on;")
    need("haproxy")
    return Haproxy(workdir, address, server=kind)


@pytest.mark.parametrize("kind", ["send-proxy", "send-proxy-v2", "nginx"])
def test_the_clients_address_behind_a_balancer(behind, workdir, serve, nginx, certificates, kind):
    """C86 S001-26: HAProxy with both versions, nginx with v1; the log has the client's own address. In clear, with TLS passed through, h1 and h2"""
    clear, tls = (serve(in_front(kind, workdir, address)) for address in behind.listeners)
    assert asked_from(behind, clear.address, "127.0.0.9", nginx) == "127.0.0.9"
    assert asked_from(behind, tls.address, "127.0.0.10", nginx, certificates.authority.client_context(["http/1.1"])) == "127.0.0.10"
    conn = H2Client(*tls.address, certificates.authority.client_context(["h2"]), source="127.0.0.11")
    assert conn.request("GET", "http", f"origin.test:{nginx.http}", "/small.txt").recv_response().body.decode() == HELLO
    tunnel = conn.connect(f"origin.test:{nginx.http}")
    tunnel.send(b"GET /small.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert tunnel.recv_all().endswith(HELLO.encode())
    tunnel.close()
    records = behind.wait_access(2, {"client.address": "127.0.0.11"})
    assert {r["network.protocol.version"] for r in records} == {"2"}


def test_without_the_header(behind, nginx):
    """C86: required where it is configured"""
    client = Client(*behind.listeners[0])
    client.send(request("GET", nginx.url("/small.txt")))
    assert HELLO.encode() not in client.recv_all()


def test_limits_see_the_clients_address(start_with, workdir, serve, certificates, nginx):
    """C86: rules judge whom the header names"""
    proxy = start_with({"listen": [{"address": "127.0.0.1:0", "proxy-protocol": {"from": "127.0.0.1"}}], "private": "allow", "ports": "any",
                        "rules": [{"deny": "any", "from": "127.0.0.66", "name": "sixty-six"}, {"allow": "any", "port": "any"}]})
    front = serve(in_front("send-proxy-v2", workdir, proxy.listeners[0]))
    statuses = {}
    for source in ("127.0.0.66", "127.0.0.67"):
        with Client(*front.address, source=source) as client:
            statuses[source] = client.ask(request("GET", nginx.url("/small.txt"))).status
    assert statuses == {"127.0.0.66": 403, "127.0.0.67": 200}


def test_tls_passed_through(both, workdir, serve, certificates, nginx):
    """HAProxy before the TLS listener, which never sees inside"""
    need("haproxy")
    front = serve(Haproxy(workdir, both.listeners[1]))
    for name in ("tls-h1", "tls-h2"):
        side = Side(name, front.address, certificates.authority)
        assert side.ask("GET", nginx.url("/small.txt")).body.decode() == HELLO
        tunnel = side.tunnel(f"origin.test:{nginx.http}")
        tunnel.send(b"GET /small.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert tunnel.recv_all().endswith(HELLO.encode())


# --- PAC ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/proxy.pac", "/wpad.dat"])
def test_pac(run, both, certificates, nginx, path):
    """The way for browsers: https proxies first, nothing direct"""
    client = Client(*both.listeners[0])
    answer = client.ask(request("GET", path, host=f"127.0.0.1:{both.listeners[0][1]}"))
    assert answer.status == 200 and answer.value("content-type") == "application/x-ns-proxy-autoconfig"
    need("node")
    script = answer.body.decode() + "\nconsole.log(JSON.stringify(FindProxyForURL('http://origin.test/', 'origin.test')))"
    ways = [way.strip().split() for way in json.loads(run("node", "-e", script).stdout).split(";") if way.strip()]
    kinds = [way[0] for way in ways]
    assert kinds == sorted(kinds, key=["HTTPS", "PROXY"].index) and set(kinds) == {"HTTPS", "PROXY"}
    assert ways[0][1].endswith(f":{both.listeners[1][1]}")
