/* SPDX-License-Identifier: MIT */
/* Spans of the week: how they are written, and which minutes are in them. */
#include "policy/match_time.h"

#include "base/base.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MON = 1, TUE = 2, WED = 4, THU = 8, FRI = 16, SAT = 32, SUN = 64, ALL = 127, DAY = 24 * 60 };

static void test_written(void **state)
{
    static const struct {
        const char *text;
        unsigned days, from, to;
    } rows[] = {
        {"mon-fri 08:00-18:00", MON | TUE | WED | THU | FRI, 8 * 60, 18 * 60},
        {"sat,sun", SAT | SUN, 0, DAY},
        {"22:00-06:00", ALL, 22 * 60, 6 * 60},
        {"mon 09:00-12:00", MON, 9 * 60, 12 * 60},
        {"Mon", MON, 0, DAY},
        {"SUN", SUN, 0, DAY},
        {"fri-mon", FRI | SAT | SUN | MON, 0, DAY},
        {"sun-mon,wed", SUN | MON | WED, 0, DAY},
        {"mon-mon", MON, 0, DAY},
        {"mon-sun", ALL, 0, DAY},
        {"tue-mon", ALL, 0, DAY},
        {"mon, wed, fri 10:00-11:30", MON | WED | FRI, 600, 690},
        {"mon,mon", MON, 0, DAY},
        {"  thu \t 00:00-24:00  ", THU, 0, DAY},
        {"12:00-24:00", ALL, 720, DAY},
        {"12:00-00:00", ALL, 720, 0},
        {"23:59-00:01", ALL, 23 * 60 + 59, 1},
        {"09:00 - 10:00", ALL, 540, 600},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct matcher_time t;

        if (match_time_parse(slice_str(rows[i].text), &t) != 0)
            fail_msg("%s was refused", rows[i].text);
        if (t.days != rows[i].days || t.from != rows[i].from || t.to != rows[i].to)
            fail_msg("%s: days %x, %u to %u", rows[i].text, t.days, t.from, t.to);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        int want;
    } rows[] = {
        {"", ERR_SYNTAX},
        {" ", ERR_SYNTAX},
        {"monday", ERR_SYNTAX},
        {"mo", ERR_SYNTAX},
        {"mon-", ERR_SYNTAX},
        {"-mon", ERR_SYNTAX},
        {"mon-tue-wed", ERR_SYNTAX},
        {"mon,", ERR_SYNTAX},
        {",mon", ERR_SYNTAX},
        {"mon,,tue", ERR_SYNTAX},
        {"mon tue", ERR_SYNTAX},
        {"mon08:00-09:00", ERR_SYNTAX},
        {"mon-08:00-09:00", ERR_SYNTAX},
        {"8:00-9:00", ERR_SYNTAX},
        {"08:00", ERR_SYNTAX},
        {"08:00-", ERR_SYNTAX},
        {"08:00-09:00 mon", ERR_SYNTAX},
        {"08:00-09:00,10:00-11:00", ERR_SYNTAX},
        {"08:00-09:00-10:00", ERR_SYNTAX},
        {"08.00-09.00", ERR_SYNTAX},
        {"0800-0900", ERR_SYNTAX},
        {"+8:00-09:00", ERR_SYNTAX},
        {"08:+1-09:00", ERR_SYNTAX},
        {"24:01-01:00", ERR_RANGE},
        {"25:00-26:00", ERR_RANGE},
        {"08:60-09:00", ERR_RANGE},
        {"08:00-24:01", ERR_RANGE},
        {"24:00-08:00", ERR_RANGE},
        {"08:00-08:00", ERR_RANGE},
        {"any", ERR_SYNTAX},
    };
    struct matcher_time nul;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct matcher_time t = {.days = 99};

        if (match_time_parse(slice_str(rows[i].text), &t) != rows[i].want)
            fail_msg("'%s'", rows[i].text);
        assert_int_equal(t.days, 99);
    }
    assert_int_equal(match_time_parse(slice_of("mon\0", 4), &nul), ERR_SYNTAX);
}

static bool in(const char *text, unsigned day, unsigned hour, unsigned minute)
{
    struct matcher_time t;

    assert_int_equal(match_time_parse(slice_str(text), &t), 0);
    return match_time_holds(&t, (uint16_t)(day * DAY + hour * 60 + minute));
}

static void test_holds(void **state)
{
    UNUSED(state);
    assert_true(in("mon-fri 08:00-18:00", 0, 8, 0));
    assert_false(in("mon-fri 08:00-18:00", 0, 7, 59));
    assert_true(in("mon-fri 08:00-18:00", 4, 17, 59));
    assert_false(in("mon-fri 08:00-18:00", 4, 18, 0));
    assert_false(in("mon-fri 08:00-18:00", 5, 12, 0));
    assert_true(in("sun", 6, 23, 59));
    assert_false(in("sun", 0, 0, 0));
    assert_true(in("12:00-24:00", 3, 23, 59));
    assert_false(in("12:00-24:00", 3, 0, 0));
    assert_false(in("12:00-00:00", 3, 0, 0));
}

/* A night belongs to the day on which it begins. */
static void test_over_midnight(void **state)
{
    UNUSED(state);
    assert_true(in("fri 22:00-06:00", 4, 22, 0));
    assert_true(in("fri 22:00-06:00", 5, 5, 59));
    assert_false(in("fri 22:00-06:00", 5, 6, 0));
    assert_false(in("fri 22:00-06:00", 5, 22, 0));
    assert_false(in("fri 22:00-06:00", 4, 5, 0));
    assert_false(in("fri 22:00-06:00", 4, 12, 0));
    /* from the last day of the week into the first */
    assert_true(in("sun 22:00-06:00", 0, 3, 0));
    assert_false(in("mon 22:00-06:00", 0, 3, 0));
    assert_true(in("22:00-06:00", 2, 3, 0));
    assert_false(in("22:00-06:00", 2, 12, 0));
}

/* Each minute of the week, against the span's minutes counted one by one. */
static void test_every_minute(void **state)
{
    static const char *const spans[] = {"mon-fri 08:00-18:00", "sat,sun", "sun 23:00-01:00", "22:00-06:00", "wed 12:00-00:00"};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
        static bool want[MATCH_MINUTES];
        struct matcher_time t;

        memset(want, 0, sizeof(want));
        assert_int_equal(match_time_parse(slice_str(spans[i]), &t), 0);
        for (unsigned day = 0; day < 7; day++)
            for (unsigned n = 0; t.days >> day & 1 && n < (t.to + (t.to > t.from ? 0u : DAY)) - t.from; n++)
                want[(day * DAY + t.from + n) % MATCH_MINUTES] = true;
        for (unsigned at = 0; at < MATCH_MINUTES; at++)
            if (match_time_holds(&t, (uint16_t)at) != want[at])
                fail_msg("%s at minute %u", spans[i], at);
        assert_false(match_time_holds(&t, MATCH_MINUTES));
        assert_false(match_time_holds(&t, MATCH_NO_MINUTE));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written),       cmocka_unit_test(test_refused),      cmocka_unit_test(test_holds),
        cmocka_unit_test(test_over_midnight), cmocka_unit_test(test_every_minute),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
