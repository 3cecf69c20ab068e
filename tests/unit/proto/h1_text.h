/* SPDX-License-Identifier: MIT */
/* h1_text: a head as a few lines of text, so that tests and fuzzers compare and print whole heads.
 * Also the feeding of a parser and of a body in pieces. Include it once a program.
 *
 *     GET /x 1.1 absolute http name a.b:8080 length=5 close expect     405 Not Allowed|1.1 chunked
 *     Host: a.b                                                        Allow: GET
 */
#ifndef UNIT_PROTO_H1_TEXT_H
#define UNIT_PROTO_H1_TEXT_H

#include "proto/h1_body.h"

#include <stdio.h>
#include <stdlib.h>

enum { TEXT_MAX = 1 << 18 };

struct text {
    size_t n;
    char p[TEXT_MAX];
};

static inline void text_put(struct text *t, struct slice s)
{
    if (s.n > sizeof(t->p) - 1 - t->n)
        abort(); /* the tests' inputs are smaller */
    if (s.n)
        memcpy(t->p + t->n, s.p, s.n);
    t->n += s.n;
    t->p[t->n] = '\0';
}

static inline void text_str(struct text *t, const char *z)
{
    text_put(t, slice_str(z));
}

static inline void text_num(struct text *t, uint64_t v)
{
    char digits[24];

    text_put(t, slice_of(digits,
                         (size_t)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)v)));
}

static inline void text_authority(struct text *t, const struct authority *auth)
{
    static const char *const kinds[] = {"none", "name ", "ipv4 ", "ipv6 "};

    text_str(t, kinds[auth->kind]);
    text_put(t, auth->host);
    if (auth->port) {
        text_str(t, ":");
        text_num(t, auth->port);
    }
}

static inline void text_fields(struct text *t, const struct hdrs *h)
{
    for (uint32_t i = 0; i < h->n; i++) {
        text_put(t, h->v[i].name);
        text_str(t, ": ");
        text_put(t, h->v[i].value);
        text_str(t, "\n");
    }
}

static inline void text_framing(struct text *t, const struct head *h, enum h1_framing framing)
{
    static const char *const names[] = {" none", " length=", " chunked", " close-delimited"};
    static const enum body_kind kinds[] = {BODY_NONE, BODY_SIZED, BODY_STREAMED, BODY_STREAMED};

    text_str(t, names[framing]);
    if (framing == H1_FRAME_LENGTH)
        text_num(t, h->length);
    if (kinds[framing] != h->body || (framing != H1_FRAME_LENGTH && h->length != 0))
        text_str(t, " BUT body DIFFERS");
}

static inline void text_head(struct text *t, const struct head *h, enum h1_framing framing)
{
    static const char *const forms[] = {" origin ", " absolute ", " authority ", " asterisk "};
    static const char *const schemes[] = {"", "http ", "https "};

    if (h->response) {
        text_num(t, (uint64_t)(unsigned)h->status);
        text_str(t, " ");
        text_put(t, h->reason);
        text_str(t, "|");
    } else {
        text_put(t, h->method_name);
        text_str(t, " ");
        text_put(t, h->path);
        text_str(t, h->path.n ? " " : "");
    }
    text_str(t, h->version == 10 ? "1.0" : h->version == 11 ? "1.1" : "?");
    if (!h->response) {
        text_str(t, forms[h->form]);
        text_str(t, schemes[h->scheme]);
        text_authority(t, &h->auth);
    }
    text_framing(t, h, framing);
    text_str(t, h->close ? " close" : "");
    text_str(t, h->expect_continue ? " expect" : "");
    text_str(t, h->te_trailers ? " te" : "");
    if (h->protocol.n) {
        text_str(t, " upgrade=");
        text_put(t, h->protocol);
    }
    if (h->keep_alive_s) {
        text_str(t, " keep-alive=");
        text_num(t, h->keep_alive_s);
    }
    text_str(t, "\n");
    text_fields(t, &h->fields);
}

/* A row's bytes on the heap, without the "$" that marks where the message ends and the bytes of
 * others begin; *ret_end is that place, or the end. */
static inline struct slice unmark(const char *in, size_t *ret_end)
{
    size_t n = strlen(in), mark = slice_find(slice_of(in, n), '$'), rest = n - mark;
    char *copy = malloc(n + 1);

    if (!copy)
        abort();
    memcpy(copy, in, mark);
    if (rest)
        memcpy(copy + mark, in + mark + 1, rest - 1);
    *ret_end = mark;
    return slice_of(copy, rest ? n - 1 : n);
}

/* How the bytes come: all at once, in two, or in steps. */
struct pieces {
    size_t first; /* bytes of the first piece; 0: as the others */
    size_t step;  /* of the others; 0: all the rest */
};

static inline size_t piece_size(const struct pieces *p, size_t at, size_t n)
{
    size_t size = at == 0 && p->first ? p->first : p->step ? p->step : n;

    return min_size(size, n - at);
}

struct job {
    enum h1_kind kind;
    enum method request_method;
    struct h1_limits limits;
};

/* The parser after the last piece, NULL when there was no memory for one. *ret_used: bytes of the
 * head after DONE. Each piece is copied to the heap, so that a sanitizer sees a read past its end,
 * and so that a head which points into it is seen. */
static inline struct h1_parser *feed_head(struct arena *a, const struct job *j, struct slice in,
                                          const struct pieces *how, enum parse *ret_r,
                                          size_t *ret_used)
{
    struct h1_parser *p = h1_parser_new(a, j->kind, &j->limits);
    enum parse r = PARSE_MORE;
    size_t at = 0;

    *ret_r = PARSE_BAD;
    *ret_used = 0;
    if (!p)
        return NULL;
    h1_parser_for(p, j->request_method);
    while (r == PARSE_MORE && at < in.n) {
        size_t n = piece_size(how, at, in.n), used = 0;
        char *copy = malloc(n);

        if (!copy)
            abort();
        memcpy(copy, in.p + at, n);
        r = h1_parser_feed(p, copy, n, &used);
        if (used > n || (r != PARSE_DONE && used != n))
            abort();
        at += used;
        memset(copy, '#', n);
        free(copy);
    }
    *ret_r = r;
    *ret_used = at;
    return p;
}

/* What came of it: the head's text, "MORE", or the fault's token with what is known for the log. */
static inline void text_parsed(struct text *t, struct h1_parser *p, enum parse r)
{
    struct head *h = h1_parser_head(p);

    if (r == PARSE_MORE) {
        text_str(t, "MORE");
    } else if (r == PARSE_DONE) {
        text_head(t, h, h1_parser_framing(p));
    } else {
        text_str(t, h1_fault_info(h1_parser_fault(p))->token);
    }
}

/* Content and end of a body fed in pieces: "content|DONE" and the trailers, "content|MORE" or
 * "content|FAULT". Returns how many bytes were used. */
static inline size_t text_body(struct text *t, struct h1_body *b, struct slice in,
                               const struct pieces *how)
{
    enum parse r = b->done ? PARSE_DONE : PARSE_MORE;
    size_t at = 0;

    while (r == PARSE_MORE && at < in.n) {
        size_t n = piece_size(how, at, in.n), from = 0;
        char *copy = malloc(n);

        if (!copy)
            abort();
        memcpy(copy, in.p + at, n);
        while (r == PARSE_MORE && from < n) {
            struct slice data;
            size_t used;

            r = h1_body_feed(b, copy + from, n - from, &used, &data);
            if (used > n - from || (r == PARSE_MORE && used == 0))
                abort();
            text_put(t, data);
            from += used;
        }
        at += from;
        free(copy);
    }
    if (r == PARSE_BAD) {
        text_str(t, "|");
        text_str(t, h1_fault_info(b->fault)->token);
        return at;
    }
    text_str(t, r == PARSE_DONE ? "|DONE\n" : "|MORE\n");
    text_fields(t, &b->trailers);
    return at;
}

#endif
