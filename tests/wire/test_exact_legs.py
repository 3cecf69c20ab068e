# SPDX-License-Identifier: MIT
"""Ends over TLS and HTTP/2, by the cases of bench/exact-legs: a part of its cells on each pair of legs, and that it notices what is wrong.
All of them are run by `make exact` (doc/exactness.md); a failure is repeated with what is said: bench/exact-legs --pair … --only … --seed …"""

import contextlib
import fnmatch
import os
import pathlib
import socket
import subprocess
import sys
import threading
import zlib

import pytest

from harness import Ginnel, Origin, free_port, scaled
from harness.legs import LEGS
from harness.sides import SIDES, Side, listen

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from exact_case import Case, Hop, kind_of  # noqa: E402  pylint: disable=wrong-import-position
from exact_plans import cells  # noqa: E402  pylint: disable=wrong-import-position

LONG = bool(os.environ.get("GINNEL_TEST_LONG"))
# ends that other tests do not have on every pair: those of TLS and of a shared connection, and those right behind something else
ENDS = ("connect/trunc-*/[io]*", "connect/lost-*/[io]*", "connect/fin-*/onego", "connect/*/early", "upgrade/*-origin/onego", "get-close/*-origin/onego",
        "get-length/cut-*/onego", "get-*/trunc-*/onego", "get-*/lost-*/onego", "post-*/cut-client/onego", "post-*/trunc-*/onego", "post-*/lost-*/onego")


@pytest.fixture(scope="module")
def world(certificates):
    """(a ginnel that knows the way to every kind of next hop, these hops)"""
    hops = {name: Hop(name, certificates.leaf) for name in LEGS}
    entries = [{"for": f"{hop.name}.test", "via": [hop.parent_url]} for hop in hops.values() if hop.is_parent]
    proxy = Ginnel({"listen": listen(certificates), "timeouts": {"connect": "5s"}, "trust": str(certificates.ca), "upstream": entries,
                    "log": {"access": "off"}}, tracked=False)
    yield proxy, hops
    proxy.close()
    for hop in hops.values():
        hop.close()


_idents = iter(range(1, 1 << 30))


def run(cell, side, hop, patience=4.0, relayed=False, seed=None):
    """What is wrong in one case."""
    seed = seed or zlib.crc32("/".join(cell).encode())
    case = Case(cell, seed, next(_idents), side, hop, patience, relayed)
    complaint = case.run()
    return complaint and f"{'/'.join(cell)} --pair {side.name}:{hop.name} --seed {seed}: {complaint} ({case.detail})"


def test_the_cells_are_those_of_the_driver_in_c(tmp_path):
    """In clear HTTP/1 both know the same"""
    driver = tmp_path / "exact"
    subprocess.run([os.environ.get("CC", "cc"), "-o", str(driver), str(BENCH / "exact.c")], check=True)
    listed = subprocess.run([driver, "-l"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    assert sorted(listed) == sorted("/".join(cell) for cell in cells("h1", "h1")) and len(listed) == 251


@pytest.mark.parametrize("hop", LEGS)
@pytest.mark.parametrize("name", SIDES)
def test_ends_on_every_pair(world, certificates, name, hop):
    """U8 U11 C18 C19 C48 C62 C63 C80: whole, or visibly broken; an end is passed on as what it is"""
    proxy, hops = world
    side, wrong = Side.of(name, proxy, certificates.authority), []
    wanted = [cell for cell in cells(kind_of(name), kind_of(hop)) if LONG or any(fnmatch.fnmatch("/".join(cell), p) for p in ENDS)]
    assert len(wanted) > 10
    for cell in wanted:
        complaint = run(cell, side, hops[hop], scaled(4))
        if complaint:
            wrong.append(complaint)
            side._conn = None
    if side._conn:
        side._conn.close()
    assert not wrong, "\n".join(wrong)
    assert proxy.alive()


# --- the driver itself -------------------------------------------------------------------------------------------------


def relay(certificates, tls, change=lambda data: data, end=lambda sock: sock.shutdown(socket.SHUT_WR)):
    """A poor man's proxy: (the side to it, the hop behind it). `end` is what it makes of any end."""
    hop = Hop("origin", certificates.leaf, free_port())

    def copy(conn, up):
        while data := conn.recv_some():
            up.sendall(change(data))
        end(up)

    def back(up, conn):
        with contextlib.suppress(OSError):  # which it passes on as an end
            while data := up.recv(65536):
                conn.send(data)
        with contextlib.suppress(OSError):
            conn.shut_write()

    def serve(conn):
        with socket.create_connection(("127.0.0.1", hop.server.port)) as up:
            thread = threading.Thread(target=back, args=(up, conn), daemon=True)
            thread.start()
            copy(conn, up)
            thread.join(5)

    server = Origin(serve, context=certificates.server_context() if tls else None)
    return Side("tls-h1" if tls else "clear-h1", (server.host, server.port), certificates.authority), hop


@pytest.mark.harness
@pytest.mark.parametrize("tls", [False, True])
def test_a_right_relay_is_right(certificates, tls):
    side, hop = relay(certificates, tls)
    for cell in (("connect", "fin-client", "onego"), ("connect", "fin-both", "idle"), ("connect", "fin-origin", "bytes")):
        assert run(cell, side, hop, scaled(4), relayed=True) is None
    hop.close()


@pytest.mark.harness
def test_a_wrong_byte_is_noticed(certificates):
    side, hop = relay(certificates, False, lambda data: bytes([data[0] ^ 1]) + data[1:])
    assert "the far end got a wrong byte" in run(("connect", "fin-client", "slow"), side, hop, scaled(4), relayed=True)
    hop.close()


@pytest.mark.harness
def test_lost_bytes_are_noticed(certificates):
    side, hop = relay(certificates, False, lambda data: data[:1])
    assert "lost bytes" in run(("connect", "fin-client", "onego"), side, hop, scaled(4), relayed=True)
    hop.close()


@pytest.mark.harness
def test_an_end_that_should_be_none_is_noticed(certificates):
    """C80: a FIN without close_notify, passed on as a FIN"""
    side, hop = relay(certificates, True)
    assert "FIN for an RST" in run(("connect", "trunc-client", "idle"), side, hop, scaled(4), relayed=True)
    hop.close()


@pytest.mark.harness
def test_an_end_that_never_comes_is_noticed(certificates):
    side, hop = relay(certificates, True, end=lambda sock: None)
    assert "no FIN" in run(("connect", "fin-client", "idle"), side, hop, 0.2, relayed=True)
    hop.close()


@pytest.mark.harness
def test_half_a_message_that_looks_whole_is_noticed(certificates):
    """An answer that is cut before its length, as an end of the connection"""
    side, hop = relay(certificates, False)
    assert run(("get-length", "cut-origin", "onego"), side, hop, scaled(4), relayed=True) is None
    assert "looks whole" in run(("get-close", "rst-origin", "onego"), side, hop, scaled(4), relayed=True)
    hop.close()


