/* SPDX-License-Identifier: MIT */
/* conf_users: `users`, at the top and of a listener, with the files that it names. Thread: main's. */
#ifndef APP_CONF_USERS_H
#define APP_CONF_USERS_H

#include "app/conf_build.h"

/* The key at the top. Faults go to the report. */
void conf_users_read(struct conf_build *b, const struct option_def *o, const struct conf_node *node);
/* The same for a listener; the node has been checked against the shape already. NULL: nothing that could be used, which has been reported. */
struct users *conf_users_make(struct conf_build *b, const struct conf_node *node);

#endif
