/* SPDX-License-Identifier: MIT */
/* step route: which way? The first entry of `upstream` that matches says which of this machine's addresses the connections come from, and so
 * which families can be dialled. Matched once a request: when it is sent again it goes the same way.
 */
#include "proxy/access_set.h"
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

/* `to` is asked with the address that would be dialled first. */
enum xstep step_route(struct xchg *x)
{
    struct match_facts facts;
    struct xreq *q = x->req;

    if (x->snap->n_routes == 0)
        return STEP_DIAL;
    facts = xchg_facts(x);
    facts.to = &q->addrs[0];
    q->route = route_find(x->snap->routes, x->snap->n_routes, &facts);
    if (!q->route)
        return STEP_DIAL;
    drop_others(q);
    if (q->n_addrs)
        return STEP_DIAL;
    return xchg_fail(x, END_CONNECT_UNREACHABLE,
                     arena_printf(&x->arena, "`upstream` (%s) has no source address of the target's family", q->route->place).p);
}
