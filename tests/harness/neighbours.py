# SPDX-License-Identifier: MIT
"""Others who use the proxy while a test does something horrible to it: tunnels and kept-alive clients that move seeded data both
ways without a pause, and check every byte. They share nothing with the test but the proxy.

    with Neighbours(proxy, tunnels=1, clients=1):
        …

At the end nobody may have lost a byte, been answered wrongly, or stood still for longer than `stall` seconds (unscaled)."""

import asyncio
import hashlib
import random
import threading
import time

from .clock import scaled

BLOCK = 1 << 16
HEAD_END = b"\r\n\r\n"


class Stop(Exception):
    """The test is over."""


class Neighbours:
    def __init__(self, proxy, tunnels=1, clients=1, stall=3.0, pause=0.0, seed=1, most=BLOCK):
        self.host, self.port = proxy.host, proxy.port
        self.stall, self.pause, self.most = scaled(stall), pause, most
        self.complaints = []
        self.rounds = [0] * (tunnels + clients)
        self.bytes = 0
        self.longest = 0.0  # seconds that a round of one of them took
        self._seed = seed
        self._stopping = False
        self._origin = None
        self._inside = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(tunnels, clients)), daemon=True)
        self._thread.start()
        assert self._ready.wait(scaled(20)), "the neighbours have not moved in"
        self.check()

    def check(self):
        """Raises what has gone wrong so far."""
        if self.complaints:
            raise AssertionError(f"{len(self.complaints)} neighbours were harmed; the first: {self.complaints[0]}")

    def wait_rounds(self, n=1):
        """Each of them gets n rounds further from here, so whatever was done to the proxy is behind them."""
        began, before = time.monotonic(), list(self.rounds)
        while any(now < then + n for now, then in zip(self.rounds, before)):
            self.check()
            slow = [i for i, (now, then) in enumerate(zip(self.rounds, before)) if now < then + n]
            assert time.monotonic() - began < n * self.stall + scaled(2), f"neighbours {slow[:5]} stand still"
            time.sleep(0.005)

    def stop(self):
        """Ends them in good order and raises what they have to complain about."""
        if not self._stopping:
            self._stopping = True
            self._thread.join(self.stall + scaled(15))
        assert not self._thread.is_alive(), "the neighbours do not come to an end"
        self.check()
        assert all(self.rounds), f"some never got a round done: {self.rounds}"

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        if kind is None:
            self.stop()
        else:
            self._stopping = True
            self._thread.join(self.stall + scaled(15))

    # --- inside the thread ---------------------------------------------------------------------------------------------

    async def _run(self, tunnels, clients):
        try:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=BLOCK * 4, backlog=512)
            self._origin = server.sockets[0].getsockname()[1]
            every = [(self._tunnel, i) for i in range(tunnels)] + [(self._client, tunnels + i) for i in range(clients)]
            tasks = [asyncio.ensure_future(self._guard(f, i)) for f, i in every]
            while not all(self.rounds) and not self.complaints:
                await asyncio.sleep(0.002)
            self._ready.set()
            await asyncio.gather(*tasks)
            server.close()
            for task in self._inside:
                task.cancel()
        except Exception as error:
            self.complaints.append(f"the neighbours' own fault: {error!r}")
        finally:
            self._ready.set()

    async def _guard(self, life, i):
        try:
            await life(i)
        except Exception as error:
            kind = "tunnel" if life == self._tunnel else "client"
            if not (self._stopping and isinstance(error, Stop)):
                self.complaints.append(f"{kind} {i} in round {self.rounds[i]} at {time.monotonic():.3f}: {error!r}")

    async def _serve(self, reader, writer):
        """One port is both origins: a request is answered with its body turned round, anything else is echoed."""
        task = asyncio.current_task()
        self._inside.add(task)
        try:
            first = await reader.readexactly(4)
            if first == b"POST":
                await self._answer(reader, writer)
            else:
                writer.write(first)
                while data := await reader.read(BLOCK):
                    writer.write(data)
                    await writer.drain()
                writer.write_eof()
            writer.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._inside.discard(task)

    @staticmethod
    async def _answer(reader, writer):
        while True:
            head = await reader.readuntil(HEAD_END)
            body = await reader.readexactly(_length(head))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[::-1])
            await writer.drain()
            await reader.readexactly(4)  # the next POST

    async def _timed(self, i, what, waitable):
        began = time.monotonic()
        try:
            result = await asyncio.wait_for(waitable, self.stall)
        except asyncio.TimeoutError:
            raise AssertionError(f"{what} stood still for {self.stall:.1f} s") from None
        self.longest = max(self.longest, time.monotonic() - began)
        return result

    async def _rounds(self, i, once):
        rng = random.Random(self._seed * 1000 + i)
        while not self._stopping:
            size = rng.choice((1, 100, 3000, self.most))
            data = rng.randbytes(rng.randint(1, size))
            await self._timed(i, "a round", once(data))
            self.rounds[i] += 1
            self.bytes += 2 * len(data)
            if self.pause:
                await asyncio.sleep(self.pause)

    async def _tunnel(self, i):
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=BLOCK * 4)
        target = b"127.0.0.1:%d" % self._origin
        writer.write(b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, target))
        head = await self._timed(i, "the CONNECT", reader.readuntil(HEAD_END))
        assert head == b"HTTP/1.1 200 Connection established\r\n\r\n", head
        there, back = hashlib.sha256(b"tunl"), hashlib.sha256()

        async def once(data):
            there.update(data)
            writer.write(data)
            echo = await reader.readexactly(len(data))
            back.update(echo)
            assert echo == data, f"{len(data)} bytes came back changed"

        writer.write(b"tunl")
        back.update(await self._timed(i, "the first bytes", reader.readexactly(4)))
        await self._rounds(i, once)
        writer.write_eof()
        rest = await self._timed(i, "the end", reader.read())
        assert rest == b"", f"{len(rest)} bytes too many at the end"
        assert there.digest() == back.digest()
        writer.close()

    async def _client(self, i):
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=BLOCK * 4)

        async def once(data):
            host = b"127.0.0.1:%d" % self._origin
            writer.write(b"POST http://%s/%d HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n"
                         % (host, i, host, len(data)) + data)
            head = await reader.readuntil(HEAD_END)
            assert head.startswith(b"HTTP/1.1 200 "), head
            body = await reader.readexactly(_length(head))
            assert body == data[::-1], f"another answer of {len(body)} bytes than the {len(data)} expected"

        await self._rounds(i, once)
        writer.close()


def _length(head):
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise AssertionError(f"no Content-Length in {head!r}")
