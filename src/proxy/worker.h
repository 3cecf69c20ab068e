/* SPDX-License-Identifier: MIT */
/* worker: one thread of the proxy: its loop, its sessions, its pool of upstream connections. A session never changes thread; a
 * fresh connection may be handed to a clearly less busy worker.
 * Owner: app. Thread: its own, but for worker_post_* and the atomics. */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include "io/listener.h"
#include "io/loop.h"
#include "io/resolve.h"
#include "policy/policy.h"
#include "proto/h1_parse.h"
#include "proxy/access.h"
#include "proxy/conf.h"
#include "proxy/stats.h"
#include "proxy/upstream.h"

#include <pthread.h>
#include <stdbool.h>

enum { WORKER_MAX = 64, WORKER_LISTENERS_MAX = 64 };

enum worker_phase { WORKER_RUN = 0, WORKER_DRAIN, WORKER_STOPPED };

struct worker {
    unsigned magic;
    unsigned id;
    struct loop loop;
    const struct proxy_conf *conf;
    const struct policy *policy;
    struct h1_limits limits;
    struct resolver *resolver;
    struct upstream *upstream;
    struct access_log *access; /* NULL: off */
    struct access_shard *shard;
    struct stats stats;
    struct list sessions;
    _Atomic unsigned load; /* sessions now */
    struct listener *listeners[WORKER_LISTENERS_MAX];
    unsigned n_listeners;
    char busy_reply[320]; /* LOCAL_BUSY_MAX */
    enum worker_phase phase;
    uint64_t drain_until_ms; /* loop time; UINT64_MAX: no limit */
    struct worker **peers;   /* all workers, this one included */
    unsigned n_peers;
    pthread_t thread;
    struct task idle_task; /* looks whether draining is over */
    struct timer drain_timer;
    _Atomic bool leaving;  /* no fresh connections for this one */
    _Atomic bool stopped;  /* the thread has left its loop */
    struct msg drain_msg;  /* worker_post_drain's */
    _Atomic bool drain_posted;
    _Atomic uint64_t drain_grace_ms;
};

#define WORKER_MAGIC 0x30e4e401u

struct worker_opts {
    unsigned id;
    const struct world_ops *world;
    const struct proxy_conf *conf;
    const struct policy *policy;
    const struct resolve_conf *resolve;
    struct board *board;
    struct helper_pool *helpers;
    struct access_log *access; /* NULL: off */
};

int worker_init(struct worker *w, const struct worker_opts *opts) MUST_USE;
/* All sessions must have ended (worker_cut), and the helpers; its thread has left the loop. */
void worker_done(struct worker *w);

int worker_listen(struct worker *w, int fd) MUST_USE;
/* A connection for this worker, on its thread. Takes the conn. */
void worker_take(struct worker *w, struct conn *conn, const struct addr *peer);

/* On its thread: stop accepting, end idle sessions, let the rest finish until `grace_ms` from now (UINT64_MAX: no limit; 0: everything
 * ends now). Asked again with less it hurries. The loop stops when nothing is left. */
void worker_drain(struct worker *w, uint64_t grace_ms);
/* A session ended. */
void worker_session_gone(struct worker *w);
/* Ends what is left at once. */
void worker_cut(struct worker *w);

/* From any thread: the same as worker_drain. */
void worker_post_drain(struct worker *w, uint64_t grace_ms);

#endif
