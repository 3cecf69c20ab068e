/* SPDX-License-Identifier: MIT */
/* clienthello: the first message of a TLS client (RFC 8446 4.1.2, 5.1; RFC 5246 7.4.1.2), read from the first bytes of a stream, however they are cut into
 * records. Takes out what can be judged without opening anything: the name (RFC 6066 3), and what else is offered. Of a hello with ECH that is the outer one.
 * Strict: what one reader may take for one name and another for another one is refused: two server_name extensions or two names in one, any extension twice,
 * lengths that disagree, bytes behind the message in its record, records of another kind in between, a name with bytes that no name has.
 * Pure; no memory of its own. Thread: any. */
#ifndef PROTO_CLIENTHELLO_H
#define PROTO_CLIENTHELLO_H

#include "base/err.h"
#include "base/slice.h"

#include <stdint.h>

/* MAX: bytes of the stream, with the records' headers. A browser's with post-quantum keys has 1,800. */
enum { CLIENTHELLO_MAX = 16384, CLIENTHELLO_NAME_MAX = 253, CLIENTHELLO_EXTENSIONS_MAX = 128 };

struct clienthello {
    char name[CLIENTHELLO_NAME_MAX]; /* normalised as hosts of requests are: lower case, no trailing dot */
    uint8_t n_name;                  /* 0: no server_name extension */
    bool alpn, ech;                  /* the extension is there; ech: encrypted_client_hello (0xfe0d), GREASE or not */
    uint16_t version;                /* the highest that is offered: 0x0304, or the legacy one */
    size_t end;                      /* how many bytes of the stream it takes */
};

/* How far the records have been looked at. Begins zeroed. */
struct clienthello_scan {
    size_t at;     /* where the next record begins, once the one before is complete */
    uint32_t have; /* bytes of handshake messages before that */
};

/* p, n: all that has come so far, from the first byte on. DONE: *ret is filled. BAD: *ret_fault is a text, static. The same answer comes from any way to cut
 * the bytes into calls, but that a BAD may come earlier. Each call costs what is new, and DONE the length of the message. */
enum parse clienthello_feed(struct clienthello_scan *scan, const void *p, size_t n, struct clienthello *ret, const char **ret_fault);

static inline struct slice clienthello_name(const struct clienthello *h)
{
    return slice_of(h->name, h->n_name);
}

#endif
