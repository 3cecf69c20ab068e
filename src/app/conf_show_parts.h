/* SPDX-License-Identifier: MIT */
/* conf_show_parts: what the rooms of conf_show share, and the rooms: each writes one key of the top with everything below it. Private to conf_show*.c.
 * Thread: main's. */
#ifndef APP_CONF_SHOW_PARTS_H
#define APP_CONF_SHOW_PARTS_H

#include "app/conf.h"
#include "app/conf_out.h"
#include "app/conf_table.h"

/* The option with that path; there is one. */
const struct option_def *conf_show_option(const char *path);
/* NULL: no word says it. */
const char *conf_show_word_of(const struct option_word *w, int value);
/* A value that is one of the option's words; a comment where it is none. */
void conf_show_word(struct conf_out *s, unsigned indent, const struct option_def *o, int v);
/* The same for a member of a shape's map; nothing where it is none. */
void conf_show_shape_word(struct conf_out *s, unsigned indent, const struct conf_shape *map, const char *key, int value);
void conf_show_clients(struct conf_out *s, unsigned indent, const struct option_def *o, const struct conf_clients *c);
/* Only where it says something. */
void conf_show_alpn(struct conf_out *s, unsigned indent, unsigned alpn);
void conf_show_trust(struct conf_out *s, unsigned indent, const struct conf_tls_from *from);

/* conf_show_listen.c */
void conf_show_listen(struct conf_out *s, const struct option_def *o, const struct conf *c);
void conf_show_users(struct conf_out *s, unsigned indent, const struct users *u);
/* conf_show_log.c */
void conf_show_log(struct conf_out *s, const struct option_def *o, const struct conf *c);
/* conf_show_ways.c */
void conf_show_upstream(struct conf_out *s, const struct option_def *o, const struct conf *c);
void conf_show_origins(struct conf_out *s, const struct option_def *o, const struct conf *c);
/* conf_show_rules.c */
void conf_show_rules(struct conf_out *s, const struct option_def *o, const struct conf *c);
void conf_show_limits(struct conf_out *s, const struct option_def *o, const struct conf *c);

#endif
