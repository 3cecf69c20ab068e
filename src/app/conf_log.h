/* SPDX-License-Identifier: MIT */
/* conf_log: the items of `log`. Thread: main's. */
#ifndef APP_CONF_LOG_H
#define APP_CONF_LOG_H

#include "app/conf_build.h"

/* A map, or a list of maps, of one file. */
void conf_log_read(struct conf_build *b, const struct option_def *log,
                   const struct conf_node *node);
/* Once all files have been read: the log of nobody, and what the worker must know. */
void conf_log_finish(struct conf_build *b);

#endif
