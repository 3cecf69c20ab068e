# SPDX-License-Identifier: MIT
"""Handmade ClientHellos, and what TLS servers begin to answer with."""

RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


def extension(kind, data=b""):
    return kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def server_name(*names):
    names = b"".join(b"\0" + len(n).to_bytes(2, "big") + n for n in map(_bytes, names))
    return extension(0, len(names).to_bytes(2, "big") + names)


def client_hello(name=None, *extensions, versions=True, ech=False, record=16384):
    """For that name (none: no server_name), in records of at most so many bytes."""
    block = b"".join([extension(43, b"\4\3\4\3\3") if versions else b"", server_name(name) if name is not None else b"",
                      extension(0xFE0D, bytes(160)) if ech else b"", *extensions])
    body = b"\3\3" + bytes(32) + b"\x20" + bytes(32) + b"\0\2\x13\1" + b"\1\0" + len(block).to_bytes(2, "big") + block
    return records(b"\1" + len(body).to_bytes(3, "big") + body, record)


def server_hello(random=b"r" * 32):
    body = b"\3\3" + random + b"\0\x13\1\0\0\0"
    return records(b"\2" + len(body).to_bytes(3, "big") + body)


def records(message, most=16384):
    pieces = [message[i:i + most] for i in range(0, len(message), most)]
    return b"".join(b"\x16\3\1" + len(p).to_bytes(2, "big") + p for p in pieces)


def _bytes(name):
    return name if isinstance(name, bytes) else name.encode()
