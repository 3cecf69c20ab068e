/* SPDX-License-Identifier: MIT */
/* step route: which way? The first entry of `upstream` that matches says whether the request goes nowhere, direct or through parents, and which of
 * this machine's addresses the connections come from. Asked before the name is resolved: towards a parent it is not, unless the entry says so. Matched
 * once a request: when it is sent again it goes the same way.
 */
#include "proxy/access_set.h"
#include "proxy/parents.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

/* Keeps the addresses that there is a source for. */
static void drop_others(struct xreq *q)
{
    struct source_set sources = {.v = q->route->bind, .n = q->route->n_bind};
    unsigned n = 0;

    for (unsigned i = 0; i < q->n_addrs; i++)
        if (source_fits(&sources, &q->addrs[i]))
            q->addrs[n++] = q->addrs[i];
    q->n_addrs = n;
}

static enum xstep refuse(struct xchg *x)
{
    struct verdict v = {.kind = VERDICT_DENY, .reason = END_UPSTREAM_DENIED, .place = x->req->route->place};

    return step_policy_refuse(x, &v);
}

/* The alternatives in the order in which they are tried: as written, but those that failed a moment ago last. */
static void order(struct xchg *x)
{
    struct xreq *q = x->req;
    const struct route *r = q->route;
    uint32_t bad = 0;

    q->at_order = 0;
    q->n_order = 0;
    for (unsigned i = 0; i < r->n_alternatives && r->n_alternatives > 1; i++)
        bad |= parents_failed_lately(x->worker, &r->alternatives[i]) ? 1u << i : 0;
    for (unsigned i = 0; i < r->n_alternatives; i++)
        if (!(bad & 1u << i))
            q->order[q->n_order++] = (uint8_t)i;
    for (unsigned i = 0; i < r->n_alternatives; i++)
        if (bad & 1u << i)
            q->order[q->n_order++] = (uint8_t)i;
    q->doubted = bad != 0;
}

/* `to` is asked with the address that would be dialled first. STEP_COUNT: q->route is what decides. */
static enum xstep find(struct xchg *x)
{
    struct xreq *q = x->req;
    struct match_facts facts = xchg_facts(x, x->rec);
    bool needs = false;

    facts.to = q->resolved ? &q->addrs[0] : NULL;
    facts.pending = q->resolved || q->unresolved ? 0 : MATCH_PENDING_ADDRESS;
    q->route = route_find(x->snap->routes, x->snap->n_routes, &facts, &needs);
    if (needs)
        return STEP_RESOLVE;
    q->routed = true;
    if (!q->route)
        return STEP_COUNT;
    if (q->route->deny)
        return refuse(x);
    order(x);
    return STEP_COUNT;
}

/* A parent that resolves by itself. */
static enum xstep to_parent(struct xchg *x)
{
    struct xreq *q = x->req;

    if (q->resolved)
        return STEP_DIAL;
    if (q->route->resolve)
        return q->unresolved ? step_resolve_fail(x) : step_route_resolve(x);
    if (q->by_name)
        return STEP_DIAL;
    q->by_name = true;
    q->pending &= (uint8_t)~MATCH_PENDING_ADDRESS;
    return STEP_POLICY;
}

static enum xstep direct(struct xchg *x)
{
    struct xreq *q = x->req;

    if (!q->resolved && q->unresolved)
        return step_resolve_fail(x);
    if (!q->resolved)
        return step_route_resolve(x);
    if (!q->route)
        return STEP_DIAL;
    drop_others(q);
    if (q->n_addrs)
        return STEP_DIAL;
    return xchg_fail(x, END_CONNECT_UNREACHABLE,
                     arena_printf(x->arena, "`upstream` (%s) has no source address of the target's family", q->route->place).p);
}

enum xstep step_route_resolve(struct xchg *x)
{
    struct xreq *q = x->req;

    /* It was judged without the address: that is done again, from the beginning. */
    q->anew |= q->by_name;
    q->by_name = false;
    q->pending |= MATCH_PENDING_ADDRESS;
    return STEP_RESOLVE;
}

enum xstep step_route(struct xchg *x)
{
    if (!x->req->routed && x->snap->n_routes) {
        enum xstep found = find(x);

        if (found != STEP_COUNT)
            return found;
    }
    return xchg_alternative(x) ? to_parent(x) : direct(x);
}
