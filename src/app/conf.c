/* SPDX-License-Identifier: MIT */
/* conf: finds, reads and completes the configuration. Called by main before anything else exists,
 * and by tests and the fuzzer from memory. A conf is complete or is not made; its strings and lists
 * live in one arena behind it.
 */
#include "app/conf.h"

#include "app/conf_addr.h"
#include "app/conf_check.h"
#include "app/conf_include.h"
#include "app/conf_log.h"
#include "app/conf_match.h"
#include "app/conf_origins.h"
#include "app/conf_policy.h"
#include "app/conf_read.h"
#include "app/conf_rules.h"
#include "base/err.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOOKUP_TIMEOUT_MS = 5000,
    /* More than any file of CONF_FILE_MAX bytes can need; what is refused is memory, not the file.
     */
    ARENA_MAX = 512 << 20,
};

/* What conf_load gives out is the first member. */
struct whole {
    struct conf conf;
    struct arena arena;
    struct conf_finish *finish;
};

static const char site_file[] = "/etc/ginnel/ginnel.yaml";

unsigned conf_n_keys(void)
{
    return conf_table_n;
}

/* ---- which file ---- */

static bool exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

static char *join(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    char *p = mem_alloc(n + m + 1);

    if (!p)
        return NULL;
    memcpy(p, a, n);
    memcpy(p + n, b, m + 1);
    return p;
}

/* A user's own file. Not root's: a daemon must not take orders from whoever set HOME. A relative
 * XDG_CONFIG_HOME is to be ignored (XDG Base Directory Specification). *ret_path NULL: there is
 * none. */
static int user_file(char **ret_path)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char *path;

    *ret_path = NULL;
    if (geteuid() == 0)
        return 0;
    if (xdg && xdg[0] == '/')
        path = join(xdg, "/ginnel/ginnel.yaml");
    else if (home && home[0] == '/')
        path = join(home, "/.config/ginnel/ginnel.yaml");
    else
        return 0;
    if (!path)
        return ERR_NOMEM;
    if (exists(path))
        *ret_path = path;
    else
        mem_free(path);
    return 0;
}

static int copy_path(const char *from, char **ret_path)
{
    *ret_path = mem_dup(from, strlen(from));
    return *ret_path ? 0 : ERR_NOMEM;
}

static int search(const char *dash_c, char **ret_path)
{
    const char *env = getenv("GINNEL_CONFIG");
    int r;

    *ret_path = NULL;
    if (dash_c)
        return copy_path(dash_c, ret_path);
    if (env && env[0])
        return copy_path(env, ret_path);
    r = user_file(ret_path);
    if (r < 0 || *ret_path)
        return r;
    return exists(site_file) ? copy_path(site_file, ret_path) : 0;
}

char *conf_search(const char *dash_c)
{
    char *path;

    return search(dash_c, &path) < 0 ? NULL : path;
}

/* ---- the conf ---- */

void conf_free(struct conf *c)
{
    struct whole *w = c ? CONTAINER_OF(c, struct whole, conf) : NULL;

    if (!w)
        return;
    for (struct conf_finish *f = w->finish; f; f = f->next)
        f->fn(f->p);
    arena_done(&w->arena);
    mem_free(w);
}

static struct whole *new_whole(const char *file)
{
    struct whole *w = mem_zalloc(sizeof(*w));
    struct slice copy;

    if (!w)
        return NULL;
    arena_init(&w->arena, NULL, ARENA_MAX);
    if (!file)
        return w;
    copy = arena_dup(&w->arena, slice_str(file));
    if (!copy.p) {
        conf_free(&w->conf);
        return NULL;
    }
    w->conf.file = (char *)(uintptr_t)copy.p;
    return w;
}

static void draw_name(struct conf *c)
{
    uint32_t bits = 0;

    /* Without random bytes (which takes a kernel without getrandom) the process number must do. */
    if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != sizeof(bits))
        bits = (uint32_t)getpid() * 2654435761u;
    snprintf(c->proxy.name, sizeof(c->proxy.name), "ginnel-%08x", bits);
}

/* What neither the table's texts nor the files can say. */
static void complete(struct conf_build *b, const struct conf_args *args)
{
    static const char *const no_servers[] = {NULL};
    struct conf *c = b->conf;

    if (c->n_listen == 0 && !args->sockets)
        conf_addr_default_listen(b);
    if (!c->proxy.name[0] && args->name)
        snprintf(c->proxy.name, sizeof(c->proxy.name), "%s", args->name);
    if (!c->proxy.name[0])
        draw_name(c);
    if (!c->resolve.servers)
        c->resolve.servers = no_servers;
    c->resolve.timeout_ms = LOOKUP_TIMEOUT_MS;
    conf_addr_finish_clients(b);
    conf_log_finish(b);
    conf_policy_finish(b);
    conf_rules_finish(b);
    conf_origins_finish(b);
}

static void take_args(struct conf_build *b, const struct conf_args *args)
{
    if (args->n_listen)
        conf_addr_clear_listen(b);
    for (unsigned i = 0; i < args->n_listen; i++)
        conf_addr_add_listen(b, "--listen", slice_str(args->listen[i]), CONF_AT_ARGS);
}

/* What was read, for whoever watches it. */
static void note_files(struct conf_build *b)
{
    struct conf *c = b->conf;

    c->content = b->sources->content;
    if (conf_sources_paths(b->sources, &c->files, &c->n_files) < 0)
        conf_build_nomem(b);
    else
        conf_build_finish(b, mem_free, c->files);
}

/* Reads all trees; the first source is the main file's. Whether all are whole. */
static int read_trees(struct conf_build *b, bool *ret_whole)
{
    struct conf_unit first = {.whole = true};
    int r;

    r = conf_yaml_read(b->trees, b->report, &b->sources->v[0], &first.root, &first.whole);
    if (r == 0)
        r = conf_include_read(b, &first);
    if (r < 0)
        return r;
    b->conf->empty = !first.root || first.root->kind == CONF_NODE_TEXT || !first.root->first;
    *ret_whole = true;
    for (const struct conf_unit *u = &first; u; u = u->next) {
        conf_read_tree(b, u->root);
        *ret_whole = *ret_whole && u->whole;
    }
    return 0;
}

/* Fills b->conf from the sources and the command line. */
static int fill(struct conf_build *b, const struct conf_args *args)
{
    bool whole = true;
    int r;

    conf_read_defaults(b);
    if (b->sources->n && b->sources->v[0].text.n > CONF_FILE_MAX) {
        conf_report_add(b->report, CONF_AT_FILE, NULL, "larger than 1 MB");
        return 0;
    }
    r = b->sources->n ? read_trees(b, &whole) : 0;
    if (r < 0)
        return r;
    /* Names that the command line's listeners do not have are still names of the files. */
    if (whole)
        conf_match_check_names(b);
    take_args(b, args);
    complete(b, args);
    if (whole)
        conf_check(b);
    note_files(b);
    return 0;
}

/* What a load needs and nobody keeps: 20 KB that no stack should carry. */
struct work {
    struct conf_build build;
    struct conf_report report, warnings;
    struct conf_sources sources;
    struct arena trees;
};

static struct work *new_work(void)
{
    struct work *k = mem_zalloc(sizeof(*k));

    if (!k)
        return NULL;
    arena_init(&k->trees, NULL, ARENA_MAX);
    conf_report_init(&k->report, &k->sources);
    conf_report_init(&k->warnings, &k->sources);
    k->warnings.prefix = "warning: ";
    k->build.trees = &k->trees;
    k->build.sources = &k->sources;
    k->build.report = &k->report;
    k->build.warnings = &k->warnings;
    conf_build_init(&k->build);
    return k;
}

static void free_work(struct work *k)
{
    conf_build_done(&k->build);
    conf_report_done(&k->report);
    conf_report_done(&k->warnings);
    conf_sources_done(&k->sources);
    arena_done(&k->trees);
    mem_free(k);
}

/* What is wrong, and with which files: they may be mended. */
static int take_errors(struct work *k, struct conf_errors *ret_errors, int code)
{
    int r = conf_report_take(&k->report, ret_errors);

    if (r == 0)
        r = conf_sources_paths(&k->sources, &ret_errors->files, &ret_errors->n_files);
    if (r == 0)
        return code;
    conf_errors_done(ret_errors);
    return r;
}

/* Gives out either a conf or what is wrong with it. */
static int make(struct work *k, const char *file, const struct conf_args *args,
                struct conf **ret_conf, struct conf_errors *ret_errors,
                struct conf_errors *ret_warnings)
{
    struct whole *w = new_whole(file);
    int r;

    if (!w)
        return ERR_NOMEM;
    k->build.conf = &w->conf;
    k->build.arena = &w->arena;
    k->build.finish = &w->finish;
    r = fill(&k->build, args);
    if (r == 0 && (k->report.nomem || k->warnings.nomem))
        r = ERR_NOMEM;
    if (r == 0 && k->report.n)
        r = take_errors(k, ret_errors, ERR_SYNTAX);
    if (r == 0 && ret_warnings && k->warnings.n)
        r = conf_report_take(&k->warnings, ret_warnings);
    if (r < 0) {
        conf_free(&w->conf);
        return r;
    }
    *ret_conf = &w->conf;
    return 0;
}

int conf_parse(const char *name, const char *text, size_t n, struct conf **ret_conf,
               struct conf_errors *ret_errors)
{
    const struct conf_args none = {0};
    struct work *k = new_work();
    unsigned i;
    int r;

    *ret_errors = (struct conf_errors){0};
    if (!k)
        return ERR_NOMEM;
    r = conf_sources_add(&k->sources, name, slice_of(text, n), &i);
    if (r == 0)
        r = make(k, name, &none, ret_conf, ret_errors, NULL);
    free_work(k);
    return r;
}

/* ---- files ---- */

/* The main file cannot be read: what is said about it has no line. */
static int refuse_file(struct work *k, const char *path, int err, struct conf_errors *ret_errors)
{
    const char *env = getenv("GINNEL_CONFIG"), *hint, *problem = conf_source_problem(err, &hint);
    unsigned i;
    int r = conf_sources_add(&k->sources, path, SLICE_NONE, &i);

    if (r < 0)
        return r;
    if (err == CONF_TOO_LARGE) {
        conf_report_add(&k->report, CONF_AT_FILE, NULL, "larger than 1 MB");
        return take_errors(k, ret_errors, ERR_SYNTAX);
    }
    if (err == -EISDIR)
        hint = "name the file in it: ginnel -c DIR/ginnel.yaml";
    if (!hint && env && strcmp(env, path) == 0)
        hint = "GINNEL_CONFIG names this file";
    if (problem)
        conf_report_add(&k->report, CONF_AT_FILE, hint, "%s", problem);
    else
        conf_report_add(&k->report, CONF_AT_FILE, hint, "cannot be read: %s", err_text(err));
    return take_errors(k, ret_errors, ERR_NOTFOUND);
}

static int load_path(struct work *k, const char *path, const struct conf_args *args,
                     struct conf **ret_conf, struct conf_errors *ret_errors,
                     struct conf_errors *ret_warnings)
{
    unsigned i;
    int r = path ? conf_sources_read(&k->sources, path, CONF_FILE_MAX, &i) : 0;

    if (r == ERR_NOMEM)
        return r;
    if (r < 0)
        return refuse_file(k, path, r, ret_errors);
    return make(k, path, args, ret_conf, ret_errors, ret_warnings);
}

int conf_load(const struct conf_args *args, struct conf **ret_conf, struct conf_errors *ret_errors,
              struct conf_errors *ret_warnings)
{
    struct work *k;
    char *path;
    int r;

    *ret_errors = (struct conf_errors){0};
    if (ret_warnings)
        *ret_warnings = (struct conf_errors){0};
    r = search(args->file, &path);
    if (r < 0)
        return r;
    k = new_work();
    r = k ? load_path(k, path, args, ret_conf, ret_errors, ret_warnings) : ERR_NOMEM;
    if (k)
        free_work(k);
    mem_free(path);
    return r;
}
