/* SPDX-License-Identifier: MIT */
/* policy: the walk over the rules. Each rule is a function that answers or passes on; a rule without its fact answers NEEDS and
 * is where the walk resumes. Called by the policy step, for the request and again for each address just before it is dialled.
 */
#include "policy/policy.h"

#include "base/base.h"

enum rule_answer { RULE_PASS, RULE_ANSWERED };

typedef enum rule_answer (*rule_fn)(const struct policy *p, const struct facts *f, struct verdict *v);

bool policy_admits(const struct policy *p, const struct addr *client)
{
    struct addr_key key;

    if (!p->n_clients)
        return true;
    key = addr_key(client);
    for (unsigned i = 0; i < p->n_clients; i++)
        if (addr_key_in(&key, &p->clients[i]))
            return true;
    return false;
}

static enum rule_answer rule_clients(const struct policy *p, const struct facts *f, struct verdict *v)
{
    if (policy_admits(p, f->client))
        return RULE_PASS;
    *v = (struct verdict){.kind = VERDICT_DENY, .reason = END_NOT_ADMITTED, .place = "clients"};
    return RULE_ANSWERED;
}

static bool is_local(const struct policy *p, const struct addr *a)
{
    if (addr_is_loopback(a) || addr_is_any(a))
        return true;
    for (unsigned i = 0; i < p->n_local; i++)
        if (addr_same_host(&p->local[i], a))
            return true;
    return false;
}

static bool is_own(const struct policy *p, const struct addr *target)
{
    for (unsigned i = 0; i < p->n_own; i++) {
        const struct addr *own = &p->own[i];

        if (addr_port(own) != addr_port(target))
            continue;
        /* Connecting to 0.0.0.0 or :: reaches loopback on Linux. */
        if (addr_same_host(own, target) || (addr_is_any(own) && is_local(p, target)) ||
            (addr_is_any(target) && addr_is_loopback(own)))
            return true;
    }
    return false;
}

static enum rule_answer rule_own_listeners(const struct policy *p, const struct facts *f, struct verdict *v)
{
    if (!f->target) {
        *v = (struct verdict){.kind = VERDICT_NEEDS, .needs = FACT_ADDRESS, .place = "own listeners"};
        return RULE_ANSWERED;
    }
    if (!is_own(p, f->target))
        return RULE_PASS;
    *v = (struct verdict){.kind = VERDICT_DENY, .reason = END_LOOP, .place = "own listeners"};
    return RULE_ANSWERED;
}

static enum rule_answer rule_everything(const struct policy *p, const struct facts *f, struct verdict *v)
{
    UNUSED(p);
    UNUSED(f);
    *v = (struct verdict){.kind = VERDICT_ALLOW, .place = "everything"};
    return RULE_ANSWERED;
}

struct verdict policy_judge(const struct policy *p, const struct facts *f, unsigned from)
{
    static const rule_fn rules[] = {rule_clients, rule_own_listeners, rule_everything};
    struct verdict v = {.kind = VERDICT_DENY, .reason = END_DENIED, .place = "no rule"};

    for (unsigned i = from; i < ARRAY_LEN(rules); i++) {
        if (rules[i](p, f, &v) == RULE_ANSWERED) {
            v.rule = i;
            break;
        }
    }
    return v;
}
