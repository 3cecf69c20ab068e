# SPDX-License-Identifier: MIT
"""Starts the program under test, talks to its process, reads its logs, and at the end makes sure that it was well."""

import contextlib
import copy
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

from . import scope
from .build import request
from .clock import DEFAULT, Deadline, eventually, scaled
from .peer import Client, UnixClient

ROOT = pathlib.Path(__file__).resolve().parents[2]
STORE = pathlib.Path(__file__).with_name("store.pem")  # the system's takes as long to read as all else at a start, ten times over
READY = re.compile(r"^ginnel: info: ready", re.M)
LISTENING = re.compile(r"^ginnel: info: listening on (\S+):(\d+)", re.M)
LISTENING_UNIX = re.compile(r"^ginnel: info: listening on unix:(\S+)", re.M)
ADMIN = re.compile(r"^ginnel: info: admin on (\S+):(\d+)", re.M)
RELOAD = re.compile(r"^ginnel: \w+: (reload.*)$", re.M)
SAMPLE = re.compile(r"^(\w+(?:\{[^}]*\})?) (\S+)$", re.M)
SANITIZER = re.compile(r"(Address|Thread|Leak|UndefinedBehavior|Memory)Sanitizer|runtime error:|^CHECK ", re.M)
DEFAULTS = {
    "listen": "127.0.0.1:0",
    "name": "wire",
    "workers": 2,
    "timeouts": {"drain": "1s"},
    "log": {"level": "info"},
}


def binary():
    return os.environ.get("GINNEL_BIN") or str(ROOT / "build" / "ginnel")


def environment(home, **extra):
    """An environment in which no configuration is found by accident, and the control socket is that of the directory."""
    env = {key: value for key, value in os.environ.items()
           if not key.startswith("GINNEL_") and "proxy" not in key.lower() and key != "XDG_CONFIG_HOME"}
    for key in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        env.pop(key, None)
    env.update(HOME=str(home), RUNTIME_DIRECTORY=str(home), STATE_DIRECTORY=str(home))
    env["SSL_CERT_FILE"] = str(STORE)
    env.update(extra)
    env.setdefault("ASAN_OPTIONS", "abort_on_error=1:detect_leaks=1")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    env.setdefault("TSAN_OPTIONS", "halt_on_error=0")
    return env


def run_ginnel(*args, config=None, env=None, wrap=(), within=DEFAULT):
    """Runs the program to its end, for commands and for starts that must fail. `config` becomes a file given with -c."""
    with tempfile.TemporaryDirectory(prefix="ginnel-test-") as home:
        argv = [*wrap, binary(), *map(str, args)]
        if config is not None:
            path = pathlib.Path(home, "ginnel.yaml")
            path.write_text(config if isinstance(config, str) else json.dumps(config))
            argv += ["-c", str(path)]
        return subprocess.run(argv, cwd=home, env=environment(home, **(env or {})), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace", timeout=scaled(within), check=False)


def wait_ready(process, stderr_path, within=10):
    """Waits until the log says that the listeners are open; returns the log so far."""
    deadline = Deadline(within)
    while True:
        text = pathlib.Path(stderr_path).read_text(errors="replace")
        if READY.search(text):
            return text
        assert process.poll() is None, f"ginnel ended with {process.returncode} at start:\n{text}"
        assert not deadline.passed(), f"ginnel is not ready:\n{text}"
        time.sleep(0.002)


class Ginnel:
    """A running ginnel with a temporary directory of its own. `config` is merged into DEFAULTS (None removes a key), or is the
    text of the file, or False for no file at all. `wrap` is put before the command, e.g. prlimit and its options. With
    `unprivileged` root starts it as nobody, from a copy that nobody can read: root has no limit on pipes."""

    def __init__(self, config=None, args=(), env=None, wrap=(), pass_fds=(), tracked=True, unprivileged=False):
        self._tmp = tempfile.TemporaryDirectory(prefix="ginnel-test-")
        self.dir = pathlib.Path(self._tmp.name)
        self.access_path = self.dir / "access.log"
        self.stderr_path = self.dir / "stderr"
        self.stdout_path = self.dir / "stdout"
        self.config_path = self.dir / "ginnel.yaml"
        self.control_path = self.dir / "control.sock"
        self.killed = False
        argv = [*wrap, *(self._as_nobody() if unprivileged and os.getuid() == 0 else [binary()]), *self._config_args(config), *args]
        with open(self.stderr_path, "wb") as err, open(self.stdout_path, "wb") as out:
            self.process = subprocess.Popen(argv, cwd=self.dir, env=environment(self.dir, **(env or {})),
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=err, pass_fds=pass_fds)
        if tracked:
            scope.track(self, scope.PROXY)
        try:
            log = wait_ready(self.process, self.stderr_path)
        except AssertionError:
            self.kill()
            raise
        self.listeners = [(host.strip("[]"), int(port)) for host, port in LISTENING.findall(log)]
        self.unix_listeners = LISTENING_UNIX.findall(log)
        assert self.listeners or self.unix_listeners, f"no listener in the log:\n{log}"
        self.host, self.port = self.listeners[0] if self.listeners else (None, None)

    def _as_nobody(self):
        copied = shutil.copy(binary(), self.dir / "ginnel")
        shutil.chown(self.dir, "nobody", "nogroup")
        return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", copied]

    def _config_args(self, config):
        if config is False:
            return []
        self.config_path.write_text(self.config_text(config))
        return ["-c", str(self.config_path)]

    def config_text(self, config=None):
        """What stands in the file for such a config."""
        if isinstance(config, str):
            return config.replace("@DIR@", str(self.dir))
        merged = merge(DEFAULTS, {"log": {"access": str(self.access_path)}})
        return json.dumps(merge(merged, config or {}), indent=1)

    @property
    def addr(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    @property
    def name(self):
        return DEFAULTS["name"]

    def client(self, **options):
        """A new raw connection to the first listener."""
        return Client(self.host, self.port, **options)

    # --- its configuration -----------------------------------------------------------------------------------------

    def write_config(self, config=None):
        """Replaces the file by renaming another over it."""
        fresh = self.dir / "ginnel.yaml.new"
        fresh.write_text(self.config_text(config))
        fresh.rename(self.config_path)

    def reload_lines(self):
        """What was said about reloads so far, a line each."""
        return RELOAD.findall(self.stderr())

    def wait_reload(self, n, within=DEFAULT):
        """Waits for n lines about reloads in all, and returns the last one."""
        def said():
            assert self.alive(), f"ginnel has ended:\n{self.stderr()[-4000:]}"
            return len(self.reload_lines()) >= n

        eventually(said, within, f"the reload line number {n}")
        self.settle()
        return self.reload_lines()[-1]

    def settle(self):
        """A reload that has been said is in service at every worker after this: the control socket is served by the thread that
        waits for them."""
        if self.control_path.is_socket() and self.alive():
            assert self.control("GET", "/healthz").status == 200

    def reload(self, config=None, within=DEFAULT):
        """Rewrites the file, waits for the reload that notices it, and returns what is said about it."""
        before = len(self.reload_lines())
        self.write_config(config)
        return self.wait_reload(before + 1, within)

    def command(self, *args, within=DEFAULT):
        """Runs another ginnel's command that speaks to this one: command("reload")."""
        argv = [binary(), *map(str, args), *(["-c", str(self.config_path)] if self.config_path.exists() else [])]
        return subprocess.run(argv, cwd=self.dir, env=environment(self.dir), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, errors="replace", timeout=scaled(within), check=False)

    def control(self, method, target, *fields, within=DEFAULT):
        """A request over the control socket; its answer."""
        with UnixClient(self.control_path) as client:
            return client.ask(request(method, target, *fields, host="ginnel"), within=within)

    def status(self):
        """What GET /status says, parsed."""
        answer = self.control("GET", "/status?json")
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def metrics(self):
        """Every sample of GET /metrics by its name and labels."""
        answer = self.control("GET", "/metrics")
        assert answer.status == 200, answer
        return {name: float(value) for name, value in SAMPLE.findall(answer.body.decode())}

    def admin(self):
        """A new connection to the (first) admin address."""
        host, port = ADMIN.findall(self.stderr())[0]
        return Client(host.strip("[]"), int(port))

    # --- its logs --------------------------------------------------------------------------------------------------

    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    def access(self, where=None):
        """The access records so far whose members equal those of `where`."""
        text = self.access_path.read_text() if self.access_path.exists() else ""
        lines = text.split("\n")
        records = [json.loads(line) for line in lines[:-1]]  # what follows the last line end is being written
        return [record for record in records if all(record.get(k) == v for k, v in (where or {}).items())]

    def wait_access(self, n=1, where=None, within=DEFAULT):
        """Waits for n such records and returns all of them."""
        eventually(lambda: len(self.access(where)) >= n, within, f"{n} access records with {where}; has {self.access()[-3:]}")
        return self.access(where)

    # --- its process -----------------------------------------------------------------------------------------------

    def alive(self):
        return self.process.poll() is None

    def rss(self):
        """Resident bytes."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024

    def pss(self):
        """Bytes of memory that are its own, a part of what it shares included."""
        rollup = pathlib.Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.M).group(1)) * 1024

    def pipes(self):
        """The sizes of the pipes it has open."""
        sizes = {}
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            path = f"/proc/{self.pid}/fd/{fd}"
            with contextlib.suppress(OSError):  # closed meanwhile
                name = os.readlink(path)
                if not name.startswith("pipe:") or name in sizes:
                    continue
                pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                sizes[name] = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
                os.close(pipe)
        return list(sizes.values())

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @staticmethod
    def instrumented():
        """True for sanitizer builds, whose memory says nothing."""
        data = pathlib.Path(binary()).read_bytes()
        return b"__asan_init" in data or b"__tsan_init" in data or b"__msan_init" in data

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait_exit(self, within=DEFAULT):
        try:
            return self.process.wait(scaled(within))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"ginnel does not stop:\n{self.stderr()[-2000:]}") from None

    def kill(self):
        self.killed = True
        if self.alive():
            self.process.kill()
            self.process.wait()

    def check_log(self):
        """No sanitizer report, no failed check, no wake-up that the sweep had to make up for."""
        text = self.stderr()
        assert "a wake-up was lost" not in text, f"ginnel's log has a lost wake-up:\n{text[-6000:]}"
        assert not SANITIZER.search(text), f"ginnel's log has a report:\n{text[-6000:]}"

    def stop(self):
        """TERM, a second one if the drain takes long; then it must have ended by itself and well."""
        if self.killed:
            return
        try:
            if self.alive():
                self.signal()
                try:
                    self.process.wait(scaled(3))
                except subprocess.TimeoutExpired:
                    self.signal()
            code = self.wait_exit()
            self.check_log()
            assert code == 0, f"ginnel ended with {code}:\n{self.stderr()[-4000:]}"
        finally:
            self.kill()

    def close(self):
        scope.forget(self)
        try:
            self.stop()
        finally:
            self._tmp.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def merge(base, extra):
    """A copy of base with extra laid over it, map by map; None removes a key."""
    merged = copy.deepcopy(base)
    for key, value in extra.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged
