# SPDX-License-Identifier: MIT
"""Killing any single peer at any step never disturbs another tunnel (issue 4): processes on either side of the proxy are killed, reset,
closed or frozen at random moments, while twenty-four others move random data and check every byte."""

import contextlib
import ctypes
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

from harness import Ginnel, Neighbours, eventually, request, response, scaled

KILLS = 200
TUNNELS, CLIENTS = 14, 10
STALL = 3.0  # unscaled seconds that nobody may stand still for, on a busy machine too
BULK = 1 << 20
STEPS = ["connect", "part of a head", "head", "body", "tunnel", "tunnel, up", "tunnel, down", "download", "chunked download"]
WAYS = ["kill", "kill", "reset", "fin", "freeze"]


# --- the peers: small processes, forked before any thread is there, that do one thing until they are killed ----------------------


def be_client(proxy, origin, step):
    sock = socket.create_connection(proxy)
    target = b"%s:%d" % (origin[0].encode(), origin[1])
    connect = request("CONNECT", target.decode())
    data = os.urandom(1 << 16)
    if step == "part of a head":
        sock.sendall(connect[:30])
    elif step == "head":
        sock.sendall(request("GET", f"http://{target.decode()}/silent"))
    elif step == "body":
        sock.sendall(request("POST", f"http://{target.decode()}/silent", f"Content-Length: {BULK}") + data)
    elif step.startswith("tunnel"):
        sock.sendall(connect + {"tunnel, up": b"UP", "tunnel, down": b"DOWN"}.get(step, b"BOTH"))
    elif "download" in step:
        sock.sendall(request("GET", f"http://{target.decode()}/{step.split()[0]}"))
    while True:  # until the end, or until it is killed
        if step == "tunnel, up":
            sock.sendall(data)
            time.sleep(0.01)
        elif not sock.recv(1 << 16):
            return


def die_with_parent():
    """Nothing stays behind, whoever is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def be_origin(listener):
    """Serves one connection at a time in a process of its own each; what the first bytes say decides."""
    while True:
        sock, _ = listener.accept()
        if os.fork() == 0:
            die_with_parent()
            listener.close()
            with contextlib.suppress(OSError):
                serve(sock)
            os._exit(0)
        sock.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def serve(sock):
    first = sock.recv(1 << 16)
    data = os.urandom(1 << 16)
    if b"chunked" in first:
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            sock.sendall(b"10000\r\n" + data + b"\r\n")
            time.sleep(0.01)
    if b"/download" in first:
        sock.sendall(response(200, f"Content-Length: {1 << 40}", body=None))
    if first.startswith(b"DOWN") or b"/download" in first:
        while True:
            sock.sendall(data)
            time.sleep(0.01)
    while sock.recv(1 << 16):
        pass


def keeper(proxy, seed):
    """Runs peers at random steps and takes them away at random moments, by random means; says how often. One thread."""
    rng = random.Random(seed)
    listeners, origins, clients = [], [], []
    for _ in range(6):
        listeners.append(socket.create_server(("127.0.0.1", 0), backlog=64))
    addresses = [listener.getsockname() for listener in listeners]
    frozen, kills = [], {}
    for listener in listeners:
        origins.append(fork(lambda here=listener: be_origin(here), group=True))
    while sum(kills.values()) < KILLS:
        while len(clients) < 12:
            step, origin = rng.choice(STEPS), rng.choice(addresses)
            clients.append((fork(lambda: be_client(proxy, origin, step), group=False), step))
        time.sleep(rng.random() * 0.03)
        if rng.random() < 0.2:
            i = rng.randrange(len(origins))
            end_group(origins[i])  # the origin and all that it serves with
            origins[i] = fork(lambda here=listeners[i]: be_origin(here), group=True)
            kills["origin"] = kills.get("origin", 0) + 1
            continue
        pid, step = clients.pop(rng.randrange(len(clients)))
        way = rng.choice(WAYS)
        take_away(pid, way, frozen)
        kills[f"{step}: {way}"] = kills.get(f"{step}: {way}", 0) + 1
    for pid in [pid for pid, _ in clients] + frozen:
        take_away(pid, "kill", frozen)
    for pid in origins:
        end_group(pid)
    print(sum(kills.values()), flush=True)


def fork(function, group):
    pid = os.fork()
    if pid:
        if group:
            os.setpgid(pid, pid)
        return pid
    status = 0
    try:
        die_with_parent()
        signal.signal(signal.SIGUSR1, lambda *_: end_sockets(reset=True))
        signal.signal(signal.SIGUSR2, lambda *_: end_sockets(reset=False))
        function()
    except OSError:
        status = 1
    finally:
        os._exit(status)


def end_sockets(reset):
    """Inside a client: its connection ends so, and the process with it."""
    for fd in range(3, 64):
        with contextlib.suppress(OSError):
            sock = socket.socket(fileno=fd)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                sock.shutdown(socket.SHUT_WR)
            sock.close()
    os._exit(0)


def take_away(pid, way, frozen):
    signals = {"kill": signal.SIGKILL, "reset": signal.SIGUSR1, "fin": signal.SIGUSR2, "freeze": signal.SIGSTOP}
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signals[way])
    if way == "freeze":
        frozen.append(pid)
    else:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def end_group(pid):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


# --- the test --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [2, 1] if os.environ.get("GINNEL_TEST_LONG") else [2])
def test_nobody_else_notices(workers):
    """issue 4, DESIGN 8.3"""
    seed = int(os.environ.get("GINNEL_TEST_SEED") or random.SystemRandom().randrange(1 << 30))
    print(f"GINNEL_TEST_SEED={seed}")
    proxy = Ginnel({"workers": workers, "log": {"access": "off"}})
    fds = proxy.fds()
    with Neighbours(proxy, tunnels=TUNNELS, clients=CLIENTS, stall=STALL, pause=0.005, seed=seed) as neighbours:
        tests = pathlib.Path(__file__).resolve().parents[1]
        argv = [sys.executable, __file__, proxy.host, str(proxy.port), str(seed)]
        child = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(tests)}, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, text=True, start_new_session=True)
        try:
            out, _ = child.communicate(timeout=scaled(60))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        assert child.returncode == 0
        kills = int(out)
        assert kills >= KILLS
        neighbours.wait_rounds(2)
        print(f"{kills} peers taken away, {sum(neighbours.rounds)} rounds of others, {neighbours.bytes} bytes, the longest took "
              f"{neighbours.longest * 1000:.0f} ms")
    eventually(lambda: proxy.metrics()["ginnel_sessions"] == 0, within=8, what="the sessions of the dead to end")
    eventually(lambda: proxy.fds() <= fds + 24, within=8, what=f"{proxy.fds()} descriptors to be about {fds} again")


def test_they_would_notice():
    """The test of the test: connections that are cut, and bytes that stand still, are complained about"""
    proxy = Ginnel({"log": {"access": "off"}})
    neighbours = Neighbours(proxy, tunnels=2, clients=2)
    proxy.kill()
    with pytest.raises(AssertionError, match="4 neighbours were harmed"):
        neighbours.stop()
    proxy = Ginnel({"log": {"access": "off"}})
    neighbours = Neighbours(proxy, tunnels=2, clients=2, stall=0.3)
    proxy.signal(signal.SIGSTOP)
    time.sleep(scaled(0.6))
    proxy.signal(signal.SIGCONT)
    with pytest.raises(AssertionError, match="stood still"):
        neighbours.stop()


if __name__ == "__main__":
    keeper((sys.argv[1], int(sys.argv[2])), int(sys.argv[3]))
