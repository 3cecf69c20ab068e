/* SPDX-License-Identifier: MIT */
/* rules_index: which rules need not be asked? Made when a configuration is loaded, of what rules are restricted to: hosts, ports, client's and target's
 * addresses, users, groups, listeners. For a request each of these is looked up once, and what is left to ask are the rules that pass all of them; it leaves
 * out only rules that rule_ask says NO to, whatever else is true. Nothing else depends on it: without one every rule is asked.
 * Memory: bounded, whatever is written: for each of the seven an entry of at most 80 bytes for 65,536 names, about 100 for 16,384 ranges, 2 bytes for 262,144
 * places where ranges overlap, a bit a rule for what is in most rules. Rules with longer lists than have room are always asked: they have tables of
 * their own.
 * Owner: whoever built it; it points into the rules. Thread: read-only after building. */
#ifndef POLICY_RULES_INDEX_H
#define POLICY_RULES_INDEX_H

#include "policy/rule_lists.h"
#include "policy/rules.h"

struct rules_index;

enum {
    RULES_INDEX_MIN = 16,  /* with fewer rules there is none */
    RULES_INDEX_HEAD = 4,  /* so many of a walk are asked before the index is: asking them costs no more than looking things up */
    RULES_INDEX_SETS = 16,
    RULES_INDEX_SIEVES = 7,
};

/* *ret_index: NULL where it would be of no use. ERR_NOMEM. */
int rules_index_new(const struct rule *rules, unsigned n, struct rules_index **ret_index) MUST_USE;
void rules_index_free(struct rules_index *x);

/* The rules that a walk has to ask, in order. A copy goes on by itself. */
struct rules_walk {
    const struct rules_index *index; /* NULL: all are asked */
    const struct match_facts *facts;
    unsigned n, head;
    bool looked_up;
    unsigned n_sets, n_sieves;
    unsigned word; /* the one that `rest` is of */
    uint64_t rest; /* of 64 rules those that pass */
    struct rules_walk_sieve {
        const uint64_t *open; /* rules that are not restricted */
        unsigned first, n;    /* the sets of those that are, and pass */
    } sieves[RULES_INDEX_SIEVES];
    struct rule_lists_set sets[RULES_INDEX_SETS];
};

/* Of n rules; facts stay as they are while it goes on, and have a key. */
static inline void rules_walk_init(struct rules_walk *w, const struct rules_index *index, unsigned n, const struct match_facts *f)
{
    w->index = index;
    w->facts = f;
    w->n = n;
    w->head = RULES_INDEX_HEAD;
    w->looked_up = false;
}
unsigned rules_walk_seek(struct rules_walk *w, unsigned from);
/* The first one at or behind `from`, which never goes back; n: there is none. */
static inline unsigned rules_walk_next(struct rules_walk *w, unsigned from)
{
    if (!w->index || from >= w->n)
        return from;
    if (w->head > 0) {
        w->head--;
        return from;
    }
    return rules_walk_seek(w, from);
}

#endif
