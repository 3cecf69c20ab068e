# SPDX-License-Identifier: MIT
"""Other people's proxies, in front of ginnel and behind it: nghttpx, HAProxy, nginx's stream module, squid. All listen on loopback (of IPv6 too, those in front), keep their files
in a directory of the caller, and are gone after stop()."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from .net import have_ipv6
from .origins import NAMES, Process, clean_env, free_port

# Debian's place for what nginx loads
STREAM_MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def program(name, env):
    return shutil.which(name, path=env["PATH"])


class Other:
    """A process, its port, its address."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.env = clean_env(directory)
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        self.url = f"http://127.0.0.1:{self.port}"
        self.hosts = ["127.0.0.1"] + (["[::1]"] if have_ipv6() else [])

    def run(self, *argv):
        self.process = Process([program(argv[0], self.env), *map(str, argv[1:])], self.dir, self.port, env=self.env)

    def log(self):
        return self.process.log.read_text(errors="replace")

    def stop(self):
        self.process.stop()


class Nghttpx(Other):
    """A forward proxy (-s). `backend` is (host, port) of the next proxy, spoken to in h2 (`h2`) over TLS (`ca`: what verifies it) or not. The
    frontend has TLS when `pair` is given; it takes h1 and h2 in both cases. So in front of ginnel it turns any h1 client into an h2 one."""

    def __init__(self, directory, backend, h2=True, ca=None, pair=None):
        super().__init__(directory)
        where = f"{backend[0]},{backend[1]};;" + ";".join(["proto=h2" if h2 else "proto=http/1.1", *(["tls", "sni=localhost"] if ca else [])])
        frontends = [f"--frontend={host.strip('[]')},{self.port}" + ("" if pair else ";no-tls") for host in self.hosts]
        self.run("nghttpx", "--conf=/dev/null", "-s", *frontends, f"--backend={where}", "--single-thread", "--no-ocsp", "--log-level=WARN",
                 "--errorlog-file=/dev/stderr", "--no-via", "--no-server-rewrite", "--backend-connections-per-host=1000",
                 *([f"--cacert={ca}"] if ca else []), *([pair.key, pair.cert] if pair else []))


class Haproxy(Other):
    """Passes connections on, byte for byte. server: words of its `server` line (send-proxy-v2, ssl …), bind: of its `bind` line."""

    def __init__(self, directory, backend, server="", bind=""):
        super().__init__(directory)
        conf = self.dir / f"haproxy-{self.port}.cfg"
        binds = "\n    ".join(f"bind {host}:{self.port} {bind}" for host in self.hosts)
        conf.write_text(f"""\
global
    maxconn 2000
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
listen front
    {binds}
    server next {backend[0]}:{backend[1]} {server}
""")
        self.run("haproxy", "-db", "-f", conf)

    @classmethod
    def into_tls(cls, directory, backend, ca):
        """Clear text in, TLS out: any h1 client becomes one of an https proxy."""
        return cls(directory, backend, server=cls._tls(ca))

    @classmethod
    def without_h2(cls, directory, backend, certificates):
        """TLS in, TLS out, and ALPN agrees on http/1.1 with both, whatever they offer."""
        both = cls.pem(directory, certificates.leaf)
        return cls(directory, backend, server=cls._tls(certificates.ca), bind=f"ssl crt {both} alpn http/1.1")

    @staticmethod
    def _tls(ca):
        return f"ssl verify required ca-file {ca} sni str(localhost) verifyhost localhost alpn http/1.1"

    @staticmethod
    def pem(directory, pair):
        """Certificate and key in one file."""
        path = pathlib.Path(directory) / f"{pair.name}-both.pem"
        path.write_text(pair.cert.read_text() + pair.key.read_text())
        return path


class NginxStream(Other):
    """The same by nginx's stream module."""

    def __init__(self, directory, backend, more=""):
        super().__init__(directory)
        conf = self.dir / f"stream-{self.port}.conf"
        conf.write_text(f"""\
load_module {STREAM_MODULE};
daemon off;
master_process off;
pid {self.dir}/stream-{self.port}.pid;
error_log stderr warn;
events {{ worker_connections 500; }}
stream {{
    server {{
        listen 127.0.0.1:{self.port};
        proxy_pass {backend[0]}:{backend[1]};
        {more}
    }}
}}
""")
        self.run("nginx", "-p", self.dir, "-c", conf, "-e", "/dev/stderr")


class Squid(Other):
    """A parent, with a directory of its own, which an unprivileged user has to get into. With `password` it wants Basic: the user is `parent`. With `parent`,
    (host, port), it is in front, and goes by that proxy alone."""

    def __init__(self, password=None, parent=None):
        self._tmp = tempfile.TemporaryDirectory(prefix="ginnel-squid-", ignore_cleanup_errors=True)
        os.chmod(self._tmp.name, 0o755)
        super().__init__(self._tmp.name)
        conf = self.dir / "squid.conf"
        ports = "\n".join(f"http_port {host}:{self.port}" for host in self.hosts)
        conf.write_text(f"""\
{ports}
pid_filename {self.dir}/squid.pid
access_log stdio:{self.dir}/access.log
cache_log {self.dir}/cache.log
cache deny all
cache_mem 0
netdb_filename none
coredump_dir {self.dir}
shutdown_lifetime 0
forwarded_for {'on' if parent else 'delete'}
logfile_rotate 0
visible_hostname squid.test
hosts_file {self._hosts()}
dns_nameservers 127.0.0.1
dns_timeout 1 second
dns_retransmit_interval 1 second
positive_dns_ttl 1 second
client_persistent_connections on
half_closed_clients {'off' if parent else 'on'}
{self._auth(password)}
{self._peer(parent)}
http_access allow {'known' if password else 'all'}
http_access deny all
""")
        if os.getuid() == 0:  # it gives up root by itself
            for path in (self.dir, conf):
                shutil.chown(path, "proxy", "proxy")
            conf.write_text("cache_effective_user proxy\n" + conf.read_text())
        self.run("squid", "-N", "-f", conf)

    def _hosts(self):
        """Names of tests lead to loopback here too."""
        hosts = self.dir / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {' '.join(NAMES)}\n")
        return hosts

    def _auth(self, password):
        if not password:
            return ""
        users = self.dir / "users"
        crypted = subprocess.run(["openssl", "passwd", "-apr1", password], capture_output=True, text=True, check=True).stdout.strip()
        users.write_text(f"parent:{crypted}\n")
        return f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {users}\nauth_param basic realm parent\nacl known proxy_auth REQUIRED"

    @staticmethod
    def _peer(parent):
        """Everything goes there, with what the client says to it about itself."""
        if not parent:
            return ""
        peer = f"cache_peer {parent[0]} parent {parent[1]} 0 no-query no-digest no-netdb-exchange default login=PASSTHRU connect-fail-limit=1000000"
        return f"{peer}\nnever_direct allow all\nhttp_upgrade_request_protocols websocket allow all"

    def stop(self):
        super().stop()
        self._tmp.cleanup()

    def _log(self):
        lines = (self.dir / "access.log").read_text().splitlines() if (self.dir / "access.log").exists() else []
        return list(map(str.split, lines))

    def requests(self):
        """(status, method, target) of each request so far."""
        return [(f[3].split("/")[1], f[5], f[6]) for f in self._log()]

    def methods_of(self, client):
        """What this address has asked so far."""
        return {f[5] for f in self._log() if f[2] == client}
