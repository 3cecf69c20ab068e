/* SPDX-License-Identifier: MIT */
/* quota_file: a line a bucket: limit, end of its span, bytes, whose it is; the last line says how many there are, and a sum over all before. Called by serve and
 * reload when a limit has a quota; the thread sleeps until something was counted, then ten seconds, then writes. A quiet proxy writes nothing.
 */
#include "app/quota_file.h"

#include "app/file_write.h"
#include "app/text.h"
#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEADER "ginnel quota 1\n"

struct quota_file {
    struct charge_table *table;
    char path[QUOTA_PATH + 16], fresh[QUOTA_PATH + 16], lock_path[QUOTA_PATH + 16];
    int lock_fd;
    pthread_t thread;
    pthread_mutex_t lock; /* over the two below */
    pthread_cond_t cond;
    bool dirty, stop;
    bool failing; /* the last write failed: said once */
};

/* ---- text ---- */

static uint64_t sum_of(struct slice s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * UINT64_C(0x100000001b3);
    return h;
}

struct writing {
    struct text text;
    uint64_t wall_ms;
    unsigned n;
};

static bool put_bucket(void *ctx, const struct charge_bucket *b)
{
    struct writing *w = ctx;
    uint64_t used = atomic_load_explicit(&b->quota_used, memory_order_relaxed), end_ms = atomic_load_explicit(&b->quota_end_ms, memory_order_relaxed);

    if (!used || end_ms <= w->wall_ms)
        return true;
    w->n++;
    text_printf(&w->text, "%016llx %llu %llu ", (unsigned long long)b->limit, (unsigned long long)end_ms, (unsigned long long)used);
    for (unsigned i = 0; i < b->n_key; i++) {
        unsigned char c = (unsigned char)b->key[i];

        if (c > 0x20 && c < 0x7f && c != '\\')
            text_put(&w->text, &b->key[i], 1);
        else
            text_printf(&w->text, "\\x%02x", c);
    }
    text_put(&w->text, "\n", 1);
    return true;
}

char *quota_file_text(struct charge_table *t, uint64_t wall_ms, size_t *ret_n)
{
    struct writing w = {.wall_ms = wall_ms};
    char *p;
    size_t n;

    text_str(&w.text, HEADER);
    charge_table_each(t, put_bucket, &w);
    p = text_take(&w.text, &n);
    if (!p)
        return NULL;
    w.text = (struct text){0};
    text_put(&w.text, p, n);
    text_printf(&w.text, "end %u %016llx\n", w.n, (unsigned long long)sum_of(slice_of(p, n)));
    mem_free(p);
    return text_take(&w.text, ret_n);
}

/* Up to that byte, which is taken too. */
static bool take(struct slice *s, char until, struct slice *ret_s)
{
    size_t n = slice_find(*s, until);

    if (n == s->n)
        return false;
    *ret_s = slice_of(s->p, n);
    *s = slice_skip(*s, n + 1);
    return true;
}

static int unescape(struct slice s, char out[CHARGE_KEY], size_t *ret_n)
{
    size_t n = 0;
    uint64_t v;

    while (s.n) {
        size_t used = 1;

        if (n == CHARGE_KEY)
            return ERR_SYNTAX;
        v = (unsigned char)s.p[0];
        if (s.p[0] == '\\') {
            if (s.n < 4 || s.p[1] != 'x' || num_hex(slice_of(s.p + 2, 2), 0xff, &v) < 0)
                return ERR_SYNTAX;
            used = 4;
        }
        out[n++] = (char)v;
        s = slice_skip(s, used);
    }
    *ret_n = n;
    return 0;
}

struct entry {
    uint64_t limit, end_ms, used;
    char key[CHARGE_KEY];
    size_t n_key;
};

static int parse_line(struct slice line, struct entry *ret_e)
{
    struct slice limit, end_ms, used;

    if (!take(&line, ' ', &limit) || !take(&line, ' ', &end_ms) || !take(&line, ' ', &used))
        return ERR_SYNTAX;
    if (num_hex(limit, UINT64_MAX, &ret_e->limit) < 0 || num_dec(end_ms, UINT64_MAX, &ret_e->end_ms) < 0 ||
        num_dec(used, UINT64_MAX, &ret_e->used) < 0)
        return ERR_SYNTAX;
    return unescape(line, ret_e->key, &ret_e->n_key);
}

static int put_back(struct charge_table *t, const struct entry *e, uint64_t wall_ms)
{
    struct charge_bucket *b;

    if (e->end_ms <= wall_ms)
        return 0;
    b = charge_pin_saved(t, e->limit, slice_of(e->key, e->n_key), wall_ms);
    if (!b)
        return ERR_NOMEM;
    /* What was counted since stays: of two the later end is the present span. */
    if (atomic_load(&b->quota_end_ms) <= wall_ms)
        atomic_store(&b->quota_end_ms, e->end_ms);
    charge_quota_add(b, e->used);
    charge_unpin(&b);
    return 1;
}

/* The last line. */
static int check_end(struct slice text, struct slice *ret_lines)
{
    static const char tail[] = "end ";
    struct slice lines = text, last, n;
    uint64_t count, sum, have = 0;

    if (text.n == 0 || text.p[text.n - 1] != '\n')
        return ERR_SYNTAX;
    lines.n--;
    while (lines.n && lines.p[lines.n - 1] != '\n')
        lines.n--;
    last = slice_of(text.p + lines.n, text.n - lines.n - 1);
    if (last.n < sizeof(tail) || memcmp(last.p, tail, sizeof(tail) - 1) != 0)
        return ERR_SYNTAX;
    last = slice_skip(last, sizeof(tail) - 1);
    if (!take(&last, ' ', &n) || num_dec(n, UINT32_MAX, &count) < 0 || num_hex(last, UINT64_MAX, &sum) < 0)
        return ERR_SYNTAX;
    for (size_t i = 0; i < lines.n; i++)
        have += lines.p[i] == '\n';
    if (sum != sum_of(lines) || have != count + 1)
        return ERR_SYNTAX;
    *ret_lines = lines;
    return 0;
}

int quota_file_parse(struct charge_table *t, struct slice text, uint64_t wall_ms, unsigned *ret_n)
{
    struct slice lines, line;
    struct entry e;
    unsigned n = 0;

    if (check_end(text, &lines) < 0 || lines.n < sizeof(HEADER) - 1 || memcmp(lines.p, HEADER, sizeof(HEADER) - 1) != 0)
        return ERR_SYNTAX;
    lines = slice_skip(lines, sizeof(HEADER) - 1);
    for (struct slice all = lines; take(&all, '\n', &line);)
        if (parse_line(line, &e) < 0)
            return ERR_SYNTAX;
    while (take(&lines, '\n', &line)) {
        int r = parse_line(line, &e) < 0 ? ERR_SYNTAX : put_back(t, &e, wall_ms);

        if (r < 0)
            return r;
        n += (unsigned)r;
    }
    *ret_n = n;
    return 0;
}

/* ---- the file ---- */

static uint64_t wall_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int write_fresh(const struct quota_file *q, const char *p, size_t n)
{
    int fd = open(q->fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), r;

    if (fd < 0)
        return -errno;
    r = file_write_all(fd, slice_of(p, n));
    if (r == 0 && fsync(fd))
        r = -errno;
    if (close(fd) && r == 0)
        r = -errno;
    if (r == 0 && rename(q->fresh, q->path))
        r = -errno;
    return r;
}

static void save(struct quota_file *q)
{
    size_t n;
    char *p = quota_file_text(q->table, wall_now(), &n);
    int r = p ? write_fresh(q, p, n) : ERR_NOMEM;

    mem_free(p);
    if (r < 0 && !q->failing)
        log_error("quotas cannot be saved in %s: %s; what is counted now would be lost at a restart", q->path, err_text(r));
    else if (r == 0 && q->failing)
        log_info("quotas are saved in %s again", q->path);
    q->failing = r < 0;
}

/* ERR_NOTFOUND: there is none yet. The caller frees. */
static int read_all(const char *path, char **ret_p, size_t *ret_n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), r = ERR_NOMEM;
    struct stat st;
    size_t n = 0;
    char *p;

    if (fd < 0)
        return errno == ENOENT ? ERR_NOTFOUND : -errno;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > QUOTA_FILE_MAX) {
        close(fd);
        return ERR_SYNTAX;
    }
    p = mem_alloc((size_t)st.st_size + 1);
    while (p) {
        ssize_t got = read(fd, p + n, (size_t)st.st_size - n);

        if (got < 0 && errno == EINTR)
            continue;
        r = got < 0 ? -errno : 0;
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    if (r < 0) {
        mem_free(p);
        return r;
    }
    *ret_p = p;
    *ret_n = n;
    return 0;
}

static void put_aside(const struct quota_file *q)
{
    char aside[sizeof(q->path) + 16];

    snprintf(aside, sizeof(aside), "%s.damaged", q->path);
    if (rename(q->path, aside))
        log_error("%s is damaged, and cannot be put aside: %s; quotas begin at zero", q->path, err_text(-errno));
    else
        log_error("%s is damaged: it is %s now, and quotas begin at zero", q->path, aside);
}

static void load(struct quota_file *q)
{
    char *p = NULL;
    size_t n = 0;
    unsigned loaded = 0;
    int r = read_all(q->path, &p, &n);

    if (r == 0)
        r = quota_file_parse(q->table, slice_of(p, n), wall_now(), &loaded);
    mem_free(p);
    if (r == ERR_SYNTAX)
        put_aside(q);
    else if (r < 0 && r != ERR_NOTFOUND)
        log_error("quotas cannot be read from %s: %s; they begin at zero", q->path, err_text(r));
    else
        log_info("quotas are kept in %s: %u of them count already", q->path, loaded);
}

/* ---- the thread ---- */

/* Any thread, at most once between two writes. */
static void changed(void *owner)
{
    struct quota_file *q = owner;

    pthread_mutex_lock(&q->lock);
    q->dirty = true;
    pthread_cond_signal(&q->cond);
    pthread_mutex_unlock(&q->lock);
}

/* Until a change is so old, or the end; with the lock. */
static void wait_for_more(struct quota_file *q)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += QUOTA_FILE_MS / 1000;
    while (!q->stop && pthread_cond_timedwait(&q->cond, &q->lock, &until) != ETIMEDOUT)
        ;
}

static void *quota_thread(void *arg)
{
    struct quota_file *q = arg;

    pthread_setname_np(pthread_self(), "ginnel-quota");
    pthread_mutex_lock(&q->lock);
    while (!q->stop) {
        if (!q->dirty) {
            pthread_cond_wait(&q->cond, &q->lock);
            continue;
        }
        wait_for_more(q);
        if (q->stop)
            break;
        q->dirty = false;
        pthread_mutex_unlock(&q->lock);
        /* What is counted from here on calls changed() again. */
        charge_table_settled(q->table);
        save(q);
        pthread_mutex_lock(&q->lock);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* ---- life ---- */

static int make_folder(const char *path)
{
    return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

/* Its parents as well: ~/.local/state may not be there yet. What fails shows when the file is opened. */
static void make_folders(const char *path)
{
    char part[QUOTA_PATH];

    snprintf(part, sizeof(part), "%s", path);
    for (char *p = strchr(part + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        UNUSED(make_folder(part));
        *p = '/';
    }
    UNUSED(make_folder(part));
}

int quota_file_folder(char out[QUOTA_PATH])
{
    struct slice given = slice_str(getenv("STATE_DIRECTORY"));
    const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n;

    if (given.n) {
        given.n = slice_find(given, ':');
        n = snprintf(out, QUOTA_PATH, SLICE_FMT, SLICE_ARG(given));
    } else if (geteuid() == 0) {
        n = snprintf(out, QUOTA_PATH, "/var/lib/ginnel");
    } else if (xdg && xdg[0] == '/') {
        n = snprintf(out, QUOTA_PATH, "%s/ginnel", xdg);
    } else if (home && home[0] == '/') {
        n = snprintf(out, QUOTA_PATH, "%s/.local/state/ginnel", home);
    } else {
        return ERR_NOTFOUND;
    }
    if (n >= QUOTA_PATH)
        return ERR_LIMIT;
    make_folders(out);
    return 0;
}

static int take_lock(struct quota_file *q)
{
    q->lock_fd = open(q->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (q->lock_fd < 0)
        return -errno;
    if (flock(q->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    close(q->lock_fd);
    return -errno;
}

static int start_thread(struct quota_file *q)
{
    pthread_condattr_t attr;
    int r;

    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q->cond, &attr);
    pthread_condattr_destroy(&attr);
    r = pthread_create(&q->thread, NULL, quota_thread, q);
    if (r) {
        pthread_cond_destroy(&q->cond);
        pthread_mutex_destroy(&q->lock);
    }
    return -r;
}

struct quota_file *quota_file_start(struct charge_table *t, const char *folder)
{
    struct quota_file *q = mem_zalloc(sizeof(*q));
    int r = ERR_NOMEM;

    if (!q)
        goto fail;
    q->table = t;
    snprintf(q->path, sizeof(q->path), "%s/quota", folder);
    snprintf(q->fresh, sizeof(q->fresh), "%s/quota.new", folder);
    snprintf(q->lock_path, sizeof(q->lock_path), "%s/quota.lock", folder);
    r = take_lock(q);
    if (r == -EWOULDBLOCK)
        log_error("another ginnel keeps its quotas in %s: those of this one are not saved (STATE_DIRECTORY names another folder)", folder);
    if (r < 0)
        goto fail;
    load(q);
    r = start_thread(q);
    if (r < 0)
        goto fail_lock;
    charge_table_on_change(t, changed, q);
    return q;

fail_lock:
    close(q->lock_fd);
fail:
    if (r != -EWOULDBLOCK)
        log_error("quotas are not saved, and begin at zero: %s: %s", folder, err_text(r));
    mem_free(q);
    return NULL;
}

void quota_file_stop(struct quota_file *q)
{
    if (!q)
        return;
    charge_table_on_change(q->table, NULL, NULL);
    pthread_mutex_lock(&q->lock);
    q->stop = true;
    pthread_cond_signal(&q->cond);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->thread, NULL);
    save(q);
    pthread_cond_destroy(&q->cond);
    pthread_mutex_destroy(&q->lock);
    close(q->lock_fd);
    mem_free(q);
}
