# SPDX-License-Identifier: MIT
"""One case of bench/exact-legs: a client of some kind, a next hop of some kind, a cell; run and judged as bench/exact.c judges its own."""
import random
import threading
import time

from exact_ends import IN_DONE, IN_HEAD, IN_RAW, RST_LIMIT, Stop, H1Chan, H2Chan, End, accept_of
from exact_plans import A_PREFIX_AND_RST, ALL_AND_FIN, BROKEN, FAIL, GONE, NOTHING, TUNNELS, UPLOADS, WHOLE, Plan
from harness import scope
from harness.h2 import LOST, SETTINGS
from harness.message import Malformed, parse_request_head
from harness.origin import H2Origin, Origin
from harness.peer import OPEN, RST

FIN_LIMIT, HANG = 2.0, 5.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 1.3
SWITCH = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY)]


def kind_of(name):
    """Of a client or a next hop: h1, tls-h1 or h2, as plans have it."""
    return "h2" if "h2" in name else "tls-h1" if name.startswith(("tls", "https")) else "h1"


class Case:
    """`side`: a harness Side; `hop`: a Hop; `relayed`: the proxy has fixed ports, and no CONNECT of its own."""

    def __init__(self, cell, seed, ident, side, hop, patience, relayed=False):
        self.cell, self.seed, self.ident, self.side, self.hop = cell, seed, ident, side, hop
        self.patience, self.relayed, self.buffer = patience, relayed, 0
        self.rng, self.changed = random.Random(seed), threading.Condition()
        self.over, self.complaint = False, None
        self.is_tunnel = cell[0] in TUNNELS
        self.client_kind, self.far_kind = kind_of(side.name), kind_of(hop.name)
        self.client, self.far = End(self, True), End(self, False)
        self.client.other, self.far.other = self.far, self.client
        self.began = self.progress = time.monotonic()
        self.threads = []
        Plan(self).make()

    # --- what ends call --------------------------------------------------------------------------------------------

    def tell(self):
        with self.changed:
            self.changed.notify_all()

    def wait(self, check):
        with self.changed:
            while not check():
                if self.over:
                    raise Stop
                self.changed.wait(0.02)

    def wrong(self, what):
        client, far = self.client, self.far
        if not self.complaint:
            self.complaint = what
            self.detail = f"{client.story()}; {far.story()}; {(time.monotonic() - self.began) * 1000:.0f} ms"
            self.over = True
            self.tell()

    # --- the run ---------------------------------------------------------------------------------------------------

    def run(self):
        """None, or what is wrong."""
        self.hop.expect(self)
        try:
            self._start(self._client)
            while not self.over:
                self._judge_both()
                with self.changed:
                    if not self.over:
                        self.changed.wait(0.005)
        finally:
            self.over = True
            self.tell()
            self.hop.expect(None)
            for end in (self.client, self.far):
                if end.chan:
                    end.chan.close()
            for thread in self.threads:
                thread.join(10)
        return self.complaint

    def _judge_both(self):
        for end in (self.client, self.far):
            if not self.over:
                judge(end)
        if self.over:
            return
        if self.client.settled and self.far.settled and self.happened():
            self.over = True
        elif time.monotonic() - self.progress > HANG * self.patience:
            self.wrong("nothing moves")

    def happened(self):
        client, far = (end.did_fin or end.did_rst for end in (self.client, self.far))
        if self.cell[1] == "fin-both":
            return client and far
        return client if self.cell[1].endswith("client") else far

    def _start(self, what):
        thread = threading.Thread(target=self._guarded, args=(what,), daemon=True)
        thread.start()
        self.threads.append(thread)

    def _guarded(self, what):
        """A driver that fails is no proxy that does."""
        try:
            what()
        except (Stop, ConnectionError):  # judged by what the end has seen
            pass
        except Exception as error:  # pylint: disable=broad-except
            if not self.over:
                self.wrong(f"the driver: {error!r}")

    # --- the client ------------------------------------------------------------------------------------------------

    def _client(self):
        end = self.client
        if self.side.is_h2:
            self._client_h2(end)
        else:
            self._client_h1(end)
        if self.is_tunnel and self.cell[2] != "early":
            self.wait(lambda: end.open or end.status >= 400 or end.read_done)
        if end.status < 400:
            end.run()

    def _fields(self):
        """What a request says about its content."""
        if self.cell[0] == "post-length":
            return [("Content-Length", str(self.client.declared))]
        return []

    def _client_h1(self, end):
        leg, early = self.cell[0], self.cell[2] == "early"
        plain = self.relayed and leg == "connect"
        peer = self.side.client()
        scope.forget(peer)
        end.chan = H1Chan(end, peer, IN_RAW if plain else IN_HEAD)
        end.open = plain
        self._start(end.listen)
        if end.cork or (early and self.cell[1] in ("fin-client", "fin-both")):
            end.chan.hold()
        authority = self.hop.authority(self)
        url = self.hop.path(self) if self.relayed else f"http://{authority}{self.hop.path(self)}"
        if leg == "upgrade":
            end.chan.send_request("GET", url, authority, "", SWITCH)
        elif leg != "connect":
            more = [("Transfer-Encoding", "chunked")] if leg == "post-chunked" else []
            end.chan.send_request("POST" if leg in UPLOADS else "GET", url, authority, "", self._fields() + more)
        elif not plain:
            end.chan.send_request("CONNECT", authority, authority, "", [])

    def _client_h2(self, end):
        leg, conn = self.cell[0], self.side.conn()
        scope.forget(conn)
        authority = self.hop.authority(self)
        pseudo = [(":scheme", "http"), (":authority", authority), (":path", self.hop.path(self))]
        if leg == "connect":
            stream = conn.open([(":method", "CONNECT"), (":authority", authority)])
        elif leg == "upgrade":
            conn.wait_settings()
            stream = conn.open([(":method", "CONNECT"), (":protocol", "websocket"), *pseudo, ("sec-websocket-version", "13")])
        else:
            fields = [(name.lower(), value) for name, value in self._fields()]
            content = leg in UPLOADS or ("fin", 0) in end.ops
            stream = conn.open([(":method", "POST" if leg in UPLOADS else "GET"), *pseudo, *fields], end=not content)
        end.chan = H2Chan(end, stream)
        end.chan.said_end = stream.ended_here
        self._start(end.listen)

    # --- the far end -----------------------------------------------------------------------------------------------

    def vanished(self):
        """The far end's connection was reset before it could be accepted."""
        end = self.far
        if self.cell[0] == "connect" and self.client.did_rst and not end.chan and not self.over:
            end.how, end.err_at, end.end_at = RST, time.monotonic(), time.monotonic()
            end.err = end.read_done = True
            self.tell()

    def offer(self, peer, head, is_stream):
        """The next hop has the case's connection or stream, and the head of its request if there was one. False: it is somebody else's."""
        end, leg, early = self.far, self.cell[0], self.cell[2] == "early"
        with self.changed:
            if self.over or end.chan:
                return False
            bare = leg == "connect" and not head
            end.chan = H2Chan(end, peer) if is_stream else H1Chan(end, peer, IN_RAW if self.is_tunnel else IN_DONE)
        end.last_at = self.progress = time.monotonic()
        if not self.is_tunnel:
            end.chan.expect_content(head)
            if not is_stream and end.chan.state == IN_DONE:
                end.done = True
        end.open = True
        if early and self.cell[1] == "fin-origin" and not bare:
            end.chan.hold()
        if leg == "connect" and not bare:
            end.chan.greet("200 OK")
        elif leg == "upgrade":
            accept = "" if is_stream else accept_of(head.value("sec-websocket-key"))
            end.chan.greet("101 Switching Protocols", [*SWITCH[:2], ("Sec-WebSocket-Accept", accept)])
        self._start(end.listen)
        if self.is_tunnel and not early:
            self.wait(lambda: self.client.open)
        self._start(end.run)
        return True


# --- what is wrong -----------------------------------------------------------------------------------------------------


def looks_whole(end):
    return end.done and end.status < 400


def judge(end):
    """Settles an end, or says what is wrong about it; called again and again."""
    if end.settled:
        return
    if end.status >= 400:
        if end.expect in (FAIL, BROKEN, NOTHING) or end.may_refuse:
            end.settled = True
        else:
            end.case.wrong(f"refused: status {end.status}")
        return
    # refused before anything was asked of the far end: it has seen nothing that could look whole
    if not end.is_client and not end.chan and not end.err and end.expect in (BROKEN, GONE) and end.other.settled \
            and (end.other.status >= 400 or end.other.read_done or end.other.err):
        end.settled = True
        return
    if end.how == LOST and not end.case.cell[1].startswith("lost") and not end.did_rst:
        if end.expect in (BROKEN, FAIL) and "InvalidBodyLength" in (end.chan.stream.conn.error or ""):
            end.settled = True  # END_STREAM before the length that was told: visibly broken
            return
        end.case.wrong(f"the {end.who}'s HTTP/2 connection was lost: {end.chan.stream.conn.end} {end.chan.stream.conn.goaways} {end.chan.stream.conn.error}")
        return
    JUDGES[end.expect](end)


def _overdue(end, since, limit):
    return time.monotonic() - since > limit * end.case.patience


def _late(end, took, limit, what):
    if took > limit * end.case.patience:
        end.case.wrong(f"the {end.who} saw the {what} after {took * 1000:.0f} ms")
    end.settled = True


def _nothing(end):
    end.settled = True


def _fin(end):
    other, wrong = end.other, end.case.wrong
    if end.err:
        wrong(f"RST for a FIN: the {end.who} saw it {'behind everything' if end.read_done and end.got == other.framed else 'too early'}")
    elif end.fin and not other.did_fin:
        wrong(f"the {end.who} saw a FIN that nobody sent, after {end.got} bytes")
    elif end.fin and end.got < other.framed:
        wrong(f"lost bytes: the {end.who} saw a FIN after {end.got} of {other.framed}")
    elif end.fin:
        _late(end, end.end_at - max(other.fin_at, end.last_at), FIN_LIMIT, "FIN")
    elif other.did_fin and end.got == other.framed and _overdue(end, max(other.fin_at, end.last_at), FIN_LIMIT):
        wrong(f"no FIN: the {end.who} has everything and waits")


def _rst(end):
    other, wrong = end.other, end.case.wrong
    stalled = other.did_rst and end.case.cell[2] in ("slow", "unread")
    limit = 3 * RST_LIMIT if stalled else RST_LIMIT
    since = other.rst_at if stalled else max(other.rst_at, end.last_at)
    if end.fin and not other.did_fin:
        wrong(f"FIN for an RST: the {end.who} saw an orderly end after {end.got} bytes")
    elif end.err and not other.did_rst:
        wrong(f"the {end.who} saw an RST that nobody sent")
    elif end.err and end.read_done:
        _late(end, end.err_at - since, limit, "RST")
    elif not end.err and other.did_rst and _overdue(end, since, limit):
        wrong(f"no RST: the {end.who} waits after {end.got} bytes")


def _whole(end):
    other, wrong = end.other, end.case.wrong
    if looks_whole(end):
        if not other.ended or end.got != other.framed:
            wrong(f"the {end.who} saw a whole message after {end.got} of {other.framed}")
        elif not end.is_client or not end.did_fin or isinstance(end.chan, H2Chan):
            end.settled = True
        elif end.err:
            wrong("RST for a FIN: the client saw it behind the answer")
        elif end.fin:
            end.settled = True
        elif _overdue(end, max(end.last_at, end.fin_at), FIN_LIMIT):
            wrong("no FIN: the client has sent its own and has the whole answer")
    elif end.read_done:
        wrong(f"cut by {'FIN' if end.fin else end.how}: the message to the {end.who} ended after {end.got} of {other.framed}")
    elif other.ended and (not end.in_close or other.did_fin) and end.got == other.framed \
            and _overdue(end, max(other.ended_at, other.fin_at, end.last_at), FIN_LIMIT):
        wrong(f"no end: the {end.who} has everything and waits")


def _broken(end):
    other, wrong = end.other, end.case.wrong
    at = max(other.fin_at, other.rst_at, end.fin_at)
    stalled = end.case.cell[2] in ("slow", "unread")
    limit = RST_LIMIT if other.did_rst and not stalled else FIN_LIMIT
    if looks_whole(end):
        wrong(f"a broken message looks whole to the {end.who} after {end.got} bytes")
    elif end.read_done or end.err:
        if not end.case.happened():
            wrong(f"the message to the {end.who} ended by itself")
        elif end.read_done:
            _late(end, end.end_at - max(at, end.last_at), limit, "end")
    elif end.case.happened() and _overdue(end, max(at + 2 * RST_LIMIT if stalled else at, end.last_at), limit):
        wrong(f"no end: the {end.who} waits for the rest of a broken message")


def _gone(end):
    """In HTTP/2 END_STREAM is the request's end, and says nothing of whether the answer is still wanted."""
    if end.err or (end.read_done and not isinstance(end.chan, H2Chan)):
        if not end.other.did_rst:
            end.case.wrong("the request ended by itself")
        else:
            _late(end, (end.err_at if end.err else end.end_at) - end.other.rst_at, RST_LIMIT, "end")
    elif end.other.did_rst and _overdue(end, end.other.rst_at, RST_LIMIT):
        end.case.wrong("no end: the far end still serves a client that is gone")


def _fail(end):
    other = end.other
    if looks_whole(end):
        end.case.wrong("the client saw a success")
    elif end.read_done or end.err:
        end.settled = True
    elif (other.did_fin or other.did_rst or end.did_fin) \
            and _overdue(end, max(other.fin_at, other.rst_at, end.fin_at, end.last_at, other.last_at), FIN_LIMIT):
        end.case.wrong("no end: the client waits for an answer")


JUDGES = {NOTHING: _nothing, ALL_AND_FIN: _fin, A_PREFIX_AND_RST: _rst, WHOLE: _whole, BROKEN: _broken, GONE: _gone, FAIL: _fail}


# --- next hops ---------------------------------------------------------------------------------------------------------


class Hop:
    """A next hop of one of the kinds of harness/legs.py, at a port of its own; `port` fixes it. What comes in belongs to the case that is expected."""

    def __init__(self, name, leaf, port=0, window=0):
        self.name, self.port_wanted, self.case = name, port, None
        self.is_parent = name != "origin"
        context = None
        if name.startswith("https"):
            context = leaf.server_context(["h2", "http/1.1"] if "h2" in name else ["http/1.1"])
        make = H2Origin if "h2" in name else Origin
        options = {"settings": {SETTINGS.ENABLE_CONNECT_PROTOCOL: 1}, **({"window": window} if window else {})} if "h2" in name else {}
        self._open = lambda: make(handler=self._serve, port=port, context=context, **options)
        self.server = self._make()

    def _make(self):
        server = self._open()
        scope.forget(server)
        keep = server._keep

        def noticing(sock):
            try:
                return keep(sock)
            except OSError:
                if self.case and not self.is_parent:
                    self.case.vanished()
                raise

        server._keep = noticing
        return server

    @property
    def parent_url(self):
        return f"{self.name.split('-')[0]}://{self.server.authority}"

    def authority(self, case):
        """Tells cases apart where a tunnel has nothing else that could."""
        return f"{self.name}.test:{1024 + case.ident % 60000}" if self.is_parent else self.server.authority

    @staticmethod
    def path(case):
        return f"/{case.ident:x}"

    def expect(self, case):
        """The case that comes next; a tunnel to an origin itself has a port of its own."""
        if case and not self.is_parent and not self.port_wanted:
            self.server.close()
            self.server = self._make()
        self.server.conns.clear()
        self.case = case

    def close(self):
        self.server.close()

    def _serve(self, conn):
        scope.forget(conn)
        if hasattr(conn, "arrived"):
            return self._serve_h2(conn)
        case, head = self.case, None
        if not case:
            return None
        if self.is_parent or case.cell[0] != "connect":
            try:
                head = parse_request_head(conn.recv_until(b"\r\n\r\n", within=20))
            except (AssertionError, OSError, Malformed):
                return None
            if not self._is_for(case, head.target if head.method == "CONNECT" else None, head.target):
                return None
        if case.offer(conn, head, False):
            while not case.far.chan.closed:
                time.sleep(0.005)
        return None

    def _is_for(self, case, authority, target):
        if case.over:
            return False
        return authority == self.authority(case) if authority else target.endswith(self.path(case))

    def _serve_h2(self, conn):
        while conn.end == OPEN:
            with conn.changed:
                if not conn.arrived:
                    conn.changed.wait(0.02)
                stream = conn.arrived.pop(0) if conn.arrived else None
            if stream:
                threading.Thread(target=self._serve_stream, args=(stream,), daemon=True).start()

    def _serve_stream(self, stream):
        case, fields = self.case, dict(stream.fields)
        head = _Fields(stream.fields)
        authority = fields[":authority"] if fields[":method"] == "CONNECT" and ":protocol" not in fields else None
        if not case or not self._is_for(case, authority, fields.get(":path", "")) or not case.offer(stream, head, True):
            try:
                stream.reset()
            except Exception:  # it has ended by itself
                pass


class _Fields:
    def __init__(self, fields):
        self.fields = dict(fields)

    def has(self, name):
        return name in self.fields

    def value(self, name):
        return self.fields[name]


__all__ = ["Case", "Hop", "kind_of"]
