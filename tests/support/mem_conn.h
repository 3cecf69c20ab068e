/* SPDX-License-Identifier: MIT */
/* mem_conn: a conn without a socket: the test feeds it bytes and ends, says how much it takes, and
 * reads what was written. It behaves as conn_tcp does. Owner: the test. */
#ifndef SUPPORT_MEM_CONN_H
#define SUPPORT_MEM_CONN_H

#include "base/check.h"
#include "io/conn.h"

#include <string.h>

enum { MEM_CONN_IN = 512 * 1024, MEM_CONN_OUT = 512 * 1024 };

struct mem_conn {
    struct conn conn;
    char in[MEM_CONN_IN], out[MEM_CONN_OUT + 1];
    size_t in_n, in_at, out_n;
    size_t room; /* bytes that may still be sent */
    bool in_fin, fin_sent, closed, was_reset;
    int in_error; /* behind what was fed */
    unsigned n_sends, n_recvs;
};

static inline struct mem_conn *mem_conn_of(struct conn *c)
{
    OBJ_CHECK(c, CONN_MAGIC);
    return CONTAINER_OF(c, struct mem_conn, conn);
}

static inline enum io mem_conn_recv(struct conn *c, void *p, size_t n, size_t *ret_n)
{
    struct mem_conn *m = mem_conn_of(c);
    size_t have = min_size(n, m->in_n - m->in_at);

    CHECK(n > 0);
    m->n_recvs++;
    if (have) {
        memcpy(p, m->in + m->in_at, have);
        m->in_at += have;
        if (have < n && !c->hup)
            c->ready &= (uint8_t)~CONN_RX;
        c->rx_bytes += have;
        *ret_n = have;
        return IO_OK;
    }
    c->ready &= (uint8_t)~CONN_RX;
    if (m->in_error || c->error) {
        if (!c->error)
            c->error = m->in_error;
        return IO_ERR;
    }
    if (!m->in_fin)
        return IO_AGAIN;
    c->eof = true;
    return IO_EOF;
}

static inline enum io mem_conn_send(struct conn *c, const struct iovec *iov, int n_iov,
                                    size_t *ret_n)
{
    struct mem_conn *m = mem_conn_of(c);
    size_t want = 0, sent = 0;

    m->n_sends++;
    CHECK(!m->fin_sent);
    if (m->in_error) {
        c->error = m->in_error;
        c->hup = true;
        c->ready = CONN_RX;
        return IO_ERR;
    }
    for (int i = 0; i < n_iov; i++) {
        size_t n = min_size(min_size(iov[i].iov_len, m->room), MEM_CONN_OUT - m->out_n);

        want += iov[i].iov_len;
        memcpy(m->out + m->out_n, iov[i].iov_base, n);
        m->out_n += n;
        m->room -= n;
        sent += n;
    }
    m->out[m->out_n] = '\0';
    if (sent < want)
        c->ready &= (uint8_t)~CONN_TX;
    if (!sent)
        return IO_AGAIN;
    c->tx_bytes += sent;
    *ret_n = sent;
    return IO_OK;
}

static inline int mem_conn_shut(struct conn *c)
{
    struct mem_conn *m = mem_conn_of(c);

    if (m->in_error)
        return -ENOTCONN;
    m->fin_sent = true;
    return 0;
}

static inline enum io mem_conn_established(struct conn *c)
{
    UNUSED(c);
    return IO_OK;
}

static inline int mem_conn_fd(struct conn *c, enum conn_dir dir)
{
    UNUSED(c);
    UNUSED(dir);
    return -1;
}

static inline void mem_conn_close(struct conn *c, bool reset)
{
    struct mem_conn *m = mem_conn_of(c);

    CHECK(!m->closed);
    m->closed = true;
    m->was_reset = reset;
}

static const struct conn_ops mem_conn_ops = {
    .name = "mem",
    .recv = mem_conn_recv,
    .send = mem_conn_send,
    .shut = mem_conn_shut,
    .established = mem_conn_established,
    .fd = mem_conn_fd,
    .close = mem_conn_close,
};

/* Takes everything until told otherwise. */
static inline struct conn *mem_conn_init(struct mem_conn *m, struct loop *loop)
{
    m->conn = (struct conn){
        .magic = CONN_MAGIC, .ops = &mem_conn_ops, .loop = loop, .ready = CONN_TX};
    m->in_n = m->in_at = m->out_n = 0;
    m->room = SIZE_MAX;
    m->in_fin = m->fin_sent = m->closed = m->was_reset = false;
    m->in_error = 0;
    m->n_sends = m->n_recvs = 0;
    m->out[0] = '\0';
    return &m->conn;
}

static inline void mem_conn_feed(struct mem_conn *m, const void *p, size_t n)
{
    CHECK(m->in_n + n <= MEM_CONN_IN);
    memcpy(m->in + m->in_n, p, n);
    m->in_n += n;
    conn_ready(&m->conn, EPOLLIN);
}

static inline void mem_conn_text(struct mem_conn *m, const char *text)
{
    mem_conn_feed(m, text, strlen(text));
}

static inline void mem_conn_fin(struct mem_conn *m)
{
    m->in_fin = true;
    conn_ready(&m->conn, EPOLLIN | EPOLLRDHUP);
}

/* The peer's RST behind what was fed; `told`: the loop has reported it already. */
static inline void mem_conn_rst(struct mem_conn *m, bool told)
{
    m->in_error = -ECONNRESET;
    if (told)
        conn_ready(&m->conn, EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP);
}

static inline void mem_conn_room(struct mem_conn *m, size_t n)
{
    m->room = n;
    if (n)
        conn_ready(&m->conn, EPOLLOUT);
}

#endif
