/* SPDX-License-Identifier: MIT */
/* access_fold: a tunnel's record while it is quiet, in as few bytes as it takes: some 150 instead of 430 and its strings. What the session knows
 * (the client, the door) and what only an end says is not in it. Owner: the exchange. Thread: its worker's. */
#ifndef PROXY_ACCESS_FOLD_H
#define PROXY_ACCESS_FOLD_H

#include "proxy/access.h"

struct access_folded;

/* NULL: memory refused. Strings that are longer than the log keeps are cut. */
struct access_folded *access_fold(const struct access_record *r) MUST_USE;
/* The record as it was, but for client, door, head_down, event and end, which are empty; its strings lie in f. */
void access_unfold(const struct access_folded *f, struct access_record *ret_record);
/* Its `id`. Touches nothing else: a signal handler may ask. */
uint64_t access_folded_id(const struct access_folded *f);
void access_folded_free(struct access_folded *f); /* NULL is fine */

#endif
