# SPDX-License-Identifier: MIT
"""Knowing why: what a refusal says on the wire, what `ginnel why` and `ginnel denied` say about the same, and that the line which they give does let it pass."""

import base64
import contextlib
import crypt
import json
import re
import ssl
import time

import pytest

from harness import Client, DnsServer, Ginnel, UnixClient, eventually, free_port, parse_proxy_status, request, run_ginnel
from harness.everywhere import Witness

RULES = """\
workers: 1
name: wire
listen:
  - 127.0.0.1:0
  - {address: 127.0.0.2:0, name: lan, clients: 127.0.0.9}
  - {address: 127.0.0.3:0, name: terse, reasons: none}
  - {address: 127.0.0.4:0, name: own, reasons: own}
  - unix:@DIR@/proxy.sock
admin: 127.0.0.1:%(admin)d
control: unix:@DIR@/control.sock
resolver: {servers: ["%(dns)s"]}
log: {access: "@DIR@/access.log", level: info}
timeouts: {drain: 1s, connect: 1s}
policy: {say: "Ask <#egress> & \\"add\\" it"}
rules:
  - {deny: ads.test, name: no-ads, say: "no <b>ads</b>\\nhere"}
  - {deny: .tracker.test}
  - {allow: a.test, port: [80, %(port)d], to: 127.8.0.0/16, name: inner}
  - {allow: b.test, port: %(port)d, from: 127.0.0.99}
  - {allow: c.test, port: %(port)d, user: jane}
  - {allow: d.test, port: %(port)d, method: POST, path: /up/}
  - {allow: e.test, port: %(port)d, header: {x-key: "1"}}
  - {deny: 127.9.0.0/16, name: not-nine}
  - {allow: .open.test, port: any, name: opened}
  - {allow: 127.8.0.1, port: %(port)d}
  - {allow: 127.0.0.1, port: any, name: here}
  - {allow: f.test, listener: terse, name: nowhere}
  - {deny: g.test, mode: report, name: watched}
  - {allow: g.test, port: any, to: 127.8.0.0/16}
"""
ADDRESSES = {
    "x.a.test": ["127.8.0.1"], "a.test": ["127.8.0.1"], "g.test": ["127.8.0.1"],
    "nine.open.test": ["127.9.0.1"], "eight.open.test": ["127.8.0.1"], "two.open.test": ["127.9.0.1", "127.8.0.1"],
    "unheard.test": ["127.8.0.1"], "any": ["127.8.0.1"], "no": ["127.8.0.1"], "b.test": ["127.8.0.1"], "c.test": ["127.8.0.1"], "d.test": ["127.8.0.1"], "e.test": ["127.8.0.1"], "f.test": ["127.8.0.1"],
}


class Stage:
    """The proxy, an origin at every loopback address, and the names that lead there."""

    def __init__(self):
        self.origin = Witness()
        self.dns = DnsServer()
        for name, addresses in ADDRESSES.items():
            self.dns.answer(name, a=addresses)
        self.ginnel = Ginnel(RULES % {"port": self.origin.port, "dns": self.dns.address, "admin": free_port()})

    def client(self, listener=0, **options):
        return Client(*self.ginnel.listeners[listener], **options)

    def why(self, *args, within=15):
        ran = self.ginnel.command("why", "--running", "--json", *args, within=within)
        assert ran.returncode in (0, 1, 68), ran
        told = json.loads(ran.stdout)
        assert {"allow": 0, "deny": 1, "unresolved": 68}[told["answer"]] == ran.returncode
        return told

    def record(self, before):
        return self.ginnel.wait_access(before + 1)[before]


@pytest.fixture
def stage():
    stage = Stage()
    yield stage
    stage.origin.close()


def place(ginnel, words):
    """file:line of the line that has these words."""
    lines = ginnel.config_path.read_text().split("\n")
    return f"{ginnel.config_path}:{next(i for i, line in enumerate(lines, 1) if words in line)}"


# method, host, port (None: the origin's), path, fields, listener, the words of the line that decides ("": something built in), reason
CASES = [
    ("GET", "ads.test", 80, "/", (), 0, "no-ads", "denied"),
    ("CONNECT", "ads.test", 443, "", (), 0, "no-ads", "denied"),
    ("CONNECT", "x.tracker.test", 8443, "", (), 0, ".tracker", "denied"),
    ("GET", "a.test", 80, "/", (), 0, "inner", None),  # allowed; nobody listens at port 80
    ("GET", "a.test", None, "/x", (), 0, "inner", None),
    ("CONNECT", "a.test", None, "", (), 0, "inner", None),
    ("CONNECT", "a.test", 8443, "", (), 0, "rules:", "denied"),
    ("GET", "b.test", None, "/", (), 0, "rules:", "denied"),
    ("GET", "c.test", None, "/", (), 0, "rules:", "denied"),
    ("GET", "d.test", None, "/up/", (), 0, "rules:", "denied"),
    ("POST", "d.test", None, "/down/", (), 0, "rules:", "denied"),
    ("GET", "e.test", None, "/", (), 0, "rules:", "denied"),
    ("GET", "e.test", None, "/", ("x-key: 1",), 0, "", "address-denied"),
    ("CONNECT", "e.test", None, "", ("x-key: 1",), 0, "rules:", "denied"),
    ("GET", "127.9.0.1", 80, "/", (), 0, "not-nine", "denied"),
    ("CONNECT", "nine.open.test", None, "", (), 0, "not-nine", "denied"),
    ("GET", "eight.open.test", None, "/", (), 0, "", "address-denied"),
    ("GET", "two.open.test", None, "/", (), 0, "not-nine", "denied"),
    ("GET", "127.8.0.1", None, "/", (), 0, "127.8.0.1", None),
    ("GET", "127.8.0.2", None, "/", (), 0, "rules:", "denied"),
    ("GET", "0x7f.9.1", 80, "/", (), 0, "not-nine", "denied"),
    ("GET", "f.test", 80, "/", (), 0, "rules:", "denied"),
    ("GET", "g.test", None, "/", (), 0, "to: 127.8.0.0/16}", None),
    ("GET", "unheard.test", 80, "/", (), 0, "rules:", "denied"),
    ("GET", "a.test", None, "/", (), 1, "lan", "not-admitted"),
    ("GET", "proxy", None, "/", (), 0, "", "loop"),
    ("GET", "admin", None, "/", (), 0, "", "address-denied"),
]


def wire_and_why(stage, case):
    method, host, port, path, fields, listener, words, reason = case
    ginnel = stage.ginnel
    before = len(ginnel.access())
    if host == "proxy":
        host, port = "127.0.0.1", ginnel.port
    elif host == "admin":
        host, port = "127.0.0.1", int(re.search(r"admin on 127.0.0.1:(\d+)", ginnel.stderr()).group(1))
    authority = f"{host}:{port or stage.origin.port}"
    with stage.client(listener) as client:
        target = authority if method == "CONNECT" else f"http://{authority}{path}"
        answer = client.ask(request(method, target, *fields))
        client.close()
    record = stage.record(before)
    name = ["127.0.0.1:" + str(ginnel.port), "lan"][listener]
    url = authority if method == "CONNECT" else target
    extra = [] if method == "CONNECT" else ["--method", method]
    told = stage.why("--client", record["client.address"], "--listener", name, *extra, *[arg for f in fields for arg in ("--header", f)], url)
    return answer, record, told, (place(ginnel, words) if words else None), reason


def test_why_agrees_with_what_happens(stage):
    """U42, U39: for each kind of refusal, and for what passes: the same rule, the same line, the same reason, the same status."""
    for case in CASES:
        answer, record, told, where, reason = wire_and_why(stage, case)
        if reason:
            assert (told["answer"], told["reason"], told["status"]) == ("deny", reason, answer.status), (case, told)
            assert record["ginnel.end"] == reason and record["ginnel.rule"] == told["rule"] and record["ginnel.detail"] == told["detail"], (case, record, told)
        else:
            assert told["answer"] == "allow" and record["ginnel.rule"] == told["rule"], (case, record, told)
        assert not where or told["place"] == where, (case, told)
    assert "watched" == stage.why(f"http://g.test:{stage.origin.port}/")["would"]
    assert stage.ginnel.access({"server.address": "g.test"})[0]["ginnel.would"] == "watched"


def test_why_for_a_file_agrees_with_the_running_one(stage):
    """The file is judged as if it were in service; the walk is there, and the last line says what decided."""
    config = stage.ginnel.config_path
    for url in (f"http://a.test:{stage.origin.port}/", "ads.test:443", f"http://b.test:{stage.origin.port}/", "eight.open.test:443", "127.9.0.1:22"):
        running = stage.why(url)
        ran = run_ginnel("why", "-c", config, "--json", url, within=15)
        told = json.loads(ran.stdout)
        for walk in (running, told):
            walk.pop("listener")
        assert told == running
        plain = run_ginnel("why", "-c", config, url, within=15)
        assert plain.returncode == ran.returncode == (0 if told["answer"] == "allow" else 1)
        assert plain.stdout.split("\n")[-2] == told["line"] and plain.stdout.startswith(f"asked      {config}\n")
        assert max(map(len, plain.stdout.split("\n")[1:-2])) < 200


def test_the_walk(stage):
    """U42: every rule with yes, no because of a word, or what it waits for; for each address what is asked about it."""
    told = stage.why("two.open.test:443")
    walk = told["walk"]
    assert walk[0] == {"stage": "clients", "refuses": False}
    rules = [event for event in walk if event["stage"] == "rules" and "address" not in event]
    assert [(event["answer"], event["word"]) for event in rules] == [("no", "host")] * 7 + [("needs-address", "host")], rules
    nine = [event for event in walk if event.get("address") == "127.9.0.1"]
    assert nine[0]["rule"] == "not-nine" and nine[0]["answer"] == "yes" and len(nine) == 1
    eight = [event for event in walk if event.get("address") == "127.8.0.1"]
    assert [(event["stage"], event.get("answer", event.get("refuses"))) for event in eight] == [
        ("rules", "no"), ("rules", "yes"), ("own", False), ("admin", False), ("private", True)]
    assert eight[-1]["block"].startswith("127.0.0.0/8")


def test_why_resolves_only_what_depends_on_it(stage):
    """What is decided before is not looked up, as on the wire."""
    before = len(stage.dns.queries)
    assert stage.why("ads.test:80")["answer"] == "deny" and stage.why("unheard.test:80")["answer"] == "deny"
    assert len(stage.dns.queries) == before
    told = stage.why("nosuch.open.test:80")
    assert told["answer"] == "unresolved" and told["lookup"] == "the name does not exist"
    told = stage.why("--address", "127.9.0.3", "nosuch.open.test:80")
    assert told["rule"] == "not-nine" and told["address"] == "127.9.0.3"


def test_who_is_asked(stage, tmp_path):
    """Without -c the running one, if there is one; else the file; --running insists."""
    ginnel = stage.ginnel
    told = ginnel.command("why", "--running", "ads.test:80")
    assert told.stdout.startswith(f"asked      the running ginnel at {ginnel.control_path}\n") and told.returncode == 1
    here = run_ginnel("why", "ads.test:80", env={"RUNTIME_DIRECTORY": str(ginnel.dir)})
    assert here.stdout.startswith(f"asked      the running ginnel at {ginnel.control_path}\n") and "no-ads" in here.stdout
    alone = run_ginnel("why", "--address", "192.0.2.1", "ads.test:80")
    assert alone.returncode == 0 and alone.stdout.startswith("asked      no configuration file: the defaults\n"), alone
    none = run_ginnel("why", "--running", "ads.test:80")
    assert none.returncode == 69 and not none.stdout and none.stderr.startswith("ginnel: ")


@pytest.mark.parametrize("args,says", [
    (["x"], "no URL"), (["ftp://a/"], "no URL"), (["http://"], "no URL"), (["http://a b/"], "no URL"), (["http://u@a/"], "no URL"), (["a:0"], "no URL"),
    (["--client", "10.0.0.0/8", "a:1"], "no client"), (["--time", "yesterday", "a:1"], "no time"), (["--time", "2026-02-30T10:00", "a:1"], "no such day"),
    (["--header", "x", "a:1"], "no header"), (["--sni", "a b", "a:1"], "no SNI"), (["--address", "name", "a:1"], "no address"),
    (["--method", "GET", "a:1"], "a method goes with http://"), (["--method", "CONNECT", "http://a/"], "host:port"),
    (["--listener", "nosuch", "a:1"], "no listener"), (["\x1b[31m:x"], "\\x1b"),
])
def test_bad_questions(args, says):
    ran = run_ginnel("why", *args)
    assert ran.returncode == 64 and not ran.stdout and says in ran.stderr and "\x1b" not in ran.stderr, ran


def test_bad_questions_to_the_socket(stage):
    for query in ("", "url", "url=a:1&x=1", "url=%zz", "url=a:1&client=%", "url=a:1&header=" + "a" * 3000, "url=a:1" + "&address=1.2.3.4" * 99,
                  "url=a:1" + "&header=a:1" * 99):
        answer = stage.ginnel.control("GET", "/why?" + query)
        assert answer.status == 400 and answer.body.startswith(b"400: ") and answer.body.count(b"\n") == 1, (query, answer)


# --- what a refusal says ---------------------------------------------------------------------------------------------


def details(answer):
    (_, parameters), = parse_proxy_status(answer.values("proxy-status"))
    return parameters.get("details", "")


def test_a_rule_says_why(stage):
    """U39: rule, line, what it has to say, the way out: in Proxy-Status, and in each form of the body, escaped for each."""
    where = place(stage.ginnel, "no-ads")
    with stage.client() as client:
        answer = client.ask(request("GET", "http://ads.test/", "Accept: application/json"))
        body = json.loads(answer.body)
        assert answer.status == 403 and body["rule"] == "no-ads" and body["place"] == where and body["say"] == "no <b>ads</b>\nhere"
        assert body["hint"] == f"the operator adds `- allow: ads.test` to `rules`, before {where}" and body["reason"] == "denied"
        told = details(answer)
        assert "no-ads" in told and where in told and "no <b>ads</b> here" in told and "- allow: ads.test" in told
        html = client.ask(request("GET", "http://ads.test/", "Accept: text/html")).body.decode()
        assert "no &lt;b&gt;ads&lt;/b&gt;\nhere" in html and f"no-ads ({where})" in html and "<b>" not in html
        text = client.ask(request("CONNECT", "ads.test:443")).body.decode()
        assert "no <b>ads</b>\nhere\n" in text and f"Decided by: no-ads ({where})\n" in text


def test_the_final_refusal_names_the_nearest_rule(stage):
    """U39: the nearest rule, the condition that it fails at, and the policy's own text."""
    with stage.client() as client:
        for host, port, word, near, line in [
                ("a.test", 8443, "port", "inner", "- {allow: a.test, port: 8443}"), ("b.test", stage.origin.port, "from", "allow: b.test", None),
                ("c.test", stage.origin.port, "user", "allow: c.test", None), ("f.test", 80, "listener", "nowhere", None)]:
            answer = client.ask(request("GET", f"http://{host}:{port}/", "Accept: application/json"))
            body = json.loads(answer.body)
            assert answer.status == 403 and f"fails at `{word}`" in body["detail"], body
            assert place(stage.ginnel, near) in body["detail"] and body["place"] == place(stage.ginnel, "rules:")
            assert body["say"] == 'Ask <#egress> & "add" it'
            assert not line or f"`{line}`" in body["hint"]
        answer = client.ask(request("GET", "http://unheard.test/"))
        assert "no rule allows unheard.test:80" in details(answer) and "nearest" not in details(answer)


@pytest.mark.parametrize("listener,knows", [(2, "nothing"), (3, "own"), (0, "all")])
def test_how_much_a_client_is_told(stage, listener, knows):
    """U39, DESIGN 2: none: the error type; own: rule, line, condition, way out; all: the addresses of names, too."""
    port = stage.origin.port
    with stage.client(listener) as client:
        rule = client.ask(request("GET", "http://ads.test/", "Accept: application/json"))
        address = client.ask(request("GET", f"http://eight.open.test:{port}/", "Accept: application/json"))
    assert rule.status == address.status == 403
    (_, parameters), = parse_proxy_status(address.values("proxy-status"))
    assert parameters["error"] == "destination_ip_prohibited"
    told = rule.body + address.body + (details(rule) + details(address)).encode()
    assert (b"no-ads" in told) == (knows != "nothing") and (b"ginnel.yaml" in told) == (knows != "nothing")
    assert (b"127.8.0.1" in told) == (b"to: " in told) == (knows == "all")
    if knows == "nothing":
        assert set(json.loads(rule.body)) == {"status", "error"}
        assert address.values("proxy-status") == ["wire; error=destination_ip_prohibited"]


def test_a_long_text_is_bounded(start):
    say = "\u00e4<" * 4000
    ginnel = start({"policy": {"say": say[:2700]}, "rules": []})
    with ginnel.client() as client:
        for accept in ("application/json", "text/html", "text/plain"):
            answer = client.ask(request("GET", "http://x.test/", f"Accept: {accept}"))
            assert answer.status == 403 and len(answer.body) < 60000
            assert len(answer.value("proxy-status")) < 2000
        body = json.loads(client.ask(request("GET", "http://x.test/", "Accept: application/json")).body)
        assert body["say"].startswith("\u00e4<\u00e4<") and len(body["say"].encode()) <= 4096


def test_every_answer_made_here_has_a_reason(stage):
    """U39: whatever ginnel answers itself for something that is not passed on: Proxy-Status, and the reason in the body; 502 is never policy."""
    port = stage.origin.port
    asked = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"BAD\r\n\r\n", b"GET http://a.test/ HTTP/3.0\r\n\r\n", request("TRACE", "http://a.test/"),
             request("GET", "https://a.test/"), request("GET", "http://nosuch.open.test/"), request("GET", f"http://127.0.0.1:{free_port()}/"),
             request("GET", f"http://127.0.0.1:{stage.ginnel.port}/"), request("GET", "http://ads.test/"), request("CONNECT", "unheard.test:443"),
             request("CONNECT", f"eight.open.test:{port}")]
    for data in asked:
        with stage.client() as client:
            answer = client.ask(data)
        assert answer.status >= 400 and details(answer), (data, answer)
        assert re.search(rb"ginnel: [a-z-]+ \([a-z_]+\)", answer.body), answer
        assert (answer.status == 502) == (b"dns_error" in answer.body or b"connection_refused" in answer.body or b"proxy_loop" in answer.body), answer


# --- denied ----------------------------------------------------------------------------------------------------------


def denied(ginnel):
    ran = ginnel.command("denied", "--json")
    assert ran.returncode == 0, ran
    return json.loads(ran.stdout)


def test_denied(stage):
    """U40: each refusal with who, what, when; by target with how often; what passed is not there."""
    ginnel, port = stage.ginnel, stage.origin.port
    assert denied(ginnel) == {"total": 0, "kept": 0, "targets": [], "refusals": []}
    with stage.client() as client:
        for _ in range(3):
            assert client.ask(request("GET", "http://ads.test/x")).status == 403
        assert client.ask(request("GET", f"http://a.test:{port}/")).status == 200
        assert client.ask(request("GET", f"http://g.test:{port}/")).status == 200  # a rule in report mode would have refused it
        assert client.ask(request("GET", f"http://eight.open.test:{port}/")).status == 403
        assert client.ask(request("GET", "http://nosuch.open.test/")).status == 502
    ginnel.wait_access(7)
    told = denied(ginnel)
    assert told["total"] == told["kept"] == 5
    assert [(t["host"], t["port"], t["times"], t.get("reason", "would")) for t in told["targets"]] == [
        ("eight.open.test", port, 1, "address-denied"), ("g.test", port, 1, "would"), ("ads.test", 80, 3, "denied")]
    last = told["refusals"][-1]
    assert (last["method"], last["client"], last["status"], last["rule"]) == ("GET", "127.0.0.1", 403, "no-ads")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", last["time"])
    assert told["targets"][0]["allow"] == f"- {{allow: eight.open.test, to: 127.8.0.1, port: {port}}}"
    assert told["targets"][0]["before"] == place(ginnel, "opened")
    text = ginnel.command("denied").stdout
    assert text.startswith("5 refusals, by target\n") and "- allow: ads.test   before " in text and "would be denied by watched" in text


def test_denied_is_bounded(start):
    ginnel = start({"rules": [], "workers": 1})
    with ginnel.client() as client:
        for i in range(1040):
            client.send(request("GET", f"http://h{i}.test/"))
        for _ in range(1040):
            assert client.recv_response().status == 403
    ginnel.wait_access(1040)
    told = denied(ginnel)
    assert (told["total"], told["kept"], len(told["refusals"])) == (1040, 1000, 1000)
    assert told["refusals"][0]["host"] == "h1039.test" and told["refusals"][-1]["host"] == "h40.test"


def test_the_line_lets_it_pass(stage):
    """U40, U42: each line that is given, put where it is said to belong, does let that request pass; then nothing is left to write. An address that a name has
    shows itself when the name is allowed: it takes a second line."""
    ginnel, port = stage.ginnel, stage.origin.port
    stage.dns.answer("new.test", a=["127.8.0.1"])
    asked = [("GET", "ads.test", 80), ("CONNECT", "a.test", 8443), ("GET", "b.test", port), ("GET", "new.test", port), ("GET", "d.test", port),
             ("CONNECT", "127.9.0.1", port), ("CONNECT", "eight.open.test", port), ("GET", "127.8.0.2", port), ("GET", "any", 80), ("GET", "[::1]", port),
             ("GET", "no", 81)]
    stage.dns.answer("ads.test", a=["127.8.0.1"])

    def ask_all():
        statuses = []
        for method, host, p in asked:
            with stage.client() as client:
                answer = client.ask(request(method, f"{host}:{p}" if method == "CONNECT" else f"http://{host}:{p}/"))
                statuses.append(answer.status)
        return statuses

    assert set(ask_all()) == {403}
    for round_ in range(3):
        targets = [t for t in denied(ginnel)["targets"] if not t.get("open")]
        if not targets:
            break
        lines = ginnel.config_path.read_text().split("\n")
        at = lines.index("rules:") + 1
        for target in targets:
            assert target["allow"].startswith("- "), target
            lines.insert(at, "  " + target["allow"])
        ginnel.reload("\n".join(lines))
        assert "reload failed" not in ginnel.reload_lines()[-1] and round_ < 2, ginnel.stderr()
        statuses = ask_all()
    assert 403 not in statuses, list(zip(asked, statuses))
    assert all(t.get("open") for t in denied(ginnel)["targets"])


def test_without_rules(start):
    """The ways out where there are no rules: a client, a port, an address."""
    ginnel = start("name: wire\nlisten: [127.0.0.1:0]\nclients: 127.0.0.1\nprivate: deny\nports: [80]\nreasons: all\nlog: {access: '@DIR@/access.log'}\n")
    with ginnel.client() as client:
        body = json.loads(client.ask(request("GET", "http://x.test:81/", "Accept: application/json")).body)
        assert body["detail"] == "port 81 is not open" and body["hint"] == "the operator adds 81 to `ports`" and body["place"].endswith("ginnel.yaml:5")
        body = json.loads(client.ask(request("GET", "http://127.0.0.9/", "Accept: application/json")).body)
        assert body["reason"] == "address-denied" and body["hint"] == "`rules: [{allow: 127.0.0.9}, {allow: any}]`"
    with Client(ginnel.host, ginnel.port, source="127.0.0.7") as client:
        body = json.loads(client.ask(request("GET", "http://x.test/", "Accept: application/json")).body)
        assert body["reason"] == "not-admitted" and body["hint"] == "the operator adds 127.0.0.7 to `clients`" and body["place"].endswith("ginnel.yaml:3")


def test_over_a_unix_socket(stage):
    with UnixClient(stage.ginnel.dir / "proxy.sock") as client:
        assert client.ask(request("GET", "http://ads.test/")).status == 403
    eventually(lambda: denied(stage.ginnel)["total"] == 1)
    assert denied(stage.ginnel)["refusals"][0]["client"] == "unix"
    told = stage.why("--client", "unix", "--listener", f"unix:{stage.ginnel.dir}/proxy.sock", "ads.test:80")
    assert told["client"] == "unix" and told["rule"] == "no-ads"


# --- users, limits, what is inside a tunnel --------------------------------------------------------------------------

WHO = """\
workers: 1
name: wire
listen: [127.0.0.1:0, {address: 127.0.0.2:0, name: strict, users: {file: users.txt, groups: groups.txt}}]
control: unix:@DIR@/control.sock
resolver: {servers: ["%(dns)s"]}
log: {access: "@DIR@/access.log", level: info}
timeouts: {drain: 1s, connect: 1s}
users: {file: users.txt, groups: groups.txt, ask: when-needed}
rules:
  - {allow: a.test, port: any, to: 127.8.0.0/16, group: qa, name: testers}
  - {allow: b.test, port: any, to: 127.8.0.0/16, label: red, name: reds}
  - {allow: c.test, port: any, to: 127.8.0.0/16, name: named}
  - {allow: d.test, port: any, to: 127.8.0.0/16, expect: tls, sni: off, name: tls-only}
  - {allow: e.test, port: any, to: 127.8.0.0/16, name: slow}
limits:
  - {for: e.test, requests: 1/s, burst: 1, per: client, name: few}
  - {for: c.test, tunnels: 1, name: one}
  - {for: d.test, tunnels: 1, per: user, name: own}
  - {for: a.test, tunnels: 1, per: group, name: crew}
"""


@pytest.fixture
def known():
    """A proxy that knows jane, of qa, who may be red; and bob. Both have the password `pw`."""
    stage = Stage.__new__(Stage)
    stage.origin, stage.dns = Witness(), DnsServer()
    for name in "abcde":
        stage.dns.answer(f"{name}.test", a=["127.8.0.1"])
    stage.ginnel = Ginnel("listen: 127.0.0.1:0\ncontrol: unix:@DIR@/control.sock\n")
    digest = crypt.crypt("pw", "$5$rounds=1000$salt")
    (stage.ginnel.dir / "users.txt").write_text(f"jane:{digest}:labels=red\nbob:{digest}\n")
    (stage.ginnel.dir / "groups.txt").write_text("qa: jane\n")
    stage.ginnel.write_config(WHO % {"dns": stage.dns.address})
    stage.ginnel.wait_reload(1)
    stage.ginnel.listeners = [("127.0.0.1", 0), ("127.0.0.2", 0)]
    ports = re.findall(r"listening on (127.0.0.[12]):(\d+)", stage.ginnel.stderr())
    stage.ginnel.listeners = [(host, int(port)) for host, port in ports[-2:]]
    yield stage
    stage.origin.close()


def hello(name):
    """The first bytes of a TLS client."""
    sent, context = ssl.MemoryBIO(), ssl.create_default_context()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    return sent.read()


def basic(user, password="pw"):
    return "Proxy-Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_users_on_the_wire_and_in_why(known):
    """U39, U42: who is asked for a name, who is known and refused all the same; and which of it `why` says."""
    port = known.origin.port
    table = [  # host, user with labels, listener; status, reason, rule; what why is given
        ("a.test", None, 0, 407, "auth-needed", None, []),
        ("a.test", "jane", 0, 200, None, "testers", ["--user", "jane"]),
        ("a.test", "bob", 0, 403, "denied", None, ["--user", "bob"]),
        ("b.test", "jane+red", 0, 200, None, "reds", ["--user", "jane", "--labels", "red"]),
        ("b.test", "jane", 0, 403, "denied", None, ["--user", "jane"]),
        ("b.test", "bob+red", 0, 403, "denied", None, ["--user", "bob", "--labels", "red"]),
        ("c.test", None, 0, 200, None, "named", []),
        ("c.test", None, 1, 407, "auth-needed", None, ["--listener", "strict"]),
        ("no.test", None, 0, 403, "denied", None, []),
        ("no.test", None, 1, 407, "auth-needed", None, ["--listener", "strict"]),
    ]
    known.dns.answer("no.test", a=["127.8.0.1"])
    for n, (host, user, listener, status, reason, rule, args) in enumerate(table):
        listen = next(i for i, at in enumerate(known.ginnel.listeners) if at[0] == f"127.0.0.{listener + 1}")
        with known.client(listen) as client:
            answer = client.ask(request("GET", f"http://{host}:{port}/", *([basic(user)] if user else [])))
        record = known.record(n)
        told = known.why(*args, f"http://{host}:{port}/")
        assert answer.status == status, (host, user, answer)
        assert (told["answer"], told.get("reason"), told.get("status", 200)) == ("allow" if status == 200 else "deny", reason, status), (host, user, told)
        if status != 407:
            assert record["ginnel.rule"] == told["rule"] and (not rule or rule == told["rule"]), (record, told)
    told = known.why("--user", "bob", f"http://a.test:{port}/")
    assert "fails at `group`" in told["detail"] and told["way"] == f"- {{allow: a.test, port: {port}, user: bob}}"
    assert known.why("--user", "mallory", f"http://a.test:{port}/")["users"].startswith("not in the file")
    assert {target["reason"] for target in denied(known.ginnel)["targets"]} == {"auth-needed", "denied"}
    assert "pw" not in known.ginnel.command("denied", "--json").stdout


def test_why_knows_whose_limit_it_is(known):
    """The buckets of the user and of the group: the wire and why mean the same ones."""
    for host, name, reason in (("d.test", "own", "for each user (jane)"), ("a.test", "crew", "for each group (qa)")):
        target = f"{host}:{known.origin.port}"
        assert known.why("--user", "jane", target)["answer"] == "allow"
        with known.client() as one, known.client() as two:
            port = two.sock.getsockname()[1]
            assert one.ask(request("CONNECT", target, basic("jane"))).status == 200
            assert two.ask(request("CONNECT", target, basic("jane"))).status == 429
            (record,), told = known.ginnel.wait_access(1, {"client.port": port}), known.why("--user", "jane", target)
            assert (told["answer"], told["reason"], told["rule"]) == ("deny", record["ginnel.end"], record["ginnel.rule"]) == ("deny", "limit-tunnels", name)
            assert reason in told["detail"], told
            assert known.why("--user", "bob", target).get("reason") == ("denied" if host == "a.test" else None)


def test_limits_and_tunnels_in_denied(known):
    """U39, U40: a limit says that it is one, and which; so does what ends a tunnel for what is inside."""
    port = known.origin.port
    with known.client() as client:
        assert client.ask(request("GET", f"http://e.test:{port}/")).status == 200
        answer = client.ask(request("GET", f"http://e.test:{port}/", "Accept: application/json"))
    body = json.loads(answer.body)
    assert answer.status == 429 and body["reason"] == "limit-requests" and body["place"].endswith(":16") and "few" in body["detail"] and answer.has("retry-after")
    told = known.why(f"http://e.test:{port}/")
    assert told["limits"] == ["few"] and told["limits_known"]
    with known.client() as one, known.client() as two:
        one.connect(f"c.test:{port}")
        assert two.ask(request("CONNECT", f"c.test:{port}")).status == 429
        one.send(hello("evil.test"))
        one.wait_ended()
    with known.client() as client:
        client.connect(f"d.test:{port}")
        client.send(b"SSH-2.0-x\r\n")
        client.wait_ended()
    known.ginnel.wait_access(5)
    reasons = {target["reason"]: target for target in denied(known.ginnel)["targets"]}
    assert set(reasons) == {"limit-requests", "limit-tunnels", "sni-denied", "protocol-denied"}, reasons
    assert reasons["sni-denied"]["rule"] == "named" and "sni: off" in reasons["sni-denied"]["way"]
    assert reasons["protocol-denied"]["rule"] == "tls-only" and "expect: any" in reasons["protocol-denied"]["way"]
    told = known.why("--sni", "evil.test", f"c.test:{port}")
    record, = known.ginnel.access({"ginnel.end": "sni-denied"})
    assert (told["reason"], told["rule"], told["place"]) == ("sni-denied", record["ginnel.rule"], f"{known.ginnel.config_path}:12")
    assert record["tls.client.server_name"] == "evil.test" and known.why(f"c.test:{port}")["sni"] == "strict"
    told = known.why(f"d.test:{port}")
    assert told["sni"] == "off" and told["expect"] == "tls"


# --- limits, as they are now -----------------------------------------------------------------------------------------

LIMITS = """\
workers: 1
name: wire
listen: 127.0.0.1:0
control: unix:@DIR@/control.sock
resolver: {servers: ["%(dns)s"]}
log: {access: "@DIR@/access.log", level: info}
timeouts: {drain: 1s, connect: 1s}
rules:
  - {deny: no.test, name: never}
  - {allow: .test, port: any, to: 127.8.0.0/16, name: tests}
limits:
  - {for: a.test, requests: 1/s, burst: 2, per: client, name: few}
  - {for: b.test, tunnels: 1, per: host}
  - {for: c.test, quota: 1B/day, per: rule, name: little}
  - {for: d.test, quota: 1B/day, at-limit: slow, name: slowly}
  - {for: e.test, requests: 1/s, per: connection, name: each}
  - {for: no.test, requests: 1/s, burst: 1, name: before}
  - {for: {host: f.test, to: 127.8.0.1}, tunnels: 1, name: there}
"""


@pytest.fixture
def limited():
    stage = Stage.__new__(Stage)
    stage.origin, stage.dns = Witness(), DnsServer()
    for name in ("a", "b", "c", "d", "e", "f", "no"):
        stage.dns.answer(f"{name}.test", a=["127.8.0.1"])
    stage.ginnel = Ginnel(LIMITS % {"dns": stage.dns.address})
    yield stage
    stage.origin.close()


def ask_quickly(stage, url, kind="json&", client="127.0.0.1"):
    """What the command asks, without the command: a token is back within a second."""
    with UnixClient(stage.ginnel.dir / "control.sock") as control:
        answer = control.ask(request("GET", f"/why?{kind}address=127.8.0.1&client={client}&url={url}", host="ginnel"))
    assert answer.status == 200, answer
    return json.loads(answer.body) if kind else answer.body.decode()


def use_up(stage, url):
    """Until the wire says 429. Returns that answer, and its record."""
    before = len(stage.ginnel.access())
    with stage.client() as client:
        for n in range(1, 20):
            answer = client.ask(request("GET", url))
            if answer.status == 429:
                return answer, before + n - 1
    raise AssertionError("nothing is limited")


def refused_now(stage, url, *kinds):
    """The wire refuses it, and then the questions are asked; anew, when that has taken so long that a token may be there again."""
    for _ in range(10):
        began = time.monotonic()
        answer, n = use_up(stage, url)
        told = [ask_quickly(stage, url, kind) for kind in kinds]
        if time.monotonic() - began < 0.9:
            return answer, stage.record(n), told
    pytest.skip("this machine is too slow for a limit of one a second")


def alike(answer, record, told, reason):
    """The same limit: its name or place, its reason, its words."""
    assert answer.status == 429 and record["ginnel.end"] == reason, (answer, record)
    assert (told["answer"], told["reason"], told["status"], told["rule"]) == ("deny", reason, 429, record["ginnel.rule"]), (told, record)
    assert record["ginnel.detail"] in told["detail"] and told["retry_s"] >= 1, (told, record)
    state = told["limit_state"][-1]
    assert state["refuses"] and state["limit"] == told["rule"] and state["reason"] == reason and state["place"] == told["place"], told


def refused_alike(stage, url, reason):
    """The wire refuses it now, and so does why."""
    with stage.client() as client:
        port = client.sock.getsockname()[1]
        method, target = ("GET", url) if url.startswith("http:") else ("CONNECT", url)
        answer = client.ask(request(method, target))
    told = stage.why(url)
    alike(answer, stage.ginnel.wait_access(1, {"client.port": port})[-1], told, reason)
    return answer, told


def test_why_knows_what_is_used_of_requests(limited):
    """U42, U39: what would get a 429 now is refused by why, for the same limit; a while later by neither. Asking takes nothing."""
    ginnel, url = limited.ginnel, f"http://a.test:{limited.origin.port}/"
    for _ in range(3):
        told = limited.why(url)
        assert told["answer"] == "allow" and told["limit_state"][0]["requests_left"] == 2, told
    answer, record, (told, text) = refused_now(limited, url, "json&", "")
    alike(answer, record, told, "limit-requests")
    assert record["ginnel.rule"] == "few" and told["walk"][-1]["stage"] == "clients" and told["limit_state"][0]["requests_left"] == 0
    assert told["retry_s"] == int(answer.value("retry-after")) == 1
    where = re.escape(place(ginnel, "name: few"))
    assert re.search(rf"^limits +{where} +few: requests 0 of 2 left, per client: refuses, for 1 s$", text, re.M), text
    assert re.fullmatch(rf"refused by few \({where}\): 429 limit-requests, .*; try again in 1 s", text.rstrip().split("\n")[-1]), text
    assert ask_quickly(limited, url, client="127.0.0.9")["limit_state"][0]["requests_left"] == 2  # another client's bucket
    eventually(lambda: limited.why(url)["limit_state"][0]["requests_left"] == 2, within=20)
    assert limited.why(url)["answer"] == "allow"
    with limited.client() as client:
        assert client.ask(request("GET", url)).status == 200


def test_why_judges_limits_where_they_are_judged(limited):
    """Requests are counted before the rules: also of what these refuse; tunnels after them, when the address is known."""
    port = limited.origin.port
    url = f"http://no.test:{port}/"
    assert limited.why(url)["reason"] == "denied"
    answer, record, (told,) = refused_now(limited, url, "json&")
    alike(answer, record, told, "limit-requests")
    assert told["rule"] == "before"
    with limited.client() as one:
        one.connect(f"f.test:{port}")
        answer, told = refused_alike(limited, f"f.test:{port}", "limit-tunnels")
        assert told["rule"] == "there" and told["walk"][-1]["stage"] == "private"


def test_why_knows_the_tunnels(limited):
    target = f"b.test:{limited.origin.port}"
    assert limited.why(target)["answer"] == "allow"
    with limited.client() as one:
        one.connect(target)
        answer, told = refused_alike(limited, target, "limit-tunnels")
        assert told["limit_state"][-1]["tunnels_open"] == 1 and told["rule"] == place(limited.ginnel, "for: b.test")
        assert limited.why(f"http://{target}/")["answer"] == "allow"  # that is no tunnel
    eventually(lambda: limited.why(target)["answer"] == "allow")


def test_why_knows_the_quota(limited):
    port = limited.origin.port
    for host in ("c", "d"):
        assert limited.why(f"http://{host}.test:{port}/")["answer"] == "allow"
        with limited.client() as client:
            assert client.ask(request("GET", f"http://{host}.test:{port}/")).status in (200, 429)
            client.close()
    eventually(lambda: limited.why(f"http://c.test:{port}/")["answer"] == "deny")
    answer, told = refused_alike(limited, f"http://c.test:{port}/", "quota")
    assert told["limit_state"][-1]["quota_used"] >= 1 and abs(told["retry_s"] - int(answer.value("retry-after"))) <= 60
    told = limited.why(f"http://d.test:{port}/")
    assert told["answer"] == "allow" and told["limit_state"][0]["quota_used"] >= 1, told  # only slow


def test_why_charges_nothing(limited):
    """A hundred questions: no bucket, no token."""
    url = f"http://a.test:{limited.origin.port}/"

    def buckets():
        with UnixClient(limited.ginnel.dir / "control.sock") as client:
            return re.findall(r"^\w*limit_\w*bucket.*", client.ask(request("GET", "/metrics", host="ginnel")).body.decode(), re.M)

    before = buckets()
    assert before
    with UnixClient(limited.ginnel.dir / "control.sock") as client:
        for i in range(100):
            answer = client.ask(request("GET", f"/why?json&address=127.8.0.1&client=127.0.0.{1 + i % 2}&url={url}", host="ginnel"))
            assert json.loads(answer.body)["limit_state"][0]["requests_left"] == 2, answer
    assert buckets() == before
    with limited.client() as client:
        assert [client.ask(request("GET", url)).status for _ in range(2)] == [200, 200]


def test_what_why_cannot_know_of_limits(limited):
    """Whose connection it would be; what is used, of a file."""
    url = f"http://e.test:{limited.origin.port}/"
    ran = limited.ginnel.command("why", "--running", url)
    assert ran.returncode == 0 and "each: requests, per connection: counts per connection: not looked at" in ran.stdout, ran
    told = limited.why(url)
    assert told["limit_state"] == [{"limit": "each", "place": place(limited.ginnel, "name: each"), "per": "connection", "looked_at": False,
                                    "requests": 1, "burst": 1, "pace": False, "refuses": False}], told
    use_up(limited, f"http://no.test:{limited.origin.port}/")
    args = ["why", "-c", str(limited.ginnel.config_path), "--address", "127.8.0.1"]
    ran = run_ginnel(*args, f"http://no.test:{limited.origin.port}/")
    assert ran.returncode == 1 and "refused by never" in ran.stdout and "known only to the running ginnel" in ran.stdout, ran
    told = json.loads(run_ginnel(*args, "--json", url).stdout)
    assert told["limits"] == ["each"] and told["limits_known"] is False and "limit_state" not in told
