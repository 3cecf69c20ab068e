/* SPDX-License-Identifier: MIT */
/* h1_body: takes the content of an HTTP/1 message out of its framing (RFC 9112 6, 7). No I/O, no copy: it says which of
 * the given bytes are content. Chunk extensions are checked and dropped (at most 4 KB of them in a message); trailers are
 * parsed like fields, bounded by the limits, connection-specific and framing fields among them are dropped.
 * Owner: whoever embeds it. Thread: the worker's. */
#ifndef PROTO_H1_BODY_H
#define PROTO_H1_BODY_H

#include "proto/h1_parse.h"

struct h1_body {
    enum h1_framing framing;
    uint64_t left;  /* LENGTH: bytes to come. CHUNKED: bytes to come of this chunk */
    uint8_t state;  /* of the chunk decoder */
    bool response;  /* chooses between the strictness of both sides, nothing else */
    bool done;
    uint16_t size_digits;
    uint32_t ext_bytes;
    enum h1_fault fault;
    struct h1_limits limits;
    struct arena *arena;         /* for trailers; may be set late, before the last chunk; without it trailers are NO_MEMORY */
    struct h1_parser *trailer_parser;
    struct hdrs trailers;
};

/* length matters for LENGTH only. A body of NONE, or of LENGTH 0, is done at once. */
void h1_body_init(struct h1_body *b, enum h1_framing framing, uint64_t length, bool response, struct arena *arena,
                  const struct h1_limits *limits);

/* Looks at n bytes and uses *ret_used of them, of which *ret_data is the run of content (.n may be 0; it ends where the used
 * bytes end or earlier). Call again with the rest until it does not return MORE with *ret_used < n. DONE: the message is over
 * and the bytes after *ret_used belong to the next one. MORE: more to come. BAD: all n were used, no content; b->fault says why.
 * With CLOSE it is always MORE; the caller ends it with h1_body_eof. */
enum parse h1_body_feed(struct h1_body *b, const char *in, size_t n, size_t *ret_used, struct slice *ret_data);

/* The connection ended. True: the body is complete (CLOSE, or done already). */
bool h1_body_eof(struct h1_body *b);

/* For the splice path: n bytes of content went by outside (n <= h1_body_direct). */
uint64_t h1_body_direct(const struct h1_body *b); /* bytes that are content for sure right now: to the end of a chunk; UINT64_MAX for CLOSE */
void h1_body_skip(struct h1_body *b, uint64_t n);

#endif
