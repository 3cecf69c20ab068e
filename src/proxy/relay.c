/* SPDX-License-Identifier: MIT */
/* relay: pumps, and what an end on one side means for the other. Called by the steps send, reply and relay. Knows streams, never
 * what they are made of.
 */
#include "proxy/relay.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/loop.h"

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
    *p = (struct pump){.state = PUMP_RUN, .replay = replay, .pipe = {.rd = -1, .wr = -1}};
}

static bool pump_has_pipe(const struct pump *p)
{
    return p->pipe.size != 0;
}

static void pump_give_pipe(struct pump *p, struct loop *loop)
{
    if (pump_has_pipe(p))
        pipe_return(loop->pipes, &p->pipe);
    p->pipe.size = 0;
    p->filled = false;
}

void pump_stop(struct pump *p, struct loop *loop)
{
    pump_give_pipe(p, loop);
    if (p->state != PUMP_DONE)
        p->state = PUMP_DEAD;
}

/* Behind the last content: a sized message has ended by itself, the others are told. */
static enum pump_result pump_end(struct pump *p, struct stream *from, struct stream *to)
{
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

/* MORE: something was moved or changed, go on. */
static enum pump_result pump_copy(struct pump *p, struct loop *loop, struct stream *from, struct stream *to)
{
    size_t n, room = min_size(stream_room(to), PUMP_COPY);
    bool last;

    if (!room) {
        p->wants_tx = true;
        return PUMP_WAIT;
    }
    switch (stream_recv(from, loop->scratch, room, &n)) {
    case IO_OK:
        break;
    case IO_AGAIN:
        return pump_idle(p, to);
    case IO_EOF:
        return pump_end(p, from, to);
    case IO_ERR:
        return PUMP_FROM_BROKE;
    }
    p->bytes += n;
    p->filled = n == PUMP_COPY;
    if (p->replay)
        replay_keep(p->replay, loop->scratch, n);
    last = from->rx == STREAM_END && !from->trailers;
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

static enum pump_result pump_drain_pipe(struct pump *p, struct loop *loop, struct stream *from, struct stream *to)
{
    uint64_t max;
    int fd = stream_fd(to, STREAM_TX, &max);
    ssize_t n;

    if (fd < 0)
        return PUMP_TO_BROKE;
    n = splice(p->pipe.rd, NULL, fd, NULL, p->pipe.bytes, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n < 0 && errno == EAGAIN) {
        stream_moved(to, STREAM_TX, 0);
        p->wants_tx = true;
        return PUMP_WAIT;
    }
    if (n <= 0) {
        stream_failed(to, n < 0 ? -errno : -EPIPE);
        return PUMP_TO_BROKE;
    }
    p->pipe.bytes -= (size_t)n;
    stream_moved(to, STREAM_TX, (uint64_t)n);
    if (p->pipe.bytes)
        return PUMP_MORE;
    if (!p->filled || from->rx == STREAM_END)
        pump_give_pipe(p, loop);
    return from->rx == STREAM_END ? pump_end(p, from, to) : PUMP_MORE;
}

/* Fills the empty pipe. The sink has room (nothing is queued there), so an EAGAIN can only mean the source. */
static enum pump_result pump_fill_pipe(struct pump *p, struct loop *loop, struct stream *from, struct stream *to, int fd,
                                       uint64_t max)
{
    size_t want = max < p->pipe.size ? (size_t)max : p->pipe.size;
    ssize_t n = splice(fd, NULL, p->pipe.wr, NULL, want, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);

    if (n > 0) {
        p->bytes += (uint64_t)n;
        p->pipe.bytes = (size_t)n;
        p->filled = n >= PUMP_COPY;
        stream_moved(from, STREAM_RX, (uint64_t)n);
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
static bool pump_splice(struct pump *p, struct loop *loop, struct stream *from, struct stream *to, enum pump_result *ret)
{
    uint64_t max_rx, max_tx;
    int fd;

    if (pump_has_pipe(p) && p->pipe.bytes) {
        *ret = pump_drain_pipe(p, loop, from, to);
        return true;
    }
    if (!p->filled || p->replay)
        return false;
    fd = stream_fd(from, STREAM_RX, &max_rx);
    if (fd < 0 || stream_fd(to, STREAM_TX, &max_tx) < 0)
        return false;
    if (!pump_has_pipe(p) && !pipe_lend(loop->pipes, &p->pipe)) {
        p->pipe.size = 0;
        return false;
    }
    *ret = pump_fill_pipe(p, loop, from, to, fd, max_rx < max_tx ? max_rx : max_tx);
    return true;
}

enum pump_result pump_run(struct pump *p, struct loop *loop, struct stream *from, struct stream *to)
{
    enum pump_result r = PUMP_MORE;
    int copies = PUMP_BUDGET_COPY, splices = PUMP_BUDGET_SPLICE;

    p->wants_tx = false;
    while (r == PUMP_MORE) {
        if (p->state == PUMP_FLUSH)
            return pump_flush(p, to);
        if (p->replay && p->replay->sent < p->replay->n)
            r = pump_replay(p, from, to);
        else if (splices && pump_splice(p, loop, from, to, &r))
            splices--;
        else if (splices && copies)
            copies--, r = pump_copy(p, loop, from, to);
        else
            return PUMP_MORE;
        if (p->replay && p->replay->lost && p->replay->sent == p->replay->n)
            p->replay = NULL;
    }
    return r;
}

/* ---- both directions ---- */

bool relay_half_closed(const struct relay *r)
{
    return (r->up.state > PUMP_RUN) != (r->down.state > PUMP_RUN);
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
    pr = pump_run(p, loop, from, to);
    if (p->bytes != before || pr == PUMP_ENDED)
        r->active_ms = loop->now_ms;
    switch (pr) {
    case PUMP_WAIT:
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
 * nothing for a second, and what it holds back will not be waited for. */
static bool relay_reset_unmet(const struct relay *r, const struct loop *loop, struct stream *client, struct stream *upstream,
                              enum relay_result *ret)
{
    bool stalled = loop->now_ms - r->active_ms >= RELAY_CUT_MS;

    if (stream_broken(client) && (!pump_live(&r->up) || stalled)) {
        *ret = RELAY_CLIENT_BROKE;
        return true;
    }
    if (stream_broken(upstream) && (!pump_live(&r->down) || stalled)) {
        *ret = RELAY_UPSTREAM_BROKE;
        return true;
    }
    return false;
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
    if (pump_live(&r->up) || pump_live(&r->down))
        return ret;
    if (r->up.state == PUMP_DONE && r->down.state == PUMP_DONE)
        return RELAY_ENDED;
    /* A sink broke and the other direction has ended since. */
    return r->up.state == PUMP_DEAD ? RELAY_UPSTREAM_BROKE : RELAY_CLIENT_BROKE;
}
