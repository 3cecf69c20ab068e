/* SPDX-License-Identifier: MIT */
/* conf_show: the way back from a conf to a file. Called by `config show` and for the control
 * socket's /config. Which keys there are, their order and their words come from the table; a key
 * whose value has a place of its own in the conf has a function here. What nobody has set stays a
 * comment, for writing it would make it set. Lists come block-wise, an item a line: one from a list
 * file may have many. Included files and list files are shown as what they held.
 */
#include "app/conf_show.h"

#include "app/conf_policy.h"
#include "app/conf_show_match.h"
#include "app/conf_show_parts.h"
#include "app/conf_table.h"
#include "app/conf_value.h"
#include "app/text.h"
#include "base/check.h"

#include <stdio.h>

/* ---- values with an offset ---- */

static void show_number(struct conf_out *s, unsigned indent, const struct option_def *o, uint64_t v)
{
    const char *word = v <= INT32_MAX ? conf_show_word_of(o->words, (int)v) : NULL;
    char text[CONF_VALUE_TEXT];

    if (o->type == OPTION_RATE && !o->min) /* numbers are meant */
        snprintf(text, sizeof(text), "%llu/s", (unsigned long long)v);
    else
        conf_value_text(o->type, v, text);
    conf_out_pair(s, indent, conf_table_key(o), slice_str(word ? word : text));
}

static void show_placed(struct conf_out *s, unsigned indent, const struct option_def *o,
                        const void *base)
{
    const char *at = (const char *)base + o->offset;

    switch (o->type) {
    case OPTION_SWITCH:
        conf_out_pair(s, indent, conf_table_key(o), *(const bool *)at ? SLICE("on") : SLICE("off"));
        break;
    case OPTION_WORD:
        conf_show_word(s, indent, o, *(const int *)(const void *)at);
        break;
    case OPTION_COUNT:
        show_number(s, indent, o, *(const uint32_t *)(const void *)at);
        break;
    case OPTION_SIZE:
    case OPTION_DURATION:
    case OPTION_RATE:
        show_number(s, indent, o, *(const uint64_t *)(const void *)at);
        break;
    case OPTION_TOKEN:
        conf_out_pair(s, indent, conf_table_key(o), slice_str(at));
        break;
    default:
        CHECK(false); /* a new type of the table wants its line here */
    }
}

/* ---- values with a place of their own ---- */

static void show_clients(struct conf_out *s, unsigned indent, const struct option_def *o,
                         const struct conf *c)
{
    conf_show_clients(s, indent, o, &c->clients);
}

static void show_include(struct conf_out *s, unsigned indent, const struct option_def *o,
                         const struct conf *c)
{
    UNUSED(c);
    conf_out_comment(s, indent, conf_table_key(o), "what it named is part of this");
}

static void show_servers(struct conf_out *s, unsigned indent, const struct option_def *o,
                         const struct conf *c)
{
    conf_out_list(s, indent, conf_table_key(o));
    for (unsigned i = 0; c->resolve.servers && c->resolve.servers[i]; i++)
        conf_out_item(s, indent, slice_str(c->resolve.servers[i]));
    conf_out_end(s);
}

static void show_admin(struct conf_out *s, unsigned indent, const struct option_def *o,
                       const struct conf *c)
{
    char text[ADDR_TEXT_MAX];

    if (c->n_admin == 0) {
        conf_out_pair(s, indent, conf_table_key(o), SLICE("off"));
        return;
    }
    conf_out_list(s, indent, conf_table_key(o));
    for (unsigned i = 0; i < c->n_admin; i++)
        conf_out_item(s, indent, slice_of(text, addr_text(&c->admin[i], text)));
    conf_out_end(s);
}

static void show_control(struct conf_out *s, unsigned indent, const struct option_def *o,
                         const struct conf *c)
{
    char text[512];

    switch (c->control) {
    case CONF_CONTROL_DEFAULT:
        snprintf(text, sizeof(text), "unix:");
        break;
    case CONF_CONTROL_OFF:
        snprintf(text, sizeof(text), "off");
        break;
    case CONF_CONTROL_PATH:
        snprintf(text, sizeof(text), "unix:%.400s", c->control_path);
        break;
    }
    conf_out_pair(s, indent, conf_table_key(o), slice_str(text));
}

static void show_private(struct conf_out *s, unsigned indent, const struct option_def *o,
                         const struct conf *c)
{
    const char *why = c->private_why;
    enum guard_mode mode = c->private_in_force;
    char text[512];

    if (c->private != GUARD_DEFAULT) {
        conf_show_word(s, indent, o, c->private);
        return;
    }
    if (mode == GUARD_DEFAULT)
        mode = conf_policy_private(c, conf_policy_reaches_out(c), &why);
    snprintf(text, sizeof(text), "%s, since %s", conf_show_word_of(o->words, mode), why);
    conf_out_comment(s, indent, conf_table_key(o), text);
}

static void show_open_ports(struct conf_out *s, unsigned indent, const struct option_def *o,
                            const struct conf *c)
{
    if (!c->has_ports)
        conf_out_comment(s, indent, conf_table_key(o), o->dflt_says);
    else if (c->n_ports == 0)
        conf_out_pair(s, indent, conf_table_key(o), SLICE("any"));
    else
        conf_show_ports(s, indent, conf_table_key(o), c->ports, c->n_ports);
}

static void show_trust(struct conf_out *s, unsigned indent, const struct option_def *o, const struct conf *c)
{
    UNUSED(o);
    conf_show_trust(s, indent, &c->tls_from[0]);
}

static const struct {
    const char *path;
    void (*show)(struct conf_out *s, unsigned indent, const struct option_def *o, const struct conf *c);
} own_places[] = {
    {"clients", show_clients}, {"include", show_include}, {"resolver.servers", show_servers},
    {"admin", show_admin},     {"control", show_control}, {"private", show_private}, {"ports", show_open_ports},
    {"trust", show_trust},
};

static void show_leaf(struct conf_out *s, unsigned indent, const struct option_def *o,
                      const struct conf *c)
{
    for (size_t i = 0; i < ARRAY_LEN(own_places); i++)
        if (strcmp(o->path, own_places[i].path) == 0) {
            own_places[i].show(s, indent, o, c);
            return;
        }
    CHECK(o->offset != OPTION_NOWHERE); /* a key with a place of its own wants its line above */
    show_placed(s, indent, o, c);
}

static void show_policy(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    text_printf(&s->text, "%s:\n", o->path);
    conf_out_pair(s, CONF_OUT_STEP, "mode", c->report ? SLICE("report") : SLICE("enforce"));
    conf_out_pair(s, CONF_OUT_STEP, "recheck", c->recheck ? SLICE("on") : SLICE("off"));
    if (c->say)
        conf_out_pair(s, CONF_OUT_STEP, "say", slice_str(c->say));
}

static const struct {
    const char *path;
    void (*show)(struct conf_out *s, const struct option_def *o, const struct conf *c);
} entries[] = {
    {"rules", conf_show_rules},
    {"limits", conf_show_limits},
    {"upstream", conf_show_upstream},
    {"origins", conf_show_origins},
    {"policy", show_policy},
};

static void show_entries(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    for (size_t i = 0; i < ARRAY_LEN(entries); i++)
        if (strcmp(o->path, entries[i].path) == 0)
            entries[i].show(s, o, c);
}

/* ---- the whole ---- */

static void show_section(struct conf_out *s, const struct option_def *section, const struct conf *c)
{
    text_printf(&s->text, "%s:\n", section->path);
    for (unsigned i = 0; i < conf_table_n; i++)
        if (conf_table_in(section, &conf_table[i]) && !conf_table[i].unbuilt)
            show_leaf(s, CONF_OUT_STEP, &conf_table[i], c);
}

static void show_head(struct conf_out *s, const struct conf *c)
{
    if (!c->file) {
        conf_out_add(s, SLICE("# no configuration file: the defaults\n"));
        return;
    }
    conf_out_add(s, SLICE("# "));
    text_operator(&s->text, slice_str(c->file));
    conf_out_add(s, SLICE(", completed with the defaults\n"));
}

static void show_top(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    if (o->type == OPTION_LISTEN)
        conf_show_listen(s, o, c);
    else if (o->shape == &conf_shape_users && c->users)
        conf_show_users(s, 0, c->users);
    else if (o->shape == &conf_shape_users)
        conf_out_comment(s, 0, o->path, o->dflt_says);
    else if (o->type == OPTION_ENTRY)
        show_entries(s, o, c);
    else if (o->type == OPTION_SECTION && o->list)
        conf_show_log(s, o, c);
    else if (o->type == OPTION_SECTION)
        show_section(s, o, c);
    else
        show_leaf(s, 0, o, c);
}

char *conf_show(const struct conf *c, size_t *ret_n)
{
    struct conf_out s = {0};

    show_head(&s, c);
    for (unsigned i = 0; i < conf_table_n; i++)
        if (conf_table_in(NULL, &conf_table[i]) && !conf_table[i].unbuilt)
            show_top(&s, &conf_table[i], c);
    return text_take(&s.text, ret_n);
}

char *conf_show_key(const struct conf *c, const char *key, size_t *ret_n)
{
    struct conf_out s = {0};

    show_top(&s, conf_show_option(key), c);
    return text_take(&s.text, ret_n);
}

/* ---- the defaults, from the table alone ---- */

static void show_default(struct conf_out *s, unsigned indent, const struct option_def *o)
{
    if (o->dflt)
        conf_out_pair(s, indent, conf_table_key(o), slice_str(o->dflt));
    else
        conf_out_comment(s, indent, conf_table_key(o), o->dflt_says ? o->dflt_says : "none");
}

char *conf_show_defaults(size_t *ret_n)
{
    struct conf_out s = {0};

    conf_out_add(&s, SLICE("# the defaults\n"));
    for (unsigned i = 0; i < conf_table_n; i++) {
        const struct option_def *o = &conf_table[i];

        if (!conf_table_in(NULL, o) || o->unbuilt)
            continue;
        if (o->type != OPTION_SECTION) {
            show_default(&s, 0, o);
            continue;
        }
        text_printf(&s.text, "%s:\n", o->path);
        for (unsigned j = 0; j < conf_table_n; j++)
            if (conf_table_in(o, &conf_table[j]) && !conf_table[j].unbuilt)
                show_default(&s, CONF_OUT_STEP, &conf_table[j]);
    }
    return text_take(&s.text, ret_n);
}
