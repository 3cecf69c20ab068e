/* SPDX-License-Identifier: MIT */
/* Counting connections, in all and by address; on one thread, on many, and with each allocation refused. */
#include "proxy/capacity.h"

#include "base/mem.h"
#include "support/memfail.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct proxy_conf limits(uint32_t connections, uint32_t per_client)
{
    return (struct proxy_conf){.capacity = {.connections = connections, .per_client = per_client}};
}

static struct addr address(const char *text)
{
    struct addr a;

    assert_int_equal(addr_parse(slice_str(text), &a), 0);
    return a;
}

static struct addr numbered(unsigned i)
{
    struct addr a;

    addr_v4(&a, (const uint8_t[4]){10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}, (uint16_t)(i * 7));
    return a;
}

static void test_total(void **state)
{
    struct capacity *c = capacity_new();
    struct proxy_conf k = limits(3, 0);
    struct capacity_place p[4] = {0};
    struct addr a = address("192.0.2.1:1");

    UNUSED(state);
    for (int i = 0; i < 3; i++)
        assert_int_equal(capacity_enter(c, &k, &a, &p[i]), CAPACITY_OK);
    assert_int_equal(capacity_enter(c, &k, &a, &p[3]), CAPACITY_TOTAL);
    assert_false(p[3].counted);
    assert_int_equal(capacity_connections(c), 3);
    capacity_leave(c, &p[1]);
    assert_int_equal(capacity_enter(c, &k, &a, &p[3]), CAPACITY_OK);
    /* A reload lowers the limit below what is there, and raises it again. */
    k.capacity.connections = 1;
    assert_int_equal(capacity_enter(c, &k, &a, &p[1]), CAPACITY_TOTAL);
    k.capacity.connections = 4;
    assert_int_equal(capacity_enter(c, &k, &a, &p[1]), CAPACITY_OK);
    for (int i = 0; i < 4; i++)
        capacity_leave(c, &p[i]);
    assert_int_equal(capacity_connections(c), 0);
    capacity_free(c);
}

static void test_per_client(void **state)
{
    struct capacity *c = capacity_new();
    struct proxy_conf k = limits(100, 2);
    struct capacity_place p[5] = {0};
    struct addr a = address("192.0.2.1:1"), same = address("192.0.2.1:2"), b = address("192.0.2.2:1");

    UNUSED(state);
    assert_int_equal(capacity_enter(c, &k, &a, &p[0]), CAPACITY_OK);
    assert_int_equal(capacity_enter(c, &k, &same, &p[1]), CAPACITY_OK);
    assert_int_equal(capacity_enter(c, &k, &a, &p[2]), CAPACITY_CLIENT);
    /* Who is refused is not counted in all, either. */
    assert_int_equal(capacity_connections(c), 2);
    assert_int_equal(capacity_enter(c, &k, &b, &p[3]), CAPACITY_OK);
    assert_int_equal(capacity_of(c, &a), 2);
    assert_int_equal(capacity_clients(c), 2);
    capacity_leave(c, &p[0]);
    assert_int_equal(capacity_enter(c, &k, &same, &p[4]), CAPACITY_OK);
    capacity_leave(c, &p[1]);
    capacity_leave(c, &p[4]);
    /* An entry lives while its address has a connection. */
    assert_int_equal(capacity_clients(c), 1);
    capacity_leave(c, &p[3]);
    assert_int_equal(capacity_clients(c), 0);
    capacity_leave(c, &p[3]); /* empty by now */
    capacity_free(c);
}

/* Addresses are counted without a limit, too: the reload that sets one finds everybody. */
static void test_limit_by_reload(void **state)
{
    struct capacity *c = capacity_new();
    struct proxy_conf k = limits(100, 0);
    struct capacity_place p[3] = {0};
    struct addr a = address("[2001:db8::1]:1");

    UNUSED(state);
    assert_int_equal(capacity_enter(c, &k, &a, &p[0]), CAPACITY_OK);
    assert_int_equal(capacity_enter(c, &k, &a, &p[1]), CAPACITY_OK);
    k.capacity.per_client = 2;
    assert_int_equal(capacity_enter(c, &k, &a, &p[2]), CAPACITY_CLIENT);
    capacity_leave(c, &p[0]);
    capacity_leave(c, &p[1]);
    capacity_free(c);
}

static void test_addresses(void **state)
{
    struct capacity *c = capacity_new();
    struct proxy_conf k = limits(100, 1);
    struct addr v4 = address("192.0.2.1:1"), mapped = address("[::ffff:192.0.2.1]:1"), v6 = address("[::192.0.2.1]:1");
    struct addr un = {.sa.sa_family = AF_UNIX};
    struct capacity_place p[5] = {0};

    UNUSED(state);
    assert_int_equal(capacity_enter(c, &k, &v4, &p[0]), CAPACITY_OK);
    assert_int_equal(capacity_enter(c, &k, &mapped, &p[1]), CAPACITY_CLIENT);
    assert_int_equal(capacity_enter(c, &k, &v6, &p[1]), CAPACITY_OK);
    /* Clients of a Unix socket are counted in all only. */
    assert_int_equal(capacity_enter(c, &k, &un, &p[2]), CAPACITY_OK);
    assert_int_equal(capacity_enter(c, &k, &un, &p[3]), CAPACITY_OK);
    assert_int_equal(capacity_clients(c), 2);
    assert_int_equal(capacity_connections(c), 4);
    for (int i = 0; i < 4; i++)
        capacity_leave(c, &p[i]);
    capacity_free(c);
}

/* The tables grow with the crowd, and go with it. */
static void test_many(void **state)
{
    enum { MANY = 20000 };
    struct capacity *c = capacity_new();
    struct proxy_conf k = limits(MANY, 1);
    struct capacity_place *p = calloc(MANY, sizeof(*p)), extra = {0};
    uint64_t before;

    UNUSED(state);
    mem_count(true);
    before = mem_counted();
    for (unsigned i = 0; i < MANY; i++) {
        struct addr a = numbered(i);

        assert_int_equal(capacity_enter(c, &k, &a, &p[i]), CAPACITY_OK);
    }
    assert_int_equal(capacity_clients(c), MANY);
    for (unsigned i = 0; i < MANY; i += 97) {
        struct addr a = numbered(i);

        assert_int_equal(capacity_of(c, &a), 1);
    }
    k.capacity.connections++;
    for (unsigned i = 0; i < MANY; i += 97) {
        struct addr a = numbered(i);

        assert_int_equal(capacity_enter(c, &k, &a, &extra), CAPACITY_CLIENT);
    }
    for (unsigned i = 0; i < MANY; i++)
        capacity_leave(c, &p[(i * 7919) % MANY]);
    assert_int_equal(capacity_clients(c), 0);
    assert_int_equal(mem_counted(), before);
    mem_count(false);
    free(p);
    capacity_free(c);
}

/* Without memory for its entry a client is refused where there is a limit, and let in, uncounted, where there is none. */
static void test_every_allocation_fails(void **state)
{
    struct addr a = address("192.0.2.1:1"), b = address("192.0.2.2:1");

    UNUSED(state);
    for (unsigned limit = 0; limit < 2; limit++)
        for (memfail_start(); memfail_next();) {
            struct proxy_conf k = limits(100, limit * 5);
            struct capacity *c = capacity_new();
            struct capacity_place p[2] = {0};
            unsigned in = 0;

            if (!c)
                continue;
            for (int i = 0; i < 2; i++) {
                enum capacity_verdict v = capacity_enter(c, &k, i ? &b : &a, &p[i]);

                assert_true(v == CAPACITY_OK || (limit && memfail_hit() && v == CAPACITY_MEMORY));
                in += v == CAPACITY_OK;
            }
            assert_int_equal(in, limit && memfail_hit() ? 1 : 2);
            assert_int_equal(capacity_connections(c), in);
            capacity_leave(c, &p[0]);
            capacity_leave(c, &p[1]);
            assert_int_equal(capacity_connections(c), 0);
            capacity_free(c);
        }
}

/* A warning now and then for each limit, not one a client. */
static void test_say(void **state)
{
    struct capacity *c = capacity_new();

    UNUSED(state);
    assert_true(capacity_say(c, CAPACITY_TOTAL, 0));
    assert_false(capacity_say(c, CAPACITY_TOTAL, 1));
    assert_true(capacity_say(c, CAPACITY_CLIENT, 5000));
    assert_false(capacity_say(c, CAPACITY_TOTAL, CAPACITY_SAY_MS));
    assert_true(capacity_say(c, CAPACITY_TOTAL, CAPACITY_SAY_MS + 1));
    assert_false(capacity_say(c, CAPACITY_CLIENT, CAPACITY_SAY_MS + 1));
    capacity_free(c);
}

/* ---- many threads ---- */

enum { THREADS = 4, ROUNDS = 4000, CROWD = 8, LIMIT = 20, PER_CLIENT = 4 };

static struct capacity *shared;
static _Atomic unsigned refused[CAPACITY_VERDICTS], too_many;

static void *crowd(void *arg)
{
    struct proxy_conf k = limits(LIMIT, PER_CLIENT);
    struct capacity_place p[CROWD] = {0};
    unsigned x = (unsigned)(uintptr_t)arg * 7919 + 1;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct addr a;

        x = x * 1103515245 + 12345;
        a = numbered(x >> 16 & 7);
        capacity_leave(shared, &p[i % CROWD]);
        atomic_fetch_add(&refused[capacity_enter(shared, &k, &a, &p[i % CROWD])], 1);
        if (capacity_connections(shared) > LIMIT || capacity_of(shared, &a) > PER_CLIENT)
            atomic_fetch_add(&too_many, 1);
    }
    for (unsigned i = 0; i < CROWD; i++)
        capacity_leave(shared, &p[i]);
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t t[THREADS];

    UNUSED(state);
    shared = capacity_new();
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, crowd, (void *)(uintptr_t)i), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(too_many, 0);
    assert_int_equal(refused[CAPACITY_OK] + refused[CAPACITY_TOTAL] + refused[CAPACITY_CLIENT], THREADS * ROUNDS);
    assert_int_equal(capacity_connections(shared), 0);
    assert_int_equal(capacity_clients(shared), 0);
    capacity_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_total),     cmocka_unit_test(test_per_client),
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_limit_by_reload),
        cmocka_unit_test(test_many),      cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_say),       cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
