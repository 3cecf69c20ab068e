/* SPDX-License-Identifier: MIT */
/* objcache: free blocks of one size on a singly linked list, last in, first out, so that the block
 * handed out is the one still in the processor's cache. Called by arenas, byte queues and the rooms
 * that lease buffers; one thread only. Under AddressSanitizer a kept block is poisoned: use after
 * put is caught as use after free would be.
 */
#include "base/objcache.h"

#include "base/check.h"
#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define POISONING 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONING 1
#endif
#endif

#ifdef POISONING
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define POISON(p, n)   UNUSED(p)
#define UNPOISON(p, n) UNUSED(p)
#endif

struct link {
    struct link *next;
};

void objcache_init(struct objcache *c, size_t size, size_t keep)
{
    *c = (struct objcache){.size = max_size(size, sizeof(struct link)), .keep = keep};
}

/* The list is not empty. */
static inline void *pop(struct objcache *c)
{
    struct link *l = c->free;

    UNPOISON(l, c->size);
    c->free = l->next;
    c->n_free--;
    return l;
}

void objcache_done(struct objcache *c)
{
    CHECK(c->n_used == 0);
    objcache_trim(c);
}

void objcache_trim(struct objcache *c)
{
    while (c->free)
        mem_free(pop(c));
}

void *objcache_get(struct objcache *c)
{
    void *block = LIKELY(c->free != NULL) ? pop(c) : mem_alloc(c->size);

    if (UNLIKELY(!block))
        return NULL;
    c->n_used++;
    if (UNLIKELY(c->n_used > c->n_used_max))
        c->n_used_max = c->n_used;
    return block;
}

void objcache_put(struct objcache *c, void *block)
{
    struct link *l = block;

    if (!l)
        return;
    CHECK(c->n_used > 0);
    c->n_used--;
    if (UNLIKELY(c->n_free >= c->keep)) {
        mem_free(l);
        return;
    }
    l->next = c->free;
    c->free = l;
    c->n_free++;
    POISON(l, c->size);
}
