/* SPDX-License-Identifier: MIT */
/* Contexts: what they are made of and what is refused, which certificate is shown for which name, staples, key logs, identities; certificates looked at
 * and made. */
#include "io/tls.h"

#include "base/err.h"
#include "io/tls_inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/net.h"
#include "support/tls_kit.h"

static struct tls_error error;
static struct tls_ctx *ctx;

static int setup(void **state)
{
    UNUSED(state);
    kit_begin();
    error = (struct tls_error){0};
    ctx = NULL;
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    tls_ctx_unref(ctx);
    ctx = NULL;
    kit_end();
    return 0;
}

static void again(void)
{
    conn_close(&kit_cl.conn);
    conn_close(&kit_sv.conn);
    net_turns(1);
    kit_side_init(&kit_cl);
    kit_side_init(&kit_sv);
}

/* ---- what is refused ---- */

static void expect_refused(struct tls_pair pair, unsigned what, const char *text)
{
    struct tls_pair pairs[2] = {kit_pair(&kit_server), pair};
    struct tls_server_conf conf = {.pairs = pairs, .n_pairs = 2};

    assert_int_equal(tls_server_ctx_new(kit_lib, &conf, &ctx, &error), ERR_SYNTAX);
    assert_null(ctx);
    assert_int_equal(error.pair, 1);
    assert_int_equal(error.what, what);
    if (text)
        assert_string_equal(error.text, text);
    assert_true(*error.text);
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_bad_pairs(void **state)
{
    static const char broken[] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    struct tls_pair good = kit_pair(&kit_server), pair;
    char *locked;
    BIO *b = BIO_new(BIO_s_mem());

    UNUSED(state);
    pair = good;
    pair.cert = SLICE_NONE;
    expect_refused(pair, TLS_WHAT_CERT, "there is no certificate in it");
    pair.cert = SLICE("hello\n");
    expect_refused(pair, TLS_WHAT_CERT, "there is no certificate in it");
    pair.cert = slice_str(broken);
    expect_refused(pair, TLS_WHAT_CERT, NULL);
    pair = good;
    pair.cert.n -= 40; /* cut off */
    expect_refused(pair, TLS_WHAT_CERT, NULL);
    pair = good;
    pair.key = SLICE("hello\n");
    expect_refused(pair, TLS_WHAT_KEY, "there is no private key in it");
    pair.key = slice_str(kit_ca.key_pem);
    expect_refused(pair, TLS_WHAT_KEY, "the key does not belong to the certificate");
    PEM_write_bio_PKCS8PrivateKey(b, kit_server.key, EVP_aes_128_cbc(), "word", 4, NULL, NULL);
    locked = kit_text(b);
    pair.key = slice_str(locked);
    expect_refused(pair, TLS_WHAT_KEY, "the key is encrypted, and there is nobody to ask for its password");
    mem_free(locked);
    pair = good;
    pair.staple = SLICE("no response");
    expect_refused(pair, TLS_WHAT_STAPLE, "it is no successful OCSP response in DER");
}

static void test_a_weak_key(void **state)
{
    struct kit_cert weak = {.x = NULL};
    struct tls_pair pair;

    UNUSED(state);
    weak = kit_cert((struct kit_want){.cn = "weak", .san = "DNS:weak.test"});
    X509_free(weak.x);
    EVP_PKEY_free(weak.key);
    weak.key = EVP_RSA_gen(1024);
    weak.x = X509_new();
    X509_set_version(weak.x, X509_VERSION_3);
    X509_time_adj_ex(X509_getm_notBefore(weak.x), -1, 0, NULL);
    X509_time_adj_ex(X509_getm_notAfter(weak.x), 1, 0, NULL);
    X509_set_pubkey(weak.x, weak.key);
    assert_true(X509_sign(weak.x, weak.key, EVP_sha256()) > 0);
    mem_free(weak.pem);
    mem_free(weak.key_pem);
    {
        BIO *b = BIO_new(BIO_s_mem()), *k = BIO_new(BIO_s_mem());

        PEM_write_bio_X509(b, weak.x);
        PEM_write_bio_PrivateKey(k, weak.key, NULL, NULL, 0, NULL, NULL);
        weak.pem = kit_text(b);
        weak.key_pem = kit_text(k);
    }
    pair = kit_pair(&weak);
    expect_refused(pair, TLS_WHAT_CERT, "ee key too small");
    kit_cert_free(&weak);
}

static void test_bad_authorities(void **state)
{
    struct tls_pair pair = kit_pair(&kit_server);
    struct tls_server_conf conf = {.pairs = &pair, .n_pairs = 1, .clients = TLS_CLIENT_REQUIRED, .client_ca = SLICE("nothing")};
    struct tls_client_conf client = {.verify = true, .trust = SLICE("nothing")};

    UNUSED(state);
    assert_int_equal(tls_server_ctx_new(kit_lib, &conf, &ctx, &error), ERR_SYNTAX);
    assert_int_equal(error.what, TLS_WHAT_CLIENT_CA);
    assert_string_equal(error.text, "there is no certificate in it");
    assert_int_equal(tls_client_ctx_new(kit_lib, &client, &ctx, &error), ERR_SYNTAX);
    assert_int_equal(error.what, TLS_WHAT_TRUST);
    client.trust = slice_str(kit_ca.pem);
    client.pair = kit_pair(&kit_server);
    client.pair.key = slice_str(kit_ca.key_pem);
    assert_int_equal(tls_client_ctx_new(kit_lib, &client, &ctx, &error), ERR_SYNTAX);
    assert_int_equal(error.what, TLS_WHAT_KEY);
    conf.n_pairs = 0;
    assert_int_equal(tls_server_ctx_new(kit_lib, &conf, &ctx, &error), ERR_SYNTAX);
    conf.n_pairs = TLS_PAIRS_MAX + 1;
    assert_int_equal(tls_server_ctx_new(kit_lib, &conf, &ctx, &error), ERR_SYNTAX);
}

static X509 *first_of_file(const char *path)
{
    FILE *f = fopen(path, "r");
    X509 *x;

    assert_non_null(f);
    x = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    assert_non_null(x);
    return x;
}

/* The system's store: an authority of it is found, whether it was read or is asked by name. */
static void test_system_store(void **state)
{
    struct tls_client_conf client = {.verify = true};
    X509_OBJECT *found = X509_OBJECT_new();
    X509_STORE_CTX *sc = X509_STORE_CTX_new();
    X509 *authority;

    UNUSED(state);
    if (!tls_system_is_there()) {
        X509_OBJECT_free(found);
        X509_STORE_CTX_free(sc);
        skip();
    }
    assert_true(found && sc);
    assert_int_equal(tls_client_ctx_new(kit_lib, &client, &ctx, &error), 0);
    authority = first_of_file(tls_system_store());
    assert_int_equal(X509_STORE_CTX_init(sc, SSL_CTX_get_cert_store(ctx->ssl), NULL, NULL), 1);
    assert_int_equal(X509_STORE_CTX_get_by_subject(sc, X509_LU_X509, X509_get_subject_name(authority), found), 1);
    X509_free(authority);
    X509_OBJECT_free(found);
    X509_STORE_CTX_free(sc);
}

static void test_system_store_elsewhere(void **state)
{
    struct tls_client_conf client = {.verify = true};
    char path[] = "/tmp/ginnel-test-trust-XXXXXX";
    int fd = mkstemp(path);

    UNUSED(state);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, kit_ca.pem, strlen(kit_ca.pem)), strlen(kit_ca.pem));
    close(fd);
    setenv("SSL_CERT_FILE", path, 1);
    assert_int_equal(tls_client_ctx_new(kit_lib, &client, &ctx, &error), 0);
    assert_int_equal(sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx->ssl))), 1);
    unlink(path);
    unsetenv("SSL_CERT_FILE");
}

/* ---- identities ---- */

static void test_identities(void **state)
{
    struct tls_pair pairs[2] = {kit_pair(&kit_server), kit_pair(&kit_ca)}, other[1] = {kit_pair(&kit_ca)};
    struct tls_server_conf conf = {.pairs = pairs, .n_pairs = 1, .alpn = TLS_ALPN_H1}, c = conf;
    struct tls_client_conf client = {.verify = true, .trust = slice_str(kit_ca.pem)}, d = client;
    uint64_t id = tls_server_identity(&conf);

    UNUSED(state);
    ctx = kit_server_ctx(conf);
    assert_true(tls_ctx_identity(ctx) == id);
    assert_true(tls_server_identity(&c) == id);
    c.min = TLS_1_2; /* what 0 is */
    assert_true(tls_server_identity(&c) == id);
    c.min = TLS_1_3;
    assert_true(tls_server_identity(&c) != id);
    c = conf;
    c.n_pairs = 2;
    assert_true(tls_server_identity(&c) != id);
    c.n_pairs = 1;
    c.pairs = other;
    assert_true(tls_server_identity(&c) != id);
    c = conf;
    c.alpn |= TLS_ALPN_H2;
    assert_true(tls_server_identity(&c) != id);
    c = conf;
    c.clients = TLS_CLIENT_OPTIONAL;
    assert_true(tls_server_identity(&c) != id);
    id = tls_client_identity(&client);
    assert_true(tls_client_identity(&d) == id);
    d.verify = false;
    assert_true(tls_client_identity(&d) != id);
    d = client;
    d.trust = slice_str(kit_server.pem);
    assert_true(tls_client_identity(&d) != id);
    d = client;
    d.pair = pairs[0];
    assert_true(tls_client_identity(&d) != id);
    d = client;
    d.trust = SLICE_NONE;
    assert_true(tls_client_identity(&d) != id);
    assert_true(tls_client_identity(&d) == tls_client_identity(&d));
}

/* ---- which certificate for which name ---- */

static void shown_for(struct tls_ctx *client, const char *host, const char *subject)
{
    kit_accept(ctx);
    kit_connect(client, kit_peer(host, TLS_ALPN_H1));
    kit_shake();
    if (kit_cl.state != IO_OK)
        fail_msg("%s: %s", host, kit_failure(&kit_cl));
    kit_expect_up();
    assert_string_equal(conn_tls_facts(kit_cl.conn)->common_name.p, subject);
    again();
}

static void refused_for(struct tls_ctx *client, const char *host, const char *text)
{
    kit_accept(ctx);
    kit_connect(client, kit_peer(host, TLS_ALPN_H1));
    kit_shake();
    assert_int_equal(kit_cl.state, IO_ERR);
    assert_int_equal(conn_tls_facts(kit_cl.conn)->failure, TLS_CERTIFICATE);
    assert_string_equal(kit_failure(&kit_cl), text);
    again();
}

static void test_names(void **state)
{
    struct kit_cert c[] = {
        kit_cert((struct kit_want){.cn = "first", .san = "DNS:first.test", .issuer = &kit_ca}),
        kit_cert((struct kit_want){.cn = "wild", .san = "DNS:*.wild.test", .issuer = &kit_ca}),
        kit_cert((struct kit_want){.cn = "exact", .san = "DNS:Exact.Wild.test,DNS:second.test", .issuer = &kit_ca}),
        kit_cert((struct kit_want){.cn = "address", .san = "IP:192.0.2.9,IP:2001:db8::9", .issuer = &kit_ca}),
        kit_cert((struct kit_want){.cn = "common.test", .issuer = &kit_ca}),
        kit_cert((struct kit_want){.cn = "later", .san = "DNS:second.test", .issuer = &kit_ca}),
    };
    struct tls_ctx *client = kit_client_ctx((struct tls_client_conf){.verify = true});
    struct tls_pair pairs[ARRAY_LEN(c)];

    UNUSED(state);
    for (unsigned i = 0; i < ARRAY_LEN(c); i++)
        pairs[i] = kit_pair(&c[i]);
    ctx = kit_server_ctx((struct tls_server_conf){.pairs = pairs, .n_pairs = ARRAY_LEN(c), .alpn = TLS_ALPN_H1});
    shown_for(client, "first.test", "first");
    shown_for(client, "one.wild.test", "wild");
    shown_for(client, "ONE.WILD.TEST", "wild");
    shown_for(client, "exact.wild.test", "exact");
    shown_for(client, "second.test", "exact");
    shown_for(client, "second.test.", "exact");
    /* A wildcard is one label. */
    refused_for(client, "a.b.wild.test", "the certificate of a.b.wild.test is for first.test, not for a.b.wild.test");
    refused_for(client, "wild.test", "the certificate of wild.test is for first.test, not for wild.test");
    refused_for(client, "unknown.test", "the certificate of unknown.test is for first.test, not for unknown.test");
    refused_for(client, "192.0.2.9", "the certificate of 192.0.2.9 is for first.test, not for 192.0.2.9");
    /* Old certificates are found, and not believed. */
    refused_for(client, "common.test", "the certificate of common.test is for no host at all: it has no names, and its common name is not looked at");
    tls_ctx_unref(client);
    for (unsigned i = 0; i < ARRAY_LEN(c); i++)
        kit_cert_free(&c[i]);
}

/* Who connects to an address sends no name: the one that was connected to counts. */
static void test_address(void **state)
{
    struct kit_cert c[] = {
        kit_cert((struct kit_want){.cn = "first", .san = "DNS:first.test", .issuer = &kit_ca}),
        kit_cert((struct kit_want){.cn = "loopback", .san = "IP:127.0.0.1", .issuer = &kit_ca}),
    };
    struct tls_pair pairs[] = {kit_pair(&c[0]), kit_pair(&c[1])};
    struct tls_ctx *client = kit_client_ctx((struct tls_client_conf){.verify = true});
    struct tls_peer peer = kit_peer("127.0.0.1", TLS_ALPN_H1);
    struct conn *server_lower, *client_lower;
    int fd[2];

    UNUSED(state);
    ctx = kit_server_ctx((struct tls_server_conf){.pairs = pairs, .n_pairs = 2, .alpn = TLS_ALPN_H1});
    net_pair(fd, false);
    assert_int_equal(conn_tcp_new(&net_loop, fd[0], false, &server_lower), 0);
    assert_int_equal(conn_tcp_new(&net_loop, fd[1], false, &client_lower), 0);
    assert_int_equal(conn_tls_accept(&server_lower, ctx, SLICE_NONE, &kit_sv.conn), 0);
    assert_int_equal(conn_tls_connect(&client_lower, client, &peer, &kit_cl.conn), 0);
    kit_own(&kit_sv);
    kit_own(&kit_cl);
    NET_UNTIL((kit_try(&kit_cl), kit_try(&kit_sv), kit_cl.state != IO_AGAIN && kit_sv.state != IO_AGAIN));
    kit_expect_up();
    assert_string_equal(conn_tls_facts(kit_cl.conn)->common_name.p, "loopback");
    assert_int_equal(conn_tls_facts(kit_sv.conn)->sni.n, 0);
    tls_ctx_unref(client);
    kit_cert_free(&c[0]);
    kit_cert_free(&c[1]);
}

/* One name with an RSA and an EC key: each client gets what it can read. */
static void test_two_kinds_of_key(void **state)
{
    struct kit_cert c[] = {
        kit_cert((struct kit_want){.cn = "other", .san = "DNS:other.test", .issuer = &kit_ca}),
        kit_cert((struct kit_want){.cn = "ec", .san = "DNS:both.test", .issuer = &kit_ca}),
        kit_cert((struct kit_want){.cn = "rsa", .san = "DNS:both.test", .issuer = &kit_ca, .rsa = true}),
    };
    struct tls_pair pairs[] = {kit_pair(&c[0]), kit_pair(&c[1]), kit_pair(&c[2])};
    static struct {
        char sigalgs[32];
        const char *name;
    } rows[] = {{"ECDSA+SHA256:RSA+SHA256", "ec"}, {"RSA-PSS+SHA256", "rsa"}, {"ECDSA+SHA256", "ec"}};

    UNUSED(state);
    for (int first = 0; first < 2; first++) {
        ctx = kit_server_ctx((struct tls_server_conf){.pairs = pairs + first, .n_pairs = (unsigned)(3 - first), .alpn = TLS_ALPN_H1});
        for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
            struct tls_ctx *client = kit_client_ctx((struct tls_client_conf){.verify = true});

            SSL_CTX_set1_sigalgs_list(client->ssl, rows[i].sigalgs);
            shown_for(client, "both.test", rows[i].name);
            tls_ctx_unref(client);
        }
        tls_ctx_unref(ctx);
    }
    ctx = NULL;
    for (unsigned i = 0; i < ARRAY_LEN(c); i++)
        kit_cert_free(&c[i]);
}

/* ---- staples, key logs ---- */

static char stapled[4096];
static size_t n_stapled;

static int take_staple(SSL *ssl, void *owner)
{
    const unsigned char *p;
    long n = SSL_get_tlsext_status_ocsp_resp(ssl, &p);

    UNUSED(owner);
    n_stapled = n > 0 ? (size_t)n : 0;
    if (n_stapled)
        memcpy(stapled, p, min_size(n_stapled, sizeof(stapled)));
    return 1;
}

/* A response with nothing but its status in it would be refused: it is signed by the authority. */
static char *make_staple(size_t *ret_n)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha256(), kit_server.x, kit_ca.x);
    ASN1_TIME *now = X509_gmtime_adj(NULL, 0), *next = X509_gmtime_adj(NULL, 86400);
    unsigned char *der = NULL;
    OCSP_RESPONSE *r;
    char *copy;
    int n;

    assert_non_null(OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, NULL, now, next));
    assert_true(OCSP_basic_sign(basic, kit_ca.x, kit_ca.key, EVP_sha256(), NULL, 0));
    r = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    n = i2d_OCSP_RESPONSE(r, &der);
    assert_true(n > 0);
    copy = mem_dup(der, (size_t)n);
    *ret_n = (size_t)n;
    OPENSSL_free(der);
    OCSP_RESPONSE_free(r);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(now);
    ASN1_TIME_free(next);
    return copy;
}

static void test_staple(void **state)
{
    struct tls_pair pair = kit_pair(&kit_server);
    struct tls_ctx *client = kit_client_ctx((struct tls_client_conf){.verify = true});
    size_t n;
    char *der = make_staple(&n);

    UNUSED(state);
    pair.staple = slice_of(der, n);
    SSL_CTX_set_tlsext_status_type(client->ssl, TLSEXT_STATUSTYPE_ocsp);
    SSL_CTX_set_tlsext_status_cb(client->ssl, take_staple);
    for (int with = 0; with < 2; with++) {
        if (!with)
            pair.staple.n = 0;
        ctx = kit_server_ctx((struct tls_server_conf){.pairs = &pair, .n_pairs = 1, .alpn = TLS_ALPN_H1});
        pair.staple.n = n;
        kit_accept(ctx);
        kit_connect(client, kit_peer("server.test", TLS_ALPN_H1));
        kit_shake();
        kit_expect_up();
        assert_int_equal(n_stapled, with ? n : 0);
        if (with)
            assert_memory_equal(stapled, der, n);
        again();
        tls_ctx_unref(ctx);
    }
    ctx = NULL;
    tls_ctx_unref(client);
    mem_free(der);
}

static char keylog[2][4096];

static void log_line(void *owner, const char *line)
{
    char *to = owner;

    strcat(to, line);
    strcat(to, "\n");
}

static void test_keylog(void **state)
{
    UNUSED(state);
    keylog[0][0] = keylog[1][0] = '\0';
    kit_up((struct tls_server_conf){.alpn = TLS_ALPN_H1, .keylog = log_line, .keylog_owner = keylog[0]},
           (struct tls_client_conf){.keylog = log_line, .keylog_owner = keylog[1]}, kit_peer("server.test", TLS_ALPN_H1));
    kit_expect_up();
    assert_non_null(strstr(keylog[0], "CLIENT_TRAFFIC_SECRET_0 "));
    assert_non_null(strstr(keylog[0], "EXPORTER_SECRET "));
    assert_int_equal(strlen(keylog[0]), strlen(keylog[1]));
}

/* ---- looking and making ---- */

static void test_self_signed(void **state)
{
    static const char *const names[] = {"proxy.test", "127.0.0.1", "::1", NULL}, *const none[] = {NULL};
    struct tls_cert_info info;
    struct tls_pair pair;
    char *cert, *key;
    time_t now = time(NULL);

    UNUSED(state);
    assert_int_equal(tls_self_signed(none, 1, &cert, &key), ERR_RANGE);
    assert_int_equal(tls_self_signed(names, 397, &cert, &key), 0);
    assert_int_equal(tls_cert_look(slice_str(cert), &info), 0);
    assert_string_equal(info.subject, "CN=proxy.test");
    assert_string_equal(info.issuer, "CN=proxy.test");
    assert_string_equal(info.names, "proxy.test, 127.0.0.1, ::1");
    assert_in_range(now - info.not_before_s, 3000, 4200);
    assert_in_range(info.not_after_s - now, 396 * 86400, 397 * 86400 + 10);
    pair = (struct tls_pair){.cert = slice_str(cert), .key = slice_str(key)};
    ctx = kit_server_ctx((struct tls_server_conf){.pairs = &pair, .n_pairs = 1});
    for (int i = 0; names[i]; i++) {
        struct tls_ctx *client = kit_client_ctx((struct tls_client_conf){.verify = true, .trust = slice_str(cert)});

        kit_accept(ctx);
        kit_connect(client, kit_peer(names[i], TLS_ALPN_NONE));
        kit_shake();
        kit_expect_up();
        assert_memory_equal(conn_tls_facts(kit_cl.conn)->fingerprint, info.sha256, sizeof(info.sha256));
        again();
        tls_ctx_unref(client);
    }
    mem_free(cert);
    mem_free(key);
}

static void test_cert_look(void **state)
{
    struct tls_cert_info info;
    struct kit_cert odd = kit_cert((struct kit_want){.cn = "line\nbreak", .san = "DNS:a.test,email:x@a.test,URI:spiffe://a/b"});

    UNUSED(state);
    assert_int_equal(tls_cert_look(slice_str(odd.pem), &info), 0);
    assert_null(strchr(info.subject, '\n'));
    assert_string_equal(info.names, "a.test");
    assert_int_equal(tls_cert_look(SLICE(""), &info), ERR_SYNTAX);
    assert_int_equal(tls_cert_look(slice_str(odd.key_pem), &info), ERR_SYNTAX);
    assert_int_equal(ERR_peek_error(), 0);
    kit_cert_free(&odd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bad_pairs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_weak_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_authorities, setup, teardown),
        cmocka_unit_test_setup_teardown(test_system_store, setup, teardown),
        cmocka_unit_test_setup_teardown(test_system_store_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_identities, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_address, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_kinds_of_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_staple, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keylog, setup, teardown),
        cmocka_unit_test_setup_teardown(test_self_signed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cert_look, setup, teardown),
    };

    return cmocka_run_group_tests(tests, kit_group_setup, kit_group_teardown);
}
