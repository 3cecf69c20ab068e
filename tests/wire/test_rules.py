# SPDX-License-Identifier: MIT
"""The rules on the wire: tables of rules, and of what passes and what does not. One proxy serves all of them, one after the other.

A request is written as `GET host[:port][/path] [@client] [#listener] [Field: value]`; the port is the origin's unless it is given. What is
expected is `pass`, the number of the rule that refuses, or `final`: no rule matched. Every name leads to 127.0.0.77, those in ADDRESSES elsewhere."""

import json
import re
import time

import pytest

from harness import Client, DnsServer, Ginnel, UnixClient, eventually, parse_proxy_status, request, run_ginnel, scope
from harness.everywhere import Witness

ADDRESSES = {
    "in.m.test": ["127.8.0.1"],
    "out.m.test": ["127.9.0.1"],
    "both.m.test": ["127.9.0.1", "127.8.0.1"],
    "five.test": ["127.8.1.5"],
    "six.test": ["127.8.1.6"],
}
HEAD = """\
workers: 1
name: wire
listen: [127.0.0.1:0, {address: 127.0.0.2:0, name: lan}]
resolver: {servers: ["%(dns)s"]}
log: {access: "@DIR@/access.log", level: info}
timeouts: {drain: 1s, connect: 1s}
private: allow
ports: [80, 443, %(port)d]
"""


def minutes(offset):
    return time.strftime("%H:%M", time.localtime(time.time() + 60 * offset))


NOW, LATER = f"{minutes(-180)}-{minutes(180)}", f"{minutes(300)}-{minutes(600)}"

TABLES = {
    # --- order
    "the first match decides (U1 U42)": ("""
  - deny: [bad.a.test, .worse.a.test]
  - allow: .a.test
  - deny: any
  - allow: b.test
""", """
GET bad.a.test              1
CONNECT bad.a.test          1
GET x.worse.a.test          1
GET BAD.a.TEST              1
GET good.a.test             pass
CONNECT good.a.test         pass
GET a.test                  pass
GET xa.test                 3
GET a.test.evil.test        3
GET b.test                  3
"""),
    "a deny behind the allow is too late (U1)": ("""
  - allow: .a.test
  - deny: bad.a.test
""", """
GET bad.a.test              pass
GET b.test                  final
CONNECT b.test              final
"""),
    "many rules, few of which are about it (U1)": ("".join(f"""
  - deny: [n{i}.test, .under{i}.test]""" for i in range(1, 31)) + """
  - deny: 127.8.1.5
  - allow: .a.test
  - deny: 127.9.0.0/16
  - {allow: [.m.test, five.test, six.test, 127.8.0.0/16], to: 127.8.0.0/16}
""", """
GET n1.test                 1
GET n7.test                 7
CONNECT x.under30.test      30
GET under3.test             3
GET x.n7.test               final
GET n31.test                final
GET 127.8.1.5               31
CONNECT [::ffff:127.8.1.5]  31
CONNECT five.test           31
GET six.test                pass
CONNECT good.a.test         pass
GET out.m.test              33
GET in.m.test               pass
GET both.m.test             pass
GET 127.9.0.1               33
"""),
    "an address out of a range (U1)": ("""
  - deny: 127.8.1.5
  - allow: [127.8.0.0/16, .test]
""", """
CONNECT 127.8.1.5           1
GET 127.8.1.5               1
CONNECT 127.8.1.6           pass
GET 127.8.1.6               pass
GET 127.9.0.1               final
GET [::ffff:127.8.1.5]      1
GET [::ffff:127.8.1.6]      pass
GET five.test               1
CONNECT five.test           1
GET six.test                pass
"""),
    "allow-list only (U42)": ("""
  - allow: [a.test, .b.test]
""", """
GET a.test                  pass
CONNECT a.test              pass
GET x.b.test                pass
GET b.test                  pass
GET x.a.test                final
GET c.test                  final
CONNECT c.test              final
GET 127.0.0.77              final
CONNECT 127.0.0.77          final
"""),
    "nowhere": (" []", """
GET a.test                  final
CONNECT a.test:443          final
GET 127.0.0.1               final
"""),

    # --- ports
    "the usual ports (U41 C23 S001-4)": ("""
  - allow: .a.test
""", """
GET a.test:80               pass
GET a.test:443              pass
CONNECT a.test:443          pass
CONNECT a.test:80           pass
CONNECT a.test:25           final
CONNECT a.test:22           final
CONNECT a.test:8443         final
GET a.test:8080             final
GET a.test:65535            final
"""),
    "any port (U41)": ("""
  - allow: a.test
    port: any
  - allow: b.test
""", """
CONNECT a.test:22           pass
CONNECT a.test:25           pass
GET a.test:8080             pass
CONNECT b.test:22           final
"""),
    "these ports and no other (U41)": ("""
  - allow: a.test
    port: [22, 8000-8099]
  - allow: [b.test, {host: c.test, port: 22}]
""", """
CONNECT a.test:22           pass
CONNECT a.test:8000         pass
GET a.test:8099             pass
CONNECT a.test:8100         final
CONNECT a.test:443          final
GET a.test:80               final
CONNECT b.test:443          pass
CONNECT b.test:22           final
CONNECT c.test:22           pass
CONNECT c.test:443          final
"""),
    "a deny is for all ports": ("""
  - deny: a.test
  - deny: any
    port: [25, 6000-6010]
  - allow: any
    port: any
""", """
CONNECT a.test:22           1
GET a.test:80               1
CONNECT b.test:25           2
CONNECT b.test:6005         2
CONNECT b.test:6011         pass
CONNECT 127.0.0.77:25       2
"""),

    # --- addresses
    "a range means literals in an allow": ("""
  - allow: 127.8.0.0/16
""", """
GET 127.8.0.1               pass
GET in.m.test               final
GET 127.9.0.1               final
"""),
    "to (U4)": ("""
  - allow: .m.test
    to: 127.8.0.0/16
""", """
GET in.m.test               pass
CONNECT in.m.test           pass
GET out.m.test              final
CONNECT out.m.test          final
GET both.m.test             pass
GET 127.8.0.1               final
GET other.test              final
"""),
    "what is refused by its address": ("""
  - deny: any
    to: 127.9.0.0/16
  - allow: [.test, 127.0.0.0/8]
""", """
GET in.m.test               pass
GET out.m.test              1
CONNECT out.m.test          1
GET both.m.test             pass
GET 127.9.9.9               1
"""),
    "a rule about an address, and the rest of the list (U4)": ("""
  - allow: .m.test
    to: 127.8.0.0/16
  - deny: out.m.test
  - allow: .m.test
    method: POST
""", """
GET in.m.test               pass
GET out.m.test              2
GET x.m.test                final
POST x.m.test               pass
"""),

    # --- who and when
    "from": ("""
  - deny: a.test
    from: 127.0.0.3
  - allow: .test
    from: [127.0.0.0/30]
""", """
GET a.test @127.0.0.3       1
GET b.test @127.0.0.3       pass
GET a.test @127.0.0.2       pass
GET a.test @127.0.0.4       final
CONNECT a.test @127.0.0.4   final
"""),
    "listener": ("""
  - allow: a.test
    listener: lan
""", """
GET a.test #lan             pass
CONNECT a.test #lan         pass
GET a.test                  final
"""),
    "time": (f"""
  - allow: a.test
    time: mon-sun {NOW}
  - allow: b.test
    time: mon-sun {LATER}
""", """
GET a.test                  pass
CONNECT a.test              pass
GET b.test                  final
"""),

    # --- what only a plain request shows
    "method, and a CONNECT": ("""
  - allow: a.test
    method: [GET, HEAD]
  - deny: b.test
    method: POST
  - allow: b.test
  - allow: c.test
    method: CONNECT
""", """
GET a.test                  pass
HEAD a.test                 pass
POST a.test                 final
CONNECT a.test              final
GET b.test                  pass
POST b.test                 2
CONNECT b.test              2
CONNECT c.test              pass
GET c.test                  final
"""),
    "path, and a CONNECT": ("""
  - allow: a.test
    path: /pub
  - deny: b.test
    path: [/private, '/\\.(exe|msi)$/']
  - allow: b.test
""", """
GET a.test/pub/x            pass
GET a.test/public           pass
GET a.test/PUB/x            final
GET a.test/                 final
GET a.test/x?/pub           final
CONNECT a.test              final
GET b.test/                 pass
GET b.test/private/x        2
GET b.test/x.exe            2
GET b.test/x.exe?y          2
GET b.test/x.exe.txt        pass
GET b.test/?x.exe           pass
CONNECT b.test              2
"""),
    "header, and a CONNECT": ("""
  - allow: a.test
    header: {x-token: secret}
  - allow: b.test
    header: {x-token: any, x-more: '/^[a-c]+$/'}
  - deny: c.test
    header: {x-bad: any}
  - allow: c.test
""", """
GET a.test X-Token: secret       pass
GET a.test X-TOKEN: secret       pass
GET a.test X-Token: secrets      final
GET a.test X-Token: Secret       final
GET a.test                       final
CONNECT a.test X-Token: secret   final
GET b.test X-Token: y            final
GET b.test X-More: abc           final
GET c.test                       pass
GET c.test X-Bad: 1              3
CONNECT c.test                   3
"""),
    "scheme": ("""
  - allow: a.test
    scheme: http
  - allow: b.test
    scheme: connect
""", """
GET a.test                  pass
CONNECT a.test              final
CONNECT b.test              pass
GET b.test                  final
"""),

    # --- shapes of destinations
    "except": ("""
  - allow: .a.test
    except: [bad.a.test, .worse.a.test]
  - deny: any
    except: {host: .b.test, method: GET}
  - allow: any
""", """
GET x.a.test                pass
GET bad.a.test              2
GET x.worse.a.test          2
GET x.b.test                pass
POST x.b.test               2
GET c.test                  2
"""),
    "matchers as items": ("""
  - allow:
      - a.test
      - {host: b.test, method: GET}
      - {host: [c.test, d.test], path: /pub}
""", """
POST a.test                 pass
GET b.test                  pass
POST b.test                 final
GET c.test/pub              pass
GET d.test/pub              pass
GET d.test/                 final
GET e.test/pub              final
"""),
    "list files": ("""
  - deny: ./bad.txt
  - allow: [./good.txt, z.test]
""", """
GET one.test                pass
GET x.two.test              pass
GET xn--bcher-kva.test      pass
GET XN--BCHER-KVA.test      pass
GET 127.8.0.9               pass
GET not.two.test            1
GET six.test                final
GET z.test                  pass
GET comment.test            final
"""),
    "names in any script": ("""
  - deny: [Bücher.test, .XN--N3H.test]
  - allow: any
""", """
GET xn--bcher-kva.test      1
GET XN--bcher-kva.TEST      1
GET xn--n3h.test            1
GET x.xn--n3h.test          1
GET bucher.test             pass
"""),
    "any means names and addresses": ("""
  - allow: any
""", """
GET a.test                  pass
GET 127.0.0.77              pass
CONNECT a.test:22           final
"""),

    # --- audit
    "mode: report (U52)": ("""
  - deny: bad.test
    mode: report
  - allow: soon.test
    mode: report
  - allow: .test
    except: soon.test
""", """
GET bad.test                pass
CONNECT bad.test            pass
GET soon.test               final
GET x.test                  pass
"""),
}

FILES = {
    "good.txt": "# names\none.test\n.two.test  # and below\n\nbücher.test\n127.8.0.0/24\n#comment.test\n",
    "bad.txt": "not.two.test\n",
}


class Case:
    """One line of a table."""

    def __init__(self, line, port):
        match = re.fullmatch(r"(\w+) +(\S+?)((?: +[@#]\S+)*)((?: +[\w-]+: \S+)?) +(pass|final|\d+)", line)
        assert match, line
        self.line, (self.method, target, where, field, self.expected) = line, match.groups()
        host, slash, path = target.partition("/")
        if not re.search(r":\d+$", host) or host.endswith("]"):
            host = f"{host}:{port}"
        self.target = host if self.method == "CONNECT" else f"http://{host}/{path}"
        self.fields = [field.strip()] if field else []
        self.source = next((w[1:] for w in where.split() if w[0] == "@"), None)
        self.listener = next((w[1:] for w in where.split() if w[0] == "#"), None)

    def ask(self, proxy):
        host, port = proxy.listeners[1 if self.listener else 0]
        client = Client(host, port, source=self.source)
        answer = client.ask(request(self.method, self.target, *self.fields))
        client.close()
        return answer


def cases(text, port):
    return [Case(line, port) for line in text.strip().splitlines()]


class Place:
    """The proxy, its resolver, its origin; rules() puts others in force."""

    def __init__(self):
        self.origin = Witness()
        self.dns = DnsServer()
        scope.forget(self.dns)
        self.dns.otherwise(a=["127.0.0.77"])
        for name, addresses in ADDRESSES.items():
            self.dns.answer(name, a=addresses)
        self.head = HEAD % {"dns": self.dns.address, "port": self.origin.port}
        self.proxy = Ginnel(self.head, tracked=False)
        self.text = self.proxy.config_text(self.head)
        for name, text in FILES.items():
            (self.proxy.dir / name).write_text(text)

    def rules(self, rules, **lines):
        """`rules` is what stands behind `rules:`, indented; other lines are added or replaced."""
        head = self.head
        for key, value in lines.items():
            head = re.sub(rf"^{key}:.*\n", "", head, flags=re.M) + (f"{key}: {value}\n" if value is not None else "")
        text = head + (f"rules:{rules}" if rules is not None else "") + "\n"
        self.items = [n for n, line in enumerate(text.splitlines(), 1) if line.startswith("  - ")]
        self.final = next((n for n, line in enumerate(text.splitlines(), 1) if line.startswith("rules:")), 0)
        if self.proxy.config_text(text) != self.text:
            self.proxy.write_config(text)
            done = self.proxy.command("reload")
            assert done.returncode == 0, done.stderr
            self.text = self.proxy.config_text(text)

    def place_of(self, expected):
        """The line of what refuses, as refusals name it."""
        return f"ginnel.yaml:{self.final if expected == 'final' else self.items[int(expected) - 1]}"

    def judge(self, case):
        """What is wrong with the answer; None when it is as expected."""
        answer = case.ask(self.proxy)
        if case.expected == "pass":
            refused = answer.status in (400, 403, 407, 500)
            return f"{case.line}: refused: {answer} {answer.body[:300]}" if refused else None
        if answer.status != 403:
            return f"{case.line}: {answer.status}"
        _, said = parse_proxy_status(answer.values("proxy-status"))[-1]
        if said["error"] not in ("http_request_denied", "destination_ip_prohibited"):
            return f"{case.line}: {said}"
        place, page = self.place_of(case.expected), answer.body.decode()
        if case.method == "HEAD":
            return None
        if not re.search(rf"{re.escape(place)}\b", page) or not re.search(rf"{re.escape(place)}\b", said.get("details", "")):
            return f"{case.line}: does not name {place}: {said} {page}"
        return None

    def get(self, target, method="GET", *fields, **options):
        """One request on a connection of its own; a bare name is on the origin's port."""
        if not re.search(r":\d+$", target):
            target = f"{target}:{self.origin.port}"
        return self.proxy.client(**options).ask(request(method, target if method == "CONNECT" else f"http://{target}/", *fields))

    def close(self):
        self.proxy.close()
        self.dns.close()
        self.origin.close()


@pytest.fixture(scope="module")
def shared():
    made = Place()
    yield made
    made.close()


@pytest.fixture
def place(shared):
    yield shared
    assert shared.proxy.alive(), f"ginnel died during this test:\n{shared.proxy.stderr()[-6000:]}"
    shared.proxy.check_log()


@pytest.mark.parametrize("title", TABLES)
def test_table(place, title):
    """U1 U4 U41 U42 C23 S001-4 S001-1 S001-2: what passes and what does not; a refusal names the line that decided (U39)"""
    rules, table = TABLES[title]
    place.rules(rules)
    wrong = [place.judge(case) for case in cases(table, place.origin.port)]
    assert not [complaint for complaint in wrong if complaint], "\n".join(filter(None, wrong))


def why(place, case):
    """What `ginnel why` says of the case's request: (its answer, the place that it names)."""
    listener = ["--listener", case.listener] if case.listener else []
    fields = [part for field in case.fields for part in ("--header", field)]
    host = re.sub(r"^http://|(:\d+)?(/.*)?$", "", case.target)
    known = ADDRESSES.get(host.lower(), ["127.0.0.77"])
    addresses = [] if re.match(r"[\[\d]", host) else [part for address in known for part in ("--address", address)]
    done = place.proxy.command("why", "--json", "--method", case.method, "--client", case.source or "127.0.0.1", *listener, *fields, *addresses,
                               case.target)
    said = json.loads(done.stdout)
    return said["answer"], said.get("place", "")


@pytest.mark.parametrize("title", TABLES)
def test_why_agrees(place, title):
    """U42 U40: for the same request `why` has the same answer, and names the same line"""
    rules, table = TABLES[title]
    place.rules(rules)
    for case in cases(table, place.origin.port):
        answer, where = why(place, case)
        if case.expected == "pass":
            assert answer == "allow", f"{case.line}: {answer}"
        else:
            assert answer == "deny" and where.endswith(place.place_of(case.expected)), f"{case.line}: {answer} {where}"


# --- ports, defaults ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ports, passing, refused", [
    ("[80, 443]", [80, 443], [22, 25, 8443]), ("[8443]", [8443], [80, 443]), ("[443, 8000-8010]", [443, 8005], [80, 8011]), ("any", [22, 80], [])])
def test_the_set_of_ports(place, ports, passing, refused):
    """C23 U41 CONFIG ports: another set for every allow that says none"""
    place.rules("\n  - allow: any\n", ports=ports)
    for port in passing:
        assert place.get(f"a.test:{port}", "CONNECT").status != 403
    for port in refused:
        for method in ("CONNECT", "GET"):
            assert place.get(f"a.test:{port}", method).status == 403


def test_without_rules_on_loopback(place):
    """C23 CONFIG: no `rules`, all listeners on loopback: every port"""
    place.rules(None, ports=None)
    for port in (22, 25, 443, 8443):
        assert place.get(f"a.test:{port}", "CONNECT").status != 403
    assert place.get("a.test").status == 200


def test_without_rules_off_loopback(place):
    """C23 S001-4 CONFIG: no `rules`, a listener off loopback: 80 and 443, and a refusal that says which"""
    proxy = Ginnel({"listen": ["127.0.0.1:0", "0.0.0.0:0"], "clients": "any", "private": "allow", "resolver": {"servers": [place.dns.address]}})
    for method in ("CONNECT", "GET"):
        for port in (80, 443):
            answer = proxy.client().ask(request(method, f"a.test:{port}" if method == "CONNECT" else f"http://a.test:{port}/"))
            assert answer.status != 403, answer.body
        for port in (25, 22, 8443):
            answer = proxy.client().ask(request(method, f"a.test:{port}" if method == "CONNECT" else f"http://a.test:{port}/"))
            assert answer.status == 403 and "ports" in answer.body.decode(), answer.body


def test_without_rules_and_with_ports(place):
    """C23 CONFIG ports: the set holds without rules, too, when it is written"""
    place.rules(None, ports="[80, 443]")
    assert place.get("a.test:443", "CONNECT").status != 403
    answer = place.get("a.test:25", "CONNECT")
    assert answer.status == 403 and "ginnel.yaml:" in answer.body.decode()


def test_private_is_denied_when_rules_exist(place):
    """U3 CONFIG private: the default beside rules"""
    place.rules("\n  - allow: any\n", private=None)
    for target in ("a.test", "127.0.0.77"):
        answer = place.get(target)
        assert answer.status == 403 and parse_proxy_status(answer.values("proxy-status"))[-1][1]["error"] == "destination_ip_prohibited"
    assert not place.origin.requests or place.origin.requests[-1][0] != "127.0.0.1"


def test_odd_ports(place):
    """C23: what is no port is malformed"""
    place.rules("\n  - allow: any\n    port: any\n")
    for port in ("0", "65536", "4294967739", "+443", "443x", "-1", "0x1bb"):
        with place.proxy.client() as client:
            assert client.ask(f"CONNECT a.test:{port} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode()).status == 400


def test_other_schemes(place):
    """FAILURES 16: what other proxies forward to FTP, gopher, whois and their own administration is no request here, whatever the rules say"""
    place.rules("\n  - allow: any\n    port: any\n")
    before = len(place.origin.requests)
    for url in ("gopher://a.test/", "ftp://a.test/x", "whois://a.test/", "cache_object://a.test/info", "file:///etc/passwd", "ws://a.test/",
                "urn:x:y"):
        with place.proxy.client() as client:
            answer = client.ask(f"GET {url} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        assert answer.status in (400, 501), f"{url}: {answer}"
    assert len(place.origin.requests) == before


# --- names -------------------------------------------------------------------------------------------------------------


def test_a_refused_name_is_not_looked_up(place):
    """DESIGN: what needs no address is decided before anything is resolved: no question leaks to a name server"""
    place.rules("\n  - deny: [.secret.test]\n  - allow: [.m.test]\n    to: 127.8.0.0/16\n  - deny: .n.test\n")
    for name in ("x.secret.test", "unlisted.test", "y.n.test"):
        for method in ("GET", "CONNECT"):
            assert place.get(name, method).status == 403
        assert place.dns.asked(name) == 0
    assert place.get("q.m.test").status == 403 and place.dns.asked("q.m.test") > 0  # here the address could have decided


def test_trailing_dot(place):
    """U2: the same name with a dot behind it is the same name"""
    place.rules("\n  - deny: bad.test\n  - allow: any\n")
    for target in ("bad.test.", "BAD.test."):
        for method in ("GET", "CONNECT"):
            assert place.get(target, method).status in (400, 403)


def test_host_field_does_not_matter(place):
    """U2 C23: what is judged is the target; a Host that differs opens nothing"""
    place.rules("\n  - allow: good.test\n")
    for line, host in (("GET http://bad.test/", "good.test"), ("CONNECT bad.test:443", "good.test:443")):
        with place.proxy.client() as client:
            answer = client.ask(f"{line} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert answer.status in (400, 403)


def test_list_file_that_vanishes(place):
    """Issue 5: the old list stays at a reload, and that is said loudly"""
    place.rules("\n  - deny: ./bad.txt\n  - allow: .two.test\n")
    assert place.get("not.two.test").status == 403
    (place.proxy.dir / "bad.txt").rename(place.proxy.dir / "gone")
    try:
        done = place.proxy.command("reload")
        assert done.returncode == 78 and "bad.txt" in done.stderr
        assert place.get("not.two.test").status == 403 and place.get("x.two.test").status == 200
    finally:
        (place.proxy.dir / "gone").rename(place.proxy.dir / "bad.txt")
        place.text = None


def test_list_file_that_changes(place):
    """CONFIG: list files are watched like the file that names them"""
    place.rules("\n  - deny: ./bad.txt\n  - allow: any\n")
    assert place.get("fresh.test").status == 200
    (place.proxy.dir / "new").write_text("fresh.test\n")
    (place.proxy.dir / "new").rename(place.proxy.dir / "bad.txt")
    try:
        eventually(lambda: place.get("fresh.test").status == 403, what="the new list")
    finally:
        (place.proxy.dir / "bad.txt").write_text(FILES["bad.txt"])
        eventually(lambda: place.get("fresh.test").status == 200, what="the old list")


def test_include_appends(place):
    """CONFIG include: lists are appended in name order, and file:line stays true"""
    tenants = place.proxy.dir / "tenants"
    tenants.mkdir()
    (tenants / "b.yaml").write_text("rules:\n  - deny: a.test\n  - deny: any\n")
    (tenants / "a.yaml").write_text("# the first\nrules:\n  - allow: a.test\n  - deny: b.test\n")
    place.rules("\n  - deny: first.test\n  - allow: b.test\n", include="tenants/*.yaml")
    assert place.get("a.test").status == place.get("b.test").status == 200
    assert re.search(r"tenants/b\.yaml:3\b", place.get("c.test").body.decode())
    assert place.place_of("1") in place.get("first.test").body.decode()


# --- what a refusal says -----------------------------------------------------------------------------------------------


def test_refusal_names_rule_and_text(place):
    """U39: never 502, never empty: rule, line, the operator's own sentence; in Proxy-Status, the page and the log"""
    place.rules("\n  - deny: text-bad.test\n    name: no-bad\n    say: Ask the net team about it\n  - allow: good.test\n", policy="{say: Add it to the list}")
    for method in ("GET", "CONNECT"):
        answer = place.get("text-bad.test", method)
        page = answer.body.decode()
        name, said = parse_proxy_status(answer.values("proxy-status"))[-1]
        assert (answer.status, name, said["error"]) == (403, "wire", "http_request_denied")
        assert "no-bad" in page and place.place_of("1") in page and "Ask the net team about it" in page
        assert "no-bad" in said["details"] or place.place_of("1") in said["details"]
        answer = place.get("other.test", method)
        assert answer.status == 403 and "Add it to the list" in answer.body.decode() and place.place_of("final") in answer.body.decode()
    records = place.proxy.wait_access(2, {"server.address": "text-bad.test"})
    assert {r["ginnel.end"] for r in records} == {"denied"} and all("no-bad" in str(r) for r in records)


def test_refusal_names_the_condition_that_failed(place):
    """U39 U40: the nearest rule, and what of it does not hold"""
    place.rules("\n  - allow: a.test\n    port: 8443\n    name: narrow\n  - allow: b.test\n    from: 10.0.0.0/8\n    name: lan-only\n")
    page = place.get("a.test:443", "CONNECT").body.decode()
    assert "narrow" in page and "port" in page
    page = place.get("b.test:443", "CONNECT").body.decode()
    assert "lan-only" in page and "from" in page


@pytest.mark.parametrize("level", ["none", "own", "all"])
@pytest.mark.parametrize("accept, kind", [("application/json", "json"), ("text/html", "html"), ("*/*", "plain")])
def test_how_much_is_told(place, level, accept, kind):
    """U39 CONFIG reasons: none tells the type of error only"""
    place.rules("\n  - deny: bad.test\n    name: no-bad\n    say: <b>Ask</b>\n  - allow: good.test\n", reasons=level)
    answer = place.get("bad.test", "GET", f"Accept: {accept}")
    page = answer.body.decode()
    assert kind in answer.value("content-type") and answer.body
    assert ("no-bad" in page) == (place.place_of("1") in page) == (level != "none")
    assert ("details" in answer.value("proxy-status")) == (level != "none")
    if kind == "html":
        assert "<b>Ask" not in page


def test_connection_lives_after_a_refusal(place):
    """U39: a plain request that is refused costs no connection; its body is read and thrown away"""
    place.rules("\n  - allow: good.test\n")
    port = place.origin.port
    with place.proxy.client() as client:
        for _ in range(3):
            assert client.ask(request("GET", f"http://bad.test:{port}/")).status == 403
            assert client.ask(request("GET", f"http://good.test:{port}/")).status == 200
            refused = client.ask(request("POST", f"http://bad.test:{port}/", body=b"x" * 1000))
            assert refused.status == 403 and not refused.closes
        client.send(request("GET", f"http://bad.test:{port}/") + request("GET", f"http://good.test:{port}/") + request("GET", f"http://bad.test:{port}/"))
        assert [client.recv_response().status for _ in range(3)] == [403, 200, 403]


def test_nothing_reaches_the_origin(place):
    """FAILURES 17: a refused request is not even dialled"""
    place.rules("\n  - allow: good.test\n    path: /pub\n")
    talks, requests = len(place.origin.talks), len(place.origin.requests)
    for target in ("bad.test", "good.test", "127.0.0.77"):
        assert place.get(target, "POST").status == 403
        assert place.get(target, "CONNECT").status == 403
    assert (len(place.origin.talks), len(place.origin.requests)) == (talks, requests)


# --- audit first -------------------------------------------------------------------------------------------------------


def would_deny(record):
    """Whether the record says that it would have been refused."""
    return record.get("ginnel.would_deny")


def test_report_on_a_rule(place):
    """U52 CONFIG mode: report: it passes, and the log says by which rule it would not have"""
    place.rules("\n  - deny: report-a.test\n    mode: report\n    name: soon\n  - allow: any\n")
    assert place.get("report-a.test").status == 200 and place.get("report-b.test").status == 200
    first, = place.proxy.wait_access(1, {"server.address": "report-a.test"})
    second, = place.proxy.wait_access(1, {"server.address": "report-b.test"})
    assert would_deny(first) and "soon" in str(first)
    assert not would_deny(second)


def test_report_at_the_top(place):
    """U52 CONFIG policy: report: only the final refusal becomes a note; a deny, and `private`, hold"""
    place.rules("\n  - deny: report-c.test\n  - allow: report-d.test\n", policy="report")
    assert place.get("report-c.test").status == 403
    assert place.get("report-d.test").status == place.get("report-e.test").status == 200
    listed, = place.proxy.wait_access(1, {"server.address": "report-d.test"})
    unlisted, = place.proxy.wait_access(1, {"server.address": "report-e.test"})
    assert would_deny(unlisted) and not would_deny(listed)
    assert place.get("report-f.test:22", "CONNECT").status != 403
    place.rules("\n  - allow: report-d.test\n", policy="report", private="deny")
    assert place.get("report-e.test").status == 403


def test_report_of_the_clients(place):
    """CONFIG: `clients` always hold"""
    place.rules("\n  - allow: a.test\n", policy="report", clients="127.0.0.0/30")
    assert place.get("b.test", source="127.0.0.1").status == 200
    assert place.get("b.test", source="127.0.0.9").status == 403


# --- reload ------------------------------------------------------------------------------------------------------------


def test_kept_connections_after_a_reload(place):
    """FAILURES 17: a client's connection and an origin's, both from before, and rules from now"""
    place.rules("\n  - allow: any\n")
    with place.proxy.client() as client:
        target = f"http://later.test:{place.origin.port}/"
        assert client.ask(request("GET", target)).status == 200
        place.rules("\n  - deny: later.test\n  - allow: any\n")
        assert client.ask(request("GET", target)).status == 403


@pytest.mark.parametrize("recheck", [False, True])
def test_tunnels_after_a_reload(place, recheck):
    """CONFIG policy: recheck: tunnels that the new rules would refuse stay, or end within 5 s with reason `reload`"""
    policy = "{recheck: on}" if recheck else None
    place.rules("\n  - allow: any\n    sni: off\n", policy=policy)
    name = f"tunnel-{recheck}.test".lower()
    tunnel, other = (place.proxy.client().connect(f"{host}:{place.origin.port}") for host in (name, "other.test"))
    place.rules(f"\n  - deny: {name}\n  - allow: any\n    sni: off\n", policy=policy)
    if recheck:
        tunnel.wait_ended(within=6)
        assert place.proxy.wait_access(1, {"server.address": name})[0]["ginnel.end"] == "reload"
    for living in [other] if recheck else [tunnel, other]:
        assert living.ask(request("GET", "/", host="inside")).status == 200


# --- mistakes ----------------------------------------------------------------------------------------------------------

MISTAKES = [
    # the text of `rules`, the line of the message, words of it
    ("  - alow: a.test\n", 2, ["alow", "allow"]),
    ("  - allow: a.test\n    prot: 443\n", 3, ["prot", "port"]),
    ("  - allow: a.test\n    port: 70000\n", 3, ["70000"]),
    ("  - allow: a.test\n    port: 90-80\n", 3, ["90-80"]),
    ("  - allow: a.test\n    to: 10.0.0.1/8\n", 3, ["10.0.0.1/8"]),
    ("  - allow: a.test\n    from: lan\n", 3, ["lan"]),
    ("  - allow: a.test\n    deny: b.test\n", 2, ["deny"]),
    ("  - port: 443\n", 2, ["allow"]),
    ("  - allow: a.test\n    path: '/(/'\n", 3, ["/(/"]),
    ("  - allow: a.test\n    time: mon-fri 8-18\n", 3, ["mon-fri 8-18"]),
    ("  - allow: a.test\n    mode: reprot\n", 3, ["report"]),
    ("  - allow: a.test\n    expect: tsl\n", 3, ["tls"]),
    ("  - allow: '*.a.test'\n", 2, ["*.a.test", ".a.test"]),
    ("  - allow: '!a.test'\n", 2, ["!a.test"]),
    ("  - allow: ./no-such-list.txt\n", 2, ["no-such-list.txt"]),
    ("  - allow: https://a.test/\n", 2, ["https://a.test/"]),
    ("  - allow: a.test:443\n", 2, ["a.test:443"]),
    ("  - a.test\n", 2, ["allow"]),
]


@pytest.mark.parametrize("text, line, words", MISTAKES)
def test_mistakes(text, line, words):
    """Issue 5: exit 78, with place and hint"""
    result = run_ginnel("check", config="rules:\n" + text)
    said = result.stdout + result.stderr
    assert result.returncode == 78 and f"ginnel.yaml:{line}:" in said, said
    assert all(word in said for word in words), said


def test_all_mistakes_at_once():
    """Issue 5: all of them are shown at once"""
    result = run_ginnel("check", config="private: denny\nports: [0]\nrules:\n" + "".join(text for text, _, _ in MISTAKES[:6]))
    said = result.stdout + result.stderr
    assert result.returncode == 78 and len(set(re.findall(r"ginnel\.yaml:(\d+):", said))) >= 7, said


LINTS = [
    # rules, words of the warning
    ("  - allow: 192.168.0.0/16\n  - deny: 192.168.1.5\n", 3),             # U1: shadowed
    ("  - deny: any\n  - allow: a.test\n", 3),
    ("  - allow: .a.test\n  - deny: x.a.test\n", 3),
    ("  - allow: any\n  - deny: a.test\n", 3),
    ("  - allow: a.test\n    path: /x\n", 2),                               # cannot hold on a CONNECT
    ("  - deny: a.test\n    header: {x: y}\n  - allow: any\n", 2),
]


@pytest.mark.parametrize("rules, line", LINTS)
def test_check_warns(rules, line):
    """U1 U42: what is correct and probably not meant is said, with the line"""
    result = run_ginnel("check", config="rules:\n" + rules)
    said = result.stdout + result.stderr
    assert result.returncode == 0 and re.search(rf"ginnel\.yaml:{line}\b", said) and "warn" in said.lower(), said


def test_unix_socket_and_rules(place, tmp_path):
    """CONFIG: a client of a Unix socket has no address: `from` does not hold"""
    proxy = Ginnel({"listen": f"unix:{tmp_path}/p.sock", "private": "allow", "resolver": {"servers": [place.dns.address]},
                    "rules": [{"deny": "a.test", "from": ["0.0.0.0/0", "::/0"]}, {"allow": "a.test", "port": "any"}]})
    assert UnixClient(tmp_path / "p.sock").ask(request("GET", f"http://a.test:{place.origin.port}/")).status == 200
    assert UnixClient(tmp_path / "p.sock").ask(request("GET", f"http://b.test:{place.origin.port}/")).status == 403
    proxy.close()
