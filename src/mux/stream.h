/* SPDX-License-Identifier: MIT */
/* stream: one side of one exchange, the third seam: head, content, trailers, end, reset; or, in tunnel mode, bytes both ways.
 * Kinds: a mux's (h1), a bare conn (no head), local (a reply made here). What a stream is made of is nobody's business above.
 * Owner: its mux or itself; the exchange borrows it between mux->on_stream or opening and stream_release.
 * Thread: its worker's. Wakes s->task with RX, TX, GONE. */
#ifndef MUX_STREAM_H
#define MUX_STREAM_H

#include "base/end.h"
#include "base/err.h"
#include "proto/head.h"

#include <stdint.h>

struct task;
struct mux;
struct conn;
struct addr;

/* What comes next in each direction. A tunnel is in BODY both ways. */
enum stream_state { STREAM_HEAD = 0, STREAM_BODY, STREAM_END, STREAM_RESET };
enum stream_dir { STREAM_RX, STREAM_TX };

/* Why a stream broke or refused; text is static. */
struct stream_fault {
    enum end_reason reason;
    const char *detail;
};

/* What lies under a stream now, for those who look whether somebody waits for what is there. conn NULL: nothing does (a local reply, a reset stream). */
struct stream_look {
    struct conn *conn;
    size_t unread, unsent; /* bytes read too much, and not yet written */
    bool shared; /* others use the conn too, and its mux looks after it: whoever waits at this stream waits for `unread` alone */
};

struct stream;

struct stream_ops {
    const char *name;
    enum io (*recv_head)(struct stream *s, struct arena *a, struct head **ret_head);
    enum io (*recv)(struct stream *s, void *p, size_t cap, size_t *ret_n);
    enum io (*send_head)(struct stream *s, const struct head *h, bool last);
    enum io (*send)(struct stream *s, const void *p, size_t n, bool last);
    enum io (*end)(struct stream *s, const struct hdrs *trailers);
    enum io (*flush)(struct stream *s);
    size_t (*room)(struct stream *s);
    int (*tunnel)(struct stream *s);
    int (*fd)(struct stream *s, enum stream_dir dir, uint64_t *ret_max);
    enum io (*announce)(struct stream *s, uint64_t n); /* NULL: nothing frames what is spliced */
    void (*moved)(struct stream *s, enum stream_dir dir, uint64_t n);
    void (*failed)(struct stream *s, int error);
    bool (*broken)(struct stream *s);
    void (*reset)(struct stream *s);
    void (*release)(struct stream *s);
    void (*look)(struct stream *s, struct stream_look *ret_look); /* NULL: nothing lies under it */
};

struct stream {
    unsigned magic;
    const struct stream_ops *ops;
    struct task *task;
    enum stream_state rx, tx;
    bool tunnel;
    bool begun; /* a byte of the head that is being read has arrived */
    bool unprocessed; /* client role, after a fault: the peer says that it has done nothing with it (h2: REFUSED_STREAM, above GOAWAY's last id; C66) */
    uint32_t head_bytes; /* of heads written, as they go out (server role, for the log) */
    struct stream_fault fault; /* set before IO_ERR is returned */
    const struct hdrs *trailers; /* received; valid once rx is END, NULL when there were none */
};

#define STREAM_MAGIC 0x57eea301u

/* The received head, into the arena. OK; AGAIN: RX wakes; EOF: the peer left in order before a head began; ERR: s->fault.
 * For a response this is called again after each interim head (1xx), which leaves rx at HEAD. */
static inline enum io stream_recv_head(struct stream *s, struct arena *a, struct head **ret_head)
{
    return s->ops->recv_head(s, a, ret_head);
}

/* Up to cap bytes of content. OK: n > 0, and rx may have become END with them. EOF: rx is END. */
static inline enum io stream_recv(struct stream *s, void *p, size_t cap, size_t *ret_n)
{
    return s->ops->recv(s, p, cap, ret_n);
}

/* Queues the head; what is queued leaves with the next send, end or flush. `last`: no content follows (tx becomes END, and it is
 * sent at once). An interim head (1xx) leaves tx at HEAD. OK or ERR. */
static inline enum io stream_send_head(struct stream *s, const struct head *h, bool last)
{
    return s->ops->send_head(s, h, last);
}

/* Takes all n bytes; n must not exceed stream_room. `last` ends the message with them. OK or ERR. */
static inline enum io stream_send(struct stream *s, const void *p, size_t n, bool last)
{
    return s->ops->send(s, p, n, last);
}

/* Ends the direction: in a tunnel a FIN behind everything sent. trailers may be NULL. OK or ERR. */
static inline enum io stream_end(struct stream *s, const struct hdrs *trailers)
{
    return s->ops->end(s, trailers);
}

/* Writes what is queued. OK: nothing is left; AGAIN: TX wakes; ERR. */
static inline enum io stream_flush(struct stream *s)
{
    return s->ops->flush(s);
}

/* How many bytes stream_send would take now; 0: TX wakes when there is room. */
static inline size_t stream_room(struct stream *s)
{
    return s->ops->room(s);
}

/* Both directions become plain bytes, those already received behind the head first. Negative: this stream cannot. */
static inline int stream_tunnel(struct stream *s)
{
    return s->ops->tunnel(s);
}

/* The descriptor when content of that direction may be spliced right now, and how much of it at most; else -1. */
static inline int stream_fd(struct stream *s, enum stream_dir dir, uint64_t *ret_max)
{
    return s->ops->fd(s, dir, ret_max);
}

/* n bytes are about to go out through stream_fd's descriptor (or by stream_send, in their turn): what frames them is written. OK; AGAIN:
 * it is queued, flush before; ERR. */
static inline enum io stream_announce(struct stream *s, uint64_t n)
{
    return s->ops->announce ? s->ops->announce(s, n) : IO_OK;
}

/* n bytes went through stream_fd's descriptor. rx may become END. RX with n = 0: the descriptor gave its end. TX with n = 0: it takes
 * nothing more now, TX wakes. */
static inline void stream_moved(struct stream *s, enum stream_dir dir, uint64_t n)
{
    s->ops->moved(s, dir, n);
}

/* A call on stream_fd's descriptor failed with that (negative) error, and may have consumed it: the next recv or send tells. */
static inline void stream_failed(struct stream *s, int error)
{
    s->ops->failed(s, error);
}

/* The peer has reset it (received bytes may still be there). */
static inline bool stream_broken(struct stream *s)
{
    return s->ops->broken(s);
}

/* Breaks it off so that nothing looks complete: RST. Only release may follow. */
static inline void stream_reset(struct stream *s)
{
    if (s->tx == STREAM_RESET)
        return;
    s->ops->reset(s);
    s->rx = s->tx = STREAM_RESET;
}

/* Changes nothing. s may be NULL. */
static inline struct stream_look stream_look(struct stream *s)
{
    struct stream_look look = {0};

    if (s && s->ops->look && s->tx != STREAM_RESET)
        s->ops->look(s, &look);
    return look;
}

/* The exchange is done with it; *s is NULL after. */
static inline void stream_release(struct stream **sp)
{
    struct stream *s = *sp;

    *sp = NULL;
    if (s)
        s->ops->release(s);
}

#endif
