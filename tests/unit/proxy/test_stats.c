/* SPDX-License-Identifier: MIT */
/* The histograms: every time is in one place, bounds belong to what they bound. */
#include "proxy/stats.h"

#include "base/base.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct stats stats;

static unsigned place_of(uint64_t us)
{
    unsigned place = 0, n = 0;

    stats = (struct stats){0};
    stats_time(&stats, STATS_FIRST_BYTE, us);
    for (unsigned i = 0; i <= STATS_BOUNDS; i++) {
        uint64_t here = atomic_load(&stats.times[STATS_FIRST_BYTE].n[i]);

        n += (unsigned)here;
        if (here)
            place = i;
    }
    assert_int_equal(n, 1);
    assert_int_equal(atomic_load(&stats.times[STATS_FIRST_BYTE].sum_us), us);
    assert_int_equal(atomic_load(&stats.times[STATS_REQUEST].sum_us), 0);
    return place;
}

static void test_bounds(void **state)
{
    UNUSED(state);
    assert_int_equal(place_of(0), 0);
    for (unsigned i = 0; i < STATS_BOUNDS; i++) {
        assert_true(i == 0 || stats_bounds_us[STATS_FIRST_BYTE][i] > stats_bounds_us[STATS_FIRST_BYTE][i - 1]);
        assert_int_equal(place_of(stats_bounds_us[STATS_FIRST_BYTE][i] - 1), i);
        assert_int_equal(place_of(stats_bounds_us[STATS_FIRST_BYTE][i]), i);
        assert_int_equal(place_of(stats_bounds_us[STATS_FIRST_BYTE][i] + UINT64_C(1)), i + 1);
    }
    assert_int_equal(place_of(UINT64_MAX), STATS_BOUNDS);
    assert_int_equal(stats_bounds_us[STATS_FIRST_BYTE][0], 5000);
    assert_int_equal(stats_bounds_us[STATS_FIRST_BYTE][STATS_BOUNDS - 1], 60000000);
}

static void test_sums(void **state)
{
    UNUSED(state);
    stats = (struct stats){0};
    stats_time(&stats, STATS_REQUEST, 1000);
    stats_time(&stats, STATS_REQUEST, 2000);
    stats_time(&stats, STATS_REQUEST, 7000);
    assert_int_equal(atomic_load(&stats.times[STATS_REQUEST].n[0]), 2);
    assert_int_equal(atomic_load(&stats.times[STATS_REQUEST].n[1]), 1);
    assert_int_equal(atomic_load(&stats.times[STATS_REQUEST].sum_us), 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bounds), cmocka_unit_test(test_sums)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
