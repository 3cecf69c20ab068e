# SPDX-License-Identifier: MIT
"""A scripted DNS server on loopback (UDP): what it answers, how long it waits, what it was asked."""

import socket
import struct
import threading

from . import scope

A, SOA, AAAA = 1, 6, 28
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
TYPES = {A: "A", AAAA: "AAAA"}


class _Entry:
    def __init__(self, a=(), aaaa=(), ttl=60, rcode=NOERROR, negative_ttl=60, delay=0, mute=(), forge=False):
        self.addresses = {A: list(a), AAAA: list(aaaa)}
        self.ttl, self.rcode, self.negative_ttl = ttl, rcode, negative_ttl
        self.delay, self.mute, self.forge = delay, mute, forge


class DnsServer:
    """Names that nobody has scripted do not exist."""

    def __init__(self, host="127.0.0.1"):
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.host, self.port = host, self.sock.getsockname()[1]
        self.queries = []  # (name, "A" | "AAAA" | number)
        self._entries = {}
        self._unknown = _Entry(rcode=NXDOMAIN)
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        scope.track(self, scope.ORIGIN)

    @property
    def address(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def answer(self, name, **script):
        """Scripts a name: a and aaaa are lists of addresses (without any, that type has no data), ttl, rcode, negative_ttl (the
        SOA's minimum), delay in seconds, mute (types that get no answer), forge (a false answer with another id comes first)."""
        self._entries[name.lower()] = _Entry(**script)

    def silence(self, name):
        """Queries for the name get no answer at all."""
        self.answer(name, mute=("A", "AAAA"))

    def asked(self, name, kind=None):
        """How often it was asked for the name."""
        return sum(1 for n, k in self.queries if n == name.lower() and kind in (None, k))

    def close(self):
        scope.forget(self)
        self._stopping = True
        try:
            with socket.socket(self.sock.family, socket.SOCK_DGRAM) as wake:
                wake.sendto(b"", self.sock.getsockname())
        except OSError:
            pass
        self._thread.join(2)
        self.sock.close()

    def _serve(self):
        while True:
            try:
                query, client = self.sock.recvfrom(4096)
            except OSError:
                return
            if self._stopping:
                return
            self._handle(query, client)

    def _handle(self, query, client):
        if len(query) < 17:
            return
        name, end = _read_name(query, 12)
        (kind,) = struct.unpack_from("!H", query, end)
        self.queries.append((name, TYPES.get(kind, kind)))
        entry = self._entries.get(name, self._unknown)
        if TYPES.get(kind) in entry.mute:
            return
        answer = _answer(query[:2], query[12:end + 4], kind, entry)
        if entry.forge:
            self._send(bytes([answer[0] ^ 255]) + answer[1:-1] + b"\x09", client)
        if entry.delay:
            threading.Timer(entry.delay, self._send, (answer, client)).start()
        else:
            self._send(answer, client)

    def _send(self, answer, client):
        try:
            self.sock.sendto(answer, client)
        except OSError:
            pass


def _read_name(packet, at):
    labels = []
    while packet[at]:
        length = packet[at]
        labels.append(packet[at + 1:at + 1 + length].decode("latin-1"))
        at += 1 + length
    return ".".join(labels).lower(), at + 1


def _answer(ident, question, kind, entry):
    records = []
    if entry.rcode == NOERROR:
        family = socket.AF_INET6 if kind == AAAA else socket.AF_INET
        records = [_record(b"\xc0\x0c", kind, entry.ttl, socket.inet_pton(family, address))
                   for address in entry.addresses.get(kind, ())]
    authority = []
    if not records and entry.rcode in (NOERROR, NXDOMAIN):
        numbers = struct.pack("!IIIII", 1, 60, 60, 60, entry.negative_ttl)
        authority = [_record(b"\0", SOA, entry.negative_ttl, b"\x02ns\0\x02me\0" + numbers)]
    header = ident + struct.pack("!HHHHH", 0x8580 | entry.rcode, 1, len(records), len(authority), 0)
    return header + question + b"".join(records + authority)


def _record(owner, kind, ttl, data):
    return owner + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data
