/* SPDX-License-Identifier: MIT */
/* xchg: an exchange: one request's life, a table of named steps (tbl/steps.h). It holds a client stream, at most one upstream stream,
 * an arena and a step. One task; bits: RX and TX from its streams and its relay's budget, HELPER from resolver and dial, TIMER
 * from its deadline. The runner clears them; steps look at the state of things, not at bits.
 * Owner: its session. Thread: the worker's. Freed by itself at the end of the turn after step log. */
#ifndef PROXY_XCHG_H
#define PROXY_XCHG_H

#include "base/arena.h"
#include "io/connect.h"
#include "io/resolve.h"
#include "mux/mux.h"
#include "policy/route.h"
#include "policy/verdict.h"
#include "proxy/access.h"
#include "proxy/access_fold.h"
#include "proxy/limits_ask.h"
#include "proxy/pace.h"
#include "proxy/relay.h"
#include "proxy/upstream.h"
#include "proxy/users_verify.h"

struct dial;
struct parent_answer;
struct kept;
struct peek;
struct session;
struct stall_seen;
struct snapshot;
struct snapshot_listen;
struct worker;
struct xchg;

enum xstep {
#define STEP_X(ID, name, edges) STEP_##ID,
#include "tbl/steps.h"
    STEP_COUNT,
    STEP_WAIT, /* a waker is live and a deadline set */
    STEP_END,  /* the exchange is over and buried */
};

enum { XCHG_TRAIL = 12 };

/* What only the way to the relay needs; a tunnel sheds it with the arena. */
struct xreq {
    struct access_record rec;
    struct head *head;  /* the request, as received until step send makes it what is sent */
    struct head *reply; /* the response being passed on */
    struct verdict verdict;
    struct resolve_req resolve;
    struct resolve_answer answer;
    struct addr addrs[CONNECT_MAX_ADDRS]; /* those of the answer that policy lets be dialled */
    unsigned n_addrs;
    uint16_t port;
    const struct route *route; /* the snapshot's; NULL: no entry of `upstream` matched */
    uint8_t order[ROUTE_ALTERNATIVES_MAX]; /* of its alternatives: those that failed lately come last */
    uint8_t n_order, at_order; /* n_order 0: direct */
    bool routed;               /* the entry has been looked for */
    bool by_name;              /* the target's name goes to a parent, and is judged without an address */
    bool unresolved;           /* the name has no address here: what would need one does not hold */
    bool doubted;              /* some of the alternatives failed lately */
    struct upstream_end end;   /* of the present upstream connection */
    const struct hop *parent;  /* who gets the request whole, as a proxy does; NULL: the origin, or a tunnel to it */
    struct connect *connect;
    struct dial *dial;         /* the way through parents, or over TLS */
    struct parent_answer *answered; /* a parent's refusal */
    uint8_t alert;             /* TLS's, for END_TLS_ALERT */
    struct replay replay;
    struct pace pace; /* of the upload */
    struct limits_asked limits;
    struct kept *kept; /* the session's: it goes by it, or it is made of this request; NULL: neither */
    uint32_t who;      /* KEPT_*, or which user of the session's this is (kept.h) */
    uint64_t phase_us; /* when the present wait of dns or connect began */
    unsigned interim, interim_bytes; /* 1xx heads passed on */
    struct verdict dropped;          /* why an address was not let through; ALLOW when all were */
    struct addr refused;             /* that address, or a literal target; AF_UNSPEC: none */
    struct users_wait auth;          /* who asks, while that is being found out */
    uint64_t auth_until_ms;          /* 0: step auth has not begun */
    struct slice auth_labels;        /* that came with the name: "red+prio=high" */
    uint32_t retry_s;                /* what Retry-After of a 429 or 503 says; 0: 1 */
    uint8_t pending; /* MATCH_PENDING_*: facts that policy has not got yet */
    bool compared;   /* with what is kept: once, for limits that have been asked do not answer again */
    bool peeked;     /* the tunnel's first bytes are known, and the 200 has been sent */
    bool anew;       /* a fact has come: policy judges from the beginning */
    bool resolved;
    bool prepared;   /* step send has rewritten the head */
    bool fresh_only; /* a kept connection failed: dial */
    bool again;      /* the peer had not processed it, and it was sent again */
    bool uploaded;   /* the request is complete: the response deadline runs from there */
    bool local;      /* the reply is made here */
};

struct xchg {
    unsigned magic;
    enum xstep step;
    struct list link; /* in its session */
    struct task task;
    struct timer timer;
    uint64_t deadline_ms;
    enum end_reason deadline_reason;
    bool expired; /* the deadline has passed */
    bool tunnel;  /* CONNECT or an accepted upgrade: the relay moves bytes both ways until both end */
    bool silent;  /* nothing worth a record happened */
    struct snapshot *snap; /* borrowed until the relay starts; NULL after */
    const struct snapshot_listen *listen; /* where the request came in, as the snapshot has it; NULL after */
    struct session *session;
    struct worker *worker;
    struct stream *client, *upstream;
    struct mux *mux; /* of the upstream stream, ours until it goes back to the pool; NULL for a bare conn or a local reply */
    struct relay relay;
    struct xchg_times {
        uint32_t idle_ms, half_close_ms; /* idle: of a message or of a tunnel */
        uint32_t log_every_ms;           /* 0: no records while it lives */
        uint64_t body_rate;              /* of a message; 0: none is asked for */
    } times; /* what the relay needs of the snapshot */
    uint64_t log_at_ms; /* when the next such record is due */
    struct arena *arena; /* NULL once shed */
    struct xreq *req; /* NULL once shed */
    struct access_record *rec; /* req's; of a tunnel NULL, see xchg_record_of */
    struct access_folded *folded; /* of a tunnel: the record */
    struct peek *peek; /* step peek's, while it has something to look for */
    struct addr *to;  /* beside a parent: the target's address that was judged; NULL: it was judged by name (mem_*) */
    char *body;       /* of a local reply that is too large for the arena; mem_* */
    enum end_reason end; /* NONE: it goes on */
    uint8_t trail[XCHG_TRAIL]; /* the last steps, newest last */
    struct grave grave;
};

#define XCHG_MAGIC 0xec4a09e1u

enum { XCHG_ARENA_PAGES = 64, XCHG_ROUNDS = 64, XCHG_INTERIM_MAX = 16, XCHG_INTERIM_BYTES = 65536 };

/* The oldest of a list of them; NULL: it is empty. */
static inline struct xchg *xchg_first(const struct list *xchgs)
{
    return list_empty(xchgs) ? NULL : LIST_ENTRY(xchgs->next, struct xchg, link);
}

/* A request begins on this stream. NULL: memory refused. */
struct xchg *xchg_new(struct session *s, struct stream *client) MUST_USE;
/* Ends it now, both sides reset (drain's end, worker going down, a reload). detail: as in xchg_fail, or it lives until this returns. */
void xchg_cut(struct xchg *x, enum end_reason reason, const char *detail);
const char *xchg_step_name(enum xstep s);
/* For stall_opts: what exchange a task belongs to, and its step. Runs in a signal handler. */
void xchg_describe(const struct task *t, struct stall_seen *seen);
/* Where the steps of a trail begin: before there were so many transitions it has zeros, which are step head. */
unsigned xchg_trail_first(const uint8_t trail[XCHG_TRAIL]);
/* Its steps by name, blanks between; NUL-terminated. */
enum { XCHG_TRAIL_TEXT = 160 };
void xchg_trail_text(const uint8_t trail[XCHG_TRAIL], char out[XCHG_TRAIL_TEXT]);

/* ---- for the steps ---- */

enum xstep step_head(struct xchg *x);
enum xstep step_auth(struct xchg *x);
enum xstep step_policy(struct xchg *x);
enum xstep step_peek(struct xchg *x);
enum xstep step_resolve(struct xchg *x);
enum xstep step_route(struct xchg *x);
enum xstep step_dial(struct xchg *x);
enum xstep step_send(struct xchg *x);
enum xstep step_reply(struct xchg *x);
enum xstep step_relay(struct xchg *x);
enum xstep step_log(struct xchg *x);

/* Wait until something wakes the task, or until `at_ms`: then x->expired is set and the step runs again. */
enum xstep xchg_wait_until(struct xchg *x, uint64_t at_ms, enum end_reason reason);

/* The exchange cannot go on. If the client can still be answered: REPLY, with a local stream that says why; else both sides are
 * reset: LOG. detail is static or in the arena. */
enum xstep xchg_fail(struct xchg *x, enum end_reason reason, const char *detail);
/* What policy is asked about, as far as it is known. They lend from r, the exchange's record. */
struct match_facts xchg_facts(const struct xchg *x, const struct access_record *r);
/* The address for those facts, where something is or was dialled: not a parent's. It may lie in r, the exchange's record. NULL: none. */
const struct addr *xchg_target(const struct xchg *x, const struct access_record *r);
/* The resolver's failure is the end. */
enum xstep step_resolve_fail(struct xchg *x);
/* A direct alternative: the name is resolved after all, and its addresses are judged. */
enum xstep step_route_resolve(struct xchg *x);
/* The alternative of its route that is tried now; NULL: direct. */
const struct alternative *xchg_alternative(const struct xchg *x);
/* It cannot be taken: the next one. False: there is none. */
bool xchg_next_alternative(struct xchg *x);
/* Leaves by what policy decided. */
enum xstep step_policy_refuse(struct xchg *x, const struct verdict *v);
/* The 200 to a CONNECT; the client's side is a tunnel from then on. False: it broke. */
bool step_reply_accept(struct xchg *x);
/* A tunnel is about to begin: whether its first bytes are to be looked at (x->peek then). ERR_NOMEM. */
int step_peek_prepare(struct xchg *x) MUST_USE;
/* The record's strings have moved: what it lends of them. */
void step_peek_renew(struct xchg *x);
/* Bytes of the origin's are waited for; for the sweep. */
bool step_peek_wants_origin(const struct xchg *x);
/* Waits as a tunnel that is quiet does; and the records while it lives. */
enum xstep step_relay_wait(struct xchg *x);
void step_relay_tell(struct xchg *x);
/* The same, never answered. */
enum xstep xchg_abort(struct xchg *x, enum end_reason reason, const char *detail);
/* Keeps a refusal, or what would have been one, for whoever asks what was denied. Once an exchange: a tunnel when it begins, the others at their end. */
void xchg_note_denial(struct xchg *x);
/* What is known of it, to be read: its record, or a tunnel's unfolded into *room. The client's address and the door are in it, the end is not. */
const struct access_record *xchg_record_of(const struct xchg *x, struct access_record *room);
/* The same, to be written to, of an exchange that ends in this very call: a tunnel's lies in the worker's room then. */
struct access_record *xchg_last_record(struct xchg *x);
/* A tunnel's record is this from now on; r's strings may be those of the present one. ERR_NOMEM: it stays. */
int xchg_fold_record(struct xchg *x, const struct access_record *r) MUST_USE;
uint64_t xchg_id(const struct xchg *x);
/* One record now: BEGIN or STILL of a tunnel, or the END. */
void xchg_record(struct xchg *x, enum access_event event);
/* Entering the relay: copies what it needs of the snapshot and gives that back. ERR_NOMEM. */
int xchg_leave_snapshot(struct xchg *x) MUST_USE;
/* The end of what it holds besides arena and streams. For step log. */
void xchg_end(struct xchg *x);

/* Leave by REPLY with this answer. */
enum xstep xchg_reply_local(struct xchg *x, struct head *head, struct slice body);

/* Moves the upload on, beside whatever the step waits for. That the origin stops reading (TO_BROKE) is no end: it may have answered.
 * FROM_BROKE: the client's fault says why. ENDED: there is (no longer) one. */
enum pump_result xchg_upload(struct xchg *x);
/* An upload is under way, and it is the client that is waited for. */
bool xchg_awaits_client(const struct xchg *x);
/* After xchg_upload: the content comes slower than `rate` bytes a second (pace). */
bool xchg_too_slow(struct xchg *x, enum pump_result up, uint64_t rate);
/* As xchg_wait_until, or until the pace of the upload has to be looked at again, if that is earlier. */
enum xstep xchg_wait_upload(struct xchg *x, uint64_t at_ms, enum end_reason reason, uint64_t rate);
#define XCHG_TOO_SLOW "the content of the request comes too slowly"
/* Go on in the bulk queue: a budget is used up. */
enum xstep xchg_yield(struct xchg *x);

/* Via, with the version the message was received in (C27). ERR_NOMEM. */
int xchg_add_via(struct xchg *x, struct head *h) MUST_USE;

/* Lets go of the upstream side: the stream, and the mux to the pool or closed. */
void xchg_drop_upstream(struct xchg *x);
/* Entering a tunnel: frees parser, heads, dial and arena; keeps what the record needs. */
int xchg_shed(struct xchg *x) MUST_USE;

#endif
