/* SPDX-License-Identifier: MIT */
/* pair_conn: two conns without sockets, each the other's peer: what one sends the other receives,
 * in pieces and with as much room as the test says. They behave as conn_tcp does. Owner: the test. */
#ifndef SUPPORT_PAIR_CONN_H
#define SUPPORT_PAIR_CONN_H

#include "base/check.h"
#include "io/conn.h"

#include <string.h>

enum { PAIR_CONN_ROOM = 4 * 1024 * 1024 };

struct pair_conn {
    struct conn conn;
    struct pair_conn *peer;
    char *in;            /* received, not read: in_at..in_n */
    size_t in_n, in_at;
    size_t room;         /* of `in` */
    size_t piece;        /* most that a recv gives */
    bool in_fin, in_rst, closed, was_reset;
    bool hold;           /* it takes nothing that is sent to it */
    bool peer_waits;     /* for room */
    unsigned n_sends, n_recvs;
    uint64_t sent;
};

static inline struct pair_conn *pair_conn_of(struct conn *c)
{
    OBJ_CHECK(c, CONN_MAGIC);
    return CONTAINER_OF(c, struct pair_conn, conn);
}

static inline void pair_conn_again(struct pair_conn *p)
{
    if (p->peer_waits && p->peer && !p->hold) {
        p->peer_waits = false;
        conn_ready(&p->peer->conn, EPOLLOUT);
    }
}

static inline enum io pair_conn_recv(struct conn *c, void *to, size_t n, size_t *ret_n)
{
    struct pair_conn *p = pair_conn_of(c);
    size_t have = min_size(min_size(n, p->piece), p->in_n - p->in_at);

    p->n_recvs++;
    if (have) {
        memcpy(to, p->in + p->in_at, have);
        p->in_at += have;
        if (p->in_at == p->in_n)
            p->in_at = p->in_n = 0;
        if (p->in_n == 0 && !c->hup)
            c->ready &= (uint8_t)~CONN_RX;
        c->rx_bytes += have;
        *ret_n = have;
        pair_conn_again(p);
        return IO_OK;
    }
    c->ready &= (uint8_t)~CONN_RX;
    if (p->in_rst || c->error) {
        if (!c->error)
            c->error = -ECONNRESET;
        return IO_ERR;
    }
    if (!p->in_fin)
        return IO_AGAIN;
    c->eof = true;
    return IO_EOF;
}

static inline enum io pair_conn_send(struct conn *c, const struct iovec *iov, int n_iov, size_t *ret_n)
{
    struct pair_conn *p = pair_conn_of(c), *to = p->peer;
    size_t want = 0, sent = 0;

    p->n_sends++;
    if (p->in_rst || !to) {
        conn_broke(c, -EPIPE);
        return IO_ERR;
    }
    for (int i = 0; i < n_iov; i++) {
        size_t n = to->hold ? 0 : min_size(iov[i].iov_len, to->room - to->in_n);

        want += iov[i].iov_len;
        memcpy(to->in + to->in_n, iov[i].iov_base, n);
        to->in_n += n;
        sent += n;
        if (n < iov[i].iov_len)
            break;
    }
    if (sent < want || to->in_n == to->room) {
        c->ready &= (uint8_t)~CONN_TX;
        to->peer_waits = true;
    }
    if (!sent)
        return IO_AGAIN;
    p->sent += sent;
    c->tx_bytes += sent;
    *ret_n = sent;
    conn_ready(&to->conn, EPOLLIN);
    return IO_OK;
}

static inline int pair_conn_shut(struct conn *c)
{
    struct pair_conn *p = pair_conn_of(c);

    if (p->peer) {
        p->peer->in_fin = true;
        conn_ready(&p->peer->conn, EPOLLIN | EPOLLRDHUP);
    }
    return 0;
}

static inline enum io pair_conn_established(struct conn *c)
{
    UNUSED(c);
    return IO_OK;
}

static inline int pair_conn_fd(struct conn *c, enum conn_dir dir)
{
    UNUSED(c);
    UNUSED(dir);
    return -1;
}

static inline void pair_conn_close(struct conn *c, bool reset)
{
    struct pair_conn *p = pair_conn_of(c);

    CHECK(!p->closed);
    p->closed = true;
    p->was_reset = reset;
    if (!p->peer)
        return;
    p->peer->peer = NULL;
    if (reset || p->in_at < p->in_n) {
        p->peer->in_rst = true;
        conn_ready(&p->peer->conn, EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP);
    } else {
        p->peer->in_fin = true;
        conn_ready(&p->peer->conn, EPOLLIN | EPOLLRDHUP);
    }
}

static const struct conn_ops pair_conn_ops = {
    .name = "pair",
    .recv = pair_conn_recv,
    .send = pair_conn_send,
    .shut = pair_conn_shut,
    .established = pair_conn_established,
    .fd = pair_conn_fd,
    .close = pair_conn_close,
};

static inline void pair_conn_init(struct pair_conn p[2], struct loop *loop)
{
    static char room[2][PAIR_CONN_ROOM];

    for (int i = 0; i < 2; i++)
        p[i] = (struct pair_conn){
            .conn = {.magic = CONN_MAGIC, .ops = &pair_conn_ops, .loop = loop, .ready = CONN_TX},
            .peer = &p[1 - i],
            .in = room[i],
            .room = PAIR_CONN_ROOM,
            .piece = SIZE_MAX,
        };
}

/* It takes again what is sent to it, or no more. */
static inline void pair_conn_hold(struct pair_conn *p, bool hold)
{
    p->hold = hold;
    pair_conn_again(p);
}

#endif
