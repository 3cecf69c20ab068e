/* SPDX-License-Identifier: MIT */
/* Clients that send slowly: heads have a deadline that no byte moves, contents a least rate. */
#include "proxy/pace.h"
#include "sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { KB = 1024, RATE = 1000 };

#define GET "GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
#define OK  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* ---- heads ---- */

/* A byte a second for as long as it is let; the seconds until the answer. */
static unsigned drip_head(struct sim *s, struct peer *c)
{
    static const char head[] = "GET http://192.0.2.1/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    unsigned i;

    for (i = 0; i < sizeof(head) - 1 && !peer_unused(c); i++) {
        peer_send_n(c, &head[i], 1);
        sim_advance(s, 1000);
    }
    return i;
}

/* On a connection that is kept, the deadline is the same: from the first byte of the second head. */
static void head_after_another(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s);
    unsigned seconds;

    peer_send(c, GET);
    peer_send(origin_accept(o), OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
    sim_advance(s, 20000);
    seconds = drip_head(s, c);
    SIM_EXPECT(s, seconds >= 30 && seconds <= 32);
    peer_expect_refusal(c, 408, "http_request_error");
    sim_expect_ends(s, END_REQUEST_TIMEOUT, 1);
}

/* Its first bytes came with the request before: the deadline runs from the moment at which it is its turn. */
static void pipelined_head(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s);
    unsigned seconds;

    peer_send(c, GET "GET http://192.0.2.1/");
    sim_advance(s, 5000);
    peer_send(origin_accept(o), OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
    for (seconds = 0; seconds < 60 && !peer_unused(c); seconds++) {
        peer_send(c, "a");
        sim_advance(s, 1000);
    }
    SIM_EXPECT(s, seconds >= 30 && seconds <= 32);
    peer_expect_refusal(c, 408, "http_request_error");
}

/* Fields that never end: bounded by the same deadline, long before their number is. */
static void field_now_and_then(struct sim *s)
{
    struct peer *c = sim_client(s);
    unsigned seconds;

    peer_send(c, "GET http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\n");
    for (seconds = 0; seconds < 60 && !peer_unused(c); seconds++) {
        peer_sendf(c, "X-a: %u\r\n", seconds);
        sim_advance(s, 1000);
    }
    SIM_EXPECT(s, seconds >= 30 && seconds <= 32);
    peer_expect_refusal(c, 408, "http_request_error");
    peer_fin(c);
    sim_expect_sessions(s, 0);
}

/* Empty lines are no request, and do not keep a connection either: not a new one, and not one between two requests. */
static void empty_lines(struct sim *s)
{
    struct peer *c = sim_client(s);
    unsigned seconds;

    for (seconds = 0; seconds < 200 && c->end == PEER_OPEN; seconds += 10) {
        if (seconds < 60)
            peer_send(c, "\r\n");
        sim_advance(s, 10000);
    }
    SIM_EXPECT(s, seconds <= 80);
    sim_expect_sessions(s, 0);
}

/* ---- contents ---- */

static struct peer *post(struct sim *s, struct peer *c, struct origin *o, unsigned length)
{
    struct peer *up;

    peer_sendf(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: %u\r\n\r\n", length);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    UNUSED(s);
    return up;
}

/* Too slow, but never silent: `idle` would let it go on for ever. */
static void too_slow(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    s->conf.timeouts.body_rate = RATE;
    up = post(s, c, o, 100 * KB);
    for (int i = 0; i < 9; i++) {
        peer_send_pattern(c, RATE / 2);
        sim_advance(s, 1000);
    }
    peer_expect_nothing(c);
    peer_send_pattern(c, RATE / 2);
    sim_advance(s, 1500);
    peer_expect_refusal(c, 408, "http_request_error");
    peer_expect_end(c, PEER_FIN);
    peer_expect_end(up, PEER_RST);
    sim_expect_ends(s, END_REQUEST_TIMEOUT, 1);
}

/* The same without the key. */
static void no_rate_asked(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = post(s, c, o, 60);

    for (int i = 0; i < 60; i++) {
        peer_send(c, "x");
        sim_advance(s, 1000);
    }
    peer_send(up, OK);
    peer_expect_status(c, 200);
}

/* Exactly fast enough, for a minute, in pieces and in bursts. */
static void fast_enough(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    s->conf.timeouts.body_rate = RATE;
    up = post(s, c, o, 66 * RATE);
    peer_send_pattern(c, RATE);
    for (int i = 0; i < 30; i++) {
        sim_advance(s, 1000);
        peer_send_pattern(c, RATE + RATE / 30); /* the timer may be late by so much */
    }
    sim_run(s);
    while (up->pattern_in + peer_unused(up) < 66 * RATE && sim_ms(s) < 100000) {
        size_t left = 66 * RATE - (size_t)c->pattern_out;

        peer_send_pattern(c, left < 11 * RATE ? left : 11 * RATE);
        sim_advance(s, 9000);
    }
    peer_expect_pattern(up, 66 * RATE);
    peer_send(up, OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
}

/* The origin takes nothing: that is not the client's doing, and its clock stands. */
static void origin_is_slow(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    s->conf.timeouts.body_rate = RATE;
    s->conf.timeouts.response = 600000;
    up = post(s, c, o, 300 * KB);
    peer_stop(up);
    peer_send_pattern(c, 300 * KB);
    sim_advance(s, 120000);
    peer_expect_nothing(c);
    peer_expect_end(c, PEER_OPEN);
    peer_read(up);
    peer_expect_pattern(up, 300 * KB);
    peer_send(up, OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
}

/* Chunks: what counts is content; trickled framing is none. */
static void chunk_framing(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;
    unsigned seconds;

    s->conf.timeouts.body_rate = 10;
    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;");
    up = origin_accept(o);
    for (seconds = 0; seconds < 60 && !peer_unused(c); seconds++) {
        peer_send(c, "x");
        sim_advance(s, 1000);
    }
    SIM_EXPECT(s, seconds >= 10 && seconds <= 12);
    peer_expect_refusal(c, 408, "http_request_error");
    peer_expect_end(up, PEER_RST);
}

/* A client that waits for 100 is not slow. */
static void waits_for_continue(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    s->conf.timeouts.body_rate = RATE;
    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    sim_advance(s, 3 * PACE_WINDOW_MS);
    peer_send(up, "HTTP/1.1 100 Continue\r\n\r\n");
    peer_expect_status(c, 100);
    peer_send(c, "hello");
    peer_expect_all(up, "hello");
    peer_send(up, OK);
    peer_expect_status(c, 200);
}

/* An answer has begun: there is no status left, so the connection is reset. */
static void answered_already(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    s->conf.timeouts.body_rate = RATE;
    up = post(s, c, o, 100 * KB);
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    peer_expect_status(c, 200);
    for (int i = 0; i < 12; i++) {
        peer_send(c, "x");
        peer_send(up, "y");
        sim_advance(s, 1000);
    }
    peer_expect_end(c, PEER_RST);
    peer_expect_end(up, PEER_RST);
    sim_expect_ends(s, END_REQUEST_TIMEOUT, 1);
}

/* A request without content, and tunnels, have no rate. */
static void nothing_to_upload(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80"), *t = origin_listen(s, "192.0.2.1:443");
    struct peer *c = sim_client(s), *d = sim_client(s), *up;

    s->conf.timeouts.body_rate = RATE;
    peer_send(d, "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n");
    peer_expect_status(d, 200);
    peer_send(c, GET);
    up = origin_accept(o);
    sim_advance(s, 3 * PACE_WINDOW_MS);
    peer_send(up, OK);
    peer_expect_status(c, 200);
    peer_send(d, "x");
    peer_expect_all(origin_accept(t), "x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(head_after_another), SIM_TEST(pipelined_head),       SIM_TEST(field_now_and_then),
        SIM_TEST(empty_lines),        SIM_TEST_BULK(too_slow),        SIM_TEST(no_rate_asked),
        SIM_TEST_BULK(fast_enough),   SIM_TEST_BULK(origin_is_slow),  SIM_TEST(chunk_framing),
        SIM_TEST(waits_for_continue), SIM_TEST_BULK(answered_already), SIM_TEST(nothing_to_upload),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
