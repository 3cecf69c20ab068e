/* SPDX-License-Identifier: MIT */
/* ring: bounded queues between threads.
 * ring_ptr: many producers, one consumer, pointers, a mutex (it carries rare things: handed-over connections, helper
 * replies, orders). ring_bytes: one producer, one consumer, lock-free, whole records or nothing (log lines). */
#ifndef BASE_RING_H
#define BASE_RING_H

#include "base/base.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct ring_ptr {
    pthread_mutex_t lock;
    void **v;
    size_t cap, head, n;
};

int ring_ptr_init(struct ring_ptr *r, size_t cap) MUST_USE;
void ring_ptr_done(struct ring_ptr *r);
bool ring_ptr_put(struct ring_ptr *r, void *p, bool *ret_was_empty); /* false: full */
void *ring_ptr_get(struct ring_ptr *r);                              /* NULL: empty */

struct ring_bytes {
    char *p;
    size_t cap; /* a power of two */
    _Atomic size_t head, tail; /* producer writes head, consumer writes tail; both only grow */
};

int ring_bytes_init(struct ring_bytes *r, size_t cap) MUST_USE;
void ring_bytes_done(struct ring_bytes *r);
bool ring_bytes_put(struct ring_bytes *r, const void *p, size_t n); /* all or nothing; false: no room */
/* Consumer: the contiguous bytes at the front (may be only part of what is there), then drop them. */
size_t ring_bytes_peek(struct ring_bytes *r, const char **ret_p);
void ring_bytes_drop(struct ring_bytes *r, size_t n);

#endif
