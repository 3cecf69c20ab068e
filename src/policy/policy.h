/* SPDX-License-Identifier: MIT */
/* policy: may this pass? Pure functions of facts: no sockets, no clock, no allocation. The rules of today, in this order:
 *   clients        the client's address must be admitted (403)
 *   own listeners  ginnel never connects to itself (502, loop) – needs the address that would be dialled
 *   everything     what is left passes
 * Owner: the snapshot. Thread: read by all workers. */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include "io/addr.h" /* addresses are values; the one header of io that policy may use */
#include "policy/verdict.h"

struct policy {
    const struct addr *own; /* where we listen; port known. A wildcard stands for every local address */
    unsigned n_own;
    const struct addr_range *clients; /* admitted; none: everybody (only loopback listeners are without) */
    unsigned n_clients;
    const struct addr *local; /* this machine's addresses, for wildcard listeners */
    unsigned n_local;
};

struct facts {
    const struct addr *client; /* never NULL */
    const struct addr *target; /* the address that would be dialled, NULL: not known yet */
};

/* Walks from rule `from` (0: the beginning, else a NEEDS verdict's rule). */
struct verdict policy_judge(const struct policy *p, const struct facts *f, unsigned from);

/* The first rule alone: may this client speak to us at all? */
bool policy_admits(const struct policy *p, const struct addr *client);

#endif
