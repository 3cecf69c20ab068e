/* SPDX-License-Identifier: MIT */
/* board: facts that one worker has learned and the others may use. Called by the resolver and the
 * rooms above on any thread; a lock covers a sixteenth of the keys and is held for a copy, never
 * longer. Each shard is a chained hash table over an array of facts, and a heap of them by their
 * end, so that the one to go is found at once. It must never wait for anything but its own locks,
 * nor allocate after board_new.
 */
#include "base/board.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

#include <pthread.h>

struct fact {
    uint64_t hash, end_ms;
    uint32_t next; /* in its bucket: index + 1, 0 at the end */
    uint32_t at;   /* its place in the heap */
    uint32_t value_n;
    uint16_t key_n, kind;
    char bytes[]; /* BOARD_KEY_MAX for the key, then the value */
};

struct shard {
    pthread_mutex_t lock;
    uint32_t n;       /* facts held */
    uint32_t *bucket; /* index + 1 of the first fact, 0: none */
    uint32_t *heap;   /* [0, n): facts, the nearest end first; [n, cap): unused indices */
    char *facts;
};

struct board {
    uint32_t cap, buckets; /* of each shard; buckets is a power of two */
    size_t value_max;
    size_t stride; /* bytes a fact */
    struct shard shard[BOARD_SHARDS];
    uint32_t *index; /* all buckets, then all heaps */
    char *facts;
};

struct wanted {
    uint64_t hash;
    enum board_kind kind;
    struct slice key;
};

static struct wanted wanted(enum board_kind kind, struct slice key)
{
    uint64_t hash = hash_bytes(key.p, key.n) + (uint64_t)kind * 0x9e3779b97f4a7c15u;

    return (struct wanted){hash, kind, key};
}

static inline struct fact *fact_at(const struct board *b, const struct shard *s, uint32_t i)
{
    return (struct fact *)(void *)(s->facts + i * b->stride);
}

static struct shard *lock_shard(struct board *b, uint64_t hash)
{
    struct shard *s = &b->shard[hash % BOARD_SHARDS];

    pthread_mutex_lock(&s->lock);
    return s;
}

/* Sets cap, buckets and stride; false when entries or value_max are beyond all reason. */
static bool measure(struct board *b, size_t entries, size_t value_max)
{
    size_t cap = entries / BOARD_SHARDS + (entries % BOARD_SHARDS != 0);

    cap = max_size(cap, 1);
    if (cap > UINT32_MAX / 4 || value_max > UINT32_MAX / 4)
        return false;
    b->cap = (uint32_t)cap;
    for (b->buckets = 1; b->buckets < b->cap; b->buckets *= 2)
        ;
    b->value_max = value_max;
    b->stride = (sizeof(struct fact) + BOARD_KEY_MAX + value_max + 7) & ~(size_t)7;
    return true;
}

static void init_shard(struct board *b, size_t i)
{
    struct shard *s = &b->shard[i];

    CHECK(pthread_mutex_init(&s->lock, NULL) == 0);
    s->bucket = b->index + i * b->buckets;
    s->heap = b->index + (size_t)BOARD_SHARDS * b->buckets + i * b->cap;
    s->facts = b->facts + i * b->cap * b->stride;
    for (uint32_t k = 0; k < b->cap; k++)
        s->heap[k] = k;
}

struct board *board_new(size_t entries, size_t value_max)
{
    struct board *b = mem_zalloc(sizeof(*b));

    if (!b)
        return NULL;
    if (!measure(b, entries, value_max))
        goto fail_free;
    b->index = mem_array(((size_t)b->buckets + b->cap) * BOARD_SHARDS, sizeof(*b->index));
    if (!b->index)
        goto fail_free;
    b->facts = mem_array((size_t)b->cap * BOARD_SHARDS, b->stride);
    if (!b->facts)
        goto fail_index;
    for (size_t i = 0; i < BOARD_SHARDS; i++)
        init_shard(b, i);
    return b;

fail_index:
    mem_free(b->index);
fail_free:
    mem_free(b);
    return NULL;
}

void board_free(struct board *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < BOARD_SHARDS; i++)
        pthread_mutex_destroy(&b->shard[i].lock);
    mem_free(b->facts);
    mem_free(b->index);
    mem_free(b);
}

static inline bool ends_before(const struct board *b, const struct shard *s, uint32_t i, uint32_t k)
{
    return fact_at(b, s, i)->end_ms < fact_at(b, s, k)->end_ms;
}

static inline void heap_place(const struct board *b, struct shard *s, uint32_t at, uint32_t i)
{
    s->heap[at] = i;
    fact_at(b, s, i)->at = at;
}

static uint32_t heap_up(const struct board *b, struct shard *s, uint32_t at, uint32_t i)
{
    while (at > 0 && ends_before(b, s, i, s->heap[(at - 1) / 2])) {
        heap_place(b, s, at, s->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    return at;
}

static uint32_t heap_down(const struct board *b, struct shard *s, uint32_t at, uint32_t i)
{
    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child + 1 < s->n && ends_before(b, s, s->heap[child + 1], s->heap[child]))
            child++;
        if (child >= s->n || !ends_before(b, s, s->heap[child], i))
            return at;
        heap_place(b, s, at, s->heap[child]);
        at = child;
    }
}

/* Fact i belongs near `at`, where the heap has a gap: finds its right place. */
static void heap_settle(const struct board *b, struct shard *s, uint32_t at, uint32_t i)
{
    at = heap_up(b, s, at, i);
    at = heap_down(b, s, at, i);
    heap_place(b, s, at, i);
}

static inline uint32_t *bucket_of(const struct board *b, struct shard *s, uint64_t hash)
{
    return &s->bucket[hash / BOARD_SHARDS & (b->buckets - 1)];
}

static inline bool is_wanted(const struct fact *f, const struct wanted *w)
{
    return f->hash == w->hash && f->kind == w->kind &&
           slice_eq(slice_of(f->bytes, f->key_n), w->key);
}

/* The link that leads to the fact; it holds 0 when there is none. */
static uint32_t *find(const struct board *b, struct shard *s, const struct wanted *w)
{
    uint32_t *link = bucket_of(b, s, w->hash);

    while (*link && !is_wanted(fact_at(b, s, *link - 1), w))
        link = &fact_at(b, s, *link - 1)->next;
    return link;
}

static void unlink_fact(const struct board *b, struct shard *s, uint32_t *link)
{
    uint32_t gone = *link - 1;
    struct fact *f = fact_at(b, s, gone);
    uint32_t at = f->at, last;

    *link = f->next;
    last = s->heap[--s->n];
    s->heap[s->n] = gone;
    if (last != gone)
        heap_settle(b, s, at, last);
}

static void evict(const struct board *b, struct shard *s)
{
    uint32_t nearest = s->heap[0];
    uint32_t *link = bucket_of(b, s, fact_at(b, s, nearest)->hash);

    while (*link != nearest + 1)
        link = &fact_at(b, s, *link - 1)->next;
    unlink_fact(b, s, link);
}

/* A new fact with its key, at the end of the heap; its end is not set yet. */
static struct fact *add_fact(const struct board *b, struct shard *s, const struct wanted *w)
{
    uint32_t *bucket = bucket_of(b, s, w->hash);
    struct fact *f;
    uint32_t i;

    if (s->n == b->cap)
        evict(b, s);
    i = s->heap[s->n];
    f = fact_at(b, s, i);
    f->hash = w->hash;
    f->kind = (uint16_t)w->kind;
    f->key_n = (uint16_t)w->key.n;
    if (w->key.n)
        memcpy(f->bytes, w->key.p, w->key.n);
    f->next = *bucket;
    *bucket = i + 1;
    f->at = s->n++;
    return f;
}

static void set_value(const struct board *b, struct shard *s, struct fact *f, uint64_t end_ms,
                      struct slice value)
{
    f->end_ms = end_ms;
    f->value_n = (uint32_t)value.n;
    if (value.n)
        memcpy(f->bytes + BOARD_KEY_MAX, value.p, value.n);
    heap_settle(b, s, f->at, s->heap[f->at]);
}

bool board_get(struct board *b, enum board_kind kind, struct slice key, uint64_t now_ms,
               void *value, size_t cap, size_t *ret_n)
{
    struct wanted w = wanted(kind, key);
    struct shard *s = lock_shard(b, w.hash);
    uint32_t i = *find(b, s, &w);
    const struct fact *f = i ? fact_at(b, s, i - 1) : NULL;
    bool found = f && now_ms < f->end_ms && f->value_n <= cap;

    if (found) {
        if (f->value_n)
            memcpy(value, f->bytes + BOARD_KEY_MAX, f->value_n);
        *ret_n = f->value_n;
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

void board_put(struct board *b, enum board_kind kind, struct slice key, uint64_t now_ms,
               uint64_t ttl_ms, const void *value, size_t n)
{
    uint64_t end_ms = ttl_ms < UINT64_MAX - now_ms ? now_ms + ttl_ms : UINT64_MAX;
    bool keep = key.n <= BOARD_KEY_MAX && n <= b->value_max && ttl_ms > 0;
    struct wanted w = wanted(kind, key);
    struct shard *s;
    uint32_t i;

    if (!keep) {
        /* What it would have replaced is no longer true. */
        board_del(b, kind, key);
        return;
    }
    s = lock_shard(b, w.hash);
    i = *find(b, s, &w);
    set_value(b, s, i ? fact_at(b, s, i - 1) : add_fact(b, s, &w), end_ms, slice_of(value, n));
    pthread_mutex_unlock(&s->lock);
}

void board_change(struct board *b, enum board_kind kind, struct slice key, uint64_t now_ms,
                  uint64_t ttl_ms, size_t n, board_change_fn change, void *ctx)
{
    struct wanted w = wanted(kind, key);
    struct fact *f;
    struct shard *s;
    uint32_t i;
    bool fresh;

    if (key.n > BOARD_KEY_MAX || n > b->value_max || ttl_ms == 0)
        return;
    s = lock_shard(b, w.hash);
    i = *find(b, s, &w);
    f = i ? fact_at(b, s, i - 1) : add_fact(b, s, &w);
    fresh = !i || now_ms >= f->end_ms || f->value_n != n;
    if (fresh)
        memset(f->bytes + BOARD_KEY_MAX, 0, n);
    change(f->bytes + BOARD_KEY_MAX, fresh, ctx);
    f->end_ms = ttl_ms < UINT64_MAX - now_ms ? now_ms + ttl_ms : UINT64_MAX;
    f->value_n = (uint32_t)n;
    heap_settle(b, s, f->at, s->heap[f->at]);
    pthread_mutex_unlock(&s->lock);
}

void board_del(struct board *b, enum board_kind kind, struct slice key)
{
    struct wanted w = wanted(kind, key);
    struct shard *s = lock_shard(b, w.hash);
    uint32_t *link = find(b, s, &w);

    if (*link)
        unlink_fact(b, s, link);
    pthread_mutex_unlock(&s->lock);
}

size_t board_count(struct board *b)
{
    size_t n = 0;

    for (size_t i = 0; i < BOARD_SHARDS; i++) {
        pthread_mutex_lock(&b->shard[i].lock);
        n += b->shard[i].n;
        pthread_mutex_unlock(&b->shard[i].lock);
    }
    return n;
}
