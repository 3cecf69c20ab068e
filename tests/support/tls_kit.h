/* SPDX-License-Identifier: MIT */
/* tls_kit: certificates made on the spot, and two TLS conns over conns of memory, with the test as the network between them. Include it once a program,
 * behind cmocka.h and net.h. The certificates last for the program; a test begins with kit_begin and ends with kit_end. */
#ifndef SUPPORT_TLS_KIT_H
#define SUPPORT_TLS_KIT_H

#include "base/mem.h"
#include "io/conn_tls.h"
#include "io/openssl.h"

#include "support/mem_conn.h"

#include <time.h>

/* ---- certificates ---- */

struct kit_cert {
    X509 *x;
    EVP_PKEY *key;
    char *pem, *key_pem;
};

struct kit_want {
    const char *cn;
    const char *san;                /* as OpenSSL's configuration has it; NULL: none */
    const struct kit_cert *issuer;  /* NULL: itself */
    bool authority, rsa;
    int from_days, to_days;         /* of today; both 0: yesterday to 30 days */
};

static inline char *kit_text(BIO *b)
{
    char *p, *copy;
    long n = BIO_get_mem_data(b, &p);

    copy = mem_dup(p, (size_t)n);
    assert_non_null(copy);
    BIO_free(b);
    return copy;
}

static inline void kit_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509_EXTENSION *e;
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_true(X509_add_ext(x, e, -1));
    X509_EXTENSION_free(e);
}

static inline struct kit_cert kit_cert(struct kit_want w)
{
    struct kit_cert c = {.x = X509_new(), .key = w.rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256")};
    X509 *issuer = w.issuer ? w.issuer->x : c.x;
    static long serial;
    X509_NAME *name = X509_get_subject_name(c.x);
    BIO *b = BIO_new(BIO_s_mem()), *k = BIO_new(BIO_s_mem());

    assert_non_null(c.key);
    X509_set_version(c.x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c.x), ++serial);
    X509_time_adj_ex(X509_getm_notBefore(c.x), w.from_days || w.to_days ? w.from_days : -1, 0, NULL);
    X509_time_adj_ex(X509_getm_notAfter(c.x), w.from_days || w.to_days ? w.to_days : 30, 0, NULL);
    if (w.cn)
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)w.cn, -1, -1, 0);
    X509_set_issuer_name(c.x, X509_get_subject_name(issuer));
    X509_set_pubkey(c.x, c.key);
    kit_extension(c.x, issuer, NID_basic_constraints, w.authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (w.san)
        kit_extension(c.x, issuer, NID_subject_alt_name, w.san);
    assert_true(X509_sign(c.x, w.issuer ? w.issuer->key : c.key, EVP_sha256()) > 0);
    PEM_write_bio_X509(b, c.x);
    PEM_write_bio_PrivateKey(k, c.key, NULL, NULL, 0, NULL, NULL);
    c.pem = kit_text(b);
    c.key_pem = kit_text(k);
    return c;
}

static inline void kit_cert_free(struct kit_cert *c)
{
    X509_free(c->x);
    EVP_PKEY_free(c->key);
    mem_free(c->pem);
    mem_free(c->key_pem);
    *c = (struct kit_cert){0};
}

static inline struct tls_pair kit_pair(const struct kit_cert *c)
{
    return (struct tls_pair){.cert = slice_str(c->pem), .key = slice_str(c->key_pem)};
}

/* An authority and a server that it has signed, for the whole program. */
static struct kit_cert kit_ca, kit_server;
static struct tls_lib *kit_lib;

static inline int kit_group_setup(void **state)
{
    UNUSED(state);
    kit_lib = tls_lib_new();
    assert_non_null(kit_lib);
    kit_ca = kit_cert((struct kit_want){.cn = "Kit CA", .authority = true});
    kit_server = kit_cert((struct kit_want){.cn = "server", .san = "DNS:server.test,IP:192.0.2.7,IP:2001:db8::7", .issuer = &kit_ca});
    return 0;
}

static inline int kit_group_teardown(void **state)
{
    UNUSED(state);
    kit_cert_free(&kit_ca);
    kit_cert_free(&kit_server);
    tls_lib_free(kit_lib);
    return 0;
}

/* ---- contexts ---- */

static inline struct tls_ctx *kit_server_ctx_on(struct tls_lib *lib, struct tls_server_conf conf)
{
    struct tls_pair pair = kit_pair(&kit_server);
    struct tls_error e = {.text = ""};
    struct tls_ctx *c = NULL;

    if (!conf.n_pairs) {
        conf.pairs = &pair;
        conf.n_pairs = 1;
    }
    if (tls_server_ctx_new(lib, &conf, &c, &e) < 0)
        fail_msg("no server context: %s", e.text);
    return c;
}

static inline struct tls_ctx *kit_server_ctx(struct tls_server_conf conf)
{
    return kit_server_ctx_on(kit_lib, conf);
}

/* Trusts kit_ca, where the test does not say otherwise. */
static inline struct tls_ctx *kit_client_ctx(struct tls_client_conf conf)
{
    struct tls_error e = {.text = ""};
    struct tls_ctx *c = NULL;

    if (!conf.trust.n)
        conf.trust = slice_str(kit_ca.pem);
    if (tls_client_ctx_new(kit_lib, &conf, &c, &e) < 0)
        fail_msg("no client context: %s", e.text);
    return c;
}

/* ---- two sides and the network ---- */

struct side {
    struct mem_conn lower;
    struct conn *conn; /* the TLS one */
    struct task task;
    unsigned woken; /* bits since last looked at */
    bool fin_told;
    enum io state; /* of the handshake */
};

static struct side kit_cl, kit_sv;

static inline void kit_task_run(struct task *t, unsigned bits)
{
    CONTAINER_OF(t, struct side, task)->woken |= bits;
}

static inline void kit_side_init(struct side *s)
{
    mem_conn_init(&s->lower, &net_loop);
    s->conn = NULL;
    s->woken = 0;
    s->fin_told = false;
    s->state = IO_AGAIN;
    task_init(&s->task, &net_loop, "side", kit_task_run);
}

static inline void kit_begin(void)
{
    net_begin();
    kit_side_init(&kit_cl);
    kit_side_init(&kit_sv);
}

static inline void kit_own(struct side *s)
{
    s->conn->task = &s->task;
    s->woken = 0;
}

static inline void kit_accept(struct tls_ctx *ctx)
{
    struct conn *lower = &kit_sv.lower.conn;

    assert_int_equal(conn_tls_accept(&lower, ctx, SLICE_NONE, &kit_sv.conn), 0);
    assert_null(lower);
    kit_own(&kit_sv);
}

static inline struct tls_peer kit_peer(const char *host, unsigned alpn)
{
    struct addr a;
    struct slice name = slice_str(host);

    return (struct tls_peer){.host = name, .literal = addr_parse_host(name, 0, &a) == 0, .port = 443, .alpn = alpn};
}

static inline void kit_connect(struct tls_ctx *ctx, struct tls_peer peer)
{
    struct conn *lower = &kit_cl.lower.conn;

    assert_int_equal(conn_tls_connect(&lower, ctx, &peer, &kit_cl.conn), 0);
    assert_null(lower);
    kit_own(&kit_cl);
}

/* At most `max` bytes that `from` has written reach `to`; how many did. */
static inline size_t kit_move(struct side *from, struct side *to, size_t max)
{
    size_t n = min_size(from->lower.out_n, max);

    if (to->lower.in_at == to->lower.in_n)
        to->lower.in_at = to->lower.in_n = 0;
    if (n) {
        mem_conn_feed(&to->lower, from->lower.out, n);
        from->lower.out_n -= n;
        memmove(from->lower.out, from->lower.out + n, from->lower.out_n);
    }
    if (!from->lower.out_n && from->lower.fin_sent && !to->fin_told) {
        to->fin_told = true;
        mem_conn_fin(&to->lower);
    }
    return n;
}

/* The network carries what there is, both ways, until nobody says anything. */
static inline void kit_carry(void)
{
    size_t n;

    do {
        net_turns(2);
        n = kit_move(&kit_cl, &kit_sv, SIZE_MAX) + kit_move(&kit_sv, &kit_cl, SIZE_MAX);
    } while (n);
    net_turns(1);
}

static inline void kit_try(struct side *s)
{
    if (s->conn && s->state == IO_AGAIN)
        s->state = conn_established(s->conn);
}

/* Both handshakes to their ends, `step` bytes at a time. A side that has failed is not heard of again: the other may wait for ever. */
static inline void kit_shake_by(size_t step)
{
    size_t n;

    do {
        kit_try(&kit_cl);
        kit_try(&kit_sv);
        net_turns(1);
        n = kit_move(&kit_cl, &kit_sv, step) + kit_move(&kit_sv, &kit_cl, step);
    } while (n);
    kit_try(&kit_cl);
    kit_try(&kit_sv);
    net_turns(1);
}

static inline void kit_shake(void)
{
    kit_shake_by(SIZE_MAX);
}

static inline const char *kit_failure(const struct side *s)
{
    const char *text = conn_tls_facts(s->conn)->text;

    return text ? text : "";
}

static inline void kit_expect_up(void)
{
    if (kit_cl.state != IO_OK)
        fail_msg("client: %d %s", kit_cl.state, kit_failure(&kit_cl));
    if (kit_sv.state != IO_OK)
        fail_msg("server: %d %s", kit_sv.state, kit_failure(&kit_sv));
}

/* Contexts of this call alone, and both sides up. */
static inline void kit_up(struct tls_server_conf server, struct tls_client_conf client, struct tls_peer peer)
{
    struct tls_ctx *s = kit_server_ctx(server), *c;

    client.verify = true;
    c = kit_client_ctx(client);
    kit_accept(s);
    kit_connect(c, peer);
    tls_ctx_unref(s);
    tls_ctx_unref(c);
    kit_shake();
}

static inline void kit_send(struct side *s, const char *text)
{
    struct iovec v = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    size_t n = 0;

    assert_int_equal(conn_send(s->conn, &v, 1, &n), IO_OK);
    assert_int_equal(n, strlen(text));
}

/* What is there now has to be this text. */
static inline void kit_recv(struct side *s, const char *text)
{
    char buf[256];
    size_t n = 0;

    assert_int_equal(conn_recv(s->conn, buf, sizeof(buf), &n), IO_OK);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(buf, text, n);
}

static inline enum io kit_recv_nothing(struct side *s)
{
    char buf[16];
    size_t n = 77;
    enum io r = conn_recv(s->conn, buf, sizeof(buf), &n);

    assert_int_not_equal(r, IO_OK);
    assert_int_equal(n, 77);
    return r;
}

/* ---- a peer that is OpenSSL alone, and does what no conn of ours does ---- */

struct raw {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out; /* the SSL's */
};

static inline void raw_begin(struct raw *r, bool server)
{
    r->ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    assert_non_null(r->ctx);
    if (server) {
        assert_true(SSL_CTX_use_certificate(r->ctx, kit_server.x));
        assert_true(SSL_CTX_use_PrivateKey(r->ctx, kit_server.key));
    }
    r->ssl = NULL;
}

/* With what the test has set in the context. */
static inline void raw_ready(struct raw *r, bool server)
{
    r->ssl = SSL_new(r->ctx);
    r->in = BIO_new(BIO_s_mem());
    r->out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(r->in, -1);
    SSL_set_bio(r->ssl, r->in, r->out);
    if (server)
        SSL_set_accept_state(r->ssl);
    else
        SSL_set_connect_state(r->ssl);
}

/* What it has written reaches `to`, and the other way round; how many bytes went. */
static inline size_t raw_move(struct raw *r, struct side *to)
{
    char *p;
    size_t n = (size_t)BIO_get_mem_data(r->out, &p), m;

    if (to->lower.in_at == to->lower.in_n)
        to->lower.in_at = to->lower.in_n = 0;
    if (n) {
        mem_conn_feed(&to->lower, p, n);
        (void)BIO_reset(r->out);
    }
    m = to->lower.out_n;
    if (m)
        assert_int_equal(BIO_write(r->in, to->lower.out, (int)m), m);
    to->lower.out_n = 0;
    return n + m;
}

/* Both to their ends; the raw one's result. */
static inline int raw_shake(struct raw *r, struct side *to)
{
    size_t n;
    int done;

    do {
        done = SSL_do_handshake(r->ssl);
        kit_try(to);
        net_turns(1);
        n = raw_move(r, to);
        kit_try(to);
    } while (n);
    ERR_clear_error();
    return done;
}

static inline void raw_end(struct raw *r)
{
    SSL_free(r->ssl);
    SSL_CTX_free(r->ctx);
    ERR_clear_error();
}

static inline void kit_end(void)
{
    conn_close(&kit_cl.conn);
    conn_close(&kit_sv.conn);
    task_cancel(&kit_cl.task);
    task_cancel(&kit_sv.task);
    net_turns(2);
    /* OpenSSL's errors of this thread belong to whoever makes the next call. */
    assert_int_equal(ERR_peek_error(), 0);
    net_end();
}

#endif
