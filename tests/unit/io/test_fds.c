/* SPDX-License-Identifier: MIT */
/* Which descriptors are kept, with limits of every size. */
#include "io/fds.h"

#include "base/base.h"

#include <sys/resource.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct rlimit had;

static void limit(rlim_t n)
{
    struct rlimit r = {.rlim_cur = n, .rlim_max = had.rlim_max};

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
}

/* Without being asked for, none are. First, for what is kept stays so. */
static void test_none(void **state)
{
    UNUSED(state);
    assert_false(fds_kept(0));
    assert_false(fds_kept(1 << 20));
}

/* U59: the limit is a number to compare with, and nothing else. */
static void test_limits(void **state)
{
    static const struct {
        rlim_t limit;
        int first;
    } cases[] = {{1024, 1024 - FDS_KEPT}, {256, 256 - FDS_KEPT}, {128, 96}, {100, 75}, {64, 48}, {20, 15}};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        limit(cases[i].limit);
        fds_keep();
        assert_false(fds_kept(cases[i].first - 1));
        assert_true(fds_kept(cases[i].first));
        assert_true(fds_kept((int)cases[i].limit - 1));
    }
    setrlimit(RLIMIT_NOFILE, &had);
    fds_keep();
    assert_false(fds_kept(0));
}

/* Somebody raises the limit of the living process. */
static void test_raised(void **state)
{
    UNUSED(state);
    limit(128);
    fds_keep();
    assert_true(fds_kept(100));
    limit(512);
    assert_false(fds_kept(100));
    assert_true(fds_kept(500));
    setrlimit(RLIMIT_NOFILE, &had);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_raised),
    };

    getrlimit(RLIMIT_NOFILE, &had);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
