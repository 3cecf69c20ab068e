/* SPDX-License-Identifier: MIT */
/* conf_show: a configuration as the text of a file that means the same: every key of this build,
 * with the value in force. Made from the table and the conf. Thread: any. */
#ifndef APP_CONF_SHOW_H
#define APP_CONF_SHOW_H

#include "app/conf.h"

/* YAML in mem_* memory, with a NUL behind its *ret_n bytes. NULL: no memory. */
char *conf_show(const struct conf *c, size_t *ret_n) MUST_USE;
/* What it says of one key of the top, for comparing. */
char *conf_show_key(const struct conf *c, const char *key, size_t *ret_n) MUST_USE;
char *conf_show_defaults(size_t *ret_n) MUST_USE;

#endif
