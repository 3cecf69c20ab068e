/* SPDX-License-Identifier: MIT */
#include "base/bufq.h"

#include "base/err.h"
#include "support/memfail.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { BLOCK = 1024, MUCH = 20 * BLOCK };

static struct objcache cache;
static struct bufq q;
static char text[MUCH];

static int setup(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < MUCH; i++)
        text[i] = (char)(i * 31 + i / 251);
    objcache_init(&cache, BLOCK, 4);
    bufq_init(&q, &cache);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    bufq_clear(&q);
    objcache_done(&cache);
    return 0;
}

static void put(size_t at, size_t n)
{
    assert_int_equal(bufq_put(&q, text + at, n), 0);
}

/* The queue holds text[at, at + n), by every way of looking at it. */
static void assert_holds(size_t at, size_t n)
{
    struct iovec iov[64];
    int pieces = bufq_iov(&q, iov, 64);

    assert_int_equal(q.len, n);
    if (n == 0) {
        assert_int_equal(pieces, 0);
        assert_int_equal(bufq_front(&q).n, 0);
        assert_int_equal(cache.n_used, 0);
        return;
    }
    assert_ptr_equal(bufq_front(&q).p, iov[0].iov_base);
    assert_int_equal(bufq_front(&q).n, iov[0].iov_len);
    for (int i = 0; i < pieces; i++) {
        assert_true(iov[i].iov_len > 0 && iov[i].iov_len <= n);
        assert_memory_equal(iov[i].iov_base, text + at, iov[i].iov_len);
        at += iov[i].iov_len;
        n -= iov[i].iov_len;
    }
    assert_int_equal(n, 0);
}

static void test_empty(void **state)
{
    char c;

    UNUSED(state);
    assert_holds(0, 0);
    put(0, 0);
    assert_int_equal(bufq_put(&q, NULL, 0), 0);
    bufq_drop(&q, 0);
    assert_int_equal(bufq_copy_out(&q, &c, 1), 0);
    bufq_clear(&q);
    assert_holds(0, 0);
}

static void test_put_drop(void **state)
{
    UNUSED(state);
    put(0, 10);
    assert_holds(0, 10);
    bufq_drop(&q, 4);
    assert_holds(4, 6);
    put(10, 5);
    assert_holds(4, 11);
    bufq_drop(&q, 11);
    assert_holds(0, 0);
}

static void test_large_put(void **state)
{
    UNUSED(state);
    put(0, 100);
    put(100, 5 * BLOCK);
    assert_holds(0, 5 * BLOCK + 100);
    bufq_drop(&q, 3 * BLOCK);
    assert_holds(3 * BLOCK, 2 * BLOCK + 100);
    bufq_clear(&q);
    assert_holds(0, 0);
}

static void test_small_puts_share_blocks(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < MUCH; i += 8)
        put(i, 8);
    assert_holds(0, MUCH);
    assert_true(cache.n_used <= MUCH / (BLOCK - 32) + 1);
}

static void test_every_size(void **state)
{
    UNUSED(state);
    for (size_t n = 0; n < 3 * BLOCK; n++) {
        put(0, 7);
        put(7, n);
        assert_holds(0, n + 7);
        bufq_drop(&q, n + 7);
        assert_holds(0, 0);
    }
}

static void test_iov_max(void **state)
{
    struct iovec iov[2];

    UNUSED(state);
    put(0, 5 * BLOCK);
    assert_int_equal(bufq_iov(&q, iov, 0), 0);
    assert_int_equal(bufq_iov(&q, iov, 2), 2);
    assert_memory_equal(iov[1].iov_base, text + iov[0].iov_len, iov[1].iov_len);
}

static void test_copy_out(void **state)
{
    static char out[MUCH];

    UNUSED(state);
    put(0, 3 * BLOCK);
    assert_int_equal(bufq_copy_out(&q, out, 10), 10);
    assert_memory_equal(out, text, 10);
    assert_holds(10, 3 * BLOCK - 10);
    assert_int_equal(bufq_copy_out(&q, out, MUCH), 3 * BLOCK - 10);
    assert_memory_equal(out, text + 10, 3 * BLOCK - 10);
    assert_holds(0, 0);
}

static void test_each_allocation_refused(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        int r = bufq_put(&q, text, 10);

        if (r == 0) {
            r = bufq_put(&q, text + 10, 4 * BLOCK);
            assert_holds(0, r == 0 ? 4 * BLOCK + 10 : 10);
        }
        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        bufq_clear(&q);
        assert_holds(0, 0);
        objcache_done(&cache); /* so that the next round asks for memory again */
    }
}

static void test_random(void **state)
{
    UNUSED(state);
    srand(2);
    for (int round = 0; round < 200; round++) {
        size_t in = 0, out = 0;

        while (out < MUCH) {
            size_t n = (size_t)rand() % (rand() % 4 ? 50 : 3 * BLOCK);

            if (rand() % 2) {
                n = min_size(n, MUCH - in);
                put(in, n);
                in += n;
            } else {
                n = min_size(n, q.len);
                bufq_drop(&q, n);
                out += n;
            }
            assert_holds(out, in - out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put_drop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_put, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_puts_share_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_size, setup, teardown),
        cmocka_unit_test_setup_teardown(test_iov_max, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_allocation_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
