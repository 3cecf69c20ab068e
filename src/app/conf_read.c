/* SPDX-License-Identifier: MIT */
/* conf_read: walks a file's tree along the table of options. Called by conf after the tree is
 * complete, file by file. The table is two levels deep, and so are the loops here; entries are
 * conf_entry's. Nothing recurses over what somebody wrote.
 */
#include "app/conf_read.h"

#include "app/conf_addr.h"
#include "app/conf_entry.h"
#include "app/conf_limits.h"
#include "app/conf_log.h"
#include "app/conf_match.h"
#include "app/conf_origins.h"
#include "app/conf_policy.h"
#include "app/conf_rules.h"
#include "app/conf_upstream.h"
#include "app/conf_users.h"
#include "base/check.h"
#include "base/err.h"

void conf_read_defaults(struct conf_build *b)
{
    for (unsigned i = 0; i < conf_table_n; i++) {
        const struct option_def *o = &conf_table[i];
        bool here = o->dflt && o->of == OPTION_OF_CONF && o->offset != OPTION_NOWHERE;
        int r = here ? conf_value_set(o, slice_str(o->dflt), b->arena, b->conf) : 0;

        if (r == ERR_NOMEM)
            conf_build_nomem(b);
        else
            CHECK(r == 0);
    }
}

/* ---- single values ---- */

static void read_value(struct conf_build *b, const struct option_def *o,
                       const struct conf_node *node)
{
    struct conf_kind k = conf_kind_of(o);
    struct slice text;

    b->wrong[conf_table_index(o)] = true;
    if (!conf_build_text(b, &k, node, &text) || !conf_match_value(b, &k, text, node->at))
        return;
    if (conf_value_set(o, text, b->arena, b->conf) == ERR_NOMEM)
        conf_build_nomem(b);
    b->wrong[conf_table_index(o)] = false;
}

static void read_control(struct conf_build *b, const struct option_def *o,
                         const struct conf_node *node)
{
    static const struct slice prefix = {"unix:", 5};
    struct conf_kind k = conf_kind_of(o);
    struct slice text, path;

    if (!conf_build_text(b, &k, node, &text) || !conf_match_value(b, &k, text, node->at))
        return;
    if (conf_value_word(o->words, text)) {
        b->conf->control = CONF_CONTROL_OFF;
        return;
    }
    if (text.n == prefix.n)
        return;
    path = arena_dup(b->arena, slice_skip(text, prefix.n));
    if (!path.p)
        conf_build_nomem(b);
    b->conf->control = CONF_CONTROL_PATH;
    b->conf->control_path = (char *)(uintptr_t)path.p;
}

/* It is refused; that what it says is wrong is said all the same. */
static void read_unbuilt(struct conf_build *b, const struct option_def *o,
                         const struct conf_node *node)
{
    struct conf_kind k = conf_kind_of(o);

    if (o->type == OPTION_ENTRY && node->kind == CONF_NODE_TEXT && node->empty)
        return;
    if (o->type == OPTION_ENTRY)
        conf_entry_check(b, k.key, o->shape, node, false);
    else
        conf_entry_check_kind(b, &k, node);
}

static const struct {
    const char *path;
    void (*read)(struct conf_build *b, const struct option_def *o, const struct conf_node *node);
} entries[] = {
    {"rules", conf_rules_read},
    {"limits", conf_limits_read},
    {"upstream", conf_upstream_read},
    {"origins", conf_origins_read},
    {"users", conf_users_read},
    {"policy", conf_policy_read},
};

static void read_entries(struct conf_build *b, const struct option_def *o,
                         const struct conf_node *node)
{
    for (size_t i = 0; i < ARRAY_LEN(entries); i++)
        if (strcmp(o->path, entries[i].path) == 0) {
            entries[i].read(b, o, node);
            return;
        }
    CHECK(false); /* a key with entries that is built wants its line above */
}

static void read_leaf(struct conf_build *b, const struct option_def *o,
                      const struct conf_node *node)
{
    if (o->unbuilt) {
        read_unbuilt(b, o, node);
        return;
    }
    switch (o->type) {
    case OPTION_LISTEN:
        conf_addr_listen(b, o, node);
        return;
    case OPTION_RANGE:
        conf_addr_clients(b, o, node);
        return;
    case OPTION_SERVER:
        conf_addr_servers(b, o, node);
        return;
    case OPTION_ADDRESS:
        conf_addr_admin(b, o, node);
        return;
    case OPTION_ENTRY:
        read_entries(b, o, node);
        return;
    case OPTION_PORT:
        conf_policy_read_ports(b, o, node); /* the only one there is */
        return;
    case OPTION_FILE:
        conf_origins_read_trust(b, o, node); /* the only one there is */
        return;
    case OPTION_CONTROL:
        read_control(b, o, node);
        return;
    case OPTION_PATTERN:
        return; /* conf_include has read it first of all */
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
    struct conf_kind k = section ? conf_kind_of(section) : (struct conf_kind){0};
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
        conf_build_wrong(b, &k, node->at, what, hint ? hint : section_hint(b, section));
    else
        conf_report_add(b->report, node->at, hint ? hint : "write `key: value`, a line each",
                        "the file must be a map of keys, not %s", what);
    return false;
}

static void read_section(struct conf_build *b, const struct option_def *section,
                         const struct conf_node *node)
{
    struct conf_build_seen seen = {0};

    if (section->list && node->kind == CONF_NODE_LIST) {
        conf_log_read(b, section, node);
        return;
    }
    if (!enter_map(b, section, node))
        return;
    if (section->list) {
        conf_log_read(b, section, node);
        return;
    }
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
