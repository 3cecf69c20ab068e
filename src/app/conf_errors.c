/* SPDX-License-Identifier: MIT */
/* conf_errors: the errors of a load, as the caller holds them. Called by main for start, `check`
 * and nothing else; printing goes where main says.
 */
#include "app/conf.h"
#include "base/mem.h"
#include "base/slice.h"

static const char *colour_of(struct slice line, bool first)
{
    static const struct slice hint = {"   hint: ", 9};

    if (first)
        return "\033[1m";
    if (line.n >= hint.n && memcmp(line.p, hint.p, hint.n) == 0)
        return "\033[36m";
    return line.n && line.p[line.n - 1] == '^' ? "\033[1;31m" : "";
}

static void print_coloured(struct slice text, FILE *to)
{
    for (bool first = true; text.n; first = false) {
        struct slice line = slice_of(text.p, slice_find(text, '\n'));

        fprintf(to, "%s" SLICE_FMT "\033[0m\n", colour_of(line, first), SLICE_ARG(line));
        text = slice_skip(text, min_size(line.n + 1, text.n));
    }
}

void conf_errors_print(const struct conf_errors *e, FILE *to, bool colour)
{
    for (unsigned i = 0; i < e->n; i++)
        if (colour)
            print_coloured(slice_str(e->v[i].text), to);
        else
            fprintf(to, "%s\n", e->v[i].text);
}

char *conf_errors_text(const struct conf_errors *e)
{
    size_t n = 0, at = 0;
    char *text;

    for (unsigned i = 0; i < e->n; i++)
        n += strlen(e->v[i].text) + 1;
    text = mem_alloc(n + 1);
    if (!text)
        return NULL;
    for (unsigned i = 0; i < e->n; i++) {
        size_t m = strlen(e->v[i].text);

        memcpy(text + at, e->v[i].text, m);
        at += m;
        text[at++] = '\n';
    }
    text[at] = '\0';
    return text;
}

void conf_errors_done(struct conf_errors *e)
{
    for (unsigned i = 0; i < e->n; i++)
        mem_free(e->v[i].text);
    mem_free(e->v);
    mem_free(e->files);
    *e = (struct conf_errors){0};
}
