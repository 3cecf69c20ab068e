/* SPDX-License-Identifier: MIT */
/* What a session keeps of a request for the next one: when it is made, that a request goes by it only when it would have been judged the same, that amounts are
 * asked for each time, and that what it holds is bounded (S001-25, U10). */
#include "proxy/kept.h"
#include "proxy/session.h"
#include "sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { KB = 1024 };

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* A configuration has come with these; they must outlive the scenario. */
static void set_limits(struct sim *s, const struct limit *v, unsigned n)
{
    s->snap.generation++;
    s->snap.limits = v;
    s->snap.n_limits = n;
}

static const struct kept *kept(struct sim *s)
{
    return LIST_ENTRY(s->worker.sessions.prev, struct session, link)->kept;
}

static bool ready(struct sim *s)
{
    const struct kept *k = kept(s);

    return k && k->state == KEPT_READY && !k->owner;
}

static void ask(struct peer *c, const char *method, const char *authority)
{
    peer_sendf(c, "%s http://%s/ HTTP/1.1\r\nHost: %s\r\n\r\n", method, authority, authority);
}

static void answered(struct peer *c)
{
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
}

/* up: the origin's side of a connection, once there is one. */
static void served(struct peer *c, struct origin *o, const char *authority, struct peer **up)
{
    ask(c, "GET", authority);
    if (!*up)
        *up = origin_accept(o);
    peer_expect(*up, "\r\n\r\n");
    peer_send(*up, OK);
    answered(c);
}

static void refused(struct peer *c, const char *authority, unsigned status)
{
    ask(c, "GET", authority);
    peer_expect_status(c, status);
    sim_run(c->sim);
    c->got.at = c->got.n;
}

/* ---- when it is made ---- */

/* A connection with one request has none; the second one is what the third goes by. */
static void made(struct sim *s)
{
    static const struct limit l = {.id = 1, .per = PER_CLIENT, .requests = 10, .burst = 4, .bandwidth = 1000000, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;
    const struct charge *charge;

    set_limits(s, &l, 1);
    served(c, o, "192.0.2.1", &up);
    SIM_EXPECT(s, !kept(s));
    served(c, o, "192.0.2.1", &up);
    SIM_EXPECT(s, ready(s) && kept(s)->charge);
    SIM_EQUAL(s, kept(s)->n_tokens, 1);
    SIM_EQUAL(s, s->worker.kept.pins, 2);
    charge = kept(s)->charge;
    ask(c, "GET", "192.0.2.1");
    peer_expect(up, "\r\n\r\n");
    SIM_EXPECT(s, kept(s)->owner && !kept(s)->charge);
    SIM_EQUAL(s, s->worker.kept.pins, 0);
    peer_send(up, OK);
    answered(c);
    SIM_EXPECT(s, ready(s) && kept(s)->charge == charge);
    SIM_EQUAL(s, s->worker.kept.pins, 2);
    /* What is not used is nobody's: the bucket has all of it again but for what was read. */
    SIM_EXPECT(s, charge_there(charge->pins[0].bucket, FLOW_BOTH, l.bandwidth, s->worker.loop.now_us) > 90000);
    peer_close(c);
    sim_expect_sessions(s, 0);
    SIM_EQUAL(s, s->worker.kept.pins, 0);
    SIM_EQUAL(s, s->worker.charger.shape.n_lanes, 0);
}

/* A configuration that looks into requests keeps nothing of how one was judged. */
static void unsteady(struct sim *s)
{
    static const struct limit l = {.id = 1, .requests = 10, .burst = 3, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;

    set_limits(s, &l, 1);
    s->snap.steady = false;
    for (unsigned i = 0; i < 3; i++) {
        served(c, o, "192.0.2.1", &up);
        SIM_EXPECT(s, !ready(s));
    }
    refused(c, "192.0.2.1", 429);
}

/* ---- amounts ---- */

/* Tokens are taken one by one, before the third request as after it. */
static void requests(struct sim *s)
{
    static const struct limit l[] = {{.id = 1, .requests = 1, .burst = 4, .name = "few", .place = "f:1"},
                                     {.id = 2, .per = PER_RULE, .requests = 1, .burst = 6, .name = "many", .place = "f:2"}};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;

    set_limits(s, l, 2);
    for (unsigned i = 0; i < 4; i++)
        served(c, o, "192.0.2.1", &up);
    SIM_EXPECT(s, ready(s));
    SIM_EQUAL(s, kept(s)->n_tokens, 2);
    ask(c, "GET", "192.0.2.1");
    peer_expect_status(c, 429);
    peer_expect(c, "few allows 1 requests a second");
    sim_run(s);
    c->got.at = c->got.n;
    SIM_EXPECT(s, ready(s));
    sim_advance(s, 1000);
    served(c, o, "192.0.2.1", &up);
    refused(c, "192.0.2.1", 429);
    /* Others are charged the same. */
    refused(sim_client(s), "192.0.2.1", 429);
    sim_expect_ends(s, END_LIMIT_REQUESTS, 3);
}

/* What waits for its token is asked each time, and keeps nothing. */
static void pace(struct sim *s)
{
    static const struct limit l = {.id = 1, .requests = 10, .burst = 1, .pace = true, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;

    set_limits(s, &l, 1);
    served(c, o, "192.0.2.1", &up);
    for (int i = 0; i < 4; i++) {
        ask(c, "GET", "192.0.2.1");
        sim_advance(s, 50);
        SIM_EXPECT(s, up->got.at == up->got.n);
        sim_advance(s, 51);
        peer_expect(up, "\r\n\r\n");
        peer_send(up, OK);
        answered(c);
        SIM_EXPECT(s, !ready(s));
    }
}

/* The quota runs out between two requests of a connection. */
static void quota(struct sim *s)
{
    static const struct limit l = {.id = 1, .quota = 7, .span = SPAN_HOUR, .name = "little", .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;

    set_limits(s, &l, 1);
    for (unsigned i = 0; i < 3; i++)
        served(c, o, "192.0.2.1", &up);
    SIM_EXPECT(s, ready(s));
    /* Two bytes of an answer each: the fourth one may begin. */
    ask(c, "GET", "192.0.2.1");
    peer_expect(up, "\r\n\r\n");
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n.");
    peer_expect_status(c, 200);
    peer_expect_all(c, ".");
    refused(c, "192.0.2.1", 429);
    sim_expect_ends(s, END_QUOTA, 1);
    SIM_EXPECT(s, !ready(s));
    sim_advance(s, 3600 * 1000);
    up = NULL;
    c = sim_client(s);
    served(c, o, "192.0.2.1", &up);
}

/* Of an upload the announced length is looked at for each. */
static void upload(struct sim *s)
{
    static const struct limit l = {.id = 1, .upload = 2, .name = "small", .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;

    set_limits(s, &l, 1);
    for (unsigned i = 0; i < 3; i++) {
        peer_send(c, "PUT http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: 2\r\n\r\nhi");
        if (!up)
            up = origin_accept(o);
        peer_expect(up, "\r\n\r\nhi");
        peer_send(up, OK);
        answered(c);
    }
    SIM_EXPECT(s, ready(s));
    peer_send(c, "PUT http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: 3\r\n\r\nhi!");
    peer_expect_status(c, 413);
    sim_expect_ends(s, END_UPLOAD_CAP, 1);
}

/* So many bytes a second, whether they are of one request or of many. */
static void bandwidth(struct sim *s)
{
    static const struct limit l = {.id = 1, .bandwidth_down = 100 * KB, .name = "slow", .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;
    uint64_t from_ms;

    set_limits(s, &l, 1);
    for (unsigned i = 0; i < 3; i++)
        served(c, o, "192.0.2.1", &up);
    from_ms = sim_ms(s);
    for (unsigned i = 0; i < 10; i++) {
        ask(c, "GET", "192.0.2.1");
        peer_expect(up, "\r\n\r\n");
        peer_sendf(up, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 20 * KB);
        peer_send_pattern(up, 20 * KB);
        peer_expect_status(c, 200);
        for (unsigned ms = 0; ms < 1000 && c->got.n - c->got.at < 20 * KB; ms += 10)
            sim_advance(s, 10);
        SIM_EQUAL(s, c->got.n - c->got.at, 20 * KB);
        peer_expect_pattern(c, 20 * KB);
    }
    SIM_EXPECT(s, sim_ms(s) - from_ms >= 1700 && sim_ms(s) - from_ms <= 2600);
}

/* ---- other questions ---- */

/* A limit that is about some of the requests of a connection is charged for those, whatever comes between. */
static void some(struct sim *s)
{
    static struct matcher_ports port = {.first = 81, .last = 81};
    static struct slice put = {.p = "PUT", .n = 3};
    static const struct matcher where[] = {{.ports = &port, .n_ports = 1}, {.methods = &put, .n_methods = 1}};
    static const struct limit l = {.id = 1, .where = where, .n_where = 2, .requests = 1, .burst = 4, .place = "f:1"};
    struct origin *a = origin_listen(s, "192.0.2.1:80"), *b = origin_listen(s, "192.0.2.1:81");
    struct peer *c = sim_client(s), *to_a = NULL, *to_b = NULL;

    set_limits(s, &l, 1);
    for (unsigned i = 0; i < 3; i++) {
        served(c, a, "192.0.2.1", &to_a);
        served(c, a, "192.0.2.1", &to_a);
        SIM_EQUAL(s, kept(s)->n_tokens, 0);
        served(c, b, "192.0.2.1:81", &to_b);
        SIM_EQUAL(s, kept(s)->n_tokens, 1);
    }
    served(c, b, "192.0.2.1:81", &to_b);
    refused(c, "192.0.2.1:81", 429);
    served(c, a, "192.0.2.1", &to_a);
    served(c, a, "192.0.2.1", &to_a);
    ask(c, "PUT", "192.0.2.1");
    peer_expect_status(c, 429);
}

/* By the name in the request, not by where it leads. */
static void hosts(struct sim *s)
{
    static const struct limit l = {.id = 1, .per = PER_HOST, .requests = 1, .burst = 3, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *by_name = NULL, *by_address = NULL;

    set_limits(s, &l, 1);
    for (unsigned i = 0; i < 3; i++)
        served(c, o, "one.test", &by_name);
    SIM_EXPECT(s, ready(s));
    served(c, o, "192.0.2.1", &by_address);
    refused(c, "one.test", 429);
    served(c, o, "192.0.2.1", &by_address);
    served(c, o, "192.0.2.1", &by_address);
    refused(c, "192.0.2.1", 429);
}

/* Each connection its own, also when the same limit was asked by many. */
static void connections(struct sim *s)
{
    static const struct limit l = {.id = 1, .per = PER_CONNECTION, .requests = 1, .burst = 4, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c[3], *up = NULL;

    set_limits(s, &l, 1);
    for (unsigned i = 0; i < ARRAY_LEN(c); i++)
        c[i] = sim_client(s);
    for (unsigned k = 0; k < 4; k++)
        for (unsigned i = 0; i < ARRAY_LEN(c); i++)
            served(c[i], o, "192.0.2.1", &up);
    for (unsigned i = 0; i < ARRAY_LEN(c); i++)
        refused(c[i], "192.0.2.1", 429);
}

/* A name with several addresses: which one it will be is not known before it is dialled, and a limit that wants to know is asked each time. */
static void addresses(struct sim *s)
{
    static struct ranges_v4 first = {.first = 0xc0000201, .last = 0xc0000201};
    static const struct matcher where = {.has_to = true, .to = {.v4 = &first, .n4 = 1}};
    static const struct limit l[] = {{.id = 1, .requests = 1, .burst = 9, .place = "f:1"},
                                     {.id = 2, .where = &where, .n_where = 1, .requests = 1, .burst = 5, .name = "there", .place = "f:2"}};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *by_name = NULL, *by_address = NULL;

    set_limits(s, l, 1);
    for (unsigned i = 0; i < 3; i++)
        served(c, o, "three.test", &by_name);
    SIM_EXPECT(s, ready(s));
    SIM_EQUAL(s, kept(s)->n_addrs, 3);
    SIM_EQUAL(s, kept(s)->n_tokens, 1);
    set_limits(s, l, 2);
    for (unsigned i = 0; i < 3; i++) {
        served(c, o, "three.test", &by_name);
        SIM_EXPECT(s, !ready(s));
    }
    /* A literal is its own address. */
    served(c, o, "192.0.2.1", &by_address);
    served(c, o, "192.0.2.1", &by_address);
    SIM_EXPECT(s, ready(s));
    SIM_EQUAL(s, kept(s)->n_tokens, 2);
    ask(c, "GET", "192.0.2.1");
    peer_expect_status(c, 429);
    peer_expect(c, "there allows");
    sim_run(s);
    c->got.at = c->got.n;
}

/* What a rule says of the time of day is asked about again every minute. */
static void minutes(struct sim *s)
{
    static struct matcher_time time;
    static const struct matcher where = {.times = &time, .n_times = 1}, everything = {.has_host = true, .any_host = true};
    static const struct rule rules[] = {{.kind = RULE_DENY, .where = &where, .n_where = 1, .place = "f:1"},
                                        {.kind = RULE_ALLOW, .where = &everything, .n_where = 1, .place = "f:2"}};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;
    uint16_t now = worker_minute(&s->worker) % 1440;

    /* Two minutes from now until four. */
    time = (struct matcher_time){.days = 127, .from = (uint16_t)((now + 2) % 1440), .to = (uint16_t)((now + 4) % 1440)};
    s->policy.has_rules = true;
    s->policy.rules = rules;
    s->policy.n_rules = 2;
    s->snap.generation++;
    for (unsigned i = 0; i < 4; i++)
        served(c, o, "192.0.2.1", &up);
    SIM_EXPECT(s, ready(s));
    s->wall_shift_ms = 3 * 60000;
    sim_advance(s, 1);
    refused(c, "192.0.2.1", 403);
    refused(c, "192.0.2.1", 403);
    refused(c, "192.0.2.1", 403);
    s->wall_shift_ms = 5 * 60000;
    sim_advance(s, 1);
    served(c, o, "192.0.2.1", &up);
}

/* ---- reload ---- */

struct edition {
    struct policy policy;
    struct snapshot snap;
};

/* Nothing of the old configuration is gone by, and nothing is held for it. */
static void reload(struct sim *s)
{
    static const struct limit l = {.id = 1, .requests = 1, .burst = 5, .place = "f:1"};
    static const struct matcher everything = {.has_host = true, .any_host = true};
    static const struct rule rules[] = {{.kind = RULE_DENY, .where = &everything, .n_where = 1, .place = "f:1"}};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;
    struct edition e;

    set_limits(s, &l, 1);
    e = (struct edition){.policy = s->policy, .snap = s->snap};
    memset(e.snap.uses, 0, sizeof(e.snap.uses));
    e.snap.policy = &e.policy;
    e.snap.generation++;
    e.policy.has_rules = true;
    e.policy.rules = rules;
    e.policy.n_rules = 1;
    for (unsigned i = 0; i < 3; i++)
        served(c, o, "192.0.2.1", &up);
    SIM_EQUAL(s, s->worker.kept.pins, 1);
    worker_use(&s->worker, &e.snap);
    SIM_EQUAL(s, s->worker.kept.pins, 0);
    refused(c, "192.0.2.1", 403);
    SIM_EXPECT(s, !ready(s));
    s->snap.generation = e.snap.generation + 1;
    worker_use(&s->worker, &s->snap);
    served(c, o, "192.0.2.1", &up);
    /* The count goes on. */
    refused(c, "192.0.2.1", 429);
    SIM_EXPECT(s, snapshot_unused(&e.snap));
}

/* One that comes while a request is under way: that one's answer is not kept either. */
static void reload_meanwhile(struct sim *s)
{
    static const struct limit l = {.id = 1, .requests = 1, .burst = 9, .bandwidth = 100000, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;
    struct snapshot next;

    set_limits(s, &l, 1);
    next = s->snap;
    memset(next.uses, 0, sizeof(next.uses));
    next.generation++;
    next.n_limits = 0;
    for (unsigned i = 0; i < 3; i++)
        served(c, o, "192.0.2.1", &up);
    ask(c, "GET", "192.0.2.1");
    peer_expect(up, "\r\n\r\n");
    worker_use(&s->worker, &next);
    peer_send(up, OK);
    answered(c);
    SIM_EXPECT(s, !ready(s));
    SIM_EQUAL(s, s->worker.kept.pins, 0);
    SIM_EQUAL(s, s->worker.charger.shape.n_lanes, 0);
    for (unsigned i = 0; i < 9; i++)
        served(c, o, "192.0.2.1", &up);
    s->snap.generation = next.generation + 1;
    worker_use(&s->worker, &s->snap);
    SIM_EXPECT(s, snapshot_unused(&next));
}

/* ---- bounds ---- */

/* However many connections there are, what rests holds so many buckets, and those who lost theirs are charged where they were. */
static void many(struct sim *s)
{
    enum { MANY = KEPT_PINS + 20 };
    static const struct limit l = {.id = 1, .per = PER_CONNECTION, .requests = 1, .burst = 4, .place = "f:1"};
    static struct peer *c[MANY];
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *up = NULL;

    s->sweep_as_live = true; /* looking at all of them in every turn takes minutes with sanitizers */
    set_limits(s, &l, 1);
    for (unsigned i = 0; i < MANY; i++)
        c[i] = sim_client(s);
    for (unsigned k = 0; k < 4; k++)
        for (unsigned i = 0; i < MANY; i++)
            served(c[i], o, "192.0.2.1", &up);
    SIM_EQUAL(s, s->worker.kept.pins, KEPT_PINS);
    SIM_EXPECT(s, ready(s));
    for (unsigned i = 0; i < MANY; i++)
        refused(c[i], "192.0.2.1", 429);
}

/* Limits beyond what is kept. */
static void too_much(struct sim *s)
{
    static struct limit l[KEPT_TOKENS + 1];
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;

    for (unsigned i = 0; i < ARRAY_LEN(l); i++)
        l[i] = (struct limit){.id = i + 1, .requests = 1, .burst = 4, .place = "f:1"};
    set_limits(s, l, ARRAY_LEN(l));
    for (unsigned i = 0; i < 4; i++) {
        served(c, o, "192.0.2.1", &up);
        SIM_EXPECT(s, !ready(s));
    }
    SIM_EQUAL(s, s->worker.kept.pins, 0);
    refused(c, "192.0.2.1", 429);
}

/* A connection that becomes a tunnel has no next request. */
static void tunnel(struct sim *s)
{
    static const struct limit l = {.id = 1, .requests = 1, .burst = 9, .bandwidth = 100000, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80"), *tls = origin_listen(s, "192.0.2.1:443");
    struct peer *c = sim_client(s), *up = NULL, *far;

    set_limits(s, &l, 1);
    for (unsigned i = 0; i < 3; i++)
        served(c, o, "192.0.2.1", &up);
    SIM_EXPECT(s, ready(s));
    peer_send(c, "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n");
    far = origin_accept(tls);
    peer_expect_status(c, 200);
    peer_send(c, "ping");
    peer_expect_all(far, "ping");
    SIM_EXPECT(s, !kept(s));
    SIM_EQUAL(s, s->worker.kept.pins, 0);
    SIM_EQUAL(s, s->worker.charger.shape.n_lanes, 1);
}

/* Who leaves in the middle leaves nothing behind. */
static void aborted(struct sim *s)
{
    static const struct limit l = {.id = 1, .requests = 1, .burst = 9, .bandwidth = 100000, .quota = 1000, .span = SPAN_DAY, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");

    set_limits(s, &l, 1);
    for (unsigned n = 1; n <= 3; n++) {
        struct peer *c = sim_client(s), *up = NULL;

        for (unsigned i = 1; i < n; i++)
            served(c, o, "192.0.2.1", &up);
        ask(c, "GET", "192.0.2.1");
        if (!up)
            up = origin_accept(o);
        peer_expect(up, "\r\n\r\n");
        peer_rst(c);
        sim_expect_sessions(s, 0);
        SIM_EQUAL(s, s->worker.kept.pins, 0);
        SIM_EQUAL(s, s->worker.charger.shape.n_lanes, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(made),        SIM_TEST(unsteady),  SIM_TEST(requests), SIM_TEST(pace), SIM_TEST(quota), SIM_TEST(upload),           SIM_TEST_BULK(bandwidth),
        SIM_TEST(some),        SIM_TEST(hosts),     SIM_TEST(connections), SIM_TEST(addresses), SIM_TEST(minutes), SIM_TEST(reload),      SIM_TEST(reload_meanwhile),
        SIM_TEST(many),        SIM_TEST(too_much),  SIM_TEST(aborted),     SIM_TEST(tunnel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
