/* SPDX-License-Identifier: MIT */
/* loop: one thread's turn of events. Tasks are woken, never called: task_wake() is the only way from I/O up into the rooms,
 * so stacks stay flat. One turn: wait, ready conns, messages from other threads, timers, run queue (small first, bulk capped),
 * flush, graveyard. Bulk gets LOOP_BULK_US a turn (one task at least). A quiet loop makes no system call.
 * Owner: a worker. Thread: its own; only loop_post may be called from others. */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include "base/list.h"
#include "base/objcache.h"
#include "base/ring.h"
#include "base/wheel.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct conn;
struct loop;
struct addr;
struct dial_from;

/* ---- tasks ---- */

/* Why a task was woken; bits add up until it runs. The loop clears them all when it calls run(), which gets them as an argument:
 * RX     a source may have bytes or an end         TX     a sink may have room, or was connected
 * GONE   something it uses has ended (look which)  TIMER  its timer fired
 * HELPER a helper, resolver or dial has an answer  */
enum { TASK_RX = 1, TASK_TX = 2, TASK_GONE = 4, TASK_TIMER = 8, TASK_HELPER = 16 };

struct task {
    struct list link; /* in the run queue, or self-linked */
    struct loop *loop;
    void (*run)(struct task *t, unsigned bits);
    const char *name; /* static; shown by dumps */
    uint8_t bits;
    bool bulk; /* waits in the bulk queue: its last run moved bulk */
};

void task_init(struct task *t, struct loop *loop, const char *name, void (*run)(struct task *t, unsigned bits));
void task_wake(struct task *t, unsigned bits); /* t may be NULL: nobody listens */
void task_cancel(struct task *t);              /* takes it out of the run queue; it may be freed after */

/* ---- timers ---- */

/* One deadline; when it passes, the task is woken with TASK_TIMER. */
struct timer {
    struct wheel_node node;
    struct task *task;
};

void timer_init(struct timer *t, struct task *task);
void timer_set(struct timer *t, uint64_t delay_ms); /* from the loop's now; re-arms */
void timer_set_at(struct timer *t, uint64_t due_ms);
void timer_stop(struct timer *t);
static inline bool timer_armed(const struct timer *t)
{
    return wheel_armed(&t->node);
}

/* ---- things with a life of their own that the loop runs ---- */

/* A file descriptor that is no conn (listener, resolver socket, inotify, eventfd); level-triggered. ready() runs while the turn
 * waits: it notes and wakes, or, a listener's, begins sessions; it ends nothing. */
struct watch {
    int fd;
    unsigned events; /* EPOLL* asked for */
    void (*ready)(struct watch *w, unsigned events);
};

/* Work for the end of the turn: conns with unsent output join it once a turn. */
struct flush {
    struct list link;
    void (*run)(struct flush *f);
};

/* Close now, free at the end of the turn. */
struct grave {
    struct list link;
    void (*free)(struct grave *g);
};

/* A message to a loop from another thread. It is the receiver's after loop_post returned true. */
struct msg {
    void (*run)(struct msg *m, struct loop *loop);
};

/* ---- the world outside, replaced as a whole by the simulation ---- */
struct world_ops {
    uint64_t (*now_us)(struct loop *loop);  /* monotonic */
    uint64_t (*wall_ms)(struct loop *loop); /* since 1970 */
    /* Waits up to timeout_ms (-1: for ever), calls loop_awake, and wakes what is ready. */
    int (*wait)(struct loop *loop, int timeout_ms);
    /* Starts a TCP connection; the conn becomes TX-ready when it is established, or fails. from may be NULL: the kernel
     * chooses. -EADDRNOTAVAIL: there is no such address here to come from. ERR_PORTS: all its ports towards `to` are in use.
     * ERR_PRIVILEGE, ERR_INTERFACE: the way cannot be set. */
    int (*dial)(struct loop *loop, const struct addr *to, const struct dial_from *from, struct conn **ret_conn);
};
extern const struct world_ops world_linux;

enum { LOOP_SCRATCH = 65536, LOOP_EVENTS = 256, LOOP_SMALL_CAP = 4096, LOOP_BULK_US = 50, LOOP_SWEEP_MS = 10000 };

struct loop {
    unsigned magic;
    const struct world_ops *world;
    int epfd, wakefd; /* -1 in the simulation */
    uint64_t now_us, now_ms; /* cached once a turn */
    uint64_t readable_us;    /* what this turn found ready became ready at this time or later */
    uint64_t wall_ms;        /* likewise */
    struct wheel wheel;
    struct list small, bulk, flush, grave;
    struct list resets; /* sockets whose RST waits until their last bytes have left (conn_tcp) */
    struct list closing; /* TLS conns that have been closed, whose last bytes the one below has not taken yet (conn_tls) */
    struct watch wake_watch;
    struct ring_ptr inbox;
    bool inbox_more; /* the last turn left messages */
    bool look_again; /* the timers are late, and wait until the next wait has told what is ready */
    unsigned full_waits; /* waits in a row that told of as much as one can: there may be more */
    struct objcache blocks; /* 16 KB: buffers */
    struct objcache pages;  /* 4 KB: arenas */
    struct pipe_pool *pipes;
    uint64_t turns, tasks_run;
    bool small_ran; /* in this turn: bulk takes smaller bites, since more of the kind may come */
    bool stop;
    _Atomic uint64_t heartbeat; /* turns, for the watcher of loops that do not turn */
    /* When the present turn's work began (monotonic us); 0 while the loop waits. Any thread. */
    _Atomic uint64_t busy_since_us;
    const struct task *_Atomic running; /* the task that is running now, NULL between tasks; its own thread, and its signal handler */
    /* At the end of a turn, at most once in LOOP_SWEEP_MS, never for its own sake: a quiet loop is not woken. NULL: nobody sweeps. */
    void (*sweep)(struct loop *loop, void *owner);
    void *sweep_owner;
    uint64_t sweep_at_ms; /* not before */
    char *scratch;              /* LOOP_SCRATCH bytes, used within one call only */
};

#define LOOP_MAGIC 0x100b100bu

int loop_init(struct loop *loop, const struct world_ops *world) MUST_USE;
void loop_done(struct loop *loop);
/* One turn; waits at most max_wait_ms (-1: until something happens). */
void loop_turn(struct loop *loop, int max_wait_ms);
void loop_run(struct loop *loop); /* turns until loop->stop */

/* For world_ops.wait: the wait is over; slept: there was nothing to do when it began. */
void loop_awake(struct loop *loop, bool slept);
int loop_watch(struct loop *loop, struct watch *w) MUST_USE;
int loop_rewatch(struct loop *loop, struct watch *w) MUST_USE; /* after events changed */
void loop_unwatch(struct loop *loop, struct watch *w);
void loop_flush_later(struct loop *loop, struct flush *f);
void loop_bury(struct loop *loop, struct grave *g);
/* Any thread. False: the inbox is full, the message is still the caller's. */
bool loop_post(struct loop *loop, struct msg *m);

#endif
