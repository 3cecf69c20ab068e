# SPDX-License-Identifier: MIT
"""Ports, targets that never answer, network namespaces."""

import ctypes
import os
import re
import select
import socket
import subprocess
import threading

from . import scope

CLONE_NEWNET = 0x40000000


def free_port(host="127.0.0.1"):
    """A port that was free a moment ago."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.bind((host, 0))
        return sock.getsockname()[1]


def have_ipv6():
    try:
        free_port("::1")
        return True
    except OSError:
        return False


def held(port):
    """The local ports of the connections to that port which some process still has; not those that only the kernel remembers."""
    with open("/proc/net/tcp", "rb") as table:
        lines = re.findall(rb":([0-9A-F]{4}) [0-9A-F]{8}:%04X [0-9A-F]{2} \S+ \S+ \S+ +\d+ +\d+ (\d+) " % port, table.read())
    return [int(local, 16) for local, inode in lines if inode != b"0"]


class BlackHole:
    """An address on loopback where a SYN gets no answer: a listener whose queue is full."""

    def __init__(self, host="127.0.0.1", port=0):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.bind((host, port))
        self.sock.listen(0)
        self.host, self.port = host, self.sock.getsockname()[1]
        self._queue = []
        while self._connects(family):
            assert len(self._queue) < 16, "the queue does not fill"
        scope.track(self, scope.ORIGIN)

    @property
    def authority(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def _connects(self, family):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.connect_ex((self.host, self.port))
        self._queue.append(sock)
        return bool(select.select([], [sock], [], 0.2)[1])

    def close(self):
        scope.forget(self)
        for sock in self._queue:
            sock.close()
        self.sock.close()


class NetNs:
    """A network namespace with nothing but its loopback. call(f) runs f inside: sockets and processes it makes stay there."""

    def __init__(self):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = _in_thread(self._make)
        scope.track(self, scope.PROXY)

    def _make(self):
        if self._libc.unshare(CLONE_NEWNET) != 0:
            raise PermissionError(ctypes.get_errno(), "unshare")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    def call(self, function, *args, **kwargs):
        def inside():
            if self._libc.setns(self.fd, CLONE_NEWNET) != 0:
                raise PermissionError(ctypes.get_errno(), "setns")
            return function(*args, **kwargs)
        return _in_thread(inside)

    def close(self):
        scope.forget(self)
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _in_thread(function):
    """The calling thread's namespace stays as it is."""
    outcome = {}

    def run():
        try:
            outcome["result"] = function()
        except BaseException as error:  # handed to the caller
            outcome["error"] = error

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]
