/* SPDX-License-Identifier: MIT */
/* matcher: does an exchange have these properties? The words of ginnel.yaml(5): host port path method scheme header user group label from to
 * listener sni time, and except. Several words must all hold; several values of a word mean any of them. Pure: no sockets, no clock, no allocation.
 * The answer has three values: a word whose fact may still come (facts.pending) neither holds nor fails. NO of one word beats everything: what
 * cannot match any more is never waited for. A word whose fact is missing for good does not hold.
 * A host that is a literal address is looked for in ranges only, a name among names only. A path's query is never looked at; a path that can be read in two ways
 * (escapes, dot segments: match_path.h) holds in DENY when one of them does, else when both do.
 * Owner: whoever built it (its parts are freed by matcher_done). Thread: read-only after building. */
#ifndef POLICY_MATCHER_H
#define POLICY_MATCHER_H

#include "policy/hosts.h"
#include "policy/ranges.h"
#include "policy/regex.h"
#include "proto/head.h"

#include <stdbool.h>
#include <stdint.h>

struct matcher_ports {
    uint16_t first, last; /* both included */
};

/* A text that must be equal, or that the expression finds something in. */
struct matcher_text {
    struct slice text;   /* the caller's; a path: its beginning */
    struct regex *regex; /* NULL: the text */
};

/* One field of the request. Any of its lines may have any of the values; no value: the field is there. */
struct matcher_field {
    struct slice name; /* the caller's; compared without case */
    enum hdr id;
    struct matcher_text *values;
    unsigned n;
};

/* Minutes of a day, `to` not included. to <= from: it ends on the next day, and belongs to the one on which it begins. */
struct matcher_time {
    uint8_t days;      /* bits, Monday is 1 */
    uint16_t from, to; /* 0..1440 */
};

struct matcher {
    /* What most questions end at comes first, in as few cache lines as possible: there may be thousands of rules. */
    bool has_host, has_from, has_to; /* the word was given */
    bool any_host;             /* `any`: no restriction; the sets below are then not asked */
    bool any_user;
    uint8_t schemes;           /* bits; 0: not given */
    unsigned n_ports, n_paths, n_methods, n_listeners, n_users, n_groups, n_labels, n_fields, n_times, n_except;
    struct hosts *snis;        /* names in the ClientHello; NULL: not given */
    struct hosts *hosts;       /* NULL: no name given */
    struct ranges host_ranges; /* addresses and ranges given as hosts */
    struct matcher_ports *ports;
    struct matcher_text *paths;
    struct slice *methods;     /* exact, upper case as written */
    struct slice *listeners;   /* names */
    struct slice *users;       /* names; with any_user: whoever is known */
    struct slice *groups, *labels;
    struct matcher_field *fields; /* all of them must hold */
    struct matcher_time *times;
    struct ranges from, to;
    const struct matcher *except; /* none of these may hold; the caller's, each done by itself */
};
enum { MATCH_HTTP = 1, MATCH_HTTPS = 2, MATCH_CONNECT = 4 }; /* schemes; a CONNECT has none of its own: `connect` */

/* Facts that are not there yet and may still come. */
enum { MATCH_PENDING_USER = 1, MATCH_PENDING_ADDRESS = 2, MATCH_PENDING_SNI = 4 };
enum { MATCH_MINUTES = 7 * 24 * 60, MATCH_NO_MINUTE = UINT16_MAX };

struct match_facts {
    struct slice host;            /* normalised name or literal address without brackets; empty: none */
    struct addr literal;          /* the host, when it is an address (match_facts_host sets both); else AF_UNSPEC */
    struct slice path, method, listener;
    struct slice user;            /* empty: nobody */
    struct slice groups;          /* the user's: names, commas between */
    struct slice labels, granted; /* those that came with the user's name, commas between; those of them that the user's entry permits */
    struct slice sni;             /* normalised; empty: none */
    const struct hdrs *fields;    /* of the request; NULL: unknown */
    const struct addr *from, *to; /* NULL or family AF_UNSPEC: unknown; AF_UNIX: a client of a Unix socket, in no range */
    uint16_t port;                /* 0: none */
    uint16_t minute;              /* of the week, local time, Monday 00:00 is 0; NO_MINUTE: unknown */
    uint8_t scheme;               /* one of the bits; 0: unknown */
    uint8_t pending;              /* bits */
    bool opaque;                  /* a CONNECT: what the requests inside are nobody will see */
    struct hosts_key *key;        /* what is worked out of `host`, for the next matcher; NULL: nowhere to note it. Zeroed with each other host */
};

/* Sets host and literal; takes key away. */
void match_facts_host(struct match_facts *f, struct slice host);

/* What a matcher is asked for. FOR: everywhere but in rules. ALLOW, DENY: a rule's. They differ in what cannot be known: path, header and a method
 * other than CONNECT of an opaque request do not hold in ALLOW and FOR, and hold in DENY; an expression that gave up likewise. In DENY a range given
 * as host also means the address that is dialled. In ALLOW only labels that the user's entry permits count. */
enum match_use { MATCH_FOR = 0, MATCH_ALLOW, MATCH_DENY };
enum match_answer { MATCH_NO = 0, MATCH_YES, MATCH_NEEDS_USER, MATCH_NEEDS_ADDRESS, MATCH_NEEDS_SNI };

/* The words, for those who explain; in the order in which they are asked: another host says more than another port. */
enum match_word {
    WORD_NONE = 0, WORD_HOST, WORD_PORT, WORD_SCHEME, WORD_METHOD, WORD_LISTENER, WORD_FROM, WORD_USER, WORD_GROUP, WORD_LABEL, WORD_TIME,
    WORD_PATH, WORD_HEADER, WORD_TO, WORD_SNI, WORD_EXCEPT, WORDS
};
const char *match_word_name(enum match_word w); /* "port" */

/* ret_word (may be NULL): the word that failed (NO), or that waits (NEEDS_*). */
enum match_answer matcher_ask(const struct matcher *m, const struct match_facts *f, enum match_use use, enum match_word *ret_word);
/* Any of them. None of n: NO. ret_word: of failures the one that came furthest. */
enum match_answer matcher_ask_any(const struct matcher *v, unsigned n, const struct match_facts *f, enum match_use use, enum match_word *ret_word);

static inline bool matcher_holds(const struct matcher *m, const struct match_facts *f)
{
    return matcher_ask(m, f, MATCH_FOR, NULL) == MATCH_YES;
}

/* An address of this exchange was written down in it: the one that is dialled in its `to`, or a literal target among its hosts, also beside
 * `any`. Whether it holds is another question. */
bool matcher_opens(const struct matcher *m, const struct match_facts *f);
/* It, or an exception, may wait for the name in a ClientHello. */
bool matcher_waits_for_sni(const struct matcher *m);
/* It, or an exception, looks at what differs between requests for one host: path or fields. */
bool matcher_looks_inside(const struct matcher *m);
/* Frees sets and arrays (mem_*); a zeroed one is fine. */
void matcher_done(struct matcher *m);

#endif
