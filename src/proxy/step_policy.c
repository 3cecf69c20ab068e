/* SPDX-License-Identifier: MIT */
/* step policy: may it pass? First with what is known before anything is resolved; then the walk resumes, where it stopped, for each
 * address that could be dialled, and those that may not be are dropped. What was judged is what is dialled. A walk that cannot go on without
 * the name in the ClientHello waits for it before anything is resolved or dialled: nobody probes addresses that no rule allows.
 */
#include "policy/explain.h"
#include "proxy/access_set.h"
#include "proxy/kept.h"
#include "proxy/local_pages.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

#include <string.h>

/* A literal host has been read already. */
static void set_host(struct match_facts *f, const struct authority *auth)
{
    f->host = auth->host;
    if (auth->kind == HOST_IPV4)
        addr_v4(&f->literal, auth->addr, 0);
    else if (auth->kind == HOST_IPV6)
        addr_v6(&f->literal, auth->addr, 0);
}

struct match_facts xchg_facts(const struct xchg *x, const struct access_record *r)
{
    const struct head *head = x->req ? x->req->head : NULL;
    struct match_facts f = head ? access_set_bare_facts(r) : access_set_facts(r);

    if (head) {
        set_host(&f, &head->auth);
        f.fields = &head->fields;
        /* The record has them cut. */
        f.method = head->method_name;
        f.path = head->method == METHOD_CONNECT ? SLICE_NONE : head->path;
    }
    f.minute = worker_minute(x->worker);
    f.pending = x->req ? x->req->pending : 0;
    f.to = NULL;
    return f;
}

/* What failed, for the log: whoever reads that may know the addresses. */
static const char *refusal_text(struct xchg *x, const struct verdict *v)
{
    struct match_facts f = xchg_facts(x, x->rec);
    struct explain e;

    f.to = &x->req->refused;
    explain(x->snap->policy, &f, v, EXPLAIN_OPERATOR, &e);
    return arena_dup(x->arena, slice_str(e.why)).p;
}

/* For the record. */
static void note(struct xchg *x, const struct verdict *v)
{
    x->req->verdict = *v;
    x->rec->rule = slice_str(explain_title(v));
    x->rec->would = v->would ? slice_str(rule_title(v->would)) : v->would_deny ? slice_str(v->place) : SLICE_NONE;
    x->rec->would_deny = v->would_deny;
}

enum xstep step_policy_refuse(struct xchg *x, const struct verdict *v)
{
    note(x, v);
    return xchg_fail(x, v->reason, refusal_text(x, v));
}

static enum xstep ask_for_user(struct xchg *x)
{
    return xchg_fail(x, END_AUTH_NEEDED, NULL);
}

/* Towards a parent a name is not resolved: the way comes first. Literals are judged as addresses. */
static enum xstep onwards(const struct xchg *x)
{
    return x->snap->n_routes && x->req->head->auth.kind == HOST_NAME ? STEP_ROUTE : STEP_RESOLVE;
}

/* Where the walk goes on without an address: nowhere, to the user, to the tunnel's first bytes. */
static enum xstep judged(struct xchg *x, const struct verdict *v)
{
    if (v->kind == VERDICT_DENY)
        return step_policy_refuse(x, v);
    note(x, v);
    if (v->kind == VERDICT_NEEDS && v->needs == FACT_USER)
        return ask_for_user(x);
    if (v->kind == VERDICT_NEEDS && v->needs == FACT_SNI)
        return STEP_PEEK;
    kept_first(x);
    return onwards(x);
}

/* What is known before an address is. A literal target is its own. */
static void first_facts(const struct xchg *x, struct match_facts *ret_f)
{
    *ret_f = xchg_facts(x, x->rec);
    if (ret_f->literal.sa.sa_family != AF_UNSPEC)
        ret_f->to = &ret_f->literal;
}

/* From the beginning, with what is known. */
static enum xstep judge_rules(struct xchg *x, const struct match_facts *f)
{
    struct verdict v = policy_judge(x->snap->policy, f, 0, NULL, NULL);

    x->req->refused = f->literal;
    return judged(x, &v);
}

/* The same question as the last time. */
static enum xstep judge_as_before(struct xchg *x)
{
    const struct authority *auth = &x->req->head->auth;
    struct match_facts f;
    enum xstep limited;

    if (auth->kind != HOST_NAME) {
        set_host(&f, auth);
        x->req->refused = f.literal;
    }
    limited = limits_again(x, LIMITS_FIRST);
    if (limited == STEP_COUNT)
        note(x, &x->req->kept->first);
    return limited == STEP_COUNT ? onwards(x) : limited;
}

static enum xstep judge_request(struct xchg *x)
{
    struct match_facts f;
    enum xstep local, limited;

    if (x->listen->role != LISTEN_PROXY)
        return local_pages_admin(x);
    local = local_pages_answer(x);
    if (local != STEP_COUNT)
        return local;
    x->req->pending |= MATCH_PENDING_ADDRESS;
    if (x->req->head->method == METHOD_CONNECT && !x->req->peeked)
        x->req->pending |= MATCH_PENDING_SNI;
    kept_begin(x);
    if (kept_leads(x))
        return judge_as_before(x);
    first_facts(x, &f);
    limited = limits_ask(x, LIMITS_FIRST, &f);
    return limited == STEP_COUNT ? judge_rules(x, &f) : limited;
}

/* STEP_COUNT: those that may be dialled are noted, and which rule has let them. An address that needs to know what is in the tunnel first is one that may not
 * be dialled yet: then all of them wait. */
static enum xstep sift_addresses(struct xchg *x, struct match_facts *f)
{
    struct xreq *q = x->req;
    struct verdict first = q->verdict, allowed = {.kind = VERDICT_DENY};

    q->n_addrs = 0;
    q->dropped = (struct verdict){.kind = VERDICT_ALLOW};
    for (unsigned i = 0; i < q->answer.n && q->n_addrs < CONNECT_MAX_ADDRS; i++) {
        struct addr a = q->answer.addrs[i];
        struct verdict v;

        addr_set_port(&a, q->port);
        f->to = &a;
        v = policy_judge_address(x->snap->policy, f, &first, NULL);
        f->to = NULL;
        if (v.kind == VERDICT_NEEDS)
            return v.needs == FACT_USER ? ask_for_user(x) : STEP_PEEK;
        if (v.kind == VERDICT_DENY && q->dropped.kind == VERDICT_ALLOW) {
            q->dropped = v;
            q->refused = a;
        }
        if (v.kind != VERDICT_ALLOW)
            continue;
        if (allowed.kind != VERDICT_ALLOW)
            allowed = v;
        q->addrs[q->n_addrs++] = a;
    }
    if (!q->n_addrs)
        return step_policy_refuse(x, &q->dropped);
    note(x, &allowed);
    kept_last(x);
    return STEP_COUNT;
}

/* The same addresses, too. */
static enum xstep judge_addresses_as_before(struct xchg *x)
{
    const struct kept *k = x->req->kept;
    struct xreq *q = x->req;
    enum xstep next;

    q->n_addrs = k->n_addrs;
    for (unsigned i = 0; i < k->n_addrs; i++)
        q->addrs[i] = k->addrs[i];
    note(x, &k->last);
    next = limits_again(x, LIMITS_RULED);
    return next == STEP_COUNT ? STEP_ROUTE : next;
}

static enum xstep judge_addresses(struct xchg *x)
{
    struct match_facts f;
    enum xstep next = STEP_COUNT;

    if (kept_leads(x)) {
        if (kept_has_addrs(x) && limits_may_again(x))
            return judge_addresses_as_before(x);
        kept_spoil(x);
    }
    f = xchg_facts(x, x->rec);
    /* Which of them it will be is not known yet. Who comes back from waiting for a limit has been judged: the verdict is the rule's that let an address pass, and
     * says nothing about the others any more. */
    if (!x->req->limits.pacing)
        next = sift_addresses(x, &f);
    if (next == STEP_COUNT)
        next = limits_ask(x, LIMITS_RULED, &f);
    return next == STEP_COUNT ? STEP_ROUTE : next;
}

/* The name goes to a parent: what would need the address does not hold. */
static enum xstep judge_name(struct xchg *x)
{
    struct match_facts f;
    struct verdict v = x->req->verdict;
    enum xstep limited;

    kept_spoil(x);
    f = xchg_facts(x, x->rec);
    if (v.kind == VERDICT_NEEDS)
        v = policy_judge(x->snap->policy, &f, v.rule, &v, NULL);
    if (v.kind != VERDICT_ALLOW)
        return judged(x, &v);
    note(x, &v);
    limited = limits_ask(x, LIMITS_RULED, &f);
    return limited == STEP_COUNT ? STEP_ROUTE : limited;
}

static enum xstep judge_on(struct xchg *x)
{
    return x->req->resolved ? judge_addresses(x) : judge_name(x);
}

enum xstep step_policy(struct xchg *x)
{
    struct match_facts f;
    enum xstep next;

    if (x->req->anew) {
        x->req->anew = false;
        kept_spoil(x);
        first_facts(x, &f);
        next = judge_rules(x, &f);
        return (next == STEP_RESOLVE || next == STEP_ROUTE) && (x->req->resolved || x->req->by_name) ? judge_on(x) : next;
    }
    return x->req->resolved || x->req->by_name ? judge_on(x) : judge_request(x);
}
