# SPDX-License-Identifier: MIT
"""A browser: a page of many parts, one of which never comes; sockets of both kinds; an error that a person can read."""

import threading

import pytest

from harness import eventually, free_port, scaled
from harness.browser import PNG, Page, browser
from harness.origins import Site, WebSocketEcho
from harness.ways import GINNEL_H2, PROXY_V2, SQUID


@pytest.fixture
def chromium(way):
    with browser(way.native if way.is_h2 else way.url) as start:
        yield start


@pytest.mark.ways("clear-h1", "tls-h2", SQUID, workers=True)
def test_a_page_of_many_parts_and_one_that_never_comes(chromium, serve):
    """U43: two hundred images arrive although one origin is silent; none fails, none waits for the silent one."""
    gate = threading.Event()
    stalled = serve(Site(lambda request: (200, {}, b"") if gate.wait(scaled(60)) else (500, {}, b"")))
    page = serve(Page("", {"/image": lambda request: (200, {"Content-Type": "image/png"}, PNG)}))
    page.html = f"""<!DOCTYPE html><title>many</title><body><script>
        const result = {{loaded: 0, failed: 0, silent: 'waiting'}};
        function done() {{
            if (result.loaded + result.failed === 200)
                fetch('/report', {{method: 'POST', body: JSON.stringify(result)}});
        }}
        const silent = new Image();
        silent.onload = silent.onerror = () => {{ result.silent = 'over'; }};
        silent.src = 'http://node.test:{stalled.port}/never';
        for (let i = 0; i < 200; i++) {{
            const image = new Image();
            image.onload = () => {{ result.loaded++; done(); }};
            image.onerror = () => {{ result.failed++; done(); }};
            image.src = 'http://' + ['origin.test', 'ws.test', 'git.test'][i % 3] + ':{page.port}/image?' + i;
            document.body.append(image);
        }}
        </script>"""
    chromium(f"http://origin.test:{page.port}/")
    try:
        report = eventually(lambda: page.report, 30, "the page's report")
    finally:
        gate.set()
    assert report == {"loaded": 200, "failed": 0, "silent": "waiting"}
    assert any(path == "/never" for _, path, _ in stalled.requests)


@pytest.mark.ways("clear-h1", GINNEL_H2)
def test_websockets_of_a_page(chromium, serve, certificates):
    """U25: ws:// and wss:// from a page, which a browser sends through CONNECT."""
    plain, secure = serve(WebSocketEcho()), serve(WebSocketEcho(certificates.server_context()))
    page = serve(Page(""))
    page.html = f"""<!DOCTYPE html><title>sockets</title><script>
        function echo(url) {{
            return new Promise((resolve) => {{
                const ws = new WebSocket(url);
                ws.onopen = () => ws.send('x'.repeat(70000));
                ws.onmessage = (event) => {{ resolve(event.data.length); ws.close(); }};
                ws.onerror = () => resolve('error');
            }});
        }}
        Promise.all([echo('ws://ws.test:{plain.port}/a'), echo('wss://ws.test:{secure.port}/b')])
            .then((r) => fetch('/report', {{method: 'POST', body: JSON.stringify(r)}}));
        </script>"""
    chromium(f"http://origin.test:{page.port}/")
    assert eventually(lambda: page.report, 30, "the page's report") == [70000, 70000]
    assert (plain.paths, secure.paths) == (["/a"], ["/b"])


@pytest.mark.ways("clear-h1", PROXY_V2)
def test_https_page_with_h2(chromium, nginx):
    """S001-1: a browser's TLS through CONNECT."""
    dom, _ = chromium(nginx.url("/seen", tls=True), "--dump-dom").communicate(timeout=scaled(40))
    assert b"alpn=h2" in dom


@pytest.mark.ways("clear-h1")
@pytest.mark.parametrize("host, word", [("origin.test", b"refuse"), ("nosuch.test", b"name")])
def test_an_error_can_be_read(chromium, host, word):
    """S003-7: the page of a 502 is ours, not the browser's, and says what happened."""
    dom, _ = chromium(f"http://{host}:{free_port()}/", "--dump-dom").communicate(timeout=scaled(40))
    for part in b"502", word, b"ginnel":
        assert part in dom, dom.decode()
