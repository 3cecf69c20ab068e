/* SPDX-License-Identifier: MIT */
/* conn_tls_fail: why TLS failed: what OpenSSL's errors, the lower conn's and our own come to, and the sentence that says so. Called by the rooms of conn_tls when a
 * call of OpenSSL has failed. From then on the conn is broken. Texts name the peer, and show of its bytes only what is printable. Never closes anything.
 */
#include "io/conn_tls_inside.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

void conn_tls_fail_say(struct conn_tls *t, const char *format, ...)
{
    va_list args;

    if (!t->text)
        t->text = mem_alloc(TEXT);
    t->facts.text = t->text ? t->text : "TLS failed, and there is no memory to say why";
    if (!t->text)
        return;
    va_start(args, format);
    vsnprintf(t->text, TEXT, format, args);
    va_end(args);
}

const char *conn_tls_fail_peer(const struct conn_tls *t)
{
    return t->host.n ? t->host.p : "the client";
}

/* For good. error: what the conn has from now on. */
void conn_tls_fail_with(struct conn_tls *t, enum tls_failure failure, int error)
{
    t->facts.failure = failure;
    t->state = TLS_BROKEN_OFF;
    conn_broke(&t->conn, error);
}

static void lower_ended(struct conn_tls *t)
{
    const char *when = t->state == TLS_SHAKING ? "during the TLS handshake" : "without the close_notify that TLS ends with";
    int error = t->conn.below->error;

    if (t->lower_end == IO_EOF) {
        conn_tls_fail_say(t, "%s closed the connection %s", t->host.n ? "the server" : "the client", when);
        conn_tls_fail_with(t, TLS_TRUNCATED, ERR_TLS);
    } else if (error == -ECONNRESET || error == -EPIPE) {
        conn_tls_fail_say(t, "%s reset the connection %s", t->host.n ? "the server" : "the client", when);
        conn_tls_fail_with(t, TLS_TRUNCATED, error);
    } else {
        conn_tls_fail_say(t, "the connection below TLS failed: %s", err_text(error));
        conn_tls_fail_with(t, TLS_BROKEN, error ? error : ERR_TLS);
    }
}

/* A handshake that begins neither with a handshake record nor with an alert is none. */
static bool speaks_tls(const struct conn_tls *t)
{
    return !t->n_first || t->first[0] == SSL3_RT_HANDSHAKE || t->first[0] == SSL3_RT_ALERT;
}

static void say_no_tls(struct conn_tls *t)
{
    char shown[FIRST + 1];

    for (unsigned i = 0; i < t->n_first; i++)
        shown[i] = t->first[i] >= 0x20 && t->first[i] < 0x7f ? t->first[i] : '.';
    shown[t->n_first] = '\0';
    conn_tls_fail_say(t, "%s speaks no TLS: it began with \"%s\"", conn_tls_fail_peer(t), shown);
}

static void say_protocol(struct conn_tls *t, unsigned long error)
{
    const char *own;

    switch (ERR_GET_REASON(error)) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
        conn_tls_fail_say(t, "there is no TLS version that %s and ginnel both speak", conn_tls_fail_peer(t));
        return;
    case SSL_R_NO_SHARED_CIPHER:
        conn_tls_fail_say(t, "there is no cipher that %s and ginnel both take", conn_tls_fail_peer(t));
        return;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        conn_tls_fail_say(t, "%s offers no protocol that is spoken here (ALPN)", conn_tls_fail_peer(t));
        return;
    default:
        own = ERR_reason_error_string(error);
        conn_tls_fail_say(t, "%s broke the TLS protocol: %s", conn_tls_fail_peer(t), own ? own : "unknown error");
    }
}

enum { ALERT_FIRST = SSL_AD_REASON_OFFSET, ALERT_LAST = SSL_AD_REASON_OFFSET + 255 };

static void openssl_failed(struct conn_tls *t)
{
    unsigned long error = ERR_peek_error();
    int reason = ERR_GET_REASON(error);

    if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason > ALERT_FIRST && reason <= ALERT_LAST) {
        t->facts.alert = (uint8_t)(reason - ALERT_FIRST);
        conn_tls_fail_say(t, "%s sent the TLS alert \"%s\" (%u)", conn_tls_fail_peer(t), SSL_alert_desc_string_long(t->facts.alert), t->facts.alert);
        conn_tls_fail_with(t, TLS_ALERT, ERR_TLS);
    } else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        conn_tls_fail_say(t, "the client has shown no certificate");
        conn_tls_fail_with(t, TLS_CERTIFICATE, ERR_TLS);
    } else {
        say_protocol(t, error);
        conn_tls_fail_with(t, TLS_PROTOCOL, ERR_TLS);
    }
}

/* What a call of OpenSSL failed of. */
void conn_tls_fail(struct conn_tls *t)
{
    if (t->refused || tls_refused()) {
        t->facts.text = "out of memory";
        conn_tls_fail_with(t, TLS_MEMORY, ERR_NOMEM);
    } else if (t->flooded) {
        conn_tls_fail_say(t, "%s sends TLS messages that carry nothing, one after another", conn_tls_fail_peer(t));
        conn_tls_fail_with(t, TLS_PROTOCOL, ERR_TLS);
    } else if (t->bad_cert) {
        conn_tls_fail_with(t, TLS_CERTIFICATE, ERR_TLS);
    } else if (t->state == TLS_SHAKING && !speaks_tls(t)) {
        say_no_tls(t);
        conn_tls_fail_with(t, TLS_PROTOCOL, ERR_TLS);
    } else if (t->lower_end != IO_OK) {
        lower_ended(t);
    } else {
        openssl_failed(t);
    }
    ERR_clear_error();
}
