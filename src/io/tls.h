/* SPDX-License-Identifier: MIT */
/* tls: contexts for both roles (OpenSSL), made of bytes, not of files. OpenSSL 3.0 locks per library context: each worker has one (struct tls_lib),
 * and every context, certificate and session that it uses was made on it. Contexts may be made by another thread than the one that uses them.
 * Owner: contexts are counted (tls_ctx_ref, tls_ctx_unref, any thread); a lib outlives its contexts.
 * Sources: RFC 8446, RFC 5246, RFC 7301 (ALPN), RFC 6066 (SNI, stapling), RFC 5077 (tickets), RFC 6125/9525 (names in certificates). */
#ifndef IO_TLS_H
#define IO_TLS_H

#include "base/base.h"
#include "base/slice.h"
#include "io/addr.h"

#include <stdbool.h>
#include <stdint.h>

struct tls_lib;
struct tls_ctx;
struct tls_tickets;

struct tls_lib *tls_lib_new(void) MUST_USE; /* NULL: memory */
void tls_lib_free(struct tls_lib *lib);

enum { TLS_ERROR_MAX = 256 };
/* Why a context could not be made: for the operator; `what` says which piece (0 certificate, 1 key, 2 client CA, 3 staple, 4 trust). */
struct tls_error {
    unsigned pair, what;
    char text[TLS_ERROR_MAX];
};

enum tls_version { TLS_1_2 = 12, TLS_1_3 = 13 };
/* Bits of what is offered (client) or taken (server). */
enum tls_alpn { TLS_ALPN_NONE = 0, TLS_ALPN_H1 = 1, TLS_ALPN_H2 = 2 };
enum tls_client_certs { TLS_CLIENT_NONE = 0, TLS_CLIENT_OPTIONAL, TLS_CLIENT_REQUIRED };

/* A certificate (chain, PEM) with its key (PEM, unencrypted). staple: an OCSP response in DER; empty: none. */
struct tls_pair {
    struct slice cert, key, staple;
};

/* ---- server role ---- */

struct tls_server_conf {
    const struct tls_pair *pairs; /* the first is used where no name fits */
    unsigned n_pairs;             /* 1..TLS_PAIRS_MAX */
    enum tls_client_certs clients;
    struct slice client_ca;       /* PEM: who signs clients' certificates, with `clients` */
    enum tls_version min;         /* 0: 1.2 */
    unsigned alpn;                /* what is taken, h2 first. No overlap with what the client offers: no_application_protocol (C83) */
    struct tls_tickets *tickets;  /* shared by all workers; NULL: no resumption */
    void (*keylog)(void *owner, const char *line); /* NSS key log lines; NULL: none */
    void *keylog_owner;
};
enum { TLS_PAIRS_MAX = 64, TLS_PEM_MAX = 1 << 20 };
/* Takes copies of everything. ERR_SYNTAX with ret_error; ERR_NOMEM. */
int tls_server_ctx_new(struct tls_lib *lib, const struct tls_server_conf *conf, struct tls_ctx **ret_ctx, struct tls_error *ret_error) MUST_USE;

/* Keys that session tickets are sealed with: the first seals, all open. Fleets share a file of them; without one a key is drawn, and rotated by
 * tls_tickets_rotate (whoever holds the timer). Thread: any; rotation and use may meet. */
enum { TLS_TICKET_KEY = 80, TLS_TICKET_KEYS = 4 };
struct tls_tickets *tls_tickets_new(void) MUST_USE;                 /* drawn */
int tls_tickets_set(struct tls_tickets *t, const void *keys, unsigned n) MUST_USE; /* n keys of TLS_TICKET_KEY bytes, the first seals. ERR_RANGE */
int tls_tickets_rotate(struct tls_tickets *t) MUST_USE;
struct tls_tickets *tls_tickets_ref(struct tls_tickets *t);
void tls_tickets_unref(struct tls_tickets *t);

/* ---- client role ---- */

struct tls_client_conf {
    struct slice trust;   /* PEM; empty: the system's store; where there is none (tls_system_is_there) nobody is trusted */
    bool system;          /* the system's store as well as `trust` */
    bool verify;          /* false: `verify: no`, anything goes */
    struct tls_pair pair; /* the client's own; cert empty: none */
    enum tls_version min; /* 0: 1.2 */
    unsigned alpn;        /* what whoever uses the context may offer (tls_ctx_alpn); 0: anything */
    void (*keylog)(void *owner, const char *line);
    void *keylog_owner;
};
/* A context keeps sessions for resumption, bounded (TLS_SESSIONS), by peer name, port and ALPN: never used under another trust or certificate, for
 * that is another context. */
enum { TLS_SESSIONS = 1024 };
int tls_client_ctx_new(struct tls_lib *lib, const struct tls_client_conf *conf, struct tls_ctx **ret_ctx, struct tls_error *ret_error) MUST_USE;

bool tls_system_is_there(void);

struct tls_ctx *tls_ctx_ref(struct tls_ctx *c);
void tls_ctx_unref(struct tls_ctx *c);
/* Equal for contexts made of the same content (keylog and tickets aside): a reload keeps the context then; part of the pool's key. */
uint64_t tls_ctx_identity(const struct tls_ctx *c);
unsigned tls_ctx_alpn(const struct tls_ctx *c); /* client role: TLS_ALPN_* that may be offered */
uint64_t tls_server_identity(const struct tls_server_conf *conf);
uint64_t tls_client_identity(const struct tls_client_conf *conf);

/* ---- for configuration and its commands, on any thread ---- */

/* What a certificate says of itself. Texts are cut. */
struct tls_cert_info {
    char subject[256], issuer[256], names[512]; /* names: subjectAltName's DNS and IP, ", " between */
    int64_t not_before_s, not_after_s; /* since 1970 */
    uint8_t sha256[32];
};
int tls_cert_look(struct slice pem, struct tls_cert_info *ret_info) MUST_USE; /* the first certificate. ERR_SYNTAX; ERR_NOMEM, as far as OpenSSL tells */
/* A self-signed P-256 certificate for these names (DNS names and addresses, NULL-terminated), valid for `days`. Heap (mem_free), NUL-terminated PEM. */
int tls_self_signed(const char *const *names, unsigned days, char **ret_cert, char **ret_key) MUST_USE;

#endif
