/* SPDX-License-Identifier: MIT */
/* Questions, put together of names and values: what each means as facts, what is refused, and what happens without memory. */
#include "app/question.h"

#include "base/err.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static char why[QUESTION_WHY];
static struct question q;

static int setup(void **state)
{
    UNUSED(state);
    question_init(&q);
    why[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    question_done(&q);
    return 0;
}

static int set(const char *name, const char *value)
{
    return question_set(&q, slice_str(name), slice_str(value), why);
}

static void assert_slice(struct slice s, const char *want)
{
    if (!slice_eq(s, slice_str(want)))
        fail_msg("\"" SLICE_FMT "\" is not \"%s\"", SLICE_ARG(s), want);
}

/* U42: the URL as it would be asked for. */
static void test_urls(void **state)
{
    static const struct {
        const char *url, *host, *method, *path;
        uint16_t port;
        uint8_t scheme;
    } rows[] = {
        {"http://a.test", "a.test", "GET", "/", 80, MATCH_HTTP},
        {"HTTP://A.Test:8080/x/Y?q#f", "a.test", "GET", "/x/Y", 8080, MATCH_HTTP},
        {"https://a.test/x", "a.test", "CONNECT", "", 443, MATCH_CONNECT},
        {"https://a.test:8443", "a.test", "CONNECT", "", 8443, MATCH_CONNECT},
        {"a.test:22", "a.test", "CONNECT", "", 22, MATCH_CONNECT},
        {"[2001:DB8::1]:443", "2001:db8::1", "CONNECT", "", 443, MATCH_CONNECT},
        {"http://0x7f.1/", "127.0.0.1", "GET", "/", 80, MATCH_HTTP},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct match_facts f;

        assert_int_equal(set("url", rows[i].url), 0);
        assert_int_equal(question_check(&q, why), 0);
        f = question_facts(&q);
        assert_slice(f.host, rows[i].host);
        assert_slice(f.method, rows[i].method);
        assert_slice(f.path, rows[i].path);
        assert_int_equal(f.port, rows[i].port);
        assert_int_equal(f.scheme, rows[i].scheme);
        assert_int_equal(f.opaque, rows[i].scheme == MATCH_CONNECT);
        teardown(state);
        setup(state);
    }
}

static void test_parts(void **state)
{
    struct match_facts f;

    UNUSED(state);
    assert_int_equal(set("url", "http://a.test/"), 0);
    assert_int_equal(set("user", "jane"), 0);
    assert_int_equal(set("groups", "qa,ops"), 0);
    assert_int_equal(set("labels", "red"), 0);
    assert_int_equal(set("method", "POST"), 0);
    assert_int_equal(set("client", "10.1.2.3"), 0);
    assert_int_equal(set("header", "X-Key:  a b "), 0);
    assert_int_equal(set("header", "host: b"), 0);
    assert_int_equal(set("time", "2026-11-23T10:05"), 0); /* a Monday */
    assert_int_equal(set("sni", "B.test"), 0);
    assert_int_equal(set("address", "10.0.0.5"), 0);
    assert_int_equal(set("address", "2001:db8::1"), 0);
    f = question_facts(&q);
    assert_slice(f.user, "jane");
    assert_slice(f.groups, "qa,ops");
    assert_slice(f.labels, "red");
    assert_slice(f.method, "POST");
    assert_int_equal(f.minute, 10 * 60 + 5);
    assert_int_equal(f.fields->n, 2);
    assert_slice(f.fields->v[0].value, "a b");
    assert_int_equal(f.fields->v[1].id, HDR_HOST);
    assert_slice(q.sni, "b.test");
    assert_int_equal(q.n_addrs, 2);
    assert_true(q.has_groups);
    assert_false(q.has_granted);
    assert_int_equal(set("time", "2026-11-22 23:59"), 0);
    assert_int_equal(question_facts(&q).minute, 7 * 24 * 60 - 1);
    assert_int_equal(set("client", "unix"), 0);
    assert_int_equal(q.client.sa.sa_family, AF_UNIX);
}

static void test_refused(void **state)
{
    static const struct {
        const char *name, *value;
    } rows[] = {
        {"url", ""},          {"url", "a.test"},           {"url", "ftp://a/"},         {"url", "http:///"},        {"url", "http://u@a/"},     {"url", "a:99999"},
        {"client", ""},       {"client", "10.0.0.1:80"},   {"client", "localhost"},     {"time", ""},               {"time", "2026-11-23"},     {"time", "2026-13-01T00:00"},
        {"time", "2026-02-29T00:00"}, {"time", "2026-11-23T24:00"}, {"time", "2026-11-23T10:0x"}, {"header", "x"},  {"header", ": x"},          {"sni", ""},
        {"sni", "1.2.3.4"},   {"sni", "a:443"},            {"address", "a"},            {"address", "10.0.0.0/8"},  {"nonsense", "x"},          {"", ""},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        why[0] = '\0';
        assert_int_equal(set(rows[i].name, rows[i].value), ERR_SYNTAX);
        assert_non_null(strstr(why, " is no "));
    }
    assert_int_equal(set("client", "\033[31m"), ERR_SYNTAX);
    assert_null(strchr(why, '\033'));
}

static void test_sense(void **state)
{
    UNUSED(state);
    assert_int_equal(question_check(&q, why), ERR_SYNTAX);
    assert_int_equal(set("url", "a:1"), 0);
    assert_int_equal(set("method", "GET"), 0);
    assert_int_equal(question_check(&q, why), ERR_SYNTAX);
    assert_int_equal(set("method", "CONNECT"), 0);
    assert_int_equal(question_check(&q, why), 0);
    assert_int_equal(set("url", "http://a/"), 0);
    assert_int_equal(question_check(&q, why), ERR_SYNTAX);
}

static void test_bounds(void **state)
{
    static char text[20000];
    int r = 0;

    UNUSED(state);
    memset(text, 'a', sizeof(text) - 1);
    assert_int_equal(set("user", text), ERR_LIMIT);
    for (int i = 0; i < QUESTION_FIELDS_MAX; i++)
        assert_int_equal(set("header", "a: b"), 0);
    assert_int_equal(set("header", "a: b"), ERR_LIMIT);
    for (int i = 0; i < RESOLVE_MAX_ADDRS; i++)
        assert_int_equal(set("address", "1.2.3.4"), 0);
    assert_int_equal(set("address", "1.2.3.4"), ERR_LIMIT);
    text[16000] = '\0';
    for (int i = 0; i < 100 && r == 0; i++)
        r = set("user", text);
    assert_int_equal(r, ERR_NOMEM); /* the question's bound */
}

static void test_queries(void **state)
{
    UNUSED(state);
    assert_int_equal(question_query(&q, SLICE("url=http%3A%2f%2Fa.test%2F&user=a%20b%2b+&&header=x:%201&header=y:2"), why), 0);
    assert_slice(q.auth.host, "a.test");
    assert_slice(q.user, "a b++");
    assert_int_equal(q.fields.n, 2);
    assert_int_equal(question_query(&q, SLICE(""), why), 0);
    assert_int_equal(question_query(&q, SLICE("user=%"), why), ERR_SYNTAX);
    assert_int_equal(question_query(&q, SLICE("user=%4"), why), ERR_SYNTAX);
    assert_int_equal(question_query(&q, SLICE("user=%4x"), why), ERR_SYNTAX);
    assert_int_equal(question_query(&q, SLICE("user=%41"), why), 0);
    assert_slice(q.user, "A");
    assert_int_equal(question_query(&q, SLICE("x"), why), ERR_SYNTAX);
    assert_int_equal(question_query(&q, SLICE("user=%00"), why), 0);
    assert_int_equal(q.user.n, 1);
}

/* A host as a log has it. */
static void test_targets(void **state)
{
    UNUSED(state);
    assert_int_equal(question_target(&q, true, SLICE("2001:db8::1"), 443, SLICE_NONE, why), 0);
    assert_slice(q.auth.host, "2001:db8::1");
    assert_int_equal(question_target(&q, false, SLICE("[2001:db8::1]"), 80, SLICE("/a b#"), why), 0);
    assert_slice(q.path, "/a b#");
    assert_int_equal(question_target(&q, false, SLICE("a b"), 80, SLICE("/"), why), ERR_SYNTAX);
    assert_int_equal(question_target(&q, false, SLICE(""), 80, SLICE("/"), why), ERR_SYNTAX);
}

static void test_memory(void **state)
{
    static const char query[] = "url=http://a.test/&user=u&groups=g&header=a:b&sni=b.test&address=1.2.3.4";

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct question other;
        int r;

        question_init(&other);
        r = question_query(&other, slice_str(query), why);
        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        question_done(&other);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_urls), TEST(test_parts), TEST(test_refused), TEST(test_sense), TEST(test_bounds), TEST(test_queries), TEST(test_targets), TEST(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
