# SPDX-License-Identifier: MIT
"""A small authority made for this run, and what it signs: servers, clients, and certificates that nobody should accept."""

import pathlib
import ssl
import subprocess

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
EVERY_NAME = ("localhost", "127.0.0.1", "::1")


def openssl(directory, *argv):
    return subprocess.run(["openssl", *map(str, argv)], cwd=directory, check=True, capture_output=True, timeout=60).stdout


def san(names):
    """Names and literal addresses as a subjectAltName."""
    return ",".join(("IP:" if ":" in name or name.replace(".", "").isdigit() else "DNS:") + name for name in names)


class Pair:
    """A certificate and its key, as files; chain is the certificate with what signed it."""

    def __init__(self, directory, name):
        self.dir, self.name = pathlib.Path(directory), name
        self.cert, self.key = self.dir / f"{name}.pem", self.dir / f"{name}.key"

    def fingerprint(self):
        """SHA-256 of the certificate, hexadecimal."""
        text = openssl(self.dir, "x509", "-in", self.cert, "-noout", "-fingerprint", "-sha256").decode()
        return text.strip().split("=")[1].replace(":", "").lower()

    def server_context(self, alpn=(), client_ca=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Authority(Pair):
    """Signs. Its own certificate is .cert; what trusts it is made by .client_context()."""

    def __init__(self, directory, name="ca"):
        super().__init__(directory, name)
        self.dir.mkdir(parents=True, exist_ok=True)
        openssl(self.dir, "req", "-x509", *KEY, "-keyout", self.key, "-out", self.cert, "-days", "30", "-subj", f"/CN=test {name}",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name, names=EVERY_NAME, client=False, expired=False, subject=None, email=None):
        """A Pair for these names. `expired`: it ended years ago."""
        pair = Pair(self.dir, name)
        alternatives = ",".join(filter(None, [san(names), f"email:{email}" if email else ""]))
        (self.dir / f"{name}.ext").write_text(
            (f"subjectAltName={alternatives}\n" if alternatives else "")
            + f"extendedKeyUsage={'clientAuth' if client else 'serverAuth'}\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n")
        openssl(self.dir, "req", *KEY, "-keyout", pair.key, "-out", f"{name}.csr", "-subj", subject or f"/CN={names[0] if names else name}")
        if expired:
            self._sign_with_dates(name, "20200101000000Z", "20200201000000Z")
        else:
            openssl(self.dir, "x509", "-req", "-in", f"{name}.csr", "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-out", pair.cert,
                    "-days", "30", "-extfile", f"{name}.ext")
        return pair

    def _sign_with_dates(self, name, begins, ends):
        (self.dir / f"{name}.index").write_text("")
        (self.dir / f"{name}.cnf").write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={name}.index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
        openssl(self.dir, "ca", "-batch", "-notext", "-config", f"{name}.cnf", "-cert", self.cert, "-keyfile", self.key, "-in", f"{name}.csr",
                "-out", f"{name}.pem", "-startdate", begins, "-enddate", ends, "-extfile", f"{name}.ext")

    def client_context(self, alpn=(), pair=None):
        """Trusts this authority alone."""
        context = ssl.create_default_context(cafile=self.cert)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if pair:
            context.load_cert_chain(pair.cert, pair.key)
        return context
