/* SPDX-License-Identifier: MIT */
/* conf_lint_upstream: entries of `upstream` and `origins` that cannot be meant, or probably are not. Thread: main's. */
#ifndef APP_CONF_LINT_UPSTREAM_H
#define APP_CONF_LINT_UPSTREAM_H

#include "app/conf_build.h"

/* Parents that are ginnel's own listeners: errors. The listeners are complete. */
void conf_lint_upstream_loops(struct conf_build *b);
/* Adds warnings. The configuration is complete. */
void conf_lint_upstream(struct conf_build *b);

#endif
