/* SPDX-License-Identifier: MIT */
/* helper: a bounded pool of threads for work that blocks (system resolver, later PAC, scripts, minting, hashing). A job is copied
 * in and copied out: it owns all it touches. The reply lands on the asking loop in its own turn.
 * Owner: app. Thread: helper_submit from any worker. */
#ifndef IO_HELPER_H
#define IO_HELPER_H

#include "io/loop.h"

struct helper_pool;

/* Embedded in the caller's job. run() is called on a helper thread, done() on the asking loop's thread afterwards, always, even
 * when nobody waits any more: done() frees the job. */
struct helper_job {
    struct msg msg; /* carries it back */
    struct loop *loop;
    void (*run)(struct helper_job *job);
    void (*done)(struct helper_job *job);
    struct list link;
};

/* Threads start when there is work and at most n_threads run; at most queue_max jobs wait. */
struct helper_pool *helper_pool_new(unsigned n_threads, unsigned queue_max) MUST_USE;
/* Waits for running jobs; waiting ones are answered by done() without run() having been called. The answers go through the
 * loops' inboxes: the loops turn at least once more, or what is in there is left behind. Nobody submits any more. */
void helper_pool_free(struct helper_pool *p);
/* ERR_LIMIT: the queue is full, or no thread can be started. On success the job is the pool's until done(). */
int helper_submit(struct helper_pool *p, struct loop *loop, struct helper_job *job) MUST_USE;

#endif
