# SPDX-License-Identifier: MIT
"""ginnel as a service of systemd: sockets handed over, what it tells the manager and when, the watchdog."""

import re
import signal
import socket
import time

import pytest

from harness import Client, Peer, eventually, free_port, request, scaled
from harness.systemd import Systemd, listening, listening_unix


ANYWHERE_ELSE = ["10.0.0.0/8"]  # admits nobody who comes from loopback
LOOPBACK = ["127.0.0.0/8"]


def port_of(sock):
    return sock.getsockname()[1]


def status(web, port):
    return Client("127.0.0.1", port).ask(request("GET", web.url("/"))).status


def addresses(ginnel):
    """What the log says it listens on."""
    return re.findall(r"^ginnel: info: listening on (\S+)", ginnel.stderr(), re.M)


# --- sockets handed over ---------------------------------------------------------------------------------------------


def test_a_socket_serves(web):
    """without `listen` it replaces the default listeners"""
    sock = listening()
    ginnel = Systemd([sock]).start({"listen": None})
    assert addresses(ginnel) == [f"127.0.0.1:{port_of(sock)}"]
    assert status(web, port_of(sock)) == 200


def test_a_reload_does_not_announce_it_again(web):
    """RELOADING: the line is for new listeners"""
    sock = listening()
    ginnel = Systemd([sock]).start({"listen": None})
    ginnel.reload({"listen": None, "name": "again"})
    assert addresses(ginnel) == [f"127.0.0.1:{port_of(sock)}"]
    assert status(web, port_of(sock)) == 200


def test_several_sockets_serve(web):
    socks = [listening() for _ in range(3)]
    ginnel = Systemd(socks, names=["a", "b", "c"]).start({"listen": None})
    assert sorted(addresses(ginnel)) == sorted(f"127.0.0.1:{port_of(sock)}" for sock in socks)
    assert [status(web, port_of(sock)) for sock in socks] == [200, 200, 200]


def test_who_came_before_the_service_is_served(web):
    """the kernel has queued it while there was no process"""
    sock = listening()
    early = Client("127.0.0.1", port_of(sock))
    early.send(request("GET", web.url("/")))
    Systemd([sock]).start({"listen": None})
    assert early.recv_response().status == 200


def test_it_stands_in_for_an_item(web):
    """the item's own clients hold, and nobody binds the address again"""
    sock = listening()
    item = {"address": f"127.0.0.1:{port_of(sock)}", "name": "lan", "clients": ANYWHERE_ELSE}
    ginnel = Systemd([sock]).start({"listen": [item, "127.0.0.1:0"], "clients": LOOPBACK})
    assert len(addresses(ginnel)) == 2 and addresses(ginnel).count(f"127.0.0.1:{port_of(sock)}") == 1
    assert status(web, port_of(sock)) == 403
    other = next(port for _, port in ginnel.listeners if port != port_of(sock))
    assert status(web, other) == 200


def test_it_is_additional(web):
    """no item names it: the top level's settings"""
    sock, port = listening(), free_port()
    item = {"address": f"127.0.0.1:{port}", "clients": ANYWHERE_ELSE}
    ginnel = Systemd([sock]).start({"listen": [item], "clients": LOOPBACK})
    assert sorted(addresses(ginnel)) == sorted([f"127.0.0.1:{port}", f"127.0.0.1:{port_of(sock)}"])
    assert status(web, port) == 403 and status(web, port_of(sock)) == 200


def test_the_top_levels_clients_hold_for_an_additional_one(web):
    sock, port = listening(), free_port()
    item = {"address": f"127.0.0.1:{port}", "clients": LOOPBACK}
    Systemd([sock]).start({"listen": [item], "clients": ANYWHERE_ELSE})
    assert status(web, port) == 200 and status(web, port_of(sock)) == 403


def test_off_loopback_without_clients():
    """U5: no open proxy by way of a socket unit"""
    result = Systemd([listening("0.0.0.0")]).run(config_text="workers: 1\n")
    assert result.returncode == 78 and "clients" in result.stderr


def test_off_loopback_with_clients(web):
    sock = listening("0.0.0.0")
    Systemd([sock]).start({"listen": None, "clients": LOOPBACK, "private": "allow", "ports": "any"})
    assert status(web, port_of(sock)) == 200


def test_a_unix_socket(web, tmp_path):
    tcp, path = listening(), tmp_path / "proxy.sock"
    ginnel = Systemd([tcp, listening_unix(path)]).start({"listen": None})
    assert sorted(addresses(ginnel)) == sorted([f"127.0.0.1:{port_of(tcp)}", f"unix:{path}"])
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(scaled(5))
    sock.connect(str(path))
    client = Peer(sock)
    client.send(request("GET", web.url("/")))
    assert client.recv_response().status == 200


def test_a_unix_socket_stands_in_for_an_item(web, tmp_path):
    path = tmp_path / "proxy.sock"
    ginnel = Systemd([listening_unix(path)]).start({"listen": [f"unix:{path}", "127.0.0.1:0"]})
    assert addresses(ginnel).count(f"unix:{path}") == 1 and len(addresses(ginnel)) == 2
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(scaled(5))
    sock.connect(str(path))
    client = Peer(sock)
    client.send(request("GET", web.url("/")))
    assert client.recv_response().status == 200


def test_sockets_of_another_process_are_not_ours(web):
    sock = listening()
    ginnel = Systemd([sock], pid=1).start()
    assert f"127.0.0.1:{port_of(sock)}" not in addresses(ginnel)
    assert status(web, ginnel.port) == 200


# --- notifications ---------------------------------------------------------------------------------------------------


def test_ready_comes_when_all_listeners_are_open():
    """whoever starts behind it may connect at once"""
    ports, refused = [free_port(), free_port()], []

    def connect(note):
        if "READY=1" in note:
            for port in ports:
                try:
                    socket.create_connection(("127.0.0.1", port), scaled(5)).close()
                except OSError as error:
                    refused.append(error)

    systemd = Systemd(on_note=connect)
    ginnel = systemd.start({"listen": [f"127.0.0.1:{port}" for port in ports]})
    ready = systemd.wait_for("READY=1")
    assert ready.fields["STATUS"] and ready.pid == ginnel.pid
    ginnel.signal()
    systemd.wait_for("STOPPING=1", after=ready)
    assert not refused and len(systemd.notes("READY=1")) == 1


def test_a_start_that_fails_is_never_ready():
    systemd = Systemd()
    assert systemd.run(config_text="listen: nonsense\n").returncode == 78
    assert not systemd.notes("READY")


def reload(systemd, ginnel):
    """HUP; the two notifications around it, and the clock (microseconds) before and after."""
    ready = systemd.wait_for("READY=1")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    ginnel.signal(signal.SIGHUP)
    reloading = systemd.wait_for("RELOADING=1", after=ready)
    again = systemd.wait_for("READY=1", after=reloading)
    return reloading, again, before, time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_a_reload_is_told():
    """Type=notify-reload: RELOADING=1 with the time, READY=1 when it is done"""
    systemd = Systemd()
    reloading, again, before, after = reload(systemd, systemd.start())
    assert before <= int(reloading.fields["MONOTONIC_USEC"]) <= after
    assert "READY" not in reloading.fields and again.fields["STATUS"]


def test_a_failed_reload_is_told(web):
    """READY=1 all the same: the old configuration serves"""
    systemd = Systemd()
    ginnel = systemd.start()
    (ginnel.dir / "new").write_text("workes: 2\n")
    (ginnel.dir / "new").rename(ginnel.dir / "ginnel.yaml")
    reloading, again, before, after = reload(systemd, ginnel)
    assert before <= int(reloading.fields["MONOTONIC_USEC"]) <= after
    assert "fail" in again.fields["STATUS"].lower()
    assert status(web, ginnel.port) == 200


def test_handed_over_sockets_live_through_a_reload(web):
    sock = listening()
    systemd = Systemd([sock])
    ginnel = systemd.start({"listen": None})
    kept = Client("127.0.0.1", port_of(sock))
    assert kept.ask(request("GET", web.url("/"))).status == 200
    reload(systemd, ginnel)
    assert kept.ask(request("GET", web.url("/"))).status == 200
    assert status(web, port_of(sock)) == 200


def test_stopping_is_told():
    """at TERM, before the drain ends"""
    systemd = Systemd()
    ginnel = systemd.start()
    client = ginnel.client()
    client.send(b"GET http://")
    systemd.wait_for("READY=1")
    assert not systemd.notes("STOPPING")
    ginnel.signal(signal.SIGTERM)
    systemd.wait_for("STOPPING=1")
    client.close()
    assert ginnel.wait_exit() == 0


# --- the watchdog ----------------------------------------------------------------------------------------------------


def test_the_watchdog_is_fed():
    """at least every half of its time; late by scheduling, never by the whole"""
    systemd = Systemd(watchdog=0.5)
    ginnel = systemd.start()
    eventually(lambda: len(systemd.notes("WATCHDOG=1")) >= 6, 10, "six times WATCHDOG=1")
    times = [note.at for note in systemd.notes("WATCHDOG=1")]
    gaps = sorted(b - a for a, b in zip(times, times[1:]))
    assert gaps[len(gaps) // 2] <= scaled(0.25 + 0.1) and gaps[-1] < scaled(0.5), gaps
    assert {note.pid for note in systemd.notes("WATCHDOG=1")} == {ginnel.pid}


def test_the_watchdog_is_fed_while_draining(origin):
    """a drain may take long"""
    systemd = Systemd(watchdog=0.4)
    ginnel = systemd.start({"timeouts": {"drain": "2s"}})
    client = ginnel.client().connect(origin.authority)
    conn = origin.accept()
    ginnel.signal(signal.SIGTERM)
    stopping = systemd.wait_for("STOPPING=1")
    first = systemd.wait_for("WATCHDOG=1", after=stopping)
    systemd.wait_for("WATCHDOG=1", after=first)
    client.close()
    conn.close()


@pytest.mark.parametrize("options", [{}, {"watchdog": 0.2, "pid": 1}])
def test_no_watchdog_no_food(options):
    """none, or that of another process"""
    systemd = Systemd(**options)
    systemd.start()
    systemd.wait_for("READY=1")
    time.sleep(0.5)
    assert not systemd.notes("WATCHDOG")
