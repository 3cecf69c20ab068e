/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include "support/memfail.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc_free),       cmocka_unit_test(test_zero_bytes_are_no_refusal),
        cmocka_unit_test(test_zeroed),           cmocka_unit_test(test_array_overflow),
        cmocka_unit_test(test_grow_keeps_bytes), cmocka_unit_test(test_dup),
        cmocka_unit_test(test_gate_shut),        cmocka_unit_test(test_memfail_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
