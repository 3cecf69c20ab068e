# SPDX-License-Identifier: MIT
"""extras: rows of bench/run that have no column of a peer. Each is a function of the bench and the number of rounds that gives two cells: the
figure, and the goal with a yes or no."""
import contextlib
import os
import pathlib
import re
import statistics
import subprocess
import sys
import urllib.request

PORT, JSON_PORT, ADMIN_PORT = 18150, 18151, 18152
DELAY_GOAL_US, JSON_GOAL, WORKERS_GOAL = 300, 1.08, 1.9
TOLERANCE = 1.05
BUCKET = re.compile(r'^(\w+)_bucket\{le="([^"]+)"\} (\S+)$', re.M)


def yes(holds):
    return "yes" if holds else "no"


@contextlib.contextmanager
def running(bench, command, cores=None):
    with bench.proxy("ginnel", command, cores) as proxy:
        if proxy.poll() is not None:
            raise ValueError("ginnel ended at once")
        yield proxy


def config(bench, name, **keys):
    """A file in the bench's own directory, with one worker and no access log unless said otherwise."""
    lines = {"workers": 1, "control": "off", "log": "{access: off}", **keys}
    path = pathlib.Path(bench.bin, name)
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()), encoding="utf-8")
    return path


# --- p99: how long a message is inside ginnel while bulk runs beside it ---


def histogram(text, name):
    """{upper bound: how many up to it} of a histogram in Prometheus' text form; empty when there is none of that name."""
    return {float(le): float(n) for family, le, n in BUCKET.findall(text) if family == name}


def quantile(buckets, share):
    """The upper bound of the bucket in which the share is reached: never a flattering figure. None: nothing was counted."""
    total = buckets.get(float("inf"), 0)
    if not total:
        return None
    return min(le for le, n in buckets.items() if n >= share * total)


def share_within(buckets, limit):
    """How much of it lies in buckets up to the limit."""
    return max((n for le, n in buckets.items() if le <= limit * 1.000001), default=0) / buckets[float("inf")]


def scrape():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{ADMIN_PORT}/metrics", timeout=10) as answer:
        return histogram(answer.read().decode(), "ginnel_relay_delay_seconds")


def beside_bulk(bench, pid):
    """The small messages that were counted while 64 tunnels carried bulk."""
    bulk = bench.start_load(["down", "-c", "64", "-p", str(PORT), "-o", bench.ORIGIN], pid, seconds=float(bench.secs) + 1)
    before = scrape()
    # Four: how long a message waits for bulk, not for messages of its own kind.
    small = bench.load(["pp", "-c", "4", "-p", str(PORT), "-o", bench.ORIGIN], pid)
    after = scrape()
    bulk.communicate()
    if "bad" in small:
        raise ValueError(f"the ping-pong fails: {small['bad']}")
    return {le: n - before.get(le, 0) for le, n in after.items()}


def p99(bench, reps, command):
    path = config(bench, "p99.yaml", listen=f"127.0.0.1:{PORT}", admin=f"127.0.0.1:{ADMIN_PORT}")
    found = []
    for _ in range(reps):
        with running(bench, command(path)) as proxy:
            found.append(beside_bulk(bench, proxy.pid))
    return delay_cells(found)


def delay_cells(found):
    """found: the histograms of the rounds, empty where the metric is missing."""
    p99s = [quantile(buckets, 0.99) for buckets in found]
    if None in p99s:
        return "this version has no metric ginnel_relay_delay_seconds", f"{DELAY_GOAL_US} us: not measured"
    worst = statistics.median(p99s) * 1e6
    within = statistics.median(share_within(buckets, DELAY_GOAL_US / 1e6) for buckets in found) * 100
    return f"at most {worst:.0f} us ({within:.1f} % within {DELAY_GOAL_US})", f"{DELAY_GOAL_US} us: {yes(worst <= DELAY_GOAL_US * TOLERANCE)}"


# --- two workers beside one ---


def rate(bench, pids, cores):
    """Requests a second of two loads at once: one would be the limit itself."""
    loads = [bench.start_load(["fwd", "-c", "32", "-s", "1024", "-p", str(PORT), "-o", bench.ORIGIN], pids, cores=cores) for _ in range(2)]
    out = [load.communicate()[0] for load in loads]
    return sum(float(re.search(r"rate=(\d+)", text)[1]) for text in out)


def workers(bench, reps, command, cores=None):
    """Needs a core for each worker and others for load and origin; without them it would measure who is in whose way."""
    cores = cores or sorted(os.sched_getaffinity(0))
    if len(cores) < 5:
        return f"cores not free: two workers, two loads and the origin want five, here are {len(cores)}", f"{WORKERS_GOAL}: not measured"
    return workers_on(bench, reps, command, cores[:2], cores[2:])


def workers_on(bench, reps, command, cores, others):
    rates = {1: [], 2: []}
    for _ in range(reps):
        for n, found in rates.items():
            path = config(bench, f"workers{n}.yaml", listen=f"127.0.0.1:{PORT}", workers=n)
            with running(bench, command(path), ",".join(map(str, cores[:n]))) as proxy:
                found.append(rate(bench, proxy.pid, ",".join(map(str, others))))
    one, two = (statistics.median(found) for found in rates.values())
    return f"{two / one:.2f} ({one:.0f}/s, then {two:.0f}/s)", f"{WORKERS_GOAL}: {yes(two / one >= WORKERS_GOAL / TOLERANCE)}"


# --- what the log costs ---


def json_log(bench, reps, command):
    """bench/json.yaml beside bench/bench.yaml, both running, by turns: the median of what a turn of one costs to the turn before it
    of the other, since this is less than what separates two minutes of a machine."""
    log = pathlib.Path(bench.bin, "access.json")
    log.touch()
    log.chmod(0o666)
    here = pathlib.Path(__file__).resolve().parent
    logged = pathlib.Path(bench.bin, "json.yaml")
    logged.write_text(re.sub(r"access: \S+?\}", f"access: {log}}}", (here / "json.yaml").read_text()), encoding="utf-8")
    plain = config(bench, "plain.yaml", listen=f"127.0.0.1:{PORT}")
    pairs = []
    with running(bench, command(plain)) as off, running(bench, command(logged)) as on:
        for _ in range(4 * reps + 1):
            pair = []
            for port, proxy in (PORT, off), (JSON_PORT, on):
                found = bench.load(["fwd", "-c", "32", "-s", "1024", "-p", str(port), "-o", bench.ORIGIN], proxy.pid)
                if "bad" in found:
                    return f"fails: {found['bad']}", f"+{(JSON_GOAL - 1) * 100:.0f} %: no"
                pair.append(float(found["cpu_us_per_op"]))
            pairs.append(pair)
            log.write_bytes(b"")
    ratio = statistics.median(on / off for off, on in pairs)
    off, on = (statistics.median(side) for side in zip(*pairs))
    more = f"{(ratio - 1) * 100:+.1f} % ({off:.1f} us, and {on:.1f} us)"
    return more, f"+{(JSON_GOAL - 1) * 100:.0f} %: {yes(ratio <= JSON_GOAL * TOLERANCE)}"


ROWS = {"p99": p99, "workers": workers, "json": json_log}


def measure(bench, names, reps, command):
    """{name: (figure, goal)}; command(path) is what starts ginnel with that configuration."""
    found = {}
    for name in names:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        try:
            found[name] = ROWS[name](bench, reps, command)
        except (OSError, ValueError, TypeError, LookupError, subprocess.SubprocessError) as error:
            found[name] = (f"fails: {error}", "no")
    return found
