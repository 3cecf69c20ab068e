/* SPDX-License-Identifier: MIT */
/* step resolve: which addresses? A literal is its own answer; a name is asked for. The addresses go back to policy before anything is
 * dialled.
 */
#include "base/check.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

/* Where that is not the end: an entry of `upstream` wanted to know the address, and does not match; or a parent is the next alternative. */
static enum xstep unanswered(struct xchg *x)
{
    struct xreq *q = x->req;
    bool before_route = x->snap->n_routes && !q->routed;

    if (!before_route && (xchg_alternative(x) || !xchg_next_alternative(x)))
        return step_resolve_fail(x);
    q->unresolved = true;
    q->by_name = true;
    q->pending &= (uint8_t)~MATCH_PENDING_ADDRESS;
    return STEP_POLICY;
}

static enum xstep answered(struct xchg *x)
{
    struct xreq *q = x->req;

    x->rec->dns_us = (uint32_t)(x->worker->loop.now_us - q->phase_us);
    if (q->answer.status != RESOLVE_OK)
        return unanswered(x);
    q->resolved = true;
    stats_add(&x->worker->stats, COUNTER_DNS_STALE, q->answer.stale);
    return STEP_POLICY;
}

enum xstep step_resolve_fail(struct xchg *x)
{
    switch (x->req->answer.status) {
    case RESOLVE_OK:
        break;
    case RESOLVE_NXDOMAIN:
        return xchg_fail(x, END_DNS_ERROR, "the name does not resolve: it does not exist");
    case RESOLVE_NODATA:
        return xchg_fail(x, END_DNS_ERROR, "the name does not resolve: it has no address");
    case RESOLVE_FAILED:
        return xchg_fail(x, END_DNS_ERROR, "the resolver failed");
    case RESOLVE_TIMEOUT:
        return xchg_fail(x, END_DNS_TIMEOUT, "the resolver did not answer");
    case RESOLVE_LIMIT:
        return xchg_fail(x, END_RESOLVER_BUSY, "too many lookups are in flight");
    }
    UNREACHABLE();
}

static void literal(struct xchg *x)
{
    const struct authority *auth = &x->req->head->auth;
    struct resolve_answer *a = &x->req->answer;

    a->status = RESOLVE_OK;
    a->n = 1;
    if (auth->kind == HOST_IPV4)
        addr_v4(&a->addrs[0], auth->addr, 0);
    else
        addr_v6(&a->addrs[0], auth->addr, 0);
}

enum xstep step_resolve(struct xchg *x)
{
    struct xreq *q = x->req;
    struct worker *w = x->worker;

    if (!q->resolve.busy && !q->resolve.done) {
        q->phase_us = w->loop.now_us;
        if (q->head->auth.kind != HOST_NAME) {
            literal(x);
            return answered(x);
        }
        resolve_start(w->resolver, q->head->auth.host, &q->resolve, &x->task, &q->answer);
    }
    if (q->resolve.busy) {
        /* At the start as well: an RST that came with the head has no event of its own any more. */
        if (stream_broken(x->client))
            return xchg_abort(x, END_CLIENT_RESET, NULL);
        if (x->expired)
            return xchg_fail(x, x->deadline_reason, "the resolver did not answer");
    }
    if (q->resolve.done)
        return answered(x);
    /* The resolver has a deadline of its own; this one is behind it in case it is mistaken. */
    return xchg_wait_until(x, q->phase_us / 1000 + x->snap->conf->timeouts.connect + 5000, END_DNS_TIMEOUT);
}
