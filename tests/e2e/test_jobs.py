# SPDX-License-Identifier: MIT
"""The README's jobs: the files of dist/examples are run as they are, with real clients, in a network namespace in which every address is at
home: clients come from the addresses they would have, names lead where they would lead, and 80, 443 and 8443 answer everywhere. Only paths,
and limits that a test cannot wait for, are replaced. Each file has a mistyped variant whose message is asserted."""

import contextlib
import http.server
import json
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
import yaml

from harness import DnsServer, Ginnel, eventually, request, run_ginnel, scaled, scope
from harness.everywhere import Everywhere, plain
from harness.ginnel import ROOT, binary, environment
from harness.origins import Process, clean_env
from harness.peer import Client

EXAMPLES = ROOT / "dist" / "examples"
PUBLIC = {"www.example.org": "93.184.215.14", "deb.debian.org": "151.101.2.132", "files.pypi.org": "151.101.0.223", "pypi.org": "151.101.0.223",
          "api.partner.example": "198.41.0.4", "evil.example.net": "45.33.32.156", "api.github.com": "140.82.121.5", "x.ads.example": "45.33.32.157",
          "registry.npmjs.org": "104.16.1.34", "mail.example.org": "93.184.215.15"}
INSIDE = {"intranet.corp.example": "10.9.0.80", "artifactory.corp.example": "10.20.0.5", "ldap.corp.example": "10.0.0.3"}
PASSWORDS = {"alice": "wonder land:1", "bob": "builder", "carol": "christmas", "dave": "düsseldorf"}


# --- the place: names, origins, clients --------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    """Tells what it was asked for, where, and by whom; /bulk/N is N bytes."""

    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self):
        told = {"here": str(plain(self.request.getsockname()[0])), "from": str(plain(self.client_address[0])), "path": self.path,
                "host": self.headers.get("Host"), "fields": {name.lower(): value for name, value in self.headers.items()}}
        bulk = re.search(r"/bulk/(\d+)$", self.path)
        body = b"x" * int(bulk[1]) if bulk else json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port, context=None):
        self.context = context
        super().__init__(("::", port), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def finish_request(self, request, address):
        if self.context:
            request = self.context.wrap_socket(request, server_side=True)
        super().finish_request(request, address)

    def handle_error(self, *_):
        pass


def make_certificate(directory):
    names = ",".join(f"DNS:{name}" for name in [*PUBLIC, *INSIDE])
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
            "-days", "9", "-subj", "/CN=everywhere", "-addext", f"subjectAltName={names}"]
    subprocess.run(argv, cwd=directory, check=True, capture_output=True, timeout=30)
    return directory / "cert.pem", directory / "key.pem"


class Job:
    """A file of dist/examples, in service. `replace` are pairs of texts; each must be in the file."""

    def __init__(self, world, directory, file, *replace, more=""):
        self.world, self.directory = world, directory
        text = (EXAMPLES / file).read_text()
        for old, new in [*replace, ("/var/log/ginnel/access.json", f"{directory}/access.json")][: None if "/var/log" in text else -1]:
            assert old in text, f"{old} is not in {file}"
            text = text.replace(old, new)
        self.text = text + f'resolver: {{servers: ["{world.dns.address}"]}}\n' + more
        shutil.copy(EXAMPLES / "partners.txt", directory)
        self.port = int(re.search(r":(3128)\b", text)[1])
        self.home = re.search(r"^listen: ([\d.]+):", text, re.M)[1].replace("0.0.0.0", "10.0.0.1")
        self.url = f"http://{self.home}:{self.port}"
        self.path = directory / "ginnel.yaml"
        self.path.write_text(self.text)
        self.ginnel = world.call(Ginnel, False, ["-c", str(self.path)])
        self.log = directory / "access.json"

    def client(self, source="10.1.2.3"):
        return self.world.call(Client, self.home, self.port, source=source)

    def curl(self, url, *args, source="10.1.2.3", user=None):
        """What the origin told, or (the proxy's status, what it says)."""
        argv = ["curl", "-sS", "--max-time", str(scaled(20)), "--interface", source, "-x", self.url, "--cacert", self.world.ca, "-w",
                "\n%{http_connect} %{http_code} %{exitcode}", *(["--proxy-user", user] if user else []), *args, url]
        ran = self.world.call(subprocess.run, argv, cwd=self.directory, env=clean_env(self.directory), capture_output=True, text=True, check=False)
        body, _, last = ran.stdout.rpartition("\n")
        connect, status, code = map(int, last.split())
        return Answer(connect if url.startswith("https:") else 0, status, code, body + ran.stderr)

    def ask(self, method, target, *fields, source="10.1.2.3"):
        with self.client(source) as client:
            return client.ask(request(method, target, *fields))

    def records(self, n=1, **where):
        def found():
            lines = self.log.read_text().splitlines() if self.log.exists() else []
            records = [json.loads(line) for line in lines]
            return [r for r in records if all(r.get(k.replace("__", ".")) == v for k, v in where.items())]
        eventually(lambda: len(found()) >= n, what=f"{n} records with {where}")
        return found()

    def reload(self, *replace):
        for old, new in replace:
            assert old in self.text
            self.text = self.text.replace(old, new)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(self.text)
        fresh.rename(self.path)
        done = self.command("reload")
        assert done.returncode == 0, done.stderr

    def command(self, *args):
        file = [] if args[0] == "policy" else ["-c", str(self.path)]
        return subprocess.run([binary(), *map(str, args), *file], cwd=self.directory, env=environment(self.ginnel.dir),
                              capture_output=True, text=True, timeout=scaled(20), check=False)


class Answer:
    def __init__(self, connect, status, code, body):
        self.connect, self.status, self.code, self.body = connect, status, code, body

    def __repr__(self):
        return f"CONNECT {self.connect}, {self.status}, exit {self.code}: {self.body[:600]}"

    def reached(self, address=None):
        """It is the origin's answer; what that tells."""
        assert self.status == 200 and self.code == 0 and self.connect in (0, 200), self
        told = json.loads(self.body)
        assert address in (None, told["here"]), told
        return told

    def refused(self, *words, status=403):
        """It is the proxy's, in the answer to a CONNECT or to the request; curl does not show the body of the first."""
        assert status in (self.connect, self.status), self
        assert not self.status == 200, self
        for word in words if self.connect == 0 else ():
            assert word in self.body, f"{word!r} is not in {self}"


@pytest.fixture(scope="module")
def world(workdir):
    directory = workdir / "jobs"
    directory.mkdir()
    try:
        made = Everywhere(ports=(), watched=False)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespace here: {error}")
    made.ca, key = make_certificate(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.ca, key)
    servers = [made.call(Server, 80), made.call(Server, 443, context), made.call(Server, 8443, context)]
    made.dns = made.call(DnsServer)
    scope.forget(made.dns)
    for name, address in {**PUBLIC, **INSIDE}.items():
        made.dns.answer(name, a=[address], ttl=0)
    yield made
    for server in servers:
        server.shutdown()
        server.server_close()
    made.dns.close()
    made.close()


@pytest.fixture
def job(world, tmp):
    """job(file, replacements…) puts a file of dist/examples into service."""
    return lambda file, *replace, **options: Job(world, tmp, file, *replace, **options)


def write_users(directory, *names):
    """The users' file, a line each by `ginnel passwd`, and the groups' file."""
    for name in names:
        done = subprocess.run([binary(), "passwd", directory / "users.htpasswd", name], input=PASSWORDS[name] + "\n", text=True, capture_output=True,
                              env=environment(directory), timeout=scaled(20), check=False)
        assert done.returncode == 0, done.stderr
    (directory / "groups.txt").write_text("# name: users\nstaff: alice\nred: alice bob\nblue: carol\n")


def login(name):
    return f"{name}:{PASSWORDS[name]}"


def mistyped(tmp, file, old, new, place, *words):
    """The file with one text replaced: exit 78, the line, and what to do."""
    text = (EXAMPLES / file).read_text()
    assert old in text
    for helper in ("partners.txt",):
        shutil.copy(EXAMPLES / helper, tmp)
    (tmp / "users.htpasswd").touch()
    (tmp / "groups.txt").touch()
    path = tmp / "ginnel.yaml"
    path.write_text(text.replace(old, new, 1))
    line = text[: text.index(old)].count("\n") + 1 + place
    for argv in (["check", str(path)], ["-c", str(path)]):
        result = run_ginnel(*argv)
        said = result.stdout + result.stderr
        assert result.returncode == 78 and f"ginnel.yaml:{line}:" in said, said
        for word in words:
            assert word in said, said


def test_readme_shows_these_files():
    """What stands in the README under Jobs is what is tested here, but for comments and the log."""
    jobs = (ROOT / "README.md").read_text().split("\n## Jobs\n")[1].split("\n## ")[0]
    shown = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", jobs, re.M | re.S)]
    files = [yaml.safe_load((EXAMPLES / name).read_text()) for name in ("office-lan.yaml", "names-and-passwords.yaml", "egress.yaml", "tenants.yaml",
                                                                        "audit.yaml", "ldap.yaml")]
    assert len(shown) == 6
    for one, file in zip(shown, files):
        assert one | {"log": 0} == file | {"log": 0}


# --- 1: an office ------------------------------------------------------------------------------------------------------


def test_office(world, job, tmp):
    """U3 U42 S001-1 S001-2 S001-3: everybody in it, to the web, and not to the inside"""
    office = job("office-lan.yaml")
    told = office.curl("https://www.example.org/page").reached(PUBLIC["www.example.org"])
    assert told["path"] == "/page" and told["from"] != "10.1.2.3"
    told = office.curl("http://www.example.org/page", source="192.168.7.7").reached(PUBLIC["www.example.org"])
    assert not {"x-forwarded-for", "forwarded"} & set(told["fields"])
    office.curl("http://www.example.org/", source="172.20.0.1").refused("`clients`", "ginnel.yaml:3")
    office.curl("https://www.example.org/", source="8.8.8.8").refused()
    office.curl("http://x.ads.example/").refused("Advertising is not for here.", "ginnel.yaml:5")
    for url in ("http://intranet.corp.example/", "https://intranet.corp.example/", "http://10.9.0.80/", "http://169.254.169.254/latest/meta-data/"):
        office.curl(url).refused("private")
    refused = office.ask("CONNECT", "mail.example.org:25")
    assert refused.status == 403 and "port" in refused.body.decode()
    env = clean_env(tmp, http_proxy=office.url, https_proxy=office.url)
    wget = ["wget", "-q", "-O", "-", "--tries=1", "--bind-address=10.1.2.3", f"--ca-certificate={world.ca}"]
    for scheme in ("http", "https"):
        ran = world.call(subprocess.run, [*wget, f"{scheme}://www.example.org/w"], env=env, capture_output=True, text=True, check=False)
        assert ran.returncode == 0 and json.loads(ran.stdout)["path"] == "/w", ran
    ran = world.call(subprocess.run, [*wget, "-S", "http://x.ads.example/w"], env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 8 and "403" in ran.stderr, ran


def test_office_mistyped(tmp):
    mistyped(tmp, "office-lan.yaml", "clients: [10.0.0.0/8", "client: [10.0.0.0/8", 0, "client", "did you mean `clients`")


# --- 2: names and passwords --------------------------------------------------------------------------------------------

PYTHON = """
import json, sys, requests
proxies = {"http": sys.argv[1], "https": sys.argv[1]}
answer = requests.get(sys.argv[2], proxies=proxies, verify=sys.argv[3], timeout=30)
print(answer.status_code, answer.text)
"""


def test_names_and_passwords(world, job, tmp):
    """S001-6 C36 C87 U39 FAILURES 25: who has a name gets what the name may; a known one who is refused is not asked again"""
    write_users(tmp, "alice", "bob", "dave")
    named = job("names-and-passwords.yaml")
    for scheme in ("http", "https"):
        told = named.curl(f"{scheme}://www.example.org/", user=login("alice")).reached()
        assert "proxy-authorization" not in told["fields"]
        named.curl(f"{scheme}://deb.debian.org/", user=login("bob")).reached()
        named.curl(f"{scheme}://deb.debian.org/", user=login("dave")).reached()   # not only ASCII
        named.curl(f"{scheme}://www.example.org/", user=login("bob")).refused("ginnel.yaml:", "group")
        named.curl(f"{scheme}://www.example.org/").refused(status=407)
        named.curl(f"{scheme}://www.example.org/", user="alice:wrong").refused(status=407)
        named.curl(f"{scheme}://www.example.org/", user="nobody:wrong").refused(status=407)
    asked = named.ask("GET", "http://deb.debian.org/")
    assert asked.status == 407 and re.match(r'basic realm="[^"]*"', asked.value("proxy-authenticate"), re.I)
    named.curl("http://www.example.org/", source="8.8.8.8", user=login("alice")).refused("`clients`")  # both hold
    env = clean_env(tmp, http_proxy=named.url, https_proxy=named.url)
    wget = ["wget", "-q", "-O", "-", "--tries=1", "--bind-address=10.1.2.3", "--proxy-user=bob", f"--proxy-password={PASSWORDS['bob']}",
            f"--ca-certificate={world.ca}", "https://deb.debian.org/w"]
    ran = world.call(subprocess.run, wget, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and json.loads(ran.stdout)["path"] == "/w", ran
    url = named.url.replace("//", f"//bob:{PASSWORDS['bob']}@")
    ran = world.call(subprocess.run, [sys.executable, "-c", PYTHON, url, "http://deb.debian.org/p", str(world.ca)], env=clean_env(tmp),
                     capture_output=True, text=True, check=False)
    assert ran.stdout.startswith("200 ") or "`clients`" in ran.stdout, ran  # requests cannot choose its address
    records = (named.ginnel.dir / "stderr").read_text() + (named.ginnel.dir / "stdout").read_text()
    assert not [password for password in PASSWORDS.values() if password in records]


def test_names_and_passwords_mistyped(tmp):
    mistyped(tmp, "names-and-passwords.yaml", "groups: groups.txt", "grops: groups.txt", 0, "grops", "did you mean `groups`")
    mistyped(tmp, "names-and-passwords.yaml", "file: users.htpasswd", "file: users.htpaswd", 0, "users.htpaswd")


# --- 3: egress ---------------------------------------------------------------------------------------------------------


def test_egress(world, job):
    """U4 U41 U42 U39 FAILURES 17: the list, and nothing else; not the inside, but for one name that cannot be rebound"""
    egress = job("egress.yaml")
    for url in ("https://deb.debian.org/", "http://deb.debian.org/", "https://files.pypi.org/", "https://pypi.org/", "https://api.partner.example/"):
        egress.curl(url).reached()
    egress.curl("http://evil.example.net/").refused("Ask #egress", "ginnel.yaml:")
    egress.curl("https://evil.example.net/").refused()
    assert egress.ask("CONNECT", "deb.debian.org:22").status == 403
    egress.curl("https://artifactory.corp.example:8443/").reached("10.20.0.5")
    egress.curl("https://artifactory.corp.example/").refused()                                     # the port, too, is exact
    for url in ("https://10.20.0.5:8443/", "http://10.20.0.5/", "http://intranet.corp.example/", "http://169.254.169.254/", "http://127.0.0.1/",
                "http://[::1]/", "http://10.1.0.5:3128/"):
        egress.curl(url, "-k", "-g").refused()
    for i, address in enumerate(["10.21.0.5", "10.1.0.5", "127.0.0.1", "169.254.169.254"]):
        world.dns.answer(f"rebound{i}.debian.org", a=[address])
        egress.curl(f"http://rebound{i}.debian.org/").refused("private")
    world.dns.answer("artifactory.corp.example", a=["10.21.0.5"], ttl=0)
    time.sleep(1.05)                                                                               # the TTL of before, zero, is over
    egress.curl("https://artifactory.corp.example:8443/").refused()
    world.dns.answer("artifactory.corp.example", a=["10.20.0.5"], ttl=0)
    egress.curl("http://deb.debian.org/", source="10.2.0.1").refused("`clients`")


def test_fronting(world, job):
    """U49: the name on the list in the CONNECT, another one inside: the tunnel is cut before a byte of it gets through"""
    egress = job("egress.yaml")
    for hidden in ("evil.example.net", "www.example.org"):
        answer = egress.curl(f"https://{hidden}/", "--connect-to", f"{hidden}:443:deb.debian.org:443")
        assert (answer.connect, answer.status) == (200, 0) and answer.code in (35, 56), answer
    answer = egress.curl("http://deb.debian.org/", "--proxytunnel")                                # no TLS at all
    assert answer.status == 0 and answer.code in (52, 56), answer
    tunnel = egress.client().connect("deb.debian.org:443")
    tunnel.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    assert tunnel.wait_ended() == "RST"
    egress.curl("https://deb.debian.org/").reached()


def test_egress_mistyped(tmp):
    mistyped(tmp, "egress.yaml", "to: 10.20.0.0/16", "to: 10.20.0.0/33", 0, "10.20.0.0/33")
    mistyped(tmp, "egress.yaml", "./partners.txt", "./partner.txt", 0, "partner.txt")
    mistyped(tmp, "egress.yaml", "    port: 8443", "    ports: 8443", 0, "did you mean `port`")


# --- 4: tenants --------------------------------------------------------------------------------------------------------


def test_tenants(world, job, tmp):
    """U42 S001-25: each has its own list, its own address, its own limits"""
    write_users(tmp, "alice", "bob", "carol", "dave")
    tenants = job("tenants.yaml", ("requests: 50/s, burst: 100", "requests: 1/s, burst: 6"), ("500GB/month", "1MB/month"))
    red, blue = {"user": login("alice")}, {"user": login("carol")}
    assert tenants.curl("https://api.github.com/", **red).reached()["from"] == "203.0.113.7"
    assert tenants.curl("https://api.github.com/", **blue).reached()["from"] == "203.0.113.8"
    assert tenants.curl("http://www.example.org/", **blue).reached()["from"] == "203.0.113.8"
    tenants.curl("http://www.example.org/", **red).refused("no rule allows www.example.org", "blue", "`group`")
    tenants.curl("https://api.github.com/", user=login("dave")).refused()
    tenants.curl("https://api.github.com/").refused(status=407)
    answers = [tenants.curl("http://api.github.com/", "-D", "-", user=login("bob")) for _ in range(9)]   # 6, and what grows back meanwhile
    assert answers[0].status == 200 and answers[-1].status == 429, answers
    assert re.search(r"^retry-after: [1-9]", answers[-1].body, re.I | re.M)
    tenants.curl("http://api.github.com/", **blue).reached()                                       # it is bob's limit
    tenants.curl("http://www.example.org/bulk/1300000", "-o", tmp / "bulk", **blue)
    eventually(lambda: tenants.curl("http://www.example.org/", **blue).status == 429, what="the end of the quota")
    tenants.curl("http://www.example.org/", **blue).refused("ginnel.yaml:", status=429)
    eventually(lambda: tenants.curl("https://api.github.com/", user=login("alice")).connect == 200, what="the others' quota")


def test_tenants_mistyped(tmp):
    mistyped(tmp, "tenants.yaml", "requests: 50/s", "requests: 50/sec", 0, "50/sec", "50/s")
    mistyped(tmp, "tenants.yaml", "bind: 203.0.113.8", "bind: 203.0.113.800", 0, "203.0.113.800")
    mistyped(tmp, "tenants.yaml", "quota: 500GB/month", "quota: 500GB/moon", 0, "500GB/moon", "month")


# --- 5: audit first ----------------------------------------------------------------------------------------------------


def test_audit_then_enforce(world, job, tmp):
    """U52 U40: everything passes and is marked; rules come from the log; then the same is refused"""
    audit = job("audit.yaml")
    audit.curl("https://deb.debian.org/").reached()
    audit.curl("https://api.partner.example/").reached()
    audit.curl("http://www.example.org/").reached()
    audit.curl("http://intranet.corp.example/").refused("private")                                 # the guard holds
    listed = audit.records(server__address="deb.debian.org")[0]
    assert not listed.get("ginnel.would_deny")
    for name in ("api.partner.example", "www.example.org"):
        assert audit.records(server__address=name)[0].get("ginnel.would_deny"), name
    against = audit.command("check", "--against", audit.log)
    made = audit.command("policy", "from-log", audit.log)
    assert made.returncode == 0 and "intranet" not in re.sub("#.*", "", made.stdout), made
    for name in ("deb.debian.org", "api.partner.example", "www.example.org"):
        assert name in made.stdout
    audit.reload(("policy: report\n", ""))
    against = audit.command("check", "--against", audit.log)
    said = against.stdout + against.stderr
    assert "api.partner.example" in said and "www.example.org" in said, against
    audit.curl("https://deb.debian.org/").reached()
    audit.curl("https://api.partner.example/").refused()
    audit.curl("http://www.example.org/").refused("ginnel.yaml:")
    denied = audit.command("denied")
    assert "www.example.org" in denied.stdout and "allow" in denied.stdout, denied
    audit.reload((re.search(r"^rules:\n(?: .*\n)+", audit.text, re.M)[0], made.stdout))            # what the log says may pass
    for url in ("https://deb.debian.org/", "https://api.partner.example/", "http://www.example.org/"):
        audit.curl(url).reached()
    audit.curl("http://evil.example.net/").refused()


def test_audit_mistyped(tmp):
    mistyped(tmp, "audit.yaml", "policy: report", "policy: raport", 0, "raport", "report")


# --- 6: LDAP -----------------------------------------------------------------------------------------------------------

SLAPD = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {d}/slapd.pid
database mdb
suffix "dc=corp,dc=example"
rootdn "cn=admin,dc=corp,dc=example"
directory {d}
access to attrs=userPassword by anonymous auth
access to * by * read
"""
LDIF = """\
dn: dc=corp,dc=example
objectClass: domain
dc: corp

dn: ou=people,dc=corp,dc=example
objectClass: organizationalUnit
ou: people
"""
PERSON = """
dn: uid={name},ou=people,dc=corp,dc=example
objectClass: inetOrgPerson
uid: {name}
cn: {name}
sn: {name}
userPassword: {password}
"""


class Slapd:
    """A directory of the people in PASSWORDS, on ldap.corp.example's address."""

    def __init__(self, world, directory):
        directory.mkdir()
        (directory / "slapd.conf").write_text(SLAPD.format(d=directory))
        people = "".join(PERSON.format(name=name, password=password) for name, password in PASSWORDS.items() if password.isascii())
        env = clean_env(directory)
        slapd = shutil.which("slapd", path=env["PATH"])
        if not slapd or not pathlib.Path("/usr/lib/squid/basic_ldap_auth").exists():
            pytest.skip("no slapd or no basic_ldap_auth here: tools/install-deps test")
        subprocess.run([slapd, "-Tadd", "-f", directory / "slapd.conf"], input=LDIF + people, text=True, check=True, capture_output=True, env=env, timeout=30)
        argv = [slapd, "-d", "0", "-f", str(directory / "slapd.conf"), "-h", f"ldap://{INSIDE['ldap.corp.example']}:389"]
        with open(directory / "log", "wb") as log:
            self.child = world.call(subprocess.Popen, argv, cwd=directory, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(lambda: self.answers(world), what="slapd")

    def answers(self, world):
        assert self.child.poll() is None
        with contextlib.suppress(OSError):
            world.call(socket.create_connection, (INSIDE["ldap.corp.example"], 389), 1).close()
            return True
        return False

    def stop(self):
        self.child.kill()
        self.child.wait()


def test_ldap(world, job, tmp, serve):
    """S001-6 U39: who may bind may pass; squid's own helper asks"""
    slapd = Slapd(world, tmp / "slapd")
    serve(slapd)
    ldap = job("ldap.yaml", ("ldap://ldap.corp.example", f"ldap://{INSIDE['ldap.corp.example']}"))
    for scheme in ("http", "https"):
        ldap.curl(f"{scheme}://www.example.org/", user=login("alice")).reached()
        ldap.curl(f"{scheme}://www.example.org/", user=login("bob")).reached()
        ldap.curl(f"{scheme}://www.example.org/", user="alice:builder").refused(status=407)
        ldap.curl(f"{scheme}://www.example.org/", user="nobody:builder").refused(status=407)
        ldap.curl(f"{scheme}://www.example.org/", user="*:builder").refused(status=407)             # an LDAP filter's letters
        ldap.curl(f"{scheme}://www.example.org/").refused(status=407)
    slapd.stop()
    ldap.curl("https://www.example.org/", user=login("alice")).reached()                           # who was let in lately still is
    ldap.curl("http://www.example.org/", user=login("carol")).refused("cannot be verified", status=503)


def test_ldap_mistyped(tmp):
    mistyped(tmp, "ldap.yaml", "cache: 10m", "cache: 10 minutes", 0, "10 minutes", "10s")
    mistyped(tmp, "ldap.yaml", "/usr/lib/squid/basic_ldap_auth", "/usr/lib/squid/basic_ldap_aut", 0, "basic_ldap_aut")


# --- resolvers as attackers --------------------------------------------------------------------------------------------


class Resolver:
    """dnsmasq or unbound, in the world, on an address of its own."""

    def __init__(self, world, program, directory, address, lines):
        self.world, self.program, self.directory, self.address = world, program, directory, address
        self.directory.mkdir()
        path = shutil.which(program, path=clean_env(directory)["PATH"])
        if not path:
            pytest.skip(f"no {program} here: tools/install-deps test")
        conf = directory / f"{program}.conf"
        if program == "dnsmasq":
            conf.write_text(f"no-resolv\nno-hosts\nbind-interfaces\nlisten-address={address}\nlocal-ttl=1\n" + "\n".join(lines) + "\n")
            self.argv = [path, "-k", "-C", str(conf), "-u", "root", "-g", "root", "-x", str(directory / "pid"), "--log-facility=-"]
        else:
            local = "\n".join(f"  {line}" for line in lines)
            conf.write_text(f'server:\n  interface: {address}\n  do-daemonize: no\n  use-syslog: no\n  username: ""\n  chroot: ""\n  directory: "{directory}"\n'
                            f'  pidfile: "{directory}/pid"\n  access-control: 0.0.0.0/0 allow\n  module-config: "iterator"\n{local}\n'
                            "remote-control:\n  control-enable: no\n")
            self.argv = [path, "-d", "-c", str(conf)]
        self.child = None
        self.start()

    def start(self):
        with open(self.directory / "log", "ab") as log:
            self.child = self.world.call(subprocess.Popen, self.argv, cwd=self.directory, env=clean_env(self.directory), stdin=subprocess.DEVNULL,
                                         stdout=log, stderr=log)
        eventually(self.answers, what=f"{self.program}: {(self.directory / 'log').read_text()[-500:]}")

    def answers(self):
        assert self.child.poll() is None, (self.directory / "log").read_text()[-1000:]
        with contextlib.suppress(OSError):
            self.world.call(socket.create_connection, (self.address, 53), 1).close()
            return True
        return False

    def stop(self):
        self.child.kill()
        self.child.wait()


def test_split_horizon(world, tmp, serve):
    """U3 U4 FAILURES 17: unbound tells the proxy's network the inside address of a name that is public elsewhere: it is judged by that"""
    zone = ['local-zone: "corp.example." static', 'local-data: "www.corp.example. 60 A 10.9.0.80"', 'local-data: "shop.corp.example. 60 A 93.184.215.14"',
            'local-data: "both.corp.example. 60 A 10.9.0.80"', 'local-data: "both.corp.example. 60 A 93.184.215.14"',
            'local-data: "six.corp.example. 60 AAAA ::ffff:10.9.0.80"', 'local-data: "repo.corp.example. 60 A 10.20.0.7"']
    serve(Resolver(world, "unbound", tmp / "unbound", "10.0.0.53", zone))
    rules = [{"allow": "repo.corp.example", "to": "10.20.0.0/16"}, {"allow": ".corp.example"}]
    ginnel = world.call(Ginnel, {"resolver": {"servers": ["10.0.0.53"]}, "rules": rules})

    def get(name):
        with world.call(ginnel.client) as client:
            return client.ask(request("GET", f"http://{name}.corp.example/"))

    for name in ("www", "six"):
        assert get(name).status == 403
    for name, address in (("shop", "93.184.215.14"), ("both", "93.184.215.14"), ("repo", "10.20.0.7")):
        answer = get(name)
        assert answer.status == 200 and json.loads(answer.body)["here"] == address, answer
    assert get("none").status == 502


def test_rebinding_resolver(world, tmp, serve):
    """U3 FAILURES 17: dnsmasq says a public address first, and the inside once the TTL is over"""
    dnsmasq = serve(Resolver(world, "dnsmasq", tmp / "dnsmasq", "10.0.0.54", ["address=/rebind.example/93.184.215.14"]))
    ginnel = world.call(Ginnel, {"workers": 1, "resolver": {"servers": ["10.0.0.54"]}, "private": "deny"})
    client = world.call(ginnel.client)
    answer = client.ask(request("GET", "http://x.rebind.example/"))
    assert answer.status == 200 and json.loads(answer.body)["here"] == "93.184.215.14"
    dnsmasq.stop()
    conf = dnsmasq.directory / "dnsmasq.conf"
    conf.write_text(conf.read_text().replace("93.184.215.14", "169.254.169.254"))
    dnsmasq.start()
    seen = []

    def refused():
        seen.append(client.ask(request("GET", "http://x.rebind.example/")))
        return seen[-1].status == 403

    eventually(refused, what="the end of the TTL")
    assert "destination_ip_prohibited" in seen[-1].value("proxy-status")
    assert all(answer.status != 200 or json.loads(answer.body)["here"] == "93.184.215.14" for answer in seen)
    with world.call(ginnel.client) as other:
        assert other.ask(request("CONNECT", "x.rebind.example:443")).status == 403
