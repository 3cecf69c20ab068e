/* SPDX-License-Identifier: MIT */
/* listener: one listening descriptor an address, shared by all workers (each watches it, exclusive wake-ups). Accepts in batches;
 * the callback gets a connected, non-blocking descriptor. Out of descriptors: accepting pauses for a moment instead of spinning
 * (FAILURES 24), and one reserve descriptor is used to turn a client away at once. A descriptor that is kept for others (io/fds.h) counts as none:
 * its client, and those of the same batch, are turned away, and accepting pauses.
 * Owner: app's snapshot for the descriptor; each worker for its struct. Thread: the worker's. */
#ifndef IO_LISTENER_H
#define IO_LISTENER_H

#include "io/addr.h"
#include "io/loop.h"

struct listener;

/* The descriptor takes fd's ownership from the callback on; peer is its address. */
typedef void (*listener_accept_fn)(void *owner, int fd, const struct addr *peer);

/* Binds a Unix stream socket whose file gets that mode and listens. A socket file that nobody listens on is
 * replaced; -EADDRINUSE: somebody does; -ENOTSOCK: a file of another kind is in the way. The file is the caller's to remove. */
int listener_open_unix(const char *path, unsigned mode) MUST_USE;

/* Binds and listens (SO_REUSEADDR, IPV6_V6ONLY for IPv6, TCP_NODELAY so that clients inherit it, backlog 4096).
 * Returns the descriptor or -errno. Port 0 is allowed; *addr is then rewritten with the port chosen. */
int listener_open(struct addr *addr) MUST_USE;

struct listener_opts {
    int fd; /* borrowed */
    listener_accept_fn accept;
    void *owner;
    bool vital; /* its clients may have the descriptors that are kept (io/fds.h) */
    const struct slice *busy_reply; /* what a client reads that is turned away for lack of descriptors; outlives the listener, may change */
};
int listener_start(struct loop *loop, const struct listener_opts *opts, struct listener **ret_l) MUST_USE;
/* From now on nobody gets into the queue; who is in it can still be accepted. TCP: the first segment of a new connection is dropped, so that it
 * is refused when the descriptor is closed. Unix: connecting is refused at once. For good: not for a descriptor that others go on using. */
void listener_deafen(int fd, bool unix_socket);
/* Accepts what has been connected already (at most a backlog), so that closing the descriptor refuses nobody who was let in. */
void listener_drain(struct listener *l);
/* Stops accepting in this loop; the descriptor stays open. *l is NULL after. */
void listener_stop(struct listener **l);

enum { LISTENER_BATCH = 16, LISTENER_PAUSE_MS = 100 };

#endif
