#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes what real TLS clients of this machine say first, for the corpus of fuzz_clienthello.

    tests/fuzz/capture_hellos.py         # rewrites tests/fuzz/corpus/clienthello/client-*

A client that is not installed is left out. All of them ask for localhost, at a socket of ours that never answers.
"""
import pathlib
import shutil
import socket
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent / "corpus" / "clienthello"
GO = """package main
import ("crypto/tls"; "os")
func main() { tls.Dial("tcp", os.Args[1], &tls.Config{ServerName: "localhost"}) }
"""
NODE = "require('tls').connect({host: 'localhost', port: %d, servername: 'localhost', ALPNProtocols: ['h2', 'http/1.1']})"
PYTHON = "import ssl, socket; ssl.create_default_context().wrap_socket(socket.create_connection(('127.0.0.1', %d)), server_hostname='localhost')"


def clients(port, tmp):
    (tmp / "main.go").write_text(GO)
    at = f"127.0.0.1:{port}"
    yield "openssl", ["openssl", "s_client", "-connect", at, "-servername", "localhost"]
    yield "openssl-1.2", ["openssl", "s_client", "-connect", at, "-servername", "localhost", "-tls1_2", "-alpn", "h2"]
    yield "openssl-no-name", ["openssl", "s_client", "-connect", at, "-noservername"]
    yield "openssl-split", ["openssl", "s_client", "-connect", at, "-servername", "localhost", "-max_send_frag", "512", "-alpn", ",".join(["x" * 200] * 5)]
    yield "curl", ["curl", "-sk", f"https://localhost:{port}/"]
    yield "python", ["python3", "-c", PYTHON % port]
    yield "node", ["node", "-e", NODE % port]
    yield "go", ["go", "run", str(tmp / "main.go"), at]
    yield "chromium", ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp}/profile", f"https://localhost:{port}/"]


def first_bytes(server):
    server.settimeout(60)
    conn, _ = server.accept()
    with conn:
        conn.settimeout(1)
        got = b""
        try:
            while chunk := conn.recv(65536):
                got += chunk
        except (TimeoutError, ConnectionError):
            pass
    return got


def main():
    HERE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as tmp, socket.create_server(("127.0.0.1", 0)) as server:
        for name, argv in clients(server.getsockname()[1], pathlib.Path(tmp)):
            if not shutil.which(argv[0]):
                print(f"{name}: not installed")
                continue
            with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
                got = first_bytes(server)
                p.terminate()
            (HERE / f"client-{name}").write_bytes(got)
            print(f"{name}: {len(got)} bytes")


if __name__ == "__main__":
    main()
