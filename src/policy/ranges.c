/* SPDX-License-Identifier: MIT */
/* ranges: prefixes become pairs of first and last, sorted and merged once, so that a question is
 * one search by halves and neither the number of ranges nor their order is felt. Built by the
 * configuration, asked for each client and each address that could be dialled. It never takes an
 * IPv4 address for an IPv6 one or the other way round (io/addr.h), and whoever has no address, a
 * client of a Unix socket, is in no range, not even in ::/0.
 */
#include "policy/ranges.h"

#include "base/err.h"
#include "base/mem.h"

#include <stdlib.h>

/* ---- building ---- */

static void fill(const struct addr_range *v, size_t n, struct ranges *r)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i].v4)
            r->v4[r->n4++] = (struct ranges_v4){.first = (uint32_t)(v[i].lo & v[i].mask_lo),
                                                .last = (uint32_t)(v[i].lo | ~v[i].mask_lo)};
        else
            r->v6[r->n6++] = (struct ranges_v6){.first_hi = v[i].hi & v[i].mask_hi,
                                                .first_lo = v[i].lo & v[i].mask_lo,
                                                .last_hi = v[i].hi | ~v[i].mask_hi,
                                                .last_lo = v[i].lo | ~v[i].mask_lo};
    }
}

static int compare_v4(const void *a, const void *b)
{
    const struct ranges_v4 *x = a, *y = b;

    return (x->first > y->first) - (x->first < y->first);
}

/* Does (a_hi, a_lo) come before (b_hi, b_lo)? */
static inline bool before(uint64_t a_hi, uint64_t a_lo, uint64_t b_hi, uint64_t b_lo)
{
    return (a_hi < b_hi) | ((a_hi == b_hi) & (a_lo < b_lo));
}

static int compare_v6(const void *a, const void *b)
{
    const struct ranges_v6 *x = a, *y = b;

    return before(y->first_hi, y->first_lo, x->first_hi, x->first_lo) -
           before(x->first_hi, x->first_lo, y->first_hi, y->first_lo);
}

/* Sorted ranges into disjoint ones, in place; how many are left. One that begins right behind its
 * predecessor is joined to it, too. */
static size_t merge_v4(struct ranges_v4 *v, size_t n)
{
    size_t w = 0;

    for (size_t i = 1; i < n; i++) {
        /* Behind the highest address there is no next one: everything that follows is inside. */
        uint32_t next = v[w].last == UINT32_MAX ? UINT32_MAX : v[w].last + 1;

        if (v[i].first > next)
            v[++w] = v[i];
        else if (v[i].last > v[w].last)
            v[w].last = v[i].last;
    }
    return n ? w + 1 : 0;
}

/* Is there at least one address between the end of a and the beginning of b? */
static bool apart(const struct ranges_v6 *a, const struct ranges_v6 *b)
{
    uint64_t next_lo = a->last_lo + 1, next_hi = a->last_hi + (next_lo == 0);

    if (next_hi == 0 && next_lo == 0)
        return false; /* behind the highest address, as above */
    return before(next_hi, next_lo, b->first_hi, b->first_lo);
}

static size_t merge_v6(struct ranges_v6 *v, size_t n)
{
    size_t w = 0;

    for (size_t i = 1; i < n; i++) {
        if (apart(&v[w], &v[i])) {
            v[++w] = v[i];
        } else if (before(v[w].last_hi, v[w].last_lo, v[i].last_hi, v[i].last_lo)) {
            v[w].last_hi = v[i].last_hi;
            v[w].last_lo = v[i].last_lo;
        }
    }
    return n ? w + 1 : 0;
}

/* What merging has freed goes back. A refusal costs nothing but that. */
static void *shrunk(void *p, size_t had, size_t left, size_t size)
{
    void *less = left < had ? mem_grow(p, left * size) : NULL;

    return less ? less : p;
}

static void sort_and_merge(struct ranges *r)
{
    size_t had4 = r->n4, had6 = r->n6;

    if (had4) {
        qsort(r->v4, had4, sizeof(*r->v4), compare_v4);
        r->n4 = merge_v4(r->v4, had4);
        r->v4 = shrunk(r->v4, had4, r->n4, sizeof(*r->v4));
    }
    if (had6) {
        qsort(r->v6, had6, sizeof(*r->v6), compare_v6);
        r->n6 = merge_v6(r->v6, had6);
        r->v6 = shrunk(r->v6, had6, r->n6, sizeof(*r->v6));
    }
}

int ranges_build(const struct addr_range *v, size_t n, struct ranges *ret_ranges)
{
    struct ranges r = {0};
    size_t n4 = 0;

    for (size_t i = 0; i < n; i++)
        n4 += v[i].v4;
    if (n4) {
        r.v4 = mem_array(n4, sizeof(*r.v4));
        if (!r.v4)
            return ERR_NOMEM;
    }
    if (n4 < n) {
        r.v6 = mem_array(n - n4, sizeof(*r.v6));
        if (!r.v6)
            goto fail_v4;
    }
    fill(v, n, &r);
    sort_and_merge(&r);
    *ret_ranges = r;
    return 0;

fail_v4:
    mem_free(r.v4);
    return ERR_NOMEM;
}

void ranges_done(struct ranges *r)
{
    mem_free(r->v4);
    mem_free(r->v6);
    *r = (struct ranges){0};
}

/* ---- asking ---- */

/* Both searches end at the last range that begins at or before the address; none but that one can
 * hold it. The step is a number and no branch: which way it goes cannot be guessed, so both places
 * where it may go next are asked for while it is decided. */

static bool has_v4(const struct ranges_v4 *v, size_t n, uint32_t a)
{
    if (!n)
        return false;
    while (n > 1) {
        size_t half = n / 2;

        __builtin_prefetch(&v[half / 2]);
        __builtin_prefetch(&v[half + half / 2]);
        v += (v[half].first <= a) * half;
        n -= half;
    }
    return v->first <= a && a <= v->last;
}

static bool has_v6(const struct ranges_v6 *v, size_t n, uint64_t hi, uint64_t lo)
{
    if (!n)
        return false;
    while (n > 1) {
        size_t half = n / 2;

        __builtin_prefetch(&v[half / 2]);
        __builtin_prefetch(&v[half + half / 2]);
        v += !before(hi, lo, v[half].first_hi, v[half].first_lo) * half;
        n -= half;
    }
    return !before(hi, lo, v->first_hi, v->first_lo) && !before(v->last_hi, v->last_lo, hi, lo);
}

bool ranges_has(const struct ranges *r, const struct addr *a)
{
    struct addr_key k;

    if (a->sa.sa_family != AF_INET && a->sa.sa_family != AF_INET6)
        return false;
    k = addr_key(a);
    return k.v4 ? has_v4(r->v4, r->n4, (uint32_t)k.lo) : has_v6(r->v6, r->n6, k.hi, k.lo);
}
