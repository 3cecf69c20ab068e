/* SPDX-License-Identifier: MIT */
/* step send: the request as it leaves: Host from the target, Via, no credentials of ours; then the upload starts. A CONNECT has nothing
 * to send.
 */
#include "base/check.h"
#include "base/num.h"
#include "proto/url.h"
#include "proxy/kept.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

#include <string.h>

/* Host first where there was none (RFC 9112 3.2), else where it stood; always from the target (C9). */
static int set_host(struct xchg *x, struct head *h)
{
    struct slice host = url_host_field(x->arena, &h->auth, h->scheme);
    struct field *f;

    if (!host.p)
        return ERR_NOMEM;
    f = (struct field *)(uintptr_t)hdrs_find(&h->fields, HDR_HOST);
    if (f) {
        f->value = host;
        return 0;
    }
    if (hdrs_add_known(&h->fields, x->arena, HDR_HOST, host) < 0)
        return ERR_NOMEM;
    for (uint32_t i = h->fields.n - 1; i > 0; i--) {
        struct field t = h->fields.v[i];

        h->fields.v[i] = h->fields.v[i - 1];
        h->fields.v[i - 1] = t;
    }
    return 0;
}

/* OPTIONS and TRACE count their hops (C28); zero was answered in local. */
static int set_max_forwards(struct xchg *x, struct head *h)
{
    struct field *f = (struct field *)(uintptr_t)hdrs_find(&h->fields, HDR_MAX_FORWARDS);
    uint64_t n;

    if (!f || (h->method != METHOD_OPTIONS && h->method != METHOD_TRACE))
        return 0;
    if (num_dec(f->value, UINT32_MAX, &n) < 0 || n == 0)
        return 0;
    f->value = arena_printf(x->arena, "%u", (unsigned)(n - 1));
    return f->value.p ? 0 : ERR_NOMEM;
}

static int prepare(struct xchg *x)
{
    struct head *h = x->req->head;

    hdrs_remove(&h->fields, HDR_PROXY_AUTHORIZATION);
    if (set_host(x, h) < 0 || set_max_forwards(x, h) < 0)
        return ERR_NOMEM;
    x->req->prepared = true;
    return xchg_add_via(x, h);
}

/* Those that wanted to know the address. */
static enum xstep ask_limits(struct xchg *x)
{
    struct match_facts f;

    /* With one address nothing is new. */
    if (x->snap->n_limits == 0 || (kept_leads(x) && x->req->n_addrs == 1))
        return STEP_COUNT;
    f = xchg_facts(x, x->rec);
    f.to = xchg_target(x, x->rec);
    f.pending = 0;
    return limits_ask(x, LIMITS_DIALLED, &f);
}

/* A parent gets the whole target, and what proves that it is us. */
static int for_parent(struct xchg *x, struct head *h)
{
    const struct xreq *q = x->req;
    struct slice secret = q->parent->authorization;
    struct hdrs fields = h->fields;

    h->to_proxy = true;
    if (!secret.n)
        return 0;
    /* The list itself stays as it is: the next to get it may be another. */
    h->fields.v = arena_alloc(x->arena, (fields.n + 1) * sizeof(*fields.v));
    if (!h->fields.v)
        return ERR_NOMEM;
    memcpy(h->fields.v, fields.v, fields.n * sizeof(*fields.v));
    h->fields.cap = fields.n + 1;
    return hdrs_add_known(&h->fields, x->arena, HDR_PROXY_AUTHORIZATION, secret);
}

static enum io send_head(struct xchg *x, bool content)
{
    struct head *copy;

    if (!x->req->parent)
        return stream_send_head(x->upstream, x->req->head, !content);
    copy = arena_alloc(x->arena, sizeof(*copy));
    if (copy)
        *copy = *x->req->head;
    if (!copy || for_parent(x, copy) < 0) {
        x->upstream->fault = (struct stream_fault){END_NO_MEMORY, "out of memory"};
        return IO_ERR;
    }
    return stream_send_head(x->upstream, copy, !content);
}

/* Where many share a connection, the peer may say that it has done nothing with a request (C66). */
static bool may_send_again(const struct xchg *x)
{
    return method_idempotent(x->req->head->method) || !x->mux || x->mux->ops->shared;
}

enum xstep step_send(struct xchg *x)
{
    struct xreq *q = x->req;
    enum xstep limited;
    bool content;

    limited = ask_limits(x);
    if (limited != STEP_COUNT)
        return limited;
    kept_complete(x);
    if (x->upstream->tunnel)
        return STEP_REPLY;
    if (!q->prepared && prepare(x) < 0)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    content = q->head->body != BODY_NONE && (q->head->body == BODY_STREAMED || q->head->length);
    if (send_head(x, content) == IO_ERR && x->upstream->fault.reason == END_NO_MEMORY)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    /* That the connection broke is step reply's to find out: the origin may have answered before. */
    x->relay.active_ms = x->worker->loop.now_ms;
    if (content) {
        q->replay.sent = 0;
        pace_start(&q->pace, x->worker->loop.now_ms);
        pump_start(&x->relay.up, may_send_again(x) && !q->replay.lost ? &q->replay : NULL);
    }
    return STEP_REPLY;
}
