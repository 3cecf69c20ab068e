/* SPDX-License-Identifier: MIT */
/* resolve_facts: how addresses are put in order, and what the workers remember of names on the
 * board. Pure but for the board. Names are lower case, at most RESOLVE_NAME_MAX bytes. Owner: the
 * resolver. Thread: its loop's. */
#ifndef IO_RESOLVE_FACTS_H
#define IO_RESOLVE_FACTS_H

#include "io/resolve_dns.h"

enum { RESOLVE_NAME_MAX = 253 };

/* One family each; a set of them has the bits 1 << half. */
enum resolve_half { HALF_4 = 0, HALF_6, HALVES };

struct resolve_facts {
    struct board *board;
    struct loop *loop; /* its time */
    enum resolve_family family;
    uint32_t source; /* whom we ask, as a number: what other servers said is not our fact */
    uint64_t stale_ms; /* how long addresses are kept past their time */
};

/* The set of families that a mode asks for. */
unsigned resolve_facts_halves(enum resolve_family family);
/* Sets the answer's addresses only. Families alternate, IPv6 first; or all of IPv4 first
 * (FAMILY_PREFER_4). Within a family the source's order stays. v4 and v6 may be NULL. */
void resolve_facts_merge(const struct resolve_facts *f, const struct resolve_found *v4,
                         const struct resolve_found *v6, struct resolve_answer *a);
/* What a table says of a name, as the family mode wants it: OK, or NODATA when it lacks the
 * families asked for. */
void resolve_facts_from(const struct resolve_facts *f, const struct addr *addrs, unsigned n,
                        struct resolve_answer *ret_answer);

bool resolve_facts_get(const struct resolve_facts *f, struct slice name,
                       struct resolve_answer *ret_answer);
/* The name's addresses are past their time, and nobody is fetching new ones: whoever asks is the one to do it. It has until for_ms from now;
 * then it is anybody's again. */
bool resolve_facts_claim(const struct resolve_facts *f, struct slice name, uint64_t for_ms);
/* A refresh has failed: the next one begins retry_ms from now. False: there are no addresses to go on with. */
bool resolve_facts_keep(const struct resolve_facts *f, struct slice name, uint64_t retry_ms);
void resolve_facts_put(const struct resolve_facts *f, struct slice name,
                       const struct resolve_answer *a, uint64_t ttl_ms);

/* The address failed: it is listed last for RESOLVE_PENALTY_MS. */
void resolve_facts_penalise(const struct resolve_facts *f, struct slice name, const struct addr *a);
/* Moves those addresses to the end; both parts keep their order. */
void resolve_facts_order(const struct resolve_facts *f, struct slice name,
                         struct resolve_answer *a);

#endif
