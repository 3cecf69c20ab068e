/* SPDX-License-Identifier: MIT */
/* mux_h2_head: header blocks become neutral heads. What is refused here is refused as h1_parse would: a byte that passes may be written out as HTTP/1
 * (FAILURES 21). nghttp2 has checked most of it before; this room does not rely on that.
 * Called by the roles of HTTP/2. No I/O.
 */
#include "mux/mux_h2_priv.h"

#include "base/num.h"
#include "proto/chars.h"
#include "proto/h1_frame.h"
#include "proto/url.h"

static const struct h2_verdict fine = {.fault = {END_NONE, NULL}};

static struct h2_verdict malformed(const char *text)
{
    return (struct h2_verdict){.fault = {END_BAD_REQUEST, text}, .malformed = true};
}

static struct h2_verdict refused(enum end_reason reason, const char *text)
{
    return (struct h2_verdict){.fault = {reason, text}};
}

static struct h2_verdict no_memory(void)
{
    return refused(END_NO_MEMORY, "out of memory");
}

/* ---- fields ---- */

enum pseudo { P_METHOD, P_SCHEME, P_AUTHORITY, P_PATH, P_PROTOCOL, P_STATUS, P_COUNT };

struct reading {
    struct arena *arena;
    struct slice pseudo[P_COUNT]; /* .p NULL: not there */
    struct hdrs *fields;
    unsigned n_cookies;
    bool trailers;
};

static const struct slice pseudo_names[P_COUNT] = {
    {":method", 7}, {":scheme", 7}, {":authority", 10}, {":path", 5}, {":protocol", 9}, {":status", 7},
};

static struct h2_verdict take_pseudo(struct reading *r, struct slice name, struct slice value)
{
    if (r->fields->n || r->trailers)
        return malformed("a pseudo-field behind a field, or in trailers");
    for (unsigned i = 0; i < P_COUNT; i++) {
        if (!slice_eq(name, pseudo_names[i]))
            continue;
        if (r->pseudo[i].p)
            return malformed("a pseudo-field twice");
        r->pseudo[i] = value;
        return fine;
    }
    return malformed("an unknown pseudo-field");
}

static bool blank(char c)
{
    return chars_is(c, CHARS_BLANK);
}

/* RFC 9113 8.2.1, and what a field of HTTP/1 may be made of. */
static bool name_passes(struct slice name)
{
    if (!chars_is_token(name))
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] >= 'A' && name.p[i] <= 'Z')
            return false;
    return true;
}

static bool value_passes(struct slice value)
{
    return chars_is_value(value) && !(value.n && (blank(value.p[0]) || blank(value.p[value.n - 1])));
}

static struct h2_verdict take_field(struct reading *r, struct slice name, struct slice value)
{
    enum hdr id;

    if (!name_passes(name))
        return malformed("a field name is empty, not a token, or has upper case");
    if (!value_passes(value))
        return malformed("a control byte in a field value, or blank at its ends");
    id = hdr_id(name);
    /* RFC 9113 8.2.2 (C57) */
    if (id == HDR_TE ? !slice_eq_nocase(value, SLICE("trailers")) : (hdr_flags(id) & HDR_HOP) && id != HDR_HTTP2_SETTINGS)
        return malformed("a field that belongs to a connection");
    r->n_cookies += id == HDR_COOKIE;
    if (r->trailers && (hdr_flags(id) & (HDR_HOP | HDR_NO_TRAILER)))
        return fine;
    return hdrs_add(r->fields, r->arena, id, name, value) < 0 ? no_memory() : fine;
}

static struct h2_verdict read_fields(const struct h2_block *b, struct reading *r)
{
    struct slice bytes = arena_dup(r->arena, slice_of(b->bytes, b->n)), name, value;
    size_t at = 0;

    if (!bytes.p)
        return no_memory();
    while (h2_block_next(b, bytes.p, &at, &name, &value)) {
        struct h2_verdict v = name.n && name.p[0] == ':' ? take_pseudo(r, name, value) : take_field(r, name, value);

        if (v.fault.detail)
            return v;
    }
    return fine;
}

/* RFC 9113 8.2.3 (C58): crumbs become one field where the first stood. */
static int join_cookies(struct reading *r)
{
    struct hdrs *h = r->fields;
    size_t n = 0, at = 0;
    const struct field *f;
    char *p;

    if (r->n_cookies < 2)
        return 0;
    for (uint32_t i = 0; (f = hdrs_next(h, HDR_COOKIE, &i)) != NULL; i++)
        n += f->value.n + 2;
    p = arena_alloc(r->arena, n);
    if (!p)
        return ERR_NOMEM;
    for (uint32_t i = 0; (f = hdrs_next(h, HDR_COOKIE, &i)) != NULL; i++) {
        if (at) {
            memcpy(p + at, "; ", 2);
            at += 2;
        }
        memcpy(p + at, f->value.p, f->value.n);
        at += f->value.n;
    }
    return hdrs_set(h, r->arena, HDR_COOKIE, slice_of(p, at));
}

static bool field_once(const struct hdrs *h, enum hdr id)
{
    uint32_t at = 0;

    if (!hdrs_next(h, id, &at))
        return true;
    at++;
    return !hdrs_next(h, id, &at);
}

/* ---- requests ---- */

static struct h2_verdict url_verdict(enum url_fault fault)
{
    switch (fault) {
    case URL_OK:
        return fine;
    case URL_NOMEM:
        return no_memory();
    case URL_USERINFO: /* RFC 9113 8.3.1 */
        return malformed(h1_fault_info(H1_USERINFO)->text);
    case URL_TARGET:
        return refused(END_BAD_REQUEST, h1_fault_info(H1_TARGET)->text);
    case URL_AUTHORITY:
        return refused(END_BAD_REQUEST, h1_fault_info(H1_AUTHORITY)->text);
    case URL_SCHEME:
        return refused(END_BAD_REQUEST, h1_fault_info(H1_SCHEME)->text);
    }
    return refused(END_BAD_REQUEST, h1_fault_info(H1_TARGET)->text);
}

static bool same_place(const struct authority *a, const struct authority *b, enum scheme scheme)
{
    uint16_t usual = url_default_port(scheme);

    return slice_eq(a->host, b->host) && (a->port ? a->port : usual) == (b->port ? b->port : usual);
}

/* RFC 9113 8.3.1 (C59): Host stands in where there is no :authority, and may not say otherwise where there is one. */
static struct h2_verdict check_host(struct reading *r, struct head *h)
{
    const struct field *host = hdrs_find(r->fields, HDR_HOST);
    struct authority a;
    enum url_fault fault;

    if (!field_once(r->fields, HDR_HOST))
        return malformed(h1_fault_info(H1_HOST_REPEATED)->text);
    if (!host || slice_eq(host->value, h->auth.raw))
        return fine;
    fault = url_authority(r->arena, host->value, false, &a);
    if (fault == URL_NOMEM)
        return no_memory();
    if (fault != URL_OK || !same_place(&a, &h->auth, h->scheme))
        return malformed("Host is not what :authority says");
    return fine;
}

static struct h2_verdict read_connect(struct reading *r, struct head *h)
{
    /* RFC 9113 8.5 (C60) */
    if (r->pseudo[P_SCHEME].p || r->pseudo[P_PATH].p || !r->pseudo[P_AUTHORITY].p)
        return malformed("a CONNECT with :scheme or :path, or without :authority");
    return url_verdict(url_target(r->arena, r->pseudo[P_AUTHORITY], h));
}

static struct h2_verdict read_target(struct reading *r, struct head *h, const struct h1_limits *limits)
{
    struct slice scheme = r->pseudo[P_SCHEME], path = r->pseudo[P_PATH], authority = r->pseudo[P_AUTHORITY], target;
    const struct field *host = hdrs_find(r->fields, HDR_HOST);
    bool asterisk = slice_eq(path, SLICE("*"));

    if (!scheme.p || !path.n)
        return malformed("a request without :scheme or :path");
    if (path.p[0] != '/' && !(asterisk && h->method == METHOD_OPTIONS))
        return malformed("a :path that does not begin with a slash");
    if (!authority.p && host)
        authority = host->value;
    if (!authority.n)
        return malformed("a request without :authority");
    if (slice_find(authority, '/') < authority.n || slice_find(authority, '?') < authority.n || slice_find(authority, '#') < authority.n)
        return malformed(h1_fault_info(H1_AUTHORITY)->text);
    if (scheme.n + authority.n + path.n > limits->line)
        return refused(END_URI_TOO_LONG, "the request's target is too long");
    if (asterisk)
        path.n = 0;
    target = arena_printf(r->arena, SLICE_FMT "://" SLICE_FMT SLICE_FMT, SLICE_ARG(scheme), SLICE_ARG(authority), SLICE_ARG(path));
    if (!target.p)
        return no_memory();
    return url_verdict(url_target(r->arena, target, h));
}

static struct h2_verdict read_method(struct reading *r, struct head *h)
{
    struct slice method = r->pseudo[P_METHOD], protocol = r->pseudo[P_PROTOCOL];

    if (!method.p || !chars_is_token(method) || r->pseudo[P_STATUS].p)
        return malformed("a request without :method, or with :status");
    h->method_name = method;
    h->method = method_id(method);
    if (!protocol.p)
        return fine;
    /* RFC 8441 4 (C70): in the neutral head it is the GET that asks for an upgrade. */
    if (h->method != METHOD_CONNECT || !chars_is_token(protocol))
        return malformed("a :protocol without CONNECT");
    h->method = METHOD_GET;
    h->method_name = SLICE("GET");
    h->protocol = protocol;
    return fine;
}

/* NUL, blanks and line ends would be looked for in vain later: the target is built of these. */
static bool pseudo_pass(const struct reading *r)
{
    for (unsigned i = 0; i < P_COUNT; i++) {
        struct slice s = r->pseudo[i];

        if (s.n && chars_skip_target(s.p, s.p + s.n) != s.p + s.n)
            return false;
    }
    return true;
}

static struct h2_verdict frame_request(const struct h2_block *b, struct reading *r, struct head *h)
{
    enum h1_framing framing;
    enum h1_fault fault;

    if (h->protocol.n)
        hdrs_remove(&h->fields, HDR_CONTENT_LENGTH);
    fault = h1_frame_request(h, r->arena, &framing);
    if (fault == H1_NO_MEMORY)
        return no_memory();
    if (fault != H1_OK)
        return malformed(h1_fault_info(fault)->text);
    if (h->method == METHOD_CONNECT || h->protocol.n)
        return fine;
    if (framing == H1_FRAME_LENGTH && h->length && b->last)
        return malformed("less content than Content-Length says");
    if (framing == H1_FRAME_NONE && !b->last)
        h->body = BODY_STREAMED;
    return fine;
}

/* Each step looks at the head that the one before it has made. */
struct h2_verdict h2_head_request(const struct h2_block *b, struct arena *a, const struct h1_limits *limits, struct head **ret_head)
{
    struct head *h = arena_zalloc(a, sizeof(*h));
    struct reading r = {.arena = a};
    struct h2_verdict v;

    if (!h)
        return no_memory();
    h->version = 20;
    r.fields = &h->fields;
    *ret_head = h;
    if (b->no_memory)
        return no_memory();
    v = read_fields(b, &r);
    if (v.fault.detail)
        return v;
    if (!pseudo_pass(&r))
        return malformed("a control byte or blank in a pseudo-field");
    v = read_method(&r, h);
    if (v.fault.detail)
        return v;
    if (b->over)
        return refused(END_HEAD_TOO_LARGE, h1_fault_info(H1_HEAD_TOO_LONG)->text);
    v = h->method == METHOD_CONNECT ? read_connect(&r, h) : read_target(&r, h, limits);
    if (!v.fault.detail)
        v = check_host(&r, h);
    if (!v.fault.detail && join_cookies(&r) < 0)
        v = no_memory();
    if (!v.fault.detail)
        v = frame_request(b, &r, h);
    if (v.fault.detail)
        return v;
    h->te_trailers = hdrs_has_token(&h->fields, HDR_TE, SLICE("trailers"));
    h->expect_continue = hdrs_has_token(&h->fields, HDR_EXPECT, SLICE("100-continue"));
    hdrs_remove(&h->fields, HDR_TE);
    hdrs_remove(&h->fields, HDR_HTTP2_SETTINGS);
    return fine;
}

/* ---- responses ---- */

static struct h2_verdict read_status(struct reading *r, struct head *h)
{
    struct slice s = r->pseudo[P_STATUS];
    uint64_t status;

    for (unsigned i = 0; i < P_STATUS; i++)
        if (r->pseudo[i].p)
            return malformed("a response with a request's pseudo-field");
    if (s.n != 3 || num_dec(s, 599, &status) < 0 || status < 100 || status == 101)
        return malformed("a response without a :status that HTTP/2 has");
    h->status = (int)status;
    return fine;
}

/* RFC 8441 5: the 2xx is what 101 is in HTTP/1. */
static struct h2_verdict read_upgraded(struct reading *r, struct head *h, const struct h2_upgrade *u)
{
    struct slice accept;

    h->status = 101;
    h->reason = SLICE("Switching Protocols");
    h->protocol = u->protocol;
    hdrs_remove(&h->fields, HDR_CONTENT_LENGTH);
    if (!u->accept[0])
        return fine;
    accept = arena_dup(r->arena, slice_str(u->accept));
    if (!accept.p || hdrs_set(&h->fields, r->arena, HDR_SEC_WEBSOCKET_ACCEPT, accept) < 0)
        return no_memory();
    return fine;
}

struct h2_verdict h2_head_response(const struct h2_block *b, struct arena *a, enum method method, const struct h2_upgrade *upgrade, struct head **ret_head)
{
    struct head *h = arena_zalloc(a, sizeof(*h));
    struct reading r = {.arena = a};
    enum h1_framing framing;
    enum h1_fault fault;
    struct h2_verdict v;

    if (!h || b->no_memory)
        return no_memory();
    h->response = true;
    h->version = 20;
    r.fields = &h->fields;
    v = read_fields(b, &r);
    if (!v.fault.detail && b->over)
        v = malformed(h1_fault_info(H1_HEAD_TOO_LONG)->text);
    if (!v.fault.detail)
        v = read_status(&r, h);
    if (!v.fault.detail && h->status < 200 && b->last)
        v = malformed("an interim answer that is the end");
    if (v.fault.detail)
        return v;
    *ret_head = h;
    hdrs_remove(&h->fields, HDR_TE);
    hdrs_remove(&h->fields, HDR_HTTP2_SETTINGS);
    if (upgrade && h->status >= 200 && h->status < 300)
        return read_upgraded(&r, h, upgrade);
    fault = h1_frame_response(h, a, method, &framing);
    if (fault == H1_NO_MEMORY)
        return no_memory();
    if (fault != H1_OK)
        return malformed(h1_fault_info(fault)->text);
    h->close = false;
    if (b->last && h->body == BODY_SIZED && h->length)
        return malformed("less content than Content-Length says");
    if (b->last && h->body == BODY_STREAMED)
        h->body = BODY_SIZED, h->length = 0;
    return fine;
}

struct h2_verdict h2_head_trailers(const struct h2_block *b, struct arena *a, const struct hdrs **ret_trailers)
{
    struct hdrs *h = arena_zalloc(a, sizeof(*h));
    struct reading r = {.arena = a, .fields = h, .trailers = true};
    struct h2_verdict v;

    if (!h || b->no_memory)
        return no_memory();
    if (b->over)
        return malformed(h1_fault_info(H1_TRAILER)->text);
    v = read_fields(b, &r);
    if (!v.fault.detail)
        *ret_trailers = h->n ? h : NULL;
    return v;
}
