/* SPDX-License-Identifier: MIT */
/* step dial: an upstream stream: one on a kept connection to a judged address, or the winner of a race over all of them. A request
 * that may not be sent again, or has content (which may outgrow what is kept of it), takes no connection that was idle for more than
 * a second: the origin may be closing it.
 */
#include "base/check.h"
#include "base/log.h"
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
    case ERR_PRIVILEGE:
    case ERR_INTERFACE:
        return END_CONNECT_UNREACHABLE;
    case ERR_TIMEOUT:
    case -ETIMEDOUT:
        return END_CONNECT_TIMEOUT;
    case -EMFILE:
    case -ENFILE:
        return END_NO_DESCRIPTORS;
    case ERR_PORTS:
        return END_NO_PORTS;
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
    if (x->worker->shard && x->snap->conf->access_log && conn && !conn_tcp_local(conn, &x->rec.local))
        x->rec.local.sa.sa_family = AF_UNSPEC;
    return STEP_SEND;
}

static bool replayable(const struct xchg *x)
{
    const struct head *h = x->req->head;

    return method_idempotent(h->method) && h->body == BODY_NONE;
}

static struct source_set sources_of(const struct xreq *q)
{
    const struct route *r = q->route;
    struct source_set set = {0};

    if (!r)
        return set;
    set = (struct source_set){.v = r->bind, .n = r->n_bind, .way = {.mark = r->mark}};
    _Static_assert(sizeof(set.way.interface) == sizeof(r->interface), "both are what the kernel takes");
    memcpy(set.way.interface, r->interface, sizeof(r->interface));
    return set;
}

static bool take_kept(struct xchg *x)
{
    struct xreq *q = x->req;
    struct upstream_want want = {
        .host = q->head->auth.host,
        .port = q->port,
        .addrs = q->addrs,
        .n_addrs = q->n_addrs,
        .sources = sources_of(q),
        .max_idle_ms = replayable(x) ? UINT64_MAX : UPSTREAM_SURE_MS,
    };
    struct upstream_end end;

    if (q->head->method == METHOD_CONNECT || q->fresh_only)
        return false;
    x->mux = upstream_take(x->worker->upstream, &want, &end);
    if (!x->mux)
        return false;
    x->rec.peer = end.addr;
    q->from = end.from;
    q->way = end.way;
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
        .sources = sources_of(q),
        .turn = q->route ? atomic_fetch_add_explicit(q->route->turn, 1, memory_order_relaxed) : 0,
        .memory = &w->ports,
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

/* Said once a second, whoever asks: the configuration names what this machine does not have. */
static void warn_foreign(const struct xchg *x, const struct addr *foreign)
{
    char text[ADDR_TEXT_MAX];

    if (foreign->sa.sa_family == AF_UNSPEC)
        return;
    addr_host_text(foreign, text);
    log_limited(LOG_WARN, 1, "%s: `bind`: %s is not an address of this machine", x->req->route->place, text);
}

/* What a route wants of the kernel, and this process may not have. Said once a second as well. */
static const char *refused_way(struct xchg *x, int error)
{
    const struct route *r = x->req->route;

    if (error == ERR_INTERFACE) {
        log_limited(LOG_WARN, 1, "%s: `interface`: there is no network interface %s", r->place, r->interface);
        return arena_printf(&x->arena, "the interface of `upstream` (%s) is not there", r->place).p;
    }
    log_limited(LOG_WARN, 1, "%s: `%s` is not permitted to this process: it takes CAP_NET_ADMIN", r->place, r->mark ? "mark" : "interface");
    return arena_printf(&x->arena, "`%s` of `upstream` (%s) is not permitted to this process", r->mark ? "mark" : "interface", r->place).p;
}

static const char *detail_of(struct xchg *x, int error)
{
    const struct route *r = x->req->route;

    if (r && (error == ERR_PRIVILEGE || error == ERR_INTERFACE))
        return refused_way(x, error);
    if (error == -EADDRNOTAVAIL && r)
        return arena_printf(&x->arena, "a source address of `upstream` (%s) is not this machine's", r->place).p;
    if (error == -EADDRNOTAVAIL)
        return "this machine has no address to come from";
    if (error == ERR_PORTS && r)
        return arena_printf(&x->arena, "every port towards the target is in use, at all source addresses of `upstream` (%s)", r->place).p;
    return NULL;
}

static enum xstep nothing_connects(struct xchg *x, int error)
{
    enum end_reason reason = reason_of(error);

    /* A limit of ours says nothing about the addresses. */
    if (end_info(reason)->kind == END_KIND_UPSTREAM && error != ERR_PRIVILEGE && error != ERR_INTERFACE)
        penalise(x, NULL);
    /* What was left of the addresses failed; that the others were refused is the better explanation. */
    if (x->req->dropped.kind == VERDICT_DENY)
        return step_policy_refuse(x, &x->req->dropped);
    return xchg_fail(x, reason, detail_of(x, error));
}

enum xstep step_dial(struct xchg *x)
{
    struct xreq *q = x->req;
    struct connect_result won;
    enum io r;

    if (!q->connect) {
        if (take_kept(x))
            return dialled(x, x->mux->conn);
        if (begin_race(x) < 0)
            return xchg_fail(x, END_NO_MEMORY, NULL);
    }
    if (stream_broken(x->client))
        return xchg_abort(x, END_CLIENT_RESET, NULL);
    r = connect_take(&q->connect, &won);
    if (r != IO_AGAIN)
        warn_foreign(x, &won.foreign);
    if (r == IO_OK) {
        x->rec.peer = won.to;
        q->from = won.from;
        q->way = sources_of(q).way;
        penalise(x, &won.to);
        return use_conn(x, won.conn);
    }
    if (r != IO_AGAIN)
        return nothing_connects(x, won.error);
    if (x->expired)
        return xchg_fail(x, x->deadline_reason, NULL);
    /* The race keeps its own time; this deadline is behind it. */
    return xchg_wait_until(x, q->phase_us / 1000 + x->snap->conf->timeouts.connect + 1000, END_CONNECT_TIMEOUT);
}
