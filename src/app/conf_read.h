/* SPDX-License-Identifier: MIT */
/* conf_read: the tree against the table. Thread: main's. */
#ifndef APP_CONF_READ_H
#define APP_CONF_READ_H

#include "app/conf_build.h"

/* Writes the table's defaults. Memory is the only way to fail: see the report. */
void conf_read_defaults(struct conf_build *b);
/* Reads a file's tree over them. Faults go to the report. */
void conf_read_tree(struct conf_build *b, const struct conf_node *root);

#endif
