/* SPDX-License-Identifier: MIT */
/* connect: Happy Eyeballs in one place (RFC 8305 5). One task watches all attempts; one timer is the nearer of "start the next"
 * and "give up". Called by the dial step.
 */
#include "io/connect.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

#define CONNECT_MAGIC 0xc0117ec7u

struct connect {
    unsigned magic;
    struct loop *loop;
    struct task task;
    struct timer timer;
    struct grave grave;
    struct task *asker;
    uint64_t deadline_ms, next_ms; /* give up; start the next attempt */
    unsigned n, begun;
    int error;                     /* the most telling so far */
    int winner;                    /* index, or -1 */
    unsigned turn;
    struct source_set sources;
    struct source_memory *memory;
    struct addr foreign;
    struct addr addrs[CONNECT_MAX_ADDRS];
    struct addr from[CONNECT_MAX_ADDRS];
    struct conn *conns[CONNECT_MAX_ADDRS];
};

/* More telling first: a limit of ours says what to do, a refusal is an answer, a missing route is ours, silence says little. */
static int error_rank(int e)
{
    switch (e) {
    case -ECONNREFUSED:
        return 4;
    case -EHOSTUNREACH:
    case -ENETUNREACH:
    case -EADDRNOTAVAIL:
        return 3;
    case -EMFILE:
    case -ENFILE:
    case ERR_PORTS:
    case ERR_PRIVILEGE:
    case ERR_INTERFACE:
        return 5;
    case ERR_TIMEOUT:
    case -ETIMEDOUT:
        return 1;
    case 0:
        return 0;
    default:
        return 2;
    }
}

static void connect_note(struct connect *c, int error)
{
    if (error_rank(error) > error_rank(c->error))
        c->error = error;
}

/* *spent_us: what searches for a port have taken so far. */
static int connect_dial_from(struct connect *c, unsigned i, const struct dial_from *from, uint64_t *spent_us)
{
    struct loop *loop = c->loop;
    uint64_t began_us, took_us;
    int r;

    if (c->memory && source_is_used_up(c->memory, from, &c->addrs[i], loop->now_ms))
        return ERR_PORTS;
    began_us = loop->world->now_us(loop);
    r = loop->world->dial(loop, &c->addrs[i], from, &c->conns[i]);
    if (r != ERR_PORTS)
        return r;
    took_us = loop->world->now_us(loop) - began_us;
    *spent_us += took_us;
    if (c->memory)
        source_used_up(c->memory, from, &c->addrs[i], source_used_up_until(loop->now_ms + *spent_us / 1000, took_us));
    return r;
}

static const struct dial_way no_way;

/* One attempt, from the first source that can be used. */
static int connect_dial(struct connect *c, unsigned i)
{
    struct source_walk walk;
    struct dial_from from = {.way = c->sources.way};
    uint64_t spent_us = 0;
    int r = -EAFNOSUPPORT;

    if (c->sources.n == 0)
        return connect_dial_from(c, i, dial_way_is(&from.way, &no_way) ? NULL : &from, &spent_us);
    source_walk_init(&walk, &c->sources, &c->addrs[i], c->turn);
    /* Ends: a walk has at most SOURCE_TRIES. What was not tried for lack of time has its turn in the next race. */
    while (spent_us < SOURCE_SEARCH_US && source_walk_next(&walk, &from)) {
        r = connect_dial_from(c, i, &from, &spent_us);
        if (r == 0)
            c->from[i] = from.addr;
        if (r == -EADDRNOTAVAIL)
            c->foreign = from.addr;
        if (r != ERR_PORTS && r != -EADDRNOTAVAIL)
            return r;
        connect_note(c, r);
    }
    return r;
}

/* Starts attempts until one is under way or none is left. */
static void connect_next(struct connect *c)
{
    while (c->begun < c->n) {
        unsigned i = c->begun++;
        int r = connect_dial(c, i);

        if (r == 0) {
            c->conns[i]->task = &c->task;
            c->next_ms = c->loop->now_ms + CONNECT_STAGGER_MS;
            return;
        }
        connect_note(c, r);
    }
}

static void connect_close_but(struct connect *c, int keep)
{
    for (unsigned i = 0; i < c->begun; i++)
        if ((int)i != keep)
            conn_reset(&c->conns[i]);
}

/* Looks at all attempts; true when a winner is there. */
static bool connect_look(struct connect *c, bool *ret_running)
{
    *ret_running = false;
    for (unsigned i = 0; i < c->begun; i++) {
        if (!c->conns[i])
            continue;
        switch (conn_established(c->conns[i])) {
        case IO_OK:
            c->winner = (int)i;
            return true;
        case IO_AGAIN:
            *ret_running = true;
            break;
        case IO_EOF:
        case IO_ERR:
            connect_note(c, c->conns[i]->error);
            conn_close(&c->conns[i]);
            break;
        }
    }
    return false;
}

static bool connect_over(const struct connect *c)
{
    return c->winner >= 0 || c->deadline_ms == 0;
}

static void connect_finish(struct connect *c)
{
    timer_stop(&c->timer);
    connect_close_but(c, c->winner);
    c->deadline_ms = 0;
    task_wake(c->asker, TASK_HELPER);
}

static void connect_step(struct connect *c)
{
    bool running;

    if (connect_over(c))
        return;
    /* Each round begins an attempt or leaves: at most n rounds. */
    for (;;) {
        if (connect_look(c, &running) || (!running && c->begun == c->n)) {
            connect_finish(c);
            return;
        }
        if (c->loop->now_ms >= c->deadline_ms) {
            connect_note(c, ERR_TIMEOUT);
            connect_finish(c);
            return;
        }
        /* The latest one has failed: the next need not wait. */
        if (c->begun && !c->conns[c->begun - 1])
            c->next_ms = c->loop->now_ms;
        if (running && (c->begun == c->n || c->loop->now_ms < c->next_ms))
            break;
        connect_next(c);
    }
    timer_set_at(&c->timer, c->begun < c->n && c->next_ms < c->deadline_ms ? c->next_ms : c->deadline_ms);
}

static void connect_run(struct task *t, unsigned bits)
{
    UNUSED(bits);
    connect_step(CONTAINER_OF(t, struct connect, task));
}

static void connect_free(struct grave *g)
{
    struct connect *c = CONTAINER_OF(g, struct connect, grave);

    c->magic = OBJ_DEAD;
    mem_free(c);
}

int connect_start(struct loop *loop, const struct connect_opts *opts, struct connect **ret_connect)
{
    struct connect *c;

    CHECK(opts->n >= 1 && opts->n <= CONNECT_MAX_ADDRS);
    c = mem_zalloc(sizeof(*c));
    if (!c)
        return ERR_NOMEM;
    c->magic = CONNECT_MAGIC;
    c->loop = loop;
    task_init(&c->task, loop, "connect", connect_run);
    timer_init(&c->timer, &c->task);
    c->grave.free = connect_free;
    c->asker = opts->task;
    c->deadline_ms = loop->now_ms + opts->timeout_ms;
    c->n = opts->n;
    c->winner = -1;
    c->sources = opts->sources;
    c->turn = opts->turn;
    c->memory = opts->memory;
    memcpy(c->addrs, opts->addrs, opts->n * sizeof(c->addrs[0]));
    connect_step(c);
    *ret_connect = c;
    return 0;
}

void connect_cancel(struct connect **cp)
{
    struct connect *c = *cp;

    *cp = NULL;
    if (!c)
        return;
    OBJ_CHECK(c, CONNECT_MAGIC);
    connect_close_but(c, -1);
    timer_stop(&c->timer);
    task_cancel(&c->task);
    loop_bury(c->loop, &c->grave);
}

enum io connect_take(struct connect **cp, struct connect_result *ret_result)
{
    struct connect_result result = {0};
    struct connect *c = *cp;
    enum io r = IO_ERR;

    OBJ_CHECK(c, CONNECT_MAGIC);
    if (!connect_over(c))
        return IO_AGAIN;
    if (c->winner >= 0) {
        struct conn *won = c->conns[c->winner];

        c->conns[c->winner] = NULL;
        won->task = c->asker;
        result.conn = won;
        result.to = c->addrs[c->winner];
        result.from = c->from[c->winner];
        r = IO_OK;
    } else {
        result.error = c->error ? c->error : ERR_TIMEOUT;
    }
    result.foreign = c->foreign;
    *ret_result = result;
    connect_cancel(cp);
    return r;
}

bool connect_done(const struct connect *c)
{
    return connect_over(c);
}

unsigned connect_tries(const struct connect *c)
{
    return c->begun;
}
