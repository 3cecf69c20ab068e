/* SPDX-License-Identifier: MIT */
/* step log: one record, the counters, and everything goes back to where it came from. The exchange is buried here and nowhere else.
 */
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "policy/explain.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

static void xchg_free(struct grave *g)
{
    struct xchg *x = CONTAINER_OF(g, struct xchg, grave);

    arena_delete(x->arena);
    access_folded_free(x->folded);
    x->magic = OBJ_DEAD;
    mem_free(x);
}

static void count_times(struct stats *st, const struct access_record *r, uint64_t now_us)
{
    stats_time(st, STATS_REQUEST, now_us - r->start_us);
    if (r->peer.sa.sa_family != AF_UNSPEC && r->first_byte_us)
        stats_time(st, STATS_FIRST_BYTE, r->first_byte_us);
}

static void count(struct xchg *x, const struct access_record *r)
{
    struct stats *st = &x->worker->stats;

    stats_add(st, COUNTER_EXCHANGES_ENDED, 1);
    stats_add(st, COUNTER_BYTES_UP, r->bytes_up + x->relay.up.bytes);
    stats_add(st, COUNTER_BYTES_DOWN, x->relay.down.bytes);
    stats_end(st, x->end);
    if (x->tunnel)
        stats_add(st, COUNTER_TUNNELS_ENDED, 1);
    else
        count_times(st, r, x->worker->loop.now_us);
    if (x->end == END_NO_MEMORY)
        stats_add(st, COUNTER_NO_MEMORY, 1);
}

enum xstep step_log(struct xchg *x)
{
    struct access_record *r = xchg_last_record(x);

    r->end = x->end;
    xchg_record(x, ACCESS_END);
    if (!x->tunnel || explain_is_refusal(x->end))
        xchg_note_denial(x);
    count(x, r);
    relay_stop(&x->relay, &x->worker->loop);
    xchg_drop_upstream(x);
    if (x->req)
        replay_done(&x->req->replay);
    timer_stop(&x->timer);
    task_cancel(&x->task);
    session_xchg_gone(x->session, x);
    x->session->served = true;
    stream_release(&x->client);
    xchg_end(x);
    x->grave.free = xchg_free;
    loop_bury(&x->worker->loop, &x->grave);
    return STEP_END;
}
