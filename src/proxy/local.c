/* SPDX-License-Identifier: MIT */
/* local: replies made here. Every refusal says why: status, Proxy-Status (RFC 9209), a short body in the form the client prefers.
 * Nothing from the request is echoed unescaped, and nothing of the inside is told.
 */
#include "proxy/local.h"

#include "proto/authn.h"
#include "proto/phrase.h"
#include "proxy/refusal.h"

#include <stdio.h>

int local_add(struct xchg *x, struct head *h, const char *name, struct slice value)
{
    struct slice n = slice_str(name);

    return value.p ? hdrs_add(&h->fields, x->arena, hdr_id(n), n, value) : ERR_NOMEM;
}

struct head *local_head(struct xchg *x, int status, struct slice type, size_t length)
{
    struct head *h = arena_zalloc(x->arena, sizeof(*h));

    if (!h)
        return NULL;
    h->response = true;
    h->version = 11;
    h->status = status;
    h->reason = slice_str(phrase_of(status));
    h->body = BODY_SIZED;
    h->length = length;
    hdrs_init(&h->fields);
    if (type.n && local_add(x, h, "Content-Type", type) < 0)
        return NULL;
    return h;
}

/* After these nothing more can be understood, or should be, on the connection. */
static bool must_close(enum end_reason reason)
{
    const struct end_info *e = end_info(reason);

    return e->status == 400 || e->status == 408 || e->status == 414 || e->status == 431 || e->status == 501 ||
           e->status == 505 || reason == END_NOT_ADMITTED || reason == END_DRAINED || reason == END_NO_MEMORY ||
           reason == END_CAPACITY_CONNECTIONS || reason == END_CAPACITY_CLIENT || reason == END_CAPACITY_MEMORY;
}

size_t local_busy_reply(const char *name, enum end_reason why, bool details, char out[LOCAL_BUSY_MAX])
{
    const struct end_info *e = end_info(why);
    int n = snprintf(out, LOCAL_BUSY_MAX,
                     "HTTP/1.1 %d %s\r\nProxy-Status: \"%s\"; error=%s%s%s%s\r\n"
                     "Via: 1.1 %s\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                     e->status, phrase_of(e->status), name, e->proxy_status, details ? "; details=\"" : "", details ? e->text : "",
                     details ? "\"" : "", name);

    return min_size((size_t)n, LOCAL_BUSY_MAX - 1);
}

/* Nearest to the origin first (C71). */
static int add_members(struct xchg *x, struct head *h, const struct parent_answer *a)
{
    for (unsigned i = 0; a && i < a->n_members; i++)
        if (local_add(x, h, "Proxy-Status", a->members[i]) < 0)
            return ERR_NOMEM;
    return 0;
}

#define CLEAR_TEXT                                                                                                                     \
    "400: this port of the proxy speaks TLS, and was spoken to in clear.\nWrite its URL with https:// (curl -x https://HOST:PORT ...; a " \
    "browser's PAC file says \"HTTPS host:port\").\nThe operator can let both be spoken here: `tls: {clear: yes}`.\n"

size_t local_clear_reply(const char *name, bool details, char out[LOCAL_CLEAR_MAX])
{
    const struct end_info *e = end_info(END_BAD_REQUEST);
    int n = snprintf(out, LOCAL_CLEAR_MAX,
                     "HTTP/1.1 %d %s\r\nProxy-Status: \"%s\"; error=%s%s\r\nVia: 1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                     "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                     e->status, phrase_of(e->status), name, e->proxy_status, details ? "; details=\"this port speaks TLS\"" : "", name,
                     details ? sizeof(CLEAR_TEXT) - 1 : 0, details ? CLEAR_TEXT : "");

    return min_size((size_t)n, LOCAL_CLEAR_MAX - 1);
}

static struct slice retry_after(struct xchg *x)
{
    return arena_printf(x->arena, "%u", x->req->retry_s ? x->req->retry_s : 1);
}

int local_error(struct xchg *x, enum end_reason reason, const char *detail, struct head **ret_head, struct slice *ret_body)
{
    const struct end_info *e = end_info(reason);
    enum body_form form = body_form_of(x->req->head);
    struct refusal r;
    struct slice body;
    struct head *h;

    if (refusal_of(x, reason, detail, &r) < 0)
        return ERR_NOMEM;
    body = refusal_body(x->arena, form, &r);
    if (body.p && refusal_body_add_parent(x, form, &r, &body) < 0)
        return ERR_NOMEM;
    h = body.p ? local_head(x, e->status, body_form_type(form), body.n) : NULL;
    if (!h || add_members(x, h, r.parent) < 0 || local_add(x, h, "Proxy-Status", refusal_status(x, &r)) < 0)
        return ERR_NOMEM;
    if ((e->status == 503 || e->status == 429) && local_add(x, h, "Retry-After", retry_after(x)) < 0)
        return ERR_NOMEM;
    if (e->status == 407 && local_add(x, h, "Proxy-Authenticate", SLICE(AUTHN_CHALLENGE)) < 0)
        return ERR_NOMEM;
    if (e->status == 405 && local_add(x, h, "Allow", SLICE("GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, PATCH")) < 0)
        return ERR_NOMEM;
    /* A refused CONNECT is the end of its connection: what its client takes for the tunnel may be on the way. */
    h->close = must_close(reason) || ((e->status == 407 || r.parent) && x->req->head && x->req->head->method == METHOD_CONNECT);
    *ret_head = h;
    *ret_body = body;
    return 0;
}
