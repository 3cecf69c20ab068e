/* SPDX-License-Identifier: MIT */
/* step log: one record, the counters, and everything goes back to where it came from. The exchange is buried here and nowhere else.
 */
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

static void xchg_free(struct grave *g)
{
    struct xchg *x = CONTAINER_OF(g, struct xchg, grave);

    arena_done(&x->arena);
    mem_free(x->kept);
    x->magic = OBJ_DEAD;
    mem_free(x);
}

static void count(struct xchg *x)
{
    struct stats *st = &x->worker->stats;

    stats_add(st, COUNTER_EXCHANGES_ENDED, 1);
    stats_add(st, COUNTER_BYTES_UP, x->rec.bytes_up);
    stats_add(st, COUNTER_BYTES_DOWN, x->rec.bytes_down);
    stats_end(st, x->rec.end);
    if (x->rec.end == END_NO_MEMORY)
        stats_add(st, COUNTER_NO_MEMORY, 1);
}

static void record(struct xchg *x)
{
    struct worker *w = x->worker;

    if (!w->shard)
        return;
    if (!access_put(w->shard, &x->rec, w->loop.now_us))
        stats_add(&w->stats, COUNTER_LOG_DROPPED, 1);
}

enum xstep step_log(struct xchg *x)
{
    x->rec.bytes_up += x->relay.up.bytes;
    x->rec.bytes_down = x->relay.down.bytes;
    if (!x->silent)
        record(x);
    count(x);
    relay_stop(&x->relay, &x->worker->loop);
    xchg_drop_upstream(x);
    if (x->req)
        replay_done(&x->req->replay);
    timer_stop(&x->timer);
    task_cancel(&x->task);
    x->session->xchg = NULL;
    stream_release(&x->client);
    x->grave.free = xchg_free;
    loop_bury(&x->worker->loop, &x->grave);
    return STEP_END;
}
