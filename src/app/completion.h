/* SPDX-License-Identifier: MIT */
/* completion: scripts that complete this program's command line in bash, zsh and fish, made from
 * the table of commands. What this build refuses is not offered. Thread: main's. */
#ifndef APP_COMPLETION_H
#define APP_COMPLETION_H

#include "base/base.h"

#include <stdbool.h>
#include <stdio.h>

/* False: no such shell. */
bool completion_print(const char *shell, FILE *to) MUST_USE;

#endif
