# SPDX-License-Identifier: MIT
"""The test harness: a ginnel to talk to, raw clients and scripted origins, a scripted resolver.

Everything made here registers itself with `scope` and is closed at the end of the test that made it.
Only the standard library is used, and python3-h2 for HTTP/2. Every wait has a deadline; GINNEL_TEST_SLOW=4 makes them four times as long.
"""

from .build import chunk, chunked, request, response
from .clock import SLOW, Deadline, eventually, quickest, scaled
from .dns import NXDOMAIN, REFUSED, SERVFAIL, DnsServer
from .ginnel import Ginnel, binary, run_ginnel, wait_ready
from .h2 import LOST, H2Client, H2Conn
from .message import Malformed, Request, Response
from .neighbours import Neighbours
from .net import BlackHole, NetNs, free_port, have_ipv6, held
from .origin import H2Origin, HttpOrigin, Origin
from .peer import CUT, FIN, OPEN, RST, Client, Peer, Truncated, UnixClient, kernel_room
from .proxy_status import parse_proxy_status
from .tls import TlsClient

__all__ = [
    "CUT", "FIN", "LOST", "NXDOMAIN", "OPEN", "REFUSED", "RST", "SERVFAIL", "SLOW",
    "BlackHole", "Client", "Deadline", "DnsServer", "Ginnel", "H2Client", "H2Conn", "H2Origin", "HttpOrigin", "Malformed", "Neighbours",
    "NetNs", "Origin", "Peer", "Request", "Response", "TlsClient", "Truncated", "UnixClient",
    "binary", "chunk", "chunked", "eventually", "free_port", "have_ipv6", "held", "kernel_room", "parse_proxy_status", "quickest", "request",
    "response", "run_ginnel", "scaled", "wait_ready",
]
