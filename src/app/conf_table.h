/* SPDX-License-Identifier: MIT */
/* conf_table: every key of the configuration language, those of this build and those that it
 * refuses by name. Static data. Thread: any. */
#ifndef APP_CONF_TABLE_H
#define APP_CONF_TABLE_H

#include "base/option.h"
#include "base/slice.h"

enum { CONF_KEYS_MAX = 80 }; /* the language stays small */

extern const struct option_def conf_table[];
extern const unsigned conf_table_n;

/* The option with that path, or NULL. */
const struct option_def *conf_table_find(struct slice path);
/* The option `key` of a section (NULL: the top), or NULL. */
const struct option_def *conf_table_member(const struct option_def *section, struct slice key);
/* Whether o stands directly in the section (NULL: at the top). */
bool conf_table_in(const struct option_def *section, const struct option_def *o);
/* The last part of the path: the key as it is written. */
const char *conf_table_key(const struct option_def *o);
static inline unsigned conf_table_index(const struct option_def *o)
{
    return (unsigned)(o - conf_table);
}

#endif
