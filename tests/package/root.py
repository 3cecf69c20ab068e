# SPDX-License-Identifier: MIT
"""root: a clean Debian root to try things in, and ginnel in it. For the scripts beside this file.

Everything happens in mount, process and (once nothing must be fetched any more) network namespaces of its own: mounts,
processes and ports go when the script goes, and 3128 is free. Needs root. The base (debootstrap's minbase) is kept in
build-deb/ for a week.
"""
import contextlib
import ctypes
import fcntl
import functools
import http.client
import http.server
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
KEEP = TOP / "build-deb"
SUITE = "bookworm"
WEEK = 7 * 24 * 3600
CLONE_NEWNET = 0x40000000
INSIDE = "GINNEL_TEST_ROOT_DIR"  # in the environment: we are in the namespaces, and this is where roots may be made


def enter():
    """Runs the script once more, in namespaces and with a directory of its own; returns there, with that directory."""
    if INSIDE in os.environ:
        return pathlib.Path(os.environ[INSIDE])
    if os.getuid() != 0:
        sys.exit(f"{sys.argv[0]}: a root in which packages are installed can only be made by root")
    work = tempfile.mkdtemp(prefix="ginnel-root-")
    argv = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    argv += [sys.executable, *sys.argv]
    child = subprocess.run(argv, env={**os.environ, INSIDE: work, "PYTHONDONTWRITEBYTECODE": "1"})
    # Nothing was ever mounted in this namespace; looking costs nothing, and a mistake would cost much.
    mounted = [line for line in pathlib.Path("/proc/mounts").read_text().splitlines() if work in line]
    if mounted:
        sys.exit(f"{sys.argv[0]}: still mounted, so nothing is removed: {mounted}")
    subprocess.run(["rm", "-rf", "--one-file-system", work], check=True)
    sys.exit(child.returncode)


def mirror():
    """Where this machine has its packages from."""
    if "DEB_MIRROR" in os.environ:
        return os.environ["DEB_MIRROR"]
    argv = ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)", "Created-By: Packages"]
    for line in subprocess.run(argv, capture_output=True, text=True).stdout.splitlines():
        site, codename = line.split()
        if codename == SUITE:
            return site
    return "http://deb.debian.org/debian"


def base(work):
    """The tarball of the base."""
    tarball = KEEP / f"{SUITE}-minbase.tar"
    if tarball.exists() and time.time() - tarball.stat().st_mtime < WEEK:
        return tarball
    KEEP.mkdir(exist_ok=True)
    made = work / "base"
    log = work / "debootstrap.log"
    print(f"making {tarball.relative_to(TOP)} (debootstrap, a minute or two)", flush=True)
    with open(log, "wb") as out:
        child = subprocess.run(["debootstrap", "--variant=minbase", SUITE, made, mirror()], stdout=out, stderr=out)
    if child.returncode:
        sys.exit(log.read_text() + "debootstrap failed")
    part = tarball.with_suffix(".part")
    subprocess.run(["tar", "--numeric-owner", "--one-file-system", "-cf", part, "-C", made, "."], check=True)
    part.rename(tarball)
    return tarball


def newest_deb():
    found = sorted(KEEP.glob("ginnel_*.deb"), key=lambda p: p.stat().st_mtime)
    return found[-1] if found else sys.exit("there is no package in build-deb/: make deb")


def alone():
    """From here on: no network but a loopback of our own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        sys.exit(f"cannot have a network of its own: {os.strerror(ctypes.get_errno())}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP


class Root:
    """A root. Files are pathlib paths below .at; commands run in it through .run()."""

    def __init__(self, work, name):
        self.at = work / name
        self.at.mkdir()
        subprocess.run(["tar", "--numeric-owner", "-xpf", base(work), "-C", self.at], check=True)
        subprocess.run(["mount", "-t", "proc", "proc", self.at / "proc"], check=True)
        shutil.copy("/etc/resolv.conf", self.at / "etc/resolv.conf")
        # Nothing is started by installing it: no init runs here.
        (self.at / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        (self.at / "usr/sbin/policy-rc.d").chmod(0o755)

    def path(self, name):
        return self.at / name.lstrip("/")

    def argv(self, *argv, user=None, cwd="/", env=()):
        line = ["env", "-i", "-C", cwd, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
        return ["chroot", *([f"--userspec={user}"] if user else []), str(self.at), *line, *env, *map(str, argv)]

    def run(self, *argv, check=True, **how):
        """Runs it; returns (exit status, everything it wrote)."""
        child = subprocess.run(self.argv(*argv, **how), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace")
        if check and child.returncode:
            sys.exit(f"{' '.join(map(str, argv))}: exit status {child.returncode}\n{child.stdout}")
        return child.returncode, child.stdout

    def apt(self, *argv, check=True):
        return self.run("apt-get", "-q", "-y", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends", *argv, check=check,
                        env=["DEBIAN_FRONTEND=noninteractive"])

    def files(self):
        """Every path in it, without what lives elsewhere (proc) and what apt and dpkg keep for themselves."""
        own = re.compile(r"^\./(proc|var/cache/apt|var/cache/debconf|var/cache/ldconfig|var/lib/apt|var/lib/dpkg|var/log/apt)/|"
                         r"^\./var/log/(dpkg|alternatives)\.log$|^\./tmp/|^\./etc/(passwd|shadow|group|gshadow)-$|"
                         r"^\./etc/\.pwd\.lock$")
        found = subprocess.run(["find", ".", "-xdev", "-mindepth", "1"], cwd=self.at, capture_output=True, text=True, check=True)
        return {line[1:] for line in found.stdout.splitlines() if not own.search(line)}

    @contextlib.contextmanager
    def running(self, *argv, stop=signal.SIGTERM, **how):
        """argv while the block runs; then it is told to stop, and must end with 0."""
        log = self.at.parent / "running.log"
        with open(log, "wb") as out:
            child = subprocess.Popen(self.argv(*argv, **how), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            yield log
            if child.poll() is not None:
                sys.exit(f"{argv[0]} ended by itself with {child.returncode}\n{log.read_text()}")
            child.send_signal(stop)
            if child.wait(timeout=20) != 0:
                sys.exit(f"{argv[0]} was stopped and ended with {child.returncode}\n{log.read_text()}")
        except Exception:
            print(log.read_text())
            raise
        finally:
            child.kill()
            child.wait()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def origin(directory):
    """A web server on 127.0.0.1 with the files of a directory; gives its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=directory))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def get(url, proxy=("127.0.0.1", 3128), patience=10):
    """(status, body) of url through the proxy, which may need a moment to be there."""
    end = time.monotonic() + patience
    while True:
        try:
            conn = http.client.HTTPConnection(*proxy, timeout=10)
            conn.request("GET", url, headers={"Connection": "close"})
            reply = conn.getresponse()
            return reply.status, reply.read()
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def wait(true, patience=10):
    """Waits until it is true; says whether it is."""
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class Score:
    """Counts, and says each check in a line."""

    def __init__(self):
        self.passed = self.failed = 0
        self.began = time.monotonic()

    def check(self, sentence, good, detail=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
        print(f"{'ok    ' if good else 'FAILED'} {sentence}{'' if good else f': {detail}'}", flush=True)

    def same(self, sentence, got, wanted):
        self.check(sentence, got == wanted, f"{got!r}, not {wanted!r}")

    def end(self):
        print(f"{time.monotonic() - self.began:.0f} s\n{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(0 if self.passed and not self.failed else 1)
