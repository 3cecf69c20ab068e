/* SPDX-License-Identifier: MIT */
/* conf: finds, reads and completes the configuration. Called by main before anything else exists,
 * and by tests and the fuzzer from memory. A conf is complete or is not made; its strings and lists
 * live in one arena behind it.
 */
#include "app/conf.h"

#include "app/conf_addr.h"
#include "app/conf_check.h"
#include "app/conf_read.h"
#include "base/err.h"
#include "base/mem.h"

#include <fcntl.h>
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
    READ_STEP = 64 << 10,
};

/* What conf_load gives out is the first member. */
struct whole {
    struct conf conf;
    struct arena arena;
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

/* ---- its bytes ---- */

/* Reads to the end, or until it is plain that the file is too large: one byte more than allowed. */
static int read_fd(int fd, char **ret_text, size_t *ret_n)
{
    size_t n = 0, cap = 0;
    char *text = NULL;

    for (;;) {
        ssize_t r;

        if (n == cap) {
            char *grown = mem_grow(text, cap + READ_STEP);

            if (!grown)
                goto fail_nomem;
            text = grown;
            cap += READ_STEP;
        }
        r = read(fd, text + n, cap - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0) {
            r = -errno;
            mem_free(text);
            return (int)r;
        }
        n += (size_t)r;
        if (r == 0 || n > CONF_FILE_MAX)
            break;
    }
    *ret_text = text;
    *ret_n = n;
    return 0;

fail_nomem:
    mem_free(text);
    return ERR_NOMEM;
}

static int read_file(const char *path, char **ret_text, size_t *ret_n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), r;

    if (fd < 0)
        return -errno;
    r = read_fd(fd, ret_text, ret_n);
    close(fd);
    return r;
}

static void report_unreadable(struct conf_report *rep, const char *path, int err)
{
    const char *env = getenv("GINNEL_CONFIG");
    const char *hint = env && strcmp(env, path) == 0 ? "GINNEL_CONFIG names this file" : NULL;

    if (err == -EISDIR)
        conf_report_add(rep, CONF_AT_FILE, "name the file in it: ginnel -c DIR/ginnel.yaml",
                        "this is a directory, not a file");
    else
        conf_report_add(rep, CONF_AT_FILE, hint, "cannot be read: %s", err_text(err));
}

/* ---- the conf ---- */

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
        mem_free(w);
        return NULL;
    }
    w->conf.file = (char *)(uintptr_t)copy.p;
    return w;
}

void conf_free(struct conf *c)
{
    struct whole *w = c ? CONTAINER_OF(c, struct whole, conf) : NULL;

    if (!w)
        return;
    arena_done(&w->arena);
    mem_free(w);
}

static void draw_name(struct conf *c)
{
    uint32_t bits = 0;

    /* Without random bytes (which takes a kernel without getrandom) the process number must do. */
    if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != sizeof(bits))
        bits = (uint32_t)getpid() * 2654435761u;
    snprintf(c->proxy.name, sizeof(c->proxy.name), "ginnel-%08x", bits);
}

/* What neither the table's texts nor the file can say. */
static void complete(struct conf_build *b)
{
    static const char *const no_servers[] = {NULL};
    struct conf *c = b->conf;

    if (c->n_listen == 0)
        conf_addr_default_listen(b);
    if (!c->proxy.name[0])
        draw_name(c);
    if (!c->resolve.servers)
        c->resolve.servers = no_servers;
    c->resolve.timeout_ms = LOOKUP_TIMEOUT_MS;
    c->proxy.access_log = c->access != ACCESS_OFF;
}

static void take_args(struct conf_build *b, const struct conf_args *args)
{
    if (args->n_listen)
        conf_addr_clear_listen(b);
    for (unsigned i = 0; i < args->n_listen; i++)
        conf_addr_add_listen(b, "--listen", slice_str(args->listen[i]), CONF_AT_ARGS);
}

/* The tree dies here; what the conf keeps has been copied into its own arena. */
static int read_text(struct conf_build *b, bool *ret_whole)
{
    struct conf_node *root = NULL;
    struct arena trees;
    int r;

    arena_init(&trees, NULL, ARENA_MAX);
    r = conf_yaml_read(&trees, b->report, &root, ret_whole);
    if (r == 0)
        conf_read_tree(b, root);
    arena_done(&trees);
    return r;
}

/* Fills b->conf from the report's text and the command line. */
static int build(struct conf_build *b, const struct conf_args *args)
{
    bool whole = true;
    int r;

    conf_read_defaults(b);
    if (b->report->text.n > CONF_FILE_MAX) {
        conf_report_add(b->report, CONF_AT_FILE, NULL, "larger than 1 MB");
        return 0;
    }
    r = read_text(b, &whole);
    if (r < 0)
        return r;
    take_args(b, args);
    complete(b);
    if (whole)
        conf_check(b);
    return 0;
}

/* Gives out either a conf or what is wrong with it. */
static int make(struct conf_report *rep, const char *file, const struct conf_args *args,
                struct conf **ret_conf, struct conf_errors *ret_errors)
{
    struct whole *w = new_whole(file);
    struct conf_build b;
    int r;

    if (!w)
        return ERR_NOMEM;
    conf_build_init(&b, &w->conf, &w->arena, rep);
    r = build(&b, args);
    if (r < 0 || rep->nomem) {
        r = ERR_NOMEM;
        goto fail_free;
    }
    if (rep->n) {
        r = conf_report_take(rep, ret_errors);
        r = r < 0 ? r : ERR_SYNTAX;
        goto fail_free;
    }
    *ret_conf = &w->conf;
    return 0;

fail_free:
    conf_free(&w->conf);
    return r;
}

int conf_parse(const char *name, const char *text, size_t n, struct conf **ret_conf,
               struct conf_errors *ret_errors)
{
    const struct conf_args none = {0};
    struct conf_report rep;
    int r;

    *ret_errors = (struct conf_errors){0};
    conf_report_init(&rep, name, slice_of(text, n));
    r = make(&rep, name, &none, ret_conf, ret_errors);
    conf_report_done(&rep);
    return r;
}

static int load_path(const char *path, const struct conf_args *args, struct conf **ret_conf,
                     struct conf_errors *ret_errors)
{
    struct conf_report rep;
    char *text = NULL;
    size_t n = 0;
    int r = path ? read_file(path, &text, &n) : 0;

    if (r == ERR_NOMEM)
        return r;
    conf_report_init(&rep, path && !path[0] ? "\"\"" : path, slice_of(text, n));
    if (r < 0) {
        report_unreadable(&rep, path, r);
        r = conf_report_take(&rep, ret_errors);
        r = r < 0 ? r : ERR_NOTFOUND;
    } else {
        r = make(&rep, path, args, ret_conf, ret_errors);
    }
    conf_report_done(&rep);
    mem_free(text);
    return r;
}

int conf_load(const struct conf_args *args, struct conf **ret_conf, struct conf_errors *ret_errors)
{
    char *path;
    int r;

    *ret_errors = (struct conf_errors){0};
    r = search(args->file, &path);
    if (r < 0)
        return r;
    r = load_path(path, args, ret_conf, ret_errors);
    mem_free(path);
    return r;
}
