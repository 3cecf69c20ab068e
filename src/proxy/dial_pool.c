/* SPDX-License-Identifier: MIT */
/* dial_pool: what a dial takes from the pool and gives to it: a kept or shared connection to the farthest peer that has one, and turns to dial what may be shared. Called
 * by dial and its rooms. A connection that was kept serves only what can be sent again.
 */
#include "io/tls.h"
#include "mux/mux.h"
#include "proxy/dial_inside.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

/* ---- taking ---- */

static struct upstream_want want_of(const struct dial *d, unsigned i)
{
    const struct xreq *q = d->x->req;
    bool judged = dial_is_origin(d, i) && (i == 0 || dial_sends_address(d));

    return (struct upstream_want){
        .host = d->peers[i]->host,
        .port = d->peers[i]->port,
        .id = d->ids[i],
        .addrs = q->addrs,
        .n_addrs = judged ? q->n_addrs : 0,
        .sources = dial_sources(q->route),
        .max_idle_ms = method_idempotent(q->head->method) && q->head->body == BODY_NONE ? UINT64_MAX : UPSTREAM_SURE_MS,
    };
}

/* An idle connection that carries one stream at a time serves only a request that can be sent again: a CONNECT dials. */
static bool take_kept(struct dial *d, unsigned i)
{
    struct upstream_want want = want_of(d, i);

    d->stream = upstream_open(d->worker->upstream, &want, &d->x->task, &d->result.end);
    if (!d->stream && !d->fresh && i == d->n_peers - 1 && !d->tunnel) {
        d->mux = upstream_take(d->worker->upstream, &want, &d->result.end);
        d->stream = d->mux ? mux_open(d->mux, &d->x->task) : NULL;
        if (d->mux && !d->stream)
            mux_close(&d->mux, false);
    }
    if (!d->stream)
        return false;
    d->at = i;
    d->kept = true;
    if (dial_is_origin(d, i) && i)
        d->result.to = d->result.end.addr;
    return true;
}

enum dial_next dial_pool_seek(struct dial *d)
{
    for (unsigned i = d->n_peers; i-- > 0;) {
        struct upstream_want want = want_of(d, i);

        if (take_kept(d, i))
            return dial_hop_through(d);
        if (!d->tls[i] || (d->impatient & 1u << i) || !(dial_alpn(d, i) & TLS_ALPN_H2))
            continue;
        if (upstream_turn_ask(d->worker->upstream, &d->turns[i], &want, &d->x->task) != TURN_WAITS)
            continue;
        d->waits_for = i;
        d->state = DIAL_QUEUE;
        return dial_wait(d, d->x->snap->conf->timeouts.connect);
    }
    return dial_first_begin(d);
}

enum dial_next dial_pool_queue(struct dial *d, bool late)
{
    struct upstream_turn *t = &d->turns[d->waits_for];

    if (t->state == TURN_WAITS && !late)
        return DIAL_WAIT;
    /* Nobody waits for one who fails for everybody; and there is an end to waiting for those who succeed for others. */
    if (t->state == TURN_WAITS || t->news == UPSTREAM_FAILED || ++d->queued >= DIAL_QUEUES)
        d->impatient |= 1u << d->waits_for;
    upstream_turn_end(d->worker->upstream, t, UPSTREAM_GIVEN_UP);
    d->state = DIAL_SEEK;
    return DIAL_GO;
}

/* ---- giving ---- */

static struct upstream_end end_of(const struct dial *d)
{
    struct upstream_end e = d->result.end;

    e.host = dial_peer(d)->host;
    e.port = dial_peer(d)->port;
    e.id = d->ids[d->at];
    e.addr = (struct addr){0};
    if (dial_is_origin(d, d->at) && d->at == 0)
        e.addr = e.peer;
    else if (dial_is_origin(d, d->at) && dial_sends_address(d))
        e.addr = d->result.to;
    return e;
}

/* Takes d->mux where it is shared. */
enum dial_next dial_pool_open(struct dial *d)
{
    struct mux *m = d->mux;
    struct upstream_end end = end_of(d);
    bool shared = m->ops->shared, ours = true;

    d->stream = mux_open(m, &d->x->task);
    if (!d->stream) {
        mux_close(&d->mux, false);
        return dial_fail_peer(d, END_UPSTREAM_CLOSED, "it closed at once");
    }
    d->result.end = end;
    if (shared)
        ours = upstream_share(d->worker->upstream, &d->mux, &end) < 0;
    upstream_turn_end(d->worker->upstream, &d->turns[d->at], shared && !ours ? UPSTREAM_SHARED : shared ? UPSTREAM_GIVEN_UP : UPSTREAM_ALONE);
    return dial_hop_through(d);
}

void dial_pool_tell(struct dial *d, enum upstream_news news)
{
    for (unsigned i = 0; i < d->n_peers; i++)
        upstream_turn_end(d->worker->upstream, &d->turns[i], news);
}
