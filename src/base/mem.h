/* SPDX-License-Identifier: MIT */
/* mem: every heap allocation goes through here, so that tests can make each one fail in turn. NULL means refused.
 * Thread: any. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/base.h"

#include <stdbool.h>
#include <stdint.h>

void *mem_alloc(size_t n) MUST_USE;
void *mem_zalloc(size_t n) MUST_USE;
void *mem_array(size_t n, size_t size) MUST_USE; /* n * size bytes, zeroed; NULL on overflow */
void *mem_grow(void *p, size_t n) MUST_USE;      /* realloc; p stays valid on NULL */
char *mem_dup(const void *p, size_t n) MUST_USE; /* n bytes and a NUL */
/* A list of texts that ends with NULL, as argv does; all of it belongs to the caller. */
char **mem_dup_texts(const char *const *from) MUST_USE;
void mem_free_texts(char **v); /* NULL is fine */
void mem_free(void *p);

/* Whether what this thread allocates and frees from now on is counted; a thread begins without. Returns what it was. The workers and their
 * helpers count: their blocks may go from one to the other. A block must be freed as it was allocated, with counting on or off: what the
 * main thread and a worker share is allocated and freed with it off. */
bool mem_count(bool on);
/* Bytes that all counting threads hold now; any thread, no lock. It may be a few operations of other threads late. */
uint64_t mem_counted(void);
enum { MEM_COUNTED_THREADS = 96 }; /* more than these share a counter, which is slower */

/* Tests: gate() is asked before each allocation; false refuses it. NULL takes the gate away. */
void mem_set_gate(bool (*gate)(void));

#endif
