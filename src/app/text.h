/* SPDX-License-Identifier: MIT */
/* text: a text that grows as it is written. Memory that is refused is remembered, and what follows is ignored: the writer asks once, at the end.
 * Owner: the writer, until text_take. Thread: one. */
#ifndef APP_TEXT_H
#define APP_TEXT_H

#include "base/slice.h"

#include <stdint.h>

struct text {
    char *p; /* mem_*; not NUL-terminated before text_take */
    size_t n, cap;
    bool refused;
};

void text_put(struct text *t, const void *p, size_t n);
void text_str(struct text *t, const char *z);
void text_u64(struct text *t, uint64_t v);
void text_printf(struct text *t, const char *fmt, ...) PRINTF(2, 3);
/* Blanks until the line has `column` characters; one when it has them already. line: where the line begins (t->n then). */
void text_pad(struct text *t, size_t line, size_t column);
/* What came from the network: printable ASCII as it is, a backslash and everything else as \xNN. */
void text_escaped(struct text *t, struct slice s);
/* What the operator wrote: control bytes as \xNN, other bytes as they are. */
void text_operator(struct text *t, struct slice s);

/* The text with a NUL behind it, which *ret_n does not count; it is the caller's (mem_free). NULL: memory was refused; nothing is left. */
char *text_take(struct text *t, size_t *ret_n) MUST_USE;
void text_done(struct text *t);

#endif
