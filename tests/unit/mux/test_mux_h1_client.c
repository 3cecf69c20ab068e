/* SPDX-License-Identifier: MIT */
/* HTTP/1 towards an origin: what is written, and when a connection may serve another request
 * (C49, FAILURES 25).
 */
#include "mux/mux.h"

#include "base/check.h"
#include "base/err.h"
#include "support/memfail.h"

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
static unsigned exchange_woken, owner_woken;
static struct stream *s;
static struct arena arena;
static struct head *resp;
static char body[300000];

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

static void begin(void)
{
    mux = mux_client_new(mem_conn_init(&m, &net_loop), &limits);
    assert_non_null(mux);
    mux->task = &owner;
}

static int setup(void **state)
{
    UNUSED(state);
    net_begin();
    task_init(&owner, &net_loop, "owner", owner_run);
    task_init(&exchange, &net_loop, "exchange", exchange_run);
    exchange_woken = owner_woken = 0;
    s = NULL;
    resp = NULL;
    arena_init(&arena, &net_loop.pages, 1 << 20);
    begin();
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    stream_release(&s);
    mux_close(&mux, false);
    assert_true(m.closed);
    arena_done(&arena);
    net_turns(1);
    net_end();
    return 0;
}

static struct head request_head(const char *method, size_t length)
{
    struct head h = {.version = 11, .method = method_id(slice_str(method)),
                     .method_name = slice_str(method), .form = FORM_ABSOLUTE,
                     .scheme = SCHEME_HTTP, .path = SLICE("/x?y"),
                     .body = length ? BODY_SIZED : BODY_NONE, .length = length};

    hdrs_init(&h.fields);
    assert_int_equal(hdrs_add_known(&h.fields, &arena, HDR_HOST, SLICE("a.test")), 0);
    return h;
}

static void send_request(const char *method)
{
    struct head h = request_head(method, 0);

    s = mux_open(mux, &exchange);
    assert_non_null(s);
    assert_ptr_equal(m.conn.task, &exchange);
    assert_int_equal(stream_send_head(s, &h, true), IO_OK);
    assert_int_equal(s->tx, STREAM_END);
}

static enum io read_head(void)
{
    resp = NULL;
    return stream_recv_head(s, &arena, &resp);
}

static size_t read_body(size_t cap)
{
    size_t n, total = 0;

    while (stream_recv(s, body + total, min_size(cap, sizeof(body) - total), &n) == IO_OK)
        total += n;
    return total;
}

static void release(void)
{
    stream_release(&s);
    arena_done(&arena);
}

/* One GET and its answer, read whole. */
static void serve(const char *answer)
{
    send_request("GET");
    mem_conn_text(&m, answer);
    assert_int_equal(read_head(), IO_OK);
    read_body(4096);
    assert_int_equal(s->rx, STREAM_END);
    release();
}

#define OK_2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* ---- requests ---- */

/* C10, C7: origin-form, in our own version. */
static void test_request(void **state)
{
    UNUSED(state);
    send_request("GET");
    assert_string_equal(m.out, "GET /x?y HTTP/1.1\r\nHost: a.test\r\n\r\n");
}

static void test_request_with_content(void **state)
{
    struct head h = request_head("POST", 5);

    UNUSED(state);
    s = mux_open(mux, &exchange);
    assert_int_equal(stream_send_head(s, &h, false), IO_OK);
    assert_int_equal(stream_send(s, "he", 2, false), IO_OK);
    assert_int_equal(stream_send(s, "llo", 3, true), IO_OK);
    assert_int_equal(s->tx, STREAM_END);
    assert_string_equal(
        m.out, "POST /x?y HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello");
}

static void test_request_with_chunks(void **state)
{
    struct head h = request_head("POST", 0);

    UNUSED(state);
    h.body = BODY_STREAMED;
    s = mux_open(mux, &exchange);
    assert_int_equal(stream_send_head(s, &h, false), IO_OK);
    assert_int_equal(stream_send(s, "he", 2, false), IO_OK);
    assert_int_equal(stream_end(s, NULL), IO_OK);
    assert_string_equal(m.out, "POST /x?y HTTP/1.1\r\nHost: a.test\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n\r\n");
}

/* C11 */
static void test_asterisk(void **state)
{
    struct head h = request_head("OPTIONS", 0);

    UNUSED(state);
    h.path = SLICE("*");
    s = mux_open(mux, &exchange);
    assert_int_equal(stream_send_head(s, &h, true), IO_OK);
    assert_string_equal(m.out, "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n");
}

/* ---- reuse ---- */

static void test_reused(void **state)
{
    UNUSED(state);
    assert_true(mux_reusable(mux));
    for (int i = 0; i < 3; i++) {
        serve(OK_2);
        assert_memory_equal(body, "ok", 2);
        assert_ptr_equal(m.conn.task, &owner);
        assert_true(mux_reusable(mux));
    }
}

static void test_one_at_a_time(void **state)
{
    UNUSED(state);
    send_request("GET");
    assert_null(mux_open(mux, &exchange));
    assert_false(mux_reusable(mux));
}

static void test_answers_and_reuse(void **state)
{
    static const struct {
        const char *method, *answer;
        bool reusable;
    } rows[] = {
        {"GET", OK_2, true},
        {"GET", "HTTP/1.1 204 No\r\n\r\n", true},
        {"GET", "HTTP/1.1 304 No\r\nContent-Length: 7\r\n\r\n", true},
        {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", true},
        {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true},
        {"GET",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: b\r\n\r\n",
         true},
        {"GET", "HTTP/1.1 103 Hints\r\n\r\n" OK_2, true},
        {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true},
        /* what the origin says */
        {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", false},
        {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, Close\r\n\r\nok", false},
        {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false},
        {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", false},
        {"HEAD", "HTTP/1.0 200 OK\r\n\r\n", false},
        /* Transfer-Encoding wins, and the connection ends (C39) */
        {"GET",
         "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n"
         "2\r\nok\r\n0\r\n\r\n",
         false},
        /* more than the answer: poison (C49) */
        {"GET", OK_2 "x", false},
        {"GET", OK_2 OK_2, false},
        {"GET", OK_2 "\r\n", false},
        {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false},
        {"GET", "HTTP/1.1 204 No\r\n\r\nx", false},
        {"GET", "HTTP/1.1 304 No\r\nContent-Length: 2\r\n\r\nok", false},
        {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx",
         false},
        /* An interim answer that nobody waits for. */
        {"GET", OK_2 "HTTP/1.1 100 Continue\r\n\r\n", false},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        mux_close(&mux, false);
        begin();
        send_request(rows[i].method);
        mem_conn_text(&m, rows[i].answer);
        assert_int_equal(read_head(), IO_OK);
        while (resp->status < 200)
            assert_int_equal(read_head(), IO_OK);
        read_body(4096);
        assert_int_equal(s->rx, STREAM_END);
        release();
        if (mux_reusable(mux) != rows[i].reusable)
            fail_msg("row %zu: %s", i, rows[i].answer);
    }
}

/* The end of the connection is the end of the answer. */
static void test_close_delimited(void **state)
{
    UNUSED(state);
    send_request("GET");
    mem_conn_text(&m, "HTTP/1.1 200 OK\r\n\r\nsome");
    assert_int_equal(read_head(), IO_OK);
    assert_int_equal(read_body(4096), 4);
    assert_int_equal(s->rx, STREAM_BODY);
    mem_conn_text(&m, "more");
    mem_conn_fin(&m);
    assert_int_equal(read_body(4096), 4);
    assert_int_equal(s->rx, STREAM_END);
    release();
    assert_false(mux_reusable(mux));
    assert_null(mux_open(mux, &exchange));
}

/* A read that was filled to the last byte leaves open whether there is more. */
static void test_filled_read(void **state)
{
    size_t n;

    UNUSED(state);
    for (int more = 0; more < 2; more++) {
        mux_close(&mux, false);
        begin();
        send_request("GET");
        mem_conn_text(&m, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
        assert_int_equal(read_head(), IO_OK);
        mem_conn_text(&m, more ? "12345678x" : "12345678");
        assert_int_equal(stream_recv(s, body, 8, &n), IO_OK);
        assert_int_equal(n, 8);
        assert_int_equal(s->rx, STREAM_END);
        assert_true(m.conn.ready & CONN_RX);
        release();
        assert_int_equal(mux_reusable(mux), !more);
    }
}

static void test_idle_ends(void **state)
{
    UNUSED(state);
    serve(OK_2);
    owner_woken = 0;
    mem_conn_fin(&m);
    net_turns(1);
    assert_int_equal(owner_woken, 1);
    assert_false(mux_reusable(mux));
    mux_close(&mux, false);
    begin();
    serve(OK_2);
    mem_conn_text(&m, "HTTP/1.1 408 Slow\r\n\r\n");
    assert_false(mux_reusable(mux));
    mux_close(&mux, false);
    begin();
    serve(OK_2);
    mem_conn_rst(&m, true);
    assert_false(mux_reusable(mux));
    assert_null(mux_open(mux, &exchange));
}

/* A new connection may have its answer and its end waiting already. */
static void test_answer_before_the_request(void **state)
{
    UNUSED(state);
    mem_conn_text(&m, OK_2);
    mem_conn_fin(&m);
    send_request("GET");
    assert_int_equal(read_head(), IO_OK);
    assert_int_equal(read_body(4096), 2);
    release();
    assert_false(mux_reusable(mux));
}

/* The answer was complete before the request: what is left of it would be read as the next. */
static void test_early_answer(void **state)
{
    struct head h = request_head("POST", 5);

    UNUSED(state);
    s = mux_open(mux, &exchange);
    assert_int_equal(stream_send_head(s, &h, false), IO_OK);
    assert_int_equal(stream_send(s, "he", 2, false), IO_OK);
    mem_conn_text(&m, OK_2);
    assert_int_equal(read_head(), IO_OK);
    read_body(4096);
    release();
    assert_false(mux_reusable(mux));
}

static void test_unread_answer(void **state)
{
    UNUSED(state);
    send_request("GET");
    mem_conn_text(&m, OK_2);
    release();
    assert_false(mux_reusable(mux));
    mux_close(&mux, false);
    begin();
    send_request("GET");
    mem_conn_text(&m, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
    assert_int_equal(read_head(), IO_OK);
    read_body(4096);
    release();
    assert_false(mux_reusable(mux));
}

static void test_unsent_request(void **state)
{
    struct head h = request_head("GET", 0);

    UNUSED(state);
    mem_conn_room(&m, 10);
    s = mux_open(mux, &exchange);
    assert_int_equal(stream_send_head(s, &h, true), IO_OK);
    mem_conn_text(&m, OK_2);
    assert_int_equal(read_head(), IO_OK);
    read_body(4096);
    release();
    assert_false(mux_reusable(mux));
}

static void test_keep_alive_hint(void **state)
{
    UNUSED(state);
    serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=5, max=100\r\n\r\n");
    assert_int_equal(mux->keep_alive_s, 5);
    serve(OK_2);
    assert_int_equal(mux->keep_alive_s, 0);
}

/* ---- faults ---- */

static void test_closed_early(void **state)
{
    static const char *const rows[] = {
        "HTTP/1.1 200 O",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\nX-A: b\r\n",
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n;
        enum io io;

        mux_close(&mux, false);
        begin();
        send_request("GET");
        mem_conn_text(&m, rows[i]);
        mem_conn_fin(&m);
        io = read_head();
        while (io == IO_OK) /* C48 */
            io = stream_recv(s, body, sizeof(body), &n);
        assert_int_equal(io, IO_ERR);
        assert_int_equal(s->fault.reason, END_UPSTREAM_CLOSED);
        release();
        assert_false(mux_reusable(mux));
    }
    /* Before anything came: an orderly end, which is what a stale kept connection shows. */
    mux_close(&mux, false);
    begin();
    send_request("GET");
    mem_conn_fin(&m);
    assert_int_equal(read_head(), IO_EOF);
    release();
    assert_false(mux_reusable(mux));
}

static void test_nonsense(void **state)
{
    static const char *const rows[] = {
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", /* C43 */
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nhe\r\n",
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n;
        enum io io;

        mux_close(&mux, false);
        begin();
        send_request("GET");
        mem_conn_text(&m, rows[i]);
        io = read_head();
        while (io == IO_OK)
            io = stream_recv(s, body, sizeof(body), &n);
        assert_int_equal(io, IO_ERR);
        assert_int_equal(s->fault.reason, END_UPSTREAM_NONSENSE);
        release();
        assert_false(mux_reusable(mux));
    }
}

static void test_rst(void **state)
{
    size_t n;

    UNUSED(state);
    send_request("GET");
    mem_conn_text(&m, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
    mem_conn_rst(&m, true);
    assert_int_equal(read_head(), IO_OK);
    assert_int_equal(stream_recv(s, body, sizeof(body), &n), IO_OK);
    assert_int_equal(stream_recv(s, body, sizeof(body), &n), IO_ERR);
    assert_int_equal(s->fault.reason, END_UPSTREAM_RESET);
    assert_true(stream_broken(s));
    stream_reset(s);
    release();
    mux_close(&mux, false);
    begin();
}

/* The request met the RST; the answer that came before it is still read. */
static void test_answer_before_the_rst(void **state)
{
    struct head h = request_head("POST", 5);

    UNUSED(state);
    s = mux_open(mux, &exchange);
    assert_int_equal(stream_send_head(s, &h, false), IO_OK);
    mem_conn_text(&m, "HTTP/1.1 413 Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    mem_conn_rst(&m, false);
    assert_int_equal(stream_send(s, "hello", 5, true), IO_ERR);
    assert_int_equal(read_head(), IO_OK);
    assert_int_equal(resp->status, 413);
    assert_int_equal(read_body(4096), 2);
    release();
    assert_false(mux_reusable(mux));
}

static void test_byte_by_byte(void **state)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 7\r\n\r\n";
    size_t got = 0, n;
    enum io io = IO_AGAIN;

    UNUSED(state);
    send_request("GET");
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        mem_conn_feed(&m, text + i, 1);
        if (!resp)
            io = read_head();
        if (io == IO_OK && resp) {
            enum io r = stream_recv(s, body + got, 16, &n);

            got += r == IO_OK ? n : 0;
        }
    }
    assert_int_equal(got, 6);
    assert_memory_equal(body, "hello!", 6);
    assert_int_equal(s->rx, STREAM_END);
    assert_non_null(s->trailers);
    assert_int_equal(s->trailers->n, 1);
    release();
    assert_true(mux_reusable(mux));
}

static void test_every_allocation_fails(void **state)
{
    UNUSED(state);
    mux_close(&mux, false);
    net_turns(1);
    for (memfail_start(); memfail_next();) {
        struct head h = {.version = 11, .method = METHOD_POST, .method_name = SLICE("POST"),
                         .path = SLICE("/"), .body = BODY_SIZED, .length = 2};
        enum io io;

        objcache_done(&net_loop.blocks);
        objcache_done(&net_loop.pages);
        mux = mux_client_new(mem_conn_init(&m, &net_loop), &limits);
        if (!mux) {
            assert_true(memfail_hit());
            assert_false(m.closed);
            net_turns(1);
            continue;
        }
        mux->task = &owner;
        s = mux_open(mux, &exchange);
        mem_conn_room(&m, 30);
        io = stream_send_head(s, &h, false);
        if (io == IO_OK)
            io = stream_send(s, "hi", 2, true);
        if (io == IO_OK) {
            mem_conn_text(&m, OK_2 "x");
            io = read_head();
        }
        if (io == IO_OK)
            io = stream_recv(s, body, 100, &(size_t){0});
        assert_int_equal(io, memfail_hit() ? IO_ERR : IO_OK);
        if (io == IO_ERR)
            assert_int_equal(s->fault.reason, END_NO_MEMORY);
        release();
        assert_false(mux_reusable(mux));
        mux_close(&mux, true);
        net_turns(1);
        assert_int_equal(net_loop.blocks.n_used, 0);
    }
    begin();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_request),
        TEST(test_request_with_content),
        TEST(test_request_with_chunks),
        TEST(test_asterisk),
        TEST(test_reused),
        TEST(test_one_at_a_time),
        TEST(test_answers_and_reuse),
        TEST(test_close_delimited),
        TEST(test_filled_read),
        TEST(test_idle_ends),
        TEST(test_answer_before_the_request),
        TEST(test_early_answer),
        TEST(test_unread_answer),
        TEST(test_unsent_request),
        TEST(test_keep_alive_hint),
        TEST(test_closed_early),
        TEST(test_nonsense),
        TEST(test_rst),
        TEST(test_answer_before_the_rst),
        TEST(test_byte_by_byte),
        TEST(test_every_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
