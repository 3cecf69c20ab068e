/* SPDX-License-Identifier: MIT */
#include "app/conf_value.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { UNTOUCHED = 4711 };

typedef int (*amount_fn)(struct slice s, uint64_t *ret_v);

static void assert_amount(amount_fn f, const char *text, uint64_t expected)
{
    uint64_t v = UNTOUCHED;

    assert_int_equal(f(slice_str(text), &v), 0);
    assert_true(v == expected);
}

static void assert_fails(amount_fn f, const char *text, int code)
{
    uint64_t v = UNTOUCHED;

    assert_int_equal(f(slice_str(text), &v), code);
    assert_int_equal(v, UNTOUCHED);
}

static void test_durations(void **state)
{
    static const char *const bad[] = {"",    "10",  "s",    "ms",   "-1s",  "+1s",
                                      " 1s", "1s ", "1 s",  "1S",   "1.5h", "1h30m",
                                      "1w",  "1us", "0x1s", "1,5s", "1mss", "1M"};

    UNUSED(state);
    assert_amount(conf_value_duration, "500ms", 500);
    assert_amount(conf_value_duration, "10s", 10000);
    assert_amount(conf_value_duration, "5m", 300000);
    assert_amount(conf_value_duration, "1h", 3600000);
    assert_amount(conf_value_duration, "7d", 604800000);
    assert_amount(conf_value_duration, "0s", 0);
    assert_amount(conf_value_duration, "007s", 7000);
    assert_amount(conf_value_duration, "18446744073709551615ms", UINT64_MAX);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_fails(conf_value_duration, bad[i], ERR_SYNTAX);
    assert_fails(conf_value_duration, "18446744073709551616ms", ERR_RANGE);
    assert_fails(conf_value_duration, "18446744073709552s", ERR_RANGE);
    assert_fails(conf_value_duration, "99999999999999999999999d", ERR_RANGE);
}

static void test_sizes(void **state)
{
    static const char *const bad[] = {"",    "KB",   "16kb", "16K",  "16KiB", "1.5MB",
                                      "-1B", "1 KB", "1TB",  "0x10", "1B1",   "1KBKB"};

    UNUSED(state);
    assert_amount(conf_value_size, "0", 0);
    assert_amount(conf_value_size, "512", 512);
    assert_amount(conf_value_size, "512B", 512);
    assert_amount(conf_value_size, "16KB", 16384);
    assert_amount(conf_value_size, "20MB", 20971520);
    assert_amount(conf_value_size, "1GB", 1073741824);
    assert_amount(conf_value_size, "17179869183GB", UINT64_MAX - 1073741823);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_fails(conf_value_size, bad[i], ERR_SYNTAX);
    assert_fails(conf_value_size, "17179869184GB", ERR_RANGE);
    assert_fails(conf_value_size, "18446744073709551616", ERR_RANGE);
}

static void test_switches(void **state)
{
    static const char *const on[] = {"on", "yes", "true"};
    static const char *const off[] = {"off", "no", "false"};
    static const char *const bad[] = {"", "On", "YES", "y", "1", "0", "onn", "enable"};
    bool v;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(on); i++) {
        assert_int_equal(conf_value_switch(slice_str(on[i]), &v), 0);
        assert_true(v);
        assert_int_equal(conf_value_switch(slice_str(off[i]), &v), 0);
        assert_false(v);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(conf_value_switch(slice_str(bad[i]), &v), ERR_SYNTAX);
}

/* RFC 9110 5.6.2 */
static void test_tokens(void **state)
{
    UNUSED(state);
    assert_true(conf_value_is_token(SLICE("a")));
    assert_true(conf_value_is_token(SLICE("azAZ09!#$%&'*+-.^_`|~")));
    assert_false(conf_value_is_token(SLICE("")));
    for (int c = 0; c < 256; c++) {
        char s[2] = {'a', (char)c};
        bool tchar = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c && strchr("!#$%&'*+-.^_`|~", c));

        assert_int_equal(conf_value_is_token(slice_of(s, 2)), tchar);
    }
}

static void assert_text(enum option_type type, uint64_t v, const char *expected)
{
    char out[CONF_VALUE_TEXT];

    conf_value_text(type, v, out);
    assert_string_equal(out, expected);
}

static void test_text(void **state)
{
    UNUSED(state);
    assert_text(OPTION_DURATION, 0, "0s");
    assert_text(OPTION_DURATION, 1, "1ms");
    assert_text(OPTION_DURATION, 1500, "1500ms");
    assert_text(OPTION_DURATION, 90000, "90s");
    assert_text(OPTION_DURATION, 3600000, "1h");
    assert_text(OPTION_DURATION, UINT64_MAX, "18446744073709551615ms");
    assert_text(OPTION_SIZE, 0, "0B");
    assert_text(OPTION_SIZE, 1000, "1000B");
    assert_text(OPTION_SIZE, 65536, "64KB");
    assert_text(OPTION_SIZE, 3u << 30, "3GB");
    assert_text(OPTION_COUNT, 200, "200");
    assert_text(OPTION_RATE, 1024, "1KB/s");
    assert_text(OPTION_RATE, 1500, "1500B/s");
}

static void test_ports(void **state)
{
    static const char *const bad[] = {"",   "-",  "0",     "0-5",    "5-4",     "65536",
                                      "1-", "-1", "1-2-3", "80,443", "1-65536", " 80"};
    uint16_t first, last;

    UNUSED(state);
    assert_int_equal(conf_value_ports(SLICE("443"), &first, &last), 0);
    assert_true(first == 443 && last == 443);
    assert_int_equal(conf_value_ports(SLICE("1-65535"), &first, &last), 0);
    assert_true(first == 1 && last == 65535);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(conf_value_ports(slice_str(bad[i]), &first, &last) < 0);
}

static void test_every(void **state)
{
    uint64_t ms;

    UNUSED(state);
    assert_int_equal(conf_value_every(SLICE("every 5m"), &ms), 0);
    assert_true(ms == 300000);
    assert_int_equal(conf_value_every(SLICE("every  1s"), &ms), 0);
    assert_true(ms == 1000);
    assert_true(conf_value_every(SLICE("every"), &ms) < 0);
    assert_true(conf_value_every(SLICE("every "), &ms) < 0);
    assert_true(conf_value_every(SLICE("every5m"), &ms) < 0);
    assert_true(conf_value_every(SLICE("every 5"), &ms) < 0);
}

/* What the kinds with a grammar of their own take, and what not. */
static void test_kinds(void **state)
{
    static const struct {
        enum option_type type;
        const char *good[6], *bad[10];
    } cases[] = {
        {OPTION_RATE, {"50/s", "1/s"}, {"50", "50/m", "/s", "20MB/s", "0/s", "50/s/s"}},
        {OPTION_QUOTA,
         {"500GB/month", "1/day", "1KB/hour", "2MB/week"},
         {"500GB", "500GB/year", "/day", "0/day"}},
        {OPTION_FILE, {"a", "/a/b", "./a", "a b"}, {"", "a/", "a\nb"}},
        {OPTION_PATTERN, {"a", "t/*.yaml", "/a/[b]?"}, {"", "t/", "*/a", "a[b]/c"}},
        {OPTION_URL,
         {"http://a/", "https://a:1/b?c", "http://[::1]/", "http://1.2.3.4"},
         {"a", "ftp://a/", "http://", "http:///a", "http://a b/", "http://a:b/", "http://a:0/",
          "http://u@a/"}},
        {OPTION_SERVER, {"192.0.2.1", "::1", "[::1]:53", "192.0.2.1:1"}, {"a", "192.0.2.1:0", ""}},
        {OPTION_CONTROL, {"unix:", "unix:/a"}, {"/a", "unix:a", "unix:/", "unix:/a/"}},
        {OPTION_SINK,
         {"/a", "syslog:/a", "syslog:1.2.3.4:514", "syslog:[::1]:514"},
         {"a", "/", "/a/", "syslog:", "syslog:a", "syslog:1.2.3.4", "syslog:1.2.3.4:0", ""}},
        {OPTION_PATH, {"/", "/a", "/a/b.c"}, {"", "a", "/a?b", "/a#b", "/a b", "/a\n"}},
        {OPTION_METHOD, {"GET", "M-SEARCH"}, {"", "get", "GET ", "Get", "A,B"}},
        {OPTION_LISTENER, {"a", "a-1"}, {"", "a b"}},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct conf_kind k = {.key = "k", .type = cases[i].type};

        for (size_t j = 0; j < ARRAY_LEN(cases[i].good) && cases[i].good[j]; j++)
            assert_int_equal(conf_value_check(&k, slice_str(cases[i].good[j])), 0);
        for (size_t j = 0; j < ARRAY_LEN(cases[i].bad) && cases[i].bad[j]; j++)
            assert_true(conf_value_check(&k, slice_str(cases[i].bad[j])) < 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ports),  cmocka_unit_test(test_every),
        cmocka_unit_test(test_kinds),  cmocka_unit_test(test_durations),
        cmocka_unit_test(test_sizes),  cmocka_unit_test(test_switches),
        cmocka_unit_test(test_tokens), cmocka_unit_test(test_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
