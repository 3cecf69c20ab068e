/* SPDX-License-Identifier: MIT */
/* Messages through the whole proxy, from one request to uploads that are answered early. */
#include "sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { KB = 1024 };

#define GET    "GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
#define OK     "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"
#define OK_OUT "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\nVia: 1.1 sim\r\n\r\nok"

static void nothing_at_all(struct sim *s)
{
    sim_advance(s, 1000);
}

/* S001-2 S001-3 S004-1 S004-2 C7 C9 C10 C27 C35 */
static void get(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "GET http://192.0.2.1/x?y=1 HTTP/1.1\r\nHost: 192.0.2.1\r\nX-A: b\r\n\r\n");
    up = origin_accept(o);
    peer_expect_all(up, "GET /x?y=1 HTTP/1.1\r\nHost: 192.0.2.1\r\nX-A: b\r\nVia: 1.1 sim\r\n\r\n");
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    peer_expect_status(c, 200);
    peer_expect_all(c, "hello");
    peer_expect_end(c, PEER_OPEN);
    sim_expect_ends(s, END_DONE, 1);
    peer_fin(c);
    peer_expect_end(c, PEER_FIN);
    sim_expect_sessions(s, 0);
}

/* S001-2: one connection on each side serves all. */
static void keep_alive(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;

    for (int i = 0; i < 5; i++) {
        peer_sendf(c, "GET http://192.0.2.1/%d HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", i);
        if (!up)
            up = origin_accept(o);
        peer_expect_next(up, "GET /");
        peer_expect(up, "\r\n\r\n");
        peer_expect_nothing(up);
        peer_send(up, OK);
        peer_expect_all(c, OK_OUT);
        sim_advance(s, 100);
    }
    origin_expect_dials(o, 1);
    sim_expect_ends(s, END_DONE, 5);
    SIM_EQUAL(s, sim_count(s, COUNTER_POOL_HITS), 4);
}

/* C50: answered in order, one upstream at a time. */
static void pipelining(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;

    for (int i = 0; i < 10; i++)
        peer_sendf(c, "GET http://192.0.2.1/%d HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", i);
    for (int i = 0; i < 10; i++) {
        char line[32];

        if (!up)
            up = origin_accept(o);
        snprintf(line, sizeof(line), "GET /%d HTTP/1.1\r\n", i);
        peer_expect_next(up, line);
        peer_expect(up, "\r\n\r\n");
        peer_expect_nothing(up);
        peer_sendf(up, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", i);
    }
    for (int i = 0; i < 10; i++) {
        char digit[2] = {(char)('0' + i), '\0'};

        peer_expect_status(c, 200);
        peer_expect_next(c, digit);
    }
    peer_expect_nothing(c);
    origin_expect_dials(o, 1);
}

/* C3: empty lines before a request are nobody's, however they are cut. */
static void empty_lines(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up = NULL;

    for (int i = 0; i < 3; i++) {
        peer_send(c, "\r");
        sim_run(s);
        peer_send(c, "\n\r\n" GET "\r\n");
        if (!up)
            up = origin_accept(o);
        peer_expect_next(up, "GET / HTTP/1.1\r\n");
        peer_expect(up, "\r\n\r\n");
        peer_send(up, OK);
        peer_expect_all(c, OK_OUT);
        sim_advance(s, 1000);
    }
    SIM_EQUAL(s, sim_count(s, COUNTER_EXCHANGES), 3);
    peer_send(c, "\r");
    peer_fin(c);
    peer_expect_end(c, PEER_FIN);
    SIM_EQUAL(s, sim_count(s, COUNTER_EXCHANGES), 3);
}

/* ... and a bare CR is not one: it must not get lost on the way to the parser. */
static void bare_cr_before_a_request(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, OK);
    peer_expect_all(c, OK_OUT);
    peer_send(c, "\r");
    sim_run(s);
    peer_send(c, GET);
    peer_expect_refusal(c, 400, "http_request_error");
    peer_expect_end(c, PEER_FIN);
    SIM_EQUAL(s, sim_count(s, COUNTER_POOL_HITS), 0);
}

/* A FIN after a complete request is no abort (DESIGN 2). */
static void fin_after_request(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    peer_fin(c);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    sim_advance(s, 5000);
    peer_expect_end(up, PEER_OPEN);
    peer_send(up, OK);
    peer_expect_all(c, OK_OUT);
    peer_expect_end(c, PEER_FIN);
    sim_expect_ends(s, END_DONE, 1);
    sim_expect_sessions(s, 0);
}

/* C45: no content, whatever the head says; the next answer is intact. */
static void without_content(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "HEAD http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n");
    up = origin_accept(o);
    peer_expect_next(up, "HEAD / HTTP/1.1\r\n");
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    peer_expect_next(c, "HTTP/1.1 200 OK\r\n");
    peer_expect(c, "Content-Length: 1000\r\n");
    peer_expect(c, "\r\n\r\n");
    peer_send(c, GET);
    peer_expect(up, "GET / HTTP/1.1\r\n");
    peer_send(up, "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n");
    peer_expect_status(c, 304);
    peer_send(c, GET);
    peer_expect(up, "GET / HTTP/1.1\r\n");
    peer_send(up, "HTTP/1.1 204 No Content\r\n\r\n");
    peer_expect_status(c, 204);
    peer_send(c, GET);
    peer_expect(up, "GET / HTTP/1.1\r\n");
    peer_send(up, OK);
    peer_expect_all(c, OK_OUT);
    origin_expect_dials(o, 1);
}

/* C51 C7: closed after the answer; a chunked one arrives plain. */
static void old_client(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "GET http://192.0.2.1/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    up = origin_accept(o);
    peer_expect_next(up, "GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n");
    peer_send(up, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    peer_expect_status_kept(c, 200, false);
    peer_expect_all(c, "abc");
    peer_expect_end(c, PEER_OPEN);
    peer_send(up, "4\r\ndefg\r\n0\r\n\r\n");
    peer_expect_all(c, "defg");
    peer_expect_never(c, "chunked");
    peer_expect_end(c, PEER_FIN);
    peer_fin(c);
    sim_expect_sessions(s, 0);
}

/* S002-7 C47: framed anew, trailers kept. */
static void chunked_both_ways(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-T: 1\r\n\r\n");
    up = origin_accept(o);
    peer_expect(up, "Transfer-Encoding: chunked\r\n\r\n");
    peer_expect_chunked(up, "hello world");
    peer_expect_all(up, "0\r\nX-T: 1\r\n\r\n");
    peer_send(
        up, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-U: 2\r\n\r\n");
    peer_expect_status(c, 200);
    peer_expect(c, "0\r\nX-U: 2\r\n\r\n");
    peer_expect_nothing(c);
    peer_send(c, GET);
    peer_expect(up, "GET / HTTP/1.1\r\n");
    origin_expect_dials(o, 1);
}

static void large_both_ways(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;
    enum { N = 300 * KB };

    peer_sendf(c, "PUT http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", N);
    peer_send_pattern(c, N);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_expect_pattern(up, N);
    peer_sendf(up, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", N);
    peer_send_pattern(up, N);
    peer_expect_status(c, 200);
    peer_expect_pattern(c, N);
    peer_expect_nothing(c);
    peer_expect_end(c, PEER_OPEN);
    SIM_EQUAL(s, sim_count(s, COUNTER_BYTES_UP), N);
    SIM_EQUAL(s, sim_count(s, COUNTER_BYTES_DOWN), N);
    SIM_EQUAL(s, sim_buffered(s), 0);
}

/* Read to the close; the client hears it as chunks that end. */
static void until_close(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "HTTP/1.0 200 OK\r\n\r\nsome");
    peer_expect_status(c, 200);
    peer_expect(c, "e\r\n");
    peer_fin(up);
    peer_expect(c, "0\r\n\r\n");
    peer_expect_end(c, PEER_OPEN);
    peer_expect_end(up, PEER_FIN);
    peer_send(c, GET);
    origin_accept(o);
    origin_expect_dials(o, 2);
}

/* ---- answers that break off ---- */

/* C48 U11: the client sees what came, then an RST; nothing that looks complete. */
static void cut_answer(struct sim *s, const char *head, const char *text, bool rst, bool has_end)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_send(up, head);
    peer_send(up, text);
    peer_expect_status(c, 200);
    sim_advance(s, 100);
    if (rst)
        peer_rst(up);
    else
        peer_fin(up);
    sim_expect_end_within(s, c, has_end ? PEER_OPEN : PEER_RST, 0, 1000);
    peer_expect_never(c, "0\r\n\r\n");
    sim_expect_ends(s, rst ? END_UPSTREAM_RESET : END_UPSTREAM_CLOSED, 1);
    sim_expect_sessions(s, 0);
}

static void cut_sized_fin(struct sim *s)
{
    cut_answer(s, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "12345", false, false);
}

static void cut_sized_rst(struct sim *s)
{
    cut_answer(s, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "12345", true, false);
}

static void cut_chunked_fin(struct sim *s)
{
    cut_answer(s, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\n12345\r\n", false,
               false);
}

static void cut_chunked_rst(struct sim *s)
{
    cut_answer(s, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\n12345\r\n", true,
               false);
}

static void cut_until_close_rst(struct sim *s)
{
    cut_answer(s, "HTTP/1.1 200 OK\r\n\r\n", "12345", true, false);
}

/* What arrived before the RST is written out first (DESIGN 2). */
static void all_before_the_rst(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    peer_send_pattern(up, 500);
    peer_rst(up);
    sim_expect_end_within(s, c, PEER_RST, 0, 1000);
    peer_expect_status(c, 200);
    peer_expect_pattern(c, 500);
    sim_expect_ends(s, END_UPSTREAM_RESET, 1);
}

/* The same with a FIN that comes too early (C48). */
static void all_before_the_early_fin(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    peer_send_pattern(up, 500);
    peer_fin(up);
    sim_expect_end_within(s, c, PEER_RST, 0, 1000);
    peer_expect_status(c, 200);
    peer_expect_pattern(c, 500);
    sim_expect_ends(s, END_UPSTREAM_CLOSED, 1);
}

/* ... also to a client that has stopped reading: a second, then it is told. */
static void rst_to_a_client_that_does_not_read(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_stop(c);
    peer_send(c, GET);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    peer_send_pattern(up, 500 * KB);
    sim_advance(s, 100);
    peer_rst(up);
    sim_advance(s, 2100);
    sim_expect_sessions(s, 1);
    peer_read(c);
    sim_expect_end_within(s, c, PEER_RST, 0, 1100);
    peer_expect_status(c, 200);
    {
        size_t n = peer_unused(c);

        peer_expect_pattern(c, n);
    }
    sim_expect_sessions(s, 0);
}

/* The client leaves: the origin is told, by an RST since its answer is not wanted any more. */
static void client_rst_while_waiting(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_rst(c);
    sim_expect_end_within(s, up, PEER_RST, 0, 1000);
    sim_expect_ends(s, END_CLIENT_RESET, 1);
    sim_expect_sessions(s, 0);
}

/* The same when its FIN came before. */
static void client_rst_after_fin(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    peer_fin(c);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_rst(c);
    sim_expect_end_within(s, up, PEER_RST, 0, 1000);
    sim_expect_ends(s, END_CLIENT_RESET, 1);
}

/* It has left without a word; that shows when the answer is written. */
static void client_closes_while_waiting(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    peer_close(c);
    up = origin_accept(o);
    peer_sendf(up, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 100 * KB);
    peer_send_pattern(up, 50 * KB);
    sim_run(s);
    peer_send_pattern(up, 50 * KB);
    sim_advance(s, 1000);
    sim_expect_sessions(s, 0);
    SIM_EXPECT(s, up->end != PEER_OPEN || s->n_conns == 1);
}

static void client_rst_in_download(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    peer_expect_status(c, 200);
    peer_expect_all(c, "abc");
    peer_rst(c);
    sim_expect_end_within(s, up, PEER_RST, 0, 1000);
    sim_expect_ends(s, END_CLIENT_RESET, 1);
}

/* It does not read when it goes. */
static void stalled_client_rst_in_download(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_stop(c);
    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    peer_send_pattern(up, 500 * KB);
    sim_advance(s, 100);
    peer_rst(c);
    sim_expect_end_within(s, up, PEER_RST, 0, 1000);
    sim_expect_ends(s, END_CLIENT_RESET, 1);
}

static void client_rst_in_upload(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc");
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_expect_all(up, "abc");
    peer_send(c, "def");
    peer_rst(c);
    sim_expect_end_within(s, up, PEER_RST, 0, 1000);
    sim_expect_ends(s, END_CLIENT_RESET, 1);
}

/* C48 for requests: the origin must not take it for complete. */
static void client_fin_in_upload(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n3\r\nabc\r\n");
    up = origin_accept(o);
    sim_run(s);
    peer_fin(c);
    peer_expect(up, "\r\n\r\n");
    peer_expect_chunked(up, "abc");
    sim_expect_end_within(s, up, PEER_RST, 0, 1000);
    peer_expect_never(up, "0\r\n\r\n");
    sim_expect_ends(s, END_CLIENT_GONE, 1);
    sim_expect_sessions(s, 0);
}

static void stalled_origin_and_client_rst(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_stop(up);
    peer_send_pattern(c, 500 * KB);
    sim_advance(s, 100);
    peer_rst(c);
    sim_expect_end_within(s, up, PEER_RST, 0, 2100);
    sim_expect_sessions(s, 0);
}

/* ---- interim answers ---- */

/* C30: 103 before 200. */
static void early_hints(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_send(up, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    peer_expect_next(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n");
    peer_expect(c, "\r\n\r\n");
    peer_expect_nothing(c);
    sim_advance(s, 1000);
    peer_send(up, OK);
    peer_expect_all(c, OK_OUT);
}

/* C30: at most sixteen. */
static void sixteen_interims(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    for (int i = 0; i < 16; i++)
        peer_sendf(up, "HTTP/1.1 103 Early Hints\r\nX-N: %d\r\n\r\n", i);
    peer_send(up, OK);
    for (int i = 0; i < 16; i++)
        peer_expect_status(c, 103);
    peer_expect_all(c, OK_OUT);
    sim_expect_ends(s, END_DONE, 1);
}

static void seventeen_interims(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    for (int i = 0; i < 17; i++)
        peer_send(up, "HTTP/1.1 103 Early Hints\r\n\r\n");
    for (int i = 0; i < 16; i++)
        peer_expect_status(c, 103);
    peer_expect_refusal(c, 502, "http_protocol_error");
    peer_expect_nothing(c);
    sim_expect_ends(s, END_UPSTREAM_NONSENSE, 1);
    sim_expect_end_within(s, up, PEER_RST, 0, 1000);
}

/* Sixteen of them, and large: 64 KB in all is the bound (DESIGN 6). What is within it passes. */
static void large_interims(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    for (int i = 0; i < 15; i++) {
        peer_send(up, "HTTP/1.1 103 Early Hints\r\nLink: ");
        for (int k = 0; k < 4000; k++)
            peer_send_n(up, "x", 1);
        peer_send(up, "\r\n\r\n");
    }
    peer_send(up, OK);
    for (int i = 0; i < 15; i++)
        peer_expect_status(c, 103);
    peer_expect_all(c, OK_OUT);
}

static void interims_over_64_kb(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    for (int i = 0; i < 4; i++) {
        peer_send(up, "HTTP/1.1 103 Early Hints\r\nLink: ");
        for (int k = 0; k < 30000; k++)
            peer_send_n(up, "x", 1);
        peer_send(up, "\r\n\r\n");
    }
    peer_expect(c, "HTTP/1.1 502 ");
    sim_expect_ends(s, END_UPSTREAM_NONSENSE, 1);
}

/* C30: none to HTTP/1.0. */
static void interim_to_old_client(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "GET http://192.0.2.1/ HTTP/1.0\r\n\r\n");
    up = origin_accept(o);
    peer_send(up, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "ok");
    peer_expect_end(c, PEER_FIN);
}

/* C31: content waits for the origin's 100, which is passed on once. */
static void expect_continue(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nExpect: "
                 "100-continue\r\nContent-Length: 5\r\n\r\n");
    up = origin_accept(o);
    peer_expect(up, "Expect: 100-continue\r\n");
    peer_expect(up, "\r\n\r\n");
    peer_expect_nothing(c);
    peer_send(up, "HTTP/1.1 100 Continue\r\n\r\n");
    peer_expect_status(c, 100);
    peer_send(c, "hello");
    peer_expect_all(up, "hello");
    peer_send(up, OK);
    peer_expect_all(c, OK_OUT);
    peer_expect_end(c, PEER_OPEN);
}

/* The client does not wait for ever, as it may. */
static void expect_continue_not_waited_for(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nExpect: "
                 "100-continue\r\nContent-Length: 5\r\n\r\n");
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    sim_advance(s, 1000);
    peer_send(c, "hello");
    peer_expect_all(up, "hello");
    peer_send(up, OK);
    peer_expect_all(c, OK_OUT);
}

/* C31: a final answer instead; the content is not waited for, and the connection cannot be kept. */
static void expect_continue_refused(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nExpect: "
                 "100-continue\r\nContent-Length: 5\r\n\r\n");
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_send(up, "HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno");
    peer_expect_status_kept(c, 401, false);
    peer_expect_all(c, "no");
    peer_expect_end(c, PEER_FIN);
    peer_fin(c);
    sim_expect_sessions(s, 0);
}

/* 100 was not asked for: it stays here. */
static void unasked_continue(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    up = origin_accept(o);
    peer_expect(up, "hello");
    peer_send(up, "HTTP/1.1 100 Continue\r\n\r\n" OK);
    peer_expect_all(c, OK_OUT);
}

/* An origin that sends 100 and then nothing more is silent. */
static void interim_and_silence(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "HTTP/1.1 103 Early Hints\r\n\r\n");
    peer_expect_status(c, 103);
    sim_advance(s, 59000);
    peer_expect_nothing(c);
    sim_advance(s, 4000);
    peer_expect_refusal(c, 504, "http_response_timeout");
    peer_expect_end(up, PEER_RST);
}

/* ---- early answers ---- */

/* C53: small rest, connection kept: what still comes is thrown away. */
static void early_answer_small(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc");
    up = origin_accept(o);
    peer_expect(up, "abc");
    peer_send(up, OK);
    peer_expect_all(c, OK_OUT);
    /* A connection with half a request on it is of no use. */
    sim_advance(s, 100);
    SIM_EXPECT(s, up->end != PEER_OPEN);
    peer_send_pattern(c, 997);
    peer_expect_end(c, PEER_OPEN);
    peer_send(c, GET);
    up = origin_accept(o);
    peer_expect_next(up, "GET / HTTP/1.1\r\n");
    peer_send(up, OK);
    peer_expect_all(c, OK_OUT);
    peer_expect_end(c, PEER_OPEN);
}

/* ... but for a second only. */
static void early_answer_and_no_rest(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc");
    up = origin_accept(o);
    peer_expect(up, "abc");
    peer_send(up, OK);
    peer_expect_all(c, OK_OUT);
    sim_expect_end_within(s, c, PEER_FIN, 900, 1200);
    peer_fin(c);
    sim_expect_sessions(s, 0);
}

/* C52 C53: a large rest: said in the answer, read on, then closed. */
static void early_answer_large(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;
    enum { N = 1000 * KB };

    peer_sendf(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", N);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_stop(up);
    peer_send_pattern(c, N);
    sim_run(s);
    peer_send(up, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    peer_expect_status_kept(c, 413, false);
    peer_expect_all(c, "no");
    peer_expect_end(c, PEER_FIN);
    peer_fin(c);
    sim_expect_sessions(s, 0);
}

/* A chunked rest has no length: 256 KB are thrown away, then it is too much. */
static void early_answer_chunked(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c,
              "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_send(up, OK);
    peer_expect_all(c, OK_OUT);
    for (int i = 0; i < 500; i++) {
        peer_send(c, "400\r\n");
        peer_send_pattern(c, KB);
        peer_send(c, "\r\n");
    }
    sim_run(s);
    peer_expect_end(c, PEER_FIN);
    peer_expect_nothing(c);
    SIM_EXPECT(s, c->taken > 256 * KB);
    peer_fin(c);
    sim_expect_sessions(s, 0);
}

/* The answer comes while the trailers are half there: whatever follows is not taken for a request.
 */
static void early_answer_in_trailers(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "3\r\nabc\r\n0\r\nX-Trailer: ");
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_expect_chunked(up, "abc");
    peer_send(up, OK);
    peer_expect_all(c, OK_OUT);
    peer_send(c, "x\r\n\r\n" GET);
    sim_advance(s, 100);
    if (c->end == PEER_OPEN)
        peer_expect_next(origin_accept(o), "GET / HTTP/1.1\r\n");
    else
        peer_expect_nothing(c);
    peer_expect_never(up, "GET");
}

/* C53: the origin answers early and closes, as most do. */
static void early_answer_and_close(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_sendf(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
               400 * KB);
    peer_send_pattern(c, 200 * KB);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_send(up, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    peer_close(up);
    sim_run(s);
    peer_send_pattern(c, 200 * KB);
    peer_expect_next(c, "HTTP/1.1 413 Too Large\r\n");
    peer_expect(c, "\r\n\r\n");
    peer_expect_all(c, "no");
    sim_advance(s, 3000);
    peer_expect_never(c, "HTTP/1.1 5");
}

/* ... and its close arrives as an RST, since it left the upload unread. The answer before it
 * counts. */
static void early_answer_and_rst(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_sendf(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
               100 * KB);
    peer_send_pattern(c, 50 * KB);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_stop(up);
    peer_send_pattern(c, 50 * KB);
    sim_run(s);
    peer_send(up, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    peer_rst(up);
    peer_expect_next(c, "HTTP/1.1 413 Too Large\r\n");
    peer_expect(c, "\r\n\r\n");
    peer_expect_all(c, "no");
}

/* The origin closes in the upload without a word. */
static void close_in_upload(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
    up = origin_accept(o);
    peer_expect(up, "abc");
    peer_close(up);
    peer_expect_refusal(c, 502, "http_response_incomplete");
    sim_expect_ends(s, END_UPSTREAM_CLOSED, 1);
}

static void rst_in_upload(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
    up = origin_accept(o);
    peer_expect(up, "abc");
    peer_rst(up);
    peer_expect_refusal(c, 502, "http_response_incomplete");
    sim_expect_ends(s, END_UPSTREAM_RESET, 1);
}

/* ---- refusals ---- */

static void malformed_request(struct sim *s)
{
    struct peer *c = sim_client(s);

    peer_send(c, "GET http://192.0.2.1/ HTTP/1.1\r\nHost : a\r\n\r\n");
    peer_expect_refusal(c, 400, "http_request_error");
    peer_expect_end(c, PEER_FIN);
    peer_fin(c);
    sim_expect_sessions(s, 0);
    sim_expect_ends(s, END_BAD_REQUEST, 1);
}

/* The pipelined one behind it is never executed. */
static void nothing_after_a_refusal(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s);

    peer_send(c, "GET http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n" GET);
    peer_expect_refusal(c, 400, "http_request_error");
    peer_expect_nothing(c);
    peer_expect_end(c, PEER_FIN);
    origin_expect_dials(o, 0);
}

/* FAILURES 7, in mid-upload: the origin gets no end, the client a status. */
static void malformed_chunk(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n3\r\nabc\r\n");
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    peer_expect_chunked(up, "abc");
    peer_send(c, "0x3\r\nabc\r\n0\r\n\r\n");
    peer_expect_refusal(c, 400, "http_request_error");
    peer_expect_end(c, PEER_FIN);
    sim_expect_end_within(s, up, PEER_RST, 0, 1000);
    peer_expect_never(up, "0\r\n\r\n");
}

static void malformed_answer(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "SSH-2.0-OpenSSH_9.2p1\r\n");
    peer_expect_refusal(c, 502, "http_protocol_error");
    sim_expect_end_within(s, up, PEER_RST, 0, 1000);
    peer_expect_end(c, PEER_OPEN);
    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, OK);
    peer_expect_all(c, OK_OUT);
}

/* Chunked nonsense in mid-answer: no end for the client. */
static void malformed_chunk_in_answer(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    peer_expect_status(c, 200);
    peer_send(up, "-1\r\nabc\r\n");
    sim_expect_end_within(s, c, PEER_RST, 0, 1000);
    peer_expect_never(c, "0\r\n\r\n");
    sim_expect_end_within(s, up, PEER_RST, 0, 1000);
    sim_expect_ends(s, END_UPSTREAM_NONSENSE, 1);
}

/* C38: our own Via. */
static void loop_by_via(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s);

    peer_send(c,
              "GET http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nVia: 1.1 other, 1.0 sim (x)\r\n\r\n");
    peer_expect_refusal(c, 502, "proxy_loop_detected");
    origin_expect_dials(o, 0);
}

static void other_protocols(struct sim *s)
{
    static const char *const first[] = {"\x16\x03\x01", "\x05\x01", "\x04\x01"};

    for (size_t i = 0; i < ARRAY_LEN(first); i++) {
        struct peer *c = sim_client(s);

        peer_send(c, first[i]);
        sim_run(s);
        peer_expect_nothing(c);
        SIM_EXPECT(s, c->end != PEER_OPEN);
    }
    SIM_EQUAL(s, sim_count(s, COUNTER_NOT_HTTP), 3);
    sim_expect_sessions(s, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(nothing_at_all),
        SIM_TEST(get),
        SIM_TEST(keep_alive),
        SIM_TEST(pipelining),
        SIM_TEST(empty_lines),
        SIM_TEST(bare_cr_before_a_request),
        SIM_TEST(fin_after_request),
        SIM_TEST(without_content),
        SIM_TEST(old_client),
        SIM_TEST(chunked_both_ways),
        SIM_TEST_BULK(large_both_ways),
        SIM_TEST(until_close),
        SIM_TEST(cut_sized_fin),
        SIM_TEST(cut_sized_rst),
        SIM_TEST(cut_chunked_fin),
        SIM_TEST(cut_chunked_rst),
        SIM_TEST(cut_until_close_rst),
        SIM_TEST(all_before_the_rst),
        SIM_TEST(all_before_the_early_fin),
        SIM_TEST_BULK(rst_to_a_client_that_does_not_read),
        SIM_TEST(client_rst_while_waiting),
        SIM_TEST(client_rst_after_fin),
        SIM_TEST_BULK(client_closes_while_waiting),
        SIM_TEST(client_rst_in_download),
        SIM_TEST_BULK(stalled_client_rst_in_download),
        SIM_TEST(client_rst_in_upload),
        SIM_TEST(client_fin_in_upload),
        SIM_TEST_BULK(stalled_origin_and_client_rst),
        SIM_TEST(early_hints),
        SIM_TEST(sixteen_interims),
        SIM_TEST(seventeen_interims),
        SIM_TEST_BULK(large_interims),
        SIM_TEST_BULK(interims_over_64_kb),
        SIM_TEST(interim_to_old_client),
        SIM_TEST(expect_continue),
        SIM_TEST(expect_continue_not_waited_for),
        SIM_TEST(expect_continue_refused),
        SIM_TEST(unasked_continue),
        SIM_TEST(interim_and_silence),
        SIM_TEST(early_answer_small),
        SIM_TEST(early_answer_and_no_rest),
        SIM_TEST_BULK(early_answer_large),
        SIM_TEST_BULK(early_answer_chunked),
        SIM_TEST(early_answer_in_trailers),
        SIM_TEST_BULK(early_answer_and_close),
        SIM_TEST_BULK(early_answer_and_rst),
        SIM_TEST(close_in_upload),
        SIM_TEST(rst_in_upload),
        SIM_TEST(malformed_request),
        SIM_TEST(nothing_after_a_refusal),
        SIM_TEST(malformed_chunk),
        SIM_TEST(malformed_answer),
        SIM_TEST(malformed_chunk_in_answer),
        SIM_TEST(loop_by_via),
        SIM_TEST(other_protocols),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
