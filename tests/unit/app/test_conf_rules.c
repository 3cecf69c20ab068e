/* SPDX-License-Identifier: MIT */
/* `rules`, `private`, `ports` and `policy`: what they become, where they stand, what holds without them, and what is refused (U1, U2, U3). */
#include "app/conf_rules.h"

#include "app/conf.h"
#include "app/conf_policy.h"
#include "app/conf_show.h"
#include "base/err.h"
#include "base/mem.h"
#include "policy/policy.h"
#include "support/memfail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/conf_files.h"

static struct conf *parse(const char *text)
{
    struct conf_errors errors;
    struct conf *c = NULL;
    int r = conf_parse("test.yaml", text, strlen(text), &c, &errors);

    if (r < 0)
        conf_errors_print(&errors, stderr, false);
    assert_int_equal(r, 0);
    return c;
}

static void assert_refused(const char *text, const char *what)
{
    struct conf_errors errors;
    struct conf *c;
    bool said = false;

    assert_int_equal(conf_parse("test.yaml", text, strlen(text), &c, &errors), ERR_SYNTAX);
    for (unsigned i = 0; i < errors.n; i++)
        said = said || strstr(errors.v[i].text, what);
    if (!said)
        conf_errors_print(&errors, stderr, false);
    assert_true(said);
    conf_errors_done(&errors);
}

/* ---- decisions ---- */

/* A request as somebody would write it down. */
struct ask {
    const char *host;
    uint16_t port;
    const char *method, *path, *user, *groups, *labels, *granted, *sni, *to, *from;
    uint16_t minute; /* and one; 0: unknown */
    const char *field, *value;
};

static struct match_facts facts_of(const struct ask *a, struct addr *to, struct addr *from, struct field *field, struct hdrs *fields)
{
    struct match_facts f = {.port = a->port ? a->port : 80, .minute = a->minute ? (uint16_t)(a->minute - 1) : MATCH_NO_MINUTE};
    bool connect = a->method && strcmp(a->method, "CONNECT") == 0;

    match_facts_host(&f, slice_str(a->host));
    f.method = slice_str(a->method ? a->method : "GET");
    f.scheme = connect ? MATCH_CONNECT : MATCH_HTTP;
    f.opaque = connect;
    f.path = connect ? SLICE_NONE : slice_str(a->path ? a->path : "/");
    f.user = a->user ? slice_str(a->user) : SLICE_NONE;
    f.groups = a->groups ? slice_str(a->groups) : SLICE_NONE;
    f.labels = a->labels ? slice_str(a->labels) : SLICE_NONE;
    f.granted = a->granted ? slice_str(a->granted) : SLICE_NONE;
    f.sni = a->sni ? slice_str(a->sni) : SLICE_NONE;
    if (a->to) {
        assert_int_equal(addr_parse_host(slice_str(a->to), f.port, to), 0);
        f.to = to;
    }
    if (a->from) {
        assert_int_equal(addr_parse_host(slice_str(a->from), 0, from), 0);
        f.from = from;
    }
    *fields = (struct hdrs){0};
    if (a->field) {
        *field = (struct field){.name = slice_str(a->field), .value = slice_str(a->value), .id = hdr_id(slice_str(a->field))};
        *fields = (struct hdrs){.v = field, .n = 1};
    }
    f.fields = connect ? NULL : fields;
    return f;
}

/* Which rule decides: its number from 1; 0: none. */
static unsigned decides(const struct conf *c, const struct ask *a)
{
    struct policy p = {.has_rules = true, .rules = c->rules, .n_rules = c->n_rules};
    struct addr to, from;
    struct field field;
    struct hdrs fields;
    struct match_facts f = facts_of(a, &to, &from, &field, &fields);
    struct verdict v = policy_judge(&p, &f, 0, NULL, NULL);

    assert_int_not_equal(v.kind, VERDICT_NEEDS);
    return v.by ? (unsigned)(v.by - c->rules) + 1 : 0;
}

enum { SAT_NOON = 5 * 1440 + 720 + 1, MON_NOON = 720 + 1 };

/* Every word, alone. One rule each; whether it decides. */
static void test_words(void **state)
{
    static const struct {
        const char *rule;
        struct ask ask;
        bool yes;
    } rows[] = {
        {"allow: a.example", {"a.example"}, true},
        {"allow: a.example", {"b.example"}, false},
        {"allow: a.example", {"a.example", .port = 443}, true},
        {"allow: a.example", {"a.example", .port = 8080}, false},
        {"allow: a.example, port: 8080", {"a.example", .port = 8080}, true},
        {"allow: a.example, port: 8080", {"a.example"}, false},
        {"allow: a.example, port: any", {"a.example", .port = 1}, true},
        {"allow: [b.example, {host: a.example, port: 8000-8099}]", {"a.example", .port = 8001}, true},
        {"allow: [b.example, {host: a.example, port: 8000-8099}]", {"b.example", .port = 8001}, false},
        {"allow: [b.example, {host: a.example, port: 8000-8099}]", {"b.example", .port = 443}, true},
        {"deny: a.example", {"a.example", .port = 25}, true},
        {"allow: Bücher.example", {"xn--bcher-kva.example"}, true},
        {"allow: .BÜCHER.example", {"x.xn--bcher-kva.example"}, true},
        {"allow: A.Example.", {"a.example"}, true},
        {"allow: 0x7f.1", {"127.0.0.1"}, true},
        {"allow: 10.0.0.0/8", {"10.1.2.3"}, true},
        {"allow: 10.0.0.0/8", {"a.example", .to = "10.1.2.3"}, false},
        {"deny: 10.0.0.0/8", {"a.example", .to = "10.1.2.3"}, true},
        {"allow: any, to: 10.0.0.0/8", {"a.example", .to = "10.1.2.3"}, true},
        {"allow: any, to: 10.0.0.0/8", {"a.example", .to = "11.1.2.3"}, false},
        {"allow: any, from: 10.0.0.0/8", {"a.example", .from = "10.1.2.3"}, true},
        {"allow: any, from: 10.0.0.0/8", {"a.example", .from = "11.1.2.3"}, false},
        {"allow: any, from: any", {"a.example", .from = "11.1.2.3"}, true},
        {"allow: any, method: [GET, HEAD]", {"a.example", .method = "HEAD"}, true},
        {"allow: any, method: [GET, HEAD]", {"a.example", .method = "POST"}, false},
        {"allow: any, method: CONNECT", {"a.example", .method = "CONNECT"}, true},
        {"allow: any, method: GET", {"a.example", .method = "CONNECT"}, false},
        {"deny: any, method: GET", {"a.example", .method = "CONNECT"}, true},
        {"allow: any, scheme: http", {"a.example"}, true},
        {"allow: any, scheme: [https, connect]", {"a.example"}, false},
        {"allow: any, path: /v1/", {"a.example", .path = "/v1/x"}, true},
        {"allow: any, path: /v1/", {"a.example", .path = "/v2/?/v1/"}, false},
        {"allow: any, path: /v1/", {"a.example", .method = "CONNECT"}, false},
        {"deny: any, path: /v1/", {"a.example", .method = "CONNECT"}, true},
        {"allow: any, path: '/^\\/v[12]\\/(a|b)$/'", {"a.example", .path = "/v2/b"}, true},
        {"allow: any, path: '/^\\/v[12]\\/(a|b)$/'", {"a.example", .path = "/v2/c"}, false},
        {"allow: any, path: [/x, '/y+$/']", {"a.example", .path = "/ayy"}, true},
        {"allow: any, header: {x-team: any}", {"a.example", .field = "X-Team", .value = "z"}, true},
        {"allow: any, header: {x-team: any}", {"a.example"}, false},
        {"allow: any, header: {x-team: [a, b]}", {"a.example", .field = "x-team", .value = "b"}, true},
        {"allow: any, header: {x-team: [a, b]}", {"a.example", .field = "x-team", .value = "B"}, false},
        {"allow: any, header: {x-team: [a, any, '/q/']}", {"a.example", .field = "x-team", .value = "B"}, true},
        {"allow: any, header: {User-Agent: /curl/}", {"a.example", .field = "user-agent", .value = "my curl/7"}, true},
        {"allow: any, header: {User-Agent: /^curl/}", {"a.example", .field = "user-agent", .value = "my curl/7"}, false},
        {"allow: any, header: {a: b, c: d}", {"a.example", .field = "a", .value = "b"}, false},
        {"allow: any, user: [x, y]", {"a.example", .user = "y"}, true},
        {"allow: any, user: [x, y]", {"a.example", .user = "z"}, false},
        {"allow: any, user: any", {"a.example", .user = "z"}, true},
        {"allow: any, user: any", {"a.example"}, false},
        {"allow: any, group: [staff, 'two words']", {"a.example", .user = "z", .groups = "x,two words"}, true},
        {"allow: any, group: staff", {"a.example", .user = "z", .groups = "staffing"}, false},
        {"allow: any, label: prio=high", {"a.example", .user = "z", .labels = "prio=high"}, false},
        {"allow: any, label: prio=high", {"a.example", .user = "z", .labels = "prio=high", .granted = "prio=high"}, true},
        {"deny: any, label: red", {"a.example", .user = "z", .labels = "red"}, true},
        {"allow: any, time: mon-fri 08:00-18:00", {"a.example", .minute = MON_NOON}, true},
        {"allow: any, time: mon-fri 08:00-18:00", {"a.example", .minute = SAT_NOON}, false},
        {"allow: any, time: [mon, sat]", {"a.example", .minute = SAT_NOON}, true},
        {"allow: any, time: 22:00-06:00", {"a.example", .minute = SAT_NOON}, false},
        {"allow: any, time: sat", {"a.example"}, false},
        {"allow: any, sni: [.b.example, c.example]", {"a.example", .method = "CONNECT", .sni = "x.b.example"}, true},
        {"allow: any, sni: c.example", {"a.example", .method = "CONNECT", .sni = "x.c.example"}, false},
        {"allow: any, sni: strict", {"a.example", .method = "CONNECT"}, true},
        {"allow: .a.example, except: x.a.example", {"x.a.example"}, false},
        {"allow: .a.example, except: x.a.example", {"y.a.example"}, true},
        {"allow: {host: .a.example, except: [{host: x.a.example, port: 443}]}", {"x.a.example", .port = 443}, false},
        {"allow: {host: .a.example, except: [{host: x.a.example, port: 443}]}", {"x.a.example", .port = 80}, true},
        {"allow: [c.example, {host: d.example, method: PUT}], from: 10.0.0.0/8", {"d.example", .from = "10.0.0.1", .method = "PUT"}, true},
        {"allow: [c.example, {host: d.example, method: PUT}], from: 10.0.0.0/8", {"d.example", .from = "10.0.0.1"}, false},
        {"allow: any, mode: report", {"a.example"}, false},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char yaml[512];
        struct conf *c;

        snprintf(yaml, sizeof(yaml), "rules: [{%s}]\n", rows[i].rule);
        c = parse(yaml);
        if (decides(c, &rows[i].ask) != rows[i].yes)
            fail_msg("{%s} and %s", rows[i].rule, rows[i].ask.host);
        conf_free(c);
    }
}

static void test_listeners(void **state)
{
    struct conf *c = parse("rules: {allow: any, listener: [lan, b]}\nlisten: [{address: 127.0.0.1:1, name: lan}, {address: 127.0.0.1:2, name: b}]\n");

    UNUSED(state);
    assert_int_equal(c->rules[0].with->n_listeners, 2);
    assert_true(slice_eq(c->rules[0].with->listeners[0], SLICE("lan")));
    conf_free(c);
    assert_refused("rules: {allow: any, listener: lan}\n", "no listener has the name \"lan\"");
}

/* ---- what a rule is ---- */

static void test_keys(void **state)
{
    struct conf *c = parse("rules:\n"
                           "  - allow: [a.example, {host: b.example}, 10.0.0.1]\n"
                           "    name: first\n"
                           "    sni: off\n"
                           "    expect: ssh\n"
                           "    say: Ask\n"
                           "  - {deny: any, mode: report, sni: [log]}\n"
                           "  - deny: any\n"
                           "    mode: enforce\n"
                           "    sni: c.example\n");

    UNUSED(state);
    assert_true(c->has_rules);
    assert_string_equal(c->rules_place, "test.yaml:1");
    assert_int_equal(c->n_rules, 3);
    assert_int_equal(c->rules[0].kind, RULE_ALLOW);
    assert_int_equal(c->rules[0].n_where, 2); /* the bare hosts are one */
    assert_null(c->rules[0].with);
    assert_string_equal(c->rules[0].name, "first");
    assert_string_equal(c->rules[0].say, "Ask");
    assert_string_equal(c->rules[0].place, "test.yaml:2");
    assert_string_equal(rule_title(&c->rules[0]), "first");
    assert_int_equal(c->rules[0].sni, SNI_OFF);
    assert_int_equal(c->rules[0].expect, EXPECT_SSH);
    assert_false(c->rules[0].report);
    assert_int_equal(c->rules[1].kind, RULE_DENY);
    assert_true(c->rules[1].report);
    assert_int_equal(c->rules[1].sni, SNI_LOG);
    assert_string_equal(rule_title(&c->rules[1]), "test.yaml:7");
    assert_int_equal(c->rules[1].expect, EXPECT_DEFAULT);
    assert_false(c->rules[2].report);
    assert_int_equal(c->rules[2].sni, SNI_DEFAULT);
    assert_non_null(c->rules[2].with->snis);
    conf_free(c);
}

/* U3: none is not the same as no key. */
static void test_none(void **state)
{
    struct conf *c = parse("");

    UNUSED(state);
    assert_false(c->has_rules);
    assert_null(c->rules_place);
    conf_free(c);
    c = parse("rules: []\n");
    assert_true(c->has_rules);
    assert_int_equal(c->n_rules, 0);
    assert_int_equal(decides(c, &(struct ask){"a.example"}), 0);
    conf_free(c);
    assert_refused("rules:\n", "`rules` has no value");
    assert_refused("rules: {}\n", "this entry of `rules` needs `allow` or `deny`");
    assert_refused("rules: [[{allow: any}]]\n", "`rules` wants a rule, not a list");
}

/* Files follow each other, and keep their places. */
static void test_include(void **state)
{
    struct conf *c;
    char *text;
    int r;

    UNUSED(state);
    conf_files_text("tenant-b.yaml", "rules:\n  - deny: [./names, b.example]\n");
    conf_files_text("tenant-a.yaml", "# a\nrules:\n  - {allow: a.example, name: a}\n");
    conf_files_text("names", "x.example\n.y.example\n");
    conf_files_text("m.yaml", "include: tenant-*.yaml\nrules:\n  - allow: m.example\nports: 8080\n");
    c = conf_files_load("m.yaml", &r, &text);
    assert_int_equal(r, 0);
    mem_free(text);
    if (!c)
        return;
    assert_int_equal(c->n_rules, 3);
    assert_string_equal(c->rules_place, "m.yaml:2");
    assert_string_equal(c->rules[0].place, "m.yaml:3");
    assert_string_equal(c->rules[1].place, "tenant-a.yaml:3");
    assert_string_equal(c->rules[2].place, "tenant-b.yaml:2");
    /* The ports are those of the whole, wherever they stand. */
    assert_int_equal(decides(c, &(struct ask){"a.example", .port = 8080}), 2);
    assert_int_equal(decides(c, &(struct ask){"a.example", .port = 80}), 0);
    assert_int_equal(decides(c, &(struct ask){"z.y.example", .port = 1}), 3);
    assert_int_equal(decides(c, &(struct ask){"m.example", .port = 8080}), 1);
    conf_free(c);
}

/* ---- ports, private, policy ---- */

static void test_ports(void **state)
{
    static const struct {
        const char *yaml;
        bool out;
        unsigned of_allow, without_rules; /* how many ranges; 0: all */
    } rows[] = {
        {"", false, 2, 0}, {"", true, 2, 2}, {"ports: 8080", false, 1, 1}, {"ports: [80, 443, 8000-8099]", true, 3, 3},
        {"ports: any", true, 0, 0}, {"ports: [80, any]", true, 0, 0},
    };
    const struct matcher_ports *v;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conf *c = parse(rows[i].yaml);

        assert_int_equal(conf_policy_ports_of_allow(c, &v), rows[i].of_allow);
        assert_int_equal(conf_policy_ports(c, rows[i].out, &v), rows[i].without_rules);
        conf_free(c);
    }
    assert_refused("ports: []\n", "`ports` is an empty list");
    assert_refused("ports: 0\n", "`ports` is out of range");
    assert_refused("ports: {a: 1}\n", "`ports` wants a port or any, not a map");
}

/* `ports: any` opens every allow, and `port: any` one. */
static void test_ports_of_allows(void **state)
{
    struct conf *c = parse("ports: any\nrules: [{allow: a.example}, {allow: {host: b.example, port: 22}}]\n");

    UNUSED(state);
    assert_int_equal(decides(c, &(struct ask){"a.example", .port = 25}), 1);
    assert_int_equal(decides(c, &(struct ask){"b.example", .port = 25}), 0);
    conf_free(c);
    c = parse("rules: [{allow: [a.example, {host: b.example, port: 22}], port: [22, 23]}]\n");
    assert_int_equal(decides(c, &(struct ask){"a.example", .port = 23}), 1);
    assert_int_equal(decides(c, &(struct ask){"b.example", .port = 23}), 0);
    assert_int_equal(decides(c, &(struct ask){"b.example", .port = 22}), 1);
    assert_int_equal(decides(c, &(struct ask){"a.example", .port = 80}), 0);
    conf_free(c);
}

/* S002-7: private addresses are closed where others than this machine may ask, or where there are rules. */
static void test_private(void **state)
{
    static const struct {
        const char *yaml;
        bool out;
        enum guard_mode mode;
        const char *why;
    } rows[] = {
        {"", false, GUARD_METADATA, "no listener is off loopback and there are no rules"},
        {"", true, GUARD_DENY, "a listener is off loopback"},
        {"rules: []", false, GUARD_DENY, "there are rules"},
        {"private: allow", true, GUARD_ALLOW, "test.yaml:1"},
        {"rules: []\nprivate: metadata", true, GUARD_METADATA, "test.yaml:2"},
        {"private: deny", false, GUARD_DENY, "test.yaml:1"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conf *c = parse(rows[i].yaml);
        const char *why;

        assert_int_equal(conf_policy_private(c, rows[i].out, &why), rows[i].mode);
        assert_string_equal(why, rows[i].why);
        conf_free(c);
    }
}

/* What is in force is shown, with the reason, and stays unwritten. */
static void test_private_is_shown(void **state)
{
    static const char *const rows[][2] = {
        {"", "\n# private: metadata, since no listener is off loopback and there are no rules\n"},
        {"listen: 10.0.0.1:1\nclients: any", "\n# private: deny, since a listener is off loopback\n"},
        {"rules: []", "\n# private: deny, since there are rules\n"},
        {"private: allow", "\nprivate: allow\n"},
    };
    size_t n;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conf *c = parse(rows[i][0]);
        char *text = conf_show(c, &n);

        assert_non_null(text);
        if (!strstr(text, rows[i][1]))
            fail_msg("no %s in\n%s", rows[i][1], text);
        mem_free(text);
        conf_free(c);
    }
}

static void test_policy(void **state)
{
    struct conf *c = parse("policy: report\n");

    UNUSED(state);
    assert_true(c->report && !c->recheck && !c->say);
    assert_string_equal(c->policy_place, "test.yaml:1");
    conf_free(c);
    c = parse("policy: enforce\n");
    assert_false(c->report);
    conf_free(c);
    c = parse("policy: {say: Ask, recheck: yes}\n");
    assert_true(!c->report && c->recheck);
    assert_string_equal(c->say, "Ask");
    conf_free(c);
    assert_refused("policy: {mode: [report]}\n", "`mode` wants enforce or report, not a list");
    assert_refused("policy: []\n", "`policy` wants report, enforce or a map, not a list");
    assert_refused("policy: report\npolicy: enforce\n", "`policy` is given twice");
}

/* ---- bounds, cuts, memory ---- */

static void test_many(void **state)
{
    enum { CAP = (CONF_RULES_MAX + 2) * 12 + 64 };
    char *yaml = malloc(CAP);
    size_t n;
    struct conf *c;

    UNUSED(state);
    assert_non_null(yaml);
    n = (size_t)sprintf(yaml, "rules:\n");
    for (int i = 0; i < CONF_RULES_MAX; i++)
        n += (size_t)sprintf(yaml + n, "- deny: a\n");
    c = parse(yaml);
    assert_int_equal(c->n_rules, CONF_RULES_MAX);
    conf_free(c);
    sprintf(yaml + n, "- deny: a\n");
    assert_refused(yaml, "`rules` has more than 65536 entries");
    free(yaml);
}

static void test_many_fields(void **state)
{
    char yaml[8192] = "rules: {deny: any, header: {a0: b";

    UNUSED(state);
    for (int i = 1; i < 256; i++)
        sprintf(yaml + strlen(yaml), ", a%d: b", i);
    strcat(yaml, "}}\n");
    conf_free(parse(yaml));
    sprintf(yaml + strlen(yaml) - 3, ", x: y}}\n");
    assert_refused(yaml, "`header` has more than 256 names");
}

static const char everything[] =
    "listen: {address: 127.0.0.1:1, name: lan}\n"
    "rules:\n"
    "  - {deny: [a.example, .b.example, 10.0.0.0/8, {host: c.example, port: 22, except: [d.example, {from: 10.1.0.0/16}]}], name: x}\n"
    "  - {allow: [any, {port: 443}], except: {host: .e.example, time: sat}, sni: log, expect: ssh, mode: report, say: no, listener: lan}\n"
    "  - {allow: {path: [/v1/, '/v[12]/'], except: any}, sni: [.f.example], user: any, group: a b, label: [red, prio=high]}\n"
    "  - {deny: any, header: {x: any, y: ['1', '/b+/']}, user: [ci], to: 192.0.2.0/24, port: any, method: GET, scheme: http}\n"
    "private: metadata\n"
    "ports: [80, 8000-8099]\n"
    "policy: {mode: report, say: hello, recheck: yes}\n"
    "upstream: {for: {user: x, except: y.example}, mark: 3}\n";

/* A file that breaks off anywhere: reported, and nothing else. */
static void test_cut(void **state)
{
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    for (size_t n = 0; n < strlen(everything); n++) {
        if (conf_parse("test.yaml", everything, n, &c, &errors) == 0)
            conf_free(c);
        else
            conf_errors_done(&errors);
    }
}

/* What YAML has and the language has not: reported once, by whoever reads YAML, and nothing is made of it. */
static void test_broken_nodes(void **state)
{
    static const char *const rows[] = {
        "rules: [{allow: a.example, port: *x}]", "rules: [{allow: a.example, port: [80, *x]}]", "rules: [{allow: a.example, time: &x mon}]",
        "rules: [{allow: a.example, scheme: !!str x}]", "rules: [{allow: a.example, header: {a: *x}}]", "rules: [{allow: a.example, header: *x}]",
        "rules: [{allow: a.example, header: {*x : a}}]", "rules: [{*x : a.example, sni: *y, name: *z, mode: *a}]", "rules: [*x]", "rules: *x",
        "rules: [{allow: {port: *x, except: *y}, user: *x, from: *z}]", "rules: [{allow: a, sni: [*x]}]", "rules: [{? [a] : b, allow: x}]",
        "rules: [{allow: a, <<: {port: *x}}]", "rules: [{allow: *x}]", "rules: [{allow: [*x, {port: *y}]}]", "rules: [{deny: any, except: [*x]}]",
        "upstream: {mark: *x, interface: *y, bind: *z}", "upstream: [{for: {port: *x}, mark: 3}]", "upstream: [*x]", "upstream: [{bind: [*x]}]",
        "policy: {mode: *x, recheck: *y, say: *z}", "policy: *x", "ports: *x", "ports: [80, *x]", "private: *x",
        "log: {for: {port: [*x], time: *y}}", "limits: {for: {port: *x}, requests: 5/s}", "limits: {requests: *x}", "users: {file: *x}", "users: *x",
        "users: {command: [*x]}",
    };
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(conf_parse("test.yaml", rows[i], strlen(rows[i]), &c, &errors), ERR_SYNTAX);
        assert_true(errors.n > 0);
        conf_errors_done(&errors);
    }
}

static void test_memory(void **state)
{
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        int r = conf_parse("test.yaml", everything, strlen(everything), &c, &errors);

        if (r == 0) {
            assert_int_equal(c->n_rules, 4);
            conf_free(c);
        } else {
            assert_int_equal(r, ERR_NOMEM);
            conf_errors_done(&errors);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_none),
        cmocka_unit_test_setup_teardown(test_include, conf_files_setup, conf_files_teardown),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_ports_of_allows),
        cmocka_unit_test(test_private),
        cmocka_unit_test(test_private_is_shown),
        cmocka_unit_test(test_policy),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_many_fields),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_broken_nodes),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
