# SPDX-License-Identifier: MIT
"""ginnel-dump for gdb: what every worker is doing, from a living process or from a core, by debug information alone: nothing is called.

    gdb -q -batch -x ginnel.py -ex ginnel-dump -p PID
    gdb -q -batch -x ginnel.py -ex ginnel-dump /usr/bin/ginnel CORE

ginnel-dump [SESSIONS]: so many sessions of each worker at most (200)."""

import socket
import sys

import gdb

LIST_BOUND = 1_000_000  # a ring that is damaged must not keep gdb busy for ever


def members(head, type_name, member):
    """The entries of an intrusive list (base/list.h)."""
    kind = gdb.lookup_type(type_name)
    offset = next(f.bitpos // 8 for f in kind.fields() if f.name == member)
    char = gdb.lookup_type("char").pointer()
    link, end = head["next"], head.address
    for _ in range(LIST_BOUND):
        if link == end or int(link) == 0:
            return
        yield (link.cast(char) - offset).cast(kind.pointer()).dereference()
        link = link["next"]


def length(head):
    link, n = head["next"], 0
    while link != head.address and int(link) and n < LIST_BOUND:
        link, n = link["next"], n + 1
    return n


def word(value, enum):
    """STEP_RELAY is relay."""
    return str(value.cast(gdb.lookup_type(f"enum {enum}"))).split("_", 1)[-1].lower()


def text(z):
    return z.string(errors="replace") if int(z) else "-"


def chars(s):
    """A slice (base/slice.h), safe to print."""
    n = min(int(s["n"]), 253)
    if not n or not int(s["p"]):
        return "-"
    return printable(gdb.selected_inferior().read_memory(int(s["p"]), n).tobytes())


def printable(raw):
    return "".join(chr(b) if 0x20 < b < 0x7f and b != 0x5c else f"\\x{b:02x}" for b in raw)


def address(a):
    family = int(a["sa"]["sa_family"])
    part, raw = {socket.AF_INET: ("in", "sin"), socket.AF_INET6: ("in6", "sin6")}.get(family, (None, None))
    if not part:
        return "-" if family == 0 else "unix"
    value = a[part]
    packed = gdb.selected_inferior().read_memory(int(value[f"{raw}_addr"].address), 4 if raw == "sin" else 16).tobytes()
    port = socket.ntohs(int(value[f"{raw}_port"]))
    host = socket.inet_ntop(family, packed)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def seconds(ms):
    return f"{max(int(ms), 0) / 1000:.1f}s"


def container(pointer, type_name, member):
    kind = gdb.lookup_type(type_name)
    offset = next(f.bitpos // 8 for f in kind.fields() if f.name == member)
    return (pointer.cast(gdb.lookup_type("char").pointer()) - offset).cast(kind.pointer()).dereference()


def conn(c):
    """What a connection has ready, by its flags."""
    ready = int(c["ready"])
    words = ["ready " + (("r" if ready & 1 else "") + ("w" if ready & 2 else "") or "-")]
    words += [name for name in ("hup", "eof", "shut") if bool(c[name])]
    if int(c["error"]):
        words.append(f"error {int(c['error'])}")
    if text(c["ops"]["name"]) == "tcp":
        words.append(f"fd {int(container(c.address, 'struct conn_tcp', 'conn')['fd'])}")
    return " ".join(words)


def wire(stream):
    """The wire under a stream, None for a local reply."""
    name = text(stream["ops"]["name"])
    if name == "conn":
        return container(stream.address, "struct stream_conn", "stream")["wire"]
    if name.startswith("h2-"):
        return container(stream.address, "struct stream_h2", "stream")["mux"]["wire"]
    if name.startswith("h1-"):
        return container(stream.address, "struct mux_h1", "stream")["wire"]
    return None


def side(name, pointer):
    if not int(pointer):
        return f"{name} none"
    stream = pointer.dereference()
    out = f"{name} {word(stream['rx'], 'stream_state')}/{word(stream['tx'], 'stream_state')}"
    under = wire(stream)
    if under is None or not int(under["conn"]):
        return out
    out += " " + conn(under["conn"].dereference())
    for member, what in (("in", "unread"), ("out", "unsent")):
        if int(under[member]["len"]):
            out += f" {what} {int(under[member]['len'])}"
    return out


def pump(name, p):
    out = f"{name} {word(p['state'], 'pump_state')}"
    if bool(p["wants_tx"]):
        out += " waits for room"
    if int(p["pipe"]) and int(p["pipe"]["bytes"]):
        out += f" piped {int(p['pipe']['bytes'])}"
    return out


def trail(x):
    kind = gdb.lookup_type("enum xstep")
    steps = [x["trail"][i].cast(kind) for i in range(x["trail"].type.range()[1] + 1)]
    # Zeros stand where there was no transition yet, and zero is step head, where every exchange begins.
    while len(steps) > 1 and int(steps[0]) == 0 and int(steps[1]) == 0:
        steps.pop(0)
    return " ".join(word(s, "xstep") for s in steps)


def queued(task):
    return ", queued" if task["link"]["next"] != task["link"].address else ""


def say(line):
    gdb.write(line + "\n")


class Folded:
    """A quiet tunnel's record (proxy/access_fold.c)."""

    TEXTS = ("method", "host")  # the first of them
    ADDRESS = {socket.AF_INET: 8, socket.AF_INET6: 28}

    def __init__(self, f):
        self.at = int(f["rest"].address)
        self.values = {name: int(f[name]) for name in ("id", "start_us", "port", "status")}
        for way in ("bytes_up", "bytes_down"):
            self.values[way] = int.from_bytes(self.bytes(8), sys.byteorder) if int(f["flags"]) & 8 else 0
        self.values["peer"], _ = self.address(), self.address()
        for i, name in enumerate(self.TEXTS):
            self.values[name] = self.chars() if int(f["texts"]) >> i & 1 else "-"

    def bytes(self, n):
        raw = gdb.selected_inferior().read_memory(self.at, n).tobytes() if n else b""
        self.at += n
        return raw

    def address(self):
        family = int.from_bytes(self.bytes(2), sys.byteorder)
        raw = self.bytes(self.ADDRESS.get(family, 2) - 2)
        if family not in self.ADDRESS:
            return "-"
        host = socket.inet_ntop(family, raw[2:6] if family == socket.AF_INET else raw[6:22])
        port = int.from_bytes(raw[:2], "big")
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def chars(self):
        return printable(self.bytes(int.from_bytes(self.bytes(2), sys.byteorder)))


def record_of(x):
    """What is printed of a record, by its members' names."""
    if not int(x["rec"]):
        return Folded(x["folded"].dereference()).values
    r = x["rec"].dereference()
    values = {name: int(r[name]) for name in ("id", "start_us", "bytes_up", "bytes_down", "port", "status")}
    return values | {"peer": address(r["peer"]), "method": chars(r["method"]), "host": chars(r["host"])}


def exchange(x, loop):
    record, now_ms = record_of(x), int(loop["now_ms"])
    target = f"{record['method']} {record['host']} port {record['port']} at {record['peer']}"
    moved = [record[f"bytes_{way}"] + int(x["relay"][way]["bytes"]) for way in ("up", "down")]
    say(f"  {word(x['step'], 'xstep')} exchange {record['id']}: {address(x['session']['client'])}, {target}, {record['status']}, "
        f"age {seconds(now_ms - record['start_us'] // 1000)}, deadline {seconds(int(x['deadline_ms']) - now_ms)} "
        f"({word(x['deadline_reason'], 'end_reason').replace('_', '-')}), up {moved[0]}, down {moved[1]}{queued(x['task'])}")
    say(f"    steps {trail(x)}; {side('client', x['client'])}; {side('origin', x['upstream'])}; "
        f"{pump('up', x['relay']['up'])}; {pump('down', x['relay']['down'])}")


def session(s, loop):
    if int(s["n_xchgs"]):
        for x in members(s["xchgs"], "struct xchg", "link"):
            exchange(x, loop)
        return
    now_ms = int(loop["now_ms"])
    state = "idle" if bool(s["idle"]) else word(s["state"], "session_state")
    deadline = seconds(int(s["deadline_ms"]) - now_ms) if int(s["deadline_ms"]) else "none"
    under = s["conn"] if int(s["conn"]) else s["mux"]["conn"] if int(s["mux"]) else None
    say(f"  {state}: {address(s['client'])}, age {seconds(now_ms - int(s['since_ms']))}, deadline {deadline}{queued(s['task'])}")
    if under is not None and int(under):
        say(f"    client {conn(under.dereference())}")


def worker(w, name, most):
    loop = w["loop"]
    running = loop["running"]
    say(f"worker {name}: {word(w['phase'], 'worker_phase')}, turn {int(loop['turns'])}, tasks run {int(loop['tasks_run'])}, "
        f"queued {length(loop['small'])} and bulk {length(loop['bulk'])}, timers {int(loop['wheel']['n'])}, sessions {int(w['load'])}")
    if int(running):
        say(f"  runs task {text(running['name'])}")
    for n, s in enumerate(members(w["sessions"], "struct session", "link")):
        if n == most:
            say("  …")
            return
        session(s, loop)


class Dump(gdb.Command):
    """What every worker of ginnel is doing. ginnel-dump [SESSIONS]: so many of each worker at most (200)."""

    def __init__(self):
        super().__init__("ginnel-dump", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        most = int(argument) if argument.strip() else 200
        symbol = gdb.lookup_static_symbol("the_server") or gdb.lookup_global_symbol("the_server")
        if symbol is None:
            raise gdb.GdbError("no debug information of ginnel: give gdb the program, or install what was stripped of it")
        server = symbol.value()
        if not int(server):
            raise gdb.GdbError("ginnel is not serving")
        for i in range(int(server["n_started"])):
            w = server["workers"][i]
            worker(w.dereference(), int(w["id"]), most)
        if bool(server["house_made"]):
            worker(server["house"], "house", most)


Dump()
