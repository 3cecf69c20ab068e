/* SPDX-License-Identifier: MIT */
/* pace: whether content comes at the rate that is asked for, averaged over each window of ten seconds in which it was waited for: time in which
 * the other side could not take it does not count. Pure. */
#ifndef PROXY_PACE_H
#define PROXY_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum { PACE_WINDOW_MS = 10000 };

struct pace {
    uint64_t looked_ms;  /* when it was looked at last */
    uint64_t from_bytes; /* what there was at the beginning of the window */
    uint64_t waited_ms;  /* of the window */
    bool waits;          /* the clock runs */
};

/* The content begins. */
void pace_start(struct pace *p, uint64_t now_ms);
/* bytes: what has come since the start; waits: from now on more is waited for. False: a window has ended with less than `rate` bytes a second. */
bool pace_look(struct pace *p, uint64_t rate, uint64_t now_ms, uint64_t bytes, bool waits);
/* When the window ends if nothing changes; UINT64_MAX: never, the clock stands. */
uint64_t pace_due_ms(const struct pace *p);

#endif
