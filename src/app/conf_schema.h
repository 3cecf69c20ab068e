/* SPDX-License-Identifier: MIT */
/* conf_schema: the configuration language as a JSON Schema (draft 7, which editors' YAML servers
 * take), made from the table and the shapes of entries. Thread: any. */
#ifndef APP_CONF_SCHEMA_H
#define APP_CONF_SCHEMA_H

#include "base/base.h"

/* In mem_* memory, with a NUL behind its *ret_n bytes. NULL: no memory. */
char *conf_schema(size_t *ret_n) MUST_USE;

#endif
