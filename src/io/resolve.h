/* SPDX-License-Identifier: MIT */
/* resolve: names to addresses on the worker's loop. Order: literals (never asked), localhost names (::1 and 127.0.0.1; RFC 6761),
 * the hosts file, the cache on the board, then DNS (A and AAAA as two queries through c-ares) or, with `system`, the C library in a
 * helper. One query in flight a name and worker: later askers join it. Answers live min(TTL, ttl-max), at least 1 s; negative
 * answers the SOA's minimum (RFC 2308), at most 60 s; failures (SERVFAIL, timeout) 1 s.
 * Addresses may be used for stale_ms more (RFC 8767): the first asker begins a refresh and, like all others until it is back, gets what
 * there is at once; when it fails they go on getting it, and the next refresh begins after a second. A "no" ends it.
 * resolv.conf and hosts are watched: a change rebuilds the channel (running queries end as failed and are asked again once).
 * Owner: a worker. Thread: its loop's. Bounds: RESOLVE_MAX_NAMES queries in flight a worker, then askers get ERR_LIMIT. */
#ifndef IO_RESOLVE_H
#define IO_RESOLVE_H

#include "base/board.h"
#include "io/addr.h"
#include "io/helper.h"
#include "io/loop.h"

enum {
    RESOLVE_MAX_ADDRS = 16,
    RESOLVE_MAX_NAMES = 1024,
    RESOLVE_DELAY_MS = 50,       /* how long one family's addresses wait for the other's (RFC 8305 3) */
    RESOLVE_PENALTY_MS = 60000,  /* how long an address that failed stays last */
    RESOLVE_FACT_MAX = 19 + RESOLVE_MAX_ADDRS * 17, /* the board's value_max is at least this */
};

enum resolve_family { FAMILY_AUTO = 0, FAMILY_4, FAMILY_6, FAMILY_PREFER_4 };

struct resolve_conf {
    const char *const *servers; /* "1.2.3.4", "1.2.3.4:53", "[::1]:53"; NULL-terminated; empty: resolv.conf */
    bool system;                /* ask the C library (nss) in a helper */
    bool search;                /* apply resolv.conf's search list and ndots to names without a trailing dot */
    enum resolve_family family;
    uint64_t ttl_max_ms;
    uint64_t stale_ms;          /* how long addresses may be used past their time; 0: not at all */
    uint64_t timeout_ms;        /* of a whole lookup; default 5 s */
    const char *resolv_path, *hosts_path; /* NULL: /etc/resolv.conf, /etc/hosts (tests give their own) */
};

struct resolver;

enum resolve_status {
    RESOLVE_OK = 0,
    RESOLVE_NXDOMAIN, /* the name does not exist */
    RESOLVE_NODATA,   /* it exists, without an address of the families asked for */
    RESOLVE_FAILED,   /* the server says SERVFAIL, REFUSED, … or sends nonsense */
    RESOLVE_TIMEOUT,
    RESOLVE_LIMIT,    /* too many lookups in flight, or out of memory */
};

struct resolve_answer {
    enum resolve_status status;
    uint8_t rcode; /* DNS RCODE where one was received */
    bool cached;
    bool stale; /* past its time (resolve_conf.stale_ms) */
    unsigned n;
    struct addr addrs[RESOLVE_MAX_ADDRS]; /* port 0; families alternate, AUTO: IPv6 first; PREFER_4: all of IPv4 first */
};

/* conf is copied; of its servers the first eight are used. board and helpers are borrowed; helpers may be NULL unless conf->system.
 * The C library applies a search list of its own. ERR_SYNTAX, ERR_RANGE: a server's address; ERR_NOMEM. */
int resolver_new(struct loop *loop, struct board *board, struct helper_pool *helpers, const struct resolve_conf *conf,
                 struct resolver **ret_resolver) MUST_USE;
/* Outstanding requests must have been cancelled. */
void resolver_free(struct resolver *r);
unsigned resolver_lookups(const struct resolver *r); /* names that are being looked up */

/* Nobody waits and no question is out: it may be freed without losing anything. */
bool resolver_idle(const struct resolver *r);
/* It was made with this configuration, value by value. */
bool resolver_same(const struct resolver *r, const struct resolve_conf *conf);

/* One asker. Embedded in the asker's memory. */
struct resolve_req {
    struct list link;
    struct task *task; /* woken with TASK_HELPER when done */
    bool busy, done;
    struct resolve_answer *answer; /* the asker's memory */
};

/* name: normalised (proto/url.h), no trailing dot, 1..253 bytes; copied. False: the answer is there already (req->done, no wake-up
 * follows). True: a wake-up follows unless it is cancelled. */
bool resolve_start(struct resolver *r, struct slice name, struct resolve_req *req, struct task *task,
                   struct resolve_answer *answer);
void resolve_cancel(struct resolve_req *req); /* any state is fine */

/* A connection to `addr` of that name failed (U60, U9): its next answers list the other addresses first for ttl ms. */
void resolve_penalise(struct resolver *r, struct slice name, const struct addr *addr);

#endif
