/* SPDX-License-Identifier: MIT */
/* spoken: what the first bytes of a stream look like. Says what it is, not that it is well-formed: a ClientHello is proto/clienthello.h's. Pure. Thread: any. */
#ifndef PROTO_SPOKEN_H
#define PROTO_SPOKEN_H

#include "base/slice.h"

#include <stdbool.h>

/* MORE: it may still be one of these.
 * TLS    a handshake record: 0x16, version 3.x (so neither DTLS nor the hello of SSL 2.0)
 * HTTP   a whole request line of HTTP/1.x, or the preface of HTTP/2 (RFC 9113 3.4)
 * SSH    "SSH-" (RFC 4253 4.2) */
enum spoken { SPOKEN_MORE = 0, SPOKEN_TLS, SPOKEN_HTTP, SPOKEN_SSH, SPOKEN_OTHER };

/* LINE_MAX: longest request line that counts. */
enum { SPOKEN_LINE_MAX = 8192, SPOKEN_METHOD_MAX = 32 };

/* All that has come so far. Never MORE for SPOKEN_LINE_MAX bytes. */
enum spoken spoken_of(const void *p, size_t n);
/* MORE that can become nothing but TLS. n > 0. */
bool spoken_may_be_tls(const void *p, size_t n);
const char *spoken_name(enum spoken s); /* "an HTTP request" */

#endif
