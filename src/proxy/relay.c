/* SPDX-License-Identifier: MIT */
/* relay: pumps, and what an end on one side means for the other. Called by the steps send, reply and relay. Knows streams, never
 * what they are made of.
 */
#include "proxy/relay.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/loop.h"
#include "proxy/charge.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* ---- replay ---- */

static void replay_keep(struct replay *r, const char *p, size_t n)
{
    if (r->lost)
        return;
    if (n > REPLAY_MAX - r->n)
        goto lost;
    if (r->n + n > r->cap) {
        uint32_t cap = r->n + (uint32_t)n < 2048 ? 2048 : REPLAY_MAX;
        char *q = mem_grow(r->p, cap);

        if (!q)
            goto lost;
        r->p = q;
        r->cap = cap;
    }
    memcpy(r->p + r->n, p, n);
    r->n += (uint32_t)n;
    r->sent = r->n;
    return;

lost:
    r->lost = true;
    /* What the present upstream has not been given yet is still needed. */
    if (r->sent == r->n) {
        mem_free(r->p);
        r->p = NULL;
        r->n = r->sent = r->cap = 0;
    }
}

void replay_done(struct replay *r)
{
    mem_free(r->p);
    *r = (struct replay){.lost = true};
}

/* ---- one direction ---- */

void pump_start(struct pump *p, struct replay *replay)
{
    *p = (struct pump){.state = PUMP_RUN, .replay = replay};
}

/* The exchange's. A local reply is woken by nobody and has none. */
static struct task *pump_task(const struct stream *from, const struct stream *to)
{
    return from->task ? from->task : to->task;
}

static void pump_give_pipe(struct pump *p, struct loop *loop)
{
    p->filled = false;
    if (p->pipe)
        pipe_return(loop->pipes, &p->pipe);
}

void pump_stop(struct pump *p, struct loop *loop)
{
    pump_give_pipe(p, loop);
    if (p->state != PUMP_DONE)
        p->state = PUMP_DEAD;
}

/* Behind the last content: a sized message has ended by itself, the others are told. A pipe is of no use any more, however long the sink
 * writes, or an answer is waited for. */
static enum pump_result pump_end(struct pump *p, struct loop *loop, struct stream *from, struct stream *to)
{
    pump_give_pipe(p, loop);
    p->state = PUMP_FLUSH;
    if (to->tx == STREAM_BODY && stream_end(to, from->trailers) == IO_ERR)
        return PUMP_TO_BROKE;
    return PUMP_MORE;
}

static enum pump_result pump_flush(struct pump *p, struct stream *to)
{
    switch (stream_flush(to)) {
    case IO_OK:
        p->state = PUMP_DONE;
        return PUMP_ENDED;
    case IO_AGAIN:
        p->wants_tx = true;
        return PUMP_WAIT;
    case IO_EOF:
    case IO_ERR:
        break;
    }
    return PUMP_TO_BROKE;
}

/* Nothing to read now: what is queued must not wait for it. */
static enum pump_result pump_idle(struct pump *p, struct stream *to)
{
    switch (stream_flush(to)) {
    case IO_OK:
        p->wants_tx = false;
        return PUMP_WAIT;
    case IO_AGAIN:
        p->wants_tx = true;
        return PUMP_WAIT;
    case IO_EOF:
    case IO_ERR:
        break;
    }
    return PUMP_TO_BROKE;
}

/* A limit lets nothing more be read now. What is queued leaves; an empty pipe is of more use to others. */
static enum pump_result pump_hold(struct pump *p, struct loop *loop, struct stream *to)
{
    enum pump_result r = pump_idle(p, to);

    if (p->pipe)
        pipe_return(loop->pipes, &p->pipe);
    p->held = true;
    return r == PUMP_WAIT ? PUMP_HELD : r;
}

/* MORE: something was moved or changed, go on. */
static enum pump_result pump_copy(struct pump *p, struct loop *loop, struct stream *from, struct stream *to, uint64_t allow)
{
    size_t n, room = min_size(stream_room(to), allow < PUMP_COPY ? (size_t)allow : PUMP_COPY);
    bool last;

    if (!room) {
        /* Others may have it as long as the sink is full: nobody could take back one that is empty. */
        if (p->pipe)
            pipe_return(loop->pipes, &p->pipe);
        p->wants_tx = true;
        return PUMP_WAIT;
    }
    switch (stream_recv(from, loop->scratch, room, &n)) {
    case IO_OK:
        break;
    case IO_AGAIN:
        pump_give_pipe(p, loop);
        return pump_idle(p, to);
    case IO_EOF:
        return pump_end(p, loop, from, to);
    case IO_ERR:
        return PUMP_FROM_BROKE;
    }
    last = from->rx == STREAM_END && !from->trailers;
    p->bytes += n;
    p->filled = n + PUMP_FRAMING >= PUMP_COPY;
    if (!p->filled || last)
        pump_give_pipe(p, loop);
    if (p->replay)
        replay_keep(p->replay, loop->scratch, n);
    if (stream_send(to, loop->scratch, n, last) == IO_ERR)
        return PUMP_TO_BROKE;
    if (last)
        p->state = PUMP_FLUSH;
    return PUMP_MORE;
}

/* What was kept of the upload, for an upstream that has not seen it. */
static enum pump_result pump_replay(struct pump *p, struct stream *from, struct stream *to)
{
    struct replay *r = p->replay;
    size_t n = min_size(stream_room(to), r->n - r->sent);
    bool last = from->rx == STREAM_END && !from->trailers && n == r->n - r->sent;

    if (!n) {
        p->wants_tx = true;
        return PUMP_WAIT;
    }
    if (stream_send(to, r->p + r->sent, n, last) == IO_ERR)
        return PUMP_TO_BROKE;
    r->sent += (uint32_t)n;
    if (last)
        p->state = PUMP_FLUSH;
    return PUMP_MORE;
}

/* What was inside has left. */
static enum pump_result pump_pipe_empty(struct pump *p, struct loop *loop, struct stream *from, struct stream *to)
{
    if (from->rx == STREAM_END)
        return pump_end(p, loop, from, to);
    if (!p->filled || p->pipe->rd < 0)
        pump_give_pipe(p, loop);
    return PUMP_MORE;
}

/* The descriptors have been taken back: from memory, as much as goes. */
static enum pump_result pump_drain_back(struct pump *p, struct loop *loop, struct stream *from, struct stream *to)
{
    struct pipe *pipe = p->pipe;
    size_t n = min_size(stream_room(to), pipe->bytes);

    if (stream_flush(to) == IO_AGAIN || !n) {
        p->wants_tx = true;
        return PUMP_WAIT;
    }
    if (stream_send(to, pipe->back + pipe->back_at, n, false) == IO_ERR)
        return PUMP_TO_BROKE;
    pipe->back_at += (uint32_t)n;
    pipe->bytes -= (uint32_t)n;
    return pipe->bytes ? PUMP_MORE : pump_pipe_empty(p, loop, from, to);
}

/* The sink takes nothing: if somebody else wants the pipe, it goes. */
static enum pump_result pump_pipe_stands(struct pump *p, struct loop *loop)
{
    if (p->pipe->wanted && pipe_take_back(loop->pipes, p->pipe) == 0)
        p->filled = false;
    else
        pipe_stands(loop->pipes, p->pipe, loop->now_ms);
    p->wants_tx = true;
    return PUMP_WAIT;
}

static enum pump_result pump_drain_pipe(struct pump *p, struct loop *loop, struct stream *from, struct stream *to)
{
    uint64_t max;
    int fd = stream_fd(to, STREAM_TX, &max);
    ssize_t n;

    /* What announces it may still be queued. */
    if (fd < 0) {
        if (stream_flush(to) == IO_AGAIN)
            return pump_pipe_stands(p, loop);
        fd = stream_fd(to, STREAM_TX, &max);
    }
    if (fd < 0)
        return PUMP_TO_BROKE;
    do {
        n = splice(p->pipe->rd, NULL, fd, NULL, p->pipe->bytes, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        stream_moved(to, STREAM_TX, 0);
        return pump_pipe_stands(p, loop);
    }
    if (n <= 0) {
        stream_failed(to, n < 0 ? -errno : -EPIPE);
        return PUMP_TO_BROKE;
    }
    p->pipe->bytes -= (uint32_t)n;
    pipe_moved(p->pipe);
    stream_moved(to, STREAM_TX, (uint64_t)n);
    return p->pipe->bytes ? PUMP_MORE : pump_pipe_empty(p, loop, from, to);
}

/* Fills the empty pipe. The sink has room (nothing is queued there), so an EAGAIN can only mean the source. */
static enum pump_result pump_fill_pipe(struct pump *p, struct loop *loop, struct stream *from, struct stream *to, int fd,
                                       uint64_t max)
{
    size_t most = min_size(pipe_fill_max(p->pipe), loop->small_ran ? PUMP_BITE : SIZE_MAX);
    ssize_t n;

    do {
        n = splice(fd, NULL, p->pipe->wr, NULL, max < most ? (size_t)max : most, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        p->bytes += (uint64_t)n;
        p->pipe->bytes = (uint32_t)n;
        p->filled = n >= PUMP_COPY;
        stream_moved(from, STREAM_RX, (uint64_t)n);
        if (stream_announce(to, (uint64_t)n) == IO_ERR)
            return PUMP_TO_BROKE;
        return pump_drain_pipe(p, loop, from, to);
    }
    if (n < 0 && errno == EAGAIN) {
        pump_give_pipe(p, loop);
        return pump_idle(p, to);
    }
    /* The end, or an error, which this call has consumed: the next read tells it as what it is. */
    if (n == 0)
        stream_moved(from, STREAM_RX, 0);
    else
        stream_failed(from, -errno);
    pump_give_pipe(p, loop);
    return PUMP_MORE;
}

/* Copying goes on when either side is no plain socket now, or no pipe is to be had. */
static bool pump_splice(struct pump *p, struct loop *loop, struct stream *from, struct stream *to, uint64_t allow,
                        enum pump_result *ret)
{
    uint64_t max_rx, max_tx;
    int fd;

    if (p->pipe && p->pipe->bytes) {
        *ret = p->pipe->rd < 0 ? pump_drain_back(p, loop, from, to) : pump_drain_pipe(p, loop, from, to);
        return true;
    }
    if (!p->filled || p->replay || allow < PUMP_COPY)
        return false;
    fd = stream_fd(from, STREAM_RX, &max_rx);
    if (fd < 0 || stream_fd(to, STREAM_TX, &max_tx) < 0 || max_rx < PUMP_COPY)
        return false;
    if (!p->pipe)
        p->pipe = pipe_lend(loop->pipes, pump_task(from, to), loop->now_ms);
    if (!p->pipe)
        return false;
    if (max_tx < max_rx)
        max_rx = max_tx;
    *ret = pump_fill_pipe(p, loop, from, to, fd, allow < max_rx ? allow : max_rx);
    return true;
}

/* What has been read is only passed on, whatever a limit says. */
static bool pump_reads(const struct pump *p)
{
    return !(p->pipe && p->pipe->bytes) && !(p->replay && p->replay->sent < p->replay->n);
}

/* charge: NULL, nothing limits it. */
static enum pump_result pump_within(struct pump *p, struct loop *loop, struct stream *from, struct stream *to, struct charge *charge, bool up)
{
    enum pump_result r = PUMP_MORE;
    int copies = PUMP_BUDGET_COPY, splices = PUMP_BUDGET_SPLICE;
    uint64_t allow = UINT64_MAX, before = p->bytes;

    p->wants_tx = p->held = false;
    while (r == PUMP_MORE) {
        if (p->state == PUMP_FLUSH)
            return pump_flush(p, to);
        if (charge && pump_reads(p)) {
            allow = charge_allow(charge, up);
            if (!allow)
                return pump_hold(p, loop, to);
        }
        if (p->replay && p->replay->sent < p->replay->n)
            r = pump_replay(p, from, to);
        else if ((p->filled || p->pipe) && !pump_task(from, to)->bulk)
            return PUMP_MORE; /* bulk, as it turns out: not before the small messages of others */
        else if (splices && pump_splice(p, loop, from, to, allow, &r))
            splices--;
        else if (splices && copies)
            copies--, r = pump_copy(p, loop, from, to, allow);
        else
            return PUMP_MORE;
        if (p->replay && p->replay->lost && p->replay->sent == p->replay->n)
            p->replay = NULL;
        if (charge) {
            charge_moved(charge, up, p->bytes - before);
            before = p->bytes;
        }
    }
    return r;
}

enum pump_result pump_run(struct pump *p, struct loop *loop, struct stream *from, struct stream *to)
{
    return pump_within(p, loop, from, to, NULL, false);
}

enum pump_result relay_pump(struct relay *r, struct loop *loop, struct pump *p, struct stream *from, struct stream *to)
{
    enum pump_result pr = pump_within(p, loop, from, to, r->charge, p == &r->up);

    /* Whoever has nothing to read, or nobody to write to, holds nothing that others could use. */
    if (r->charge && pr != PUMP_MORE && pr != PUMP_HELD)
        charge_quiet(r->charge, p == &r->up);
    return pr;
}

/* ---- both directions ---- */

bool relay_is_bulk(struct relay *r, const struct loop *loop)
{
    /* Whoever returned MORE because it is no bulk yet has one of these, so the next run goes on. */
    if (r->up.filled || r->down.filled || r->up.pipe || r->down.pipe)
        r->bulk_ms = loop->now_ms;
    return r->bulk_ms && loop->now_ms - r->bulk_ms < RELAY_BULK_MS;
}

bool relay_half_closed(const struct relay *r)
{
    return r->up.state > PUMP_RUN || r->down.state > PUMP_RUN;
}

void relay_stop(struct relay *r, struct loop *loop)
{
    if (r->up.state != PUMP_OFF)
        pump_stop(&r->up, loop);
    if (r->down.state != PUMP_OFF)
        pump_stop(&r->down, loop);
}

static bool pump_live(const struct pump *p)
{
    return p->state == PUMP_RUN || p->state == PUMP_FLUSH;
}

void relay_cut(struct relay *r, struct loop *loop, struct pump *p)
{
    struct pump *other = p == &r->up ? &r->down : &r->up;

    pump_stop(other, loop);
    p->state = PUMP_FLUSH;
    r->state = RELAY_CUT;
    r->cut_until_ms = loop->now_ms + RELAY_CUT_MS;
}

/* The sink of p broke: what its far side sent before is still to be passed on by the other pump, which will meet the error. */
static bool relay_sink_broke(struct relay *r, struct loop *loop, struct pump *p)
{
    struct pump *other = p == &r->up ? &r->down : &r->up;

    pump_stop(p, loop);
    return pump_live(other);
}

/* Runs one pump; true when the relay goes on. *ret is set otherwise, or to MORE. */
static bool relay_step(struct relay *r, struct loop *loop, struct pump *p, struct stream *from, struct stream *to,
                       enum relay_result *ret)
{
    uint64_t before = p->bytes;
    bool is_up = p == &r->up;
    enum pump_result pr;

    if (!pump_live(p))
        return true;
    pr = relay_pump(r, loop, p, from, to);
    if (p->bytes != before || pr == PUMP_ENDED)
        r->active_ms = loop->now_ms;
    switch (pr) {
    case PUMP_WAIT:
    case PUMP_HELD:
    case PUMP_ENDED:
        return true;
    case PUMP_MORE:
        *ret = RELAY_MORE;
        return true;
    case PUMP_FROM_BROKE:
        relay_cut(r, loop, p);
        return true;
    case PUMP_TO_BROKE:
        if (relay_sink_broke(r, loop, p))
            return true;
        *ret = is_up ? RELAY_UPSTREAM_BROKE : RELAY_CLIENT_BROKE;
        return false;
    }
    UNREACHABLE();
}

/* The rest for the side that is still there, until it is written or its second is over. */
static enum relay_result relay_run_cut(struct relay *r, struct loop *loop, struct stream *client, struct stream *upstream)
{
    struct pump *p = r->up.state == PUMP_FLUSH ? &r->up : &r->down;
    struct stream *to = p == &r->up ? upstream : client;
    enum relay_result broke = p == &r->up ? RELAY_CLIENT_BROKE : RELAY_UPSTREAM_BROKE;

    if (loop->now_ms < r->cut_until_ms && pump_flush(p, to) == PUMP_WAIT)
        return RELAY_WAIT;
    return broke;
}

/* A reset that no pump meets: its own pump has ended, so nothing is left to pass on; or that pump waits for a sink that has taken
 * nothing for RELAY_CUT_MS, and what it holds back will not be waited for. */
static bool relay_reset_unmet(const struct relay *r, const struct loop *loop, struct stream *client, struct stream *upstream,
                              enum relay_result *ret)
{
    bool stalled = loop->now_ms - r->active_ms >= RELAY_CUT_MS;

    if (stream_broken(client) && (!pump_live(&r->up) || (stalled && !r->up.held))) {
        *ret = RELAY_CLIENT_BROKE;
        return true;
    }
    if (stream_broken(upstream) && (!pump_live(&r->down) || (stalled && !r->down.held))) {
        *ret = RELAY_UPSTREAM_BROKE;
        return true;
    }
    return false;
}

/* Both sources have ended, but one sink still writes: the other side is not to wait for that to see its end. */
static void relay_end_now(const struct relay *r, struct stream *client, struct stream *upstream)
{
    enum io io = IO_OK;

    if (r->down.state == PUMP_DONE && r->up.state == PUMP_FLUSH)
        io = stream_end(client, NULL);
    else if (r->up.state == PUMP_DONE && r->down.state == PUMP_FLUSH)
        io = stream_end(upstream, NULL);
    /* A side that broke is met by the pump that still runs, or by nobody who would miss it. */
    UNUSED(io);
}

enum relay_result relay_run(struct relay *r, struct loop *loop, struct stream *client, struct stream *upstream)
{
    enum relay_result ret = RELAY_WAIT;

    if (r->state == RELAY_RUN) {
        if (!relay_step(r, loop, &r->up, client, upstream, &ret))
            return ret;
    }
    if (r->state == RELAY_RUN) {
        if (!relay_step(r, loop, &r->down, upstream, client, &ret))
            return ret;
    }
    if (r->state == RELAY_CUT)
        return relay_run_cut(r, loop, client, upstream);
    if (ret != RELAY_MORE && relay_reset_unmet(r, loop, client, upstream, &ret))
        return ret;
    relay_end_now(r, client, upstream);
    if (pump_live(&r->up) || pump_live(&r->down))
        return ret;
    if (r->up.state == PUMP_DONE && r->down.state == PUMP_DONE)
        return RELAY_ENDED;
    /* A sink broke and the other direction has ended since. */
    return r->up.state == PUMP_DEAD ? RELAY_UPSTREAM_BROKE : RELAY_CLIENT_BROKE;
}
