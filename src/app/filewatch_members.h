/* SPDX-License-Identifier: MIT */
/* filewatch_members: the paths of filewatch's set, files and patterns, and what they were when last looked at.
 * Owner: filewatch. Thread: its loop's. Bounds: FILEWATCH_MAX. */
#ifndef APP_FILEWATCH_MEMBERS_H
#define APP_FILEWATCH_MEMBERS_H

#include "base/base.h"

#include <stdbool.h>
#include <stdint.h>

struct filewatch_member {
    uint64_t key;   /* hash of the path */
    uint64_t state; /* hash of what stat says, and of the names that match; 0: not there */
    char *path;     /* in the set's text */
};

/* Zeroed at first. */
struct filewatch_members {
    struct filewatch_member *v; /* by key */
    size_t n;
    char *text;
};

/* The last component, if it has wildcards; or NULL. */
const char *filewatch_members_pattern(const char *path);
/* As conf_include finds the files of a pattern. */
bool filewatch_members_match(const char *pattern, const char *name);

/* ERR_NOMEM, ERR_LIMIT: too many, or a path too long; there is nothing to free then. */
int filewatch_members_copy(struct filewatch_members *m, const char *const *paths, size_t n) MUST_USE;
/* Members that were in the set before keep their state, the others get one. True when there are others. */
bool filewatch_members_keep(struct filewatch_members *m, const struct filewatch_members *before);
/* Looks at all of them; true when one is not what it was. */
bool filewatch_members_compare(struct filewatch_members *m);
void filewatch_members_done(struct filewatch_members *m);

#endif
