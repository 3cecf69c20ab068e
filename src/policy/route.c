/* SPDX-License-Identifier: MIT */
/* route: the walk over the entries of `upstream`. Called once a request, by the step of that name.
 */
#include "policy/route.h"

#include <stddef.h>

static enum match_answer entry_asks(const struct matcher *where, unsigned n, const struct match_facts *f)
{
    return n == 0 ? MATCH_YES : matcher_ask_any(where, n, f, MATCH_FOR, NULL);
}

const struct route *route_find(const struct route *v, unsigned n, const struct match_facts *f, bool *ret_needs)
{
    bool needs = false;
    const struct route *found = NULL;

    for (unsigned i = 0; i < n && !needs && !found; i++) {
        enum match_answer a = entry_asks(v[i].where, v[i].n_where, f);

        if (a == MATCH_YES)
            found = &v[i];
        needs = a == MATCH_NEEDS_ADDRESS;
    }
    if (ret_needs)
        *ret_needs = needs;
    return found;
}

bool route_may_be_direct(const struct route *r)
{
    if (!r || r->n_alternatives == 0)
        return !r || !r->deny;
    for (unsigned i = 0; i < r->n_alternatives; i++)
        if (r->alternatives[i].n_hops == 0)
            return true;
    return false;
}

unsigned origins_find(const struct origin_entry *v, unsigned n, const struct match_facts *f)
{
    for (unsigned i = 0; i < n; i++)
        if (entry_asks(v[i].where, v[i].n_where, f) == MATCH_YES)
            return v[i].tls;
    return 0;
}

const struct origin_entry *origins_of_hop(const struct origin_entry *v, unsigned n, const struct hop *h)
{
    struct match_facts f = {.minute = MATCH_NO_MINUTE, .port = h->port, .scheme = MATCH_HTTPS};
    unsigned tls;

    match_facts_host(&f, h->host);
    tls = origins_find(v, n, &f);
    for (unsigned i = 0; i < n && tls; i++)
        if (v[i].tls == tls)
            return &v[i];
    return NULL;
}
