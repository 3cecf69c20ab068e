# SPDX-License-Identifier: MIT
"""Counts the system calls of a running process, thread by thread, and holds the process still while a test prepares what it is to find."""

import collections
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from . import scope
from .clock import Deadline, eventually, scaled

CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(?: resumed>|\((\d*)).* = (-?\d+|0x[0-9a-f]+|\?)(?: ([A-Z]\w+))?", re.A)
BEGUN = re.compile(r"^(\d+) +\w+\((\d*).* <unfinished \.\.\.>$", re.A)
FAMILIES = {
    "read": ("read", "readv", "recvfrom", "recvmsg"),
    "write": ("write", "writev", "sendto", "sendmsg"),
    "epoll_wait": ("epoll_wait", "epoll_pwait", "epoll_pwait2"),
    "accept4": ("accept", "accept4"),
    "memory": ("brk", "mmap", "munmap", "mremap", "mprotect", "madvise"),
}
FAMILY = {name: family for family, names in FAMILIES.items() for name in names}


def threads(pid):
    """The threads of a process: number -> name."""
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):  # ended meanwhile
            found[int(tid)] = pathlib.Path(f"/proc/{pid}/task/{tid}/comm").read_text().strip()
    return found


def thread(pid, name):
    """The number of a thread, which takes a moment to give itself its name."""
    return eventually(lambda: next((tid for tid, its in threads(pid).items() if its == name), None), what=f"a thread named {name}")


def event_fds(pid):
    """The descriptors with which threads wake each other."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            if "eventfd" in os.readlink(f"/proc/{pid}/fd/{fd}"):
                found.add(fd)
    return found


def state(pid, tid):
    """R, S, T, t, …"""
    return pathlib.Path(f"/proc/{pid}/task/{tid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def wait_asleep(pid, tid, within=5):
    """Waits until the thread waits for something, and goes on waiting: it has done all that there was to do."""
    deadline, seen = Deadline(within), 0
    while seen < 4:
        seen = seen + 1 if state(pid, tid) == "S" else 0
        assert not deadline.passed(), f"thread {tid} of process {pid} does not come to rest"
        time.sleep(0.0002)


@contextlib.contextmanager
def frozen(pid, tid):
    """The process stands still: what happens meanwhile it finds all at once. `tid` has come to rest before."""
    wait_asleep(pid, tid)
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: all(state(pid, t) in "Tt" for t in threads(pid)), what="the process to stand still")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Calls(collections.Counter):
    """How often each system call returned. Those that do the same go by one name (`read`: recv, recvmsg, …; `wake`: a write that wakes
    another thread; `memory`: the allocator's). A call that failed counts with its error as well ("read EAGAIN"), one that a stop
    interrupted not at all. `moved` has the bytes."""

    def __init__(self):
        super().__init__()
        self.moved = collections.Counter()

    def note(self, name, result, error):
        if error and error.startswith(("EINTR", "ERESTART")):
            return
        self[name] += 1
        if error:
            self[f"{name} {error}"] += 1
        elif result.isdigit():
            self.moved[name] += int(result)


def count(text, wakes=()):
    """The calls of each thread in the output of strace -f -o; `wakes` are the descriptors that wake threads. A call that another
    thread's cut in two has its descriptor in the first half and its result in the second."""
    calls, begun = collections.defaultdict(Calls), {}
    for line in text.splitlines():
        half = BEGUN.match(line)
        if half:
            begun[half[1]] = half[2]
            continue
        found = CALL.match(line)
        if found:
            tid, name, fd, result, error = found.groups()
            fd = begun.pop(tid, None) if fd is None else fd
            name = "wake" if name == "write" and fd in wakes else FAMILY.get(name, name)
            calls[int(tid)].note(name, result, error)
    return calls


class Strace:
    """strace on a running process. It ends with stop(), or with the test."""

    def __init__(self, pid):
        if not shutil.which("strace"):
            pytest.skip("no strace here")
        self._tmp = tempfile.TemporaryDirectory(prefix="ginnel-strace-")
        self.path, self.errors = (pathlib.Path(self._tmp.name, name) for name in ("calls", "errors"))
        with open(self.errors, "wb") as err:
            self.process = subprocess.Popen(["strace", "-f", "-s", "0", "-o", self.path, "-p", str(pid)], stdin=subprocess.DEVNULL,
                                            stdout=err, stderr=err)
        scope.track(self, scope.CLIENT)
        self.event_fds = event_fds(pid)
        self._wait_attached(pid)

    def _wait_attached(self, pid):
        """strace says what it has attached to before it lets the threads go on, so their state tells when they are."""
        def attached():
            said = self.errors.read_text(errors="replace")
            if self.process.poll() is not None or "not permitted" in said:
                pytest.skip(f"strace may not watch a process here: {said.strip()}")
            return f"Process {pid} attached" in said and all(self._tracer(pid, t) for t in threads(pid))

        eventually(attached, what="strace to attach")
        eventually(lambda: not any(state(pid, t) == "t" for t in threads(pid)), what="the threads to go on")

    def _tracer(self, pid, tid):
        status = pathlib.Path(f"/proc/{pid}/task/{tid}/status").read_text()
        return f"TracerPid:\t{self.process.pid}\n" in status

    def stop(self):
        """Detaches; the calls of each thread."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(scaled(10))
        calls = count(self.path.read_text(errors="replace"), self.event_fds)
        self.close()
        return calls

    def close(self):
        scope.forget(self)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(scaled(5))
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._tmp.cleanup()
