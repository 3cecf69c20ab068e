/* SPDX-License-Identifier: MIT */
/* conf_value: single values between their text and struct conf. Pure but for conf_value_set.
 * Thread: main's. */
#ifndef APP_CONF_VALUE_H
#define APP_CONF_VALUE_H

#include "app/conf.h"
#include "base/arena.h"
#include "base/option.h"

/* ERR_SYNTAX; ERR_RANGE: more than 64 bits of milliseconds or bytes. */
int conf_value_duration(struct slice s, uint64_t *ret_ms) MUST_USE;
int conf_value_size(struct slice s, uint64_t *ret_bytes) MUST_USE;
int conf_value_switch(struct slice s, bool *ret_on) MUST_USE;
/* tchar of RFC 9110 5.6.2 */
bool conf_value_is_token(struct slice s);
/* The word, or NULL. */
const struct option_word *conf_value_word(const struct option_word *words, struct slice s);

/* Writes the value at the option's offset (or nowhere). ERR_SYNTAX it is not of the option's type;
 * ERR_RANGE out of the option's range; ERR_NOMEM. For every type but SECTION, LISTEN, RANGES and
 * SERVERS. Strings go to the arena. */
int conf_value_set(const struct option_def *o, struct slice s, struct arena *a,
                   struct conf *c) MUST_USE;

enum { CONF_VALUE_TEXT = 32 };
/* A number of the option's type as the operator would write it: "90s", "64KB", "12". */
void conf_value_text(enum option_type type, uint64_t v, char out[CONF_VALUE_TEXT]);

#endif
