/* SPDX-License-Identifier: MIT */
/* denied: what was refused lately, for people and as JSON: by target, how often, and the line that would let it pass now, as the policy is that is in service
 * when it is asked for. Pure functions of the denials. Thread: any that may read the policy. */
#ifndef APP_DENIED_H
#define APP_DENIED_H

#include "policy/policy.h"
#include "proxy/denials.h"

struct denied_view {
    const struct denial *v; /* newest first */
    size_t n;
    uint64_t total; /* ever */
    const struct policy *policy;
};

/* NULL: memory refused. mem_free. */
char *denied_text(const struct denied_view *d, size_t *ret_n) MUST_USE;
char *denied_json(const struct denied_view *d, size_t *ret_n) MUST_USE;

#endif
