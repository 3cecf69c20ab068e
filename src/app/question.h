/* SPDX-License-Identifier: MIT */
/* question: a request that nobody makes: what would be decided about it? Put together from names and values, which come from the command line of `ginnel why`,
 * from the query of a page, or from an expectation of `check --test`:
 *   url       http://host[:port]/path; https://host[:port]/… and host:port mean a CONNECT
 *   user groups labels granted sni method listener
 *   client    an address, or `unix`
 *   header    "name: value"; may come several times
 *   time      2026-11-23T10:00, local time
 *   address   of the target's name; may come several times. `none`: it has none
 * Owner: whoever asks. Thread: any, one at a time. */
#ifndef APP_QUESTION_H
#define APP_QUESTION_H

#include "io/resolve.h"
#include "policy/matcher.h"

enum { QUESTION_WHY = 256, QUESTION_FIELDS_MAX = 64, QUESTION_TIME = 17 };

struct question {
    struct arena arena;
    bool asked;  /* there is a URL */
    bool connect;
    struct authority auth;
    uint16_t port;
    struct slice path, method, user, groups, labels, granted, sni, listener;
    struct hdrs fields;
    struct addr client; /* AF_UNSPEC: not given */
    uint16_t minute;    /* NO_MINUTE: not given */
    bool has_sni, has_groups, has_granted;
    bool has_addrs; /* with n_addrs 0: the name has none */
    struct addr addrs[RESOLVE_MAX_ADDRS];
    unsigned n_addrs;
};

void question_init(struct question *q);
void question_done(struct question *q);
/* ERR_SYNTAX: there is no such name, or the value is none; why says so, with nothing from outside unescaped. ERR_LIMIT: too many. ERR_NOMEM. Copies. */
int question_set(struct question *q, struct slice name, struct slice value, char why[QUESTION_WHY]) MUST_USE;
/* The target by its parts, host as a log or a request has it. As question_set. */
int question_target(struct question *q, bool connect, struct slice host, uint16_t port, struct slice path, char why[QUESTION_WHY]) MUST_USE;
/* The name=value&… of a URL's query, percent-encoded. */
int question_query(struct question *q, struct slice query, char why[QUESTION_WHY]) MUST_USE;
/* Whether it is whole, and makes sense: ERR_SYNTAX with why. */
int question_check(const struct question *q, char why[QUESTION_WHY]) MUST_USE;
/* The facts, without an address and with nothing pending. */
struct match_facts question_facts(const struct question *q);
/* The minute of the week of a moment, local time. */
uint16_t question_minute(uint64_t wall_s);

#endif
