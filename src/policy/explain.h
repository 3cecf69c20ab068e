/* SPDX-License-Identifier: MIT */
/* explain: what a refusal says: why, in a sentence, and what would have to be written for it to pass. Log, page, Proxy-Status, `why` and `denied` take their
 * words from here. Pure. Thread: any. */
#ifndef POLICY_EXPLAIN_H
#define POLICY_EXPLAIN_H

#include "policy/policy.h"

#include <stdio.h>

enum { EXPLAIN_WHY = 768, EXPLAIN_WAY = 1536, EXPLAIN_TARGET = 272, EXPLAIN_SCALAR = 520 };

/* Who reads it. CLIENT is not told which addresses names have. */
enum explain_reader { EXPLAIN_CLIENT = 0, EXPLAIN_OPERATOR };
/* RULE: way is an item of `rules`, as YAML; KEY: a sentence about another key. */
enum explain_kind { EXPLAIN_NO_WAY = 0, EXPLAIN_RULE, EXPLAIN_KEY };

struct explain {
    char why[EXPLAIN_WHY]; /* no full stop: "no rule allows example.org:8443; the nearest, ci (rules.yaml:7), fails at `port`" */
    enum explain_kind kind;
    char way[EXPLAIN_WAY]; /* "- {allow: example.org, port: 8443}" */
    const char *before;    /* RULE: the place of the rule that it must stand before; NULL: anywhere among those that decide nothing about it */
};

/* v: a refusal, or an allowed request that ended for another reason of policy; f: the facts that it was judged by, `to` the address refused (NULL: none). */
void explain(const struct policy *p, const struct match_facts *f, const struct verdict *v, enum explain_reader reader, struct explain *ret_explain);
/* Whether its sentence about that reason says all that is to be said. */
bool explain_knows(enum end_reason r);
/* What the log calls that which decided: a rule's name, else file:line, or something built in; NULL where nothing did. */
const char *explain_title(const struct verdict *v);
/* "host:port" */
void explain_target(const struct match_facts *f, char out[EXPLAIN_TARGET]);
/* What a request meets at the end, for that reason, is policy's doing. */
bool explain_is_refusal(enum end_reason r);
/* A host as `allow` takes it, a name of any kind as YAML takes it: in quotes where it needs them. NUL-terminated, cut at the bound. */
void explain_host(struct slice host, char out[EXPLAIN_SCALAR]);
void explain_scalar(struct slice s, char out[EXPLAIN_SCALAR]);

#endif
