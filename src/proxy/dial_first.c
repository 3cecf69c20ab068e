/* SPDX-License-Identifier: MIT */
/* dial_first: the connection to the first peer: its addresses (the request's, a literal, or the resolver's), and a race over those that there is a source for. Called by
 * dial. What wins is handed to dial_hop. Never connects to ginnel itself as to a parent.
 */
#include "base/check.h"
#include "proxy/dial_inside.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

/* ---- connecting ---- */

static enum dial_next race(struct dial *d)
{
    struct xchg *x = d->x;
    struct worker *w = d->worker;
    const struct route *r = x->req->route;
    struct connect_opts o = {
        .addrs = d->addrs,
        .n = d->n_addrs,
        .timeout_ms = x->snap->conf->timeouts.connect,
        .task = &x->task,
        .sources = dial_sources(r),
        .turn = r && r->turn ? atomic_fetch_add_explicit(r->turn, 1, memory_order_relaxed) : 0,
        .memory = &w->ports,
    };

    stats_add(&w->stats, COUNTER_DIALS, 1);
    d->state = DIAL_RACE;
    d->resolved_us = w->loop.now_us;
    if (connect_start(&w->loop, &o, &d->race) < 0)
        return dial_no_memory(d);
    /* The race keeps its own time; this deadline is behind it. */
    dial_wait(d, o.timeout_ms + 1000);
    return DIAL_GO;
}

/* The addresses that there is a source for, and that are not our own. */
static enum dial_next race_to(struct dial *d, const struct addr *v, unsigned n)
{
    struct source_set sources = dial_sources(d->x->req->route);
    bool own = false;

    d->n_addrs = 0;
    for (unsigned i = 0; i < n && d->n_addrs < CONNECT_MAX_ADDRS; i++) {
        struct addr a = v[i];

        addr_set_port(&a, dial_peer(d)->port);
        if (!dial_is_origin(d, 0) && policy_is_own(d->x->snap->policy, &a))
            own = true;
        else if (source_fits(&sources, &a))
            d->addrs[d->n_addrs++] = a;
    }
    if (d->n_addrs)
        return race(d);
    if (own)
        return dial_fail_peer(d, END_LOOP, "this is ginnel itself");
    return dial_fail_peer(d, END_CONNECT_UNREACHABLE, "`upstream` has no source address of its family");
}

/* ---- its name ---- */

static enum dial_next resolved(struct dial *d)
{
    switch (d->answer.status) {
    case RESOLVE_OK:
        return race_to(d, d->answer.addrs, d->answer.n);
    case RESOLVE_NXDOMAIN:
        return dial_fail_peer(d, END_DNS_ERROR, "its name does not exist");
    case RESOLVE_NODATA:
        return dial_fail_peer(d, END_DNS_ERROR, "its name has no address");
    case RESOLVE_FAILED:
        return dial_fail_peer(d, END_DNS_ERROR, "the resolver failed for its name");
    case RESOLVE_TIMEOUT:
        return dial_fail_peer(d, END_DNS_TIMEOUT, "the resolver did not answer for its name");
    case RESOLVE_LIMIT:
        return dial_fail_peer(d, END_RESOLVER_BUSY, "too many lookups are in flight");
    }
    UNREACHABLE();
}

enum dial_next dial_first_begin(struct dial *d)
{
    const struct xreq *q = d->x->req;

    d->at = 0;
    d->kept = false;
    d->began_us = d->resolved_us = d->worker->loop.now_us;
    if (dial_is_origin(d, 0))
        return race_to(d, q->addrs, q->n_addrs);
    if (dial_peer(d)->literal.sa.sa_family != AF_UNSPEC)
        return race_to(d, &dial_peer(d)->literal, 1);
    d->state = DIAL_RESOLVE;
    if (!resolve_start(d->worker->resolver, dial_peer(d)->host, &d->resolve, &d->x->task, &d->answer))
        return resolved(d);
    /* The resolver has a deadline of its own; this one is behind it in case it is mistaken. */
    return dial_wait(d, d->x->snap->conf->timeouts.connect + 5000);
}

enum dial_next dial_first_await_name(struct dial *d, bool late)
{
    if (d->resolve.done)
        return resolved(d);
    if (!late)
        return DIAL_WAIT;
    resolve_cancel(&d->resolve);
    return dial_fail_peer(d, END_DNS_TIMEOUT, "the resolver did not answer for its name");
}

/* ---- the end of the race ---- */

/* Addresses that failed, or did not answer before another one did, come last for a while (U9, U60). won may be NULL. */
static void penalise(struct dial *d, const struct addr *won)
{
    if (dial_peer(d)->literal.sa.sa_family != AF_UNSPEC)
        return;
    for (unsigned i = 0; i < d->n_addrs && !(won && addr_eq(won, &d->addrs[i])); i++)
        resolve_penalise(d->worker->resolver, dial_peer(d)->host, &d->addrs[i]);
}

enum dial_next dial_first_await_race(struct dial *d, bool late)
{
    struct connect_result won;
    enum end_reason reason;

    switch (connect_take(&d->race, &won)) {
    case IO_AGAIN:
        return late ? dial_fail_peer(d, END_CONNECT_TIMEOUT, "connecting takes too long") : DIAL_WAIT;
    case IO_OK:
        break;
    case IO_EOF:
    case IO_ERR:
        reason = dial_reason(won.error);
        if (end_info(reason)->kind == END_KIND_UPSTREAM && won.error != ERR_PRIVILEGE && won.error != ERR_INTERFACE)
            penalise(d, NULL);
        return dial_fail_peer(d, reason, end_info(reason)->text);
    }
    penalise(d, &won.to);
    d->conn = won.conn;
    d->result.end.peer = won.to;
    d->result.end.from = won.from;
    d->result.end.way = dial_sources(d->x->req->route).way;
    d->result.connect_us = d->worker->loop.now_us - d->resolved_us;
    d->result.dns_us = d->resolved_us - d->began_us;
    return dial_hop_secure(d);
}
