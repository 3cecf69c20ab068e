/* SPDX-License-Identifier: MIT */
/* conf_out: writes the YAML of `config show`: keys, values with quotes where they need them, lists an item a line, addresses. Owner: conf_show. Thread: main's. */
#ifndef APP_CONF_OUT_H
#define APP_CONF_OUT_H

#include "app/text.h"
#include "policy/ranges.h"

enum { CONF_OUT_STEP = 2 };

__extension__ typedef unsigned __int128 conf_out_bits;

/* Zeroed at first. What memory is refused for is missing, and text_take says so. */
struct conf_out {
    struct text text;
    bool bullet; /* the next key begins an item of a list */
    unsigned n_items;
};

void conf_out_add(struct conf_out *s, struct slice text); /* as it is */
void conf_out_value(struct conf_out *s, struct slice t);
/* indent: of the key, here and below */
void conf_out_key(struct conf_out *s, unsigned indent, const char *key);
void conf_out_pair(struct conf_out *s, unsigned indent, const char *key, struct slice value);
void conf_out_comment(struct conf_out *s, unsigned indent, const char *key, const char *scdoc);
/* A list, its items, its end. */
void conf_out_list(struct conf_out *s, unsigned indent, const char *key);
void conf_out_item(struct conf_out *s, unsigned indent, struct slice value);
void conf_out_end(struct conf_out *s);
/* An address, or a range of so many leading bits; of IPv4 the lowest 32 count. */
void conf_out_prefix(struct conf_out *s, unsigned indent, conf_out_bits first, unsigned length, bool v4);
void conf_out_ranges(struct conf_out *s, unsigned indent, const struct ranges *r); /* as items */
void conf_out_range_list(struct conf_out *s, unsigned indent, const char *key, const struct ranges *r);

#endif
