/* SPDX-License-Identifier: MIT */
/* mem: the only room that calls malloc. Everybody else comes here, so that a test can refuse any
 * single allocation and see what its caller makes of it. In production no gate is set and each call
 * is malloc plus one load. It must never abort: a refusal is the caller's to handle.
 */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool (*_Atomic the_gate)(void);

static inline bool refused(void)
{
    bool (*gate)(void) = atomic_load_explicit(&the_gate, memory_order_relaxed);

    return UNLIKELY(gate != NULL) && !gate();
}

/* malloc(0) may be NULL, which here would read as a refusal. */
static inline size_t at_least_one(size_t n)
{
    return n ? n : 1;
}

void *mem_alloc(size_t n)
{
    if (refused())
        return NULL;
    return malloc(at_least_one(n));
}

void *mem_zalloc(size_t n)
{
    if (refused())
        return NULL;
    return calloc(1, at_least_one(n));
}

void *mem_array(size_t n, size_t size)
{
    /* calloc would see it too, but some checkers stop the program there. */
    if (size && n > SIZE_MAX / size)
        return NULL;
    if (refused())
        return NULL;
    return calloc(at_least_one(n), at_least_one(size));
}

void *mem_grow(void *p, size_t n)
{
    if (refused())
        return NULL;
    return realloc(p, at_least_one(n));
}

char *mem_dup(const void *p, size_t n)
{
    char *copy = n < SIZE_MAX ? mem_alloc(n + 1) : NULL;

    if (!copy)
        return NULL;
    if (n)
        memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

void mem_free(void *p)
{
    free(p);
}

void mem_set_gate(bool (*gate)(void))
{
    atomic_store_explicit(&the_gate, gate, memory_order_relaxed);
}
