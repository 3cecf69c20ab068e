/* SPDX-License-Identifier: MIT */
/* conn_tls_bio: the lower conn, as OpenSSL sees it: a BIO that reads from it, and that writes into `out`, which is drained into it here. Called by OpenSSL inside of
 * every call of ours, and by the loop's flush. It takes all that is written: it never says that writing would block.
 */
#include "io/conn_tls_inside.h"

#include <stdatomic.h>
#include <string.h>

/* ---- in ---- */

static enum io lower_recv(struct conn_tls *t, char *p, size_t n, size_t *ret_n)
{
    struct conn *lower = t->conn.below;

    if (t->early.len) {
        *ret_n = bufq_copy_out(&t->early, p, n);
        return IO_OK;
    }
    if (lower->eof)
        return IO_EOF;
    if (!(lower->ready & CONN_RX))
        return lower->error ? IO_ERR : IO_AGAIN;
    return conn_recv(lower, p, n, ret_n);
}

static void note_first(struct conn_tls *t, const char *p, size_t n)
{
    n = min_size(n, FIRST - (size_t)t->n_first);
    memcpy(t->first + t->n_first, p, n);
    t->n_first = (uint8_t)(t->n_first + n);
}

static int bio_read(BIO *b, char *p, size_t n, size_t *ret_n)
{
    struct conn_tls *t = BIO_get_data(b);
    enum io r = n ? lower_recv(t, p, n, ret_n) : IO_AGAIN;

    BIO_clear_retry_flags(b);
    if (r == IO_OK) {
        if (t->n_first < FIRST)
            note_first(t, p, *ret_n);
        t->filled = *ret_n == n;
        t->last_read = *ret_n;
        return 1;
    }
    if (r == IO_AGAIN) {
        t->starved = true;
        BIO_set_retry_read(b);
    } else {
        t->lower_end = r;
    }
    return 0;
}

/* ---- out ---- */

/* What cannot be written any more is left: reading tells of it when its time has come. */
static void lost(struct conn_tls *t)
{
    int error = t->conn.below->error;

    bufq_clear(&t->out);
    t->fin = false;
    conn_broke(&t->conn, error ? error : -EPIPE);
}

/* Sends `out`, and the piece behind it; returns how much of that went. */
static size_t lower_send(struct conn_tls *t, const char *p, size_t n)
{
    struct iovec v[OUT_PIECES + 1];
    struct conn *lower = t->conn.below;
    int pieces = bufq_iov(&t->out, v, OUT_PIECES);
    size_t covered = 0, sent, of_out;

    for (int i = 0; i < pieces; i++)
        covered += v[i].iov_len;
    if (n && covered == t->out.len)
        v[pieces++] = (struct iovec){.iov_base = (void *)(uintptr_t)p, .iov_len = n};
    switch (conn_send(lower, v, pieces, &sent)) {
    case IO_OK:
        break;
    case IO_AGAIN:
        return 0;
    default:
        lost(t);
        return n;
    }
    t->moved = true;
    of_out = min_size(sent, t->out.len);
    bufq_drop(&t->out, of_out);
    return sent - of_out;
}

static int bio_write(BIO *b, const char *p, size_t n, size_t *ret_n)
{
    struct conn_tls *t = BIO_get_data(b);
    size_t sent = 0;

    BIO_clear_retry_flags(b);
    *ret_n = n;
    if (t->conn.below->error)
        return 1;
    if (t->out.len + n >= OUT_HIGH && (t->conn.below->ready & CONN_TX))
        sent = lower_send(t, p, n);
    if (sent == n)
        return 1;
    if (t->out.len > OUT_MAX || bufq_put(&t->out, p + sent, n - sent) < 0) {
        t->refused = true;
        return 0;
    }
    loop_flush_later(t->conn.loop, &t->flush);
    return 1;
}

void conn_tls_bio_drain(struct conn_tls *t)
{
    struct conn *lower = t->conn.below;

    /* Each round sends something or leaves. */
    while (t->out.len && (lower->ready & CONN_TX))
        lower_send(t, NULL, 0);
    if (t->out.len || !t->fin)
        return;
    t->fin = false;
    if (conn_shut(lower) < 0)
        conn_broke(&t->conn, lower->error ? lower->error : -ENOTCONN);
}

void conn_tls_bio_flush(struct flush *f)
{
    struct conn_tls *t = CONTAINER_OF(f, struct conn_tls, flush);
    struct conn *c = &t->conn;
    int error = c->error;

    conn_tls_bio_drain(t);
    if (c->error && !error) {
        conn_wake(c, TASK_RX | TASK_TX);
    } else if (!c->error && !t->out.len && !(c->ready & CONN_TX)) {
        c->ready |= CONN_TX;
        conn_wake(c, TASK_TX);
    }
}

/* ---- the BIO ---- */

static long bio_ctrl(BIO *b, int what, long n, void *p)
{
    const struct conn_tls *t = BIO_get_data(b);

    UNUSED(n);
    UNUSED(p);
    if (what == BIO_CTRL_EOF)
        return t->lower_end == IO_EOF;
    return what == BIO_CTRL_FLUSH;
}

/* Made once a process, and again if there was no memory for it. */
BIO_METHOD *conn_tls_bio_method(void)
{
    static _Atomic(BIO_METHOD *) the_method;
    BIO_METHOD *m = atomic_load(&the_method), *none = NULL;

    if (m)
        return m;
    m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "conn");
    if (!m)
        return NULL;
    BIO_meth_set_read_ex(m, bio_read);
    BIO_meth_set_write_ex(m, bio_write);
    BIO_meth_set_ctrl(m, bio_ctrl);
    if (atomic_compare_exchange_strong(&the_method, &none, m))
        return m;
    BIO_meth_free(m);
    return none;
}
