# SPDX-License-Identifier: MIT
"""Parents and origins over TLS, in HTTP/1.1 and HTTP/2: what is verified, what is shared, what is sent again."""

import base64
import threading

import pytest

from harness import FIN, RST, DnsServer, HttpOrigin, Origin, eventually, request, response
from harness.h2 import CODES
from harness.origin import H2Origin
from harness.proxy_status import parse_proxy_status

OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


def config(certificates, *entries, **more):
    return {"workers": 1, "trust": [str(certificates.ca)], "upstream": list(entries), **more}


def via(*parents, **more):
    return {"via": [f"https://{p.authority}" for p in parents], **more}


@pytest.fixture
def h2_parent(certificates):
    return H2Origin(context=certificates.server_context(["h2", "http/1.1"]))


@pytest.fixture
def behind(start, certificates, h2_parent):
    return start(config(certificates, via(h2_parent)))


def accept_stream(conn, method="CONNECT", authority="name.test:443"):
    stream = conn.accept()
    fields = dict(stream.fields)
    assert fields[":method"] == method and fields[":authority"] == authority, fields
    return stream


def error_of(answer):
    return parse_proxy_status(answer.values("proxy-status"))[-1][1]


# --- an h1 parent over TLS -----------------------------------------------------------------------------------------


def test_tls_parent(start, certificates):
    """U14: CONNECT and absolute-form over TLS; close_notify and FIN are told apart in both directions"""
    parent = Origin(context=certificates.server_context())
    behind = start(config(certificates, via(parent)))
    client = behind.client()
    client.send(request("CONNECT", "name.test:443") + b"x")
    conn = parent.accept()
    assert conn.recv_request_head().target == "name.test:443"
    conn.expect_silence()
    conn.send(OK + b"hi")
    assert client.recv_response_head().status == 200 and client.recv_exactly(2) == b"hi"
    assert conn.recv_exactly(1) == b"x"
    client.shut_write()
    conn.expect_end(FIN)
    conn.send(b"late")
    conn.shut_write()
    client.expect_end(FIN, rest=b"late")
    plain = behind.client()
    plain.send(request("GET", "http://name.test/"))
    conn = parent.accept()
    assert conn.recv_request_head().target == "http://name.test/"
    conn.send(response(body=b"hello"))
    assert plain.recv_response().body == b"hello"
    plain.send(request("GET", "http://other.test/"))
    assert conn.recv_request_head().target == "http://other.test/"


def test_truncation_is_no_end(start, certificates):
    """C80: FIN without close_notify is a cut"""
    parent = Origin(context=certificates.server_context())
    behind = start(config(certificates, via(parent)))
    client = behind.client()
    client.send(request("CONNECT", "name.test:443"))
    conn = parent.accept()
    conn.recv_request_head()
    conn.send(OK + b"half")
    assert client.recv_response_head().status == 200
    assert client.recv_exactly(4) == b"half"
    conn.sock.sock.close()
    client.expect_end(RST)


# --- what is verified ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["other-authority", "other-name", "expired"])
def test_bad_certificate(start, certificates, tmp_path, case):
    """C72: which check failed; nothing was sent"""
    from harness.certs import Authority

    authority = Authority(tmp_path) if case == "other-authority" else certificates.authority
    pair = authority.issue(f"bad-{case}", names=("wrong.test",) if case == "other-name" else ("localhost", "127.0.0.1"), expired=case == "expired")
    parent = HttpOrigin(context=pair.server_context(["http/1.1"]))
    behind = start(config(certificates, via(parent)))
    with behind.client() as client:
        answer = client.ask(request("CONNECT", "name.test:443"))
    assert answer.status == 502 and error_of(answer)["error"] == "tls_certificate_error"
    record = behind.wait_access(1)[0]
    assert record["ginnel.end"] == "tls-certificate" and parent.authority in record["ginnel.detail"]
    assert parent.requests == []


def test_not_tls_at_all(start, certificates):
    parent = Origin()
    behind = start(config(certificates, {"via": [f"https://{parent.authority}"]}))
    client = behind.client()
    client.send(request("CONNECT", "name.test:443"))
    conn = parent.accept()
    conn.recv_some()
    conn.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    answer = client.recv_response("CONNECT")
    assert answer.status == 502 and error_of(answer)["error"] == "tls_protocol_error"


def test_silent_handshake(start, certificates):
    """Every wait has an end; the next alternative then"""
    parent, second = Origin(), Origin(context=certificates.server_context())
    behind = start(config(certificates, {"via": [f"https://{parent.authority}", f"https://{second.authority}"]}, timeouts={"tls": "300ms"}))
    client = behind.client()
    client.send(request("CONNECT", "name.test:443"))
    parent.accept()
    assert second.accept().recv_request_head().target == "name.test:443"


def test_alert(start, certificates):
    """C72: the alert's number (a parent that wants a client's certificate)"""
    context = certificates.leaf.server_context(["http/1.1"], client_ca=certificates.ca)
    parent = HttpOrigin(context=context)
    behind = start(config(certificates, via(parent)))
    with behind.client() as client:
        answer = client.ask(request("CONNECT", "name.test:443"))
    assert answer.status == 502
    error = error_of(answer)
    assert error["error"] in ("tls_alert_received", "http_response_incomplete"), error
    if error["error"] == "tls_alert_received":
        assert error["alert-id"] == 116


# --- h2 parents ----------------------------------------------------------------------------------------------------


def test_h2_tunnels_share(behind, h2_parent):
    """U14 C62 C63: tunnels are streams of one connection; ends are kept apart"""
    first, second = behind.client(), behind.client()
    first.send(request("CONNECT", "name.test:443") + b"early")
    conn = h2_parent.accept()
    one = accept_stream(conn)
    one.expect_silence()
    one.send_head([(":status", "200")])
    assert first.recv_response_head().status == 200
    assert one.recv_exactly(5) == b"early"
    second.send(request("CONNECT", "other.test:443"))
    two = accept_stream(conn, authority="other.test:443")
    two.send_head([(":status", "200")])
    two.send(b"hello")
    assert second.recv_response_head().status == 200 and second.recv_exactly(5) == b"hello"
    first.shut_write()
    one.expect_end(FIN)
    one.send(b"rest")
    one.shut_write()
    first.expect_end(FIN, rest=b"rest")
    two.reset(CODES.CONNECT_ERROR)
    second.expect_end(RST)
    third = behind.client()
    third.send(request("CONNECT", "name.test:443"))
    three = accept_stream(conn)
    three.send_head([(":status", "200")])
    assert third.recv_response_head().status == 200
    third.reset()
    three.expect_end(RST)
    assert len(h2_parent.conns) == 1


def test_hundred_at_once(behind, h2_parent):
    """One handshake, one connection, however many begin at the same moment"""
    clients = [behind.client() for _ in range(100)]
    for i, client in enumerate(clients):
        client.send(request("CONNECT", f"n{i}.test:443"))
    conn = h2_parent.accept()
    for _ in clients:
        conn.accept().send_head([(":status", "200")])
    for client in clients:
        assert client.recv_response_head().status == 200
    assert len(h2_parent.conns) == 1
    h2_parent.expect_no_connection(0.05)


def test_h2_plain_requests(behind, h2_parent):
    """`:scheme http`, content both ways, trailers (C47), credentials of neither side"""
    client = behind.client()
    client.send(request("POST", "http://name.test/p?q", "Proxy-Authorization: Basic eHg=", body=b"content"))
    conn = h2_parent.accept()
    stream = conn.accept()
    fields = dict(stream.fields)
    assert (fields[":method"], fields[":scheme"], fields[":authority"], fields[":path"]) == ("POST", "http", "name.test", "/p?q")
    assert "proxy-authorization" not in fields and "wire" in fields["via"]
    assert stream.recv_all() == b"content"
    stream.send_head([(":status", "103"), ("link", "</x>")])
    stream.send_head([(":status", "200"), ("proxy-status", "big; received-status=200")])
    stream.send(b"answer")
    stream.send_head([("x-end", "yes")], end=True)
    answer = client.recv_response("POST")
    assert answer.status == 200 and answer.body == b"answer" and answer.interim[0].status == 103
    assert ("x-end", "yes") in answer.trailers
    assert [name for name, _ in parse_proxy_status(answer.values("proxy-status"))] == ["big", "wire"]


def test_h2_resolve_local(start, certificates, h2_parent):
    """U4: by the checked addresses in turn, on one connection; a plain request's name goes inside"""
    dns = DnsServer()
    dns.answer("name.test", a=["192.0.2.7", "192.0.2.8"])
    behind = start(config(certificates, via(h2_parent, resolve="local"), private="allow", resolver={"servers": [dns.address]}))
    client = behind.client()
    client.send(request("GET", "http://name.test/p"))
    conn = h2_parent.accept()
    asked = []
    for status in ("502", "200"):
        stream = conn.accept()
        asked.append(dict(stream.fields)[":authority"])
        stream.send_head([(":status", status)], end=status != "200")
    assert sorted(asked) == ["192.0.2.7:80", "192.0.2.8:80"]
    assert stream.recv_exactly(3) == b"GET"
    rest = stream.recv_until(b"\r\n\r\n")
    assert rest.startswith(b" /p HTTP/1.1\r\n") and b"\r\nHost: name.test\r\n" in rest
    stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert client.recv_response().body == b"hi"
    assert len(h2_parent.conns) == 1


def test_h2_refusal(behind, h2_parent):
    """U13"""
    client = behind.client()
    client.send(request("CONNECT", "name.test:443"))
    stream = accept_stream(h2_parent.accept())
    stream.send_head([(":status", "403"), ("proxy-status", "big; error=http_request_denied")])
    stream.send_message(b"blocked")
    answer = client.recv_response("CONNECT")
    assert answer.status == 502 and b"blocked" in answer.body and error_of(answer)["received-status"] == 403


def test_unprocessed_is_sent_again(behind, h2_parent):
    """C66: REFUSED_STREAM, and above GOAWAY's last stream: once more, whatever the method, on a new connection"""
    client = behind.client()
    client.send(request("POST", "http://name.test/", body=b"content"))
    conn = h2_parent.accept()
    stream = conn.accept()
    stream.recv_all()
    stream.reset(CODES.REFUSED_STREAM)
    again = eventually_stream(h2_parent, conn)
    assert dict(again.fields)[":method"] == "POST" and again.recv_all() == b"content"
    again.answer(body=b"done")
    assert client.recv_response("POST").body == b"done"


def eventually_stream(origin, conn):
    """The next stream, on that connection or a new one."""
    def look():
        for c in origin.conns:
            if c.arrived:
                return c.accept()
        try:
            origin.accept(within=0.01)
        except AssertionError:
            pass
        return None
    return eventually(look, what="a stream")


def test_goaway_during_requests(behind, h2_parent):
    """C66 C68: what was processed is answered on the old connection, the others on a new one"""
    clients = [behind.client() for _ in range(4)]
    clients[0].send(request("GET", "http://name.test/0"))
    conn = h2_parent.accept()
    first = conn.accept()
    for i, client in enumerate(clients[1:], 1):
        client.send(request("POST", f"http://name.test/{i}", body=b"x"))
    others = [conn.accept() for _ in clients[1:]]
    conn.goaway(last=first.id)
    fresh = h2_parent.accept()
    for _ in others:
        stream = fresh.accept()
        stream.recv_all()
        stream.answer(body=dict(stream.fields)[":path"].encode())
    for i, client in enumerate(clients[1:], 1):
        assert client.recv_response("POST").body == b"/%d" % i
    first.answer(body=b"/0")
    assert clients[0].recv_response().body == b"/0"
    # It has no streams left, and serves no more.
    assert conn.wait_end() in (FIN, "CUT", RST)


def test_connection_is_lost(behind, h2_parent):
    """U11: every tunnel on it is reset; the next one dials"""
    clients = [behind.client() for _ in range(3)]
    for client in clients:
        client.send(request("CONNECT", "name.test:443"))
    conn = h2_parent.accept()
    for _ in clients:
        conn.accept().send_head([(":status", "200")])
    for client in clients:
        assert client.recv_response_head().status == 200
    conn.reset_connection()
    for client in clients:
        client.expect_end(RST)
    client = behind.client()
    client.send(request("CONNECT", "name.test:443"))
    h2_parent.accept().accept().send_head([(":status", "200")])
    assert client.recv_response_head().status == 200


def test_black_hole(start, certificates, h2_parent):
    """U9: the shared connection brings nothing any more, and the kernel does not know: what can be sent again goes elsewhere, the rest ends as a timeout, and what has been
    answered stays as it is"""
    behind = start(config(certificates, via(h2_parent), timeouts={"connect": "1s"}))
    tunnel, get, post = behind.client(), behind.client(), behind.client()
    tunnel.send(request("CONNECT", "name.test:443"))
    conn = h2_parent.accept()
    far = accept_stream(conn)
    far.send_head([(":status", "200")])
    assert tunnel.recv_response_head().status == 200
    with conn.changed:  # its thread reads nothing
        get.send(request("GET", "http://name.test/get"))
        post.send(request("POST", "http://name.test/post", body=b"x"))
        other = h2_parent.accept(within=30)
        again = other.accept()
        assert dict(again.fields)[":path"] == "/get"
        again.answer(body=b"elsewhere")
        assert get.recv_response().body == b"elsewhere"
        answer = post.recv_response("POST")
        assert answer.status == 504 and "PING" in error_of(answer)["details"]
    tunnel.send(b"still there")
    assert far.recv_exactly(11) == b"still there"
    assert {r["ginnel.end"] for r in behind.wait_access(2)} == {"done", "upstream-timeout"}
    late = behind.client()
    late.send(request("GET", "http://name.test/late"))
    stream = other.accept()
    stream.answer(body=b"late")
    assert late.recv_response().body == b"late"


def test_websocket_through_an_h2_capable_parent(start, certificates):
    """U25: HTTP/2 that takes no extended CONNECT: the upgrade goes again over HTTP/1.1"""
    parent = H2Origin(context=certificates.server_context(["h2", "http/1.1"]))
    behind = start(config(certificates, via(parent)))
    client = behind.client()
    client.send(request("GET", "http://name.test/ws", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"))
    parent.accept()
    conn = parent.accept()
    req = conn.recv_request()
    assert req.target == "http://name.test/ws"
    conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
    assert client.recv_response_head().status == 101 and client.recv_exactly(2) == b"hi"


# --- chains --------------------------------------------------------------------------------------------------------


def test_chain_over_tls_and_h2(start, certificates):
    """An h2 parent, inside its tunnel another one over TLS"""
    outer = H2Origin(context=certificates.server_context(["h2"]))
    inner = Origin(context=certificates.server_context(["http/1.1"]))
    behind = start(config(certificates, {"chain": [f"https://{outer.authority}", f"https://{inner.authority}"]}))
    client = behind.client()
    client.send(request("CONNECT", "name.test:443") + b"x")
    stream = accept_stream(outer.accept(), authority=inner.authority)
    stream.send_head([(":status", "200")])
    joined = join(stream, inner)
    conn = inner.accept()
    assert conn.recv_request_head().target == "name.test:443"
    conn.expect_silence()
    conn.send(OK + b"hello")
    assert client.recv_response_head().status == 200 and client.recv_exactly(5) == b"hello"
    assert conn.recv_exactly(1) == b"x"
    client.shut_write()
    conn.expect_end(FIN)
    conn.send(b"bye")
    conn.shut_write()
    client.expect_end(FIN, rest=b"bye")
    del joined


def join(stream, origin):
    """The bytes of an h2 tunnel to and from that origin, by two threads."""
    import socket

    sock = socket.create_connection((origin.host, origin.port))

    def up():
        try:
            while data := stream.recv_some(within=30):
                sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except (OSError, AssertionError):
            pass

    def down():
        try:
            while data := sock.recv(65536):
                stream.send(data)
            stream.shut_write()
        except (OSError, AssertionError):
            pass

    threads = [threading.Thread(target=f, daemon=True) for f in (up, down)]
    for t in threads:
        t.start()
    return threads


# --- https:// to origins -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpn", [["http/1.1"], ["h2", "http/1.1"], []])
def test_https_origin(start, certificates, alpn):
    """An https:// request is forwarded over TLS that is verified; connections are kept"""
    def reply(req):
        return response(body=f"{req.target} {req.value('host')}".encode())

    if "h2" in alpn:
        origin = H2Origin(context=certificates.server_context(alpn))
    else:
        origin = HttpOrigin(reply, context=certificates.leaf.server_context(alpn))
    behind = start(config(certificates))
    for i in range(2):
        client = behind.client()
        client.send(request("GET", origin.url(f"/{i}")))
        if "h2" in alpn:
            conn = origin.accept() if i == 0 else conn
            stream = conn.accept()
            assert dict(stream.fields)[":scheme"] == "https"
            stream.answer(body=f"/{i} {origin.authority}".encode())
        assert client.recv_response().body == f"/{i} {origin.authority}".encode()
    assert len(origin.conns) == 1


def test_https_origin_bad_certificate(start, certificates, tmp_path):
    from harness.certs import Authority

    origin = HttpOrigin(context=Authority(tmp_path).issue("other").server_context())
    behind = start(config(certificates))
    with behind.client() as client:
        answer = client.ask(request("GET", origin.url("/")))
    assert answer.status == 502 and error_of(answer)["error"] == "tls_certificate_error"
    assert origin.requests == []


def test_https_through_a_parent(start, certificates):
    """CONNECT to the parent, TLS with the origin inside: the parent reads nothing"""
    parent, origin = Origin(), HttpOrigin(context=certificates.server_context(["http/1.1"]))
    behind = start(config(certificates, {"via": [f"http://{parent.authority}"]}))
    client = behind.client()
    client.send(request("GET", f"https://localhost:{origin.port}/secret"))
    conn = parent.accept()
    assert conn.recv_request_head().target == f"localhost:{origin.port}"
    conn.send(OK)
    join(conn, origin)
    assert client.recv_response().body == b"GET /secret"
    assert b"secret" not in conn.received


def test_alpn_of_a_parent(start, certificates, h2_parent):
    """`origins` says what is offered: HTTP/1.1 to a parent that would speak HTTP/2, and two requests need two connections"""
    behind = start(config(certificates, via(h2_parent), origins=[{"for": "127.0.0.1", "alpn": "http/1.1"}]))
    for i in range(2):
        client = behind.client()
        client.send(request("CONNECT", "name.test:443"))
        conn = h2_parent.accept()
        assert conn is h2_parent.others[i]
        assert conn.recv_request_head().target == "name.test:443"
        conn.send(OK)
        assert client.recv_response_head().status == 200


def test_new_inside_a_kept_connection(start, certificates, h2_parent):
    """C66: what goes through a connection that was there already is new all the same: nothing is sent twice, and the log says so"""
    origin = Origin(context=certificates.server_context(["http/1.1"]))
    behind = start(config(certificates, via(h2_parent)))
    tunnel, client = behind.client(), behind.client()
    tunnel.send(request("CONNECT", "name.test:443"))
    conn = h2_parent.accept()
    accept_stream(conn).send_head([(":status", "200")])
    assert tunnel.recv_response_head().status == 200
    client.send(request("GET", f"https://localhost:{origin.port}/"))
    stream = accept_stream(conn, authority=f"localhost:{origin.port}")
    stream.send_head([(":status", "200")])
    join(stream, origin)
    far = origin.accept()
    assert far.recv_request_head().target == "/"
    far.close()
    assert client.recv_response().status == 502
    assert behind.wait_access(1)[0]["ginnel.reused"] is False


def test_origins_entry(start, certificates, tmp_path):
    """`origins` says how a host is verified, a parent too"""
    from harness.certs import Authority

    own = Authority(tmp_path)
    parent = HttpOrigin(context=own.issue("other").server_context(["http/1.1"]))
    behind = start(config(certificates, via(parent), origins=[{"for": "127.0.0.1", "trust": [str(own.cert)]}]))
    with behind.client() as client:
        assert client.ask(request("GET", "http://name.test/")).status == 200


# --- files that change ---------------------------------------------------------------------------------------------


def test_files_are_read_again_when_they_change(start, certificates, tmp_path):
    """The manual: a parent's password, and what it is verified by, take effect without HUP; a broken file keeps what was there"""
    from harness.certs import Authority

    parent = Origin(context=certificates.server_context(["http/1.1"]))
    secret, trusted = tmp_path / "parent.password", tmp_path / "trust.pem"
    secret.write_text("u:one\n")
    trusted.write_bytes(certificates.ca.read_bytes())
    secret.chmod(0o600)
    behind = start({"workers": 1, "trust": [str(trusted)], "upstream": [{"via": f"https://{parent.authority}", "auth": {"basic": {"file": str(secret)}}}]})

    def sent():
        client = behind.client()
        client.send(request("CONNECT", "name.test:443"))
        value = parent.accept().recv_request_head().value("proxy-authorization")
        client.close()
        return base64.b64decode(value.split()[1])

    assert sent() == b"u:one"
    generation = behind.metrics()["ginnel_config_generation"]
    secret.write_text("u:two\n")
    eventually(lambda: behind.metrics()["ginnel_config_generation"] > generation, what="the new password")
    assert sent() == b"u:two"
    generation = behind.metrics()["ginnel_config_generation"]
    secret.write_text("nobody\n")
    eventually(lambda: behind.metrics()["ginnel_config_last_reload_successful"] == 0, what="the refusal")
    assert sent() == b"u:two"
    secret.write_text("u:two\n")
    eventually(lambda: behind.metrics()["ginnel_config_last_reload_successful"] == 1, what="what was there")
    generation = behind.metrics()["ginnel_config_generation"]
    trusted.write_bytes(Authority(tmp_path).cert.read_bytes())
    eventually(lambda: behind.metrics()["ginnel_config_generation"] > generation, what="the other authority")
    client = behind.client()
    client.send(request("CONNECT", "name.test:443"))
    with pytest.raises((OSError, AssertionError)):
        parent.accept()  # shakes hands, and is told no
    answer = client.recv_response("CONNECT")
    assert answer.status == 502 and error_of(answer)["error"] == "tls_certificate_error"


def test_system_and_own_authority(certificates, tmp_path):
    """`trust: [system, file]`: what either of them has signed, and nothing else"""
    from harness import Ginnel
    from harness.certs import Authority

    names = ("localhost", "127.0.0.1")
    own, foreign = (Authority(tmp_path / name) for name in ("own", "foreign") if not (tmp_path / name).mkdir())
    parents = [HttpOrigin(context=pair.server_context(["http/1.1"])) for pair in
               (certificates.leaf, own.issue("parent", names=names), foreign.issue("parent", names=names))]
    entries = [{"for": f"n{i}.test", **via(p)} for i, p in enumerate(parents)]
    behind = Ginnel({"workers": 1, "trust": ["system", str(own.cert)], "upstream": entries}, env={"SSL_CERT_FILE": str(certificates.ca)})
    for i, status in enumerate((200, 200, 502)):
        with behind.client() as client:
            assert client.ask(request("GET", f"http://n{i}.test/")).status == status
