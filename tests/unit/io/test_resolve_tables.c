/* SPDX-License-Identifier: MIT */
#include "io/resolve_tables.h"

#include "base/err.h"
#include "base/mem.h"
#include "support/memfail.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MAX = 16 };

static int parse(const char *text, struct resolve_hosts *h)
{
    char *bytes = mem_dup(text, strlen(text));

    return bytes ? resolve_tables_hosts(bytes, strlen(text), h) : ERR_NOMEM;
}

/* The addresses of a name in one string, blanks between. */
static const char *find(const struct resolve_hosts *h, const char *name)
{
    static char out[MAX * ADDR_TEXT_MAX];
    struct addr addrs[MAX];
    unsigned n = resolve_tables_find(h, slice_str(name), addrs, MAX);
    size_t at = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < n; i++) {
        if (at)
            out[at++] = ' ';
        at += addr_host_text(&addrs[i], out + at);
    }
    return out;
}

static void test_hosts(void **state)
{
    struct resolve_hosts h;

    UNUSED(state);
    assert_int_equal(parse("# comment\n"
                           "127.0.0.1 localhost\n"
                           "192.0.2.1\tone.example  ONE # two.example\n"
                           "\t 192.0.2.2 One.Example. \r\n"
                           "2001:db8::1 one.example\n"
                           "\n"
                           "not-an-address x.example\n"
                           "0x7f.1 x.example\n"
                           "fe80::1%eth0 x.example\n"
                           "192.0.2.9\n"
                           "192.0.2.1 one.example\n"
                           "192.0.2.3 last.example",
                           &h),
                     0);
    assert_string_equal(find(&h, "one.example"), "192.0.2.1 192.0.2.2 2001:db8::1");
    assert_string_equal(find(&h, "one"), "192.0.2.1");
    assert_string_equal(find(&h, "last.example"), "192.0.2.3");
    assert_string_equal(find(&h, "two.example"), "");
    assert_string_equal(find(&h, "x.example"), "");
    assert_string_equal(find(&h, "example"), "");
    assert_string_equal(find(&h, ""), "");
    resolve_tables_free(&h);
}

static void test_hosts_empty(void **state)
{
    struct resolve_hosts h;

    UNUSED(state);
    assert_int_equal(parse("", &h), 0);
    assert_string_equal(find(&h, "a"), "");
    resolve_tables_free(&h);
    assert_int_equal(parse("\n\n \n#", &h), 0);
    assert_string_equal(find(&h, "a"), "");
    resolve_tables_free(&h);
}

static void test_hosts_long_lines(void **state)
{
    char text[8192], name[300];
    struct resolve_hosts h;
    int n;

    UNUSED(state);
    memset(name, 'n', sizeof(name));
    n = snprintf(text, sizeof(text), "192.0.2.1 a %.253s %.254s b\n", name, name);
    n += snprintf(text + n, sizeof(text) - (size_t)n, "192.0.2.2 c%*s d\n192.0.2.3 e\n", 1024, "");
    assert_int_equal(parse(text, &h), 0);
    assert_string_equal(find(&h, "a"), "192.0.2.1");
    assert_string_equal(find(&h, "b"), "192.0.2.1");
    name[253] = '\0';
    assert_string_equal(find(&h, name), "192.0.2.1");
    assert_string_equal(find(&h, "c"), "");
    assert_string_equal(find(&h, "d"), "");
    assert_string_equal(find(&h, "e"), "192.0.2.3");
    resolve_tables_free(&h);
}

static void test_hosts_bounded(void **state)
{
    enum { PAIRS = RESOLVE_TABLES_HOSTS + 10, LINE = 20 };
    char *text = mem_alloc(PAIRS * LINE + 1), first[16], last[16], over[16];
    struct resolve_hosts h;
    size_t n = 0;

    UNUSED(state);
    for (unsigned i = 0; i < PAIRS; i++)
        n += (size_t)snprintf(text + n, LINE + 1, "10.0.0.1 h%u\n", i);
    assert_int_equal(resolve_tables_hosts(text, n, &h), 0);
    snprintf(first, sizeof(first), "h0");
    snprintf(last, sizeof(last), "h%d", RESOLVE_TABLES_HOSTS - 1);
    snprintf(over, sizeof(over), "h%d", RESOLVE_TABLES_HOSTS);
    assert_string_equal(find(&h, first), "10.0.0.1");
    assert_string_equal(find(&h, last), "10.0.0.1");
    assert_string_equal(find(&h, over), "");
    resolve_tables_free(&h);
}

static void test_hosts_many_addresses(void **state)
{
    char text[2048];
    struct resolve_hosts h;
    struct addr addrs[MAX];
    size_t n = 0;

    UNUSED(state);
    for (unsigned i = 1; i <= 20; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "10.0.0.%u a\n", i);
    assert_int_equal(parse(text, &h), 0);
    assert_int_equal(resolve_tables_find(&h, SLICE("a"), addrs, MAX), MAX);
    resolve_tables_free(&h);
}

static void test_hosts_memory(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct resolve_hosts h = {0};
        int r = parse("10.0.0.1 a b c\n10.0.0.2 d\n", &h);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        resolve_tables_free(&h);
    }
}

static void conf(const char *text, struct resolve_conf_file *c)
{
    resolve_tables_conf(text, strlen(text), c);
}

static void assert_server(const struct resolve_conf_file *c, unsigned i, const char *text)
{
    char out[ADDR_TEXT_MAX];

    assert_true(i < c->n_servers);
    addr_text(&c->servers[i], out);
    assert_string_equal(out, text);
}

static void test_conf(void **state)
{
    struct resolve_conf_file c;

    UNUSED(state);
    conf("# resolv.conf\n"
         "; old\n"
         "nameserver 192.0.2.1\n"
         "nameserver\t2001:db8::1 # here\n"
         "nameserver fe80::1%lo\n"
         "nameserver name.example\n"
         "nameserver\n"
         "domain old.example\n"
         "search A.example b.example.\n"
         "options timeout:1 ndots:3 rotate\n",
         &c);
    assert_int_equal(c.n_servers, 3);
    assert_server(&c, 0, "192.0.2.1:53");
    assert_server(&c, 1, "[2001:db8::1]:53");
    assert_server(&c, 2, "[fe80::1]:53");
    assert_int_equal(c.servers[2].in6.sin6_scope_id, 1);
    assert_int_equal(c.n_search, 2);
    assert_string_equal(c.search[0], "a.example");
    assert_string_equal(c.search[1], "b.example");
    assert_int_equal(c.ndots, 3);
}

static void test_conf_bounds(void **state)
{
    struct resolve_conf_file c;

    UNUSED(state);
    conf("", &c);
    assert_int_equal(c.n_servers, 0);
    assert_int_equal(c.n_search, 0);
    assert_int_equal(c.ndots, 1);
    conf("search a b c d e f g h\noptions ndots:99\n", &c);
    assert_int_equal(c.n_search, RESOLVE_TABLES_SEARCH);
    assert_string_equal(c.search[5], "f");
    assert_int_equal(c.ndots, RESOLVE_TABLES_NDOTS);
    conf("search a b\nsearch c\noptions ndots:x ndots: ndots:-1\n", &c);
    assert_int_equal(c.n_search, 1);
    assert_string_equal(c.search[0], "c");
    assert_string_equal(c.search[1], "");
    assert_int_equal(c.ndots, 1);
    conf("search .\noptions ndots:0\n", &c);
    assert_int_equal(c.n_search, 0);
    assert_int_equal(c.ndots, 0);
    conf("nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n"
         "nameserver 10.0.0.5\nnameserver 10.0.0.6\nnameserver 10.0.0.7\nnameserver 10.0.0.8\n"
         "nameserver 10.0.0.9\n",
         &c);
    assert_int_equal(c.n_servers, RESOLVE_TABLES_SERVERS);
}

static void test_conf_equal(void **state)
{
    struct resolve_conf_file a, b;

    UNUSED(state);
    memset(&a, 0x11, sizeof(a));
    memset(&b, 0x22, sizeof(b));
    conf("nameserver 10.0.0.1\nsearch one.example two.example\n", &a);
    conf("search x\n\nsearch one.example two.example # same\nnameserver 10.0.0.1\n", &b);
    assert_memory_equal(&a, &b, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_hosts_empty),
        cmocka_unit_test(test_hosts_long_lines),
        cmocka_unit_test(test_hosts_bounded),
        cmocka_unit_test(test_hosts_many_addresses),
        cmocka_unit_test(test_hosts_memory),
        cmocka_unit_test(test_conf),
        cmocka_unit_test(test_conf_bounds),
        cmocka_unit_test(test_conf_equal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
