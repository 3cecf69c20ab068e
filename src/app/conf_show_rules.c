/* SPDX-License-Identifier: MIT */
/* conf_show_rules: entries of `rules` and `limits`, as they would be written. Called by conf_show.
 */
#include "app/conf_show_parts.h"

#include "app/conf_limits.h"
#include "app/conf_shapes.h"
#include "app/conf_show_match.h"
#include "app/conf_value.h"

#include <stdio.h>

/* ---- rules ---- */

static void show_rule(struct conf_out *s, unsigned indent, const struct rule *r)
{
    s->bullet = true;
    conf_show_matchers(s, indent, r->kind == RULE_ALLOW ? "allow" : "deny", r->where, r->n_where);
    if (r->with) {
        conf_show_words(s, indent, r->with);
        conf_show_except(s, indent, r->with);
    }
    if (r->name)
        conf_out_pair(s, indent, "name", slice_str(r->name));
    if (r->sni != SNI_DEFAULT)
        conf_show_shape_word(s, indent, &conf_shape_rule, "sni", r->sni);
    if (r->expect != EXPECT_DEFAULT)
        conf_show_shape_word(s, indent, &conf_shape_rule, "expect", r->expect);
    if (r->report)
        conf_show_shape_word(s, indent, &conf_shape_rule, "mode", true);
    if (r->say)
        conf_out_pair(s, indent, "say", slice_str(r->say));
}

void conf_show_rules(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    if (!c->has_rules) {
        conf_out_comment(s, 0, o->path, o->dflt_says);
        return;
    }
    text_printf(&s->text, "%s:%s\n", o->path, c->n_rules ? "" : " []");
    for (unsigned i = 0; i < c->n_rules; i++)
        show_rule(s, 2 * CONF_OUT_STEP, &c->rules[i]);
}

/* ---- limits ---- */

/* As an option of the shape's type would be. */
static void show_amount(struct conf_out *s, unsigned indent, const char *key, uint64_t v)
{
    const struct conf_shape *shape = conf_shape_member(&conf_shape_limit, slice_str(key))->shape;
    char text[CONF_VALUE_TEXT];

    if (!v)
        return;
    if (shape->type == OPTION_RATE && !shape->min)
        snprintf(text, sizeof(text), "%llu/s", (unsigned long long)v);
    else
        conf_value_text(shape->type, v, text);
    conf_out_pair(s, indent, key, slice_str(text));
}

static void show_limit(struct conf_out *s, unsigned indent, const struct limit *l)
{
    char quota[CONF_QUOTA_TEXT];

    s->bullet = true;
    if (l->n_where)
        conf_show_matchers(s, indent, "for", l->where, l->n_where);
    if (l->per != PER_ALL)
        conf_show_shape_word(s, indent, &conf_shape_limit, "per", (int)l->per);
    show_amount(s, indent, "requests", l->requests);
    show_amount(s, indent, "burst", l->burst);
    if (l->pace)
        conf_out_pair(s, indent, "pace", SLICE("on"));
    show_amount(s, indent, "bandwidth", l->bandwidth);
    show_amount(s, indent, "bandwidth-up", l->bandwidth_up);
    show_amount(s, indent, "bandwidth-down", l->bandwidth_down);
    show_amount(s, indent, "tunnels", l->tunnels);
    if (l->quota) {
        conf_limits_quota_text(l, quota);
        conf_out_pair(s, indent, "quota", slice_str(quota));
    }
    if (l->slow)
        conf_out_pair(s, indent, "at-limit", SLICE("slow"));
    show_amount(s, indent, "upload", l->upload);
    show_amount(s, indent, "download", l->download);
    if (l->name)
        conf_out_pair(s, indent, "name", slice_str(l->name));
}

void conf_show_limits(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    text_printf(&s->text, "%s:%s\n", o->path, c->n_limits ? "" : " []");
    for (unsigned i = 0; i < c->n_limits; i++)
        show_limit(s, 2 * CONF_OUT_STEP, &c->limits[i]);
}
