/* SPDX-License-Identifier: MIT */
/* parents: which parent proxies failed a moment ago: a fact on the board, shared by all workers, for PARENTS_BAD_MS. Those come last among the
 * alternatives of an entry. Thread: the worker's. */
#ifndef PROXY_PARENTS_H
#define PROXY_PARENTS_H

#include "policy/route.h"

struct board;
struct worker;

enum { PARENTS_BAD_MS = 30000 };

/* One of its hops did. Direct never does. */
bool parents_failed_lately(struct worker *w, const struct alternative *a);
/* The same, for who is no worker. now_ms: of a loop's clock. */
bool parents_are_doubted(struct board *b, uint64_t now_ms, const struct alternative *a);
/* why: for the log, which says it once; several: it matters, for there are others to be tried first. */
void parents_failed(struct worker *w, const struct hop *hop, const char *why, bool several);
/* It was tried all the same, and served. */
void parents_served(struct worker *w, const struct alternative *a);

#endif
