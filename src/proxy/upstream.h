/* SPDX-License-Identifier: MIT */
/* upstream: idle connections to origins, kept for reuse, by host, port, the address that was judged, the one it comes from, and the way (mark, interface). A worker's own; bounded in
 * number, in all and a key; each ends after 30 s idle, or a second before the origin said it would close. An idle connection on
 * which anything arrives is closed (C49, C53a).
 * Owner: the worker. Thread: its own. */
#ifndef PROXY_UPSTREAM_H
#define PROXY_UPSTREAM_H

#include "base/slice.h"
#include "io/addr.h"
#include "io/source.h"

struct mux;
struct upstream;

enum { UPSTREAM_MAX = 1024, UPSTREAM_PER_KEY = 64, UPSTREAM_IDLE_MS = 30000, UPSTREAM_SURE_MS = 1000 };

struct upstream *upstream_new(struct loop *loop) MUST_USE;
void upstream_free(struct upstream *u); /* closes all */
void upstream_close_idle(struct upstream *u);
unsigned upstream_count(const struct upstream *u); /* how many are kept */

/* The ends of a connection. */
struct upstream_end {
    struct slice host;
    uint16_t port;
    struct addr addr, from; /* from: AF_UNSPEC when the kernel chose */
    struct dial_way way;
};
struct upstream_want {
    struct slice host;
    uint16_t port;
    const struct addr *addrs;
    unsigned n_addrs;
    struct source_set sources;
    uint64_t max_idle_ms;
};
/* The most recently used connection to that host and port whose address is among addrs, that comes from one of the sources on their way, and that has been
 * idle for at most max_idle_ms. NULL: none. The mux is the caller's then. */
struct mux *upstream_take(struct upstream *u, const struct upstream_want *want, struct upstream_end *ret_end);
/* Keeps it if it may be used again, else closes it. *mux is NULL after. The host is copied. */
void upstream_give(struct upstream *u, struct mux **mux, const struct upstream_end *end);

#endif
