/* SPDX-License-Identifier: MIT */
/* rule_lists: numbered sets of rules, for an index. Short ones are lists of numbers, long ones have a bit for every rule: neither memory nor a walk over
 * one is ever more than a few bytes and a few nanoseconds for each 64 rules.
 * Owner: whoever built it. Thread: read-only after building. */
#ifndef POLICY_RULE_LISTS_H
#define POLICY_RULE_LISTS_H

#include "base/base.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RULE_LISTS_RULES_MAX = 65536 };

struct rule_lists {
    /* while it is built: rules in ascending order, whatever the list */
    struct rule_lists_pair {
        uint32_t list;
        uint16_t rule;
    } *pairs;
    size_t n_pairs, room;
    /* built */
    struct rule_list {
        uint32_t end; /* FEW: in few, behind the last one. MANY: in bits, the first word */
        uint32_t n;
    } *v;
    uint16_t *few;
    uint64_t *bits;
    unsigned words; /* of a set with a bit for every rule */
};

/* Zeroed at first. Says that the rule is in the list; twice is fine. Rules come in ascending order. ERR_NOMEM. */
int rule_lists_add(struct rule_lists *l, uint32_t list, unsigned rule) MUST_USE;
/* After the last one; n: lists. ERR_NOMEM. Whatever comes back, rule_lists_done frees. */
int rule_lists_build(struct rule_lists *l, size_t n, unsigned n_rules) MUST_USE;
void rule_lists_done(struct rule_lists *l);

/* A set that is walked over. end NULL: bits, a word for 64 rules; else numbers from next on, ascending. */
struct rule_lists_set {
    union {
        const uint16_t *next;
        const uint64_t *bits;
    };
    const uint16_t *end;
    uint32_t n; /* rules; some may have been counted twice */
};
struct rule_lists_set rule_lists_get(const struct rule_lists *l, size_t list);
static inline bool rule_lists_has(const struct rule_lists *l, size_t list)
{
    return l->v[list].n > 0;
}

/* Which of the rules 64 * word and following are in it; words are asked for in ascending order. */
static inline uint64_t rule_lists_word(struct rule_lists_set *s, unsigned word)
{
    uint64_t set = 0;

    if (!s->end)
        return s->bits[word];
    while (s->next < s->end && *s->next / 64 < word)
        s->next++;
    while (s->next < s->end && *s->next / 64 == word)
        set |= (uint64_t)1 << *s->next++ % 64;
    return set;
}

static inline unsigned rule_lists_words(unsigned n_rules)
{
    return (n_rules + 63) / 64;
}

#endif
