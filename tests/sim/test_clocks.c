/* SPDX-License-Identifier: MIT */
/* Clocks that jump: the time of day is for dates only; the other clock, which may leap as over a
 * suspend, ends what is overdue, but nobody whose bytes are already there (issue 4, overload and
 * faults). */
#include "sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { DAY_MS = 86400000, HOUR_MS = 3600000 };

#define GET    "GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
#define OK     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
#define TUNNEL "CONNECT 192.0.2.2:443 HTTP/1.1\r\nHost: 192.0.2.2:443\r\n\r\n"

/* One of each who waits. */
struct crowd {
    struct origin *web, *far;
    struct peer *tunnel, *tunnel_up;   /* quiet */
    struct peer *waiting, *waiting_up; /* for an answer */
    struct peer *loading, *loading_up; /* in the middle of one */
    struct peer *idle;                 /* between two requests */
};

static void gather(struct sim *s, struct crowd *c)
{
    struct peer *up;

    c->web = origin_listen(s, "192.0.2.1:80");
    c->far = origin_listen(s, "192.0.2.2:443");
    c->tunnel = sim_client(s);
    peer_send(c->tunnel, TUNNEL);
    c->tunnel_up = origin_accept(c->far);
    peer_expect_all(c->tunnel, "HTTP/1.1 200 Connection established\r\n\r\n");
    c->waiting = sim_client(s);
    peer_send(c->waiting, GET);
    c->waiting_up = origin_accept(c->web);
    peer_expect(c->waiting_up, "\r\n\r\n");
    c->loading = sim_client(s);
    peer_send(c->loading, GET);
    c->loading_up = origin_accept(c->web);
    peer_expect(c->loading_up, "\r\n\r\n");
    peer_send(c->loading_up,
              "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nhalf");
    peer_expect_status(c->loading, 200);
    peer_expect_all(c->loading, "half");
    c->idle = sim_client(s);
    peer_send(c->idle, GET);
    up = origin_accept(c->web);
    peer_send(up, OK);
    peer_expect_status(c->idle, 200);
    peer_expect_all(c->idle, "ok");
}

static void all_go_on(struct sim *s, struct crowd *c, const char *date)
{
    struct peer *up;

    peer_send(c->tunnel, "there");
    peer_expect_all(c->tunnel_up, "there");
    peer_send(c->tunnel_up, "back");
    peer_expect_all(c->tunnel, "back");
    peer_send(c->waiting_up, OK);
    if (date)
        peer_expect(c->waiting, date);
    else
        peer_expect_status(c->waiting, 200);
    peer_expect(c->waiting, "ok");
    peer_send(c->loading_up, "full");
    peer_expect_all(c->loading, "full");
    peer_send(c->idle, GET);
    up = origin_accept(c->web);
    peer_send(up, OK);
    peer_expect_status(c->idle, 200);
    peer_expect_all(c->idle, "ok");
    sim_expect_ends(s, END_TUNNEL_TIMEOUT, 0);
    sim_expect_ends(s, END_UPSTREAM_TIMEOUT, 0);
    sim_expect_ends(s, END_IDLE_TIMEOUT, 0);
}

/* The start is Tue, 14 Nov 2023 22:30:00. */
static void time_of_day_jumps_ahead(struct sim *s)
{
    struct crowd c;

    gather(s, &c);
    s->wall_shift_ms = DAY_MS;
    sim_run(s);
    sim_advance(s, 100);
    all_go_on(s, &c, "Date: Wed, 15 Nov 2023 22:30:0");
}

static void time_of_day_jumps_back(struct sim *s)
{
    struct crowd c;

    gather(s, &c);
    s->wall_shift_ms = -(int64_t)DAY_MS;
    sim_run(s);
    sim_advance(s, 100);
    all_go_on(s, &c, "Date: Mon, 13 Nov 2023 22:30:0");
}

/* It never should, but what goes back must not make a time-out of it, nor stop anybody. */
static void clock_goes_back(struct sim *s)
{
    struct crowd c;

    gather(s, &c);
    s->back_us = 500u * 1000;
    sim_run(s);
    all_go_on(s, &c, NULL);
}

/* It stands still for an hour of work: everything moves, nothing is ever late. Then it goes on, and
 * who is quiet is still found. */
static void clock_stands_still(struct sim *s)
{
    struct crowd c;

    gather(s, &c);
    for (unsigned i = 0; i < 100; i++) {
        peer_send(c.tunnel, "x");
        peer_expect_all(c.tunnel_up, "x");
    }
    all_go_on(s, &c, NULL);
    sim_advance(s, s->conf.timeouts.tunnel + s->conf.timeouts.tunnel / 30 + 1);
    peer_expect_end(c.tunnel, PEER_RST);
    peer_expect_end(c.tunnel_up, PEER_RST);
    sim_expect_ends(s, END_TUNNEL_TIMEOUT, 1);
}

/* Everything that was awaited has come while the proxy did not run. An answer's head is there only
 * where it travels in one piece. */
static void leap_with_bytes_there(struct sim *s)
{
    struct crowd c;
    struct peer *up;

    gather(s, &c);
    peer_send(c.tunnel, "there");
    peer_send(c.tunnel_up, "back");
    if (s->mode == SIM_WHOLE)
        peer_send(c.waiting_up, OK);
    peer_send(c.loading_up, "full");
    peer_send(c.idle, GET);
    sim_leap(s, s->conf.timeouts.tunnel + HOUR_MS);
    peer_expect_all(c.tunnel_up, "there");
    peer_expect_all(c.tunnel, "back");
    if (s->mode == SIM_WHOLE) {
        peer_expect_status(c.waiting, 200);
        peer_expect_all(c.waiting, "ok");
    } else {
        peer_expect_refusal(c.waiting, 504, "http_response_timeout");
    }
    peer_expect_all(c.loading, "full");
    up = origin_accept(c.web);
    peer_send(up, OK);
    peer_expect_status(c.idle, 200);
    peer_expect_all(c.idle, "ok");
    peer_expect_end(c.tunnel, PEER_OPEN);
}

/* Nothing has come: everybody ends as documented, once, and who comes then is served. */
static void leap_without_bytes(struct sim *s)
{
    struct crowd c;
    struct peer *next, *up;

    gather(s, &c);
    sim_leap(s, s->conf.timeouts.tunnel + HOUR_MS);
    sim_run(s);
    sim_advance(s, 3000);
    peer_expect_end(c.tunnel, PEER_RST);
    peer_expect_end(c.tunnel_up, PEER_RST);
    peer_expect_refusal(c.waiting, 504, "http_response_timeout");
    peer_expect_nothing(c.loading);
    peer_expect_end(c.loading, PEER_RST);
    peer_expect_end(c.idle, PEER_FIN);
    sim_expect_ends(s, END_TUNNEL_TIMEOUT, 1);
    sim_expect_ends(s, END_UPSTREAM_TIMEOUT, 1);
    sim_expect_ends(s, END_IDLE_TIMEOUT, 1);
    next = sim_client(s);
    peer_send(next, GET);
    up = origin_accept(c.web);
    peer_send(up, OK);
    peer_expect_status(next, 200);
    peer_expect_all(next, "ok");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(time_of_day_jumps_ahead), SIM_TEST(time_of_day_jumps_back),
        SIM_TEST(clock_goes_back),         SIM_TEST(clock_stands_still),
        SIM_TEST(leap_with_bytes_there),   SIM_TEST(leap_without_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
