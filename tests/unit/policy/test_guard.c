/* SPDX-License-Identifier: MIT */
/* The guard (U3): each block at its ends, what lies beside the blocks, IPv4 hidden in IPv6, and what each mode refuses. */
#include "policy/guard.h"

#include "base/base.h"
#include "policy/ranges.h"
#include "random.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct addr address(const char *text)
{
    struct addr a;

    if (addr_parse_host(slice_str(text), 80, &a) < 0)
        fail_msg("no address: %s", text);
    return a;
}

static size_t count_ranges(void)
{
    size_t n = 0;

    while (guard_blocks[n].range)
        n++;
    return n - GUARD_PATTERNS;
}

static struct addr_range range_of(const struct guard_block *b)
{
    struct addr_range r;

    if (addr_range_parse(slice_str(b->range), &r) < 0)
        fail_msg("no range: %s", b->range);
    return r;
}

/* The first (0) or last (1) address of a range. */
static struct addr end_of(const struct addr_range *r, bool last)
{
    uint64_t halves[2] = {r->hi | (last ? ~r->mask_hi : 0), r->lo | (last ? ~r->mask_lo : 0)};
    uint8_t bytes[16];
    struct addr a;

    for (unsigned i = 0; i < 16; i++)
        bytes[i] = (uint8_t)(halves[i / 8] >> (56 - 8 * (i % 8)));
    if (r->v4)
        addr_v4(&a, bytes + 12, 80);
    else
        addr_v6(&a, bytes, 80);
    return a;
}

static const char *found(const struct guard_block *b)
{
    return b ? b->range : "public";
}

static void expect(const char *text, enum guard_mode mode, const char *want)
{
    struct addr a = address(text);
    const char *got = found(guard_refuses(mode, &a));

    if (strcmp(got, want) != 0)
        fail_msg("%s: %s instead of %s", text, got, want);
}

static void test_each_block(void **state)
{
    size_t n = count_ranges();

    UNUSED(state);
    assert_in_range(n, 55, 80);
    for (size_t i = 0; i < n; i++) {
        const struct guard_block *b = &guard_blocks[i];
        struct addr_range r = range_of(b);
        char text[100];

        snprintf(text, sizeof(text), "%s (%s)", b->range, b->name);
        assert_string_equal(b->text, text);
        for (unsigned last = 0; last < 2; last++) {
            struct addr a = end_of(&r, last);
            const struct guard_block *f = guard_find(&a);
            struct addr_range narrow;

            if (!f)
                fail_msg("%s of %s passes", last ? "the last" : "the first", b->range);
            /* itself, or a part of it */
            narrow = range_of(f);
            assert_true(f <= b);
            assert_true((narrow.mask_hi & r.mask_hi) == r.mask_hi && (narrow.mask_lo & r.mask_lo) == r.mask_lo);
            assert_ptr_equal(guard_refuses(GUARD_DENY, &a), f);
            assert_ptr_equal(guard_refuses(GUARD_DEFAULT, &a), f);
            assert_null(guard_refuses(GUARD_ALLOW, &a));
            if (b->metadata)
                assert_non_null(guard_refuses(GUARD_METADATA, &a));
        }
    }
}

/* A block is found by an address that is in no narrower one: none stands behind one that covers it. */
static void test_order(void **state)
{
    size_t n = count_ranges();

    UNUSED(state);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++) {
            struct addr_range wide = range_of(&guard_blocks[i]), narrow = range_of(&guard_blocks[j]);
            struct addr a = end_of(&narrow, false), z = end_of(&narrow, true);

            assert_true(wide.v4 || !narrow.v4);
            if (addr_in_range(&a, &wide) && addr_in_range(&z, &wide))
                fail_msg("%s hides %s", guard_blocks[i].range, guard_blocks[j].range);
        }
}

/* The registries, written down once more: block, an address in it. */
static void test_registries(void **state)
{
    static const char *const rows[][2] = {
        {"0.0.0.0", "0.0.0.0/8"},
        {"0.1.2.3", "0.0.0.0/8"},
        {"10.20.30.40", "10.0.0.0/8"},
        {"100.64.0.1", "100.64.0.0/10"},
        {"100.127.255.255", "100.64.0.0/10"},
        {"127.0.0.1", "127.0.0.0/8"},
        {"127.127.127.127", "127.0.0.0/8"},
        {"169.254.1.1", "169.254.0.0/16"},
        {"172.16.0.1", "172.16.0.0/12"},
        {"172.31.255.254", "172.16.0.0/12"},
        {"192.0.0.1", "192.0.0.0/29"},
        {"192.0.0.8", "192.0.0.8"},
        {"192.0.0.9", "192.0.0.9"},
        {"192.0.0.10", "192.0.0.10"},
        {"192.0.0.11", "192.0.0.0/24"},
        {"192.0.0.170", "192.0.0.170/31"},
        {"192.0.0.171", "192.0.0.170/31"},
        {"192.0.2.1", "192.0.2.0/24"},
        {"192.31.196.1", "192.31.196.0/24"},
        {"192.52.193.1", "192.52.193.0/24"},
        {"192.88.99.1", "192.88.99.0/24"},
        {"192.88.99.2", "192.88.99.2"},
        {"192.168.0.1", "192.168.0.0/16"},
        {"192.175.48.1", "192.175.48.0/24"},
        {"198.18.0.1", "198.18.0.0/15"},
        {"198.19.255.255", "198.18.0.0/15"},
        {"198.51.100.1", "198.51.100.0/24"},
        {"203.0.113.1", "203.0.113.0/24"},
        {"224.0.0.1", "224.0.0.0/4"},
        {"239.255.255.250", "224.0.0.0/4"},
        {"240.0.0.1", "240.0.0.0/4"},
        {"255.255.255.254", "240.0.0.0/4"},
        {"255.255.255.255", "255.255.255.255"},
        {"::", "::"},
        {"::1", "::1"},
        {"::8.8.8.8", "::/96"},
        {"::ffff:0:8.8.8.8", "::ffff:0:0:0/96"},
        {"64:ff9b:1::1", "64:ff9b:1::/48"},
        {"100::1", "100::/64"},
        {"100:0:0:1::1", "100:0:0:1::/64"},
        {"100:0:0:2::1", "::/3"},
        {"2001::1", "2001::/32"},
        {"2001:1::1", "2001:1::1"},
        {"2001:1::2", "2001:1::2"},
        {"2001:1::3", "2001:1::3"},
        {"2001:1::4", "2001::/23"},
        {"2001:2::1", "2001:2::/48"},
        {"2001:2:1::1", "2001::/23"},
        {"2001:3::1", "2001:3::/32"},
        {"2001:4:112::1", "2001:4:112::/48"},
        {"2001:4:113::1", "2001::/23"},
        {"2001:10::1", "2001:10::/28"},
        {"2001:2f::1", "2001:20::/28"},
        {"2001:3f::1", "2001:30::/28"},
        {"2001:1ff::1", "2001::/23"},
        {"2001:db8::1", "2001:db8::/32"},
        {"2002::1", "2002::/16"},
        {"2002:808:808::1", "2002::/16"},
        {"2620:4f:8000::1", "2620:4f:8000::/48"},
        {"3fff::1", "3fff::/20"},
        {"3fff:fff::1", "3fff::/20"},
        {"5f00::1", "5f00::/16"},
        {"fc00::1", "fc00::/7"},
        {"fdff::1", "fc00::/7"},
        {"fe80::1", "fe80::/10"},
        {"fec0::1", "fec0::/10"},
        {"ff02::1", "ff00::/8"},
        {"ff0e::1", "ff00::/8"},
        {"1::1", "::/3"},
        {"4000::1", "4000::/2"},
        {"6000::1", "4000::/2"},
        {"8000::1", "8000::/1"},
        {"f000::1", "8000::/1"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect(rows[i][0], GUARD_DENY, rows[i][1]);
}

static void test_public(void **state)
{
    static const char *const rows[] = {
        "1.0.0.0",         "1.1.1.1",         "8.8.8.8",         "9.255.255.255",   "11.0.0.0",        "100.63.255.255",
        "100.128.0.0",     "126.255.255.255", "128.0.0.0",       "168.63.129.15",   "168.63.129.17",   "169.253.255.255",
        "169.255.0.0",     "172.15.255.255",  "172.32.0.0",      "191.255.255.255", "192.0.1.0",       "192.0.3.0",
        "192.31.195.255",  "192.31.197.0",    "192.52.192.255",  "192.52.194.0",    "192.88.98.255",   "192.88.100.0",
        "192.167.255.255", "192.169.0.0",     "192.175.47.255",  "192.175.49.0",    "198.17.255.255",  "198.20.0.0",
        "198.51.99.255",   "198.51.101.0",    "203.0.112.255",   "203.0.114.0",     "223.255.255.255", "2000::1",
        "2001:200::1",     "2001:4860::8888", "2001:db7::1",     "2001:db9::1",     "2003::1",         "2606:4700::1111",
        "2620:4f:7fff::1", "2620:4f:8001::1", "2a00:1450::200e", "3ffe::1",         "3fff:1000::1",    "::ffff:8.8.8.8",
        "::ffff:1.1.1.1",  "64:ff9b::8.8.8.8", "64:ff9b::1.1.1.1",
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        expect(rows[i], GUARD_DENY, "public");
        expect(rows[i], GUARD_METADATA, "public");
    }
}

/* However an IPv4 address is written inside an IPv6 one. */
static void test_hidden(void **state)
{
    static const struct {
        const char *address, *deny, *metadata;
    } rows[] = {
        {"::ffff:127.0.0.1", "127.0.0.0/8", "public"},
        {"::ffff:10.0.0.1", "10.0.0.0/8", "public"},
        {"::ffff:169.254.169.254", "169.254.0.0/16", "169.254.0.0/16"},
        {"::127.0.0.1", "::/96", "public"},
        {"::169.254.169.254", "::/96", "169.254.0.0/16"},
        {"::ffff:0:169.254.169.254", "::ffff:0:0:0/96", "169.254.0.0/16"},
        {"64:ff9b::127.0.0.1", "127.0.0.0/8", "public"},
        {"64:ff9b::192.168.1.1", "192.168.0.0/16", "public"},
        {"64:ff9b::169.254.169.254", "169.254.0.0/16", "169.254.0.0/16"},
        {"64:ff9b::100.100.100.200", "100.100.100.200", "100.100.100.200"},
        {"64:ff9b::1:0:0", "::/3", "public"}, /* no longer /96 */
        {"64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1::/48", "169.254.0.0/16"},
        {"64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1::/48", "169.254.0.0/16"},
        {"64:ff9b:1:0:a9:fea9:fe00:0", "64:ff9b:1::/48", "169.254.0.0/16"},
        {"64:ff9b:1::169.254.169.254", "64:ff9b:1::/48", "169.254.0.0/16"},
        {"64:ff9b:1::8.8.8.8", "64:ff9b:1::/48", "public"},
        {"2002:a9fe:a9fe::1", "2002::/16", "169.254.0.0/16"},
        {"2002:808:808::1", "2002::/16", "public"},
        {"2002:808:808::5efe:169.254.1.1", "2002::/16", "169.254.0.0/16"},
        {"2001:0:a9fe:a9fe::1", "2001::/32", "169.254.0.0/16"},   /* Teredo's server */
        {"2001:0:808:808::5601:5601", "2001::/32", "169.254.0.0/16"}, /* its client, turned round */
        {"2001:0:808:808::f7f7:f7f7", "2001::/32", "public"},
        {"2a00:1::5efe:169.254.169.254", "PREFIX:0:5efe:0:0/96", "169.254.0.0/16"},
        {"2a00:1::200:5efe:169.254.169.254", "PREFIX:0:5efe:0:0/96", "169.254.0.0/16"},
        {"2a00:1::5efe:8.8.8.8", "PREFIX:0:5efe:0:0/96", "public"},
        {"2a00:1::200:5efe:8.8.8.8", "PREFIX:0:5efe:0:0/96", "public"},
        {"2a00:1::100:5efe:8.8.8.8", "public", "public"},
        {"2a00:1::1:5eff:169.254.169.254", "public", "public"},
        {"fe80::5efe:169.254.169.254", "fe80::/10", "169.254.0.0/16"},
        {"2a00:1::169.254.169.254", "public", "public"}, /* four bytes like any others */
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        expect(rows[i].address, GUARD_DENY, rows[i].deny);
        expect(rows[i].address, GUARD_METADATA, rows[i].metadata);
        expect(rows[i].address, GUARD_ALLOW, "public");
    }
}

static void test_metadata(void **state)
{
    static const char *const refused[][2] = {
        {"169.254.169.254", "169.254.0.0/16"}, {"169.254.170.2", "169.254.0.0/16"},  {"100.100.100.200", "100.100.100.200"},
        {"192.0.0.192", "192.0.0.192"},        {"168.63.129.16", "168.63.129.16"},   {"fd00:ec2::254", "fd00:ec2::254"},
        {"fd00:ec2::23", "fd00:ec2::23"},      {"fd20:ce::254", "fd20:ce::254"},     {"fd00:42::42", "fd00:42::42"},
        {"fe80::a9fe:a9fe", "fe80::a9fe:a9fe"}, {"fd00:c1::a9fe:a9fe", "fd00:c1::a9fe:a9fe"},
    };
    static const char *const passed[] = {"10.0.0.1", "127.0.0.1", "192.168.1.1", "100.100.100.201", "192.0.0.193", "fd00:ec2::253",
                                         "::1",      "fe80::1",   "224.0.0.1",   "0.0.0.0",         "2001:db8::1", "::"};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        expect(refused[i][0], GUARD_METADATA, refused[i][1]);
        expect(refused[i][0], GUARD_DENY, refused[i][1]);
        expect(refused[i][0], GUARD_ALLOW, "public");
    }
    for (size_t i = 0; i < ARRAY_LEN(passed); i++)
        expect(passed[i], GUARD_METADATA, "public");
}

static void test_no_address(void **state)
{
    struct addr none = {0}, file = {0};

    UNUSED(state);
    file.sa.sa_family = AF_UNIX;
    assert_null(guard_find(&none));
    assert_null(guard_find(&file));
    assert_null(guard_refuses(GUARD_DENY, &file));
}

/* A set of all the ranges, built by other code, says the same of any address; a port and a zone change nothing. */
static void test_random(void **state)
{
    struct addr_range v[80];
    struct ranges all;
    size_t n = count_ranges();
    uint64_t seed = 11;
    unsigned refused = 0;

    UNUSED(state);
    assert_in_range(n, 1, ARRAY_LEN(v));
    for (size_t i = 0; i < n; i++)
        v[i] = range_of(&guard_blocks[i]);
    assert_int_equal(ranges_build(v, n, &all), 0);
    for (unsigned i = 0; i < 50000; i++) {
        /* anywhere, or somewhere in a block */
        const struct addr_range *in = random_below(&seed, 2) ? &v[random_below(&seed, (unsigned)n)] : NULL;
        bool v4 = in ? in->v4 : random_below(&seed, 2);
        struct addr_range host = {.mask_hi = UINT64_MAX, .mask_lo = UINT64_MAX, .v4 = v4};
        struct addr a;
        bool is;

        host.hi = in ? in->hi | (random_next(&seed) & ~in->mask_hi) : v4 ? 0 : random_next(&seed) >> 3 | (uint64_t)1 << 61;
        host.lo = in ? in->lo | (random_next(&seed) & ~in->mask_lo) : v4 ? 0xffff00000000 | (uint32_t)random_next(&seed) : random_next(&seed);
        a = end_of(&host, false);
        is = ranges_has(&all, &a);
        addr_set_port(&a, (uint16_t)i);
        if ((guard_find(&a) != NULL) != is)
            fail_msg("round %u", i);
        if (!v4)
            a.in6.sin6_scope_id = 3;
        assert_int_equal(guard_find(&a) != NULL, is);
        refused += is;
    }
    assert_in_range(refused, 20000, 48000);
    ranges_done(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_block), cmocka_unit_test(test_order),    cmocka_unit_test(test_registries),
        cmocka_unit_test(test_public),     cmocka_unit_test(test_hidden),   cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_no_address), cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
