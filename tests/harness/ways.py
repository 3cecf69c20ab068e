# SPDX-License-Identifier: MIT
"""Every way in to a ginnel, for real clients: each of {clear, TLS} x {h1, h2}, and behind other proxies. What all of them have in common is an address where
an HTTP/1.1 client finds a proxy in clear; clients that speak TLS, or HTTP/2 over TLS, to a proxy themselves are given .native and need nobody between.

Each way has a listener of its own, with its name, which stands in the log of everything that has come this way."""

import json

from .clock import eventually
from .ginnel import Ginnel
from .net import have_ipv6
from .origins import clean_env
from .others import Haproxy, Nghttpx, Squid, program
from .peer import Client
from .sides import HOST, SIDES

SQUID, GINNEL_HTTPS, GINNEL_H2, PROXY_V2 = TOPOLOGIES = ("behind-squid", "behind-ginnel-https", "behind-ginnel-h2", "behind-haproxy-proxy-v2")
WAYS = (*SIDES, *TOPOLOGIES)
OUTER = "outer"  # the name of a ginnel that stands in front
HOSTS = ("127.0.0.1", "[::1]") if have_ipv6() else ("127.0.0.1",)


NEEDS = {"tls-h1": "haproxy", "clear-h2": "nghttpx", "tls-h2": "nghttpx", SQUID: "squid", GINNEL_HTTPS: "haproxy", PROXY_V2: "haproxy"}


def missing(name):
    """The program that this way wants and that is not installed here, or None."""
    wanted = NEEDS.get(name)
    return wanted if wanted and not program(wanted, clean_env("/")) else None


class Way:
    """One way. `first` is the program that clients speak to: ginnel, haproxy, nghttpx, squid. `keeps_halves`: one direction of a connection may end before
    the other, all the way."""

    def __init__(self, name, ginnel, listener, certificates, directory):
        self.name, self.ginnel = name, ginnel
        self.listener = listener  # where it arrives: (host, port)
        self.first, self.outer = "ginnel", None
        self._others = []
        self.port6 = None
        self.host, self.port = "127.0.0.1", None
        self._open(certificates, directory)
        self.port = self.port or listener[1]
        self.addr, self.url = f"{self.host}:{self.port}", f"http://{self.host}:{self.port}"
        self.url6 = f"http://[::1]:{self.port6 or self.port}"
        self.keeps_halves = self.first not in ("nghttpx", "squid")
        self.is_tls, self.is_h2 = name.startswith("tls"), name in ("clear-h2", "tls-h2")
        self.native = f"https://{HOST}:{listener[1]}" if self.is_tls else self.url

    def __repr__(self):
        return self.name

    def _open(self, certificates, directory):
        if self.name == "tls-h1":
            self._through("haproxy", Haproxy.into_tls(directory, self.listener, certificates.ca))
        elif self.name == "clear-h2":
            self._through("nghttpx", Nghttpx(directory, self.listener))
        elif self.name == "tls-h2":
            self._through("nghttpx", Nghttpx(directory, self.listener, ca=certificates.ca))
        elif self.name == SQUID:
            self.squid = Squid(parent=self.listener)
            self._through("squid", self.squid)
        elif self.name == PROXY_V2:
            self._through("haproxy", Haproxy(directory, self.listener, server="send-proxy-v2"))
        elif self.name == GINNEL_H2:
            self._through_ginnel(self.listener[1], certificates)
        elif self.name == GINNEL_HTTPS:  # a ginnel always offers h2: what takes it away stands between
            no_h2 = Haproxy.without_h2(directory, self.listener, certificates)
            self._others.append(no_h2)
            self._through_ginnel(no_h2.port, certificates)

    def _through(self, program, other):
        self._others.append(other)
        self.first, self.port = program, other.port

    def _through_ginnel(self, port, certificates):
        config = {"listen": [f"{host}:0" for host in HOSTS], "name": OUTER, "trust": str(certificates.ca),
                  "upstream": [{"for": "any", "via": [f"https://{HOST}:{port}"]}]}
        self.outer = Ginnel(config, tracked=False)
        self.port, self.port6 = self.outer.port, self.outer.listeners[-1][1]

    @property
    def native_curl(self):
        """What curl is given as its proxy: it speaks TLS to one, and HTTP/2 to none."""
        return self.native if not self.is_h2 else self.url

    @property
    def ginnels(self):
        return [self.ginnel, *([self.outer] if self.outer else [])]

    def client(self, **options):
        """A raw connection to whatever comes first."""
        return Client(self.host, self.port, **options)

    def connect(self, authority):
        """A raw connection that has become a tunnel."""
        client = self.client()
        client.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        head = client.recv_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return client

    def begin(self):
        """What is in the log by now is of tests before this one, the line that is being written too."""
        self._since = self.ginnel.access_path.stat().st_size
        self._whole = not self._since or self._byte_before() == b"\n"

    def _byte_before(self):
        with open(self.ginnel.access_path, "rb") as log:
            log.seek(self._since - 1)
            return log.read(1)

    def records(self, **where):
        """What has come this way since then."""
        with open(self.ginnel.access_path, "rb") as log:
            log.seek(self._since)
            lines = log.read().split(b"\n")[0 if self._whole else 1:-1]
        records = map(json.loads, lines)
        where = {key.replace("__", "."): value for key, value in where.items()}
        return [r for r in records if r["ginnel.listener"].removesuffix("-6") == self.name and all(r.get(k) == v for k, v in where.items())]

    def wait_records(self, **where):
        return eventually(lambda: self.records(**where), 5, f"an access record of {self} with {where}")

    def well(self):
        for ginnel in self.ginnels:
            assert ginnel.alive(), f"ginnel died during this test:\n{ginnel.stderr()[-6000:]}"
            ginnel.check_log()

    def stop(self):
        if self.outer:
            self.outer.close()
        for other in self._others:
            other.stop()


class Ways:
    """A ginnel with a listener for every way, and the ways, made when they are asked for. `config` is laid over the default one."""

    def __init__(self, directory, certificates, names, config=None):
        self.dir, self.certificates, self._ways = directory, certificates, {}
        tls = {"cert": str(certificates.cert), "key": str(certificates.key)}
        self._listen = [self._listener(name, host, tls) for name in WAYS for host in HOSTS]
        self.ginnel = Ginnel(self.config(config, names), tracked=False)

    # tunnels are in the log from their beginning: nghttpx forgets the stream of a tunnel that the origin has ended first, without a frame that ends it
    LOG = {"tunnels": "both"}

    @staticmethod
    def _listener(name, host, tls):
        entry = {"address": f"{host}:0", "name": name if host == HOSTS[0] else f"{name}-6"}
        if name in ("tls-h1", "tls-h2", GINNEL_HTTPS, GINNEL_H2):
            entry["tls"] = tls
        if name == PROXY_V2:
            entry["proxy-protocol"] = {"from": ["127.0.0.0/8", "::1"]}
        return entry

    def config(self, config, names):
        return {"listen": self._listen, "name": "e2e", "resolver": {"servers": [names.address]}, "log": self.LOG, **(config or {})}

    def way(self, name):
        if name not in self._ways:
            at = WAYS.index(name) * len(HOSTS)
            way = Way(name, self.ginnel, self.ginnel.listeners[at], self.certificates, self.dir)
            if way.first == "ginnel" and not way.outer:
                way.port6 = self.ginnel.listeners[at + len(HOSTS) - 1][1]
                way.url6 = f"http://[::1]:{way.port6}"
            self._ways[name] = way
        return self._ways[name]

    def close(self):
        for way in self._ways.values():
            way.stop()
        self.ginnel.close()
