/* SPDX-License-Identifier: MIT */
/* PAC: which listeners stand in it, and under which name. */
#include "proxy/pac.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define NAMES "proxy.example, *.corp.example, 192.0.2.1, 2001:db8::1"

static struct snapshot_listen listener(const char *addr, bool tls, const char *names)
{
    struct snapshot_listen l = {.tls = tls, .cert_names = names};

    assert_int_equal(addr_parse(slice_str(addr), &l.addr), 0);
    return l;
}

static void expect(const struct snapshot_listen *v, unsigned n, const char *asked, const char *local, const char *list)
{
    struct snapshot snap = {.listen = v, .n_listen = n};
    struct authority auth = {.host = slice_str(asked)};
    struct addr at = {0};
    struct arena a;
    struct slice got;

    if (local)
        assert_int_equal(addr_parse(slice_str(local), &at), 0);
    arena_init(&a, NULL, 1 << 16);
    assert_int_equal(pac_proxies(&a, &snap, &auth, &at, &got), 0);
    if (!slice_eq(got, slice_str(list)))
        fail_msg("got \"%.*s\", wanted \"%s\"", (int)got.n, got.p, list);
    arena_done(&a);
}

static void test_order_and_ports(void **state)
{
    const struct snapshot_listen v[] = {listener("0.0.0.0:3128", false, ""), listener("0.0.0.0:3129", true, NAMES), listener("[::]:3130", true, NAMES)};

    (void)state;
    expect(v, 3, "proxy.example", "192.0.2.1:3128", "HTTPS proxy.example:3129; HTTPS proxy.example:3130; PROXY proxy.example:3128");
    expect(v, 1, "wpad", "192.0.2.1:3128", "PROXY wpad:3128");
    expect(v, 0, "wpad", "192.0.2.1:3128", "");
}

static void test_clear_beside(void **state)
{
    struct snapshot_listen v[] = {listener("0.0.0.0:3129", true, NAMES)};

    (void)state;
    v[0].clear = true;
    expect(v, 1, "proxy.example", NULL, "HTTPS proxy.example:3129; PROXY proxy.example:3129");
}

static void test_names(void **state)
{
    const struct snapshot_listen v[] = {listener("0.0.0.0:1", true, NAMES)};
    const struct snapshot_listen wild[] = {listener("0.0.0.0:1", true, "*.corp.example")};
    const struct snapshot_listen odd[] = {listener("0.0.0.0:1", true, "a\"b, ok.example")};

    (void)state;
    expect(v, 1, "a.corp.example", NULL, "HTTPS a.corp.example:1");
    expect(v, 1, "a.b.corp.example", NULL, "HTTPS proxy.example:1");
    expect(v, 1, "192.0.2.1", NULL, "HTTPS 192.0.2.1:1");
    expect(v, 1, "2001:db8::1", NULL, "HTTPS [2001:db8::1]:1");
    expect(v, 1, "", "192.0.2.1:99", "HTTPS 192.0.2.1:1");
    expect(v, 1, "", "192.0.2.9:99", "HTTPS proxy.example:1");
    /* Better a name that the certificate is not for than none. */
    expect(wild, 1, "other.example", NULL, "HTTPS other.example:1");
    assert_false(pac_name_is_for(NULL, SLICE("a.example")));
    expect(odd, 1, "x\";alert(1)//", "192.0.2.1:9", "HTTPS ok.example:1");
}

static void test_what_is_reached(void **state)
{
    struct snapshot_listen v[] = {listener("127.0.0.1:1", false, ""), listener("192.0.2.1:2", false, ""), listener("0.0.0.0:3", false, ""), listener("192.0.2.1:4", false, ""), {0}};

    (void)state;
    v[3].role = LISTEN_ADMIN;
    expect(v, 5, "h", "192.0.2.1:77", "PROXY h:2; PROXY h:3");
    expect(v, 5, "h", "127.0.0.1:77", "PROXY h:1; PROXY h:3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_ports),
        cmocka_unit_test(test_clear_beside),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_what_is_reached),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
