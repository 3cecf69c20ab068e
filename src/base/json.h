/* SPDX-License-Identifier: MIT */
/* json: writes one JSON value into a fixed buffer. What does not fit sets `full`; nothing is written past the end.
 * Strings are bytes: valid UTF-8 passes, controls and invalid bytes are escaped (an invalid byte as \u00XX). */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/slice.h"

#include <stdint.h>

enum { JSON_DEPTH = 16 };

struct json {
    char *p;
    size_t n, cap;
    bool full;
    unsigned depth;
    bool more[JSON_DEPTH]; /* a comma is due before the next member of this level */
    bool keyed;            /* a key was written, its value is due */
};

void json_init(struct json *j, char *p, size_t cap);
void json_open(struct json *j, char c);  /* '{' or '[' */
void json_close(struct json *j, char c); /* '}' or ']' */
void json_key(struct json *j, const char *key);
void json_str(struct json *j, struct slice s);
void json_u64(struct json *j, uint64_t v);
void json_bool(struct json *j, bool v);
void json_null(struct json *j);
/* key and value in one */
void json_kstr(struct json *j, const char *key, struct slice s);
void json_ku64(struct json *j, const char *key, uint64_t v);
void json_kbool(struct json *j, const char *key, bool v);

#endif
