/* SPDX-License-Identifier: MIT */
/* local_pages: what is answered here though nothing is wrong: /healthz, the PAC file, http://ginnel.internal/, Max-Forwards, and what listeners of
 * other roles say, which the house writes (worker->site). Called by the steps head and policy. Here, too, nothing is echoed unescaped.
 */
#include "proxy/local_pages.h"

#include "base/json.h"
#include "base/num.h"
#include "build_config.h"
#include "io/addr.h"
#include "proxy/body_form.h"
#include "proxy/local.h"
#include "proxy/pac.h"
#include "proxy/session.h"
#include "proxy/worker.h"

enum { FIXED_MAX = 2048 /* of a JSON body, beside what is put into it */ };

/* ---- listeners that do not proxy ---- */

static const char *reply_allow(const struct site_reply *r)
{
    return r->status == 405 ? r->allow : NULL;
}

enum xstep local_pages_admin(struct xchg *x)
{
    const struct head *h = x->req->head;
    size_t query = slice_find(h->path, '?');
    struct site_request q = {
        .role = x->listen->role,
        .method = h->method,
        .path = slice_of(h->path.p, query),
        .query = slice_skip(h->path, min_size(query + 1, h->path.n)),
        .wants_json = body_form_of(h) == BODY_JSON,
    };
    struct site_reply r = {0};
    struct head *out;

    if (h->form == FORM_ABSOLUTE || h->method == METHOD_CONNECT)
        return xchg_fail(x, END_BAD_REQUEST, "this is not the proxy's address but its administration's");
    x->worker->site(x->worker->site_owner, &q, &r);
    x->body = r.body;
    out = r.status ? local_head(x, r.status, slice_str(r.type ? r.type : "text/plain; charset=utf-8"), r.n) : NULL;
    if (!out || (reply_allow(&r) && local_add(x, out, "Allow", slice_str(r.allow)) < 0))
        return xchg_fail(x, END_NO_MEMORY, NULL);
    return xchg_reply_local(x, out, slice_of(r.body, r.n));
}

/* ---- the small site ---- */

static enum xstep reply(struct xchg *x, int status, struct slice type, struct slice body)
{
    struct head *h = body.p ? local_head(x, status, type, body.n) : NULL;

    return h ? xchg_reply_local(x, h, body) : xchg_fail(x, END_NO_MEMORY, NULL);
}

/* A list with commas between, as an array. */
static void json_names(struct json *j, const char *key, struct slice list)
{
    json_key(j, key);
    json_open(j, '[');
    while (list.n) {
        size_t n = slice_find(list, ',');

        json_str(j, slice_of(list.p, n));
        list = n < list.n ? slice_skip(list, n + 1) : SLICE_NONE;
    }
    json_close(j, ']');
}

/* http://ginnel.internal/: proves to a client that it comes through this proxy (S001-27). */
static enum xstep who_am_i(struct xchg *x)
{
    const struct access_record *r = x->rec;
    size_t cap = FIXED_MAX + (r->user.n + r->groups.n + r->labels.n) * 8;
    char addr[ADDR_TEXT_MAX];
    char *p = arena_alloc(x->arena, cap);
    struct json j;

    if (!p)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    addr_host_text(&x->session->client, addr);
    json_init(&j, p, cap - 1);
    json_open(&j, '{');
    json_kstr(&j, "proxy", SLICE("ginnel"));
    json_kstr(&j, "version", SLICE(GINNEL_VERSION));
    json_kstr(&j, "name", slice_str(x->snap->conf->name));
    json_kstr(&j, "client_address", slice_str(addr));
    json_ku64(&j, "client_port", addr_port(&x->session->client));
    if (r->user.n) {
        json_kstr(&j, "user", r->user);
        json_names(&j, "groups", r->groups);
        json_names(&j, "labels", r->labels);
    }
    json_close(&j, '}');
    p[j.n] = '\n';
    return reply(x, 200, SLICE("application/json"), slice_of(p, j.n + 1));
}

static enum xstep internal_site(struct xchg *x)
{
    const struct head *h = x->req->head;

    if (h->method == METHOD_CONNECT)
        return xchg_fail(x, END_NOT_BUILT, "ginnel.internal is a plain http site of the proxy itself");
    if (!slice_eq(slice_of(h->path.p, slice_find(h->path, '?')), SLICE("/")))
        return reply(x, 404, SLICE("text/plain; charset=utf-8"), SLICE("404: http://ginnel.internal/ is all there is\n"));
    if (h->method != METHOD_GET && h->method != METHOD_HEAD)
        return reply(x, 405, SLICE("text/plain; charset=utf-8"), SLICE("405: GET or HEAD\n"));
    return who_am_i(x);
}

static bool is_page(struct slice path)
{
    return slice_eq(path, SLICE("/healthz")) || slice_eq(path, SLICE("/proxy.pac")) || slice_eq(path, SLICE("/wpad.dat"));
}

static bool is_own_host(struct xchg *x, const struct authority *auth, const struct addr *local)
{
    char text[ADDR_TEXT_MAX];

    if (pac_name_is_for(x->listen->cert_names, auth->host))
        return true;
    addr_host_text(local, text);
    return slice_eq(auth->host, slice_str(text)) || (addr_is_loopback(local) && slice_eq(auth->host, SLICE("localhost")));
}

bool local_pages_are_meant(struct xchg *x, const struct head *h)
{
    enum scheme scheme = x->session->door && x->session->door->tls_version ? SCHEME_HTTPS : SCHEME_HTTP;
    struct addr local;

    if (h->version != 20 || h->form != FORM_ABSOLUTE || h->scheme != scheme || (h->method != METHOD_GET && h->method != METHOD_HEAD) || !is_page(h->path))
        return false;
    if (x->listen->role != LISTEN_PROXY || !conn_tcp_local(x->session->mux->conn, &local))
        return false;
    return x->req->port == addr_port(&local) && is_own_host(x, &h->auth, &local);
}

/* A script for browsers: these listeners, those with TLS first. */
static enum xstep pac_file(struct xchg *x)
{
    const struct head *h = x->req->head;
    struct slice proxies;
    struct addr local = {0};

    if (h->method != METHOD_GET && h->method != METHOD_HEAD)
        return reply(x, 405, SLICE("text/plain; charset=utf-8"), SLICE("405: GET or HEAD\n"));
    if (!conn_tcp_local(x->session->mux->conn, &local))
        local = (struct addr){0};
    if (pac_proxies(x->arena, x->snap, &h->auth, &local, &proxies) < 0)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    if (proxies.n == 0)
        return reply(x, 404, SLICE("text/plain; charset=utf-8"), SLICE("404: no listener has an address that could be written into a PAC file\n"));
    return reply(x, 200, SLICE("application/x-ns-proxy-autoconfig"),
                 arena_printf(x->arena, "function FindProxyForURL(url, host) {\n  return \"" SLICE_FMT "\";\n}\n", SLICE_ARG(proxies)));
}

/* A request that was meant for an origin, or a browser tricked by DNS into asking us: never forwarded (DESIGN 2). */
static enum xstep origin_form(struct xchg *x)
{
    const struct head *h = x->req->head;

    if (slice_eq(h->path, SLICE("/healthz")) && (h->method == METHOD_GET || h->method == METHOD_HEAD))
        return reply(x, 200, SLICE("text/plain; charset=utf-8"), SLICE("ok\n"));
    if (slice_eq(h->path, SLICE("/proxy.pac")) || slice_eq(h->path, SLICE("/wpad.dat")))
        return pac_file(x);
    return xchg_fail(x, END_BAD_REQUEST, "this is a proxy: send it the whole URL (GET http://host/path) or CONNECT host:port");
}

/* Max-Forwards: 0 is answered by whoever it has reached (RFC 9110 7.6.2). */
static bool last_hop(const struct head *h)
{
    const struct field *f = hdrs_find(&h->fields, HDR_MAX_FORWARDS);
    uint64_t n;

    return h->method == METHOD_OPTIONS && f && num_dec(f->value, UINT32_MAX, &n) == 0 && n == 0;
}

static enum xstep options_here(struct xchg *x)
{
    struct head *h = local_head(x, 200, SLICE_NONE, 0);

    if (!h || local_add(x, h, "Allow", SLICE("GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, PATCH")) < 0)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    return xchg_reply_local(x, h, SLICE(""));
}

enum xstep local_pages_answer(struct xchg *x)
{
    const struct head *h = x->req->head;

    if (h->method != METHOD_CONNECT && h->form != FORM_ABSOLUTE)
        return origin_form(x);
    if (h->method == METHOD_TRACE)
        return xchg_fail(x, END_TRACE_OFF, NULL);
    if (slice_eq(h->auth.host, SLICE("ginnel.internal")))
        return internal_site(x);
    if (last_hop(h))
        return options_here(x);
    return STEP_COUNT;
}
