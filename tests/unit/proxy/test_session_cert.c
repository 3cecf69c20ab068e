/* SPDX-License-Identifier: MIT */
/* Certificates as users: which part, through which map, and which names are none. */
#include "proxy/session_cert.h"

#include "base/mem.h"
#include "io/conn_tls.h"
#include "policy/users.h"
#include "proxy/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct tls_facts anna = {
    .subject = {"CN=anna,O=Example", 17},
    .common_name = {"anna", 4},
    .email = {"anna@example.net", 16},
    .dns = {"a.example", 9},
    .uri = {"spiffe://x/a", 12},
};

static void expect(const struct tls_facts *f, const struct cert_names *n, const char *user)
{
    struct session s = {0};

    session_cert_take(&s, f, n);
    assert_int_equal(s.identity.kind, user ? SESSION_CERT : SESSION_NOBODY);
    assert_true(slice_eq(s.identity.name, slice_str(user)));
    mem_free((char *)(uintptr_t)s.identity.name.p);
}

static void test_parts(void **state)
{
    static const char *const users[] = {"anna", "CN=anna,O=Example", "anna@example.net", "a.example", "spiffe://x/a"};

    (void)state;
    expect(&anna, NULL, "anna");
    for (unsigned i = 0; i < ARRAY_LEN(users); i++)
        expect(&anna, &(struct cert_names){.part = (enum cert_part)i}, users[i]);
    expect(&(struct tls_facts){.subject = {"O=x", 3}}, NULL, NULL);
}

static void test_map(void **state)
{
    static const char row[] = "anna@example.net\0ops\0";
    struct users_table map = {0};
    const struct users_row *first;
    struct cert_names n = {.part = CERT_EMAIL, .map = &map};

    (void)state;
    assert_int_equal(users_table_add(&map, (struct users_row){row, 16, 3, 0}, &first), 0);
    expect(&anna, &n, "ops");
    n.part = CERT_COMMON_NAME;
    expect(&anna, &n, NULL);
    users_table_done(&map);
}

static bool is_name(const char *p, size_t n)
{
    return session_cert_is_name(slice_of(p, n), CERT_COMMON_NAME);
}

static void test_names(void **state)
{
    char longest[SESSION_NAME_MAX + 1];

    (void)state;
    memset(longest, 'x', sizeof(longest));
    assert_true(is_name(longest, SESSION_NAME_MAX));
    assert_false(is_name(longest, SESSION_NAME_MAX + 1));
    assert_true(is_name("Anna B", 6));
    assert_true(is_name("J\xc3\xb6rg", 5));
    assert_true(is_name("\xf0\x9f\x90\x9f", 4));
    assert_false(is_name("", 0));
    assert_false(is_name(" anna", 5));
    assert_false(is_name("anna ", 5));
    assert_false(is_name("a,b", 3));
    assert_true(session_cert_is_name(SLICE("a,b"), CERT_SUBJECT));
    assert_false(is_name("a\0b", 3));
    assert_false(is_name("a\nb", 3));
    assert_false(is_name("a\x7f" "b", 3));
    assert_false(is_name("a\xc2\x85" "b", 4)); /* a control character of C1 */
    assert_false(is_name("a\xff", 2));
    assert_false(is_name("\xc3", 1));
    assert_false(is_name("\xc0\xaf", 2));
    assert_false(is_name("\xed\xa0\x80", 3));
    assert_false(is_name("\xf4\x90\x80\x80", 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
