/* SPDX-License-Identifier: MIT */
/* base: attributes and small helpers of the language itself. */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <stddef.h>

#define MUST_USE       __attribute__((warn_unused_result))
#define PRINTF(f, a)   __attribute__((format(printf, f, a)))
#define NORETURN       __attribute__((noreturn))
#define LIKELY(x)      __builtin_expect(!!(x), 1)
#define UNLIKELY(x)    __builtin_expect(!!(x), 0)
#define ARRAY_LEN(a)   (sizeof(a) / sizeof((a)[0]))
#define UNUSED(x)      ((void)(x))

#define CONTAINER_OF(p, type, member)                                                              \
    ((type *)(void *)((char *)(p) - offsetof(type, member)))

static inline size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
