/* SPDX-License-Identifier: MIT */
/* mux_h2_server: HTTP/2 towards a client: each request is a stream of its own. Owned by a session, which hears of streams and of the connection's end.
 */
#include "mux/mux_h2_priv.h"

#include "base/check.h"

static const struct stream_ops server_stream_ops;

/* ---- the connection ---- */

void h2_server_begin(struct mux_h2 *m, const nghttp2_frame *frame)
{
    struct stream_h2 *s;

    m->n_open++;
    /* Streams that were reset may still have exchanges: they count (FAILURES 18). */
    if (m->n_open > m->conf.streams || m->n_streams >= m->conf.streams + m->conf.streams / 2 || m->state != H2_OPEN)
        return;
    s = h2_stream_new(m, frame->hd.stream_id, &server_stream_ops);
    if (!s)
        return;
    if (nghttp2_session_set_stream_user_data(m->session, frame->hd.stream_id, s) < 0) {
        s->closed = true;
        h2_stream_gone(s);
    }
}

/* Two steps (C68): no request that crosses the first GOAWAY is lost. */
static void drain_begin(struct mux_h2 *m)
{
    if (m->drain != H2_DRAIN_OFF)
        return;
    if (nghttp2_submit_shutdown_notice(m->session) < 0 || nghttp2_submit_ping(m->session, NGHTTP2_FLAG_NONE, NULL) < 0) {
        if (m->mux.drain)
            h2_dead(m, (struct stream_fault){END_NO_MEMORY, "out of memory"});
        return;
    }
    m->drain = H2_DRAIN_NOTICE;
    m->drain_ms = m->loop->now_ms + H2_DRAIN_MS;
    h2_flush_soon(m);
    h2_arm(m);
}

static enum mux_state server_serve(struct mux *mux)
{
    struct mux_h2 *m = h2_of_mux(mux);

    /* Once it was refused memory, nghttp2's is given back with the session (mux_h2_session): that is not to grow for ever. */
    if ((m->mux.drain || m->refused) && m->state == H2_OPEN)
        drain_begin(m);
    if (m->n_streams)
        return MUX_BUSY;
    switch (m->state) {
    case H2_OPEN:
        return m->drain || m->wire.out.len || m->block ? MUX_BUSY : MUX_IDLE;
    case H2_ENDING:
        return MUX_BUSY;
    case H2_OVER:
        /* The peer has still to read what was written last. */
        return m->calm ? MUX_BUSY : MUX_LINGER;
    case H2_DEAD:
        break;
    }
    return MUX_CLOSED;
}

/* ---- a stream ---- */

static enum io server_recv_head(struct stream *st, struct arena *a, struct head **ret_head)
{
    struct stream_h2 *s = h2_of(st);
    struct mux_h2 *m = s->mux;
    struct h2_block *b = s->heads;
    struct head *h = NULL;
    struct h2_verdict v;
    bool last;

    if (!b)
        return s->broken ? h2_broken_io(s) : IO_AGAIN;
    st->begun = true;
    v = h2_head_request(b, a, m->conf.heads, &h);
    last = b->last;
    s->heads = b->next;
    b->next = NULL;
    h2_blocks_free(b);
    if (h) {
        *ret_head = h;
        s->method = h->method; /* a refusal of a HEAD has no content either */
    }
    if (v.fault.detail) {
        if (v.malformed)
            return h2_malformed(s, v.fault);
        st->fault = v.fault;
        return IO_ERR;
    }
    if (s->broken)
        return h2_broken_io(s);
    s->arena = a;
    s->expects = h->expect_continue;
    if (h->method == METHOD_CONNECT || h->protocol.n) {
        /* What comes now is the tunnel's. */
        s->connected = true;
        st->rx = STREAM_END;
    } else {
        st->rx = last ? STREAM_END : STREAM_BODY;
    }
    return IO_OK;
}

static enum io send_failed(struct stream_h2 *s, int r)
{
    if (s->broken)
        return h2_broken_io(s);
    s->stream.fault = (struct stream_fault){r == ERR_SYNTAX ? END_INTERNAL : END_NO_MEMORY, r == ERR_SYNTAX ? "a field that may not be written" : "out of memory"};
    return IO_ERR;
}

static bool bodiless(const struct stream_h2 *s, const struct head *h)
{
    return s->method == METHOD_HEAD || h->status == 204 || h->status == 304;
}

enum what { HEAD_INTERIM, HEAD_END, HEAD_CONTENT };

static int submit(struct stream_h2 *s, const struct head *h, int status, enum what what, bool content)
{
    struct mux_h2 *m = s->mux;
    nghttp2_data_provider p = h2_provider(s);
    struct h2_out o;
    int r = h2_out_init(&o, m->loop, h->fields.n);

    if (r < 0)
        return r;
    r = h2_out_response(&o, h, status, content);
    if (r == 0 && what == HEAD_INTERIM)
        r = nghttp2_submit_headers(m->session, NGHTTP2_FLAG_NONE, s->id, NULL, o.v, o.n, NULL);
    else if (r == 0)
        r = nghttp2_submit_response(m->session, s->id, o.v, o.n, what == HEAD_END ? NULL : &p);
    h2_out_done(&o);
    if (r < 0 && r != ERR_SYNTAX)
        r = ERR_NOMEM;
    h2_flush_soon(m);
    return r < 0 ? r : 0;
}

static enum io server_send_interim(struct stream_h2 *s, const struct head *h)
{
    int r;

    if (h->status == 100 && !s->expects)
        return IO_OK;
    if (h->status == 100)
        s->expects = false;
    r = submit(s, h, h->status, HEAD_INTERIM, false);
    return r < 0 ? send_failed(s, r) : IO_OK;
}

static enum io server_send_head(struct stream *st, const struct head *h, bool last)
{
    struct stream_h2 *s = h2_of(st);
    bool tunnel = h->status == 101 || (s->method == METHOD_CONNECT && h->status >= 200 && h->status < 300);
    bool none = !tunnel && bodiless(s, h);
    int r;

    if (s->broken)
        return h2_broken_io(s);
    if (h->status < 200 && h->status != 101)
        return server_send_interim(s, h);
    last = !tunnel && (last || none || (h->body == BODY_SIZED && !h->length));
    r = submit(s, h, h->status == 101 ? 200 : h->status, last ? HEAD_END : HEAD_CONTENT, !none);
    if (r < 0)
        return send_failed(s, r);
    s->submitted = true;
    if (tunnel) {
        st->tx = STREAM_BODY;
        return IO_OK;
    }
    return h2_begin_content(s, h, none, last);
}

static void server_reset(struct stream *st)
{
    struct stream_h2 *s = h2_of(st);

    /* RFC 9113 8.5, 8.7 (C63) */
    h2_reset_with(s, st->tunnel ? NGHTTP2_CONNECT_ERROR : NGHTTP2_INTERNAL_ERROR);
    s->broken = true;
}

static void server_release(struct stream *st)
{
    struct stream_h2 *s = h2_of(st);

    if (st->tx != STREAM_RESET && !s->broken) {
        /* An answer that is complete before its request is (RFC 9113 8.1). */
        if (st->tx == STREAM_END && !s->fin_in)
            h2_reset_with(s, NGHTTP2_NO_ERROR);
        else if (st->tx != STREAM_END)
            h2_reset_with(s, NGHTTP2_INTERNAL_ERROR);
    }
    h2_stream_gone(s);
}

static const struct stream_ops server_stream_ops = {
    .name = "h2-client",
    .recv_head = server_recv_head,
    .recv = h2_recv,
    .send_head = server_send_head,
    .send = h2_send,
    .end = h2_stream_end,
    .flush = h2_stream_flush,
    .room = h2_room,
    .tunnel = h2_tunnel,
    .fd = h2_fd,
    .moved = h2_moved,
    .failed = h2_failed,
    .broken = h2_broken,
    .reset = server_reset,
    .release = server_release,
    .look = h2_look,
};

static const struct mux_ops server_ops = {
    .name = "h2-server",
    .shared = true,
    .serve = server_serve,
    .close = h2_close,
    .waits = h2_waits,
};

struct mux *mux_h2_server_new(struct conn *conn, const struct h2_conf *conf, struct slice early)
{
    struct task *task = conn->task;
    struct mux_h2 *m = h2_new(conn, conf, true, &server_ops);

    if (!m)
        return NULL;
    if (wire_unread(&m->wire, early.p, early.n) < 0) {
        struct mux *mux = &m->mux;

        /* The conn stays the caller's. */
        m->wire.conn = NULL;
        m->state = H2_DEAD;
        conn->task = task;
        mux_close(&mux, true);
        return NULL;
    }
    return &m->mux;
}
