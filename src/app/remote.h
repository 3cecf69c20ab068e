/* SPDX-License-Identifier: MIT */
/* remote: the commands that ask the ginnel which runs: status, reload, drain, config show
 * --running. Each prints the answer (or why there is none) and returns the exit code. Thread:
 * main's. */
#ifndef APP_REMOTE_H
#define APP_REMOTE_H

#include "app/command.h"

/* Beside those of app/serve.h (sysexits.h). */
enum { EXIT_SOFTWARE = 70, EXIT_IOERR = 74, EXIT_TEMPFAIL = 75 };

int remote_status(const struct command_call *call) MUST_USE;
int remote_reload(const struct command_call *call) MUST_USE;
int remote_drain(const struct command_call *call) MUST_USE;
int remote_config(const struct command_call *call) MUST_USE;

#endif
