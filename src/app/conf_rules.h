/* SPDX-License-Identifier: MIT */
/* conf_rules: the entries of `rules`. Thread: main's. */
#ifndef APP_CONF_RULES_H
#define APP_CONF_RULES_H

#include "app/conf_build.h"

/* An entry, or a list of them, of one file. */
void conf_rules_read(struct conf_build *b, const struct option_def *o, const struct conf_node *node);
/* Gives every destination of an allow its ports. Called when everything has been read. */
void conf_rules_finish(struct conf_build *b);

#endif
