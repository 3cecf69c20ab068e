/* SPDX-License-Identifier: MIT */
/* rules: the entries of `rules`, as compiled. Owner: the configuration. Thread: read by all. */
#ifndef POLICY_RULES_H
#define POLICY_RULES_H

#include "policy/matcher.h"

enum rule_kind { RULE_ALLOW = 0, RULE_DENY };
/* What the name in a ClientHello has to do with the authority of the CONNECT. DEFAULT becomes STRICT when rules exist, else OFF. */
enum rule_sni { SNI_DEFAULT = 0, SNI_STRICT, SNI_LOG, SNI_OFF };
/* What must be spoken in a tunnel. DEFAULT: see ginnel.yaml(5). */
enum rule_expect { EXPECT_DEFAULT = 0, EXPECT_TLS, EXPECT_HTTP, EXPECT_SSH, EXPECT_ANY };

struct rule {
    enum rule_kind kind;
    const struct matcher *where; /* the destinations, any of them: all bare hosts are one, each map is one. Of an allow, each has its ports,
                                  * or those beside it, or the usual ones */
    unsigned n_where;
    const struct matcher *with;  /* the words that stand beside allow or deny; NULL: none. Its `except` is the rule's */
    bool report;                 /* `mode: report` */
    enum rule_sni sni;
    enum rule_expect expect;
    const char *name;            /* NULL: none */
    const char *say;             /* NULL: none */
    const char *place;           /* "file:line" */
};

/* What logs and refusals call it: its name, else its place. */
static inline const char *rule_title(const struct rule *r)
{
    return r->name ? r->name : r->place;
}

/* ret_word as in matcher_ask. */
enum match_answer rule_ask(const struct rule *r, const struct match_facts *f, enum match_word *ret_word);
/* It allows f because of an address that is written in it, so that private ones are open, too. */
bool rule_opens(const struct rule *r, const struct match_facts *f);

#endif
