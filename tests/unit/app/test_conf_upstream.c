/* SPDX-License-Identifier: MIT */
/* The entries of `upstream`: what they become, what is refused, and by which name. */
#include "app/conf_upstream.h"

#include "app/conf.h"
#include "app/conf_show.h"
#include "base/err.h"
#include "base/mem.h"
#include "support/memfail.h"

#include <stdio.h>
#include <stdlib.h>
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
    assert_ptr_equal(route_find(c->routes, 3, &f, NULL), &c->routes[0]);
    f.host = SLICE("b.example");
    assert_ptr_equal(route_find(c->routes, 3, &f, NULL), &c->routes[1]);
    f.host = SLICE("c.example");
    assert_ptr_equal(route_find(c->routes, 3, &f, NULL), &c->routes[2]);
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

/* ---- parents ---- */

static const char parents[] = "upstream:\n"
                              "  - {for: .direct.example, via: direct}\n"
                              "  - {for: .deny.example, deny: yes}\n"
                              "  - for: .two.example\n"
                              "    via: [\"http://P1.corp.example:8080/\", {url: \"https://p2.corp.example\", auth: {basic: \"anna:se:cret\"}}, direct]\n"
                              "    auth: {basic: \"Aladdin:open sesame\"}\n"
                              "    resolve: local\n"
                              "    bind: 192.0.2.1\n"
                              "  - for: .chain.example\n"
                              "    chain: [\"http://[2001:DB8::1]:3128\", {url: \"https://192.0.2.7\", auth: {basic: \"b:\"}}, \"HTTP://b\u00fccher.example\"]\n"
                              "  - {via: \"http://last.example:1\", resolve: parent}\n"
                              "  - direct\n"
                              "  - deny\n";

static void assert_hop(const struct hop *h, const char *text, const char *host, const char *authorization)
{
    assert_string_equal(h->text, text);
    assert_true(slice_eq(h->host, slice_str(host)));
    assert_true(slice_eq(h->authorization, slice_str(authorization)));
    assert_int_equal(h->tls, strncmp(text, "https", 5) == 0);
    assert_int_equal(h->port, atoi(strrchr(text, ':') + 1));
}

static void assert_alternatives(const struct route *r)
{
    assert_int_equal(r->n_alternatives, 3);
    assert_int_equal(r->alternatives[0].n_hops, 1);
    assert_hop(r->alternatives[0].hops, "http://p1.corp.example:8080", "p1.corp.example", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_hop(r->alternatives[1].hops, "https://p2.corp.example:443", "p2.corp.example", "Basic YW5uYTpzZTpjcmV0");
    assert_int_equal(r->alternatives[2].n_hops, 0);
    assert_true(r->resolve && !r->deny && route_may_be_direct(r));
    assert_int_equal(r->n_bind, 1);
}

static void assert_chain(const struct route *r)
{
    const struct hop *h = r->alternatives[0].hops;

    assert_int_equal(r->n_alternatives, 1);
    assert_int_equal(r->alternatives[0].n_hops, 3);
    assert_hop(&h[0], "http://[2001:db8::1]:3128", "2001:db8::1", "");
    assert_int_equal(h[0].literal.sa.sa_family, AF_INET6);
    assert_hop(&h[1], "https://192.0.2.7:443", "192.0.2.7", "Basic Yjo=");
    assert_int_equal(h[1].literal.sa.sa_family, AF_INET);
    assert_int_equal(addr_port(&h[1].literal), 0);
    assert_hop(&h[2], "http://xn--bcher-kva.example:80", "xn--bcher-kva.example", "");
    assert_int_equal(h[2].literal.sa.sa_family, AF_UNSPEC);
    assert_false(r->resolve || route_may_be_direct(r));
}

static void assert_parents(const struct conf *c)
{
    assert_int_equal(c->n_routes, 7);
    assert_true(!c->routes[0].n_alternatives && !c->routes[0].deny && c->routes[0].n_where == 1);
    assert_true(c->routes[1].deny && c->routes[1].n_where == 1 && !route_may_be_direct(&c->routes[1]));
    assert_alternatives(&c->routes[2]);
    assert_chain(&c->routes[3]);
    assert_hop(c->routes[4].alternatives[0].hops, "http://last.example:1", "last.example", "");
    assert_false(c->routes[4].resolve);
    assert_true(!c->routes[5].deny && !c->routes[5].n_alternatives && !c->routes[5].n_where);
    assert_true(c->routes[6].deny && !c->routes[6].n_where);
}

static void test_parents(void **state)
{
    struct conf *c = parse(parents);

    UNUSED(state);
    assert_parents(c);
    assert_string_equal(c->routes[2].alternatives[1].hops->place, "test.yaml:5");
    conf_free(c);
    c = parse("upstream: deny\n");
    assert_true(c->n_routes == 1 && c->routes[0].deny);
    conf_free(c);
    c = parse("upstream: {chain: \"http://p.example:1\", auth: {basic: \"a:b\"}}\n");
    assert_hop(c->routes[0].alternatives[0].hops, "http://p.example:1", "p.example", "Basic YTpi");
    conf_free(c);
}

/* What is shown loads, and is the same but for what is secret. */
static void test_parents_shown(void **state)
{
    struct conf *c = parse(parents);
    size_t n, m;
    char *text = conf_show(c, &n), *again;

    UNUSED(state);
    assert_non_null(text);
    assert_null(strstr(text, "cret"));
    assert_null(strstr(text, "sesame"));
    assert_null(strstr(text, "Basic"));
    assert_null(strstr(text, "QWxhZGRpbj"));
    assert_non_null(strstr(text, "# auth: what is written in the configuration, which is not shown"));
    conf_free(c);
    c = parse(text);
    assert_int_equal(c->n_routes, 7);
    assert_int_equal(c->routes[3].alternatives[0].n_hops, 3);
    assert_true(c->routes[2].resolve);
    again = conf_show(c, &m);
    assert_non_null(strstr(again, "- direct\n"));
    mem_free(again);
    conf_free(c);
    mem_free(text);
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

static void test_refused_parents(void **state)
{
    char many[4096] = "upstream: [{chain: [";

    UNUSED(state);
    assert_refused("upstream: denny\n", 1, "did you mean `deny`?");
    assert_refused("upstream: [{via: p.example:3128}]\n", 1, "write the scheme: http://p.example:3128");
    assert_refused("upstream: [{via: \"ftp://p.example:3128\"}]\n", 1, "`via` wants the URL of a proxy or direct, not \"ftp://p.example:3128\"");
    assert_refused("upstream: [{chain: direct}]\n", 1, "`chain` wants the URL of a proxy, not \"direct\"");
    assert_refused("upstream: [{via: \"socks5://p.example:1080\"}]\n", 1, "parents that speak SOCKS are not in this build");
    assert_refused("upstream: [{via: \"http://anna:secret@p.example:3128\"}]\n", 1, "no credentials in the URL of a proxy");
    assert_refused("upstream: [{via: \"http://p.example:3128/proxy\"}]\n", 1, "has a path, which no proxy has");
    assert_refused("upstream: [{via: \"http://p.example:3128?a\"}]\n", 1, "has a path, which no proxy has");
    assert_refused("upstream: [{via: \"http://\"}]\n", 1, "has no host that can be asked for");
    assert_refused("upstream: [{via: \"http:///\"}]\n", 1, "has no host that can be asked for");
    assert_refused("upstream: [{via: \"http://2001:db8::1:3128\"}]\n", 1, "an IPv6 address stands in brackets");
    assert_refused("upstream: [{via: \"http://p.example:0\"}]\n", 1, "has no port that can be connected to");
    assert_refused("upstream: [{via: \"http://p.example:66000\"}]\n", 1, "ports go from 1 to 65535");
    assert_refused("upstream: [{via: \"http://[::1]:x\"}]\n", 1, "has no port that can be connected to");
    assert_refused("upstream: [{via: []}]\n", 1, "`via` is an empty list");
    assert_refused("upstream: [{via: [{auth: {basic: \"a:b\"}}]}]\n", 1, "this entry of `via` needs `url`");
    assert_refused("upstream: [{via: [\"http://p.example:1\", \"http://P.example:1/\"]}]\n", 1, "http://p.example:1 stands in `via` twice");
    assert_refused("upstream: [{via: [direct, direct]}]\n", 1, "direct stands in `via` twice");
    assert_refused("upstream: [{via: \"http://a:1\", chain: \"http://b:1\"}]\n", 1, "`via` and `chain` in one entry of `upstream`");
    assert_refused("upstream: [{via: \"http://a:1\", auth: {negotiate: yes}}]\n", 1, "`negotiate` is not in this build");
    assert_refused("upstream: [{via: \"http://a:1\", auth: {ntlm: yes}}]\n", 1, "`ntlm` is not in this build");
    assert_refused("upstream: [{via: \"http://a:1\", pac: {url: \"http://w/p.pac\"}}]\n", 1, "`pac` is not in this build");
    assert_refused("upstream: [{via: \"http://a:1\", auth: {}}]\n", 1, "this entry of `auth` needs `basic`");
    assert_refused("upstream: [{via: direct, auth: {basic: \"a:b\"}}]\n", 1, "`auth` without a proxy to show it to");
    assert_refused("upstream: [{bind: 192.0.2.1, auth: {basic: \"a:b\"}}]\n", 1, "`auth` without a proxy to show it to");
    assert_refused("upstream: [{chain: [\"http://a:1\", \"http://b:1\"], auth: {basic: \"a:b\"}}]\n", 1, "`auth` beside a `chain` of several proxies");
    assert_refused("upstream: [{bind: 192.0.2.1, resolve: local}]\n", 1, "`resolve` without `via` or `chain`");
    assert_refused("upstream: [{via: \"http://a:1\", resolve: here}]\n", 1, "`resolve` wants parent or local, not \"here\"");
    assert_refused("upstream: [{deny: no}]\n", 1, "`deny: no` says nothing");
    assert_refused("upstream: [{deny: yes, via: direct, mark: 1}]\n", 2, "`mark` beside `deny`: what is refused goes no way");
    for (int i = 0; i <= ROUTE_HOPS_MAX; i++)
        sprintf(many + strlen(many), "\"http://p%d:1\", ", i);
    strcat(many, "\"http://p:1\"]}]\n");
    assert_refused(many, 1, "`chain` has more than 8 proxies");
}

/* Whatever is wrong with it: what is secret is in no message. */
static void test_secret(void **state)
{
    static const char *const texts[] = {
        "upstream: [{via: \"http://a:1\", auth: {basic: \"geheim\"}}]\n",
        "upstream: [{via: \"http://a:1\", auth: {basic: \":geheim\"}}]\n",
        "upstream: [{via: \"http://a:1\", auth: {basic: \"x:geheim\\x01\"}}]\n",
        "upstream: [{via: \"http://a:1\", auth: {basic: ':geheim, und ''geheim'''}, bnd: 1}]\n",
        "upstream: [{via: \"http://a:1\", auth: {basic: x:geheim }, bnd: 1}]\n",
        "upstream: [{via: \"http://a:1\", auth: {basci: x:geheim}}]\n",
        "upstream: [{via: \"http://a:1\", auth: {basic: [x:geheim]}}]\n",
        "upstream: [{via: \"http://a:1\", auth: {basic: {x:geheim}}}]\n",
        "upstream: [{via: \"http://a:1\", auth: {x:geheim}}]\n",
        "upstream: [{via: \"http://a:1\", auth: \"x:geheim\"}]\n",
        "upstream: [{via: \"http://a:1\", auth: [\"x:geheim\"]}]\n",
        "upstream: [{via: \"http://a:1\", auht: {basic: \"x:geheim\"}}]\n",
        "upstream: [{via: \"http://x:geheim@a:1\"}]\n",
        "upstream: [{via: \"http://x:y@geheim@a:1\"}]\n",
        "upstream: [{via: x:geheim@a:1, bnd: 7}]\n",
        "upstream: [{via: [{url: \"ftp://x:geheim@a:1\"}]}]\n",
        "upstream: [{via: \"http://a:1\", password: geheim}]\n",
        "upstream:\n  - via: http://a:1\n    auth:\n      basic: x geheim\n    bnd: 1\n",
        "upstream:\n  - via: http://a:1\n    auth:\n      basic:\n        x geheim\n",
        "upstream:\n  - via: http://a:1\n    auth:\n      basic: |\n        geheim\n        x:geheim\n",
        "upstream:\n  - via: http://a:1\n    auth:\n      - x:geheim\n",
        "upstream:\n  - via: http://a:1\n    auth:\n      x:geheim\n",
        "upstream:\n  - via: http://a:1\n    auth: {\n      x:geheim }\n",
        "upstream:\n  - via: http://a:1\n    auth: {\n      \"basic\": \"geheim\" }\n",
        "upstream:\n  - auth: {basic: \"x:geheim\", bnd: 1}\n",
        "upstream:\n  - auth: {basic: \"x:geheim\n",
        "upstream:\n  - auth: {basic: *geheim}\n",
        "upstream:\n  - auth: {basic: x:geheim, &a geheim}\n",
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct conf_errors errors;
        struct conf *c;

        assert_int_equal(conf_parse("test.yaml", texts[i], strlen(texts[i]), &c, &errors), ERR_SYNTAX);
        assert_true(errors.n > 0);
        for (unsigned k = 0; k < errors.n; k++) {
            if (strstr(errors.v[k].text, "geheim"))
                fprintf(stderr, "%s\n", errors.v[k].text);
            assert_null(strstr(errors.v[k].text, "geheim"));
        }
        conf_errors_done(&errors);
    }
}

/* … and what is not stays in sight, with its caret. */
static void test_line_beside_a_secret(void **state)
{
    static const char text[] = "upstream: [{via: \"http://ä:ö@a:1\", auth: {basic: \"x:y\", file: f, on: yes}, bnd: 1}]\n";
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    assert_int_equal(conf_parse("test.yaml", text, strlen(text), &c, &errors), ERR_SYNTAX);
    assert_int_equal(errors.n, 4);
    for (unsigned k = 0; k < errors.n; k++)
        assert_non_null(strstr(errors.v[k].text, "upstream: [{via: \"http://***@a:1\", auth: {basic: \"***\", file: f, on: yes}, bnd: 1}]"));
    assert_non_null(strstr(errors.v[3].text, "\n      |                                                                            ^"));
    conf_errors_done(&errors);
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
    for (size_t n = 0; n < strlen(parents); n++) {
        if (conf_parse("test.yaml", parents, n, &c, &errors) == 0)
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

static void test_parents_memory(void **state)
{
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        int r = conf_parse("test.yaml", parents, strlen(parents), &c, &errors);

        if (r == 0) {
            assert_parents(c);
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
        cmocka_unit_test(test_parents), cmocka_unit_test(test_parents_shown), cmocka_unit_test(test_refused_parents), cmocka_unit_test(test_secret), cmocka_unit_test(test_line_beside_a_secret), cmocka_unit_test(test_parents_memory),
        cmocka_unit_test(test_many),    cmocka_unit_test(test_cut),   cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
