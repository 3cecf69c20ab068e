/* SPDX-License-Identifier: MIT */
/* `limits` in virtual time: requests, pace, tunnels, bandwidth, quotas, caps, and what a reload leaves of them (S001-25, S002-10, U10). */
#include "sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { KB = 1024 };

#define GET         "GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
#define OK          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define CONNECT     "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n"
#define ESTABLISHED "HTTP/1.1 200 Connection established\r\n\r\n"

/* The worker knows them from now on, as from a new configuration; they must outlive the scenario. */
static void set_limits(struct sim *s, const struct limit *v, unsigned n)
{
    s->snap.generation++;
    s->snap.limits = v;
    s->snap.n_limits = n;
}

struct pair {
    struct peer *client, *origin;
};

static struct pair open_tunnel(struct sim *s, struct origin *o)
{
    struct pair t = {.client = sim_client(s)};

    peer_send(t.client, CONNECT);
    t.origin = origin_accept(o);
    peer_expect(t.client, ESTABLISHED);
    return t;
}

static void served(struct sim *s, struct peer *c, struct origin *o, struct peer **up)
{
    peer_send(c, GET);
    if (!*up)
        *up = origin_accept(o);
    peer_expect(*up, "\r\n\r\n");
    peer_send(*up, OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
    UNUSED(s);
}

static void refused(struct peer *c, const char *request, const char *retry, const char *detail)
{
    peer_send(c, request);
    peer_expect(c, "HTTP/1.1 429 Too Many Requests\r\n");
    peer_expect(c, "http_request_denied");
    if (retry)
        peer_expect(c, retry);
    if (detail)
        peer_expect(c, detail);
    peer_expect(c, "http_request_denied)");
    sim_run(c->sim);
    c->got.at = c->got.n;
}

/* ---- requests ---- */

/* S001-25: over the rate 429, with the seconds to wait. */
static void requests(struct sim *s)
{
    static const struct limit l = {.id = 1, .requests = 1, .burst = 2, .name = "few", .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;

    set_limits(s, &l, 1);
    served(s, c, o, &up);
    served(s, c, o, &up);
    refused(c, GET, "Retry-After: 1\r\n", "the limit few allows 1 requests a second");
    sim_expect_ends(s, END_LIMIT_REQUESTS, 1);
    sim_advance(s, 999);
    refused(c, GET, "Retry-After: 1\r\n", "few");
    sim_advance(s, 1);
    served(s, c, o, &up);
    refused(c, GET, NULL, NULL);
    sim_advance(s, 60000);
    if (up->end != PEER_OPEN)
        up = NULL;
    c = sim_client(s);
    served(s, c, o, &up);
    served(s, c, o, &up);
    refused(c, GET, NULL, NULL);
    origin_expect_no_more(o);
}

/* Each client has a bucket of its own; the addresses of an IPv6 /64 are one. */
static void per_client(struct sim *s)
{
    static const struct limit l = {.id = 1, .per = PER_CLIENT, .requests = 1, .burst = 1, .place = "f:1"};
    static const struct {
        const char *address;
        bool refused;
    } rows[] = {{"192.0.2.77:1", false}, {"192.0.2.77:2", true},          {"192.0.2.78:1", false},    {"[2001:db8::1]:1", false},
                {"[2001:db8::2]:1", true}, {"[2001:db8:0:1::2]:1", false}, {"[2001:db8::3]:9", true}, {"[::ffff:192.0.2.78]:5", true}};
    struct origin *o = origin_listen(s, "192.0.2.1:80");

    set_limits(s, &l, 1);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct peer *c = sim_client_from(s, rows[i].address), *up = NULL;

        if (rows[i].refused) {
            refused(c, GET, NULL, NULL);
        } else {
            peer_send(c, "GET http://192.0.2.1/ HTTP/1.0\r\nHost: 192.0.2.1\r\n\r\n");
            up = origin_accept(o);
            peer_send(up, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
            peer_expect(c, "ok");
            peer_close(up);
        }
        peer_close(c);
    }
}

/* All that match must hold, and a request that one refuses has paid the other. */
static void all_must_hold(struct sim *s)
{
    static const struct limit l[] = {{.id = 1, .requests = 1, .burst = 3, .name = "wide", .place = "f:1"},
                                     {.id = 2, .requests = 1, .burst = 1, .name = "narrow", .place = "f:2"}};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;

    set_limits(s, l, 2);
    served(s, c, o, &up);
    refused(c, GET, NULL, "narrow");
    refused(c, GET, NULL, "narrow");
    refused(c, GET, NULL, "wide");
}

/* Instead of a refusal a wait, as long as the token needs. */
static void pace(struct sim *s)
{
    static const struct limit l = {.id = 1, .requests = 10, .burst = 1, .pace = true, .name = "few", .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;

    set_limits(s, &l, 1);
    served(s, c, o, &up);
    for (int i = 0; i < 5; i++) {
        uint64_t before = sim_ms(s);

        peer_send(c, GET);
        sim_advance(s, 99);
        SIM_EQUAL(s, up->got.n - up->got.at - peer_unused(up), 0);
        peer_expect_nothing(c);
        sim_advance(s, 2);
        peer_send(up, OK);
        peer_expect_status(c, 200);
        peer_expect_all(c, "ok");
        SIM_EXPECT(s, sim_ms(s) - before <= 102);
    }
    SIM_EXPECT(s, sim_count(s, COUNTER_LIMIT_WAIT_US) >= 400000);
}

/* Nobody waits longer than half a minute, and who has left waits no more. */
static void pace_has_bounds(struct sim *s)
{
    static const struct limit l = {.id = 1, .requests = 1, .burst = 1, .pace = true, .name = "few", .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c[32], *first = sim_client(s), *up = NULL;

    set_limits(s, &l, 1);
    served(s, first, o, &up);
    for (unsigned i = 0; i < ARRAY_LEN(c); i++) {
        c[i] = sim_client(s);
        peer_send(c[i], GET);
        sim_run(s);
    }
    peer_expect_status(c[30], 429);
    peer_expect_status(c[31], 429);
    for (unsigned i = 0; i < 30; i++)
        peer_rst(c[i]);
    sim_run(s);
    sim_expect_ends(s, END_CLIENT_GONE, 30);
    sim_expect_sessions(s, 3);
}

/* A stop does not wait for tokens. */
static void pace_and_drain(struct sim *s)
{
    static const struct limit l = {.id = 1, .requests = 1, .burst = 1, .pace = true, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *d = sim_client(s), *up = NULL;

    set_limits(s, &l, 1);
    served(s, c, o, &up);
    peer_send(c, GET);
    peer_send(d, GET);
    sim_run(s);
    worker_drain(&s->worker, 100);
    sim_advance(s, 200);
    peer_expect_status(c, 503);
    peer_expect_status(d, 503);
}

/* ---- tunnels ---- */

static void tunnels(struct sim *s)
{
    static const struct limit l = {.id = 1, .tunnels = 2, .name = "two", .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:443"), *web = origin_listen(s, "192.0.2.1:80");
    struct pair a, b;
    struct peer *c = sim_client(s), *up = NULL;

    set_limits(s, &l, 1);
    a = open_tunnel(s, o);
    b = open_tunnel(s, o);
    refused(c, CONNECT, "Retry-After: 1\r\n", "the limit two allows 2 tunnels at the same time");
    sim_expect_ends(s, END_LIMIT_TUNNELS, 1);
    c = sim_client(s);
    served(s, c, web, &up); /* no tunnel */
    peer_fin(a.client);
    peer_fin(a.origin);
    sim_run(s);
    a = open_tunnel(s, o);
    refused(sim_client(s), CONNECT, NULL, NULL);
    peer_rst(b.client);
    sim_run(s);
    b = open_tunnel(s, o);
    refused(sim_client(s), CONNECT, NULL, NULL);
}

/* ---- bandwidth ---- */

/* What comes through keeps to the rate in every second, and nothing is lost (U10, S002-10). Both directions together. */
static void bandwidth_tunnel(struct sim *s)
{
    static const struct limit l = {.id = 1, .bandwidth = 100 * KB, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct pair t;
    size_t got = 0;

    set_limits(s, &l, 1);
    t = open_tunnel(s, o);
    peer_send_pattern(t.origin, 500 * KB);
    for (unsigned i = 1; i <= 4; i++) {
        sim_advance(s, 1000);
        got = peer_unused(t.client);
        SIM_EXPECT(s, got <= (100 * i + 10) * KB + 1 && got >= (100 * i - 10) * KB);
    }
    sim_advance(s, 1200);
    peer_expect_pattern(t.client, 500 * KB);
    /* Nothing is held when nothing moves: the whole depth is there for a small message. */
    sim_advance(s, 1000);
    peer_send(t.client, "ping");
    peer_expect_all(t.origin, "ping");
    SIM_EXPECT(s, list_empty(&s->worker.charger.shape.busy));
}

/* Each direction has its own. */
static void bandwidth_directions(struct sim *s)
{
    static const struct limit l = {.id = 1, .bandwidth_up = 20 * KB, .bandwidth_down = 80 * KB, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct pair t;
    size_t up, down;

    set_limits(s, &l, 1);
    t = open_tunnel(s, o);
    peer_send_pattern(t.origin, 200 * KB);
    peer_send_pattern(t.client, 50 * KB);
    sim_advance(s, 2000);
    up = peer_unused(t.origin), down = peer_unused(t.client);
    SIM_EXPECT(s, up >= 38 * KB && up <= 43 * KB);
    SIM_EXPECT(s, down >= 152 * KB && down <= 169 * KB);
    sim_advance(s, 1000);
    peer_expect_pattern(t.origin, 50 * KB);
    peer_expect_pattern(t.client, 200 * KB);
}

/* A message, down and up, on plain HTTP. Deadlines do not run while it is us who make it wait. */
static void bandwidth_message(struct sim *s)
{
    static const struct limit l = {.id = 1, .bandwidth = 10 * KB, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;
    uint64_t before;

    s->conf.timeouts.idle = 40;
    s->conf.timeouts.response = 1200;
    s->conf.timeouts.body_rate = 1000000;
    set_limits(s, &l, 1);
    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 40960\r\n\r\n");
    peer_send_pattern(up, 40 * KB);
    before = sim_ms(s);
    while (c->pattern_in < 40 * KB && sim_ms(s) - before < 10000) {
        sim_advance(s, 10);
        if (c->got.at == 0)
            peer_expect(c, "\r\n\r\n");
        c->got.at += peer_pattern_match(c->got.p + c->got.at, c->got.n - c->got.at, &c->pattern_in);
    }
    SIM_EQUAL(s, c->pattern_in, 40 * KB);
    SIM_EXPECT(s, sim_ms(s) - before >= 3800 && sim_ms(s) - before <= 4200);
    sim_expect_ends(s, END_DONE, 1);
    peer_sendf(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: %d\r\n\r\n", 20 * KB);
    peer_send_pattern(c, 20 * KB);
    peer_expect(up, "\r\n\r\n");
    peer_expect(up, "\r\n\r\n");
    sim_advance(s, 1000);
    SIM_EXPECT(s, peer_unused(up) <= 12 * KB);
    sim_advance(s, 1100);
    peer_expect_pattern(up, 20 * KB);
    peer_send(up, OK);
    peer_expect(c, "ok");
    sim_expect_ends(s, END_DONE, 2);
}

/* Several buckets: it must get all. */
static void bandwidth_all(struct sim *s)
{
    static const struct limit l[] = {{.id = 1, .bandwidth = 400 * KB, .place = "f:1"},
                                     {.id = 2, .per = PER_CONNECTION, .bandwidth = 50 * KB, .place = "f:2"}};
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct pair t[2];

    set_limits(s, l, 2);
    for (unsigned i = 0; i < 2; i++) {
        t[i] = open_tunnel(s, o);
        peer_send_pattern(t[i].origin, 100 * KB);
    }
    sim_advance(s, 1000);
    for (unsigned i = 0; i < 2; i++)
        SIM_EXPECT(s, peer_unused(t[i].client) >= 45 * KB && peer_unused(t[i].client) <= 56 * KB);
    sim_advance(s, 1200);
    for (unsigned i = 0; i < 2; i++)
        peer_expect_pattern(t[i].client, 100 * KB);
}

/* 64 tunnels share one bucket: none gets less than four fifths of what another gets, and all together the rate. */
static void fair(struct sim *s)
{
    enum { N = 64, RATE = 1024 * KB, SECONDS = 5 };
    static const struct limit l = {.id = 1, .bandwidth = RATE, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct pair t[N];
    size_t least = SIZE_MAX, most = 0, all = 0;

    set_limits(s, &l, 1);
    for (unsigned i = 0; i < N; i++)
        t[i] = open_tunnel(s, o);
    for (unsigned i = 0; i < N; i++)
        peer_send_pattern(t[i].origin, 2 * RATE * SECONDS / N);
    sim_advance(s, SECONDS * 1000);
    for (unsigned i = 0; i < N; i++) {
        size_t n = peer_unused(t[i].client);

        least = n < least ? n : least;
        most = n > most ? n : most;
        all += n;
    }
    /* Windows of a hundred bytes do not fill the rate: there it is the sinks that make the difference, of a chunk at most. */
    if (least * 10 < most * (s->mode > SIM_BYTES ? 5 : 8))
        sim_fail(s, "the slowest of %d got %zu bytes, the fastest %zu, all %zu", N, least, most, all);
    SIM_EXPECT(s, all <= (size_t)RATE * SECONDS * 105 / 100);
    SIM_EXPECT(s, s->mode > SIM_BYTES || all >= (size_t)RATE * SECONDS * 95 / 100);
    for (unsigned i = 0; i < N; i++) {
        peer_rst(t[i].client);
        peer_rst(t[i].origin);
    }
}

/* A FIN passes a limit as everything does, behind the bytes; a tunnel that waits for its turn ends when its peer resets. */
static void bandwidth_ends(struct sim *s)
{
    static const struct limit l = {.id = 1, .bandwidth = 10 * KB, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct pair t;

    set_limits(s, &l, 1);
    t = open_tunnel(s, o);
    peer_send_pattern(t.origin, 10 * KB);
    peer_fin(t.origin);
    peer_fin(t.client);
    sim_advance(s, 1500);
    peer_expect_pattern(t.client, 10 * KB);
    peer_expect_end(t.client, PEER_FIN);
    sim_expect_ends(s, END_TUNNEL_DONE, 1);
    t = open_tunnel(s, o);
    peer_send_pattern(t.origin, 100 * KB);
    sim_advance(s, 1000);
    peer_rst(t.client);
    sim_advance(s, 1500);
    sim_expect_ends(s, END_CLIENT_RESET, 1);
}

/* ---- quotas ---- */

/* What runs ends within a second, the quiet too; what comes gets 429 until the span is over; then it goes on. */
static void quota(struct sim *s)
{
    static const struct limit l = {.id = 1, .quota = 20 * KB, .span = SPAN_HOUR, .name = "little", .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct pair t, quiet;

    set_limits(s, &l, 1);
    t = open_tunnel(s, o);
    quiet = open_tunnel(s, o);
    peer_send(quiet.client, "ping");
    peer_expect_all(quiet.origin, "ping");
    peer_send_pattern(t.client, 10 * KB);
    peer_expect_pattern(t.origin, 10 * KB);
    peer_send_pattern(t.origin, 20 * KB);
    sim_expect_end_within(s, t.client, PEER_RST, 0, 1000);
    peer_expect_end(t.origin, PEER_RST);
    sim_expect_end_within(s, quiet.client, PEER_RST, 0, 1000);
    sim_expect_ends(s, END_QUOTA, 2);
    refused(sim_client(s), CONNECT, "Retry-After: ", "the limit little allows 20480 bytes an hour");
    sim_advance(s, 3600 * 1000);
    t = open_tunnel(s, o);
    peer_send(t.client, "ping");
    peer_expect_all(t.origin, "ping");
}

/* A message of a used-up quota never looks complete. */
static void quota_message(struct sim *s)
{
    static const struct limit l = {.id = 1, .quota = 20 * KB, .span = SPAN_DAY, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    set_limits(s, &l, 1);
    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na000\r\n");
    peer_send_pattern(up, 40 * KB);
    peer_send(up, "\r\n0\r\n\r\n");
    peer_expect_end(c, PEER_RST);
    peer_expect_never(c, "\r\n0\r\n\r\n");
    sim_expect_ends(s, END_QUOTA, 1);
}

static void quota_slow(struct sim *s)
{
    static const struct limit l = {.id = 1, .quota = 20 * KB, .span = SPAN_DAY, .slow = true, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct pair t;
    uint64_t before;

    set_limits(s, &l, 1);
    t = open_tunnel(s, o);
    peer_send_pattern(t.origin, 20 * KB);
    peer_expect_pattern(t.client, 20 * KB);
    before = sim_ms(s);
    peer_send_pattern(t.origin, 128 * KB);
    sim_advance(s, 1000);
    /* A piece may have been on its way as the quota ran out. */
    SIM_EXPECT(s, peer_unused(t.client) >= 60 * KB && peer_unused(t.client) <= (64 + 7 + 16 * 4) * KB);
    sim_advance(s, 1500);
    peer_expect_pattern(t.client, 128 * KB);
    SIM_EXPECT(s, sim_ms(s) - before >= 1000);
    t = open_tunnel(s, o);
    peer_send(t.client, "ping");
    sim_advance(s, 100);
    peer_expect_all(t.origin, "ping");
}

/* The clock goes back: what is used stays used. */
static void quota_clock(struct sim *s)
{
    static const struct limit l = {.id = 1, .quota = 10, .span = SPAN_DAY, .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct pair t;

    set_limits(s, &l, 1);
    t = open_tunnel(s, o);
    peer_send(t.client, "0123456789");
    peer_expect_all(t.origin, "0123456789");
    s->wall_shift_ms = -3 * 86400 * (int64_t)1000;
    sim_advance(s, 10);
    refused(sim_client(s), CONNECT, NULL, NULL);
}

/* ---- caps ---- */

static void caps(struct sim *s)
{
    static const struct limit l = {.id = 1, .upload = 1000, .download = 2000, .name = "small", .place = "f:1"};
    struct origin *o = origin_listen(s, "192.0.2.1:80"), *tls = origin_listen(s, "192.0.2.1:443");
    struct peer *c = sim_client(s), *up;
    struct pair t;

    set_limits(s, &l, 1);
    /* Announced: nothing is dialled. */
    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: 1001\r\n\r\n");
    peer_expect_status(c, 413);
    origin_expect_dials(o, 0);
    sim_expect_ends(s, END_UPLOAD_CAP, 1);
    c = sim_client(s);
    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 2001\r\n\r\n");
    peer_expect_status(c, 403);
    sim_expect_ends(s, END_DOWNLOAD_CAP, 1);
    /* Not announced: so much, then a cut. */
    c = sim_client(s);
    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n");
    peer_send_pattern(c, 1024);
    peer_expect_status(c, 413);
    sim_expect_ends(s, END_UPLOAD_CAP, 2);
    t = open_tunnel(s, tls);
    peer_send_pattern(t.client, 1000);
    peer_expect_pattern(t.origin, 1000);
    peer_send_pattern(t.origin, 2000);
    peer_expect_pattern(t.client, 2000);
    peer_expect_end(t.client, PEER_OPEN);
    peer_send(t.origin, "!");
    peer_expect_end(t.client, PEER_RST);
    sim_expect_ends(s, END_DOWNLOAD_CAP, 2);
}

/* ---- reload ---- */

/* Another snapshot, the same limit, be it written with other amounts: what was counted counts. */
static void reload(struct sim *s)
{
    static const struct limit before = {.id = 7, .requests = 1, .burst = 5, .tunnels = 1, .place = "f:1"};
    static const struct limit after = {.id = 7, .requests = 1, .burst = 4, .tunnels = 1, .place = "f:9"}, other = {.id = 8, .requests = 1, .burst = 1, .place = "f:9"};
    struct origin *o = origin_listen(s, "192.0.2.1:443"), *web = origin_listen(s, "192.0.2.1:80");
    struct pair t;
    struct peer *c = sim_client(s), *up = NULL;

    set_limits(s, &before, 1);
    t = open_tunnel(s, o);
    served(s, c, web, &up);
    served(s, c, web, &up);
    set_limits(s, &after, 1);
    refused(sim_client(s), CONNECT, NULL, "tunnels");
    refused(c, GET, NULL, "requests");
    set_limits(s, &other, 1);
    served(s, c, web, &up);
    refused(c, GET, NULL, "requests");
    set_limits(s, NULL, 0);
    served(s, c, web, &up);
    peer_send(t.client, "ping");
    peer_expect_all(t.origin, "ping");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(requests),          SIM_TEST(per_client),        SIM_TEST(all_must_hold),    SIM_TEST(pace),
        SIM_TEST(pace_has_bounds),   SIM_TEST(pace_and_drain),    SIM_TEST(tunnels),          SIM_TEST_BULK(bandwidth_tunnel),
        SIM_TEST_BULK(bandwidth_directions), SIM_TEST_BULK(bandwidth_message), SIM_TEST_BULK(bandwidth_all), SIM_TEST_BULK(fair),
        SIM_TEST_BULK(bandwidth_ends), SIM_TEST_BULK(quota),      SIM_TEST_BULK(quota_message), SIM_TEST_BULK(quota_slow),
        SIM_TEST(quota_clock),       SIM_TEST(caps),              SIM_TEST(reload),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
