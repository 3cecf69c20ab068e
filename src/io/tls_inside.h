/* SPDX-License-Identifier: MIT */
/* tls_inside: what the rooms of TLS (tls*.c, conn_tls*.c) share. Nobody else includes it. OpenSSL is called nowhere else. */
#ifndef IO_TLS_INSIDE_H
#define IO_TLS_INSIDE_H

#include "base/list.h"
#include "io/openssl.h"
#include "io/tls.h"

struct tls_lib {
    OSSL_LIB_CTX *ctx;
    OSSL_PROVIDER *provider;
    EVP_CIPHER *ticket_cipher;
};

/* A certificate with its key, ready to be shown. */
struct tls_shown {
    X509 *cert;
    EVP_PKEY *key;
    STACK_OF(X509) *chain; /* above it; NULL: none */
    char *staple;
    size_t n_staple;
};

/* A name that a certificate is for. */
struct tls_name {
    char *text; /* lower case; an address in its bytes; of a wildcard what follows the "*" */
    size_t n;
    unsigned pair;
    enum tls_name_kind { TLS_NAME_EXACT, TLS_NAME_WILD, TLS_NAME_ADDRESS } kind;
};

struct tls_server {
    struct tls_shown *shown;
    unsigned n_shown;
    struct tls_name *names;
    unsigned n_names, names_cap;
    unsigned alpn;
    struct tls_tickets *tickets;
};

enum { TLS_BUCKETS = 256 };
struct tls_client {
    bool verify;
    unsigned alpn;
    struct list sessions; /* the newest first */
    struct list buckets[TLS_BUCKETS];
    unsigned n_sessions;
};

struct tls_ctx {
    unsigned magic;
    _Atomic unsigned refs;
    struct tls_lib *lib;
    SSL_CTX *ssl;
    uint64_t identity;
    bool is_server;
    union {
        struct tls_server server;
        struct tls_client client;
    };
    void (*keylog)(void *owner, const char *line);
    void *keylog_owner;
};
#define TLS_CTX_MAGIC 0x715c0001u

/* ---- tls.c ---- */

/* Once a process, before anything else of OpenSSL: its memory is ours, and it reads no configuration of its own. */
void tls_begin(void);
/* Counted whichever thread calls (mem_count): what the house makes a worker may free. */
void *tls_zalloc(size_t n) MUST_USE;
char *tls_dup(struct slice s) MUST_USE;
void tls_free(void *p);
/* A context with what both roles have in common. */
int tls_ctx_begin(struct tls_lib *lib, bool server, enum tls_version min, struct tls_ctx **ret_ctx) MUST_USE;
/* The tls_ctx of an SSL. */
struct tls_ctx *tls_ctx_of(const SSL *ssl);
void tls_ctx_keylog(struct tls_ctx *c, void (*keylog)(void *owner, const char *line), void *owner);
/* Says why, empties the error queue; ERR_SYNTAX, or ERR_NOMEM where OpenSSL was refused memory. text: NULL: OpenSSL's own words. */
int tls_blame(struct tls_error *e, unsigned pair, unsigned what, const char *text);
/* Whether the errors of this thread say that memory was refused. */
bool tls_refused(void);
/* The file with the certificates that this system trusts; NULL: none is where such files are. */
const char *tls_system_store(void);

/* ---- tls_server.c, tls_client.c ---- */

void tls_server_done(struct tls_server *s);
void tls_client_init(struct tls_client *c);
void tls_client_done(struct tls_client *c);

/* ---- tls_cert.c ---- */

enum { TLS_WHAT_CERT, TLS_WHAT_KEY, TLS_WHAT_CLIENT_CA, TLS_WHAT_STAPLE, TLS_WHAT_TRUST };
int tls_shown_load(struct tls_shown *s, OSSL_LIB_CTX *lib, const struct tls_pair *pair, unsigned index, struct tls_error *ret_error) MUST_USE;
void tls_shown_done(struct tls_shown *s);
/* All certificates of a PEM text into a store, and their subjects into `names` (NULL: not wanted). */
int tls_trust_load(X509_STORE *store, STACK_OF(X509_NAME) *names, OSSL_LIB_CTX *lib, struct slice pem, unsigned what,
                   struct tls_error *ret_error) MUST_USE;

/* Texts for people: cut to `cap`, NUL-terminated, without control characters. */
void tls_name_text(const X509_NAME *name, char *to, size_t cap);
void tls_names_text(const X509 *cert, char *to, size_t cap);
/* The sentence for what a certificate fails. who: whose it is; host: whom it should have been for (NULL: nobody in particular). */
void tls_verify_text(X509_STORE_CTX *sc, const char *who, const char *host, char *to, size_t cap);

/* ---- tls_tickets.c ---- */

int tls_tickets_use(struct tls_ctx *c, struct tls_tickets *t) MUST_USE;

/* ---- sessions of the client role (tls_client.c) ---- */

enum { TLS_KEY_MAX = 300 };
/* The key of the cache: port, ALPN, name. Returns its length. */
size_t tls_session_key(char to[TLS_KEY_MAX], struct slice host, uint16_t port, unsigned alpn);
/* A session to be resumed, or NULL. The caller's (SSL_SESSION_free). */
SSL_SESSION *tls_session_take(struct tls_ctx *c, struct slice key, int64_t now_s);
/* Keeps it, if there is memory for that. Takes it in any case. */
void tls_session_keep(struct tls_ctx *c, struct slice key, SSL_SESSION *session);

/* ---- conn_tls.c ---- */

/* A session came: SSL_CTX_sess_set_new_cb's. */
int conn_tls_session(SSL *ssl, SSL_SESSION *session);

#endif
