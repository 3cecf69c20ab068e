/* SPDX-License-Identifier: MIT */
/* conf_list: walks a list file line by line. Called for an item of a list that is a path. A list
 * may have millions of lines: nothing is kept for one, and the text goes back at the end.
 */
#include "app/conf_list.h"

#include "app/conf_text.h"
#include "base/err.h"
#include "base/mem.h"

/* ---- lines ---- */

/* The line without its comment and blanks. A comment begins the line or follows a blank. */
static struct slice entry_of(struct slice line)
{
    const char *from = line.p, *hash;

    while ((hash = memchr(from, '#', (size_t)(line.p + line.n - from))) != NULL) {
        if (hash == line.p || hash[-1] == ' ' || hash[-1] == '\t') {
            line.n = (size_t)(hash - line.p);
            break;
        }
        from = hash + 1;
    }
    return slice_trim(line);
}

static void each_line(struct conf_build *b, struct slice text, size_t base, conf_list_fn fn,
                      void *ctx)
{
    struct slice rest = slice_skip(text, text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0), line;

    while (!b->report->nomem && slice_next_line(&rest, &line)) {
        struct slice entry = entry_of(line);

        if (entry.n)
            fn(b, ctx, entry, base + (size_t)(entry.p - text.p));
    }
}

/* A NUL is in no text: the file is something else, and its lines are none. */
static bool is_binary(struct conf_build *b, struct slice text, size_t base)
{
    const char *nul = text.n ? memchr(text.p, '\0', text.n) : NULL;

    if (!nul)
        return false;
    conf_report_add(b->report, base + (size_t)(nul - text.p),
                    "a list file is a text: one entry a line",
                    "this file is binary, it has a NUL byte");
    return true;
}

static bool is_blank(struct slice text)
{
    struct slice line;

    while (slice_next_line(&text, &line))
        if (entry_of(line).n)
            return false;
    return true;
}

/* ---- the file ---- */

void conf_list_unreadable(struct conf_build *b, const char *what, const char *path, size_t at, int err)
{
    const char *hint, *problem = conf_source_problem(err, &hint);
    const char *quoted = conf_report_quote(b->report, slice_str(path));

    if (err == ERR_NOMEM)
        conf_build_nomem(b);
    else if (err == CONF_TOO_LARGE)
        conf_report_add(b->report, at, NULL, "the %s file %s is larger than 128 MB", what, quoted);
    else if (err == CONF_TOO_MANY)
        conf_report_add(b->report, at, NULL, "more than %d files", CONF_SOURCES_MAX);
    else if (problem)
        conf_report_add(b->report, at, hint, "the %s file %s: %s", what, quoted, problem);
    else
        conf_report_add(b->report, at, "the path is relative to the file that names it", "the %s file %s cannot be read: %s", what, quoted,
                        err_text(err));
}

void conf_list_read(struct conf_build *b, struct slice path, size_t at, conf_list_fn fn, void *ctx)
{
    struct slice text;
    unsigned i;
    char *name;
    int r;

    if (!conf_value_is_file(path)) {
        conf_report_add(b->report, at, "a path ends with the name of a file",
                        "%s cannot be a list file", conf_report_quote(b->report, path));
        return;
    }
    name = conf_sources_path(b->sources, at, path);
    r = name ? conf_sources_read(b->sources, name, CONF_LIST_MAX, &i) : ERR_NOMEM;

    if (r < 0) {
        conf_list_unreadable(b, "list", name ? name : "", at, r);
        mem_free(name);
        return;
    }
    text = b->sources->v[i].text;
    if (is_blank(text))
        conf_report_add(b->warnings, at, "an empty list matches nothing",
                        "the list file %s is empty",
                        conf_report_quote(b->warnings, slice_str(name)));
    else if (!is_binary(b, text, b->sources->v[i].base))
        each_line(b, text, b->sources->v[i].base, fn, ctx);
    conf_sources_drop(b->sources, i);
    mem_free(name);
}
