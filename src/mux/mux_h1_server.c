/* SPDX-License-Identifier: MIT */
/* mux_h1_server: HTTP/1 towards a client: one request after the other, answered in order (C50). Decides whether the connection
 * stays, throws away the rest of a request that was answered early, and hands over to the session for lingering.
 * Owned and driven by a session.
 */
#include "mux/mux_h1.h"

#include "base/check.h"

enum { SERVER_SKIP_MAX = 8 }; /* empty lines */

static const struct stream_ops server_stream_ops;

/* ---- between streams ---- */

/* How many of n bytes are empty lines before a request: nobody's (RFC 9112 2.2), they begin no exchange. A CR at the end is held
 * back in m->held_cr until it is known what follows. Too many lines are left to the parser, which refuses them. */
static size_t server_empty_lines(struct mux_h1 *m, const char *p, size_t n)
{
    size_t i = 0;

    while (i < n && m->skipped < SERVER_SKIP_MAX) {
        if (p[i] == '\r' && i + 1 == n) {
            m->held_cr = true;
            return n;
        }
        if (p[i] == '\n')
            i++;
        else if (p[i] == '\r' && p[i + 1] == '\n')
            i += 2;
        else
            break;
        m->skipped++;
    }
    return i;
}

/* Reads once and queues what may begin a request. OK: something was read. */
static enum io server_read(struct mux_h1 *m)
{
    char *p = m->loop->scratch + 1; /* room for a CR that was held back */
    size_t n, skip;
    enum io io = wire_recv(&m->wire, p, WIRE_ROOM, &n);

    if (io != IO_OK)
        return io;
    if (m->held_cr) {
        m->held_cr = false;
        *--p = '\r';
        n++;
    }
    skip = server_empty_lines(m, p, n);
    return wire_unread(&m->wire, p + skip, n - skip) < 0 ? IO_ERR : IO_OK;
}

/* What was read together with the request before. */
static void server_skip_queued(struct mux_h1 *m)
{
    while (m->wire.in.len) {
        struct slice front = bufq_front(&m->wire.in);
        size_t skip = server_empty_lines(m, front.p, front.n);

        bufq_drop(&m->wire.in, skip);
        if (skip < front.n)
            return;
    }
}

static enum mux_state server_idle(struct mux_h1 *m)
{
    server_skip_queued(m);
    /* Ends: each round has read something, and the empty lines are bounded. */
    while (!m->wire.in.len) {
        switch (server_read(m)) {
        case IO_OK:
            break;
        case IO_AGAIN:
            return MUX_IDLE;
        case IO_EOF:
        case IO_ERR:
            m->state = H1_DEAD;
            return MUX_CLOSED;
        }
    }
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
    size_t before;

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
    before = m->wire.out.len;
    if (h1_write_response(&m->wire.out, h, &o) < 0)
        return h1_fault_set(m, END_NO_MEMORY, "the answer's head could not be written");
    s->head_bytes += (uint32_t)(m->wire.out.len - before);
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
    } else if (m->close || (s->rx != STREAM_END && m->body.trailer_parser)) {
        /* A trailer section half read lies in the arena that is about to go: no discarding then. */
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
    .announce = h1_announce,
    .moved = h1_moved,
    .failed = h1_failed,
    .broken = h1_broken,
    .reset = h1_reset,
    .release = server_release,
    .look = h1_look,
};

static unsigned server_waits(struct mux *mux, struct stream_look *ret_look)
{
    struct mux_h1 *m = h1_of_mux(mux);

    *ret_look = wire_look(&m->wire);
    switch (m->state) {
    case H1_IDLE:
    case H1_DISCARD:
        return CONN_RX;
    case H1_LAST:
        return CONN_TX;
    case H1_ATTACHED:
    case H1_DEAD:
        break;
    }
    return 0;
}

static const struct mux_ops server_ops = {
    .name = "h1-server",
    .serve = server_serve,
    .close = h1_close,
    .waits = server_waits,
};

struct mux *mux_server_new(struct conn *conn, const struct h1_limits *limits, struct slice early)
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
