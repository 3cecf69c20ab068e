# SPDX-License-Identifier: MIT
"""TLS between client and proxy: which certificate, which version, which HTTP; what is refused, and how it is said; floods, reloads, client certificates."""

import hashlib
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

from harness import FIN, Client, eventually, request, scaled
from harness.certs import Authority
from harness.ginnel import run_ginnel
from harness.hello import client_hello
from harness.tls import TlsClient


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Signs what these tests show."""
    return Authority(tmp_path_factory.mktemp("door"))


@pytest.fixture(scope="session")
def pairs(authority):
    return {name: authority.issue(name, (name, "127.0.0.1") if name == "one.test" else (name,)) for name in ("one.test", "two.test", "three.test")}


def tls(pair, **more):
    return {"cert": str(pair.cert), "key": str(pair.key), **more}


def config(pair, listener=None, **more):
    return {"listen": [{"address": "127.0.0.1:0", "name": "door", "tls": tls(pair), **(listener or {})}, "127.0.0.1:0"], **more}


def connect(proxy, authority, name="one.test", alpn=("http/1.1",), pair=None, change=None, **options):
    context = authority.client_context(list(alpn), pair)
    if change:
        change(context)
    return TlsClient(proxy.host, proxy.port, context, name, **options)


def shown(client):
    """The names in the certificate that was shown."""
    return [value for _, value in client.sock.obj.getpeercert()["subjectAltName"]]


def fetch(client, web, path="/x"):
    answer = client.ask(request("GET", f"http://{web.authority}{path}"))
    assert answer.status == 200
    return answer


def said(proxy, *texts):
    """The log is written by a thread of its own."""
    for text in texts:
        eventually(lambda text=text: text in proxy.stderr(), what=f"{text!r} in the log")


def failed(proxy):
    return proxy.metrics()["ginnel_tls_handshakes_failed_total"]


# --- what is agreed on ---------------------------------------------------------------------------------------------


@pytest.fixture
def door(start, pairs):
    return start(config(pairs["one.test"], {"tls": tls(pairs["one.test"], more=[tls(pairs["two.test"])])}))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_versions_certificates_alpn_and_records(door, authority, pairs, web):
    """U25 (the same port for all): 1.2 and 1.3, by SNI, http/1.1 and h2, one access record each that says so"""
    for version, text in ((ssl.TLSVersion.TLSv1_2, "1.2"), (ssl.TLSVersion.TLSv1_3, "1.3")):
        def only(context, version=version):
            context.minimum_version = context.maximum_version = version

        client = connect(door, authority, change=only)
        assert client.sock.obj.version() == f"TLSv{text}" and client.alpn() == "http/1.1"
        fetch(client, web, f"/{text}")
        client.close()
        record = door.wait_access(1, {"url.path": f"/{text}"})[0]
        assert record["tls.version"] == text and record["tls.next_protocol"] == "http/1.1" and record["network.protocol.version"] == "1.1"
        assert record["tls.cipher"] == client.sock.obj.cipher()[0]
    assert "two.test" in shown(connect(door, authority, "two.test"))
    assert "one.test" in shown(connect(door, authority, "127.0.0.1"))
    assert connect(door, authority, alpn=()).alpn() is None
    assert connect(door, authority, alpn=("h2", "http/1.1")).alpn() == "h2"
    with pytest.raises(ssl.SSLError, match="no application protocol|NO_APPLICATION_PROTOCOL"):  # C83
        connect(door, authority, alpn=("spdy/1",))

    def old(context):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("DEFAULT:@SECLEVEL=0")

    with pytest.raises((ssl.SSLError, OSError)):
        connect(door, authority, change=old)
    eventually(lambda: failed(door) == 2, what="failed handshakes to be counted")
    said(door, "no TLS with 127.0.0.1:", " on door: ")
    assert not door.access({"http.response.status_code": 400})


def test_hello_byte_by_byte(door, authority, web):
    """However the ClientHello is cut."""
    context = authority.client_context(["http/1.1"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    obj = context.wrap_bio(incoming, outgoing, server_hostname="one.test")
    client = Client(door.host, door.port)
    with pytest.raises(ssl.SSLWantReadError):
        obj.do_handshake()
    client.send_bytewise(outgoing.read())
    while True:
        incoming.write(client.recv_some())
        try:
            obj.do_handshake()
            break
        except ssl.SSLWantReadError:
            pass
    obj.write(request("GET", f"http://{web.authority}/cut"))
    client.send_bytewise(outgoing.read())
    answer = b""
    while b"200" not in answer:
        incoming.write(client.recv_some())
        try:
            answer += obj.read(65536)
        except ssl.SSLWantReadError:
            pass


def test_ends(door, authority, web):
    """C80: the answer, close_notify, FIN; and a client that is cut off is no end of its request"""
    client = connect(door, authority)
    client.send(request("GET", f"http://{web.authority}/last", "Connection: close"))
    assert client.recv_response().status == 200
    client.expect_end(FIN)


def test_clear_on_a_tls_port(start, pairs, web, authority):
    """A readable 400 that says what to do; with `clear: yes` both are spoken; SOCKS is closed"""
    proxy = start(config(pairs["one.test"]))
    client = proxy.client()
    answer = client.ask(request("GET", f"http://{web.authority}/"))
    assert answer.status == 400 and b"https://" in answer.body and b"clear: yes" in answer.body
    assert answer.values("proxy-status")
    client.expect_end(FIN)
    client = proxy.client()
    client.send(b"\x05\x01\0")
    client.expect_end()
    client = Client(*proxy.listeners[1])
    client.send(client_hello("x.test"))
    client.expect_end()
    said(proxy, "speaks plain HTTP on door", "a client began with TLS on a plain HTTP proxy port")
    assert proxy.access() == []
    open_to_both = start(config(pairs["one.test"], {"tls": tls(pairs["one.test"], clear=True)}))
    fetch(open_to_both.client(), web)
    fetch(connect(open_to_both, authority), web)


def test_garbage_is_no_record(door):
    """A handshake that fails: an alert, a line, no access record"""
    client = Client(door.host, door.port)
    client.send(b"\x16\x03\x01\x00\x05hello")
    client.wait_ended()
    eventually(lambda: failed(door) == 1, what="it to be counted")
    client = Client(door.host, door.port)
    client.send(client_hello("one.test")[:-3] + b"zzz" + b"\x17\x03\x03\0\1x")
    client.wait_ended()
    assert door.access() == []


# --- time and number -----------------------------------------------------------------------------------------------


def test_half_a_hello_times_out(start, pairs):
    proxy = start(config(pairs["one.test"], timeouts={"tls": "300ms"}))
    client = proxy.client()
    client.send(client_hello("one.test")[:40])
    began = time.monotonic()
    client.wait_ended(within=10)
    assert time.monotonic() - began > 0.2
    client = proxy.client()
    client.send(client_hello("one.test"))
    client.recv_some()
    client.wait_ended(within=10)
    eventually(lambda: failed(proxy) == 2, what="both to be counted")
    said(proxy, "its ClientHello took too long")


def test_a_flood_of_half_open_handshakes(start, pairs, authority, origin, web):
    """500 connections with half a ClientHello, and more whole ones than there are places, which are never finished: a tunnel goes on, and who comes is served"""
    proxy = start(config(pairs["one.test"], capacity={"handshakes": 20}, timeouts={"tls": "30s"}))
    tunnel = connect(proxy, authority).connect(origin.authority)
    far = origin.accept()
    half, whole = client_hello("one.test")[:60], client_hello("one.test")
    flood = []
    for i in range(560):
        client = proxy.client()
        client.send(half if i < 500 else whole)
        flood.append(client)
    tunnel.send(b"ping")
    assert far.recv_exactly(4) == b"ping"
    far.send(b"pong")
    assert tunnel.recv_exactly(4) == b"pong"
    fetch(connect(proxy, authority, within=20), web)
    fetch(Client(*proxy.listeners[1]), web)
    for client in flood:
        client.close()


# --- reloads -------------------------------------------------------------------------------------------------------


def replace(pair, cert, key):
    """Both files, each by rename, as tools that renew do."""
    for source, to in ((pair.cert, cert), (pair.key, key)):
        shutil.copy(source, f"{to}.new")
        os.rename(f"{to}.new", to)


def test_certificates_are_replaced_under_load(start, pairs, authority, web, tmp_path):
    """FAILURES 21: changed files are used; a bad pair keeps the old one, and is said; nothing of the traffic notices"""
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
    shutil.copy(pairs["one.test"].cert, cert)
    shutil.copy(pairs["one.test"].key, key)
    proxy = start(config(pairs["one.test"], {"tls": {"cert": str(cert), "key": str(key)}}))
    stop, faults, asked = threading.Event(), [], [0]

    def load():
        while not stop.is_set():
            try:
                with connect(proxy, authority, "127.0.0.1", change=lambda c: setattr(c, "check_hostname", False)) as client:
                    fetch(client, web)
                    asked[0] += 1
            except (OSError, AssertionError) as error:
                faults.append(error)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        before = connect(proxy, authority)
        replace(pairs["two.test"], cert, key)
        assert "configuration 2: changed listen" in proxy.wait_reload(1)
        assert "two.test" in shown(connect(proxy, authority, "two.test"))
        fetch(before, web)
        key.write_bytes(pairs["three.test"].key.read_bytes())
        assert "failed: the configuration of before stays in service" in proxy.wait_reload(2)
        said(proxy, "the key does not belong to the certificate")
        assert "two.test" in shown(connect(proxy, authority, "two.test"))
        replace(pairs["three.test"], cert, key)
        assert "configuration 3: changed listen" in proxy.wait_reload(3)
        assert "three.test" in shown(connect(proxy, authority, "three.test"))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert asked[0] > 3 and not faults, faults


def test_refused_at_start(pairs, authority):
    """With the path and the reason, exit code 78"""
    expired = authority.issue("expired.test", ("expired.test",), expired=True)
    for pair, says in ((tls(expired), "has expired on 2020-02-01"),
                       ({"cert": str(pairs["one.test"].cert), "key": str(pairs["two.test"].key)}, "the key does not belong to the certificate"),
                       ({"cert": "/nowhere/x.pem", "key": "/nowhere/x.key"}, '"/nowhere/x.pem" cannot be read: No such file')):
        done = run_ginnel(config={"listen": {"address": "127.0.0.1:0", "tls": pair}})
        assert done.returncode == 78 and says in done.stderr, done.stderr


def test_tickets(start, pairs, authority, web, tmp_path):
    """Sessions are resumed at any worker, after a reload, and with keys from a file at another machine; off is off"""
    keys = tmp_path / "keys"
    keys.write_bytes(os.urandom(80))

    def only_12(context):
        context.maximum_version = ssl.TLSVersion.TLSv1_2

    def twice(first, second, between=lambda: None):
        context = authority.client_context(["http/1.1"])
        only_12(context)
        session = None
        for proxy in (first, second):
            if session:
                between()
            with socket.create_connection((proxy.host, proxy.port)) as sock, context.wrap_socket(sock, server_hostname="one.test", session=session) as s:
                session, again = s.session, s.session_reused
        return again

    one = start(config(pairs["one.test"]))
    assert twice(one, one)
    assert twice(one, one, lambda: one.reload(config(pairs["one.test"], reasons="all")))
    fleet = [start(config(pairs["one.test"], {"tls": tls(pairs["one.test"], tickets=str(keys))})) for _ in range(2)]
    assert twice(*fleet)
    assert not twice(one, fleet[0])
    one.reload(config(pairs["one.test"], {"tls": tls(pairs["one.test"], tickets="off")}))
    assert not twice(one, one)


# --- who clients are -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def people(authority):
    return {
        "anna": authority.issue("anna", (), client=True, subject="/O=Example/CN=anna", email="anna@example.net"),
        "odd": authority.issue("odd", (), client=True, subject="/CN=a,b"),
        "strange": Authority(pathlib.Path(authority.dir, "other"), "other").issue("strange", (), client=True, subject="/CN=anna"),
    }


def who(client, web=None):
    answer = client.ask(request("GET", "http://ginnel.internal/"))
    assert answer.status == 200, answer
    return json.loads(answer.body).get("user")


def test_client_certificates(start, pairs, authority, people, web, tmp_path):
    """A user by certificate: rules, groups, logs and capacity see it, nobody asks for a password; others get in without or not at all"""
    pathlib.Path(tmp_path, "users").write_text("")
    pathlib.Path(tmp_path, "groups").write_text("staff: anna\n")
    rules = [{"allow": "127.0.0.1", "to": "127.0.0.0/8", "port": "any", "group": "staff"}]
    proxy = start(config(pairs["one.test"], {"tls": tls(pairs["one.test"], **{"client-ca": str(authority.cert)}),
                                             "users": {"file": str(tmp_path / "users"), "groups": str(tmp_path / "groups")}}, rules=rules))
    client = connect(proxy, authority, pair=people["anna"])
    assert who(client) == "anna"
    fetch(client, web, "/anna")
    record = proxy.wait_access(1, {"url.path": "/anna"})[0]
    assert record["user.name"] == "anna" and record["ginnel.groups"] == "staff"
    for pair in (None, people["strange"]):
        with pytest.raises((ssl.SSLError, OSError, AssertionError)):
            fetch(connect(proxy, authority, pair=pair), web)
    odd = connect(proxy, authority, pair=people["odd"])
    assert odd.ask(request("GET", f"http://{web.authority}/")).status == 407
    said(proxy, "a client's certificate names no user")


def test_optional_and_mapped(start, pairs, authority, people, tmp_path):
    pathlib.Path(tmp_path, "map").write_text("anna@example.net ops\n")
    more = {"client-ca": str(authority.cert), "client": "optional", "client-name": "email", "client-map": str(tmp_path / "map")}
    proxy = start(config(pairs["one.test"], {"tls": tls(pairs["one.test"], **more)}))
    assert who(connect(proxy, authority, pair=people["anna"])) == "ops"
    assert who(connect(proxy, authority, pair=people["odd"])) is None
    assert who(connect(proxy, authority)) is None
    proxy.reload(config(pairs["one.test"], {"tls": tls(pairs["one.test"], **{**more, "client-name": "subject"})}))
    assert who(connect(proxy, authority, pair=people["anna"])) is None


# --- auto, keys, tools ---------------------------------------------------------------------------------------------


def test_auto(start, web):
    """A self-signed certificate, made once and kept; its fingerprint is said, and stands in `status`"""
    proxy = start({"listen": {"address": "127.0.0.1:0", "tls": "auto"}})
    trusted = proxy.dir / "tls-auto.crt"
    assert (proxy.dir / "tls-auto.pem").stat().st_mode & 0o777 == 0o600
    context = ssl.create_default_context(cafile=trusted)
    context.set_alpn_protocols(["http/1.1"])
    client = TlsClient(proxy.host, proxy.port, context, "localhost")
    fetch(client, web)
    sha = hashlib.sha256(client.sock.obj.getpeercert(True)).hexdigest().upper()
    fingerprint = ":".join(sha[i:i + 2] for i in range(0, 64, 2))
    said(proxy, f"SHA-256 {fingerprint}")
    assert fingerprint in proxy.command("status").stdout
    assert TlsClient(proxy.host, proxy.port, context, "127.0.0.1").alpn() == "http/1.1"
    proxy.reload({"listen": {"address": "127.0.0.1:0", "tls": "auto"}, "reasons": "all"})
    assert "127.0.0.1" in shown(TlsClient(proxy.host, proxy.port, context, "localhost"))


def test_keylog(start, pairs, authority, web, tmp_path):
    """SSLKEYLOGFILE: a warning at start, and lines that open what was said"""
    path = tmp_path / "keys.log"
    proxy = start(config(pairs["one.test"]), env={"SSLKEYLOGFILE": str(path)})
    fetch(connect(proxy, authority), web)
    eventually(lambda: path.exists() and "CLIENT_TRAFFIC_SECRET_0" in path.read_text(), what="the key log")
    assert path.stat().st_mode & 0o777 == 0o600
    said(proxy, "SSLKEYLOGFILE is set")


def test_openssl_s_client(door, authority):
    """The tool that operators try first; a staple is none where none is given"""
    done = subprocess.run(["openssl", "s_client", "-connect", f"{door.host}:{door.port}", "-servername", "two.test", "-CAfile", str(authority.cert),
                           "-verify_return_error", "-alpn", "http/1.1", "-quiet"],
                          input=b"GET /healthz HTTP/1.1\r\nHost: two.test\r\nConnection: close\r\n\r\n", capture_output=True, timeout=scaled(20), check=False)
    assert b"HTTP/1.1 200 OK" in done.stdout, done


# --- PAC -----------------------------------------------------------------------------------------------------------


def test_pac(start, pairs, authority):
    """HTTPS proxies first; the host is what was asked for, and for TLS a name of the certificate"""
    proxy = start(config(pairs["one.test"]))
    secure, clear = (port for _, port in proxy.listeners)

    def pac(client, host, path="/proxy.pac", method="GET"):
        answer = client.ask(request(method, path, host=host), method=method)
        assert answer.status == 200 and answer.values("content-type") == ["application/x-ns-proxy-autoconfig"]
        return answer.body.decode()

    def expected(https, plain):
        return f'function FindProxyForURL(url, host) {{\n  return "HTTPS {https}:{secure}; PROXY {plain}:{clear}";\n}}\n'

    plain = Client(*proxy.listeners[1])
    assert pac(plain, "one.test") == expected("one.test", "one.test")
    assert pac(plain, "wpad", "/wpad.dat") == expected("one.test", "wpad")
    assert pac(plain, f"127.0.0.1:{clear}") == expected("127.0.0.1", "127.0.0.1")
    assert pac(connect(proxy, authority), "ONE.test:99") == expected("one.test", "one.test")
    assert pac(plain, "one.test", method="HEAD") == ""
    assert plain.ask(request("POST", "/proxy.pac", host="one.test", body=b"")).status == 405
    answer = Client(*proxy.listeners[1]).ask(request("GET", "/proxy.pac", host='x";alert(1)//'))
    assert answer.status == 400


@pytest.mark.parametrize("says, offers, gets", [("http/1.1", ("h2", "http/1.1"), "http/1.1"), (["http/1.1", "h2"], ("h2", "http/1.1"), "h2"), ("h2", ("http/1.1", "h2"), "h2"),
                                                ("http/1.1", (), None)])
def test_alpn(start, pairs, authority, web, says, offers, gets):
    """C83: what a listener lets clients choose from"""
    proxy = start(config(pairs["one.test"], {"tls": tls(pairs["one.test"], alpn=says)}))
    client = connect(proxy, authority, alpn=offers)
    assert client.alpn() == gets
    if gets != "h2":
        fetch(client, web)


def test_alpn_without_overlap(start, pairs, authority):
    """C83: no_application_protocol"""
    proxy = start(config(pairs["one.test"], {"tls": tls(pairs["one.test"], alpn="http/1.1")}))
    with pytest.raises(ssl.SSLError):
        connect(proxy, authority, alpn=("h2",))
