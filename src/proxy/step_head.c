/* SPDX-License-Identifier: MIT */
/* step head: is this a request that we can represent? Waits for the rest of the head; notes for the record what there is of it,
 * also of a refused one.
 */
#include "base/check.h"
#include "proxy/local_pages.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

static struct slice path_without_query(struct slice path)
{
    return slice_of(path.p, min_size(slice_find(path, '?'), ACCESS_PATH_MAX));
}

static struct slice field_value(const struct head *h, enum hdr id)
{
    const struct field *f = hdrs_find(&h->fields, id);

    return f ? slice_of(f->value.p, min_size(f->value.n, ACCESS_AGENT_MAX)) : SLICE_NONE;
}

static void note_agent(struct access_record *r, const struct head *h)
{
    r->agent = field_value(h, HDR_USER_AGENT);
    r->referer = field_value(h, HDR_REFERER);
    r->referer.n = min_size(slice_find(r->referer, '?'), slice_find(r->referer, '#'));
}

static void note(struct xchg *x, const struct head *h)
{
    struct access_record *r = x->rec;

    if (!h)
        return;
    r->method = slice_of(h->method_name.p, min_size(h->method_name.n, ACCESS_METHOD_MAX));
    r->version = h->version;
    r->host = h->auth.host;
    r->path = h->method == METHOD_CONNECT ? SLICE_NONE : path_without_query(h->path);
    x->req->port = h->auth.port;
    if (!x->req->port)
        x->req->port = h->scheme == SCHEME_HTTPS ? 443 : 80;
    r->port = h->auth.host.n ? x->req->port : 0;
    r->scheme = h->method == METHOD_CONNECT ? MATCH_CONNECT
                : h->scheme == SCHEME_HTTPS ? MATCH_HTTPS
                : h->scheme == SCHEME_HTTP  ? MATCH_HTTP
                                            : 0;
    if (x->snap->conf->log_agent)
        note_agent(r, h);
}

/* A message of ours comes round again (C38). Via is a list: received-protocol and received-by, blanks between. */
static bool went_through_here(const struct head *h, struct slice name)
{
    uint32_t i = 0;
    const struct field *f;

    for (f = hdrs_next(&h->fields, HDR_VIA, &i); f; i++, f = hdrs_next(&h->fields, HDR_VIA, &i)) {
        struct slice list = f->value, item;

        while (slice_next_item(&list, &item)) {
            size_t sp = slice_find(item, ' ');
            struct slice by = sp < item.n ? slice_trim(slice_skip(item, sp)) : SLICE_NONE;

            by.n = slice_find(by, ' ');
            if (slice_eq_nocase(by, name))
                return true;
        }
    }
    return false;
}

enum xstep step_head(struct xchg *x)
{
    const struct proxy_conf *c = x->snap->conf;
    struct head *h = NULL;

    switch (stream_recv_head(x->client, x->arena, &h)) {
    case IO_OK:
        break;
    case IO_AGAIN:
        if (x->expired && !x->client->begun) {
            /* Empty lines are no request. */
            x->silent = true;
            return xchg_abort(x, END_REQUEST_TIMEOUT, NULL);
        }
        if (x->expired)
            return xchg_fail(x, x->deadline_reason, "the head of the request is too slow");
        return xchg_wait_until(x, x->rec->start_us / 1000 + c->timeouts.head, END_REQUEST_TIMEOUT);
    case IO_EOF:
        x->silent = true;
        return xchg_abort(x, END_CLIENT_GONE, NULL);
    case IO_ERR:
        note(x, h);
        x->req->head = h;
        return xchg_fail(x, x->client->fault.reason, x->client->fault.detail);
    }
    x->req->head = h;
    note(x, h);
    if (local_pages_are_meant(x, h))
        h->form = FORM_ORIGIN;
    if (c->via && went_through_here(h, slice_str(c->name)))
        return xchg_fail(x, END_LOOP, "the request went through this proxy before");
    return STEP_AUTH;
}
