/* SPDX-License-Identifier: MIT */
/* rules: one rule asked. A rule is destinations (any of them) and the words beside them (all of them).
 */
#include "policy/rules.h"

#include <stddef.h>

static enum match_use use_of(const struct rule *r)
{
    return r->kind == RULE_ALLOW ? MATCH_ALLOW : MATCH_DENY;
}

/* Both must hold. NO of either beats what the other one waits for; of two that wait, who it is comes first, then where it goes, then what is inside. */
static enum match_answer both(enum match_answer a, enum match_answer b)
{
    if (a == MATCH_NO || b == MATCH_NO)
        return MATCH_NO;
    if (a == MATCH_YES || b == MATCH_YES)
        return a == MATCH_YES ? b : a;
    return a < b ? a : b;
}

enum match_answer rule_ask(const struct rule *r, const struct match_facts *f, enum match_word *ret_word)
{
    enum match_word with_word = WORD_NONE, where_word = WORD_NONE;
    enum match_answer with = MATCH_YES, where, all;

    if (r->with)
        with = matcher_ask(r->with, f, use_of(r), ret_word ? &with_word : NULL);
    if (with == MATCH_NO && !ret_word)
        return MATCH_NO;
    where = matcher_ask_any(r->where, r->n_where, f, use_of(r), ret_word ? &where_word : NULL);
    all = both(with, where);
    /* Another host says more than whatever else there is. */
    if (ret_word)
        *ret_word = where == MATCH_NO && (with != MATCH_NO || where_word == WORD_HOST) ? where_word : all == with ? with_word : where_word;
    return all;
}

bool rule_opens(const struct rule *r, const struct match_facts *f)
{
    if (r->kind != RULE_ALLOW)
        return false;
    if (r->with && matcher_opens(r->with, f))
        return true;
    for (unsigned i = 0; i < r->n_where; i++)
        if (matcher_opens(&r->where[i], f) && matcher_ask(&r->where[i], f, MATCH_ALLOW, NULL) == MATCH_YES)
            return true;
    return false;
}
