/* SPDX-License-Identifier: MIT */
/* resolve_system: asks the C library (nss: files, mdns, ldap, whatever the machine has) in a
 * helper. Its search list and its order of sources are its own. Owner of a job: the pool until it
 * was answered, then itself. Thread: the asking loop's. */
#ifndef IO_RESOLVE_SYSTEM_H
#define IO_RESOLVE_SYSTEM_H

#include "io/resolve_dns.h"

enum { RESOLVE_SYSTEM_OK_MS = 30000, RESOLVE_SYSTEM_NO_MS = 5000 }; /* it does not tell TTLs */

struct resolve_system {
    unsigned magic;
    struct helper_job job;
    void *owner; /* the asker's to clear: NULL: nobody waits any more, the answer is dropped */
    void (*answered)(struct resolve_system *s);
    struct resolve_found a, aaaa;
    enum resolve_family mode;
    char name[256];
};

/* name: at most 253 bytes, copied. answered() is called once on the loop's thread; s is freed after
 * it. ERR_NOMEM, ERR_LIMIT. */
int resolve_system_start(struct helper_pool *pool, struct loop *loop, struct slice name,
                         enum resolve_family mode, void (*answered)(struct resolve_system *s),
                         void *owner, struct resolve_system **ret_system) MUST_USE;

#endif
