/* SPDX-License-Identifier: MIT */
/* num: numbers from outside: digits only, no sign, no blank, no prefix, checked against the width (FAILURES 6). */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include "base/slice.h"

#include <stdint.h>

/* ERR_SYNTAX: empty or a byte that is no digit. ERR_RANGE: above max. */
int num_dec(struct slice s, uint64_t max, uint64_t *ret_v) MUST_USE;
int num_hex(struct slice s, uint64_t max, uint64_t *ret_v) MUST_USE;
/* Writes decimal or lower-case hex digits, no NUL; returns how many (at most 20 / 16). */
size_t num_put_dec(char *p, uint64_t v);
size_t num_put_hex(char *p, uint64_t v);

#endif
