/* SPDX-License-Identifier: MIT */
/* limits_key: which limits are about a request when, whose buckets of them it concerns, and how it is told that one refuses: all by facts, so that
 * what is charged (limits_ask.h) and what is only asked (`ginnel why`) come to the same.
 * Pure. Thread: any. */
#ifndef PROXY_LIMITS_KEY_H
#define PROXY_LIMITS_KEY_H

#include "proxy/limits_ask.h"

/* What of whoever asks is no fact of matching. */
struct limits_asker {
    const char *rule;       /* the title of the rule that has decided; NULL: none */
    uint64_t connection[2]; /* what tells it from others */
};

enum { LIMITS_KEY_MAX = 1 + 256, LIMITS_TEXT = 1024 };

/* All zero before the first key. */
struct limits_keys {
    struct slice list; /* GROUP, LABEL: those that are left */
    unsigned n;        /* that there have been */
    char text[LIMITS_KEY_MAX];
};

/* The next key of a limit for this request; false: there are no more. Those without a group (a label) share a bucket. What it points to lasts until
 * the next. */
bool limits_key(struct limits_keys *k, const struct limit *l, const struct match_facts *f, const struct limits_asker *a, struct slice *ret_key);
/* Whether it holds, and has not been answered; false also while that is not known yet. marks: by index i, those that have been answered; it is added.
 * A user who has not come until now does not come any more for this request; what is in the tunnel counts where the rules have waited for it. */
bool limits_about(const struct limit *l, enum limits_when when, const struct match_facts *f, uint64_t marks[LIMITS_WORDS], unsigned i);
/* There is more of it than `requests`. */
bool limits_has_rest(const struct limit *l);
/* Its name, else its place. */
const char *limits_title(const struct limit *l);
/* What a refusal for that reason says: "the limit ci allows 5 requests a second for each client". who: and whose bucket it is. */
void limits_text(const struct limit *l, const struct match_facts *f, enum end_reason reason, bool who, char out[LIMITS_TEXT]);

#endif
