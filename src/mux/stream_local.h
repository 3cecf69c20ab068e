/* SPDX-License-Identifier: MIT */
/* stream_local: a reply made here (error page, own small site) as an upstream that nobody dialled. A refusal in any step is the
 * reply step with a local stream. Owner: the exchange, in its arena. */
#ifndef MUX_STREAM_LOCAL_H
#define MUX_STREAM_LOCAL_H

#include "base/arena.h"
#include "mux/stream.h"

/* head and body live in the arena (or longer). NULL: the arena refuses. */
struct stream *stream_local_new(struct arena *a, struct head *head, struct slice body) MUST_USE;

#endif
