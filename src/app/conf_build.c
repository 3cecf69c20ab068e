/* SPDX-License-Identifier: MIT */
/* conf_build: keys against the table, and the messages that all types share. Called by the reader
 * and by the lists of addresses. A key is set, or refused with its name: there is no third way.
 */
#include "app/conf_build.h"

#include "app/conf_text.h"
#include "base/check.h"

void conf_build_init(struct conf_build *b, struct conf *c, struct arena *a, struct conf_report *r)
{
    *b = (struct conf_build){.conf = c, .arena = a, .report = r};
    for (unsigned i = 0; i < CONF_KEYS_MAX; i++)
        b->at[i] = CONF_AT_NONE;
}

/* ---- what a type is called ---- */

static const char *words_phrase(struct conf_build *b, const struct option_def *o)
{
    char list[128] = "";
    const struct option_word *w = o->words, *next;

    for (; w && w->text; w = next) {
        next = w + 1;
        while (next->text && next->unbuilt)
            next++;
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
                 w == o->words ? ""
                 : next->text  ? ", "
                               : " or ",
                 w->text);
    }
    return conf_report_say(b->report, "%s", list);
}

static const char *type_phrase(struct conf_build *b, const struct option_def *o)
{
    switch (o->type) {
    case OPTION_SECTION:
        return "a map of keys";
    case OPTION_SWITCH:
        return "on or off";
    case OPTION_WORD:
        return words_phrase(b, o);
    case OPTION_COUNT:
        return o->words ? conf_report_say(b->report, "a number or %s", words_phrase(b, o))
                        : "a number";
    case OPTION_SIZE:
        return "a size";
    case OPTION_DURATION:
        return "a duration";
    case OPTION_TOKEN:
        return "a plain word";
    case OPTION_LISTEN:
        return "an address and a port";
    case OPTION_RANGES:
        return "an address range or any";
    case OPTION_SERVERS:
        return "an address";
    case OPTION_SINK:
        return "stderr, stdout, off or the path of a file";
    }
    return "something else";
}

const char *conf_build_type_hint(const struct option_def *o)
{
    switch (o->type) {
    case OPTION_SIZE:
        return "write bytes, or a number and a unit: 512, 16KB, 20MB, 1GB";
    case OPTION_DURATION:
        return "write a number and a unit: 500ms, 10s, 5m, 1h";
    case OPTION_TOKEN:
        return "up to 63 letters, digits and !#$%&'*+-.^_`|~";
    case OPTION_LISTEN:
        return "like this: 127.0.0.1:3128, \"[::1]:3128\" or localhost:3128";
    case OPTION_RANGES:
        return "like this: 10.0.0.0/8, \"fd00::/8\", 192.0.2.7";
    case OPTION_SERVERS:
        return "like this: 192.0.2.53, 192.0.2.53:5353, \"[2001:db8::53]:53\"";
    case OPTION_SINK:
        return "a path begins with a slash and ends with the name of a file";
    case OPTION_SECTION:
    case OPTION_SWITCH:
    case OPTION_WORD:
    case OPTION_COUNT:
        break;
    }
    return NULL;
}

void conf_build_wrong(struct conf_build *b, const struct option_def *o, size_t at, const char * not,
                      const char *hint)
{
    conf_report_add(b->report, at, hint, "`%s` wants %s, not %s", conf_table_key(o),
                    type_phrase(b, o), not );
}

bool conf_build_text(struct conf_build *b, const struct option_def *o, const struct conf_node *node,
                     struct slice *ret_text)
{
    const char *hint = conf_build_type_hint(o);

    if (node->kind == CONF_NODE_BAD || (node->kind != CONF_NODE_TEXT && node->open))
        return false;
    if (node->kind != CONF_NODE_TEXT) {
        conf_build_wrong(b, o, node->at, node->kind == CONF_NODE_LIST ? "a list" : "a map", hint);
        return false;
    }
    if (node->empty) {
        if (!node->open)
            conf_report_add(b->report, node->at, hint ? hint : "write one, or remove the key",
                            "`%s` has no value", conf_table_key(o));
        return false;
    }
    *ret_text = node->text;
    return true;
}

/* ---- keys ---- */

static const char *built(const struct option_def *o)
{
    return o->unbuilt ? " (which is not in this build)" : "";
}

/* The same key elsewhere in the table: `connect` at the top, or `timeouts.connect` in one word. */
static const struct option_def *find_elsewhere(struct slice key)
{
    const struct option_def *o = conf_table_find(key);

    if (o)
        return o;
    for (unsigned i = 0; i < conf_table_n; i++)
        if (slice_eq(key, slice_str(conf_table_key(&conf_table[i]))))
            return &conf_table[i];
    return NULL;
}

static const char *elsewhere_hint(struct conf_build *b, const struct option_def *o)
{
    const char *dot = strchr(o->path, '.');

    if (!dot)
        return conf_report_say(b->report, "`%s` stands at the top of the file%s", o->path,
                               built(o));
    return conf_report_say(b->report, "write `%.*s: {%s: …}`%s", (int)(dot - o->path), o->path,
                           dot + 1, built(o));
}

static const char *key_hint(struct conf_build *b, const struct option_def *section,
                            struct slice key)
{
    struct conf_text_guess g;
    const struct option_def *o;

    conf_text_guess_init(&g, key);
    for (unsigned i = 0; i < conf_table_n; i++)
        if (conf_table_in(section, &conf_table[i]))
            conf_text_guess_try(&g, conf_table_key(&conf_table[i]));
    o = find_elsewhere(key);
    if (o)
        return elsewhere_hint(b, o);
    if (!g.best)
        return NULL;
    o = conf_table_member(section, slice_str(g.best));
    CHECK(o);
    return conf_report_say(b->report, "did you mean `%s`?%s", g.best, built(o));
}

static void report_unknown(struct conf_build *b, const struct option_def *section,
                           const struct conf_node *key)
{
    const char *quoted, *hint;

    /* The hint costs more than the line it stands in; a file may have many lines. */
    if (!conf_report_wants(b->report, key->at)) {
        conf_report_add(b->report, key->at, NULL, "unknown");
        return;
    }
    hint = key_hint(b, section, key->text);
    quoted = conf_report_quote(b->report, key->text);
    if (section)
        conf_report_add(b->report, key->at, hint, "%s is no key of `%s`", quoted, section->path);
    else
        conf_report_add(b->report, key->at, hint, "%s is no key of the configuration", quoted);
}

static bool is_word(struct conf_build *b, const struct conf_node *key)
{
    if (key->kind == CONF_NODE_BAD)
        return false;
    if (key->kind == CONF_NODE_TEXT && !key->empty)
        return true;
    conf_report_add(b->report, key->at, "write `key: value`", "a key must be a plain word");
    return false;
}

const struct option_def *conf_build_member(struct conf_build *b, const struct option_def *section,
                                           const struct conf_node *member,
                                           struct conf_build_seen *seen)
{
    const struct conf_node *key = member->key;
    const struct option_def *o;
    size_t *first;

    if (!is_word(b, key))
        return NULL;
    o = conf_table_member(section, key->text);
    if (!o) {
        report_unknown(b, section, key);
        return NULL;
    }
    first = &seen->at[conf_table_index(o)];
    if (*first) {
        if (conf_report_wants(b->report, key->at))
            conf_report_add(b->report, key->at,
                            conf_report_say(b->report, "it stands in line %u already",
                                            conf_report_line(b->report, *first - 1)),
                            "`%s` is given twice", conf_table_key(o));
        return NULL;
    }
    *first = key->at + 1;
    if (o->unbuilt) {
        conf_report_add(b->report, key->at, "remove it: ginnel never ignores what it is told",
                        "`%s` is not in this build", conf_table_key(o));
        return NULL;
    }
    b->at[conf_table_index(o)] = member->at;
    return o;
}
