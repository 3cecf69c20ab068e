/* SPDX-License-Identifier: MIT */
/* spoken: tells protocols apart by how they begin. Called by step peek with what has come so far. It never guesses: what has begun as nothing known is OTHER.
 */
#include "proto/spoken.h"

#include "proto/chars.h"

static const char h2_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum { TLS_HANDSHAKE = 22, TLS_MAJOR = 3, TLS_MINOR_MAX = 4 };

const char *spoken_name(enum spoken s)
{
    static const char *const names[] = {
        [SPOKEN_MORE] = "something unfinished", [SPOKEN_TLS] = "TLS", [SPOKEN_HTTP] = "an HTTP request", [SPOKEN_SSH] = "SSH", [SPOKEN_OTHER] = "something else",
    };

    return (unsigned)s < ARRAY_LEN(names) ? names[s] : "";
}

/* As far as both go. */
static bool agrees(struct slice s, const char *with, size_t n)
{
    return memcmp(s.p, with, min_size(s.n, n)) == 0;
}

static enum spoken tls(struct slice s)
{
    if ((unsigned char)s.p[0] != TLS_HANDSHAKE || (s.n > 1 && s.p[1] != TLS_MAJOR) || (s.n > 2 && (unsigned char)s.p[2] > TLS_MINOR_MAX))
        return SPOKEN_OTHER;
    return s.n < 3 ? SPOKEN_MORE : SPOKEN_TLS;
}

bool spoken_may_be_tls(const void *p, size_t n)
{
    return tls(slice_of(p, n)) != SPOKEN_OTHER;
}

/* method SP request-target SP HTTP/1.x, and the end of the line (RFC 9112 3). */
static enum spoken request_line(struct slice s)
{
    static const char version[] = "HTTP/1.";
    const char *p = s.p, *end = s.p + min_size(s.n, SPOKEN_LINE_MAX), *method = p;
    enum spoken more = s.n < SPOKEN_LINE_MAX ? SPOKEN_MORE : SPOKEN_OTHER;
    size_t n = sizeof(version) - 1;

    p = chars_skip(p, end, CHARS_TOKEN);
    if (p - method > SPOKEN_METHOD_MAX)
        return SPOKEN_OTHER;
    if (p == end)
        return more;
    if (p == method || *p++ != ' ')
        return SPOKEN_OTHER;
    method = p;
    p = chars_skip(p, end, CHARS_TARGET);
    if (p == end)
        return more;
    if (p == method || *p++ != ' ' || !agrees(slice_of(p, (size_t)(end - p)), version, n))
        return SPOKEN_OTHER;
    if ((size_t)(end - p) <= n)
        return more;
    p += n;
    if (!chars_is(*p++, CHARS_DIGIT))
        return SPOKEN_OTHER;
    if (p < end && *p == '\r')
        p++;
    if (p == end)
        return more;
    return *p == '\n' ? SPOKEN_HTTP : SPOKEN_OTHER;
}

enum spoken spoken_of(const void *bytes, size_t n)
{
    static const size_t preface = sizeof(h2_preface) - 1;
    struct slice s = slice_of(bytes, n);

    if (!n)
        return SPOKEN_MORE;
    if (tls(s) != SPOKEN_OTHER)
        return tls(s);
    if (agrees(s, "SSH-", 4))
        return n < 4 ? SPOKEN_MORE : SPOKEN_SSH;
    if (agrees(s, h2_preface, preface))
        return n < preface ? SPOKEN_MORE : SPOKEN_HTTP;
    return request_line(s);
}
