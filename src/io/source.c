/* SPDX-License-Identifier: MIT */
/* source: walks over configured source addresses. Called by the connect race for each address of a target, and by the pool of kept
 * connections. It asks the kernel nothing: whether an address is this machine's shows when it is bound.
 */
#include "io/source.h"

#include "base/hash.h"

#include <sys/random.h>

bool source_allowed(const struct source_set *set, const struct addr *a)
{
    struct addr_key k;

    if (a->sa.sa_family == AF_UNSPEC || set->n == 0)
        return a->sa.sa_family == AF_UNSPEC && set->n == 0;
    k = addr_key(a);
    for (unsigned i = 0; i < set->n; i++)
        if (addr_key_in(&k, &set->v[i]))
            return true;
    return false;
}

static unsigned count_family(const struct source_set *set, bool v4)
{
    unsigned n = 0;

    for (unsigned i = 0; i < set->n; i++)
        n += set->v[i].v4 == v4;
    return n;
}

bool source_fits(const struct source_set *set, const struct addr *to)
{
    return set->n == 0 || count_family(set, addr_key(to).v4) > 0;
}

void source_walk_init(struct source_walk *w, const struct source_set *set, const struct addr *to, unsigned turn)
{
    unsigned n;

    *w = (struct source_walk){.set = set, .v4 = addr_key(to).v4};
    w->mapped = w->v4 && to->sa.sa_family == AF_INET6;
    n = count_family(set, w->v4);
    w->first = n ? turn % n : 0;
}

/* The i-th item of the walk: those of the family in their order, beginning with the one whose turn it is. */
static const struct addr_range *walk_item(const struct source_walk *w, unsigned i)
{
    unsigned n = count_family(w->set, w->v4), at;

    if (i >= n)
        return NULL;
    at = (w->first + i) % n;
    for (unsigned k = 0; k < w->set->n; k++)
        if (w->set->v[k].v4 == w->v4 && at-- == 0)
            return &w->set->v[k];
    return NULL;
}

static bool is_single(const struct addr_range *r)
{
    return r->mask_hi == UINT64_MAX && r->mask_lo == UINT64_MAX;
}

/* Tries that a range is worth: all of a small one. */
static unsigned tries_of(const struct addr_range *r)
{
    uint64_t hosts = ~r->mask_lo;

    if (r->mask_hi != UINT64_MAX || hosts >= SOURCE_RANGE_TRIES - 1)
        return SOURCE_RANGE_TRIES;
    return (unsigned)hosts + 1;
}

/* The bits behind the prefix; from then on they count up, and carry no further than the prefix. */
static void draw(struct source_walk *w)
{
    if (w->in_item > 0) {
        w->random[1]++;
        w->random[0] += w->random[1] == 0;
    } else if (getrandom(w->random, sizeof(w->random), GRND_NONBLOCK) != (ssize_t)sizeof(w->random)) {
        w->random[1] = hash_bytes(w, sizeof(*w)); /* a kernel that has just begun */
    }
}

static void make_addr(const struct source_walk *w, const struct addr_range *r, struct addr *ret_addr)
{
    uint64_t halves[2] = {r->hi | (w->random[0] & ~r->mask_hi), r->lo | (w->random[1] & ~r->mask_lo)};
    uint8_t bytes[16];

    for (unsigned i = 0; i < 16; i++)
        bytes[i] = (uint8_t)(halves[i / 8] >> (56 - 8 * (i % 8)));
    if (w->v4 && !w->mapped)
        addr_v4(ret_addr, bytes + 12, 0);
    else
        addr_v6(ret_addr, bytes, 0);
}

bool source_walk_next(struct source_walk *w, struct dial_from *ret_from)
{
    const struct addr_range *r = walk_item(w, w->item);

    if (r && w->in_item == tries_of(r)) {
        w->in_item = 0;
        r = walk_item(w, ++w->item);
    }
    if (!r || w->tries == SOURCE_TRIES)
        return false;
    if (!is_single(r))
        draw(w);
    w->tries++;
    w->in_item++;
    *ret_from = (struct dial_from){.anywhere = !is_single(r), .way = w->set->way};
    make_addr(w, r, &ret_from->addr);
    return true;
}

/* ---- what is used up ---- */

static uint64_t memory_key(const struct dial_from *from, const struct addr *to)
{
    struct addr_key k[2] = {{0}, addr_key(to)};
    uint64_t words[8] = {k[1].hi, k[1].lo, addr_port(to)};

    if (from && from->addr.sa.sa_family != AF_UNSPEC) {
        k[0] = addr_key(&from->addr);
        words[3] = k[0].hi;
        words[4] = k[0].lo;
    }
    if (from)
        memcpy(&words[5], &from->way, sizeof(from->way));
    return hash_bytes(words, sizeof(words)) | 1; /* 0: a free slot */
}

_Static_assert(sizeof(struct dial_way) <= 3 * sizeof(uint64_t), "the way is part of the key");

void source_used_up(struct source_memory *m, const struct dial_from *from, const struct addr *to, uint64_t until_ms)
{
    uint64_t key = memory_key(from, to);

    m->v[key / 2 % SOURCE_SLOTS].key = key;
    m->v[key / 2 % SOURCE_SLOTS].until_ms = until_ms;
}

bool source_is_used_up(const struct source_memory *m, const struct dial_from *from, const struct addr *to, uint64_t now_ms)
{
    uint64_t key = memory_key(from, to);

    return m->v[key / 2 % SOURCE_SLOTS].key == key && now_ms < m->v[key / 2 % SOURCE_SLOTS].until_ms;
}
