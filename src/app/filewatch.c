/* SPDX-License-Identifier: MIT */
/* filewatch: looks at the way to each member, name by name, takes a watch of each directory on it, and remembers which names of
 * which directory matter ("points", and patterns of them). An event about one means: something happened; if it was about the way itself (a name
 * appeared, went or was replaced), the ways are looked at anew. Called by app on the main thread. It reads no file and
 * never blocks, but for the file system's own answers about names.
 */
#include "app/filewatch.h"

#include "app/filewatch_members.h"
#include "app/filewatch_places.h"
#include "app/filewatch_way.h"
#include "base/check.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILEWATCH_MAGIC 0xf17e3a7cu

enum {
    EVENT_BYTES = 16384, /* read at once */
    EVENT_READS = 64,    /* at most, per wake-up */
    LOOK_READS = 4096,   /* at most, when somebody must know what has happened until now */
};

/* What a name means; bits add up. */
enum {
    ON_THE_WAY = 1, /* a directory or symlink that leads to a member */
    MEMBER = 2,
};

static const uint32_t of_names = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB;
static const uint32_t of_itself = IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT;
static const uint32_t of_content = IN_MODIFY | IN_CLOSE_WRITE;

/* A name in a watched directory, as a hash of both. */
struct point {
    uint64_t key;
    unsigned meaning;
};

/* The names in a watched directory that match the last component of a member. */
struct pattern {
    int wd;
    const char *text; /* in the set's */
};

struct busy {
    int wd;
    char name[NAME_MAX + 1]; /* "": the watched file itself */
};

struct filewatch {
    unsigned magic;
    struct loop *loop;
    struct task *task;
    struct watch watch; /* inotify; fd -1: none */
    struct task own;
    struct timer quiet, poll;
    struct filewatch_members members;
    struct point *points; /* by key, each once */
    size_t n_points;
    struct pattern *patterns;
    size_t n_patterns;
    struct filewatch_places places;
    struct busy busy[FILEWATCH_BUSY_MAX];
    unsigned n_busy;
    uint64_t n_changes;
    uint64_t dirty_ms; /* since when the quiet time has been put off; 0: a busy member was the reason */
    bool dirty;   /* something happened since the task was woken */
    bool moved;   /* the ways must be looked at anew */
    bool polling; /* states are known, the poll timer runs */
};

/* ---- points ---- */

static uint64_t key_of(int wd, const char *name)
{
    char bytes[sizeof(wd) + NAME_MAX + 1];
    size_t n = strnlen(name, NAME_MAX);

    memcpy(bytes, &wd, sizeof(wd));
    memcpy(bytes + sizeof(wd), name, n);
    return hash_bytes(bytes, sizeof(wd) + n);
}

static int compare_keys(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_points(const void *a, const void *b)
{
    return compare_keys(((const struct point *)a)->key, ((const struct point *)b)->key);
}

static unsigned meaning_of(const struct filewatch *w, int wd, const char *name)
{
    const struct point wanted = {.key = key_of(wd, name)};
    const struct point *p = NULL;
    unsigned meaning;

    if (w->n_points)
        p = bsearch(&wanted, w->points, w->n_points, sizeof(*p), compare_points);
    meaning = p ? p->meaning : 0;
    for (size_t i = 0; i < w->n_patterns && name[0] && !(meaning & MEMBER); i++)
        if (w->patterns[i].wd == wd && filewatch_members_match(w->patterns[i].text, name))
            meaning |= MEMBER;
    return meaning;
}

/* ---- places ---- */

static void drop_busy_of(struct filewatch *w, int wd)
{
    unsigned n = 0;

    for (unsigned i = 0; i < w->n_busy; i++)
        if (w->busy[i].wd != wd)
            w->busy[n++] = w->busy[i];
    w->n_busy = n;
}

static void remove_place(struct filewatch *w, struct filewatch_place *p)
{
    drop_busy_of(w, p->wd);
    filewatch_places_remove(&w->places, p);
}

static void give_back(struct filewatch *w, bool failed)
{
    int wd;

    while ((wd = filewatch_places_give_back(&w->places, w->watch.fd, failed)) >= 0)
        drop_busy_of(w, wd);
}

/* ---- looking at the ways ---- */

struct look {
    struct filewatch *w;
    struct point *points;
    size_t n, cap;
    struct pattern *patterns; /* room for one a member */
    size_t n_patterns;
    const char *pattern; /* the last component of the member, until its directory was reached; NULL: it has no wildcards */
    bool blind; /* something cannot be watched */
};

static int add_point(struct look *l, int wd, const char *name, unsigned meaning)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        struct point *p = mem_grow(l->points, cap * sizeof(*p));

        if (!p)
            return ERR_NOMEM;
        l->points = p;
        l->cap = cap;
    }
    l->points[l->n++] = (struct point){.key = key_of(wd, name), .meaning = meaning};
    return 0;
}

/* Of a name that was unlinked or replaced, a writer that still has the file says nothing. */
static int add_place(struct look *l, const char *path, uint32_t mask, int *ret_wd)
{
    return filewatch_places_add(&l->w->places, l->w->watch.fd, path, mask | of_itself | IN_EXCL_UNLINK, ret_wd);
}

/* The directory we are in is watched for the name. *ret_hidden: it may be passed but not read, so it cannot be watched. */
static int note_name(struct look *l, const struct filewatch_way *k, bool *ret_hidden)
{
    unsigned meaning = k->rest[0] ? ON_THE_WAY : MEMBER;
    uint32_t mask = of_names | IN_ONLYDIR | (meaning == MEMBER ? of_content : 0);
    int wd, r = add_place(l, k->at, mask, &wd);

    if (r < 0)
        return r;
    *ret_hidden = wd == -EACCES;
    if (wd >= 0 && meaning == MEMBER && l->pattern)
        l->patterns[l->n_patterns++] = (struct pattern){.wd = wd, .text = l->pattern};
    /* What a link behind the last component says is no pattern. */
    if (meaning == MEMBER)
        l->pattern = NULL;
    if (wd >= 0)
        return add_point(l, wd, k->name, meaning);
    /* A directory that has just gone is told by the one above it. */
    if (wd != -EACCES && wd != -ENOENT && wd != -ENOTDIR)
        l->blind = true;
    return 0;
}

static bool is_mount(const char *path)
{
    struct statx sx;

    return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, 0, &sx) == 0 && sx.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

/* The member was reached. */
static int note_end(struct look *l, const char *path)
{
    int wd, r;

    if (!is_mount(path))
        return 0;
    r = add_place(l, path, of_content | IN_ATTRIB, &wd);
    if (r == 0 && wd >= 0)
        return add_point(l, wd, "", MEMBER);
    if (r == 0 && wd != -ENOENT)
        l->blind = true;
    return r;
}

/* Watches first and reads the link then: a change in between is told. Where the way ends early (nothing there yet, a loop), what was
 * noted so far tells when that changes. Bound: each round takes a name off the rest, which grows FILEWATCH_WAY_LINKS_MAX times at most. */
static int look_at(struct look *l, const char *path)
{
    enum filewatch_way_step step;
    char target[PATH_MAX];
    struct filewatch_way k;

    l->pattern = filewatch_members_pattern(path);
    if (!filewatch_way_start(&k, path)) {
        l->blind = true;
        return 0;
    }
    while ((step = filewatch_way_next(&k)) == FILEWATCH_WAY_NAME) {
        bool hidden;
        ssize_t n;
        int r = note_name(l, &k, &hidden);

        if (r < 0)
            return r;
        n = readlink(k.child, target, sizeof(target));
        /* Nobody could tell that this name is another now; that a plain directory is, it tells itself. */
        if (hidden && (n >= 0 || errno != EINVAL || !k.rest[0]))
            l->blind = true;
        if (n < 0 && errno != EINVAL)
            return 0;
        if (n < 0)
            filewatch_way_enter(&k);
        else if (!filewatch_way_follow(&k, target, (size_t)n))
            return 0;
    }
    return step == FILEWATCH_WAY_END ? note_end(l, k.at) : 0;
}

static void sort_points(struct look *l)
{
    size_t n = 0;

    if (!l->n)
        return;
    qsort(l->points, l->n, sizeof(l->points[0]), compare_points);
    for (size_t i = 1; i < l->n; i++) {
        if (l->points[i].key == l->points[n].key)
            l->points[n].meaning |= l->points[i].meaning;
        else
            l->points[++n] = l->points[i];
    }
    l->n = n + 1;
}

static void drop_busy_strangers(struct filewatch *w)
{
    unsigned n = 0;

    for (unsigned i = 0; i < w->n_busy; i++)
        if (meaning_of(w, w->busy[i].wd, w->busy[i].name) & MEMBER)
            w->busy[n++] = w->busy[i];
    w->n_busy = n;
}

/* Looks at all ways; *ret_blind: inotify does not tell everything. ERR_NOMEM: as before. */
static int look(struct filewatch *w, const struct filewatch_members *m, bool *ret_blind)
{
    struct look l = {.w = w, .blind = w->watch.fd < 0};
    int r = 0;

    l.patterns = mem_array(m->n + 1, sizeof(*l.patterns));
    if (!l.patterns)
        return ERR_NOMEM;
    w->places.round++;
    for (size_t i = 0; i < m->n && w->watch.fd >= 0 && r == 0; i++)
        r = look_at(&l, m->v[i].path);
    if (r < 0) {
        mem_free(l.points);
        mem_free(l.patterns);
        give_back(w, true);
        return r;
    }
    sort_points(&l);
    mem_free(w->points);
    w->points = l.points;
    w->n_points = l.n;
    mem_free(w->patterns);
    w->patterns = l.patterns;
    w->n_patterns = l.n_patterns;
    give_back(w, false);
    drop_busy_strangers(w);
    w->moved = false;
    *ret_blind = l.blind;
    return 0;
}

/* ---- quiet ---- */

/* Each change begins the quiet time anew, but not for ever. */
static void put_off(struct filewatch *w)
{
    uint64_t now = w->loop->now_ms, end;

    if (!w->dirty || !w->dirty_ms)
        w->dirty_ms = now;
    w->dirty = true;
    end = w->dirty_ms + FILEWATCH_STARVE_MS;
    timer_set(&w->quiet, end <= now ? 0 : min_size(end - now, FILEWATCH_QUIET_MS));
}

static void changed(struct filewatch *w)
{
    w->n_changes++;
    put_off(w);
}

/* ---- polling ---- */

static void set_polling(struct filewatch *w, bool on)
{
    if (on && !w->polling)
        filewatch_members_compare(&w->members);
    w->polling = on;
    if (!on)
        timer_stop(&w->poll);
    else if (!timer_armed(&w->poll))
        timer_set(&w->poll, FILEWATCH_POLL_MS);
}

static void look_again(struct filewatch *w)
{
    bool blind;

    if (look(w, &w->members, &blind) < 0) {
        log_debug("the configuration's files could not be looked at: out of memory; once more, later");
        blind = true;
    }
    set_polling(w, blind);
}

/* ---- events ---- */

static void set_busy(struct filewatch *w, int wd, const char *name, bool on)
{
    unsigned i = 0;

    while (i < w->n_busy && (w->busy[i].wd != wd || strcmp(w->busy[i].name, name) != 0))
        i++;
    if (on && i == w->n_busy && i < FILEWATCH_BUSY_MAX) {
        w->busy[i].wd = wd;
        snprintf(w->busy[i].name, sizeof(w->busy[i].name), "%s", name);
        w->n_busy++;
    } else if (!on && i < w->n_busy) {
        w->busy[i] = w->busy[--w->n_busy];
    }
}

/* Somebody has made it and not written yet: an empty file would be a whole configuration. What came by link(2) has content. */
static bool is_unwritten(const struct filewatch_place *p, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    int n = snprintf(path, sizeof(path), "%s/%s", p->path, name);

    return n > 0 && (size_t)n < sizeof(path) && lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0 &&
           st.st_nlink == 1;
}

/* Another file under the name ends what was about the old one; if somebody writes that too, its next event says so. */
static void track_writing(struct filewatch *w, const struct inotify_event *e, const struct filewatch_place *p, const char *name)
{
    if (e->mask & IN_MODIFY)
        set_busy(w, e->wd, name, true);
    else if (e->mask & IN_CREATE)
        set_busy(w, e->wd, name, is_unwritten(p, name));
    else if (e->mask & (IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO))
        set_busy(w, e->wd, name, false);
}

/* The watched thing itself: gone, moved, or (a file that is a mount) written. */
static void take_own_event(struct filewatch *w, const struct inotify_event *e, struct filewatch_place *p)
{
    if (e->mask & IN_IGNORED)
        remove_place(w, p);
    else if (e->mask & (of_content | IN_ATTRIB) && !(meaning_of(w, e->wd, "") & MEMBER))
        return;
    else
        track_writing(w, e, p, "");
    if (e->mask & (IN_IGNORED | of_itself))
        w->moved = true;
    changed(w);
}

static void take_name_event(struct filewatch *w, const struct inotify_event *e, const struct filewatch_place *p)
{
    unsigned meaning = meaning_of(w, e->wd, e->name);

    if (meaning & MEMBER)
        track_writing(w, e, p, e->name);
    else if (!(meaning & ON_THE_WAY) || e->mask & of_content)
        return;
    if (e->mask & of_names)
        w->moved = true;
    changed(w);
}

static void take_event(struct filewatch *w, const struct inotify_event *e)
{
    struct filewatch_place *p;

    if (e->mask & IN_Q_OVERFLOW) {
        /* Events are lost: maybe the closing of what we think is being written, which then would stay so for ever. */
        w->n_busy = 0;
        w->moved = true;
        changed(w);
        return;
    }
    p = filewatch_places_find(&w->places, e->wd);
    if (!p)
        return; /* of a watch that was given back */
    if (e->len && e->name[0])
        take_name_event(w, e, p);
    else
        take_own_event(w, e, p);
}

/* True when there is nothing more to read. */
static bool read_events(struct filewatch *w, unsigned reads)
{
    _Alignas(struct inotify_event) char buf[EVENT_BYTES];
    bool empty = false;

    for (unsigned i = 0; i < reads && !empty; i++) {
        ssize_t n = read(w->watch.fd, buf, sizeof(buf));

        for (size_t at = 0; n > 0 && at < (size_t)n;) {
            const struct inotify_event *e = (const void *)(buf + at);

            take_event(w, e);
            at += sizeof(*e) + e->len;
        }
        empty = n <= 0;
    }
    /* At once: what is written behind a swapped link should not go unseen. */
    if (w->moved)
        look_again(w);
    return empty;
}

static void watch_ready(struct watch *watch, unsigned events)
{
    struct filewatch *w = OBJ_CAST(struct filewatch, CONTAINER_OF(watch, struct filewatch, watch), FILEWATCH_MAGIC);

    UNUSED(events);
    read_events(w, EVENT_READS);
}

/* No inotify is no error: then it polls. */
static void open_inotify(struct filewatch *w)
{
    if (w->loop->epfd < 0)
        return;
    w->watch = (struct watch){.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), .events = EPOLLIN, .ready = watch_ready};
    if (w->watch.fd >= 0 && loop_watch(w->loop, &w->watch) < 0) {
        close(w->watch.fd);
        w->watch.fd = -1;
    }
}

/* ---- time ---- */

static void run_poll(struct filewatch *w)
{
    if (w->watch.fd < 0)
        open_inotify(w);
    look_again(w);
    if (filewatch_members_compare(&w->members))
        changed(w);
}

/* While something is busy nobody is woken; the event that ends that starts the quiet time anew. */
static void run_quiet(struct filewatch *w)
{
    bool starving = w->loop->now_ms >= w->dirty_ms + FILEWATCH_STARVE_MS;

    if (w->n_busy) {
        w->dirty_ms = 0;
        return;
    }
    if (w->polling && filewatch_members_compare(&w->members) && !starving) {
        changed(w);
        return;
    }
    w->dirty = false;
    task_wake(w->task, TASK_RX);
}

static void filewatch_run(struct task *t, unsigned bits)
{
    struct filewatch *w = OBJ_CAST(struct filewatch, CONTAINER_OF(t, struct filewatch, own), FILEWATCH_MAGIC);

    UNUSED(bits);
    if (w->polling && !timer_armed(&w->poll))
        run_poll(w);
    if (w->dirty && !timer_armed(&w->quiet))
        run_quiet(w);
}

/* ---- the set ---- */

int filewatch_set(struct filewatch *w, const char *const *paths, size_t n)
{
    struct filewatch_members members;
    bool blind, news;
    int r;

    OBJ_CHECK(w, FILEWATCH_MAGIC);
    r = filewatch_members_copy(&members, paths, n);
    if (r < 0)
        return r;
    r = look(w, &members, &blind);
    if (r < 0) {
        filewatch_members_done(&members);
        return r;
    }
    news = filewatch_members_keep(&members, &w->members);
    filewatch_members_done(&w->members);
    w->members = members;
    set_polling(w, blind);
    /* What was busy may not be a member any more: then nobody else starts the quiet time. */
    if (news || (w->dirty && !timer_armed(&w->quiet)))
        put_off(w);
    return 0;
}

/* ---- life ---- */

int filewatch_new(struct loop *loop, struct task *task, struct filewatch **ret_w)
{
    struct filewatch *w = mem_zalloc(sizeof(*w));

    if (!w)
        return ERR_NOMEM;
    w->magic = FILEWATCH_MAGIC;
    w->loop = loop;
    w->task = task;
    w->watch.fd = -1;
    task_init(&w->own, loop, "filewatch", filewatch_run);
    timer_init(&w->quiet, &w->own);
    timer_init(&w->poll, &w->own);
    open_inotify(w);
    set_polling(w, w->watch.fd < 0);
    *ret_w = w;
    return 0;
}

void filewatch_free(struct filewatch *w)
{
    if (!w)
        return;
    OBJ_CHECK(w, FILEWATCH_MAGIC);
    timer_stop(&w->quiet);
    timer_stop(&w->poll);
    task_cancel(&w->own);
    if (w->watch.fd >= 0) {
        loop_unwatch(w->loop, &w->watch);
        close(w->watch.fd);
    }
    filewatch_places_done(&w->places);
    mem_free(w->points);
    mem_free(w->patterns);
    filewatch_members_done(&w->members);
    w->magic = OBJ_DEAD;
    mem_free(w);
}

uint64_t filewatch_look(struct filewatch *w)
{
    OBJ_CHECK(w, FILEWATCH_MAGIC);
    /* Where somebody makes changes faster than they are read, there are some that nobody has seen. */
    if (w->watch.fd >= 0 && !read_events(w, LOOK_READS))
        changed(w);
    if (w->polling && filewatch_members_compare(&w->members))
        changed(w);
    return w->n_changes;
}

bool filewatch_busy(const struct filewatch *w)
{
    return w->n_busy > 0;
}

bool filewatch_instant(const struct filewatch *w)
{
    return !w->polling;
}
