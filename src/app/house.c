/* SPDX-License-Identifier: MIT */
/* house: the main thread's loop: signals, changed files, systemd's watchdog, and the end: TERM and INT drain, a second one stops at once, QUIT drains
 * without limit. The admin address and the control socket are served here until everything else has stopped.
 */
#include "app/sd.h"
#include "app/server.h"
#include "app/tls_keylog.h"
#include "base/err.h"
#include "base/log.h"

#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* ---- signals ---- */

static void signals_ready(struct watch *w, unsigned events)
{
    struct server *s = CONTAINER_OF(w, struct server, signals);
    struct signalfd_siginfo si;

    UNUSED(events);
    while (read(w->fd, &si, sizeof(si)) == sizeof(si))
        if (si.ssi_signo < 32) {
            /* The second of these is another order than the first: it must not be lost when both are there. */
            s->drain_asked += si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT;
            s->pending |= 1u << si.ssi_signo;
        }
    task_wake(&s->task, TASK_RX);
}

static bool take(struct server *s, int sig)
{
    bool came = s->pending & (1u << sig);

    s->pending &= ~(1u << sig);
    return came;
}

static void stop_signals(struct server *s)
{
    bool term = take(s, SIGTERM), interrupted = take(s, SIGINT);

    if (term || interrupted) {
        /* After QUIT the first one sets the limit; after `ginnel drain` it changes nothing. */
        if (s->phase == HOUSE_RUN || s->drain_until_ms == UINT64_MAX)
            house_drain(s, s->current->conf->proxy.timeouts.drain);
        else if (s->drain_asked == 1)
            log_info("draining already; a second signal stops now");
        if (s->drain_asked > 1)
            house_drain(s, 0);
    }
    if (take(s, SIGQUIT) && s->phase == HOUSE_RUN)
        house_drain(s, UINT64_MAX);
}

static void handle_signals(struct server *s)
{
    stop_signals(s);
    if (take(s, SIGUSR1)) {
        log_info("opening the logs again");
        access_reopen(s->log);
    }
    if (take(s, SIGUSR2))
        house_dump(s);
    if (take(s, SIGHUP))
        reload_soon(s, RELOAD_BY_HUP);
}

/* ---- the end ---- */

void house_drain(struct server *s, uint64_t grace_ms)
{
    if (s->phase == HOUSE_RUN)
        sd_notify("STOPPING=1\nSTATUS=draining");
    if (grace_ms == 0)
        log_info("stopping now");
    else if (grace_ms == UINT64_MAX)
        log_info("draining without limit: no new connections, running requests and tunnels may end by themselves");
    else
        log_info("draining: no new connections, running requests and tunnels have %.1f s; a second signal stops now", (double)grace_ms / 1000);
    for (unsigned i = 0; i < s->listeners.n && s->phase == HOUSE_RUN; i++)
        if (s->listeners.v[i]->role == LISTEN_PROXY)
            listeners_deafen(s->listeners.v[i]);
    s->drain_until_ms = grace_ms == UINT64_MAX ? UINT64_MAX : s->house.loop.now_ms + grace_ms;
    if (s->phase == HOUSE_RUN)
        s->phase = HOUSE_DRAIN;
    for (unsigned i = 0; i < s->n_started; i++)
        worker_post_drain(s->workers[i], grace_ms);
    timer_set(&s->timer, SERVER_TICK_MS);
}

/* What had come before is being served; from now on the kernel refuses. */
static void go_deaf(struct server *s)
{
    for (unsigned i = 0; i < s->n_started; i++)
        if (!atomic_load(&s->workers[i]->deaf))
            return;
    listeners_close_role(&s->listeners, LISTEN_PROXY);
    s->phase = HOUSE_DEAF;
}

static bool all_stopped(const struct server *s)
{
    for (unsigned i = 0; i < s->n_started; i++)
        if (!atomic_load(&s->workers[i]->stopped))
            return false;
    return true;
}

/* ---- time ---- */

static void ping_run(struct msg *m, struct loop *loop)
{
    UNUSED(loop);
    atomic_store(&CONTAINER_OF(m, struct server_ping, msg)->out, false);
}

static void ping(struct worker *w, struct server_ping *p)
{
    p->msg.run = ping_run;
    atomic_store(&p->out, true);
    /* A full inbox is seen by how long the turn takes. */
    if (!loop_post(&w->loop, &p->msg))
        atomic_store(&p->out, false);
}

/* Its thread is interrupted: what it runs goes into the line, its stack, once, to stderr. */
static void say_stuck(struct server *s, unsigned i)
{
    struct stall_seen seen = {0};
    bool known = stall_ask(&s->workers[i]->stall, !s->pings[i].said, SERVER_SEEN_MS, &seen);
    double turn_s = (double)house_turn_ms(s->workers[i]) / 1000;

    s->pings[i].said = true;
    log_warn("worker %u does not turn, for %.1f s; task %s%s%s: systemd is sent no keep-alive", i, turn_s,
             !known ? "unknown" : seen.task ? seen.task : "none", seen.step ? ", step " : "", seen.step ? seen.step : "");
}

/* A turn that takes longer than half of the manager's interval. */
static bool worker_alive(struct server *s, unsigned i)
{
    struct worker *w = s->workers[i];
    struct server_ping *p = &s->pings[i];

    if (atomic_load(&w->stopped))
        return true;
    if (atomic_load(&p->out) || house_turn_ms(w) > s->watchdog_ms) {
        say_stuck(s, i);
        return false;
    }
    p->said = false;
    return true;
}

/* systemd hears from us only while every worker's loop turns. */
static void watchdog(struct server *s)
{
    uint64_t now_ms = s->house.loop.now_ms;
    bool alive = true, late;

    if (!s->watchdog_ms || now_ms < s->watchdog_at_ms)
        return;
    /* So late that all of the process stood still (SIGSTOP): the workers could not turn, and are judged the next time. */
    late = now_ms - s->watchdog_at_ms > s->watchdog_ms;
    s->watchdog_at_ms = now_ms + s->watchdog_ms;
    for (unsigned i = 0; i < s->n_started; i++) {
        if (!late && !worker_alive(s, i))
            alive = false;
        else if (!atomic_load(&s->pings[i].out) && !atomic_load(&s->workers[i]->stopped))
            ping(s->workers[i], &s->pings[i]);
    }
    if (alive)
        sd_notify("WATCHDOG=1");
}

static void set_timer(struct server *s)
{
    uint64_t at_ms = UINT64_MAX;

    if (s->watchdog_ms)
        at_ms = s->watchdog_at_ms;
    if (s->reload_at_ms && s->reload_at_ms < at_ms)
        at_ms = s->reload_at_ms;
    if (s->tls.renew_at_ms < at_ms)
        at_ms = s->tls.renew_at_ms;
    if (s->phase >= HOUSE_DRAIN && s->house.loop.now_ms + SERVER_TICK_MS < at_ms)
        at_ms = s->house.loop.now_ms + SERVER_TICK_MS;
    if (at_ms != UINT64_MAX)
        timer_set_at(&s->timer, at_ms);
}

/* Keys of tickets, and the certificate that is made here. */
static void renew_tls(struct server *s)
{
    if (tls_house_renew(&s->tls, s->house.loop.now_ms) && s->phase == HOUSE_RUN)
        reload_soon(s, RELOAD_BY_AGE);
}

static void house_turn(struct task *t, unsigned bits)
{
    struct server *s = CONTAINER_OF(t, struct server, task);

    UNUSED(bits);
    if (s->phase == HOUSE_STOP)
        return;
    if (s->pending)
        handle_signals(s);
    if (s->keylog)
        tls_keylog_write(s->keylog);
    if (s->reload_at_ms && s->house.loop.now_ms >= s->reload_at_ms)
        reload_again(s);
    reload_retire(s);
    renew_tls(s);
    watchdog(s);
    if (s->phase == HOUSE_DRAIN)
        go_deaf(s);
    if (s->phase == HOUSE_DEAF && all_stopped(s)) {
        s->phase = HOUSE_STOP;
        worker_drain(&s->house, 0);
        return;
    }
    set_timer(s);
}

/* ---- from other threads ---- */

static void notice_run(struct msg *m, struct loop *loop)
{
    struct server *s = CONTAINER_OF(m, struct server, retire_msg);

    UNUSED(loop);
    /* After the end nobody listens any more: the flag stays up, and keeps others from posting. */
    if (s->phase == HOUSE_STOP)
        return;
    atomic_store(&s->retire_posted, false);
    task_wake(&s->task, TASK_GONE);
}

void house_notice(struct server *s)
{
    if (atomic_exchange(&s->retire_posted, true))
        return;
    s->retire_msg.run = notice_run;
    if (!loop_post(&s->house.loop, &s->retire_msg))
        atomic_store(&s->retire_posted, false); /* the inbox is full of others that wake it */
}

/* ---- life ---- */

static void files_changed(struct task *t, unsigned bits)
{
    struct server *s = CONTAINER_OF(t, struct server, files_task);

    UNUSED(bits);
    if (s->phase == HOUSE_RUN)
        reload_soon(s, RELOAD_BY_FILE);
}

void house_signals(sigset_t *ret_set)
{
    static const int taken[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};

    sigemptyset(ret_set);
    for (unsigned i = 0; i < ARRAY_LEN(taken); i++)
        sigaddset(ret_set, taken[i]);
}

static int watch_signals(struct server *s)
{
    sigset_t set;

    house_signals(&set);
    s->signals = (struct watch){.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), .events = EPOLLIN, .ready = signals_ready};
    return s->signals.fd < 0 ? -errno : loop_watch(&s->house.loop, &s->signals);
}

int house_start(struct server *s)
{
    struct loop *loop = &s->house.loop;
    int r;

    task_init(&s->task, loop, "house", house_turn);
    task_init(&s->files_task, loop, "files", files_changed);
    timer_init(&s->timer, &s->task);
    house_dump_start(s);
    s->tls.renew_at_ms = loop->now_ms + TLS_ROTATE_MS;
    if (s->keylog)
        tls_keylog_start(s->keylog, loop, &s->task);
    r = watch_signals(s);
    if (r < 0)
        return r;
    if (s->current->conf->file) {
        r = filewatch_new(loop, &s->files_task, &s->files);
        if (r < 0)
            return r;
        reload_watch(s);
        if (!filewatch_instant(s->files))
            log_warn("no inotify: changed files are looked for every %d s", FILEWATCH_POLL_MS / 1000);
    }
    s->watchdog_ms = sd_watchdog_ms();
    s->watchdog_at_ms = loop->now_ms + s->watchdog_ms;
    return 0;
}

void house_run(struct server *s)
{
    s->phase = HOUSE_RUN;
    /* Signals that came during the start are waiting in the descriptor. */
    task_wake(&s->task, TASK_TIMER);
    loop_run(&s->house.loop);
}

void house_released(void *owner)
{
    house_notice(owner);
}

void house_done(struct server *s)
{
    s->phase = HOUSE_STOP;
    atomic_store(&s->retire_posted, true);
    filewatch_free(s->files);
    if (s->signals.fd > 0) {
        loop_unwatch(&s->house.loop, &s->signals);
        close(s->signals.fd);
    }
    house_dump_done(s);
    timer_stop(&s->timer);
    task_cancel(&s->task);
    task_cancel(&s->files_task);
}
