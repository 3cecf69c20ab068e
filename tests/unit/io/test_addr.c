/* SPDX-License-Identifier: MIT */
#include "io/addr.h"

#include "base/err.h"

#include <arpa/inet.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct addr parse(const char *text)
{
    struct addr a;

    assert_int_equal(addr_parse(slice_str(text), &a), 0);
    return a;
}

static struct addr host(const char *text)
{
    struct addr a;

    assert_int_equal(addr_parse_host(slice_str(text), 0, &a), 0);
    return a;
}

static void assert_text(const struct addr *a, const char *with_port, const char *without)
{
    char out[ADDR_TEXT_MAX];

    assert_int_equal(addr_text(a, out), strlen(with_port));
    assert_string_equal(out, with_port);
    assert_int_equal(addr_host_text(a, out), strlen(without));
    assert_string_equal(out, without);
}

static void test_bytes(void **state)
{
    const uint8_t four[4] = {192, 0, 2, 1}, six[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    struct addr a;

    UNUSED(state);
    addr_v4(&a, four, 80);
    assert_text(&a, "192.0.2.1:80", "192.0.2.1");
    assert_int_equal(addr_len(&a), sizeof(struct sockaddr_in));
    assert_int_equal(addr_port(&a), 80);
    addr_v6(&a, six, 65535);
    assert_text(&a, "[2001:db8::1]:65535", "2001:db8::1");
    assert_int_equal(addr_len(&a), sizeof(struct sockaddr_in6));
    assert_int_equal(addr_port(&a), 65535);
    addr_set_port(&a, 1);
    assert_text(&a, "[2001:db8::1]:1", "2001:db8::1");
}

static void test_longest_text(void **state)
{
    struct addr a = parse("[1234:1234:1234:1234:1234:1234:123.123.123.123]:65535");
    char out[ADDR_TEXT_MAX];

    UNUSED(state);
    assert_true(addr_text(&a, out) < ADDR_TEXT_MAX);
}

static void test_parse(void **state)
{
    struct addr a;

    UNUSED(state);
    a = parse("1.2.3.4:80");
    assert_text(&a, "1.2.3.4:80", "1.2.3.4");
    a = parse("[::1]:80");
    assert_text(&a, "[::1]:80", "::1");
    a = parse("0.0.0.0:0");
    assert_text(&a, "0.0.0.0:0", "0.0.0.0");
    a = parse("[::ffff:10.0.0.1]:3128");
    assert_text(&a, "[::ffff:10.0.0.1]:3128", "::ffff:10.0.0.1");
}

/* U2: short, octal and hexadecimal spellings are no addresses. */
static void test_parse_refused(void **state)
{
    static const char *const bad[] = {
        "",
        ":",
        ":80",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:x",
        "1.2.3.4:-1",
        "1.2.3:80",
        "01.2.3.4:80",
        "0x7f.1:80",
        "2130706433:80",
        "1.2.3.4.5:80",
        "256.1.1.1:80",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[::1:80",
        "[1.2.3.4:80",
        "[::1%lo]:80",
        "[]:80",
        "a:80",
        "1.2.3.4:80 ",
        " 1.2.3.4:80",
        "1.2.3.4:000080",
        "[::1]:",
        "[[::1]]:80",
        "1.2.3.4:80:80",
    };
    struct addr a, untouched;

    UNUSED(state);
    memset(&a, 0x55, sizeof(a));
    untouched = a;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(addr_parse(slice_str(bad[i]), &a), ERR_SYNTAX);
    assert_int_equal(addr_parse(slice_str("1.2.3.4:65536"), &a), ERR_RANGE);
    assert_int_equal(addr_parse(slice_of("1.2.3.4\0:80", 11), &a), ERR_SYNTAX);
    assert_int_equal(addr_parse(SLICE_NONE, &a), ERR_SYNTAX);
    assert_memory_equal(&a, &untouched, sizeof(a));
}

static void test_parse_host(void **state)
{
    static const char *const bad[] = {"",         "1.2.3",     "[]",     "[1.2.3.4]",
                                      "[::1",     "::1]",      "::1%lo", "1.2.3.4:80",
                                      "[::1]:80", "localhost", "::g",    "1::2::3"};
    struct addr a;

    UNUSED(state);
    a = host("1.2.3.4");
    assert_text(&a, "1.2.3.4:0", "1.2.3.4");
    a = host("2001:DB8::1");
    assert_text(&a, "[2001:db8::1]:0", "2001:db8::1");
    a = host("[2001:db8::1]");
    assert_text(&a, "[2001:db8::1]:0", "2001:db8::1");
    assert_int_equal(addr_parse_host(slice_str("1.2.3.4"), 53, &a), 0);
    assert_int_equal(addr_port(&a), 53);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(addr_parse_host(slice_str(bad[i]), 0, &a), ERR_SYNTAX);
}

static void test_equal(void **state)
{
    struct addr a = parse("1.2.3.4:80"), b = parse("1.2.3.4:81"), c = parse("1.2.3.5:80"),
                d = parse("[::1]:80"), e = parse("[::2]:80"), zero = parse("0.0.0.0:0"),
                any6 = parse("[::]:0");

    UNUSED(state);
    assert_true(addr_eq(&a, &a));
    assert_false(addr_eq(&a, &b));
    assert_true(addr_same_host(&a, &b));
    assert_false(addr_same_host(&a, &c));
    assert_true(addr_eq(&d, &d));
    assert_false(addr_same_host(&d, &e));
    assert_false(addr_same_host(&a, &d));
    assert_false(addr_same_host(&zero, &any6));
}

/* U2 */
static void test_equal_mapped(void **state)
{
    struct addr a = parse("1.2.3.4:80"), m = parse("[::ffff:1.2.3.4]:80"),
                n = parse("[::1.2.3.4]:80");

    UNUSED(state);
    assert_true(addr_eq(&a, &m));
    assert_true(addr_eq(&m, &a));
    assert_false(addr_same_host(&a, &n));
}

static void test_equal_scope(void **state)
{
    struct addr a = parse("[fe80::1]:80"), b = a;

    UNUSED(state);
    b.in6.sin6_scope_id = 2;
    assert_true(addr_same_host(&a, &a));
    assert_false(addr_same_host(&a, &b));
}

static void test_loopback_and_any(void **state)
{
    static const char *const loopback[] = {"127.0.0.1", "127.255.255.255", "::1",
                                           "::ffff:127.0.0.2"};
    static const char *const any[] = {"0.0.0.0", "::", "::ffff:0.0.0.0"};
    static const char *const neither[] = {"126.0.0.1", "128.0.0.1",   "0.0.0.1",
                                          "::2",       "::127.0.0.1", "7f::"};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(loopback); i++) {
        struct addr a = host(loopback[i]);

        assert_true(addr_is_loopback(&a));
        assert_false(addr_is_any(&a));
    }
    for (size_t i = 0; i < ARRAY_LEN(any); i++) {
        struct addr a = host(any[i]);

        assert_true(addr_is_any(&a));
        assert_false(addr_is_loopback(&a));
    }
    for (size_t i = 0; i < ARRAY_LEN(neither); i++) {
        struct addr a = host(neither[i]);

        assert_false(addr_is_any(&a));
        assert_false(addr_is_loopback(&a));
    }
}

static bool in_range(const char *addr, const char *range)
{
    struct addr a = host(addr);
    struct addr_range r;

    assert_int_equal(addr_range_parse(slice_str(range), &r), 0);
    return addr_in_range(&a, &r);
}

static void test_range(void **state)
{
    UNUSED(state);
    assert_true(in_range("10.0.0.0", "10.0.0.0/8"));
    assert_true(in_range("10.255.255.255", "10.0.0.0/8"));
    assert_false(in_range("11.0.0.0", "10.0.0.0/8"));
    assert_false(in_range("9.255.255.255", "10.0.0.0/8"));
    assert_true(in_range("1.2.3.4", "1.2.3.4"));
    assert_false(in_range("1.2.3.5", "1.2.3.4"));
    assert_true(in_range("1.2.3.5", "1.2.3.4/31"));
    assert_false(in_range("1.2.3.6", "1.2.3.4/31"));
    assert_true(in_range("172.31.255.255", "172.16.0.0/12"));
    assert_false(in_range("172.32.0.0", "172.16.0.0/12"));
    assert_true(in_range("255.255.255.255", "0.0.0.0/0"));
    assert_true(in_range("::1", "::1"));
    assert_true(in_range("::1", "::1/128"));
    assert_false(in_range("::2", "::1"));
    assert_true(in_range("fdff::1", "fd00::/8"));
    assert_false(in_range("fe00::1", "fd00::/8"));
    assert_true(in_range("febf::1", "fe80::/10"));
    assert_false(in_range("fec0::1", "fe80::/10"));
}

/* U2, U6: a mapped address is the IPv4 address, in ranges too, and "every IPv6 address" is not
 * "every address". */
static void test_range_mapped(void **state)
{
    UNUSED(state);
    assert_true(in_range("::ffff:10.1.2.3", "10.0.0.0/8"));
    assert_true(in_range("10.1.2.3", "::ffff:10.0.0.0/104"));
    assert_false(in_range("10.1.2.3", "::/0"));
    assert_false(in_range("::ffff:10.1.2.3", "::/0"));
    assert_false(in_range("::ffff:10.1.2.3", "::/64"));
    assert_true(in_range("2001:db8::1", "::/0"));
    assert_true(in_range("::ffff:10.1.2.3", "0.0.0.0/0"));
    assert_true(in_range("10.1.2.3", "::ffff:0:0/96"));
    assert_false(in_range("::10.1.2.3", "0.0.0.0/0"));
}

static void test_range_refused(void **state)
{
    static const char *const bad[] = {"",           "/",        "/8",           "10.0.0.0/",
                                      "10.0.0.0/x", "10/8",     "10.0.0.0/8/8", "10.0.0.0/-1",
                                      "[::1]/128",  "::1/0128", "a/8",          "10.0.0.0 /8"};
    static const char *const range[] = {"10.0.0.0/33", "::1/129",   "10.0.0.1/8", "10.0.0.1/31",
                                        "::1/0",       "fd00::1/8", "1.0.0.0/0",  "fe80::/8"};
    struct addr_range r;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(addr_range_parse(slice_str(bad[i]), &r), ERR_SYNTAX);
    for (size_t i = 0; i < ARRAY_LEN(range); i++)
        assert_int_equal(addr_range_parse(slice_str(range[i]), &r), ERR_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_longest_text),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_refused),
        cmocka_unit_test(test_parse_host),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_equal_mapped),
        cmocka_unit_test(test_equal_scope),
        cmocka_unit_test(test_loopback_and_any),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_range_mapped),
        cmocka_unit_test(test_range_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
