/* SPDX-License-Identifier: MIT */
/* conn_tls_inside: what the rooms of conn_tls (conn_tls*.c) share. Private to them: nobody else includes it. */
#ifndef IO_CONN_TLS_INSIDE_H
#define IO_CONN_TLS_INSIDE_H

#include "base/bufq.h"
#include "io/conn_tls.h"
#include "io/tls_inside.h"

enum {
    RECORD = SSL3_RT_MAX_PLAIN_LENGTH,
    OUT_HIGH = 65536,      /* so much waiting leaves at once; where it cannot, nothing more is taken */
    OUT_MAX = 4 * OUT_HIGH, /* of what OpenSSL writes by itself */
    OUT_PIECES = 8,
    CALLS = 64,            /* of OpenSSL within one of ours */
    MESSAGES = 64,         /* KeyUpdates, tickets: so many, and one more a megabyte */
    READ_LONG = 4 * (RECORD + 256), /* OpenSSL's buffer for bulk: some records with a call */
    FIRST = 16,            /* what the peer began with */
    TEXT = 448,
};

enum tls_state {
    TLS_SHAKING = 0,
    TLS_UP,
    TLS_READ,   /* the peer's close_notify has come */
    TLS_BROKEN_OFF,
};

/* OpenSSL's buffer has room for a record; where that fills again and again it gets a longer one, which it can change only while it holds nothing. So
 * it is kept for a moment from reading on beyond the record that it is in. */
enum tls_reading {
    TLS_SHORT = 0,
    TLS_GROWING,
    TLS_LONG,
};

struct conn_tls {
    struct conn conn;
    struct grave grave;
    struct flush flush;
    struct tls_ctx *ctx;
    SSL *ssl;
    struct bufq early, out;
    enum tls_state state;
    enum tls_reading reading;
    bool filled;         /* the last read of the lower conn took all the room there was */
    size_t last_read;    /* its bytes */
    enum io lower_end;   /* EOF or ERR once OpenSSL has met it, else OK */
    bool starved;        /* the present call found nothing to read */
    bool refused;        /* memory, for what OpenSSL wrote */
    bool flooded;        /* too many messages that carry nothing */
    bool bad_cert;       /* the peer's: text says why */
    bool fin;            /* the lower conn's is due behind `out` */
    bool reset;          /* closed so */
    bool moved;          /* since the timer was set */
    uint8_t n_first;
    char first[FIRST];
    unsigned messages;
    unsigned alpn;       /* offered (client) */
    struct tls_facts facts;
    char *names;         /* what facts' slices point into */
    char *text;          /* of the failure */
    char *key;           /* client: of the session cache; ends with the peer's name */
    struct slice host;   /* in it */
    const SSL_SESSION *offered; /* client: to be resumed; only compared */
    /* After close, until `out` has left: */
    struct list link; /* in the loop's closing */
    struct task task;
    struct timer timer;
};

struct conn_tls *conn_tls_of(struct conn *c);
struct conn_tls *conn_tls_of_ssl(const SSL *ssl);

/* Before each call of OpenSSL whose error is asked for. */
static inline void conn_tls_clear_errors(void)
{
    if (UNLIKELY(ERR_peek_error() != 0))
        ERR_clear_error();
}

/* ---- conn_tls_fail.c ---- */

/* What the peer is called in a sentence. */
const char *conn_tls_fail_peer(const struct conn_tls *t);
/* The failure's text. */
void conn_tls_fail_say(struct conn_tls *t, const char *format, ...) PRINTF(2, 3);
/* For good. error: what the conn has from now on. */
void conn_tls_fail_with(struct conn_tls *t, enum tls_failure failure, int error);
/* The same, of what a call of OpenSSL failed of. */
void conn_tls_fail(struct conn_tls *t);

/* ---- conn_tls_bio.c ---- */

/* NULL: no memory. */
BIO_METHOD *conn_tls_bio_method(void);
/* `out` into the lower conn, as much as it takes, and the FIN behind it. */
void conn_tls_bio_drain(struct conn_tls *t);
void conn_tls_bio_flush(struct flush *f);

/* ---- conn_tls_hand.c ---- */

/* conn_ops.established */
enum io conn_tls_hand_shake(struct conn *c) MUST_USE;
/* SSL_set_verify's, SSL_set_msg_callback's. */
int conn_tls_hand_verified(int ok, X509_STORE_CTX *sc);
void conn_tls_hand_message(int write_p, int version, int type, const void *p, size_t n, SSL *ssl, void *owner);

/* ---- conn_tls_plain.c ---- */

/* conn_ops.recv, conn_ops.send */
enum io conn_tls_plain_recv(struct conn *c, void *p, size_t n, size_t *ret_n) MUST_USE;
enum io conn_tls_plain_send(struct conn *c, const struct iovec *iov, int n_iov, size_t *ret_n) MUST_USE;
/* One record's bytes at most. False: see state and starved. */
bool conn_tls_plain_read(struct conn_tls *t, void *p, size_t n, size_t *ret_n) MUST_USE;
/* AGAIN, and the owner is woken. */
enum io conn_tls_plain_later(struct conn *c) MUST_USE;

#endif
