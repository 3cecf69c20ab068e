/* SPDX-License-Identifier: MIT */
/* charge_table: chains in shards, found by SipHash, so that keys cannot be chosen to collide. Called by workers when a request is charged, and by whoever
 * saves or shows the buckets. Places are never freed: an address of a bucket stays one.
 */
#include "proxy/charge_table.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/num.h"

#include <pthread.h>
#include <string.h>

#define CHARGE_SHARED '\xff'

/* LOOK: of a full shard so many places are looked at for one that rests, beginning where the last look ended. */
enum { SHARD_MAX = CHARGE_BUCKETS / CHARGE_SHARDS, CHUNKS = (SHARD_MAX > CHARGE_OVERFLOWS ? SHARD_MAX : CHARGE_OVERFLOWS) / CHARGE_CHUNK_BUCKETS, CHAINS = 512, LOOK = 128 };

struct shard {
    _Alignas(64) pthread_mutex_t lock; /* over all below but n */
    struct charge_bucket *chains[CHAINS];
    struct charge_bucket *chunks[CHUNKS];
    _Atomic unsigned n; /* buckets */
    unsigned hand;      /* where the next look begins */
    unsigned most;
};

/* The last shard is the overflow's. */
struct charge_table {
    _Atomic uint64_t overflowed;
    _Atomic bool changed; /* since the last charge_table_settled */
    pthread_mutex_t change_lock; /* over the two below */
    void (*on_change)(void *owner);
    void *owner;
    struct shard shards[CHARGE_SHARDS + 1];
};

_Static_assert(sizeof(struct charge_bucket) <= 256, "the header says how much memory the table takes");

/* ---- keys ---- */

__extension__ typedef unsigned __int128 wide;

/* FNV-1a: it names long keys in files, too, and so has no secret. Whoever makes two long names collide shares a bucket with himself. */
static wide name_hash(struct slice s)
{
    wide h = (wide)UINT64_C(0x6c62272e07bb0142) << 64 | UINT64_C(0x62b821756295c58d);

    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * ((wide)1 << 88 | 0x13b);
    return h;
}

size_t charge_key(struct slice key, char out[CHARGE_KEY])
{
    enum { HASH = 33 };
    wide h;

    if (key.n < CHARGE_KEY) {
        if (key.n)
            memcpy(out, key.p, key.n);
        return key.n;
    }
    /* One that is cut has the full length, which none that is not cut has. */
    h = name_hash(key);
    memcpy(out, key.p, CHARGE_KEY - HASH);
    out[CHARGE_KEY - HASH] = '#';
    for (unsigned i = 0; i < HASH - 1; i++)
        out[CHARGE_KEY - HASH + 1 + i] = "0123456789abcdef"[(unsigned)(h >> (124 - 4 * i)) & 15];
    return CHARGE_KEY;
}

static uint64_t hash_of(uint64_t limit, struct slice key)
{
    char all[sizeof(limit) + CHARGE_KEY];

    memcpy(all, &limit, sizeof(limit));
    if (key.n)
        memcpy(all + sizeof(limit), key.p, key.n);
    return hash_bytes(all, sizeof(limit) + key.n);
}

/* ---- a shard ---- */

static struct charge_bucket **chain_of(struct shard *s, uint64_t hash)
{
    return &s->chains[hash / CHARGE_SHARDS % CHAINS];
}

static struct charge_bucket *place(struct shard *s, unsigned i)
{
    return &s->chunks[i / CHARGE_CHUNK_BUCKETS][i % CHARGE_CHUNK_BUCKETS];
}

static struct charge_bucket *shard_find(struct shard *s, uint64_t hash, uint64_t limit, struct slice key)
{
    struct charge_bucket *b = *chain_of(s, hash);

    while (b && !(b->hash == hash && b->limit == limit && b->n_key == key.n && memcmp(b->key, key.p, key.n) == 0))
        b = b->next;
    return b;
}

static void shard_unlink(struct shard *s, struct charge_bucket *b)
{
    struct charge_bucket **at = chain_of(s, b->hash);

    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
}

static struct charge_bucket *shard_evict(struct shard *s, uint64_t now_us, uint64_t wall_ms)
{
    unsigned n = atomic_load_explicit(&s->n, memory_order_relaxed);

    for (unsigned i = 0; i < n && i < LOOK; i++) {
        struct charge_bucket *b = place(s, s->hand);

        s->hand = (s->hand + 1) % n;
        if (charge_bucket_rests(b, now_us, wall_ms)) {
            shard_unlink(s, b);
            return b;
        }
    }
    return NULL;
}

/* What the main thread and workers share is not counted (mem_count). */
static bool shard_grow(struct shard *s, unsigned chunk)
{
    bool counted = mem_count(false);

    s->chunks[chunk] = mem_array(CHARGE_CHUNK_BUCKETS, sizeof(struct charge_bucket));
    mem_count(counted);
    return s->chunks[chunk];
}

/* A place that nobody has. */
static struct charge_bucket *shard_take(struct shard *s, uint64_t now_us, uint64_t wall_ms)
{
    unsigned n = atomic_load_explicit(&s->n, memory_order_relaxed), chunk = n / CHARGE_CHUNK_BUCKETS;

    if (n == s->most || (!s->chunks[chunk] && !shard_grow(s, chunk)))
        return shard_evict(s, now_us, wall_ms);
    atomic_store_explicit(&s->n, n + 1, memory_order_relaxed);
    return place(s, n);
}

static struct charge_bucket *shard_pin(struct shard *s, uint64_t hash, uint64_t limit, struct slice key, uint64_t now_us, uint64_t wall_ms)
{
    struct charge_bucket *b, **chain;

    pthread_mutex_lock(&s->lock);
    b = shard_find(s, hash, limit, key);
    if (!b) {
        b = shard_take(s, now_us, wall_ms);
        if (b) {
            chain = chain_of(s, hash);
            *b = (struct charge_bucket){.next = *chain, .limit = limit, .hash = hash, .n_key = (uint16_t)key.n};
            memcpy(b->key, key.p, key.n);
            *chain = b;
        }
    }
    if (b)
        atomic_fetch_add_explicit(&b->pins, 1, memory_order_relaxed);
    pthread_mutex_unlock(&s->lock);
    return b;
}

/* One that is there; *ret_room: whether there would be a place for it. */
static struct charge_bucket *shard_look(struct shard *s, uint64_t hash, uint64_t limit, struct slice key, uint64_t now_us, uint64_t wall_ms, bool *ret_room)
{
    struct charge_bucket *b;
    unsigned n;

    pthread_mutex_lock(&s->lock);
    b = shard_find(s, hash, limit, key);
    if (b)
        atomic_fetch_add_explicit(&b->pins, 1, memory_order_relaxed);
    n = atomic_load_explicit(&s->n, memory_order_relaxed);
    *ret_room = n < s->most;
    for (unsigned i = 0; i < n && i < LOOK && !*ret_room; i++)
        *ret_room = charge_bucket_rests(place(s, (s->hand + i) % n), now_us, wall_ms);
    pthread_mutex_unlock(&s->lock);
    return b;
}

/* ---- the table ---- */

bool charge_bucket_shared(const struct charge_bucket *b)
{
    return b->n_key == 2 && b->key[0] == CHARGE_SHARED;
}

/* The first byte is one that no key of a limit begins with. */
static struct charge_bucket *pin_overflow(struct charge_table *t, uint64_t limit, struct slice key, uint64_t now_us, uint64_t wall_ms)
{
    atomic_fetch_add_explicit(&t->overflowed, 1, memory_order_relaxed);
    return shard_pin(&t->shards[CHARGE_SHARDS], hash_of(limit, key), limit, key, now_us, wall_ms);
}

/* Always the same one for a key, while it must share. */
static struct slice shared_key(uint64_t hash, char out[2])
{
    out[0] = CHARGE_SHARED;
    out[1] = (char)('0' + hash / CHARGE_SHARDS % CHARGE_OVERFLOW_EACH);
    return slice_of(out, 2);
}

static struct charge_bucket *pin_text(struct charge_table *t, uint64_t limit, struct slice k, uint64_t now_us, uint64_t wall_ms)
{
    char shared[2];
    uint64_t hash = hash_of(limit, k);
    struct charge_bucket *b;

    /* What was saved of a shared bucket is loaded into one. */
    if (k.n == sizeof(shared) && k.p[0] == CHARGE_SHARED)
        return pin_overflow(t, limit, k, now_us, wall_ms);
    b = shard_pin(&t->shards[hash % CHARGE_SHARDS], hash, limit, k, now_us, wall_ms);
    if (b)
        return b;
    return pin_overflow(t, limit, shared_key(hash, shared), now_us, wall_ms);
}

struct charge_bucket *charge_pin(struct charge_table *t, uint64_t limit, struct slice key, uint64_t now_us, uint64_t wall_ms)
{
    char text[CHARGE_KEY];

    return pin_text(t, limit, slice_of(text, charge_key(key, text)), now_us, wall_ms);
}

struct charge_bucket *charge_find(struct charge_table *t, uint64_t limit, struct slice key, uint64_t now_us, uint64_t wall_ms)
{
    char text[CHARGE_KEY], shared[2];
    struct slice k = slice_of(text, charge_key(key, text));
    uint64_t hash = hash_of(limit, k);
    bool room;
    struct charge_bucket *b = shard_look(&t->shards[hash % CHARGE_SHARDS], hash, limit, k, now_us, wall_ms, &room);

    if (b || room)
        return b;
    k = shared_key(hash, shared);
    return shard_look(&t->shards[CHARGE_SHARDS], hash_of(limit, k), limit, k, now_us, wall_ms, &room);
}

struct charge_bucket *charge_pin_saved(struct charge_table *t, uint64_t limit, struct slice key, uint64_t wall_ms)
{
    CHECK(key.n <= CHARGE_KEY);
    return pin_text(t, limit, key, 0, wall_ms);
}

void charge_unpin(struct charge_bucket **bp)
{
    struct charge_bucket *b = *bp;

    *bp = NULL;
    /* What was written to it is there before it may be given to somebody else. */
    if (b)
        CHECK(atomic_fetch_sub_explicit(&b->pins, 1, memory_order_release) > 0);
}

/* ---- changes ---- */

void charge_table_on_change(struct charge_table *t, void (*fn)(void *owner), void *owner)
{
    pthread_mutex_lock(&t->change_lock);
    t->on_change = fn;
    t->owner = owner;
    pthread_mutex_unlock(&t->change_lock);
    charge_table_settled(t);
}

void charge_table_settled(struct charge_table *t)
{
    atomic_store(&t->changed, false);
}

void charge_table_changed(struct charge_table *t)
{
    if (LIKELY(atomic_load_explicit(&t->changed, memory_order_relaxed)) || atomic_exchange(&t->changed, true))
        return;
    pthread_mutex_lock(&t->change_lock);
    if (t->on_change)
        t->on_change(t->owner);
    pthread_mutex_unlock(&t->change_lock);
}

struct charge_table_counts charge_table_count(const struct charge_table *t)
{
    struct charge_table_counts c = {.overflowed = atomic_load_explicit(&t->overflowed, memory_order_relaxed)};

    for (unsigned i = 0; i < CHARGE_SHARDS; i++)
        c.buckets += atomic_load_explicit(&t->shards[i].n, memory_order_relaxed);
    c.overflow = atomic_load_explicit(&t->shards[CHARGE_SHARDS].n, memory_order_relaxed);
    return c;
}

void charge_table_each(struct charge_table *t, bool (*fn)(void *ctx, const struct charge_bucket *b), void *ctx)
{
    bool more = true;

    for (unsigned i = 0; i <= CHARGE_SHARDS && more; i++) {
        struct shard *s = &t->shards[i];

        pthread_mutex_lock(&s->lock);
        for (unsigned k = 0; k < atomic_load_explicit(&s->n, memory_order_relaxed) && more; k++)
            more = fn(ctx, place(s, k));
        pthread_mutex_unlock(&s->lock);
    }
}

struct charge_table *charge_table_new(void)
{
    struct charge_table *t = mem_zalloc(sizeof(*t));

    if (!t)
        return NULL;
    CHECK(pthread_mutex_init(&t->change_lock, NULL) == 0);
    for (unsigned i = 0; i <= CHARGE_SHARDS; i++) {
        t->shards[i].most = i < CHARGE_SHARDS ? SHARD_MAX : CHARGE_OVERFLOWS;
        CHECK(pthread_mutex_init(&t->shards[i].lock, NULL) == 0);
    }
    return t;
}

void charge_table_free(struct charge_table *t)
{
    bool counted;

    if (!t)
        return;
    for (unsigned i = 0; i <= CHARGE_SHARDS; i++) {
        struct shard *s = &t->shards[i];

        for (unsigned k = 0; k < s->n; k++)
            CHECK(place(s, k)->pins == 0);
        counted = mem_count(false);
        for (unsigned k = 0; k < CHUNKS; k++)
            mem_free(s->chunks[k]);
        mem_count(counted);
        pthread_mutex_destroy(&s->lock);
    }
    pthread_mutex_destroy(&t->change_lock);
    mem_free(t);
}
