/* SPDX-License-Identifier: MIT */
/* wire: a conn with what was read too much and what is not yet written. Both queues are empty in steady state: bytes are read into
 * the caller's buffer and written from it; only an unwritten tail is kept, and then there is no room until it is gone.
 * Owner: a mux or a stream over a bare conn, embedded. Thread: its worker's. */
#ifndef MUX_WIRE_H
#define MUX_WIRE_H

#include "base/bufq.h"
#include "io/conn.h"
#include "mux/stream.h"

/* ROOM: most that is taken at once. SHORT: a queue up to this does not stop that. Together they bound a tail (beside a head). */
enum { WIRE_ROOM = 16384, WIRE_SHORT = 4096 };

struct wire {
    struct conn *conn;
    struct bufq in, out;
    bool fin; /* a FIN is due behind `out` */
};

void wire_init(struct wire *w, struct conn *conn);
void wire_done(struct wire *w, bool reset); /* ends the conn, if it is still here */

/* From `in`, then from the conn. */
enum io wire_recv(struct wire *w, void *p, size_t n, size_t *ret_n) MUST_USE;
/* Puts back what was read too much; it is read again first. ERR_NOMEM. */
int wire_unread(struct wire *w, const void *p, size_t n) MUST_USE;
/* Writes `out` and the pieces (at most 3), keeps what does not go. OK or ERR. */
enum io wire_send(struct wire *w, const struct iovec *iov, int n_iov) MUST_USE;
enum io wire_flush(struct wire *w) MUST_USE;
/* 0 while a tail waits for the peer; writes a longer one first. After an error it is as if there were room: sending tells. */
size_t wire_room(struct wire *w);
enum io wire_fin(struct wire *w) MUST_USE;
/* The conn's descriptor when nothing is queued in that direction, else -1. */
int wire_fd(struct wire *w, enum conn_dir dir);
/* For streams' and muxes' look. */
struct stream_look wire_look(const struct wire *w);

#endif
