/* SPDX-License-Identifier: MIT */
/* sim: the world that the worker gets instead of Linux, and the runs of a scenario. Time is a
 * number that only sim_advance moves; waiting delivers what peers have sent, a round at a time.
 * Called by the tests; never opens a socket.
 */
#include "sim/sim.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <setjmp.h>
#include <stddef.h>

#include <cmocka.h>

enum {
    SIM_LISTENER = 1, /* its id */
    SPIN_TURNS = 20000,     /* turns without a byte moved or time passed: the loop spins */
    RUN_TURNS = 20000000,   /* turns of one sim_run */
    WALL_MS_HIGH = 1700000, /* seconds since 1970 at the start */
    CLIENT_PORT = 40000,
    DUMP_PEERS = 12,
};

char sim_note[128];

static struct sim *the_sim;         /* for the signal handler */
static struct sim *volatile failed; /* all that were left */

/* ---- the world ---- */

static struct sim *sim_of(struct loop *loop)
{
    return CONTAINER_OF(CONTAINER_OF(loop, struct worker, loop), struct sim, worker);
}

static uint64_t world_now_us(struct loop *loop)
{
    return sim_of(loop)->now_us - sim_of(loop)->back_us;
}

static uint64_t world_wall_ms(struct loop *loop)
{
    const struct sim *s = sim_of(loop);

    return s->now_us / 1000 + (uint64_t)WALL_MS_HIGH * 1000000 + (uint64_t)s->wall_shift_ms;
}

static struct origin *origin_find(struct sim *s, const struct addr *to)
{
    for (unsigned i = 0; i < s->n_origins; i++)
        if (addr_eq(&s->origins[i].addr, to))
            return &s->origins[i];
    return NULL;
}

/* A dial under way knows its origin by the address in its name. */
struct dialling {
    struct peer *peer;
    struct origin *origin;
    uint64_t due_us;
};

enum { DIALLING_MAX = 512 };
static struct dialling dialling[DIALLING_MAX];
static unsigned n_dialling;

static int world_dial(struct loop *loop, const struct addr *to, const struct dial_from *from,
                      struct conn **ret_conn)
{
    struct sim *s = sim_of(loop);
    struct origin *o = origin_find(s, to);
    struct peer *p;
    void *probe;

    UNUSED(from);
    if (!o) {
        char text[ADDR_TEXT_MAX];

        addr_text(to, text);
        snprintf(s->fault, sizeof(s->fault), "the proxy dials %s, which is not in the scenario",
                 text);
        return -ENETUNREACH;
    }
    o->dials++;
    o->dialled_ms = sim_ms(s);
    if (o->kind == ORIGIN_UNROUTABLE)
        return o->error;
    /* The world's own memory is never refused; a conn of the proxy's would be. */
    probe = mem_alloc(1);
    if (!probe)
        return ERR_NOMEM;
    mem_free(probe);
    p = peer_new(s, true, ret_conn);
    snprintf(p->name, sizeof(p->name), "origin %s #%u", o->address, o->dials);
    if (o->kind == ORIGIN_SILENT)
        return 0;
    CHECK(n_dialling < DIALLING_MAX);
    dialling[n_dialling++] = (struct dialling){p, o, s->now_us + o->latency_ms * 1000};
    return 0;
}

static bool world_establish(struct sim *s)
{
    bool moved = false;

    for (unsigned i = 0; i < n_dialling;) {
        struct dialling d = dialling[i];

        if (d.due_us > s->now_us && d.peer->conn) {
            i++;
            continue;
        }
        memmove(&dialling[i], &dialling[i + 1], (n_dialling - i - 1) * sizeof(d));
        n_dialling--;
        moved = true;
        if (!d.peer->conn)
            continue;
        peer_established(d.peer, d.origin->kind == ORIGIN_REFUSES ? -ECONNREFUSED : 0);
        if (d.origin->kind == ORIGIN_LISTENS)
            list_push(&d.origin->backlog, &d.peer->waiting);
    }
    return moved;
}

static bool loop_idle(const struct loop *l)
{
    return list_empty(&l->small) && list_empty(&l->bulk) && list_empty(&l->flush) &&
           list_empty(&l->grave) && wheel_next(&l->wheel) > l->now_ms;
}

/* One round for everybody, in the order in which they came. */
static bool world_deliver(struct sim *s)
{
    bool moved = world_establish(s);

    LIST_EACH (it, &s->peers)
        moved |= peer_move(LIST_ENTRY(it, struct peer, link), false);
    if (moved || !loop_idle(&s->worker.loop))
        return moved;
    LIST_EACH (it, &s->peers)
        moved |= peer_move(LIST_ENTRY(it, struct peer, link), true);
    return moved;
}

/* When the world does something by itself next. */
static uint64_t world_due_us(struct sim *s)
{
    uint64_t due = UINT64_MAX;

    for (unsigned i = 0; i < n_dialling; i++)
        if (dialling[i].due_us < due)
            due = dialling[i].due_us;
    LIST_EACH (it, &s->peers) {
        uint64_t us = peer_due_us(LIST_ENTRY(it, struct peer, link));

        if (us < due)
            due = us;
    }
    return due;
}

static int world_wait(struct loop *loop, int timeout_ms)
{
    struct sim *s = sim_of(loop);
    uint64_t to_us = s->target_us, due_us;

    s->delivered = world_deliver(s);
    if (s->delivered || timeout_ms == 0 || s->now_us >= s->target_us) {
        s->idle_turns = s->delivered ? 0 : s->idle_turns + 1;
        loop_awake(loop, false);
        return 0;
    }
    due_us = world_due_us(s);
    if (timeout_ms > 0 && s->now_us + (uint64_t)timeout_ms * 1000 < to_us)
        to_us = s->now_us + (uint64_t)timeout_ms * 1000;
    if (due_us < to_us)
        to_us = due_us;
    if (to_us > s->now_us)
        s->now_us = to_us;
    s->idle_turns = 0;
    loop_awake(loop, true);
    return 0;
}

static const struct world_ops world_sim = {
    .now_us = world_now_us,
    .wall_ms = world_wall_ms,
    .wait = world_wait,
    .dial = world_dial,
};

/* ---- failing ---- */

static const char *mode_name(enum sim_mode mode)
{
    static const char *const names[] = {"whole", "bytes", "window 7", "window 1"};

    return names[mode];
}

static void say_where(void)
{
    if (the_sim)
        fprintf(stderr, "  in %s, mode \"%s\"", the_sim->scenario->name, mode_name(the_sim->mode));
    fprintf(stderr, "%s%s\n", sim_note[0] ? ", " : "", sim_note);
}

/* The process is lost: no more than where it was. */
static void aborted(int sig)
{
    say_where();
    signal(sig, SIG_DFL);
    raise(sig);
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
    unsigned n_peers = 0;
    va_list ap;

    LIST_EACH (it, &s->peers)
        n_peers++;
    fprintf(stderr, "  failed at %llu ms: ", (unsigned long long)sim_ms(s));
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n");
    say_where();
    LIST_EACH (it, &s->peers) {
        /* Of a crowd the latest are of interest. */
        if (n_peers-- <= DUMP_PEERS)
            peer_dump(LIST_ENTRY(it, struct peer, link));
    }
    for (unsigned r = 0; r < END_COUNT; r++)
        if (sim_ends(s, (enum end_reason)r))
            fprintf(stderr, "    ended %s: %llu\n", end_info((enum end_reason)r)->token,
                    (unsigned long long)sim_ends(s, (enum end_reason)r));
    mem_set_gate(NULL);
    /* What a failed run leaves behind is no leak; what it kept for reuse cannot be seen from here.
     */
    while (s->worker.loop.blocks.n_free)
        mem_free(objcache_get(&s->worker.loop.blocks));
    while (s->worker.loop.pages.n_free)
        mem_free(objcache_get(&s->worker.loop.pages));
    s->next_failed = failed;
    failed = s;
    the_sim = NULL;
    fail();
    abort();
}

static void quiet_log(enum log_level level, const char *line, size_t n)
{
    UNUSED(level);
    UNUSED(line);
    UNUSED(n);
}

/* ---- runs ---- */

static void default_conf(struct sim *s)
{
    static struct addr own;

    s->conf = (struct proxy_conf){.via = true, .name = "sim"};
    s->conf.timeouts.connect = 10000;
    s->conf.timeouts.head = 30000;
    s->conf.timeouts.response = 60000;
    s->conf.timeouts.idle = 20000;
    s->conf.timeouts.keepalive = 60000;
    s->conf.timeouts.tunnel = 600000;
    s->conf.timeouts.half_close = 30000;
    s->conf.timeouts.drain = 30000;
    s->conf.sizes.line = 8192 + 64;
    s->conf.sizes.head = 65536;
    s->conf.sizes.fields = 100;
    s->conf.capacity.connections = 10000;
    s->conf.capacity.memory = (uint64_t)1 << 40;
    if (addr_parse(SLICE("127.0.0.1:3128"), &own) < 0)
        abort();
    s->clients[POLICY_CLIENTS_ALL] = s->clients[POLICY_CLIENTS_GONE] = (struct policy_clients){.any = true};
    s->policy = (struct policy){.own = &own, .n_own = 1, .clients = s->clients, .n_clients = POLICY_CLIENTS_OWN, .private = GUARD_ALLOW};
    s->listen = (struct snapshot_listen){.id = SIM_LISTENER, .name = "sim", .reasons = REASONS_ALL};
    s->snap = (struct snapshot){.generation = 1, .conf = &s->conf, .policy = &s->policy, .resolve = &s->resolve, .listen = &s->listen, .n_listen = 1, .steady = true};
}

/* Names that scenarios may use. Anything else cannot be asked for: the resolver opens no sockets in
 * a simulation. */
static const char *hosts_file(void)
{
    static char path[] = "/tmp/ginnel-sim-XXXXXX";
    static const char text[] = "192.0.2.1 one.test\n"
                               "2001:db8::2 two.test\n"
                               "192.0.2.2 two.test\n"
                               "127.0.0.1 own.test\n"
                               "192.0.2.1 own.test\n"
                               "192.0.2.1 three.test\n"
                               "192.0.2.2 three.test\n"
                               "192.0.2.3 three.test\n";
    static bool made;
    int fd;

    if (made)
        return path;
    made = true;
    fd = mkstemp(path);
    if (fd < 0 || write(fd, text, sizeof(text) - 1) != (ssize_t)sizeof(text) - 1)
        abort();
    close(fd);
    return path;
}

static void remove_hosts(void)
{
    unlink(hosts_file());
}

struct sim *sim_start(const struct scenario *scenario, enum sim_mode mode)
{
    static const char *const servers[] = {"127.0.0.1", NULL};
    static bool once;
    struct sim *s = calloc(1, sizeof(*s));
    struct worker_opts o = {.world = &world_sim};

    if (!s)
        abort();
    if (!once) {
        once = true;
        log_set_sink(quiet_log);
        signal(SIGABRT, aborted);
        atexit(remove_hosts);
    }
    s->scenario = scenario;
    s->mode = mode;
    s->now_us = s->target_us = (uint64_t)SIM_START_MS * 1000;
    list_init(&s->peers);
    n_dialling = 0;
    default_conf(s);
    s->resolve = (struct resolve_conf){
        .servers = servers, .hosts_path = hosts_file(), .timeout_ms = 5000};
    o.snap = &s->snap;
    s->mem_before = mem_counted();
    mem_count(true);
    s->board = board_new(64, RESOLVE_FACT_MAX);
    s->capacity = capacity_new();
    s->charges = charge_table_new();
    o.board = s->board;
    o.capacity = s->capacity;
    o.charges = s->charges;
    if (!s->board || !s->capacity || !s->charges || worker_init(&s->worker, &o) < 0)
        abort();
    the_sim = s;
    return s;
}

static void expect_zero(struct sim *s, const char *what, size_t n)
{
    if (n)
        sim_fail(s, "leak: %zu %s at the end", n, what);
}

void sim_end(struct sim **sp)
{
    struct sim *s = *sp;
    struct worker *w = &s->worker;
    uint64_t ended = 0;

    sim_run(s);
    worker_drain(w, 0);
    sim_run(s);
    sim_advance(s, 2000);
    if (!w->loop.stop)
        sim_fail(s, "the worker does not stop although everything was cut");
    expect_zero(s, "sessions", !list_empty(&w->sessions) + atomic_load(&w->load));
    expect_zero(s, "blocks", w->loop.blocks.n_used);
    expect_zero(s, "pages", w->loop.pages.n_used);
    for (unsigned r = 0; r < END_COUNT; r++)
        ended += sim_ends(s, (enum end_reason)r);
    if (ended != sim_count(s, COUNTER_EXCHANGES) || ended != sim_count(s, COUNTER_EXCHANGES_ENDED))
        sim_fail(s, "the counters of exchanges do not agree");
    if (sim_count(s, COUNTER_SESSIONS) != sim_count(s, COUNTER_SESSIONS_ENDED))
        sim_fail(s, "the counters of sessions do not agree");
    if (sim_count(s, COUNTER_LOST_WAKEUPS) != s->n_lost || w->sweep.found != s->n_lost)
        sim_fail(s, "%llu wake-ups were lost, and %llu looked like it", (unsigned long long)sim_count(s, COUNTER_LOST_WAKEUPS),
                 (unsigned long long)w->sweep.found);
    expect_zero(s, "faults of the proxy's own", sim_ends(s, END_INTERNAL));
    worker_done(w);
    /* Those to origins live until here. */
    expect_zero(s, "connections", s->n_conns);
    expect_zero(s, "timers", w->loop.wheel.n - timer_armed(&w->drain_timer));
    board_free(s->board);
    expect_zero(s, "connections counted", capacity_connections(s->capacity));
    expect_zero(s, "client addresses counted", capacity_clients(s->capacity));
    expect_zero(s, "sessions that refuse", w->n_refusing);
    capacity_free(s->capacity);
    charge_table_free(s->charges); /* nothing is pinned */
    mem_count(false);
    expect_zero(s, "bytes counted", mem_counted() > s->mem_before ? (size_t)(mem_counted() - s->mem_before) : 0);
    the_sim = NULL;
    LIST_EACH (it, &s->peers)
        peer_free(LIST_ENTRY(it, struct peer, link));
    free(s);
    *sp = NULL;
}

void sim_test(void **state)
{
    const struct scenario *scenario = *state;
    const char *only = getenv("SIM_MODE");

    for (int mode = 0; mode < SIM_MODES; mode++) {
        struct sim *s;

        if (only && atoi(only) != mode)
            continue;
        s = sim_start(scenario, (enum sim_mode)mode);
        scenario->run(s);
        sim_end(&s);
    }
}

uint64_t sim_ms(const struct sim *s)
{
    return s->now_us / 1000 - SIM_START_MS;
}

static void sim_turn(struct sim *s, int max_wait_ms)
{
    /* Everybody who waits is looked at in every turn, not once in ten seconds. */
    if (!s->sweep_as_live)
        s->worker.loop.sweep_at_ms = 0;
    loop_turn(&s->worker.loop, max_wait_ms);
    s->turns++;
    if (s->fault[0])
        sim_fail(s, "%s", s->fault);
    if (s->idle_turns > SPIN_TURNS)
        sim_fail(s, "the loop spins");
}

static bool sim_still(const struct sim *s)
{
    return !s->delivered && loop_idle(&s->worker.loop);
}

void sim_some(struct sim *s, unsigned turns)
{
    s->target_us = s->now_us;
    s->idle_turns = 0;
    while (turns--)
        sim_turn(s, 0);
}

void sim_run(struct sim *s)
{
    s->target_us = s->now_us;
    s->idle_turns = 0;
    for (unsigned i = 0; i < RUN_TURNS; i++) {
        sim_turn(s, 0);
        if (sim_still(s))
            return;
    }
    sim_fail(s, "it never comes to rest");
}

void sim_advance(struct sim *s, uint64_t ms)
{
    s->target_us = s->now_us + ms * 1000;
    s->idle_turns = 0;
    for (unsigned i = 0; i < RUN_TURNS; i++) {
        uint64_t left = s->target_us - s->now_us;

        sim_turn(s, (int)((left + 999) / 1000));
        if (s->now_us >= s->target_us && sim_still(s))
            return;
    }
    sim_fail(s, "it never comes to rest");
}

void sim_leap(struct sim *s, uint64_t ms)
{
    s->now_us += ms * 1000;
    s->target_us = s->now_us;
}

void sim_expect_end_within(struct sim *s, struct peer *p, enum peer_end end, uint64_t from_ms,
                           uint64_t to_ms)
{
    uint64_t began = sim_ms(s);

    sim_run(s);
    while (p->end == PEER_OPEN && sim_ms(s) < began + to_ms)
        sim_advance(s, to_ms < 1000 || began + to_ms - sim_ms(s) < 10 ? 1 : 10);
    peer_expect_end(p, end);
    if (p->end_ms < began + from_ms)
        sim_fail(s, "%s sees %s after %llu ms, too early", p->name, peer_end_name(end),
                 (unsigned long long)(p->end_ms - began));
}

/* ---- the world, for scenarios ---- */

static struct peer *client_of(struct sim *s, const struct addr *a)
{
    struct conn *conn;
    struct peer *p = peer_new(s, false, &conn);

    snprintf(p->name, sizeof(p->name), "client #%u", ++s->n_clients);
    worker_take(&s->worker, conn, a, SIM_LISTENER, LISTEN_PROXY);
    return p;
}

struct peer *sim_client(struct sim *s)
{
    static const uint8_t localhost[4] = {127, 0, 0, 1};
    struct addr a;

    addr_v4(&a, localhost, (uint16_t)(CLIENT_PORT + (s->n_clients + 1) % 20000));
    return client_of(s, &a);
}

struct peer *sim_client_from(struct sim *s, const char *address)
{
    struct addr a;

    if (addr_parse(slice_str(address), &a) < 0)
        abort();
    return client_of(s, &a);
}

static struct origin *origin_add(struct sim *s, const char *address, enum origin_kind kind)
{
    struct origin *o;
    struct addr a;

    CHECK(s->n_origins < SIM_ORIGINS && addr_parse(slice_str(address), &a) == 0);
    o = origin_find(s, &a);
    if (!o) {
        o = &s->origins[s->n_origins++];
        *o = (struct origin){.sim = s, .addr = a, .address = address};
        list_init(&o->backlog);
    }
    o->kind = kind;
    return o;
}

struct origin *origin_listen(struct sim *s, const char *address)
{
    return origin_add(s, address, ORIGIN_LISTENS);
}

struct origin *origin_refuse(struct sim *s, const char *address)
{
    return origin_add(s, address, ORIGIN_REFUSES);
}

struct origin *origin_blackhole(struct sim *s, const char *address)
{
    return origin_add(s, address, ORIGIN_SILENT);
}

struct origin *origin_unroutable(struct sim *s, const char *address, int error)
{
    struct origin *o = origin_add(s, address, ORIGIN_UNROUTABLE);

    o->error = error;
    return o;
}

struct peer *origin_accept(struct origin *o)
{
    struct list *l;

    sim_run(o->sim);
    l = list_pop(&o->backlog);
    if (!l)
        sim_fail(o->sim, "nobody connects to %s", o->address);
    return LIST_ENTRY(l, struct peer, waiting);
}

void origin_expect_dials(struct origin *o, unsigned n)
{
    sim_run(o->sim);
    if (o->dials != n)
        sim_fail(o->sim, "%s was dialled %u times, not %u", o->address, o->dials, n);
}

void origin_expect_no_more(struct origin *o)
{
    sim_run(o->sim);
    if (!list_empty(&o->backlog))
        sim_fail(o->sim, "somebody more connects to %s", o->address);
}

/* ---- counters ---- */

uint64_t sim_count(struct sim *s, enum counter c)
{
    return stats_get(&s->worker.stats, c);
}

uint64_t sim_ends(struct sim *s, enum end_reason r)
{
    return atomic_load(&s->worker.stats.ends[r]);
}

void sim_expect_ends(struct sim *s, enum end_reason r, uint64_t n)
{
    sim_run(s);
    if (sim_ends(s, r) != n)
        sim_fail(s, "%llu exchanges ended as %s, not %llu", (unsigned long long)sim_ends(s, r),
                 end_info(r)->token, (unsigned long long)n);
}

void sim_expect_sessions(struct sim *s, unsigned n)
{
    sim_run(s);
    if (atomic_load(&s->worker.load) != n)
        sim_fail(s, "%u sessions, not %u", atomic_load(&s->worker.load), n);
}

size_t sim_buffered(const struct sim *s)
{
    return s->worker.loop.blocks.n_used * s->worker.loop.blocks.size;
}
