/* SPDX-License-Identifier: MIT */
/* step policy: may it pass? First with what is known before anything is resolved; then the walk resumes, where it stopped, for each
 * address that could be dialled, and those that may not be are dropped. What was judged is what is dialled.
 */
#include "proxy/local.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

/* What failed, and the way out. */
static const char *refusal_text(enum end_reason reason)
{
    switch ((unsigned)reason) {
    case END_LOOP:
        return "the target is this proxy itself";
    case END_ADDRESS_DENIED:
        return "the target is an address of this proxy's own administration";
    case END_NOT_ADMITTED:
        return "this client address is not among `clients`";
    default:
        return NULL;
    }
}

enum xstep step_policy_refuse(struct xchg *x, const struct verdict *v)
{
    x->req->verdict = *v;
    x->rec.rule = v->place ? slice_str(v->place) : SLICE_NONE;
    return xchg_fail(x, v->reason, refusal_text(v->reason));
}

static struct facts facts_of(const struct xchg *x)
{
    return (struct facts){.client = &x->session->client, .clients = x->listen->clients};
}

static enum xstep judge_request(struct xchg *x)
{
    struct facts f = facts_of(x);
    enum end_reason full = session_admit(x->session);
    enum xstep local;

    if (x->listen->role != LISTEN_PROXY)
        return local_site(x);
    if (full != END_NONE)
        return xchg_fail(x, full, NULL);
    x->req->verdict = policy_judge(x->snap->policy, &f, 0);
    if (x->req->verdict.kind == VERDICT_DENY)
        return step_policy_refuse(x, &x->req->verdict);
    local = local_answer(x);
    return local == STEP_COUNT ? STEP_RESOLVE : local;
}

static enum xstep judge_addresses(struct xchg *x)
{
    struct xreq *q = x->req;
    struct verdict first = q->verdict, v = first;

    q->n_addrs = 0;
    for (unsigned i = 0; i < q->answer.n && q->n_addrs < CONNECT_MAX_ADDRS; i++) {
        struct addr a = q->answer.addrs[i];
        struct facts f = facts_of(x);

        f.target = &a;
        addr_set_port(&a, q->port);
        if (first.kind == VERDICT_NEEDS)
            v = policy_judge(x->snap->policy, &f, first.rule);
        if (v.kind == VERDICT_ALLOW)
            q->addrs[q->n_addrs++] = a;
        else if (q->dropped.kind == VERDICT_ALLOW)
            q->dropped = v;
    }
    if (!q->n_addrs)
        return step_policy_refuse(x, &q->dropped);
    q->verdict = v.kind == VERDICT_ALLOW ? v : (struct verdict){.kind = VERDICT_ALLOW};
    return STEP_ROUTE;
}

enum xstep step_policy(struct xchg *x)
{
    return x->req->resolved ? judge_addresses(x) : judge_request(x);
}
