/* SPDX-License-Identifier: MIT */
/* num: the only way from outside bytes to an integer, and the quick way back. Called by every
 * parser: lengths, ports, status codes, chunk sizes, options. Leading zeros are allowed, signs and
 * blanks are not; nothing is ever cut or wrapped.
 */
#include "base/num.h"

#include "base/err.h"

enum { NO_DIGIT = 16 };

static inline unsigned digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    if (c >= 'A' && c <= 'F')
        return (unsigned)(c - 'A') + 10;
    return NO_DIGIT;
}

static inline int parse(struct slice s, unsigned base, uint64_t max, uint64_t *ret_v)
{
    bool over = false;
    uint64_t v = 0;

    if (s.n == 0)
        return ERR_SYNTAX;
    /* All of it is read even when the value is out of range: junk behind the digits is the worse
     * fault. */
    for (size_t i = 0; i < s.n; i++) {
        unsigned d = digit_value(s.p[i]);

        if (d >= base)
            return ERR_SYNTAX;
        /* v * base + d > max, without the overflow */
        over = over || d > max || v > (max - d) / base;
        if (!over)
            v = v * base + d;
    }
    if (over)
        return ERR_RANGE;
    *ret_v = v;
    return 0;
}

int num_dec(struct slice s, uint64_t max, uint64_t *ret_v)
{
    return parse(s, 10, max, ret_v);
}

int num_hex(struct slice s, uint64_t max, uint64_t *ret_v)
{
    return parse(s, 16, max, ret_v);
}

static inline size_t put(char *p, uint64_t v, unsigned base)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    memcpy(p, digits + at, sizeof(digits) - at);
    return sizeof(digits) - at;
}

/* Of all numbers in heads most are short: lengths, ports, parts of addresses. */
size_t num_put_dec(char *p, uint64_t v)
{
    uint32_t left = (uint32_t)v;
    size_t n = 1;

    if (v > 99999)
        return put(p, v, 10);
    for (uint32_t over = 10; left >= over; over *= 10)
        n++;
    for (size_t i = n; i > 0; left /= 10)
        p[--i] = (char)('0' + left % 10);
    return n;
}

size_t num_put_hex(char *p, uint64_t v)
{
    return put(p, v, 16);
}
