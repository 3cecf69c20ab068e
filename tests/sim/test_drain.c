/* SPDX-License-Identifier: MIT */
/* The end of a worker: what is idle ends at once, what runs may finish until the deadline, what is
 * left is cut (DESIGN 6, U58). */
#include "proxy/session.h"
#include "sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define GET     "GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
#define OK      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define CONNECT "CONNECT 192.0.2.1:80 HTTP/1.1\r\nHost: 192.0.2.1:80\r\n\r\n"

enum { GRACE = 30000 };

static void drain(struct sim *s, uint64_t grace_ms)
{
    sim_run(s);
    worker_drain(&s->worker, grace_ms);
    sim_run(s);
}

static void nothing_to_drain(struct sim *s)
{
    drain(s, GRACE);
    SIM_EXPECT(s, s->worker.loop.stop);
}

static void idle_ends_at_once(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *silent = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, OK);
    peer_expect_status(c, 200);
    sim_run(s);
    sim_advance(s, SESSION_FRESH_MS + 200);
    drain(s, GRACE);
    peer_expect_end(c, PEER_FIN);
    peer_expect_end(silent, PEER_FIN);
    peer_expect_end(up, PEER_FIN);
    SIM_EXPECT(s, s->worker.loop.stop);
}

/* Who has just connected has the request on the way; who has nothing to say is not waited for. */
static void just_connected(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *silent = sim_client(s), *up;

    drain(s, GRACE);
    SIM_EXPECT(s, !s->worker.loop.stop);
    sim_advance(s, SESSION_FRESH_MS / 2);
    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, OK);
    peer_expect_status_kept(c, 200, false);
    peer_expect_all(c, "ok");
    peer_expect_end(c, PEER_FIN);
    peer_fin(c);
    sim_expect_end_within(s, silent, PEER_FIN, 0, SESSION_FRESH_MS);
    SIM_EXPECT(s, s->worker.loop.stop);
}

/* No request is lost: it is answered, with `Connection: close`. */
static void running_request(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    drain(s, GRACE);
    SIM_EXPECT(s, !s->worker.loop.stop);
    sim_advance(s, GRACE / 2);
    peer_send(up, OK);
    peer_expect_status_kept(c, 200, false);
    peer_expect_all(c, "ok");
    peer_expect_end(c, PEER_FIN);
    peer_fin(c);
    sim_run(s);
    SIM_EXPECT(s, s->worker.loop.stop);
    sim_expect_ends(s, END_DONE, 1);
}

/* A head that is half there is a request, too. */
static void half_a_head(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "GET http://192.0.2.1/ HT");
    drain(s, GRACE);
    peer_send(c, "TP/1.1\r\nHost: a\r\n\r\n");
    up = origin_accept(o);
    peer_send(up, OK);
    peer_expect_status_kept(c, 200, false);
    peer_expect_end(c, PEER_FIN);
}

/* The answer's head is out already: it finishes, then the connection ends. */
static void running_download(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
    peer_expect_status(c, 200);
    drain(s, GRACE);
    sim_advance(s, 5000);
    peer_send(up, "def");
    peer_expect_all(c, "abcdef");
    peer_expect_end(c, PEER_FIN);
    sim_run(s);
    sim_advance(s, 2500);
    SIM_EXPECT(s, s->worker.loop.stop);
}

/* ... or not: an RST, never a clean end. */
static void download_past_the_deadline(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "HTTP/1.1 200 OK\r\n\r\nabc");
    peer_expect_status(c, 200);
    drain(s, GRACE);
    for (int i = 0; i < 6; i++) {
        sim_advance(s, GRACE / 6 - 100);
        peer_expect_end(c, PEER_OPEN);
        peer_send(up, "x");
    }
    sim_advance(s, 3000);
    peer_expect_end(c, PEER_RST);
    peer_expect_end(up, PEER_RST);
    sim_expect_ends(s, END_DRAINED, 1);
    SIM_EXPECT(s, s->worker.loop.stop);
}

/* A request whose answer has not begun is told so: 503. */
static void request_past_the_deadline(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s);

    peer_send(c, GET);
    origin_accept(o);
    drain(s, GRACE);
    sim_advance(s, GRACE - 1000);
    peer_expect_nothing(c);
    sim_advance(s, 2100);
    peer_expect_refusal(c, 503, "destination_unavailable");
    sim_expect_ends(s, END_DRAINED, 1);
    sim_advance(s, 2000);
    SIM_EXPECT(s, s->worker.loop.stop);
}

static void dial_past_the_deadline(struct sim *s)
{
    struct peer *c = sim_client(s);

    origin_blackhole(s, "192.0.2.1:80");
    peer_send(c, GET);
    drain(s, 5000);
    sim_advance(s, 5300);
    peer_expect_refusal(c, 503, "destination_unavailable");
    sim_advance(s, 2000);
    SIM_EXPECT(s, s->worker.loop.stop);
}

/* U58: tunnels are drained as well; the cut is an RST. */
static void tunnel(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, CONNECT);
    up = origin_accept(o);
    peer_expect(c, "\r\n\r\n");
    drain(s, GRACE);
    for (int i = 0; i < 5; i++) {
        sim_advance(s, GRACE / 5 - 200);
        peer_send(c, "x");
        peer_expect(up, "x");
    }
    peer_expect_end(c, PEER_OPEN);
    sim_advance(s, 3000);
    peer_expect_end(c, PEER_RST);
    peer_expect_end(up, PEER_RST);
    sim_expect_ends(s, END_DRAINED, 1);
    SIM_EXPECT(s, s->worker.loop.stop);
}

static void tunnel_that_ends(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, CONNECT);
    up = origin_accept(o);
    peer_expect(c, "\r\n\r\n");
    drain(s, GRACE);
    sim_advance(s, 1000);
    peer_fin(c);
    peer_fin(up);
    peer_expect_end(c, PEER_FIN);
    peer_expect_end(up, PEER_FIN);
    SIM_EXPECT(s, s->worker.loop.stop);
}

/* The second signal: everything ends now. */
static void second_drain(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *t = sim_client(s), *c = sim_client(s), *up, *up2;

    peer_send(t, CONNECT);
    up = origin_accept(o);
    peer_expect(t, "\r\n\r\n");
    peer_send(c, GET);
    up2 = origin_accept(o);
    drain(s, GRACE);
    sim_advance(s, 1000);
    peer_expect_end(t, PEER_OPEN);
    drain(s, 0);
    peer_expect_end(t, PEER_RST);
    peer_expect_end(c, PEER_RST);
    peer_expect_end(up, PEER_RST);
    peer_expect_end(up2, PEER_RST);
    SIM_EXPECT(s, s->worker.loop.stop);
    sim_expect_ends(s, END_DRAINED, 2);
}

/* A drain without limit, hurried by one with. */
static void hurried(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, CONNECT);
    up = origin_accept(o);
    peer_expect(c, "\r\n\r\n");
    drain(s, UINT64_MAX);
    sim_advance(s, s->conf.timeouts.tunnel / 2);
    peer_expect_end(c, PEER_OPEN);
    drain(s, 5000);
    sim_advance(s, 4000);
    peer_expect_end(c, PEER_OPEN);
    sim_advance(s, 2500);
    peer_expect_end(c, PEER_RST);
    peer_expect_end(up, PEER_RST);
    SIM_EXPECT(s, s->worker.loop.stop);
}

/* Who lingers is waited for, but not for longer than the deadline. */
static void lingering(struct sim *s)
{
    struct peer *c = sim_client(s);

    peer_send(c, "nonsense\r\n\r\n");
    peer_expect_refusal(c, 400, "http_request_error");
    drain(s, 5000);
    for (int i = 0; i < 5; i++) {
        peer_send(c, "more");
        sim_advance(s, 990);
        SIM_EXPECT(s, !s->worker.loop.stop);
    }
    sim_advance(s, 1500);
    SIM_EXPECT(s, s->worker.loop.stop);
}

/* A client that takes nothing cannot hold it up either. */
static void stalled_client(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    c->room = 10;
    peer_stop(c);
    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, OK);
    drain(s, 5000);
    sim_advance(s, 8000);
    SIM_EXPECT(s, s->worker.loop.stop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(nothing_to_drain),
        SIM_TEST(idle_ends_at_once),
        SIM_TEST(just_connected),
        SIM_TEST(running_request),
        SIM_TEST(half_a_head),
        SIM_TEST(running_download),
        SIM_TEST(download_past_the_deadline),
        SIM_TEST(request_past_the_deadline),
        SIM_TEST(dial_past_the_deadline),
        SIM_TEST(tunnel),
        SIM_TEST(tunnel_that_ends),
        SIM_TEST(second_drain),
        SIM_TEST(hurried),
        SIM_TEST(lingering),
        SIM_TEST(stalled_client),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
