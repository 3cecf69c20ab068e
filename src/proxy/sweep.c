/* SPDX-License-Identifier: MIT */
/* sweep: what each session waits for, and whether it is there already. Called by the loop at the end of a turn, when everybody who was woken has run or is
 * queued. It changes nothing but what it heals, allocates nothing, and takes one poll(2) for a batch.
 */
#include "proxy/sweep.h"

#include "base/check.h"
#include "base/log.h"
#include "proxy/dial.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

#include <poll.h>
#include <stdio.h>

enum { SWEEP_SIDES = 2, SWEEP_SAID = 50 /* lines a second */ };

/* One connection of a session or of an exchange of its, and what the task waits for there. */
struct lookout {
    struct session *session;
    struct xchg *xchg; /* NULL: the session itself waits */
    struct conn *conn; /* NULL: an answer is awaited, and is there */
    unsigned wants;    /* CONN_RX, CONN_TX */
    bool unread;       /* bytes that were read too much lie there */
    bool shared;       /* the conn is not its own */
    enum sweep_kind first; /* the kinds of this side begin there */
};

struct batch {
    unsigned n;
    struct lookout v[SWEEP_BATCH * SWEEP_SIDES];
    struct pollfd fds[SWEEP_BATCH * SWEEP_SIDES];
};
_Static_assert(sizeof(struct batch) <= LOOP_SCRATCH, "it lies in the loop's scratch buffer");
_Static_assert(POLLIN == EPOLLIN && POLLOUT == EPOLLOUT && POLLERR == EPOLLERR && POLLHUP == EPOLLHUP && POLLRDHUP == EPOLLRDHUP,
               "what poll says is told to a conn");

/* ---- who waits for what ---- */

static void batch_add(struct batch *b, struct session *s, struct xchg *x, enum sweep_kind first, const struct stream_look *look, unsigned wants)
{
    struct conn *c = look->conn;

    /* One that has broken gives what is left and then its error: whoever waits there has a deadline for it. */
    if (!c || c->error || b->n == ARRAY_LEN(b->v))
        return;
    b->fds[b->n] = (struct pollfd){
        .fd = conn_fd(c, CONN_IN),
        .events = (short)((wants & CONN_RX ? POLLIN | POLLRDHUP : 0) | (wants & CONN_TX ? POLLOUT : 0)),
    };
    b->v[b->n++] = (struct lookout){.session = s, .xchg = x, .conn = c, .wants = wants, .unread = look->unread > 0, .shared = look->shared, .first = first};
}

static void pump_waits(const struct pump *p, unsigned *source, unsigned *sink)
{
    /* A full sink comes first: while it is, nothing is read, however much there is. */
    if (p->state == PUMP_FLUSH || (p->state == PUMP_RUN && p->wants_tx))
        *sink |= CONN_TX;
    else if (p->state == PUMP_RUN && !p->held)
        *source |= CONN_RX;
}

static bool answer_is_there(const struct xchg *x)
{
    if (!x->req)
        return false;
    if (x->step == STEP_RESOLVE)
        return x->req->resolve.done;
    if (x->step == STEP_DIAL && x->req->dial)
        return dial_done(x->req->dial);
    return x->step == STEP_DIAL && x->req->connect && connect_done(x->req->connect);
}

static void xchg_waits(struct batch *b, struct xchg *x)
{
    struct stream_look c = stream_look(x->client), u = stream_look(x->upstream);
    unsigned client = 0, upstream = 0;

    switch ((unsigned)x->step) {
    case STEP_HEAD:
        client = CONN_RX;
        break;
    case STEP_REPLY:
        pump_waits(&x->relay.up, &client, &upstream);
        /* The answer's head; the rest of the request's; interim answers. */
        upstream |= CONN_RX | (u.unsent ? CONN_TX : 0);
        client |= c.unsent ? CONN_TX : 0;
        break;
    case STEP_PEEK:
        /* Before anything is dialled the pumps are off. */
        client |= x->tunnel ? 0 : CONN_RX | (c.unsent ? CONN_TX : 0);
        pump_waits(&x->relay.up, &client, &upstream);
        if (step_peek_wants_origin(x))
            pump_waits(&x->relay.down, &upstream, &client);
        break;
    case STEP_RELAY:
        /* A cut is over within a second. */
        if (x->relay.state != RELAY_RUN)
            break;
        pump_waits(&x->relay.up, &client, &upstream);
        pump_waits(&x->relay.down, &upstream, &client);
        break;
    default:
        break;
    }
    if (b->n == ARRAY_LEN(b->v))
        return;
    if (answer_is_there(x))
        b->v[b->n] = (struct lookout){.session = x->session, .xchg = x, .first = SWEEP_ANSWER}, b->fds[b->n++].fd = -1;
    else
        batch_add(b, x->session, x, SWEEP_CLIENT_RX, &c, client);
    batch_add(b, x->session, x, SWEEP_UPSTREAM_RX, &u, upstream);
}

static struct task *task_of(const struct lookout *l)
{
    return l->xchg ? &l->xchg->task : &l->session->task;
}

/* Who is queued runs in the next turn. */
static void session_waits(struct batch *b, struct session *s)
{
    struct stream_look look = {.conn = s->conn};
    unsigned wants = CONN_RX;

    LIST_EACH(it, &s->xchgs) {
        struct xchg *x = LIST_ENTRY(it, struct xchg, link);

        if (list_empty(&x->task.link))
            xchg_waits(b, x);
    }
    if (s->n_xchgs || !list_empty(&s->task.link))
        return;
    if (s->state == SESSION_SERVE)
        wants = mux_waits(s->mux, &look);
    else if (s->state == SESSION_LINGER)
        look.conn = s->mux ? s->mux->conn : s->conn;
    /* What has come lies there until its turn. */
    else if (s->greet.place == GREET_PLACE_WAITS)
        wants = 0;
    batch_add(b, s, NULL, SWEEP_CLIENT_RX, &look, wants);
}

/* ---- what is there ---- */

/* A conn without a descriptor has nothing but its flags; with one, they only say what may be tried. */
static unsigned events_of(const struct lookout *l, const struct pollfd *fd)
{
    const struct conn *c = l->conn;

    if (fd->fd >= 0)
        return (unsigned short)fd->revents;
    return (c->ready & CONN_RX ? POLLIN : 0u) | (c->ready & CONN_TX ? POLLOUT : 0u);
}

static enum sweep_kind kind_of(const struct lookout *l, unsigned events)
{
    if (!l->conn)
        return l->first;
    if (l->shared)
        return (l->wants & CONN_RX) && l->unread ? l->first : SWEEP_NOTHING;
    if ((l->wants & CONN_RX) && (l->unread || l->conn->eof || (events & (POLLIN | POLLRDHUP))))
        return l->first;
    if ((l->wants & CONN_TX) && (events & POLLOUT))
        return l->first + 1;
    /* Both ends have said FIN: that is a HUP too. */
    if ((events & POLLERR) || ((events & POLLHUP) && !l->conn->shut))
        return l->first + 2;
    return SWEEP_NOTHING;
}

static struct suspect suspect_of(const struct lookout *l, enum sweep_kind kind)
{
    return (struct suspect){
        .session = l->session,
        .xchg = l->xchg ? xchg_id(l->xchg) : 0,
        .bytes = l->conn ? l->conn->rx_bytes + l->conn->tx_bytes : 0,
        .kind = kind,
    };
}

static void batch_poll(struct batch *b)
{
    /* Refused, it says nothing: then nothing is found. */
    if (b->n && poll(b->fds, b->n, 0) < 0)
        b->n = 0;
}

/* ---- found ---- */

static const char *kind_text(enum sweep_kind k)
{
    switch (k) {
    case SWEEP_CLIENT_RX:
        return "bytes or an end of the client's";
    case SWEEP_CLIENT_TX:
        return "room towards the client";
    case SWEEP_CLIENT_GONE:
        return "the client's reset";
    case SWEEP_UPSTREAM_RX:
        return "bytes or an end of the origin's";
    case SWEEP_UPSTREAM_TX:
        return "room towards the origin";
    case SWEEP_UPSTREAM_GONE:
        return "the origin's reset";
    case SWEEP_ANSWER:
        return "an answer of the resolver or of a dial";
    case SWEEP_NOTHING:
        break;
    }
    return "nothing";
}

static const char *session_text(const struct session *s)
{
    switch (s->state) {
    case SESSION_GREET:
        return "a connection before its first byte";
    case SESSION_TLS:
        return "a connection in its handshake";
    case SESSION_SERVE:
        return s->idle ? "an idle connection" : "a connection whose last answer is leaving";
    case SESSION_LINGER:
    case SESSION_DEAD:
        break;
    }
    return "a lingering connection";
}

static void sweep_say(const struct worker *w, const struct lookout *l, enum sweep_kind kind)
{
    const struct session *s = l->session;
    const char *listens = !l->conn || l->shared || l->conn->task == task_of(l) ? "" : "; its connection would wake somebody else";
    char client[ADDR_TEXT_MAX], trail[XCHG_TRAIL_TEXT];

    addr_text(&s->client, client);
    if (!l->xchg) {
        log_limited(LOG_ERROR, SWEEP_SAID, "worker %u: a wake-up was lost: %s from %s missed %s%s; it goes on now, please report it", w->id, session_text(s), client,
                    kind_text(kind), listens);
        return;
    }
    xchg_trail_text(l->xchg->trail, trail);
    log_limited(LOG_ERROR, SWEEP_SAID, "worker %u: a wake-up was lost: exchange %llu from %s, step %s (%s), missed %s%s; it goes on now, please report it", w->id,
                (unsigned long long)xchg_id(l->xchg), client, xchg_step_name(l->xchg->step), trail, kind_text(kind), listens);
}

static unsigned bits_of(enum sweep_kind kind)
{
    switch (kind) {
    case SWEEP_CLIENT_TX:
    case SWEEP_UPSTREAM_TX:
        return TASK_TX;
    case SWEEP_ANSWER:
        return TASK_HELPER;
    default:
        return TASK_RX;
    }
}

static void sweep_heal(const struct lookout *l, const struct pollfd *fd, enum sweep_kind kind)
{
    struct task *t = task_of(l);

    if (l->conn && !l->shared) {
        l->conn->task = t;
        if (fd->fd >= 0)
            conn_ready(l->conn, (unsigned short)fd->revents);
    }
    task_wake(t, bits_of(kind));
}

/* ---- the two looks ---- */

static bool same(const struct suspect *a, const struct suspect *b)
{
    return a->session == b->session && a->kind == b->kind && a->xchg == b->xchg && a->bytes == b->bytes;
}

static bool suspected(const struct sweep *sw, const struct suspect *now)
{
    for (unsigned i = 0; i < sw->n; i++)
        if (same(&sw->suspects[i], now))
            return true;
    return false;
}

/* Whoever was found the last time. What is not found again has moved on. */
static void look_again(struct worker *w, struct batch *b)
{
    struct sweep *sw = &w->sweep;

    b->n = 0;
    for (unsigned i = 0; i < sw->n; i++) {
        if (!sw->suspects[i].session)
            continue;
        sw->suspects[i].session->suspected = false;
        session_waits(b, sw->suspects[i].session);
    }
    batch_poll(b);
    for (unsigned i = 0; i < b->n; i++) {
        const struct lookout *l = &b->v[i];
        enum sweep_kind kind = kind_of(l, l->conn ? events_of(l, &b->fds[i]) : 0);
        struct suspect now = suspect_of(l, kind);

        /* Its other connection may have been the reason to wake it already. */
        if (kind == SWEEP_NOTHING || !list_empty(&task_of(l)->link) || !suspected(sw, &now))
            continue;
        stats_add(&w->stats, COUNTER_LOST_WAKEUPS, 1);
        sweep_say(w, l, kind);
        sweep_heal(l, &b->fds[i], kind);
    }
    sw->n = 0;
}

static void gather(struct worker *w, struct batch *b)
{
    struct sweep *sw = &w->sweep;
    struct list *it = sw->next ? &sw->next->link : w->sessions.next;

    b->n = 0;
    for (unsigned i = 0; i < SWEEP_BATCH && it != &w->sessions; i++, it = it->next)
        session_waits(b, LIST_ENTRY(it, struct session, link));
    sw->next = it == &w->sessions ? NULL : LIST_ENTRY(it, struct session, link);
}

static void look_on(struct worker *w, struct batch *b)
{
    struct sweep *sw = &w->sweep;

    gather(w, b);
    batch_poll(b);
    for (unsigned i = 0; i < b->n; i++) {
        const struct lookout *l = &b->v[i];
        enum sweep_kind kind = kind_of(l, l->conn ? events_of(l, &b->fds[i]) : 0);

        if (kind == SWEEP_NOTHING || l->session->suspected)
            continue;
        l->session->suspected = true;
        sw->suspects[sw->n++] = suspect_of(l, kind);
        sw->found++;
    }
}

static void sweep_run(struct loop *loop, void *owner)
{
    struct worker *w = OBJ_CAST(struct worker, owner, WORKER_MAGIC);
    struct batch *b = (struct batch *)(void *)loop->scratch;

    look_again(w, b);
    look_on(w, b);
    stats_add(&w->stats, COUNTER_SWEEPS, 1);
    /* Who waits in vain may be alone here. */
    if (w->sweep.n && !timer_armed(&w->sweep.timer))
        timer_set_at(&w->sweep.timer, loop->sweep_at_ms);
}

/* ---- life ---- */

/* The sweep comes at the end of this turn. */
static void sweep_turn(struct task *t, unsigned bits)
{
    UNUSED(t);
    UNUSED(bits);
}

void sweep_start(struct sweep *sw, struct loop *loop)
{
    struct worker *w = CONTAINER_OF(sw, struct worker, sweep);

    task_init(&sw->task, loop, "sweep", sweep_turn);
    timer_init(&sw->timer, &sw->task);
    loop->sweep = sweep_run;
    loop->sweep_owner = w;
    loop->sweep_at_ms = loop->now_ms + LOOP_SWEEP_MS;
}

void sweep_stop(struct sweep *sw)
{
    sw->task.loop->sweep = NULL;
    timer_stop(&sw->timer);
    task_cancel(&sw->task);
}

void sweep_forget(struct sweep *sw, struct session *s)
{
    struct list *next = s->link.next;

    if (sw->next == s)
        sw->next = next == &s->worker->sessions ? NULL : LIST_ENTRY(next, struct session, link);
    for (unsigned i = 0; i < sw->n && s->suspected; i++)
        if (sw->suspects[i].session == s) {
            sw->suspects[i].session = NULL;
            s->suspected = false;
        }
}
