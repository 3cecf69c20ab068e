/* SPDX-License-Identifier: MIT */
/* limit: an entry of `limits`, as compiled: whom it is about, whose bucket it is, and how much. What is charged, and where the buckets are, is
 * proxy/charge.h. Owner: the configuration. Thread: read by all. */
#ifndef POLICY_LIMIT_H
#define POLICY_LIMIT_H

#include "policy/matcher.h"

enum limit_per { PER_ALL = 0, PER_CLIENT, PER_USER, PER_GROUP, PER_RULE, PER_HOST, PER_LABEL, PER_CONNECTION };
enum limit_span { SPAN_NONE = 0, SPAN_HOUR, SPAN_DAY, SPAN_WEEK, SPAN_MONTH }; /* calendar spans, local time; weeks begin on Monday */

struct limit {
    const struct matcher *where; /* any of them may hold; none: everything */
    unsigned n_where;
    enum limit_per per;
    uint32_t requests, burst;    /* a second; 0: none is set. burst is at least 1 then */
    bool pace;                   /* wait instead of 429 */
    uint64_t bandwidth, bandwidth_up, bandwidth_down; /* bytes a second, both directions together, each; 0: none */
    uint32_t tunnels;            /* at the same time; 0: none */
    uint64_t quota;              /* bytes; 0: none */
    enum limit_span span;
    bool slow;                   /* `at-limit: slow` */
    uint64_t upload, download;   /* bytes of one message or tunnel; 0: none */
    uint64_t id;                 /* the same over reloads while `for`, `per` and what is limited are written the same way */
    const char *name;            /* NULL: none */
    const char *place;           /* "file:line" */
};

/* Whether it is about this. NEEDS_*: not known yet. */
enum match_answer limit_ask(const struct limit *l, const struct match_facts *f);
/* Likewise policy_is_steady. */
bool limit_is_steady(const struct limit *l);

#endif
