/* SPDX-License-Identifier: MIT */
/* policy: the order of judgement. Called by the steps auth and policy, for the request and again for each address just before it is dialled; by what
 * explains and checks policies, which is told every thing that was looked at; and after a reload for tunnels.
 */
#include "policy/policy.h"

#include "base/base.h"

static void say(const struct policy_trace *t, enum policy_stage stage, const struct rule *rule, enum match_answer answer, enum match_word word,
                const struct addr *to)
{
    if (t)
        t->say(t->ctx, stage, rule, answer, word, to);
}

static void say_passed(const struct policy_trace *t, enum policy_stage stage, bool refused, const struct addr *to)
{
    say(t, stage, NULL, refused ? MATCH_YES : MATCH_NO, WORD_NONE, to);
}

/* ---- clients ---- */

static const struct policy_clients *set_of(const struct policy *p, unsigned set)
{
    return set < p->n_clients ? &p->clients[set] : NULL;
}

bool policy_admits(const struct policy *p, unsigned set, const struct addr *client)
{
    const struct policy_clients *s = set_of(p, set);

    if (client->sa.sa_family == AF_UNIX)
        return true;
    return s && (s->any || (s->ranges && ranges_has(s->ranges, client)));
}

struct verdict policy_admit(const struct policy *p, unsigned set, const struct addr *client, const struct policy_trace *t)
{
    const struct policy_clients *s = set_of(p, set);
    bool admitted = policy_admits(p, set, client);

    say_passed(t, STAGE_CLIENTS, !admitted, NULL);
    if (admitted)
        return (struct verdict){.kind = VERDICT_ALLOW};
    return (struct verdict){.kind = VERDICT_DENY, .reason = END_NOT_ADMITTED, .place = s && s->place ? s->place : "clients"};
}

/* ---- rules ---- */

static enum verdict_fact fact_of(enum match_answer a)
{
    return a == MATCH_NEEDS_USER ? FACT_USER : a == MATCH_NEEDS_ADDRESS ? FACT_ADDRESS : FACT_SNI;
}

static struct verdict judge_ports(const struct policy *p, const struct match_facts *f, const struct policy_trace *t)
{
    bool open = p->n_ports == 0;

    for (unsigned i = 0; i < p->n_ports && !open; i++)
        open = p->ports[i].first <= f->port && f->port <= p->ports[i].last;
    say_passed(t, STAGE_PORTS, !open, NULL);
    if (open)
        return (struct verdict){.kind = VERDICT_ALLOW, .place = "everything"};
    return (struct verdict){.kind = VERDICT_DENY, .reason = END_DENIED, .place = p->ports_place ? p->ports_place : "ports", .what = "this port is not open"};
}

static struct verdict decided_by(const struct rule *r)
{
    struct verdict v = {.kind = r->kind == RULE_ALLOW ? VERDICT_ALLOW : VERDICT_DENY, .by = r, .place = r->place};

    if (v.kind == VERDICT_DENY)
        v.reason = END_DENIED;
    return v;
}

static struct verdict nothing_decided(const struct policy *p, const struct policy_trace *t)
{
    say(t, STAGE_FINAL, NULL, p->report ? MATCH_NO : MATCH_YES, WORD_NONE, NULL);
    if (p->report)
        return (struct verdict){.kind = VERDICT_ALLOW, .place = p->place ? p->place : "rules", .would_deny = true};
    return (struct verdict){.kind = VERDICT_DENY, .reason = END_DENIED, .place = p->place ? p->place : "rules", .what = "no rule allows it"};
}

static struct verdict needs(enum match_answer a, unsigned rule)
{
    return (struct verdict){.kind = VERDICT_NEEDS, .needs = fact_of(a), .rule = rule};
}

/* A walk over the rules, and what it has met on the way. */
struct walk {
    const struct policy *policy;
    const struct match_facts *facts;
    const struct policy_trace *trace;
    struct rules_walk *rules;    /* which are asked */
    const struct rule *would;    /* the first rule in report mode that matched */
    unsigned waits_at;           /* the first one in report mode whose fact is missing, n_rules: none */
    bool would_is_first;         /* `would` stands before it */
    bool waits_for_address;      /* one in report mode without a `would` before it does */
    bool refused;                /* where it stands, nothing that may still come leads to an allow */
};

static void meet_report(struct walk *w, const struct rule *r, enum match_answer a, unsigned i)
{
    bool waited = w->waits_at < w->policy->n_rules;

    if (w->would)
        return;
    if (a == MATCH_YES) {
        w->would = r;
        w->would_is_first = !waited;
        return;
    }
    if (!waited)
        w->waits_at = i;
    w->waits_for_address |= a == MATCH_NEEDS_ADDRESS;
}

/* Whether a walk from here on refuses for certain: no name is resolved, and nobody is asked who he is, only to learn which of two rules refuses. */
static bool refuses(const struct walk *w, unsigned from)
{
    const struct policy *p = w->policy;
    struct rules_walk rest = *w->rules;

    for (unsigned i = rules_walk_next(&rest, from); i < p->n_rules; i = rules_walk_next(&rest, i + 1)) {
        const struct rule *r = &p->rules[i];
        enum match_answer a = r->report ? MATCH_NO : rule_ask(r, w->facts, NULL);

        if (a == MATCH_YES || (a != MATCH_NO && r->kind == RULE_ALLOW))
            return r->kind == RULE_DENY;
    }
    return !p->report;
}

/* A deny whose fact is missing makes no difference when the rest of the list refuses, too. */
static bool goes_on(struct walk *w, const struct rule *r, unsigned i)
{
    if (r->kind == RULE_ALLOW)
        return false;
    w->refused = w->refused || refuses(w, i + 1);
    return w->refused;
}

static struct verdict walk_rules(struct walk *w, unsigned from)
{
    const struct policy *p = w->policy;

    for (unsigned i = rules_walk_next(w->rules, from); i < p->n_rules; i = rules_walk_next(w->rules, i + 1)) {
        const struct rule *r = &p->rules[i];
        enum match_word word = WORD_NONE;
        enum match_answer a = rule_ask(r, w->facts, w->trace ? &word : NULL);

        say(w->trace, STAGE_RULE, r, a, word, w->facts->to);
        if (a == MATCH_NO)
            continue;
        if (r->report)
            meet_report(w, r, a, i);
        else if (a == MATCH_YES)
            return decided_by(r);
        else if (!goes_on(w, r, i))
            return needs(a, i);
    }
    return nothing_decided(p, w->trace);
}

/* What the rules in report mode have to do with it. */
static void add_reports(const struct walk *w, struct verdict *v)
{
    /* Only an address is waited for on behalf of a rule that decides nothing: nobody is asked for a password because of it. */
    if (v->kind == VERDICT_ALLOW && w->waits_for_address)
        *v = needs(MATCH_NEEDS_ADDRESS, w->waits_at);
    if (v->kind == VERDICT_NEEDS) {
        v->rule = v->rule < w->waits_at ? v->rule : w->waits_at;
        v->would = w->would_is_first ? w->would : NULL;
    } else {
        v->would = w->would;
    }
    if (v->would)
        v->would_deny = v->would->kind == RULE_DENY;
}

struct verdict policy_judge(const struct policy *p, const struct match_facts *f, unsigned from, const struct verdict *before,
                            const struct policy_trace *t)
{
    struct hosts_key key = {.n = 0};
    struct match_facts facts = *f;
    struct rules_walk rules;
    struct walk w = {.policy = p, .facts = &facts, .trace = t, .rules = &rules, .would = before ? before->would : NULL, .would_is_first = true,
                     .waits_at = p->n_rules};
    struct verdict v;

    if (!p->has_rules)
        return judge_ports(p, f, t);
    if (!facts.key)
        facts.key = &key;
    /* Who explains is told of every rule. */
    rules_walk_init(&rules, t ? NULL : p->index, p->n_rules, &facts);
    v = walk_rules(&w, from);
    add_reports(&w, &v);
    return v;
}

/* ---- addresses ---- */

static bool is_local(const struct policy *p, const struct addr *a)
{
    if (addr_is_loopback(a) || addr_is_any(a))
        return true;
    for (unsigned i = 0; i < p->n_local; i++)
        if (addr_same_host(&p->local[i], a))
            return true;
    return false;
}

/* Would a connection to this address arrive at one of these listeners? */
static bool arrives(const struct policy *p, const struct addr *listeners, unsigned n,
                    const struct addr *target)
{
    for (unsigned i = 0; i < n; i++) {
        const struct addr *l = &listeners[i];

        /* What has no address would compare as ::. */
        if (!addr_is_ip(l) || addr_port(l) != addr_port(target))
            continue;
        /* Connecting to 0.0.0.0 or :: reaches loopback on Linux. */
        if (addr_same_host(l, target) || (addr_is_any(l) && is_local(p, target)) ||
            (addr_is_any(target) && addr_is_loopback(l)))
            return true;
    }
    return false;
}

bool policy_is_own(const struct policy *p, const struct addr *to)
{
    return arrives(p, p->own, p->n_own, to) || arrives(p, p->admin, p->n_admin, to);
}

/* What an address is refused for. Rules in report mode are remembered: one of them might have opened it. */
static void refuse(struct verdict *v, enum end_reason reason, const char *place, const char *what)
{
    v->kind = VERDICT_DENY;
    v->reason = reason;
    v->place = place;
    v->what = what;
    v->would_deny = v->would_deny && v->would;
}

/* Nothing that is written opens these. */
static bool judge_own(const struct policy *p, const struct addr *to, const struct policy_trace *t, struct verdict *v)
{
    bool own = arrives(p, p->own, p->n_own, to), admin = !own && arrives(p, p->admin, p->n_admin, to);

    say_passed(t, STAGE_OWN, own, to);
    if (!own)
        say_passed(t, STAGE_ADMIN, admin, to);
    if (!own && !admin)
        return true;
    refuse(v, own ? END_LOOP : END_ADDRESS_DENIED, own ? "own listeners" : "admin", NULL);
    v->by = NULL;
    return false;
}

static void judge_private(const struct policy *p, const struct match_facts *f, const struct policy_trace *t, struct verdict *v)
{
    const struct guard_block *block = guard_refuses(p->private, f->to);
    bool refused = block && !(v->by && rule_opens(v->by, f));

    say_passed(t, STAGE_PRIVATE, refused, f->to);
    if (refused)
        refuse(v, END_ADDRESS_DENIED, p->private_place ? p->private_place : "private", block->text);
}

struct verdict policy_judge_address(const struct policy *p, const struct match_facts *f, const struct verdict *first,
                                    const struct policy_trace *t)
{
    struct verdict v = *first;

    if (v.kind == VERDICT_NEEDS)
        v = policy_judge(p, f, first->rule, first, t);
    if (v.kind == VERDICT_ALLOW && judge_own(p, f->to, t, &v))
        judge_private(p, f, t, &v);
    return v;
}

/* ---- for those who explain ---- */

/* Somebody meant this host (or, with `any`, every host); what failed is something else. */
static bool is_near(const struct rule *r, const struct matcher *where, bool any, const struct match_facts *f, enum match_word *ret_word)
{
    enum match_answer a;

    if (!where->has_host || where->any_host != any)
        return false;
    a = matcher_ask(where, f, MATCH_ALLOW, ret_word);
    if (a == MATCH_NO)
        return *ret_word != WORD_HOST;
    return r->with && matcher_ask(r->with, f, MATCH_ALLOW, ret_word) == MATCH_NO;
}

static const struct rule *nearest(const struct policy *p, bool any, const struct match_facts *f, enum match_word *ret_word)
{
    for (unsigned i = 0; i < p->n_rules; i++) {
        const struct rule *r = &p->rules[i];
        enum match_word word;

        for (unsigned j = 0; j < r->n_where && r->kind == RULE_ALLOW && !r->report; j++)
            if (is_near(r, &r->where[j], any, f, &word)) {
                *ret_word = word;
                return r;
            }
    }
    return NULL;
}

const struct rule *policy_nearest(const struct policy *p, const struct match_facts *f, enum match_word *ret_word)
{
    const struct rule *r = nearest(p, false, f, ret_word);

    return r ? r : nearest(p, true, f, ret_word);
}

/* Names in `sni` stand in the place of the one in the CONNECT. */
static bool chosen_by_sni(const struct rule *r)
{
    if (r->with && r->with->snis)
        return true;
    for (unsigned i = 0; i < r->n_where; i++)
        if (!r->where[i].snis)
            return false;
    return r->n_where > 0;
}

enum rule_sni policy_sni(const struct policy *p, const struct verdict *v)
{
    if (v->by && v->by->sni != SNI_DEFAULT)
        return v->by->sni;
    if (v->by && chosen_by_sni(v->by))
        return SNI_OFF;
    return p->has_rules && v->by ? SNI_STRICT : SNI_OFF;
}

static bool any_waits_for_sni(const struct matcher *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (matcher_waits_for_sni(&v[i]))
            return true;
    return false;
}

bool policy_asks_sni(const struct policy *p)
{
    for (unsigned i = 0; i < p->n_rules; i++) {
        const struct rule *r = &p->rules[i];

        if (any_waits_for_sni(r->where, r->n_where) || (r->with && matcher_waits_for_sni(r->with)))
            return true;
    }
    return false;
}

bool policy_is_steady(const struct policy *p)
{
    for (unsigned i = 0; i < p->n_rules; i++) {
        const struct rule *r = &p->rules[i];

        if (r->with && matcher_looks_inside(r->with))
            return false;
        for (unsigned j = 0; j < r->n_where; j++)
            if (matcher_looks_inside(&r->where[j]))
                return false;
    }
    return true;
}
