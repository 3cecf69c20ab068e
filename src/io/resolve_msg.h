/* SPDX-License-Identifier: MIT */
/* resolve_msg: what the resolver wants to know of a DNS answer and c-ares does not say (RFC 1035 4,
 * RFC 2308 5). Pure: bytes in, facts out; reads no name, follows no pointer. */
#ifndef IO_RESOLVE_MSG_H
#define IO_RESOLVE_MSG_H

#include "base/slice.h"

#include <stdint.h>

/* An answer with more records than this is refused: no name has so many addresses or aliases. */
enum { RESOLVE_MSG_RECORDS = 512, RESOLVE_MSG_ALIASES = 16 };

struct resolve_msg {
    uint8_t rcode;
    bool has_extra; /* the additional section is not empty: the server may know EDNS */
    bool has_soa;
    uint32_t negative_s; /* how long "no" lives: the smaller of the SOA's TTL and its minimum; 0
                            without one */
};

/* ERR_SYNTAX: cut short or no DNS message. ERR_LIMIT: too many records or aliases. */
int resolve_msg_read(struct slice bytes, struct resolve_msg *ret_msg) MUST_USE;
/* The identity and RCODE of a message of any length; false when it is shorter than a header or no
 * answer. */
bool resolve_msg_peek(struct slice bytes, uint16_t *ret_id, uint8_t *ret_rcode);

#endif
