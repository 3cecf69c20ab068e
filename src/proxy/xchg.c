/* SPDX-License-Identifier: MIT */
/* xchg: the runner of the step table, and what all steps share: waiting, failing, letting go. A step looks at the state of its
 * streams and answers where to go; it never calls another step.
 */
#include "proxy/xchg.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "mux/stream_local.h"
#include "proxy/dial.h"
#include "proxy/kept.h"
#include "proxy/local.h"
#include "proxy/peek.h"
#include "proxy/session.h"
#include "proxy/worker.h"

#include <string.h>

#define TO(id) (1u << STEP_##id)

struct step {
    const char *name;
    enum xstep (*run)(struct xchg *x);
    unsigned edges;
};

static const struct step steps[STEP_COUNT] = {
#define STEP_X(ID, name, edges) [STEP_##ID] = {#name, step_##name, (edges)},
#include "tbl/steps.h"
};

const char *xchg_step_name(enum xstep s)
{
    return (unsigned)s < STEP_COUNT ? steps[s].name : s == STEP_WAIT ? "wait" : "end";
}

static void xchg_enter(struct xchg *x, enum xstep next)
{
    CHECK((unsigned)next < STEP_COUNT && (steps[x->step].edges & (1u << next)));
    memmove(x->trail, x->trail + 1, sizeof(x->trail) - 1);
    x->trail[sizeof(x->trail) - 1] = (uint8_t)next;
    x->step = next;
    x->expired = false;
}

static void xchg_run(struct task *t, unsigned bits)
{
    struct xchg *x = OBJ_CAST(struct xchg, CONTAINER_OF(t, struct xchg, task), XCHG_MAGIC);

    /* Room in a sink is progress as much as bytes from a source: a slow reader is not idle. */
    if (bits & TASK_TX)
        x->relay.active_ms = t->loop->now_ms;
    /* The timer may be one that was set again since. */
    if ((bits & TASK_TIMER) && t->loop->now_ms >= x->deadline_ms)
        x->expired = true;
    /* Each round enters another step. The bound turns a circle of steps, which would be our own mistake, into a clear end. */
    for (int i = 0; i < XCHG_ROUNDS; i++) {
        enum xstep next = steps[x->step].run(x);

        if (next == STEP_END)
            return;
        if (next == STEP_WAIT) {
            /* A waiting exchange has a deadline (DESIGN 4). */
            CHECK(timer_armed(&x->timer) || !list_empty(&t->link));
            t->bulk = relay_is_bulk(&x->relay, t->loop);
            return;
        }
        xchg_enter(x, next);
    }
    UNREACHABLE();
}

/* ---- for those who look ---- */

void xchg_describe(const struct task *t, struct stall_seen *seen)
{
    const struct xchg *x;

    if (t->run != xchg_run)
        return;
    x = CONTAINER_OF((struct task *)(uintptr_t)t, struct xchg, task);
    seen->step = xchg_step_name(x->step);
    seen->id = xchg_id(x);
}

unsigned xchg_trail_first(const uint8_t trail[XCHG_TRAIL])
{
    unsigned i = 0;

    /* Every exchange begins in step head, and none returns there: the last of several zeros is that step. */
    while (i + 1 < XCHG_TRAIL && trail[i] == STEP_HEAD && trail[i + 1] == STEP_HEAD)
        i++;
    return i;
}

void xchg_trail_text(const uint8_t trail[XCHG_TRAIL], char out[XCHG_TRAIL_TEXT])
{
    size_t n = 0;

    for (unsigned i = xchg_trail_first(trail); i < XCHG_TRAIL; i++) {
        const char *name = xchg_step_name((enum xstep)trail[i]);
        size_t len = strlen(name);

        if (n + len + 2 > XCHG_TRAIL_TEXT)
            break;
        if (n)
            out[n++] = ' ';
        memcpy(out + n, name, len);
        n += len;
    }
    out[n] = '\0';
}

/* ---- life ---- */

struct xchg *xchg_new(struct session *s, struct stream *client)
{
    struct worker *w = s->worker;
    struct xchg *x = mem_zalloc(sizeof(*x));

    if (!x)
        return NULL;
    x->magic = XCHG_MAGIC;
    x->session = s;
    x->worker = w;
    x->client = client;
    task_init(&x->task, &w->loop, "exchange", xchg_run);
    timer_init(&x->timer, &x->task);
    x->arena = arena_new(&w->loop.pages, (size_t)w->limits.head * 6 + XCHG_ARENA_PAGES * 4096);
    x->req = x->arena ? arena_zalloc(x->arena, sizeof(*x->req)) : NULL;
    if (!x->req) {
        arena_delete(x->arena);
        mem_free(x);
        return NULL;
    }
    list_init(&x->req->resolve.link);
    x->rec = &x->req->rec;
    x->snap = w->snap;
    snapshot_borrow(x->snap, w->id);
    x->listen = session_listen(s, x->snap);
    x->rec->listener = slice_str(x->listen->name);
    /* Unique in this process: who, and which one of theirs; below 2^53, for readers of JSON with doubles. */
    x->rec->id = (uint64_t)w->id << 46 | ++w->next_id;
    x->rec->start_us = w->loop.now_us;
    x->rec->wall_ms = w->loop.wall_ms;
    x->rec->client = s->client;
    x->rec->door = s->door;
    x->rec->end = x->end = END_NONE;
    stats_add(&w->stats, COUNTER_EXCHANGES, 1);
    return x;
}

void xchg_cut(struct xchg *x, enum end_reason reason, const char *detail)
{
    enum xstep next = xchg_abort(x, reason, detail);

    /* Whatever step it is in: this is no edge of the table but the end of the table. */
    x->step = next;
    timer_stop(&x->timer);
    if (steps[next].run(x) != STEP_END)
        UNREACHABLE();
}

/* ---- for the steps ---- */

enum xstep xchg_wait_until(struct xchg *x, uint64_t at_ms, enum end_reason reason)
{
    const struct worker *w = x->worker;

    /* Once it has ended for a reason, its answer has what time the worker leaves it. */
    if (w->phase == WORKER_DRAIN && w->drain_until_ms < at_ms && x->end == END_NONE) {
        at_ms = w->drain_until_ms;
        reason = END_DRAINED;
    }
    x->deadline_reason = reason;
    /* A deadline that only moved away is looked at again when the timer fires: no list work per byte moved. */
    if (!timer_armed(&x->timer) || at_ms < x->timer.node.due)
        timer_set_at(&x->timer, at_ms);
    x->deadline_ms = at_ms;
    return STEP_WAIT;
}

enum xstep xchg_yield(struct xchg *x)
{
    x->task.bulk = true;
    task_wake(&x->task, TASK_RX);
    return STEP_WAIT;
}

enum pump_result xchg_upload(struct xchg *x)
{
    struct pump *p = &x->relay.up;
    enum pump_result r;

    if (p->state != PUMP_RUN && p->state != PUMP_FLUSH)
        return PUMP_ENDED;
    r = relay_pump(&x->relay, &x->worker->loop, p, x->client, x->upstream);
    if (r == PUMP_FROM_BROKE || r == PUMP_TO_BROKE)
        pump_stop(p, &x->worker->loop);
    return r;
}

/* A client that waits for 100 is silent because the origin is. */
bool xchg_awaits_client(const struct xchg *x)
{
    const struct pump *p = &x->relay.up;
    bool uploading = p->state == PUMP_RUN || p->state == PUMP_FLUSH;

    return uploading && !p->wants_tx && !p->held && !(x->req->head->expect_continue && !p->bytes);
}

bool xchg_too_slow(struct xchg *x, enum pump_result up, uint64_t rate)
{
    if (!rate || (x->relay.up.state != PUMP_RUN && x->relay.up.state != PUMP_FLUSH))
        return false;
    return !pace_look(&x->req->pace, rate, x->worker->loop.now_ms, x->relay.up.bytes, up == PUMP_WAIT && xchg_awaits_client(x));
}

enum xstep xchg_wait_upload(struct xchg *x, uint64_t at_ms, enum end_reason reason, uint64_t rate)
{
    uint64_t due_ms = rate && xchg_awaits_client(x) ? pace_due_ms(&x->req->pace) : UINT64_MAX;

    return due_ms < at_ms ? xchg_wait_until(x, due_ms, END_REQUEST_TIMEOUT) : xchg_wait_until(x, at_ms, reason);
}

static void xreq_stop(struct xreq *q)
{
    if (!q)
        return;
    users_cancel(&q->auth);
    resolve_cancel(&q->resolve);
    connect_cancel(&q->connect);
    dial_cancel(&q->dial);
    replay_done(&q->replay);
}

void xchg_drop_upstream(struct xchg *x)
{
    bool clean = x->upstream && x->upstream->rx == STREAM_END && x->upstream->tx == STREAM_END;

    if (x->upstream && x->upstream->tunnel && !clean)
        stream_reset(x->upstream);
    stream_release(&x->upstream);
    if (!x->mux)
        return;
    if (x->tunnel || !x->req || x->worker->phase != WORKER_RUN)
        mux_close(&x->mux, !clean);
    else
        upstream_give(x->worker->upstream, &x->mux, &x->req->end);
}

enum xstep xchg_abort(struct xchg *x, enum end_reason reason, const char *detail)
{
    x->end = reason;
    xchg_last_record(x)->detail = detail ? slice_str(detail) : SLICE_NONE;
    xreq_stop(x->req);
    relay_stop(&x->relay, &x->worker->loop);
    if (x->upstream && (x->upstream->rx != STREAM_END || x->upstream->tx != STREAM_END))
        stream_reset(x->upstream);
    stream_reset(x->client);
    return STEP_LOG;
}

enum xstep xchg_reply_local(struct xchg *x, struct head *head, struct slice body)
{
    struct stream *local = stream_local_new(x->arena, head, body);

    if (!local)
        return xchg_abort(x, END_NO_MEMORY, NULL);
    x->upstream = local;
    x->req->local = true;
    return STEP_REPLY;
}

enum xstep xchg_fail(struct xchg *x, enum end_reason reason, const char *detail)
{
    struct head *head;
    struct slice body;

    if (!x->req || x->client->tx != STREAM_HEAD || end_info(reason)->status == 0 || stream_broken(x->client))
        return xchg_abort(x, reason, detail);
    xreq_stop(x->req);
    relay_stop(&x->relay, &x->worker->loop);
    if (x->upstream && !x->req->local && (x->upstream->rx != STREAM_END || x->upstream->tx != STREAM_END))
        stream_reset(x->upstream);
    xchg_drop_upstream(x);
    x->end = reason;
    x->rec->detail = detail ? slice_str(detail) : SLICE_NONE;
    if (local_error(x, reason, detail, &head, &body) < 0)
        return xchg_abort(x, END_NO_MEMORY, NULL);
    return xchg_reply_local(x, head, body);
}

/* ---- which way ---- */

const struct addr *xchg_target(const struct xchg *x, const struct access_record *r)
{
    return r->via.n ? x->to : &r->peer;
}

const struct alternative *xchg_alternative(const struct xchg *x)
{
    const struct xreq *q = x->req;
    const struct alternative *a = q->n_order ? &q->route->alternatives[q->order[q->at_order]] : NULL;

    return a && a->n_hops ? a : NULL;
}

bool xchg_next_alternative(struct xchg *x)
{
    struct xreq *q = x->req;

    if (q->at_order + 1 >= q->n_order)
        return false;
    q->at_order++;
    return true;
}

/* ---- the record ---- */

uint64_t xchg_id(const struct xchg *x)
{
    return x->rec ? x->rec->id : access_folded_id(x->folded);
}

const struct access_record *xchg_record_of(const struct xchg *x, struct access_record *room)
{
    if (x->rec)
        return x->rec;
    access_unfold(x->folded, room);
    room->client = x->session->client;
    room->door = x->session->door;
    return room;
}

struct access_record *xchg_last_record(struct xchg *x)
{
    if (!x->rec) {
        xchg_record_of(x, &x->worker->ending);
        x->rec = &x->worker->ending;
    }
    return x->rec;
}

int xchg_fold_record(struct xchg *x, const struct access_record *r)
{
    struct access_folded *f = access_fold(r), *before = x->folded;

    if (!f)
        return ERR_NOMEM;
    /* In this order: a signal handler may ask for xchg_id at any time. */
    x->folded = f;
    x->rec = NULL;
    access_folded_free(before);
    return 0;
}

void xchg_record(struct xchg *x, enum access_event event)
{
    struct worker *w = x->worker;
    struct access_record r;

    if (!w->shard || x->silent || !w->snap->conf->access_log)
        return;
    if (x->rec)
        r = *x->rec; /* not in `room` */
    else
        xchg_record_of(x, &r);
    r.event = event;
    r.tunnel = x->tunnel;
    r.bytes_up += x->relay.up.bytes;
    r.bytes_down += x->relay.down.bytes;
    r.head_down = x->client->head_bytes;
    if (!access_put(w->shard, &r, w->loop.now_us))
        stats_add(&w->stats, COUNTER_LOG_DROPPED, 1);
}

void xchg_note_denial(struct xchg *x)
{
    struct worker *w = x->worker;
    static const struct addr none;
    struct access_record room;
    const struct access_record *r = xchg_record_of(x, &room);
    const struct addr *to = x->req && x->req->refused.sa.sa_family != AF_UNSPEC ? &x->req->refused : xchg_target(x, r);

    if (w->denials && !x->silent && denials_wants(r))
        denials_put(w->denials, r, to ? to : &none, worker_minute(w));
}

static void give_snapshot_back(struct xchg *x)
{
    struct snapshot *s = x->snap;

    x->snap = NULL;
    x->listen = NULL;
    if (x->req)
        x->req->route = NULL;
    if (s)
        snapshot_return(s, x->worker->id);
}

/* The listener's and the rule's names are the snapshot's. A tunnel's record has its own. */
static int keep_names(struct xchg *x)
{
    struct access_record *r = x->rec;
    struct slice *s[] = {&r->listener, &r->rule, &r->would, &r->via};

    for (unsigned i = 0; i < ARRAY_LEN(s); i++)
        if (s[i]->n) {
            *s[i] = arena_dup(x->arena, *s[i]);
            if (!s[i]->p)
                return ERR_NOMEM;
        }
    return 0;
}

int xchg_leave_snapshot(struct xchg *x)
{
    const struct proxy_conf *c = x->snap->conf;

    if (!x->tunnel && keep_names(x) < 0)
        return ERR_NOMEM;
    x->times.idle_ms = (uint32_t)(x->tunnel ? c->timeouts.tunnel : c->timeouts.idle);
    x->times.half_close_ms = (uint32_t)c->timeouts.half_close;
    x->times.log_every_ms = x->tunnel ? (uint32_t)c->log_every_ms : 0;
    x->times.body_rate = c->timeouts.body_rate;
    x->log_at_ms = x->worker->loop.now_ms + x->times.log_every_ms;
    give_snapshot_back(x);
    return 0;
}

void xchg_end(struct xchg *x)
{
    give_snapshot_back(x);
    if (x->req) {
        limits_forget(&x->req->limits);
        parent_answer_free(&x->req->answered);
        kept_rest(x);
    }
    charge_free(&x->relay.charge);
    mem_free(x->body);
    x->body = NULL;
    mem_free(x->to);
    x->to = NULL;
    peek_free(x->peek);
    x->peek = NULL;
}

/* The record is folded; everything else of the request goes. */
int xchg_shed(struct xchg *x)
{
    if (xchg_fold_record(x, x->rec) < 0)
        return ERR_NOMEM;
    xreq_stop(x->req);
    kept_shed(x);
    x->req = NULL;
    arena_delete(x->arena);
    x->arena = NULL;
    return 0;
}

int xchg_add_via(struct xchg *x, struct head *h)
{
    const struct proxy_conf *c = x->snap->conf;
    struct slice version = h->version == 10 ? SLICE("1.0 ") : h->version == 20 ? SLICE("2.0 ") : SLICE("1.1 "), v;
    size_t n = strlen(c->name);
    char *p;

    if (!c->via)
        return 0;
    p = arena_alloc(x->arena, version.n + n);
    if (!p)
        return ERR_NOMEM;
    memcpy(p, version.p, version.n);
    memcpy(p + version.n, c->name, n);
    v = slice_of(p, version.n + n);
    return hdrs_add_known(&h->fields, x->arena, HDR_VIA, v);
}
