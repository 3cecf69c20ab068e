/* SPDX-License-Identifier: MIT */
/* conf_yaml: the file as a tree of texts, lists and maps with their places. The YAML of ginnel is a
 * small one: one document, no anchors, aliases, tags, merge keys or directives, CONF_DEPTH_MAX
 * levels. Nodes live in the caller's arena. Thread: main's. */
#ifndef APP_CONF_YAML_H
#define APP_CONF_YAML_H

#include "app/conf_node.h"
#include "app/conf_report.h"
#include "base/arena.h"

/* Reads the text of one source. *ret_root is NULL when there is no document. *ret_whole is false
 * when the text could not be read to its end: then the tree holds what came before. Faults go to
 * the report. */
int conf_yaml_read(struct arena *a, struct conf_report *r, const struct conf_source *source,
                   struct conf_node **ret_root, bool *ret_whole) MUST_USE;

#endif
