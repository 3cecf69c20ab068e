/* SPDX-License-Identifier: MIT */
/* denials: the last refusals of policy, and what would have been one, for `ginnel denied`: the last DENIALS_MAX, DENIAL_TEXT bytes of strings each, 2 MB in all,
 * which are touched as they are used. Workers write to it when they refuse, under a lock that is held for one copy; a request that passes never sees it.
 * Owner: app. Thread: any. */
#ifndef PROXY_DENIALS_H
#define PROXY_DENIALS_H

#include "proxy/access.h"

enum { DENIALS_MAX = 1000, DENIAL_TEXT = 1600 };

struct denials;

struct denial {
    uint64_t number;          /* from 1 */
    struct access_record rec; /* of the request; its strings are cut, and lie in text. A refusal: end; else would_deny */
    struct addr to;           /* the address that was refused; AF_UNSPEC: none */
    uint16_t minute;          /* of the week, as judged */
    char text[DENIAL_TEXT];
};

struct denials *denials_new(void) MUST_USE; /* NULL: memory refused */
void denials_free(struct denials *d);
/* Whether the end of this record belongs here. */
bool denials_wants(const struct access_record *r);
/* Copies. to may be NULL. */
void denials_put(struct denials *d, const struct access_record *r, const struct addr *to, uint16_t minute);
/* The newest n at most, newest first; how many there were. *ret_total: ever. */
size_t denials_read(struct denials *d, struct denial *v, size_t n, uint64_t *ret_total);

#endif
