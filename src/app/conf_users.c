/* SPDX-License-Identifier: MIT */
/* conf_users: makes the tables of names that a listener's clients are judged by. Called by the reader for `users`, and by the reader
 * of listeners. A users' file holds what htpasswd writes, with hashes that crypt(3) still vouches for; a line that ginnel cannot use
 * is an error, never a user who cannot log in. Files may have a million lines: a line costs its text and a row.
 */
#include "app/conf_users.h"

#include "app/conf_entry.h"
#include "app/conf_list.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "build_config.h"
#include "policy/users.h"
#include "proto/authn.h"

#include <stdlib.h>
#include <unistd.h>

enum { FILE_TIMEOUT_MS = 10000, PROGRAM_TIMEOUT_MS = 10000, CACHE_MS = 3600000, CHILDREN = 5 };

/* ---- files ---- */

typedef void (*line_fn)(struct conf_build *b, void *ctx, struct slice line, size_t at);

struct file {
    const char *what; /* "users" */
    const char *name; /* as it was opened */
    unsigned source;
};

static bool open_file(struct conf_build *b, const struct conf_node *node, const char *what, struct file *ret_f)
{
    char *path = conf_sources_path(b->sources, node->at, node->text);
    struct slice name = path ? arena_dup(b->arena, slice_str(path)) : SLICE_NONE;
    struct file f = {.what = what, .name = name.p};
    int r = name.p ? conf_sources_read(b->sources, path, CONF_LIST_MAX, &f.source) : ERR_NOMEM;

    if (r < 0)
        conf_list_unreadable(b, what, path ? path : "", node->at, r);
    else
        *ret_f = f;
    if (r == 0)
        b->sources->v[f.source].hidden = true;
    mem_free(path);
    return r == 0;
}

static bool is_binary(struct conf_build *b, const struct file *f)
{
    struct slice text = b->sources->v[f->source].text;
    const char *nul = text.n ? memchr(text.p, '\0', text.n) : NULL;

    if (nul)
        conf_report_add(b->report, b->sources->v[f->source].base + (size_t)(nul - text.p), NULL,
                        "this is no %s file: it has a NUL byte", f->what);
    return nul != NULL;
}

/* Lines that are neither blank nor a comment, without the blanks at their ends. */
static void each_line(struct conf_build *b, const struct file *f, line_fn fn, void *ctx)
{
    struct slice text = b->sources->v[f->source].text;
    size_t base = b->sources->v[f->source].base;
    struct slice rest = slice_skip(text, text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0), line;

    if (is_binary(b, f))
        return;
    while (!b->report->nomem && slice_next_line(&rest, &line)) {
        line = slice_trim(line);
        if (line.n && line.p[0] != '#')
            fn(b, ctx, line, base + (size_t)(line.p - text.p));
    }
}

/* ---- names and hashes ---- */

struct names {
    struct users *users;
    uint32_t of_kind[128], first_of_kind[128]; /* by the letter behind the first $ */
    uint32_t usual_n;
};

static void mix(struct users *u, const void *p, size_t n)
{
    u->content = u->content * 0x9e3779b97f4a7c15u + hash_bytes(p, n) + n;
}

/* ERR_NOMEM is noted. */
static bool make_row(struct conf_build *b, struct slice name, struct slice value, struct slice more, struct users_row *ret_row)
{
    char *p = arena_alloc(b->arena, name.n + value.n + more.n + 3);

    if (!p) {
        conf_build_nomem(b);
        return false;
    }
    *ret_row = (struct users_row){p, (uint16_t)name.n, (uint16_t)value.n, (uint16_t)more.n};
    memcpy(p, name.p, name.n);
    p[name.n] = '\0';
    p += name.n + 1;
    if (value.n)
        memcpy(p, value.p, value.n);
    p[value.n] = '\0';
    p += value.n + 1;
    if (more.n)
        memcpy(p, more.p, more.n);
    p[more.n] = '\0';
    return true;
}

static bool check_name(struct conf_build *b, struct slice name, size_t at)
{
    if (authn_is_name(name))
        return true;
    conf_report_add(b->report, at, "1 to 128 bytes without colon, comma, plus and control characters; behind a plus a client's labels begin",
                    "%s cannot be the name of a user", conf_report_quote(b->report, name));
    return false;
}

static bool is_hash_text(struct slice hash)
{
    for (size_t i = 0; i < hash.n; i++)
        if (hash.p[i] <= 0x20 || hash.p[i] >= 0x7f)
            return false;
    return hash.n < USERS_HASH_MAX;
}

/* What it is, so that nobody has to guess: the hash itself is not shown. */
static const char *hash_kind(struct slice hash)
{
    static const struct {
        const char *prefix, *name;
    } kinds[] = {
        {"$apr1$", "an MD5 hash of Apache's"}, {"{SHA}", "an unsalted SHA-1 hash"},   {"{SSHA}", "a SHA-1 hash"},
        {"$1$", "an MD5 hash"},                {"$sha1$", "a SHA-1 hash"},            {"$3$", "an NT hash"},
        {"$md5", "an MD5 hash"},               {"$7$", "an scrypt hash"},             {"$gy$", "a gost-yescrypt hash"},
        {"{PLAIN}", "a password in plain text"}, {"$2x$", "a hash of a defective bcrypt"}, {"$2$", "a hash of the first bcrypt"},
    };

    if (!hash.n)
        return "nothing";
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++)
        if (hash.n >= strlen(kinds[i].prefix) && memcmp(hash.p, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
            return kinds[i].name;
    return hash.n == 13 ? "a DES hash, or a password in plain text" : "no hash that is known: a password in plain text?";
}

static bool check_hash(struct conf_build *b, struct slice name, struct slice hash, size_t at)
{
    if (users_hash_is_known(hash) && is_hash_text(hash))
        return true;
    conf_report_add(b->report, at, "`ginnel passwd FILE NAME` writes one that can be used (yescrypt); bcrypt, $6$ and $5$ are taken too",
                    "the password of %s is stored as %s", conf_report_quote(b->report, name),
                    users_hash_is_known(hash) ? "a hash that is malformed" : hash_kind(hash));
    return false;
}

/* labels=red,prio=high */
static bool check_labels(struct conf_build *b, struct slice field, size_t at, struct slice *ret_labels)
{
    static const struct slice key = {"labels=", 7};
    struct slice list = SLICE_NONE;
    bool right = field.n > key.n && memcmp(field.p, key.p, key.n) == 0;

    if (right)
        list = *ret_labels = slice_skip(field, key.n);
    right = right && list.n <= USERS_LABELS_MAX && list.p[list.n - 1] != ',';
    while (right && list.n) {
        size_t n = slice_find(list, ',');

        right = authn_is_label(slice_of(list.p, n));
        list = n < list.n ? slice_skip(list, n + 1) : SLICE_NONE;
    }
    if (!right)
        conf_report_add(b->report, at, "like this: NAME:HASH:labels=red,prio=high", "%s is no list of labels",
                        conf_report_quote(b->report, field));
    return right;
}

static void count_kind(struct names *k, struct slice hash, uint32_t index)
{
    unsigned kind = (unsigned char)hash.p[1] & 127;

    if (k->of_kind[kind]++ == 0)
        k->first_of_kind[kind] = index;
    if (k->of_kind[kind] > k->usual_n) {
        k->usual_n = k->of_kind[kind];
        k->users->usual = k->first_of_kind[kind];
    }
}

static void add_name(struct conf_build *b, struct names *k, struct slice name, struct slice hash, struct slice labels, size_t at)
{
    const struct users_row *first = NULL;
    struct users_row row;
    int r;

    if (!make_row(b, name, hash, labels, &row))
        return;
    /* No file of CONF_LIST_MAX bytes has more lines than a table has rows. */
    r = users_table_add(&k->users->names, row, &first);
    if (r < 0)
        conf_build_nomem(b);
    else if (first)
        conf_report_add(b->report, at, "remove one of the two lines", "the user %s is there twice", conf_report_quote(b->report, name));
    else
        count_kind(k, hash, k->users->names.n - 1);
}

static void take_name(struct conf_build *b, void *ctx, struct slice line, size_t at)
{
    struct names *k = ctx;
    size_t colon = slice_find(line, ':'), second;
    struct slice name = slice_of(line.p, colon), hash, field, labels = SLICE_NONE;

    mix(k->users, line.p, line.n);
    if (colon == line.n) {
        conf_report_add(b->report, at, "like this: NAME:HASH, as `ginnel passwd FILE NAME` writes it", "this line has no colon");
        return;
    }
    hash = slice_skip(line, colon + 1);
    second = slice_find(hash, ':');
    field = slice_skip(hash, second);
    hash.n = second;
    if (!check_name(b, name, at) || !check_hash(b, name, hash, at + colon + 1))
        return;
    if (field.n && !check_labels(b, slice_skip(field, 1), at + (size_t)(field.p + 1 - line.p), &labels))
        return;
    add_name(b, k, name, hash, labels, at);
}

static void read_names(struct conf_build *b, const struct conf_node *node, struct users *u)
{
    struct names k = {.users = u};
    size_t before = conf_report_count(b->report);
    struct file f;

    if (!open_file(b, node, "users", &f))
        return;
    u->file = f.name;
    each_line(b, &f, take_name, &k);
    if (u->names.n == 0 && conf_report_count(b->report) == before)
        conf_report_add(b->warnings, node->at, "`ginnel passwd FILE NAME` adds one", "the users file %s has no users: nobody can log in",
                        conf_report_quote(b->warnings, slice_str(f.name)));
    conf_sources_drop(b->sources, f.source);
}

/* ---- groups ---- */

struct member {
    struct slice name, group; /* in the file's text */
    size_t at;
};
struct members {
    struct users *users;
    struct member *v;
    size_t n, cap;
};

static void add_member(struct conf_build *b, struct members *m, struct slice name, struct slice group, size_t at)
{
    if (m->n == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 64;
        struct member *v = mem_grow(m->v, cap * sizeof(*v));

        if (!v) {
            conf_build_nomem(b);
            return;
        }
        m->v = v;
        m->cap = cap;
    }
    m->v[m->n++] = (struct member){name, group, at};
}

static void take_group(struct conf_build *b, void *ctx, struct slice line, size_t at)
{
    struct members *m = ctx;
    size_t colon = slice_find(line, ':'), i = colon + 1;
    struct slice group = slice_trim(slice_of(line.p, colon));

    mix(m->users, line.p, line.n);
    if (colon == line.n || !authn_is_name(group) || memchr(group.p, ' ', group.n)) {
        conf_report_add(b->report, at, "like this: `staff: anna john`", "this is no group and its members");
        return;
    }
    while (i < line.n) {
        size_t from = i;

        while (i < line.n && line.p[i] != ' ' && line.p[i] != '\t')
            i++;
        if (i > from && check_name(b, slice_of(line.p + from, i - from), at + from))
            add_member(b, m, slice_of(line.p + from, i - from), group, at + from);
        i += i == from;
    }
}

static int compare_slices(struct slice a, struct slice b)
{
    int r = memcmp(a.p, b.p, min_size(a.n, b.n));

    return r ? r : a.n < b.n ? -1 : a.n > b.n;
}

static int compare_members(const void *x, const void *y)
{
    const struct member *a = x, *b = y;
    int r = compare_slices(a->name, b->name);

    return r ? r : a->at < b->at ? -1 : a->at > b->at;
}

/* One row of the groups of members [from, to), which are one user. */
static void add_groups(struct conf_build *b, struct members *m, size_t from, size_t to)
{
    struct slice name = m->v[from].name;
    const struct users_row *first;
    char list[USERS_GROUPS_MAX];
    struct users_row row;
    size_t n = 0;

    for (size_t i = from; i < to; i++) {
        struct slice group = m->v[i].group;

        if (users_list_has(slice_of(list, n), group))
            continue;
        if (n + 1 + group.n > sizeof(list)) {
            conf_report_add(b->report, m->v[i].at, NULL, "%s is in too many groups: their names have more than %d bytes",
                            conf_report_quote(b->report, name), USERS_GROUPS_MAX);
            return;
        }
        if (n)
            list[n++] = ',';
        memcpy(list + n, group.p, group.n);
        n += group.n;
    }
    if (m->users->file && !users_table_find(&m->users->names, name))
        conf_report_add(b->warnings, m->v[from].at, NULL, "%s is in a group, and not in the users file",
                        conf_report_quote(b->warnings, name));
    if (make_row(b, name, slice_of(list, n), SLICE_NONE, &row) && users_table_add(&m->users->groups, row, &first) < 0)
        conf_build_nomem(b);
}

static void read_groups(struct conf_build *b, const struct conf_node *node, struct users *u)
{
    struct members m = {.users = u};
    struct file f;

    if (!open_file(b, node, "groups", &f))
        return;
    u->groups_file = f.name;
    each_line(b, &f, take_group, &m);
    if (m.n)
        qsort(m.v, m.n, sizeof(*m.v), compare_members);
    for (size_t i = 0, to; i < m.n && !b->report->nomem; i = to) {
        for (to = i + 1; to < m.n && slice_eq(m.v[to].name, m.v[i].name); to++)
            ;
        add_groups(b, &m, i, to);
    }
    mem_free(m.v);
    conf_sources_drop(b->sources, f.source);
}

/* ---- the program ---- */

/* Relative paths are relative to the file; a name alone would be looked for who knows where. */
static const char *program_path(struct conf_build *b, const struct conf_node *node)
{
    char *path;
    struct slice copy;

    if (!memchr(node->text.p, '/', node->text.n)) {
        conf_report_add(b->report, node->at, "write its whole path: /usr/lib/squid/basic_ncsa_auth", "%s is no path of a program",
                        conf_report_quote(b->report, node->text));
        return NULL;
    }
    path = conf_sources_path(b->sources, node->at, node->text);
    copy = path ? arena_dup(b->arena, slice_str(path)) : SLICE_NONE;
    if (!copy.p)
        conf_build_nomem(b);
    else if (access(path, X_OK) < 0)
        conf_report_add(b->report, node->at, NULL, "%s cannot be run: %s", conf_report_quote(b->report, copy), err_text(-errno));
    mem_free(path);
    return copy.p;
}

static void read_command(struct conf_build *b, const struct conf_node *node, struct users *u)
{
    const char **v = arena_zalloc(b->arena, (conf_node_count(node) + 1) * sizeof(*v));
    unsigned n = 0;

    if (!v) {
        conf_build_nomem(b);
        return;
    }
    for (const struct conf_node *i = conf_node_first(node); i; i = conf_node_next(node, i)) {
        struct slice copy = arena_dup(b->arena, i->text);

        if (memchr(i->text.p, '\0', i->text.n))
            conf_report_add(b->report, i->at, NULL, "an argument has no NUL byte");
        v[n] = n == 0 ? program_path(b, i) : copy.p;
        if (!copy.p)
            conf_build_nomem(b);
        if (!v[n])
            return;
        mix(u, v[n], strlen(v[n]));
        n++;
    }
    u->argv = v;
    u->by_program = true;
}

/* ---- the key ---- */

/* Values of the map; they have been checked. */
static uint64_t duration(const struct conf_node *map, const char *key, uint64_t dflt)
{
    const struct conf_node *m = conf_node_member(map, key);
    uint64_t v;

    return m && conf_value_duration(m->text, &v) == 0 ? v : dflt;
}

static unsigned number(const struct conf_node *map, const char *key, unsigned dflt)
{
    const struct conf_node *m = conf_node_member(map, key);
    uint64_t v = 0;

    if (!m)
        return dflt;
    for (size_t i = 0; i < m->text.n; i++)
        v = v * 10 + (uint64_t)(m->text.p[i] - '0');
    return (unsigned)v;
}

/* What is about children is not about a file. */
static void check_members(struct conf_build *b, const struct conf_node *node)
{
    static const char *const keys[] = {"children", "concurrency", "timeout"};

    for (unsigned i = 0; i < ARRAY_LEN(keys) && !conf_node_member(node, "command"); i++) {
        const struct conf_node *m = conf_node_member(node, keys[i]);

        if (m)
            conf_report_add(b->report, m->key->at, NULL, "`%s` is about the program of `command`, and there is none", keys[i]);
    }
}

static void free_users(void *p)
{
    users_done(p);
}

static void settle(struct users *u, const struct conf_node *node)
{
    const struct conf_node *ask = conf_node_member(node, "ask");
    uint64_t values[6];

    u->when_needed = ask && slice_eq(ask->text, SLICE("when-needed"));
    u->cache_ms = duration(node, "cache", CACHE_MS);
    u->timeout_ms = duration(node, "timeout", u->by_program ? PROGRAM_TIMEOUT_MS : FILE_TIMEOUT_MS);
    u->children = number(node, "children", CHILDREN);
    u->concurrency = number(node, "concurrency", 0);
    values[0] = u->when_needed;
    values[1] = u->cache_ms;
    values[2] = u->timeout_ms;
    values[3] = u->children;
    values[4] = u->concurrency;
    values[5] = u->by_program;
    mix(u, values, sizeof(values));
}

struct users *conf_users_make(struct conf_build *b, const struct conf_node *node)
{
    bool bare = node->kind == CONF_NODE_TEXT;
    const struct conf_node *file = bare ? node : conf_node_member(node, "file"), *groups = conf_node_member(node, "groups"),
                           *command = conf_node_member(node, "command");
    struct users *u = arena_zalloc(b->arena, sizeof(*u));

    if (!u) {
        conf_build_nomem(b);
        return NULL;
    }
    conf_build_finish(b, free_users, u);
    u->place = conf_build_place(b, node->key ? node->key->at : node->at);
    check_members(b, node);
    if (file)
        read_names(b, file, u);
    if (command)
        read_command(b, command, u);
    if (groups)
        read_groups(b, groups, u);
    settle(u, node);
#if !HAVE_CRYPT
    if (file)
        conf_report_add(b->report, node->at, "a program (`command`) can verify passwords", "this build cannot verify passwords: it has no libcrypt");
#endif
    return u;
}

void conf_users_read(struct conf_build *b, const struct option_def *o, const struct conf_node *node)
{
    if (conf_entry_check(b, conf_table_key(o), o->shape, node, true))
        b->conf->users = conf_users_make(b, node);
}
