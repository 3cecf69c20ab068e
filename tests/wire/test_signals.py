# SPDX-License-Identifier: MIT
"""Signals: each by itself, in every order, quickly, during the start, during the end; and the end itself, phase by phase."""

import contextlib
import itertools
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import tempfile
import threading
import time

import pytest

from harness import FIN, OPEN, RST, SLOW, Client, Deadline, Origin, Truncated, binary, eventually, free_port, request, response, scaled
from harness.ginnel import SANITIZER, environment

HUP, USR1, USR2 = signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2
TERM, INT, QUIT = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT


def refuses(proxy):
    try:
        proxy.client(within=0.2 / SLOW).close()
    except OSError:  # refused; or, in the moment before, not answered
        return True
    return False


def draining(proxy):
    """Waits until it takes no more connections."""
    eventually(lambda: refuses(proxy), within=3, what="the listener to close")


# --- in every order ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", itertools.permutations([HUP, USR1, USR2]), ids=lambda order: "-".join(s.name[3:] for s in order))
def test_every_order(start, web, order):
    """CONFIG: one after another without a pause, TERM at the end: each is done, and it ends well"""
    proxy = start()
    proxy.write_config({"name": "second"})
    proxy.access_path.rename(proxy.dir / "old.log")
    for number in order:
        proxy.signal(number)
    proxy.wait_reload(1)
    assert proxy.client().ask(request("GET", web.url("/"))).status == 200
    assert web.requests[-1].value("via") == "1.1 second"
    eventually(proxy.access_path.exists, what="the log to be opened again")
    for number in (*order, TERM):
        proxy.signal(number)
    assert proxy.wait_exit() == 0
    assert "worker" in proxy.stderr()


@pytest.mark.workers
def test_many_at_once(start, web):
    """CONFIG: hundreds of signals while requests run"""
    proxy = start()
    stop, errors, done = threading.Event(), [], []

    def ask():
        try:
            client = proxy.client()
            while not stop.is_set():
                assert client.ask(request("GET", web.url("/"))).status == 200
                done.append(1)
        except (OSError, AssertionError) as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    for i in range(300):
        proxy.signal((HUP, USR1, USR2, signal.SIGPIPE)[i % 4])
        time.sleep(0.002)
    stop.set()
    thread.join()
    assert not errors, errors[0]
    assert len(done) > 20
    proxy.signal()
    assert proxy.wait_exit() == 0
    assert len(proxy.access()) == len(done)


@pytest.mark.parametrize("numbers", [(TERM, TERM), (INT, INT), (TERM, INT), (INT, TERM)], ids=lambda ns: "-".join(n.name[3:] for n in ns))
def test_the_second_stops_at_once(start, origin, numbers):
    """CONFIG: also when both come in the same moment (of the same signal the kernel keeps only one, so it is sent until it helps)"""
    proxy = start({"timeouts": {"drain": "30s"}})
    client = proxy.client().connect(origin.authority)
    far = origin.accept()
    began = time.monotonic()
    proxy.signal(numbers[0])
    proxy.signal(numbers[1])
    while numbers[0] == numbers[1] and proxy.alive() and time.monotonic() - began < scaled(1.5):
        time.sleep(0.01)
        proxy.signal(numbers[1])
    assert proxy.wait_exit() == 0
    assert time.monotonic() - began < scaled(3)
    assert client.expect_end() == far.expect_end() == RST
    assert proxy.access()[0]["ginnel.end"] == "drained"


def test_quit_waits_for_tunnels(start, origin):
    """CONFIG: QUIT drains without a limit"""
    proxy = start({"timeouts": {"drain": "200ms"}})
    client = proxy.client().connect(origin.authority)
    far = origin.accept()
    proxy.signal(QUIT)
    draining(proxy)
    time.sleep(0.6)
    client.send(b"goes on")
    assert far.recv_exactly(7) == b"goes on"
    client.close()
    far.expect_end(FIN)
    far.close()
    assert proxy.wait_exit() == 0
    assert proxy.access()[0]["ginnel.end"] == "tunnel-done"


def test_quit_then_term(start, origin):
    """CONFIG: a TERM after QUIT hurries"""
    proxy = start({"timeouts": {"drain": "500ms"}})
    client = proxy.client().connect(origin.authority)
    origin.accept()
    proxy.signal(QUIT)
    draining(proxy)
    time.sleep(0.2)
    assert client.ended() == OPEN
    proxy.signal(TERM)
    assert proxy.wait_exit(within=2) == 0
    assert client.expect_end() == RST


def test_quit_after_term_does_not_prolong(start, origin):
    """CONFIG: what has begun to end ends in its time"""
    proxy = start({"timeouts": {"drain": "500ms"}})
    proxy.client().connect(origin.authority)
    origin.accept()
    proxy.signal(TERM)
    draining(proxy)
    proxy.signal(QUIT)
    assert proxy.wait_exit(within=2) == 0


@pytest.mark.workers
def test_storm_while_draining(start, origin):
    """CONFIG: nothing is reloaded any more, nothing breaks, the drain takes its time and no more"""
    drain = 0.9 * max(SLOW / 2, 1)
    proxy = start({"timeouts": {"drain": f"{int(drain * 1000)}ms"}})
    client = proxy.client().connect(origin.authority)
    far = origin.accept()
    began = time.monotonic()
    proxy.signal(TERM)
    draining(proxy)
    for i in range(60):
        if time.monotonic() - began > drain / 2:
            break  # the machine is busy, and the drain has its time
        if i % 10 == 0:
            proxy.write_config({"name": f"n{i}", "listen": ["127.0.0.1:0", f"127.0.0.1:{free_port()}"]})
        proxy.signal((HUP, USR1, USR2)[i % 3])
        time.sleep(0.004)
    client.send(b"still")
    assert far.recv_exactly(5) == b"still"
    assert refuses(proxy) and not any(line.startswith("reloaded") for line in proxy.reload_lines())
    assert proxy.wait_exit() == 0
    assert drain - 0.1 < time.monotonic() - began < scaled(3) + drain
    assert client.expect_end() == RST


# --- during the start ----------------------------------------------------------------------------------------------


def begin(home, blocked):
    """Starts it with all signals blocked or not, as whoever starts it may have left them."""
    path = pathlib.Path(home, "ginnel.yaml")
    path.write_text(json.dumps({"listen": "127.0.0.1:0", "workers": 2, "admin": f"127.0.0.1:{free_port()}", "log": {"access": f"{home}/a.log"}}))
    taken = {HUP, USR1, USR2, TERM, INT, QUIT}
    with open(pathlib.Path(home, "stderr"), "wb") as err:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, taken if blocked else set())
        try:
            return subprocess.Popen([binary(), "-c", str(path)], env=environment(home), stdin=subprocess.DEVNULL, stderr=err, cwd=home)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def survive_a_start(seed, blocked):
    """One start with signals in it. Nothing is promised about a signal that comes before the program has begun to listen for any; from
    its first line on, and when they are blocked from the beginning, each has its meaning."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="ginnel-test-") as home:
        process = begin(home, blocked)
        try:
            sent = []
            for _ in range(rng.randrange(1, 5)):
                time.sleep(rng.choice([0, 0, 0.001, 0.003, 0.01, 0.02]) * rng.random())
                sent.append(rng.choice([HUP, USR1, USR2, HUP, USR1, USR2, TERM, INT, QUIT]))
                process.send_signal(sent[-1])
            deadline = Deadline(0.15)
            while process.poll() is None and not deadline.passed():
                time.sleep(0.005)
            if not {TERM, INT, QUIT} & set(sent) and process.poll() is None:
                process.send_signal(TERM)
            elif not blocked:  # between fork and exec a signal meets the test's own handlers, and is gone
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(scaled(2))
                if process.poll() is None:
                    process.send_signal(TERM)
            code = process.wait(scaled(30))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"seed {seed}: hangs after {sent}: {pathlib.Path(home, 'stderr').read_text()}") from None
        finally:
            process.kill()
            process.wait()
        text = pathlib.Path(home, "stderr").read_text(errors="replace")
        assert not SANITIZER.search(text), text
        if blocked or text:
            assert code == 0, f"seed {seed}: {code} after {sent}:\n{text}"
        else:
            assert code == 0 or -code in sent, f"seed {seed}: {code} after {sent}:\n{text}"
        return code


@pytest.mark.parametrize("blocked", [True, False])
def test_signals_during_the_start(blocked):
    """CONFIG, FAILURES 15: fifty starts, signals at any moment of them: no crash, no hang, no deaf process"""
    for seed in range(25):
        survive_a_start(seed, blocked)


# --- USR1, USR2 ----------------------------------------------------------------------------------------------------


def test_logrotate(start, web):
    """U62 CONFIG USR1: what comes after is in the new file, and of what came before nothing is lost"""
    proxy = start()
    client, total = proxy.client(), 0
    for turn in range(4):
        for _ in range(25):
            assert client.ask(request("GET", web.url(f"/{total}"))).status == 200
            total += 1
        if turn != 1:
            eventually(lambda: proxy.access({"url.path": f"/{total - 1}"}), what="the last record")
        if turn < 3:
            proxy.access_path.rename(proxy.dir / f"access.log.{turn}")
            proxy.signal(USR1)
            eventually(proxy.access_path.exists, what="the new file")
    parts = [proxy.dir / f"access.log.{turn}" for turn in range(3)] + [proxy.access_path]
    paths = [[json.loads(line)["url.path"] for line in part.read_text().splitlines()] for part in parts]
    assert [path for part in paths for path in part] == [f"/{i}" for i in range(100)]
    assert paths[0][-1] == "/24" and paths[2][-1] == "/74" and paths[3][-1] == "/99"


def test_logrotate_into_the_void(start, web):
    """U62: a new file that cannot be made is said; the old one is written on"""
    proxy = start()
    place = proxy.dir / "logs"
    place.mkdir()
    proxy.write_config({"log": {"access": str(place / "a.log")}})
    assert proxy.command("reload").returncode == 0
    place.rename(proxy.dir / "gone")
    proxy.signal(USR1)
    eventually(lambda: re.search(rf"^ginnel: (warning|error): .*{place}/a\.log", proxy.stderr(), re.M), what="the complaint")
    assert proxy.client().ask(request("GET", web.url("/after"))).status == 200
    eventually(lambda: "/after" in (proxy.dir / "gone" / "a.log").read_text(), what="the record in the old file")


def test_dump(start, web):
    """CONFIG USR2: what every worker is doing, as `ginnel status` shows it"""
    proxy = start()
    tunnel_origin, slow = Origin(), Origin()
    tunnel = proxy.client().connect(tunnel_origin.authority)
    tunnel_origin.accept()
    waiting = proxy.client()
    waiting.send(request("PUT", slow.url("/secret-path?secret=1"), body=b"x"))
    asked = slow.accept()
    asked.recv_request()
    before = len(proxy.stderr())
    proxy.signal(USR2)
    eventually(lambda: slow.authority.split(":")[1] in proxy.stderr()[before:] and tunnel_origin.authority.split(":")[1] in proxy.stderr()[before:],
               what="both exchanges in the dump")
    status = proxy.command("status")
    assert status.returncode == 0
    for text in (proxy.stderr()[before:], status.stdout):
        assert "CONNECT" in text and "PUT" in text
        assert all(re.search(rf"WORKER .*\n(?:.*\n)?(?:ginnel: info: )? *{worker} +\d", text) for worker in (0, 1))
        assert "secret=1" not in text
    exchanges = proxy.status()["exchanges"]
    assert {(x["method"], x["port"], x["tunnel"]) for x in exchanges} == {("CONNECT", tunnel_origin.port, True), ("PUT", slow.port, False)}
    asked.send(response(200, body=b"fine"))
    assert waiting.recv_response().body == b"fine"
    assert tunnel.ended() == OPEN


# --- the end -------------------------------------------------------------------------------------------------------


def ask_admin(proxy, path):
    with proxy.admin() as client:
        return client.ask(request("GET", path, "Connection: close", host="x"))


def sample(proxy, name):
    return float(re.search(rf"^{name} (\S+)$", ask_admin(proxy, "/metrics").body.decode(), re.M).group(1))


def test_phases_of_a_drain(start, web):
    """U58 ginnel(1) STOPPING: idle ones at once, the running request finished and then closed, the tunnel to its own end; each counted;
    health tells; the admin address answers until the very end"""
    proxy = start({"timeouts": {"drain": "20s"}, "admin": f"127.0.0.1:{free_port()}"})
    slow, far = Origin(), Origin()
    silent, kept, running = proxy.client(), proxy.client(), proxy.client()
    assert kept.ask(request("GET", web.url("/"))).status == 200
    running.send(request("GET", slow.url("/")))
    asked = slow.accept()
    asked.recv_request()
    tunnel = proxy.client().connect(far.authority)
    other = far.accept()
    assert ask_admin(proxy, "/readyz").status == 200 and sample(proxy, "ginnel_drain_idle_total") == 0
    eventually(lambda: sample(proxy, "ginnel_sessions") == 4, what="four sessions")

    proxy.signal()
    kept.expect_end(FIN)
    silent.expect_end(FIN)
    draining(proxy)
    assert ask_admin(proxy, "/readyz").status == 503 and ask_admin(proxy, "/healthz").status == 200
    eventually(lambda: sample(proxy, "ginnel_drain_idle_total") == 2, what="two idle ones")
    assert sample(proxy, "ginnel_drain_finished_total") == 0
    assert proxy.status()["phase"] == "draining"
    asked.send(response(200, body=b"finished"))
    answer = running.recv_response()
    assert answer.body == b"finished" and answer.closes
    running.expect_end(FIN)
    running.close()
    eventually(lambda: sample(proxy, "ginnel_drain_finished_total") == 1, what="the finished one")
    tunnel.send(b"still")
    assert other.recv_exactly(5) == b"still"
    assert sample(proxy, "ginnel_sessions") == 1 and proxy.alive()
    assert sample(proxy, "ginnel_drain_cut_total") == 0

    answered = []

    def watch():
        while True:
            try:
                ask_admin(proxy, "/metrics")
            except (OSError, AssertionError):
                return
            answered.append(time.monotonic())

    watcher = threading.Thread(target=watch)
    watcher.start()
    time.sleep(0.1)
    tunnel.close()
    other.expect_end(FIN)
    ended = time.monotonic()
    other.close()
    assert proxy.wait_exit() == 0
    watcher.join()
    assert answered and answered[-1] > ended - scaled(1)


def test_cut_is_counted(start):
    """U58: what is left after timeouts.drain is reset; the log has it"""
    proxy = start({"timeouts": {"drain": "500ms"}})
    far, slow = Origin(), Origin()
    tunnels = [(proxy.client().connect(far.authority), far.accept()) for _ in range(3)]
    download = proxy.client()
    download.send(request("GET", slow.url("/")))
    conn = slow.accept()
    conn.recv_request()
    conn.send(response(200, "Content-Length: 1000", body=b"half"))
    download.recv_response_head()
    began = time.monotonic()
    proxy.signal()
    for client, other in tunnels:
        client.expect_end(RST)
        other.expect_end(RST)
    download.expect_end(RST, b"half")
    assert 0.4 < time.monotonic() - began < scaled(2)
    assert proxy.wait_exit() == 0
    assert [record["ginnel.end"] for record in proxy.access()] == ["drained"] * 4


def test_pipelined_requests_at_the_end(start, web):
    """STOPPING: what had been sent behind a running request: the answer says close, and what is not answered is not half answered"""
    proxy = start({"timeouts": {"drain": "3s"}})
    slow = Origin()
    client = proxy.client()
    client.send(request("GET", slow.url("/")) + request("GET", web.url("/behind")))
    asked = slow.accept()
    asked.recv_request()
    proxy.signal()
    draining(proxy)
    asked.send(response(200, body=b"first"))
    answer = client.recv_response()
    assert answer.body == b"first"
    if not answer.closes:
        assert client.recv_response().closes
    client.expect_end()
    client.close()
    assert proxy.wait_exit() == 0


def test_who_was_in_the_queue_is_served(start, web):
    """U58: what has been connected before the signal, and not been accepted yet"""
    proxy = start({"timeouts": {"drain": "5s"}})
    assert proxy.client().ask(request("GET", web.url("/"))).status == 200
    proxy.signal(signal.SIGSTOP)
    queued = [proxy.client() for _ in range(40)]
    for client in queued:
        client.send(request("GET", web.url("/queued")))
    proxy.signal(TERM)
    proxy.signal(signal.SIGCONT)
    for client in queued:
        # A worker that wakes before the main thread may have answered before it knew: then the connection ends as an idle one.
        assert client.recv_response().status == 200
        client.expect_end(FIN)
    assert proxy.wait_exit() == 0
    assert len(web.paths()) == 41


def test_a_slow_head_at_the_end(start, web):
    """STOPPING: a request whose head has begun is a running one"""
    proxy = start({"timeouts": {"drain": "5s"}})
    client, whole = proxy.client(), request("GET", web.url("/"))
    client.send(whole[:20])
    eventually(lambda: proxy.metrics()["ginnel_sessions"] == 1, what="the session")
    time.sleep(0.1)
    proxy.signal()
    draining(proxy)
    client.send(whole[20:])
    answer = client.recv_response()
    assert answer.status == 200 and answer.closes
    client.close()
    assert proxy.wait_exit() == 0


@pytest.mark.parametrize("how", ["command", "POST"])
def test_drain_by_command(start, origin, how):
    """CONFIG: ginnel drain: as TERM"""
    proxy = start({"timeouts": {"drain": "1500ms"}})
    client = proxy.client().connect(origin.authority)
    origin.accept()
    if how == "command":
        done = proxy.command("drain")
        assert done.returncode == 0, done
    else:
        assert proxy.control("POST", "/drain").status in (200, 202)
    draining(proxy)
    assert client.ended() == OPEN
    assert proxy.wait_exit() == 0
    assert client.expect_end() == RST


def test_connections_that_come_while_it_ends(start, web):
    """STOPPING: each is served in whole or refused, or as an idle one closed before its first byte; none hangs, none is cut"""
    for _ in range(4):
        proxy = start()
        odd, served = [], []

        def knock(proxy=proxy, odd=odd, served=served):
            while True:
                try:
                    client = Client(proxy.host, proxy.port, within=0.3 / SLOW)
                except OSError:  # refused; or, in the moment before, not answered
                    return
                try:
                    assert client.ask(request("GET", web.url("/"))).status == 200
                    served.append(1)
                except (OSError, AssertionError) as error:
                    if client.received or isinstance(error, TimeoutError) or not isinstance(error, (OSError, Truncated)):
                        odd.append(error)
                client.close()

        threads = [threading.Thread(target=knock) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        proxy.signal()
        for thread in threads:
            thread.join()
        assert proxy.wait_exit() == 0
        assert not odd and served, (odd[:3], len(served))


def test_nothing_is_left_behind(start, web):
    """S002-13: files and descriptors: only what it was told to write"""
    proxy = start()
    before = {"ginnel.yaml", "stderr", "stdout", "access.log"}
    assert proxy.client().ask(request("GET", web.url("/"))).status == 200
    assert set(os.listdir(proxy.dir)) - before == {"control.sock"}
    proxy.signal()
    assert proxy.wait_exit() == 0
    assert set(os.listdir(proxy.dir)) == before
