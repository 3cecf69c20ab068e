/* SPDX-License-Identifier: MIT */
/* from_log: `ginnel policy from-log`: the smallest rules that allow what an access log has seen, as YAML. Exact names, unless it is asked to fold them; the ports
 * that were seen, and of names at addresses that `private` would close the addresses (`to`). Memory is bounded by what is different in the log.
 * Thread: main's. */
#ifndef APP_FROM_LOG_H
#define APP_FROM_LOG_H

#include "app/command.h"
#include "app/text.h"

#include <stdint.h>

/* TARGETS: different (user, host, port, address). FOLD: as many names under one parent become `.parent`. */
enum { FROM_LOG_TARGETS = 200000, FROM_LOG_FOLD = 8 };

struct from_log_opts {
    bool would, suffixes, per_user;
    size_t most; /* targets; 0: FROM_LOG_TARGETS */
};

struct from_log;
struct log_line;

struct from_log *from_log_new(const struct from_log_opts *opts) MUST_USE;
void from_log_free(struct from_log *f);
/* ERR_LIMIT: more than FROM_LOG_TARGETS; ERR_NOMEM. */
int from_log_add(struct from_log *f, const struct log_line *l) MUST_USE;
/* How many records were used. */
uint64_t from_log_used(const struct from_log *f);
/* Writes `rules:` and its entries. ERR_NOMEM. */
int from_log_rules(struct from_log *f, struct text *t) MUST_USE;

int from_log_command(const struct command_call *call) MUST_USE;

#endif
