# SPDX-License-Identifier: MIT
"""Reloading: by signal, by command, by changed files; all or nothing; nothing refused, nothing cut, nothing left behind."""

import hashlib
import json
import os
import pathlib
import random
import re
import selectors
import signal
import socket
import tempfile
import threading
import time

import pytest

from harness import (FIN, RST, SLOW, Client, DnsServer, Ginnel, Origin, eventually, free_port, request, response,
                     scaled)
from harness.tls import TlsSocket

HALF_A_SECOND = 0.5  # more than the quiet time that ginnel waits for after a change
BROKEN = "listen: 127.0.0.1:0\nworkes: 2\ntimeouts:\n  connect: soon\n"
PLACES = (r"ginnel\.yaml:2:1\b", r"ginnel\.yaml:4:12\b")
SUCCESSFUL = "ginnel_config_last_reload_successful"


def via(proxy, web, **client):
    """The name under which a request of now arrives."""
    assert proxy.client(**client).ask(request("GET", web.url("/"))).status == 200
    return web.requests[-1].value("via").split()[1]


def generation(proxy):
    return proxy.status()["configuration"]["generation"]


def loaded(proxy):
    """How often a configuration was put into service by a reload; every worker has the last one."""
    assert proxy.alive(), f"ginnel has ended:\n{proxy.stderr()[-4000:]}"
    n = sum(line.startswith("reloaded ") for line in proxy.reload_lines())
    proxy.settle()
    return n


def yaml(name="wire", more=""):
    """A file whose every line could be the last: each part of it is valid, and means something else."""
    return f"workers: 2\nlisten: 127.0.0.1:0\nlog: {{access: @DIR@/access.log, level: info}}\ntimeouts: {{drain: 1s}}\n{more}name: {name}\n"


def trigger(proxy, how, config):
    """Puts the config into the file and makes ginnel load it; returns the line about it."""
    before = len(proxy.reload_lines())
    proxy.write_config(config)
    if how == "HUP":
        proxy.signal(signal.SIGHUP)
    elif how == "command":
        proxy.command("reload")
    elif how == "POST":
        proxy.control("POST", "/reload")
    return proxy.wait_reload(before + 1)


# --- what makes it load ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["HUP", "command", "POST", "file"])
def test_reload(start, web, how):
    """U57: every way in"""
    proxy = start()
    assert via(proxy, web) == "wire"
    line = trigger(proxy, how, {"name": "second"})
    assert re.search(r"\bname\b", line) and not re.search(r"\b(listen|clients|timeouts|log|workers|via)\b", line.split("changed", 1)[1])
    assert via(proxy, web) == "second"
    assert generation(proxy) == 2 and proxy.metrics()[SUCCESSFUL] == 1


def test_the_command_says_what_came_of_it(start):
    """CONFIG: ginnel reload"""
    proxy = start()
    proxy.write_config({"name": "second", "via": "off"})
    done = proxy.command("reload")
    assert done.returncode == 0 and "name" in done.stdout and "via" in done.stdout, done
    again = proxy.command("reload")
    assert again.returncode == 0 and "unchanged" in again.stdout, again


def test_the_command_without_a_ginnel():
    """CONFIG: nobody to speak to"""
    proxy = Ginnel()
    proxy.signal()
    proxy.wait_exit()
    done = proxy.command("reload")
    assert done.returncode not in (0, 78) and done.returncode > 0 and str(proxy.control_path) in done.stderr, done


def in_place(path, text):
    path.write_text(text)


def renamed_over(path, text):
    fresh = path.with_name("fresh")
    fresh.write_text(text)
    fresh.rename(path)


def removed_and_made(path, text):
    path.unlink()
    path.write_text(text)


def through_a_backup(path, text):
    """As editors do: the old one becomes the backup, which then goes."""
    path.rename(path.with_name("ginnel.yaml~"))
    path.write_text(text)
    path.with_name("ginnel.yaml~").unlink()


def in_small_writes(path, text):
    with open(path, "w", encoding="utf-8") as out:
        for i in range(0, len(text), 7):
            out.write(text[i:i + 7])
            out.flush()


@pytest.mark.parametrize("change", [in_place, renamed_over, removed_and_made, through_a_backup, in_small_writes])
def test_changed_file(start, web, change):
    """U57: however it is changed; and a second time, when what is watched has been replaced"""
    proxy = start()
    for i in (1, 2):
        before = loaded(proxy)
        change(proxy.config_path, proxy.config_text({"name": f"by-{change.__name__}-{i}"}))
        eventually(lambda: loaded(proxy) > before, what="a reload")
        assert via(proxy, web) == f"by-{change.__name__}-{i}"


def test_symlink_swap(start, web, tmp_path):
    """U57: a Kubernetes volume: the file is a link into a directory that is a link, which is swapped; a second one in front"""
    volume, etc = tmp_path / "volume", tmp_path / "etc"
    volume.mkdir()
    etc.mkdir()

    def publish(n, name):
        old = os.path.realpath(volume / "..data") if n > 1 else None
        data = volume / f"..2026_{n}"
        data.mkdir()
        (data / "ginnel.yaml").write_text(yaml(name).replace("@DIR@", str(tmp_path)))
        (volume / "..data_tmp").symlink_to(data.name)
        (volume / "..data_tmp").rename(volume / "..data")
        if old:
            os.unlink(os.path.join(old, "ginnel.yaml"))
            os.rmdir(old)

    publish(1, "one")
    (volume / "ginnel.yaml").symlink_to("..data/ginnel.yaml")
    (etc / "ginnel.yaml").symlink_to(volume / "ginnel.yaml")
    proxy = start(False, args=["-c", str(etc / "ginnel.yaml")])
    assert via(proxy, web) == "one"
    for n, name in ((2, "two"), (3, "three")):
        publish(n, name)
        eventually(lambda n=n: loaded(proxy) == n - 1, what="a reload")
        assert via(proxy, web) == name


def slowly(proxy, text, pause=HALF_A_SECOND):
    """Truncates, and writes line by line, with pauses that are longer than ginnel waits for quiet."""
    with open(proxy.config_path, "w", encoding="utf-8") as out:
        for line in text.splitlines(keepends=True):
            time.sleep(pause)
            out.write(line)
            out.flush()
            yield line


def test_half_a_file_is_never_loaded(start, web):
    """U57: each half of this file is valid and means something else; none is loaded"""
    proxy = start(yaml("first"))
    for _ in slowly(proxy, proxy.config_text(yaml("second", "clients: [127.0.0.1]\n")), pause=0.3):
        assert loaded(proxy) == 0
        assert via(proxy, web) == "first"
    eventually(lambda: loaded(proxy) == 1, what="the whole file")
    assert via(proxy, web) == "second" and generation(proxy) == 2
    assert proxy.metrics()[SUCCESSFUL] == 1


@pytest.mark.parametrize("how", ["HUP", "command"])
def test_asked_while_a_file_is_being_written(start, web, how):
    """U57: whoever asks waits for the writer, or is told no: half a file is not loaded for them either"""
    proxy = start(yaml("first"))
    said = {}
    asking = threading.Thread(target=lambda: said.update(result=proxy.command("reload", within=15)))
    for number, _ in enumerate(slowly(proxy, proxy.config_text(yaml("second")), pause=0.15)):
        if number == 2 and how == "HUP":
            proxy.signal(signal.SIGHUP)
        elif number == 2:
            asking.start()
        assert loaded(proxy) == 0
    eventually(lambda: loaded(proxy) == 1, what="the whole file")
    if how == "command":
        asking.join()
        assert said["result"].returncode in (0, 75), said
    assert via(proxy, web) == "second" and generation(proxy) == 2


def test_a_writer_that_never_ends(start, web):
    """design 002: a reload does not wait for ever: it is refused in words"""
    proxy = start(yaml("first"))
    with open(proxy.config_path, "w", encoding="utf-8") as out:
        out.write(proxy.config_text(yaml("second")))
        out.flush()
        proxy.signal(signal.SIGHUP)
        eventually(lambda: any("being written" in line for line in proxy.reload_lines()), within=8, what="the refusal")
        assert via(proxy, web) == "first" and loaded(proxy) == 0
    eventually(lambda: loaded(proxy) == 1, what="the reload after the writer has closed")
    assert via(proxy, web) == "second"


def admitted(proxy, source):
    with proxy.client(source=source) as client:
        return client.ask(request("GET", "http://ginnel.internal/")).status == 200


def now(check):
    eventually(check, what="the change to be in service")


def test_included_files(start):
    """U57: an included file, a new one that matches, and one that goes"""
    proxy = start()
    parts = proxy.dir / "parts"
    parts.mkdir()
    proxy.write_config({"clients": ["127.0.0.1"], "include": "parts/*.yaml"})
    assert proxy.command("reload").returncode == 0
    assert not admitted(proxy, "127.0.0.2")
    (parts / "a.yaml").write_text("clients: 127.0.0.2\n")
    now(lambda: admitted(proxy, "127.0.0.2"))
    (parts / "b.yaml").write_text("clients: [127.0.0.3]\n")
    now(lambda: admitted(proxy, "127.0.0.3"))
    renamed_over(parts / "a.yaml", "clients: 127.0.0.4\n")
    now(lambda: admitted(proxy, "127.0.0.4"))
    now(lambda: not admitted(proxy, "127.0.0.2"))
    assert admitted(proxy, "127.0.0.3")
    (parts / "b.yaml").unlink()
    now(lambda: not admitted(proxy, "127.0.0.3"))
    (parts / "not-of-the-pattern.txt").write_text("clients: [\n")
    time.sleep(HALF_A_SECOND)
    assert proxy.metrics()[SUCCESSFUL] == 1 and admitted(proxy, "127.0.0.1")


def test_list_file(start):
    """U57: a list file, relative to the file that names it; one line of it wrong, and all of it stays what it was"""
    proxy = start()
    path = proxy.dir / "list.txt"
    path.write_text("# who may\n127.0.0.1\n")
    proxy.write_config({"clients": ["./list.txt"]})
    assert proxy.command("reload").returncode == 0
    assert admitted(proxy, "127.0.0.1") and not admitted(proxy, "127.0.0.2")
    path.write_text("127.0.0.1\n127.0.0.2\n")
    now(lambda: admitted(proxy, "127.0.0.2"))
    renamed_over(path, "127.0.0.1\n127.0.0.3 # now\n")
    now(lambda: admitted(proxy, "127.0.0.3") and not admitted(proxy, "127.0.0.2"))
    path.write_text("127.0.0.1\nnot an address\n")
    eventually(lambda: re.search(r"list\.txt:2:1\b", proxy.stderr()), what="the error's place")
    assert admitted(proxy, "127.0.0.3") and proxy.metrics()[SUCCESSFUL] == 0
    path.write_text("127.0.0.1\n127.0.0.4\n")
    now(lambda: admitted(proxy, "127.0.0.4"))
    assert proxy.metrics()[SUCCESSFUL] == 1
    path.unlink()
    eventually(lambda: proxy.metrics()[SUCCESSFUL] == 0, what="the missing list to be noticed")
    assert admitted(proxy, "127.0.0.4") and "list.txt" in proxy.status()["last_reload"]["errors"]


# --- what is wrong, and what is the same -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["HUP", "command", "file"])
def test_broken_file(start, web, how):
    """U57 CONFIG: the old one serves on; every error is said, with its place, everywhere; a good file clears that"""
    proxy = start()
    assert proxy.status()["last_reload"]["errors"] is None
    proxy.write_config(BROKEN)
    if how == "HUP":
        proxy.signal(signal.SIGHUP)
    elif how == "command":
        done = proxy.command("reload")
        assert done.returncode == 78, done
        assert all(re.search(place, done.stderr) for place in PLACES) and "did you mean" in done.stderr, done
    eventually(lambda: all(re.search(place, proxy.stderr()) for place in PLACES), what="both errors in the log")
    assert via(proxy, web) == "wire" and generation(proxy) == 1
    status = proxy.status()["last_reload"]
    assert status["result"] == "failed" and all(re.search(place, status["errors"]) for place in PLACES)
    assert proxy.metrics()[SUCCESSFUL] == 0
    assert all(re.search(place, proxy.command("status").stdout) for place in PLACES)
    before = loaded(proxy)
    proxy.write_config({"name": "repaired"})
    eventually(lambda: loaded(proxy) > before, what="the repaired file")
    assert via(proxy, web) == "repaired"
    status = proxy.status()["last_reload"]
    assert status["errors"] is None and status["result"] != "failed" and proxy.metrics()[SUCCESSFUL] == 1


def test_a_mended_include_is_noticed(start, web):
    """RELOADING: files that a failed load has read are watched as well"""
    proxy = start()
    part = proxy.dir / "part.yaml"
    part.write_text("timeouts: {conect: 1s}\n")
    proxy.write_config({"name": "joined", "include": "part.yaml"})
    eventually(lambda: "part.yaml:1:12:" in proxy.stderr(), what="the include's error")
    assert via(proxy, web) == "wire"
    part.write_text("timeouts: {connect: 1s}\n")
    eventually(lambda: via(proxy, web) == "joined", what="the mended include")


def test_an_empty_file_is_refused(start, web):
    """RELOADING: whoever empties a file is about to write it"""
    proxy = start()
    line = proxy.reload("")
    assert "failed" in line and "empty" in proxy.stderr() and via(proxy, web) == "wire"
    eventually(lambda: proxy.metrics()[SUCCESSFUL] == 0, what="the metric")
    proxy.write_config({"name": "written"})
    eventually(lambda: via(proxy, web) == "written", what="the file with something in it")


@pytest.mark.workers
def test_in_place_and_asked_at_once(start, web):
    """RELOADING: a file that is truncated and written while HUPs arrive is never taken for an empty or a half one"""
    proxy = start()
    text = proxy.config_text(yaml("wire", "sizes: {fields: %d}\n"))
    for i in range(60):
        proxy.signal(signal.SIGHUP)
        in_place(proxy.config_path, text % (100 + i))
        proxy.signal(signal.SIGHUP)
    eventually(lambda: "fields: 159" in proxy.command("config", "show", "--running").stdout, what="the last file")
    assert via(proxy, web) == "wire" and not [line for line in proxy.reload_lines() if "failed" in line]


def test_back_to_the_file_of_before(start):
    """U57: what is in service already also ends the complaint"""
    proxy = start()
    good = proxy.config_path.read_text()
    assert "failed" in proxy.reload(BROKEN)
    line = proxy.reload(good)
    assert "unchanged" in line
    assert proxy.metrics()[SUCCESSFUL] == 1 and proxy.status()["last_reload"]["errors"] is None and generation(proxy) == 1


def test_errors_in_other_files(start):
    """CONFIG: file:line stays true in included files"""
    proxy = start()
    (proxy.dir / "extra.yaml").write_text("# a comment\nclients: 10.0.0.1/8\n")
    proxy.write_config(yaml(more="include: extra.yaml\nvia: perhaps\n"))
    done = proxy.command("reload")
    assert done.returncode == 78 and re.search(r"extra\.yaml:2:10\b", done.stderr) and re.search(r"ginnel\.yaml:6:6\b", done.stderr), done


@pytest.mark.parametrize("what", ["listen", "admin", "log"])
def test_what_cannot_be_opened(start, web, what):
    """U57: all or nothing: the file is right, the system refuses; nothing of it is in service"""
    proxy = start()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        other = free_port()
        bad = {"listen": {"listen": ["127.0.0.1:0", f"127.0.0.1:{other}", address]}, "admin": {"admin": address},
               "log": {"listen": ["127.0.0.1:0", f"127.0.0.1:{other}"], "log": {"access": "/no/such/directory/x.log"}}}[what]
        proxy.write_config({"name": "never", "via": "off", **bad})
        done = proxy.command("reload")
        assert done.returncode == 78 and ("/no/such/directory/x.log" if what == "log" else address) in done.stderr, done
        assert via(proxy, web) == "wire" and generation(proxy) == 1 and proxy.metrics()[SUCCESSFUL] == 0
        with pytest.raises(OSError):
            Client("127.0.0.1", other, within=0.5)
    if what == "listen":
        proxy.write_config({"name": "now", **bad})
        assert proxy.command("reload").returncode == 0
        assert via(proxy, web) == "now"


@pytest.mark.parametrize("how", ["HUP", "command", "touch", "same content"])
def test_unchanged(start, web, how):
    """U57: the same content is no change"""
    proxy = start()
    if how == "HUP":
        proxy.signal(signal.SIGHUP)
    elif how == "command":
        assert "unchanged" in proxy.command("reload").stdout
    elif how == "touch":
        os.utime(proxy.config_path)
        time.sleep(HALF_A_SECOND)
    else:
        proxy.write_config()
        time.sleep(HALF_A_SECOND)
    if how in ("HUP", "command"):
        proxy.wait_reload(1)
    assert all("unchanged" in line for line in proxy.reload_lines())
    assert generation(proxy) == 1 and proxy.metrics()[SUCCESSFUL] == 1
    assert via(proxy, web) == "wire"


def test_without_a_file(start, web):
    """U57: HUP where there is no file harms nothing, and says so"""
    proxy = start(False, args=["--listen", "127.0.0.1:0"])
    proxy.signal(signal.SIGHUP)
    assert "no configuration file" in proxy.wait_reload(1)
    assert proxy.client().ask(request("GET", web.url("/"))).status == 200


def test_the_line_names_the_keys(start):
    """design 002: one line says what has changed, key by key"""
    line = start().reload({"name": "x", "timeouts": {"tunnel": "5m"}, "log": {"level": "debug"}, "clients": ["127.0.0.0/8"]})
    keys = line.split("changed", 1)[1]
    assert all(re.search(rf"\b{key}\b", keys) for key in ("name", "timeouts", "log", "clients"))
    assert not re.search(r"\b(listen|workers|via|sizes|resolver|admin|control)\b", keys)


@pytest.mark.parametrize("change, key", [({"workers": 1}, "workers"), ({"control": "off"}, "control")])
def test_what_needs_a_restart(start, web, change, key):
    """CONFIG: workers and control cannot change; the line says so, the rest is put into service"""
    proxy = start()
    line = proxy.reload({"name": "rest", **change})
    assert re.search(rf"`?{key}`? needs? a restart", line), line
    assert via(proxy, web) == "rest"
    assert len(proxy.status()["workers"]) == 2


def test_listen_option_holds_over_reloads(start, web):
    """CONFIG: --listen replaces the file's listen, at a reload too"""
    proxy = start({"listen": "127.0.0.1:1"}, args=["--listen", "127.0.0.1:0"])
    proxy.reload({"listen": "127.0.0.1:2", "name": "second"})
    assert via(proxy, web) == "second"


def test_the_name_stays(start, web):
    """CONFIG: a name that nobody wrote is drawn once"""
    proxy = start({"name": None})
    name = via(proxy, web)
    assert name.startswith("ginnel-")
    for i in range(1, 4):
        proxy.write_config({"name": None, "timeouts": {"idle": f"{i}m"}})
        assert proxy.command("reload").returncode == 0
        assert via(proxy, web) == name


def test_sizes_and_resolver_change(start, web, dns):
    """CONFIG: what a kept connection is judged by, and whom names are asked of, from the next request on"""
    other = DnsServer()
    dns.answer("h.test", a=["127.0.0.1"])
    other.answer("h.test", a=["127.0.0.1"])
    other.answer("g.test", a=["127.0.0.1"])
    proxy = start({"resolver": {"servers": [dns.address]}})
    kept = proxy.client()
    long_path = "/" + "p" * 2000
    assert kept.ask(request("GET", web.url(long_path, name="h.test"))).status == 200
    assert dns.asked("h.test") and not other.asked("h.test")
    assert kept.ask(request("GET", web.url("/", name="g.test"))).status == 502
    proxy.reload({"resolver": {"servers": [other.address]}, "sizes": {"line": "1KB"}})
    assert kept.ask(request("GET", web.url("/", name="g.test"))).status == 200
    assert other.asked("g.test") and dns.asked("g.test", "A") == 1
    assert kept.ask(request("GET", web.url(long_path, name="h.test"))).status == 414


def test_lookup_over_a_reload(start, web, dns):
    """U57: a name that is being looked up while the servers change"""
    dns.answer("slow.test", a=["127.0.0.1"], delay=scaled(0.6))
    proxy = start({"resolver": {"servers": [dns.address]}})
    client = proxy.client()
    client.send(request("GET", web.url("/", name="slow.test")))
    eventually(lambda: dns.asked("slow.test"), what="the query")
    proxy.reload({"resolver": {"servers": ["127.0.0.1:1"]}})
    assert client.recv_response().status == 200


def test_config_in_service(start):
    """CONFIG config show --running: what is in service, not what is on disk"""
    proxy = start({"timeouts": {"tunnel": "11m"}})
    assert "tunnel: 11m" in proxy.command("config", "show", "--running").stdout
    proxy.write_config({"timeouts": {"tunnel": "12m"}})
    proxy.command("reload")
    proxy.write_config(BROKEN)
    assert proxy.command("reload").returncode == 78
    shown = proxy.command("config", "show", "--running")
    assert shown.returncode == 0 and "tunnel: 12m" in shown.stdout and "workes" not in shown.stdout
    assert shown.stdout == proxy.control("GET", "/config").body.decode()


# --- listeners -----------------------------------------------------------------------------------------------------


def test_listener_added(start, web):
    """U57"""
    proxy, port = start(), free_port()
    kept = proxy.client()
    assert kept.ask(request("GET", web.url("/"))).status == 200
    proxy.reload({"listen": ["127.0.0.1:0", f"127.0.0.1:{port}"]})
    assert Client("127.0.0.1", port).ask(request("GET", web.url("/"))).status == 200
    assert via(proxy, web) == "wire"
    answer = kept.ask(request("GET", web.url("/")))
    assert answer.status == 200 and not answer.closes


@pytest.mark.workers
def test_listener_removed(start, web, origin):
    """U57 CONFIG: its connections live on: the tunnel, the running request, the kept one for one more answer, the one that has said
    nothing; new ones are refused, and the port is free"""
    port = free_port()
    both = {"listen": ["127.0.0.1:0", f"127.0.0.1:{port}"]}
    proxy = start(both)
    tunnel = Client("127.0.0.1", port).connect(origin.authority)
    far = origin.accept()
    kept, silent, running = (Client("127.0.0.1", port) for _ in range(3))
    assert kept.ask(request("GET", web.url("/"))).status == 200
    running.send(request("GET", origin.url("/")))
    asked = origin.accept()
    asked.recv_request()
    line = proxy.reload()
    assert re.search(r"\blisten\b", line)

    with pytest.raises(OSError):
        Client("127.0.0.1", port, within=0.5)
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))
        free.listen()
    asked.send(response(200, body=b"finished"))
    answer = running.recv_response()
    assert answer.status == 200 and answer.body == b"finished"
    for client in (kept, silent) if answer.closes else (kept, silent, running):
        answer = client.ask(request("GET", web.url("/last")))
        assert answer.status == 200 and answer.closes
        client.expect_end(FIN)
    for _ in range(3):
        tunnel.send(b"up")
        assert far.recv_exactly(2) == b"up"
        far.send(b"down")
        assert tunnel.recv_exactly(4) == b"down"

    proxy.reload(both)
    answer = Client("127.0.0.1", port).ask(request("GET", web.url("/")))
    assert answer.status == 200 and not answer.closes
    tunnel.send(b"still")
    assert far.recv_exactly(5) == b"still"


@pytest.mark.workers
@pytest.mark.parametrize("tls", [False, True])
def test_nobody_is_lost_when_a_listener_goes(start, web, certificates, tls):
    """U57: whoever was let into the queue of a listener that is removed is served"""
    port = free_port()
    own = {"address": f"127.0.0.1:{port}", **({"tls": {"cert": str(certificates.cert), "key": str(certificates.key)}} if tls else {})}
    both = {"listen": ["127.0.0.1:0", own]}
    proxy = start()
    lost, served, stop = [], [], threading.Event()
    context = certificates.client_context(["http/1.1"])

    def knock():
        while not stop.is_set():
            try:
                client = Client("127.0.0.1", port, within=0.05 / SLOW)
            except OSError:  # refused; or, in the moment before, not answered
                time.sleep(0.001)
                continue
            try:
                if tls:
                    client.sock = TlsSocket(client.sock, context, "localhost")
                assert client.ask(request("GET", web.url("/"), "Connection: close")).status == 200
                served.append(1)
            except (OSError, AssertionError) as error:
                lost.append(error)
            client.close()

    threads = [threading.Thread(target=knock) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(6 if tls else 20):
        for config in (both, None):
            proxy.write_config(config)
            assert proxy.command("reload").returncode == 0
            time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    assert not lost, (len(lost), len(served), lost[0])
    assert len(served) > 20


@pytest.mark.workers
@pytest.mark.parametrize("begun", [0, 40])
def test_greeted_as_it_was_let_in(start, web, certificates, begun):
    """U57: a client of a TLS listener that has not shaken hands when the listener goes, or is in the middle of it"""
    port = free_port()
    own = {"address": f"127.0.0.1:{port}", "tls": {"cert": str(certificates.cert), "key": str(certificates.key)}}
    proxy = start({"listen": ["127.0.0.1:0", own]})
    client = Client("127.0.0.1", port)
    sock = client.sock

    class Slow:
        """Sends the first bytes before the reload, and what follows after it."""

        def __init__(self):
            self.first = begun

        def send(self, data, flags):
            if self.first is None:
                return sock.send(data, flags)
            sock.sendall(data[:self.first])
            proxy.reload({"listen": ["127.0.0.1:0"]})
            sock.sendall(data[self.first:])
            self.first = None
            return len(data)

        def __getattr__(self, name):
            return getattr(sock, name)

    client.sock = TlsSocket(Slow(), certificates.client_context(["http/1.1"]), "localhost")
    answer = client.ask(request("GET", web.url("/")))
    assert answer.status == 200 and answer.closes
    with pytest.raises(OSError):
        Client("127.0.0.1", port, within=0.5)


def test_many_listeners(start, web):
    """U57: dozens more, and away again; more than there may be is said, and changes nothing"""
    proxy = start()
    fds = proxy.fds()
    ports = sorted({free_port() for _ in range(60)})
    many = {"listen": ["127.0.0.1:0"] + [f"127.0.0.1:{port}" for port in ports]}
    proxy.write_config(many)
    assert proxy.command("reload").returncode == 0
    for port in ports[::9]:
        assert Client("127.0.0.1", port).ask(request("GET", web.url("/"))).status == 200
    proxy.write_config({"listen": ["127.0.0.1:0"] + [f"127.0.0.{i}:{ports[0]}" for i in range(1, 200)]})
    done = proxy.command("reload")
    assert done.returncode == 78 and done.stderr
    assert Client("127.0.0.1", ports[-1]).ask(request("GET", web.url("/"))).status == 200
    proxy.write_config()
    assert proxy.command("reload").returncode == 0
    web.close()
    # Each of two workers may keep eight idle pipes.
    eventually(lambda: proxy.fds() <= fds + 8 + 32, what=f"the descriptors to come back to {fds}, now {proxy.fds()}")
    with pytest.raises(OSError):
        Client("127.0.0.1", ports[0], within=0.5)


def test_clients_of_a_listener_change(start, web):
    """CONFIG: the next request of a kept connection is judged by what holds then"""
    proxy = start({"listen": {"address": "127.0.0.1:0", "clients": ["127.0.0.0/8"]}})
    kept = proxy.client()
    assert kept.ask(request("GET", web.url("/"))).status == 200
    proxy.reload({"listen": {"address": "127.0.0.1:0", "clients": ["127.0.0.9"]}})
    answer = kept.ask(request("GET", web.url("/")))
    assert answer.status == 403 and answer.closes
    kept.expect_end(FIN)
    proxy.reload({"listen": {"address": "127.0.0.1:0", "clients": ["127.0.0.1"]}})
    assert proxy.client().ask(request("GET", web.url("/"))).status == 200


def test_reasons_of_a_listener_change(start):
    """CONFIG reasons: on a kept connection too"""
    proxy = start({"listen": {"address": "127.0.0.1:0", "reasons": "all"}})
    kept, nobody = proxy.client(), f"http://127.0.0.1:{free_port()}/"
    assert "details=" in kept.ask(request("GET", nobody)).value("proxy-status")
    proxy.reload({"listen": {"address": "127.0.0.1:0", "reasons": "none"}})
    answer = kept.ask(request("GET", nobody))
    assert answer.status == 502 and "details=" not in answer.value("proxy-status")


def test_judged_by_what_it_began_with(start, origin):
    """DESIGN 4: a request that has begun is finished as it began"""
    proxy = start({"via": "on"})
    client = proxy.client()
    client.send(request("POST", origin.url("/"), "Content-Length: 4", body=b"ab"))
    conn = origin.accept()
    head = conn.recv_request_head()
    assert head.value("via") == "1.1 wire" and conn.recv_exactly(2) == b"ab"
    proxy.reload({"name": "other", "clients": ["127.0.0.9"]})
    client.send(b"cd")
    assert conn.recv_exactly(2) == b"cd"
    conn.send(response(200, body=b"done"))
    answer = client.recv_response()
    assert answer.status == 200 and answer.body == b"done" and answer.value("via") == "1.1 wire"


def test_head_over_a_reload(start, web):
    """U57: a head that begins before a reload and ends after it is answered"""
    proxy = start()
    client = proxy.client()
    whole = request("GET", web.url("/split"))
    client.send(whole[:len(whole) // 2])
    proxy.reload({"name": "second"})
    client.send(whole[len(whole) // 2:])
    assert client.recv_response().status == 200


def test_timeouts_of_a_running_tunnel(start):
    """ginnel(1): a tunnel keeps the timeouts that it began with"""
    proxy = start({"timeouts": {"tunnel": "20s"}})
    first, second = Origin(), Origin()
    patient = proxy.client().connect(first.authority)
    far = first.accept()
    proxy.reload({"timeouts": {"tunnel": "400ms"}})
    impatient = proxy.client().connect(second.authority)
    second.accept()
    began = time.monotonic()
    impatient.expect_end(RST)
    assert time.monotonic() - began < scaled(2)
    time.sleep(0.3)
    patient.send(b"here")
    assert far.recv_exactly(4) == b"here"


# --- logs ----------------------------------------------------------------------------------------------------------


@pytest.mark.workers
def test_log_file_changes_in_a_storm(start, web):
    """U57 U62: each line in one of the files, none lost, none twice; what comes after the reload is in the new one"""
    proxy = start()
    logs = [proxy.access_path] + [proxy.dir / f"access-{i}.log" for i in range(1, 6)]
    stop, counts, errors = threading.Event(), [0, 0, 0], []

    def ask(thread):
        client = proxy.client()
        try:
            while not stop.is_set():
                assert client.ask(request("GET", web.url(f"/{thread}/{counts[thread]}"))).status == 200
                counts[thread] += 1
        except (OSError, AssertionError) as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for path in logs[1:]:
        proxy.write_config({"log": {"access": str(path)}})
        assert proxy.command("reload").returncode == 0
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    assert proxy.client().ask(request("GET", web.url("/last"))).status == 200
    proxy.signal()
    assert proxy.wait_exit() == 0
    lines = [json.loads(line)["url.path"] for path in logs for line in path.read_text().splitlines()]
    assert sorted(lines) == sorted([f"/{i}/{n}" for i in range(3) for n in range(counts[i])] + ["/last"])
    assert "/last" in logs[-1].read_text()
    assert sum(path.stat().st_size > 0 for path in logs) > 3


def test_selected_records_over_a_reload(start, web):
    """CONFIG log.for: what is selected at the start is selected after a reload, and the other way round"""
    def outputs(home, names):
        return {"log": [{"access": f"{home}/{name}.log", "for": selected} for name, selected in names.items()]}

    with tempfile.TemporaryDirectory(prefix="ginnel-test-") as home:
        names = {"named": "localhost", "suffix": ".internal", "range": "127.0.0.0/8"}
        proxy = start(outputs(home, names))

        def ask_all():
            for url in (web.url("/", name="localhost"), web.url("/"), "http://ginnel.internal/"):
                assert proxy.client().ask(request("GET", url)).status == 200

        def counts():
            return [pathlib.Path(home, f"{name}.log").read_text().count("\n") for name in names]

        ask_all()
        eventually(lambda: counts() == [1, 1, 1], what="a record in each log")
        proxy.write_config({**outputs(home, names), "name": "second"})
        assert proxy.command("reload").returncode == 0
        ask_all()
        eventually(lambda: counts() == [2, 2, 2], what="another one in each log")


# --- storms --------------------------------------------------------------------------------------------------------


class End:
    """One end of a tunnel in the pump."""

    def __init__(self, peer):
        peer.sock.setblocking(False)
        self.sock, self.peer = peer.sock, peer
        self.sent, self.got = hashlib.sha256(), hashlib.sha256()
        self.n_sent = self.n_got = 0
        self.ended = None
        if peer.buffer:
            self.take(bytes(peer.buffer))

    def take(self, data):
        self.got.update(data)
        self.n_got += len(data)

    def push(self, data):
        try:
            n = self.sock.send(data)
        except BlockingIOError:
            return
        self.sent.update(data[:n])
        self.n_sent += n

    def pull(self):
        """False at the end."""
        try:
            data = self.sock.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError as error:
            self.ended = repr(error)
            return False
        if not data:
            self.ended = FIN
            return False
        self.take(data)
        return True


class Pump(threading.Thread):
    """Carries random bytes both ways through tunnels, until it is told to finish: then each end ends its direction."""

    def __init__(self, pairs):
        super().__init__(daemon=True)
        self.pairs = [(End(client), End(far)) for client, far in pairs]
        self.ends = [end for pair in self.pairs for end in pair]
        self.finishing, self.error = threading.Event(), None
        self.random, self.pool = random.Random(1), random.Random(2).randbytes(1 << 16)
        self.selector = selectors.EpollSelector()
        for end in self.ends:
            self.selector.register(end.sock, selectors.EVENT_READ, end)
        self.start()

    def run(self):
        try:
            while not self.finishing.is_set():
                for end in self.random.sample(self.ends, 12):
                    at = self.random.randrange(1 << 15)
                    end.push(self.pool[at:at + self.random.randrange(1, 1 << 13)])
                self.read(0.002)
            for end in self.ends:
                end.sock.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + scaled(10)
            while len(self.selector.get_map()) and time.monotonic() < deadline:
                self.read(0.1)
        except Exception as error:  # told by finish()
            self.error = error

    def read(self, timeout):
        for key, _ in self.selector.select(timeout):
            if not key.data.pull():
                self.selector.unregister(key.fileobj)

    def finish(self):
        """Ends all; every byte must have arrived, and every end must be a FIN. Returns the bytes up and down."""
        self.finishing.set()
        self.join(scaled(15))
        assert self.error is None, self.error
        assert not self.is_alive()
        for client, far in self.pairs:
            assert client.ended == far.ended == FIN, (client.ended, far.ended)
            assert (client.n_sent, client.sent.hexdigest()) == (far.n_got, far.got.hexdigest())
            assert (far.n_sent, far.sent.hexdigest()) == (client.n_got, client.got.hexdigest())
            client.peer.close()
            far.peer.close()
        return sum(c.n_sent for c, _ in self.pairs), sum(f.n_sent for _, f in self.pairs)


class Asker(threading.Thread):
    """Asks again and again until it is stopped: on one connection, or on a new one each time. Counts what it did."""

    def __init__(self, proxy, web, kept):
        super().__init__(daemon=True)
        self.proxy, self.web, self.kept = proxy, web, kept
        self.stop, self.error = threading.Event(), None
        self.requests = self.connections = self.up = self.down = 0
        self.start()

    def run(self):
        client = None
        try:
            while not self.stop.is_set():
                if client is None:
                    client = self.proxy.client()
                    self.connections += 1
                body = b"x" * (self.requests % 50)
                fields = () if self.kept else ("Connection: close",)
                answer = client.ask(request("POST", self.web.url(f"/{self.requests}"), *fields, body=body))
                assert answer.status == 200 and answer.body == b"POST /%d" % self.requests, answer
                assert answer.closes != self.kept, answer
                self.requests, self.up, self.down = self.requests + 1, self.up + len(body), self.down + len(answer.body)
                if not self.kept:
                    client.expect_end(FIN)
                    client.close()
                    client = None
                time.sleep(0.004)
        except (OSError, AssertionError) as error:
            self.error = error
        if client:
            client.close()


class Storm:
    """Tunnels and requests while the configuration changes; everything that the clients did is counted."""

    def __init__(self, proxy, web, port):
        self.proxy, self.web, self.port = proxy, web, port
        self.step = 0
        self.logs = [proxy.access_path, proxy.dir / "other.log"]
        self.tunnels = self.requests = self.connections = self.up = self.down = 0

    def config(self):
        """A different one each time."""
        i = self.step = self.step + 1
        listen = [{"address": "127.0.0.1:0", "reasons": ("none", "own", "all")[i % 3], "clients": [f"127.0.{i}.0/24", "127.0.0.1"]}]
        if i % 2:
            listen.append(f"127.0.0.1:{self.port}")
        return {"listen": listen, "timeouts": {"tunnel": f"{i + 10}m"}, "log": {"access": str(self.logs[i % 4 // 2])}}

    def change(self, how):
        before = loaded(self.proxy)
        self.proxy.write_config(self.config())
        if how == "HUP":
            self.proxy.signal(signal.SIGHUP)
        elif how == "POST":
            answer = self.proxy.control("POST", "/reload")
            assert answer.status == 200, answer.body
        eventually(lambda: loaded(self.proxy) > before, what=f"reload {self.step} by {how}")

    def run(self, n_tunnels, ways):
        origin = Origin()
        pairs = [(self.proxy.client().connect(origin.authority), origin.accept()) for _ in range(n_tunnels)]
        pump = Pump(pairs)
        askers = [Asker(self.proxy, self.web, kept) for kept in (True, True, False, False)]
        for how in ways:
            self.change(how)
        for asker in askers:
            asker.stop.set()
        for asker in askers:
            asker.join()
            assert asker.error is None, asker.error
            assert asker.requests > 3
            self.requests, self.connections = self.requests + asker.requests, self.connections + asker.connections
            self.up, self.down = self.up + asker.up, self.down + asker.down
        up, down = pump.finish()
        assert min(up, down) > n_tunnels * 100
        self.tunnels, self.up, self.down = self.tunnels + n_tunnels, self.up + up, self.down + down
        origin.close()
        eventually(lambda: self.proxy.metrics()["ginnel_sessions"] == 0, what="the end of all sessions")

    def check_counters(self):
        m = self.proxy.metrics()
        counted = {
            "ginnel_sessions_accepted_total": self.tunnels + self.connections,
            "ginnel_sessions_ended_total": self.tunnels + self.connections,
            "ginnel_exchanges_begun_total": self.tunnels + self.requests,
            'ginnel_exchanges_ended_total{reason="done"}': self.requests,
            'ginnel_exchanges_ended_total{reason="tunnel-done"}': self.tunnels,
            "ginnel_tunnels_begun_total": self.tunnels,
            "ginnel_up_bytes_total": self.up,
            "ginnel_down_bytes_total": self.down,
            "ginnel_config_generation": self.step + 1,
        }
        assert {name: m.get(name) for name in counted} == counted
        others = {name: value for name, value in m.items() if name.startswith("ginnel_exchanges_ended_total") and name not in counted}
        assert not any(others.values()), others

    def check_log(self):
        """Every exchange is in one of the logs, once."""
        eventually(lambda: self.lines() == self.tunnels + self.requests, what="the last records")

    def lines(self):
        return sum(path.read_bytes().count(b"\n") for path in self.logs if path.exists())


@pytest.mark.workers
@pytest.mark.workers
def test_storm(start, web):
    """U57 DESIGN 8.6: a hundred reloads while tunnels and requests run: nobody is refused, nothing is cut, every byte arrives, all is
    counted, and afterwards nothing is left of them"""
    proxy = start()
    storm = Storm(proxy, web, free_port())
    n_tunnels, few = (200, 4) if SLOW == 1 else (40, 2)
    storm.run(n_tunnels, ["HUP", "POST"] * 5)  # what is allocated once has been allocated after this
    rss, fds = proxy.rss(), proxy.fds()
    ways = ["file"] * 3 * few + ["HUP"] * 11 * few + ["POST"] * 11 * few
    random.Random(3).shuffle(ways)
    storm.run(n_tunnels, ways)
    storm.check_counters()
    storm.check_log()
    eventually(lambda: proxy.metrics()["ginnel_snapshots"] == 1, what="the end of all old configurations")
    # Each of two workers may keep eight idle pipes.
    eventually(lambda: proxy.fds() <= fds + 8 + 32, what=f"the descriptors to come back to {fds}; now {proxy.fds()}")
    if not proxy.instrumented():
        assert proxy.rss() < rss * 1.2 + (2 << 20), (rss, proxy.rss())


def ranges(n):
    """So many that no two of them touch."""
    lines = []
    for i in range(n):
        lines.append(f"{11 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.0/25")
    return "\n".join(lines)


def test_large_list(start):
    """U57 FAILURES 22: a list of 200,000 ranges, reloaded again and again, does not make the process grow"""
    n, times = (20000, 4) if Ginnel.instrumented() else (200000, 20)
    proxy = start()
    path, base = proxy.dir / "list.txt", ranges(n)
    sizes = []
    for i in range(1, times + 1):
        path.write_text(f"127.0.0.0/8\n{base}\n203.0.113.{i}\n")
        if i == 1:
            proxy.write_config({"clients": ["./list.txt"]})
        assert proxy.control("POST", "/reload", within=20).status == 200
        assert admitted(proxy, "127.0.0.5")
        eventually(lambda: proxy.metrics()["ginnel_snapshots"] == 1, what="the end of the configuration of before")
        sizes.append(proxy.rss())
    assert generation(proxy) >= times
    if not proxy.instrumented():
        assert sizes[-1] < sizes[1] * 1.3, [size >> 20 for size in sizes]
