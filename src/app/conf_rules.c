/* SPDX-License-Identifier: MIT */
/* conf_rules: makes a rule of every entry of `rules`. Called by the reader, file by file, and once at the end. An entry that is wrong is reported and
 * left out, which nobody sees: the load fails.
 */
#include "app/conf_rules.h"

#include "app/conf_entry.h"
#include "app/conf_matcher.h"
#include "app/conf_policy.h"
#include "app/conf_text.h"
#include "base/mem.h"

static const char *copy(struct conf_build *b, const struct conf_node *node)
{
    struct slice s = node ? arena_dup(b->arena, node->text) : SLICE_NONE;

    if (node && !s.p)
        conf_build_nomem(b);
    return s.p;
}

static int word_of(const struct conf_node *rule, const char *key, int dflt)
{
    const struct conf_node *node = conf_node_member(rule, key);
    const struct option_word *w = node ? conf_value_word(conf_shape_member(&conf_shape_rule, slice_str(key))->shape->words, node->text) : NULL;

    return w ? w->value : dflt;
}

/* A word that is mistyped would be taken for a name. */
static void check_sni_name(struct conf_build *b, const struct option_word *words, const struct conf_node *node)
{
    struct conf_text_guess g;

    if (node->kind != CONF_NODE_TEXT || slice_find(node->text, '.') < node->text.n || conf_value_word(words, node->text))
        return;
    conf_text_guess_init(&g, node->text);
    for (const struct option_word *w = words; w->text; w++)
        conf_text_guess_try(&g, w->text);
    if (g.best)
        conf_report_add(b->report, node->at, conf_report_say(b->report, "did you mean `%s`?", g.best), "`sni` wants a name or strict, log or off, not %s",
                        conf_report_quote(b->report, node->text));
}

/* `sni` takes one word or names, and no mixture: a rule either looks at the name or is chosen by it. */
static void check_sni(struct conf_build *b, const struct conf_node *rule)
{
    const struct conf_node *node = conf_node_member(rule, "sni");
    const struct conf_shape *shape = conf_shape_member(&conf_shape_rule, SLICE("sni"))->shape;

    if (!node || conf_matcher_sni_word(node))
        return;
    if (node->kind != CONF_NODE_LIST)
        check_sni_name(b, shape->words, node);
    for (const struct conf_node *i = node->kind == CONF_NODE_LIST ? node->first : NULL; i; i = i->next) {
        check_sni_name(b, shape->words, i);
        if (i->kind == CONF_NODE_TEXT && conf_value_word(shape->words, i->text))
            conf_report_add(b->report, i->at, "write it alone, or names only", "%s in a list as `sni`", conf_report_quote(b->report, i->text));
    }
}

static void read_rule(struct conf_build *b, const struct conf_node *node, struct rule *r)
{
    const struct conf_node *allow = conf_node_member(node, "allow"), *deny = conf_node_member(node, "deny");
    const struct conf_node *sni = conf_node_member(node, "sni");
    const struct option_word *sni_word = sni ? conf_matcher_sni_word(sni) : NULL;

    r->kind = allow ? RULE_ALLOW : RULE_DENY;
    r->place = conf_build_place(b, node->at);
    r->name = copy(b, conf_node_member(node, "name"));
    r->say = copy(b, conf_node_member(node, "say"));
    r->report = word_of(node, "mode", 0);
    r->sni = sni_word ? (enum rule_sni)sni_word->value : SNI_DEFAULT;
    r->expect = (enum rule_expect)word_of(node, "expect", EXPECT_DEFAULT);
    conf_matcher_build(b, allow ? allow : deny, &r->where, &r->n_where);
    conf_matcher_beside(b, node, &r->with);
}

/* Room for n more, behind those of the files before. */
static bool reserve(struct conf_build *b, unsigned n)
{
    struct conf *c = b->conf;
    size_t had = c->n_rules * sizeof(*c->rules), at_had = c->n_rules * sizeof(*b->rule_at);
    struct rule *v = arena_grow(b->arena, c->rules, had, had + n * sizeof(*v));
    size_t *at = arena_grow(b->trees, b->rule_at, at_had, at_had + n * sizeof(*at));

    if (v)
        c->rules = v;
    if (at)
        b->rule_at = at;
    if (!v || !at)
        conf_build_nomem(b);
    return v && at;
}

static void take_entry(struct conf_build *b, const struct conf_node *node)
{
    struct conf *c = b->conf;

    memset(&c->rules[c->n_rules], 0, sizeof(*c->rules));
    b->rule_at[c->n_rules] = node->at;
    read_rule(b, node, &c->rules[c->n_rules++]);
}

void conf_rules_read(struct conf_build *b, const struct option_def *o, const struct conf_node *node)
{
    unsigned n = conf_node_count(node);
    struct conf *c = b->conf;

    c->has_rules = true;
    if (!c->rules_place)
        c->rules_place = conf_build_place(b, node->key ? node->key->at : node->at);
    if (n > CONF_RULES_MAX - c->n_rules) {
        conf_report_add(b->report, node->at, "a list file holds millions of names in one rule", "`rules` has more than %d entries", CONF_RULES_MAX);
        return;
    }
    if (!reserve(b, n))
        return;
    conf_entry_each(b, o, node, check_sni, take_entry);
}

/* ---- ports ---- */

static void give_ports(struct conf_build *b, struct matcher *m, const struct matcher_ports *v, unsigned n)
{
    struct matcher_ports *copied = mem_alloc(n * sizeof(*v));

    if (!copied) {
        conf_build_nomem(b);
        return;
    }
    memcpy(copied, v, n * sizeof(*v));
    m->ports = copied;
    m->n_ports = n;
}

void conf_rules_finish(struct conf_build *b)
{
    struct conf *c = b->conf;
    const struct matcher_ports *v;
    unsigned n = conf_policy_ports_of_allow(c, &v);

    for (unsigned i = 0; i < c->n_rules; i++) {
        const struct rule *r = &c->rules[i];

        if (r->kind != RULE_ALLOW || (r->with && r->with->n_ports))
            continue;
        for (unsigned k = 0; k < r->n_where && n && !b->report->nomem; k++)
            if (!r->where[k].n_ports) /* made here, and const for those who read it */
                give_ports(b, (struct matcher *)(uintptr_t)&r->where[k], v, n);
    }
}
