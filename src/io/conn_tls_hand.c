/* SPDX-License-Identifier: MIT */
/* conn_tls_hand: the handshake of a conn_tls, and what it found: protocol, names, certificate, as facts. Called by recv, send and established until it is done, and by
 * OpenSSL with a certificate that is not good and with messages that come later. Of a certificate only what was verified becomes a fact.
 */
#include "io/conn_tls_inside.h"

#include "base/mem.h"

#include <string.h>

/* ---- what a handshake found ---- */

enum { SUBJECT_MAX = 1024, TEXTS_MAX = 4096 };

/* Texts one after another, each with a NUL. */
struct texts {
    size_t n;
    char p[TEXTS_MAX];
};

static struct slice texts_add(struct texts *x, struct slice s)
{
    char *to = x->p + x->n;

    if (!s.n || s.n >= TEXTS_MAX - x->n)
        return SLICE_NONE;
    /* What has bytes that no name has is no name. */
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return SLICE_NONE;
    memcpy(to, s.p, s.n);
    to[s.n] = '\0';
    x->n += s.n + 1;
    return slice_of(to, s.n);
}

static struct slice asn1_slice(const ASN1_STRING *s)
{
    int n = ASN1_STRING_length(s);

    return slice_of(ASN1_STRING_get0_data(s), n > 0 ? (size_t)n : 0);
}

static struct slice first_alt_name(const GENERAL_NAMES *names, int type)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

        if (g->type == type)
            return asn1_slice(g->d.ia5); /* all three kinds are of that type */
    }
    return SLICE_NONE;
}

static struct slice add_common_name(struct texts *x, const X509_NAME *subject)
{
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1), n;
    unsigned char *utf8 = NULL;
    struct slice kept;

    if (at < 0)
        return SLICE_NONE;
    n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    kept = n > 0 ? texts_add(x, slice_of(utf8, (size_t)n)) : SLICE_NONE;
    OPENSSL_free(utf8);
    return kept;
}

static void add_cert(struct texts *x, const X509 *cert, const GENERAL_NAMES *names, struct tls_facts *f)
{
    char subject[SUBJECT_MAX];

    tls_name_text(X509_get_subject_name(cert), subject, sizeof(subject));
    f->subject = texts_add(x, slice_str(subject));
    f->common_name = add_common_name(x, X509_get_subject_name(cert));
    f->email = texts_add(x, first_alt_name(names, GEN_EMAIL));
    f->dns = texts_add(x, first_alt_name(names, GEN_DNS));
    f->uri = texts_add(x, first_alt_name(names, GEN_URI));
}

static void move_text(struct slice *s, const char *from, const char *to)
{
    if (!to)
        *s = SLICE_NONE;
    else if (s->n)
        s->p = to + (s->p - from);
}

static int keep_texts(struct conn_tls *t, const struct texts *x)
{
    struct tls_facts *f = &t->facts;
    struct slice *all[] = {&f->sni, &f->subject, &f->common_name, &f->email, &f->dns, &f->uri};

    t->names = mem_dup(x->p, x->n);
    for (unsigned i = 0; i < ARRAY_LEN(all); i++)
        move_text(all[i], x->p, t->names);
    return t->names ? 0 : ERR_NOMEM;
}

/* Of a certificate only what was verified. */
static int learn_names(struct conn_tls *t)
{
    X509 *cert = SSL_get_verify_mode(t->ssl) == SSL_VERIFY_NONE ? NULL : SSL_get0_peer_certificate(t->ssl);
    GENERAL_NAMES *names = cert ? X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL) : NULL;
    unsigned n = sizeof(t->facts.fingerprint);
    struct texts x;
    int r;

    x.n = 0;
    if (t->ctx->is_server)
        t->facts.sni = texts_add(&x, slice_str(SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name)));
    t->facts.certified = cert != NULL;
    if (cert)
        add_cert(&x, cert, names, &t->facts);
    GENERAL_NAMES_free(names);
    r = keep_texts(t, &x);
    if (cert && !X509_digest(cert, EVP_sha256(), t->facts.fingerprint, &n))
        return ERR_NOMEM;
    /* Nobody is somebody else because a name could not be read. */
    return tls_refused() ? ERR_NOMEM : r;
}

static enum tls_alpn agreed(const struct conn_tls *t)
{
    const unsigned char *p;
    unsigned n;

    SSL_get0_alpn_selected(t->ssl, &p, &n);
    if (slice_eq(slice_of(p, n), SLICE("h2")))
        return TLS_ALPN_H2;
    return slice_eq(slice_of(p, n), SLICE("http/1.1")) ? TLS_ALPN_H1 : TLS_ALPN_NONE;
}

static bool alpn_is_fine(const struct conn_tls *t)
{
    const unsigned char *p;
    unsigned n;

    SSL_get0_alpn_selected(t->ssl, &p, &n);
    return t->ctx->is_server || !n || (t->facts.alpn & t->alpn);
}

/* TLS 1.2: OpenSSL does not tell of a ticket that a resumed handshake renews. */
static void keep_renewed(struct conn_tls *t)
{
    if (!t->ctx->is_server && t->facts.resumed && t->facts.version < TLS1_3_VERSION && SSL_get_session(t->ssl) != t->offered)
        tls_session_keep(t->ctx, slice_str(t->key), SSL_get1_session(t->ssl));
}

static void up(struct conn_tls *t)
{
    conn_tls_clear_errors();
    t->facts.alpn = agreed(t);
    t->facts.version = (uint16_t)SSL_version(t->ssl);
    t->facts.cipher = SSL_CIPHER_get_name(SSL_get_current_cipher(t->ssl));
    t->facts.resumed = SSL_session_reused(t->ssl);
    t->conn.ready |= CONN_RX | CONN_TX;
    keep_renewed(t);
    if (!alpn_is_fine(t)) {
        conn_tls_fail_say(t, "%s chose a protocol that it was not offered (ALPN)", conn_tls_fail_peer(t));
        conn_tls_fail_with(t, TLS_PROTOCOL, ERR_TLS);
    } else if (learn_names(t) < 0) {
        t->facts.text = "out of memory";
        conn_tls_fail_with(t, TLS_MEMORY, ERR_NOMEM);
    } else {
        t->state = TLS_UP;
    }
    ERR_clear_error();
}

/* ---- OpenSSL asks ---- */

/* The first thing that is wrong ends it. */
int conn_tls_hand_verified(int ok, X509_STORE_CTX *sc)
{
    struct conn_tls *t = conn_tls_of_ssl(X509_STORE_CTX_get_ex_data(sc, SSL_get_ex_data_X509_STORE_CTX_idx()));
    char text[TEXT];

    if (ok)
        return 1;
    *text = '\0';
    tls_verify_text(sc, conn_tls_fail_peer(t), t->host.n ? t->host.p : NULL, text, sizeof(text));
    conn_tls_fail_say(t, "%s", text);
    t->bad_cert = true;
    return 0;
}

/* After the handshake: messages that a peer may send without end and that cost more to read than to write. */
void conn_tls_hand_message(int write_p, int version, int type, const void *p, size_t n, SSL *ssl, void *owner)
{
    struct conn_tls *t = owner;

    UNUSED(version);
    UNUSED(p);
    UNUSED(n);
    if (write_p || type != SSL3_RT_HANDSHAKE || t->state == TLS_SHAKING)
        return;
    if (++t->messages <= MESSAGES + t->conn.rx_bytes / (1 << 20))
        return;
    t->flooded = true;
    /* It reads no more. */
    SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN);
}

/* ---- shaking ---- */

enum io conn_tls_hand_shake(struct conn *c)
{
    struct conn_tls *t = conn_tls_of(c);

    for (int i = 0; i < CALLS && t->state == TLS_SHAKING; i++) {
        int r;

        conn_tls_clear_errors();
        t->starved = false;
        r = SSL_do_handshake(t->ssl);
        if (r == 1) {
            up(t);
        } else if (SSL_get_error(t->ssl, r) != SSL_ERROR_WANT_READ) {
            conn_tls_fail(t);
        } else if (t->starved) {
            c->ready &= (uint8_t)~CONN_RX;
            return IO_AGAIN;
        }
    }
    if (t->state == TLS_SHAKING)
        return conn_tls_plain_later(c);
    return t->state == TLS_BROKEN_OFF ? IO_ERR : IO_OK;
}
