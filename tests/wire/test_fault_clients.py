# SPDX-License-Identifier: MIT
"""Clients that vanish at every step, that end early, that never read or never stop; all of it while fifty others are at work, who do
not notice (DESIGN 2, 8)."""

import contextlib
import pathlib
import random
import re
import select
import signal
import threading
import time

import pytest

from harness import (FIN, OPEN, RST, BlackHole, DnsServer, Ginnel, HttpOrigin, Neighbours, Origin, Truncated, chunk,
                     eventually, held, kernel_room, request, response, scaled)

SOON = 3.0  # U8: within a second, and two for a machine that is busy with something else
BODY = random.Random(5).randbytes(100000)
BUSY = 50
STALLED = 32
BOUND = 64 << 10  # user memory of a connection whose receiver does not read


@pytest.fixture(scope="module")
def house():
    """One proxy with one resolver, and fifty who use it all the time."""
    dns = DnsServer()
    dns.close = lambda closing=dns.close: None  # it outlives the tests
    proxy = Ginnel({"resolver": {"servers": [dns.address]}, "timeouts": {"head": "20s", "connect": "20s"},
                    "log": {"access": "off"}}, tracked=False)
    proxy.dns = dns
    neighbours = Neighbours(proxy, tunnels=BUSY // 2, clients=BUSY // 2, pause=scaled(0.15), most=20000)
    yield proxy, neighbours
    neighbours.stop()
    proxy.close()


@pytest.fixture
def proxy(house):
    proxy, neighbours = house
    neighbours.check()
    yield proxy
    assert proxy.alive(), proxy.stderr()[-4000:]
    neighbours.check()
    proxy.check_log()


def fails(peer):
    """Whether sending to that peer fails by now."""
    try:
        peer.sock.setblocking(False)
        peer.sock.send(b"x")
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def expect_gone(conn, began):
    """The origin's connection has ended within a second of `began`: it reads the end, or cannot write any more."""
    eventually(lambda: conn.ended() != OPEN or fails(conn), within=5, what="the upstream connection to end")
    assert time.monotonic() - began < scaled(SOON), f"took {time.monotonic() - began:.2f} s"


# --- it vanishes -------------------------------------------------------------------------------------------------------


def leave(client, how):
    """FIN of both directions (a close), FIN of one, or RST."""
    {"close": client.close, "half": client.shut_write, RST: client.reset}[how]()


@pytest.mark.parametrize("how", ["close", RST])
@pytest.mark.parametrize("sent", [b"", b"\r\n", b"G", b"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127", b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n"])
def test_before_its_head_is_complete(proxy, sent, how):
    """U8: nothing remains of it"""
    clients = [proxy.client() for _ in range(20)]
    for client in clients:
        client.send(sent)
    eventually(lambda: open_connections(proxy) == BUSY + 20, what="all of them")
    began = time.monotonic()
    for client in clients:
        leave(client, how)
    eventually(lambda: open_connections(proxy) <= BUSY, within=5, what="the sessions to go")
    assert time.monotonic() - began < scaled(SOON)


@pytest.mark.parametrize("kind", ["GET", "CONNECT"])
@pytest.mark.parametrize("how", ["close", RST])
def test_while_its_name_is_looked_up(proxy, kind, how):
    """U8: by RST it is forgotten within a second; a FIN is no abort of a request, which ends when its answer can't be delivered"""
    name = f"{'never' if how == RST else 'late'}-{time.monotonic_ns()}.wire.test"
    proxy.dns.answer(name, **({"mute": ("A", "AAAA")} if how == RST else {"delay": scaled(0.2)}))
    clients = [proxy.client() for _ in range(10)]
    for client in clients:
        client.send(request(kind, f"{name}:80" if kind == "CONNECT" else f"http://{name}/"))
    eventually(lambda: proxy.dns.asked(name), what="the question")
    began = time.monotonic()
    for client in clients:
        leave(client, how)
    eventually(lambda: open_connections(proxy) <= BUSY, within=8, what="the sessions to go")
    assert time.monotonic() - began < scaled(SOON)


def open_connections(proxy):
    """Connections of clients that the proxy says it has."""
    return proxy.metrics()["ginnel_sessions"]


@pytest.mark.parametrize("kind", ["GET", "CONNECT", "POST"])
def test_while_the_connection_is_made(proxy, kind):
    """U8 C53a: by RST; the attempt is given up within a second"""
    hole = BlackHole()
    client = proxy.client()
    client.send(request(kind, hole.authority if kind == "CONNECT" else f"http://{hole.authority}/",
                        body=b"abc" if kind == "POST" else None))
    mine = len(hole._queue)
    eventually(lambda: len(held(hole.port)) > mine, what="the attempt")
    began = time.monotonic()
    client.reset()
    eventually(lambda: len(held(hole.port)) <= mine, within=5, what="the attempt to end")
    assert time.monotonic() - began < scaled(SOON)


def test_while_its_answer_is_awaited(proxy):
    """U8 C53a: by RST, although the origin is silent"""
    origin = Origin()
    client = proxy.client()
    client.send(request("GET", origin.url()))
    conn = origin.accept()
    conn.recv_request()
    began = time.monotonic()
    client.reset()
    expect_gone(conn, began)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("how", ["close", "half", RST])
def test_in_its_body(proxy, framing, how):
    """U8 C48 DESIGN 8.2: the origin never sees a request that looks complete"""
    origin = Origin()
    client = proxy.client()
    client.send(request("POST", origin.url(), "Content-Length: 1000" if framing == "length" else "Transfer-Encoding: chunked"))
    client.send(b"x" * 500 if framing == "length" else chunk(b"x" * 500))
    conn = origin.accept()
    head = conn.recv_request_head()
    time.sleep(0.05)
    began = time.monotonic()
    leave(client, how)
    with pytest.raises(Truncated) as cut:
        conn.recv_content(head, head.framing)
    assert b"x" * 500 == cut.value.part or how == RST
    assert time.monotonic() - began < scaled(SOON)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("how", ["close", RST])
def test_in_its_answer(proxy, framing, how):
    """U8 C53a: an origin that sends without an end learns it"""
    origin = Origin()
    client = proxy.client(rcvbuf=8192)
    client.send(request("GET", origin.url()))
    conn = origin.accept()
    conn.recv_request()
    fields = {"length": (f"Content-Length: {1 << 30}",), "chunked": ("Transfer-Encoding: chunked",), "close": ()}[framing]
    conn.send(response(200, *fields, body=None))
    conn.send(b"3fffffff\r\n" if framing == "chunked" else b"x")
    conn.send_until_blocked(b"x" * 65536, 1 << 28, quiet=0.1)
    client.recv_exactly(1000)
    began = time.monotonic()
    leave(client, how)
    expect_gone(conn, began)


@pytest.mark.parametrize("flow", ["quiet", "down", "up"])
@pytest.mark.parametrize("how", ["close", RST])
def test_in_its_tunnel(proxy, flow, how):
    """U8 C53a C18: an end reaches the other side within a second, in front of it a correct prefix"""
    origin = Origin()
    client = proxy.client().connect(origin.authority)
    conn = origin.accept()
    if flow == "down":
        conn.send_until_blocked(b"x" * 65536, 1 << 28, quiet=0.1)
    elif flow == "up":
        client.send(BODY)
    began = time.monotonic()
    leave(client, how)
    if flow == "down":
        expect_gone(conn, began)  # closed with unread bytes: the kernel makes an RST of it
        return
    rest = conn.recv_all()
    assert time.monotonic() - began < scaled(SOON)
    assert conn.end == (FIN if how == "close" else RST)
    if flow == "up":
        assert rest == BODY if how == "close" else BODY.startswith(rest)


@pytest.mark.parametrize("what", ["half a head", "silent origin", "upload", "name", "name of a tunnel", "dial", "dial a tunnel", "tunnel", "two"])
@pytest.mark.parametrize("accepted", [True, False])
def test_all_at_once(proxy, what, accepted):
    """U8: request and RST are both there when the proxy looks (it has been stopped meanwhile), so there is one event for both"""
    origin, name = Origin(), f"never-{time.monotonic_ns()}.wire.test"
    proxy.dns.silence(name)
    url = origin.url()
    hole = BlackHole() if "dial" in what else None
    data = {
        "half a head": b"GET http://", "silent origin": request("GET", url), "upload": request("POST", url, "Content-Length: 9") + b"x",
        "name": request("GET", f"http://{name}/"), "name of a tunnel": request("CONNECT", f"{name}:80"),
        "dial": hole and request("GET", f"http://{hole.authority}/"), "dial a tunnel": hole and request("CONNECT", hole.authority),
        "tunnel": request("CONNECT", origin.authority) + b"early", "two": request("GET", url) * 2,
    }[what]
    clients = [proxy.client() for _ in range(4)] if accepted else []
    eventually(lambda: open_connections(proxy) == BUSY + len(clients), what="the connections to be accepted")
    proxy.signal(signal.SIGSTOP)
    try:
        clients = clients or [proxy.client() for _ in range(4)]
        for client in clients:
            client.send(data)
        time.sleep(0.005)
        for client in clients:
            client.reset()
    finally:
        proxy.signal(signal.SIGCONT)
    began = time.monotonic()
    eventually(lambda: open_connections(proxy) <= BUSY, within=8, what="the sessions to go")
    assert time.monotonic() - began < scaled(SOON)


# --- it ends early, and is right to do so ------------------------------------------------------------------------------


def test_requests_that_end_in_a_fin_are_answered(proxy):
    """DESIGN 2 C19: no abort; two hundred of them"""
    web = HttpOrigin()
    for i in range(200):
        client = proxy.client()
        client.send(request("GET", web.url(f"/{i}")))
        client.shut_write()
        assert client.recv_response().body == f"GET /{i}".encode()
        client.expect_end(FIN)
        client.close()


def test_half_close_in_tunnels(proxy):
    """C18 C19: everything before the FIN, then the FIN; the answer, however large, comes after it"""
    origin = Origin(lambda conn: conn.send(conn.recv_all(within=20) * 20, within=20))
    clients = [proxy.client() for _ in range(20)]
    for client in clients:
        client.connect(origin.authority)
        client.send(BODY)
        client.shut_write()
    for client in clients:
        length, _ = client.digest_all(within=20)
        assert (length, client.end) == (20 * len(BODY), FIN)


def test_outstanding_bytes_before_the_end(proxy):
    """C18: 10 MB and a close, nothing is lost; to a client that is slow at first"""
    data = random.Random(6).randbytes(1 << 20)
    origin = Origin(lambda conn: conn.send(data * 10, within=20))
    clients = [proxy.client().connect(origin.authority) for _ in range(4)]
    time.sleep(0.3)
    for client in clients:
        got = client.recv_all(within=20)
        assert client.end == FIN and got == data * 10


# --- it does not stop --------------------------------------------------------------------------------------------------


def test_five_thousand_requests_at_once(proxy):
    """C50: answered in order; read slowly, and the memory stays"""
    web = HttpOrigin()
    n = 5000
    client = proxy.client(rcvbuf=8192)
    before = proxy.rss()
    sender = client.send_in_background(b"".join(request("GET", web.url(f"/{i}")) for i in range(n)))
    time.sleep(0.2)
    for i in range(n):
        answer = client.recv_response(within=20)
        assert answer.body == f"GET /{i}".encode(), f"in place {i} comes {answer.body!r}"
        if i % 500 == 0:
            time.sleep(0.02)
    sender.join(5)
    assert not sender.is_alive()
    assert proxy.instrumented() or proxy.rss() - before < 4 << 20


def test_one_byte_a_segment(proxy):
    """FAILURES: however a request is cut up"""
    web = HttpOrigin(lambda req: response(body=req.body))
    client = proxy.client()
    client.send_bytewise(request("POST", web.url(), "Transfer-Encoding: chunked", body=chunk(b"hello") + chunk(b"!") + b"0\r\n\r\n"))
    assert client.recv_response().body == b"hello!"
    client.send_bytewise(request("CONNECT", web.authority))
    assert client.recv_response("CONNECT").status == 200
    client.send_bytewise(request("POST", "/", host="x", body=b"inside"))
    assert client.recv_response().body == b"inside"


@pytest.mark.parametrize("refused", ["CONNECT", "413"])
def test_goes_on_sending_after_a_refusal(proxy, refused):
    """C52: the answer can be read to its end although the client sends on (1 GB, or as much as the proxy takes); then it is over"""
    origin = Origin()
    client = proxy.client()
    if refused == "CONNECT":
        head = request("CONNECT", "127.0.0.1:1")
        status = 502
    else:
        head = request("POST", origin.url(), f"Content-Length: {1 << 30}")
        status = 413
    before = proxy.rss()
    stop, block, sent = threading.Event(), b"\0" * (1 << 18), [0]

    def pour():
        with contextlib.suppress(OSError):
            while not stop.is_set() and sent[0] < 1 << 30:
                client.sock.sendall(block)
                sent[0] += len(block)

    client.send(head)
    if refused == "413":
        conn = origin.accept()
        conn.recv_request_head()
    client.sock.settimeout(scaled(20))
    pourer = threading.Thread(target=pour, daemon=True)
    pourer.start()
    if refused == "413":
        conn.send(response(413, "Connection: close", body=BODY))
        conn.shut_write()
    answer = _read_beside(client)
    assert answer.status == status and (answer.body == BODY if refused == "413" else answer.body)
    eventually(lambda: not pourer.is_alive() or sent[0] >= 1 << 30, within=40, what="the linger to end")
    stop.set()
    pourer.join(5)
    print(f"{sent[0]} bytes were taken")
    assert proxy.instrumented() or proxy.rss() - before < 4 << 20


def _read_beside(client):
    """Reads an answer while another thread sends through the same socket: no time-out is set on it here."""
    got = bytearray()
    deadline = time.monotonic() + scaled(10)
    while b"\r\n\r\n" not in got or len(got) < got.index(b"\r\n\r\n") + 4 + _length(got):
        assert time.monotonic() < deadline, bytes(got[:300])
        if select.select([client.sock], [], [], 0.1)[0]:
            data = client.sock.recv(1 << 16)
            assert data, f"the end after {bytes(got[-300:])!r}"
            got += data
    client.buffer += got
    return client.recv_response()


def _length(head):
    return int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head).group(1))


def test_http_1_0_is_closed(proxy):
    """C51: whatever it says, and nothing chunked"""
    web = HttpOrigin(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"abc") + b"0\r\n\r\n")
    for field in ("Connection: keep-alive", "Proxy-Connection: keep-alive", "Keep-Alive: 100"):
        client = proxy.client()
        client.send(request("GET", web.url(), field, version="1.0") + request("GET", web.url("/2"), version="1.0"))
        answer = client.recv_response()
        assert answer.body == b"abc" and not answer.has("transfer-encoding")
        assert client.end == FIN


# --- it does not read --------------------------------------------------------------------------------------------------


def pss(pid):
    """The bytes that are the process's own, shared ones by their share."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+) kB", text, re.M).group(1)) * 1024


@pytest.mark.parametrize("kind", ["tunnel, down", "tunnel, up", "length", "chunked", "close"])
def test_receivers_that_never_read(proxy, kind):
    """DESIGN 8.4, issue: 64 KB of the process's memory each at most, and it comes back"""
    origin = Origin(rcvbuf=4096)
    stalled = []
    before = pss(proxy.pid)
    for _ in range(STALLED):
        client = proxy.client(rcvbuf=4096)
        if kind.startswith("tunnel"):
            client.connect(origin.authority)
            conn = origin.accept()
        else:
            client.send(request("GET", origin.url()))
            conn = origin.accept()
            conn.recv_request()
            conn.send({"length": b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n",
                       "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5f5e100\r\n",
                       "close": b"HTTP/1.1 200 OK\r\n\r\n"}[kind])
        writer = client if kind == "tunnel, up" else conn
        writer.sock.setblocking(False)
        stalled.append((client, conn, writer))
    taken = fill([writer for _, _, writer in stalled], 100_000_000)
    assert max(taken) < min(kernel_room(), 100_000_000), "somebody reads without an end"
    if not proxy.instrumented():
        each = (pss(proxy.pid) - before) / STALLED
        print(f"{each:.0f} bytes each")
        assert each < BOUND, f"{each:.0f} bytes each"
    for client, conn, _ in stalled:
        client.reset()
        conn.close()


def fill(writers, limit):
    """Writes to all of them until none has taken a byte for a while; how many bytes each has taken."""
    taken, block = [0] * len(writers), b"x" * 65536
    quiet = time.monotonic()
    while time.monotonic() - quiet < scaled(0.3):
        for i, writer in enumerate(writers):
            with contextlib.suppress(BlockingIOError):
                while taken[i] < limit:
                    taken[i] += writer.sock.send(block)
                    quiet = time.monotonic()
        time.sleep(0.01)
    return taken


def test_reads_one_byte_a_second(proxy):
    """FAILURES 22: a reader that is slow is not idle; the bytes are right, and nobody waits for it"""
    data = random.Random(7).randbytes(4 << 20)
    web = HttpOrigin(response(body=data))
    client = proxy.client(rcvbuf=4096)
    client.send(request("GET", web.url()))
    got = bytearray()
    for _ in range(3):
        got += client.sock.recv(1)
        time.sleep(scaled(0.3))
    client.buffer += got
    answer = client.recv_response(within=20)
    assert answer.body == data


# --- all in all --------------------------------------------------------------------------------------------------------


def test_nothing_is_left(house):
    """U8: the connections are those of the neighbours again"""
    proxy, neighbours = house
    neighbours.wait_rounds(2)
    eventually(lambda: open_connections(proxy) <= BUSY, within=8, what=f"{open_connections(proxy)} connections to be {BUSY}")
