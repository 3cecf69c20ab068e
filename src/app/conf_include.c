/* SPDX-License-Identifier: MIT */
/* conf_include: expands the patterns of `include` and reads what they name. Called by conf once the
 * main file is a tree. Includes are one level deep, so that a file's place in the order can be seen
 * in one line. A file that two patterns name is read once.
 */
#include "app/conf_include.h"

#include "app/conf_match.h"
#include "base/err.h"
#include "base/mem.h"

#include <dirent.h>
#include <fnmatch.h>
#include <stdlib.h>

struct names {
    char **v; /* heap, each too */
    unsigned n;
};

struct loading {
    struct conf_build *b;
    struct conf_unit *last;
    size_t at; /* of the pattern */
};

static void free_names(struct names *names)
{
    for (unsigned i = 0; i < names->n; i++)
        mem_free(names->v[i]);
    mem_free(names->v);
}

static int add_name(struct names *names, const char *folder, const char *name)
{
    size_t n = strlen(folder), m = strlen(name);
    char *path = mem_alloc(n + m + 1), **v = names->v;

    if (!path)
        return ERR_NOMEM;
    memcpy(path, folder, n);
    memcpy(path + n, name, m + 1);
    if ((names->n & (names->n - 1)) == 0)
        v = mem_grow(v, (names->n ? names->n * 2 : 1) * sizeof(*v));
    if (!v) {
        mem_free(path);
        return ERR_NOMEM;
    }
    names->v = v;
    names->v[names->n++] = path;
    return 0;
}

/* ---- one file ---- */

static void report_unreadable(struct loading *l, const char *path, int err)
{
    const char *hint, *problem = conf_source_problem(err, &hint);
    const char *quoted = conf_report_quote(l->b->report, slice_str(path));

    if (err == ERR_NOMEM)
        conf_build_nomem(l->b);
    else if (err == CONF_TOO_LARGE)
        conf_report_add(l->b->report, l->at, NULL, "the included file %s is larger than 1 MB",
                        quoted);
    else if (err == CONF_TOO_MANY)
        conf_report_add(l->b->report, l->at, NULL, "more than %d files", CONF_SOURCES_MAX);
    else if (problem)
        conf_report_add(l->b->report, l->at, hint, "the included file %s: %s", quoted, problem);
    else
        conf_report_add(l->b->report, l->at, "the path is relative to the file that names it",
                        "the included file %s cannot be read: %s", quoted, err_text(err));
}

/* Whether an earlier source is the same file. The main one's is an error. */
static bool is_repeated(struct loading *l, unsigned i)
{
    const struct conf_source *v = l->b->sources->v;

    for (unsigned j = 0; j < i; j++) {
        if (!v[j].ino || v[j].dev != v[i].dev || v[j].ino != v[i].ino)
            continue;
        if (j == 0)
            conf_report_add(l->b->report, l->at, "keep included files in a folder of their own",
                            "the file includes itself");
        return true;
    }
    return false;
}

static void refuse_includes(struct loading *l, const struct conf_node *root)
{
    if (!root || root->kind != CONF_NODE_MAP)
        return;
    for (const struct conf_node *m = root->first; m; m = m->next)
        if (m->key->kind == CONF_NODE_TEXT && slice_eq(m->key->text, SLICE("include")))
            conf_report_add(l->b->report, m->key->at, "name all files in the first one",
                            "`include` in a file that is included itself");
}

static int load(struct loading *l, const char *path)
{
    struct conf_build *b = l->b;
    struct conf_unit *unit;
    unsigned i;
    int r = conf_sources_read(b->sources, path, CONF_FILE_MAX, &i);

    if (r < 0) {
        report_unreadable(l, path, r);
        return r == ERR_NOMEM ? r : 0;
    }
    if (is_repeated(l, i))
        return 0;
    unit = arena_zalloc(b->trees, sizeof(*unit));
    if (!unit)
        return ERR_NOMEM;
    r = conf_yaml_read(b->trees, b->report, &b->sources->v[i], &unit->root, &unit->whole);
    if (r < 0)
        return r;
    refuse_includes(l, unit->root);
    l->last->next = unit;
    l->last = unit;
    return 0;
}

/* ---- patterns ---- */

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* folder ends with its slash, or is "". */
static int match_names(struct loading *l, const char *folder, const char *pattern,
                       struct names *names)
{
    DIR *d = opendir(folder[0] ? folder : ".");
    struct dirent *e;
    int r = 0;

    if (!d && errno == ENOMEM)
        return ERR_NOMEM;
    if (!d) {
        conf_report_add(l->b->report, l->at, "the path is relative to the file that names it",
                        "the folder %s cannot be read: %s",
                        conf_report_quote(l->b->report, slice_str(folder)), err_text(-errno));
        return 0;
    }
    while (r == 0 && (e = readdir(d)) != NULL)
        if (fnmatch(pattern, e->d_name, FNM_PERIOD | FNM_NOESCAPE) == 0) {
            if (names->n == CONF_SOURCES_MAX) {
                report_unreadable(l, pattern, CONF_TOO_MANY);
                break;
            }
            r = add_name(names, folder, e->d_name);
        }
    closedir(d);
    if (r == 0 && names->n)
        qsort(names->v, names->n, sizeof(*names->v), compare);
    return r;
}

/* path is cut at its last slash. */
static int load_pattern(struct loading *l, const char *path, struct slice written)
{
    const char *slash = strrchr(path, '/'), *pattern = slash ? slash + 1 : path;
    struct slice folder = arena_dup(l->b->trees, slice_of(path, (size_t)(pattern - path)));
    struct names names = {0};
    int r;

    if (!folder.p)
        return ERR_NOMEM;
    /* Whoever watches the files must hear of those to come. */
    r = conf_sources_note(l->b->sources, path);
    if (r == 0)
        r = match_names(l, folder.p, pattern, &names);
    if (r == 0 && !names.n)
        conf_report_add(l->b->warnings, l->at, NULL, "%s matches no file",
                        conf_report_quote(l->b->warnings, written));
    for (unsigned i = 0; r == 0 && i < names.n; i++)
        r = load(l, names.v[i]);
    free_names(&names);
    return r;
}

static bool has_wildcard(const char *path)
{
    const char *slash = strrchr(path, '/');

    return strpbrk(slash ? slash : path, "*?[") != NULL;
}

static int read_item(struct loading *l, const struct conf_kind *k, const struct conf_node *node)
{
    struct slice text;
    char *path;
    int r;

    if (!conf_build_text(l->b, k, node, &text) || !conf_match_value(l->b, k, text, node->at))
        return 0;
    l->at = node->at;
    path = conf_sources_path(l->b->sources, node->at, text);
    if (!path)
        return ERR_NOMEM;
    /* The file's own folder may have such characters; only what was written is a pattern. */
    r = has_wildcard(path) ? load_pattern(l, path, text) : load(l, path);
    mem_free(path);
    return r;
}

int conf_include_read(struct conf_build *b, struct conf_unit *main_unit)
{
    struct conf_kind k = conf_kind_of(conf_table_find(SLICE("include")));
    struct loading l = {.b = b, .last = main_unit};
    const struct conf_node *m = conf_node_member(main_unit->root, "include");
    int r = 0;

    for (const struct conf_node *i = conf_node_first(m); i && r == 0; i = conf_node_next(m, i))
        r = read_item(&l, &k, i);
    return r;
}
