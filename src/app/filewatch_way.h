/* SPDX-License-Identifier: MIT */
/* filewatch_way: the way to a file, name by name, as the kernel would go it. It looks at nothing itself: what is a symlink, and where to, its caller
 * says. Owner: the caller's stack. Thread: any. Bounds: PATH_MAX, FILEWATCH_WAY_LINKS_MAX symlinks. */
#ifndef APP_FILEWATCH_WAY_H
#define APP_FILEWATCH_WAY_H

#include "base/base.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum { FILEWATCH_WAY_LINKS_MAX = 40 };

/* `at` has no symlinks in it and is absolute. */
struct filewatch_way {
    char at[PATH_MAX]; /* as far as we are */
    char name[NAME_MAX + 1];
    char rest[PATH_MAX];  /* what comes behind the name */
    char child[PATH_MAX]; /* at/name */
    unsigned links;
};

enum filewatch_way_step {
    FILEWATCH_WAY_NAME, /* `name` is the next one: enter it or follow it */
    FILEWATCH_WAY_END,  /* `at` is where the path leads */
    FILEWATCH_WAY_LOST, /* it becomes too long, or a name is */
};

/* path is shorter than PATH_MAX. False: it is relative, and there is no working directory. */
bool filewatch_way_start(struct filewatch_way *k, const char *path) MUST_USE;
enum filewatch_way_step filewatch_way_next(struct filewatch_way *k) MUST_USE;
/* The name is no symlink. */
void filewatch_way_enter(struct filewatch_way *k);
/* The name is one: puts its target before the rest. False: too many links (a loop has them all), or too long. */
bool filewatch_way_follow(struct filewatch_way *k, const char *target, size_t n) MUST_USE;

#endif
