/* SPDX-License-Identifier: MIT */
/* session: an accepted client connection: GREET (what do the first bytes say? proxy/greet.h) → TLS (its handshake, then GREET again) → SERVE (its mux hands out streams,
 * each becomes an exchange) → LINGER (the last answer must not be lost to an RST). Each wait has a deadline.
 * Owner: its worker's list. Thread: the worker's. Freed by itself at the end of a turn. */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include "io/addr.h"
#include "io/conn.h"
#include "mux/mux.h"
#include "proxy/access.h"
#include "proxy/capacity.h"
#include "proxy/greet.h"
#include "proxy/snapshot.h"

struct kept;
struct worker;
struct xchg;

enum session_state { SESSION_GREET = 0, SESSION_TLS, SESSION_SERVE, SESSION_LINGER, SESSION_DEAD };
/* FRESH: how long one that has just connected has for its first byte when draining begins. */
enum { SESSION_FRESH_MS = 500 };
enum { SESSION_LINGER_QUIET_MS = 2000, SESSION_LINGER_MS = 30000 };

/* Who the connection itself says is at its other end, beside what a request says. PEER: a process of this user of the machine (Unix sockets). CERT: who
 * the client's certificate says. */
enum session_identity_kind { SESSION_UNASKED = 0, SESSION_NOBODY, SESSION_PEER, SESSION_CERT };
struct session_identity {
    enum session_identity_kind kind;
    uint32_t uid;      /* PEER */
    struct slice name; /* CERT: of the user; the session's (mem_*) */
};

struct session {
    unsigned magic;
    enum session_state state;
    struct worker *worker;
    struct list link; /* in the worker's sessions */
    struct task task;
    struct timer timer;
    struct conn *conn; /* GREET, TLS; afterwards the mux has it */
    struct mux *mux;
    struct list xchgs; /* the exchanges that run, oldest first (xchg.link): one at a time over HTTP/1 */
    unsigned n_xchgs;
    struct kept *kept; /* of its last request, for the next; NULL: nothing is */
    struct addr client;   /* as a PROXY header says, where one came */
    struct access_door *door; /* a balancer's header, what TLS has agreed on; NULL: neither (mem_*) */
    struct greet greet;
    unsigned listen_id; /* where it came in */
    enum listen_role role;
    struct capacity_place place; /* what it takes of `capacity` */
    unsigned admitted; /* in which generation's `clients` its address was; 0: not asked yet */
    enum capacity_verdict refused; /* the limit that it was over when it began; OK: none, or no longer */
    uint64_t deadline_ms;    /* of the state; 0: none runs */
    uint64_t linger_until_ms;
    uint64_t since_ms; /* loop time */
    struct session_identity identity; /* session_identity() */
    bool names_users; /* its listener had users when it began */
    bool was_idle; /* when draining began */
    bool served;   /* a request has ended */
    bool cut;      /* its exchange did not end by itself */
    bool suspected; /* the sweep's: found once */
    bool idle; /* SERVE: between requests, the keep-alive deadline runs */
    struct grave grave;
};

#define SESSION_MAGIC 0x5e5510a1u

struct session_opts {
    const struct addr *client;
    unsigned listen_id;
    enum listen_role role;
    struct capacity_place place;
    enum capacity_verdict refused;
};
/* Takes *conn (then NULL) and the place. ERR_NOMEM: both are still the caller's. */
int session_start(struct worker *w, struct conn **conn, const struct session_opts *opts) MUST_USE;
/* A request has come: whether `capacity` lets it begin now. A connection that was over a limit is asked about again. END_NONE: it does. */
enum end_reason session_admit(struct session *s);
/* What its listener says in this snapshot. Of a listener that is gone: POLICY_CLIENTS_GONE, and each answer is the session's last. */
const struct snapshot_listen *session_listen(struct session *s, const struct snapshot *snap);
struct session_identity session_identity(struct session *s);
/* The worker began to drain: idle ones end, others are told that each answer is the last. */
void session_drain(struct session *s);
/* An exchange of its has ended. */
void session_xchg_gone(struct session *s, struct xchg *x);
/* Ends now, with RST. */
void session_cut(struct session *s);

#endif
