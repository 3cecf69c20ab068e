/* SPDX-License-Identifier: MIT */
/* remote: the commands that ask the ginnel which runs: status, reload, drain, config show
 * --running. Each prints the answer (or why there is none) and returns the exit code. Thread:
 * main's. */
#ifndef APP_REMOTE_H
#define APP_REMOTE_H

#include "app/command.h"
#include "app/control.h"

/* Beside those of app/serve.h (sysexits.h). */
enum { EXIT_SOFTWARE = 70, EXIT_IOERR = 74, EXIT_TEMPFAIL = 75 };

int remote_status(const struct command_call *call) MUST_USE;
int remote_reload(const struct command_call *call) MUST_USE;
int remote_drain(const struct command_call *call) MUST_USE;
int remote_denied(const struct command_call *call) MUST_USE;
/* Where the running ginnel would be asked, as by `status`. 0; or the exit code with why, which is empty where it has been said already. */
int remote_socket(const struct command_call *call, char ret_path[CONTROL_PATH], char why[CONTROL_WHY]) MUST_USE;
int remote_config(const struct command_call *call) MUST_USE;

#endif
