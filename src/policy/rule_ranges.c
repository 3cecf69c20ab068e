/* SPDX-License-Identifier: MIT */
/* rule_ranges: ranges of many rules, cut where any of them begins or ends. Called by rules_index.
 */
#include "policy/rule_ranges.h"

#include "base/err.h"
#include "base/mem.h"

#include <stdlib.h>

enum { ONES_MIN = 64, PAIRS_MAX = 1 << 18 };

static bool before(struct rule_ranges_at a, struct rule_ranges_at b)
{
    return (a.hi < b.hi) | ((a.hi == b.hi) & (a.lo < b.lo));
}

/* ---- adding ---- */

int rule_ranges_add(struct rule_ranges *r, struct rule_ranges_at first, struct rule_ranges_at last, unsigned rule)
{
    size_t room = max_size(ONES_MIN, 2 * r->room);
    struct rule_ranges_one *wider;

    if (r->n_ones == r->room) {
        wider = mem_grow(r->ones, room * sizeof(*wider));
        if (!wider)
            return ERR_NOMEM;
        r->ones = wider;
        r->room = room;
    }
    r->ones[r->n_ones++] = (struct rule_ranges_one){.first = first, .last = last, .rule = rule};
    return 0;
}

/* As addr_key has them: IPv4 as mapped IPv6. */
static struct rule_ranges_at mapped(uint32_t v4)
{
    return (struct rule_ranges_at){.hi = 0, .lo = 0xffff00000000 | v4};
}

int rule_ranges_add_set(struct rule_ranges *r, const struct ranges *set, unsigned rule)
{
    int code = 0;

    for (size_t i = 0; i < set->n4 && code == 0; i++)
        code = rule_ranges_add(r, mapped(set->v4[i].first), mapped(set->v4[i].last), rule);
    for (size_t i = 0; i < set->n6 && code == 0; i++) {
        const struct ranges_v6 *v = &set->v6[i];

        code = rule_ranges_add(r, (struct rule_ranges_at){v->first_hi, v->first_lo}, (struct rule_ranges_at){v->last_hi, v->last_lo}, rule);
    }
    return code;
}

/* ---- building ---- */

static int compare(const void *a, const void *b)
{
    const struct rule_ranges_at *x = a, *y = b;

    return before(*y, *x) - before(*x, *y);
}

/* Every place where something begins or has ended, each once. */
static void cut(struct rule_ranges *r)
{
    size_t n = 0, kept = 0;

    for (size_t i = 0; i < r->n_ones; i++) {
        struct rule_ranges_at next = {.hi = r->ones[i].last.hi, .lo = r->ones[i].last.lo + 1};

        next.hi += next.lo == 0;
        r->from[n++] = r->ones[i].first;
        if (next.hi || next.lo) /* behind the highest address there is none */
            r->from[n++] = next;
    }
    qsort(r->from, n, sizeof(*r->from), compare);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || before(r->from[kept - 1], r->from[i]))
            r->from[kept++] = r->from[i];
    r->n = kept;
}

/* The last place at or before `at`, and 1; 0: it lies before all. */
static size_t find(const struct rule_ranges *r, struct rule_ranges_at at)
{
    const struct rule_ranges_at *v = r->from;
    size_t n = r->n;

    if (!n || before(at, v[0]))
        return 0;
    while (n > 1) {
        size_t half = n / 2;

        __builtin_prefetch(&v[half / 2]);
        __builtin_prefetch(&v[half + half / 2]);
        v += !before(at, v[half]) * half;
        n -= half;
    }
    return (size_t)(v - r->from) + 1;
}

static int share_out(struct rule_ranges *r)
{
    for (size_t i = 0; i < r->n_ones; i++) {
        const struct rule_ranges_one *one = &r->ones[i];

        for (size_t k = find(r, one->first) - 1; k < r->n && !before(one->last, r->from[k]); k++) {
            int code = r->lists.n_pairs < PAIRS_MAX ? rule_lists_add(&r->lists, (uint32_t)k, one->rule) : ERR_LIMIT;

            if (code < 0)
                return code;
        }
    }
    return 0;
}

int rule_ranges_build(struct rule_ranges *r, unsigned n_rules)
{
    int code;

    r->from = mem_array(2 * r->n_ones + 1, sizeof(*r->from));
    if (!r->from)
        return ERR_NOMEM;
    cut(r);
    code = share_out(r);
    if (code < 0)
        return code;
    mem_free(r->ones);
    r->ones = NULL;
    r->n_ones = r->room = 0;
    return rule_lists_build(&r->lists, r->n, n_rules);
}

void rule_ranges_done(struct rule_ranges *r)
{
    mem_free(r->ones);
    mem_free(r->from);
    rule_lists_done(&r->lists);
    *r = (struct rule_ranges){0};
}

/* ---- asking ---- */

bool rule_ranges_get(const struct rule_ranges *r, struct rule_ranges_at at, struct rule_lists_set *ret_set)
{
    size_t found = find(r, at);

    if (!found || !rule_lists_has(&r->lists, found - 1))
        return false;
    *ret_set = rule_lists_get(&r->lists, found - 1);
    return true;
}
