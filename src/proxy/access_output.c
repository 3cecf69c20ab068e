/* SPDX-License-Identifier: MIT */
/* access_output: descriptors that take lines, each in its way, and what becomes of lines when one
 * does not. Called by the log's thread, and by whoever opens a set. It must never wait: a regular
 * file is the only thing that can hold it up.
 */
#include "proxy/access_output.h"

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/access_syslog.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* ---- opening ---- */

const char *access_output_name(const struct access_output *spec, char text[ADDR_TEXT_MAX])
{
    switch (spec->sink) {
    case ACCESS_STDERR:
        return "stderr";
    case ACCESS_STDOUT:
        return "stdout";
    case ACCESS_FILE:
    case ACCESS_SYSLOG_UNIX:
        return spec->path;
    case ACCESS_SYSLOG_UDP:
        addr_text(&spec->udp, text);
        return text;
    }
    return "";
}

static int learn(struct access_opened *o)
{
    struct stat st;

    if (fstat(o->fd, &st) < 0)
        return -errno;
    o->dev = st.st_dev;
    o->ino = st.st_ino;
    if (S_ISSOCK(st.st_mode))
        o->way = ACCESS_WAY_SOCKET;
    else if (S_ISREG(st.st_mode) || o->owned)
        o->way = ACCESS_WAY_WHOLE; /* owned: opened with O_NONBLOCK */
    else
        o->way = ACCESS_WAY_PIECES;
    return 0;
}

/* O_NONBLOCK: a FIFO without a reader is an error instead of a wait, and one that is full takes
 * what it can. */
static int open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);

    return fd < 0 ? -errno : fd;
}

static int open_sink(struct access_opened *o, const struct access_output *spec)
{
    switch (spec->sink) {
    case ACCESS_STDERR:
        o->fd = STDERR_FILENO;
        break;
    case ACCESS_STDOUT:
        o->fd = STDOUT_FILENO;
        break;
    case ACCESS_FILE:
        o->fd = open_file(spec->path);
        o->owned = true;
        break;
    case ACCESS_SYSLOG_UNIX:
        o->fd = access_syslog_unix(spec->path);
        o->owned = true;
        break;
    case ACCESS_SYSLOG_UDP:
        o->fd = access_syslog_udp(&spec->udp);
        o->owned = true;
        break;
    }
    return o->fd < 0 ? o->fd : 0;
}

static int begin(struct access_opened *o)
{
    int r = learn(o);

    if (r < 0)
        return r;
    o->buf = mem_alloc(ACCESS_OUTPUT_BUFFER);
    return o->buf ? 0 : ERR_NOMEM;
}

int access_output_open(struct access_opened *o, const struct access_output *spec)
{
    int r;

    *o = (struct access_opened){.spec = spec, .fd = -1, .pid = getpid()};
    r = open_sink(o, spec);
    if (r < 0)
        return r;
    r = begin(o);
    if (r < 0) {
        if (o->owned)
            close(o->fd);
        return r;
    }
    if (spec->sink == ACCESS_SYSLOG_UNIX || spec->sink == ACCESS_SYSLOG_UDP)
        o->way = ACCESS_WAY_DATAGRAMS;
    return 0;
}

int access_output_borrow(struct access_opened *o, int fd)
{
    *o = (struct access_opened){.fd = fd};
    return begin(o);
}

/* ---- the buffer ---- */

static void add_to(_Atomic uint64_t *counter, uint64_t n)
{
    /* one writer */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

char *access_output_room(struct access_opened *o, size_t n)
{
    if (ACCESS_OUTPUT_BUFFER - o->end >= n)
        return o->buf + o->end;
    if (o->start == 0 || ACCESS_OUTPUT_BUFFER - (o->end - o->start) < n)
        return NULL;
    memmove(o->buf, o->buf + o->start, o->end - o->start);
    o->end -= o->start;
    o->start = 0;
    return o->buf + o->end;
}

void access_output_added(struct access_opened *o, size_t n)
{
    CHECK(n && n <= ACCESS_OUTPUT_BUFFER - o->end);
    o->end += n;
    o->lines++;
}

static unsigned count_lines(const char *p, size_t n)
{
    const char *end = p + n, *at = p;
    unsigned lines = 0;

    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        lines++;
        at++;
    }
    return lines;
}

/* n bytes from the front have left. */
static void took(struct access_opened *o, size_t n, uint64_t now_ms, struct access_totals *totals)
{
    unsigned lines = o->lines;

    if (n < o->end - o->start)
        lines = (unsigned)min_size(lines, count_lines(o->buf + o->start, n));

    o->mid_line = o->buf[o->start + n - 1] != '\n';
    o->start += n;
    o->lines -= lines;
    if (o->start == o->end)
        o->start = o->end = 0;
    o->moved_ms = now_ms;
    o->full = false;
    if (o->spec)
        add_to(&totals->written, lines);
}

static void drop_lines(struct access_opened *o, unsigned lines, struct access_totals *totals)
{
    o->lost += lines;
    if (o->spec)
        add_to(&totals->lost, lines);
}

/* ---- failing ---- */

static void say_failing(struct access_opened *o, const char *why)
{
    char text[ADDR_TEXT_MAX];

    if (o->failing)
        return;
    o->failing = true;
    if (o->spec)
        log_warn("cannot write the access log %s: %s; records are lost",
                 access_output_name(o->spec, text), why);
}

static void broke(struct access_opened *o, int error, uint64_t now_ms)
{
    o->broken = true;
    o->retry_ms = now_ms + ACCESS_RETRY_MS;
    say_failing(o, err_text(-error));
}

static void recovered(struct access_opened *o)
{
    char text[ADDR_TEXT_MAX];

    o->broken = false;
    if (!o->failing)
        return;
    o->failing = false;
    if (o->spec)
        log_warn("the access log %s can be written again; %llu %s lost",
                 access_output_name(o->spec, text), (unsigned long long)o->lost,
                 o->lost == 1 ? "record was" : "records were");
    o->lost = 0;
}

void access_output_lose(struct access_opened *o, struct access_totals *totals)
{
    o->full = true;
    say_failing(o, "it takes nothing");
    drop_lines(o, 1, totals);
}

/* ---- writing ---- */

/* As much as PIPE_BUF holds, to the end of a line if there is one. */
static size_t piece(const struct access_opened *o)
{
    size_t n = o->end - o->start;
    const char *last;

    if (n <= PIPE_BUF)
        return n;
    last = memrchr(o->buf + o->start, '\n', PIPE_BUF);
    return last ? (size_t)(last - (o->buf + o->start)) + 1 : PIPE_BUF;
}

static ssize_t write_piece(const struct access_opened *o)
{
    struct pollfd pf = {.fd = o->fd, .events = POLLOUT};

    if (poll(&pf, 1, 0) <= 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(o->fd, o->buf + o->start, piece(o));
}

/* One line as a datagram; returns how many bytes of the buffer that was. */
static ssize_t write_datagram(struct access_opened *o)
{
    const char *p = o->buf + o->start, *end = memchr(p, '\n', o->end - o->start);
    struct slice line = slice_of(p, (size_t)(end - p));
    int r = o->spec->sink == ACCESS_SYSLOG_UNIX
                ? access_syslog_send_unix(o->fd, o->spec->path, o->pid, line)
                : access_syslog_send_udp(o->fd, o->pid, line);

    if (r < 0) {
        errno = -r;
        return -1;
    }
    return (ssize_t)(line.n + 1);
}

static ssize_t write_some(struct access_opened *o)
{
    switch (o->way) {
    case ACCESS_WAY_WHOLE:
        return write(o->fd, o->buf + o->start, o->end - o->start);
    case ACCESS_WAY_PIECES:
        return write_piece(o);
    case ACCESS_WAY_SOCKET:
        return send(o->fd, o->buf + o->start, o->end - o->start, MSG_DONTWAIT | MSG_NOSIGNAL);
    case ACCESS_WAY_DATAGRAMS:
        return write_datagram(o);
    }
    UNREACHABLE();
}

static void drop_first(struct access_opened *o, struct access_totals *totals)
{
    o->start +=
        (size_t)((char *)memchr(o->buf + o->start, '\n', o->end - o->start) - (o->buf + o->start)) +
        1;
    o->lines--;
    o->mid_line = false;
    drop_lines(o, 1, totals);
}

/* After a write that took nothing: is there a reason to try again at once? */
static bool goes_on(struct access_opened *o, int error, uint64_t now_ms,
                    struct access_totals *totals)
{
    if (error == EINTR)
        return true;
    if (error == EAGAIN) {
        o->broken = false; /* it only takes nothing now */
        return false;
    }
    if (error == EMSGSIZE && o->way == ACCESS_WAY_DATAGRAMS) {
        drop_first(o, totals); /* it would never pass */
        return true;
    }
    broke(o, error, now_ms);
    return false;
}

void access_output_flush(struct access_opened *o, uint64_t now_ms, struct access_totals *totals)
{
    if (o->broken && now_ms < o->retry_ms)
        return;
    /* Each round takes a byte at least, and nothing is added meanwhile. */
    while (access_output_pending(o)) {
        ssize_t n = write_some(o);

        if (n > 0)
            took(o, (size_t)n, now_ms, totals);
        else if (!goes_on(o, n ? errno : EIO, now_ms, totals))
            return;
    }
    recovered(o);
}

/* ---- becoming another ---- */

bool access_output_same(const struct access_opened *a, const struct access_opened *b)
{
    if (a->spec->sink != b->spec->sink)
        return false;
    switch (a->spec->sink) {
    case ACCESS_STDERR:
    case ACCESS_STDOUT:
        return true;
    case ACCESS_FILE:
        return a->dev == b->dev && a->ino == b->ino && strcmp(a->spec->path, b->spec->path) == 0;
    case ACCESS_SYSLOG_UNIX:
        return strcmp(a->spec->path, b->spec->path) == 0;
    case ACCESS_SYSLOG_UDP:
        return addr_eq(&a->spec->udp, &b->spec->udp);
    }
    return false;
}

void access_output_take_over(struct access_opened *to, struct access_opened *from)
{
    char *empty = to->buf;

    CHECK(!access_output_pending(to));
    to->buf = from->buf;
    to->start = from->start;
    to->end = from->end;
    to->lines = from->lines;
    to->mid_line = from->mid_line;
    to->failing = from->failing;
    to->broken = from->broken;
    to->full = from->full;
    to->lost = from->lost;
    to->retry_ms = from->retry_ms;
    to->moved_ms = from->moved_ms;
    from->buf = empty;
    from->start = from->end = 0;
    from->lines = 0;
    from->mid_line = from->failing = from->broken = from->full = false;
    from->lost = 0;
}

/* The rest of a line that was begun elsewhere. */
static void drop_begun(struct access_opened *o, struct access_totals *totals)
{
    if (o->mid_line && access_output_pending(o))
        drop_first(o, totals);
}

int access_output_reopen(struct access_opened *o, uint64_t now_ms, struct access_totals *totals)
{
    int fd, old = o->fd, r;

    if (o->spec->sink == ACCESS_FILE)
        fd = open_file(o->spec->path);
    else if (o->spec->sink == ACCESS_SYSLOG_UNIX)
        fd = access_syslog_unix(o->spec->path);
    else
        return 0;
    if (fd < 0)
        return fd;
    o->retry_ms = 0;
    access_output_flush(o, now_ms, totals);
    drop_begun(o, totals);
    o->fd = fd;
    if (o->spec->sink == ACCESS_FILE) {
        r = learn(o);
        if (r < 0) {
            o->fd = old;
            close(fd);
            return r;
        }
    }
    close(old);
    o->mid_line = false;
    o->retry_ms = 0; /* the new one is tried at once */
    return 0;
}

void access_output_done(struct access_opened *o, struct access_totals *totals)
{
    if (!o->buf)
        return;
    drop_lines(o, o->lines, totals);
    if (o->owned)
        close(o->fd);
    mem_free(o->buf);
    o->buf = NULL;
}
