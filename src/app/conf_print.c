/* SPDX-License-Identifier: MIT */
/* conf_print: the table of options as text for the manual. Called when the manual is made.
 * Sentences in the table are scdoc already; everything else is escaped here.
 */
#include "app/conf.h"
#include "app/conf_table.h"
#include "app/conf_value.h"

static const char *type_name(const struct option_def *o)
{
    switch (o->type) {
    case OPTION_SECTION:
        return "map";
    case OPTION_SWITCH:
        return "on or off";
    case OPTION_WORD:
        return "word";
    case OPTION_COUNT:
        return "number";
    case OPTION_SIZE:
        return "size";
    case OPTION_DURATION:
        return "duration";
    case OPTION_TOKEN:
        return "token";
    case OPTION_LISTEN:
        return strchr(o->path, '.') ? "address" : "address or list";
    case OPTION_SERVERS:
        return "address or list";
    case OPTION_RANGES:
        return "range or list";
    case OPTION_SINK:
        return "word or path";
    }
    return "?";
}

static void print_range(const struct option_def *o, FILE *to)
{
    char min[CONF_VALUE_TEXT], max[CONF_VALUE_TEXT];

    if (o->type == OPTION_TOKEN || o->max == 0)
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
    fprintf(to, "*%s*: %s", o->path, type_name(o));
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
