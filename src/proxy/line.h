/* SPDX-License-Identifier: MIT */
/* line: writes the pieces of a log's line into a buffer and stops at its end. Every byte of a
 * string goes through line_json, line_url, line_quoted or line_request, so that none of them can
 * end a field or a line. Owner: a caller's frame. Thread: any. */
#ifndef PROXY_LINE_H
#define PROXY_LINE_H

#include "base/num.h"
#include "proxy/access.h"

#include <string.h>

struct line {
    char *p, *end;
    bool full;
};

/* Nothing more fits: a shorter piece must not follow a missing one. */
static inline void line_overflow(struct line *l)
{
    l->full = true;
    l->end = l->p;
}

static inline void line_put(struct line *l, const char *p, size_t n)
{
    if (UNLIKELY((size_t)(l->end - l->p) < n)) {
        line_overflow(l);
        return;
    }
    memcpy(l->p, p, n);
    l->p += n;
}

#define LINE_PUT(l, lit) line_put((l), "" lit, sizeof(lit) - 1)

static inline void line_char(struct line *l, char c)
{
    line_put(l, &c, 1);
}

static inline void line_dec(struct line *l, uint64_t v)
{
    char digits[20];

    line_put(l, digits, num_put_dec(digits, v));
}

/* At least `width` bytes, padded on the left. */
void line_padded(struct line *l, uint64_t v, size_t width, char pad);

/* A JSON string with its quotes; bytes that are no UTF-8 as \u00XX. */
void line_json(struct line *l, struct slice s);
/* As squid writes a URL: what a reader of fields would stumble over, blanks too, is %XX. */
void line_url(struct line *l, struct slice s);
/* As Apache writes between quotes: \", \\, \n and the like, \xhh. */
void line_quoted(struct line *l, struct slice s);
/* The same for the parts of a request line, where a blank would separate. */
void line_request(struct line *l, struct slice s);

typedef void (*line_text_fn)(struct line *l, struct slice s);
/* The request's target: `http://host:port/path` without a default port, or a CONNECT's `host:port`.
 * It must have a host. There is no query: the record has none. */
void line_target(struct line *l, const struct access_record *r, line_text_fn text);

static inline bool line_known_addr(const struct addr *a)
{
    return a->sa.sa_family != AF_UNSPEC;
}
/* The address without its port; `unix` for a Unix socket, `-` when it is not known. */
void line_host(struct line *l, const struct addr *a);

/* 2023-11-14T22:13:20.123Z */
void line_iso(struct line *l, uint64_t wall_ms);
/* [10/Oct/2000:13:55:36 -0700], in local time */
void line_clf_time(struct line *l, uint64_t wall_ms);
/* Three digits of a second. */
void line_ms3(struct line *l, unsigned ms);

#endif
