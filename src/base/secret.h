/* SPDX-License-Identifier: MIT */
/* secret: bytes that nobody may learn from how long something took, or from what lies about in memory. Thread: any. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include "base/slice.h"

/* Equal, in a time that depends on the lengths alone. Lengths are no secret. */
bool secret_equal(struct slice a, struct slice b);
/* Zeroes what a slice points to, which must be writable memory of the caller's. Never left out by the compiler. */
void secret_wipe(struct slice s);

#endif
