/* SPDX-License-Identifier: MIT */
/* conf_print: the table of options as text for the manual. Called when the manual is made.
 * Sentences in the table are scdoc already; everything else is escaped here.
 */
#include "app/conf.h"
#include "app/conf_table.h"
#include "app/conf_value.h"

static const char *const type_names[] = {
    [OPTION_SECTION] = "map",
    [OPTION_LISTEN] = "address, map",
    [OPTION_ENTRY] = "entry",
    [OPTION_MAP] = "map",
    [OPTION_DICT] = "map",
    [OPTION_SWITCH] = "on or off",
    [OPTION_WORD] = "word",
    [OPTION_COUNT] = "number",
    [OPTION_SIZE] = "size",
    [OPTION_DURATION] = "duration",
    [OPTION_TOKEN] = "token",
    [OPTION_NAME] = "token",
    [OPTION_TEXT] = "text",
    [OPTION_RATE] = "rate",
    [OPTION_QUOTA] = "quota",
    [OPTION_FILE] = "path",
    [OPTION_PATTERN] = "pattern",
    [OPTION_URL] = "URL",
    [OPTION_HOP] = "URL",
    [OPTION_LISTENING] = "address",
    [OPTION_ADDRESS] = "address",
    [OPTION_SERVER] = "address",
    [OPTION_RANGE] = "range",
    [OPTION_PREFIX] = "range",
    [OPTION_CONTROL] = "socket",
    [OPTION_SINK] = "word, path or address",
    [OPTION_TUNNELS] = "word or *every* and a duration",
    [OPTION_HOST] = "host",
    [OPTION_PORT] = "port",
    [OPTION_PATH] = "path",
    [OPTION_METHOD] = "method",
    [OPTION_SNI] = "name",
    [OPTION_EXPR] = "text",
    [OPTION_GROUP] = "name",
    [OPTION_TIME] = "time",
    [OPTION_LISTENER] = "name",
};

/* What may stand in the place of a map is said, unless it is for the entries of a list. */
static const char *entry_name(const struct option_def *o)
{
    const struct conf_shape *bare = o->shape->bare;

    if (o->shape == &conf_shape_matcher)
        return "matcher";
    return !bare || o->list ? "map" : bare->type == OPTION_WORD ? "word or map" : "path or map";
}

static void print_type(const struct option_def *o, FILE *to)
{
    const char *name = o->type == OPTION_ENTRY ? entry_name(o) : type_names[o->type];

    fprintf(to, "*%s*: %s%s", o->path, name, o->list ? " or list" : "");
}

static void print_range(const struct option_def *o, FILE *to)
{
    char min[CONF_VALUE_TEXT], max[CONF_VALUE_TEXT];

    if (o->type == OPTION_TOKEN || o->type == OPTION_NAME || o->max == 0)
        return;
    conf_value_text(o->type, o->min, min);
    conf_value_text(o->type, o->max, max);
    fprintf(to, ", %s to %s", min, max);
}

static void print_default(const struct option_def *o, FILE *to)
{
    if (o->dflt)
        fprintf(to, " Default: *%s*.", o->dflt);
    else if (o->dflt_says)
        fprintf(to, " Default: %s.", o->dflt_says);
}

static void print_option(const struct option_def *o, FILE *to)
{
    print_type(o, to);
    print_range(o, to);
    fprintf(to, "\n\t%s", o->sentence);
    print_default(o, to);
    fprintf(to, "\n\n");
}

void conf_print_manual(FILE *to)
{
    const char *comma = "";

    for (unsigned i = 0; i < conf_table_n; i++)
        if (!conf_table[i].unbuilt)
            print_option(&conf_table[i], to);
    fprintf(to, "Keys that belong to the language but not to this version, and are refused by "
                "name:\n");
    for (unsigned i = 0; i < conf_table_n; i++)
        if (conf_table[i].unbuilt) {
            fprintf(to, "%s*%s*", comma, conf_table[i].path);
            comma = ",\n";
        }
    fprintf(to, ".\n");
}
