/* SPDX-License-Identifier: MIT */
/* local: replies made here. Every refusal says why: status, Proxy-Status (RFC 9209), a short body in the form the client prefers.
 * Nothing from the request is echoed unescaped, and nothing of the inside is told.
 */
#include "proxy/local.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/num.h"
#include "build_config.h"
#include "io/addr.h"
#include "policy/explain.h"
#include "proto/authn.h"
#include "proxy/dial.h"
#include "proxy/pac.h"
#include "proxy/session.h"
#include "proxy/worker.h"

#include <stdio.h>
#include <string.h>

/* SAY: of the operator's own words in a body; DETAILS: of them in Proxy-Status, which has to fit into clients' buffers. */
enum { LOCAL_BODY_MAX = 2048, LOCAL_SAY_MAX = 4096, LOCAL_SAY_DETAILS = 512 };

static const char *status_reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 202:
        return "Accepted";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 407:
        return "Proxy Authentication Required";
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 422:
        return "Unprocessable Content";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Unknown";
    }
}

/* ---- bodies ---- */

enum body_form { BODY_TEXT, BODY_HTML, BODY_JSON };

/* The weight of one element of Accept in thousandths (RFC 9110 12.4.2); a malformed one is 0. */
static unsigned weight_of(struct slice params)
{
    struct slice q;
    unsigned v, scale = 100;

    while (params.n && (params.p[0] == ';' || params.p[0] == ' ' || params.p[0] == '\t'))
        params = slice_skip(params, 1);
    if (params.n < 3 || slice_lower(params.p[0]) != 'q' || params.p[1] != '=')
        return 1000;
    q = slice_skip(params, 2);
    if (q.p[0] != '0' && q.p[0] != '1')
        return 0;
    v = q.p[0] == '1' ? 1000 : 0;
    for (size_t i = 2; i < q.n && i < 5 && q.p[i] >= '0' && q.p[i] <= '9'; i++, scale /= 10)
        v += (unsigned)(q.p[i] - '0') * scale;
    return v;
}

static bool form_of_type(struct slice type, enum body_form *ret_form)
{
    if (slice_eq_nocase(type, SLICE("application/json")))
        *ret_form = BODY_JSON;
    else if (slice_eq_nocase(type, SLICE("text/html")))
        *ret_form = BODY_HTML;
    else if (slice_eq_nocase(type, SLICE("text/plain")))
        *ret_form = BODY_TEXT;
    else
        return false;
    return true;
}

/* The type of ours that the client likes best, the first of equals; text when it names none of them. */
static enum body_form body_form_of(const struct head *request)
{
    uint32_t i = 0;
    const struct field *f = request ? hdrs_next(&request->fields, HDR_ACCEPT, &i) : NULL;
    enum body_form best = BODY_TEXT, form;
    unsigned best_weight = 0;

    for (; f; i++, f = hdrs_next(&request->fields, HDR_ACCEPT, &i)) {
        struct slice list = f->value, item;

        while (slice_next_item(&list, &item)) {
            size_t semicolon = slice_find(item, ';');
            unsigned weight = weight_of(slice_skip(item, semicolon));

            if (weight > best_weight && form_of_type(slice_trim(slice_of(item.p, semicolon)), &form)) {
                best_weight = weight;
                best = form;
            }
        }
    }
    return best;
}

/* What a body tells: less with `reasons: none`, more with `all`. The target is a normalised host, which has no byte that HTML or JSON minds; names, places and
 * what is to be said are the operator's. Empty slices are left out. */
struct refusal {
    int status;
    enum reasons reasons;
    const struct end_info *end;
    struct slice detail;
    struct slice target;    /* host:port */
    struct slice rule;      /* what decided: its name; empty: it has none */
    struct slice place;     /* file:line of that */
    struct slice say;       /* `say:` */
    struct slice hint;      /* the way out */
    struct slice addresses; /* that were tried */
    const struct parent_answer *parent; /* what a parent proxy has said; NULL: nothing */
};

static void json_optional(struct json *j, const char *key, struct slice value)
{
    if (value.n)
        json_kstr(j, key, value);
}

static struct slice body_json(struct arena *a, const struct refusal *r)
{
    /* A byte escapes to six at most. */
    size_t cap = LOCAL_BODY_MAX + 6 * (r->detail.n + r->rule.n + r->place.n + r->say.n + r->hint.n + r->addresses.n);
    struct json j;
    char *p = arena_alloc(a, cap);

    if (!p)
        return SLICE_NONE;
    json_init(&j, p, cap - 1);
    json_open(&j, '{');
    json_ku64(&j, "status", (uint64_t)r->status);
    json_kstr(&j, "error", slice_str(r->end->proxy_status));
    if (r->reasons != REASONS_NONE) {
        json_kstr(&j, "reason", slice_str(r->end->token));
        json_kstr(&j, "detail", r->detail);
    }
    json_optional(&j, "say", r->say);
    json_optional(&j, "target", r->target);
    json_optional(&j, "rule", r->rule.n ? r->rule : r->place);
    json_optional(&j, "place", r->place);
    json_optional(&j, "hint", r->hint);
    json_optional(&j, "addresses", r->addresses);
    if (r->parent)
        json_ku64(&j, "parent_status", (uint64_t)r->parent->status);
    json_close(&j, '}');
    p[j.n] = '\n';
    return slice_of(p, j.n + 1);
}

/* The bytes that HTML minds, as references. */
static struct slice html_escape(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.n * 6 + 1);
    size_t n = 0;

    if (!p)
        return SLICE_NONE;
    for (size_t i = 0; i < s.n; i++) {
        const char *ref = s.p[i] == '<' ? "&lt;" : s.p[i] == '>' ? "&gt;" : s.p[i] == '&' ? "&amp;" : s.p[i] == '"' ? "&quot;" : NULL;

        if (ref) {
            memcpy(p + n, ref, strlen(ref));
            n += strlen(ref);
        } else {
            p[n++] = s.p[i];
        }
    }
    return slice_of(p, n);
}

/* What decided: "ci-egress (rules.yaml:7)". */
static struct slice decided_by(struct arena *a, const struct refusal *r)
{
    if (!r->rule.n || !r->place.n)
        return r->rule.n ? r->rule : r->place;
    return arena_printf(a, SLICE_FMT " (" SLICE_FMT ")", SLICE_ARG(r->rule), SLICE_ARG(r->place));
}

enum { BODY_LINES = 4 };
struct body_line {
    const char *name; /* NULL: the line stands for itself */
    struct slice text;
};

/* The lines below the sentence; the empty ones are left out. */
static void body_lines(struct arena *a, const struct refusal *r, struct body_line out[BODY_LINES])
{
    out[0] = (struct body_line){NULL, r->say};
    out[1] = (struct body_line){"Decided by", decided_by(a, r)};
    out[2] = (struct body_line){"What helps", r->hint};
    out[3] = (struct body_line){"Tried", r->addresses};
}

static struct slice html_more(struct arena *a, const struct refusal *r)
{
    struct body_line lines[BODY_LINES];
    struct slice all = SLICE("");

    body_lines(a, r, lines);
    for (size_t i = 0; i < BODY_LINES && all.p; i++) {
        struct slice text = lines[i].text.n ? html_escape(a, lines[i].text) : SLICE("");

        if (!text.p)
            return SLICE_NONE;
        if (text.n)
            all = arena_printf(a, SLICE_FMT "<p>%s%s" SLICE_FMT "</p>\n", SLICE_ARG(all), lines[i].name ? lines[i].name : "",
                               lines[i].name ? ": " : "", SLICE_ARG(text));
    }
    return all;
}

static struct slice body_html(struct arena *a, const struct refusal *r)
{
    const char *reason = status_reason(r->status);
    struct slice more = html_more(a, r), detail = html_escape(a, r->detail);

    if (!more.p || !detail.p)
        return SLICE_NONE;
    if (r->reasons == REASONS_NONE)
        return arena_printf(a, "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>%d %s</title>\n<h1>%d %s</h1>\n", r->status,
                            reason, r->status, reason);
    return arena_printf(a,
                        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>%d %s</title>\n"
                        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:4em auto;padding:0 1em}"
                        "</style>\n<h1>%d %s</h1>\n<p>The proxy could not pass this request on%s" SLICE_FMT ": " SLICE_FMT ".</p>\n" SLICE_FMT
                        "<p><small>ginnel: %s (%s)</small></p>\n",
                        r->status, reason, r->status, reason, r->target.n ? " to " : "", SLICE_ARG(r->target), SLICE_ARG(detail),
                        SLICE_ARG(more), r->end->token, r->end->proxy_status);
}

static struct slice text_more(struct arena *a, const struct refusal *r)
{
    struct body_line lines[BODY_LINES];
    struct slice all = SLICE("");

    body_lines(a, r, lines);
    for (size_t i = 0; i < BODY_LINES && all.p; i++)
        if (lines[i].text.n)
            all = arena_printf(a, SLICE_FMT "%s%s" SLICE_FMT "\n", SLICE_ARG(all), lines[i].name ? lines[i].name : "", lines[i].name ? ": " : "",
                               SLICE_ARG(lines[i].text));
    return all;
}

static struct slice body_text(struct arena *a, const struct refusal *r)
{
    struct slice more;

    if (r->reasons == REASONS_NONE)
        return arena_printf(a, "%d %s\n", r->status, status_reason(r->status));
    more = text_more(a, r);
    if (!more.p)
        return SLICE_NONE;
    return arena_printf(a, "%d %s\nThe proxy could not pass this request on%s" SLICE_FMT ": " SLICE_FMT ".\n" SLICE_FMT "ginnel: %s (%s)\n", r->status,
                        status_reason(r->status), r->target.n ? " to " : "", SLICE_ARG(r->target), SLICE_ARG(r->detail), SLICE_ARG(more),
                        r->end->token, r->end->proxy_status);
}

static struct slice body_make(struct arena *a, enum body_form form, const struct refusal *r)
{
    switch (form) {
    case BODY_JSON:
        return body_json(a, r);
    case BODY_HTML:
        return body_html(a, r);
    case BODY_TEXT:
        break;
    }
    return body_text(a, r);
}

static struct slice body_type(enum body_form form)
{
    switch (form) {
    case BODY_JSON:
        return SLICE("application/json");
    case BODY_HTML:
        return SLICE("text/html; charset=utf-8");
    case BODY_TEXT:
        break;
    }
    return SLICE("text/plain; charset=utf-8");
}

/* ---- what a parent said ---- */

/* The bytes that may stand in text: everything but control characters. */
static size_t clean_byte(char c, enum body_form form, char out[6])
{
    const char *ref = c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : c == '"' ? "&quot;" : NULL;

    if (form == BODY_HTML && ref) {
        memcpy(out, ref, strlen(ref));
        return strlen(ref);
    }
    out[0] = c;
    if (((unsigned char)c < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f)
        out[0] = '?';
    return 1;
}

/* The page with the parent's own answer behind it (U13): as text, whatever it is. *body is replaced by x->body, which is freed with the exchange. ERR_NOMEM */
static int add_parent_page(struct xchg *x, enum body_form form, const struct parent_answer *a, struct slice *body)
{
    struct slice lead = form == BODY_HTML ? SLICE("<p>The parent proxy says:</p>\n<pre>") : SLICE("\nThe parent proxy says:\n");
    struct slice tail = form == BODY_HTML ? SLICE("</pre>\n") : SLICE("\n");
    size_t n = body->n + lead.n;
    char *p = mem_alloc(n + a->n_body * 6 + tail.n);

    if (!p)
        return ERR_NOMEM;
    memcpy(p, body->p, body->n);
    memcpy(p + body->n, lead.p, lead.n);
    for (size_t i = 0; i < a->n_body; i++)
        n += clean_byte(a->body[i], form, p + n);
    memcpy(p + n, tail.p, tail.n);
    mem_free(x->body);
    x->body = p;
    *body = slice_of(p, n + tail.n);
    return 0;
}

/* As a member of the object. */
static int add_parent_member(struct xchg *x, const struct parent_answer *a, struct slice *body)
{
    size_t cap = body->n + a->n_body * 6 + 32, keep = body->n;
    char *p = mem_alloc(cap);
    struct json j;

    if (!p)
        return ERR_NOMEM;
    /* The closing brace and the line end come again behind it. */
    while (keep && (body->p[keep - 1] == '\n' || body->p[keep - 1] == '}'))
        keep--;
    memcpy(p, body->p, keep);
    memcpy(p + keep, ",\"parent_body\":", 15);
    keep += 15;
    json_init(&j, p + keep, cap - keep - 2);
    json_str(&j, slice_of(a->body, a->n_body));
    memcpy(p + keep + j.n, "}\n", 2);
    mem_free(x->body);
    x->body = p;
    *body = slice_of(p, keep + j.n + 2);
    return 0;
}

static int add_parent(struct xchg *x, enum body_form form, const struct refusal *r, struct slice *body)
{
    if (!r->parent || !r->parent->n_body || r->reasons == REASONS_NONE)
        return 0;
    return form == BODY_JSON ? add_parent_member(x, r->parent, body) : add_parent_page(x, form, r->parent, body);
}

/* ---- heads ---- */

static int add(struct xchg *x, struct head *h, const char *name, struct slice value)
{
    struct slice n = slice_str(name);

    return value.p ? hdrs_add(&h->fields, &x->arena, hdr_id(n), n, value) : ERR_NOMEM;
}

/* Content-Length is the mux's to write; Date and Via are step reply's. */
static struct head *head_new(struct xchg *x, int status, struct slice type, size_t length)
{
    struct head *h = arena_zalloc(&x->arena, sizeof(*h));

    if (!h)
        return NULL;
    h->response = true;
    h->version = 11;
    h->status = status;
    h->reason = slice_str(status_reason(status));
    h->body = BODY_SIZED;
    h->length = length;
    hdrs_init(&h->fields);
    if (type.n && add(x, h, "Content-Type", type) < 0)
        return NULL;
    return h;
}

static const char *rcode_name(uint8_t rcode)
{
    static const char *const names[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};

    return rcode < ARRAY_LEN(names) ? names[rcode] : NULL;
}

/* RFC 9209 2.3.2: dns_error tells the RCODE. */
static struct slice dns_parameter(struct xchg *x)
{
    const char *name = rcode_name(x->req->answer.rcode);

    if (x->rec.end != END_DNS_ERROR || !x->req->answer.rcode || !name)
        return SLICE("");
    return arena_printf(&x->arena, "; rcode=\"%s\"", name);
}

/* RFC 9209 2.1.5, 2.3.15: what the next hop has answered. */
static struct slice next_hop_parameter(struct xchg *x)
{
    const struct parent_answer *a = x->req->answered;

    if (a && (x->rec.end == END_PARENT_REFUSED || x->rec.end == END_PARENT_AUTH))
        return arena_printf(&x->arena, "; received-status=%d", a->status);
    if (x->rec.end == END_PARENT_AUTH)
        return SLICE("; received-status=407");
    if (x->rec.end == END_TLS_ALERT)
        return arena_printf(&x->arena, "; alert-id=%u", (unsigned)x->req->alert);
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
    struct slice say = slice_of(r->say.p, min_size(r->say.n, LOCAL_SAY_DETAILS)), all;

    all = arena_printf(&x->arena, SLICE_FMT "%s" SLICE_FMT "%s%s" SLICE_FMT "%s" SLICE_FMT, SLICE_ARG(r->detail), r->place.n ? " (" : "",
                       SLICE_ARG(r->place), r->place.n ? ")" : "", say.n ? "; " : "", SLICE_ARG(say), r->hint.n ? "; what helps: " : "",
                       SLICE_ARG(r->hint));
    for (size_t i = 0; i < all.n && all.p; i++)
        if (all.p[i] == '\n' || all.p[i] == '\t')
            ((char *)(uintptr_t)all.p)[i] = ' ';
    return all.p ? sf_string(&x->arena, all) : SLICE_NONE;
}

/* `name; error=type; details="text"` (RFC 9209 2). The name is a token; one that begins with a digit must be a string. */
static struct slice proxy_status(struct xchg *x, const struct refusal *r)
{
    const char *name = x->snap->conf->name;
    bool token = (name[0] >= 'A' && name[0] <= 'Z') || (name[0] >= 'a' && name[0] <= 'z') || name[0] == '*';
    const char *q = token ? "" : "\"";
    struct slice dns = dns_parameter(x), hop = next_hop_parameter(x), details;

    if (!dns.p || !hop.p)
        return SLICE_NONE;
    if (r->reasons == REASONS_NONE)
        return arena_printf(&x->arena, "%s%s%s; error=%s", q, name, q, r->end->proxy_status);
    details = status_details(x, r);
    if (!details.p)
        return SLICE_NONE;
    return arena_printf(&x->arena, "%s%s%s; error=%s; details=\"" SLICE_FMT "\"" SLICE_FMT SLICE_FMT, q, name, q, r->end->proxy_status, SLICE_ARG(details),
                        SLICE_ARG(dns), SLICE_ARG(hop));
}

/* ---- what is told ---- */

/* What whoever runs the proxy can do about it; NULL: nothing that a setting would help. */
static const char *way_out(enum end_reason reason)
{
    switch ((unsigned)reason) {
    case END_URI_TOO_LONG:
        return "the limit is `sizes: {line: …}`";
    case END_HEAD_TOO_LARGE:
        return "the limits are `sizes: {head: …, fields: …}`";
    case END_REQUEST_TIMEOUT:
        return "the limits are `timeouts: {head: …, idle: …, body-rate: …}`";
    case END_CONNECT_TIMEOUT:
        return "the limit is `timeouts: {connect: …}`";
    case END_UPSTREAM_TIMEOUT:
        return "the limit is `timeouts: {response: …}`";
    case END_NO_PORTS:
        return "more addresses in `upstream: [{bind: […]}]`, or a wider net.ipv4.ip_local_port_range";
    case END_CAPACITY_CONNECTIONS:
        return "the limit is `capacity: {connections: …}`";
    case END_CAPACITY_CLIENT:
        return "the limit is `capacity: {per-client: …}`";
    case END_CAPACITY_MEMORY:
        return "the limit is `capacity: {memory: …}`";
    case END_NO_DESCRIPTORS:
        return "the limit of open files (LimitNOFILE, ulimit -n) is too low";
    case END_PARENT_AUTH:
        return "the operator gives `upstream: [{via: …, auth: {basic: …}}]` the right credentials";
    case END_TLS_CERTIFICATE:
        return "`trust`, or an entry of `origins` for this host";
    case END_AUTH_NEEDED:
        return "the operator adds names with `ginnel passwd`, or to the program that `users` names";
    case END_AUTH_THROTTLED:
        return "the client stops sending wrong passwords, or waits";
    default:
        return NULL;
    }
}

/* Where connections were tried: the addresses that policy let through. */
static struct slice tried(struct xchg *x)
{
    struct slice all = SLICE("");

    for (unsigned i = 0; i < x->req->n_addrs && all.p; i++) {
        char text[ADDR_TEXT_MAX];

        addr_text(&x->req->addrs[i], text);
        all = arena_printf(&x->arena, SLICE_FMT "%s%s", SLICE_ARG(all), i ? ", " : "", text);
    }
    return all;
}

static struct slice target_of(struct xchg *x)
{
    if (!x->req->head || !x->rec.host.n)
        return SLICE("");
    return arena_printf(&x->arena, x->req->head->auth.kind == HOST_IPV6 ? "[" SLICE_FMT "]:%u" : SLICE_FMT ":%u",
                        SLICE_ARG(x->rec.host), x->rec.port);
}

/* The operator's own words, as text that no terminal minds. */
static struct slice clean(struct arena *a, const char *text)
{
    struct slice s = arena_dup(a, slice_of(text, min_size(strlen(text), LOCAL_SAY_MAX)));
    char *p = (char *)(uintptr_t)s.p;

    for (size_t i = 0; p && i < s.n; i++)
        if (((unsigned char)p[i] < 0x20 && p[i] != '\n' && p[i] != '\t') || p[i] == 0x7f)
            p[i] = '?';
    return s;
}

static const char *say_of(const struct policy *p, const struct verdict *v)
{
    if (v->by)
        return v->by->say;
    return v->reason == END_DENIED && p->has_rules ? p->say : NULL;
}

/* The rule that would let it pass, as a sentence; or what else helps. */
static struct slice way_of(struct arena *a, const struct explain *e)
{
    if (e->kind == EXPLAIN_KEY)
        return arena_dup(a, slice_str(e->way));
    return arena_printf(a, "the operator adds `%s` to `rules`%s%s", e->way, e->before ? ", before " : "", e->before ? e->before : "");
}

/* What policy decided. ERR_NOMEM */
static int tell_verdict(struct xchg *x, struct refusal *r)
{
    const struct verdict *v = &x->req->verdict;
    const struct policy *p = x->snap->policy;
    const char *say = say_of(p, v);
    struct match_facts f = xchg_facts(x);
    struct explain e;

    f.to = &x->req->refused;
    explain(p, &f, v, r->reasons == REASONS_ALL ? EXPLAIN_OPERATOR : EXPLAIN_CLIENT, &e);
    r->place = v->place ? slice_str(v->place) : SLICE_NONE;
    /* `private` is not the rule, though the rule let it come so far. */
    r->rule = v->by && v->by->name && v->place == v->by->place ? slice_str(v->by->name) : SLICE_NONE;
    /* Of the others, limits say more than rules know. */
    if (explain_knows(v->reason))
        r->detail = arena_dup(&x->arena, slice_str(e.why));
    r->say = say ? clean(&x->arena, say) : SLICE("");
    if (e.kind != EXPLAIN_NO_WAY)
        r->hint = way_of(&x->arena, &e);
    return r->detail.p && r->say.p && (e.kind == EXPLAIN_NO_WAY || r->hint.p) ? 0 : ERR_NOMEM;
}

/* ERR_NOMEM */
static int refusal_of(struct xchg *x, enum end_reason reason, const char *detail, struct refusal *ret_r)
{
    const struct end_info *e = end_info(reason);
    struct refusal r = {.status = e->status, .reasons = x->listen->reasons, .end = e, .detail = slice_str(detail ? detail : e->text)};
    const char *hint = way_out(reason);

    r.parent = x->req->answered;
    if (r.reasons != REASONS_NONE) {
        r.target = target_of(x);
        r.hint = hint ? slice_str(hint) : SLICE_NONE;
        if (!r.target.p)
            return ERR_NOMEM;
        if (x->req->verdict.kind == VERDICT_DENY && x->req->verdict.reason == reason && tell_verdict(x, &r) < 0)
            return ERR_NOMEM;
    }
    if (r.reasons == REASONS_ALL) {
        r.addresses = tried(x);
        if (!r.addresses.p)
            return ERR_NOMEM;
    }
    *ret_r = r;
    return 0;
}

/* After these nothing more can be understood, or should be, on the connection. */
static bool must_close(enum end_reason reason)
{
    const struct end_info *e = end_info(reason);

    return e->status == 400 || e->status == 408 || e->status == 414 || e->status == 431 || e->status == 501 ||
           e->status == 505 || reason == END_NOT_ADMITTED || reason == END_DRAINED || reason == END_NO_MEMORY ||
           reason == END_CAPACITY_CONNECTIONS || reason == END_CAPACITY_CLIENT || reason == END_CAPACITY_MEMORY;
}

size_t local_busy_reply(const char *name, enum end_reason why, bool details, char out[LOCAL_BUSY_MAX])
{
    const struct end_info *e = end_info(why);
    int n = snprintf(out, LOCAL_BUSY_MAX,
                     "HTTP/1.1 %d %s\r\nProxy-Status: \"%s\"; error=%s%s%s%s\r\n"
                     "Via: 1.1 %s\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                     e->status, status_reason(e->status), name, e->proxy_status, details ? "; details=\"" : "", details ? e->text : "",
                     details ? "\"" : "", name);

    return min_size((size_t)n, LOCAL_BUSY_MAX - 1);
}

/* Nearest to the origin first (C71). */
static int add_members(struct xchg *x, struct head *h, const struct parent_answer *a)
{
    for (unsigned i = 0; a && i < a->n_members; i++)
        if (add(x, h, "Proxy-Status", a->members[i]) < 0)
            return ERR_NOMEM;
    return 0;
}

#define CLEAR_TEXT                                                                                                                     \
    "400: this port of the proxy speaks TLS, and was spoken to in clear.\nWrite its URL with https:// (curl -x https://HOST:PORT ...; a " \
    "browser's PAC file says \"HTTPS host:port\").\nThe operator can let both be spoken here: `tls: {clear: yes}`.\n"

size_t local_clear_reply(const char *name, bool details, char out[LOCAL_CLEAR_MAX])
{
    const struct end_info *e = end_info(END_BAD_REQUEST);
    int n = snprintf(out, LOCAL_CLEAR_MAX,
                     "HTTP/1.1 %d %s\r\nProxy-Status: \"%s\"; error=%s%s\r\nVia: 1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                     "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                     e->status, status_reason(e->status), name, e->proxy_status, details ? "; details=\"this port speaks TLS\"" : "", name,
                     details ? sizeof(CLEAR_TEXT) - 1 : 0, details ? CLEAR_TEXT : "");

    return min_size((size_t)n, LOCAL_CLEAR_MAX - 1);
}

static struct slice retry_after(struct xchg *x)
{
    return arena_printf(&x->arena, "%u", x->req->retry_s ? x->req->retry_s : 1);
}

int local_error(struct xchg *x, enum end_reason reason, const char *detail, struct head **ret_head, struct slice *ret_body)
{
    const struct end_info *e = end_info(reason);
    enum body_form form = body_form_of(x->req->head);
    struct refusal r;
    struct slice body;
    struct head *h;

    if (refusal_of(x, reason, detail, &r) < 0)
        return ERR_NOMEM;
    body = body_make(&x->arena, form, &r);
    if (body.p && add_parent(x, form, &r, &body) < 0)
        return ERR_NOMEM;
    h = body.p ? head_new(x, e->status, body_type(form), body.n) : NULL;
    if (!h || add_members(x, h, r.parent) < 0 || add(x, h, "Proxy-Status", proxy_status(x, &r)) < 0)
        return ERR_NOMEM;
    if ((e->status == 503 || e->status == 429) && add(x, h, "Retry-After", retry_after(x)) < 0)
        return ERR_NOMEM;
    if (e->status == 407 && add(x, h, "Proxy-Authenticate", SLICE(AUTHN_CHALLENGE)) < 0)
        return ERR_NOMEM;
    if (e->status == 405 && add(x, h, "Allow", SLICE("GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, PATCH")) < 0)
        return ERR_NOMEM;
    /* A refused CONNECT is the end of its connection: what its client takes for the tunnel may be on the way. */
    h->close = must_close(reason) || ((e->status == 407 || r.parent) && x->req->head && x->req->head->method == METHOD_CONNECT);
    *ret_head = h;
    *ret_body = body;
    return 0;
}

/* ---- listeners that do not proxy ---- */

static const char *reply_allow(const struct site_reply *r)
{
    return r->status == 405 ? r->allow : NULL;
}

enum xstep local_site(struct xchg *x)
{
    const struct head *h = x->req->head;
    size_t query = slice_find(h->path, '?');
    struct site_request q = {
        .role = x->listen->role,
        .method = h->method,
        .path = slice_of(h->path.p, query),
        .query = slice_skip(h->path, min_size(query + 1, h->path.n)),
        .wants_json = body_form_of(h) == BODY_JSON,
    };
    struct site_reply r = {0};
    struct head *out;

    if (h->form == FORM_ABSOLUTE || h->method == METHOD_CONNECT)
        return xchg_fail(x, END_BAD_REQUEST, "this is not the proxy's address but its administration's");
    x->worker->site(x->worker->site_owner, &q, &r);
    x->body = r.body;
    out = r.status ? head_new(x, r.status, slice_str(r.type ? r.type : "text/plain; charset=utf-8"), r.n) : NULL;
    if (!out || (reply_allow(&r) && add(x, out, "Allow", slice_str(r.allow)) < 0))
        return xchg_fail(x, END_NO_MEMORY, NULL);
    return xchg_reply_local(x, out, slice_of(r.body, r.n));
}

/* ---- the small site ---- */

static enum xstep reply(struct xchg *x, int status, struct slice type, struct slice body)
{
    struct head *h = body.p ? head_new(x, status, type, body.n) : NULL;

    return h ? xchg_reply_local(x, h, body) : xchg_fail(x, END_NO_MEMORY, NULL);
}

/* A list with commas between, as an array. */
static void json_names(struct json *j, const char *key, struct slice list)
{
    json_key(j, key);
    json_open(j, '[');
    while (list.n) {
        size_t n = slice_find(list, ',');

        json_str(j, slice_of(list.p, n));
        list = n < list.n ? slice_skip(list, n + 1) : SLICE_NONE;
    }
    json_close(j, ']');
}

/* http://ginnel.internal/: proves to a client that it comes through this proxy (S001-27). */
static enum xstep who_am_i(struct xchg *x)
{
    const struct access_record *r = &x->rec;
    size_t cap = LOCAL_BODY_MAX + (r->user.n + r->groups.n + r->labels.n) * 8;
    char addr[ADDR_TEXT_MAX];
    char *p = arena_alloc(&x->arena, cap);
    struct json j;

    if (!p)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    addr_host_text(&x->session->client, addr);
    json_init(&j, p, cap - 1);
    json_open(&j, '{');
    json_kstr(&j, "proxy", SLICE("ginnel"));
    json_kstr(&j, "version", SLICE(GINNEL_VERSION));
    json_kstr(&j, "name", slice_str(x->snap->conf->name));
    json_kstr(&j, "client_address", slice_str(addr));
    json_ku64(&j, "client_port", addr_port(&x->session->client));
    if (r->user.n) {
        json_kstr(&j, "user", r->user);
        json_names(&j, "groups", r->groups);
        json_names(&j, "labels", r->labels);
    }
    json_close(&j, '}');
    p[j.n] = '\n';
    return reply(x, 200, SLICE("application/json"), slice_of(p, j.n + 1));
}

static enum xstep internal_site(struct xchg *x)
{
    const struct head *h = x->req->head;

    if (h->method == METHOD_CONNECT)
        return xchg_fail(x, END_NOT_BUILT, "ginnel.internal is a plain http site of the proxy itself");
    if (!slice_eq(slice_of(h->path.p, slice_find(h->path, '?')), SLICE("/")))
        return reply(x, 404, SLICE("text/plain; charset=utf-8"), SLICE("404: http://ginnel.internal/ is all there is\n"));
    if (h->method != METHOD_GET && h->method != METHOD_HEAD)
        return reply(x, 405, SLICE("text/plain; charset=utf-8"), SLICE("405: GET or HEAD\n"));
    return who_am_i(x);
}

static bool is_page(struct slice path)
{
    return slice_eq(path, SLICE("/healthz")) || slice_eq(path, SLICE("/proxy.pac")) || slice_eq(path, SLICE("/wpad.dat"));
}

static bool is_own_host(struct xchg *x, const struct authority *auth, const struct addr *local)
{
    char text[ADDR_TEXT_MAX];

    if (pac_name_is_for(x->listen->cert_names, auth->host))
        return true;
    addr_host_text(local, text);
    return slice_eq(auth->host, slice_str(text)) || (addr_is_loopback(local) && slice_eq(auth->host, SLICE("localhost")));
}

bool local_is_own_page(struct xchg *x, const struct head *h)
{
    enum scheme scheme = x->session->door && x->session->door->tls_version ? SCHEME_HTTPS : SCHEME_HTTP;
    struct addr local;

    if (h->version != 20 || h->form != FORM_ABSOLUTE || h->scheme != scheme || (h->method != METHOD_GET && h->method != METHOD_HEAD) || !is_page(h->path))
        return false;
    if (x->listen->role != LISTEN_PROXY || !conn_tcp_local(x->session->mux->conn, &local))
        return false;
    return x->req->port == addr_port(&local) && is_own_host(x, &h->auth, &local);
}

/* A script for browsers: these listeners, those with TLS first. */
static enum xstep pac_file(struct xchg *x)
{
    const struct head *h = x->req->head;
    struct slice proxies;
    struct addr local = {0};

    if (h->method != METHOD_GET && h->method != METHOD_HEAD)
        return reply(x, 405, SLICE("text/plain; charset=utf-8"), SLICE("405: GET or HEAD\n"));
    if (!conn_tcp_local(x->session->mux->conn, &local))
        local = (struct addr){0};
    if (pac_proxies(&x->arena, x->snap, &h->auth, &local, &proxies) < 0)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    if (proxies.n == 0)
        return reply(x, 404, SLICE("text/plain; charset=utf-8"), SLICE("404: no listener has an address that could be written into a PAC file\n"));
    return reply(x, 200, SLICE("application/x-ns-proxy-autoconfig"),
                 arena_printf(&x->arena, "function FindProxyForURL(url, host) {\n  return \"" SLICE_FMT "\";\n}\n", SLICE_ARG(proxies)));
}

/* A request that was meant for an origin, or a browser tricked by DNS into asking us: never forwarded (DESIGN 2). */
static enum xstep origin_form(struct xchg *x)
{
    const struct head *h = x->req->head;

    if (slice_eq(h->path, SLICE("/healthz")) && (h->method == METHOD_GET || h->method == METHOD_HEAD))
        return reply(x, 200, SLICE("text/plain; charset=utf-8"), SLICE("ok\n"));
    if (slice_eq(h->path, SLICE("/proxy.pac")) || slice_eq(h->path, SLICE("/wpad.dat")))
        return pac_file(x);
    return xchg_fail(x, END_BAD_REQUEST, "this is a proxy: send it the whole URL (GET http://host/path) or CONNECT host:port");
}

/* Max-Forwards: 0 is answered by whoever it has reached (RFC 9110 7.6.2). */
static bool last_hop(const struct head *h)
{
    const struct field *f = hdrs_find(&h->fields, HDR_MAX_FORWARDS);
    uint64_t n;

    return h->method == METHOD_OPTIONS && f && num_dec(f->value, UINT32_MAX, &n) == 0 && n == 0;
}

static enum xstep options_here(struct xchg *x)
{
    struct head *h = head_new(x, 200, SLICE_NONE, 0);

    if (!h || add(x, h, "Allow", SLICE("GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, PATCH")) < 0)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    return xchg_reply_local(x, h, SLICE(""));
}

enum xstep local_answer(struct xchg *x)
{
    const struct head *h = x->req->head;

    if (h->method != METHOD_CONNECT && h->form != FORM_ABSOLUTE)
        return origin_form(x);
    if (h->method == METHOD_TRACE)
        return xchg_fail(x, END_TRACE_OFF, NULL);
    if (slice_eq(h->auth.host, SLICE("ginnel.internal")))
        return internal_site(x);
    if (last_hop(h))
        return options_here(x);
    return STEP_COUNT;
}
