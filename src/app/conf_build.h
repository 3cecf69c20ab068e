/* SPDX-License-Identifier: MIT */
/* conf_build: a configuration in the making: where its values go, where they were written, and the
 * errors that every kind of value has in common. Owner: conf_load's stack. Thread: main's. */
#ifndef APP_CONF_BUILD_H
#define APP_CONF_BUILD_H

#include "app/conf_report.h"
#include "app/conf_source.h"
#include "app/conf_table.h"
#include "app/conf_value.h"
#include "app/conf_yaml.h"
#include "base/arena.h"

/* localhost as the last one makes two. */
enum {
    CONF_LISTEN_MAX = 64,
    CONF_LISTEN_ROOM = CONF_LISTEN_MAX + 1,
    CONF_SERVERS_MAX = 8,
    CONF_ADMIN_MAX = 8,
    CONF_OUTPUTS_MAX = 32,
    CONF_ROUTES_MAX = 1024, /* entries of `upstream` */
    CONF_RULES_MAX = 65536, /* entries of `rules` */
    CONF_LIMITS_MAX = 256,  /* of `limits`: LIMITS_MAX (proxy/limits_ask.h) */
    CONF_ORIGINS_MAX = 256, /* entries of `origins`, each of which is a context of its own in each worker */
    CONF_BIND_MAX = 64,     /* source addresses of one */
    CONF_NAMES_MAX = 4096,  /* uses of listeners' names */
    CONF_WRITTEN_MAX = 512, /* ranges of a list that are compared with each other */
};

/* A place of a value that was not written. */
#define CONF_AT_NONE (SIZE_MAX - 2)

/* What conf_free must do besides giving the arena back. */
struct conf_finish {
    struct conf_finish *next;
    void (*fn)(void *p);
    void *p;
};

/* Ranges on their way into a set. Zeroed at first; conf_ranges_finish (conf_match.h). */
struct conf_ranges {
    struct addr_range *v; /* heap */
    size_t n, cap;
    bool any;
    size_t any_at;
    struct conf_written {
        struct addr_range range;
        struct slice text;
        size_t at;
    } * written; /* heap; those of the YAML, for lint */
    unsigned n_written;
};

/* A name of a listener that somebody refers to. */
struct conf_name_use {
    struct slice name;
    size_t at;
};

struct conf_build {
    struct conf *conf;
    struct arena *arena; /* the conf's: everything in it that is not inline */
    struct arena *trees; /* of the load: nodes, and texts that nothing in conf points to */
    struct conf_finish **finish;
    struct conf_sources *sources;
    struct conf_report *report, *warnings;
    size_t at[CONF_KEYS_MAX];  /* by index in the table: the value's place, or CONF_AT_NONE */
    bool wrong[CONF_KEYS_MAX]; /* what was written there is not what conf holds */
    size_t listen_at[CONF_LISTEN_ROOM];
    size_t listen_name_at[CONF_LISTEN_ROOM];
    bool tls_wrong[CONF_LISTEN_ROOM]; /* what is wrong with its `tls` has been said */
    struct conf_ranges clients; /* of the top, from all files */
    size_t admin_at[CONF_ADMIN_MAX + 1];
    size_t output_at[CONF_OUTPUTS_MAX];
    size_t output_every_at[CONF_OUTPUTS_MAX];
    size_t level_at; /* of `level` */
    bool logs;       /* a log was written, be it `off` */
    size_t *rule_at, *route_at, *origin_at; /* of each rule, of each entry of `upstream` and `origins`; in trees */
    struct conf_name_use *names;
    unsigned n_names;
    struct tls_lib *tls; /* for trying certificates; NULL: none was tried (conf_tls_lib) */
};

void conf_build_init(struct conf_build *b);
/* What is not the conf's. */
void conf_build_done(struct conf_build *b);

/* fn(p) when the conf is freed; at once when memory runs out. */
void conf_build_finish(struct conf_build *b, void (*fn)(void *p), void *p);
/* "file:line" in the conf's arena; "" when memory runs out. */
const char *conf_build_place(struct conf_build *b, size_t at);

/* Which keys a map has had. One a map, zeroed. */
struct conf_build_seen {
    size_t at[CONF_KEYS_MAX]; /* the key's place and one; 0: not yet */
};
/* The option that a member of a section (NULL: the top) sets, and notes its place. An unbuilt one
 * has been reported, and its content is still to be checked. NULL: there is none, and the reason
 * has been reported (unknown, repeated, …). */
const struct option_def *conf_build_member(struct conf_build *b, const struct option_def *section,
                                           const struct conf_node *member,
                                           struct conf_build_seen *seen);
/* Whether a key is a plain word; reported if not. */
bool conf_build_is_word(struct conf_build *b, const struct conf_node *key);
/* "`key` is given twice", with the place of the first. */
void conf_build_twice(struct conf_build *b, const char *key, size_t at, size_t first);

/* The node's text. False: it is something else, which has been reported. */
bool conf_build_text(struct conf_build *b, const struct conf_kind *k, const struct conf_node *node,
                     struct slice *ret_text);
/* "`key` wants a duration, not …" */
void conf_build_wrong(struct conf_build *b, const struct conf_kind *k, size_t at, const char * not,
                      const char *hint);
/* The kind's own hint, or NULL. */
const char *conf_build_hint(struct conf_build *b, const struct conf_kind *k);
/* "from 1 to 64" */
const char *conf_build_range_hint(struct conf_build *b, const struct conf_kind *k);
/* Out of memory: the load will end with ERR_NOMEM. */
static inline void conf_build_nomem(struct conf_build *b)
{
    b->report->nomem = true;
}

#endif
