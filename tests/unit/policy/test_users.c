/* SPDX-License-Identifier: MIT */
#include "policy/users.h"

#include "base/check.h"
#include "base/err.h"
#include "support/memfail.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MANY = 100000 };

static void test_rows(void **state)
{
    static const char john[] = "john\0$6$x$y\0red,blue", anna[] = "anna\0$y$z\0";
    struct users u = {0};
    const struct users_row *first;
    bool known;

    UNUSED(state);
    assert_null(users_row_for(&u, SLICE("john"), &known));
    assert_int_equal(users_table_add(&u.names, (struct users_row){john, 4, 6, 8}, &first), 0);
    assert_null(first);
    assert_int_equal(users_table_add(&u.names, (struct users_row){anna, 4, 4, 0}, &first), 0);
    assert_int_equal(users_table_add(&u.names, (struct users_row){john, 4, 6, 8}, &first), 0);
    assert_ptr_equal(first, &u.names.v[0]);
    assert_int_equal(u.names.n, 2);
    first = users_table_find(&u.names, SLICE("john"));
    assert_true(slice_eq(users_row_value(first), SLICE("$6$x$y")));
    assert_true(slice_eq(users_row_more(first), SLICE("red,blue")));
    /* compared byte by byte */
    assert_null(users_table_find(&u.names, SLICE("John")));
    assert_null(users_table_find(&u.names, SLICE("joh")));
    assert_null(users_table_find(&u.names, SLICE("")));
    u.usual = 1;
    assert_ptr_equal(users_row_for(&u, SLICE("john"), &known), &u.names.v[0]);
    assert_true(known);
    assert_ptr_equal(users_row_for(&u, SLICE("nobody"), &known), &u.names.v[1]);
    assert_false(known);
    users_done(&u);
}

static char texts[MANY][16];

static void test_many(void **state)
{
    struct users_table t = {0};
    const struct users_row *first;
    char name[16];

    UNUSED(state);
    for (unsigned i = 0; i < MANY; i++) {
        int n = snprintf(texts[i], sizeof(texts[i]), "user%u", i);

        assert_int_equal(users_table_add(&t, (struct users_row){texts[i], (uint16_t)n, 0, 0}, &first), 0);
    }
    for (unsigned i = 0; i < MANY; i++) {
        int n = snprintf(name, sizeof(name), "user%u", i);

        assert_ptr_equal(users_table_find(&t, slice_of(name, (size_t)n)), &t.v[i]);
    }
    assert_null(users_table_find(&t, SLICE("user100000")));
    users_table_done(&t);
}

static void test_memory(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct users_table t = {0};
        const struct users_row *first;
        int r = 0;

        for (unsigned i = 0; i < 100 && r == 0; i++) {
            int n = snprintf(texts[i], sizeof(texts[i]), "user%u", i);

            r = users_table_add(&t, (struct users_row){texts[i], (uint16_t)n, 0, 0}, &first);
        }
        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        /* what was there stays there */
        for (unsigned i = 0; i < t.n; i++)
            assert_non_null(users_table_find(&t, users_row_name(&t.v[i])));
        users_table_done(&t);
    }
}

static void test_lists(void **state)
{
    UNUSED(state);
    assert_true(users_list_has(SLICE("red,blue,prio=high"), SLICE("red")));
    assert_true(users_list_has(SLICE("red,blue,prio=high"), SLICE("prio=high")));
    assert_true(users_list_has(SLICE("red"), SLICE("red")));
    assert_false(users_list_has(SLICE("red,blue"), SLICE("re")));
    assert_false(users_list_has(SLICE("red,blue"), SLICE("red,blue")));
    assert_false(users_list_has(SLICE("red,blue"), SLICE("bluer")));
    assert_false(users_list_has(SLICE(""), SLICE("red")));
    assert_false(users_list_has(SLICE_NONE, SLICE("red")));
}

static void test_hashes(void **state)
{
    static const char *const good[] = {"$y$j9T$x$y", "$2a$05$x", "$2b$05$x", "$2y$05$x", "$6$x$y", "$5$x$y", NULL};
    static const char *const bad[] = {"", "$", "$y$", "$2$05$x", "$2x$05$x", "$1$x$y", "$apr1$x$y", "{SHA}x", "ab", "plain", "$7$x", "y$j9T", NULL};

    UNUSED(state);
    for (unsigned i = 0; good[i]; i++)
        assert_true(users_hash_is_known(slice_str(good[i])));
    for (unsigned i = 0; bad[i]; i++)
        assert_false(users_hash_is_known(slice_str(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),  cmocka_unit_test(test_many),   cmocka_unit_test(test_memory),
        cmocka_unit_test(test_lists), cmocka_unit_test(test_hashes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
