/* SPDX-License-Identifier: MIT */
/* mux: streams on a conn, the second seam, in the server role (requests come in) or the client role (requests go out).
 * Owner: a session (server role); an exchange or the upstream pool (client role). Thread: its worker's.
 * Freed by mux_close, at the end of the turn. */
#ifndef MUX_MUX_H
#define MUX_MUX_H

#include "io/conn.h"
#include "mux/stream.h"
#include "proto/h1_parse.h"

struct mux;

/* What the owner in the server role does next:
 * IDLE    between requests, nothing unsent        BUSY    a stream is out, or bytes are still leaving or being discarded
 * LINGER  the last answer is written: shut down, discard, close      CLOSED  the conn ended: close */
enum mux_state { MUX_IDLE, MUX_BUSY, MUX_LINGER, MUX_CLOSED };

/* h1 carries one stream at a time, and belongs to one exchange while it is in use. h2 carries many: in the client role it stays its pool's while exchanges
 * have streams on it. */
struct mux_ops {
    const char *name;
    bool shared;
    enum mux_state (*serve)(struct mux *m);
    struct stream *(*open)(struct mux *m, struct task *task);
    bool (*reusable)(struct mux *m);
    void (*close)(struct mux *m, bool reset);
    unsigned (*waits)(struct mux *m, struct stream_look *ret_look);
    unsigned (*room)(struct mux *m); /* NULL: 1 when reusable */
};

struct mux {
    unsigned magic;
    const struct mux_ops *ops;
    struct task *task; /* the owner's: woken when no stream is out; h2: whenever what mux_serve, mux_room or mux_reusable would say may have changed */
    /* Server role: a request begins. The owner sets stream->task and wakes it; it runs nothing. */
    void (*on_stream)(struct mux *m, struct stream *s);
    void *owner;
    bool drain; /* server role: each answer is the last on this connection */
    uint32_t keep_alive_s; /* client role: how long the peer said it keeps an idle connection; 0: it did not say */
    struct conn *conn;     /* for names and counters; NULL once it is gone */
};

/* What of an unread request is thrown away to keep an h1 connection alive after an early answer (DESIGN 6). */
enum { MUX_DISCARD_BYTES = 256 * 1024, MUX_DISCARD_MS = 1000 };

#define MUX_MAGIC 0x3a0b0001u

/* Takes the conn. NULL: memory refused, the conn is still the caller's.
 * limits are borrowed for the mux's life. early: what was read from the conn already, at most MUX_EARLY_MAX bytes; copied. */
enum { MUX_EARLY_MAX = 16384 };
struct mux *mux_server_new(struct conn *conn, const struct h1_limits *limits, struct slice early) MUST_USE;
struct mux *mux_client_new(struct conn *conn, const struct h1_limits *limits) MUST_USE;
/* The same for HTTP/2: see mux_h2.h. A server's early bytes begin with the client's preface. */
struct h2_conf;
struct mux *mux_h2_server_new(struct conn *conn, const struct h2_conf *conf, struct slice early) MUST_USE;
struct mux *mux_h2_client_new(struct conn *conn, const struct h2_conf *conf) MUST_USE;

/* Server role, called by the owner when its task was woken (or a stream was released): moves on whatever does not need a stream. Shared ones in the client role: BUSY while a
 * stream is out, CLOSED once the connection has ended, else IDLE. */
static inline enum mux_state mux_serve(struct mux *m)
{
    return m->ops->serve(m);
}

/* Client role: a new stream that wakes `task`. NULL: not now. */
static inline struct stream *mux_open(struct mux *m, struct task *task)
{
    return m->ops->open(m, task);
}

/* Client role: it may serve another request (nothing half-done, nothing unexpected received). */
static inline bool mux_reusable(struct mux *m)
{
    return m->ops->reusable(m);
}

/* Client role: how many streams may be opened on it now. 0 while it is full, for good when it is not reusable. */
static inline unsigned mux_room(struct mux *m)
{
    return m->ops->room ? m->ops->room(m) : m->ops->reusable(m);
}

/* Server role: what its owner's task waits for while no stream is out: CONN_RX, CONN_TX, both or 0; and what lies under it. Changes nothing. */
static inline unsigned mux_waits(struct mux *m, struct stream_look *ret_look)
{
    return m->ops->waits(m, ret_look);
}

static inline void mux_close(struct mux **mp, bool reset)
{
    struct mux *m = *mp;

    *mp = NULL;
    if (m)
        m->ops->close(m, reset);
}

#endif
