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


@pytest.fixture
def guarded(tmp, names):
    (tmp / "users").write_text(f"john:{SECRET}\nzoe:{PAESSWOERD}\n")
    return Ginnel({"users": str(tmp / "users"), "resolver": {"servers": [names.address]},
                   "rules": [{"deny": "refused.test"}, {"allow": "any", "port": "any", "expect": "any"}],
                   "private": "allow"})


def site():
    return Site(lambda request: (200, {"Content-Type": "text/html"}, f"<p>seen {request.headers.get('Proxy-Authorization')}".encode()))


def test_curl(guarded, run, serve, nginx, certificates):
    """S001-6: plain and through CONNECT; --proxy-anyauth asks first and then answers the challenge."""
    web, proxy = serve(site()), f"http://{guarded.addr}"
    where = f"http://origin.test:{web.port}/"
    code = ["-s", "-o", "/dev/null", "-w", "%{http_code} %{http_connect} %{num_connects}"]
    assert run("curl", *code, "-x", proxy, where).stdout == "407 000 1"
    assert run("curl", *code, "-x", proxy, "--proxy-user", "john:secret", where).stdout == "200 000 1"
    assert run("curl", *code, "-x", proxy, "--proxy-user", "john:wrong", where).stdout == "407 000 1"
    assert run("curl", *code, "-x", proxy, "--proxy-user", "zoe:pässwörd", where).stdout == "200 000 1"
    assert run("curl", *code, "-x", proxy, "--proxy-anyauth", "--proxy-user", "john+red:secret", where).stdout == "200 000 1"
    tls = ["--cacert", certificates.ca, nginx.url("/seen", tls=True)] if hasattr(certificates, "ca") else ["-k", nginx.url("/seen", tls=True)]
    assert run("curl", *code, "-x", proxy, "--proxy-user", "john:secret", *tls).stdout.startswith("200 200")
    assert run("curl", *code, "-x", proxy, *tls, status=None).stdout.startswith("000 407")
    # after the 407 of a CONNECT it comes again on another connection
    assert run("curl", *code, "-x", proxy, "--proxy-anyauth", "--proxy-user", "john:secret", *tls).stdout == "200 200 2"
    assert run("curl", "-s", "-x", proxy, "--proxy-user", "john:secret", where).stdout == "<p>seen None"


def test_python(guarded, serve):
    web = serve(site())
    for who, status in ("john:secret", 200), ("john:wrong", 407):
        answer = requests.get(f"http://origin.test:{web.port}/", proxies={"http": f"http://{who}@{guarded.addr}"}, timeout=scaled(20))
        assert answer.status_code == status


def test_node(guarded, run, serve):
    agent = next((p for p in map(pathlib.Path, ("/usr/share/nodejs", "/usr/lib/node_modules/npm/node_modules"))
                  if (p / "https-proxy-agent").is_dir()), None)
    if not agent:
        pytest.skip("no https-proxy-agent here")
    web = serve(site())
    script = f"""
        const {{ HttpsProxyAgent }} = require('{agent}/https-proxy-agent');
        const agent = new HttpsProxyAgent('http://' + process.argv[1] + '@{guarded.addr}');
        require('http').get('http://origin.test:{web.port}/', {{agent}}, (r) => {{ console.log(r.statusCode); r.resume(); }})
            .on('error', (e) => console.log(e.message));"""
    assert run("node", "-e", script, "john:secret").stdout == "200\n"
    assert "407" in run("node", "-e", script, "john:wrong").stdout


@contextlib.contextmanager
def chromium(proxy, url, *flags):
    with tempfile.TemporaryDirectory(prefix="ginnel-e2e-", ignore_cleanup_errors=True) as home:
        child = subprocess.Popen([shutil.which("chromium"), *CHROMIUM, f"--proxy-server=http://{proxy.addr}",
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
def test_chromium(guarded, serve, tmp):
    """At 407 without anybody to ask it shows a page, and does not try for ever; a 403 is ours to read."""
    web = serve(site())
    with chromium(guarded, f"http://origin.test:{web.port}/wanted", "--dump-dom") as child:
        dom, _ = child.communicate(timeout=scaled(60))
    asked = guarded.wait_access(1, {"url.path": "/wanted"})
    assert {r["http.response.status_code"] for r in asked} == {407} and len(asked) <= 3
    assert b"seen" not in dom and not web.requests
    # nobody else's page: with names for all, a rule's refusal
    guarded.reload({"resolver": {"servers": ["127.0.0.1:1"]}, "private": "allow",
                    "rules": [{"deny": "refused.test", "say": "not that one"}, {"allow": "any", "port": "any"}]})
    with chromium(guarded, f"http://refused.test:{web.port}/", "--dump-dom") as child:
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
