/* SPDX-License-Identifier: MIT */
/* step policy: may it pass? First with what is known before anything is resolved; then the walk resumes, where it stopped, for each
 * address that could be dialled, and those that may not be are dropped. What was judged is what is dialled.
 */
#include "proxy/local.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

const char *xchg_refusal_text(enum end_reason reason)
{
    switch ((unsigned)reason) {
    case END_LOOP:
        return "the target is this proxy itself";
    case END_NOT_ADMITTED:
        return "this client address is not among `clients`";
    default:
        return NULL;
    }
}

static enum xstep refuse(struct xchg *x, const struct verdict *v)
{
    return xchg_fail(x, v->reason, xchg_refusal_text(v->reason));
}

static enum xstep judge_request(struct xchg *x)
{
    struct facts f = {.client = &x->session->client};
    enum xstep local;

    x->req->verdict = policy_judge(x->worker->policy, &f, 0);
    if (x->req->verdict.kind == VERDICT_DENY)
        return refuse(x, &x->req->verdict);
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
        struct facts f = {.client = &x->session->client, .target = &a};

        addr_set_port(&a, q->port);
        if (first.kind == VERDICT_NEEDS)
            v = policy_judge(x->worker->policy, &f, first.rule);
        if (v.kind == VERDICT_ALLOW)
            q->addrs[q->n_addrs++] = a;
        else if (q->dropped == END_NONE)
            q->dropped = v.reason;
    }
    if (!q->n_addrs)
        return xchg_fail(x, q->dropped, xchg_refusal_text(q->dropped));
    q->verdict = v.kind == VERDICT_ALLOW ? v : (struct verdict){.kind = VERDICT_ALLOW};
    return STEP_DIAL;
}

enum xstep step_policy(struct xchg *x)
{
    return x->req->resolved ? judge_addresses(x) : judge_request(x);
}
