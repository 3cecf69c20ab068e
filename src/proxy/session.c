/* SPDX-License-Identifier: MIT */
/* session: the states of a client connection. The task is the mux's owner: it is woken whenever no stream is out and something
 * happened, and asks the mux what is next.
 */
#include "proxy/session.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/kept.h"
#include "proxy/pressure.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

enum { LINGER_READS = 16 };

static void session_free(struct grave *g)
{
    struct session *s = CONTAINER_OF(g, struct session, grave);

    s->magic = OBJ_DEAD;
    mem_free((char *)(uintptr_t)s->identity.name.p);
    mem_free(s->door);
    mem_free(s);
}

/* Which phase of a graceful stop it was that ended it (U58). */
static enum counter session_drain_counter(const struct session *s, bool reset)
{
    if (reset || s->cut)
        return COUNTER_DRAIN_CUT;
    return s->was_idle ? COUNTER_DRAIN_IDLE : COUNTER_DRAIN_FINISHED;
}

static void session_end(struct session *s, bool reset)
{
    struct worker *w = s->worker;

    CHECK(!s->n_xchgs && s->state != SESSION_DEAD);
    kept_free(&s->kept);
    if (w->phase != WORKER_RUN)
        stats_add(&w->stats, session_drain_counter(s, reset), 1);
    s->state = SESSION_DEAD;
    greet_done(s);
    mux_close(&s->mux, reset);
    if (reset)
        conn_reset(&s->conn);
    else
        conn_close(&s->conn);
    if (w->capacity)
        capacity_leave(w->capacity, &s->place);
    w->n_refusing -= s->refused != CAPACITY_OK;
    timer_stop(&s->timer);
    task_cancel(&s->task);
    sweep_forget(&w->sweep, s);
    recheck_forget(&w->recheck, s);
    list_del(&s->link);
    s->grave.free = session_free;
    loop_bury(&w->loop, &s->grave);
    worker_session_gone(w);
}

static void session_deadline(struct session *s, uint64_t in_ms)
{
    s->deadline_ms = s->worker->loop.now_ms + in_ms;
    timer_set_at(&s->timer, s->deadline_ms);
}

static bool session_late(const struct session *s)
{
    return s->deadline_ms && s->worker->loop.now_ms >= s->deadline_ms;
}

/* ---- LINGER ---- */

/* An answer of the greeting's was written without a mux. */
static struct conn *session_conn(struct session *s)
{
    return s->mux ? s->mux->conn : s->conn;
}

static void session_linger(struct session *s)
{
    struct conn *c = session_conn(s);
    struct loop *loop = &s->worker->loop;

    for (int i = 0; i < LINGER_READS; i++) {
        size_t n;

        if (c->eof || loop->now_ms >= s->linger_until_ms) {
            session_end(s, false);
            return;
        }
        switch (conn_recv(c, loop->scratch, LOOP_SCRATCH, &n)) {
        case IO_OK:
            session_deadline(s, SESSION_LINGER_QUIET_MS);
            break;
        case IO_AGAIN:
            if (session_late(s))
                session_end(s, false);
            return;
        case IO_EOF:
        case IO_ERR:
            session_end(s, false);
            return;
        }
    }
    s->task.bulk = true;
    task_wake(&s->task, TASK_RX);
}

static void session_begin_linger(struct session *s)
{
    s->state = SESSION_LINGER;
    s->linger_until_ms = s->worker->loop.now_ms + SESSION_LINGER_MS;
    session_deadline(s, SESSION_LINGER_QUIET_MS);
    session_conn(s)->task = &s->task;
    if (conn_shut(session_conn(s)) < 0) {
        session_end(s, false);
        return;
    }
    session_linger(s);
}

/* ---- SERVE ---- */

static void session_idle(struct session *s)
{
    if (!s->idle) {
        s->idle = true;
        session_deadline(s, s->worker->snap->conf->timeouts.keepalive);
    }
    if (s->worker->phase != WORKER_RUN || session_late(s))
        session_end(s, false);
}

static void session_serve(struct session *s)
{
    switch (mux_serve(s->mux)) {
    case MUX_IDLE:
        session_idle(s);
        return;
    case MUX_BUSY:
        /* The exchange has deadlines of its own; without one, an answer is still leaving. */
        s->idle = false;
        if (!s->n_xchgs && session_late(s))
            session_end(s, true);
        else if (!s->n_xchgs && !s->deadline_ms)
            session_deadline(s, s->worker->snap->conf->timeouts.idle);
        else if (s->n_xchgs)
            s->deadline_ms = 0;
        return;
    case MUX_LINGER:
        session_begin_linger(s);
        return;
    case MUX_CLOSED:
        session_end(s, false);
        return;
    }
}

static void session_on_stream(struct mux *m, struct stream *stream)
{
    struct session *s = OBJ_CAST(struct session, m->owner, SESSION_MAGIC);
    struct xchg *x = xchg_new(s, stream);

    if (!x) {
        stats_add(&s->worker->stats, COUNTER_NO_MEMORY, 1);
        stream_reset(stream);
        stream_release(&stream);
        return;
    }
    list_push(&s->xchgs, &x->link);
    s->n_xchgs++;
    /* A shared mux may be done with it before it asks what is next. */
    s->idle = false;
    s->deadline_ms = 0;
    stream->task = &x->task;
    task_wake(&x->task, TASK_RX);
}

/* ---- GREET ---- */

/* While draining: its request may be on the way, but it is not waited for as long as otherwise. */
static void session_hurry(struct session *s)
{
    uint64_t until_ms = s->since_ms + SESSION_FRESH_MS;

    if (until_ms < s->deadline_ms) {
        s->deadline_ms = until_ms;
        timer_set_at(&s->timer, until_ms);
    }
}

static void session_wait(struct session *s)
{
    if (s->worker->phase != WORKER_RUN)
        session_hurry(s);
    if (!session_late(s))
        return;
    greet_late(s);
    session_end(s, false);
}

static void session_begin_serving(struct session *s, bool h2, struct slice early)
{
    struct worker *w = s->worker;

    s->mux = h2 ? mux_h2_server_new(s->conn, &w->h2, early) : mux_server_new(s->conn, &w->limits, early);
    if (!s->mux) {
        stats_add(&w->stats, COUNTER_NO_MEMORY, 1);
        session_end(s, true);
        return;
    }
    s->conn = NULL;
    s->mux->task = &s->task;
    s->mux->owner = s;
    s->mux->on_stream = session_on_stream;
    s->mux->drain = w->phase != WORKER_RUN;
    s->deadline_ms = 0;
    s->state = SESSION_SERVE;
    session_serve(s);
}

/* The greeting's two states follow each other at most twice: inside of TLS there is no TLS. */
static void session_greet(struct session *s)
{
    struct slice early = SLICE_NONE;
    enum greet_next next = s->state == SESSION_TLS ? GREET_TLS : greet_read(s, &early);

    while (next == GREET_TLS) {
        next = greet_shake(s);
        if (next != GREET_H1)
            break;
        s->state = SESSION_GREET;
        next = greet_read(s, &early);
    }
    switch (next) {
    case GREET_WAIT:
        session_wait(s);
        return;
    case GREET_LINGER:
        session_begin_linger(s);
        return;
    case GREET_H1:
    case GREET_H2:
        session_begin_serving(s, next == GREET_H2, early);
        return;
    case GREET_END:
    case GREET_TLS:
        session_end(s, false);
        return;
    }
}

/* ---- life ---- */

static void session_run(struct task *t, unsigned bits)
{
    struct session *s = OBJ_CAST(struct session, CONTAINER_OF(t, struct session, task), SESSION_MAGIC);

    UNUSED(bits);
    t->bulk = false;
    switch (s->state) {
    case SESSION_GREET:
    case SESSION_TLS:
        session_greet(s);
        return;
    case SESSION_SERVE:
        session_serve(s);
        return;
    case SESSION_LINGER:
        session_linger(s);
        return;
    case SESSION_DEAD:
        break;
    }
    UNREACHABLE();
}

const struct snapshot_listen *session_listen(struct session *s, const struct snapshot *snap)
{
    static const struct snapshot_listen gone[] = {
        [LISTEN_PROXY] = {.role = LISTEN_PROXY, .name = "removed", .gone = true, .reasons = REASONS_OWN, .clients = POLICY_CLIENTS_GONE},
        [LISTEN_ADMIN] = {.role = LISTEN_ADMIN, .name = "removed", .gone = true, .reasons = REASONS_OWN, .clients = POLICY_CLIENTS_GONE},
        [LISTEN_CONTROL] = {.role = LISTEN_CONTROL, .name = "removed", .gone = true, .reasons = REASONS_OWN, .clients = POLICY_CLIENTS_GONE},
    };
    const struct snapshot_listen *l = snapshot_listen_find(snap, s->listen_id);

    if (l)
        return l;
    if (s->mux)
        s->mux->drain = true;
    return &gone[s->role];
}

struct session_identity session_identity(struct session *s)
{
    struct conn *c = s->mux ? s->mux->conn : s->conn;

    if (s->identity.kind != SESSION_UNASKED)
        return s->identity;
    s->identity.kind = SESSION_NOBODY;
    if (s->client.sa.sa_family == AF_UNIX && c && conn_tcp_peer(c, &s->identity.uid))
        s->identity.kind = SESSION_PEER;
    return s->identity;
}

enum end_reason session_admit(struct session *s)
{
    struct worker *w = s->worker;

    if (s->role != LISTEN_PROXY)
        return END_NONE;
    if (!s->refused)
        return pressure_memory(w) ? END_CAPACITY_MEMORY : END_NONE;
    s->refused = pressure_enter(w, &s->client, &s->place);
    w->n_refusing -= s->refused == CAPACITY_OK;
    return pressure_reason(s->refused);
}

int session_start(struct worker *w, struct conn **conn, const struct session_opts *opts)
{
    struct session *s = mem_zalloc(sizeof(*s));
    const struct snapshot_listen *l = worker_listen_of(w, opts->listen_id, NULL);

    if (!s)
        return ERR_NOMEM;
    s->names_users = l && l->users;
    s->magic = SESSION_MAGIC;
    s->worker = w;
    s->conn = *conn;
    s->client = *opts->client;
    s->listen_id = opts->listen_id;
    s->role = opts->role;
    s->place = opts->place;
    s->refused = opts->refused;
    w->n_refusing += s->refused != CAPACITY_OK;
    s->since_ms = w->loop.now_ms;
    task_init(&s->task, &w->loop, "session", session_run);
    timer_init(&s->timer, &s->task);
    s->conn->task = &s->task;
    list_init(&s->xchgs);
    list_push(&w->sessions, &s->link);
    list_init(&s->greet.link);
    session_deadline(s, w->snap->conf->timeouts.head);
    *conn = NULL;
    return 0;
}

void session_xchg_gone(struct session *s, struct xchg *x)
{
    list_del(&x->link);
    s->n_xchgs--;
    s->cut |= x->end == END_DRAINED;
}

void session_drain(struct session *s)
{
    s->was_idle = !s->n_xchgs;
    if (s->mux)
        s->mux->drain = true;
    LIST_EACH(it, &s->xchgs)
        task_wake(&LIST_ENTRY(it, struct xchg, link)->task, TASK_TIMER);
    /* A mux of many streams tells its peer; one of one stream will say it with its answer. */
    if (!s->n_xchgs || (s->mux && s->mux->ops->shared))
        task_wake(&s->task, TASK_TIMER);
}

void session_cut(struct session *s)
{
    LIST_EACH(it, &s->xchgs)
        xchg_cut(LIST_ENTRY(it, struct xchg, link), END_DRAINED, NULL);
    session_end(s, true);
}
