/* SPDX-License-Identifier: MIT */
/* HTTP/2 towards an origin or a parent, frame by frame: what it may do with what it was refused (C66,
 * C67, C69), answers that break the rules, every refused allocation.
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

static const struct h1_limits limits = {.line = 8192, .head = 20000, .fields = 100};

static struct mem_conn m;
static struct mux *mux;
static struct task owner, exchange;
static unsigned owner_woken, exchange_woken;
static struct stream *s[4];
static struct arena arena;
static struct h2_conf conf;
static struct frames out;

static void run(struct task *t, unsigned bits)
{
    UNUSED(bits);
    if (t == &owner)
        owner_woken++;
    else
        exchange_woken++;
}

static bool begin(void)
{
    out.n = 0;
    mux = mux_h2_client_new(mem_conn_init(&m, &net_loop), &conf);
    if (mux)
        mux->task = &owner;
    return mux != NULL;
}

static void end(void)
{
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        if (s[i] && !(s[i]->rx == STREAM_END && s[i]->tx == STREAM_END))
            stream_reset(s[i]);
        stream_release(&s[i]);
    }
    mux_close(&mux, false);
    task_cancel(&owner);
    task_cancel(&exchange);
    net_turns(2);
}

static int setup(void **state)
{
    UNUSED(state);
    net_begin();
    task_init(&owner, &net_loop, "owner", run);
    task_init(&exchange, &net_loop, "exchange", run);
    owner_woken = exchange_woken = 0;
    arena_init(&arena, &net_loop.pages, 1 << 20);
    conf = h2_conf_default;
    conf.heads = &limits;
    begin();
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    end();
    arena_done(&arena);
    net_end();
    return 0;
}

static void feed(void)
{
    mem_conn_feed(&m, out.p, out.n);
    out.n = 0;
    net_turns(5);
}

static void greet(const char *settings, size_t n)
{
    frames_put(&out, F_SETTINGS, 0, 0, settings, n);
    frames_put(&out, F_SETTINGS, F_ACK, 0, NULL, 0);
    feed();
}

static struct head request(const char *method)
{
    struct head h = {.version = 11, .method = method_id(slice_str(method)), .method_name = slice_str(method), .scheme = SCHEME_HTTP, .path = SLICE("/"),
                     .auth = {.raw = SLICE("a.test"), .host = SLICE("a.test"), .kind = HOST_NAME}};

    hdrs_init(&h.fields);
    return h;
}

static bool ask(unsigned i, const char *method)
{
    struct head h = request(method);

    s[i] = mux_open(mux, &exchange);
    return s[i] && stream_send_head(s[i], &h, true) == IO_OK;
}

static enum io head_io(unsigned i, struct head **ret_head)
{
    *ret_head = NULL;
    return stream_recv_head(s[i], &arena, ret_head);
}

/* C66: streams above GOAWAY's last id were not looked at, the others go on. */
static void test_goaway(void **state)
{
    struct head *h;

    UNUSED(state);
    greet(NULL, 0);
    for (unsigned i = 0; i < 3; i++)
        assert_true(ask(i, "POST"));
    net_turns(2);
    assert_true(mux_reusable(mux));
    frames_put(&out, F_GOAWAY, 0, 0, "\0\0\0\3\0\0\0\0", 8);
    feed();
    assert_false(mux_reusable(mux));
    assert_int_equal(mux_room(mux), 0);
    assert_null(mux_open(mux, &exchange));
    assert_int_equal(head_io(2, &h), IO_ERR);
    assert_true(s[2]->unprocessed);
    assert_int_equal(head_io(0, &h), IO_AGAIN);
    frames_headers(&out, 1, F_END_STREAM, ":status: 200\n");
    frames_headers(&out, 3, F_END_STREAM, ":status: 204\n");
    feed();
    assert_int_equal(head_io(0, &h), IO_OK);
    assert_int_equal(h->status, 200);
    assert_int_equal(head_io(1, &h), IO_OK);
    assert_int_equal(h->status, 204);
    assert_false(s[0]->unprocessed);
    owner_woken = 0;
    for (unsigned i = 0; i < 3; i++)
        stream_release(&s[i]);
    net_turns(3);
    assert_true(owner_woken > 0);
    assert_int_equal(mux_serve(mux), MUX_CLOSED);
}

static void test_refused_stream(void **state)
{
    struct head *h;

    UNUSED(state);
    greet(NULL, 0);
    assert_true(ask(0, "POST") && ask(1, "POST"));
    net_turns(2);
    frames_u32(&out, F_RST, 1, 7);
    frames_u32(&out, F_RST, 3, 8);
    feed();
    assert_int_equal(head_io(0, &h), IO_ERR);
    assert_true(s[0]->unprocessed);
    assert_int_equal(head_io(1, &h), IO_ERR);
    assert_false(s[1]->unprocessed);
    assert_int_equal(s[1]->fault.reason, END_UPSTREAM_RESET);
    assert_true(mux_reusable(mux));
}

/* What the peer takes at a time, and before it has said so. */
static void test_room(void **state)
{
    UNUSED(state);
    assert_int_equal(mux_room(mux), 100);
    greet("\0\3\0\0\0\2", 6);
    assert_int_equal(mux_room(mux), 2);
    assert_true(ask(0, "GET"));
    assert_int_equal(mux_room(mux), 1);
    assert_true(ask(1, "GET"));
    assert_int_equal(mux_room(mux), 0);
    assert_null(mux_open(mux, &exchange));
    stream_reset(s[0]);
    stream_release(&s[0]);
    net_turns(2);
    assert_int_equal(mux_room(mux), 1);
}

/* C67 */
static void test_push(void **state)
{
    UNUSED(state);
    greet(NULL, 0);
    assert_true(ask(0, "GET"));
    net_turns(2);
    frames_put(&out, F_PUSH, F_END_HEADERS, 1, "\0\0\0\2\x82\x86\x84", 7);
    feed();
    assert_int_equal(frames_code(m.out + H2_PREFACE_LEN, m.out_n - H2_PREFACE_LEN, 0), 1);
    assert_true(stream_broken(s[0]));
    assert_false(mux_reusable(mux));
}

/* C56 for answers: nothing of it is passed on. */
static void test_malformed_answers(void **state)
{
    static const char *const t[] = {
        "x-a: 1\n", ":status: 200\n:status: 200\n", ":status: 20\n", ":status: 2000\n", ":status: 101\n", ":status: 700\n", ":status: 200\n:path: /\n",
        ":status: 200\nX-Upper: 1\n", ":status: 200\nx-a: a\1\2b\n", ":status: 200\nconnection: close\n", ":status: 200\ntransfer-encoding: chunked\n",
        ":status: 200\ncontent-length: 5\n", ":status: 200\ncontent-length: x\n", ":status: 103\n", ":status: 200\nx-a:  lead\n",
    };
    struct head *h;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        end();
        assert_true(begin());
        greet(NULL, 0);
        assert_true(ask(0, "GET"));
        net_turns(2);
        frames_headers(&out, 1, F_END_STREAM, t[i]);
        feed();
        if (head_io(0, &h) != IO_ERR)
            fail_msg("passed: %s", t[i]);
        assert_int_equal(s[0]->fault.reason, END_UPSTREAM_NONSENSE);
        net_turns(2);
        /* That one is ours to refuse: by then the stream is over both ways. */
        if (frames_code(m.out + H2_PREFACE_LEN, m.out_n - H2_PREFACE_LEN, 1) != 1 && !strstr(t[i], "700"))
            fail_msg("no RST_STREAM: %s", t[i]);
        assert_true(mux_reusable(mux));
    }
}

/* More interim answers than anybody can want: that is no lack of memory. */
static void test_interim_without_end(void **state)
{
    struct head *h;

    UNUSED(state);
    greet(NULL, 0);
    assert_true(ask(0, "GET"));
    net_turns(2);
    for (int i = 0; i < 100; i++)
        frames_headers(&out, 1, 0, ":status: 103\n");
    feed();
    for (int i = 0; i < 32; i++)
        assert_int_equal(head_io(0, &h), IO_OK);
    assert_int_equal(head_io(0, &h), IO_ERR);
    assert_int_equal(s[0]->fault.reason, END_UPSTREAM_NONSENSE);
    assert_true(mux_reusable(mux));
}

/* What cannot be written is not waited for. */
static void test_not_writable(void **state)
{
    struct head h = request("GET"), *got;

    UNUSED(state);
    greet(NULL, 0);
    h.path = SLICE("/a\nb");
    s[0] = mux_open(mux, &exchange);
    assert_int_equal(stream_send_head(s[0], &h, true), IO_ERR);
    assert_int_equal(s[0]->fault.reason, END_INTERNAL);
    assert_int_equal(head_io(0, &got), IO_ERR);
    assert_int_equal(s[0]->fault.reason, END_INTERNAL);
    assert_true(stream_broken(s[0]) && !s[0]->unprocessed);
    assert_true(mux_reusable(mux));
}

/* C69: not where the peer has not said that it takes it; it may be asked otherwise then. */
static void test_no_websocket(void **state)
{
    struct head h = request("GET"), *got;

    UNUSED(state);
    h.protocol = SLICE("websocket");
    s[0] = mux_open(mux, &exchange);
    assert_int_equal(stream_send_head(s[0], &h, true), IO_OK);
    net_turns(2);
    assert_int_equal(frames_count(m.out + H2_PREFACE_LEN, m.out_n - H2_PREFACE_LEN, F_HEADERS), 0);
    assert_int_equal(head_io(0, &got), IO_AGAIN);
    greet(NULL, 0);
    assert_int_equal(head_io(0, &got), IO_ERR);
    assert_true(s[0]->unprocessed);
    assert_int_equal(frames_count(m.out + H2_PREFACE_LEN, m.out_n - H2_PREFACE_LEN, F_HEADERS), 0);
}

/* The connection ends: who waits is told, and the pool is woken. */
static void test_lost(void **state)
{
    struct head *h;

    UNUSED(state);
    greet(NULL, 0);
    assert_true(ask(0, "GET"));
    net_turns(2);
    owner_woken = 0;
    mem_conn_fin(&m);
    net_turns(3);
    assert_true(owner_woken > 0);
    assert_int_equal(head_io(0, &h), IO_ERR);
    assert_int_equal(s[0]->fault.reason, END_UPSTREAM_CLOSED);
    assert_false(mux_reusable(mux));
}

/* A whole exchange; each allocation refused in turn. */
static void talk(void)
{
    struct hdrs trailers;
    struct field f = {.name = SLICE("x-sum"), .value = SLICE("3"), .id = HDR_OTHER};
    struct head h = request("POST"), *got = NULL;
    char buf[100];
    size_t n;

    h.body = BODY_STREAMED;
    greet(NULL, 0);
    s[0] = mux_open(mux, &exchange);
    if (!s[0] || stream_send_head(s[0], &h, false) != IO_OK)
        return;
    net_turns(2);
    if (stream_room(s[0]) < 3 || stream_send(s[0], "abc", 3, false) != IO_OK)
        return;
    trailers = (struct hdrs){.v = &f, .n = 1, .cap = 1};
    if (stream_end(s[0], &trailers) != IO_OK || stream_flush(s[0]) == IO_ERR)
        return;
    net_turns(2);
    frames_headers(&out, 1, 0, ":status: 100\n");
    frames_headers(&out, 1, 0, ":status: 200\nx-a: b\n");
    frames_put(&out, F_DATA, 0, 1, "hello", 5);
    frames_headers(&out, 1, F_END_STREAM, "x-t: 1\n");
    feed();
    if (head_io(0, &got) != IO_OK || head_io(0, &got) != IO_OK)
        return;
    assert_int_equal(got->status, 200);
    if (stream_recv(s[0], buf, sizeof(buf), &n) != IO_OK)
        return;
    assert_int_equal(n, 5);
    if (stream_recv(s[0], buf, sizeof(buf), &n) == IO_EOF && !memfail_hit())
        assert_int_equal(s[0]->trailers->n, 1);
}

static void test_memory(void **state)
{
    UNUSED(state);
    end();
    for (memfail_start(); memfail_next();) {
        objcache_trim(&net_loop.blocks);
        objcache_trim(&net_loop.pages);
        if (!begin())
            continue;
        talk();
        if (!memfail_hit())
            assert_int_equal(s[0]->rx, STREAM_END);
        end();
        assert_true(m.closed);
        arena_done(&arena);
        arena_init(&arena, &net_loop.pages, 1 << 20);
    }
    assert_true(begin());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_goaway, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_push, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_interim_without_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_writable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_websocket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
