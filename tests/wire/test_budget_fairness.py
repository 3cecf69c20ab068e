# SPDX-License-Identifier: MIT
"""No connection can hold the loop: small messages pass while 64 tunnels carry bulk on the same worker, and none of these starves."""

import collections
import contextlib
import os
import pathlib
import re
import time

import pytest

from harness import SLOW, Ginnel
from harness.bulk import Bulk
from harness.crowd import Crowd, recv_exactly
from harness.strace import thread

BULK, ECHOES = 64, 4
STRETCHES = 10 if os.environ.get("GINNEL_TEST_LONG") else 3  # of a second
LONGEST = 0.250 * SLOW   # that the worker has done other things while an echo waited
LEAST = 0.25             # of the average, each bulk tunnel
TURNS = 8 << 20          # bytes of an average tunnel without which nothing is said of a share: buffers of the kernel hold as much
DELAY = "ginnel_relay_delay_seconds"
DELAY_P99 = 0.000300     # BENCH, p99
DELAY_MESSAGES = 100     # measured ones without which there is no p99
DELAY_WAIT = 0.02        # of the time the worker may have waited for its processor, or the clock says nothing about ginnel

Spent = collections.namedtuple("Spent", "ran waited")  # seconds
Stretch = collections.namedtuple("Stretch", "times waited delays")


def spent(pid, tid):
    """What a thread had of its processor, and how long it could have run and did not."""
    ran, waited, _ = pathlib.Path(f"/proc/{pid}/task/{tid}/schedstat").read_text().split()
    return Spent(int(ran) / 1e9, int(waited) / 1e9)


def delays(proxy):
    """The relay's delays: how many took at most that long, by that."""
    found = {}
    for name, value in proxy.metrics().items():
        bucket = re.fullmatch(DELAY + r'_bucket\{le="(.*)"\}', name)
        if bucket:
            found[float(bucket[1].replace("+Inf", "inf"))] = value
    return found


def quantile(counts, q):
    """The bound under which so many are."""
    return min(le for le, n in counts.items() if n >= q * counts[float("inf")])


class Fairness:
    """Small messages beside bulk, for some stretches of time."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.worker = thread(proxy.pid, "ginnel-0")
        self.tunnels = Crowd(proxy).tunnels(ECHOES)
        bulk = Bulk(proxy, BULK, STRETCHES)
        bulk.begin()
        self.stretches = [self.stretch() for _ in range(STRETCHES)]
        self.moved = bulk.moved()

    def of_worker(self):
        return spent(self.proxy.pid, self.worker)

    def echo(self, tunnel):
        """For how long the worker ran while 64 bytes went there and back; what this thread missed for lack of a processor does not count."""
        worker, own = self.of_worker(), spent(os.getpid(), os.getpid())
        for sender, receiver in (tunnel, tunnel[::-1]):
            sender.sendall(b"m" * 64)
            recv_exactly(receiver, 64)
        waited = spent(os.getpid(), os.getpid()).waited - own.waited
        return max(self.of_worker().ran - worker.ran - waited, 0)

    def stretch(self):
        times, until = [], time.monotonic() + 1
        before, began = delays(self.proxy), self.of_worker()
        while time.monotonic() < until:
            times += [self.echo(tunnel) for tunnel in self.tunnels]
            time.sleep(0.001)
        waited = self.of_worker().waited - began.waited
        return Stretch(times, waited, {le: n - before[le] for le, n in delays(self.proxy).items()})


@contextlib.contextmanager
def apart(worker):
    """The worker has a processor, and what is not ginnel another one, where there are two."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(worker, {min(mine)})
    os.sched_setaffinity(0, {max(mine)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


@pytest.fixture(scope="module")
def fairness():
    if not pathlib.Path("/proc/self/schedstat").exists():
        pytest.skip("this kernel does not tell how long a thread ran")
    proxy = Ginnel({"workers": 1, "log": {"access": "off"}, "timeouts": {"drain": "0s"}}, unprivileged=True, tracked=False)
    try:
        with apart(thread(proxy.pid, "ginnel-0")):
            return Fairness(proxy)
    finally:
        proxy.close()


def test_no_message_waits(fairness):
    """Issue 4: no connection can hold the loop"""
    times = sorted(took for stretch in fairness.stretches for took in stretch.times)
    print(f"\n{len(times)} echoes, median {times[len(times) // 2] * 1e6:.0f} µs, p99 {times[len(times) * 99 // 100] * 1e6:.0f} µs, "
          f"longest {times[-1] * 1e3:.2f} ms of the worker's time")
    assert len(times) >= 10
    assert times[-1] <= LONGEST


def test_no_bulk_starves(fairness):
    """Issue 4: bulk goes in turns"""
    average = sum(fairness.moved) / BULK
    print(f"\nbulk: {sum(fairness.moved) / STRETCHES / 1e6:.0f} MB/s; the slowest of {BULK} tunnels has {min(fairness.moved) / average:.2f} "
          f"of the average, the fastest {max(fairness.moved) / average:.2f}")
    assert min(fairness.moved) > 0
    if average >= TURNS:
        assert min(fairness.moved) >= LEAST * average


def test_delay_of_small_messages(fairness):
    """BENCH, p99: ginnel's own histogram, from readable to written"""
    calm = min(fairness.stretches, key=lambda stretch: stretch.waited)
    if not calm.delays:
        pytest.skip(f"this version has no {DELAY}")
    if Ginnel.instrumented():
        pytest.skip("sanitizers take time of their own")
    p99 = quantile(calm.delays, 0.99)
    print(f"\n{calm.delays[float('inf')]:.0f} messages measured, p50 {quantile(calm.delays, 0.5) * 1e6:.0f} µs, p99 {p99 * 1e6:.0f} µs; "
          f"the worker waited {calm.waited:.1%} of the time for its processor")
    if calm.waited > DELAY_WAIT or calm.delays[float("inf")] < DELAY_MESSAGES:
        pytest.skip(f"the machine is busy: the worker waited {calm.waited:.0%} of the time for its processor")
    assert p99 <= DELAY_P99
