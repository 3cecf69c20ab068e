/* SPDX-License-Identifier: MIT */
/* source: which addresses of this machine a connection comes from: a set, a walk over those that fit a target, and what is known to be
 * used up. Pure but for random numbers. Thread: its loop's. */
#ifndef IO_SOURCE_H
#define IO_SOURCE_H

#include "io/conn.h"

enum {
    SOURCE_TRIES = 64,      /* candidates for one target */
    SOURCE_RANGE_TRIES = 4, /* of them in one range */
    SOURCE_SLOTS = 256,
    SOURCE_USED_UP_MS = 20, /* at least, … */
    SOURCE_USED_UP_MAX_MS = 1000,
    SOURCE_USED_UP_TIMES = 40, /* … and so many times as long as the search took */
    SOURCE_SEARCH_US = 50000,  /* what one attempt may spend on searches */
};

/* Borrowed. n 0: the kernel chooses. */
struct source_set {
    const struct addr_range *v;
    unsigned n;
    struct dial_way way; /* of all connections */
};

/* a came from that set. A connection of the kernel's choice has family AF_UNSPEC, and is in the empty set only. */
bool source_allowed(const struct source_set *set, const struct addr *a);
/* Whether the set has an address of the target's family; the empty one has. */
bool source_fits(const struct source_set *set, const struct addr *to);

/* The candidates for one target. Items of the set begin with the one whose turn it is; of a range, an address at random and those behind it. */
struct source_walk {
    const struct source_set *set;
    bool v4, mapped;         /* the target's family; its socket is an IPv6 one all the same */
    unsigned first, item;    /* item: how many were looked at */
    unsigned tries, in_item; /* so far */
    uint64_t random[2];
};
/* turn: counts up, a connection each. */
void source_walk_init(struct source_walk *w, const struct source_set *set, const struct addr *to, unsigned turn);
/* False: there is none left, or enough were tried. */
bool source_walk_next(struct source_walk *w, struct dial_from *ret_from) MUST_USE;

/* What connect(2) has found used up lately: for a while the kernel is not asked again. It looks through all ports each time, which takes about a
 * microsecond for each (20 ms with the usual range), and the loop stands still meanwhile. Zeroed at first. Owner: a worker. */
struct source_memory {
    struct {
        uint64_t key, until_ms;
    } v[SOURCE_SLOTS];
};
/* from may be NULL: the kernel's choice, on no special way. until_ms: from source_used_up_until. */
void source_used_up(struct source_memory *m, const struct dial_from *from, const struct addr *to, uint64_t until_ms);
static inline uint64_t source_used_up_until(uint64_t now_ms, uint64_t took_us)
{
    uint64_t ms = took_us * SOURCE_USED_UP_TIMES / 1000;

    return now_ms + (ms < SOURCE_USED_UP_MS ? SOURCE_USED_UP_MS : ms > SOURCE_USED_UP_MAX_MS ? SOURCE_USED_UP_MAX_MS : ms);
}
bool source_is_used_up(const struct source_memory *m, const struct dial_from *from, const struct addr *to, uint64_t now_ms);

#endif
