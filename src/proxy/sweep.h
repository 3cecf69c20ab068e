/* SPDX-License-Identifier: MIT */
/* sweep: looks for wake-ups that were lost. A worker that turns anyway looks, at most every LOOP_SWEEP_MS, at SWEEP_BATCH of its sessions (a cursor goes
 * round): nobody may wait for bytes that are there, for room that is there, or for an answer that has come, unless its task is queued. What it waits for says its
 * step and its pumps: a pump whose sink is full does not wait for bytes. What is there says the kernel (poll), or, of a conn without a descriptor, its flags.
 * An event may be on its way: only what is found a second time, with no byte moved in between, counts. It is logged, counted, and woken.
 * Owner: a worker, embedded. Thread: the worker's. */
#ifndef PROXY_SWEEP_H
#define PROXY_SWEEP_H

#include "io/loop.h"

struct session;

enum { SWEEP_BATCH = 256 };

/* What was missed. */
enum sweep_kind {
    SWEEP_NOTHING = 0,
    SWEEP_CLIENT_RX, /* bytes or an end, of the client's connection */
    SWEEP_CLIENT_TX, /* room */
    SWEEP_CLIENT_GONE, /* its reset */
    SWEEP_UPSTREAM_RX,
    SWEEP_UPSTREAM_TX,
    SWEEP_UPSTREAM_GONE,
    SWEEP_ANSWER, /* the resolver's or the dial's */
};

struct sweep {
    struct session *next; /* where the next look begins; NULL: at the oldest */
    /* Found once: looked at again the next time. */
    struct suspect {
        struct session *session; /* NULL: it has ended since */
        uint64_t xchg, bytes;    /* id of its exchange or 0; moved on that connection by then */
        enum sweep_kind kind;
    } suspects[SWEEP_BATCH];
    unsigned n;
    uint64_t found;     /* first findings, ever; most are events on their way */
    struct task task;   /* a turn for the second look */
    struct timer timer;
};

/* The loop of this worker is swept from now on. */
void sweep_start(struct sweep *sw, struct loop *loop);
void sweep_stop(struct sweep *sw);
/* A session ends: the sweep forgets it. It is still in its worker's list. */
void sweep_forget(struct sweep *sw, struct session *s);

#endif
