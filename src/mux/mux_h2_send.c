/* SPDX-License-Identifier: MIT */
/* mux_h2_send: all that leaves: nghttp2's frames and streams' content go into the connection's queue, and from there to the conn, at the end of the turn or when it
 * is long. Streams that wait for room in it take turns. Called by stream operations, the loop's flush, and nghttp2, which asks for content and tells what was
 * framed. Never reads, and never waits: a stream is told how much it may send before it does.
 */
#include "mux/mux_h2_priv.h"

#include <string.h>

/* Bytes of an entry in SETTINGS. */
enum { SETTING = 6 };

/* ---- writing ---- */

void h2_flush_soon(struct mux_h2 *m)
{
    if (m->state != H2_DEAD)
        loop_flush_later(m->loop, &m->flush);
}

/* What begins to wait now has not waited before, however long nothing was sent. */
static int queue(struct mux_h2 *m, const void *p, size_t n)
{
    if (!m->wire.out.len)
        m->moved_ms = m->loop->now_ms;
    return bufq_put(&m->wire.out, p, n);
}

/* nghttp2 ends the connection when a stream too many comes, which is to be an error of that stream (RFC 9113 5.1.2): it is told a bound that nobody meets, the peer is
 * told ours, and the server role counts. */
static int put_frames(struct mux_h2 *m, const uint8_t *p, size_t n)
{
    uint8_t own[H2_FRAME_HEAD + 8 * SETTING];

    if (m->tx_lost)
        return 0;
    if (!m->server || n < H2_FRAME_HEAD || n > sizeof(own) || p[3] != NGHTTP2_SETTINGS || (p[4] & NGHTTP2_FLAG_ACK))
        return queue(m, p, n);
    memcpy(own, p, n);
    for (size_t i = H2_FRAME_HEAD; i + SETTING <= n; i += SETTING)
        if (own[i] == 0 && own[i + 1] == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
            for (unsigned k = 0; k < 4; k++)
                own[i + 2 + k] = (uint8_t)(m->conf.streams >> (24 - 8 * k));
    return queue(m, own, n);
}

void h2_pack(struct mux_h2 *m, bool all)
{
    /* Ends: every round takes a frame out of nghttp2's queue, and nothing is put in meanwhile. */
    while (m->state != H2_DEAD && (all || m->wire.out.len < H2_HIGH)) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(m->session, &p);

        if (n == 0)
            break;
        if (n < 0)
            h2_fail(m, m->failed ? m->error : (int)n);
        else if (put_frames(m, p, (size_t)n) < 0)
            h2_fail(m, NGHTTP2_ERR_NOMEM);
        h2_settle(m);
    }
}

/* ---- whose turn it is ---- */

/* While some wait, the others send in turns of H2_TURN bytes. A turn is over when it is used up, when there is nothing more to send, or when it was not taken in time. */
bool h2_turn_has(const struct stream_h2 *s)
{
    return s->turn == s->mux->turn && s->turn_left;
}

void h2_turn_over(struct stream_h2 *s)
{
    if (h2_turn_has(s))
        s->mux->n_turns--;
    s->turn_left = 0;
}

void h2_turns_expire(struct mux_h2 *m)
{
    if (!m->n_turns || m->loop->now_ms - m->turn_ms < H2_TURN_MS)
        return;
    m->turn++;
    m->n_turns = 0;
}

/* As many of those that wait as there is room for, in their order. */
static void wake_waiters(struct mux_h2 *m)
{
    size_t taken;

    h2_turns_expire(m);
    taken = m->wire.out.len + m->n_turns * (size_t)H2_TURN;
    if (nghttp2_session_get_remote_window_size(m->session) <= 0 || m->wire.out.len >= H2_HIGH / 2)
        return;
    for (; taken < H2_HIGH && !list_empty(&m->waiters); taken += H2_TURN) {
        struct stream_h2 *s = LIST_ENTRY(list_pop(&m->waiters), struct stream_h2, wait);

        h2_turn_over(s);
        s->turn = m->turn;
        s->turn_left = H2_TURN;
        m->n_turns++;
        m->turn_ms = m->loop->now_ms;
        task_wake(s->stream.task, TASK_TX);
    }
    /* They may want nothing after all: the others are asked in the next turn of the loop. */
    if (!list_empty(&m->waiters))
        h2_flush_soon(m);
}

/* ---- to the conn ---- */

/* Writing has failed. What the peer said before it closed is still to be read: an answer, or which requests it has not processed. */
static void tx_broke(struct mux_h2 *m)
{
    if (m->server || m->state != H2_OPEN || m->wire.conn->error == ERR_NOMEM) {
        h2_conn_over(m, IO_ERR);
        return;
    }
    m->tx_lost = true;
    bufq_clear(&m->wire.out);
    task_wake(&m->io, TASK_RX);
}

void h2_write_some(struct mux_h2 *m)
{
    size_t before = m->wire.out.len;
    uint64_t sent = m->wire.conn->tx_bytes;

    if (wire_flush(&m->wire) == IO_ERR) {
        tx_broke(m);
        return;
    }
    /* A peer's time to read what is queued begins when the first of it has to wait. */
    if (m->wire.conn->tx_bytes != sent || !before || !m->waits)
        m->moved_ms = m->loop->now_ms;
    m->waits = m->wire.out.len > 0;
    if (m->waits)
        h2_arm(m);
}

/* nghttp2 wants nothing more: the last GOAWAY was answered, or is all there is to say. What streams have sent before they ended is still leaving: it has the time that
 * all has that is queued. */
void h2_look_for_end(struct mux_h2 *m)
{
    if (m->state == H2_OPEN && !nghttp2_session_want_read(m->session) && !nghttp2_session_want_write(m->session)) {
        m->why = h2_reset_by_peer(m);
        if (!m->goaway && !m->drain)
            m->why.detail = "the connection breaks the rules of HTTP/2";
        m->state = H2_ENDING;
        m->end_ms = 0;
        h2_break_all(m);
        h2_arm(m);
    }
    if (m->state == H2_ENDING && !m->wire.out.len && !nghttp2_session_want_write(m->session)) {
        m->state = H2_OVER;
        if (m->calm && conn_shut(m->wire.conn) < 0)
            h2_conn_over(m, IO_ERR);
        m->end_ms = m->loop->now_ms + H2_CALM_MS;
        h2_arm(m);
        h2_wake_owner(m);
        task_wake(&m->io, TASK_RX);
    }
}

void h2_flush_run(struct flush *f)
{
    struct mux_h2 *m = CONTAINER_OF(f, struct mux_h2, flush);
    bool unsent;

    if (m->state == H2_OVER || m->state == H2_DEAD)
        return;
    unsent = m->wire.out.len || nghttp2_session_want_write(m->session);
    h2_pack(m, false);
    if (m->state != H2_DEAD)
        h2_write_some(m);
    if (m->state == H2_DEAD)
        return;
    /* Packing stopped at its bound. */
    if (!m->wire.out.len && nghttp2_session_want_write(m->session))
        h2_flush_soon(m);
    wake_waiters(m);
    h2_look_for_end(m);
    if (unsent && !m->wire.out.len && !m->n_streams)
        h2_wake_owner(m);
}

/* ---- nghttp2 asks for bytes ---- */

static int submit_trailers(struct stream_h2 *s)
{
    struct mux_h2 *m = s->mux;
    struct h2_out o;
    int r = h2_out_init(&o, NULL, s->tx_trailers->n);

    if (r < 0)
        return NGHTTP2_ERR_NOMEM;
    r = h2_out_trailers(&o, s->tx_trailers);
    if (r == 0 && o.n)
        r = nghttp2_submit_trailer(m->session, s->id, o.v, o.n);
    else if (r == 0)
        r = 1;
    h2_out_done(&o);
    return r;
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length, uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct mux_h2 *m = user;
    struct stream_h2 *s = nghttp2_session_get_stream_user_data(session, id);
    size_t n = 0;

    UNUSED(buf);
    UNUSED(source);
    if (!s)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (s == m->sending) {
        n = min_size(m->n, length);
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    }
    if (s->fin_out && n == (s == m->sending ? m->n : 0)) {
        int r = s->tx_trailers ? submit_trailers(s) : 1;

        if (r < 0)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        *flags |= NGHTTP2_DATA_FLAG_EOF | (r == 0 ? NGHTTP2_DATA_FLAG_NO_END_STREAM : 0u);
        return (ssize_t)n;
    }
    return n ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
}

/* A frame's content, straight from whoever sends it. */
static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t length, nghttp2_data_source *source, void *user)
{
    struct mux_h2 *m = user;
    struct iovec v[2] = {
        {.iov_base = (void *)(uintptr_t)head, .iov_len = H2_FRAME_HEAD},
        {.iov_base = (void *)(uintptr_t)m->p, .iov_len = length},
    };

    UNUSED(session);
    UNUSED(frame);
    UNUSED(source);
    if (m->tx_lost) {
        /* Reading tells. */
    } else if (length >= H2_DIRECT && (m->wire.conn->ready & CONN_TX)) {
        if (wire_send(&m->wire, v, 2) == IO_ERR)
            tx_broke(m);
        if (m->state == H2_DEAD)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        m->moved_ms = m->loop->now_ms;
    } else if (queue(m, head, H2_FRAME_HEAD) < 0 || (length && queue(m, m->p, length) < 0)) {
        return h2_fail(m, NGHTTP2_ERR_NOMEM);
    }
    m->p += length;
    m->n -= length;
    return 0;
}

nghttp2_data_provider h2_provider(struct stream_h2 *s)
{
    return (nghttp2_data_provider){.source.ptr = s, .read_callback = on_read};
}

/* ---- nghttp2 tells what was sent ---- */

static void sent_end(struct stream_h2 *s)
{
    s->fin_sent = true;
    if (s->wants_end)
        task_wake(s->stream.task, TASK_TX);
    s->wants_end = false;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct stream_h2 *s = frame->hd.stream_id ? nghttp2_session_get_stream_user_data(session, frame->hd.stream_id) : NULL;
    struct mux_h2 *m = user;

    if (frame->hd.type == NGHTTP2_RST_STREAM && m->server &&
        (frame->rst_stream.error_code == NGHTTP2_REFUSED_STREAM || frame->rst_stream.error_code == NGHTTP2_PROTOCOL_ERROR || frame->rst_stream.error_code == NGHTTP2_FLOW_CONTROL_ERROR ||
         frame->rst_stream.error_code == NGHTTP2_STREAM_CLOSED || frame->rst_stream.error_code == NGHTTP2_FRAME_SIZE_ERROR))
        h2_flood_fault(m);
    if (!s)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        s->stream.head_bytes += (uint32_t)frame->hd.length + H2_FRAME_HEAD;
        if (s->wants_room)
            task_wake(s->stream.task, TASK_TX);
    }
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        sent_end(s);
    return 0;
}

/* A request that GOAWAY came before. */
static int on_frame_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
    struct stream_h2 *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    struct mux_h2 *m = user;

    UNUSED(error);
    if (!s || frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    if (!m->server && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        s->stream.unprocessed = true;
        s->closed = true;
    }
    h2_break(s, h2_reset_by_peer(m));
    return 0;
}

void h2_send_callbacks(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_frame_not_sent);
}
