/* SPDX-License-Identifier: MIT */
/* Matchers: each word alone, words together, facts that are missing. */
#include "policy/matcher.h"

#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"

#include "random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MOST = 8 };

static struct matcher m;
static struct addr from, to;
static struct match_facts facts;

static struct addr address(const char *text)
{
    struct addr a;

    if (addr_parse_host(slice_str(text), 80, &a) < 0)
        fail_msg("no address: %s", text);
    return a;
}

static struct ranges ranges_of(const char *a, const char *b)
{
    struct addr_range v[2];
    struct ranges set;
    size_t n = 0;

    assert_int_equal(addr_range_parse(slice_str(a), &v[n++]), 0);
    if (b)
        assert_int_equal(addr_range_parse(slice_str(b), &v[n++]), 0);
    assert_int_equal(ranges_build(v, n, &set), 0);
    return set;
}

/* An exchange of which everything is known. */
static int setup(void **state)
{
    UNUSED(state);
    m = (struct matcher){0};
    from = address("10.1.2.3");
    to = address("192.0.2.9");
    facts = (struct match_facts){
        .host = SLICE("www.a.example"),
        .path = SLICE("/v1/users"),
        .method = SLICE("GET"),
        .listener = SLICE("outer"),
        .from = &from,
        .to = &to,
        .port = 80,
        .scheme = MATCH_HTTP,
    };
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    matcher_done(&m);
    return 0;
}

static void add_host(const char *name)
{
    m.has_host = true;
    if (!m.hosts)
        m.hosts = hosts_new();
    assert_non_null(m.hosts);
    assert_int_equal(hosts_add(m.hosts, slice_str(name)), 0);
}

static void add_word(struct slice **list, unsigned *n, const char *word)
{
    if (!*list)
        *list = mem_array(MOST, sizeof(**list));
    assert_non_null(*list);
    assert_in_range(*n, 0, MOST - 1);
    (*list)[(*n)++] = slice_str(word);
}

static void add_path(const char *text)
{
    if (!m.paths)
        m.paths = mem_array(MOST, sizeof(*m.paths));
    assert_non_null(m.paths);
    m.paths[m.n_paths++] = (struct matcher_text){.text = slice_str(text)};
}

static void add_ports(uint16_t first, uint16_t last)
{
    if (!m.ports)
        m.ports = mem_array(MOST, sizeof(*m.ports));
    assert_non_null(m.ports);
    m.ports[m.n_ports++] = (struct matcher_ports){first, last};
}

static bool holds(void)
{
    return matcher_holds(&m, &facts);
}

static void expect_host(const char *host, bool want)
{
    match_facts_host(&facts, slice_str(host));
    if (holds() != want)
        fail_msg("host %s", host);
}

static void test_no_word_always_holds(void **state)
{
    struct match_facts nothing = {0};

    UNUSED(state);
    assert_true(holds());
    assert_true(matcher_holds(&m, &nothing));
}

/* ---- host ---- */

static void test_host_names(void **state)
{
    UNUSED(state);
    add_host("www.a.example");
    add_host(".b.example");
    expect_host("www.a.example", true);
    expect_host("a.example", false);
    expect_host("b.example", true);
    expect_host("www.b.example", true);
    expect_host("c.example", false);
    expect_host("192.0.2.1", false);
    match_facts_host(&facts, SLICE_NONE);
    assert_false(holds());
}

static void test_host_ranges(void **state)
{
    UNUSED(state);
    m.has_host = true;
    m.host_ranges = ranges_of("192.0.2.0/24", "2001:db8::/32");
    expect_host("192.0.2.0", true);
    expect_host("192.0.2.255", true);
    expect_host("192.0.3.0", false);
    expect_host("2001:db8::1", true);
    expect_host("2001:db9::1", false);
    expect_host("::ffff:192.0.2.7", true); /* the same host (U2) */
    expect_host("::ffff:192.0.3.7", false);
    expect_host("::192.0.2.7", false);
    expect_host("a.example", false);
    expect_host("192.0.2", false);
    expect_host("", false);
}

/* A name is in no range, whatever it resolves to, and a literal is no name. */
static void test_names_are_no_literals(void **state)
{
    UNUSED(state);
    add_host("192.0.2.1");
    add_host("2001:db8::1");
    add_host(".2.9");
    expect_host("192.0.2.1", false);
    expect_host("2001:db8::1", false);
    expect_host("192.0.2.9", false);
    m.host_ranges = ranges_of("0.0.0.0/0", "::/0");
    expect_host("192.0.2.1", true);
    expect_host("2001:db8::1", true);
    expect_host("a.example", false);
}

static void test_names_and_ranges(void **state)
{
    UNUSED(state);
    add_host(".a.example");
    m.host_ranges = ranges_of("192.0.2.0/24", NULL);
    expect_host("x.a.example", true);
    expect_host("192.0.2.1", true);
    expect_host("b.example", false);
    expect_host("192.0.3.1", false);
}

/* A word that was given without a value matches nothing. */
static void test_host_of_nothing(void **state)
{
    UNUSED(state);
    m.has_host = true;
    expect_host("www.a.example", false);
    expect_host("192.0.2.1", false);
}

static void test_any_host(void **state)
{
    UNUSED(state);
    m.has_host = m.any_host = true;
    expect_host("www.a.example", true);
    expect_host("192.0.2.1", true);
    expect_host("", true);
    add_host("b.example");
    expect_host("www.a.example", true);
    /* the other words are demanded all the same */
    add_ports(443, 443);
    expect_host("www.a.example", false);
    facts.port = 443;
    expect_host("www.a.example", true);
}

/* What is an address, however near a name comes to one; and what was worked out of another host is forgotten. */
static void test_facts_host(void **state)
{
    static const struct {
        const char *host;
        int family;
    } rows[] = {
        {"", AF_UNSPEC},          {"a.example", AF_UNSPEC}, {"host1", AF_UNSPEC},       {"1host", AF_UNSPEC},     {"a.1x1", AF_UNSPEC},
        {"1.2.3", AF_UNSPEC},     {"1.2.3.4", AF_INET},     {"1.2.3.4.", AF_UNSPEC},    {"1.2.3.256", AF_UNSPEC}, {"1", AF_UNSPEC},
        {"::1", AF_INET6},        {"::", AF_INET6},         {"::ffff:1.2.3.4", AF_INET6}, {"fe80::a", AF_INET6},    {"a:b", AF_UNSPEC},
        {"1.2.3.4:80", AF_UNSPEC}, {".", AF_UNSPEC},         {".4", AF_UNSPEC},          {"1.2.3.x4", AF_UNSPEC},
    };
    struct hosts_key key = {.n = 1};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        facts.key = &key;
        match_facts_host(&facts, slice_str(rows[i].host));
        if (facts.literal.sa.sa_family != rows[i].family)
            fail_msg("%s", rows[i].host);
        assert_null(facts.key);
        assert_true(slice_eq(facts.host, slice_str(rows[i].host)));
    }
}

/* ---- the other words ---- */

static void test_port(void **state)
{
    static const struct {
        uint16_t port;
        bool in;
    } rows[] = {{0, false},    {79, false},    {80, true},   {81, false},
                {7999, false}, {8000, true},   {8080, true}, {8099, true},
                {8100, false}, {65534, false}, {65535, true}};

    UNUSED(state);
    add_ports(80, 80);
    add_ports(8000, 8099);
    add_ports(65535, 65535);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        facts.port = rows[i].port;
        if (holds() != rows[i].in)
            fail_msg("port %u", rows[i].port);
    }
    /* 0 is no port, it says that there is none */
    m.ports[0] = (struct matcher_ports){0, 65535};
    facts.port = 1;
    assert_true(holds());
    facts.port = 0;
    assert_false(holds());
}

static void test_path(void **state)
{
    static const struct {
        const char *path;
        bool in;
    } rows[] = {
        {"/v1/", true},    {"/v1/users", true}, {"/v1/users?q=1", true},
        {"/v1", false},    {"/v2/", false},     {"/V1/", false},
        {"/", false},      {"", false},         {"/x?y=/v1/", false},
        {"/v1?/", false},  {"/about", true},    {"/about?", true},
        {"/abouts", true}, {"/abou", false},    {"*", false},
        {"?", false},      {"//v1/", false},
    };

    UNUSED(state);
    add_path("/v1/");
    add_path("/about");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        facts.path = slice_str(rows[i].path);
        if (holds() != rows[i].in)
            fail_msg("path %s", rows[i].path);
    }
    facts.path = SLICE_NONE; /* a CONNECT */
    assert_false(holds());
    /* The query is never looked at, even by a prefix that names one. */
    m.paths[0].text = SLICE("/v1/?q");
    facts.path = SLICE("/v1/?q");
    assert_false(holds());
    /* Every path, but there must be one. */
    m.paths[0].text = SLICE("");
    assert_true(holds());
    facts.path = SLICE_NONE;
    assert_false(holds());
}

static void test_method(void **state)
{
    UNUSED(state);
    add_word(&m.methods, &m.n_methods, "POST");
    assert_false(holds());
    add_word(&m.methods, &m.n_methods, "GET");
    assert_true(holds());
    facts.method = SLICE("get"); /* methods have case (RFC 9110 9.1) */
    assert_false(holds());
    facts.method = SLICE("GETS");
    assert_false(holds());
    facts.method = SLICE("GE");
    assert_false(holds());
    facts.method = SLICE_NONE;
    assert_false(holds());
    /* what is missing does not even equal nothing */
    m.methods[0] = SLICE("");
    assert_false(holds());
}

static void test_listener(void **state)
{
    UNUSED(state);
    add_word(&m.listeners, &m.n_listeners, "inner");
    assert_false(holds());
    add_word(&m.listeners, &m.n_listeners, "outer");
    assert_true(holds());
    facts.listener = SLICE_NONE;
    assert_false(holds());
}

static void test_scheme(void **state)
{
    UNUSED(state);
    for (unsigned want = 1; want < 8; want++) {
        m.schemes = (uint8_t)want;
        for (unsigned bit = 1; bit < 8; bit <<= 1) {
            facts.scheme = (uint8_t)bit;
            assert_int_equal(holds(), (want & bit) != 0);
        }
        facts.scheme = 0;
        assert_false(holds());
    }
}

static void test_from_and_to(void **state)
{
    struct addr none = {0}, file = {0};

    UNUSED(state);
    file.sa.sa_family = AF_UNIX;
    m.has_from = true;
    assert_false(holds()); /* given without a value */
    m.from = ranges_of("10.0.0.0/8", "::/0");
    assert_true(holds());
    facts.from = &to;
    assert_false(holds());
    facts.from = NULL;
    assert_false(holds());
    facts.from = &none;
    assert_false(holds());
    facts.from = &file;
    assert_false(holds());
    facts.from = &from;
    m.has_to = true;
    m.to = ranges_of("192.0.2.9", NULL);
    assert_true(holds());
    facts.to = &from;
    assert_false(holds());
    facts.to = NULL;
    assert_false(holds());
    facts.to = &none;
    assert_false(holds());
    /* mapped is the same host (U2) */
    to = address("::ffff:192.0.2.9");
    facts.to = &to;
    assert_true(holds());
}

/* ---- together ---- */

/* Every word is given, and holds; then each fact in turn is one that does not. */
static void test_all_must_hold(void **state)
{
    struct match_facts good;

    UNUSED(state);
    add_host(".a.example");
    add_ports(80, 80);
    add_path("/v1/");
    add_word(&m.methods, &m.n_methods, "GET");
    add_word(&m.listeners, &m.n_listeners, "outer");
    m.has_from = m.has_to = true;
    m.from = ranges_of("10.0.0.0/8", NULL);
    m.to = ranges_of("192.0.2.0/24", NULL);
    m.schemes = MATCH_HTTP | MATCH_CONNECT;
    good = facts;
    assert_true(holds());
    match_facts_host(&facts, SLICE("b.example"));
    assert_false(holds());
    facts = good;
    facts.port = 81;
    assert_false(holds());
    facts = good;
    facts.path = SLICE("/v2/");
    assert_false(holds());
    facts = good;
    facts.method = SLICE("PUT");
    assert_false(holds());
    facts = good;
    facts.listener = SLICE("inner");
    assert_false(holds());
    facts = good;
    facts.from = &to;
    assert_false(holds());
    facts = good;
    facts.to = &from;
    assert_false(holds());
    facts = good;
    facts.scheme = MATCH_HTTPS;
    assert_false(holds());
    facts = good;
    assert_true(holds());
}

/* What each word says alone, all of them must say together. */
static void test_same_as_each_word_alone(void **state)
{
    static const char *const hosts[] = {"", "www.a.example", "b.example", "192.0.2.1", "10.0.0.1"};
    static const char *const paths[] = {"", "/", "/v1/x", "/v2/"};
    static const char *const methods[] = {"", "GET", "PUT"};
    static struct addr addrs[4]; /* the first is unknown */
    struct matcher whole, alone[5];
    uint64_t seed = 3;
    unsigned yes = 0;

    UNUSED(state);
    addrs[1] = address("10.1.2.3");
    addrs[2] = address("192.0.2.9");
    addrs[3] = address("2001:db8::1");
    add_host(".a.example");
    m.host_ranges = ranges_of("192.0.2.0/24", NULL);
    add_path("/v1/");
    add_word(&m.methods, &m.n_methods, "GET");
    m.has_from = true;
    m.from = ranges_of("10.0.0.0/8", "2001:db8::/32");
    m.schemes = MATCH_HTTP;
    whole = m;
    alone[0] = (struct matcher){.has_host = true, .hosts = m.hosts, .host_ranges = m.host_ranges};
    alone[1] = (struct matcher){.paths = m.paths, .n_paths = m.n_paths};
    alone[2] = (struct matcher){.methods = m.methods, .n_methods = m.n_methods};
    alone[3] = (struct matcher){.has_from = true, .from = m.from};
    alone[4] = (struct matcher){.schemes = m.schemes};
    for (unsigned i = 0; i < 5000; i++) {
        bool all = true, given[5];

        for (unsigned k = 0; k < ARRAY_LEN(given); k++)
            given[k] = random_below(&seed, 2);
        m = whole;
        m.has_host = given[0];
        m.n_paths = given[1] ? whole.n_paths : 0;
        m.n_methods = given[2] ? whole.n_methods : 0;
        m.has_from = given[3];
        m.schemes = given[4] ? whole.schemes : 0;
        match_facts_host(&facts, slice_str(hosts[random_below(&seed, ARRAY_LEN(hosts))]));
        facts.path = slice_str(paths[random_below(&seed, ARRAY_LEN(paths))]);
        facts.method = slice_str(methods[random_below(&seed, ARRAY_LEN(methods))]);
        facts.from = &addrs[random_below(&seed, ARRAY_LEN(addrs))];
        facts.scheme = (uint8_t)(random_below(&seed, 2) ? MATCH_HTTP : MATCH_CONNECT);
        for (unsigned k = 0; k < ARRAY_LEN(given); k++)
            all = all && (!given[k] || matcher_holds(&alone[k], &facts));
        if (holds() != all)
            fail_msg("round %u", i);
        yes += all;
    }
    m = whole;
    assert_in_range(yes, 100, 4900);
}

static void test_done(void **state)
{
    struct matcher zeroed = {0};

    UNUSED(state);
    matcher_done(&zeroed);
    add_host("a.example");
    m.host_ranges = ranges_of("10.0.0.0/8", NULL);
    matcher_done(&m);
    assert_false(m.has_host);
    assert_true(ranges_empty(&m.host_ranges));
    matcher_done(&m);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_no_word_always_holds),
        TEST(test_host_names),
        TEST(test_host_ranges),
        TEST(test_names_are_no_literals),
        TEST(test_names_and_ranges),
        TEST(test_host_of_nothing),
        TEST(test_any_host),
        TEST(test_facts_host),
        TEST(test_port),
        TEST(test_path),
        TEST(test_method),
        TEST(test_listener),
        TEST(test_scheme),
        TEST(test_from_and_to),
        TEST(test_all_must_hold),
        TEST(test_same_as_each_word_alone),
        TEST(test_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
