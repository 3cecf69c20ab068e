/* SPDX-License-Identifier: MIT */
/* clienthello: two passes. The first one goes from record to record, until the message is complete; it looks at five bytes a record. The second one reads the
 * message with a cursor that steps over the records' headers, so that nothing has to be put together. Called by step peek. It never trusts a length: each is
 * compared with the one around it.
 */
#include "proto/clienthello.h"

#include "proto/chars.h"

enum { RECORD_HEAD = 5, RECORD_MAX = 16384, RECORD_HANDSHAKE = 22, MESSAGE_HEAD = 4, MESSAGE_CLIENT_HELLO = 1 };
enum { RANDOM_BYTES = 32, SESSION_ID_MAX = 32, NAME_TYPE_HOST = 0 };
enum { EXT_SERVER_NAME = 0, EXT_ALPN = 16, EXT_VERSIONS = 43, EXT_ECH = 0xfe0d };

/* ---- the message's bytes, over the records ---- */

struct cursor {
    const uint8_t *p;
    size_t record; /* bytes left of the present record */
};

static uint8_t take(struct cursor *c)
{
    /* No record is empty. */
    if (!c->record) {
        c->record = (size_t)c->p[3] << 8 | c->p[4];
        c->p += RECORD_HEAD;
    }
    c->record--;
    return *c->p++;
}

/* Numbers and blocks, each out of what is `left` of whatever is around it. False: it has less. */
static bool take_number(struct cursor *c, size_t *left, unsigned bytes, size_t *ret)
{
    size_t v = 0;

    if (*left < bytes)
        return false;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | take(c);
    *left -= bytes;
    *ret = v;
    return true;
}

static bool skip(struct cursor *c, size_t *left, size_t n)
{
    if (*left < n)
        return false;
    *left -= n;
    for (size_t i = 0; i < n; i++)
        take(c);
    return true;
}

/* A block behind its length, which has so many bytes. */
static bool skip_block(struct cursor *c, size_t *left, unsigned bytes, size_t least, size_t most)
{
    size_t n;

    return take_number(c, left, bytes, &n) && n >= least && n <= most && skip(c, left, n);
}

/* ---- the name ---- */

/* Labels of 1..63 bytes. */
static bool labels_fit(const char *p, size_t n)
{
    size_t label = 0;

    for (size_t i = 0; i < n; i++) {
        label = p[i] == '.' ? 0 : label + 1;
        if (label > 63 || (p[i] == '.' && (i == 0 || p[i - 1] == '.')))
            return false;
    }
    return label > 0;
}

static const char *read_host(struct cursor *c, size_t n, struct clienthello *h)
{
    char name[CLIENTHELLO_NAME_MAX + 1];

    if (n > sizeof(name))
        return "the name in the ClientHello is too long";
    for (size_t i = 0; i < n; i++) {
        name[i] = slice_lower((char)take(c));
        if (!chars_is(name[i], CHARS_NAME))
            return "the name in the ClientHello has bytes that no host name has";
    }
    if (n && name[n - 1] == '.')
        n--;
    if (n > CLIENTHELLO_NAME_MAX || !labels_fit(name, n))
        return "the name in the ClientHello is no host name";
    memcpy(h->name, name, n);
    h->n_name = (uint8_t)n;
    return NULL;
}

static const char *read_server_name(struct cursor *c, size_t n, struct clienthello *h)
{
    static const char malformed[] = "the server_name of the ClientHello is malformed";
    size_t list, type, length;

    if (!take_number(c, &n, 2, &list) || list != n || !take_number(c, &n, 1, &type) || !take_number(c, &n, 2, &length) || length > n)
        return malformed;
    if (length < n)
        return "the ClientHello has more than one name";
    /* No other type has a format that is known (RFC 6066 3). */
    return type == NAME_TYPE_HOST ? read_host(c, length, h) : malformed;
}

/* ---- the other extensions ---- */

/* GREASE values look like 0x?a?a, and are no version. */
static const char *read_versions(struct cursor *c, size_t n, struct clienthello *h)
{
    size_t list, version, highest = 0;

    if (!take_number(c, &n, 1, &list) || list != n || n < 2 || n % 2)
        return "the versions of the ClientHello are malformed";
    while (take_number(c, &n, 2, &version))
        if (version >> 8 == 3 && version > highest)
            highest = version;
    h->version = highest ? (uint16_t)highest : h->version;
    return NULL;
}

static const char *read_extension(struct cursor *c, size_t type, size_t n, struct clienthello *h)
{
    switch (type) {
    case EXT_SERVER_NAME:
        return read_server_name(c, n, h);
    case EXT_VERSIONS:
        return read_versions(c, n, h);
    case EXT_ALPN:
        h->alpn = true;
        break;
    case EXT_ECH:
        h->ech = true;
        break;
    default:
        break;
    }
    skip(c, &n, n);
    return NULL;
}

static bool seen_before(const uint16_t *seen, unsigned n, size_t type)
{
    for (unsigned i = 0; i < n; i++)
        if (seen[i] == type)
            return true;
    return false;
}

static const char *read_extensions(struct cursor *c, size_t left, struct clienthello *h)
{
    uint16_t seen[CLIENTHELLO_EXTENSIONS_MAX];
    unsigned n = 0;
    size_t type, length;
    const char *fault;

    while (left) {
        if (!take_number(c, &left, 2, &type) || !take_number(c, &left, 2, &length) || length > left)
            return "the extensions of the ClientHello are malformed";
        if (n == CLIENTHELLO_EXTENSIONS_MAX)
            return "the ClientHello has too many extensions";
        if (seen_before(seen, n, type))
            return "the ClientHello has an extension twice";
        seen[n++] = (uint16_t)type;
        fault = read_extension(c, type, length, h);
        if (fault)
            return fault;
        left -= length;
    }
    return NULL;
}

/* ---- the message ---- */

static const char *read_message(const uint8_t *p, struct clienthello *h)
{
    static const char malformed[] = "the ClientHello is malformed";
    struct cursor c = {.p = p};
    size_t left = MESSAGE_HEAD, n;

    if (!take_number(&c, &left, 1, &n) || !take_number(&c, &left, 3, &left) || !take_number(&c, &left, 2, &n))
        return malformed;
    h->version = (uint16_t)n;
    if (n >> 8 != 3 || !skip(&c, &left, RANDOM_BYTES) || !skip_block(&c, &left, 1, 0, SESSION_ID_MAX) || !skip_block(&c, &left, 2, 2, 0xfffe) ||
        !skip_block(&c, &left, 1, 1, 255))
        return malformed;
    /* SSL 3.0 and the oldest of TLS have no extensions. */
    if (!left)
        return NULL;
    if (!take_number(&c, &left, 2, &n) || n != left)
        return malformed;
    return read_extensions(&c, left, h);
}

/* ---- the records ---- */

/* What is wrong with a record's header, as far as it has come. */
static const char *refuse_record(const uint8_t *r, size_t n)
{
    if (r[0] != RECORD_HANDSHAKE)
        return "another record stands where the ClientHello has to";
    if ((n > 1 && r[1] != 3) || (n > 2 && r[2] > 4))
        return "a record of the ClientHello has a version that TLS does not have";
    if (n >= RECORD_HEAD && (!(r[3] | r[4]) || ((unsigned)r[3] << 8 | r[4]) > RECORD_MAX))
        return "a record of the ClientHello has a length that none may have";
    return NULL;
}

/* The first bytes of the message, which several records may share: so many of them are there. */
static size_t message_head(const uint8_t *p, size_t n, uint8_t ret_head[MESSAGE_HEAD])
{
    size_t got = 0, at = 0;

    while (got < MESSAGE_HEAD && at + RECORD_HEAD < n) {
        size_t length = (size_t)p[at + 3] << 8 | p[at + 4];

        for (size_t i = at + RECORD_HEAD; got < MESSAGE_HEAD && i < n && i < at + RECORD_HEAD + length; i++)
            ret_head[got++] = p[i];
        at += RECORD_HEAD + length;
    }
    return got;
}

/* Goes on over records that are complete. Sets *ret_have to the message bytes that are there, the last record's included. */
static const char *scan_records(struct clienthello_scan *s, const uint8_t *p, size_t n, size_t *ret_have)
{
    *ret_have = s->have;
    while (s->at < n) {
        const char *fault = refuse_record(p + s->at, n - s->at);
        size_t length;

        if (fault)
            return fault;
        if (n - s->at < RECORD_HEAD)
            return NULL;
        length = (size_t)p[s->at + 3] << 8 | p[s->at + 4];
        if (n - s->at - RECORD_HEAD < length) {
            *ret_have = s->have + (n - s->at - RECORD_HEAD);
            return NULL;
        }
        s->at += RECORD_HEAD + length;
        s->have += (uint32_t)length;
        *ret_have = s->have;
        /* What follows the message is none of it. */
        if (s->have >= MESSAGE_HEAD)
            return NULL;
    }
    return NULL;
}

/* How long the message is with its head; 0: not known yet. */
static const char *message_length(const uint8_t *p, size_t n, size_t *ret_length)
{
    uint8_t head[MESSAGE_HEAD];
    size_t got = message_head(p, n, head);

    *ret_length = 0;
    if (got && head[0] != MESSAGE_CLIENT_HELLO)
        return "the first message is no ClientHello";
    if (got < MESSAGE_HEAD)
        return NULL;
    *ret_length = MESSAGE_HEAD + ((size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3]);
    return *ret_length > CLIENTHELLO_MAX - RECORD_HEAD ? "the ClientHello is too long" : NULL;
}

enum parse clienthello_feed(struct clienthello_scan *scan, const void *bytes, size_t n, struct clienthello *ret, const char **ret_fault)
{
    const uint8_t *p = bytes;
    struct clienthello h = {0};
    const char *fault = NULL;
    size_t length = 0, have;

    /* Ends: each round goes over a record, or leaves. */
    for (;;) {
        size_t before = scan->at;

        fault = scan_records(scan, p, n, &have);
        if (!fault)
            fault = message_length(p, n, &length);
        if (!fault && length && have > length)
            fault = "bytes follow the ClientHello in its record";
        if (fault || (length && scan->have == length))
            break;
        if (scan->at == before || scan->at >= n) {
            if (n < CLIENTHELLO_MAX)
                return PARSE_MORE;
            fault = "the ClientHello is too long";
            break;
        }
    }
    if (!fault)
        fault = scan->at > CLIENTHELLO_MAX ? "the ClientHello is too long" : read_message(p, &h);
    if (fault) {
        *ret_fault = fault;
        return PARSE_BAD;
    }
    h.end = scan->at;
    *ret = h;
    return PARSE_DONE;
}
