/* SPDX-License-Identifier: MIT */
/* access_squid: squid's native layout. Called by access_format.
 */
#include "proxy/access_squid.h"

static bool is_understood(const struct access_record *r)
{
    return r->method.n && r->host.n;
}

enum squid_tag { TAG_NONE, TAG_MISS, TAG_DENIED };

struct squid_row {
    enum end_kind kind;
    int status;
    enum squid_tag tag;
    const char *cut; /* when the client did not get the whole of an answer */
};

/* The only place that knows; see the header. The first row that fits counts. */
static const struct squid_row squid_rows[] = {
    {END_KIND_OK, 0, TAG_MISS, ""},
    {END_KIND_CLIENT, 0, TAG_MISS, "_ABORTED"},
    {END_KIND_CLIENT, 400, TAG_NONE, "_ABORTED"},
    {END_KIND_CLIENT, 408, TAG_NONE, "_TIMEDOUT"},
    {END_KIND_CLIENT, 414, TAG_NONE, "_ABORTED"},
    {END_KIND_CLIENT, 431, TAG_NONE, "_ABORTED"},
    {END_KIND_CLIENT, 501, TAG_NONE, "_ABORTED"},
    {END_KIND_CLIENT, 505, TAG_NONE, "_ABORTED"},
    {END_KIND_OURS, 0, TAG_MISS, "_TIMEDOUT"},
    {END_KIND_OURS, 403, TAG_DENIED, "_ABORTED"},
    {END_KIND_OURS, 405, TAG_DENIED, "_ABORTED"},
    {END_KIND_OURS, 407, TAG_DENIED, "_ABORTED"},
    {END_KIND_OURS, 413, TAG_DENIED, "_ABORTED"},
    {END_KIND_OURS, 429, TAG_DENIED, "_ABORTED"},
    {END_KIND_OURS, 501, TAG_MISS, "_ABORTED"},
    {END_KIND_OURS, 502, TAG_DENIED, "_ABORTED"},
    {END_KIND_OURS, 503, TAG_MISS, "_ABORTED"},
    {END_KIND_UPSTREAM, 502, TAG_MISS, "_ABORTED"},
    {END_KIND_UPSTREAM, 504, TAG_MISS, "_TIMEDOUT"},
    {END_KIND_BUG, 500, TAG_MISS, "_ABORTED"},
};

static const struct squid_row *squid_row(const struct end_info *end)
{
    static const struct squid_row other = {END_KIND_BUG, 0, TAG_MISS, "_ABORTED"};

    /* A tunnel that a rule has ended: no time was up. */
    if (end->kind == END_KIND_OURS && end->status == 0 && strcmp(end->proxy_status, "http_request_denied") == 0)
        return &other;

    for (size_t i = 0; i < ARRAY_LEN(squid_rows); i++)
        if (squid_rows[i].kind == end->kind && squid_rows[i].status == end->status)
            return &squid_rows[i];
    return &other;
}

static void put_squid_code(struct line *l, const struct access_record *r)
{
    const struct end_info *end = end_info(r->end);
    const struct squid_row *row = squid_row(end);
    bool whole = end->kind == END_KIND_OK || (r->status && r->status == end->status);

    if (r->tunnel)
        LINE_PUT(l, "TCP_TUNNEL");
    else if (row->tag == TAG_DENIED)
        LINE_PUT(l, "TCP_DENIED");
    else if (!is_understood(r) || (row->tag == TAG_NONE && !line_known_addr(&r->peer)))
        LINE_PUT(l, "NONE_NONE");
    else
        LINE_PUT(l, "TCP_MISS");
    if (!whole)
        line_put(l, row->cut, strlen(row->cut));
}

static struct slice squid_error(unsigned status)
{
    switch (status) {
    case 414:
    case 431:
        return SLICE("error:request-too-large");
    case 403:
    case 503:
        return SLICE("error:accept-client-connection");
    case 0:
    case 408:
        return SLICE("error:transaction-end-before-headers");
    default:
        return SLICE("error:invalid-request");
    }
}

/* The type alone, as squid has it. */
static struct slice bare_type(struct slice type)
{
    type.n = slice_find(type, ';');
    return slice_trim(type);
}

static void url_text_or_dash(struct line *l, struct slice s)
{
    if (s.n)
        line_url(l, s);
    else
        line_char(l, '-');
}

void access_squid(struct line *l, const struct access_record *r, uint64_t elapsed_ms)
{
    uint64_t end_ms = r->wall_ms + elapsed_ms;

    line_padded(l, end_ms / 1000, 9, ' ');
    line_char(l, '.');
    line_ms3(l, (unsigned)(end_ms % 1000));
    line_char(l, ' ');
    line_padded(l, elapsed_ms, 6, ' ');
    line_char(l, ' ');
    line_host(l, &r->client);
    line_char(l, ' ');
    put_squid_code(l, r);
    line_char(l, '/');
    line_padded(l, r->status, 3, '0');
    line_char(l, ' ');
    line_dec(l, r->bytes_down + r->head_down);
    line_char(l, ' ');
    url_text_or_dash(l, r->method);
    line_char(l, ' ');
    if (is_understood(r))
        line_target(l, r, line_url);
    else
        line_put(l, squid_error(r->status).p, squid_error(r->status).n);
    line_char(l, ' ');
    url_text_or_dash(l, r->user);
    if (line_known_addr(&r->peer)) {
        if (r->via.n)
            LINE_PUT(l, " FIRSTUP_PARENT/");
        else
            LINE_PUT(l, " HIER_DIRECT/");
        line_host(l, &r->peer);
    } else {
        LINE_PUT(l, " HIER_NONE/-");
    }
    line_char(l, ' ');
    url_text_or_dash(l, bare_type(r->type));
    line_char(l, '\n');
}
