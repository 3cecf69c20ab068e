/* SPDX-License-Identifier: MIT */
/* access_format: one function a layout, over the pieces of line.h. Called by the log's thread for
 * each record and output.
 */
#include "proxy/access_format.h"

#include "io/tls.h"
#include "proxy/access_squid.h"
#include "proxy/line.h"

static inline uint64_t duration_us(const struct access_record *r, uint64_t now_us)
{
    return now_us > r->start_us ? now_us - r->start_us : 0;
}

static inline uint64_t ms(uint64_t us)
{
    return us / 1000 + (us % 1000 >= 500);
}

/* ---- json ---- */

#define JSON_TEXT(l, key, s)                                                                       \
    do {                                                                                           \
        LINE_PUT(l, ",\"" key "\":");                                                              \
        line_json(l, s);                                                                           \
    } while (0)

#define JSON_NUMBER(l, key, v)                                                                     \
    do {                                                                                           \
        LINE_PUT(l, ",\"" key "\":");                                                              \
        line_dec(l, v);                                                                            \
    } while (0)

#define JSON_ADDR(l, key, a)                                                                       \
    do {                                                                                           \
        if (line_known_addr(a)) {                                                                  \
            LINE_PUT(l, ",\"" key ".address\":\"");                                                \
            line_host(l, a);                                                                       \
            line_char(l, '"');                                                                     \
        }                                                                                          \
        if (line_known_addr(a) && (a)->sa.sa_family != AF_UNIX)                                    \
            JSON_NUMBER(l, key ".port", addr_port(a));                                             \
    } while (0)

static void json_begin(struct line *l, const struct access_record *r)
{
    char id[16];

    LINE_PUT(l, "{\"time\":\"");
    line_iso(l, r->wall_ms);
    for (unsigned i = 0; i < 16; i++)
        id[i] = "0123456789abcdef"[r->id >> (60 - 4 * i) & 15];
    LINE_PUT(l, "\",\"ginnel.id\":\"");
    line_put(l, id, sizeof(id));
    line_char(l, '"');
    if (r->event == ACCESS_BEGIN)
        LINE_PUT(l, ",\"ginnel.event\":\"begin\"");
    else if (r->event == ACCESS_STILL)
        LINE_PUT(l, ",\"ginnel.event\":\"still\"");
    if (r->listener.n)
        JSON_TEXT(l, "ginnel.listener", r->listener);
    JSON_ADDR(l, "client", &r->client);
    if (r->door)
        JSON_ADDR(l, "ginnel.balancer", &r->door->balancer);
}

/* Of the client's connection. */
static void json_tls(struct line *l, const struct access_record *r)
{
    const struct access_door *d = r->door;

    if (!d || !d->tls_version)
        return;
    JSON_TEXT(l, "tls.version", d->tls_version == 0x0304 ? SLICE("1.3") : SLICE("1.2"));
    JSON_TEXT(l, "tls.cipher", slice_str(d->tls_cipher));
    if (d->tls_alpn)
        JSON_TEXT(l, "tls.next_protocol", d->tls_alpn == TLS_ALPN_H2 ? SLICE("h2") : SLICE("http/1.1"));
}

static void json_request(struct line *l, const struct access_record *r)
{
    if (r->method.n)
        JSON_TEXT(l, "http.request.method", r->method);
    if (r->scheme == MATCH_HTTP)
        LINE_PUT(l, ",\"url.scheme\":\"http\"");
    else if (r->scheme == MATCH_HTTPS)
        LINE_PUT(l, ",\"url.scheme\":\"https\"");
    if (r->host.n) {
        JSON_TEXT(l, "server.address", r->host);
        JSON_NUMBER(l, "server.port", r->port);
    }
    if (r->path.n)
        JSON_TEXT(l, "url.path", r->path);
    if (r->status)
        JSON_NUMBER(l, "http.response.status_code", r->status);
    if (r->version)
        JSON_TEXT(l, "network.protocol.version", r->version == 10 ? SLICE("1.0") : r->version == 20 ? SLICE("2") : SLICE("1.1"));
    if (r->agent.n)
        JSON_TEXT(l, "user_agent.original", r->agent);
}

static void json_who(struct line *l, const struct access_record *r)
{
    if (r->user.n)
        JSON_TEXT(l, "user.name", r->user);
    if (r->groups.n)
        JSON_TEXT(l, "ginnel.groups", r->groups);
    if (r->labels.n)
        JSON_TEXT(l, "ginnel.labels", r->labels);
    if (r->sni.n)
        JSON_TEXT(l, "tls.client.server_name", r->sni);
}

static void json_verdict(struct line *l, const struct access_record *r)
{
    if (r->rule.n)
        JSON_TEXT(l, "ginnel.rule", r->rule);
    if (r->would.n)
        JSON_TEXT(l, "ginnel.would", r->would);
    if (r->would_deny)
        LINE_PUT(l, ",\"ginnel.would_deny\":true");
}

static void json_end(struct line *l, const struct access_record *r)
{
    if (r->reused)
        LINE_PUT(l, ",\"ginnel.reused\":true");
    else
        LINE_PUT(l, ",\"ginnel.reused\":false");
    if (r->tunnel)
        LINE_PUT(l, ",\"ginnel.tunnel\":true");
    if (r->via.n)
        JSON_TEXT(l, "ginnel.via", r->via);
    json_verdict(l, r);
    if (r->event == ACCESS_END)
        JSON_TEXT(l, "ginnel.end", slice_str(end_info(r->end)->token));
    if (r->detail.n)
        JSON_TEXT(l, "ginnel.detail", r->detail);
    LINE_PUT(l, "}\n");
}

static void format_json(struct line *l, const struct access_record *r, uint64_t now_us)
{
    json_begin(l, r);
    json_request(l, r);
    json_who(l, r);
    json_tls(l, r);
    JSON_ADDR(l, "network.peer", &r->peer);
    JSON_ADDR(l, "network.local", &r->local);
    JSON_NUMBER(l, "ginnel.bytes_up", r->bytes_up);
    JSON_NUMBER(l, "ginnel.bytes_down", r->bytes_down);
    JSON_NUMBER(l, "ginnel.duration_ms", ms(duration_us(r, now_us)));
    if (line_known_addr(&r->peer)) {
        JSON_NUMBER(l, "ginnel.dns_ms", ms(r->dns_us));
        JSON_NUMBER(l, "ginnel.connect_ms", ms(r->connect_us));
    }
    if (r->status)
        JSON_NUMBER(l, "ginnel.first_byte_ms", ms(r->first_byte_us));
    json_end(l, r);
}

/* ---- common and combined ---- */

static void put_request_line(struct line *l, const struct access_record *r)
{
    if (!r->method.n || !r->version) {
        line_char(l, '-');
        return;
    }
    line_request(l, r->method);
    line_char(l, ' ');
    if (r->host.n)
        line_target(l, r, line_request);
    else if (r->path.n)
        line_request(l, r->path);
    else
        line_char(l, '-');
    if (r->version == 10)
        LINE_PUT(l, " HTTP/1.0");
    else if (r->version == 20)
        LINE_PUT(l, " HTTP/2.0");
    else
        LINE_PUT(l, " HTTP/1.1");
}

static void put_common(struct line *l, const struct access_record *r)
{
    line_host(l, &r->client);
    LINE_PUT(l, " - ");
    /* A blank would begin the next column. */
    if (r->user.n)
        line_request(l, r->user);
    else
        line_char(l, '-');
    line_char(l, ' ');
    line_clf_time(l, r->wall_ms);
    LINE_PUT(l, " \"");
    put_request_line(l, r);
    LINE_PUT(l, "\" ");
    if (r->status)
        line_dec(l, r->status);
    else
        line_char(l, '-');
    line_char(l, ' ');
    if (r->bytes_down)
        line_dec(l, r->bytes_down);
    else
        line_char(l, '-');
}

static void put_quoted_field(struct line *l, struct slice s)
{
    LINE_PUT(l, " \"");
    if (s.n)
        line_quoted(l, s);
    else
        line_char(l, '-');
    line_char(l, '"');
}

static void format_common(struct line *l, const struct access_record *r)
{
    put_common(l, r);
    line_char(l, '\n');
}

static void format_combined(struct line *l, const struct access_record *r)
{
    put_common(l, r);
    put_quoted_field(l, r->referer);
    put_quoted_field(l, r->agent);
    line_char(l, '\n');
}

/* ---- all of them ---- */

static size_t format(enum access_layout layout, const struct access_record *r, uint64_t now_us,
                     char *out, size_t cap)
{
    struct line l = {.p = out, .end = out + cap};

    switch (layout) {
    case ACCESS_JSON:
        format_json(&l, r, now_us);
        break;
    case ACCESS_SQUID:
        access_squid(&l, r, ms(duration_us(r, now_us)));
        break;
    case ACCESS_COMMON:
        format_common(&l, r);
        break;
    case ACCESS_COMBINED:
        format_combined(&l, r);
        break;
    }
    return l.full ? 0 : (size_t)(l.p - out);
}

static void cut(struct slice *s, size_t n)
{
    s->n = min_size(s->n, n);
}

/* A byte escapes to six at most: with these lengths (2045 bytes in all) every layout is shorter than
 * ACCESS_LINE_MAX. */
static void cut_all(struct access_record *r)
{
    cut(&r->method, ACCESS_METHOD_MAX);
    cut(&r->host, 255);
    cut(&r->agent, ACCESS_AGENT_MAX / 4);
    cut(&r->referer, ACCESS_AGENT_MAX / 4);
    cut(&r->type, ACCESS_TYPE_MAX);
    cut(&r->listener, 64);
    cut(&r->rule, 128);
    cut(&r->would, 128);
    cut(&r->user, ACCESS_USER_MAX);
    cut(&r->groups, ACCESS_USER_MAX);
    cut(&r->labels, ACCESS_USER_MAX);
    cut(&r->sni, 255);
    cut(&r->via, 255);
    cut(&r->detail, 128);
}

size_t access_format(enum access_layout layout, const struct access_record *r, uint64_t now_us,
                     char *out, size_t cap)
{
    size_t n = format(layout, r, now_us, out, cap);
    struct access_record shorter;

    if (LIKELY(n))
        return n;
    /* Nobody is to hide from the log behind strings that do not fit. */
    shorter = *r;
    cut(&shorter.path, ACCESS_PATH_MAX / 8);
    n = format(layout, &shorter, now_us, out, cap);
    if (n)
        return n;
    cut_all(&shorter);
    return format(layout, &shorter, now_us, out, cap);
}
