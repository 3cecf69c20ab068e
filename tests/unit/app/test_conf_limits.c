/* SPDX-License-Identifier: MIT */
/* The entries of `limits`: what they become, what they count as over reloads, how they are shown. */
#include "app/conf_limits.h"

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

static const char entries[] = "limits:\n"
                              "  - {per: client, requests: 50/s, burst: 100}\n"
                              "  - for: [a.example, {port: 443}]\n"
                              "    per: rule\n"
                              "    requests: 7/s\n"
                              "    pace: yes\n"
                              "    bandwidth: 20MB/s\n"
                              "    bandwidth-up: 1KB/s\n"
                              "    bandwidth-down: 2KB/s\n"
                              "    tunnels: 2000\n"
                              "    quota: 500GB/month\n"
                              "    at-limit: slow\n"
                              "    upload: 1GB\n"
                              "    download: 2GB\n"
                              "    name: everything\n"
                              "  - {quota: 5MB/hour}\n";

static void assert_entries(const struct limit *l)
{
    assert_int_equal(l[0].per, PER_CLIENT);
    assert_int_equal(l[0].requests, 50);
    assert_int_equal(l[0].burst, 100);
    assert_int_equal(l[0].n_where, 0);
    assert_null(l[0].name);
    assert_int_equal(l[1].n_where, 2);
    assert_int_equal(l[1].per, PER_RULE);
    assert_int_equal(l[1].requests, 7);
    assert_int_equal(l[1].burst, 7); /* a second's worth */
    assert_true(l[1].pace);
    assert_int_equal(l[1].bandwidth, 20 << 20);
    assert_int_equal(l[1].bandwidth_up, 1024);
    assert_int_equal(l[1].bandwidth_down, 2048);
    assert_int_equal(l[1].tunnels, 2000);
    assert_int_equal(l[1].quota, (uint64_t)500 << 30);
    assert_int_equal(l[1].span, SPAN_MONTH);
    assert_true(l[1].slow);
    assert_int_equal(l[1].upload, (uint64_t)1 << 30);
    assert_int_equal(l[1].download, (uint64_t)2 << 30);
    assert_string_equal(l[1].name, "everything");
    assert_int_equal(l[2].span, SPAN_HOUR);
    assert_int_equal(l[2].quota, 5 << 20);
    assert_false(l[2].slow);
    assert_int_equal(l[2].per, PER_ALL);
}

static void test_entries(void **state)
{
    struct conf *c = parse(entries);

    UNUSED(state);
    assert_int_equal(c->n_limits, 3);
    assert_entries(c->limits);
    assert_string_equal(c->limits[0].place, "test.yaml:2");
    assert_string_equal(c->limits[1].place, "test.yaml:3");
    conf_free(c);
}

/* What is shown says the same again. */
static void test_shown(void **state)
{
    struct conf *c = parse(entries), *again;
    size_t n;
    char *text = conf_show(c, &n);

    UNUSED(state);
    assert_non_null(text);
    again = parse(text);
    assert_int_equal(again->n_limits, 3);
    assert_entries(again->limits);
    conf_free(again);
    conf_free(c);
    mem_free(text);
}

static uint64_t id_of(const char *entry)
{
    char text[512];
    struct conf *c;
    uint64_t id;

    snprintf(text, sizeof(text), "limits:\n  - %s\n", entry);
    c = parse(text);
    id = c->limits[0].id;
    conf_free(c);
    return id;
}

/* Amounts, names and places may change; what it is about, whose bucket it is and what is counted may not. */
static void test_identity(void **state)
{
    static const char *const same[] = {"{for: a.example, per: client, requests: 5/s, quota: 1GB/day}",
                                       "{quota: 2GB/day, at-limit: slow, requests: 7/s, burst: 9, per: client, for: a.example, name: x}",
                                       "{for: \"a.example\", per: client, requests: 5/s, quota: 1GB/day, upload: 1GB}"};
    static const char *const others[] = {"{for: b.example, per: client, requests: 5/s, quota: 1GB/day}",
                                         "{for: [a.example, b.example], per: client, requests: 5/s, quota: 1GB/day}",
                                         "{for: [[a.example]], per: client, requests: 5/s, quota: 1GB/day}",
                                         "{for: {host: a.example}, per: client, requests: 5/s, quota: 1GB/day}",
                                         "{per: client, requests: 5/s, quota: 1GB/day}",
                                         "{for: a.example, per: host, requests: 5/s, quota: 1GB/day}",
                                         "{for: a.example, requests: 5/s, quota: 1GB/day}",
                                         "{for: a.example, per: client, requests: 5/s, quota: 1GB/week}",
                                         "{for: a.example, per: client, quota: 1GB/day}",
                                         "{for: a.example, per: client, requests: 5/s}",
                                         "{for: a.example, per: client, requests: 5/s, tunnels: 1, quota: 1GB/day}"};
    uint64_t id = id_of(same[0]);

    UNUSED(state);
    for (size_t i = 1; i < ARRAY_LEN(same); i++)
        assert_int_equal(id_of(same[i]), id);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (strstr(others[i], "[["))
            continue; /* no list in a list */
        assert_int_not_equal(id_of(others[i]), id);
        for (size_t k = 0; k < i; k++)
            if (!strstr(others[k], "[["))
                assert_int_not_equal(id_of(others[i]), id_of(others[k]));
    }
}

/* Two that say the same are two, and each stays itself. */
static void test_twins(void **state)
{
    struct conf *c = parse("limits:\n  - {per: client, requests: 5/s}\n  - {per: client, requests: 1/s, burst: 60}\n");

    UNUSED(state);
    assert_int_not_equal(c->limits[0].id, c->limits[1].id);
    assert_int_equal(c->limits[0].id, id_of("{per: client, requests: 5/s}"));
    conf_free(c);
}

static void test_many(void **state)
{
    size_t cap = 64 << 10, n = 0;
    char *text = malloc(cap);
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    n += (size_t)snprintf(text + n, cap - n, "limits:\n");
    for (unsigned i = 0; i < CONF_LIMITS_MAX; i++)
        n += (size_t)snprintf(text + n, cap - n, "  - {for: h%u.example, requests: 1/s}\n", i);
    c = parse(text);
    assert_int_equal(c->n_limits, CONF_LIMITS_MAX);
    conf_free(c);
    snprintf(text + n, cap - n, "  - {requests: 1/s}\n");
    assert_int_equal(conf_parse("test.yaml", text, strlen(text), &c, &errors), ERR_SYNTAX);
    assert_int_equal(errors.n, 1);
    assert_non_null(strstr(errors.v[0].text, "`limits` has more than 256 entries"));
    conf_errors_done(&errors);
    free(text);
}

static void test_refused_memory(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct conf_errors errors;
        struct conf *c;
        int r = conf_parse("test.yaml", entries, sizeof(entries) - 1, &c, &errors);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        if (r == 0)
            conf_free(c);
        else
            conf_errors_done(&errors);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries), cmocka_unit_test(test_shown), cmocka_unit_test(test_identity),
        cmocka_unit_test(test_twins),   cmocka_unit_test(test_many),  cmocka_unit_test(test_refused_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
