/* SPDX-License-Identifier: MIT */
/* bufq: a queue of bytes in leased blocks. An empty queue holds none. The caller bounds its length.
 * Owner: whoever embeds it. Thread: its worker's. */
#ifndef BASE_BUFQ_H
#define BASE_BUFQ_H

#include "base/objcache.h"
#include "base/slice.h"

#include <sys/uio.h>

struct bufq_block;

struct bufq {
    struct objcache *cache; /* blocks of at least 1 KB */
    struct bufq_block *first, *last;
    size_t len; /* bytes queued */
};

void bufq_init(struct bufq *q, struct objcache *cache);
void bufq_clear(struct bufq *q); /* drops the bytes, returns the blocks */

/* Appends a copy; all or nothing. ERR_NOMEM when a block is refused. */
int bufq_put(struct bufq *q, const void *p, size_t n) MUST_USE;
/* Up to `max` pieces from the front; returns how many. Valid until the queue changes. */
int bufq_iov(const struct bufq *q, struct iovec *iov, int max);
/* The first contiguous piece; n = 0 when empty. */
struct slice bufq_front(const struct bufq *q);
void bufq_drop(struct bufq *q, size_t n); /* n <= len */
size_t bufq_copy_out(struct bufq *q, void *p, size_t n); /* moves up to n bytes out; returns how many */

#endif
