/* SPDX-License-Identifier: MIT */
/* charge_table: where the buckets of all limits are: one table, shared by all workers, of at most CHARGE_BUCKETS. Whoever needs a bucket pins it: one lock of
 * one shard, once; then it stays where it is and is read and written without a lock until it is let go. A place is given to somebody else only
 * when its bucket rests, so that it would be made anew the same way. When none does, new keys share a few overflow buckets of their limit: nobody
 * escapes a limit by filling the table, nor by being many.
 * Memory: CHARGE_CHUNK_BUCKETS at a time, at most (CHARGE_BUCKETS + CHARGE_OVERFLOWS) * 256 bytes, about 17 MB; never given back.
 * Owner: app. Thread: any. */
#ifndef PROXY_CHARGE_TABLE_H
#define PROXY_CHARGE_TABLE_H

#include "proxy/charge_bucket.h"

/* OVERFLOW_EACH: shared buckets of one limit. */
enum { CHARGE_BUCKETS = 65536, CHARGE_SHARDS = 64, CHARGE_OVERFLOWS = 2048, CHARGE_OVERFLOW_EACH = 4, CHARGE_CHUNK_BUCKETS = 64 };

struct charge_table;

struct charge_table *charge_table_new(void) MUST_USE; /* NULL: memory refused */
/* Nothing is pinned. NULL is fine. */
void charge_table_free(struct charge_table *t);

/* The bucket of that limit and key, made if there is none; it must be let go. NULL: memory was refused, or (after many reloads while the table is
 * full) there is no overflow bucket either. */
struct charge_bucket *charge_pin(struct charge_table *t, uint64_t limit, struct slice key, uint64_t now_us, uint64_t wall_ms) MUST_USE;
/* The same for a key as a bucket has it: it was read from where one was saved. */
struct charge_bucket *charge_pin_saved(struct charge_table *t, uint64_t limit, struct slice key, uint64_t wall_ms) MUST_USE;
/* The bucket that charge_pin would give, if there is one; it must be let go. NULL: there is none, that is, it would be made anew. Nothing is made, given to
 * somebody else or counted. */
struct charge_bucket *charge_find(struct charge_table *t, uint64_t limit, struct slice key, uint64_t now_us, uint64_t wall_ms) MUST_USE;
/* Once more by somebody who has pinned it. */
static inline void charge_pin_again(struct charge_bucket *b)
{
    atomic_fetch_add_explicit(&b->pins, 1, memory_order_relaxed);
}
/* Whether it is one of those that new keys share while the table is full. */
bool charge_bucket_shared(const struct charge_bucket *b);
/* *b becomes NULL; NULL is fine. */
void charge_unpin(struct charge_bucket **b);

/* What a key becomes when it is too long: what the table compares, and files say. Returns its length. */
size_t charge_key(struct slice key, char out[CHARGE_KEY]);

struct charge_table_counts {
    uint64_t buckets, overflow; /* that exist now: made once, and not given to others since */
    uint64_t overflowed;        /* times that a shared one had to do, since the start */
};
struct charge_table_counts charge_table_count(const struct charge_table *t);

/* Who is told when a quota has been counted: once, on the counting thread, and again after charge_table_settled. One at a time; fn NULL: nobody. */
void charge_table_on_change(struct charge_table *t, void (*fn)(void *owner), void *owner);
void charge_table_settled(struct charge_table *t);
/* A quota has been counted. */
void charge_table_changed(struct charge_table *t);

/* Calls fn for each bucket, under its shard's lock: it copies what it wants, and does nothing else. False ends the walk. */
void charge_table_each(struct charge_table *t, bool (*fn)(void *ctx, const struct charge_bucket *b), void *ctx);

#endif
