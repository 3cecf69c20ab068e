/* SPDX-License-Identifier: MIT */
/* mux_h2_out: neutral heads become the fields that nghttp2 takes. Called by the roles of HTTP/2. What may not be written refuses the whole head; what belongs
 * to a connection of HTTP/1 is left out. No I/O.
 */
#include "mux/mux_h2_priv.h"

#include "base/mem.h"
#include "base/num.h"
#include "proto/chars.h"
#include "proto/url.h"

int h2_out_init(struct h2_out *o, struct loop *loop, uint32_t fields)
{
    size_t n = fields + H2_PSEUDO_MAX;

    o->n = o->text_n = 0;
    o->err = 0;
    o->cap = n;
    o->heap = !loop || n * sizeof(*o->v) > LOOP_SCRATCH;
    o->v = o->heap ? mem_array(n, sizeof(*o->v)) : (nghttp2_nv *)(void *)loop->scratch;
    return o->v ? 0 : ERR_NOMEM;
}

void h2_out_done(struct h2_out *o)
{
    if (o->heap)
        mem_free(o->v);
}

static void put(struct h2_out *o, struct slice name, struct slice value, uint8_t flags)
{
    if (o->n == o->cap || !chars_is_value(value)) {
        o->err = o->err ? o->err : ERR_SYNTAX;
        return;
    }
    o->v[o->n++] = (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name.p,
        .value = (uint8_t *)(uintptr_t)(value.n ? value.p : ""),
        .namelen = name.n,
        .valuelen = value.n,
        .flags = flags,
    };
}

static struct slice text_of(struct h2_out *o, struct slice s)
{
    char *p = o->text + o->text_n;

    if (s.n > sizeof(o->text) - o->text_n) {
        o->err = ERR_SYNTAX;
        return SLICE_NONE;
    }
    memcpy(p, s.p, s.n);
    o->text_n += s.n;
    return slice_of(p, s.n);
}

static struct slice number_of(struct h2_out *o, uint64_t v)
{
    char digits[20];

    return text_of(o, slice_of(digits, num_put_dec(digits, v)));
}

static void put_field(struct h2_out *o, const struct field *f)
{
    if (!chars_is_token(f->name)) {
        o->err = ERR_SYNTAX;
        return;
    }
    put(o, f->name, f->value, f->id == HDR_PROXY_AUTHORIZATION ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE);
}

/* Host or address, and the port unless it is the usual one; a CONNECT always has one. */
static struct slice authority_of(struct h2_out *o, const struct head *h)
{
    const struct authority *a = &h->auth;
    uint16_t usual = url_default_port(h->scheme == SCHEME_NONE ? SCHEME_HTTP : h->scheme), port = a->port;
    size_t at = o->text_n;

    if (h->method == METHOD_CONNECT)
        port = port ? port : 443;
    else if (port == usual)
        port = 0;
    text_of(o, a->kind == HOST_IPV6 ? SLICE("[") : SLICE(""));
    text_of(o, a->host);
    text_of(o, a->kind == HOST_IPV6 ? SLICE("]") : SLICE(""));
    if (port) {
        text_of(o, SLICE(":"));
        number_of(o, port);
    }
    return slice_of(o->text + at, o->text_n - at);
}

/* Not in h2, or said in pseudo-fields (RFC 9113 8.2.2, 8.3.1; C57). */
static bool leaves(const struct head *h, const struct field *f)
{
    if (hdr_flags(f->id) & HDR_HOP)
        return false;
    if (f->id == HDR_SEC_WEBSOCKET_KEY || f->id == HDR_SEC_WEBSOCKET_ACCEPT)
        return !h->protocol.n;
    return f->id != HDR_HOST || h->response;
}

static void put_fields(struct h2_out *o, const struct head *h, bool keep_length)
{
    bool due = h->body == BODY_SIZED && !h->protocol.n;

    for (uint32_t i = 0; i < h->fields.n; i++) {
        const struct field *f = &h->fields.v[i];

        if (!leaves(h, f))
            continue;
        if (f->id != HDR_CONTENT_LENGTH || keep_length) {
            put_field(o, f);
        } else if (due) {
            put(o, SLICE("content-length"), number_of(o, h->length), NGHTTP2_NV_FLAG_NONE);
            due = false;
        }
    }
    if (due && !keep_length)
        put(o, SLICE("content-length"), number_of(o, h->length), NGHTTP2_NV_FLAG_NONE);
}

int h2_out_request(struct h2_out *o, const struct head *h)
{
    bool extended = h->protocol.n > 0;

    put(o, SLICE(":method"), extended ? SLICE("CONNECT") : h->method_name, NGHTTP2_NV_FLAG_NONE);
    if (extended)
        put(o, SLICE(":protocol"), h->protocol, NGHTTP2_NV_FLAG_NONE);
    if (h->method != METHOD_CONNECT) {
        put(o, SLICE(":scheme"), h->scheme == SCHEME_HTTPS ? SLICE("https") : SLICE("http"), NGHTTP2_NV_FLAG_NONE);
        put(o, SLICE(":path"), h->path, NGHTTP2_NV_FLAG_NONE);
    }
    put(o, SLICE(":authority"), authority_of(o, h), NGHTTP2_NV_FLAG_NONE);
    put_fields(o, h, false);
    if (h->te_trailers)
        put(o, SLICE("te"), SLICE("trailers"), NGHTTP2_NV_FLAG_NONE);
    return o->err;
}

int h2_out_response(struct h2_out *o, const struct head *h, int status, bool content)
{
    put(o, SLICE(":status"), number_of(o, (uint64_t)(unsigned)status), NGHTTP2_NV_FLAG_NONE);
    put_fields(o, h, !content);
    return o->err;
}

int h2_out_trailers(struct h2_out *o, const struct hdrs *trailers)
{
    for (uint32_t i = 0; i < trailers->n; i++)
        if (!(hdr_flags(trailers->v[i].id) & (HDR_HOP | HDR_NO_TRAILER)))
            put_field(o, &trailers->v[i]);
    return o->err;
}
