/* SPDX-License-Identifier: MIT */
/* HTTP/2, both roles back to back: what one says the other hears, however the bytes are cut. Each
 * side is driven as an exchange does it.
 */
#include "mux/conn_stream.h"
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

#include "support/net.h"
#include "support/pair_conn.h"

enum { SIDES = 300 };
static const struct h1_limits limits = {.line = 8192, .head = 65536, .fields = 100};

/* One side of an exchange: a task that counts, and a stream. */
struct side {
    struct task task;
    struct stream *s;
    unsigned woken;
};

static struct pair_conn conns[2]; /* 0: the server's */
static struct mux *server, *client;
static struct task server_owner, client_owner;
static unsigned server_woken, client_woken;
static struct side accepted[SIDES], opened[SIDES];
static unsigned n_accepted, n_taken, n_opened;
static struct arena arena;
static struct conn *up; /* conn_stream's */
static struct h2_conf conf;
static struct h2_credit credit;
static char buf[70000], pattern[70000];

static void side_run(struct task *t, unsigned bits)
{
    UNUSED(bits);
    CONTAINER_OF(t, struct side, task)->woken++;
}

static void owner_run(struct task *t, unsigned bits)
{
    UNUSED(bits);
    if (t == &server_owner)
        server_woken++;
    else
        client_woken++;
}

static void on_stream(struct mux *m, struct stream *s)
{
    struct side *x = &accepted[n_accepted++ % SIDES];

    UNUSED(m);
    task_init(&x->task, &net_loop, "server side", side_run);
    x->s = s;
    x->woken = 0;
    s->task = &x->task;
}

static void begin(void)
{
    n_accepted = n_taken = n_opened = 0;
    server_woken = client_woken = 0;
    pair_conn_init(conns, &net_loop);
    server = mux_h2_server_new(&conns[0].conn, &conf, SLICE_NONE);
    client = mux_h2_client_new(&conns[1].conn, &conf);
    assert_non_null(server);
    assert_non_null(client);
    server->task = &server_owner;
    server->on_stream = on_stream;
    client->task = &client_owner;
}

static int setup(void **state)
{
    UNUSED(state);
    net_begin();
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (char)(i * 7 + i / 251);
    task_init(&server_owner, &net_loop, "server owner", owner_run);
    task_init(&client_owner, &net_loop, "client owner", owner_run);
    arena_init(&arena, &net_loop.pages, 1 << 22);
    credit = (struct h2_credit){.left = 64 << 20, .all = 64 << 20};
    conf = h2_conf_default;
    conf.heads = &limits;
    conf.credit = &credit;
    begin();
    return 0;
}

static void end(void)
{
    if (up)
        conn_reset(&up);
    net_turns(3);
    for (unsigned i = 0; i < n_accepted && i < SIDES; i++)
        stream_release(&accepted[i].s);
    for (unsigned i = 0; i < n_opened && i < SIDES; i++)
        stream_release(&opened[i].s);
    net_turns(3);
    mux_close(&client, false);
    mux_close(&server, false);
    task_cancel(&server_owner);
    task_cancel(&client_owner);
    net_turns(2);
}

static int teardown(void **state)
{
    UNUSED(state);
    end();
    assert_int_equal(credit.left, credit.all);
    arena_done(&arena);
    net_end();
    return 0;
}

static void turns(void)
{
    net_turns(8);
}

static struct side *open_side(void)
{
    struct side *x = &opened[n_opened++];

    task_init(&x->task, &net_loop, "client side", side_run);
    x->woken = 0;
    x->s = mux_open(client, &x->task);
    assert_non_null(x->s);
    return x;
}

static struct head request(const char *method, const char *authority)
{
    struct head h = {.version = 11, .method = method_id(slice_str(method)), .method_name = slice_str(method), .form = FORM_ABSOLUTE,
                     .scheme = SCHEME_HTTP, .path = SLICE("/x?y"), .auth = {.raw = slice_str(authority), .host = slice_str(authority), .kind = HOST_NAME}};

    hdrs_init(&h.fields);
    return h;
}

static struct head response(int status)
{
    struct head h = {.response = true, .version = 11, .status = status};

    hdrs_init(&h.fields);
    return h;
}

static void add(struct head *h, const char *name, const char *value)
{
    assert_int_equal(hdrs_add(&h->fields, &arena, hdr_id(slice_str(name)), slice_str(name), slice_str(value)), 0);
}

static struct side *accept_side(void)
{
    for (int i = 0; i < 2000 && n_taken == n_accepted; i++)
        net_turns(1);
    if (n_taken == n_accepted && n_opened && opened[n_opened - 1].s) {
        struct head *h;
        enum io io = stream_recv_head(opened[n_opened - 1].s, &arena, &h);
        print_message("not accepted: %d %s\n", io, opened[n_opened - 1].s->fault.detail);
    }
    assert_true(n_taken < n_accepted);
    return &accepted[n_taken++ % SIDES];
}

static struct head *recv_head(struct side *x)
{
    struct head *h = NULL;
    enum io io = IO_AGAIN;

    for (int i = 0; i < 2000 && io == IO_AGAIN; i++) {
        io = stream_recv_head(x->s, &arena, &h);
        if (io == IO_AGAIN)
            net_turns(1);
    }
    if (io == IO_ERR)
        print_message("fault: %s\n", x->s->fault.detail);
    assert_int_equal(io, IO_OK);
    return h;
}

static enum io recv_io(struct side *x, void *p, size_t cap, size_t *ret_n)
{
    enum io io = IO_AGAIN;

    for (int i = 0; i < 3000 && io == IO_AGAIN; i++) {
        io = stream_recv(x->s, p, cap, ret_n);
        if (io == IO_AGAIN)
            net_turns(1);
    }
    return io;
}

static void expect_text(struct side *x, const char *text)
{
    size_t n, at = 0, want = strlen(text);

    while (at < want) {
        assert_int_equal(recv_io(x, buf + at, sizeof(buf) - at, &n), IO_OK);
        at += n;
    }
    assert_int_equal(at, want);
    assert_memory_equal(buf, text, want);
}

static void expect_eof(struct side *x)
{
    size_t n;

    assert_int_equal(recv_io(x, buf, sizeof(buf), &n), IO_EOF);
    assert_int_equal(x->s->rx, STREAM_END);
}

static void expect_err(struct side *x, enum end_reason reason)
{
    size_t n;

    assert_int_equal(recv_io(x, buf, sizeof(buf), &n), IO_ERR);
    assert_int_equal(x->s->fault.reason, reason);
}

static void send_text(struct side *x, const char *text, bool last)
{
    for (int i = 0; i < 2000 && stream_room(x->s) < strlen(text); i++)
        net_turns(1);
    assert_true(stream_room(x->s) >= strlen(text));
    assert_int_equal(stream_send(x->s, text, strlen(text), last), IO_OK);
}

static const char *field(const struct head *h, const char *name)
{
    static char text[8][300];
    static int at;

    for (uint32_t i = 0; i < h->fields.n; i++)
        if (slice_eq_nocase(h->fields.v[i].name, slice_str(name))) {
            at = (at + 1) % 8;
            snprintf(text[at], sizeof(text[at]), SLICE_FMT, SLICE_ARG(h->fields.v[i].value));
            return text[at];
        }
    return NULL;
}

/* ---- messages ---- */

static void test_get(void **state)
{
    struct side *c, *s;
    struct head q, a, *h;

    UNUSED(state);
    c = open_side();
    q = request("GET", "a.test");
    q.auth.port = 8080;
    add(&q, "Host", "other.test"); /* :authority comes from the target (C59) */
    add(&q, "Accept", "*/*");
    add(&q, "Connection", "x-hop");
    add(&q, "Keep-Alive", "timeout=5");
    q.te_trailers = true;
    assert_int_equal(stream_send_head(c->s, &q, true), IO_OK);
    assert_int_equal(stream_flush(c->s), IO_OK);
    s = accept_side();
    h = recv_head(s);
    assert_int_equal(h->version, 20);
    assert_int_equal(h->method, METHOD_GET);
    assert_int_equal(h->scheme, SCHEME_HTTP);
    assert_int_equal(h->form, FORM_ABSOLUTE);
    assert_true(slice_eq(h->path, SLICE("/x?y")));
    assert_true(slice_eq(h->auth.host, SLICE("a.test")));
    assert_int_equal(h->auth.port, 8080);
    assert_int_equal(h->body, BODY_NONE);
    assert_true(h->te_trailers);
    assert_int_equal(h->fields.n, 1);
    assert_string_equal(field(h, "accept"), "*/*");
    assert_int_equal(s->s->rx, STREAM_END);
    a = response(200);
    a.body = BODY_SIZED;
    a.length = 5;
    add(&a, "Content-Type", "text/plain");
    add(&a, "Connection", "close");
    assert_int_equal(stream_send_head(s->s, &a, false), IO_OK);
    send_text(s, "hello", true);
    assert_int_equal(stream_flush(s->s), IO_OK);
    assert_true(s->s->head_bytes > 9);
    h = recv_head(c);
    assert_int_equal(h->status, 200);
    assert_int_equal(h->body, BODY_SIZED);
    assert_int_equal(h->length, 5);
    assert_string_equal(field(h, "content-type"), "text/plain");
    assert_null(field(h, "connection"));
    expect_text(c, "hello");
    expect_eof(c);
    stream_release(&s->s);
    stream_release(&c->s);
    turns();
    assert_true(mux_reusable(client));
    assert_int_equal(mux_serve(server), MUX_IDLE);
    assert_int_equal(mux_room(client), conf.streams);
}

/* A stream without a length both ways, interim answers, trailers (C47). */
static void test_trailers_and_interim(void **state)
{
    struct head q = request("POST", "a.test"), a = response(200), i100 = response(100), i103 = response(103), *h;
    struct side *c = open_side(), *s;
    struct hdrs t;

    UNUSED(state);
    q.body = BODY_STREAMED;
    add(&q, "Expect", "100-continue");
    add(&q, "Trailer", "x-sum");
    assert_int_equal(stream_send_head(c->s, &q, false), IO_OK);
    s = accept_side();
    h = recv_head(s);
    assert_int_equal(h->body, BODY_STREAMED);
    assert_true(h->expect_continue);
    assert_int_equal(stream_send_head(s->s, &i100, false), IO_OK);
    assert_int_equal(stream_send_head(s->s, &i103, false), IO_OK);
    assert_int_equal(recv_head(c)->status, 100);
    assert_int_equal(recv_head(c)->status, 103);
    send_text(c, "one", false);
    send_text(c, "two", false);
    hdrs_init(&t);
    assert_int_equal(hdrs_add(&t, &arena, HDR_OTHER, SLICE("X-Sum"), SLICE("6")), 0);
    assert_int_equal(hdrs_add(&t, &arena, HDR_CONTENT_LENGTH, SLICE("Content-Length"), SLICE("6")), 0);
    assert_int_equal(stream_end(c->s, &t), IO_OK);
    assert_int_equal(stream_flush(c->s), IO_OK);
    expect_text(s, "onetwo");
    expect_eof(s);
    assert_non_null(s->s->trailers);
    assert_int_equal(s->s->trailers->n, 1);
    assert_true(slice_eq(s->s->trailers->v[0].name, SLICE("x-sum")));
    a.body = BODY_STREAMED;
    assert_int_equal(stream_send_head(s->s, &a, false), IO_OK);
    send_text(s, "answer", false);
    assert_int_equal(stream_end(s->s, &t), IO_OK);
    assert_int_equal(stream_flush(s->s), IO_OK);
    h = recv_head(c);
    assert_int_equal(h->body, BODY_STREAMED);
    expect_text(c, "answer");
    expect_eof(c);
    assert_int_equal(c->s->trailers->n, 1);
}

static void test_head_and_empty(void **state)
{
    static const struct {
        const char *method;
        int status;
        uint64_t length;
        bool sized;
        enum body_kind got;
    } t[] = {
        {"HEAD", 200, 12, true, BODY_NONE}, {"GET", 204, 0, false, BODY_NONE}, {"GET", 304, 0, false, BODY_NONE}, {"GET", 200, 0, true, BODY_SIZED},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct head q = request(t[i].method, "a.test"), a = response(t[i].status), *h;
        struct side *c = open_side(), *s;

        assert_int_equal(stream_send_head(c->s, &q, true), IO_OK);
        s = accept_side();
        recv_head(s);
        if (strcmp(t[i].method, "HEAD") == 0)
            add(&a, "Content-Length", "12");
        a.body = t[i].sized && t[i].method[0] == 'G' ? BODY_SIZED : BODY_NONE;
        assert_int_equal(stream_send_head(s->s, &a, true), IO_OK);
        assert_int_equal(s->s->tx, STREAM_END);
        assert_int_equal(stream_flush(s->s), IO_OK);
        h = recv_head(c);
        assert_int_equal(h->status, t[i].status);
        assert_int_equal(h->body, t[i].got);
        assert_int_equal(c->s->rx, STREAM_END);
        if (t[i].method[0] == 'H')
            assert_string_equal(field(h, "content-length"), "12");
        stream_release(&s->s);
        stream_release(&c->s);
    }
}

/* ---- tunnels ---- */

static void tunnel(struct side **ret_c, struct side **ret_s)
{
    struct head q = request("CONNECT", "a.test"), a = response(200), *h;
    struct side *c = open_side(), *s;

    q.auth.port = 443;
    q.scheme = SCHEME_NONE;
    assert_int_equal(stream_send_head(c->s, &q, true), IO_OK);
    assert_int_equal(stream_flush(c->s), IO_OK);
    s = accept_side();
    h = recv_head(s);
    assert_int_equal(h->method, METHOD_CONNECT);
    assert_int_equal(h->form, FORM_AUTHORITY);
    assert_int_equal(h->auth.port, 443);
    assert_int_equal(h->body, BODY_NONE);
    assert_int_equal(stream_send_head(s->s, &a, false), IO_OK);
    assert_int_equal(stream_flush(s->s), IO_OK);
    assert_int_equal(stream_tunnel(s->s), 0);
    h = recv_head(c);
    assert_int_equal(h->status, 200);
    assert_int_equal(stream_tunnel(c->s), 0);
    *ret_c = c;
    *ret_s = s;
}

/* C60, C62: END_STREAM is FIN, one direction at a time, also with nothing before it. */
static void test_tunnel(void **state)
{
    struct side *c, *s;

    UNUSED(state);
    tunnel(&c, &s);
    send_text(c, "ping", false);
    expect_text(s, "ping");
    send_text(s, "pong", false);
    expect_text(c, "pong");
    assert_int_equal(stream_end(c->s, NULL), IO_OK);
    assert_int_equal(stream_flush(c->s), IO_OK);
    expect_eof(s);
    send_text(s, "late", false);
    expect_text(c, "late");
    send_text(s, "last", true);
    assert_int_equal(stream_flush(s->s), IO_OK);
    expect_text(c, "last");
    expect_eof(c);
    stream_release(&c->s);
    stream_release(&s->s);
    turns();
    assert_int_equal(mux_serve(server), MUX_IDLE);
    assert_true(mux_reusable(client));
}

/* C63: a reset is a reset; what was sent before it comes first. */
static void test_tunnel_reset(void **state)
{
    struct side *c, *s;

    UNUSED(state);
    for (int by_client = 0; by_client < 2; by_client++) {
        tunnel(&c, &s);
        send_text(by_client ? c : s, "before", false);
        stream_reset(by_client ? c->s : s->s);
        expect_text(by_client ? s : c, "before");
        expect_err(by_client ? s : c, by_client ? END_CLIENT_RESET : END_UPSTREAM_RESET);
        assert_true(stream_broken(by_client ? s->s : c->s));
        stream_release(&c->s);
        stream_release(&s->s);
        turns();
        assert_true(mux_reusable(client));
    }
}

/* The connection breaks: no end looks orderly. */
static void test_connection_lost(void **state)
{
    struct side *c, *s;

    UNUSED(state);
    tunnel(&c, &s);
    send_text(c, "x", false);
    turns();
    stream_release(&c->s);
    mux_close(&client, true);
    expect_text(s, "x");
    expect_err(s, END_CLIENT_RESET);
    stream_release(&s->s);
    turns();
    assert_int_equal(mux_serve(server), MUX_CLOSED);
}

/* What has ended in order both ways is whole, though the connection goes before its last bytes are read: a slow sink is not cut off (C62). */
static void test_lost_after_both_ends(void **state)
{
    struct side *c, *s;

    UNUSED(state);
    tunnel(&c, &s);
    assert_int_equal(stream_end(c->s, NULL), IO_OK);
    assert_int_equal(stream_flush(c->s), IO_OK);
    expect_eof(s);
    send_text(s, "last", true);
    assert_int_equal(stream_flush(s->s), IO_OK);
    turns();
    stream_release(&s->s);
    turns();
    mux_close(&server, true);
    turns();
    assert_false(mux_reusable(client));
    assert_false(stream_broken(c->s));
    expect_text(c, "last");
    expect_eof(c);
}

/* A POST, its head taken by the server. */
static void upload(struct side **ret_c, struct side **ret_s)
{
    struct head q = request("POST", "a.test");

    q.body = BODY_STREAMED;
    *ret_c = open_side();
    assert_int_equal(stream_send_head((*ret_c)->s, &q, false), IO_OK);
    turns();
    *ret_s = accept_side();
    recv_head(*ret_s);
}

/* The origin answers early and closes: writing meets the reset, and what was received before it is still the answer. */
static void test_answer_before_reset(void **state)
{
    struct head a = response(413);
    struct side *c, *s;

    UNUSED(state);
    upload(&c, &s);
    turns();
    a.body = BODY_SIZED;
    a.length = 2;
    pair_conn_of(server->conn)->piece = 1; /* it leaves bytes unread */
    assert_int_equal(stream_send_head(s->s, &a, false), IO_OK);
    send_text(s, "no", true);
    stream_flush(s->s);
    stream_release(&s->s);
    assert_true(stream_room(c->s) >= 10000);
    assert_int_equal(stream_send(c->s, pattern, 10000, false), IO_OK);
    mux_close(&server, false);
    assert_true(pair_conn_of(client->conn)->in_rst);
    if (stream_send(c->s, pattern, 10000, false) == IO_OK)
        stream_flush(c->s);
    turns();
    assert_int_equal(recv_head(c)->status, 413);
    expect_text(c, "no");
    expect_eof(c);
    stream_release(&c->s);
    turns();
    assert_false(mux_reusable(client));
}

/* ---- silence ---- */

static bool timer_is_set(void)
{
    return wheel_next(&net_loop.wheel) != UINT64_MAX;
}

static struct side *ask(const char *method)
{
    struct head q = request(method, "a.test");
    struct side *c = open_side();

    assert_int_equal(stream_send_head(c->s, &q, true), IO_OK);
    turns();
    return c;
}

static void leave(struct side *c)
{
    stream_reset(c->s);
    stream_release(&c->s);
    turns();
}

/* What the client has sent since the last time, in bytes; a PING is 17. */
static uint64_t said(void)
{
    static uint64_t last;
    uint64_t n = conns[1].sent - last;

    last = conns[1].sent;
    return n;
}

enum { PING_SIZE = 17 };

/* Nobody waits: there is no timer, whatever the time. */
static void test_quiet_tunnels_are_not_asked(void **state)
{
    struct side *c, *s;

    UNUSED(state);
    tunnel(&c, &s);
    net_later_ms(11000); /* SETTINGS had their time */
    assert_false(timer_is_set());
    said();
    net_later_ms(3600 * 1000);
    assert_int_equal(said(), 0);
    assert_true(mux_room(client) > 0);
    assert_false(timer_is_set());
}

/* A slow answer on a connection that works: one PING after 5 s, and the next a minute after. */
static void test_slow_answer(void **state)
{
    struct head r = response(204);
    struct side *c, *s;

    UNUSED(state);
    c = ask("GET");
    s = accept_side();
    recv_head(s);
    turns();
    said();
    net_later_ms(4900);
    assert_int_equal(said(), 0);
    net_later_ms(200);
    turns();
    assert_int_equal(said(), PING_SIZE);
    net_later_ms(50 * 1000);
    turns();
    assert_int_equal(said(), 0);
    assert_true(mux_room(client) > 0);
    net_later_ms(11 * 1000);
    turns();
    assert_int_equal(said(), PING_SIZE);
    assert_int_equal(stream_send_head(s->s, &r, true), IO_OK);
    turns();
    assert_int_equal(recv_head(c)->status, 204);
    assert_false(timer_is_set());
    stream_release(&c->s);
    stream_release(&s->s);
}

/* After a long silence the first request brings its PING along. */
static void test_asked_with_the_request(void **state)
{
    struct side *c, *s, *c2;
    uint64_t plain;

    UNUSED(state);
    tunnel(&c, &s);
    said();
    leave(ask("GET"));
    plain = said();
    net_later_ms(5000);
    c2 = ask("GET");
    leave(c2);
    assert_in_range(said(), plain + PING_SIZE - 8, plain + PING_SIZE);
    assert_true(mux_room(client) > 0);
}

/* A connection that leads nowhere, though the kernel does not say so: no further request once the answer to the PING is late, and after its time those that wait go elsewhere. What
 * has been answered stays as it is. */
static void test_black_hole(void **state)
{
    struct side *c, *s, *c2, *c3;
    struct head *h;

    UNUSED(state);
    tunnel(&c, &s);
    turns();
    pair_conn_hold(&conns[0], true);
    pair_conn_hold(&conns[1], true);
    c2 = ask("GET");
    net_later_ms(3000);
    c3 = ask("POST");
    net_later_ms(2100);
    assert_true(mux_room(client) > 0);
    net_later_ms(1000);
    assert_int_equal(mux_room(client), 0);
    assert_int_equal(stream_recv_head(c2->s, &arena, &h), IO_AGAIN);
    client_woken = 0;
    net_later_ms(8000);
    assert_int_equal(stream_recv_head(c2->s, &arena, &h), IO_AGAIN);
    net_later_ms(1100);
    assert_true(client_woken > 0);
    assert_int_equal(stream_recv_head(c2->s, &arena, &h), IO_ERR);
    assert_int_equal(c2->s->fault.reason, END_UPSTREAM_TIMEOUT);
    assert_int_equal(stream_recv_head(c3->s, &arena, &h), IO_ERR);
    assert_false(c3->s->unprocessed);
    assert_false(mux_reusable(client));
    leave(c2);
    leave(c3);
    assert_int_equal(mux_serve(client), MUX_BUSY);
    /* It was only asleep. */
    pair_conn_hold(&conns[0], false);
    pair_conn_hold(&conns[1], false);
    turns();
    send_text(s, "here", false);
    turns();
    expect_text(c, "here");
    assert_false(stream_broken(c->s));
    assert_int_equal(mux_room(client), 0);
}

/* The answer is late, and comes: it serves again. */
static void test_late_answer_to_ping(void **state)
{
    struct head *h;
    struct side *c;

    UNUSED(state);
    turns();
    c = ask("GET");
    turns();
    pair_conn_hold(&conns[0], true);
    net_later_ms(5100);
    net_later_ms(2000);
    assert_int_equal(mux_room(client), 0);
    client_woken = 0;
    pair_conn_hold(&conns[0], false);
    turns();
    assert_true(client_woken > 0);
    assert_true(mux_room(client) > 0);
    net_later_ms(20000);
    assert_int_equal(stream_recv_head(c->s, &arena, &h), IO_AGAIN);
    assert_true(mux_room(client) > 0);
}

/* Clients that never wait for long find out together: the question stays when who asked it has gone. */
static void test_impatient_clients(void **state)
{
    struct side *c, *s;

    UNUSED(state);
    tunnel(&c, &s);
    turns();
    pair_conn_hold(&conns[0], true);
    for (int i = 0; i < 3; i++) {
        struct side *c2 = mux_room(client) ? ask("GET") : NULL;

        net_later_ms(2500);
        if (c2)
            leave(c2);
    }
    assert_int_equal(mux_room(client), 0);
    net_later_ms(10000);
    assert_false(mux_reusable(client));
}

/* What is queued has a minute to move, counted from when it was: not from what moved last, long ago. */
static void test_queue_begins_late(void **state)
{
    struct side *c, *s;

    UNUSED(state);
    tunnel(&c, &s);
    net_later_ms(90 * 1000);
    pair_conn_hold(&conns[0], true);
    send_text(c, "late", false);
    turns();
    assert_false(stream_broken(c->s));
    net_later_ms(59 * 1000);
    assert_false(stream_broken(c->s));
    net_later_ms(2 * 1000);
    assert_true(stream_broken(c->s));
}

/* ---- flow ---- */

static size_t push(struct side *x, size_t n, size_t *at)
{
    size_t sent = 0;

    while (sent < n) {
        size_t room = min_size(stream_room(x->s), n - sent);

        if (!room)
            break;
        assert_int_equal(stream_send(x->s, pattern + *at % 251, min_size(room, 16000), false), IO_OK);
        sent += min_size(room, 16000);
        *at += min_size(room, 16000);
    }
    return sent;
}

/* C64: who does not read holds what its window granted, and the others go on. */
static void test_stalled_stream(void **state)
{
    struct side *c, *s, *c2, *s2;
    size_t at = 0, all = 0, n;

    UNUSED(state);
    tunnel(&c, &s);
    tunnel(&c2, &s2);
    for (int i = 0; i < 50; i++) {
        all += push(c, 1 << 20, &at);
        turns();
    }
    assert_int_equal(all, conf.window);
    assert_int_equal(stream_room(c->s), 0);
    send_text(c2, "still here", false);
    expect_text(s2, "still here");
    /* It reads again. */
    c->woken = 0;
    for (size_t got = 0; got < all; got += n)
        assert_int_equal(recv_io(s, buf, sizeof(buf), &n), IO_OK);
    turns();
    assert_true(c->woken > 0);
    assert_true(stream_room(c->s) > 0);
}

/* Windows grow while the sink drains, up to the bound, and the credit comes back. */
static void test_window_grows(void **state)
{
    struct side *c, *s;
    size_t at = 0, n = 0;
    uint64_t all = 0;

    UNUSED(state);
    tunnel(&c, &s);
    for (int i = 0; i < 4000 && credit.left > credit.all - (conf.window_max - conf.window); i++) {
        push(c, 4 << 20, &at);
        net_turns(2);
        while (stream_recv(s->s, buf, sizeof(buf), &n) == IO_OK)
            all += n;
    }
    assert_int_equal(credit.left, credit.all - (conf.window_max - conf.window));
    assert_true(all >= conf.window_max / 2);
    /* It stalls now: that much, and no more. */
    n = 0;
    for (int i = 0; i < 200; i++) {
        n += push(c, 32 << 20, &at);
        net_turns(2);
    }
    assert_in_range(n, conf.window_max / 2, conf.window_max);
}

/* Memory is refused while content comes: what is lost never looks like an end. */
static void test_memory_in_content(void **state)
{
    enum { HALF = 16000, REST = 16000, LAST = 15000 };

    for (memfail_start(); memfail_next();) {
        size_t at = 0, got = 0, n;
        struct side *c, *s;
        enum io io;

        mem_set_gate(NULL);
        teardown(state);
        setup(state);
        upload(&c, &s);
        assert_int_equal(push(c, HALF, &at), HALF);
        turns();
        assert_int_equal(push(c, REST, &at), REST);
        assert_int_equal(stream_send(c->s, pattern, LAST, true), IO_OK);
        objcache_trim(&net_loop.blocks);
        mem_set_gate(memfail_gate);
        turns();
        mem_set_gate(NULL);
        while ((io = recv_io(s, buf, sizeof(buf), &n)) == IO_OK)
            got += n;
        assert_true(io == IO_ERR || got == HALF + REST + LAST);
        assert_true(io == IO_EOF || memfail_hit());
    }
}

/* A peer that reads nothing: bounded, and over at last. */
static void test_stalled_connection(void **state)
{
    struct side *c[4], *s[4];
    size_t at = 0, all = 0;

    UNUSED(state);
    for (int i = 0; i < 4; i++)
        tunnel(&c[i], &s[i]);
    pair_conn_hold(&conns[1], true);
    for (int i = 0; i < 20; i++) {
        for (int k = 0; k < 4; k++)
            all += push(s[k], 1 << 20, &at);
        turns();
    }
    assert_in_range(all, 100000, 4 * conf.window);
    assert_int_equal(stream_room(s[0]->s), 0);
    net_later_ms(conf.stall_ms + 1000);
    for (int k = 0; k < 4; k++) {
        expect_err(s[k], END_CLIENT_GONE);
        stream_release(&s[k]->s);
    }
    turns();
    assert_int_equal(mux_serve(server), MUX_CLOSED);
}

/* Streams that all want to send get the same. */
static void test_fair(void **state)
{
    enum { N = 20 };
    struct side *c[N], *s[N];
    size_t at = 0, got[N] = {0}, least = SIZE_MAX, most = 0, n;

    UNUSED(state);
    conf.window = conf.window_max = 1 << 20;
    end();
    begin();
    for (int i = 0; i < N; i++)
        tunnel(&c[i], &s[i]);
    turns();
    conns[1].room = 100000;
    for (int i = 0; i < 1500; i++) {
        net_turns(1);
        for (int k = 0; k < N; k++) {
            /* Only who was woken tries: as pumps do. */
            if (s[k]->woken || i == 0) {
                s[k]->woken = 0;
                push(s[k], 65536, &at);
            }
            while (stream_recv(c[k]->s, buf, sizeof(buf), &n) == IO_OK)
                got[k] += n;
            if (stream_room(s[k]->s))
                s[k]->woken = 1;
        }
    }
    for (int k = 0; k < N; k++) {
        least = min_size(least, got[k]);
        most = max_size(most, got[k]);
    }
    assert_true(least > 0);
    assert_true(most < least + least / 4);
}

/* ---- ends ---- */

/* An answer before the request is complete (RFC 9113 8.1). */
static void test_early_answer(void **state)
{
    struct head q = request("POST", "a.test"), a = response(413);
    struct side *c = open_side(), *s;

    UNUSED(state);
    q.body = BODY_SIZED;
    q.length = 1000000;
    assert_int_equal(stream_send_head(c->s, &q, false), IO_OK);
    send_text(c, "a beginning", false);
    s = accept_side();
    recv_head(s);
    a.body = BODY_SIZED;
    a.length = 2;
    assert_int_equal(stream_send_head(s->s, &a, false), IO_OK);
    send_text(s, "no", true);
    assert_int_equal(stream_flush(s->s), IO_OK);
    stream_release(&s->s);
    turns();
    assert_int_equal(recv_head(c)->status, 413);
    expect_text(c, "no");
    expect_eof(c);
    assert_int_equal(stream_room(c->s) > 0, 1);
    assert_int_equal(stream_send(c->s, "more", 4, false), IO_ERR);
    stream_release(&c->s);
    turns();
    assert_true(mux_reusable(client));
}

/* C68: nothing that crosses the first GOAWAY is lost; then no more. */
static void test_drain(void **state)
{
    struct side *c, *s, *c2, *s2;

    UNUSED(state);
    tunnel(&c, &s);
    turns();
    pair_conn_hold(&conns[1], true); /* the GOAWAY is on its way */
    server->drain = true;
    assert_int_equal(mux_serve(server), MUX_BUSY);
    turns();
    assert_true(mux_reusable(client));
    pair_conn_hold(&conns[1], false);
    tunnel(&c2, &s2);
    turns();
    assert_false(mux_reusable(client));
    assert_int_equal(mux_room(client), 0);
    assert_null(mux_open(client, &client_owner));
    send_text(c2, "goes on", false);
    expect_text(s2, "goes on");
    stream_reset(c->s);
    stream_release(&c->s);
    turns();
    stream_release(&s->s);
    assert_int_equal(mux_serve(server), MUX_BUSY);
    assert_int_equal(stream_end(c2->s, NULL), IO_OK);
    assert_int_equal(stream_end(s2->s, NULL), IO_OK);
    expect_eof(s2);
    expect_eof(c2);
    assert_int_equal(stream_flush(s2->s), IO_OK);
    stream_release(&c2->s);
    stream_release(&s2->s);
    turns();
    assert_true(mux_serve(server) == MUX_LINGER || mux_serve(server) == MUX_CLOSED);
}

/* C66: above GOAWAY's last id nothing was done. */
static void test_unprocessed(void **state)
{
    struct head q = request("POST", "a.test");
    struct side *c, *s, *late;

    UNUSED(state);
    tunnel(&c, &s);
    turns();
    server->drain = true;
    mux_serve(server);
    net_turns(1);
    net_later_ms(1100); /* no round trip was seen */
    late = NULL;
    if (mux_room(client)) {
        late = open_side();
        assert_int_equal(stream_send_head(late->s, &q, true), IO_OK);
    }
    turns();
    if (late) {
        struct head *h;

        assert_int_equal(stream_recv_head(late->s, &arena, &h), IO_ERR);
        assert_true(late->s->unprocessed);
    }
}

/* ---- WebSockets ---- */

/* RFC 8441 (C69, C70): neutral GET and 101 on both sides, extended CONNECT between. */
static void test_websocket(void **state)
{
    struct head q = request("GET", "a.test"), a = response(101), *h;
    struct side *c = open_side(), *s;

    UNUSED(state);
    q.protocol = SLICE("websocket");
    add(&q, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    add(&q, "Sec-WebSocket-Version", "13");
    assert_int_equal(stream_send_head(c->s, &q, true), IO_OK);
    s = accept_side();
    h = recv_head(s);
    assert_int_equal(h->method, METHOD_GET);
    assert_true(slice_eq(h->protocol, SLICE("websocket")));
    assert_int_equal(h->body, BODY_NONE);
    assert_null(field(h, "sec-websocket-key"));
    assert_string_equal(field(h, "sec-websocket-version"), "13");
    assert_int_equal(s->s->rx, STREAM_END);
    a.protocol = SLICE("websocket");
    add(&a, "Sec-WebSocket-Protocol", "chat");
    assert_int_equal(stream_send_head(s->s, &a, false), IO_OK);
    assert_int_equal(stream_flush(s->s), IO_OK);
    assert_int_equal(stream_tunnel(s->s), 0);
    h = recv_head(c);
    assert_int_equal(h->status, 101);
    assert_true(slice_eq(h->protocol, SLICE("websocket")));
    assert_string_equal(field(h, "sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_string_equal(field(h, "sec-websocket-protocol"), "chat");
    assert_int_equal(stream_tunnel(c->s), 0);
    send_text(c, "up", false);
    expect_text(s, "up");
    send_text(s, "down", true);
    expect_text(c, "down");
    expect_eof(c);
}

static void test_websocket_refused(void **state)
{
    struct head q = request("GET", "a.test"), a = response(403), *h;
    struct side *c = open_side(), *s;

    UNUSED(state);
    q.protocol = SLICE("websocket");
    assert_int_equal(stream_send_head(c->s, &q, true), IO_OK);
    s = accept_side();
    recv_head(s);
    a.body = BODY_SIZED;
    a.length = 2;
    assert_int_equal(stream_send_head(s->s, &a, false), IO_OK);
    send_text(s, "no", true);
    assert_int_equal(stream_flush(s->s), IO_OK);
    h = recv_head(c);
    assert_int_equal(h->status, 403);
    assert_int_equal(h->protocol.n, 0);
    expect_text(c, "no");
    expect_eof(c);
}

/* ---- a tunnel as a conn ---- */

static void test_conn_stream(void **state)
{
    static char hel[] = "hel", lo[] = "lo";
    struct iovec v[2] = {{.iov_base = hel, .iov_len = 3}, {.iov_base = lo, .iov_len = 2}};
    static struct side above;
    struct side *c, *s;
    size_t n;

    UNUSED(state);
    tunnel(&c, &s);
    task_init(&above.task, &net_loop, "above", side_run);
    assert_int_equal(conn_stream_new(&net_loop, &c->s, NULL, &up), 0);
    assert_null(c->s);
    up->task = &above.task;
    assert_int_equal(conn_established(up), IO_OK);
    assert_int_equal(conn_send(up, v, 2, &n), IO_OK);
    assert_int_equal(n, 5);
    expect_text(s, "hello");
    assert_int_equal(conn_recv(up, buf, sizeof(buf), &n), IO_AGAIN);
    assert_false(up->ready & CONN_RX);
    send_text(s, "world", false);
    turns();
    assert_true(above.woken > 0);
    assert_true(up->ready & CONN_RX);
    assert_int_equal(conn_recv(up, buf, sizeof(buf), &n), IO_OK);
    assert_int_equal(n, 5);
    /* Full, and room again. */
    for (n = 1; up->ready & CONN_TX;) {
        v[0] = (struct iovec){.iov_base = pattern, .iov_len = 30000};
        if (conn_send(up, v, 1, &n) != IO_OK)
            break;
        turns();
    }
    assert_false(up->ready & CONN_TX);
    while (stream_recv(s->s, buf, sizeof(buf), &n) == IO_OK)
        turns();
    turns();
    assert_true(up->ready & CONN_TX);
    assert_int_equal(conn_shut(up), 0);
    turns();
    while (stream_recv(s->s, buf, sizeof(buf), &n) == IO_OK)
        turns();
    expect_eof(s);
    stream_reset(s->s);
    turns();
    assert_int_equal(conn_recv(up, buf, sizeof(buf), &n), IO_ERR);
    conn_reset(&up);
    task_cancel(&above.task);
    turns();
}

/* ---- every cut ---- */

static void all_of_it(void **state)
{
    test_get(state);
    test_trailers_and_interim(state);
    test_websocket(state);
    test_tunnel_reset(state);
}

static void test_every_piece(void **state)
{
    static const size_t pieces[] = {1, 2, 3, 7, 9, 10, 64, 1000};

    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        end();
        begin();
        conns[0].piece = conns[1].piece = pieces[i];
        net_turns(300);
        all_of_it(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_get, setup, teardown),
        cmocka_unit_test_setup_teardown(test_head_and_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trailers_and_interim, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tunnel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tunnel_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connection_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_begins_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_quiet_tunnels_are_not_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_asked_with_the_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_black_hole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_answer_to_ping, setup, teardown),
        cmocka_unit_test_setup_teardown(test_impatient_clients, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_after_both_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answer_before_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_in_content, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stalled_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_window_grows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stalled_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fair, setup, teardown),
        cmocka_unit_test_setup_teardown(test_early_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unprocessed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_websocket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_websocket_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_conn_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_piece, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
