/* SPDX-License-Identifier: MIT */
/* conn_tls_plain: plain bytes out of records and into them: recv and send of a conn_tls. Called by whoever owns the conn, on its loop's thread. One call takes as many
 * records as there are, up to a bound; nothing is written that there is no room for. Never blocks, and never leaves OpenSSL with a write to be repeated.
 */
#include "io/conn_tls_inside.h"

#include "base/check.h"

#include <string.h>

/* ---- in ---- */

/* Nothing came of many calls, and there may be more: not now. */
enum io conn_tls_plain_later(struct conn *c)
{
    c->ready |= CONN_RX;
    conn_wake(c, TASK_RX);
    return IO_AGAIN;
}

/* One record's bytes at most. False: see state and starved. */
bool conn_tls_plain_read(struct conn_tls *t, void *p, size_t n, size_t *ret_n)
{
    conn_tls_clear_errors();
    t->starved = false;
    if (LIKELY(SSL_read_ex(t->ssl, p, n, ret_n) == 1))
        return true;
    switch (SSL_get_error(t->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
        return false;
    case SSL_ERROR_ZERO_RETURN:
        if (t->flooded)
            break;
        t->state = TLS_READ;
        t->conn.hup = true;
        return false;
    default:
        break;
    }
    conn_tls_fail(t);
    return false;
}

static bool drained(const struct conn_tls *t)
{
    const struct conn *lower = t->conn.below;

    return !(lower->ready & CONN_RX) && !lower->eof && !lower->error && !t->early.len && !SSL_has_pending(t->ssl);
}

static void adjust_reading(struct conn_tls *t)
{
    if (t->reading == TLS_SHORT && t->filled && t->last_read >= RECORD / 2) {
        SSL_set_default_read_buffer_len(t->ssl, READ_LONG);
        SSL_set_read_ahead(t->ssl, 0);
        t->reading = TLS_GROWING;
    } else if (t->reading == TLS_GROWING && !SSL_has_pending(t->ssl)) {
        SSL_set_read_ahead(t->ssl, 1);
        t->reading = TLS_LONG;
    } else if (t->reading == TLS_LONG && t->starved && t->last_read < RECORD) {
        SSL_set_default_read_buffer_len(t->ssl, 0);
        t->reading = TLS_SHORT;
    }
}

/* As much as there is, up to n. */
static size_t read_many(struct conn_tls *t, char *p, size_t n)
{
    size_t got = 0, part;

    for (int i = 0; i < CALLS && got < n && t->state == TLS_UP; i++) {
        if (conn_tls_plain_read(t, p + got, n - got, &part)) {
            got += part;
            t->starved = got < n && drained(t);
        }
        adjust_reading(t);
        if (t->starved)
            break;
    }
    t->conn.rx_bytes += got;
    return got;
}

enum io conn_tls_plain_recv(struct conn *c, void *p, size_t n, size_t *ret_n)
{
    struct conn_tls *t = conn_tls_of(c);
    size_t got = 0;

    CHECK(n > 0);
    if (t->state == TLS_SHAKING) {
        enum io r = conn_tls_hand_shake(c);

        if (r != IO_OK)
            return r;
    }
    t->starved = false;
    if (t->state == TLS_UP)
        got = read_many(t, p, n);
    if (t->starved)
        c->ready &= (uint8_t)~CONN_RX;
    if (got) {
        *ret_n = got;
        return IO_OK;
    }
    if (t->state == TLS_UP)
        return t->starved ? IO_AGAIN : conn_tls_plain_later(c);
    c->ready &= (uint8_t)~CONN_RX;
    if (c->error)
        return IO_ERR;
    c->eof = true;
    return IO_EOF;
}

/* ---- out ---- */

/* Where conn_send is in its pieces. */
struct cursor {
    const struct iovec *iov;
    int n;
    size_t at; /* in the first of them */
    char *block;
};

static void cursor_skip_empty(struct cursor *k)
{
    while (k->n && k->at == k->iov->iov_len) {
        k->iov++;
        k->n--;
        k->at = 0;
    }
}

static void cursor_skip(struct cursor *k, size_t n)
{
    while (n) {
        size_t part = min_size(n, k->iov->iov_len - k->at);

        k->at += part;
        n -= part;
        cursor_skip_empty(k);
    }
}

static struct slice gather(const struct cursor *from)
{
    struct cursor k = *from;
    size_t n = 0;

    while (k.n && n < RECORD) {
        size_t part = min_size(RECORD - n, k.iov->iov_len - k.at);

        memcpy(k.block + n, (const char *)k.iov->iov_base + k.at, part);
        n += part;
        cursor_skip(&k, part);
    }
    return slice_of(k.block, n);
}

/* What the next record has. Short pieces share one, where there is a block to put them together in. */
static struct slice next_record(struct cursor *k, struct loop *loop)
{
    struct slice piece = slice_of((const char *)k->iov->iov_base + k->at, min_size(k->iov->iov_len - k->at, RECORD));

    if (k->n == 1 || piece.n == RECORD)
        return piece;
    if (!k->block)
        k->block = objcache_get(&loop->blocks);
    return k->block ? gather(k) : piece;
}

static bool has_room(struct conn_tls *t)
{
    const struct conn *lower = t->conn.below;

    if (t->out.len >= OUT_HIGH)
        conn_tls_bio_drain(t);
    return t->out.len < OUT_HIGH && (!t->out.len || (lower->ready & CONN_TX));
}

static bool write_one(struct conn_tls *t, struct slice s)
{
    size_t n;

    conn_tls_clear_errors();
    /* The BIO takes all, so OpenSSL does. */
    if (LIKELY(SSL_write_ex(t->ssl, s.p, s.n, &n) == 1))
        return true;
    conn_tls_fail(t);
    return false;
}

static size_t write_many(struct conn_tls *t, struct cursor *k)
{
    size_t taken = 0;

    for (cursor_skip_empty(k); k->n && !t->conn.error && has_room(t);) {
        struct slice s = next_record(k, t->conn.loop);

        if (!write_one(t, s))
            break;
        taken += s.n;
        cursor_skip(k, s.n);
    }
    t->conn.tx_bytes += taken;
    return taken;
}

enum io conn_tls_plain_send(struct conn *c, const struct iovec *iov, int n_iov, size_t *ret_n)
{
    struct cursor k = {.iov = iov, .n = n_iov};
    struct conn_tls *t = conn_tls_of(c);
    size_t taken;

    if (t->state == TLS_SHAKING) {
        enum io r = conn_tls_hand_shake(c);

        if (r != IO_OK)
            return r;
    }
    if (c->shut && !c->error)
        conn_broke(c, -EPIPE);
    if (c->error)
        return IO_ERR;
    taken = write_many(t, &k);
    objcache_put(&c->loop->blocks, k.block);
    if (c->error)
        return IO_ERR;
    if (k.n)
        c->ready &= (uint8_t)~CONN_TX;
    if (k.n && !taken)
        return IO_AGAIN;
    *ret_n = taken;
    return IO_OK;
}
