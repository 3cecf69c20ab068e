/* SPDX-License-Identifier: MIT */
#include "app/conf_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_char(const char *bytes, size_t n, size_t used, uint32_t expected)
{
    uint32_t c = 0;

    assert_int_equal(conf_text_char(slice_of(bytes, n), &c), used);
    assert_int_equal(c, expected);
}

/* RFC 3629 */
static void test_char(void **state)
{
    UNUSED(state);
    assert_char("a", 1, 1, 'a');
    assert_char("\0", 1, 1, 0);
    assert_char("\x7f", 1, 1, 0x7f);
    assert_char("\xc2\x80", 2, 2, 0x80);
    assert_char("\xdf\xbf", 2, 2, 0x7ff);
    assert_char("\xe0\xa0\x80", 3, 3, 0x800);
    assert_char("\xed\x9f\xbf", 3, 3, 0xd7ff);
    assert_char("\xee\x80\x80", 3, 3, 0xe000);
    assert_char("\xef\xbf\xbf", 3, 3, 0xffff);
    assert_char("\xf0\x90\x80\x80", 4, 4, 0x10000);
    assert_char("\xf4\x8f\xbf\xbf", 4, 4, 0x10ffff);
    assert_char("\xc3\xa9z", 3, 2, 0xe9);
}

static void test_no_char(void **state)
{
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc2",
        "\xc2z",
        "\xe0\x9f\xbf",
        "\xe0\xa0",
        "\xe0\xa0z",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x90\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xf8\x80\x80",
        "\xfe",
        "\xff",
        "",
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_char(bad[i], strlen(bad[i]), 0, 0);
}

static void test_printable(void **state)
{
    static const uint32_t good[] = {'\t', '\n', '\r', ' ', '~', 0x85, 0xa0, 0xfeff, 0x10ffff};
    static const uint32_t bad[] = {0, 7, 0x1b, 0x1f, 0x7f, 0x80, 0x84, 0x86, 0x9f, 0xfffe, 0xffff};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(conf_text_printable(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(conf_text_printable(bad[i]));
}

static void assert_escaped(const char *text, const char *expected, size_t expected_columns)
{
    char out[128];
    size_t columns;

    assert_int_equal(conf_text_escape(out, sizeof(out), slice_str(text), 100, &columns),
                     strlen(text));
    assert_string_equal(out, expected);
    assert_int_equal(columns, expected_columns);
}

static void test_escape(void **state)
{
    char out[8];
    size_t columns;

    UNUSED(state);
    assert_escaped("", "", 0);
    assert_escaped("plain \"text\"", "plain \"text\"", 12);
    assert_escaped("é€😀", "é€😀", 3);
    assert_escaped("a\tb\nc\r", "a\\tb\\nc\\r", 9);
    assert_escaped("\033[2J\x7f", "\\x1b[2J\\x7f", 11);
    assert_escaped("\xff\xc3(", "\\xff\\xc3(", 9);
    assert_escaped("\xc2\x9b", "\\u009b", 6);
    /* right-to-left override, zero width space, byte order mark */
    assert_escaped("\xe2\x80\xae\xe2\x80\x8b\xef\xbb\xbf", "\\u202e\\u200b\\ufeff", 18);

    assert_int_equal(conf_text_escape(out, sizeof(out), SLICE("abcdefghij"), 100, &columns), 7);
    assert_string_equal(out, "abcdefg");
    assert_int_equal(conf_text_escape(out, sizeof(out), SLICE("abcd\x01"), 100, &columns), 4);
    assert_int_equal(columns, 4);
    assert_int_equal(conf_text_escape(out, sizeof(out), SLICE("\xc3\xa9\xc3\xa9"), 1, &columns), 2);
    assert_int_equal(conf_text_escape(out, sizeof(out), slice_of("a\0b", 3), 100, &columns), 3);
    assert_string_equal(out, "a\\x00b");
}

static const char *guess(const char *word)
{
    static const char *const candidates[] = {"on",      "off",        "connect",
                                             "tunnel",  "half-close", "response",
                                             "clients", "via",        "proxy-protocol"};
    struct conf_text_guess g;

    conf_text_guess_init(&g, slice_str(word));
    for (size_t i = 0; i < ARRAY_LEN(candidates); i++)
        conf_text_guess_try(&g, candidates[i]);
    return g.best ? g.best : "";
}

static void test_guess(void **state)
{
    UNUSED(state);
    assert_string_equal(guess("conect"), "connect");
    assert_string_equal(guess("CONNECT"), "connect");
    assert_string_equal(guess("tunnle"), "tunnel");
    assert_string_equal(guess("half_close"), "half-close");
    assert_string_equal(guess("halfclose"), "half-close");
    assert_string_equal(guess("client"), "clients");
    assert_string_equal(guess("vai"), "via");
    assert_string_equal(guess("proxyprotokol"), "proxy-protocol");
    assert_string_equal(guess("of"), "off");
    assert_string_equal(guess("ON"), "on");
}

static void test_no_guess(void **state)
{
    UNUSED(state);
    assert_string_equal(guess(""), "");
    assert_string_equal(guess("x"), "");
    assert_string_equal(guess("listen"), "");
    assert_string_equal(guess("reponce-of-them"), "");
    assert_string_equal(guess("connectconnectconnectconnectconnect"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_char),      cmocka_unit_test(test_no_char),
        cmocka_unit_test(test_printable), cmocka_unit_test(test_escape),
        cmocka_unit_test(test_guess),     cmocka_unit_test(test_no_guess),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
