/* SPDX-License-Identifier: MIT */
/* report_all: all workers are asked at once what they are doing, and what came within a time is the answer. A worker that is stuck may answer long
 * after, into memory that waits for it: nobody waits for the worker.
 * Owner: the asker. Thread: any that is no worker's (the house asks for the others). */
#ifndef APP_REPORT_ALL_H
#define APP_REPORT_ALL_H

#include "proxy/report.h"

#include <stdbool.h>

enum { REPORT_ALL_WAIT_MS = 500 };

/* One place a worker, in the order of the workers. */
struct report_all {
    unsigned n, n_came;
    struct report_answer {
        bool came;             /* false: it does not answer, and of r only id is filled */
        struct report_worker r; /* r.v and r.s belong to the report */
    } v[];
};

struct report_ask {
    unsigned n_xchgs;  /* of each worker, at most */
    bool sessions;     /* REPORT_SESSIONS of each, too */
    unsigned wait_ms;
};

/* Asks n workers; waits until all have answered, or for wait_ms. The workers must outlive what was posted to
 * them: worker_done sees to that. ERR_NOMEM: nobody was asked. */
int report_all(struct worker *const *workers, unsigned n, const struct report_ask *ask, struct report_all **ret_all) MUST_USE;
void report_all_free(struct report_all *a);

#endif
