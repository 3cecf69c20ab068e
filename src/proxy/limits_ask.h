/* SPDX-License-Identifier: MIT */
/* limits_ask: what the steps of an exchange ask of `limits`. All that match must hold. Each is asked about as soon as what it needs is known, and once: requests
 * before the rules, what runs (tunnels, quotas, bandwidth, caps) after them.
 * Thread: the worker's. */
#ifndef PROXY_LIMITS_ASK_H
#define PROXY_LIMITS_ASK_H

#include "policy/limit.h"
#include "proxy/charge.h"

struct head;
struct xchg;

enum { LIMITS_MAX = 256, LIMITS_WORDS = LIMITS_MAX / 64 };

/* FIRST: client, user and target are known · RULED: the rule, too · DIALLED: and the address */
enum limits_when { LIMITS_FIRST = 0, LIMITS_RULED, LIMITS_DIALLED };

/* Of a request, until it is in its relay. */
struct limits_asked {
    uint64_t requests[LIMITS_WORDS], rest[LIMITS_WORDS]; /* by index in the snapshot: answered */
    struct charge_bucket *pacing; /* it waits for a token of this one */
    uint64_t pace_until_us;
};

/* STEP_COUNT (of enum xstep, which this header cannot know): go on. Else the step to leave to, or STEP_WAIT: then this is asked again with the same arguments. */
int limits_ask(struct xchg *x, enum limits_when when, const struct match_facts *f) MUST_USE;
/* The same for a request that goes by what is kept of another one (kept.h): FIRST and RULED. limits_may_again: before RULED, whether nothing that it holds refuses;
 * else it is to be asked as usual. */
bool limits_may_again(struct xchg *x) MUST_USE;
int limits_again(struct xchg *x, enum limits_when when) MUST_USE;
/* The head of an answer: whether as much may be fetched as it announces. STEP_COUNT: it may. */
int limits_answer(struct xchg *x, const struct head *h) MUST_USE;
/* After a pump has run: a quota or cap may be the end. STEP_COUNT: it goes on. Else the step to leave to, and the record says whose limit it was. */
int limits_end(struct xchg *x) MUST_USE;
/* A token is no longer waited for. */
void limits_forget(struct limits_asked *a);

#endif
