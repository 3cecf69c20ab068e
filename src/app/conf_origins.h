/* SPDX-License-Identifier: MIT */
/* conf_origins: `trust` and the entries of `origins`: how TLS is spoken with origins and parents. Thread: main's. */
#ifndef APP_CONF_ORIGINS_H
#define APP_CONF_ORIGINS_H

#include "app/conf_build.h"

/* The value of `trust`. */
void conf_origins_read_trust(struct conf_build *b, const struct option_def *o, const struct conf_node *node);
/* An entry of `origins`, or a list of them, of one file. */
void conf_origins_read(struct conf_build *b, const struct option_def *o, const struct conf_node *node);
/* When all files have been read: what entries do not say is what `trust` says; whether contexts can be made of it. */
void conf_origins_finish(struct conf_build *b);

#endif
