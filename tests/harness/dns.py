# SPDX-License-Identifier: MIT
"""A scripted DNS server on loopback (UDP and TCP on one port): what it answers, how, how late, and what it was asked."""

import socket
import struct
import threading
import time

from . import scope

A, CNAME, SOA, TXT, AAAA, OPT = 1, 5, 6, 16, 28, 41
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, REFUSED = 0, 1, 2, 3, 5
TYPES = {A: "A", AAAA: "AAAA"}


class _Entry:
    def __init__(self, a=(), aaaa=(), ttl=60, rcode=NOERROR, negative_ttl=60, delay=0, mute=(), forge=False, soa=True, rcodes=None,
                 aliases=(), cut=False, tcp="answer", edns=True, other_port=False, spoil=None):
        self.addresses = {A: list(a), AAAA: list(aaaa)}
        self.ttl, self.rcode, self.negative_ttl = ttl, rcode, negative_ttl
        self.delay, self.mute, self.forge, self.soa = delay, mute, forge, soa
        self.rcodes, self.aliases = rcodes or {}, list(aliases)
        self.cut, self.tcp, self.edns, self.other_port, self.spoil = cut, tcp, edns, other_port, spoil


class DnsServer:
    """Names that nobody has scripted do not exist, unless otherwise() says otherwise."""

    def __init__(self, host="127.0.0.1"):
        self.host, self.port = host, 0
        self.queries = []  # (name, "A" | "AAAA" | number), over UDP and TCP
        self.over_tcp = []  # the names of those over TCP
        self._entries = {}
        self._unknown = _Entry(rcode=NXDOMAIN)
        self._held = None
        self._lock = threading.Lock()
        self._running = None
        self.start()
        scope.track(self, scope.ORIGIN)

    @property
    def address(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def answer(self, name, **script):
        """Scripts a name: a and aaaa are lists of addresses (without any, that type has no data), ttl, rcode (or rcodes by type),
        negative_ttl (the SOA's minimum; soa=False: there is none), delay in seconds, mute (types that get no answer), forge (a false
        answer with another id comes first), aliases (names on the way), cut (over UDP: truncated), tcp ("answer"; "stall": the whole connection;
        "close"; "half": half an answer, then nothing; "half close"), edns (False: FORMERR to who uses it), other_port (answers come from another
        port), spoil (a function of answer and query that gives the messages that are sent)."""
        self._entries[name.lower()] = _Entry(**script)

    def otherwise(self, **script):
        """Scripts all names that are not scripted."""
        self._unknown = _Entry(**script)

    def silence(self, name):
        """Queries for the name get no answer at all."""
        self.answer(name, mute=("A", "AAAA"))

    def asked(self, name, kind=None):
        """How often it was asked for the name."""
        return sum(1 for n, k in self.queries if n == name.lower() and kind in (None, k))

    def hold(self):
        """Keeps answers over UDP back until release()."""
        with self._lock:
            self._held = []

    def release(self):
        with self._lock:
            held, self._held = self._held, None
        for i, send in enumerate(held):
            send()
            if i % 16 == 15:
                time.sleep(0.002)  # a burst would not fit into the socket's buffer

    # --- its life ------------------------------------------------------------------------------------------------------

    def start(self):
        """Also after stop(), on the same port."""
        assert self._running is None
        self._running = _Sockets(self.host, self.port)
        self.port = self._running.port
        for serve in (self._serve_udp, self._serve_tcp):
            thread = threading.Thread(target=serve, args=(self._running,), daemon=True)
            thread.start()
            self._running.threads.append(thread)

    def stop(self):
        """Nobody listens: queries meet an ICMP error, connections a RST."""
        running, self._running = self._running, None
        if running:
            running.close()

    def close(self):
        scope.forget(self)
        self.stop()

    # --- UDP -----------------------------------------------------------------------------------------------------------

    def _serve_udp(self, running):
        while True:
            try:
                query, client = running.udp.recvfrom(4096)
            except OSError:
                return
            if running.closing:
                return
            self._handle(running, query, client)

    def _handle(self, running, query, client):
        entry = self._look_up(query)
        if not entry:
            return
        messages = _messages(query, entry, cut=entry.cut)
        if entry.forge:
            messages.insert(0, bytes([messages[0][0] ^ 255]) + messages[0][1:-1] + b"\x09")

        def send():
            for message in messages:
                running.send(message, client, entry.other_port)

        with self._lock:
            if self._held is not None:
                self._held.append(send)
                return
        if entry.delay:
            threading.Timer(entry.delay, send).start()
        else:
            send()

    def _look_up(self, query):
        """The entry of what is asked; None when there is no answer."""
        if len(query) < 17:
            return None
        name, end = _read_name(query, 12)
        (kind,) = struct.unpack_from("!H", query, end)
        self.queries.append((name, TYPES.get(kind, kind)))
        entry = self._entries.get(name, self._unknown)
        return None if TYPES.get(kind) in entry.mute else entry

    # --- TCP -----------------------------------------------------------------------------------------------------------

    def _serve_tcp(self, running):
        while True:
            try:
                sock, _ = running.tcp.accept()
            except OSError:
                return
            running.conns.append(sock)
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock):
        try:
            while True:
                query = _recv_exactly(sock, struct.unpack("!H", _recv_exactly(sock, 2))[0])
                entry = self._look_up(query)
                self.over_tcp.append(_read_name(query, 12)[0])
                if not entry or entry.tcp == "stall":
                    while sock.recv(4096):
                        pass
                    break
                if not self._reply(sock, entry, query):
                    break
        except (OSError, EOFError):
            pass
        sock.close()

    @staticmethod
    def _reply(sock, entry, query):
        """False: the connection is closed."""
        if entry.delay:
            time.sleep(entry.delay)
        for message in _messages(query, entry, cut=False):
            message = struct.pack("!H", len(message)) + message
            if entry.tcp.startswith("half"):
                message = message[:len(message) // 2]
            if entry.tcp != "close":
                sock.sendall(message)
        return entry.tcp not in ("close", "half close")


class _Sockets:
    """What is open while it serves."""

    def __init__(self, host, port):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        for attempt in range(50):  # a port that is free for both
            self.udp = socket.socket(family, socket.SOCK_DGRAM)
            self.tcp = socket.socket(family, socket.SOCK_STREAM)
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self.udp.bind((host, port))
                self.port = self.udp.getsockname()[1]
                self.tcp.bind((host, self.port))
                break
            except OSError:
                self.udp.close()
                self.tcp.close()
                if attempt == 49:
                    raise
                time.sleep(0.01 if port else 0)
        self.tcp.listen(64)
        self.other = socket.socket(family, socket.SOCK_DGRAM)
        self.other.bind((host, 0))
        self.conns = []
        self.threads = []
        self.closing = False

    def send(self, message, client, other_port=False):
        try:
            (self.other if other_port else self.udp).sendto(message, client)
        except OSError:
            pass

    def close(self):
        self.closing = True
        try:
            self.other.sendto(b"", self.udp.getsockname())  # wakes who reads
            self.tcp.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        for thread in self.threads:  # a socket lives on while somebody reads from it
            thread.join(2)
        for sock in (self.udp, self.tcp, self.other, *self.conns):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()


def _recv_exactly(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise EOFError
        data += more
    return data


# --- messages ----------------------------------------------------------------------------------------------------------


def _read_name(packet, at):
    labels = []
    while packet[at]:
        length = packet[at]
        labels.append(packet[at + 1:at + 1 + length].decode("latin-1"))
        at += 1 + length
    return ".".join(labels).lower(), at + 1


def wire_name(name):
    """A name as it stands in a message."""
    return b"".join(bytes([len(label)]) + label.encode("latin-1") for label in name.split(".") if label) + b"\0"


def message(query, *records, flags=0x8580, authority=(), question=None):
    """An answer to the query."""
    end = _read_name(query, 12)[1] + 4
    header = query[:2] + struct.pack("!HHHHH", flags, 1, len(records), len(authority), 0)
    return header + (query[12:end] if question is None else question) + b"".join([*records, *authority])


def record(owner, kind, ttl, data):
    return owner + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def address_record(address, owner=b"\xc0\x0c", ttl=60):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return record(owner, AAAA if ":" in address else A, ttl, socket.inet_pton(family, address))


def _messages(query, entry, cut):
    end = _read_name(query, 12)[1]
    (kind,) = struct.unpack_from("!H", query, end)
    (additional,) = struct.unpack_from("!H", query, 10)
    if additional and not entry.edns:
        return [message(query, flags=0x8580 | FORMERR)]
    if cut:
        return [message(query, flags=0x8780)]
    answer = _answer(query, kind, entry)
    return entry.spoil(answer, query) if entry.spoil else [answer]


def _answer(query, kind, entry):
    rcode = entry.rcodes.get(TYPES.get(kind), entry.rcode)
    records, owner = [], b"\xc0\x0c"
    if rcode == NOERROR:
        for alias in entry.aliases:
            records.append(record(owner, CNAME, entry.ttl, wire_name(alias)))
            owner = wire_name(alias)
        records += [address_record(address, owner, entry.ttl) for address in entry.addresses.get(kind, ())]
    authority = []
    if entry.soa and len(records) == len(entry.aliases) and rcode in (NOERROR, NXDOMAIN):
        numbers = struct.pack("!IIIII", 1, 60, 60, 60, entry.negative_ttl)
        authority = [record(b"\0", SOA, entry.negative_ttl, b"\x02ns\0\x02me\0" + numbers)]
    return message(query, *records, flags=0x8580 | rcode, authority=authority)
