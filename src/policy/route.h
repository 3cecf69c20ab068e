/* SPDX-License-Identifier: MIT */
/* route: the entries of `upstream`: which way a request goes: refused, direct, or through parents; where its connections come from, and what the kernel is told about
 * them. The first entry that matches decides; without one the request goes direct and the kernel chooses. Pure. Owner: the configuration. Thread: any. */
#ifndef POLICY_ROUTE_H
#define POLICY_ROUTE_H

#include "policy/matcher.h"

enum { ROUTE_INTERFACE_MAX = 15, ROUTE_ALTERNATIVES_MAX = 16, ROUTE_HOPS_MAX = 8 };

/* A parent proxy. */
struct hop {
    bool tls;              /* https:// */
    struct slice host;     /* normalised; an address without brackets */
    struct addr literal;   /* AF_UNSPEC: a name. Port 0 */
    uint16_t port;
    struct slice authorization; /* the value of Proxy-Authorization ("Basic …"); empty: none. Secret: never shown, logged, nor sent to another host */
    const char *credentials; /* the file that they are from, for `config show`; NULL: written down in the configuration, or none */
    const char *text;      /* "https://p1.corp.example:8443", for logs and `why`; no secrets */
    const char *place;     /* "file:line" */
};

/* Hops passed in order; none: direct. */
struct alternative {
    const struct hop *hops;
    unsigned n_hops;
};

struct route {
    const struct matcher *where; /* any of them may hold; none: everything */
    unsigned n_where;
    bool deny;                   /* it goes nowhere: 403 */
    bool resolve;                /* `resolve: local`: the target is resolved and judged here even where a parent is asked; the checked address goes into the CONNECT */
    const struct alternative *alternatives; /* tried in order; none: direct */
    unsigned n_alternatives;
    const struct addr_range *bind; /* addresses and ranges, in the order in which they are written; none: the kernel chooses */
    unsigned n_bind;
    uint32_t mark;          /* of the sockets; 0: none */
    char interface[ROUTE_INTERFACE_MAX + 1]; /* zeros behind the name; empty: none */
    const char *place;      /* "file:line" */
    _Atomic unsigned *turn; /* of the addresses: counts the connections. All that ever changes here */
};

/* The entry that decides, or NULL. *ret_needs (may be NULL): an entry before it would need the target's address (`to`) to tell, and facts say that it can still come:
 * then NULL is returned and asked again with the address. */
const struct route *route_find(const struct route *v, unsigned n, const struct match_facts *f, bool *ret_needs);
/* It, or one of its alternatives, dials the target itself. NULL is direct. */
bool route_may_be_direct(const struct route *r);

/* An entry of `origins`: how TLS is spoken with a host, be it an origin or a parent. The first that matches decides. */
struct origin_entry {
    const struct matcher *where;
    unsigned n_where;
    unsigned tls; /* which of the worker's client contexts (snapshot's tls_set); 0 is the default's */
    const char *place;
};
unsigned origins_find(const struct origin_entry *v, unsigned n, const struct match_facts *f);
/* The entry that is about a hop; NULL: none, so the default is. */
const struct origin_entry *origins_of_hop(const struct origin_entry *v, unsigned n, const struct hop *h);

#endif
