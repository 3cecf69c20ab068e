# SPDX-License-Identifier: MIT
"""curl: what most people try first."""

import hashlib
import os
import subprocess

import pytest

from harness import free_port, scaled
from harness.origins import Blob, Site, clean_env


@pytest.fixture
def curl(run, certificates):
    """curl(arguments…) with our CA and without a wait that never ends."""

    def curl(*args, **options):
        return run("curl", "-sS", "--max-time", scaled(30), "--cacert", certificates.ca, *args, **options)

    return curl


def fields(text):
    """What /seen answers, as a map."""
    return dict(line.split("=", 1) for line in text.splitlines())


def test_plain_http_and_a_second_request_on_the_same_connection(curl, proxy_url, nginx):
    """S001-2: absolute-form in, relayed; the client's connection is kept."""
    url = nginx.url("/small.txt")
    out = curl("-x", proxy_url, "-w", "%{http_code} %{http_version} %{num_connects}\n", url, url).stdout
    assert out == "hello from the origin\n200 1.1 1\nhello from the origin\n200 1.1 0\n"


def test_what_the_origin_sees(curl, proxy_url, nginx):
    """S001-3 no address of the client; S001-9, S002-2 nothing of the hop; origin-form; Via added."""
    seen = fields(curl("-x", proxy_url, "-H", "X-Proxy-Note: end to end", nginx.url("/seen?a=%20b")).stdout)
    assert seen["request"] == "GET /seen?a=%20b HTTP/1.1"
    assert seen["host"] == f"origin.test:{nginx.http}"
    assert seen["via"].startswith("1.1 ")
    assert seen["forwarded"] == ""
    assert seen["proxy-connection"] == ""
    assert seen["proxy-note"] == "end to end"


def test_response_has_via_and_end_to_end_fields(curl, proxy_url, nginx):
    head = curl("-x", proxy_url, "-D", "-", "-o", "/dev/null", nginx.url("/small.txt")).stdout.lower()
    assert "\nvia: 1.1 " in head
    assert "\nserver: nginx" in head
    assert "\netag: " in head
    assert "\nlast-modified: " in head


def test_https_keeps_h2_inside(curl, proxy_url, nginx):
    """S001-1, S002-1: TLS runs end to end, and its ALPN is the origin's and the client's business."""
    ran = curl("-x", proxy_url, "-w", "%{http_version} %{http_connect}", nginx.url("/seen", tls=True))
    *seen, last = ran.stdout.splitlines()
    assert last == "2 200"
    seen = fields("\n".join(seen))
    assert (seen["alpn"], seen["protocol"], seen["via"]) == ("h2", "HTTP/2.0", "")


def test_reply_to_connect_has_an_empty_head(curl, proxy_url, nginx):
    """S002-27: 200, the version mirrored, no Content-Length."""
    out = curl("-x", proxy_url, "-i", "--http1.1", nginx.url("/small.txt", tls=True)).stdout
    status, rest = out.split("\n", 1)
    assert status.lower() == "http/1.1 200 connection established"
    assert rest.startswith("\nHTTP/1.1 200 OK\n"), "nothing between the status line and the tunnel"


def test_tunnel_to_an_http_port(curl, proxy_url, nginx):
    """S000-1, S000-5: CONNECT does not ask what is inside."""
    assert curl("-x", proxy_url, "-p", nginx.url("/small.txt")).stdout == "hello from the origin\n"


def test_headers_for_the_proxy_stay_there(curl, proxy_url, nginx):
    ran = curl("-x", proxy_url, "--proxy-header", "X-Proxy-Note: for you", nginx.url("/seen", tls=True))
    assert fields(ran.stdout)["proxy-note"] == ""


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_upload(curl, proxy_url, nginx, tmp, tls, chunked):
    """With Expect: 100-continue where curl sends it, and with chunks where it can't know the length."""
    body = os.urandom(20_000_000)
    (tmp / "body").write_bytes(body)
    name = f"/upload/{tls}-{chunked}"
    source = "-" if chunked else tmp / "body"
    version = ["--http1.1"] if chunked else []
    ran = curl("-x", proxy_url, *version, "-T", source, "-o", "/dev/null", "-w", "%{http_code}", nginx.url(name, tls=tls),
               input=body if chunked else b"", text=False)
    assert ran.stdout in (b"201", b"204")
    arrived = nginx.www / name.lstrip("/")
    assert hashlib.sha1(arrived.read_bytes()).digest() == hashlib.sha1(body).digest()
    arrived.unlink()


@pytest.mark.workers
@pytest.mark.parametrize("tunnel", [False, True], ids=["forward", "tunnel"])
def test_a_gigabyte_arrives_unchanged(proxy_url, serve, tmp, tunnel):
    blob = serve(Blob(tmp))
    argv = ["curl", "-sS", "--max-time", str(scaled(60)), "-x", proxy_url, *(["-p"] if tunnel else [])]
    argv.append(f"http://origin.test:{blob.port}/blob")
    digest, size = hashlib.sha1(), 0
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env(tmp)) as client:
        while data := client.stdout.read(1 << 20):
            digest.update(data)
            size += len(data)
        assert client.wait(10) == 0, client.stderr.read()
    assert (size, digest.hexdigest()) == (blob.size, blob.sha1)


def test_http_1_0(curl, proxy_url, nginx):
    """A 1.0 client is answered; the hop to the origin is ours and speaks 1.1."""
    out = curl("-x", proxy_url, "--http1.0", "-w", "%{http_code}", nginx.url("/seen")).stdout
    assert fields(out.rsplit("\n", 1)[0])["request"] == "GET /seen HTTP/1.1"
    assert out.endswith("\n200")


def test_no_chunks_for_http_1_0(curl, proxy_url, nginx):
    head = curl("-x", proxy_url, "--http1.0", "-i", nginx.url("/chunked.html")).stdout
    assert "transfer-encoding" not in head.lower()
    assert head.endswith("\n\nhello from the origin\n")


def test_chunked_response(curl, proxy_url, nginx):
    out = curl("-x", proxy_url, "-i", nginx.url("/chunked.html")).stdout
    assert "transfer-encoding: chunked" in out.lower()
    assert out.endswith("\n\nhello from the origin\n")


def test_connect_with_http_1_0(curl, proxy, nginx):
    """S003-1, S003-2: the mirrored version."""
    out = curl("--proxy1.0", proxy.addr, "-i", nginx.url("/small.txt", tls=True)).stdout
    assert out.startswith("HTTP/1.0 200 ")
    assert out.endswith("hello from the origin\n")


def test_variables_of_the_environment(curl, proxy_url, nginx):
    """S002-1: `https_proxy=http://127.0.0.1:9292 curl …`"""
    env = {"http_proxy": proxy_url, "https_proxy": proxy_url}
    assert curl(nginx.url("/small.txt"), **env).stdout == "hello from the origin\n"
    out = curl("-w", "%{http_connect}", nginx.url("/small.txt", tls=True), **env).stdout
    assert out == "hello from the origin\n200"


def test_over_ipv6(curl, proxy, nginx, ipv6):
    """S002-4: both ways, to a listener on ::1 and from there to an origin on ::1."""
    host, port = next(l for l in proxy.listeners if ":" in l[0])
    via = ["-x", f"http://[{host}]:{port}"]
    assert curl(*via, nginx.url("/small.txt", host="[::1]")).stdout == "hello from the origin\n"
    assert curl(*via, nginx.url("/small.txt", host="[::1]", tls=True)).stdout == "hello from the origin\n"


def test_redirect_is_the_clients_business(curl, proxy_url, nginx):
    """S004-7 (bug): a redirect is returned, not followed."""
    out = curl("-x", proxy_url, "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", nginx.url("/redirect")).stdout
    assert out == f"302 {nginx.url('/seen')}"
    assert "request=GET /seen" in curl("-x", proxy_url, "-L", nginx.url("/redirect")).stdout


def test_a_part_of_a_file(curl, proxy_url, nginx):
    out = curl("-x", proxy_url, "-r", "6-9", "-w", " %{http_code}", nginx.url("/small.txt")).stdout
    assert out == "from 206"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "PROPFIND", "SOMETHING"])
def test_every_method_is_forwarded(curl, proxy_url, serve, method):
    """S002-9 (bug), S004-1: by method only CONNECT is special."""
    site = serve(Site(lambda request: (200, {"X-Two": "kept"}, f"{request.command} {len(request.body)}".encode()),
                      methods=[method]))
    out = curl("-x", proxy_url, "-X", method, "-d", "12345", site.url("origin.test", "/x")).stdout
    assert out == f"{method} 5"


def test_repeated_fields_are_all_kept(curl, proxy_url, serve):
    """S002-9 (bug), S004-2: a list of fields is a list."""
    site = serve(Site(lambda request: (200, {}, "|".join(request.headers.get_all("X-Many", [])).encode())))
    out = curl("-x", proxy_url, *["-H", "X-Many: a", "-H", "X-Many: b", "-H", "X-Many: a"], site.url("origin.test"))
    assert out.stdout == "a|b|a"


def test_head_has_no_body(curl, proxy_url, nginx):
    out = curl("-x", proxy_url, "-I", nginx.url("/small.txt"), nginx.url("/small.txt")).stdout
    assert out.count("HTTP/1.1 200 OK") == 2
    assert out.count("Content-Length: 22") == 2


@pytest.mark.parametrize("tunnel", [False, True], ids=["forward", "tunnel"])
@pytest.mark.parametrize("what, error", [("name", "dns_error"), ("port", "connection_refused")])
def test_failure_is_a_status_with_its_reason(curl, proxy_url, tunnel, what, error):
    """S003-5, S003-7, S000-8: 502 and why, never a redirect."""
    target = "http://nosuch.test:80/" if what == "name" else f"http://origin.test:{free_port()}/"
    args = ["-p", "-w", "%{http_connect}"] if tunnel else ["-w", "%{http_code}"]
    out = curl("-x", proxy_url, *args, "-D", "-", "-o", "/dev/null", target, status=56 if tunnel else 0).stdout
    assert out.endswith("502")
    assert error in next(line for line in out.lower().splitlines() if line.startswith("proxy-status:"))


@pytest.mark.workers
def test_many_at_once(curl, proxy_url, nginx):
    """U43: a hundred requests in a burst, no 5xx."""
    urls = [nginx.url(f"/small.txt?{i}") for i in range(100)]
    args = [a for url in urls for a in ("-o", "/dev/null", url)]
    out = curl("-x", proxy_url, "--parallel", "--parallel-max", "50", "-w", "%{http_code}\n", *args).stdout
    assert out.split() == ["200"] * 100


@pytest.mark.workers
def test_many_at_once_through_tunnels(curl, proxy_url, nginx):
    """U43, over TLS: fifty tunnels side by side."""
    urls = [nginx.url(f"/small.txt?{i}", tls=True) for i in range(50)]
    args = [a for url in urls for a in ("-o", "/dev/null", url)]
    out = curl("-x", proxy_url, "--parallel", "--parallel-max", "50", "--parallel-immediate", "--http1.1",
               "-w", "%{http_code}\n", *args).stdout
    assert out.split() == ["200"] * 50
