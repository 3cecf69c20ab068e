/* SPDX-License-Identifier: MIT */
/* shape: bandwidth. It only ever delays reads: who may read no more waits, the sender's window fills, nothing is dropped.
 * A lane is a worker's side of one flow of a bucket: those of its exchanges that wait for it, in turn. While somebody waits, one timer a worker ticks every
 * SHAPE_QUANTUM_MS; then each lane leases from its bucket, of what comes in as much as its share of all who wait, and grants it chunk by chunk.
 * Turns are of bytes, not of times (start-time fair queueing): whoever could not use all of a chunk, or came when there was much, loses or gains nothing by it.
 * Where nobody waits a gate takes its chunk itself, and what it has not used goes back when it has nothing to read: quiet connections hold nothing.
 * Owner: the worker has the shape, gates have lanes. Thread: the worker's. */
#ifndef PROXY_SHAPE_H
#define PROXY_SHAPE_H

#include "io/loop.h"
#include "proxy/charge_bucket.h"
#include "proxy/stats.h"

/* LEAST: the smallest chunk that many who wait lead to. SORT: so many places are looked at for whose turn it is before another's. */
enum { SHAPE_LEAST = 4096, SHAPE_QUICK = 256 << 10, SHAPE_QUANTUM_MS = 10, SHAPE_WAYS = 4, SHAPE_WAYS_MAX = 1024, SHAPE_CHAINS = 64, SHAPE_SORT = 64 };

struct shape_lane {
    struct shape_lane *next; /* in its chain */
    struct list link;        /* among those in which somebody waits */
    struct list gates;       /* that wait: whoever has had least comes first, then who came first */
    uint64_t had;            /* what whoever was served last had had */
    struct charge_bucket *bucket; /* pinned by the gates' owners */
    enum charge_flow flow;
    uint64_t rate;
    uint64_t leased_us; /* when it leased last */
    uint64_t credit;    /* leased, and not yet a whole chunk */
    unsigned n_waiting, users;
};

struct shape {
    struct loop *loop;
    struct task task;
    struct timer timer;
    struct list busy; /* lanes in which somebody waits */
    struct shape_lane **chains;
    struct shape_lane *first_chains[SHAPE_CHAINS];
    unsigned n_chains, n_lanes;
    struct shape_lane *recent; /* that somebody entered last; NULL: it is gone */
    struct stats *stats; /* how long gates have waited */
};

/* A gate's place in a lane. */
struct shape_way {
    struct shape_lane *lane;
    uint64_t had; /* bytes of it, what went back not counted; whoever is new, or was away, counts from lane->had on */
};

/* One direction of an exchange: it must get a chunk from every lane, in the order of their rates, so that nobody holds what is everybody's while it
 * waits for what is its own. */
struct shape_gate {
    struct task *task; /* woken when something has been granted; NULL: of no use */
    struct list link;  /* in a lane's gates, while it waits */
    uint64_t have;     /* bytes that it may read */
    uint64_t asked;    /* the chunk that it is getting; 0: none */
    uint64_t since_us; /* it waits since then */
    uint64_t window_us, window_used; /* read since then: in the present quantum */
    uint16_t n, cap, at; /* ways; those before `at` have given */
    bool waits;        /* in lane[at] */
    bool first;        /* no lane has given of `asked` yet */
    bool slow;         /* the lanes of `at-limit: slow` count, too */
    struct shape_way *ways; /* first, or memory of its own: whoever is in many groups has many */
    struct shape_way first_ways[SHAPE_WAYS];
};

void shape_init(struct shape *s, struct loop *loop, struct stats *stats);
/* No gate has a lane any more. */
void shape_done(struct shape *s);

/* It stays where it is until shape_gate_done. */
void shape_gate_init(struct shape_gate *g, struct task *task);
/* ERR_NOMEM; ERR_LIMIT: more lanes than there may be. The bucket stays pinned until shape_gate_done. Not while it waits. */
int shape_gate_add(struct shape *s, struct shape_gate *g, struct charge_bucket *b, enum charge_flow flow, uint64_t rate) MUST_USE;
/* What it has goes back, and nobody is woken for it any more; it keeps its lanes until it is given another task, and is then as new. */
void shape_gate_rest(struct shape *s, struct shape_gate *g);
/* Leaves all lanes; what it has goes back. */
void shape_gate_done(struct shape *s, struct shape_gate *g);

/* How much may be read now; 0: it waits from now on, and the task is woken. UINT64_MAX: no lane counts. */
uint64_t shape_ask(struct shape *s, struct shape_gate *g) MUST_USE;
/* n bytes were read. */
static inline void shape_used(struct shape_gate *g, uint64_t n)
{
    g->have -= n < g->have ? n : g->have;
    g->window_used += n;
}
/* There is nothing to read: what it has goes back. */
void shape_quiet(struct shape *s, struct shape_gate *g);
static inline bool shape_waits(const struct shape_gate *g)
{
    return g->waits;
}

#endif
