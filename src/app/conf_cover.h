/* SPDX-License-Identifier: MIT */
/* conf_cover: whether one rule decides about all that another one is about. Never true where it is not so; not always true where it is. Pure. */
#ifndef APP_CONF_COVER_H
#define APP_CONF_COVER_H

#include "policy/rules.h"

/* What the comparing may cost: a step is a name or a range looked for. At 0 nothing is found any more. */
struct conf_cover {
    unsigned budget;
};

/* ALL: whether every exchange that `r` is about is one that `by` decides. ANY_PORT: the ports of `by` are taken for all, and those of r are all.
 * LITERAL: the same, and a range that `r` denies is about targets written as addresses only. */
enum conf_cover_what { COVER_ALL = 0, COVER_ANY_PORT, COVER_LITERAL };
bool conf_cover_rule(struct conf_cover *c, const struct rule *by, const struct rule *r, enum conf_cover_what what);
/* How many names of the k-th destination of r, of several, are covered; the first one is written to out (cap 0: not), with its dot. */
unsigned conf_cover_names(struct conf_cover *c, const struct rule *by, const struct rule *r, unsigned k, char *out, size_t cap);

#endif
