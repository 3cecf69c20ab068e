# SPDX-License-Identifier: MIT
"""A browser that goes through a proxy, and pages that report what became of them."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile

from .origins import Site, clean_env

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions",
    "--disable-dev-shm-usage", "--disable-domain-reliability", "--no-pings", "--metrics-recording-only",
    "--disable-features=OptimizationHints,MediaRouter,Translate", "--ignore-certificate-errors",
    "--proxy-bypass-list=<-loopback>",
]
# the smallest PNG there is
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000002000001"
    "e221bc330000000049454e44ae426082"
)


@contextlib.contextmanager
def browser(proxy_url, *always):
    """start(url, flags…) starts a browser that goes through the proxy; it is gone at the end."""
    with contextlib.ExitStack() as stack:

        def start(url, *flags):
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="ginnel-e2e-", ignore_cleanup_errors=True))
            argv = [shutil.which("chromium"), *FLAGS, f"--proxy-server={proxy_url}", f"--user-data-dir={home}/profile"]
            child = subprocess.Popen([*argv, *always, *flags, url], env=clean_env(home), stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)

            def stop():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                child.stdout.close()

            stack.callback(stop)
            return child

        yield start


class Page:
    """A site with one page; what its script posts to /report is in .report."""

    def __init__(self, html, more=None):
        self.report = None
        self.html, self.more = html, more or {}
        self.site = Site(self.answer)
        self.port = self.site.port

    def answer(self, request):
        path = request.path.partition("?")[0]
        if path == "/":
            return 200, {"Content-Type": "text/html", "Cache-Control": "no-store"}, self.html.encode()
        if path == "/report":
            self.report = json.loads(request.body)
            return 200, {}, b""
        if path in self.more:
            return self.more[path](request)
        return 404, {}, b""

    def stop(self):
        self.site.stop()
