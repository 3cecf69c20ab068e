/* SPDX-License-Identifier: MIT */
/* Tunnels after a reload (U57, issue of kept connections): with `recheck` they are judged by the new rules, and those that would be refused end; without it they stay.
 * A kept connection to an origin is of use only while its address may be dialled. */
#include "sim/sim.h"
#include "support/hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ESTABLISHED "HTTP/1.1 200 Connection established\r\n\r\n"
#define GET         "GET http://one.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n"
#define OK          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* What is read after the simulation's own, and its one or two rules. */
struct edition {
    struct policy policy;
    struct policy_clients clients[POLICY_CLIENTS_OWN];
    struct snapshot snap;
    struct matcher where[2];
    struct rule rules[2];
};

static void edition_init(struct sim *s, struct edition *e)
{
    memset(e, 0, sizeof(*e));
    e->policy = s->policy;
    memcpy(e->clients, s->clients, sizeof(e->clients));
    e->policy.clients = e->clients;
    e->policy.private = GUARD_ALLOW;
    e->policy.recheck = true;
    e->policy.has_rules = true;
    e->policy.rules = e->rules;
    e->snap.generation = 2;
    e->snap.conf = &s->conf;
    e->snap.policy = &e->policy;
    e->snap.resolve = &s->resolve;
    e->snap.listen = s->snap.listen;
    e->snap.n_listen = s->snap.n_listen;
    for (unsigned i = 0; i < ARRAY_LEN(e->rules); i++)
        e->rules[i] = (struct rule){.kind = RULE_ALLOW, .where = &e->where[i], .n_where = 1, .sni = SNI_OFF, .place = i ? "new:2" : "new:1"};
}

static void use(struct sim *s, struct edition *e)
{
    worker_use(&s->worker, &e->snap);
}

static void restore(struct sim *s, struct edition *e)
{
    sim_run(s);
    worker_use(&s->worker, &s->snap);
    SIM_EXPECT(s, snapshot_unused(&e->snap));
    for (unsigned i = 0; i < ARRAY_LEN(e->where); i++)
        matcher_done(&e->where[i]);
}

static struct matcher *add_rule(struct edition *e, enum rule_kind kind)
{
    e->rules[e->policy.n_rules].kind = kind;
    return &e->where[e->policy.n_rules++];
}

static void hosts_of(struct sim *s, struct hosts **set, const char *name)
{
    *set = hosts_new();
    if (!*set || hosts_add(*set, slice_str(name)) < 0)
        sim_fail(s, "no memory");
}

static void rule_host(struct sim *s, struct edition *e, enum rule_kind kind, const char *name)
{
    struct matcher *m = add_rule(e, kind);

    m->has_host = true;
    hosts_of(s, &m->hosts, name);
}

static void rule_all(struct edition *e, enum rule_kind kind)
{
    struct matcher *m = add_rule(e, kind);

    m->any_host = m->has_host = true;
}

static void rule_to(struct sim *s, struct edition *e, enum rule_kind kind, const char *range)
{
    struct matcher *m = add_rule(e, kind);
    struct addr_range r;

    m->has_to = true;
    if (addr_range_parse(slice_str(range), &r) < 0 || ranges_build(&r, 1, &m->to) < 0)
        sim_fail(s, "no range");
}

static void rule_sni_is(struct sim *s, struct edition *e, enum rule_kind kind, const char *name)
{
    struct matcher *m = add_rule(e, kind);

    m->any_host = m->has_host = true;
    hosts_of(s, &m->snis, name);
}

struct pair {
    struct peer *client, *origin;
};

static struct pair open_tunnel(struct sim *s, struct origin *o, const char *host)
{
    struct pair t = {.client = sim_client(s)};

    peer_sendf(t.client, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n", host, host);
    t.origin = origin_accept(o);
    peer_expect_all(t.client, ESTABLISHED);
    return t;
}

static void expect_alive(struct pair t)
{
    peer_send(t.client, "ping");
    peer_expect_all(t.origin, "ping");
    peer_send(t.origin, "pong");
    peer_expect_all(t.client, "pong");
}

static void expect_cut(struct sim *s, struct pair t, unsigned n)
{
    peer_expect_end(t.client, PEER_RST);
    peer_expect_end(t.origin, PEER_RST);
    sim_expect_ends(s, END_RELOADED, n);
}

static void some_end(struct sim *s)
{
    struct origin *one = origin_listen(s, "192.0.2.1:443"), *two = origin_listen(s, "192.0.2.2:443");
    struct pair gone = open_tunnel(s, one, "one.test"), stays = open_tunnel(s, two, "192.0.2.2");
    struct edition e;

    expect_alive(gone);
    edition_init(s, &e);
    rule_host(s, &e, RULE_DENY, "one.test");
    rule_all(&e, RULE_ALLOW);
    use(s, &e);
    expect_cut(s, gone, 1);
    expect_alive(stays);
    /* A new one is refused as a request. */
    gone.client = sim_client(s);
    peer_send(gone.client, "CONNECT one.test:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_expect_status(gone.client, 403);
    restore(s, &e);
}

static void without_recheck(struct sim *s)
{
    struct origin *one = origin_listen(s, "192.0.2.1:443");
    struct pair t = open_tunnel(s, one, "one.test");
    struct edition e;

    edition_init(s, &e);
    e.policy.recheck = false;
    rule_all(&e, RULE_DENY);
    use(s, &e);
    sim_advance(s, 6000);
    expect_alive(t);
    restore(s, &e);
}

/* The address that was dialled, `clients`, and our own listeners. */
static void each_judgement(struct sim *s)
{
    static const struct addr own = {.in = {.sin_family = AF_INET, .sin_addr = {0x010200c0}, .sin_port = 0xbb01}};
    struct origin *one = origin_listen(s, "192.0.2.1:443");

    for (unsigned i = 0; i < 4; i++) {
        struct pair t = open_tunnel(s, one, "one.test");
        struct edition e;

        edition_init(s, &e);
        if (i == 0)
            rule_to(s, &e, RULE_DENY, "192.0.2.0/24");
        rule_all(&e, RULE_ALLOW);
        if (i == 1)
            e.clients[POLICY_CLIENTS_ALL].any = false;
        if (i == 2)
            e.policy.own = &own;
        if (i == 3)
            e.policy.n_rules = 0;
        use(s, &e);
        expect_cut(s, t, i + 1);
        restore(s, &e);
    }
}

/* A rule in report mode ends nothing; nor does a rule that asks for an address and allows. */
static void harmless(struct sim *s)
{
    struct origin *one = origin_listen(s, "192.0.2.1:443");
    struct pair t = open_tunnel(s, one, "one.test");
    struct edition e;

    edition_init(s, &e);
    rule_all(&e, RULE_DENY);
    e.rules[0].report = true;
    rule_to(s, &e, RULE_ALLOW, "192.0.2.1");
    use(s, &e);
    sim_advance(s, 6000);
    expect_alive(t);
    restore(s, &e);
}

static void say_hello(struct peer *p, const char *name)
{
    struct hello h;

    hello_make(&h, name, HELLO_OLD);
    peer_send_n(p, h.p, h.n);
}

/* The name in the ClientHello counts: what the record has of it, or what is still to come. */
static void by_sni(struct sim *s)
{
    struct origin *one = origin_listen(s, "192.0.2.1:443");
    struct edition first, e;
    struct pair early, late, right;

    edition_init(s, &first);
    rule_all(&first, RULE_ALLOW);
    first.rules[0].sni = SNI_LOG;
    use(s, &first);
    early = open_tunnel(s, one, "one.test");
    say_hello(early.client, "a.test");
    sim_run(s);
    late = open_tunnel(s, one, "one.test");
    right = open_tunnel(s, one, "one.test");
    edition_init(s, &e);
    e.snap.generation = 3;
    rule_sni_is(s, &e, RULE_DENY, "a.test");
    rule_all(&e, RULE_ALLOW);
    use(s, &e);
    SIM_EXPECT(s, snapshot_unused(&first.snap));
    expect_cut(s, early, 1);
    peer_expect_end(late.client, PEER_OPEN);
    say_hello(late.client, "a.test");
    expect_cut(s, late, 2);
    SIM_EQUAL(s, peer_unused(late.origin), 0);
    say_hello(right.client, "b.test");
    sim_run(s);
    SIM_EXPECT(s, peer_unused(right.origin) > 0);
    right.origin->got.at = right.origin->got.n;
    expect_alive(right);
    restore(s, &e);
}

/* It said nothing by which it could be allowed. */
static void by_sni_that_never_comes(struct sim *s)
{
    struct origin *one = origin_listen(s, "192.0.2.1:443");
    struct edition first, e;
    struct pair t, fin;

    edition_init(s, &first);
    rule_all(&first, RULE_ALLOW);
    first.rules[0].sni = SNI_STRICT;
    use(s, &first);
    t = open_tunnel(s, one, "one.test");
    fin = open_tunnel(s, one, "one.test");
    edition_init(s, &e);
    e.snap.generation = 3;
    rule_sni_is(s, &e, RULE_ALLOW, "one.test");
    use(s, &e);
    sim_run(s);
    peer_expect_end(t.client, PEER_OPEN);
    peer_send(t.origin, "220 mail.test\r\n");
    expect_cut(s, t, 1);
    peer_fin(fin.client);
    peer_expect_end(fin.client, PEER_RST);
    sim_expect_ends(s, END_RELOADED, 2);
    restore(s, &e);
}

/* Judged by the old rules, and no tunnel yet. */
static void between(struct sim *s)
{
    struct origin *slow = origin_listen(s, "192.0.2.1:443"), *plain = origin_listen(s, "192.0.2.1:80");
    struct peer *c, *up, *ws;
    struct edition e;

    slow->latency_ms = 3000;
    c = sim_client(s);
    peer_send(c, "CONNECT one.test:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    sim_run(s);
    ws = sim_client(s);
    peer_send(ws, "GET http://one.test/ HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    up = origin_accept(plain);
    sim_run(s);
    edition_init(s, &e);
    rule_all(&e, RULE_DENY);
    use(s, &e);
    peer_expect(up, "\r\n\r\n");
    peer_send(up, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    peer_expect_status(ws, 403);
    sim_advance(s, 3100);
    peer_expect_status(c, 403);
    sim_expect_ends(s, END_DENIED, 2);
    restore(s, &e);
}

/* Messages that run are not asked again. */
static void messages(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;
    struct edition e;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    peer_expect_status(c, 200);
    edition_init(s, &e);
    rule_all(&e, RULE_DENY);
    use(s, &e);
    peer_send(up, "k");
    peer_expect_all(c, "ok");
    restore(s, &e);
}

/* More than one slice, some of which end by themselves while it walks. */
static void many(struct sim *s)
{
    /* The long way once; the look for lost wake-ups in every turn would take most of the time. */
    enum { MOST = 2 * RECHECK_BATCH + 10 };
    static struct pair t[MOST];
    const unsigned n = s->mode == SIM_WHOLE ? MOST : 24, first = s->mode == SIM_WHOLE ? RECHECK_BATCH - 5 : 5;
    struct origin *one = origin_listen(s, "192.0.2.1:443"), *two = origin_listen(s, "192.0.2.2:443");
    struct edition e;

    s->sweep_as_live = true;
    for (unsigned i = 0; i < n; i++)
        t[i] = open_tunnel(s, i % 3 ? one : two, i % 3 ? "one.test" : "192.0.2.2");
    edition_init(s, &e);
    rule_host(s, &e, RULE_DENY, "one.test");
    rule_all(&e, RULE_ALLOW);
    use(s, &e);
    sim_some(s, 1);
    for (unsigned i = first; i < first + 10; i++)
        peer_rst(t[i].client);
    sim_run(s);
    for (unsigned i = 0; i < n; i++)
        if (i < first || i >= first + 10)
            SIM_EXPECT(s, (t[i].client->end == PEER_RST) == (i % 3 != 0));
    SIM_EXPECT(s, sim_ends(s, END_RELOADED) >= 2 * n / 3 - 10);
    /* And again, while it walks. */
    e.rules[0].kind = RULE_ALLOW;
    recheck_start(&s->worker.recheck);
    sim_some(s, 1);
    e.rules[0].kind = RULE_DENY;
    e.policy.n_rules = 1;
    recheck_start(&s->worker.recheck);
    sim_run(s);
    sim_expect_sessions(s, 0);
    restore(s, &e);
}

/* The address of a kept connection is judged like one that would be dialled. */
static void kept_connection(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;
    struct edition e;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
    peer_expect(up, "\r\n\r\n");
    sim_run(s);
    SIM_EQUAL(s, upstream_count(s->worker.upstream), 1);
    edition_init(s, &e);
    rule_all(&e, RULE_ALLOW);
    e.policy.private = GUARD_DENY;
    use(s, &e);
    peer_send(c, GET);
    peer_expect_refusal(c, 403, "destination_ip_prohibited");
    peer_expect_nothing(up);
    SIM_EQUAL(s, upstream_count(s->worker.upstream), 1);
    restore(s, &e);
    c = sim_client(s);
    peer_send(c, GET);
    peer_expect(up, "\r\n\r\n");
    peer_send(up, OK);
    peer_expect_status(c, 200);
    SIM_EQUAL(s, o->dials, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(some_end),
        SIM_TEST(without_recheck),
        SIM_TEST(each_judgement),
        SIM_TEST(harmless),
        SIM_TEST(by_sni),
        SIM_TEST(by_sni_that_never_comes),
        SIM_TEST(between),
        SIM_TEST(messages),
        SIM_TEST(many),
        SIM_TEST(kept_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
