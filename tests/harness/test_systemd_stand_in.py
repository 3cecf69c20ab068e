# SPDX-License-Identifier: MIT
"""The stand-in for systemd against a small service: what it hands over arrives, what it is told it hears."""

import sys
import time

import pytest

from harness.systemd import Systemd, listening, listening_unix

pytestmark = pytest.mark.harness

SERVICE = """
import os, socket, time
say = lambda text: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
say("READY=1\\nSTATUS=a = b")
print(os.environ.get("LISTEN_PID") == str(os.getpid()), os.environ.get("LISTEN_FDS"), os.environ.get("LISTEN_FDNAMES"),
      os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID") == str(os.getpid()))
for fd in range(3, 3 + int(os.environ.get("LISTEN_FDS", 0))):
    print(socket.socket(fileno=fd).getsockname())
time.sleep(0.1)
say("STOPPING=1")
"""


def run(systemd):
    result = systemd.run([sys.executable, "-c", SERVICE])
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_nothing_is_handed_over():
    assert run(Systemd()) == ["False None None None False"]


def test_sockets_arrive_in_their_order(tmp_path):
    tcp, unix = listening(), listening_unix(tmp_path / "s")
    lines = run(Systemd([tcp, unix], names=["lan", "local"], watchdog=2.5))
    assert lines == ["True 2 lan:local 2500000 True", str(tcp.getsockname()), unix.getsockname()]


def test_many_sockets_whose_numbers_overlap():
    socks = [listening() for _ in range(20)]
    ports = [sock.getsockname() for sock in reversed(socks)]
    assert run(Systemd(list(reversed(socks))))[1:] == [str(name) for name in ports]


def test_the_process_of_somebody_else():
    sock = listening()
    assert run(Systemd([sock], pid=1, watchdog=1)) == ["False 1 None 1000000 False", str(sock.getsockname())]


def test_notes_are_heard_with_their_times():
    heard = []
    systemd = Systemd(on_note=heard.append)
    before = time.monotonic()
    run(systemd)
    ready = systemd.wait_for("READY=1")
    stopping = systemd.wait_for("STOPPING", after=ready)
    assert ready.fields["STATUS"] == "a = b" and ready.pid and ready.pid == stopping.pid
    assert before <= ready.at <= stopping.at - 0.05
    assert systemd.notes("STATUS") == [ready] and systemd.notes() == heard == [ready, stopping]
    with pytest.raises(AssertionError):
        systemd.wait_for("READY=0", timeout=0.05)
    with pytest.raises(AssertionError):
        systemd.wait_for("READY=1", timeout=0.05, after=ready)
