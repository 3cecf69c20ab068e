/* SPDX-License-Identifier: MIT */
/* conn: bytes both ways, the first seam. Kinds: tcp; TLS over any conn (conn_tls.h); a tunnel's stream (mux/conn_stream.h); in the simulation a scripted one.
 * Conns stack: the upper one owns the one `below` it, and what happens there is told to the upper one's task (conn_ready climbs).
 * Readiness is edge-triggered: `ready` says what may be tried; a call that finds nothing clears its bit and a wake-up of
 * conn->task follows when that changes. Whoever takes over conn->task looks at `ready` first.
 * Owner: one at a time (session, mux, dial, stream). Thread: its loop's. Freed by conn_close or conn_reset, at the end of the turn. */
#ifndef IO_CONN_H
#define IO_CONN_H

#include "base/err.h"
#include "io/addr.h"
#include "io/loop.h"

#include <sys/uio.h>

enum { CONN_RX = 1, CONN_TX = 2 };
enum conn_dir { CONN_IN, CONN_OUT };

struct conn_ops {
    const char *name;
    enum io (*recv)(struct conn *c, void *p, size_t n, size_t *ret_n);
    enum io (*send)(struct conn *c, const struct iovec *iov, int n_iov, size_t *ret_n);
    int (*shut)(struct conn *c);
    enum io (*established)(struct conn *c);
    int (*fd)(struct conn *c, enum conn_dir dir);
    void (*close)(struct conn *c, bool reset);
    /* Something has happened to the one below: notes what of it is this one's, and arranges to write what waits. NULL: nothing to do. */
    void (*stirred)(struct conn *c);
};

struct conn {
    unsigned magic;
    uint8_t ready;   /* CONN_RX | CONN_TX: may be tried */
    bool hup;        /* sticky: the peer's FIN or RST is known to be queued: read until EOF or ERR, whatever a short read says */
    bool eof, shut;  /* EOF was read; FIN was sent */
    bool gone;       /* the kernel has said that it is over both ways */
    int error;       /* sticky negative code once broken: from then on recv gives what is left, then ERR, never EOF */
    const struct conn_ops *ops;
    struct loop *loop;
    struct task *task; /* woken on readiness; of a conn that has one above: NULL */
    struct conn *above, *below; /* the conn that is stacked on it; the one that it is stacked on. NULL: none */
    uint64_t rx_bytes, tx_bytes;
};

#define CONN_MAGIC 0xc0440001u

static inline enum io conn_recv(struct conn *c, void *p, size_t n, size_t *ret_n) MUST_USE;
static inline enum io conn_send(struct conn *c, const struct iovec *iov, int n_iov, size_t *ret_n) MUST_USE;

/* At most n bytes. n > 0. */
static inline enum io conn_recv(struct conn *c, void *p, size_t n, size_t *ret_n)
{
    return c->ops->recv(c, p, n, ret_n);
}

/* May take a part. After a part or AGAIN, CONN_TX is clear. */
static inline enum io conn_send(struct conn *c, const struct iovec *iov, int n_iov, size_t *ret_n)
{
    return c->ops->send(c, iov, n_iov, ret_n);
}

/* Sends FIN. Reading goes on. */
static inline int conn_shut(struct conn *c)
{
    return c->shut ? 0 : (c->shut = true, c->ops->shut(c));
}

/* After dial: AGAIN while connecting, OK once, ERR with c->error. */
static inline enum io conn_established(struct conn *c)
{
    return c->ops->established(c);
}

/* The real descriptor when bytes of that direction may be spliced right now, else -1. */
static inline int conn_fd(struct conn *c, enum conn_dir dir)
{
    return c->ops->fd(c, dir);
}

/* Orderly: what was written is delivered, then FIN. If unread bytes are waiting the kernel sends RST: linger first. *c is NULL after. */
void conn_close(struct conn **c);
/* RST; but first what was written gets up to CONN_RESET_GRACE_MS to reach the peer. *c is NULL after. */
void conn_reset(struct conn **c);
enum { CONN_RESET_GRACE_MS = 700, CONN_RESET_POLL_MS = 20 };

/* A call on its descriptor, or for its queues, failed for good: notes the error and has the reader meet it. */
void conn_broke(struct conn *c, int error);

/* The bits of `ready` have changed: wakes the task of the topmost above it, or its own. For the kinds' own use. */
void conn_wake(struct conn *c, unsigned bits);

/* Puts `upper` on `lower`, which is upper's from now on and wakes nobody by itself; and takes them apart again (lower->task is NULL then). */
void conn_stack(struct conn *upper, struct conn *lower);
void conn_unstack(struct conn *upper);
/* The lowest: the socket's. */
static inline struct conn *conn_lowest(struct conn *c)
{
    while (c->below)
        c = c->below;
    return c;
}

/* What the kernel reported since the last turn; for the kinds' own use: sets ready, hup, error and wakes. */
void conn_ready(struct conn *c, unsigned epoll_events);

/* ---- tcp ---- */

/* Takes the descriptor (non-blocking, TCP_NODELAY inherited or set). Registers it once, edge-triggered, for all events.
 * On failure the descriptor is still the caller's. */
int conn_tcp_new(struct loop *loop, int fd, bool connecting, struct conn **ret_conn) MUST_USE;
/* Resets at once what still waits for its peer (conn_reset); for loop_done. */
void conn_tcp_reap_all(struct loop *loop);
/* What the kernel is told about a connection's way, besides its addresses. Zeroed: nothing. It has no padding: two are compared as bytes. */
enum { DIAL_INTERFACE_MAX = 15 };
struct dial_way {
    uint32_t mark;                          /* SO_MARK; 0: none */
    char interface[DIAL_INTERFACE_MAX + 1]; /* SO_BINDTODEVICE; zeros behind the name */
};
static inline bool dial_way_is(const struct dial_way *a, const struct dial_way *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}
/* Where a connection comes from. */
struct dial_from {
    struct addr addr; /* port 0; of the target's family; AF_UNSPEC: the kernel chooses */
    bool anywhere;    /* it need not be on an interface: the network routes it here */
    struct dial_way way;
};
/* The dial of world_linux: see loop.h. */
int conn_tcp_dial(struct loop *loop, const struct addr *to, const struct dial_from *from, struct conn **ret_conn) MUST_USE;
/* The local address of a tcp conn, or of the one that lies under this; false for other kinds. */
bool conn_tcp_local(struct conn *c, struct addr *ret_local);
/* The smoothed round trip of the socket that lies under it, as the kernel measures it; 0: unknown. A system call. */
uint64_t conn_rtt_us(struct conn *c);
/* So much may wait unsent in the socket that lies under it: what many share, nobody shall fill for long. Other kinds: nothing happens. */
void conn_unsent_max(struct conn *c, int bytes);
/* The user whose process connected the other end of a Unix socket; false for other kinds. */
bool conn_tcp_peer(struct conn *c, uint32_t *ret_uid);

#endif
