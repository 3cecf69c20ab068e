# SPDX-License-Identifier: MIT
"""How connections end: a FIN travels as a FIN, an RST as an RST, and what was sent before arrives (DESIGN 2)."""

import hashlib
import threading
import time

import pytest

from harness import FIN, OPEN, RST, Origin, eventually, request, response, scaled

BULK = hashlib.sha256(b"bulk").digest() * (10 << 15)  # 10 MiB


def tunnel(proxy, origin, **options):
    """An open tunnel: (client, the origin's connection)."""
    client = proxy.client(**options).connect(origin.authority)
    return client, origin.accept()


@pytest.fixture(params=["client to origin", "origin to client"])
def ends(request, proxy, origin):
    """(one end, the other end) of a tunnel, both ways round."""
    pair = tunnel(proxy, origin)
    return pair if request.param == "client to origin" else pair[::-1]


def within(seconds):
    """A clock: call it to assert that no more than that has passed."""
    began = time.monotonic()

    def check():
        assert time.monotonic() - began < scaled(seconds), f"took {time.monotonic() - began:.2f} s"
    return check


# --- FIN -----------------------------------------------------------------------------------------------------------


def test_fin_travels_as_fin(ends):
    """C19 S004-7 S004-15; FAILURES 23"""
    one, other = ends
    check = within(1)
    one.shut_write()
    other.expect_end(FIN)
    check()


def test_half_close_leaves_the_other_direction_alive(ends):
    """C18 C19 S002-3 S002-14 S002-29 S004-6; FAILURES 23: what nc -N does"""
    one, other = ends
    one.send(b"question")
    one.shut_write()
    other.expect_end(FIN, b"question")
    time.sleep(0.2)
    one.expect_silence(0.05)
    for i in range(3):
        other.send(b"part %d" % i)
        assert one.recv_exactly(6) == b"part %d" % i
    other.shut_write()
    one.expect_end(FIN)


def test_bulk_after_a_half_close(ends):
    """C18 U12 in its plain flavour: all of 10 MiB arrives after the FIN of the other direction"""
    one, other = ends
    one.shut_write()
    other.expect_end(FIN)
    sender = other.send_in_background(BULK)
    assert one.recv_exactly(len(BULK), within=20) == BULK
    sender.join()
    other.close()
    one.expect_end(FIN)


@pytest.mark.workers
def test_bulk_before_a_fin(ends):
    """C18: everything, then the FIN, also to a reader that is slow at first"""
    one, other = ends
    threading.Thread(target=lambda: [one.send(BULK, within=20), one.shut_write()], daemon=True).start()
    time.sleep(0.3)
    first = other.recv_exactly(1000)
    time.sleep(0.1)
    assert first + other.recv_all(within=20) == BULK
    assert other.end == FIN


def test_send_everything_and_close(proxy):
    """C18 S002-14: the origin sends 10 MiB and closes at once"""
    origin = Origin(lambda conn: conn.send(BULK, within=20))
    client = proxy.client().connect(origin.authority)
    assert client.digest_all(within=20) == (len(BULK), hashlib.sha256(BULK).hexdigest())
    assert client.end == FIN


def test_both_fins_in_either_order(proxy, origin):
    """S004-6: the tunnel ends after both; FIN order is kept"""
    for first, second in ((0, 1), (1, 0)):
        pair = tunnel(proxy, origin)
        pair[first].shut_write()
        pair[second].expect_end(FIN)
        assert pair[first].ended() == OPEN
        pair[second].shut_write()
        pair[first].expect_end(FIN)
    for record in proxy.wait_access(2, {"server.port": origin.port}):
        assert record["ginnel.end"] == "tunnel-done"


def test_both_fins_at_once(proxy, origin):
    """FAILURES 23"""
    for _ in range(20):
        client, conn = tunnel(proxy, origin)
        client.send(b"a")
        conn.send(b"b")
        client.shut_write()
        conn.shut_write()
        client.expect_end(FIN, b"b")
        conn.expect_end(FIN, b"a")


def test_half_closes_again_and_again(proxy, origin):
    """U12 in its plain flavour: no race in fifty"""
    for i in range(50):
        client, conn = tunnel(proxy, origin)
        client.send(b"q%02d" % i)
        client.shut_write()
        conn.expect_end(FIN, b"q%02d" % i)
        conn.send(b"a%02d" % i)
        conn.close()
        client.expect_end(FIN, b"a%02d" % i)


def test_fin_before_the_other_side_reads(proxy, origin):
    """C18: closed by both, read later"""
    client, conn = tunnel(proxy, origin)
    conn.send(b"x" * 100000)
    conn.shut_write()
    time.sleep(0.2)
    client.send(b"y" * 100000)
    client.shut_write()
    client.expect_end(FIN, b"x" * 100000)
    conn.expect_end(FIN, b"y" * 100000)


def test_half_closed_tunnel_has_a_deadline(start, origin):
    """CONFIG half-close; DESIGN 2: our own cut is an RST"""
    proxy = start({"timeouts": {"half-close": "400ms"}})
    client, conn = tunnel(proxy, origin)
    client.shut_write()
    conn.expect_end(FIN)
    client.expect_end(RST, within=3)
    with pytest.raises(OSError):
        eventually(lambda: conn.send(b"x"), within=2)
    assert proxy.wait_access()[0]["ginnel.end"] == "half-close-timeout"


def test_half_closed_tunnel_lives_while_bytes_move(start, origin):
    """DESIGN 2: half-close bounds the silence, not the transfer"""
    client, conn = tunnel(start({"timeouts": {"half-close": "600ms"}}), origin)
    client.shut_write()
    conn.expect_end(FIN)
    for _ in range(8):
        time.sleep(0.15)
        conn.send(b"x")
        client.recv_exactly(1)
    conn.close()
    client.expect_end(FIN)


# --- RST -----------------------------------------------------------------------------------------------------------


def test_rst_travels_as_rst(ends):
    """U11 S002-3: within a second"""
    one, other = ends
    check = within(1)
    one.reset()
    other.expect_end(RST)
    check()


def test_rst_after_data(ends):
    """U11: what had been received is written out first"""
    one, other = ends
    one.send(b"some bytes")
    other.recv_exactly(4)
    time.sleep(0.05)
    one.reset()
    other.expect_end(RST, b" bytes")


def test_rst_right_behind_data(ends):
    """U11: a correct prefix, then the RST"""
    one, other = ends
    one.send(b"0123456789" * 1000)
    one.reset()
    rest = other.recv_all()
    assert other.end == RST
    assert (b"0123456789" * 1000).startswith(rest)


@pytest.mark.workers
def test_rst_in_bulk(ends):
    """U11: a correct prefix of a transfer that runs"""
    one, other = ends
    one.send_until_blocked(BULK, len(BULK), quiet=0.1)
    first = other.recv_exactly(1 << 20)
    one.reset()
    assert BULK.startswith(first + other.recv_all(within=20))
    assert other.end == RST


def test_rst_with_unread_data_in_the_way(ends):
    """U11 DESIGN 2: the reader is blocked when the RST comes; it still comes within a second, behind a correct prefix"""
    one, other = ends
    sent = one.send_until_blocked(b"0123456789abcdef" * 4096, 1 << 28, quiet=0.3)
    one.reset()
    time.sleep(scaled(1.2))
    check = within(0.5)
    rest = other.recv_all(within=3)
    assert other.end == RST
    check()
    assert len(rest) <= sent
    assert rest == (b"0123456789abcdef" * (len(rest) // 16 + 1))[:len(rest)]


def test_rst_of_the_reading_side(ends):
    """U11: the side that does not send resets, the sender learns it within a second"""
    one, other = ends
    other.send_until_blocked(b"x" * 65536, 1 << 28, quiet=0.3)
    check = within(1.5)
    one.reset()
    eventually(lambda: fails(other), within=3, what="the sender to notice")
    check()


def fails(peer):
    try:
        peer.sock.setblocking(False)
        peer.sock.send(b"x")
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def test_close_with_unread_data_is_an_rst(ends):
    """U11: what the kernel makes of a close with unread data, a reset, stays one"""
    one, other = ends
    other.send(b"never read")
    time.sleep(0.1)
    one.close()
    assert other.expect_end() == RST


def test_rst_after_a_half_close(ends):
    """U11 C19"""
    one, other = ends
    other.shut_write()
    one.expect_end(FIN)
    one.send(b"tail")
    assert other.recv_exactly(4) == b"tail"
    one.reset()
    other.expect_end(RST)


def test_rst_of_the_half_closed_side(ends):
    """U11 C53a U8: after its FIN the side goes away for good while the other still sends"""
    one, other = ends
    one.shut_write()
    other.expect_end(FIN)
    other.send(b"x" * 100)
    one.recv_exactly(100)
    one.reset()
    eventually(lambda: fails(other), within=3, what="the sender to notice")


def test_reset_is_logged(proxy, origin):
    """U61"""
    client, conn = tunnel(proxy, origin)
    conn.reset()
    client.expect_end(RST)
    client, conn = tunnel(proxy, origin)
    client.reset()
    conn.expect_end(RST)
    records = proxy.wait_access(2, {"server.port": origin.port, "http.response.status_code": 200})  # the port may have been another test's
    assert sorted(record["ginnel.end"] for record in records) == ["client-reset", "upstream-reset"]


# --- the client goes away ------------------------------------------------------------------------------------------


def test_closed_client_closes_the_upstream_of_a_tunnel(proxy, origin):
    """U8 C53a: within a second although the origin is silent"""
    client, conn = tunnel(proxy, origin)
    check = within(1)
    client.close()
    conn.expect_end(FIN)
    check()


def test_reset_client_ends_a_waiting_request(proxy, origin):
    """U8 C53a: the origin is silent, the client resets, the upstream connection ends within a second"""
    client = proxy.client()
    client.send(request("GET", origin.url("/")))
    conn = origin.accept()
    conn.recv_request()
    check = within(1)
    client.reset()
    conn.wait_ended()
    check()


@pytest.mark.workers
def test_reset_client_ends_a_download(proxy, origin):
    """U8 C53a"""
    client = proxy.client(rcvbuf=16384)
    client.send(request("GET", origin.url("/")))
    conn = origin.accept()
    conn.recv_request()
    conn.send(response(200, f"Content-Length: {1 << 30}", body=b""))
    conn.send_until_blocked(b"x" * 65536, 1 << 28, quiet=0.2)
    check = within(1.5)
    client.reset()
    eventually(lambda: fails(conn), within=3, what="the origin to notice")
    check()


@pytest.mark.workers
def test_descriptors_return_to_the_start(start, origin, web):
    """U8: fds go back to the baseline after a mixed load"""
    proxy = start()
    assert proxy.client().ask(request("GET", web.url("/"), "Connection: close")).status == 200
    base = eventually(proxy.fds)
    for turn in range(30):
        client, conn = tunnel(proxy, origin)
        client.send(b"x")
        [client.reset, client.close, client.shut_write][turn % 3]()
        [conn.reset, conn.close, conn.close][(turn // 3) % 3]()
        client.close()
    other = proxy.client()
    other.send(b"GET http://half")
    other.close()
    eventually(lambda: proxy.fds() <= base + 2, what=f"{proxy.fds()} descriptors to fall to about {base}")


# --- FIN after a complete plain request ------------------------------------------------------------------------------


def test_fin_after_a_complete_request_is_no_abort(proxy, origin):
    """DESIGN 2: printf … | nc -N"""
    client = proxy.client()
    client.send(request("GET", origin.url("/")))
    client.shut_write()
    conn = origin.accept()
    conn.recv_request()
    time.sleep(0.3)
    assert conn.ended() == OPEN
    conn.send(response(200, body=b"answer"))
    assert client.recv_response().body == b"answer"
    client.expect_end(FIN)


def test_fin_after_pipelined_requests(proxy, web):
    """DESIGN 2: all of them are answered"""
    client = proxy.client()
    client.send(b"".join(request("GET", web.url(f"/{i}")) for i in range(5)))
    client.shut_write()
    assert [client.recv_response().body for _ in range(5)] == [f"GET /{i}".encode() for i in range(5)]
    client.expect_end(FIN)


def test_fin_after_a_request_with_a_body(proxy, web):
    """DESIGN 2"""
    client = proxy.client()
    client.send(request("POST", web.url("/"), body=b"abc"))
    client.shut_write()
    assert client.recv_response().body == b"POST /"
    client.expect_end(FIN)


def test_fin_after_a_request_that_fails(proxy):
    """DESIGN 2: an error answer reaches the half-closed client too"""
    client = proxy.client()
    client.send(b"GET http://a.test:0/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
    client.shut_write()
    assert client.recv_response().status == 400
    client.expect_end(FIN)


@pytest.mark.parametrize("blank", [b"\r\n", b"\r\n\r\n"])
def test_fin_after_a_request_and_an_empty_line(proxy, web, blank):
    """C3 C53a: an empty line is no request that anybody waits for; the FIN behind it is seen"""
    client = proxy.client()
    client.send(request("GET", web.url("/")) + blank)
    client.shut_write()
    check = within(1)
    assert client.recv_response().body == b"GET /"
    client.expect_end(FIN)
    check()


def test_fin_of_an_idle_client(proxy, web):
    """C53a"""
    client = proxy.client()
    assert client.ask(request("GET", web.url("/"))).status == 200
    check = within(1)
    client.shut_write()
    client.expect_end(FIN)
    check()
