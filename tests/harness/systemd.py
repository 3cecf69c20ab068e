# SPDX-License-Identifier: MIT
"""A stand-in for systemd: hands sockets over, hears what the service says, and when."""

import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from . import scope
from .clock import DEFAULT, Deadline, scaled
from .ginnel import Ginnel, binary, environment

# Becomes the program: the descriptors given go to 3, 4, …, and the variables that need the process's own id are set.
EXEC = """
import fcntl, os, sys
fds, pid, names, watchdog = sys.argv[1:5]
high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in fds.split(",") if fd]
for fd in fds.split(","):
    if fd:
        os.close(int(fd))
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i, inheritable=True)
    os.close(fd)
if high:
    os.environ.update(LISTEN_PID=pid or str(os.getpid()), LISTEN_FDS=str(len(high)))
    if names:
        os.environ["LISTEN_FDNAMES"] = names
if watchdog:
    os.environ.update(WATCHDOG_USEC=watchdog, WATCHDOG_PID=pid or str(os.getpid()))
os.execvp(sys.argv[5], sys.argv[5:])
"""


class Note:
    """One notification: its lines as a map, when it came (time.monotonic()), who sent it."""

    def __init__(self, text, pid):
        self.at = time.monotonic()
        self.text = text
        self.pid = pid
        self.fields = dict(line.split("=", 1) for line in text.split("\n") if "=" in line)

    def __contains__(self, key):
        """`READY=1`, or just `STATUS`."""
        name, _, value = key.partition("=")
        return name in self.fields and (not value or self.fields[name] == value)

    def __repr__(self):
        return f"Note({self.text!r})"


class Systemd:
    """What systemd is to one service. `sockets` are handed over from descriptor 3 on, `names` are their LISTEN_FDNAMES; `watchdog` is
    the time in seconds after which systemd would lose patience; `pid` stands in the variables instead of the service's own;
    on_note(note) is called for each notification before the next one is read."""

    def __init__(self, sockets=(), names=(), watchdog=None, pid=None, on_note=None):
        self._tmp = tempfile.TemporaryDirectory(prefix="ginnel-test-")
        self.path = pathlib.Path(self._tmp.name, "notify")
        self.sockets = list(sockets)
        self.names, self.watchdog, self.pid, self.on_note = names, watchdog, pid, on_note
        self._notes, self._come = [], threading.Condition()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._sock.bind(str(self.path))
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()
        scope.track(self, scope.PROXY)

    def _collect(self):
        while True:
            data, extra, _, _ = self._sock.recvmsg(65536, socket.CMSG_SPACE(12))
            if not data:
                return
            pids = [struct.unpack("3i", body)[0] for level, kind, body in extra
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS)]
            note = Note(data.decode(errors="replace"), pids[0] if pids else None)
            with self._come:
                self._notes.append(note)
                self._come.notify_all()
            if self.on_note:
                self.on_note(note)

    # --- the service -----------------------------------------------------------------------------------------------

    def wrap(self):
        """What is put before the service's command."""
        fds = ",".join(str(sock.fileno()) for sock in self.sockets)
        watchdog = str(int(self.watchdog * 1000000)) if self.watchdog else ""
        return (sys.executable, "-I", "-S", "-c", EXEC, fds, str(self.pid or ""), ":".join(self.names), watchdog)

    def pass_fds(self):
        return [sock.fileno() for sock in self.sockets]

    def env(self):
        return {"NOTIFY_SOCKET": str(self.path)}

    def start(self, config=None, args=()):
        """ginnel as a service that runs."""
        return Ginnel(config, args, env=self.env(), wrap=self.wrap(), pass_fds=self.pass_fds())

    def run(self, argv=None, config_text=None, within=DEFAULT):
        """Any program, or ginnel with this text as its file, to its end."""
        home = self._tmp.name
        if argv is None:
            path = pathlib.Path(home, "ginnel.yaml")
            path.write_text(config_text)
            argv = [binary(), "-c", str(path)]
        return subprocess.run([*self.wrap(), *argv], cwd=home, env=environment(home, **self.env()), stdin=subprocess.DEVNULL,
                              pass_fds=self.pass_fds(), capture_output=True, text=True, errors="replace",
                              timeout=scaled(within), check=False)

    # --- what it says ----------------------------------------------------------------------------------------------

    def notes(self, key=None):
        """All notifications so far, or those with this key (`STATUS`, `READY=1`)."""
        with self._come:
            return [note for note in self._notes if key is None or key in note]

    def wait_for(self, key, timeout=DEFAULT, after=None):
        """The first notification with this key, or the first behind the notification `after`."""
        deadline = Deadline(timeout)
        with self._come:
            while True:
                start = self._notes.index(after) + 1 if after else 0
                for note in self._notes[start:]:
                    if key in note:
                        return note
                assert not deadline.passed(), f"no {key} from the service; it said {self._notes[start:]}"
                self._come.wait(deadline.left())

    def close(self):
        scope.forget(self)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join(scaled(DEFAULT))
        self._sock.close()
        for sock in self.sockets:
            sock.close()
        self._tmp.cleanup()


def listening(host="127.0.0.1", port=0):
    """A TCP socket as a .socket unit makes it."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(64)
    return sock


def listening_unix(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(os.fspath(path))
    sock.listen(64)
    return sock
