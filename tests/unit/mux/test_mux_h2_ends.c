/* SPDX-License-Identifier: MIT */
/* HTTP/2, how connections end while bytes are still leaving: a peer that reads slowly gets all that was
 * said before the end, and nobody calls a connection idle, late or good that is not.
 */
#include "mux/mux_h2.h"

#include "base/check.h"
#include "base/err.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/net.h"
#include "support/pair_conn.h"

enum { LONG = 150000, FRAME_HEAD = 9 };
static const struct h1_limits limits = {.line = 8192, .head = 65536, .fields = 100};

static struct pair_conn conns[2]; /* 0: the server's */
static struct mux *server, *client;
static struct task server_owner, client_owner, exchange;
static unsigned client_owner_woken;
static struct stream *s, *c;
static struct arena arena;
static struct h2_conf conf;
static char buf[LONG];

static void run(struct task *t, unsigned bits)
{
    UNUSED(bits);
    client_owner_woken += t == &client_owner;
}

static void on_stream(struct mux *m, struct stream *st)
{
    UNUSED(m);
    assert_null(s);
    s = st;
    s->task = &exchange;
}

static void begin(void)
{
    pair_conn_init(conns, &net_loop);
    server = mux_h2_server_new(&conns[0].conn, &conf, SLICE_NONE);
    client = mux_h2_client_new(&conns[1].conn, &conf);
    if (server) {
        server->task = &server_owner;
        server->on_stream = on_stream;
    }
    if (client)
        client->task = &client_owner;
}

static int setup(void **state)
{
    UNUSED(state);
    net_begin();
    task_init(&server_owner, &net_loop, "server owner", run);
    task_init(&client_owner, &net_loop, "client owner", run);
    task_init(&exchange, &net_loop, "exchange", run);
    arena_init(&arena, &net_loop.pages, 1 << 22);
    conf = h2_conf_default;
    conf.heads = &limits;
    conf.window = 1 << 20;
    begin();
    assert_true(server && client);
    return 0;
}

static void end(void)
{
    if (s)
        stream_reset(s);
    if (c)
        stream_reset(c);
    stream_release(&s);
    stream_release(&c);
    mux_close(&client, true);
    mux_close(&server, true);
    task_cancel(&server_owner);
    task_cancel(&client_owner);
    task_cancel(&exchange);
    net_turns(2);
}

static int teardown(void **state)
{
    UNUSED(state);
    end();
    arena_done(&arena);
    net_end();
    return 0;
}

/* An open tunnel: c at the client's end, s at the server's. */
static void tunnel(void)
{
    struct head q = {.version = 11, .method = METHOD_CONNECT, .method_name = SLICE("CONNECT"), .form = FORM_AUTHORITY,
                     .auth = {.raw = SLICE("a.test:443"), .host = SLICE("a.test"), .port = 443, .kind = HOST_NAME}};
    struct head a = {.response = true, .version = 11, .status = 200}, *h;

    hdrs_init(&q.fields);
    hdrs_init(&a.fields);
    c = mux_open(client, &exchange);
    assert_non_null(c);
    assert_int_equal(stream_send_head(c, &q, false), IO_OK);
    net_turns(8);
    assert_non_null(s);
    assert_int_equal(stream_recv_head(s, &arena, &h), IO_OK);
    assert_int_equal(stream_send_head(s, &a, false), IO_OK);
    net_turns(8);
    assert_int_equal(stream_recv_head(c, &arena, &h), IO_OK);
    assert_int_equal(stream_tunnel(c), 0);
    assert_int_equal(stream_tunnel(s), 0);
}

static void send_long(struct stream *st)
{
    size_t at = 0;

    while (at < LONG) {
        size_t n = min_size(stream_room(st), LONG - at);

        assert_true(n > 0);
        memset(buf, (int)(at / 7919), n);
        assert_int_equal(stream_send(st, buf, n, false), IO_OK);
        at += n;
    }
    assert_int_equal(stream_end(st, NULL), IO_OK);
    assert_int_equal(stream_flush(st), IO_OK);
}

/* Bytes until the end; SIZE_MAX: it was none. */
static size_t recv_all(struct stream *st)
{
    size_t all = 0, n;

    for (int i = 0; i < 3000; i++) {
        switch (stream_recv(st, buf, sizeof(buf), &n)) {
        case IO_OK:
            all += n;
            break;
        case IO_AGAIN:
            net_turns(1);
            break;
        case IO_EOF:
            return all;
        case IO_ERR:
            print_message("after %zu: %s\n", all, st->fault.detail);
            return SIZE_MAX;
        }
    }
    return SIZE_MAX;
}

/* C68: a drain waits for a client that reads slowly; once its last stream is over, nothing is left but bytes. */
static void test_drained_slowly(void **state)
{
    UNUSED(state);
    tunnel();
    pair_conn_hold(&conns[1], true);
    assert_int_equal(stream_end(c, NULL), IO_OK);
    net_turns(4);
    assert_int_equal(recv_all(s), 0);
    send_long(s);
    stream_release(&s);
    server->drain = true;
    assert_int_equal(mux_serve(server), MUX_BUSY);
    net_turns(2);
    for (int i = 0; i < 6; i++) {
        net_later_ms(1500);
        assert_int_equal(mux_serve(server), MUX_BUSY);
    }
    pair_conn_hold(&conns[1], false);
    assert_int_equal(recv_all(c), LONG);
    net_turns(4);
    assert_int_equal(mux_serve(server), MUX_LINGER);
}

/* … but not for one that reads nothing for good. */
static void test_drained_never(void **state)
{
    UNUSED(state);
    tunnel();
    pair_conn_hold(&conns[1], true);
    assert_int_equal(stream_end(c, NULL), IO_OK);
    net_turns(4);
    assert_int_equal(recv_all(s), 0);
    send_long(s);
    stream_release(&s);
    server->drain = true;
    mux_serve(server);
    net_later_ms(1500);
    net_later_ms(conf.stall_ms + 1500);
    assert_int_equal(mux_serve(server), MUX_CLOSED);
}

/* The last stream of a connection that takes no more is over, and its bytes have not left: the pool may not close it. */
static void test_last_words(void **state)
{
    UNUSED(state);
    tunnel();
    pair_conn_hold(&conns[0], true);
    assert_int_equal(stream_end(s, NULL), IO_OK);
    server->drain = true;
    mux_serve(server);
    net_turns(4);
    assert_int_equal(recv_all(c), 0);
    send_long(c);
    stream_release(&c);
    net_turns(4);
    net_later_ms(3000);
    assert_int_equal(mux_serve(client), MUX_BUSY);
    client_owner_woken = 0;
    pair_conn_hold(&conns[0], false);
    assert_int_equal(recv_all(s), LONG);
    net_turns(6);
    assert_true(client_owner_woken > 0);
    assert_int_not_equal(mux_serve(client), MUX_BUSY);
}

/* The same of one that stays good: idle once they have left, and the pool hears of it. */
static void test_idle_after_last_words(void **state)
{
    UNUSED(state);
    tunnel();
    assert_int_equal(stream_end(s, NULL), IO_OK);
    net_turns(4);
    assert_int_equal(recv_all(c), 0);
    send_long(c);
    pair_conn_hold(&conns[0], true);
    stream_release(&c);
    client_owner_woken = 0;
    pair_conn_hold(&conns[0], false);
    assert_int_equal(recv_all(s), LONG);
    net_turns(6);
    assert_true(client_owner_woken > 0);
    assert_int_equal(mux_serve(client), MUX_IDLE);
    assert_true(mux_reusable(client));
}

/* A socket that is full since long ago: what is queued now has its own time. */
static void test_late_by_whose_clock(void **state)
{
    UNUSED(state);
    tunnel();
    net_turns(6);
    /* All of it leaves, and fills the socket to the last byte. */
    conns[1].piece = 0;
    conns[1].room = conns[1].in_n + FRAME_HEAD + 1000;
    assert_int_equal(stream_send(s, buf, 1000, false), IO_OK);
    net_turns(3);
    assert_int_equal(conns[1].in_n, conns[1].room);
    net_later_ms(conf.stall_ms + 5000);
    assert_int_equal(mux_serve(server), MUX_BUSY);
    assert_true(stream_room(s) >= 5000);
    assert_int_equal(stream_send(s, buf, 5000, false), IO_OK);
    net_turns(3);
    net_later_ms(1000);
    assert_false(stream_broken(s));
    net_later_ms(conf.stall_ms + 1000);
    assert_true(stream_broken(s));
}

/* C66: a request of which not a byte was sent. */
static void test_nothing_was_sent(void **state)
{
    struct head *h;

    UNUSED(state);
    net_turns(6);
    c = mux_open(client, &exchange);
    assert_non_null(c);
    server->drain = true;
    mux_serve(server);
    net_turns(6);
    net_later_ms(1100);
    net_turns(6);
    assert_int_equal(stream_recv_head(c, &arena, &h), IO_ERR);
    assert_true(c->unprocessed);
}

/* Where memory was refused once, nghttp2's is given back only with its session: such a connection is not to live long. */
static void test_refused_once(void **state)
{
    struct head q = {.version = 11, .method = METHOD_GET, .method_name = SLICE("GET"), .scheme = SCHEME_HTTP, .path = SLICE("/"),
                     .auth = {.raw = SLICE("a.test"), .host = SLICE("a.test"), .kind = HOST_NAME}};
    bool refused = false;

    UNUSED(state);
    net_turns(6);
    hdrs_init(&q.fields);
    for (memfail_start(); memfail_next();) {
        c = mux_open(client, &exchange);
        if (!c)
            continue;
        if (stream_send_head(c, &q, true) == IO_ERR && memfail_hit())
            refused = true;
        stream_reset(c);
        stream_release(&c);
        if (refused)
            break;
    }
    mem_set_gate(NULL);
    assert_true(refused);
    net_turns(4);
    if (s) {
        stream_reset(s);
        stream_release(&s);
    }
    assert_false(mux_reusable(client));
}

/* A client whose frames nghttp2 ends the connection for, while answers are being sent: that is the client's doing. */
static void test_broken_while_sending(void **state)
{
    /* WINDOW_UPDATE of the connection, over what it may be (RFC 9113 6.9.1) */
    static const char bad[] = "\0\0\4\10\0\0\0\0\0\177\377\377\377";
    size_t n = sizeof(bad) - 1;

    UNUSED(state);
    tunnel();
    net_turns(6);
    memcpy(conns[0].in + conns[0].in_n, bad, n);
    conns[0].in_n += n;
    conn_ready(&conns[0].conn, EPOLLIN);
    loop_turn(&net_loop, 0);
    if (!stream_broken(s)) {
        assert_true(stream_room(s) > 0);
        assert_int_equal(stream_send(s, buf, 1000, false), IO_ERR);
        assert_int_equal(s->fault.reason, END_CLIENT_RESET);
    }
}

/* The same before the loop has written: within the very turn. */
static void send_when_woken(struct task *t, unsigned bits)
{
    UNUSED(t);
    UNUSED(bits);
    if (s && !stream_broken(s) && stream_room(s) && stream_send(s, buf, 1000, false) == IO_ERR)
        assert_int_equal(s->fault.reason, END_CLIENT_RESET);
}

static void test_broken_within_the_turn(void **state)
{
    static const char bad[] = "\0\0\4\10\0\0\0\0\1\0\0\0\1\0\0\4\10\0\0\0\0\0\177\377\377\377";
    struct task sender;
    size_t n = sizeof(bad) - 1;

    UNUSED(state);
    task_init(&sender, &net_loop, "sender", send_when_woken);
    conf.window = 65535;
    end();
    begin();
    tunnel();
    net_turns(6);
    s->task = &sender;
    /* It waits for its window, which comes with what breaks the connection. */
    conns[1].piece = 0;
    while (stream_room(s))
        assert_int_equal(stream_send(s, buf, stream_room(s), false), IO_OK);
    net_turns(4);
    memcpy(conns[0].in + conns[0].in_n, bad, n);
    conns[0].in_n += n;
    conn_ready(&conns[0].conn, EPOLLIN);
    loop_turn(&net_loop, 0);
    net_turns(2);
    assert_true(stream_broken(s));
    s->task = &exchange;
    task_cancel(&sender);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_drained_slowly, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drained_never, setup, teardown),
        cmocka_unit_test_setup_teardown(test_last_words, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_after_last_words, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_by_whose_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_was_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_while_sending, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_within_the_turn, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
