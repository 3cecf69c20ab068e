# SPDX-License-Identifier: MIT
"""Makes the bytes of well-formed messages, so that tests only spell out what is odd about theirs."""

from urllib.parse import urlsplit


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def request(method, target, *fields, host=None, body=None, version="1.1"):
    """A request. `host` is taken from an absolute target when it is not given; host=False leaves the field out.
    `fields` are whole lines without the line end. A `body` adds Content-Length unless a field frames it."""
    method, target = _bytes(method), _bytes(target)
    lines = [method + b" " + target + b" HTTP/" + _bytes(version)]
    if host is None:
        host = target if method == b"CONNECT" else urlsplit(target.decode("latin-1")).netloc
    if host is not False:
        lines.append(b"Host: " + _bytes(host))
    return _finish(lines, fields, body)


def response(status=200, *fields, body=b"", reason="OK", version="1.1"):
    """A response; Content-Length is added unless a field frames the body or body is None."""
    return _finish([b"HTTP/%s %d %s" % (_bytes(version), status, _bytes(reason))], fields, body)


def _finish(lines, fields, body):
    lines += [_bytes(field) for field in fields]
    names = {line.split(b":")[0].strip().lower() for line in lines[1:]}
    if body is not None and not names & {b"content-length", b"transfer-encoding"}:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def chunk(data, extension=b""):
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


def chunked(*parts, trailers=()):
    """A whole chunked body."""
    tail = b"".join(_bytes(line) + b"\r\n" for line in trailers)
    return b"".join(chunk(_bytes(part)) for part in parts) + b"0\r\n" + tail + b"\r\n"
