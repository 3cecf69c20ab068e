/* SPDX-License-Identifier: MIT */
/* stats: what is more than one addition: the histograms of times. Called by step log, once or twice an exchange, and by step relay, on their
 * worker's thread; read by the metrics from another one.
 */
#include "proxy/stats.h"

#define SECONDS_US {5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000}

const uint32_t stats_bounds_us[STATS_TIMES][STATS_BOUNDS] = {
    [STATS_REQUEST] = SECONDS_US,
    [STATS_FIRST_BYTE] = SECONDS_US,
    [STATS_RELAY_DELAY] = {25, 50, 75, 100, 150, 200, 250, 300, 500, 1000, 5000, 25000, 250000},
};

static void add(_Atomic uint64_t *v, uint64_t n)
{
    /* One writer: no locked instruction. */
    atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + n, memory_order_relaxed);
}

void stats_time(struct stats *s, enum stats_time which, uint64_t us)
{
    struct stats_histogram *h = &s->times[which];
    const uint32_t *bounds = stats_bounds_us[which];
    unsigned i = 0;

    /* No branch to guess: the bounds below it are counted. */
    for (unsigned b = 0; b < STATS_BOUNDS; b++)
        i += us > bounds[b];
    add(&h->n[i], 1);
    add(&h->sum_us, us);
}
