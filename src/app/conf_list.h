/* SPDX-License-Identifier: MIT */
/* conf_list: list files: one entry a line, `#` comments, blank lines. Thread: main's. */
#ifndef APP_CONF_LIST_H
#define APP_CONF_LIST_H

#include "app/conf_build.h"

/* An entry of a list file, with its place. The text is gone when the file has been read. */
typedef void (*conf_list_fn)(struct conf_build *b, void *ctx, struct slice entry, size_t at);

/* Reads the list file that is named at that place, and gives its entries to fn. Faults go to the
 * report. */
void conf_list_read(struct conf_build *b, struct slice path, size_t at, conf_list_fn fn, void *ctx);
/* Reports what conf_sources_read answered for a file of at most CONF_LIST_MAX bytes that is named at that place; what: "list", "users". */
void conf_list_unreadable(struct conf_build *b, const char *what, const char *path, size_t at, int err);

#endif
