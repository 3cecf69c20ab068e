/* SPDX-License-Identifier: MIT */
/* json_page: a JSON value of any length as a text: written again into a larger buffer until it fits. Thread: any. */
#ifndef APP_JSON_PAGE_H
#define APP_JSON_PAGE_H

#include "base/json.h"

/* Writes the same each time. */
typedef void (*json_page_fn)(struct json *j, const void *what);

/* With a newline and a NUL at the end, the NUL not counted; mem_free. NULL: memory refused, or above 64 MB. */
char *json_page(json_page_fn fill, const void *what, size_t *ret_n) MUST_USE;
/* A member, unless z is NULL; unless s is empty. */
void json_page_z(struct json *j, const char *key, const char *z);
void json_page_text(struct json *j, const char *key, struct slice s);

#endif
