/* SPDX-License-Identifier: MIT */
#include "base/date.h"

#include "base/base.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_http(uint64_t s, const char *expected)
{
    char out[DATE_HTTP_LEN + 1];

    date_http(s, out);
    assert_string_equal(out, expected);
    assert_int_equal(strlen(out), DATE_HTTP_LEN);
}

static void assert_iso(uint64_t ms, const char *expected)
{
    char out[DATE_ISO_LEN + 1];

    date_iso(ms, out);
    assert_string_equal(out, expected);
    assert_int_equal(strlen(out), DATE_ISO_LEN);
}

static void test_http(void **state)
{
    UNUSED(state);
    assert_http(0, "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_http(784111777, "Sun, 06 Nov 1994 08:49:37 GMT"); /* RFC 9110 5.6.7 */
    assert_http(951782400, "Tue, 29 Feb 2000 00:00:00 GMT"); /* a century that leaps */
    assert_http(951868799, "Tue, 29 Feb 2000 23:59:59 GMT");
    assert_http(951868800, "Wed, 01 Mar 2000 00:00:00 GMT");
    assert_http(1709164800, "Thu, 29 Feb 2024 00:00:00 GMT");
    assert_http(1735689599, "Tue, 31 Dec 2024 23:59:59 GMT");
    assert_http(1735689600, "Wed, 01 Jan 2025 00:00:00 GMT");
}

static void test_http_beyond_32_bits(void **state)
{
    UNUSED(state);
    assert_http(2147483647, "Tue, 19 Jan 2038 03:14:07 GMT");
    assert_http(2147483648, "Tue, 19 Jan 2038 03:14:08 GMT");
    assert_http(4294967296, "Sun, 07 Feb 2106 06:28:16 GMT");
    assert_http(4107542399, "Sun, 28 Feb 2100 23:59:59 GMT"); /* a century that does not */
    assert_http(4107542400, "Mon, 01 Mar 2100 00:00:00 GMT");
}

static void test_end_of_years(void **state)
{
    UNUSED(state);
    assert_http(253402300799, "Fri, 31 Dec 9999 23:59:59 GMT");
    assert_http(253402300800, "Fri, 31 Dec 9999 23:59:59 GMT");
    assert_http(UINT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT");
    assert_iso(UINT64_MAX, "9999-12-31T23:59:59.999Z");
}

static void test_iso(void **state)
{
    UNUSED(state);
    assert_iso(0, "1970-01-01T00:00:00.000Z");
    assert_iso(784111777123, "1994-11-06T08:49:37.123Z");
    assert_iso(1, "1970-01-01T00:00:00.001Z");
    assert_iso(253402300799999, "9999-12-31T23:59:59.999Z");
}

/* Every day for the 800 years that hold every kind of year, against the C library. */
static void test_every_day(void **state)
{
    UNUSED(state);
    for (int64_t day = 0; day < 800 * 366; day++) {
        time_t t = day * 86400 + day % 86400;
        char expected[64];
        struct tm tm;

        gmtime_r(&t, &tm);
        strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        assert_http((uint64_t)t, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http),         cmocka_unit_test(test_http_beyond_32_bits),
        cmocka_unit_test(test_end_of_years), cmocka_unit_test(test_iso),
        cmocka_unit_test(test_every_day),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
