/* SPDX-License-Identifier: MIT */
/* Source addresses: what is in a set, which come for a target and in which order, what is remembered as used up. */
#include "io/source.h"

#include "base/base.h"
#include "base/err.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct addr_range ranges[20];
static struct source_set set;

static struct addr address(const char *text)
{
    struct addr a;

    assert_int_equal(addr_parse_host(slice_str(text), 80, &a), 0);
    return a;
}

/* The set of those separated by blanks. */
static void given(const char *text)
{
    struct slice s = slice_str(text);

    set = (struct source_set){ranges, 0};
    while (s.n) {
        size_t n = slice_find(s, ' ');

        assert_int_equal(addr_range_parse(slice_of(s.p, n), &ranges[set.n++]), 0);
        s = slice_skip(s, min_size(n + 1, s.n));
    }
}

/* What comes for the target, separated by blanks; * stands behind those that may be anywhere. */
static void comes(const char *to, unsigned turn, const char *expected)
{
    struct addr target = address(to);
    struct source_walk w;
    struct dial_from from;
    char out[SOURCE_TRIES * (ADDR_TEXT_MAX + 2)] = "";

    source_walk_init(&w, &set, &target, turn);
    while (source_walk_next(&w, &from)) {
        char text[ADDR_TEXT_MAX];

        assert_int_equal(addr_port(&from.addr), 0);
        addr_host_text(&from.addr, text);
        if (out[0])
            strcat(out, " ");
        strcat(out, text);
        if (from.anywhere)
            strcat(out, "*");
    }
    assert_false(source_walk_next(&w, &from));
    assert_string_equal(out, expected);
}

static void test_in_turn(void **state)
{
    UNUSED(state);
    given("192.0.2.1 2001:db8::1 192.0.2.2 192.0.2.3");
    comes("198.51.100.1", 0, "192.0.2.1 192.0.2.2 192.0.2.3");
    comes("198.51.100.1", 1, "192.0.2.2 192.0.2.3 192.0.2.1");
    comes("198.51.100.1", 3, "192.0.2.1 192.0.2.2 192.0.2.3");
    comes("198.51.100.1", UINT32_MAX, "192.0.2.1 192.0.2.2 192.0.2.3");
    for (unsigned turn = 0; turn < 3; turn++)
        comes("2001:db8:1::1", turn, "2001:db8::1");
    given("192.0.2.1");
    comes("2001:db8:1::1", 5, "");
    given("");
    comes("192.0.2.9", 5, "");
}

static void test_mapped(void **state)
{
    struct addr to = address("192.0.2.9");
    struct source_walk w;
    struct dial_from from;

    UNUSED(state);
    given("192.0.2.1");
    addr_v6(&to, (const uint8_t[16]){[10] = 0xff, 0xff, 192, 0, 2, 9}, 80);
    assert_true(source_fits(&set, &to));
    source_walk_init(&w, &set, &to, 0);
    assert_true(source_walk_next(&w, &from));
    assert_int_equal(from.addr.sa.sa_family, AF_INET6);
    to = address("192.0.2.1");
    assert_true(addr_same_host(&from.addr, &to));
    assert_false(source_walk_next(&w, &from));
}

/* Inside the range, each only once, as many as it is worth, then the next item. */
static void ranges_come(const char *range, const char *to, unsigned n)
{
    struct addr target = address(to), seen[SOURCE_TRIES];
    struct source_walk w;
    struct dial_from from;
    unsigned got = 0;

    given(range);
    source_walk_init(&w, &set, &target, 0);
    for (; source_walk_next(&w, &from); got++) {
        assert_true(got < n);
        assert_true(from.anywhere);
        assert_true(addr_in_range(&from.addr, &ranges[0]));
        for (unsigned i = 0; i < got; i++)
            assert_false(addr_same_host(&seen[i], &from.addr));
        seen[got] = from.addr;
    }
    assert_int_equal(got, n);
}

static void test_ranges(void **state)
{
    UNUSED(state);
    for (int i = 0; i < 64; i++) {
        ranges_come("192.0.2.0/31", "192.0.2.9", 2);
        ranges_come("192.0.2.4/30", "192.0.2.9", 4);
        ranges_come("192.0.2.0/24", "192.0.2.9", SOURCE_RANGE_TRIES);
        ranges_come("0.0.0.0/0", "192.0.2.9", SOURCE_RANGE_TRIES);
        ranges_come("2001:db8::/127", "2001:db8::9", 2);
        ranges_come("2001:db8::/64", "2001:db8::9", SOURCE_RANGE_TRIES);
        ranges_come("::/0", "2001:db8::9", SOURCE_RANGE_TRIES);
    }
}

/* Every address of a range has its turn. */
static void test_random(void **state)
{
    struct addr to = address("192.0.2.9");
    unsigned seen[8] = {0};

    UNUSED(state);
    given("192.0.2.8/29");
    for (int i = 0; i < 400; i++) {
        struct source_walk w;
        struct dial_from from;

        source_walk_init(&w, &set, &to, 0);
        assert_true(source_walk_next(&w, &from));
        seen[ntohl(from.addr.in.sin_addr.s_addr) & 7]++;
    }
    for (int i = 0; i < 8; i++)
        assert_true(seen[i] > 0); /* 8 * (7/8)^400 is nothing */
}

static void test_bound(void **state)
{
    struct addr to = address("192.0.2.9");
    struct source_walk w;
    struct dial_from from;
    unsigned n = 0;

    UNUSED(state);
    given("10.0.0.0/8");
    for (set.n = 1; set.n < ARRAY_LEN(ranges); set.n++)
        ranges[set.n] = ranges[0];
    source_walk_init(&w, &set, &to, 3);
    while (source_walk_next(&w, &from))
        n++;
    assert_int_equal(n, SOURCE_TRIES);
}

static void test_allowed(void **state)
{
    struct addr none = {0}, a = address("192.0.2.1"), b = address("192.0.3.1");

    UNUSED(state);
    given("");
    assert_true(source_allowed(&set, &none));
    assert_false(source_allowed(&set, &a));
    assert_true(source_fits(&set, &a));
    given("2001:db8::/64 192.0.2.0/24");
    assert_false(source_allowed(&set, &none));
    assert_true(source_allowed(&set, &a));
    assert_false(source_allowed(&set, &b));
    a = address("2001:db8::7");
    assert_true(source_allowed(&set, &a) && source_fits(&set, &a));
    given("192.0.2.0/24");
    assert_false(source_allowed(&set, &a) || source_fits(&set, &a));
}

static void test_memory(void **state)
{
    static struct source_memory m;
    struct dial_from a = {.addr = address("192.0.2.1")}, b = {.addr = address("192.0.2.2")}, marked = a, nowhere = {.way = {.mark = 7}};
    struct addr to = address("198.51.100.1"), other = to;

    UNUSED(state);
    addr_set_port(&other, 81);
    assert_false(source_is_used_up(&m, &a, &to, 1000));
    assert_int_equal(source_used_up_until(1000, 0), 1000 + SOURCE_USED_UP_MS);
    assert_int_equal(source_used_up_until(1000, 10000), 1000 + 10 * SOURCE_USED_UP_TIMES);
    assert_int_equal(source_used_up_until(1000, 10000000), 1000 + SOURCE_USED_UP_MAX_MS);
    source_used_up(&m, &a, &to, 1000 + SOURCE_USED_UP_MS);
    assert_true(source_is_used_up(&m, &a, &to, 1000 + SOURCE_USED_UP_MS - 1));
    assert_false(source_is_used_up(&m, &a, &to, 1000 + SOURCE_USED_UP_MS));
    assert_false(source_is_used_up(&m, &b, &to, 1000));
    assert_false(source_is_used_up(&m, &a, &other, 1000));
    assert_false(source_is_used_up(&m, NULL, &to, 1000));
    source_used_up(&m, NULL, &to, 1001);
    assert_true(source_is_used_up(&m, NULL, &to, 1000));
    /* The ports of one way are not those of another. */
    marked.way.mark = 7;
    assert_false(source_is_used_up(&m, &marked, &to, 1000));
    assert_false(source_is_used_up(&m, &nowhere, &to, 1000));
    source_used_up(&m, &nowhere, &to, 1001);
    assert_true(source_is_used_up(&m, &nowhere, &to, 1000));
    strcpy(nowhere.way.interface, "eth0");
    assert_false(source_is_used_up(&m, &nowhere, &to, 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_turn), cmocka_unit_test(test_mapped),  cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_random),  cmocka_unit_test(test_bound),   cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
