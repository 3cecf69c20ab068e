/* SPDX-License-Identifier: MIT */
/* TLS as a conn: the handshake at every byte, moving bytes, readiness (conn.h), and what waits for whom. How it ends is in test_conn_tls_ends.c. */
#include "io/conn_tls.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/net.h"
#include "support/tls_kit.h"

enum { MUCH = 300 * 1024 };
static char text[MUCH], got[MUCH];

static const struct tls_server_conf plain_server = {.alpn = TLS_ALPN_H1 | TLS_ALPN_H2};

static int setup(void **state)
{
    UNUSED(state);
    kit_begin();
    for (size_t i = 0; i < MUCH; i++)
        text[i] = (char)(i * 31 + i / 251);
    return 0;
}

static int setup_up(void **state)
{
    setup(state);
    kit_up(plain_server, (struct tls_client_conf){0}, kit_peer("server.test", TLS_ALPN_H1));
    kit_expect_up();
    /* The tickets. */
    kit_carry();
    assert_int_equal(kit_recv_nothing(&kit_cl), IO_AGAIN);
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_AGAIN);
    kit_cl.woken = kit_sv.woken = 0;
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    kit_end();
    return 0;
}

/* ---- the handshake ---- */

static void expect_facts(void)
{
    const struct tls_facts *f = conn_tls_facts(kit_cl.conn), *s = conn_tls_facts(kit_sv.conn);

    assert_int_equal(f->failure, TLS_OK);
    assert_int_equal(f->alpn, TLS_ALPN_H2);
    assert_int_equal(s->alpn, TLS_ALPN_H2);
    assert_int_equal(f->version, 0x0304);
    assert_string_equal(f->cipher, s->cipher);
    assert_false(f->resumed);
    assert_true(slice_eq(s->sni, SLICE("server.test")));
    assert_true(slice_eq(f->subject, SLICE("CN=server")));
    assert_true(slice_eq(f->common_name, SLICE("server")));
    assert_true(slice_eq(f->dns, SLICE("server.test")));
    assert_int_equal(s->subject.n, 0);
}

static void test_handshake(void **state)
{
    UNUSED(state);
    kit_up(plain_server, (struct tls_client_conf){0}, kit_peer("server.test", TLS_ALPN_H1 | TLS_ALPN_H2));
    kit_expect_up();
    expect_facts();
    assert_null(conn_tls_facts(&kit_cl.lower.conn));
    assert_int_equal(conn_fd(kit_cl.conn, CONN_IN), -1);
    assert_int_equal(conn_fd(kit_cl.conn, CONN_OUT), -1);
    assert_int_equal(conn_established(kit_cl.conn), IO_OK);
}

static void test_handshake_byte_by_byte(void **state)
{
    struct tls_ctx *s = kit_server_ctx(plain_server), *c = kit_client_ctx((struct tls_client_conf){.verify = true});

    UNUSED(state);
    kit_accept(s);
    kit_connect(c, kit_peer("server.test", TLS_ALPN_H1 | TLS_ALPN_H2));
    kit_shake_by(1);
    kit_expect_up();
    expect_facts();
    kit_carry();
    kit_send(&kit_cl, "hello");
    net_turns(1);
    for (int i = 0; kit_move(&kit_cl, &kit_sv, 1); i++) {
        net_turns(1);
        if (kit_cl.lower.out_n)
            assert_int_equal(kit_recv_nothing(&kit_sv), IO_AGAIN);
    }
    kit_recv(&kit_sv, "hello");
    tls_ctx_unref(s);
    tls_ctx_unref(c);
}

/* What the session has read of the ClientHello already, of any length. */
static void test_early_bytes(void **state)
{
    struct tls_ctx *s = kit_server_ctx(plain_server), *c = kit_client_ctx((struct tls_client_conf){.verify = true});
    size_t n = 1, all = 2;

    UNUSED(state);
    for (; n < all; n += n < 16 ? 1 : 37) {
        struct conn *lower = &kit_sv.lower.conn;

        kit_connect(c, kit_peer("server.test", TLS_ALPN_H2));
        kit_try(&kit_cl);
        net_turns(1);
        all = kit_cl.lower.out_n;
        assert_int_equal(conn_tls_accept(&lower, s, slice_of(kit_cl.lower.out, min_size(n, all)), &kit_sv.conn), 0);
        kit_own(&kit_sv);
        kit_cl.lower.out_n -= min_size(n, all);
        memmove(kit_cl.lower.out, kit_cl.lower.out + n, kit_cl.lower.out_n);
        kit_shake();
        kit_expect_up();
        conn_close(&kit_cl.conn);
        conn_close(&kit_sv.conn);
        net_turns(1);
        kit_side_init(&kit_cl);
        kit_side_init(&kit_sv);
    }
    assert_true(all > 200);
    tls_ctx_unref(s);
    tls_ctx_unref(c);
}

/* C83: one answer, from the client's list; none that both want: no_application_protocol (120). */
static void test_alpn(void **state)
{
    static const struct {
        unsigned takes, offers;
        enum tls_alpn agreed;
        bool fails;
    } rows[] = {
        {TLS_ALPN_H1 | TLS_ALPN_H2, TLS_ALPN_H1 | TLS_ALPN_H2, TLS_ALPN_H2, false},
        {TLS_ALPN_H1 | TLS_ALPN_H2, TLS_ALPN_H1, TLS_ALPN_H1, false},
        {TLS_ALPN_H1 | TLS_ALPN_H2, TLS_ALPN_H2, TLS_ALPN_H2, false},
        {TLS_ALPN_H1, TLS_ALPN_H1 | TLS_ALPN_H2, TLS_ALPN_H1, false},
        {TLS_ALPN_H1 | TLS_ALPN_H2, TLS_ALPN_NONE, TLS_ALPN_NONE, false},
        {TLS_ALPN_NONE, TLS_ALPN_H2, TLS_ALPN_NONE, false},
        {TLS_ALPN_H1, TLS_ALPN_H2, TLS_ALPN_NONE, true},
        {TLS_ALPN_H2, TLS_ALPN_H1, TLS_ALPN_NONE, true},
    };

    UNUSED(state);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        kit_up((struct tls_server_conf){.alpn = rows[i].takes}, (struct tls_client_conf){0}, kit_peer("server.test", rows[i].offers));
        if (rows[i].fails) {
            assert_int_equal(kit_cl.state, IO_ERR);
            assert_int_equal(kit_sv.state, IO_ERR);
            assert_int_equal(conn_tls_facts(kit_cl.conn)->failure, TLS_ALERT);
            assert_int_equal(conn_tls_facts(kit_cl.conn)->alert, 120);
            assert_string_equal(kit_failure(&kit_cl), "server.test sent the TLS alert \"no application protocol\" (120)");
            assert_int_equal(conn_tls_facts(kit_sv.conn)->failure, TLS_PROTOCOL);
            assert_string_equal(kit_failure(&kit_sv), "the client offers no protocol that is spoken here (ALPN)");
        } else {
            kit_expect_up();
            assert_int_equal(conn_tls_facts(kit_cl.conn)->alpn, rows[i].agreed);
            assert_int_equal(conn_tls_facts(kit_sv.conn)->alpn, rows[i].agreed);
        }
        conn_close(&kit_cl.conn);
        conn_close(&kit_sv.conn);
        net_turns(1);
        kit_side_init(&kit_cl);
        kit_side_init(&kit_sv);
    }
}

/* Bytes may be asked for and sent before anybody has asked for the handshake. */
static void test_moving_drives_the_handshake(void **state)
{
    struct tls_ctx *s = kit_server_ctx(plain_server), *c = kit_client_ctx((struct tls_client_conf){.verify = true});
    struct iovec v = {(void *)(uintptr_t)"x", 1};
    size_t n;

    UNUSED(state);
    kit_accept(s);
    kit_connect(c, kit_peer("server.test", TLS_ALPN_H1));
    for (int i = 0; conn_send(kit_cl.conn, &v, 1, &n) == IO_AGAIN; i++) {
        assert_true(i < 10);
        net_turns(1);
        kit_move(&kit_cl, &kit_sv, SIZE_MAX);
        assert_int_equal(kit_recv_nothing(&kit_sv), IO_AGAIN);
        net_turns(1);
        kit_move(&kit_sv, &kit_cl, SIZE_MAX);
    }
    kit_carry();
    kit_recv(&kit_sv, "x");
    tls_ctx_unref(s);
    tls_ctx_unref(c);
}

/* ---- moving bytes ---- */

static void test_bytes_both_ways(void **state)
{
    UNUSED(state);
    kit_send(&kit_cl, "question");
    kit_send(&kit_sv, "answer");
    kit_carry();
    assert_true(kit_sv.woken & TASK_RX);
    kit_recv(&kit_sv, "question");
    kit_recv(&kit_cl, "answer");
    assert_int_equal(kit_cl.conn->tx_bytes, 8);
    assert_int_equal(kit_sv.conn->rx_bytes, 8);
    assert_int_equal(kit_cl.conn->rx_bytes, 6);
    assert_false(kit_sv.conn->ready & CONN_RX);
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_AGAIN);
}

/* What one turn sends leaves in one piece. */
static void test_sent_at_the_end_of_the_turn(void **state)
{
    unsigned before = kit_cl.lower.n_sends;

    UNUSED(state);
    for (int i = 0; i < 10; i++)
        kit_send(&kit_cl, "0123456789");
    assert_int_equal(kit_cl.lower.n_sends, before);
    net_turns(1);
    assert_int_equal(kit_cl.lower.n_sends, before + 1);
    kit_carry();
    /* And what is there is read at once. */
    assert_int_equal(kit_sv.conn->ready & CONN_RX, CONN_RX);
    before = kit_sv.lower.n_recvs;
    {
        size_t n;

        assert_int_equal(conn_recv(kit_sv.conn, got, MUCH, &n), IO_OK);
        assert_int_equal(n, 100);
    }
    assert_int_equal(kit_sv.lower.n_recvs, before + 1);
}

static void test_pieces_share_a_record(void **state)
{
    struct iovec v[5] = {{text, 10}, {text + 10, 0}, {text + 10, 100}, {text + 110, 40000}, {text + 40110, 7}};
    size_t n, at = 0;

    UNUSED(state);
    assert_int_equal(conn_send(kit_cl.conn, v, 5, &n), IO_OK);
    assert_int_equal(n, 40117);
    net_turns(1);
    /* Three records: 2 * 16384 and the rest; 22 bytes each beside them. */
    assert_int_equal(kit_cl.lower.out_n, 40117 + 3 * 22);
    kit_carry();
    while (conn_recv(kit_sv.conn, got + at, 5000, &n) == IO_OK)
        at += n;
    assert_int_equal(at, 40117);
    assert_memory_equal(got, text, at);
}

static void test_nothing_to_send(void **state)
{
    struct iovec v[2] = {{text, 0}, {text, 0}};
    size_t n = 5;

    UNUSED(state);
    assert_int_equal(conn_send(kit_cl.conn, v, 2, &n), IO_OK);
    assert_int_equal(n, 0);
    assert_true(kit_cl.conn->ready & CONN_TX);
}

/* A reader that takes little at a time keeps RX until it has all. */
static void test_small_reads_keep_rx(void **state)
{
    char c;
    size_t n;

    UNUSED(state);
    kit_send(&kit_cl, "abc");
    kit_carry();
    for (int i = 0; i < 3; i++) {
        assert_true(kit_sv.conn->ready & CONN_RX);
        assert_int_equal(conn_recv(kit_sv.conn, &c, 1, &n), IO_OK);
        assert_int_equal(c, "abc"[i]);
    }
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_AGAIN);
    assert_false(kit_sv.conn->ready & CONN_RX);
}

/* A record that has not come whole is nothing, and the rest of it is a wake-up. */
static void test_half_a_record(void **state)
{
    size_t n;

    UNUSED(state);
    kit_send(&kit_cl, "first");
    net_turns(1);
    kit_send(&kit_cl, "second");
    net_turns(1);
    n = kit_cl.lower.out_n;
    kit_move(&kit_cl, &kit_sv, n - 3);
    net_turns(1);
    kit_recv(&kit_sv, "first");
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_AGAIN);
    kit_sv.woken = 0;
    kit_move(&kit_cl, &kit_sv, SIZE_MAX);
    net_turns(1);
    assert_true(kit_sv.woken & TASK_RX);
    kit_recv(&kit_sv, "second");
}

static size_t send_until_full(struct side *s)
{
    size_t total = 0, n;

    for (;;) {
        struct iovec v = {text + total % 1000, 16384};
        enum io r = conn_send(s->conn, &v, 1, &n);

        if (r == IO_AGAIN)
            return total;
        assert_int_equal(r, IO_OK);
        total += n;
        assert_true(total < MUCH);
    }
}

/* What the lower conn does not take waits, up to 64 KB and a record; the sender is told to stop, and woken when it has left. */
static void test_a_tail_waits(void **state)
{
    size_t total;

    UNUSED(state);
    kit_cl.lower.room = 1000;
    total = send_until_full(&kit_cl);
    assert_in_range(total, 16384, 65536 + 16384);
    assert_false(kit_cl.conn->ready & CONN_TX);
    net_turns(2);
    assert_int_equal(kit_cl.lower.out_n, 1000);
    kit_cl.woken = 0;
    net_turns(3);
    assert_int_equal(kit_cl.woken, 0);
    /* Nobody sends any more: the tail leaves by itself, as room comes. */
    while (kit_cl.lower.out_n < total) {
        size_t before = kit_cl.lower.out_n;

        mem_conn_room(&kit_cl.lower, 7000);
        net_turns(2);
        assert_true(kit_cl.lower.out_n > before);
    }
    mem_conn_room(&kit_cl.lower, SIZE_MAX);
    net_turns(2);
    assert_true(kit_cl.conn->ready & CONN_TX);
    assert_true(kit_cl.woken & TASK_TX);
    kit_carry();
    for (size_t at = 0, n; at < total; at += n)
        assert_int_equal(conn_recv(kit_sv.conn, got, MUCH, &n), IO_OK);
    assert_int_equal(kit_sv.conn->rx_bytes, total);
}

static void test_bulk(void **state)
{
    size_t sent = 0, at = 0, n;

    UNUSED(state);
    for (int i = 0; at < MUCH; i++) {
        struct iovec v = {text + sent, MUCH - sent};

        assert_true(i < 1000);
        if (sent < MUCH && conn_send(kit_cl.conn, &v, 1, &n) == IO_OK)
            sent += n;
        net_turns(1);
        kit_move(&kit_cl, &kit_sv, 9999);
        while (conn_recv(kit_sv.conn, got + at, min_size(16384, MUCH - at + 1), &n) == IO_OK)
            at += n;
    }
    assert_int_equal(at, MUCH);
    assert_memory_equal(got, text, MUCH);
}

/* Bulk is read some records at a time; what that takes is given back. */
static void test_bulk_takes_few_reads(void **state)
{
    size_t sent = 0, at = 0, n;
    unsigned before = kit_sv.lower.n_recvs;
    uint64_t held;

    UNUSED(state);
    for (; sent < MUCH; sent += n) {
        struct iovec v = {text + sent, min_size(MUCH - sent, 16384)};

        assert_int_equal(conn_send(kit_cl.conn, &v, 1, &n), IO_OK);
        net_turns(1);
    }
    held = mem_counted();
    kit_move(&kit_cl, &kit_sv, SIZE_MAX);
    while (conn_recv(kit_sv.conn, got + at, min_size(16384, MUCH - at + 1), &n) == IO_OK)
        at += n;
    assert_int_equal(at, MUCH);
    assert_memory_equal(got, text, MUCH);
    assert_in_range(kit_sv.lower.n_recvs - before, 5, 12);
    assert_true(mem_counted() <= held + 1024);
    /* And a few bytes afterwards, as ever. */
    for (int i = 0; i < 3; i++) {
        kit_send(&kit_cl, "small");
        kit_carry();
        kit_recv(&kit_sv, "small");
        assert_int_equal(kit_recv_nothing(&kit_sv), IO_AGAIN);
    }
}

/* ---- stacked ---- */

static void stack_second(struct side *s, struct conn *upper)
{
    s->conn = upper;
    s->state = IO_AGAIN;
    kit_own(s);
}

/* To an origin through a parent that is spoken to over TLS: TLS in TLS. */
static void test_tls_in_tls(void **state)
{
    struct tls_ctx *sc = kit_server_ctx((struct tls_server_conf){.alpn = TLS_ALPN_H1}), *cc = kit_client_ctx((struct tls_client_conf){.verify = true});
    struct tls_peer peer = kit_peer("server.test", TLS_ALPN_H1);
    size_t sent = 0, at = 0, n;
    struct conn *upper;

    UNUSED(state);
    assert_int_equal(conn_tls_accept(&kit_sv.conn, sc, SLICE_NONE, &upper), 0);
    stack_second(&kit_sv, upper);
    assert_int_equal(conn_tls_connect(&kit_cl.conn, cc, &peer, &upper), 0);
    stack_second(&kit_cl, upper);
    for (int i = 0; kit_cl.state == IO_AGAIN || kit_sv.state == IO_AGAIN; i++) {
        assert_true(i < 20);
        kit_try(&kit_cl);
        kit_try(&kit_sv);
        kit_carry();
    }
    kit_expect_up();
    assert_ptr_equal(conn_lowest(kit_cl.conn), &kit_cl.lower.conn);
    for (int i = 0; at < MUCH; i++) {
        struct iovec v = {text + sent, MUCH - sent};

        assert_true(i < 1000);
        if (sent < MUCH && conn_send(kit_cl.conn, &v, 1, &n) == IO_OK)
            sent += n;
        net_turns(1);
        kit_move(&kit_cl, &kit_sv, 9999);
        while (conn_recv(kit_sv.conn, got + at, min_size(16384, MUCH - at + 1), &n) == IO_OK)
            at += n;
    }
    assert_memory_equal(got, text, MUCH);
    /* The inner end goes through both. */
    assert_int_equal(conn_shut(kit_cl.conn), 0);
    kit_carry();
    kit_carry();
    assert_int_equal(kit_recv_nothing(&kit_sv), IO_EOF);
    assert_true(kit_cl.lower.fin_sent);
    kit_send(&kit_sv, "back");
    kit_carry();
    kit_carry();
    kit_recv(&kit_cl, "back");
    conn_reset(&kit_sv.conn);
    assert_true(kit_sv.lower.closed && kit_sv.lower.was_reset);
    tls_ctx_unref(sc);
    tls_ctx_unref(cc);
}

/* ---- memory while idle ---- */

/* Buffers are given back when they are empty: what an idle connection holds is in doc/design/005. */
static void test_idle_memory(void **state)
{
    struct tls_ctx *s = kit_server_ctx(plain_server);
    uint64_t before, after;

    UNUSED(state);
    conn_close(&kit_sv.conn);
    conn_close(&kit_cl.conn);
    net_turns(1);
    before = mem_counted();
    kit_side_init(&kit_sv);
    kit_side_init(&kit_cl);
    kit_accept(s);
    {
        struct tls_ctx *c = kit_client_ctx((struct tls_client_conf){.verify = true});

        kit_connect(c, kit_peer("server.test", TLS_ALPN_H1));
        kit_shake();
        kit_expect_up();
        kit_send(&kit_cl, "hello");
        kit_carry();
        kit_recv(&kit_sv, "hello");
        conn_close(&kit_cl.conn);
        tls_ctx_unref(c);
    }
    net_turns(2);
    after = mem_counted();
    tls_ctx_unref(s);
    print_message("an idle TLS connection: %llu bytes\n", (unsigned long long)(after - before));
    assert_true(after - before < 40 * 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_handshake, setup, teardown),
        cmocka_unit_test_setup_teardown(test_handshake_byte_by_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_early_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alpn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moving_drives_the_handshake, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes_both_ways, setup_up, teardown),
        cmocka_unit_test_setup_teardown(test_sent_at_the_end_of_the_turn, setup_up, teardown),
        cmocka_unit_test_setup_teardown(test_pieces_share_a_record, setup_up, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_to_send, setup_up, teardown),
        cmocka_unit_test_setup_teardown(test_small_reads_keep_rx, setup_up, teardown),
        cmocka_unit_test_setup_teardown(test_half_a_record, setup_up, teardown),
        cmocka_unit_test_setup_teardown(test_a_tail_waits, setup_up, teardown),
        cmocka_unit_test_setup_teardown(test_bulk, setup_up, teardown),
        cmocka_unit_test_setup_teardown(test_bulk_takes_few_reads, setup_up, teardown),
        cmocka_unit_test_setup_teardown(test_tls_in_tls, setup_up, teardown),
        cmocka_unit_test_setup_teardown(test_idle_memory, setup_up, teardown),
    };

    return cmocka_run_group_tests(tests, kit_group_setup, kit_group_teardown);
}
