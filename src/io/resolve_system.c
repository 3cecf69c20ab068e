/* SPDX-License-Identifier: MIT */
/* resolve_system: getaddrinfo on a helper thread. Called by resolve.c when the configuration says
 * `system: yes`. The job owns a copy of the name and its results, and touches nothing else while it
 * is away.
 */
#include "io/resolve_system.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#include <netdb.h>

#define SYSTEM_MAGIC 0x5e501f7eu

static int family_of(enum resolve_family mode)
{
    switch (mode) {
    case FAMILY_4:
        return AF_INET;
    case FAMILY_6:
        return AF_INET6;
    case FAMILY_AUTO:
    case FAMILY_PREFER_4:
        return AF_UNSPEC;
    }
    UNREACHABLE();
}

static void set_both(struct resolve_system *s, enum resolve_status status, uint64_t ttl_ms)
{
    s->a = (struct resolve_found){.status = status, .ttl_ms = ttl_ms};
    s->aaaa = s->a;
}

static void refuse(struct resolve_system *s, int error)
{
    switch (error) {
    case EAI_NONAME:
        set_both(s, RESOLVE_NXDOMAIN, RESOLVE_SYSTEM_NO_MS);
        return;
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        set_both(s, RESOLVE_NODATA, RESOLVE_SYSTEM_NO_MS);
        return;
    case EAI_MEMORY:
        set_both(s, RESOLVE_LIMIT, 0);
        return;
    default:
        set_both(s, RESOLVE_FAILED, 0);
        return;
    }
}

static void take(struct resolve_found *f, const void *bytes, size_t n)
{
    if (f->n == RESOLVE_MAX_ADDRS)
        return;
    memcpy(f->bytes[f->n++], bytes, n);
    f->status = RESOLVE_OK;
    f->ttl_ms = RESOLVE_SYSTEM_OK_MS;
}

/* On a helper thread. */
static void run(struct helper_job *job)
{
    struct resolve_system *s = OBJ_CAST(
        struct resolve_system, CONTAINER_OF(job, struct resolve_system, job), SYSTEM_MAGIC);
    const struct addrinfo hints = {.ai_family = family_of(s->mode), .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int e = getaddrinfo(s->name, NULL, &hints, &list);

    if (e) {
        refuse(s, e);
        return;
    }
    set_both(s, RESOLVE_NODATA, RESOLVE_SYSTEM_NO_MS);
    for (const struct addrinfo *i = list; i; i = i->ai_next) {
        if (i->ai_family == AF_INET)
            take(&s->a, &((const struct sockaddr_in *)(const void *)i->ai_addr)->sin_addr, 4);
        else if (i->ai_family == AF_INET6)
            take(&s->aaaa, &((const struct sockaddr_in6 *)(const void *)i->ai_addr)->sin6_addr, 16);
    }
    freeaddrinfo(list);
}

static void done(struct helper_job *job)
{
    struct resolve_system *s = OBJ_CAST(
        struct resolve_system, CONTAINER_OF(job, struct resolve_system, job), SYSTEM_MAGIC);

    if (s->owner)
        s->answered(s);
    s->magic = OBJ_DEAD;
    mem_free(s);
}

int resolve_system_start(struct helper_pool *pool, struct loop *loop, struct slice name,
                         enum resolve_family mode, void (*answered)(struct resolve_system *s),
                         void *owner, struct resolve_system **ret_system)
{
    struct resolve_system *s = mem_zalloc(sizeof(*s));
    int r;

    if (!s)
        return ERR_NOMEM;
    CHECK(name.n < sizeof(s->name));
    s->magic = SYSTEM_MAGIC;
    s->job.run = run;
    s->job.done = done;
    s->owner = owner;
    s->answered = answered;
    s->mode = mode;
    memcpy(s->name, name.p, name.n);
    set_both(s, RESOLVE_FAILED, 0); /* what it says when the pool ends before it ran */
    r = helper_submit(pool, loop, &s->job);
    if (r < 0) {
        mem_free(s);
        return r;
    }
    *ret_system = s;
    return 0;
}
