/* SPDX-License-Identifier: MIT */
/* Peers that fall silent or stop reading, at every step of a request's life: each wait has a
 * deadline, each deadline says what it was, and memory is bounded meanwhile (DESIGN 4 and 8.4). */
#include "sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { KB = 1024 };

#define GET "GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
#define OK  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* The wheel is late by less than 1/31 (base/wheel.h). */
static void pass(struct sim *s, uint64_t deadline_ms, struct peer *p)
{
    sim_advance(s, deadline_ms - 1000);
    peer_expect_nothing(p);
    peer_expect_end(p, PEER_OPEN);
    sim_advance(s, 1000 + deadline_ms / 30 + 1);
}

/* ---- the client ---- */

/* Not a byte: closed without a word, at the head's deadline. */
static void silent_client(struct sim *s)
{
    struct peer *c = sim_client(s);

    pass(s, s->conf.timeouts.head, c);
    peer_expect_nothing(c);
    peer_expect_end(c, PEER_FIN);
    sim_expect_sessions(s, 0);
    SIM_EQUAL(s, sim_count(s, COUNTER_EXCHANGES), 0);
}

/* S000-6, and no slower than this: 408. */
static void client_stalls_in_head(struct sim *s)
{
    struct peer *c = sim_client(s);

    peer_send(c, "GET http://192.0.2.1/ HTTP/1.1\r\nHo");
    pass(s, s->conf.timeouts.head, c);
    peer_expect_refusal(c, 408, "http_request_error");
    peer_expect_end(c, PEER_FIN);
    sim_expect_ends(s, END_REQUEST_TIMEOUT, 1);
    peer_fin(c);
    sim_expect_sessions(s, 0);
}

/* A byte now and then does not help: the deadline is for the whole head. */
static void client_drips_its_head(struct sim *s)
{
    static const char head[] = "GET http://192.0.2.1/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n";
    struct peer *c = sim_client(s);

    for (size_t i = 0; i < 29; i++) {
        peer_send_n(c, &head[i], 1);
        sim_advance(s, 1000);
    }
    peer_expect_end(c, PEER_OPEN);
    peer_send(c, "x");
    sim_advance(s, 3000);
    peer_expect_refusal(c, 408, "http_request_error");
}

/* Between two requests the keep-alive deadline runs, and empty lines do not stop it (RFC 9112 2.2).
 */
static void client_idles(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
    sim_advance(s, s->conf.timeouts.keepalive / 2);
    peer_send(c, "\r\n");
    sim_advance(s, s->conf.timeouts.keepalive / 2 - 1000);
    peer_expect_end(c, PEER_OPEN);
    sim_advance(s, 4000);
    peer_expect_end(c, PEER_FIN);
    peer_expect_nothing(c);
    sim_expect_sessions(s, 0);
    SIM_EQUAL(s, sim_count(s, COUNTER_EXCHANGES), 1);
}

/* ... and begins anew with each answer. */
static void client_comes_back(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s);

    for (int i = 0; i < 4; i++) {
        struct peer *up;

        peer_send(c, GET);
        up = origin_accept(o);
        peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        peer_expect_status(c, 200);
        peer_expect_all(c, "ok");
        sim_advance(s, s->conf.timeouts.keepalive - 2000);
    }
    peer_expect_end(c, PEER_OPEN);
}

/* 408 in the upload; the origin must not take what it has for all. */
static void client_stalls_in_body(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n3\r\nabc\r\n");
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_expect_chunked(up, "abc");
    pass(s, s->conf.timeouts.idle, c);
    peer_expect_refusal(c, 408, "http_request_error");
    peer_expect_end(c, PEER_FIN);
    peer_expect_end(up, PEER_RST);
    peer_expect_never(up, "0\r\n\r\n");
    sim_expect_ends(s, END_REQUEST_TIMEOUT, 1);
}

/* Slow is not silent. */
static void client_drips_its_body(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    for (int i = 0; i < 10; i++) {
        sim_advance(s, s->conf.timeouts.idle - 2000);
        peer_send(c, "x");
        peer_expect_all(up, "x");
    }
    peer_send(up, OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
}

/* The client asked for 100 and waits: it is the origin that is silent, 504. */
static void nobody_continues(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nExpect: "
                 "100-continue\r\nContent-Length: 5\r\n\r\n");
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    pass(s, s->conf.timeouts.response, c);
    peer_expect_refusal(c, 504, "http_response_timeout");
    peer_expect_end(c, PEER_FIN);
    peer_expect_end(up, PEER_RST);
}

/* ---- resolver and connect ---- */

/* S003-5: there is no network to ask. What a silent server does is the resolver's own tests' to
 * say. */
static void name_without_an_answer(struct sim *s)
{
    struct peer *c = sim_client(s);

    peer_send(c, "GET http://nowhere.test/ HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_expect_refusal(c, 502, "dns_error");
    sim_expect_ends(s, END_DNS_ERROR, 1);
    peer_expect_end(c, PEER_OPEN);
}

/* S003-6 */
static void connect_stalls(struct sim *s)
{
    struct origin *o = origin_blackhole(s, "192.0.2.1:80");
    struct peer *c = sim_client(s);

    peer_send(c, GET);
    pass(s, s->conf.timeouts.connect, c);
    peer_expect_refusal(c, 504, "connection_timeout");
    peer_expect_end(c, PEER_OPEN);
    origin_expect_dials(o, 1);
    sim_expect_ends(s, END_CONNECT_TIMEOUT, 1);
}

static void connect_stalls_for_a_tunnel(struct sim *s)
{
    struct peer *c = sim_client(s);

    origin_blackhole(s, "192.0.2.1:443");
    peer_send(c, "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    pass(s, s->conf.timeouts.connect, c);
    peer_expect_refusal(c, 504, "connection_timeout");
    peer_expect_end(c, PEER_FIN);
}

static void client_leaves_the_dial(struct sim *s)
{
    struct origin *o = origin_blackhole(s, "192.0.2.1:80");
    struct peer *c = sim_client(s);

    peer_send(c, GET);
    sim_advance(s, 1000);
    peer_rst(c);
    sim_run(s);
    sim_expect_ends(s, END_CLIENT_RESET, 1);
    sim_expect_sessions(s, 0);
    SIM_EQUAL(s, s->n_conns, 0);
    origin_expect_dials(o, 1);
}

/* ---- the origin ---- */

static void origin_silent(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    pass(s, s->conf.timeouts.response, c);
    peer_expect_refusal(c, 504, "http_response_timeout");
    peer_expect_end(up, PEER_RST);
    sim_expect_ends(s, END_UPSTREAM_TIMEOUT, 1);
    peer_expect_end(c, PEER_OPEN);
    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, OK);
    peer_expect_status(c, 200);
}

static void origin_stalls_in_head(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "HTTP/1.1 200 OK\r\nConte");
    pass(s, s->conf.timeouts.response, c);
    peer_expect_refusal(c, 504, "http_response_timeout");
    peer_expect_end(up, PEER_RST);
}

/* An interim answer of the upload's time does not count: the deadline runs from its end. */
static void response_deadline_after_upload(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    up = origin_accept(o);
    for (int i = 0; i < 10; i++) {
        sim_advance(s, s->conf.timeouts.idle - 2000);
        peer_send(c, "x");
    }
    pass(s, s->conf.timeouts.response, c);
    peer_expect_refusal(c, 504, "http_response_timeout");
    peer_expect_end(up, PEER_RST);
}

/* C48: never a clean end. */
static void origin_stalls(struct sim *s, const char *head, const char *content, bool chunked)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, head);
    peer_send(up, content);
    peer_expect_status(c, 200);
    if (chunked)
        peer_expect_chunked(c, "abc");
    else
        peer_expect_all(c, "abc");
    sim_advance(s, s->conf.timeouts.idle - 1000);
    peer_expect_end(c, PEER_OPEN);
    sim_advance(s, 3000);
    peer_expect_end(c, PEER_RST);
    peer_expect_end(up, PEER_RST);
    peer_expect_never(c, "0\r\n\r\n");
    sim_expect_ends(s, END_IDLE_TIMEOUT, 1);
    sim_expect_sessions(s, 0);
}

static void origin_stalls_in_sized(struct sim *s)
{
    origin_stalls(s, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "abc", false);
}

static void origin_stalls_in_chunked(struct sim *s)
{
    origin_stalls(s, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n", true);
}

static void origin_stalls_until_close(struct sim *s)
{
    origin_stalls(s, "HTTP/1.1 200 OK\r\n\r\n", "abc", true);
}

/* U18: a stream that drips is passed on as it drips. */
static void origin_drips(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    peer_expect_status(c, 200);
    for (int i = 0; i < 10; i++) {
        sim_advance(s, s->conf.timeouts.idle - 2000);
        peer_send(up, "3\r\nabc\r\n");
        peer_expect_chunked(c, "abc");
        peer_expect_nothing(c);
    }
    peer_send(up, "0\r\n\r\n");
    peer_expect_all(c, "0\r\n\r\n");
    peer_expect_end(c, PEER_OPEN);
}

/* It does not read the request: what is taken from the client is bounded. */
static void origin_does_not_read(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_sendf(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
               2000 * KB);
    up = origin_accept(o);
    peer_stop(up);
    peer_send_pattern(c, 2000 * KB);
    sim_advance(s, 1000);
    SIM_EXPECT(s, c->taken < SIM_ROOM + 64 * KB);
    SIM_EXPECT(s, sim_buffered(s) <= 3 * 17 * KB);
    sim_advance(s, s->conf.timeouts.response + 3000);
    peer_expect(c, "HTTP/1.1 504 ");
    peer_expect_end(up, PEER_RST);
}

/* ---- clients that do not read ---- */

/* FAILURES 22: what is taken from the origin is bounded; after the idle deadline both are cut. */
static void client_does_not_read(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    peer_stop(c);
    up = origin_accept(o);
    peer_sendf(up, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 2000 * KB);
    peer_send_pattern(up, 2000 * KB);
    sim_advance(s, 1000);
    SIM_EXPECT(s, up->taken < SIM_ROOM + 64 * KB);
    SIM_EXPECT(s, sim_buffered(s) <= 3 * 17 * KB);
    sim_advance(s, s->conf.timeouts.idle + 3000);
    peer_expect_end(up, PEER_RST);
    peer_read(c);
    sim_advance(s, 2000);
    peer_expect_end(c, PEER_RST);
    sim_expect_ends(s, END_IDLE_TIMEOUT, 1);
}

/* Slow, but it does read: nothing is lost. */
static void client_reads_slowly(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    c->room = 4 * KB;
    peer_send(c, GET);
    up = origin_accept(o);
    peer_sendf(up, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 100 * KB);
    peer_send_pattern(up, 100 * KB);
    for (int i = 0; i < 40; i++) {
        peer_read_some(c, 20 * KB / 10);
        sim_advance(s, s->conf.timeouts.idle / 2);
    }
    peer_read(c);
    peer_expect_status(c, 200);
    peer_expect_pattern(c, 100 * KB);
    peer_expect_end(c, PEER_OPEN);
}

/* The whole answer is written, but the client takes none of it: bounded by the idle deadline, then
 * a cut. */
static void client_does_not_read_the_end(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    c->room = 10;
    peer_send(c, GET);
    peer_stop(c);
    up = origin_accept(o);
    peer_send(up, OK);
    sim_advance(s, s->conf.timeouts.idle - 1000);
    SIM_EQUAL(s, s->worker.load, 1);
    sim_advance(s, 4000);
    sim_expect_sessions(s, 0);
    SIM_EQUAL(s, sim_buffered(s), 0);
    peer_read(c);
    sim_advance(s, 1000);
    peer_expect_end(c, PEER_RST);
}

/* The same with a refusal: 400 into a full window. */
static void client_does_not_read_a_refusal(struct sim *s)
{
    struct peer *c = sim_client(s);

    c->room = 10;
    peer_stop(c);
    peer_send(c, "nonsense\r\n\r\n");
    sim_advance(s, 2 * s->conf.timeouts.idle + 5000);
    sim_expect_sessions(s, 0);
}

/* ---- lingering ---- */

/* C52: after the last answer what still comes is read and dropped: two seconds of silence end it.
 */
static void linger(struct sim *s)
{
    struct peer *c = sim_client(s);

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost : a\r\nContent-Length: 1000000\r\n\r\n");
    peer_expect_refusal(c, 400, "http_request_error");
    peer_expect_end(c, PEER_FIN);
    for (int i = 0; i < 5; i++) {
        peer_send_pattern(c, 10 * KB);
        sim_advance(s, 1500);
    }
    sim_expect_sessions(s, 1);
    peer_expect_end(c, PEER_FIN); /* not late */
    sim_advance(s, 700);
    sim_expect_sessions(s, 0);
}

/* Thirty seconds in all. */
static void linger_for_long(struct sim *s)
{
    struct peer *c = sim_client(s);

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost : a\r\nContent-Length: 1000000\r\n\r\n");
    peer_expect_refusal(c, 400, "http_request_error");
    for (int i = 0; i < 29; i++) {
        peer_send_pattern(c, 100);
        sim_advance(s, 1000);
    }
    sim_expect_sessions(s, 1);
    for (int i = 0; i < 3; i++) {
        peer_send_pattern(c, 100);
        sim_advance(s, 1000);
    }
    sim_expect_sessions(s, 0);
}

/* The client's own end is enough. */
static void linger_until_fin(struct sim *s)
{
    struct peer *c = sim_client(s);

    peer_send(c, "nonsense\r\n\r\n");
    peer_expect_refusal(c, 400, "http_request_error");
    sim_expect_sessions(s, 1);
    peer_fin(c);
    sim_expect_sessions(s, 0);
}

static void linger_until_rst(struct sim *s)
{
    struct peer *c = sim_client(s);

    peer_send(c, "nonsense\r\n\r\n");
    peer_expect_refusal(c, 400, "http_request_error");
    peer_send(c, "more");
    peer_rst(c);
    sim_expect_sessions(s, 0);
}

/* A 1 GB upload must not keep the loop from others: its bytes are read in turns. */
static void linger_with_much(struct sim *s)
{
    struct peer *c = sim_client(s);

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost : a\r\nContent-Length: 1000000\r\n\r\n");
    peer_send_pattern(c, 3000 * KB);
    peer_expect_refusal(c, 400, "http_request_error");
    peer_expect_end(c, PEER_FIN);
    sim_advance(s, 2500);
    sim_expect_sessions(s, 0);
    SIM_EXPECT(s, !c->late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(silent_client),
        SIM_TEST(client_stalls_in_head),
        SIM_TEST(client_drips_its_head),
        SIM_TEST(client_idles),
        SIM_TEST(client_comes_back),
        SIM_TEST(client_stalls_in_body),
        SIM_TEST(client_drips_its_body),
        SIM_TEST(nobody_continues),
        SIM_TEST(name_without_an_answer),
        SIM_TEST(connect_stalls),
        SIM_TEST(connect_stalls_for_a_tunnel),
        SIM_TEST(client_leaves_the_dial),
        SIM_TEST(origin_silent),
        SIM_TEST(origin_stalls_in_head),
        SIM_TEST(response_deadline_after_upload),
        SIM_TEST(origin_stalls_in_sized),
        SIM_TEST(origin_stalls_in_chunked),
        SIM_TEST(origin_stalls_until_close),
        SIM_TEST(origin_drips),
        SIM_TEST_BULK(origin_does_not_read),
        SIM_TEST_BULK(client_does_not_read),
        SIM_TEST_BULK(client_reads_slowly),
        SIM_TEST(client_does_not_read_the_end),
        SIM_TEST(client_does_not_read_a_refusal),
        SIM_TEST_BULK(linger),
        SIM_TEST(linger_for_long),
        SIM_TEST(linger_until_fin),
        SIM_TEST(linger_until_rst),
        SIM_TEST_BULK(linger_with_much),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
