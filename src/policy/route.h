/* SPDX-License-Identifier: MIT */
/* route: the entries of `upstream`: which way a request goes. What is built of them is where its connections come from, and what the
 * kernel is told about them. The first entry that
 * matches decides; without one the kernel chooses. Pure. Owner: the configuration. Thread: any. */
#ifndef POLICY_ROUTE_H
#define POLICY_ROUTE_H

#include "policy/matcher.h"

enum { ROUTE_INTERFACE_MAX = 15 };

struct route {
    const struct matcher *where; /* any of them may hold; none: everything */
    unsigned n_where;
    const struct addr_range *bind; /* addresses and ranges, in the order in which they are written; none: the kernel chooses */
    unsigned n_bind;
    uint32_t mark;          /* of the sockets; 0: none */
    char interface[ROUTE_INTERFACE_MAX + 1]; /* zeros behind the name; empty: none */
    const char *place;      /* "file:line" */
    _Atomic unsigned *turn; /* of the addresses: counts the connections. All that ever changes here */
};

/* The entry that decides, or NULL. */
const struct route *route_find(const struct route *v, unsigned n, const struct match_facts *f);

#endif
