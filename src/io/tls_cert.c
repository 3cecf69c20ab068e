/* SPDX-License-Identifier: MIT */
/* tls_cert: certificates: loaded with their keys, looked at, made, and what is wrong with one as a sentence that an operator understands. Called by
 * the makers of contexts, by conn_tls when one does not verify, and by the commands. What is in a certificate comes from strangers: texts are cut and
 * have no control characters.
 */
#include "io/tls_inside.h"

#include "base/err.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <time.h>

/* ---- texts ---- */

struct text {
    char *p;
    size_t n, cap; /* cap > 0 */
};

static void text_add(struct text *t, struct slice s)
{
    for (size_t i = 0; i < s.n && t->n + 1 < t->cap; i++) {
        unsigned char c = (unsigned char)s.p[i];

        t->p[t->n++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    t->p[t->n] = '\0';
}

static void text_begin(struct text *t, char *to, size_t cap)
{
    *t = (struct text){.p = to, .cap = cap};
    *to = '\0';
}

void tls_name_text(const X509_NAME *name, char *to, size_t cap)
{
    BIO *b = BIO_new(BIO_s_mem());
    struct text t;
    char *p;
    long n;

    text_begin(&t, to, cap);
    if (b && X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0) {
        n = BIO_get_mem_data(b, &p);
        text_add(&t, slice_of(p, n > 0 ? (size_t)n : 0));
    }
    BIO_free(b);
}

static struct slice asn1_slice(const ASN1_STRING *s)
{
    int n = ASN1_STRING_length(s);

    return slice_of(ASN1_STRING_get0_data(s), n > 0 ? (size_t)n : 0);
}

static struct slice ip_text(const ASN1_OCTET_STRING *ip, char to[INET6_ADDRSTRLEN])
{
    struct slice s = asn1_slice(ip);

    if ((s.n != 4 && s.n != 16) || !inet_ntop(s.n == 4 ? AF_INET : AF_INET6, s.p, to, INET6_ADDRSTRLEN))
        return SLICE_NONE;
    return slice_str(to);
}

static struct slice general_name_text(const GENERAL_NAME *g, char ip[INET6_ADDRSTRLEN])
{
    if (g->type == GEN_DNS)
        return asn1_slice(g->d.dNSName);
    if (g->type == GEN_IPADD)
        return ip_text(g->d.iPAddress, ip);
    return SLICE_NONE;
}

void tls_names_text(const X509 *cert, char *to, size_t cap)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    char ip[INET6_ADDRSTRLEN];
    struct text t;

    text_begin(&t, to, cap);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        struct slice s = general_name_text(sk_GENERAL_NAME_value(names, i), ip);

        if (!s.n)
            continue;
        if (t.n)
            text_add(&t, SLICE(", "));
        text_add(&t, s);
    }
    GENERAL_NAMES_free(names);
}

static void day_text(const ASN1_TIME *at, char to[16])
{
    struct tm tm;

    if (!ASN1_TIME_to_tm(at, &tm) || !strftime(to, 16, "%Y-%m-%d", &tm))
        snprintf(to, 16, "?");
}

enum { NAME_MAX_TEXT = 160 };

static void host_mismatch(const X509 *cert, const char *whose, const char *host, char *to, size_t cap)
{
    char names[NAME_MAX_TEXT];

    tls_names_text(cert, names, sizeof(names));
    if (*names)
        snprintf(to, cap, "%s is for %s, not for %s", whose, names, host ? host : "it");
    else
        snprintf(to, cap, "%s is for no host at all: it has no names, and its common name is not looked at", whose);
}

void tls_verify_text(X509_STORE_CTX *sc, const char *who, const char *host, char *to, size_t cap)
{
    const X509 *cert = X509_STORE_CTX_get_current_cert(sc);
    char whose[NAME_MAX_TEXT], subject[NAME_MAX_TEXT] = "?", issuer[NAME_MAX_TEXT] = "?", day[16];
    int error = X509_STORE_CTX_get_error(sc);

    snprintf(whose, sizeof(whose), X509_STORE_CTX_get_error_depth(sc) ? "an authority's certificate in the chain of %s" : "the certificate of %s",
             who);
    if (cert) {
        tls_name_text(X509_get_subject_name(cert), subject, sizeof(subject));
        tls_name_text(X509_get_issuer_name(cert), issuer, sizeof(issuer));
    }
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        day_text(cert ? X509_get0_notAfter(cert) : NULL, day);
        snprintf(to, cap, "%s has expired (subject %s, valid until %s)", whose, subject, day);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        day_text(cert ? X509_get0_notBefore(cert) : NULL, day);
        snprintf(to, cap, "%s is not valid yet (subject %s, valid from %s)", whose, subject, day);
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        if (cert)
            host_mismatch(cert, whose, host, to, cap);
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        snprintf(to, cap, "%s is signed by itself alone, and not trusted (subject %s)", whose, subject);
        break;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        snprintf(to, cap, "%s is signed by an authority that is not trusted (issuer %s)", whose, issuer);
        break;
    default:
        snprintf(to, cap, "%s does not verify: %s (subject %s)", whose, X509_verify_cert_error_string(error), subject);
    }
}

/* ---- reading PEM ---- */

static int no_password(char *buf, int size, int rwflag, void *u)
{
    UNUSED(buf);
    UNUSED(size);
    UNUSED(rwflag);
    *(bool *)u = true;
    return -1;
}

static BIO *bio_of(struct slice s)
{
    return s.n <= TLS_PEM_MAX ? BIO_new_mem_buf(s.p ? s.p : "", (int)s.n) : NULL;
}

/* The next certificate; NULL with an empty error queue: there are no more. */
static X509 *next_cert(BIO *b, OSSL_LIB_CTX *lib)
{
    X509 *x = X509_new_ex(lib, NULL), *got;

    if (!x)
        return NULL;
    got = PEM_read_bio_X509(b, &x, NULL, NULL);
    if (got)
        return got;
    X509_free(x);
    if (ERR_GET_LIB(ERR_peek_last_error()) == ERR_LIB_PEM && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
        ERR_clear_error();
    return NULL;
}

static int load_chain(struct tls_shown *s, BIO *b, OSSL_LIB_CTX *lib)
{
    X509 *x;

    while ((x = next_cert(b, lib))) {
        if (!s->chain)
            s->chain = sk_X509_new_null();
        if (!s->chain || !sk_X509_push(s->chain, x)) {
            X509_free(x);
            return ERR_NOMEM;
        }
    }
    return ERR_peek_error() ? ERR_SYNTAX : 0;
}

static int load_certs(struct tls_shown *s, OSSL_LIB_CTX *lib, const struct tls_pair *pair, unsigned index, struct tls_error *ret_error)
{
    BIO *b = bio_of(pair->cert);
    int r;

    if (!b)
        return ERR_NOMEM;
    s->cert = next_cert(b, lib);
    if (!s->cert)
        r = tls_blame(ret_error, index, TLS_WHAT_CERT, ERR_peek_error() ? NULL : "there is no certificate in it");
    else
        r = load_chain(s, b, lib);
    if (r == ERR_SYNTAX && s->cert)
        r = tls_blame(ret_error, index, TLS_WHAT_CERT, NULL);
    BIO_free(b);
    return r;
}

static int load_key(struct tls_shown *s, OSSL_LIB_CTX *lib, const struct tls_pair *pair, unsigned index, struct tls_error *ret_error)
{
    bool locked = false;
    BIO *b = bio_of(pair->key);

    if (!b)
        return ERR_NOMEM;
    s->key = PEM_read_bio_PrivateKey_ex(b, NULL, no_password, &locked, lib, NULL);
    BIO_free(b);
    if (!s->key)
        return tls_blame(ret_error, index, TLS_WHAT_KEY,
                         locked ? "the key is encrypted, and there is nobody to ask for its password" : "there is no private key in it");
    ERR_clear_error();
    if (X509_check_private_key(s->cert, s->key) != 1)
        return tls_blame(ret_error, index, TLS_WHAT_KEY, "the key does not belong to the certificate");
    return 0;
}

static int load_staple(struct tls_shown *s, const struct tls_pair *pair, unsigned index, struct tls_error *ret_error)
{
    const unsigned char *p = (const unsigned char *)pair->staple.p;
    OCSP_RESPONSE *response;

    if (!pair->staple.n)
        return 0;
    response = pair->staple.n <= TLS_PEM_MAX ? d2i_OCSP_RESPONSE(NULL, &p, (long)pair->staple.n) : NULL;
    if (!response || OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        OCSP_RESPONSE_free(response);
        return tls_blame(ret_error, index, TLS_WHAT_STAPLE, "it is no successful OCSP response in DER");
    }
    OCSP_RESPONSE_free(response);
    s->staple = tls_dup(pair->staple);
    s->n_staple = pair->staple.n;
    return s->staple ? 0 : ERR_NOMEM;
}

int tls_shown_load(struct tls_shown *s, OSSL_LIB_CTX *lib, const struct tls_pair *pair, unsigned index, struct tls_error *ret_error)
{
    int r = load_certs(s, lib, pair, index, ret_error);

    if (r == 0)
        r = load_key(s, lib, pair, index, ret_error);
    if (r == 0)
        r = load_staple(s, pair, index, ret_error);
    if (r < 0)
        tls_shown_done(s);
    return r;
}

void tls_shown_done(struct tls_shown *s)
{
    X509_free(s->cert);
    EVP_PKEY_free(s->key);
    sk_X509_pop_free(s->chain, X509_free);
    tls_free(s->staple);
    *s = (struct tls_shown){0};
}

static int add_trusted(X509_STORE *store, STACK_OF(X509_NAME) *names, X509 *x)
{
    X509_NAME *name;

    if (!X509_STORE_add_cert(store, x))
        return ERR_NOMEM;
    if (!names)
        return 0;
    name = X509_NAME_dup(X509_get_subject_name(x));
    if (name && sk_X509_NAME_push(names, name))
        return 0;
    X509_NAME_free(name);
    return ERR_NOMEM;
}

int tls_trust_load(X509_STORE *store, STACK_OF(X509_NAME) *names, OSSL_LIB_CTX *lib, struct slice pem, unsigned what,
                   struct tls_error *ret_error)
{
    BIO *b = bio_of(pem);
    unsigned n = 0;
    int r = 0;
    X509 *x;

    if (!b)
        return ERR_NOMEM;
    for (; r == 0 && (x = next_cert(b, lib)); n++) {
        r = add_trusted(store, names, x);
        X509_free(x);
    }
    if (r == 0 && (n == 0 || ERR_peek_error()))
        r = tls_blame(ret_error, 0, what, ERR_peek_error() ? NULL : "there is no certificate in it");
    ERR_clear_error();
    BIO_free(b);
    return r;
}

/* ---- looking ---- */

static int64_t seconds_of(const ASN1_TIME *at)
{
    struct tm tm;

    return ASN1_TIME_to_tm(at, &tm) ? (int64_t)timegm(&tm) : 0;
}

int tls_cert_look(struct slice pem, struct tls_cert_info *ret_info)
{
    struct tls_cert_info info = {0};
    unsigned n = sizeof(info.sha256);
    bool refused;
    BIO *b;
    X509 *x;

    tls_begin();
    b = bio_of(pem);
    x = b ? next_cert(b, NULL) : NULL;
    refused = !b || (!x && tls_refused());
    BIO_free(b);
    ERR_clear_error();
    if (!x)
        return refused ? ERR_NOMEM : ERR_SYNTAX;
    tls_name_text(X509_get_subject_name(x), info.subject, sizeof(info.subject));
    tls_name_text(X509_get_issuer_name(x), info.issuer, sizeof(info.issuer));
    tls_names_text(x, info.names, sizeof(info.names));
    info.not_before_s = seconds_of(X509_get0_notBefore(x));
    info.not_after_s = seconds_of(X509_get0_notAfter(x));
    X509_digest(x, EVP_sha256(), info.sha256, &n);
    X509_free(x);
    ERR_clear_error();
    *ret_info = info;
    return 0;
}

/* ---- making one ---- */

enum { SERIAL_BYTES = 16, SELF_SKEW_S = 3600, DAY_S = 86400, CN_MAX = 64 };

static bool add_name(GENERAL_NAMES *names, const char *text)
{
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(text);
    ASN1_IA5STRING *dns = ip ? NULL : ASN1_IA5STRING_new();

    ERR_clear_error();
    if (!g || (!ip && !dns) || (dns && !ASN1_STRING_set(dns, text, -1))) {
        ASN1_OCTET_STRING_free(ip);
        ASN1_IA5STRING_free(dns);
        GENERAL_NAME_free(g);
        return false;
    }
    GENERAL_NAME_set0_value(g, ip ? GEN_IPADD : GEN_DNS, ip ? (void *)ip : (void *)dns);
    if (sk_GENERAL_NAME_push(names, g))
        return true;
    GENERAL_NAME_free(g);
    return false;
}

static bool set_names(X509 *x, const char *const *texts)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    bool ok = names != NULL;

    for (unsigned i = 0; ok && texts[i]; i++)
        ok = add_name(names, texts[i]);
    ok = ok && X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0) == 1;
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    return ok;
}

static bool add_extension(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    bool ok = e && X509_add_ext(x, e, -1);

    X509_EXTENSION_free(e);
    return ok;
}

static bool set_serial(X509 *x)
{
    unsigned char bytes[SERIAL_BYTES];
    BIGNUM *n = RAND_bytes(bytes, sizeof(bytes)) == 1 ? BN_bin2bn(bytes, sizeof(bytes), NULL) : NULL;
    bool ok = n && BN_clear_bit(n, SERIAL_BYTES * 8 - 1) != -1 && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));

    BN_free(n);
    return ok;
}

/* Nobody's authority: browsers refuse one that is an authority and a server at once. */
static bool fill_self_signed(X509 *x, EVP_PKEY *key, const char *const *names, unsigned days)
{
    X509_NAME *subject = X509_get_subject_name(x);
    int n_cn = (int)strnlen(names[0], CN_MAX);

    return X509_set_version(x, X509_VERSION_3) && set_serial(x) && X509_gmtime_adj(X509_getm_notBefore(x), -SELF_SKEW_S) &&
           X509_time_adj_ex(X509_getm_notAfter(x), (int)days, 0, NULL) &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)names[0], n_cn, -1, 0) &&
           X509_set_issuer_name(x, subject) && X509_set_pubkey(x, key) && add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(x, NID_key_usage, "critical,digitalSignature") && add_extension(x, NID_ext_key_usage, "serverAuth") &&
           set_names(x, names) && X509_sign(x, key, EVP_sha256()) > 0;
}

static char *bio_text(BIO *b)
{
    char *p;
    long n = BIO_get_mem_data(b, &p);

    return n > 0 ? mem_dup(p, (size_t)n) : NULL;
}

static char *cert_text(X509 *x)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *text = b && PEM_write_bio_X509(b, x) ? bio_text(b) : NULL;

    BIO_free(b);
    return text;
}

static char *key_text(EVP_PKEY *key)
{
    BIO *b = BIO_new(BIO_s_secmem());
    char *text = b && PEM_write_bio_PKCS8PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) ? bio_text(b) : NULL;

    BIO_free(b);
    return text;
}

int tls_self_signed(const char *const *names, unsigned days, char **ret_cert, char **ret_key)
{
    char *cert = NULL, *secret = NULL;
    EVP_PKEY *key;
    X509 *x;

    if (!names[0])
        return ERR_RANGE;
    tls_begin();
    key = EVP_EC_gen("P-256");
    x = key ? X509_new() : NULL;
    if (x && fill_self_signed(x, key, names, days)) {
        cert = cert_text(x);
        secret = key_text(key);
    }
    X509_free(x);
    EVP_PKEY_free(key);
    ERR_clear_error();
    if (!cert || !secret) {
        mem_free(cert);
        mem_free(secret);
        return ERR_NOMEM;
    }
    *ret_cert = cert;
    *ret_key = secret;
    return 0;
}
