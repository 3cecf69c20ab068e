/* SPDX-License-Identifier: MIT */
/* filewatch_places: takes each watch of the kernel once and gives it back when no way leads through it any more. Called by filewatch
 * while it looks at its ways.
 */
#include "app/filewatch_places.h"

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

#include <string.h>
#include <sys/inotify.h>

/* Index of the watch, or of where it would stand. */
static size_t place_at(const struct filewatch_places *p, int wd)
{
    size_t lo = 0, hi = p->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (p->v[mid].wd < wd)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct filewatch_place *filewatch_places_find(const struct filewatch_places *p, int wd)
{
    size_t i = place_at(p, wd);

    return i < p->n && p->v[i].wd == wd ? &p->v[i] : NULL;
}

/* Room for one more: had before the kernel is asked for a watch, so that none is taken and not known. */
static int reserve(struct filewatch_places *p)
{
    size_t cap = p->cap ? p->cap * 2 : 16;
    struct filewatch_place *v;

    if (p->n < p->cap)
        return 0;
    v = mem_grow(p->v, cap * sizeof(*v));
    if (!v)
        return ERR_NOMEM;
    p->v = v;
    p->cap = cap;
    return 0;
}

static int insert(struct filewatch_places *p, int wd, const char *path)
{
    size_t i = place_at(p, wd);
    char *copy = mem_dup(path, strlen(path));

    if (!copy)
        return ERR_NOMEM;
    memmove(&p->v[i + 1], &p->v[i], (p->n - i) * sizeof(p->v[0]));
    p->v[i] = (struct filewatch_place){.wd = wd, .born = p->round, .seen = p->round, .path = copy};
    p->n++;
    return 0;
}

/* The same directory, maybe by another name than before. */
static int refresh(const struct filewatch_places *p, struct filewatch_place *place, const char *path)
{
    if (strcmp(place->path, path) != 0) {
        char *copy = mem_dup(path, strlen(path));

        if (!copy)
            return ERR_NOMEM;
        mem_free(place->path);
        place->path = copy;
    }
    place->seen = p->round;
    return 0;
}

int filewatch_places_add(struct filewatch_places *p, int fd, const char *path, uint32_t mask, int *ret_wd)
{
    struct filewatch_place *place;
    int wd, r = reserve(p);

    if (r < 0)
        return r;
    wd = inotify_add_watch(fd, path, mask | IN_MASK_ADD);
    if (wd < 0) {
        *ret_wd = -errno;
        return 0;
    }
    place = filewatch_places_find(p, wd);
    r = place ? refresh(p, place, path) : insert(p, wd, path);
    if (r < 0) {
        if (!place)
            inotify_rm_watch(fd, wd);
        return r;
    }
    *ret_wd = wd;
    return 0;
}

void filewatch_places_remove(struct filewatch_places *p, struct filewatch_place *place)
{
    size_t i = (size_t)(place - p->v);

    mem_free(place->path);
    p->n--;
    memmove(&p->v[i], &p->v[i + 1], (p->n - i) * sizeof(p->v[0]));
}

int filewatch_places_give_back(struct filewatch_places *p, int fd, bool failed)
{
    for (size_t i = p->n; i-- > 0;) {
        struct filewatch_place *place = &p->v[i];
        int wd = place->wd;

        if (failed ? place->born != p->round : place->seen == p->round)
            continue;
        /* May be gone already, with its directory. */
        if (inotify_rm_watch(fd, wd) < 0)
            log_debug("%s: watch %d: %s", place->path, wd, err_text(-errno));
        filewatch_places_remove(p, place);
        return wd;
    }
    return -1;
}

void filewatch_places_done(struct filewatch_places *p)
{
    while (p->n)
        mem_free(p->v[--p->n].path);
    mem_free(p->v);
    *p = (struct filewatch_places){0};
}
