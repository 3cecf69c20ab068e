/* SPDX-License-Identifier: MIT */
/* `capacity`: who is over a limit gets 503 and why, everybody else goes on as before; and after every
 * kind of end nothing is counted any more (sim_end looks for that after each scenario of all tests). */
#include "sim/sim.h"

#include "base/mem.h"
#include "proxy/pressure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define GET    "GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
#define TUNNEL "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n"
#define OK     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* Every origin that has a whole request answers it: on a new connection, or on a kept one. */
static void answer(struct sim *s)
{
    sim_run(s);
    LIST_EACH (it, &s->peers) {
        struct peer *p = LIST_ENTRY(it, struct peer, link);

        if (p->name[0] == 'o' && p->end == PEER_OPEN && peer_unused(p) &&
            memmem(p->got.p + p->got.at, peer_unused(p), "\r\n\r\n", 4)) {
            p->got.at = p->got.n;
            peer_send(p, OK);
        }
    }
    sim_run(s);
}

static void expect_ok(struct sim *s, struct peer *c)
{
    peer_send(c, GET);
    answer(s);
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
}

/* A refusal that says to come again, and is the last answer. */
static void expect_refused(struct sim *s, struct peer *c, enum end_reason why)
{
    uint64_t n = sim_ends(s, why);

    peer_send(c, GET);
    peer_expect(c, "HTTP/1.1 503 ");
    peer_expect(c, "Retry-After: 1\r\n");
    peer_expect(c, "Connection: close\r\n");
    peer_expect(c, end_info(why)->text);
    sim_run(s);
    c->got.at = c->got.n;
    peer_expect_end(c, PEER_FIN);
    sim_expect_ends(s, why, n + 1);
    peer_fin(c);
}

static void total(struct sim *s)
{
    struct peer *a, *b, *c;

    origin_listen(s, "192.0.2.1:80");
    s->conf.capacity.connections = 2;
    a = sim_client(s);
    b = sim_client(s);
    c = sim_client(s);
    sim_run(s);
    SIM_EQUAL(s, capacity_connections(s->capacity), 2);
    SIM_EQUAL(s, s->worker.n_refusing, 1);
    expect_refused(s, c, END_CAPACITY_CONNECTIONS);
    /* It lingers until the client has gone. */
    sim_run(s);
    SIM_EQUAL(s, s->worker.n_refusing, 0);
    /* Those who are there are served, again and again. */
    expect_ok(s, a);
    peer_send(a, GET);
    sim_run(s);
    peer_fin(b);
    sim_run(s);
    SIM_EQUAL(s, capacity_connections(s->capacity), 1);
}

/* It came over the limit; when its request comes there is room. */
static void room_by_then(struct sim *s)
{
    struct peer *a, *b;

    origin_listen(s, "192.0.2.1:80");
    s->conf.capacity.connections = 1;
    a = sim_client(s);
    b = sim_client(s);
    sim_run(s);
    peer_fin(a);
    sim_run(s);
    SIM_EQUAL(s, capacity_connections(s->capacity), 0);
    expect_ok(s, b);
    SIM_EQUAL(s, capacity_connections(s->capacity), 1);
    SIM_EQUAL(s, s->worker.n_refusing, 0);
    expect_refused(s, sim_client(s), END_CAPACITY_CONNECTIONS);
}

static void per_client(struct sim *s)
{
    struct peer *a, *again, *b;

    origin_listen(s, "192.0.2.1:80");
    s->conf.capacity.per_client = 1;
    a = sim_client_from(s, "203.0.113.1:1");
    again = sim_client_from(s, "203.0.113.1:2");
    b = sim_client_from(s, "203.0.113.2:1");
    expect_ok(s, a);
    expect_refused(s, again, END_CAPACITY_CLIENT);
    peer_send(b, TUNNEL);
    origin_listen(s, "192.0.2.1:443");
    peer_expect_status(b, 200);
    SIM_EQUAL(s, capacity_clients(s->capacity), 2);
    peer_rst(b);
    sim_run(s);
    SIM_EQUAL(s, capacity_clients(s->capacity), 1);
    /* Raised, for everybody that comes from now on. */
    s->conf.capacity.per_client = 2;
    peer_send(sim_client_from(s, "203.0.113.1:3"), GET);
    sim_run(s);
    sim_expect_ends(s, END_CAPACITY_CLIENT, 1);
}

/* How much is told is the listener's `reasons` to say. */
static void told(struct sim *s)
{
    struct peer *c;

    s->conf.capacity.connections = 0;
    s->listen.reasons = REASONS_NONE;
    c = sim_client(s);
    peer_send(c, GET);
    peer_expect(c, "error=connection_limit_reached\r\n");
    peer_expect_never(c, "details");
    peer_fin(c);
    s->listen.reasons = REASONS_OWN;
    c = sim_client(s);
    peer_send(c, GET);
    peer_expect(c, "details=\"all connections that clients may have are in use; what helps: the limit is `capacity: {connections: ...}`\"");
    peer_expect(c, "capacity: {connections: ");
}

/* 64 refuse in words and with a record; what comes beside them is answered and closed at once. */
static void too_many_to_refuse(struct sim *s)
{
    struct peer *first[WORKER_REFUSING_MAX], *c;

    s->conf.capacity.connections = 0;
    for (unsigned i = 0; i < WORKER_REFUSING_MAX; i++)
        first[i] = sim_client(s);
    sim_run(s);
    SIM_EQUAL(s, s->worker.n_refusing, WORKER_REFUSING_MAX);
    c = sim_client(s);
    if (s->mode != SIM_WINDOW_7 && s->mode != SIM_WINDOW_1) {
        /* The text is written once; a kernel's buffer always has room for it. */
        peer_expect(c, "HTTP/1.1 503 ");
        peer_expect(c, "Proxy-Status: \"sim\"; error=connection_limit_reached; details=\"all connections");
        peer_expect(c, "Retry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    sim_run(s);
    SIM_EXPECT(s, c->end != PEER_OPEN);
    SIM_EQUAL(s, sim_count(s, COUNTER_TURNED_AWAY), 1);
    sim_expect_sessions(s, WORKER_REFUSING_MAX);
    /* Silent ones do not keep their place for ever. */
    sim_advance(s, s->conf.timeouts.head + 2000);
    sim_expect_sessions(s, 0);
    SIM_EQUAL(s, s->worker.n_refusing, 0);
    SIM_EXPECT(s, first[0]->end != PEER_OPEN);
    expect_refused(s, sim_client(s), END_CAPACITY_CONNECTIONS);
}

/* ---- memory ---- */

/* New connections and new requests are refused; a tunnel and a request that run are not. */
static void memory(struct sim *s)
{
    struct origin *t = origin_listen(s, "192.0.2.1:443");
    struct peer *kept = sim_client(s), *tunnel = sim_client(s), *running = sim_client(s), *far;

    origin_listen(s, "192.0.2.1:80");
    expect_ok(s, kept);
    peer_send(tunnel, TUNNEL);
    peer_expect_status(tunnel, 200);
    far = origin_accept(t);
    peer_send(running, GET);
    sim_run(s);
    s->conf.capacity.memory = 1000; /* far less than there is */
    sim_advance(s, 1);
    /* What nobody uses is given up first: nobody is refused at once. */
    SIM_EXPECT(s, !pressure_memory(&s->worker));
    sim_advance(s, PRESSURE_GRACE_MS + 1);
    SIM_EQUAL(s, upstream_count(s->worker.upstream), 0);
    SIM_EXPECT(s, pressure_memory(&s->worker));
    expect_refused(s, sim_client(s), END_CAPACITY_MEMORY);
    expect_refused(s, kept, END_CAPACITY_MEMORY);
    peer_send(tunnel, "to");
    peer_expect_all(far, "to");
    peer_send(far, "fro");
    peer_expect_all(tunnel, "fro");
    answer(s);
    peer_expect_status(running, 200);
    peer_expect_all(running, "ok");
    /* It ends when there is room again. */
    s->conf.capacity.memory = (uint64_t)1 << 40;
    sim_advance(s, 1);
    expect_ok(s, sim_client(s));
    sim_expect_ends(s, END_CAPACITY_MEMORY, 2);
}

/* A limit just below what is in use: what is kept for later is enough to stay below it. */
static void memory_given_up(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    for (int i = 0; i < 3; i++) {
        peer_send(c, GET);
        sim_run(s);
        if (!i)
            up = origin_accept(o);
        peer_send(up, OK);
        peer_expect_status(c, 200);
        peer_expect_all(c, "ok");
    }
    sim_run(s);
    SIM_EQUAL(s, upstream_count(s->worker.upstream), 1);
    SIM_EXPECT(s, s->worker.loop.pages.n_free > 0);
    s->conf.capacity.memory = mem_counted() - 100;
    sim_advance(s, 1);
    expect_ok(s, sim_client(s));
    peer_expect_end(up, PEER_FIN);
    sim_advance(s, PRESSURE_GRACE_MS * 2);
    s->conf.capacity.memory = (uint64_t)1 << 40;
    sim_expect_ends(s, END_CAPACITY_MEMORY, 0);
}

/* ---- counting ---- */

/* Every way in which a connection can end. */
static void every_end(struct sim *s)
{
    struct peer *c;

    origin_listen(s, "192.0.2.1:80");
    origin_refuse(s, "192.0.2.9:80");
    peer_fin(sim_client(s));
    peer_rst(sim_client(s));
    peer_close(sim_client(s));
    peer_send(sim_client(s), "\x16\x03\x01");
    c = sim_client(s);
    peer_send(c, "nonsense\r\n\r\n");
    peer_expect(c, "HTTP/1.1 400 ");
    sim_run(s);
    peer_fin(c);
    c = sim_client(s);
    peer_send(c, GET);
    sim_run(s);
    peer_rst(c);
    c = sim_client(s);
    peer_send(c, "GET http://192.0.2.9/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    peer_expect(c, "HTTP/1.1 502 ");
    peer_close(c);
    sim_client(s); /* silent */
    c = sim_client(s);
    peer_send(c, "GET http://192"); /* stalls */
    c = sim_client(s);
    expect_ok(s, c); /* idles */
    sim_run(s);
    SIM_EXPECT(s, capacity_connections(s->capacity) >= 3);
    SIM_EQUAL(s, capacity_connections(s->capacity), atomic_load(&s->worker.load));
    sim_advance(s, s->conf.timeouts.head + s->conf.timeouts.keepalive + 40000);
    sim_expect_sessions(s, 0);
    SIM_EQUAL(s, capacity_connections(s->capacity), 0);
    SIM_EQUAL(s, capacity_clients(s->capacity), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(total),
        SIM_TEST(room_by_then),
        SIM_TEST(per_client),
        SIM_TEST(told),
        SIM_TEST(too_many_to_refuse),
        SIM_TEST(memory),
        SIM_TEST(memory_given_up),
        SIM_TEST(every_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
