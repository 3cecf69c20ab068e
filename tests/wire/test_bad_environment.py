# SPDX-License-Identifier: MIT
"""What the system refuses: ports, files, descriptors, disks. At the start it ends with a sentence and its exit code; later it serves on."""

import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from harness import Client, Ginnel, NetNs, UnixClient, binary, eventually, free_port, request, run_ginnel, scaled
from harness.ginnel import environment

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
SUCCESSFUL = "ginnel_config_last_reload_successful"


@pytest.fixture
def nobody(root):
    """A directory that everybody may enter, for processes that run as nobody; and the program where nobody can run it."""
    with tempfile.TemporaryDirectory(prefix="ginnel-test-") as name:
        place = pathlib.Path(name)
        place.chmod(0o755)
        if subprocess.run([*AS_NOBODY, binary(), "--version"], capture_output=True, check=False).returncode:
            pytest.skip("nobody cannot run the program where it is")
        yield place


def run_as_nobody(place, *args, within=5):
    return subprocess.run([*AS_NOBODY, binary(), *map(str, args)], cwd=place, env=environment(place), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=scaled(within), check=False)


def written(path, config):
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def one_sentence(result):
    """What is said is short, begins like all its messages, and no address of memory or errno number is in it."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("ginnel: error: ") or re.match(r"\S+: |\S+:\d+:", line)]
    assert lines and len(result.stderr) < 4000 and " 0x" not in result.stderr, result
    return result.stderr


# --- addresses -----------------------------------------------------------------------------------------------------


def test_port_in_use():
    """CONFIG: 69; also when only one of several is taken, and as the admin address: then nothing is listened on"""
    other = Ginnel()
    for config in ({"listen": ["127.0.0.1:0", other.addr]}, {"listen": "127.0.0.1:0", "admin": other.addr}):
        result = run_ginnel(config=config)
        assert result.returncode == 69 and other.addr in one_sentence(result)


def test_address_that_is_not_ours():
    """CONFIG: 69"""
    result = run_ginnel(config={"listen": "192.0.2.1:3128", "clients": ["10.0.0.0/8"]})
    assert result.returncode == 69 and "192.0.2.1:3128" in one_sentence(result)


def test_privileged_port(nobody, netns):
    """CONFIG: 77, and how to get it"""
    start = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    netns.call(lambda: start.write_text("1024") if int(start.read_text()) < 1024 else None)
    result = netns.call(run_as_nobody, nobody, "--listen", "127.0.0.1:80")
    assert result.returncode == 77 and "127.0.0.1:80" in one_sentence(result) and "1024" in result.stderr


# --- logs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "directory", "is a directory", "no directory"])
def test_log_that_cannot_be_opened(nobody, kind):
    """CONFIG: 77; the path is named"""
    place = nobody / "logs"
    place.mkdir(mode=0o755)
    path = place / "access.log"
    if kind == "file":
        path.write_text("")
        path.chmod(0o644)
    elif kind == "is a directory":
        path.mkdir(mode=0o777)
        path.chmod(0o777)
    elif kind == "no directory":
        path = nobody / "none" / "access.log"
    config = written(nobody / "ginnel.yaml", {"listen": "127.0.0.1:0", "log": {"access": str(path)}})
    result = run_as_nobody(nobody, "-c", config)
    assert result.returncode == 77 and str(path) in one_sentence(result)


def lost(proxy):
    return sum(value for name, value in proxy.metrics().items() if re.search(r"^ginnel_log_\w*lost", name))


def test_full_disk(start, web):
    """U62 FAILURES: traffic goes on, it is said (not a line a request), what is lost is counted, at last what was kept in the hope of
    room; another log afterwards works"""
    proxy = start({"log": {"access": "/dev/full"}})
    assert lost(proxy) == 0
    client = proxy.client()
    for i in range(600):
        assert client.ask(request("GET", web.url(f"/{i}/{'p' * 700}"))).status == 200
    eventually(lambda: 0 < lost(proxy) <= 600, what="some of the records to be counted as lost")
    complaints = [line for line in proxy.stderr().splitlines() if "/dev/full" in line and re.match(r"ginnel: (warning|error): ", line)]
    assert 1 <= len(complaints) <= 3, complaints
    proxy.write_config()
    assert proxy.command("reload").returncode == 0
    assert client.ask(request("GET", web.url("/after"))).status == 200
    proxy.wait_access(1, {"url.path": "/after"})
    eventually(lambda: lost(proxy) + len(proxy.access()) == 601, what="every record to be written or counted as lost")
    assert len(proxy.access()) < 600


SMALL_DISK = ("unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount -t tmpfs -o size=256k none "$0" && exec "$@"')


def test_full_disk_that_is_cleared(root, start, web, tmp_path):
    """U62: it writes again as soon as there is room, and only whole lines"""
    if subprocess.run([*SMALL_DISK, str(tmp_path), "true"], capture_output=True, check=False).returncode:
        pytest.skip("no private mounts here")
    proxy = start({"log": {"access": f"{tmp_path}/access.log"}}, wrap=(*SMALL_DISK, str(tmp_path)))
    disk = pathlib.Path(f"/proc/{proxy.pid}/root{tmp_path}")
    with contextlib.suppress(OSError):
        with open(disk / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
    client, path = proxy.client(), "/" + "p" * 500
    for _ in range(300):
        assert client.ask(request("GET", web.url(path))).status == 200
    eventually(lambda: re.search(r"^ginnel: (warning|error): .*access\.log", proxy.stderr(), re.M), what="the complaint")
    (disk / "filler").unlink()
    assert client.ask(request("GET", web.url("/after"))).status == 200

    def after():
        client.ask(request("GET", web.url("/after")))
        return "/after" in (disk / "access.log").read_text()

    eventually(after, what="the log to be written again")
    for line in (disk / "access.log").read_text().splitlines():
        json.loads(line)


# --- the configuration file ----------------------------------------------------------------------------------------


def test_file_that_is_not_there(tmp_path):
    """CONFIG: 66, for each way to name it, with the name and who named it"""
    for argv, env in ((("-c", tmp_path / "no.yaml"), {}), (("check", tmp_path / "no.yaml"), {}), ((), {"GINNEL_CONFIG": str(tmp_path / "no.yaml")})):
        result = run_ginnel(*argv, env=env)
        assert result.returncode == 66 and "no.yaml" in one_sentence(result)
        assert "GINNEL_CONFIG" in result.stderr or not env


def test_file_that_is_a_directory(tmp_path):
    """CONFIG: 66"""
    result = run_ginnel("-c", tmp_path)
    assert result.returncode == 66 and str(tmp_path) in one_sentence(result)


def test_links_in_a_circle(tmp_path):
    """CONFIG: 66"""
    (tmp_path / "a.yaml").symlink_to("b.yaml")
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    result = run_ginnel("-c", tmp_path / "a.yaml")
    assert result.returncode == 66 and "a.yaml" in one_sentence(result)


@pytest.mark.parametrize("command", [("-c",), ("check",)])
def test_fifo(tmp_path, command):
    """CONFIG: a pipe that nobody writes to does not hang it"""
    os.mkfifo(tmp_path / "fifo.yaml")
    result = run_ginnel(*command, tmp_path / "fifo.yaml", within=3)
    assert result.returncode in (66, 78) and "fifo.yaml" in one_sentence(result)


@pytest.mark.parametrize("key", ["clients: [./fifo]", "include: fifo"])
def test_fifo_behind_the_file(tmp_path, key):
    """CONFIG: neither does one that the file names"""
    os.mkfifo(tmp_path / "fifo")
    result = run_ginnel("check", written(tmp_path / "ginnel.yaml", f"{key}\n"), within=3)
    assert result.returncode in (66, 78) and "fifo" in one_sentence(result)


def test_unreadable_file(nobody):
    """CONFIG: 66"""
    config = written(nobody / "ginnel.yaml", {})
    config.chmod(0)
    result = run_as_nobody(nobody, "-c", config)
    assert result.returncode == 66 and "ginnel.yaml" in one_sentence(result)


@pytest.mark.parametrize("content, place", [(b"name: x\nlisten: \xff\n", r":2:\d+"), (b"# \xc3\x28\nname: x\n", r":1:\d+"), (b"name: x\0y\n", r":1:\d+"),
                                            (b"\xff\xfen\0a\0m\0e\0", r":1:\d+"), (b"name: \xed\xa0\x80\n", r":1:\d+")])
def test_not_text(tmp_path, content, place):
    """CONFIG: 78, with its place"""
    path = tmp_path / "ginnel.yaml"
    path.write_bytes(content)
    result = run_ginnel("check", path)
    assert result.returncode == 78 and re.search(r"ginnel\.yaml" + place, one_sentence(result))


def bounded_check(path, megabytes):
    """A check that may have that much memory; seconds, exit code and words."""
    limit = () if Ginnel.instrumented() else ("prlimit", f"--data={megabytes << 20}")
    began = time.monotonic()
    result = run_ginnel("check", path, wrap=limit)
    return time.monotonic() - began, result.returncode, result.stderr


@pytest.mark.parametrize("kind", ["keys", "one line", "comments", "zeros", "endless"])
def test_huge_file(tmp_path, kind):
    """FAILURES 22: a hundred megabytes are refused in a moment, and are not read into memory"""
    path = tmp_path / "ginnel.yaml"
    if kind == "endless":
        path = pathlib.Path("/dev/zero")
    elif kind == "zeros":
        with open(path, "wb") as out:
            out.truncate(100 << 20)
    else:
        block = {"keys": b"workes: 1\n" * 100000, "one line": b"[" * 1000000, "comments": b"# nothing but words, a million times\n" * 27000}[kind]
        with open(path, "wb") as out:
            for _ in range((100 << 20) // len(block)):
                out.write(block)
    seconds, code, text = bounded_check(path, 8)
    assert code in (66, 78) and path.name in text and len(text) < 100000
    assert seconds < scaled(1)


@pytest.mark.parametrize("text", ["[" * 200000, "a: " + "{b: " * 100000, "- " * 200000, "\n".join(" " * i + "a:" for i in range(1000)),
                                  "a: " + "!x " * 100000, "? " * 100000, "&a " * 100000, "a: " + '"' + "\\" * 300000],
                         ids=["lists", "maps", "dashes", "indents", "tags", "questions", "anchors", "backslashes"])
def test_deep_nesting(tmp_path, text):
    """FAILURES 15: refused in a moment, with its place"""
    seconds, code, said = bounded_check(written(tmp_path / "ginnel.yaml", text), 32)
    assert code == 78 and re.search(r"ginnel\.yaml:\d+:\d+", said) and len(said) < 100000
    assert seconds < scaled(1)


# --- later ---------------------------------------------------------------------------------------------------------


def serves(proxy, web):
    return proxy.client().ask(request("GET", web.url("/"))).status == 200


def vanish(path):
    path.unlink()


def become_a_directory(path):
    path.unlink()
    path.mkdir()


def become_a_fifo(path):
    path.unlink()
    os.mkfifo(path)


def become_a_circle(path):
    path.unlink()
    path.symlink_to(path.name)


def become_a_dangling_link(path):
    path.unlink()
    path.symlink_to("nowhere.yaml")


def become_huge(path):
    with open(path, "wb") as out:
        out.truncate(100 << 20)


def become_binary(path):
    path.write_bytes(b"\xff\xfe\0\0" * 1000)


@pytest.mark.parametrize("change", [vanish, become_a_directory, become_a_fifo, become_a_circle, become_a_dangling_link, become_huge, become_binary])
def test_file_that_goes_wrong_later(start, web, change):
    """U57: the old one serves on, it is said, and a good file ends it"""
    proxy = start()
    rss = proxy.rss()
    change(proxy.config_path)
    proxy.signal(signal.SIGHUP)
    eventually(lambda: any("fail" in line for line in proxy.reload_lines()), what="the failure to be said")
    eventually(lambda: re.search(r"^ginnel: error: .*ginnel\.yaml", proxy.stderr(), re.M), what="the file to be named")
    assert serves(proxy, web) and proxy.metrics()[SUCCESSFUL] == 0
    if not proxy.instrumented():
        assert proxy.rss() < rss + (16 << 20)
    if proxy.config_path.is_dir():
        proxy.config_path.rmdir()
    proxy.write_config({"name": "good"})
    eventually(lambda: proxy.metrics()[SUCCESSFUL] == 1, what="the good file to be loaded")
    assert serves(proxy, web) and web.requests[-1].value("via") == "1.1 good"


def test_unreadable_at_a_reload(nobody, web):
    """U57: after root was given up: said, and the old one serves on"""
    config = written(nobody / "ginnel.yaml", {"listen": "127.0.0.1:0", "log": {"access": "off"}, "name": "first"})
    proxy = Ginnel(False, args=["-c", str(config)], wrap=AS_NOBODY)
    config.chmod(0)
    proxy.signal(signal.SIGHUP)
    eventually(lambda: any("fail" in line for line in proxy.reload_lines()), what="the failure to be said")
    assert serves(proxy, web)
    written(config, {"listen": "127.0.0.1:0", "log": {"access": "off"}, "name": "second"})
    config.chmod(0o644)
    eventually(lambda: any(line.startswith("reloaded") for line in proxy.reload_lines()), what="the readable file to be loaded")
    assert serves(proxy, web) and web.requests[-1].value("via") == "1.1 second"


def test_directory_that_goes(start, web, tmp_path):
    """U57: the directory itself is moved away and comes back"""
    place = tmp_path / "etc"
    place.mkdir()
    text = "listen: 127.0.0.1:0\nlog: {access: off}\nname: "
    written(place / "ginnel.yaml", text + "first\n")
    proxy = start(False, args=["-c", str(place / "ginnel.yaml")])
    place.rename(tmp_path / "away")
    proxy.signal(signal.SIGHUP)
    eventually(lambda: any("fail" in line for line in proxy.reload_lines()), what="the failure to be said")
    assert serves(proxy, web)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    written(fresh / "ginnel.yaml", text + "second\n")
    fresh.rename(place)
    proxy.signal(signal.SIGHUP)
    eventually(lambda: any(line.startswith("reloaded") for line in proxy.reload_lines()), what="the new directory to be read")
    assert serves(proxy, web) and web.requests[-1].value("via") == "1.1 second"
    written(place / "ginnel.yaml", text + "third\n")
    eventually(lambda: sum(line.startswith("reloaded") for line in proxy.reload_lines()) == 2, what="changes in it to be noticed")


def test_no_descriptors_at_a_reload(start, web, tmp_path):
    """U57: a reload that gets no descriptor fails in words; the old one serves on, and the next one succeeds"""
    proxy = start()
    kept = proxy.client()
    assert kept.ask(request("GET", web.url("/"))).status == 200
    config = {"listen": ["127.0.0.1:0", f"127.0.0.1:{free_port()}"], "log": {"access": str(tmp_path / "new.log")}}
    before = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    proxy.write_config(config)
    proxy.signal(signal.SIGHUP)
    eventually(lambda: any("fail" in line for line in proxy.reload_lines()), what="the failure to be said")
    assert kept.ask(request("GET", web.url("/"))).status == 200
    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, before)
    fds = proxy.fds()
    proxy.signal(signal.SIGHUP)
    eventually(lambda: any(line.startswith("reloaded") for line in proxy.reload_lines()), what="the reload")
    for host, port in (("127.0.0.1", proxy.port), ("127.0.0.1", int(config["listen"][1].split(":")[1]))):
        assert Client(host, port).ask(request("GET", web.url("/"))).status == 200
    assert "/" in (tmp_path / "new.log").read_text() or proxy.fds() <= fds + 8
    assert proxy.metrics()[SUCCESSFUL] == 1


def test_failed_reloads_leave_nothing_open(start):
    """U57: what was opened for a reload that failed is closed again"""
    taken = Ginnel()
    proxy = start()
    proxy.control("GET", "/healthz")
    fds = proxy.fds()
    for i in range(20):
        proxy.write_config({"listen": ["127.0.0.1:0", f"127.0.0.1:{free_port()}", f"unix:{proxy.dir}/{i}.sock", taken.addr],
                            "log": {"access": str(proxy.dir / f"{i}.log")}})
        assert proxy.control("POST", "/reload").status == 422
    eventually(lambda: proxy.fds() <= fds, what=f"the descriptors to be {fds} again, not {proxy.fds()}")
    assert not list(proxy.dir.glob("*.sock.*")) and [path.name for path in proxy.dir.glob("*.sock")] == ["control.sock"]
    if not proxy.instrumented():
        assert proxy.metrics()["ginnel_snapshots"] == 1


# --- the control socket --------------------------------------------------------------------------------------------


def test_no_place_for_the_control_socket(web, tmp_path):
    """ginnel(1): the default place is a convenience: it starts without, and says so"""
    proxy = Ginnel(env={"RUNTIME_DIRECTORY": str(tmp_path / "none")})
    assert re.search(r"^ginnel: (info|warning): .*control.*none", proxy.stderr(), re.M)
    assert serves(proxy, web)
    proxy.reload({"name": "second"})
    assert serves(proxy, web) and web.requests[-1].value("via") == "1.1 second"


def test_a_place_that_was_asked_for(tmp_path):
    """ginnel(1) control: a place that the file names is wanted: 69 or 77, with a sentence"""
    result = run_ginnel(config={"listen": "127.0.0.1:0", "control": f"unix:{tmp_path}/none/c.sock"})
    assert result.returncode in (69, 77) and f"{tmp_path}/none/c.sock" in one_sentence(result)


def test_two_instances(web):
    """ginnel(1): the default place is another's: this one does without and says so; the first keeps it"""
    first = Ginnel()
    second = Ginnel(env={"RUNTIME_DIRECTORY": str(first.dir)})
    assert re.search(r"^ginnel: (info|warning): .*control", second.stderr(), re.M)
    assert serves(second, web)
    assert first.status()["pid"] == first.pid
    second.signal()
    assert second.wait_exit() == 0
    assert first.control_path.is_socket() and first.status()["pid"] == first.pid


def test_two_instances_with_one_named_place(tmp_path):
    """ginnel(1) control: 69"""
    path = tmp_path / "c.sock"
    Ginnel({"control": f"unix:{path}"})
    result = run_ginnel(config={"listen": "127.0.0.1:0", "control": f"unix:{path}"})
    assert result.returncode == 69 and str(path) in one_sentence(result)
    assert UnixClient(path).ask(request("GET", "/healthz", host="x")).status == 200


def test_control_off(web):
    """ginnel(1) control: off"""
    proxy = Ginnel({"control": "off"})
    assert not proxy.control_path.exists() and serves(proxy, web)
    done = proxy.command("status")
    assert done.returncode not in (0, 78) and done.returncode > 0 and done.stderr


def test_what_odd_clients_do_to_the_control_socket(start):
    """U8: nobody who speaks nonsense there, or nothing, keeps others from asking"""
    proxy = start()
    silent = [UnixClient(proxy.control_path) for _ in range(50)]
    for nonsense in (b"\x16\x03\x01\x02\0", b"GET /status\r\n\r\n", b"POST /reload HTTP/1.1\r\n\r\n", b"\xff" * 100000,
                     b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n"):
        client = UnixClient(proxy.control_path)
        with contextlib.suppress(OSError):
            client.send(nonsense)
            assert b" 200 " not in client.recv_some()[:15]
    assert proxy.control("GET", "/nothing").status == 404
    assert proxy.control("GET", "/reload").status == 405
    assert proxy.control("POST", "/status").status == 405
    assert proxy.status()["pid"] == proxy.pid
    assert not proxy.reload_lines()
    assert silent


def test_in_a_network_without_ipv6(root):
    """U5: the default addresses on a machine that has no IPv6: [::1] is done without"""
    namespace = NetNs()
    switch = pathlib.Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
    if not shutil.which("ip") or not switch.exists():
        pytest.skip("IPv6 cannot be switched off here")
    namespace.call(switch.write_text, "1")
    proxy = namespace.call(Ginnel, False)
    assert proxy.listeners == [("127.0.0.1", 3128)]
