/* SPDX-License-Identifier: MIT */
/* HTTP/1 towards a client: which requests begin, which connections stay, what is thrown away. The
 * owner and the exchange are played by the test; faults of syntax are h1_parse's tests'.
 */
#include "mux/mux.h"

#include "base/check.h"
#include "base/err.h"
#include "support/memfail.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/mem_conn.h"
#include "support/net.h"

static const struct h1_limits limits = {.line = 8192, .head = 65536, .fields = 100};

static struct mem_conn m;
static struct mux *mux;
static struct task owner, exchange;
static unsigned owner_woken, exchange_woken, streams;
static struct stream *s;
static struct arena arena;
static struct head *req;

static void owner_run(struct task *t, unsigned bits)
{
    UNUSED(t);
    UNUSED(bits);
    owner_woken++;
}

static void exchange_run(struct task *t, unsigned bits)
{
    UNUSED(t);
    UNUSED(bits);
    exchange_woken++;
}

static void on_stream(struct mux *mx, struct stream *stream)
{
    assert_ptr_equal(mx, mux);
    assert_null(s);
    s = stream;
    s->task = &exchange;
    streams++;
}

static void begin(const char *early)
{
    mux = mux_server_new(mem_conn_init(&m, &net_loop), &limits, slice_str(early));
    assert_non_null(mux);
    mux->task = &owner;
    mux->on_stream = on_stream;
    m.conn.task = &owner;
}

static int setup(void **state)
{
    UNUSED(state);
    net_begin();
    task_init(&owner, &net_loop, "owner", owner_run);
    task_init(&exchange, &net_loop, "exchange", exchange_run);
    owner_woken = exchange_woken = streams = 0;
    s = NULL;
    arena_init(&arena, &net_loop.pages, 1 << 20);
    begin("");
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    if (s) {
        stream_reset(s);
        stream_release(&s);
    }
    mux_close(&mux, false);
    assert_null(mux);
    assert_true(m.closed);
    arena_done(&arena);
    net_turns(1);
    net_end();
    return 0;
}

/* ---- an exchange, in short ---- */

static enum io read_head(void)
{
    req = NULL;
    return stream_recv_head(s, &arena, &req);
}

static void serve_head(const char *text)
{
    mem_conn_text(&m, text);
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    assert_non_null(s);
    assert_int_equal(read_head(), IO_OK);
}

static struct head answer_head(int status, size_t length)
{
    struct head h = {.response = true, .version = 11, .status = status, .reason = SLICE("Said"),
                     .body = length ? BODY_SIZED : BODY_NONE, .length = length};

    hdrs_init(&h.fields);
    return h;
}

static void answer(int status, const char *body)
{
    struct head h = answer_head(status, strlen(body));

    assert_int_equal(stream_send_head(s, &h, !body[0]), IO_OK);
    if (s->tx != STREAM_END)
        assert_int_equal(stream_send(s, body, strlen(body), true), IO_OK);
    assert_int_equal(stream_flush(s), IO_OK);
}

static void release(void)
{
    stream_release(&s);
    assert_null(s);
    arena_done(&arena);
}

static void assert_out(const char *text)
{
    assert_string_equal(m.out, text);
    m.out_n = 0;
    m.out[0] = '\0';
}

static size_t drain_content(char *p, size_t cap)
{
    size_t n, total = 0;

    while (total < cap && stream_recv(s, p + total, cap - total, &n) == IO_OK)
        total += n;
    return total;
}

#define GET "GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n"
#define OK_2 "HTTP/1.1 200 Said\r\nContent-Length: 2\r\n\r\nok"
#define OK_2_CLOSE "HTTP/1.1 200 Said\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

/* ---- one request after the other ---- */

static void test_idle(void **state)
{
    UNUSED(state);
    assert_int_equal(mux_serve(mux), MUX_IDLE);
    assert_int_equal(streams, 0);
    assert_int_equal(net_loop.blocks.n_used, 0);
}

static void test_keep_alive(void **state)
{
    UNUSED(state);
    for (int i = 0; i < 3; i++) {
        serve_head(GET);
        assert_int_equal(req->method, METHOD_GET);
        assert_int_equal(s->rx, STREAM_END);
        assert_ptr_equal(m.conn.task, &exchange);
        assert_int_equal(mux_serve(mux), MUX_BUSY);
        answer(200, "ok");
        assert_out(OK_2);
        owner_woken = 0;
        release();
        net_turns(1);
        assert_int_equal(owner_woken, 1);
        assert_ptr_equal(m.conn.task, &owner);
        assert_int_equal(mux_serve(mux), MUX_IDLE);
    }
    assert_int_equal(streams, 3);
}

static void test_early_bytes(void **state)
{
    UNUSED(state);
    mux_close(&mux, false);
    begin(GET);
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    assert_int_equal(read_head(), IO_OK);
    answer(200, "ok");
    assert_out(OK_2);
}

static void test_byte_by_byte(void **state)
{
    const char text[] = GET;

    UNUSED(state);
    mem_conn_feed(&m, text, 1);
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    for (size_t i = 1; i < sizeof(text) - 1; i++) {
        assert_int_equal(read_head(), IO_AGAIN);
        assert_true(s->begun);
        exchange_woken = 0;
        mem_conn_feed(&m, text + i, 1);
        net_turns(1);
        assert_int_equal(exchange_woken, 1);
    }
    assert_int_equal(read_head(), IO_OK);
    answer(200, "ok");
}

/* C50: answered in order, and each waits for the one before. */
static void test_fifty_pipelined(void **state)
{
    char text[128], want[128];

    UNUSED(state);
    for (int i = 0; i < 50; i++) {
        snprintf(text, sizeof(text), "GET http://a.test/%d HTTP/1.1\r\nHost: a.test\r\n\r\n", i);
        mem_conn_text(&m, text);
    }
    for (int i = 0; i < 50; i++) {
        assert_int_equal(mux_serve(mux), MUX_BUSY);
        assert_int_equal(mux_serve(mux), MUX_BUSY);
        assert_int_equal(streams, i + 1);
        assert_int_equal(read_head(), IO_OK);
        snprintf(want, sizeof(want), "/%d", i);
        assert_true(slice_eq(req->path, slice_str(want)));
        answer(200, "ok");
        release();
    }
    assert_int_equal(mux_serve(mux), MUX_IDLE);
    assert_int_equal(m.out_n, 50 * strlen(OK_2));
}

static void test_pipelined_behind_a_body(void **state)
{
    char body[64];

    UNUSED(state);
    serve_head("POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"
               "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
               "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" GET);
    assert_int_equal(drain_content(body, sizeof(body)), 5);
    assert_memory_equal(body, "hello", 5);
    answer(200, "ok");
    release();
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    assert_int_equal(read_head(), IO_OK);
    assert_int_equal(drain_content(body, sizeof(body)), 5);
    assert_memory_equal(body, "abcde", 5);
    assert_int_equal(s->rx, STREAM_END);
    answer(200, "ok");
    release();
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    assert_int_equal(read_head(), IO_OK);
    assert_int_equal(req->method, METHOD_GET);
    answer(200, "ok");
}

static void test_client_leaves(void **state)
{
    UNUSED(state);
    serve_head(GET);
    answer(200, "ok");
    release();
    mem_conn_fin(&m);
    assert_int_equal(mux_serve(mux), MUX_CLOSED);
    assert_int_equal(mux_serve(mux), MUX_CLOSED);
}

/* printf … | nc -N: a FIN behind a complete request is no abort. */
static void test_fin_behind_a_request(void **state)
{
    UNUSED(state);
    mem_conn_text(&m, GET);
    mem_conn_fin(&m);
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    assert_int_equal(read_head(), IO_OK);
    answer(200, "ok");
    assert_out(OK_2);
    release();
    assert_int_equal(mux_serve(mux), MUX_CLOSED);
}

static void test_fin_inside_a_head(void **state)
{
    UNUSED(state);
    mem_conn_text(&m, "GET http://a.te");
    mem_conn_fin(&m);
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    assert_int_equal(read_head(), IO_ERR);
    assert_int_equal(s->fault.reason, END_CLIENT_GONE);
}

static void test_fin_inside_a_body(void **state)
{
    char body[64];
    size_t n;

    UNUSED(state);
    serve_head("POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhel");
    mem_conn_fin(&m);
    assert_int_equal(stream_recv(s, body, sizeof(body), &n), IO_OK);
    assert_int_equal(stream_recv(s, body, sizeof(body), &n), IO_ERR);
    assert_int_equal(s->fault.reason, END_CLIENT_GONE);
}

static void test_rst_inside_a_body(void **state)
{
    char body[64];
    size_t n;

    UNUSED(state);
    serve_head("POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhel");
    mem_conn_rst(&m, true);
    assert_int_equal(stream_recv(s, body, sizeof(body), &n), IO_OK);
    assert_int_equal(stream_recv(s, body, sizeof(body), &n), IO_ERR);
    assert_int_equal(s->fault.reason, END_CLIENT_RESET);
    assert_true(stream_broken(s));
}

/* ---- empty lines (C3) ---- */

static void test_empty_lines(void **state)
{
    UNUSED(state);
    for (int i = 0; i < 6; i++) {
        mem_conn_text(&m, "\r\n");
        assert_int_equal(mux_serve(mux), MUX_IDLE);
        assert_int_equal(streams, 0);
    }
    serve_head(GET);
    answer(200, "ok");
    assert_out(OK_2);
    release();
    serve_head("\r\n" GET);
    answer(200, "ok");
    assert_out(OK_2);
}

/* They are bounded, however they arrive. */
static void test_endless_empty_lines(void **state)
{
    enum io io = IO_AGAIN;
    int fed = 0;

    UNUSED(state);
    while (io == IO_AGAIN) {
        assert_true(fed++ < 100);
        mem_conn_text(&m, "\r\n");
        if (s || mux_serve(mux) == MUX_BUSY)
            io = read_head();
    }
    assert_int_equal(io, IO_ERR);
    assert_int_equal(s->fault.reason, END_BAD_REQUEST);
    assert_int_equal(streams, 1);
}

/* C2: a bare CR is no empty line. */
static void test_bare_cr_before_a_request(void **state)
{
    UNUSED(state);
    mem_conn_text(&m, "\r" GET);
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    assert_int_equal(read_head(), IO_ERR);
    assert_int_equal(s->fault.reason, END_BAD_REQUEST);
}

/* ---- what closes ---- */

static void expect_last(const char *out)
{
    if (out)
        assert_out(out);
    release();
    assert_int_equal(mux_serve(mux), MUX_LINGER);
    assert_int_equal(mux_serve(mux), MUX_LINGER);
}

static void test_client_asks_to_close(void **state)
{
    UNUSED(state);
    serve_head("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n" GET);
    answer(200, "ok");
    expect_last(OK_2_CLOSE);
    assert_int_equal(streams, 1); /* C52 */
}

/* C51, C7: whatever it asks for. */
static void test_http_1_0_closes(void **state)
{
    UNUSED(state);
    serve_head("GET http://a.test/ HTTP/1.0\r\nConnection: keep-alive\r\n"
               "Proxy-Connection: keep-alive\r\n\r\n");
    answer(200, "ok");
    expect_last(OK_2_CLOSE);
}

/* C51: no chunks to them; the end is the connection's. */
static void test_http_1_0_streamed(void **state)
{
    struct head h = answer_head(200, 0);

    UNUSED(state);
    h.body = BODY_STREAMED;
    serve_head("GET http://a.test/ HTTP/1.0\r\n\r\n");
    assert_int_equal(stream_send_head(s, &h, false), IO_OK);
    assert_int_equal(stream_send(s, "abc", 3, false), IO_OK);
    assert_int_equal(stream_end(s, NULL), IO_OK);
    expect_last("HTTP/1.1 200 Said\r\nConnection: close\r\n\r\nabc");
}

static void test_drain(void **state)
{
    UNUSED(state);
    mux->drain = true;
    serve_head(GET);
    answer(200, "ok");
    expect_last(OK_2_CLOSE);
}

static void test_answer_that_closes(void **state)
{
    struct head h = answer_head(200, 0);

    UNUSED(state);
    h.close = true;
    serve_head(GET);
    assert_int_equal(stream_send_head(s, &h, true), IO_OK);
    expect_last(NULL);
}

static void test_malformed(void **state)
{
    UNUSED(state);
    mem_conn_text(&m, "GET http://a.test/ HTTP/1.1\r\nHost : a\r\n\r\n" GET);
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    assert_int_equal(read_head(), IO_ERR);
    assert_int_equal(s->fault.reason, END_BAD_REQUEST);
    answer(400, "no");
    expect_last("HTTP/1.1 400 Said\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    assert_int_equal(streams, 1);
}

static void test_faults_and_their_reasons(void **state)
{
    static char line[9000], big[80000];
    const struct {
        const char *text;
        enum end_reason reason;
    } rows[] = {
        {line, END_URI_TOO_LONG},
        {big, END_HEAD_TOO_LARGE},
        {"GET http://a.test/ HTTP/2.0\r\n\r\n", END_BAD_VERSION},
        {"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
         END_NOT_IMPLEMENTED},
        {"GET http://a.test/ HTTP/1.1\r\n\r\n", END_BAD_REQUEST},
    };

    UNUSED(state);
    snprintf(line, sizeof(line), "GET http://a.test/%08500d HTTP/1.1\r\n\r\n", 0);
    snprintf(big, sizeof(big), "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX: %070000d\r\n\r\n",
             0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum io io;

        mux_close(&mux, false);
        begin("");
        mem_conn_text(&m, rows[i].text);
        assert_int_equal(mux_serve(mux), MUX_BUSY);
        while ((io = read_head()) == IO_AGAIN)
            ;
        assert_int_equal(io, IO_ERR);
        assert_int_equal(s->fault.reason, rows[i].reason);
        assert_non_null(s->fault.detail);
        answer(400, "no");
        release();
        assert_int_equal(mux_serve(mux), MUX_LINGER);
    }
}

/* C21, DESIGN 2: a refused CONNECT is answered, then closed, and nothing behind it is a request. */
static void test_refused_connect(void **state)
{
    UNUSED(state);
    serve_head("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n" GET);
    answer(403, "no");
    expect_last("HTTP/1.1 403 Said\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    assert_int_equal(streams, 1);
}

/* ---- tunnels ---- */

/* C17: nothing but the head; what came behind the request belongs to the tunnel. */
static void test_tunnel(void **state)
{
    struct head h = answer_head(200, 0);
    char p[16];
    size_t n;

    UNUSED(state);
    serve_head("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\nearly");
    assert_int_equal(stream_send_head(s, &h, false), IO_OK);
    assert_int_equal(stream_tunnel(s), 0);
    assert_int_equal(stream_flush(s), IO_OK);
    assert_out("HTTP/1.1 200 Said\r\n\r\n");
    assert_int_equal(stream_recv(s, p, sizeof(p), &n), IO_OK);
    assert_int_equal(n, 5);
    assert_memory_equal(p, "early", 5);
    assert_int_equal(stream_send(s, "back", 4, false), IO_OK);
    assert_out("back");
    mem_conn_fin(&m);
    assert_int_equal(stream_recv(s, p, sizeof(p), &n), IO_EOF);
    assert_int_equal(s->rx, STREAM_END);
    assert_int_equal(stream_end(s, NULL), IO_OK);
    /* Both have ended: closing it is the FIN. */
    assert_false(m.fin_sent);
    release();
    assert_int_equal(mux_serve(mux), MUX_CLOSED);
    mux_close(&mux, false);
    assert_true(m.closed && !m.was_reset);
}

/* The client's own end, while the other direction lives on, is a FIN at once. */
static void test_tunnel_half_closed(void **state)
{
    struct head h = answer_head(200, 0);
    char p[16];
    size_t n;

    UNUSED(state);
    serve_head("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
    assert_int_equal(stream_send_head(s, &h, false), IO_OK);
    assert_int_equal(stream_tunnel(s), 0);
    assert_int_equal(stream_end(s, NULL), IO_OK);
    assert_true(m.fin_sent);
    mem_conn_fin(&m);
    assert_int_equal(stream_recv(s, p, sizeof(p), &n), IO_EOF);
    release();
    assert_int_equal(mux_serve(mux), MUX_CLOSED);
}

/* S002-27: the client's version. */
static void test_tunnel_1_0(void **state)
{
    struct head h = answer_head(200, 0);

    UNUSED(state);
    serve_head("CONNECT a.test:443 HTTP/1.0\r\n\r\n");
    assert_int_equal(stream_send_head(s, &h, false), IO_OK);
    assert_int_equal(stream_tunnel(s), 0);
    assert_int_equal(stream_flush(s), IO_OK);
    assert_out("HTTP/1.0 200 Said\r\n\r\n");
}

/* ---- interim answers (C30, C31) ---- */

static void test_interim(void **state)
{
    struct head hints = answer_head(103, 0), go_on = answer_head(100, 0);

    UNUSED(state);
    serve_head("POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n"
               "Content-Length: 2\r\n\r\n");
    assert_int_equal(stream_send_head(s, &hints, false), IO_OK);
    assert_out("HTTP/1.1 103 Said\r\n\r\n");
    assert_int_equal(stream_send_head(s, &go_on, false), IO_OK);
    assert_out("HTTP/1.1 100 Said\r\n\r\n");
    assert_int_equal(s->tx, STREAM_HEAD);
    /* Asked once, told once. */
    assert_int_equal(stream_send_head(s, &go_on, false), IO_OK);
    assert_out("");
    mem_conn_text(&m, "hi");
    assert_int_equal(drain_content((char[8]){0}, 8), 2);
    answer(200, "ok");
    assert_out(OK_2);
    release();
    /* None to those who did not ask, and none to HTTP/1.0. */
    serve_head(GET);
    assert_int_equal(stream_send_head(s, &go_on, false), IO_OK);
    assert_out("");
    answer(200, "ok");
    assert_out(OK_2);
    release();
    serve_head("GET http://a.test/ HTTP/1.0\r\n\r\n");
    assert_int_equal(stream_send_head(s, &hints, false), IO_OK);
    assert_out("");
}

/* C53: the client waits for a 100 that never comes: nobody knows whether the content follows. */
static void test_early_answer_to_expect(void **state)
{
    UNUSED(state);
    serve_head("POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n"
               "Content-Length: 5\r\n\r\n");
    answer(401, "no");
    expect_last("HTTP/1.1 401 Said\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
}

/* ---- content of answers ---- */

static void test_no_content(void **state)
{
    static const int rows[] = {204, 304};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct head h = answer_head(rows[i], 0);

        serve_head(GET);
        assert_int_equal(stream_send_head(s, &h, true), IO_OK);
        assert_int_equal(s->tx, STREAM_END);
        assert_null(strstr(m.out, "Transfer-Encoding"));
        release();
        assert_int_equal(mux_serve(mux), MUX_IDLE);
    }
    /* C45 */
    serve_head("HEAD http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
    struct head h = answer_head(200, 0);
    assert_int_equal(stream_send_head(s, &h, true), IO_OK);
    release();
    serve_head(GET);
}

static void test_chunks(void **state)
{
    struct head h = answer_head(200, 0);
    struct hdrs trailers;

    UNUSED(state);
    h.body = BODY_STREAMED;
    serve_head(GET);
    assert_int_equal(stream_send_head(s, &h, false), IO_OK);
    assert_int_equal(stream_send(s, "abc", 3, false), IO_OK);
    assert_int_equal(stream_send(s, "0123456789abcdef", 16, true), IO_OK);
    assert_int_equal(s->tx, STREAM_END);
    assert_out("HTTP/1.1 200 Said\r\nTransfer-Encoding: chunked\r\n\r\n"
               "3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n");
    release();
    /* C47 */
    serve_head(GET);
    hdrs_init(&trailers);
    assert_int_equal(hdrs_add(&trailers, &arena, HDR_OTHER, SLICE("X-Sum"), SLICE("7")), 0);
    assert_int_equal(stream_send_head(s, &h, false), IO_OK);
    assert_int_equal(stream_send(s, "abc", 3, false), IO_OK);
    assert_int_equal(stream_end(s, &trailers), IO_OK);
    assert_out("HTTP/1.1 200 Said\r\nTransfer-Encoding: chunked\r\n\r\n"
               "3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n");
    release();
    assert_int_equal(mux_serve(mux), MUX_IDLE);
}

/* C44, C48: a length is kept or the connection ends as a cut. */
/* A chunk whose content goes by another way: its line before it, its line end with whatever comes next. */
static void test_announced_chunks(void **state)
{
    struct head h = answer_head(200, 0);
    uint64_t max;

    UNUSED(state);
    h.body = BODY_STREAMED;
    serve_head(GET);
    assert_int_equal(stream_send_head(s, &h, false), IO_OK);
    assert_int_equal(stream_announce(s, 5), IO_OK);
    assert_int_equal(stream_send(s, "an", 2, false), IO_OK);
    assert_int_equal(stream_send(s, "nou", 3, false), IO_OK);
    assert_int_equal(stream_announce(s, 16), IO_OK);
    assert_int_equal(stream_send(s, "0123456789abcdef", 16, false), IO_OK);
    assert_int_equal(stream_flush(s), IO_OK); /* nothing more comes for now */
    assert_int_equal(stream_flush(s), IO_OK);
    assert_int_equal(stream_announce(s, 1), IO_OK);
    assert_int_equal(stream_send(s, "1", 1, false), IO_OK);
    assert_int_equal(stream_send(s, "xyz", 3, false), IO_OK);
    assert_int_equal(stream_announce(s, 1), IO_OK);
    assert_int_equal(stream_fd(s, STREAM_RX, &max), -1);
    assert_int_equal(stream_send(s, "2", 1, false), IO_OK);
    assert_int_equal(stream_end(s, NULL), IO_OK);
    assert_out("HTTP/1.1 200 Said\r\nTransfer-Encoding: chunked\r\n\r\n"
               "5\r\nannou\r\n10\r\n0123456789abcdef\r\n1\r\n1\r\n3\r\nxyz\r\n1\r\n2\r\n0\r\n\r\n");
    release();
    /* Less than was announced is no message. */
    serve_head(GET);
    assert_int_equal(stream_send_head(s, &h, false), IO_OK);
    assert_int_equal(stream_announce(s, 5), IO_OK);
    assert_int_equal(stream_send(s, "ab", 2, false), IO_OK);
    assert_int_equal(stream_end(s, NULL), IO_ERR);
    assert_int_equal(s->fault.reason, END_INTERNAL);
    stream_reset(s);
    stream_release(&s);
}

static void test_wrong_lengths(void **state)
{
    struct head h = answer_head(200, 5);

    UNUSED(state);
    serve_head(GET);
    assert_int_equal(stream_send_head(s, &h, false), IO_OK);
    assert_int_equal(stream_send(s, "abcdef", 6, false), IO_ERR);
    assert_int_equal(s->fault.reason, END_INTERNAL);
    assert_int_equal(stream_send(s, "abc", 3, true), IO_ERR);
    assert_int_equal(stream_send(s, "abc", 3, false), IO_OK);
    assert_int_equal(stream_end(s, NULL), IO_ERR);
    stream_reset(s);
    assert_true(m.closed && m.was_reset);
    release();
    assert_int_equal(mux_serve(mux), MUX_CLOSED);
}

static void test_released_unfinished(void **state)
{
    struct head h = answer_head(200, 5);

    UNUSED(state);
    serve_head(GET);
    assert_int_equal(stream_send_head(s, &h, false), IO_OK);
    assert_int_equal(stream_send(s, "abc", 3, false), IO_OK);
    release();
    assert_int_equal(mux_serve(mux), MUX_CLOSED);
    mux_close(&mux, true);
    assert_true(m.was_reset);
}

static void test_slow_client(void **state)
{
    struct head h = answer_head(200, 1000);
    char body[1000] = {0};

    UNUSED(state);
    mem_conn_room(&m, 20);
    serve_head(GET);
    assert_int_equal(stream_send_head(s, &h, false), IO_OK);
    assert_int_equal(stream_send(s, body, 500, false), IO_OK);
    assert_int_equal(stream_room(s), 0);
    assert_int_equal(stream_flush(s), IO_AGAIN);
    exchange_woken = 0;
    mem_conn_room(&m, SIZE_MAX);
    net_turns(1);
    assert_int_equal(exchange_woken, 1);
    assert_int_equal(stream_flush(s), IO_OK);
    assert_int_not_equal(stream_room(s), 0);
    assert_int_equal(stream_send(s, body, 500, true), IO_OK);
    assert_int_equal(stream_flush(s), IO_OK);
    release();
    assert_int_equal(mux_serve(mux), MUX_IDLE);
}

/* ---- answered early: the rest of the request (DESIGN 6) ---- */

#define POST_SIZED(n)                                                                              \
    "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: " n "\r\n\r\n"
#define POST_CHUNKED                                                                               \
    "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"

static void test_discard(void **state)
{
    UNUSED(state);
    serve_head(POST_SIZED("10") "abc");
    answer(413, "no");
    assert_out("HTTP/1.1 413 Said\r\nContent-Length: 2\r\n\r\nno");
    release();
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    owner_woken = 0;
    mem_conn_text(&m, "defg");
    net_turns(1);
    assert_int_equal(owner_woken, 1);
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    mem_conn_text(&m, "hij");
    assert_int_equal(mux_serve(mux), MUX_IDLE);
    serve_head(GET);
    answer(200, "ok");
    assert_out(OK_2);
    /* The timer is gone with it. */
    assert_int_equal(wheel_next(&net_loop.wheel), UINT64_MAX);
}

static void test_discard_then_pipelined(void **state)
{
    UNUSED(state);
    serve_head(POST_SIZED("4"));
    answer(413, "no");
    release();
    mem_conn_text(&m, "abcd" GET);
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    assert_non_null(s);
    assert_int_equal(read_head(), IO_OK);
    assert_int_equal(req->method, METHOD_GET);
}

static void test_discard_chunked(void **state)
{
    UNUSED(state);
    serve_head(POST_CHUNKED "3\r\nabc\r\n");
    answer(413, "no");
    release();
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    mem_conn_text(&m, "3\r\nabc\r\n0\r\n\r\n");
    assert_int_equal(mux_serve(mux), MUX_IDLE);
}

/* FAILURES 15: what the client sends behind the answer reaches no assertion; trailers among it. */
static void test_discard_trailers(void **state)
{
    enum mux_state r;

    UNUSED(state);
    serve_head(POST_CHUNKED "3\r\nabc\r\n");
    answer(413, "no");
    release();
    mem_conn_text(&m, "0\r\nX-Sum: 7\r\n\r\n");
    r = mux_serve(mux);
    assert_true(r == MUX_IDLE || r == MUX_LINGER);
}

/* The trailers had begun to be read when the exchange, and its arena, ended. */
static void test_discard_half_trailers(void **state)
{
    char body[64];
    size_t n;
    enum mux_state r;

    UNUSED(state);
    serve_head(POST_CHUNKED "3\r\nabc\r\n0\r\nX-Sum: ");
    assert_int_equal(stream_recv(s, body, sizeof(body), &n), IO_OK);
    assert_int_equal(stream_recv(s, body, sizeof(body), &n), IO_AGAIN);
    answer(413, "no");
    release();
    objcache_done(&net_loop.pages);
    mem_conn_text(&m, "7\r\nX-More: 8\r\n\r\n");
    r = mux_serve(mux);
    assert_true(r == MUX_IDLE || r == MUX_LINGER);
}

static void test_discard_malformed(void **state)
{
    UNUSED(state);
    serve_head(POST_CHUNKED "3\r\nabc\r\n");
    answer(413, "no");
    release();
    mem_conn_text(&m, "0x3\r\nabc\r\n" GET);
    assert_int_equal(mux_serve(mux), MUX_LINGER);
    assert_int_equal(streams, 1);
}

static void test_discard_up_to_a_bound(void **state)
{
    static char much[MUX_DISCARD_BYTES + 4096];
    char text[256];

    UNUSED(state);
    /* As much as is thrown away: the connection stays. */
    snprintf(text, sizeof(text), POST_SIZED("%d"), MUX_DISCARD_BYTES);
    serve_head(text);
    answer(413, "no");
    assert_null(strstr(m.out, "close"));
    release();
    mem_conn_feed(&m, much, MUX_DISCARD_BYTES);
    for (int i = 0; i < 100 && mux_serve(mux) == MUX_BUSY; i++)
        net_turns(1);
    assert_int_equal(mux_serve(mux), MUX_IDLE);
    /* A byte more: the answer says so. */
    m.out_n = 0;
    snprintf(text, sizeof(text), POST_SIZED("%d"), MUX_DISCARD_BYTES + 1);
    serve_head(text);
    answer(413, "no");
    expect_last("HTTP/1.1 413 Said\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
}

/* How much will come was not known: reading stops at the bound. */
static void test_discard_of_unknown_length(void **state)
{
    static char much[MUX_DISCARD_BYTES + 65536];
    char chunk[64];
    enum mux_state r = MUX_BUSY;

    UNUSED(state);
    serve_head(POST_CHUNKED);
    answer(413, "no");
    release();
    snprintf(chunk, sizeof(chunk), "%zx\r\n", sizeof(much) + 100);
    mem_conn_text(&m, chunk);
    mem_conn_feed(&m, much, sizeof(much));
    for (int i = 0; i < 100 && r == MUX_BUSY; i++) {
        owner_woken = 0;
        r = mux_serve(mux);
        net_turns(1);
        /* It yields between rounds, and comes back by itself. */
        assert_true(r != MUX_BUSY || owner_woken == 1);
    }
    assert_int_equal(r, MUX_LINGER);
    assert_true(m.in_at <= MUX_DISCARD_BYTES + 2 * 16384);
}

static void test_discard_for_a_second(void **state)
{
    UNUSED(state);
    serve_head(POST_SIZED("10") "abc");
    answer(413, "no");
    release();
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    net_later_ms(MUX_DISCARD_MS - 100);
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    owner_woken = 0;
    net_later_ms(200);
    assert_true(owner_woken > 0);
    assert_int_equal(mux_serve(mux), MUX_LINGER);
}

/* A trickle does not make the second longer. */
static void test_discard_of_a_trickle(void **state)
{
    enum mux_state r = MUX_BUSY;
    int i;

    UNUSED(state);
    serve_head(POST_SIZED("1000"));
    answer(413, "no");
    release();
    for (i = 0; i < 30 && r == MUX_BUSY; i++) {
        mem_conn_text(&m, "x");
        r = mux_serve(mux);
        net_later_ms(100);
    }
    assert_int_equal(r, MUX_LINGER);
    assert_in_range(i, 10, 14);
}

static void test_discard_meets_the_end(void **state)
{
    UNUSED(state);
    serve_head(POST_SIZED("10") "abc");
    answer(413, "no");
    release();
    mem_conn_fin(&m);
    assert_int_equal(mux_serve(mux), MUX_LINGER);
}

static void test_closed_while_discarding(void **state)
{
    UNUSED(state);
    serve_head(POST_SIZED("10") "abc");
    answer(413, "no");
    release();
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    mux_close(&mux, true);
    net_later_ms(2 * MUX_DISCARD_MS);
    assert_int_equal(wheel_next(&net_loop.wheel), UINT64_MAX);
}

/* ---- ends ---- */

static void refuse_stream(struct mux *mx, struct stream *stream)
{
    UNUSED(mx);
    streams++;
    stream_reset(stream);
    stream_release(&stream);
}

static void test_owner_refuses(void **state)
{
    UNUSED(state);
    mux->on_stream = refuse_stream;
    mem_conn_text(&m, GET);
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    assert_true(m.closed && m.was_reset);
    assert_int_equal(mux_serve(mux), MUX_CLOSED);
    assert_int_equal(streams, 1);
}

static void test_every_allocation_fails(void **state)
{
    char body[64];

    UNUSED(state);
    mux_close(&mux, false);
    net_turns(1);
    for (memfail_start(); memfail_next();) {
        struct head h;
        enum io io = IO_ERR;

        objcache_done(&net_loop.blocks);
        objcache_done(&net_loop.pages);
        mux = mux_server_new(mem_conn_init(&m, &net_loop), &limits, slice_str(POST_SIZED("3")));
        if (!mux) {
            assert_true(memfail_hit());
            /* The conn is still ours. */
            assert_false(m.closed);
            net_turns(1);
            continue;
        }
        mux->task = &owner;
        mux->on_stream = on_stream;
        mem_conn_text(&m, "abc" GET);
        assert_int_equal(mux_serve(mux), MUX_BUSY);
        io = read_head();
        if (io == IO_OK && drain_content(body, sizeof(body)) == 3) {
            h = answer_head(200, 2);
            io = stream_send_head(s, &h, false);
            if (io == IO_OK)
                io = stream_send(s, "ok", 2, true);
        } else {
            io = IO_ERR;
        }
        assert_true(io == (memfail_hit() ? IO_ERR : IO_OK));
        if (io == IO_ERR)
            assert_int_equal(s->fault.reason, END_NO_MEMORY);
        else
            assert_out(OK_2);
        stream_reset(s);
        release();
        mux_close(&mux, true);
        net_turns(1);
        assert_int_equal(net_loop.blocks.n_used, 0);
    }
    begin("");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_idle),
        TEST(test_keep_alive),
        TEST(test_early_bytes),
        TEST(test_byte_by_byte),
        TEST(test_fifty_pipelined),
        TEST(test_pipelined_behind_a_body),
        TEST(test_client_leaves),
        TEST(test_fin_behind_a_request),
        TEST(test_fin_inside_a_head),
        TEST(test_fin_inside_a_body),
        TEST(test_rst_inside_a_body),
        TEST(test_empty_lines),
        TEST(test_endless_empty_lines),
        TEST(test_bare_cr_before_a_request),
        TEST(test_client_asks_to_close),
        TEST(test_http_1_0_closes),
        TEST(test_http_1_0_streamed),
        TEST(test_drain),
        TEST(test_answer_that_closes),
        TEST(test_malformed),
        TEST(test_faults_and_their_reasons),
        TEST(test_refused_connect),
        TEST(test_tunnel),
        TEST(test_tunnel_half_closed),
        TEST(test_tunnel_1_0),
        TEST(test_interim),
        TEST(test_early_answer_to_expect),
        TEST(test_no_content),
        TEST(test_chunks),
        TEST(test_announced_chunks),
        TEST(test_wrong_lengths),
        TEST(test_released_unfinished),
        TEST(test_slow_client),
        TEST(test_discard),
        TEST(test_discard_then_pipelined),
        TEST(test_discard_chunked),
        TEST(test_discard_malformed),
        TEST(test_discard_up_to_a_bound),
        TEST(test_discard_of_unknown_length),
        TEST(test_discard_for_a_second),
        TEST(test_discard_of_a_trickle),
        TEST(test_discard_meets_the_end),
        TEST(test_closed_while_discarding),
        TEST(test_owner_refuses),
        TEST(test_every_allocation_fails),
        TEST(test_discard_trailers),
        TEST(test_discard_half_trailers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
