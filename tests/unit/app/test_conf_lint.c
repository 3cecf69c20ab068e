/* SPDX-License-Identifier: MIT */
/* U1: what `check` warns of, and of what it must not. A warning must never be about a rule that does something. */
#include "app/conf_lint.h"

#include "app/conf.h"
#include "app/conf_cover.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/conf_files.h"

/* The second rule of two: whether the first one covers it. */
static bool covers(const char *by, const char *rule)
{
    struct conf_cover cover = {.budget = 100000};
    struct conf_errors errors;
    struct conf *c = NULL;
    char yaml[1024];
    int r;

    snprintf(yaml, sizeof(yaml), "listen: {address: 127.0.0.1:1, name: lan}\nrules:\n  - {%s}\n  - {%s}\n", by, rule);
    r = conf_parse("test.yaml", yaml, strlen(yaml), &c, &errors);
    if (r < 0)
        conf_errors_print(&errors, stderr, false);
    assert_int_equal(r, 0);
    r = conf_cover_rule(&cover, &c->rules[0], &c->rules[1], COVER_ALL);
    conf_free(c);
    return r;
}

static void test_covers(void **state)
{
    static const char *const rows[][2] = {
        {"deny: any", "allow: a.example"},
        {"deny: any", "deny: any, port: 25, from: 10.0.0.0/8"},
        {"allow: any", "allow: a.example"},
        {"allow: any, port: any", "deny: a.example"},
        {"allow: any, port: 1-65535", "deny: a.example"},
        {"deny: .a.example", "allow: a.example"},
        {"deny: .a.example", "allow: [x.a.example, .y.a.example]"},
        {"deny: .a.example", "deny: .a.example"},
        {"allow: [a.example, b.example]", "allow: b.example"},
        {"allow: [a.example, {host: b.example, port: 22}]", "allow: {host: b.example, port: 22}"},
        {"allow: a.example, from: 10.0.0.0/8", "allow: a.example, from: [10.1.0.0/16, 10.2.0.1]"},
        {"allow: a.example, from: '::/0'", "allow: a.example, from: 'fd00::/8'"},
        {"deny: 10.0.0.0/8", "deny: [10.1.0.0/16, 10.2.0.1]"},
        {"deny: any, to: 10.0.0.0/8", "deny: a.example, to: 10.1.0.0/16"},
        {"deny: any, method: [GET, PUT]", "allow: a.example, method: PUT"},
        {"deny: any, path: /a/", "allow: a.example, path: [/a/b, /a/c]"},
        {"deny: any, path: '/a+/'", "allow: a.example, path: '/a+/'"},
        {"deny: any, header: {x: any}", "allow: a.example, header: {X: [b, c], y: z}"},
        {"deny: any, header: {x: [b, c]}", "allow: a.example, header: {X: c}"},
        {"deny: any, user: any", "allow: a.example, user: ci"},
        {"deny: any, user: [ci, qa]", "allow: a.example, user: ci, group: x"},
        {"deny: any, group: [a, b]", "allow: a.example, group: b"},
        {"deny: any, label: [a, b]", "allow: a.example, label: b"},
        {"deny: any, listener: lan", "allow: a.example, listener: lan"},
        {"deny: any, scheme: [http, connect]", "allow: a.example, scheme: connect"},
        {"deny: any, time: mon-fri 08:00-18:00", "allow: a.example, time: tue 09:00-10:00"},
        {"deny: any, time: mon-fri", "allow: a.example, time: tue"},
        {"deny: any, sni: .b.example", "deny: a.example, sni: x.b.example"},
        {"deny: any, port: 1-1000", "allow: a.example"},
        {"allow: a.example, port: [80, 8000-8099]", "allow: {host: a.example, port: 8001-8002}"},
        /* what is narrower because of an exception, or for the time being */
        {"allow: .a.example", "allow: .a.example, except: b.a.example"},
        {"allow: .a.example", "allow: .a.example, mode: report"},
        {"deny: {host: a.example}, from: 10.0.0.0/8", "allow: {host: a.example, from: 10.1.0.0/16}"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (!covers(rows[i][0], rows[i][1]))
            fail_msg("{%s} covers {%s}", rows[i][0], rows[i][1]);
}

static void test_does_not_cover(void **state)
{
    static const char *const rows[][2] = {
        {"allow: any", "deny: a.example"}, /* the other ports */
        {"allow: any", "allow: a.example, port: 8443"},
        {"deny: a.example", "allow: .a.example"},
        {"deny: a.example", "allow: x.a.example"},
        {"deny: x.a.example", "allow: .a.example"},
        {"deny: .x.a.example", "allow: .a.example"},
        {"deny: .b.example", "allow: ab.example"},
        {"deny: [a.example, b.example]", "allow: [a.example, c.example]"},
        {"deny: a.example", "allow: any"},
        {"deny: a.example", "allow: {port: 443}"},
        {"deny: 10.0.0.0/8", "allow: a.example, to: 10.1.0.0/16"},
        {"deny: 10.0.0.0/8", "allow: 11.0.0.1"},
        {"deny: 10.0.0.0/8", "allow: ['10.0.0.1', '::1']"},
        {"allow: 10.0.0.0/8, port: any", "deny: 10.0.0.0/8"}, /* that one is about names, too */
        {"deny: any, from: 10.0.0.0/8", "allow: a.example"},
        {"deny: any, from: 10.0.0.0/8", "allow: a.example, from: [10.0.0.1, 11.0.0.1]"},
        {"deny: any, from: 10.0.0.0/8", "allow: a.example, from: 'fd00::/8'"},
        {"deny: any, to: 10.0.0.0/8", "allow: a.example"},
        {"deny: any, except: a.example", "allow: a.example"},
        {"deny: {host: any, except: a.example}", "allow: a.example"},
        {"deny: any, method: GET", "allow: a.example, method: [GET, PUT]"},
        {"deny: any, path: /a/b", "allow: a.example, path: /a/"},
        {"deny: any, path: '/a/'", "allow: a.example, path: '/a+/'"},
        {"deny: any, header: {x: b}", "allow: a.example, header: {x: any}"},
        {"deny: any, header: {x: b, y: c}", "allow: a.example, header: {x: b}"},
        {"deny: any, user: ci", "allow: a.example, user: any"},
        {"deny: any, user: any", "allow: a.example"},
        {"deny: any, user: ci", "allow: a.example, group: ci"},
        {"deny: any, group: a", "allow: a.example, group: [a, b]"},
        {"deny: any, scheme: http", "allow: a.example"},
        {"deny: any, scheme: http", "allow: a.example, scheme: [http, connect]"},
        {"deny: any, time: mon-fri 08:00-18:00", "allow: a.example, time: mon-sat 08:00-18:00"},
        {"deny: any, time: 22:00-06:00", "allow: a.example, time: 23:00-24:00"}, /* not found: hours over midnight are the next day's */
        {"deny: any, time: 08:00-18:00", "allow: a.example, time: 07:00-09:00"},
        {"deny: any, sni: b.example", "deny: a.example, sni: .b.example"},
        {"deny: any, sni: b.example", "deny: a.example"},
        {"deny: any, port: 25", "allow: a.example"},
        {"allow: any, path: /, port: any", "deny: a.example, path: /"}, /* a CONNECT, which shows no path */
        {"allow: any, label: red, port: any", "deny: a.example, label: red"}, /* labels that nobody has granted */
        {"deny: [{host: a.example, port: 80}, {host: b.example, port: 443}]", "allow: {host: a.example, port: 443}"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (covers(rows[i][0], rows[i][1]))
            fail_msg("{%s} does not cover {%s}", rows[i][0], rows[i][1]);
}

/* ---- warnings ---- */

static char *warnings_of(const char *yaml)
{
    struct conf *c;
    char *text;
    int r;

    conf_files_text("m.yaml", yaml);
    c = conf_files_load("m.yaml", &r, &text);
    if (r < 0)
        fail_msg("%s", text);
    conf_free(c);
    return text;
}

/* Files that are as they should be. */
static void test_quiet(void **state)
{
    static const char *const rows[] = {
        "rules:\n- deny: [ads.example, .tracker.example]\n- allow: any\n",
        "rules:\n- {allow: artifactory.corp.example, to: 10.20.0.0/16, port: 8443}\n- allow: [.github.example, .pypi.example]\n",
        "rules:\n- {allow: any, mode: report}\n- {allow: a.example}\n- deny: any\n",
        "rules:\n- allow: a.example\n- deny: any\n",
        "rules:\n- {allow: any, from: 127.0.0.1}\n- deny: a.example\n- {allow: any, from: 127.0.0.2}\n",
        "rules:\n- {deny: a.example, path: /x, scheme: http}\n- {allow: a.example, path: /y, port: 80}\n- {allow: b.example, method: [GET, CONNECT]}\n",
        "listen: unix:/run/g.sock\nrules:\n- {allow: a.example, user: ci}\n",
        "rules:\n- {deny: any, port: 25}\n- allow: any\n",
        "rules:\n- allow: 10.0.0.1\n- {allow: any, to: 10.0.0.0/8}\n- deny: 10.0.0.0/8\n- allow: any\n",
        "policy: {recheck: yes}\n",
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *text = warnings_of(rows[i]);

        if (text[0])
            fail_msg("%s: %s", rows[i], text);
        mem_free(text);
    }
}

static void test_said(void **state)
{
    static const char *const rows[][2] = {
        {"rules:\n- deny: .a.example\n- allow: [x.a.example, b.example]\n", "\"x.a.example\" is never reached here: the rule in line 2 refuses it already"},
        {"rules:\n- deny: .a.example\n- allow: [x.a.example, y.a.example, .z.a.example, b.example]\n", "\"x.a.example\" and 2 more are never reached here"},
        {"rules:\n- deny: any\n- allow: a.example\n- allow: b.example\n", "m.yaml:3:3: warning: 2 rules are never reached: the rule in line 2 refuses everything"},
        {"rules:\n- {allow: any, port: any}\n- deny: a.example\n", "1 rule is never reached: the rule in line 2 allows everything"},
        {"rules:\n- allow: any\n- deny: a.example\n", "this deny comes too late: the rule in line 2 allows the same hosts"},
        {"rules:\n- {deny: a.example, header: {x: any}}\n", "nobody sees the `header` inside a CONNECT: this deny refuses every CONNECT to its hosts"},
        {"rules:\n- {allow: {host: a.example, path: /x}, port: 400-500}\n", "nobody sees the `path` inside a CONNECT: this allow matches none"},
        {"rules:\n- {allow: a.example, except: {label: x}}\n", "`label` in a rule: without `users` nobody is known"},
        {"rules:\n- allow: 10.0.0.0/8\n", "a range in an allow is about literal addresses only"},
        {"rules:\n- {allow: a.example, name: x}\n- {allow: b.example, name: x}\n", "the rule in line 2 has the name \"x\", too"},
        {"rules:\n- allow: [.a.example, x.a.example]\n", "\"x.a.example\" is in this list already"},
        {"rules:\n- allow: [a.example, a.example]\n", "\"a.example\" is in this list already"},
        {"rules:\n- {allow: a.example, from: [10.0.0.0/8, 10.1.0.0/16]}\n", "\"10.1.0.0/16\" is inside \"10.0.0.0/8\""},
        {"rules:\n- allow: 192.168.0.0/16\n- deny: 192.168.1.5\n", "m.yaml:3:3: warning: this deny comes too late for targets written as addresses: the rule in line 2 allows them"},
        {"rules:\n- {allow: [a.example, {host: b.example, port: 22}], port: [443, 8443]}\n", "no port is both in the destination and beside it"},
        {"rules:\n- {deny: a.example, sni: off}\n", "`sni` in a deny does nothing"},
        {"rules:\n- {deny: a.example, expect: tls}\n", "`expect` in a deny does nothing"},
        {"policy: {say: x}\n", "`policy` without `rules` does nothing"},
        {"listen: 0.0.0.0:1\nclients: any\n", "an open proxy"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *text = warnings_of(rows[i][0]);

        if (!strstr(text, rows[i][1]))
            fail_msg("%s: %s", rows[i][0], text);
        mem_free(text);
    }
}

/* Lists of any size, and any number of rules: it ends, and soon. */
static void test_bounded(void **state)
{
    enum { RULES = 3000, NAMES = 50000 };
    FILE *f = fopen("names", "w"), *m = fopen("m.yaml", "w");
    struct conf *c;
    char *text;
    int r;

    UNUSED(state);
    assert_true(f && m);
    if (!f || !m)
        return;
    for (int i = 0; i < NAMES; i++)
        fprintf(f, "n%d.example\n", i);
    fclose(f);
    fprintf(m, "rules:\n- deny: ./names\n");
    for (int i = 0; i < RULES; i++)
        fprintf(m, "- {allow: [n%d.example, m%d.example], port: 8080}\n", i, i);
    fprintf(m, "- deny: ./names\n");
    fclose(m);
    c = conf_files_load("m.yaml", &r, &text);
    assert_int_equal(r, 0);
    assert_non_null(strstr(text, "\"n0.example\" is never reached here"));
    mem_free(text);
    conf_free(c);
}

#define FILES_TEST(t) cmocka_unit_test_setup_teardown(t, conf_files_setup, conf_files_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_covers), cmocka_unit_test(test_does_not_cover), FILES_TEST(test_quiet), FILES_TEST(test_said),
        FILES_TEST(test_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
