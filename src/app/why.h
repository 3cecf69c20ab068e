/* SPDX-License-Identifier: MIT */
/* why: the whole order of judgement over one question, by the functions that the data path uses, with everything that they looked at written down. What `ginnel
 * why`, `check --test` and `check --against` say comes from here. Nothing is resolved, charged or dialled.
 * Owner: whoever asks. Thread: one that may read the edition. */
#ifndef APP_WHY_H
#define APP_WHY_H

#include "app/edition.h"
#include "app/question.h"
#include "policy/explain.h"
#include "proxy/charge_table.h"
#include "proxy/limits_key.h"

/* UNRESOLVED: rules did not refuse it before its name was looked up, and there is no address for them to go on with. */
enum why_end { WHY_ALLOWED = 0, WHY_REFUSED, WHY_NEEDS_ADDRESSES, WHY_UNRESOLVED, WHY_ENDS };

/* One thing that was looked at. */
struct why_event {
    enum policy_stage stage;
    const struct rule *rule; /* RULE */
    enum match_answer answer;
    enum match_word word;
    const struct guard_block *block; /* PRIVATE: what the address is in, refused or not */
    int address;             /* which of the question's; -1: the request, before any */
};

enum { WHY_ADDRS = RESOLVE_MAX_ADDRS, WHY_LABELS = 1024 };

struct why_address {
    struct addr addr;
    struct verdict verdict;
};

/* What the running instance counts, and its clocks. */
struct why_state {
    struct charge_table *charges;
    struct board *board; /* which parents failed lately */
    uint64_t now_ms;
    uint64_t now_us, wall_ms;
};

/* A limit that is about it, and what its buckets hold; of several buckets the one that is nearest to the limit. */
struct why_limit {
    const struct limit *limit;
    bool rest;   /* its tunnels, quota and so on; else its requests */
    bool first;  /* it was asked before the rules */
    bool known;  /* its buckets have been looked at; not those of a connection */
    bool refuses;
    enum end_reason reason; /* refuses */
    uint64_t retry_s;       /* refuses */
    uint32_t left;          /* requests that may come at once */
    uint32_t tunnels;
    uint64_t used; /* of the quota */
};

struct why {
    const struct edition *edition;
    const struct question *question;
    const struct snapshot_listen *listen; /* where it comes in; NULL: there is no such listener */
    const struct why_state *state; /* NULL: what is used of limits is not known */
    struct match_facts facts;
    struct addr client;
    bool literal;         /* the target is an address */
    bool sni_assumed;     /* nobody said what the ClientHello's name is: the authority's was taken */
    bool local;           /* answered by ginnel itself */
    const char *users;    /* what is to be said of who asks; NULL: nothing, there are no users */
    char granted[WHY_LABELS]; /* what facts.granted may point to */
    struct why_event *events;
    size_t n_events, cap;
    struct why_limit *limits; /* in the order in which they were asked */
    unsigned n_limits;
    uint64_t asked_requests[LIMITS_WORDS], asked_rest[LIMITS_WORDS];
    const struct why_limit *limit; /* which of them refuses; NULL: none */
    char limit_text[LIMITS_TEXT];
    bool refused_memory;
    bool tracing;
    int at;               /* the address that is judged */
    struct why_address addrs[WHY_ADDRS];
    unsigned n_addrs;
    enum why_end end;
    struct verdict verdict; /* what decided, at the end */
    struct addr refused;    /* the address that it is about; AF_UNSPEC: none */
    struct explain explain; /* REFUSED */
    const struct route *route; /* ALLOWED, or refused by it; NULL: none matched */
    bool routed;          /* the entries of `upstream` were asked */
    bool way_needs;       /* … and one of them needs an address before anything can be said */
    bool by_name;         /* the name goes to a parent: nothing of addresses was asked */
    uint8_t way_pending;  /* of the facts that they were asked with last */
    struct addr way_to;   /* likewise; AF_UNSPEC: none */
    enum rule_sni sni;         /* ALLOWED, of a CONNECT */
};

/* What to do about a name whose addresses the question does not have: say that they are needed; take it that no rule and no `private` is about them. */
enum why_missing { WHY_ASK = 0, WHY_IGNORE };

/* q has been checked. state NULL: limits refuse nothing. tracing: events are kept, for why_text and why_json. ERR_NOTFOUND: there is no listener of that name. ERR_NOMEM. Always needs why_done. */
int why_judge(const struct edition *e, const struct question *q, const struct why_state *state, enum why_missing missing, bool tracing, struct why *ret_why) MUST_USE;
/* Whether there is a listener of that name. */
bool why_listener(const struct edition *e, struct slice name);
void why_done(struct why *w);

/* The alternatives of its route in the order in which they are tried: those that failed a moment ago come last. How many of those there are at the end. */
unsigned why_order(const struct why *w, uint8_t order[ROUTE_ALTERNATIVES_MAX]);
/* What the i-th entry of `upstream` answers. */
enum match_answer why_ask_route(const struct why *w, unsigned i, enum match_word *ret_word);
/* Which entry of `origins` is about a parent; NULL: `trust` alone. */
const struct origin_entry *why_origin(const struct why *w, const struct hop *h);

/* NULL: memory refused. mem_free. lookup: what is to be said about the addresses, NULL nothing. */
char *why_text(const struct why *w, const char *lookup, size_t *ret_n) MUST_USE;
char *why_json(const struct why *w, const char *lookup, size_t *ret_n) MUST_USE;
/* The last line: "allowed by ci-egress (rules.yaml:7)", "refused by …: 403 …". NUL-terminated, cut. */
enum { WHY_LINE = 2048 };
void why_line(const struct why *w, char out[WHY_LINE]);
/* What decided, as the log's `ginnel.rule` has it; "" where nothing did. */
const char *why_rule(const struct why *w);

#endif
