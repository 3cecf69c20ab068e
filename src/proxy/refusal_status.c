/* SPDX-License-Identifier: MIT */
/* refusal_status: writes Proxy-Status. Called for every error that is answered here. What comes from others is escaped: the field is a structured one
 * (RFC 8941), and a quote of theirs must not end ours.
 */
#include "proxy/refusal.h"

#include "proxy/snapshot.h"

enum { SAY_MAX = 512 /* of the operator's own words: the field has to fit into clients' buffers */ };

static const char *rcode_name(uint8_t rcode)
{
    static const char *const names[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};

    return rcode < ARRAY_LEN(names) ? names[rcode] : NULL;
}

/* RFC 9209 2.3.2: dns_error tells the RCODE. */
static struct slice dns_parameter(struct xchg *x)
{
    const char *name = rcode_name(x->req->answer.rcode);

    if (x->end != END_DNS_ERROR || !x->req->answer.rcode || !name)
        return SLICE("");
    return arena_printf(x->arena, "; rcode=\"%s\"", name);
}

/* RFC 9209 2.1.5, 2.3.15: what the next hop has answered. */
static struct slice next_hop_parameter(struct xchg *x)
{
    const struct parent_answer *a = x->req->answered;

    if (a && (x->end == END_PARENT_REFUSED || x->end == END_PARENT_AUTH))
        return arena_printf(x->arena, "; received-status=%d", a->status);
    if (x->end == END_PARENT_AUTH)
        return SLICE("; received-status=407");
    if (x->end == END_TLS_ALERT)
        return arena_printf(x->arena, "; alert-id=%u", (unsigned)x->req->alert);
    return SLICE("");
}

/* What a string of RFC 8941 3.3.3 may contain: quotes and backslashes escaped, an ellipsis as three dots, every other character that is not printable ASCII
 * replaced. */
static struct slice sf_string(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.n * 2 + 1);
    size_t n = 0;

    if (!p)
        return SLICE_NONE;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool ellipsis = s.n - i >= 3 && memcmp(s.p + i, "\xe2\x80\xa6", 3) == 0;

        /* The rest of a character of several bytes. */
        if (c >= 0x80 && c < 0xc0)
            continue;
        if (c == '"' || c == '\\')
            p[n++] = '\\';
        if (ellipsis) {
            memcpy(p + n, "...", 3);
            n += 3;
        } else {
            p[n++] = c >= 0x20 && c < 0x7f ? (char)c : '?';
        }
    }
    return slice_of(p, n);
}

/* "why (place); what is to be said; what helps", as a string. */
static struct slice status_details(struct xchg *x, const struct refusal *r)
{
    struct slice say = slice_of(r->say.p, min_size(r->say.n, SAY_MAX)), all;

    all = arena_printf(x->arena, SLICE_FMT "%s" SLICE_FMT "%s%s" SLICE_FMT "%s" SLICE_FMT, SLICE_ARG(r->detail), r->place.n ? " (" : "",
                       SLICE_ARG(r->place), r->place.n ? ")" : "", say.n ? "; " : "", SLICE_ARG(say), r->hint.n ? "; what helps: " : "",
                       SLICE_ARG(r->hint));
    for (size_t i = 0; i < all.n && all.p; i++)
        if (all.p[i] == '\n' || all.p[i] == '\t')
            ((char *)(uintptr_t)all.p)[i] = ' ';
    return all.p ? sf_string(x->arena, all) : SLICE_NONE;
}

/* `name; error=type; details="text"` (RFC 9209 2). The name is a token; one that begins with a digit must be a string. */
struct slice refusal_status(struct xchg *x, const struct refusal *r)
{
    const char *name = x->snap->conf->name;
    bool token = (name[0] >= 'A' && name[0] <= 'Z') || (name[0] >= 'a' && name[0] <= 'z') || name[0] == '*';
    const char *q = token ? "" : "\"";
    struct slice dns = dns_parameter(x), hop = next_hop_parameter(x), details;

    if (!dns.p || !hop.p)
        return SLICE_NONE;
    if (r->reasons == REASONS_NONE)
        return arena_printf(x->arena, "%s%s%s; error=%s", q, name, q, r->end->proxy_status);
    details = status_details(x, r);
    if (!details.p)
        return SLICE_NONE;
    return arena_printf(x->arena, "%s%s%s; error=%s; details=\"" SLICE_FMT "\"" SLICE_FMT SLICE_FMT, q, name, q, r->end->proxy_status, SLICE_ARG(details),
                        SLICE_ARG(dns), SLICE_ARG(hop));
}
