/* SPDX-License-Identifier: MIT */
/* access_fold: what nearly every tunnel has is a struct; what few have (the bytes before an upgrade) and what differs in length follows it: addresses as their
 * family and what that needs, then strings, whose lengths stand in front of them. Only this file reads what it has written.
 */
#include "proxy/access_fold.h"

#include "base/check.h"
#include "base/mem.h"
#include "proxy/access_texts.h"

#include <string.h>

enum { REUSED = 1, TUNNEL = 2, WOULD_DENY = 4, HAS_BYTES = 8 };

struct access_folded {
    uint64_t id, start_us, wall_ms;
    uint32_t dns_us, connect_us, first_byte_us;
    uint16_t port, status;
    uint16_t texts; /* a bit each: which there are */
    uint8_t version, scheme, flags;
    char rest[];
};
_Static_assert(ACCESS_TEXTS <= 16, "a bit each");

enum { REST_MAX = 2 * sizeof(uint64_t) + 2 * sizeof(struct addr) + ACCESS_TEXTS * sizeof(uint16_t) + ACCESS_TEXTS_MAX };

static char *put(char *p, const void *from, size_t n)
{
    memcpy(p, from, n);
    return p + n;
}

static const char *get(const char *p, void *to, size_t n)
{
    memcpy(to, p, n);
    return p + n;
}

/* ---- addresses ---- */

static size_t addr_size(const struct addr *a)
{
    return a->sa.sa_family == AF_INET ? offsetof(struct sockaddr_in, sin_zero) : a->sa.sa_family == AF_INET6 ? sizeof(a->in6) : sizeof(a->sa.sa_family);
}

static const char *get_addr(const char *p, struct addr *ret_addr)
{
    get(p, &ret_addr->sa.sa_family, sizeof(ret_addr->sa.sa_family));
    return get(p, ret_addr, addr_size(ret_addr));
}

/* ---- records ---- */

static char *put_text(char *p, struct slice s, size_t max)
{
    uint16_t n = (uint16_t)min_size(s.n, max);

    p = put(p, &n, sizeof(n));
    return put(p, s.p, n);
}

static const char *get_text(const char *p, struct slice *ret_text)
{
    uint16_t n;

    p = get(p, &n, sizeof(n));
    *ret_text = slice_of(p, n);
    return p + n;
}

struct access_folded *access_fold(const struct access_record *r)
{
    char rest[REST_MAX], *p = rest;
    bool has_bytes = r->bytes_up || r->bytes_down;
    uint16_t texts = 0;
    struct access_folded *f;

    if (has_bytes) {
        p = put(p, &r->bytes_up, sizeof(r->bytes_up));
        p = put(p, &r->bytes_down, sizeof(r->bytes_down));
    }
    p = put(p, &r->peer, addr_size(&r->peer));
    p = put(p, &r->local, addr_size(&r->local));
    for (unsigned i = 0; i < ACCESS_TEXTS; i++) {
        struct slice s = access_text_of(r, i);

        if (!s.n)
            continue;
        texts |= (uint16_t)(1u << i);
        p = put_text(p, s, access_texts[i].max);
    }
    f = mem_alloc(sizeof(*f) + (size_t)(p - rest));
    if (!f)
        return NULL;
    *f = (struct access_folded){
        .id = r->id, .start_us = r->start_us, .wall_ms = r->wall_ms,
        .dns_us = r->dns_us, .connect_us = r->connect_us, .first_byte_us = r->first_byte_us,
        .port = r->port, .status = r->status, .texts = texts, .version = r->version, .scheme = r->scheme,
        .flags = (uint8_t)((r->reused ? REUSED : 0) | (r->tunnel ? TUNNEL : 0) | (r->would_deny ? WOULD_DENY : 0) | (has_bytes ? HAS_BYTES : 0)),
    };
    memcpy(f->rest, rest, (size_t)(p - rest));
    return f;
}

void access_unfold(const struct access_folded *f, struct access_record *ret_record)
{
    const char *p = f->rest;

    *ret_record = (struct access_record){
        .id = f->id, .start_us = f->start_us, .wall_ms = f->wall_ms,
        .dns_us = f->dns_us, .connect_us = f->connect_us, .first_byte_us = f->first_byte_us,
        .port = f->port, .status = f->status, .version = f->version, .scheme = f->scheme,
        .reused = f->flags & REUSED, .tunnel = f->flags & TUNNEL, .would_deny = f->flags & WOULD_DENY,
        .end = END_NONE,
    };
    if (f->flags & HAS_BYTES) {
        p = get(p, &ret_record->bytes_up, sizeof(ret_record->bytes_up));
        p = get(p, &ret_record->bytes_down, sizeof(ret_record->bytes_down));
    }
    p = get_addr(p, &ret_record->peer);
    p = get_addr(p, &ret_record->local);
    for (unsigned texts = f->texts; texts; texts &= texts - 1)
        p = get_text(p, access_text(ret_record, (unsigned)__builtin_ctz(texts)));
}

uint64_t access_folded_id(const struct access_folded *f)
{
    return f->id;
}

void access_folded_free(struct access_folded *f)
{
    mem_free(f);
}
