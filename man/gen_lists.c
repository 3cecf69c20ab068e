/* SPDX-License-Identifier: MIT */
/* gen_lists: fills the lists of a manual page that the program's own tables hold, so that the page
 * cannot lag behind. Called while building: gen_lists PAGE.scd writes the page to stdout with each
 * line "@options@" and "@ends@" replaced.
 */
#include "app/conf.h"

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

static void print_ends(void)
{
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        const struct end *e = &ends[i];

        if (!e->error[0])
            continue;
        if (e->status)
            printf("*%s*: %d, %s\n\t%s\n\n", e->token, e->status, e->error, e->sentence);
        else
            printf("*%s*: cut, %s\n\t%s\n\n", e->token, e->error, e->sentence);
    }
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
        if (strcmp(line, "@options@\n") == 0)
            conf_print_manual(stdout);
        else if (strcmp(line, "@ends@\n") == 0)
            print_ends();
        else
            fputs(line, stdout);
    fclose(page);
    return fflush(stdout) == 0 ? 0 : 74;
}
