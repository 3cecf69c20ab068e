/* SPDX-License-Identifier: MIT */
/* Tunnels: CONNECT and accepted upgrades, and above all how they end (DESIGN 2; FAILURES 23). */
#include "sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { KB = 1024 };

#define CONNECT     "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n"
#define ESTABLISHED "HTTP/1.1 200 Connection established\r\n\r\n"

/* Both ends of an open tunnel. */
struct pair {
    struct peer *client, *origin;
};

static struct pair open_tunnel(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct pair t = {.client = sim_client(s)};

    peer_send(t.client, CONNECT);
    t.origin = origin_accept(o);
    peer_expect_all(t.client, ESTABLISHED);
    return t;
}

/* The same, seen from either end. */
static struct pair turned(struct pair t, bool turn)
{
    return turn ? (struct pair){.client = t.origin, .origin = t.client} : t;
}

/* S000-1 S000-5 S002-27 S003-11 C17 */
static void connect_round_trip(struct sim *s)
{
    struct pair t = open_tunnel(s);

    peer_expect_nothing(t.origin);
    for (int i = 0; i < 3; i++) {
        peer_send(t.client, "ping");
        peer_expect_all(t.origin, "ping");
        peer_send(t.origin, "pong pong");
        peer_expect_all(t.client, "pong pong");
    }
    SIM_EQUAL(s, sim_buffered(s), 0);
    SIM_EQUAL(s, sim_count(s, COUNTER_TUNNELS), 1);
    peer_fin(t.client);
    peer_fin(t.origin);
    peer_expect_end(t.client, PEER_FIN);
    peer_expect_end(t.origin, PEER_FIN);
    sim_expect_ends(s, END_TUNNEL_DONE, 1);
    sim_expect_sessions(s, 0);
    SIM_EQUAL(s, sim_count(s, COUNTER_BYTES_UP), 12);
    SIM_EQUAL(s, sim_count(s, COUNTER_BYTES_DOWN), 27);
}

/* S000-5: typed by hand: bare LF, no Host. */
static void typed_connect(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:9002");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "CONNECT 192.0.2.1:9002 HTTP/1.1\n");
    sim_advance(s, 1000);
    origin_expect_dials(o, 0);
    peer_send(c, "\n");
    up = origin_accept(o);
    peer_expect_all(c, ESTABLISHED);
    peer_send(c, "x\n");
    peer_expect_all(up, "x\n");
}

/* S003-2: the version is mirrored. */
static void old_connect(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct peer *c = sim_client(s);

    peer_send(c, "CONNECT 192.0.2.1:443 HTTP/1.0\r\n\r\n");
    origin_accept(o);
    peer_expect_all(c, "HTTP/1.0 200 Connection established\r\n\r\n");
}

/* S000-7: bytes behind the head belong to the tunnel. */
static void early_data(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct peer *c = sim_client(s), *up;

    peer_send(c, CONNECT "\x16\x03\x01GET / HTTP/1.1\r\n\r\n");
    up = origin_accept(o);
    peer_expect_all(up, "\x16\x03\x01GET / HTTP/1.1\r\n\r\n");
    peer_expect_all(c, ESTABLISHED);
}

/* ... also when it is much, and the origin slow. */
static void much_early_data(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct peer *c = sim_client(s), *up;

    o->latency_ms = 500;
    peer_send(c, CONNECT);
    peer_send_pattern(c, 200 * KB);
    peer_fin(c);
    sim_advance(s, 400);
    peer_expect_nothing(c);
    SIM_EXPECT(s, c->taken < 64 * KB);
    sim_advance(s, 200);
    up = origin_accept(o);
    peer_expect_pattern(up, 200 * KB);
    peer_expect_end(up, PEER_FIN);
    peer_send(up, "bye");
    peer_fin(up);
    peer_expect(c, ESTABLISHED);
    peer_expect_all(c, "bye");
    peer_expect_end(c, PEER_FIN);
}

/* S000-4 C18: both directions at once, nothing lost. */
static void bulk_both_ways(struct sim *s)
{
    struct pair t = open_tunnel(s);
    enum { N = 400 * KB };

    peer_send_pattern(t.client, N);
    peer_fin(t.client);
    peer_send_pattern(t.origin, N);
    peer_fin(t.origin);
    peer_expect_pattern(t.client, N);
    peer_expect_pattern(t.origin, N);
    peer_expect_nothing(t.client);
    peer_expect_nothing(t.origin);
    peer_expect_end(t.client, PEER_FIN);
    peer_expect_end(t.origin, PEER_FIN);
    sim_expect_ends(s, END_TUNNEL_DONE, 1);
}

/* C21: refused, answered, closed; what follows is not looked at. */
static void refused_connect(struct sim *s)
{
    struct origin *o = origin_refuse(s, "192.0.2.1:443");
    struct origin *other = origin_listen(s, "192.0.2.2:80");
    struct peer *c = sim_client(s);

    peer_send(c, CONNECT "GET http://192.0.2.2/ HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_expect_refusal(c, 502, "connection_refused");
    peer_expect_nothing(c);
    peer_expect_end(c, PEER_FIN);
    origin_expect_dials(o, 1);
    origin_expect_dials(other, 0);
    sim_expect_ends(s, END_CONNECT_REFUSED, 1);
    peer_fin(c);
    sim_expect_sessions(s, 0);
}

/* ---- FIN ---- */

/* C18 C19 S004-6 S002-29: a FIN is passed on, the other direction lives on while bytes move. */
static void half_close(struct sim *s, bool turn)
{
    struct pair t = turned(open_tunnel(s), turn);

    peer_send(t.client, "question");
    peer_fin(t.client);
    peer_expect_all(t.origin, "question");
    peer_expect_end(t.origin, PEER_FIN);
    peer_expect_end(t.client, PEER_OPEN);
    for (int i = 0; i < 5; i++) {
        sim_advance(s, s->conf.timeouts.half_close - 5000);
        peer_send(t.origin, "part");
        peer_expect_all(t.client, "part");
    }
    peer_fin(t.origin);
    peer_expect_end(t.client, PEER_FIN);
    sim_expect_ends(s, END_TUNNEL_DONE, 1);
    sim_expect_sessions(s, 0);
}

static void half_close_by_client(struct sim *s)
{
    half_close(s, false);
}

static void half_close_by_origin(struct sim *s)
{
    half_close(s, true);
}

/* The deadline bounds it; a cut is an RST to both. */
static void half_close_deadline(struct sim *s, bool turn)
{
    struct pair t = turned(open_tunnel(s), turn);

    peer_fin(t.client);
    peer_expect_end(t.origin, PEER_FIN);
    sim_advance(s, s->conf.timeouts.half_close - 1000);
    peer_expect_end(t.client, PEER_OPEN);
    sim_advance(s, 3000);
    peer_expect_end(t.client, PEER_RST);
    peer_expect_end(t.origin, PEER_RST);
    sim_expect_ends(s, END_HALF_CLOSE_TIMEOUT, 1);
    sim_expect_sessions(s, 0);
}

static void half_close_deadline_client(struct sim *s)
{
    half_close_deadline(s, false);
}

static void half_close_deadline_origin(struct sim *s)
{
    half_close_deadline(s, true);
}

/* C18: the FIN waits for what lies before it, however slow the reader. */
static void fin_behind_much(struct sim *s, bool turn)
{
    struct pair t = turned(open_tunnel(s), turn);

    peer_stop(t.origin);
    peer_send_pattern(t.client, 300 * KB);
    peer_fin(t.client);
    sim_advance(s, 5000);
    peer_read(t.origin);
    peer_expect_pattern(t.origin, 300 * KB);
    peer_expect_end(t.origin, PEER_FIN);
    peer_expect_end(t.client, PEER_OPEN);
    peer_send(t.origin, "thanks");
    peer_fin(t.origin);
    peer_expect_all(t.client, "thanks");
    peer_expect_end(t.client, PEER_FIN);
    sim_expect_ends(s, END_TUNNEL_DONE, 1);
}

static void fin_behind_much_up(struct sim *s)
{
    fin_behind_much(s, false);
}

static void fin_behind_much_down(struct sim *s)
{
    fin_behind_much(s, true);
}

/* The client's last bytes and its FIN wait for an origin that takes little at a time; the origin's own FIN does not wait for them. */
static void second_fin_beside_a_stall(struct sim *s, bool turn)
{
    struct pair t = turned(open_tunnel(s), turn);
    size_t room = t.origin->room, n = room + (room < 5000 ? room / 2 : 5000);

    peer_stop(t.origin);
    peer_send_pattern(t.client, n);
    peer_fin(t.client);
    sim_run(s);
    for (int i = 0; i < 2; i++) {
        peer_read_some(t.origin, room < 5000 ? room / 10 : 1200);
        sim_run(s);
    }
    peer_fin(t.origin);
    peer_expect_end(t.client, PEER_FIN);
    sim_advance(s, 5000);
    peer_read(t.origin);
    peer_expect_pattern(t.origin, n);
    peer_expect_end(t.origin, PEER_FIN);
    sim_expect_ends(s, END_TUNNEL_DONE, 1);
}

static void second_fin_beside_a_stalled_origin(struct sim *s)
{
    second_fin_beside_a_stall(s, false);
}

static void second_fin_beside_a_stalled_client(struct sim *s)
{
    second_fin_beside_a_stall(s, true);
}

static void fin_at_once(struct sim *s)
{
    struct pair t = open_tunnel(s);

    peer_fin(t.client);
    peer_fin(t.origin);
    peer_expect_end(t.client, PEER_FIN);
    peer_expect_end(t.origin, PEER_FIN);
    sim_expect_ends(s, END_TUNNEL_DONE, 1);
    sim_expect_sessions(s, 0);
}

/* The client is gone altogether, and hears of it only when the origin writes. */
static void client_closes(struct sim *s)
{
    struct pair t = open_tunnel(s);

    peer_send(t.client, "bye");
    peer_close(t.client);
    peer_expect_all(t.origin, "bye");
    peer_expect_end(t.origin, PEER_FIN);
    peer_send(t.origin, "one");
    sim_run(s);
    peer_send(t.origin, "two");
    sim_advance(s, 1000);
    peer_expect_end(t.origin, PEER_RST);
    sim_expect_sessions(s, 0);
}

/* ---- RST ---- */

/* U11 C63: what was received before it is written out, then it is passed on as what it is, within a
 * second. */
static void rst(struct sim *s, bool turn)
{
    struct pair t = turned(open_tunnel(s), turn);

    peer_send_pattern(t.client, 1000);
    peer_rst(t.client);
    sim_expect_end_within(s, t.origin, PEER_RST, 0, 1000);
    peer_expect_pattern(t.origin, 1000);
    peer_expect_nothing(t.origin);
    sim_expect_ends(s, turn ? END_UPSTREAM_RESET : END_CLIENT_RESET, 1);
    sim_expect_sessions(s, 0);
}

static void rst_by_client(struct sim *s)
{
    rst(s, false);
}

static void rst_by_origin(struct sim *s)
{
    rst(s, true);
}

/* Idle, and nothing sent. */
static void rst_of_idle(struct sim *s, bool turn)
{
    struct pair t = turned(open_tunnel(s), turn);

    sim_advance(s, 5000);
    peer_rst(t.client);
    sim_expect_end_within(s, t.origin, PEER_RST, 0, 1000);
    peer_expect_nothing(t.origin);
    sim_expect_sessions(s, 0);
}

static void rst_of_idle_by_client(struct sim *s)
{
    rst_of_idle(s, false);
}

static void rst_of_idle_by_origin(struct sim *s)
{
    rst_of_idle(s, true);
}

/* Both write when it comes: the side that is left has a correct prefix, then the RST. */
static void rst_while_both_write(struct sim *s, bool turn)
{
    struct pair t = turned(open_tunnel(s), turn);

    peer_send_pattern(t.client, 100 * KB);
    peer_send_pattern(t.origin, 100 * KB);
    sim_run(s);
    peer_send_pattern(t.client, 50 * KB);
    peer_send_pattern(t.origin, 50 * KB);
    peer_rst(t.client);
    sim_expect_end_within(s, t.origin, PEER_RST, 0, 1000);
    peer_expect_pattern(t.origin, peer_unused(t.origin));
    sim_expect_sessions(s, 0);
}

static void rst_by_client_while_both_write(struct sim *s)
{
    rst_while_both_write(s, false);
}

static void rst_by_origin_while_both_write(struct sim *s)
{
    rst_while_both_write(s, true);
}

/* The other side does not read: the RST does not wait for it for longer than a second. */
static void rst_to_who_does_not_read(struct sim *s, bool turn)
{
    struct pair t = turned(open_tunnel(s), turn);

    peer_stop(t.origin);
    peer_send_pattern(t.client, 500 * KB);
    sim_advance(s, 100);
    peer_rst(t.client);
    /* A second for the rest here, and one for what the kernel holds. */
    sim_expect_end_within(s, t.origin, PEER_RST, 0, 2100);
    peer_read(t.origin);
    sim_run(s);
    peer_expect_pattern(t.origin, peer_unused(t.origin));
    sim_expect_sessions(s, 0);
}

static void rst_to_origin_that_does_not_read(struct sim *s)
{
    rst_to_who_does_not_read(s, false);
}

static void rst_to_client_that_does_not_read(struct sim *s)
{
    rst_to_who_does_not_read(s, true);
}

/* ... and when it reads again in time, nothing is missing before the RST. */
static void rst_to_who_reads_again(struct sim *s, bool turn)
{
    struct pair t = turned(open_tunnel(s), turn);

    peer_stop(t.origin);
    peer_send_pattern(t.client, 200 * KB);
    sim_run(s);
    peer_rst(t.client);
    sim_advance(s, 500);
    peer_read(t.origin);
    sim_expect_end_within(s, t.origin, PEER_RST, 0, 1000);
    /* What found no room was lost with the peer that sent it. */
    peer_expect_pattern(t.origin, t.client->room == SIM_ROOM ? 200 * KB : peer_unused(t.origin));
    peer_expect_nothing(t.origin);
    sim_expect_sessions(s, 0);
}

static void rst_to_origin_that_reads_again(struct sim *s)
{
    rst_to_who_reads_again(s, false);
}

static void rst_to_client_that_reads_again(struct sim *s)
{
    rst_to_who_reads_again(s, true);
}

/* Who does not read goes: its own writes before that still count, and the other hears of it. */
static void rst_of_who_does_not_read(struct sim *s, bool turn)
{
    struct pair t = turned(open_tunnel(s), turn);

    peer_stop(t.client);
    peer_send_pattern(t.origin, 500 * KB);
    sim_advance(s, 100);
    peer_send(t.client, "enough");
    peer_rst(t.client);
    sim_expect_end_within(s, t.origin, PEER_RST, 0, 1000);
    peer_expect_all(t.origin, "enough");
    sim_expect_sessions(s, 0);
}

static void rst_of_client_that_does_not_read(struct sim *s)
{
    rst_of_who_does_not_read(s, false);
}

static void rst_of_origin_that_does_not_read(struct sim *s)
{
    rst_of_who_does_not_read(s, true);
}

/* After its FIN a peer can still be reset. */
static void rst_after_fin(struct sim *s, bool turn)
{
    struct pair t = turned(open_tunnel(s), turn);

    peer_fin(t.client);
    peer_expect_end(t.origin, PEER_FIN);
    peer_rst(t.client);
    sim_advance(s, 1000);
    peer_expect_end(t.origin, PEER_RST);
    sim_expect_sessions(s, 0);
}

static void rst_after_fin_by_client(struct sim *s)
{
    rst_after_fin(s, false);
}

static void rst_after_fin_by_origin(struct sim *s)
{
    rst_after_fin(s, true);
}

/* The other end's FIN came before: its direction is done, and the reset is one all the same. */
static void rst_after_other_fin(struct sim *s, bool turn)
{
    struct pair t = turned(open_tunnel(s), turn);

    peer_fin(t.origin);
    peer_expect_end(t.client, PEER_FIN);
    peer_send(t.client, "last");
    peer_rst(t.client);
    sim_expect_end_within(s, t.origin, PEER_RST, 0, 1000);
    peer_expect_all(t.origin, "last");
    sim_expect_sessions(s, 0);
}

static void rst_by_client_after_other_fin(struct sim *s)
{
    rst_after_other_fin(s, false);
}

static void rst_by_origin_after_other_fin(struct sim *s)
{
    rst_after_other_fin(s, true);
}

/* In the moment of the 200. */
static void client_rst_while_dialling(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct peer *c = sim_client(s);

    o->latency_ms = 5000;
    peer_send(c, CONNECT);
    sim_advance(s, 1000);
    peer_rst(c);
    sim_run(s);
    sim_expect_ends(s, END_CLIENT_RESET, 1);
    sim_expect_sessions(s, 0);
    sim_advance(s, 5000);
    origin_expect_no_more(o);
}

/* It speaks and goes before the 200 is out: the client still gets all of it. */
static void origin_gone_at_once(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct peer *c = sim_client(s), *up;

    peer_send(c, CONNECT);
    up = origin_accept(o);
    peer_send(up, "220 hello\r\n");
    peer_fin(up);
    peer_expect(c, ESTABLISHED);
    peer_expect_all(c, "220 hello\r\n");
    peer_expect_end(c, PEER_FIN);
    peer_fin(c);
    sim_expect_ends(s, END_TUNNEL_DONE, 1);
}

static void origin_rst_at_once(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct peer *c = sim_client(s), *up;

    peer_send(c, CONNECT);
    up = origin_accept(o);
    peer_send(up, "220 hello\r\n");
    peer_rst(up);
    sim_expect_end_within(s, c, PEER_RST, 0, 1000);
    peer_expect(c, ESTABLISHED);
    peer_expect_all(c, "220 hello\r\n");
}

/* ---- silence ---- */

/* A tunnel without bytes is cut: RST to both. Each byte starts the clock anew. */
static void silent_tunnel(struct sim *s)
{
    struct pair t = open_tunnel(s);

    for (int i = 0; i < 3; i++) {
        sim_advance(s, s->conf.timeouts.tunnel - 20000);
        peer_send(i % 2 ? t.client : t.origin, "x");
        peer_expect(i % 2 ? t.origin : t.client, "x");
    }
    sim_advance(s, s->conf.timeouts.tunnel - 20000);
    peer_expect_end(t.client, PEER_OPEN);
    sim_advance(s, 42000);
    peer_expect_end(t.client, PEER_RST);
    peer_expect_end(t.origin, PEER_RST);
    sim_expect_ends(s, END_TUNNEL_TIMEOUT, 1);
    sim_expect_sessions(s, 0);
}

/* An idle one costs no turns and no buffers. */
static void idle_is_quiet(struct sim *s)
{
    struct pair t = open_tunnel(s);
    uint64_t turns;

    peer_send(t.client, "x");
    peer_expect(t.origin, "x");
    turns = s->turns;
    sim_advance(s, s->conf.timeouts.tunnel / 2);
    SIM_EXPECT(s, s->turns - turns < 10);
    SIM_EQUAL(s, sim_buffered(s), 0);
    SIM_EQUAL(s, s->worker.loop.pages.n_used, 0);
}

/* Memory is bounded when one side does not read (DESIGN 8.4). */
static void stalled_reader(struct sim *s, bool turn)
{
    struct pair t = turned(open_tunnel(s), turn);

    peer_stop(t.origin);
    peer_send_pattern(t.client, 1000 * KB);
    sim_advance(s, 1000);
    SIM_EXPECT(s, t.client->taken < SIM_ROOM + 64 * KB);
    SIM_EXPECT(s, sim_buffered(s) <= 3 * 17 * KB);
    peer_expect_end(t.client, PEER_OPEN);
    peer_send(t.origin, "still here");
    peer_expect_all(t.client, "still here");
    peer_read(t.origin);
    peer_expect_pattern(t.origin, 1000 * KB);
    SIM_EQUAL(s, sim_buffered(s), 0);
}

static void stalled_origin(struct sim *s)
{
    stalled_reader(s, false);
}

static void stalled_client(struct sim *s)
{
    stalled_reader(s, true);
}

/* ---- 101 ---- */

#define UPGRADE                                                                                    \
    "GET http://192.0.2.1/chat HTTP/1.1\r\nHost: 192.0.2.1\r\nConnection: Upgrade\r\nUpgrade: "    \
    "websocket\r\n"                                                                                \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
#define SWITCHING                                                                                  \
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"            \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

static struct pair open_upgrade(struct sim *s, const char *early, const char *late)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct pair t = {.client = sim_client(s)};

    peer_send(t.client, UPGRADE);
    t.origin = origin_accept(o);
    peer_expect_next(t.origin, "GET /chat HTTP/1.1\r\n");
    peer_expect(t.origin, "\r\n\r\n");
    peer_send(t.client, early);
    peer_send(t.origin, SWITCHING);
    peer_send(t.origin, late);
    peer_expect_status(t.client, 101);
    return t;
}

/* C32 U25: offered, accepted, then bytes whatever they are. */
static void upgrade(struct sim *s)
{
    struct pair t = open_upgrade(s, "early", "greeting");

    peer_expect_all(t.client, "greeting");
    peer_expect_all(t.origin, "early");
    peer_send(t.client, "ping");
    peer_expect_all(t.origin, "ping");
    peer_send(t.origin, "pong");
    peer_expect_all(t.client, "pong");
    SIM_EQUAL(s, sim_count(s, COUNTER_TUNNELS), 1);
    peer_fin(t.origin);
    peer_expect_end(t.client, PEER_FIN);
    peer_send(t.client, "bye");
    peer_fin(t.client);
    peer_expect_all(t.origin, "bye");
    peer_expect_end(t.origin, PEER_FIN);
    sim_expect_ends(s, END_TUNNEL_DONE, 1);
    sim_expect_sessions(s, 0);
}

static void upgrade_rst(struct sim *s)
{
    for (int turn = 0; turn < 2; turn++) {
        struct pair t = turned(open_upgrade(s, "", ""), turn);

        peer_send(t.client, "x");
        peer_rst(t.client);
        sim_expect_end_within(s, t.origin, PEER_RST, 0, 1000);
        peer_expect_all(t.origin, "x");
    }
    sim_expect_sessions(s, 0);
}

static void upgrade_silence(struct sim *s)
{
    struct pair t = open_upgrade(s, "", "");

    sim_advance(s, s->conf.timeouts.tunnel - 20000);
    peer_expect_end(t.client, PEER_OPEN);
    sim_advance(s, 42000);
    peer_expect_end(t.client, PEER_RST);
    peer_expect_end(t.origin, PEER_RST);
    sim_expect_ends(s, END_TUNNEL_TIMEOUT, 1);
}

/* The origin does not want to: an answer like any other, and the connection is kept. */
static void upgrade_declined(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, UPGRADE);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
    peer_expect_status(c, 200);
    peer_expect_all(c, "no");
    peer_send(c, "GET http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_expect_next(up, "GET / HTTP/1.1\r\n");
}

/* C32: 101 for what was not offered. */
static void unasked_101(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "GET http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\n\r\n");
    up = origin_accept(o);
    peer_send(up, SWITCHING "junk");
    peer_expect_refusal(c, 502, "http_protocol_error");
    peer_expect_never(c, "junk");
    SIM_EXPECT(s, up->end != PEER_OPEN);
    sim_expect_ends(s, END_UPSTREAM_NONSENSE, 1);
}

static void other_101(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, UPGRADE);
    up = origin_accept(o);
    peer_send(
        up, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tls/1.3\r\n\r\n");
    peer_expect_refusal(c, 502, "http_protocol_error");
    sim_expect_ends(s, END_UPSTREAM_NONSENSE, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(connect_round_trip),
        SIM_TEST(typed_connect),
        SIM_TEST(old_connect),
        SIM_TEST(early_data),
        SIM_TEST_BULK(much_early_data),
        SIM_TEST_BULK(bulk_both_ways),
        SIM_TEST(refused_connect),
        SIM_TEST(half_close_by_client),
        SIM_TEST(half_close_by_origin),
        SIM_TEST(half_close_deadline_client),
        SIM_TEST(half_close_deadline_origin),
        SIM_TEST_BULK(fin_behind_much_up),
        SIM_TEST_BULK(fin_behind_much_down),
        SIM_TEST_BULK(second_fin_beside_a_stalled_origin),
        SIM_TEST_BULK(second_fin_beside_a_stalled_client),
        SIM_TEST(fin_at_once),
        SIM_TEST(client_closes),
        SIM_TEST(rst_by_client),
        SIM_TEST(rst_by_origin),
        SIM_TEST(rst_of_idle_by_client),
        SIM_TEST(rst_of_idle_by_origin),
        SIM_TEST_BULK(rst_by_client_while_both_write),
        SIM_TEST_BULK(rst_by_origin_while_both_write),
        SIM_TEST_BULK(rst_to_origin_that_does_not_read),
        SIM_TEST_BULK(rst_to_client_that_does_not_read),
        SIM_TEST_BULK(rst_to_origin_that_reads_again),
        SIM_TEST_BULK(rst_to_client_that_reads_again),
        SIM_TEST_BULK(rst_of_client_that_does_not_read),
        SIM_TEST_BULK(rst_of_origin_that_does_not_read),
        SIM_TEST(rst_after_fin_by_client),
        SIM_TEST(rst_after_fin_by_origin),
        SIM_TEST(rst_by_client_after_other_fin),
        SIM_TEST(rst_by_origin_after_other_fin),
        SIM_TEST(client_rst_while_dialling),
        SIM_TEST(origin_gone_at_once),
        SIM_TEST(origin_rst_at_once),
        SIM_TEST(silent_tunnel),
        SIM_TEST(idle_is_quiet),
        SIM_TEST_BULK(stalled_origin),
        SIM_TEST_BULK(stalled_client),
        SIM_TEST(upgrade),
        SIM_TEST(upgrade_rst),
        SIM_TEST(upgrade_silence),
        SIM_TEST(upgrade_declined),
        SIM_TEST(unasked_101),
        SIM_TEST(other_101),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
