/* SPDX-License-Identifier: MIT */
/* The other reading of a path. */
#include "policy/match_path.h"

#include "base/err.h"
#include "random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_plain(void **state)
{
    static const char *const rows[][2] = {
        /* one reading */
        {"", ""},
        {"/", "/"},
        {"/a/b", "/a/b"},
        {"/a/b/", "/a/b/"},
        {"/a.b/c..d", "/a.b/c..d"},
        {"/a%20b", "/a%20b"},
        {"/a%3Fb", "/a%3Fb"},
        {"/a%00b", "/a%00b"},
        {"/100%", "/100%"},
        {"/a%2", "/a%2"},
        {"/a%zz", "/a%zz"},
        {"*", "*"},
        {"a//b", "a//b"}, /* no path */
        /* another one */
        {"/%61", "/a"},
        {"/%41%7a%39%2D%5f%7E", "/Az9-_~"},
        {"/a%2Fb", "/a/b"},
        {"/a%5cb", "/a/b"},
        {"/a\\b", "/a/b"},
        {"//a", "/a"},
        {"/a//b///c", "/a/b/c"},
        {"/a//", "/a/"},
        {"//", "/"},
        {"/.", "/"},
        {"/..", "/"},
        {"/a/.", "/a/"},
        {"/a/..", "/"},
        {"/a/./b", "/a/b"},
        {"/a/b/..", "/a/"},
        {"/a/b/../c", "/a/c"},
        {"/a/../../b", "/b"},
        {"/../../..", "/"},
        {"/a/%2e%2e/b", "/b"},
        {"/a/.%2E/b", "/b"},
        {"/a/..%2fb", "/b"},
        {"/a/..;/b", "/b"},
        {"/a/..;x=y/b", "/b"},
        {"/a/.;x/b", "/a/b"},
        {"/a;v=1/b", "/a/b"},
        {"/a;v=1", "/a"},
        {"/a/;x/b", "/a/b"},
        {"/;x", "/"},
        {"/a%3bv=1/b", "/a/b"},
        {"/a/...", "/a/..."},
        {"/a/.b", "/a/.b"},
        {"/a/..b", "/a/..b"},
        {"/%2561", "/%2561"}, /* once */
        {"/%252e%252e/a", "/%252e%252e/a"},
    };
    char buf[MATCH_PATH_ROOM];

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice plain;

        assert_int_equal(match_path_plain(slice_str(rows[i][0]), buf, &plain), 0);
        if (!slice_eq(plain, slice_str(rows[i][1])))
            fail_msg("%s: " SLICE_FMT, rows[i][0], SLICE_ARG(plain));
    }
}

static void test_bounds(void **state)
{
    static char path[MATCH_PATH_ROOM + 1], buf[MATCH_PATH_ROOM];
    struct slice plain = SLICE("untouched");

    UNUSED(state);
    memset(path, 'a', sizeof(path));
    path[0] = '/';
    /* what has one reading may be of any length */
    assert_int_equal(match_path_plain(slice_of(path, sizeof(path)), buf, &plain), 0);
    assert_ptr_equal(plain.p, path);
    path[9] = '\\';
    assert_int_equal(match_path_plain(slice_of(path, sizeof(path) - 1), buf, &plain), 0);
    assert_ptr_equal(plain.p, buf);
    assert_int_equal(plain.n, sizeof(path) - 1);
    plain = SLICE("untouched");
    assert_int_equal(match_path_plain(slice_of(path, sizeof(path)), buf, &plain), ERR_LIMIT);
    assert_true(slice_eq(plain, SLICE("untouched")));
}

/* A second look changes nothing but what was escaped twice; there is never a dot segment left, and never a path without `/`. */
static void test_random(void **state)
{
    static const char letters[] = "//..;\\ab%2eE5cfF";
    uint64_t seed = 17;

    UNUSED(state);
    for (unsigned i = 0; i < 20000; i++) {
        char path[64], buf[MATCH_PATH_ROOM];
        size_t n = 1 + random_below(&seed, sizeof(path) - 1);
        struct slice plain;

        path[0] = '/';
        for (size_t k = 1; k < n; k++)
            path[k] = letters[random_below(&seed, sizeof(letters) - 1)];
        assert_int_equal(match_path_plain(slice_of(path, n), buf, &plain), 0);
        assert_true(plain.n >= 1 && plain.n <= n && plain.p[0] == '/');
        if (memmem(plain.p, plain.n, "//", 2) || memmem(plain.p, plain.n, "/../", 4) || memmem(plain.p, plain.n, "/./", 3) ||
            memchr(plain.p, '\\', plain.n) || memmem(plain.p, plain.n, "/..;", 4))
            fail_msg("%.*s: " SLICE_FMT, (int)n, path, SLICE_ARG(plain));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain), cmocka_unit_test(test_bounds), cmocka_unit_test(test_random)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
