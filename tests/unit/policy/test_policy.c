/* SPDX-License-Identifier: MIT */
/* What holds whatever the rules say: who is admitted (U6), and that no spelling leads back to ourselves
 * (C38, U2, FAILURES 17). Rules: test_decisions.c.
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

enum { MOST = 8, SETS = 3 };

static struct addr own[MOST], local[MOST], admin[MOST];
static struct addr_range written[SETS][MOST];
static unsigned n_written[SETS];
static struct ranges ranges[SETS];
static struct policy_clients sets[SETS];
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
    memset(sets, 0, sizeof(sets));
    memset(n_written, 0, sizeof(n_written));
    sets[0].any = true;
    policy = (struct policy){.own = own, .clients = sets, .n_clients = 1, .admin = admin, .local = local, .private = GUARD_ALLOW};
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < SETS; i++)
        ranges_done(&ranges[i]);
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

static void is_admin(const char *text)
{
    admin[policy.n_admin++] = address(text);
}

/* One more range in a set. */
static void set_admits(unsigned set, const char *text)
{
    assert_int_equal(addr_range_parse(slice_str(text), &written[set][n_written[set]++]), 0);
    ranges_done(&ranges[set]);
    assert_int_equal(ranges_build(written[set], n_written[set], &ranges[set]), 0);
    sets[set].any = false;
    sets[set].ranges = &ranges[set];
    if (policy.n_clients <= set)
        policy.n_clients = set + 1;
}

static void admits(const char *text)
{
    set_admits(0, text);
}

/* clients, then what is known without an address, then the address (NULL: none yet). */
static struct verdict judge_in(unsigned set, const char *client, const char *target)
{
    struct addr c = address(client), t = {0};
    struct match_facts f = {.from = &c, .pending = MATCH_PENDING_ADDRESS};
    struct verdict v = policy_admit(&policy, set, &c, NULL);

    if (v.kind != VERDICT_ALLOW)
        return v;
    if (target) {
        t = address(target);
        f.port = addr_port(&t);
    }
    v = policy_judge(&policy, &f, 0, NULL, NULL);
    if (v.kind == VERDICT_DENY || !target)
        return v;
    f.to = &t;
    return policy_judge_address(&policy, &f, &v, NULL);
}

static struct verdict judge(const char *client, const char *target)
{
    return judge_in(0, client, target);
}

static void expect_loop(const char *target, bool loop)
{
    struct verdict v = judge("127.0.0.1:4000", target);

    if ((v.kind == VERDICT_DENY) != loop)
        fail_msg("%s is %s", target, loop ? "let through" : "taken for our own");
    if (loop) {
        assert_int_equal(v.reason, END_LOOP);
        assert_string_equal(v.place, "own listeners");
    } else {
        assert_string_equal(v.place, "everything");
    }
}

static void test_everybody(void **state)
{
    struct addr c = address("192.0.2.1:1"), d = address("[2001:db8::1]:1");

    UNUSED(state);
    assert_true(policy_admits(&policy, 0, &c));
    assert_true(policy_admits(&policy, 0, &d));
    assert_int_equal(judge("192.0.2.1:1", "192.0.2.2:80").kind, VERDICT_ALLOW);
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
        struct verdict v = judge(rows[i].client, NULL);

        if (policy_admits(&policy, 0, &c) != rows[i].admitted)
            fail_msg("%s", rows[i].client);
        assert_int_equal(v.kind, rows[i].admitted ? VERDICT_ALLOW : VERDICT_DENY);
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
    assert_int_equal(judge("[2001:db8::1]:1", NULL).kind, VERDICT_ALLOW);
    assert_int_equal(judge("192.0.2.1:1", NULL).kind, VERDICT_DENY);
    assert_int_equal(judge("[::ffff:192.0.2.1]:1", NULL).kind, VERDICT_DENY);
    n_written[0] = 0;
    admits("0.0.0.0/0");
    assert_int_equal(judge("[::ffff:192.0.2.1]:1", NULL).kind, VERDICT_ALLOW);
    assert_int_equal(judge("[2001:db8::1]:1", NULL).kind, VERDICT_DENY);
}

/* A set that was not given, or is empty, admits nobody: a mistake is never an open proxy. */
static void test_nobody(void **state)
{
    struct addr c = address("127.0.0.1:1"), d = address("[::1]:1");

    UNUSED(state);
    sets[0].any = false;
    assert_false(policy_admits(&policy, 0, &c));
    sets[0].ranges = &ranges[0];
    assert_false(policy_admits(&policy, 0, &c));
    assert_false(policy_admits(&policy, 0, &d));
    sets[0].any = true;
    assert_true(policy_admits(&policy, 0, &c));
    assert_false(policy_admits(&policy, 1, &c));
    policy.n_clients = 0;
    assert_false(policy_admits(&policy, 0, &c));
    assert_int_equal(judge("127.0.0.1:1", "192.0.2.2:80").reason, END_NOT_ADMITTED);
    policy = (struct policy){0};
    assert_false(policy_admits(&policy, 0, &c));
}

/* Each listener's own set judges instead of the top level's, never beside it. */
static void test_sets(void **state)
{
    UNUSED(state);
    set_admits(0, "10.0.0.0/8");
    set_admits(1, "192.0.2.0/24");
    set_admits(1, "2001:db8::/32");
    policy.n_clients = 3;
    sets[2].any = true;
    assert_int_equal(judge_in(0, "10.1.2.3:1", NULL).kind, VERDICT_ALLOW);
    assert_int_equal(judge_in(0, "192.0.2.1:1", NULL).reason, END_NOT_ADMITTED);
    assert_int_equal(judge_in(0, "[2001:db8::1]:1", NULL).reason, END_NOT_ADMITTED);
    assert_int_equal(judge_in(1, "10.1.2.3:1", NULL).reason, END_NOT_ADMITTED);
    assert_int_equal(judge_in(1, "192.0.2.1:1", NULL).kind, VERDICT_ALLOW);
    assert_int_equal(judge_in(1, "[2001:db8::1]:1", NULL).kind, VERDICT_ALLOW);
    assert_int_equal(judge_in(1, "[::ffff:192.0.2.1]:1", NULL).kind, VERDICT_ALLOW);
    assert_int_equal(judge_in(1, "[::ffff:10.1.2.3]:1", NULL).kind, VERDICT_DENY);
    assert_int_equal(judge_in(2, "203.0.113.1:1", NULL).kind, VERDICT_ALLOW);
    assert_int_equal(judge_in(3, "10.1.2.3:1", NULL).kind, VERDICT_DENY);
}

static void test_place_of_a_set(void **state)
{
    UNUSED(state);
    set_admits(0, "10.0.0.0/8");
    set_admits(1, "10.0.0.0/8");
    sets[1].place = "ginnel.yaml:12";
    assert_string_equal(judge_in(0, "192.0.2.1:1", NULL).place, "clients");
    assert_string_equal(judge_in(1, "192.0.2.1:1", NULL).place, "ginnel.yaml:12");
    assert_string_equal(judge_in(2, "192.0.2.1:1", NULL).place, "clients");
    /* Whoever is admitted does not hear of it. */
    assert_string_equal(judge_in(1, "10.0.0.1:1", NULL).place, "everything");
}

/* Who comes through a file was let in by its permissions; an address that is not known is in no set but everybody's. */
static void test_clients_without_address(void **state)
{
    struct addr file = {0}, none = {0};
    UNUSED(state);
    file.sa.sa_family = AF_UNIX;
    admits("10.0.0.0/8");
    assert_true(policy_admits(&policy, 0, &file));
    assert_int_equal(policy_admit(&policy, 0, &file, NULL).kind, VERDICT_ALLOW);
    assert_false(policy_admits(&policy, 0, &none));
    admits("::/0");
    admits("0.0.0.0/0");
    assert_true(policy_admits(&policy, 0, &file));
    assert_false(policy_admits(&policy, 0, &none));
    sets[0].any = true;
    assert_true(policy_admits(&policy, 0, &file));
    assert_true(policy_admits(&policy, 0, &none));
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

/* A listener on a file has no address that a target could be. */
static void test_own_on_a_file(void **state)
{
    UNUSED(state);
    memset(&own[0], 0, sizeof(own[0]));
    own[0].sa.sa_family = AF_UNIX;
    own[0].in.sin_port = htons(8080); /* these bytes are of a path */
    policy.n_own = 1;
    is_here("192.0.2.5");
    expect_loop("[::]:8080", false);
    expect_loop("127.0.0.1:8080", false);
    expect_loop("192.0.2.5:8080", false);
    /* and it hides none behind it */
    listens("127.0.0.1:8080");
    expect_loop("127.0.0.1:8080", true);
}

/* ---- the admin address ---- */

static void expect_admin(const char *target, bool denied)
{
    struct verdict v = judge("127.0.0.1:4000", target);

    if ((v.kind == VERDICT_DENY) != denied)
        fail_msg("%s is %s", target, denied ? "let through" : "taken for the admin address");
    if (denied) {
        assert_int_equal(v.reason, END_ADDRESS_DENIED);
        assert_string_equal(v.place, "admin");
    } else {
        assert_string_equal(v.place, "everything");
    }
}

static void test_admin(void **state)
{
    UNUSED(state);
    listens("127.0.0.1:8080");
    is_admin("127.0.0.1:9090");
    is_admin("[::1]:9091");
    is_admin("[2001:db8::5]:9092");
    expect_admin("127.0.0.1:9090", true);
    expect_admin("[::ffff:127.0.0.1]:9090", true);
    expect_admin("0.0.0.0:9090", true);
    expect_admin("[::ffff:0.0.0.0]:9090", true);
    expect_admin("[::1]:9091", true);
    expect_admin("[::]:9091", true);
    expect_admin("[2001:db8:0::5]:9092", true);
    expect_admin("127.0.0.1:9091", false);
    expect_admin("127.0.0.2:9090", false);
    expect_admin("[::1]:9092", false);
    expect_admin("192.0.2.5:9090", false);
    /* our own listeners are still a loop */
    expect_loop("127.0.0.1:8080", true);
}

static void test_admin_wildcard(void **state)
{
    static const char *const wild[] = {"0.0.0.0:9090", "[::]:9090", "[::ffff:0.0.0.0]:9090"};

    UNUSED(state);
    is_here("192.0.2.5");
    is_here("2001:db8::5");
    for (size_t i = 0; i < ARRAY_LEN(wild); i++) {
        policy.n_admin = 0;
        is_admin(wild[i]);
        expect_admin("127.0.0.1:9090", true);
        expect_admin("127.9.8.7:9090", true);
        expect_admin("[::1]:9090", true);
        expect_admin("[::]:9090", true);
        expect_admin("0.0.0.0:9090", true);
        expect_admin("192.0.2.5:9090", true);
        expect_admin("[::ffff:192.0.2.5]:9090", true);
        expect_admin("[2001:db8::5]:9090", true);
        expect_admin("192.0.2.6:9090", false);
        expect_admin("192.0.2.5:9091", false);
        expect_admin("[2001:db8::6]:9090", false);
    }
}

/* Nothing that is written leads there, neither an allow of that very address nor `private: allow`. */
static void test_never_opened(void **state)
{
    struct addr_range loopback;
    struct matcher where = {.has_host = true, .any_host = true}, with = {.has_to = true};
    struct rule rule = {.kind = RULE_ALLOW, .where = &where, .n_where = 1, .with = &with, .place = "f:1"};

    UNUSED(state);
    assert_int_equal(addr_range_parse(SLICE("127.0.0.0/8"), &loopback), 0);
    assert_int_equal(ranges_build(&loopback, 1, &with.to), 0);
    listens("127.0.0.1:8080");
    is_admin("127.0.0.1:9090");
    policy.has_rules = true;
    policy.rules = &rule;
    policy.n_rules = 1;
    for (policy.private = GUARD_ALLOW; policy.private <= GUARD_DENY; policy.private++) {
        expect_loop("127.0.0.1:8080", true);
        assert_int_equal(judge("127.0.0.1:1", "127.0.0.1:9090").reason, END_ADDRESS_DENIED);
        assert_string_equal(judge("127.0.0.1:1", "127.0.0.1:9090").place, "admin");
        assert_int_equal(judge("127.0.0.1:1", "127.0.0.1:9091").kind, VERDICT_ALLOW);
        assert_ptr_equal(judge("127.0.0.1:1", "127.0.0.1:9091").by, &rule);
    }
    matcher_done(&with);
}

/* ---- cost ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
enum { COST_NS = 200000 };
#else
enum { COST_NS = 1000 };
#endif

enum { RANGES = 1000, ROUNDS = 200 };

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* U7: a thousand ranges of both families cost at most a microsecond, also for who is in the last or in none. */
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
    assert_int_equal(ranges_build(many, RANGES, &ranges[0]), 0);
    sets[0] = (struct policy_clients){.ranges = &ranges[0]};
    began = now_ns();
    for (unsigned i = 0; i < ROUNDS; i++) {
        assert_true(policy_admits(&policy, 0, &in));
        assert_true(policy_admits(&policy, 0, &in6));
        assert_false(policy_admits(&policy, 0, &out));
        assert_false(policy_admits(&policy, 0, &out6));
    }
    print_message("%u ns a decision\n", (unsigned)((now_ns() - began) / (4 * ROUNDS)));
    assert_in_range((now_ns() - began) / (4 * ROUNDS), 0, COST_NS);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_everybody),
        TEST(test_clients),
        TEST(test_clients_of_one_family),
        TEST(test_nobody),
        TEST(test_sets),
        TEST(test_place_of_a_set),
        TEST(test_clients_without_address),
        TEST(test_own_exactly),
        TEST(test_any_as_target),
        TEST(test_own_v6),
        TEST(test_own_mapped),
        TEST(test_wildcard),
        TEST(test_local_without_wildcard),
        TEST(test_own_on_a_file),
        TEST(test_admin),
        TEST(test_admin_wildcard),
        TEST(test_never_opened),
        TEST(test_a_thousand_ranges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
