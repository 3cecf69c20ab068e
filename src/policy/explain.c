/* SPDX-License-Identifier: MIT */
/* explain: the words of refusals. Called where one is answered, logged, or asked about later: all of them say the same. What is suggested is the least that
 * lets this request pass; that it does is for whoever writes it to want.
 */
#include "policy/explain.h"

#include <stdarg.h>

/* ---- pieces of text ---- */

struct out {
    char *p;
    size_t n, cap;
};

static void put(struct out *o, const char *fmt, ...) PRINTF(2, 3);

static void put(struct out *o, const char *fmt, ...)
{
    va_list ap;
    int n;

    if (o->n + 1 >= o->cap)
        return;
    va_start(ap, fmt);
    n = vsnprintf(o->p + o->n, o->cap - o->n, fmt, ap);
    va_end(ap);
    if (n > 0)
        o->n = min_size(o->n + (size_t)n, o->cap - 1);
}

static bool is_plain_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* Words that YAML takes for something else, in the one case or the other. */
static bool is_yaml_word(struct slice s)
{
    static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (slice_eq_nocase(s, slice_str(words[i])))
            return true;
    return false;
}

static bool is_plain(struct slice s)
{
    bool plain = s.n && s.p[0] != '-' && !is_yaml_word(s);

    for (size_t i = 0; i < s.n && plain; i++)
        plain = is_plain_byte(s.p[i]);
    return plain;
}

void explain_scalar(struct slice s, char out[EXPLAIN_SCALAR])
{
    struct out o = {out, 0, EXPLAIN_SCALAR};

    out[0] = '\0';
    if (is_plain(s)) {
        put(&o, SLICE_FMT, SLICE_ARG(s));
        return;
    }
    put(&o, "\"");
    /* A closing quote always fits: what is cut is still a string. */
    for (size_t i = 0; i < s.n && o.n + 6 < o.cap; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c == '"' || c == '\\')
            put(&o, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            put(&o, "\\x%02x", c);
        else
            put(&o, "%c", c);
    }
    put(&o, "\"");
}

void explain_host(struct slice host, char out[EXPLAIN_SCALAR])
{
    /* The one name that would mean everything. */
    if (slice_eq(host, SLICE("any")))
        host = SLICE(".any");
    explain_scalar(host, out);
}

void explain_target(const struct match_facts *f, char out[EXPLAIN_TARGET])
{
    bool v6 = f->literal.sa.sa_family == AF_INET6;

    snprintf(out, EXPLAIN_TARGET, "%s" SLICE_FMT "%s:%u", v6 ? "[" : "", SLICE_ARG(f->host), v6 ? "]" : "", (unsigned)f->port);
}

const char *explain_title(const struct verdict *v)
{
    /* What passes because nothing is written about it was decided by nothing. */
    if (!v->by)
        return v->kind == VERDICT_DENY ? v->place : NULL;
    /* `private` refuses the address, not the rule that has let the name pass. */
    return v->kind == VERDICT_DENY && v->reason == END_ADDRESS_DENIED ? v->place : rule_title(v->by);
}

static bool is_ip(const struct addr *a)
{
    return a && (a->sa.sa_family == AF_INET || a->sa.sa_family == AF_INET6);
}

/* ---- why ---- */

bool explain_is_refusal(enum end_reason r)
{
    switch ((unsigned)r) {
    case END_NOT_ADMITTED:
    case END_DENIED:
    case END_ADDRESS_DENIED:
    case END_AUTH_NEEDED:
    case END_AUTH_THROTTLED:
    case END_LIMIT_REQUESTS:
    case END_LIMIT_TUNNELS:
    case END_QUOTA:
    case END_UPLOAD_CAP:
    case END_DOWNLOAD_CAP:
    case END_SNI_DENIED:
    case END_PROTOCOL_DENIED:
    case END_RELOADED:
    case END_UPSTREAM_DENIED:
        return true;
    default:
        return false;
    }
}

bool explain_knows(enum end_reason r)
{
    return r == END_NOT_ADMITTED || r == END_DENIED || r == END_ADDRESS_DENIED || r == END_LOOP || r == END_UPSTREAM_DENIED;
}

static bool is_final(const struct policy *p, const struct verdict *v)
{
    return v->reason == END_DENIED && !v->by && p->has_rules;
}

static void why_final(const struct policy *p, const struct match_facts *f, const struct rule *near, enum match_word word, struct out *o)
{
    char target[EXPLAIN_TARGET];

    explain_target(f, target);
    put(o, p->n_rules ? "no rule allows %s" : "there is no rule, so nothing allows %s", target);
    if (near && near->name)
        put(o, "; the nearest, %s (%s), fails at `%s`", near->name, near->place, match_word_name(word));
    else if (near)
        put(o, "; the nearest, at %s, fails at `%s`", near->place, match_word_name(word));
}

static void why_denied(const struct policy *p, const struct match_facts *f, const struct verdict *v, struct out *o)
{
    char target[EXPLAIN_TARGET];

    explain_target(f, target);
    if (v->by && v->by->name)
        put(o, "the rule %s refuses %s", v->by->name, target);
    else if (v->by)
        put(o, "a rule refuses %s", target);
    else if (!p->has_rules)
        put(o, "port %u is not open", (unsigned)f->port);
    else
        put(o, "%s", end_info(v->reason)->text);
}

static void why_address(const struct match_facts *f, const struct verdict *v, enum explain_reader reader, struct out *o)
{
    char addr[ADDR_TEXT_MAX];

    if (!v->what)
        put(o, "the target is an address of this proxy's own administration");
    else if (reader == EXPLAIN_CLIENT || !is_ip(f->to))
        put(o, "the target's address is one that `private` keeps closed");
    else
        put(o, "the target's address, %.*s, is in %s, which `private` keeps closed", (int)addr_host_text(f->to, addr), addr, v->what);
}

static void why_upstream(const struct match_facts *f, struct out *o)
{
    char target[EXPLAIN_TARGET];

    explain_target(f, target);
    put(o, "an entry of `upstream` says that %s goes nowhere", target);
}

static void why(const struct policy *p, const struct match_facts *f, const struct verdict *v, enum explain_reader reader, struct out *o)
{
    switch ((unsigned)v->reason) {
    case END_NOT_ADMITTED:
        put(o, "this client address is not among `clients`");
        return;
    case END_DENIED:
        why_denied(p, f, v, o);
        return;
    case END_ADDRESS_DENIED:
        why_address(f, v, reader, o);
        return;
    case END_LOOP:
        put(o, "the target is this proxy itself");
        return;
    case END_UPSTREAM_DENIED:
        why_upstream(f, o);
        return;
    default:
        put(o, "%s%s%s", end_info(v->reason)->text, v->what ? ": " : "", v->what ? v->what : "");
        return;
    }
}

/* ---- the way out ---- */

static bool is_usual_port(const struct policy *p, uint16_t port)
{
    for (unsigned i = 0; i < p->n_ports; i++)
        if (p->ports[i].first <= port && port <= p->ports[i].last)
            return true;
    return p->n_ports == 0 && (port == 80 || port == 443);
}

/* A private address is not open because a name was allowed. */
static bool needs_to(const struct policy *p, const struct match_facts *f)
{
    return !is_ip(&f->literal) && is_ip(f->to) && guard_refuses(p->private, f->to);
}

static void put_words(const struct policy *p, const struct match_facts *f, enum match_word failed, struct out *o)
{
    char text[EXPLAIN_SCALAR], addr[ADDR_TEXT_MAX];

    if (needs_to(p, f)) {
        explain_scalar(slice_of(addr, addr_host_text(f->to, addr)), text);
        put(o, ", to: %s", text);
    }
    if (!is_usual_port(p, f->port))
        put(o, ", port: %u", (unsigned)f->port);
    if ((failed == WORD_USER || failed == WORD_GROUP || failed == WORD_LABEL) && f->user.n) {
        explain_scalar(f->user, text);
        put(o, ", user: %s", text);
    }
    if (failed == WORD_FROM && is_ip(f->from)) {
        explain_scalar(slice_of(addr, addr_host_text(f->from, addr)), text);
        put(o, ", from: %s", text);
    }
    if (failed == WORD_LISTENER && f->listener.n) {
        explain_scalar(f->listener, text);
        put(o, ", listener: %s", text);
    }
    /* Else the name would have to be the target's. */
    if (failed == WORD_SNI)
        put(o, ", sni: off");
    if (failed == WORD_METHOD && !f->opaque && f->method.n) {
        explain_scalar(f->method, text);
        put(o, ", method: %s", text);
    }
}

/* braces: also where there is one word only. */
static void put_rule(const struct policy *p, const struct match_facts *f, enum match_word failed, bool braces, struct out *o)
{
    char host[EXPLAIN_SCALAR], words[EXPLAIN_WAY / 2];
    struct out w = {words, 0, sizeof(words)};

    words[0] = '\0';
    explain_host(f->host, host);
    put_words(p, f, failed, &w);
    braces |= words[0] != '\0';
    put(o, "%sallow: %s%s%s", braces ? "{" : "", host, words, braces ? "}" : "");
}

static void way_denied(const struct policy *p, const struct match_facts *f, const struct verdict *v, enum match_word failed, struct explain *e,
                       struct out *o)
{
    if (!p->has_rules) {
        e->kind = EXPLAIN_KEY;
        put(o, "the operator adds %u to `ports`", (unsigned)f->port);
        return;
    }
    e->kind = EXPLAIN_RULE;
    e->before = v->by ? v->by->place : NULL;
    put(o, "- ");
    put_rule(p, f, failed, false, o);
}

static void way_address(const struct policy *p, const struct match_facts *f, const struct verdict *v, struct explain *e, struct out *o)
{
    /* Nothing that is written opens our own pages. */
    if (!v->what)
        return;
    if (!is_ip(f->to)) {
        e->kind = EXPLAIN_KEY;
        put(o, "an `allow` whose `to:` has the address");
    } else if (p->has_rules) {
        e->kind = EXPLAIN_RULE;
        e->before = v->by ? v->by->place : NULL;
        put(o, "- ");
        put_rule(p, f, WORD_NONE, false, o);
    } else {
        e->kind = EXPLAIN_KEY;
        put(o, "`rules: [");
        put_rule(p, f, WORD_NONE, true, o);
        /* As open as before, but for that. */
        put(o, p->n_ports ? ", {allow: any}]`" : ", {allow: any, port: any}]`");
    }
}

static void way_upstream(const struct match_facts *f, const struct verdict *v, struct explain *e, struct out *o)
{
    char host[EXPLAIN_SCALAR];

    explain_host(f->host, host);
    e->kind = EXPLAIN_KEY;
    put(o, "the operator adds `- {for: %s, via: …}` to `upstream`%s%s", host, v->place ? ", before " : "", v->place ? v->place : "");
}

static void way_not_admitted(const struct match_facts *f, struct explain *e, struct out *o)
{
    char addr[ADDR_TEXT_MAX];

    e->kind = EXPLAIN_KEY;
    if (is_ip(f->from))
        put(o, "the operator adds %.*s to `clients`", (int)addr_host_text(f->from, addr), addr);
    else
        put(o, "the operator adds the address to `clients`");
}

static void way_inside(const struct verdict *v, const char *word, struct explain *e, struct out *o)
{
    e->kind = EXPLAIN_KEY;
    put(o, "`%s` beside the rule that lets it pass%s%s%s", word, v->by ? " (" : "", v->by ? v->by->place : "", v->by ? ")" : "");
}

static void way(const struct policy *p, const struct match_facts *f, const struct verdict *v, enum match_word failed, struct explain *e, struct out *o)
{
    switch ((unsigned)v->reason) {
    case END_NOT_ADMITTED:
        way_not_admitted(f, e, o);
        return;
    case END_DENIED:
        way_denied(p, f, v, failed, e, o);
        return;
    case END_ADDRESS_DENIED:
        way_address(p, f, v, e, o);
        return;
    case END_SNI_DENIED:
        way_inside(v, "sni: off", e, o);
        return;
    case END_PROTOCOL_DENIED:
        way_inside(v, "expect: any", e, o);
        return;
    case END_AUTH_NEEDED:
        e->kind = EXPLAIN_KEY;
        put(o, "a name and a password that the proxy knows");
        return;
    case END_AUTH_THROTTLED:
        e->kind = EXPLAIN_KEY;
        put(o, "the right password, a while later");
        return;
    case END_UPSTREAM_DENIED:
        way_upstream(f, v, e, o);
        return;
    case END_LIMIT_REQUESTS:
    case END_LIMIT_TUNNELS:
    case END_QUOTA:
    case END_UPLOAD_CAP:
    case END_DOWNLOAD_CAP:
        e->kind = EXPLAIN_KEY;
        put(o, "the operator raises the limit");
        return;
    default:
        return;
    }
}

void explain(const struct policy *p, const struct match_facts *f, const struct verdict *v, enum explain_reader reader, struct explain *ret_explain)
{
    struct explain *e = ret_explain;
    struct out text = {e->why, 0, sizeof(e->why)}, line = {e->way, 0, sizeof(e->way)};
    struct match_facts told = *f;
    enum match_word word = WORD_NONE;
    const struct rule *near = is_final(p, v) ? policy_nearest(p, f, &word) : NULL;

    e->kind = EXPLAIN_NO_WAY;
    e->before = NULL;
    e->why[0] = e->way[0] = '\0';
    if (is_final(p, v))
        why_final(p, f, near, word, &text);
    else
        why(p, f, v, reader, &text);
    /* A literal is known to who asked for it. */
    if (reader == EXPLAIN_CLIENT && !is_ip(&f->literal))
        told.to = NULL;
    way(p, &told, v, near ? word : WORD_NONE, e, &line);
}
