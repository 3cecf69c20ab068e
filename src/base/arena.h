/* SPDX-License-Identifier: MIT */
/* arena: bump allocator of one exchange. What comes from it dies with it. Blocks come from the worker's objcache (or the
 * heap when larger). Owner: the exchange. Thread: its worker's. An idle arena holds no block. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/objcache.h"
#include "base/slice.h"

struct arena_block;

struct arena {
    struct objcache *cache;
    struct arena_block *blocks; /* newest first */
    char *p, *end;              /* free room in the newest block */
    size_t used;                /* bytes of all blocks */
    size_t limit;               /* most bytes of all blocks */
};

/* cache may be NULL: then blocks of 4 KB come from the heap. limit bounds the sum of the blocks' sizes. */
void arena_init(struct arena *a, struct objcache *cache, size_t limit);
void arena_done(struct arena *a); /* frees everything; the arena is as after init */

/* One that lies in its own first block. NULL: refused. arena_delete frees it with all the rest; NULL is fine. */
struct arena *arena_new(struct objcache *cache, size_t limit) MUST_USE;
void arena_delete(struct arena *a);

/* 16-byte aligned, not zeroed. NULL: limit reached or memory refused. n = 0 gives a valid pointer. */
void *arena_alloc(struct arena *a, size_t n) MUST_USE;
void *arena_zalloc(struct arena *a, size_t n) MUST_USE;

/* Grows an array: returns room for new_n bytes holding the first old_n of p; in place when p is the last thing allocated
 * and the block has room. NULL: refused, p still valid. */
void *arena_grow(struct arena *a, void *p, size_t old_n, size_t new_n) MUST_USE;

/* A copy with a NUL behind it (not counted). On refusal .p is NULL. */
struct slice arena_dup(struct arena *a, struct slice s) MUST_USE;
struct slice arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3) MUST_USE;

#endif
