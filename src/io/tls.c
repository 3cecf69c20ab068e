/* SPDX-License-Identifier: MIT */
/* tls: what contexts of both roles have in common, and OpenSSL's beginning. Its memory comes from mem_*, so that `capacity: memory` sees it and
 * tests can refuse it; it is counted whichever thread takes it, since the house makes what workers use and free. OpenSSL's own configuration file is
 * not read: what ginnel does is in ginnel's. Called by the house, the commands, and conn_tls.
 */
#include "io/tls_inside.h"

#include "base/check.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- OpenSSL's memory ---- */

static void *lib_alloc(size_t n, const char *file, int line)
{
    bool was;
    void *p;

    UNUSED(file);
    UNUSED(line);
    if (!n)
        return NULL;
    was = mem_count(true);
    p = mem_alloc(n);
    if (!was)
        mem_count(false);
    return p;
}

static void lib_free(void *p, const char *file, int line)
{
    bool was;

    UNUSED(file);
    UNUSED(line);
    if (!p)
        return;
    was = mem_count(true);
    mem_free(p);
    if (!was)
        mem_count(false);
}

static void *lib_grow(void *p, size_t n, const char *file, int line)
{
    bool was;

    if (!p)
        return lib_alloc(n, file, line);
    if (!n) {
        lib_free(p, file, line);
        return NULL;
    }
    was = mem_count(true);
    p = mem_grow(p, n);
    if (!was)
        mem_count(false);
    return p;
}

void *tls_zalloc(size_t n)
{
    void *p = lib_alloc(n, NULL, 0);

    return p ? memset(p, 0, n) : NULL;
}

char *tls_dup(struct slice s)
{
    char *p = lib_alloc(s.n + 1, NULL, 0);

    if (!p)
        return NULL;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

void tls_free(void *p)
{
    lib_free(p, NULL, 0);
}

static void begin_once(void)
{
    /* Refused where somebody has used OpenSSL before: then its memory is not counted, and nothing else differs. */
    CRYPTO_set_mem_functions(lib_alloc, lib_grow, lib_free);
    /* Threads may still run when the process exits. */
    OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
}

void tls_begin(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, begin_once);
}

struct tls_lib *tls_lib_new(void)
{
    struct tls_lib *lib;

    tls_begin();
    lib = tls_zalloc(sizeof(*lib));
    if (!lib)
        return NULL;
    lib->ctx = OSSL_LIB_CTX_new();
    lib->provider = lib->ctx ? OSSL_PROVIDER_load(lib->ctx, "default") : NULL;
    lib->ticket_cipher = lib->provider ? EVP_CIPHER_fetch(lib->ctx, "AES-256-CBC", NULL) : NULL;
    if (lib->ticket_cipher)
        return lib;
    ERR_clear_error();
    tls_lib_free(lib);
    return NULL;
}

void tls_lib_free(struct tls_lib *lib)
{
    if (!lib)
        return;
    EVP_CIPHER_free(lib->ticket_cipher);
    if (lib->provider)
        OSSL_PROVIDER_unload(lib->provider);
    OSSL_LIB_CTX_free(lib->ctx);
    tls_free(lib);
}

/* ---- errors ---- */

bool tls_refused(void)
{
    return ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE || ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;
}

int tls_blame(struct tls_error *e, unsigned pair, unsigned what, const char *text)
{
    bool refused = tls_refused();
    const char *own = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    if (refused)
        return ERR_NOMEM;
    if (!text)
        text = own ? own : "OpenSSL does not take it";
    e->pair = pair;
    e->what = what;
    snprintf(e->text, sizeof(e->text), "%s", text);
    return ERR_SYNTAX;
}

/* ---- contexts ---- */

struct tls_ctx *tls_ctx_of(const SSL *ssl)
{
    return OBJ_CAST(struct tls_ctx, SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)), TLS_CTX_MAGIC);
}

static void keylog_line(const SSL *ssl, const char *line)
{
    struct tls_ctx *c = tls_ctx_of(ssl);

    c->keylog(c->keylog_owner, line);
}

void tls_ctx_keylog(struct tls_ctx *c, void (*keylog)(void *owner, const char *line), void *owner)
{
    c->keylog = keylog;
    c->keylog_owner = owner;
    SSL_CTX_set_keylog_callback(c->ssl, keylog ? keylog_line : NULL);
}

/* No renegotiation, no compression; buffers are given back when empty; writes may come again from another place. Reading takes what there is. */
static void set_ways(SSL_CTX *ssl)
{
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_clear_mode(ssl, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_read_ahead(ssl, 1);
}

int tls_ctx_begin(struct tls_lib *lib, bool server, enum tls_version min, struct tls_ctx **ret_ctx)
{
    struct tls_ctx *c = tls_zalloc(sizeof(*c));

    if (!c)
        return ERR_NOMEM;
    c->magic = TLS_CTX_MAGIC;
    atomic_init(&c->refs, 1);
    c->lib = lib;
    c->is_server = server;
    if (!server)
        tls_client_init(&c->client);
    c->ssl = SSL_CTX_new_ex(lib->ctx, NULL, server ? TLS_server_method() : TLS_client_method());
    if (!c->ssl || !SSL_CTX_set_app_data(c->ssl, c) || !SSL_CTX_set_min_proto_version(c->ssl, min == TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION)) {
        ERR_clear_error();
        tls_ctx_unref(c);
        return ERR_NOMEM;
    }
    set_ways(c->ssl);
    *ret_ctx = c;
    return 0;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *c)
{
    OBJ_CHECK(c, TLS_CTX_MAGIC);
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void tls_ctx_unref(struct tls_ctx *c)
{
    if (!c)
        return;
    OBJ_CHECK(c, TLS_CTX_MAGIC);
    if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
        return;
    if (c->is_server)
        tls_server_done(&c->server);
    else
        tls_client_done(&c->client);
    SSL_CTX_free(c->ssl);
    c->magic = OBJ_DEAD;
    tls_free(c);
}

/* ---- what a context is made of ---- */

const char *tls_system_store(void)
{
    /* Debian, Red Hat, SUSE, BSD. Whether it is read or asked by name: tls_client.c. */
    static const char *const known[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
                                        "/etc/ssl/cert.pem"};
    const char *path = secure_getenv(X509_get_default_cert_file_env());

    if (path && *path)
        return path;
    if (access(X509_get_default_cert_file(), R_OK) == 0)
        return X509_get_default_cert_file();
    for (unsigned i = 0; i < ARRAY_LEN(known); i++)
        if (access(known[i], R_OK) == 0)
            return known[i];
    return NULL;
}

unsigned tls_ctx_alpn(const struct tls_ctx *c)
{
    return c->client.alpn;
}

uint64_t tls_ctx_identity(const struct tls_ctx *c)
{
    return c->identity;
}

static void add_slice(struct hash_wide *h, struct slice s)
{
    hash_wide_add(h, s.p ? s.p : "", s.n);
}

static void add_number(struct hash_wide *h, uint64_t v)
{
    hash_wide_add(h, &v, sizeof(v));
}

static void add_pair(struct hash_wide *h, const struct tls_pair *p)
{
    add_slice(h, p->cert);
    add_slice(h, p->key);
    add_slice(h, p->staple);
}

static uint64_t finish(struct hash_wide *h)
{
    unsigned char sum[HASH_WIDE_LEN];
    uint64_t v;

    hash_wide_done(h, sum);
    memcpy(&v, sum, sizeof(v));
    return v;
}

uint64_t tls_server_identity(const struct tls_server_conf *conf)
{
    struct hash_wide h;

    hash_wide_init(&h);
    add_number(&h, 1);
    add_number(&h, conf->n_pairs);
    for (unsigned i = 0; i < conf->n_pairs; i++)
        add_pair(&h, &conf->pairs[i]);
    add_number(&h, conf->clients);
    add_slice(&h, conf->client_ca);
    add_number(&h, conf->min == TLS_1_3);
    add_number(&h, conf->alpn);
    return finish(&h);
}

/* The system's store is not its bytes but its file's state: an update of it makes another identity. */
static void add_system_store(struct hash_wide *h)
{
    const char *path = tls_system_store();
    struct stat st = {0};

    if (path && stat(path, &st) == 0) {
        add_number(h, (uint64_t)st.st_mtim.tv_sec);
        add_number(h, (uint64_t)st.st_mtim.tv_nsec);
        add_number(h, (uint64_t)st.st_size);
    }
}

bool tls_system_is_there(void)
{
    return tls_system_store() != NULL;
}

uint64_t tls_client_identity(const struct tls_client_conf *conf)
{
    struct hash_wide h;

    hash_wide_init(&h);
    add_number(&h, 2);
    add_slice(&h, conf->trust);
    add_number(&h, conf->system);
    if ((!conf->trust.n || conf->system) && conf->verify)
        add_system_store(&h);
    add_number(&h, conf->alpn);
    add_number(&h, conf->verify);
    add_pair(&h, &conf->pair);
    add_number(&h, conf->min == TLS_1_3);
    return finish(&h);
}
