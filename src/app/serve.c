/* SPDX-License-Identifier: MIT */
/* serve: opens what the configuration names, starts the workers and the house, and takes everything down again in the opposite order. What fails at the
 * start ends the process with a sentence and its exit code; nothing is left half open.
 */
#include "app/serve.h"

#include "app/control.h"
#include "app/sd.h"
#include "app/server.h"
#include "app/tls_keylog.h"
#include "base/board.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "build_config.h"
#include "io/fds.h"
#include "io/pipes.h"
#include "proxy/xchg.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- logs ---- */

static struct access_log *diagnostics;

static void say_diagnostic(enum log_level level, const char *line, size_t n)
{
    char out[LOG_LINE_MAX];

    access_say(diagnostics, out, log_format(level, line, n, out));
}

static int open_diagnostics(struct server *s, const struct conf *c)
{
    log_set_level((enum log_level)c->log_level);
    s->log = access_new(STDERR_FILENO);
    if (!s->log)
        return EXIT_OSERR;
    diagnostics = s->log;
    log_set_sink(say_diagnostic);
    return 0;
}

static int open_access_logs(struct server *s, const struct conf *c)
{
    struct access_set *set;
    unsigned at = 0;
    int r = access_open(c->outputs, c->n_outputs, &set, &at);

    if (r == 0) {
        access_switch(s->log, set);
        return 0;
    }
    log_error("cannot open the access log %s: %s", r != ERR_NOMEM && c->outputs[at].path ? c->outputs[at].path : "", err_text(r));
    return r == ERR_NOMEM || r == -ENOMEM || r == -EMFILE || r == -ENFILE ? EXIT_OSERR : EXIT_NOPERM;
}

/* ---- limits ---- */

/* No table is sized by the limit (U59); it only says when clients are turned away. */
static void raise_fd_limit(void)
{
    struct rlimit r;
    rlim_t before;

    if (getrlimit(RLIMIT_NOFILE, &r))
        return;
    before = r.rlim_cur;
    r.rlim_cur = r.rlim_max;
    if (before < r.rlim_max && setrlimit(RLIMIT_NOFILE, &r) == 0)
        log_info("open files: %llu (raised from %llu)", (unsigned long long)r.rlim_max, (unsigned long long)before);
    else
        log_info("open files: %llu", (unsigned long long)before);
    fds_keep();
}

static void block_signals(void)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    house_signals(&set);
    /* Blocked here and in all threads but those that it watches. */
    stall_setup();
    /* Threads inherit the mask: the house reads them from a descriptor. */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* ---- listeners ---- */

static int adopt_sockets(struct server *s)
{
    struct listeners_error e;
    int fds[SD_FDS_MAX], n = s->n_handed;

    if (n < 0) {
        log_error("LISTEN_FDS and LISTEN_PID of the environment make no sense: %s", err_text(n));
        return EXIT_CONFIG;
    }
    for (int i = 0; i < n; i++)
        fds[i] = SD_FDS_START + i;
    if (listeners_adopt(&s->listeners, fds, (unsigned)n, &e) < 0) {
        log_error("%s", e.text);
        return e.exit_code;
    }
    return 0;
}

/* A place that nobody wrote is a convenience: another instance may have it, or there is none for this user. */
static bool plan_without_control(struct server *s, const struct conf *c, const struct listeners_error *e)
{
    if (!s->control || c->control != CONF_CONTROL_DEFAULT || !strstr(e->text, s->control))
        return false;
    log_info("no control socket: %s", e->text);
    mem_free(s->control);
    s->control = NULL;
    return true;
}

/* The folder of the default place is ours to make; of a place that was written it is the operator's. */
static void place_control(struct server *s, const struct conf *c)
{
    char path[CONTROL_PATH], why[CONTROL_WHY], *slash;
    int r = control_path(c, path, why);

    if (r < 0) {
        if (c->control != CONF_CONTROL_OFF)
            log_info("no control socket: %s", why);
        return;
    }
    s->control = mem_dup(path, strlen(path));
    slash = strrchr(path, '/');
    if (c->control == CONF_CONTROL_DEFAULT && slash && slash != path) {
        *slash = '\0';
        if (mkdir(path, 0700) && errno != EEXIST)
            log_debug("%s: %s", path, err_text(-errno));
    }
}

static int plan_listeners(struct server *s, const struct conf *c, struct listeners_plan *p)
{
    struct listeners_error e;
    int r;

    place_control(s, c);
    r = listeners_plan(&s->listeners, c, s->control, p, &e);
    if (r < 0 && plan_without_control(s, c, &e))
        r = listeners_plan(&s->listeners, c, NULL, p, &e);
    if (r == 0)
        return 0;
    log_error("%s", e.text);
    return e.exit_code;
}

static int open_edition(struct server *s, struct conf *c)
{
    struct listen_socket *removed[LISTENERS_MAX];
    struct listeners_plan p;
    unsigned n;
    int r = adopt_sockets(s);

    if (r == 0)
        r = plan_listeners(s, c, &p);
    if (r == 0) {
        r = open_access_logs(s, c);
        if (r)
            listeners_drop(&s->listeners, &p);
    }
    if (r) {
        conf_free(c);
        return r;
    }
    listeners_commit(&s->listeners, &p, removed, &n);
    s->current = edition_new(c, &p, ++s->generation);
    if (!s->current || edition_start_programs(s->current, &s->programs) < 0)
        return EXIT_OSERR;
    s->current->snap.released = house_released;
    s->current->snap.owner = s;
    reload_say_listeners(&p, true);
    edition_say(s->current, NULL);
    return 0;
}

/* ---- workers ---- */

static unsigned count_cores(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

static void watch_for_stalls(struct worker *w)
{
    struct stall_opts o = {
        .id = w->id, .fd = STDERR_FILENO, .describe = xchg_describe, .count = &w->stats.v[COUNTER_LOOP_STALLS]};
    int r = stall_start(&w->stall, &w->loop, &o);

    if (r < 0)
        log_warn("worker %u is not watched for turns that do not end: %s", w->id, err_text(r));
}

static void *worker_thread(void *arg)
{
    struct worker *w = arg;
    char name[16];

    snprintf(name, sizeof(name), "ginnel-%u", w->id);
    pthread_setname_np(pthread_self(), name);
    mem_count(true);
    watch_for_stalls(w);
    loop_run(&w->loop);
    stall_stop(&w->stall);
    atomic_store(&w->stopped, true);
    return NULL;
}

static int listen_all(struct server *s, struct worker *w, bool house)
{
    for (unsigned i = 0; i < s->listeners.n; i++) {
        const struct listen_socket *l = s->listeners.v[i];
        int r = (l->role != LISTEN_PROXY) == house ? worker_listen(w, l->fd, l->id, l->role) : 0;

        if (r < 0) {
            log_error("cannot accept on %s: %s", l->text, err_text(r));
            return EXIT_OSERR;
        }
    }
    return 0;
}

void serve_keep_quotas(struct server *s, const struct conf *c)
{
    char folder[QUOTA_PATH];
    bool any = false;

    for (unsigned i = 0; i < c->n_limits; i++)
        any |= c->limits[i].quota > 0;
    if (!any || s->quotas_tried)
        return;
    s->quotas_tried = true;
    if (quota_file_folder(folder) == 0)
        s->quotas = quota_file_start(s->charges, folder);
    else
        log_error("quotas are not saved, and begin at zero: neither STATE_DIRECTORY nor XDG_STATE_HOME nor HOME names a folder");
}

static unsigned count_workers(const struct conf *c)
{
    return (unsigned)min_size(c->workers ? c->workers : count_cores(), WORKER_MAX);
}

static int make_contexts(struct server *s)
{
    char text[TLS_SETS_TEXT];
    int r;

    s->keylog = tls_keylog_open();
    tls_house_init(&s->tls, count_workers(s->current->conf), s->keylog);
    s->tls_made = true;
    r = tls_sets_make(&s->tls, s->current, NULL, text);
    if (r < 0)
        log_error("%s", text);
    else
        tls_sets_commit(&s->tls, s->current);
    return r == 0 ? 0 : r == ERR_NOMEM ? EXIT_OSERR : EXIT_CONFIG;
}

static int make_workers(struct server *s)
{
    unsigned n = count_workers(s->current->conf);
    struct worker_opts o = {
        .world = &world_linux,
        .snap = &s->current->snap,
        .board = s->board,
        .helpers = s->helpers,
        .verifiers = s->verifiers,
        .capacity = s->capacity,
        .denials = s->denials,
        .charges = s->charges,
        .access = s->log,
    };

    for (; s->n_workers < n; s->n_workers++) {
        struct worker *w = mem_zalloc(sizeof(*w));

        o.id = s->n_workers;
        if (!w || worker_init(w, &o) < 0) {
            mem_free(w);
            return EXIT_OSERR;
        }
        s->workers[s->n_workers] = w;
        if (listen_all(s, w, false)) {
            s->n_workers++;
            return EXIT_OSERR;
        }
    }
    return 0;
}

static int make_house(struct server *s)
{
    struct worker_opts o = {
        .id = WORKER_HOUSE, .world = &world_linux, .snap = &s->current->snap, .site = site_answer, .site_owner = &s->site};

    house_site(s);
    if (worker_init(&s->house, &o) < 0)
        return EXIT_OSERR;
    s->house_made = true;
    if (house_start(s) < 0)
        return EXIT_OSERR;
    return listen_all(s, &s->house, true);
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

/* ---- all of it ---- */

static int open_all(struct server *s, struct conf *c)
{
    int r = open_diagnostics(s, c);

    if (r) {
        conf_free(c);
        return r;
    }
    if (c->file)
        log_info("ginnel %s, configuration %s", GINNEL_VERSION, c->file);
    else
        log_info("ginnel %s, no configuration file", GINNEL_VERSION);
    raise_fd_limit();
    pipes_limit(c->proxy.capacity.pipes);
    r = open_edition(s, c);
    if (r)
        return r;
    s->board = board_new(SERVER_FACTS, max_size(RESOLVE_FACT_MAX, USERS_FACT_MAX));
    s->helpers = helper_pool_new(SERVER_HELPERS, SERVER_HELPER_QUEUE);
    s->verifiers = helper_pool_new((unsigned)min_size(count_cores(), SERVER_VERIFIERS), SERVER_VERIFIER_QUEUE);
    s->capacity = capacity_new();
    s->denials = denials_new();
    s->charges = charge_table_new();
    if (!s->board || !s->helpers || !s->verifiers || !s->capacity || !s->denials || !s->charges)
        return EXIT_OSERR;
    serve_keep_quotas(s, s->current->conf);
    r = make_contexts(s);
    if (r == 0)
        r = make_house(s);
    if (r == 0)
        r = make_workers(s);
    return r ? r : start_workers(s);
}

static void close_all(struct server *s)
{
    for (unsigned i = 0; i < s->n_started; i++)
        pthread_join(s->workers[i]->thread, NULL);
    helper_pool_free(s->helpers);
    helper_pool_free(s->verifiers);
    programs_stop(&s->programs);
    for (unsigned i = 0; i < s->n_workers; i++)
        worker_done(s->workers[i]);
    if (s->house_made) {
        worker_drain(&s->house, 0);
        house_done(s);
        worker_done(&s->house);
    }
    for (unsigned i = 0; i < s->n_removed; i++)
        listeners_close(s->removed[i]);
    listeners_done(&s->listeners);
    board_free(s->board);
    capacity_free(s->capacity);
    denials_free(s->denials);
    quota_file_stop(s->quotas);
    charge_table_free(s->charges);
    if (s->log)
        log_info("stopped");
    log_set_sink(NULL);
    access_free(s->log);
    for (unsigned i = 0; i < s->n_workers; i++)
        mem_free(s->workers[i]);
    LIST_EACH(it, &s->retired)
    edition_free(LIST_ENTRY(it, struct edition, link));
    edition_free(s->current);
    if (s->tls_made)
        tls_house_done(&s->tls);
    tls_keylog_close(s->keylog);
    mem_free(s->last_errors);
    mem_free(s->control);
}

/* For debuggers, which have nothing else to begin with (tools/gdb/ginnel.py). */
__attribute__((used)) static struct server *volatile the_server;

int serve(const struct conf_args *args, struct conf *conf)
{
    struct server *s = mem_zalloc(sizeof(*s));
    const char *handed_names[SD_FDS_MAX];
    int r;

    if (!s) {
        conf_free(conf);
        return EXIT_OSERR;
    }
    the_server = s;
    s->args = args;
    s->start_wall_ms = (uint64_t)time(NULL) * 1000;
    s->last_good_wall_ms = s->start_wall_ms;
    list_init(&s->retired);
    programs_init(&s->programs);
    /* Before anything else can get the numbers of these descriptors. */
    s->n_handed = sd_listen_fds(handed_names);
    block_signals();
    r = open_all(s, conf);
    if (r == 0) {
        sd_notify("READY=1\nSTATUS=serving, %u workers", s->n_workers);
        house_run(s);
    } else {
        if (r == EXIT_OSERR)
            log_error("cannot start: the system refuses memory, threads or descriptors");
        for (unsigned i = 0; i < s->n_started; i++)
            worker_post_drain(s->workers[i], 0);
    }
    close_all(s);
    the_server = NULL;
    mem_free(s);
    return r;
}
