/* SPDX-License-Identifier: MIT */
/* match_time: spans of the week as they are written in `time:`: days, hours, or both.
 *     mon-fri 08:00-18:00    sat,sun    22:00-06:00    fri-mon 12:00-24:00
 * Days are three letters in any case, with commas between; a range of days may go over the end of the week. No days: every day; no hours: all
 * day. Hours are HH:MM; the end is not included, 24:00 is one. A span that ends before it begins goes over midnight and belongs to the day on which
 * it begins. */
#ifndef POLICY_MATCH_TIME_H
#define POLICY_MATCH_TIME_H

#include "policy/matcher.h"

/* ERR_SYNTAX: not written like that. ERR_RANGE: an hour or minute that no day has, or a span of no length. */
int match_time_parse(struct slice text, struct matcher_time *ret_time) MUST_USE;
/* Whether the minute of the week (0: Monday 00:00) is in the span. */
bool match_time_holds(const struct matcher_time *t, uint16_t minute);

#endif
