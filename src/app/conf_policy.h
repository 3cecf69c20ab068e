/* SPDX-License-Identifier: MIT */
/* conf_policy: `private`, `ports` and `policy`, and what holds where they are not written. Thread: main's. */
#ifndef APP_CONF_POLICY_H
#define APP_CONF_POLICY_H

#include "app/conf_build.h"

void conf_policy_read_ports(struct conf_build *b, const struct option_def *o, const struct conf_node *node);
void conf_policy_read(struct conf_build *b, const struct option_def *o, const struct conf_node *node);
/* Notes where the keys stand, once everything has been read. */
void conf_policy_finish(struct conf_build *b);

/* Whether one of the listeners that are written is off loopback. */
bool conf_policy_reaches_out(const struct conf *c);
/* What `private` is in force when a listener is off loopback, or none; ret_why (may be NULL): because of what, in words. Never DEFAULT. */
enum guard_mode conf_policy_private(const struct conf *c, bool reaches_out, const char **ret_why);
/* The ports of an allow that says none: how many ranges; 0: every port. */
unsigned conf_policy_ports_of_allow(const struct conf *c, const struct matcher_ports **ret_v);
/* What may be dialled without rules. */
unsigned conf_policy_ports(const struct conf *c, bool reaches_out, const struct matcher_ports **ret_v);

#endif
