# SPDX-License-Identifier: MIT
"""The ways in themselves: that each is what its name says, and whom the log takes the client for (U14 S001-5 S001-14 S001-26 S004-8 C86)."""

import pytest

from harness import FIN, OPEN, RST, Origin, eventually, request
from harness.sides import SIDES, Side
from harness.ways import GINNEL_H2, GINNEL_HTTPS, PROXY_V2, SQUID

HELLO = "hello from the origin\n"
# What the log says of whoever came this way: HTTP's version, and what ALPN agreed on
ARRIVES = {"clear-h1": ("1.1", None), "tls-h1": ("1.1", "http/1.1"), "clear-h2": ("2", None), "tls-h2": ("2", "h2"), SQUID: ("1.1", None),
           GINNEL_HTTPS: ("1.1", "http/1.1"), GINNEL_H2: ("2", "h2"), PROXY_V2: ("1.1", None)}


def test_what_arrives(way, nginx):
    """Plain requests and tunnels come in as the name says: the version of HTTP, TLS or none, the agreed protocol"""
    with way.client() as client:
        assert client.ask(request("GET", nginx.url("/small.txt"))).body.decode() == HELLO
    with way.connect(f"origin.test:{nginx.http}") as tunnel:
        assert tunnel.ask(request("GET", "/small.txt", host="x")).body.decode() == HELLO
    for one in way.wait_records(url__path="/small.txt")[-1], way.wait_records(http__request__method="CONNECT")[-1]:
        assert (one["network.protocol.version"], one.get("tls.next_protocol")) == ARRIVES[way.name], one
        assert ("tls.version" in one) == (ARRIVES[way.name][1] is not None)


ADDRESS = "127.0.0.77"


def test_the_clients_address(way, nginx):
    """C86, "Resolved when" of the stage: with a PROXY header the log has the client's own address, and the balancer's beside it. No other proxy in front says in a
    way that ginnel reads whom it speaks for (`forwarded` is not built): the log has the proxy's address then, and who the client was stands in that one's log."""
    with way.client(source=ADDRESS) as client:
        assert client.ask(request("GET", nginx.url("/small.txt"))).body.decode() == HELLO
    with way.client(source=ADDRESS) as tunnel:
        tunnel.send(f"CONNECT origin.test:{nginx.http} HTTP/1.1\r\nHost: origin.test:{nginx.http}\r\n\r\n".encode())
        assert tunnel.recv_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    one, other = way.wait_records(url__path="/small.txt")[-1], way.wait_records(http__request__method="CONNECT")[-1]
    known = way.first == "ginnel" and not way.outer or way.name == PROXY_V2
    for record in one, other:
        assert record["client.address"] == (ADDRESS if known else "127.0.0.1"), record
        assert record.get("ginnel.balancer.address") == ("127.0.0.1" if way.name == PROXY_V2 else None), record
    if way.outer:
        for where in {"url.path": "/small.txt"}, {"http.request.method": "CONNECT"}:
            assert way.outer.wait_access(1, {"client.address": ADDRESS, **where})
    if way.name == SQUID:
        eventually(lambda: way.squid.methods_of(ADDRESS) == {"GET", "CONNECT"}, 5, "squid's own records")


@pytest.mark.parametrize("name", SIDES)
def test_the_address_of_who_speaks_tls_or_h2_itself(ways, name, nginx, certificates):
    """The same for each side by a client that needs nobody between"""
    way = ways.way(name)
    way.begin()
    side = Side(name, way.listener, certificates.authority)
    with side.client(source=ADDRESS) as client:
        if side.is_h2:
            answer = client.request("GET", "http", f"origin.test:{nginx.http}", "/small.txt").recv_response()
        else:
            answer = client.ask(request("GET", nginx.url("/small.txt")))
        assert answer.body.decode() == HELLO
    assert way.wait_records(url__path="/small.txt")[-1]["client.address"] == ADDRESS


# What each side of a tunnel is told when the other ends one direction (FIN) or the connection (RST), and whether the other direction still carries what is sent.
# ginnel tells all of it apart, over every side, and over h2 to another ginnel; HAProxy makes a FIN of its server's RST; nghttpx and squid know one end only.
WHOLE, TOLD_ENDS, ONE_END = "both directions, RST", "both directions, origin's RST is FIN", "one end"
ENDS = {"clear-h1": WHOLE, GINNEL_H2: WHOLE, "tls-h1": TOLD_ENDS, GINNEL_HTTPS: TOLD_ENDS, PROXY_V2: TOLD_ENDS}


def test_how_tunnels_end(way):
    """C19 C63 U11"""
    origin = Origin()
    kind = ENDS.get(way.name, ONE_END)

    def tunnel():
        near = way.connect(f"origin.test:{origin.port}")
        far = origin.accept()
        near.send(b"question")
        assert far.recv_exactly(8) == b"question"
        return near, far

    for ends, other in (0, 1), (1, 0):  # the client, the origin
        pair = tunnel()
        pair[ends].shut_write()
        if way.first == "nghttpx" and ends == 0:
            assert pair[other].wait_ended() == RST
        else:
            assert pair[other].wait_ended() == FIN
        if kind != ONE_END:
            assert way.keeps_halves
            pair[other].send(b"answer")
            assert pair[ends].recv_exactly(6) == b"answer"
        elif not (way.first == "nghttpx" and ends == 1):
            assert pair[ends].wait_ended() != OPEN, "squid ends both directions, so does nghttpx for its client"
        for peer in pair:
            peer.close()
    near, far = tunnel()
    near.reset()
    assert far.wait_ended() == (FIN if way.first == "squid" else RST)
    far.close()
    near, far = tunnel()
    far.reset()
    assert near.wait_ended() == (RST if kind == WHOLE else FIN)
    near.close()
