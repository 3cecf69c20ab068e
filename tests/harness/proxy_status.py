# SPDX-License-Identifier: MIT
"""A strict parser for Proxy-Status (RFC 9209): a structured list (RFC 8941) of tokens or strings with parameters."""

import re

TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
KEY = re.compile(r"[a-z*][a-z0-9_\-.*]*")
STRING = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
NUMBER = re.compile(r"-?[0-9]{1,15}(?!\.)")

# RFC 9209 2.3
ERROR_TYPES = {
    "dns_timeout", "dns_error", "destination_not_found", "destination_unavailable", "destination_ip_prohibited",
    "destination_ip_unroutable", "connection_refused", "connection_terminated", "connection_timeout",
    "connection_read_timeout", "connection_write_timeout", "connection_limit_reached", "tls_protocol_error",
    "tls_certificate_error", "tls_alert_received", "http_request_error", "http_request_denied", "http_response_incomplete",
    "http_response_header_section_size", "http_response_header_size", "http_response_body_size",
    "http_response_trailer_section_size", "http_response_trailer_size", "http_response_transfer_coding",
    "http_response_content_coding", "http_response_timeout", "http_upgrade_failed", "http_protocol_error",
    "proxy_internal_response", "proxy_internal_error", "proxy_configuration_error", "proxy_loop_detected",
}


def parse_proxy_status(values):
    """The members of all field lines together: a list of (name, {parameter: value}). Raises AssertionError."""
    text = ", ".join([values] if isinstance(values, str) else values)
    members, rest = [], text
    while True:
        member, rest = _member(rest)
        members.append(member)
        rest = rest.lstrip(" \t")
        if not rest:
            return members
        assert rest[0] == ",", f"junk in Proxy-Status: {rest!r}"
        rest = rest[1:].lstrip(" \t")
        assert rest, "Proxy-Status ends in a comma"


def _member(text):
    name, rest = _value(text, (STRING, TOKEN))
    parameters = {}
    while rest.startswith(";"):
        rest = rest[1:].lstrip(" ")
        key = KEY.match(rest)
        assert key, f"parameter name in {rest!r}"
        rest, value = rest[key.end():], True
        if rest.startswith("="):
            value, rest = _value(rest[1:], (STRING, NUMBER, TOKEN))
        parameters[key.group()] = value
    if "error" in parameters:
        assert parameters["error"] in ERROR_TYPES, f"unknown error type {parameters['error']}"
    return (name, parameters), rest


def _value(text, kinds):
    for kind in kinds:
        match = kind.match(text)
        if match:
            rest = text[match.end():]
            if kind is STRING:
                return re.sub(r"\\(.)", r"\1", match.group(1)), rest
            return int(match.group()) if kind is NUMBER else match.group(), rest
    raise AssertionError(f"no item at {text!r}")
