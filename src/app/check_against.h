/* SPDX-License-Identifier: MIT */
/* check_against: `ginnel check --against LOG`: what a configuration would decide about the requests of an access log, and which of them it would change. Nothing
 * is resolved: a request is judged with the address that it went to. Limits, passwords and what is said inside a tunnel are not judged again. Thread: main's. */
#ifndef APP_CHECK_AGAINST_H
#define APP_CHECK_AGAINST_H

#include "app/command.h"

/* CHANGES: different ones that are shown. */
enum { CHECK_AGAINST_CHANGES = 1000, CHECK_CHANGED = 1 };

int check_against(const struct command_call *call, const char *log) MUST_USE;

#endif
