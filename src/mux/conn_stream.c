/* SPDX-License-Identifier: MIT */
/* conn_stream: a tunnel's stream with a conn's face. Wakes what lies above as conn_tcp does; the stream's queues are the only ones.
 */
#include "mux/conn_stream.h"

#include "base/check.h"
#include "base/mem.h"

struct conn_stream {
    struct conn conn;
    struct stream *stream;
    struct mux *mux;
    struct task task;
    struct grave grave;
};

static struct conn_stream *cs_of(struct conn *c)
{
    OBJ_CHECK(c, CONN_MAGIC);
    return CONTAINER_OF(c, struct conn_stream, conn);
}

/* The stream was woken. Each bit may be tried again; what has broken is told as a socket would. */
static void cs_run(struct task *t, unsigned bits)
{
    struct conn_stream *cs = CONTAINER_OF(t, struct conn_stream, task);
    unsigned events = bits & TASK_TX ? EPOLLOUT : 0;

    if (bits & (TASK_RX | TASK_GONE))
        events |= EPOLLIN;
    if (stream_broken(cs->stream))
        events |= EPOLLIN | EPOLLOUT | EPOLLERR;
    conn_ready(&cs->conn, events);
}

static enum io cs_broke(struct conn_stream *cs)
{
    conn_broke(&cs->conn, cs->stream->fault.reason == END_NO_MEMORY ? ERR_NOMEM : -ECONNRESET);
    return IO_ERR;
}

static enum io cs_recv(struct conn *c, void *p, size_t n, size_t *ret_n)
{
    struct conn_stream *cs = cs_of(c);
    enum io io = stream_recv(cs->stream, p, n, ret_n);

    switch (io) {
    case IO_OK:
        c->rx_bytes += *ret_n;
        return io;
    case IO_AGAIN:
        c->ready &= (uint8_t)~CONN_RX;
        return io;
    case IO_EOF:
        c->ready &= (uint8_t)~CONN_RX;
        c->eof = true;
        return io;
    case IO_ERR:
        break;
    }
    cs_broke(cs);
    c->ready &= (uint8_t)~CONN_RX;
    return IO_ERR;
}

static enum io cs_send(struct conn *c, const struct iovec *iov, int n_iov, size_t *ret_n)
{
    struct conn_stream *cs = cs_of(c);
    size_t sent = 0, want = 0;

    for (int i = 0; i < n_iov; i++) {
        const char *p = iov[i].iov_base;
        size_t left = iov[i].iov_len;

        want += left;
        while (left) {
            size_t n = min_size(stream_room(cs->stream), left);

            if (!n)
                break;
            if (stream_send(cs->stream, p, n, false) == IO_ERR)
                return cs_broke(cs);
            p += n;
            left -= n;
            sent += n;
        }
        if (left)
            break;
    }
    if (stream_flush(cs->stream) == IO_ERR)
        return cs_broke(cs);
    if (sent < want)
        c->ready &= (uint8_t)~CONN_TX;
    if (!sent)
        return IO_AGAIN;
    c->tx_bytes += sent;
    *ret_n = sent;
    return IO_OK;
}

static int cs_shut(struct conn *c)
{
    return stream_end(cs_of(c)->stream, NULL) == IO_ERR ? -EPIPE : 0;
}

static enum io cs_established(struct conn *c)
{
    UNUSED(c);
    return IO_OK;
}

/* A splice would pass by the stream's framing, or its accounts. */
static int cs_fd(struct conn *c, enum conn_dir dir)
{
    UNUSED(c);
    UNUSED(dir);
    return -1;
}

static void cs_free(struct grave *g)
{
    struct conn_stream *cs = CONTAINER_OF(g, struct conn_stream, grave);

    cs->conn.magic = OBJ_DEAD;
    mem_free(cs);
}

static void cs_close(struct conn *c, bool reset)
{
    struct conn_stream *cs = cs_of(c);

    if (!reset && cs->stream->tx == STREAM_BODY)
        reset = stream_end(cs->stream, NULL) == IO_ERR || stream_flush(cs->stream) == IO_ERR;
    if (reset)
        stream_reset(cs->stream);
    stream_release(&cs->stream);
    mux_close(&cs->mux, reset);
    task_cancel(&cs->task);
    cs->grave.free = cs_free;
    loop_bury(c->loop, &cs->grave);
}

static const struct conn_ops cs_ops = {
    .name = "stream",
    .recv = cs_recv,
    .send = cs_send,
    .shut = cs_shut,
    .established = cs_established,
    .fd = cs_fd,
    .close = cs_close,
};

int conn_stream_new(struct loop *loop, struct stream **stream, struct mux **mux, struct conn **ret_conn)
{
    struct conn_stream *cs = mem_zalloc(sizeof(*cs));

    if (!cs)
        return ERR_NOMEM;
    cs->conn = (struct conn){.magic = CONN_MAGIC, .ops = &cs_ops, .loop = loop, .ready = CONN_RX | CONN_TX};
    task_init(&cs->task, loop, "hop", cs_run);
    cs->stream = *stream;
    *stream = NULL;
    /* An h1 stream's conn wakes whoever its stream's task was. */
    cs->stream->task = &cs->task;
    if (mux) {
        cs->mux = *mux;
        *mux = NULL;
        if (cs->mux && !cs->mux->ops->shared && cs->mux->conn)
            cs->mux->conn->task = &cs->task;
    }
    *ret_conn = &cs->conn;
    return 0;
}
