#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""reload.py [--tunnels N] [--reloads N] [--entries N] [--binary PATH]

What a reload costs, and that it costs nobody a connection:
 1. N tunnels (10,000, or what the limit of open files allows) echo random bytes without a pause while the configuration is
    reloaded 100 times. Every tunnel's bytes are hashed at both ends; new connections are made all the time.
 2. A list of a million address ranges is admitted, and reloaded 20 times with a change each time: seconds to load, memory.
Exit status 1 when a byte was lost, a connection refused, or memory does not come back.
"""
import argparse
import hashlib
import os
import pathlib
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def echo_server(listener):
    """Echoes whatever comes, in a process of its own."""
    poll = select.epoll()
    listener.setblocking(False)
    poll.register(listener.fileno(), select.EPOLLIN)
    conns = {}
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                try:
                    while True:
                        conn, _ = listener.accept()
                        conns[conn.fileno()] = conn
                        poll.register(conn.fileno(), select.EPOLLIN)
                except BlockingIOError:
                    continue
            try:
                data = conns[fd].recv(65536)
                if data:
                    conns[fd].sendall(data)
                    continue
            except OSError:
                pass
            poll.unregister(fd)
            conns.pop(fd).close()


class Proxy:
    def __init__(self, binary, directory, config):
        self.file = directory / "ginnel.yaml"
        self.log = directory / "stderr"
        self.control = directory / "control.sock"
        self.generation = 1
        self.write(config)
        with open(self.log, "wb") as err:
            self.process = subprocess.Popen([binary, "-c", str(self.file)], stderr=err,
                                            env={**os.environ, "RUNTIME_DIRECTORY": str(directory)})
        self.wait(r"^ginnel: info: ready", 60)
        self.port = int(re.search(r"listening on 127\.0\.0\.1:(\d+)", self.text()).group(1))

    def write(self, config):
        new = self.file.with_suffix(".new")
        new.write_text(config)
        new.rename(self.file)

    def text(self):
        return self.log.read_text(errors="replace")

    def wait(self, pattern, seconds):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text(), re.M):
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f"no {pattern!r} in the log:\n{self.text()[-3000:]}")
            time.sleep(0.005)

    def reload(self):
        """Over the control socket: the answer comes when every worker has it."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.connect(str(self.control))
            s.sendall(b"POST /reload HTTP/1.1\r\nHost: ginnel\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            answer = b""
            while chunk := s.recv(65536):
                answer += chunk
        return answer.decode(errors="replace")

    def resident(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) // 1024

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Tunnel:
    """Sends a piece when the last one has come back whole; both directions are hashed."""

    def __init__(self, port, target):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.sendall(f"CONNECT 127.0.0.1:{target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.sock.recv(4096)
            if not piece:
                raise ConnectionError("closed before the 200")
            head += piece
        if b" 200 " not in head:
            raise ConnectionError(head.decode())
        self.sock.setblocking(False)
        self.sent, self.came = hashlib.sha256(), hashlib.sha256()
        self.bytes = self.due = 0

    def send(self, piece):
        self.sock.send(piece)
        self.sent.update(piece)
        self.due = len(piece)
        self.bytes += self.due

    def receive(self):
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("ended")
        self.came.update(data)
        self.due -= len(data)


def config_number(i, directory):
    """They differ in what may change: timeouts, sizes, logs, names, a listener that comes and goes."""
    extra = "" if i % 2 else "\n  - {address: 127.0.0.1:0, name: second}"
    return f"""listen:
  - {{address: 127.0.0.1:0, name: first}}{extra}
workers: 2
timeouts: {{connect: {5 + i % 5}s, tunnel: {10 + i % 7}m}}
sizes: {{fields: {100 + i}}}
log: {{access: {directory}/access-{i % 3}.log}}
"""


def storm(options, directory):
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        target = listener.getsockname()[1]
        child = os.fork()
        if child == 0:
            echo_server(listener)
            os._exit(0)
    try:
        run_storm(options, directory, target)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def run_storm(options, directory, target):
    proxy = Proxy(options.binary, directory, config_number(0, directory))
    tunnels = {}
    began = time.monotonic()
    for _ in range(options.tunnels):
        t = Tunnel(proxy.port, target)
        tunnels[t.sock.fileno()] = t
    print(f"{len(tunnels)} tunnels open after {time.monotonic() - began:.1f} s")
    poll = select.epoll()
    for fd, t in tunnels.items():
        poll.register(fd, select.EPOLLIN)
        t.send(os.urandom(64))
    broken = refused = fresh = 0
    times = []
    for i in range(1, options.reloads + 1):
        proxy.write(config_number(i, directory))
        start = time.monotonic()
        answer = proxy.reload()
        times.append(time.monotonic() - start)
        if " 200 " not in answer.split("\r\n", 1)[0]:
            sys.exit(f"reload {i}: {answer}")
        try:
            t = Tunnel(proxy.port, target)
            fresh += 1
            tunnels[t.sock.fileno()] = t
            poll.register(t.sock.fileno(), select.EPOLLIN)
            t.send(os.urandom(64))
        except OSError as error:
            print(f"a new connection: {error}")
            refused += 1
        end = time.monotonic() + options.pause
        while time.monotonic() < end:
            for fd, _ in poll.poll(0.01):
                try:
                    tunnels[fd].receive()
                    if tunnels[fd].due == 0:
                        tunnels[fd].send(os.urandom(64))
                except OSError as error:
                    print(f"a tunnel: {error}")
                    broken += 1
                    poll.unregister(fd)
    # What is still on its way comes back.
    end = time.monotonic() + 20
    while time.monotonic() < end and any(t.due > 0 for t in tunnels.values()):
        for fd, _ in poll.poll(0.1):
            tunnels[fd].receive()
    wrong = sum(t.sent.digest() != t.came.digest() for t in tunnels.values())
    times.sort()
    print(f"{options.reloads} reloads: median {times[len(times) // 2] * 1000:.1f} ms, worst {times[-1] * 1000:.1f} ms")
    print(f"{sum(t.bytes for t in tunnels.values())} bytes there and back; tunnels broken {broken}, hashes wrong {wrong}, "
          f"new connections {fresh}, refused {refused}")
    proxy.stop()
    if broken or wrong or refused:
        sys.exit("the storm was felt")


def large_list(options, directory):
    entries = directory / "list.txt"

    def write(i):
        with open(entries, "w", encoding="ascii") as f:
            f.write("127.0.0.0/8\n")
            for n in range(options.entries):
                f.write(f"{11 + (n >> 20)}.{(n >> 12) & 255}.{(n >> 4) & 255}.{(n & 15) * 16}/{29 + (n + i) % 3}\n")

    config = f"listen: 127.0.0.1:0\nclients: [{entries}]\nworkers: 2\nlog: {{access: off}}\n"
    write(0)
    start = time.monotonic()
    proxy = Proxy(options.binary, directory, config)
    print(f"a list of {options.entries} entries: ready after {time.monotonic() - start:.2f} s, {proxy.resident()} MB")
    memory, times = [], []
    for i in range(1, 21):
        write(i)
        start = time.monotonic()
        answer = proxy.reload()
        times.append(time.monotonic() - start)
        if " 200 " not in answer.split("\r\n", 1)[0]:
            sys.exit(f"reload {i}: {answer}")
        time.sleep(0.3)
        memory.append(proxy.resident())
    times.sort()
    print(f"20 reloads of it: median {times[10]:.2f} s, worst {times[-1]:.2f} s; resident after each, MB: {memory}")
    proxy.stop()
    if memory[-1] > memory[1] * 1.2 + 10:
        sys.exit("memory does not come back")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tunnels", type=int, default=10000)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--entries", type=int, default=1000000)
    parser.add_argument("--pause", type=float, default=0.1, help="seconds of traffic between two reloads")
    parser.add_argument("--binary", default=str(ROOT / "build" / "ginnel"))
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, 65536), max(hard, 65536)))
        hard = max(hard, 65536)
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # The proxy needs two descriptors a tunnel.
    options.tunnels = min(options.tunnels, hard // 2 - 500)
    with tempfile.TemporaryDirectory(prefix="ginnel-reload-") as d:
        storm(options, pathlib.Path(d))
    with tempfile.TemporaryDirectory(prefix="ginnel-reload-") as d:
        large_list(options, pathlib.Path(d))


main()
