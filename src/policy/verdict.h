/* SPDX-License-Identifier: MIT */
/* verdict: the three-valued answer of policy: allow, deny, or needs a fact that is not there yet, with the index of the rule
 * at which the walk resumes when it is. One value, written once: log, Proxy-Status, page and (later) `why` read it. */
#ifndef POLICY_VERDICT_H
#define POLICY_VERDICT_H

#include "base/end.h"

enum verdict_kind { VERDICT_ALLOW = 0, VERDICT_DENY, VERDICT_NEEDS };

/* What a rule may wait for. */
enum verdict_fact { FACT_NONE = 0, FACT_ADDRESS };

struct verdict {
    enum verdict_kind kind;
    enum verdict_fact needs; /* NEEDS */
    unsigned rule;           /* the rule that decided, or at which to resume */
    enum end_reason reason;  /* DENY */
    const char *place;       /* where that rule is written: file:line, or the name of a built-in one; static or the policy's */
};

#endif
