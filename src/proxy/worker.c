/* SPDX-License-Identifier: MIT */
/* worker: what a thread of the proxy holds, and how connections come to it. Started and stopped by app; run by the simulation on
 * scripted conns and virtual time, unchanged.
 */
#include "proxy/worker.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/local.h"
#include "proxy/session.h"

#include <sched.h>
#include <unistd.h>

/* ---- connections ---- */

void worker_take(struct worker *w, struct conn *conn, const struct addr *peer)
{
    if (session_start(w, &conn, peer) < 0) {
        stats_add(&w->stats, COUNTER_NO_MEMORY, 1);
        conn_reset(&conn);
        return;
    }
    atomic_fetch_add_explicit(&w->load, 1, memory_order_relaxed);
    stats_add(&w->stats, COUNTER_SESSIONS, 1);
}

static void worker_take_fd(struct worker *w, int fd, const struct addr *peer)
{
    struct conn *conn;
    int r = conn_tcp_new(&w->loop, fd, false, &conn);

    if (r < 0) {
        log_limited(LOG_WARN, 1, "cannot serve a client: %s", err_text(r));
        close(fd);
        return;
    }
    worker_take(w, conn, peer);
}

struct handover {
    struct msg msg;
    struct worker *to;
    struct addr peer;
    int fd;
};

static void handover_run(struct msg *m, struct loop *loop)
{
    struct handover *h = CONTAINER_OF(m, struct handover, msg);

    UNUSED(loop);
    if (h->to->phase == WORKER_RUN)
        worker_take_fd(h->to, h->fd, &h->peer);
    else
        close(h->fd);
    mem_free(h);
}

static unsigned worker_load(const struct worker *w)
{
    return atomic_load_explicit(&w->load, memory_order_relaxed);
}

/* The least loaded, when it is clearly less loaded than this one: by two, and by an eighth. */
static struct worker *worker_choose(struct worker *w)
{
    unsigned mine = worker_load(w), least = mine;
    struct worker *best = w;

    for (unsigned i = 0; i < w->n_peers; i++) {
        unsigned load = worker_load(w->peers[i]);

        if (load < least && !atomic_load_explicit(&w->peers[i]->leaving, memory_order_relaxed)) {
            least = load;
            best = w->peers[i];
        }
    }
    return mine > least + 1 + least / 8 ? best : w;
}

static void worker_accepted(void *owner, int fd, const struct addr *peer)
{
    struct worker *w = OBJ_CAST(struct worker, owner, WORKER_MAGIC);
    struct worker *to = worker_choose(w);
    struct handover *h;

    if (to == w) {
        worker_take_fd(w, fd, peer);
        return;
    }
    h = mem_alloc(sizeof(*h));
    if (h) {
        *h = (struct handover){.msg = {.run = handover_run}, .to = to, .peer = *peer, .fd = fd};
        if (loop_post(&to->loop, &h->msg)) {
            stats_add(&w->stats, COUNTER_HANDED_OVER, 1);
            return;
        }
        mem_free(h);
    }
    worker_take_fd(w, fd, peer);
}

_Static_assert(sizeof(((struct worker *)0)->busy_reply) == LOCAL_BUSY_MAX, "room for the reply");

int worker_listen(struct worker *w, int fd)
{
    struct listener_opts o = {
        .fd = fd,
        .accept = worker_accepted,
        .owner = w,
        .busy_reply = slice_of(w->busy_reply, local_busy_reply(w->conf->name, w->busy_reply)),
    };
    int r;

    if (w->n_listeners == WORKER_LISTENERS_MAX)
        return ERR_LIMIT;
    r = listener_start(&w->loop, &o, &w->listeners[w->n_listeners]);
    if (r == 0)
        w->n_listeners++;
    return r;
}

/* ---- the end ---- */

enum { WORKER_CUT_MS = 1000 }; /* after the deadline: time for the last answers */

static void worker_maybe_stop(struct task *t, unsigned bits)
{
    struct worker *w = CONTAINER_OF(t, struct worker, idle_task);

    /* Past their deadline the exchanges have ended themselves; what still lingers is cut. */
    if ((bits & TASK_TIMER) && w->phase == WORKER_DRAIN)
        worker_cut(w);
    if (w->phase != WORKER_DRAIN || !list_empty(&w->sessions))
        return;
    if (!list_empty(&w->loop.resets)) {
        /* Sockets whose last bytes are leaving before their RST; they have a second. */
        timer_set(&w->drain_timer, CONN_RESET_POLL_MS);
    } else {
        w->phase = WORKER_STOPPED;
        w->loop.stop = true;
    }
}

void worker_session_gone(struct worker *w)
{
    atomic_fetch_sub_explicit(&w->load, 1, memory_order_relaxed);
    stats_add(&w->stats, COUNTER_SESSIONS_ENDED, 1);
    if (w->phase == WORKER_DRAIN)
        task_wake(&w->idle_task, TASK_GONE);
}

void worker_drain(struct worker *w, uint64_t grace_ms)
{
    if (w->phase == WORKER_STOPPED)
        return;
    w->phase = WORKER_DRAIN;
    atomic_store(&w->leaving, true);
    w->drain_until_ms = grace_ms == UINT64_MAX ? UINT64_MAX : w->loop.now_ms + grace_ms;
    if (grace_ms != UINT64_MAX)
        timer_set_at(&w->drain_timer, w->drain_until_ms + WORKER_CUT_MS);
    while (w->n_listeners)
        listener_stop(&w->listeners[--w->n_listeners]);
    upstream_close_idle(w->upstream);
    if (grace_ms == 0)
        worker_cut(w);
    LIST_EACH(it, &w->sessions)
    session_drain(LIST_ENTRY(it, struct session, link));
    task_wake(&w->idle_task, TASK_GONE);
}

static void drain_run(struct msg *m, struct loop *loop)
{
    struct worker *w = CONTAINER_OF(m, struct worker, drain_msg);

    UNUSED(loop);
    atomic_store(&w->drain_posted, false);
    worker_drain(w, atomic_load(&w->drain_grace_ms));
}

void worker_post_drain(struct worker *w, uint64_t grace_ms)
{
    atomic_store(&w->drain_grace_ms, grace_ms);
    /* One message, the worker's own: it cannot be lost for lack of memory. If it is still on its way it carries the new grace. */
    if (atomic_exchange(&w->drain_posted, true))
        return;
    w->drain_msg.run = drain_run;
    while (!loop_post(&w->loop, &w->drain_msg))
        sched_yield();
}

void worker_cut(struct worker *w)
{
    LIST_EACH(it, &w->sessions)
    session_cut(LIST_ENTRY(it, struct session, link));
}

/* ---- life ---- */

int worker_init(struct worker *w, const struct worker_opts *opts)
{
    const struct proxy_conf *c = opts->conf;
    int r;

    *w = (struct worker){.magic = WORKER_MAGIC, .id = opts->id, .conf = c, .policy = opts->policy, .access = opts->access};
    w->limits = (struct h1_limits){.line = c->sizes.line, .head = c->sizes.head, .fields = c->sizes.fields};
    list_init(&w->sessions);
    w->drain_until_ms = UINT64_MAX;
    r = loop_init(&w->loop, opts->world);
    if (r < 0)
        return r;
    task_init(&w->idle_task, &w->loop, "worker", worker_maybe_stop);
    timer_init(&w->drain_timer, &w->idle_task);
    r = resolver_new(&w->loop, opts->board, opts->helpers, opts->resolve, &w->resolver);
    if (r < 0)
        goto fail_loop;
    r = ERR_NOMEM;
    w->upstream = upstream_new(&w->loop);
    if (!w->upstream)
        goto fail_resolver;
    if (w->access) {
        w->shard = access_shard_new(w->access, &w->loop);
        if (!w->shard)
            goto fail_upstream;
    }
    return 0;

fail_upstream:
    upstream_free(w->upstream);
fail_resolver:
    resolver_free(w->resolver);
fail_loop:
    loop_done(&w->loop);
    return r;
}

void worker_done(struct worker *w)
{
    CHECK(list_empty(&w->sessions));
    while (w->n_listeners)
        listener_stop(&w->listeners[--w->n_listeners]);
    /* Messages that came after the last turn own something; nobody is served any more. */
    w->phase = WORKER_STOPPED;
    loop_turn(&w->loop, 0);
    upstream_free(w->upstream);
    resolver_free(w->resolver);
    /* What was closed here is buried; the loop's own end frees it. */
    loop_done(&w->loop);
    w->magic = OBJ_DEAD;
}
