/* SPDX-License-Identifier: MIT */
/* gen_lists: fills the lists of a manual page that the program's own tables hold, so that the page
 * cannot lag behind. Called while building: gen_lists PAGE.scd writes the page to stdout with each
 * line that is one of the names below replaced.
 */
#include "app/command.h"
#include "app/conf.h"
#include "policy/guard.h"

#include <stdio.h>
#include <string.h>

static const struct end {
    const char *token;
    int status;
    const char *error, *sentence;
} ends[] = {
#define END_X(id, token, kind, status, error, sentence) {token, status, error, sentence},
#include "tbl/end_reasons.h"
};

static void print_ends(FILE *to)
{
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        const struct end *e = &ends[i];

        if (!e->error[0])
            continue;
        if (e->status)
            fprintf(to, "*%s*: %d, %s\n\t%s\n\n", e->token, e->status, e->error, e->sentence);
        else
            fprintf(to, "*%s*: cut, %s\n\t%s\n\n", e->token, e->error, e->sentence);
    }
}

static void print_blocks(FILE *to, bool metadata)
{
    const char *comma = "";

    for (const struct guard_block *b = guard_blocks; b->range; b++)
        if (b->metadata == metadata) {
            fprintf(to, "%s_%s_ (%s)", comma, b->range, b->name);
            comma = ",\n";
        }
    fprintf(to, ".\n");
}

static void print_private(FILE *to)
{
    print_blocks(to, false);
}

static void print_metadata(FILE *to)
{
    print_blocks(to, true);
}

static const struct {
    const char *line;
    void (*print)(FILE *to);
} lists[] = {
    {"@options@\n", conf_print_manual},
    {"@ends@\n", print_ends},
    {"@private@\n", print_private},
    {"@metadata@\n", print_metadata},
    {"@synopsis@\n", command_print_manual_synopsis},
    {"@flags@\n", command_print_manual_options},
    {"@commands@\n", command_print_manual_commands},
};

static void copy_or_fill(const char *line)
{
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (strcmp(line, lists[i].line) == 0) {
            lists[i].print(stdout);
            return;
        }
    fputs(line, stdout);
}

int main(int argc, char **argv)
{
    char line[4096];
    FILE *page;

    if (argc != 2)
        return 64;
    page = fopen(argv[1], "r");
    if (!page)
        return 66;
    while (fgets(line, sizeof(line), page))
        copy_or_fill(line);
    fclose(page);
    return fflush(stdout) == 0 ? 0 : 74;
}
