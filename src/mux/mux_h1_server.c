/* SPDX-License-Identifier: MIT */
/* mux_h1_server: HTTP/1 towards a client: one request after the other, answered in order (C50). Decides whether the connection
 * stays, throws away the rest of a request that was answered early, and hands over to the session for lingering.
 * Owned and driven by a session.
 */
#include "mux/mux_h1.h"

#include "base/check.h"

enum { SERVER_SKIP_MAX = 16 };

static const struct stream_ops server_stream_ops;

/* ---- between streams ---- */

/* Empty lines between requests are nobody's request (RFC 9112 2.2); they begin no exchange. Too many are: the parser will say so. */
static void server_skip_lines(struct mux_h1 *m)
{
    while (m->wire.in.len && m->skipped < SERVER_SKIP_MAX) {
        struct slice front = bufq_front(&m->wire.in);
        size_t n = 0;

        while (n < front.n && n < SERVER_SKIP_MAX && (front.p[n] == '\r' || front.p[n] == '\n'))
            n++;
        bufq_drop(&m->wire.in, n);
        m->skipped += (uint32_t)n;
        if (n < front.n)
            return;
    }
}

static enum mux_state server_idle(struct mux_h1 *m)
{
    if (!m->wire.in.len) {
        size_t n;

        switch (wire_recv(&m->wire, m->loop->scratch, WIRE_ROOM, &n)) {
        case IO_OK:
            break;
        case IO_AGAIN:
            return MUX_IDLE;
        case IO_EOF:
        case IO_ERR:
            m->state = H1_DEAD;
            return MUX_CLOSED;
        }
        if (wire_unread(&m->wire, m->loop->scratch, n) < 0) {
            m->state = H1_DEAD;
            return MUX_CLOSED;
        }
    }
    server_skip_lines(m);
    if (!m->wire.in.len)
        return MUX_IDLE;
    h1_attach(m, &server_stream_ops);
    m->mux.on_stream(&m->mux, &m->stream);
    /* The owner may have refused it for lack of memory. */
    if (m->state == H1_ATTACHED)
        m->wire.conn->task = m->stream.task;
    return MUX_BUSY;
}

/* The rest of a request whose answer is complete: read and dropped, up to a bound in bytes and time. */
static enum mux_state server_discard(struct mux_h1 *m)
{
    struct stream *s = &m->stream;

    for (int i = 0; i < 8; i++) {
        size_t n;

        switch (h1_recv(s, m->loop->scratch, WIRE_ROOM, &n)) {
        case IO_OK:
            m->discarded += (uint32_t)n;
            if (m->discarded > MUX_DISCARD_BYTES)
                goto linger;
            break;
        case IO_AGAIN:
            if (timer_armed(&m->discard))
                return MUX_BUSY;
            goto linger;
        case IO_EOF:
            timer_stop(&m->discard);
            m->state = H1_IDLE;
            return server_idle(m);
        case IO_ERR:
            goto linger;
        }
    }
    task_wake(m->mux.task, TASK_RX);
    return MUX_BUSY;

linger:
    timer_stop(&m->discard);
    m->state = H1_LAST;
    return MUX_LINGER;
}

static enum mux_state server_last(struct mux_h1 *m)
{
    switch (wire_flush(&m->wire)) {
    case IO_OK:
        return MUX_LINGER;
    case IO_AGAIN:
        return MUX_BUSY;
    case IO_EOF:
    case IO_ERR:
        break;
    }
    m->state = H1_DEAD;
    return MUX_CLOSED;
}

static enum mux_state server_serve(struct mux *mux)
{
    struct mux_h1 *m = h1_of_mux(mux);

    switch (m->state) {
    case H1_ATTACHED:
        return MUX_BUSY;
    case H1_IDLE:
        return server_idle(m);
    case H1_DISCARD:
        return server_discard(m);
    case H1_LAST:
        return server_last(m);
    case H1_DEAD:
        break;
    }
    return MUX_CLOSED;
}

/* ---- the stream ---- */

static enum io server_recv_head(struct stream *s, struct arena *a, struct head **ret_head)
{
    struct mux_h1 *m = h1_of(s);
    struct head *h = NULL;
    enum io io = h1_read_head(m, a, H1_REQUEST, &h);

    if (io == IO_ERR) {
        m->close = true;
        if (h)
            *ret_head = h;
        return io;
    }
    if (io != IO_OK)
        return io;
    m->method = h->method;
    m->expects = h->expect_continue;
    /* No persistence with HTTP/1.0 clients, whatever they ask for (C51). */
    if (h->close || h->version < 11)
        m->close = true;
    s->rx = h->body == BODY_NONE || m->body.done ? STREAM_END : STREAM_BODY;
    *ret_head = h;
    return IO_OK;
}

/* The rest of the request is too long to be thrown away, or may never come. */
static bool server_must_close(const struct mux_h1 *m)
{
    if (m->stream.rx == STREAM_END)
        return false;
    if (m->stream.rx == STREAM_HEAD || m->expects)
        return true;
    return m->body.framing == H1_FRAME_LENGTH && m->body.left > MUX_DISCARD_BYTES;
}

static enum h1_framing server_framing(const struct mux_h1 *m, const struct head *h)
{
    bool bodiless = m->method == METHOD_HEAD || h->status < 200 || h->status == 204 || h->status == 304 ||
                    (m->method == METHOD_CONNECT && h->status < 300);

    if (bodiless)
        return H1_FRAME_NONE;
    if (h->body == BODY_STREAMED)
        return m->version >= 11 ? H1_FRAME_CHUNKED : H1_FRAME_CLOSE;
    return H1_FRAME_LENGTH;
}

static enum io server_send_interim(struct mux_h1 *m, const struct head *h)
{
    struct h1_out o = {.framing = H1_FRAME_NONE, .version = 11};

    /* None to HTTP/1.0 clients, and 100 only to those that asked (RFC 9110 15.2). */
    if (m->version < 11 || (h->status == 100 && !m->expects))
        return IO_OK;
    if (h->status == 100)
        m->expects = false;
    if (h1_write_response(&m->wire.out, h, &o) < 0)
        return h1_fault_set(m, END_NO_MEMORY, "an interim answer could not be written");
    return h1_flush(&m->stream);
}

static enum io server_send_head(struct stream *s, const struct head *h, bool last)
{
    struct mux_h1 *m = h1_of(s);
    struct h1_out o = {.framing = server_framing(m, h), .version = 11, .protocol = h->protocol};
    bool tunnel = h->status == 101 || (m->method == METHOD_CONNECT && h->status >= 200 && h->status < 300);

    if (h->status < 200 && h->status != 101) {
        enum io io = server_send_interim(m, h);

        return io == IO_AGAIN ? IO_OK : io;
    }
    if (tunnel) {
        /* The reply to CONNECT mirrors the client's version (S002-27). */
        if (m->method == METHOD_CONNECT && m->version == 10)
            o.version = 10;
    } else {
        if (h->close || m->mux.drain || o.framing == H1_FRAME_CLOSE || m->method == METHOD_CONNECT ||
            server_must_close(m))
            m->close = true;
        o.close = m->close;
    }
    if (h1_write_response(&m->wire.out, h, &o) < 0)
        return h1_fault_set(m, END_NO_MEMORY, "the answer's head could not be written");
    if (tunnel) {
        s->tx = STREAM_BODY;
        return IO_OK;
    }
    return h1_begin_content(m, o.framing, h->length, last);
}

static void server_release(struct stream *s)
{
    struct mux_h1 *m = h1_of(s);

    CHECK(m->state == H1_ATTACHED);
    m->parser = NULL;
    s->task = NULL;
    if (m->wire.conn)
        m->wire.conn->task = m->mux.task;
    if (!m->wire.conn || s->tunnel || s->tx != STREAM_END) {
        m->state = H1_DEAD;
    } else if (m->close) {
        m->state = H1_LAST;
    } else if (s->rx != STREAM_END) {
        m->state = H1_DISCARD;
        m->discarded = 0;
        /* The trailers' arena dies with the exchange. */
        m->body.arena = NULL;
        m->discard.task = m->mux.task;
        timer_set(&m->discard, MUX_DISCARD_MS);
    } else {
        m->state = H1_IDLE;
    }
    task_wake(m->mux.task, TASK_RX);
}

static const struct stream_ops server_stream_ops = {
    .name = "h1-client",
    .recv_head = server_recv_head,
    .recv = h1_recv,
    .send_head = server_send_head,
    .send = h1_send,
    .end = h1_end,
    .flush = h1_flush,
    .room = h1_room,
    .tunnel = h1_tunnel,
    .fd = h1_fd,
    .moved = h1_moved,
    .broken = h1_broken,
    .reset = h1_reset,
    .release = server_release,
};

static const struct mux_ops server_ops = {
    .name = "h1-server",
    .serve = server_serve,
    .close = h1_close,
};

struct mux *mux_h1_server_new(struct conn *conn, const struct h1_limits *limits, struct slice early)
{
    struct mux_h1 *m = h1_new(conn, limits, &server_ops);

    if (!m)
        return NULL;
    m->client_side = true;
    if (wire_unread(&m->wire, early.p, early.n) < 0) {
        /* The conn stays the caller's. */
        m->wire.conn = NULL;
        struct mux *mux = &m->mux;

        mux_close(&mux, false);
        return NULL;
    }
    return &m->mux;
}
