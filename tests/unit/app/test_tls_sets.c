/* SPDX-License-Identifier: MIT */
/* Contexts of editions: when keys of tickets from a file take effect, when drawn ones are changed, and when the certificate of `auto` is. */
#include "app/tls_sets.h"

#include "app/edition.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "support/conf_files.h"
#include "support/net.h"
#include "support/tls_kit.h"

/* The clock of days is the test's, for OpenSSL too. */
static time_t days_on;

__attribute__((visibility("default"))) time_t time(time_t *ret_now)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += days_on * 24 * 3600;
    if (ret_now)
        *ret_now = now.tv_sec;
    return now.tv_sec;
}

static struct tls_house house;
static struct tls_ctx *client;

static int setup(void **state)
{
    if (conf_files_setup(state) < 0)
        return -1;
    days_on = 0;
    kit_begin();
    setenv("STATE_DIRECTORY", conf_files_dir, 1);
    conf_files_text("server.pem", kit_server.pem);
    conf_files_text("server.key", kit_server.key_pem);
    tls_house_init(&house, 1, NULL);
    client = kit_client_ctx((struct tls_client_conf){.verify = false});
    return 0;
}

static int teardown(void **state)
{
    tls_ctx_unref(client);
    tls_house_done(&house);
    kit_end();
    return conf_files_teardown(state);
}

static struct edition *make(const char *text, const struct edition *before)
{
    struct conf_errors errors;
    char why[TLS_SETS_TEXT];
    struct conf *c = NULL;
    struct edition *e;

    if (conf_parse("test.yaml", text, strlen(text), &c, &errors) < 0) {
        conf_errors_print(&errors, stderr, false);
        fail();
    }
    e = edition_of_file(c);
    assert_non_null(e);
    if (tls_sets_make(&house, e, before, why) < 0)
        fail_msg("%s", why);
    return e;
}

/* Whether a client's connection was resumed. */
static bool meet(const struct edition *e)
{
    bool resumed;

    kit_accept(e->snap.tls[0]->server[0]);
    kit_connect(client, kit_peer("server.test", TLS_ALPN_H1));
    kit_shake();
    kit_expect_up();
    kit_carry();
    kit_send(&kit_sv, "hello");
    kit_carry();
    kit_recv(&kit_cl, "hello");
    resumed = conn_tls_facts(kit_sv.conn)->resumed;
    conn_close(&kit_cl.conn);
    conn_close(&kit_sv.conn);
    net_turns(1);
    kit_side_init(&kit_cl);
    kit_side_init(&kit_sv);
    return resumed;
}

static void write_keys(const char *path, char with)
{
    char keys[TLS_TICKET_KEY];

    memset(keys, with, sizeof(keys));
    conf_files_write(path, keys, sizeof(keys));
}

#define LISTEN "name: a\nlisten: [{address: \"127.0.0.1:3128\", tls: {cert: server.pem, key: server.key, tickets: "

/* An edition that is made and then dropped has changed nothing: also not the keys of a file that both name. */
static void test_keys_take_effect_with_the_edition(void **state)
{
    struct edition *now, *next;

    UNUSED(state);
    write_keys("tickets", 1);
    now = make(LISTEN "tickets}}]\n", NULL);
    tls_sets_commit(&house, now);
    assert_false(meet(now));
    assert_true(meet(now));
    write_keys("tickets", 2);
    next = make(LISTEN "tickets}}]\n", now);
    assert_true(meet(now));
    edition_free(next);
    assert_true(meet(now));
    next = make(LISTEN "tickets}}]\n", now);
    tls_sets_commit(&house, next);
    assert_false(meet(next));
    assert_true(meet(next));
    edition_free(next);
    edition_free(now);
}

enum { HOUR_MS = 3600 * 1000 };

/* Every 8 hours another key seals; four of them open, so a ticket is good until the fourth change. */
static void test_rotation(void **state)
{
    struct edition *e = make(LISTEN "auto}}]\n", NULL);
    uint64_t now_ms = 1000;

    UNUSED(state);
    tls_sets_commit(&house, e);
    for (unsigned changes = 0; changes <= TLS_TICKET_KEYS; changes++) {
        tls_ctx_unref(client);
        client = kit_client_ctx((struct tls_client_conf){.verify = false});
        house.renew_at_ms = now_ms + TLS_ROTATE_MS;
        assert_false(meet(e));
        for (unsigned h = 0; h < 8 * changes; h++)
            assert_false(tls_house_renew(&house, now_ms += HOUR_MS));
        assert_int_equal(house.renew_at_ms, now_ms + TLS_ROTATE_MS);
        assert_int_equal(meet(e), changes < TLS_TICKET_KEYS);
    }
    edition_free(e);
}

/* Keys of a file are the operator's to change. */
static void test_files_are_not_rotated(void **state)
{
    struct edition *e;

    UNUSED(state);
    write_keys("tickets", 1);
    e = make(LISTEN "tickets}}]\n", NULL);
    tls_sets_commit(&house, e);
    meet(e);
    for (unsigned i = 1; i < 2 * TLS_TICKET_KEYS; i++)
        tls_house_renew(&house, (uint64_t)i * TLS_ROTATE_MS);
    assert_true(meet(e));
    edition_free(e);
}

#define SELF "name: a\nlisten: [{address: \"127.0.0.1:3128\", tls: auto}]\n"

/* The certificate of `auto` is made for a year, and anew when less than 30 days are left, or its file is gone: what is looked at every 8 hours asks for a reload, which makes it. */
static void test_own_certificate(void **state)
{
    char first[TLS_FINGERPRINT_TEXT];
    struct edition *e = make(SELF, NULL), *next;
    uint64_t now_ms = 0;

    UNUSED(state);
    snprintf(first, sizeof(first), "%s", house.self.fingerprint);
    assert_true(first[0]);
    days_on = TLS_AUTO_DAYS - TLS_AUTO_LEAST_DAYS - 2;
    assert_false(tls_house_renew(&house, now_ms += TLS_ROTATE_MS));
    next = make(SELF, e);
    assert_string_equal(house.self.fingerprint, first);
    edition_free(next);
    days_on += 4;
    assert_false(tls_house_renew(&house, now_ms + TLS_ROTATE_MS - 1));
    assert_true(tls_house_renew(&house, now_ms += TLS_ROTATE_MS));
    next = make(SELF, e);
    assert_string_not_equal(house.self.fingerprint, first);
    assert_ptr_not_equal(next->snap.tls[0]->server[0], e->snap.tls[0]->server[0]);
    assert_false(tls_house_renew(&house, now_ms += TLS_ROTATE_MS));
    /* It is kept: another start finds it. */
    snprintf(first, sizeof(first), "%s", house.self.fingerprint);
    tls_auto_done(&house.self);
    edition_free(e);
    e = make(SELF, next);
    assert_string_equal(house.self.fingerprint, first);
    assert_int_equal(unlink(house.self.path), 0);
    assert_true(tls_house_renew(&house, now_ms += TLS_ROTATE_MS));
    edition_free(e);
    edition_free(next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keys_take_effect_with_the_edition, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files_are_not_rotated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_own_certificate, setup, teardown),
    };

    return cmocka_run_group_tests(tests, kit_group_setup, kit_group_teardown);
}
