/* SPDX-License-Identifier: MIT */
/* conn: what all kinds have in common: readiness, and how they end. */
#include "io/conn.h"

#include "base/check.h"

#include <sys/epoll.h>

void conn_ready(struct conn *c, unsigned ev)
{
    unsigned bits = 0;

    if (ev & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->hup = true;
    if (ev & EPOLLHUP)
        c->gone = true;
    /* The error itself may be consumed by whichever call meets it first; afterwards reads give 0, which must not pass for
     * an orderly end (FAILURES 23, U11). So it is kept here. HUP without a FIN of ours is the same, met too late. */
    if (((ev & EPOLLERR) || ((ev & EPOLLHUP) && !c->shut)) && !c->error)
        c->error = -ECONNRESET;
    if (ev & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        c->ready |= CONN_RX;
        bits |= TASK_RX;
    }
    if ((ev & (EPOLLOUT | EPOLLHUP | EPOLLERR)) && !(c->ready & CONN_TX)) {
        c->ready |= CONN_TX;
        bits |= TASK_TX;
    }
    if (bits)
        conn_wake(c, bits);
}

void conn_wake(struct conn *c, unsigned bits)
{
    /* What lies above has to look for itself what that means: its own end may not have come yet. */
    while (c->above) {
        c = c->above;
        c->ready |= CONN_RX | CONN_TX;
        bits = TASK_RX | TASK_TX;
        if (c->ops->stirred)
            c->ops->stirred(c);
    }
    task_wake(c->task, bits);
}

void conn_stack(struct conn *upper, struct conn *lower)
{
    CHECK(!upper->below && !lower->above);
    upper->below = lower;
    lower->above = upper;
    lower->task = NULL;
}

void conn_unstack(struct conn *upper)
{
    CHECK(upper->below);
    upper->below->above = NULL;
    upper->below = NULL;
}

void conn_broke(struct conn *c, int error)
{
    if (!c->error)
        c->error = error;
    c->hup = true;
    c->ready |= CONN_RX;
    c->ready &= (uint8_t)~CONN_TX;
}

static void conn_end(struct conn **cp, bool reset)
{
    struct conn *c = *cp;

    *cp = NULL;
    if (!c)
        return;
    OBJ_CHECK(c, CONN_MAGIC);
    c->task = NULL;
    c->ops->close(c, reset);
}

void conn_close(struct conn **c)
{
    conn_end(c, false);
}

void conn_reset(struct conn **c)
{
    conn_end(c, true);
}
