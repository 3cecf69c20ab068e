/* SPDX-License-Identifier: MIT */
/* line: the pieces that all layouts share. Called by the log's thread many times a record, so
 * numbers, addresses and plain strings are written by hand, and dates once a second.
 */
#include "proxy/line.h"

#include "base/date.h"
#include "base/json.h"

#include <time.h>

void line_padded(struct line *l, uint64_t v, size_t width, char pad)
{
    char digits[20];
    size_t n = num_put_dec(digits, v);

    for (; width > n; width--)
        line_char(l, pad);
    line_put(l, digits, n);
}

/* ---- strings ---- */

enum { IN_JSON = 1, IN_URL = 2, IN_QUOTES = 4 };

/* Which bytes may be written as they are. */
static const uint8_t plain[256] = {
    [' '] = IN_JSON | IN_QUOTES,
    ['!'] = IN_JSON | IN_URL | IN_QUOTES,
    ['"'] = 0,
    ['#' ... '['] = IN_JSON | IN_URL | IN_QUOTES,
    ['\\'] = 0,
    [']' ... '~'] = IN_JSON | IN_URL | IN_QUOTES,
};

static inline bool is_plain(char c, uint8_t where)
{
    return plain[(unsigned char)c] & where;
}

static inline size_t plain_run(struct slice s, uint8_t where)
{
    size_t i = 0;

    while (i < s.n && is_plain(s.p[i], where))
        i++;
    return i;
}

void line_json(struct line *l, struct slice s)
{
    struct json j;

    if (LIKELY(plain_run(s, IN_JSON) == s.n)) {
        line_char(l, '"');
        line_put(l, s.p, s.n);
        line_char(l, '"');
        return;
    }
    json_init(&j, l->p, (size_t)(l->end - l->p));
    json_str(&j, s);
    l->p += j.n;
    if (j.full)
        line_overflow(l);
}

static void put_hex(struct line *l, const char *before, size_t n, char c, const char *digits)
{
    unsigned char u = (unsigned char)c;

    line_put(l, before, n);
    line_char(l, digits[u >> 4]);
    line_char(l, digits[u & 15]);
}

void line_url(struct line *l, struct slice s)
{
    while (s.n && !l->full) {
        size_t n = plain_run(s, IN_URL);

        line_put(l, s.p, n);
        s = slice_skip(s, n);
        if (s.n) {
            put_hex(l, "%", 1, s.p[0], "0123456789ABCDEF");
            s = slice_skip(s, 1);
        }
    }
}

/* As Apache writes between quotes; `where` says whether blanks pass: not within the parts of a
 * request line. */
static void quoted(struct line *l, struct slice s, uint8_t where)
{
    static const char from[] = "\"\\\b\n\r\t\v", to[] = "\"\\bnrtv";

    while (s.n && !l->full) {
        size_t n = plain_run(s, where);
        const char *at;

        line_put(l, s.p, n);
        s = slice_skip(s, n);
        if (!s.n)
            return;
        at = s.p[0] ? strchr(from, s.p[0]) : NULL;
        if (at)
            line_put(l, (const char[]){'\\', to[at - from]}, 2);
        else
            put_hex(l, "\\x", 2, s.p[0], "0123456789abcdef");
        s = slice_skip(s, 1);
    }
}

void line_quoted(struct line *l, struct slice s)
{
    quoted(l, s, IN_QUOTES);
}

void line_request(struct line *l, struct slice s)
{
    quoted(l, s, IN_URL); /* no blanks */
}

/* ---- targets ---- */

static bool is_connect(const struct access_record *r)
{
    return slice_eq(r->method, SLICE("CONNECT"));
}

/* An address of IPv6 is bracketed, however the record has it. */
static void put_authority(struct line *l, const struct access_record *r, uint16_t dflt,
                          line_text_fn text)
{
    bool bare = r->host.p[0] != '[' && slice_find(r->host, ':') < r->host.n;

    if (bare)
        line_char(l, '[');
    text(l, r->host);
    if (bare)
        line_char(l, ']');
    if (r->port != dflt) {
        line_char(l, ':');
        line_dec(l, r->port);
    }
}

void line_target(struct line *l, const struct access_record *r, line_text_fn text)
{
    bool tls = r->scheme == MATCH_HTTPS;

    if (is_connect(r)) {
        put_authority(l, r, 0, text);
        return;
    }
    if (tls)
        LINE_PUT(l, "https://");
    else
        LINE_PUT(l, "http://");
    put_authority(l, r, tls ? 443 : 80, text);
    text(l, r->path);
}

/* ---- addresses ---- */

static inline size_t put_octet(char *p, unsigned v)
{
    size_t n = 0;

    if (v >= 100)
        p[n++] = (char)('0' + v / 100);
    if (v >= 10)
        p[n++] = (char)('0' + v / 10 % 10);
    p[n++] = (char)('0' + v % 10);
    return n;
}

static size_t put_v4(char *p, const uint8_t v4[4])
{
    size_t n = 0;

    for (unsigned i = 0; i < 4; i++) {
        n += put_octet(p + n, v4[i]);
        p[n++] = '.';
    }
    return n - 1;
}

/* The longest run of zero groups, the first of several, of two at least (RFC 5952 4.2): where it
 * begins, and its length or 0. */
static unsigned longest_zeros(const uint8_t v6[16], unsigned *ret_n)
{
    unsigned best = 8, best_n = 1, n = 0;

    for (unsigned i = 0; i < 8; i++) {
        n = v6[2 * i] || v6[2 * i + 1] ? 0 : n + 1;
        if (n > best_n) {
            best_n = n;
            best = i + 1 - n;
        }
    }
    *ret_n = best < 8 ? best_n : 0;
    return best;
}

/* RFC 5952, of an address whose first group is not zero: the library takes half a microsecond for
 * it. */
static size_t put_v6(char *p, const uint8_t v6[16])
{
    unsigned zeros, zeros_n;
    size_t n = 0;

    zeros = longest_zeros(v6, &zeros_n);
    for (unsigned i = 0; i < 8; i++) {
        if (i == zeros) {
            p[n++] = ':';
            p[n++] = ':';
            i += zeros_n - 1;
            continue;
        }
        if (i && i != zeros + zeros_n)
            p[n++] = ':';
        n += num_put_hex(p + n, (uint64_t)v6[2 * i] << 8 | v6[2 * i + 1]);
    }
    return n;
}

void line_host(struct line *l, const struct addr *a)
{
    const uint8_t *v6 = (const uint8_t *)&a->in6.sin6_addr;
    char text[ADDR_TEXT_MAX];

    if (!line_known_addr(a))
        line_char(l, '-');
    else if (a->sa.sa_family == AF_UNIX)
        LINE_PUT(l, "unix");
    else if (a->sa.sa_family == AF_INET)
        line_put(l, text, put_v4(text, (const uint8_t *)&a->in.sin_addr));
    else if (v6[0] || v6[1])
        line_put(l, text, put_v6(text, v6));
    else
        line_put(l, text, addr_host_text(a, text));
}

/* ---- times ---- */

void line_ms3(struct line *l, unsigned v)
{
    line_put(l,
             (const char[]){(char)('0' + v / 100), (char)('0' + v / 10 % 10), (char)('0' + v % 10)},
             3);
}

/* Records of one second come together. */
void line_iso(struct line *l, uint64_t wall_ms)
{
    static _Thread_local char text[DATE_ISO_LEN + 1];
    static _Thread_local uint64_t second = UINT64_MAX;

    if (UNLIKELY(second != wall_ms / 1000)) {
        second = wall_ms / 1000;
        date_iso(second * 1000, text);
    }
    line_put(l, text, DATE_ISO_LEN - 4);
    line_ms3(l, (unsigned)(wall_ms % 1000));
    line_char(l, 'Z');
}

enum { CLF_TIME = 28 }; /* [10/Oct/2000:13:55:36 -0700] */

static char *put_two(char *p, unsigned v)
{
    p[0] = (char)('0' + v / 10 % 10);
    p[1] = (char)('0' + v % 10);
    return p + 2;
}

static void clf_time(uint64_t unix_s, char out[CLF_TIME])
{
    time_t t = unix_s <= 253402214400 ? (time_t)unix_s : 253402214400; /* the last day of 9999 */
    struct tm tm = {0};
    char *p = out;
    long east;

    localtime_r(&t, &tm);
    east = tm.tm_gmtoff < 0 ? -tm.tm_gmtoff : tm.tm_gmtoff;
    *p++ = '[';
    p = put_two(p, (unsigned)tm.tm_mday);
    *p++ = '/';
    memcpy(p, &"JanFebMarAprMayJunJulAugSepOctNovDec"[tm.tm_mon * 3], 3);
    p += 3;
    *p++ = '/';
    p = put_two(p, (unsigned)(tm.tm_year + 1900) / 100);
    p = put_two(p, (unsigned)(tm.tm_year + 1900) % 100);
    *p++ = ':';
    p = put_two(p, (unsigned)tm.tm_hour);
    *p++ = ':';
    p = put_two(p, (unsigned)tm.tm_min);
    *p++ = ':';
    p = put_two(p, (unsigned)tm.tm_sec);
    *p++ = ' ';
    *p++ = tm.tm_gmtoff < 0 ? '-' : '+';
    p = put_two(p, (unsigned)(east / 3600));
    p = put_two(p, (unsigned)(east / 60 % 60));
    *p = ']';
}

void line_clf_time(struct line *l, uint64_t wall_ms)
{
    static _Thread_local char text[CLF_TIME];
    static _Thread_local uint64_t second = UINT64_MAX;

    if (UNLIKELY(second != wall_ms / 1000)) {
        second = wall_ms / 1000;
        clf_time(second, text);
    }
    line_put(l, text, CLF_TIME);
}
