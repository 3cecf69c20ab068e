# SPDX-License-Identifier: MIT
"""The metrics as those who read them do: Prometheus's own parser, promtool, and a Prometheus that scrapes. (U63: metrics have a listener of their own,
and are there before there is traffic.)"""

import json
import pathlib
import re
import subprocess
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import Ginnel, HttpOrigin, Origin, eventually, free_port, request, scaled

ROOT = pathlib.Path(__file__).resolve().parents[2]
ADMIN = re.compile(r"^ginnel: info: admin on (\S+)$", re.M)


@pytest.fixture
def ginnel():
    return Ginnel({"admin": "127.0.0.1:0", "control": "off"})


def address(ginnel):
    return ADMIN.search(ginnel.stderr())[1]


def scrape(ginnel):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address(ginnel)}/metrics", timeout=scaled(5)) as answer:
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return answer.read().decode("ascii")


def samples(text):
    """{(name, labels as a sorted tuple): value}, and every family once."""
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(family.documentation and family.type in ("counter", "gauge", "histogram") for family in families)
    found = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def value(found, name, **labels):
    return found[(name, tuple(sorted(labels.items())))]


def reasons():
    """The tokens of the table of end reasons."""
    table = (ROOT / "src/tbl/end_reasons.h").read_text()
    return set(re.findall(r'^END_X\(\w+, "([a-z0-9-]+)"', table, re.M)) - {"running"}


def test_promtool_has_no_complaint(ginnel):
    checked = subprocess.run(["promtool", "check", "metrics"], input=scrape(ginnel), capture_output=True, text=True, timeout=scaled(20), check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_everything_is_there_before_there_is_traffic(ginnel):
    """U63"""
    found = samples(scrape(ginnel))
    ended = {dict(labels)["reason"]: v for (name, labels), v in found.items() if name == "ginnel_exchanges_ended_total"}
    assert set(ended) == reasons() and set(ended.values()) == {0}
    assert value(found, "ginnel_sessions_accepted_total") == 0
    assert value(found, "ginnel_request_duration_seconds_bucket", le="+Inf") == 0
    assert value(found, "ginnel_config_last_reload_successful") == 1
    assert value(found, "ginnel_config_generation") == value(found, "ginnel_snapshots") == 1
    assert value(found, "ginnel_draining") == 0
    assert value(found, "ginnel_process_resident_memory_bytes") > 1 << 20
    assert 3 < value(found, "ginnel_open_fds") < value(found, "ginnel_max_fds")
    assert value(found, "ginnel_config_last_reload_success_timestamp_seconds") >= value(found, "ginnel_start_time_seconds") - 1 > 1.7e9
    assert len([1 for name, _ in found if name == "ginnel_worker_loop_turns_total"]) == 2


def test_traffic_is_counted(ginnel):
    """S004-3; U61: every cause has its metric"""
    web, origin = HttpOrigin(), Origin()
    client = ginnel.client()
    for _ in range(3):
        assert client.ask(request("POST", web.url("/"), body=b"x" * 100)).status == 200
    assert client.ask(request("GET", f"http://127.0.0.1:{free_port()}/")).status == 502
    tunnel = ginnel.client().connect(origin.authority)
    server = origin.accept()
    tunnel.send(b"z" * 5000)
    assert server.recv_exactly(5000)
    found = samples(scrape(ginnel))
    assert value(found, "ginnel_tunnels") == value(found, "ginnel_exchanges") == 1
    assert value(found, "ginnel_sessions") == 2
    assert sum(v for (name, _), v in found.items() if name == "ginnel_worker_sessions") == 2
    assert value(found, "ginnel_exchanges_ended_total", reason="done") == 3
    assert value(found, "ginnel_exchanges_ended_total", reason="connect-refused") == 1
    assert value(found, "ginnel_up_bytes_total") == 300
    assert value(found, "ginnel_request_duration_seconds_count") == 4
    assert value(found, "ginnel_first_byte_duration_seconds_count") >= 3
    tunnel.close()
    server.close()
    found = eventually(lambda: (lambda f: f if value(f, "ginnel_tunnels") == 0 else None)(samples(scrape(ginnel))), what="the tunnel's end")
    assert value(found, "ginnel_tunnels_begun_total") == value(found, "ginnel_tunnels_ended_total") == 1
    assert value(found, "ginnel_up_bytes_total") == 5300
    assert value(found, "ginnel_request_duration_seconds_count") == 4  # tunnels are not in it


def test_nothing_that_a_client_chose_is_a_label(ginnel):
    """U63: series without end"""
    web = HttpOrigin()
    assert ginnel.client().ask(request("GET", web.url("/secret-path?secret-query", name="localhost"), "User-Agent: secret-agent")).status == 200
    text = scrape(ginnel)
    assert "secret" not in text and "localhost" not in text and "127.0.0.1" not in text
    labels = {name for _, pairs in samples(text) for name, _ in pairs}
    assert labels == {"reason", "worker", "le", "result", "version"}


def test_counters_never_go_back(ginnel):
    """Read beside traffic on several workers."""
    web = HttpOrigin()
    clients = [ginnel.client() for _ in range(4)]
    before = {}
    for _ in range(25):
        for client in clients:
            client.send(request("GET", web.url("/")))
        now = samples(scrape(ginnel))
        for key, v in now.items():
            if key[0].endswith(("_total", "_count", "_bucket", "_sum")):
                assert v >= before.get(key, 0), key
        before = now
        for client in clients:
            assert client.recv_response("GET").status == 200


@pytest.fixture
def prometheus(ginnel, tmp):
    """A Prometheus that scrapes it every half second; the address of its API."""
    port = free_port()
    (tmp / "prometheus.yml").write_text(json.dumps({"scrape_configs": [{
        "job_name": "ginnel", "scrape_interval": "500ms", "scrape_timeout": "500ms", "static_configs": [{"targets": [address(ginnel)]}]}]}))
    with open(tmp / "log", "wb") as log:
        process = subprocess.Popen(["prometheus", f"--config.file={tmp}/prometheus.yml", f"--storage.tsdb.path={tmp}/data",
                                    f"--web.listen-address=127.0.0.1:{port}"], cwd=tmp, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(scaled(20))


def test_prometheus_scrapes_it(ginnel, prometheus):
    """U63"""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def result(query):
        try:
            with opener.open(f"{prometheus}/api/v1/query?query={query}", timeout=scaled(5)) as answer:
                return json.load(answer)["data"]["result"]
        except OSError:
            return None

    build, = eventually(lambda: result("ginnel_build_info"), 20, "a scrape")
    assert build["metric"]["job"] == "ginnel" and build["metric"]["version"]
    assert result("up")[0]["value"][1] == "1"
    assert len(result("ginnel_exchanges_ended_total")) == len(reasons())
