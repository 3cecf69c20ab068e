/* SPDX-License-Identifier: MIT */
/* site: a table of pages: path, method, who may ask. Called by the steps of the house's exchanges, on the main thread, which may block a little
 * here. It never changes anything but through site_ops, and never for a role that a page is not for.
 */
#include "app/site.h"

#include "app/metrics.h"
#include "app/status.h"
#include "app/text.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "build_config.h"

#include <stdio.h>

static const char type_text[] = "text/plain; charset=utf-8", type_json[] = "application/json";

/* ---- replies ---- */

static void reply_take(struct site_reply *r, int status, const char *type, char *body, size_t n)
{
    /* Status 0 tells the caller that memory ran out. */
    *r = (struct site_reply){.status = body ? status : 0, .type = type, .body = body, .n = body ? n : 0};
}

static void reply_line(struct site_reply *r, int status, const char *line)
{
    size_t n = strlen(line);

    reply_take(r, status, type_text, mem_dup(line, n), n);
}

/* ---- what a query asks for ---- */

struct wish {
    uint64_t exchanges;
    bool json;
};

static bool read_parameter(struct slice item, struct wish *w)
{
    size_t equals = slice_find(item, '=');
    struct slice name = slice_of(item.p, equals), value = slice_skip(item, min_size(equals + 1, item.n));

    if (slice_eq(name, SLICE("json")) && value.n == 0) {
        w->json = true;
        return true;
    }
    return slice_eq(name, SLICE("exchanges")) && num_dec(value, STATUS_EXCHANGES_MAX, &w->exchanges) == 0;
}

static bool read_query(struct slice query, struct wish *w)
{
    while (query.n) {
        size_t n = slice_find(query, '&');

        if (n && !read_parameter(slice_of(query.p, n), w))
            return false;
        query = slice_skip(query, min_size(n + 1, query.n));
    }
    return true;
}

/* ---- pages ---- */

static void page_metrics(const struct site_ops *ops, const struct site_request *q, struct site_reply *r)
{
    struct server_view v;
    size_t n = 0;
    char *p;

    UNUSED(q);
    if (ops->view(ops->owner, false, 0, &v) < 0)
        return;
    p = metrics_text(&v, &n);
    ops->view_done(ops->owner, &v);
    reply_take(r, 200, METRICS_TYPE, p, n);
}

static void page_healthz(const struct site_ops *ops, const struct site_request *q, struct site_reply *r)
{
    UNUSED(ops);
    UNUSED(q);
    reply_line(r, 200, "ok\n");
}

static void page_readyz(const struct site_ops *ops, const struct site_request *q, struct site_reply *r)
{
    UNUSED(q);
    switch (ops->phase(ops->owner)) {
    case SERVER_STARTING:
        reply_line(r, 503, "starting\n");
        return;
    case SERVER_READY:
        reply_line(r, 200, "ready\n");
        return;
    case SERVER_DRAINING:
        reply_line(r, 503, "draining\n");
        return;
    }
}

static void page_root(const struct site_ops *ops, const struct site_request *q, struct site_reply *r)
{
    UNUSED(ops);
    if (q->role == LISTEN_CONTROL)
        reply_line(r, 200,
                   "ginnel " GINNEL_VERSION ": GET /status /config /denied /why?url=URL /metrics /healthz /readyz, POST /reload /drain\n");
    else
        reply_line(r, 200, "ginnel " GINNEL_VERSION ": /metrics /healthz /readyz\n");
}

static void page_status(const struct site_ops *ops, const struct site_request *q, struct site_reply *r)
{
    struct wish w = {.exchanges = STATUS_EXCHANGES, .json = q->wants_json};
    struct server_view v;
    size_t n = 0;
    char *p;

    if (!read_query(q->query, &w)) {
        reply_line(r, 400, "400: /status takes exchanges=N (up to 10000) and json\n");
        return;
    }
    if (ops->view(ops->owner, true, (unsigned)w.exchanges, &v) < 0)
        return;
    v.n_exchanges = (unsigned)w.exchanges;
    p = w.json ? status_json(&v, &n) : status_text(&v, &n);
    ops->view_done(ops->owner, &v);
    reply_take(r, 200, w.json ? type_json : type_text, p, n);
}

static void page_config(const struct site_ops *ops, const struct site_request *q, struct site_reply *r)
{
    char *p = ops->config(ops->owner);

    UNUSED(q);
    reply_take(r, 200, type_text, p, p ? strlen(p) : 0);
}

static void page_denied(const struct site_ops *ops, const struct site_request *q, struct site_reply *r)
{
    struct wish w = {.json = q->wants_json};
    size_t n = 0;
    char *p;

    if (!read_query(q->query, &w)) {
        reply_line(r, 400, "400: /denied takes json\n");
        return;
    }
    p = ops->denied(ops->owner, w.json, &n);
    reply_take(r, 200, w.json ? type_json : type_text, p, n);
}

static void page_why(const struct site_ops *ops, const struct site_request *q, struct site_reply *r)
{
    char why[SITE_WHY], line[SITE_WHY + 8], *p = NULL;
    size_t n = 0;
    int e = ops->why(ops->owner, q->query, q->wants_json, &p, &n, why);

    if (e == 0) {
        reply_take(r, 200, q->wants_json ? type_json : type_text, p, n);
    } else if (e != ERR_NOMEM) {
        snprintf(line, sizeof(line), "400: %s\n", why);
        reply_line(r, 400, line);
    }
}

static void page_reload(const struct site_ops *ops, const struct site_request *q, struct site_reply *r)
{
    char *text = NULL;
    /* 422: understood, and refused for what the configuration says; 503: not now */
    static const int status[RELOAD_RESULTS] = {[RELOAD_NONE] = 503, [RELOAD_OK] = 200, [RELOAD_UNCHANGED] = 200, [RELOAD_FAILED] = 422};
    enum reload_result result;

    UNUSED(q);
    if (ops->reload(ops->owner, &text, &result) == 0)
        reply_take(r, status[result], type_text, text, text ? strlen(text) : 0);
}

static void page_drain(const struct site_ops *ops, const struct site_request *q, struct site_reply *r)
{
    UNUSED(q);
    /* The answer first: what begins now cannot be taken back for lack of memory. */
    reply_line(r, 202, "draining\n");
    if (r->status)
        ops->drain(ops->owner);
}

/* ---- the table ---- */

struct page {
    struct slice path;
    bool control; /* for the control socket alone */
    bool post;    /* it does something; else it is read */
    void (*answer)(const struct site_ops *ops, const struct site_request *q, struct site_reply *r);
};

#define PATH(lit) {"" lit, sizeof(lit) - 1}
static const struct page pages[] = {
    {PATH("/"), false, false, page_root},         {PATH("/metrics"), false, false, page_metrics},
    {PATH("/healthz"), false, false, page_healthz}, {PATH("/readyz"), false, false, page_readyz},
    {PATH("/status"), true, false, page_status},  {PATH("/config"), true, false, page_config},
    {PATH("/denied"), true, false, page_denied},  {PATH("/why"), true, false, page_why},
    {PATH("/reload"), true, true, page_reload},   {PATH("/drain"), true, true, page_drain},
};

static const struct page *page_find(const struct site_request *q)
{
    for (size_t i = 0; i < ARRAY_LEN(pages); i++)
        if (slice_eq(q->path, pages[i].path) && (!pages[i].control || q->role == LISTEN_CONTROL))
            return &pages[i];
    return NULL;
}

static bool page_takes(const struct page *p, enum method m)
{
    return p->post ? m == METHOD_POST : m == METHOD_GET || m == METHOD_HEAD;
}

void site_answer(void *owner, const struct site_request *q, struct site_reply *ret_reply)
{
    const struct site_ops *ops = owner;
    const struct page *p = page_find(q);

    *ret_reply = (struct site_reply){0};
    if (!p) {
        reply_line(ret_reply, 404, "404: there is no such page; / names those that there are\n");
    } else if (!page_takes(p, q->method)) {
        reply_line(ret_reply, 405, p->post ? "405: POST\n" : "405: GET or HEAD\n");
        ret_reply->allow = p->post ? "POST" : "GET, HEAD";
    } else {
        p->answer(ops, q, ret_reply);
    }
}
