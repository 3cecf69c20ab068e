/* SPDX-License-Identifier: MIT */
/* conf_show_match: matchers, as they would be written. Owner: conf_show. Thread: main's. */
#ifndef APP_CONF_SHOW_MATCH_H
#define APP_CONF_SHOW_MATCH_H

#include "app/conf_out.h"
#include "policy/matcher.h"

/* A list of them under a key. */
void conf_show_matchers(struct conf_out *s, unsigned indent, const char *key, const struct matcher *v, unsigned n);
/* The words of one, but for `except`. */
void conf_show_words(struct conf_out *s, unsigned indent, const struct matcher *m);
void conf_show_except(struct conf_out *s, unsigned indent, const struct matcher *m);
void conf_show_ports(struct conf_out *s, unsigned indent, const char *key, const struct matcher_ports *v, unsigned n_ports);

#endif
