/* SPDX-License-Identifier: MIT */
/* kept: what a session keeps of a request for the next one of its connection, so that the same question is not worked out again: who sent these credentials; what policy
 * said about this client, user, host, port, method and address; and which buckets of `limits` that concerned. Only answers are kept, never amounts: tokens,
 * quotas and bandwidth are asked for each time. It holds for one configuration. A judgement that may depend on anything that is not compared is not kept.
 * Made for a connection's second request; connections with one have none.
 * Owner: the session. Memory: about 1 KB. Thread: the worker's. */
#ifndef PROXY_KEPT_H
#define PROXY_KEPT_H

#include "base/hash.h"
#include "base/list.h"
#include "io/addr.h"
#include "policy/verdict.h"
#include "proxy/limits_ask.h"
#include "proxy/users_memo.h"

struct session;
struct worker;
struct xchg;

/* PINS: so many buckets the kept of one worker pin while they are not in use; who has not come for longest lets go first. They cannot be given to anybody else
 * meanwhile, and all workers together leave three quarters of the table. */
enum { KEPT_TEXT = 160, KEPT_HOST = 96, KEPT_ADDRS = 4, KEPT_TOKENS = 4, KEPT_CHARGES = 8, KEPT_PINS = 256 };
/* KEPT_NOBODY: there are no users. */
enum { KEPT_STRANGER = 0, KEPT_NOBODY, KEPT_FIRST };

/* A worker's. */
struct kept_list {
    struct list resting; /* those that pin something, and are not in use; who came last is last */
    unsigned pins;
};

/* A request takes a token here. */
struct kept_token {
    const struct limit *limit; /* the snapshot's */
    struct charge_bucket *bucket;
    enum limits_when when;
};

/* NOTHING · MAKING: a request is being judged, and what is found out is noted · READY: another one may go by it */
enum kept_state { KEPT_NOTHING = 0, KEPT_MAKING, KEPT_READY };

struct kept {
    struct worker *worker;
    struct list link;   /* in the worker's list */
    enum kept_state state;
    struct xchg *owner; /* it makes it, or goes by it; nobody else may; NULL: nobody */
    /* who */
    struct kept_who {
        struct hash_tag tag; /* of the field */
        const struct users *users; /* NULL: nobody is known */
        unsigned generation;
        uint32_t number; /* of this answer among the session's: the same number is the same user with the same groups and labels */
        uint64_t until_ms;
        uint16_t n[4];
        char text[KEPT_TEXT];
    } who;
    /* the question */
    unsigned generation;
    uint32_t by; /* who.number, or NOBODY */
    uint16_t minute, port;
    uint8_t scheme, method, kind, n_host;
    char host[KEPT_HOST];
    /* the answer */
    bool complete; /* all was asked that there is to ask */
    struct verdict first, last; /* before the address; with it */
    unsigned n_addrs;
    struct addr addrs[KEPT_ADDRS];
    /* what concerned it */
    struct kept_asked {
        uint64_t requests[LIMITS_WORDS], rest[LIMITS_WORDS];
    } asked[2]; /* which limits have been asked: FIRST, RULED */
    unsigned n_tokens;
    struct kept_token tokens[KEPT_TOKENS];
    struct charge *charge; /* NULL: it is in use, or there was none */
    bool charged;          /* there is one */
};

void kept_list_init(struct kept_list *l);
/* A configuration has come: nothing that was made by another one may be used, and nobody should wait for its end. */
void kept_list_drop(struct kept_list *l);

/* Ends it; no request is in progress. NULL is fine. */
void kept_free(struct kept **kp);

/* Who sent the same field a moment ago: sets x->who and the texts, in the exchange's arena. ERR_NOTFOUND, ERR_NOMEM. */
int kept_known(struct xchg *x, const struct users *u, struct slice field, struct users_memo_texts *ret_texts) MUST_USE;
/* This field says so, until then. */
void kept_know(struct xchg *x, const struct users *u, struct slice field, const struct users_memo_texts *t, uint64_t until_ms);

/* Before the rules: the request is the one that was judged: x->kept. Else it may become the one that is kept, and x->kept says so, too. */
void kept_begin(struct xchg *x);
/* Whether x goes by what is kept. */
bool kept_leads(const struct xchg *x);
/* The addresses are those that were judged, too. */
bool kept_has_addrs(const struct xchg *x);

/* While it is made; they do nothing when it is not. */
void kept_asked(struct xchg *x, enum limits_when when);
void kept_token(struct xchg *x, const struct limit *l, struct charge_bucket *b, enum limits_when when);
void kept_first(struct xchg *x);  /* the verdict before the address is x's */
void kept_last(struct xchg *x);   /* and the one with it, and addresses */
void kept_complete(struct xchg *x);

/* x is no request that can be kept, or goes its own way from here on. */
void kept_spoil(struct xchg *x);
/* It is a tunnel from now on, which takes as little memory as it can. */
void kept_shed(struct xchg *x);
/* The exchange is over: takes its charge, if that is to be kept. */
void kept_rest(struct xchg *x);

#endif
