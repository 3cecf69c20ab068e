# SPDX-License-Identifier: MIT
"""curl: what most people try first."""

import hashlib
import os
import re
import subprocess

import pytest

from harness import free_port, scaled
from harness.origins import Blob, Site, clean_env
from harness.ways import GINNEL_H2, GINNEL_HTTPS, OUTER, PROXY_V2, SQUID


@pytest.fixture
def curl(run, certificates):
    """curl(arguments…) with our CA and without a wait that never ends."""

    def curl(*args, **options):
        return run("curl", "-sS", "--max-time", scaled(30), "--cacert", certificates.ca, "--proxy-cacert", certificates.ca, *args, **options)

    return curl


def fields(text):
    """What /seen answers, as a map."""
    return dict(line.split("=", 1) for line in text.splitlines())


def test_plain_http_and_a_second_request_on_the_same_connection(curl, way, nginx):
    """S001-2: absolute-form in, relayed; the client's connection is kept."""
    url = nginx.url("/small.txt")
    out = curl("-x", way.native_curl, "-w", "%{http_code} %{http_version} %{num_connects}\n", url, url).stdout
    assert out == "hello from the origin\n200 1.1 1\nhello from the origin\n200 1.1 0\n"


def test_what_the_origin_sees(curl, way, nginx):
    """S001-3 no address of the client; S001-9, S002-2 nothing of the hop; origin-form; Via added, by each ginnel on the way (C27)."""
    seen = fields(curl("-x", way.native_curl, "-H", "X-Proxy-Note: end to end", nginx.url("/seen?a=%20b")).stdout)
    assert seen["request"] == "GET /seen?a=%20b HTTP/1.1"
    assert seen["host"] == f"origin.test:{nginx.http}"
    assert seen["forwarded"] == ("127.0.0.1" if way.name == SQUID else ""), "what squid says of its clients is end to end"
    assert seen["proxy-connection"] == ""
    assert seen["proxy-note"] == "end to end"


def test_via_has_each_of_them(curl, way, serve):
    """C27: whoever is on the way, in order, and the version that each was asked in; on the way back too."""
    site = serve(Site(lambda request: (200, {}, ", ".join(request.headers.get_all("Via")).encode())))
    head, _, via = curl("-x", way.native_curl, "-i", site.url("origin.test")).stdout.rpartition("\n\n")
    here = "2.0 e2e" if way.is_h2 else "1.1 e2e"
    there = {SQUID: f"1.1 squid.test (squid/), {here}", GINNEL_HTTPS: f"1.1 {OUTER}, 1.1 e2e", GINNEL_H2: f"1.1 {OUTER}, 2.0 e2e"}
    back = {SQUID: "1.1 e2e, 1.1 squid.test (squid/)", GINNEL_HTTPS: f"1.1 e2e, 1.1 {OUTER}", GINNEL_H2: f"1.1 e2e, 2.0 {OUTER}"}
    assert re.sub(r"squid/[\d.]+", "squid/", via) == there.get(way.name, here)
    returned = ", ".join(re.findall(r"^via: (.*)$", head, re.I | re.M))
    assert re.sub(r"squid/[\d.]+", "squid/", returned) == back.get(way.name, "1.1 e2e")


def test_response_has_via_and_end_to_end_fields(curl, way, nginx):
    head = curl("-x", way.native_curl, "-D", "-", "-o", "/dev/null", nginx.url("/small.txt")).stdout.lower()
    assert "\nvia: 1.1 " in head
    assert "\nserver: nginx" in head
    assert "\netag: " in head
    assert "\nlast-modified: " in head


def test_https_keeps_h2_inside(curl, way, nginx):
    """S001-1, S002-1: TLS runs end to end, and its ALPN is the origin's and the client's business."""
    ran = curl("-x", way.native_curl, "-w", "%{http_version} %{http_connect}", nginx.url("/seen", tls=True))
    *seen, last = ran.stdout.splitlines()
    assert last == "2 200"
    seen = fields("\n".join(seen))
    assert (seen["alpn"], seen["protocol"], seen["via"]) == ("h2", "HTTP/2.0", "")


def test_reply_to_connect_has_an_empty_head(curl, way, nginx):
    """S002-27: 200, the version mirrored, no Content-Length."""
    out = curl("-x", way.native_curl, "-i", "--http1.1", nginx.url("/small.txt", tls=True)).stdout
    status, rest = out.split("\n", 1)
    reason = "ok" if way.first == "nghttpx" else "connection established"  # h2 has no words, nghttpx finds its own
    assert status.lower() == f"http/1.1 200 {reason}"
    assert rest.startswith("\nHTTP/1.1 200 OK\n"), "nothing between the status line and the tunnel"


def test_tunnel_to_an_http_port(curl, way, nginx):
    """S000-1, S000-5: CONNECT does not ask what is inside."""
    assert curl("-x", way.native_curl, "-p", nginx.url("/small.txt")).stdout == "hello from the origin\n"


def test_headers_for_the_proxy_stay_there(curl, way, nginx):
    ran = curl("-x", way.native_curl, "--proxy-header", "X-Proxy-Note: for you", nginx.url("/seen", tls=True))
    assert fields(ran.stdout)["proxy-note"] == ""


@pytest.mark.ways("clear-h1", "tls-h2", GINNEL_H2)
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_upload(curl, way, nginx, tmp, tls, chunked):
    """With Expect: 100-continue where curl sends it, and with chunks where it can't know the length."""
    body = os.urandom(20_000_000)
    (tmp / "body").write_bytes(body)
    name = f"/upload/{way}-{tls}-{chunked}"
    source = "-" if chunked else tmp / "body"
    version = ["--http1.1"] if chunked else []
    ran = curl("-x", way.native_curl, *version, "-T", source, "-o", "/dev/null", "-w", "%{http_code}", nginx.url(name, tls=tls),
               input=body if chunked else b"", text=False)
    assert ran.stdout in (b"201", b"204")
    arrived = nginx.www / name.lstrip("/")
    assert hashlib.sha1(arrived.read_bytes()).digest() == hashlib.sha1(body).digest()
    arrived.unlink()


@pytest.mark.ways("clear-h1", "tls-h2", PROXY_V2)
@pytest.mark.parametrize("tunnel", [False, True], ids=["forward", "tunnel"])
def test_download(curl, way, nginx, tunnel):
    """16 MB down"""
    body = hashlib.sha256(b"16").digest() * (1 << 19)
    (nginx.www / "big").write_bytes(body)
    out = curl("-x", way.native_curl, *(["-p"] if tunnel else []), nginx.url("/big"), text=False).stdout
    assert hashlib.sha1(out).digest() == hashlib.sha1(body).digest()


@pytest.mark.ways("clear-h1", workers=True)
@pytest.mark.parametrize("tunnel", [False, True], ids=["forward", "tunnel"])
def test_a_gigabyte_arrives_unchanged(way, serve, tmp, certificates, tunnel):
    blob = serve(Blob(tmp))
    argv = ["curl", "-sS", "--max-time", str(scaled(60)), "--proxy-cacert", str(certificates.ca), "-x", way.native_curl, *(["-p"] if tunnel else [])]
    argv.append(f"http://origin.test:{blob.port}/blob")
    digest, size = hashlib.sha1(), 0
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env(tmp)) as client:
        while data := client.stdout.read(1 << 20):
            digest.update(data)
            size += len(data)
        assert client.wait(10) == 0, client.stderr.read()
    assert (size, digest.hexdigest()) == (blob.size, blob.sha1)


def test_http_1_0(curl, way, nginx):
    """A 1.0 client is answered; the hop to the origin is ours and speaks 1.1."""
    out = curl("-x", way.native_curl, "--http1.0", "-w", "%{http_code}", nginx.url("/seen")).stdout
    assert fields(out.rsplit("\n", 1)[0])["request"] == "GET /seen HTTP/1.1"
    assert out.endswith("\n200")


def test_no_chunks_for_http_1_0(curl, way, nginx):
    head = curl("-x", way.native_curl, "--http1.0", "-i", nginx.url("/chunked.html")).stdout
    assert "transfer-encoding" not in head.lower()
    assert head.endswith("\n\nhello from the origin\n")


def test_chunked_response(curl, way, nginx):
    out = curl("-x", way.native_curl, "-i", nginx.url("/chunked.html")).stdout
    assert "transfer-encoding: chunked" in out.lower()
    assert out.endswith("\n\nhello from the origin\n")


def test_connect_with_http_1_0(curl, way, nginx):
    """S003-1, S003-2: the mirrored version; squid answers all with 1.1."""
    out = curl("--proxy1.0", way.addr, "-i", nginx.url("/small.txt", tls=True)).stdout
    assert out.startswith("HTTP/1.1 200 " if way.first == "squid" else "HTTP/1.0 200 ")
    assert out.endswith("hello from the origin\n")


def test_variables_of_the_environment(curl, way, nginx):
    """S002-1: `https_proxy=http://127.0.0.1:9292 curl …`"""
    env = {"http_proxy": way.native_curl, "https_proxy": way.native_curl}
    assert curl(nginx.url("/small.txt"), **env).stdout == "hello from the origin\n"
    out = curl("-w", "%{http_connect}", nginx.url("/small.txt", tls=True), **env).stdout
    assert out == "hello from the origin\n200"


def test_over_ipv6(curl, way, nginx, ipv6):
    """S002-4: both ways, to a listener on ::1 and from there to an origin on ::1."""
    via = ["-x", way.url6]
    assert curl(*via, nginx.url("/small.txt", host="[::1]")).stdout == "hello from the origin\n"
    assert curl(*via, nginx.url("/small.txt", host="[::1]", tls=True)).stdout == "hello from the origin\n"


def test_redirect_is_the_clients_business(curl, way, nginx):
    """S004-7 (bug): a redirect is returned, not followed."""
    out = curl("-x", way.native_curl, "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", nginx.url("/redirect")).stdout
    assert out == f"302 {nginx.url('/seen')}"
    assert "request=GET /seen" in curl("-x", way.native_curl, "-L", nginx.url("/redirect")).stdout


def test_a_part_of_a_file(curl, way, nginx):
    out = curl("-x", way.native_curl, "-r", "6-9", "-w", " %{http_code}", nginx.url("/small.txt")).stdout
    assert out == "from 206"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "PROPFIND", "SOMETHING"])
def test_every_method_is_forwarded(curl, way, serve, method):
    """S002-9 (bug), S004-1: by method only CONNECT is special."""
    if method == "SOMETHING" and way.first == "nghttpx":
        pytest.skip("nghttpx answers 501 itself: it knows a list of methods")
    site = serve(Site(lambda request: (200, {"X-Two": "kept"}, f"{request.command} {len(request.body)}".encode()),
                      methods=[method]))
    out = curl("-x", way.native_curl, "-X", method, "-d", "12345", site.url("origin.test", "/x")).stdout
    assert out == f"{method} 5"


def test_repeated_fields_are_all_kept(curl, way, serve):
    """S002-9 (bug), S004-2: a list of fields is a list."""
    site = serve(Site(lambda request: (200, {}, "|".join(request.headers.get_all("X-Many", [])).encode())))
    out = curl("-x", way.native_curl, *["-H", "X-Many: a", "-H", "X-Many: b", "-H", "X-Many: a"], site.url("origin.test"))
    assert out.stdout == "a|b|a"


def test_head_has_no_body(curl, way, nginx):
    out = curl("-x", way.native_curl, "-I", nginx.url("/small.txt"), nginx.url("/small.txt")).stdout
    reason = "" if way.name == GINNEL_H2 else "OK"  # h2 has no words, and a ginnel invents none
    assert out.count(f"HTTP/1.1 200 {reason}\n") == 2
    assert out.lower().count("content-length: 22") == 2


@pytest.mark.parametrize("tunnel", [False, True], ids=["forward", "tunnel"])
@pytest.mark.parametrize("what, error", [("name", "dns_error"), ("port", "connection_refused")])
def test_failure_is_a_status_with_its_reason(curl, way, tunnel, what, error):
    """S003-5, S003-7, S000-8: 502 and why, never a redirect."""
    target = "http://nosuch.test:80/" if what == "name" else f"http://origin.test:{free_port()}/"
    args = ["-p", "-w", "%{http_connect}"] if tunnel else ["-w", "%{http_code}"]
    out = curl("-x", way.native_curl, *args, "-D", "-", "-o", "/dev/null", target, status=56 if tunnel else 0).stdout
    assert out.endswith("502")
    assert error in next(line for line in out.lower().splitlines() if line.startswith("proxy-status:"))


@pytest.mark.ways(workers=True)
def test_many_at_once(curl, way, nginx):
    """U43: a hundred requests in a burst, no 5xx."""
    urls = [nginx.url(f"/small.txt?{i}") for i in range(100)]
    args = [a for url in urls for a in ("-o", "/dev/null", url)]
    out = curl("-x", way.native_curl, "--parallel", "--parallel-max", "50", "-w", "%{http_code}\n", *args).stdout
    assert out.split() == ["200"] * 100


@pytest.mark.ways(workers=True)
def test_many_at_once_through_tunnels(curl, way, nginx):
    """U43, over TLS: fifty tunnels side by side."""
    urls = [nginx.url(f"/small.txt?{i}", tls=True) for i in range(50)]
    args = [a for url in urls for a in ("-o", "/dev/null", url)]
    out = curl("-x", way.native_curl, "--parallel", "--parallel-max", "50", "--parallel-immediate", "--http1.1",
               "-w", "%{http_code}\n", *args).stdout
    assert out.split() == ["200"] * 50
