/* SPDX-License-Identifier: MIT */
/* conf_show_parts: what several keys of `config show` are written with. Called by conf_show and its rooms.
 */
#include "app/conf_show_parts.h"

#include "app/conf_shapes.h"
#include "base/check.h"

const struct option_def *conf_show_option(const char *path)
{
    const struct option_def *o = conf_table_find(slice_str(path));

    CHECK(o);
    return o;
}

const char *conf_show_word_of(const struct option_word *w, int value)
{
    for (; w && w->text; w++)
        if (w->value == value)
            return w->text;
    return NULL;
}

void conf_show_word(struct conf_out *s, unsigned indent, const struct option_def *o, int v)
{
    const char *word = conf_show_word_of(o->words, v);

    if (word)
        conf_out_pair(s, indent, conf_table_key(o), slice_str(word));
    else
        conf_out_comment(s, indent, conf_table_key(o), o->dflt_says ? o->dflt_says : "");
}

void conf_show_shape_word(struct conf_out *s, unsigned indent, const struct conf_shape *map, const char *key, int value)
{
    const char *word = conf_show_word_of(conf_shape_member(map, slice_str(key))->shape->words, value);

    if (word)
        conf_out_pair(s, indent, key, slice_str(word));
}

void conf_show_clients(struct conf_out *s, unsigned indent, const struct option_def *o, const struct conf_clients *c)
{
    if (!c->set)
        conf_out_comment(s, indent, conf_table_key(o), o->dflt_says);
    else if (c->any)
        conf_out_pair(s, indent, conf_table_key(o), SLICE("any"));
    else
        conf_out_range_list(s, indent, conf_table_key(o), &c->ranges);
}

void conf_show_alpn(struct conf_out *s, unsigned indent, unsigned alpn)
{
    if (alpn == TLS_ALPN_H1 || alpn == TLS_ALPN_H2)
        conf_out_pair(s, indent, "alpn", alpn == TLS_ALPN_H2 ? SLICE("h2") : SLICE("http/1.1"));
}

void conf_show_trust(struct conf_out *s, unsigned indent, const struct conf_tls_from *from)
{
    if (from->n_trust == 0) {
        conf_out_pair(s, indent, "trust", SLICE("system"));
        return;
    }
    conf_out_list(s, indent, "trust");
    if (from->system)
        conf_out_item(s, indent, SLICE("system"));
    for (unsigned i = 0; i < from->n_trust; i++)
        conf_out_item(s, indent, slice_str(from->trust[i]));
    conf_out_end(s);
}
