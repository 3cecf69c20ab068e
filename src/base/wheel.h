/* SPDX-License-Identifier: MIT */
/* wheel: deadlines without a clock of its own. Seven levels of 256 slots, each level eight times as coarse as the one
 * below; a node goes to the slot at or after its time and is never moved down, so a quiet wheel needs no wake-ups.
 * Never early. Late by less than 1/31 of the distance (exact to 1 ms below 256 ms, to 64 ms below 16 s).
 * Owner: a loop. Thread: its own. */
#ifndef BASE_WHEEL_H
#define BASE_WHEEL_H

#include "base/list.h"

#include <stdint.h>

enum { WHEEL_LEVELS = 7, WHEEL_SLOTS = 256 };

struct wheel_node {
    struct list link; /* self-linked when not armed */
    uint64_t due;     /* milliseconds, as asked for */
    uint16_t slot;    /* level * WHEEL_SLOTS + index */
};

struct wheel {
    uint64_t now; /* everything due at or before it has been handed out */
    uint64_t map[WHEEL_LEVELS][WHEEL_SLOTS / 64];
    struct list slot[WHEEL_LEVELS * WHEEL_SLOTS];
    struct list due; /* expired, not yet popped */
    size_t n;
};

void wheel_init(struct wheel *w, uint64_t now_ms);
void wheel_node_init(struct wheel_node *n);
static inline bool wheel_armed(const struct wheel_node *n)
{
    return !list_empty(&n->link);
}
/* Arms or re-arms. A time in the past is due at once. A distance beyond the last level is cut to it. */
void wheel_set(struct wheel *w, struct wheel_node *n, uint64_t due_ms);
void wheel_del(struct wheel *w, struct wheel_node *n); /* not armed: nothing happens */
/* The first millisecond at which wheel_pop could give something; UINT64_MAX when empty. */
uint64_t wheel_next(const struct wheel *w);
/* One node that is due at now_ms, disarmed; NULL when there is none (left). now_ms never runs backwards. */
struct wheel_node *wheel_pop(struct wheel *w, uint64_t now_ms);

#endif
