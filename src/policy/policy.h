/* SPDX-License-Identifier: MIT */
/* policy: may this pass? Pure functions of facts: no sockets, no clock, no allocation. The rules of today, in this order:
 *   clients        the client's address must be admitted by the set that judges it (403)
 *   own listeners  ginnel never connects to itself (502, loop), nor for a client to its admin
 *                  address (403) – needs the address that would be dialled
 *   everything     what is left passes
 * Owner: the snapshot. Thread: read by all workers. */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include "io/addr.h" /* addresses are values; the one header of io that policy may use */
#include "policy/ranges.h"
#include "policy/verdict.h"

#include <stdbool.h>

/* Admitted clients: the top level's, or those of a listener that has its own. */
struct policy_clients {
    bool any; /* everybody (also: nothing was written and all listeners are local) */
    const struct ranges *ranges; /* not asked when any; NULL: none */
    const char *place;           /* "file:line", NULL: nothing was written */
};

/* The sets that are always there: what holds for all; for sessions whose listener is gone (and its own set with it). */
enum { POLICY_CLIENTS_ALL = 0, POLICY_CLIENTS_GONE, POLICY_CLIENTS_OWN };

struct policy {
    /* where we listen; port known. A wildcard stands for every local address, a file for none */
    const struct addr *own;
    unsigned n_own;
    const struct policy_clients *clients; /* ALL, GONE, then those of listeners */
    unsigned n_clients;
    const struct addr *admin; /* where the admin pages are; like own */
    unsigned n_admin;
    const struct addr *local; /* this machine's addresses, for wildcard listeners */
    unsigned n_local;
};

struct facts {
    const struct addr *client; /* never NULL */
    unsigned clients;          /* which set judges it: index into policy.clients */
    const struct addr *target; /* the address that would be dialled, NULL: not known yet */
};

/* Walks from rule `from` (0: the beginning, else a NEEDS verdict's rule). */
struct verdict policy_judge(const struct policy *p, const struct facts *f, unsigned from);

/* The first rule alone: may this client speak to us at all? A client of a Unix socket always may:
 * the file's permissions have decided. A set that is not there admits nobody else. */
bool policy_admits(const struct policy *p, unsigned set, const struct addr *client);

#endif
