/* SPDX-License-Identifier: MIT */
/* upstream: idle connections, newest first in their hash chain and oldest first in one list, so that one timer watches them all. Each
 * entry's task is woken when anything happens on its connection, and that is always its end.
 */
#include "proxy/upstream.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "mux/mux.h"

#include <string.h>

enum { UPSTREAM_BUCKETS = 512 };

struct entry {
    struct list chain, age;
    struct task task;
    struct grave grave;
    struct upstream *owner;
    struct mux *mux;
    struct addr addr, from;
    struct dial_way way;
    uint64_t since_ms, until_ms;
    uint64_t hash;
    uint16_t port;
    uint8_t n_host;
    char host[];
};

struct upstream {
    struct loop *loop;
    struct list buckets[UPSTREAM_BUCKETS];
    struct list age; /* oldest first */
    struct task task;
    struct timer timer;
    unsigned n;
};

static uint64_t key_hash(struct slice host, uint16_t port)
{
    return hash_bytes(host.p, host.n) * 31 + port;
}

static struct list *bucket_of(struct upstream *u, uint64_t hash)
{
    return &u->buckets[hash % UPSTREAM_BUCKETS];
}

static void entry_free(struct grave *g)
{
    mem_free(CONTAINER_OF(g, struct entry, grave));
}

/* Takes the entry out; its mux is the caller's. */
static struct mux *entry_remove(struct entry *e)
{
    struct mux *m = e->mux;

    list_del(&e->chain);
    list_del(&e->age);
    e->owner->n--;
    task_cancel(&e->task);
    m->task = NULL;
    if (m->conn)
        m->conn->task = NULL;
    e->grave.free = entry_free;
    loop_bury(e->owner->loop, &e->grave);
    return m;
}

static void entry_close(struct entry *e)
{
    struct mux *m = entry_remove(e);

    mux_close(&m, false);
}

/* Bytes nobody asked for, or the origin's end. A wake-up for room is neither. */
static void entry_run(struct task *t, unsigned bits)
{
    struct entry *e = CONTAINER_OF(t, struct entry, task);

    UNUSED(bits);
    if (!mux_reusable(e->mux))
        entry_close(e);
}

static void upstream_sweep(struct task *t, unsigned bits)
{
    struct upstream *u = CONTAINER_OF(t, struct upstream, task);
    uint64_t next = UINT64_MAX;

    UNUSED(bits);
    LIST_EACH(it, &u->age)
    {
        struct entry *e = LIST_ENTRY(it, struct entry, age);

        if (e->until_ms <= u->loop->now_ms)
            entry_close(e);
        else if (e->until_ms < next)
            next = e->until_ms;
    }
    if (next != UINT64_MAX)
        timer_set_at(&u->timer, next);
}

struct upstream *upstream_new(struct loop *loop)
{
    struct upstream *u = mem_zalloc(sizeof(*u));

    if (!u)
        return NULL;
    u->loop = loop;
    for (unsigned i = 0; i < UPSTREAM_BUCKETS; i++)
        list_init(&u->buckets[i]);
    list_init(&u->age);
    task_init(&u->task, loop, "upstream", upstream_sweep);
    timer_init(&u->timer, &u->task);
    return u;
}

unsigned upstream_count(const struct upstream *u)
{
    return u->n;
}

void upstream_close_idle(struct upstream *u)
{
    LIST_EACH(it, &u->age)
    entry_close(LIST_ENTRY(it, struct entry, age));
}

void upstream_free(struct upstream *u)
{
    if (!u)
        return;
    upstream_close_idle(u);
    timer_stop(&u->timer);
    task_cancel(&u->task);
    mem_free(u);
}

static bool entry_is(const struct entry *e, struct slice host, uint16_t port)
{
    return e->port == port && slice_eq(slice_of(e->host, e->n_host), host);
}

static bool addr_among(const struct addr *a, const struct addr *addrs, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (addr_eq(a, &addrs[i]))
            return true;
    return false;
}

struct mux *upstream_take(struct upstream *u, const struct upstream_want *w, struct upstream_end *ret_end)
{
    uint64_t hash = key_hash(w->host, w->port), now = u->loop->now_ms;

    LIST_EACH(it, bucket_of(u, hash))
    {
        struct entry *e = LIST_ENTRY(it, struct entry, chain);
        struct mux *m;

        if (e->hash != hash || !entry_is(e, w->host, w->port) || !addr_among(&e->addr, w->addrs, w->n_addrs))
            continue;
        if (!source_allowed(&w->sources, &e->from) || !dial_way_is(&w->sources.way, &e->way))
            continue;
        if (now >= e->until_ms || now - e->since_ms > w->max_idle_ms)
            continue;
        *ret_end = (struct upstream_end){w->host, w->port, e->addr, e->from, e->way};
        m = entry_remove(e);
        if (mux_reusable(m))
            return m;
        mux_close(&m, false);
    }
    return NULL;
}

/* Room in the pool and under the key; the oldest of all makes way. */
static bool make_room(struct upstream *u, uint64_t hash, struct slice host, uint16_t port)
{
    unsigned n = 0;

    LIST_EACH(it, bucket_of(u, hash))
    n += entry_is(LIST_ENTRY(it, struct entry, chain), host, port);
    if (n >= UPSTREAM_PER_KEY)
        return false;
    if (u->n >= UPSTREAM_MAX)
        entry_close(LIST_ENTRY(u->age.next, struct entry, age));
    return true;
}

static uint64_t idle_limit(const struct mux *m)
{
    uint64_t ms = UPSTREAM_IDLE_MS;

    /* The origin's own hint, less a second for the way (DESIGN 6). */
    if (m->keep_alive_s && (uint64_t)m->keep_alive_s * 1000 < ms + 1000)
        ms = m->keep_alive_s > 1 ? (uint64_t)(m->keep_alive_s - 1) * 1000 : 0;
    return ms;
}

void upstream_give(struct upstream *u, struct mux **mux, const struct upstream_end *end)
{
    struct slice host = end->host;
    uint16_t port = end->port;
    uint64_t hash = key_hash(host, port), limit = idle_limit(*mux);
    struct entry *e;

    if (!mux_reusable(*mux) || !limit || host.n > UINT8_MAX || !make_room(u, hash, host, port)) {
        mux_close(mux, false);
        return;
    }
    e = mem_alloc(sizeof(*e) + host.n);
    if (!e) {
        mux_close(mux, false);
        return;
    }
    *e = (struct entry){.owner = u, .mux = *mux, .addr = end->addr, .from = end->from, .way = end->way, .hash = hash, .port = port, .n_host = (uint8_t)host.n};
    memcpy(e->host, host.p, host.n);
    e->since_ms = u->loop->now_ms;
    e->until_ms = e->since_ms + limit;
    task_init(&e->task, u->loop, "kept upstream", entry_run);
    e->mux->task = &e->task;
    e->mux->conn->task = &e->task;
    list_push_front(bucket_of(u, hash), &e->chain);
    list_push(&u->age, &e->age);
    u->n++;
    if (!timer_armed(&u->timer) || e->until_ms < u->timer.node.due)
        timer_set_at(&u->timer, e->until_ms);
    *mux = NULL;
}
