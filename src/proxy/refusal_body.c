/* SPDX-License-Identifier: MIT */
/* refusal_body: writes the page that says why: as text, HTML or JSON. Called for every error that is answered here. Nothing is echoed unescaped.
 */
#include "proxy/refusal.h"

#include "base/json.h"
#include "base/mem.h"
#include "proto/phrase.h"

enum { FIXED_MAX = 2048 /* of a JSON body, beside what is put into it */ };

static void json_optional(struct json *j, const char *key, struct slice value)
{
    if (value.n)
        json_kstr(j, key, value);
}

static struct slice body_json(struct arena *a, const struct refusal *r)
{
    /* A byte escapes to six at most. */
    size_t cap = FIXED_MAX + 6 * (r->detail.n + r->rule.n + r->place.n + r->say.n + r->hint.n + r->addresses.n);
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

/* What stands for a byte that HTML minds; NULL: itself. */
static const char *html_reference(char c)
{
    return c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : c == '"' ? "&quot;" : NULL;
}

static struct slice html_escape(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.n * 6 + 1);
    size_t n = 0;

    if (!p)
        return SLICE_NONE;
    for (size_t i = 0; i < s.n; i++) {
        const char *ref = html_reference(s.p[i]);

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
    const char *reason = phrase_of(r->status);
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
        return arena_printf(a, "%d %s\n", r->status, phrase_of(r->status));
    more = text_more(a, r);
    if (!more.p)
        return SLICE_NONE;
    return arena_printf(a, "%d %s\nThe proxy could not pass this request on%s" SLICE_FMT ": " SLICE_FMT ".\n" SLICE_FMT "ginnel: %s (%s)\n", r->status,
                        phrase_of(r->status), r->target.n ? " to " : "", SLICE_ARG(r->target), SLICE_ARG(r->detail), SLICE_ARG(more),
                        r->end->token, r->end->proxy_status);
}

struct slice refusal_body(struct arena *a, enum body_form form, const struct refusal *r)
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

/* ---- what a parent said ---- */

/* The bytes that may stand in text: everything but control characters. */
static size_t clean_byte(char c, enum body_form form, char out[6])
{
    const char *ref = form == BODY_HTML ? html_reference(c) : NULL;

    if (ref) {
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

int refusal_body_add_parent(struct xchg *x, enum body_form form, const struct refusal *r, struct slice *body)
{
    if (!r->parent || !r->parent->n_body || r->reasons == REASONS_NONE)
        return 0;
    return form == BODY_JSON ? add_parent_member(x, r->parent, body) : add_parent_page(x, form, r->parent, body);
}
