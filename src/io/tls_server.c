/* SPDX-License-Identifier: MIT */
/* tls_server: contexts of the server role: which certificate for which name, ALPN, clients' certificates, staples, tickets. One SSL_CTX shows the first
 * pair; where there are more, what fits the client's name is put in while its hello is read: all pairs of the best fit, so that one with an RSA key and
 * one with an EC key may stand for the same name. Called by OpenSSL within handshakes.
 */
#include "io/tls_inside.h"

#include "base/err.h"
#include "io/conn.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { TICKET_LIFE_S = 8 * 3600, NAMES_MAX = 65536 };

/* ---- the names of the pairs ---- */

static int add_name(struct tls_server *s, unsigned pair, enum tls_name_kind kind, struct slice text)
{
    struct tls_name *n;

    if (s->n_names == s->names_cap) {
        unsigned cap = s->names_cap ? s->names_cap * 2 : 16;
        struct tls_name *grown = cap <= NAMES_MAX ? tls_zalloc(cap * sizeof(*grown)) : NULL;

        if (!grown)
            return ERR_NOMEM;
        if (s->n_names)
            memcpy(grown, s->names, s->n_names * sizeof(*grown));
        tls_free(s->names);
        s->names = grown;
        s->names_cap = cap;
    }
    n = &s->names[s->n_names];
    *n = (struct tls_name){.text = tls_dup(text), .n = text.n, .pair = pair, .kind = kind};
    if (!n->text)
        return ERR_NOMEM;
    for (size_t i = 0; kind != TLS_NAME_ADDRESS && i < n->n; i++)
        n->text[i] = slice_lower(n->text[i]);
    s->n_names++;
    return 0;
}

static int add_dns(struct tls_server *s, unsigned pair, struct slice text)
{
    if (text.n > 2 && text.p[0] == '*' && text.p[1] == '.')
        return add_name(s, pair, TLS_NAME_WILD, slice_skip(text, 1));
    return add_name(s, pair, TLS_NAME_EXACT, text);
}

static struct slice asn1_slice(const ASN1_STRING *s)
{
    int n = ASN1_STRING_length(s);

    return slice_of(ASN1_STRING_get0_data(s), n > 0 ? (size_t)n : 0);
}

/* Where no other name stands in it, as old ones are. */
static int add_common_name(struct tls_server *s, unsigned pair, const X509 *cert)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

    return at < 0 ? 0 : add_dns(s, pair, asn1_slice(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at))));
}

static int add_names(struct tls_server *s, unsigned pair)
{
    const X509 *cert = s->shown[pair].cert;
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int r = names ? 0 : add_common_name(s, pair, cert);

    for (int i = 0; r == 0 && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

        if (g->type == GEN_DNS)
            r = add_dns(s, pair, asn1_slice(g->d.dNSName));
        else if (g->type == GEN_IPADD)
            r = add_name(s, pair, TLS_NAME_ADDRESS, asn1_slice(g->d.iPAddress));
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return r;
}

/* A wildcard stands for one label (RFC 9525 6.3). */
static bool name_fits(const struct tls_name *n, enum tls_name_kind kind, struct slice host)
{
    if (n->kind != kind)
        return false;
    if (kind == TLS_NAME_ADDRESS)
        return slice_eq(host, slice_of(n->text, n->n));
    if (kind == TLS_NAME_WILD)
        host = slice_skip(host, slice_find(host, '.'));
    return host.n == n->n && slice_eq_nocase(host, slice_of(n->text, n->n));
}

/* ---- showing one ---- */

static bool show(SSL *ssl, const struct tls_shown *s)
{
    return SSL_use_cert_and_key(ssl, s->cert, s->key, s->chain, 1) == 1;
}

static bool same_kind(const struct tls_shown *a, const struct tls_shown *b)
{
    return EVP_PKEY_get_base_id(a->key) == EVP_PKEY_get_base_id(b->key);
}

/* Of two that fit with keys of one kind the first counts. */
static bool shown_before(const struct tls_server *s, uint64_t taken, unsigned pair)
{
    for (unsigned i = 0; i < s->n_shown; i++)
        if ((taken >> i & 1) && same_kind(&s->shown[i], &s->shown[pair]))
            return true;
    return false;
}

/* The pairs for a name, as bits; 0: none. */
static uint64_t pairs_for(const struct tls_server *s, enum tls_name_kind kind, struct slice host)
{
    uint64_t taken = 0;

    for (unsigned i = 0; i < s->n_names; i++)
        if (name_fits(&s->names[i], kind, host) && !shown_before(s, taken, s->names[i].pair))
            taken |= UINT64_C(1) << s->names[i].pair;
    return taken;
}

static struct slice address_bytes(const struct addr *a, unsigned char to[16])
{
    if (a->sa.sa_family == AF_INET) {
        memcpy(to, &a->in.sin_addr, 4);
        return slice_of(to, 4);
    }
    if (a->sa.sa_family != AF_INET6)
        return SLICE_NONE;
    memcpy(to, &a->in6.sin6_addr, 16);
    return IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr) ? slice_of(to + 12, 4) : slice_of(to, 16);
}

/* Who asks for an address sends no name (RFC 6066 3): it is the one that was connected to. */
static uint64_t pairs_for_local(const struct tls_server *s, struct conn *c)
{
    unsigned char bytes[16];
    struct addr local;
    struct slice ip;

    if (!conn_tcp_local(c, &local))
        return 0;
    ip = address_bytes(&local, bytes);
    return ip.n ? pairs_for(s, TLS_NAME_ADDRESS, ip) : 0;
}

static uint64_t pairs_for_name(const struct tls_server *s, struct slice sni)
{
    unsigned char bytes[16];
    uint64_t taken;
    struct addr a;

    /* Not allowed, but it is clear what is meant. */
    if (addr_parse_host(sni, 0, &a) == 0)
        return pairs_for(s, TLS_NAME_ADDRESS, address_bytes(&a, bytes));
    if (sni.n && sni.p[sni.n - 1] == '.')
        sni.n--;
    taken = pairs_for(s, TLS_NAME_EXACT, sni);
    return taken ? taken : pairs_for(s, TLS_NAME_WILD, sni);
}

static int choose(SSL *ssl, void *owner)
{
    const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const struct tls_server *s = &tls_ctx_of(ssl)->server;
    uint64_t taken;

    UNUSED(owner);
    taken = sni ? pairs_for_name(s, slice_str(sni)) : pairs_for_local(s, SSL_get_app_data(ssl));
    if (!taken)
        return 1; /* what the context has */
    SSL_certs_clear(ssl);
    for (unsigned i = 0; i < s->n_shown; i++)
        if ((taken >> i & 1) && !show(ssl, &s->shown[i]))
            return 0;
    return 1;
}

/* Any name is taken, and kept with the session. */
static int take_name(SSL *ssl, int *ret_alert, void *owner)
{
    UNUSED(ssl);
    UNUSED(ret_alert);
    UNUSED(owner);
    return SSL_TLSEXT_ERR_OK;
}

static int staple(SSL *ssl, void *owner)
{
    const struct tls_server *s = &tls_ctx_of(ssl)->server;
    const X509 *cert = SSL_get_certificate(ssl);
    char *copy;

    UNUSED(owner);
    for (unsigned i = 0; i < s->n_shown; i++) {
        if (s->shown[i].cert != cert || !s->shown[i].staple)
            continue;
        copy = OPENSSL_memdup(s->shown[i].staple, s->shown[i].n_staple);
        if (!copy)
            return SSL_TLSEXT_ERR_NOACK;
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)s->shown[i].n_staple);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* ---- ALPN (RFC 7301 3.2; C83) ---- */

static bool offered(const unsigned char *list, unsigned n, struct slice name, const unsigned char **ret_p)
{
    for (unsigned at = 0; at + 1 < n && at + 1 + list[at] <= n; at += 1u + list[at]) {
        if (slice_eq(slice_of(list + at + 1, list[at]), name)) {
            *ret_p = list + at + 1;
            return true;
        }
    }
    return false;
}

static int choose_alpn(SSL *ssl, const unsigned char **ret_p, unsigned char *ret_n, const unsigned char *list, unsigned n, void *owner)
{
    unsigned takes = tls_ctx_of(ssl)->server.alpn;

    UNUSED(owner);
    if ((takes & TLS_ALPN_H2) && offered(list, n, SLICE("h2"), ret_p)) {
        *ret_n = 2;
        return SSL_TLSEXT_ERR_OK;
    }
    if ((takes & TLS_ALPN_H1) && offered(list, n, SLICE("http/1.1"), ret_p)) {
        *ret_n = 8;
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- tickets ---- */

/* A session is no longer good than the certificate that its client has shown. */
static SSL_TICKET_RETURN opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t n, SSL_TICKET_STATUS status, void *owner)
{
    const X509 *cert = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW ? SSL_SESSION_get0_peer(session) : NULL;

    UNUSED(name);
    UNUSED(n);
    UNUSED(owner);
    if (cert && X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    switch (status) {
    case SSL_TICKET_SUCCESS:
        /* TLS 1.3's are used once: each resumption gives the next one. */
        return SSL_version(ssl) >= TLS1_3_VERSION ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
    case SSL_TICKET_SUCCESS_RENEW:
        return SSL_TICKET_RETURN_USE_RENEW;
    default:
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
}

/* What a session of before was admitted by: who may show a certificate, and of whom. Equal in a whole fleet. */
static int set_session_context(struct tls_ctx *c, const struct tls_server_conf *conf)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    char mode = (char)('0' + conf->clients);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    unsigned n = 0;
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) && EVP_DigestUpdate(md, &mode, 1) &&
              EVP_DigestUpdate(md, conf->client_ca.n ? conf->client_ca.p : "", conf->client_ca.n) && EVP_DigestFinal_ex(md, sum, &n);

    EVP_MD_CTX_free(md);
    return ok && SSL_CTX_set_session_id_context(c->ssl, sum, n) ? 0 : ERR_NOMEM;
}

static int set_tickets(struct tls_ctx *c, const struct tls_server_conf *conf)
{
    SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
    if (!conf->tickets) {
        SSL_CTX_set_options(c->ssl, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(c->ssl, 0);
        return 0;
    }
    SSL_CTX_set_num_tickets(c->ssl, 1);
    SSL_CTX_set_timeout(c->ssl, TICKET_LIFE_S);
    SSL_CTX_set_session_ticket_cb(c->ssl, NULL, opened, NULL);
    if (set_session_context(c, conf) < 0)
        return ERR_NOMEM;
    return tls_tickets_use(c, conf->tickets);
}

/* ---- making ---- */

static int set_clients(struct tls_ctx *c, const struct tls_server_conf *conf, struct tls_error *ret_error)
{
    STACK_OF(X509_NAME) *names;
    int r;

    if (conf->clients == TLS_CLIENT_NONE)
        return 0;
    names = sk_X509_NAME_new_null();
    if (!names)
        return ERR_NOMEM;
    r = tls_trust_load(SSL_CTX_get_cert_store(c->ssl), names, c->lib->ctx, conf->client_ca, TLS_WHAT_CLIENT_CA, ret_error);
    if (r < 0) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return r;
    }
    SSL_CTX_set_client_CA_list(c->ssl, names); /* takes it */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(c->ssl), X509_V_FLAG_PARTIAL_CHAIN);
    SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER | (conf->clients == TLS_CLIENT_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    return 0;
}

static int load_pairs(struct tls_ctx *c, const struct tls_server_conf *conf, struct tls_error *ret_error)
{
    struct tls_server *s = &c->server;

    s->shown = tls_zalloc(conf->n_pairs * sizeof(*s->shown));
    if (!s->shown)
        return ERR_NOMEM;
    for (unsigned i = 0; i < conf->n_pairs; i++) {
        int r = tls_shown_load(&s->shown[i], c->lib->ctx, &conf->pairs[i], i, ret_error);

        if (r < 0)
            return r;
        s->n_shown = i + 1;
        r = add_names(s, i);
        if (r < 0)
            return r;
    }
    return 0;
}

/* What is shown to who asks for nothing that is here: the first pair, and others for its first name with another kind of key. */
static uint64_t standard_pairs(const struct tls_server *s)
{
    const struct tls_name *first = s->n_names && s->names[0].pair == 0 ? &s->names[0] : NULL;
    uint64_t taken = 1;

    for (unsigned i = 0; first && i < s->n_names; i++) {
        const struct tls_name *n = &s->names[i];

        if (n->kind == first->kind && slice_eq(slice_of(n->text, n->n), slice_of(first->text, first->n)) && !shown_before(s, taken, n->pair))
            taken |= UINT64_C(1) << n->pair;
    }
    return taken;
}

static int show_standard(struct tls_ctx *c, struct tls_error *ret_error)
{
    struct tls_server *s = &c->server;
    uint64_t taken = standard_pairs(s);

    for (unsigned i = 0; i < s->n_shown; i++) {
        const struct tls_shown *p = &s->shown[i];

        if ((taken >> i & 1) && SSL_CTX_use_cert_and_key(c->ssl, p->cert, p->key, p->chain, 1) != 1)
            return tls_blame(ret_error, i, TLS_WHAT_CERT, NULL);
    }
    return 0;
}

/* A weak key is refused now, not in the handshake that asks for it. */
static int try_pairs(struct tls_ctx *c, struct tls_error *ret_error)
{
    SSL *ssl = SSL_new(c->ssl);
    int r = ssl ? 0 : ERR_NOMEM;

    for (unsigned i = 1; r == 0 && i < c->server.n_shown; i++)
        if (!show(ssl, &c->server.shown[i]))
            r = tls_blame(ret_error, i, TLS_WHAT_CERT, NULL);
    SSL_free(ssl);
    return r;
}

static int fill(struct tls_ctx *c, const struct tls_server_conf *conf, struct tls_error *ret_error)
{
    bool staples = false;
    int r = load_pairs(c, conf, ret_error);

    if (r == 0)
        r = show_standard(c, ret_error);
    if (r == 0)
        r = try_pairs(c, ret_error);
    if (r == 0)
        r = set_clients(c, conf, ret_error);
    if (r == 0)
        r = set_tickets(c, conf);
    if (r < 0)
        return r;
    c->server.alpn = conf->alpn;
    if (conf->alpn)
        SSL_CTX_set_alpn_select_cb(c->ssl, choose_alpn, NULL);
    SSL_CTX_set_tlsext_servername_callback(c->ssl, take_name);
    if (conf->n_pairs > 1)
        SSL_CTX_set_cert_cb(c->ssl, choose, NULL);
    for (unsigned i = 0; i < conf->n_pairs; i++)
        staples |= conf->pairs[i].staple.n > 0;
    if (staples)
        SSL_CTX_set_tlsext_status_cb(c->ssl, staple);
    tls_ctx_keylog(c, conf->keylog, conf->keylog_owner);
    return 0;
}

int tls_server_ctx_new(struct tls_lib *lib, const struct tls_server_conf *conf, struct tls_ctx **ret_ctx, struct tls_error *ret_error)
{
    struct tls_ctx *c;
    int r;

    if (conf->n_pairs < 1 || conf->n_pairs > TLS_PAIRS_MAX) {
        *ret_error = (struct tls_error){.text = "one to 64 certificates"};
        return ERR_SYNTAX;
    }
    r = tls_ctx_begin(lib, true, conf->min, &c);
    if (r < 0)
        return r;
    c->identity = tls_server_identity(conf);
    /* Bulk is for who has AES in hardware; who prefers ChaCha20 has not. */
    SSL_CTX_set_options(c->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    r = fill(c, conf, ret_error);
    ERR_clear_error();
    if (r < 0) {
        tls_ctx_unref(c);
        return r;
    }
    *ret_ctx = c;
    return 0;
}

void tls_server_done(struct tls_server *s)
{
    for (unsigned i = 0; i < s->n_shown; i++)
        tls_shown_done(&s->shown[i]);
    tls_free(s->shown);
    for (unsigned i = 0; i < s->n_names; i++)
        tls_free(s->names[i].text);
    tls_free(s->names);
    tls_tickets_unref(s->tickets);
}
