/* SPDX-License-Identifier: MIT */
/* parents: facts on the board about parent proxies. Asked by step route, told by step dial.
 */
#include "proxy/parents.h"

#include "base/log.h"
#include "proxy/worker.h"

static struct slice key_of(const struct hop *h)
{
    return slice_str(h->text);
}

static bool is_doubted(struct board *b, uint64_t now_ms, const struct hop *h)
{
    uint8_t fact;
    size_t n;

    return board_get(b, BOARD_PARENT, key_of(h), now_ms, &fact, sizeof(fact), &n);
}

static bool failed_lately(struct worker *w, const struct hop *h)
{
    return is_doubted(w->board, w->loop.now_ms, h);
}

bool parents_are_doubted(struct board *b, uint64_t now_ms, const struct alternative *a)
{
    for (unsigned i = 0; i < a->n_hops; i++)
        if (is_doubted(b, now_ms, &a->hops[i]))
            return true;
    return false;
}

bool parents_failed_lately(struct worker *w, const struct alternative *a)
{
    return parents_are_doubted(w->board, w->loop.now_ms, a);
}

void parents_failed(struct worker *w, const struct hop *h, const char *why, bool several)
{
    static const uint8_t fact = 1;

    if (!failed_lately(w, h))
        log_limited(LOG_WARN, 4, "%s: %s%s", h->place, why, several ? "; for half a minute the other alternatives are tried before it" : "");
    board_put(w->board, BOARD_PARENT, key_of(h), w->loop.now_ms, PARENTS_BAD_MS, &fact, sizeof(fact));
}

void parents_served(struct worker *w, const struct alternative *a)
{
    for (unsigned i = 0; i < a->n_hops; i++)
        if (failed_lately(w, &a->hops[i])) {
            board_del(w->board, BOARD_PARENT, key_of(&a->hops[i]));
            log_limited(LOG_INFO, 4, "%s: the parent %s serves again", a->hops[i].place, a->hops[i].text);
        }
}
