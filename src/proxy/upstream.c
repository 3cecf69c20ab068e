/* SPDX-License-Identifier: MIT */
/* upstream: connections, newest first in their hash chain and oldest first in one list, so that one timer watches them all. Each
 * entry's task is woken when anything happens on its connection: of an idle one that is always its end, of a shared one whatever changes what its mux says.
 */
#include "proxy/upstream.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "mux/mux.h"

#include <string.h>

/* ALONE: peers of which it is known that their connections are not shared. */
enum { UPSTREAM_BUCKETS = 512, UPSTREAM_ALONE_SLOTS = 256 };

struct entry {
    struct list chain, age;
    struct task task;
    struct grave grave;
    struct upstream *owner;
    struct mux *mux;
    struct addr addr, peer, from;
    struct dial_way way;
    uint64_t since_ms, until_ms; /* a shared one with streams: never */
    uint64_t hash;
    uint16_t port, n_id;
    uint8_t n_host;
    char host[]; /* and the id behind it */
};

struct upstream {
    struct loop *loop;
    struct list buckets[UPSTREAM_BUCKETS];
    struct list age; /* oldest first */
    struct task task;
    struct timer timer;
    struct list turns;
    uint64_t alone[UPSTREAM_ALONE_SLOTS];
    unsigned n;
};

static uint64_t key_hash(struct slice host, uint16_t port, struct slice id)
{
    uint64_t h = hash_bytes(host.p, host.n) * 31 + port;

    return id.n ? h ^ hash_bytes(id.p, id.n) : h;
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

static void watch(struct upstream *u, const struct entry *e)
{
    if (e->until_ms != UINT64_MAX && (!timer_armed(&u->timer) || e->until_ms < u->timer.node.due))
        timer_set_at(&u->timer, e->until_ms);
}

static void shared_run(struct entry *e)
{
    struct upstream *u = e->owner;
    enum mux_state state = mux_serve(e->mux);

    if (state == MUX_CLOSED || (state == MUX_IDLE && !mux_reusable(e->mux))) {
        entry_close(e);
        return;
    }
    if (state == MUX_BUSY) {
        e->until_ms = UINT64_MAX;
    } else if (e->until_ms == UINT64_MAX) {
        e->until_ms = u->loop->now_ms + UPSTREAM_IDLE_MS;
        watch(u, e);
    }
}

/* Bytes nobody asked for, or the origin's end. A wake-up for room is neither. */
static void entry_run(struct task *t, unsigned bits)
{
    struct entry *e = CONTAINER_OF(t, struct entry, task);

    UNUSED(bits);
    if (e->mux->ops->shared)
        shared_run(e);
    else if (!mux_reusable(e->mux))
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
    list_init(&u->turns);
    task_init(&u->task, loop, "upstream", upstream_sweep);
    timer_init(&u->timer, &u->task);
    return u;
}

unsigned upstream_count(const struct upstream *u)
{
    return u->n;
}

static bool entry_busy(const struct entry *e)
{
    return e->until_ms == UINT64_MAX;
}

void upstream_close_idle(struct upstream *u)
{
    LIST_EACH(it, &u->age)
    {
        struct entry *e = LIST_ENTRY(it, struct entry, age);

        if (!entry_busy(e))
            entry_close(e);
    }
}

void upstream_free(struct upstream *u)
{
    if (!u)
        return;
    CHECK(list_empty(&u->turns));
    LIST_EACH(it, &u->age)
    entry_close(LIST_ENTRY(it, struct entry, age));
    timer_stop(&u->timer);
    task_cancel(&u->task);
    mem_free(u);
}

static bool entry_is(const struct entry *e, struct slice host, uint16_t port, struct slice id)
{
    return e->port == port && slice_eq(slice_of(e->host, e->n_host), host) && slice_eq(slice_of(e->host + e->n_host, e->n_id), id);
}

static bool addr_among(const struct addr *a, const struct addr *addrs, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (addr_eq(a, &addrs[i]))
            return true;
    return false;
}

static bool entry_fits(const struct entry *e, const struct upstream_want *w)
{
    bool addr = w->n_addrs ? addr_among(&e->addr, w->addrs, w->n_addrs) : e->addr.sa.sa_family == AF_UNSPEC;

    return addr && entry_is(e, w->host, w->port, w->id) && source_allowed(&w->sources, &e->from) && dial_way_is(&w->sources.way, &e->way);
}

static struct upstream_end end_of(const struct entry *e, const struct upstream_want *w)
{
    return (struct upstream_end){.host = w->host, .port = w->port, .id = w->id, .addr = e->addr, .peer = e->peer, .from = e->from, .way = e->way};
}

struct mux *upstream_take(struct upstream *u, const struct upstream_want *w, struct upstream_end *ret_end)
{
    uint64_t hash = key_hash(w->host, w->port, w->id), now = u->loop->now_ms;

    LIST_EACH(it, bucket_of(u, hash))
    {
        struct entry *e = LIST_ENTRY(it, struct entry, chain);
        struct mux *m;

        if (e->hash != hash || e->mux->ops->shared || !entry_fits(e, w))
            continue;
        if (now >= e->until_ms || now - e->since_ms > w->max_idle_ms)
            continue;
        *ret_end = end_of(e, w);
        m = entry_remove(e);
        if (mux_reusable(m))
            return m;
        mux_close(&m, false);
    }
    return NULL;
}

struct stream *upstream_open(struct upstream *u, const struct upstream_want *w, struct task *task, struct upstream_end *ret_end)
{
    uint64_t hash = key_hash(w->host, w->port, w->id);

    LIST_EACH(it, bucket_of(u, hash))
    {
        struct entry *e = LIST_ENTRY(it, struct entry, chain);
        struct stream *s;

        if (e->hash != hash || !e->mux->ops->shared || !entry_fits(e, w) || !mux_room(e->mux))
            continue;
        s = mux_open(e->mux, task);
        if (!s)
            continue;
        e->until_ms = UINT64_MAX;
        *ret_end = end_of(e, w);
        return s;
    }
    return NULL;
}

/* Room in the pool and under the key; the oldest of those without streams makes way. */
static bool make_room(struct upstream *u, uint64_t hash, const struct upstream_end *end)
{
    unsigned n = 0;

    LIST_EACH(it, bucket_of(u, hash))
    n += entry_is(LIST_ENTRY(it, struct entry, chain), end->host, end->port, end->id);
    if (n >= UPSTREAM_PER_KEY)
        return false;
    if (u->n < UPSTREAM_MAX)
        return true;
    LIST_EACH(it, &u->age)
    {
        struct entry *e = LIST_ENTRY(it, struct entry, age);

        if (entry_busy(e))
            continue;
        entry_close(e);
        return true;
    }
    return false;
}

static uint64_t idle_limit(const struct mux *m)
{
    uint64_t ms = UPSTREAM_IDLE_MS;

    /* The origin's own hint, less a second for the way (DESIGN 6). */
    if (m->keep_alive_s && (uint64_t)m->keep_alive_s * 1000 < ms + 1000)
        ms = m->keep_alive_s > 1 ? (uint64_t)(m->keep_alive_s - 1) * 1000 : 0;
    return ms;
}

/* NULL: no room, or no memory. */
static struct entry *entry_new(struct upstream *u, const struct upstream_end *end)
{
    uint64_t hash = key_hash(end->host, end->port, end->id);
    struct entry *e;

    if (end->host.n > UINT8_MAX || end->id.n > UPSTREAM_ID_MAX || !make_room(u, hash, end))
        return NULL;
    e = mem_alloc(sizeof(*e) + end->host.n + end->id.n);
    if (!e)
        return NULL;
    *e = (struct entry){.owner = u,
                        .addr = end->addr,
                        .peer = end->peer,
                        .from = end->from,
                        .way = end->way,
                        .hash = hash,
                        .port = end->port,
                        .n_id = (uint16_t)end->id.n,
                        .n_host = (uint8_t)end->host.n,
                        .since_ms = u->loop->now_ms};
    memcpy(e->host, end->host.p, end->host.n);
    if (end->id.n)
        memcpy(e->host + end->host.n, end->id.p, end->id.n);
    task_init(&e->task, u->loop, "kept upstream", entry_run);
    return e;
}

static void entry_add(struct entry *e, struct mux **mux)
{
    struct upstream *u = e->owner;

    e->mux = *mux;
    e->mux->task = &e->task;
    list_push_front(bucket_of(u, e->hash), &e->chain);
    list_push(&u->age, &e->age);
    u->n++;
    watch(u, e);
    *mux = NULL;
}

void upstream_give(struct upstream *u, struct mux **mux, const struct upstream_end *end)
{
    uint64_t limit = idle_limit(*mux);
    struct entry *e = (*mux)->ops->shared || !mux_reusable(*mux) || !limit ? NULL : entry_new(u, end);

    if (!e) {
        mux_close(mux, false);
        return;
    }
    e->until_ms = e->since_ms + limit;
    (*mux)->conn->task = &e->task;
    entry_add(e, mux);
}

int upstream_share(struct upstream *u, struct mux **mux, const struct upstream_end *end)
{
    struct entry *e = entry_new(u, end);

    if (!e)
        return ERR_LIMIT;
    e->until_ms = UINT64_MAX;
    entry_add(e, mux);
    return 0;
}

/* ---- turns ---- */

static uint64_t turn_key(const struct upstream_want *w)
{
    uint64_t h = key_hash(w->host, w->port, w->id);

    /* Which address and which source it will be is not known yet; who needs others than those finds none in the pool, and dials. */
    return h ? h : 1;
}

enum upstream_turn_state upstream_turn_ask(struct upstream *u, struct upstream_turn *t, const struct upstream_want *w, struct task *task)
{
    uint64_t key = turn_key(w);

    if (t->state == TURN_OURS)
        return TURN_OURS;
    upstream_turn_end(u, t, UPSTREAM_GIVEN_UP);
    t->key = key;
    t->task = task;
    if (u->alone[key % UPSTREAM_ALONE_SLOTS] == key)
        return TURN_NONE;
    LIST_EACH(it, &u->turns)
    {
        struct upstream_turn *other = LIST_ENTRY(it, struct upstream_turn, link);

        if (other->key != key)
            continue;
        list_push(&other->waiters, &t->link);
        return t->state = TURN_WAITS;
    }
    list_init(&t->waiters);
    list_push(&u->turns, &t->link);
    return t->state = TURN_OURS;
}

void upstream_turn_end(struct upstream *u, struct upstream_turn *t, enum upstream_news news)
{
    uint64_t *slot = &u->alone[t->key % UPSTREAM_ALONE_SLOTS];

    if (t->state == TURN_OURS && news == UPSTREAM_ALONE)
        *slot = t->key;
    else if (news == UPSTREAM_SHARED && *slot == t->key)
        *slot = 0; /* it speaks the other kind now: others wait for it again */
    if (t->state == TURN_OURS)
        LIST_EACH(it, &t->waiters)
        {
            struct upstream_turn *w = LIST_ENTRY(it, struct upstream_turn, link);

            list_del(&w->link);
            w->state = TURN_TOLD;
            w->news = news;
            task_wake(w->task, TASK_HELPER);
        }
    if (t->state == TURN_OURS || t->state == TURN_WAITS)
        list_del(&t->link);
    t->state = TURN_NONE;
}
