# SPDX-License-Identifier: MIT
"""Bulk through a proxy from a process of its own, so that it takes no time from what a test measures beside it:

    python3 -m harness.bulk HOST PORT TUNNELS SECONDS

opens tunnels (every other one carries up, the others down), says `ready`, and when a line comes in it says how many bytes each has moved in that
time, as JSON. Nothing is copied here, so that it is the proxy that is busy."""

import collections
import contextlib
import json
import os
import pathlib
import select
import socket
import subprocess
import sys
import time

from . import scope
from .clock import scaled
from .crowd import Crowd

PIECE = 4 << 20
Target = collections.namedtuple("Target", "host port")


class Bulk:
    """The process, started and stopped by a test."""

    def __init__(self, proxy, tunnels, seconds):
        argv = [sys.executable, "-m", "harness.bulk", proxy.host, str(proxy.port), str(tunnels), str(seconds)]
        self.seconds = seconds
        self.process = subprocess.Popen(argv, cwd=pathlib.Path(__file__).resolve().parents[1], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        scope.track(self, scope.CLIENT)
        assert self.process.stdout.readline() == "ready\n", "the bulk has not begun"

    @property
    def pid(self):
        return self.process.pid

    def begin(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def moved(self):
        """Bytes by tunnel, at the end of the time."""
        said = self.process.communicate(timeout=scaled(self.seconds + 20))[0]
        assert self.process.returncode == 0 and said, "the bulk has failed"
        return json.loads(said)

    def close(self):
        scope.forget(self)
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Mover:
    """Sends endless bytes from a file in memory, and throws away what arrives, both without a copy."""

    def __init__(self, tunnels):
        self.file = os.memfd_create("bulk")
        os.ftruncate(self.file, PIECE)
        self.sink = bytearray(PIECE)
        self.poll = select.epoll()
        self.sinks, self.moved = {}, {}
        for i, tunnel in enumerate(tunnels):
            source, sink = tunnel if i % 2 else tunnel[::-1]
            source.setblocking(False)
            sink.setblocking(False)
            self.poll.register(source, select.EPOLLOUT)
            self.poll.register(sink, select.EPOLLIN)
            self.sinks[sink.fileno()] = sink
            self.moved[sink.fileno()] = 0

    def run(self, until):
        """Until the time, or until the word on stdin when that is polled for."""
        while time.monotonic() < until:
            for fd, events in self.poll.poll(0.1):
                if fd == sys.stdin.fileno():
                    return
                with contextlib.suppress(BlockingIOError):
                    if events & select.EPOLLOUT:
                        os.sendfile(fd, self.file, 0, PIECE)
                    else:
                        self.moved[fd] += self.sinks[fd].recv_into(self.sink, PIECE, socket.MSG_TRUNC)


def main(host, port, tunnels, seconds):
    crowd = Crowd(Target(host, int(port)))
    mover = Mover(crowd.tunnels(int(tunnels)))
    mover.run(time.monotonic() + 0.5)
    print("ready", flush=True)
    mover.poll.register(sys.stdin, select.EPOLLIN)
    mover.run(float("inf"))
    mover.poll.unregister(sys.stdin)
    before = dict(mover.moved)
    mover.run(time.monotonic() + float(seconds))
    print(json.dumps([mover.moved[fd] - before[fd] for fd in before]), flush=True)
    crowd.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
