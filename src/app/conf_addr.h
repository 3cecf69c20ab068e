/* SPDX-License-Identifier: MIT */
/* conf_addr: the keys whose values are addresses. Thread: main's. */
#ifndef APP_CONF_ADDR_H
#define APP_CONF_ADDR_H

#include "app/conf_build.h"

void conf_addr_listen(struct conf_build *b, const struct option_def *o,
                      const struct conf_node *node);
void conf_addr_clients(struct conf_build *b, const struct option_def *o,
                       const struct conf_node *node);
void conf_addr_servers(struct conf_build *b, const struct option_def *o,
                       const struct conf_node *node);
void conf_addr_admin(struct conf_build *b, const struct option_def *o,
                     const struct conf_node *node);

/* Adds one listener: 127.0.0.1:3128, [::1]:3128, localhost:3128, unix:/path. key is what messages
 * call it. */
void conf_addr_add_listen(struct conf_build *b, const char *key, struct slice text, size_t at);
/* Forgets the listeners of the files: the command line has its own. */
void conf_addr_clear_listen(struct conf_build *b);
/* The listeners of nobody: 127.0.0.1:3128 and [::1]:3128. */
void conf_addr_default_listen(struct conf_build *b);
/* Makes the set of `clients`, once all files have been read. */
void conf_addr_finish_clients(struct conf_build *b);

#endif
