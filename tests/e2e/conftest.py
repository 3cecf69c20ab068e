# SPDX-License-Identifier: MIT
"""Real clients, a real ginnel, real origins. Servers live as long as the session; files are gone at its end."""

import contextlib
import pathlib
import subprocess
import tempfile

import pytest

from harness import DnsServer, Ginnel, have_ipv6, scaled, scope
from harness.origins import NAMES, Nginx, clean_env
from harness.others import Haproxy, Nghttpx
from harness.sides import SIDES, Side, listen


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


class Front:
    """A side as an h1 client sees it: a plain http:// proxy, whatever carries the client's bytes to ginnel. .native is ginnel's own URL."""

    def __init__(self, name, proxy, certificates, workdir):
        self.name, self.ca = name, certificates.ca
        side = Side.of(name, proxy, certificates.authority)
        self.native, self.is_tls, self.is_h2 = side.url, side.is_tls, side.is_h2
        self.other = None
        if side.is_h2:
            self.other = Nghttpx(workdir, side.address, ca=certificates.ca if side.is_tls else None)
        elif side.is_tls:
            self.other = Haproxy.into_tls(workdir, side.address, certificates.ca)
        self.host, self.port = self.other.address if self.other else side.address
        self.addr, self.url = f"{self.host}:{self.port}", f"http://{self.host}:{self.port}"

    def stop(self):
        if self.other:
            self.other.stop()


@pytest.fixture(scope="session")
def running_both(names, certificates):
    """A ginnel that listens in clear and with TLS."""
    ginnel = Ginnel({"listen": listen(certificates), "name": "e2e", "resolver": {"servers": [names.address]}}, tracked=False)
    yield ginnel
    ginnel.close()


@pytest.fixture(scope="session")
def fronts(running_both, certificates, workdir):
    """front(name), made when it is asked for."""
    made = {}

    def front(name):
        if name not in made:
            made[name] = Front(name, running_both, certificates, workdir)
        return made[name]

    yield front
    for each in made.values():
        each.stop()


@pytest.fixture
def both(running_both):
    yield running_both
    assert running_both.alive(), f"ginnel died during this test:\n{running_both.stderr()[-6000:]}"
    running_both.check_log()


@pytest.fixture(params=SIDES)
def front(request, both, fronts):
    """The test runs over each of {clear, TLS} x {h1, h2}: TLS by HAProxy, h2 by nghttpx in front."""
    return fronts(request.param)


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
