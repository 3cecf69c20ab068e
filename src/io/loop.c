/* SPDX-License-Identifier: MIT */
/* loop: the turn. Everything that happens in a worker happens in one of the seven phases of loop_turn(). I/O only marks
 * and wakes; the rooms run from the run queue. Nothing is freed before the last phase, so that no task, conn or stream can
 * die inside a call that still uses it.
 */
#include "io/loop.h"

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/conn.h"
#include "io/conn_tls.h"
#include "io/pipes.h"

#include <limits.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    LOOP_BLOCK = 16384 + 64, /* a relay's copy and a block header */
    LOOP_PAGE = 4096,
    LOOP_KEEP = 128,   /* free blocks and pages kept */
    LOOP_INBOX = 4096, /* messages waiting */
    LOOP_FULL_WAITS = 64,
    LINUX_LATE_MS = 250, /* no turn takes that long */
    LINUX_SLEPT_US = 5, /* a wait that found something at once is shorter */
    WATCH_TAG = 1, /* low bit of the epoll cookie: a watch, not a conn */
};

/* ---- tasks ---- */

void task_init(struct task *t, struct loop *loop, const char *name, void (*run)(struct task *t, unsigned bits))
{
    list_init(&t->link);
    t->loop = loop;
    t->run = run;
    t->name = name;
    t->bits = 0;
    t->bulk = false;
}

void task_wake(struct task *t, unsigned bits)
{
    if (!t)
        return;
    t->bits |= (uint8_t)bits;
    if (list_empty(&t->link))
        list_push(t->bulk ? &t->loop->bulk : &t->loop->small, &t->link);
}

void task_cancel(struct task *t)
{
    list_del(&t->link);
    t->bits = 0;
}

static void loop_run_task(struct loop *loop, struct list *l)
{
    struct task *t = LIST_ENTRY(l, struct task, link);
    unsigned bits = t->bits;

    t->bits = 0;
    loop->tasks_run++;
    atomic_store_explicit(&loop->running, t, memory_order_relaxed);
    t->run(t, bits);
    atomic_store_explicit(&loop->running, NULL, memory_order_relaxed);
}

/* What is woken meanwhile joins the end, and what is over the cap waits for the next turn, so that tasks waking each other
 * cannot keep the loop from the sockets. */
static void loop_run_small(struct loop *loop)
{
    unsigned cap = LOOP_SMALL_CAP;
    struct list *l;

    loop->small_ran = !list_empty(&loop->small);
    while (cap-- && (l = list_pop(&loop->small)))
        loop_run_task(loop, l);
}

/* By time: one task may move a quarter of a megabyte. One that goes on joins the end, so all get their share. */
static void loop_run_bulk(struct loop *loop)
{
    struct list *l = list_pop(&loop->bulk);
    uint64_t until_us;

    if (!l)
        return;
    until_us = loop->world->now_us(loop) + LOOP_BULK_US;
    for (unsigned cap = LOOP_SMALL_CAP; l && cap; cap--) {
        loop_run_task(loop, l);
        if (loop->world->now_us(loop) >= until_us)
            return;
        l = list_pop(&loop->bulk);
    }
    /* Only where time stands still (the simulation) is the cap reached: it is put back in its place. */
    if (l)
        list_push_front(&loop->bulk, l);
}

/* ---- timers ---- */

void timer_init(struct timer *t, struct task *task)
{
    wheel_node_init(&t->node);
    t->task = task;
}

void timer_set_at(struct timer *t, uint64_t due_ms)
{
    wheel_set(&t->task->loop->wheel, &t->node, due_ms);
}

void timer_set(struct timer *t, uint64_t delay_ms)
{
    timer_set_at(t, t->task->loop->now_ms + delay_ms);
}

void timer_stop(struct timer *t)
{
    wheel_del(&t->task->loop->wheel, &t->node);
}

static void loop_timers(struct loop *loop)
{
    struct wheel_node *n;

    while ((n = wheel_pop(&loop->wheel, loop->now_ms)))
        task_wake(LIST_ENTRY(n, struct timer, node)->task, TASK_TIMER);
}

/* ---- the clock ---- */

static void loop_clock(struct loop *loop)
{
    uint64_t us = loop->world->now_us(loop);

    if (us > loop->now_us)
        loop->now_us = us;
    loop->now_ms = loop->now_us / 1000;
    loop->wall_ms = loop->world->wall_ms(loop);
}

void loop_awake(struct loop *loop, bool slept)
{
    uint64_t before_us = loop->now_us;

    loop_clock(loop);
    loop->readable_us = slept ? loop->now_us : before_us;
}

/* ---- the world: Linux ---- */

static uint64_t linux_now_us(struct loop *loop)
{
    struct timespec ts;

    UNUSED(loop);
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static uint64_t linux_wall_ms(struct loop *loop)
{
    struct timespec ts;

    UNUSED(loop);
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

static int linux_wait(struct loop *loop, int timeout_ms)
{
    struct epoll_event ev[LOOP_EVENTS];
    uint64_t turn_us = loop->now_us;
    uint64_t before_us = timeout_ms ? linux_now_us(loop) : 0;
    int n = epoll_wait(loop->epfd, ev, LOOP_EVENTS, timeout_ms);
    int error;

    /* The process may have been stopped for long: what has come meanwhile counts before the deadlines do. */
    if (n < 0 && errno == EINTR)
        n = epoll_wait(loop->epfd, ev, LOOP_EVENTS, 0);
    error = errno;
    loop->full_waits = n == LOOP_EVENTS ? loop->full_waits + 1 : 0;

    /* It may have been a long sleep: a deadline set by what follows counts from now. */
    loop_awake(loop, timeout_ms && linux_now_us(loop) - before_us > LINUX_SLEPT_US);
    /* Much longer than it wanted to wait: the process was stopped, perhaps between being told and looking at the clock, and what
     * came meanwhile is not in what it was told. Not twice in a row: there are loops with long turns. */
    loop->look_again = !loop->look_again && timeout_ms >= 0 &&
                       loop->now_us - turn_us > ((uint64_t)timeout_ms + LINUX_LATE_MS) * 1000;
    if (n < 0)
        return error == EINTR ? 0 : -error;
    for (int i = 0; i < n; i++) {
        uintptr_t cookie = (uintptr_t)ev[i].data.u64;

        if (cookie & WATCH_TAG) {
            struct watch *w = (struct watch *)(cookie & ~(uintptr_t)WATCH_TAG);

            w->ready(w, ev[i].events);
        } else {
            conn_ready((struct conn *)cookie, ev[i].events);
        }
    }
    return 0;
}

const struct world_ops world_linux = {
    .now_us = linux_now_us,
    .wall_ms = linux_wall_ms,
    .wait = linux_wait,
    .dial = conn_tcp_dial,
};

int loop_watch(struct loop *loop, struct watch *w)
{
    struct epoll_event e = {.events = w->events, .data.u64 = (uintptr_t)w | WATCH_TAG};

    if (loop->epfd < 0)
        return 0;
    return epoll_ctl(loop->epfd, EPOLL_CTL_ADD, w->fd, &e) ? -errno : 0;
}

int loop_rewatch(struct loop *loop, struct watch *w)
{
    struct epoll_event e = {.events = w->events, .data.u64 = (uintptr_t)w | WATCH_TAG};

    if (loop->epfd < 0)
        return 0;
    return epoll_ctl(loop->epfd, EPOLL_CTL_MOD, w->fd, &e) ? -errno : 0;
}

void loop_unwatch(struct loop *loop, struct watch *w)
{
    if (loop->epfd >= 0)
        epoll_ctl(loop->epfd, EPOLL_CTL_DEL, w->fd, NULL);
}

/* ---- messages from other threads ---- */

bool loop_post(struct loop *loop, struct msg *m)
{
    bool was_empty;
    uint64_t one = 1;

    if (!ring_ptr_put(&loop->inbox, m, &was_empty))
        return false;
    /* A full eventfd counter would need 2^64 posts: the write cannot block. */
    if (was_empty && loop->wakefd >= 0 && write(loop->wakefd, &one, sizeof(one)) < 0)
        log_limited(LOG_ERROR, 1, "cannot wake a worker: %s", err_text(-errno));
    return true;
}

static void loop_inbox(struct loop *loop)
{
    struct msg *m;

    /* What is over the cap waits a turn, and nobody will wake the loop for it. */
    loop->inbox_more = true;
    for (int i = 0; i < LOOP_INBOX; i++) {
        m = ring_ptr_get(&loop->inbox);
        if (!m) {
            loop->inbox_more = false;
            return;
        }
        m->run(m, loop);
    }
}

static void loop_woken(struct watch *w, unsigned events)
{
    uint64_t n;

    UNUSED(events);
    if (read(w->fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
        log_limited(LOG_ERROR, 1, "cannot read a worker's wake-up: %s", err_text(-errno));
}

/* ---- the end of a turn ---- */

void loop_flush_later(struct loop *loop, struct flush *f)
{
    if (list_empty(&f->link))
        list_push(&loop->flush, &f->link);
}

static void loop_flush(struct loop *loop)
{
    struct list now, *l;

    /* What is queued while flushing waits for the next turn. */
    list_init(&now);
    list_splice(&now, &loop->flush);
    while ((l = list_pop(&now))) {
        struct flush *f = LIST_ENTRY(l, struct flush, link);

        f->run(f);
    }
}

void loop_bury(struct loop *loop, struct grave *g)
{
    list_push(&loop->grave, &g->link);
}

static void loop_graveyard(struct loop *loop)
{
    struct list *l;

    while ((l = list_pop(&loop->grave))) {
        struct grave *g = LIST_ENTRY(l, struct grave, link);

        g->free(g);
    }
}

static void loop_sweep(struct loop *loop)
{
    if (!loop->sweep || loop->now_ms < loop->sweep_at_ms)
        return;
    loop->sweep_at_ms = loop->now_ms + LOOP_SWEEP_MS;
    loop->sweep(loop, loop->sweep_owner);
}

/* ---- the turn ---- */

static int loop_timeout(const struct loop *loop, int max_wait_ms)
{
    uint64_t next, wait;

    if (!list_empty(&loop->small) || !list_empty(&loop->bulk) || !list_empty(&loop->flush) ||
        !list_empty(&loop->grave) || loop->inbox_more || loop->full_waits || loop->look_again)
        return 0;
    next = wheel_next(&loop->wheel);
    if (next == UINT64_MAX)
        return max_wait_ms;
    wait = next > loop->now_ms ? next - loop->now_ms : 0;
    if (wait > INT_MAX)
        wait = INT_MAX;
    return max_wait_ms >= 0 && (uint64_t)max_wait_ms < wait ? max_wait_ms : (int)wait;
}

void loop_turn(struct loop *loop, int max_wait_ms)
{
    int r;

    atomic_store_explicit(&loop->busy_since_us, 0, memory_order_relaxed);
    r = loop->world->wait(loop, loop_timeout(loop, max_wait_ms));
    if (r < 0)
        log_limited(LOG_ERROR, 1, "waiting for events: %s", err_text(r));
    atomic_store_explicit(&loop->busy_since_us, loop->now_us, memory_order_relaxed);
    loop_inbox(loop);
    /* Nobody is called late before all that is ready has been told; but where there is always more, time passes all the same. */
    if (!loop->look_again && loop->full_waits % LOOP_FULL_WAITS == 0)
        loop_timers(loop);
    loop_run_small(loop);
    loop_run_bulk(loop);
    loop_flush(loop);
    loop_sweep(loop);
    loop_graveyard(loop);
    loop->turns++;
    atomic_store_explicit(&loop->heartbeat, loop->turns, memory_order_relaxed);
}

void loop_run(struct loop *loop)
{
    while (!loop->stop)
        loop_turn(loop, -1);
}

/* ---- life ---- */

static int loop_open_kernel(struct loop *loop)
{
    loop->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epfd < 0)
        return -errno;
    loop->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wakefd < 0)
        return -errno;
    loop->wake_watch = (struct watch){.fd = loop->wakefd, .events = EPOLLIN, .ready = loop_woken};
    return loop_watch(loop, &loop->wake_watch);
}

int loop_init(struct loop *loop, const struct world_ops *world)
{
    int r;

    *loop = (struct loop){.magic = LOOP_MAGIC, .world = world, .epfd = -1, .wakefd = -1};
    list_init(&loop->small);
    list_init(&loop->bulk);
    list_init(&loop->flush);
    list_init(&loop->grave);
    list_init(&loop->resets);
    list_init(&loop->closing);
    loop_clock(loop);
    wheel_init(&loop->wheel, loop->now_ms);
    objcache_init(&loop->blocks, LOOP_BLOCK, LOOP_KEEP);
    objcache_init(&loop->pages, LOOP_PAGE, LOOP_KEEP);
    r = ring_ptr_init(&loop->inbox, LOOP_INBOX);
    if (r < 0)
        return r;
    r = ERR_NOMEM;
    loop->scratch = mem_alloc(LOOP_SCRATCH);
    loop->pipes = pipe_pool_new();
    if (!loop->scratch || !loop->pipes)
        goto fail;
    if (world->wait == linux_wait) {
        r = loop_open_kernel(loop);
        if (r < 0)
            goto fail;
    }
    return 0;

fail:
    loop_done(loop);
    return r;
}

void loop_done(struct loop *loop)
{
    conn_tls_reap_all(loop);
    conn_tcp_reap_all(loop);
    loop_graveyard(loop);
    if (loop->epfd >= 0)
        close(loop->epfd);
    if (loop->wakefd >= 0)
        close(loop->wakefd);
    pipe_pool_free(loop->pipes);
    mem_free(loop->scratch);
    objcache_done(&loop->blocks);
    objcache_done(&loop->pages);
    ring_ptr_done(&loop->inbox);
    loop->magic = OBJ_DEAD;
}
