/* SPDX-License-Identifier: MIT */
/* regex: a compiled expression (pcre2), as in `path: /^\/v[12]\//` without the slashes around it. Matching is bounded: REGEX_MATCH_LIMIT steps,
 * REGEX_DEPTH_LIMIT deep, REGEX_HEAP_KB of heap, subjects of at most REGEX_SUBJECT_MAX bytes; what is over a bound gave up. Bytes, not characters; no locale.
 * Owner: whoever compiled it. Thread: read-only after compiling; any number at a time. */
#ifndef POLICY_REGEX_H
#define POLICY_REGEX_H

#include "base/slice.h"

struct regex;

enum { REGEX_MATCH_LIMIT = 10000, REGEX_DEPTH_LIMIT = 250, REGEX_HEAP_KB = 64, REGEX_SUBJECT_MAX = 16384, REGEX_PATTERN_MAX = 1024, REGEX_WHY = 160 };

enum regex_answer { REGEX_NO = 0, REGEX_YES, REGEX_GAVE_UP };

/* ERR_SYNTAX: why says what and where (byte offset in *ret_at); ERR_NOMEM; ERR_STATE: this build has none. */
int regex_new(struct slice pattern, struct regex **ret_regex, size_t *ret_at, char ret_why[REGEX_WHY]) MUST_USE;
void regex_free(struct regex *r); /* NULL is fine */
/* Finds it anywhere in the subject unless it is anchored. */
enum regex_answer regex_find(const struct regex *r, struct slice subject);

#endif
