/* SPDX-License-Identifier: MIT */
#include "base/num.h"

#include "base/err.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { UNTOUCHED = 4711 };

typedef int (*parse_fn)(struct slice s, uint64_t max, uint64_t *ret_v);

static void assert_value(parse_fn f, const char *text, uint64_t max, uint64_t expected)
{
    uint64_t v = UNTOUCHED;

    assert_int_equal(f(slice_str(text), max, &v), 0);
    assert_true(v == expected);
}

static void assert_fails(parse_fn f, struct slice s, uint64_t max, int code)
{
    uint64_t v = UNTOUCHED;

    assert_int_equal(f(s, max, &v), code);
    assert_int_equal(v, UNTOUCHED);
}

static void test_dec(void **state)
{
    UNUSED(state);
    assert_value(num_dec, "0", UINT64_MAX, 0);
    assert_value(num_dec, "7", UINT64_MAX, 7);
    assert_value(num_dec, "8080", 65535, 8080);
    assert_value(num_dec, "0", 0, 0);
}

static void test_dec_leading_zeros(void **state)
{
    UNUSED(state);
    assert_value(num_dec, "007", 10, 7);
    assert_value(num_dec, "0000000000000000000000000000000000000000042", 42, 42);
}

/* FAILURES 5: an empty length is no length. */
static void test_dec_syntax(void **state)
{
    static const char *const bad[] = {"+1",       "-1", " 1",  "1 ",  "\t1", "1\r",
                                      "0x10",     "1a", "1.0", "1,2", "a",   "1_000",
                                      "\xd9\xa1", "/",  ":",   "1e3"};

    UNUSED(state);
    assert_fails(num_dec, SLICE_NONE, UINT64_MAX, ERR_SYNTAX);
    assert_fails(num_dec, SLICE(""), UINT64_MAX, ERR_SYNTAX);
    assert_fails(num_dec, SLICE("1\0"), UINT64_MAX, ERR_SYNTAX);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_fails(num_dec, slice_str(bad[i]), UINT64_MAX, ERR_SYNTAX);
    /* junk is junk, also behind too many digits */
    assert_fails(num_dec, SLICE("99999999999999999999999x"), UINT64_MAX, ERR_SYNTAX);
}

/* FAILURES 6: the width of a length. */
static void test_dec_range(void **state)
{
    UNUSED(state);
    assert_value(num_dec, "65535", 65535, 65535);
    assert_fails(num_dec, SLICE("65536"), 65535, ERR_RANGE);
    assert_fails(num_dec, SLICE("4294967376"), 65535, ERR_RANGE); /* 2^32 + 80 */
    assert_fails(num_dec, SLICE("1"), 0, ERR_RANGE);
    assert_value(num_dec, "18446744073709551615", UINT64_MAX, UINT64_MAX);
    assert_fails(num_dec, SLICE("18446744073709551616"), UINT64_MAX, ERR_RANGE);
    assert_fails(num_dec, SLICE("18446744073709551620"), UINT64_MAX, ERR_RANGE);
    assert_fails(num_dec, SLICE("18446744073709551696"), UINT64_MAX, ERR_RANGE); /* 2^64 + 80 */
    assert_fails(num_dec, SLICE("184467440737095516150"), UINT64_MAX, ERR_RANGE);
    assert_fails(num_dec, SLICE("99999999999999999999999999999999999999"), UINT64_MAX, ERR_RANGE);
}

/* Each limit with the numbers around it, so that neither edge is off by one. */
static void test_dec_limits(void **state)
{
    UNUSED(state);
    for (uint64_t max = 0; max < 300; max++)
        for (uint64_t v = 0; v < 310; v++) {
            char text[24];

            snprintf(text, sizeof(text), "%" PRIu64, v);
            if (v <= max)
                assert_value(num_dec, text, max, v);
            else
                assert_fails(num_dec, slice_str(text), max, ERR_RANGE);
        }
}

static void test_hex(void **state)
{
    UNUSED(state);
    assert_value(num_hex, "0", UINT64_MAX, 0);
    assert_value(num_hex, "fF", UINT64_MAX, 255);
    assert_value(num_hex, "000000000000000000001a", 26, 26);
    assert_value(num_hex, "ffffffffffffffff", UINT64_MAX, UINT64_MAX);
    assert_value(num_hex, "FFFFFFFFFFFFFFFF", UINT64_MAX, UINT64_MAX);
    assert_fails(num_hex, SLICE("10000000000000000"), UINT64_MAX, ERR_RANGE);
    assert_fails(num_hex, SLICE("fffffffffffffffff"), UINT64_MAX, ERR_RANGE);
    assert_fails(num_hex, SLICE("100000005"), UINT32_MAX, ERR_RANGE);
}

static void test_hex_syntax(void **state)
{
    static const char *const bad[] = {"",   "0x1", "g", "-1", "+a", " a",
                                      "a ", "1;",  "@", "`",  "G",  "1\n"};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_fails(num_hex, slice_str(bad[i]), UINT64_MAX, ERR_SYNTAX);
}

static void test_put(void **state)
{
    char p[20], q[16];

    UNUSED(state);
    assert_int_equal(num_put_dec(p, 0), 1);
    assert_memory_equal(p, "0", 1);
    assert_int_equal(num_put_dec(p, UINT64_MAX), 20);
    assert_memory_equal(p, "18446744073709551615", 20);
    assert_int_equal(num_put_hex(q, 0), 1);
    assert_memory_equal(q, "0", 1);
    assert_int_equal(num_put_hex(q, 0xbeef), 4);
    assert_memory_equal(q, "beef", 4);
    assert_int_equal(num_put_hex(q, UINT64_MAX), 16);
    assert_memory_equal(q, "ffffffffffffffff", 16);
}

static void test_put_lengths(void **state)
{
    char text[24], got[24];

    UNUSED(state);
    for (uint64_t tens = 1, i = 1; i < 20; i++, tens *= 10)
        for (uint64_t v = tens == 1 ? 1 : tens - 1; v <= tens + 1; v++) {
            size_t n = num_put_dec(got, v);

            assert_int_equal(n, (size_t)sprintf(text, "%llu", (unsigned long long)v));
            assert_memory_equal(got, text, n);
        }
}

static void test_there_and_back(void **state)
{
    UNUSED(state);
    srand(3);
    for (int i = 0; i < 20000; i++) {
        uint64_t v =
            ((uint64_t)rand() << 40 ^ (uint64_t)rand() << 20 ^ (uint64_t)rand()) >> rand() % 64;
        uint64_t got;
        char p[20];

        assert_int_equal(num_dec(slice_of(p, num_put_dec(p, v)), v, &got), 0);
        assert_true(got == v);
        assert_int_equal(num_hex(slice_of(p, num_put_hex(p, v)), v, &got), 0);
        assert_true(got == v);
        if (v)
            assert_int_equal(num_hex(slice_of(p, num_put_hex(p, v)), v - 1, &got), ERR_RANGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dec),
        cmocka_unit_test(test_dec_leading_zeros),
        cmocka_unit_test(test_dec_syntax),
        cmocka_unit_test(test_dec_range),
        cmocka_unit_test(test_dec_limits),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_hex_syntax),
        cmocka_unit_test(test_put),
        cmocka_unit_test(test_put_lengths), cmocka_unit_test(test_there_and_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
