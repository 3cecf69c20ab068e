/* SPDX-License-Identifier: MIT */
/* resolve_lookup: one lookup for each name that is being asked for: its askers, its candidates from
 * the search list, its two questions, its clock. Owner: the resolver. Thread: its loop's. */
#ifndef IO_RESOLVE_LOOKUP_H
#define IO_RESOLVE_LOOKUP_H

#include "io/resolve_facts.h"
#include "io/resolve_files.h"

enum { RESOLVE_LOOKUP_BUCKETS = 256 }; /* a power of two */

struct resolve_lookups {
    struct loop *loop;
    struct resolve_facts *facts;
    struct resolve_dns *dns;
    const struct resolve_files *files; /* the search list; NULL: names are asked for as they are */
    struct helper_pool *helpers;       /* not NULL: the C library is asked, not the DNS */
    uint64_t ttl_max_ms, timeout_ms;
    struct list bucket[RESOLVE_LOOKUP_BUCKETS]; /* lookups that may be joined */
    struct list waiting;                        /* those, by deadline: all have the same time */
    struct list halfway; /* those with one family, by the end of their delay */
    struct list over;    /* answered, with questions still out */
    unsigned n;          /* all of them */
};

/* The caller has set loop to timeout_ms. */
void resolve_lookup_init(struct resolve_lookups *ls);
/* Drops them all. No asker is left, and the questions were dropped before (resolve_dns_done). */
void resolve_lookup_done(struct resolve_lookups *ls);

/* Joins the lookup of a name or begins one. True: answered at once; false: the request is in its
 * list of askers. */
bool resolve_lookup_join(struct resolve_lookups *ls, struct slice name,
                         struct resolve_req *req) MUST_USE;
/* What a lookup has brought so far, while its other family is still to come. False: there is none. */
bool resolve_lookup_told(struct resolve_lookups *ls, struct slice name,
                         struct resolve_answer *ret_answer) MUST_USE;
/* Begins a lookup of a name that nobody waits for, unless there is one. False: none could be. */
bool resolve_lookup_refresh(struct resolve_lookups *ls, struct slice name) MUST_USE;
/* Takes in what came back from the DNS, and does what is due by now. Called from the task, after
 * resolve_dns_run. */
void resolve_lookup_run(struct resolve_lookups *ls);
/* When something is due; UINT64_MAX: never. */
uint64_t resolve_lookup_due(const struct resolve_lookups *ls);

#endif
