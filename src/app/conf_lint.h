/* SPDX-License-Identifier: MIT */
/* conf_lint: rules that are legal and probably not meant. Thread: main's. */
#ifndef APP_CONF_LINT_H
#define APP_CONF_LINT_H

#include "app/conf_build.h"

/* Adds warnings about `rules` and what belongs to them. The configuration is complete. */
void conf_lint_rules(struct conf_build *b);

#endif
