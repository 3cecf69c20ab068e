/* SPDX-License-Identifier: MIT */
/* step dial: an upstream stream: one on a kept connection to a judged address, or the winner of a race over all of them. A request
 * that may not be sent again, or has content (which may outgrow what is kept of it), takes no connection that was idle for more than
 * a second: the origin may be closing it.
 */
#include "base/check.h"
#include "mux/stream_conn.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

/* Which end it is to a client that nothing could be connected. */
static enum end_reason reason_of(int error)
{
    switch (error) {
    case -ECONNREFUSED:
        return END_CONNECT_REFUSED;
    case -EHOSTUNREACH:
    case -ENETUNREACH:
    case -EACCES:
    case -EPERM:
    case -EINVAL:
    case -EADDRNOTAVAIL:
    case -EAFNOSUPPORT:
        return END_CONNECT_UNREACHABLE;
    case ERR_TIMEOUT:
    case -ETIMEDOUT:
        return END_CONNECT_TIMEOUT;
    case -EMFILE:
    case -ENFILE:
        return END_NO_DESCRIPTORS;
    case ERR_NOMEM:
    case -ENOBUFS:
        return END_NO_MEMORY;
    default:
        return END_CONNECT_FAILED;
    }
}

/* The exchange has its stream: what follows depends on what the client asked for. */
static enum xstep dialled(struct xchg *x, struct conn *conn)
{
    if (x->worker->shard && conn && !conn_tcp_local(conn, &x->rec.local))
        x->rec.local.sa.sa_family = AF_UNSPEC;
    return STEP_SEND;
}

static bool replayable(const struct xchg *x)
{
    const struct head *h = x->req->head;

    return method_idempotent(h->method) && h->body == BODY_NONE;
}

static bool take_kept(struct xchg *x)
{
    struct xreq *q = x->req;
    uint64_t idle = replayable(x) ? UINT64_MAX : UPSTREAM_SURE_MS;

    if (q->head->method == METHOD_CONNECT || q->fresh_only)
        return false;
    x->mux = upstream_take(x->worker->upstream, q->head->auth.host, q->port, q->addrs, q->n_addrs, idle, &x->rec.peer);
    if (!x->mux)
        return false;
    x->upstream = mux_open(x->mux, &x->task);
    if (!x->upstream) {
        mux_close(&x->mux, false);
        return false;
    }
    x->rec.reused = true;
    stats_add(&x->worker->stats, COUNTER_POOL_HITS, 1);
    return true;
}

static int begin_race(struct xchg *x)
{
    struct xreq *q = x->req;
    struct worker *w = x->worker;
    struct connect_opts o = {
        .addrs = q->addrs,
        .n = q->n_addrs,
        .timeout_ms = x->snap->conf->timeouts.connect,
        .task = &x->task,
    };

    q->phase_us = w->loop.now_us;
    x->rec.reused = false;
    stats_add(&w->stats, COUNTER_DIALS, 1);
    return connect_start(&w->loop, &o, &q->connect);
}

/* A connection is there: a bare one for a tunnel, a mux for messages. */
static enum xstep use_conn(struct xchg *x, struct conn *conn)
{
    struct worker *w = x->worker;
    struct conn *given = conn;

    x->rec.connect_us = (uint32_t)(w->loop.now_us - x->req->phase_us);
    if (x->req->head->method == METHOD_CONNECT) {
        x->upstream = stream_conn_new(&conn, &x->task);
    } else {
        x->mux = mux_client_new(conn, &w->limits);
        x->upstream = x->mux ? mux_open(x->mux, &x->task) : NULL;
    }
    if (x->upstream)
        return dialled(x, given);
    if (x->mux) {
        /* It broke between being established and being used. */
        mux_close(&x->mux, false);
        return xchg_fail(x, END_UPSTREAM_CLOSED, "the origin closed at once");
    }
    conn_reset(&conn);
    return xchg_fail(x, END_NO_MEMORY, NULL);
}

/* Addresses that failed, or did not answer before another one did, come last for a while (U9, U60). won may be NULL. */
static void penalise(struct xchg *x, const struct addr *won)
{
    const struct xreq *q = x->req;

    if (q->head->auth.kind != HOST_NAME)
        return;
    for (unsigned i = 0; i < q->n_addrs && !(won && addr_eq(won, &q->addrs[i])); i++)
        resolve_penalise(x->worker->resolver, q->head->auth.host, &q->addrs[i]);
}

static enum xstep nothing_connects(struct xchg *x, int error)
{
    penalise(x, NULL);
    /* What was left of the addresses failed; that the others were refused is the better explanation. */
    if (x->req->dropped.kind == VERDICT_DENY)
        return step_policy_refuse(x, &x->req->dropped);
    return xchg_fail(x, reason_of(error), NULL);
}

enum xstep step_dial(struct xchg *x)
{
    struct xreq *q = x->req;
    struct conn *conn;
    int error;

    if (!q->connect) {
        if (take_kept(x))
            return dialled(x, x->mux->conn);
        if (begin_race(x) < 0)
            return xchg_fail(x, END_NO_MEMORY, NULL);
    }
    if (stream_broken(x->client))
        return xchg_abort(x, END_CLIENT_RESET, NULL);
    switch (connect_take(&q->connect, &conn, &x->rec.peer, &error)) {
    case IO_OK:
        penalise(x, &x->rec.peer);
        return use_conn(x, conn);
    case IO_ERR:
    case IO_EOF:
        return nothing_connects(x, error);
    case IO_AGAIN:
        break;
    }
    if (x->expired)
        return xchg_fail(x, x->deadline_reason, NULL);
    /* The race keeps its own time; this deadline is behind it. */
    return xchg_wait_until(x, q->phase_us / 1000 + x->snap->conf->timeouts.connect + 1000, END_CONNECT_TIMEOUT);
}
