/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include "support/memfail.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_alloc_free(void **state)
{
    char *p = mem_alloc(10);

    UNUSED(state);
    assert_non_null(p);
    memset(p, 'x', 10);
    mem_free(p);
    mem_free(NULL);
}

static void test_zero_bytes_are_no_refusal(void **state)
{
    void *a = mem_alloc(0), *b = mem_zalloc(0), *c = mem_array(0, 8), *d = mem_array(8, 0);

    UNUSED(state);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    assert_non_null(d);
    a = mem_grow(a, 0);
    assert_non_null(a);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
}

static void test_zeroed(void **state)
{
    static const char zeros[96];
    char *p = mem_zalloc(96), *q = mem_array(12, 8);

    UNUSED(state);
    assert_memory_equal(p, zeros, 96);
    assert_memory_equal(q, zeros, 96);
    mem_free(p);
    mem_free(q);
}

static void test_array_overflow(void **state)
{
    volatile size_t half = SIZE_MAX / 2;

    UNUSED(state);
    assert_null(mem_array(half, 3));
    assert_null(mem_array(3, half));
}

static void test_grow_keeps_bytes(void **state)
{
    char *p = mem_grow(NULL, 4);

    UNUSED(state);
    memcpy(p, "abcd", 4);
    p = mem_grow(p, 4000);
    assert_memory_equal(p, "abcd", 4);
    mem_free(p);
}

static void test_dup(void **state)
{
    char *p = mem_dup("a\0b", 3), *empty = mem_dup(NULL, 0);
    volatile size_t all = SIZE_MAX;

    UNUSED(state);
    assert_memory_equal(p, "a\0b", 4);
    assert_string_equal(empty, "");
    assert_null(mem_dup("", all));
    mem_free(p);
    mem_free(empty);
}

static bool gate_shut(void)
{
    return false;
}

static void test_gate_shut(void **state)
{
    char *p = mem_dup("keep", 4);

    UNUSED(state);
    mem_set_gate(gate_shut);
    assert_null(mem_alloc(1));
    assert_null(mem_zalloc(1));
    assert_null(mem_array(1, 1));
    assert_null(mem_dup("x", 1));
    assert_null(mem_grow(p, 100));
    mem_set_gate(NULL);
    assert_string_equal(p, "keep");
    mem_free(p);
}

static void test_memfail_counts(void **state)
{
    unsigned rounds = 0;

    UNUSED(state);
    for (memfail_start(); memfail_next(); rounds++) {
        void *a = mem_alloc(1), *b = mem_alloc(1);

        assert_true(!a == (rounds == 0));
        assert_true(!b == (rounds == 1));
        assert_true(memfail_hit() == (rounds < 2));
        mem_free(a);
        mem_free(b);
    }
    assert_int_equal(rounds, 3);
}

/* ---- counting ---- */

static void test_nothing_counts_unasked(void **state)
{
    void *p = mem_alloc(1000);

    UNUSED(state);
    assert_int_equal(mem_counted(), 0);
    mem_free(p);
    assert_int_equal(mem_counted(), 0);
}

static void test_every_call_counts(void **state)
{
    char *p;

    UNUSED(state);
    assert_false(mem_count(true));
    assert_true(mem_count(true));
    p = mem_alloc(1000);
    assert_in_range(mem_counted(), 1000, 1100);
    p = mem_grow(p, 100000);
    assert_in_range(mem_counted(), 100000, 110000);
    p = mem_grow(p, 10);
    assert_in_range(mem_counted(), 10, 1000);
    mem_free(p);
    assert_int_equal(mem_counted(), 0);
    p = mem_zalloc(1000);
    assert_in_range(mem_counted(), 1000, 1100);
    mem_free(p);
    p = mem_array(10, 100);
    assert_in_range(mem_counted(), 1000, 1100);
    mem_free(p);
    p = mem_dup("0123456789", 10);
    assert_in_range(mem_counted(), 11, 100);
    mem_free(p);
    p = mem_grow(NULL, 50);
    assert_in_range(mem_counted(), 50, 150);
    mem_free(p);
    mem_free(NULL);
    assert_int_equal(mem_counted(), 0);
    assert_true(mem_count(false));
}

static void test_a_refusal_counts_nothing(void **state)
{
    char *p;

    UNUSED(state);
    mem_count(true);
    p = mem_alloc(500);
    mem_set_gate(gate_shut);
    assert_null(mem_grow(p, 100000));
    assert_null(mem_alloc(100000));
    mem_set_gate(NULL);
    assert_in_range(mem_counted(), 500, 600);
    mem_free(p);
    assert_int_equal(mem_counted(), 0);
    mem_count(false);
}

/* What the main thread shares with a worker. */
static void test_aside(void **state)
{
    void *p, *q;
    bool was;

    UNUSED(state);
    mem_count(true);
    q = mem_alloc(300);
    was = mem_count(false);
    p = mem_alloc(5000);
    assert_in_range(mem_counted(), 300, 400);
    mem_free(p);
    mem_count(was);
    mem_free(q);
    assert_int_equal(mem_counted(), 0);
    mem_count(false);
}

enum { THREADS = 8, MANY_THREADS = MEM_COUNTED_THREADS + 30, BLOCKS = 2000, HANDS = 64 };

/* Blocks lie here between the threads: each takes what another one left. */
static void *_Atomic hands[HANDS];

static void *juggle(void *arg)
{
    unsigned x = (unsigned)(uintptr_t)arg * 7919 + 1;

    mem_count(true);
    for (unsigned i = 0; i < BLOCKS; i++) {
        x = x * 1103515245 + 12345;
        mem_free(atomic_exchange(&hands[x >> 16 & (HANDS - 1)], mem_alloc(x >> 20 & 2047)));
    }
    return NULL;
}

static void *juggle_a_little(void *arg)
{
    UNUSED(arg);
    mem_count(true);
    mem_free(atomic_exchange(&hands[0], mem_alloc(100)));
    return NULL;
}

static void run_threads(unsigned n, void *(*run)(void *))
{
    pthread_t t[MANY_THREADS];

    for (unsigned i = 0; i < n; i++)
        assert_int_equal(pthread_create(&t[i], NULL, run, (void *)(uintptr_t)i), 0);
    for (unsigned i = 0; i < n; i++)
        pthread_join(t[i], NULL);
}

/* What is left in the hands, the sum says to the byte; and nothing once somebody has freed it, though all threads have ended. */
static void expect_hands(void)
{
    uint64_t held = 0;

    for (unsigned i = 0; i < HANDS; i++)
        if (hands[i])
            held += malloc_usable_size(hands[i]);
    assert_true(held > 0);
    assert_int_equal(mem_counted(), held);
    mem_count(true);
    for (unsigned i = 0; i < HANDS; i++)
        mem_free(atomic_exchange(&hands[i], NULL));
    mem_count(false);
    assert_int_equal(mem_counted(), 0);
}

/* A block is allocated on one thread and freed on another one. */
static void test_blocks_move_between_threads(void **state)
{
    UNUSED(state);
    run_threads(THREADS, juggle);
    expect_hands();
}

/* More threads than there are counters: the last ones share one, and lose nothing. Last, because threads keep their place. */
static void test_more_threads_than_counters(void **state)
{
    UNUSED(state);
    run_threads(MANY_THREADS, juggle_a_little);
    run_threads(THREADS, juggle);
    expect_hands();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc_free),       cmocka_unit_test(test_zero_bytes_are_no_refusal),
        cmocka_unit_test(test_zeroed),           cmocka_unit_test(test_array_overflow),
        cmocka_unit_test(test_grow_keeps_bytes), cmocka_unit_test(test_dup),
        cmocka_unit_test(test_gate_shut),        cmocka_unit_test(test_memfail_counts),
        cmocka_unit_test(test_nothing_counts_unasked),
        cmocka_unit_test(test_every_call_counts),
        cmocka_unit_test(test_a_refusal_counts_nothing),
        cmocka_unit_test(test_aside),
        cmocka_unit_test(test_blocks_move_between_threads),
        cmocka_unit_test(test_more_threads_than_counters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
