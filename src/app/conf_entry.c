/* SPDX-License-Identifier: MIT */
/* conf_entry: walks a tree along a shape. Called by the reader for every key that holds entries,
 * built or not: all faults of a file are shown at once. It keeps its own stack, one frame a level
 * of the tree, whose depth the YAML reader bounds: it must never recurse over what somebody wrote.
 */
#include "app/conf_entry.h"

#include "app/conf_list.h"
#include "app/conf_match.h"
#include "app/conf_text.h"
#include "base/check.h"

#include <stdio.h>

enum { OWN_KEYS_MAX = 256 /* of one map */, FILES_MAX = 32 };
enum frame_of { ITEMS = 0, MEMBERS, OWN_KEYS };

/* A list or map whose children are being looked at. */
struct frame {
    enum frame_of of;
    const struct conf_shape
        *shape; /* ITEMS: of each; MEMBERS: the map's; OWN_KEYS: of each value */
    const char *key;
    const struct conf_node *node, *next;
    unsigned n_own; /* OWN_KEYS: so far */
    uint64_t seen;  /* MEMBERS: by index */
    bool doubtful; /* MEMBERS: a key was not understood; nobody knows what is missing */
};

struct walk {
    struct conf_build *b;
    bool built;
    bool broken; /* a node that YAML refuses, or that breaks off */
    const struct conf_node *files[FILES_MAX]; /* that name list files */
    unsigned n_files;
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

static void note_file(struct walk *w, const struct conf_shape *shape, const struct conf_node *node)
{
    enum option_type type = shape->type == OPTION_MAP && shape->bare ? shape->bare->type : shape->type;
    bool takes = type == OPTION_HOST || type == OPTION_SNI || type == OPTION_RANGE;

    if (takes && conf_value_is_list_file(node->text) && conf_value_is_file(node->text) && w->n_files < FILES_MAX)
        w->files[w->n_files++] = node;
}

static void look_at_text(struct walk *w, const struct conf_shape *shape, const char *key,
                         const struct conf_node *node)
{
    struct conf_kind k = conf_kind_of_shape(key, shape);
    struct slice text;

    if (!conf_build_text(w->b, &k, node, &text)) {
        w->broken = true;
        return;
    }
    if (shape->type == OPTION_MAP && shape->bare) {
        struct conf_kind bare = conf_kind_of_shape(key, shape->bare);

        /* Who writes a wrong word must hear of the map, too. */
        if (bare.type == OPTION_WORD)
            bare.what = shape->what;
        conf_match_value(w->b, &bare, text, node->at);
    } else if (shape->type == OPTION_MAP || shape->type == OPTION_DICT) {
        conf_build_wrong(w->b, &k, node->at, k.secret ? "a text" : conf_report_quote(w->b->report, text),
                         conf_build_hint(w->b, &k));
    } else {
        conf_match_value(w->b, &k, text, node->at);
    }
    note_file(w, shape, node);
}

static bool is_matcher(const struct conf_shape *shape)
{
    return shape->type == OPTION_MAP && shape->bare && shape->bare->type == OPTION_HOST;
}

static void look_at_list(struct walk *w, const struct conf_shape *shape, const char *key,
                         const struct conf_node *node)
{
    /* A list of entries may have none; no destination at all is a slip. */
    bool entries = shape->type == OPTION_MAP && !is_matcher(shape);

    if (!node->first && !node->open && !entries)
        conf_report_add(w->b->report, node->at, NULL, "`%s` is an empty list", key);
    push(w, ITEMS, shape, key, node);
}

/* A matcher that asks nothing is a slip. */
static void look_at_map(struct walk *w, const struct conf_shape *shape, const char *key,
                        const struct conf_node *node)
{
    if (is_matcher(shape) && !node->first && !node->open)
        conf_report_add(w->b->report, node->at, "everything is `any`", "an empty map as `%s`", key);
    push(w, MEMBERS, shape, key, node);
}

static void look_at_dict(struct walk *w, const struct conf_shape *shape, const char *key,
                         const struct conf_node *node)
{
    if (!node->first && !node->open)
        conf_report_add(w->b->report, node->at, NULL, "`%s` is an empty map", key);
    push(w, OWN_KEYS, shape->of, key, node);
}

static void look_at(struct walk *w, const struct conf_shape *shape, const char *key,
                    const struct conf_node *node, bool in_list)
{
    w->broken = w->broken || node->open || node->kind == CONF_NODE_BAD;
    if (node->kind == CONF_NODE_MAP && shape->type == OPTION_MAP)
        look_at_map(w, shape, key, node);
    else if (node->kind == CONF_NODE_MAP && shape->type == OPTION_DICT)
        look_at_dict(w, shape, key, node);
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
                    f->shape->secret ? "this" : conf_report_quote(w->b->report, key->text), f->key);
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
        w->broken = true;
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

/* Names of fields: the same whatever their case. */
static const struct conf_node *same_before(const struct frame *f, const struct conf_node *node)
{
    for (const struct conf_node *i = f->node->first; i != node; i = i->next)
        if (i->key->kind == CONF_NODE_TEXT && slice_eq_nocase(i->key->text, node->key->text))
            return i;
    return NULL;
}

static void step_own_key(struct walk *w, struct frame *f, const struct conf_node *node)
{
    const struct conf_node *before;

    if (!conf_build_is_word(w->b, node->key)) {
        w->broken = true;
        return;
    }
    before = f->n_own++ < OWN_KEYS_MAX ? same_before(f, node) : NULL;
    if (before)
        conf_build_twice(w->b, conf_report_say(w->b->report, SLICE_FMT, SLICE_ARG(slice_of(node->key->text.p, min_size(node->key->text.n, 100)))),
                         node->key->at, before->key->at);
    if (f->n_own > OWN_KEYS_MAX) {
        conf_report_add(w->b->report, node->key->at, NULL, "`%s` has more than %d names", f->key, OWN_KEYS_MAX);
        f->next = NULL;
        return;
    }
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

static void skip_line(struct conf_build *b, void *ctx, struct slice entry, size_t at)
{
    UNUSED(b);
    UNUSED(ctx);
    UNUSED(entry);
    UNUSED(at);
}

static bool check(struct conf_build *b, const char *key, const struct conf_shape *shape,
                  const struct conf_node *node, bool built, bool in_list)
{
    struct walk w = {.b = b, .built = built};
    size_t before = conf_report_count(b->report);

    look_at(&w, shape, key, node, in_list);
    while (w.depth > 0 && !b->report->nomem)
        step(&w);
    /* Nothing will be made of it, and so nobody else looks whether its list files can be read. */
    if (built && conf_report_count(b->report) != before)
        for (unsigned i = 0; i < w.n_files; i++)
            conf_list_read(b, w.files[i]->text, w.files[i]->at, skip_line, NULL);
    return conf_report_count(b->report) == before && !w.broken && !b->report->nomem;
}

bool conf_entry_check(struct conf_build *b, const char *key, const struct conf_shape *shape,
                      const struct conf_node *node, bool built)
{
    return check(b, key, shape, node, built, false);
}

static void each(struct conf_build *b, const struct option_def *o, const struct conf_node *entry, conf_entry_fn look, conf_entry_fn take)
{
    bool right = check(b, conf_table_key(o), o->shape, entry, true, true), map = entry->kind == CONF_NODE_MAP;
    size_t before = conf_report_count(b->report);

    if (map)
        look(b, entry);
    if (map && right && conf_report_count(b->report) == before)
        take(b, entry);
}

void conf_entry_each(struct conf_build *b, const struct option_def *o, const struct conf_node *node, conf_entry_fn look, conf_entry_fn take)
{
    for (const struct conf_node *i = conf_node_first(node); i && !b->report->nomem; i = conf_node_next(node, i))
        each(b, o, i, look, take);
}

bool conf_entry_check_kind(struct conf_build *b, const struct conf_kind *k,
                           const struct conf_node *node)
{
    bool list = node->kind == CONF_NODE_LIST && k->list, right = !node->open;
    struct slice text;

    for (const struct conf_node *i = list ? node->first : node; i; i = list ? i->next : NULL)
        right = conf_build_text(b, k, i, &text) && conf_match_value(b, k, text, i->at) && right;
    return right;
}
