/* SPDX-License-Identifier: MIT */
/* The far side of a tunnel: bytes, and ends as what they are (C19, FAILURES 23). */
#include "mux/stream_conn.h"

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

static struct mem_conn m;
static struct stream *s;
static struct task task;
static unsigned woken;
static char buf[65536];

static void task_run(struct task *t, unsigned bits)
{
    UNUSED(t);
    woken |= bits;
}

static int setup(void **state)
{
    struct conn *c;

    UNUSED(state);
    net_begin();
    task_init(&task, &net_loop, "exchange", task_run);
    woken = 0;
    c = mem_conn_init(&m, &net_loop);
    s = stream_conn_new(&c, &task);
    assert_non_null(s);
    assert_null(c);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    stream_release(&s);
    assert_true(m.closed);
    net_end();
    return 0;
}

static enum io recv_n(size_t expect)
{
    size_t n = 0;
    enum io r = stream_recv(s, buf, sizeof(buf), &n);

    assert_int_equal(n, expect);
    return r;
}

static void test_begins_as_a_tunnel(void **state)
{
    uint64_t max;

    UNUSED(state);
    assert_true(s->tunnel);
    assert_int_equal(s->rx, STREAM_BODY);
    assert_int_equal(s->tx, STREAM_BODY);
    assert_false(stream_broken(s));
    assert_int_equal(stream_fd(s, STREAM_RX, &max), -1);
    assert_int_equal(recv_n(0), IO_AGAIN);
}

static void test_bytes(void **state)
{
    UNUSED(state);
    mem_conn_text(&m, "hello");
    net_turns(1);
    assert_int_equal(woken, TASK_RX);
    assert_int_equal(recv_n(5), IO_OK);
    assert_int_equal(stream_send(s, "back", 4, false), IO_OK);
    assert_int_equal(stream_flush(s), IO_OK);
    assert_string_equal(m.out, "back");
}

static void test_tail_and_room(void **state)
{
    UNUSED(state);
    mem_conn_room(&m, 2);
    assert_int_equal(stream_send(s, "back", 4, false), IO_OK);
    assert_int_equal(stream_room(s), 0);
    assert_int_equal(stream_flush(s), IO_AGAIN);
    woken = 0;
    mem_conn_room(&m, 100);
    net_turns(1);
    assert_int_equal(woken, TASK_TX);
    assert_int_equal(stream_flush(s), IO_OK);
    assert_string_equal(m.out, "back");
}

static void test_fin_from_the_peer(void **state)
{
    UNUSED(state);
    mem_conn_text(&m, "hello");
    mem_conn_fin(&m);
    assert_int_equal(recv_n(5), IO_OK);
    assert_int_equal(recv_n(0), IO_EOF);
    assert_int_equal(s->rx, STREAM_END);
    assert_int_equal(recv_n(0), IO_EOF);
    /* The other direction lives on. */
    assert_int_equal(stream_send(s, "back", 4, false), IO_OK);
    assert_string_equal(m.out, "back");
    assert_false(m.fin_sent);
}

static void test_fin_to_the_peer(void **state)
{
    UNUSED(state);
    mem_conn_room(&m, 2);
    assert_int_equal(stream_send(s, "back", 4, true), IO_OK);
    assert_int_equal(s->tx, STREAM_END);
    assert_false(m.fin_sent);
    mem_conn_room(&m, 100);
    assert_int_equal(stream_flush(s), IO_OK);
    assert_true(m.fin_sent);
    mem_conn_text(&m, "more");
    assert_int_equal(recv_n(4), IO_OK);
}

static void test_both_ends(void **state)
{
    UNUSED(state);
    assert_int_equal(stream_end(s, NULL), IO_OK);
    mem_conn_fin(&m);
    assert_int_equal(recv_n(0), IO_EOF);
    stream_release(&s);
    assert_true(m.closed && !m.was_reset);
}

/* Released with a direction still open: a cut, and it looks like one. */
static void test_released_half_open(void **state)
{
    UNUSED(state);
    assert_int_equal(stream_end(s, NULL), IO_OK);
    stream_release(&s);
    assert_true(m.closed && m.was_reset);
}

static void test_released_open(void **state)
{
    UNUSED(state);
    stream_release(&s);
    assert_true(m.was_reset);
}

static void test_reset(void **state)
{
    UNUSED(state);
    stream_reset(s);
    assert_true(m.closed && m.was_reset);
    assert_int_equal(s->rx, STREAM_RESET);
    stream_reset(s);
    stream_release(&s);
}

static void test_rst_from_the_peer(void **state)
{
    UNUSED(state);
    mem_conn_text(&m, "hello");
    mem_conn_rst(&m, true);
    assert_true(stream_broken(s));
    assert_int_equal(stream_send(s, "x", 1, false), IO_ERR);
    assert_int_equal(s->fault.reason, END_UPSTREAM_RESET);
    assert_int_equal(recv_n(5), IO_OK);
    assert_int_equal(recv_n(0), IO_ERR);
    assert_int_equal(recv_n(0), IO_ERR);
    assert_int_not_equal(s->rx, STREAM_END);
}

static void test_every_allocation_fails(void **state)
{
    static struct mem_conn other;
    static char much[16384];

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct conn *c = mem_conn_init(&other, &net_loop);
        struct stream *t = stream_conn_new(&c, &task);
        enum io io;

        if (!t) {
            assert_true(memfail_hit());
            assert_ptr_equal(c, &other.conn);
            assert_false(other.closed);
            continue;
        }
        objcache_done(&net_loop.blocks);
        mem_conn_room(&other, 10);
        io = stream_send(t, much, sizeof(much), false);
        assert_int_equal(io, memfail_hit() ? IO_ERR : IO_OK);
        /* It is our memory that ran out; nobody reset anything. */
        if (io == IO_ERR)
            assert_int_equal(t->fault.reason, END_NO_MEMORY);
        stream_release(&t);
        net_turns(1);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_begins_as_a_tunnel),
        TEST(test_bytes),
        TEST(test_tail_and_room),
        TEST(test_fin_from_the_peer),
        TEST(test_fin_to_the_peer),
        TEST(test_both_ends),
        TEST(test_released_half_open),
        TEST(test_released_open),
        TEST(test_reset),
        TEST(test_rst_from_the_peer),
        TEST(test_every_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
