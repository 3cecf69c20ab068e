/* SPDX-License-Identifier: MIT */
/* dial_inside: what the rooms of dial (dial*.c) share. Private to them: nobody else includes it. */
#ifndef PROXY_DIAL_INSIDE_H
#define PROXY_DIAL_INSIDE_H

#include "base/arena.h"
#include "io/addr.h"
#include "io/connect.h"
#include "io/resolve.h"
#include "policy/route.h"
#include "proxy/dial.h"
#include "proxy/upstream.h"

struct conn;
struct tls_ctx;
struct worker;

/* SEEK in the pool · QUEUE another dials such a peer · RESOLVE the first parent's name · RACE · TLS · ASK: the answer to a CONNECT · REFUSAL: the rest of a "no" */
enum dial_state { DIAL_SEEK = 0, DIAL_QUEUE, DIAL_RESOLVE, DIAL_RACE, DIAL_TLS, DIAL_ASK, DIAL_REFUSAL };
/* GO on in the state it is in now */
enum dial_next { DIAL_GO, DIAL_WAIT, DIAL_OVER, DIAL_FAILED };

enum {
    DIAL_PEERS = ROUTE_HOPS_MAX + 1,
    DIAL_QUEUES = 16,      /* how often it waits for others before it dials by itself */
    DIAL_INTERIM_MAX = 16, /* 1xx before the answer to a CONNECT */
    DIAL_REFUSAL_MS = 5000,
    DIAL_ARENA_PAGES = 64,
};

#define DIAL_MAGIC 0xd1a10001u

struct dial {
    unsigned magic;
    struct xchg *x;
    struct worker *worker;
    struct arena arena; /* heads of CONNECTs and of their answers */
    const struct hop *peers[DIAL_PEERS];
    struct tls_ctx *tls[DIAL_PEERS]; /* borrowed of the exchange's snapshot; NULL: in clear */
    struct slice ids[DIAL_PEERS];    /* of the pool's keys */
    struct upstream_turn turns[DIAL_PEERS];
    struct hop origin; /* the last peer of an https:// request */
    unsigned n_peers, at;
    bool tunnel;       /* what is asked of the last peer is a CONNECT to the target */
    bool to_origin;    /* the last peer is the origin, over TLS or in a tunnel to its address */
    bool fresh;        /* nothing that was idle in the pool; it may be shared with others, who are served */
    bool kept;         /* the connection at hand was in the pool */
    enum dial_state state;
    uint64_t until_ms, began_us, resolved_us;
    struct resolve_req resolve;
    struct resolve_answer answer;
    struct addr addrs[CONNECT_MAX_ADDRS];
    unsigned n_addrs, queued, waits_for, interim;
    unsigned at_addr;    /* of the request's: which one a parent is asked for, where it is told the address */
    uint64_t asked_ms;   /* when it was asked for the first one; 0: not yet */
    uint32_t impatient; /* bits of peers that are not waited for any more */
    struct connect *race;
    struct conn *conn;     /* of the peer at hand, no mux yet */
    struct mux *mux;       /* its mux, unless that is shared */
    struct stream *stream; /* … and what is open on it */
    struct dial_result result;
};

static inline const struct hop *dial_peer(const struct dial *d)
{
    return d->peers[d->at];
}

static inline bool dial_is_origin(const struct dial *d, unsigned i)
{
    return d->to_origin && i == d->n_peers - 1;
}

/* ---- dial.c ---- */

/* The detail is for the log and whoever may know the parents. */
enum dial_next dial_fail(struct dial *d, enum end_reason reason, const char *fmt, ...) PRINTF(3, 4);
/* The peer at hand, or on the way to it the one before, is to blame. */
enum dial_next dial_fail_peer(struct dial *d, enum end_reason reason, const char *what);
enum dial_next dial_no_memory(struct dial *d);
/* WAIT, at most so long from now. */
enum dial_next dial_wait(struct dial *d, uint64_t in_ms);
/* What is offered to peer i (TLS_ALPN_*). */
unsigned dial_alpn(const struct dial *d, unsigned i);
/* The address of the target goes into the CONNECT that a parent is asked with. */
bool dial_sends_address(const struct dial *d);

/* ---- dial_pool.c ---- */

/* SEEK, QUEUE */
enum dial_next dial_pool_seek(struct dial *d);
enum dial_next dial_pool_queue(struct dial *d, bool late);
/* A stream on d->mux, which is new: it is taken where it is shared, and who waits for it is told. */
enum dial_next dial_pool_open(struct dial *d);
/* Ends all turns. */
void dial_pool_tell(struct dial *d, enum upstream_news news);

/* ---- dial_first.c ---- */

/* To RESOLVE, RACE */
enum dial_next dial_first_begin(struct dial *d);
enum dial_next dial_first_await_name(struct dial *d, bool late);
enum dial_next dial_first_await_race(struct dial *d, bool late);

/* ---- dial_hop.c ---- */

/* d->conn leads to the peer at hand. */
enum dial_next dial_hop_secure(struct dial *d);
/* d->stream does: it is what was wanted, or the next one is asked for through it. */
enum dial_next dial_hop_through(struct dial *d);
enum dial_next dial_hop_await_tls(struct dial *d, bool late);
enum dial_next dial_hop_await_answer(struct dial *d, bool late);

/* ---- dial_refusal.c ---- */

/* The parent has agreed to nothing, for it could not connect (RFC 9209 2.3, or 502, 503, 504). */
bool dial_refusal_is_unreached(const struct head *h);
enum dial_next dial_refusal_begin(struct dial *d, const struct head *h);
enum dial_next dial_refusal_read(struct dial *d, bool late);

#endif
