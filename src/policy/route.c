/* SPDX-License-Identifier: MIT */
/* route: the walk over the entries of `upstream`. Called once a request, by the step of that name.
 */
#include "policy/route.h"

#include <stddef.h>

static bool route_holds(const struct route *r, const struct match_facts *f)
{
    return r->n_where == 0 || matcher_ask_any(r->where, r->n_where, f, MATCH_FOR, NULL) == MATCH_YES;
}

const struct route *route_find(const struct route *v, unsigned n, const struct match_facts *f)
{
    for (unsigned i = 0; i < n; i++)
        if (route_holds(&v[i], f))
            return &v[i];
    return NULL;
}
