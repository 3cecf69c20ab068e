# SPDX-License-Identifier: MIT
"""The clients of TLS and HTTP/2 against themselves: each end is seen as what it is, and a stream that nobody reads stalls alone."""

import hashlib
import ssl
import threading

import pytest

from harness import CUT, FIN, LOST, OPEN, RST, H2Client, H2Origin, Origin, TlsClient, Truncated

pytestmark = pytest.mark.harness
BULK = hashlib.sha256(b"bulk").digest() * (1 << 15)


@pytest.fixture
def tls(certificates):
    """(a TLS client, the other end of its connection)"""
    origin = Origin(context=certificates.leaf.server_context(["http/1.1"]))
    return _meet(origin, lambda: TlsClient(origin.host, origin.port, certificates.authority.client_context(["http/1.1"])))


def _meet(origin, connect):
    """Both have to take part in a handshake."""
    result = []
    thread = threading.Thread(target=lambda: result.append(origin.accept()))
    thread.start()
    client = connect()
    thread.join()
    return client, result[0]


@pytest.fixture(params=["clear", "tls"])
def streams(request, certificates):
    """open() gives (a client's tunnel, the server's end of it), all on one connection."""
    contexts = {}
    if request.param == "tls":
        contexts = {"context": certificates.leaf.server_context(["h2"])}, {"context": certificates.authority.client_context(["h2"])}
    server_options, client_options = contexts or ({}, {})
    origin = H2Origin(**server_options)
    client, server = _meet(origin, lambda: H2Client(origin.host, origin.port, **client_options))

    def open_tunnel():
        stream = client.open([(":method", "CONNECT"), (":authority", "a.test:1")])
        there = server.accept()
        assert there.fields == [(":method", "CONNECT"), (":authority", "a.test:1")]
        there.send_head([(":status", "200")])
        assert stream.recv_response_head().status == 200
        return stream, there

    open_tunnel.client, open_tunnel.server = client, server
    return open_tunnel


def test_tls_both_ways_and_half_close(tls):
    client, conn = tls
    assert client.alpn() == "http/1.1"
    for one, other in ((client, conn), (conn, client)):
        sender = one.send_in_background(BULK)
        assert other.recv_exactly(len(BULK)) == BULK
        sender.join()
    client.expect_silence(0.05)
    client.shut_write()
    conn.expect_end(FIN)
    conn.send(b"after")
    assert client.recv_exactly(5) == b"after"
    assert client.ended() == OPEN
    conn.shut_write()
    client.expect_end(FIN)


def test_tls_cut_is_no_end(tls):
    client, conn = tls
    client.send(b"part")
    client.cut()
    conn.expect_end(CUT, b"part")


def test_tls_reset_is_a_reset(tls):
    client, conn = tls
    conn.send(b"x")
    client.recv_exactly(1)
    client.reset()
    conn.expect_end(RST)


def test_tls_name_is_checked(certificates):
    origin = Origin(lambda conn: None, context=certificates.leaf.server_context())
    with pytest.raises(ssl.SSLCertVerificationError):
        TlsClient(origin.host, origin.port, certificates.authority.client_context(), name="elsewhere.test")


def test_expired_certificate_is_expired(certificates):
    pair = certificates.authority.issue("old", expired=True)
    origin = Origin(lambda conn: None, context=pair.server_context())
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        TlsClient(origin.host, origin.port, certificates.authority.client_context())


def test_h2_tunnels(streams):
    for _ in range(3):
        one, other = streams()
        for a, b in ((one, other), (other, one)):
            sender = a.send_in_background(BULK)
            assert b.recv_exactly(len(BULK)) == BULK
            sender.join()
        one.expect_silence(0.05)
        one.shut_write()
        other.expect_end(FIN)
        other.send(b"after")
        assert one.recv_exactly(5) == b"after"
        assert one.ended() == OPEN
        other.shut_write()
        one.expect_end(FIN)


def test_h2_reset(streams):
    one, other = streams()
    other.send(b"x")
    one.recv_exactly(1)
    one.reset(10)
    other.expect_end(RST)
    assert other.code == 10


def test_h2_stalled_stream_stalls_alone(streams):
    stalled = streams()
    assert 0 < stalled[1].send_until_blocked(b"x" * 65536, 1 << 26) <= 1 << 20
    one, other = streams()
    sender = other.send_in_background(BULK)
    assert one.recv_exactly(len(BULK)) == BULK
    sender.join()
    assert len(stalled[0].recv_exactly(1 << 20)) == 1 << 20
    stalled[1].send(b"further")


def test_h2_connection_lost(streams):
    one, _ = streams()
    streams.server.hang_up()
    one.wait_ended()
    assert one.end == LOST


def test_h2_goes_on_after_a_goaway(streams):
    one, other = streams()
    streams.server.goaway((1 << 31) - 1)
    streams.client.wait_goaway()
    other.send(b"still here")
    assert one.recv_exactly(10) == b"still here"


def test_h2_messages(streams):
    client, server = streams.client, streams.server
    stream = client.request("POST", "http", "a.test", "/x", [("x-a", "1")], b"body", [("x-t", "2")])
    there = server.accept()
    assert there.fields[0] == (":method", "POST") and there.fields[-1] == ("x-a", "1")
    assert there.recv_message() == b"body" and there.trailers == [("x-t", "2")]
    there.send_head([(":status", "103"), ("link", "<x>")])
    there.answer(200, [("content-length", "2")], b"ok")
    answer = stream.recv_response()
    assert (answer.status, answer.body, [i.status for i in answer.interim]) == (200, b"ok", [103])


def test_h2_truncated_answer_is_told(streams):
    stream = streams.client.request("GET", "http", "a.test", "/x")
    there = streams.server.accept()
    there.send_head([(":status", "200")])
    there.send(b"part")
    there.reset(2)
    with pytest.raises(Truncated) as cut:
        stream.recv_response()
    assert (cut.value.part, stream.code) == (b"part", 2)
