/* SPDX-License-Identifier: MIT */
/* The entries of `upstream`: what they become, what is refused, and by which name. */
#include "app/conf_upstream.h"

#include "app/conf.h"
#include "app/conf_show.h"
#include "base/err.h"
#include "base/mem.h"
#include "support/memfail.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

static void assert_refused(const char *text, unsigned n, const char *what)
{
    struct conf_errors errors;
    struct conf *c;
    bool said = false;

    assert_int_equal(conf_parse("test.yaml", text, strlen(text), &c, &errors), ERR_SYNTAX);
    for (unsigned i = 0; i < errors.n; i++)
        said = said || strstr(errors.v[i].text, what);
    if (errors.n != n || !said)
        conf_errors_print(&errors, stderr, false);
    assert_int_equal(errors.n, n);
    assert_true(said);
    conf_errors_done(&errors);
}

static bool binds(const struct route *r, unsigned i, const char *text)
{
    struct addr_range range;

    assert_int_equal(addr_range_parse(slice_str(text), &range), 0);
    return i < r->n_bind && range.hi == r->bind[i].hi && range.lo == r->bind[i].lo && range.mask_hi == r->bind[i].mask_hi &&
           range.mask_lo == r->bind[i].mask_lo && range.v4 == r->bind[i].v4;
}

static const char entries[] = "upstream:\n"
                              "  - {for: .a.example, bind: [192.0.2.1, \"2001:db8::/64\"]}\n"
                              "  - for: [b.example, {port: 443, from: 10.0.0.0/8}]\n"
                              "    bind: 192.0.2.2\n"
                              "  - {bind: 192.0.2.8/30}\n";

static void assert_entries(const struct conf *c)
{
    struct match_facts f = {.host = SLICE("x.a.example"), .port = 80};

    assert_int_equal(c->n_routes, 3);
    assert_int_equal(c->routes[0].n_bind, 2);
    assert_true(binds(&c->routes[0], 0, "192.0.2.1") && binds(&c->routes[0], 1, "2001:db8::/64"));
    assert_true(binds(&c->routes[1], 0, "192.0.2.2") && binds(&c->routes[2], 0, "192.0.2.8/30"));
    assert_int_equal(c->routes[1].n_where, 2);
    assert_int_equal(c->routes[2].n_where, 0);
    assert_ptr_equal(route_find(c->routes, 3, &f), &c->routes[0]);
    f.host = SLICE("b.example");
    assert_ptr_equal(route_find(c->routes, 3, &f), &c->routes[1]);
    f.host = SLICE("c.example");
    assert_ptr_equal(route_find(c->routes, 3, &f), &c->routes[2]);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(atomic_load(c->routes[i].turn), 0);
        for (unsigned k = 0; k < i; k++)
            assert_ptr_not_equal(c->routes[i].turn, c->routes[k].turn);
    }
}

static void test_entries(void **state)
{
    struct conf *c = parse(entries);

    UNUSED(state);
    assert_entries(c);
    assert_string_equal(c->routes[1].place, "test.yaml:3");
    conf_free(c);
    c = parse("upstream: []\n");
    assert_int_equal(c->n_routes, 0);
    conf_free(c);
    c = parse("upstream: {bind: 192.0.2.1}\n");
    assert_int_equal(c->n_routes, 1);
    conf_free(c);
}

/* Mark and interface, alone or beside addresses. */
static void test_ways(void **state)
{
    struct conf *c = parse("upstream: [{mark: 7, for: a.example}, {interface: eth0, bind: 192.0.2.1}, {mark: 4294967295, interface: fifteen-letters}]\n");
    static const char zeros[ROUTE_INTERFACE_MAX + 1];

    UNUSED(state);
    assert_int_equal(c->n_routes, 3);
    assert_int_equal(c->routes[0].mark, 7);
    assert_memory_equal(c->routes[0].interface, zeros, sizeof(zeros));
    assert_int_equal(c->routes[0].n_bind, 0);
    assert_int_equal(c->routes[1].mark, 0);
    assert_string_equal(c->routes[1].interface, "eth0");
    assert_memory_equal(c->routes[1].interface + 4, zeros, sizeof(zeros) - 4);
    assert_int_equal(c->routes[1].n_bind, 1);
    assert_int_equal(c->routes[2].mark, UINT32_MAX);
    assert_string_equal(c->routes[2].interface, "fifteen-letters");
    conf_free(c);
}

/* What is shown loads, and is the same. */
static void test_shown(void **state)
{
    struct conf *c = parse(entries);
    size_t n;
    char *text = conf_show(c, &n);

    UNUSED(state);
    assert_non_null(text);
    conf_free(c);
    c = parse(text);
    assert_entries(c);
    conf_free(c);
    mem_free(text);
}

static void test_refused(void **state)
{
    char many[4096] = "upstream: {bind: [";

    UNUSED(state);
    assert_refused("upstream: [deny]\n", 1, "\"deny\" as an entry of `upstream` is not in this build");
    assert_refused("upstream: direct\n", 1, "\"direct\" as an entry of `upstream` is not in this build");
    assert_refused("upstream: [{via: direct}]\n", 1, "`via` is not in this build");
    assert_refused("upstream: [{bind: 192.0.2.1, mark: 0}]\n", 1, "`mark` is out of range");
    assert_refused("upstream: [{mark: 0x1}]\n", 1, "`mark` wants a number, not \"0x1\"");
    assert_refused("upstream: [{mark: 4294967296}]\n", 1, "`mark` is out of range");
    assert_refused("upstream: [{interface: an-interface-of-17}]\n", 1, "`interface` is out of range");
    assert_refused("upstream: [{interface: a/b}]\n", 1, "`interface` wants a plain word");
    assert_refused("upstream: [{bind: 192.0.2.1, for: {usr: x}}]\n", 1, "did you mean `user`?");
    assert_refused("upstream: [{for: a.example}]\n", 1, "this entry of `upstream` needs `bind`");
    assert_refused("upstream: [{bind: []}]\n", 1, "`bind` is an empty list");
    assert_refused("upstream: [{bind: any}]\n", 1, "`bind` wants an address or a range");
    assert_refused("upstream: [{bind: 192.0.2.1/24}]\n", 1, "bits behind the prefix are zero");
    assert_refused("upstream: [{bind: 192.0.2.1, bind: 192.0.2.2}]\n", 1, "`bind` is given twice");
    assert_refused("upstream: [{bind: 192.0.2.1, for: {listener: lan}}]\n", 1, "no listener has the name");
    for (int i = 0; i <= CONF_BIND_MAX; i++)
        strcat(many, "192.0.2.1, ");
    strcat(many, "192.0.2.1]}\n");
    assert_refused(many, 1, "`bind` has more than 64 addresses");
}

static void test_many(void **state)
{
    static char many[CONF_ROUTES_MAX * 32 + 64];
    size_t n = (size_t)sprintf(many, "upstream:\n");

    UNUSED(state);
    for (int i = 0; i < CONF_ROUTES_MAX; i++)
        n += (size_t)sprintf(many + n, "- {bind: 192.0.2.1}\n");
    conf_free(parse(many));
    sprintf(many + n, "- {bind: 192.0.2.1}\n");
    assert_refused(many, 1, "`upstream` has more than 1024 entries");
}

/* A file that breaks off anywhere: reported, and nothing else. */
static void test_cut(void **state)
{
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    for (size_t n = 0; n < strlen(entries); n++) {
        if (conf_parse("test.yaml", entries, n, &c, &errors) == 0)
            conf_free(c);
        else
            conf_errors_done(&errors);
    }
}

static void test_memory(void **state)
{
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        int r = conf_parse("test.yaml", entries, strlen(entries), &c, &errors);

        if (r == 0) {
            assert_entries(c);
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
        cmocka_unit_test(test_entries), cmocka_unit_test(test_ways), cmocka_unit_test(test_shown), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_many),    cmocka_unit_test(test_cut),   cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
