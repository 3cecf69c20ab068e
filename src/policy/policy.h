/* SPDX-License-Identifier: MIT */
/* policy: may this pass? Pure functions of facts: no sockets, no clock, no allocation. The order of judgement (ginnel.yaml(5)):
 *   clients   policy_admits: the client's address must be in the set that judges it (403)
 *   rules     policy_judge: the first rule that matches decides; none: refused. Without `rules`: the ports that are open
 *   address   policy_judge_address, for each address just before it is dialled: the rest of the rules, ginnel's own listeners
 *             (502, loop) and administration (403), `private` (403)
 * Owner: the snapshot. Thread: read by all workers. */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include "io/addr.h" /* addresses are values; the one header of io that policy may use */
#include "policy/guard.h"
#include "policy/rules.h"
#include "policy/rules_index.h"
#include "policy/verdict.h"

#include <stdbool.h>

/* Admitted clients: the top level's, or those of a listener that has its own. */
struct policy_clients {
    bool any; /* everybody (also: nothing was written and all listeners are local) */
    const struct ranges *ranges; /* not asked when any; NULL: none */
    const char *place;           /* "file:line", NULL: nothing was written */
};

/* The sets that are always there: what holds for all; for sessions whose listener is gone (and its own set with it). */
enum { POLICY_CLIENTS_ALL = 0, POLICY_CLIENTS_GONE, POLICY_CLIENTS_OWN };

struct policy {
    /* where we listen; port known. A wildcard stands for every local address, a file for none */
    const struct addr *own;
    unsigned n_own;
    const struct policy_clients *clients; /* ALL, GONE, then those of listeners */
    unsigned n_clients;
    const struct addr *admin; /* where the admin pages are; like own */
    unsigned n_admin;
    const struct addr *local; /* this machine's addresses, for wildcard listeners */
    unsigned n_local;

    bool has_rules; /* the key was given, be it empty */
    const struct rule *rules;
    unsigned n_rules;
    const struct rules_index *index; /* of these rules; NULL: each is asked. A trace never goes by it */
    bool report;       /* `policy: report` */
    const char *say;   /* of the final refusal; NULL: none */
    const char *place; /* of `rules`: where the final refusal comes from; NULL */
    bool recheck;      /* tunnels are judged again after a reload */
    enum guard_mode private; /* never DEFAULT */
    const char *private_place; /* NULL: nothing was written */
    const struct matcher_ports *ports; /* without rules: what may be dialled; n_ports 0: every port */
    unsigned n_ports;
    const char *ports_place; /* NULL: nothing was written */
};

/* Who is told each thing that a judgement looks at, in order; for `ginnel why`. A deny that waits may be followed by others: then it made no difference. A
 * walk that goes on may tell again what the one before has told. */
enum policy_stage { STAGE_CLIENTS = 0, STAGE_PORTS, STAGE_RULE, STAGE_FINAL, STAGE_OWN, STAGE_ADMIN, STAGE_PRIVATE };
struct policy_trace {
    /* rule: RULE; answer and word: of a RULE as rule_ask gave them, else YES: it refuses, NO: it passes. to: the address judged, NULL none */
    void (*say)(void *ctx, enum policy_stage stage, const struct rule *rule, enum match_answer answer, enum match_word word, const struct addr *to);
    void *ctx;
};

/* The first judgement: may this client speak to us at all? A client of a Unix socket always may:
 * the file's permissions have decided. A set that is not there admits nobody else. */
bool policy_admits(const struct policy *p, unsigned set, const struct addr *client);
struct verdict policy_admit(const struct policy *p, unsigned set, const struct addr *client, const struct policy_trace *t);

/* A connection to this address would arrive at one of our own listeners, or at our administration. */
bool policy_is_own(const struct policy *p, const struct addr *to);

/* Walks from rule `from` (0: the beginning, else a NEEDS verdict's rule). `before`: the verdict of the walk that stopped there, NULL at first: what it noted of
 * `would` goes on. t may be NULL. A rule in report mode is waited for only if the request is allowed without it, and only for the address.
 * What is refused whatever may still become known is refused at once, by the first rule that is certain; else facts that come later never change ALLOW
 * or DENY, nor whose it is, and a walk that goes on from NEEDS comes to what a new one would. */
struct verdict policy_judge(const struct policy *p, const struct match_facts *f, unsigned from, const struct verdict *before,
                            const struct policy_trace *t);
/* f->to is the address, with its port; first: what policy_judge said: ALLOW or NEEDS an address. Not FACT_ADDRESS any more. */
struct verdict policy_judge_address(const struct policy *p, const struct match_facts *f, const struct verdict *first,
                                    const struct policy_trace *t);

/* For a final refusal: the allow that comes nearest, which is the first one whose destination matches (those that name it before `any`), else NULL; and the word that it fails at. */
const struct rule *policy_nearest(const struct policy *p, const struct match_facts *f, enum match_word *ret_word);
/* What holds in a tunnel that this verdict let pass: never DEFAULT. A rule that is itself chosen by names in `sni` does not ask for the name of the CONNECT. */
enum rule_sni policy_sni(const struct policy *p, const struct verdict *v);
/* Whether the judgement may ask about the name in the ClientHello. */
bool policy_asks_sni(const struct policy *p);
/* Whether the judgement is the same for all requests with the same host, port, scheme, method, minute, address and user of one client at one listener. */
bool policy_is_steady(const struct policy *p);

#endif
