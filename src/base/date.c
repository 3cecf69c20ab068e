/* SPDX-License-Identifier: MIT */
/* date: the two spellings of time that we write, from the proleptic Gregorian calendar. Called by
 * the head writer and the log writers. strftime would bring the locale, gmtime_r the time zone's
 * lock; neither belongs on a worker. Years have four digits: what lies beyond 9999 is written as
 * its last second.
 */
#include "base/date.h"

#include <string.h>

#define SECONDS_MAX 253402300799u /* 9999-12-31T23:59:59Z */

struct civil {
    unsigned year, month, day; /* month and day from 1 */
    unsigned weekday;          /* 0 is Sunday */
    unsigned hour, minute, second;
};

/* Years are counted from March, so that the leap day is the last one, and in eras of 400 years,
 * which all have 146097 days. */
static struct civil civil_of(uint64_t unix_s)
{
    unsigned rest = (unsigned)(unix_s % 86400);
    unsigned days = (unsigned)(unix_s / 86400) + 719468; /* since 0000-03-01 */
    unsigned era_day = days % 146097;
    unsigned era_year = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
    unsigned year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    unsigned march_month = (5 * year_day + 2) / 153; /* 0 is March */
    unsigned month = march_month < 10 ? march_month + 3 : march_month - 9;

    return (struct civil){
        .year = days / 146097 * 400 + era_year + (month <= 2),
        .month = month,
        .day = year_day - (153 * march_month + 2) / 5 + 1,
        .weekday = (days + 3) % 7, /* 0000-03-01 was a Wednesday */
        .hour = rest / 3600,
        .minute = rest / 60 % 60,
        .second = rest % 60,
    };
}

/* `width` digits, most significant first; returns what follows them. */
static char *put_digits(char *p, unsigned v, unsigned width)
{
    for (unsigned i = width; i > 0; i--, v /= 10)
        p[i - 1] = (char)('0' + v % 10);
    return p + width;
}

static char *put_text(char *p, const char *text, size_t n)
{
    memcpy(p, text, n);
    return p + n;
}

static char *put_clock(char *p, const struct civil *c)
{
    p = put_digits(p, c->hour, 2);
    *p++ = ':';
    p = put_digits(p, c->minute, 2);
    *p++ = ':';
    return put_digits(p, c->second, 2);
}

void date_http(uint64_t unix_s, char out[DATE_HTTP_LEN + 1])
{
    struct civil c = civil_of(unix_s <= SECONDS_MAX ? unix_s : SECONDS_MAX);
    char *p = out;

    p = put_text(p, &"SunMonTueWedThuFriSat"[c.weekday * 3], 3);
    p = put_text(p, ", ", 2);
    p = put_digits(p, c.day, 2);
    *p++ = ' ';
    p = put_text(p, &"JanFebMarAprMayJunJulAugSepOctNovDec"[(c.month - 1) * 3], 3);
    *p++ = ' ';
    p = put_digits(p, c.year, 4);
    *p++ = ' ';
    p = put_clock(p, &c);
    put_text(p, " GMT", 5); /* and its NUL */
}

void date_iso(uint64_t unix_ms, char out[DATE_ISO_LEN + 1])
{
    uint64_t max = SECONDS_MAX * (uint64_t)1000 + 999;
    uint64_t ms = unix_ms <= max ? unix_ms : max;
    struct civil c = civil_of(ms / 1000);
    char *p = out;

    p = put_digits(p, c.year, 4);
    *p++ = '-';
    p = put_digits(p, c.month, 2);
    *p++ = '-';
    p = put_digits(p, c.day, 2);
    *p++ = 'T';
    p = put_clock(p, &c);
    *p++ = '.';
    p = put_digits(p, (unsigned)(ms % 1000), 3);
    put_text(p, "Z", 2);
}
