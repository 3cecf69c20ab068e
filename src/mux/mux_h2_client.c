/* SPDX-License-Identifier: MIT */
/* mux_h2_client: HTTP/2 towards an origin or a parent: many exchanges' requests on one connection, which is the pool's. Whether
 * it still leads anywhere is asked while somebody waits.
 */
#include "mux/mux_h2_priv.h"

#include "base/check.h"
#include "base/mem.h"
#include "mux/ws_key.h"

static const struct stream_ops client_stream_ops;

/* ---- the connection ---- */

static bool client_reusable(struct mux *mux)
{
    struct mux_h2 *m = h2_of_mux(mux);
    const struct conn *c = m->wire.conn;

    /* A PING that is not answered at once: nobody else is to find out what of that comes. */
    if (m->silent || (m->ping_ms && m->loop->now_ms - m->ping_ms >= H2_LATE_MS))
        return false;
    return m->state == H2_OPEN && !m->goaway && !m->tx_lost && !m->refused && !c->error && !c->eof && nghttp2_session_check_request_allowed(m->session);
}

static unsigned client_room(struct mux *mux)
{
    struct mux_h2 *m = h2_of_mux(mux);
    uint32_t most = m->conf.streams, theirs = nghttp2_session_get_remote_settings(m->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

    if (!client_reusable(mux))
        return 0;
    if (!m->settings_seen && theirs > 100)
        theirs = 100;
    if (theirs < most)
        most = theirs;
    return most > m->n_streams ? most - m->n_streams : 0;
}

/* For the pool: whether streams are out, or the last bytes of one that is over, and whether the connection is there. */
static enum mux_state client_serve(struct mux *mux)
{
    const struct mux_h2 *m = h2_of_mux(mux);

    if (m->n_streams)
        return MUX_BUSY;
    switch (m->state) {
    case H2_OPEN:
        return m->wire.out.len || nghttp2_session_want_write(m->session) ? MUX_BUSY : MUX_IDLE;
    case H2_ENDING:
        return MUX_BUSY;
    case H2_OVER:
    case H2_DEAD:
        break;
    }
    return MUX_CLOSED;
}

static struct stream *client_open(struct mux *mux, struct task *task)
{
    struct mux_h2 *m = h2_of_mux(mux);
    struct stream_h2 *s;

    if (!client_room(mux))
        return NULL;
    s = h2_stream_new(m, -1, &client_stream_ops);
    if (!s)
        return NULL;
    s->stream.task = task;
    s->known = true;
    m->n_streams++;
    return &s->stream;
}

/* ---- silence ---- */

/* The network may have forgotten the connection: the kernel takes a quarter of an hour to say so. */
static void ask_peer(struct mux_h2 *m)
{
    if (nghttp2_submit_ping(m->session, NGHTTP2_FLAG_NONE, NULL) == NGHTTP2_ERR_NOMEM) {
        h2_dead(m, (struct stream_fault){END_NO_MEMORY, "out of memory"});
        return;
    }
    m->ping_ms = m->loop->now_ms;
    m->pinged = true;
    h2_flush_soon(m);
}

static void wait_begins(struct stream_h2 *s)
{
    struct mux_h2 *m = s->mux;
    uint64_t now_ms = m->loop->now_ms;

    s->waits = true;
    m->n_waits++;
    if (!m->asked_ms) {
        m->asked_ms = now_ms;
        m->unheard = true;
    }
    if (!m->ping_ms && now_ms - m->heard_ms >= H2_SILENT_MS)
        ask_peer(m);
    if (m->state == H2_OPEN)
        h2_arm(m);
}

void h2_answered(struct stream_h2 *s)
{
    struct mux_h2 *m = s->mux;

    if (!s->waits)
        return;
    s->waits = false;
    m->n_waits--;
    /* Who gave up before anything came leaves the question behind, so that it has an answer before the next one asks. */
    if (m->n_waits || m->unheard || m->ping_ms)
        return;
    m->asked_ms = 0;
    h2_arm(m);
}

void h2_heard(struct mux_h2 *m, size_t n)
{
    bool asked = m->asked_ms != 0, doubted = m->ping_ms != 0;

    m->heard_ms = m->loop->now_ms;
    m->ping_ms = 0;
    m->unheard = false;
    m->asked_ms = m->n_waits ? m->heard_ms : 0;
    if (n > H2_FRAME_HEAD + sizeof(uint64_t) || !m->asked_ms)
        m->pinged = false;
    if (asked && !m->asked_ms && m->state != H2_DEAD)
        h2_arm(m);
    if (doubted)
        h2_wake_owner(m);
}

static void give_up(struct mux_h2 *m)
{
    m->silent = true;
    m->asked_ms = m->ping_ms = 0;
    LIST_EACH(it, &m->streams)
    {
        struct stream_h2 *s = LIST_ENTRY(it, struct stream_h2, grave.link);

        if (!s->waits)
            continue;
        h2_reset_with(s, NGHTTP2_CANCEL);
        h2_break(s, (struct stream_fault){END_UPSTREAM_TIMEOUT, "nothing comes on the connection, not even the answer to a PING"});
    }
    h2_wake_owner(m);
}

void h2_silence(struct mux_h2 *m)
{
    if (m->ping_ms)
        give_up(m);
    else
        ask_peer(m);
}

/* ---- requests ---- */

static int submit_request(struct stream_h2 *s, struct loop *scratch, const struct head *h, bool end)
{
    struct mux_h2 *m = s->mux;
    nghttp2_data_provider p = h2_provider(s);
    struct h2_out o;
    int r = h2_out_init(&o, scratch, h->fields.n);

    if (r < 0)
        return r;
    r = h2_out_request(&o, h);
    if (r == 0)
        r = nghttp2_submit_request(m->session, NULL, o.v, o.n, end ? NULL : &p, s);
    h2_out_done(&o);
    if (r < 0)
        return r == ERR_SYNTAX ? r : ERR_NOMEM;
    s->id = r;
    s->submitted = true;
    wait_begins(s);
    h2_flush_soon(m);
    return 0;
}

static enum io request_failed(struct stream_h2 *s, int r)
{
    /* Nobody is to wait for an answer to what was not sent. */
    h2_break(s, (struct stream_fault){r == ERR_SYNTAX ? END_INTERNAL : END_NO_MEMORY, r == ERR_SYNTAX ? "a field that may not be written" : "out of memory"});
    return h2_broken_io(s);
}

static const struct stream_fault no_upgrades = {END_UPSTREAM_NONSENSE, "the upstream does not take WebSockets over HTTP/2"};

/* RFC 8441 3 (C69): only where the peer has said that it takes it. */
static void upgrade_settled(struct stream_h2 *s)
{
    struct mux_h2 *m = s->mux;
    const struct head *h = s->upgrade->waits;
    int r;

    s->upgrade->waits = NULL;
    if (!nghttp2_session_get_remote_settings(m->session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL)) {
        s->stream.unprocessed = true;
        h2_break(s, no_upgrades);
        return;
    }
    r = submit_request(s, NULL, h, false);
    if (r < 0)
        h2_break(s, (struct stream_fault){r == ERR_SYNTAX ? END_INTERNAL : END_NO_MEMORY, "the request's head could not be written"});
}

void h2_client_settings(struct mux_h2 *m)
{
    LIST_EACH(it, &m->streams)
    {
        struct stream_h2 *s = LIST_ENTRY(it, struct stream_h2, grave.link);

        if (s->upgrade && s->upgrade->waits)
            upgrade_settled(s);
    }
}

static enum io send_upgrade(struct stream_h2 *s, const struct head *h)
{
    const struct field *key = hdrs_find(&h->fields, HDR_SEC_WEBSOCKET_KEY);

    s->upgrade = mem_zalloc(sizeof(*s->upgrade));
    if (!s->upgrade)
        return request_failed(s, ERR_NOMEM);
    s->upgrade->protocol = h->protocol;
    s->upgrade->waits = h;
    if (key && ws_key_accept(key->value, s->upgrade->accept) < 0)
        return request_failed(s, ERR_NOMEM);
    s->stream.tx = STREAM_END;
    if (s->mux->settings_seen)
        upgrade_settled(s);
    return s->broken ? h2_broken_io(s) : IO_OK;
}

static enum io client_send_head(struct stream *st, const struct head *h, bool last)
{
    struct stream_h2 *s = h2_of(st);
    bool tunnel = h->method == METHOD_CONNECT;
    int r;

    if (s->broken)
        return h2_broken_io(s);
    s->method = h->method;
    if (h->protocol.n && !tunnel)
        return send_upgrade(s, h);
    last = !tunnel && (last || h->body == BODY_NONE || (h->body == BODY_SIZED && !h->length));
    r = submit_request(s, s->mux->loop, h, last);
    if (r < 0)
        return request_failed(s, r);
    if (tunnel) {
        st->tx = STREAM_END;
        return IO_OK;
    }
    return h2_begin_content(s, h, h->body == BODY_NONE, last);
}

/* ---- answers ---- */

static enum io client_recv_head(struct stream *st, struct arena *a, struct head **ret_head)
{
    struct stream_h2 *s = h2_of(st);
    struct h2_block *b = s->heads;
    struct h2_verdict v;
    struct head *h;
    bool last;

    if (!b)
        return s->broken ? h2_broken_io(s) : IO_AGAIN;
    v = h2_head_response(b, a, s->method, s->upgrade, &h);
    last = b->last;
    s->heads = b->next;
    b->next = NULL;
    h2_blocks_free(b);
    if (v.fault.detail)
        return h2_malformed(s, v.fault);
    *ret_head = h;
    if (h->status < 200 && h->status != 101)
        return IO_OK;
    s->arena = a;
    s->connected = h->status == 101 || (s->method == METHOD_CONNECT && h->status < 300);
    st->rx = last || s->connected ? STREAM_END : STREAM_BODY;
    return IO_OK;
}

/* A tunnel's FIN and RST are the client's; of a message, it is lost interest. */
static void client_reset(struct stream *st)
{
    struct stream_h2 *s = h2_of(st);

    h2_answered(s);
    h2_reset_with(s, st->tunnel ? NGHTTP2_CONNECT_ERROR : NGHTTP2_CANCEL);
    s->broken = true;
}

static void client_release(struct stream *st)
{
    struct stream_h2 *s = h2_of(st);
    bool whole = s->fin_in && s->fin_sent;

    if (st->tx != STREAM_RESET && !whole)
        h2_reset_with(s, st->tunnel && st->tx == STREAM_END && st->rx == STREAM_END ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
    h2_stream_gone(s);
}

static const struct stream_ops client_stream_ops = {
    .name = "h2-upstream",
    .recv_head = client_recv_head,
    .recv = h2_recv,
    .send_head = client_send_head,
    .send = h2_send,
    .end = h2_stream_end,
    .flush = h2_stream_flush,
    .room = h2_room,
    .tunnel = h2_tunnel,
    .fd = h2_fd,
    .moved = h2_moved,
    .failed = h2_failed,
    .broken = h2_broken,
    .reset = client_reset,
    .release = client_release,
    .look = h2_look,
};

static const struct mux_ops client_ops = {
    .name = "h2-client",
    .shared = true,
    .serve = client_serve,
    .open = client_open,
    .reusable = client_reusable,
    .close = h2_close,
    .waits = h2_waits,
    .room = client_room,
};

struct mux *mux_h2_client_new(struct conn *conn, const struct h2_conf *conf)
{
    struct mux_h2 *m = h2_new(conn, conf, false, &client_ops);

    return m ? &m->mux : NULL;
}
