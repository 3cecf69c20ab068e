#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The guard's table against one that others keep: the `ipaddress` module of Debian's Python, whose blocks follow IANA's registries too (U3).

Every block of both is asked for at both ends and just outside of them, and so are addresses that are drawn with a seed, plain and as IPv4 hidden
in IPv6. Where the two differ, DIFFERENCES says why; an entry of it that explains nothing any more is an error as well, except those that a newer
Python may have made needless.
Usage: test_guard_ipaddress.py GUARD_ANSWERS
"""
import ipaddress
import random
import subprocess
import sys

V4, V6 = ipaddress.IPv4Address, ipaddress.IPv6Address

# Blocks that the guard refuses and Python does not, and why. The other way round there is none.
DIFFERENCES = [
    # `is_global` asks IANA's column "globally reachable". The guard refuses what has a special purpose, reachable or not: nobody's site is there,
    # and what answers is the nearest machine of the operator's own network (anycast), not one that the client could have meant.
    ("192.0.0.9/32", "PCP anycast, globally reachable"),
    ("192.0.0.10/32", "TURN anycast, globally reachable"),
    ("192.31.196.0/24", "AS112-v4, globally reachable"),
    ("192.52.193.0/24", "AMT, globally reachable"),
    ("192.175.48.0/24", "AS112 direct delegation, globally reachable"),
    ("192.88.99.0/24", "6to4 relay anycast: deprecated by RFC 7526, its column says nothing"),
    ("2001:1::1/128", "PCP anycast, globally reachable"),
    ("2001:1::2/128", "TURN anycast, globally reachable"),
    ("2001:3::/32", "AMT, globally reachable"),
    ("2001:4:112::/48", "AS112-v6, globally reachable"),
    ("2001:20::/28", "ORCHIDv2: names of hosts, not addresses (RFC 7343)"),
    ("2001:30::/28", "drone remote identification, not addresses of hosts (RFC 9374)"),
    ("2620:4f:8000::/48", "AS112 direct delegation, globally reachable"),
    # Which no registry has: a public address of a cloud's provider that serves each machine its own secrets.
    ("168.63.129.16/32", "Azure's metadata"),
    # The prefix of any network, and then an IPv4 address behind the network's own router (RFC 5214).
    ("isatap", "ISATAP"),
    # Newer than Python 3.11's tables.
    ("3fff::/20", "documentation since RFC 9637"),
]
YOUNG = {"3fff::/20"}


def meant(a):
    """An IPv4-mapped address is the IPv4 address. What lies behind the well-known prefix (RFC 6052) is the IPv4 Internet of those who have IPv6 only, so
    the guard judges what is inside; Python has the whole of ::/8 as reserved."""
    return V4(int(a) & 0xFFFFFFFF) if a.version == 6 and int(a) >> 32 in (0xFFFF, 0x64FF9B << 64) else a


def public(a):
    """Python's opinion."""
    return a.is_global and not (a.is_multicast or a.is_reserved or a.is_link_local or getattr(a, "is_site_local", False))


def is_isatap(a):
    return a.version == 6 and int(a) >> 32 & 0xFDFFFFFF == 0x5EFE


def explained(a):
    return next((block for block, _ in DIFFERENCES if (is_isatap(a) if block == "isatap" else a in ipaddress.ip_network(block))), None)


def python_blocks():
    for version in (ipaddress._IPv4Constants, ipaddress._IPv6Constants):
        for name, value in sorted(vars(version).items()):
            if isinstance(value, (ipaddress.IPv4Network, ipaddress.IPv6Network)):
                yield value
            elif name.endswith(("_networks", "_exceptions")):
                yield from value


def around(block):
    first, last, top = int(block[0]), int(block[-1]), 2**block.max_prefixlen - 1
    return {type(block[0])(n) for n in (first - 1, first, first + 1, last - 1, last, last + 1) if 0 <= n <= top}


def hidden(v4):
    """The ways in which IPv4 stands inside IPv6 of which both have an opinion."""
    n = int(v4)
    yield V6(0xFFFF << 32 | n)
    yield V6(0x64FF9B << 96 | n)
    yield V6(0x2002 << 112 | n << 80)
    yield V6(0x2001 << 112 | n << 64)
    yield V6(0x2A00 << 112 | 0x5EFE << 32 | n)


def points(blocks):
    draw = random.Random(6890)
    for block in blocks:
        yield from sorted(around(block))
        yield from (block[draw.randrange(block.num_addresses)] for _ in range(4))
    yield from (V4(draw.getrandbits(32)) for _ in range(2000))
    yield from (V6(draw.getrandbits(128)) for _ in range(500))
    yield from (V6(0x2 << 124 | draw.getrandbits(125)) for _ in range(1500))


def main():
    answers = sys.argv[1]
    ours = subprocess.run([answers], capture_output=True, text=True, check=True).stdout.split()
    theirs = list(python_blocks())
    blocks = [ipaddress.ip_network(b) for b in ours if not b.startswith("PREFIX")] + theirs
    all_points = list(points(blocks))
    all_points += [h for a in all_points if a.version == 4 for h in hidden(a)]
    all_points = list(dict.fromkeys(all_points))
    said = subprocess.run([answers, "-"], input="".join(f"{a}\n" for a in all_points), capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
    assert len(ours) > 50 and len(theirs) > 40 and len(said) == len(all_points) > 5000, (len(ours), len(theirs), len(said), len(all_points))
    wrong, used, agreed = [], set(), {True: 0, False: 0}
    for a, block in zip(all_points, said):
        refused, theirs_is = block != "public", public(meant(a))
        if refused != theirs_is:
            agreed[refused] += 1
        elif refused and explained(meant(a)):
            used.add(explained(meant(a)))
        else:
            wrong.append(f"{a}: the guard says {block}, Python {'public' if theirs_is else 'not public'}, and nothing says why they differ")
    for block, why in DIFFERENCES:
        if block not in used and block not in YOUNG:
            wrong.append(f"{block} ({why}) explains nothing")
    print(f"{len(blocks)} blocks, {len(all_points)} addresses: {agreed[True]} refused by both, {agreed[False]} public for both; "
          f"{len(used)} blocks differ and are explained")
    for line in wrong[:40]:
        print(line)
    return 1 if wrong or not all(agreed.values()) else 0


sys.exit(main())
