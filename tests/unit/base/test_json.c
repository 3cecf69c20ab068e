/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char out[4096];
static struct json j;

static int setup(void **state)
{
    UNUSED(state);
    json_init(&j, out, sizeof(out));
    return 0;
}

static void assert_written(const char *expected)
{
    assert_false(j.full);
    assert_int_equal(j.n, strlen(expected));
    assert_memory_equal(out, expected, j.n);
}

static void test_scalars(void **state)
{
    UNUSED(state);
    json_open(&j, '[');
    json_u64(&j, 0);
    json_u64(&j, UINT64_MAX);
    json_bool(&j, true);
    json_bool(&j, false);
    json_null(&j);
    json_str(&j, SLICE("s"));
    json_str(&j, SLICE_NONE);
    json_close(&j, ']');
    assert_written("[0,18446744073709551615,true,false,null,\"s\",\"\"]");
}

static void test_lone_value(void **state)
{
    UNUSED(state);
    json_str(&j, SLICE("alone"));
    assert_written("\"alone\"");
}

static void test_object(void **state)
{
    UNUSED(state);
    json_open(&j, '{');
    json_kstr(&j, "a", SLICE("x"));
    json_ku64(&j, "b", 1);
    json_kbool(&j, "c", false);
    json_key(&j, "d");
    json_null(&j);
    json_close(&j, '}');
    assert_written("{\"a\":\"x\",\"b\":1,\"c\":false,\"d\":null}");
}

static void test_nesting(void **state)
{
    UNUSED(state);
    json_open(&j, '{');
    json_key(&j, "a");
    json_open(&j, '[');
    json_open(&j, '{');
    json_close(&j, '}');
    json_open(&j, '[');
    json_u64(&j, 1);
    json_u64(&j, 2);
    json_close(&j, ']');
    json_close(&j, ']');
    json_ku64(&j, "b", 3);
    json_close(&j, '}');
    assert_written("{\"a\":[{},[1,2]],\"b\":3}");
}

static void test_deepest(void **state)
{
    UNUSED(state);
    for (int i = 0; i < JSON_DEPTH; i++)
        json_open(&j, '[');
    json_u64(&j, 1);
    for (int i = 0; i < JSON_DEPTH; i++)
        json_close(&j, ']');
    assert_written("[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]");
}

static void assert_escaped(struct slice s, const char *expected)
{
    json_init(&j, out, sizeof(out));
    json_str(&j, s);
    assert_true(j.n >= 2 && out[0] == '"' && out[j.n - 1] == '"');
    j.n--;
    assert_int_equal(j.n - 1, strlen(expected));
    assert_memory_equal(out + 1, expected, j.n - 1);
}

static void test_escapes(void **state)
{
    UNUSED(state);
    assert_escaped(SLICE("a\"b\\c/d"), "a\\\"b\\\\c/d");
    assert_escaped(SLICE("\b\f\n\r\t"), "\\b\\f\\n\\r\\t");
    assert_escaped(SLICE("\0\x01\x1f\x7f"), "\\u0000\\u0001\\u001f\\u007f");
    assert_escaped(SLICE("\x1b[31m"), "\\u001b[31m");
    assert_escaped(SLICE("\n"), "\\n");
    assert_escaped(SLICE("x\n\ny"), "x\\n\\ny");
}

static void test_valid_utf8(void **state)
{
    static const char *const good[] = {
        "gr\xc3\xbc\xc3\x9f", "\xc2\x80",         "\xdf\xbf",         "\xe0\xa0\x80",
        "\xed\x9f\xbf",       "\xee\x80\x80",     "\xef\xbf\xbf",     "\xe2\x82\xac",
        "\xf0\x90\x80\x80",   "\xf4\x8f\xbf\xbf", "\xf0\x9f\x98\x80",
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_escaped(slice_str(good[i]), good[i]);
}

static void test_invalid_utf8(void **state)
{
    static const struct {
        const char *in, *expected;
    } bad[] = {
        {"\x80", "\\u0080"},                                  /* a tail alone */
        {"\xff\xfe", "\\u00ff\\u00fe"},                       /* never valid */
        {"\xc0\xaf", "\\u00c0\\u00af"},                       /* overlong */
        {"\xc1\xbf", "\\u00c1\\u00bf"},                       /* overlong */
        {"\xe0\x9f\xbf", "\\u00e0\\u009f\\u00bf"},            /* overlong */
        {"\xf0\x8f\xbf\xbf", "\\u00f0\\u008f\\u00bf\\u00bf"}, /* overlong */
        {"\xed\xa0\x80", "\\u00ed\\u00a0\\u0080"},            /* a surrogate */
        {"\xf4\x90\x80\x80", "\\u00f4\\u0090\\u0080\\u0080"}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", "\\u00f5\\u0080\\u0080\\u0080"}, /* above U+10FFFF */
        {"\xc3", "\\u00c3"},                                  /* cut */
        {"\xe2\x82", "\\u00e2\\u0082"},                       /* cut */
        {"\xf0\x9f\x98", "\\u00f0\\u009f\\u0098"},            /* cut */
        {"\xc3(", "\\u00c3("},                                /* no tail */
        {"\xe2\x82\"", "\\u00e2\\u0082\\\""},                 /* must not swallow the quote */
        {"\xf0\x9f\x98\n", "\\u00f0\\u009f\\u0098\\n"},       /* nor the line end */
        {"a\xffg\xc3\xbc", "a\\u00ffg\xc3\xbc"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_escaped(slice_str(bad[i].in), bad[i].expected);
}

/* A cut character at the slice's end: what lies behind the slice must not complete it. */
static void test_utf8_ends_with_the_slice(void **state)
{
    UNUSED(state);
    assert_escaped(slice_of("\xc3\xbc", 1), "\\u00c3");
    assert_escaped(slice_of("\xf0\x9f\x98\x80", 3), "\\u00f0\\u009f\\u0098");
}

static void test_keys_are_escaped(void **state)
{
    UNUSED(state);
    json_open(&j, '{');
    json_ku64(&j, "a\"b", 1);
    json_close(&j, '}');
    assert_written("{\"a\\\"b\":1}");
}

static void write_sample(struct json *to)
{
    json_open(to, '{');
    json_kstr(to, "text", SLICE("line\nline \xff \xc3\xbc"));
    json_key(to, "list");
    json_open(to, '[');
    json_u64(to, 12345);
    json_bool(to, true);
    json_null(to);
    json_close(to, ']');
    json_close(to, '}');
}

/* Every buffer that is too small: full, a prefix, and not a byte past the end. */
static void test_full(void **state)
{
    char small[128];
    size_t need;

    UNUSED(state);
    write_sample(&j);
    need = j.n;
    assert_false(j.full);
    for (size_t cap = 0; cap <= need; cap++) {
        struct json k;

        memset(small, '#', sizeof(small));
        json_init(&k, small, cap);
        write_sample(&k);
        assert_true(k.full == (cap < need));
        assert_true(k.n <= cap);
        assert_memory_equal(small, out, k.n);
        for (size_t i = cap; i < sizeof(small); i++)
            assert_int_equal(small[i], '#');
    }
}

static void test_full_stays(void **state)
{
    char small[8];
    struct json k;

    UNUSED(state);
    json_init(&k, small, sizeof(small));
    json_open(&k, '[');
    json_str(&k, SLICE("much too long"));
    assert_true(k.full);
    json_u64(&k, 1); /* would fit, but not here */
    json_close(&k, ']');
    assert_true(k.full);
    assert_memory_equal(small, "[\"", 2);
    assert_int_equal(k.n, 2);
    json_init(&k, NULL, 0);
    json_str(&k, SLICE_NONE);
    assert_true(k.full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_scalars, setup),
        cmocka_unit_test_setup(test_lone_value, setup),
        cmocka_unit_test_setup(test_object, setup),
        cmocka_unit_test_setup(test_nesting, setup),
        cmocka_unit_test_setup(test_deepest, setup),
        cmocka_unit_test_setup(test_escapes, setup),
        cmocka_unit_test_setup(test_valid_utf8, setup),
        cmocka_unit_test_setup(test_invalid_utf8, setup),
        cmocka_unit_test_setup(test_utf8_ends_with_the_slice, setup),
        cmocka_unit_test_setup(test_keys_are_escaped, setup),
        cmocka_unit_test_setup(test_full, setup),
        cmocka_unit_test_setup(test_full_stays, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
