/* SPDX-License-Identifier: MIT */
/* serve: the running proxy: listeners, workers, logs, signals, from a loaded configuration to the exit code. */
#ifndef APP_SERVE_H
#define APP_SERVE_H

#include "app/conf.h"

/* Exit codes (sysexits.h). */
enum { EXIT_USAGE = 64, EXIT_NOINPUT = 66, EXIT_UNAVAILABLE = 69, EXIT_OSERR = 71, EXIT_NOPERM = 77, EXIT_CONFIG = 78 };

/* Runs until told to stop by a signal; returns the exit code. */
int serve(struct conf *c) MUST_USE;

#endif
