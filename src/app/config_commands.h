/* SPDX-License-Identifier: MIT */
/* config_commands: the commands check, config show and config schema, and loading as they and the
 * start do it. Each returns the exit code. Thread: main's. */
#ifndef APP_CONFIG_COMMANDS_H
#define APP_CONFIG_COMMANDS_H

#include "app/command.h"

/* Loads; or prints every error, in colours on a terminal unless NO_COLOR is set, and returns the
 * exit code. ret_warnings as with conf_load. */
int config_commands_load(const struct conf_args *args, struct conf_errors *ret_warnings,
                         struct conf **ret_conf) MUST_USE;

int config_commands_check(const struct command_call *call) MUST_USE;
int config_commands_show(const struct command_call *call) MUST_USE;
int config_commands_schema(const struct command_call *call) MUST_USE;

#endif
