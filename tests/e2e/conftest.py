# SPDX-License-Identifier: MIT
"""Real clients, a real ginnel, real origins. Servers live as long as the session; files are gone at its end."""

import contextlib
import os
import pathlib
import subprocess
import tempfile

import pytest

from harness import DnsServer, Ginnel, have_ipv6, scaled, scope
from harness.origins import NAMES, Nginx, clean_env
from harness.sides import listen
from harness.ways import WAYS, Ways, missing

WATCHED = ("clear-h1", "tls-h2")  # what runs with the threads watched


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


@pytest.fixture(scope="session")
def running_both(names, certificates):
    """A ginnel that listens in clear and with TLS."""
    ginnel = Ginnel({"listen": listen(certificates), "name": "e2e", "resolver": {"servers": [names.address]}}, tracked=False)
    yield ginnel
    ginnel.close()


@pytest.fixture
def both(running_both):
    yield running_both
    assert running_both.alive(), f"ginnel died during this test:\n{running_both.stderr()[-6000:]}"
    running_both.check_log()


@pytest.fixture(scope="session")
def ways(workdir, certificates, names):
    """A ginnel and every way in to it. A module whose ginnel is configured otherwise has a fixture of this name of its own."""
    ways = Ways(workdir, certificates, names)
    yield ways
    ways.close()


@pytest.fixture
def way(request, ways):
    """The test runs over every way in, and what it does must have come that way. `pytest.mark.ways(names…)` keeps it to these unless GINNEL_TEST_LONG is
    set; with workers=True it is run with the threads watched, too."""
    if missing(request.param):
        pytest.skip(f"no {missing(request.param)}")
    way = ways.way(request.param)
    way.begin()
    yield way
    way.well()
    if getattr(request.node, "passed", False):
        way.wait_records()


def pytest_configure(config):
    config.addinivalue_line("markers", "ways(names…, workers=False): the ways in that the test is always run over; else all of them")


def pytest_generate_tests(metafunc):
    if "way" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("ways")
    names = WAYS if not mark or not mark.args or os.environ.get("GINNEL_TEST_LONG") == "1" else [name for name in WAYS if name in mark.args]
    watched = WATCHED if mark and mark.kwargs.get("workers") else ()
    metafunc.parametrize("way", [pytest.param(name, marks=[pytest.mark.workers] if name in watched else []) for name in names], indirect=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.passed = outcome.get_result().passed


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
