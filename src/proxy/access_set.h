/* SPDX-License-Identifier: MIT */
/* access_set: the outputs that belong together, and which of them takes a record.
 * Owner: whoever opened it, then the log. Thread: one at a time. Freed by access_set_free. */
#ifndef PROXY_ACCESS_SET_H
#define PROXY_ACCESS_SET_H

#include "proxy/access_output.h"

enum { ACCESS_OUTPUTS_MAX = 64 };

struct access_set {
    unsigned n;
    struct access_opened v[];
};

/* As access_open; ERR_LIMIT: more than ACCESS_OUTPUTS_MAX. */
int access_set_open(const struct access_output *v, unsigned n, struct access_set **ret_set,
                    unsigned *ret_failed) MUST_USE;
/* What is not written is counted as lost. NULL is fine, here and below. */
void access_set_free(struct access_set *s, struct access_totals *totals);

/* What an output of the old set has not written goes to the one of the next that has the same
 * place. */
void access_set_hand_over(struct access_set *old, struct access_set *next);
/* Something is to be written, and not because it failed. */
bool access_set_has_work(const struct access_set *s);
/* An output other than o writes to o's file and has not finished its line. */
bool access_set_is_amid(const struct access_set *s, const struct access_opened *o);
unsigned access_set_failing(const struct access_set *s);

/* The facts of a record, which lend its strings and addresses. */
struct match_facts access_set_facts(const struct access_record *r);
/* The same without the host, which the caller knows better. */
struct match_facts access_set_bare_facts(const struct access_record *r);
bool access_set_takes(const struct access_output *spec, const struct access_record *r,
                      const struct match_facts *facts);

#endif
