# SPDX-License-Identifier: MIT
"""Parents in the configuration: what `check` says, what `config show` shows and hides, and that `why` says which way a request goes that then goes it."""

import json
import pathlib
import re
import socket

import pytest

from harness import DnsServer, Ginnel, HttpOrigin, request, run_ginnel

EXAMPLES = pathlib.Path(__file__).parents[2] / "dist" / "examples"


def dead_port():
    """Nobody listens there."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def check(config, code=0):
    ran = run_ginnel("check", config=config)
    assert ran.returncode == code, ran
    return ran.stdout + ran.stderr


# --- check ---------------------------------------------------------------------------------------------------------


def test_the_example_is_accepted():
    text = (EXAMPLES / "parents.yaml").read_text()
    assert "warning" not in check(text)
    written_out = re.sub(r"^#(  |trust)", r"\1", text, flags=re.M)
    assert check(written_out.replace("/etc/ginnel", "/nowhere"), 78).count("/nowhere/") == 4  # two files, each in its line and its message


def test_what_goes_past_parents_is_warned_of():
    """U4: what no entry is about goes direct"""
    said = check("upstream:\n  - {for: .corp.test, via: \"http://p.test:3128\"}\n")
    assert "goes direct, past the proxies" in said and "ginnel.yaml:2:5" in said and "- deny" in said
    assert "warning" not in check("upstream:\n  - {for: .corp.test, via: \"http://p.test:3128\"}\n  - deny\n")


def test_own_listener_is_refused():
    said = check("listen: 0.0.0.0:3128\nclients: 10.0.0.0/8\nupstream: {via: \"http://127.0.0.1:3128\"}\n", 78)
    assert "is this ginnel itself" in said


@pytest.mark.parametrize("auth", ["{basic: \"anna:geheim\"}", "{basic: geheim}", "{basci: \"anna:geheim\"}", "\"anna:geheim\"", "[geheim]"])
def test_a_password_is_in_no_message(auth):
    """S001-14: not where it is wrong, nor where something beside it is"""
    said = check(f"upstream: {{via: \"http://p.test:3128\", auth: {auth}, bnd: 1}}\n", 78)
    assert "did you mean `bind`?" in said and "geheim" not in said
    said = check("upstream: {via: \"http://anna:geheim@p.test:3128\"}\n", 78)
    assert "no credentials in the URL of a proxy" in said and "geheim" not in said


# --- config show ---------------------------------------------------------------------------------------------------

SHOWN = """\
upstream:
  - {for: .direct.test, via: direct}
  - for: .corp.test
    via: ["http://P1.test:8080/", {url: "https://p2.test", auth: {basic: "anna:geheim"}}, direct]
    resolve: local
  - {for: .file.test, via: "http://p3.test:3128", auth: {basic: {file: parent.password}}}
  - chain: ["http://[2001:DB8::1]:3128", "http://p4.test:3128"]
origins: [{for: p2.test, min: 1.3}]
h2: {streams: 7}
"""


def test_what_is_shown_loads_again(tmp_path):
    """… but for what is secret"""
    (tmp_path / "parent.password").write_text("anna:geheim\n")
    file = tmp_path / "ginnel.yaml"
    file.write_text(SHOWN)
    shown = run_ginnel("config", "show", "-c", file).stdout
    assert "geheim" not in shown and "Basic" not in shown and f"file: {tmp_path}/parent.password" in shown
    for words in ('- url: "http://p1.test:8080"', '- url: "https://p2.test:443"', "# auth:", "resolve: local", "chain:", '"http://[2001:db8::1]:3128"',
                  "via: direct", "- direct", "min: 1.3", "streams: 7", "resets: 100/s", "trust: system"):
        assert words in shown, words
    file.write_text(shown)
    again = run_ginnel("config", "show", "-c", file).stdout
    assert again.replace("# auth: what is written in the configuration, which is not shown", "") == re.sub(r" *# auth: what .*\n", "", shown) or again.count("url:") == 5
    defaults = run_ginnel("config", "show", "--defaults").stdout
    for words in ("trust: system", "streams: 256", 'window-max: 8MB', "# upstream: none", "# origins: none"):
        assert words in defaults, words


# --- why, for a file -----------------------------------------------------------------------------------------------

WAYS = """\
private: allow
rules:
  - {deny: 10.0.0.0/8, name: inside}
  - {allow: any, port: any}
upstream:
  - {for: .deny.test, deny: yes}
  - {for: .direct.test, via: direct}
  - {for: .local.test, via: "https://p1.test:8443", resolve: local}
  - {for: .chain.test, chain: ["http://p1.test:3128", "https://p2.test:8443"]}
  - {for: .name.test, via: ["https://p2.test:8443", "http://p3.test:3128", direct]}
  - {for: {to: 192.0.2.0/24}, via: "http://p4.test:3128"}
origins: [{for: p2.test, min: 1.3}, {for: p1.test, verify: no}]
"""


def why(url, *args, config=WAYS):
    ran = run_ginnel("why", url, *args, config=config)
    return re.sub(r"/\S*/ginnel\.yaml", "f", ran.stdout)


def test_ways_in_words():
    """U4 U42: which entry, which alternatives in their order, what is judged where"""
    said = why("http://x.deny.test/")
    assert re.search(r"^upstream +f:6 +deny +yes$", said, re.M) and "upstream-denied" in said and "refused by f:6: 403" in said
    said = why("x.name.test:443")
    assert re.search(r"^upstream +f:6 +deny +no: host\n +f:7 +direct +no: host\n +f:8 +via +no: host\n +f:9 +chain +no: host\n +f:10 +via +yes$", said, re.M), said
    assert re.search(r"^through +https://p2\.test:8443 \(TLS as f:12 says\)\n +http://p3\.test:3128\n +nothing: direct$", said, re.M), said
    assert re.search(r"^name +looked up by the proxy that is asked", said, re.M), said
    assert "allowed by the rule at f:4" in said
    said = why("x.chain.test:443")
    assert re.search(r"^through +http://p1\.test:3128, behind it https://p2\.test:8443 \(TLS as f:12 says\)$", said, re.M), said
    said = why("x.local.test:443", "--address", "192.0.2.7")
    assert "https://p1.test:8443 (not verified, TLS as f:12 says)" in said and "the proxy is sent the address that was judged" in said
    assert "refused by inside" in why("x.local.test:443", "--address", "10.0.0.7")
    said = why("else.test:443", "--address", "192.0.2.7")
    assert re.search(r"f:11 +via +yes$", said, re.M) and "http://p4.test:3128" in said, said
    said = why("else.test:443", "--address", "198.51.100.7")
    assert re.search(r"f:11 +via +no: to\n +none of them: direct$", said, re.M), said


def test_no_name_is_looked_up_for_a_parent():
    """A range in a deny is then about literals only: the same name, towards each"""
    assert "allowed" in why("x.name.test:443").splitlines()[-1]
    assert "refused by inside" in why("10.0.0.7:443")
    dns = DnsServer()
    dns.answer("x.direct.test", a=["10.0.0.7"])
    config = WAYS + f'resolver: {{servers: ["{dns.address}"]}}\n'
    assert "refused by inside" in why("x.direct.test:443", config=config)
    asked = len(dns.queries)
    assert asked and "allowed" in why("x.name.test:443", config=config) and len(dns.queries) == asked


def test_expectations(tmp_path):
    """check --test: `via` is the proxy that is asked first"""
    (tmp_path / "ginnel.yaml").write_text(WAYS)
    good = [{"url": "x.name.test:443", "expect": "allow", "via": "https://P2.test:8443/"}, {"url": "x.direct.test:443", "expect": "allow", "via": "direct"},
            {"url": "x.chain.test:443", "expect": "allow", "via": "http://p1.test:3128"}, {"url": "x.deny.test:443", "expect": "deny", "reason": "upstream-denied"},
            {"url": "x.test:443", "address": "192.0.2.1", "expect": "allow", "via": "http://p4.test:3128"}, {"url": "x.test:443", "expect": "allow", "via": "direct"}]
    (tmp_path / "good").write_text(json.dumps(good))
    ran = run_ginnel("check", tmp_path / "ginnel.yaml", "--test", tmp_path / "good")
    assert ran.returncode == 0 and "6 expectations, 0 failed" in ran.stdout, ran
    (tmp_path / "bad").write_text(json.dumps([{"url": "x.name.test:443", "expect": "allow", "via": "direct"}, {"url": "x.deny.test:443", "expect": "deny", "via": "direct"}]))
    ran = run_ginnel("check", tmp_path / "ginnel.yaml", "--test", tmp_path / "bad")
    assert ran.returncode != 0 and "2 failed" in ran.stdout and ", via direct" in ran.stdout, ran
    (tmp_path / "wrong").write_text(json.dumps([{"url": "x.name.test:443", "expect": "allow", "via": "p2.test:8443"}]))
    assert "via: \"p2.test:8443\" is none" in run_ginnel("check", tmp_path / "ginnel.yaml", "--test", tmp_path / "wrong").stderr


# --- why, and what happens -----------------------------------------------------------------------------------------


class Stage:
    """A ginnel with two parents and one that is dead, an origin, and names."""

    def __init__(self):
        self.origin, self.first, self.second = HttpOrigin(), HttpOrigin(), HttpOrigin()
        self.dead = dead_port()
        self.dns = DnsServer()
        for name in ("x.direct.test", "x.local.test", "x.second.test", "x.test"):
            self.dns.answer(name, a=["127.0.0.1"])
        self.dns.answer("nine.test", a=["127.9.0.1"])
        self.dns.answer("inside.local.test", a=["127.8.0.1"])
        first, second = f"http://{self.first.authority}", f"http://{self.second.authority}"
        self.ginnel = Ginnel({
            "workers": 1, "private": "allow", "resolver": {"servers": [self.dns.address]},
            "rules": [{"deny": "127.8.0.0/16", "name": "eight"}, {"allow": "any", "port": "any"}],
            "upstream": [
                {"for": ".deny.test", "deny": True},
                {"for": ".direct.test", "via": "direct"},
                {"for": ".local.test", "via": first, "resolve": "local"},
                {"for": ".name.test", "via": [f"http://127.0.0.1:{self.dead}", first]},
                {"for": ".either.test", "via": ["direct", second]},
                {"for": {"to": "127.9.0.0/16"}, "via": second},
                {"for": ".nowhere.test", "via": first},
            ]})

    def url(self, name):
        return f"http://{name}:{self.origin.port}/"

    def why(self, name):
        ran = self.ginnel.command("why", "--running", "--json", self.url(name))
        assert ran.returncode in (0, 1, 68), ran
        return json.loads(ran.stdout)

    def ask(self, name):
        before = len(self.ginnel.access())
        with self.ginnel.client() as client:
            client.ask(request("GET", self.url(name)))
        return self.ginnel.wait_access(before + 1)[before]


@pytest.fixture
def stage():
    return Stage()


# name, what why answers, the end, which parent: "" direct, None nobody is asked
CASES = [
    ("x.name.test", "allow", "ok", "first"),
    ("x.deny.test", "deny", "upstream-denied", None),
    ("x.direct.test", "allow", "ok", ""),
    ("x.local.test", "allow", "ok", "first"),
    ("inside.local.test", "deny", "denied", None),
    ("none.local.test", "unresolved", "dns-error", None),
    ("x.either.test", "allow", "ok", "second"),
    ("nine.test", "allow", "ok", "second"),
    ("x.test", "allow", "ok", ""),
    ("x.nowhere.test", "allow", "ok", "first"),
    ("127.9.0.1", "allow", "ok", "second"),
    ("127.0.0.1", "allow", "ok", ""),
    ("127.8.0.1", "deny", "denied", None),
    ("none.test", "unresolved", "dns-error", None),
]


def agrees(stage, name, answer, end, parent):
    told = stage.why(name)
    assert told["answer"] == answer, told
    asked = len(stage.dns.queries)
    record = stage.ask(name)
    expected = {"first": stage.first, "second": stage.second}.get(parent)
    assert record.get("ginnel.via", "") == (f"http://{expected.authority}" if expected else ""), name
    if answer == "deny":
        assert told["reason"] == record["ginnel.end"] == end, name
    elif answer == "unresolved":
        assert record["ginnel.end"] == end, name
    ways = [way["hops"] for way in told.get("ways", [])]
    if expected:
        assert [{"url": f"http://{expected.authority}"}] in ways and told["upstream"].startswith(str(stage.ginnel.config_path)), name
    if name == "x.name.test":
        assert told["lookup_by"] == "proxy" and len(stage.dns.queries) == asked


def test_what_why_says_is_what_happens(stage):
    """U42: the way that is told is the way that is gone; who looks the name up does"""
    for case in CASES:
        agrees(stage, *case)


def test_a_parent_that_failed_comes_last(stage):
    """U12: from the running instance, for half a minute; a file knows nothing of it"""
    order = [f"http://127.0.0.1:{stage.dead}", f"http://{stage.first.authority}"]
    told = stage.why("x.name.test")
    assert [way["hops"][0]["url"] for way in told["ways"]] == order and [way["failed_lately"] for way in told["ways"]] == [False, False]
    assert told["lookup_by"] == "proxy"
    assert stage.ask("x.name.test")["ginnel.via"] == order[1]
    told = stage.why("x.name.test")
    assert [way["hops"][0]["url"] for way in told["ways"]] == order[::-1] and [way["failed_lately"] for way in told["ways"]] == [False, True]
    said = stage.ginnel.command("why", "--running", stage.url("x.name.test")).stdout
    assert f"{order[0]}: failed a moment ago, so it comes last" in said
