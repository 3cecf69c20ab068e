/* SPDX-License-Identifier: MIT */
/* The walk over the rules: who is admitted (U6), and that no spelling leads back to ourselves
 * (C38, U2, FAILURES 17).
 */
#include "policy/policy.h"

#include "base/base.h"

#include <stdio.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MOST = 8 };

static struct addr own[MOST], local[MOST];
static struct addr_range clients[MOST];
static struct policy policy;

static struct addr address(const char *text)
{
    struct addr a;

    if (addr_parse(slice_str(text), &a) < 0)
        fail_msg("no address: %s", text);
    return a;
}

static int setup(void **state)
{
    UNUSED(state);
    policy = (struct policy){.own = own, .clients = clients, .local = local};
    return 0;
}

static void listens(const char *text)
{
    own[policy.n_own++] = address(text);
}

static void is_here(const char *text)
{
    struct addr a;

    assert_int_equal(addr_parse_host(slice_str(text), 0, &a), 0);
    local[policy.n_local++] = a;
}

static void admits(const char *text)
{
    assert_int_equal(addr_range_parse(slice_str(text), &clients[policy.n_clients++]), 0);
}

static struct verdict judge(const char *client, const char *target, unsigned from)
{
    struct addr c = address(client), t = {0};
    struct facts f = {.client = &c};

    if (target) {
        t = address(target);
        f.target = &t;
    }
    return policy_judge(&policy, &f, from);
}

static void expect_loop(const char *target, bool loop)
{
    struct verdict v = judge("127.0.0.1:4000", target, 0);

    if ((v.kind == VERDICT_DENY) != loop)
        fail_msg("%s is %s", target, loop ? "let through" : "taken for our own");
    if (loop) {
        assert_int_equal(v.reason, END_LOOP);
        assert_string_equal(v.place, "own listeners");
    } else {
        assert_string_equal(v.place, "everything");
    }
}

static void test_needs_the_address(void **state)
{
    struct verdict v = judge("127.0.0.1:4000", NULL, 0);

    UNUSED(state);
    assert_int_equal(v.kind, VERDICT_NEEDS);
    assert_int_equal(v.needs, FACT_ADDRESS);
    assert_non_null(v.place);
}

/* The walk goes on where it stood: what was decided before is not decided again. */
static void test_resumes(void **state)
{
    struct verdict v;

    UNUSED(state);
    listens("127.0.0.1:8080");
    admits("10.0.0.0/8");
    v = judge("10.1.2.3:4000", NULL, 0);
    assert_int_equal(v.kind, VERDICT_NEEDS);
    assert_int_equal(judge("192.0.2.1:4000", "192.0.2.9:80", v.rule).kind, VERDICT_ALLOW);
    assert_int_equal(judge("192.0.2.1:4000", "127.0.0.1:8080", v.rule).reason, END_LOOP);
    assert_int_equal(judge("192.0.2.1:4000", "192.0.2.9:80", 0).reason, END_NOT_ADMITTED);
    /* Still without the fact it asks again, at the same place. */
    assert_int_equal(judge("10.1.2.3:4000", NULL, v.rule).rule, v.rule);
    /* Behind the last rule nothing allows. */
    assert_int_equal(judge("10.1.2.3:4000", "192.0.2.9:80", 1000).kind, VERDICT_DENY);
}

static void test_everybody(void **state)
{
    struct addr c = address("192.0.2.1:1");

    UNUSED(state);
    assert_true(policy_admits(&policy, &c));
    assert_int_equal(judge("192.0.2.1:1", "192.0.2.2:80", 0).kind, VERDICT_ALLOW);
}

static void test_clients(void **state)
{
    static const struct {
        const char *client;
        bool admitted;
    } rows[] = {
        {"10.0.0.0:1", true},      {"10.255.255.255:1", true}, {"9.255.255.255:1", false},
        {"11.0.0.0:1", false},     {"[::ffff:10.1.2.3]:1", true},
        {"[::ffff:11.1.2.3]:1", false}, {"[fd00::1]:1", true}, {"[fe80::1]:1", false},
        {"192.0.2.7:1", true},     {"192.0.2.8:1", false},     {"[::a0a:a0a]:1", false},
        {"127.0.0.1:1", false},    {"[::1]:1", false},
    };

    UNUSED(state);
    admits("10.0.0.0/8");
    admits("fd00::/8");
    admits("192.0.2.7");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr c = address(rows[i].client);
        struct verdict v = judge(rows[i].client, NULL, 0);

        if (policy_admits(&policy, &c) != rows[i].admitted)
            fail_msg("%s", rows[i].client);
        assert_int_equal(v.kind, rows[i].admitted ? VERDICT_NEEDS : VERDICT_DENY);
        if (!rows[i].admitted) {
            assert_int_equal(v.reason, END_NOT_ADMITTED);
            assert_string_equal(v.place, "clients");
        }
    }
}

/* "::/0" is every IPv6 address and no IPv4 one, mapped or not. */
static void test_clients_of_one_family(void **state)
{
    UNUSED(state);
    admits("::/0");
    assert_int_equal(judge("[2001:db8::1]:1", NULL, 0).kind, VERDICT_NEEDS);
    assert_int_equal(judge("192.0.2.1:1", NULL, 0).kind, VERDICT_DENY);
    assert_int_equal(judge("[::ffff:192.0.2.1]:1", NULL, 0).kind, VERDICT_DENY);
    policy.n_clients = 0;
    admits("0.0.0.0/0");
    assert_int_equal(judge("[::ffff:192.0.2.1]:1", NULL, 0).kind, VERDICT_NEEDS);
    assert_int_equal(judge("[2001:db8::1]:1", NULL, 0).kind, VERDICT_DENY);
}

/* ---- own listeners ---- */

static void test_own_exactly(void **state)
{
    UNUSED(state);
    listens("127.0.0.1:8080");
    listens("192.0.2.5:3128");
    expect_loop("127.0.0.1:8080", true);
    expect_loop("192.0.2.5:3128", true);
    expect_loop("[::ffff:127.0.0.1]:8080", true);
    expect_loop("[::ffff:192.0.2.5]:3128", true);
    expect_loop("127.0.0.1:8081", false);
    expect_loop("127.0.0.1:3128", false);
    expect_loop("127.0.0.2:8080", false);
    expect_loop("192.0.2.5:8080", false);
    expect_loop("192.0.2.6:3128", false);
}

/* Connecting to 0.0.0.0 or :: reaches loopback. */
static void test_any_as_target(void **state)
{
    UNUSED(state);
    listens("127.0.0.1:8080");
    listens("192.0.2.5:3128");
    listens("[::1]:8081");
    expect_loop("0.0.0.0:8080", true);
    expect_loop("[::ffff:0.0.0.0]:8080", true);
    expect_loop("[::]:8081", true);
    expect_loop("0.0.0.0:3128", false);
    expect_loop("0.0.0.0:80", false);
    expect_loop("[::]:80", false);
}

static void test_own_v6(void **state)
{
    UNUSED(state);
    listens("[::1]:8080");
    listens("[2001:db8::5]:3128");
    expect_loop("[::1]:8080", true);
    expect_loop("[0:0:0:0:0:0:0:1]:8080", true);
    expect_loop("[2001:db8::5]:3128", true);
    expect_loop("[2001:db8:0:0:0:0:0:5]:3128", true);
    expect_loop("[2001:db8::6]:3128", false);
    expect_loop("[::1]:3128", false);
}

static void test_own_mapped(void **state)
{
    UNUSED(state);
    listens("[::ffff:127.0.0.1]:8080");
    expect_loop("127.0.0.1:8080", true);
    expect_loop("[::ffff:127.0.0.1]:8080", true);
    expect_loop("0.0.0.0:8080", true);
}

static void test_wildcard(void **state)
{
    static const char *const wild[] = {"0.0.0.0:8080", "[::]:8080", "[::ffff:0.0.0.0]:8080"};

    UNUSED(state);
    is_here("192.0.2.5");
    is_here("10.0.0.7");
    is_here("2001:db8::5");
    for (size_t i = 0; i < ARRAY_LEN(wild); i++) {
        policy.n_own = 0;
        listens(wild[i]);
        expect_loop("127.0.0.1:8080", true);
        expect_loop("127.9.8.7:8080", true);
        expect_loop("[::1]:8080", true);
        expect_loop("0.0.0.0:8080", true);
        expect_loop("[::]:8080", true);
        expect_loop("192.0.2.5:8080", true);
        expect_loop("[::ffff:192.0.2.5]:8080", true);
        expect_loop("10.0.0.7:8080", true);
        expect_loop("[2001:db8::5]:8080", true);
        expect_loop("192.0.2.6:8080", false);
        expect_loop("[2001:db8::6]:8080", false);
        expect_loop("192.0.2.5:80", false);
        expect_loop("127.0.0.1:80", false);
    }
}

/* A local address matters to wildcards only. */
static void test_local_without_wildcard(void **state)
{
    UNUSED(state);
    is_here("192.0.2.5");
    listens("127.0.0.1:8080");
    expect_loop("192.0.2.5:8080", false);
    policy.n_own = 0;
    expect_loop("127.0.0.1:8080", false);
}

/* ---- cost ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
enum { COST_NS = 200000 };
#else
enum { COST_NS = 10000 }; /* some microseconds, on a machine that does much else */
#endif

enum { RANGES = 1000, ROUNDS = 200 };

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* U7: a thousand ranges of both families cost microseconds, also for who is in the last or in none. (The row asks for one; this
 * walk takes about that on a quiet machine, and the bound leaves room for a busy one.) */
static void test_a_thousand_ranges(void **state)
{
    static struct addr_range many[RANGES];
    struct addr in = address("10.3.231.7:1"), in6 = address("[2001:db8:3e6::7]:1"), out = address("192.0.2.1:1"),
                out6 = address("[2001:db8:ffff::1]:1");
    char text[64];
    uint64_t began;

    UNUSED(state);
    for (unsigned i = 0; i < RANGES; i++) {
        if (i % 2)
            snprintf(text, sizeof(text), "10.%u.%u.0/24", i >> 8, i & 255);
        else
            snprintf(text, sizeof(text), "2001:db8:%x::/48", i);
        assert_int_equal(addr_range_parse(slice_str(text), &many[i]), 0);
    }
    policy.clients = many;
    policy.n_clients = RANGES;
    began = now_ns();
    for (unsigned i = 0; i < ROUNDS; i++) {
        assert_true(policy_admits(&policy, &in));
        assert_true(policy_admits(&policy, &in6));
        assert_false(policy_admits(&policy, &out));
        assert_false(policy_admits(&policy, &out6));
    }
    print_message("%u ns a decision\n", (unsigned)((now_ns() - began) / (4 * ROUNDS)));
    assert_in_range((now_ns() - began) / (4 * ROUNDS), 0, COST_NS);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_needs_the_address),
        TEST(test_everybody),
        TEST(test_clients),
        TEST(test_clients_of_one_family),
        TEST(test_own_exactly),
        TEST(test_any_as_target),
        TEST(test_own_v6),
        TEST(test_own_mapped),
        TEST(test_wildcard),
        TEST(test_local_without_wildcard),
        TEST(test_resumes),
        TEST(test_a_thousand_ranges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
