/* SPDX-License-Identifier: MIT */
/* shape: lanes, gates and the tick. Called by an exchange's charge, and by the worker's timer while somebody waits. It makes no system call, and a worker
 * in which nobody waits is not woken.
 */
#include "proxy/shape.h"

#include "base/check.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#include <string.h>

/* ---- lanes ---- */

static size_t chain_index(const struct shape *s, const struct charge_bucket *b, enum charge_flow flow, uint64_t rate)
{
    const uint64_t key[] = {(uintptr_t)b, flow, rate};

    return hash_bytes(key, sizeof(key)) & (s->n_chains - 1);
}

/* Refused, the chains become longer. */
static void lanes_grow(struct shape *s)
{
    unsigned n_old = s->n_chains;
    struct shape_lane **old = s->chains, **more = mem_array(n_old * 4, sizeof(struct shape_lane *));

    if (!more)
        return;
    s->chains = more;
    s->n_chains = n_old * 4;
    for (unsigned i = 0; i < n_old; i++)
        for (struct shape_lane *l = old[i], *next; l; l = next) {
            struct shape_lane **chain = &more[chain_index(s, l->bucket, l->flow, l->rate)];

            next = l->next;
            l->next = *chain;
            *chain = l;
        }
    if (old != s->first_chains)
        mem_free(old);
}

static bool is_lane(const struct shape_lane *l, const struct charge_bucket *b, enum charge_flow flow, uint64_t rate)
{
    return l->bucket == b && l->flow == flow && l->rate == rate;
}

/* Of one bucket there are two for a while when a reload has changed the rate. */
static struct shape_lane *lane_get(struct shape *s, struct charge_bucket *b, enum charge_flow flow, uint64_t rate)
{
    struct shape_lane **chain, *l = s->recent;

    if (l && is_lane(l, b, flow, rate)) {
        l->users++;
        return l;
    }
    chain = &s->chains[chain_index(s, b, flow, rate)];
    l = *chain;
    while (l && !is_lane(l, b, flow, rate))
        l = l->next;
    if (l) {
        s->recent = l;
        l->users++;
        return l;
    }
    l = mem_zalloc(sizeof(*l));
    if (!l)
        return NULL;
    *l = (struct shape_lane){.next = *chain, .bucket = b, .flow = flow, .rate = rate, .users = 1};
    list_init(&l->link);
    list_init(&l->gates);
    *chain = l;
    s->recent = l;
    if (++s->n_lanes > s->n_chains * 2)
        lanes_grow(s);
    return l;
}

static void lane_give_back(struct shape_lane *l, uint64_t n)
{
    charge_return(l->bucket, l->flow, l->rate, n);
}

static void lane_put(struct shape *s, struct shape_lane *l)
{
    struct shape_lane **at;

    if (--l->users)
        return;
    CHECK(list_empty(&l->gates));
    at = &s->chains[chain_index(s, l->bucket, l->flow, l->rate)];
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    s->n_lanes--;
    if (s->recent == l)
        s->recent = NULL;
    list_del(&l->link);
    mem_free(l);
}

static uint32_t waiting(const struct shape_lane *l)
{
    return atomic_load_explicit(&l->bucket->waiting[l->flow], memory_order_relaxed);
}

/* ---- waiting ---- */

static bool counts(const struct shape_gate *g, const struct shape_lane *l)
{
    return l->flow != FLOW_SLOW || g->slow;
}

static void line_up(struct shape_gate *g, struct shape_lane *l)
{
    struct list *behind = l->gates.prev;

    if (g->ways[g->at].had < l->had)
        g->ways[g->at].had = l->had;
    for (unsigned i = 0; i < SHAPE_SORT && behind != &l->gates; i++, behind = behind->prev) {
        const struct shape_gate *other = LIST_ENTRY(behind, struct shape_gate, link);

        if (other->ways[other->at].had <= g->ways[g->at].had)
            break;
    }
    /* Before the one behind it. */
    list_push(behind->next, &g->link);
}

static void gate_wait(struct shape *s, struct shape_gate *g, struct shape_lane *l)
{
    g->waits = true;
    g->since_us = s->loop->now_us;
    line_up(g, l);
    atomic_fetch_add_explicit(&l->bucket->waiting[l->flow], 1, memory_order_relaxed);
    if (l->n_waiting++ == 0) {
        list_push(&s->busy, &l->link);
        /* Its share begins now. */
        l->leased_us = s->loop->now_us;
    }
    if (!timer_armed(&s->timer))
        timer_set(&s->timer, SHAPE_QUANTUM_MS);
}

/* The last one takes the lane out of the round, with what is left of its lease. */
static void gate_leave(struct shape *s, struct shape_gate *g, struct shape_lane *l)
{
    g->waits = false;
    list_del(&g->link);
    if (s->loop->now_us > g->since_us)
        stats_add(s->stats, COUNTER_LIMIT_WAIT_US, s->loop->now_us - g->since_us);
    atomic_fetch_sub_explicit(&l->bucket->waiting[l->flow], 1, memory_order_relaxed);
    if (--l->n_waiting)
        return;
    list_del(&l->link);
    lane_give_back(l, l->credit);
    l->credit = 0;
}

/* Of all that has come in since it leased last, and of what has been there for longer than a quantum: because somebody gave it back, or did not come for it. */
static uint64_t lane_share(const struct shape_lane *l, uint64_t all, uint64_t now_us)
{
    uint64_t since_us = now_us > l->leased_us ? now_us - l->leased_us : 0, there = charge_there(l->bucket, l->flow, l->rate, now_us);
    double fresh = (double)l->rate * (double)(since_us < CHARGE_DEPTH_MS * 1000 ? since_us : CHARGE_DEPTH_MS * 1000) / 1e6,
           saved = (double)there - (double)l->rate * SHAPE_QUANTUM_MS / 1e3;

    return (uint64_t)((fresh + (saved > 0 ? saved : 0)) * l->n_waiting / (double)all);
}

/* All that is there, where only this worker's wait. */
static void lane_lease(struct shape_lane *l, uint64_t now_us)
{
    uint64_t most = UINT64_MAX, all = waiting(l);

    if (all > l->n_waiting)
        most = lane_share(l, all, now_us);
    if (most == 0)
        return; /* what comes in so slowly adds up to a byte some time */
    l->leased_us = now_us;
    l->credit += charge_lease(l->bucket, l->flow, l->rate, now_us, 1, most);
}

/* A chunk of this lane. Where many wait it is less, so that everybody's turn comes within half a second. */
static uint64_t lane_turn(const struct shape_lane *l)
{
    uint64_t chunk = charge_chunk(l->rate), turn = l->rate / 2 / (waiting(l) + 1);

    if (turn < SHAPE_LEAST)
        turn = SHAPE_LEAST;
    return turn < chunk ? turn : chunk;
}

/* The slowest of a gate's lanes gives no more than a sixteenth of a second's worth at a time: what one lane has granted the others must be able to. */
static uint64_t grant_most(const struct shape_gate *g)
{
    for (unsigned i = 0; i < g->n; i++)
        if (counts(g, g->ways[i].lane))
            return g->ways[i].lane->rate / 16;
    return 0;
}

/* A chunk to each in turn; where there is more for everybody, an even part. */
static void lane_grant(struct shape *s, struct shape_lane *l)
{
    /* Each round takes a gate out. */
    while (l->n_waiting) {
        struct shape_gate *g = LIST_ENTRY(l->gates.next, struct shape_gate, link);
        uint64_t even = l->credit / l->n_waiting, most = grant_most(g), turn = lane_turn(l);

        /* More have come since it asked. */
        if (g->first && g->asked > turn)
            g->asked = turn;
        if (l->credit < g->asked)
            return;
        even = even < most ? even : most;
        if (g->first && even > g->asked)
            g->asked = even;
        l->credit -= g->asked;
        if (l->had < g->ways[g->at].had)
            l->had = g->ways[g->at].had;
        g->ways[g->at].had += g->asked;
        g->at++;
        g->first = false;
        gate_leave(s, g, l);
        task_wake(g->task, TASK_RX);
    }
}

static void shape_tick(struct task *t, unsigned bits)
{
    struct shape *s = CONTAINER_OF(t, struct shape, task);

    UNUSED(bits);
    LIST_EACH(it, &s->busy)
    {
        struct shape_lane *l = LIST_ENTRY(it, struct shape_lane, link);

        lane_lease(l, s->loop->now_us);
        lane_grant(s, l);
    }
    if (!list_empty(&s->busy))
        timer_set(&s->timer, SHAPE_QUANTUM_MS);
}

/* ---- gates ---- */

/* The same from every lane: what the slowest gives. 0: none counts. */
static uint64_t chunk_of(const struct shape_gate *g)
{
    uint64_t chunk = 0;

    for (unsigned i = 0; i < g->n; i++) {
        const struct shape_lane *l = g->ways[i].lane;
        uint64_t most;

        if (!counts(g, l))
            continue;
        most = lane_turn(l);
        chunk = chunk && chunk < most ? chunk : most;
    }
    return chunk;
}

/* What comes in in a quantum: so much a gate may take in one without its turn. */
static uint64_t quantum_of(const struct shape_lane *l)
{
    uint64_t n = l->rate / (1000 / SHAPE_QUANTUM_MS);

    return n < SHAPE_LEAST ? SHAPE_LEAST : n;
}

/* At a time no more of it than a pipe takes, nor than the other lanes can give. */
static uint64_t quick(const struct shape_gate *g, const struct shape_lane *l)
{
    uint64_t n = quantum_of(l), most = grant_most(g);

    if (n <= SHAPE_LEAST)
        return n < g->asked ? n : g->asked;
    n = n < SHAPE_QUICK ? n : SHAPE_QUICK;
    most = most > g->asked ? most : g->asked;
    return n < most ? n : most;
}

/* Small messages need not wait for the tick, and bulk begins at once; beyond the rate it takes its turn, or who comes first would get all that was saved. */
static bool may_take(const struct shape *s, struct shape_gate *g, const struct shape_lane *l)
{
    uint64_t now_us = s->loop->now_us;

    if (waiting(l))
        return false;
    if (now_us - g->window_us >= SHAPE_QUANTUM_MS * 1000) {
        g->window_us = now_us;
        g->window_used = 0;
    }
    return !g->first || g->window_used < quantum_of(l);
}

/* From a bucket that nobody waits for. The first lane may give less than a chunk, but not so little that reading it is not worth a call; the others give as
 * much as that one. */
static bool take(struct shape *s, struct shape_gate *g, struct shape_lane *l)
{
    uint64_t most = g->first ? quick(g, l) : g->asked, n = 0;

    if (may_take(s, g, l))
        n = charge_lease(l->bucket, l->flow, l->rate, s->loop->now_us, g->first ? (most + 3) / 4 : most, most);
    if (n == 0)
        return false;
    g->asked = n;
    g->ways[g->at].had = (g->ways[g->at].had > l->had ? g->ways[g->at].had : l->had) + n;
    return true;
}

uint64_t shape_ask(struct shape *s, struct shape_gate *g)
{
    if (g->waits)
        return 0;
    /* A rest is used with the next chunk, or it would cost a call for a few bytes. */
    if (g->asked == 0) {
        g->asked = chunk_of(g);
        if (g->asked == 0)
            return UINT64_MAX;
        g->first = true;
        if (g->have >= (g->asked + 3) / 4) {
            g->asked = 0;
            return g->have;
        }
        g->at = 0;
    }
    for (; g->at < g->n; g->at++) {
        struct shape_lane *l = g->ways[g->at].lane;

        if (!counts(g, l))
            continue;
        if (!take(s, g, l)) {
            /* Rather than wait with a rest in hand. */
            if (g->first && g->have >= SHAPE_LEAST) {
                g->asked = 0;
                return g->have;
            }
            gate_wait(s, g, l);
            return 0;
        }
        g->first = false;
    }
    g->have += g->asked;
    g->asked = 0;
    return g->have;
}

/* What was got for it of the lanes before `at`, and what it has. */
static void gate_give_back(struct shape_gate *g)
{
    for (unsigned i = 0; i < g->n; i++) {
        uint64_t n = g->have + (i < g->at ? g->asked : 0);

        if (!counts(g, g->ways[i].lane))
            continue;
        lane_give_back(g->ways[i].lane, n);
        g->ways[i].had -= n < g->ways[i].had ? n : g->ways[i].had;
    }
    g->have = 0;
    g->asked = 0;
    g->at = 0;
}

void shape_quiet(struct shape *s, struct shape_gate *g)
{
    UNUSED(s);
    if (!g->waits && (g->have || g->asked))
        gate_give_back(g);
}

void shape_gate_init(struct shape_gate *g, struct task *task)
{
    g->task = task;
    g->have = g->asked = g->since_us = g->window_us = g->window_used = 0;
    g->n = g->at = 0;
    g->ways = g->first_ways;
    g->cap = SHAPE_WAYS;
    g->waits = g->first = g->slow = false;
    list_init(&g->link);
}

static bool gate_grow(struct shape_gate *g)
{
    bool first = g->ways == g->first_ways;
    struct shape_way *v = mem_grow(first ? NULL : g->ways, 2 * (size_t)g->cap * sizeof(*v));

    if (!v)
        return false;
    if (first)
        memcpy(v, g->first_ways, sizeof(g->first_ways));
    g->ways = v;
    g->cap *= 2;
    return true;
}

int shape_gate_add(struct shape *s, struct shape_gate *g, struct charge_bucket *b, enum charge_flow flow, uint64_t rate)
{
    struct shape_lane *l;
    unsigned i = g->n;

    CHECK(!g->waits);
    if (i == SHAPE_WAYS_MAX)
        return ERR_LIMIT;
    if (i == g->cap && !gate_grow(g))
        return ERR_NOMEM;
    l = lane_get(s, b, flow, rate);
    if (!l)
        return ERR_NOMEM;
    gate_give_back(g);
    for (; i > 0 && g->ways[i - 1].lane->rate > rate; i--)
        g->ways[i] = g->ways[i - 1];
    g->ways[i] = (struct shape_way){.lane = l};
    g->n++;
    return 0;
}

void shape_gate_rest(struct shape *s, struct shape_gate *g)
{
    if (g->waits)
        gate_leave(s, g, g->ways[g->at].lane);
    if (g->have || g->asked)
        gate_give_back(g);
    for (unsigned i = 0; i < g->n; i++)
        g->ways[i].had = 0;
    g->task = NULL;
    g->since_us = g->window_us = g->window_used = 0;
    g->at = 0;
    g->first = g->slow = false;
}

void shape_gate_done(struct shape *s, struct shape_gate *g)
{
    if (g->waits)
        gate_leave(s, g, g->ways[g->at].lane);
    gate_give_back(g);
    for (; g->n; g->n--)
        lane_put(s, g->ways[g->n - 1].lane);
    if (g->ways != g->first_ways)
        mem_free(g->ways);
    g->ways = g->first_ways;
    g->cap = SHAPE_WAYS;
}

/* ---- life ---- */

void shape_init(struct shape *s, struct loop *loop, struct stats *stats)
{
    *s = (struct shape){.loop = loop, .stats = stats, .chains = s->first_chains, .n_chains = SHAPE_CHAINS};
    task_init(&s->task, loop, "shape", shape_tick);
    timer_init(&s->timer, &s->task);
    list_init(&s->busy);
}

void shape_done(struct shape *s)
{
    CHECK(s->n_lanes == 0 && list_empty(&s->busy));
    timer_stop(&s->timer);
    task_cancel(&s->task);
    if (s->chains != s->first_chains)
        mem_free(s->chains);
}
