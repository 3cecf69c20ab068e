# SPDX-License-Identifier: MIT
"""HTTP/1 messages, parsed as strictly as RFC 9112 allows. What ginnel writes has to pass here (DESIGN 8.1)."""

import re

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
REQUEST_LINE = re.compile(rb"(" + TOKEN.pattern + rb") ([^\x00-\x20\x7f]+) HTTP/(1\.[01])")
STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9][0-9]) ([\t \x21-\x7e\x80-\xff]*)")
FIELD = re.compile(rb"(" + TOKEN.pattern + rb"):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
NO_CONTENT = (204, 304)


class Malformed(AssertionError):
    """Bytes that a strict parser refuses."""


class Message:
    """Head, content and trailers. Field names and values are str (latin-1), so every byte survives."""

    def __init__(self, raw_head):
        self.raw_head = raw_head
        self.fields = []
        self.body = b""
        self.trailers = []
        self.raw_body = b""

    def values(self, name):
        return [value for n, value in self.fields if n.lower() == name.lower()]

    def value(self, name):
        """The one value, or None. More than one is a failure."""
        values = self.values(name)
        assert len(values) < 2, f"{name} is repeated: {values}"
        return values[0] if values else None

    def has(self, name):
        return bool(self.values(name))

    def elements(self, name):
        """The elements of all the lists in fields of that name, lower-cased."""
        return [part.strip(" \t").lower() for value in self.values(name) for part in value.split(",") if part.strip(" \t")]

    def names(self):
        return [name for name, _ in self.fields]

    @property
    def raw(self):
        return self.raw_head + self.raw_body


class Request(Message):
    def __init__(self, raw_head, method, target, version):
        super().__init__(raw_head)
        self.method, self.target, self.version = method, target, version

    def __repr__(self):
        return f"<{self.method} {self.target} HTTP/{self.version} {self.fields}>"

    @property
    def framing(self):
        return _framing(self, absent="none")


class Response(Message):
    def __init__(self, raw_head, version, status, reason):
        super().__init__(raw_head)
        self.version, self.status, self.reason = version, status, reason
        self.interim = []  # the 1xx responses that came before

    def __repr__(self):
        return f"<HTTP/{self.version} {self.status} {self.reason} {self.fields}>"

    def framing_for(self, method):
        """How the content of this answer to a request of that method is delimited (RFC 9112 6.3)."""
        if method == "HEAD" or self.status < 200 or self.status in NO_CONTENT:
            return "none"
        if method == "CONNECT" and self.status < 300:
            return "none"
        return _framing(self, absent="close")

    @property
    def closes(self):
        return "close" in self.elements("connection")


def parse_request_head(raw):
    lines = _lines(raw)
    match = REQUEST_LINE.fullmatch(lines[0])
    if not match:
        raise Malformed(f"request line {lines[0]!r}")
    head = Request(raw, *(part.decode("latin-1") for part in match.groups()))
    head.fields = parse_fields(lines[1:])
    if len(head.values("host")) != 1:
        raise Malformed(f"{len(head.values('host'))} Host fields in {raw!r}")
    _check_framing(head)
    return head


def parse_response_head(raw):
    lines = _lines(raw)
    match = STATUS_LINE.fullmatch(lines[0])
    if not match:
        raise Malformed(f"status line {lines[0]!r}")
    version, status, reason = match.groups()
    head = Response(raw, version.decode(), int(status), reason.decode("latin-1"))
    head.fields = parse_fields(lines[1:])
    _check_framing(head)
    if (head.status < 200 or head.status == 204) and head.has("transfer-encoding"):
        raise Malformed(f"Transfer-Encoding in a {head.status}")
    return head


def parse_fields(lines):
    fields = []
    for line in lines:
        match = FIELD.fullmatch(line)
        if not match:
            raise Malformed(f"field line {line!r}")
        name, value = match.groups()
        fields.append((name.decode("ascii"), value.decode("latin-1").rstrip(" \t")))
    return fields


def _lines(raw):
    if not raw.endswith(b"\r\n\r\n"):
        raise Malformed(f"head without end: {raw!r}")
    lines = raw[:-4].split(b"\r\n")
    for line in lines:
        if b"\r" in line or b"\n" in line:
            raise Malformed(f"bare CR or LF in {line!r}")
    return lines


def _check_framing(head):
    lengths, codings = head.values("content-length"), head.values("transfer-encoding")
    if lengths and codings:
        raise Malformed(f"Content-Length beside Transfer-Encoding in {head.raw_head!r}")
    if len(lengths) > 1 or any(not re.fullmatch("[0-9]{1,19}", length) for length in lengths):
        raise Malformed(f"Content-Length {lengths}")
    if codings and [coding.lower() for coding in codings] != ["chunked"]:
        raise Malformed(f"Transfer-Encoding {codings}")


def _framing(head, absent):
    if head.has("transfer-encoding"):
        return "chunked"
    return "length" if head.has("content-length") else absent
