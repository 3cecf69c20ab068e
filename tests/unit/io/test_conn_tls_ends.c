/* SPDX-License-Identifier: MIT */
/* How TLS over a conn ends: close_notify against truncation (C80), halves, resets, alerts, peers that are none, floods; and that what was written leaves. */
#include "io/conn_tls.h"

#include "base/err.h"
#include "io/tls_inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/net.h"
#include "support/tls_kit.h"

static struct raw raw;
static char much[400 * 1024];

static int setup(void **state)
{
    UNUSED(state);
    kit_begin();
    return 0;
}

static int setup_version(int version)
{
    struct tls_ctx *s = kit_server_ctx((struct tls_server_conf){.alpn = TLS_ALPN_H1}), *c = kit_client_ctx((struct tls_client_conf){.verify = true});

    kit_begin();
    if (version)
        SSL_CTX_set_max_proto_version(c->ssl, version);
    kit_accept(s);
    kit_connect(c, kit_peer("server.test", TLS_ALPN_H1));
    tls_ctx_unref(s);
    tls_ctx_unref(c);
    kit_shake();
    kit_expect_up();
    kit_carry();
    assert_int_equal(kit_recv_nothing(&kit_cl), IO_AGAIN);
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_AGAIN);
    kit_cl.woken = kit_sv.woken = 0;
    return 0;
}

static int setup_up(void **state)
{
    UNUSED(state);
    return setup_version(0);
}

static int setup_up_12(void **state)
{
    UNUSED(state);
    return setup_version(TLS1_2_VERSION);
}

static int teardown(void **state)
{
    UNUSED(state);
    kit_end();
    return 0;
}

/* ---- orderly ---- */

static void test_close_notify_is_the_end(void **state)
{
    UNUSED(state);
    kit_send(&kit_cl, "last words");
    conn_close(&kit_cl.conn);
    assert_true(kit_cl.lower.closed);
    assert_false(kit_cl.lower.was_reset);
    kit_cl.lower.fin_sent = true;
    kit_carry();
    assert_true(kit_sv.woken & TASK_RX);
    kit_recv(&kit_sv, "last words");
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_EOF);
    assert_true(kit_sv.conn->eof);
    assert_int_equal(kit_sv.conn->error, 0);
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_EOF);
    assert_int_equal(conn_tls_facts(kit_sv.conn)->failure, TLS_OK);
}

/* Each direction ends by itself, as TCP's do (8446 6.1). */
static void test_halves(void **state)
{
    UNUSED(state);
    kit_send(&kit_cl, "request");
    assert_int_equal(conn_shut(kit_cl.conn), 0);
    assert_int_equal(conn_shut(kit_cl.conn), 0);
    kit_carry();
    assert_true(kit_cl.lower.fin_sent);
    assert_false(kit_cl.lower.closed);
    kit_recv(&kit_sv, "request");
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_EOF);
    /* The other one goes on. */
    for (int i = 0; i < 3; i++) {
        kit_send(&kit_sv, "answer");
        kit_carry();
        kit_recv(&kit_cl, "answer");
        assert_int_equal(kit_recv_nothing(&kit_cl), IO_AGAIN);
    }
    assert_int_equal(conn_shut(kit_sv.conn), 0);
    kit_carry();
    assert_true(kit_cl.woken & TASK_RX);
    assert_int_equal(kit_recv_nothing(&kit_cl), IO_EOF);
    assert_int_equal(kit_cl.conn->error, 0);
    assert_int_equal(kit_sv.conn->error, 0);
}

/* The peer ends its half with close_notify, and no FIN behind it. */
static void test_close_notify_without_fin(void **state)
{
    UNUSED(state);
    assert_int_equal(conn_shut(kit_cl.conn), 0);
    net_turns(1);
    kit_cl.lower.fin_sent = false;
    kit_carry();
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_EOF);
    kit_send(&kit_sv, "still here");
    kit_carry();
    kit_recv(&kit_cl, "still here");
    /* What comes behind a close_notify is nothing (8446 6.1). */
    mem_conn_text(&kit_sv.lower, "garbage");
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_EOF);
}

static void test_sending_after_shut(void **state)
{
    struct iovec v = {much, 1};
    size_t n;

    UNUSED(state);
    assert_int_equal(conn_shut(kit_cl.conn), 0);
    assert_int_equal(conn_send(kit_cl.conn, &v, 1, &n), IO_ERR);
}

/* The FIN waits behind what has not left. */
static void test_shut_waits_for_the_tail(void **state)
{
    UNUSED(state);
    mem_conn_room(&kit_cl.lower, 10);
    kit_send(&kit_cl, "a tail");
    assert_int_equal(conn_shut(kit_cl.conn), 0);
    net_turns(2);
    assert_false(kit_cl.lower.fin_sent);
    mem_conn_room(&kit_cl.lower, SIZE_MAX);
    net_turns(2);
    assert_true(kit_cl.lower.fin_sent);
    kit_carry();
    kit_recv(&kit_sv, "a tail");
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_EOF);
}

/* ---- truncated ---- */

/* C80: FIN without close_notify is no end, but what was received before is delivered. */
static void test_fin_alone_is_a_truncation(void **state)
{
    UNUSED(state);
    kit_send(&kit_cl, "half a story");
    kit_carry();
    mem_conn_fin(&kit_sv.lower);
    assert_true(kit_sv.conn->hup);
    kit_recv(&kit_sv, "half a story");
    assert_true(kit_sv.conn->ready & CONN_RX);
    for (int i = 0; i < 3; i++)
        assert_int_equal(kit_recv_nothing(&kit_sv), IO_ERR);
    assert_int_equal(kit_sv.conn->error, ERR_TLS);
    assert_false(kit_sv.conn->eof);
    assert_int_equal(conn_tls_facts(kit_sv.conn)->failure, TLS_TRUNCATED);
    assert_string_equal(kit_failure(&kit_sv), "the client closed the connection without the close_notify that TLS ends with");
}

static void test_fin_inside_a_record(void **state)
{
    UNUSED(state);
    kit_send(&kit_cl, "whole");
    net_turns(1);
    kit_send(&kit_cl, "broken");
    net_turns(1);
    kit_move(&kit_cl, &kit_sv, kit_cl.lower.out_n - 1);
    mem_conn_fin(&kit_sv.lower);
    kit_recv(&kit_sv, "whole");
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_ERR);
    assert_int_equal(conn_tls_facts(kit_sv.conn)->failure, TLS_TRUNCATED);
}

/* U11: RST arrives as an error, behind what came before it; whether the loop has told of it or a call meets it. */
static void rst_behind_bytes(bool told)
{
    kit_send(&kit_cl, "before");
    kit_carry();
    kit_sv.woken = 0;
    mem_conn_rst(&kit_sv.lower, told);
    assert_int_equal(kit_sv.woken, 0);
    net_turns(1);
    if (told) {
        assert_true(kit_sv.woken & TASK_RX);
        assert_int_equal(kit_sv.conn->error, -ECONNRESET);
        assert_true(kit_sv.conn->hup && kit_sv.conn->gone);
        assert_int_equal(conn_tls_facts(kit_sv.conn)->failure, TLS_BROKEN);
    }
    kit_recv(&kit_sv, "before");
    assert_true(kit_sv.conn->ready & CONN_RX);
    for (int i = 0; i < 2; i++)
        assert_int_equal(kit_recv_nothing(&kit_sv), IO_ERR);
    assert_int_equal(kit_sv.conn->error, -ECONNRESET);
    assert_false(kit_sv.conn->eof);
    assert_int_equal(conn_tls_facts(kit_sv.conn)->failure, TLS_TRUNCATED);
}

static void test_rst_told(void **state)
{
    UNUSED(state);
    rst_behind_bytes(true);
}

static void test_rst_met(void **state)
{
    UNUSED(state);
    kit_send(&kit_cl, "before");
    kit_carry();
    kit_sv.lower.conn.hup = true; /* as an RDHUP would say */
    kit_sv.lower.in_error = -ECONNRESET;
    kit_recv(&kit_sv, "before");
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_ERR);
    assert_int_equal(kit_sv.conn->error, -ECONNRESET);
}

/* The sender hears of it at the end of its turn, and is woken. */
static void test_rst_met_by_writing(void **state)
{
    UNUSED(state);
    kit_cl.lower.in_error = -EPIPE;
    kit_send(&kit_cl, "for nobody");
    assert_int_equal(kit_cl.conn->error, 0);
    kit_cl.woken = 0;
    net_turns(2);
    assert_int_equal(kit_cl.conn->error, -EPIPE);
    assert_true(kit_cl.woken & TASK_RX);
    assert_int_equal(kit_recv_nothing(&kit_cl), IO_ERR);
    {
        struct iovec v = {much, 1};
        size_t n;

        assert_int_equal(conn_send(kit_cl.conn, &v, 1, &n), IO_ERR);
    }
}

static void test_reset(void **state)
{
    UNUSED(state);
    kit_send(&kit_cl, "then nothing");
    conn_reset(&kit_cl.conn);
    assert_true(kit_cl.lower.closed && kit_cl.lower.was_reset);
    kit_carry();
    mem_conn_rst(&kit_sv.lower, true);
    kit_recv(&kit_sv, "then nothing");
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_ERR);
}

/* ---- what was written leaves ---- */

static size_t fill(struct side *s)
{
    size_t total = 0, n;

    for (;;) {
        struct iovec v = {much, 16384};

        if (conn_send(s->conn, &v, 1, &n) != IO_OK)
            return total;
        total += n;
    }
}

static void expect_bytes(size_t total)
{
    size_t at = 0, n;

    kit_carry();
    while (at < total) {
        assert_int_equal(conn_recv(kit_sv.conn, much, sizeof(much), &n), IO_OK);
        at += n;
    }
    assert_int_equal(at, total);
}

static void test_close_delivers_the_tail(void **state)
{
    size_t total;

    UNUSED(state);
    kit_cl.lower.room = 5000;
    total = fill(&kit_cl);
    conn_close(&kit_cl.conn);
    net_turns(2);
    assert_false(kit_cl.lower.closed);
    for (int i = 0; !kit_cl.lower.closed; i++) {
        assert_true(i < 100);
        /* Slow, but it goes on: nobody gives up. */
        net_later_ms(CONN_TLS_GRACE_MS - 1000);
        mem_conn_room(&kit_cl.lower, 7000);
        net_turns(2);
    }
    assert_false(kit_cl.lower.was_reset);
    expect_bytes(total);
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_EOF);
}

static void test_close_gives_up(void **state)
{
    UNUSED(state);
    kit_cl.lower.room = 5000;
    fill(&kit_cl);
    conn_close(&kit_cl.conn);
    net_turns(2);
    net_later_ms(CONN_TLS_GRACE_MS - 100);
    assert_false(kit_cl.lower.closed);
    net_later_ms(CONN_TLS_GRACE_MS + 200);
    net_later_ms(CONN_TLS_GRACE_MS + 200);
    assert_true(kit_cl.lower.closed && kit_cl.lower.was_reset);
}

static void test_close_meets_a_break(void **state)
{
    UNUSED(state);
    kit_cl.lower.room = 5000;
    fill(&kit_cl);
    conn_close(&kit_cl.conn);
    net_turns(1);
    mem_conn_rst(&kit_cl.lower, true);
    net_turns(2);
    assert_true(kit_cl.lower.closed);
}

static void test_reset_gets_its_grace(void **state)
{
    UNUSED(state);
    kit_cl.lower.room = 5000;
    fill(&kit_cl);
    conn_reset(&kit_cl.conn);
    net_turns(2);
    assert_false(kit_cl.lower.closed);
    net_later_ms(CONN_RESET_GRACE_MS + 20);
    assert_true(kit_cl.lower.closed && kit_cl.lower.was_reset);
}

/* A loop that ends leaves nobody behind (net_end looks). */
static void test_the_loop_ends_first(void **state)
{
    UNUSED(state);
    kit_cl.lower.room = 5000;
    fill(&kit_cl);
    conn_close(&kit_cl.conn);
    conn_tls_reap_all(&net_loop);
    assert_true(kit_cl.lower.closed && kit_cl.lower.was_reset);
}

/* The peer's close_notify lies unread below: the kernel would answer it with RST. */
static void test_close_reads_the_peers_end(void **state)
{
    UNUSED(state);
    assert_int_equal(conn_shut(kit_sv.conn), 0);
    kit_carry();
    conn_close(&kit_cl.conn);
    assert_int_equal(kit_cl.lower.in_at, kit_cl.lower.in_n);
}

/* ---- failures of the handshake ---- */

static void test_fin_in_the_handshake(void **state)
{
    struct tls_ctx *c = kit_client_ctx((struct tls_client_conf){.verify = true});

    UNUSED(state);
    kit_connect(c, kit_peer("server.test", TLS_ALPN_H1));
    kit_try(&kit_cl);
    mem_conn_fin(&kit_cl.lower);
    kit_try(&kit_cl);
    assert_int_equal(kit_cl.state, IO_ERR);
    assert_int_equal(conn_established(kit_cl.conn), IO_ERR);
    assert_int_equal(kit_cl.conn->error, ERR_TLS);
    assert_string_equal(kit_failure(&kit_cl), "the server closed the connection during the TLS handshake");
    assert_int_equal(conn_tls_facts(kit_cl.conn)->failure, TLS_TRUNCATED);
    tls_ctx_unref(c);
}

static void answered_by(const char *answer, const char *failure)
{
    struct tls_ctx *c = kit_client_ctx((struct tls_client_conf){.verify = true});

    kit_connect(c, kit_peer("server.test", TLS_ALPN_H1));
    kit_try(&kit_cl);
    mem_conn_text(&kit_cl.lower, answer);
    kit_try(&kit_cl);
    assert_int_equal(kit_cl.state, IO_ERR);
    assert_int_equal(conn_tls_facts(kit_cl.conn)->failure, TLS_PROTOCOL);
    assert_string_equal(kit_failure(&kit_cl), failure);
    tls_ctx_unref(c);
}

static void test_a_peer_without_tls(void **state)
{
    UNUSED(state);
    answered_by("HTTP/1.1 400 Bad Request\r\n\r\n", "server.test speaks no TLS: it began with \"HTTP/1.1 400 Bad\"");
}

static void test_a_short_peer_without_tls(void **state)
{
    UNUSED(state);
    answered_by("no\r\n\r\n", "server.test speaks no TLS: it began with \"no....\"");
}

/* No version that both speak: the text and the alert (70) name it. */
static void test_versions(void **state)
{
    struct tls_ctx *s = kit_server_ctx((struct tls_server_conf){.min = TLS_1_3});

    UNUSED(state);
    raw_begin(&raw, false);
    SSL_CTX_set_max_proto_version(raw.ctx, TLS1_2_VERSION);
    raw_ready(&raw, false);
    kit_accept(s);
    assert_int_not_equal(raw_shake(&raw, &kit_sv), 1);
    assert_int_equal(kit_sv.state, IO_ERR);
    assert_int_equal(conn_tls_facts(kit_sv.conn)->failure, TLS_PROTOCOL);
    assert_string_equal(kit_failure(&kit_sv), "there is no TLS version that the client and ginnel both speak");
    raw_end(&raw);
    tls_ctx_unref(s);
}

static void test_versions_alert(void **state)
{
    struct tls_ctx *c = kit_client_ctx((struct tls_client_conf){.verify = true, .min = TLS_1_3});

    UNUSED(state);
    raw_begin(&raw, true);
    SSL_CTX_set_max_proto_version(raw.ctx, TLS1_2_VERSION);
    raw_ready(&raw, true);
    kit_connect(c, kit_peer("server.test", TLS_ALPN_H1));
    assert_int_not_equal(raw_shake(&raw, &kit_cl), 1);
    assert_int_equal(kit_cl.state, IO_ERR);
    assert_int_equal(conn_tls_facts(kit_cl.conn)->failure, TLS_ALERT);
    assert_int_equal(conn_tls_facts(kit_cl.conn)->alert, 70);
    assert_string_equal(kit_failure(&kit_cl), "server.test sent the TLS alert \"protocol version\" (70)");
    raw_end(&raw);
    tls_ctx_unref(c);
}

/* An alert that an RST follows is what is told. */
static void test_alert_then_rst(void **state)
{
    static const char alert[] = "\x15\x03\x03\x00\x02\x02\x28";
    struct tls_ctx *c = kit_client_ctx((struct tls_client_conf){.verify = true});

    UNUSED(state);
    kit_connect(c, kit_peer("server.test", TLS_ALPN_H1));
    kit_try(&kit_cl);
    mem_conn_feed(&kit_cl.lower, alert, sizeof(alert) - 1);
    mem_conn_rst(&kit_cl.lower, true);
    kit_try(&kit_cl);
    assert_int_equal(kit_cl.state, IO_ERR);
    assert_int_equal(conn_tls_facts(kit_cl.conn)->alert, 40);
    assert_int_equal(kit_cl.conn->error, -ECONNRESET);
    tls_ctx_unref(c);
}

/* C83: an answer that was not asked for. */
static int choose_wrong(SSL *ssl, const unsigned char **ret_p, unsigned char *ret_n, const unsigned char *in, unsigned n, void *arg)
{
    UNUSED(ssl);
    UNUSED(in);
    UNUSED(n);
    UNUSED(arg);
    *ret_p = (const unsigned char *)"h2";
    *ret_n = 2;
    return SSL_TLSEXT_ERR_OK;
}

static void test_alpn_that_was_not_offered(void **state)
{
    struct tls_ctx *c = kit_client_ctx((struct tls_client_conf){.verify = true});

    UNUSED(state);
    raw_begin(&raw, true);
    SSL_CTX_set_alpn_select_cb(raw.ctx, choose_wrong, NULL);
    raw_ready(&raw, true);
    kit_connect(c, kit_peer("server.test", TLS_ALPN_H1));
    raw_shake(&raw, &kit_cl);
    assert_int_equal(kit_cl.state, IO_ERR);
    assert_int_equal(conn_tls_facts(kit_cl.conn)->failure, TLS_PROTOCOL);
    raw_end(&raw);
    tls_ctx_unref(c);
}

/* The alert of a handshake that failed leaves, also where the conn is closed in the same turn. */
static void test_the_alert_leaves(void **state)
{
    struct tls_ctx *s = kit_server_ctx((struct tls_server_conf){.alpn = TLS_ALPN_H1});
    struct slice out;

    UNUSED(state);
    kit_accept(s);
    mem_conn_text(&kit_sv.lower, "\x16\x03\x01\xff\xffzzz");
    kit_try(&kit_sv);
    assert_int_equal(kit_sv.state, IO_ERR);
    conn_close(&kit_sv.conn);
    out = slice_of(kit_sv.lower.out, kit_sv.lower.out_n);
    assert_int_equal(out.n, 7);
    assert_int_equal(out.p[0], 0x15);
    assert_false(kit_sv.lower.was_reset);
    tls_ctx_unref(s);
}

/* ---- a peer that wants to keep us busy ---- */

static void raw_up(void)
{
    struct tls_ctx *s = kit_server_ctx((struct tls_server_conf){.alpn = TLS_ALPN_H1});

    raw_begin(&raw, false);
    raw_ready(&raw, false);
    kit_accept(s);
    assert_int_equal(raw_shake(&raw, &kit_sv), 1);
    assert_int_equal(kit_sv.state, IO_OK);
    tls_ctx_unref(s);
}

static void test_key_updates(void **state)
{
    char buf[16];

    UNUSED(state);
    raw_up();
    for (int i = 0; i < 20; i++) {
        assert_int_equal(SSL_key_update(raw.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_write(raw.ssl, "x", 1), 1);
        raw_move(&raw, &kit_sv);
        kit_recv(&kit_sv, "x");
        kit_send(&kit_sv, "y");
        net_turns(1);
        raw_move(&raw, &kit_sv);
        assert_int_equal(SSL_read(raw.ssl, buf, sizeof(buf)), 1);
    }
    raw_end(&raw);
}

static void test_a_flood_of_key_updates(void **state)
{
    enum io r = IO_AGAIN;
    char buf[16];
    size_t n;

    UNUSED(state);
    raw_up();
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(SSL_key_update(raw.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(raw.ssl), 1);
    }
    raw_move(&raw, &kit_sv);
    for (int i = 0; i < 100 && r == IO_AGAIN; i++) {
        r = conn_recv(kit_sv.conn, buf, sizeof(buf), &n);
        net_turns(1);
    }
    assert_int_equal(r, IO_ERR);
    assert_int_equal(conn_tls_facts(kit_sv.conn)->failure, TLS_PROTOCOL);
    assert_string_equal(kit_failure(&kit_sv), "the client sends TLS messages that carry nothing, one after another");
    /* Answered as long as it was read: 27 bytes each. */
    assert_true(kit_sv.lower.out_n < 2500);
    raw_end(&raw);
}

/* TLS 1.2: nobody shakes hands twice. */
static void test_renegotiation(void **state)
{
    struct tls_ctx *s = kit_server_ctx((struct tls_server_conf){.alpn = TLS_ALPN_H1});

    UNUSED(state);
    raw_begin(&raw, false);
    SSL_CTX_set_max_proto_version(raw.ctx, TLS1_2_VERSION);
    raw_ready(&raw, false);
    kit_accept(s);
    assert_int_equal(raw_shake(&raw, &kit_sv), 1);
    assert_int_equal(conn_tls_facts(kit_sv.conn)->version, 0x0303);
    assert_int_equal(SSL_renegotiate(raw.ssl), 1);
    for (int i = 0; i < 4; i++) {
        char c;
        size_t n;
        enum io r;

        SSL_do_handshake(raw.ssl);
        ERR_clear_error();
        raw_move(&raw, &kit_sv);
        r = conn_recv(kit_sv.conn, &c, 1, &n);
        assert_true(r == IO_AGAIN || r == IO_ERR || r == IO_EOF);
        net_turns(1);
    }
    raw_end(&raw);
    tls_ctx_unref(s);
}

/* Many records of a byte each: bounded work a call, and all of it arrives. */
static void test_tiny_records(void **state)
{
    size_t total = 0, n;
    char buf[4096];

    UNUSED(state);
    raw_up();
    for (int i = 0; i < 3000; i++)
        assert_int_equal(SSL_write(raw.ssl, "x", 1), 1);
    raw_move(&raw, &kit_sv);
    while (conn_recv(kit_sv.conn, buf, sizeof(buf), &n) == IO_OK) {
        assert_in_range(n, 1, 64);
        total += n;
    }
    assert_int_equal(total, 3000);
    assert_false(kit_sv.conn->ready & CONN_RX);
    raw_end(&raw);
}

static void test_a_wrong_byte(void **state)
{
    UNUSED(state);
    kit_send(&kit_cl, "good");
    net_turns(1);
    kit_send(&kit_cl, "bad");
    net_turns(1);
    kit_cl.lower.out[kit_cl.lower.out_n - 1] ^= 1;
    kit_carry();
    kit_recv(&kit_sv, "good");
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_ERR);
    assert_int_equal(conn_tls_facts(kit_sv.conn)->failure, TLS_PROTOCOL);
    /* The peer is told (bad_record_mac, 20). */
    kit_carry();
    assert_int_equal(kit_recv_nothing(&kit_cl), IO_ERR);
    assert_int_equal(conn_tls_facts(kit_cl.conn)->failure, TLS_ALERT);
    assert_int_equal(conn_tls_facts(kit_cl.conn)->alert, 20);
}

/* ---- over sockets ---- */

static int setup_sockets(void **state)
{
    struct tls_ctx *s = kit_server_ctx((struct tls_server_conf){.alpn = TLS_ALPN_H1}), *c = kit_client_ctx((struct tls_client_conf){.verify = true});
    struct tls_peer peer = kit_peer("server.test", TLS_ALPN_H1);
    struct conn *at_server, *at_client;
    int fd[2];

    UNUSED(state);
    kit_begin();
    net_pair(fd, true);
    assert_int_equal(conn_tcp_new(&net_loop, fd[0], false, &at_server), 0);
    assert_int_equal(conn_tcp_new(&net_loop, fd[1], false, &at_client), 0);
    assert_int_equal(conn_tls_accept(&at_server, s, SLICE_NONE, &kit_sv.conn), 0);
    assert_int_equal(conn_tls_connect(&at_client, c, &peer, &kit_cl.conn), 0);
    kit_own(&kit_sv);
    kit_own(&kit_cl);
    NET_UNTIL((kit_try(&kit_cl), kit_try(&kit_sv), kit_cl.state != IO_AGAIN && kit_sv.state != IO_AGAIN));
    kit_expect_up();
    tls_ctx_unref(s);
    tls_ctx_unref(c);
    return 0;
}

/* Everything that is there now, behind *at; how it stands. */
static enum io read_on(struct side *s, size_t *at)
{
    size_t n;
    enum io r;

    while ((r = conn_recv(s->conn, much, sizeof(much), &n)) == IO_OK)
        *at += n;
    return r;
}

/* The kernel takes little: the tail waits, and the close behind it. */
static void test_sockets_close(void **state)
{
    size_t total = fill(&kit_sv), at = 0;

    UNUSED(state);
    assert_true(total > 16384);
    conn_close(&kit_sv.conn);
    NET_UNTIL(read_on(&kit_cl, &at) == IO_EOF);
    assert_int_equal(at, total);
    assert_int_equal(kit_cl.conn->error, 0);
}

static void test_sockets_halves(void **state)
{
    size_t total = fill(&kit_sv), at = 0;

    UNUSED(state);
    assert_int_equal(conn_shut(kit_sv.conn), 0);
    NET_UNTIL(read_on(&kit_cl, &at) == IO_EOF);
    assert_int_equal(at, total);
    at = 0;
    total = fill(&kit_cl);
    conn_close(&kit_cl.conn);
    NET_UNTIL(read_on(&kit_sv, &at) == IO_EOF);
    assert_int_equal(at, total);
    assert_int_equal(kit_sv.conn->error, 0);
}

/* U11: an RST is an RST, and what was written before it arrives. */
static void test_sockets_reset(void **state)
{
    size_t at = 0;

    UNUSED(state);
    kit_send(&kit_sv, "before");
    net_turns(1);
    conn_reset(&kit_sv.conn);
    NET_UNTIL(read_on(&kit_cl, &at) == IO_ERR);
    assert_int_equal(at, 6);
    assert_int_equal(kit_cl.conn->error, -ECONNRESET);
    assert_false(kit_cl.conn->eof);
}

/* Nobody asks, and it is told: the task is woken, and sending fails. */
static void test_sockets_reset_wakes(void **state)
{
    UNUSED(state);
    conn_reset(&kit_sv.conn);
    kit_cl.woken = 0;
    NET_UNTIL(kit_cl.woken & TASK_RX);
    NET_UNTIL(kit_cl.conn->error);
    assert_int_equal(kit_recv_nothing(&kit_cl), IO_ERR);
}

#define BOTH(t)                                                                                    \
    {#t " (1.3)", t, setup_up, teardown, NULL}, {#t " (1.2)", t, setup_up_12, teardown, NULL}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_close_notify_is_the_end),
        BOTH(test_halves),
        BOTH(test_close_notify_without_fin),
        cmocka_unit_test_setup_teardown(test_sending_after_shut, setup_up, teardown),
        BOTH(test_shut_waits_for_the_tail),
        BOTH(test_fin_alone_is_a_truncation),
        BOTH(test_fin_inside_a_record),
        BOTH(test_rst_told),
        BOTH(test_rst_met),
        BOTH(test_rst_met_by_writing),
        BOTH(test_reset),
        BOTH(test_close_delivers_the_tail),
        cmocka_unit_test_setup_teardown(test_close_gives_up, setup_up, teardown),
        cmocka_unit_test_setup_teardown(test_close_meets_a_break, setup_up, teardown),
        cmocka_unit_test_setup_teardown(test_reset_gets_its_grace, setup_up, teardown),
        cmocka_unit_test_setup_teardown(test_the_loop_ends_first, setup_up, teardown),
        BOTH(test_close_reads_the_peers_end),
        cmocka_unit_test_setup_teardown(test_fin_in_the_handshake, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_peer_without_tls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_short_peer_without_tls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_versions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_versions_alert, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alert_then_rst, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alpn_that_was_not_offered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_alert_leaves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_key_updates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_flood_of_key_updates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_renegotiation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tiny_records, setup, teardown),
        BOTH(test_a_wrong_byte),
        cmocka_unit_test_setup_teardown(test_sockets_close, setup_sockets, teardown),
        cmocka_unit_test_setup_teardown(test_sockets_halves, setup_sockets, teardown),
        cmocka_unit_test_setup_teardown(test_sockets_reset, setup_sockets, teardown),
        cmocka_unit_test_setup_teardown(test_sockets_reset_wakes, setup_sockets, teardown),
    };

    return cmocka_run_group_tests(tests, kit_group_setup, kit_group_teardown);
}
