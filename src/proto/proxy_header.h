/* SPDX-License-Identifier: MIT */
/* proxy_header: the PROXY protocol's header, versions 1 and 2, as a receiver reads it ("The PROXY protocol", sections 2.1 and 2.2; C86).
 * Bytes in, event out; nothing is kept. */
#ifndef PROTO_PROXY_HEADER_H
#define PROTO_PROXY_HEADER_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum { PROXY_HEADER_V1_MAX = 107, PROXY_HEADER_MAX = 16 + 4096 }; /* a longer v2 header is refused */

/* local: the sender's own connection (a health check), v1 UNKNOWN, or a family that is not AF_INET or AF_INET6 over a stream: the real addresses count. */
struct proxy_header {
    bool local;
    bool v6;
    uint8_t src[16], dst[16]; /* network order; IPv4 in the first four */
    uint16_t src_port, dst_port;
    struct slice sni; /* v2 TLV PP2_TYPE_AUTHORITY, for the log; points into p */
};

/* DONE: *ret_used bytes are the header. MORE: no complete one yet. BAD: this is none; *ret_fault is a static sentence. A CRC32c TLV is checked. */
enum parse proxy_header_read(const void *p, size_t n, struct proxy_header *ret_header, size_t *ret_used, const char **ret_fault);

/* Whether these bytes are, or can still become, the beginning of one, whatever stands behind "PROXY " or the signature. */
enum parse proxy_header_begins(const void *p, size_t n);

#endif
