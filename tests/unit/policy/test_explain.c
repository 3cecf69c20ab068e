/* SPDX-License-Identifier: MIT */
/* What refusals say, as a table (U39), and that the line which would let a request pass is the least that does (U40). support/policy_text.h explains how rules and
 * requests are written; a rule's place is its number. */
#include "policy/explain.h"

#include "support/policy_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct text_policy policy;
static struct text_request request;
static struct explain told;

/* The verdict of the first address that is refused, or without one. */
static struct verdict judge(struct match_facts *f)
{
    struct verdict v = text_judge(&policy.p, &request.f, NULL);

    f->to = NULL;
    for (unsigned i = 0; v.kind != VERDICT_DENY && i < request.n_to; i++) {
        v = text_judge(&policy.p, &request.f, &request.to[i]);
        f->to = &request.to[i];
    }
    return v;
}

static void ask(const char *rules, const char *line, enum explain_reader reader)
{
    struct match_facts f;
    struct verdict v;

    text_policy(slice_str(rules), &policy);
    text_request(slice_str(line), &request);
    assert_int_equal(policy.errors + request.errors, 0);
    f = request.f;
    v = judge(&f);
    assert_int_equal(v.kind, VERDICT_DENY);
    explain(&policy.p, &f, &v, reader, &told);
    text_policy_done(&policy);
}

static const struct row {
    const char *rules, *request, *why, *way;
    const char *before; /* NULL: anywhere */
} rows[] = {
    {"deny ads.test", "GET http://ads.test/", "a rule refuses ads.test:80", "- allow: ads.test", "1"},
    {"allow b.test; deny .test", "CONNECT a.test:8443", "a rule refuses a.test:8443", "- {allow: a.test, port: 8443}", "2"},
    {"rules", "GET http://a.test/", "there is no rule, so nothing allows a.test:80", "- allow: a.test", NULL},
    {"allow b.test", "GET http://a.test/", "no rule allows a.test:80", "- allow: a.test", NULL},
    {"allow b.test; allow a.test port=8000", "GET http://a.test/", "no rule allows a.test:80; the nearest, at f:2, fails at `port`", "- allow: a.test", NULL},
    {"allow a.test", "CONNECT a.test:22", "no rule allows a.test:22; the nearest, at f:1, fails at `port`", "- {allow: a.test, port: 22}", NULL},
    {"allow a.test user=jane", "GET http://a.test/ user=bob", "no rule allows a.test:80; the nearest, at f:1, fails at `user`", "- {allow: a.test, user: bob}", NULL},
    {"allow a.test group=qa", "GET http://a.test/ user=bob", "no rule allows a.test:80; the nearest, at f:1, fails at `group`", "- {allow: a.test, user: bob}", NULL},
    {"allow a.test user=jane", "GET http://a.test/", "no rule allows a.test:80; the nearest, at f:1, fails at `user`", "- allow: a.test", NULL},
    {"allow a.test from=10.0.0.0/8", "GET http://a.test/ from=192.0.2.7", "no rule allows a.test:80; the nearest, at f:1, fails at `from`",
     "- {allow: a.test, from: 192.0.2.7}", NULL},
    {"allow a.test from=10.0.0.0/8", "GET http://a.test/ from=2001:db8::1", "no rule allows a.test:80; the nearest, at f:1, fails at `from`",
     "- {allow: a.test, from: \"2001:db8::1\"}", NULL},
    {"allow a.test method=GET", "POST http://a.test/", "no rule allows a.test:80; the nearest, at f:1, fails at `method`", "- {allow: a.test, method: POST}", NULL},
    {"allow a.test listener=lan", "GET http://a.test/ listener=wan", "no rule allows a.test:80; the nearest, at f:1, fails at `listener`",
     "- {allow: a.test, listener: wan}", NULL},
    {"allow a.test path=/up", "GET http://a.test/down", "no rule allows a.test:80; the nearest, at f:1, fails at `path`", "- allow: a.test", NULL},
    {"allow any", "GET http://a.test/ to=10.0.0.5", "the target's address, 10.0.0.5, is in 10.0.0.0/8 (private use), which `private` keeps closed",
     "- {allow: a.test, to: 10.0.0.5}", "1"},
    {"allow any port=any", "CONNECT a.test:22 to=10.0.0.5", "the target's address, 10.0.0.5, is in 10.0.0.0/8 (private use), which `private` keeps closed",
     "- {allow: a.test, to: 10.0.0.5, port: 22}", "1"},
    {"allow any", "GET http://[fd00::1]/", "the target's address, fd00::1, is in fc00::/7 (unique local), which `private` keeps closed", "- allow: \"fd00::1\"", "1"},
    {"deny any to=10.0.0.0/8; allow any", "GET http://a.test/ to=10.0.0.5", "a rule refuses a.test:80", "- {allow: a.test, to: 10.0.0.5}", "1"},
    {"allow b.test", "GET http://[2001:db8::1]/", "no rule allows [2001:db8::1]:80", "- allow: \"2001:db8::1\"", NULL},
    {"allow b.test", "GET http://any/", "no rule allows any:80", "- allow: .any", NULL},
    {"allow b.test", "GET http://no/", "no rule allows no:80", "- allow: \"no\"", NULL},
    {"allow b.test", "GET http://-x/", "no rule allows -x:80", "- allow: \"-x\"", NULL},
    {"ports 80", "GET http://a.test:81/", "port 81 is not open", "the operator adds 81 to `ports`", NULL},
    {"private deny; ports 80", "GET http://a.test/ to=10.0.0.5", "the target's address, 10.0.0.5, is in 10.0.0.0/8 (private use), which `private` keeps closed",
     "`rules: [{allow: a.test, to: 10.0.0.5}, {allow: any}]`", NULL},
    {"private deny", "GET http://a.test/ to=10.0.0.5", "the target's address, 10.0.0.5, is in 10.0.0.0/8 (private use), which `private` keeps closed",
     "`rules: [{allow: a.test, to: 10.0.0.5}, {allow: any, port: any}]`", NULL},
    {"own 127.0.0.1:3128; allow any port=any", "GET http://127.0.0.1:3128/ to=127.0.0.1", "the target is this proxy itself", "", NULL},
    {"admin 127.0.0.1:8128; allow any port=any", "GET http://127.0.0.1:8128/ to=127.0.0.1", "the target is an address of this proxy's own administration", "", NULL},
};

static void test_table(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];

        ask(r->rules, r->request, EXPLAIN_OPERATOR);
        if (strcmp(told.why, r->why) != 0 || strcmp(told.way, r->way) != 0)
            fail_msg("%s\n%s\nsays \"%s\", \"%s\"\ninstead of \"%s\", \"%s\"", r->rules, r->request, told.why, told.way, r->why, r->way);
        assert_int_equal(told.kind == EXPLAIN_NO_WAY, r->way[0] == '\0');
        assert_int_equal(told.kind == EXPLAIN_RULE, strncmp(r->way, "- ", 2) == 0);
        if ((told.before == NULL) != (r->before == NULL) || (r->before && !strstr(told.before, r->before)))
            fail_msg("%s: before %s instead of %s", r->request, told.before ? told.before : "nothing", r->before ? r->before : "nothing");
    }
}

/* DESIGN 2: who may not know the addresses of names is not told of them, by no way around; a literal is no secret. */
static void test_what_clients_are_told(void **state)
{
    static const struct {
        const char *rules, *request;
    } secret[] = {
        {"allow any", "GET http://a.test/ to=10.0.0.5"},
        {"deny any to=10.0.0.0/8; allow any", "GET http://a.test/ to=10.0.0.5"},
        {"private deny", "GET http://a.test/ to=10.0.0.5"},
        {"allow .test to=192.0.2.0/24", "GET http://a.test/ to=10.0.0.5"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(secret); i++) {
        ask(secret[i].rules, secret[i].request, EXPLAIN_CLIENT);
        assert_null(strstr(told.why, "10.0."));
        assert_null(strstr(told.way, "10.0."));
        assert_int_not_equal(told.kind, EXPLAIN_NO_WAY);
    }
    ask("allow any", "GET http://10.0.0.5/", EXPLAIN_CLIENT);
    assert_string_equal(told.way, "- allow: 10.0.0.5");
}

static void assert_scalar(const char *s, size_t n, const char *want)
{
    char out[EXPLAIN_SCALAR];

    explain_scalar(slice_of(s, n), out);
    assert_string_equal(out, want);
}

/* A name of any kind stays one scalar of YAML. */
static void test_scalars(void **state)
{
    char long_name[2 * EXPLAIN_SCALAR], out[EXPLAIN_SCALAR];

    UNUSED(state);
    assert_scalar("plain-1.x_y", 11, "plain-1.x_y");
    assert_scalar("", 0, "\"\"");
    assert_scalar("a b", 3, "\"a b\"");
    assert_scalar("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
    assert_scalar("a\nb\0c\x7f", 6, "\"a\\x0ab\\x00c\\x7f\"");
    assert_scalar("Null", 4, "\"Null\"");
    assert_scalar("on", 2, "\"on\"");
    assert_scalar("\xc3\xb6", 2, "\"\xc3\xb6\"");
    memset(long_name, '"', sizeof(long_name));
    explain_scalar(slice_of(long_name, sizeof(long_name)), out);
    assert_in_range(strlen(out), EXPLAIN_SCALAR - 10, EXPLAIN_SCALAR - 1);
    assert_int_equal(out[strlen(out) - 1], '"');
    assert_int_equal(strlen(out) % 2, 0); /* no quote is left without its backslash */
}

/* What is longer than there is room for is cut. */
static void test_long_names(void **state)
{
    static char name[4096], place[4096];
    struct rule rule = {.kind = RULE_DENY, .name = name, .place = place};
    struct policy p = {.has_rules = true, .rules = &rule, .n_rules = 1};
    struct match_facts f = {.port = 1};
    struct verdict v = {.kind = VERDICT_DENY, .reason = END_DENIED, .by = &rule, .place = place};

    UNUSED(state);
    memset(name, 'n', sizeof(name) - 1);
    memset(place, 'p', sizeof(place) - 1);
    match_facts_host(&f, slice_of(name, sizeof(name) - 1));
    f.user = f.listener = f.host;
    explain(&p, &f, &v, EXPLAIN_OPERATOR, &told);
    assert_int_equal(strlen(told.why), EXPLAIN_WHY - 1);
    assert_true(strlen(told.way) < EXPLAIN_WAY);
    v.by = NULL;
    explain(&p, &f, &v, EXPLAIN_OPERATOR, &told);
    assert_true(strlen(told.why) < EXPLAIN_WHY);
}

static void test_titles(void **state)
{
    struct rule rule = {.kind = RULE_ALLOW, .name = "ci", .place = "f:1"};
    struct verdict v = {.kind = VERDICT_ALLOW, .by = &rule, .place = "f:1"};

    UNUSED(state);
    assert_string_equal(explain_title(&v), "ci");
    rule.name = NULL;
    assert_string_equal(explain_title(&v), "f:1");
    v = (struct verdict){.kind = VERDICT_DENY, .reason = END_ADDRESS_DENIED, .by = &rule, .place = "private"};
    assert_string_equal(explain_title(&v), "private");
    assert_null(explain_title(&(struct verdict){.kind = VERDICT_ALLOW, .place = "everything"}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),      cmocka_unit_test(test_what_clients_are_told), cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_long_names), cmocka_unit_test(test_titles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
