/* SPDX-License-Identifier: MIT */
/* hello: handmade ClientHellos. */
#ifndef SUPPORT_HELLO_H
#define SUPPORT_HELLO_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct hello {
    unsigned char p[40000];
    size_t n;
};

enum {
    HELLO_ECH = 1,      /* encrypted_client_hello */
    HELLO_TWICE = 2,    /* a second server_name extension */
    HELLO_TWO = 4,      /* a second name in the extension */
    HELLO_OLD = 8,      /* no supported_versions */
    HELLO_BIG = 16,     /* a key share as large as a post-quantum one */
    HELLO_BARE = 32,    /* no extensions at all */
    HELLO_TRAILING = 64, /* a byte behind the message, in its record */
    HELLO_ALPN = 128,
};

static inline void hello_put(struct hello *h, const void *p, size_t n)
{
    if (h->n + n > sizeof(h->p))
        abort();
    if (n)
        memcpy(h->p + h->n, p, n);
    h->n += n;
}

static inline void hello_number(struct hello *h, size_t v, unsigned bytes)
{
    while (bytes--) {
        unsigned char c = (unsigned char)(v >> 8 * bytes);

        hello_put(h, &c, 1);
    }
}

static inline void hello_extension(struct hello *h, unsigned type, const void *p, size_t n)
{
    hello_number(h, type, 2);
    hello_number(h, n, 2);
    hello_put(h, p, n);
}

static inline void hello_server_name(struct hello *h, const char *name, size_t n, const char *second)
{
    struct hello list = {.n = 0};

    hello_number(&list, 0, 1);
    hello_number(&list, n, 2);
    hello_put(&list, name, n);
    if (second) {
        hello_number(&list, 0, 1);
        hello_number(&list, strlen(second), 2);
        hello_put(&list, second, strlen(second));
    }
    hello_number(h, 0, 2);
    hello_number(h, list.n + 2, 2);
    hello_number(h, list.n, 2);
    hello_put(h, list.p, list.n);
}

static inline void hello_extensions(struct hello *e, const char *name, size_t n_name, unsigned flags)
{
    static const unsigned char versions[] = {6, 0x3a, 0x3a, 3, 4, 3, 3}, alpn[] = {0, 3, 2, 'h', '2'}, key[1250];

    hello_extension(e, 0x1a1a, "", 0);
    if (name)
        hello_server_name(e, name, n_name, flags & HELLO_TWO ? "evil.test" : NULL);
    if (flags & HELLO_TWICE)
        hello_server_name(e, "evil.test", 9, NULL);
    if (flags & HELLO_ALPN)
        hello_extension(e, 16, alpn, sizeof(alpn));
    if (!(flags & HELLO_OLD))
        hello_extension(e, 43, versions, sizeof(versions));
    if (flags & HELLO_BIG)
        hello_extension(e, 51, key, sizeof(key));
    if (flags & HELLO_ECH)
        hello_extension(e, 0xfe0d, key, 200);
}

/* The message, without a record around it. name NULL: none. */
static inline void hello_message(struct hello *h, const char *name, size_t n_name, unsigned flags)
{
    struct hello e = {.n = 0}, body = {.n = 0};
    unsigned char zero[64] = {0};

    hello_number(&body, 0x0303, 2);
    hello_put(&body, zero, 32);
    hello_number(&body, 32, 1);
    hello_put(&body, zero, 32);
    hello_number(&body, 4, 2);
    hello_number(&body, 0x0a0a1301, 4);
    hello_number(&body, 0x0100, 2);
    hello_extensions(&e, name, n_name, flags);
    if (!(flags & HELLO_BARE)) {
        hello_number(&body, e.n, 2);
        hello_put(&body, e.p, e.n);
    }
    h->n = 0;
    hello_number(h, 1, 1);
    hello_number(h, body.n, 3);
    hello_put(h, body.p, body.n);
    if (flags & HELLO_TRAILING)
        hello_number(h, 0, 1);
}

/* The message in records of at most so many bytes. */
static inline void hello_records(struct hello *to, const struct hello *message, size_t most)
{
    size_t at = 0;

    to->n = 0;
    while (at < message->n) {
        size_t n = message->n - at < most ? message->n - at : most;

        hello_number(to, 22, 1);
        hello_number(to, 0x0301, 2);
        hello_number(to, n, 2);
        hello_put(to, message->p + at, n);
        at += n;
    }
}

/* One record, for that name. */
static inline void hello_make(struct hello *h, const char *name, unsigned flags)
{
    struct hello m;

    hello_message(&m, name, name ? strlen(name) : 0, flags);
    hello_records(h, &m, 16384);
}

#endif
