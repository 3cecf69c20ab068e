/* SPDX-License-Identifier: MIT */
/* The growing text: what is written is there, what was refused is said once, nothing hostile passes. */
#include "app/text.h"

#include "base/mem.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void expect(struct text *t, const char *want)
{
    size_t n;
    char *p = text_take(t, &n);

    assert_non_null(p);
    assert_string_equal(p, want);
    assert_int_equal(n, strlen(want));
    mem_free(p);
}

static void test_empty(void **state)
{
    struct text t = {0};

    UNUSED(state);
    expect(&t, "");
    text_done(&t);
}

static void test_writes(void **state)
{
    struct text t = {0};

    UNUSED(state);
    text_str(&t, "a");
    text_put(&t, "bc", 2);
    text_u64(&t, UINT64_MAX);
    text_printf(&t, "-%d-%s", 5, "x");
    expect(&t, "abc18446744073709551615-5-x");
}

static void test_grows(void **state)
{
    struct text t = {0};
    size_t n;
    char *p;

    UNUSED(state);
    for (unsigned i = 0; i < 100000; i++)
        text_put(&t, &"0123456789"[i % 10], 1);
    p = text_take(&t, &n);
    assert_int_equal(n, 100000);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(p[i], '0' + i % 10);
    mem_free(p);
}

static void test_pads(void **state)
{
    struct text t = {0};

    UNUSED(state);
    text_str(&t, "line\nab");
    text_pad(&t, 5, 5);
    text_str(&t, "c");
    text_pad(&t, 5, 5);
    text_str(&t, "d");
    expect(&t, "line\nab   c d");
}

static void test_escapes(void **state)
{
    struct text t = {0};

    UNUSED(state);
    text_escaped(&t, SLICE("a\r\n\x1b[0m\\\x7f\xc3\xa9\0z"));
    expect(&t, "a\\x0d\\x0a\\x1b[0m\\x5c\\x7f\\xc3\\xa9\\x00z");
    text_operator(&t, SLICE("caf\xc3\xa9 \x1b[0m\n\xc2\x9b" "1m \xc2\xa7\\"));
    expect(&t, "caf\xc3\xa9 \\x1b[0m\\x0a\\xc2\x9b" "1m \xc2\xa7\\");
}

static void test_memory(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct text t = {0};
        size_t n = 77;
        char *p;

        for (unsigned i = 0; i < 10000; i++)
            text_str(&t, "abc");
        text_pad(&t, t.n, 10);
        p = text_take(&t, &n);
        if (memfail_hit()) {
            assert_null(p);
            assert_int_equal(n, 77);
        } else {
            assert_non_null(p);
        }
        mem_free(p);
        assert_null(t.p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty), cmocka_unit_test(test_writes), cmocka_unit_test(test_grows),
        cmocka_unit_test(test_pads), cmocka_unit_test(test_escapes), cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
