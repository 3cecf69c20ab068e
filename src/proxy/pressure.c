/* SPDX-License-Identifier: MIT */
/* pressure: asks capacity and the memory's counter, and gives up idle upstream connections and free blocks when memory is short. Called when a
 * connection begins, and for each request. What is given up is freed at the end of the turn, at other workers in one of their next: so
 * nobody is refused in the first moments.
 */
#include "proxy/pressure.h"

#include "base/log.h"
#include "base/mem.h"
#include "proxy/local.h"
#include "proxy/worker.h"

enum { TURN_AWAY_READS = 8 };

enum end_reason pressure_reason(enum capacity_verdict v)
{
    switch (v) {
    case CAPACITY_TOTAL:
        return END_CAPACITY_CONNECTIONS;
    case CAPACITY_CLIENT:
        return END_CAPACITY_CLIENT;
    case CAPACITY_MEMORY:
        return END_CAPACITY_MEMORY;
    case CAPACITY_OK:
    case CAPACITY_VERDICTS:
        break;
    }
    return END_NONE;
}

static void say(struct worker *w, enum capacity_verdict v, const struct addr *client)
{
    const struct proxy_conf *c = w->snap->conf;
    char host[ADDR_TEXT_MAX] = "";

    if (!capacity_say(w->capacity, v, w->loop.now_ms))
        return;
    switch (v) {
    case CAPACITY_TOTAL:
        log_warn("capacity.connections (%u) is reached: new connections are refused", c->capacity.connections);
        return;
    case CAPACITY_CLIENT:
        addr_host_text(client, host);
        log_warn("capacity.per-client (%u) is reached by %s: its new connections are refused", c->capacity.per_client, host);
        return;
    case CAPACITY_MEMORY:
        log_warn("capacity.memory is reached (%llu of %llu bytes): new connections and new requests are refused",
                 (unsigned long long)mem_counted(), (unsigned long long)c->capacity.memory);
        return;
    case CAPACITY_OK:
    case CAPACITY_VERDICTS:
        break;
    }
}

/* ---- memory ---- */

static void relieve(struct worker *w)
{
    upstream_close_idle(w->upstream);
    objcache_trim(&w->loop.blocks);
    objcache_trim(&w->loop.pages);
}

static void relief_run(struct msg *m, struct loop *loop)
{
    struct worker *w = CONTAINER_OF(m, struct worker, relief_msg);

    UNUSED(loop);
    atomic_store(&w->relief_posted, false);
    relieve(w);
}

/* A worker without traffic would not notice by itself. */
static void relieve_others(struct worker *w)
{
    if (w->relief_at_ms > w->loop.now_ms)
        return;
    w->relief_at_ms = w->loop.now_ms + PRESSURE_RELIEF_MS;
    for (unsigned i = 0; i < w->n_peers; i++) {
        struct worker *other = w->peers[i];

        if (other == w || atomic_load(&other->stopped) || atomic_exchange(&other->relief_posted, true))
            continue;
        other->relief_msg.run = relief_run;
        if (!loop_post(&other->loop, &other->relief_msg))
            atomic_store(&other->relief_posted, false);
    }
}

static bool memory_is_full(struct worker *w)
{
    if (mem_counted() < w->snap->conf->capacity.memory) {
        w->memory_over_ms = 0;
        return false;
    }
    relieve(w);
    relieve_others(w);
    if (!w->memory_over_ms)
        w->memory_over_ms = w->loop.now_ms;
    return w->loop.now_ms - w->memory_over_ms >= PRESSURE_GRACE_MS;
}

bool pressure_memory(struct worker *w)
{
    if (!w->capacity)
        return false;
    /* The counters are other processors' memory: once a millisecond, not for each request. */
    if (w->memory_looked_ms != w->loop.now_ms) {
        w->memory_looked_ms = w->loop.now_ms;
        w->memory_full = memory_is_full(w);
        if (w->memory_full)
            say(w, CAPACITY_MEMORY, NULL);
    }
    return w->memory_full;
}

/* ---- connections ---- */

enum capacity_verdict pressure_enter(struct worker *w, const struct addr *client, struct capacity_place *ret_place)
{
    enum capacity_verdict v;

    if (!w->capacity)
        return CAPACITY_OK;
    if (pressure_memory(w))
        return CAPACITY_MEMORY;
    v = capacity_enter(w->capacity, w->snap->conf, client, ret_place);
    if (v != CAPACITY_OK)
        say(w, v, client);
    return v;
}

void pressure_turn_away(struct worker *w, struct conn **conn, unsigned listen_id, enum capacity_verdict why)
{
    const struct snapshot_listen *l = snapshot_listen_find(w->snap, listen_id);
    char text[LOCAL_BUSY_MAX];
    struct iovec v = {.iov_base = text};
    size_t n;

    /* Inside of TLS there is nothing yet that could be answered, and in clear it would not be understood. */
    if (l && l->tls && !l->clear) {
        stats_add(&w->stats, COUNTER_TURNED_AWAY, 1);
        conn_close(conn);
        return;
    }
    v.iov_len = local_busy_reply(w->snap->conf->name, pressure_reason(why), l && l->reasons != REASONS_NONE, text);
    stats_add(&w->stats, COUNTER_TURNED_AWAY, 1);
    /* What has come of the request is taken in, so that closing does not turn into an RST that overtakes the answer. */
    if (conn_send(*conn, &v, 1, &n) == IO_OK && conn_shut(*conn) == 0)
        for (int i = 0; i < TURN_AWAY_READS && conn_recv(*conn, w->loop.scratch, LOOP_SCRATCH, &n) == IO_OK; i++)
            ;
    conn_close(conn);
}
