/* SPDX-License-Identifier: MIT */
#include "proxy/pace.h"

#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { RATE = 1000, START = 5000 };

/* Nothing at all: the first window says so, at its end and not before. */
static void test_silence(void **state)
{
    struct pace p;

    UNUSED(state);
    pace_start(&p, START);
    assert_true(pace_look(&p, RATE, START, 0, true));
    assert_int_equal(pace_due_ms(&p), START + PACE_WINDOW_MS);
    assert_true(pace_look(&p, RATE, START + PACE_WINDOW_MS - 1, 0, true));
    assert_int_equal(pace_due_ms(&p), START + PACE_WINDOW_MS);
    assert_false(pace_look(&p, RATE, START + PACE_WINDOW_MS, 0, true));
}

/* The average counts, not the gaps; each window begins with nothing. */
static void test_windows(void **state)
{
    struct pace p;

    UNUSED(state);
    pace_start(&p, START);
    assert_true(pace_look(&p, RATE, START, 0, true));
    assert_true(pace_look(&p, RATE, START + 9000, 10 * RATE, true));
    assert_true(pace_look(&p, RATE, START + 10000, 10 * RATE, true));
    assert_int_equal(pace_due_ms(&p), START + 20000);
    /* A hundred times too much does not help the window after. */
    assert_true(pace_look(&p, RATE, START + 20000, 1000 * RATE, true));
    assert_false(pace_look(&p, RATE, START + 30000, 1000 * RATE + 10 * RATE - 1, true));
}

/* Exactly the rate is enough. */
static void test_edge(void **state)
{
    struct pace p;

    UNUSED(state);
    pace_start(&p, START);
    assert_true(pace_look(&p, RATE, START, 0, true));
    assert_true(pace_look(&p, RATE, START + 10000, 10 * RATE, true));
    assert_false(pace_look(&p, RATE, START + 20000, 20 * RATE - 1, true));
}

/* A timer that is late has waited longer, and more has to have come. */
static void test_late_timer(void **state)
{
    struct pace p;

    UNUSED(state);
    pace_start(&p, START);
    assert_true(pace_look(&p, RATE, START, 0, true));
    assert_false(pace_look(&p, RATE, START + 12000, 11 * RATE, true));
}

/* While the sink does not take it, the clock stands. */
static void test_clock_stands(void **state)
{
    struct pace p;

    UNUSED(state);
    pace_start(&p, START);
    assert_int_equal(pace_due_ms(&p), UINT64_MAX);
    assert_true(pace_look(&p, RATE, START + 60000, 0, false));
    assert_int_equal(pace_due_ms(&p), UINT64_MAX);
    assert_true(pace_look(&p, RATE, START + 3600000, 0, true));
    assert_int_equal(pace_due_ms(&p), START + 3610000);
    assert_true(pace_look(&p, RATE, START + 3604000, 0, false)); /* four seconds waited */
    assert_true(pace_look(&p, RATE, START + 7200000, 0, true));
    assert_int_equal(pace_due_ms(&p), START + 7206000);
    assert_false(pace_look(&p, RATE, START + 7206000, 0, false));
}

/* Rates and counts at the ends of their types. */
static void test_extremes(void **state)
{
    struct pace p;

    UNUSED(state);
    pace_start(&p, START);
    assert_true(pace_look(&p, UINT64_MAX, START, 0, true));
    assert_false(pace_look(&p, UINT64_MAX, START + 10000, (uint64_t)1 << 50, true));
    assert_true(pace_look(&p, 1, START + 20000, ((uint64_t)1 << 50) + 10, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silence),    cmocka_unit_test(test_windows),      cmocka_unit_test(test_edge),
        cmocka_unit_test(test_late_timer), cmocka_unit_test(test_clock_stands), cmocka_unit_test(test_extremes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
