/* SPDX-License-Identifier: MIT */
/* peek: what a tunnel's first bytes mean to its rule: what may be said about them without a socket. Step peek moves the bytes; this decides.
 * Owner: the exchange (mem_*). Thread: its worker's. Freed by peek_free. */
#ifndef PROXY_PEEK_H
#define PROXY_PEEK_H

#include "base/end.h"
#include "policy/rules.h"
#include "proto/clienthello.h"
#include "proto/spoken.h"

/* ORIGIN_MAX: so much of what the origin says first may be held back. TEXT_MAX: of what a record says about it. */
enum { PEEK_ORIGIN_MAX = 64, PEEK_TEXT_MAX = 240 };

/* HELD: what it says is looked at before it goes on. OPEN: whatever it says goes on. */
enum peek_side { PEEK_HELD = 0, PEEK_OPEN };

/* MORE: not enough has come · ON: it may go on, and what follows is looked at, too · PASS: this side is open · BOTH: both are · REFUSE */
enum peek_answer { PEEK_MORE = 0, PEEK_ON, PEEK_PASS, PEEK_BOTH, PEEK_REFUSE };

/* Quiet tunnels have one each: it is kept small. */
struct peek {
    enum rule_sni sni : 8; /* OFF, LOG, STRICT */
    enum rule_expect expect : 8;
    enum peek_side client : 8, origin : 8;
    bool ask;          /* the rules have changed since, and have to be asked when it is known */
    bool known;        /* the client has begun: the record has its name, if there is one */
    bool read;         /* the same, of a hello that was read before the tunnel began */
    bool fresh;        /* what is held was read before the tunnel began, and is not judged yet */
    bool pinned;       /* rules were asked with the name `pin`, be it empty: no other one may follow */
    bool watched;      /* the hello was right; the origin may ask for another one (HelloRetryRequest), in which the same name has to stand */
    uint8_t n_origin;
    uint32_t n_held, cap_held;
    uint32_t n_go;     /* of those that are held, so many, the first, have been judged, and wait for room */
    uint32_t skip;     /* watched: bytes left of the client's present record */
    uint32_t head_ms;  /* how long a message that has begun may take */
    uint64_t held_ms;  /* since when one is waited for; 0: none is */
    struct slice host; /* the authority's, when it is a name: lent by the record, as the next */
    struct slice pin;
    char *held;        /* what the client has said and was not passed on */
    char *origin_held; /* what the origin has said first, likewise: ORIGIN_MAX bytes; NULL: nothing yet */
    struct clienthello_scan scan;
};

/* What an answer says beside itself. Begins zeroed. */
struct peek_said {
    bool read; /* a ClientHello, this one */
    struct clienthello hello;
    enum end_reason reason;   /* REFUSE */
    char text[PEEK_TEXT_MAX]; /* of a refusal, or of what `sni: log` notes; empty: nothing */
};

/* Whether a tunnel under these is looked at. named: its authority is a name. */
bool peek_wanted(enum rule_sni sni, enum rule_expect expect, bool named);
/* NULL: memory refused. */
struct peek *peek_new(void) MUST_USE;
/* What is to be looked for from now on. host: the authority's, when it is a name. */
void peek_begin(struct peek *k, enum rule_sni sni, enum rule_expect expect, struct slice host, bool named);
/* Rules were asked with that name, and it shall not become another one. */
void peek_pin(struct peek *k, struct slice name);
void peek_free(struct peek *k); /* NULL is fine */

/* What the origin has said so far is held. n <= ORIGIN_MAX. ERR_NOMEM. */
int peek_hold_origin(struct peek *k, const char *p, size_t n) MUST_USE;
/* Adds to what is held of the client's. ERR_NOMEM. Never beyond CLIENTHELLO_MAX: peek_client has answered by then. */
int peek_hold(struct peek *k, const char *p, size_t n) MUST_USE;

/* Whether the client's first bytes say who is asked for. DONE: they do (said->read), or never will. BAD: that can be read in more than one way, said->reason and
 * text say how. p, n: all of them so far, n > 0; here and below. */
enum parse peek_name(struct peek *k, const char *p, size_t n, struct peek_said *said);
/* Of what is held and what has come. ret_go: how many of the bytes go on; the others are held. */
enum peek_answer peek_client(struct peek *k, const char *p, size_t n, size_t *ret_go, struct peek_said *said);
/* The client has begun, and then ended, or said no more for head_ms. */
enum peek_answer peek_client_over(struct peek *k, bool ended, struct peek_said *said);
/* Whether it matters what the origin says when the client says no more. */
bool peek_minds_origin(const struct peek *k);
enum peek_answer peek_origin(const struct peek *k, const char *p, size_t n, struct peek_said *said);
/* It has begun, and then ended, or said no more. */
enum peek_answer peek_origin_over(const struct peek *k, struct peek_said *said);

#endif
