/* SPDX-License-Identifier: MIT */
/* limit: whether an entry of `limits` is about a request.
 */
#include "policy/limit.h"

enum match_answer limit_ask(const struct limit *l, const struct match_facts *f)
{
    return l->n_where == 0 ? MATCH_YES : matcher_ask_any(l->where, l->n_where, f, MATCH_FOR, NULL);
}

bool limit_is_steady(const struct limit *l)
{
    for (unsigned i = 0; i < l->n_where; i++)
        if (matcher_looks_inside(&l->where[i]))
            return false;
    return true;
}
