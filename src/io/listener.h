/* SPDX-License-Identifier: MIT */
/* listener: one listening descriptor an address, shared by all workers (each watches it, exclusive wake-ups). Accepts in batches;
 * the callback gets a connected, non-blocking descriptor. Out of descriptors: accepting pauses for a moment instead of spinning
 * (FAILURES 24), one reserve descriptor is used to turn a client away at once.
 * Owner: app's snapshot for the descriptor; each worker for its struct. Thread: the worker's. */
#ifndef IO_LISTENER_H
#define IO_LISTENER_H

#include "io/addr.h"
#include "io/loop.h"

struct listener;

/* The descriptor takes fd's ownership from the callback on; peer is its address. */
typedef void (*listener_accept_fn)(void *owner, int fd, const struct addr *peer);

/* Binds and listens (SO_REUSEADDR, IPV6_V6ONLY for IPv6, TCP_NODELAY so that clients inherit it, backlog 4096).
 * Returns the descriptor or -errno. Port 0 is allowed; *addr is then rewritten with the port chosen. */
int listener_open(struct addr *addr) MUST_USE;

struct listener_opts {
    int fd; /* borrowed */
    listener_accept_fn accept;
    void *owner;
    struct slice busy_reply; /* what a client reads that is turned away for lack of descriptors; outlives the listener */
};
int listener_start(struct loop *loop, const struct listener_opts *opts, struct listener **ret_l) MUST_USE;
/* Stops accepting in this loop; the descriptor stays open. *l is NULL after. */
void listener_stop(struct listener **l);

enum { LISTENER_BATCH = 16, LISTENER_PAUSE_MS = 100 };

#endif
