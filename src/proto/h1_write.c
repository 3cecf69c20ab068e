/* SPDX-License-Identifier: MIT */
/* h1_write: writes heads, chunk lines and trailers. Called by the h1 mux, which owns the queue.
 * Every byte of a start line and of a field passes a check here although the parser has made it
 * before: rules, scripts and other protocols make heads too, and a line end that slips into one is
 * a message of somebody else's (FAILURES 14, 21). It never writes a field that belongs to a
 * connection but from struct h1_out.
 */
#include "proto/h1_write.h"

#include "base/num.h"
#include "proto/chars.h"
#include "proto/url.h"

/* Small parts are gathered here and go into the queue together. */
struct writer {
    struct bufq *q;
    int err; /* the first failure; nothing is written after it */
    size_t n;
    char buf[1024];
};

/* --- parts ---------------------------------------------------------------- */

static void queue(struct writer *w, const char *p, size_t n)
{
    if (w->err == 0 && n)
        w->err = bufq_put(w->q, p, n);
}

static inline void put(struct writer *w, struct slice s)
{
    if (s.n > sizeof(w->buf) - w->n) {
        queue(w, w->buf, w->n);
        w->n = 0;
    }
    if (s.n > sizeof(w->buf)) {
        queue(w, s.p, s.n);
        return;
    }
    if (s.n)
        memcpy(w->buf + w->n, s.p, s.n);
    w->n += s.n;
}

static int finish(struct writer *w)
{
    queue(w, w->buf, w->n);
    return w->err;
}

static void refuse(struct writer *w)
{
    if (w->err == 0)
        w->err = ERR_SYNTAX;
}

static void put_token(struct writer *w, struct slice s)
{
    if (!chars_is_token(s))
        refuse(w);
    put(w, s);
}

static void put_value(struct writer *w, struct slice s)
{
    if (!chars_is_value(s))
        refuse(w);
    put(w, s);
}

static void put_target(struct writer *w, struct slice s)
{
    if (s.n == 0 || chars_skip_target(s.p, s.p + s.n) != s.p + s.n)
        refuse(w);
    put(w, s);
}

static void put_number(struct writer *w, uint64_t v)
{
    char digits[20];

    put(w, slice_of(digits, num_put_dec(digits, v)));
}

static void put_field(struct writer *w, struct slice name, struct slice value)
{
    put_token(w, name);
    put(w, SLICE(": "));
    put_value(w, value);
    put(w, SLICE("\r\n"));
}

/* --- fields --------------------------------------------------------------- */

static void put_length(struct writer *w, struct slice name, uint64_t length)
{
    char digits[20];

    put_field(w, name, slice_of(digits, num_put_dec(digits, length)));
}

/* RFC 9112 6.2, 6.3: a Content-Length leaves only if it is the framing, or where no content follows
 * whatever it says. */
static bool keeps_length(const struct head *h, const struct h1_out *o)
{
    return h->response && o->framing == H1_FRAME_NONE;
}

static void put_fields(struct writer *w, const struct head *h, const struct h1_out *o)
{
    bool length_due = o->framing == H1_FRAME_LENGTH;

    for (uint32_t i = 0; i < h->fields.n && w->err == 0; i++) {
        const struct field *f = &h->fields.v[i];

        if (hdr_flags(f->id) & HDR_HOP)
            continue;
        if (f->id != HDR_CONTENT_LENGTH || keeps_length(h, o)) {
            put_field(w, f->name, f->value);
        } else if (length_due) {
            put_length(w, f->name, h->length);
            length_due = false;
        }
    }
    if (length_due)
        put_length(w, hdr_name(HDR_CONTENT_LENGTH), h->length);
    if (o->framing == H1_FRAME_CHUNKED)
        put(w, SLICE("Transfer-Encoding: chunked\r\n"));
}

/* Connection with its options, and the fields that they name. */
static void put_connection(struct writer *w, const struct h1_out *o, bool te_trailers)
{
    bool upgrade = o->protocol.n > 0;
    struct slice lead = SLICE("Connection: ");
    const struct {
        bool on;
        struct slice option;
    } options[] = {
        {o->close && !upgrade, SLICE("close")},
        {o->keep_alive && !o->close, SLICE("keep-alive")},
        {upgrade, SLICE("upgrade")},
        {te_trailers, SLICE("TE")},
    };

    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        if (!options[i].on)
            continue;
        put(w, lead);
        put(w, options[i].option);
        lead = SLICE(", ");
    }
    if (lead.n == 2)
        put(w, SLICE("\r\n"));
    if (upgrade)
        put_field(w, SLICE("Upgrade"), o->protocol);
    if (o->ws_key.n)
        put_field(w, SLICE("Sec-WebSocket-Key"), o->ws_key);
    if (te_trailers)
        put(w, SLICE("TE: trailers\r\n"));
}

/* --- requests ------------------------------------------------------------- */

/* Host and port from the normalised parts, brackets back on; port 0 is left out (U6). */
static void put_authority(struct writer *w, const struct authority *auth, uint16_t port)
{
    bool v6 = auth->kind == HOST_IPV6;

    put(w, v6 ? SLICE("[") : SLICE(""));
    put_target(w, auth->host);
    put(w, v6 ? SLICE("]") : SLICE(""));
    if (port) {
        put(w, SLICE(":"));
        put_number(w, port);
    }
}

/* RFC 9112 3.2.2, towards a parent. "*" stood for an absolute form without a path (3.2.4). */
static void put_absolute(struct writer *w, const struct head *h)
{
    uint16_t usual = url_default_port(h->scheme);

    put(w, h->scheme == SCHEME_HTTPS ? SLICE("https://") : SLICE("http://"));
    put_authority(w, &h->auth, h->auth.port == usual ? 0 : h->auth.port);
    if (!slice_eq(h->path, SLICE("*")))
        put_target(w, h->path);
}

static void put_request_target(struct writer *w, const struct head *h, enum target_form form)
{
    uint16_t usual = h->scheme == SCHEME_HTTP ? 80 : 443;

    switch (form) {
    case FORM_ORIGIN:
    case FORM_ASTERISK:
        put_target(w, h->path);
        return;
    case FORM_ABSOLUTE:
        put_absolute(w, h);
        return;
    case FORM_AUTHORITY:
        put_authority(w, &h->auth, h->auth.port ? h->auth.port : usual);
        return;
    }
    refuse(w);
}

int h1_write_request(struct bufq *q, const struct head *h, const struct h1_out *o)
{
    struct writer w;

    w.q = q, w.err = 0, w.n = 0; /* the gathered bytes need no zeroing */
    put_token(&w, h->method_name);
    put(&w, SLICE(" "));
    put_request_target(&w, h, o->form);
    put(&w, SLICE(" HTTP/1.1\r\n"));
    put_fields(&w, h, o);
    put_connection(&w, o, o->te_trailers);
    put(&w, SLICE("\r\n"));
    return finish(&w);
}

/* --- responses ------------------------------------------------------------ */

int h1_write_response(struct bufq *q, const struct head *h, const struct h1_out *o)
{
    struct writer w;

    w.q = q, w.err = 0, w.n = 0;
    if (h->status < 100 || h->status > 999)
        refuse(&w);
    put(&w, o->version == 10 ? SLICE("HTTP/1.0 ") : SLICE("HTTP/1.1 "));
    put_number(&w, (uint64_t)(unsigned)h->status);
    put(&w, SLICE(" ")); /* also before an empty reason (RFC 9112 4) */
    put_value(&w, h->reason);
    put(&w, SLICE("\r\n"));
    put_fields(&w, h, o);
    put_connection(&w, o, false);
    put(&w, SLICE("\r\n"));
    return finish(&w);
}

/* --- chunks --------------------------------------------------------------- */

size_t h1_write_chunk_prefix(char out[H1_CHUNK_PREFIX_MAX], uint64_t n)
{
    size_t len = num_put_hex(out, n);

    out[len++] = '\r';
    out[len++] = '\n';
    return len;
}

int h1_write_last_chunk(struct bufq *q, const struct hdrs *trailers)
{
    struct writer w;

    w.q = q, w.err = 0, w.n = 0;
    put(&w, SLICE("0\r\n"));
    for (uint32_t i = 0; trailers && i < trailers->n; i++)
        put_field(&w, trailers->v[i].name, trailers->v[i].value);
    put(&w, SLICE("\r\n"));
    return finish(&w);
}
