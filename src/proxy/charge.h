/* SPDX-License-Identifier: MIT */
/* charge: what an exchange has to do with `limits` while it runs: buckets that it has pinned, its way through their bandwidth, the bytes that quotas
 * count, caps. Made when the first such limit matches (limits.c); an exchange that none is about has none. It copies what it needs of the limits: it
 * outlives its snapshot. Steady state: atomics, no lock, no system call.
 * Owner: the exchange. Thread: its worker's; the buckets are everybody's. */
#ifndef PROXY_CHARGE_H
#define PROXY_CHARGE_H

#include "base/end.h"
#include "proxy/charge_table.h"
#include "proxy/shape.h"

enum { CHARGE_TITLE = 64, CHARGE_SPANS = SPAN_MONTH + 1, CHARGE_FIRST = 2, CHARGE_SPARE = 32 };

/* Buckets that a worker has asked for lately stay pinned by it, so that a kept connection's next request takes no lock. Keys that are longer than NEAR_KEY are
 * not among them. A table that runs full is the poorer by NEAR of them a worker. */
enum { CHARGE_NEAR = 64, CHARGE_NEAR_KEY = 24 };
struct charge_near {
    struct charge_bucket *bucket; /* NULL: the place is free */
    uint64_t limit;
    uint8_t n;
    char key[CHARGE_NEAR_KEY];
};

/* A worker's side. */
struct charger {
    struct charge_near near[CHARGE_NEAR];
    struct charge_table *table; /* borrowed; NULL: nothing is limited here */
    struct shape shape;
    struct list quotas; /* charges that have a quota */
    struct charge *spare[CHARGE_SPARE]; /* of exchanges that have ended, for the next ones */
    unsigned n_spare;
    struct charge_span spans[CHARGE_SPANS]; /* around the present moment, as of the last look */
    struct msg msg;     /* a quota is used up, somewhere */
    _Atomic bool posted;
};

struct charge_pin {
    struct charge_bucket *bucket;
    uint64_t quota; /* 0: none */
    enum limit_span span;
    bool slow;
    bool tunnel; /* it counts as one */
    char title[CHARGE_TITLE]; /* of the limit; the end of a long one */
};

struct charge {
    struct charger *charger;
    struct list link; /* in charger.quotas */
    struct shape_gate up, down;
    struct {
        uint64_t most, moved; /* UINT64_MAX: no cap */
        char title[CHARGE_TITLE];
    } upload, download;
    enum end_reason over; /* it has to end; NONE: it may go on */
    const char *over_title; /* whose doing that is */
    unsigned n, cap;
    struct charge_pin *pins; /* first, or memory of its own */
    struct charge_pin first[CHARGE_FIRST];
};

void charger_init(struct charger *c, struct loop *loop, struct stats *stats, struct charge_table *table);
void charger_done(struct charger *c); /* no charge is left */
/* charge_pin of charge_table.h, by what is near if that has it. */
struct charge_bucket *charger_pin(struct charger *c, uint64_t limit, struct slice key) MUST_USE;
/* The span around now. */
const struct charge_span *charger_span(struct charger *c, enum limit_span span);

struct charge *charge_new(struct charger *c, struct task *task) MUST_USE; /* NULL: memory refused */
/* Ends everything that it holds. *c becomes NULL; NULL is fine. */
void charge_free(struct charge **c);

/* Between two requests of one connection that the same limits are about it rests: it holds its buckets, and nothing of theirs. Then it goes on with another task. */
void charge_rest(struct charge *c);
void charge_resume(struct charge *c, struct task *task);

/* The limit holds for it, with this bucket, which it takes (*b becomes NULL, also on failure). tunnel: it has been counted as one there.
 * ERR_NOMEM, ERR_LIMIT. */
int charge_add(struct charge *c, const struct limit *l, struct charge_bucket **b, bool tunnel) MUST_USE;
/* The caps of the limit. */
void charge_cap(struct charge *c, const struct limit *l);
/* A title that fits; of a long one its end, which says more. */
void charge_title(const struct limit *l, char out[CHARGE_TITLE]);

/* ---- while bytes move ---- */

/* How many bytes may be read in that direction now. 0: it has to wait, and will be woken; or to end (c->over). */
uint64_t charge_allow(struct charge *c, bool up) MUST_USE;
/* n were. */
void charge_moved(struct charge *c, bool up, uint64_t n);
/* There is nothing to read in that direction. */
void charge_quiet(struct charge *c, bool up);

#endif
