/* SPDX-License-Identifier: MIT */
/* conn_stream: a stream in tunnel mode seen as a conn: what the next hop of a chain is spoken with over (a CONNECT through a parent), and what an intercepted
 * connection will be. EOF is the stream's END, its reset the conn's error; closing releases it, and its mux with it where that is not shared.
 * Owner, thread, end: as any conn's. Its upper task is woken as conn.h says. */
#ifndef MUX_CONN_STREAM_H
#define MUX_CONN_STREAM_H

#include "mux/mux.h"

/* Takes *stream, and *mux unless that is NULL (the stream is a shared mux's, or none's). ERR_NOMEM: they are still the caller's. */
int conn_stream_new(struct loop *loop, struct stream **stream, struct mux **mux, struct conn **ret_conn) MUST_USE;

#endif
