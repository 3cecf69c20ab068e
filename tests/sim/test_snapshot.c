/* SPDX-License-Identifier: MIT */
/* A new configuration while exchanges of the old one run: what began under a snapshot ends under it, nobody is cut, and the old one
 * is free as soon as the last exchange that borrowed it is in its relay (DESIGN 4 and 8.6, U57). */
#include "sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define GET     "GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
#define OK      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define CONNECT "CONNECT 192.0.2.1:80 HTTP/1.1\r\nHost: 192.0.2.1:80\r\n\r\n"

/* A second edition beside the simulation's own, and how often it, or that, was let go. */
struct second {
    struct proxy_conf conf;
    struct policy policy;
    struct policy_clients clients[POLICY_CLIENTS_OWN];
    struct snapshot snap;
    unsigned released;
};

static void count_release(void *owner)
{
    struct second *n = owner;

    n->released++;
}

/* The worker has the second one from here on. */
static void reload(struct sim *s, struct second *n)
{
    memset(n, 0, sizeof(*n));
    n->conf = s->conf;
    n->policy = s->policy;
    memcpy(n->clients, s->clients, sizeof(n->clients));
    n->policy.clients = n->clients;
    n->snap.generation = 2;
    n->snap.conf = &n->conf;
    n->snap.policy = &n->policy;
    n->snap.resolve = &s->resolve;
    n->snap.listen = s->snap.listen;
    n->snap.n_listen = s->snap.n_listen;
    s->snap.released = count_release;
    s->snap.owner = n;
    worker_use(&s->worker, &n->snap);
}

/* Back to the first, which outlives the scenario. */
static void restore(struct sim *s, struct second *n)
{
    sim_run(s);
    s->snap.released = NULL;
    worker_use(&s->worker, &s->snap);
    SIM_EXPECT(s, snapshot_unused(&n->snap));
}

static void quiet(struct sim *s)
{
    struct second n;

    reload(s, &n);
    SIM_EXPECT(s, snapshot_unused(&s->snap));
    SIM_EQUAL(s, n.released, 1);
    restore(s, &n);
}

static void borrowed_until_the_relay(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;
    struct second n;

    peer_send(c, GET);
    sim_run(s);
    reload(s, &n);
    SIM_EXPECT(s, !snapshot_unused(&s->snap));
    up = origin_accept(o);
    /* Half an answer: the relay has begun, and needs nothing of the snapshot. */
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    peer_expect_status(c, 200);
    sim_run(s);
    SIM_EXPECT(s, snapshot_unused(&s->snap));
    peer_send(up, "k");
    peer_expect_all(c, "ok");
    sim_run(s);
    restore(s, &n);
}

static void half_a_head(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;
    struct second n;

    peer_send(c, "GET http://192.0.2.1/ HT");
    sim_run(s);
    reload(s, &n);
    /* The new one admits nobody: this request began before. */
    n.clients[POLICY_CLIENTS_ALL].any = false;
    peer_send(c, "TP/1.1\r\nHost: a\r\n\r\n");
    up = origin_accept(o);
    peer_send(up, OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
    sim_run(s);
    /* The next one on the same connection did not. */
    peer_send(c, GET);
    peer_expect_status_kept(c, 403, false);
    sim_run(s);
    restore(s, &n);
}

static void tunnels_hold_nothing(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;
    struct second n;

    peer_send(c, CONNECT);
    up = origin_accept(o);
    peer_expect_status(c, 200);
    sim_run(s);
    reload(s, &n);
    SIM_EXPECT(s, snapshot_unused(&s->snap));
    /* Its deadline is the one that it began with. */
    n.conf.timeouts.tunnel = 1000;
    sim_advance(s, 5000);
    peer_send(up, "hello");
    peer_expect_all(c, "hello");
    sim_run(s);
    restore(s, &n);
}

static void a_listener_is_removed(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;
    struct second n;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
    sim_run(s);
    reload(s, &n);
    n.snap.n_listen = 0;
    /* Nobody cuts the kept connection; its next answer is the last one. */
    sim_advance(s, 1000);
    peer_send(c, GET);
    sim_run(s);
    peer_send(up, OK);
    peer_expect_status_kept(c, 200, false);
    peer_expect_all(c, "ok");
    peer_expect_end(c, PEER_FIN);
    peer_fin(c);
    restore(s, &n);
}

/* The list of the listener that is gone is gone with it: it must not have been the stricter one for nothing. */
static void nobody_slips_in_when_a_listener_goes(struct sim *s)
{
    struct peer *c = sim_client(s);
    struct second n;

    sim_run(s);
    reload(s, &n);
    n.snap.n_listen = 0;
    n.clients[POLICY_CLIENTS_GONE].any = false;
    peer_send(c, GET);
    peer_expect_status_kept(c, 403, false);
    sim_run(s);
    restore(s, &n);
}

static void refused_while_dialling(struct sim *s)
{
    struct peer *c = sim_client(s);
    struct second n;

    origin_blackhole(s, "192.0.2.1:80");
    peer_send(c, GET);
    sim_run(s);
    reload(s, &n);
    /* Its time is the one that it began with, and so is its answer. */
    n.conf.timeouts.connect = 1;
    sim_advance(s, s->conf.timeouts.connect - 500);
    SIM_EXPECT(s, !snapshot_unused(&s->snap));
    sim_advance(s, 2000);
    peer_expect_status(c, 504);
    sim_run(s);
    SIM_EXPECT(s, snapshot_unused(&s->snap));
    restore(s, &n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(quiet),
        SIM_TEST(borrowed_until_the_relay),
        SIM_TEST(half_a_head),
        SIM_TEST(tunnels_hold_nothing),
        SIM_TEST(a_listener_is_removed),
        SIM_TEST(nobody_slips_in_when_a_listener_goes),
        SIM_TEST(refused_while_dialling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
