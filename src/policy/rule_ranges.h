/* SPDX-License-Identifier: MIT */
/* rule_ranges: which rules have a range that this is in? One search by halves whatever the number of rules: where all ranges begin and end is one row of
 * places, and between two of them there is one set of rules. Of addresses it may say too much (an IPv4 address is also in ranges of IPv6 that mapped
 * ones are in), never too little.
 * Owner: whoever built it. Thread: read-only after building. */
#ifndef POLICY_RULE_RANGES_H
#define POLICY_RULE_RANGES_H

#include "policy/ranges.h"
#include "policy/rule_lists.h"

struct rule_ranges_at {
    uint64_t hi, lo;
};

struct rule_ranges {
    /* while it is built */
    struct rule_ranges_one {
        struct rule_ranges_at first, last;
        unsigned rule;
    } *ones;
    size_t n_ones, room;
    /* built: places, and from each to the next one a list */
    struct rule_ranges_at *from;
    size_t n;
    struct rule_lists lists;
};

/* Zeroed at first; rules in ascending order. first <= last. ERR_NOMEM. */
int rule_ranges_add(struct rule_ranges *r, struct rule_ranges_at first, struct rule_ranges_at last, unsigned rule) MUST_USE;
int rule_ranges_add_set(struct rule_ranges *r, const struct ranges *set, unsigned rule) MUST_USE;
/* After the last one. ERR_NOMEM; ERR_LIMIT: they overlap so much that it would take too much memory. Whatever comes back, rule_ranges_done frees. */
int rule_ranges_build(struct rule_ranges *r, unsigned n_rules) MUST_USE;
void rule_ranges_done(struct rule_ranges *r);

/* False: in none. */
bool rule_ranges_get(const struct rule_ranges *r, struct rule_ranges_at at, struct rule_lists_set *ret_set);

#endif
