/* SPDX-License-Identifier: MIT */
/* conf_node: a place in the tree of what was written: a text, a list of nodes, a map of them. Nodes live in the arena of whoever read the tree, and are
 * not changed afterwards. Where one value may stand instead of a list of one, the items of a node that is no list are itself. Thread: main's. */
#ifndef APP_CONF_NODE_H
#define APP_CONF_NODE_H

#include "base/slice.h"

/* BAD: something was there, and has been reported. */
enum conf_node_kind { CONF_NODE_TEXT = 0, CONF_NODE_LIST, CONF_NODE_MAP, CONF_NODE_BAD };

struct conf_node {
    enum conf_node_kind kind;
    bool empty; /* TEXT: nothing was written, or an unquoted null */
    bool open;  /* the file broke off inside: what is missing may only have been cut away */
    size_t at;  /* its place */
    struct slice text;
    struct conf_node *key;          /* of a map's member; of any kind */
    struct conf_node *first, *last; /* of a list or map */
    struct conf_node *next;
};

static inline bool conf_node_is_list(const struct conf_node *node)
{
    return node && node->kind == CONF_NODE_LIST;
}

/* The first item; NULL: there is none, as in an empty list and where no node is. */
static inline const struct conf_node *conf_node_first(const struct conf_node *node)
{
    return conf_node_is_list(node) ? node->first : node;
}

/* The item behind one of node's; NULL: it was the last. */
static inline const struct conf_node *conf_node_next(const struct conf_node *node, const struct conf_node *item)
{
    return conf_node_is_list(node) ? item->next : NULL;
}

/* How many items there are. */
unsigned conf_node_count(const struct conf_node *node);
/* The member of a map with that key; NULL: there is none, or this is no map, or NULL. */
const struct conf_node *conf_node_member(const struct conf_node *node, const char *key);

#endif
