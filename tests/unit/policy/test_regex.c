/* SPDX-License-Identifier: MIT */
/* Expressions: what they find, what is no expression, and that every bound of a match is one. */
#include "policy/regex.h"

#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"
#include "build_config.h"
#include "support/memfail.h"

#include <pthread.h>
#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct regex *compiled(const char *pattern)
{
    struct regex *r = NULL;
    size_t at = 0;
    char why[REGEX_WHY] = "";

    if (regex_new(slice_str(pattern), &r, &at, why) < 0)
        fail_msg("%s: %s at %zu", pattern, why, at);
    return r;
}

static enum regex_answer find(const char *pattern, const char *subject)
{
    struct regex *r = compiled(pattern);
    enum regex_answer a = regex_find(r, slice_str(subject));

    regex_free(r);
    return a;
}

static void test_finds(void **state)
{
    static const struct {
        const char *pattern, *subject;
        enum regex_answer want;
    } rows[] = {
        {"v1", "/v1/users", REGEX_YES},
        {"^v1", "/v1/users", REGEX_NO},
        {"^/v[12]/", "/v2/", REGEX_YES},
        {"^/v[12]/", "/v3/", REGEX_NO},
        {"\\.(exe|msi)$", "/a/b.exe", REGEX_YES},
        {"\\.(exe|msi)$", "/a/b.exe.txt", REGEX_NO},
        {"(?i)\\.EXE$", "/a/b.exe", REGEX_YES},
        {"a$", "a\n", REGEX_NO}, /* the end is the end, not before a last line feed */
        {"^$", "", REGEX_YES},
        {".", "", REGEX_NO},
        {"(a)(b)(c)(d)(e)\\5", "abcdee", REGEX_YES}, /* more groups than anybody looks at */
        {"\\xff", "a\xff", REGEX_YES},                /* bytes, valid UTF-8 or not */
        {"^.$", "\xc3\xa4", REGEX_NO},
        {"^\\w+$", "\xe4", REGEX_NO}, /* no locale */
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (find(rows[i].pattern, rows[i].subject) != rows[i].want)
            fail_msg("/%s/ in %s", rows[i].pattern, rows[i].subject);
}

/* Any byte may be in a subject. */
static void test_nul(void **state)
{
    struct regex *r = compiled("^a.b$");

    UNUSED(state);
    assert_int_equal(regex_find(r, slice_of("a\0b", 3)), REGEX_YES);
    assert_int_equal(regex_find(r, slice_of("a\0c", 3)), REGEX_NO);
    assert_int_equal(regex_find(r, SLICE_NONE), REGEX_NO);
    regex_free(r);
    regex_free(NULL);
}

static void test_no_expression(void **state)
{
    static const struct {
        const char *pattern;
        size_t at;
        const char *why; /* a part of it */
    } rows[] = {
        {"a(b", 3, "closing parenthesis"},
        {"a)b", 1, "closing parenthesis"},
        {"[a-", 3, "]"},
        {"a**", 2, "quantifier"},
        {"*a", 0, "quantifier"},
        {"(?<n>a)(?<n>b)", 12, "name"},
        {"(*UTF)a", 6, "UTF"},
        {"(*UCP)a", 6, "UCP"},
        {"a\\C", 3, "\\C"},
        {"", 0, "empty"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct regex *r = NULL;
        char why[REGEX_WHY] = "";
        size_t at = 999;

        if (regex_new(slice_str(rows[i].pattern), &r, &at, why) != ERR_SYNTAX)
            fail_msg("%s was taken", rows[i].pattern);
        assert_null(r);
        if (at != rows[i].at || !strstr(why, rows[i].why))
            fail_msg("%s: %s at %zu", rows[i].pattern, why, at);
    }
}

static void test_long_pattern(void **state)
{
    static char long_one[REGEX_PATTERN_MAX + 1];
    struct regex *r = NULL;
    char why[REGEX_WHY];
    size_t at;

    UNUSED(state);
    memset(long_one, 'a', sizeof(long_one));
    assert_int_equal(regex_new(slice_of(long_one, sizeof(long_one)), &r, &at, why), ERR_SYNTAX);
    assert_int_equal(at, REGEX_PATTERN_MAX);
    assert_int_equal(regex_new(slice_of(long_one, sizeof(long_one) - 1), &r, &at, why), 0);
    regex_free(r);
    /* small to write, huge to keep */
    assert_int_equal(regex_new(SLICE("((a{9999}){999}){99}"), &r, &at, why), ERR_SYNTAX);
}

/* What would take years ends after a bounded number of steps. */
static void test_gives_up(void **state)
{
    static char many[REGEX_SUBJECT_MAX + 1];

    UNUSED(state);
    memset(many, 'a', sizeof(many));
    many[sizeof(many) - 1] = '\0';
    assert_int_equal(find("(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), REGEX_GAVE_UP);
    assert_int_equal(find("^(a|aa)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), REGEX_GAVE_UP);
    assert_int_equal(find("^(?:a|b)*c", many), REGEX_GAVE_UP);       /* depth */
    assert_int_equal(find("^((((((((a|b))))))))*c", many), REGEX_GAVE_UP);
    assert_int_equal(find("(*LIMIT_MATCH=100000000)(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), REGEX_GAVE_UP);
    assert_int_equal(find("b", many), REGEX_NO); /* as long as it may be */
    assert_int_equal(find("^a", many), REGEX_YES);
}

static void test_long_subject(void **state)
{
    static char many[REGEX_SUBJECT_MAX + 1];
    struct regex *r = compiled("a");

    UNUSED(state);
    memset(many, 'a', sizeof(many));
    assert_int_equal(regex_find(r, slice_of(many, sizeof(many) - 1)), REGEX_YES);
    assert_int_equal(regex_find(r, slice_of(many, sizeof(many))), REGEX_GAVE_UP);
    regex_free(r);
}

static unsigned asked;

static bool refuse_all(void)
{
    asked++;
    return false;
}

/* A match of the usual kind allocates nothing; one that is refused memory gave up. */
static void test_no_allocation(void **state)
{
    struct regex *r = compiled("^/v[12]/(users|groups)/[0-9]+(\\?.*)?$"), *deep = compiled("^(((((((((a|b)))))))))*$");
    char many[100];

    UNUSED(state);
    memset(many, 'a', sizeof(many));
    asked = 0;
    mem_set_gate(refuse_all);
    assert_int_equal(regex_find(r, SLICE("/v1/users/12345?x=y")), REGEX_YES);
    assert_int_equal(regex_find(r, SLICE("/v1/users/x")), REGEX_NO);
    assert_int_equal(asked, 0);
    assert_int_equal(regex_find(deep, slice_of(many, sizeof(many))), REGEX_GAVE_UP);
    mem_set_gate(NULL);
    assert_true(asked > 0);
    assert_true(regex_find(deep, slice_of(many, 10)) == REGEX_YES);
    regex_free(r);
    regex_free(deep);
}

static void test_no_memory(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct regex *r = NULL;
        size_t at;
        char why[REGEX_WHY];
        int e = regex_new(SLICE("^/v[12]/(users|groups)"), &r, &at, why);

        assert_int_equal(e, memfail_hit() ? ERR_NOMEM : 0);
        assert_int_equal(r != NULL, e == 0);
        regex_free(r);
    }
}

static void *find_often(void *ctx)
{
    const struct regex *r = ctx;

    for (unsigned i = 0; i < 2000; i++)
        if (regex_find(r, SLICE("/v1/users/12345")) != REGEX_YES || regex_find(r, SLICE("/v3/users/12345")) != REGEX_NO)
            return ctx;
    return NULL;
}

static void test_threads(void **state)
{
    struct regex *r = compiled("^/v[12]/(users|groups)/[0-9]+$");
    pthread_t threads[4];
    void *failed;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, find_often, r), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    regex_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds),         cmocka_unit_test(test_nul),
        cmocka_unit_test(test_no_expression), cmocka_unit_test(test_long_pattern),
        cmocka_unit_test(test_gives_up),      cmocka_unit_test(test_long_subject),
        cmocka_unit_test(test_no_allocation), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_threads),
    };

    if (!HAVE_REGEX) {
        printf("this build has no regular expressions\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
