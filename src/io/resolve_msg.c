/* SPDX-License-Identifier: MIT */
/* resolve_msg: a walk over the records of one DNS message, for its RCODE and the lifetime of a
 * negative answer. Called by resolve_dns for what came from the network: every step is checked
 * against the end, names are skipped and never followed, so that neither loops nor lengths can do
 * harm.
 */
#include "io/resolve_msg.h"

#include "base/err.h"

enum {
    HEADER = 12,
    QUESTION_TAIL = 4, /* type, class */
    RECORD_TAIL = 10,  /* type, class, ttl, length */
    SOA_NUMBERS = 20,  /* serial, refresh, retry, expire, minimum */
    TYPE_CNAME = 5,
    TYPE_SOA = 6,
    CLASS_IN = 1,
};

static uint16_t u16(const char *p)
{
    const uint8_t *b = (const uint8_t *)p;

    return (uint16_t)(b[0] << 8 | b[1]);
}

/* A TTL; with its highest bit set it means none (RFC 2181 8). */
static uint32_t seconds(const char *p)
{
    uint32_t v = (uint32_t)u16(p) << 16 | u16(p + 2);

    return v > INT32_MAX ? 0 : v;
}

bool resolve_msg_peek(struct slice bytes, uint16_t *ret_id, uint8_t *ret_rcode)
{
    if (bytes.n < HEADER || !(bytes.p[2] & 0x80))
        return false;
    *ret_id = u16(bytes.p);
    *ret_rcode = bytes.p[3] & 0x0f;
    return true;
}

/* Moves *s behind a name: labels up to the root, or up to a pointer, which ends it. */
static int skip_name(struct slice *s)
{
    while (s->n > 0) {
        uint8_t n = (uint8_t)s->p[0];
        size_t used = n >= 0xc0 ? 2 : (size_t)n + 1;

        if ((n > 63 && n < 0xc0) || used > s->n)
            return ERR_SYNTAX;
        *s = slice_skip(*s, used);
        if (n == 0 || n >= 0xc0)
            return 0;
    }
    return ERR_SYNTAX;
}

static int skip_questions(struct slice *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        int r = skip_name(s);

        if (r < 0)
            return r;
        if (s->n < QUESTION_TAIL)
            return ERR_SYNTAX;
        *s = slice_skip(*s, QUESTION_TAIL);
    }
    return 0;
}

struct record {
    unsigned type, class;
    uint32_t ttl_s;
    struct slice data;
};

static int next_record(struct slice *s, struct record *ret_record)
{
    size_t length;
    int r = skip_name(s);

    if (r < 0)
        return r;
    if (s->n < RECORD_TAIL)
        return ERR_SYNTAX;
    length = u16(s->p + 8);
    if (length > s->n - RECORD_TAIL)
        return ERR_SYNTAX;
    *ret_record = (struct record){u16(s->p), u16(s->p + 2), seconds(s->p + 4),
                                  slice_of(s->p + RECORD_TAIL, length)};
    *s = slice_skip(*s, RECORD_TAIL + length);
    return 0;
}

static int read_soa(const struct record *rec, struct resolve_msg *msg)
{
    struct slice s = rec->data;
    uint32_t minimum;
    int r = skip_name(&s); /* the server's name */

    if (r == 0)
        r = skip_name(&s); /* the mailbox */
    if (r < 0)
        return r;
    if (s.n != SOA_NUMBERS)
        return ERR_SYNTAX;
    minimum = seconds(s.p + 16);
    msg->has_soa = true;
    msg->negative_s = minimum < rec->ttl_s ? minimum : rec->ttl_s;
    return 0;
}

int resolve_msg_read(struct slice bytes, struct resolve_msg *ret_msg)
{
    struct resolve_msg msg = {0};
    unsigned n_questions, n_answers, n_authority, aliases = 0;
    struct slice s;
    int r;

    if (bytes.n < HEADER)
        return ERR_SYNTAX;
    msg.rcode = bytes.p[3] & 0x0f;
    msg.has_extra = u16(bytes.p + 10) > 0;
    n_questions = u16(bytes.p + 4);
    n_answers = u16(bytes.p + 6);
    n_authority = u16(bytes.p + 8);
    if (n_questions > 1)
        return ERR_SYNTAX;
    if (n_answers + n_authority > RESOLVE_MSG_RECORDS)
        return ERR_LIMIT;
    s = slice_skip(bytes, HEADER);
    r = skip_questions(&s, n_questions);
    for (unsigned i = 0; r == 0 && i < n_answers + n_authority; i++) {
        struct record rec;

        r = next_record(&s, &rec);
        if (r < 0 || rec.class != CLASS_IN)
            continue;
        if (i < n_answers && rec.type == TYPE_CNAME && ++aliases > RESOLVE_MSG_ALIASES)
            return ERR_LIMIT;
        if (i >= n_answers && rec.type == TYPE_SOA && !msg.has_soa)
            r = read_soa(&rec, &msg);
    }
    if (r < 0)
        return r;
    *ret_msg = msg;
    return 0;
}
