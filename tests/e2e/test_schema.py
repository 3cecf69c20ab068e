# SPDX-License-Identifier: MIT
"""`config schema`: a schema that editors take, and that agrees with the language: what is right passes, what is wrong does not.

Editors read YAML 1.2, where `on` is a text; others read 1.1, where it is a boolean. Both must pass."""

import json
import pathlib
import re
import subprocess

import pytest
import yaml
from jsonschema import Draft7Validator

from harness import binary

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Yaml12(yaml.SafeLoader):
    """The core schema of YAML 1.2, as far as it matters: only true and false are booleans, 1:30 is a text."""


Yaml12.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rsplit(":", 1)[1] not in ("bool", "int", "timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Yaml12.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))
Yaml12.add_implicit_resolver("tag:yaml.org,2002:int", re.compile("^[-+]?[0-9]+$"), list("-+0123456789"))
LOADERS = [yaml.SafeLoader, Yaml12]


def examples():
    """Every fenced text of the manual that is announced as YAML or as a file of it, and the configurations of this repository."""
    lines = (ROOT / "man" / "ginnel.yaml.5.scd").read_text().split("\n")
    for number, line in enumerate(lines):
        if re.match(r"; (yaml|file .*\.yaml)", line):
            end = lines.index("```", number + 2)
            yield pytest.param("\n".join(lines[number + 2:end]), id=f"manual-{number + 1}")
    for path in [ROOT / "bench" / "bench.yaml", *sorted((ROOT / "dist").rglob("*.yaml"))]:
        yield pytest.param(path.read_text(), id=str(path.relative_to(ROOT)))


@pytest.fixture(scope="module")
def schema():
    made = subprocess.run([binary(), "config", "schema"], capture_output=True, text=True, check=True, timeout=60)
    assert made.stderr == ""
    return json.loads(made.stdout)


@pytest.fixture(scope="module")
def validator(schema):
    return Draft7Validator(schema)


def complaints(validator, document):
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(document)]


def test_is_a_schema(schema):
    Draft7Validator.check_schema(schema)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"


def nodes(value):
    yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(child)


def test_references_lead_somewhere(schema):
    used = {node["$ref"] for node in nodes(schema) if isinstance(node, dict) and isinstance(node.get("$ref"), str)}
    assert used == {f"#/definitions/{name}" for name in schema["definitions"]}


def test_patterns_are_anchored(schema):
    patterns = [node["pattern"] for node in nodes(schema) if isinstance(node, dict) and isinstance(node.get("pattern"), str)]
    assert len(patterns) > 20
    for pattern in patterns:
        assert pattern[0] == "^" and pattern[-1] == "$"
        re.compile(pattern)


def test_every_key_is_described(schema):
    keys = schema["properties"]
    assert {"listen", "clients", "rules", "log", "timeouts", "workers"} <= keys.keys()
    for name, key in keys.items():
        assert key["description"], name
        assert not re.search(r"[*\\]|\b_\w|\w_\b", key["description"]) or name in ("name", "include"), key["description"]
    assert keys["intercept"]["description"].endswith("(not in this version)")
    assert "(not in this version)" not in keys["listen"]["description"]
    sizes = keys["sizes"]["anyOf"][0]["properties"]
    assert (sizes["line"]["default"], sizes["fields"]["default"]) == ("16KB", 200)
    assert keys["via"]["default"] is True


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("text", examples())
def test_examples(validator, text, loader):
    assert not complaints(validator, yaml.load(text, loader))


@pytest.mark.parametrize("loader", LOADERS)
def test_whatever_check_accepts(validator, loader):
    """The samples of the configuration's own tests: those that are right."""
    right = [path for path in sorted((ROOT / "tests" / "golden" / "conf").rglob("*.yaml"))
             if subprocess.run([binary(), "check", str(path)], capture_output=True, check=False, timeout=60).returncode == 0]
    assert len(right) >= 2
    for path in right:
        assert not complaints(validator, yaml.load(path.read_text(), loader)), path


RIGHT = """
{}
timeouts:
log:
# nothing
listen: localhost:0
listen: ["[::1]:3128", unix:/run/g.sock, {address: 10.0.0.1:1, name: 7, clients: any, reasons: none}]
clients: [10.0.0.0/8, "::1", "2001:db8::/32", ./clients.txt, /etc/clients, any]
via: off
via: yes
via: "true"
workers: auto
workers: 4
workers: "4"
name: egress-1
name: 12
sizes: {line: 512, head: 64KB, fields: 10}
timeouts: {connect: 500ms, drain: 0s, tunnel: 12h}
resolver: {family: 4}
resolver: {family: prefer-4, servers: [192.0.2.53, "[2001:db8::53]:5353"], system: no}
log: {access: off}
log: {access: /var/log/access, format: json, level: debug, tunnels: every 5m}
log: {for: .example.com}
log: [{access: stderr, for: {host: [.a.example, ./hosts.txt], port: [443, 8000-8099]}}, {access: "syslog:127.0.0.1:514"}]
log: {access: syslog, tunnels: both, for: [{method: GET, from: 10.0.0.0/8}, b.example]}
admin: 127.0.0.1:8128
admin: off
control: "unix:"
control: unix:/run/g/control.sock
control: off
include: [tenants/*.yaml, more.yaml]
rules: []
rules: {allow: any}
rules: [{allow: [.a.example, {host: b.example, port: 443}], name: one}, {deny: any, say: no}]
limits: {per: client, requests: 50/s, burst: 100}
limits: [{bandwidth: 20MB/s}, {quota: 500GB/month}]
upstream: [{for: .a.example, via: ["http://p.example:8080", direct]}, deny]
origins: {for: .old.example, min: 1.2}
policy: report
policy: {say: "Ask us"}
users: users.htpasswd
values: {token: {file: /run/secrets/token}}
intercept: {only: .a.example, never: [{host: b.example}], learn: no, ca: {cert: ca.pem}}
rewrite: {for: .a.example, respond: {status: 503, body: gone}}
""".strip().split("\n")

WRONG = """
[]
lisen: localhost:0
listen: 3128
listen: example.com:80
listen: {name: lan}
listen: {address: 10.0.0.1:1, port: 1}
clients: 10.0.0.0-10.0.0.9
clients: {from: 10.0.0.0/8}
via: maybe
workers: 0
workers: 65
workers: many
workers: [1]
name: "a b"
sizes: {line: 1}
sizes: {line: 16kB}
sizes: {lines: 1KB}
sizes: 16KB
timeouts: {connect: 10}
timeouts: {connect: 10 s}
timeouts: {connect: {}}
resolver: {family: 5}
resolver: {servers: [dns.example]}
log: {access: access.log}
log: {format: xml}
log: {tunnels: 5m}
log: {for: {hots: a}}
log: {for: {port: 0}}
log: {for: {port: 70000}}
log: {for: {path: v1}}
log: [{level: loud}]
admin: 8128
control: /run/g.sock
rules: [{name: a}]
rules: [{allow: any, deny: any}]
rules: {allow: any, prot: 443}
rules: allow
limits: [{per: client}]
limits: [{requests: 50}]
limits: [{bandwidth: 20MB}]
limits: [{quota: 500GB/year}]
upstream: [sideways]
upstream: [{for: a.example}]
upstream: {via: p.example}
origins: [{min: old}]
users: {file: a, command: b}
users: {groups: a}
rewrite: {for: a.example}
rewrite: {respond: {status: 99}}
rewrite: {respond: {body: x}}
policy: {mode: soft}
values: {token: x}
intercept: {order: first}
private: perhaps
""".strip().split("\n")


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("text", RIGHT)
def test_right(validator, text, loader):
    assert not complaints(validator, yaml.load(text, loader))


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("text", WRONG)
def test_wrong(validator, text, loader):
    assert complaints(validator, yaml.load(text, loader))
