/* SPDX-License-Identifier: MIT */
/* Resumption: tickets that are good with every worker and outlive rotations, and the sessions that a client context keeps: for one name, port and ALPN,
 * and never another context's. */
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

static struct tls_tickets *tickets;
static struct tls_ctx *server, *client;
static int max_version;

static struct tls_client_conf verifying(void)
{
    return (struct tls_client_conf){.verify = true};
}

static int setup_version(int version)
{
    kit_begin();
    max_version = version;
    tickets = tls_tickets_new();
    assert_non_null(tickets);
    server = kit_server_ctx((struct tls_server_conf){.alpn = TLS_ALPN_H1 | TLS_ALPN_H2, .tickets = tickets});
    client = kit_client_ctx(verifying());
    SSL_CTX_set_max_proto_version(client->ssl, version);
    return 0;
}

static int setup_13(void **state)
{
    UNUSED(state);
    return setup_version(TLS1_3_VERSION);
}

static int setup_12(void **state)
{
    UNUSED(state);
    return setup_version(TLS1_2_VERSION);
}

static int teardown(void **state)
{
    UNUSED(state);
    tls_ctx_unref(server);
    tls_ctx_unref(client);
    tls_tickets_unref(tickets);
    kit_end();
    return 0;
}

static void part(void)
{
    conn_close(&kit_cl.conn);
    conn_close(&kit_sv.conn);
    net_turns(1);
    kit_side_init(&kit_cl);
    kit_side_init(&kit_sv);
}

/* A connection from beginning to end, with a ticket where there is one; whether it was resumed. */
static bool meet(struct tls_ctx *s, struct tls_ctx *c, struct tls_peer peer)
{
    bool resumed;

    kit_accept(s);
    kit_connect(c, peer);
    kit_shake();
    kit_expect_up();
    kit_carry();
    kit_send(&kit_cl, "hello");
    kit_send(&kit_sv, "hello");
    kit_carry();
    kit_recv(&kit_sv, "hello");
    kit_recv(&kit_cl, "hello");
    resumed = conn_tls_facts(kit_cl.conn)->resumed;
    assert_int_equal(conn_tls_facts(kit_sv.conn)->resumed, resumed);
    assert_int_equal(conn_tls_facts(kit_cl.conn)->version, max_version);
    part();
    return resumed;
}

static bool meet_again(void)
{
    return meet(server, client, kit_peer("server.test", TLS_ALPN_H1));
}

/* ---- the server's keys ---- */

static void test_resumed(void **state)
{
    UNUSED(state);
    assert_false(meet_again());
    for (int i = 0; i < 5; i++)
        assert_true(meet_again());
}

/* The facts of a resumed session are those of the first. */
static void test_resumed_facts(void **state)
{
    UNUSED(state);
    meet_again();
    kit_accept(server);
    kit_connect(client, kit_peer("server.test", TLS_ALPN_H1));
    kit_shake();
    kit_expect_up();
    assert_true(conn_tls_facts(kit_cl.conn)->resumed);
    assert_true(slice_eq(conn_tls_facts(kit_cl.conn)->subject, SLICE("CN=server")));
    assert_true(slice_eq(conn_tls_facts(kit_sv.conn)->sni, SLICE("server.test")));
    assert_int_equal(conn_tls_facts(kit_cl.conn)->alpn, TLS_ALPN_H1);
}

static void test_no_tickets(void **state)
{
    struct tls_ctx *without = kit_server_ctx((struct tls_server_conf){.alpn = TLS_ALPN_H1});

    UNUSED(state);
    for (int i = 0; i < 3; i++)
        assert_false(meet(without, client, kit_peer("server.test", TLS_ALPN_H1)));
    tls_ctx_unref(without);
}

/* Another worker, with a library context of its own, and another certificate after a reload. */
static void test_resumed_with_another_worker(void **state)
{
    struct tls_lib *lib = tls_lib_new();
    struct kit_cert next = kit_cert((struct kit_want){.cn = "next", .san = "DNS:server.test", .issuer = &kit_ca});
    struct tls_pair pair = kit_pair(&next);
    struct tls_ctx *other = kit_server_ctx_on(lib, (struct tls_server_conf){.pairs = &pair, .n_pairs = 1, .alpn = TLS_ALPN_H1, .tickets = tickets});

    UNUSED(state);
    assert_false(meet_again());
    assert_true(meet(other, client, kit_peer("server.test", TLS_ALPN_H1)));
    assert_true(meet_again());
    tls_ctx_unref(other);
    tls_lib_free(lib);
    kit_cert_free(&next);
}

static void test_rotation(void **state)
{
    UNUSED(state);
    for (unsigned n = 0; n <= TLS_TICKET_KEYS; n++) {
        struct tls_ctx *c = kit_client_ctx(verifying());

        SSL_CTX_set_max_proto_version(c->ssl, max_version);
        assert_false(meet(server, c, kit_peer("server.test", TLS_ALPN_H1)));
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(tls_tickets_rotate(tickets), 0);
        assert_int_equal(meet(server, c, kit_peer("server.test", TLS_ALPN_H1)), n < TLS_TICKET_KEYS);
        /* It was renewed: the old key may go now. */
        for (unsigned i = 1; i < TLS_TICKET_KEYS; i++)
            assert_int_equal(tls_tickets_rotate(tickets), 0);
        assert_true(meet(server, c, kit_peer("server.test", TLS_ALPN_H1)));
        tls_ctx_unref(c);
    }
}

/* A fleet: the same keys, in another process; and keys from a file that go. */
static void test_keys_from_outside(void **state)
{
    unsigned char keys[3 * TLS_TICKET_KEY];
    struct tls_tickets *far = tls_tickets_new();
    struct tls_ctx *other = kit_server_ctx((struct tls_server_conf){.alpn = TLS_ALPN_H1, .tickets = far});

    UNUSED(state);
    for (unsigned i = 0; i < sizeof(keys); i++)
        keys[i] = (unsigned char)(i * 7 + i / 80);
    assert_int_equal(tls_tickets_set(tickets, keys, 0), ERR_RANGE);
    assert_int_equal(tls_tickets_set(tickets, keys, TLS_TICKET_KEYS + 1), ERR_RANGE);
    assert_int_equal(tls_tickets_set(tickets, keys, 2), 0);
    /* The same in another order: what one seals the other opens. */
    assert_int_equal(tls_tickets_set(far, keys + TLS_TICKET_KEY, 2), 0);
    meet_again();
    assert_false(meet(other, client, kit_peer("server.test", TLS_ALPN_H1)));
    assert_true(meet_again());
    assert_int_equal(tls_tickets_set(tickets, keys + 2 * TLS_TICKET_KEY, 1), 0);
    assert_false(meet_again());
    tls_ctx_unref(other);
    tls_tickets_unref(far);
}

/* Who was admitted without a certificate is not admitted by a ticket where one is asked for now; nor under another authority. */
static void test_clients_certificates(void **state)
{
    struct kit_cert user = kit_cert((struct kit_want){.cn = "user", .issuer = &kit_ca});
    struct kit_cert other_ca = kit_cert((struct kit_want){.cn = "Other CA", .authority = true});
    char both[8192];
    struct tls_ctx *strict, *wide, *c = kit_client_ctx((struct tls_client_conf){.verify = true, .pair = kit_pair(&user)});

    UNUSED(state);
    snprintf(both, sizeof(both), "%s%s", kit_ca.pem, other_ca.pem);
    strict = kit_server_ctx((struct tls_server_conf){
        .alpn = TLS_ALPN_H1, .tickets = tickets, .clients = TLS_CLIENT_REQUIRED, .client_ca = slice_str(kit_ca.pem)});
    wide =
        kit_server_ctx((struct tls_server_conf){.alpn = TLS_ALPN_H1, .tickets = tickets, .clients = TLS_CLIENT_REQUIRED, .client_ca = slice_str(both)});
    SSL_CTX_set_max_proto_version(c->ssl, max_version);
    assert_false(meet(server, c, kit_peer("server.test", TLS_ALPN_H1)));
    assert_false(meet(strict, c, kit_peer("server.test", TLS_ALPN_H1)));
    kit_accept(strict);
    kit_connect(c, kit_peer("server.test", TLS_ALPN_H1));
    kit_shake();
    kit_expect_up();
    assert_true(conn_tls_facts(kit_sv.conn)->resumed);
    assert_true(slice_eq(conn_tls_facts(kit_sv.conn)->common_name, SLICE("user")));
    kit_carry();
    assert_int_equal(kit_recv_nothing(&kit_cl), IO_AGAIN);
    part();
    assert_false(meet(wide, c, kit_peer("server.test", TLS_ALPN_H1)));
    tls_ctx_unref(strict);
    tls_ctx_unref(wide);
    tls_ctx_unref(c);
    kit_cert_free(&user);
    kit_cert_free(&other_ca);
}

/* ---- the client's sessions ---- */

static void test_key_of_sessions(void **state)
{
    struct tls_peer other_port = kit_peer("server.test", TLS_ALPN_H1);

    UNUSED(state);
    other_port.port++;
    assert_false(meet(server, client, kit_peer("server.test", TLS_ALPN_H1)));
    assert_false(meet(server, client, other_port));
    assert_false(meet(server, client, kit_peer("server.test", TLS_ALPN_H1 | TLS_ALPN_H2)));
    assert_false(meet(server, client, kit_peer("192.0.2.7", TLS_ALPN_H1)));
    assert_true(meet(server, client, kit_peer("SERVER.test", TLS_ALPN_H1)));
    assert_true(meet(server, client, other_port));
    assert_true(meet(server, client, kit_peer("192.0.2.7", TLS_ALPN_H1)));
}

/* A resumed session skips verification: it must not skip another trust's. */
static void test_never_across_contexts(void **state)
{
    struct tls_ctx *careless = kit_client_ctx((struct tls_client_conf){.verify = false});
    struct tls_ctx *same = kit_client_ctx(verifying());

    UNUSED(state);
    SSL_CTX_set_max_proto_version(careless->ssl, max_version);
    SSL_CTX_set_max_proto_version(same->ssl, max_version);
    assert_false(meet(server, careless, kit_peer("server.test", TLS_ALPN_H1)));
    assert_true(meet(server, careless, kit_peer("server.test", TLS_ALPN_H1)));
    assert_false(meet_again());
    assert_false(meet(server, same, kit_peer("server.test", TLS_ALPN_H1)));
    tls_ctx_unref(careless);
    tls_ctx_unref(same);
}

/* TLS 1.3: a ticket is used once; several make several connections. TLS 1.2: one is as good as many. */
static void test_several_at_once(void **state)
{
    UNUSED(state);
    SSL_CTX_set_num_tickets(server->ssl, 3);
    meet_again();
    for (int i = 0; i < 4; i++) {
        bool resumed;

        kit_accept(server);
        kit_connect(client, kit_peer("server.test", TLS_ALPN_H1));
        kit_shake();
        kit_expect_up();
        resumed = conn_tls_facts(kit_cl.conn)->resumed;
        /* The tickets of these do not arrive. */
        conn_reset(&kit_cl.conn);
        part();
        assert_int_equal(resumed, max_version == TLS1_2_VERSION || i < 3);
    }
}

/* A connection that is broken off has a good session all the same. */
static void test_resumed_after_a_reset(void **state)
{
    UNUSED(state);
    kit_accept(server);
    kit_connect(client, kit_peer("server.test", TLS_ALPN_H1));
    kit_shake();
    kit_expect_up();
    kit_carry();
    assert_int_equal(kit_recv_nothing(&kit_cl), IO_AGAIN);
    conn_reset(&kit_cl.conn);
    conn_reset(&kit_sv.conn);
    part();
    assert_true(meet_again());
}

static void test_sessions_grow_old(void **state)
{
    char key[TLS_KEY_MAX];
    size_t n = tls_session_key(key, SLICE("server.test"), 443, TLS_ALPN_H1);
    int64_t now = (int64_t)time(NULL);

    UNUSED(state);
    meet_again();
    assert_int_equal(client->client.n_sessions, 1);
    assert_null(tls_session_take(client, slice_of(key, n), now + 2 * 3600 + 10));
    assert_int_equal(client->client.n_sessions, 0);
    assert_false(meet_again());
}

static void test_sessions_are_bounded(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < TLS_SESSIONS + 50; i++) {
        SSL_SESSION *s = SSL_SESSION_new();
        char key[TLS_KEY_MAX];
        size_t n = tls_session_key(key, SLICE("server.test"), (uint16_t)i, TLS_ALPN_H1);

        assert_non_null(s);
        tls_session_keep(client, slice_of(key, n), s);
    }
    assert_int_equal(client->client.n_sessions, TLS_SESSIONS);
    for (unsigned i = 0; i < 20; i++)
        tls_session_keep(client, SLICE("one peer"), SSL_SESSION_new());
    assert_int_equal(client->client.n_sessions, TLS_SESSIONS);
    {
        unsigned n = 0;

        LIST_EACH(it, &client->client.sessions)
        n++;
        assert_int_equal(n, TLS_SESSIONS);
    }
}

#define BOTH(t) {#t " (1.3)", t, setup_13, teardown, NULL}, {#t " (1.2)", t, setup_12, teardown, NULL}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_resumed),
        BOTH(test_resumed_facts),
        BOTH(test_no_tickets),
        BOTH(test_resumed_with_another_worker),
        BOTH(test_rotation),
        BOTH(test_keys_from_outside),
        BOTH(test_clients_certificates),
        BOTH(test_key_of_sessions),
        BOTH(test_never_across_contexts),
        BOTH(test_several_at_once),
        BOTH(test_resumed_after_a_reset),
        BOTH(test_sessions_grow_old),
        cmocka_unit_test_setup_teardown(test_sessions_are_bounded, setup_13, teardown),
    };

    return cmocka_run_group_tests(tests, kit_group_setup, kit_group_teardown);
}
