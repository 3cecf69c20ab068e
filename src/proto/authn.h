/* SPDX-License-Identifier: MIT */
/* authn: the credentials of Proxy-Authorization (RFC 9110 11.7.2): Basic (RFC 7617), and the labels that a user may put behind the name:
 * `name+label+key=value`. Refuses on doubt: base64 with its padding and nothing else in it, no control characters. Pure. Thread: any. */
#ifndef PROTO_AUTHN_H
#define PROTO_AUTHN_H

#include "base/arena.h"
#include "base/slice.h"

enum {
    AUTHN_NAME_MAX = 128,     /* bytes of a user's name */
    AUTHN_ID_MAX = 1024,      /* with its labels */
    AUTHN_PASSWORD_MAX = 2048,
    AUTHN_LABELS_MAX = 32,
    AUTHN_PLAIN_MAX = AUTHN_ID_MAX + 1 + AUTHN_PASSWORD_MAX,
};

/* The one challenge (RFC 7617 2, 2.1). */
#define AUTHN_CHALLENGE "Basic realm=\"ginnel\", charset=\"UTF-8\""

/* OTHER: a scheme that is not ours. MALFORMED: Basic, and what follows is none. LABEL: a label is none, or there are too many. */
enum authn_result { AUTHN_OK = 0, AUTHN_OTHER, AUTHN_MALFORMED, AUTHN_LABEL };

struct authn {
    struct slice name;     /* without labels; not empty */
    struct slice labels;   /* as received: "red+prio=high"; empty: none */
    struct slice password; /* may be empty */
};

/* The field's value, without OWS at its ends. On OK the parts of *ret_a lie in buf, which holds a password then: the caller wipes it, whatever is
 * returned. */
enum authn_result authn_basic(struct slice value, char buf[AUTHN_PLAIN_MAX], struct authn *ret_a) MUST_USE;
/* The other side: "Basic …" of "name:password", in the arena. .p NULL when that is refused. */
struct slice authn_basic_value(struct arena *a, struct slice credentials) MUST_USE;
/* Takes the next label off *list; false at its end. */
bool authn_next_label(struct slice *list, struct slice *ret_label);
/* token, or token=token (RFC 9110 5.6.2). */
bool authn_is_label(struct slice s);
/* May be a user's name: what Basic can carry, no '+' nor ',', at most AUTHN_NAME_MAX bytes, not empty. */
bool authn_is_name(struct slice s);

#endif
