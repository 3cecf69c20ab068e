/* SPDX-License-Identifier: MIT */
/* Judgements of a configuration's text: what decided, everything that was looked at, in words and as JSON; and the summary of refusals, judged again by it. That
 * they agree with what happens is tested over sockets (tests/wire/test_why.py). */
#include "app/why.h"

#include "app/denied.h"
#include "app/why_page.h"
#include "base/err.h"
#include "base/mem.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const char text[] = "listen: [127.0.0.1:3128, {address: 127.0.0.1:3129, name: lan, clients: 10.0.0.0/8}]\n"
                           "admin: 127.0.0.1:8128\n"
                           "rules:\n"
                           "  - {deny: ads.test, name: ads}\n"
                           "  - {allow: [.corp.test, 127.0.0.1], to: [10.0.0.0/8, 127.0.0.0/8], port: any, name: inner}\n"
                           "  - {allow: sni.test, sni: log, expect: tls}\n"
                           "  - {deny: watched.test, mode: report}\n"
                           "  - {allow: [.open.test, watched.test]}\n"
                           "  - {allow: [{host: front.test, sni: front.test}], name: inside}\n";
static struct edition *edition;

static int group_setup(void **state)
{
    struct conf_errors errors = {0};
    struct conf *c;

    UNUSED(state);
    if (conf_parse("f.yaml", text, sizeof(text) - 1, &c, &errors) < 0) {
        conf_errors_print(&errors, stderr, false);
        return -1;
    }
    edition = edition_of_file(c);
    return edition ? 0 : -1;
}

static int group_teardown(void **state)
{
    UNUSED(state);
    edition_free(edition);
    return 0;
}

/* parts: a query. The text without its second line, which has the time; free it. */
static char *page(const char *query, bool json)
{
    char why[QUESTION_WHY], *p;
    size_t n;
    int r = why_page(edition, NULL, slice_str(query), json, &p, &n, why);

    if (r < 0)
        fail_msg("%s: %d %s", query, r, why);
    assert_int_equal(strlen(p), n);
    return p;
}

/* Each word stands in the answer, in this order. */
static void assert_page(const char *query, int json, ...) /* an int, as va_start wants it */
{
    char *p = page(query, json), *at = p;
    const char *word;
    va_list ap;

    va_start(ap, json);
    while ((word = va_arg(ap, const char *))) {
        at = strstr(at, word);
        if (!at)
            fail_msg("%s: no \"%s\" (here) in\n%s", query, word, p);
    }
    va_end(ap);
    mem_free(p);
}

/* U42: a line for everything, and the last one says it. */
static void test_pages(void **state)
{
    UNUSED(state);
    assert_page("url=http://ads.test/", false, "request    GET ads.test:80/\n", "from       127.0.0.1, at 127.0.0.1:3128, ", "clients    admitted\n",
                "rules      f.yaml:4", "deny ads", "yes\n", "way out    - allow: ads.test   before f.yaml:4\n",
                "refused by ads (f.yaml:4): 403 denied, the rule ads refuses ads.test:80\n", NULL);
    assert_page("url=x.corp.test:22&address=10.0.0.5", false, "no: host\n", "needs an address\n", "address    10.0.0.5\n", "yes\n",
                "private    10.0.0.0/8 (private use), which is open here\n", "upstream   direct\n", "tunnel     sni: strict (the ClientHello must name x.corp.test)\n",
                "allowed by inner (f.yaml:5)\n", NULL);
    assert_page("url=x.corp.test:22&address=192.0.2.1", false, "no: to\n", "none of them allows it\n", "refused by f.yaml:3: 403 denied, no rule allows x.corp.test:22; the nearest, inner (f.yaml:5), fails at `to`\n", NULL);
    assert_page("url=x.corp.test:22", false, "not decided before the addresses of x.corp.test are known\n", NULL);
    assert_page("url=x.corp.test:22&address=none&lookup=no%20such%20name", false, "lookup     no such name\n", "has no address", NULL);
    assert_page("url=http://x.open.test/&address=10.0.0.5&address=192.88.0.1", false, "address    10.0.0.5\n", "(private use): refused\n", "address    192.88.0.1\n", "a public address\n",
                "allowed by the rule at f.yaml:8\n", NULL);
    assert_page("url=http://x.open.test/&address=10.0.0.5", false, "way out    - {allow: x.open.test, to: 10.0.0.5}   before f.yaml:8\n",
                "refused by private: 403 address-denied, the target's address, 10.0.0.5, is in 10.0.0.0/8 (private use), which `private` keeps closed\n", NULL);
    assert_page("url=sni.test:443&address=192.88.0.1", false, "tunnel     sni: log, expect: tls\n", NULL);
    assert_page("url=x.open.test:443&address=192.88.0.1&sni=evil.test", false, "`sni: off` beside the rule that lets it pass (f.yaml:8)", "refused by the rule at f.yaml:8: sni-denied", NULL);
    assert_page("url=http://watched.test/&address=192.88.0.1", false, "yes, and only reports\n", "would be   f.yaml:7\n", "allowed by the rule at f.yaml:8; would be refused\n", NULL);
    assert_page("url=http://127.0.0.1:3128/", false, "own        the address is ginnel's own: refused\n", "refused by own listeners: 502 loop", NULL);
    assert_page("url=http://127.0.0.1:8128/", false, "refused by admin: 403 address-denied", NULL);
    assert_page("url=http://x.open.test/&listener=lan", false, "clients    not admitted\n", "refused by f.yaml:1: 403 not-admitted", NULL);
    assert_page("url=front.test:443&address=192.88.0.1", false, "clients    admitted\n", "allow inside", "yes\n", "sni        taken to be the target's name\n",
                "allowed by inside (f.yaml:9)\n", NULL);
    assert_page("url=front.test:443&sni=x.test", false, "clients    admitted\n", "no: sni\n", "way out    - {allow: front.test, sni: off}\n", "fails at `sni`\n", NULL);
    assert_page("url=http://ginnel.internal/", false, "answered by ginnel itself", NULL);
}

/* ---- ways ---- */

static const char ways[] = "private: allow\n"
                           "rules: [{deny: 10.0.0.0/8, name: inside}, {allow: any, port: any}]\n"
                           "upstream:\n"
                           "  - {for: .deny.test, deny: yes}\n"
                           "  - {for: .name.test, via: [\"https://p1.test:8443\", direct]}\n"
                           "  - {for: .local.test, chain: [\"http://p1.test:1\", \"http://[2001:db8::1]:2\"], resolve: local}\n"
                           "  - {for: .either.test, via: [direct, \"http://p2.test:1\"]}\n"
                           "  - {for: {to: 192.0.2.0/24}, via: \"http://p3.test:1\"}\n"
                           "  - {for: {host: front.test, sni: front.test}, via: direct}\n"
                           "  - {for: .last.test, via: \"http://p4.test:1\"}\n"
                           "origins: {for: p1.test, min: 1.3}\n";

static void use(const char *yaml)
{
    struct conf_errors errors = {0};
    struct conf *c;

    edition_free(edition);
    edition = NULL;
    assert_int_equal(conf_parse("f.yaml", yaml, strlen(yaml), &c, &errors), 0);
    edition = edition_of_file(c);
    assert_non_null(edition);
}

static int use_ways(void **state)
{
    UNUSED(state);
    use(ways);
    return 0;
}

static int use_text(void **state)
{
    UNUSED(state);
    use(text);
    return 0;
}

/* U4 U42: in the order of the steps: towards a parent nothing is looked up. */
static void test_ways(void **state)
{
    UNUSED(state);
    assert_page("url=x.deny.test:443", false, "upstream   f.yaml:4 ", "deny ", "yes\n", "way out ", "refused by f.yaml:4: 403 upstream-denied", NULL);
    assert_page("url=x.name.test:443", false, "f.yaml:4 ", "no: host\n", "f.yaml:5 ", "via ", "yes\n", "through    https://p1.test:8443 (TLS as f.yaml:11 says)\n",
                "           nothing: direct\n", "name       looked up by the proxy", "allowed by the rule at f.yaml:2\n", NULL);
    assert_page("url=x.local.test:443", false, "f.yaml:6 ", "yes\n", "not decided before the addresses of x.local.test are known\n", NULL);
    assert_page("url=x.local.test:443&address=10.0.0.1", false, "refused by inside (f.yaml:2): 403 denied", NULL);
    assert_page("url=x.local.test:443&address=198.51.100.1", false, "f.yaml:6 ", "chain ", "through    http://p1.test:1, behind it http://[2001:db8::1]:2\n",
                "name       looked up here; the proxy is sent the address that was judged\n", NULL);
    assert_page("url=x.local.test:443&address=none", false, "has no address", NULL);
    assert_page("url=x.either.test:443&address=none", false, "f.yaml:7 ", "yes\n", "through    nothing: direct\n", "           http://p2.test:1\n", "allowed by", NULL);
    assert_page("url=x.either.test:443&address=10.0.0.1", false, "refused by inside", NULL);
    assert_page("url=x.test:443", false, "f.yaml:8 ", "needs an address\n", "not decided before", NULL);
    assert_page("url=x.test:443&address=192.0.2.1", false, "f.yaml:8 ", "yes\n", "through    http://p3.test:1\n", NULL);
    assert_page("url=x.test:443&address=198.51.100.1", false, "f.yaml:8 ", "no: to\n", "           none of them: direct\n", "allowed by", NULL);
    assert_page("url=x.last.test:443&address=none", false, "f.yaml:10 ", "yes\n", "name       looked up by the proxy", "allowed by", NULL);
    assert_page("url=x.test:443&address=none", false, "has no address", NULL);
    assert_page("url=192.0.2.1:443", false, "f.yaml:8 ", "yes\n", "through    http://p3.test:1\n", "allowed by", NULL);
    assert_page("url=10.0.0.1:443", false, "refused by inside", NULL);
    assert_page("url=http://ginnel.internal/", false, "answered by ginnel itself", NULL);
}

static void test_ways_json(void **state)
{
    UNUSED(state);
    assert_page("url=x.name.test:443&json", false, "{\"stage\":\"upstream\",\"place\":\"f.yaml:4\",\"kind\":\"deny\",\"answer\":\"no\",\"word\":\"host\"}",
                "\"kind\":\"via\",\"answer\":\"yes\"}]", "\"upstream\":\"f.yaml:5\"",
                "\"ways\":[{\"hops\":[{\"url\":\"https://p1.test:8443\",\"origins\":\"f.yaml:11\",\"verified\":true}]},{\"hops\":[]}],\"lookup_by\":\"proxy\"", NULL);
    assert_page("url=x.deny.test:443&json&end", true, "deny\n", "\"reason\":\"upstream-denied\"", NULL);
}

static void test_json(void **state)
{
    UNUSED(state);
    assert_page("url=x.open.test:443&address=10.0.0.5&user=a%22%0a&json", false, "{\"target\":\"x.open.test:443\"", "\"user\":\"a\\\"\\n\"", "\"walk\":[{\"stage\":\"clients\",\"refuses\":false}",
                "\"answer\":\"no\",\"word\":\"host\"", "{\"stage\":\"private\",\"address\":\"10.0.0.5\",\"refuses\":true,\"block\":\"10.0.0.0/8 (private use)\"}]", "\"answer\":\"deny\"",
                "\"reason\":\"address-denied\",\"status\":403", "\"way\":\"- {allow: x.open.test, to: 10.0.0.5}\",\"before\":\"f.yaml:8\"", NULL);
    assert_page("url=x.open.test:443&end", true, "needs-addresses\n{", NULL);
    assert_page("url=ads.test:443&end", true, "deny\n{", NULL);
}

/* What a terminal may not be sent comes as it was asked, and leaves escaped. */
static void test_hostile(void **state)
{
    char *p = page("url=http://x.open.test/x&user=%1b[0m&method=%1b&address=192.88.0.1", false);

    UNUSED(state);
    assert_null(strchr(p, '\033'));
    mem_free(p);
}

static void test_refused_questions(void **state)
{
    static const struct {
        const char *query;
        int r;
    } rows[] = {{"", ERR_SYNTAX}, {"url=x", ERR_SYNTAX}, {"url=a:1&listener=none", ERR_NOTFOUND}, {"url=a:1&what=x", ERR_SYNTAX}};
    char why[QUESTION_WHY], *p;
    size_t n;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        why[0] = '\0';
        assert_int_equal(why_page(edition, NULL, slice_str(rows[i].query), false, &p, &n, why), rows[i].r);
        assert_true(why[0] != '\0');
    }
}

static void test_memory(void **state)
{
    static const char *const queries[] = {"url=x.corp.test:22&address=10.0.0.5&user=u&header=a:b", "url=http://ads.test/&json&end"};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(queries); i++)
        for (memfail_start(); memfail_next();) {
            char why[QUESTION_WHY], *p = NULL;
            size_t n;
            int r = why_page(edition, NULL, slice_str(queries[i]), false, &p, &n, why);

            assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
            mem_free(p);
        }
}

/* ---- an index over the rules ---- */

static void test_edition_with_an_index_or_none(void **state)
{
    char many[1024] = "listen: 127.0.0.1:3128\nrules:\n";

    UNUSED(state);
    for (unsigned i = 0, n = (unsigned)strlen(many); i < RULES_INDEX_MIN; i++)
        n += (unsigned)snprintf(many + n, sizeof(many) - n, "  - deny: n%u.test\n", i);
    for (memfail_start(); memfail_next();) {
        struct conf_errors errors = {0};
        struct edition *e = NULL;
        struct conf *c;
        int r = conf_parse("f", many, strlen(many), &c, &errors);

        if (r == 0)
            e = edition_of_file(c);
        assert_int_equal(e == NULL, memfail_hit());
        assert_true(!e || (e->index && e->policy.index == e->index));
        edition_free(e);
        conf_errors_done(&errors);
    }
}

/* ---- limits ---- */

static const char limits_text_of[] = "limits:\n"
                                     "  - {requests: 2/s, burst: 2, pace: true, name: paced}\n"
                                     "  - {requests: 1/s, burst: 1, per: group, name: crew}\n"
                                     "  - {for: quota.test, quota: 10/day, per: user}\n";
enum { NOW = 5000000 };
#define WALL UINT64_C(1700000000000)

static struct charge_bucket *bucket(const struct why_state *s, const struct edition *e, unsigned limit, const char *key)
{
    struct charge_bucket *b = charge_pin(s->charges, e->snap.limits[limit].id, slice_str(key), s->now_us, s->wall_ms);

    assert_non_null(b);
    return b;
}

static void assert_limited(const struct edition *e, const struct why_state *s, const char *query, const char *line)
{
    char why[QUESTION_WHY], *p = NULL;
    size_t n;

    assert_int_equal(why_page(e, s, slice_str(query), false, &p, &n, why), 0);
    if (!strstr(p, line))
        fail_msg("%s\nlacks %s", p, line);
    mem_free(p);
}

/* The nearest of several buckets counts; waiting refuses only whom it would let wait too long; and nothing of it makes a bucket, memory or not. */
static void test_limits(void **state)
{
    struct why_state s = {.charges = charge_table_new(), .now_us = NOW, .wall_ms = WALL};
    struct conf_errors errors = {0};
    struct charge_bucket *b;
    struct edition *e;
    struct conf *c;
    uint64_t wait_us, n_buckets;

    UNUSED(state);
    assert_int_equal(conf_parse("l.yaml", limits_text_of, sizeof(limits_text_of) - 1, &c, &errors), 0);
    e = edition_of_file(c);
    assert_non_null(e);
    assert_limited(e, &s, "url=http://192.0.2.1/&groups=a,b", "allowed: there are no rules");
    assert_int_equal(charge_table_count(s.charges).buckets, 0);
    b = bucket(&s, e, 1, "gb");
    assert_int_equal(charge_request(b, 1, 1, NOW), 0);
    charge_unpin(&b);
    assert_limited(e, &s, "url=http://192.0.2.1/&groups=a", "allowed: there are no rules");
    assert_limited(e, &s, "url=http://192.0.2.1/&groups=a,b", "l.yaml:3    crew: requests 0 of 1 left, per group: refuses, for 1 s\n");
    assert_limited(e, &s, "url=http://192.0.2.1/&groups=a,b", "\nrefused by crew (l.yaml:3): 429 limit-requests, ");
    b = bucket(&s, e, 2, "uann");
    atomic_store(&b->quota_end_ms, WALL + 90500);
    assert_int_equal(charge_quota_add(b, 10), 10);
    charge_unpin(&b);
    assert_limited(e, &s, "url=http://quota.test/&address=192.0.2.1&user=ann", "quota 10 of 10 bytes, per user: refuses, for ");
    assert_limited(e, &s, "url=http://quota.test/&address=192.0.2.1&user=bob", "quota 0 of 10 bytes, per user\n");
    b = bucket(&s, e, 0, "");
    while (charge_request_pace(b, 2, 2, NOW, &wait_us))
        assert_limited(e, &s, "url=http://192.0.2.1/", wait_us < 29500000 ? "allowed" : " ");
    charge_unpin(&b);
    n_buckets = charge_table_count(s.charges).buckets;
    for (memfail_start(); memfail_next();) {
        char why[QUESTION_WHY], *p = NULL;
        size_t n;
        int r = why_page(e, &s, SLICE("url=http://192.0.2.1/&groups=x,y"), false, &p, &n, why);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        assert_true(r || strstr(p, "refused by paced (l.yaml:2): 429 limit-requests, "));
        mem_free(p);
    }
    assert_int_equal(charge_table_count(s.charges).buckets, n_buckets);
    assert_int_equal(n_buckets, 3);
    edition_free(e);
    charge_table_free(s.charges);
}

/* ---- denied ---- */

static struct denial denials[4];

static struct denial *make(unsigned i, const char *host, uint16_t port, enum end_reason end)
{
    struct denial *d = &denials[i];

    *d = (struct denial){.number = 9 - i, .minute = MATCH_NO_MINUTE};
    d->rec = (struct access_record){.wall_ms = 1700000000123 - i,
                                    .method = SLICE("GET"),
                                    .host = slice_str(host),
                                    .port = port,
                                    .status = (uint16_t)end_info(end)->status,
                                    .scheme = MATCH_HTTP,
                                    .end = end,
                                    .rule = SLICE("some")};
    assert_int_equal(addr_parse_host(SLICE("127.0.0.1"), 5000, &d->rec.client), 0);
    return d;
}

static void fill(void)
{
    make(0, "ads.test", 80, END_DENIED);
    assert_int_equal(addr_parse_host(SLICE("10.0.0.5"), 80, &make(1, "x.open.test", 80, END_ADDRESS_DENIED)->to), 0);
    make(2, "ads.test", 80, END_DENIED)->rec.user = SLICE("ja\nne");
    make(3, "y.open.test", 80, END_DENIED); /* allowed by now */
}

/* U40 */
static void test_denied(void **state)
{
    struct denied_view d = {denials, ARRAY_LEN(denials), 9, edition->snap.policy};
    size_t n;
    char *p;

    UNUSED(state);
    fill();
    p = denied_text(&d, &n);
    assert_non_null(strstr(p, "the last 4 of 9 refusals, by target\n"));
    assert_non_null(strstr(p, "     2  "));
    assert_non_null(strstr(p, "         - allow: ads.test   before f.yaml:4\n"));
    assert_non_null(strstr(p, "         - {allow: x.open.test, to: 10.0.0.5}   before f.yaml:8\n"));
    assert_non_null(strstr(p, "         it would pass now\n"));
    mem_free(p);
    p = denied_json(&d, &n);
    assert_non_null(strstr(p, "{\"host\":\"ads.test\",\"port\":80,\"reason\":\"denied\",\"rule\":\"some\",\"times\":2,\"first\":\"2023-11-14T22:13:20.121Z\",\"last\":\"2023-11-14T22:13:20.123Z\""));
    assert_non_null(strstr(p, "\"user\":\"ja\\nne\""));
    assert_non_null(strstr(p, "\"open\":true"));
    mem_free(p);
    d.n = d.total = 0;
    p = denied_text(&d, &n);
    assert_string_equal(p, "nothing was refused\n");
    mem_free(p);
}

static void test_denied_without_memory(void **state)
{
    struct denied_view d = {denials, ARRAY_LEN(denials), 9, edition->snap.policy};

    UNUSED(state);
    fill();
    for (int json = 0; json < 2; json++)
        for (memfail_start(); memfail_next();) {
            size_t n;
            char *p = json ? denied_json(&d, &n) : denied_text(&d, &n);

            assert_int_equal(p == NULL, memfail_hit());
            mem_free(p);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edition_with_an_index_or_none),
        cmocka_unit_test(test_pages),  cmocka_unit_test_setup_teardown(test_ways, use_ways, use_text), cmocka_unit_test_setup_teardown(test_ways_json, use_ways, use_text), cmocka_unit_test(test_json),   cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_memory), cmocka_unit_test(test_limits), cmocka_unit_test(test_denied), cmocka_unit_test(test_denied_without_memory), cmocka_unit_test(test_refused_questions),
    };

    setenv("TZ", "UTC", 1);
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
