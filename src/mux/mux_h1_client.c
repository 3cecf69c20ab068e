/* SPDX-License-Identifier: MIT */
/* mux_h1_client: HTTP/1 towards an origin: one exchange at a time, no pipelining (C50). Says whether the connection may be used
 * again: only when both messages are complete and nothing unexpected arrived (C49, FAILURES 25).
 * Owned by an exchange while in use, by the upstream pool while idle.
 */
#include "mux/mux_h1.h"

#include "base/check.h"
#include "base/mem.h"
#include "mux/ws_key.h"

static const struct stream_ops client_stream_ops;

static struct stream *client_open(struct mux *mux, struct task *task)
{
    struct mux_h1 *m = h1_of_mux(mux);

    /* A new connection may have its answer and its end waiting already. */
    if (m->state != H1_IDLE || m->wire.conn->error)
        return NULL;
    h1_attach(m, &client_stream_ops);
    m->stream.task = task;
    m->wire.conn->task = task;
    return &m->stream;
}

static bool client_reusable(struct mux *mux)
{
    struct mux_h1 *m = h1_of_mux(mux);
    const struct conn *c = m->wire.conn;
    size_t n;

    if (m->state != H1_IDLE || c->error || c->hup || c->eof)
        return false;
    /* A read that was filled to the last byte, or a splice, leaves open whether there is more: more would be poison. */
    return !(c->ready & CONN_RX) || wire_recv(&m->wire, m->loop->scratch, 1, &n) == IO_AGAIN;
}

static enum target_form form_of(const struct head *h)
{
    if (h->method == METHOD_CONNECT)
        return FORM_AUTHORITY;
    if (h->to_proxy)
        return FORM_ABSOLUTE;
    return slice_eq(h->path, SLICE("*")) ? FORM_ASTERISK : FORM_ORIGIN;
}

/* From a client that has none (HTTP/2, RFC 8441 5): the handshake is ours then. */
static int client_ws_key(struct mux_h1 *m, const struct head *h, char key[WS_KEY_LEN + 1])
{
    if (h->version < 20 || !slice_eq_nocase(h->protocol, SLICE("websocket")) || hdrs_find(&h->fields, HDR_SEC_WEBSOCKET_KEY))
        return 0;
    m->ws_accept = mem_alloc(WS_ACCEPT_LEN + 1);
    if (!m->ws_accept)
        return ERR_NOMEM;
    return ws_key_new(key) < 0 || ws_key_accept(slice_of(key, WS_KEY_LEN), m->ws_accept) < 0 ? ERR_NOMEM : 0;
}

static void client_ws_forget(struct mux_h1 *m)
{
    mem_free(m->ws_accept);
    m->ws_accept = NULL;
}

/* The answer to a key of ours is nobody else's. */
static bool client_ws_accepted(struct mux_h1 *m, struct head *h)
{
    const struct field *f = hdrs_find(&h->fields, HDR_SEC_WEBSOCKET_ACCEPT);
    bool good;

    if (!m->ws_accept || h->status != 101)
        return true;
    good = f && slice_eq(f->value, slice_str(m->ws_accept));
    hdrs_remove(&h->fields, HDR_SEC_WEBSOCKET_ACCEPT);
    return good;
}

static enum io client_send_head(struct stream *s, const struct head *h, bool last)
{
    struct mux_h1 *m = h1_of(s);
    char key[WS_KEY_LEN + 1];
    struct h1_out o = {
        .form = form_of(h),
        .version = 11,
        .protocol = h->protocol,
        .te_trailers = h->te_trailers,
    };

    if (h->body == BODY_SIZED)
        o.framing = H1_FRAME_LENGTH;
    else if (h->body == BODY_STREAMED)
        o.framing = H1_FRAME_CHUNKED;
    m->method = h->method;
    if (client_ws_key(m, h, key) < 0)
        return h1_fault_set(m, END_NO_MEMORY, "the request's head could not be written");
    if (m->ws_accept)
        o.ws_key = slice_of(key, WS_KEY_LEN);
    if (h1_write_request(&m->wire.out, h, &o) < 0)
        return h1_fault_set(m, END_NO_MEMORY, "the request's head could not be written");
    return h1_begin_content(m, o.framing, h->length, last);
}

static bool client_is_interim(const struct head *h)
{
    return h->status < 200 && h->status != 101;
}

static enum io client_recv_head(struct stream *s, struct arena *a, struct head **ret_head)
{
    struct mux_h1 *m = h1_of(s);
    struct head *h = NULL;
    enum io io = h1_read_head(m, a, H1_RESPONSE, &h);

    if (io == IO_EOF || io == IO_ERR)
        m->close = true;
    if (io != IO_OK)
        return io;
    *ret_head = h;
    if (client_is_interim(h))
        return IO_OK;
    if (!client_ws_accepted(m, h)) {
        m->close = true;
        return h1_fault_set(m, END_UPSTREAM_NONSENSE, "the origin's Sec-WebSocket-Accept is not the answer to the key it was sent");
    }
    if (h->close || h->version < 11 || h1_body_direct(&m->body) == UINT64_MAX)
        m->close = true;
    /* What the origin does with its connection is no matter of the client's. */
    h->close = false;
    m->mux.keep_alive_s = h->keep_alive_s;
    s->rx = m->body.done ? STREAM_END : STREAM_BODY;
    return IO_OK;
}

static void client_release(struct stream *s)
{
    struct mux_h1 *m = h1_of(s);
    struct conn *c = m->wire.conn;

    CHECK(m->state == H1_ATTACHED);
    client_ws_forget(m);
    m->parser = NULL;
    s->task = NULL;
    if (c)
        c->task = m->mux.task;
    if (c && s->rx == STREAM_END && s->tx == STREAM_END && !s->tunnel && !m->close && !m->wire.in.len &&
        !m->wire.out.len)
        m->state = H1_IDLE;
    else
        m->state = H1_DEAD;
}

static const struct stream_ops client_stream_ops = {
    .name = "h1-upstream",
    .recv_head = client_recv_head,
    .recv = h1_recv,
    .send_head = client_send_head,
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
    .release = client_release,
    .look = h1_look,
};

static const struct mux_ops client_ops = {
    .name = "h1-client",
    .open = client_open,
    .reusable = client_reusable,
    .close = h1_close,
};

struct mux *mux_client_new(struct conn *conn, const struct h1_limits *limits)
{
    struct mux_h1 *m = h1_new(conn, limits, &client_ops);

    return m ? &m->mux : NULL;
}
