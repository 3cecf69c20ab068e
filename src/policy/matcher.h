/* SPDX-License-Identifier: MIT */
/* matcher: does an exchange have these properties? The words of CONFIG.md's matchers that this build knows: host port path method scheme from to
 * listener. Several words must all hold; several values of a word mean any of them. Pure. A word whose fact is missing does not hold.
 * A host that is a literal address is looked for in ranges only, a name among names only. A path's query is never looked at.
 * Owner: whoever built it (its parts are freed by matcher_done). Thread: read-only after building. */
#ifndef POLICY_MATCHER_H
#define POLICY_MATCHER_H

#include "policy/hosts.h"
#include "policy/ranges.h"

#include <stdbool.h>
#include <stdint.h>

struct matcher_ports {
    uint16_t first, last; /* both included */
};

struct matcher {
    bool any_host;             /* `any`: no restriction; the sets below are then not asked */
    struct hosts *hosts;       /* NULL: no name given */
    struct ranges host_ranges; /* addresses and ranges given as hosts: literal targets */
    struct matcher_ports *ports;
    struct slice *paths;       /* prefixes; the strings are the caller's */
    struct slice *methods;     /* exact, upper case as written */
    struct slice *listeners;   /* names */
    struct ranges from, to;
    unsigned n_ports, n_paths, n_methods, n_listeners;
    bool has_host, has_from, has_to; /* the word was given */
    uint8_t schemes;           /* bits; 0: not given */
};
enum { MATCH_HTTP = 1, MATCH_HTTPS = 2, MATCH_CONNECT = 4 }; /* schemes; a CONNECT has none of its own: `connect` */

struct match_facts {
    struct slice host;         /* normalised name or literal address without brackets; empty: none */
    struct slice path, method, listener;
    const struct addr *from, *to; /* NULL or family AF_UNSPEC: unknown; AF_UNIX: a client of a Unix socket, in no range */
    uint16_t port;             /* 0: none */
    uint8_t scheme;            /* one of the bits; 0: unknown */
};

bool matcher_holds(const struct matcher *m, const struct match_facts *f);
/* Frees sets and arrays (mem_*); a zeroed one is fine. */
void matcher_done(struct matcher *m);

#endif
