/* SPDX-License-Identifier: MIT */
#include "proto/chars.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool one_of(unsigned c, const char *set)
{
    return c && strchr(set, (int)c);
}

static bool alpha(unsigned c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The drawn table against the grammars, byte by byte. */
static void test_table(void **state)
{
    UNUSED(state);
    for (unsigned c = 0; c < 256; c++) {
        bool digit = c >= '0' && c <= '9', vchar = c >= 0x21 && c <= 0x7e, obs = c >= 0x80;
        bool blank = c == ' ' || c == '\t', value = blank || vchar || obs;
        char b = (char)c;

        assert_int_equal(chars_is(b, CHARS_TOKEN),
                         digit || alpha(c) || one_of(c, "!#$%&'*+-.^_`|~"));
        assert_int_equal(chars_is(b, CHARS_TARGET), vchar || obs);
        assert_int_equal(chars_is(b, CHARS_VALUE), value);
        assert_int_equal(chars_is(b, CHARS_BLANK), blank);
        assert_int_equal(chars_is(b, CHARS_DIGIT), digit);
        assert_int_equal(chars_is(b, CHARS_HEX), digit || one_of(c, "abcdefABCDEF"));
        assert_int_equal(chars_is(b, CHARS_NAME),
                         digit || (c >= 'a' && c <= 'z') || one_of(c, "-_."));
        assert_int_equal(chars_is(b, CHARS_QUOTED), value && c != '"' && c != '\\');
    }
}

/* The loops that take eight bytes at a time stop where the plain loop stops. */
static void test_fast_loops(void **state)
{
    UNUSED(state);
    for (unsigned c = 0; c < 256; c++) {
        for (size_t at = 0; at < 24; at++) {
            for (size_t from = 0; from < 9; from++) {
                char text[32];
                const char *end = text + 24;

                memset(text, c & 1 ? 0xff : '!', sizeof(text));
                text[at] = (char)c;
                assert_ptr_equal(chars_skip_value(text + from, end),
                                 chars_skip(text + from, end, CHARS_VALUE));
                assert_ptr_equal(chars_skip_target(text + from, end),
                                 chars_skip(text + from, end, CHARS_TARGET));
            }
        }
    }
}

static void test_words(void **state)
{
    UNUSED(state);
    assert_true(chars_is_token(SLICE("a")));
    assert_true(chars_is_token(SLICE("X-1!")));
    assert_false(chars_is_token(SLICE("")));
    assert_false(chars_is_token(SLICE_NONE));
    assert_false(chars_is_token(SLICE("a b")));
    assert_false(chars_is_token(SLICE("a\0")));
    assert_true(chars_is_value(SLICE("")));
    assert_true(chars_is_value(SLICE_NONE));
    assert_true(chars_is_value(SLICE("a \t\xff")));
    assert_false(chars_is_value(SLICE("a\n")));
    assert_false(chars_is_value(SLICE("\0")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_fast_loops),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
