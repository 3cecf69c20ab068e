/* SPDX-License-Identifier: MIT */
/* wire: reading and writing a conn without a buffer in between, except for tails. Used by the h1 mux and by streams over bare
 * conns; knows nothing of messages.
 */
#include "mux/wire.h"

#include "base/check.h"

enum { WIRE_IOV = 12, WIRE_PIECES = 3 };

void wire_init(struct wire *w, struct conn *conn)
{
    w->conn = conn;
    w->fin = false;
    bufq_init(&w->in, &conn->loop->blocks);
    bufq_init(&w->out, &conn->loop->blocks);
}

void wire_done(struct wire *w, bool reset)
{
    bufq_clear(&w->in);
    bufq_clear(&w->out);
    if (reset)
        conn_reset(&w->conn);
    else
        conn_close(&w->conn);
}

enum io wire_recv(struct wire *w, void *p, size_t n, size_t *ret_n)
{
    if (w->in.len) {
        *ret_n = bufq_copy_out(&w->in, p, n);
        return IO_OK;
    }
    /* A conn that has shown its end keeps showing it. */
    if (w->conn->eof)
        return IO_EOF;
    if (!(w->conn->ready & CONN_RX))
        return w->conn->error ? IO_ERR : IO_AGAIN;
    return conn_recv(w->conn, p, n, ret_n);
}

int wire_unread(struct wire *w, const void *p, size_t n)
{
    CHECK(n == 0 || w->in.len == 0);
    return n ? bufq_put(&w->in, p, n) : 0;
}

/* Keeps of the pieces what lies behind the first `skip` bytes. */
static int wire_keep(struct wire *w, const struct iovec *iov, int n_iov, size_t skip)
{
    for (int i = 0; i < n_iov; i++) {
        size_t n = iov[i].iov_len;

        if (skip >= n) {
            skip -= n;
            continue;
        }
        if (bufq_put(&w->out, (const char *)iov[i].iov_base + skip, n - skip) < 0)
            return ERR_NOMEM;
        skip = 0;
    }
    return 0;
}

enum io wire_send(struct wire *w, const struct iovec *iov, int n_iov)
{
    struct iovec v[WIRE_IOV + WIRE_PIECES];
    size_t sent = 0, queued = w->out.len, covered = 0;
    int n = bufq_iov(&w->out, v, WIRE_IOV);

    CHECK(n_iov <= WIRE_PIECES);
    if (w->conn->error)
        return IO_ERR;
    for (int i = 0; i < n; i++)
        covered += v[i].iov_len;
    /* A head and its short content: one piece costs the kernel less than two, and less than copying it costs here. */
    if (n == 1 && n_iov == 1 && covered == queued && iov[0].iov_len <= WIRE_SHORT && bufq_put(&w->out, iov[0].iov_base, iov[0].iov_len) == 0) {
        queued = w->out.len;
        n = bufq_iov(&w->out, v, WIRE_IOV);
        n_iov = 0;
    } else if (covered == queued)
        for (int i = 0; i < n_iov; i++)
            v[n++] = iov[i];
    if (n && (w->conn->ready & CONN_TX)) {
        enum io r = conn_send(w->conn, v, n, &sent);

        if (r == IO_ERR)
            return IO_ERR;
        if (r == IO_AGAIN)
            sent = 0;
    }
    if (sent <= queued) {
        bufq_drop(&w->out, sent);
        sent = 0;
    } else {
        bufq_drop(&w->out, queued);
        sent -= queued;
    }
    if (wire_keep(w, iov, n_iov, sent) < 0) {
        /* Bytes are lost: nothing may follow them. */
        conn_broke(w->conn, ERR_NOMEM);
        return IO_ERR;
    }
    return IO_OK;
}

enum io wire_flush(struct wire *w)
{
    /* Each round writes something or leaves. */
    while (w->out.len) {
        if (wire_send(w, NULL, 0) == IO_ERR)
            return IO_ERR;
        if (w->out.len && !(w->conn->ready & CONN_TX))
            return IO_AGAIN;
    }
    if (w->fin && conn_shut(w->conn) < 0)
        return IO_ERR;
    return IO_OK;
}

size_t wire_room(struct wire *w)
{
    if (!w->out.len)
        return WIRE_ROOM;
    if (!(w->conn->ready & CONN_TX))
        return 0;
    /* A head that waits for its content, or a short tail, leaves together with what comes. More than that leaves first: a sink
     * that takes little at a time must not make the queue grow by the rest each time. */
    if (w->out.len <= WIRE_SHORT)
        return WIRE_ROOM;
    return wire_flush(w) == IO_AGAIN ? 0 : WIRE_ROOM;
}

enum io wire_fin(struct wire *w)
{
    w->fin = true;
    return wire_flush(w) == IO_ERR ? IO_ERR : IO_OK;
}

int wire_fd(struct wire *w, enum conn_dir dir)
{
    if (dir == CONN_IN ? w->in.len > 0 : w->out.len > 0)
        return -1;
    return conn_fd(w->conn, dir);
}

struct stream_look wire_look(const struct wire *w)
{
    return (struct stream_look){.conn = w->conn, .unread = w->in.len, .unsent = w->out.len};
}
