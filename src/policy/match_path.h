/* SPDX-License-Identifier: MIT */
/* match_path: what an origin may make of a path: escapes of letters, digits, `-._~`, `/`, `\` and `;` undone (once), `\` taken for `/`, empty segments and dot
 * segments resolved, parameters (`;x`) taken off. A rule about a path that says yes to one reading and no to the other cannot be sure: see enum match_use. */
#ifndef POLICY_MATCH_PATH_H
#define POLICY_MATCH_PATH_H

#include "base/slice.h"

enum { MATCH_PATH_ROOM = 2048 };

/* path: without a query. It itself when it can be read in one way only, else in buf. ERR_LIMIT: there is another way, and it does not fit. */
int match_path_plain(struct slice path, char buf[MATCH_PATH_ROOM], struct slice *ret_plain) MUST_USE;

#endif
