/* SPDX-License-Identifier: MIT */
/* why: asks policy the way the steps of an exchange do (proxy/step_auth.c, step_policy.c, step_route.c, step_resolve.c), and keeps what it says. Called by the site for the running
 * instance, and by commands for a file.
 */
#include "app/why_limits.h"

#include "base/err.h"
#include "base/mem.h"
#include "proxy/parents.h"

#include <time.h>

enum { WHY_EVENTS_FIRST = 64 };

/* ---- what is looked at ---- */

static void keep_event(struct why *w, const struct why_event *e)
{
    size_t cap = w->cap ? w->cap * 2 : WHY_EVENTS_FIRST;
    struct why_event *v;

    if (w->n_events == w->cap) {
        v = mem_grow(w->events, cap * sizeof(*v));
        if (!v) {
            w->refused_memory = true;
            return;
        }
        w->events = v;
        w->cap = cap;
    }
    w->events[w->n_events++] = *e;
}

static void hear(void *ctx, enum policy_stage stage, const struct rule *rule, enum match_answer answer, enum match_word word, const struct addr *to)
{
    struct why *w = ctx;
    const struct why_event e = {.stage = stage,
                                .rule = rule,
                                .answer = answer,
                                .word = word,
                                .block = stage == STAGE_PRIVATE && to ? guard_find(to) : NULL,
                                .address = w->at};

    keep_event(w, &e);
}

/* ---- the order of judgement ---- */

static void finish(struct why *w, enum why_end end, const struct verdict *v)
{
    w->end = end;
    w->verdict = *v;
    if (end != WHY_REFUSED)
        return;
    w->facts.to = w->refused.sa.sa_family != AF_UNSPEC ? &w->refused : NULL;
    explain(w->edition->snap.policy, &w->facts, v, EXPLAIN_OPERATOR, &w->explain);
    w->facts.to = NULL;
}

/* True: it is decided. */
static bool judge_client(struct why *w, const struct policy_trace *t)
{
    struct verdict v = policy_admit(w->edition->snap.policy, w->listen->clients, &w->client, t);

    if (v.kind != VERDICT_DENY)
        return false;
    finish(w, WHY_REFUSED, &v);
    return true;
}

/* Of the labels that are brought, those that the user may bring; cut where there are more than anybody can. */
static void permit_labels(struct why *w, struct slice permitted)
{
    struct slice labels = w->facts.labels, label;
    size_t n = 0;

    while (slice_next_item(&labels, &label)) {
        if (!users_list_has(permitted, label) || n + label.n + 1 > sizeof(w->granted))
            continue;
        if (n)
            w->granted[n++] = ',';
        memcpy(w->granted + n, label.p, label.n);
        n += label.n;
    }
    w->facts.granted = slice_of(w->granted, n);
}

/* What the files say of a user. A program is not asked: it may want the password. */
static void know_user(struct why *w, const struct users *u)
{
    const struct question *q = w->question;
    const struct users_row *member = users_table_find(&u->groups, q->user), *row = NULL;

    if (!q->has_groups && member)
        w->facts.groups = users_row_value(member);
    if (!u->by_program)
        row = users_table_find(&u->names, q->user);
    if (!q->has_granted && row)
        permit_labels(w, users_row_more(row));
    w->users = u->by_program ? "taken to be known; what the program would say of the user is not asked"
               : row         ? "known"
                             : "not in the file; taken to be known";
}

/* True: it is decided. */
static bool judge_user(struct why *w)
{
    const struct users *u = w->listen->users;
    struct verdict v = {.kind = VERDICT_DENY, .reason = END_AUTH_NEEDED, .place = u ? u->place : NULL};

    if (!u)
        return false;
    if (w->question->user.n) {
        know_user(w, u);
        return false;
    }
    w->users = u->when_needed ? "nobody yet; asked for when a rule would decide by it" : "asked for";
    if (u->when_needed) {
        w->facts.pending |= MATCH_PENDING_USER;
        return false;
    }
    finish(w, WHY_REFUSED, &v);
    return true;
}

/* Nobody said what it is: an honest client says the authority's. */
static void take_sni(struct why *w)
{
    const struct question *q = w->question;

    w->facts.pending &= (uint8_t)~MATCH_PENDING_SNI;
    w->sni_assumed = !q->has_sni;
    w->facts.sni = q->has_sni ? q->sni : w->literal ? SLICE_NONE : w->facts.host;
}

static bool waits_for(const struct verdict *v, enum verdict_fact fact)
{
    return v->kind == VERDICT_NEEDS && v->needs == fact;
}

static void needs_user(struct why *w, const struct verdict *at)
{
    const struct users *u = w->listen->users;
    struct verdict v = {.kind = VERDICT_DENY, .reason = END_AUTH_NEEDED, .place = u ? u->place : "users", .would = at->would, .would_deny = at->would_deny};

    finish(w, WHY_REFUSED, &v);
}

/* What is known before an address is. True: it is decided; else *ret_v says how far it came. */
static bool judge_request(struct why *w, const struct policy_trace *t, struct verdict *ret_v)
{
    const struct policy *p = w->edition->snap.policy;
    size_t before = w->n_events;
    struct verdict v = policy_judge(p, &w->facts, 0, NULL, t);

    if (waits_for(&v, FACT_SNI)) {
        take_sni(w);
        w->n_events = before;
        v = policy_judge(p, &w->facts, 0, NULL, t);
    }
    if (v.kind == VERDICT_DENY)
        finish(w, WHY_REFUSED, &v);
    else if (waits_for(&v, FACT_USER))
        needs_user(w, &v);
    *ret_v = v;
    return v.kind == VERDICT_DENY || waits_for(&v, FACT_USER);
}

static struct verdict judge_address(struct why *w, const struct verdict *first, unsigned i, const struct policy_trace *t)
{
    struct match_facts f = w->facts;

    w->at = (int)i;
    f.to = &w->addrs[i].addr;
    w->addrs[i].verdict = policy_judge_address(w->edition->snap.policy, &f, first, t);
    w->at = -1;
    return w->addrs[i].verdict;
}

/* Some are dropped and the others go on; none left: the first one's refusal is the answer. */
static void judge_addresses(struct why *w, const struct verdict *first, const struct policy_trace *t)
{
    struct verdict dropped = {.kind = VERDICT_ALLOW}, allowed = {.kind = VERDICT_DENY};

    for (unsigned i = 0; i < w->n_addrs; i++) {
        struct verdict v = judge_address(w, first, i, t);

        if (waits_for(&v, FACT_SNI)) {
            take_sni(w);
            v = judge_address(w, first, i, t);
        }
        if (waits_for(&v, FACT_USER)) {
            needs_user(w, &v);
            return;
        }
        if (v.kind == VERDICT_DENY && dropped.kind == VERDICT_ALLOW) {
            dropped = v;
            w->refused = w->addrs[i].addr;
        }
        if (v.kind == VERDICT_ALLOW && allowed.kind != VERDICT_ALLOW)
            allowed = v;
    }
    finish(w, allowed.kind == VERDICT_ALLOW ? WHY_ALLOWED : WHY_REFUSED, allowed.kind == VERDICT_ALLOW ? &allowed : &dropped);
}

static void collect_addresses(struct why *w)
{
    const struct question *q = w->question;

    if (w->literal) {
        w->addrs[w->n_addrs++].addr = w->facts.literal;
        return;
    }
    for (unsigned i = 0; i < q->n_addrs; i++)
        w->addrs[w->n_addrs++].addr = q->addrs[i];
}

/* No address is known, and none is asked for: what is written about addresses says nothing about this one. */
static void judge_without(struct why *w, const struct verdict *first, const struct policy_trace *t)
{
    struct verdict v = *first;

    w->facts.pending &= (uint8_t)~MATCH_PENDING_ADDRESS;
    if (v.kind == VERDICT_NEEDS)
        v = policy_judge(w->edition->snap.policy, &w->facts, first->rule, first, t);
    if (waits_for(&v, FACT_SNI)) {
        take_sni(w);
        v = policy_judge(w->edition->snap.policy, &w->facts, first->rule, first, t);
    }
    if (waits_for(&v, FACT_USER))
        needs_user(w, &v);
    else
        finish(w, v.kind == VERDICT_ALLOW ? WHY_ALLOWED : WHY_REFUSED, &v);
}

/* ---- ways ---- */

unsigned why_order(const struct why *w, uint8_t order[ROUTE_ALTERNATIVES_MAX])
{
    const struct route *r = w->route;
    unsigned n = 0, n_bad = 0;
    uint8_t bad[ROUTE_ALTERNATIVES_MAX];

    for (unsigned i = 0; r && i < r->n_alternatives; i++)
        if (w->state && r->n_alternatives > 1 && parents_are_doubted(w->state->board, w->state->now_ms, &r->alternatives[i]))
            bad[n_bad++] = (uint8_t)i;
        else
            order[n++] = (uint8_t)i;
    memcpy(order + n, bad, n_bad);
    return n_bad;
}

enum match_answer why_ask_route(const struct why *w, unsigned i, enum match_word *ret_word)
{
    const struct route *r = &w->edition->snap.routes[i];
    struct match_facts f = w->facts;

    *ret_word = WORD_NONE;
    f.to = w->way_to.sa.sa_family != AF_UNSPEC ? &w->way_to : NULL;
    f.pending = w->way_pending;
    return r->n_where ? matcher_ask_any(r->where, r->n_where, &f, MATCH_FOR, ret_word) : MATCH_YES;
}

const struct origin_entry *why_origin(const struct why *w, const struct hop *h)
{
    return origins_of_hop(w->edition->snap.origins, w->edition->snap.n_origins, h);
}

/* True: an entry refuses it. What is known of the address may not be enough: way_needs. */
static bool find_way(struct why *w, const struct addr *to, uint8_t pending)
{
    const struct snapshot *s = &w->edition->snap;
    struct verdict v = {.kind = VERDICT_DENY, .reason = END_UPSTREAM_DENIED, .would = w->verdict.would, .would_deny = w->verdict.would_deny};
    struct match_facts f = w->facts;

    w->routed = true;
    w->way_to = to ? *to : (struct addr){0};
    w->way_pending = pending;
    f.to = to;
    f.pending = pending;
    w->route = route_find(s->routes, s->n_routes, &f, &w->way_needs);
    if (!w->route || !w->route->deny)
        return false;
    v.place = w->route->place;
    finish(w, WHY_REFUSED, &v);
    return true;
}

/* What is tried first, or after so many others. */
static bool is_direct(const struct why *w, unsigned after)
{
    uint8_t order[ROUTE_ALTERNATIVES_MAX];

    why_order(w, order);
    if (!w->route || w->route->n_alternatives <= after)
        return true;
    return w->route->alternatives[order[after]].n_hops == 0;
}

/* True: one refuses it. */
static bool judge_limits(struct why *w, enum limits_when when, const struct addr *to)
{
    const struct why_limit *l = why_limits(w, when, to);
    struct verdict v = {.kind = VERDICT_DENY, .what = w->limit_text, .would = w->verdict.would, .would_deny = w->verdict.would_deny};

    if (!l)
        return false;
    limits_text(l->limit, &w->facts, l->reason, true, w->limit_text);
    v.reason = l->reason;
    v.place = l->limit->place;
    w->limit = l;
    w->refused = (struct addr){0};
    finish(w, WHY_REFUSED, &v);
    return true;
}

/* The address that is dialled is taken to be the first that is allowed. */
static const struct addr *dialled(const struct why *w)
{
    for (unsigned i = 0; i < w->n_addrs; i++)
        if (w->addrs[i].verdict.kind == VERDICT_ALLOW)
            return &w->addrs[i].addr;
    return NULL;
}

/* A name that goes to a parent: nothing is looked up. */
static void judge_by_name(struct why *w, const struct verdict *v, const struct policy_trace *t)
{
    judge_without(w, v, t);
    w->by_name = w->end == WHY_ALLOWED;
}

/* The name has no address: that is the end, unless a parent may still be asked by name. */
static void judge_unresolved(struct why *w, const struct verdict *v, const struct policy_trace *t)
{
    bool parent = w->routed && !w->way_needs && is_direct(w, 0) && !is_direct(w, 1);

    if (w->routed && (w->way_needs || parent))
        judge_by_name(w, v, t);
    if (w->by_name && (parent || find_way(w, NULL, 0) || (!is_direct(w, 0) && !w->route->resolve)))
        return;
    if (w->end == WHY_ALLOWED)
        finish(w, WHY_UNRESOLVED, v);
}

/* Its addresses are judged, and whatever stands in their place. */
static void judge_with_addresses(struct why *w, const struct verdict *v, enum why_missing missing, const struct policy_trace *t)
{
    collect_addresses(w);
    for (unsigned i = 0; i < w->n_addrs; i++)
        addr_set_port(&w->addrs[i].addr, w->facts.port);
    if (w->n_addrs)
        judge_addresses(w, v, t);
    else if (missing == WHY_IGNORE)
        judge_without(w, v, t);
    else if (w->question->has_addrs)
        judge_unresolved(w, v, t);
    else
        finish(w, WHY_NEEDS_ADDRESSES, v);
}

/* As the steps go: towards a parent nothing is looked up, unless an entry before it, or its own, asks for the address. True: it is decided. */
static bool judge_way_first(struct why *w, const struct verdict *v, const struct policy_trace *t)
{
    if (find_way(w, NULL, MATCH_PENDING_ADDRESS))
        return true;
    if (w->way_needs || is_direct(w, 0) || w->route->resolve)
        return false;
    judge_by_name(w, v, t);
    return true;
}

static void judge_target(struct why *w, enum why_missing missing, const struct policy_trace *t)
{
    bool routes = w->edition->snap.n_routes;
    struct verdict v;

    if (judge_limits(w, LIMITS_FIRST, w->facts.to) || judge_request(w, t, &v))
        return;
    if (routes && !w->literal && judge_way_first(w, &v, t))
        return;
    judge_with_addresses(w, &v, missing, t);
    if (w->end == WHY_ALLOWED && routes && (!w->routed || w->way_needs))
        find_way(w, dialled(w), 0);
}

/* What holds beside, when it passes. */
static void judge_rest(struct why *w)
{
    const struct policy *p = w->edition->snap.policy;
    struct match_facts f = w->facts;
    struct verdict v = w->verdict;

    if (w->end != WHY_ALLOWED || (!w->local && (judge_limits(w, LIMITS_RULED, NULL) || judge_limits(w, LIMITS_DIALLED, dialled(w)))))
        return;
    if (!w->question->connect)
        return;
    w->sni = policy_sni(p, &v);
    if (w->sni != SNI_STRICT || w->literal || !w->question->has_sni || slice_eq(w->question->sni, f.host))
        return;
    v.kind = VERDICT_DENY;
    v.reason = END_SNI_DENIED;
    w->facts.sni = w->question->sni;
    finish(w, WHY_REFUSED, &v);
}

/* ---- where it comes in ---- */

static const struct snapshot_listen *find_listen(const struct snapshot *s, struct slice name)
{
    for (unsigned i = 0; i < s->n_listen; i++)
        if (s->listen[i].role == LISTEN_PROXY && (!name.n || slice_eq(slice_str(s->listen[i].name), name)))
            return &s->listen[i];
    return NULL;
}

bool why_listener(const struct edition *e, struct slice name)
{
    return name.n && find_listen(&e->snap, name);
}

static bool is_unix(const struct snapshot_listen *l)
{
    return strchr(l->name, '/') != NULL;
}

static struct addr client_of(const struct question *q, const struct snapshot_listen *l)
{
    static const uint8_t loopback[4] = {127, 0, 0, 1};
    struct addr a = {.sa.sa_family = AF_UNIX};

    if (q->client.sa.sa_family != AF_UNSPEC)
        return q->client;
    if (!is_unix(l))
        addr_v4(&a, loopback, 0);
    return a;
}

/* What local_pages_answer (proxy/local_pages.c) does not forward. */
static bool is_local(const struct why *w)
{
    return slice_eq(w->facts.host, SLICE("ginnel.internal")) || slice_eq(w->facts.method, SLICE("TRACE"));
}

int why_judge(const struct edition *e, const struct question *q, const struct why_state *state, enum why_missing missing, bool tracing, struct why *ret_why)
{
    struct why *w = ret_why;
    const struct policy_trace t = {hear, w}, *trace = tracing ? &t : NULL;

    *w = (struct why){.edition = e, .question = q, .state = state, .at = -1, .tracing = tracing, .sni = SNI_OFF};
    w->listen = find_listen(&e->snap, q->listener);
    if (!w->listen)
        return ERR_NOTFOUND;
    w->facts = question_facts(q);
    w->client = client_of(q, w->listen);
    w->facts.from = &w->client;
    w->facts.listener = slice_str(w->listen->name);
    if (w->facts.minute == MATCH_NO_MINUTE)
        w->facts.minute = question_minute((uint64_t)time(NULL));
    w->facts.pending = MATCH_PENDING_ADDRESS | (q->connect ? MATCH_PENDING_SNI : 0);
    w->literal = w->facts.literal.sa.sa_family != AF_UNSPEC;
    if (w->literal)
        w->facts.to = &w->facts.literal;
    if (judge_client(w, trace) || judge_user(w))
        return w->refused_memory ? ERR_NOMEM : 0;
    w->local = is_local(w);
    if (w->local)
        finish(w, WHY_ALLOWED, &(struct verdict){.kind = VERDICT_ALLOW});
    else
        judge_target(w, missing, trace);
    judge_rest(w);
    return w->refused_memory ? ERR_NOMEM : 0;
}

void why_done(struct why *w)
{
    mem_free(w->events);
    w->events = NULL;
    mem_free(w->limits);
    w->limits = NULL;
}

/* ---- in words ---- */

const char *why_rule(const struct why *w)
{
    const char *title = w->limit ? limits_title(w->limit->limit) : explain_title(&w->verdict);

    return title ? title : "";
}

static void put_decider(const struct verdict *v, char *out, size_t cap)
{
    if (v->by && v->by->name)
        snprintf(out, cap, "%s (%s)", v->by->name, v->by->place);
    else if (v->by)
        snprintf(out, cap, "the rule at %s", v->by->place);
    else
        snprintf(out, cap, "%s", v->place ? v->place : "nothing");
}

static void line_allowed(const struct why *w, char out[WHY_LINE])
{
    const struct verdict *v = &w->verdict;
    char by[512];

    put_decider(v, by, sizeof(by));
    if (w->local)
        snprintf(out, WHY_LINE, "answered by ginnel itself: nothing of the rules is asked");
    else if (v->by)
        snprintf(out, WHY_LINE, "allowed by %s%s", by, v->would_deny ? "; would be refused" : "");
    else if (v->would_deny)
        snprintf(out, WHY_LINE, "allowed, as `policy: report` only reports (%s): no rule allows it", v->place);
    else
        snprintf(out, WHY_LINE, "allowed: there are no rules");
}

static void line_limited(const struct why *w, char out[WHY_LINE])
{
    const struct end_info *e = end_info(w->verdict.reason);
    const struct limit *l = w->limit->limit;

    snprintf(out, WHY_LINE, "refused by %s%s%s%s: %d %s, %s; try again in %llu s", limits_title(l), l->name ? " (" : "", l->name ? l->place : "",
             l->name ? ")" : "", e->status, e->token, w->explain.why, (unsigned long long)w->limit->retry_s);
}

static void line_refused(const struct why *w, char out[WHY_LINE])
{
    const struct verdict *v = &w->verdict;
    const struct end_info *e = end_info(v->reason);
    char by[512];

    /* An address is refused by what keeps it closed, not by the rule that has let the name pass. */
    if (v->reason == END_DENIED || v->reason == END_SNI_DENIED || v->reason == END_PROTOCOL_DENIED || v->reason == END_UPSTREAM_DENIED)
        put_decider(v, by, sizeof(by));
    else
        snprintf(by, sizeof(by), "%s", v->place ? v->place : e->token);
    if (e->status)
        snprintf(out, WHY_LINE, "refused by %s: %d %s, %s", by, e->status, e->token, w->explain.why);
    else
        snprintf(out, WHY_LINE, "refused by %s: %s, %s", by, e->token, w->explain.why);
}

void why_line(const struct why *w, char out[WHY_LINE])
{
    switch (w->end) {
    case WHY_ALLOWED:
        line_allowed(w, out);
        return;
    case WHY_REFUSED:
        (w->limit ? line_limited : line_refused)(w, out);
        return;
    case WHY_UNRESOLVED:
        snprintf(out, WHY_LINE, "fails, as " SLICE_FMT " has no address: 502 or 504, nothing of the rules", SLICE_ARG(w->facts.host));
        return;
    case WHY_NEEDS_ADDRESSES:
    case WHY_ENDS:
        break;
    }
    snprintf(out, WHY_LINE, "not decided before the addresses of " SLICE_FMT " are known", SLICE_ARG(w->facts.host));
}
