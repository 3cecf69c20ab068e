# SPDX-License-Identifier: MIT
"""Deadlines. Nothing in the harness waits without one."""

import os
import time

SLOW = float(os.environ.get("GINNEL_TEST_SLOW", "1"))
DEFAULT = 5.0


def scaled(seconds):
    """A waiting time, stretched for slow builds."""
    return seconds * SLOW


def quickest(timed, enough, tries=4):
    """The shortest of what timed() says, which is asked again while it is not under `enough` seconds: a busy machine makes one
    longer, a mistake makes all of them longer."""
    best = timed()
    for _ in range(tries - 1):
        if best < enough:
            break
        best = min(best, timed())
    return best


class Deadline:
    """A point in time; `within` is in unscaled seconds."""

    def __init__(self, within=DEFAULT):
        self.at = time.monotonic() + scaled(within)

    def left(self):
        """Seconds left, never zero or less (a socket would then not block at all)."""
        return max(self.at - time.monotonic(), 0.001)

    def passed(self):
        return time.monotonic() >= self.at


def eventually(check, within=DEFAULT, what="the condition"):
    """Polls check() until it returns something true, and returns that."""
    deadline = Deadline(within)
    while True:
        result = check()
        if result:
            return result
        if deadline.passed():
            raise AssertionError(f"{what} did not hold within {scaled(within):.1f} s")
        time.sleep(0.005)
