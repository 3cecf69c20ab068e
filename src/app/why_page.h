/* SPDX-License-Identifier: MIT */
/* why_page: a question that came as a query, answered: the page /why of the control socket, and the same for a file. Thread: one that may read the edition. */
#ifndef APP_WHY_PAGE_H
#define APP_WHY_PAGE_H

#include "app/why.h"

/* Parts of the query besides those of a question: json; lookup=TEXT, which is shown; end: the text begins with a line of one word, why_page_words. */
/* state: as why_judge. 0 and mem_* text; ERR_SYNTAX, ERR_LIMIT, ERR_NOTFOUND with a sentence in why; ERR_NOMEM. */
int why_page(const struct edition *e, const struct why_state *state, struct slice query, bool json, char **ret_text, size_t *ret_n,
             char why[QUESTION_WHY]) MUST_USE;
extern const char *const why_page_words[WHY_ENDS]; /* allow, deny, needs-addresses, unresolved */

#endif
