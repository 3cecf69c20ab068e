/* SPDX-License-Identifier: MIT */
/* conf_node: looking into a tree of nodes. Called by the rooms that read entries, for trees that conf_yaml has made. Judges nothing: what has to be
 * there and what may be is conf_entry's.
 */
#include "app/conf_node.h"

unsigned conf_node_count(const struct conf_node *node)
{
    unsigned n = 0;

    for (const struct conf_node *i = conf_node_first(node); i; i = conf_node_next(node, i))
        n++;
    return n;
}

const struct conf_node *conf_node_member(const struct conf_node *node, const char *key)
{
    if (!node || node->kind != CONF_NODE_MAP)
        return NULL;
    for (const struct conf_node *m = node->first; m; m = m->next)
        if (m->key->kind == CONF_NODE_TEXT && slice_eq(m->key->text, slice_str(key)))
            return m;
    return NULL;
}
