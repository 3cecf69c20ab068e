/* SPDX-License-Identifier: MIT */
/* serve: opens what the configuration names, starts the workers, then waits for signals on the main thread, which does nothing else.
 * TERM and INT drain, a second one stops at once, QUIT drains without limit; HUP, USR1 and USR2 are refused in words.
 */
#include "app/serve.h"

#include "base/board.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "build_config.h"
#include "proxy/worker.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    SERVE_FACTS = 8192,      /* entries of the board */
    SERVE_HELPERS = 4,       /* threads for blocking work */
    SERVE_HELPER_QUEUE = 1024,
    SERVE_LOCAL_MAX = 64,
    SERVE_POLL_MS = 20,      /* while stopping: how often the workers are looked at */
};

struct server {
    struct conf *conf;
    int fds[WORKER_LISTENERS_MAX];
    struct addr own[WORKER_LISTENERS_MAX];
    unsigned n_fds;
    struct addr local[SERVE_LOCAL_MAX];
    unsigned n_local;
    struct policy policy;
    struct board *board;
    struct helper_pool *helpers;
    struct access_log *access, *diagnostics; /* may be the same */
    int access_fd;
    struct worker *workers[WORKER_MAX];
    unsigned n_workers, n_started;
};

/* ---- logs ---- */

static struct access_log *diagnostics_sink;

static void say_diagnostic(enum log_level level, const char *line, size_t n)
{
    char out[LOG_LINE_MAX];

    access_say(diagnostics_sink, out, log_format(level, line, n, out));
}

static int open_access(struct server *s)
{
    const struct conf *c = s->conf;

    s->access_fd = -1;
    switch (c->access) {
    case ACCESS_OFF:
        return 0;
    case ACCESS_STDERR:
        s->access = s->diagnostics;
        return 0;
    case ACCESS_STDOUT:
        s->access_fd = dup(STDOUT_FILENO);
        break;
    case ACCESS_FILE:
        s->access_fd = open(c->access_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        break;
    }
    if (s->access_fd < 0) {
        log_error("cannot open the access log %s: %s", c->access_file ? c->access_file : "stdout", err_text(-errno));
        return EXIT_NOPERM;
    }
    s->access = access_open(s->access_fd);
    return s->access ? 0 : EXIT_OSERR;
}

static int open_logs(struct server *s)
{
    log_set_level((enum log_level)s->conf->log_level);
    s->diagnostics = access_open(STDERR_FILENO);
    if (!s->diagnostics)
        return EXIT_OSERR;
    diagnostics_sink = s->diagnostics;
    log_set_sink(say_diagnostic);
    return open_access(s);
}

static void close_logs(struct server *s)
{
    log_set_sink(NULL);
    if (s->access != s->diagnostics)
        access_close(s->access);
    access_close(s->diagnostics);
    if (s->access_fd >= 0)
        close(s->access_fd);
}

/* ---- listeners ---- */

static int refused(const struct conf_listen *l, int error)
{
    log_error("cannot listen on %s: %s", l->text, err_text(error));
    if (error == -EADDRINUSE)
        log_error("another program has that port: stop it, or choose another with --listen or `listen:`");
    return error == -EACCES || error == -EPERM ? EXIT_NOPERM : EXIT_UNAVAILABLE;
}

static int open_listeners(struct server *s)
{
    const struct conf *c = s->conf;

    for (unsigned i = 0; i < c->n_listen && s->n_fds < WORKER_LISTENERS_MAX; i++) {
        struct addr a = c->listen[i].addr;
        char text[ADDR_TEXT_MAX];
        int fd = listener_open(&a);

        /* Nobody asked for [::1] by name: a machine without IPv6 does without. */
        if (c->listen[i].dflt && s->n_fds && (fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT)) {
            log_info("not listening on %s: %s", c->listen[i].text, err_text(fd));
            continue;
        }
        if (fd < 0)
            return refused(&c->listen[i], fd);
        s->fds[s->n_fds] = fd;
        s->own[s->n_fds++] = a;
        addr_text(&a, text);
        log_info("listening on %s", text);
    }
    return 0;
}

/* What a wildcard listener answers to besides loopback. */
static void find_local_addresses(struct server *s)
{
    struct ifaddrs *all;

    if (getifaddrs(&all) < 0)
        return;
    for (struct ifaddrs *i = all; i && s->n_local < SERVE_LOCAL_MAX; i = i->ifa_next) {
        if (!i->ifa_addr)
            continue;
        if (i->ifa_addr->sa_family == AF_INET)
            memcpy(&s->local[s->n_local++].in, i->ifa_addr, sizeof(struct sockaddr_in));
        else if (i->ifa_addr->sa_family == AF_INET6)
            memcpy(&s->local[s->n_local++].in6, i->ifa_addr, sizeof(struct sockaddr_in6));
    }
    freeifaddrs(all);
}

/* ---- workers ---- */

static unsigned count_cores(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

static void *worker_thread(void *arg)
{
    struct worker *w = arg;
    char name[16];

    snprintf(name, sizeof(name), "ginnel-%u", w->id);
    pthread_setname_np(pthread_self(), name);
    loop_run(&w->loop);
    atomic_store(&w->stopped, true);
    return NULL;
}

static int make_workers(struct server *s)
{
    unsigned n = s->conf->workers ? s->conf->workers : count_cores();
    struct worker_opts o = {
        .world = &world_linux,
        .conf = &s->conf->proxy,
        .policy = &s->policy,
        .resolve = &s->conf->resolve,
        .board = s->board,
        .helpers = s->helpers,
        .access = s->access,
    };

    for (; s->n_workers < n && s->n_workers < WORKER_MAX; s->n_workers++) {
        struct worker *w = mem_zalloc(sizeof(*w));

        o.id = s->n_workers;
        if (!w || worker_init(w, &o) < 0) {
            mem_free(w);
            return EXIT_OSERR;
        }
        s->workers[s->n_workers] = w;
        for (unsigned i = 0; i < s->n_fds; i++)
            if (worker_listen(w, s->fds[i]) < 0) {
                s->n_workers++;
                return EXIT_OSERR;
            }
    }
    return 0;
}

static int start_workers(struct server *s)
{
    for (unsigned i = 0; i < s->n_workers; i++) {
        s->workers[i]->peers = s->workers;
        s->workers[i]->n_peers = s->n_workers;
    }
    for (; s->n_started < s->n_workers; s->n_started++)
        if (pthread_create(&s->workers[s->n_started]->thread, NULL, worker_thread, s->workers[s->n_started]))
            return EXIT_OSERR;
    log_info("ready: %u %s", s->n_workers, s->n_workers == 1 ? "worker" : "workers");
    return 0;
}

/* Clients are refused from now on. The descriptors stay open until the workers have let go of them. */
static void stop_listening(struct server *s)
{
    for (unsigned i = 0; i < s->n_fds; i++)
        shutdown(s->fds[i], SHUT_RDWR);
}

static void drain_workers(struct server *s, uint64_t grace_ms)
{
    stop_listening(s);
    for (unsigned i = 0; i < s->n_started; i++)
        worker_post_drain(s->workers[i], grace_ms);
}

static bool all_stopped(const struct server *s)
{
    for (unsigned i = 0; i < s->n_started; i++)
        if (!atomic_load(&s->workers[i]->stopped))
            return false;
    return true;
}

/* ---- signals ---- */

static void block_signals(sigset_t *ret_set)
{
    static const int taken[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(ret_set);
    for (unsigned i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        sigaddset(ret_set, taken[i]);
    /* Threads inherit the mask: only the main thread takes them. */
    pthread_sigmask(SIG_BLOCK, ret_set, NULL);
}

static void say_drain(const struct server *s, int sig)
{
    if (sig == SIGQUIT)
        log_info("draining without limit: no new connections, running requests and tunnels may end by themselves");
    else
        log_info("draining: no new connections, running requests and tunnels have %.1f s; a second signal stops now",
                 (double)s->conf->proxy.timeouts.drain / 1000);
}

static void wait_for_the_end(struct server *s, const sigset_t *set)
{
    const struct timespec poll = {.tv_nsec = SERVE_POLL_MS * 1000000L};
    bool draining = false;

    while (!all_stopped(s)) {
        int sig = draining ? sigtimedwait(set, NULL, &poll) : sigwaitinfo(set, NULL);

        if (sig < 0)
            continue;
        if (sig == SIGHUP || sig == SIGUSR1 || sig == SIGUSR2) {
            /* Their defaults would kill the proxy. */
            log_warn("%s is not in this build: nothing was done", sig == SIGHUP ? "reloading (HUP)" : "USR1 and USR2");
        } else if (draining && sig != SIGQUIT) {
            log_info("stopping now");
            drain_workers(s, 0);
        } else if (!draining) {
            draining = true;
            say_drain(s, sig);
            drain_workers(s, sig == SIGQUIT ? UINT64_MAX : s->conf->proxy.timeouts.drain);
        }
    }
}

/* ---- all of it ---- */

/* No table is sized by the limit (U59); it only says when clients are turned away. */
static void raise_fd_limit(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static int open_all(struct server *s)
{
    const struct conf *c = s->conf;
    int r = open_logs(s);

    if (r)
        return r;
    if (c->file)
        log_info("ginnel %s, configuration %s", GINNEL_VERSION, c->file);
    else
        log_info("ginnel %s, no configuration file", GINNEL_VERSION);
    r = open_listeners(s);
    if (r)
        return r;
    find_local_addresses(s);
    s->policy = (struct policy){.own = s->own, .n_own = s->n_fds, .local = s->local, .n_local = s->n_local};
    if (!c->clients_any) {
        s->policy.clients = c->clients;
        s->policy.n_clients = c->n_clients;
    }
    s->board = board_new(SERVE_FACTS, RESOLVE_FACT_MAX);
    s->helpers = c->resolve.system ? helper_pool_new(SERVE_HELPERS, SERVE_HELPER_QUEUE) : NULL;
    if (!s->board || (c->resolve.system && !s->helpers))
        return EXIT_OSERR;
    r = make_workers(s);
    return r ? r : start_workers(s);
}

static void close_all(struct server *s)
{
    for (unsigned i = 0; i < s->n_started; i++)
        pthread_join(s->workers[i]->thread, NULL);
    helper_pool_free(s->helpers);
    for (unsigned i = 0; i < s->n_workers; i++)
        worker_done(s->workers[i]);
    for (unsigned i = 0; i < s->n_fds; i++)
        close(s->fds[i]);
    board_free(s->board);
    log_info("stopped");
    close_logs(s);
    for (unsigned i = 0; i < s->n_workers; i++)
        mem_free(s->workers[i]);
}

int serve(struct conf *c)
{
    struct server *s = mem_zalloc(sizeof(*s));
    sigset_t set;
    int r;

    if (!s)
        return EXIT_OSERR;
    s->conf = c;
    s->access_fd = -1;
    hash_seed();
    raise_fd_limit();
    block_signals(&set);
    r = open_all(s);
    if (r == 0)
        wait_for_the_end(s, &set);
    else if (s->n_started)
        drain_workers(s, 0);
    close_all(s);
    mem_free(s);
    return r;
}
