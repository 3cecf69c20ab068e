/* SPDX-License-Identifier: MIT */
/* program_thread: the thread of a program: polls the pipes of all children, hands out lines, takes answers, keeps time. A request is in exactly one place: the
 * queue (under the lock), the thread's own waiting list, a slot of a child, a loop's inbox. It must never be lost between them, never be answered twice, and a
 * child that misbehaves must never hold up more than what it was given.
 */
#include "io/program_priv.h"

#include "base/num.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SHOWN_MAX = 120, /* of a line that makes no sense */
    POST_AGAIN_MS = 1,
    POST_LAST_TRIES = 5000,
    READS = 16, /* of one child in a row */
};

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

/* ---- children come and go ---- */

static int start_child(struct program *p, struct program_child *c)
{
    int r = program_child_start(c, p->argv, p->envp);

    if (r < 0)
        return r;
    c->since_ms = p->now_ms;
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

static void give_back(struct program *p, struct program_child *c)
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
static void lose_child(struct program *p, struct program_child *c, const char *why)
{
    bool young = p->now_ms - c->since_ms < PROGRAM_YOUNG_MS;
    int status = 0;
    pid_t pid = c->pid;

    program_child_signal(c, SIGKILL);
    program_child_bury(c, &status);
    atomic_fetch_sub(&p->n_running, 1);
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

static bool has_room(const struct program *p, const struct program_child *c, size_t line_n)
{
    return c->pid && c->in >= 0 && c->n_slots_used < p->n_slots && c->to_n + line_n + 8 <= sizeof(c->to);
}

/* The one that has least to do. */
static struct program_child *choose(struct program *p, size_t line_n)
{
    struct program_child *best = NULL;

    for (unsigned i = 0; i < p->opts.children; i++) {
        struct program_child *c = &p->children[i];

        if (has_room(p, c, line_n) && (!best || c->n_slots_used < best->n_slots_used))
            best = c;
    }
    return best;
}

static void hand(struct program *p, struct program_child *c, struct program_request *r)
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
static struct program_child *another(struct program *p)
{
    for (unsigned i = 0; i < p->opts.children; i++) {
        struct program_child *c = &p->children[i];
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
        struct program_child *c = choose(p, r->line.n);

        /* A new one is for what none of the others can begin with at once. */
        if (!c || (c->n_slots_used && p->opts.channels == 0))
            c = another(p);
        if (!c)
            return;
        list_del(&r->link);
        hand(p, c, r);
    }
}

static void send_lines(struct program *p, struct program_child *c)
{
    if (program_child_send(c) == IO_ERR)
        lose_child(p, c, NULL);
}

/* ---- being answered ---- */

static bool take_answer(struct program *p, struct program_child *c, struct slice line)
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

static void babbled(struct program *p, struct program_child *c, struct slice line)
{
    char why[SHOWN_MAX + 64];

    snprintf(why, sizeof(why), "it said what is no answer: \"%.*s\"", (int)min_size(line.n, SHOWN_MAX), line.p);
    lose_child(p, c, why);
}

/* Whole lines of what it said. False: it has been replaced. */
static bool take_lines(struct program *p, struct program_child *c)
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

static void hear(struct program *p, struct program_child *c)
{
    for (int i = 0; i < READS && c->pid; i++) {
        enum io r = program_child_hear(c);

        if (r == IO_AGAIN)
            return;
        if (r != IO_OK) {
            lose_child(p, c, NULL);
            return;
        }
        if (!take_lines(p, c))
            return;
    }
}

/* What it writes to stderr is the operator's to read; the sink escapes it. */
static void listen_to_errors(struct program *p, struct program_child *c)
{
    char *end;

    if (program_child_hear_errors(c) != IO_OK)
        return;
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
static void end_late_child(struct program *p, struct program_child *c)
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

/* ---- the turn ---- */

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
        const struct program_child *c = &p->children[i];
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
    p->now_ms = program_clock_ms();
}

static void serve_children(struct program *p)
{
    for (unsigned i = 0; i < p->opts.children; i++) {
        struct program_child *c = &p->children[i];
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
        program_child_hush(&p->children[i]);
        if (sig)
            program_child_signal(&p->children[i], sig);
    }
}

/* Reaps those that have ended; whether none is left. */
static bool reap(struct program *p)
{
    bool none = true;

    for (unsigned i = 0; i < p->opts.children; i++) {
        struct program_child *c = &p->children[i];

        if (!c->pid)
            continue;
        if (program_child_reap(c))
            atomic_fetch_sub(&p->n_running, 1);
        else
            none = false;
    }
    return none;
}

static bool reap_for(struct program *p, uint64_t ms)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    uint64_t until = program_clock_ms() + ms;

    while (!reap(p)) {
        if (program_clock_ms() >= until)
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

void *program_thread(void *arg)
{
    struct program *p = OBJ_CAST(struct program, arg, PROGRAM_MAGIC);

    pthread_setname_np(pthread_self(), "program");
    p->now_ms = program_clock_ms();
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
