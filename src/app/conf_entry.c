/* SPDX-License-Identifier: MIT */
/* conf_entry: walks a tree along a shape. Called by the reader for every key that holds entries,
 * built or not: all faults of a file are shown at once. It keeps its own stack, one frame a level
 * of the tree, whose depth the YAML reader bounds: it must never recurse over what somebody wrote.
 */
#include "app/conf_entry.h"

#include "app/conf_match.h"
#include "app/conf_text.h"
#include "base/check.h"

#include <stdio.h>

enum frame_of { ITEMS = 0, MEMBERS, OWN_KEYS };

/* A list or map whose children are being looked at. */
struct frame {
    enum frame_of of;
    const struct conf_shape
        *shape; /* ITEMS: of each; MEMBERS: the map's; OWN_KEYS: of each value */
    const char *key;
    const struct conf_node *node, *next;
    uint64_t seen; /* MEMBERS: by index */
    bool doubtful; /* MEMBERS: a key was not understood; nobody knows what is missing */
};

struct walk {
    struct conf_build *b;
    bool built;
    struct frame frames[CONF_DEPTH_MAX + 1];
    unsigned depth;
};

static void push(struct walk *w, enum frame_of of, const struct conf_shape *shape, const char *key,
                 const struct conf_node *node)
{
    CHECK(w->depth < ARRAY_LEN(w->frames));
    w->frames[w->depth++] =
        (struct frame){.of = of, .shape = shape, .key = key, .node = node, .next = node->first};
}

/* ---- one value ---- */

static void look_at_text(struct walk *w, const struct conf_shape *shape, const char *key,
                         const struct conf_node *node)
{
    struct conf_kind k = conf_kind_of_shape(key, shape);
    struct slice text;

    if (!conf_build_text(w->b, &k, node, &text))
        return;
    if (shape->type == OPTION_MAP && shape->bare) {
        struct conf_kind bare = conf_kind_of_shape(key, shape->bare);

        /* Who writes a wrong word must hear of the map, too. */
        if (bare.type == OPTION_WORD)
            bare.what = shape->what;
        conf_match_value(w->b, &bare, text, node->at);
    } else if (shape->type == OPTION_MAP || shape->type == OPTION_DICT) {
        conf_build_wrong(w->b, &k, node->at, conf_report_quote(w->b->report, text),
                         conf_build_hint(w->b, &k));
    } else {
        conf_match_value(w->b, &k, text, node->at);
    }
}

static void look_at_list(struct walk *w, const struct conf_shape *shape, const char *key,
                         const struct conf_node *node)
{
    if (!node->first && !node->open && shape->type != OPTION_MAP)
        conf_report_add(w->b->report, node->at, NULL, "`%s` is an empty list", key);
    push(w, ITEMS, shape, key, node);
}

static void look_at(struct walk *w, const struct conf_shape *shape, const char *key,
                    const struct conf_node *node, bool in_list)
{
    if (node->kind == CONF_NODE_MAP && shape->type == OPTION_MAP)
        push(w, MEMBERS, shape, key, node);
    else if (node->kind == CONF_NODE_MAP && shape->type == OPTION_DICT)
        push(w, OWN_KEYS, shape->of, key, node);
    else if (node->kind == CONF_NODE_LIST && shape->list && !in_list)
        look_at_list(w, shape, key, node);
    else
        look_at_text(w, shape, key, node);
}

/* ---- members of maps ---- */

static const char *member_hint(struct walk *w, const struct conf_shape *s, struct slice key)
{
    char list[CONF_REPORT_PAD / 2] = "";
    struct conf_text_guess g;

    conf_text_guess_init(&g, key);
    for (const struct conf_member *m = s->members; m->key; m++)
        conf_text_guess_try(&g, m->key);
    if (g.best)
        return conf_report_say(w->b->report, "did you mean `%s`?", g.best);
    for (const struct conf_member *m = s->members; m->key; m++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
                 m == s->members ? "" : ", ", m->key);
    return conf_report_say(w->b->report, "there are %s", list);
}

static void report_unknown(struct walk *w, const struct frame *f, const struct conf_node *key)
{
    const char *hint;

    if (!conf_report_wants(w->b->report, key->at)) {
        conf_report_add(w->b->report, key->at, NULL, "unknown");
        return;
    }
    hint = member_hint(w, f->shape, key->text);
    conf_report_add(w->b->report, key->at, hint, "%s is no key of `%s`",
                    conf_report_quote(w->b->report, key->text), f->key);
}

static size_t first_of(const struct frame *f, struct slice key)
{
    for (const struct conf_node *i = f->node->first; i; i = i->next)
        if (i->key->kind == CONF_NODE_TEXT && slice_eq(i->key->text, key))
            return i->key->at;
    return f->node->at;
}

/* The member that a key names, or NULL when it is none, which has been reported. */
static const struct conf_member *find_member(struct walk *w, struct frame *f,
                                             const struct conf_node *node)
{
    const struct conf_member *m;
    uint64_t bit;

    if (!conf_build_is_word(w->b, node->key)) {
        f->doubtful = true;
        return NULL;
    }
    m = conf_shape_member(f->shape, node->key->text);
    if (!m) {
        f->doubtful = true;
        report_unknown(w, f, node->key);
        return NULL;
    }
    bit = (uint64_t)1 << (m - f->shape->members);
    if (f->seen & bit) {
        conf_build_twice(w->b, m->key, node->key->at, first_of(f, node->key->text));
        return NULL;
    }
    f->seen |= bit;
    if (m->unbuilt && w->built)
        conf_report_add(w->b->report, node->key->at,
                        "remove it: ginnel never ignores what it is told",
                        "`%s` is not in this build", m->key);
    return m;
}

static bool has(const struct frame *f, const char *key)
{
    const struct conf_member *m = conf_shape_member(f->shape, slice_str(key));

    CHECK(m);
    return f->seen & (uint64_t)1 << (m - f->shape->members);
}

/* "`a`, `b` or `c`" */
static const char *needs_phrase(struct walk *w, const char *const *needs)
{
    char list[CONF_REPORT_PAD / 2] = "";

    for (; *needs; needs++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "`%s`%s", *needs,
                 !needs[1]   ? ""
                 : !needs[2] ? " or "
                             : ", ");
    return conf_report_say(w->b->report, "%s", list);
}

/* Whether what must stand in the map does. */
static void check_needs(struct walk *w, const struct frame *f)
{
    const char *const *needs = f->shape->needs;
    const char *first = NULL, *second = NULL;

    if (!needs || f->doubtful || f->node->open)
        return;
    for (; *needs; needs++)
        if (has(f, *needs)) {
            second = first && !second ? *needs : second;
            first = first ? first : *needs;
        }
    if (!first)
        conf_report_add(w->b->report, f->node->at,
                        conf_report_say(w->b->report, "like this: %s", f->shape->like),
                        "this entry of `%s` needs %s", f->key, needs_phrase(w, f->shape->needs));
    else if (second && f->shape->needs_one)
        conf_report_add(w->b->report, f->node->at,
                        f->shape->list ? "make two entries of it, or remove one" : "remove one",
                        "`%s` and `%s` in one entry of `%s`", first, second, f->key);
}

/* ---- the walk ---- */

static void step_member(struct walk *w, struct frame *f, const struct conf_node *node)
{
    const struct conf_member *m = find_member(w, f, node);

    if (m)
        look_at(w, m->shape, m->key, node, false);
}

static void step_own_key(struct walk *w, struct frame *f, const struct conf_node *node)
{
    if (!conf_build_is_word(w->b, node->key))
        return;
    if (conf_value_is_token(node->key->text))
        look_at(w, f->shape, f->key, node, false);
    else
        conf_report_add(w->b->report, node->key->at, "letters, digits and !#$%&'*+-.^_`|~",
                        "%s cannot be a name in `%s`",
                        conf_report_quote(w->b->report, node->key->text), f->key);
}

/* The next child of the innermost list or map; a frame that has none left is done. */
static void step(struct walk *w)
{
    struct frame *f = &w->frames[w->depth - 1];
    const struct conf_node *node = f->next;

    if (!node) {
        if (f->of == MEMBERS)
            check_needs(w, f);
        w->depth--;
        return;
    }
    f->next = node->next;
    if (f->of == ITEMS)
        look_at(w, f->shape, f->key, node, true);
    else if (f->of == MEMBERS)
        step_member(w, f, node);
    else
        step_own_key(w, f, node);
}

void conf_entry_check(struct conf_build *b, const char *key, const struct conf_shape *shape,
                      const struct conf_node *node, bool built)
{
    struct walk w = {.b = b, .built = built};

    look_at(&w, shape, key, node, false);
    while (w.depth > 0 && !b->report->nomem)
        step(&w);
}

void conf_entry_check_kind(struct conf_build *b, const struct conf_kind *k,
                           const struct conf_node *node)
{
    bool list = node->kind == CONF_NODE_LIST && k->list;
    struct slice text;

    for (const struct conf_node *i = list ? node->first : node; i; i = list ? i->next : NULL)
        if (conf_build_text(b, k, i, &text))
            conf_match_value(b, k, text, i->at);
}
