/* SPDX-License-Identifier: MIT */
/* session_cert: takes the user's name out of a verified certificate, through the map where there is one. What could pass for something else in a log, a list or a rule is
 * no name: who has such a certificate is nobody, and is asked for a password like everybody else.
 */
#include "proxy/session_cert.h"

#include "base/log.h"
#include "base/mem.h"
#include "io/conn_tls.h"
#include "policy/users.h"
#include "proxy/session.h"

static struct slice part_of(const struct tls_facts *f, enum cert_part part)
{
    switch (part) {
    case CERT_COMMON_NAME:
        return f->common_name;
    case CERT_SUBJECT:
        return f->subject;
    case CERT_EMAIL:
        return f->email;
    case CERT_DNS:
        return f->dns;
    case CERT_URI:
        return f->uri;
    }
    return SLICE_NONE;
}

/* How many bytes the character has that begins there; 0: none does (RFC 3629 4). */
static size_t utf8_length(const unsigned char *p, size_t left)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;

    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    /* U+0080 to U+009F are control characters, too. */
    return p[0] == 0xc2 && p[1] < 0xa0 ? 0 : n;
}

bool session_cert_is_name(struct slice name, enum cert_part part)
{
    const unsigned char *p = (const unsigned char *)name.p;

    if (name.n == 0 || name.n > SESSION_NAME_MAX || p[0] == ' ' || p[name.n - 1] == ' ')
        return false;
    for (size_t i = 0, n; i < name.n; i += n) {
        n = utf8_length(p + i, name.n - i);
        if (n == 0 || p[i] < 0x20 || p[i] == 0x7f || (p[i] == ',' && part != CERT_SUBJECT))
            return false;
    }
    return true;
}

/* Empty: nobody. */
static struct slice user_of(const struct tls_facts *f, const struct cert_names *n)
{
    enum cert_part part = n ? n->part : CERT_COMMON_NAME;
    struct slice name = part_of(f, part);
    const struct users_row *row;

    if (n && n->map) {
        row = name.n ? users_table_find(n->map, name) : NULL;
        return row ? users_row_value(row) : SLICE_NONE;
    }
    return session_cert_is_name(name, part) ? name : SLICE_NONE;
}

void session_cert_take(struct session *s, const struct tls_facts *f, const struct cert_names *n)
{
    struct slice user = user_of(f, n);
    char *copy = user.n ? mem_dup(user.p, user.n) : NULL;

    s->identity.kind = SESSION_NOBODY;
    if (copy) {
        s->identity.kind = SESSION_CERT;
        s->identity.name = slice_of(copy, user.n);
        return;
    }
    log_limited(LOG_INFO, 1, "a client's certificate names no user%s: subject " SLICE_FMT, n && n->map ? " of client-map" : "", SLICE_ARG(f->subject));
}
