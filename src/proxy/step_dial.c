/* SPDX-License-Identifier: MIT */
/* step dial: an upstream stream: one on a kept connection to a judged address, or the winner of a race over all of them; or what dial.c finds through parents and over
 * TLS. The alternatives of a route are tried in order, for as long as no parent has answered. A request that may not be sent again, or has content (which may outgrow what is kept of it), takes no connection that was idle for more than
 * a second: the origin may be closing it.
 */
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "mux/stream_conn.h"
#include "proxy/dial.h"
#include "proxy/parents.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

/* The exchange has its stream: what follows depends on what the client asked for. */
static enum xstep dialled(struct xchg *x, struct conn *conn)
{
    if (x->worker->shard && x->snap->conf->access_log && conn && !conn_tcp_local(conn, &x->rec->local))
        x->rec->local.sa.sa_family = AF_UNSPEC;
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
    struct upstream_want want = {
        .host = q->head->auth.host,
        .port = q->port,
        .addrs = q->addrs,
        .n_addrs = q->n_addrs,
        .sources = dial_sources(q->route),
        .max_idle_ms = replayable(x) ? UINT64_MAX : UPSTREAM_SURE_MS,
    };

    if (q->head->method == METHOD_CONNECT || q->fresh_only)
        return false;
    x->mux = upstream_take(x->worker->upstream, &want, &q->end);
    if (!x->mux)
        return false;
    x->rec->peer = q->end.peer;
    x->upstream = mux_open(x->mux, &x->task);
    if (!x->upstream) {
        mux_close(&x->mux, false);
        return false;
    }
    x->rec->reused = true;
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
        .sources = dial_sources(q->route),
        .turn = q->route ? atomic_fetch_add_explicit(q->route->turn, 1, memory_order_relaxed) : 0,
        .memory = &w->ports,
    };

    q->phase_us = w->loop.now_us;
    x->rec->reused = false;
    stats_add(&w->stats, COUNTER_DIALS, 1);
    return connect_start(&w->loop, &o, &q->connect);
}

/* A connection is there: a bare one for a tunnel, a mux for messages. */
static enum xstep use_conn(struct xchg *x, struct conn *conn)
{
    struct worker *w = x->worker;
    struct conn *given = conn;

    x->rec->connect_us = (uint32_t)(w->loop.now_us - x->req->phase_us);
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
        return arena_printf(x->arena, "the interface of `upstream` (%s) is not there", r->place).p;
    }
    log_limited(LOG_WARN, 1, "%s: `%s` is not permitted to this process: it takes CAP_NET_ADMIN", r->place, r->mark ? "mark" : "interface");
    return arena_printf(x->arena, "`%s` of `upstream` (%s) is not permitted to this process", r->mark ? "mark" : "interface", r->place).p;
}

static const char *detail_of(struct xchg *x, int error)
{
    const struct route *r = x->req->route;

    if (r && (error == ERR_PRIVILEGE || error == ERR_INTERFACE))
        return refused_way(x, error);
    if (error == -EADDRNOTAVAIL && r)
        return arena_printf(x->arena, "a source address of `upstream` (%s) is not this machine's", r->place).p;
    if (error == -EADDRNOTAVAIL)
        return "this machine has no address to come from";
    if (error == ERR_PORTS && r)
        return arena_printf(x->arena, "every port towards the target is in use, at all source addresses of `upstream` (%s)", r->place).p;
    return NULL;
}

static enum xstep nothing_connects(struct xchg *x, int error)
{
    enum end_reason reason = dial_reason(error);

    /* A limit of ours says nothing about the addresses. */
    if (end_info(reason)->kind == END_KIND_UPSTREAM && error != ERR_PRIVILEGE && error != ERR_INTERFACE)
        penalise(x, NULL);
    /* What was left of the addresses failed; that the others were refused is the better explanation. */
    if (x->req->dropped.kind == VERDICT_DENY)
        return step_policy_refuse(x, &x->req->dropped);
    return xchg_fail(x, reason, detail_of(x, error));
}

/* STEP_DIAL: the next alternative is tried. STEP_COUNT: there is none. */
static enum xstep another(struct xchg *x)
{
    struct xreq *q = x->req;

    if (!xchg_next_alternative(x))
        return STEP_COUNT;
    q->phase_us = x->worker->loop.now_us;
    x->expired = false;
    return STEP_DIAL;
}

/* ---- one connection in clear ---- */

static enum xstep race_over(struct xchg *x, enum io r, const struct connect_result *won)
{
    struct xreq *q = x->req;
    enum xstep next;

    warn_foreign(x, &won->foreign);
    if (r == IO_OK) {
        x->rec->peer = won->to;
        q->end = (struct upstream_end){.host = q->head->auth.host, .port = q->port, .addr = won->to, .peer = won->to, .from = won->from, .way = dial_sources(q->route).way};
        penalise(x, &won->to);
        return use_conn(x, won->conn);
    }
    next = end_info(dial_reason(won->error))->kind == END_KIND_UPSTREAM ? another(x) : STEP_COUNT;
    return next == STEP_COUNT ? nothing_connects(x, won->error) : next;
}

/* A parent that broke off may have been tried before: nothing that was for it goes on to the origin. */
static void leave_parents(struct xchg *x)
{
    x->req->parent = NULL;
    x->rec->via = SLICE_NONE;
    mem_free(x->to);
    x->to = NULL;
}

static enum xstep direct(struct xchg *x)
{
    struct xreq *q = x->req;
    struct connect_result won;
    enum io r;

    if (!q->connect) {
        leave_parents(x);
        if (take_kept(x))
            return dialled(x, x->mux->conn);
        if (begin_race(x) < 0)
            return xchg_fail(x, END_NO_MEMORY, NULL);
    }
    if (stream_broken(x->client))
        return xchg_abort(x, END_CLIENT_RESET, NULL);
    r = connect_take(&q->connect, &won);
    if (r != IO_AGAIN)
        return race_over(x, r, &won);
    if (x->expired)
        return xchg_fail(x, x->deadline_reason, NULL);
    /* The race keeps its own time; this deadline is behind it. */
    return xchg_wait_until(x, q->phase_us / 1000 + x->snap->conf->timeouts.connect + 1000, END_CONNECT_TIMEOUT);
}

/* ---- through parents, or over TLS ---- */

/* "http://a:1 http://b:2" */
static struct slice via_text(struct xchg *x, const struct alternative *a)
{
    struct slice all = a ? slice_str(a->hops[0].text) : SLICE("");

    for (unsigned i = 1; a && i < a->n_hops && all.p; i++)
        all = arena_printf(x->arena, SLICE_FMT " %s", SLICE_ARG(all), a->hops[i].text);
    return all;
}

static enum xstep arrived(struct xchg *x, const struct dial_result *r)
{
    const struct alternative *a = xchg_alternative(x);
    struct xreq *q = x->req;

    x->upstream = r->upstream;
    x->mux = r->mux;
    q->end = r->end;
    q->parent = r->parent;
    x->rec->peer = r->end.peer;
    x->rec->reused = r->reused;
    x->rec->connect_us = (uint32_t)r->connect_us;
    x->rec->dns_us += (uint32_t)r->dns_us;
    x->rec->via = via_text(x, a);
    if (r->reused)
        stats_add(&x->worker->stats, COUNTER_POOL_HITS, 1);
    mem_free(x->to);
    x->to = NULL;
    if (a && q->resolved) {
        const struct addr *to = r->to.sa.sa_family != AF_UNSPEC ? &r->to : &q->addrs[0];

        x->to = (struct addr *)(void *)mem_dup(to, sizeof(*to));
        if (!x->to)
            return xchg_fail(x, END_NO_MEMORY, NULL);
    }
    if (a && q->doubted)
        parents_served(x->worker, a);
    return x->rec->via.p ? dialled(x, x->mux ? x->mux->conn : NULL) : xchg_fail(x, END_NO_MEMORY, NULL);
}

/* The parents' names are for the log, and for those who are told everything. */
static enum xstep fail_with(struct xchg *x, const struct dial_result *r)
{
    bool all = x->listen->reasons == REASONS_ALL;
    enum xstep next;

    x->req->alert = r->alert;
    next = xchg_fail(x, r->reason, all ? r->detail : r->shown);
    if (r->detail)
        x->rec->detail = slice_str(r->detail);
    return next;
}

static enum xstep failed(struct xchg *x, struct dial_result *r)
{
    struct xreq *q = x->req;
    const struct alternative *a = xchg_alternative(x);
    enum xstep next;

    if (r->failed && !r->final)
        parents_failed(x->worker, r->failed, r->detail ? r->detail : "out of memory", q->n_order > 1);
    next = r->final ? STEP_COUNT : another(x);
    if (next != STEP_COUNT) {
        parent_answer_free(&r->answer);
        return next;
    }
    parent_answer_free(&q->answered);
    q->answered = r->answer;
    x->rec->via = via_text(x, a);
    return x->rec->via.p ? fail_with(x, r) : xchg_fail(x, END_NO_MEMORY, NULL);
}

static enum xstep through(struct xchg *x)
{
    struct xreq *q = x->req;
    struct dial_result r;
    bool late = x->expired && x->deadline_reason != END_DRAINED;
    enum io io;

    if (stream_broken(x->client))
        return xchg_abort(x, END_CLIENT_RESET, NULL);
    if (!q->dial) {
        int e = dial_start(x, q->fresh_only, &q->dial);

        q->phase_us = x->worker->loop.now_us;
        if (e < 0)
            return xchg_fail(x, e == ERR_STATE ? END_NOT_BUILT : END_NO_MEMORY, e == ERR_STATE ? "there is no TLS context for the next hop" : NULL);
    }
    if (x->expired && !late)
        return xchg_fail(x, x->deadline_reason, NULL);
    x->expired = false;
    io = dial_take(&q->dial, late, &r);
    if (io == IO_OK)
        return arrived(x, &r);
    return io == IO_ERR ? failed(x, &r) : xchg_wait_until(x, dial_until_ms(q->dial), END_CONNECT_TIMEOUT);
}

static bool is_plain(const struct xchg *x)
{
    const struct head *h = x->req->head;

    return !xchg_alternative(x) && (h->method == METHOD_CONNECT || h->scheme != SCHEME_HTTPS);
}

enum xstep step_dial(struct xchg *x)
{
    enum xstep next = STEP_DIAL;

    /* Ends: each round is another alternative. */
    while (next == STEP_DIAL) {
        if (!xchg_alternative(x) && !x->req->resolved)
            return x->req->unresolved ? step_resolve_fail(x) : step_route_resolve(x);
        next = is_plain(x) ? direct(x) : through(x);
    }
    return next;
}
