/* SPDX-License-Identifier: MIT */
/* conf_source: reads the files of a load and keeps their texts. Called by conf, the includes and
 * the list files. It must never hang (a pipe in place of a file) and never hand out half of what
 * somebody is just writing.
 */
#include "app/conf_source.h"

#include "app/conf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#include <fcntl.h>
#include <unistd.h>

enum { READ_TRIES = 3, READ_STEP = 64 << 10 };

/* ---- one file ---- */

struct bytes {
    char *p;
    size_t n, cap;
};

static int make_room(struct bytes *b, size_t cap)
{
    char *grown = mem_grow(b->p, cap);

    if (!grown)
        return ERR_NOMEM;
    b->p = grown;
    b->cap = cap;
    return 0;
}

/* Reads to the end, or until it is plain that there is more than max. */
static int read_to_end(int fd, size_t expected, size_t max, struct bytes *b)
{
    int r = make_room(b, min_size(expected, max) + 1);

    while (r == 0) {
        ssize_t n;

        if (b->n == b->cap) {
            r = make_room(b, b->cap + max_size(READ_STEP, b->cap / 2));
            if (r < 0)
                return r;
        }
        n = read(fd, b->p + b->n, b->cap - b->n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        b->n += (size_t)n;
        if (n == 0)
            return 0;
        if (b->n > max)
            return CONF_TOO_LARGE;
    }
    return r;
}

static bool same_state(const struct stat *a, const struct stat *b, size_t n)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec &&
           /* Files of the kernel say that they are empty. */
           (b->st_size == 0 || (size_t)b->st_size == n);
}

/* One try. CONF_CHANGING: somebody wrote to it meanwhile. */
static int read_once(const char *path, size_t max, struct bytes *b, struct stat *ret_st)
{
    /* A pipe without a writer would be waited for, and a terminal would become ours. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), r;
    struct stat before, after;

    if (fd < 0)
        return errno == ENXIO ? CONF_NO_FILE : -errno;
    r = fstat(fd, &before) < 0 ? -errno : 0;
    if (r == 0 && !S_ISREG(before.st_mode))
        r = S_ISDIR(before.st_mode) ? -EISDIR : CONF_NO_FILE;
    if (r == 0 && (uint64_t)before.st_size > max)
        r = CONF_TOO_LARGE;
    if (r == 0)
        r = read_to_end(fd, (size_t)before.st_size, max, b);
    if (r == 0 && fstat(fd, &after) < 0)
        r = -errno;
    if (r == 0 && !same_state(&before, &after, b->n))
        r = CONF_CHANGING;
    close(fd);
    if (r == 0)
        *ret_st = after;
    return r;
}

static int read_file(const char *path, size_t max, struct bytes *b, struct stat *ret_st)
{
    int r = CONF_CHANGING;

    for (unsigned i = 0; i < READ_TRIES && r == CONF_CHANGING; i++) {
        b->n = 0;
        r = read_once(path, max, b, ret_st);
    }
    return r;
}

/* ---- all of them ---- */

static int add(struct conf_sources *s, const char *name, struct slice text, unsigned *ret_i)
{
    struct conf_source *source;
    char *copy;

    if (s->n == CONF_SOURCES_MAX)
        return CONF_TOO_MANY;
    if (s->n == s->cap) {
        unsigned cap = s->cap ? s->cap * 2 : 8;
        struct conf_source *v = mem_grow(s->v, cap * sizeof(*v));

        if (!v)
            return ERR_NOMEM;
        s->v = v;
        s->cap = cap;
    }
    copy = mem_dup(name, strlen(name));
    if (!copy)
        return ERR_NOMEM;
    source = &s->v[s->n];
    *source = (struct conf_source){.name = copy, .text = text, .base = s->next};
    /* One more, so that the end of a text is not the beginning of the next. */
    s->next += text.n + 1;
    *ret_i = s->n++;
    return 0;
}

static void mix(struct conf_sources *s, const char *name, struct slice text)
{
    uint64_t parts[] = {s->content, hash_bytes(name, strlen(name)),
                        hash_bytes(text.n ? text.p : "", text.n)};

    s->content = hash_bytes(parts, sizeof(parts));
}

int conf_sources_add(struct conf_sources *s, const char *name, struct slice text, unsigned *ret_i)
{
    int r = add(s, name, text, ret_i);

    if (r == 0)
        mix(s, name, text);
    return r;
}

int conf_sources_read(struct conf_sources *s, const char *path, size_t max, unsigned *ret_i)
{
    struct bytes b = {0};
    struct stat st = {0};
    int r = read_file(path, max, &b, &st);

    if (r == 0)
        r = add(s, path, slice_of(b.p, b.n), ret_i);
    if (r < 0) {
        mem_free(b.p);
        return r != ERR_NOMEM && conf_sources_note(s, path) < 0 ? ERR_NOMEM : r;
    }
    s->v[*ret_i].owned = b.p;
    s->v[*ret_i].dev = st.st_dev;
    s->v[*ret_i].ino = st.st_ino;
    s->v[*ret_i].mode = st.st_mode;
    mix(s, path, s->v[*ret_i].text);
    return 0;
}

int conf_sources_note(struct conf_sources *s, const char *path)
{
    char **v = s->noted, *copy;

    if (s->n_noted == CONF_SOURCES_MAX)
        return 0;
    if ((s->n_noted & (s->n_noted - 1)) == 0)
        v = mem_grow(v, (s->n_noted ? s->n_noted * 2 : 1) * sizeof(*v));
    if (!v)
        return ERR_NOMEM;
    s->noted = v;
    copy = mem_dup(path, strlen(path));
    if (!copy)
        return ERR_NOMEM;
    s->noted[s->n_noted++] = copy;
    return 0;
}

static const char *path_of(const struct conf_sources *s, unsigned i)
{
    return i < s->n ? s->v[i].name : s->noted[i - s->n];
}

static bool is_among(const char *const *v, unsigned n, const char *path)
{
    for (unsigned i = 0; i < n; i++)
        if (strcmp(v[i], path) == 0)
            return true;
    return false;
}

int conf_sources_paths(const struct conf_sources *s, const char ***ret_v, unsigned *ret_n)
{
    unsigned all = s->n + s->n_noted, n = 0;
    size_t bytes = (all + 1) * sizeof(char *);
    const char **v;
    char *text;

    for (unsigned i = 0; i < all; i++)
        bytes += strlen(path_of(s, i)) + 1;
    v = mem_alloc(bytes);
    if (!v)
        return ERR_NOMEM;
    text = (char *)(v + all + 1);
    for (unsigned i = 0; i < all; i++) {
        const char *path = path_of(s, i);
        size_t m = strlen(path) + 1;

        if (is_among(v, n, path))
            continue;
        memcpy(text, path, m);
        v[n++] = text;
        text += m;
    }
    *ret_v = v;
    *ret_n = n;
    return 0;
}

void conf_sources_drop(struct conf_sources *s, unsigned i)
{
    mem_free(s->v[i].owned);
    s->v[i].owned = NULL;
    s->v[i].text = SLICE_NONE;
}

void conf_sources_done(struct conf_sources *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        mem_free(s->v[i].owned);
        mem_free(s->v[i].name);
    }
    for (unsigned i = 0; i < s->n_noted; i++)
        mem_free(s->noted[i]);
    mem_free(s->noted);
    mem_free(s->v);
    *s = (struct conf_sources){0};
}

const struct conf_source *conf_sources_find(const struct conf_sources *s, size_t at)
{
    unsigned low = 0, high = s->n;

    while (high - low > 1) {
        unsigned middle = low + (high - low) / 2;

        if (s->v[middle].base <= at)
            low = middle;
        else
            high = middle;
    }
    return &s->v[low];
}

const char *conf_source_problem(int err, const char **ret_hint)
{
    *ret_hint = NULL;
    switch (err) {
    case -EISDIR:
        return "this is a directory, not a file";
    case CONF_NO_FILE:
        *ret_hint = "write it into a file";
        return "this is a pipe, a socket or a device, not a file";
    case CONF_CHANGING:
        *ret_hint = "write a new file beside it and rename it: that is one step";
        return "this changes while it is read";
    case -ELOOP:
        *ret_hint = "ls -l shows where its symbolic links lead";
        return "cannot be read: its symbolic links lead in a circle";
    default:
        return NULL;
    }
}

char *conf_sources_path(const struct conf_sources *s, size_t at, struct slice path)
{
    const char *name = conf_sources_find(s, at)->name, *slash = strrchr(name, '/');
    size_t n = path.n && path.p[0] != '/' && slash ? (size_t)(slash - name) + 1 : 0;
    char *p = mem_alloc(n + path.n + 1);

    if (!p)
        return NULL;
    memcpy(p, name, n);
    memcpy(p + n, path.p, path.n);
    p[n + path.n] = '\0';
    return p;
}
