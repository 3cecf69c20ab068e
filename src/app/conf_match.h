/* SPDX-License-Identifier: MIT */
/* conf_match: single values, ranges and hosts: checks one value of any kind, and makes sets of
 * ranges and names. Thread: main's. */
#ifndef APP_CONF_MATCH_H
#define APP_CONF_MATCH_H

#include "app/conf_build.h"
#include "policy/hosts.h"

/* Whether the text is a value of the kind; what is wrong with it is reported. List files are not
 * opened. */
bool conf_match_value(struct conf_build *b, const struct conf_kind *k, struct slice text,
                      size_t at);

/* Adds an item of a list of ranges: a range, `any`, or what a list file has. */
void conf_match_range(struct conf_build *b, const struct conf_kind *k, struct slice text, size_t at,
                      struct conf_ranges *into);
/* Makes the set and empties r. Memory is the only way to fail: see the report. */
void conf_match_ranges(struct conf_build *b, struct conf_ranges *r, struct ranges *ret_set);

/* Hosts on their way into a matcher. */
struct conf_hosts {
    const char *key;    /* what messages call them */
    struct hosts **set; /* made when the first name comes */
    bool names_only;    /* of a ClientHello: no ranges */
    struct conf_ranges ranges;
    bool any;
    size_t n_names; /* added, repeated ones too */
};
/* Adds an item of a list of hosts: a name, a range, `any`, or what a list file has. */
void conf_match_host(struct conf_build *b, struct conf_hosts *h, struct slice text, size_t at);

/* Whether the value of a word of that type is an expression between slashes. */
bool conf_match_is_regex(enum option_type type, struct slice text);

/* Says which names of listeners nobody has. Called when all files have been read, before the
 * command line's listeners replace theirs. */
void conf_match_check_names(struct conf_build *b);

#endif
