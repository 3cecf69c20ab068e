/* SPDX-License-Identifier: MIT */
/* step reply: the response head: from the origin, or made here. Filters it, writes it, starts the download. Interim heads come round
 * again; a kept connection that turns out dead leads back to dial, once, while the request can be sent again whole.
 */
#include "base/check.h"
#include "proxy/peek.h"
#include "proxy/recheck.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

/* ---- the answer to CONNECT ---- */

/* Rules that have changed since it was judged. STEP_COUNT: it may begin. */
static enum xstep judged_late(struct xchg *x)
{
    struct verdict v;

    if (!recheck_due(x) || recheck_passes(x, &v))
        return STEP_COUNT;
    return x->client->tunnel ? recheck_refuse(x, &v) : step_policy_refuse(x, &v);
}

static enum xstep tunnel_begins(struct xchg *x)
{
    bool log_begin = x->snap->conf->log_begin;

    x->tunnel = true;
    stats_add(&x->worker->stats, COUNTER_TUNNELS, 1);
    if ((!x->client->tunnel && stream_tunnel(x->client) < 0) || (!x->upstream->tunnel && stream_tunnel(x->upstream) < 0))
        return xchg_abort(x, END_INTERNAL, NULL);
    if (xchg_shed(x) < 0 || xchg_leave_snapshot(x) < 0)
        return xchg_abort(x, END_NO_MEMORY, NULL);
    if (log_begin)
        xchg_record(x, ACCESS_BEGIN);
    /* What would have been refused: nobody waits for a tunnel's end to be told. */
    xchg_note_denial(x);
    pump_start(&x->relay.up, NULL);
    pump_start(&x->relay.down, NULL);
    x->relay.active_ms = x->worker->loop.now_ms;
    if (!x->peek)
        return STEP_RELAY;
    step_peek_renew(x);
    x->peek->held_ms = 0;
    return STEP_PEEK;
}

bool step_reply_accept(struct xchg *x)
{
    struct head h = {.response = true, .status = 200, .reason = SLICE("Connection established")};

    x->rec->status = 200;
    x->rec->first_byte_us = (uint32_t)(x->worker->loop.now_us - x->rec->start_us);
    return stream_send_head(x->client, &h, false) == IO_OK && stream_flush(x->client) != IO_ERR && stream_tunnel(x->client) == 0;
}

static enum xstep connect_established(struct xchg *x)
{
    enum xstep late;

    /* Before the 200, so that a lack of memory has an answer. */
    if (step_peek_prepare(x) < 0)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    late = judged_late(x);
    if (late != STEP_COUNT)
        return late;
    if (!x->client->tunnel && !step_reply_accept(x))
        return xchg_abort(x, END_CLIENT_RESET, NULL);
    return tunnel_begins(x);
}

/* ---- the origin's head ---- */

static int add_date(struct xchg *x, struct head *h)
{
    struct slice v;

    if (hdrs_find(&h->fields, HDR_DATE))
        return 0;
    v = arena_dup(x->arena, worker_date(x->worker));
    return v.p ? hdrs_add_known(&h->fields, x->arena, HDR_DATE, v) : ERR_NOMEM;
}

/* What a parent says of itself is kept; so that the list is whole, we are in it too (C71). */
static int add_proxy_status(struct xchg *x, struct head *h)
{
    struct slice name = SLICE("Proxy-Status"), v;
    bool has = false;

    for (uint32_t i = 0; i < h->fields.n && !has; i++)
        has = slice_eq_nocase(h->fields.v[i].name, name);
    if (!has)
        return 0;
    v = arena_printf(x->arena, "\"%s\"; received-status=%d", x->snap->conf->name, h->status);
    return v.p ? hdrs_add(&h->fields, x->arena, hdr_id(name), name, v) : ERR_NOMEM;
}

static int filter(struct xchg *x, struct head *h)
{
    /* An origin is no proxy of ours: its challenge for proxy credentials would make the client send them here (C25). */
    if (!x->req->local) {
        hdrs_remove(&h->fields, HDR_PROXY_AUTHENTICATE);
        hdrs_remove(&h->fields, HDR_PROXY_AUTHENTICATION_INFO);
    }
    if (add_date(x, h) < 0 || (x->req->parent && !x->req->local && add_proxy_status(x, h) < 0))
        return ERR_NOMEM;
    return xchg_add_via(x, h);
}

/* 101: only what the client offered, and only then (C32). */
static bool upgrade_accepted(const struct xchg *x, const struct head *h)
{
    const struct head *q = x->req->head;
    bool uploaded = x->client->rx == STREAM_END && (x->relay.up.state == PUMP_OFF || x->relay.up.state == PUMP_DONE);

    /* Before that, bytes of the request would be taken for bytes of the tunnel. */
    return uploaded && q->protocol.n && h->protocol.n && slice_eq_nocase(q->protocol, h->protocol) && !stream_broken(x->client);
}

static enum xstep upgraded(struct xchg *x, struct head *h)
{
    enum xstep late;

    if (!upgrade_accepted(x, h))
        return xchg_fail(x, END_UPSTREAM_NONSENSE, "the origin switches to a protocol that was not offered");
    late = judged_late(x);
    if (late != STEP_COUNT)
        return late;
    x->rec->status = 101;
    x->rec->first_byte_us = (uint32_t)(x->worker->loop.now_us - x->rec->start_us);
    if (xchg_add_via(x, h) < 0)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    if (stream_send_head(x->client, h, false) != IO_OK || stream_flush(x->client) == IO_ERR)
        return xchg_abort(x, END_CLIENT_RESET, NULL);
    pump_stop(&x->relay.up, &x->worker->loop);
    x->rec->bytes_up += x->relay.up.bytes;
    return tunnel_begins(x);
}

static uint32_t head_bytes(const struct head *h)
{
    size_t n = h->reason.n;

    for (uint32_t i = 0; i < h->fields.n; i++)
        n += h->fields.v[i].name.n + h->fields.v[i].value.n + 4;
    return (uint32_t)n;
}

static enum xstep interim(struct xchg *x, struct head *h)
{
    x->req->interim_bytes += head_bytes(h);
    if (++x->req->interim > XCHG_INTERIM_MAX || x->req->interim_bytes > XCHG_INTERIM_BYTES)
        return xchg_fail(x, END_UPSTREAM_NONSENSE, "too many interim answers");
    if (xchg_add_via(x, h) < 0)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    if (stream_send_head(x->client, h, false) != IO_OK)
        return xchg_abort(x, END_CLIENT_RESET, NULL);
    return STEP_REPLY;
}

static void note_type(struct xchg *x, const struct head *h)
{
    const struct field *f = hdrs_find(&h->fields, HDR_CONTENT_TYPE);

    if (f && !x->req->local)
        x->rec->type = slice_of(f->value.p, min_size(f->value.n, ACCESS_TYPE_MAX));
}

/* Its challenge is ours to meet: a client's credentials are for us (C25, U13). */
static enum xstep parent_wants_credentials(struct xchg *x)
{
    const struct hop *p = x->req->parent;
    bool all = x->listen->reasons == REASONS_ALL;
    const char *text = arena_printf(x->arena, "the parent %s answered 407: %s", p->text,
                                    p->authorization.n ? "it does not accept the credentials" : "it wants credentials").p;
    enum xstep next = xchg_fail(x, END_PARENT_AUTH, all ? text : NULL);

    if (text)
        x->rec->detail = slice_str(text);
    return next;
}

static enum xstep final(struct xchg *x, struct head *h)
{
    bool content = x->upstream->rx == STREAM_BODY;
    enum xstep limited = limits_answer(x, h);

    if (limited != STEP_COUNT)
        return limited;
    if (h->status == 407 && x->req->parent && !x->req->local)
        return parent_wants_credentials(x);
    x->req->reply = h;
    x->rec->status = (uint16_t)h->status;
    x->rec->first_byte_us = (uint32_t)(x->worker->loop.now_us - x->rec->start_us);
    if (filter(x, h) < 0)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    if (stream_send_head(x->client, h, !content) != IO_OK)
        return xchg_abort(x, x->client->fault.detail ? x->client->fault.reason : END_CLIENT_RESET, x->client->fault.detail);
    pump_start(&x->relay.down, NULL);
    /* Nothing to come, or nothing that this client may get (HEAD). */
    if (x->client->tx == STREAM_END)
        x->relay.down.state = PUMP_FLUSH;
    x->relay.active_ms = x->worker->loop.now_ms;
    note_type(x, h);
    if (xchg_leave_snapshot(x) < 0)
        return xchg_abort(x, END_NO_MEMORY, NULL);
    return STEP_RELAY;
}

/* ---- no head ---- */

/* Every byte of the upload so far is at hand. */
static bool is_whole(const struct xchg *x)
{
    const struct pump *p = &x->relay.up;

    return p->state == PUMP_OFF || (p->replay && !p->replay->lost);
}

/* Of a connection, not of the origin: a time that has passed is what its mux says when nothing comes on it at all, not even the answer to a PING. */
static bool is_lost(const struct xchg *x)
{
    enum end_reason r = x->upstream->fault.reason;

    return r == END_UPSTREAM_CLOSED || r == END_UPSTREAM_RESET || r == END_UPSTREAM_TIMEOUT;
}

/* A kept connection may have been closed by the origin as the request went out: then nobody has acted on it (RFC 9110 9.2.2,
 * RFC 9112 9.3.1). Only idempotent methods, only while every byte of the upload is at hand, only before a byte of an answer. What the peer says that
 * it has not processed is sent again whatever its method, once (C66). */
static bool may_replay(const struct xchg *x)
{
    const struct xreq *q = x->req;

    if (!is_whole(x) || q->interim || x->upstream->begun)
        return false;
    if (x->upstream->unprocessed)
        return !q->again;
    return x->rec->reused && !q->fresh_only && method_idempotent(q->head->method) && is_lost(x);
}

/* A parent that breaks off before an answer: the next alternative, for what can be sent again. */
static bool fails_over(struct xchg *x)
{
    const struct xreq *q = x->req;

    if (!q->parent || !is_whole(x) || q->interim || x->upstream->begun || !method_idempotent(q->head->method))
        return false;
    return is_lost(x) && xchg_next_alternative(x);
}

static enum xstep no_answer(struct xchg *x)
{
    if (may_replay(x) || fails_over(x)) {
        stats_add(&x->worker->stats, COUNTER_REPLAYS, 1);
        pump_stop(&x->relay.up, &x->worker->loop);
        x->rec->bytes_up += x->relay.up.bytes;
        x->relay.up = (struct pump){.state = PUMP_OFF};
        x->req->again |= x->upstream->unprocessed;
        x->req->fresh_only = true;
        stream_reset(x->upstream);
        xchg_drop_upstream(x);
        return STEP_DIAL;
    }
    return xchg_fail(x, x->upstream->fault.reason, x->upstream->fault.detail);
}

static enum xstep wait_for_answer(struct xchg *x, enum pump_result up)
{
    const struct proxy_conf *c = x->snap->conf;

    if (up == PUMP_MORE)
        return xchg_yield(x);
    /* What we make it wait is nobody's silence. */
    if (up == PUMP_HELD)
        x->relay.active_ms = x->worker->loop.now_ms;
    if (xchg_too_slow(x, up, c->timeouts.body_rate))
        return xchg_fail(x, END_REQUEST_TIMEOUT, XCHG_TOO_SLOW);
    /* Whose silence it is: the client's (its upload), or the origin's. */
    if (xchg_awaits_client(x))
        xchg_wait_upload(x, x->relay.active_ms + c->timeouts.idle, END_REQUEST_TIMEOUT, c->timeouts.body_rate);
    else
        xchg_wait_until(x, x->relay.active_ms + c->timeouts.response, END_UPSTREAM_TIMEOUT);
    /* Only what has really passed counts: the deadline may have moved since the timer was set. */
    if (x->expired && x->worker->loop.now_ms >= x->deadline_ms)
        return xchg_fail(x, x->deadline_reason,
                         x->deadline_reason == END_REQUEST_TIMEOUT ? "the content of the request is too slow" : NULL);
    x->expired = false;
    return STEP_WAIT;
}

enum xstep step_reply(struct xchg *x)
{
    uint64_t before = x->relay.up.bytes;
    struct head *h = NULL;
    enum pump_result up;
    enum xstep over;

    if (x->upstream->tunnel)
        return connect_established(x);
    up = x->req->local ? PUMP_ENDED : xchg_upload(x);
    over = limits_end(x);
    if (over != STEP_COUNT)
        return over;
    if (up == PUMP_FROM_BROKE)
        return xchg_fail(x, x->client->fault.reason, x->client->fault.detail);
    if (x->relay.up.bytes != before || (up == PUMP_ENDED && x->relay.up.state == PUMP_DONE && !x->req->uploaded)) {
        x->req->uploaded = x->relay.up.state == PUMP_DONE;
        x->relay.active_ms = x->worker->loop.now_ms;
    }
    switch (stream_recv_head(x->upstream, x->arena, &h)) {
    case IO_OK:
        break;
    case IO_AGAIN:
        if (stream_broken(x->client))
            return xchg_abort(x, END_CLIENT_RESET, NULL);
        if (stream_flush(x->upstream) == IO_ERR)
            return no_answer(x);
        /* Interim answers may be leaving. */
        if (stream_flush(x->client) == IO_ERR)
            return xchg_abort(x, END_CLIENT_RESET, NULL);
        return wait_for_answer(x, up);
    case IO_EOF:
        x->upstream->fault = (struct stream_fault){END_UPSTREAM_CLOSED, "the origin closed without an answer"};
        return no_answer(x);
    case IO_ERR:
        return no_answer(x);
    }
    if (h->status == 101)
        return upgraded(x, h);
    return h->status < 200 ? interim(x, h) : final(x, h);
}
