/* SPDX-License-Identifier: MIT */
/* conf_limits: the entries of `limits`. Thread: main's. */
#ifndef APP_CONF_LIMITS_H
#define APP_CONF_LIMITS_H

#include "app/conf_build.h"

/* An entry, or a list of them, of one file. */
void conf_limits_read(struct conf_build *b, const struct option_def *o, const struct conf_node *node);
/* "5000MB/day" */
enum { CONF_QUOTA_TEXT = 48 };
void conf_limits_quota_text(const struct limit *l, char out[CONF_QUOTA_TEXT]);

#endif
