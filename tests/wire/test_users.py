# SPDX-License-Identifier: MIT
"""Names and passwords: who is asked, who gets in, what is remembered, and where credentials must never turn up."""

import base64
import json
import os
import pwd
import subprocess

import pytest

from harness import HttpOrigin, Origin, UnixClient, eventually, request, response, run_ginnel, scaled
from harness.ginnel import binary, environment

# What crypt(3) makes of these passwords, with little work.
SECRET = "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2"
CHANGED = "$5$rounds=1000$saltsalt$/lqUNJR2c2eGIFNWV7GKffiojUEPBMz6qy1PqD3lyJ2"
GEHEIM = "$2b$04$abcdefghijklmnopqrstuuPWRtT5yx7FBi4dcf6ROhboeNunUrLQ."
PAESSWOERD = "$6$rounds=1000$saltsalt$osotUMSS7K.0TIfteadkw2nXkU3mHd2sic8QLeQ4NmBYvnNlee/nDNLXQJypj6pZfrDryJ6nKZzumyw65bri70"
YES = "$y$j75$saltsalt$VOEZpMAm7epRPvWtVjIZTO.l4uc9DVj.pPqYrOK3TD1"
USERS = f"# who may\n\njohn:{SECRET}:labels=red,prio=high\nanna:{GEHEIM}\nzoe:{PAESSWOERD}\nyan:{YES}\n"
GROUPS = "# groups\nstaff: john anna\nadmin: anna\n"
CHALLENGE = 'Basic realm="ginnel", charset="UTF-8"'


def basic(who, password):
    return "Proxy-Authorization: Basic " + base64.b64encode(f"{who}:{password}".encode()).decode()


@pytest.fixture
def files(tmp_path):
    (tmp_path / "users").write_text(USERS)
    (tmp_path / "groups").write_text(GROUPS)
    return tmp_path


def replace(path, text):
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.rename(path)


@pytest.fixture
def guarded(start, files):
    """A proxy that knows the users above. guarded(more) lays more over its configuration."""
    def guarded(more=None, **users):
        config = {"users": {"file": str(files / "users"), "groups": str(files / "groups"), **users}}
        return start({**config, **(more or {})})
    return guarded


def get(client, web, *fields, path="/"):
    return client.ask(request("GET", web.url(path), *fields))


def whoami(proxy, *fields):
    with proxy.client() as client:
        answer = client.ask(request("GET", "http://ginnel.internal/", *fields))
        assert answer.status == 200, answer
        return json.loads(answer.body)


# --- 407 -------------------------------------------------------------------------------------------------------------


def test_without_credentials(guarded, web):
    """S001-6 C36 C87: one challenge, and the connection goes on for the next try."""
    proxy = guarded()
    client = proxy.client()
    answer = get(client, web)
    assert answer.status == 407
    assert answer.values("proxy-authenticate") == [CHALLENGE]
    assert get(client, web, basic("john", "wrong")).status == 407
    assert get(client, web, basic("john", "secret")).status == 200
    assert get(client, web, basic("anna", "geheim")).status == 200
    assert get(client, web).status == 407  # nothing is remembered for the connection
    assert [r["ginnel.end"] for r in proxy.wait_access(5)] == ["auth-needed", "auth-needed", "done", "done", "auth-needed"]


@pytest.mark.parametrize("who, password", [("john", "secret"), ("anna", "geheim"), ("zoe", "pässwörd"), ("yan", "yes")])
def test_every_kind_of_hash(guarded, web, who, password):
    """C87: sha256, bcrypt, sha512, yescrypt; UTF-8 as it is"""
    proxy = guarded()
    assert get(proxy.client(), web, basic(who, password)).status == 200
    assert get(proxy.client(), web, basic(who, password + "x")).status == 407
    assert get(proxy.client(), web, basic(who.upper(), password)).status == 407


def test_connect(guarded, origin):
    """S001-6 C36: a CONNECT's 407 closes; with credentials the tunnel begins."""
    proxy = guarded()
    client = proxy.client()
    client.send(request("CONNECT", origin.authority))
    answer = client.recv_response(method="CONNECT") if "method" in client.recv_response.__code__.co_varnames else client.recv_response()
    assert answer.status == 407 and answer.value("connection") == "close"
    assert answer.values("proxy-authenticate") == [CHALLENGE]
    client.expect_end()
    client = proxy.client()
    client.send(request("CONNECT", origin.authority, basic("john", "secret")))
    conn = origin.accept()
    assert client.recv_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    client.send(b"through")
    assert conn.recv_exactly(7) == b"through"


@pytest.mark.parametrize("field, status", [
    ("Proxy-Authorization: Basic", 407), ("Proxy-Authorization: Basic !!!!", 407), ("Proxy-Authorization: Basic am9obg==", 407),
    ("Proxy-Authorization: Basic am9objpzZWNyZXQ", 407), ("Proxy-Authorization: Bearer am9objpzZWNyZXQ=", 407),
    ("Proxy-Authorization:", 407), ("Proxy-Authorization: Digest username=\"john\"", 407),
    ("Proxy-Authorization: basic   am9objpzZWNyZXQ=", 200), ("proxy-authorization: BASIC am9objpzZWNyZXQ=", 200),
    ("Authorization: Basic am9objpzZWNyZXQ=", 407), ("Proxy-Authorization: Basic " + "QUFB" * 3000, 407),
])
def test_malformed(guarded, web, field, status):
    """C87; FAILURES 10: nothing is copied that has no room"""
    assert get(guarded().client(), web, field).status == status


def test_two_fields(guarded, web):
    """C36: who sends two says nothing"""
    assert get(guarded().client(), web, basic("john", "secret"), basic("john", "secret")).status == 400


def test_bytewise(guarded, web):
    client = guarded().client()
    client.send_bytewise(request("GET", web.url("/"), basic("john", "secret")))
    assert client.recv_response().status == 200


def test_pages_of_its_own(guarded):
    """Who asks the proxy itself is not asked."""
    client = guarded().client()
    assert client.ask(request("GET", "/healthz", host="localhost")).status == 200
    assert client.ask(request("GET", "/proxy.pac", host="localhost")).status == 200
    assert client.ask(request("GET", "http://ginnel.internal/")).status == 407


def test_content_of_a_refused_request(guarded, web):
    """The answer comes before the content; what follows is read as the next request, or the connection ends."""
    client = guarded().client()
    assert client.ask(request("POST", web.url("/"), body=b"x" * 1000)).status == 407
    assert not web.requests


# --- who it is -------------------------------------------------------------------------------------------------------


def test_groups_and_labels(guarded):
    """S001-7"""
    proxy = guarded()
    john = whoami(proxy, basic("john+blue+prio=high", "secret"))
    assert (john["user"], john["groups"], john["labels"]) == ("john", ["staff"], ["blue", "prio=high"])
    anna = whoami(proxy, basic("anna", "geheim"))
    assert (anna["user"], anna["groups"], anna["labels"]) == ("anna", ["staff", "admin"], [])


@pytest.mark.parametrize("who", ["john+", "john+a b", "john+a=", "john+a==b", "+a", "john+" + "+".join(f"l{i}" for i in range(33))])
def test_labels_that_are_none(guarded, web, who):
    """S001-7: an invalid label is no login"""
    answer = get(guarded().client(), web, basic(who, "secret"))
    assert answer.status == 407


def test_labels_of_an_allow(guarded, web):
    """S001-7: in `allow` a label counts only where the user's line permits it."""
    proxy = guarded({"rules": [{"allow": "127.0.0.1", "port": web.port, "label": "red"}]})
    assert get(proxy.client(), web, basic("john+red", "secret")).status == 200
    assert get(proxy.client(), web, basic("john", "secret")).status == 403
    assert get(proxy.client(), web, basic("anna+red", "geheim")).status == 403


def test_a_known_user_is_refused_with_403(guarded, web):
    proxy = guarded({"rules": [{"allow": "127.0.0.1", "port": web.port, "user": "anna"}]})
    assert get(proxy.client(), web, basic("anna", "geheim")).status == 200
    answer = get(proxy.client(), web, basic("john", "secret"))
    assert answer.status == 403 and not answer.values("proxy-authenticate")
    assert get(proxy.client(), web).status == 407


def test_when_needed(guarded, web):
    """407 only where a rule would decide by it; wrong credentials are asked again whatever the rules say."""
    other = HttpOrigin()
    proxy = guarded({"rules": [{"allow": "127.0.0.1", "port": web.port},
                               {"allow": "127.0.0.1", "port": other.port, "group": "admin"}]}, ask="when-needed")
    assert get(proxy.client(), web).status == 200
    assert get(proxy.client(), web, basic("john", "wrong")).status == 407
    assert get(proxy.client(), other).status == 407
    assert get(proxy.client(), other, basic("john", "secret")).status == 403
    assert get(proxy.client(), other, basic("anna", "geheim")).status == 200


def test_users_of_a_listener(start, files, web):
    (files / "others").write_text(f"other:{YES}\n")
    proxy = start({"users": str(files / "users"),
                   "listen": [{"address": "127.0.0.1:0", "name": "all"},
                              {"address": "127.0.0.1:0", "name": "own", "users": str(files / "others")}]})
    ports = [port for _, port in proxy.listeners]
    seen = {}
    for port in ports:
        for who, password in ("john", "secret"), ("other", "yes"):
            with proxy.client() if port == proxy.port else connect(port) as client:
                seen[port, who] = get(client, web, basic(who, password)).status
    assert [[seen[p, w] for w in ("john", "other")] for p in ports] == [[200, 407], [407, 200]]


def connect(port):
    from harness import Client
    return Client("127.0.0.1", port)


# --- where credentials must not turn up ------------------------------------------------------------------------------


def test_credentials_stay_here(guarded, files):
    """C36; FAILURES 25: neither at an origin (GET, upload, upgrade, tunnel, answers of the proxy) nor in anything that is written."""
    web = HttpOrigin(lambda req: response(101, "Upgrade: x", "Connection: upgrade", body=None, reason="Switching")
                     if req.value("upgrade") else response(body=b"ok"))
    tunnel = Origin()
    proxy = guarded({"log": {"level": "debug"}})
    field = basic("zoe", "pässwörd")
    coded = field.split()[-1].encode()
    client = proxy.client()
    assert get(client, web, field).status == 200
    assert client.ask(request("POST", web.url("/up"), field, "Expect: 100-continue", body=b"content")).status == 200
    assert get(client, web, basic("john", "Wr0ngPass")).status == 407
    assert get(client, web, basic("j0hnny", "Wr0ngPass")).status == 407
    upgrade = proxy.client()
    upgrade.send(request("GET", web.url("/ws"), field, "Upgrade: x", "Connection: upgrade, proxy-authorization"))
    upgrade.recv_until(b"\r\n\r\n")
    connect_client = proxy.client()
    connect_client.send(request("CONNECT", tunnel.authority, field))
    conn = tunnel.accept()
    connect_client.recv_until(b"\r\n\r\n")
    connect_client.send(b"end")
    assert conn.recv_exactly(3) == b"end"
    for req in web.requests:
        assert not req.values("proxy-authorization")
    for peer in [*web.conns, conn]:
        assert coded not in peer.received and "pässwörd".encode() not in peer.received
    for seen in client.received, upgrade.received, connect_client.received:
        assert coded not in seen and "pässwörd".encode() not in seen and b"Wr0ng" not in seen
    proxy.wait_access(4)
    dump = proxy.control("GET", "/status?json").body.decode(errors="replace")
    proxy.stop()
    for text in proxy.stderr(), proxy.access_path.read_text(), proxy.stdout_path.read_text(), dump:
        for bad in "pässwörd", "Wr0ng", coded.decode(), PAESSWOERD, "j0hnny":
            assert bad not in text


# --- guessing --------------------------------------------------------------------------------------------------------


def test_throttled(guarded, web):
    """Ten wrong ones, then 429 and no verification; who is known is not affected."""
    proxy = guarded()
    client = proxy.client()
    assert get(client, web, basic("john", "secret")).status == 200
    statuses = [get(client, web, basic("john", f"wrong{i}")) for i in range(12)]
    assert [answer.status for answer in statuses[:10]] == [407] * 10
    last = statuses[-1]
    assert last.status == 429 and 1 <= int(last.value("retry-after")) <= 6
    assert get(client, web, basic("anna", "geheim")).status == 429
    assert get(client, web, basic("john", "secret")).status == 200
    assert proxy.wait_access(3, {"ginnel.end": "auth-throttled"})


def test_many_at_once_from_one_address(start, files):
    """Right ones wait for each other and all get in; wrong ones get no more tries than one after the other."""
    asked = files / "asked"
    script = helper(files, f'echo "$u" >> {asked}; sleep 0.02; case $p in right) echo OK;; *) echo ERR;; esac')
    proxy = start({"users": {"command": [script], "children": 5}})

    def statuses(password):
        clients = [proxy.client() for _ in range(30)]
        for i, client in enumerate(clients):
            client.send(request("GET", "http://ginnel.internal/", basic(f"n{i}", password)))
        return [client.recv_response(within=30).status for client in clients]

    assert statuses("right") == [200] * 30
    asked.write_text("")
    wrong = statuses("wrong")
    assert set(wrong) == {407, 429} and wrong.count(407) == len(asked.read_text().split()) and 10 <= wrong.count(407) <= 12


# --- reload ----------------------------------------------------------------------------------------------------------


def test_a_changed_file(guarded, web, files):
    """A changed password counts at once; the line of the reload says `users`."""
    proxy = guarded()
    client = proxy.client()
    assert get(client, web, basic("john", "secret")).status == 200
    assert get(client, web, basic("anna", "geheim")).status == 200
    replace(files / "users", USERS.replace(SECRET, CHANGED))
    assert "changed users" in proxy.wait_reload(1)
    assert get(client, web, basic("john", "secret")).status == 407
    assert get(client, web, basic("john", "changed")).status == 200
    assert get(client, web, basic("anna", "geheim")).status == 200
    replace(files / "users", USERS.replace(f"anna:{GEHEIM}\n", ""))
    proxy.wait_reload(2)
    assert get(client, web, basic("anna", "geheim")).status == 407
    replace(files / "groups", "staff: zoe\n")
    proxy.wait_reload(3)
    assert whoami(proxy, basic("zoe", "pässwörd"))["groups"] == ["staff"]


def test_what_others_have_shown_is_remembered_over_a_reload(start, files, web):
    """Issue 5: limits' counts and users' caches survive: the program is not asked again."""
    asked = files / "asked"
    script = helper(files, f"echo \"$u\" >> {asked}; echo OK")
    config = {"users": {"command": [script], "children": 1}}
    proxy = start(config)
    assert get(proxy.client(), web, basic("john", "x")).status == 200
    children = children_of(proxy.pid)
    proxy.reload({**config, "via": False})
    assert get(proxy.client(), web, basic("john", "x")).status == 200
    assert asked.read_text() == "john\n"
    assert children_of(proxy.pid) == children
    proxy.reload({"users": {"command": [script], "children": 2}})
    assert get(proxy.client(), web, basic("john", "x")).status == 200
    assert asked.read_text() == "john\n"
    eventually(lambda: not set(children) & set(children_of(proxy.pid)), 10, "the end of the child that nobody needs")


@pytest.mark.parametrize("which, what", [("users", None), ("groups", None), ("users", "john:plain\n"), ("users", "\0"), ("groups", "nonsense\n")])
def test_a_file_that_vanishes_or_breaks(guarded, web, files, which, what):
    """Issue 5: the old one stays, said loudly."""
    proxy = guarded()
    if what is None:
        (files / which).unlink()
    else:
        replace(files / which, what)
    assert "failed" in proxy.wait_reload(1)
    assert str(files / which) in proxy.stderr() and "plain\n" not in proxy.stderr()
    assert get(proxy.client(), web, basic("john", "secret")).status == 200
    assert get(proxy.client(), web).status == 407
    replace(files / which, USERS if which == "users" else GROUPS + "more: zoe\n")
    proxy.wait_reload(2)
    assert get(proxy.client(), web, basic("john", "secret")).status == 200


def test_a_listener_that_goes_with_its_users(start, files, web):
    """Nobody gets in because the users went: neither who was there nor who had just connected."""
    listen = [{"address": "127.0.0.1:0", "name": "open"}, {"address": "127.0.0.1:0", "name": "own", "users": str(files / "users")}]
    proxy = start({"listen": listen})
    client, fresh = connect(proxy.listeners[1][1]), connect(proxy.listeners[1][1])
    assert get(client, web, basic("john", "secret")).status == 200
    eventually(lambda: proxy.status()["workers"] and sum(w["sessions"] for w in proxy.status()["workers"]) >= 2, 10, "both connections")
    assert "1 closed" in proxy.reload({"listen": listen[:1]})
    assert get(client, web, basic("john", "secret")).status == 403
    assert get(fresh, web).status == 403


# --- Unix sockets ----------------------------------------------------------------------------------------------------


def test_peer_of_a_unix_socket(start, files, web):
    """The process at the other end is the user, unless it brings credentials."""
    me = pwd.getpwuid(os.getuid()).pw_name
    (files / "groups").write_text(f"here: {me}\n")
    path = files / "sock"
    proxy = start({"users": {"file": str(files / "users"), "groups": str(files / "groups")}, "listen": [f"unix:{path}", "127.0.0.1:0"]})
    assert get(UnixClient(path), web).status == 200
    who = json.loads(UnixClient(path).ask(request("GET", "http://ginnel.internal/")).body)
    assert (who["user"], who["groups"], who["labels"]) == (me, ["here"], [])
    who = json.loads(UnixClient(path).ask(request("GET", "http://ginnel.internal/", basic("john", "secret"))).body)
    assert who["user"] == "john"
    assert get(UnixClient(path), web, basic("john", "wrong")).status == 407
    assert get(proxy.client(), web).status == 407


# --- programs --------------------------------------------------------------------------------------------------------


def helper(folder, body, name="helper"):
    """A program that reads `user password` lines: $u and $p."""
    path = folder / name
    path.write_text(f"#!/bin/sh\nwhile read -r u p; do\n{body}\ndone\n")
    path.chmod(0o755)
    return str(path)


def children_of(pid):
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    return sorted(int(word) for word in out.split())


def test_program(start, files, web):
    script = helper(files, 'case "$u/$p" in john/s%20x) echo "OK group=staff tag=red";; anna/*) echo "OK user=ANNA";; down/*) echo BH;; *) echo ERR;; esac')
    proxy = start({"users": {"command": [script], "children": 2}})
    john = whoami(proxy, basic("john+red+blue", "s x"))
    assert (john["user"], john["groups"], john["labels"]) == ("john", ["staff"], ["red", "blue"])
    assert whoami(proxy, basic("anna", "x"))["user"] == "ANNA"
    assert get(proxy.client(), web, basic("john", "wrong")).status == 407
    down = get(proxy.client(), web, basic("down", "x"))
    assert down.status == 503 and down.value("retry-after")
    assert get(proxy.client(), web).status == 407
    pids = children_of(proxy.pid)
    proxy.stop()
    assert pids and not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def test_program_that_hangs_then_answers(start, files, web):
    """503 after its time; the child is replaced, and the next one answers."""
    mark = files / "mark"
    script = helper(files, f'if [ ! -e {mark} ]; then touch {mark}; sleep 60; fi; echo OK')
    proxy = start({"users": {"command": [script], "children": 1, "timeout": "300ms"}})
    answer = get(proxy.client(), web, basic("john", "x"))
    assert answer.status == 503 and answer.value("retry-after")
    assert get(proxy.client(), web, basic("john", "x")).status == 200
    assert "did not answer in time" in proxy.stderr()


def test_program_that_dies_or_babbles(start, files, web):
    mark = files / "mark"
    script = helper(files, f'if [ ! -e {mark} ]; then touch {mark}; exit 7; fi; '
                           f'if [ ! -e {mark}2 ]; then touch {mark}2; printf "\\033[31mwhat\\n"; else echo OK; fi')
    proxy = start({"users": {"command": [script], "children": 1}})
    # died with the question, and was asked again; then what it says is no answer
    assert get(proxy.client(), web, basic("john", "x")).status == 503
    assert get(proxy.client(), web, basic("john", "x")).status == 200
    assert "exited with code 7" in proxy.stderr() and "it said what is no answer" in proxy.stderr()
    assert "\x1b" not in proxy.stderr()


def test_program_with_channels(start, files, web):
    path = files / "channels"
    path.write_text("#!/bin/sh\nwhile read -r c u p; do echo \"$c OK user=u-$u\"; done\n")
    path.chmod(0o755)
    proxy = start({"users": {"command": [str(path)], "children": 1, "concurrency": 10}})
    clients = [proxy.client() for _ in range(20)]
    for i, client in enumerate(clients):
        client.send(request("GET", "http://ginnel.internal/", basic(f"n{i}", "x")))
    assert [json.loads(client.recv_response().body)["user"] for client in clients] == [f"u-n{i}" for i in range(20)]


# --- the file, and `ginnel passwd` -----------------------------------------------------------------------------------


@pytest.mark.parametrize("line, says", [
    ("john:$apr1$x$y", "an MD5 hash of Apache's"), ("john:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=", "an unsalted SHA-1 hash"),
    ("john:ab01FAX.bQRSU", "a DES hash"), ("john:secret", "a password in plain text"), ("john:", "stored as nothing"),
    ("john", "this line has no colon"), (f"jo+hn:{SECRET}", "cannot be the name of a user"), (f":{SECRET}", "cannot be the name of a user"),
    (f"john:{SECRET}:label=red", "is no list of labels"), (f"john:{SECRET}:labels=a b", "is no list of labels"),
    (f"john:{SECRET}\njohn:{SECRET}", "is there twice"),
])
def test_lines_that_cannot_be_used(files, line, says):
    """Bad input: exit 78 with place and hint; the hash itself is shown no longer than the line that the operator wrote"""
    (files / "users").write_text(f"# first\n{line}\n")
    ran = run_ginnel("check", config=f"users: {files / 'users'}\n")
    assert ran.returncode == 78
    assert says in ran.stderr and f"{files / 'users'}:{3 if 'twice' in says else 2}:" in ran.stderr


@pytest.mark.parametrize("config, says", [
    ("users: /nonexistent/users", "the users file"), ("users: {file: /dev/null, groups: /nonexistent/groups}", "the groups file"),
    ("users: {command: [/nonexistent/helper]}", "cannot be run"), ("users: {command: [helper]}", "write its whole path"),
    ("users: {file: /dev/null, children: 3}", "`children` is about the program"), ("users: {command: [/bin/true], children: 65}", "out of range"),
    ("users: {command: [/bin/true], concurrency: 1001}", "out of range"), ("users: {command: [/bin/true], timeout: 0s}", "out of range"),
    ("users: {command: [/bin/true], file: x}", "remove one"), ("users: {ask: never, file: x}", "always or when-needed"),
    ("users: {}", "needs `file` or `command`"), ("listen: [{address: \"127.0.0.1:0\", users: /nonexistent}]", "the users file"),
])
def test_mistakes(config, says):
    """Bad input: every wrong key, value, range, missing file"""
    ran = run_ginnel("check", config=config + "\n")
    assert ran.returncode == 78 and says in ran.stderr


def test_reachable_from_outside(files):
    """CONFIG: an address off loopback needs clients or users who are always asked"""
    for users, code in ("", 78), (f"users: {files / 'users'}", 0), (f"users: {{file: {files / 'users'}, ask: when-needed}}", 78):
        assert run_ginnel("check", config=f"listen: 0.0.0.0:0\n{users}\n").returncode == code


def passwd(folder, *args, password):
    return subprocess.run([binary(), "passwd", *map(str, args)], input=password, capture_output=True, text=True, cwd=folder,
                          env=environment(folder), timeout=scaled(30), check=False)


def test_passwd(guarded, web, files):
    """`ginnel passwd`: the rest of the file stays, and a running ginnel takes it up."""
    proxy = guarded()
    path = files / "users"
    path.chmod(0o640)
    ran = passwd(files, path, "john", password="fresh one\n")
    assert (ran.returncode, ran.stdout) == (0, "john was changed\n")
    lines = path.read_text().split("\n")
    assert lines[:2] == ["# who may", ""] and lines[2].startswith("john:$y$") and lines[2].endswith(":labels=red,prio=high")
    assert lines[3:] == USERS.split("\n")[3:] and path.stat().st_mode & 0o777 == 0o640
    proxy.wait_reload(1)
    assert get(proxy.client(), web, basic("john", "fresh one")).status == 200
    assert get(proxy.client(), web, basic("john", "secret")).status == 407
    assert passwd(files, path, "new", password="p\n").stdout == "new was added\n"
    assert passwd(files, "-D", path, "new", password="").stdout == "new was removed\n"
    assert passwd(files, "-D", path, "new", password="").returncode == 1
    assert not [name for name in os.listdir(files) if name.startswith("users.")]


def test_passwd_makes_the_file(files):
    path = files / "fresh"
    assert passwd(files, path, "john", password="secret").returncode == 0
    assert path.stat().st_mode & 0o777 == 0o600 and path.read_text().startswith("john:$y$")
    (files / "link").symlink_to(path)
    assert passwd(files, files / "link", "anna", password="x\n").returncode == 0
    assert (files / "link").is_symlink() and path.read_text().count("\n") == 2


@pytest.mark.parametrize("args, password, code", [
    (["users", "a:b"], "x\n", 64), (["users", "a+b"], "x\n", 64), (["users", ""], "x\n", 64), (["users", "john"], "\n", 65),
    (["users", "john"], "", 65), (["users", "john"], "a\tb\n", 65), (["users", "john"], "x" * 600 + "\n", 65),
    (["/nonexistent/users", "john"], "x\n", 73), (["/dev/null", "john"], "x\n", 65),
])
def test_passwd_refuses(files, args, password, code):
    before = (files / "users").read_text()
    ran = passwd(files, *args, password=password)
    assert ran.returncode == code and ran.stderr.startswith("ginnel: "), ran
    assert (files / "users").read_text() == before


def test_passwd_on_a_terminal(files):
    """Twice, without echo; different ones change nothing."""
    import pty
    for answers, code in (["hidden1", "hidden1"], 0), (["hidden1", "hidden2"], 1):
        ours, theirs = pty.openpty()
        process = subprocess.Popen([binary(), "passwd", "tty-users", "john"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=files,
                                   env=environment(files), start_new_session=True)
        os.close(theirs)
        seen = b""
        for prompt, answer in zip([b"Password: ", b"Again: "], answers):
            while not seen.endswith(prompt):
                seen += os.read(ours, 1000)
            os.write(ours, answer.encode() + b"\n")
        try:
            while data := os.read(ours, 1000):
                seen += data
        except OSError:
            pass  # the other side is closed
        os.close(ours)
        assert process.wait(scaled(30)) == code, seen
        assert b"hidden" not in seen
