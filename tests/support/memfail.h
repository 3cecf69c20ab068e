/* SPDX-License-Identifier: MIT */
/* memfail: makes each allocation of an operation fail in turn.
 *
 *     for (memfail_start(); memfail_next();) {
 *         int r = operation();
 *
 *         assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
 *         undo(r);
 *     }
 *
 * Round n refuses the n-th allocation; the round in which nothing was refused is the last. Include
 * it once a program. */
#ifndef SUPPORT_MEMFAIL_H
#define SUPPORT_MEMFAIL_H

#include "base/check.h"
#include "base/mem.h"

#include <stdatomic.h>

enum { MEMFAIL_ROUNDS = 100000 };

static _Atomic unsigned memfail_asked;
static unsigned memfail_at; /* the allocation that this round refuses, from 1 */

static inline bool memfail_gate(void)
{
    return atomic_fetch_add(&memfail_asked, 1) + 1 != memfail_at;
}

/* True when this round has refused its allocation. */
static inline bool memfail_hit(void)
{
    return atomic_load(&memfail_asked) >= memfail_at;
}

static inline void memfail_start(void)
{
    memfail_at = 0;
    atomic_store(&memfail_asked, 0);
}

/* Begins the next round; false, and the gate gone, when the round before has refused nothing. */
static inline bool memfail_next(void)
{
    if (memfail_at > 0 && !memfail_hit()) {
        mem_set_gate(NULL);
        return false;
    }
    /* An operation that never ends without a refusal would otherwise be tried for ever. */
    CHECK(memfail_at < MEMFAIL_ROUNDS);
    memfail_at++;
    atomic_store(&memfail_asked, 0);
    mem_set_gate(memfail_gate);
    return true;
}

#endif
