/* SPDX-License-Identifier: MIT */
/* stream_conn: a bare conn as a stream without a head: the far side of a CONNECT. In tunnel mode from the start.
 * Owner: the exchange. Freed by stream_release (closes) after both ends, or stream_reset. */
#ifndef MUX_STREAM_CONN_H
#define MUX_STREAM_CONN_H

#include "mux/stream.h"

struct conn;

/* Takes *conn (then NULL). NULL: memory refused, the conn is still the caller's. */
struct stream *stream_conn_new(struct conn **conn, struct task *task) MUST_USE;

#endif
