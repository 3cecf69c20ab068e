/* SPDX-License-Identifier: MIT */
/* refusal: gathers what may be told of a refusal: how much that is depends on the listener's `reasons`. Called for every error that is answered here.
 * Nothing from the request is in it but the normalised target.
 */
#include "proxy/refusal.h"

#include "io/addr.h"
#include "policy/explain.h"
#include "proxy/snapshot.h"

enum { SAY_MAX = 4096 /* of the operator's own words */ };

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
        all = arena_printf(x->arena, SLICE_FMT "%s%s", SLICE_ARG(all), i ? ", " : "", text);
    }
    return all;
}

static struct slice target_of(struct xchg *x)
{
    if (!x->req->head || !x->rec->host.n)
        return SLICE("");
    return arena_printf(x->arena, x->req->head->auth.kind == HOST_IPV6 ? "[" SLICE_FMT "]:%u" : SLICE_FMT ":%u",
                        SLICE_ARG(x->rec->host), x->rec->port);
}

/* The operator's own words, as text that no terminal minds. */
static struct slice clean(struct arena *a, const char *text)
{
    struct slice s = arena_dup(a, slice_of(text, min_size(strlen(text), SAY_MAX)));
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
    struct match_facts f = xchg_facts(x, x->rec);
    struct explain e;

    f.to = &x->req->refused;
    explain(p, &f, v, r->reasons == REASONS_ALL ? EXPLAIN_OPERATOR : EXPLAIN_CLIENT, &e);
    r->place = v->place ? slice_str(v->place) : SLICE_NONE;
    /* `private` is not the rule, though the rule let it come so far. */
    r->rule = v->by && v->by->name && v->place == v->by->place ? slice_str(v->by->name) : SLICE_NONE;
    /* Of the others, limits say more than rules know. */
    if (explain_knows(v->reason))
        r->detail = arena_dup(x->arena, slice_str(e.why));
    r->say = say ? clean(x->arena, say) : SLICE("");
    if (e.kind != EXPLAIN_NO_WAY)
        r->hint = way_of(x->arena, &e);
    return r->detail.p && r->say.p && (e.kind == EXPLAIN_NO_WAY || r->hint.p) ? 0 : ERR_NOMEM;
}

int refusal_of(struct xchg *x, enum end_reason reason, const char *detail, struct refusal *ret_r)
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
