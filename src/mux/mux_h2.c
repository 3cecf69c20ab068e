/* SPDX-License-Identifier: MIT */
/* mux_h2: HTTP/2 on a conn: the life of the connection, what server and client role share: its own task, which reads and hands out, its clock, its end.
 * nghttp2 keeps states, windows and HPACK; bytes are these rooms': received content waits in its stream's queue, what is sent is framed at once into the
 * connection's. Nothing here calls up but task_wake and mux->on_stream, and that only when nghttp2 is not on the stack.
 */
#include "mux/mux_h2_priv.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

const struct h2_conf h2_conf_default = {
    .streams = 256,
    .window = 65536,
    .window_max = 8 * 1024 * 1024,
    .resets_rate = 100,
    .resets_burst = 1000,
    .control_rate = 500,
    .control_burst = 5000,
    .settings_ms = 10000,
    .stall_ms = 60000,
    .reach_ms = 10000,
};

struct mux_h2 *h2_of_mux(struct mux *m)
{
    OBJ_CHECK(m, MUX_MAGIC);
    return CONTAINER_OF(m, struct mux_h2, mux);
}

struct stream_h2 *h2_of(struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return CONTAINER_OF(s, struct stream_h2, stream);
}

enum h2_preface mux_h2_preface(const void *p, size_t n)
{
    if (memcmp(p, NGHTTP2_CLIENT_MAGIC, min_size(n, H2_PREFACE_LEN)) != 0)
        return H2_PREFACE_NO;
    return n < H2_PREFACE_LEN ? H2_PREFACE_MORE : H2_PREFACE_YES;
}

/* ---- the connection's end ---- */

void h2_wake_owner(struct mux_h2 *m)
{
    task_wake(m->mux.task, TASK_RX);
}

void h2_break_all(struct mux_h2 *m)
{
    LIST_EACH(it, &m->streams)
    {
        struct stream_h2 *s = LIST_ENTRY(it, struct stream_h2, grave.link);

        /* Not a byte of it was said (C66). */
        if (s->id < 0 && !s->broken)
            s->stream.unprocessed = true;
        h2_break(s, m->why);
    }
}

void h2_dead(struct mux_h2 *m, struct stream_fault why)
{
    if (m->state == H2_DEAD)
        return;
    if (m->state == H2_OPEN)
        m->why = why;
    m->state = H2_DEAD;
    h2_break_all(m);
    h2_wake_owner(m);
}

void h2_end(struct mux_h2 *m, uint32_t code, const char *text)
{
    if (m->state != H2_OPEN)
        return;
    m->why = (struct stream_fault){m->server ? END_CLIENT_RESET : END_UPSTREAM_RESET, text};
    if (nghttp2_session_terminate_session(m->session, code) < 0) {
        h2_dead(m, m->why);
        return;
    }
    m->state = H2_ENDING;
    m->calm = code == NGHTTP2_ENHANCE_YOUR_CALM;
    m->end_ms = m->loop->now_ms + H2_END_MS;
    h2_break_all(m);
    h2_flush_soon(m);
    h2_arm(m);
    h2_wake_owner(m);
}

void h2_conn_over(struct mux_h2 *m, enum io io)
{
    if (m->wire.conn->error == ERR_NOMEM)
        h2_dead(m, (struct stream_fault){END_NO_MEMORY, "out of memory"});
    else if (m->server)
        h2_dead(m, io == IO_EOF ? (struct stream_fault){END_CLIENT_GONE, "the client closed its connection"}
                                : (struct stream_fault){END_CLIENT_RESET, "the client reset the connection"});
    else
        h2_dead(m, io == IO_EOF ? (struct stream_fault){END_UPSTREAM_CLOSED, "the connection was closed before the answer was complete"}
                                : (struct stream_fault){END_UPSTREAM_RESET, "the connection was reset"});
}

int h2_fail(struct mux_h2 *m, int error)
{
    m->failed = true;
    m->error = error;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* What a call into nghttp2, or to the conn from one of its call-backs, has left behind. */
void h2_settle(struct mux_h2 *m)
{
    if (!m->failed || m->state == H2_DEAD)
        return;
    if (m->error == NGHTTP2_ERR_NOMEM)
        h2_dead(m, (struct stream_fault){END_NO_MEMORY, "out of memory"});
    else
        h2_conn_over(m, IO_ERR);
}

/* ---- the connection's task ---- */

static void announce(struct mux_h2 *m)
{
    struct list *l;

    while ((l = list_pop(&m->fresh))) {
        struct stream_h2 *s = LIST_ENTRY(l, struct stream_h2, wait);

        s->known = true;
        m->n_streams++;
        m->mux.on_stream(&m->mux, &s->stream);
    }
}

static uint32_t code_of(ssize_t error)
{
    return error == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR;
}

static void feed(struct mux_h2 *m, const char *p, size_t n)
{
    ssize_t r = nghttp2_session_mem_recv(m->session, (const uint8_t *)p, n);

    if (r == NGHTTP2_ERR_NOMEM)
        h2_fail(m, NGHTTP2_ERR_NOMEM);
    h2_settle(m);
    if (r < 0 && m->state != H2_DEAD)
        h2_end(m, code_of(r), r == NGHTTP2_ERR_FLOODED ? "a flood of frames that want an answer" : "the connection breaks the rules of HTTP/2");
    if (m->state == H2_OPEN && nghttp2_session_get_outbound_queue_size(m->session) > H2_QUEUED_MAX)
        h2_end(m, NGHTTP2_ENHANCE_YOUR_CALM, "a flood of frames that want an answer");
    announce(m);
}

/* What a peer that floods sends on, for a moment, so that it may read why. */
static void discard(struct mux_h2 *m)
{
    size_t n = 0;
    enum io io = wire_recv(&m->wire, m->loop->scratch, LOOP_SCRATCH, &n);

    m->discarded += (uint32_t)n;
    if (io == IO_EOF || io == IO_ERR || m->discarded > H2_CALM_BYTES) {
        h2_conn_over(m, IO_EOF);
    } else if (io == IO_OK) {
        m->io.bulk = true;
        task_wake(&m->io, TASK_RX);
    }
}

/* One read; more is asked for as bulk, behind the small messages of others. */
static void read_some(struct mux_h2 *m)
{
    size_t n;
    enum io io;

    m->io.bulk = false;
    if (m->state != H2_OPEN)
        return;
    io = wire_recv(&m->wire, m->loop->scratch, LOOP_SCRATCH, &n);
    if (io == IO_AGAIN && !m->tx_lost)
        return;
    if (io != IO_OK) {
        h2_conn_over(m, io == IO_AGAIN ? IO_ERR : io);
        return;
    }
    feed(m, m->loop->scratch, n);
    if (!m->server)
        h2_heard(m, n);
    h2_flush_soon(m);
    if (m->state == H2_OPEN && (m->wire.in.len || (m->wire.conn->ready & CONN_RX) || m->wire.conn->error)) {
        m->io.bulk = n == LOOP_SCRATCH;
        task_wake(&m->io, TASK_RX);
    }
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return b && b < a ? b : a;
}

static uint64_t settings_due(const struct mux_h2 *m)
{
    return m->state == H2_OPEN && !(m->settings_seen && m->settings_acked) ? m->since_ms + m->conf.settings_ms : 0;
}

static uint64_t stall_due(const struct mux_h2 *m)
{
    return m->wire.out.len ? m->moved_ms + m->conf.stall_ms : 0;
}

static uint64_t block_due(const struct mux_h2 *m)
{
    return m->state == H2_OPEN && m->block ? m->block_ms + m->conf.settings_ms : 0;
}

static uint64_t drain_due(const struct mux_h2 *m)
{
    return m->state == H2_OPEN && m->drain == H2_DRAIN_NOTICE ? m->drain_ms : 0;
}

static uint64_t end_due(const struct mux_h2 *m)
{
    return m->state == H2_ENDING || (m->state == H2_OVER && m->calm) ? m->end_ms : 0;
}

static uint64_t silence_due(const struct mux_h2 *m)
{
    if (m->state != H2_OPEN || !m->asked_ms)
        return 0;
    return m->ping_ms ? m->ping_ms + m->conf.reach_ms : m->asked_ms + (m->pinged ? H2_SILENT_AGAIN_MS : H2_SILENT_MS);
}

void h2_arm(struct mux_h2 *m)
{
    uint64_t due = UINT64_MAX;

    due = earlier(due, settings_due(m));
    due = earlier(due, stall_due(m));
    due = earlier(due, block_due(m));
    due = earlier(due, drain_due(m));
    due = earlier(due, end_due(m));
    due = earlier(due, silence_due(m));
    if (due == UINT64_MAX)
        timer_stop(&m->timer);
    else if (!timer_armed(&m->timer) || m->timer.node.due > due)
        timer_set_at(&m->timer, due);
}

static bool past(const struct mux_h2 *m, uint64_t due)
{
    return due && m->loop->now_ms >= due;
}

static void look_at_clock(struct mux_h2 *m)
{
    if (past(m, end_due(m)) || past(m, stall_due(m)))
        h2_dead(m, (struct stream_fault){m->server ? END_CLIENT_GONE : END_UPSTREAM_TIMEOUT, "what is queued for the connection does not move"});
    else if (past(m, settings_due(m)))
        h2_end(m, NGHTTP2_SETTINGS_TIMEOUT, "no SETTINGS, or no answer to ours");
    else if (past(m, block_due(m)))
        h2_end(m, NGHTTP2_ENHANCE_YOUR_CALM, "a head that does not end");
    else if (past(m, drain_due(m)))
        h2_drain_on(m);
    else if (past(m, silence_due(m)))
        h2_silence(m);
    if (m->state != H2_DEAD)
        h2_arm(m);
}

static void io_run(struct task *t, unsigned bits)
{
    struct mux_h2 *m = CONTAINER_OF(t, struct mux_h2, io);

    if (m->state == H2_DEAD || (m->state == H2_OVER && !m->calm))
        return;
    if (bits & TASK_TX)
        h2_flush_soon(m);
    if (bits & TASK_TIMER)
        look_at_clock(m);
    if (m->state == H2_OVER)
        discard(m);
    else
        read_some(m);
    if (m->block)
        h2_arm(m);
}

/* ---- life ---- */

static void h2_free(struct grave *g)
{
    struct mux_h2 *m = CONTAINER_OF(g, struct mux_h2, grave);

    h2_session_close(m);
    h2_blocks_free(m->block);
    m->mux.magic = OBJ_DEAD;
    mem_free(m);
}

struct mux_h2 *h2_new(struct conn *conn, const struct h2_conf *conf, bool server, const struct mux_ops *ops)
{
    struct mux_h2 *m = mem_zalloc(sizeof(*m));

    if (!m)
        return NULL;
    m->mux.magic = MUX_MAGIC;
    m->mux.ops = ops;
    m->mux.conn = conn;
    m->loop = conn->loop;
    m->conf = *conf;
    m->server = server;
    m->since_ms = m->moved_ms = m->heard_ms = m->loop->now_ms;
    list_init(&m->streams);
    list_init(&m->fresh);
    list_init(&m->waiters);
    list_init(&m->flush.link);
    m->flush.run = h2_flush_run;
    task_init(&m->io, m->loop, server ? "h2-server" : "h2-client", io_run);
    timer_init(&m->timer, &m->io);
    wire_init(&m->wire, conn);
    if (h2_session_open(m) < 0) {
        h2_session_close(m);
        mem_free(m);
        return NULL;
    }
    conn->task = &m->io;
    conn_unsent_max(conn, H2_UNSENT);
    h2_arm(m);
    h2_flush_soon(m);
    task_wake(&m->io, TASK_RX);
    return m;
}

/* Its last words, if there is room for them. */
static void say_goodbye(struct mux_h2 *m)
{
    if (m->state != H2_OPEN)
        return;
    if (m->drain != H2_DRAIN_LAST &&
        nghttp2_submit_goaway(m->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(m->session), NGHTTP2_NO_ERROR, NULL, 0) < 0)
        return;
    h2_pack(m, false);
    if (m->state == H2_OPEN && wire_flush(&m->wire) == IO_ERR)
        m->state = H2_DEAD;
}

void h2_close(struct mux *mux, bool reset)
{
    struct mux_h2 *m = h2_of_mux(mux);

    CHECK(m->n_streams == 0);
    m->mux.task = NULL;
    if (!reset)
        say_goodbye(m);
    m->state = H2_DEAD;
    /* Those whose heads have not come to an end. */
    LIST_EACH(it, &m->streams)
    h2_stream_gone(LIST_ENTRY(it, struct stream_h2, grave.link));
    timer_stop(&m->timer);
    task_cancel(&m->io);
    list_del(&m->flush.link);
    wire_done(&m->wire, reset);
    m->mux.conn = NULL;
    m->grave.free = h2_free;
    loop_bury(m->loop, &m->grave);
}

unsigned h2_waits(struct mux *mux, struct stream_look *ret_look)
{
    struct mux_h2 *m = h2_of_mux(mux);

    /* The owner waits for the connection's task, which is nobody's but the conn's. */
    *ret_look = (struct stream_look){.conn = NULL, .unread = m->wire.in.len, .unsent = m->wire.out.len};
    return 0;
}
