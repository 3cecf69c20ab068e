# SPDX-License-Identifier: MIT
"""What is inside a tunnel, without opening it (U49, C85): from a configuration to the record in the log. Every way to begin is in tests/sim/test_peek.c."""

import time

import pytest

from harness import FIN, RST, Ginnel, Origin
from harness.hello import RETRY, client_hello, extension, server_hello, server_name

OUTER, DENIED, UNEXPECTED = "good.localhost", "sni-denied", "protocol-denied"
RULES = """\
listen: 127.0.0.1:0
workers: 1
name: wire
log: {access: "@DIR@/access.log", level: info}
timeouts: {drain: 1s, head: 1s}
private: allow
rules:
  - {allow: good.localhost, port: any, name: good}
  - {allow: tls.localhost, port: any, expect: tls}
  - {allow: http.localhost, port: any, expect: http}
  - {allow: ssh.localhost, port: any, expect: ssh}
  - {allow: any.localhost, port: any, expect: any}
  - {allow: off.localhost, port: any, sni: off}
  - {allow: log.localhost, port: any, sni: log}
  - {allow: 127.0.0.1, port: any}
  - {deny: early.localhost, port: any, sni: .bad.test, name: bad}
  - {allow: early.localhost, port: any, sni: [.good.test], name: named}
"""
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def guarded():
    proxy = Ginnel(RULES, tracked=False)
    yield proxy
    proxy.close()


@pytest.fixture
def origin():
    with Origin() as listening:
        yield listening


def tunnel(proxy, origin, name=OUTER):
    client = proxy.client().connect(f"{name}:{origin.port}")
    return client, origin.accept()


def port_of(client):
    return client.sock.getsockname()[1]


def record(proxy, port):
    """The tunnel's whose client had that port."""
    return proxy.wait_access(1, {"client.port": port})[-1]


def expect_refused(proxy, client, conn, name, end, *words, sent):
    """Both sides are reset, the origin has got nothing, and the record says why."""
    port = port_of(client)
    client.send(sent)
    assert client.expect_end(RST) == RST
    assert conn.expect_end(RST) == RST
    found = record(proxy, port)
    assert found["ginnel.end"] == end and found["ginnel.bytes_up"] == 0, found
    for word in words:
        assert word in found["ginnel.detail"], found
    return found


def expect_passes(client, conn, sent):
    client.send(sent)
    assert conn.recv_exactly(len(sent)) == sent
    conn.send(b"pong")
    assert client.recv_exactly(4) == b"pong"
    client.send(b"ping")
    assert conn.recv_exactly(4) == b"ping"
    client.shut_write()
    assert conn.expect_end(FIN) == FIN
    conn.close()
    assert client.expect_end(FIN) == FIN


# --- the name ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", [OUTER, "GOOD.LocalHost", OUTER + "."])
@pytest.mark.parametrize("record_size", [16384, 100, 1])
def test_the_right_name(guarded, origin, spelled, record_size):
    """U49"""
    client, conn = tunnel(guarded, origin)
    port = port_of(client)
    expect_passes(client, conn, client_hello(spelled, record=record_size))
    found = record(guarded, port)
    assert found["ginnel.end"] == "tunnel-done" and found["tls.client.server_name"] == OUTER and "ginnel.detail" not in found


EVIL = {
    "another name": (client_hello("evil.example"), "names evil.example"),
    "a name under it": (client_hello("x." + OUTER), "names x."),
    "no name": (client_hello(), "no name"),
    "two extensions": (client_hello(OUTER, server_name("evil.example")), "twice"),
    "two names": (client_hello(None, server_name(OUTER, "evil.example")), "more than one"),
    "a NUL": (client_hello(OUTER.encode() + b"\0.evil.example"), "bytes that no host name has"),
    "in pieces": (client_hello("evil.example", record=1), "names evil.example"),
    "ECH (C85)": (client_hello("public.example", ech=True), "names public.example"),
    "ECH without a name (C85)": (client_hello(ech=True), "no name"),
    "another record first": (b"\x14\3\3\0\1\1" + client_hello(OUTER), "something else"),
    "an alert first": (b"\x15\3\3\0\2\1\0" + client_hello(OUTER), "something else"),
    "garbage first": (b"\n" + client_hello(OUTER), "something else"),
    "SSL 2.0": (b"\x80\x2e\1\3\1\0\x15\0\0\0\x10" + bytes(40), "something else"),
    "DTLS": (b"\x16\xfe\xff" + bytes(60), "something else"),
    "HTTP": (GET, "`expect: http`"),
    "SSH": (b"SSH-2.0-x\r\n", "`expect: ssh`"),
}


@pytest.mark.parametrize("what", EVIL)
def test_nothing_else_passes(guarded, origin, what):
    """U49 C85"""
    sent, words = EVIL[what]
    client, conn = tunnel(guarded, origin)
    found = expect_refused(guarded, client, conn, OUTER, DENIED, words, sent=sent)
    assert found["ginnel.rule"] == "good" and found["http.response.status_code"] == 200


def test_in_single_bytes(guarded, origin):
    """U49: one a segment, and an end that never comes"""
    client, conn = tunnel(guarded, origin)
    port = port_of(client)
    sending = client.send_in_background(client_hello("evil.example"), bytewise=True)
    assert client.expect_end(RST) == RST
    sending.join()
    assert conn.expect_end(RST) == RST
    assert record(guarded, port)["ginnel.end"] == DENIED
    client, conn = tunnel(guarded, origin)
    expect_refused(guarded, client, conn, OUTER, DENIED, "unfinished", sent=client_hello(OUTER)[:-1])


def test_behind_the_connect(guarded):
    """U49: in the segment of the CONNECT"""
    got = []
    with Origin(lambda conn: got.append(conn.recv_all())) as origin:
        client = guarded.client()
        port = port_of(client)
        client.send(f"CONNECT {OUTER}:{origin.port} HTTP/1.1\r\nHost: a\r\n\r\n".encode() + client_hello("evil.example"))
        client.recv_all()
        assert client.end == RST
        assert record(guarded, port)["ginnel.end"] == DENIED
    assert not any(got)


@pytest.mark.parametrize("second", [OUTER, "evil.example"])
def test_a_second_hello(guarded, origin, second):
    """U49: an origin that answers with a HelloRetryRequest goes by the name in the hello that follows"""
    client, conn = tunnel(guarded, origin)
    first = client_hello(OUTER)
    client.send(first)
    assert conn.recv_exactly(len(first)) == first
    answer = server_hello(RETRY)
    conn.send(answer)
    assert client.recv_exactly(len(answer)) == answer
    hello = b"\x14\3\3\0\1\1" + client_hello(second, extension(51, bytes(40)))
    if second == OUTER:
        expect_passes(client, conn, hello)
        return
    client.send(hello)
    assert client.expect_end(RST) == RST
    assert conn.recv_all() in (b"", hello[:6]) and conn.end == RST


def test_off_and_log_and_addresses(guarded, origin):
    """U49"""
    for name in ("off.localhost", "log.localhost", "127.0.0.1"):
        client, conn = tunnel(guarded, origin, name)
        port = port_of(client)
        expect_passes(client, conn, client_hello("evil.example"))
        found = record(guarded, port)
        assert found["ginnel.end"] == "tunnel-done"
        assert ("names evil.example" in found.get("ginnel.detail", "")) == (name == "log.localhost")
        assert (found.get("tls.client.server_name") == "evil.example") == (name == "log.localhost")


# --- what is spoken ------------------------------------------------------------------------------------------------------


EXPECTED = [  # where, who is first, what, what comes of it
    ("tls.localhost", "client", client_hello("tls.localhost"), None),
    ("tls.localhost", "client", client_hello("evil.example"), DENIED),
    ("tls.localhost", "client", GET, UNEXPECTED),
    ("tls.localhost", "origin", b"220 hello\r\n", UNEXPECTED),
    ("http.localhost", "client", GET, None),
    ("http.localhost", "client", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
    ("http.localhost", "client", client_hello("http.localhost"), UNEXPECTED),
    ("http.localhost", "origin", b"220 hello\r\n", UNEXPECTED),
    ("ssh.localhost", "client", GET, UNEXPECTED),
    ("ssh.localhost", "client", client_hello("ssh.localhost"), UNEXPECTED),
    ("ssh.localhost", "origin", b"220 hello\r\n", UNEXPECTED),
    ("any.localhost", "client", GET, None),
    ("any.localhost", "client", client_hello("any.localhost"), None),
    ("any.localhost", "client", client_hello("evil.example"), DENIED),
    ("any.localhost", "origin", b"220 hello\r\n", None),
    (OUTER, "origin", b"220 hello\r\n", None),
]


@pytest.mark.parametrize("name, who, sent, end", EXPECTED)
def test_expect(guarded, origin, name, who, sent, end):
    """U49"""
    client, conn = tunnel(guarded, origin, name)
    first, other = (client, conn) if who == "client" else (conn, client)
    if not end:
        expect_passes(first, other, sent)
        return
    port = port_of(client)
    first.send(sent)
    assert first.expect_end(RST) == RST and other.expect_end(RST) == RST
    assert record(guarded, port)["ginnel.end"] == end


@pytest.mark.parametrize("who", ["client", "origin"])
def test_ssh_begins_on_both_sides(guarded, origin, who):
    """U49"""
    client, conn = tunnel(guarded, origin, "ssh.localhost")
    first, other = (client, conn) if who == "client" else (conn, client)
    first.send(b"SSH-2.0-first\r\n")
    assert other.recv_exactly(15) == b"SSH-2.0-first\r\n"
    expect_passes(other, first, b"SSH-2.0-other\r\n")


# --- before anything is dialled --------------------------------------------------------------------------------------------


def early(proxy, origin, sent):
    client = proxy.client().connect(f"early.localhost:{origin.port}")
    origin.expect_no_connection(0.05)
    client.send(sent)
    return client


def test_the_name_decides_whether_it_is_dialled(guarded, origin):
    """U49: `sni:` in a rule"""
    hello = client_hello("a.good.test")
    client = early(guarded, origin, hello)
    port = port_of(client)
    # The rule is chosen by the name, which then need not be the one of the CONNECT.
    conn = origin.accept()
    assert conn.recv_exactly(len(hello)) == hello
    conn.send(server_hello())
    client.recv_exactly(len(server_hello()))
    expect_passes(client, conn, b"x")
    found = record(guarded, port)
    assert found["ginnel.end"] == "tunnel-done" and found["tls.client.server_name"] == "a.good.test" and found["ginnel.rule"] == "named"
    for sent, rule, name in ((client_hello("x.bad.test"), "bad", "x.bad.test"), (client_hello("c.test"), "ginnel.yaml:7", "c.test"), (GET, "ginnel.yaml:7", None)):
        client = guarded.client().connect(f"early.localhost:{origin.port}")
        port = port_of(client)
        origin.expect_no_connection(0.05)
        client.send(sent)
        assert client.expect_end(RST) == RST
        found = record(guarded, port)
        assert found["ginnel.end"] == "denied" and rule in found["ginnel.rule"] and found.get("tls.client.server_name") == name, found
    client = early(guarded, origin, hello)
    port = port_of(client)
    conn = origin.accept()
    client.send(b"\x17\3")  # a record that never comes to its end
    assert client.expect_end(RST) == RST and conn.recv_all() == hello
    found = record(guarded, port)
    assert found["ginnel.end"] == DENIED and found["tls.client.server_name"] == "a.good.test", found
    origin.expect_no_connection(0.05)
    client = guarded.client().connect(f"early.localhost:{origin.port}")
    port = port_of(client)
    started = time.monotonic()
    assert client.expect_end(RST) == RST and time.monotonic() - started > 0.9
    assert record(guarded, port)["ginnel.end"] == "request-timeout"


def test_the_name_opens_it(start, origin):
    """U49: a host that may be anything, as long as it is for that name"""
    proxy = start(RULES + "  - {allow: any, port: any, sni: [good.test, other.localhost]}\n")
    hello = client_hello("other.localhost")
    client = proxy.client().connect(f"other.localhost:{origin.port}")
    client.send(hello[:30])
    origin.expect_no_connection(0.05)
    client.send(hello[30:])
    conn = origin.accept()
    assert conn.recv_exactly(len(hello)) == hello
    conn.send(b"pong")
    assert client.recv_exactly(4) == b"pong"
    # What fails behind the 200 is a reset with its reason in the log.
    closed = Origin()
    closed.close()
    client = proxy.client().connect(f"other.localhost:{closed.port}")
    client.send(hello)
    assert client.expect_end(RST) == RST
    assert proxy.wait_access(1, {"ginnel.end": "connect-refused"})


def test_first_bytes_count_once(start, origin):
    """S001-25: what is read while a tunnel is looked at counts as what is read behind that"""
    hello = client_hello("once.localhost")
    proxy = start(RULES + "  - {allow: .localhost, port: any}\nlimits: [{upload: %d}]\n" % (len(hello) + 10))
    client = proxy.client().connect(f"once.localhost:{origin.port}")
    conn = origin.accept()
    client.send(hello)
    assert conn.recv_exactly(len(hello)) == hello
    conn.send(server_hello())
    client.recv_exactly(len(server_hello()))
    client.send(b"ten bytes.")
    assert conn.recv_exactly(10) == b"ten bytes."
    client.send(b"!")
    assert client.expect_end(RST) == RST
    assert proxy.wait_access(1, {"ginnel.end": "upload-cap"})
