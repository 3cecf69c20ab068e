/* SPDX-License-Identifier: MIT */
/* arena: memory of one exchange, given out by moving a pointer and given back all at once. Called
 * by parsers, muxes and steps on the worker's thread. A piece that no ordinary block can hold gets
 * a heap block of its own, which is put behind the newest block so that the room left there is not
 * lost. It never frees a single piece, and never hands out more than its limit.
 */
#include "base/arena.h"

#include "base/check.h"
#include "base/mem.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

enum { ALIGN = 16, HEAP_BLOCK = 4096 };

struct arena_block {
    struct arena_block *next;
    size_t size; /* header included; the cache's size exactly when the block is the cache's */
    alignas(ALIGN) char data[];
};

static inline size_t round_down(size_t n)
{
    return n & ~(size_t)(ALIGN - 1);
}

static inline size_t round_up(size_t n)
{
    return round_down(n + ALIGN - 1);
}

static inline size_t room(const struct arena *a)
{
    return (size_t)(a->end - a->p);
}

void arena_init(struct arena *a, struct objcache *cache, size_t limit)
{
    CHECK(!cache || cache->size >= sizeof(struct arena_block) + ALIGN);
    *a = (struct arena){.cache = cache, .limit = limit};
}

static inline bool from_cache(const struct arena *a, size_t size)
{
    return a->cache && a->cache->size == size;
}

void arena_done(struct arena *a)
{
    struct arena_block *b = a->blocks;

    while (b) {
        struct arena_block *next = b->next;

        if (from_cache(a, b->size))
            objcache_put(a->cache, b);
        else
            mem_free(b);
        b = next;
    }
    arena_init(a, a->cache, a->limit);
}

static struct arena_block *new_block(struct arena *a, size_t size)
{
    struct arena_block *b;

    if (size > a->limit - a->used)
        return NULL;
    b = from_cache(a, size) ? objcache_get(a->cache) : mem_alloc(size);
    if (!b)
        return NULL;
    b->size = size;
    a->used += size;
    return b;
}

static void *alloc_alone(struct arena *a, size_t n)
{
    struct arena_block *b = new_block(a, sizeof(*b) + round_up(n));
    struct arena_block **link = a->p ? &a->blocks->next : &a->blocks;

    if (!b)
        return NULL;
    b->next = *link;
    *link = b;
    return b->data;
}

static void *alloc_slow(struct arena *a, size_t n)
{
    size_t size = a->cache ? a->cache->size : HEAP_BLOCK;
    struct arena_block *b;

    if (n > SIZE_MAX / 2)
        return NULL;
    if (n > round_down(size) - sizeof(*b))
        return alloc_alone(a, n);
    b = new_block(a, size);
    if (!b)
        return NULL;
    b->next = a->blocks;
    a->blocks = b;
    a->p = b->data + round_up(n);
    a->end = (char *)b + round_down(size);
    return b->data;
}

void *arena_alloc(struct arena *a, size_t n)
{
    char *p = a->p;

    /* p and end are multiples of ALIGN: if n fits, so does n rounded up. */
    if (UNLIKELY(!p || n > room(a)))
        return alloc_slow(a, n);
    a->p = p + round_up(n);
    return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);

    return p ? memset(p, 0, n) : NULL;
}

void *arena_grow(struct arena *a, void *p, size_t old_n, size_t new_n)
{
    char *old = p;
    void *copy;

    if (old && old + round_up(old_n) == a->p && new_n <= (size_t)(a->end - old)) {
        a->p = old + round_up(new_n);
        return old;
    }
    if (old && new_n <= old_n)
        return old;
    copy = arena_alloc(a, new_n);
    if (copy && old_n)
        memcpy(copy, old, old_n);
    return copy;
}

struct slice arena_dup(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.n + 1);

    if (!p)
        return SLICE_NONE;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return slice_of(p, s.n);
}

/* Prints into the room that is there; only a text that does not fit is printed twice. */
struct slice arena_printf(struct arena *a, const char *fmt, ...)
{
    size_t had = room(a), n;
    va_list ap;
    char *p;
    int r;

    va_start(ap, fmt);
    r = vsnprintf(a->p, had, fmt, ap);
    va_end(ap);
    if (r < 0)
        return SLICE_NONE;
    n = (size_t)r;
    p = arena_alloc(a, n + 1);
    if (!p)
        return SLICE_NONE;
    if (n >= had) {
        va_start(ap, fmt);
        r = vsnprintf(p, n + 1, fmt, ap);
        va_end(ap);
        CHECK((size_t)r == n);
    }
    return slice_of(p, n);
}

struct arena *arena_new(struct objcache *cache, size_t limit)
{
    struct arena first, *a;

    arena_init(&first, cache, limit);
    a = arena_alloc(&first, sizeof(*a));
    if (a)
        *a = first;
    return a;
}

void arena_delete(struct arena *a)
{
    struct arena last;

    if (!a)
        return;
    last = *a;
    arena_done(&last);
}
