/* SPDX-License-Identifier: MIT */
#include "base/objcache.h"

#include "support/memfail.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_get_put(void **state)
{
    struct objcache c;
    void *a, *b;

    UNUSED(state);
    objcache_init(&c, 100, 4);
    a = objcache_get(&c);
    memset(a, 'x', 100);
    assert_int_equal(c.n_used, 1);
    objcache_put(&c, a);
    assert_int_equal(c.n_used, 0);
    assert_int_equal(c.n_free, 1);
    b = objcache_get(&c);
    assert_ptr_equal(a, b);
    memset(b, 'y', 100);
    assert_int_equal(c.n_free, 0);
    objcache_put(&c, b);
    objcache_put(&c, NULL);
    assert_int_equal(c.n_free, 1);
    objcache_done(&c);
    assert_int_equal(c.n_free, 0);
}

static void test_tiny_blocks(void **state)
{
    struct objcache c;

    UNUSED(state);
    objcache_init(&c, 1, 4);
    assert_true(c.size >= sizeof(void *));
    objcache_put(&c, objcache_get(&c));
    objcache_done(&c);
}

static void test_keep_bounds_free_blocks(void **state)
{
    struct objcache c;
    void *v[8];

    UNUSED(state);
    objcache_init(&c, 64, 3);
    for (size_t i = 0; i < 8; i++)
        v[i] = objcache_get(&c);
    for (size_t i = 0; i < 8; i++)
        objcache_put(&c, v[i]);
    assert_int_equal(c.n_free, 3);
    assert_int_equal(c.n_used_max, 8);
    objcache_done(&c);
}

static void test_keep_nothing(void **state)
{
    struct objcache c;

    UNUSED(state);
    objcache_init(&c, 64, 0);
    objcache_put(&c, objcache_get(&c));
    assert_int_equal(c.n_free, 0);
    objcache_done(&c);
}

static bool gate_shut(void)
{
    return false;
}

static void test_kept_blocks_pass_the_gate(void **state)
{
    struct objcache c;
    void *a;

    UNUSED(state);
    objcache_init(&c, 64, 2);
    objcache_put(&c, objcache_get(&c));
    mem_set_gate(gate_shut);
    a = objcache_get(&c);
    assert_non_null(a);
    assert_null(objcache_get(&c));
    mem_set_gate(NULL);
    assert_int_equal(c.n_used, 1);
    objcache_put(&c, a);
    objcache_done(&c);
}

/* What is lent stays, what is kept goes. */
static void test_trim(void **state)
{
    struct objcache c;
    void *a;

    UNUSED(state);
    objcache_init(&c, 64, 8);
    a = objcache_get(&c);
    objcache_put(&c, objcache_get(&c));
    objcache_put(&c, objcache_get(&c));
    objcache_trim(&c);
    assert_int_equal(c.n_free, 0);
    assert_int_equal(c.n_used, 1);
    objcache_trim(&c);
    objcache_put(&c, a);
    objcache_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_put),
        cmocka_unit_test(test_tiny_blocks),
        cmocka_unit_test(test_keep_bounds_free_blocks),
        cmocka_unit_test(test_keep_nothing),
        cmocka_unit_test(test_kept_blocks_pass_the_gate),
        cmocka_unit_test(test_trim),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
