/* SPDX-License-Identifier: MIT */
/* plain: the sentences of the tables are scdoc text; here they lose its marks, for terminals,
 * shells and schemas. Pure functions. Thread: any. */
#ifndef APP_PLAIN_H
#define APP_PLAIN_H

#include "base/slice.h"

enum { PLAIN_MAX = 1024 };

/* The text without marks, in out, with a NUL behind it. What does not fit is cut; plain text is
 * never longer than scdoc. */
struct slice plain_text(char out[PLAIN_MAX], const char *scdoc);
/* Its first sentence, without the full stop. */
struct slice plain_first(char out[PLAIN_MAX], const char *scdoc);

#endif
