/* SPDX-License-Identifier: MIT */
#include "base/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void test_eq(void **state)
{
    UNUSED(state);
    assert_true(slice_eq(SLICE_NONE, SLICE("")));
    assert_true(slice_eq(SLICE("ab"), slice_str("ab")));
    assert_false(slice_eq(SLICE("ab"), SLICE("aB")));
    assert_false(slice_eq(SLICE("ab"), SLICE("abc")));
    assert_int_equal(slice_str(NULL).n, 0);
}

static void test_eq_nocase(void **state)
{
    UNUSED(state);
    assert_true(slice_eq_nocase(SLICE("HoSt"), SLICE("hOsT")));
    assert_false(slice_eq_nocase(SLICE("host"), SLICE("hosts")));
    /* only letters fold: @ and `, [ and { differ by the same bit */
    assert_false(slice_eq_nocase(SLICE("@["), SLICE("`{")));
    assert_false(slice_eq_nocase(SLICE("\xc4"), SLICE("\xe4")));
}

static void test_trim(void **state)
{
    UNUSED(state);
    assert_true(slice_eq(slice_trim(SLICE(" \ta b\t ")), SLICE("a b")));
    assert_int_equal(slice_trim(SLICE(" \t ")).n, 0);
    assert_int_equal(slice_trim(SLICE_NONE).n, 0);
    /* VT, FF, CR and NBSP are no OWS */
    assert_int_equal(slice_trim(SLICE("\v\f\r\xa0")).n, 4);
}

static void test_find(void **state)
{
    UNUSED(state);
    assert_int_equal(slice_find(SLICE("abc"), 'a'), 0);
    assert_int_equal(slice_find(SLICE("abc"), 'c'), 2);
    assert_int_equal(slice_find(SLICE("abc"), 'x'), 3);
    assert_int_equal(slice_find(SLICE("a\0b"), '\0'), 1);
    assert_int_equal(slice_find(SLICE_NONE, 'x'), 0);
}

/* The items of `list`, each in angle brackets. */
static void assert_items(struct slice list, const char *expected)
{
    struct slice item;
    char got[256];
    size_t n = 0;

    while (slice_next_item(&list, &item)) {
        assert_true(n + item.n + 3 < sizeof(got));
        got[n++] = '<';
        memcpy(got + n, item.p, item.n);
        n += item.n;
        got[n++] = '>';
    }
    got[n] = '\0';
    assert_string_equal(got, expected);
    assert_int_equal(list.n, 0);
}

static void test_list_plain(void **state)
{
    UNUSED(state);
    assert_items(SLICE("a"), "<a>");
    assert_items(SLICE("a,b"), "<a><b>");
    assert_items(SLICE(" a , b\t,\tc d "), "<a><b><c d>");
}

static void test_list_empty_elements(void **state)
{
    UNUSED(state);
    assert_items(SLICE_NONE, "");
    assert_items(SLICE(""), "");
    assert_items(SLICE(" ,\t, ,"), "");
    assert_items(SLICE(",a,, ,b,"), "<a><b>");
}

static void test_list_quotes(void **state)
{
    UNUSED(state);
    assert_items(SLICE("a=\"x,y\", b"), "<a=\"x,y\"><b>");
    assert_items(SLICE("\"\\\",\", b"), "<\"\\\",\"><b>");
    assert_items(SLICE("\"\\\\\", b"), "<\"\\\\\"><b>");
    /* outside quotes a backslash is a byte as any other */
    assert_items(SLICE("a\\,b"), "<a\\><b>");
    /* what is never closed takes the rest, also with a backslash at the very end */
    assert_items(SLICE("a, \"b, c"), "<a><\"b, c>");
    assert_items(SLICE("a, \"b\\"), "<a><\"b\\>");
}

static void test_list_end_leaves_item(void **state)
{
    struct slice list = SLICE(" , "), item = SLICE("as it was");

    UNUSED(state);
    assert_false(slice_next_item(&list, &item));
    assert_true(slice_eq(item, SLICE("as it was")));
}

static void assert_lines(struct slice text, const char *expected)
{
    char all[256] = "";
    struct slice line;

    while (slice_next_line(&text, &line))
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "<" SLICE_FMT ">", SLICE_ARG(line));
    assert_string_equal(all, expected);
    assert_int_equal(text.n, 0);
}

static void test_lines(void **state)
{
    struct slice none = SLICE_NONE, line = SLICE("as it was");

    UNUSED(state);
    assert_lines(SLICE("a"), "<a>");
    assert_lines(SLICE("a\nb\n"), "<a><b>");
    assert_lines(SLICE("a\r\nb\r\n"), "<a><b>");
    assert_lines(SLICE("\n\na\n\n"), "<><><a><>");
    assert_lines(SLICE("\r\n"), "<>");
    /* only the CR before the end belongs to it, and one of them */
    assert_lines(SLICE("a\rb\r\r\nc\r"), "<a\rb\r><c>");
    assert_lines(SLICE(" a \n"), "< a >");
    assert_false(slice_next_line(&none, &line));
    assert_true(slice_eq(line, SLICE("as it was")));
}

static void test_hash(void **state)
{
    UNUSED(state);
    /* FNV-1a's own vectors */
    assert_true(slice_hash_nocase(SLICE("")) == 0x811c9dc5u);
    assert_true(slice_hash_nocase(SLICE("a")) == 0xe40c292cu);
    assert_true(slice_hash_nocase(SLICE("foobar")) == 0xbf9cf968u);
    assert_true(slice_hash_nocase(SLICE("FooBAR")) == 0xbf9cf968u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eq),          cmocka_unit_test(test_eq_nocase),
        cmocka_unit_test(test_trim),        cmocka_unit_test(test_find),
        cmocka_unit_test(test_list_plain),  cmocka_unit_test(test_list_empty_elements),
        cmocka_unit_test(test_list_quotes), cmocka_unit_test(test_list_end_leaves_item),
        cmocka_unit_test(test_lines),       cmocka_unit_test(test_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
