# SPDX-License-Identifier: MIT
"""Real clients under rules that say what may be in a tunnel (U49): curl, openssl, ssh, a WebSocket without TLS, a browser."""

import asyncio
import getpass
import shutil
import subprocess
import tempfile
import time

import pytest
import websockets.client

from harness import Deadline, eventually, scaled
from harness.origins import Sshd, WebSocketEcho, clean_env, free_port, listening
from harness.ways import SQUID, Ways

RULES = [
    {"allow": "origin.test", "port": "any"},
    {"allow": "ssh.test", "port": "any", "expect": "ssh"},
    {"allow": "ws.test", "port": "any", "expect": "http"},
    {"allow": "node.test", "port": "any", "sni": "log"},
]


@pytest.fixture(scope="module")
def ways(workdir, certificates, names):
    config = {"workers": 1, "private": "allow", "policy": {"recheck": True}, "rules": RULES}
    ways = Ways(workdir, certificates, names, config)
    yield ways
    ways.close()


def ended(proxy, reason, before, host="origin.test"):
    return proxy.wait_access(before + 1, {"ginnel.end": reason, "server.address": host})[-1]


def count(proxy, reason, host="origin.test"):
    return len(proxy.access({"ginnel.end": reason, "server.address": host}))


def test_curl(run, way, nginx, certificates):
    """U49: the name that was asked for, and another one behind it"""
    curl = ["curl", "-s", "--cacert", certificates.ca, "--proxy-cacert", certificates.ca, "-x", way.native_curl]
    assert run(*curl, nginx.url("/small.txt", tls=True)).stdout == "hello from the origin\n"
    before = count(way.ginnel, "sni-denied")
    fronted = ["--connect-to", f"git.test:{nginx.https}:origin.test:{nginx.https}", f"https://git.test:{nginx.https}/small.txt"]
    assert run(*curl, *fronted, status=None).returncode in (35, 56)
    found = ended(way.ginnel, "sni-denied", before)
    assert found["tls.client.server_name"] == "git.test" and "the ClientHello names git.test, the CONNECT origin.test" in found["ginnel.detail"]
    # HTTP in the tunnel
    assert run(*curl, "-p", nginx.url("/small.txt"), status=None).returncode != 0
    assert "`expect: http`" in ended(way.ginnel, "sni-denied", before + 1)["ginnel.detail"]
    run(*curl, "--connect-to", f"git.test:{nginx.https}:node.test:{nginx.https}", f"https://git.test:{nginx.https}/small.txt")
    assert way.ginnel.wait_access(1, {"server.address": "node.test", "tls.client.server_name": "git.test", "ginnel.end": "tunnel-done"})


def s_client(way, port, certificates, *args):
    return ["openssl", "s_client", "-proxy", way.addr, "-connect", f"origin.test:{port}", "-CAfile", certificates.ca, "-verify_return_error", *args]


def test_openssl(run, way, nginx, certificates):
    """U49"""
    request = "GET /small.txt HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n"
    ran = run(*s_client(way, nginx.https, certificates, "-servername", "origin.test", "-alpn", "http/1.1", "-ign_eof"), input=request)
    assert "hello from the origin\n" in ran.stdout
    for args in (["-servername", "git.test"], ["-noservername"]):
        before = count(way.ginnel, "sni-denied")
        assert run(*s_client(way, nginx.https, certificates, *args), status=None).returncode != 0
        ended(way.ginnel, "sni-denied", before)


class Asks:
    """A server that likes none of the keys that come with the first hello."""

    def __init__(self, certificates, cwd):
        self.port = free_port()
        argv = ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", certificates.cert, "-key", certificates.key, "-groups", "X448", "-tls1_3", "-www", "-quiet"]
        self.child = subprocess.Popen([str(a) for a in argv], cwd=cwd, env=clean_env(cwd), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = Deadline(10)
        while not listening(self.port):
            assert not deadline.passed()
            time.sleep(0.01)

    def stop(self):
        self.child.kill()
        self.child.wait()


def test_a_hello_retry(run, way, certificates, serve, tmp):
    """U49: two hellos, one name"""
    server = serve(Asks(certificates, tmp))
    ran = run(*s_client(way, server.port, certificates, "-servername", "origin.test", "-groups", "X25519:X448", "-ign_eof", "-msg"), input="GET / HTTP/1.0\r\n\r\n")
    assert ran.stdout.count("Handshake [length") and ran.stdout.count(", ClientHello") == 2
    assert "HTTP/1.0 200 ok" in ran.stdout


@pytest.fixture(scope="module")
def sshd(workdir):
    (workdir / "ssh-guarded").mkdir()
    server = Sshd(workdir / "ssh-guarded")
    yield server
    server.stop()


@pytest.mark.ways("clear-h1", "tls-h2", SQUID)
def test_ssh(run, way, sshd, tmp):
    """U49: where it is expected, whoever is faster; elsewhere a TLS client is refused"""
    options = {"ProxyCommand": f"nc.openbsd -X connect -x {way.addr} %h %p", "UserKnownHostsFile": tmp / "known", "StrictHostKeyChecking": "accept-new",
               "IdentitiesOnly": "yes", "BatchMode": "yes", "ConnectTimeout": int(scaled(20))}
    ssh = ["ssh", "-F", "none", "-i", sshd.key, "-p", sshd.port, *[f"-o{k}={v}" for k, v in options.items()], f"{getpass.getuser()}@ssh.test"]
    assert run(*ssh, "echo", "there").stdout == "there\n"
    before = count(way.ginnel, "protocol-denied", "ssh.test")
    assert run("openssl", "s_client", "-proxy", way.addr, "-connect", f"ssh.test:{sshd.port}", status=None).returncode != 0
    ended(way.ginnel, "protocol-denied", before, "ssh.test")


def test_websocket_without_tls(way, serve):
    """U49 U25: expect: http"""
    echo = serve(WebSocketEcho(None))

    async def talk(sock):
        async with websockets.client.connect(f"ws://ws.test:{echo.port}/chat", sock=sock) as ws:
            await ws.send("x")
            assert await asyncio.wait_for(ws.recv(), 10) == "x"

    with way.connect(f"ws.test:{echo.port}") as client:
        asyncio.run(talk(client.sock.dup()))


@pytest.mark.ways("clear-h1", "tls-h2")
def test_a_browser(way, nginx):
    """U49: Chromium's hello, with GREASE and post-quantum keys"""
    if not shutil.which("chromium"):
        pytest.skip("no chromium")
    with tempfile.TemporaryDirectory(prefix="ginnel-e2e-", ignore_cleanup_errors=True) as home:
        argv = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
                "--disable-dev-shm-usage", "--ignore-certificate-errors", f"--proxy-server={way.native if way.is_h2 else way.url}", f"--user-data-dir={home}/profile", "--dump-dom"]
        ran = subprocess.run([*argv, nginx.url("/small.txt", tls=True)], env=clean_env(home), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert "hello from the origin" in ran.stdout
    eventually(lambda: way.ginnel.access({"tls.client.server_name": "origin.test"}), 10, "its record")
