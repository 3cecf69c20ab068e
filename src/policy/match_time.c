/* SPDX-License-Identifier: MIT */
/* match_time: reads spans of the week, and says what is in one. Read by the configuration, asked by matchers. It has no clock and no calendar: the minute of
 * the week is the caller's.
 */
#include "policy/match_time.h"

#include "base/err.h"
#include "base/num.h"

enum { DAYS = 7, EVERY_DAY = (1 << DAYS) - 1, DAY_MINUTES = 24 * 60 };

bool match_time_holds(const struct matcher_time *t, uint16_t minute)
{
    unsigned day = minute / DAY_MINUTES, at = minute % DAY_MINUTES, before = (day + DAYS - 1) % DAYS;

    if (minute >= MATCH_MINUTES)
        return false;
    if (t->from < t->to)
        return t->days >> day & 1 && t->from <= at && at < t->to;
    return (t->days >> day & 1 && at >= t->from) || (t->days >> before & 1 && at < t->to);
}

/* ---- days ---- */

static int read_day(struct slice s, unsigned *ret_day)
{
    static const struct slice names[DAYS] = {
        {"mon", 3}, {"tue", 3}, {"wed", 3}, {"thu", 3}, {"fri", 3}, {"sat", 3}, {"sun", 3},
    };

    for (unsigned i = 0; i < DAYS; i++)
        if (slice_eq_nocase(s, names[i])) {
            *ret_day = i;
            return 0;
        }
    return ERR_SYNTAX;
}

/* "mon" or "fri-mon". */
static int read_days_item(struct slice s, uint8_t *days)
{
    size_t dash = slice_find(s, '-');
    unsigned first, last;

    if (read_day(slice_of(s.p, dash), &first) < 0)
        return ERR_SYNTAX;
    last = first;
    if (dash < s.n && read_day(slice_skip(s, dash + 1), &last) < 0)
        return ERR_SYNTAX;
    for (unsigned i = 0; i <= (last + DAYS - first) % DAYS; i++)
        *days |= (uint8_t)(1u << (first + i) % DAYS);
    return 0;
}

static int read_days(struct slice s, uint8_t *ret_days)
{
    uint8_t days = 0;

    while (true) {
        size_t comma = slice_find(s, ',');

        if (read_days_item(slice_trim(slice_of(s.p, comma)), &days) < 0)
            return ERR_SYNTAX;
        if (comma == s.n)
            break;
        s = slice_skip(s, comma + 1);
    }
    *ret_days = days;
    return 0;
}

/* ---- hours ---- */

/* "08:00"; two digits each, so that 8:5 is not taken for anything. */
static int read_clock(struct slice s, uint16_t *ret_minute)
{
    uint64_t hour, minute;

    if (s.n != 5 || s.p[2] != ':')
        return ERR_SYNTAX;
    if (num_dec(slice_of(s.p, 2), UINT64_MAX, &hour) < 0 || num_dec(slice_skip(s, 3), UINT64_MAX, &minute) < 0)
        return ERR_SYNTAX;
    if (minute > 59 || hour * 60 + minute > DAY_MINUTES)
        return ERR_RANGE;
    *ret_minute = (uint16_t)(hour * 60 + minute);
    return 0;
}

static int read_hours(struct slice s, uint16_t *ret_from, uint16_t *ret_to)
{
    size_t dash = slice_find(s, '-');
    uint16_t from, to;
    int r;

    if (dash == s.n)
        return ERR_SYNTAX;
    r = read_clock(slice_trim(slice_of(s.p, dash)), &from);
    if (r == 0)
        r = read_clock(slice_trim(slice_skip(s, dash + 1)), &to);
    if (r < 0)
        return r;
    /* 24:00 is an end only, and a span of nothing is a mistake. */
    if (from == DAY_MINUTES || from == to)
        return ERR_RANGE;
    *ret_from = from;
    *ret_to = to;
    return 0;
}

/* ---- both ---- */

/* Where the hours begin: at the first digit. */
static size_t hours_at(struct slice s)
{
    size_t i = 0;

    while (i < s.n && !(s.p[i] >= '0' && s.p[i] <= '9'))
        i++;
    return i;
}

int match_time_parse(struct slice text, struct matcher_time *ret_time)
{
    struct matcher_time t = {.days = EVERY_DAY, .from = 0, .to = DAY_MINUTES};
    size_t at;
    int r = 0;

    text = slice_trim(text);
    at = hours_at(text);
    if (text.n == 0 || (at > 0 && at < text.n && text.p[at - 1] != ' ' && text.p[at - 1] != '\t'))
        return ERR_SYNTAX;
    if (at > 0)
        r = read_days(slice_trim(slice_of(text.p, at)), &t.days);
    if (r == 0 && at < text.n)
        r = read_hours(slice_skip(text, at), &t.from, &t.to);
    if (r < 0)
        return r;
    *ret_time = t;
    return 0;
}
