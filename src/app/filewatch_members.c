/* SPDX-License-Identifier: MIT */
/* filewatch_members: keeps the paths of the set and compares what stat says of them with what it said before. Called by filewatch.
 */
#include "app/filewatch_members.h"

#include "app/filewatch.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#include <dirent.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- patterns ---- */

const char *filewatch_members_pattern(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

    return strpbrk(name, "*?[") ? name : NULL;
}

bool filewatch_members_match(const char *pattern, const char *name)
{
    return fnmatch(pattern, name, FNM_PERIOD | FNM_NOESCAPE) == 0;
}

/* ---- states ---- */

static uint64_t state_of_file(const char *path)
{
    struct {
        uint64_t dev, ino, size;
        int64_t mtime, mtime_ns, ctime, ctime_ns;
    } s;
    struct stat st;
    uint64_t h;

    if (stat(path, &st) < 0)
        return 0;
    s.dev = st.st_dev;
    s.ino = st.st_ino;
    s.size = (uint64_t)st.st_size;
    s.mtime = st.st_mtim.tv_sec;
    s.mtime_ns = st.st_mtim.tv_nsec;
    s.ctime = st.st_ctim.tv_sec;
    s.ctime_ns = st.st_ctim.tv_nsec;
    h = hash_bytes(&s, sizeof(s));
    return h ? h : 1;
}

/* Which names there are: what is in them is told by the members that they become. In any order. */
static uint64_t state_of_pattern(const char *path, const char *pattern)
{
    char folder[PATH_MAX];
    const struct dirent *e;
    uint64_t sum = 1;
    DIR *d;

    memcpy(folder, path, (size_t)(pattern - path));
    folder[pattern - path] = '\0';
    d = opendir(folder[0] ? folder : ".");
    if (!d)
        return 0;
    while ((e = readdir(d)) != NULL)
        if (filewatch_members_match(pattern, e->d_name))
            sum += hash_bytes(e->d_name, strlen(e->d_name));
    closedir(d);
    return sum;
}

static uint64_t state_of(const char *path)
{
    const char *pattern = filewatch_members_pattern(path);
    uint64_t file = state_of_file(path);

    return pattern ? file + state_of_pattern(path, pattern) : file;
}

bool filewatch_members_compare(struct filewatch_members *m)
{
    bool differs = false;

    for (size_t i = 0; i < m->n; i++) {
        uint64_t now = state_of(m->v[i].path);

        differs = differs || now != m->v[i].state;
        m->v[i].state = now;
    }
    return differs;
}

/* ---- the set ---- */

static int compare(const void *a, const void *b)
{
    uint64_t x = ((const struct filewatch_member *)a)->key, y = ((const struct filewatch_member *)b)->key;

    return x < y ? -1 : x > y;
}

static int measure(const char *const *paths, size_t n, size_t *ret_bytes)
{
    size_t bytes = 0;

    if (n > FILEWATCH_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(paths[i]);

        if (len >= PATH_MAX)
            return ERR_LIMIT;
        bytes += len + 1;
    }
    *ret_bytes = bytes;
    return 0;
}

static void copy_paths(struct filewatch_member *v, char *text, const char *const *paths, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(paths[i]);

        memcpy(text, paths[i], len + 1);
        v[i] = (struct filewatch_member){.key = hash_bytes(text, len), .path = text};
        text += len + 1;
    }
    if (n)
        qsort(v, n, sizeof(v[0]), compare);
}

int filewatch_members_copy(struct filewatch_members *m, const char *const *paths, size_t n)
{
    size_t bytes;
    int r = measure(paths, n, &bytes);

    *m = (struct filewatch_members){0};
    if (r < 0)
        return r;
    m->v = mem_array(n + 1, sizeof(*m->v));
    m->text = mem_alloc(bytes + 1);
    if (!m->v || !m->text) {
        filewatch_members_done(m);
        return ERR_NOMEM;
    }
    copy_paths(m->v, m->text, paths, n);
    m->n = n;
    return 0;
}

bool filewatch_members_keep(struct filewatch_members *m, const struct filewatch_members *before)
{
    bool news = false;

    for (size_t i = 0; i < m->n; i++) {
        const struct filewatch_member *old = NULL;

        if (before->n)
            old = bsearch(&m->v[i], before->v, before->n, sizeof(*old), compare);
        m->v[i].state = old ? old->state : state_of(m->v[i].path);
        news = news || !old;
    }
    return news;
}

void filewatch_members_done(struct filewatch_members *m)
{
    mem_free(m->v);
    mem_free(m->text);
    *m = (struct filewatch_members){0};
}
