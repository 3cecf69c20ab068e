/* SPDX-License-Identifier: MIT */
/* addr: one reading and one comparison of addresses for listeners, rules, resolver and logs (U6).
 * An IPv4 address and its IPv6-mapped form are the same host everywhere, so that no rule is passed
 * by spelling (U2). Called on any thread. It never resolves a name and never guesses: what
 * inet_pton refuses is no address.
 */
#include "io/addr.h"

#include "base/err.h"
#include "base/num.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

enum {
    MAPPED_BITS = 96, /* of ::ffff:0:0/96 */
    PORT_DIGITS = 5,
    PREFIX_DIGITS = 3,
};

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void addr_v4(struct addr *a, const uint8_t bytes[4], uint16_t port)
{
    memset(a, 0, sizeof(*a));
    a->in.sin_family = AF_INET;
    a->in.sin_port = htons(port);
    memcpy(&a->in.sin_addr, bytes, 4);
}

void addr_v6(struct addr *a, const uint8_t bytes[16], uint16_t port)
{
    memset(a, 0, sizeof(*a));
    a->in6.sin6_family = AF_INET6;
    a->in6.sin6_port = htons(port);
    memcpy(&a->in6.sin6_addr, bytes, 16);
}

/* The one form for comparing: IPv4 as mapped IPv6. */
static void host_bytes(const struct addr *a, uint8_t out[16])
{
    memset(out, 0, 16);
    if (a->sa.sa_family == AF_INET6) {
        memcpy(out, &a->in6.sin6_addr, 16);
    } else if (a->sa.sa_family == AF_INET) {
        memcpy(out, mapped_prefix, sizeof(mapped_prefix));
        memcpy(out + 12, &a->in.sin_addr, 4);
    }
}

static bool is_mapped(const uint8_t bytes[16])
{
    return memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

/* fe80::1 on one link is another host than fe80::1 on the next. */
static uint32_t scope_of(const struct addr *a)
{
    return a->sa.sa_family == AF_INET6 ? a->in6.sin6_scope_id : 0;
}

/* s as one NUL-terminated string for inet_pton, which would stop at a NUL inside. */
static int read_host(struct slice s, int family, void *bytes)
{
    char text[INET6_ADDRSTRLEN];

    if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, '\0', s.n))
        return ERR_SYNTAX;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(family, text, bytes) == 1 ? 0 : ERR_SYNTAX;
}

int addr_parse_host(struct slice s, uint16_t port, struct addr *ret_addr)
{
    uint8_t bytes[16];

    if (read_host(s, AF_INET, bytes) == 0) {
        addr_v4(ret_addr, bytes, port);
        return 0;
    }
    if (s.n >= 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
        s = slice_of(s.p + 1, s.n - 2);
    if (read_host(s, AF_INET6, bytes) < 0)
        return ERR_SYNTAX;
    addr_v6(ret_addr, bytes, port);
    return 0;
}

int addr_parse(struct slice s, struct addr *ret_addr)
{
    bool v6 = s.n > 0 && s.p[0] == '[';
    /* The colon before the port: right behind the bracket, or the only one. */
    size_t colon = v6 ? slice_find(s, ']') + 1 : slice_find(s, ':');
    struct slice port;
    uint64_t number;
    int r;

    if (colon >= s.n || s.p[colon] != ':')
        return ERR_SYNTAX;
    port = slice_skip(s, colon + 1);
    if (port.n > PORT_DIGITS)
        return ERR_SYNTAX;
    r = num_dec(port, UINT16_MAX, &number);
    if (r < 0)
        return r;
    return addr_parse_host(slice_of(s.p, colon), (uint16_t)number, ret_addr);
}

socklen_t addr_len(const struct addr *a)
{
    return a->sa.sa_family == AF_INET6 ? sizeof(a->in6) : sizeof(a->in);
}

uint16_t addr_port(const struct addr *a)
{
    return ntohs(a->sa.sa_family == AF_INET6 ? a->in6.sin6_port : a->in.sin_port);
}

void addr_set_port(struct addr *a, uint16_t port)
{
    if (a->sa.sa_family == AF_INET6)
        a->in6.sin6_port = htons(port);
    else
        a->in.sin_port = htons(port);
}

bool addr_same_host(const struct addr *a, const struct addr *b)
{
    uint8_t x[16], y[16];

    host_bytes(a, x);
    host_bytes(b, y);
    if (memcmp(x, y, 16) != 0)
        return false;
    return is_mapped(x) || scope_of(a) == scope_of(b);
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    return addr_port(a) == addr_port(b) && addr_same_host(a, b);
}

bool addr_is_loopback(const struct addr *a)
{
    static const uint8_t loopback6[16] = {[15] = 1};
    uint8_t bytes[16];

    host_bytes(a, bytes);
    return is_mapped(bytes) ? bytes[12] == 127 : memcmp(bytes, loopback6, 16) == 0;
}

bool addr_is_ip(const struct addr *a)
{
    return a->sa.sa_family == AF_INET || a->sa.sa_family == AF_INET6;
}

bool addr_is_any(const struct addr *a)
{
    static const uint8_t any[16];
    uint8_t bytes[16];

    if (a->sa.sa_family == AF_UNIX)
        return false;
    host_bytes(a, bytes);
    return is_mapped(bytes) ? memcmp(bytes + 12, any, 4) == 0 : memcmp(bytes, any, 16) == 0;
}

size_t addr_host_text(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    bool v6 = a->sa.sa_family == AF_INET6;
    const void *bytes = v6 ? (const void *)&a->in6.sin6_addr : (const void *)&a->in.sin_addr;

    if (a->sa.sa_family == AF_UNIX) {
        memcpy(out, "unix", sizeof("unix"));
        return sizeof("unix") - 1;
    }
    if (!inet_ntop(v6 ? AF_INET6 : AF_INET, bytes, out, ADDR_TEXT_MAX))
        out[0] = '\0'; /* never: the buffer is larger than any address */
    return strlen(out);
}

size_t addr_text(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    char host[ADDR_TEXT_MAX];
    bool v6 = a->sa.sa_family == AF_INET6;
    size_t host_n = addr_host_text(a, host), n = 0;

    if (v6)
        out[n++] = '[';
    memcpy(out + n, host, host_n);
    n += host_n;
    if (v6)
        out[n++] = ']';
    if (a->sa.sa_family == AF_UNIX) {
        out[n] = '\0';
        return n;
    }
    out[n++] = ':';
    n += num_put_dec(out + n, addr_port(a));
    out[n] = '\0';
    return n;
}

static void key_halves(const uint8_t bytes[16], uint64_t *ret_hi, uint64_t *ret_lo)
{
    uint64_t halves[2];

    memcpy(halves, bytes, sizeof(halves));
    *ret_hi = be64toh(halves[0]);
    *ret_lo = be64toh(halves[1]);
}

/* The upper `bits` (0..64) of a half. */
static uint64_t upper_bits(unsigned bits)
{
    return bits ? UINT64_MAX << (64 - bits) : 0;
}

int addr_range_parse(struct slice s, struct addr_range *ret_range)
{
    size_t slash = slice_find(s, '/');
    struct addr_range range = {0};
    struct addr a;
    unsigned most, shift;
    uint8_t bytes[16];
    uint64_t prefix;
    int r;

    if (s.n > 0 && s.p[0] == '[')
        return ERR_SYNTAX;
    r = addr_parse_host(slice_of(s.p, slash), 0, &a);
    if (r < 0)
        return r;
    shift = a.sa.sa_family == AF_INET ? MAPPED_BITS : 0;
    most = 128 - shift;
    prefix = most;
    if (slash < s.n) {
        struct slice digits = slice_skip(s, slash + 1);

        if (digits.n > PREFIX_DIGITS)
            return ERR_SYNTAX;
        r = num_dec(digits, most, &prefix);
        if (r < 0)
            return r;
    }
    prefix += shift;
    host_bytes(&a, bytes);
    key_halves(bytes, &range.hi, &range.lo);
    range.mask_hi = upper_bits(prefix < 64 ? (unsigned)prefix : 64);
    range.mask_lo = upper_bits(prefix > 64 ? (unsigned)prefix - 64 : 0);
    range.v4 = prefix >= MAPPED_BITS && is_mapped(bytes);
    if ((range.hi & ~range.mask_hi) || (range.lo & ~range.mask_lo))
        return ERR_RANGE;
    *ret_range = range;
    return 0;
}

struct addr_key addr_key(const struct addr *a)
{
    struct addr_key k;
    uint8_t bytes[16];

    host_bytes(a, bytes);
    key_halves(bytes, &k.hi, &k.lo);
    k.v4 = is_mapped(bytes);
    return k;
}

bool addr_in_range(const struct addr *a, const struct addr_range *r)
{
    struct addr_key k = addr_key(a);

    return addr_key_in(&k, r);
}
