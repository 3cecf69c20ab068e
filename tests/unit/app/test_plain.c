/* SPDX-License-Identifier: MIT */
#include "app/plain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_plain(const char *scdoc, const char *expected)
{
    char out[PLAIN_MAX];
    struct slice s = plain_text(out, scdoc);

    assert_string_equal(out, expected);
    assert_ptr_equal(s.p, out);
    assert_int_equal(s.n, strlen(expected));
}

static void test_marks(void **state)
{
    UNUSED(state);
    assert_plain("", "");
    assert_plain("No marks.", "No marks.");
    assert_plain("*bold* and _underlined_.", "bold and underlined.");
    assert_plain("the *log.access*, _N_ of it", "the log.access, N of it");
}

/* scdoc: an underscore between letters is one */
static void test_underscores(void **state)
{
    UNUSED(state);
    assert_plain("a snake_case word", "a snake_case word");
    assert_plain("_snake_case_", "snake_case");
    assert_plain("_", "");
}

static void test_escapes(void **state)
{
    UNUSED(state);
    assert_plain("!#$%&'\\*+-.^\\_\\`|~", "!#$%&'*+-.^_`|~");
    assert_plain("\\\\", "\\");
    assert_plain("ends in \\", "ends in \\");
}

static void test_first(void **state)
{
    char out[PLAIN_MAX];

    UNUSED(state);
    assert_string_equal(plain_first(out, "One. Two.").p, "One");
    assert_string_equal(plain_first(out, "Only *one*.").p, "Only one");
    assert_string_equal(plain_first(out, "no stop").p, "no stop");
    assert_string_equal(plain_first(out, "ginnel.yaml is a file. Yes.").p, "ginnel.yaml is a file");
    assert_int_equal(plain_first(out, "").n, 0);
}

static void test_long_text_is_cut(void **state)
{
    char in[2 * PLAIN_MAX], out[PLAIN_MAX];

    UNUSED(state);
    memset(in, 'x', sizeof(in) - 1);
    in[sizeof(in) - 1] = '\0';
    assert_int_equal(plain_text(out, in).n, PLAIN_MAX - 1);
    assert_int_equal(strlen(out), PLAIN_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_underscores),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_first),
        cmocka_unit_test(test_long_text_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
