# SPDX-License-Identifier: MIT
"""Real clients, a real ginnel, real origins. Servers live as long as the session; files are gone at its end."""

import contextlib
import pathlib
import subprocess
import tempfile

import pytest

from harness import DnsServer, Ginnel, have_ipv6, scaled, scope
from harness.origins import NAMES, Certificates, Nginx, clean_env


@pytest.fixture(scope="session")
def workdir():
    with tempfile.TemporaryDirectory(prefix="ginnel-e2e-") as directory:
        yield pathlib.Path(directory)


@pytest.fixture
def tmp(workdir):
    """A directory of the test's own."""
    with tempfile.TemporaryDirectory(dir=workdir) as directory:
        yield pathlib.Path(directory)


@pytest.fixture(scope="session")
def certificates(workdir):
    (workdir / "tls").mkdir()
    return Certificates(workdir / "tls")


@pytest.fixture(scope="session")
def nginx(workdir, certificates):
    (workdir / "nginx").mkdir()
    server = Nginx(workdir / "nginx", certificates)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def names():
    """The scripted resolver that the proxy asks: the names of the certificate are loopback, all others do not exist."""
    dns = DnsServer()
    scope.forget(dns)  # it outlives the test that asks for it first
    for name in NAMES:
        dns.answer(name, a=["127.0.0.1"])
    yield dns
    dns.close()


@pytest.fixture(scope="session")
def running_proxy(names):
    listen = ["127.0.0.1:0"] + (["[::1]:0"] if have_ipv6() else [])
    ginnel = Ginnel({"listen": listen, "name": "e2e", "resolver": {"servers": [names.address]}}, tracked=False)
    yield ginnel
    ginnel.close()


@pytest.fixture
def proxy(running_proxy):
    """The proxy that all tests of this process share; the test during which it dies or complains fails."""
    yield running_proxy
    assert running_proxy.alive(), f"ginnel died during this test:\n{running_proxy.stderr()[-6000:]}"
    running_proxy.check_log()


@pytest.fixture
def proxy_url(proxy):
    return f"http://{proxy.addr}"


@pytest.fixture
def run(tmp):
    """run(argv…, input=, status=, **environment) -> CompletedProcess of text (bytes with text=False). The environment is
    empty but for what is given, the home directory is the test's; another exit status than expected fails the test."""

    def run(*argv, input="", status=0, timeout=60, text=True, cwd=None, **environment):
        ran = subprocess.run(
            [str(a) for a in argv],
            input=input,
            cwd=cwd or tmp,
            env=clean_env(tmp, **{k: str(v) for k, v in environment.items()}),
            capture_output=True,
            text=text,
            timeout=scaled(timeout),
        )
        if status is not None:
            assert ran.returncode == status, f"{argv} ended with {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran

    return run


@pytest.fixture
def serve():
    """serve(server) stops the server at the end of the test."""
    with contextlib.ExitStack() as stack:

        def serve(server):
            stack.callback(server.stop)
            return server

        yield serve
