/* SPDX-License-Identifier: MIT */
/* conf_upstream: the entries of `upstream`. Thread: main's. */
#ifndef APP_CONF_UPSTREAM_H
#define APP_CONF_UPSTREAM_H

#include "app/conf_build.h"

/* An entry, or a list of them, of one file. What this build cannot do is reported by name. */
void conf_upstream_read(struct conf_build *b, const struct option_def *o,
                        const struct conf_node *node);

#endif
