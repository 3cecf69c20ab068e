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
    struct access_record room;
    const struct access_record *a = xchg_record_of(x, &room);

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

/* ---- sessions ---- */

_Static_assert((int)REPORT_STATES == REPORT_STEP + (int)STEP_COUNT, "a state a step");

const char *report_state_name(unsigned state)
{
    static const char *const names[] = {"greet", "idle", "leaving", "linger"};

    return state < REPORT_STEP ? names[state] : xchg_step_name((enum xstep)(state - REPORT_STEP));
}

/* Of several exchanges the oldest speaks for the connection. */
static unsigned state_of(const struct session *s)
{
    const struct xchg *x = xchg_first(&s->xchgs);

    if (x)
        return REPORT_STEP + (unsigned)x->step;
    switch (s->state) {
    case SESSION_GREET:
    case SESSION_TLS:
        return REPORT_GREET;
    case SESSION_SERVE:
        return s->idle ? REPORT_IDLE : REPORT_LEAVING;
    case SESSION_LINGER:
    case SESSION_DEAD:
        break;
    }
    return REPORT_LINGER;
}

static struct report_side side_of(const struct stream_look *look, const struct stream *s)
{
    const struct conn *c = look->conn;

    if (!c)
        return (struct report_side){.rx = s ? (uint8_t)s->rx : 0, .tx = s ? (uint8_t)s->tx : 0};
    return (struct report_side){
        .there = true,
        .ready = c->ready,
        .hup = c->hup,
        .eof = c->eof,
        .shut = c->shut,
        .error = c->error,
        .rx = s ? (uint8_t)s->rx : 0,
        .tx = s ? (uint8_t)s->tx : 0,
        .unread = look->unread,
        .unsent = look->unsent,
    };
}

static struct report_pump pump_of(const struct pump *p)
{
    return (struct report_pump){.state = (uint8_t)p->state, .full = p->wants_tx, .piped = p->pipe ? p->pipe->bytes : 0};
}

static void fill_session_xchg(const struct worker *w, const struct xchg *x, struct report_session *r)
{
    struct stream_look client = stream_look(x->client), upstream = stream_look(x->upstream);

    fill_xchg(w, x, &r->x);
    r->deadline_ms = r->x.deadline_ms;
    r->deadline_reason = (uint8_t)x->deadline_reason;
    r->queued = !list_empty(&x->task.link);
    r->client = side_of(&client, x->client);
    r->upstream = side_of(&upstream, x->upstream);
    r->up = pump_of(&x->relay.up);
    r->down = pump_of(&x->relay.down);
}

static void fill_session(const struct worker *w, const struct session *s, struct report_session *r)
{
    struct stream_look look = {.conn = s->conn ? s->conn : s->mux ? s->mux->conn : NULL};
    const struct xchg *x = xchg_first(&s->xchgs);

    *r = (struct report_session){
        .state = (uint8_t)state_of(s),
        .age_ms = since(w->loop.now_ms, s->since_ms),
        .deadline_ms = s->deadline_ms ? since(s->deadline_ms, w->loop.now_ms) : UINT64_MAX,
        .queued = !list_empty(&s->task.link),
    };
    if (x) {
        fill_session_xchg(w, x, r);
        return;
    }
    r->x.client = s->client;
    if (s->mux && s->state == SESSION_SERVE)
        mux_waits(s->mux, &look);
    r->client = side_of(&look, NULL);
}

/* ---- the walk ---- */

/* The oldest of each state, as they come. It lies in the loop's scratch buffer. */
struct picked {
    unsigned n[REPORT_STATES];
    const struct session *v[REPORT_STATES][REPORT_SESSIONS];
};
_Static_assert(sizeof(struct picked) <= LOOP_SCRATCH, "it lies in the loop's scratch buffer");

static void look_at(const struct worker *w, const struct session *s, struct report_worker *r, struct picked *p)
{
    unsigned state = state_of(s);

    r->looked++;
    r->sessions++;
    r->states[state]++;
    if (p && p->n[state] < REPORT_SESSIONS)
        p->v[state][p->n[state]++] = s;
    LIST_EACH(it, &s->xchgs) {
        const struct xchg *x = LIST_ENTRY(it, struct xchg, link);

        r->exchanges++;
        r->tunnels += x->tunnel;
        if (r->n < r->cap)
            fill_xchg(w, x, &r->v[r->n++]);
    }
}

/* Of more than can be looked at, the counters tell how many they are. */
static void count_all(const struct worker *w, struct report_worker *r)
{
    const struct stats *st = &w->stats;

    r->sessions = atomic_load_explicit(&w->load, memory_order_relaxed);
    r->exchanges = (unsigned)(stats_get(st, COUNTER_EXCHANGES) - stats_get(st, COUNTER_EXCHANGES_ENDED));
    r->tunnels = (unsigned)(stats_get(st, COUNTER_TUNNELS) - stats_get(st, COUNTER_TUNNELS_ENDED));
}

/* The youngest REPORT_BACK of those behind `from`, oldest first. */
static void look_at_back(const struct worker *w, const struct list *from, struct report_worker *r, struct picked *p)
{
    const struct list *it = &w->sessions;

    for (unsigned i = 0; i < REPORT_BACK && it->prev != from; i++)
        it = it->prev;
    for (; it != &w->sessions; it = it->next)
        look_at(w, LIST_ENTRY((struct list *)(uintptr_t)it, struct session, link), r, p);
    count_all(w, r);
}

static void walk(const struct worker *w, struct report_worker *r, struct picked *p)
{
    const struct list *it = w->sessions.next;

    for (unsigned i = 0; i < REPORT_FRONT && it != &w->sessions; i++, it = it->next)
        look_at(w, LIST_ENTRY((struct list *)(uintptr_t)it, struct session, link), r, p);
    if (it != &w->sessions)
        look_at_back(w, it->prev, r, p);
}

/* Each state gives its oldest, then its second, until there are enough; then they are written down by state. */
static void fill_sessions(const struct worker *w, struct report_worker *r, const struct picked *p)
{
    unsigned take[REPORT_STATES] = {0}, n = 0;

    for (unsigned round = 0; round < REPORT_SESSIONS && n < r->cap_s; round++)
        for (unsigned state = 0; state < REPORT_STATES && n < r->cap_s; state++)
            if (round < p->n[state])
                take[state]++, n++;
    for (unsigned state = 0; state < REPORT_STATES; state++)
        for (unsigned i = 0; i < take[state]; i++)
            fill_session(w, p->v[state][i], &r->s[r->n_s++]);
}

static unsigned count_list(const struct list *head)
{
    unsigned n = 0;

    for (const struct list *l = head->next; l != head && n < REPORT_FRONT; l = l->next)
        n++;
    return n;
}

void report_fill(const struct worker *w, struct report_worker *r)
{
    struct picked *p = r->cap_s ? (struct picked *)(void *)w->loop.scratch : NULL;

    *r = (struct report_worker){
        .id = w->id,
        .generation = w->snap->generation,
        .phase = (int)w->phase,
        .turns = w->loop.turns,
        .tasks = w->loop.tasks_run,
        .pooled = upstream_count(w->upstream),
        .lookups = w->resolver ? resolver_lookups(w->resolver) : 0,
        .small = count_list(&w->loop.small),
        .bulk = count_list(&w->loop.bulk),
        .timers = (unsigned)w->loop.wheel.n,
        .v = r->v,
        .cap = r->cap,
        .s = r->s,
        .cap_s = r->cap_s,
    };
    if (p)
        memset(p->n, 0, sizeof(p->n));
    walk(w, r, p);
    if (p)
        fill_sessions(w, r, p);
}
