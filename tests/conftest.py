# SPDX-License-Identifier: MIT
"""Fixtures for every test that runs the program. What a test makes is closed at its end; proxies are checked then."""

import os
import pathlib
import subprocess

import pytest

from harness import DnsServer, Ginnel, HttpOrigin, NetNs, Origin, binary, have_ipv6, request, scope
from harness.legs import LEGS, Legs
from harness.origins import Certificates
from harness.sides import SIDES, Side, listen

_shared = {}


def pytest_configure(config):
    config.addinivalue_line("markers", "harness: tests the harness itself and needs no program")
    config.addinivalue_line("markers", "workers: worth running with the threads watched (tools/check runs these so)")


def pytest_collection_modifyitems(items):
    """Without a program everything but the harness's own tests is skipped."""
    if pathlib.Path(binary()).exists():
        return
    skip = pytest.mark.skip(reason=f"{binary()} does not exist")
    for item in items:
        if "harness" not in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def closing():
    """Closes whatever the test has made."""
    yield
    scope.close_all()


@pytest.fixture(scope="session", autouse=True)
def stop_shared():
    """The shared proxies end with the session, and must end well."""
    yield
    complaints = []
    while _shared:
        try:
            _shared.popitem()[1].close()
        except AssertionError as complaint:
            complaints.append(complaint)
    if complaints:
        raise complaints[0]


def shared_proxy(key, config=None):
    """A proxy that the tests of this process share; started anew when the last test has broken it."""
    if key in _shared and not _shared[key].alive():
        _shared.pop(key).kill()
    if key not in _shared:
        _shared[key] = Ginnel(config, tracked=False)
    return _shared[key]


def _checked(ginnel):
    """Blames the test during which a shared proxy died or complained. A process takes a while to die, so it is asked."""
    yield ginnel
    try:
        with ginnel.client() as client:
            assert client.ask(request("GET", "/healthz", host="localhost")).status == 200
        ginnel.check_log()
    except (AssertionError, OSError) as error:
        ginnel.kill()
        raise AssertionError(f"ginnel is not well after this test ({error}); its log:\n{ginnel.stderr()[-6000:]}") from None


@pytest.fixture
def proxy():
    """A shared proxy with the harness's defaults: two workers, name `wire`, access log on."""
    yield from _checked(shared_proxy("default"))


@pytest.fixture
def single():
    """A shared proxy with one worker, so that every connection meets the same pool and cache."""
    yield from _checked(shared_proxy("single", {"workers": 1}))


@pytest.fixture
def start():
    """start(config) runs a proxy of the test's own."""
    return Ginnel


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """An authority of this run, and a certificate for every name that tests use."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def both(certificates):
    """A shared proxy with a clear listener and one with TLS, for sides."""
    yield from _checked(shared_proxy("both", {"listen": listen(certificates)}))


@pytest.fixture(params=SIDES)
def side(request, both, certificates):
    """The test runs once over each of {clear, TLS} x {h1, h2}."""
    return Side.of(request.param, both, certificates.authority)


@pytest.fixture(scope="session")
def next_hops(certificates):
    """Every kind of next hop, for the whole session."""
    legs = Legs(certificates)
    yield legs
    legs.close()


@pytest.fixture
def crossing(certificates, next_hops):
    """A shared proxy with both listeners that knows the way to every kind of next hop."""
    yield from _checked(shared_proxy("crossing", {"listen": listen(certificates), "timeouts": {"connect": "5s"}, **next_hops.config}))


@pytest.fixture(params=[f"{side} to {leg}" for side in SIDES for leg in LEGS])
def pair(request, crossing, certificates, next_hops):
    """(side, leg): the test runs on each of the sixteen pairs."""
    side, leg = request.param.split(" to ")
    return Side.of(side, crossing, certificates.authority), next_hops.legs[leg]


@pytest.fixture
def client(proxy):
    return proxy.client()


@pytest.fixture
def origin():
    """An origin whose connections the test drives itself."""
    return Origin()


@pytest.fixture
def web():
    """An origin that answers every request with what was asked for."""
    return HttpOrigin()


@pytest.fixture
def dns():
    return DnsServer()


@pytest.fixture
def ipv6():
    if not have_ipv6():
        pytest.skip("no IPv6 on loopback")


@pytest.fixture
def netns():
    """A network namespace with nothing but a loopback."""
    try:
        return NetNs()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespace here: {error}")


@pytest.fixture
def root():
    if os.getuid() != 0:
        pytest.skip("needs root")
