/* SPDX-License-Identifier: MIT */
/* report: a worker describes itself. Called on its thread between two of its tasks, when everything it looks at is in order; copies values and
 * keeps nothing. It never waits, and allocates nothing: whoever asks because memory has run out still gets an answer.
 */
#include "proxy/report.h"

#include "proxy/session.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

#include <string.h>

_Static_assert(sizeof(((struct report_xchg *)0)->trail) == sizeof(((struct xchg *)0)->trail), "the trail is copied whole");

static void copy_cut(char *to, size_t cap, struct slice from)
{
    size_t n = min_size(from.n, cap - 1);

    if (n)
        memcpy(to, from.p, n);
    to[n] = '\0';
}

/* Clocks of one turn do not go back, but what was noted in another turn is compared: never below zero. */
static uint64_t since(uint64_t now, uint64_t then)
{
    return now > then ? now - then : 0;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void fill_xchg(const struct worker *w, const struct xchg *x, struct report_xchg *r)
{
    const struct access_record *a = &x->rec;

    *r = (struct report_xchg){
        .id = a->id,
        .age_ms = since(w->loop.now_us, a->start_us) / 1000,
        .bytes_up = a->bytes_up + x->relay.up.bytes,
        .bytes_down = a->bytes_down + x->relay.down.bytes,
        .client = a->client,
        .peer = a->peer,
        .port = a->port,
        .status = a->status,
        .tunnel = x->tunnel,
        .step = (uint8_t)x->step,
        .deadline_ms = timer_armed(&x->timer) ? since(x->deadline_ms, w->loop.now_ms) : UINT64_MAX,
    };
    /* Before its relay moves something, it has been quiet for all its life, and never for longer (of two clocks that are rounded). */
    r->quiet_ms = min_u64(r->age_ms, x->relay.active_ms ? since(w->loop.now_ms, x->relay.active_ms) : UINT64_MAX);
    memcpy(r->trail, x->trail, sizeof(r->trail));
    copy_cut(r->method, sizeof(r->method), a->method);
    copy_cut(r->host, sizeof(r->host), a->host);
}

void report_fill(const struct worker *w, struct report_worker *r)
{
    *r = (struct report_worker){
        .id = w->id,
        .generation = w->snap->generation,
        .phase = (int)w->phase,
        .turns = w->loop.turns,
        .tasks = w->loop.tasks_run,
        .pooled = upstream_count(w->upstream),
        .lookups = w->resolver ? resolver_lookups(w->resolver) : 0,
        .v = r->v,
        .cap = r->cap,
    };
    LIST_EACH(it, &w->sessions) {
        const struct session *s = LIST_ENTRY(it, struct session, link);

        r->sessions++;
        if (!s->xchg)
            continue;
        r->exchanges++;
        r->tunnels += s->xchg->tunnel;
        if (r->n < r->cap)
            fill_xchg(w, s->xchg, &r->v[r->n++]);
    }
}
