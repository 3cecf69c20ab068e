/* SPDX-License-Identifier: MIT */
/* guard: the table, and the ways in which an IPv4 address can hide in an IPv6 one. Asked by policy for each address just before it is dialled. It
 * knows nothing of rules: what opens a block is policy's to say. Sources: IANA's IPv4 and IPv6 special-purpose address registries
 * (RFC 6890, RFC 8190) as of October 2025, the IPv6 address space registry, and the documents of the clouds for the addresses of their metadata services.
 */
#include "policy/guard.h"

#include "base/base.h"

#include <stddef.h>

/* X4(address, bits, range, name, metadata) and X6(upper half, lower half, bits, range, name, metadata). The narrower comes first. */
#define BLOCKS_V4                                                                                  \
    X4(0x646464c8, 32, "100.100.100.200", "cloud metadata", true)                                  \
    X4(0xa83f8110, 32, "168.63.129.16", "cloud metadata", true)                                    \
    X4(0xc00000c0, 32, "192.0.0.192", "cloud metadata", true)                                      \
    X4(0xa9fe0000, 16, "169.254.0.0/16", "link-local", true)                                       \
    X4(0x00000000, 8, "0.0.0.0/8", "this network", false)                                          \
    X4(0x0a000000, 8, "10.0.0.0/8", "private use", false)                                          \
    X4(0x64400000, 10, "100.64.0.0/10", "shared address space", false)                             \
    X4(0x7f000000, 8, "127.0.0.0/8", "loopback", false)                                            \
    X4(0xac100000, 12, "172.16.0.0/12", "private use", false)                                      \
    X4(0xc0000000, 29, "192.0.0.0/29", "DS-Lite", false)                                           \
    X4(0xc0000008, 32, "192.0.0.8", "IPv4 dummy address", false)                                   \
    X4(0xc0000009, 32, "192.0.0.9", "port control anycast", false)                                 \
    X4(0xc000000a, 32, "192.0.0.10", "TURN anycast", false)                                        \
    X4(0xc00000aa, 31, "192.0.0.170/31", "NAT64 discovery", false)                                 \
    X4(0xc0000000, 24, "192.0.0.0/24", "protocol assignments", false)                              \
    X4(0xc0000200, 24, "192.0.2.0/24", "documentation", false)                                     \
    X4(0xc01fc400, 24, "192.31.196.0/24", "AS112", false)                                          \
    X4(0xc034c100, 24, "192.52.193.0/24", "multicast tunnelling", false)                           \
    X4(0xc0586302, 32, "192.88.99.2", "6a44 relay anycast", false)                                 \
    X4(0xc0586300, 24, "192.88.99.0/24", "6to4 relay anycast", false)                              \
    X4(0xc0a80000, 16, "192.168.0.0/16", "private use", false)                                     \
    X4(0xc0af3000, 24, "192.175.48.0/24", "AS112", false)                                          \
    X4(0xc6120000, 15, "198.18.0.0/15", "benchmarking", false)                                     \
    X4(0xc6336400, 24, "198.51.100.0/24", "documentation", false)                                  \
    X4(0xcb007100, 24, "203.0.113.0/24", "documentation", false)                                   \
    X4(0xe0000000, 4, "224.0.0.0/4", "multicast", false)                                           \
    X4(0xffffffff, 32, "255.255.255.255", "limited broadcast", false)                              \
    X4(0xf0000000, 4, "240.0.0.0/4", "reserved", false)

#define BLOCKS_V6                                                                                  \
    X6(0xfd000ec200000000, 0x254, 128, "fd00:ec2::254", "cloud metadata", true)                    \
    X6(0xfd000ec200000000, 0x23, 128, "fd00:ec2::23", "cloud metadata", true)                      \
    X6(0xfd2000ce00000000, 0x254, 128, "fd20:ce::254", "cloud metadata", true)                     \
    X6(0xfd0000c100000000, 0xa9fea9fe, 128, "fd00:c1::a9fe:a9fe", "cloud metadata", true)          \
    X6(0xfd00004200000000, 0x42, 128, "fd00:42::42", "cloud metadata", true)                       \
    X6(0xfe80000000000000, 0xa9fea9fe, 128, "fe80::a9fe:a9fe", "cloud metadata", true)             \
    X6(0, 0, 128, "::", "unspecified", false)                                                      \
    X6(0, 1, 128, "::1", "loopback", false)                                                        \
    X6(0, 0, 96, "::/96", "IPv4-compatible", false)                                                \
    X6(0, 0xffff000000000000, 96, "::ffff:0:0:0/96", "IPv4-translated", false)                     \
    X6(0x0064ff9b00010000, 0, 48, "64:ff9b:1::/48", "local NAT64", false)                          \
    X6(0x0100000000000000, 0, 64, "100::/64", "discard-only", false)                               \
    X6(0x0100000000000001, 0, 64, "100:0:0:1::/64", "IPv6 dummy prefix", false)                    \
    X6(0x2001000000000000, 0, 32, "2001::/32", "Teredo", false)                                    \
    X6(0x2001000100000000, 1, 128, "2001:1::1", "port control anycast", false)                     \
    X6(0x2001000100000000, 2, 128, "2001:1::2", "TURN anycast", false)                             \
    X6(0x2001000100000000, 3, 128, "2001:1::3", "service registration anycast", false)             \
    X6(0x2001000200000000, 0, 48, "2001:2::/48", "benchmarking", false)                            \
    X6(0x2001000300000000, 0, 32, "2001:3::/32", "multicast tunnelling", false)                    \
    X6(0x2001000401120000, 0, 48, "2001:4:112::/48", "AS112", false)                               \
    X6(0x2001001000000000, 0, 28, "2001:10::/28", "ORCHID", false)                                 \
    X6(0x2001002000000000, 0, 28, "2001:20::/28", "ORCHIDv2", false)                               \
    X6(0x2001003000000000, 0, 28, "2001:30::/28", "drone remote identification", false)            \
    X6(0x2001000000000000, 0, 23, "2001::/23", "protocol assignments", false)                      \
    X6(0x20010db800000000, 0, 32, "2001:db8::/32", "documentation", false)                         \
    X6(0x2002000000000000, 0, 16, "2002::/16", "6to4", false)                                      \
    X6(0x2620004f80000000, 0, 48, "2620:4f:8000::/48", "AS112", false)                             \
    X6(0x3fff000000000000, 0, 20, "3fff::/20", "documentation", false)                             \
    X6(0x5f00000000000000, 0, 16, "5f00::/16", "segment routing", false)                           \
    X6(0xfc00000000000000, 0, 7, "fc00::/7", "unique local", false)                                \
    X6(0xfe80000000000000, 0, 10, "fe80::/10", "link-local", false)                                \
    X6(0xfec0000000000000, 0, 10, "fec0::/10", "site-local", false)                                \
    X6(0xff00000000000000, 0, 8, "ff00::/8", "multicast", false)                                   \
    /* What nobody has been given yet leads nowhere that is public. */                             \
    X6(0, 0, 3, "::/3", "reserved", false)                                                         \
    X6(0x4000000000000000, 0, 2, "4000::/2", "reserved", false)                                    \
    X6(0x8000000000000000, 0, 1, "8000::/1", "reserved", false)

#define BLOCK(range, name, metadata) {range, name, range " (" name ")", metadata},
#define X4(address, bits, range, name, metadata)    BLOCK(range, name, metadata)
#define X6(hi, lo, bits, range, name, metadata)     BLOCK(range, name, metadata)
const struct guard_block guard_blocks[] = {
    BLOCKS_V4 BLOCKS_V6 BLOCK("PREFIX:0:5efe:0:0/96", "ISATAP", false) {.range = NULL},
};
#undef X4
#undef X6

enum { MAPPED = 96 }; /* bits of ::ffff:0:0/96, as which addr_key has IPv4 */

/* The upper n bits (0..128) of a pair of halves. */
#define MASK_HI(n) ((n) >= 64 ? UINT64_MAX : ~(UINT64_MAX >> ((n) & 63)))
#define MASK_LO(n) ((n) >= 128 ? UINT64_MAX : (n) <= 64 ? 0 : ~(UINT64_MAX >> ((n) & 63)))

#define X4(address, bits, range, name, metadata)                                                   \
    {.lo = 0xffff00000000 | (address), .mask_hi = UINT64_MAX, .mask_lo = MASK_LO(MAPPED + (bits)), .v4 = true},
#define X6(upper, lower, bits, range, name, metadata)                                              \
    {.hi = (upper), .lo = (lower), .mask_hi = MASK_HI(bits), .mask_lo = MASK_LO(bits)},
/* The same, in the same order. */
static const struct addr_range prefixes[] = {BLOCKS_V4 BLOCKS_V6};
#undef X4
#undef X6

#define X4(address, bits, range, name, metadata) +1
enum { FIRST_V6 = 0 BLOCKS_V4, ISATAP = ARRAY_LEN(prefixes) };
#undef X4

/* The first bytes of IPv4 addresses that some block has, as bits: no other address needs a look at the table. No block but those from 224.0.0.0 on
 * begins with less than a byte. */
#define X4(address, bits, range, name, metadata) | ((address) >> 30 == WORD ? (uint64_t)1 << ((address) >> 24 & 63) : 0)
static const uint64_t first_bytes[] = {
#define WORD 0u
    0 BLOCKS_V4,
#undef WORD
#define WORD 1u
    0 BLOCKS_V4,
#undef WORD
#define WORD 2u
    0 BLOCKS_V4,
#undef WORD
#define WORD 3u
    (0 BLOCKS_V4) | ~(UINT64_MAX >> 32),
#undef WORD
};
#undef X4

/* Whether the address may be in a block: two in three IPv4 addresses, and nearly all of 2000::/3, are in none. */
static bool is_suspect(const struct addr_key *k)
{
    if (k->v4)
        return first_bytes[k->lo >> 30 & 3] >> (k->lo >> 24 & 63) & 1;
    switch (k->hi >> 48) {
    case 0x2001:
    case 0x2002:
    case 0x2620:
    case 0x3fff:
        return true;
    default:
        return k->hi >> 61 != 1; /* outside 2000::/3 */
    }
}

static const struct guard_block *find_block(const struct addr_key *k, bool metadata)
{
    if (!is_suspect(k))
        return NULL;
    for (size_t i = k->v4 ? 0 : FIRST_V6; i < (k->v4 ? FIRST_V6 : ARRAY_LEN(prefixes)); i++)
        if ((!metadata || guard_blocks[i].metadata) && addr_key_in(k, &prefixes[i]))
            return &guard_blocks[i];
    return NULL;
}

/* ---- IPv4 inside IPv6 ---- */

/* 64:ff9b:1::/48 may be divided in four ways, and be ISATAP besides. */
enum { HIDDEN_MAX = 5 };

struct hidden {
    struct addr_key v[HIDDEN_MAX];
    unsigned n;
};

static void hide(struct hidden *h, uint64_t address)
{
    h->v[h->n++] = (struct addr_key){.lo = 0xffff00000000 | (uint32_t)address, .v4 = true};
}

static bool is_nat64(const struct addr_key *k)
{
    return k->hi == 0x0064ff9b00000000 && k->lo >> 32 == 0;
}

/* RFC 8215: an operator divides it as he likes; where an address begins says RFC 6052 2.2, whose bits 64 to 71 are left out. */
static void find_local_nat64(const struct addr_key *k, struct hidden *h)
{
    hide(h, (k->hi & 0xffff) << 16 | (k->lo >> 40 & 0xffff)); /* /48 */
    hide(h, (k->hi & 0xff) << 24 | (k->lo >> 32 & 0xffffff)); /* /56 */
    hide(h, k->lo >> 24);                                     /* /64 */
    hide(h, k->lo);                                           /* /96 */
}

static bool is_isatap(const struct addr_key *k)
{
    return (k->lo >> 32 & ~(uint64_t)0x02000000) == 0x5efe; /* RFC 5214 6.1; the bit says that it is unique */
}

static void find_hidden(const struct addr_key *k, struct hidden *h)
{
    h->n = 0;
    if (k->v4)
        return;
    if (is_nat64(k) || (k->hi == 0 && (k->lo >> 32 == 0 || k->lo >> 32 == 0xffff0000)))
        hide(h, k->lo);
    if (k->hi >> 16 == 0x0064ff9b0001)
        find_local_nat64(k, h);
    if (k->hi >> 48 == 0x2002)
        hide(h, k->hi >> 16); /* RFC 3056 2 */
    if (k->hi >> 32 == 0x20010000) {
        hide(h, k->hi);  /* the server (RFC 4380 4) */
        hide(h, ~k->lo); /* the client, turned round */
    }
    if (is_isatap(k))
        hide(h, k->lo);
}

/* The block of one that is inside. What is inside an IPv4 address is nothing, so one look is enough. */
static const struct guard_block *find_inside(const struct addr_key *k, bool metadata)
{
    const struct guard_block *b = NULL;
    struct hidden h;

    find_hidden(k, &h);
    for (unsigned i = 0; i < h.n && !b; i++)
        b = find_block(&h.v[i], metadata);
    return b;
}

static const struct guard_block *find_metadata(const struct addr_key *k)
{
    const struct guard_block *b = find_block(k, true);

    return b ? b : find_inside(k, true);
}

static const struct guard_block *find_any(const struct addr_key *k)
{
    const struct guard_block *b;

    /* Where such an address leads is the Internet of those who have IPv6 only. */
    if (!k->v4 && is_nat64(k))
        return find_inside(k, false);
    b = find_block(k, false);
    if (!b && !k->v4 && is_isatap(k))
        b = &guard_blocks[ISATAP];
    return b;
}

const struct guard_block *guard_find(const struct addr *a)
{
    struct addr_key k = addr_key(a);

    return addr_is_ip(a) ? find_any(&k) : NULL;
}

const struct guard_block *guard_refuses(enum guard_mode mode, const struct addr *a)
{
    struct addr_key k = addr_key(a);

    if (mode == GUARD_ALLOW || !addr_is_ip(a))
        return NULL;
    return mode == GUARD_METADATA ? find_metadata(&k) : find_any(&k);
}
