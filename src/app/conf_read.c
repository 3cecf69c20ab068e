/* SPDX-License-Identifier: MIT */
/* conf_read: walks a file's tree along the table of options. Called by conf after the tree is
 * complete. The file is two levels deep (lists of maps aside), and so are the loops here: nothing
 * recurses over what somebody wrote.
 */
#include "app/conf_read.h"

#include "app/conf_addr.h"
#include "app/conf_text.h"
#include "app/conf_value.h"
#include "base/check.h"
#include "base/err.h"

void conf_read_defaults(struct conf_build *b)
{
    for (unsigned i = 0; i < conf_table_n; i++) {
        const struct option_def *o = &conf_table[i];
        int r = o->dflt ? conf_value_set(o, slice_str(o->dflt), b->arena, b->conf) : 0;

        if (r == ERR_NOMEM)
            conf_build_nomem(b);
        else
            CHECK(r == 0);
    }
}

/* ---- single values ---- */

static const char *range_hint(struct conf_build *b, const struct option_def *o)
{
    char min[CONF_VALUE_TEXT], max[CONF_VALUE_TEXT];

    conf_value_text(o->type, o->min, min);
    conf_value_text(o->type, o->max, max);
    return conf_report_say(b->report, "from %s to %s%s", min, max,
                           o->type == OPTION_TOKEN ? " characters" : "");
}

static const char *value_hint(struct conf_build *b, const struct option_def *o, struct slice text)
{
    static const char *const switches[] = {"on", "off", "yes", "no", "true", "false"};
    struct conf_text_guess g;

    conf_text_guess_init(&g, text);
    if (o->type == OPTION_SWITCH)
        for (size_t i = 0; i < ARRAY_LEN(switches); i++)
            conf_text_guess_try(&g, switches[i]);
    for (const struct option_word *w = o->words; w && w->text; w++)
        conf_text_guess_try(&g, w->text);
    if (!g.best)
        return conf_build_type_hint(o);
    return conf_report_say(b->report, "did you mean `%s`?", g.best);
}

static void report_range(struct conf_build *b, const struct option_def *o, size_t at,
                         struct slice text)
{
    conf_report_add(b->report, at, range_hint(b, o), "`%s` is out of range: %s", conf_table_key(o),
                    conf_report_quote(b->report, text));
}

static void read_value(struct conf_build *b, const struct option_def *o,
                       const struct conf_node *node)
{
    const struct option_word *w;
    struct slice text;
    int r;

    b->wrong[conf_table_index(o)] = true;
    if (!conf_build_text(b, o, node, &text))
        return;
    w = conf_value_word(o->words, text);
    if (w && w->unbuilt) {
        conf_report_add(b->report, node->at, conf_report_say(b->report, "there is `%s`", o->dflt),
                        "`%s: %s` is not in this build", conf_table_key(o), w->text);
        return;
    }
    r = conf_value_set(o, text, b->arena, b->conf);
    if (r == ERR_NOMEM)
        conf_build_nomem(b);
    else if (r == ERR_RANGE)
        report_range(b, o, node->at, text);
    else if (r < 0)
        conf_build_wrong(b, o, node->at, conf_report_quote(b->report, text),
                         value_hint(b, o, text));
    else
        b->wrong[conf_table_index(o)] = false;
}

static void read_leaf(struct conf_build *b, const struct option_def *o,
                      const struct conf_node *node)
{
    switch (o->type) {
    case OPTION_LISTEN:
        conf_addr_listen(b, o, node);
        return;
    case OPTION_RANGES:
        conf_addr_ranges(b, o, node);
        return;
    case OPTION_SERVERS:
        conf_addr_servers(b, o, node);
        return;
    default:
        read_value(b, o, node);
    }
}

/* ---- maps ---- */

/* `connect:10s` is one text to YAML, and a common slip. section is NULL at the top. */
static const char *missing_blank(struct conf_build *b, const struct option_def *section,
                                 struct slice text)
{
    struct slice key = slice_of(text.p, slice_find(text, ':'));

    if (key.n == text.n || !conf_table_member(section, key))
        return NULL;
    return conf_report_say(b->report, "a blank belongs behind the colon: `" SLICE_FMT ": …`",
                           SLICE_ARG(key));
}

/* What a section looks like, from its first key that has a default. */
static const char *section_hint(struct conf_build *b, const struct option_def *section)
{
    for (unsigned i = 0; i < conf_table_n; i++)
        if (conf_table_in(section, &conf_table[i]) && conf_table[i].dflt)
            return conf_report_say(b->report, "like this: `%s: {%s: %s}`", section->path,
                                   conf_table_key(&conf_table[i]), conf_table[i].dflt);
    return NULL;
}

/* Whether the node is a map that can be walked; nothing at all is one without members. */
static bool enter_map(struct conf_build *b, const struct option_def *section,
                      const struct conf_node *node)
{
    const char *hint = "write one map, without dashes", *what = "a list";

    if (node->kind == CONF_NODE_MAP)
        return true;
    if (node->kind == CONF_NODE_BAD || node->open || (node->kind == CONF_NODE_TEXT && node->empty))
        return false;
    if (node->kind == CONF_NODE_TEXT) {
        hint = missing_blank(b, section, node->text);
        what = conf_report_quote(b->report, node->text);
    }
    if (section)
        conf_build_wrong(b, section, node->at, what, hint ? hint : section_hint(b, section));
    else
        conf_report_add(b->report, node->at, hint ? hint : "write `key: value`, a line each",
                        "the file must be a map of keys, not %s", what);
    return false;
}

static void read_section(struct conf_build *b, const struct option_def *section,
                         const struct conf_node *node)
{
    struct conf_build_seen seen = {0};

    if (!enter_map(b, section, node))
        return;
    for (const struct conf_node *m = node->first; m; m = m->next) {
        const struct option_def *o = conf_build_member(b, section, m, &seen);

        if (o)
            read_leaf(b, o, m);
    }
}

void conf_read_tree(struct conf_build *b, const struct conf_node *root)
{
    struct conf_build_seen seen = {0};

    if (!root || !enter_map(b, NULL, root))
        return;
    for (const struct conf_node *m = root->first; m; m = m->next) {
        const struct option_def *o = conf_build_member(b, NULL, m, &seen);

        if (!o)
            continue;
        if (o->type == OPTION_SECTION)
            read_section(b, o, m);
        else
            read_leaf(b, o, m);
    }
}
