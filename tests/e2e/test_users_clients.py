# SPDX-License-Identifier: MIT
"""Real clients that log in, and squid's programs that verify them: htpasswd files, and LDAP with a real directory."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest
import requests

from harness import Ginnel, eventually, free_port, scaled
from harness.origins import Site, clean_env, listening
from harness.ways import SQUID, Ways

# What crypt(3) makes of "secret" and "pässwörd", with little work.
SECRET = "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2"
PAESSWOERD = "$6$rounds=1000$saltsalt$osotUMSS7K.0TIfteadkw2nXkU3mHd2sic8QLeQ4NmBYvnNlee/nDNLXQJypj6pZfrDryJ6nKZzumyw65bri70"
HELPERS = pathlib.Path("/usr/lib/squid")
CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions", "--disable-dev-shm-usage",
    "--disable-domain-reliability", "--no-pings", "--metrics-recording-only", "--ignore-certificate-errors", "--proxy-bypass-list=<-loopback>",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
]


# With wrong passwords only test_curl comes every way: all ways but one lead from 127.0.0.1, and ten guesses from one address are answered with 407
GUESSED = "clear-h1"
# who may, and what they may
RULES = {"rules": [{"deny": "refused.test"}, {"allow": "any", "port": "any", "expect": "any"}], "private": "allow"}


@pytest.fixture(scope="module")
def ways(workdir, certificates, names):
    """Every way in to a ginnel that wants a name and a password."""
    users = workdir / "users"
    users.write_text(f"john:{SECRET}\nzoe:{PAESSWOERD}\n")
    ways = Ways(workdir, certificates, names, {"users": str(users), **RULES})
    yield ways
    ways.close()


def asks(way):
    """False where the password is between two ginnels, and no client can give it."""
    return not way.outer


def site():
    return Site(lambda request: (200, {"Content-Type": "text/html"}, f"<p>seen {request.headers.get('Proxy-Authorization')}".encode()))


def test_curl(way, run, serve, nginx, certificates):
    """S001-6: plain and through CONNECT; --proxy-anyauth asks first and then answers the challenge."""
    web, proxy = serve(site()), way.native_curl
    where = f"http://origin.test:{web.port}/"
    curl = ["curl", "-s", "--cacert", certificates.ca, "--proxy-cacert", certificates.ca, "-x", proxy]
    code = ["-o", "/dev/null", "-w", "%{http_code} %{http_connect} %{num_connects}"]
    tls = nginx.url("/seen", tls=True)

    def asked(*args, status=0):
        return run(*curl, *code, *args, status=status).stdout

    if not asks(way):  # U13: a ginnel gives its parent nobody's password but its own, and asks nobody for it
        for who in [], ["--proxy-user", "john:secret"]:
            assert asked(*who, where) == "502 000 1"
            assert asked(*who, tls, status=56) == "000 502 1"
        return
    assert asked(where) == "407 000 1"
    assert asked("--proxy-user", "john:secret", where) == "200 000 1"
    assert asked("--proxy-user", "john:wrong", where) == "407 000 1"
    assert asked("--proxy-user", "zoe:pässwörd", where) == "200 000 1"
    assert asked("--proxy-anyauth", "--proxy-user", "john+red:secret", where) == "200 000 1"
    assert asked("--proxy-user", "john:secret", tls).startswith("200 200")
    assert asked(tls, status=None).startswith("000 407")
    # after the 407 of a CONNECT it comes again on another connection; nghttpx keeps the first, and answers 400 to the second CONNECT on it; squid drops what
    # the 407 says and closes, so that curl gives up
    again = {"nghttpx": "000 400 1", "squid": "000 407 1"}.get(way.first, "200 200 2")
    assert asked("--proxy-anyauth", "--proxy-user", "john:secret", tls, status=56 if way.first in ("nghttpx", "squid") else 0) == again
    assert run(*curl, "--proxy-user", "john:secret", where).stdout == "<p>seen None"


def test_python(way, serve):
    web = serve(site())
    for who, status in [("john:secret", 200)] + ([("john:wrong", 407)] if way.name == GUESSED else []):
        answer = requests.get(f"http://origin.test:{web.port}/", proxies={"http": f"http://{who}@{way.addr}"}, timeout=scaled(20))
        assert answer.status_code == (status if asks(way) else 502)


@pytest.mark.ways("clear-h1", "tls-h2", SQUID)
def test_node(way, run, serve):
    agent = next((p for p in map(pathlib.Path, ("/usr/share/nodejs", "/usr/lib/node_modules/npm/node_modules"))
                  if (p / "https-proxy-agent").is_dir()), None)
    if not agent:
        pytest.skip("no https-proxy-agent here")
    web = serve(site())
    script = f"""
        const {{ HttpsProxyAgent }} = require('{agent}/https-proxy-agent');
        const agent = new HttpsProxyAgent('http://' + process.argv[1] + '@{way.addr}');
        require('http').get('http://origin.test:{web.port}/', {{agent}}, (r) => {{ console.log(r.statusCode); r.resume(); }})
            .on('error', (e) => console.log(e.message));"""
    assert run("node", "-e", script, "john:secret").stdout == ("200\n" if asks(way) else "502\n")
    if way.name == GUESSED:
        assert "407" in run("node", "-e", script, "john:wrong").stdout


@contextlib.contextmanager
def chromium(proxy_url, url, *flags):
    with tempfile.TemporaryDirectory(prefix="ginnel-e2e-", ignore_cleanup_errors=True) as home:
        child = subprocess.Popen([shutil.which("chromium"), *CHROMIUM, f"--proxy-server={proxy_url}",
                                  f"--user-data-dir={home}/profile", *flags, url], env=clean_env(home), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            child.stdout.close()


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")
@pytest.mark.ways("clear-h1", "tls-h2")
def test_chromium(way, serve):
    """At 407 without anybody to ask it shows a page, and does not try for ever."""
    web = serve(site())
    with chromium(way.native if way.is_h2 else way.url, f"http://origin.test:{web.port}/wanted", "--dump-dom") as child:
        dom, _ = child.communicate(timeout=scaled(60))
    asked = way.wait_records(url__path="/wanted")
    assert {r["http.response.status_code"] for r in asked} == {407} and len(asked) <= 3
    assert b"seen" not in dom and not web.requests


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")
def test_chromium_shows_a_refusal():
    """Nobody else's page: a rule's 403 is ours to read."""
    proxy = Ginnel({"resolver": {"servers": ["127.0.0.1:1"]}, "private": "allow",
                    "rules": [{"deny": "refused.test", "say": "not that one"}, {"allow": "any", "port": "any"}]})
    with chromium(f"http://{proxy.addr}", "http://refused.test/", "--dump-dom") as child:
        dom, _ = child.communicate(timeout=scaled(60))
    assert b"403" in dom and b"not that one" in dom and b"ginnel" in dom, dom.decode()


# --- squid's programs ------------------------------------------------------------------------------------------------


def statuses(run, proxy, web, *who):
    return [run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-x", f"http://{proxy.addr}", "--proxy-user", w,
                f"http://127.0.0.1:{web.port}/").stdout for w in who]


@pytest.mark.skipif(not (HELPERS / "basic_ncsa_auth").exists(), reason="no basic_ncsa_auth here (package squid)")
def test_basic_ncsa_auth(run, tmp, serve):
    (tmp / "htpasswd").write_text(f"john:{SECRET}\nspace man:{PAESSWOERD}\n")
    web = serve(site())
    proxy = Ginnel({"users": {"command": [str(HELPERS / "basic_ncsa_auth"), str(tmp / "htpasswd")], "children": 2}})
    assert statuses(run, proxy, web, "john:secret", "john:wrong", "nobody:secret", "space man:pässwörd") == ["200", "407", "407", "200"]


SLAPD = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {0}/pid
database mdb
suffix "dc=test"
directory {0}/db
maxsize 10485760
"""
ENTRIES = """dn: dc=test
objectClass: dcObject
objectClass: organization
o: test
dc: test

dn: ou=people,dc=test
objectClass: organizationalUnit
ou: people

dn: uid=john,ou=people,dc=test
objectClass: inetOrgPerson
uid: john
cn: John
sn: John
userPassword: secret

dn: uid=zoe,ou=people,dc=test
objectClass: inetOrgPerson
uid: zoe
cn: Zoe
sn: Zoe
userPassword:: cMOkc3N3w7ZyZA==
"""


@pytest.fixture
def directory(tmp):
    """A directory of its own on loopback: nothing of the system's slapd is used but its program and schemas."""
    program = shutil.which("slapd", path="/usr/sbin:/usr/local/sbin")
    if not program or not pathlib.Path("/etc/ldap/schema/core.schema").exists():
        pytest.skip("no slapd here")
    if not (HELPERS / "basic_ldap_auth").exists():
        pytest.skip("no basic_ldap_auth here (package squid)")
    (tmp / "db").mkdir()
    (tmp / "slapd.conf").write_text(SLAPD.format(tmp))
    (tmp / "entries").write_text(ENTRIES)
    port = free_port()

    def slapd(*args, **options):
        return subprocess.Popen([program, *map(str, args)], env=clean_env(tmp), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, **options)

    subprocess.run([program, "-T", "add", "-f", str(tmp / "slapd.conf"), "-l", str(tmp / "entries")], env=clean_env(tmp), check=True,
                   capture_output=True, timeout=scaled(30))
    child = slapd("-d", "0", "-h", f"ldap://127.0.0.1:{port}", "-f", tmp / "slapd.conf")
    try:
        eventually(lambda: listening(port) or child.poll() is not None, 15, "slapd")
        assert child.poll() is None, child.stderr.read()
        yield port
    finally:
        child.terminate()
        child.wait(scaled(15))
        child.stderr.close()


@pytest.mark.parametrize("options", [["-u", "uid"], ["-u", "uid", "-P"], ["-f", "uid=%s"]])
def test_basic_ldap_auth(run, directory, serve, options):
    """Issue 5: users from LDAP, by squid's own program; its ways of saying that a password is wrong are several."""
    web = serve(site())
    proxy = Ginnel({"users": {"command": [str(HELPERS / "basic_ldap_auth"), "-v", "3", "-b", "ou=people,dc=test", *options,
                                          "-H", f"ldap://127.0.0.1:{directory}"], "children": 2}})
    assert statuses(run, proxy, web, "john:secret", "john:wrong", "nobody:x", "zoe:pässwörd", "john+red:secret") \
        == ["200", "407", "407", "200", "200"]
    text = proxy.stderr() + proxy.access_path.read_text()
    assert "secret" not in text.replace("tell secrets", "")
