/* SPDX-License-Identifier: MIT */
/* ranges: a set of address ranges, asked in well under a microsecond however many there are: sorted, merged, searched by halves.
 * An IPv4 address is in IPv4 ranges only, however it is written (io/addr.h). 8 bytes an IPv4 range, 32 an IPv6 one, after merging.
 * Owner: whoever built it. Thread: read-only after building. */
#ifndef POLICY_RANGES_H
#define POLICY_RANGES_H

#include "io/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ranges {
    struct ranges_v4 {
        uint32_t first, last; /* host order, both included */
    } *v4;
    struct ranges_v6 {
        uint64_t first_hi, first_lo, last_hi, last_lo;
    } *v6;
    size_t n4, n6; /* disjoint, ascending, never adjacent */
};

/* Makes the set of n ranges in any order, overlapping or not. ERR_NOMEM: *ret_ranges is untouched. */
int ranges_build(const struct addr_range *v, size_t n, struct ranges *ret_ranges) MUST_USE;
/* Frees what ranges_build made; a zeroed one is fine. */
void ranges_done(struct ranges *r);
bool ranges_has(const struct ranges *r, const struct addr *a);
static inline bool ranges_empty(const struct ranges *r)
{
    return r->n4 == 0 && r->n6 == 0;
}

#endif
