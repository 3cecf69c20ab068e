/* SPDX-License-Identifier: MIT */
/* A conn with what was read too much and what is not yet written. */
#include "mux/wire.h"

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

enum { MUCH = 256 * 1024 };

static struct mem_conn m;
static struct wire w;
static char text[MUCH], buf[MUCH];

static int setup(void **state)
{
    UNUSED(state);
    net_begin();
    for (size_t i = 0; i < MUCH; i++)
        text[i] = (char)(i * 31 + i / 251);
    wire_init(&w, mem_conn_init(&m, &net_loop));
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    wire_done(&w, false);
    assert_null(w.conn);
    net_end();
    return 0;
}

static enum io send_at(size_t at, size_t n)
{
    struct iovec v = {.iov_base = text + at, .iov_len = n};

    return wire_send(&w, &v, 1);
}

static enum io recv_n(size_t cap, size_t expect)
{
    size_t n = 0;
    enum io r = wire_recv(&w, buf, cap, &n);

    assert_int_equal(n, expect);
    return r;
}

static void assert_out(size_t n)
{
    assert_int_equal(m.out_n, n);
    assert_memory_equal(m.out, text, n);
}

/* ---- writing ---- */

static void test_send_at_once(void **state)
{
    UNUSED(state);
    assert_int_equal(wire_room(&w), WIRE_ROOM);
    assert_int_equal(send_at(0, 1000), IO_OK);
    assert_out(1000);
    assert_int_equal(w.out.len, 0);
    /* Nothing is leased while nothing waits. */
    assert_int_equal(net_loop.blocks.n_used, 0);
    assert_int_equal(wire_flush(&w), IO_OK);
    assert_int_equal(m.n_sends, 1);
}

static void test_pieces_go_together(void **state)
{
    struct iovec v[3] = {{text, 5}, {text + 5, 100}, {text + 105, 2}};

    UNUSED(state);
    assert_int_equal(wire_send(&w, v, 3), IO_OK);
    assert_out(107);
    assert_int_equal(m.n_sends, 1);
}

static void test_tail(void **state)
{
    UNUSED(state);
    mem_conn_room(&m, 300);
    assert_int_equal(send_at(0, 1000), IO_OK);
    assert_out(300);
    assert_int_equal(w.out.len, 700);
    /* No room until it is gone. */
    assert_int_equal(wire_room(&w), 0);
    assert_int_equal(wire_flush(&w), IO_AGAIN);
    mem_conn_room(&m, 100);
    assert_int_equal(wire_flush(&w), IO_AGAIN);
    assert_int_equal(wire_room(&w), 0);
    assert_out(400);
    mem_conn_room(&m, SIZE_MAX);
    assert_int_equal(wire_flush(&w), IO_OK);
    assert_out(1000);
    assert_int_equal(wire_room(&w), WIRE_ROOM);
    assert_int_equal(net_loop.blocks.n_used, 0);
}

/* New bytes go behind the tail, whatever part of either is taken. */
static void test_behind_the_tail(void **state)
{
    UNUSED(state);
    for (size_t room = 0; room < 60; room++) {
        struct iovec v[3] = {{text + 20, 10}, {text + 30, 1}, {text + 31, 9}};

        mem_conn_init(&m, &net_loop);
        mem_conn_room(&m, 0);
        assert_int_equal(send_at(0, 20), IO_OK);
        mem_conn_room(&m, room);
        assert_int_equal(wire_send(&w, v, 3), IO_OK);
        assert_out(min_size(room, 40));
        assert_int_equal(w.out.len, 40 - min_size(room, 40));
        mem_conn_room(&m, SIZE_MAX);
        assert_int_equal(wire_flush(&w), IO_OK);
        assert_out(40);
    }
}

static void test_a_long_tail(void **state)
{
    size_t at = 0;

    UNUSED(state);
    mem_conn_room(&m, 0);
    /* More pieces than one call writes. */
    while (at < MUCH) {
        assert_int_equal(send_at(at, 4096), IO_OK);
        at += 4096;
    }
    assert_int_equal(w.out.len, MUCH);
    mem_conn_room(&m, SIZE_MAX);
    assert_int_equal(wire_flush(&w), IO_OK);
    assert_out(MUCH);
}

static void test_long_tail_and_more(void **state)
{
    size_t at = 0;

    UNUSED(state);
    mem_conn_room(&m, 0);
    while (at < MUCH - 4096) {
        assert_int_equal(send_at(at, 4096), IO_OK);
        at += 4096;
    }
    mem_conn_room(&m, SIZE_MAX);
    assert_int_equal(send_at(at, 4096), IO_OK);
    assert_int_equal(wire_flush(&w), IO_OK);
    assert_out(MUCH);
}

static void test_blocked_conn_is_not_tried(void **state)
{
    UNUSED(state);
    mem_conn_room(&m, 0);
    assert_int_equal(send_at(0, 10), IO_OK);
    assert_int_equal(m.n_sends, 1);
    assert_int_equal(wire_flush(&w), IO_AGAIN);
    assert_int_equal(send_at(10, 10), IO_OK);
    assert_int_equal(m.n_sends, 1);
    mem_conn_room(&m, SIZE_MAX);
    assert_int_equal(wire_flush(&w), IO_OK);
    assert_out(20);
}

static void test_fin(void **state)
{
    UNUSED(state);
    assert_int_equal(wire_fin(&w), IO_OK);
    assert_true(m.fin_sent);
    assert_int_equal(wire_fin(&w), IO_OK);
}

static void test_fin_behind_the_queue(void **state)
{
    UNUSED(state);
    mem_conn_room(&m, 10);
    assert_int_equal(send_at(0, 100), IO_OK);
    assert_int_equal(wire_fin(&w), IO_OK);
    assert_false(m.fin_sent);
    mem_conn_room(&m, 89);
    assert_int_equal(wire_flush(&w), IO_AGAIN);
    assert_false(m.fin_sent);
    mem_conn_room(&m, 1);
    assert_int_equal(wire_flush(&w), IO_OK);
    assert_true(m.fin_sent);
    assert_out(100);
}

static void test_broken(void **state)
{
    UNUSED(state);
    mem_conn_room(&m, 10);
    assert_int_equal(send_at(0, 100), IO_OK);
    mem_conn_rst(&m, true);
    assert_int_equal(send_at(0, 100), IO_ERR);
    assert_int_equal(wire_flush(&w), IO_ERR);
    assert_int_equal(wire_fin(&w), IO_ERR);
    assert_false(m.fin_sent);
}

static void test_broken_met_by_send(void **state)
{
    UNUSED(state);
    mem_conn_text(&m, "before");
    mem_conn_rst(&m, false);
    assert_int_equal(send_at(0, 100), IO_ERR);
    assert_int_equal(send_at(0, 100), IO_ERR);
    assert_int_equal(recv_n(100, 6), IO_OK);
    assert_int_equal(recv_n(100, 0), IO_ERR);
    assert_int_equal(recv_n(100, 0), IO_ERR);
}

static void test_fin_on_a_broken_conn(void **state)
{
    UNUSED(state);
    mem_conn_rst(&m, true);
    assert_int_equal(wire_fin(&w), IO_ERR);
}

/* ---- reading ---- */

static void test_recv(void **state)
{
    UNUSED(state);
    assert_int_equal(recv_n(10, 0), IO_AGAIN);
    assert_int_equal(m.n_recvs, 0); /* nothing is tried that nobody has told of */
    mem_conn_feed(&m, text, 100);
    assert_int_equal(recv_n(60, 60), IO_OK);
    assert_int_equal(recv_n(60, 40), IO_OK);
    assert_int_equal(recv_n(60, 0), IO_AGAIN);
    assert_int_equal(m.n_recvs, 2);
}

static void test_unread(void **state)
{
    UNUSED(state);
    mem_conn_feed(&m, text + 50, 10);
    assert_int_equal(wire_unread(&w, text, 0), 0);
    assert_int_equal(wire_unread(&w, text, 50), 0);
    assert_int_equal(recv_n(20, 20), IO_OK);
    assert_memory_equal(buf, text, 20);
    /* What was put back is read first, by itself. */
    assert_int_equal(recv_n(100, 30), IO_OK);
    assert_memory_equal(buf, text + 20, 30);
    assert_int_equal(recv_n(100, 10), IO_OK);
    assert_memory_equal(buf, text + 50, 10);
    assert_int_equal(net_loop.blocks.n_used, 0);
}

static void test_ends(void **state)
{
    UNUSED(state);
    assert_int_equal(wire_unread(&w, text, 5), 0);
    mem_conn_feed(&m, text, 10);
    mem_conn_fin(&m);
    assert_int_equal(recv_n(100, 5), IO_OK);
    assert_int_equal(recv_n(100, 10), IO_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(recv_n(100, 0), IO_EOF);
    assert_int_equal(m.n_recvs, 2);
}

static void test_error_behind_bytes(void **state)
{
    UNUSED(state);
    assert_int_equal(wire_unread(&w, text, 5), 0);
    mem_conn_feed(&m, text, 10);
    mem_conn_rst(&m, true);
    assert_int_equal(recv_n(100, 5), IO_OK);
    assert_int_equal(recv_n(100, 10), IO_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(recv_n(100, 0), IO_ERR);
}

/* ---- the rest ---- */

static void test_fd(void **state)
{
    struct wire real;
    struct conn *c;
    int peer;

    UNUSED(state);
    c = net_conn(&peer, true);
    wire_init(&real, c);
    assert_true(wire_fd(&real, CONN_IN) >= 0);
    assert_true(wire_fd(&real, CONN_OUT) >= 0);
    assert_int_equal(wire_unread(&real, text, 5), 0);
    assert_int_equal(wire_fd(&real, CONN_IN), -1);
    assert_true(wire_fd(&real, CONN_OUT) >= 0);
    bufq_drop(&real.in, 5);
    while (!real.out.len) {
        struct iovec v = {.iov_base = text, .iov_len = WIRE_ROOM};

        assert_int_equal(wire_send(&real, &v, 1), IO_OK);
    }
    assert_true(wire_fd(&real, CONN_IN) >= 0);
    assert_int_equal(wire_fd(&real, CONN_OUT), -1);
    net_rst(peer);
    NET_UNTIL(c->error);
    assert_int_equal(wire_fd(&real, CONN_IN), -1);
    wire_done(&real, true);
}

static void test_done(void **state)
{
    UNUSED(state);
    mem_conn_room(&m, 0);
    assert_int_equal(send_at(0, 100), IO_OK);
    assert_int_equal(wire_unread(&w, text, 5), 0);
    wire_done(&w, true);
    assert_true(m.closed && m.was_reset);
    assert_null(w.conn);
    assert_int_equal(net_loop.blocks.n_used, 0);
    wire_done(&w, false);
    wire_init(&w, mem_conn_init(&m, &net_loop));
    wire_done(&w, false);
    assert_true(m.closed && !m.was_reset);
}

static void test_every_allocation_fails(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        enum io r;
        int u;

        mem_conn_init(&m, &net_loop);
        wire_init(&w, &m.conn);
        objcache_done(&net_loop.blocks);
        objcache_init(&net_loop.blocks, net_loop.blocks.size, 0);
        mem_conn_room(&m, 10);
        r = send_at(0, 40000);
        u = wire_unread(&w, text, 40000);
        if (memfail_hit())
            assert_true(r == IO_ERR || u == ERR_NOMEM);
        else
            assert_true(r == IO_OK && u == 0);
        wire_done(&w, true);
        assert_int_equal(net_loop.blocks.n_used, 0);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_send_at_once),
        TEST(test_pieces_go_together),
        TEST(test_tail),
        TEST(test_behind_the_tail),
        TEST(test_a_long_tail),
        TEST(test_long_tail_and_more),
        TEST(test_blocked_conn_is_not_tried),
        TEST(test_fin),
        TEST(test_fin_behind_the_queue),
        TEST(test_broken),
        TEST(test_broken_met_by_send),
        TEST(test_fin_on_a_broken_conn),
        TEST(test_recv),
        TEST(test_unread),
        TEST(test_ends),
        TEST(test_error_behind_bytes),
        TEST(test_fd),
        TEST(test_done),
        TEST(test_every_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
