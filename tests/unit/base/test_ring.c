/* SPDX-License-Identifier: MIT */
#include "base/ring.h"

#include "base/err.h"
#include "support/memfail.h"

#include <sched.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_ptr_order(void **state)
{
    struct ring_ptr r;
    int v[5];
    bool was_empty;

    UNUSED(state);
    assert_int_equal(ring_ptr_init(&r, 3), 0);
    assert_null(ring_ptr_get(&r));
    for (int i = 0; i < 5; i++) {
        assert_true(ring_ptr_put(&r, &v[i], &was_empty));
        assert_true(was_empty);
        assert_ptr_equal(ring_ptr_get(&r), &v[i]);
    }
    assert_null(ring_ptr_get(&r));
    ring_ptr_done(&r);
}

static void test_ptr_full(void **state)
{
    struct ring_ptr r;
    int v[4];
    bool was_empty;

    UNUSED(state);
    assert_int_equal(ring_ptr_init(&r, 3), 0);
    for (int i = 0; i < 3; i++) {
        assert_true(ring_ptr_put(&r, &v[i], &was_empty));
        assert_true(was_empty == (i == 0));
    }
    was_empty = true;
    assert_false(ring_ptr_put(&r, &v[3], &was_empty));
    assert_true(was_empty); /* untouched on failure */
    assert_ptr_equal(ring_ptr_get(&r), &v[0]);
    assert_true(ring_ptr_put(&r, &v[3], &was_empty));
    assert_false(was_empty);
    for (int i = 1; i < 4; i++)
        assert_ptr_equal(ring_ptr_get(&r), &v[i]);
    assert_null(ring_ptr_get(&r));
    ring_ptr_done(&r);
}

static void test_bytes_put_peek_drop(void **state)
{
    struct ring_bytes r;
    const char *p;

    UNUSED(state);
    assert_int_equal(ring_bytes_init(&r, 16), 0);
    assert_int_equal(ring_bytes_peek(&r, &p), 0);
    assert_true(ring_bytes_put(&r, NULL, 0));
    assert_true(ring_bytes_put(&r, "hello", 5));
    assert_true(ring_bytes_put(&r, " you", 4));
    assert_int_equal(ring_bytes_peek(&r, &p), 9);
    assert_memory_equal(p, "hello you", 9);
    ring_bytes_drop(&r, 6);
    assert_int_equal(ring_bytes_peek(&r, &p), 3);
    assert_memory_equal(p, "you", 3);
    ring_bytes_drop(&r, 3);
    assert_int_equal(ring_bytes_peek(&r, &p), 0);
    ring_bytes_done(&r);
}

static void test_bytes_all_or_nothing(void **state)
{
    struct ring_bytes r;
    const char *p;

    UNUSED(state);
    assert_int_equal(ring_bytes_init(&r, 8), 0);
    assert_false(ring_bytes_put(&r, "123456789", 9));
    assert_true(ring_bytes_put(&r, "12345", 5));
    assert_false(ring_bytes_put(&r, "6789", 4));
    assert_true(ring_bytes_put(&r, "678", 3));
    assert_false(ring_bytes_put(&r, "9", 1));
    assert_true(ring_bytes_put(&r, "", 0));
    assert_int_equal(ring_bytes_peek(&r, &p), 8);
    assert_memory_equal(p, "12345678", 8);
    ring_bytes_done(&r);
}

static void test_bytes_wrap(void **state)
{
    struct ring_bytes r;
    const char *p;

    UNUSED(state);
    assert_int_equal(ring_bytes_init(&r, 8), 0);
    assert_true(ring_bytes_put(&r, "abcdef", 6));
    ring_bytes_drop(&r, 6);
    assert_true(ring_bytes_put(&r, "12345", 5));
    assert_int_equal(ring_bytes_peek(&r, &p), 2);
    assert_memory_equal(p, "12", 2);
    ring_bytes_drop(&r, 2);
    assert_int_equal(ring_bytes_peek(&r, &p), 3);
    assert_memory_equal(p, "345", 3);
    ring_bytes_done(&r);
}

static void test_bytes_counters_wrap(void **state)
{
    struct ring_bytes r;
    const char *p;

    UNUSED(state);
    assert_int_equal(ring_bytes_init(&r, 8), 0);
    atomic_store(&r.head, SIZE_MAX - 3);
    atomic_store(&r.tail, SIZE_MAX - 3);
    assert_true(ring_bytes_put(&r, "12345678", 8));
    assert_false(ring_bytes_put(&r, "9", 1));
    assert_int_equal(ring_bytes_peek(&r, &p), 4);
    ring_bytes_drop(&r, 4);
    assert_int_equal(ring_bytes_peek(&r, &p), 4);
    assert_memory_equal(p, "5678", 4);
    ring_bytes_done(&r);
}

static void test_each_allocation_refused(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct ring_ptr r;
        int e = ring_ptr_init(&r, 8);

        assert_int_equal(e, memfail_hit() ? ERR_NOMEM : 0);
        if (e == 0)
            ring_ptr_done(&r);
    }
    for (memfail_start(); memfail_next();) {
        struct ring_bytes r;
        int e = ring_bytes_init(&r, 8);

        assert_int_equal(e, memfail_hit() ? ERR_NOMEM : 0);
        if (e == 0)
            ring_bytes_done(&r);
    }
}

/* ---- two threads; cmocka's asserts belong to the first, so the others count ---- */

enum { RECORDS = 200000, PRODUCERS = 3, PER_PRODUCER = 30000 };

/* Record i: its length, then its length - 1 bytes that follow from i. */
static size_t make_record(unsigned i, unsigned char *rec)
{
    size_t n = 1 + i * 7 % 60;

    rec[0] = (unsigned char)n;
    for (size_t k = 1; k < n; k++)
        rec[k] = (unsigned char)(i + k);
    return n;
}

static void *produce_bytes(void *arg)
{
    struct ring_bytes *r = arg;
    unsigned char rec[64];

    for (unsigned i = 0; i < RECORDS; i++) {
        size_t n = make_record(i, rec);

        while (!ring_bytes_put(r, rec, n))
            sched_yield();
    }
    return NULL;
}

static void test_bytes_two_threads(void **state)
{
    unsigned char rec[64];
    struct ring_bytes r;
    size_t at = 0, n = 0, wrong = 0;
    unsigned next = 0;
    pthread_t t;

    UNUSED(state);
    assert_int_equal(ring_bytes_init(&r, 256), 0);
    assert_int_equal(pthread_create(&t, NULL, produce_bytes, &r), 0);
    while (next < RECORDS || at < n) {
        const char *p;
        size_t got = ring_bytes_peek(&r, &p);

        if (got == 0)
            sched_yield();
        for (size_t i = 0; i < got; i++) {
            if (at == n) {
                n = make_record(next++, rec);
                at = 0;
            }
            wrong += (unsigned char)p[i] != rec[at++];
        }
        ring_bytes_drop(&r, got);
    }
    pthread_join(t, NULL);
    assert_int_equal(wrong, 0);
    ring_bytes_done(&r);
}

struct producer {
    struct ring_ptr *ring;
    unsigned value[PER_PRODUCER];
    unsigned wakes;
};

static struct producer producers[PRODUCERS];

static void *produce_ptr(void *arg)
{
    struct producer *p = arg;

    for (unsigned i = 0; i < PER_PRODUCER; i++) {
        bool was_empty = false;

        p->value[i] = i;
        while (!ring_ptr_put(p->ring, &p->value[i], &was_empty))
            sched_yield();
        p->wakes += was_empty;
    }
    return NULL;
}

static size_t producer_of(const unsigned *v)
{
    for (size_t k = 0; k < PRODUCERS; k++)
        if (v >= producers[k].value && v < producers[k].value + PER_PRODUCER)
            return k;
    return PRODUCERS;
}

static void test_ptr_many_producers(void **state)
{
    unsigned next[PRODUCERS] = {0}, wakes = 0;
    pthread_t t[PRODUCERS];
    struct ring_ptr r;

    UNUSED(state);
    assert_int_equal(ring_ptr_init(&r, 16), 0);
    for (size_t k = 0; k < PRODUCERS; k++) {
        producers[k].ring = &r;
        assert_int_equal(pthread_create(&t[k], NULL, produce_ptr, &producers[k]), 0);
    }
    for (unsigned left = PRODUCERS * PER_PRODUCER; left > 0;) {
        const unsigned *v = ring_ptr_get(&r);
        size_t k;

        if (!v) {
            sched_yield();
            continue;
        }
        k = producer_of(v);
        assert_true(k < PRODUCERS);
        assert_int_equal(*v, next[k]++); /* each producer's own order is kept */
        left--;
    }
    for (size_t k = 0; k < PRODUCERS; k++) {
        pthread_join(t[k], NULL);
        wakes += producers[k].wakes;
    }
    assert_null(ring_ptr_get(&r));
    assert_true(wakes > 0);
    ring_ptr_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ptr_order),
        cmocka_unit_test(test_ptr_full),
        cmocka_unit_test(test_bytes_put_peek_drop),
        cmocka_unit_test(test_bytes_all_or_nothing),
        cmocka_unit_test(test_bytes_wrap),
        cmocka_unit_test(test_bytes_counters_wrap),
        cmocka_unit_test(test_each_allocation_refused),
        cmocka_unit_test(test_bytes_two_threads),
        cmocka_unit_test(test_ptr_many_producers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
