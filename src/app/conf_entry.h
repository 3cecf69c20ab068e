/* SPDX-License-Identifier: MIT */
/* conf_entry: checks a value against its shape, however deep. Thread: main's. */
#ifndef APP_CONF_ENTRY_H
#define APP_CONF_ENTRY_H

#include "app/conf_build.h"

/* Checks a node; faults go to the report. True: it may be built, for it is whole and right. (What YAML itself refuses has been reported before, and what
 * breaks off with the file is in no report.) key is what messages call the value. With built, words
 * that this build does not have are refused by name. */
bool conf_entry_check(struct conf_build *b, const char *key, const struct conf_shape *shape,
                      const struct conf_node *node, bool built);
/* The same for an item of a list of built entries. */
bool conf_entry_check_item(struct conf_build *b, const char *key, const struct conf_shape *shape,
                           const struct conf_node *node);
/* The same for a value that has a kind and no shape: a text, or a list of them. */
bool conf_entry_check_kind(struct conf_build *b, const struct conf_kind *k,
                           const struct conf_node *node);

#endif
