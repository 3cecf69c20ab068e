/* SPDX-License-Identifier: MIT */
/* Who is believed: each way in which a server's or a client's certificate may be wrong, and the sentence that says so; what is known of a client that has
 * shown one. */
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

static int setup(void **state)
{
    UNUSED(state);
    kit_begin();
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    kit_end();
    return 0;
}

static void again(void)
{
    conn_close(&kit_cl.conn);
    conn_close(&kit_sv.conn);
    net_turns(1);
    kit_side_init(&kit_cl);
    kit_side_init(&kit_sv);
}

/* ---- servers ---- */

/* With a chain behind it, where there is one. NULL: it is fine. */
static void server_shows_to(const struct kit_cert *c, const struct kit_cert *above, const char *trust, const char *host, const char *text)
{
    char chain[16384];
    struct tls_pair pair = kit_pair(c);
    struct tls_client_conf client = {.trust = slice_str(trust)};

    snprintf(chain, sizeof(chain), "%s%s", c->pem, above ? above->pem : "");
    pair.cert = slice_str(chain);
    kit_up((struct tls_server_conf){.pairs = &pair, .n_pairs = 1}, client, kit_peer(host, TLS_ALPN_NONE));
    if (!text) {
        kit_expect_up();
    } else {
        assert_int_equal(kit_cl.state, IO_ERR);
        assert_int_equal(conn_tls_facts(kit_cl.conn)->failure, TLS_CERTIFICATE);
        assert_string_equal(kit_failure(&kit_cl), text);
        assert_int_equal(kit_cl.conn->error, ERR_TLS);
        assert_int_equal(conn_tls_facts(kit_cl.conn)->subject.n, 0);
        /* The server is told by an alert. In TLS 1.3 it has finished before. */
        if (kit_sv.state == IO_OK)
            assert_int_equal(kit_recv_nothing(&kit_sv), IO_ERR);
        assert_int_equal(conn_tls_facts(kit_sv.conn)->failure, TLS_ALERT);
    }
    again();
}

static void server_shows(struct kit_want w, const char *host, const char *text)
{
    struct kit_cert c = kit_cert(w);

    server_shows_to(&c, NULL, kit_ca.pem, host, text);
    kit_cert_free(&c);
}

static const char *day(int from_now)
{
    static char text[16];
    time_t at = time(NULL) + from_now * 86400;
    struct tm tm;

    gmtime_r(&at, &tm);
    strftime(text, sizeof(text), "%Y-%m-%d", &tm);
    return text;
}

static const char *with_day(const char *format, int from_now)
{
    static char text[256];
    int n = (int)strcspn(format, "@");

    snprintf(text, sizeof(text), "%.*s%s)", n, format, day(from_now));
    return text;
}

static void test_dates(void **state)
{
    UNUSED(state);
    server_shows((struct kit_want){.cn = "old", .san = "DNS:a.test", .issuer = &kit_ca, .from_days = -9, .to_days = -2}, "a.test",
                 with_day("the certificate of a.test has expired (subject CN=old, valid until @", -2));
    server_shows((struct kit_want){.cn = "new", .san = "DNS:a.test", .issuer = &kit_ca, .from_days = 3, .to_days = 9}, "a.test",
                 with_day("the certificate of a.test is not valid yet (subject CN=new, valid from @", 3));
}

static void test_hosts(void **state)
{
    struct kit_want two = {.cn = "two", .san = "DNS:a.test,DNS:*.b.test,IP:192.0.2.1,IP:2001:db8::1", .issuer = &kit_ca};

    UNUSED(state);
    server_shows(two, "a.test", NULL);
    server_shows(two, "A.Test", NULL);
    server_shows(two, "a.test.", NULL);
    server_shows(two, "x.b.test", NULL);
    server_shows(two, "192.0.2.1", NULL);
    server_shows(two, "2001:db8::1", NULL);
    server_shows(two, "c.test", "the certificate of c.test is for a.test, *.b.test, 192.0.2.1, 2001:db8::1, not for c.test");
    server_shows(two, "b.test", "the certificate of b.test is for a.test, *.b.test, 192.0.2.1, 2001:db8::1, not for b.test");
    server_shows(two, "192.0.2.2", "the certificate of 192.0.2.2 is for a.test, *.b.test, 192.0.2.1, 2001:db8::1, not for 192.0.2.2");
    server_shows(two, "2001:db8::2", "the certificate of 2001:db8::2 is for a.test, *.b.test, 192.0.2.1, 2001:db8::1, not for 2001:db8::2");
    server_shows((struct kit_want){.cn = "x.test", .san = "DNS:f*.x.test", .issuer = &kit_ca}, "foo.x.test",
                 "the certificate of foo.x.test is for f*.x.test, not for foo.x.test");
    server_shows((struct kit_want){.cn = "a.test", .issuer = &kit_ca}, "a.test",
                 "the certificate of a.test is for no host at all: it has no names, and its common name is not looked at");
    /* Names come from strangers. */
    server_shows((struct kit_want){.cn = "x", .san = "DNS:evil\x1b[2J.test", .issuer = &kit_ca}, "a.test",
                 "the certificate of a.test is for evil?[2J.test, not for a.test");
}

static void test_chains(void **state)
{
    struct kit_cert other = kit_cert((struct kit_want){.cn = "Other CA", .authority = true});
    struct kit_cert middle = kit_cert((struct kit_want){.cn = "Middle", .authority = true, .issuer = &kit_ca});
    struct kit_cert late = kit_cert((struct kit_want){.cn = "Late", .authority = true, .issuer = &kit_ca, .from_days = -9, .to_days = -1});
    struct kit_cert leaf = kit_cert((struct kit_want){.cn = "leaf", .san = "DNS:a.test", .issuer = &middle});
    struct kit_cert below_late = kit_cert((struct kit_want){.cn = "leaf", .san = "DNS:a.test", .issuer = &late});
    struct kit_cert alone = kit_cert((struct kit_want){.cn = "alone", .san = "DNS:a.test"});
    struct kit_cert no_ca = kit_cert((struct kit_want){.cn = "leaf", .san = "DNS:a.test", .issuer = &kit_server});

    UNUSED(state);
    server_shows_to(&leaf, &middle, kit_ca.pem, "a.test", NULL);
    server_shows_to(&leaf, NULL, kit_ca.pem, "a.test", "the certificate of a.test is signed by an authority that is not trusted (issuer CN=Middle)");
    /* Who is named is trusted, be it in the middle or the server itself. */
    server_shows_to(&leaf, NULL, middle.pem, "a.test", NULL);
    server_shows_to(&leaf, NULL, leaf.pem, "a.test", NULL);
    server_shows_to(&leaf, &middle, other.pem, "a.test",
                    "an authority's certificate in the chain of a.test is signed by an authority that is not trusted (issuer CN=Kit CA)");
    server_shows_to(&alone, NULL, kit_ca.pem, "a.test",
                    "the certificate of a.test is signed by itself alone, and not trusted (subject CN=alone)");
    server_shows_to(&alone, NULL, alone.pem, "a.test", NULL);
    server_shows_to(&below_late, &late, kit_ca.pem, "a.test",
                    with_day("an authority's certificate in the chain of a.test has expired (subject CN=Late, valid until @", -1));
    server_shows_to(&no_ca, &kit_server, kit_ca.pem, "a.test",
                    "an authority's certificate in the chain of a.test does not verify: invalid CA certificate (subject CN=server)");
    kit_cert_free(&other);
    kit_cert_free(&middle);
    kit_cert_free(&late);
    kit_cert_free(&leaf);
    kit_cert_free(&below_late);
    kit_cert_free(&alone);
    kit_cert_free(&no_ca);
}

/* `verify: no`: anything goes, and nothing is believed. */
static void test_without_verifying(void **state)
{
    struct kit_cert alone = kit_cert((struct kit_want){.cn = "alone", .san = "DNS:a.test", .from_days = -9, .to_days = -1});
    struct tls_pair pair = kit_pair(&alone);
    struct tls_ctx *s = kit_server_ctx((struct tls_server_conf){.pairs = &pair, .n_pairs = 1});
    struct tls_ctx *c = kit_client_ctx((struct tls_client_conf){.verify = false});

    UNUSED(state);
    kit_accept(s);
    kit_connect(c, kit_peer("b.test", TLS_ALPN_H1));
    kit_shake();
    kit_expect_up();
    assert_int_equal(conn_tls_facts(kit_cl.conn)->subject.n, 0);
    assert_int_equal(conn_tls_facts(kit_cl.conn)->dns.n, 0);
    tls_ctx_unref(s);
    tls_ctx_unref(c);
    kit_cert_free(&alone);
}

static void test_hosts_that_cannot_be(void **state)
{
    struct tls_ctx *c = kit_client_ctx((struct tls_client_conf){.verify = true});
    struct conn *lower = &kit_cl.lower.conn;
    struct tls_peer peer = {.host = SLICE("a\0b"), .port = 1};
    char longest[TLS_HOST_MAX + 1];

    UNUSED(state);
    assert_int_equal(conn_tls_connect(&lower, c, &peer, &kit_cl.conn), ERR_SYNTAX);
    peer.host = SLICE("");
    assert_int_equal(conn_tls_connect(&lower, c, &peer, &kit_cl.conn), ERR_SYNTAX);
    peer.host = SLICE("not an address");
    peer.literal = true;
    assert_int_equal(conn_tls_connect(&lower, c, &peer, &kit_cl.conn), ERR_SYNTAX);
    memset(longest, 'a', sizeof(longest));
    peer = (struct tls_peer){.host = slice_of(longest, sizeof(longest)), .port = 1};
    assert_int_equal(conn_tls_connect(&lower, c, &peer, &kit_cl.conn), ERR_SYNTAX);
    peer.host.n = TLS_HOST_MAX;
    assert_ptr_equal(lower, &kit_cl.lower.conn);
    assert_int_equal(conn_tls_connect(&lower, c, &peer, &kit_cl.conn), 0);
    kit_own(&kit_cl);
    tls_ctx_unref(c);
}

/* ---- clients ---- */

static void client_shows(const struct kit_cert *c, enum tls_client_certs mode)
{
    kit_up((struct tls_server_conf){.clients = mode, .client_ca = slice_str(kit_ca.pem)},
           (struct tls_client_conf){.pair = c ? kit_pair(c) : (struct tls_pair){.cert = SLICE_NONE}}, kit_peer("server.test", TLS_ALPN_NONE));
}

static void client_is_refused(const struct kit_cert *c, enum tls_client_certs mode, const char *text, unsigned alert)
{
    client_shows(c, mode);
    assert_int_equal(kit_sv.state, IO_ERR);
    assert_int_equal(conn_tls_facts(kit_sv.conn)->failure, TLS_CERTIFICATE);
    assert_string_equal(kit_failure(&kit_sv), text);
    /* TLS 1.3: the client hears of it when it reads. */
    kit_carry();
    assert_int_equal(kit_recv_nothing(&kit_cl), IO_ERR);
    assert_int_equal(conn_tls_facts(kit_cl.conn)->failure, TLS_ALERT);
    assert_int_equal(conn_tls_facts(kit_cl.conn)->alert, alert);
    again();
}

static void test_clients(void **state)
{
    struct kit_cert other = kit_cert((struct kit_want){.cn = "Other CA", .authority = true});
    struct kit_cert good = kit_cert((struct kit_want){
        .cn = "J\xc3\xb6rg", .san = "DNS:host.test,DNS:second.test,email:joerg@a.test,URI:spiffe://a/joerg", .issuer = &kit_ca});
    struct kit_cert stranger = kit_cert((struct kit_want){.cn = "stranger", .issuer = &other});
    struct kit_cert old = kit_cert((struct kit_want){.cn = "old", .issuer = &kit_ca, .from_days = -9, .to_days = -1});
    const struct tls_facts *f;

    UNUSED(state);
    for (int mode = TLS_CLIENT_OPTIONAL; mode <= TLS_CLIENT_REQUIRED; mode++) {
        client_shows(&good, mode);
        kit_expect_up();
        f = conn_tls_facts(kit_sv.conn);
        assert_true(slice_eq(f->subject, SLICE("CN=J\xc3\xb6rg")));
        assert_true(slice_eq(f->common_name, SLICE("J\xc3\xb6rg")));
        assert_true(slice_eq(f->dns, SLICE("host.test")));
        assert_true(slice_eq(f->email, SLICE("joerg@a.test")));
        assert_true(slice_eq(f->uri, SLICE("spiffe://a/joerg")));
        again();
        client_is_refused(&stranger, mode, "the certificate of the client is signed by an authority that is not trusted (issuer CN=Other CA)", 48);
        client_is_refused(&old, mode, with_day("the certificate of the client has expired (subject CN=old, valid until @", -1), 45);
    }
    client_is_refused(NULL, TLS_CLIENT_REQUIRED, "the client has shown no certificate", 116);
    client_shows(NULL, TLS_CLIENT_OPTIONAL);
    kit_expect_up();
    assert_int_equal(conn_tls_facts(kit_sv.conn)->subject.n, 0);
    again();
    /* Not asked for: not shown. */
    client_shows(&stranger, TLS_CLIENT_NONE);
    kit_expect_up();
    assert_int_equal(conn_tls_facts(kit_sv.conn)->subject.n, 0);
    kit_cert_free(&other);
    kit_cert_free(&good);
    kit_cert_free(&stranger);
    kit_cert_free(&old);
}

/* A name with bytes that no name has is no name: nobody becomes "root" by "root\0.a.test". */
static void test_names_with_control_bytes(void **state)
{
    struct kit_cert odd = kit_cert((struct kit_want){.cn = "root\n", .san = "DNS:ro\not", .issuer = &kit_ca});

    UNUSED(state);
    client_shows(&odd, TLS_CLIENT_REQUIRED);
    kit_expect_up();
    assert_int_equal(conn_tls_facts(kit_sv.conn)->common_name.n, 0);
    assert_int_equal(conn_tls_facts(kit_sv.conn)->dns.n, 0);
    assert_true(conn_tls_facts(kit_sv.conn)->subject.n > 0);
    kit_cert_free(&odd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_dates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hosts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chains, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_verifying, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hosts_that_cannot_be, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clients, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_with_control_bytes, setup, teardown),
    };

    return cmocka_run_group_tests(tests, kit_group_setup, kit_group_teardown);
}
