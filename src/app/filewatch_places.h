/* SPDX-License-Identifier: MIT */
/* filewatch_places: the watches that filewatch has of the kernel, of directories and of files that are mounts: which it still needs is found by
 * rounds. Owner: filewatch. Thread: its loop's. Bounds: the kernel's. */
#ifndef APP_FILEWATCH_PLACES_H
#define APP_FILEWATCH_PLACES_H

#include "base/base.h"

#include <stdbool.h>
#include <stdint.h>

struct filewatch_place {
    int wd;
    unsigned born, seen; /* rounds */
    char *path;
};

/* Zeroed at first. */
struct filewatch_places {
    struct filewatch_place *v; /* by wd; valid until the next one is added or removed */
    size_t n, cap;
    unsigned round;
};

/* NULL: there is none (any more). */
struct filewatch_place *filewatch_places_find(const struct filewatch_places *p, int wd);
/* Takes a watch of inotify's descriptor, or adds the mask to the one we have, and notes that this round needs it. *ret_wd: negative errno when the
 * kernel refuses. ERR_NOMEM: no watch was taken. */
int filewatch_places_add(struct filewatch_places *p, int fd, const char *path, uint32_t mask, int *ret_wd) MUST_USE;
/* What the kernel has dropped itself. */
void filewatch_places_remove(struct filewatch_places *p, struct filewatch_place *place);
/* Gives one watch back: one that this round has taken (it failed), or one that it had no use for. Its number, or -1: there is none left. */
int filewatch_places_give_back(struct filewatch_places *p, int fd, bool failed);
/* The descriptor has been closed. */
void filewatch_places_done(struct filewatch_places *p);

#endif
