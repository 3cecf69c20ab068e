/* SPDX-License-Identifier: MIT */
/* Connections to origins: kept ones, stale ones, poisoned ones (DESIGN 6, C33, C49, FAILURES 25);
 * and how new ones are made: several addresses, refusals, our own listener (RFC 8305, C38). */
#include "sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { KB = 1024 };

#define GET  "GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
#define POST "POST http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: 4\r\n\r\nbody"
#define OK   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* A connection to o that has served one request and is kept since. */
static struct peer *kept(struct sim *s, struct origin *o, struct peer *c)
{
    struct peer *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_send(up, OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
    peer_expect_nothing(up);
    SIM_EQUAL(s, s->n_conns, 2);
    return up;
}

static void answered(struct peer *c, struct peer *up)
{
    peer_send(up, OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
}

/* S002-14: another client's request takes it. */
static void reuse(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c1 = sim_client(s), *up = kept(s, o, c1), *c2;

    peer_fin(c1);
    sim_advance(s, 10000);
    c2 = sim_client(s);
    peer_send(c2, GET);
    peer_expect_next(up, "GET / HTTP/1.1\r\n");
    answered(c2, up);
    origin_expect_dials(o, 1);
}

/* FAILURES 25: other host or port, other connection. */
static void another_key(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80"), *o8 = origin_listen(s, "192.0.2.1:8080");
    struct peer *c = sim_client(s);

    kept(s, o, c);
    peer_send(c, "GET http://192.0.2.1:8080/ HTTP/1.1\r\nHost: a\r\n\r\n");
    answered(c, origin_accept(o8));
    /* The same address under a name is another key. */
    peer_send(c, "GET http://one.test/ HTTP/1.1\r\nHost: a\r\n\r\n");
    answered(c, origin_accept(o));
    origin_expect_dials(o, 2);
}

/* A CONNECT never takes one. */
static void connect_dials(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c);

    peer_send(c, "CONNECT 192.0.2.1:80 HTTP/1.1\r\nHost: a\r\n\r\n");
    origin_accept(o);
    origin_expect_dials(o, 2);
    peer_expect_nothing(up);
}

/* Two at once need two. */
static void two_at_once(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c1 = sim_client(s), *c2 = sim_client(s), *up1, *up2;

    peer_send(c1, GET);
    up1 = origin_accept(o);
    peer_send(c2, GET);
    up2 = origin_accept(o);
    answered(c2, up2);
    answered(c1, up1);
    peer_send(c1, GET);
    sim_run(s);
    origin_expect_dials(o, 2);
}

/* C53a U8: the origin's close is seen at once. */
static void closed_while_idle(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c);

    peer_close(up);
    peer_expect_end(up, PEER_FIN);
    SIM_EQUAL(s, s->n_conns, 1);
    peer_send(c, GET);
    answered(c, origin_accept(o));
    SIM_EQUAL(s, sim_count(s, COUNTER_REPLAYS), 0);
}

static void reset_while_idle(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c);

    peer_rst(up);
    sim_run(s);
    SIM_EQUAL(s, s->n_conns, 1);
    peer_send(c, POST);
    answered(c, origin_accept(o));
}

/* Thirty seconds idle. */
static void idle_for_long(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c);

    sim_advance(s, 29000);
    peer_expect_end(up, PEER_OPEN);
    sim_advance(s, 2500);
    peer_expect_end(up, PEER_FIN);
    SIM_EQUAL(s, s->n_conns, 1);
}

/* The origin's own hint, less a second. */
static void idle_by_hint(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok");
    peer_expect_status(c, 200);
    sim_advance(s, 3900);
    peer_expect_end(up, PEER_OPEN);
    sim_advance(s, 300);
    peer_expect_end(up, PEER_FIN);
}

static void told_to_close(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    peer_expect_status_kept(c, 200, true);
    peer_expect_end(up, PEER_FIN);
    peer_expect_end(c, PEER_OPEN);
}

/* ---- stale ones ---- */

/* The origin closes as the request is under way: nobody has acted on it, so it is sent once more,
 * on a new connection. */
static void stale_get(struct sim *s, bool rst)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c);

    sim_advance(s, 5000);
    peer_send(c, GET);
    peer_expect(up, "\r\n\r\n");
    if (rst)
        peer_rst(up);
    else
        peer_close(up);
    up = origin_accept(o);
    peer_expect_all(up, "GET / HTTP/1.1\r\nHost: 192.0.2.1\r\nVia: 1.1 sim\r\n\r\n");
    answered(c, up);
    origin_expect_dials(o, 2);
    SIM_EQUAL(s, sim_count(s, COUNTER_REPLAYS), 1);
    sim_expect_ends(s, END_DONE, 2);
}

static void stale_get_fin(struct sim *s)
{
    stale_get(s, false);
}

static void stale_get_rst(struct sim *s)
{
    stale_get(s, true);
}

/* Once: a new connection that dies is an answer of its own. */
static void stale_get_twice(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c);

    peer_send(c, GET);
    peer_expect(up, "\r\n\r\n");
    peer_close(up);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_close(up);
    peer_expect_refusal(c, 502, "http_response_incomplete");
    origin_expect_dials(o, 2);
    peer_expect_end(c, PEER_OPEN);
}

/* Nor after a byte of an answer (C33). */
static void not_after_a_byte(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c);

    peer_send(c, GET);
    peer_expect(up, "\r\n\r\n");
    peer_send(up, "H");
    peer_close(up);
    peer_expect_refusal(c, 502, "http_response_incomplete");
    origin_expect_dials(o, 1);
}

static void not_after_an_interim(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c);

    peer_send(c, GET);
    peer_expect(up, "\r\n\r\n");
    peer_send(up, "HTTP/1.1 103 Early Hints\r\n\r\n");
    peer_close(up);
    peer_expect(c, "HTTP/1.1 103 ");
    peer_expect(c, "\r\n\r\n");
    peer_expect_refusal(c, 502, "http_response_incomplete");
    origin_expect_dials(o, 1);
}

/* Nor on a connection that was new. */
static void fresh_get(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_close(up);
    peer_expect_refusal(c, 502, "http_response_incomplete");
    origin_expect_dials(o, 1);
}

/* The stale one is gone, and now the origin is, too. */
static void stale_and_refused(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c);

    peer_send(c, GET);
    peer_expect(up, "\r\n\r\n");
    origin_refuse(s, "192.0.2.1:80");
    peer_close(up);
    peer_expect_refusal(c, 502, "connection_refused");
    sim_expect_ends(s, END_CONNECT_REFUSED, 1);
}

/* What cannot be sent again takes no connection that was idle for more than a second (DESIGN 6). */
static void post_dials(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c), *up2;

    sim_advance(s, 1100);
    peer_send(c, POST);
    up2 = origin_accept(o);
    peer_expect(up2, "\r\n\r\nbody");
    peer_expect_nothing(up);
    answered(c, up2);
    origin_expect_dials(o, 2);
}

static void post_on_fresh(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c);

    sim_advance(s, 900);
    peer_send(c, POST);
    peer_expect(up, "\r\n\r\nbody");
    answered(c, up);
    origin_expect_dials(o, 1);
}

/* C33: 502 and one arrival. */
static void post_on_fresh_that_dies(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c);

    sim_advance(s, 500);
    peer_send(c, POST);
    peer_expect(up, "\r\n\r\nbody");
    peer_close(up);
    peer_expect_refusal(c, 502, "http_response_incomplete");
    origin_expect_dials(o, 1);
    SIM_EQUAL(s, sim_count(s, COUNTER_REPLAYS), 0);
}

/* Idempotent with a small body: kept, and sent again whole. */
static void put_again(struct sim *s, const char *framing, size_t n, bool chunked)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c);

    peer_sendf(c, "PUT http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", framing);
    if (chunked)
        peer_sendf(c, "%zx\r\n", n);
    peer_send_pattern(c, n);
    peer_expect(up, "\r\n\r\n");
    peer_rst(up);
    if (chunked)
        peer_send(c, "\r\n0\r\nX-T: 1\r\n\r\n");
    up = origin_accept(o);
    peer_expect_next(up, "PUT / HTTP/1.1\r\n");
    peer_expect(up, "\r\n\r\n");
    if (!chunked) {
        peer_expect_pattern(up, n);
        peer_expect_nothing(up);
    } else {
        peer_expect(up, "\r\n0\r\nX-T: 1\r\n\r\n");
        peer_expect_nothing(up);
    }
    answered(c, up);
    SIM_EQUAL(s, sim_count(s, COUNTER_REPLAYS), 1);
    origin_expect_dials(o, 2);
}

static void put_small(struct sim *s)
{
    put_again(s, "Content-Length: 10", 10, false);
}

static void put_small_chunked(struct sim *s)
{
    put_again(s, "Transfer-Encoding: chunked", 10, true);
}

static void put_64_kb(struct sim *s)
{
    put_again(s, "Content-Length: 65536", 65536, false);
}

static void put_large(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c);

    peer_send(c, "PUT http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n");
    peer_send_pattern(c, 65537);
    peer_expect(up, "\r\n\r\n");
    peer_expect_pattern(up, 65537);
    peer_rst(up);
    peer_expect_refusal(c, 502, "http_response_incomplete");
    SIM_EQUAL(s, sim_count(s, COUNTER_REPLAYS), 0);
    origin_expect_dials(o, 1);
}

/* The old one dies in mid-upload, the client has not sent all of it: what it has, then the rest. */
static void put_in_parts(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c);

    peer_send(c, "PUT http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n");
    peer_send_pattern(c, 1000);
    peer_expect(up, "\r\n\r\n");
    peer_expect_pattern(up, 1000);
    peer_rst(up);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_expect_pattern(up, 1000);
    peer_send_pattern(c, 2000);
    peer_expect_pattern(up, 2000);
    peer_expect_nothing(up);
    answered(c, up);
}

/* ---- poison ---- */

/* C49 FAILURES 25: bytes behind an answer are nobody's; never the answer to the next request. */
static void extra_bytes(struct sim *s, bool later)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, OK);
    if (later)
        sim_advance(s, 10);
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
    sim_run(s);
    SIM_EXPECT(s, up->end != PEER_OPEN);
    peer_send(c, GET);
    answered(c, origin_accept(o));
    peer_expect_never(c, "evil");
    origin_expect_dials(o, 2);
}

static void extra_bytes_at_once(struct sim *s)
{
    extra_bytes(s, false);
}

static void extra_bytes_later(struct sim *s)
{
    extra_bytes(s, true);
}

/* It arrives together with the next request. */
static void extra_bytes_and_request(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = kept(s, o, c);

    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    peer_send(c, GET);
    sim_run(s);
    if (s->mode == SIM_WHOLE || o->dials == 2)
        answered(c, origin_accept(o));
    /* When the request was out before the first of them arrived, nobody can tell. */
    if (o->dials == 2)
        peer_expect_never(c, "evil");
}

/* ---- several addresses ---- */

/* RFC 8305 5: the second address is tried after 250 ms, the loser is closed. */
static void first_is_silent(struct sim *s)
{
    struct origin *six = origin_blackhole(s, "[2001:db8::2]:80"),
                  *four = origin_listen(s, "192.0.2.2:80");
    struct peer *c = sim_client(s), *up;
    uint64_t began = sim_ms(s);

    peer_send(c, "GET http://two.test/ HTTP/1.1\r\nHost: a\r\n\r\n");
    sim_advance(s, 245);
    origin_expect_dials(six, 1);
    origin_expect_dials(four, 0);
    sim_advance(s, 20);
    up = origin_accept(four);
    SIM_EXPECT(s, four->dialled_ms - began >= 250 && four->dialled_ms - began <= 260);
    answered(c, up);
    SIM_EQUAL(s, s->n_conns, 2);
    sim_expect_ends(s, END_DONE, 1);
}

/* It answers after all, and first: then the other one is closed. */
static void first_is_slow(struct sim *s)
{
    struct origin *six = origin_listen(s, "[2001:db8::2]:80"),
                  *four = origin_listen(s, "192.0.2.2:80");
    struct peer *c = sim_client(s);

    six->latency_ms = 400;
    four->latency_ms = 1000;
    peer_send(c, "GET http://two.test/ HTTP/1.1\r\nHost: a\r\n\r\n");
    sim_advance(s, 500);
    answered(c, origin_accept(six));
    origin_expect_dials(four, 1);
    sim_advance(s, 2000);
    origin_expect_no_more(four);
    SIM_EQUAL(s, s->n_conns, 2);
}

static void first_refuses(struct sim *s)
{
    struct origin *six = origin_refuse(s, "[2001:db8::2]:80"),
                  *four = origin_listen(s, "192.0.2.2:80");
    struct peer *c = sim_client(s);

    six->latency_ms = 30;
    peer_send(c, "GET http://two.test/ HTTP/1.1\r\nHost: a\r\n\r\n");
    sim_advance(s, 40);
    answered(c, origin_accept(four));
    SIM_EXPECT(s, four->dialled_ms >= 30 && four->dialled_ms <= 31);
}

/* U9: broken IPv6 costs nothing. */
static void first_is_unroutable(struct sim *s)
{
    struct origin *six = origin_unroutable(s, "[2001:db8::2]:80", -ENETUNREACH),
                  *four = origin_listen(s, "192.0.2.2:80");
    struct peer *c = sim_client(s);

    peer_send(c, "GET http://two.test/ HTTP/1.1\r\nHost: a\r\n\r\n");
    answered(c, origin_accept(four));
    SIM_EQUAL(s, four->dialled_ms, 0);
    origin_expect_dials(six, 1);
}

/* The most telling failure is the one that is told: refused before unroutable before silence. */
static void all_fail(struct sim *s)
{
    struct peer *c = sim_client(s);

    origin_blackhole(s, "192.0.2.1:80");
    origin_refuse(s, "192.0.2.2:80");
    origin_unroutable(s, "192.0.2.3:80", -EHOSTUNREACH);
    peer_send(c, "GET http://three.test/ HTTP/1.1\r\nHost: a\r\n\r\n");
    sim_advance(s, s->conf.timeouts.connect + 500);
    peer_expect_refusal(c, 502, "connection_refused");
    SIM_EQUAL(s, s->n_conns, 1);
}

static void all_unroutable(struct sim *s)
{
    struct peer *c = sim_client(s);

    origin_unroutable(s, "[2001:db8::2]:80", -ENETUNREACH);
    origin_unroutable(s, "192.0.2.2:80", -EHOSTUNREACH);
    peer_send(c, "GET http://two.test/ HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_expect_refusal(c, 502, "destination_ip_unroutable");
}

static void out_of_descriptors(struct sim *s)
{
    struct peer *c = sim_client(s);

    origin_unroutable(s, "192.0.2.1:80", -EMFILE);
    peer_send(c, GET);
    peer_expect(c, "HTTP/1.1 503 ");
    peer_expect(c, "error=connection_limit_reached");
    peer_expect(c, "Retry-After: 1\r\n");
    sim_expect_ends(s, END_NO_DESCRIPTORS, 1);
}

/* All are silent: the deadline is for the whole race. */
static void all_silent(struct sim *s)
{
    struct peer *c = sim_client(s);

    origin_blackhole(s, "192.0.2.1:80");
    origin_blackhole(s, "192.0.2.2:80");
    origin_blackhole(s, "192.0.2.3:80");
    peer_send(c, "GET http://three.test/ HTTP/1.1\r\nHost: a\r\n\r\n");
    sim_advance(s, s->conf.timeouts.connect - 500);
    peer_expect_nothing(c);
    sim_advance(s, 1000);
    peer_expect_refusal(c, 504, "connection_timeout");
    SIM_EQUAL(s, s->n_conns, 1);
}

/* U60: what failed comes last the next time. */
static void failed_address_comes_last(struct sim *s)
{
    struct origin *six = origin_refuse(s, "[2001:db8::2]:80"),
                  *four = origin_refuse(s, "192.0.2.2:80");
    struct peer *c = sim_client(s);

    peer_send(c, "GET http://two.test/ HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_expect_refusal(c, 502, "connection_refused");
    origin_expect_dials(six, 1);
    origin_expect_dials(four, 1);
}

/* U9 U60: the loser of a race is known, so the next request does not wait for it again. */
static void silent_address_comes_last(struct sim *s)
{
    struct origin *six = origin_blackhole(s, "[2001:db8::2]:80"),
                  *four = origin_listen(s, "192.0.2.2:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "GET http://two.test/ HTTP/1.1\r\nHost: a\r\n\r\n");
    sim_advance(s, 300);
    up = origin_accept(four);
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
    peer_send(c, "GET http://two.test/ HTTP/1.1\r\nHost: a\r\n\r\n");
    origin_expect_dials(four, 2);
    origin_expect_dials(six, 1);
}

/* C38: our own address among several is left out; alone it is a loop. */
static void own_among_others(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:3128");
    struct peer *c = sim_client(s);

    peer_send(c, "GET http://own.test:3128/ HTTP/1.1\r\nHost: a\r\n\r\n");
    answered(c, origin_accept(o));
    origin_expect_dials(o, 1);
}

static void own_alone(struct sim *s)
{
    struct peer *c = sim_client(s);

    peer_send(c, "GET http://127.0.0.1:3128/ HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_expect_refusal(c, 502, "proxy_loop_detected");
    peer_expect_end(c, PEER_OPEN);
    peer_send(c, "CONNECT 127.0.0.1:3128 HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_expect_refusal(c, 502, "proxy_loop_detected");
    peer_expect_end(c, PEER_FIN);
    sim_expect_ends(s, END_LOOP, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(reuse),
        SIM_TEST(another_key),
        SIM_TEST(connect_dials),
        SIM_TEST(two_at_once),
        SIM_TEST(closed_while_idle),
        SIM_TEST(reset_while_idle),
        SIM_TEST(idle_for_long),
        SIM_TEST(idle_by_hint),
        SIM_TEST(told_to_close),
        SIM_TEST(stale_get_fin),
        SIM_TEST(stale_get_rst),
        SIM_TEST(stale_get_twice),
        SIM_TEST(not_after_a_byte),
        SIM_TEST(not_after_an_interim),
        SIM_TEST(fresh_get),
        SIM_TEST(stale_and_refused),
        SIM_TEST(post_dials),
        SIM_TEST(post_on_fresh),
        SIM_TEST(post_on_fresh_that_dies),
        SIM_TEST(put_small),
        SIM_TEST(put_small_chunked),
        SIM_TEST_BULK(put_64_kb),
        SIM_TEST_BULK(put_large),
        SIM_TEST(put_in_parts),
        SIM_TEST(extra_bytes_at_once),
        SIM_TEST(extra_bytes_later),
        SIM_TEST(extra_bytes_and_request),
        SIM_TEST(first_is_silent),
        SIM_TEST(first_is_slow),
        SIM_TEST(first_refuses),
        SIM_TEST(first_is_unroutable),
        SIM_TEST(all_fail),
        SIM_TEST(all_unroutable),
        SIM_TEST(out_of_descriptors),
        SIM_TEST(all_silent),
        SIM_TEST(failed_address_comes_last),
        SIM_TEST(silent_address_comes_last),
        SIM_TEST(own_among_others),
        SIM_TEST(own_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
