/* SPDX-License-Identifier: MIT */
/* lookup: the addresses of a name, as a command asks for them: by the proxy's resolver, on a loop of its own. Blocking. Thread: main's of a command. */
#ifndef APP_LOOKUP_H
#define APP_LOOKUP_H

#include "io/resolve.h"

/* 0 with an answer, whatever its status; ERR_NOMEM and what a loop may fail with. */
int lookup(const struct resolve_conf *conf, struct slice name, struct resolve_answer *ret_answer) MUST_USE;
/* "the name does not exist"; NULL for OK. */
const char *lookup_text(enum resolve_status s);

#endif
