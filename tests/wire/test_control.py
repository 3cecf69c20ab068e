# SPDX-License-Identifier: MIT
"""The commands that ask the running ginnel: status, reload, drain, config show --running. Against the program itself, and
against a stand-in that answers what it would rather not."""

import json
import os
import pty
import select
import socket
import subprocess
import threading
import time

import pytest

from harness import Deadline, Ginnel, binary, eventually, scaled
from harness.ginnel import environment


def command(home, *args, runtime=None):
    """Runs a command in a directory, where no control socket is found by accident."""
    env = environment(home)
    env["RUNTIME_DIRECTORY"] = str(runtime or f"{home}/none")
    return subprocess.run([binary(), *map(str, args)], cwd=home, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=scaled(70), check=False)


@pytest.fixture
def running(tmp_path):
    """A ginnel with a control socket at a place that its file names."""
    return Ginnel({"control": f"unix:{tmp_path}/control.sock", "timeouts": {"drain": "5s"}})


def ask(ginnel, *args):
    return command(ginnel.dir, *args, "-c", ginnel.dir / "ginnel.yaml")


# --- the program ---------------------------------------------------------------------------------------------------


def test_status(running):
    ran = ask(running, "status")
    assert ran.returncode == 0 and not ran.stderr
    assert str(running.pid) in ran.stdout and running.addr in ran.stdout and ran.stdout.endswith("\n")


def test_status_as_json(running):
    ran = ask(running, "status", "--json")
    assert ran.returncode == 0 and not ran.stderr
    told = json.loads(ran.stdout)
    assert told["pid"] == running.pid
    assert running.addr in [listener["address"] for listener in told["listeners"]]


def test_status_lists_exchanges(running, origin):
    """A tunnel that is open is one; how many are listed can be said."""
    with running.client().connect(origin.authority), origin.accept():
        told = json.loads(ask(running, "status", "--json", "--exchanges", "10").stdout)
        assert len(told["exchanges"]) == 1 and origin.authority in json.dumps(told["exchanges"])
        assert not json.loads(ask(running, "status", "--json", "--exchanges", "0").stdout)["exchanges"]
        assert origin.authority in ask(running, "status", "--exchanges", "10").stdout


def test_option_before_the_command(running):
    ran = command(running.dir, "-c", running.dir / "ginnel.yaml", "status")
    assert ran.returncode == 0 and str(running.pid) in ran.stdout


def test_reload(running):
    """0 and one line; 78 and every error, and the old configuration stays"""
    path = running.dir / "ginnel.yaml"
    good = json.loads(path.read_text())
    ran = ask(running, "reload")
    assert ran.returncode == 0 and ran.stdout.strip() and not ran.stderr
    path.write_text(json.dumps({**good, "workes": 2, "via": "maybe"}))
    ran = ask(running, "reload")
    assert ran.returncode == 78 and not ran.stdout and "workes" in ran.stderr and "via" in ran.stderr
    assert ask(running, "drain").returncode == 78 and running.alive()  # who knows whom that would be
    path.write_text(json.dumps({**good, "name": "renamed"}))
    ran = ask(running, "reload")
    assert ran.returncode == 0, ran
    assert "name: renamed" in ask(running, "config", "show", "--running").stdout


def test_looking_with_a_wrong_file(tmp_path):
    """A file with errors does not say where to ask: the default place is tried, and that is said. Nothing is changed so."""
    path = tmp_path / "ginnel.yaml"
    path.write_text("listen: 127.0.0.1:0\nname: before\n")
    env = environment(tmp_path)
    env["RUNTIME_DIRECTORY"] = str(tmp_path)
    with open(tmp_path / "stderr", "wb") as stderr, subprocess.Popen([binary(), "-c", str(path)], env=env, cwd=tmp_path,
                                                                     stdin=subprocess.DEVNULL, stderr=stderr) as process:
        try:
            eventually(lambda: command(tmp_path, "status", "-c", path, runtime=tmp_path).returncode == 0, 10, "an answer")
            path.write_text("listen: 127.0.0.1:0\nworkes: 2\nvia: maybe\n")
            ran = command(tmp_path, "config", "show", "--running", "-c", path, runtime=f"{tmp_path}:/elsewhere")
            assert ran.returncode == 0 and "name: before" in ran.stdout and "the configuration has errors" in ran.stderr
            ran = command(tmp_path, "reload", "-c", path, runtime=tmp_path)
            assert ran.returncode == 78 and not ran.stdout, ran
            assert f"{path}:2:1:" in ran.stderr and f"{path}:3:6:" in ran.stderr and "did you mean" in ran.stderr
            assert command(tmp_path, "drain", "-c", path, runtime=tmp_path).returncode == 78
            assert process.poll() is None
        finally:
            process.terminate()
        assert process.wait(scaled(10)) == 0, (tmp_path / "stderr").read_text()


def test_config_show_running_is_what_runs(running):
    """Not what the file says by now."""
    shown = ask(running, "config", "show", "--running")
    assert shown.returncode == 0 and "name: wire" in shown.stdout
    (running.dir / "shown.yaml").write_text(shown.stdout)
    assert command(running.dir, "check", "shown.yaml").returncode == 0


def test_drain(running):
    """0 at once; the process ends by itself, and well"""
    ran = ask(running, "drain")
    assert ran.returncode == 0 and ran.stdout.strip() and not ran.stderr
    assert running.wait_exit() == 0
    ran = ask(running, "status")
    assert ran.returncode == 69 and "no ginnel listens on" in ran.stderr


def test_not_for_others(root):
    """77"""
    ginnel = Ginnel("listen: 127.0.0.1:0\ncontrol: unix:@DIR@/control.sock\nlog: {access: off}\n")
    os.chmod(ginnel.dir, 0o755)
    ran = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", binary(), "-c", str(ginnel.dir / "ginnel.yaml"), "status"],
                         env=environment(ginnel.dir), capture_output=True, text=True, timeout=scaled(10), check=False)
    if ran.returncode == 127 or "setpriv" in ran.stderr:
        pytest.skip(f"the program is not where others can run it: {ran.stderr}")
    assert ran.returncode == 77 and "not permitted" in ran.stderr


# --- a stand-in ----------------------------------------------------------------------------------------------------


class StandIn:
    """Listens on a Unix socket and gives each connection the same answer, after a while."""

    def __init__(self, path, answer, after=0.0):
        self.answer, self.after, self.asked = answer, after, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            with peer:
                request = b""
                while b"\r\n\r\n" not in request:
                    data = peer.recv(65536)
                    if not data:
                        break
                    request += data
                self.asked.append(request.decode())
                time.sleep(self.after)
                peer.sendall(self.answer)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(scaled(5))


@pytest.fixture
def stand_in(tmp_path):
    made = []

    def stand_in(answer, **options):
        path = tmp_path / "s"
        (tmp_path / "c.yaml").write_text(f"control: unix:{path}\n")
        made.append(StandIn(path, answer, **options))
        return made[0]

    yield stand_in
    for one in made:
        one.stop()


def answer(status, body):
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


@pytest.mark.parametrize("args,target", [
    (["status"], "GET /status"), (["status", "--exchanges", "7"], "GET /status?exchanges=7"), (["reload"], "POST /reload"),
    (["drain"], "POST /drain"), (["config", "show", "--running"], "GET /config"),
])
def test_what_is_asked(tmp_path, stand_in, args, target):
    server = stand_in(answer(200, "fine\n"))
    ran = command(tmp_path, *args, "-c", "c.yaml")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "fine\n", "")
    assert server.asked[0].startswith(target + " HTTP/1.1\r\n") and "Accept: text/plain\r\n" in server.asked[0]


def test_json_is_asked_for(tmp_path, stand_in):
    server = stand_in(answer(200, "{}"))
    assert command(tmp_path, "status", "--json", "-c", "c.yaml").stdout == "{}\n"
    assert "Accept: application/json\r\n" in server.asked[0]


@pytest.mark.parametrize("status,code", [(422, 78), (503, 75), (403, 77), (404, 70), (500, 70)])
def test_exit_codes(tmp_path, stand_in, status, code):
    """What was refused goes to stderr, as it came."""
    stand_in(answer(status, "because\nof this"))
    ran = command(tmp_path, "reload", "-c", "c.yaml")
    assert (ran.returncode, ran.stdout, ran.stderr) == (code, "", "because\nof this\n")


@pytest.mark.parametrize("reply", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal"])
def test_bad_answers(tmp_path, stand_in, reply):
    stand_in(reply)
    ran = command(tmp_path, "status", "-c", "c.yaml")
    assert ran.returncode == 69 and not ran.stdout and ran.stderr.startswith("ginnel: ") and ran.stderr.count("\n") == 1


def test_says_that_it_waits(tmp_path, stand_in):
    """On a terminal, after a second, and the line is cleared before the answer."""
    stand_in(answer(200, "fine\n"), after=1.4)
    ours, theirs = pty.openpty()
    process = subprocess.Popen([binary(), "status", "-c", "c.yaml"], cwd=tmp_path, env=environment(tmp_path), stdin=subprocess.DEVNULL,
                               stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen, deadline = b"", Deadline(10)
    while b"fine" not in seen and not deadline.passed():
        if select.select([ours], [], [], 0.1)[0]:
            seen += os.read(ours, 65536)
    assert process.wait(scaled(5)) == 0
    os.close(ours)
    assert seen.decode() == "waiting for ginnel…\r\x1b[Kfine\r\n"


# --- nobody --------------------------------------------------------------------------------------------------------


def test_nobody_listens(tmp_path):
    """69, with the path and what to do"""
    (tmp_path / "c.yaml").write_text(f"control: unix:{tmp_path}/none\n")
    for args in (["status"], ["reload"], ["drain"], ["config", "show", "--running"]):
        ran = command(tmp_path, *args, "-c", "c.yaml")
        assert ran.returncode == 69 and f"no ginnel listens on {tmp_path}/none" in ran.stderr and "-c FILE" in ran.stderr


def test_left_behind(tmp_path):
    """A socket file without a process behind it"""
    (tmp_path / "c.yaml").write_text(f"control: unix:{tmp_path}/s\n")
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(tmp_path / "s"))
    ran = command(tmp_path, "status", "-c", "c.yaml")
    assert ran.returncode == 69 and "no ginnel listens on" in ran.stderr


def test_default_place(tmp_path):
    """RUNTIME_DIRECTORY, the first of several"""
    ran = command(tmp_path, "status", runtime=f"{tmp_path}/a:{tmp_path}/b")
    assert ran.returncode == 69 and f"no ginnel listens on {tmp_path}/a/control.sock" in ran.stderr


def test_control_is_off(tmp_path):
    (tmp_path / "c.yaml").write_text("control: off\n")
    ran = command(tmp_path, "status", "-c", "c.yaml")
    assert ran.returncode == 69 and "control: off" in ran.stderr


def test_no_such_file(tmp_path):
    ran = command(tmp_path, "status", "-c", "none.yaml")
    assert ran.returncode == 66 and "none.yaml" in ran.stderr
