/* SPDX-License-Identifier: MIT */
/* mux_h2_stream: one stream of an HTTP/2 connection: its life, its ends, and the operations that both roles share: content in and out, room, tunnels. Heads are
 * the roles' (mux_h2_server, mux_h2_client). Called by the exchange that has the stream, and by the other rooms of HTTP/2. Never reads or writes the conn.
 */
#include "mux/mux_h2_priv.h"

#include "base/check.h"
#include "base/mem.h"

/* ---- life ---- */

struct stream_h2 *h2_stream_new(struct mux_h2 *m, int32_t id, const struct stream_ops *ops)
{
    struct stream_h2 *s = mem_zalloc(sizeof(*s));

    if (!s)
        return NULL;
    s->stream = (struct stream){.magic = STREAM_MAGIC, .ops = ops};
    s->mux = m;
    s->id = id;
    s->window = m->conf.window;
    bufq_init(&s->rx, &m->loop->blocks);
    list_init(&s->wait);
    list_push(&m->streams, &s->grave.link);
    return s;
}

static void stream_free(struct grave *g)
{
    struct stream_h2 *s = CONTAINER_OF(g, struct stream_h2, grave);

    s->stream.magic = OBJ_DEAD;
    mem_free(s);
}

void h2_stream_gone(struct stream_h2 *s)
{
    struct mux_h2 *m = s->mux;

    if (s->id >= 0 && !s->closed && m->session)
        nghttp2_session_set_stream_user_data(m->session, s->id, NULL);
    h2_answered(s);
    h2_window_done(s);
    bufq_clear(&s->rx);
    h2_blocks_free(s->heads);
    mem_free(s->upgrade);
    s->heads = NULL;
    s->upgrade = NULL;
    s->stream.task = NULL;
    h2_turn_over(s);
    list_del(&s->wait);
    list_del(&s->grave.link);
    m->n_streams -= s->known;
    s->grave.free = stream_free;
    loop_bury(m->loop, &s->grave);
    h2_flush_soon(m);
    h2_wake_owner(m);
}

/* ---- ends ---- */

void h2_break(struct stream_h2 *s, struct stream_fault fault)
{
    /* What has ended in order both ways stays so, whatever becomes of the connection: its bytes may still be here. */
    if (s->broken || (s->closed && s->fin_in && s->fin_sent))
        return;
    h2_answered(s);
    s->broken = true;
    s->broke = fault;
    task_wake(s->stream.task, TASK_RX | TASK_TX | TASK_GONE);
}

void h2_reset_with(struct stream_h2 *s, uint32_t code)
{
    if (s->closed || s->id < 0 || s->mux->state != H2_OPEN)
        return;
    if (nghttp2_submit_rst_stream(s->mux->session, NGHTTP2_FLAG_NONE, s->id, code) == NGHTTP2_ERR_NOMEM)
        h2_dead(s->mux, (struct stream_fault){END_NO_MEMORY, "out of memory"});
    h2_flush_soon(s->mux);
}

enum io h2_malformed(struct stream_h2 *s, struct stream_fault fault)
{
    h2_reset_with(s, NGHTTP2_PROTOCOL_ERROR);
    if (!s->mux->server && fault.reason == END_BAD_REQUEST)
        fault.reason = END_UPSTREAM_NONSENSE;
    s->broken = true;
    s->broke = s->stream.fault = fault;
    return IO_ERR;
}

void h2_nomem(struct stream_h2 *s)
{
    h2_reset_with(s, NGHTTP2_INTERNAL_ERROR);
    h2_break(s, (struct stream_fault){END_NO_MEMORY, "out of memory"});
}

enum io h2_broken_io(struct stream_h2 *s)
{
    s->stream.fault = s->broke;
    return IO_ERR;
}

struct stream_fault h2_reset_by_peer(const struct mux_h2 *m)
{
    if (m->server)
        return (struct stream_fault){END_CLIENT_RESET, "the client reset the stream"};
    return (struct stream_fault){END_UPSTREAM_RESET, "the stream was reset"};
}

/* ---- content, in ---- */

static enum io content_over(struct stream_h2 *s)
{
    struct h2_block *b = s->heads;
    struct h2_verdict v;

    if (b && !s->stream.tunnel && s->arena) {
        v = h2_head_trailers(b, s->arena, &s->stream.trailers);
        s->heads = NULL;
        h2_blocks_free(b);
        if (v.fault.detail)
            return h2_malformed(s, v.fault);
    }
    s->stream.rx = STREAM_END;
    return IO_OK;
}

enum io h2_recv(struct stream *st, void *p, size_t cap, size_t *ret_n)
{
    struct stream_h2 *s = h2_of(st);

    if (st->rx == STREAM_END)
        return IO_EOF;
    if (s->rx.len) {
        *ret_n = bufq_copy_out(&s->rx, p, cap);
        h2_window_drained(s, *ret_n);
        /* What it was is complete, and the bytes are good, whatever the trailers are. */
        if (!s->rx.len && s->fin_in && !s->heads)
            st->rx = STREAM_END;
        return IO_OK;
    }
    if (s->fin_in)
        return content_over(s) == IO_OK ? IO_EOF : IO_ERR;
    return s->broken ? h2_broken_io(s) : IO_AGAIN;
}

/* ---- content, out ---- */

static enum io fault_set(struct stream_h2 *s, enum end_reason reason, const char *text)
{
    s->stream.fault = (struct stream_fault){reason, text};
    return IO_ERR;
}

static void resume(struct stream_h2 *s)
{
    int r = nghttp2_session_resume_data(s->mux->session, s->id);

    if (r == NGHTTP2_ERR_NOMEM)
        h2_dead(s->mux, (struct stream_fault){END_NO_MEMORY, "out of memory"});
}

enum io h2_begin_content(struct stream_h2 *s, const struct head *h, bool none, bool last)
{
    s->tx_sized = !none && h->body == BODY_SIZED;
    s->tx_left = s->tx_sized ? h->length : 0;
    s->fin_out = none || last;
    s->stream.tx = s->fin_out ? STREAM_END : STREAM_BODY;
    return IO_OK;
}

enum io h2_send(struct stream *st, const void *p, size_t n, bool last)
{
    struct stream_h2 *s = h2_of(st);
    struct mux_h2 *m = s->mux;
    bool tight;

    CHECK(n > 0 && st->tx == STREAM_BODY);
    if (s->broken)
        return h2_broken_io(s);
    /* Never send a length that is known to be wrong (C44). */
    if (s->tx_sized && !st->tunnel && (n > s->tx_left || (last && n != s->tx_left)))
        return fault_set(s, END_INTERNAL, "more or less content than its length says");
    s->tx_left -= s->tx_sized ? n : 0;
    tight = n < 1024 && (size_t)nghttp2_session_get_stream_remote_window_size(m->session, s->id) == n;
    s->fin_out = last;
    m->sending = s;
    m->p = p;
    m->n = n;
    resume(s);
    h2_pack(m, true);
    m->sending = NULL;
    /* nghttp2 has ended the connection for what it has just received, and takes nothing more. */
    if (m->n)
        h2_look_for_end(m);
    if (s->broken)
        return h2_broken_io(s);
    if (m->n)
        return fault_set(s, END_INTERNAL, "a stream took less than it had room for");
    if (h2_turn_has(s) && n >= s->turn_left)
        h2_turn_over(s);
    else if (h2_turn_has(s))
        s->turn_left -= (uint32_t)n;
    h2_flood_sent(m, (uint32_t)n, tight);
    if (last)
        st->tx = STREAM_END;
    if (m->wire.out.len >= H2_FLUSH_AT)
        h2_write_some(m);
    h2_flush_soon(m);
    return IO_OK;
}

enum io h2_stream_end(struct stream *st, const struct hdrs *trailers)
{
    struct stream_h2 *s = h2_of(st);

    if (st->tx == STREAM_END)
        return IO_OK;
    if (s->broken)
        return h2_broken_io(s);
    if (s->tx_sized && !st->tunnel && s->tx_left)
        return fault_set(s, END_INTERNAL, "less content than its length says");
    st->tx = STREAM_END;
    s->tx_trailers = st->tunnel ? NULL : trailers;
    s->fin_out = true;
    resume(s);
    h2_flush_soon(s->mux);
    return IO_OK;
}

enum io h2_stream_flush(struct stream *st)
{
    struct stream_h2 *s = h2_of(st);

    h2_turn_over(s);
    if (s->broken && !s->fin_sent)
        return h2_broken_io(s);
    if (s->fin_out && !s->fin_sent) {
        h2_pack(s->mux, false);
        h2_flush_soon(s->mux);
        if (s->broken && !s->fin_sent)
            return h2_broken_io(s);
    }
    s->wants_end = s->fin_out && !s->fin_sent;
    return s->wants_end ? IO_AGAIN : IO_OK;
}

static size_t wait_for_room(struct stream_h2 *s)
{
    h2_turn_over(s);
    if (list_empty(&s->wait))
        list_push(&s->mux->waiters, &s->wait);
    h2_flush_soon(s->mux);
    return 0;
}

size_t h2_room(struct stream *st)
{
    struct stream_h2 *s = h2_of(st);
    struct mux_h2 *m = s->mux;
    int32_t own, all;

    /* Sending tells. */
    if (s->broken)
        return H2_ROOM;
    s->wants_room = true;
    if (!s->submitted)
        return 0;
    own = nghttp2_session_get_stream_remote_window_size(m->session, s->id);
    if (own < 0 && !s->closed) {
        h2_pack(m, false);
        own = nghttp2_session_get_stream_remote_window_size(m->session, s->id);
    }
    if (s->broken)
        return H2_ROOM;
    if (own <= 0) {
        /* Nobody is to wait for one who cannot send. */
        h2_turn_over(s);
        return 0;
    }
    all = nghttp2_session_get_remote_window_size(m->session);
    if (all <= 0 || m->wire.out.len >= H2_HIGH)
        return wait_for_room(s);
    h2_turns_expire(m);
    /* Others came first. */
    if (!h2_turn_has(s) && (m->n_turns || !list_empty(&m->waiters)))
        return wait_for_room(s);
    s->wants_room = false;
    return min_size(min_size((size_t)own, (size_t)all), H2_ROOM);
}

/* ---- other operations ---- */

int h2_tunnel(struct stream *st)
{
    struct stream_h2 *s = h2_of(st);

    st->tunnel = true;
    st->rx = st->tx = STREAM_BODY;
    s->connected = true;
    s->tx_sized = false;
    s->arena = NULL;
    return 0;
}

int h2_fd(struct stream *s, enum stream_dir dir, uint64_t *ret_max)
{
    UNUSED(s);
    UNUSED(dir);
    UNUSED(ret_max);
    return -1;
}

void h2_moved(struct stream *s, enum stream_dir dir, uint64_t n)
{
    UNUSED(s);
    UNUSED(dir);
    UNUSED(n);
    UNREACHABLE();
}

void h2_failed(struct stream *s, int error)
{
    UNUSED(s);
    UNUSED(error);
    UNREACHABLE();
}

bool h2_broken(struct stream *st)
{
    struct stream_h2 *s = h2_of(st);

    return s->broken;
}

/* What a stream waits for is not the conn's readiness: the connection's task has read what there is. */
void h2_look(struct stream *st, struct stream_look *ret_look)
{
    struct stream_h2 *s = h2_of(st);

    *ret_look = (struct stream_look){.conn = s->mux->wire.conn, .unread = s->rx.len, .shared = true};
}
