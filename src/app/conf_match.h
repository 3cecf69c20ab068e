/* SPDX-License-Identifier: MIT */
/* conf_match: single values, ranges and matchers: checks one value of any kind, and makes sets of
 * ranges and matchers from those that are built. Thread: main's. */
#ifndef APP_CONF_MATCH_H
#define APP_CONF_MATCH_H

#include "app/conf_build.h"

/* Whether the text is a value of the kind; what is wrong with it is reported. List files are not
 * opened. */
bool conf_match_value(struct conf_build *b, const struct conf_kind *k, struct slice text,
                      size_t at);

/* Adds an item of a list of ranges: a range, `any`, or what a list file has. */
void conf_match_range(struct conf_build *b, const struct conf_kind *k, struct slice text, size_t at,
                      struct conf_ranges *into);
/* Makes the set and empties r. Memory is the only way to fail: see the report. */
void conf_match_ranges(struct conf_build *b, struct conf_ranges *r, struct ranges *ret_set);

/* Matchers from the value of `for:`, which conf_entry has found to be correct; any of them may
 * hold. In the conf's arena, and freed with it. */
void conf_match_build(struct conf_build *b, const struct conf_node *node,
                      const struct matcher **ret_v, unsigned *ret_n);

/* Says which names of listeners nobody has. Called when all files have been read, before the
 * command line's listeners replace theirs. */
void conf_match_check_names(struct conf_build *b);

#endif
