/* SPDX-License-Identifier: MIT */
/* HTTP/2 towards a client, frame by frame: every cut of the bytes, every refused allocation, what is
 * malformed (C55 to C61), floods (C65, FAILURES 18 to 20).
 */
#include "mux/mux_h2.h"

#include "base/check.h"
#include "base/err.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/h2_frames.h"
#include "support/mem_conn.h"
#include "support/net.h"

enum { SIDES = 64, CODE_NONE = -1, CODE_NO_ERROR = 0, CODE_PROTOCOL = 1, CODE_FLOW = 3, CODE_SETTINGS_TIMEOUT = 4, CODE_CLOSED = 5, CODE_REFUSED = 7, CODE_CALM = 11 };
static const struct h1_limits limits = {.line = 8192, .head = 20000, .fields = 100};

/* What an exchange has seen of a stream. */
struct side {
    struct task task;
    struct stream *s;
    struct arena arena;
    struct head *h;
    enum io head_io;
    struct stream_fault fault;
    char body[4096];
    size_t n;
    bool ended, broke, answered;
};

static struct mem_conn m;
static struct mux *mux;
static struct task owner;
static struct side sides[SIDES];
static unsigned n_sides;
static struct h2_conf conf;
static struct frames out;

static void take_body(struct side *x)
{
    size_t n;

    while (!x->ended && !x->broke) {
        switch (stream_recv(x->s, x->body + x->n, sizeof(x->body) - x->n, &n)) {
        case IO_OK:
            x->n += n;
            if (x->n == sizeof(x->body))
                x->n = 0;
            break;
        case IO_AGAIN:
            return;
        case IO_EOF:
            x->ended = true;
            break;
        case IO_ERR:
            x->broke = true;
            x->fault = x->s->fault;
            break;
        }
    }
}

static void answer(struct side *x)
{
    struct head a = {.response = true, .status = 200, .body = BODY_SIZED, .length = 4};

    x->answered = true;
    hdrs_init(&a.fields);
    if (x->h->method == METHOD_CONNECT) {
        a.body = BODY_NONE;
        if (stream_send_head(x->s, &a, false) == IO_OK)
            stream_tunnel(x->s);
        return;
    }
    if (stream_send_head(x->s, &a, false) != IO_OK || stream_room(x->s) < 4)
        return;
    if (stream_send(x->s, "done", 4, true) == IO_OK && stream_flush(x->s) == IO_ERR)
        x->broke = true;
}

static void side_run(struct task *t, unsigned bits)
{
    struct side *x = CONTAINER_OF(t, struct side, task);

    UNUSED(bits);
    if (!x->s)
        return;
    if (x->head_io == IO_AGAIN) {
        x->head_io = stream_recv_head(x->s, &x->arena, &x->h);
        x->fault = x->s->fault;
    }
    if (x->head_io != IO_OK)
        return;
    if (!x->answered && (x->h->method == METHOD_CONNECT || x->s->rx == STREAM_END))
        answer(x);
    take_body(x);
    if (x->ended && !x->answered)
        answer(x);
}

static void on_stream(struct mux *mx, struct stream *s)
{
    struct side *x = &sides[n_sides % SIDES];

    UNUSED(mx);
    if (n_sides >= SIDES) {
        stream_reset(s);
        stream_release(&s);
        return;
    }
    n_sides++;
    *x = (struct side){.s = s, .head_io = IO_AGAIN};
    task_init(&x->task, &net_loop, "side", side_run);
    arena_init(&x->arena, &net_loop.pages, 1 << 20);
    s->task = &x->task;
    task_wake(&x->task, TASK_RX);
}

static void owner_run(struct task *t, unsigned bits)
{
    UNUSED(t);
    UNUSED(bits);
}

static bool begin(struct slice early)
{
    n_sides = 0;
    mux = mux_h2_server_new(mem_conn_init(&m, &net_loop), &conf, early);
    if (!mux)
        return false;
    mux->task = &owner;
    mux->on_stream = on_stream;
    return true;
}

static void end(void)
{
    for (unsigned i = 0; i < n_sides; i++) {
        struct side *x = &sides[i];

        if (x->s && !(x->s->rx == STREAM_END && x->s->tx == STREAM_END))
            stream_reset(x->s);
        stream_release(&x->s);
        task_cancel(&x->task);
        arena_done(&x->arena);
    }
    mux_close(&mux, false);
    task_cancel(&owner);
    net_turns(2);
}

static int setup(void **state)
{
    UNUSED(state);
    net_begin();
    task_init(&owner, &net_loop, "owner", owner_run);
    conf = h2_conf_default;
    conf.heads = &limits;
    begin(SLICE_NONE);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    end();
    net_end();
    return 0;
}

static void again(void)
{
    end();
    assert_true(begin(SLICE_NONE));
}

static void feed(void)
{
    mem_conn_feed(&m, out.p, out.n);
    out.n = 0;
    net_turns(6);
}

#define GET_LINES ":method: GET\n:scheme: http\n:authority: a.test\n:path: /x\n"

/* ---- preface ---- */

static void test_preface(void **state)
{
    static const char good[] = F_PREFACE;

    UNUSED(state);
    assert_int_equal(mux_h2_preface(good, 24), H2_PREFACE_YES);
    assert_int_equal(mux_h2_preface("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", 28), H2_PREFACE_YES);
    for (size_t i = 1; i < 24; i++) {
        char bad[24];

        assert_int_equal(mux_h2_preface(good, i), H2_PREFACE_MORE);
        memcpy(bad, good, 24);
        bad[i]++;
        assert_int_equal(mux_h2_preface(bad, 24), H2_PREFACE_NO);
        assert_int_equal(mux_h2_preface(bad, i), H2_PREFACE_MORE);
    }
    assert_int_equal(mux_h2_preface("GET ", 4), H2_PREFACE_NO);
}

static void test_bad_preface(void **state)
{
    UNUSED(state);
    mem_conn_text(&m, "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX");
    net_turns(4);
    assert_int_not_equal(mux_serve(mux), MUX_IDLE);
    assert_int_not_equal(mux_serve(mux), MUX_BUSY);
}

/* ---- heads ---- */

/* The head of stream 1, as an exchange gets it; NULL: none. */
static struct side *head_of(const char *lines, int flags)
{
    again();
    frames_begin(&out);
    frames_headers(&out, 1, flags, lines);
    feed();
    return n_sides ? &sides[0] : NULL;
}

static void test_good_heads(void **state)
{
    static const struct {
        const char *lines, *host, *path;
        enum method method;
        enum target_form form;
        enum scheme scheme;
        uint16_t port;
    } t[] = {
        {GET_LINES, "a.test", "/x", METHOD_GET, FORM_ABSOLUTE, SCHEME_HTTP, 0},
        {":method: GET\n:scheme: https\n:authority: A.Test:8443\n:path: /?q\n", "a.test", "/?q", METHOD_GET, FORM_ABSOLUTE, SCHEME_HTTPS, 8443},
        {":method: GET\n:scheme: http\n:path: /\nhost: b.test\n", "b.test", "/", METHOD_GET, FORM_ABSOLUTE, SCHEME_HTTP, 0},
        {":method: GET\n:scheme: http\n:authority: a.test\n:path: /\nhost: a.test:80\n", "a.test", "/", METHOD_GET, FORM_ABSOLUTE, SCHEME_HTTP, 0},
        {":method: OPTIONS\n:scheme: http\n:authority: a.test\n:path: *\n", "a.test", "*", METHOD_OPTIONS, FORM_ABSOLUTE, SCHEME_HTTP, 0},
        {":method: CONNECT\n:authority: [::1]:443\n", "::1", NULL, METHOD_CONNECT, FORM_AUTHORITY, SCHEME_NONE, 443},
        {":path: /z\n:authority: a.test\n:method: BREW\n:scheme: http\nte: trailers\n", "a.test", "/z", METHOD_OTHER, FORM_ABSOLUTE, SCHEME_HTTP, 0},
        {":method: CONNECT\n:protocol: websocket\n:scheme: http\n:authority: a.test\n:path: /chat\n", "a.test", "/chat", METHOD_GET, FORM_ABSOLUTE, SCHEME_HTTP, 0},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct side *x = head_of(t[i].lines, t[i].method == METHOD_CONNECT ? 0 : F_END_STREAM);

        if (!x) {
            fail_msg("%zu: no stream", i);
            return;
        }
        if (x->head_io != IO_OK)
            fail_msg("%zu: %s", i, x->fault.detail);
        assert_int_equal(x->h->version, 20);
        assert_int_equal(x->h->method, t[i].method);
        assert_int_equal(x->h->form, t[i].form);
        assert_int_equal(x->h->scheme, t[i].scheme);
        assert_true(slice_eq(x->h->auth.host, slice_str(t[i].host)));
        assert_int_equal(x->h->auth.port, t[i].port);
        if (t[i].path)
            assert_true(slice_eq(x->h->path, slice_str(t[i].path)));
        assert_null(hdrs_find(&x->h->fields, HDR_TE));
    }
}

/* C56 to C60: that stream ends with PROTOCOL_ERROR, nothing is passed on, the connection goes on. */
static void test_malformed(void **state)
{
    static const char *const t[] = {
        GET_LINES "X-Upper: 1\n", GET_LINES "x a: 1\n", GET_LINES ": 1\n", GET_LINES "x\1: 1\n", GET_LINES "x-a: a\1b\n", GET_LINES "x-a: a\2b\n", GET_LINES "x-a: a\3b\n",
        GET_LINES "x-a:  lead\n", GET_LINES "x-a: trail \n", GET_LINES "x-a: tab\t\n", GET_LINES "x-a: 1\n:path: /late\n", GET_LINES ":path: /again\n", GET_LINES ":foo: 1\n", GET_LINES ":status: 200\n",
        /* C57 */
        GET_LINES "connection: close\n", GET_LINES "keep-alive: 1\n", GET_LINES "proxy-connection: x\n", GET_LINES "transfer-encoding: chunked\n", GET_LINES "upgrade: websocket\n", GET_LINES "te: gzip\n", GET_LINES "te: trailers, gzip\n",
        /* C59 */
        GET_LINES "host: b.test\n", GET_LINES "host: a.test:81\n", GET_LINES "host: a.test\nhost: a.test\n", ":method: GET\n:scheme: http\n:path: /\n", ":method: GET\n:scheme: http\n:authority: u@a.test\n:path: /\n",
        ":method: GET\n:scheme: http\n:authority: \n:path: /\n", ":method: GET\n:scheme: http\n:authority: a.test/p\n:path: /\n",
        /* C60, C70 */
        ":method: CONNECT\n:authority: a.test:1\n:scheme: http\n", ":method: CONNECT\n:authority: a.test:1\n:path: /\n", ":method: CONNECT\n:path: /\n", ":method: CONNECT\n",
        ":method: CONNECT\n:protocol: websocket\n:authority: a.test\n", GET_LINES ":protocol: websocket\n",
        /* C56 */
        ":scheme: http\n:authority: a.test\n:path: /\n", ":method: GET\n:authority: a.test\n:path: /\n", ":method: GET\n:scheme: http\n:authority: a.test\n", ":method: GET\n:scheme: http\n:authority: a.test\n:path: \n",
        ":method: GET\n:scheme: http\n:authority: a.test\n:path: x\n", ":method: GET\n:scheme: http\n:authority: a.test\n:path: *\n", ":method: G T\n:scheme: http\n:authority: a.test\n:path: /\n",
        ":method: GET\n:scheme: http\n:authority: a.test\n:path: /a b\n", ":method: GET\n:scheme: http\n:authority: a.test\n:path: /\1\2x\n",
        GET_LINES "content-length: 5\n", GET_LINES "content-length: +0\n", GET_LINES "content-length: 0\ncontent-length: 1\n",
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct side *x = head_of(t[i], F_END_STREAM);

        if (x && x->head_io == IO_OK)
            fail_msg("passed: %zu %s", i, t[i]);
        if (x)
            assert_int_equal(x->fault.reason, END_BAD_REQUEST);
        if (frames_code(m.out, m.out_n, 1) != CODE_PROTOCOL)
            fail_msg("RST_STREAM %d: %zu %s", frames_code(m.out, m.out_n, 1), i, t[i]);
        assert_int_equal(frames_code(m.out, m.out_n, 0), CODE_NONE);
        /* The connection goes on. */
        frames_headers(&out, 3, F_END_STREAM, GET_LINES);
        feed();
        assert_int_equal(sides[n_sides - 1].head_io, IO_OK);
    }
}

/* What may be answered: the client learns why. */
static void test_refused(void **state)
{
    static char big[9200];
    struct side *x;

    UNUSED(state);
    x = head_of(":method: GET\n:scheme: ftp\n:authority: a.test\n:path: /\n", F_END_STREAM);
    assert_int_equal(x->head_io, IO_ERR);
    assert_int_equal(x->fault.reason, END_BAD_REQUEST);
    assert_int_equal(frames_code(m.out, m.out_n, 1), CODE_NONE);
    x = head_of(":method: CONNECT\n:authority: a.test\n", 0);
    assert_int_equal(x->fault.reason, END_BAD_REQUEST);
    strcpy(big, ":method: GET\n:scheme: http\n:authority: a.test\n:path: /");
    memset(big + strlen(big), 'x', 8800 - strlen(big));
    strcpy(big + 8800, "\n");
    x = head_of(big, F_END_STREAM);
    assert_int_equal(x->fault.reason, END_URI_TOO_LONG);
    assert_int_equal(stream_broken(x->s), false);
}

/* Larger than it may be: 431, and no more is kept than allowed (FAILURES 19). */
static void test_head_too_large(void **state)
{
    static char lines[60000];
    char *p = lines;

    UNUSED(state);
    again();
    frames_begin(&out);
    p += sprintf(p, GET_LINES);
    for (int i = 0; i < 90; i++)
        p += sprintf(p, "x-%d: %0150d\n", i, i);
    frames_headers(&out, 1, F_END_STREAM, lines);
    feed();
    assert_int_equal(sides[0].head_io, IO_OK);
    p = lines + sprintf(lines, GET_LINES);
    for (int i = 0; i < 101; i++)
        p += sprintf(p, "x-%d: 1\n", i);
    frames_headers(&out, 3, F_END_STREAM, lines);
    p = lines + sprintf(lines, GET_LINES);
    for (int i = 0; i < 8; i++)
        p += sprintf(p, "x-%d: %02000d\n", i, i);
    frames_headers(&out, 5, F_END_STREAM, lines);
    feed();
    assert_int_equal(n_sides, 3);
    assert_int_equal(sides[1].fault.reason, END_HEAD_TOO_LARGE);
    assert_int_equal(sides[2].head_io, IO_OK);
}

/* C58 */
static void test_cookies(void **state)
{
    struct side *x = head_of(GET_LINES "cookie: a=1\nx-a: 1\ncookie: b=2\ncookie: c=3\n", F_END_STREAM);
    uint32_t at = 0;
    const struct field *f;

    UNUSED(state);
    f = hdrs_next(&x->h->fields, HDR_COOKIE, &at);
    assert_true(slice_eq(f->value, SLICE("a=1; b=2; c=3")));
    at++;
    assert_null(hdrs_next(&x->h->fields, HDR_COOKIE, &at));
}

/* ---- content ---- */

static void test_content_length(void **state)
{
    static const struct {
        const char *length;
        size_t sent;
        bool good;
    } t[] = {{"4", 4, true}, {"5", 4, false}, {"3", 4, false}};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        char lines[200];

        again();
        frames_begin(&out);
        snprintf(lines, sizeof(lines), ":method: POST\n:scheme: http\n:authority: a.test\n:path: /\ncontent-length: %s\n", t[i].length);
        frames_headers(&out, 1, 0, lines);
        frames_put(&out, F_DATA, F_END_STREAM, 1, "body", t[i].sent);
        feed();
        assert_int_equal(sides[0].ended, t[i].good);
        assert_int_equal(sides[0].broke, !t[i].good);
        assert_int_equal(frames_code(m.out, m.out_n, 1), t[i].good ? CODE_NONE : CODE_PROTOCOL);
    }
}

/* C61: fields inside a tunnel. */
static void test_headers_in_tunnel(void **state)
{
    UNUSED(state);
    again();
    frames_begin(&out);
    frames_headers(&out, 1, 0, ":method: CONNECT\n:authority: a.test:443\n");
    frames_put(&out, F_DATA, 0, 1, "early", 5);
    feed();
    assert_int_equal(sides[0].n, 5);
    frames_headers(&out, 1, F_END_STREAM, "x-trailer: 1\n");
    feed();
    assert_true(sides[0].broke);
    assert_int_equal(frames_code(m.out, m.out_n, 1), CODE_PROTOCOL);
}

/* A window that is overrun is an error of that stream. */
static void test_flow_violated(void **state)
{
    static char data[16384];

    UNUSED(state);
    again();
    conf.window = 65535;
    frames_begin(&out);
    frames_headers(&out, 1, 0, ":method: POST\n:scheme: http\n:authority: a.test\n:path: /\n");
    feed();
    task_cancel(&sides[0].task);
    sides[0].head_io = IO_ERR; /* its exchange reads nothing */
    for (int i = 0; i < 6; i++)
        frames_put(&out, F_DATA, 0, 1, data, sizeof(data));
    feed();
    assert_int_equal(frames_code(m.out, m.out_n, 1), CODE_FLOW);
    assert_true(stream_broken(sides[0].s));
}

/* ---- every cut, every refused allocation ---- */

static void conversation(void)
{
    frames_begin(&out);
    frames_headers(&out, 1, F_END_STREAM, GET_LINES "cookie: a\ncookie: b\n");
    frames_put(&out, F_PING, 0, 0, "12345678", 8);
    frames_headers(&out, 3, 0, ":method: POST\n:scheme: http\n:authority: a.test\n:path: /up\n");
    frames_put(&out, F_DATA, 0, 3, "one", 3);
    frames_headers(&out, 5, 0, ":method: CONNECT\n:authority: b.test:443\n");
    frames_put(&out, F_DATA, 0, 5, "tunnel", 6);
    frames_put(&out, F_DATA, 0, 3, "two", 3);
    frames_headers(&out, 3, F_END_STREAM, "x-sum: 6\n");
    frames_headers(&out, 7, F_END_STREAM, GET_LINES "X-Bad: 1\n");
    frames_put(&out, F_DATA, F_END_STREAM, 5, "", 0);
}

static bool heard_it_all(void)
{
    return n_sides == 4 && sides[0].head_io == IO_OK && sides[0].answered && sides[1].ended && sides[1].n == 6 && !memcmp(sides[1].body, "onetwo", 6) &&
           sides[1].s->trailers && sides[1].s->trailers->n == 1 && sides[2].h->method == METHOD_CONNECT && sides[2].n == 6 && sides[2].ended &&
           sides[3].head_io == IO_ERR && frames_code(m.out, m.out_n, 7) == CODE_PROTOCOL && frames_code(m.out, m.out_n, 0) == CODE_NONE;
}

/* C55: the first piece is what the session has read. */
static void test_every_split(void **state)
{
    UNUSED(state);
    conversation();
    for (size_t cut = 0; cut <= out.n; cut++) {
        end();
        assert_true(begin(slice_of(out.p, cut)));
        net_turns(3);
        mem_conn_feed(&m, out.p + cut, out.n - cut);
        net_turns(4);
        if (!heard_it_all())
            fail_msg("cut at %zu: %u streams, %d %d, %d %zu %p, %d %zu %d, %d %d %d", cut, n_sides, sides[0].head_io, sides[0].answered, sides[1].ended, sides[1].n,
                     (const void *)sides[1].s->trailers, sides[2].head_io, sides[2].n, sides[2].ended, sides[3].head_io, frames_code(m.out, m.out_n, 7),
                     frames_code(m.out, m.out_n, 0));
    }
    end();
    assert_true(begin(SLICE_NONE));
    for (size_t i = 0; i < out.n; i++) {
        mem_conn_feed(&m, out.p + i, 1);
        net_turns(2);
    }
    assert_true(heard_it_all());
}

static void test_memory(void **state)
{
    UNUSED(state);
    conversation();
    end();
    for (memfail_start(); memfail_next();) {
        /* Blocks that are kept would hide refusals. */
        objcache_trim(&net_loop.blocks);
        objcache_trim(&net_loop.pages);
        if (!begin(slice_of(out.p, 30)))
            continue;
        net_turns(2);
        mem_conn_feed(&m, out.p + 30, out.n - 30);
        net_turns(5);
        if (!memfail_hit())
            assert_true(heard_it_all());
        end();
        assert_true(m.closed);
    }
    assert_true(begin(SLICE_NONE));
}

/* ---- floods ---- */

/* Feeds the same frames again and again; the code of GOAWAY, or -1. */
static int flood(unsigned most, void (*make)(unsigned i))
{
    again();
    frames_begin(&out);
    feed();
    for (unsigned i = 0; i < most; i += 50) {
        for (unsigned k = 0; k < 50; k++)
            make(i + k);
        feed();
        m.in_n = m.in_at = 0;
        if (frames_code(m.out, m.out_n, 0) >= 0)
            break;
        m.out_n = 0;
    }
    return frames_code(m.out, m.out_n, 0);
}

static void make_ping(unsigned i)
{
    UNUSED(i);
    frames_put(&out, F_PING, 0, 0, "12345678", 8);
}

static void make_settings(unsigned i)
{
    UNUSED(i);
    frames_put(&out, F_SETTINGS, 0, 0, NULL, 0);
}

static void make_priority(unsigned i)
{
    UNUSED(i);
    frames_put(&out, F_PRIORITY, 0, 1, "\0\0\0\0\1", 5);
}

static void make_reset(unsigned i)
{
    frames_headers(&out, 2 * i + 1, F_END_STREAM, GET_LINES);
    frames_u32(&out, F_RST, 2 * i + 1, 8);
}

/* CVE-2025-8671: we are made to reset. */
static void make_you_reset(unsigned i)
{
    frames_headers(&out, 2 * i + 1, 0, GET_LINES);
    frames_u32(&out, F_WINDOW, 2 * i + 1, 0x7fffffff);
}

static void make_malformed(unsigned i)
{
    frames_headers(&out, 2 * i + 1, F_END_STREAM, GET_LINES "X-Bad: 1\n");
}

static void make_empty_data(unsigned i)
{
    if (i == 0)
        frames_headers(&out, 1, 0, ":method: POST\n:scheme: http\n:authority: a.test\n:path: /\n");
    frames_put(&out, F_DATA, 0, 1, NULL, 0);
}

static void make_tiny_update(unsigned i)
{
    UNUSED(i);
    frames_u32(&out, F_WINDOW, 0, 1);
}

static void make_unknown(unsigned i)
{
    frames_put(&out, 10 + (int)i % 240, 0, 0, "x", i % 2);
}

static void make_pong(unsigned i)
{
    UNUSED(i);
    frames_put(&out, F_PING, F_ACK, 0, "12345678", 8);
}

static void test_floods(void **state)
{
    static void (*const makes[])(unsigned) = {make_ping, make_settings, make_priority, make_reset, make_you_reset, make_malformed, make_empty_data, make_tiny_update, make_unknown, make_pong};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(makes); i++) {
        int code = flood(6000, makes[i]);

        if (code != CODE_CALM)
            fail_msg("flood %zu: GOAWAY %d", i, code);
        net_turns(3);
        assert_int_equal(mux_serve(mux), MUX_BUSY);
        net_later_ms(1100);
        for (unsigned k = 0; k < n_sides; k++)
            stream_release(&sides[k].s);
        assert_int_equal(mux_serve(mux), MUX_CLOSED);
    }
}

/* CVE-2024-27316 */
static void test_continuation(void **state)
{
    UNUSED(state);
    again();
    frames_begin(&out);
    frames_put(&out, F_HEADERS, 0, 1, "\0\3x-a\1b", 7);
    for (int i = 0; i < 500; i++)
        frames_put(&out, F_CONTINUATION, 0, 1, "\0\3x-a\1b", 7);
    feed();
    assert_true(frames_code(m.out, m.out_n, 0) > 0);
    assert_int_equal(n_sides, 0);
    assert_int_not_equal(mux_serve(mux), MUX_IDLE);
}

/* CVE-2016-6581: one long field in the table, named again and again by a byte. */
static void test_bomb(void **state)
{
    static uint8_t block[16000];
    static char value[3900];
    size_t n = frames_block(block, GET_LINES);

    UNUSED(state);
    again();
    frames_begin(&out);
    memset(value, 'v', sizeof(value));
    block[n++] = 0x40; /* with incremental indexing */
    n += frames_text(block + n, "x-a", 3);
    n += frames_text(block + n, value, sizeof(value));
    memset(block + n, 0xbe, sizeof(block) - n); /* index 62 */
    frames_put(&out, F_HEADERS, F_END_HEADERS | F_END_STREAM, 1, block, sizeof(block));
    feed();
    assert_int_equal(frames_code(m.out, m.out_n, 0), CODE_CALM);
}

/* More streams at a time than were offered. */
static void test_many_streams(void **state)
{
    UNUSED(state);
    conf.streams = 10;
    again();
    frames_begin(&out);
    for (uint32_t i = 0; i < 12; i++)
        frames_headers(&out, 2 * i + 1, 0, ":method: CONNECT\n:authority: a.test:443\n");
    feed();
    assert_int_equal(n_sides, 10);
    assert_int_equal(frames_code(m.out, m.out_n, 21), CODE_REFUSED);
    assert_int_equal(frames_code(m.out, m.out_n, 0), CODE_NONE);
}

/* ---- deadlines ---- */

static void test_no_settings(void **state)
{
    UNUSED(state);
    again();
    mem_conn_text(&m, F_PREFACE);
    net_turns(2);
    net_later_ms(conf.settings_ms + 100);
    net_turns(3);
    assert_int_equal(frames_code(m.out, m.out_n, 0), CODE_SETTINGS_TIMEOUT);
    assert_int_equal(mux_serve(mux), MUX_LINGER);
}

static void test_half_a_head(void **state)
{
    UNUSED(state);
    again();
    frames_begin(&out);
    frames_put(&out, F_HEADERS, 0, 1, "\0\3x-a\1b", 7);
    feed();
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    net_later_ms(conf.settings_ms + 100);
    net_turns(3);
    assert_int_equal(frames_code(m.out, m.out_n, 0), CODE_CALM);
    net_later_ms(1100);
    assert_int_equal(mux_serve(mux), MUX_CLOSED);
}

/* The same, of a client that reads nothing: the wait for the last frames to leave costs no CPU. */
static void test_half_a_head_unread(void **state)
{
    uint64_t before;

    UNUSED(state);
    again();
    frames_begin(&out);
    frames_put(&out, F_HEADERS, 0, 1, "\0\3x-a\1b", 7);
    feed();
    m.room = 0;
    net_later_ms(conf.settings_ms + 100);
    net_turns(3);
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    before = net_loop.tasks_run;
    net_turns(50);
    assert_in_range(net_loop.tasks_run - before, 0, 5);
    net_later_ms(2100);
    assert_int_equal(mux_serve(mux), MUX_CLOSED);
}

/* The client closes while a head is half there, and while an exchange has not looked yet. */
static void test_closed_early(void **state)
{
    UNUSED(state);
    again();
    frames_begin(&out);
    frames_put(&out, F_HEADERS, 0, 1, "\0\3x-a\1b", 7);
    feed();
    mem_conn_fin(&m);
    net_turns(3);
    assert_int_equal(mux_serve(mux), MUX_CLOSED);
    again();
    frames_begin(&out);
    frames_headers(&out, 1, 0, ":method: CONNECT\n:authority: a.test:443\n");
    mem_conn_feed(&m, out.p, out.n);
    mem_conn_fin(&m);
    net_turns(5);
    assert_int_equal(n_sides, 1);
    assert_true(stream_broken(sides[0].s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_preface, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_preface, setup, teardown),
        cmocka_unit_test_setup_teardown(test_good_heads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_head_too_large, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cookies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_content_length, setup, teardown),
        cmocka_unit_test_setup_teardown(test_headers_in_tunnel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flow_violated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_split, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_floods, setup, teardown),
        cmocka_unit_test_setup_teardown(test_continuation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bomb, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_streams, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_settings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_a_head, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_a_head_unread, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_early, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
