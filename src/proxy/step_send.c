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

/* Host first where there was none (RFC 9112 3.2), else where it stood; always from the target (C9). */
static int set_host(struct xchg *x, struct head *h)
{
    struct slice host = url_host_field(&x->arena, &h->auth, SCHEME_HTTP);
    struct field *f;

    if (!host.p)
        return ERR_NOMEM;
    f = (struct field *)(uintptr_t)hdrs_find(&h->fields, HDR_HOST);
    if (f) {
        f->value = host;
        return 0;
    }
    if (hdrs_add_known(&h->fields, &x->arena, HDR_HOST, host) < 0)
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
    f->value = arena_printf(&x->arena, "%u", (unsigned)(n - 1));
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
    f = xchg_facts(x);
    f.to = &x->rec.peer;
    f.pending = 0;
    return limits_ask(x, LIMITS_DIALLED, &f);
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
    if (stream_send_head(x->upstream, q->head, !content) == IO_ERR && x->upstream->fault.reason == END_NO_MEMORY)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    /* That the connection broke is step reply's to find out: the origin may have answered before. */
    x->relay.active_ms = x->worker->loop.now_ms;
    if (content) {
        q->replay.sent = 0;
        pace_start(&q->pace, x->worker->loop.now_ms);
        pump_start(&x->relay.up, method_idempotent(q->head->method) && !q->replay.lost ? &q->replay : NULL);
    }
    return STEP_REPLY;
}
