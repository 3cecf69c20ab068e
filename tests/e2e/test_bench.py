# SPDX-License-Identifier: MIT
"""bench/run's report and chart: from results that are made up, and once from a real, very short run."""

import argparse
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from harness.ginnel import binary
from harness.origins import listening

ROOT = pathlib.Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"
pytestmark = pytest.mark.harness


@pytest.fixture(scope="module")
def bench():
    """The modules of bench/."""
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        import chart
        import extras
        import peers
        import report
        yield argparse.Namespace(chart=chart, extras=extras, peers=peers, report=report)
    finally:
        sys.path.remove(str(ROOT / "bench"))


def elements(text, name):
    return list(xml.etree.ElementTree.fromstring(text).iter(SVG + name))


def bars_of(text):
    """(series, width, what it says) of each bar; the legend's squares have no title."""
    found = [(rect.get("class"), float(rect.get("width")), rect.find(SVG + "title")) for rect in elements(text, "rect")]
    return [(series, width, title.text) for series, width, title in found if title is not None]


def test_bars_are_as_long_as_their_figures(bench):
    text = bench.chart.bars("cost", ["a", "b"], [("x", [1.0, 2.0]), ("y", [0.5, None])], cap=4)
    full = bench.chart.WIDTH
    assert bars_of(text) == [("s0", full / 4, "x, a: 1.00"), ("s1", full / 2, "x, b: 2.00"), ("s0", full / 8, "y, a: 0.50")]
    words = [t.text for t in elements(text, "text")]
    assert "b: no figure" in words and "cost" in words and {"x", "y", "1.00", "2.00", "0.50"} <= set(words)


def test_what_is_too_long_is_cut_and_says_so(bench):
    text = bench.chart.bars("cost", ["a"], [("x", [9.7]), ("y", [4.0])], cap=4)
    assert [width for _, width, _ in bars_of(text)] == [bench.chart.WIDTH] * 2
    assert len(elements(text, "path")) == 1 and "9.70" in [t.text for t in elements(text, "text")]


def test_names_are_escaped_and_both_themes_are_there(bench):
    text = bench.chart.bars("a < b & c", ["<s>"], [("<g>", [1])])
    assert "a < b & c" in [t.text for t in elements(text, "text")]
    assert "prefers-color-scheme: dark" in text


def test_a_goal_is_a_tick(bench):
    text = bench.chart.bars("cost", ["a"], [("x", [1.0]), ("y", [1.0])], goals={"x": 0.5, "z": 1}, cap=2)
    goal, = [line for line in elements(text, "line") if line.get("class") == "goal"]
    assert float(goal.get("x1")) == bench.chart.LABEL + bench.chart.WIDTH / 4


def made_up(bench, modes):
    """A Bench that has run: ginnel costs half of the relay, squid twice as much; tinyproxy failed."""
    run = bench.peers.Bench.__new__(bench.peers.Bench)
    run.modes, run.names = {mode: bench.peers.MODES[mode] for mode in modes}, ["ginnel", "squid", "tinyproxy", "haproxy@direct"]
    run.results = {}
    for mode in modes:
        key = bench.peers.cost_key(mode)
        for name, cost in ("ginnel", "5"), ("squid", "20"), ("haproxy@direct", "10"):
            run.results[name, mode] = [{key: cost, "rate": "100/s", "GBps": "1", "p50us": "7"}] * 3
        run.results["tinyproxy", mode] = [{"bad": "3 done, 3 errors"}]
    return run


def test_a_report_of_made_up_results(bench, tmp_path):
    run = made_up(bench, ["down1", "fwd32", "idle3000"])
    options = argparse.Namespace(secs="2", reps=3, cores="0")
    extras = {"json": ("+3.0 % (10.0 us, then 10.3 us)", "+8 %: yes")}
    path = bench.report.write(tmp_path / "out", run, extras, lambda mode: "0.50 (0.80: yes)", {"fwd32": 0.8}, "/bin/true", options)
    text = path.read_text()
    rows = {cells[1]: cells for line in text.split("\n") if line.startswith("| ") and len(cells := [c.strip() for c in line.split("|")]) > 5}
    assert list(rows) == ["load", "down1", "fwd32", "idle3000", "json"]
    assert rows["fwd32"][3:8] == ["5.0 us · 100/s", "20.0 us · 100/s", "fails: 3 done, 3 errors", "10.0 us · 100/s", "0.50 (0.80: yes)"]
    assert rows["json"][3] == "+3.0 % (10.0 us, then 10.3 us)" and rows["json"][7] == "+8 %: yes"
    for word in "machine", "kernel", "congestion control", "date", "settings", "ginnel", "squid", "tinyproxy", "haproxy@direct":
        assert re.search(rf"^\| {re.escape(word)} \| .+ \|$", text, re.M), word
    svg = (tmp_path / "out" / "report.svg").read_text()
    assert [title for _, _, title in bars_of(svg)][:2] == ["down1, ginnel: 0.50", "down1, squid: 2.00"]
    assert "report.svg" in text


def test_each_row_names_a_command_that_there_is(bench, tmp_path):
    run = made_up(bench, list(bench.peers.MODES))
    options = argparse.Namespace(secs="2", reps=3, cores="0")
    extras = {name: ("1", "2") for name in bench.extras.ROWS}
    text = bench.report.write(tmp_path, run, extras, lambda mode: "–", {}, "/bin/true", options).read_text()
    commands = re.findall(r"`(bench/run [^`]+)`", text)
    assert len(commands) == len(bench.peers.MODES) + len(bench.extras.ROWS)
    parser = bench.peers.options()
    for command in commands:
        program, *words = shlex.split(command)
        asked = parser.parse_args(words)
        assert os.access(ROOT / program, os.X_OK) and asked.modes in {*bench.peers.MODES, *bench.extras.ROWS}


def test_without_the_relay_there_is_no_chart(bench, tmp_path):
    run = made_up(bench, [])
    run.names = []
    (tmp_path / "report.svg").write_text("of an earlier run")
    text = bench.report.write(tmp_path, run, {"p99": ("x", "y")}, None, {}, "/bin/true", argparse.Namespace(secs="1", reps=1, cores="0")).read_text()
    assert "report.svg" not in text and not (tmp_path / "report.svg").exists() and "| p99 |" in text


METRICS = """# TYPE ginnel_relay_delay_seconds histogram
ginnel_relay_delay_seconds_bucket{le="0.0001"} 980
ginnel_relay_delay_seconds_bucket{le="0.0003"} 990
ginnel_relay_delay_seconds_bucket{le="0.001"} 999
ginnel_relay_delay_seconds_bucket{le="+Inf"} 1000
ginnel_relay_delay_seconds_count 1000
ginnel_other_bucket{le="7"} 3
"""


def test_a_quantile_is_the_upper_bound_of_its_bucket(bench):
    buckets = bench.extras.histogram(METRICS, "ginnel_relay_delay_seconds")
    assert len(buckets) == 4
    assert bench.extras.quantile(buckets, 0.5) == 0.0001
    assert bench.extras.quantile(buckets, 0.99) == 0.0003
    assert bench.extras.quantile(buckets, 0.991) == 0.001
    assert bench.extras.quantile(buckets, 1) == float("inf")
    assert bench.extras.quantile({}, 0.99) is None


def test_a_row_that_fails_says_so(bench, monkeypatch):
    monkeypatch.setitem(bench.extras.ROWS, "json", lambda *_: [][0])
    monkeypatch.setitem(bench.extras.ROWS, "p99", lambda *_: ("1", "2"))
    assert bench.extras.measure(None, ["json", "p99"], 1, None) == {"json": ("fails: list index out of range", "no"), "p99": ("1", "2")}


def test_rows_of_its_own(bench):
    """What is said of a delay, of a version without the metric, and where there are too few cores."""
    good = bench.extras.histogram(METRICS, "ginnel_relay_delay_seconds")
    bad = {**good, 0.0003: 985}
    assert bench.extras.delay_cells([good, bad, good]) == ("at most 300 us (99.0 % within 300)", "300 us: yes")
    assert bench.extras.delay_cells([bad]) == ("at most 1000 us (98.5 % within 300)", "300 us: no")
    figure, goal = bench.extras.delay_cells([{}])
    assert "no metric" in figure and "not measured" in goal
    assert "cores not free" in bench.extras.workers(None, 1, None, cores=[0, 1])[0]


def test_a_real_run(tmp_path):
    """Very short: the figures mean nothing, the report is whole."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [name for name in ("squid", "tinyproxy", "haproxy", "gcc", "taskset") if not shutil.which(name)]
    if missing or binary() != str(ROOT / "build" / "ginnel") or not pathlib.Path(binary()).exists():
        pytest.skip(f"not here: {', '.join(missing) or 'build/ginnel as the program under test'}")
    if busy := [port for port in (9100, 18130, 18131, 18140, 18150) if listening(port)]:
        pytest.skip(f"another run of the bench has the ports {busy}")
    ran = subprocess.run([str(ROOT / "bench" / "run"), "--secs", "0.3", "--reps", "1", "--modes", "fwd32", "--out", str(tmp_path)], cwd=ROOT,
                         capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode in (0, 1), ran.stderr  # 1: not cheaper than squid, which a run this short may say
    report = (tmp_path / "report.md").read_text()
    assert re.search(r"^\| fwd32 \|.*\| [\d.]+ us · \d+/s \|", report, re.M), report + ran.stderr
    assert "fwd32, ginnel" in (tmp_path / "report.svg").read_text()
