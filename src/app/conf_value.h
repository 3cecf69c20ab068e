/* SPDX-License-Identifier: MIT */
/* conf_value: single values between their text and where they are kept. Pure but for
 * conf_value_set. Thread: main's. */
#ifndef APP_CONF_VALUE_H
#define APP_CONF_VALUE_H

#include "app/conf.h"
#include "app/conf_shapes.h"
#include "base/arena.h"
#include "base/option.h"

/* What a value must be: the common part of a row of the table and of a shape. */
struct conf_kind {
    const char *key; /* what messages call the value */
    enum option_type type;
    bool list;
    uint64_t min, max; /* max 0: none are set */
    const struct option_word *words;
    const char *what, *like; /* of the shape, or NULL */
    bool secret;             /* of the shape */
};

struct conf_kind conf_kind_of(const struct option_def *o);
struct conf_kind conf_kind_of_shape(const char *key, const struct conf_shape *s);

/* ERR_SYNTAX; ERR_RANGE: more than 64 bits of milliseconds or bytes. */
int conf_value_duration(struct slice s, uint64_t *ret_ms) MUST_USE;
int conf_value_size(struct slice s, uint64_t *ret_bytes) MUST_USE;
int conf_value_switch(struct slice s, bool *ret_on) MUST_USE;
/* "443", "8000-8099": 1 to 65535, the first not above the last. */
int conf_value_ports(struct slice s, uint16_t *ret_first, uint16_t *ret_last) MUST_USE;
/* "every 5m" */
int conf_value_every(struct slice s, uint64_t *ret_ms) MUST_USE;
/* tchar of RFC 9110 5.6.2 */
bool conf_value_is_token(struct slice s);
/* The path of a file: no control bytes, not a folder's. */
bool conf_value_is_file(struct slice s);
/* The absolute path of a Unix socket. */
enum { CONF_SOCKET_MAX = 107 /* sun_path without its NUL */ };
bool conf_value_is_socket(struct slice s);
/* Whether an item of a list names a list file: it begins with / ./ ../ */
bool conf_value_is_list_file(struct slice s);
/* The word, or NULL. */
const struct option_word *conf_value_word(const struct option_word *words, struct slice s);

/* Whether the text is a value of that kind: 0, ERR_SYNTAX or ERR_RANGE. Words count. Not for HOST,
 * SNI, RANGE, PREFIX and expressions, which are conf_match's, and not for HOP, which is conf_hop's. */
int conf_value_check(const struct conf_kind *k, struct slice s) MUST_USE;

/* Writes the value of a checked type at the option's offset from base (struct conf, or the item's
 * struct), or nowhere. ERR_SYNTAX, ERR_RANGE, ERR_NOMEM. For SWITCH WORD COUNT SIZE DURATION TOKEN
 * NAME. Strings go to the arena. */
int conf_value_set(const struct option_def *o, struct slice s, struct arena *a,
                   void *base) MUST_USE;

enum { CONF_VALUE_TEXT = 32 };
/* A number of the option's type as the operator would write it: "90s", "64KB", "1KB/s", "12". */
void conf_value_text(enum option_type type, uint64_t v, char out[CONF_VALUE_TEXT]);

#endif
