/* SPDX-License-Identifier: MIT */
/* limits_ask: whose buckets a request concerns, what they say, and how that is told. Called by the steps policy, send, reply and relay. It reads the snapshot's
 * limits in order; a request that is refused has paid for what was asked before.
 */
#include "proxy/limits_ask.h"

#include "base/err.h"
#include "proxy/kept.h"
#include "proxy/limits_key.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

#include <string.h>

/* ---- whose bucket ---- */

static struct limits_asker asker_of(const struct xchg *x)
{
    const struct session *s = x->session;
    const struct rule *r = x->req->verdict.by;

    return (struct limits_asker){.rule = r ? rule_title(r) : NULL, .connection = {(uintptr_t)s, s->since_ms}};
}

static struct charge_bucket *pin(struct xchg *x, const struct limit *l, struct slice key)
{
    return charger_pin(&x->worker->charger, l->id, key);
}

/* ---- refusing ---- */

static enum xstep refuse(struct xchg *x, const struct limit *l, const struct match_facts *f, enum end_reason reason, uint64_t retry_s)
{
    const char *title = limits_title(l), *detail;
    char text[LIMITS_TEXT];

    limits_text(l, f, reason, x->listen->reasons == REASONS_ALL, text);
    detail = arena_dup(x->arena, slice_str(text)).p;
    x->req->verdict = (struct verdict){.kind = VERDICT_DENY, .reason = reason, .place = l->place, .what = detail};
    x->req->retry_s = retry_s < 1 ? 1 : retry_s > UINT32_MAX ? UINT32_MAX : (uint32_t)retry_s;
    x->rec->rule = slice_str(title);
    return xchg_fail(x, reason, detail);
}

/* ---- requests ---- */

static int no_memory(struct xchg *x)
{
    return xchg_fail(x, END_NO_MEMORY, NULL);
}

static int refuse_requests(struct xchg *x, const struct limit *l, const struct match_facts *f, uint64_t wait_us)
{
    return refuse(x, l, f, END_LIMIT_REQUESTS, (wait_us + 999999) / 1000000);
}

static int charge_one(struct xchg *x, const struct limit *l, const struct match_facts *f, enum limits_when when)
{
    struct limits_asker asker = asker_of(x);
    struct limits_keys k = {.n = 0};
    struct slice key;
    uint64_t wait_us = 0;

    while (limits_key(&k, l, f, &asker, &key)) {
        struct charge_bucket *b = pin(x, l, key);
        uint64_t us;

        if (!b)
            return no_memory(x);
        us = charge_request(b, l->requests, l->burst, x->worker->loop.now_us);
        kept_token(x, l, b, when);
        charge_unpin(&b);
        wait_us = us > wait_us ? us : wait_us;
    }
    if (wait_us)
        return refuse_requests(x, l, f, wait_us);
    return STEP_COUNT;
}

void limits_forget(struct limits_asked *a)
{
    if (a->pacing)
        atomic_fetch_sub_explicit(&a->pacing->pacing, 1, memory_order_relaxed);
    charge_unpin(&a->pacing);
}

static int pace_wait(struct xchg *x)
{
    struct limits_asked *a = &x->req->limits;
    bool drained = x->expired && x->deadline_reason == END_DRAINED;

    x->expired = false;
    if (stream_broken(x->client) || drained) {
        limits_forget(a);
        return drained ? xchg_fail(x, END_DRAINED, NULL) : xchg_abort(x, END_CLIENT_GONE, NULL);
    }
    if (x->worker->loop.now_us < a->pace_until_us)
        return xchg_wait_until(x, (a->pace_until_us + 999) / 1000, END_LIMIT_REQUESTS);
    limits_forget(a);
    return STEP_COUNT;
}

/* The longest of its waits is the one that is waited for. */
static int pace_keys(struct xchg *x, const struct limit *l, const struct match_facts *f, bool *ret_late)
{
    struct limits_asked *a = &x->req->limits;
    uint64_t now_us = x->worker->loop.now_us, longest_us = 0;
    struct limits_asker asker = asker_of(x);
    struct limits_keys k = {.n = 0};
    struct slice key;

    *ret_late = false;
    while (!*ret_late && limits_key(&k, l, f, &asker, &key)) {
        struct charge_bucket *b = pin(x, l, key);
        uint64_t us = 0;

        if (!b)
            return ERR_NOMEM;
        /* How many wait is looked at first: who is turned away takes no token that nobody would use. */
        if (atomic_load_explicit(&b->pacing, memory_order_relaxed) >= CHARGE_PACE_MAX || !charge_request_pace(b, l->requests, l->burst, now_us, &us))
            *ret_late = true;
        else if (us > longest_us) {
            longest_us = us;
            limits_forget(a);
            a->pacing = b;
            a->pace_until_us = now_us + us;
            atomic_fetch_add_explicit(&b->pacing, 1, memory_order_relaxed);
            b = NULL;
        }
        charge_unpin(&b);
    }
    return 0;
}

static int pace_one(struct xchg *x, const struct limit *l, const struct match_facts *f)
{
    struct limits_asked *a = &x->req->limits;
    bool late;

    kept_spoil(x);
    if (pace_keys(x, l, f, &late) < 0) {
        limits_forget(a);
        return no_memory(x);
    }
    if (late) {
        limits_forget(a);
        return refuse(x, l, f, END_LIMIT_REQUESTS, CHARGE_PACE_MS / 1000);
    }
    if (!a->pacing)
        return STEP_COUNT;
    stats_add(&x->worker->stats, COUNTER_LIMIT_WAIT_US, a->pace_until_us - x->worker->loop.now_us);
    return pace_wait(x);
}

/* First those that refuse: whoever is to be refused does not wait before. */
static int charge_requests(struct xchg *x, enum limits_when when, const struct match_facts *f, bool pace)
{
    const struct snapshot *s = x->snap;
    int r = STEP_COUNT;

    for (unsigned i = 0; i < s->n_limits && r == STEP_COUNT; i++) {
        const struct limit *l = &s->limits[i];

        if (l->requests && l->pace == pace && limits_about(l, when, f, x->req->limits.requests, i))
            r = pace ? pace_one(x, l, f) : charge_one(x, l, f, when);
    }
    return r;
}

/* ---- what runs ---- */

/* One that asks for another protocol counts from its request on. */
static bool is_tunnel(const struct xchg *x)
{
    return x->req->head->method == METHOD_CONNECT || x->req->head->protocol.n > 0;
}

static bool quota_is_used(struct xchg *x, struct charge_bucket *b, uint64_t quota, enum limit_span span)
{
    bool used = charge_quota_look(b, charger_span(&x->worker->charger, span), x->worker->loop.wall_ms) >= quota;

    /* A reload has raised it: those who run now are told again. */
    if (!used && atomic_load_explicit(&b->quota_told, memory_order_relaxed))
        atomic_store_explicit(&b->quota_told, false, memory_order_relaxed);
    return used;
}

static int hold_bucket(struct xchg *x, const struct limit *l, const struct match_facts *f, struct charge_bucket **b)
{
    bool tunnel = l->tunnels && is_tunnel(x);

    if (l->quota && quota_is_used(x, *b, l->quota, l->span) && !l->slow) {
        charge_unpin(b);
        return refuse(x, l, f, END_QUOTA, (charger_span(&x->worker->charger, l->span)->end_ms - x->worker->loop.wall_ms + 999) / 1000);
    }
    if (tunnel && !charge_tunnel(*b, l->tunnels)) {
        charge_unpin(b);
        return refuse(x, l, f, END_LIMIT_TUNNELS, 1);
    }
    return charge_add(x->relay.charge, l, b, tunnel) < 0 ? no_memory(x) : STEP_COUNT;
}

static int hold_one(struct xchg *x, const struct limit *l, const struct match_facts *f)
{
    bool buckets = l->tunnels || l->quota || l->bandwidth || l->bandwidth_up || l->bandwidth_down;
    const struct head *h = x->req->head;
    struct limits_asker asker = asker_of(x);
    struct limits_keys k = {.n = 0};
    struct slice key;
    int r = STEP_COUNT;

    if (l->upload && h->body == BODY_SIZED && h->length > l->upload)
        return refuse(x, l, f, END_UPLOAD_CAP, 1);
    if (!x->relay.charge)
        x->relay.charge = charge_new(&x->worker->charger, &x->task);
    if (!x->relay.charge)
        return no_memory(x);
    charge_cap(x->relay.charge, l);
    while (buckets && r == STEP_COUNT && limits_key(&k, l, f, &asker, &key)) {
        struct charge_bucket *b = pin(x, l, key);

        r = b ? hold_bucket(x, l, f, &b) : no_memory(x);
    }
    return r;
}

static int hold_rest(struct xchg *x, enum limits_when when, const struct match_facts *f)
{
    const struct snapshot *s = x->snap;
    int r = STEP_COUNT;

    for (unsigned i = 0; i < s->n_limits && r == STEP_COUNT; i++)
        if (limits_has_rest(&s->limits[i]) && limits_about(&s->limits[i], when, f, x->req->limits.rest, i)) {
            /* Another address may be another matter. */
            if (when == LIMITS_DIALLED)
                kept_spoil(x);
            r = hold_one(x, &s->limits[i], f);
        }
    return r;
}

/* ---- for the steps ---- */

int limits_ask(struct xchg *x, enum limits_when when, const struct match_facts *f)
{
    int r = STEP_COUNT;

    if (LIKELY(x->snap->n_limits == 0) || !x->worker->charger.table)
        return STEP_COUNT;
    if (x->req->limits.pacing)
        r = pace_wait(x);
    if (r == STEP_COUNT)
        r = charge_requests(x, when, f, false);
    if (r == STEP_COUNT)
        r = charge_requests(x, when, f, true);
    if (r == STEP_COUNT && when != LIMITS_FIRST)
        r = hold_rest(x, when, f);
    kept_asked(x, when);
    return r;
}

/* ---- again ---- */

bool limits_may_again(struct xchg *x)
{
    const struct kept *k = x->req->kept;
    const struct head *h = x->req->head;
    const struct charge *c = k->charge;

    if (!c)
        return !k->charged;
    if (h->body == BODY_SIZED && h->length > c->upload.most)
        return false;
    for (unsigned i = 0; i < c->n; i++)
        if (c->pins[i].quota && quota_is_used(x, c->pins[i].bucket, c->pins[i].quota, c->pins[i].span) && !c->pins[i].slow)
            return false;
    return true;
}

int limits_again(struct xchg *x, enum limits_when when)
{
    struct kept *k = x->req->kept;

    for (unsigned i = 0; i < k->n_tokens; i++) {
        const struct kept_token *t = &k->tokens[i];
        uint64_t us = t->when == when ? charge_request(t->bucket, t->limit->requests, t->limit->burst, x->worker->loop.now_us) : 0;

        if (us) {
            struct match_facts f = xchg_facts(x, x->rec);

            return refuse_requests(x, t->limit, &f, us);
        }
    }
    /* Should its addresses be others, it is asked as usual from here on. */
    if (x->snap->n_limits) {
        memcpy(x->req->limits.requests, k->asked[when].requests, sizeof(k->asked[when].requests));
        memcpy(x->req->limits.rest, k->asked[when].rest, sizeof(k->asked[when].rest));
    }
    if (when == LIMITS_RULED && k->charge) {
        x->relay.charge = k->charge;
        k->charge = NULL;
        charge_resume(x->relay.charge, &x->task);
    }
    return STEP_COUNT;
}

/* Static, for a tunnel has no arena; which limit it was stands in the record's rule. */
static const char *over_text(enum end_reason reason)
{
    switch ((unsigned)reason) {
    case END_UPLOAD_CAP:
        return "more was sent than the limit's `upload`";
    case END_DOWNLOAD_CAP:
        return "more was fetched than the limit's `download`";
    default:
        return "the limit's `quota` is used up";
    }
}

/* When a quota begins again. */
static uint32_t retry_after(struct charge *c)
{
    uint64_t wall_ms = c->charger->shape.loop->wall_ms;

    for (unsigned i = 0; i < c->n; i++)
        if (c->pins[i].title == c->over_title)
            return (uint32_t)((charger_span(c->charger, c->pins[i].span)->end_ms - wall_ms + 999) / 1000);
    return 1;
}

int limits_end(struct xchg *x)
{
    struct charge *c = x->relay.charge;

    /* An answer of ours is nobody's bytes. */
    if (LIKELY(!c) || c->over == END_NONE || (x->req && x->req->local))
        return STEP_COUNT;
    xchg_last_record(x)->rule = slice_str(c->over_title);
    if (x->req) {
        x->req->verdict = (struct verdict){.kind = VERDICT_DENY, .reason = c->over, .place = c->over_title, .what = over_text(c->over)};
        x->req->retry_s = retry_after(c);
    }
    return xchg_fail(x, c->over, over_text(c->over));
}

int limits_answer(struct xchg *x, const struct head *h)
{
    static const char text[] = "the answer is larger than the limit's `download`";
    const struct charge *c = x->relay.charge;

    if (LIKELY(!c) || x->req->local || h->body != BODY_SIZED || h->length <= c->download.most || x->upstream->rx != STREAM_BODY)
        return STEP_COUNT;
    x->rec->rule = slice_str(c->download.title);
    x->req->verdict = (struct verdict){.kind = VERDICT_DENY, .reason = END_DOWNLOAD_CAP, .place = c->download.title, .what = text};
    return xchg_fail(x, END_DOWNLOAD_CAP, text);
}
