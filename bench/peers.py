#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""One pass of the load over each proxy: the proxy on core 0, load and origin on core 1.

usage: peers.py [--secs S] [--reps N] [--modes a,b] NAME PORT 'COMMAND' [NAME PORT 'COMMAND' ...]
   a NAME ending in '@direct' is a plain relay: PORT is its base port (see origin.c)
Prints one Markdown table of medians: cpu seconds of the proxy per GB, cpu us per operation, rate, p50.
"""
import argparse
import contextlib
import os
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ORIGIN = "9100"
MODES = {
    "down1": "down -c 1",
    "down64": "down -c 64",
    "up8": "up -c 8",
    "pp1": "pp -c 1",
    "pp64": "pp -c 64",
    "cps32": "cps -c 32",
    "fwd32": "fwd -c 32 -s 1024",
    "fwd1M": "fwd -c 8 -s 1000000",
    "fwdc32": "fwdc -c 32 -s 1024",
    "idle3000": "idle -c 3000",
}


def cost_key(mode):
    """What a row is judged by: the proxy's own cpu or memory for one unit of the load."""
    if mode.startswith(("down", "up")) or mode == "fwd1M":
        return "cpu_s_per_GB"
    return "pss_bytes_per_tunnel" if mode.startswith("idle") else "cpu_us_per_op"


class Bench:
    """Load and origin, compiled, and the results so far: (name, mode) -> a dict a repetition."""

    ORIGIN = ORIGIN

    def __init__(self, secs="2", modes="all", cores="0", tools=None):
        """tools: name -> what else the compiler is told"""
        self.secs, self.cores = secs, cores
        self.tools = tools or {"origin": "", "lg": ""}
        self.modes = {k: v for k, v in MODES.items() if modes == "all" or k in modes.split(",")}
        self.names, self.results = [], {}
        self.bin = tempfile.mkdtemp(prefix="bench-")
        os.chmod(self.bin, 0o755)

    def __enter__(self):
        for tool, more in self.tools.items():
            subprocess.run(["gcc", "-O2", "-w", "-o", f"{self.bin}/{tool}", f"{HERE}/{tool}.c", *more.split()], check=True)
        self.origin = subprocess.Popen(
            ["taskset", "-c", "1", f"{self.bin}/origin", ORIGIN], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(0.4)
        if self.origin.poll() is not None:
            shutil.rmtree(self.bin, ignore_errors=True)
            sys.exit(f"the origin cannot listen on {ORIGIN} and the next ports: another program does")
        return self

    def __exit__(self, *_):
        self.origin.terminate()
        self.origin.wait()
        shutil.rmtree(self.bin, ignore_errors=True)

    def run(self, peers, reps):
        self.names = [name for name, _, _ in peers]
        for rep in range(reps):
            for name, port, command in peers:
                print(f"round {rep + 1} of {reps}: {name}", file=sys.stderr, flush=True)
                self.measure(name, port, command)

    @contextlib.contextmanager
    def proxy(self, name, command, cores=None):
        """The proxy, running and pinned; it and its children are ended at the end."""
        with open(f"{self.bin}/{name}.log", "ab") as log:
            proxy = subprocess.Popen(
                ["taskset", "-c", cores or self.cores] + shlex.split(command),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        time.sleep(1.5)
        if proxy.poll() is not None:
            with open(f"{self.bin}/{name}.log", errors="replace") as log:
                print(f"{name} ended at once: {log.read()[-500:]}", file=sys.stderr)
        try:
            yield proxy
        finally:
            for sig in signal.SIGTERM, signal.SIGKILL:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(proxy.pid, sig)
                    self.wait_gone(proxy)
            proxy.wait()

    @staticmethod
    def wait_gone(proxy):
        """Returns when nobody of its group is left, or after 0.7 s; ends with ProcessLookupError in the former case."""
        for _ in range(14):
            proxy.poll()
            os.killpg(proxy.pid, 0)
            time.sleep(0.05)

    def measure(self, name, port, command):
        direct = ["-D", "-o", port] if name.endswith("@direct") else ["-p", port, "-o", ORIGIN]
        with self.proxy(name, command) as proxy:
            for mode, args in self.modes.items():
                ended = proxy.poll() is not None  # whoever answers at its port then is somebody else
                found = {"bad": "it has ended"} if ended else self.load(args.split() + direct, proxy.pid)
                self.results.setdefault((name, mode), []).append(found)

    def start_load(self, args, pid, seconds=None, cores="1", tool="lg"):
        argv = ["timeout", "70", "taskset", "-c", cores, f"{self.bin}/{tool}"] + args
        return subprocess.Popen(
            argv + ["-t", str(seconds or self.secs), "-P", str(pid)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def load(self, args, pid, tool="lg"):
        load = self.start_load(args, pid, tool=tool)
        values = dict(re.findall(r"(\w+)=(\S+)", load.communicate()[0]))
        if not values or load.returncode:
            values["bad"] = f"{values.get('done', 0)} done, {values.get('errs', '?')} errors"
        return values

    def median(self, name, mode, key):
        """None where the load failed in every round, or gave no such figure."""
        values = [float(r[key].rstrip("/s")) for r in self.results[name, mode] if "bad" not in r and key in r]
        return statistics.median(values) if values else None

    def cost(self, name, mode):
        return self.median(name, mode, cost_key(mode))

    def cell(self, name, mode):
        rounds = self.results[name, mode]
        if all("bad" in r for r in rounds):
            return "fails: " + rounds[0]["bad"]
        cost = self.cost(name, mode)
        if cost is None:
            return "no figure"
        if mode == "fwd1M":
            return f"{cost:.3f} s/GB · p50 {self.median(name, mode, 'p50us'):.0f} us"
        if mode.startswith(("down", "up")):
            return f"{cost:.3f} s/GB · {self.median(name, mode, 'GBps'):.2f} GB/s"
        if mode.startswith("idle"):
            return f"{cost:.0f} B/tunnel"
        if mode.startswith("pp"):
            return f"{cost:.1f} us · p50 {self.median(name, mode, 'p50us'):.0f} us"
        return f"{cost:.1f} us · {self.median(name, mode, 'rate'):.0f}/s"

    def table(self, **more):
        """The Markdown table; more: heading -> function of the mode that gives a further cell."""
        yield "| load | " + " | ".join([*self.names, *(h.replace("_", " ") for h in more)]) + " |"
        yield "|---|" + "---|" * (len(self.names) + len(more))
        for mode in self.modes:
            cells = [self.cell(name, mode) for name in self.names] + [cell(mode) for cell in more.values()]
            yield f"| {mode} | " + " | ".join(cells) + " |"


def options():
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secs", default="2", help="seconds a load")
    parser.add_argument("--reps", type=int, default=3, help="rounds; the table has their medians")
    parser.add_argument("--modes", default="all", help=", ".join(MODES))
    parser.add_argument("--cores", default="0", help="where the proxy is pinned")
    return parser


def main():
    parser = options()
    parser.description = __doc__
    parser.add_argument("rest", nargs="+", metavar="NAME PORT COMMAND")
    args = parser.parse_args()
    peers = list(zip(args.rest[::3], args.rest[1::3], args.rest[2::3]))
    with Bench(args.secs, args.modes, args.cores) as bench:
        bench.run(peers, args.reps)
        print("\n".join(bench.table()))


if __name__ == "__main__":
    main()
