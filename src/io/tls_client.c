/* SPDX-License-Identifier: MIT */
/* tls_client: contexts of the client role: whom to trust, what to show, and the sessions that may be resumed. A session is resumed under the context
 * that has verified it alone, towards the same name, port and ALPN. A context and its sessions are used by one thread at a time: its worker's.
 * TLS 1.3's are used once (RFC 8446 C.4). Called by the makers of contexts and conn_tls.
 */
#include "io/tls_inside.h"

#include "base/err.h"
#include "base/hash.h"

#include <dirent.h>
#include <stdio.h>

enum { SESSION_LIFE_S = 2 * 3600, SESSIONS_A_PEER = 4 };

struct kept {
    struct list link; /* of all */
    struct list peer; /* in its bucket */
    SSL_SESSION *session;
    uint64_t hash;
    struct slice key;
    char *text; /* the key's */
};

/* ---- sessions ---- */

size_t tls_session_key(char to[TLS_KEY_MAX], struct slice host, uint16_t port, unsigned alpn)
{
    int n = snprintf(to, TLS_KEY_MAX, "%u %u " SLICE_FMT, port, alpn, SLICE_ARG(host));

    for (int i = 0; i < n && i < TLS_KEY_MAX; i++)
        to[i] = slice_lower(to[i]);
    return min_size((size_t)n, TLS_KEY_MAX - 1);
}

static void forget(struct tls_client *c, struct kept *k)
{
    list_del(&k->link);
    list_del(&k->peer);
    c->n_sessions--;
    SSL_SESSION_free(k->session);
    tls_free(k->text);
    tls_free(k);
}

static bool is_key(const struct kept *k, struct slice key, uint64_t hash)
{
    return k->hash == hash && slice_eq(k->key, key);
}

/* No longer than the certificate that it stands for. */
static bool session_is_good(SSL_SESSION *s, int64_t now_s)
{
    time_t now = (time_t)now_s;
    long life = SSL_SESSION_get_timeout(s);
    int64_t begun = SSL_SESSION_get_time(s);
    const X509 *cert = SSL_SESSION_get0_peer(s);

    if (life > SESSION_LIFE_S)
        life = SESSION_LIFE_S;
    return SSL_SESSION_is_resumable(s) && now_s < begun + life && (!cert || X509_cmp_time(X509_get0_notAfter(cert), &now) > 0);
}

SSL_SESSION *tls_session_take(struct tls_ctx *ctx, struct slice key, int64_t now_s)
{
    uint64_t hash = hash_bytes(key.p, key.n);
    struct tls_client *c = &ctx->client;

    LIST_EACH(it, &c->buckets[hash % TLS_BUCKETS])
    {
        struct kept *k = LIST_ENTRY(it, struct kept, peer);
        SSL_SESSION *s = k->session;

        if (!is_key(k, key, hash))
            continue;
        if (!session_is_good(s, now_s)) {
            forget(c, k);
            continue;
        }
        SSL_SESSION_up_ref(s);
        if (SSL_SESSION_get_protocol_version(s) >= TLS1_3_VERSION)
            forget(c, k);
        return s;
    }
    return NULL;
}

/* The oldest of a peer that has too many; then the oldest of all. */
static void make_room(struct tls_client *c, struct slice key, uint64_t hash)
{
    unsigned n = 0;

    LIST_EACH(it, &c->buckets[hash % TLS_BUCKETS])
    {
        struct kept *k = LIST_ENTRY(it, struct kept, peer);

        if (is_key(k, key, hash) && ++n >= SESSIONS_A_PEER)
            forget(c, k);
    }
    if (c->n_sessions >= TLS_SESSIONS)
        forget(c, LIST_ENTRY(c->sessions.prev, struct kept, link));
}

void tls_session_keep(struct tls_ctx *ctx, struct slice key, SSL_SESSION *session)
{
    uint64_t hash = hash_bytes(key.p, key.n);
    struct tls_client *c = &ctx->client;
    struct kept *k = tls_zalloc(sizeof(*k));

    if (k)
        k->text = tls_dup(key);
    if (!k || !k->text) {
        tls_free(k);
        SSL_SESSION_free(session);
        return;
    }
    make_room(c, key, hash);
    k->session = session;
    k->hash = hash;
    k->key = slice_of(k->text, key.n);
    list_push_front(&c->sessions, &k->link);
    list_push_front(&c->buckets[hash % TLS_BUCKETS], &k->peer);
    c->n_sessions++;
}

void tls_client_init(struct tls_client *c)
{
    list_init(&c->sessions);
    for (unsigned i = 0; i < TLS_BUCKETS; i++)
        list_init(&c->buckets[i]);
}

void tls_client_done(struct tls_client *c)
{
    while (!list_empty(&c->sessions))
        forget(c, LIST_ENTRY(c->sessions.next, struct kept, link));
}

/* ---- making ---- */

/* "5ed36f99.0": OpenSSL's name for a file with a certificate, by its subject. */
static bool is_hashed(const char *name)
{
    return strlen(name) == 10 && strspn(name, "0123456789abcdef") == 8 && strcmp(name + 8, ".0") == 0;
}

/* The folder of the store, where authorities are found in it by name. */
static bool hashed_folder(const char *path, char *to, size_t cap)
{
    const char *slash = strrchr(path, '/');
    const struct dirent *e;
    bool found = false;
    DIR *d;

    if (!slash || (size_t)(slash - path) >= cap || secure_getenv("SSL_CERT_FILE"))
        return false;
    memcpy(to, path, (size_t)(slash - path));
    to[slash - path] = '\0';
    d = opendir(to);
    while (d && !found && (e = readdir(d)))
        found = is_hashed(e->d_name);
    if (d)
        closedir(d);
    return found;
}

/* The whole store takes 40 ms and 1 MB of each worker, and most need two or three authorities of it: where they can be found by name, each is read when a peer first shows what
 * it has signed. Without a store nobody is trusted. */
static int trust_system(struct tls_ctx *c, struct tls_error *ret_error)
{
    const char *path = tls_system_store();
    char folder[256];

    if (!path)
        return 0;
    if (hashed_folder(path, folder, sizeof(folder))) {
        if (X509_STORE_load_path(SSL_CTX_get_cert_store(c->ssl), folder) == 1)
            return 0;
        ERR_clear_error();
    }
    if (!X509_STORE_load_file_ex(SSL_CTX_get_cert_store(c->ssl), path, c->lib->ctx, NULL))
        return tls_blame(ret_error, 0, TLS_WHAT_TRUST, NULL);
    ERR_clear_error();
    return 0;
}

static int set_trust(struct tls_ctx *c, const struct tls_client_conf *conf, struct tls_error *ret_error)
{
    if (!conf->verify) {
        SSL_CTX_set_verify(c->ssl, SSL_VERIFY_NONE, NULL);
        return 0;
    }
    SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
    if (!conf->trust.n || conf->system) {
        int r = trust_system(c, ret_error);

        if (r < 0 || !conf->trust.n)
            return r;
    }
    /* Who is named is trusted, be it an authority or the server itself. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(c->ssl), X509_V_FLAG_PARTIAL_CHAIN);
    return tls_trust_load(SSL_CTX_get_cert_store(c->ssl), NULL, c->lib->ctx, conf->trust, TLS_WHAT_TRUST, ret_error);
}

static int set_own(struct tls_ctx *c, const struct tls_client_conf *conf, struct tls_error *ret_error)
{
    struct tls_shown own = {0};
    int r;

    if (!conf->pair.cert.n)
        return 0;
    r = tls_shown_load(&own, c->lib->ctx, &conf->pair, 0, ret_error);
    if (r == 0 && SSL_CTX_use_cert_and_key(c->ssl, own.cert, own.key, own.chain, 1) != 1)
        r = tls_blame(ret_error, 0, TLS_WHAT_CERT, NULL);
    tls_shown_done(&own);
    return r;
}

int tls_client_ctx_new(struct tls_lib *lib, const struct tls_client_conf *conf, struct tls_ctx **ret_ctx, struct tls_error *ret_error)
{
    struct tls_ctx *c;
    int r = tls_ctx_begin(lib, false, conf->min, &c);

    if (r < 0)
        return r;
    c->identity = tls_client_identity(conf);
    c->client.verify = conf->verify;
    c->client.alpn = conf->alpn ? conf->alpn : TLS_ALPN_H1 | TLS_ALPN_H2;
    SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c->ssl, conn_tls_session);
    r = set_trust(c, conf, ret_error);
    if (r == 0)
        r = set_own(c, conf, ret_error);
    ERR_clear_error();
    if (r < 0) {
        tls_ctx_unref(c);
        return r;
    }
    tls_ctx_keylog(c, conf->keylog, conf->keylog_owner);
    *ret_ctx = c;
    return 0;
}
