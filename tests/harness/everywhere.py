# SPDX-License-Identifier: MIT
"""A network namespace in which every address is at home: whoever dials one gets an answer from it, and every attempt is noted."""

import ipaddress
import json
import pathlib
import re
import socket
import socketserver
import subprocess
import threading

from . import scope
from .net import NetNs, have_ipv6

PORTS = (80, 443, 8080)

NFT = """\
table inet seen {
  set four { type ipv4_addr; flags dynamic; size 65535; }
  set six { type ipv6_addr; flags dynamic; size 65535; }
  chain out {
    type filter hook output priority 0;
    meta nfproto ipv4 tcp dport { %(ports)s } tcp flags & (syn | ack) == syn add @four { ip daddr }
    meta nfproto ipv6 tcp dport { %(ports)s } tcp flags & (syn | ack) == syn add @six { ip6 daddr }
  }
}
"""


def plain(address):
    """The address as an object; a mapped one is the IPv4 address that it is."""
    address = ipaddress.ip_address(address.split("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


class _Talk(socketserver.BaseRequestHandler):
    """Answers each request with the address that it came to; an Upgrade with a 101, after which everything is echoed."""

    def handle(self):
        here = str(plain(self.request.getsockname()[0]))
        self.server.talks.append(here)
        data = b""
        try:
            while True:
                while b"\r\n\r\n" not in data:
                    more = self.request.recv(4096)
                    if not more:
                        return
                    data += more
                head, data = data.split(b"\r\n\r\n", 1)
                self.server.requests.append((here, head.split(b"\r\n")[0].decode("latin-1")))
                if re.search(rb"^upgrade:", head, re.I | re.M):
                    self.request.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
                    while more := self.request.recv(4096):
                        self.request.sendall(more)
                    return
                body = here.encode()
                self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except OSError:
            pass


class Witness(socketserver.ThreadingTCPServer):
    """A server on one port of all addresses of this machine: talks has the address of each connection, requests (address, request
    line) of each request. It is not closed with a test: close() does it."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, port=0, talks=None, requests=None):
        self.talks, self.requests = [] if talks is None else talks, [] if requests is None else requests
        self.address_family = socket.AF_INET6 if have_ipv6() else socket.AF_INET
        super().__init__(("::" if have_ipv6() else "0.0.0.0", port), _Talk)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def server_bind(self):
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def close(self):
        self.shutdown()
        self.server_close()


class Everywhere(NetNs):
    """Witnesses on the ports of all addresses. They are not closed with a test: close() does it. Whom somebody dials on PORTS is noted
    if it is watched."""

    def __init__(self, ports=PORTS, watched=True):
        super().__init__()
        scope.forget(self)
        self.talks, self.requests = [], []  # the address of each connection; (address, request line) of each request
        self._servers = []
        try:
            self.call(self._open, ports, watched)
        except BaseException:
            self.close()
            raise

    def _open(self, ports, watched):
        subprocess.run(["ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo"], check=True, capture_output=True)
        subprocess.run(["ip", "-6", "route", "add", "local", "::/0", "dev", "lo"], check=True, capture_output=True)
        rules = NFT % {"ports": ", ".join(map(str, PORTS))}
        if watched:
            subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True, capture_output=True)
        self._servers = [Witness(port, self.talks, self.requests) for port in ports]

    def dialled(self):
        """Every address that somebody has sent a SYN to, on PORTS, since the last forget()."""
        return {ipaddress.ip_address(element) for name in ("four", "six") for element in self._elements(name)}

    def opens(self):
        """How many connections have been opened in here so far, by anybody, to any port, with success or without."""
        text = self.call(lambda: pathlib.Path("/proc/thread-self/net/snmp").read_text())
        names, values = (line.split() for line in text.splitlines() if line.startswith("Tcp:"))
        return int(values[names.index("ActiveOpens")])

    def _elements(self, name):
        listed = self.call(subprocess.run, ["nft", "-j", "list", "set", "inet", "seen", name], check=True, capture_output=True)
        (found,) = [item["set"] for item in json.loads(listed.stdout)["nftables"] if "set" in item]
        return [element if isinstance(element, str) else element["elem"]["val"] for element in found.get("elem", [])]

    def forget(self):
        for name in ("four", "six"):
            self.call(subprocess.run, ["nft", "flush", "set", "inet", "seen", name], check=True, capture_output=True)
        self.talks.clear()
        self.requests.clear()

    def close(self):
        for server in self._servers:
            server.close()
        self._servers.clear()
        super().close()
