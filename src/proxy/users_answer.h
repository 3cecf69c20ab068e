/* SPDX-License-Identifier: MIT */
/* users_answer: the lines between ginnel and a program that verifies users, as squid's basic_* helpers speak them: `user password`, both escaped like parts
 * of a URL; `OK`, `ERR` or `BH`, and pairs `user=` `group=` `tag=` `message=`, whose values may stand in quotes. Pure. Thread: any. */
#ifndef PROXY_USERS_ANSWER_H
#define PROXY_USERS_ANSWER_H

#include "base/slice.h"

enum users_answer_kind { USERS_ANSWER_NONE = 0, USERS_ANSWER_OK, USERS_ANSWER_ERR, USERS_ANSWER_BH };

enum { USERS_ANSWER_TEXT = 512, USERS_ANSWER_USER = 128 };
/* What it says; texts are ours. Lists: each a valid name or label, commas between; what is none, or does not fit, is left out. */
struct users_answer {
    enum users_answer_kind kind;
    unsigned user_n, groups_n, tags_n;
    char user[USERS_ANSWER_USER]; /* empty: the one that was asked about */
    char groups[USERS_ANSWER_TEXT], tags[USERS_ANSWER_TEXT];
};

/* NONE: it is no answer. */
enum users_answer_kind users_answer_kind(struct slice line);
void users_answer_parse(struct slice line, struct users_answer *ret_a);
/* "user password" with everything but letters, digits and -._ as %XX. 0: more than cap. */
size_t users_answer_ask(struct slice user, struct slice password, char *out, size_t cap);

#endif
