/* SPDX-License-Identifier: MIT */
/* policy_text: rules and requests in one line each, for tables of decisions, random ones and fuzzing.
 *
 * A policy is statements with `;` or line feeds between:
 *     allow|deny ITEM...     a rule; they are counted from 1
 *     rules                  the key is there, even without one
 *     report                 `policy: report`
 *     private allow|metadata|deny        (deny unless it is said)
 *     ports 80,8000-8099     without rules: what is open
 *     own|admin|local ADDRESS
 * ITEM is a host (name, .name, range, any), WORD=VALUE,... which stands beside them, !HOST or !WORD=VALUE for `except`, {ITEM...} for a
 * destination that is a map, or `report` for `mode: report`. An allow without a port has 80 and 443, as the configuration makes it.
 * path=~X is an expression; header=NAME or header=NAME:VALUE; time=mon-fri_08:00-18:00.
 *
 * A request is METHOD TARGET [FACT=VALUE]...: CONNECT host:port, GET http://host:port/path. Facts: from, to, user, groups, labels, granted, sni,
 * listener, header, at (sat_12:30). `?` as value of user, to or sni: it may still come. */
#ifndef SUPPORT_POLICY_TEXT_H
#define SUPPORT_POLICY_TEXT_H

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "policy/match_time.h"
#include "policy/policy.h"

#include <stdio.h>

/* How many rules there may be; whoever needs more says so before. */
#ifndef POLICY_TEXT_RULES
#define POLICY_TEXT_RULES 24
#endif
enum { TEXT_RULES = POLICY_TEXT_RULES, TEXT_WHERE = 6, TEXT_VALUES = 12, TEXT_ADDRS = 4, TEXT_FIELDS = 4 };

/* Everything that one matcher may need. */
struct text_matcher {
    struct matcher m;
    struct matcher except;
    struct addr_range host_ranges[TEXT_VALUES], from[TEXT_VALUES], to[TEXT_VALUES];
    unsigned n_host_ranges, n_from, n_to;
};

struct text_rule {
    struct text_matcher where[TEXT_WHERE], with, with_except, where_except[TEXT_WHERE];
    struct matcher built[TEXT_WHERE], with_built;
    unsigned n_where;
    bool bare, has_with, any_port;
    char place[16];
};

struct text_policy {
    struct policy p;
    struct rule rules[TEXT_RULES];
    struct addr own[TEXT_ADDRS], admin[TEXT_ADDRS], local[TEXT_ADDRS];
    struct matcher_ports ports[TEXT_VALUES];
    unsigned errors; /* what could not be read, or had no room */
    struct text_rule parts[TEXT_RULES]; /* last: only those in use are cleared */
};

struct text_request {
    struct match_facts f;
    struct addr from, to[TEXT_ADDRS];
    unsigned n_to;
    struct hdrs fields;
    struct field field[TEXT_FIELDS];
    unsigned errors;
};

/* ---- reading ---- */

/* The next piece up to one of `ends`, which is skipped; empty ones are left out. */
static inline bool text_next(struct slice *list, const char *ends, struct slice *ret_piece)
{
    while (list->n && strchr(ends, list->p[0]))
        *list = slice_skip(*list, 1);
    if (!list->n)
        return false;
    ret_piece->p = list->p;
    ret_piece->n = 0;
    while (ret_piece->n < list->n && !(list->p[ret_piece->n] && strchr(ends, list->p[ret_piece->n])))
        ret_piece->n++;
    *list = slice_skip(*list, ret_piece->n);
    return true;
}

/* key=value: whether it is, with both. */
static inline bool text_split(struct slice s, struct slice *ret_key, struct slice *ret_value)
{
    size_t equals = slice_find(s, '=');

    if (equals == s.n)
        return false;
    *ret_key = slice_of(s.p, equals);
    *ret_value = slice_skip(s, equals + 1);
    return true;
}

static inline bool text_number(struct slice s, uint16_t *ret_number)
{
    uint64_t v;

    if (num_dec(s, UINT16_MAX, &v) < 0)
        return false;
    *ret_number = (uint16_t)v;
    return true;
}

static inline bool text_ports(struct slice s, struct matcher_ports *ret_ports)
{
    size_t dash = slice_find(s, '-');

    if (!text_number(slice_of(s.p, dash), &ret_ports->first))
        return false;
    ret_ports->last = ret_ports->first;
    return dash == s.n || text_number(slice_skip(s, dash + 1), &ret_ports->last);
}

/* ---- matchers ---- */

static inline bool text_word(struct slice **list, unsigned *n, struct slice word)
{
    if (!*list)
        *list = mem_array(TEXT_VALUES, sizeof(**list));
    if (!*list || *n == TEXT_VALUES || !word.n)
        return false;
    (*list)[(*n)++] = word;
    return true;
}

static inline bool text_name(struct hosts **set, struct slice name)
{
    if (!*set)
        *set = hosts_new();
    return *set && hosts_add(*set, name) == 0;
}

static inline bool text_range(struct addr_range *list, unsigned *n, struct slice s)
{
    if (*n == TEXT_VALUES || addr_range_parse(s, &list[*n]) < 0)
        return false;
    (*n)++;
    return true;
}

static inline bool text_host(struct text_matcher *t, struct slice s)
{
    struct addr_range r;

    t->m.has_host = true;
    if (slice_eq(s, SLICE("any"))) {
        t->m.any_host = true;
        return true;
    }
    if (addr_range_parse(s, &r) == 0)
        return text_range(t->host_ranges, &t->n_host_ranges, s);
    return text_name(&t->m.hosts, s);
}

static inline bool text_path(struct matcher *m, struct slice s)
{
    char why[REGEX_WHY];
    size_t at;

    if (!m->paths)
        m->paths = mem_array(TEXT_VALUES, sizeof(*m->paths));
    if (!m->paths || m->n_paths == TEXT_VALUES || !s.n)
        return false;
    m->paths[m->n_paths].text = s;
    if (s.p[0] == '~' && regex_new(slice_skip(s, 1), &m->paths[m->n_paths].regex, &at, why) < 0)
        return false;
    m->n_paths++;
    return true;
}

static inline bool text_header(struct matcher *m, struct slice s)
{
    size_t colon = slice_find(s, ':');
    struct matcher_field *f;

    if (!m->fields)
        m->fields = mem_array(TEXT_VALUES, sizeof(*m->fields));
    if (!m->fields || m->n_fields == TEXT_VALUES || colon == 0)
        return false;
    f = &m->fields[m->n_fields];
    f->name = slice_of(s.p, colon);
    f->id = hdr_id(f->name);
    if (colon < s.n) {
        f->values = mem_array(1, sizeof(*f->values));
        if (!f->values)
            return false;
        f->values[0].text = slice_skip(s, colon + 1);
        f->n = 1;
    }
    m->n_fields++;
    return true;
}

static inline bool text_time(struct matcher *m, struct slice s)
{
    char with_blanks[64];

    if (!m->times)
        m->times = mem_array(TEXT_VALUES, sizeof(*m->times));
    if (!m->times || m->n_times == TEXT_VALUES || s.n > sizeof(with_blanks))
        return false;
    for (size_t i = 0; i < s.n; i++)
        with_blanks[i] = s.p[i] == '_' ? ' ' : s.p[i];
    if (match_time_parse(slice_of(with_blanks, s.n), &m->times[m->n_times]) < 0)
        return false;
    m->n_times++;
    return true;
}

static inline bool text_scheme(struct matcher *m, struct slice s)
{
    unsigned bit = slice_eq(s, SLICE("http"))      ? MATCH_HTTP
                   : slice_eq(s, SLICE("https"))   ? MATCH_HTTPS
                   : slice_eq(s, SLICE("connect")) ? MATCH_CONNECT
                                                   : 0;

    m->schemes |= (uint8_t)bit;
    return bit;
}

static inline bool text_port(struct matcher *m, struct slice s)
{
    if (!m->ports)
        m->ports = mem_array(TEXT_VALUES, sizeof(*m->ports));
    if (!m->ports || m->n_ports == TEXT_VALUES || !text_ports(s, &m->ports[m->n_ports]))
        return false;
    m->n_ports++;
    return true;
}

static inline bool text_value(struct text_matcher *t, struct slice key, struct slice v)
{
    struct matcher *m = &t->m;

    if (slice_eq(key, SLICE("host")))
        return text_host(t, v);
    if (slice_eq(key, SLICE("port")))
        return text_port(m, v);
    if (slice_eq(key, SLICE("method")))
        return text_word(&m->methods, &m->n_methods, v);
    if (slice_eq(key, SLICE("scheme")))
        return text_scheme(m, v);
    if (slice_eq(key, SLICE("listener")))
        return text_word(&m->listeners, &m->n_listeners, v);
    if (slice_eq(key, SLICE("group")))
        return text_word(&m->groups, &m->n_groups, v);
    if (slice_eq(key, SLICE("label")))
        return text_word(&m->labels, &m->n_labels, v);
    if (slice_eq(key, SLICE("sni")))
        return text_name(&m->snis, v);
    if (slice_eq(key, SLICE("path")))
        return text_path(m, v);
    if (slice_eq(key, SLICE("user"))) {
        m->any_user = m->any_user || slice_eq(v, SLICE("any"));
        return slice_eq(v, SLICE("any")) || text_word(&m->users, &m->n_users, v);
    }
    if (slice_eq(key, SLICE("from"))) {
        m->has_from = true;
        return text_range(t->from, &t->n_from, v);
    }
    if (slice_eq(key, SLICE("to"))) {
        m->has_to = true;
        return text_range(t->to, &t->n_to, v);
    }
    return false;
}

static inline bool text_item(struct text_matcher *t, struct slice item)
{
    struct slice key, values, v;
    bool fine = true;

    if (!text_split(item, &key, &values))
        return text_host(t, item);
    if (slice_eq(key, SLICE("header")))
        return text_header(&t->m, values);
    if (slice_eq(key, SLICE("time")))
        return text_time(&t->m, values);
    while (text_next(&values, ",", &v))
        fine = text_value(t, key, v) && fine;
    return fine;
}

static inline bool text_build(struct text_matcher *t)
{
    return ranges_build(t->host_ranges, t->n_host_ranges, &t->m.host_ranges) == 0 &&
           ranges_build(t->from, t->n_from, &t->m.from) == 0 && ranges_build(t->to, t->n_to, &t->m.to) == 0;
}

/* ---- rules ---- */

static inline bool text_is_empty(const struct text_matcher *t)
{
    static const struct text_matcher nothing;

    return memcmp(t, &nothing, sizeof(nothing)) == 0;
}

/* Items of a map or of the rule itself go to a matcher and its exception. */
static inline bool text_item_or_except(struct text_matcher *t, struct text_matcher *except, struct slice item)
{
    return item.n > 1 && item.p[0] == '!' ? text_item(except, slice_skip(item, 1)) : text_item(t, item);
}

static inline bool text_map(struct text_rule *r, struct slice body)
{
    struct slice item;
    unsigned i = r->n_where;
    bool fine = true;

    if (i == TEXT_WHERE)
        return false;
    r->n_where++;
    while (text_next(&body, " ", &item))
        fine = text_item_or_except(&r->where[i], &r->where_except[i], item) && fine;
    return fine;
}

static inline bool text_rule_item(struct text_rule *r, struct rule *rule, struct slice item)
{
    struct slice key, value;

    if (slice_eq(item, SLICE("report"))) {
        rule->report = true;
        return true;
    }
    if (slice_eq(item, SLICE("port=any"))) {
        r->any_port = true;
        return true;
    }
    if (slice_eq(item, SLICE("!")))
        return false;
    if (item.p[0] != '!' && text_split(item, &key, &value) && slice_eq(key, SLICE("host")))
        return false; /* what stands beside `allow` is no destination */
    if (item.p[0] == '!' || text_split(item, &key, &value))
        return text_item_or_except(&r->with, &r->with_except, item);
    /* bare hosts are the first destination */
    return text_host(&r->where[0], item);
}

static inline bool text_usual_ports(struct matcher *m)
{
    return text_port(m, SLICE("80")) && text_port(m, SLICE("443"));
}

static inline bool text_finish(struct text_rule *r, struct rule *rule)
{
    bool fine = true;
    unsigned first = text_is_empty(&r->where[0]) ? 1 : 0;

    for (unsigned i = first; i < r->n_where; i++) {
        struct text_matcher *t = &r->where[i];

        if (rule->kind == RULE_ALLOW && !t->m.n_ports && !r->with.m.n_ports && !r->any_port)
            fine = text_usual_ports(&t->m) && fine;
        fine = text_build(t) && text_build(&r->where_except[i]) && fine;
        if (!text_is_empty(&r->where_except[i])) {
            t->m.except = &r->where_except[i].m;
            t->m.n_except = 1;
        }
        r->built[i - first] = t->m;
    }
    fine = text_build(&r->with) && text_build(&r->with_except) && fine;
    if (!text_is_empty(&r->with_except)) {
        r->with.m.except = &r->with_except.m;
        r->with.m.n_except = 1;
    }
    rule->where = r->built;
    rule->n_where = r->n_where - first;
    rule->with = text_is_empty(&r->with) ? NULL : &r->with.m;
    return fine && rule->n_where;
}

static inline bool text_rule(struct text_policy *t, enum rule_kind kind, struct slice s)
{
    unsigned i = t->p.n_rules;
    struct text_rule *r = &t->parts[i];
    struct slice item;
    bool fine = true;

    if (i == TEXT_RULES)
        return false;
    t->p.has_rules = true;
    t->p.n_rules++;
    memset(r, 0, sizeof(*r));
    r->n_where = 1;
    snprintf(r->place, sizeof(r->place), "f:%u", i + 1);
    t->rules[i] = (struct rule){.kind = kind, .place = r->place};
    while (s.n) {
        if (s.p[0] == '{') {
            size_t end = slice_find(s, '}');

            fine = text_map(r, slice_of(s.p + 1, end - 1)) && fine;
            s = slice_skip(s, min_size(end + 1, s.n));
        } else if (text_next(&s, " ", &item)) {
            fine = text_rule_item(r, &t->rules[i], item) && fine;
        }
        while (s.n && s.p[0] == ' ')
            s = slice_skip(s, 1);
    }
    return text_finish(r, &t->rules[i]) && fine;
}

/* ---- the policy ---- */

static inline bool text_address(struct addr *list, unsigned *n, struct slice s)
{
    if (*n == TEXT_ADDRS || (addr_parse(s, &list[*n]) < 0 && addr_parse_host(s, 0, &list[*n]) < 0))
        return false;
    (*n)++;
    return true;
}

static inline bool text_open(struct text_policy *t, struct slice list)
{
    struct slice v;

    while (text_next(&list, ",", &v))
        if (t->p.n_ports == TEXT_VALUES || !text_ports(v, &t->ports[t->p.n_ports++]))
            return false;
    return true;
}

static inline bool text_statement(struct text_policy *t, struct slice word, struct slice rest)
{
    if (slice_eq(word, SLICE("allow")))
        return text_rule(t, RULE_ALLOW, rest);
    if (slice_eq(word, SLICE("deny")))
        return text_rule(t, RULE_DENY, rest);
    if (slice_eq(word, SLICE("own")))
        return text_address(t->own, &t->p.n_own, rest);
    if (slice_eq(word, SLICE("admin")))
        return text_address(t->admin, &t->p.n_admin, rest);
    if (slice_eq(word, SLICE("local")))
        return text_address(t->local, &t->p.n_local, rest);
    if (slice_eq(word, SLICE("ports")))
        return text_open(t, rest);
    if (slice_eq(word, SLICE("private"))) {
        t->p.private = slice_eq(rest, SLICE("allow")) ? GUARD_ALLOW : slice_eq(rest, SLICE("metadata")) ? GUARD_METADATA : GUARD_DENY;
        return t->p.private != GUARD_DENY || slice_eq(rest, SLICE("deny"));
    }
    if (slice_eq(word, SLICE("report"))) {
        t->p.report = true;
        return true;
    }
    t->p.has_rules = t->p.has_rules || slice_eq(word, SLICE("rules"));
    return slice_eq(word, SLICE("rules"));
}

/* t is large: not on the stack. Slices of s are kept. */
static inline void text_policy(struct slice s, struct text_policy *t)
{
    struct slice statement, word;

    memset(t, 0, offsetof(struct text_policy, parts));
    t->p = (struct policy){.rules = t->rules, .own = t->own, .admin = t->admin, .local = t->local, .ports = t->ports, .private = GUARD_DENY};
    while (text_next(&s, ";\n", &statement)) {
        if (!text_next(&statement, " ", &word))
            continue;
        t->errors += !text_statement(t, word, slice_trim(statement));
    }
}

static inline void text_matcher_done(struct text_matcher *t)
{
    t->m.except = NULL;
    matcher_done(&t->m);
}

static inline void text_policy_done(struct text_policy *t)
{
    for (unsigned i = 0; i < t->p.n_rules; i++) {
        struct text_rule *r = &t->parts[i];

        for (unsigned j = 0; j < TEXT_WHERE; j++) {
            text_matcher_done(&r->where[j]);
            text_matcher_done(&r->where_except[j]);
        }
        text_matcher_done(&r->with);
        text_matcher_done(&r->with_except);
    }
}

/* ---- requests ---- */

static inline bool text_at(struct slice s, uint16_t *ret_minute)
{
    static const char days[] = "montuewedthufrisatsun";
    uint16_t hour, minute;

    for (unsigned i = 0; s.n == 9 && s.p[3] == '_' && i < 7; i++)
        if (memcmp(s.p, days + 3 * i, 3) == 0 && text_number(slice_of(s.p + 4, 2), &hour) && text_number(slice_skip(s, 7), &minute) &&
            hour < 24 && minute < 60) {
            *ret_minute = (uint16_t)((i * 24 + hour) * 60 + minute);
            return true;
        }
    return false;
}

static inline bool text_pending(struct match_facts *f, struct slice v, unsigned bit, struct slice *ret_value)
{
    if (slice_eq(v, SLICE("?")))
        f->pending |= (uint8_t)bit;
    else
        *ret_value = v;
    return true;
}

static inline bool text_dialled(struct text_request *r, struct slice list)
{
    struct slice v;

    if (slice_eq(list, SLICE("?"))) {
        r->f.pending |= MATCH_PENDING_ADDRESS;
        return true;
    }
    while (text_next(&list, "|", &v))
        if (!text_address(r->to, &r->n_to, v))
            return false;
    return true;
}

static inline bool text_field(struct text_request *r, struct slice s)
{
    size_t colon = slice_find(s, ':');

    if (colon == s.n || r->fields.n == TEXT_FIELDS)
        return false;
    r->field[r->fields.n++] = (struct field){.name = slice_of(s.p, colon), .value = slice_skip(s, colon + 1), .id = hdr_id(slice_of(s.p, colon))};
    return true;
}

static inline bool text_fact(struct text_request *r, struct slice item)
{
    struct match_facts *f = &r->f;
    struct slice key, v;
    unsigned n = 0;

    if (!text_split(item, &key, &v))
        return false;
    if (slice_eq(key, SLICE("from")))
        return text_address(&r->from, &n, v);
    if (slice_eq(key, SLICE("to")))
        return text_dialled(r, v);
    if (slice_eq(key, SLICE("user")))
        return text_pending(f, v, MATCH_PENDING_USER, &f->user);
    if (slice_eq(key, SLICE("sni")))
        return text_pending(f, v, MATCH_PENDING_SNI, &f->sni);
    if (slice_eq(key, SLICE("groups")))
        f->groups = v;
    else if (slice_eq(key, SLICE("labels")))
        f->labels = v;
    else if (slice_eq(key, SLICE("granted")))
        f->granted = v;
    else if (slice_eq(key, SLICE("listener")))
        f->listener = v;
    else if (slice_eq(key, SLICE("header")))
        return text_field(r, v);
    else
        return slice_eq(key, SLICE("at")) && text_at(v, &f->minute);
    return true;
}

/* host:port or [address]:port; port stays when there is none */
static inline bool text_authority(struct text_request *r, struct slice s)
{
    size_t close = s.n && s.p[0] == '[' ? slice_find(s, ']') : 0, colon = close + slice_find(slice_skip(s, min_size(close, s.n)), ':');

    if (close == s.n && s.n)
        return false;
    match_facts_host(&r->f, close ? slice_of(s.p + 1, close - 1) : slice_of(s.p, colon));
    return colon >= s.n || text_number(slice_skip(s, colon + 1), &r->f.port);
}

static inline bool text_target(struct text_request *r, struct slice s)
{
    struct match_facts *f = &r->f;
    bool https = s.n > 8 && memcmp(s.p, "https://", 8) == 0, http = s.n > 7 && memcmp(s.p, "http://", 7) == 0;
    size_t slash;

    f->scheme = https ? MATCH_HTTPS : http ? MATCH_HTTP : MATCH_CONNECT;
    f->opaque = f->scheme == MATCH_CONNECT;
    f->port = https ? 443 : http ? 80 : 0;
    s = slice_skip(s, https ? 8 : http ? 7 : 0);
    slash = f->opaque ? s.n : slice_find(s, '/');
    f->path = slice_skip(s, slash);
    return text_authority(r, slice_of(s.p, slash));
}

/* Facts point into r and s. A literal target is its own address. */
static inline void text_request(struct slice s, struct text_request *r)
{
    struct slice item;

    memset(r, 0, sizeof(*r));
    r->f = (struct match_facts){.from = &r->from, .minute = MATCH_NO_MINUTE, .fields = &r->fields};
    r->fields.v = r->field;
    if (!text_next(&s, " ", &r->f.method) || !text_next(&s, " ", &item)) {
        r->errors++;
        return;
    }
    r->errors += !text_target(r, item);
    while (text_next(&s, " ", &item))
        r->errors += !text_fact(r, item);
    if (r->f.literal.sa.sa_family != AF_UNSPEC) {
        r->to[0] = r->f.literal;
        r->n_to = 1;
    }
    for (unsigned i = 0; i < r->n_to; i++)
        addr_set_port(&r->to[i], r->f.port);
    /* Who is not known has nothing else. */
    if (r->f.pending & MATCH_PENDING_USER)
        r->f.user = r->f.groups = r->f.labels = r->f.granted = SLICE_NONE;
}

/* ---- judging ---- */

enum { TEXT_VERDICT = 128 };

static inline void text_verdict(const struct text_policy *t, const struct verdict *v, char out[TEXT_VERDICT])
{
    static const char *const facts[] = {"", "user", "address", "sni"};
    unsigned by = v->by ? (unsigned)(v->by - t->rules) + 1 : 0;
    int n;

    if (v->kind == VERDICT_NEEDS)
        n = snprintf(out, TEXT_VERDICT, "needs %s %u", facts[v->needs], v->rule + 1);
    else if (v->kind == VERDICT_DENY && v->reason == END_LOOP)
        n = snprintf(out, TEXT_VERDICT, "loop");
    else if (v->kind == VERDICT_DENY && v->reason == END_ADDRESS_DENIED && !v->what)
        n = snprintf(out, TEXT_VERDICT, "admin");
    else if (v->kind == VERDICT_DENY && v->reason == END_ADDRESS_DENIED)
        n = snprintf(out, TEXT_VERDICT, "private %.*s", (int)strcspn(v->what, " "), v->what);
    else if (by)
        n = snprintf(out, TEXT_VERDICT, "%s %u", v->kind == VERDICT_ALLOW ? "allow" : "deny", by);
    else
        n = snprintf(out, TEXT_VERDICT, "%s", v->kind == VERDICT_ALLOW ? "allow" : "deny");
    if (v->would)
        snprintf(out + n, TEXT_VERDICT - (size_t)n, ", would %s %u", v->would_deny ? "deny" : "allow", (unsigned)(v->would - t->rules) + 1);
    else if (v->would_deny)
        snprintf(out + n, TEXT_VERDICT - (size_t)n, ", would deny");
}

/* The request, and what each address that is known adds, as the proxy does it. NULL: without one. */
static inline struct verdict text_judge(const struct policy *p, const struct match_facts *known, const struct addr *to)
{
    struct match_facts f = *known;
    struct verdict first;

    if (to && f.literal.sa.sa_family == AF_UNSPEC)
        f.pending |= MATCH_PENDING_ADDRESS;
    else
        f.to = to;
    first = policy_judge(p, &f, 0, NULL, NULL);
    if (first.kind == VERDICT_DENY || !to)
        return first;
    if (first.kind == VERDICT_NEEDS && first.needs != FACT_ADDRESS)
        return first;
    f.to = to;
    return policy_judge_address(p, &f, &first, NULL);
}

#endif
