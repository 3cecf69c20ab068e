/* SPDX-License-Identifier: MIT */
/* stall: the watcher of one loop, in a signal handler on the loop's own thread. Everything below "in the handler" is async-signal-safe: it reads the loop,
 * which its own thread has interrupted, fills a buffer on the stack and writes it with one write(2), which does not block because poll(2) was asked
 * before. It allocates nothing, takes no lock and changes nothing that the interrupted code could see.
 *
 * The stack comes from backtrace(), whose unwinder was loaded at the start. Since glibc 2.35 it finds its tables without a lock.
 */
#include "io/stall.h"

#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { STALL_FRAMES = 32, STALL_SHOWN = 24, STALL_MODULES = 32, STALL_NAME_MAX = 24 };

struct module {
    char name[STALL_NAME_MAX];
    uintptr_t base, from, to; /* what offsets count from; where its segments lie */
};

/* Written once, before there are threads. */
static struct module modules[STALL_MODULES];
static unsigned n_modules;

/* initial-exec: read without a call that might allocate. */
static __thread struct stall *mine __attribute__((tls_model("initial-exec")));

static int stall_signal(void)
{
    return SIGRTMIN;
}

/* ---- in the handler ---- */

struct line {
    char p[STALL_LINE_MAX];
    size_t n;
};

static void put(struct line *l, const char *z)
{
    while (*z && l->n < sizeof(l->p) - 1)
        l->p[l->n++] = *z++;
}

static void put_number(struct line *l, uint64_t v, unsigned base)
{
    char digits[24];
    size_t i = sizeof(digits);

    digits[--i] = '\0';
    do {
        digits[--i] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    put(l, digits + i);
}

static void put_address(struct line *l, uintptr_t pc)
{
    put(l, " ");
    for (unsigned i = 0; i < n_modules; i++)
        if (pc >= modules[i].from && pc < modules[i].to) {
            put(l, modules[i].name);
            put(l, "+");
            pc -= modules[i].base;
            break;
        }
    put(l, "0x");
    put_number(l, pc, 16);
}

static uintptr_t interrupted_at(const void *context)
{
    const ucontext_t *c = context;

#if defined(__x86_64__)
    return (uintptr_t)c->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)c->uc_mcontext.pc;
#else
    UNUSED(c);
    return 0;
#endif
}

/* The handler's own frames come first: what counts begins where the thread was interrupted. */
static void put_stack(struct line *l, const void *context)
{
    void *pc[STALL_FRAMES];
    int n = backtrace(pc, STALL_FRAMES), first = 0;
    uintptr_t at = interrupted_at(context);

    for (int i = 0; i < n && first == 0; i++)
        if ((uintptr_t)pc[i] == at)
            first = i;
    put(l, "; stack:");
    if (first == 0 && at)
        put_address(l, at);
    for (int i = first; i < n && i < first + STALL_SHOWN; i++)
        put_address(l, (uintptr_t)pc[i]);
}

static void stall_see(const struct stall *s, struct stall_seen *seen)
{
    const struct task *t = atomic_load_explicit(&s->loop->running, memory_order_relaxed);

    *seen = (struct stall_seen){0};
    if (!t)
        return;
    seen->task = t->name;
    if (s->opts.describe)
        s->opts.describe(t, seen);
}

/* Tenths of a second. While the loop waits there is no turn, but what an event set off may be what never ends. */
static void put_how_long(struct line *l, const struct stall *s)
{
    uint64_t since = atomic_load_explicit(&s->loop->busy_since_us, memory_order_relaxed), now, tenths = 0;
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    now = (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
    if (since && now > since)
        tenths = (now - since) / 100000;
    if (!since) {
        put(l, ", in its wait for events");
        return;
    }
    put(l, ", for ");
    put_number(l, tenths / 10, 10);
    put(l, ".");
    put_number(l, tenths % 10, 10);
    put(l, " s");
}

/* One write of less than PIPE_BUF: where there is room at all it does not block, and nothing comes between. */
static void say(int fd, const struct line *l)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    if (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) && write(fd, l->p, l->n) < 0) {
        /* Nobody is left to be told. */
    }
}

static void stall_report(const struct stall *s, const void *context)
{
    struct line l = {.n = 0};
    struct stall_seen seen;

    stall_see(s, &seen);
    put(&l, "ginnel: error: worker ");
    put_number(&l, s->opts.id, 10);
    put(&l, " does not turn: ");
    put(&l, seen.task ? "task " : "between tasks");
    put(&l, seen.task ? seen.task : "");
    if (seen.step) {
        put(&l, ", step ");
        put(&l, seen.step);
        put(&l, ", exchange ");
        put_number(&l, seen.id, 10);
    }
    put_how_long(&l, s);
    put_stack(&l, context);
    l.p[l.n++] = '\n';
    say(s->opts.fd, &l);
}

static void stall_look(struct stall *s, const void *context)
{
    uint64_t beat = atomic_load_explicit(&s->loop->heartbeat, memory_order_relaxed);

    if (beat != s->beat) {
        s->beat = beat;
        s->said = false;
        return;
    }
    if (s->said)
        return;
    s->said = true;
    if (s->opts.count)
        atomic_store_explicit(s->opts.count, atomic_load_explicit(s->opts.count, memory_order_relaxed) + 1, memory_order_relaxed);
    stall_report(s, context);
}

static void stall_answer(struct stall *s, const void *context)
{
    unsigned asked = atomic_load_explicit(&s->asked, memory_order_acquire);

    if (asked == atomic_load_explicit(&s->answered, memory_order_relaxed))
        return;
    stall_see(s, &s->seen);
    if (atomic_exchange_explicit(&s->wants_report, false, memory_order_relaxed))
        stall_report(s, context);
    atomic_store_explicit(&s->answered, asked, memory_order_release);
}

/* Whoever sends this signal from outside is answered with nothing. */
static void on_signal(int sig, siginfo_t *si, void *context)
{
    int saved = errno;
    struct stall *s = mine;

    UNUSED(sig);
    if (s && si->si_code == SI_TIMER)
        stall_look(s, context);
    if (s)
        stall_answer(s, context);
    errno = saved;
}

/* ---- setting up ---- */

static void module_name(struct module *m, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t n;

    if (slash)
        path = slash + 1;
    n = min_size(strlen(path), sizeof(m->name) - 1);
    memcpy(m->name, path, n);
    m->name[n] = '\0';
}

/* The program itself is the first, and has no name there. */
static int module_add(struct dl_phdr_info *info, size_t size, void *unused)
{
    struct module *m = &modules[n_modules];

    UNUSED(size);
    UNUSED(unused);
    if (n_modules == STALL_MODULES)
        return 1;
    *m = (struct module){.base = info->dlpi_addr, .from = UINTPTR_MAX};
    module_name(m, info->dlpi_name && info->dlpi_name[0] ? info->dlpi_name : program_invocation_short_name);
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        uintptr_t from = info->dlpi_addr + h->p_vaddr, to = from + h->p_memsz;

        if (h->p_type != PT_LOAD)
            continue;
        m->from = from < m->from ? from : m->from;
        m->to = to > m->to ? to : m->to;
    }
    n_modules++;
    return 0;
}

static void stall_mask(int how)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, stall_signal());
    pthread_sigmask(how, &set, NULL);
}

void stall_setup(void)
{
    struct sigaction a = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    void *warm[2];

    stall_mask(SIG_BLOCK);
    /* The first call loads the unwinder, which allocates. */
    backtrace(warm, 2);
    n_modules = 0;
    dl_iterate_phdr(module_add, NULL);
    /* Everything else waits until the report is written. */
    sigfillset(&a.sa_mask);
    sigaction(stall_signal(), &a, NULL);
}

static int start_timer(struct stall *s)
{
    unsigned every_ms = s->opts.every_ms ? s->opts.every_ms : STALL_EVERY_MS;
    struct timespec every = {.tv_sec = every_ms / 1000, .tv_nsec = (long)(every_ms % 1000) * 1000000};
    struct itimerspec when = {.it_interval = every, .it_value = every};
    struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = stall_signal()};
    clockid_t clock;
    int r = pthread_getcpuclockid(pthread_self(), &clock);

    if (r)
        return -r;
    ev.sigev_notify_thread_id = gettid();
    if (timer_create(clock, &ev, &s->timer))
        return -errno;
    if (timer_settime(s->timer, 0, &when, NULL) == 0)
        return 0;
    r = -errno;
    timer_delete(s->timer);
    return r;
}

int stall_start(struct stall *s, struct loop *loop, const struct stall_opts *opts)
{
    int r;

    s->loop = loop;
    s->opts = *opts;
    s->thread = pthread_self();
    s->beat = UINT64_MAX;
    s->said = false;
    r = start_timer(s);
    s->timed = r == 0;
    mine = s;
    stall_mask(SIG_UNBLOCK);
    atomic_store(&s->live, true);
    return r;
}

void stall_stop(struct stall *s)
{
    atomic_store(&s->live, false);
    /* A signal that is on its way stays there. */
    stall_mask(SIG_BLOCK);
    mine = NULL;
    if (s->timed)
        timer_delete(s->timer);
    s->timed = false;
}

bool stall_ask(struct stall *s, bool report, unsigned wait_ms, struct stall_seen *ret_seen)
{
    const struct timespec ms = {.tv_nsec = 1000000};
    unsigned asked;

    if (!atomic_load(&s->live))
        return false;
    if (report)
        atomic_store(&s->wants_report, true);
    asked = atomic_fetch_add_explicit(&s->asked, 1, memory_order_release) + 1;
    if (pthread_kill(s->thread, stall_signal()))
        return false;
    for (unsigned i = 0; atomic_load_explicit(&s->answered, memory_order_acquire) != asked; i++) {
        if (i == wait_ms)
            return false;
        nanosleep(&ms, NULL);
    }
    *ret_seen = s->seen;
    return true;
}
