/* SPDX-License-Identifier: MIT */
/* bufq: bytes on their way out that the kernel did not take at once. Each block is one block of the
 * worker's objcache with a small header; bytes are appended to the last and taken from the first.
 * Called by conns, muxes and pumps on the worker's thread. A queue that has become empty gives its
 * last block back: an idle connection must hold no buffer.
 */
#include "base/bufq.h"

#include "base/check.h"
#include "base/err.h"

struct bufq_block {
    struct bufq_block *next;
    char *rd, *wr; /* the bytes in between are queued; never equal while the block is in a queue */
    char data[];
};

void bufq_init(struct bufq *q, struct objcache *cache)
{
    CHECK(cache->size > sizeof(struct bufq_block));
    *q = (struct bufq){.cache = cache};
}

static void release(struct objcache *cache, struct bufq_block *b)
{
    while (b) {
        struct bufq_block *next = b->next;

        objcache_put(cache, b);
        b = next;
    }
}

void bufq_clear(struct bufq *q)
{
    release(q->cache, q->first);
    bufq_init(q, q->cache);
}

static inline size_t room(const struct bufq *q)
{
    return q->last ? (size_t)((char *)q->last + q->cache->size - q->last->wr) : 0;
}

static inline void append(struct bufq *q, const char *p, size_t n)
{
    memcpy(q->last->wr, p, n);
    q->last->wr += n;
    q->len += n;
}

/* A chain of empty blocks for n bytes; NULL when one of them is refused. */
static struct bufq_block *lease(struct objcache *cache, size_t n)
{
    size_t hold = cache->size - sizeof(struct bufq_block);
    struct bufq_block *chain = NULL;

    for (;;) {
        struct bufq_block *b = objcache_get(cache);

        if (!b) {
            release(cache, chain);
            return NULL;
        }
        b->rd = b->wr = b->data;
        b->next = chain;
        chain = b;
        if (n <= hold)
            return chain;
        n -= hold;
    }
}

/* All blocks are leased before the first byte is copied: all or nothing. */
static int put_slow(struct bufq *q, const char *p, size_t n)
{
    size_t part = room(q);
    struct bufq_block *chain = lease(q->cache, n - part);

    if (!chain)
        return ERR_NOMEM;
    if (part)
        append(q, p, part);
    if (q->last)
        q->last->next = chain;
    else
        q->first = chain;
    for (; chain; chain = chain->next) {
        p += part;
        n -= part;
        q->last = chain;
        part = min_size(n, room(q));
        append(q, p, part);
    }
    return 0;
}

int bufq_put(struct bufq *q, const void *p, size_t n)
{
    if (UNLIKELY(n == 0))
        return 0;
    if (UNLIKELY(n > room(q)))
        return put_slow(q, p, n);
    append(q, p, n);
    return 0;
}

int bufq_iov(const struct bufq *q, struct iovec *iov, int max)
{
    const struct bufq_block *b = q->first;
    int n;

    for (n = 0; b && n < max; n++, b = b->next)
        iov[n] = (struct iovec){.iov_base = b->rd, .iov_len = (size_t)(b->wr - b->rd)};
    return n;
}

struct slice bufq_front(const struct bufq *q)
{
    const struct bufq_block *b = q->first;

    return b ? slice_of(b->rd, (size_t)(b->wr - b->rd)) : SLICE_NONE;
}

void bufq_drop(struct bufq *q, size_t n)
{
    CHECK(n <= q->len);
    q->len -= n;
    while (n) {
        struct bufq_block *b = q->first;
        size_t part = min_size(n, (size_t)(b->wr - b->rd));

        b->rd += part;
        n -= part;
        if (b->rd < b->wr)
            return;
        q->first = b->next;
        if (!q->first)
            q->last = NULL;
        objcache_put(q->cache, b);
    }
}

size_t bufq_copy_out(struct bufq *q, void *p, size_t n)
{
    char *to = p;

    n = min_size(n, q->len);
    for (size_t done = 0; done < n;) {
        struct slice front = bufq_front(q);
        size_t part = min_size(n - done, front.n);

        memcpy(to + done, front.p, part);
        bufq_drop(q, part);
        done += part;
    }
    return n;
}
