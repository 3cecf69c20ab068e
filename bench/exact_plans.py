# SPDX-License-Identifier: MIT
"""The cells of bench/exact.c for other legs, with the ends that only TLS and HTTP/2 have: which of them mean something between a client and
a next hop of these kinds, what each end does, and what it must see. The words are those of doc/exactness.md."""
from exact_ends import CHUNKED, CLOSE, LENGTH, SLOWLY, STALLED

LEGS = ("connect", "upgrade", "get-close", "get-length", "get-chunked", "post-length", "post-chunked")
TUNNELS, DOWNLOADS, UPLOADS = LEGS[:2], LEGS[2:5], LEGS[5:]
EVENTS = ("fin-client", "fin-origin", "fin-both", "cut-client", "cut-origin", "rst-client", "rst-origin",
          "trunc-client", "trunc-origin", "lost-client", "lost-origin")
OLD_EVENTS = EVENTS[:7]
FINS = EVENTS[:3]
SITUATIONS = ("idle", "both", "bulk", "slow", "bytes", "onego", "early", "after-fin", "unread")

BULK_SIZE = 16 << 20
ENDLESS = 64 << 20
SLOW_SIZE = 6 << 20
UNTOLD = 1 << 40

# what an end must see
NOTHING, ALL_AND_FIN, A_PREFIX_AND_RST, WHOLE, BROKEN, GONE, FAIL = range(7)


def in_clear(leg, event, situation):
    """The cells of bench/exact.c."""
    cut, rst = event in ("cut-client", "cut-origin"), event in ("rst-client", "rst-origin")
    if leg in TUNNELS:
        if cut or (not rst and situation in ("after-fin", "unread")):
            return False
        return not (leg == "upgrade" and situation == "early") or event in ("fin-origin", "rst-origin")
    if situation == "early":
        return False
    if leg in DOWNLOADS:
        if event == "cut-client" or (event == "cut-origin" and leg == "get-close") or situation == "both":
            return False
        if situation in ("after-fin", "unread"):
            return event == "rst-client"
        return not (event == "rst-client" and situation == "onego")
    if situation == "unread":
        return event in ("rst-origin", "cut-origin")
    return situation != "after-fin"


def meaningless(leg, event, situation, client, far):
    """Why such a cell is not there for these two; None when it is. Both are a kind: h1, tls-h1, h2."""
    if far == "h2" and leg == "upgrade":
        return "a 101 needs HTTP/1.1 at the next hop"
    if far == "h2" and leg == "get-close":
        return "an answer's end is END_STREAM, never the connection's"
    if far == "h2" and event == "cut-origin" and (leg == "get-chunked" or (leg in UPLOADS and situation != "both")):
        return "END_STREAM without a length is the end; before the answer's head there is none"
    if client == "h2" and leg == "post-chunked" and event == "cut-client":
        return "END_STREAM without a length is the end"
    return None


def cell_exists(leg, event, situation, client, far):
    if event in OLD_EVENTS:
        return in_clear(leg, event, situation) and not meaningless(leg, event, situation, client, far)
    kind = client if event.endswith("client") else far
    if kind != ("tls-h1" if event.startswith("trunc") else "h2"):
        return False
    if leg in TUNNELS:
        return situation in ("idle", "both", "bulk", "onego") and not (far == "h2" and leg == "upgrade")
    if leg in DOWNLOADS:
        return event.endswith("origin") and situation in ("idle", "bulk", "onego") and not meaningless(leg, "rst-origin", situation, client, far)
    return situation in ("idle", "bulk", "onego")


def cells(client, far):
    return [(leg, event, situation) for leg in LEGS for event in EVENTS for situation in SITUATIONS
            if cell_exists(leg, event, situation, client, far)]


def is_heavy(cell):
    return cell[2] in ("bulk", "after-fin")


def is_slow(cell):
    return cell[2] in ("slow", "unread")


class Plan:
    """Writes the programs of both ends of a case."""

    def __init__(self, case):
        self.case, self.rng = case, case.rng
        self.leg, self.event, self.situation = case.cell
        self.client, self.far = case.client, case.far

    def make(self):
        if self.leg in TUNNELS:
            self._tunnel()
        elif self.leg in DOWNLOADS:
            self._download()
        else:
            self._upload()

    # --- sizes -----------------------------------------------------------------------------------------------------

    def pick(self, low, high):
        return self.rng.randint(low, high)

    def coin(self):
        return self.rng.random() < 0.5

    def some(self):
        """Often tiny, sometimes around the sizes of buffers, records, frames and windows."""
        kind = self.pick(0, 3)
        if kind == 0:
            return self.pick(0, 100)
        if kind == 1:
            return self.rng.choice((1, 2, 1448, 4096, 16384, 32768, 65535, 65536, 131072, 262144)) + self.pick(-1, 1)
        return self.pick(1, 20000 if kind == 2 else 300000)

    def little(self):
        return self.pick(1, 300)

    # --- tunnels ---------------------------------------------------------------------------------------------------

    def _tunnel(self):
        ends = self.client, self.far
        one, other = ends if self.event.endswith("client") else ends[::-1]
        if self.event == "fin-both":
            self._tunnel_both()
        elif self.event in FINS:
            self._tunnel_fin(one, other)
        else:
            self._tunnel_rst(one, other)

    def _live_on(self, end, n):
        """The far end of a FIN: the other direction lives on."""
        do(end, "heard")
        if self.coin():
            do(end, "pause", self.pick(0, 3000))
        do(end, "send", n)
        do(end, "fin")

    def _tunnel_fin(self, x, y):
        x.expect = y.expect = ALL_AND_FIN
        if self.situation == "idle":
            do(x, "send", self.pick(0, 300))
            do(y, "send", self.pick(0, 300))
            do(x, "met")
            do(y, "met")
            do(x, "pause", self.pick(0, 3000))
            do(x, "fin")
            self._live_on(y, self.some())
        elif self.situation == "both":
            do(x, "send", self.some())
            do(x, "fin")
            do(y, "send", self.some())
            self._live_on(y, self.some())
        elif self.situation == "bulk":
            do(x, "send", self.some())
            do(x, "fin")
            if self.coin():
                do(y, "heard")
            do(y, "send", BULK_SIZE)
            do(y, "fin")
        elif self.situation == "slow":
            y.reader = SLOWLY
            do(x, "send", self.pick(100000, SLOW_SIZE))
            do(x, "fin")
            self._live_on(y, self.some())
        elif self.situation == "bytes":
            x.bytewise = y.bytewise = True
            do(x, "send", self.little())
            do(x, "fin")
            do(y, "send", self.little())
            self._live_on(y, self.little())
        else:
            for end in (x, y):
                if end is y:
                    do(y, "heard")
                do(end, "cork")
                do(end, "send", self.some())
                do(end, "fin")

    def _tunnel_both(self):
        for end in (self.client, self.far):
            end.expect, n = ALL_AND_FIN, self.some()
            if self.situation == "idle":
                do(end, "send", self.pick(0, 300))
                do(end, "met")
                n = 0
            elif self.situation == "bulk":
                n = BULK_SIZE
            elif self.situation == "slow":
                end.reader, n = SLOWLY, self.pick(100000, SLOW_SIZE)
            elif self.situation == "bytes":
                end.bytewise, n = True, self.little()
            elif self.situation in ("onego", "early"):
                do(end, "cork")
            do(end, "send", n)
            do(end, "fin")

    def _break(self, end):
        """The event, of an end that goes away."""
        do(end, {"rst": "rst", "trunc": "trunc", "lost": "lose"}[self.event.split("-")[0]])

    def _tunnel_rst(self, x, y):
        x.expect, y.expect = NOTHING, A_PREFIX_AND_RST
        if self.situation == "idle":
            do(x, "send", self.pick(0, 300))
            do(y, "send", self.pick(0, 300))
            do(x, "met")
            do(y, "met")
            do(x, "pause", self.pick(0, 3000))
        elif self.situation == "both":
            do(y, "send", ENDLESS)
            do(x, "send", self.some())
        elif self.situation == "bulk":
            do(y, "send", self.some())
            do(y, "fin")
            do(x, "heard")
            do(x, "send", self.pick(1, BULK_SIZE))
        elif self.situation == "slow":
            y.reader = STALLED
            do(x, "fill")
        elif self.situation == "bytes":
            x.bytewise = y.bytewise = True
            do(y, "send", 3000)
            do(x, "send", self.little())
        elif self.situation == "onego":
            do(y, "send", self.pick(0, 300))
            do(x, "send", self.some())
        elif self.situation == "early":
            do(x, "send", self.some())
            if x.is_client:
                do(x, "open")
            else:
                y.may_refuse = True
        elif self.situation == "after-fin":
            do(x, "send", self.some())
            do(x, "fin")
            do(y, "send", BULK_SIZE * 2)
            do(x, "got", self.pick(0, BULK_SIZE))
        else:
            x.reader = STALLED
            do(y, "fill")
            do(x, "blocked")
        self._break(x)

    # --- messages --------------------------------------------------------------------------------------------------

    def _message_size(self):
        if self.situation in ("bulk", "after-fin", "unread"):
            return BULK_SIZE
        if self.situation == "slow":
            return self.pick(100000, SLOW_SIZE)
        return self.little() if self.situation == "bytes" else 1 + self.some()

    def _answer(self, whole):
        n, far = self._message_size(), self.far
        do(far, "head")
        far.declared = n if whole else n + self.pick(1, 100000)
        if not whole and self.situation == "bulk":
            n = self.pick(1, n)
        do(far, "send", n)
        if whole:
            do(far, "end")

    def _download(self):
        client, far, sit, event = self.client, self.far, self.situation, self.event
        whole = event in FINS
        far.framing = {"get-close": CLOSE, "get-length": LENGTH, "get-chunked": CHUNKED}[self.leg]
        client.expect, far.expect = WHOLE if whole else BROKEN, NOTHING
        client.bytewise = far.bytewise = sit == "bytes"
        if sit == "slow":
            client.reader = STALLED if event == "rst-origin" else SLOWLY
        if event in ("fin-client", "fin-both") or sit == "after-fin":
            client.cork = sit == "onego"
            if sit == "idle":
                do(client, "asked")
                do(client, "pause", self.pick(0, 2000))
                do(far, "pause", self.pick(0, 4000))
            do(client, "fin")
        if event == "rst-client":
            return self._download_unwanted()
        if event == "rst-origin" and sit == "slow":
            far.declared = UNTOLD
            do(far, "head")
            do(far, "fill")
        else:
            if sit == "onego" and event in (*FINS, "cut-origin"):
                do(far, "cork")
            self._answer(whole)
        if sit == "idle" and event not in ("fin-client", "fin-both"):
            do(far, "met")
            do(client, "met")
            do(far, "pause", self.pick(0, 3000))
        if event in ("rst-origin", "trunc-origin", "lost-origin"):
            self._break(far)
        elif event != "fin-client" or self.leg == "get-close" or sit == "onego":
            do(far, "fin")

    def _download_unwanted(self):
        client, far, sit = self.client, self.far, self.situation
        client.expect, far.expect, far.declared = NOTHING, GONE, ENDLESS
        do(far, "head")
        if sit == "idle":
            do(far, "send", self.some())
            do(far, "met")
            do(client, "met")
        elif sit == "unread":
            client.reader = STALLED
            do(far, "fill")
            do(client, "blocked")
        else:
            do(far, "send", 3000 if sit == "bytes" else ENDLESS)
            do(client, "got", self.little() if sit == "bytes" else self.pick(1, BULK_SIZE if sit == "bulk" else 200000))
        do(client, "rst")

    def _reply_to_upload(self):
        """In full when everything is there, or from the first byte on in the situation "both"."""
        far = self.far
        first, rest = 1 + self.some() if self.situation == "both" else 0, 1 + self.little()
        far.framing = LENGTH if self.coin() else CHUNKED
        far.declared = first + rest
        if first:
            do(far, "head")
            do(far, "send", first)
        do(far, "whole")
        if not first:
            do(far, "head")
        do(far, "send", rest)
        do(far, "end")
        if self.event != "fin-client":
            do(far, "fin")

    def _upload_lost(self):
        """The far end goes away in the middle."""
        client, far, sit = self.client, self.far, self.situation
        client.expect, far.expect, client.declared = BROKEN if sit == "both" else FAIL, NOTHING, UNTOLD
        if sit == "unread":
            far.reader = STALLED
            do(client, "fill")
            do(far, "blocked")
        elif sit == "idle":
            do(client, "send", 1 + self.some())
            do(client, "met")
            do(far, "met")
        elif sit == "onego":
            do(client, "send", 1 + self.some())
        else:
            if sit == "slow":
                far.reader = SLOWLY
            do(client, "send", 3000 if sit == "bytes" else ENDLESS)
            do(far, "got", self.little() if sit == "bytes" else self.pick(1, BULK_SIZE if sit == "bulk" else 100000))
        if sit == "both":
            far.framing = LENGTH if self.coin() or self.case.far_kind == "h2" else CHUNKED
            far.declared = UNTOLD
            do(far, "head")
            do(far, "send", 1 + self.some())
        if self.event == "cut-origin":
            do(far, "fin")
        else:
            self._break(far)

    def _upload(self):
        client, far, sit, event = self.client, self.far, self.situation, self.event
        whole, gone = event in FINS, event in ("rst-client", "trunc-client", "lost-client")
        client.framing = LENGTH if self.leg == "post-length" else CHUNKED
        client.bytewise = far.bytewise = sit == "bytes"
        if event.endswith("origin") and not whole:
            return self._upload_lost()
        n = self._message_size()
        client.expect, far.expect = (WHOLE, WHOLE) if whole else (FAIL, BROKEN)
        client.declared = n if whole else n + self.pick(1, 100000)
        if not whole and sit == "bulk":
            n = self.pick(1, n)
        if gone:
            client.expect = NOTHING
        if sit == "slow":
            far.reader = STALLED if event == "rst-client" else SLOWLY
        client.cork = sit == "onego" and event != "fin-origin" and not gone
        if sit == "slow" and event == "rst-client":
            client.declared = UNTOLD
            do(client, "fill")
        else:
            if gone:
                do(client, "asked")
            do(client, "send", n)
            if whole:
                do(client, "end")
        if sit == "idle":
            do(client, "met")
            do(far, "met")
            do(client, "pause", self.pick(0, 2000))
            do(far, "pause", self.pick(0, 4000))
        if gone:
            self._break(client)
        elif event != "fin-origin":
            do(client, "fin")
        if whole or sit == "both":
            self._reply_to_upload()
        if not whole and sit == "both" and event == "cut-client":
            client.expect = BROKEN


def do(end, kind, n=0):
    end.ops.append((kind, n))
