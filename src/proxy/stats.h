/* SPDX-License-Identifier: MIT */
/* stats: a worker's counters, one shard a worker: only its thread writes, others may read. */
#ifndef PROXY_STATS_H
#define PROXY_STATS_H

#include "base/end.h"

#include <stdatomic.h>
#include <stdint.h>

enum counter {
#define COUNTER_X(id, name, text) COUNTER_##id,
#include "tbl/counters.h"
    COUNTER_COUNT
};

/* What is measured. REQUEST: from its first byte to the end of its answer, FIRST_BYTE: to the first byte of an origin's answer; not of tunnels.
 * RELAY_DELAY: how long a small message of a tunnel lay here: from when it can have become readable until it was written. */
enum stats_time { STATS_REQUEST = 0, STATS_FIRST_BYTE, STATS_RELAY_DELAY, STATS_TIMES };
enum { STATS_BOUNDS = 13 };

/* n[i]: how many took at most stats_bounds_us[which][i] and more than the bound before; the last has no bound. */
struct stats_histogram {
    _Atomic uint64_t n[STATS_BOUNDS + 1];
    _Atomic uint64_t sum_us;
};
extern const uint32_t stats_bounds_us[STATS_TIMES][STATS_BOUNDS]; /* rising */

struct stats {
    _Atomic uint64_t v[COUNTER_COUNT];
    _Atomic uint64_t ends[END_COUNT]; /* exchanges by end reason */
    struct stats_histogram times[STATS_TIMES];
};

/* On the worker's thread. */
void stats_time(struct stats *s, enum stats_time which, uint64_t us);

static inline void stats_add(struct stats *s, enum counter c, uint64_t n)
{
    /* One writer: a plain load and store, no locked instruction. */
    atomic_store_explicit(&s->v[c], atomic_load_explicit(&s->v[c], memory_order_relaxed) + n, memory_order_relaxed);
}

static inline void stats_end(struct stats *s, enum end_reason r)
{
    atomic_store_explicit(&s->ends[r], atomic_load_explicit(&s->ends[r], memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static inline uint64_t stats_get(const struct stats *s, enum counter c)
{
    return atomic_load_explicit(&s->v[c], memory_order_relaxed);
}

#endif
