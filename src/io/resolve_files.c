/* SPDX-License-Identifier: MIT */
/* resolve_files: keeps the tables of hosts and resolv.conf as the files are. Called by resolve.c
 * only. A file that is half there is not loaded: only closing, renaming and deleting count as
 * changes. When memory is refused the tables before stay in force.
 */
#include "io/resolve_files.h"

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    EVENT_BYTES = 4096, /* read at once */
    EVENT_READS = 64,   /* at most, per wake-up */
};

/* ---- reading ---- */

static struct resolve_file_state state_of(const struct stat *st)
{
    struct resolve_file_state s;

    memset(&s, 0, sizeof(s));
    s.dev = st->st_dev;
    s.ino = st->st_ino;
    s.size = st->st_size;
    s.mtime = st->st_mtim;
    s.ctime = st->st_ctim;
    return s;
}

static bool same_state(const struct resolve_file_state *a, const struct resolve_file_state *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec &&
           a->ctime.tv_sec == b->ctime.tv_sec && a->ctime.tv_nsec == b->ctime.tv_nsec;
}

static size_t read_all(int fd, char *p, size_t cap)
{
    size_t n = 0;

    while (n < cap) {
        ssize_t got = read(fd, p + n, cap - n);

        if (got <= 0)
            break;
        n += (size_t)got;
    }
    return n;
}

/* The file's bytes, in memory of the caller's, and how it looked. ERR_NOTFOUND: not there, or no
 * plain file. */
static int read_file(const char *path, char **ret_bytes, size_t *ret_n,
                     struct resolve_file_state *ret_state)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    size_t cap, n;
    char *bytes;
    int r = ERR_NOTFOUND;

    if (fd < 0)
        return r;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        goto out;
    cap = st.st_size < RESOLVE_FILES_BYTES ? (size_t)st.st_size : RESOLVE_FILES_BYTES;
    bytes = mem_alloc(cap);
    r = ERR_NOMEM;
    if (!bytes)
        goto out;
    n = read_all(fd, bytes, cap);
    /* A line cut by the bound would be another line. */
    if (st.st_size > RESOLVE_FILES_BYTES) {
        log_debug("%s: only the first %d bytes are used", path, RESOLVE_FILES_BYTES);
        while (n > 0 && bytes[n - 1] != '\n')
            n--;
    }
    *ret_bytes = bytes;
    *ret_n = n;
    *ret_state = state_of(&st);
    r = 0;
out:
    close(fd);
    return r;
}

static bool has_changed(const char *path, const struct resolve_file_state *known)
{
    struct resolve_file_state now = {0};
    struct stat st;

    if (stat(path, &st) == 0)
        now = state_of(&st);
    return !same_state(&now, known);
}

static int load_hosts(struct resolve_files *f)
{
    struct resolve_file_state state;
    struct resolve_hosts hosts;
    char *bytes;
    size_t n;
    int r = read_file(f->hosts_path, &bytes, &n, &state);

    if (r == ERR_NOTFOUND) {
        resolve_tables_free(&f->hosts);
        memset(&f->hosts_state, 0, sizeof(f->hosts_state));
        return 0;
    }
    if (r == 0)
        r = resolve_tables_hosts(bytes, n, &hosts);
    if (r < 0)
        return r;
    resolve_tables_free(&f->hosts);
    f->hosts = hosts;
    f->hosts_state = state;
    return 0;
}

/* A resolv.conf that is gone keeps its last content in force: it is about to be replaced. */
static int load_conf(struct resolve_files *f, bool *ret_changed)
{
    struct resolve_conf_file conf;
    struct resolve_file_state state;
    char *bytes;
    size_t n;
    int r = read_file(f->conf_path, &bytes, &n, &state);

    if (r == ERR_NOTFOUND)
        return 0;
    if (r < 0)
        return r;
    resolve_tables_conf(bytes, n, &conf);
    mem_free(bytes);
    f->conf_state = state;
    *ret_changed = memcmp(&conf, &f->conf, sizeof(conf)) != 0;
    f->conf = conf;
    return 0;
}

/* ---- noticing ---- */

static void directory_of(const char *path, char out[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;

    if (!slash || n >= PATH_MAX) {
        memcpy(out, ".", 2);
        return;
    }
    if (n == 0)
        n = 1; /* the root */
    memcpy(out, path, n);
    out[n] = '\0';
}

static const char *name_in(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* False when the directory cannot be watched: then changes would go unseen. */
static bool watch_path(int fd, const char *path)
{
    const uint32_t of_directory = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM |
                                  IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF;
    const uint32_t of_file = IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
    char real[PATH_MAX], directory[PATH_MAX];

    directory_of(path, directory);
    if (inotify_add_watch(fd, directory, of_directory | IN_ONLYDIR) < 0)
        return false;
    if (!realpath(path, real))
        return true;
    directory_of(real, directory);
    return inotify_add_watch(fd, directory, of_directory | IN_ONLYDIR) >= 0 &&
           inotify_add_watch(fd, path, of_file) >= 0;
}

/* A file that was just created is empty and not to be read until it is closed. A link comes whole.
 */
static bool is_whole(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && (S_ISLNK(st.st_mode) || st.st_nlink > 1);
}

/* Is this the file that the path means, by its own name or by that behind a symbolic link? */
static bool is_about(const struct inotify_event *e, const char *path)
{
    char real[PATH_MAX];

    if (!path)
        return false;
    if (strcmp(e->name, name_in(path)) == 0)
        return !(e->mask & IN_CREATE) || is_whole(path);
    if (!realpath(path, real) || strcmp(e->name, name_in(real)) != 0)
        return false;
    return !(e->mask & IN_CREATE) || is_whole(real);
}

/* An event without a name is about a watched file or directory itself, or says that events were
 * lost. */
static bool read_events(struct resolve_files *f)
{
    _Alignas(struct inotify_event) char buf[EVENT_BYTES];
    bool ours = false;

    for (unsigned i = 0; i < EVENT_READS; i++) {
        ssize_t n = read(f->watch.fd, buf, sizeof(buf));
        size_t at = 0;

        if (n <= 0)
            break;
        while (at < (size_t)n && !ours) {
            const struct inotify_event *e = (const void *)(buf + at);

            ours = e->len == 0 || is_about(e, f->hosts_path) || is_about(e, f->conf_path);
            at += sizeof(*e) + e->len;
        }
    }
    return ours;
}

static void set_dirty(struct resolve_files *f)
{
    if (f->dirty)
        return;
    f->dirty = true;
    f->due_ms = f->read_ms + RESOLVE_FILES_PAUSE_MS;
    task_wake(f->task, TASK_RX);
}

static void watch_ready(struct watch *w, unsigned events)
{
    struct resolve_files *f = CONTAINER_OF(w, struct resolve_files, watch);

    UNUSED(events);
    if (read_events(f))
        set_dirty(f);
}

static void unwatch(struct resolve_files *f)
{
    if (f->watch.fd < 0)
        return;
    loop_unwatch(f->task->loop, &f->watch);
    close(f->watch.fd);
    f->watch.fd = -1;
}

/* Anew after each change: files and directories behind the paths may be others now. */
static void watch_again(struct resolve_files *f)
{
    int fd;

    unwatch(f);
    if (f->task->loop->epfd < 0)
        return;
    fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0)
        return;
    if (!watch_path(fd, f->hosts_path) || (f->conf_path && !watch_path(fd, f->conf_path)))
        goto fail;
    f->watch = (struct watch){.fd = fd, .events = EPOLLIN, .ready = watch_ready};
    if (loop_watch(f->task->loop, &f->watch) == 0)
        return;
    f->watch.fd = -1;
fail:
    close(fd);
}

/* Watches first and looks then: a change in between is seen one way or the other. `told` by
 * inotify, both are read whatever their times say: two writes may fall into one tick of the file
 * system's clock. */
static int look(struct resolve_files *f, bool told, bool *ret_changed)
{
    int r = 0;

    watch_again(f);
    f->read_ms = f->task->loop->now_ms;
    if (f->conf_path && (told || has_changed(f->conf_path, &f->conf_state)))
        r = load_conf(f, ret_changed);
    if (r == 0 && (told || has_changed(f->hosts_path, &f->hosts_state)))
        r = load_hosts(f);
    f->dirty = r < 0; /* out of memory: once more, later */
    f->due_ms = r < 0 ? f->read_ms + RESOLVE_FILES_POLL_MS : UINT64_MAX;
    f->poll_ms = f->read_ms + RESOLVE_FILES_POLL_MS;
    return r;
}

bool resolve_files_run(struct resolve_files *f)
{
    bool changed = false;

    if (!f->dirty || f->task->loop->now_ms < f->due_ms)
        return false;
    if (look(f, true, &changed) < 0)
        log_debug("hosts or resolv.conf could not be read again: out of memory");
    return changed;
}

bool resolve_files_poll(struct resolve_files *f)
{
    uint64_t now_ms = f->task->loop->now_ms;
    bool changed = false;

    if (f->watch.fd >= 0 || now_ms < f->poll_ms)
        return false;
    if (look(f, false, &changed) < 0)
        log_debug("hosts or resolv.conf could not be read again: out of memory");
    return changed;
}

/* ---- life ---- */

int resolve_files_init(struct resolve_files *f, struct task *task, const char *hosts_path,
                       const char *conf_path)
{
    bool changed = false;
    int r = ERR_NOMEM;

    memset(f, 0, sizeof(*f));
    f->task = task;
    f->watch.fd = -1;
    f->conf.ndots = 1;
    f->due_ms = UINT64_MAX;
    f->hosts_path = mem_dup(hosts_path, strlen(hosts_path));
    if (conf_path)
        f->conf_path = mem_dup(conf_path, strlen(conf_path));
    if (f->hosts_path && (f->conf_path || !conf_path))
        r = look(f, true, &changed);
    if (r < 0)
        resolve_files_done(f);
    return r;
}

void resolve_files_done(struct resolve_files *f)
{
    unwatch(f);
    resolve_tables_free(&f->hosts);
    mem_free(f->hosts_path);
    mem_free(f->conf_path);
    f->hosts_path = f->conf_path = NULL;
}
