/* SPDX-License-Identifier: MIT */
/* The index leaves out only rules that say no, and what is decided with it is what is decided without: over random rules and requests, with facts
 * that are there, missing, and missing for good. */
#define POLICY_TEXT_RULES 160
#include "build_config.h"
#include "support/memfail.h"
#include "support/policy_text.h"

#include "random.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { POLICIES = 300, REQUESTS = 40, LINE = 1024, TEXT = 128 * 1024 };

static uint64_t seed;
static struct text_policy policy;
static struct text_request request;
static char rules_text[TEXT], request_text[LINE];

static unsigned below(unsigned n)
{
    return random_below(&seed, n);
}

#define PICK(list) ((list)[below(ARRAY_LEN(list))])

/* ---- rules and requests ---- */

static const char *const hosts[] = {
    "a.example", ".a.example", "www.a.example", ".example", "example", "b.test", ".b.test", ".x.y.z.b.test", "any", "10.0.0.0/8", "10.1.2.3", "10.1.0.0/16",
    "127.0.0.0/8", "::1", "0.0.0.0/0", "::/0", "2001:db8::/32", "0.0.0.0", "::", "64:ff9b::/96", "192.168.0.0/16", "::ffff:10.1.2.3", "8.8.8.8", "255.255.255.255",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:0:0/96"};
static const char *const words[] = {
    "port=22", "port=443", "port=0", "port=8000-9000,22", "port=65535", "method=GET", "scheme=connect", "path=/v1/", "header=x-team", "user=bob", "user=any",
    "user=alice,bob", "user=any,bob", "user=eve", "group=qa,dev", "group=dev", "group=ops", "label=red", "from=10.0.0.0/8", "from=::/0", "from=192.168.0.1",
    "to=10.0.0.0/8", "to=127.0.0.0/8", "to=::1", "to=1.0.0.0/8,2001:db8::/32", "listener=lan", "listener=wan,lan", "sni=.a.example", "time=sat,sun"};

/* One of many, so that most rules are about something else. */
static void put_other(char out[64], const char *what)
{
    unsigned i = below(40);

    if (strcmp(what, "host") == 0)
        snprintf(out, 64, "%sn%u.%s", below(2) ? "." : "", i, below(2) ? "a.example" : "test");
    else if (strcmp(what, "range") == 0)
        snprintf(out, 64, below(2) ? "10.%u.%u.0/24" : "2001:db8:%u:%u::/64", i, below(4));
    else if (strcmp(what, "from") == 0)
        snprintf(out, 64, "%s=10.%u.0.0/16", below(2) ? "from" : "to", i);
    else if (strcmp(what, "port") == 0)
        snprintf(out, 64, "port=%u,%u-%u", i, 100 + i, 110 + i);
    else
        snprintf(out, 64, "%s=x%u", what, i);
}

static size_t put_host(char *out, size_t n)
{
    char other[64];

    put_other(other, below(3) ? "host" : "range");
    return n + (size_t)snprintf(out + n, TEXT - n, " %s", below(4) ? other : PICK(hosts));
}

static size_t put_word(char *out, size_t n, const char *before)
{
    static const char *const many[] = {"user", "group", "listener", "from", "port"};
    char other[64];

    put_other(other, PICK(many));
    return n + (size_t)snprintf(out + n, TEXT - n, " %s%s", before, below(2) ? other : PICK(words));
}

static size_t put_matcher(char *out, size_t n, unsigned most_hosts, unsigned most_words)
{
    for (unsigned i = below(most_hosts + 1); i; i--)
        n = put_host(out, n);
    for (unsigned i = below(most_words + 1); i; i--)
        n = put_word(out, n, "");
    if (below(8) == 0)
        n = put_word(out, n, "!");
    return n;
}

static size_t put_rule(char *out, size_t n)
{
    n += (size_t)snprintf(out + n, TEXT - n, "; %s", below(2) ? "allow" : "deny");
    if (below(4)) {
        n = put_host(out, n);
        n = put_matcher(out, n, 2, 0);
    }
    for (unsigned i = below(3) ? 0 : 1 + below(2); i; i--) {
        n += (size_t)snprintf(out + n, TEXT - n, " {");
        n = put_matcher(out, n, 2, 2);
        n += (size_t)snprintf(out + n, TEXT - n, " }");
    }
    n = put_matcher(out, n, 0, 2);
    return n + (size_t)snprintf(out + n, TEXT - n, "%s%s", below(3) ? "" : " port=any", below(6) ? "" : " report");
}

/* What cannot be read is left out: a rule without destinations is one that never holds. */
static void random_rules(unsigned most)
{
    size_t n = (size_t)snprintf(rules_text, TEXT, "rules; private allow%s", below(5) ? "" : "; report");

    for (unsigned i = 1 + below(most); i; i--)
        n = put_rule(rules_text, n);
    assert_true(n < TEXT);
    text_policy(slice_of(rules_text, n), &policy);
}

static void random_request(void)
{
    static const char *const targets[] = {"a.example",   "www.a.example", "n1.a.example", "x.n2.a.example", "n3.test", "q.w.e.r.t.y.u.i.o.p.x.y.z.b.test",
                                          "example",     "b.test",        "10.1.2.3",     "10.3.2.1",       "8.8.8.8", "[::1]",
                                          "0.0.0.0",     "[::]",          "[2001:db8:3:2::9]", "[64:ff9b::a01:203]", "[64:ff9b::]", "[::ffff:10.1.2.3]",
                                          "255.255.255.255", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", "[::ffff:0.0.0.0]", "nowhere.invalid"};
    static const char *const addresses[] = {"10.1.2.3", "10.3.2.1", "1.2.3.4", "2001:db8:3:2::1", "192.168.0.1", "0.0.0.0", "::", "64:ff9b::a01:203", "127.0.0.1"};
    static const char *const users[] = {" user=?", "", " user=bob groups=qa,ops labels=red granted=red", " user=eve groups=a,b,c,d,e,f,g,h,dev", " user=x3 groups=x1,x2"};
    static const char *const snis[] = {"", " sni=?", " sni=www.a.example"};
    static const unsigned ports[] = {443, 80, 22, 8443, 105, 0, 65535, 3};
    bool connect = below(2);
    int n = snprintf(request_text, LINE, "%s%s:%u%s listener=%s%s%s", connect ? "CONNECT " : "GET http://", PICK(targets), PICK(ports),
                     connect ? "" : "/v1/x", below(2) ? "lan" : "x5", PICK(users), PICK(snis));

    if (below(2))
        n += snprintf(request_text + n, LINE - (size_t)n, " from=%s", PICK(addresses));
    if (below(3))
        n += snprintf(request_text + n, LINE - (size_t)n, " to=%s", below(3) ? PICK(addresses) : "?");
    assert_true(n < LINE);
    text_request(slice_str(request_text), &request);
    request.f.to = request.n_to ? &request.to[0] : NULL;
}

/* ---- the comparison ---- */

struct counts {
    unsigned asked, left_out, held, needs[4], late;
};

/* Whoever does not say no is asked, from wherever the walk begins. */
static void check_walk(const struct rules_index *index, unsigned from, unsigned head, struct counts *c)
{
    struct match_facts f = request.f;
    struct hosts_key key = {.n = 0};
    struct rules_walk w, copy;
    unsigned next;

    f.key = &key;
    rules_walk_init(&w, index, policy.p.n_rules, &f);
    w.head = head;
    next = rules_walk_next(&w, from);
    for (unsigned i = from; i < policy.p.n_rules; i++) {
        enum match_answer a = rule_ask(&policy.rules[i], &request.f, NULL);

        if (i < next && a != MATCH_NO)
            fail_msg("%s\n%s\nrule %u is left out, and says %d", rules_text, request_text, i + 1, a);
        c->left_out += i < next;
        if (i != next)
            continue;
        c->asked++;
        c->held += a == MATCH_YES;
        copy = w;
        next = rules_walk_next(&w, i + 1);
        assert_true(next > i);
        assert_int_equal(rules_walk_next(&copy, i + 1), next);
    }
    assert_true(next >= policy.p.n_rules);
}

static struct verdict judge(const struct rules_index *index, const struct match_facts *f, unsigned from, const struct verdict *before)
{
    policy.p.index = index;
    return policy_judge(&policy.p, f, from, before, NULL);
}

static void same(const struct verdict *with, const struct verdict *without, const char *how)
{
    char one[TEXT_VERDICT], other[TEXT_VERDICT];

    text_verdict(&policy, with, one);
    text_verdict(&policy, without, other);
    if (strcmp(one, other) != 0 || with->place != without->place || with->what != without->what || with->would != without->would)
        fail_msg("%s\n%s\n%s: with the index %s, without %s", rules_text, request_text, how, one, other);
}

/* What was missing comes, one after the other. */
static void check_verdicts(const struct rules_index *index, struct counts *c)
{
    struct match_facts f = request.f;
    struct verdict with = judge(index, &f, 0, NULL), without = judge(NULL, &f, 0, NULL);
    struct addr to;

    same(&with, &without, "at first");
    c->late += without.by && without.by - policy.rules > RULES_INDEX_HEAD;
    for (unsigned i = 0; i < 3 && without.kind == VERDICT_NEEDS; i++) {
        struct verdict before = without;

        c->needs[before.needs]++;
        if (before.needs == FACT_USER) {
            f.pending &= (uint8_t)~MATCH_PENDING_USER;
            f.user = below(2) ? SLICE("alice") : SLICE("x7");
            f.groups = below(2) ? SLICE("dev") : SLICE("x8,x9");
        } else if (before.needs == FACT_ADDRESS) {
            f.pending &= (uint8_t)~MATCH_PENDING_ADDRESS;
            assert_int_equal(addr_parse_host(below(2) ? SLICE("10.1.2.3") : SLICE("10.7.1.1"), f.port, &to), 0);
            f.to = &to;
        } else {
            f.pending &= (uint8_t)~MATCH_PENDING_SNI;
            f.sni = SLICE("www.a.example");
        }
        with = judge(index, &f, before.rule, &before);
        without = judge(NULL, &f, before.rule, &before);
        same(&with, &without, "resumed");
        without = judge(NULL, &f, 0, NULL);
        same(&with, &without, "anew");
    }
}

static void check_policy(unsigned most, struct counts *c)
{
    struct rules_index *index;

    random_rules(most);
    assert_int_equal(rules_index_new(policy.rules, policy.p.n_rules, &index), 0);
    for (unsigned i = 0; i < REQUESTS; i++) {
        random_request();
        check_walk(index, 0, 0, c);
        check_walk(index, below(policy.p.n_rules), below(4 * RULES_INDEX_HEAD), c);
        check_verdicts(index, c);
    }
    rules_index_free(index);
    text_policy_done(&policy);
}

static void test_leaves_out_only_what_says_no(void **state)
{
    struct counts c = {0};

    UNUSED(state);
    for (unsigned i = 0; i < POLICIES; i++)
        check_policy(i % 2 ? 40 : POLICY_TEXT_RULES, &c);
    print_message("%u asked, %u of them hold, %u left out; needs %u %u %u; %u decided behind the first\n", c.asked, c.held, c.left_out, c.needs[FACT_USER],
                  c.needs[FACT_ADDRESS], c.needs[FACT_SNI], c.late);
    assert_true(c.left_out > c.asked && c.held > 1000 && c.late > 500);
    assert_true(c.needs[FACT_USER] > 100 && c.needs[FACT_ADDRESS] > 100 && c.needs[FACT_SNI] > 4);
}

/* ---- what has no room ---- */

/* Rules of one kind, made by hand: each denies one host. */
struct many {
    struct rule *rules;
    struct matcher *where;
    unsigned n;
};

static void many_new(struct many *m, unsigned n)
{
    m->n = n;
    m->rules = mem_array(n, sizeof(*m->rules));
    m->where = mem_array(n, sizeof(*m->where));
    assert_true(m->rules && m->where);
    for (unsigned i = 0; i < n; i++) {
        m->rules[i] = (struct rule){.kind = RULE_DENY, .where = &m->where[i], .n_where = 1, .place = "f"};
        m->where[i].has_host = true;
    }
}

static void many_done(struct many *m)
{
    for (unsigned i = 0; i < m->n; i++)
        matcher_done(&m->where[i]);
    mem_free(m->where);
    mem_free(m->rules);
}

static void many_name(struct many *m, unsigned i, const char *name)
{
    if (!m->where[i].hosts)
        m->where[i].hosts = hosts_new();
    assert_non_null(m->where[i].hosts);
    assert_int_equal(hosts_add(m->where[i].hosts, slice_str(name)), 0);
}

/* How many a walk asks, and whether it asks all that hold. */
static unsigned many_asked(const struct many *m, const struct rules_index *index, const char *host, unsigned *ret_hold)
{
    struct match_facts f = {.port = 443, .scheme = MATCH_CONNECT, .opaque = true, .minute = MATCH_NO_MINUTE};
    struct hosts_key key = {.n = 0};
    struct rules_walk w;
    unsigned asked = 0, hold = 0, next = 0;

    match_facts_host(&f, slice_str(host));
    f.key = &key;
    rules_walk_init(&w, index, m->n, &f);
    w.head = 0;
    for (unsigned i = 0; i < m->n; i++) {
        next = i == 0 || next < i ? rules_walk_next(&w, i) : next;
        asked += next == i;
        if (rule_ask(&m->rules[i], &f, NULL) == MATCH_NO)
            continue;
        assert_int_equal(next, i);
        hold++;
    }
    *ret_hold = hold;
    return asked;
}

static void many_index(const struct many *m, struct rules_index **ret_index)
{
    assert_int_equal(rules_index_new(m->rules, m->n, ret_index), 0);
}

static void test_few_rules_have_none(void **state)
{
    struct rules_index *index;
    struct many m;

    UNUSED(state);
    many_new(&m, RULES_INDEX_MIN);
    for (unsigned i = 0; i < m.n; i++)
        many_name(&m, i, "a.example");
    assert_int_equal(rules_index_new(m.rules, m.n - 1, &index), 0);
    assert_null(index);
    many_index(&m, &index);
    assert_non_null(index);
    rules_index_free(index);
    /* nothing to go by */
    for (unsigned i = 0; i < m.n; i++)
        m.where[i].any_host = true;
    many_index(&m, &index);
    assert_null(index);
    rules_index_free(NULL);
    many_done(&m);
}

static void test_one_of_a_thousand(void **state)
{
    struct rules_index *index;
    struct many m;
    char name[64];
    unsigned hold;

    UNUSED(state);
    many_new(&m, 1000);
    for (unsigned i = 0; i < m.n; i++) {
        snprintf(name, sizeof(name), "%shost%u.example", i % 2 ? "." : "", i);
        many_name(&m, i, name);
    }
    many_index(&m, &index);
    assert_int_equal(many_asked(&m, index, "host998.example", &hold), 1);
    assert_int_equal(hold, 1);
    assert_int_equal(many_asked(&m, index, "www.host999.example", &hold), 1);
    assert_int_equal(hold, 1);
    assert_int_equal(many_asked(&m, index, "www.host998.example", &hold), 0);
    assert_int_equal(many_asked(&m, index, "10.1.2.3", &hold), 0);
    assert_int_equal(many_asked(&m, index, "", &hold), 0);
    rules_index_free(index);
    many_done(&m);
}

/* One list of more names than there is room for is asked itself, the others are not. */
static void test_long_lists(void **state)
{
    struct rules_index *index;
    struct many m;
    char name[64];
    unsigned hold;

    UNUSED(state);
    many_new(&m, 40);
    for (unsigned i = 0; i < m.n; i++)
        for (unsigned k = 0; k < (i == 20 ? 70000 : 100); k++) {
            snprintf(name, sizeof(name), "n%u.list%u.example", k, i);
            many_name(&m, i, name);
        }
    many_index(&m, &index);
    assert_int_equal(many_asked(&m, index, "nowhere.example", &hold), 1);
    assert_int_equal(hold, 0);
    assert_int_equal(many_asked(&m, index, "n69999.list20.example", &hold), 1);
    assert_int_equal(hold, 1);
    assert_int_equal(many_asked(&m, index, "n99.list39.example", &hold), 2);
    assert_int_equal(hold, 1);
    rules_index_free(index);
    many_done(&m);
}

static void test_one_of_many_ranges(void **state)
{
    struct rules_index *index;
    struct many m;
    unsigned hold;

    UNUSED(state);
    many_new(&m, 200);
    for (unsigned i = 0; i < m.n; i++) {
        char text[64];
        struct addr_range r;

        snprintf(text, sizeof(text), i % 2 ? "9.0.%u.0/24" : "2001:db8:0:%x::/64", i);
        assert_int_equal(addr_range_parse(slice_str(text), &r), 0);
        assert_int_equal(ranges_build(&r, 1, &m.where[i].host_ranges), 0);
    }
    many_index(&m, &index);
    assert_int_equal(many_asked(&m, index, "9.0.5.255", &hold), 1);
    assert_int_equal(hold, 1);
    assert_int_equal(many_asked(&m, index, "9.0.6.0", &hold), 0);
    assert_int_equal(many_asked(&m, index, "2001:db8:0:10:ffff:ffff:ffff:ffff", &hold), 1);
    assert_int_equal(hold, 1);
    assert_int_equal(many_asked(&m, index, "2001:db8:0:11::", &hold), 0);
    assert_int_equal(many_asked(&m, index, "a.example", &hold), 0);
    rules_index_free(index);
    many_done(&m);
}

/* A name that is under more than there is room for. */
static void test_many_suffixes(void **state)
{
    struct rules_index *index;
    struct many m;
    char name[128] = "x";
    unsigned hold;

    UNUSED(state);
    many_new(&m, 40);
    for (unsigned i = 0; i < m.n; i++) {
        char suffix[sizeof(name) + 1];

        snprintf(suffix, sizeof(suffix), ".%s", name);
        many_name(&m, i, suffix);
        snprintf(name, sizeof(name), "x%.120s", suffix);
    }
    many_index(&m, &index);
    assert_int_equal(many_asked(&m, index, name, &hold), 40);
    assert_int_equal(hold, 40);
    assert_int_equal(many_asked(&m, index, "x.x.x", &hold), 3);
    assert_int_equal(hold, 3);
    rules_index_free(index);
    many_done(&m);
}

/* n ranges of IPv4, 2 * step apart from first on. */
static void many_ranges(struct many *m, unsigned i, uint32_t first, uint32_t step, unsigned n)
{
    struct ranges *r = &m->where[i].host_ranges;

    r->v4 = mem_array(n, sizeof(*r->v4));
    assert_non_null(r->v4);
    for (r->n4 = 0; r->n4 < n; r->n4++) {
        r->v4[r->n4].first = first + 2 * step * (uint32_t)r->n4;
        r->v4[r->n4].last = r->v4[r->n4].first + step - 1;
    }
}

/* 450 rules that all span 450 others' ranges are more than there is room for: half of them, those with the longer lists, are asked themselves. */
static void test_overlapping_ranges(void **state)
{
    struct rules_index *index;
    struct many m;
    unsigned hold;

    UNUSED(state);
    many_new(&m, 900);
    for (unsigned i = 0; i < m.n; i++) {
        if (i % 2)
            many_ranges(&m, i, 0x0a000000 + i * 1024, 256, 1);
        else
            many_ranges(&m, i, 0x0a000000, 1 << 24, i % 4 ? 1 : 20);
    }
    many_index(&m, &index);
    assert_int_equal(many_asked(&m, index, "10.0.4.9", &hold), 451);
    assert_int_equal(hold, 451);
    assert_int_equal(many_asked(&m, index, "200.1.2.3", &hold), 225);
    assert_int_equal(hold, 0);
    rules_index_free(index);
    many_done(&m);
}

static void test_as_many_as_there_may_be(void **state)
{
    struct rules_index *index;
    struct many m;
    char name[64];
    unsigned hold;

    UNUSED(state);
    many_new(&m, RULE_LISTS_RULES_MAX + 1);
    for (unsigned i = 0; i < m.n; i++) {
        snprintf(name, sizeof(name), "n%u.example", i);
        many_name(&m, i, name);
    }
    many_index(&m, &index);
    assert_null(index);
    m.n--;
    many_index(&m, &index);
    assert_int_equal(many_asked(&m, index, "n65535.example", &hold), 1);
    assert_int_equal(hold, 1);
    rules_index_free(index);
    m.n++;
    many_done(&m);
}

/* A configuration that there is no memory for is refused, and nothing is left of it. */
static void test_no_memory(void **state)
{
    struct rules_index *index = NULL;

    UNUSED(state);
    random_rules(100);
    while (policy.p.n_rules < 60) {
        text_policy_done(&policy);
        random_rules(100);
    }
    for (memfail_start(); memfail_next();) {
        int r = rules_index_new(policy.rules, policy.p.n_rules, &index);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        if (r < 0)
            assert_null(index);
    }
    assert_non_null(index);
    rules_index_free(index);
    text_policy_done(&policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_rules_have_none),
        cmocka_unit_test(test_one_of_a_thousand),
        cmocka_unit_test(test_long_lists),
        cmocka_unit_test(test_one_of_many_ranges),
        cmocka_unit_test(test_many_suffixes),
        cmocka_unit_test(test_overlapping_ranges),
        cmocka_unit_test(test_as_many_as_there_may_be),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_leaves_out_only_what_says_no),
    };
    const char *given = getenv("GINNEL_TEST_SEED");

    seed = given ? (uint64_t)strtoull(given, NULL, 10) : 5;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
