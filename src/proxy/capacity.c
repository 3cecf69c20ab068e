/* SPDX-License-Identifier: MIT */
/* capacity: one atomic for all connections, and a table of addresses in shards, each with its lock: they are taken when a connection begins and
 * when it ends, never for a request. Called by workers for sessions. An entry lives while it has a connection, so the table is bounded by
 * their number, and nobody who has left leaves anything behind. Chains are found by SipHash: addresses cannot be chosen to collide.
 */
#include "proxy/capacity.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { CAPACITY_SHARDS = 64, CAPACITY_BUCKETS_FIRST = 16 };

struct capacity_client {
    struct capacity_client *next; /* in its chain */
    uint64_t hash, hi, lo;
    unsigned n; /* connections, never 0 */
};

struct shard {
    _Alignas(64) pthread_mutex_t lock; /* over all below */
    struct capacity_client **buckets;  /* NULL: none came yet */
    unsigned n_buckets, n_clients;
};

struct capacity {
    _Atomic unsigned connections;
    _Atomic uint64_t said_ms[CAPACITY_VERDICTS]; /* 0: never */
    struct shard shards[CAPACITY_SHARDS];
};

/* ---- the table ---- */

struct key {
    uint64_t hi, lo;
};

static uint64_t hash_of(const struct addr *a, struct key *ret_key)
{
    struct addr_key k = addr_key(a);

    /* IPv4 is its mapped form here, which nobody can have as IPv6. */
    *ret_key = (struct key){k.hi, k.lo};
    return hash_bytes(ret_key, sizeof(*ret_key));
}

static struct shard *shard_of(struct capacity *c, uint64_t hash)
{
    return &c->shards[hash % CAPACITY_SHARDS];
}

static struct capacity_client **chain_of(const struct shard *s, uint64_t hash)
{
    return &s->buckets[hash / CAPACITY_SHARDS % s->n_buckets];
}

static struct capacity_client *shard_find(const struct shard *s, uint64_t hash, const struct key *k)
{
    struct capacity_client *e = s->n_buckets ? *chain_of(s, hash) : NULL;

    while (e && !(e->hash == hash && e->hi == k->hi && e->lo == k->lo))
        e = e->next;
    return e;
}

static void shard_move(struct shard *s, struct capacity_client **old, unsigned n_old)
{
    for (unsigned i = 0; i < n_old; i++)
        for (struct capacity_client *e = old[i], *next; e; e = next) {
            struct capacity_client **chain = chain_of(s, e->hash);

            next = e->next;
            e->next = *chain;
            *chain = e;
        }
}

/* Without memory the chains become longer, which is no reason to refuse anybody; without any chain there is no place for one. */
static bool shard_grow(struct shard *s)
{
    struct capacity_client **old = s->buckets, **more;
    unsigned n_old = s->n_buckets, n = n_old ? n_old * 2 : CAPACITY_BUCKETS_FIRST;

    if (s->n_clients < n_old)
        return true;
    more = mem_array(n, sizeof(struct capacity_client *));
    if (!more)
        return n_old > 0;
    s->buckets = more;
    s->n_buckets = n;
    shard_move(s, old, n_old);
    mem_free(old);
    return true;
}

static struct capacity_client *shard_add(struct shard *s, uint64_t hash, const struct key *k)
{
    struct capacity_client *e = shard_grow(s) ? mem_alloc(sizeof(*e)) : NULL, **chain;

    if (!e)
        return NULL;
    chain = chain_of(s, hash);
    *e = (struct capacity_client){.next = *chain, .hash = hash, .hi = k->hi, .lo = k->lo, .n = 0};
    *chain = e;
    s->n_clients++;
    return e;
}

static void shard_remove(struct shard *s, struct capacity_client *e)
{
    struct capacity_client **at = chain_of(s, e->hash);

    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    s->n_clients--;
    mem_free(e);
    if (s->n_clients)
        return;
    /* A crowd that has gone leaves no table behind. */
    mem_free(s->buckets);
    s->buckets = NULL;
    s->n_buckets = 0;
}

/* ---- entering and leaving ---- */

static enum capacity_verdict enter_client(struct capacity *c, const struct proxy_conf *conf, const struct addr *client,
                                          struct capacity_client **ret_client)
{
    struct key k;
    uint64_t hash = hash_of(client, &k);
    struct shard *s = shard_of(c, hash);
    unsigned limit = conf->capacity.per_client;
    enum capacity_verdict v = CAPACITY_OK;
    struct capacity_client *e;

    pthread_mutex_lock(&s->lock);
    e = shard_find(s, hash, &k);
    if (!e)
        e = shard_add(s, hash, &k);
    if (!e)
        v = limit ? CAPACITY_MEMORY : CAPACITY_OK;
    else if (limit && e->n >= limit)
        v = CAPACITY_CLIENT;
    else
        e->n++;
    pthread_mutex_unlock(&s->lock);
    if (v == CAPACITY_OK)
        *ret_client = e;
    return v;
}

/* Never above the limit, however many come at once: none is refused because another one was, for a moment, counted in vain. */
static bool enter_total(struct capacity *c, unsigned limit)
{
    unsigned n = atomic_load_explicit(&c->connections, memory_order_relaxed);

    do {
        if (n >= limit)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&c->connections, &n, n + 1, memory_order_relaxed, memory_order_relaxed));
    return true;
}

enum capacity_verdict capacity_enter(struct capacity *c, const struct proxy_conf *conf, const struct addr *client,
                                     struct capacity_place *ret_place)
{
    struct capacity_client *e = NULL;
    enum capacity_verdict v = CAPACITY_OK;

    if (!enter_total(c, conf->capacity.connections))
        return CAPACITY_TOTAL;
    if (client->sa.sa_family == AF_INET || client->sa.sa_family == AF_INET6)
        v = enter_client(c, conf, client, &e);
    if (v == CAPACITY_OK)
        *ret_place = (struct capacity_place){.client = e, .counted = true};
    else
        atomic_fetch_sub_explicit(&c->connections, 1, memory_order_relaxed);
    return v;
}

static void leave_client(struct capacity *c, struct capacity_client *e)
{
    struct shard *s = shard_of(c, e->hash);

    pthread_mutex_lock(&s->lock);
    CHECK(e->n > 0);
    if (--e->n == 0)
        shard_remove(s, e);
    pthread_mutex_unlock(&s->lock);
}

void capacity_leave(struct capacity *c, struct capacity_place *place)
{
    struct capacity_place p = *place;

    *place = (struct capacity_place){0};
    if (!p.counted)
        return;
    if (p.client)
        leave_client(c, p.client);
    CHECK(atomic_fetch_sub_explicit(&c->connections, 1, memory_order_relaxed) > 0);
}

bool capacity_say(struct capacity *c, enum capacity_verdict limit, uint64_t now_ms)
{
    uint64_t said = atomic_load_explicit(&c->said_ms[limit], memory_order_relaxed);

    if (said && now_ms < said + CAPACITY_SAY_MS)
        return false;
    return atomic_compare_exchange_strong_explicit(&c->said_ms[limit], &said, now_ms ? now_ms : 1, memory_order_relaxed,
                                                   memory_order_relaxed);
}

/* ---- what is there ---- */

unsigned capacity_connections(const struct capacity *c)
{
    return atomic_load_explicit(&c->connections, memory_order_relaxed);
}

unsigned capacity_clients(struct capacity *c)
{
    unsigned n = 0;

    for (unsigned i = 0; i < CAPACITY_SHARDS; i++) {
        pthread_mutex_lock(&c->shards[i].lock);
        n += c->shards[i].n_clients;
        pthread_mutex_unlock(&c->shards[i].lock);
    }
    return n;
}

unsigned capacity_of(struct capacity *c, const struct addr *client)
{
    struct key k;
    uint64_t hash = hash_of(client, &k);
    struct shard *s = shard_of(c, hash);
    struct capacity_client *e;
    unsigned n;

    pthread_mutex_lock(&s->lock);
    e = shard_find(s, hash, &k);
    n = e ? e->n : 0;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* ---- life ---- */

struct capacity *capacity_new(void)
{
    struct capacity *c = mem_zalloc(sizeof(*c));

    if (!c)
        return NULL;
    for (unsigned i = 0; i < CAPACITY_SHARDS; i++)
        CHECK(pthread_mutex_init(&c->shards[i].lock, NULL) == 0);
    return c;
}

void capacity_free(struct capacity *c)
{
    if (!c)
        return;
    CHECK(capacity_connections(c) == 0 && capacity_clients(c) == 0);
    for (unsigned i = 0; i < CAPACITY_SHARDS; i++) {
        /* There are chains still where memory for the first entry was refused. */
        mem_free(c->shards[i].buckets);
        pthread_mutex_destroy(&c->shards[i].lock);
    }
    mem_free(c);
}
