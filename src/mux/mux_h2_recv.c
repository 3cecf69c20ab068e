/* SPDX-License-Identifier: MIT */
/* mux_h2_recv: what nghttp2 tells of received frames: header blocks, content, ends, windows and GOAWAYs become the states of streams, whose tasks are woken.
 * Called by nghttp2 inside of mux_h2's `feed`. Calls nobody above, closes no connection by itself (h2_end says that it is to end), and leaves failures of ours
 * where h2_settle finds them.
 */
#include "mux/mux_h2_priv.h"

/* ---- header blocks ---- */

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    UNUSED(session);
    h2_flood_frame(user, hd);
    return 0;
}

static void drop_block(struct mux_h2 *m)
{
    h2_blocks_free(m->block);
    m->block = NULL;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct mux_h2 *m = user;

    drop_block(m);
    m->block_ms = m->loop->now_ms;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST || !m->server)
        return 0;
    h2_server_begin(m, frame);
    if (nghttp2_session_get_stream_user_data(session, frame->hd.stream_id))
        return 0;
    return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM) == NGHTTP2_ERR_NOMEM
               ? h2_fail(m, NGHTTP2_ERR_NOMEM)
               : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

enum { BLOCK_BOMB = 16 }; /* so many times what is taken: that is no head any more (CVE-2016-6581) */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    struct mux_h2 *m = user;

    UNUSED(session);
    UNUSED(flags);
    if (frame->hd.type != NGHTTP2_HEADERS || m->state != H2_OPEN)
        return 0;
    if (m->block && m->block->list / BLOCK_BOMB > m->conf.heads->head) {
        h2_end(m, NGHTTP2_ENHANCE_YOUR_CALM, "a head that grows without end");
        return 0;
    }
    if (h2_block_add(&m->block, m->conf.heads, slice_of(name, name_n), slice_of(value, value_n)) == 0)
        return 0;
    if (!m->block)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    m->block->no_memory = m->block->over = true;
    return 0;
}

/* Fields that nghttp2 would leave out: the message is malformed (C56). */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    UNUSED(session);
    UNUSED(frame);
    UNUSED(name);
    UNUSED(name_n);
    UNUSED(value);
    UNUSED(value_n);
    UNUSED(flags);
    UNUSED(user);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* ---- streams ---- */

static void announce_later(struct stream_h2 *s)
{
    if (!s->known && list_empty(&s->wait))
        list_push(&s->mux->fresh, &s->wait);
}

/* nghttp2 has refused a frame, and resets its stream or ends the connection. */
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
    struct stream_h2 *s = frame->hd.stream_id ? nghttp2_session_get_stream_user_data(session, frame->hd.stream_id) : NULL;
    struct mux_h2 *m = user;

    UNUSED(error);
    drop_block(m);
    if (!s)
        return 0;
    h2_break(s, (struct stream_fault){m->server ? END_BAD_REQUEST : END_UPSTREAM_NONSENSE, "the message breaks the rules of HTTP/2"});
    if (m->server)
        announce_later(s);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user)
{
    struct stream_h2 *s = nghttp2_session_get_stream_user_data(session, id);
    struct mux_h2 *m = user;

    UNUSED(flags);
    /* The connection's window never waits for a stream (C64). */
    if (nghttp2_session_consume_connection(session, n) == NGHTTP2_ERR_NOMEM)
        return h2_fail(m, NGHTTP2_ERR_NOMEM);
    if (!s || s->broken)
        return 0;
    if (bufq_put(&s->rx, p, n) < 0)
        h2_nomem(s);
    task_wake(s->stream.task, TASK_RX);
    return 0;
}

static void got_end(struct stream_h2 *s)
{
    /* Content of it was lost for lack of memory: that is no end. */
    if (s->broken && s->broke.reason == END_NO_MEMORY)
        return;
    s->fin_in = true;
    task_wake(s->stream.task, TASK_RX);
}

static void got_headers(struct mux_h2 *m, struct stream_h2 *s, const nghttp2_frame *frame)
{
    struct h2_block *b = m->block;
    unsigned n = 0;

    m->block = NULL;
    for (struct h2_block *it = s->heads; it; it = it->next)
        n++;
    if (!b || s->broken || n >= H2_HEADS_MAX) {
        h2_blocks_free(b);
        if (n >= H2_HEADS_MAX) {
            h2_reset_with(s, NGHTTP2_ENHANCE_YOUR_CALM);
            h2_break(s, (struct stream_fault){m->server ? END_BAD_REQUEST : END_UPSTREAM_NONSENSE, "too many heads"});
        } else if (!s->broken) {
            h2_nomem(s);
        }
        return;
    }
    b->last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    b->interim = !m->server && !s->head_in && h2_block_interim(b);
    if (s->connected) {
        h2_blocks_free(b);
        h2_reset_with(s, NGHTTP2_PROTOCOL_ERROR);
        h2_break(s, (struct stream_fault){m->server ? END_CLIENT_RESET : END_UPSTREAM_NONSENSE, "fields inside a tunnel"});
        return;
    }
    if (!b->interim)
        h2_answered(s);
    s->head_in = s->head_in || !b->interim;
    if (s->heads)
        s->heads_last->next = b;
    else
        s->heads = b;
    s->heads_last = b;
    if (b->last)
        got_end(s);
    s->stream.begun = true;
    if (m->server)
        announce_later(s);
    task_wake(s->stream.task, TASK_RX);
}

/* ---- the connection ---- */

static void wake_senders(struct mux_h2 *m)
{
    LIST_EACH(it, &m->streams)
    {
        struct stream_h2 *s = LIST_ENTRY(it, struct stream_h2, grave.link);

        if (s->wants_room)
            task_wake(s->stream.task, TASK_TX);
    }
}

static void got_settings(struct mux_h2 *m, const nghttp2_frame *frame)
{
    if (frame->hd.flags & NGHTTP2_FLAG_ACK)
        m->settings_acked = true;
    else
        m->settings_seen = true;
    wake_senders(m);
    if (!m->server && m->settings_seen)
        h2_client_settings(m);
    h2_wake_owner(m);
}

static void got_update(struct mux_h2 *m, struct stream_h2 *s, uint32_t increment)
{
    h2_flood_update(m, increment);
    if (s && s->wants_room)
        task_wake(s->stream.task, TASK_TX);
    if (!s)
        h2_flush_soon(m);
}

void h2_drain_on(struct mux_h2 *m)
{
    if (m->drain != H2_DRAIN_NOTICE || m->state != H2_OPEN)
        return;
    m->drain = H2_DRAIN_LAST;
    if (nghttp2_submit_goaway(m->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(m->session), NGHTTP2_NO_ERROR, NULL, 0) < 0)
        h2_dead(m, (struct stream_fault){END_NO_MEMORY, "out of memory"});
    h2_flush_soon(m);
    h2_wake_owner(m);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct stream_h2 *s = frame->hd.stream_id ? nghttp2_session_get_stream_user_data(session, frame->hd.stream_id) : NULL;
    struct mux_h2 *m = user;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (s)
            got_headers(m, s, frame);
        else
            drop_block(m);
        break;
    case NGHTTP2_DATA:
        if (frame->hd.length && frame->hd.length == frame->data.padlen && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
            h2_flood_control(m);
        if (s && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
            got_end(s);
        break;
    case NGHTTP2_SETTINGS:
        got_settings(m, frame);
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) && !h2_window_pong(m, frame->ping.opaque_data))
            h2_drain_on(m);
        break;
    case NGHTTP2_GOAWAY:
        m->goaway = true;
        h2_wake_owner(m);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        if (frame->hd.stream_id == 0 || s)
            got_update(m, s, (uint32_t)frame->window_update.window_size_increment);
        break;
    case NGHTTP2_PUSH_PROMISE: /* C67: refused from the start; one that crossed our SETTINGS */
        if (nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->push_promise.promised_stream_id, NGHTTP2_REFUSED_STREAM) == NGHTTP2_ERR_NOMEM)
            return h2_fail(m, NGHTTP2_ERR_NOMEM);
        break;
    default:
        break;
    }
    return 0;
}

/* Frames that nobody knows are ignored, but counted. */
static int on_unknown(nghttp2_session *session, void **payload, const nghttp2_frame_hd *hd, void *user)
{
    UNUSED(session);
    UNUSED(payload);
    UNUSED(hd);
    h2_flood_control(user);
    return NGHTTP2_ERR_CANCEL;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct stream_h2 *s = nghttp2_session_get_stream_user_data(session, id);
    struct mux_h2 *m = user;

    h2_wake_owner(m);
    m->n_open -= m->server;
    if (!s)
        return 0;
    s->closed = true;
    /* Its head has not come to an end: nobody has heard of it. */
    if (!s->known && list_empty(&s->wait)) {
        h2_stream_gone(s);
        return 0;
    }
    if (!m->server && code == NGHTTP2_REFUSED_STREAM)
        s->stream.unprocessed = true;
    if (code != NGHTTP2_NO_ERROR || !s->fin_in || !s->fin_sent)
        h2_break(s, h2_reset_by_peer(m));
    return 0;
}

void h2_recv_callbacks(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_unpack_extension_callback(cb, on_unknown);
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
}
