/* SPDX-License-Identifier: MIT */
#include "app/passwd.h"

#include "base/mem.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_change(const char *text, const char *name, const char *hash, bool was_there, const char *want)
{
    bool found = !was_there;
    size_t n;
    char *p = passwd_change(slice_str(text), slice_str(name), slice_str(hash), &n, &found);

    assert_non_null(p);
    if (!slice_eq(slice_of(p, n), slice_str(want)))
        fail_msg("\"%.*s\" is not \"%s\"", (int)n, p, want);
    assert_int_equal(found, was_there);
    mem_free(p);
}

static void test_change(void **state)
{
    UNUSED(state);
    assert_change("", "john", "H", false, "john:H\n");
    assert_change("# c\n\nanna:X\njohn:Y:labels=red\nzoe:Z\n", "john", "H", true, "# c\n\nanna:X\njohn:H:labels=red\nzoe:Z\n");
    assert_change("john:Y", "john", "H", true, "john:H\n");
    assert_change("anna:X", "john", "H", false, "anna:X\njohn:H\n");
    assert_change("anna:X\r\njohn:Y\r\n", "john", "H", true, "anna:X\r\njohn:H\n");
    assert_change(" john:Y \n", "john", "H", true, "john:H\n");
    assert_change("#john:Y\njohnny:X\njoh:Z\n", "john", "H", false, "#john:Y\njohnny:X\njoh:Z\njohn:H\n");
    /* twice in the file, which ginnel would refuse: the second one goes */
    assert_change("john:A\njohn:B\n", "john", "H", true, "john:H\n");
}

static void test_delete(void **state)
{
    UNUSED(state);
    assert_change("# c\njohn:Y\nzoe:Z\n", "john", "", true, "# c\nzoe:Z\n");
    assert_change("john:Y\n", "john", "", true, "");
    assert_change("zoe:Z", "john", "", false, "zoe:Z\n");
    assert_change("", "john", "", false, "");
}

static void test_memory(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        bool found;
        size_t n;
        char *p = passwd_change(SLICE("a:b\n"), SLICE("c"), SLICE("d"), &n, &found);

        assert_int_equal(p == NULL, memfail_hit());
        mem_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_change), cmocka_unit_test(test_delete), cmocka_unit_test(test_memory)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
