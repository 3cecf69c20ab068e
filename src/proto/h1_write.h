/* SPDX-License-Identifier: MIT */
/* h1_write: writes HTTP/1.1 heads anew from parsed parts; never a received raw line (DESIGN 8.1). What it is handed has passed
 * h1_parse or was made here; as the last line of defence it refuses names that are no tokens and values with CR, LF or NUL.
 * No I/O: appends to a bufq. */
#ifndef PROTO_H1_WRITE_H
#define PROTO_H1_WRITE_H

#include "base/bufq.h"
#include "proto/h1_parse.h"

/* What the writer adds to the neutral head. */
struct h1_out {
    enum h1_framing framing;   /* CHUNKED adds Transfer-Encoding: chunked and leaves Content-Length out; LENGTH writes it once,
                                  where the first stood or at the end; NONE and CLOSE leave Transfer-Encoding out; NONE keeps a
                                  received Content-Length in responses (HEAD, 304) and drops it in requests */
    enum target_form form;     /* requests: how the target is written */
    uint8_t version;           /* responses: 10 or 11 on the status line; requests are always 1.1 */
    bool close;                /* Connection: close (or, with `protocol`, not written) */
    bool keep_alive;           /* Connection: keep-alive (towards HTTP/1.0 only) */
    struct slice protocol;     /* .n > 0: Connection: upgrade and Upgrade: protocol */
    struct slice ws_key;       /* requests, .n > 0: Sec-WebSocket-Key */
    bool te_trailers;          /* requests: TE: trailers, Connection: TE */
};

/* ERR_NOMEM; ERR_SYNTAX when a part may not be written. On failure the queue may hold a part of it. */
int h1_write_request(struct bufq *q, const struct head *h, const struct h1_out *o) MUST_USE;
int h1_write_response(struct bufq *q, const struct head *h, const struct h1_out *o) MUST_USE;

enum { H1_CHUNK_PREFIX_MAX = 18 };
/* "1a2b\r\n"; n > 0. Returns its length. The chunk ends with "\r\n". */
size_t h1_write_chunk_prefix(char out[H1_CHUNK_PREFIX_MAX], uint64_t n);
/* "0\r\n", trailers, "\r\n". trailers may be NULL. */
int h1_write_last_chunk(struct bufq *q, const struct hdrs *trailers) MUST_USE;

#endif
