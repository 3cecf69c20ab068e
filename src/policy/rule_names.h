/* SPDX-License-Identifier: MIT */
/* rule_names: which rules have this text? One hash whatever the number of rules; of hosts, one a label.
 * Texts are borrowed: they live as long as the rules do. Owner: whoever built it. Thread: read-only after building. */
#ifndef POLICY_RULE_NAMES_H
#define POLICY_RULE_NAMES_H

#include "policy/hosts.h"
#include "policy/rule_lists.h"

/* Of a host: the name alone; it and everything under it. Other texts are NAMES_ALONE. */
enum rule_names_kind { RULE_NAMES_ALONE = 0, RULE_NAMES_UNDER };

struct rule_names {
    struct rule_names_entry {
        const char *text;
        uint32_t n, tag;
    } *v;
    uint32_t *slots; /* index and 1; 0: free */
    size_t n, room, mask;
    unsigned deepest; /* the most labels that a suffix has */
    struct rule_lists lists;
};

/* Zeroed at first; rules in ascending order. ERR_NOMEM. */
int rule_names_add(struct rule_names *r, struct slice text, enum rule_names_kind kind, unsigned rule) MUST_USE;
/* After the last one. ERR_NOMEM. Whatever comes back, rule_names_done frees. */
int rule_names_build(struct rule_names *r, unsigned n_rules) MUST_USE;
void rule_names_done(struct rule_names *r);

/* Those of the text alone. False: none. */
bool rule_names_get(const struct rule_names *r, struct slice text, struct rule_lists_set *ret_set);
/* Those of a host, and of all that it is under: at most max sets, else -1. */
int rule_names_host(const struct rule_names *r, struct slice host, struct hosts_key *key, struct rule_lists_set *ret_sets, int max);

#endif
