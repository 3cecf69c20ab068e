/* SPDX-License-Identifier: MIT */
/* passwd: `ginnel passwd FILE NAME`: sets a user's password in a users' file, or with --delete takes the user out. Thread: main's. */
#ifndef APP_PASSWD_H
#define APP_PASSWD_H

#include "app/command.h"
#include "base/slice.h"

/* Returns the exit code. */
int passwd_command(const struct command_call *call) MUST_USE;

/* A users' file with that user's hash changed, or the user added at its end, and everything else as it was; hash empty: without the user. Heap (mem_free),
 * *ret_n bytes. *ret_found: the user was there. NULL: no memory. For tests, too. */
char *passwd_change(struct slice text, struct slice name, struct slice hash, size_t *ret_n, bool *ret_found) MUST_USE;

#endif
