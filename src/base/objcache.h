/* SPDX-License-Identifier: MIT */
/* objcache: blocks of one size, a bounded number of them kept for reuse. Owner: a worker. Thread: the owner's. */
#ifndef BASE_OBJCACHE_H
#define BASE_OBJCACHE_H

#include "base/base.h"

struct objcache {
    size_t size;           /* bytes a block */
    size_t keep;           /* most free blocks kept */
    size_t n_free, n_used; /* kept now; lent out now */
    size_t n_used_max;
    void *free;
};

void objcache_init(struct objcache *c, size_t size, size_t keep);
void objcache_done(struct objcache *c);              /* frees the kept blocks; n_used must be 0 */
void objcache_trim(struct objcache *c);              /* frees the kept blocks */
void *objcache_get(struct objcache *c) MUST_USE;     /* not zeroed; NULL when memory is refused */
void objcache_put(struct objcache *c, void *block);  /* NULL is fine */

#endif
