/* SPDX-License-Identifier: MIT */
/* recheck: after a reload with `policy: {recheck: yes}` every tunnel is judged again by the new rules: who came in, the rules with what its record knows (the name in
 * the ClientHello too), the address that was dialled, `private`. One that would be refused ends, by a reset of both sides. RECHECK_BATCH sessions a run, in the bulk queue;
 * nothing at all when nothing was reloaded. What is no longer known (the fields of an upgraded request) does not hold; whether the user still exists is not asked.
 * Owner: a worker, embedded. Thread: the worker's. */
#ifndef PROXY_RECHECK_H
#define PROXY_RECHECK_H

#include "io/loop.h"
#include "policy/verdict.h"
#include "proxy/xchg.h"

struct session;

enum { RECHECK_BATCH = 256 };

struct recheck {
    struct session *next; /* NULL: no walk is under way */
    uint64_t until_ms;    /* sessions that began later know the new rules */
    struct task task;
};

void recheck_init(struct recheck *r, struct loop *loop);
void recheck_done(struct recheck *r);
/* The worker has a new snapshot that asks for it. */
void recheck_start(struct recheck *r);
/* A session ends. It is still in its worker's list. */
void recheck_forget(struct recheck *r, struct session *s);

/* An exchange that becomes a tunnel was judged by rules that have changed since. */
bool recheck_due(const struct xchg *x);
/* By the worker's present rules. True as well while the name in the ClientHello is still to come: step peek asks again. */
bool recheck_passes(struct xchg *x, struct verdict *ret_verdict);
/* Both sides are reset: LOG. */
enum xstep recheck_refuse(struct xchg *x, const struct verdict *v);

#endif
