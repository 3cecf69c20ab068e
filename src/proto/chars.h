/* SPDX-License-Identifier: MIT */
/* chars: the byte classes of HTTP, one table of bits for all 256 bytes, and the loops that run over
 * it. Bytes are octets, never characters of a locale (C1). Thread: any. */
#ifndef PROTO_CHARS_H
#define PROTO_CHARS_H

#include "base/slice.h"

#include <stdint.h>

enum {
    CHARS_TOKEN = 1,  /* tchar (RFC 9110 5.6.2): methods, field names, codings */
    CHARS_TARGET = 2, /* VCHAR and 0x80-0xFF: a request target */
    CHARS_VALUE = 4,  /* HTAB, SP, VCHAR, 0x80-0xFF: field values, reason phrases */
    CHARS_BLANK = 8,  /* SP and HTAB, nothing else */
    CHARS_DIGIT = 16,
    CHARS_HEX = 32,
    CHARS_NAME = 64,   /* a host name as we write it: lower-case letters, digits, '-', '_', '.' */
    CHARS_QUOTED = 128 /* qdtext (RFC 9110 5.6.4): inside quotes without a backslash before it */
};

extern const uint8_t chars_table[256];

static inline bool chars_is(char c, unsigned classes)
{
    return (chars_table[(unsigned char)c] & classes) != 0;
}

/* The first byte in p..end that is in none of the classes, or end. */
static inline const char *chars_skip(const char *p, const char *end, unsigned classes)
{
    while (p < end && chars_is(*p, classes))
        p++;
    return p;
}

/* True when one of eight bytes is below `min` (at most 0x80) or is DEL. Bytes from 0x80 up are
 * neither. */
static inline bool chars_any_below(const char *p, uint8_t min)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t w, del;

    memcpy(&w, p, sizeof(w));
    del = w ^ (ones * 0x7f);
    return ((((w - ones * min) & ~w) | ((del - ones) & ~del)) & highs) != 0;
}

/* chars_skip for VALUE and TARGET, which are most of a head: eight bytes at a time. */
static inline const char *chars_skip_value(const char *p, const char *end)
{
    while (end - p >= 8 && !chars_any_below(p, 0x20))
        p += 8;
    return chars_skip(p, end, CHARS_VALUE);
}

static inline const char *chars_skip_target(const char *p, const char *end)
{
    while (end - p >= 8 && !chars_any_below(p, 0x21))
        p += 8;
    return chars_skip(p, end, CHARS_TARGET);
}

/* Not empty, and every byte a tchar. */
static inline bool chars_is_token(struct slice s)
{
    return s.n && chars_skip(s.p, s.p + s.n, CHARS_TOKEN) == s.p + s.n;
}

/* May be written as a field value: no control but HTAB. Empty is fine. */
static inline bool chars_is_value(struct slice s)
{
    return s.n == 0 || chars_skip_value(s.p, s.p + s.n) == s.p + s.n;
}

#endif
