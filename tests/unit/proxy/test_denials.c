/* SPDX-License-Identifier: MIT */
/* The ring of refusals: what is kept, for how long, and that what is read is a copy of it. */
#include "proxy/denials.h"

#include "base/mem.h"
#include "policy/explain.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/access_record.h"
#include "support/memfail.h"

static struct denial out[DENIALS_MAX + 1];

static struct access_record refusal(void)
{
    struct access_record r = record_get();

    r.end = END_DENIED;
    r.status = 403;
    r.user = SLICE("jane");
    r.rule = SLICE("no-ads");
    return r;
}

/* U40: who, what, when, why. */
static void test_kept(void **state)
{
    struct denials *d = denials_new();
    struct access_record r = refusal();
    struct addr to = r.peer;
    uint64_t total;

    UNUSED(state);
    assert_int_equal(denials_read(d, out, 10, &total), 0);
    assert_int_equal(total, 0);
    denials_put(d, &r, &to, 17);
    r.host = SLICE("other.example");
    denials_put(d, &r, NULL, MATCH_NO_MINUTE);
    memset(&r, 0, sizeof(r));
    assert_int_equal(denials_read(d, out, 10, &total), 2);
    assert_int_equal(total, 2);
    assert_true(slice_eq(out[0].rec.host, SLICE("other.example")));
    assert_int_equal(out[0].to.sa.sa_family, AF_UNSPEC);
    assert_int_equal(out[0].number, 2);
    assert_true(slice_eq(out[1].rec.host, SLICE("example.org")));
    assert_true(slice_eq(out[1].rec.user, SLICE("jane")));
    assert_true(slice_eq(out[1].rec.rule, SLICE("no-ads")));
    assert_true(slice_eq(out[1].rec.method, SLICE("GET")));
    assert_int_equal(out[1].rec.wall_ms, 1700000000123);
    assert_int_equal(out[1].minute, 17);
    assert_true(addr_eq(&out[1].to, &to));
    assert_int_equal(denials_read(d, out, 1, &total), 1);
    assert_int_equal(out[0].number, 2);
    denials_free(d);
    denials_free(NULL);
}

static void test_the_oldest_go(void **state)
{
    struct denials *d = denials_new();
    struct access_record r = refusal();
    uint64_t total;

    UNUSED(state);
    for (unsigned i = 0; i < 2 * DENIALS_MAX + 7; i++) {
        r.port = (uint16_t)i;
        denials_put(d, &r, NULL, 0);
    }
    assert_int_equal(denials_read(d, out, DENIALS_MAX + 1, &total), DENIALS_MAX);
    assert_int_equal(total, 2 * DENIALS_MAX + 7);
    for (unsigned i = 0; i < DENIALS_MAX; i++)
        assert_int_equal(out[i].rec.port, 2 * DENIALS_MAX + 6 - i);
    denials_free(d);
}

/* Strings of any length: cut, never more than there is room for. */
static void test_long_strings(void **state)
{
    struct denials *d = denials_new();
    struct access_record r = refusal();
    char *text = malloc(1 << 20);
    uint64_t total;

    UNUSED(state);
    memset(text, 'x', 1 << 20);
    r.method = r.host = r.path = r.listener = r.rule = r.would = r.user = r.groups = r.labels = r.granted = r.sni = slice_of(text, 1 << 20);
    r.agent = r.referer = r.type = r.detail = r.method;
    for (unsigned i = 0; i < DENIALS_MAX + 1; i++)
        denials_put(d, &r, NULL, 0);
    free(text);
    assert_int_equal(denials_read(d, out, DENIALS_MAX, &total), DENIALS_MAX);
    assert_int_equal(out[0].rec.host.n, 255);
    assert_int_equal(out[0].rec.agent.n + out[0].rec.referer.n + out[0].rec.type.n + out[0].rec.detail.n, 0);
    assert_ptr_equal(out[0].rec.method.p, out[0].text);
    for (size_t i = 0; i < out[DENIALS_MAX - 1].rec.sni.n; i++)
        assert_int_equal(out[DENIALS_MAX - 1].rec.sni.p[i], 'x');
    denials_free(d);
}

static void test_what_belongs_here(void **state)
{
    static const enum end_reason yes[] = {END_DENIED,     END_ADDRESS_DENIED, END_NOT_ADMITTED, END_AUTH_NEEDED, END_AUTH_THROTTLED,  END_LIMIT_REQUESTS, END_LIMIT_TUNNELS,
                                          END_UPLOAD_CAP, END_DOWNLOAD_CAP,   END_QUOTA,        END_SNI_DENIED,  END_PROTOCOL_DENIED, END_RELOADED,
                                          END_UPSTREAM_DENIED};
    struct access_record r = refusal();
    unsigned n = 0;

    UNUSED(state);
    for (int i = 0; i < END_COUNT; i++) {
        bool wanted = false;

        for (unsigned k = 0; k < ARRAY_LEN(yes); k++)
            wanted |= (int)yes[k] == i;
        r.end = (enum end_reason)i;
        r.would_deny = false;
        assert_int_equal(denials_wants(&r), wanted);
        n += wanted;
        r.would_deny = true;
        assert_true(denials_wants(&r));
    }
    assert_int_equal(n, ARRAY_LEN(yes));
}

static void *put_many(void *arg)
{
    struct access_record r = refusal();

    r.host = SLICE("aaaa.example");
    r.user = SLICE("bbbb");
    for (unsigned i = 0; i < 5000; i++)
        denials_put(arg, &r, NULL, 0);
    return NULL;
}

/* Several workers write, the house reads: nothing is torn. */
static void test_threads(void **state)
{
    struct denials *d = denials_new();
    pthread_t threads[3];
    uint64_t total = 0;

    UNUSED(state);
    for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, d), 0);
    while (total < 15000) {
        size_t n = denials_read(d, out, 50, &total);

        for (size_t i = 0; i < n; i++) {
            assert_true(slice_eq(out[i].rec.host, SLICE("aaaa.example")));
            assert_true(slice_eq(out[i].rec.user, SLICE("bbbb")));
            assert_int_equal(out[i].number, total - i);
        }
    }
    for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    denials_free(d);
}

static void test_memory(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct denials *d = denials_new();

        assert_int_equal(d == NULL, memfail_hit());
        denials_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),    cmocka_unit_test(test_the_oldest_go), cmocka_unit_test(test_long_strings),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_memory),        cmocka_unit_test(test_what_belongs_here),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
