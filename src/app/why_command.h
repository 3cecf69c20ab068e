/* SPDX-License-Identifier: MIT */
/* why_command: `ginnel why` and `ginnel denied`. Each returns the exit code. Thread: main's. */
#ifndef APP_WHY_COMMAND_H
#define APP_WHY_COMMAND_H

#include "app/command.h"

enum { WHY_EXIT_REFUSED = 1, WHY_EXIT_NO_HOST = 68 };

int why_command(const struct command_call *call) MUST_USE;

#endif
