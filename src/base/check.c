/* SPDX-License-Identifier: MIT */
/* check: the end of a process that found one of our own mistakes. Reached through CHECK and its
 * relatives on any thread, perhaps with a damaged heap: it must not allocate, lock or log.
 */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void check_failed(const char *what, const char *file, int line)
{
    char msg[512];
    int n =
        snprintf(msg, sizeof(msg), "ginnel: check failed: %.200s at %.200s:%d\n", what, file, line);

    if (n > 0 && write(STDERR_FILENO, msg, (size_t)n) < 0) {
        /* Nobody is left to be told. */
    }
    abort();
}
