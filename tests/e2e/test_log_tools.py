# SPDX-License-Identifier: MIT
"""Programs that read access logs: first on lines of ginnel's formatter, with every end, tame and hostile strings
(tests/support/log_lines.c), then on what ginnel writes of real exchanges.

U61: each line is counted, with the outcome that it has, and none is rejected but what the reader rejects of squid and Apache as well:
goaccess wants a method and a status that was sent."""

import collections
import json
import pathlib
import re
import signal
import socket

import pytest

from harness import Ginnel, HttpOrigin, Origin, binary, eventually, free_port, request, response

SQUID = re.compile(r"( {0,8}\d+)\.\d{3} ( *\d+) (\S+) ([A-Z_]+)/(\d{3}) (\d+) (\S+) (\S+) - (HIER_DIRECT/\S+|HIER_NONE/-) (\S+)")
CLF = re.compile(r'(\S+) - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "((?:[^"\\]|\\.)*)" (\d{3}|-) (\d+|-)')
COMBINED = re.compile(CLF.pattern + r' "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"')

GOACCESS = {
    # its own SQUID is for lines behind a syslog header
    "squid": ["--log-format=%x.%^ %~%L %h %^/%s %b %m %U", "--date-format=%s", "--time-format=%s"],
    "common": ["--log-format=COMMON"],
    "combined": ["--log-format=COMBINED"],
}


@pytest.fixture
def log(run, tmp):
    """log(layout) -> a file of lines in that layout."""

    def log(layout):
        path = tmp / f"{layout}.log"
        path.write_bytes(run(pathlib.Path(binary()).parent / "tests" / "log-lines", layout, text=False).stdout)
        return path

    return log


def lines_of(path):
    lines = path.read_bytes().decode("ascii").split("\n")
    assert lines.pop() == "" and len(lines) > 400
    return lines


def goaccess(run, tmp, path, layout):
    """Its summary, and the lines that it rejected."""
    invalid, report = tmp / "invalid", tmp / "report.json"
    invalid.write_bytes(b"")
    run("goaccess", path, *GOACCESS[layout], "-o", report, "--no-global-config", f"--invalid-requests={invalid}",
        "--no-progress")
    # It decodes %80 and writes that byte.
    return json.loads(report.read_bytes().decode(errors="replace"), strict=False), invalid.read_text().splitlines()


def test_squid_lines_have_squids_shape(log):
    for line in lines_of(log("squid")):
        assert SQUID.fullmatch(line), line


@pytest.mark.parametrize("layout, shape", [("common", CLF), ("combined", COMBINED)])
def test_apache_lines_have_apaches_shape(log, layout, shape):
    for line in lines_of(log(layout)):
        assert shape.fullmatch(line), line


def test_json_is_json(log):
    """S001-12, S003-3: a record a line; whatever the client wrote comes back as it was, or as the bytes it was."""
    ids = set()
    paths = 0
    for line in log("json").read_bytes().splitlines():
        record = json.loads(line.decode())
        assert list(record)[0] == "time" and "ginnel.end" in record
        ids.add(record["ginnel.id"])
        paths += record.get("url.path", "").startswith("/x")
    assert len(ids) == len(lines_of(log("json"))) and paths == 256


def test_goaccess_reads_squid(run, tmp, log):
    path = log("squid")
    lines = [SQUID.fullmatch(line) for line in lines_of(path)]
    expected = [m[0] for m in lines if m[7] == "-" or m[5] == "000"]
    report, rejected = goaccess(run, tmp, path, "squid")
    assert rejected == expected
    assert report["general"]["total_requests"] == len(lines)
    assert report["general"]["valid_requests"] == len(lines) - len(expected) > 380
    sent = sum(int(m[6]) for m in lines if m[0] not in set(expected))
    assert report["general"]["bandwidth"] == sent
    assert {request["method"] for request in report["requests"]["data"]} == {"GET", "CONNECT"}


@pytest.mark.parametrize("layout", ["common", "combined"])
def test_goaccess_reads_apache(run, tmp, log, layout):
    path = log(layout)
    lines = [CLF.match(line) for line in lines_of(path)]
    expected = [m.string for m in lines if m[3] == "-"]
    report, rejected = goaccess(run, tmp, path, layout)
    assert rejected == expected
    assert report["general"]["total_requests"] == len(lines)
    assert report["general"]["valid_requests"] == len(lines) - len(expected) > 380
    sent = sum(int(m[4]) for m in lines if m[3] != "-" and m[4] != "-")
    assert report["general"]["bandwidth"] == sent
    if layout == "combined":
        assert any(b["data"] == "Firefox" for b in report["browsers"]["data"])


def test_calamaris_reads_squid(run, tmp, log):
    """U61: it adds up the codes that the lines have; no good tunnel is among the errors."""
    path = log("squid")
    lines = [SQUID.fullmatch(line) for line in lines_of(path)]
    codes = collections.Counter(m[4] for m in lines)
    report = run("calamaris", "-a", "--input-format", "squid", path).stdout
    assert int(re.search(r"^lines parsed: +lines +(\d+)", report, re.M)[1]) == len(lines)
    assert int(re.search(r"^invalid lines: +lines +(\d+)", report, re.M)[1]) == 0
    assert int(re.search(r"^Total amount: +requests +(\d+)", report, re.M)[1]) == len(lines)
    section = report.split("# Incoming TCP-requests by status")[1].split("\n# ")[0]
    counted = collections.Counter()
    for code, n in re.findall(r"^ ([A-Z][A-Z_]+) +(\d+) ", section, re.M):
        counted[code] += int(n)
    assert counted == codes
    # The rows above TCP_TUNNEL's own: it is a success of its kind, not an ERROR.
    assert section.index("\nMISS ") < section.index("\n TCP_TUNNEL ") < section.index("\nERROR ")


# --- the program itself ---------------------------------------------------------------------------------------------

LAYOUTS = ("json", "squid", "common", "combined")


def exchanges(ginnel, dead):
    """One of each outcome, each on a connection of its own; yields what squid's line says between time and hierarchy."""
    web = HttpOrigin(lambda req: response(200, "Content-Type: text/plain; charset=utf-8", body=b"hello"))
    far = Origin()
    with ginnel.client() as client:
        client.send(request("GET", f"http://{web.authority}/a%20b?secret=1", "User-Agent: tool \"x\"\\1",
                            "Referer: http://from.test/page?token=2", "Cookie: secret=3", "Authorization: Basic c2VjcmV0"))
        assert client.recv_response().status == 200
    yield "TCP_MISS/200", f"GET http://{web.authority}/a%20b", "HIER_DIRECT/127.0.0.1 text/plain"
    with ginnel.client(source="127.0.0.2") as client:
        assert client.ask(request("GET", "http://denied.test/x")).status == 403
    yield "TCP_DENIED/403", "GET http://denied.test/x", "HIER_NONE/-"
    with ginnel.client(source="127.0.0.2") as client:
        assert client.ask(request("CONNECT", "denied.test:443")).status == 403
    yield "TCP_DENIED/403", "CONNECT denied.test:443", "HIER_NONE/-"
    with ginnel.client() as client:
        assert client.ask(request("CONNECT", f"127.0.0.1:{dead}")).status == 502
    yield "TCP_MISS/502", f"CONNECT 127.0.0.1:{dead}", None
    with ginnel.client() as client:
        client.connect(far.authority)
        conn = far.accept()
        client.send(b"ping")
        assert conn.recv_exactly(4) == b"ping"
        conn.send(b"pong!")
        assert client.recv_exactly(5) == b"pong!"
        conn.close()
    yield "TCP_TUNNEL/200", f"CONNECT {far.authority}", "HIER_DIRECT/127.0.0.1 -"
    with ginnel.client() as client:
        client.send(b"this is no request\r\n\r\n")
        assert client.recv_response().status == 400
    yield "NONE_NONE/400", "this error:invalid-request", "HIER_NONE/-"
    with ginnel.client() as client:
        client.send(request("GET", f"http://{far.authority}/never"))
        conn = far.accept()
        conn.recv_request()
        client.reset()
    yield "TCP_MISS_ABORTED/000", f"GET http://{far.authority}/never", "HIER_DIRECT/127.0.0.1 -"


def start_with_logs(outputs):
    return Ginnel({"clients": ["127.0.0.1"], "log": outputs})


def test_real_exchanges(run, tmp):
    """U61, S000-9, S001-12, S002-8, S002-11, S003-3, S004-3, S004-5: the same exchanges in all layouts at once; nothing of a query,
    a cookie or a credential is in any of them."""
    paths = {layout: tmp / f"{layout}.log" for layout in LAYOUTS}
    ginnel = start_with_logs([{"access": str(path), "format": layout} for layout, path in paths.items()])
    wanted = list(exchanges(ginnel, free_port()))
    for path in paths.values():
        eventually(lambda: path.exists() and path.read_bytes().count(b"\n") == len(wanted), 5, f"{len(wanted)} lines in {path.name}")
    ginnel.stop()
    for path in paths.values():
        assert b"secret" not in path.read_bytes() and b"token" not in path.read_bytes()
    squid = [SQUID.fullmatch(line) for line in paths["squid"].read_text().splitlines()]
    assert all(squid)
    seen = [(f"{m[4]}/{m[5]}", f"{m[7]} {m[8]}", f"{m[9]} {m[10]}") for m in squid]
    for code, what, way in wanted:
        assert [s for s in seen if s[0] == code and s[1] == what and (way is None or s[2].startswith(way))], (code, what, way, seen)
    records = [json.loads(line) for line in paths["json"].read_text().splitlines()]
    assert len({record["ginnel.id"] for record in records}) == len(records)
    tunnel, = [record for record in records if record.get("ginnel.tunnel")]
    assert (tunnel["ginnel.bytes_up"], tunnel["ginnel.bytes_down"], tunnel["ginnel.end"]) == (4, 5, "tunnel-done")
    got = [record for record in records if record.get("user_agent.original")]
    assert got[0]["user_agent.original"] == 'tool "x"\\1' and got[0]["url.path"] == "/a%20b"
    combined = paths["combined"].read_text()
    assert ' "http://from.test/page" "tool \\"x\\"\\\\1"\n' in combined
    for layout in ("squid", "common", "combined"):
        report, rejected = goaccess(run, tmp, paths[layout], layout)
        assert report["general"]["total_requests"] == len(wanted)
        assert all(re.search(r"/000 | error:|\" - ", line) for line in rejected), rejected


def test_real_rotation(tmp):
    """USR1 after a rename, as logrotate does it: no line is lost and none comes twice."""
    path = tmp / "access.log"
    ginnel = start_with_logs([{"access": str(path)}])
    web = HttpOrigin()
    with ginnel.client() as client:
        for i in range(60):
            assert client.ask(request("GET", f"http://{web.authority}/{i}")).status == 200
            if i % 10 == 5:
                path.rename(tmp / f"access.log.{i}")
                ginnel.process.send_signal(signal.SIGUSR1)
                eventually(path.exists, 5, "a new file")
    ginnel.stop()
    lines = [json.loads(line)["url.path"] for file in tmp.glob("access.log*") for line in file.read_text().splitlines()]
    assert sorted(lines) == sorted(f"/{i}" for i in range(60))


def test_real_syslog(tmp):
    """Both kinds of syslog, and a matcher."""
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        unix.bind(str(tmp / "devlog"))
        udp.bind(("127.0.0.1", 0))
        unix.settimeout(5)
        udp.settimeout(5)
        ginnel = start_with_logs([
            {"access": f"syslog:{tmp}/devlog", "format": "squid"},
            {"access": f"syslog:127.0.0.1:{udp.getsockname()[1]}", "for": {"path": "/there"}},
        ])
        web = HttpOrigin()
        with ginnel.client() as client:
            assert client.ask(request("GET", f"http://{web.authority}/here")).status == 200
        with ginnel.client(source="127.0.0.2") as client:
            assert client.ask(request("GET", "http://denied.test/there")).status == 403
        first, second = unix.recv(9999).decode(), unix.recv(9999).decode()
        both = rf"<30>[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d ginnel\[{ginnel.pid}\]: (.*)"
        assert {SQUID.fullmatch(re.fullmatch(both, line)[1])[4] for line in (first, second)} == {"TCP_MISS", "TCP_DENIED"}
        message = udp.recv(9999).decode()
        head = rf"<30>1 \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z \S+ ginnel {ginnel.pid} access - (.*)"
        assert json.loads(re.fullmatch(head, message)[1])["server.address"] == "denied.test"
        ginnel.stop()
        udp.setblocking(False)
        with pytest.raises(BlockingIOError):
            udp.recv(1)
    finally:
        unix.close()
        udp.close()
