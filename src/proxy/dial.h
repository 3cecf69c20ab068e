/* SPDX-License-Identifier: MIT */
/* dial: the way to an upstream stream where it is more than one connection in clear: through parents, over TLS, or on a connection that is shared. One alternative of a route,
 * walked peer by peer: what the pool has, else a race to the first peer; TLS; a mux; through it a CONNECT to the next one, and so on. A peer is a parent; for https:// requests the
 * last one is the origin, and so it is where a parent is to be told the target's address (`resolve: local`). To a parent the last stream is the request's own, or the tunnel to the target. Nothing of the client's is sent before that is there (C20).
 * A parent's credentials go to that parent alone. No parent is dialled at an address of ginnel's own listeners; `private` is not asked (U4).
 * Owner: the exchange, in step dial. Thread: its worker's. Everything that it waits for wakes the exchange's task. */
#ifndef PROXY_DIAL_H
#define PROXY_DIAL_H

#include "base/end.h"
#include "proxy/upstream.h"

struct dial;
struct hop;
struct mux;
struct route;
struct stream;
struct xchg;

/* A parent's refusal of a CONNECT. */
enum { PARENT_BODY_MAX = 65536, PARENT_MEMBERS_MAX = 8 };
struct parent_answer {
    int status;
    struct slice reason, type;                  /* type: Content-Type; the exchange's arena */
    struct slice members[PARENT_MEMBERS_MAX];   /* values of its Proxy-Status fields; likewise */
    unsigned n_members;
    char *body; /* mem_* */
    size_t n_body;
};
void parent_answer_free(struct parent_answer **a);

struct dial_result {
    /* OK */
    struct stream *upstream;  /* wakes the exchange's task */
    struct mux *mux;          /* the exchange's; NULL: the stream is on a shared one, which is the pool's */
    struct upstream_end end;  /* slices in the exchange's arena */
    struct addr to;           /* the checked address that a parent was asked for; AF_UNSPEC: none was */
    const struct hop *parent; /* gets the request whole; NULL: the stream leads to the origin */
    bool reused;              /* the connection was there already */
    uint64_t dns_us, connect_us;
    /* ERR; texts are in the exchange's arena or static, NULL: out of memory */
    enum end_reason reason;
    const char *detail;       /* names the parents */
    const char *shown;        /* does not; NULL: the reason's own text */
    const struct hop *failed; /* the parent that is to blame; NULL: none is */
    bool final;               /* another alternative is not to be tried: a parent has answered, or it is a limit of ours */
    uint8_t alert;            /* TLS's */
    struct parent_answer *answer; /* the caller's */
};

/* For the alternative at hand (xchg_alternative). fresh: a kept connection has failed: none that is idle in the pool, unless others share it. ERR_NOMEM. */
int dial_start(struct xchg *x, bool fresh, struct dial **ret_dial) MUST_USE;
/* AGAIN: wait until dial_until_ms. After OK or ERR *d is NULL. late: that time has come. */
enum io dial_take(struct dial **d, bool late, struct dial_result *ret_result) MUST_USE;
uint64_t dial_until_ms(const struct dial *d);
/* *d may be NULL. */
void dial_cancel(struct dial **d);
/* Something that it waits for is there. For the sweep. */
bool dial_done(const struct dial *d);
/* Where the connections of a route come from; NULL is direct. */
struct source_set dial_sources(const struct route *r);
/* Which end it is to a client that nothing could be connected. */
enum end_reason dial_reason(int error);

#endif
