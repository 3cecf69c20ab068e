/* SPDX-License-Identifier: MIT */
/* mem: every heap allocation goes through here, so that tests can make each one fail in turn. NULL means refused.
 * Thread: any. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/base.h"

#include <stdbool.h>

void *mem_alloc(size_t n) MUST_USE;
void *mem_zalloc(size_t n) MUST_USE;
void *mem_array(size_t n, size_t size) MUST_USE; /* n * size bytes, zeroed; NULL on overflow */
void *mem_grow(void *p, size_t n) MUST_USE;      /* realloc; p stays valid on NULL */
char *mem_dup(const void *p, size_t n) MUST_USE; /* n bytes and a NUL */
void mem_free(void *p);

/* Tests: gate() is asked before each allocation; false refuses it. NULL takes the gate away. */
void mem_set_gate(bool (*gate)(void));

#endif
