/* SPDX-License-Identifier: MIT */
/* report: what a worker is doing, written down by itself on its own thread for whoever asks (status, USR2, metrics). Values only, nothing borrowed.
 * Owner: the asker. Thread: report_fill on the worker's; the rest any. */
#ifndef PROXY_REPORT_H
#define PROXY_REPORT_H

#include "io/addr.h"
#include "proxy/stats.h"

#include <stdbool.h>
#include <stdint.h>

struct worker;

enum { REPORT_HOST_MAX = 64, REPORT_METHOD_MAX = 16, REPORT_TRAIL = 8 };

struct report_xchg {
    uint64_t id, age_ms, quiet_ms; /* since it began; since its relay moved bytes last */
    uint64_t bytes_up, bytes_down;
    struct addr client, peer; /* peer: family 0 before it is dialled */
    uint16_t port, status;
    bool tunnel;
    uint8_t step;                /* enum xstep */
    uint8_t trail[REPORT_TRAIL]; /* the last transitions, newest last; 0 may mean none */
    uint64_t deadline_ms;        /* until its deadline; UINT64_MAX: none */
    char method[REPORT_METHOD_MAX], host[REPORT_HOST_MAX]; /* cut, NUL-terminated */
};

struct report_worker {
    unsigned id, generation; /* of its snapshot */
    int phase;               /* enum worker_phase */
    uint64_t turns, tasks;
    unsigned sessions, exchanges, tunnels, pooled, lookups; /* now */
    struct report_xchg *v;   /* the oldest exchanges; the asker's memory */
    unsigned n, cap;         /* n of exchanges are in v */
};

/* Fills r (whose v and cap the asker set) from w. Looks at every session: bounded by their number; writes at most cap of them. */
void report_fill(const struct worker *w, struct report_worker *r);

#endif
