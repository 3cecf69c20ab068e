/* SPDX-License-Identifier: MIT */
/* conn_tls: TLS over any conn. It is a conn itself: recv and send move plain bytes; shut sends close_notify and the lower conn's FIN behind it, and
 * reading goes on; reset breaks off without close_notify. An end without close_notify is an error, never EOF (C80): what was received before it is
 * delivered first. An early close of one direction is kept as TLS 1.3 allows (8446 6.1).
 * Records are read as many as there are at once, and written several at a time: what one turn sends leaves in one system call where the lower conn takes it.
 * Handshake: conn_established gives AGAIN until it is over. It has no deadline of its own: whoever waits has one.
 * Owner, thread, end: as any conn's: what was written and not taken yet leaves after the close. Memory: 0.6 KB beside OpenSSL's 13 while idle: buffers are given back when
 * they are empty. */
#ifndef IO_CONN_TLS_H
#define IO_CONN_TLS_H

#include "io/conn.h"
#include "io/tls.h"

/* Why a handshake, or later the connection, failed. */
enum tls_failure {
    TLS_OK = 0,
    TLS_CERTIFICATE, /* the peer's does not verify: `text` says which check, subject, dates */
    TLS_PROTOCOL,    /* the peer broke the protocol, or there is no version, cipher or ALPN that both want */
    TLS_ALERT,       /* the peer sent a fatal alert: `alert` */
    TLS_TRUNCATED,   /* FIN or RST without close_notify */
    TLS_BROKEN,      /* the lower conn failed: its error */
    TLS_MEMORY,
};

/* What a handshake found. Valid once conn_established gave OK (or ERR: the failure only), until the conn is closed. */
struct tls_facts {
    enum tls_failure failure;
    uint8_t alert;          /* TLS_ALERT: its number; else 0 */
    const char *text;       /* of the failure; static or the conn's */
    enum tls_alpn alpn;     /* agreed; NONE: none was */
    uint16_t version;       /* 0x0303, 0x0304 */
    const char *cipher;     /* static */
    bool resumed;
    struct slice sni;       /* server: what the client asked for; empty: nothing */
    bool certified;         /* the peer has shown a certificate, and it was verified */
    struct slice subject;   /* of it: RFC 2253; empty: it has none (RFC 5280 4.1.2.6) */
    struct slice common_name, email, dns, uri; /* of it: the first of each; empty: none */
    uint8_t fingerprint[32]; /* SHA-256 of it */
};

/* Server role. Takes *lower (then NULL). early: what has been read from it already (the ClientHello's beginning); copied.
 * ERR_NOMEM: lower is still the caller's. */
int conn_tls_accept(struct conn **lower, struct tls_ctx *ctx, struct slice early, struct conn **ret_conn) MUST_USE;

struct tls_peer {
    struct slice host;  /* a name (also sent as SNI) or a literal address without brackets (no SNI); its certificate has to be for it */
    bool literal;
    uint16_t port;      /* of the session cache's key */
    unsigned alpn;      /* offered */
};
enum { TLS_HOST_MAX = 255 };
/* Client role, on an established conn. Takes *lower. ERR_NOMEM: as above. ERR_SYNTAX: no such host can be (longer than TLS_HOST_MAX, a NUL in it, a
 * literal that is none); as above. */
int conn_tls_connect(struct conn **lower, struct tls_ctx *ctx, const struct tls_peer *peer, struct conn **ret_conn) MUST_USE;

/* NULL for conns of other kinds. */
const struct tls_facts *conn_tls_facts(const struct conn *c);

/* A closed one's last bytes get this long to be taken by the conn below, as long as some are; a reset one's CONN_RESET_GRACE_MS in all. */
enum { CONN_TLS_GRACE_MS = 10000 };
/* Ends at once those that still wait for that; for loop_done. */
void conn_tls_reap_all(struct loop *loop);

#endif
