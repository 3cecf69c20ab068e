/* SPDX-License-Identifier: MIT */
/* h1_parse: HTTP/1 heads, incremental: any split of the bytes gives the same result. No I/O. Byte-class tables, one
 * function a state. What it accepts is RFC 9112 at its strictest, with the repairs that the RFC demands of a proxy and
 * these exceptions: empty lines before a request line are skipped (at most 8; RFC 9112 2.2); for CONNECT only, LF line
 * ends and a missing Host are accepted.
 * Requests: bare CR, NUL, controls, blank before the colon, obs-fold, leading blank, bare LF (not CONNECT) are refused.
 * Responses: blanks before the colon are removed (C5), a fold becomes SP (C6), everything else is refused as well.
 * Owner: lives in the exchange's arena. Thread: the worker's. */
#ifndef PROTO_H1_PARSE_H
#define PROTO_H1_PARSE_H

#include "base/err.h"
#include "proto/head.h"

enum h1_fault {
    H1_OK = 0,
#define H1_FAULT_X(id, status, text, source) H1_##id,
#include "tbl/h1_faults.h"
    H1_FAULT_COUNT
};

struct h1_fault_info {
    int status; /* the answer to a request that has it; a response that has it is always 502. H1_OK: 0 */
    const char *token, *text, *source;
};
const struct h1_fault_info *h1_fault_info(enum h1_fault f);

struct h1_limits {
    uint32_t line;   /* bytes of the start line */
    uint32_t head;   /* bytes of the whole head, start line included */
    uint32_t fields; /* number of fields */
};

/* How a message's content is delimited on the wire (RFC 9112 6.3). */
enum h1_framing { H1_FRAME_NONE = 0, H1_FRAME_LENGTH, H1_FRAME_CHUNKED, H1_FRAME_CLOSE };

struct h1_parser;

/* The TRAILERS kinds begin at the first field line; h1_body uses them (RFC 9112 7.1.2). */
enum h1_kind { H1_REQUEST, H1_RESPONSE, H1_REQUEST_TRAILERS, H1_RESPONSE_TRAILERS };

/* NULL: the arena refuses. */
struct h1_parser *h1_parser_new(struct arena *a, enum h1_kind kind, const struct h1_limits *limits) MUST_USE;

/* For a response parser: the method of the request it answers (HEAD and CONNECT change the framing). */
void h1_parser_for(struct h1_parser *p, enum method request_method);

/* Feeds n bytes. DONE: *ret_used bytes belonged to the head, the rest to what follows. MORE: all n were used.
 * BAD: all n were used; h1_parser_fault says why; the head may be partly filled (method, target) for the log.
 * After DONE or BAD it says the same again and uses nothing.
 * A head takes at most four times limits->head from the arena for its text, and 160 bytes a field for the list of fields.
 * More options of Connection than limits->fields are TOO_MANY_FIELDS. */
enum parse h1_parser_feed(struct h1_parser *p, const void *bytes, size_t n, size_t *ret_used);

/* True once a byte of the message itself has been seen (skipped empty lines do not count). */
bool h1_parser_begun(const struct h1_parser *p);
enum h1_fault h1_parser_fault(const struct h1_parser *p);
/* After DONE: complete, framing decided, connection-specific fields taken out. After BAD: what is known so far. */
struct head *h1_parser_head(struct h1_parser *p);
/* After DONE. A request has NONE, LENGTH or CHUNKED. */
enum h1_framing h1_parser_framing(const struct h1_parser *p);

#endif
