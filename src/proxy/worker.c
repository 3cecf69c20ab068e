/* SPDX-License-Identifier: MIT */
/* worker: what a thread of the proxy holds, and how connections come to it. Started and stopped by app; run by the simulation on
 * scripted conns and virtual time, unchanged.
 */
#include "proxy/worker.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/conn_tls.h"
#include "proxy/local.h"
#include "proxy/pressure.h"
#include "proxy/session.h"

#include <sched.h>
#include <unistd.h>

/* ---- connections ---- */

void worker_take(struct worker *w, struct conn *conn, const struct addr *peer, unsigned listen_id, enum listen_role role)
{
    static const struct addr unknown; /* it counts for all, and for nobody yet */
    struct session_opts o = {.client = peer, .listen_id = listen_id, .role = role};
    bool stands_for_others = greet_expects_header(worker_listen_of(w, listen_id, NULL), peer);

    /* Whoever looks after ginnel gets in. */
    if (role == LISTEN_PROXY)
        o.refused = pressure_enter(w, stands_for_others ? &unknown : peer, &o.place);
    if (o.refused && w->n_refusing >= WORKER_REFUSING_MAX) {
        pressure_turn_away(w, &conn, listen_id, o.refused);
        return;
    }
    if (session_start(w, &conn, &o) < 0) {
        stats_add(&w->stats, COUNTER_NO_MEMORY, 1);
        if (w->capacity)
            capacity_leave(w->capacity, &o.place);
        conn_reset(&conn);
        return;
    }
    atomic_fetch_add_explicit(&w->load, 1, memory_order_relaxed);
    stats_add(&w->stats, COUNTER_SESSIONS, 1);
}

static void worker_take_fd(struct worker *w, int fd, const struct addr *peer, unsigned listen_id, enum listen_role role)
{
    struct conn *conn;
    int r = conn_tcp_new(&w->loop, fd, false, &conn);

    if (r < 0) {
        log_limited(LOG_WARN, 1, "cannot serve a client: %s", err_text(r));
        close(fd);
        return;
    }
    worker_take(w, conn, peer, listen_id, role);
}

struct handover {
    struct msg msg;
    struct worker *to;
    struct addr peer;
    unsigned listen_id;
    int fd;
};

static void handover_run(struct msg *m, struct loop *loop)
{
    struct handover *h = CONTAINER_OF(m, struct handover, msg);

    UNUSED(loop);
    if (h->to->phase != WORKER_STOPPED)
        worker_take_fd(h->to, h->fd, &h->peer, h->listen_id, LISTEN_PROXY);
    else
        close(h->fd);
    atomic_fetch_sub_explicit(&h->to->incoming, 1, memory_order_relaxed);
    mem_free(h);
}

/* What is on its way counts: a burst would otherwise go as a whole to the one that was least busy when it began. */
static unsigned worker_load(const struct worker *w)
{
    return atomic_load_explicit(&w->load, memory_order_relaxed) + atomic_load_explicit(&w->incoming, memory_order_relaxed);
}

/* One that has not applied the last change yet may not know the listener. */
static bool worker_may_take(const struct worker *w, const struct worker *other)
{
    return !atomic_load_explicit(&other->leaving, memory_order_relaxed) &&
           atomic_load_explicit(&other->generation, memory_order_acquire) >= w->snap->generation;
}

/* The least loaded, when it is clearly less loaded than this one: by two, and by an eighth. */
static struct worker *worker_choose(struct worker *w)
{
    unsigned mine = worker_load(w), least = mine;
    struct worker *best = w;

    for (unsigned i = 0; i < w->n_peers; i++) {
        unsigned load = worker_load(w->peers[i]);

        if (load < least && worker_may_take(w, w->peers[i])) {
            least = load;
            best = w->peers[i];
        }
    }
    return mine > least + 1 + least / 8 ? best : w;
}

static bool worker_hand_over(struct worker *w, struct worker *to, int fd, const struct addr *peer, unsigned listen_id)
{
    struct handover *h = mem_alloc(sizeof(*h));

    if (!h)
        return false;
    *h = (struct handover){.msg = {.run = handover_run}, .to = to, .peer = *peer, .listen_id = listen_id, .fd = fd};
    atomic_fetch_add_explicit(&to->incoming, 1, memory_order_relaxed);
    if (loop_post(&to->loop, &h->msg)) {
        stats_add(&w->stats, COUNTER_HANDED_OVER, 1);
        return true;
    }
    atomic_fetch_sub_explicit(&to->incoming, 1, memory_order_relaxed);
    mem_free(h);
    return false;
}

/* Only the operator speaks to the control socket, whatever the modes of its folder say. */
static bool peer_is_operator(int fd)
{
    struct ucred cred;
    socklen_t n = sizeof(cred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n))
        return false;
    if (cred.uid == 0 || cred.uid == geteuid())
        return true;
    log_limited(LOG_WARN, 1, "control: uid %u (process %d) was turned away", (unsigned)cred.uid, (int)cred.pid);
    return false;
}

static void worker_accepted(void *owner, int fd, const struct addr *peer)
{
    struct worker_listener *l = owner;
    struct worker *w = l->worker, *to = l->role == LISTEN_PROXY && w->phase == WORKER_RUN ? worker_choose(w) : w;

    OBJ_CHECK(w, WORKER_MAGIC);
    if (l->role == LISTEN_CONTROL && !peer_is_operator(fd)) {
        close(fd);
        return;
    }
    if (to == w || !worker_hand_over(w, to, fd, peer, l->id))
        worker_take_fd(w, fd, peer, l->id, l->role);
}

_Static_assert(sizeof(((struct worker *)0)->busy_text) == LOCAL_BUSY_MAX, "room for the reply");

static struct worker_listener *worker_find_listener(struct worker *w, unsigned id)
{
    for (unsigned i = 0; i < WORKER_LISTENERS_MAX; i++)
        if (w->listeners[i].id == id)
            return &w->listeners[i];
    return NULL;
}

static int worker_watch_listener(struct worker *w, struct worker_listener *l)
{
    struct listener_opts o = {.fd = l->fd, .accept = worker_accepted, .owner = l, .busy_reply = &w->busy_reply};

    o.vital = l->role != LISTEN_PROXY;
    return listener_start(&w->loop, &o, &l->listener);
}

int worker_listen(struct worker *w, int fd, unsigned id, enum listen_role role)
{
    struct worker_listener *l = worker_find_listener(w, 0);
    int r;

    if (!l)
        return ERR_LIMIT;
    *l = (struct worker_listener){.worker = w, .role = role, .fd = fd};
    r = worker_watch_listener(w, l);
    if (r == 0)
        l->id = id;
    return r;
}

void worker_listen_later(struct worker *w, int fd, unsigned id, enum listen_role role)
{
    struct worker_listener *l = worker_find_listener(w, 0);

    CHECK(l);
    *l = (struct worker_listener){.worker = w, .id = id, .role = role, .fd = fd};
    task_wake(&w->chores, TASK_TIMER);
}

static void worker_close_listener(struct worker_listener *l)
{
    listener_stop(&l->listener);
    l->id = 0;
}

void worker_unlisten(struct worker *w, unsigned id)
{
    struct worker_listener *l = id ? worker_find_listener(w, id) : NULL;

    if (!l)
        return;
    if (l->listener)
        listener_drain(l->listener);
    worker_close_listener(l);
}

/* ---- snapshots ---- */

enum { WORKER_CHORES_MS = 1000, WORKER_QUEUE_MS = 1000 };

const struct snapshot_listen *worker_listen_of(const struct worker *w, unsigned id, const struct snapshot **ret_snap)
{
    const struct snapshot *s = w->snap;
    const struct snapshot_listen *l = snapshot_listen_find(s, id);

    for (unsigned i = 0; i < WORKER_BEFORE_MAX && !l && w->before[i].snap; i++) {
        s = w->before[i].snap;
        l = snapshot_listen_find(s, id);
    }
    if (ret_snap)
        *ret_snap = s;
    return l;
}

static bool is_missed(const struct snapshot *old, const struct snapshot *fresh)
{
    for (unsigned i = 0; i < old->n_listen; i++)
        if (old->listen[i].role == LISTEN_PROXY && !snapshot_listen_find(fresh, old->listen[i].id))
            return true;
    return false;
}

static void give_back_before(struct worker *w, unsigned i)
{
    if (w->before[i].snap)
        snapshot_return(w->before[i].snap, w->id);
    w->before[i].snap = NULL;
}

/* Those in the queues of listeners that are gone, on their way from another worker, or in the middle of their greeting, are met as they were let in. */
static void keep_before(struct worker *w, struct snapshot *old)
{
    const struct proxy_conf *c = old->conf;

    give_back_before(w, WORKER_BEFORE_MAX - 1);
    memmove(&w->before[1], &w->before[0], sizeof(w->before) - sizeof(w->before[0]));
    w->before[0] = (struct worker_before){
        .snap = old,
        .least_ms = w->loop.now_ms + WORKER_QUEUE_MS,
        .until_ms = w->loop.now_ms + c->timeouts.head + c->timeouts.tls + WORKER_QUEUE_MS,
    };
    task_wake(&w->chores, TASK_TIMER);
}

/* Of many it is not asked: their time ends it. */
static bool is_greeting_by(const struct worker *w, const struct snapshot *before)
{
    unsigned n = 0;

    LIST_EACH(it, &w->sessions)
    {
        const struct session *s = LIST_ENTRY(it, struct session, link);

        if (++n > WORKER_BEFORE_LOOKS)
            return true;
        if ((s->state == SESSION_GREET || s->state == SESSION_TLS) && snapshot_listen_find(before, s->listen_id) && !snapshot_listen_find(w->snap, s->listen_id))
            return true;
    }
    return false;
}

static bool is_over(const struct worker *w, const struct worker_before *b)
{
    return b->until_ms <= w->loop.now_ms || (b->least_ms <= w->loop.now_ms && !is_greeting_by(w, b->snap));
}

/* True: there are some. */
static bool worker_keeps_before(struct worker *w)
{
    unsigned n = 0;

    for (unsigned i = 0; i < WORKER_BEFORE_MAX; i++) {
        struct worker_before b = w->before[i];

        if (b.snap && is_over(w, &b)) {
            give_back_before(w, i);
        } else if (b.snap) {
            w->before[i].snap = NULL;
            w->before[n++] = b;
        }
    }
    return n > 0;
}


/* True: it still has lookups under way. */
static bool worker_keep_resolver(struct worker *w)
{
    if (!w->old_resolver)
        return false;
    if (!resolver_idle(w->old_resolver))
        return true;
    resolver_free(w->old_resolver);
    w->old_resolver = NULL;
    return false;
}

/* A listener came with a reload, and there was no memory or no watch for it: it is in the configuration, and so it has to come. */
static bool worker_retry_listeners(struct worker *w)
{
    bool again = false;

    for (unsigned i = 0; i < WORKER_LISTENERS_MAX && w->phase == WORKER_RUN; i++) {
        struct worker_listener *l = &w->listeners[i];
        int r = l->id && !l->listener ? worker_watch_listener(w, l) : 0;

        if (r < 0) {
            log_limited(LOG_ERROR, 1, "worker %u cannot accept from a new listener yet: %s", w->id, err_text(r));
            again = true;
        }
    }
    return again;
}

static void worker_chores(struct task *t, unsigned bits)
{
    struct worker *w = CONTAINER_OF(t, struct worker, chores);
    bool again = worker_keep_resolver(w);

    UNUSED(bits);
    again |= worker_keeps_before(w);
    again |= worker_retry_listeners(w);
    if (again)
        timer_set(&w->chores_timer, WORKER_CHORES_MS);
}

/* Lookups that run end in the old resolver. A third one, while that is not idle, has to wait for the next reload: it is a question of
 * seconds, and the old settings are no worse than they were. */
static void worker_new_resolver(struct worker *w, const struct resolve_conf *c)
{
    struct resolver *fresh;

    if (!w->board || (w->resolver && resolver_same(w->resolver, c)))
        return;
    if (w->old_resolver || resolver_new(&w->loop, w->board, w->helpers, c, &fresh) < 0) {
        log_warn("worker %u keeps its resolver settings: %s", w->id, w->old_resolver ? "it is still changing them" : "out of memory");
        return;
    }
    w->old_resolver = w->resolver;
    w->resolver = fresh;
    task_wake(&w->chores, TASK_TIMER);
}

/* What has been lent out stays out: after a reload that says less, until it has come back. */
static void worker_set_credit(struct worker *w, uint64_t all)
{
    uint64_t lent = w->h2_credit.all - min_size(w->h2_credit.left, w->h2_credit.all);

    w->h2_credit = (struct h2_credit){.all = all, .left = all > lent ? all - lent : 0};
    w->h2.credit = &w->h2_credit;
}

/* Connections that are there keep what they began with. */
static void worker_set_h2(struct worker *w, const struct proxy_conf *c)
{
    w->h2 = h2_conf_default;
    w->h2.heads = &w->limits;
    /* Whoever makes a conf without the language (a simulation) says nothing of it. */
    if (!c->h2.streams)
        return;
    w->h2.streams = c->h2.streams;
    w->h2.window = (uint32_t)c->h2.window;
    w->h2.window_max = (uint32_t)c->h2.window_max;
    w->h2.resets_rate = (uint32_t)c->h2.resets;
    w->h2.resets_burst = (uint32_t)min_size(c->h2.resets * H2_BURSTS, UINT32_MAX);
    w->h2.reach_ms = c->timeouts.connect;
    w->h2.control_rate = (uint32_t)c->h2.control;
    w->h2.control_burst = (uint32_t)min_size(c->h2.control * H2_BURSTS, UINT32_MAX);
    worker_set_credit(w, c->h2.credit);
}

void worker_use(struct worker *w, struct snapshot *snap)
{
    struct snapshot *old = w->snap;
    const struct proxy_conf *c = snap->conf;

    snapshot_borrow(snap, w->id);
    w->snap = snap;
    atomic_store_explicit(&w->generation, snap->generation, memory_order_release);
    w->limits = (struct h1_limits){.line = (uint32_t)c->sizes.line, .head = (uint32_t)c->sizes.head, .fields = c->sizes.fields};
    worker_set_h2(w, c);
    w->busy_reply = slice_of(w->busy_text, local_busy_reply(c->name, END_NO_DESCRIPTORS, true, w->busy_text));
    if (!old)
        return;
    kept_list_drop(&w->kept);
    worker_new_resolver(w, snap->resolve);
    if (w->id != WORKER_HOUSE && is_missed(old, snap))
        keep_before(w, old);
    else
        snapshot_return(old, w->id);
    if (snap->policy->recheck)
        recheck_start(&w->recheck);
}

static void worker_apply(struct worker *w, const struct worker_change *c)
{
    worker_use(w, c->snap);
    for (unsigned i = 0; i < c->n_remove; i++)
        worker_unlisten(w, c->remove[i]);
    for (unsigned i = 0; i < c->n_add && w->phase == WORKER_RUN; i++)
        worker_listen_later(w, c->add[i].fd, c->add[i].id, c->add[i].role);
    worker_chores(&w->chores, 0);
}

static void change_run(struct msg *m, struct loop *loop)
{
    struct worker *w = CONTAINER_OF(m, struct worker, change_msg);
    struct worker_change *c = w->change;
    void (*done)(struct worker_change *) = c->done;

    UNUSED(loop);
    w->change = NULL;
    worker_apply(w, c);
    /* With the last one the change is the house's again, which may begin another one in it. */
    if (atomic_fetch_sub(&c->left, 1) == 1)
        done(c);
}

void worker_post_change(struct worker *w, struct worker_change *c)
{
    w->change = c;
    w->change_msg.run = change_run;
    while (!loop_post(&w->loop, &w->change_msg))
        sched_yield();
}

/* ---- the end ---- */

enum { WORKER_CUT_MS = 1000 }; /* after the deadline: time for the last answers */

/* Nobody can hand a connection over any more. What was handed over before lies in the inbox. */
static bool worker_peers_deaf(const struct worker *w)
{
    for (unsigned i = 0; i < w->n_peers; i++)
        if (!atomic_load(&w->peers[i]->deaf))
            return false;
    return true;
}

/* False: somebody may still come, or is on the way out. */
static bool worker_empty(struct worker *w)
{
    if (!list_empty(&w->sessions))
        return false;
    /* Sockets whose last bytes are leaving before their RST have a second; those of TLS connections that were closed are still here, until the deadline. */
    if (!list_empty(&w->loop.resets) || !list_empty(&w->loop.closing) || !worker_peers_deaf(w)) {
        w->looked = false;
        timer_set(&w->drain_timer, CONN_RESET_POLL_MS);
        return false;
    }
    /* The inbox is read once more after the peers were seen to be deaf. */
    if (!w->looked) {
        w->looked = true;
        task_wake(&w->idle_task, TASK_GONE);
        return false;
    }
    return true;
}

static void worker_maybe_stop(struct task *t, unsigned bits)
{
    struct worker *w = CONTAINER_OF(t, struct worker, idle_task);
    uint64_t cut_ms = w->drain_until_ms == UINT64_MAX ? UINT64_MAX : w->drain_until_ms + WORKER_CUT_MS;

    UNUSED(bits);
    if (w->phase != WORKER_DRAIN)
        return;
    /* Past their deadline the exchanges have ended themselves; what still lingers is cut. */
    if (w->loop.now_ms >= cut_ms) {
        if (!w->was_cut)
            conn_tls_reap_all(&w->loop);
        w->was_cut = true;
        worker_cut(w);
    }
    if (worker_empty(w)) {
        w->phase = WORKER_STOPPED;
        w->loop.stop = true;
    } else if (!list_empty(&w->sessions) && cut_ms != UINT64_MAX && !timer_armed(&w->drain_timer)) {
        timer_set_at(&w->drain_timer, cut_ms);
    }
}

struct slice worker_date(struct worker *w)
{
    uint64_t now_s = w->loop.wall_ms / 1000;

    if (now_s != w->date_s || !w->date[0]) {
        w->date_s = now_s;
        date_http(now_s, w->date);
    }
    return slice_of(w->date, DATE_HTTP_LEN);
}

uint16_t worker_minute(struct worker *w)
{
    uint64_t minute = w->loop.wall_ms / 60000;
    time_t t = (time_t)(minute * 60);
    struct tm tm;

    if (minute != w->minute_at) {
        w->minute_at = minute;
        w->minute = MATCH_NO_MINUTE;
        if (localtime_r(&t, &tm))
            w->minute = (uint16_t)(((tm.tm_wday + 6) % 7 * 24 + tm.tm_hour) * 60 + tm.tm_min);
    }
    return w->minute;
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
    for (unsigned i = 0; i < WORKER_LISTENERS_MAX; i++)
        if (w->listeners[i].id)
            worker_unlisten(w, w->listeners[i].id);
    atomic_store(&w->deaf, true);
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
    while (!atomic_load(&w->stopped) && !loop_post(&w->loop, &w->drain_msg))
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
    int r;

    *w = (struct worker){.magic = WORKER_MAGIC, .id = opts->id, .site = opts->site, .site_owner = opts->site_owner};
    w->board = opts->board;
    w->helpers = opts->helpers;
    w->capacity = opts->capacity;
    w->denials = opts->denials;
    list_init(&w->sessions);
    greet_desk_init(&w->greet);
    w->drain_until_ms = UINT64_MAX;
    r = loop_init(&w->loop, opts->world);
    if (r < 0)
        return r;
    users_desk_init(&w->users, &w->loop, opts->board, opts->verifiers);
    task_init(&w->idle_task, &w->loop, "worker", worker_maybe_stop);
    timer_init(&w->drain_timer, &w->idle_task);
    task_init(&w->chores, &w->loop, "chores", worker_chores);
    timer_init(&w->chores_timer, &w->chores);
    recheck_init(&w->recheck, &w->loop);
    kept_list_init(&w->kept);
    charger_init(&w->charger, &w->loop, &w->stats, opts->charges);
    r = w->board ? resolver_new(&w->loop, w->board, w->helpers, opts->snap->resolve, &w->resolver) : 0;
    if (r < 0)
        goto fail_loop;
    r = ERR_NOMEM;
    w->upstream = upstream_new(&w->loop);
    if (!w->upstream)
        goto fail_resolver;
    if (opts->access) {
        w->shard = access_shard_new(opts->access, &w->loop);
        if (!w->shard)
            goto fail_upstream;
    }
    worker_use(w, opts->snap);
    sweep_start(&w->sweep, &w->loop);
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
    sweep_stop(&w->sweep);
    recheck_done(&w->recheck);
    for (unsigned i = 0; i < WORKER_LISTENERS_MAX; i++)
        if (w->listeners[i].id)
            worker_close_listener(&w->listeners[i]);
    timer_stop(&w->chores_timer);
    task_cancel(&w->chores);
    /* Messages that came after the last turn own something; nobody is served any more. */
    w->phase = WORKER_STOPPED;
    loop_turn(&w->loop, 0);
    charger_done(&w->charger);
    users_memo_done(&w->memo);
    /* Theirs may be streams of the pool's connections. */
    conn_tls_reap_all(&w->loop);
    upstream_free(w->upstream);
    resolver_free(w->old_resolver);
    resolver_free(w->resolver);
    /* What was closed here is buried; the loop's own end frees it. */
    loop_done(&w->loop);
    for (unsigned i = 0; i < WORKER_BEFORE_MAX; i++)
        give_back_before(w, i);
    snapshot_return(w->snap, w->id);
    w->magic = OBJ_DEAD;
}
