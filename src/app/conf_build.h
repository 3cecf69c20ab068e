/* SPDX-License-Identifier: MIT */
/* conf_build: a configuration in the making: where its values go, where they were written, and the
 * errors that every kind of value has in common. Owner: conf_load's stack. Thread: main's. */
#ifndef APP_CONF_BUILD_H
#define APP_CONF_BUILD_H

#include "app/conf_report.h"
#include "app/conf_table.h"
#include "app/conf_yaml.h"
#include "base/arena.h"

/* localhost as the last one makes two. */
enum { CONF_LISTEN_MAX = 64, CONF_LISTEN_ROOM = CONF_LISTEN_MAX + 1, CONF_SERVERS_MAX = 8 };

/* A place of a value that was not written. */
#define CONF_AT_NONE (SIZE_MAX - 2)

struct conf_build {
    struct conf *conf;
    struct arena *arena; /* the conf's: everything in it that is not inline */
    struct conf_report *report;
    size_t at[CONF_KEYS_MAX];  /* by index in the table: the value's place, or CONF_AT_NONE */
    bool wrong[CONF_KEYS_MAX]; /* what was written there is not what conf holds */
    size_t listen_at[CONF_LISTEN_ROOM];
};

void conf_build_init(struct conf_build *b, struct conf *c, struct arena *a, struct conf_report *r);

/* Which keys a map has had. One a map, zeroed. */
struct conf_build_seen {
    size_t at[CONF_KEYS_MAX]; /* the key's place and one; 0: not yet */
};
/* The option that a member of a section (NULL: the top) sets, and notes its place. NULL: there is
 * none to set, and the reason has been reported (unknown, repeated, not in this build, …). */
const struct option_def *conf_build_member(struct conf_build *b, const struct option_def *section,
                                           const struct conf_node *member,
                                           struct conf_build_seen *seen);

/* The node's text. False: it is something else, which has been reported. */
bool conf_build_text(struct conf_build *b, const struct option_def *o, const struct conf_node *node,
                     struct slice *ret_text);
/* "`key` wants a duration, not …" */
void conf_build_wrong(struct conf_build *b, const struct option_def *o, size_t at, const char * not,
                      const char *hint);
/* The type's own hint, or NULL. */
const char *conf_build_type_hint(const struct option_def *o);
/* Out of memory: the load will end with ERR_NOMEM. */
static inline void conf_build_nomem(struct conf_build *b)
{
    b->report->nomem = true;
}

#endif
