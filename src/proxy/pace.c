/* SPDX-License-Identifier: MIT */
/* pace: a clock that runs while somebody waits for content, and what has come on it. Called by the exchange for an upload.
 */
#include "proxy/pace.h"

void pace_start(struct pace *p, uint64_t now_ms)
{
    *p = (struct pace){.looked_ms = now_ms};
}

bool pace_look(struct pace *p, uint64_t rate, uint64_t now_ms, uint64_t bytes, bool waits)
{
    bool enough;

    if (p->waits)
        p->waited_ms += now_ms - p->looked_ms;
    p->looked_ms = now_ms;
    p->waits = waits;
    if (p->waited_ms < PACE_WINDOW_MS)
        return true;
    /* A timer may be late: what counts is the time that was really waited. */
    enough = (bytes - p->from_bytes) * 1000 / p->waited_ms >= rate;
    p->from_bytes = bytes;
    p->waited_ms = 0;
    return enough;
}

uint64_t pace_due_ms(const struct pace *p)
{
    return p->waits ? p->looked_ms + PACE_WINDOW_MS - p->waited_ms : UINT64_MAX;
}
