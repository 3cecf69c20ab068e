# SPDX-License-Identifier: MIT
"""Workers do not wait for each other in OpenSSL: 3.0 has a lock of a library context for nearly everything (DESIGN threads: one context a worker). Counted, not timed: any machine will do."""

import importlib.util
import pathlib
import ssl
import threading

import pytest

from harness import Ginnel, TlsClient
from harness.sides import listen

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "bench" / "locks.py"
SPEC = importlib.util.spec_from_file_location("bench_locks", SOURCE)
locks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(locks)

HANDSHAKES, CLIENTS = 80, 8
# About 33: what OpenSSL takes whatever one does (ex_data of what is made and freed, ENGINE, RAND's method), one for the ticket's key, what a session takes. With one context for all: 840.
MOST = 80


def shake(proxy, context, n):
    for _ in range(n):
        with TlsClient(*proxy.listeners[0], context):
            pass


@pytest.mark.skipif(Ginnel.instrumented(), reason="a sanitizer has locks of its own")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_locks_that_workers_share(start, certificates, tmp_path, version):
    """Full handshakes on two workers: few locks that both take"""
    counted = tmp_path / "locks"
    proxy = start({"workers": 2, "log": {"access": "off"}, "listen": listen(certificates)[1:]},
                  env={"LD_PRELOAD": str(locks.build(tmp_path)), "LOCKS_FILE": str(counted)})
    context = certificates.client_context()
    context.minimum_version = context.maximum_version = version
    shake(proxy, context, 10)
    before = locks.read(counted)
    threads = [threading.Thread(target=shake, args=(proxy, context, HANDSHAKES // CLIENTS)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = locks.read(counted)
    busy = [t for t in range(locks.THREADS) if sum(counts[t] for counts in after.values()) > 20 * HANDSHAKES]
    assert len(busy) >= 2, "one worker did it all: nothing is shown"
    found = locks.shared(before, after)
    assert found, "nothing was counted"
    assert sum(found.values()) / HANDSHAKES <= MOST, sorted(found.values(), reverse=True)[:20]
