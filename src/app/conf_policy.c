/* SPDX-License-Identifier: MIT */
/* conf_policy: the keys beside `rules` that say what may be reached. Called by the reader, by whoever shows a configuration and by the edition, which
 * knows the listeners that are really there. One place decides what the defaults are.
 */
#include "app/conf_policy.h"

#include "app/conf_entry.h"
#include "app/conf_matcher.h"
#include "base/check.h"

static const struct matcher_ports usual_ports[] = {{80, 80}, {443, 443}};

/* ---- reading ---- */

static bool add_port(struct conf_build *b, struct slice text)
{
    struct conf *c = b->conf;
    size_t had = c->n_ports * sizeof(*c->ports);
    struct matcher_ports *v = arena_grow(b->arena, c->ports, had, had + sizeof(*v));

    if (!v) {
        conf_build_nomem(b);
        return false;
    }
    c->ports = v;
    CHECK(conf_value_ports(text, &v[c->n_ports].first, &v[c->n_ports].last) == 0);
    c->n_ports++;
    return true;
}

void conf_policy_read_ports(struct conf_build *b, const struct option_def *o, const struct conf_node *node)
{
    bool empty = !conf_node_first(node), any = false;
    struct conf_kind k = conf_kind_of(o);
    bool right = conf_entry_check_kind(b, &k, node);

    if (empty && !node->open)
        conf_report_add(b->report, node->at, "what may not be reached at all is `rules: []`", "`ports` is an empty list");
    if (!right || empty)
        return;
    b->conf->has_ports = true;
    for (const struct conf_node *i = conf_node_first(node); i; i = conf_node_next(node, i)) {
        any = any || slice_eq(i->text, SLICE("any"));
        if (!slice_eq(i->text, SLICE("any")) && !add_port(b, i->text))
            return;
    }
    if (any)
        b->conf->n_ports = 0;
}

static void read_mode(struct conf_build *b, struct slice text)
{
    const struct option_word *w = conf_value_word(conf_shape_policy.bare->words, text);

    b->conf->report = w && w->value;
}

void conf_policy_read(struct conf_build *b, const struct option_def *o, const struct conf_node *node)
{
    const struct conf_node *mode, *say, *recheck;
    struct slice text;

    if (!conf_entry_check(b, conf_table_key(o), o->shape, node, true))
        return;
    if (node->kind != CONF_NODE_MAP) {
        read_mode(b, node->text);
        return;
    }
    mode = conf_node_member(node, "mode");
    say = conf_node_member(node, "say");
    recheck = conf_node_member(node, "recheck");
    if (mode)
        read_mode(b, mode->text);
    if (recheck)
        CHECK(conf_value_switch(recheck->text, &b->conf->recheck) == 0);
    if (!say)
        return;
    text = arena_dup(b->arena, say->text);
    if (!text.p)
        conf_build_nomem(b);
    b->conf->say = text.p;
}

static const char *place_of(struct conf_build *b, const char *key)
{
    size_t at = b->at[conf_table_index(conf_table_find(slice_str(key)))];

    return at == CONF_AT_NONE ? NULL : conf_build_place(b, at);
}

void conf_policy_finish(struct conf_build *b)
{
    b->conf->private_place = place_of(b, "private");
    b->conf->ports_place = place_of(b, "ports");
    b->conf->policy_place = place_of(b, "policy");
}

/* ---- what holds ---- */

bool conf_policy_reaches_out(const struct conf *c)
{
    for (unsigned i = 0; i < c->n_listen; i++)
        if (c->listen[i].kind == CONF_LISTEN_TCP && !addr_is_loopback(&c->listen[i].addr))
            return true;
    return false;
}

enum guard_mode conf_policy_private(const struct conf *c, bool reaches_out, const char **ret_why)
{
    const char *why = "no listener is off loopback and there are no rules";

    if (c->private != GUARD_DEFAULT)
        why = c->private_place ? c->private_place : "private";
    else if (reaches_out)
        why = "a listener is off loopback";
    else if (c->has_rules)
        why = "there are rules";
    if (ret_why)
        *ret_why = why;
    if (c->private != GUARD_DEFAULT)
        return c->private;
    return reaches_out || c->has_rules ? GUARD_DENY : GUARD_METADATA;
}

unsigned conf_policy_ports_of_allow(const struct conf *c, const struct matcher_ports **ret_v)
{
    *ret_v = c->has_ports ? c->ports : usual_ports;
    return c->has_ports ? c->n_ports : ARRAY_LEN(usual_ports);
}

unsigned conf_policy_ports(const struct conf *c, bool reaches_out, const struct matcher_ports **ret_v)
{
    *ret_v = NULL;
    return c->has_ports || reaches_out ? conf_policy_ports_of_allow(c, ret_v) : 0;
}
