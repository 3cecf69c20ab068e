/* SPDX-License-Identifier: MIT */
/* dial: the walk over the peers of an alternative. Called by step dial until it has an answer; each call goes on from the state it is in. It decides nothing about the request:
 * what was judged is what is asked for. Here are its states, its life, and whom it passes; dial_pool asks for what is there already, dial_first makes the first connection,
 * dial_hop does what each peer wants on it, dial_refusal hears a parent's "no" out.
 */
#include "proxy/dial.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "io/tls.h"
#include "mux/mux.h"
#include "proxy/dial_inside.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- failing ---- */

/* The detail, for the log and whoever may know the parents. */
enum dial_next dial_fail(struct dial *d, enum end_reason reason, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    d->result.reason = reason;
    d->result.detail = arena_dup(d->x->arena, slice_str(text)).p;
    d->result.final |= end_info(reason)->kind != END_KIND_UPSTREAM;
    return DIAL_FAILED;
}

static const char *kind_of_peer(const struct dial *d)
{
    return dial_is_origin(d, d->at) ? "the origin" : "the parent";
}

/* The peer at hand, or on the way to it the one before, is to blame. */
enum dial_next dial_fail_peer(struct dial *d, enum end_reason reason, const char *what)
{
    d->result.failed = dial_is_origin(d, d->at) ? NULL : dial_peer(d);
    /* It may be the connection's, which is gone before this is read for the last time. */
    if (dial_is_origin(d, d->at))
        d->result.shown = arena_dup(d->x->arena, slice_str(what)).p;
    return dial_fail(d, reason, "%s %s: %s", kind_of_peer(d), dial_peer(d)->text, what);
}

enum dial_next dial_no_memory(struct dial *d)
{
    return dial_fail(d, END_NO_MEMORY, "out of memory");
}

enum dial_next dial_wait(struct dial *d, uint64_t in_ms)
{
    d->until_ms = d->worker->loop.now_ms + in_ms;
    return DIAL_WAIT;
}

/* ---- the peers ---- */

static struct match_facts facts_of(const struct hop *h)
{
    struct match_facts f = {.minute = MATCH_NO_MINUTE, .port = h->port, .scheme = MATCH_HTTPS};

    match_facts_host(&f, h->host);
    return f;
}

static int add_peer(struct dial *d, const struct hop *h)
{
    const struct snapshot *s = d->x->snap;
    const struct tls_set *set = s->tls[d->worker->id];
    unsigned i = d->n_peers;
    struct match_facts f;
    unsigned n;

    CHECK(i < DIAL_PEERS);
    d->peers[i] = h;
    d->n_peers++;
    if (!h->tls)
        return 0;
    f = facts_of(h);
    n = origins_find(s->origins, s->n_origins, &f);
    if (!set || n >= set->n_client)
        return ERR_STATE;
    d->tls[i] = set->client[n];
    return 0;
}

static int add_origin(struct dial *d)
{
    const struct head *h = d->x->req->head;
    const struct authority *auth = &h->auth;
    bool v6 = auth->kind == HOST_IPV6, tls = h->scheme == SCHEME_HTTPS;

    d->origin = (struct hop){.tls = tls, .host = auth->host, .port = d->x->req->port, .place = "origin"};
    if (auth->kind == HOST_IPV4)
        addr_v4(&d->origin.literal, auth->addr, 0);
    else if (v6)
        addr_v6(&d->origin.literal, auth->addr, 0);
    d->origin.text = arena_printf(d->x->arena, "http%s://%s" SLICE_FMT "%s:%u", tls ? "s" : "", v6 ? "[" : "", SLICE_ARG(auth->host), v6 ? "]" : "", (unsigned)d->x->req->port).p;
    d->to_origin = true;
    return d->origin.text ? add_peer(d, &d->origin) : ERR_NOMEM;
}

/* Whether a peer takes an upgrade in HTTP/2 is known only when its SETTINGS are there (RFC 8441): if it does not, the stream ends unprocessed, and what is dialled then
 * speaks HTTP/1.1 for certain. */
unsigned dial_alpn(const struct dial *d, unsigned i)
{
    bool upgrade = i == d->n_peers - 1 && !d->tunnel && d->x->req->head->protocol.n;
    unsigned may = d->tls[i] ? tls_ctx_alpn(d->tls[i]) : TLS_ALPN_NONE;

    return upgrade && d->x->req->fresh_only && (may & TLS_ALPN_H1) ? TLS_ALPN_H1 : may;
}

static uint64_t identity_of(const struct tls_ctx *c)
{
    return c ? tls_ctx_identity(c) : 0;
}

/* What two connections to one host and port have to have in common: every hop before, who is told which secret there, and how TLS is verified. */
static int make_ids(struct dial *d)
{
    struct slice before = SLICE("");

    for (unsigned i = 0; i < d->n_peers; i++) {
        const struct hop *h = d->peers[i];

        before = arena_printf(d->x->arena, SLICE_FMT "%s %s %016llx %016llx %u%s\n", SLICE_ARG(before), dial_is_origin(d, i) ? "origin" : "parent", h->text,
                              (unsigned long long)(h->authorization.n ? hash_bytes(h->authorization.p, h->authorization.n) : 0),
                              (unsigned long long)identity_of(d->tls[i]), d->tls[i] ? dial_alpn(d, i) : 0,
                              dial_is_origin(d, i) && d->x->req->resolved && d->n_peers > 1 && d->x->req->route->resolve ? " checked" : "");
        if (!before.p)
            return ERR_NOMEM;
        d->ids[i] = before;
    }
    return 0;
}

/* The address of the target goes into what a parent is asked for. */
bool dial_sends_address(const struct dial *d)
{
    const struct xreq *q = d->x->req;

    return q->route && q->route->resolve && q->resolved && q->n_addrs;
}

/* A proxy that is told an address in a URL says so in Host, too (RFC 9112 3.2.2): the name would be lost. Inside a tunnel to the address it stays. */
static bool is_asked_inside(const struct dial *d)
{
    const struct head *h = d->x->req->head;

    return h->scheme == SCHEME_HTTPS || (d->n_peers && h->auth.kind == HOST_NAME && dial_sends_address(d));
}

static int add_peers(struct dial *d)
{
    const struct alternative *a = xchg_alternative(d->x);
    const struct head *h = d->x->req->head;
    int r = 0;

    for (unsigned i = 0; a && i < a->n_hops && r == 0; i++)
        r = add_peer(d, &a->hops[i]);
    d->tunnel = h->method == METHOD_CONNECT;
    if (r == 0 && !d->tunnel && is_asked_inside(d))
        r = add_origin(d);
    return r < 0 ? r : make_ids(d);
}

/* ---- for others too ---- */

struct source_set dial_sources(const struct route *r)
{
    struct source_set set = {0};

    if (!r)
        return set;
    set = (struct source_set){.v = r->bind, .n = r->n_bind, .way = {.mark = r->mark}};
    _Static_assert(sizeof(set.way.interface) == sizeof(r->interface), "both are what the kernel takes");
    memcpy(set.way.interface, r->interface, sizeof(r->interface));
    return set;
}

enum end_reason dial_reason(int error)
{
    switch (error) {
    case -ECONNREFUSED:
        return END_CONNECT_REFUSED;
    case -EHOSTUNREACH:
    case -ENETUNREACH:
    case -EACCES:
    case -EPERM:
    case -EINVAL:
    case -EADDRNOTAVAIL:
    case -EAFNOSUPPORT:
    case ERR_PRIVILEGE:
    case ERR_INTERFACE:
        return END_CONNECT_UNREACHABLE;
    case ERR_TIMEOUT:
    case -ETIMEDOUT:
        return END_CONNECT_TIMEOUT;
    case -EMFILE:
    case -ENFILE:
        return END_NO_DESCRIPTORS;
    case ERR_PORTS:
        return END_NO_PORTS;
    case ERR_NOMEM:
    case -ENOBUFS:
        return END_NO_MEMORY;
    default:
        return END_CONNECT_FAILED;
    }
}

/* ---- life ---- */

static enum dial_next step(struct dial *d, bool late)
{
    switch (d->state) {
    case DIAL_SEEK:
        return dial_pool_seek(d);
    case DIAL_QUEUE:
        return dial_pool_queue(d, late);
    case DIAL_RESOLVE:
        return dial_first_await_name(d, late);
    case DIAL_RACE:
        return dial_first_await_race(d, late);
    case DIAL_TLS:
        return dial_hop_await_tls(d, late);
    case DIAL_ASK:
        return dial_hop_await_answer(d, late);
    case DIAL_REFUSAL:
        return dial_refusal_read(d, late);
    }
    UNREACHABLE();
}

void parent_answer_free(struct parent_answer **a)
{
    if (*a)
        mem_free((*a)->body);
    mem_free(*a);
    *a = NULL;
}

static void dial_end(struct dial *d, enum upstream_news news)
{
    dial_pool_tell(d, news);
    resolve_cancel(&d->resolve);
    connect_cancel(&d->race);
    if (d->stream) {
        stream_reset(d->stream);
        stream_release(&d->stream);
    }
    mux_close(&d->mux, true);
    conn_reset(&d->conn);
    arena_done(&d->arena);
    d->magic = OBJ_DEAD;
    mem_free(d);
}

void dial_cancel(struct dial **dp)
{
    struct dial *d = *dp;

    *dp = NULL;
    if (!d)
        return;
    OBJ_CHECK(d, DIAL_MAGIC);
    parent_answer_free(&d->result.answer);
    dial_end(d, UPSTREAM_GIVEN_UP);
}

int dial_start(struct xchg *x, bool fresh, struct dial **ret_dial)
{
    struct dial *d = mem_zalloc(sizeof(*d));
    int r;

    if (!d)
        return ERR_NOMEM;
    d->magic = DIAL_MAGIC;
    d->x = x;
    d->worker = x->worker;
    d->fresh = fresh;
    list_init(&d->resolve.link);
    arena_init(&d->arena, &x->worker->loop.pages, (size_t)x->worker->limits.head * 4 + DIAL_ARENA_PAGES * 4096);
    r = add_peers(d);
    if (r < 0) {
        dial_end(d, UPSTREAM_GIVEN_UP);
        return r;
    }
    *ret_dial = d;
    return 0;
}

/* The snapshot may be gone before the connection goes back to the pool. */
static int keep_end(struct dial *d)
{
    struct slice host = arena_dup(d->x->arena, d->result.end.host);

    if (!host.p)
        return ERR_NOMEM;
    d->result.end.host = host;
    return 0;
}

enum io dial_take(struct dial **dp, bool late, struct dial_result *ret_result)
{
    struct dial *d = OBJ_CAST(struct dial, *dp, DIAL_MAGIC);
    enum dial_next next = DIAL_GO;

    /* Ends: every round reads an answer, which are bounded, goes a step further, or waits; and it starts anew at most once, or as often as it may wait for others. */
    while (next == DIAL_GO) {
        next = step(d, late);
        late = false;
    }
    if (next == DIAL_WAIT)
        return IO_AGAIN;
    if (next == DIAL_OVER && keep_end(d) < 0) {
        d->stream = d->result.upstream;
        d->mux = d->result.mux;
        next = dial_no_memory(d);
    }
    *ret_result = d->result;
    *dp = NULL;
    dial_end(d, next == DIAL_OVER ? UPSTREAM_GIVEN_UP : UPSTREAM_FAILED);
    return next == DIAL_OVER ? IO_OK : IO_ERR;
}

uint64_t dial_until_ms(const struct dial *d)
{
    return d->until_ms;
}

bool dial_done(const struct dial *d)
{
    switch (d->state) {
    case DIAL_QUEUE:
        return d->turns[d->waits_for].state == TURN_TOLD;
    case DIAL_RESOLVE:
        return d->resolve.done;
    case DIAL_RACE:
        return d->race && connect_done(d->race);
    case DIAL_SEEK:
    case DIAL_TLS:
    case DIAL_ASK:
    case DIAL_REFUSAL:
        break;
    }
    return false;
}
