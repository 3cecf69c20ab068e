/* SPDX-License-Identifier: MIT */
/* TLS without memory: each allocation of contexts, handshakes and of moving bytes is refused in turn, OpenSSL's own among them. A refusal ends that one
 * connection with a word about memory, or is got over; nothing is lost silently, nothing is left behind. The first ones one by one, then some;
 * GINNEL_TEST_LONG=1: ten times as many, which is each one of a connection's. */
#include "io/conn_tls.h"

#include "base/err.h"
#include "io/tls_inside.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/net.h"
#include "support/tls_kit.h"

static struct tls_ctx *server, *client;
static struct tls_tickets *tickets;

static int setup(void **state)
{
    UNUSED(state);
    kit_begin();
    tickets = tls_tickets_new();
    server = kit_server_ctx((struct tls_server_conf){.alpn = TLS_ALPN_H1, .tickets = tickets});
    client = kit_client_ctx((struct tls_client_conf){.verify = true});
    return 0;
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

/* What one connection came to. */
enum outcome { DONE, REFUSED };

static void expect_a_word(const struct side *s)
{
    const struct tls_facts *f = s->conn ? conn_tls_facts(s->conn) : NULL;

    /* The other side sees an alert, or an end. */
    if (f && f->failure != TLS_OK)
        assert_true(f->text && *f->text);
}

static enum outcome begin_both(void)
{
    struct conn *lower = &kit_sv.lower.conn;
    struct tls_peer peer = kit_peer("server.test", TLS_ALPN_H1);
    int r = conn_tls_accept(&lower, server, SLICE_NONE, &kit_sv.conn);

    assert_true(r == 0 || r == ERR_NOMEM);
    if (r < 0) {
        assert_ptr_equal(lower, &kit_sv.lower.conn);
        return REFUSED;
    }
    lower = &kit_cl.lower.conn;
    r = conn_tls_connect(&lower, client, &peer, &kit_cl.conn);
    assert_true(r == 0 || r == ERR_NOMEM);
    if (r < 0) {
        assert_ptr_equal(lower, &kit_cl.lower.conn);
        return REFUSED;
    }
    kit_own(&kit_sv);
    kit_own(&kit_cl);
    return DONE;
}

static enum outcome say_hello(struct side *from, struct side *to)
{
    struct iovec v[2] = {{(void *)(uintptr_t) "hel", 3}, {(void *)(uintptr_t) "lo", 2}};
    char buf[16];
    size_t n = 0;

    if (conn_send(from->conn, v, 2, &n) != IO_OK)
        return REFUSED;
    assert_int_equal(n, 5);
    kit_carry();
    if (conn_recv(to->conn, buf, sizeof(buf), &n) != IO_OK)
        return REFUSED;
    assert_int_equal(n, 5);
    assert_memory_equal(buf, "hello", 5);
    return DONE;
}

static enum outcome meet(void)
{
    enum outcome o = begin_both();

    if (o == DONE) {
        kit_shake();
        if (kit_cl.state != IO_OK || kit_sv.state != IO_OK)
            o = REFUSED;
    }
    if (o == DONE)
        o = say_hello(&kit_cl, &kit_sv);
    if (o == DONE)
        o = say_hello(&kit_sv, &kit_cl);
    expect_a_word(&kit_cl);
    expect_a_word(&kit_sv);
    return o;
}

static void part(void)
{
    conn_close(&kit_cl.conn);
    conn_close(&kit_sv.conn);
    task_cancel(&kit_cl.task);
    task_cancel(&kit_sv.task);
    net_turns(2);
    assert_true(list_empty(&net_loop.closing));
    assert_int_equal(ERR_peek_error(), 0);
    kit_side_init(&kit_cl);
    kit_side_init(&kit_sv);
}

/* The n-th allocation is refused, in steps; the first rounds one by one. */
static unsigned step_behind(unsigned n, unsigned step)
{
    static int all = -1;

    if (all < 0)
        all = getenv("GINNEL_TEST_LONG") != NULL;
    return n < 20 ? 1 : all ? step / 10 : step;
}

static void test_connections(void **state)
{
    unsigned refused = 0;

    UNUSED(state);
    /* What OpenSSL makes once a process is made now. */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(meet(), DONE);
        part();
    }
    for (unsigned n = 1;; n += step_behind(n, 17)) {
        enum outcome o;

        memfail_at = n;
        atomic_store(&memfail_asked, 0);
        mem_set_gate(memfail_gate);
        o = meet();
        mem_set_gate(NULL);
        part();
        if (atomic_load(&memfail_asked) < n) {
            assert_int_equal(o, DONE);
            break;
        }
        refused += o == REFUSED;
        /* It was that connection's loss alone. */
        assert_int_equal(meet(), DONE);
        part();
    }
    print_message("%u allocations, %u of those tried ended the connection\n", atomic_load(&memfail_asked), refused);
    assert_true(refused > 10);
}

static int make(struct tls_ctx **ret_server, struct tls_ctx **ret_client)
{
    struct tls_pair pairs[2] = {kit_pair(&kit_server), kit_pair(&kit_ca)};
    struct tls_server_conf conf = {
        .pairs = pairs, .n_pairs = 2, .clients = TLS_CLIENT_OPTIONAL, .client_ca = slice_str(kit_ca.pem), .tickets = tickets, .alpn = TLS_ALPN_H1};
    struct tls_client_conf trusting = {.verify = true, .trust = slice_str(kit_ca.pem), .pair = pairs[0]};
    struct tls_error error = {.text = ""};
    int r = tls_server_ctx_new(kit_lib, &conf, ret_server, &error);

    if (r == 0)
        r = tls_client_ctx_new(kit_lib, &trusting, ret_client, &error);
    /* OpenSSL does not always say what it was that failed: then there is a text. */
    assert_true(r == 0 || r == ERR_NOMEM || *error.text);
    return r;
}

static void test_contexts(void **state)
{
    UNUSED(state);
    for (unsigned n = 1;; n += step_behind(n, 601)) {
        struct tls_ctx *s = NULL, *c = NULL;
        int r;

        memfail_at = n;
        atomic_store(&memfail_asked, 0);
        mem_set_gate(memfail_gate);
        r = make(&s, &c);
        mem_set_gate(NULL);
        assert_true(r < 0 || (s && c));
        tls_ctx_unref(s);
        tls_ctx_unref(c);
        assert_int_equal(ERR_peek_error(), 0);
        if (atomic_load(&memfail_asked) < n) {
            assert_int_equal(r, 0);
            break;
        }
    }
    print_message("%u allocations\n", atomic_load(&memfail_asked));
}

/* Not the making of a library context, which happens at start: OpenSSL leaves a few bytes behind where that is refused memory. */
static void test_certificates(void **state)
{
    static const char *const names[] = {"a.test", "::1", NULL};

    UNUSED(state);
    for (unsigned n = 1;; n += step_behind(n, 29)) {
        struct tls_cert_info info;
        char *cert = NULL, *key = NULL;
        int r;

        memfail_at = n;
        atomic_store(&memfail_asked, 0);
        mem_set_gate(memfail_gate);
        r = tls_self_signed(names, 1, &cert, &key);
        if (r == 0)
            r = tls_cert_look(slice_str(cert), &info);
        mem_set_gate(NULL);
        mem_free(cert);
        mem_free(key);
        assert_int_equal(ERR_peek_error(), 0);
        if (atomic_load(&memfail_asked) < n) {
            assert_int_equal(r, 0);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(test_contexts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_certificates, setup, teardown),
    };

    return cmocka_run_group_tests(tests, kit_group_setup, kit_group_teardown);
}
