/* SPDX-License-Identifier: MIT */
/* conf_shapes: the grammars of entries: what a rule, a limit, an upstream, a matcher is made of.
 * Walked by conf_entry (which checks a file against them), by the schema and by the tests. The
 * shapes refer to each other only downwards: a matcher may stand in a rule, never a rule in a
 * matcher, so that every walk ends; CONF_SHAPE_DEPTH bounds how deep they go.
 * Static data. Thread: any. */
#ifndef APP_CONF_SHAPES_H
#define APP_CONF_SHAPES_H

#include "base/option.h"
#include "base/slice.h"

enum { CONF_SHAPE_DEPTH = 8, CONF_CREDENTIALS_MAX = 2048 /* user:password */, CONF_MEMBERS_MAX = 48 /* of one map */ };

struct conf_shape {
    enum option_type type;             /* no SECTION, LISTEN, ENTRY */
    bool list;                         /* a list of it may stand where it stands */
    const struct option_word *words;   /* may stand there too, whatever the type */
    uint64_t min, max;                 /* as in struct option_def */
    const struct conf_member *members; /* MAP: ends with a NULL key */
    const struct conf_shape *bare;     /* MAP: what a text that stands in its place is; or NULL */
    const struct conf_shape *of;       /* DICT: what the values are */
    const char *const *needs; /* MAP: at least one of these keys must stand; NULL-terminated */
    bool needs_one;           /* … and no second one */
    bool secret;              /* no message shows what stands there */
    const char *what;         /* what messages call it: "a rule"; NULL: by its type */
    const char *like;         /* an example for hints; NULL: by its type */
};

struct conf_member {
    const char *key;
    const struct conf_shape *shape;
    bool unbuilt;         /* this build refuses it by name even where the entry itself is built */
    const char *sentence; /* scdoc text */
};

/* The words of a matcher, each alone. `for:` is the map of them, a bare host, or a list of both. */
extern const struct conf_shape conf_shape_matcher;

extern const struct conf_shape conf_shape_users, conf_shape_rule, conf_shape_port, conf_shape_limit,
    conf_shape_upstream, conf_shape_cert, conf_shape_origin, conf_shape_value, conf_shape_rewrite,
    conf_shape_policy, conf_shape_listen_tls, conf_shape_proxy_protocol;

/* The member of a MAP with that key, or NULL. */
const struct conf_member *conf_shape_member(const struct conf_shape *s, struct slice key);

#endif
