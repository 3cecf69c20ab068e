/* SPDX-License-Identifier: MIT */
/* snapshot: what workers may read of a configuration: immutable, made by app, and in use until the last exchange that borrowed it is in
 * its relay (DESIGN 4). Each worker counts its own uses: one for having it as its current one, one an exchange.
 * Owner: app, which frees it when snapshot_unused() and no worker will be given it. Thread: read by all. */
#ifndef PROXY_SNAPSHOT_H
#define PROXY_SNAPSHOT_H

#include "io/resolve.h"
#include "policy/limit.h"
#include "policy/policy.h"
#include "policy/route.h"
#include "proxy/conf.h"
#include "policy/users.h"

#include <stdatomic.h>

enum { SNAPSHOT_WORKERS_MAX = 65 }; /* WORKER_MAX and the house */

/* Who is served at a listener: clients of the proxy; whoever asks for metrics and health; the operator. */
enum listen_role { LISTEN_PROXY = 0, LISTEN_ADMIN, LISTEN_CONTROL };

/* Which part of a client's certificate names the user, and what that is put through. */
enum cert_part { CERT_COMMON_NAME = 0, CERT_SUBJECT, CERT_EMAIL, CERT_DNS, CERT_URI };
struct cert_names {
    enum cert_part part;
    const struct users_table *map; /* rows by identity; a row's value is the user. NULL: the part itself is the user */
};

struct snapshot_listen {
    unsigned id; /* the same over reloads, while the address stays; from 1 */
    enum listen_role role;
    const char *name; /* its name, or its address as written */
    enum reasons reasons; /* resolved: never DEFAULT */
    unsigned clients; /* which of the policy's sets */
    const struct users *users; /* who may use it; NULL: everybody who is admitted */
    bool gone; /* it is in this snapshot no more */
    struct addr addr; /* family 0: a Unix socket */
    const char *cert_names; /* of its TLS, ", " between; "" where it has none */
    unsigned tls; /* 1 + which of the worker's server contexts; 0: it speaks no TLS */
    bool clear;   /* with tls: clear text is served as well (`clear: yes`); else it is answered 400 */
    const struct cert_names *names; /* with tls, where clients may have certificates */
    const struct ranges *proxy_from; /* who has to begin with a PROXY header, and is the only one that may; NULL: nobody */
};

struct tls_ctx;
/* A worker's own contexts of a snapshot, made by app on the worker's library context. */
struct tls_set {
    struct tls_ctx **server, **client; /* client[0]: `trust` alone */
    unsigned n_server, n_client;
};

struct snapshot {
    unsigned generation; /* from 1 */
    const struct proxy_conf *conf;
    const struct policy *policy;
    const struct resolve_conf *resolve;
    const struct users *users; /* of the top level; NULL: none */
    const struct snapshot_listen *listen;
    unsigned n_listen;
    const struct route *routes;
    unsigned n_routes;
    const struct origin_entry *origins;
    unsigned n_origins;
    const struct tls_set *tls[SNAPSHOT_WORKERS_MAX]; /* by worker; NULL: nothing of it needs TLS */
    const struct limit *limits;
    unsigned n_limits;
    bool steady; /* policy_is_steady, and limit_is_steady of all limits; false is always right */
    /* On the worker's thread: it uses the snapshot no more. Others may still; or nobody does, and it may be freed already. */
    void (*released)(void *owner);
    void *owner;
    struct snapshot_use {
        _Atomic uint32_t n;
        char apart[60]; /* no two workers write to one cache line */
    } uses[SNAPSHOT_WORKERS_MAX];
};

static inline void snapshot_borrow(struct snapshot *s, unsigned worker)
{
    _Atomic uint32_t *n = &s->uses[worker].n;

    /* One writer: no locked instruction. */
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1, memory_order_relaxed);
}

static inline void snapshot_return(struct snapshot *s, unsigned worker)
{
    _Atomic uint32_t *n = &s->uses[worker].n;
    uint32_t left = atomic_load_explicit(n, memory_order_relaxed) - 1;
    void (*released)(void *) = s->released;
    void *owner = s->owner;

    /* The last use is over before anybody may see the zero; with it the snapshot may be gone. */
    atomic_store_explicit(n, left, memory_order_release);
    if (left == 0 && released)
        released(owner);
}

static inline bool snapshot_unused(const struct snapshot *s)
{
    for (unsigned i = 0; i < SNAPSHOT_WORKERS_MAX; i++)
        if (atomic_load_explicit(&s->uses[i].n, memory_order_acquire))
            return false;
    return true;
}

/* The listener with that id, or NULL when this snapshot has none. */
const struct snapshot_listen *snapshot_listen_find(const struct snapshot *s, unsigned id);

#endif
