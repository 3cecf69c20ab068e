/* SPDX-License-Identifier: MIT */
/* slice: borrowed bytes (pointer, length), not NUL-terminated, any byte value. The owner outlives the slice. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include "base/base.h"

#include <stdbool.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n;
};

#define SLICE(lit)     ((struct slice){"" lit, sizeof(lit) - 1})
#define SLICE_NONE     ((struct slice){NULL, 0})
#define SLICE_FMT      "%.*s"
#define SLICE_ARG(s)   (int)(s).n, (s).p

static inline struct slice slice_of(const void *p, size_t n)
{
    return (struct slice){p, n};
}

static inline struct slice slice_str(const char *z)
{
    return (struct slice){z, z ? strlen(z) : 0};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline char slice_lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char)(c + 32) : c;
}

/* ASCII only; other bytes compare as they are. */
static inline bool slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (slice_lower(a.p[i]) != slice_lower(b.p[i]))
            return false;
    return true;
}

static inline struct slice slice_skip(struct slice s, size_t n)
{
    /* An empty slice may have no pointer at all, to which C adds nothing, not even 0. */
    return (struct slice){n ? s.p + n : s.p, s.n - n};
}

/* OWS is SP and HTAB (RFC 9110 5.6.3), nothing else. */
static inline struct slice slice_trim(struct slice s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = slice_skip(s, 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Index of c, or s.n. */
static inline size_t slice_find(struct slice s, char c)
{
    const char *q = s.n ? memchr(s.p, c, s.n) : NULL;

    return q ? (size_t)(q - s.p) : s.n;
}

/* The next line of *text, without its end (LF or CRLF); false: nothing is left. *text moves on. */
static inline bool slice_next_line(struct slice *text, struct slice *ret_line)
{
    size_t n = slice_find(*text, '\n');

    if (text->n == 0)
        return false;
    *ret_line = slice_of(text->p, n && text->p[n - 1] == '\r' ? n - 1 : n);
    *text = slice_skip(*text, n < text->n ? n + 1 : n);
    return true;
}

/* The next element of a comma list (RFC 9110 5.6.1), trimmed, quotes respected, empty elements skipped; false at the
 * end. *list moves on. Start with *list = the field's value. */
bool slice_next_item(struct slice *list, struct slice *ret_item);

/* FNV-1a over lower-cased bytes: for small static tables only, never for keys an attacker chooses. */
unsigned slice_hash_nocase(struct slice s);

#endif
