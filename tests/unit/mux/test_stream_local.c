/* SPDX-License-Identifier: MIT */
/* A reply made here, as a stream. */
#include "mux/stream_local.h"

#include "base/check.h"
#include "base/err.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena arena;
static struct head head = {.response = true, .status = 403};

static int setup(void **state)
{
    UNUSED(state);
    arena_init(&arena, NULL, 65536);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    arena_done(&arena);
    return 0;
}

static void test_head_and_body(void **state)
{
    struct stream *s = stream_local_new(&arena, &head, SLICE("hello world"));
    struct head *h = NULL;
    char p[8];
    size_t n;

    UNUSED(state);
    assert_int_equal(s->rx, STREAM_HEAD);
    assert_int_equal(s->tx, STREAM_END);
    assert_int_equal(stream_recv_head(s, &arena, &h), IO_OK);
    assert_ptr_equal(h, &head);
    assert_int_equal(s->rx, STREAM_BODY);
    assert_int_equal(stream_recv(s, p, sizeof(p), &n), IO_OK);
    assert_int_equal(n, 8);
    assert_memory_equal(p, "hello wo", 8);
    assert_int_equal(s->rx, STREAM_BODY);
    assert_int_equal(stream_recv(s, p, sizeof(p), &n), IO_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(p, "rld", 3);
    assert_int_equal(s->rx, STREAM_END);
    assert_int_equal(stream_recv(s, p, sizeof(p), &n), IO_EOF);
    stream_release(&s);
    assert_null(s);
}

static void test_no_body(void **state)
{
    struct stream *s = stream_local_new(&arena, &head, SLICE_NONE);
    struct head *h = NULL;
    char c;
    size_t n;

    UNUSED(state);
    assert_int_equal(stream_recv_head(s, &arena, &h), IO_OK);
    assert_int_equal(s->rx, STREAM_END);
    assert_int_equal(stream_recv(s, &c, 1, &n), IO_EOF);
    stream_release(&s);
}

/* It takes nothing, is no socket and never breaks. */
static void test_takes_nothing(void **state)
{
    struct stream *s = stream_local_new(&arena, &head, SLICE("x"));
    uint64_t max;

    UNUSED(state);
    assert_int_equal(stream_room(s), 0);
    assert_int_equal(stream_fd(s, STREAM_RX, &max), -1);
    assert_int_equal(stream_fd(s, STREAM_TX, &max), -1);
    assert_false(stream_broken(s));
    stream_reset(s);
    assert_int_equal(s->tx, STREAM_RESET);
    stream_release(&s);
}

static void test_every_allocation_fails(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct stream *s = stream_local_new(&arena, &head, SLICE("x"));

        assert_true(memfail_hit() == !s);
        arena_done(&arena);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_head_and_body),
        TEST(test_no_body),
        TEST(test_takes_nothing),
        TEST(test_every_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
