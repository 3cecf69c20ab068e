# SPDX-License-Identifier: MIT
"""WebSocket: through CONNECT as browsers do it, and as an upgrade of an absolute-form request."""

import asyncio
import socket

import pytest
import websockets.client
import websockets.connection
import websockets.frames
import websockets.uri

from harness import Deadline
from harness.origins import WebSocketEcho

SIZES = [0, 1, 125, 126, 65535, 65536, 300_000]


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_through_connect(way, certificates, serve, tls):
    """U25, S000-5: echo of every frame size, text and binary, through a tunnel."""
    echo = serve(WebSocketEcho(certificates.server_context() if tls else None))

    async def talk(sock):
        extra = {"ssl": certificates.client_context(), "server_hostname": "ws.test"} if tls else {}
        url = f"{'wss' if tls else 'ws'}://ws.test:{echo.port}/chat"
        async with websockets.client.connect(url, sock=sock, max_size=None, **extra) as ws:
            for size in SIZES:
                for message in "x" * size, b"\0\xff" * (size // 2):
                    await ws.send(message)
                    assert await asyncio.wait_for(ws.recv(), 10) == message

    with way.connect(f"ws.test:{echo.port}") as client:
        asyncio.run(talk(client.sock.dup()))
    assert echo.paths == ["/chat"]


def test_as_an_upgrade(way, serve):
    """U25: `GET ws-server's URL` with Upgrade through the proxy; after the 101 HTTP is over, both ways."""
    echo = serve(WebSocketEcho())
    ws = websockets.client.ClientConnection(
        websockets.uri.parse_uri(f"ws://ws.test:{echo.port}/chat"), max_size=None
    )
    upgrade = ws.connect()
    upgrade.path = f"http://ws.test:{echo.port}{upgrade.path}"  # absolute-form, as a proxy wants it
    ws.send_request(upgrade)
    events = []
    with socket.create_connection((way.host, way.port), timeout=10) as sock:

        def until(count):
            deadline = Deadline(10)
            while len(events) < count:
                assert not deadline.passed()
                for data in ws.data_to_send():
                    sock.sendall(data) if data else sock.shutdown(socket.SHUT_WR)
                data = sock.recv(65536)
                ws.receive_data(data) if data else ws.receive_eof()
                events.extend(ws.events_received())

        until(1)
        assert events[0].status_code == 101
        assert ws.state is websockets.connection.State.OPEN, ws.handshake_exc
        for size in SIZES:
            message = b"\xff" * size
            received = b""
            ws.send_binary(message)
            count = len(events)
            while True:
                count += 1
                until(count)
                received += events[-1].data
                if events[-1].fin:
                    break
            assert received == message
        ws.send_close(1000, "done")
        until(len(events) + 1)
        assert events[-1].opcode is websockets.frames.Opcode.CLOSE
        assert events[-1].data[:2] == (1000).to_bytes(2, "big")
    assert echo.paths == ["/chat"]
