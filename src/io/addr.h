/* SPDX-License-Identifier: MIT */
/* addr: socket addresses and ranges of them, one parser for all. IPv4-mapped IPv6 addresses compare as IPv4. A client of a Unix socket has family
 * AF_UNIX and nothing else: it is written "unix" and is in no range. */
#ifndef IO_ADDR_H
#define IO_ADDR_H

#include "base/slice.h"

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
};

enum { ADDR_TEXT_MAX = 56 };

void addr_v4(struct addr *a, const uint8_t bytes[4], uint16_t port);
void addr_v6(struct addr *a, const uint8_t bytes[16], uint16_t port);
/* "1.2.3.4:80", "[::1]:80"; numeric only. ERR_SYNTAX, ERR_RANGE. */
int addr_parse(struct slice s, struct addr *ret_addr) MUST_USE;
/* "1.2.3.4", "::1", "[::1]": an address in its canonical spellings only (inet_pton), with the given port. ERR_SYNTAX. */
int addr_parse_host(struct slice s, uint16_t port, struct addr *ret_addr) MUST_USE;
socklen_t addr_len(const struct addr *a);
uint16_t addr_port(const struct addr *a);
void addr_set_port(struct addr *a, uint16_t port);
bool addr_eq(const struct addr *a, const struct addr *b);      /* address and port */
bool addr_same_host(const struct addr *a, const struct addr *b); /* address only */
bool addr_is_loopback(const struct addr *a);
bool addr_is_any(const struct addr *a);
bool addr_is_ip(const struct addr *a); /* IPv4 or IPv6; false: it is a Unix socket's, or none */
/* "1.2.3.4:80" / "[::1]:80"; without port: "1.2.3.4" / "::1". NUL-terminated; returns the length. */
size_t addr_text(const struct addr *a, char out[ADDR_TEXT_MAX]);
size_t addr_host_text(const struct addr *a, char out[ADDR_TEXT_MAX]);

/* An address range: "10.0.0.0/8", "::1", "fd00::/8". Bits beyond the prefix must be zero (ERR_RANGE). IPv4 addresses are in
 * IPv4 ranges only, however they are written: "::/0" is every IPv6 address and no IPv4 one, mapped or not. */
struct addr_range {
    uint64_t hi, lo, mask_hi, mask_lo; /* host order; IPv4 as mapped IPv6 */
    bool v4;                           /* a range of IPv4 addresses: the only ones that those can be in */
};

/* An address made ready to be looked for in many ranges: about a nanosecond each (U7). */
struct addr_key {
    uint64_t hi, lo;
    bool v4;
};
struct addr_key addr_key(const struct addr *a);

static inline bool addr_key_in(const struct addr_key *k, const struct addr_range *r)
{
    return (((k->hi ^ r->hi) & r->mask_hi) | ((k->lo ^ r->lo) & r->mask_lo)) == 0 && k->v4 == r->v4;
}
int addr_range_parse(struct slice s, struct addr_range *ret_range) MUST_USE;
bool addr_in_range(const struct addr *a, const struct addr_range *r);

#endif
