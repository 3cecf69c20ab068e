/* SPDX-License-Identifier: MIT */
/* capacity: how many connections of clients there are, in all and by address, and whether there may be one more. The limits come with each
 * question, from the asker's snapshot, so that a reload changes them at once; what is there already is never ended.
 * Owner: app, shared by all workers. Thread: any. */
#ifndef PROXY_CAPACITY_H
#define PROXY_CAPACITY_H

#include "io/addr.h"
#include "proxy/conf.h"

#include <stdbool.h>

struct capacity;
struct capacity_client; /* an address that has a connection */

enum capacity_verdict { CAPACITY_OK = 0, CAPACITY_TOTAL, CAPACITY_CLIENT, CAPACITY_MEMORY, CAPACITY_VERDICTS };

struct capacity *capacity_new(void) MUST_USE; /* NULL: memory refused */
/* Everybody has left. NULL is fine. */
void capacity_free(struct capacity *c);

/* What a connection holds. Zeroed: nothing. */
struct capacity_place {
    struct capacity_client *client; /* NULL: it has no address (a Unix socket), or none was noted */
    bool counted;
};

/* One connection more from that address (its port does not matter; mapped IPv4 is IPv4). OK: it counts until capacity_leave gets the place.
 * Otherwise nothing has changed. MEMORY: the address could not be noted, and there is a limit for each: uncounted it would be a way around
 * that. Without such a limit it is let in. */
enum capacity_verdict capacity_enter(struct capacity *c, const struct proxy_conf *conf, const struct addr *client,
                                     struct capacity_place *ret_place) MUST_USE;
/* place becomes empty; an empty one is fine. */
void capacity_leave(struct capacity *c, struct capacity_place *place);

/* Whether somebody should say that this limit is reached: true at most once in CAPACITY_SAY_MS for each. */
bool capacity_say(struct capacity *c, enum capacity_verdict limit, uint64_t now_ms);
enum { CAPACITY_SAY_MS = 10000 };

unsigned capacity_connections(const struct capacity *c); /* now */
unsigned capacity_clients(struct capacity *c);           /* addresses now; for tests */
unsigned capacity_of(struct capacity *c, const struct addr *client); /* its connections; for tests */

#endif
