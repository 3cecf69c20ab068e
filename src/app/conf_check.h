/* SPDX-License-Identifier: MIT */
/* conf_check: what can only be judged when everything has been read. Thread: main's. */
#ifndef APP_CONF_CHECK_H
#define APP_CONF_CHECK_H

#include "app/conf_build.h"

/* For whole files only: of a broken one nobody knows what is missing. Faults go to the report. */
void conf_check(struct conf_build *b);

#endif
