/* SPDX-License-Identifier: MIT */
/* ring: what crosses from one thread to another. Both kinds are bounded and neither waits: a full
 * ring is an answer, and the caller says what is dropped or refused. Waking the other side is the
 * caller's business.
 */
#include "base/ring.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#include <string.h>

int ring_ptr_init(struct ring_ptr *r, size_t cap)
{
    int e;

    CHECK(cap > 0);
    *r = (struct ring_ptr){.cap = cap};
    r->v = mem_array(cap, sizeof(*r->v));
    if (!r->v)
        return ERR_NOMEM;
    e = pthread_mutex_init(&r->lock, NULL);
    if (e) {
        mem_free(r->v);
        r->v = NULL;
        return -e;
    }
    return 0;
}

void ring_ptr_done(struct ring_ptr *r)
{
    pthread_mutex_destroy(&r->lock);
    mem_free(r->v);
    r->v = NULL;
}

bool ring_ptr_put(struct ring_ptr *r, void *p, bool *ret_was_empty)
{
    size_t n;

    CHECK(p); /* NULL would read as "empty" */
    pthread_mutex_lock(&r->lock);
    n = r->n;
    if (n < r->cap)
        r->v[(r->head + r->n++) % r->cap] = p;
    pthread_mutex_unlock(&r->lock);
    if (n == r->cap)
        return false;
    *ret_was_empty = n == 0;
    return true;
}

void *ring_ptr_get(struct ring_ptr *r)
{
    void *p = NULL;

    pthread_mutex_lock(&r->lock);
    if (r->n) {
        p = r->v[r->head];
        r->head = (r->head + 1) % r->cap;
        r->n--;
    }
    pthread_mutex_unlock(&r->lock);
    return p;
}

int ring_bytes_init(struct ring_bytes *r, size_t cap)
{
    CHECK(cap > 0 && (cap & (cap - 1)) == 0);
    r->cap = cap;
    atomic_init(&r->head, 0);
    atomic_init(&r->tail, 0);
    r->p = mem_alloc(cap);
    return r->p ? 0 : ERR_NOMEM;
}

void ring_bytes_done(struct ring_bytes *r)
{
    mem_free(r->p);
    r->p = NULL;
}

bool ring_bytes_put(struct ring_bytes *r, const void *p, size_t n)
{
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed); /* ours */
    /* acquire: the consumer has read the bytes before it gave up their place */
    size_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    size_t at = head & (r->cap - 1);
    size_t part = min_size(n, r->cap - at);

    if (n > r->cap - (head - tail))
        return false;
    if (n == 0)
        return true;
    memcpy(r->p + at, p, part);
    memcpy(r->p, (const char *)p + part, n - part);
    /* One store shows the whole record. */
    atomic_store_explicit(&r->head, head + n, memory_order_release);
    return true;
}

size_t ring_bytes_peek(struct ring_bytes *r, const char **ret_p)
{
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed); /* ours */
    size_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    size_t at = tail & (r->cap - 1);

    *ret_p = r->p + at;
    return min_size(head - tail, r->cap - at);
}

void ring_bytes_drop(struct ring_bytes *r, size_t n)
{
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

    CHECK(n <= atomic_load_explicit(&r->head, memory_order_relaxed) - tail);
    atomic_store_explicit(&r->tail, tail + n, memory_order_release);
}
