# SPDX-License-Identifier: MIT
"""Tools that people type at: wget, netcat, openssl, and ssh through netcat."""

import getpass
import hashlib
import os
import selectors
import subprocess
import time

import pytest

from harness import Deadline, scaled
from harness.origins import Sshd, clean_env, free_port, listening
from harness.ways import GINNEL_H2


class Typed:
    """A program with a person at its keyboard."""

    def __init__(self, *argv, cwd):
        self.child = subprocess.Popen(argv, cwd=cwd, env=clean_env(cwd), bufsize=0, stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.seen = b""

    def type(self, text):
        self.child.stdin.write(text.encode())

    def expect(self, text, within=10):
        """Waits until the text is on the screen."""
        deadline = Deadline(within)
        with selectors.DefaultSelector() as selector:
            selector.register(self.child.stdout, selectors.EVENT_READ)
            while text not in self.seen:
                assert selector.select(deadline.left()), f"{text} is not in {self.seen}"
                data = self.child.stdout.read(65536)
                assert data, f"ended before {text}: {self.seen}"
                self.seen += data

    def stop(self):
        self.child.kill()
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()


def wait_listening(port):
    deadline = Deadline(10)
    while not listening(port):
        assert not deadline.passed()
        time.sleep(0.01)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_wget(run, way, nginx, certificates, tmp, tls):
    run("wget", "-q", "--tries=1", f"--ca-certificate={certificates.ca}", nginx.url("/small.txt", tls=tls),
        http_proxy=way.url, https_proxy=way.url)
    assert (tmp / "small.txt").read_text() == "hello from the origin\n"


def test_wget_goes_on_where_it_stopped(run, way, nginx, tmp):
    (tmp / "small.txt").write_text("hello from")
    run("wget", "-q", "-c", "--tries=1", nginx.url("/small.txt"), http_proxy=way.url)
    assert (tmp / "small.txt").read_text() == "hello from the origin\n"


@pytest.fixture
def typed(way, serve, tmp):
    """S000-5, S000-16: netcat on both ends of a tunnel, asked for with LF line ends and no Host: (near, far)."""
    port = free_port()
    far = serve(Typed("nc.openbsd", "-N", "-l", "-n", "127.0.0.1", str(port), cwd=tmp))
    wait_listening(port)
    near = serve(Typed("nc.openbsd", "127.0.0.1", str(way.port), cwd=tmp))
    lines = [f"CONNECT 127.0.0.1:{port} HTTP/1.1\n", "\n"]
    if way.first == "nghttpx":  # it answers 400 to this
        lines = [f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n", "\r\n"]
    near.type(lines[0])
    time.sleep(0.1)
    near.type(lines[1])
    near.expect(b"\r\n\r\n")
    assert near.seen.startswith(b"HTTP/1.1 200 ")
    near.seen = b""
    return near, far


def talk(near, far):
    near.type("hello\n")
    far.expect(b"hello\n")
    far.type("good morning\n")
    near.expect(b"good morning\n")
    near.type("how are you?\n")
    far.expect(b"how are you?\n")


def test_the_demo_typed_by_hand(typed):
    """S000-5: everything that is typed on one side appears on the other."""
    near, far = typed
    talk(near, far)
    assert (near.seen, far.seen) == (b"good morning\n", b"hello\nhow are you?\n")


def test_one_sides_end_is_not_the_others(typed, way):
    """S000-8, S004-7"""
    near, far = typed
    talk(near, far)
    if not way.keeps_halves:
        pytest.skip(f"{way.first} ends both directions of a tunnel when one has ended")
    far.child.stdin.close()  # ^D: netcat shuts its side down
    time.sleep(0.2)
    near.type("still there?\n")
    far.expect(b"still there?\n")
    assert far.seen == b"hello\nhow are you?\nstill there?\n"
    assert near.seen == b"good morning\n"


def test_get_typed_by_hand(run, way, nginx):
    """A whole request from a pipe, and the end of input after it: no abort (`printf … | nc -N`). For nghttpx and squid it is one."""
    request = f"GET {nginx.url('/small.txt')} HTTP/1.1\r\nHost: origin.test:{nginx.http}\r\nConnection: close\r\n\r\n"
    options = ["-N"] if way.keeps_halves else ["-q", "-1"]
    out = run("nc.openbsd", *options, "127.0.0.1", way.port, input=request.encode(), text=False).stdout
    assert out.startswith(b"HTTP/1.1 200 \r\n" if way.name == GINNEL_H2 else b"HTTP/1.1 200 OK\r\n")
    assert out.endswith(b"\r\n\r\nhello from the origin\n")


def test_openssl(run, way, nginx, certificates):
    """S003-11: the handshake follows the 200 directly; openssl asks with HTTP/1.0 and is mirrored."""
    request = "GET /small.txt HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n"
    ran = run("openssl", "s_client", "-proxy", way.addr, "-connect", f"origin.test:{nginx.https}", "-servername",
              "origin.test", "-CAfile", certificates.ca, "-verify_return_error", "-alpn", "http/1.1", "-ign_eof",
              input=request)
    assert "Verify return code: 0 (ok)" in ran.stdout
    assert "hello from the origin\n" in ran.stdout


@pytest.fixture(scope="module")
def sshd(workdir):
    (workdir / "ssh").mkdir()
    server = Sshd(workdir / "ssh")
    yield server
    server.stop()


@pytest.mark.ways("clear-h1", "tls-h2", GINNEL_H2)
def test_ssh_through_netcat(run, way, sshd, tmp):
    """S000-5: any protocol; the server speaks first. 20 MB up, 20 MB down, and the exit status."""
    options = {
        "ProxyCommand": f"nc.openbsd -X connect -x {way.addr} %h %p",
        "UserKnownHostsFile": tmp / "known",
        "StrictHostKeyChecking": "accept-new",
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": int(scaled(20)),
    }
    ssh = ["ssh", "-F", "none", "-i", sshd.key, "-p", sshd.port, *[f"-o{k}={v}" for k, v in options.items()]]
    ssh += [f"{getpass.getuser()}@ssh.test"]
    body = os.urandom(20_000_000)
    assert run(*ssh, "cat", input=body, text=False).stdout == body
    assert run(*ssh, "sha1sum", input=body, text=False).stdout.split()[0].decode() == hashlib.sha1(body).hexdigest()
    run(*ssh, "exit 42", status=42)
