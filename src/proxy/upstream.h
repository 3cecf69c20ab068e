/* SPDX-License-Identifier: MIT */
/* upstream: connections to origins and parents that may be used again, by host, port, how they are spoken with (TLS and its context, hops before), the address that was
 * judged, the one they come from, and the way (mark, interface). A worker's own; bounded in number, in all and a key.
 * One that carries a stream at a time is here while it is idle: it ends after 30 s, or a second before the origin said it would close; an idle connection on which anything
 * arrives is closed (C49, C53a). One that carries many (mux_ops.shared) is here from its beginning, and its streams are borrowed; it ends 30 s after its last stream, or with
 * it where it takes no more.
 * Whether a TLS peer speaks the shared kind is known once its handshake is over: who wants one while another dials it waits for that (upstream_turn).
 * Owner: the worker. Thread: its own. */
#ifndef PROXY_UPSTREAM_H
#define PROXY_UPSTREAM_H

#include "base/list.h"
#include "base/slice.h"
#include "io/addr.h"
#include "io/source.h"

struct mux;
struct stream;
struct task;
struct upstream;

enum { UPSTREAM_MAX = 1024, UPSTREAM_PER_KEY = 64, UPSTREAM_IDLE_MS = 30000, UPSTREAM_SURE_MS = 1000, UPSTREAM_ID_MAX = 4096 };

struct upstream *upstream_new(struct loop *loop) MUST_USE;
void upstream_free(struct upstream *u); /* closes all: no stream of theirs is out any more */
void upstream_close_idle(struct upstream *u);
unsigned upstream_count(const struct upstream *u); /* how many are kept */

/* The ends of a connection. */
struct upstream_end {
    struct slice host;
    uint16_t port;
    struct slice id;   /* how it is spoken with: opaque bytes; empty: in clear and direct */
    struct addr addr;  /* of the host, as it was judged; AF_UNSPEC: only the name was */
    struct addr peer, from; /* peer: who was dialled, the host or the first parent; from: AF_UNSPEC when the kernel chose */
    struct dial_way way;
};
struct upstream_want {
    struct slice host;
    uint16_t port;
    struct slice id;
    const struct addr *addrs;
    unsigned n_addrs; /* 0: no address of the host is judged, and those in the pool have none */
    struct source_set sources;
    uint64_t max_idle_ms;
};
/* The most recently used idle connection to that host and port whose address is among addrs, that comes from one of the sources on their way, and that has been
 * idle for at most max_idle_ms. NULL: none. The mux is the caller's then. ret_end's slices are the want's. */
struct mux *upstream_take(struct upstream *u, const struct upstream_want *want, struct upstream_end *ret_end);
/* Keeps it if it may be used again, else closes it. *mux is NULL after. host and id are copied. */
void upstream_give(struct upstream *u, struct mux **mux, const struct upstream_end *end);

/* A stream on a shared connection that fits the want (max_idle_ms is not asked) and has room. NULL: none. */
struct stream *upstream_open(struct upstream *u, const struct upstream_want *want, struct task *task, struct upstream_end *ret_end);
/* A new shared connection with a stream of the caller's on it; *mux is the pool's then, and NULL. ERR_LIMIT, ERR_NOMEM: it is still the caller's, and serves nobody else. */
int upstream_share(struct upstream *u, struct mux **mux, const struct upstream_end *end) MUST_USE;

/* What a turn brought. */
enum upstream_news { UPSTREAM_FAILED = 0, UPSTREAM_GIVEN_UP, UPSTREAM_ALONE, UPSTREAM_SHARED };
enum upstream_turn_state { TURN_NONE = 0, TURN_OURS, TURN_WAITS, TURN_TOLD };
/* A dial of a TLS peer, or one that waits for it. Owner: the dial. Zeroed at first. */
struct upstream_turn {
    struct list link, waiters;
    struct task *task;
    uint64_t key;
    enum upstream_turn_state state;
    enum upstream_news news; /* TOLD */
};
/* OURS: dial it, and tell with upstream_turn_end. WAITS: another does; task is woken with TASK_HELPER when there is news (TOLD). NONE: dial it, without telling: it is known that its
 * connections are not shared. */
enum upstream_turn_state upstream_turn_ask(struct upstream *u, struct upstream_turn *t, const struct upstream_want *want, struct task *task);
/* Any state; NONE after. That it is shared after all is news also where NONE was asked. */
void upstream_turn_end(struct upstream *u, struct upstream_turn *t, enum upstream_news news);

#endif
