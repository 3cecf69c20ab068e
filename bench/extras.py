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

HERE = pathlib.Path(__file__).resolve().parent
PORT, JSON_PORT, ADMIN_PORT, POLICY_PORT, SQUID_PORT, SQUID_POLICY_PORT = 18150, 18151, 18152, 18153, 18130, 18132
DELAY_GOAL_US, JSON_GOAL, WORKERS_GOAL, POLICY_GOAL, SHAPED_GOAL, FAIR_GOAL = 300, 1.08, 1.9, 1.05, 1.2, 0.8
CREDENTIALS = "YmVuY2g6YmVuY2g="  # bench:bench
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


# --- what something costs: two of one program, with it and without it, by turns ---


def pairs(bench, without, with_it, rounds, key="cpu_us_per_op", after=lambda: None):
    """without, with_it: (process, arguments of lg). The costs of each turn: the median of what a turn of one costs to the turn of the
    other before it, since this is less than what separates two minutes of a machine. ValueError: a load failed."""
    found = []
    for _ in range(rounds):
        pair = []
        for proxy, args in without, with_it:
            values = bench.load(args, proxy.pid)
            if "bad" in values:
                raise ValueError(values["bad"])
            pair.append(float(values[key]))
        found.append(pair)
        after()
    return found


def more_cells(found, goal, unit="us", beside=""):
    """The cells of `goal` times as much as without."""
    ratio = statistics.median(on / off for off, on in found)
    off, on = (statistics.median(side) for side in zip(*found))
    figure = f"{(ratio - 1) * 100:+.1f} % ({off:.3g} {unit}, and {on:.3g} {unit}{beside})"
    # Pairs are exact to a hundredth, and the goal is a difference.
    return figure, f"+{(goal - 1) * 100:.0f} %: {yes(ratio <= goal + 0.01)}"


def fwd32(bench, port, *more):
    return ["fwd", "-c", "32", "-s", "1024", "-p", str(port), "-o", bench.ORIGIN, *more]


def json_log(bench, reps, command):
    """bench/json.yaml beside bench/bench.yaml."""
    log = pathlib.Path(bench.bin, "access.json")
    log.touch()
    log.chmod(0o666)
    logged = pathlib.Path(bench.bin, "json.yaml")
    logged.write_text(re.sub(r"access: \S+?\}", f"access: {log}}}", (HERE / "json.yaml").read_text()), encoding="utf-8")
    plain = config(bench, "plain.yaml", listen=f"127.0.0.1:{PORT}")
    with running(bench, command(plain)) as off, running(bench, command(logged)) as on:
        found = pairs(bench, (off, fwd32(bench, PORT)), (on, fwd32(bench, JSON_PORT)), 4 * reps + 1, after=lambda: log.write_bytes(b""))
    return more_cells(found, JSON_GOAL)


def policy_files(bench):
    """The users and the names that bench/policy.yaml and squid's file speak of. The hash is as cheap as one may be: it is asked once."""
    secret = subprocess.run(["openssl", "passwd", "-6", "-salt", "bench", "bench"], check=True, capture_output=True, text=True).stdout
    for name, text in {
        "policy.htpasswd": f"bench:{secret}",
        "policy-names.txt": "".join(f"host{i}.blocked.example\n" for i in range(1000)),
        "policy.yaml": (HERE / "policy.yaml").read_text(),
        "squid-policy.conf": (HERE / "peers" / "squid-policy.conf").read_text(),
    }.items():
        path = pathlib.Path(bench.bin, name)
        path.write_text(text.replace("policy.htpasswd", f"{bench.bin}/policy.htpasswd").replace('"policy-names.txt"', f'"{bench.bin}/policy-names.txt"')
                        .replace(f"./{bench.bin}", bench.bin), encoding="utf-8")
        path.chmod(0o644)


def squid_policy(bench, rounds):
    """What the same costs squid. A machine without squid has no such figure."""
    plain, full = (f"squid -N -f {path}" for path in (HERE / "peers" / "squid.conf", f"{bench.bin}/squid-policy.conf"))
    with bench.proxy("squid", plain) as off, bench.proxy("squid-policy", full) as on:
        if off.poll() is not None or on.poll() is not None:
            return "; squid does not run here"
        try:
            found = pairs(bench, (off, fwd32(bench, SQUID_PORT)), (on, fwd32(bench, SQUID_POLICY_PORT, "-A", CREDENTIALS)), rounds)
        except ValueError as error:
            return f"; squid fails: {error}"
    return f"; squid {more_cells(found, 1)[0]}"


def policy(bench, reps, command):
    """bench/policy.yaml (rules, guard, a limit, names and passwords) beside bench/bench.yaml, and squid with the same beside squid."""
    policy_files(bench)
    plain = config(bench, "plain.yaml", listen=f"127.0.0.1:{PORT}")
    with running(bench, command(plain)) as off, running(bench, command(f"{bench.bin}/policy.yaml")) as on:
        found = pairs(bench, (off, fwd32(bench, PORT)), (on, fwd32(bench, POLICY_PORT, "-A", CREDENTIALS)), 4 * reps + 1)
    figure, goal = more_cells(found, POLICY_GOAL)
    return figure + squid_policy(bench, reps), goal


def shaped(bench, reps, command):
    """A tunnel under a bandwidth that it does not reach, beside one that has none."""
    plain = config(bench, "plain.yaml", listen=f"127.0.0.1:{PORT}")
    limited = config(bench, "shaped.yaml", listen=f"127.0.0.1:{POLICY_PORT}", limits="[{bandwidth: 20GB/s}]")
    with running(bench, command(plain)) as off, running(bench, command(limited)) as on:
        args = ["down", "-c", "8", "-o", bench.ORIGIN, "-p"]
        found = pairs(bench, (off, args + [str(PORT)]), (on, args + [str(POLICY_PORT)]), 2 * reps + 1, key="cpu_s_per_GB")
    return more_cells(found, SHAPED_GOAL, unit="s/GB")


def fair(bench, reps, command):
    """64 tunnels under one bandwidth of 20 MB/s, for five seconds: what the slowest gets of what the fastest does, and all of what they may."""
    limited = config(bench, "fair.yaml", listen=f"127.0.0.1:{POLICY_PORT}", workers=2, limits="[{bandwidth: 20MB/s}]")
    found = []
    for _ in range(min(reps, 3)):
        with running(bench, command(limited)) as proxy:
            load = bench.start_load(["down", "-c", "64", "-o", bench.ORIGIN, "-p", str(POLICY_PORT)], proxy.pid, seconds=5)
            values = dict(re.findall(r"(\w+)=(\S+)", load.communicate()[0]))
            found.append((float(values["fair"]), float(values["GBps"]) * 1e9 / (20 << 20)))
    share, total = (statistics.median(side) for side in zip(*found))
    return (f"slowest/fastest {share:.2f}, total {total:.3f} of the rate",
            f"{FAIR_GOAL}, within 5 %: {yes(share >= FAIR_GOAL and abs(total - 1) <= 0.05)}")


ROWS = {"p99": p99, "workers": workers, "json": json_log, "policy": policy, "shaped": shaped, "fair": fair}


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
