/* SPDX-License-Identifier: MIT */
/* mux_h1: HTTP/1 on a conn: what server and client role share: reading a head, taking content out of its framing and putting
 * it in. Pull: nothing is read before somebody asks, content of known length goes straight into the asker's buffer.
 * Called by the exchange through its stream; never calls up but for task_wake.
 */
#include "mux/mux_h1.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

struct mux_h1 *h1_of_mux(struct mux *m)
{
    OBJ_CHECK(m, MUX_MAGIC);
    return CONTAINER_OF(m, struct mux_h1, mux);
}

struct mux_h1 *h1_of(struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return CONTAINER_OF(s, struct mux_h1, stream);
}

struct raw h1_raw(struct mux_h1 *m)
{
    return (struct raw){.stream = &m->stream, .wire = &m->wire, .client = m->client_side};
}

/* ---- life ---- */

struct mux_h1 *h1_new(struct conn *conn, const struct h1_limits *limits, const struct mux_ops *ops)
{
    struct mux_h1 *m = mem_zalloc(sizeof(*m));

    if (!m)
        return NULL;
    m->mux.magic = MUX_MAGIC;
    m->mux.ops = ops;
    m->mux.conn = conn;
    m->loop = conn->loop;
    m->limits = limits;
    wire_init(&m->wire, conn);
    timer_init(&m->discard, NULL);
    return m;
}

static void h1_free(struct grave *g)
{
    struct mux_h1 *m = CONTAINER_OF(g, struct mux_h1, grave);

    m->mux.magic = m->stream.magic = OBJ_DEAD;
    mem_free(m);
}

void h1_close(struct mux *mux, bool reset)
{
    struct mux_h1 *m = h1_of_mux(mux);

    CHECK(m->state != H1_ATTACHED);
    if (timer_armed(&m->discard))
        timer_stop(&m->discard);
    wire_done(&m->wire, reset);
    m->mux.conn = NULL;
    m->state = H1_DEAD;
    m->grave.free = h1_free;
    loop_bury(m->loop, &m->grave);
}

void h1_attach(struct mux_h1 *m, const struct stream_ops *ops)
{
    CHECK(m->state == H1_IDLE);
    m->state = H1_ATTACHED;
    m->stream = (struct stream){.magic = STREAM_MAGIC, .ops = ops};
    m->parser = NULL;
    m->tx_framing = H1_FRAME_NONE;
    m->tx_left = 0;
    m->crlf_due = false;
    m->expects = false;
    m->skipped = 0;
    m->held_cr = false;
    h1_body_init(&m->body, H1_FRAME_NONE, 0, !m->client_side, NULL, m->limits);
}

/* ---- receiving ---- */

enum io h1_fault_set(struct mux_h1 *m, enum end_reason reason, const char *detail)
{
    m->stream.fault = (struct stream_fault){reason, detail};
    return IO_ERR;
}

static enum io h1_refused(struct mux_h1 *m, enum h1_fault fault)
{
    const struct h1_fault_info *info = h1_fault_info(fault);

    if (fault == H1_NO_MEMORY)
        return h1_fault_set(m, END_NO_MEMORY, info->text);
    if (!m->client_side)
        return h1_fault_set(m, END_UPSTREAM_NONSENSE, info->text);
    switch (info->status) {
    case 414:
        return h1_fault_set(m, END_URI_TOO_LONG, info->text);
    case 431:
        return h1_fault_set(m, END_HEAD_TOO_LARGE, info->text);
    case 501:
        return h1_fault_set(m, END_NOT_IMPLEMENTED, info->text);
    case 505:
        return h1_fault_set(m, END_BAD_VERSION, info->text);
    default:
        return h1_fault_set(m, END_BAD_REQUEST, info->text);
    }
}

/* The conn ended inside a message. */
static enum io h1_cut_short(struct mux_h1 *m)
{
    if (m->client_side)
        return h1_fault_set(m, END_CLIENT_GONE, "the client closed before its request was complete");
    return h1_fault_set(m, END_UPSTREAM_CLOSED, "the origin closed before its answer was complete");
}

/* Feeds the parser with what is queued, else with one read. *ret_parse is set when it returns OK. */
static enum io h1_feed_head(struct mux_h1 *m, enum parse *ret_parse)
{
    size_t n, used;
    enum io io;

    if (m->wire.in.len) {
        struct slice front = bufq_front(&m->wire.in);

        *ret_parse = h1_parser_feed(m->parser, front.p, front.n, &used);
        bufq_drop(&m->wire.in, *ret_parse == PARSE_MORE ? front.n : used);
        return IO_OK;
    }
    io = wire_recv(&m->wire, m->loop->scratch, WIRE_ROOM, &n);
    if (io != IO_OK)
        return io;
    *ret_parse = h1_parser_feed(m->parser, m->loop->scratch, n, &used);
    if (*ret_parse == PARSE_DONE && wire_unread(&m->wire, m->loop->scratch + used, n - used) < 0) {
        *ret_parse = PARSE_BAD;
        return h1_refused(m, H1_NO_MEMORY);
    }
    return IO_OK;
}

enum io h1_read_head(struct mux_h1 *m, struct arena *a, enum h1_kind kind, struct head **ret_head)
{
    enum parse parse = PARSE_MORE;

    if (!m->parser) {
        m->parser = h1_parser_new(a, kind, m->limits);
        if (!m->parser)
            return h1_refused(m, H1_NO_MEMORY);
        if (kind == H1_RESPONSE)
            h1_parser_for(m->parser, m->method);
    }
    /* Ends because the parser bounds the bytes of a head. */
    while (parse == PARSE_MORE) {
        enum io io = h1_feed_head(m, &parse);

        m->stream.begun = h1_parser_begun(m->parser);
        if (io == IO_EOF)
            return m->stream.begun ? h1_cut_short(m) : IO_EOF;
        if (io == IO_ERR)
            return m->stream.fault.detail ? IO_ERR : raw_broken(h1_raw(m));
        if (io == IO_AGAIN)
            return io;
    }
    *ret_head = h1_parser_head(m->parser);
    if (parse == PARSE_BAD)
        return h1_refused(m, h1_parser_fault(m->parser));
    h1_body_init(&m->body, h1_parser_framing(m->parser), (*ret_head)->length, kind == H1_RESPONSE, a, m->limits);
    m->version = (*ret_head)->version;
    m->parser = NULL;
    return IO_OK;
}

static void h1_content_over(struct mux_h1 *m)
{
    m->stream.rx = STREAM_END;
    if (m->body.framing == H1_FRAME_CHUNKED && m->body.trailers.n)
        m->stream.trailers = &m->body.trailers;
}

/* Content whose bytes stand plainly on the wire (LENGTH, CLOSE). The read asks for all there is room for, so that a short one
 * says that nothing is left; what belongs to the next message is put back. */
static enum io h1_recv_plain(struct mux_h1 *m, char *p, size_t cap, size_t *ret_n)
{
    uint64_t direct = h1_body_direct(&m->body);
    bool queued = m->wire.in.len > 0;
    size_t n, mine;
    enum io io = wire_recv(&m->wire, p, queued && direct < cap ? (size_t)direct : cap, &n);

    if (io != IO_OK)
        return io;
    mine = direct < n ? (size_t)direct : n;
    if (wire_unread(&m->wire, p + mine, n - mine) < 0)
        return h1_refused(m, H1_NO_MEMORY);
    h1_body_skip(&m->body, mine);
    if (m->body.done)
        h1_content_over(m);
    *ret_n = mine;
    return IO_OK;
}

/* Takes the content out of n bytes at p, moving it to the front. *ret_used: how many belonged to the message. */
static enum io h1_unchunk(struct mux_h1 *m, char *p, size_t n, size_t *ret_used, size_t *ret_n)
{
    size_t off = 0, out = 0, used;
    enum parse parse = PARSE_MORE;
    struct slice data;

    while (off < n && parse == PARSE_MORE) {
        parse = h1_body_feed(&m->body, p + off, n - off, &used, &data);
        if (parse == PARSE_BAD)
            return h1_refused(m, m->body.fault);
        if (data.n)
            memmove(p + out, data.p, data.n);
        out += data.n;
        off += used;
    }
    if (parse == PARSE_DONE)
        h1_content_over(m);
    *ret_used = off;
    *ret_n = out;
    return IO_OK;
}

static enum io h1_recv_chunked(struct mux_h1 *m, char *p, size_t cap, size_t *ret_n)
{
    size_t used = 0;

    /* A round without content used only framing bytes, which the decoder bounds. */
    for (;;) {
        bool queued = m->wire.in.len > 0;
        size_t n;
        enum io io;

        if (queued) {
            struct slice front = bufq_front(&m->wire.in);

            n = min_size(front.n, cap);
            memcpy(p, front.p, n);
        } else {
            io = wire_recv(&m->wire, p, cap, &n);
            if (io != IO_OK)
                return io;
        }
        io = h1_unchunk(m, p, n, &used, ret_n);
        if (io != IO_OK)
            return io;
        if (queued)
            bufq_drop(&m->wire.in, used);
        else if (wire_unread(&m->wire, p + used, n - used) < 0)
            return h1_refused(m, H1_NO_MEMORY);
        if (*ret_n)
            return IO_OK;
        if (m->stream.rx == STREAM_END)
            return IO_EOF;
    }
}

enum io h1_recv(struct stream *s, void *p, size_t cap, size_t *ret_n)
{
    struct mux_h1 *m = h1_of(s);
    enum io io;

    if (s->tunnel)
        return raw_recv(h1_raw(m), p, cap, ret_n);
    if (s->rx == STREAM_END)
        return IO_EOF;
    if (m->body.framing == H1_FRAME_CHUNKED)
        io = h1_recv_chunked(m, p, cap, ret_n);
    else
        io = h1_recv_plain(m, p, cap, ret_n);
    if (io == IO_EOF && s->rx != STREAM_END) {
        if (!h1_body_eof(&m->body))
            return h1_cut_short(m);
        h1_content_over(m);
    }
    if (io == IO_ERR && !s->fault.detail)
        return raw_broken(h1_raw(m));
    return io;
}

/* ---- sending ---- */

enum io h1_begin_content(struct mux_h1 *m, enum h1_framing framing, uint64_t length, bool last)
{
    struct stream *s = &m->stream;

    m->tx_framing = framing;
    m->tx_left = framing == H1_FRAME_LENGTH ? length : 0;
    if (framing == H1_FRAME_NONE || (framing == H1_FRAME_LENGTH && !length))
        last = true;
    s->tx = STREAM_BODY;
    return last ? h1_end(s, NULL) : IO_OK;
}

enum { LINE_MAX = H1_CHUNK_PREFIX_MAX + 2 };

/* The line before a chunk, behind the end of the one that was announced before. */
static size_t h1_chunk_line(struct mux_h1 *m, char out[LINE_MAX], uint64_t n)
{
    size_t at = 0;

    if (m->crlf_due) {
        memcpy(out, "\r\n", 2);
        at = 2;
        m->crlf_due = false;
    }
    return at + h1_write_chunk_prefix(out + at, n);
}

static enum io h1_send_chunk(struct mux_h1 *m, const void *p, size_t n, bool last)
{
    char line[LINE_MAX];
    static char suffix[] = "\r\n", end[] = "\r\n0\r\n\r\n";
    struct iovec v[3] = {
        {.iov_base = line, .iov_len = h1_chunk_line(m, line, n)},
        {.iov_base = (void *)(uintptr_t)p, .iov_len = n},
        {.iov_base = last ? end : suffix, .iov_len = last ? sizeof(end) - 1 : sizeof(suffix) - 1},
    };

    return wire_send(&m->wire, v, 3);
}

/* Content as it is: of a sized message, or of a chunk that was announced. */
static enum io h1_send_plain(struct mux_h1 *m, const void *p, size_t n, bool last)
{
    struct iovec v = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};

    if (m->tx_framing != H1_FRAME_CLOSE) {
        /* Never send a length that is known to be wrong (C44). */
        if (n > m->tx_left || (last && n != m->tx_left))
            return h1_fault_set(m, END_INTERNAL, "more or less content than its length says");
        m->tx_left -= n;
        m->crlf_due = m->tx_framing == H1_FRAME_CHUNKED && !m->tx_left;
    }
    return wire_send(&m->wire, &v, 1);
}

enum io h1_send(struct stream *s, const void *p, size_t n, bool last)
{
    struct mux_h1 *m = h1_of(s);
    bool chunk = m->tx_framing == H1_FRAME_CHUNKED && !m->tx_left;
    enum io io;

    CHECK(n > 0 && s->tx == STREAM_BODY);
    if (s->tunnel)
        return raw_send(h1_raw(m), p, n, last);
    io = chunk ? h1_send_chunk(m, p, n, last) : h1_send_plain(m, p, n, last);
    if (io == IO_ERR)
        return s->fault.detail ? IO_ERR : raw_broken(h1_raw(m));
    if (last)
        s->tx = STREAM_END;
    return IO_OK;
}

/* The line end of an announced chunk. */
static int h1_put_crlf(struct mux_h1 *m)
{
    if (!m->crlf_due)
        return 0;
    m->crlf_due = false;
    return bufq_put(&m->wire.out, "\r\n", 2);
}

/* Framing is missing on the wire: nothing may follow. */
static enum io h1_broken_off(struct mux_h1 *m)
{
    conn_broke(m->wire.conn, ERR_NOMEM);
    return h1_refused(m, H1_NO_MEMORY);
}

enum io h1_end(struct stream *s, const struct hdrs *trailers)
{
    struct mux_h1 *m = h1_of(s);

    if (s->tunnel)
        return raw_end(h1_raw(m));
    if (m->tx_framing != H1_FRAME_CLOSE && m->tx_left)
        return h1_fault_set(m, END_INTERNAL, "less content than its length says");
    if (h1_put_crlf(m) < 0 ||
        (m->tx_framing == H1_FRAME_CHUNKED && h1_write_last_chunk(&m->wire.out, trailers) < 0))
        return h1_broken_off(m);
    s->tx = STREAM_END;
    return wire_flush(&m->wire) == IO_ERR ? raw_broken(h1_raw(m)) : IO_OK;
}

enum io h1_flush(struct stream *s)
{
    struct mux_h1 *m = h1_of(s);
    enum io io;

    if (h1_put_crlf(m) < 0)
        return h1_broken_off(m);
    io = wire_flush(&m->wire);
    return io == IO_ERR ? raw_broken(h1_raw(m)) : io;
}

size_t h1_room(struct stream *s)
{
    return wire_room(&h1_of(s)->wire);
}

/* ---- tunnel, splice, ends ---- */

int h1_tunnel(struct stream *s)
{
    s->tunnel = true;
    s->rx = s->tx = STREAM_BODY;
    return 0;
}

int h1_fd(struct stream *s, enum stream_dir dir, uint64_t *ret_max)
{
    struct mux_h1 *m = h1_of(s);
    uint64_t max;

    if (s->tunnel)
        max = UINT64_MAX;
    else if (dir == STREAM_RX)
        max = s->rx == STREAM_BODY ? h1_body_direct(&m->body) : 0;
    else if (s->tx == STREAM_BODY)
        max = m->tx_framing == H1_FRAME_LENGTH ? m->tx_left : UINT64_MAX;
    else
        max = 0;
    if (!max)
        return -1;
    *ret_max = max;
    return wire_fd(&m->wire, dir == STREAM_RX ? CONN_IN : CONN_OUT);
}

enum io h1_announce(struct stream *s, uint64_t n)
{
    struct mux_h1 *m = h1_of(s);
    char line[LINE_MAX];
    struct iovec v = {.iov_base = line};

    if (s->tunnel || m->tx_framing != H1_FRAME_CHUNKED)
        return IO_OK;
    CHECK(!m->tx_left);
    v.iov_len = h1_chunk_line(m, line, n);
    m->tx_left = n;
    if (wire_send(&m->wire, &v, 1) == IO_ERR)
        return raw_broken(h1_raw(m));
    return m->wire.out.len ? IO_AGAIN : IO_OK;
}

void h1_moved(struct stream *s, enum stream_dir dir, uint64_t n)
{
    struct mux_h1 *m = h1_of(s);

    raw_moved(h1_raw(m), dir, n);
    if (s->tunnel || !n)
        return;
    if (dir == STREAM_RX) {
        h1_body_skip(&m->body, n);
        if (m->body.done)
            h1_content_over(m);
    } else if (m->tx_framing != H1_FRAME_CLOSE) {
        CHECK(n <= m->tx_left);
        m->tx_left -= n;
        m->crlf_due = m->tx_framing == H1_FRAME_CHUNKED && !m->tx_left;
    }
}

void h1_failed(struct stream *s, int error)
{
    conn_broke(h1_of(s)->wire.conn, error);
}

bool h1_broken(struct stream *s)
{
    struct conn *c = h1_of(s)->wire.conn;

    return c && c->error != 0;
}

void h1_reset(struct stream *s)
{
    struct mux_h1 *m = h1_of(s);

    wire_done(&m->wire, true);
    m->mux.conn = NULL;
}

void h1_look(struct stream *s, struct stream_look *ret_look)
{
    *ret_look = wire_look(&h1_of(s)->wire);
}
