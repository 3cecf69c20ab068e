# SPDX-License-Identifier: MIT
"""From watching to enforcing: rules made from a log allow exactly what it has seen; what a file would change is known before; expectations are tested."""

import json
import subprocess

import pytest

from harness import DnsServer, Ginnel, binary, free_port, request, run_ginnel, scaled
from harness.everywhere import Witness
from harness.ginnel import environment

CONFIG = """\
workers: 1
name: wire
listen: [127.0.0.1:0]
control: unix:@DIR@/control.sock
resolver: {servers: ["%(dns)s"]}
log: {access: "@DIR@/access.log", level: info}
timeouts: {drain: 1s, connect: 1s}
private: %(private)s
"""
NAMES = {"a.test": "127.8.0.1", "b.test": "127.8.0.1", "c.test": "127.8.0.2", "d.test": "127.8.0.1"}


@pytest.fixture
def world():
    """Two origins, names, and what starts a proxy in front of them."""
    first, second, dns = Witness(), Witness(), DnsServer()
    for name, address in NAMES.items():
        dns.answer(name, a=[address])

    def start(more="", private="deny"):
        return Ginnel(CONFIG % {"dns": dns.address, "private": private} + more)

    start.ports = (first.port, second.port)
    yield start
    first.close()
    second.close()


def status(ginnel, method, host, port):
    with ginnel.client() as client:
        return client.ask(request(method, f"{host}:{port}" if method == "CONNECT" else f"http://{host}:{port}/")).status


def from_log(path, *args, stdin=None):
    return run_ginnel("policy", "from-log", *args, path, within=15) if stdin is None else subprocess.run(
        [binary(), "policy", "from-log", *args], input=stdin, env=environment("/tmp"), capture_output=True, timeout=scaled(15), check=False)


def test_watch_then_enforce(world):
    """U52: report, write the rules, enforce: what was seen passes, and nothing else; before it is enforced, --against says so."""
    first, second = world.ports
    watching = world("policy: {mode: report}\nrules: []\n", private="allow")
    seen = [("GET", "a.test", first), ("CONNECT", "a.test", second), ("GET", "b.test", first), ("GET", "127.8.0.2", second), ("GET", "c.test", first)]
    for each in seen:
        assert status(watching, *each) == 200
    assert status(watching, "GET", "nosuch.test", 80) == 502
    watching.wait_access(6)
    records = watching.access({"ginnel.end": "done"})
    assert all(record["ginnel.would_deny"] for record in records) and "ginnel.rule" not in records[0]
    made = from_log(watching.access_path)
    assert made.returncode == 0 and not made.stderr and made.stdout.startswith("# what 5 of 6 requests need\nrules:\n")
    assert from_log(watching.access_path, "--would").stdout == made.stdout
    enforcing = world(made.stdout)
    for method in ("GET", "CONNECT"):
        for host in (*NAMES, "127.8.0.1", "127.8.0.2"):
            for port in world.ports:
                expected = 200 if any(each[1:] == (host, port) for each in seen) else 403
                assert status(enforcing, method, host, port) == expected, (method, host, port, made.stdout)
    file = watching.dir / "next.yaml"
    file.write_text(made.stdout)
    same = run_ginnel("check", "--against", watching.access_path, file)
    assert same.returncode == 0 and same.stdout == "6 requests judged, 1 changed\n" or same.returncode == 1 and "nosuch.test:80" in same.stdout, same
    file.write_text(made.stdout.replace("a.test", "d.test"))
    changed = run_ginnel("check", "--against", watching.access_path, file)
    assert changed.returncode == 1 and f"a.test:{first}  refused by {file}:2: 403 denied" in changed.stdout
    assert changed.stdout.startswith("3 requests would be refused:\n") and changed.stdout.endswith("6 requests judged, 3 changed\n"), changed.stdout


def test_against_says_what_would_pass(world):
    """U42: the other direction, too; and an address that was refused is not in the log, so that nobody claims to know."""
    first, _ = world.ports
    ginnel = world(f"rules: [{{allow: a.test, port: {first}, to: 127.8.0.0/16}}, {{allow: b.test, port: {first}}}]\n")
    for host, expected in (("a.test", 200), ("b.test", 403), ("d.test", 403), ("127.8.0.1", 403)):
        assert status(ginnel, "GET", host, first) == expected
    ginnel.wait_access(4)
    unchanged = run_ginnel("check", "--against", ginnel.access_path, ginnel.config_path)
    assert unchanged.returncode == 0 and unchanged.stdout == "3 requests judged, 0 changed; 1 could not be judged\n", unchanged
    file = ginnel.dir / "next.yaml"
    file.write_text(f"rules: [{{allow: [.test, 127.8.0.1], port: {first}, name: wide}}]\n")
    changed = run_ginnel("check", "--against", ginnel.access_path, file)
    assert changed.returncode == 1
    assert changed.stdout == (f"1 request would be refused:\n       1  a.test:{first}  refused by private: 403 address-denied, the target's address, "
                              "127.8.0.1, is in 127.0.0.0/8 (loopback), which `private` keeps closed\n"
                              f"2 requests would pass:\n       1  127.8.0.1:{first}  allowed by wide ({file}:1)\n"
                              f"       1  d.test:{first}  allowed by wide ({file}:1)\n"
                              "3 requests judged, 3 changed; 1 could not be judged\n")


def line(host, port=443, peer="93.184.216.34", **more):
    record = {"time": "2026-11-21T10:00:00.000Z", "client.address": "127.0.0.1", "http.request.method": "CONNECT", "server.address": host,
              "server.port": port, "network.peer.address": peer, "ginnel.end": "tunnel-done", **more}
    return json.dumps({key: value for key, value in record.items() if value is not None}) + "\n"


def rules_of(text):
    """What is written, without the comment."""
    return text.split("\n", 1)[1]


def test_the_smallest_rules(tmp_path):
    """U52: hosts with the same ports are one rule; the usual two ports need no word; a private address is written down."""
    log = tmp_path / "log"
    log.write_text("".join([line("b.test"), line("a.test"), line("a.test"), line("web.test"), line("web.test", 80), line("db.test", 5432, "10.0.0.5"),
                            line("db.test", 5432, "10.0.0.6"), line("2001:db8::1"), line("any"), line("Odd.TEST", 8443), line("odd.test", 9443)]))
    made = from_log(log)
    assert rules_of(made.stdout) == """\
rules:
  - allow: db.test
    port: 5432
    to: [10.0.0.5, 10.0.0.6]
  - allow: web.test
  - allow:
      - "2001:db8::1"
      - a.test
      - .any
      - b.test
    port: 443
  - allow: odd.test
    port: [8443, 9443]
"""
    (tmp_path / "rules.yaml").write_text(made.stdout)
    assert run_ginnel("check", tmp_path / "rules.yaml").returncode == 0
    assert from_log(None, stdin=log.read_bytes()).stdout.decode() == made.stdout == from_log(log, "--would").stdout.replace(
        "# what 0 of 11 requests need\nrules: []\n", made.stdout)


def test_suffixes_and_users(tmp_path):
    """Folding is asked for, and needs many names under what somebody registers; co.uk is nobody's. Users are asked for, too."""
    log = tmp_path / "log"
    log.write_text("".join([line(f"h{i}.cdn.example.org") for i in range(8)] + [line(f"h{i}.co.uk") for i in range(8)] +
                           [line(f"h{i}.few.test") for i in range(7)] + [line("u.test", **{"user.name": 'ja"ne'}), line("u.test", **{"user.name": "bob"})]))
    exact = from_log(log).stdout
    assert exact.count("cdn.example.org") == 8 and "user" not in exact
    folded = from_log(log, "--suffixes").stdout
    assert "      - .example.org\n" in folded and "cdn" not in folded and folded.count("few.test") == 7 and folded.count(".co.uk") == 8
    users = from_log(log, "--per-user").stdout
    assert '  - allow: u.test\n    port: 443\n    user: "ja\\"ne"\n' in users and "    user: bob\n" in users
    (tmp_path / "rules.yaml").write_text(folded)
    assert run_ginnel("check", tmp_path / "rules.yaml").returncode == 0


def test_what_is_no_evidence(tmp_path):
    """Refused, never dialled, not over: nothing is written for those."""
    log = tmp_path / "log"
    log.write_text(line("no.test", **{"ginnel.end": "denied"}) + line("gone.test", peer=None, **{"ginnel.end": "dns-error"}) +
                   line("begun.test", **{"ginnel.event": "begin", "ginnel.end": None}) + line(None) + "ginnel: info: ready: 2 workers\n\n")
    made = from_log(log)
    assert made.returncode == 0 and made.stdout == "# what 0 of 2 requests need\nrules: []\n" and not made.stderr


HOSTILE = [b"{", b"{}", b"[]", b"null", b'"', b'{"time":', b'{"time":"x"', b'{"time":"x",}', b'{"time":{"a":1}}', b'{"time":"\\', b'{"time":"\\u12"}',
           b'{"time":"\\ud800","server.address":"a","server.port":1,"ginnel.end":1}x', b"\xff\xfe", b"{" * 1000, b'{"a":' * 1000, b"x" * 70000,
           b'{"time":"x","server.address":"a","server.port":99999,"ginnel.end":"done"}', b'{"time":"x","server.address":"a","server.port":"-1"}',
           b"93.184.216.34 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.1\" 200 1", b"\0" * 100]


def test_bad_lines(tmp_path):
    """Bad input: counted, the first ones named, nothing of them shown; a log of nothing else is an error; good lines still count."""
    log = tmp_path / "lo\x1b[31mg"
    log.write_bytes(b"\n".join(HOSTILE) + b"\n")
    for args in (("policy", "from-log", log), ("check", "--against", log)):
        ran = run_ginnel(*args)
        assert ran.returncode == 65 and not ran.stdout and "\x1b" not in ran.stderr, ran
        assert "20 of 20 lines are no lines of an access log in format json: line 1, 2, 3, ..." in ran.stderr
    log.write_bytes(b"\n".join(HOSTILE) + b"\n" + line("a.test").encode() + b'{"time":"x"')
    ran = from_log(log)
    assert ran.returncode == 0 and rules_of(ran.stdout) == "rules:\n  - allow: a.test\n    port: 443\n" and "21 of 22" in ran.stderr
    names = ["x y", "a\nb", "a: b", "\x1b[31m", "'", '"', "x" * 300, "[::1", "..", "a..b", "%zz", "*", "#", "\u00e4" * 100, "-", ".", "{a}", "999.1.1.1", "&x"]
    log.write_text("".join(line(name) for name in names))
    ran = from_log(log)
    assert ran.returncode == 0 and "\x1b" not in ran.stdout and "\x1b" not in ran.stderr
    (tmp_path / "rules.yaml").write_text(ran.stdout)
    assert run_ginnel("check", tmp_path / "rules.yaml").returncode == 0, ran.stdout
    assert run_ginnel("check", "--against", log).returncode in (0, 1)
    assert run_ginnel("policy", "from-log", tmp_path / "none").returncode == 66 == run_ginnel("check", "--against", tmp_path / "none").returncode
    assert run_ginnel("policy", "from-log", tmp_path).returncode in (65, 74)


# --- expectations ----------------------------------------------------------------------------------------------------

POLICY = """\
listen: 127.0.0.1:3128
clients: [127.0.0.0/8, 10.0.0.0/8]
rules:
  - {deny: ads.test, name: ads}
  - {allow: .corp.test, to: 10.0.0.0/8, from: 10.1.0.0/16, name: inner}
  - {allow: api.test, time: "mon-fri 08:00-18:00", name: hours}
  - {allow: .open.test}
"""
MET = """\
- {url: "http://ads.test/", expect: deny, rule: ads, reason: denied}
- {url: "https://x.corp.test/", client: 10.1.2.3, addresses: [10.0.0.5], expect: allow, rule: inner}
- {url: "https://x.corp.test/", client: 10.1.2.3, expect: deny}
- {url: "https://x.corp.test/", client: 10.2.2.3, address: 10.0.0.5, expect: deny}
- {url: "https://x.open.test/", addresses: [10.0.0.5], expect: deny, reason: address-denied}
- {url: "https://x.open.test/", addresses: [10.0.0.5, 192.88.1.1], expect: allow}
- {url: "https://x.open.test/", sni: evil.test, expect: deny, reason: sni-denied}
- {url: "x.open.test:8443", expect: deny}
- {url: "https://api.test/", time: 2026-11-23T10:00, expect: allow}
- {url: "https://api.test/", time: 2026-11-22T10:00, expect: deny}
- url: http://x.open.test/a?b
  client: 192.0.2.1
  expect: deny
  reason: not-admitted
"""


@pytest.fixture
def policy(tmp_path):
    (tmp_path / "ginnel.yaml").write_text(POLICY)
    return tmp_path


def run_test(policy, text):
    (policy / "test.yaml").write_text(text)
    return run_ginnel("check", "--test", policy / "test.yaml", policy / "ginnel.yaml")


def test_expectations(policy):
    """U42: a policy is tested like code."""
    ran = run_test(policy, MET)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "11 expectations, 0 failed\n", "")
    ran = run_test(policy, "[]")
    assert (ran.returncode, ran.stdout) == (0, "0 expectations, 0 failed\n")


def test_expectations_that_fail(policy):
    """Each with its line, and the end of the walk."""
    ran = run_test(policy, MET.replace("expect: deny, rule: ads", "expect: allow").replace("rule: inner", "rule: other"))
    assert ran.returncode == 1 and ran.stdout.endswith("11 expectations, 2 failed\n") and not ran.stderr
    first, second = f"{policy}/test.yaml:1: http://ads.test/: expected allow", f"{policy}/test.yaml:2: https://x.corp.test/: expected allow by other\n"
    assert first in ran.stdout and second in ran.stdout
    assert f"    refused by ads ({policy}/ginnel.yaml:4): 403 denied, the rule ads refuses ads.test:80\n" in ran.stdout
    assert f"    allowed by inner ({policy}/ginnel.yaml:5)\n" in ran.stdout


def test_wrong_expectations(policy):
    """Bad input: every fault at once with its place, 78, and nothing is judged."""
    ran = run_test(policy, "- {url: 'http://a/', expct: deny}\n- {url: foo, expect: maybe}\n- {expect: allow}\n- text\n- {url: 'a:1'}\n"
                   "- {url: 'a:1', client: x, header: y, address: [z], reason: bogus, rule: [a], expect: deny}\n- {url: 'a:1', listener: no, expect: deny}\n")
    assert ran.returncode == 78 and not ran.stdout
    for says in ("test.yaml:1:22: there is no member \"expct\"", "did you mean `expect`", "test.yaml:2:9: url:", "test.yaml:2:22: expect:", "test.yaml:3:3: there is no URL",
                 "test.yaml:4:3: an expectation is a map", "test.yaml:5:3: it says nothing of what is expected", ":6:24: client:", ":6:35: header:",
                 "address:", "reason: \"bogus\"", "rule: expected a text", "test.yaml:7:3: there is no listener"):
        assert says in ran.stderr, (says, ran.stderr)
    for text in ("", "a: b", "- [", "\x00", "x"):
        assert run_test(policy, text).returncode == 78, text
    assert run_ginnel("check", "--test", policy / "none.yaml", policy / "ginnel.yaml").returncode == 66
    (policy / "ginnel.yaml").write_text("rulez: []\n")
    assert run_test(policy, MET).returncode == 78
