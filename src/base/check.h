/* SPDX-License-Identifier: MIT */
/* check: our own mistakes, caught in every build. Never reachable by input (FAILURES 15).
 * An object that outlives a call carries `unsigned magic` as its first member; OBJ_CAST turns a void * or an
 * embedded base back into it and checks. A freed object's magic is OBJ_DEAD. */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include "base/base.h"

#define OBJ_DEAD 0xdeadf1f0u

void check_failed(const char *what, const char *file, int line) NORETURN;

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (UNLIKELY(!(cond)))                                                                     \
            check_failed(#cond, __FILE__, __LINE__);                                               \
    } while (0)

#define UNREACHABLE() check_failed("unreachable", __FILE__, __LINE__)

#define OBJ_CHECK(p, MAGIC) CHECK((p) && (p)->magic == (MAGIC))

#define OBJ_CAST(type, from, MAGIC)                                                                \
    ({                                                                                             \
        type *obj_ = (type *)(void *)(from);                                                       \
        OBJ_CHECK(obj_, MAGIC);                                                                    \
        obj_;                                                                                      \
    })

#endif
