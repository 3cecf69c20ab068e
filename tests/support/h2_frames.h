/* SPDX-License-Identifier: MIT */
/* h2_frames: frames of HTTP/2 by hand, right or wrong (RFC 9113 4, 6; RFC 7541 6.2.2: every field a
 * literal without indexing). Owner of the bytes: the test. */
#ifndef SUPPORT_H2_FRAMES_H
#define SUPPORT_H2_FRAMES_H

#include "base/check.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { F_DATA, F_HEADERS, F_PRIORITY, F_RST, F_SETTINGS, F_PUSH, F_PING, F_GOAWAY, F_WINDOW, F_CONTINUATION };
enum { F_END_STREAM = 1, F_ACK = 1, F_END_HEADERS = 4 };
#define F_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

struct frames {
    uint8_t p[300000];
    size_t n;
};

static inline void frames_bytes(struct frames *f, const void *p, size_t n)
{
    CHECK(f->n + n <= sizeof(f->p));
    memcpy(f->p + f->n, p, n);
    f->n += n;
}

static inline void frames_head(struct frames *f, size_t n, int type, int flags, uint32_t stream)
{
    uint8_t h[9] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n,  (uint8_t)type, (uint8_t)flags, (uint8_t)(stream >> 24),
                    (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};

    frames_bytes(f, h, sizeof(h));
}

static inline void frames_put(struct frames *f, int type, int flags, uint32_t stream, const void *p, size_t n)
{
    frames_head(f, n, type, flags, stream);
    if (n)
        frames_bytes(f, p, n);
}

static inline void frames_u32(struct frames *f, int type, uint32_t stream, uint32_t v)
{
    uint8_t b[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};

    frames_put(f, type, 0, stream, b, sizeof(b));
}

static inline void frames_begin(struct frames *f)
{
    f->n = 0;
    frames_bytes(f, F_PREFACE, sizeof(F_PREFACE) - 1);
    frames_put(f, F_SETTINGS, 0, 0, NULL, 0);
    frames_put(f, F_SETTINGS, F_ACK, 0, NULL, 0);
}

static inline size_t frames_text(uint8_t *out, const char *s, size_t n)
{
    size_t at = 0;

    if (n < 127) {
        out[at++] = (uint8_t)n;
    } else {
        size_t left = n - 127;

        out[at++] = 127;
        for (; left >= 128; left /= 128)
            out[at++] = (uint8_t)(left % 128 | 128);
        out[at++] = (uint8_t)left;
    }
    memcpy(out + at, s, n);
    return at + n;
}

/* Lines "name: value", each with LF behind it; pseudo-fields too. "\1" stands for a CR, "\2" for a
 * LF, "\3" for NUL. Returns how many bytes. */
static inline size_t frames_block(uint8_t *out, const char *lines)
{
    size_t at = 0;

    while (*lines) {
        const char *end = strchr(lines, '\n'), *colon = end;
        char text[2][9000];

        /* The last one that may be it: an empty name has the first byte of the line. */
        for (const char *p = end - 2; p >= lines; p--)
            if (p[0] == ':' && p[1] == ' ' && (p == lines || memchr(lines + 1, ' ', (size_t)(p - lines)) == NULL || p < colon))
                colon = p;
        size_t n[2] = {(size_t)(colon - lines), (size_t)(end - colon - 2)};

        CHECK(n[0] < sizeof(text[0]) && n[1] < sizeof(text[1]));
        memcpy(text[0], lines, n[0]);
        memcpy(text[1], colon + 2, n[1]);
        out[at++] = 0;
        for (int k = 0; k < 2; k++) {
            for (size_t i = 0; i < n[k]; i++)
                text[k][i] = text[k][i] == 1 ? '\r' : text[k][i] == 2 ? '\n' : text[k][i] == 3 ? '\0' : text[k][i];
            at += frames_text(out + at, text[k], n[k]);
        }
        lines = end + 1;
    }
    return at;
}

static inline void frames_headers(struct frames *f, uint32_t stream, int flags, const char *lines)
{
    static uint8_t block[100000];
    size_t n = frames_block(block, lines);

    frames_put(f, F_HEADERS, flags | F_END_HEADERS, stream, block, n);
}

/* What is at `at` in `p`: false at the end, or when it is not whole. */
struct frame {
    int type, flags;
    uint32_t stream;
    const uint8_t *p;
    size_t n;
};

static inline bool frames_next(const void *bytes, size_t n, size_t *at, struct frame *ret)
{
    const uint8_t *p = (const uint8_t *)bytes + *at;
    size_t len;

    if (n - *at < 9)
        return false;
    len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
    if (n - *at < 9 + len)
        return false;
    *ret = (struct frame){p[3], p[4], (uint32_t)(p[5] & 127) << 24 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8], p + 9, len};
    *at += 9 + len;
    return true;
}

/* The code of the RST_STREAM of that stream (GOAWAY: stream 0), or -1. */
static inline int frames_code(const void *bytes, size_t n, uint32_t stream)
{
    struct frame f;
    size_t at = 0;
    int code = -1;

    while (frames_next(bytes, n, &at, &f)) {
        if (stream && f.type == F_RST && f.stream == stream)
            code = (f.p[2] << 8) | f.p[3];
        if (!stream && f.type == F_GOAWAY)
            code = (f.p[6] << 8) | f.p[7];
    }
    return code;
}

static inline unsigned frames_count(const void *bytes, size_t n, int type)
{
    struct frame f;
    size_t at = 0;
    unsigned count = 0;

    while (frames_next(bytes, n, &at, &f))
        count += f.type == type;
    return count;
}

#endif
