# SPDX-License-Identifier: MIT
"""The soak in its short form: ten seconds of tunnels, faults, reloads, rotations, after which all must add up. And that it would notice if not."""

import importlib.machinery
import importlib.util
import json
import os
import pathlib
import random
import re
import select
import shutil
import socket
import subprocess
import sys
import threading

import pytest

from harness import Ginnel
from harness.ginnel import binary

ROOT = pathlib.Path(__file__).resolve().parents[2]
LONG = os.environ.get("GINNEL_TEST_LONG") == "1"

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc to compile bench/soak.c")


@pytest.fixture(scope="module")
def soak():
    """bench/soak as a module."""
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        loader = importlib.machinery.SourceFileLoader("soak", str(ROOT / "bench" / "soak"))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader("soak", loader))
        loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(ROOT / "bench"))


def test_ten_seconds(tmp):
    """U8, U43: faults of one never disturb another; nothing leaks, every byte, record and counter is accounted for."""
    report = tmp / "soak.md"
    minutes, tunnels = ("1", "5000") if LONG else ("0.1", "500")
    ran = subprocess.run([str(ROOT / "bench" / "soak"), "--minutes", minutes, "--tunnels", tunnels, "--binary", binary(), "--report", str(report)],
                         capture_output=True, text=True, timeout=110, check=False)
    assert ran.returncode == 0, ran.stdout[-12000:] + ran.stderr[-3000:]
    text = report.read_text()
    assert "**everything holds**" in text and "**NO**" not in text
    assert re.search(r"--seed \d+", text)


class Meddler(threading.Thread):
    """A relay before ginnel that changes a byte now and then of what comes from it, far from the head. It makes FINs of resets, too."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.upstream, self.listener = port, socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port, self.peers, self.changed, self.seen, self.over = self.listener.getsockname()[1], {}, 0, 0, False
        self.start()

    def run(self):
        while not self.over:
            for ready in select.select([self.listener, *self.peers], [], [], 0.1)[0]:
                if ready is self.listener:
                    client = self.listener.accept()[0]
                    upstream = socket.create_connection(("127.0.0.1", self.upstream))
                    self.peers[client], self.peers[upstream] = (upstream, False), (client, True)
                elif ready in self.peers:
                    self.pass_on(ready, *self.peers[ready])

    def pass_on(self, source, sink, from_ginnel):
        try:
            data = source.recv(65536)
            if data and from_ginnel:
                self.seen += len(data)
                if self.seen > 20000 * (1 + self.changed) and b"HTTP/1.1" not in data:
                    data, self.changed = bytes([data[0] ^ 1]) + data[1:], self.changed + 1
            if data:
                sink.sendall(data)
                return
        except OSError:
            pass
        for gone in source, sink:
            self.peers.pop(gone, None)
            gone.close()


def test_it_notices_a_changed_byte_and_a_false_end(soak, tmp, start):
    """Without this the soak could be blind."""
    ginnel = start({"log": {"access": "off"}})
    meddler = Meddler(ginnel.port)
    tool = soak.compile_tool(tmp)
    process = subprocess.Popen([str(tool), "-p", str(meddler.port), "-o", str(soak.free_base()), "-n", "30", "-P", str(ginnel.pid), "-s", "1", "-r", "20",
                                "-m", "9000", "-x", "1", "-l", str(tmp / "ledger")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        found = ""
        for line in process.stdout:
            found += line if line.startswith("finding: ") else ""
            if meddler.changed and "a wrong, lost or doubled byte" in found and "arrived as an orderly end" in found:
                break
            assert float((re.search(r"^t=(\S+)", line) or [0, 0])[1]) < 60, f"not noticed; {found[-2000:]}"
        assert meddler.changed and "a wrong, lost or doubled byte" in found and "arrived as an orderly end" in found
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()
        meddler.over = True
        meddler.join()


def record(name, end="done", status=200, up=10, down=20):
    return json.dumps({"ginnel.end": end, "user_agent.original": f"soak/{name}", "http.response.status_code": status, "ginnel.bytes_up": up,
                       "ginnel.bytes_down": down})


@pytest.mark.harness
@pytest.mark.parametrize("ledger, log, complaint", [
    (["h1 none clean 200 10 10 20 20"], [record("h1")], None),
    (["h1 none clean 200 10 10 20 20"], [], "no record of h1"),
    (["h1 none clean 200 10 10 20 20"], [record("h1")] * 2, "of h1"),
    ([], [record("h1")], "nobody made"),
    (["h1 none clean 200 10 10 20 20"], [record("h1", down=21)], "the log says"),
    (["h1 none clean 200 10 10 20 20"], [record("h1", end="client-gone")], "the log says"),
    (["h1 none clean 200 10 10 20 20"], [record("h1", status=502)], "the log says"),
    (["h1 none clean 200 10 10 20 20"], [record("h1")[:-5]], "is no record"),
    (["t1 reset-client cut 200 10 5 20 15"], [record("t1", end="client-reset", up=7, down=20)], None),
    (["t1 reset-client cut 200 10 5 20 15"], [record("t1", end="client-reset", up=4, down=20)], "the log says"),
    (["t1 reset-client cut 200 10 5 20 15"], [record("t1", end="tunnel-done", up=7, down=20)], "the log says"),
    (["t1 early maybe 0 0 0 0 0"], [], None),
])
def test_the_books(soak, tmp, ledger, log, complaint):
    (tmp / "ledger").write_text("".join(line + "\n" for line in ledger))
    (tmp / "log").write_text("".join(line + "\n" for line in log))
    books = soak.Books(tmp / "ledger")
    order = [books.read_ledger, lambda: books.read_log(tmp / "log")]
    random.shuffle(order)
    for read in order:
        read()
    books.close()
    assert bool(books.n_wrong) == bool(complaint), books.wrong
    assert complaint is None or any(complaint in text for text in books.wrong), books.wrong


@pytest.mark.harness
def test_the_slope_of_memory(soak):
    assert soak.slope([0, 1, 2, 3], [5, 7, 9, 11]) == 2
    assert soak.slope([0, 1, 2, 3], [4, 4, 4, 4]) == 0
    assert soak.slope([1], [4]) == 0


@pytest.mark.harness
def test_the_delay_in_its_own_histogram(soak):
    found = {'relay_delay_seconds_bucket{le="0.0001"}': 60.0, 'relay_delay_seconds_bucket{le="0.002"}': 99.0,
             'relay_delay_seconds_bucket{le="+Inf"}': 100.0}
    assert soak.own_delay(found) == "p50 at most 0.1 ms, p99 at most 2 ms"
    assert "no metric" in soak.own_delay({})
