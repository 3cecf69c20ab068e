/* SPDX-License-Identifier: MIT */
/* why_words: what text and JSON of a judgement have in common. Thread: as why's. */
#ifndef APP_WHY_WORDS_H
#define APP_WHY_WORDS_H

#include "app/why.h"

/* Which key of the configuration was asked. */
const char *why_words_stage(enum policy_stage stage);
/* "direct", "deny", … of an entry of `upstream` */
const char *why_words_way(const struct route *r);
const char *why_words_sni(enum rule_sni s);
/* What the rule that let it pass expects in the tunnel; NULL: it says nothing of it. */
const char *why_words_expect(const struct why *w);
/* Of whom a limit makes one bucket. */
const char *why_words_per(enum limit_per per);

#endif
