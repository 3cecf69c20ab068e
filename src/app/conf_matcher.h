/* SPDX-License-Identifier: MIT */
/* conf_matcher: makes matchers of what conf_entry has found to be correct. They live in the conf's arena, and are freed with it. Memory is the only
 * way to fail, and list files: see the report. Thread: main's. */
#ifndef APP_CONF_MATCHER_H
#define APP_CONF_MATCHER_H

#include "app/conf_build.h"

/* From the value of `for`, `allow`, `deny`, `except`: any of them may hold. All bare hosts are one, each map is one. */
void conf_matcher_build(struct conf_build *b, const struct conf_node *node, const struct matcher **ret_v, unsigned *ret_n);
/* From the words of matchers that stand in a rule, beside its other keys. NULL: there are none. */
void conf_matcher_beside(struct conf_build *b, const struct conf_node *rule, const struct matcher **ret_m);
/* Of `sni` in a rule: one of its words, or NULL where names stand. */
const struct option_word *conf_matcher_sni_word(const struct conf_node *node);

#endif
