/* SPDX-License-Identifier: MIT */
/* serve: the proxy in the foreground: opens everything, starts the workers, runs the house, stops.
 * Thread: main. */
#ifndef APP_SERVE_H
#define APP_SERVE_H

#include "app/conf.h"

enum {
    EXIT_USAGE = 64,
    EXIT_NOINPUT = 66,
    EXIT_UNAVAILABLE = 69,
    EXIT_OSERR = 71,
    EXIT_NOPERM = 77,
    EXIT_CONFIG = 78
};

/* Serves until it is told to stop. Takes the conf; args are those it was loaded with, for reloading. Returns the exit code (sysexits). */
int serve(const struct conf_args *args, struct conf *conf);

#endif
