/* SPDX-License-Identifier: MIT */
/* step relay: bytes move until both directions are done. Tunnels: both must end; a FIN is a FIN, a reset a reset. Messages: when the
 * answer is complete the exchange is; what is left of an upload is not waited for.
 */
#include "base/check.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

static enum xstep done(struct xchg *x, enum end_reason reason)
{
    if (x->end == END_NONE)
        x->end = reason;
    return STEP_LOG;
}

static enum xstep broke(struct xchg *x, const struct stream *s, enum end_reason otherwise)
{
    enum end_reason reason = s->fault.detail ? s->fault.reason : otherwise;

    return xchg_abort(x, reason, s->fault.detail);
}

/* ---- tunnels ---- */

enum xstep step_relay_wait(struct xchg *x)
{
    const struct relay *r = &x->relay;
    uint64_t at_ms;

    if (r->state == RELAY_CUT)
        return xchg_wait_until(x, r->cut_until_ms, END_CLIENT_RESET);
    /* A reset behind a sink that does not read: see relay_reset_unmet. */
    if (stream_broken(x->client) || stream_broken(x->upstream))
        return xchg_wait_until(x, r->active_ms + RELAY_CUT_MS, END_UPSTREAM_RESET);
    at_ms = r->active_ms + (relay_half_closed(r) ? x->times.half_close_ms : x->times.idle_ms);
    if (x->times.log_every_ms)
        at_ms = at_ms < x->log_at_ms ? at_ms : x->log_at_ms;
    return xchg_wait_until(x, at_ms, relay_half_closed(r) ? END_HALF_CLOSE_TIMEOUT : END_TUNNEL_TIMEOUT);
}

/* A long tunnel tells that it lives (U61). */
void step_relay_tell(struct xchg *x)
{
    uint64_t now_ms = x->worker->loop.now_ms;

    if (!x->times.log_every_ms || now_ms < x->log_at_ms)
        return;
    x->log_at_ms = now_ms + x->times.log_every_ms;
    xchg_record(x, ACCESS_STILL);
}

/* One in eight: reading the clock is not free. */
static void tunnel_delay(struct xchg *x, uint64_t moved)
{
    struct loop *loop = &x->worker->loop;

    if (moved && moved < PUMP_COPY && !x->task.bulk && loop->tasks_run % 8 == 0)
        stats_time(&x->worker->stats, STATS_RELAY_DELAY, loop->world->now_us(loop) - loop->readable_us);
}

static enum xstep tunnel_run(struct xchg *x)
{
    struct relay *r = &x->relay;
    uint64_t before = r->up.bytes + r->down.bytes;
    enum relay_result ret;
    enum xstep over;

    step_relay_tell(x);
    ret = relay_run(r, &x->worker->loop, x->client, x->upstream);
    tunnel_delay(x, r->up.bytes + r->down.bytes - before);
    over = limits_end(x);
    if (over != STEP_COUNT && ret != RELAY_ENDED)
        return over;
    /* What we make it wait is nobody's silence. */
    if (r->up.held || r->down.held)
        r->active_ms = x->worker->loop.now_ms;
    switch (ret) {
    case RELAY_MORE:
        return xchg_yield(x);
    case RELAY_ENDED:
        return done(x, END_TUNNEL_DONE);
    case RELAY_CLIENT_BROKE:
        return broke(x, x->client, END_CLIENT_RESET);
    case RELAY_UPSTREAM_BROKE:
        return broke(x, x->upstream, END_UPSTREAM_RESET);
    case RELAY_WAIT:
        break;
    }
    /* The deadline may have moved since the timer was set: only what has really passed is a cut. */
    if (x->expired && r->state == RELAY_RUN) {
        x->expired = false;
        step_relay_wait(x);
        if (x->worker->loop.now_ms >= x->deadline_ms)
            return xchg_abort(x, x->deadline_reason, NULL);
        return STEP_WAIT;
    }
    return step_relay_wait(x);
}

/* ---- messages ---- */


/* The answer was cut short: what there is of it is written, for RELAY_CUT_MS at most, then the client is reset. */
static enum xstep message_cut(struct xchg *x)
{
    struct stream *up = x->upstream;
    enum end_reason reason = up->fault.detail ? up->fault.reason : END_UPSTREAM_CLOSED;

    if (x->worker->loop.now_ms < x->relay.cut_until_ms && stream_flush(x->client) == IO_AGAIN)
        return xchg_wait_until(x, x->relay.cut_until_ms, reason);
    return broke(x, up, reason);
}

static enum xstep message_run(struct xchg *x)
{
    struct relay *r = &x->relay;
    struct loop *loop = &x->worker->loop;
    uint64_t before = r->up.bytes + r->down.bytes;
    enum pump_result up = xchg_upload(x), down;
    enum xstep over;

    if (up == PUMP_FROM_BROKE)
        return broke(x, x->client, END_CLIENT_GONE);
    down = x->req->local ? pump_run(&r->down, loop, x->upstream, x->client) : relay_pump(r, loop, &r->down, x->upstream, x->client);
    over = limits_end(x);
    if (over != STEP_COUNT && down != PUMP_ENDED)
        return over;
    if (r->up.bytes + r->down.bytes != before || up == PUMP_HELD || down == PUMP_HELD)
        r->active_ms = loop->now_ms;
    switch (down) {
    case PUMP_ENDED:
        return done(x, x->req->local ? END_LOCAL : END_DONE);
    case PUMP_FROM_BROKE:
        relay_cut(r, loop, &r->down);
        return message_cut(x);
    case PUMP_TO_BROKE:
        return broke(x, x->client, END_CLIENT_RESET);
    case PUMP_MORE:
        return xchg_yield(x);
    case PUMP_WAIT:
    case PUMP_HELD:
        break;
    }
    if (stream_broken(x->client))
        return broke(x, x->client, END_CLIENT_RESET);
    if (up == PUMP_MORE)
        return xchg_yield(x);
    if (xchg_too_slow(x, up, x->times.body_rate))
        return xchg_abort(x, END_REQUEST_TIMEOUT, XCHG_TOO_SLOW);
    xchg_wait_upload(x, r->active_ms + x->times.idle_ms, END_IDLE_TIMEOUT, x->times.body_rate);
    if (x->expired && loop->now_ms >= x->deadline_ms)
        return xchg_abort(x, x->deadline_reason, NULL);
    x->expired = false;
    return STEP_WAIT;
}

enum xstep step_relay(struct xchg *x)
{
    if (x->tunnel)
        return tunnel_run(x);
    return x->relay.state == RELAY_CUT ? message_cut(x) : message_run(x);
}
