/* SPDX-License-Identifier: MIT */
/* why_limits: whether a limit would refuse the request now, by what its buckets hold. Nothing is charged, and no bucket is made. */
#ifndef APP_WHY_LIMITS_H
#define APP_WHY_LIMITS_H

#include "app/why.h"

/* Asks those that are about it at that moment and writes them down in w->limits. to: the address, NULL: not known yet. Returns the first that
 * refuses; NULL: none, or what is used is not known here. */
const struct why_limit *why_limits(struct why *w, enum limits_when when, const struct addr *to);

#endif
