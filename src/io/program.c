/* SPDX-License-Identifier: MIT */
/* program: children that answer lines. One thread polls the pipes of all of them. A request is in exactly one place: the queue
 * (under the lock), the thread's own waiting list, a slot of a child, a loop's inbox. It must never be lost between them, never be
 * answered twice, and a child that misbehaves must never hold up more than what it was given.
 */
#include "io/program.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "io/fds.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM_MAGIC 0x94066a31u

enum {
    OUT_MAX = 2 * PROGRAM_LINE_MAX, /* lines on their way to a child */
    SAID_MAX = 512,                 /* of a line of its stderr */
    SHOWN_MAX = 120,                /* of a line that makes no sense */
    POST_AGAIN_MS = 1,
    POST_LAST_TRIES = 5000,
    READS = 16, /* of one child in a row */
};

struct child {
    pid_t pid;         /* 0: none runs */
    int in, out, err;  /* its stdin, stdout, stderr; -1: closed */
    uint64_t since_ms;
    unsigned n_slots_used;
    struct program_request **slots; /* by channel */
    size_t to_n, got_n, said_n;
    char to[OUT_MAX], got[PROGRAM_LINE_MAX], said[SAID_MAX];
};

struct program {
    unsigned magic;
    struct program_opts opts;
    char **argv, **envp;
    unsigned n_slots; /* of each child */
    pthread_t thread;
    int wakefd;
    pthread_mutex_t lock; /* over the next three */
    struct list queue;
    unsigned n_asked; /* not answered */
    bool stopping;
    _Atomic bool stopped;
    _Atomic unsigned n_running;

    /* the thread's */
    struct list waiting;
    uint64_t now_ms, pause_ms, not_before_ms; /* no child is started before */
    struct pollfd *polls;
    struct child children[];
};

static uint64_t clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void say(struct program *p, enum log_level level, const char *fmt, ...) PRINTF(3, 4);

static void say(struct program *p, enum log_level level, const char *fmt, ...)
{
    char text[LOG_LINE_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    p->opts.say(level, text);
}

/* ---- answers ---- */

static void request_back(struct msg *m, struct loop *loop)
{
    struct program_request *r = CONTAINER_OF(m, struct program_request, msg);

    CHECK(r->loop == loop);
    r->done(r);
}

static bool is_stopping(struct program *p)
{
    bool stopping;

    pthread_mutex_lock(&p->lock);
    stopping = p->stopping;
    pthread_mutex_unlock(&p->lock);
    return stopping;
}

/* A full inbox is waited for: dropping the answer would leave the asker waiting for ever. Only at the end is a loop given up that
 * takes nothing for seconds: it does not turn any more. */
static void reply(struct program *p, struct program_request *r, bool answered)
{
    const struct timespec pause = {.tv_nsec = POST_AGAIN_MS * 1000000L};
    unsigned last = 0;

    r->answered = answered;
    pthread_mutex_lock(&p->lock);
    p->n_asked--;
    pthread_mutex_unlock(&p->lock);
    while (!loop_post(r->loop, &r->msg)) {
        if (is_stopping(p) && ++last > POST_LAST_TRIES) {
            log_debug("a program's answer was left behind: its worker does not turn any more");
            return;
        }
        nanosleep(&pause, NULL);
    }
}

/* The child that had it is gone: another one is asked, once. */
static void ask_again(struct program *p, struct program_request *r)
{
    if (r->again) {
        reply(p, r, false);
        return;
    }
    r->again = true;
    list_push_front(&p->waiting, &r->link);
}

/* ---- children come ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ret[0] to read, ret[1] to write; ours does not block. */
static int make_pipe(int ret[2], unsigned ours)
{
    if (pipe2(ret, O_CLOEXEC) < 0)
        return -errno;
    if (fcntl(ret[ours], F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

static int spawn(struct program *p, const int in[2], const int out[2], const int err[2], pid_t *ret_pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int e;

    sigemptyset(&none);
    sigfillset(&all);
    if (posix_spawn_file_actions_init(&files))
        return ERR_NOMEM;
    if (posix_spawnattr_init(&attr)) {
        posix_spawn_file_actions_destroy(&files);
        return ERR_NOMEM;
    }
    e = posix_spawn_file_actions_adddup2(&files, in[0], STDIN_FILENO);
    e = e ? e : posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
    e = e ? e : posix_spawn_file_actions_adddup2(&files, err[1], STDERR_FILENO);
    e = e ? e : posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
    /* A group of its own: what a terminal sends to ours is ours to handle; and what a child starts ends with it. */
    e = e ? e : posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    e = e ? e : posix_spawnattr_setpgroup(&attr, 0);
    e = e ? e : posix_spawnattr_setsigmask(&attr, &none);
    e = e ? e : posix_spawnattr_setsigdefault(&attr, &all);
    fds_fork_begin();
    e = e ? e : posix_spawn(ret_pid, p->argv[0], &files, &attr, p->argv, p->envp);
    fds_fork_end();
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return -e;
}

static int start_child(struct program *p, struct child *c)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
    pid_t pid;
    int r = make_pipe(in, 1);

    if (r == 0)
        r = make_pipe(out, 0);
    if (r == 0)
        r = make_pipe(err, 0);
    if (r == 0)
        r = spawn(p, in, out, err, &pid);
    close_fd(&in[0]);
    close_fd(&out[1]);
    close_fd(&err[1]);
    if (r < 0) {
        close_fd(&in[1]);
        close_fd(&out[0]);
        close_fd(&err[0]);
        return r;
    }
    c->pid = pid;
    c->in = in[1];
    c->out = out[0];
    c->err = err[0];
    c->since_ms = p->now_ms;
    c->to_n = c->got_n = c->said_n = 0;
    atomic_fetch_add(&p->n_running, 1);
    return 0;
}

static void pause_longer(struct program *p)
{
    p->pause_ms = p->pause_ms ? p->pause_ms * 2 : PROGRAM_PAUSE_MS;
    if (p->pause_ms > PROGRAM_PAUSE_MAX_MS)
        p->pause_ms = PROGRAM_PAUSE_MAX_MS;
    p->not_before_ms = p->now_ms + p->pause_ms;
}

/* ---- children go ---- */

static void bury(struct program *p, struct child *c, int *ret_status)
{
    /* It has been killed, or has closed its stdout: the wait is short. */
    while (waitpid(c->pid, ret_status, 0) < 0 && errno == EINTR)
        ;
    c->pid = 0;
    close_fd(&c->in);
    close_fd(&c->out);
    close_fd(&c->err);
    explicit_bzero(c->to, sizeof(c->to));
    atomic_fetch_sub(&p->n_running, 1);
}

static void give_back(struct program *p, struct child *c)
{
    for (unsigned i = p->n_slots; i-- > 0;) {
        struct program_request *r = c->slots[i];

        c->slots[i] = NULL;
        if (r)
            ask_again(p, r);
    }
    c->n_slots_used = 0;
}

/* Ends it, whatever it does; why: NULL when it went by itself. */
static void lose_child(struct program *p, struct child *c, const char *why)
{
    bool young = p->now_ms - c->since_ms < PROGRAM_YOUNG_MS;
    int status = 0;
    pid_t pid = c->pid;

    kill(-pid, SIGKILL);
    kill(pid, SIGKILL); /* it may have made itself a group of its own */
    bury(p, c, &status);
    if (why)
        say(p, LOG_WARN, "%s: %s; process %d was ended", p->argv[0], why, (int)pid);
    else if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
        say(p, LOG_WARN, "%s: process %d died of signal %d", p->argv[0], (int)pid, WTERMSIG(status));
    else if (WIFEXITED(status))
        say(p, LOG_WARN, "%s: process %d exited with code %d", p->argv[0], (int)pid, WEXITSTATUS(status));
    else
        say(p, LOG_WARN, "%s: process %d closed its output", p->argv[0], (int)pid);
    if (young)
        pause_longer(p);
    else
        p->pause_ms = 0;
    give_back(p, c);
}

/* ---- asking ---- */

static bool has_room(const struct program *p, const struct child *c, size_t line_n)
{
    return c->pid && c->in >= 0 && c->n_slots_used < p->n_slots && c->to_n + line_n + 8 <= sizeof(c->to);
}

/* The one that has least to do. */
static struct child *choose(struct program *p, size_t line_n)
{
    struct child *best = NULL;

    for (unsigned i = 0; i < p->opts.children; i++) {
        struct child *c = &p->children[i];

        if (has_room(p, c, line_n) && (!best || c->n_slots_used < best->n_slots_used))
            best = c;
    }
    return best;
}

static void hand(struct program *p, struct child *c, struct program_request *r)
{
    unsigned slot = 0;

    while (c->slots[slot])
        slot++;
    c->slots[slot] = r;
    c->n_slots_used++;
    if (p->opts.channels) {
        c->to_n += num_put_dec(c->to + c->to_n, slot);
        c->to[c->to_n++] = ' ';
    }
    memcpy(c->to + c->to_n, r->line.p, r->line.n);
    c->to_n += r->line.n;
    c->to[c->to_n++] = '\n';
}

/* Another one, if there may be; NULL: not now. */
static struct child *another(struct program *p)
{
    for (unsigned i = 0; i < p->opts.children; i++) {
        struct child *c = &p->children[i];
        int r;

        if (c->pid)
            continue;
        if (p->now_ms < p->not_before_ms)
            return NULL;
        r = start_child(p, c);
        if (r == 0)
            return c;
        pause_longer(p);
        say(p, LOG_ERROR, "%s cannot be started: %s; tried again in %.1f s", p->argv[0], err_text(r), (double)p->pause_ms / 1000);
        return NULL;
    }
    return NULL;
}

static void dispatch(struct program *p)
{
    while (!list_empty(&p->waiting)) {
        struct program_request *r = LIST_ENTRY(p->waiting.next, struct program_request, link);
        struct child *c = choose(p, r->line.n);

        /* A new one is for what none of the others can begin with at once. */
        if (!c || (c->n_slots_used && p->opts.channels == 0))
            c = another(p);
        if (!c)
            return;
        list_del(&r->link);
        hand(p, c, r);
    }
}

static void send_lines(struct program *p, struct child *c)
{
    ssize_t n;

    if (c->to_n == 0 || c->in < 0)
        return;
    n = write(c->in, c->to, c->to_n);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        lose_child(p, c, NULL);
        return;
    }
    memmove(c->to, c->to + n, c->to_n - (size_t)n);
    explicit_bzero(c->to + c->to_n - (size_t)n, (size_t)n);
    c->to_n -= (size_t)n;
}

/* ---- being answered ---- */

bool program_channel(struct slice line, unsigned n, unsigned *ret_channel, struct slice *ret_rest)
{
    size_t blank = slice_find(line, ' ');
    uint64_t v;

    if (blank == line.n || blank > 4 || num_dec(slice_of(line.p, blank), UINT16_MAX, &v) < 0 || v >= n)
        return false;
    *ret_channel = (unsigned)v;
    *ret_rest = slice_skip(line, blank + 1);
    return true;
}

static bool take_answer(struct program *p, struct child *c, struct slice line)
{
    struct program_request *r;
    unsigned channel = 0;

    if (p->opts.channels && !program_channel(line, p->n_slots, &channel, &line))
        return false;
    r = c->slots[channel];
    if (!r || !p->opts.is_answer(line))
        return false;
    c->slots[channel] = NULL;
    c->n_slots_used--;
    p->pause_ms = 0;
    memcpy(r->answer, line.p, line.n);
    r->answer_n = line.n;
    reply(p, r, true);
    return true;
}

static void babbled(struct program *p, struct child *c, struct slice line)
{
    char why[SHOWN_MAX + 64];

    snprintf(why, sizeof(why), "it said what is no answer: \"%.*s\"", (int)min_size(line.n, SHOWN_MAX), line.p);
    lose_child(p, c, why);
}

/* Whole lines of what it said. False: it has been replaced. */
static bool take_lines(struct program *p, struct child *c)
{
    size_t from = 0;

    for (;;) {
        struct slice rest = slice_of(c->got + from, c->got_n - from), line = rest;

        line.n = slice_find(rest, '\n');
        if (line.n == rest.n)
            break;
        from += line.n + 1;
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (!take_answer(p, c, line)) {
            babbled(p, c, line);
            return false;
        }
    }
    memmove(c->got, c->got + from, c->got_n - from);
    c->got_n -= from;
    if (c->got_n < sizeof(c->got))
        return true;
    babbled(p, c, slice_of(c->got, c->got_n));
    return false;
}

static void hear(struct program *p, struct child *c)
{
    for (int i = 0; i < READS && c->pid; i++) {
        ssize_t n = read(c->out, c->got + c->got_n, sizeof(c->got) - c->got_n);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            lose_child(p, c, NULL);
            return;
        }
        c->got_n += (size_t)n;
        if (!take_lines(p, c))
            return;
    }
}

/* What it writes to stderr is the operator's to read; the sink escapes it. */
static void listen_to_errors(struct program *p, struct child *c)
{
    ssize_t n = read(c->err, c->said + c->said_n, sizeof(c->said) - c->said_n);
    char *end;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        close_fd(&c->err);
        return;
    }
    c->said_n += (size_t)n;
    while ((end = memchr(c->said, '\n', c->said_n)) || c->said_n == sizeof(c->said)) {
        size_t len = end ? (size_t)(end - c->said) : c->said_n, used = end ? len + 1 : len;

        if (len)
            say(p, LOG_INFO, "%s says: %.*s", p->argv[0], (int)len, c->said);
        memmove(c->said, c->said + used, c->said_n - used);
        c->said_n -= used;
    }
}

/* ---- time ---- */

/* The first request of a child that is overdue is not answered; the child is replaced, and what else it had is asked again. */
static void end_late_child(struct program *p, struct child *c)
{
    bool late = false;

    for (unsigned i = 0; i < p->n_slots && c->n_slots_used; i++) {
        struct program_request *r = c->slots[i];

        if (!r || p->now_ms < r->due_ms)
            continue;
        late = true;
        c->slots[i] = NULL;
        c->n_slots_used--;
        reply(p, r, false);
    }
    if (late)
        lose_child(p, c, "it did not answer in time");
}

static void end_late(struct program *p)
{
    for (unsigned i = 0; i < p->opts.children; i++)
        if (p->children[i].pid)
            end_late_child(p, &p->children[i]);
    LIST_EACH(it, &p->waiting)
    {
        struct program_request *r = LIST_ENTRY(it, struct program_request, link);

        if (p->now_ms < r->due_ms)
            continue;
        list_del(&r->link);
        reply(p, r, false);
    }
}

static uint64_t next_due(const struct program *p)
{
    uint64_t at = UINT64_MAX;

    for (unsigned i = 0; i < p->opts.children; i++)
        for (unsigned k = 0; k < p->n_slots && p->children[i].n_slots_used; k++)
            if (p->children[i].slots[k] && p->children[i].slots[k]->due_ms < at)
                at = p->children[i].slots[k]->due_ms;
    LIST_EACH(it, &p->waiting)
    {
        const struct program_request *r = LIST_ENTRY(it, struct program_request, link);

        if (r->due_ms < at)
            at = r->due_ms;
    }
    if (!list_empty(&p->waiting) && p->not_before_ms > p->now_ms && p->not_before_ms < at)
        at = p->not_before_ms;
    return at;
}

/* ---- the thread ---- */

static bool take_queue(struct program *p)
{
    uint64_t n;
    bool stopping;

    while (read(p->wakefd, &n, sizeof(n)) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&p->lock);
    list_splice(&p->waiting, &p->queue);
    stopping = p->stopping;
    pthread_mutex_unlock(&p->lock);
    return !stopping;
}

/* Three places a child, behind the wake-up's. */
static void set_polls(struct program *p)
{
    p->polls[0] = (struct pollfd){.fd = p->wakefd, .events = POLLIN};
    for (unsigned i = 0; i < p->opts.children; i++) {
        const struct child *c = &p->children[i];
        struct pollfd *v = &p->polls[1 + 3 * i];

        v[0] = (struct pollfd){.fd = c->pid && c->to_n ? c->in : -1, .events = POLLOUT};
        v[1] = (struct pollfd){.fd = c->pid ? c->out : -1, .events = POLLIN};
        v[2] = (struct pollfd){.fd = c->pid ? c->err : -1, .events = POLLIN};
    }
}

static void wait_for_something(struct program *p)
{
    uint64_t at = next_due(p);
    uint64_t in = at == UINT64_MAX ? 0 : at > p->now_ms ? at - p->now_ms : 0;
    int timeout = at == UINT64_MAX ? -1 : in > 60000 ? 60000 : (int)in;

    set_polls(p);
    if (poll(p->polls, 1 + 3 * p->opts.children, timeout) < 0)
        for (unsigned i = 0; i < 1 + 3 * p->opts.children; i++)
            p->polls[i].revents = 0;
    p->now_ms = clock_ms();
}

static void serve_children(struct program *p)
{
    for (unsigned i = 0; i < p->opts.children; i++) {
        struct child *c = &p->children[i];
        const struct pollfd *v = &p->polls[1 + 3 * i];

        if (c->pid && c->err >= 0 && v[2].revents)
            listen_to_errors(p, c);
        if (c->pid && v[1].revents)
            hear(p, c);
        if (c->pid)
            send_lines(p, c);
    }
}

/* ---- the end ---- */

static void stop_all(struct program *p, int sig)
{
    for (unsigned i = 0; i < p->opts.children; i++) {
        struct child *c = &p->children[i];

        close_fd(&c->in);
        if (!c->pid || !sig)
            continue;
        kill(-c->pid, sig);
        kill(c->pid, sig);
    }
}

/* Reaps those that have ended; whether none is left. */
static bool reap(struct program *p)
{
    bool none = true;

    for (unsigned i = 0; i < p->opts.children; i++) {
        struct child *c = &p->children[i];

        if (!c->pid)
            continue;
        if (waitpid(c->pid, NULL, WNOHANG) == 0) {
            none = false;
            continue;
        }
        c->pid = 0;
        close_fd(&c->out);
        close_fd(&c->err);
        explicit_bzero(c->to, sizeof(c->to));
        atomic_fetch_sub(&p->n_running, 1);
    }
    return none;
}

static bool reap_for(struct program *p, uint64_t ms)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    uint64_t until = clock_ms() + ms;

    while (!reap(p)) {
        if (clock_ms() >= until)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

static void end_children(struct program *p)
{
    stop_all(p, 0);
    if (reap_for(p, PROGRAM_STOP_MS))
        return;
    stop_all(p, SIGTERM);
    if (reap_for(p, PROGRAM_STOP_MS))
        return;
    stop_all(p, SIGKILL);
    reap_for(p, PROGRAM_STOP_MS);
}

static void refuse_all(struct program *p)
{
    struct list *l;

    for (unsigned i = 0; i < p->opts.children; i++)
        for (unsigned k = 0; k < p->n_slots; k++) {
            struct program_request *r = p->children[i].slots[k];

            p->children[i].slots[k] = NULL;
            if (r)
                reply(p, r, false);
        }
    while ((l = list_pop(&p->waiting)))
        reply(p, LIST_ENTRY(l, struct program_request, link), false);
}

static void *program_thread(void *arg)
{
    struct program *p = OBJ_CAST(struct program, arg, PROGRAM_MAGIC);

    pthread_setname_np(pthread_self(), "program");
    p->now_ms = clock_ms();
    /* One runs from the beginning: whether it can be started at all is news at once. */
    another(p);
    while (take_queue(p)) {
        end_late(p);
        dispatch(p);
        for (unsigned i = 0; i < p->opts.children; i++)
            if (p->children[i].pid)
                send_lines(p, &p->children[i]);
        wait_for_something(p);
        serve_children(p);
    }
    refuse_all(p);
    end_children(p);
    atomic_store(&p->stopped, true);
    return NULL;
}

/* ---- from other threads ---- */

static void wake(struct program *p)
{
    uint64_t one = 1;

    while (write(p->wakefd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

int program_ask(struct program *p, struct loop *loop, struct program_request *r)
{
    int error = 0;

    OBJ_CHECK(p, PROGRAM_MAGIC);
    if (r->line.n + 8 > PROGRAM_LINE_MAX || memchr(r->line.p, '\n', r->line.n))
        return ERR_RANGE;
    r->loop = loop;
    r->msg.run = request_back;
    r->due_ms = clock_ms() + p->opts.timeout_ms;
    r->again = false;
    list_init(&r->link);
    pthread_mutex_lock(&p->lock);
    if (p->stopping || p->n_asked >= p->opts.queue_max) {
        error = ERR_LIMIT;
    } else {
        list_push(&p->queue, &r->link);
        p->n_asked++;
    }
    pthread_mutex_unlock(&p->lock);
    if (error == 0)
        wake(p);
    return error;
}

unsigned program_children(const struct program *p)
{
    return atomic_load(&p->n_running);
}

/* ---- life ---- */

/* What the manager of services means for us is not meant for a child. */
static bool is_ours(const char *variable)
{
    static const char *const names[] = {"LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES=", "NOTIFY_SOCKET=", "WATCHDOG_PID=", "WATCHDOG_USEC="};

    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static char **child_environment(void)
{
    unsigned n = 0, k = 0;
    char **v;

    while (environ[n])
        n++;
    v = mem_array(n + 1, sizeof(*v));
    for (unsigned i = 0; v && i < n; i++)
        if (!is_ours(environ[i]))
            v[k++] = environ[i];
    return v;
}

static int start_thread(struct program *p)
{
    sigset_t all, before;
    int e;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    e = pthread_create(&p->thread, NULL, program_thread, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -e;
}

static void release(struct program *p)
{
    if (p->wakefd >= 0)
        close(p->wakefd);
    mem_free(p->children[0].slots);
    mem_free(p->polls);
    mem_free(p->envp);
    mem_free_texts(p->argv);
    pthread_mutex_destroy(&p->lock);
    p->magic = OBJ_DEAD;
    mem_free(p);
}

int program_new(const struct program_opts *opts, struct program **ret_p)
{
    struct program_request **slots;
    struct program *p;
    int r = ERR_NOMEM;

    CHECK(opts->children > 0 && opts->children <= PROGRAM_CHILDREN_MAX && opts->channels <= PROGRAM_CHANNELS_MAX && opts->queue_max > 0);
    p = mem_zalloc(sizeof(*p) + opts->children * sizeof(p->children[0]));
    if (!p)
        return ERR_NOMEM;
    p->magic = PROGRAM_MAGIC;
    p->opts = *opts;
    p->n_slots = opts->channels ? opts->channels : 1;
    list_init(&p->queue);
    list_init(&p->waiting);
    CHECK(pthread_mutex_init(&p->lock, NULL) == 0);
    p->wakefd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    p->argv = mem_dup_texts(opts->argv);
    p->envp = child_environment();
    p->polls = mem_array(1 + 3 * opts->children, sizeof(*p->polls));
    slots = mem_array((size_t)opts->children * p->n_slots, sizeof(struct program_request *));
    p->children[0].slots = slots;
    if (p->wakefd < 0)
        r = -EMFILE;
    if (p->wakefd < 0 || !p->argv || !p->envp || !p->polls || !slots)
        goto fail;
    for (unsigned i = 0; i < opts->children; i++) {
        p->children[i].slots = slots + (size_t)i * p->n_slots;
        p->children[i].in = p->children[i].out = p->children[i].err = -1;
    }
    r = start_thread(p);
    if (r < 0)
        goto fail;
    *ret_p = p;
    return 0;

fail:
    release(p);
    return r;
}

void program_stop(struct program *p)
{
    OBJ_CHECK(p, PROGRAM_MAGIC);
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_mutex_unlock(&p->lock);
    wake(p);
}

bool program_stopped(const struct program *p)
{
    return atomic_load(&p->stopped);
}

void program_free(struct program *p)
{
    if (!p)
        return;
    program_stop(p);
    pthread_join(p->thread, NULL);
    release(p);
}
