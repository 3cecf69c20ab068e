/* SPDX-License-Identifier: MIT */
/* guard: which addresses are not the public Internet: every block of IANA's special-purpose registries (IPv4 and IPv6; also those parts that
 * are reachable from everywhere, as anycast addresses of AS112 or PCP are: nobody means them), multicast, every IPv6 address that is not in
 * 2000::/3, and what a cloud's metadata service answers at.
 * IPv4 inside IPv6: a mapped address is the IPv4 address (io/addr.h), and one behind the well-known NAT64 prefix, 64:ff9b::/96, is judged as
 * the IPv4 address inside, which is where it leads. The other forms (compatible, translated, 64:ff9b:1::/48, 6to4, Teredo, ISATAP) are refused as
 * they are under DENY; under METADATA what is inside them counts. Static data. Pure. */
#ifndef POLICY_GUARD_H
#define POLICY_GUARD_H

#include "io/addr.h"

/* DEFAULT: DENY when a listener is off loopback or rules exist, else METADATA; resolved by app before a policy is made. */
enum guard_mode { GUARD_DEFAULT = 0, GUARD_ALLOW, GUARD_METADATA, GUARD_DENY };

struct guard_block {
    const char *range; /* "169.254.0.0/16" */
    const char *name;  /* "link-local" */
    const char *text;  /* "169.254.0.0/16 (link-local)" */
    bool metadata;     /* METADATA refuses it, too */
};

/* The narrowest block that the address is in, else the one that an IPv4 address inside it is in; NULL: it is public. */
const struct guard_block *guard_find(const struct addr *a);
/* The block because of which the mode refuses the address; NULL: it passes. DEFAULT is DENY. */
const struct guard_block *guard_refuses(enum guard_mode mode, const struct addr *a);
/* All blocks, for the manual and tests: IPv4 first, a part before what it is a part of; ends with a NULL range. The last one, ISATAP, is no
 * range: its addresses have any prefix. */
extern const struct guard_block guard_blocks[];
enum { GUARD_PATTERNS = 1 };

#endif
