/* SPDX-License-Identifier: MIT */
/* worker: one thread of the proxy: its loop, its sessions, its pool of upstream connections. A session never changes thread; a
 * fresh connection may be handed to a clearly less busy worker.
 * Owner: app. Thread: its own, but for worker_post_* and the atomics. */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include "base/date.h"
#include "base/list.h"
#include "io/listener.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "io/stall.h"
#include "mux/mux_h2.h"
#include "proto/h1_parse.h"
#include "proxy/access.h"
#include "proxy/capacity.h"
#include "proxy/denials.h"
#include "proxy/greet.h"
#include "proxy/kept.h"
#include "proxy/recheck.h"
#include "proxy/charge.h"
#include "proxy/site.h"
#include "proxy/snapshot.h"
#include "proxy/stats.h"
#include "proxy/sweep.h"
#include "proxy/upstream.h"
#include "proxy/users_memo.h"
#include "proxy/users_verify.h"

#include <pthread.h>
#include <stdbool.h>

/* REFUSING: sessions that wait for the request that they will refuse; what comes beside them is turned away when it is accepted. */
enum { WORKER_REFUSING_MAX = 64 };
/* WORKER_HOUSE: the id of the main thread's, which carries no traffic. */
enum { WORKER_MAX = 64, WORKER_HOUSE = WORKER_MAX, WORKER_LISTENERS_MAX = 128, WORKER_BEFORE_MAX = 4, WORKER_BEFORE_LOOKS = 4096 };
_Static_assert((int)WORKER_HOUSE < (int)SNAPSHOT_WORKERS_MAX, "the house borrows snapshots too");

enum worker_phase { WORKER_RUN = 0, WORKER_DRAIN, WORKER_STOPPED };

/* A descriptor that this worker accepts from. */
struct worker_listener {
    struct worker *worker;
    unsigned id; /* of the listener (snapshot_listen); 0: the place is free */
    enum listen_role role;
    int fd;
    struct listener *listener; /* NULL: it could not be watched, and is tried again */
};

/* What a reload changes in every worker at once. Owner: the house, which waits for done() before it begins another one. */
struct worker_change {
    struct snapshot *snap;
    struct worker_change_listen {
        int fd;
        unsigned id;
        enum listen_role role;
    } *add;
    const unsigned *remove; /* ids */
    unsigned n_add, n_remove;
    _Atomic unsigned left; /* workers that have not applied it; at 0 it is the house's again */
    void (*done)(struct worker_change *c); /* on the thread of the last one */
};

struct worker {
    unsigned magic;
    unsigned id;
    struct loop loop;
    struct snapshot *snap; /* the current one */
    _Atomic unsigned generation; /* its */
    struct h1_limits limits;
    struct h2_conf h2;           /* of both sides */
    struct h2_credit h2_credit;  /* of its */
    struct greet_desk greet;     /* places of handshakes */
    struct board *board;         /* borrowed, for resolvers */
    struct helper_pool *helpers; /* likewise */
    struct users_memo memo;      /* who was who a moment ago */
    struct users_desk users;     /* who asks who is who */
    struct resolver *resolver;
    struct resolver *old_resolver; /* of an earlier snapshot: its last lookups end within their deadline */
    struct upstream *upstream;
    struct source_memory ports; /* what was used up lately */
    struct access_shard *shard; /* NULL: no records */
    site_fn site;
    void *site_owner;
    uint64_t next_id; /* of exchanges */
    struct access_record ending; /* a tunnel's record, while it ends (xchg_last_record) */
    uint64_t date_s;  /* worker_date's */
    char date[DATE_HTTP_LEN + 1];
    uint64_t minute_at; /* worker_minute's: which minute since 1970 it is about */
    uint16_t minute;
    struct stats stats;
    struct sweep sweep;
    struct recheck recheck;
    struct stall stall; /* started by its thread, if it has one */
    struct list sessions; /* oldest first */
    _Atomic unsigned load;     /* sessions now */
    _Atomic unsigned incoming; /* connections handed to it that it has not taken yet */
    struct worker_listener listeners[WORKER_LISTENERS_MAX];
    struct capacity *capacity; /* borrowed; NULL: nothing is counted here */
    struct denials *denials;   /* borrowed; NULL: refusals are not kept */
    struct charger charger;    /* of `limits` */
    struct kept_list kept;     /* of its sessions */
    unsigned n_refusing;       /* sessions over a limit of it, which only say so */
    bool memory_full;          /* `capacity.memory` is reached, as of memory_looked_ms */
    uint64_t memory_looked_ms, memory_over_ms; /* over: since when; 0: it is not */
    uint64_t relief_at_ms;     /* when the other workers may be asked again to give up what they do not use */
    struct msg relief_msg;     /* asks this one */
    _Atomic bool relief_posted;
    char busy_text[384]; /* LOCAL_BUSY_MAX */
    struct slice busy_reply;
    enum worker_phase phase;
    uint64_t drain_until_ms; /* loop time; UINT64_MAX: no limit */
    struct worker **peers;   /* all workers, this one included */
    unsigned n_peers;
    pthread_t thread;
    struct task idle_task; /* looks whether draining is over */
    struct timer drain_timer;
    bool looked;             /* draining: the inbox was read after the peers went deaf */
    bool was_cut;            /* draining: past the deadline */
    _Atomic bool leaving;  /* no fresh connections for this one */
    _Atomic bool deaf;     /* draining: it accepts no more */
    _Atomic bool stopped;  /* the thread has left its loop */
    struct msg drain_msg;  /* worker_post_drain's */
    _Atomic bool drain_posted;
    _Atomic uint64_t drain_grace_ms;
    struct msg change_msg; /* worker_post_change's */
    struct worker_change *change;
    struct worker_before {
        struct snapshot *snap; /* NULL: none */
        uint64_t least_ms, until_ms; /* how long it is kept: at least, and in any case */
    } before[WORKER_BEFORE_MAX]; /* newest first: had listeners that are gone, and who was let in there greets by them */
    struct task chores; /* lets go of the old resolver, and of those */
    struct timer chores_timer;
};

#define WORKER_MAGIC 0x30e4e401u

struct worker_opts {
    unsigned id;
    const struct world_ops *world;
    struct snapshot *snap;
    struct board *board; /* NULL: a worker that resolves nothing (the house) */
    struct helper_pool *helpers;
    struct helper_pool *verifiers; /* for passwords: they take long, and nobody else should wait for them; NULL: nobody is verified */
    struct capacity *capacity; /* NULL: its clients are not counted */
    struct denials *denials;   /* NULL: refusals are not kept */
    struct charge_table *charges; /* NULL: nothing is limited */
    struct access_log *access; /* NULL: no records are made, whatever the snapshot says */
    site_fn site; /* answers on listeners that do not proxy; NULL: there are none */
    void *site_owner;
};

int worker_init(struct worker *w, const struct worker_opts *opts) MUST_USE;
/* All sessions must have ended (worker_cut), and the helpers; its thread has left the loop. */
void worker_done(struct worker *w);

/* On its thread, or before it has one. ERR_LIMIT, ERR_NOMEM, -errno. */
int worker_listen(struct worker *w, int fd, unsigned id, enum listen_role role) MUST_USE;
/* The same, tried until it succeeds: for listeners that come with a reload. */
void worker_listen_later(struct worker *w, int fd, unsigned id, enum listen_role role);
/* Serves what waits in the listener's queue, then accepts no more from it. */
void worker_unlisten(struct worker *w, unsigned id);
/* What a listener says to who is let in there: of one that a reload has just removed, what the snapshot before said, for as long as a greeting may last. ret_snap: whose it is, may be
 * NULL. NULL: nobody knows it any more. */
const struct snapshot_listen *worker_listen_of(const struct worker *w, unsigned id, const struct snapshot **ret_snap);
/* From now on exchanges borrow this one. */
void worker_use(struct worker *w, struct snapshot *snap);
/* A connection for this worker, on its thread. Takes the conn. */
void worker_take(struct worker *w, struct conn *conn, const struct addr *peer, unsigned listen_id, enum listen_role role);

/* On its thread: stop accepting, end idle sessions, let the rest finish until `grace_ms` from now (UINT64_MAX: no limit; 0: everything
 * ends now). Asked again with less it hurries. The loop stops when nothing is left. */
void worker_drain(struct worker *w, uint64_t grace_ms);
/* A session ended. */
void worker_session_gone(struct worker *w);
/* Now, as a Date field says it; made once a second. Valid until the next call. */
struct slice worker_date(struct worker *w);
/* The minute of the week, local time (struct match_facts). */
uint16_t worker_minute(struct worker *w);
/* Ends what is left at once. */
void worker_cut(struct worker *w);

/* From any thread: the same as worker_drain. */
void worker_post_drain(struct worker *w, uint64_t grace_ms);
/* From the house: apply the change; c->left counts down, the last one calls c->done. One change at a time. */
void worker_post_change(struct worker *w, struct worker_change *c);

#endif
