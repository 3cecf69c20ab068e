/* SPDX-License-Identifier: MIT */
/* dial_refusal: a parent's "no" to a CONNECT: what of it is kept for the reply, the log and the page, and its end as a result. Called by dial_hop with the head, by dial for
 * the rest, and asked whether it means that the target was not reached. Reads a bounded part of it for a bounded time; credentials and challenges stay between ginnel and the parent.
 */
#include "base/mem.h"
#include "mux/stream.h"
#include "proxy/dial_inside.h"
#include "proxy/xchg.h"

/* ---- what it means ---- */

static bool is_unreached(struct slice error)
{
    static const char *const errors[] = {"connection_refused", "connection_timeout", "destination_unavailable", "destination_ip_unroutable"};

    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        if (slice_eq(error, slice_str(errors[i])))
            return true;
    return false;
}

static struct slice token_of(struct slice s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] != ';' && s.p[n] != ',' && s.p[n] != ' ' && s.p[n] != '\t')
        n++;
    return slice_of(s.p, n);
}

/* A parameter `error` of any member (RFC 9209 2.1.1): behind a semicolon that is in no string. */
static bool says_unreached(struct slice v)
{
    struct slice key = SLICE("error=");
    bool quoted = false;

    for (size_t i = 0; i < v.n; i++) {
        struct slice rest;

        if (v.p[i] == '"')
            quoted = !quoted;
        else if (quoted && v.p[i] == '\\')
            i++;
        if (quoted || v.p[i] != ';')
            continue;
        rest = slice_skip(v, i + 1);
        while (rest.n && rest.p[0] == ' ')
            rest = slice_skip(rest, 1);
        if (rest.n > key.n && slice_eq(slice_of(rest.p, key.n), key) && is_unreached(token_of(slice_skip(rest, key.n))))
            return true;
    }
    return false;
}

bool dial_refusal_is_unreached(const struct head *h)
{
    uint32_t i = 0;

    if (h->status >= 502 && h->status <= 504)
        return true;
    for (const struct field *f = hdrs_next(&h->fields, HDR_PROXY_STATUS, &i); f; i++, f = hdrs_next(&h->fields, HDR_PROXY_STATUS, &i))
        if (says_unreached(f->value))
            return true;
    return false;
}

/* ---- what is kept of it ---- */

static int keep_text(struct dial *d, struct slice s, struct slice *ret_kept)
{
    *ret_kept = arena_dup(d->x->arena, s);
    return ret_kept->p ? 0 : ERR_NOMEM;
}

/* Its 407 and its challenge are between the two of us. */
static int note_refusal(struct dial *d, const struct head *h)
{
    struct parent_answer *a = mem_zalloc(sizeof(*a));
    const struct field *f, *type = hdrs_find(&h->fields, HDR_CONTENT_TYPE);
    uint32_t i = 0;

    if (!a)
        return ERR_NOMEM;
    d->result.answer = a;
    a->status = h->status;
    if (keep_text(d, h->reason, &a->reason) < 0 || keep_text(d, type ? type->value : SLICE(""), &a->type) < 0)
        return ERR_NOMEM;
    for (i = 0; i < h->fields.n && a->n_members < PARENT_MEMBERS_MAX; i++) {
        f = &h->fields.v[i];
        if (slice_eq_nocase(f->name, SLICE("Proxy-Status")) && keep_text(d, f->value, &a->members[a->n_members++]) < 0)
            return ERR_NOMEM;
    }
    return 0;
}

static enum dial_next refused(struct dial *d)
{
    const struct parent_answer *a = d->result.answer;
    struct slice to = d->at + 1 < d->n_peers ? d->peers[d->at + 1]->host : d->x->req->head->auth.host;

    d->result.final = true;
    d->result.shown = arena_printf(d->x->arena, "the parent proxy answered %d" "%s" SLICE_FMT, a->status, a->reason.n ? " " : "", SLICE_ARG(a->reason)).p;
    if (a->status == 407)
        return dial_fail(d, END_PARENT_AUTH, "the parent %s answered 407 to the CONNECT to " SLICE_FMT ": %s", dial_peer(d)->text, SLICE_ARG(to),
                         dial_peer(d)->authorization.n ? "it does not accept the credentials" : "it wants credentials");
    return dial_fail(d, END_PARENT_REFUSED, "the parent %s answered %d" "%s" SLICE_FMT " to the CONNECT to " SLICE_FMT, dial_peer(d)->text, a->status,
                         a->reason.n ? " " : "", SLICE_ARG(a->reason), SLICE_ARG(to));
}

enum dial_next dial_refusal_read(struct dial *d, bool late)
{
    struct parent_answer *a = d->result.answer;

    /* Ends: each round reads something, up to the bound, or leaves. */
    while (!late && d->stream->rx == STREAM_BODY && a->n_body < PARENT_BODY_MAX) {
        size_t n = 0;

        switch (stream_recv(d->stream, a->body + a->n_body, PARENT_BODY_MAX - a->n_body, &n)) {
        case IO_OK:
            a->n_body += n;
            break;
        case IO_AGAIN:
            return DIAL_WAIT;
        case IO_EOF:
        case IO_ERR:
            return refused(d);
        }
    }
    return refused(d);
}

enum dial_next dial_refusal_begin(struct dial *d, const struct head *h)
{
    if (note_refusal(d, h) < 0)
        return dial_no_memory(d);
    if (d->stream->rx != STREAM_BODY || h->status == 407)
        return refused(d);
    d->result.answer->body = mem_alloc(PARENT_BODY_MAX);
    if (!d->result.answer->body)
        return refused(d);
    d->state = DIAL_REFUSAL;
    dial_wait(d, DIAL_REFUSAL_MS);
    return DIAL_GO;
}
