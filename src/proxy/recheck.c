/* SPDX-License-Identifier: MIT */
/* recheck: walks over the sessions of a worker in slices, as the sweep does, and judges their tunnels. Started by worker_use; asked by the steps where a tunnel begins, or
 * learns its name, after a reload.
 */
#include "proxy/recheck.h"

#include "base/check.h"
#include "policy/explain.h"
#include "policy/policy.h"
#include "proxy/peek.h"
#include "proxy/session.h"
#include "proxy/worker.h"

bool recheck_due(const struct xchg *x)
{
    return x->snap != x->worker->snap && x->worker->snap->policy->recheck;
}

/* It may still say its name. */
static bool unread(const struct xchg *x)
{
    return x->peek && x->peek->client == PEEK_HELD && !x->peek->known;
}

/* What went to a parent by name has no address. */
static struct verdict judge(const struct policy *p, const struct match_facts *f)
{
    struct verdict all = {.kind = VERDICT_NEEDS, .needs = FACT_ADDRESS};

    return f->to ? policy_judge_address(p, f, &all, NULL) : policy_judge(p, f, 0, NULL, NULL);
}

bool recheck_passes(struct xchg *x, struct verdict *ret_verdict)
{
    const struct snapshot *snap = x->worker->snap;
    const struct snapshot_listen *listen = session_listen(x->session, snap);
    struct access_record room;
    const struct access_record *r = xchg_record_of(x, &room);
    struct match_facts f = xchg_facts(x, r);

    f.listener = slice_str(listen->name);
    f.to = xchg_target(x, r);
    f.pending = unread(x) ? MATCH_PENDING_SNI : 0;
    *ret_verdict = policy_admit(snap->policy, listen->clients, &x->session->client, NULL);
    if (ret_verdict->kind == VERDICT_ALLOW)
        *ret_verdict = judge(snap->policy, &f);
    if (ret_verdict->kind == VERDICT_NEEDS && x->peek)
        x->peek->ask = true;
    return ret_verdict->kind != VERDICT_DENY;
}

/* The names are the snapshot's: the record is written before anything else happens. */
static void note(struct xchg *x, const struct verdict *v)
{
    const char *title = explain_title(v);

    xchg_last_record(x)->rule = title ? slice_str(title) : SLICE_NONE;
}

enum xstep recheck_refuse(struct xchg *x, const struct verdict *v)
{
    note(x, v);
    return xchg_abort(x, END_RELOADED, v->what);
}

/* ---- the walk ---- */

static void look(struct session *s)
{
    LIST_EACH(it, &s->xchgs) {
        struct xchg *x = LIST_ENTRY(it, struct xchg, link);
        struct verdict v;

        if (!x->tunnel || recheck_passes(x, &v))
            continue;
        note(x, &v);
        xchg_cut(x, END_RELOADED, v.what);
    }
}

static void recheck_run(struct task *t, unsigned bits)
{
    struct recheck *r = CONTAINER_OF(t, struct recheck, task);
    struct worker *w = CONTAINER_OF(r, struct worker, recheck);
    struct list *it = r->next ? &r->next->link : &w->sessions;

    UNUSED(bits);
    r->next = NULL;
    for (unsigned i = 0; i < RECHECK_BATCH && it != &w->sessions; i++) {
        struct session *s = LIST_ENTRY(it, struct session, link);

        if (s->since_ms > r->until_ms)
            return;
        /* A session outlives its exchange by a turn. */
        look(s);
        it = it->next;
    }
    if (it == &w->sessions)
        return;
    r->next = LIST_ENTRY(it, struct session, link);
    t->bulk = true;
    task_wake(t, TASK_RX);
}

void recheck_start(struct recheck *r)
{
    struct worker *w = CONTAINER_OF(r, struct worker, recheck);

    if (list_empty(&w->sessions))
        return;
    r->next = LIST_ENTRY(w->sessions.next, struct session, link);
    r->until_ms = w->loop.now_ms;
    r->task.bulk = true;
    task_wake(&r->task, TASK_RX);
}

void recheck_forget(struct recheck *r, struct session *s)
{
    struct list *next = s->link.next;

    if (r->next == s)
        r->next = next == &s->worker->sessions ? NULL : LIST_ENTRY(next, struct session, link);
}

void recheck_init(struct recheck *r, struct loop *loop)
{
    task_init(&r->task, loop, "recheck", recheck_run);
}

void recheck_done(struct recheck *r)
{
    task_cancel(&r->task);
}
