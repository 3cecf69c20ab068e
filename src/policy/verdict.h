/* SPDX-License-Identifier: MIT */
/* verdict: the three-valued answer of policy: allow, deny, or needs a fact that is not there yet, with the index of the rule
 * at which the walk resumes when it is. One value, written once: log, Proxy-Status, page, `why` and `denied` read it. */
#ifndef POLICY_VERDICT_H
#define POLICY_VERDICT_H

#include "base/end.h"

struct rule;

enum verdict_kind { VERDICT_ALLOW = 0, VERDICT_DENY, VERDICT_NEEDS };

/* What a rule may wait for. */
enum verdict_fact { FACT_NONE = 0, FACT_USER, FACT_ADDRESS, FACT_SNI };

struct verdict {
    enum verdict_kind kind;
    enum verdict_fact needs; /* NEEDS */
    unsigned rule;           /* NEEDS: where to resume */
    enum end_reason reason;  /* DENY */
    const struct rule *by;   /* the rule that decided; NULL: none did (what nobody decides, or something built in). The policy's */
    const char *place;       /* where what decided is written: file:line, or the name of something built in; static or the policy's */
    const char *what;        /* DENY: more about why, in words: "link-local (169.254.0.0/16)"; NULL; static or the policy's */
    const struct rule *would; /* the first rule in `mode: report` that would have decided; NULL: none */
    bool would_deny;         /* it would have been refused: by `would`, or at the end with `policy: report` */
};

#endif
