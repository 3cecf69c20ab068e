/* SPDX-License-Identifier: MIT */
/* why_limits: looks at buckets in the order in which proxy/limits_ask.c charges them. Called by why_judge for the running instance.
 */
#include "app/why_limits.h"

#include "base/mem.h"

/* What is asked about, and what was found. */
struct looking {
    struct why *w;
    struct why_limit *e;
    struct match_facts f;
};

static uint64_t more(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void refuse(struct why_limit *e, enum end_reason reason, uint64_t retry_s)
{
    if (e->refuses && e->reason != reason)
        return;
    e->refuses = true;
    e->reason = reason;
    e->retry_s = more(e->retry_s, more(retry_s, 1));
}

static void look_requests(struct looking *k, const struct charge_bucket *b)
{
    const struct limit *l = k->e->limit;
    uint32_t there;
    uint64_t wait_us = charge_request_look(b, l->requests, l->burst, k->w->state->now_us, &there);

    k->e->left = there < k->e->left ? there : k->e->left;
    if (l->pace && (wait_us > CHARGE_PACE_MS * UINT64_C(1000) || atomic_load_explicit(&b->pacing, memory_order_relaxed) >= CHARGE_PACE_MAX))
        refuse(k->e, END_LIMIT_REQUESTS, CHARGE_PACE_MS / 1000);
    else if (!l->pace && wait_us)
        refuse(k->e, END_LIMIT_REQUESTS, (wait_us + 999999) / 1000000);
}

static void look_rest(struct looking *k, const struct charge_bucket *b)
{
    const struct limit *l = k->e->limit;
    uint64_t wall_ms = k->w->state->wall_ms, used = charge_quota_used(b, wall_ms);
    uint32_t tunnels = atomic_load_explicit(&b->tunnels, memory_order_relaxed);

    k->e->used = more(used, k->e->used);
    k->e->tunnels = tunnels > k->e->tunnels ? tunnels : k->e->tunnels;
    if (l->quota && used >= l->quota && !l->slow)
        refuse(k->e, END_QUOTA, (charge_span_at(l->span, wall_ms).end_ms - wall_ms + 999) / 1000);
    if (l->tunnels && k->w->question->connect && tunnels >= l->tunnels)
        refuse(k->e, END_LIMIT_TUNNELS, 1);
}

static bool has_buckets(const struct why_limit *e)
{
    const struct limit *l = e->limit;

    return !e->rest || l->tunnels || l->quota;
}

/* One that is not there is as one that is made anew. */
static void look(struct looking *k)
{
    static const struct charge_bucket at_rest;
    const struct why_state *s = k->w->state;
    const struct rule *by = k->w->verdict.by;
    const struct limits_asker asker = {.rule = by ? rule_title(by) : NULL};
    struct limits_keys keys = {.n = 0};
    struct slice key;

    /* No connection is asked for. */
    k->e->known = k->e->limit->per != PER_CONNECTION || !has_buckets(k->e);
    while (k->e->known && has_buckets(k->e) && limits_key(&keys, k->e->limit, &k->f, &asker, &key)) {
        struct charge_bucket *b = charge_find(s->charges, k->e->limit->id, key, s->now_us, s->wall_ms);

        (k->e->rest ? look_rest : look_requests)(k, b ? b : &at_rest);
        charge_unpin(&b);
    }
}

static const struct why_limit *ask(struct looking *k, enum limits_when when, unsigned i, bool rest)
{
    struct why *w = k->w;
    const struct limit *l = &w->edition->snap.limits[i];

    if (!limits_about(l, when, &k->f, rest ? w->asked_rest : w->asked_requests, i))
        return NULL;
    k->e = &w->limits[w->n_limits++];
    *k->e = (struct why_limit){.limit = l, .rest = rest, .first = when == LIMITS_FIRST, .left = UINT32_MAX};
    look(k);
    return k->e->refuses ? k->e : NULL;
}

static const struct why_limit *ask_requests(struct looking *k, enum limits_when when, bool pace)
{
    const struct snapshot *s = &k->w->edition->snap;
    const struct why_limit *found = NULL;

    for (unsigned i = 0; i < s->n_limits && !found; i++)
        if (s->limits[i].requests && s->limits[i].pace == pace)
            found = ask(k, when, i, false);
    return found;
}

static const struct why_limit *ask_rest(struct looking *k, enum limits_when when)
{
    const struct snapshot *s = &k->w->edition->snap;
    const struct why_limit *found = NULL;

    for (unsigned i = 0; i < s->n_limits && !found; i++)
        if (limits_has_rest(&s->limits[i]))
            found = ask(k, when, i, true);
    return found;
}

/* Each limit is written down at most once for its requests, and once for the rest. */
static bool make_room(struct why *w)
{
    if (!w->limits)
        w->limits = mem_array(2 * (size_t)w->edition->snap.n_limits, sizeof(*w->limits));
    w->refused_memory |= !w->limits;
    return w->limits;
}

const struct why_limit *why_limits(struct why *w, enum limits_when when, const struct addr *to)
{
    struct looking k = {.w = w, .f = w->facts};
    const struct why_limit *found;

    if (!w->state || !w->edition->snap.n_limits || !make_room(w))
        return NULL;
    k.f.to = to;
    if (when == LIMITS_DIALLED)
        k.f.pending = 0;
    found = ask_requests(&k, when, false);
    if (!found)
        found = ask_requests(&k, when, true);
    if (!found && when != LIMITS_FIRST)
        found = ask_rest(&k, when);
    return found;
}
