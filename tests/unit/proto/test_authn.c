/* SPDX-License-Identifier: MIT */
#include "proto/authn.h"

#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Longer than all that is allowed. */
static char plain[8192], coded[16384];

static struct slice base64(struct slice s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = 0;

    for (size_t i = 0; i < s.n; i += 3) {
        unsigned v = (unsigned)(unsigned char)s.p[i] << 16;
        size_t left = s.n - i;

        v |= left > 1 ? (unsigned)(unsigned char)s.p[i + 1] << 8 : 0;
        v |= left > 2 ? (unsigned)(unsigned char)s.p[i + 2] : 0;
        coded[n++] = digits[v >> 18];
        coded[n++] = digits[v >> 12 & 63];
        coded[n++] = left > 1 ? digits[v >> 6 & 63] : '=';
        coded[n++] = left > 2 ? digits[v & 63] : '=';
    }
    return slice_of(coded, n);
}

/* Exactly as long as the value, so that reading past it is seen. */
static enum authn_result parse(struct slice value, struct authn *ret_a)
{
    static char buf[AUTHN_PLAIN_MAX];
    char *copy = malloc(value.n + (value.n == 0));
    enum authn_result r;

    if (value.n)
        memcpy(copy, value.p, value.n);
    r = authn_basic(slice_of(copy, value.n), buf, ret_a);
    free(copy);
    return r;
}

static enum authn_result parse_plain(struct slice text, struct authn *ret_a)
{
    static char value[sizeof(coded) + 8];
    struct slice c = base64(text);

    memcpy(value, "Basic ", 6);
    memcpy(value + 6, c.p, c.n);
    return parse(slice_of(value, c.n + 6), ret_a);
}

static void assert_slice(struct slice s, const char *want)
{
    if (!slice_eq(s, slice_str(want)))
        fail_msg("\"%.*s\" is not \"%s\"", (int)s.n, s.p, want);
}

/* RFC 7617 2 and 2.1 (C87) */
static void test_vectors(void **state)
{
    struct authn a;

    UNUSED(state);
    assert_int_equal(parse(SLICE("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), &a), AUTHN_OK);
    assert_slice(a.name, "Aladdin");
    assert_slice(a.password, "open sesame");
    assert_int_equal(a.labels.n, 0);
    assert_int_equal(parse(SLICE("Basic dGVzdDoxMjPCow=="), &a), AUTHN_OK);
    assert_slice(a.name, "test");
    assert_slice(a.password, "123\xc2\xa3");
}

static void test_schemes(void **state)
{
    static const char *const others[] = {"", "B", "Basi", "Basics QTpi", "Bearer QTpi", "Digest username=\"a\"", "BasicQTpi", "Basic\tQTpi", "NTLM", NULL};
    static const char *const ours[] = {"basic QTpi", "BASIC QTpi", "bAsIc    QTpi", NULL};
    struct authn a;

    UNUSED(state);
    for (unsigned i = 0; others[i]; i++)
        assert_int_equal(parse(slice_str(others[i]), &a), AUTHN_OTHER);
    for (unsigned i = 0; ours[i]; i++) {
        assert_int_equal(parse(slice_str(ours[i]), &a), AUTHN_OK);
        assert_slice(a.name, "A");
        assert_slice(a.password, "b");
    }
}

/* C87: strict base64: no blanks, no other alphabet, all padding, no bits that say nothing. */
static void test_base64(void **state)
{
    static const char *const bad[] = {
        "Basic", "Basic ", "Basic QTp", "Basic QTpi=", "Basic QTpi QTpi", "Basic QTpi,", "Basic QT pi", "Basic QTp_", "Basic QTp-", "Basic =QTp",
        "Basic Q===", "Basic ====", "Basic QTo=QTpi", "Basic QTp\"", "Basic \"QTpi\"", "Basic QUI6==", "Basic QTp=", "Basic QTq=", "Basic QUJDOj==",
        "Basic QTpi\x80", "Basic QTpiQ", "Basic QTpiQQ", "Basic QTpiQQ=", "Basic QTpiQR==", NULL};
    struct authn a;

    UNUSED(state);
    for (unsigned i = 0; bad[i]; i++)
        if (parse(slice_str(bad[i]), &a) != AUTHN_MALFORMED)
            fail_msg("%s is taken", bad[i]);
}

/* Every byte of a password, every length: what base64 carries comes out again, or is a control. */
static void test_bytes(void **state)
{
    struct authn a;

    UNUSED(state);
    for (unsigned c = 0; c < 256; c++) {
        char text[4] = {'u', ':', (char)c, 'x'};
        bool control = c < 0x20 || c == 0x7f;

        assert_int_equal(parse_plain(slice_of(text, 4), &a), control ? AUTHN_MALFORMED : AUTHN_OK);
        if (!control)
            assert_true(slice_eq(a.password, slice_of(text + 2, 2)));
    }
    memset(plain, 'p', sizeof(plain));
    memcpy(plain, "u:", 2);
    for (size_t n = 0; n <= AUTHN_PASSWORD_MAX + 3; n++) {
        assert_int_equal(parse_plain(slice_of(plain, n + 2), &a), n <= AUTHN_PASSWORD_MAX ? AUTHN_OK : AUTHN_MALFORMED);
        if (n <= AUTHN_PASSWORD_MAX)
            assert_int_equal(a.password.n, n);
    }
    assert_int_equal(parse_plain(slice_of(plain, sizeof(plain)), &a), AUTHN_MALFORMED);
}

/* C87: the first colon splits. */
static void test_parts(void **state)
{
    struct authn a;

    UNUSED(state);
    assert_int_equal(parse_plain(SLICE("john:a:b::"), &a), AUTHN_OK);
    assert_slice(a.name, "john");
    assert_slice(a.password, "a:b::");
    assert_int_equal(parse_plain(SLICE("john:"), &a), AUTHN_OK);
    assert_int_equal(a.password.n, 0);
    assert_int_equal(parse_plain(SLICE("john"), &a), AUTHN_MALFORMED);
    assert_int_equal(parse_plain(SLICE(":secret"), &a), AUTHN_MALFORMED);
    assert_int_equal(parse_plain(SLICE("a,b:secret"), &a), AUTHN_MALFORMED);
    assert_int_equal(parse_plain(SLICE("j\xc3\xb6rg m:s"), &a), AUTHN_OK);
    assert_slice(a.name, "j\xc3\xb6rg m");
}

/* S001-7 */
static void test_labels(void **state)
{
    static const char *const bad[] = {"john+:s", "john+red+:s", "john++red:s", "john+a=:s", "john+=b:s", "john+a=b=c:s", "john+a b:s",
                                      "john+\xc3\xa4:s", "john+a/b:s", "john+a\"b:s", NULL};
    struct authn a;
    struct slice l;
    size_t n;

    UNUSED(state);
    assert_int_equal(parse_plain(SLICE("john+red+prio=high:secret+x"), &a), AUTHN_OK);
    assert_slice(a.name, "john");
    assert_slice(a.password, "secret+x");
    assert_true(authn_next_label(&a.labels, &l));
    assert_slice(l, "red");
    assert_true(authn_next_label(&a.labels, &l));
    assert_slice(l, "prio=high");
    assert_false(authn_next_label(&a.labels, &l));
    for (unsigned i = 0; bad[i]; i++)
        if (parse_plain(slice_str(bad[i]), &a) != AUTHN_LABEL)
            fail_msg("%s is taken", bad[i]);
    assert_int_equal(parse_plain(SLICE("+red:s"), &a), AUTHN_MALFORMED);
    n = (size_t)snprintf(plain, sizeof(plain), "u");
    for (unsigned i = 0; i <= AUTHN_LABELS_MAX; i++) {
        assert_int_equal(parse_plain(slice_of(plain, n + 2), &a), AUTHN_MALFORMED); /* no colon yet */
        memcpy(plain + n, ":s", 2);
        assert_int_equal(parse_plain(slice_of(plain, n + 2), &a), AUTHN_OK);
        n += (size_t)snprintf(plain + n, sizeof(plain) - n, "+l%u", i);
        memset(plain + n, 'x', 2);
    }
    memcpy(plain + n, ":s", 2);
    assert_int_equal(parse_plain(slice_of(plain, n + 2), &a), AUTHN_LABEL);
}

static void test_names(void **state)
{
    char name[AUTHN_NAME_MAX + 1];

    UNUSED(state);
    memset(name, 'n', sizeof(name));
    assert_true(authn_is_name(slice_of(name, AUTHN_NAME_MAX)));
    assert_false(authn_is_name(slice_of(name, AUTHN_NAME_MAX + 1)));
    assert_false(authn_is_name(SLICE("")));
    assert_false(authn_is_name(SLICE_NONE));
    assert_false(authn_is_name(SLICE("a+b")));
    assert_false(authn_is_name(SLICE("a,b")));
    assert_false(authn_is_name(SLICE("a:b")));
    assert_false(authn_is_name(SLICE("a\x7f")));
    assert_true(authn_is_name(SLICE("DOM\\user@example.com")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors), cmocka_unit_test(test_schemes), cmocka_unit_test(test_base64), cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_parts),   cmocka_unit_test(test_labels),  cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
