# SPDX-License-Identifier: MIT
"""Real origins for the tests with real clients: nginx, sshd, git over HTTP, small package registries, node, WebSocket.

Everything listens on loopback, on ports below those that the kernel gives to clients, keeps its files in a
directory of the caller, and is gone after stop(). A name such as origin.test leads here through the scripted
resolver; NAMES are in the certificate.
"""
import asyncio
import base64
import contextlib
import fcntl
import hashlib
import http.server
import io
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import stat
import subprocess
import tarfile
import threading
import time
import zipfile

import websockets.server

from .certs import Authority
from .clock import Deadline
from .net import have_ipv6

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
NAMES = ["origin.test", "git.test", "npm.test", "apt.test", "pip.test", "ws.test", "ssh.test", "node.test"]


def free_port():
    """A port nobody listens on, for a server of another program. Not one of the kernel's own choosing (harness.free_port):
    a client of some other test could take that before the server is up."""
    while True:
        port = random.SystemRandom().randrange(10000, 30000)
        try:
            for address in ["127.0.0.1"] + (["::1"] if have_ipv6() else []):
                with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind((address, port))
            return port
        except OSError:
            continue


def clean_env(home, **more):
    """An environment in which no proxy, no package mirror and no setting of the user is left."""
    env = {
        "PATH": f"{os.environ.get('PATH', '/usr/bin:/bin')}:{SBIN}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TMPDIR": str(home),
    }
    env.update(more)
    return env


def listening(port):
    """Whether somebody listens, without a connection that the listener would have to explain."""
    for table in "/proc/net/tcp", "/proc/net/tcp6":
        with contextlib.suppress(OSError), open(table, encoding="ascii") as lines:
            for line in lines:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    return True
    return False


class Process:
    """A server in a process group of its own; ready once it listens."""

    def __init__(self, argv, directory, port, env=None):
        self.log = pathlib.Path(directory) / f"{pathlib.Path(argv[0]).name}-{port}.log"
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(
                argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=env
            )
        deadline = Deadline(10)
        while not listening(port):
            if self.child.poll() is not None or deadline.passed():
                self.stop()
                raise RuntimeError(f"{argv[0]} did not start: {self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)

    def stop(self):
        for sig in signal.SIGTERM, signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, sig)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(5)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)


class Certificates:
    """A CA made for this run (.authority), and one leaf for all NAMES and both loopback addresses."""

    def __init__(self, directory):
        self.authority = Authority(directory)
        self.leaf = self.authority.issue("leaf", (*NAMES, "localhost", "127.0.0.1", "::1"))
        self.ca, self.cert, self.key = self.authority.cert, self.leaf.cert, self.leaf.key

    def server_context(self, alpn=("http/1.1",)):
        return self.leaf.server_context(alpn)

    def client_context(self, alpn=()):
        return self.authority.client_context(alpn)


class Nginx:
    """Static files, uploads (PUT /upload/…), what the origin saw (/seen), chunks (/chunked.html), over http and over TLS with h2."""

    CONF = """\
daemon off;
master_process off;
pid {d}/nginx.pid;
error_log {d}/error.log warn;
worker_rlimit_nofile 4096;
events {{ worker_connections 2000; }}
http {{
    types {{ text/html html; text/plain txt; image/png png; }}
    log_format seen '$remote_addr|$server_protocol|$request|$status|$http_via|$http_x_forwarded_for';
    access_log {d}/access.log seen;
    client_max_body_size 0;
    client_body_temp_path {d}/tmp1;
    proxy_temp_path {d}/tmp2;
    fastcgi_temp_path {d}/tmp3;
    uwsgi_temp_path {d}/tmp4;
    scgi_temp_path {d}/tmp5;
    keepalive_requests 100000;
    server {{
        {listen}
        ssl_certificate {cert};
        ssl_certificate_key {key};
        root {d}/www;
        location /upload/ {{ dav_methods PUT; create_full_put_path on; }}
        location = /seen {{
            default_type text/plain;
            return 200 "protocol=$server_protocol\\nrequest=$request\\nhost=$http_host\\nvia=$http_via\\nforwarded=$http_x_forwarded_for$http_forwarded\\nproxy-connection=$http_proxy_connection\\nproxy-authorization=$http_proxy_authorization\\nproxy-note=$http_x_proxy_note\\nalpn=$ssl_alpn_protocol\\n";
        }}
        location = /redirect {{ return 302 /seen; }}
        location = /chunked.html {{ ssi on; }}
    }}
}}
"""

    def __init__(self, directory, certificates):
        self.dir = pathlib.Path(directory)
        self.www = self.dir / "www"
        self.www.mkdir()
        self.http, self.https = free_port(), free_port()
        conf = self.dir / "nginx.conf"
        hosts = ["127.0.0.1"] + (["[::1]"] if have_ipv6() else [])
        listen = " ".join(f"listen {host}:{self.http}; listen {host}:{self.https} ssl http2;" for host in hosts)
        conf.write_text(self.CONF.format(d=self.dir, listen=listen, cert=certificates.cert, key=certificates.key))
        (self.www / "small.txt").write_text("hello from the origin\n")
        (self.www / "chunked.html").write_text('hello from<!--#echo var="nothing" default=""--> the origin\n')
        env = clean_env(self.dir)
        argv = ["nginx", "-p", str(self.dir), "-c", str(conf), "-e", str(self.dir / "start.log")]
        argv[0] = shutil.which("nginx", path=env["PATH"])
        self.process = Process(argv, self.dir, self.https, env=env)

    def url(self, path="/", host="origin.test", tls=False):
        return f"{'https' if tls else 'http'}://{host}:{self.https if tls else self.http}{path}"

    def seen(self):
        """The access log so far: address, protocol, request line, status, Via and X-Forwarded-For of each request."""
        return [line.split("|") for line in (self.dir / "access.log").read_text().splitlines()]

    def stop(self):
        self.process.stop()


ROOM, OURS = "/run/sshd", 0o711


def _hold_room():
    """The root-owned empty directory that the package's start script makes, and that each of sshd's children looks for. Made if it is not there, with a
    mode that says so. Tests run side by side: whoever needs it holds a lock on it, and the last one takes it away."""
    while True:
        with contextlib.suppress(FileExistsError):
            os.mkdir(ROOM)
            os.chmod(ROOM, OURS)
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(ROOM, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(fd, fcntl.LOCK_SH)
            with contextlib.suppress(FileNotFoundError):
                if os.stat(ROOM).st_ino == os.fstat(fd).st_ino:
                    return fd
            os.close(fd)  # taken away meanwhile


def _leave_room(fd):
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stat.S_IMODE(os.fstat(fd).st_mode) == OURS:
            os.rmdir(ROOM)
    os.close(fd)


class Sshd:
    def __init__(self, directory):
        d = pathlib.Path(directory)
        self.port, self.key = free_port(), d / "id"
        env = clean_env(d)
        for key in d / "hostkey", self.key:
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=30)
        shutil.copy(f"{self.key}.pub", d / "authorized")
        (d / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {d}/hostkey\nPidFile none\n"
            f"AuthorizedKeysFile {d}/authorized\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "PermitRootLogin prohibit-password\n"
        )
        self.room = _hold_room() if os.geteuid() == 0 else None
        sshd = shutil.which("sshd", path=env["PATH"])  # sshd starts itself again, so it wants its whole path
        self.process = Process([sshd, "-D", "-e", "-f", str(d / "sshd_config")], d, self.port, env=env)

    def stop(self):
        self.process.stop()
        if self.room is not None:
            _leave_room(self.room)


class Site:
    """A threaded HTTP/1.1 server around one function: answer(request) -> (status, headers, body bytes).

    request is the http.server handler, with .body read whole (chunked too). Every request is kept in .requests.
    methods: those that it takes beside the usual ones.
    """

    def __init__(self, answer, context=None, methods=()):
        site = self
        self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def log_message(self, *_):
                pass

            def read_body(self):
                if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                    parts = []
                    while size := int(self.rfile.readline().split(b";")[0], 16):
                        parts.append(self.rfile.read(size))
                        self.rfile.readline()
                    while self.rfile.readline().strip():
                        pass
                    return b"".join(parts)
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def serve(self):
                self.body = self.read_body()
                site.requests.append((self.command, self.path, dict(self.headers.items())))
                status, headers, body = answer(self)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_HEAD = serve

        for method in methods:
            setattr(Handler, f"do_{method}", Handler.serve)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_):  # a client that leaves is no news
                pass

            def finish_request(self, request, address):
                if context:  # in the connection's thread, so that a slow handshake stops nobody else
                    request = context.wrap_socket(request, server_side=True)
                super().finish_request(request, address)

        self.server = Server(("127.0.0.1", free_port()), Handler)
        self.port = self.server.server_address[1]
        self.scheme = "https" if context else "http"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def url(self, host, path="/"):
        return f"{self.scheme}://{host}:{self.port}{path}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def git_site(root, context=None):
    """git http-backend over the repositories under root, anonymous push allowed."""
    backend = os.path.join(subprocess.run(["git", "--exec-path"], capture_output=True, text=True).stdout.strip(), "git-http-backend")

    def answer(request):
        path, _, query = request.path.partition("?")
        env = clean_env(
            root,
            GIT_PROJECT_ROOT=str(root),
            GIT_HTTP_EXPORT_ALL="1",
            GIT_CONFIG_COUNT="2",
            GIT_CONFIG_KEY_0="safe.directory",
            GIT_CONFIG_VALUE_0="*",
            GIT_CONFIG_KEY_1="http.receivepack",
            GIT_CONFIG_VALUE_1="true",
            PATH_INFO=path,
            QUERY_STRING=query,
            REQUEST_METHOD=request.command,
            CONTENT_TYPE=request.headers.get("Content-Type", ""),
            CONTENT_LENGTH=str(len(request.body)),
            HTTP_CONTENT_ENCODING=request.headers.get("Content-Encoding", ""),
            GIT_PROTOCOL=request.headers.get("Git-Protocol", ""),
            REMOTE_ADDR="127.0.0.1",
            REMOTE_USER="",
        )
        ran = subprocess.run([backend], input=request.body, env=env, capture_output=True, timeout=60)
        head, _, body = ran.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        return status, headers, body

    return Site(answer, context)


def deb_repository(root, names):
    """A flat apt repository of one tiny package a name."""
    root = pathlib.Path(root)
    entries = []
    for name in names:
        tree = root / f"{name}.d"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "usr/share").mkdir(parents=True)
        (tree / "usr/share" / name).write_bytes(os.urandom(50_000))
        control = (
            f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@origin.test>\n"
            "Description: a package of a test\n"
        )
        (tree / "DEBIAN/control").write_text(control)
        deb = root / f"{name}_1.0_all.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, deb], check=True, capture_output=True, timeout=30
        )
        shutil.rmtree(tree)
        data = deb.read_bytes()
        entries.append(
            f"{control}Filename: ./{deb.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        )
    packages = "\n".join(entries).encode()
    (root / "Packages").write_bytes(packages)
    (root / "Release").write_text(
        f"Origin: test\nSuite: ./\nDate: {time.strftime('%a, %d %b %Y %H:%M:%S UTC', time.gmtime())}\n"
        f"SHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
    )


def wheel(name, version="1.0"):
    """(file name, bytes) of a wheel with one empty module."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}\n"
        for path, text in files.items()
    )
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for path, text in files.items():
            z.writestr(path, text)
    return f"{name}-{version}-py3-none-any.whl", out.getvalue()


def pip_site(name, context=None):
    """A simple index with one project of one wheel."""
    file, data = wheel(name)

    def answer(request):
        if request.path == f"/simple/{name}/":
            digest = hashlib.sha256(data).hexdigest()
            page = f'<!DOCTYPE html><html><body><a href="/files/{file}#sha256={digest}">{file}</a></body></html>'
            return 200, {"Content-Type": "text/html"}, page.encode()
        if request.path == f"/files/{file}":
            return 200, {"Content-Type": "application/octet-stream"}, data
        return 404, {}, b""

    return Site(answer, context)


def npm_site(name, host, context=None):
    """A registry that knows one package."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for path, text in (
            ("package/package.json", json.dumps({"name": name, "version": "1.0.0", "main": "index.js"})),
            ("package/index.js", "module.exports = 'a package of a test';\n"),
        ):
            member = tarfile.TarInfo(path)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    data = out.getvalue()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()

    def answer(request):
        if request.path == f"/{name}":
            version = {
                "name": name,
                "version": "1.0.0",
                "dist": {"tarball": site.url(host, f"/{name}/-/{name}-1.0.0.tgz"), "integrity": integrity},
            }
            body = {"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
            return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()
        if request.path == f"/{name}/-/{name}-1.0.0.tgz":
            return 200, {"Content-Type": "application/octet-stream"}, data
        return 404, {"Content-Type": "application/json"}, b"{}"

    site = Site(answer, context)
    return site


class Blob:
    """A long body that never was on a disk: the same random megabytes again and again, each round numbered,
    so that bytes lost, doubled or in the wrong order change the digest."""

    CHUNK, ROUNDS = 64 << 20, 16

    def __init__(self, directory):
        self.path = pathlib.Path(directory) / "chunk"
        data = random.Random(1).randbytes(self.CHUNK)
        self.path.write_bytes(data)
        digest = hashlib.sha1()
        for i in range(self.ROUNDS):
            digest.update(i.to_bytes(8, "big"))
            digest.update(data)
        self.sha1, self.size = digest.hexdigest(), self.ROUNDS * (8 + self.CHUNK)
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with contextlib.suppress(OSError), client, open(self.path, "rb") as chunk:
            head = b""
            while b"\r\n\r\n" not in head:
                more = client.recv(4096)
                if not more:
                    return
                head += more
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % self.size)
            for i in range(self.ROUNDS):
                client.sendall(i.to_bytes(8, "big"))
                chunk.seek(0)
                client.sendfile(chunk)

    def stop(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the accept
        self.listener.close()


class NodeServer:
    """Node's own http server as it comes, with its five seconds of keep-alive."""

    SOURCE = """
const server = require('http').createServer((request, response) => {
    let size = 0;
    request.on('data', (d) => { size += d.length; });
    request.on('end', () => response.end(request.method + ' ' + size + '\\n'));
});
if (server.keepAliveTimeout !== 5000)
    server.keepAliveTimeout = 5000;
server.listen(Number(process.argv[2]), '127.0.0.1');
"""

    def __init__(self, directory):
        self.port = free_port()
        source = pathlib.Path(directory) / "server.js"
        source.write_text(self.SOURCE)
        self.process = Process(["node", str(source), str(self.port)], directory, self.port, env=clean_env(directory))

    def stop(self):
        self.process.stop()


class WebSocketEcho:
    """A server that sends every message back, on a thread and a port of its own."""

    def __init__(self, context=None):
        self.port, self.paths = free_port(), []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = asyncio.run_coroutine_threadsafe(self.start(context), self.loop).result(10)

    async def start(self, context):
        return await websockets.server.serve(self.echo, "127.0.0.1", self.port, ssl=context, max_size=None, close_timeout=1)

    async def echo(self, ws):
        self.paths.append(ws.path)
        async for message in ws:
            await ws.send(message)

    async def close(self):
        self.server.close()
        await self.server.wait_closed()

    def stop(self):
        asyncio.run_coroutine_threadsafe(self.close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()
