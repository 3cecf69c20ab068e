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
/* Entries that are maps, or one that stands without a list: look() reports what no shape says of an entry, and take() gets each in which nothing is
 * wrong. Ends when memory runs out. */
typedef void (*conf_entry_fn)(struct conf_build *b, const struct conf_node *entry);
void conf_entry_each(struct conf_build *b, const struct option_def *o, const struct conf_node *node, conf_entry_fn look, conf_entry_fn take);
/* The same for a value that has a kind and no shape: a text, or a list of them. */
bool conf_entry_check_kind(struct conf_build *b, const struct conf_kind *k,
                           const struct conf_node *node);

#endif
