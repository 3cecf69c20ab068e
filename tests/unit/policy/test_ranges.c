/* SPDX-License-Identifier: MIT */
/* A set of ranges (U6, U7): it says what looking through all ranges says, at every edge and for
 * both families. */
#include "policy/ranges.h"

#include "base/base.h"
#include "base/err.h"
#include "support/memfail.h"

#include "random.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MOST = 64 };

static struct addr address(const char *text)
{
    struct addr a;

    if (addr_parse_host(slice_str(text), 80, &a) < 0)
        fail_msg("no address: %s", text);
    return a;
}

static struct addr_range range(const char *text)
{
    struct addr_range r;

    if (addr_range_parse(slice_str(text), &r) < 0)
        fail_msg("no range: %s", text);
    return r;
}

/* The set of the ranges in a text: "10.0.0.0/8 ::1". */
static struct ranges build(const char *text)
{
    struct addr_range v[MOST];
    struct ranges set = {0};
    size_t n = 0;
    char copy[1024], *save = NULL;

    snprintf(copy, sizeof(copy), "%s", text);
    for (char *p = strtok_r(copy, " ", &save); p; p = strtok_r(NULL, " ", &save))
        v[n++] = range(p);
    assert_int_equal(ranges_build(v, n, &set), 0);
    return set;
}

static void expect(const char *set_text, const char *in, const char *out)
{
    struct ranges set = build(set_text);
    char copy[1024], *save = NULL;

    for (unsigned want = 0; want < 2; want++) {
        snprintf(copy, sizeof(copy), "%s", want ? in : out);
        for (char *p = strtok_r(copy, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
            struct addr a = address(p);

            if (ranges_has(&set, &a) != want)
                fail_msg("%s is %s of {%s}", p, want ? "out" : "inside", set_text);
        }
    }
    ranges_done(&set);
}

/* ---- basic ---- */

static void test_empty(void **state)
{
    struct ranges zeroed = {0}, none = {0};
    struct addr a = address("0.0.0.0"), b = address("::");

    UNUSED(state);
    assert_int_equal(ranges_build(NULL, 0, &none), 0);
    assert_true(ranges_empty(&none));
    assert_true(ranges_empty(&zeroed));
    assert_false(ranges_has(&none, &a));
    assert_false(ranges_has(&none, &b));
    assert_false(ranges_has(&zeroed, &a));
    ranges_done(&none);
    ranges_done(&zeroed);
}

static void test_done_leaves_an_empty_set(void **state)
{
    struct ranges set = build("10.0.0.0/8 fd00::/8");
    struct addr a = address("10.0.0.1");

    UNUSED(state);
    assert_false(ranges_empty(&set));
    assert_true(ranges_has(&set, &a));
    ranges_done(&set);
    assert_true(ranges_empty(&set));
    assert_false(ranges_has(&set, &a));
    ranges_done(&set);
}

static void test_one_v4(void **state)
{
    UNUSED(state);
    expect("10.0.0.0/8", "10.0.0.0 10.1.2.3 10.255.255.255",
           "9.255.255.255 11.0.0.0 0.0.0.0 255.255.255.255 ::1 ::");
    expect("192.0.2.7", "192.0.2.7", "192.0.2.6 192.0.2.8");
    expect("192.0.2.7/32", "192.0.2.7", "192.0.2.6 192.0.2.8");
    expect("192.0.2.6/31", "192.0.2.6 192.0.2.7", "192.0.2.5 192.0.2.8");
    expect("128.0.0.0/1", "128.0.0.0 255.255.255.255", "127.255.255.255 0.0.0.0");
}

static void test_one_v6(void **state)
{
    UNUSED(state);
    expect("fd00::/8", "fd00:: fd12::1 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
           "fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff fe00:: :: 253.0.0.0");
    expect("2001:db8::7", "2001:db8::7", "2001:db8::6 2001:db8::8");
    expect("2001:db8::7/128", "2001:db8::7", "2001:db8::6 2001:db8::8");
    /* on both sides of the middle of an address */
    expect("2001:db8:0:1::/64", "2001:db8:0:1:: 2001:db8:0:1:ffff:ffff:ffff:ffff",
           "2001:db8:0:0:ffff:ffff:ffff:ffff 2001:db8:0:2::");
    expect("2001:db8:0:2::/63", "2001:db8:0:2:: 2001:db8:0:3:ffff:ffff:ffff:ffff",
           "2001:db8:0:1:ffff:ffff:ffff:ffff 2001:db8:0:4::");
    expect("2001:db8:0:1:8000::/65", "2001:db8:0:1:8000:: 2001:db8:0:1:ffff:ffff:ffff:ffff",
           "2001:db8:0:1:7fff:ffff:ffff:ffff 2001:db8:0:2::");
}

static void test_edges_of_the_families(void **state)
{
    static const char all6[] = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    char text[128];

    UNUSED(state);
    expect("0.0.0.0/0", "0.0.0.0 255.255.255.255 127.0.0.1 ::ffff:0.0.0.0 ::ffff:255.255.255.255",
           ":: ::1 ::127.0.0.1");
    snprintf(text, sizeof(text), ":: ::1 %s ::fffe:ffff:ffff ::1:0:0:0", all6);
    expect("::/0", text, "0.0.0.0 255.255.255.255 ::ffff:1.2.3.4");
    expect("0.0.0.0", "0.0.0.0 ::ffff:0:0", "0.0.0.1 255.255.255.255 ::");
    expect("255.255.255.255", "255.255.255.255", "255.255.255.254 0.0.0.0");
    expect("::", "::", "::1 0.0.0.0");
    snprintf(text, sizeof(text), "%s/128", all6);
    expect(text, all6, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe :: 255.255.255.255");
    expect("::/0 0.0.0.0/0", "0.0.0.0 ::ffff:1.2.3.4 255.255.255.255 :: ::1 fe80::1", "");
}

/* However an IPv4 address or range is spelled, it is the same (U2). */
static void test_mapped(void **state)
{
    UNUSED(state);
    expect("10.0.0.0/8", "::ffff:10.1.2.3 ::ffff:a01:203",
           "::ffff:11.1.2.3 ::10.1.2.3 ::fffe:10.1.2.3");
    expect("::ffff:10.0.0.0/104", "10.1.2.3 ::ffff:10.1.2.3", "11.0.0.0 ::10.1.2.3");
    expect("::ffff:0:0/96", "0.0.0.0 255.255.255.255 ::ffff:1.2.3.4",
           "::fffe:ffff:ffff ::1:0:0:0 ::1");
    /* around the mapped addresses, but not they */
    expect("::fffe:0:0/95", "::fffe:0:0 ::fffe:ffff:ffff", "::ffff:0:0 1.2.3.4 ::1:0:0:0");
}

/* Who has no address is nowhere, not even in everything. */
static void test_no_address(void **state)
{
    struct ranges set = build("::/0 0.0.0.0/0");
    struct addr a = {0};

    UNUSED(state);
    a.sa.sa_family = AF_UNIX;
    assert_false(ranges_has(&set, &a));
    a.sa.sa_family = AF_UNSPEC;
    assert_false(ranges_has(&set, &a));
    a = address("::");
    assert_true(ranges_has(&set, &a));
    ranges_done(&set);
}

static void test_the_port_does_not_matter(void **state)
{
    struct ranges set = build("192.0.2.7 2001:db8::7");
    struct addr a = address("192.0.2.7"), b = address("2001:db8::7");

    UNUSED(state);
    for (unsigned port = 0; port <= UINT16_MAX; port += UINT16_MAX) {
        addr_set_port(&a, (uint16_t)port);
        addr_set_port(&b, (uint16_t)port);
        assert_true(ranges_has(&set, &a));
        assert_true(ranges_has(&set, &b));
    }
    ranges_done(&set);
}

/* ---- merging ---- */

static void expect_merged(const char *text, size_t n4, size_t n6)
{
    struct ranges set = build(text);

    if (set.n4 != n4 || set.n6 != n6)
        fail_msg("{%s} becomes %zu and %zu", text, set.n4, set.n6);
    ranges_done(&set);
}

static void test_merges(void **state)
{
    UNUSED(state);
    /* twice, inside, beside, in any order */
    expect_merged("10.0.0.0/8 10.0.0.0/8", 1, 0);
    expect_merged("10.1.0.0/16 10.0.0.0/8 10.2.3.4", 1, 0);
    expect_merged("10.0.0.0/8 11.0.0.0/8", 1, 0);
    expect_merged("11.0.0.0/8 10.0.0.0/8", 1, 0);
    expect_merged("10.0.0.0/8 12.0.0.0/8", 2, 0);
    expect_merged("12.0.0.0/8 10.0.0.0/8 11.0.0.0/8", 1, 0);
    expect_merged("192.0.2.1 192.0.2.3 192.0.2.2", 1, 0);
    expect_merged("192.0.2.1 192.0.2.3", 2, 0);
    expect_merged("0.0.0.0/1 128.0.0.0/1", 1, 0);
    expect_merged("255.255.255.255 255.255.255.254 0.0.0.0", 2, 0);
    expect_merged("0.0.0.0/0 255.255.255.255 128.0.0.0/1", 1, 0);
    expect_merged("fd00::/8 fd00::/8 fd12::/16", 0, 1);
    expect_merged("2001:db8::/33 2001:db8:8000::/33", 0, 1);
    expect_merged("2001:db8::/128 2001:db8::1", 0, 1);
    expect_merged("2001:db8::/128 2001:db8::2", 0, 2);
    /* the carry between the halves */
    expect_merged("2001:db8::ffff:ffff:ffff:ffff 2001:db8:0:1::", 0, 1);
    expect_merged("2001:db8::ffff:ffff:ffff:ffff 2001:db8:0:1::1", 0, 2);
    expect_merged("::/1 8000::/1", 0, 1);
    expect_merged("::/0 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 8000::/1 ::", 0, 1);
    /* the families never touch */
    expect_merged("255.255.255.255 ::1:0:0:0 ::fffe:ffff:ffff 0.0.0.0", 2, 2);
    expect_merged("0.0.0.0/0 ::/0", 1, 1);
}

static void test_merged_still_has_holes(void **state)
{
    UNUSED(state);
    expect("10.0.0.0/24 10.0.2.0/24 10.0.4.0/24", "10.0.0.255 10.0.2.0 10.0.2.255 10.0.4.0",
           "10.0.1.0 10.0.1.255 10.0.3.0 10.0.3.255 10.0.5.0 9.255.255.255");
    expect("2001:db8::/64 2001:db8:0:2::/64", "2001:db8::ffff:ffff:ffff:ffff 2001:db8:0:2::",
           "2001:db8:0:1:: 2001:db8:0:1:ffff:ffff:ffff:ffff 2001:db8:0:3::");
    /* a short range behind a long one must not end it */
    expect("10.0.0.0/8 10.0.0.0/24 10.0.1.1", "10.0.2.1 10.255.255.255", "11.0.0.0");
    expect("fd00::/8 fd00::/64 fd00::1", "fd00:0:0:1:: fdff::", "fe00::");
}

static void test_the_source_is_left_alone(void **state)
{
    struct addr_range v[] = {range("11.0.0.0/8"), range("10.0.0.0/8"), range("::1")},
                      before[ARRAY_LEN(v)];
    struct ranges set;

    UNUSED(state);
    memcpy(before, v, sizeof(v));
    assert_int_equal(ranges_build(v, ARRAY_LEN(v), &set), 0);
    assert_memory_equal(before, v, sizeof(v));
    ranges_done(&set);
}

/* ---- against the naive way ---- */

/* The upper `bits` (0..64) of a half. */
static uint64_t upper_bits(unsigned bits)
{
    return bits ? UINT64_MAX << (64 - bits) : 0;
}

/* Close together, so that ranges touch, overlap and lie inside one another: IPv4
 * within 10.0.0.0/20, IPv6 around the places where the halves of an address meet, and rarely
 * something large. */
static struct addr_range random_range(uint64_t *seed, bool v4)
{
    struct addr_range r = {.v4 = v4};
    unsigned bits, wide = random_below(seed, 20) == 0;

    if (v4) {
        bits = 96 + (wide ? random_below(seed, 33) : 22 + random_below(seed, 11));
        r.lo = 0xffff0a000000u | random_below(seed, 0x1000);
    } else {
        bits = wide ? random_below(seed, 129) : 61 + random_below(seed, 68);
        r.hi = 0x20010db800000000u | random_below(seed, 4);
        r.lo =
            random_below(seed, 2) ? random_below(seed, 256) : UINT64_MAX - random_below(seed, 256);
    }
    r.mask_hi = upper_bits(bits < 64 ? bits : 64);
    r.mask_lo = upper_bits(bits > 64 ? bits - 64 : 0);
    r.hi &= r.mask_hi;
    r.lo &= r.mask_lo;
    return r;
}

static struct addr make_address(uint64_t hi, uint64_t lo)
{
    uint8_t bytes[16];
    struct addr a;

    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(hi >> (56 - 8 * i));
        bytes[8 + i] = (uint8_t)(lo >> (56 - 8 * i));
    }
    addr_v6(&a, bytes, 80);
    return a;
}

static bool naive(const struct addr_range *v, size_t n, const struct addr *a)
{
    for (size_t i = 0; i < n; i++)
        if (addr_in_range(a, &v[i]))
            return true;
    return false;
}

static void same_as_naive(const struct ranges *set, const struct addr_range *v, size_t n,
                          uint64_t hi, uint64_t lo)
{
    struct addr a = make_address(hi, lo);
    char text[ADDR_TEXT_MAX];

    if (ranges_has(set, &a) == naive(v, n, &a))
        return;
    addr_host_text(&a, text);
    fail_msg("%s of %zu ranges", text, n);
}

/* Both ends of a range, and the addresses before and behind it. */
static void try_edges(const struct ranges *set, const struct addr_range *v, size_t n,
                      const struct addr_range *r)
{
    uint64_t last_hi = r->hi | ~r->mask_hi, last_lo = r->lo | ~r->mask_lo;

    same_as_naive(set, v, n, r->hi, r->lo);
    same_as_naive(set, v, n, r->hi - (r->lo == 0), r->lo - 1);
    same_as_naive(set, v, n, last_hi, last_lo);
    same_as_naive(set, v, n, last_hi + (last_lo == UINT64_MAX), last_lo + 1);
}

static void is_canonical(const struct ranges *set)
{
    for (size_t i = 0; i < set->n4; i++) {
        assert_true(set->v4[i].first <= set->v4[i].last);
        if (i)
            assert_true((uint64_t)set->v4[i - 1].last + 1 < set->v4[i].first);
    }
    for (size_t i = 1; i < set->n6; i++) {
        const struct ranges_v6 *a = &set->v6[i - 1], *b = &set->v6[i];
        unsigned __int128 last = (unsigned __int128)a->last_hi << 64 | a->last_lo;
        unsigned __int128 first = (unsigned __int128)b->first_hi << 64 | b->first_lo;

        assert_true(last + 1 < first);
    }
}

static void test_same_as_looking_through_all(void **state)
{
    uint64_t seed = 7;

    UNUSED(state);
    for (unsigned round = 0; round < 400; round++) {
        struct addr_range v[MOST];
        size_t n = 1 + random_below(&seed, MOST);
        struct ranges set;

        for (size_t i = 0; i < n; i++)
            v[i] = random_range(&seed, random_below(&seed, 2));
        assert_int_equal(ranges_build(v, n, &set), 0);
        is_canonical(&set);
        for (size_t i = 0; i < n; i++)
            try_edges(&set, v, n, &v[i]);
        for (unsigned i = 0; i < 64; i++) {
            struct addr_range any = random_range(&seed, i % 2);

            same_as_naive(&set, v, n, any.hi, any.lo | (random_next(&seed) & 0xfff));
        }
        ranges_done(&set);
    }
}

/* ---- memory ---- */

static void test_refused_memory(void **state)
{
    struct addr_range v[] = {range("10.0.0.0/8"), range("10.1.0.0/16"), range("::1"), range("::1"),
                             range("fd00::/8")};
    struct ranges before = {.n4 = 7};
    struct addr in = address("10.1.2.3"), in6 = address("::1");
    unsigned refused = 0;

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct ranges set = before;
        int r = ranges_build(v, ARRAY_LEN(v), &set);

        /* Only giving memory back may be refused without harm. */
        if (r < 0) {
            assert_int_equal(r, ERR_NOMEM);
            assert_memory_equal(&set, &before, sizeof(set));
            refused++;
            continue;
        }
        assert_int_equal(set.n4, 1);
        assert_int_equal(set.n6, 2);
        assert_true(ranges_has(&set, &in) && ranges_has(&set, &in6));
        ranges_done(&set);
    }
    assert_int_equal(refused, 2);
}

/* ---- many ---- */

/* A list of the size that is published for whole countries: every other /28 of 10.0.0.0/8 and as
 * many /64s, backwards. */
static void test_many(void **state)
{
    enum { EACH = 100000 };
    struct addr_range *v = mem_array(2 * EACH, sizeof(*v));
    struct ranges set;

    UNUSED(state);
    assert_non_null(v);
    for (uint64_t i = 0; i < EACH; i++) {
        uint64_t back = EACH - 1 - i;

        v[2 * i] = (struct addr_range){.lo = 0xffff0a000000u + 32 * back,
                                       .mask_hi = UINT64_MAX,
                                       .mask_lo = ~(uint64_t)15,
                                       .v4 = true};
        v[2 * i + 1] =
            (struct addr_range){.hi = 0x20010db800000000u + 2 * back, .mask_hi = UINT64_MAX};
    }
    assert_int_equal(ranges_build(v, 2 * EACH, &set), 0);
    assert_int_equal(set.n4, EACH);
    assert_int_equal(set.n6, EACH);
    for (uint64_t i = 0; i < EACH; i++) {
        struct addr a = make_address(0, 0xffff0a000000u + 32 * i + 15),
                    b = make_address(0, 0xffff0a000000u + 32 * i + 16);
        struct addr c = make_address(0x20010db800000000u + 2 * i, UINT64_MAX),
                    d = make_address(0x20010db800000001u + 2 * i, 0);

        if (!ranges_has(&set, &a) || ranges_has(&set, &b) || !ranges_has(&set, &c) ||
            ranges_has(&set, &d))
            fail_msg("around range %u", (unsigned)i);
    }
    ranges_done(&set);
    mem_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_one_v4),
        cmocka_unit_test(test_one_v6),
        cmocka_unit_test(test_edges_of_the_families),
        cmocka_unit_test(test_mapped),
        cmocka_unit_test(test_no_address),
        cmocka_unit_test(test_the_port_does_not_matter),
        cmocka_unit_test(test_done_leaves_an_empty_set),
        cmocka_unit_test(test_merges),
        cmocka_unit_test(test_merged_still_has_holes),
        cmocka_unit_test(test_the_source_is_left_alone),
        cmocka_unit_test(test_same_as_looking_through_all),
        cmocka_unit_test(test_refused_memory),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
