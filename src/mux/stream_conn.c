/* SPDX-License-Identifier: MIT */
/* stream_conn: the far side of a tunnel. Everything is raw.c's; this gives it a stream's face. */
#include "mux/stream_conn.h"

#include "base/check.h"
#include "base/mem.h"
#include "mux/raw.h"

struct stream_conn {
    struct stream stream;
    struct wire wire;
    struct grave grave;
    struct loop *loop;
};

static struct stream_conn *conn_of(struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return CONTAINER_OF(s, struct stream_conn, stream);
}

static struct raw raw_of(struct stream *s)
{
    return (struct raw){.stream = s, .wire = &conn_of(s)->wire, .client = false};
}

static enum io conn_recv_bytes(struct stream *s, void *p, size_t cap, size_t *ret_n)
{
    return raw_recv(raw_of(s), p, cap, ret_n);
}

static enum io conn_send_bytes(struct stream *s, const void *p, size_t n, bool last)
{
    return raw_send(raw_of(s), p, n, last);
}

static enum io conn_end(struct stream *s, const struct hdrs *trailers)
{
    UNUSED(trailers);
    return raw_end(raw_of(s));
}

static enum io conn_flush(struct stream *s)
{
    enum io r = wire_flush(&conn_of(s)->wire);

    return r == IO_ERR ? raw_broken(raw_of(s)) : r;
}

static size_t conn_room(struct stream *s)
{
    return wire_room(&conn_of(s)->wire);
}

static int conn_descriptor(struct stream *s, enum stream_dir dir, uint64_t *ret_max)
{
    *ret_max = UINT64_MAX;
    return wire_fd(&conn_of(s)->wire, dir == STREAM_RX ? CONN_IN : CONN_OUT);
}

static void conn_moved(struct stream *s, enum stream_dir dir, uint64_t n)
{
    raw_moved(raw_of(s), dir, n);
}

static void conn_failed(struct stream *s, int error)
{
    conn_broke(conn_of(s)->wire.conn, error);
}

static bool conn_broken(struct stream *s)
{
    return conn_of(s)->wire.conn->error != 0;
}

static void conn_look(struct stream *s, struct stream_look *ret_look)
{
    *ret_look = wire_look(&conn_of(s)->wire);
}

static void conn_reset_stream(struct stream *s)
{
    wire_done(&conn_of(s)->wire, true);
}

static void conn_free(struct grave *g)
{
    struct stream_conn *c = CONTAINER_OF(g, struct stream_conn, grave);

    c->stream.magic = OBJ_DEAD;
    mem_free(c);
}

/* Released with a direction still open: that is a cut, and must not look like an end. */
static void conn_release(struct stream *s)
{
    struct stream_conn *c = conn_of(s);

    wire_done(&c->wire, s->rx != STREAM_END || s->tx != STREAM_END);
    c->grave.free = conn_free;
    loop_bury(c->loop, &c->grave);
}

static const struct stream_ops conn_stream_ops = {
    .name = "conn",
    .recv = conn_recv_bytes,
    .send = conn_send_bytes,
    .end = conn_end,
    .flush = conn_flush,
    .room = conn_room,
    .fd = conn_descriptor,
    .moved = conn_moved,
    .failed = conn_failed,
    .broken = conn_broken,
    .reset = conn_reset_stream,
    .release = conn_release,
    .look = conn_look,
};

struct stream *stream_conn_new(struct conn **conn, struct task *task)
{
    struct stream_conn *c = mem_zalloc(sizeof(*c));

    if (!c)
        return NULL;
    c->stream = (struct stream){.magic = STREAM_MAGIC,
                                .ops = &conn_stream_ops,
                                .task = task,
                                .rx = STREAM_BODY,
                                .tx = STREAM_BODY,
                                .tunnel = true};
    c->loop = (*conn)->loop;
    wire_init(&c->wire, *conn);
    (*conn)->task = task;
    *conn = NULL;
    return &c->stream;
}
