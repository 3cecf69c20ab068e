# SPDX-License-Identifier: MIT
"""report: what bench/run and bench/soak say about where they ran, and bench/run's report in Markdown with its chart."""
import os
import pathlib
import platform
import re
import subprocess
import time

import chart

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELAY = "haproxy@direct"
CAP = 4.0  # of the chart's scale: what costs more than four relays is cut there, and its figure says how much it is
WHAT = {
    "down1": "one tunnel, bulk to the client",
    "down64": "64 tunnels, bulk to the clients",
    "up8": "8 tunnels, bulk from the clients",
    "pp1": "1 tunnel, ping-pong of 64 bytes",
    "pp64": "64 tunnels, ping-pong of 64 bytes",
    "cps32": "CONNECT, one byte there and back, close",
    "fwd32": "GET of 1 KB, connections kept on both sides",
    "fwd1M": "GET of 1 MB, connections kept",
    "fwdc32": "GET of 1 KB, a new client connection each",
    "idle3000": "memory (PSS) of a quiet tunnel",
    "p99": "readable to written inside ginnel, 64-byte messages beside 64 bulk tunnels on one worker: its own histogram",
    "workers": "fwd32 with two workers beside one: how many times the requests a second",
    "json": "fwd32 with a JSON access log beside none, log thread counted",
    "policy": "fwd32 with rules, guard, a limit that matches and a cached password beside none of them; squid with the same beside squid",
    "fair": "64 bulk tunnels under one bandwidth of 20 MB/s for 5 s, two workers",
    "shaped": "8 bulk tunnels under a bandwidth that they do not reach, beside none",
}


def run(*argv):
    """The first line that a command prints, or nothing."""
    try:
        ran = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (ran.stdout + ran.stderr).strip().split("\n")[0].strip()


def read(path):
    try:
        return pathlib.Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def machine():
    cpu = re.search(r"^model name\s*:\s*(.*)$", read("/proc/cpuinfo"), re.M)
    memory = re.search(r"MemTotal:\s+(\d+)", read("/proc/meminfo"))
    return f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores, {int(memory[1]) / 1e6 if memory else 0:.1f} GB of memory"


def kernel():
    return f"{platform.system()} {platform.release()} ({platform.machine()})"


def congestion():
    return read("/proc/sys/net/ipv4/tcp_congestion_control") or "not known"


def commit():
    """What is checked out; `-dirty`: with changes. Of a tree without history: not known."""
    found = run("git", "-C", str(ROOT), "describe", "--always", "--dirty")
    return found if re.fullmatch(r"[\w.-]+", found) else "not known"


def version(binary):
    return run(binary, "--version") or "no version"


def package(name, *argv):
    """The package's version where it is one, and what the program itself says."""
    found = run("dpkg-query", "-W", "-f=${Version}", name)
    found = found if re.match(r"\d", found) else ""
    return f"{run(*argv) or 'not there'}" + (f" (package {found})" if found else "")


PEERS = {
    "squid": ("squid", "squid", "-v"),
    "tinyproxy": ("tinyproxy", "tinyproxy", "-v"),
    RELAY: ("haproxy", "haproxy", "-v"),
}


def facts(names, binary, settings):
    yield "machine", machine()
    yield "kernel", kernel()
    yield "congestion control", congestion()
    yield "date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    yield "settings", settings
    for name in names:
        yield name, f"{version(binary)}, commit {commit()}" if name == "ginnel" else package(*PEERS[name])


def table(facts_of):
    yield "| | |"
    yield "|---|---|"
    for name, value in facts_of:
        yield f"| {name} | {str(value).replace('|', '/')} |"


def again(mode, secs, reps):
    return f"`bench/run --modes {mode} --secs {secs} --reps {reps}`"


def figures(bench, extras, beside, secs, reps):
    """The table: a row a load, the last column is the command that runs this row alone."""
    yield "| load | what it is | " + " | ".join([*bench.names, "ginnel to relay (goal)", "again"]) + " |"
    yield "|---|---|" + "---|" * (len(bench.names) + 2)
    for mode in bench.modes:
        cells = [bench.cell(name, mode) for name in bench.names] + [beside(mode), again(mode, secs, reps)]
        yield f"| {mode} | {WHAT[mode]} | " + " | ".join(cells) + " |"
    for mode, (figure, goal) in extras.items():
        cells = [figure if name == "ginnel" else "–" for name in bench.names or ["ginnel"]] + [goal, again(mode, secs, reps)]
        yield f"| {mode} | {WHAT[mode]} | " + " | ".join(cells) + " |"


def ratios(bench):
    """[(load, [the cost of each but the relay, as a multiple of the relay's])]; loads without a figure of the relay are left out."""
    names = [name for name in bench.names if name != RELAY]
    for mode in bench.modes:
        floor = bench.cost(RELAY, mode) if RELAY in bench.names else None
        if floor:
            costs = [bench.cost(name, mode) for name in names]
            yield mode, [cost / floor if cost is not None else None for cost in costs]


def write(directory, bench, extras, beside, goals, binary, options):
    """report.md and, where there is something to draw, report.svg; returns the path of the former."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    settings = f"{options.secs} s a load, medians of {options.reps}, proxies on core {options.cores}, load and origin on core 1"
    lines = ["# ginnel beside its peers", "", *table(facts(bench.names or ["ginnel"], binary, settings)), ""]
    lines += ["The proxy's own CPU: seconds a gigabyte, or microseconds an operation; lower is better. HAProxy relays fixed ports here, it parses no",
              "CONNECT. Compare columns of one report, not machines.", ""]
    drawn = list(ratios(bench))
    if drawn:
        names = [name for name in bench.names if name != RELAY]
        title = "Cost beside HAProxy's relay (1); the tick is ginnel's goal" if "ginnel" in names else "Cost beside HAProxy's relay (1)"
        (directory / "report.svg").write_text(chart.bars(title, names, drawn, goals if "ginnel" in names else None, CAP), encoding="utf-8")
        lines += ["![cost of each proxy and load as a multiple of HAProxy's relay](report.svg)", ""]
    else:
        (directory / "report.svg").unlink(missing_ok=True)
    lines += figures(bench, extras, beside, options.secs, options.reps)
    path = directory / "report.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
