/* SPDX-License-Identifier: MIT */
/* metrics: what a view says in Prometheus's text format, version 0.0.4. Every family has its HELP and TYPE, all rows are there from the start, and no
 * label carries what a client sent. Counters never go back as long as the process lives: each worker's are read once, and only ever grow.
 * Thread: any. */
#ifndef APP_METRICS_H
#define APP_METRICS_H

#include "app/view.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The caller frees it with mem_free. NULL: memory refused. */
char *metrics_text(const struct server_view *v, size_t *ret_n) MUST_USE;

#endif
