/* SPDX-License-Identifier: MIT */
/* policy: the walk over the rules. Each rule is a function that answers or passes on; a rule without its fact answers NEEDS and
 * is where the walk resumes. Called by the policy step, for the request and again for each address just before it is dialled.
 */
#include "policy/policy.h"

#include "base/base.h"

enum rule_answer { RULE_PASS, RULE_ANSWERED };

typedef enum rule_answer (*rule_fn)(const struct policy *p, const struct facts *f, struct verdict *v);

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

static enum rule_answer rule_clients(const struct policy *p, const struct facts *f, struct verdict *v)
{
    const struct policy_clients *s = set_of(p, f->clients);

    if (policy_admits(p, f->clients, f->client))
        return RULE_PASS;
    *v = (struct verdict){.kind = VERDICT_DENY,
                          .reason = END_NOT_ADMITTED,
                          .place = s && s->place ? s->place : "clients"};
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

static bool is_ip(const struct addr *a)
{
    return a->sa.sa_family == AF_INET || a->sa.sa_family == AF_INET6;
}

/* Would a connection to this address arrive at one of these listeners? */
static bool arrives(const struct policy *p, const struct addr *listeners, unsigned n,
                    const struct addr *target)
{
    for (unsigned i = 0; i < n; i++) {
        const struct addr *l = &listeners[i];

        /* What has no address would compare as ::. */
        if (!is_ip(l) || addr_port(l) != addr_port(target))
            continue;
        /* Connecting to 0.0.0.0 or :: reaches loopback on Linux. */
        if (addr_same_host(l, target) || (addr_is_any(l) && is_local(p, target)) ||
            (addr_is_any(target) && addr_is_loopback(l)))
            return true;
    }
    return false;
}

static enum rule_answer rule_own_listeners(const struct policy *p, const struct facts *f, struct verdict *v)
{
    if (!f->target)
        *v = (struct verdict){.kind = VERDICT_NEEDS, .needs = FACT_ADDRESS, .place = "own listeners"};
    else if (arrives(p, p->own, p->n_own, f->target))
        *v = (struct verdict){.kind = VERDICT_DENY, .reason = END_LOOP, .place = "own listeners"};
    else if (arrives(p, p->admin, p->n_admin, f->target))
        *v = (struct verdict){.kind = VERDICT_DENY, .reason = END_ADDRESS_DENIED, .place = "admin"};
    else
        return RULE_PASS;
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
