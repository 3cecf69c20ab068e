/* SPDX-License-Identifier: MIT */
/* Parents in clear, in every way in which bytes can be delivered: tunnels, chains, refusals, the
 * next alternative (U4, U13, U25, C20); deadlines of each wait; and each allocation refused in
 * turn, on the way through a chain and while a parent says no. */
#include "sim/sim.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define CONNECT "CONNECT name.test:443 HTTP/1.1\r\nHost: name.test:443\r\n\r\n"
#define GET     "GET http://name.test/x HTTP/1.1\r\nHost: name.test\r\n\r\n"
#define OK200   "HTTP/1.1 200 OK\r\n\r\n"
#define OK      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

enum { SOON_MS = 2500 };

static struct hop hops[2];
static const struct alternative either[2] = {{.hops = &hops[0], .n_hops = 1}, {.hops = &hops[1], .n_hops = 1}};
static const struct alternative both[1] = {{.hops = hops, .n_hops = 2}};
static _Atomic unsigned turn;
static struct route route;

static void make_hop(struct hop *h, uint8_t last, const char *host, const char *text)
{
    const uint8_t ip[4] = {192, 0, 2, last};

    *h = (struct hop){.host = slice_str(host), .port = 3128, .text = text, .place = "test:1"};
    addr_v4(&h->literal, ip, 0);
}

/* Two parents, 192.0.2.11 and .12; alternatives, or one behind the other. */
static void through(struct sim *s, const struct alternative *v, unsigned n)
{
    make_hop(&hops[0], 11, "192.0.2.11", "http://192.0.2.11:3128");
    make_hop(&hops[1], 12, "192.0.2.12", "http://192.0.2.12:3128");
    hops[0].authorization = SLICE("Basic Zmlyc3Q=");
    route = (struct route){.alternatives = v, .n_alternatives = n, .place = "test:1", .turn = &turn};
    s->snap.routes = &route;
    s->snap.n_routes = 1;
}

/* C20: what the client sends early waits for the parent's 2xx. */
static void tunnel(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.11:3128");
    struct peer *c = sim_client(s), *p;

    through(s, either, 1);
    peer_send(c, CONNECT "early");
    p = origin_accept(o);
    peer_expect_next(p, "CONNECT name.test:443 HTTP/1.1\r\n");
    peer_expect(p, "Proxy-Authorization: Basic Zmlyc3Q=\r\n\r\n");
    peer_expect_nothing(p);
    peer_send(p, "HTTP/1.1 103 Early Hints\r\n\r\n" OK200 "behind");
    peer_expect_status(c, 200);
    peer_expect_all(c, "behind");
    peer_expect_all(p, "early");
    peer_fin(p);
    peer_expect_end(c, PEER_FIN);
    peer_send(c, "more");
    peer_expect_all(p, "more");
    peer_fin(c);
    peer_expect_end(p, PEER_FIN);
    sim_expect_ends(s, END_TUNNEL_DONE, 1);
}

/* U11 */
static void tunnel_reset(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.11:3128");
    struct peer *c = sim_client(s), *p;

    through(s, either, 1);
    peer_send(c, CONNECT);
    p = origin_accept(o);
    peer_expect(p, "\r\n\r\n");
    peer_send(p, OK200);
    peer_expect_status(c, 200);
    peer_rst(p);
    peer_expect_end(c, PEER_RST);
}

static void absolute_form(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.11:3128");
    struct peer *c = sim_client(s), *p;

    through(s, either, 1);
    peer_send(c, GET);
    p = origin_accept(o);
    peer_expect_next(p, "GET http://name.test/x HTTP/1.1\r\n");
    peer_expect(p, "Host: name.test\r\n");
    peer_expect(p, "Proxy-Authorization: Basic Zmlyc3Q=\r\n\r\n");
    peer_send(p, OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "hello");
    /* Another target, the same parent, the same connection. */
    peer_send(c, "GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n");
    peer_expect_next(p, "GET http://other.test/ HTTP/1.1\r\n");
    peer_expect(p, "\r\n\r\n");
    peer_send(p, OK);
    peer_expect_status(c, 200);
    origin_expect_dials(o, 1);
}

/* A kept connection that dies as the request goes out: once more, on a new one. */
static void kept_is_stale(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.11:3128");
    struct peer *c = sim_client(s), *p;

    through(s, either, 1);
    peer_send(c, GET);
    p = origin_accept(o);
    peer_expect(p, "\r\n\r\n");
    peer_send(p, OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "hello");
    peer_send(c, GET);
    peer_expect(p, "\r\n\r\n");
    peer_close(p);
    p = origin_accept(o);
    peer_expect_next(p, "GET http://name.test/x HTTP/1.1\r\n");
    peer_expect(p, "\r\n\r\n");
    peer_send(p, OK);
    peer_expect_status(c, 200);
    SIM_EQUAL(s, sim_count(s, COUNTER_REPLAYS), 1);
}

static void chain(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.11:3128");
    struct peer *c = sim_client(s), *p;

    through(s, both, 1);
    peer_send(c, CONNECT "early");
    p = origin_accept(o);
    peer_expect_next(p, "CONNECT 192.0.2.12:3128 HTTP/1.1\r\n");
    peer_expect(p, "Proxy-Authorization: Basic Zmlyc3Q=\r\n\r\n");
    peer_expect_nothing(p);
    peer_send(p, OK200);
    peer_expect_next(p, "CONNECT name.test:443 HTTP/1.1\r\n");
    peer_expect(p, "\r\n\r\n");
    peer_expect_nothing(p);
    peer_send(p, OK200);
    peer_expect_status(c, 200);
    peer_expect_all(p, "early");
    peer_send_pattern(p, 3000);
    peer_fin(p);
    peer_expect_pattern(c, 3000);
    peer_expect_end(c, PEER_FIN);
    peer_send(c, "x");
    peer_fin(c);
    peer_expect_all(p, "x");
    peer_expect_end(p, PEER_FIN);
}

/* U13 */
static void refused(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.11:3128");
    struct peer *c = sim_client(s), *p;

    through(s, either, 2);
    peer_send(c, CONNECT);
    p = origin_accept(o);
    peer_expect(p, "\r\n\r\n");
    peer_send(p, "HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nblocked");
    peer_expect(c, "HTTP/1.1 502 ");
    peer_expect(c, "blocked");
    peer_expect_end(c, PEER_FIN);
    sim_expect_ends(s, END_PARENT_REFUSED, 1);
}

/* One refuses the connection, or is silent, or breaks off: the next; and then first. */
static void next_alternative(struct sim *s)
{
    struct origin *b = origin_listen(s, "192.0.2.12:3128");
    struct peer *c = sim_client(s), *p;

    origin_refuse(s, "192.0.2.11:3128");
    through(s, either, 2);
    peer_send(c, CONNECT);
    p = origin_accept(b);
    peer_expect_next(p, "CONNECT name.test:443 HTTP/1.1\r\n");
    /* It is not the one that the secret is for. */
    peer_expect_never(p, "Proxy-Authorization");
    peer_expect(p, "\r\n\r\n");
    peer_send(p, OK200);
    peer_expect_status(c, 200);
}

static void remembered(struct sim *s)
{
    struct origin *a = origin_listen(s, "192.0.2.11:3128"), *b = origin_listen(s, "192.0.2.12:3128");
    struct peer *c = sim_client(s), *p;

    through(s, either, 2);
    peer_send(c, CONNECT);
    p = origin_accept(a);
    peer_expect(p, "\r\n\r\n");
    peer_rst(p);
    peer_expect(origin_accept(b), "\r\n\r\n");
    c = sim_client(s);
    peer_send(c, CONNECT);
    peer_expect(origin_accept(b), "\r\n\r\n");
    origin_expect_dials(a, 1);
    /* After half a minute it is the first again. */
    sim_advance(s, 31000);
    c = sim_client(s);
    peer_send(c, CONNECT);
    peer_expect(origin_accept(a), "\r\n\r\n");
}

static void silent(struct sim *s)
{
    struct origin *a = origin_listen(s, "192.0.2.11:3128"), *b = origin_listen(s, "192.0.2.12:3128");
    struct peer *c = sim_client(s), *p;

    s->conf.timeouts.response = 5000;
    through(s, either, 2);
    peer_send(c, CONNECT);
    p = origin_accept(a);
    peer_expect(p, "\r\n\r\n");
    sim_advance(s, 4000);
    origin_expect_dials(b, 0);
    sim_advance(s, 2000);
    peer_expect_end(p, PEER_RST);
    peer_expect(origin_accept(b), "\r\n\r\n");
    sim_advance(s, 6000);
    peer_expect_refusal(c, 504, "http_response_timeout");
}

/* The client leaves while a parent thinks. */
static void client_leaves(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.11:3128");
    struct peer *c = sim_client(s), *p;

    through(s, either, 1);
    peer_send(c, CONNECT);
    p = origin_accept(o);
    peer_expect(p, "\r\n\r\n");
    peer_rst(c);
    peer_expect_end(p, PEER_RST);
    sim_expect_ends(s, END_CLIENT_RESET, 1);
}

/* U4: the entry refuses. */
static void denied(struct sim *s)
{
    struct peer *c = sim_client(s);

    through(s, NULL, 0);
    route.deny = true;
    peer_send(c, CONNECT);
    peer_expect_refusal(c, 403, "http_request_denied");
    sim_expect_ends(s, END_UPSTREAM_DENIED, 1);
}

/* U4: the target is judged, not the parent, whose address is private; literals are. */
static void private_addresses(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.11:3128");
    struct peer *c = sim_client(s);

    through(s, either, 1);
    s->policy.private = GUARD_DENY;
    peer_send(c, "CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_expect_refusal(c, 403, "destination_ip_prohibited");
    c = sim_client(s);
    peer_send(c, CONNECT);
    peer_expect(origin_accept(o), "\r\n\r\n");
}

/* ---- each allocation in turn ---- */

static struct peer *accept_if_any(struct sim *s, struct origin *o)
{
    sim_run(s);
    return list_empty(&o->backlog) ? NULL : origin_accept(o);
}

static void say(struct sim *s, struct peer *p, const char *text)
{
    if (p && p->closed == PEER_NOT_CLOSED)
        peer_send(p, text);
    sim_run(s);
}

static bool got(const struct peer *p, const char *text)
{
    return p->got.n && memmem(p->got.p, p->got.n, text, strlen(text));
}

static void play_chain(struct sim *s, struct origin *o)
{
    struct peer *c = sim_client(s), *p;

    through(s, both, 1);
    peer_send(c, CONNECT);
    p = accept_if_any(s, o);
    say(s, p, OK200);
    say(s, p, OK200);
    say(s, p, "hello");
    sim_advance(s, SOON_MS);
    mem_set_gate(NULL);
    SIM_EXPECT(s, got(c, "HTTP/1.1 200 ") || got(c, "HTTP/1.1 50") || c->end == PEER_RST || (!c->got.n && c->end == PEER_FIN));
    if (got(c, "HTTP/1.1 200 "))
        SIM_EXPECT(s, got(c, "hello") || c->end == PEER_RST);
}

static void play_refusal(struct sim *s, struct origin *o)
{
    struct peer *c = sim_client(s), *p;

    through(s, either, 1);
    peer_send(c, CONNECT);
    p = accept_if_any(s, o);
    say(s, p, "HTTP/1.1 403 Forbidden\r\nProxy-Status: big\r\nContent-Length: 7\r\n\r\nblo");
    say(s, p, "cked");
    sim_advance(s, SOON_MS);
    mem_set_gate(NULL);
    SIM_EXPECT(s, got(c, "HTTP/1.1 50") || c->end == PEER_RST || (!c->got.n && c->end == PEER_FIN));
    SIM_EXPECT(s, !got(c, "HTTP/1.1 200"));
}

static void play_get(struct sim *s, struct origin *o)
{
    struct peer *c = sim_client(s), *p;

    through(s, either, 1);
    peer_send(c, GET);
    p = accept_if_any(s, o);
    if (p && got(p, "\r\n\r\n"))
        say(s, p, OK);
    sim_advance(s, SOON_MS);
    mem_set_gate(NULL);
    SIM_EXPECT(s, got(c, "HTTP/1.1 200 ") || got(c, "HTTP/1.1 50") || c->end == PEER_RST || (!c->got.n && c->end == PEER_FIN));
}

static void play_all(void (*play)(struct sim *s, struct origin *o), const char *name)
{
    const struct scenario sc = {.name = name, .bulk = true};
    unsigned rounds = 0;

    for (memfail_start(); memfail_next(); rounds++) {
        struct sim *s;
        struct origin *o;

        mem_set_gate(NULL);
        snprintf(sim_note, sizeof(sim_note), "allocation %u refused", memfail_at);
        s = sim_start(&sc, SIM_WHOLE);
        s->worker.loop.blocks.keep = s->worker.loop.pages.keep = 0;
        o = origin_listen(s, "192.0.2.11:3128");
        atomic_store(&memfail_asked, 0);
        mem_set_gate(memfail_gate);
        play(s, o);
        upstream_close_idle(s->worker.upstream);
        sim_end(&s);
    }
    sim_note[0] = '\0';
    assert_true(rounds > 3);
}

static void memory_chain(void **state)
{
    UNUSED(state);
    play_all(play_chain, "memory_chain");
}

static void memory_refusal(void **state)
{
    UNUSED(state);
    play_all(play_refusal, "memory_refusal");
}

static void memory_get(void **state)
{
    UNUSED(state);
    play_all(play_get, "memory_get");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(tunnel),
        SIM_TEST(tunnel_reset),
        SIM_TEST(absolute_form),
        SIM_TEST(kept_is_stale),
        SIM_TEST_BULK(chain),
        SIM_TEST(refused),
        SIM_TEST(next_alternative),
        SIM_TEST(remembered),
        SIM_TEST(silent),
        SIM_TEST(client_leaves),
        SIM_TEST(denied),
        SIM_TEST(private_addresses),
        cmocka_unit_test(memory_chain),
        cmocka_unit_test(memory_refusal),
        cmocka_unit_test(memory_get),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
