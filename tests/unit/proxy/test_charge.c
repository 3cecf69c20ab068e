/* SPDX-License-Identifier: MIT */
/* Buckets of limits and the table that has them: arithmetic at its ends, the calendar, eviction, an attack with a million clients, threads, refused
 * memory (S001-25). */
#include "base/mem.h"
#include "proxy/charge_table.h"
#include "support/memfail.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { SECOND = 1000000 };
/* Watching threads makes each of them slow. */
#ifdef __SANITIZE_THREAD__
enum { CLIENTS = 200000 };
#else
enum { CLIENTS = 1000000 };
#endif
#define NOW UINT64_C(5000000000)
#define WALL UINT64_C(1700000000000)

/* ---- requests ---- */

static void test_requests(void **state)
{
    struct charge_bucket b = {0};

    UNUSED(state);
    for (int i = 0; i < 5; i++)
        assert_int_equal(charge_request(&b, 10, 5, NOW), 0);
    assert_int_equal(charge_request(&b, 10, 5, NOW), SECOND / 10);
    assert_int_equal(charge_request(&b, 10, 5, NOW + SECOND / 20), SECOND / 20);
    assert_int_equal(charge_request(&b, 10, 5, NOW + SECOND / 10), 0);
    assert_int_equal(charge_request(&b, 10, 5, NOW + SECOND / 10), SECOND / 10);
    /* No more than the burst is saved. */
    for (int i = 0; i < 5; i++)
        assert_int_equal(charge_request(&b, 10, 5, NOW + 100 * (uint64_t)SECOND), 0);
    assert_true(charge_request(&b, 10, 5, NOW + 100 * (uint64_t)SECOND) > 0);
    /* A clock that goes back gives nothing. */
    assert_true(charge_request(&b, 10, 5, NOW) > 0);
    assert_true(charge_request(&b, 10, 5, 0) > 0);
}

static void test_request_extremes(void **state)
{
    static const struct {
        uint32_t rate, burst;
    } rows[] = {{1, 1}, {1, 1000000000}, {1000000000, 1}, {1000000000, 1000000000}, {UINT32_MAX, UINT32_MAX}, {3, 1}, {0, 0}};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct charge_bucket b = {0};
        uint64_t wait;

        assert_int_equal(charge_request(&b, rows[i].rate, rows[i].burst, NOW), 0);
        wait = charge_request(&b, rows[i].rate, rows[i].burst, NOW);
        assert_true(wait <= SECOND);
        assert_int_equal(charge_request(&b, rows[i].rate, rows[i].burst, NOW + wait), 0);
        assert_int_equal(charge_request(&b, rows[i].rate, rows[i].burst, UINT64_MAX), 0);
    }
}

/* Over a long time exactly the rate, whatever it divides by. */
static void test_request_rate(void **state)
{
    struct charge_bucket b = {0};
    unsigned n = 0;

    UNUSED(state);
    for (uint64_t us = 0; us < 10 * (uint64_t)SECOND; us += 997)
        n += charge_request(&b, 7, 1, NOW + us) == 0;
    assert_in_range(n, 69, 71);
}

static void test_pace(void **state)
{
    struct charge_bucket b = {0};
    uint64_t wait = 9;

    UNUSED(state);
    assert_true(charge_request_pace(&b, 1, 1, NOW, &wait));
    assert_int_equal(wait, 0);
    for (unsigned i = 1; i <= 30; i++) {
        assert_true(charge_request_pace(&b, 1, 1, NOW, &wait));
        assert_int_equal(wait, i * SECOND);
    }
    assert_false(charge_request_pace(&b, 1, 1, NOW, &wait));
    assert_true(charge_request_pace(&b, 1, 1, NOW + SECOND, &wait));
    assert_int_equal(wait, 30 * SECOND);
}

/* ---- bytes ---- */

static void test_lease(void **state)
{
    struct charge_bucket b = {0};
    uint64_t rate = 1000000;

    UNUSED(state);
    assert_int_equal(charge_lease(&b, FLOW_UP, rate, NOW, 1, 60000), 60000);
    assert_int_equal(charge_lease(&b, FLOW_UP, rate, NOW, 50000, 60000), 0);
    assert_int_equal(charge_lease(&b, FLOW_UP, rate, NOW, 1, 60000), 40000);
    assert_int_equal(charge_lease(&b, FLOW_UP, rate, NOW, 1, 60000), 0);
    /* The others are others'. */
    assert_int_equal(charge_lease(&b, FLOW_DOWN, rate, NOW, 1, 60000), 60000);
    assert_int_equal(charge_lease(&b, FLOW_UP, rate, NOW + 10000, 1, 60000), 10000);
    charge_return(&b, FLOW_UP, rate, 10000);
    assert_int_equal(charge_lease(&b, FLOW_UP, rate, NOW + 10000, 1, 60000), 10000);
    /* A tenth of a second is all that is ever saved, whatever is given back. */
    charge_return(&b, FLOW_UP, rate, UINT64_MAX);
    assert_int_equal(charge_lease(&b, FLOW_UP, rate, NOW + 60 * (uint64_t)SECOND, 1, UINT64_MAX), 100000);
    assert_int_equal(charge_lease(&b, FLOW_UP, rate, NOW, 1, UINT64_MAX), 0);
}

static void test_lease_extremes(void **state)
{
    static const uint64_t rates[] = {1, 2, 9, 15, 16, 1000, (uint64_t)1 << 30, (uint64_t)1 << 40, UINT64_MAX / 2, UINT64_MAX};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        uint64_t rate = rates[i], got = 0, chunk = charge_chunk(rate);
        struct charge_bucket b = {0};

        assert_true(chunk >= 1 && chunk <= CHARGE_CHUNK);
        for (uint64_t us = 0; us < 10 * (uint64_t)SECOND; us += 10000) {
            uint64_t n = charge_lease(&b, FLOW_BOTH, rate, NOW + us, chunk, rate > UINT64_MAX / 64 ? chunk : UINT64_MAX);

            got = got > UINT64_MAX - n ? UINT64_MAX : got + n;
        }
        if (rate < UINT64_MAX / 64)
        if (rate < UINT64_MAX / 64)
            assert_in_range(got, rate * 98 / 10 - chunk, rate * 102 / 10 + chunk + 1);
    }
}

/* ---- spans and quotas ---- */

static uint64_t at(const char *zone, int year, int month, int day, int hour, int minute)
{
    struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour, .tm_min = minute, .tm_isdst = -1};

    setenv("TZ", zone, 1);
    tzset();
    return (uint64_t)mktime(&tm) * 1000;
}

/* Europe: summer time from the last Sunday of March, 02:00, to the last Sunday of October, 03:00. */
#define EUROPE "CET-1CEST,M3.5.0,M10.5.0/3"

static void test_spans(void **state)
{
    static const struct {
        enum limit_span span;
        int from[5], now[5], end[5];
    } rows[] = {
        {SPAN_HOUR, {2026, 11, 21, 19, 0}, {2026, 11, 21, 19, 59}, {2026, 11, 21, 20, 0}},
        {SPAN_DAY, {2026, 11, 21, 0, 0}, {2026, 11, 21, 19, 3}, {2026, 11, 22, 0, 0}},
        {SPAN_DAY, {2026, 3, 29, 0, 0}, {2026, 3, 29, 12, 0}, {2026, 3, 30, 0, 0}},   /* 23 hours */
        {SPAN_DAY, {2026, 10, 25, 0, 0}, {2026, 10, 25, 12, 0}, {2026, 10, 26, 0, 0}}, /* 25 hours */
        {SPAN_WEEK, {2026, 11, 16, 0, 0}, {2026, 11, 22, 23, 59}, {2026, 11, 23, 0, 0}},
        {SPAN_WEEK, {2026, 11, 23, 0, 0}, {2026, 11, 23, 0, 0}, {2026, 11, 30, 0, 0}},
        {SPAN_WEEK, {2026, 12, 28, 0, 0}, {2027, 1, 1, 8, 0}, {2027, 1, 4, 0, 0}},
        {SPAN_MONTH, {2026, 2, 1, 0, 0}, {2026, 2, 28, 23, 59}, {2026, 3, 1, 0, 0}},
        {SPAN_MONTH, {2028, 2, 1, 0, 0}, {2028, 2, 29, 0, 1}, {2028, 3, 1, 0, 0}},
        {SPAN_MONTH, {2026, 12, 1, 0, 0}, {2026, 12, 31, 23, 59}, {2027, 1, 1, 0, 0}},
        {SPAN_MONTH, {2026, 3, 1, 0, 0}, {2026, 3, 31, 12, 0}, {2026, 4, 1, 0, 0}},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const int *f = rows[i].from, *n = rows[i].now, *e = rows[i].end;
        struct charge_span s = charge_span_at(rows[i].span, at(EUROPE, n[0], n[1], n[2], n[3], n[4]));

        assert_int_equal(s.from_ms, at(EUROPE, f[0], f[1], f[2], f[3], f[4]));
        assert_int_equal(s.end_ms, at(EUROPE, e[0], e[1], e[2], e[3], e[4]));
        assert_true(s.next_end_ms > s.end_ms);
        /* The next one begins where this one ends. */
        assert_int_equal(charge_span_at(rows[i].span, s.end_ms).end_ms, s.next_end_ms);
    }
}

/* Each moment of two days lies in an hour that is an hour, the one that comes twice, too. */
static void test_hours_of_clock_changes(void **state)
{
    uint64_t days[] = {at(EUROPE, 2026, 3, 28, 12, 0), at(EUROPE, 2026, 10, 24, 12, 0)};

    UNUSED(state);
    for (size_t d = 0; d < ARRAY_LEN(days); d++)
        for (uint64_t ms = days[d]; ms < days[d] + 48 * 3600000; ms += 601000) {
            struct charge_span s = charge_span_at(SPAN_HOUR, ms);

            assert_true(s.from_ms <= ms && ms < s.end_ms);
            assert_int_equal(s.end_ms - s.from_ms, 3600000);
            assert_int_equal(s.next_end_ms - s.end_ms, 3600000);
        }
}

static void test_quota(void **state)
{
    struct charge_bucket b = {0};
    uint64_t now = at("UTC", 2026, 11, 21, 12, 0), next = at("UTC", 2026, 11, 22, 12, 0), far = at("UTC", 2099, 1, 1, 0, 0);
    struct charge_span s = charge_span_at(SPAN_DAY, now), t = charge_span_at(SPAN_DAY, next), u = charge_span_at(SPAN_DAY, far);

    UNUSED(state);
    assert_int_equal(charge_quota_look(&b, &s, now), 0);
    assert_int_equal(charge_quota_add(&b, 100), 100);
    assert_int_equal(charge_quota_look(&b, &s, now + 1), 100);
    assert_int_equal(charge_quota_look(&b, &t, next), 0);
    charge_quota_add(&b, 50);
    /* The clock goes back a little, or a day: nothing comes back. */
    assert_int_equal(charge_quota_look(&b, &s, now), 50);
    assert_int_equal(charge_quota_look(&b, &t, next), 50);
    /* It had been far in the future: what is used then is used, but not until then. */
    assert_int_equal(charge_quota_look(&b, &u, far), 0);
    charge_quota_add(&b, 70);
    assert_int_equal(charge_quota_look(&b, &s, now), 70);
    assert_int_equal(charge_quota_look(&b, &t, next), 0);
    assert_int_equal(charge_quota_add(&b, UINT64_MAX), UINT64_MAX);
    assert_int_equal(charge_quota_add(&b, 5), UINT64_MAX);
}

/* ---- the table ---- */

static struct charge_bucket *pin(struct charge_table *t, uint64_t limit, const char *key)
{
    struct charge_bucket *b = charge_pin(t, limit, slice_str(key), NOW, WALL);

    assert_non_null(b);
    return b;
}

static void test_table(void **state)
{
    struct charge_table *t = charge_table_new();
    struct charge_bucket *a = pin(t, 1, "a"), *same = pin(t, 1, "a"), *b = pin(t, 1, "b"), *other = pin(t, 2, "a"), *empty = pin(t, 1, "");

    UNUSED(state);
    assert_ptr_equal(a, same);
    assert_ptr_not_equal(a, b);
    assert_ptr_not_equal(a, other);
    assert_ptr_not_equal(a, empty);
    assert_int_equal(a->pins, 2);
    assert_int_equal(charge_table_count(t).buckets, 4);
    charge_unpin(&a);
    assert_null(a);
    charge_unpin(&a);
    charge_unpin(&same);
    charge_unpin(&b);
    charge_unpin(&other);
    charge_unpin(&empty);
    charge_table_free(t);
    charge_table_free(NULL);
}

/* Asked for without being made: nothing changes, neither while there is room nor when those who are new share. */
static void test_find(void **state)
{
    struct charge_table *t = charge_table_new();
    struct charge_bucket *b, *same, *shared = NULL;
    struct charge_table_counts before, after;
    unsigned found = 0, used = 0;
    uint32_t there;
    char key[32];

    UNUSED(state);
    assert_null(charge_find(t, 1, slice_str("a"), NOW, WALL));
    assert_int_equal(charge_table_count(t).buckets, 0);
    b = pin(t, 1, "a");
    same = charge_find(t, 1, slice_str("a"), NOW, WALL);
    assert_ptr_equal(b, same);
    assert_int_equal(b->pins, 2);
    assert_null(charge_find(t, 2, slice_str("a"), NOW, WALL));
    /* Tokens, a quota, a tunnel: each is read as often as one likes. */
    assert_int_equal(charge_request_look(b, 1, 3, NOW, &there), 0);
    assert_int_equal(there, 3);
    assert_int_equal(charge_request(b, 1, 3, NOW), 0);
    assert_int_equal(charge_request(b, 1, 3, NOW), 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(charge_request_look(b, 1, 3, NOW, &there), 0);
        assert_int_equal(there, 1);
    }
    assert_int_equal(charge_request(b, 1, 3, NOW), 0);
    assert_int_equal(charge_request_look(b, 1, 3, NOW, &there), 1000000);
    assert_int_equal(there, 0);
    assert_int_equal(charge_request(b, 1, 3, NOW), 1000000);
    assert_int_equal(charge_request_look(b, 1, 3, NOW + 1000000, &there), 0);
    assert_int_equal(there, 1);
    assert_int_equal(charge_quota_used(b, WALL), 0);
    atomic_store(&b->quota_end_ms, WALL + 500);
    assert_int_equal(charge_quota_add(b, 70), 70);
    assert_int_equal(charge_quota_used(b, WALL + 499), 70);
    assert_int_equal(charge_quota_used(b, WALL + 500), 0);
    assert_int_equal(b->quota_used, 70);
    charge_unpin(&same);
    charge_unpin(&b);

    /* Full of what does not rest. */
    for (unsigned i = 0; i < 2 * CHARGE_BUCKETS; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        b = pin(t, 3, key);
        used += charge_request(b, 1, 100, NOW) == 0;
        charge_unpin(&b);
    }
    assert_in_range(used, CHARGE_BUCKETS, CHARGE_BUCKETS + 100 * CHARGE_OVERFLOW_EACH);
    before = charge_table_count(t);
    assert_int_equal(before.buckets, CHARGE_BUCKETS);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "new%u", i);
        b = charge_find(t, 3, slice_str(key), NOW, WALL);
        shared = b ? b : shared;
        found += b && charge_bucket_shared(b);
        same = charge_find(t, 3, slice_str(key), NOW + 10000000, WALL);
        assert_null(same); /* all of them rest by then */
        charge_unpin(&b);
    }
    assert_int_equal(found, 100);
    after = charge_table_count(t);
    assert_memory_equal(&before, &after, sizeof(after));
    assert_int_equal(shared->pins, 0);
    charge_table_free(t);
}

/* Long keys are told apart by all of their bytes. */
static void test_long_keys(void **state)
{
    struct charge_table *t = charge_table_new();
    struct charge_bucket *v[3];
    char keys[3][300], out[CHARGE_KEY];

    UNUSED(state);
    for (unsigned i = 0; i < 3; i++) {
        memset(keys[i], 'x', sizeof(keys[i]));
        keys[i][sizeof(keys[i]) - 1] = '\0';
    }
    keys[1][298] = 'y';
    keys[2][CHARGE_KEY - 1] = '\0';
    for (unsigned i = 0; i < 3; i++)
        v[i] = pin(t, 1, keys[i]);
    assert_ptr_not_equal(v[0], v[1]);
    assert_ptr_not_equal(v[0], v[2]);
    assert_int_equal(charge_key(slice_str(keys[0]), out), CHARGE_KEY);
    assert_memory_equal(out, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx#", 32);
    assert_ptr_equal(charge_pin_saved(t, 1, slice_of(v[0]->key, v[0]->n_key), WALL), v[0]);
    charge_unpin(&(struct charge_bucket *){v[0]});
    for (unsigned i = 0; i < 3; i++)
        charge_unpin(&v[i]);
    charge_table_free(t);
}

/* A million clients, each with one request a second: those that rest make room; those that do not, never, and whoever comes to a full table shares. */
static void test_million_clients(void **state)
{
    struct charge_table *t = charge_table_new();
    struct charge_bucket *b;
    struct charge_table_counts c;
    uint64_t now = NOW;
    unsigned passed = 0;

    UNUSED(state);
    /* The victim of the attack has used up its tokens for a long time. */
    b = pin(t, 1, "victim");
    for (int i = 0; i < 3600; i++)
        assert_true(charge_request_pace(b, 1, 3600, now, &(uint64_t){0}) || i > 3000);
    charge_unpin(&b);
    for (unsigned i = 0; i < CLIENTS; i++) {
        uint32_t key = i;

        if (i % 1000 == 0)
            now += 1000; /* a thousand a millisecond */
        b = charge_pin(t, 1, slice_of(&key, sizeof(key)), now, WALL);
        assert_non_null(b);
        passed += charge_request(b, 1, 1, now) == 0;
        charge_unpin(&b);
    }
    c = charge_table_count(t);
    assert_int_equal(c.buckets, CHARGE_BUCKETS);
    assert_int_equal(c.overflow, CHARGE_OVERFLOW_EACH);
    assert_true(c.overflowed > CLIENTS - 100000);
    /* Each place once in the second that the attack took, and the shared ones once a second each. */
    assert_in_range(passed, CHARGE_BUCKETS, CHARGE_BUCKETS + 2 * CHARGE_OVERFLOW_EACH);
    b = charge_pin(t, 1, SLICE("victim"), now, WALL);
    assert_true(charge_request(b, 1, 1, now) > 0);
    charge_unpin(&b);
    /* Later there is room again. */
    now += 10 * (uint64_t)SECOND;
    b = charge_pin(t, 1, SLICE("somebody new"), now, WALL);
    assert_int_equal(b->n_key, 12);
    charge_unpin(&b);
    charge_table_free(t);
}

/* What is pinned, waits or has used a quota keeps its place. */
static void test_rest(void **state)
{
    struct charge_bucket b = {0};
    uint64_t now = NOW;

    UNUSED(state);
    assert_true(charge_bucket_rests(&b, now, WALL));
    b.pins = 1;
    assert_false(charge_bucket_rests(&b, now, WALL));
    b.pins = 0;
    assert_int_equal(charge_request(&b, 1, 5, now), 0);
    assert_false(charge_bucket_rests(&b, now, WALL));
    now += SECOND;
    assert_true(charge_bucket_rests(&b, now, WALL));
    assert_int_equal(charge_lease(&b, FLOW_SLOW, 1000, now, 1, 100), 100);
    assert_false(charge_bucket_rests(&b, now + 99999, WALL));
    now += 100000;
    assert_true(charge_bucket_rests(&b, now, WALL));
    b.quota_used = 1;
    b.quota_end_ms = WALL + 1;
    assert_false(charge_bucket_rests(&b, now, WALL));
    assert_true(charge_bucket_rests(&b, now, WALL + 1));
}

static void test_refused_memory(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct charge_table *t = charge_table_new();
        struct charge_bucket *b = t ? charge_pin(t, 1, SLICE("a"), NOW, WALL) : NULL;

        if (!memfail_hit())
            assert_non_null(b);
        charge_unpin(&b);
        charge_table_free(t);
    }
}

/* ---- threads ---- */

struct crowd {
    struct charge_table *table;
    _Atomic unsigned passed, tunnels;
};

static void *crowd_run(void *arg)
{
    struct crowd *c = arg;

    for (unsigned i = 0; i < 20000; i++) {
        struct charge_bucket *b = charge_pin(c->table, 1, SLICE("all"), NOW, WALL);
        char key[16];

        if (charge_request(b, 1, 1000, NOW) == 0)
            atomic_fetch_add(&c->passed, 1);
        if (charge_tunnel(b, 3)) {
            unsigned n = atomic_fetch_add(&c->tunnels, 1) + 1;

            if (n > 3)
                abort();
            atomic_fetch_sub(&c->tunnels, 1);
            charge_tunnel_end(b);
        }
        charge_unpin(&b);
        snprintf(key, sizeof(key), "%u", i % 3000);
        b = charge_pin(c->table, 1, slice_str(key), NOW, WALL);
        charge_quota_add(b, 1);
        charge_unpin(&b);
    }
    return NULL;
}

static bool add_used(void *ctx, const struct charge_bucket *b)
{
    *(uint64_t *)ctx += b->quota_used;
    return true;
}

static void test_threads(void **state)
{
    struct crowd c = {.table = charge_table_new()};
    pthread_t v[4];
    uint64_t used = 0;

    UNUSED(state);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&v[i], NULL, crowd_run, &c), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(v[i], NULL);
    assert_int_equal(c.passed, 1000);
    charge_table_each(c.table, add_used, &used);
    assert_int_equal(used, 80000);
    charge_table_free(c.table);
}

static void note_change(void *owner)
{
    ++*(unsigned *)owner;
}

static void test_changes(void **state)
{
    struct charge_table *t = charge_table_new();
    unsigned n = 0;

    UNUSED(state);
    charge_table_changed(t);
    charge_table_on_change(t, note_change, &n);
    for (int i = 0; i < 5; i++)
        charge_table_changed(t);
    assert_int_equal(n, 1);
    charge_table_settled(t);
    charge_table_changed(t);
    assert_int_equal(n, 2);
    charge_table_on_change(t, NULL, NULL);
    charge_table_changed(t);
    assert_int_equal(n, 2);
    charge_table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),       cmocka_unit_test(test_request_extremes),
        cmocka_unit_test(test_request_rate),   cmocka_unit_test(test_pace),
        cmocka_unit_test(test_lease),          cmocka_unit_test(test_lease_extremes),
        cmocka_unit_test(test_spans),          cmocka_unit_test(test_hours_of_clock_changes),
        cmocka_unit_test(test_quota),          cmocka_unit_test(test_table),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_long_keys),      cmocka_unit_test(test_million_clients),
        cmocka_unit_test(test_rest),           cmocka_unit_test(test_refused_memory),
        cmocka_unit_test(test_threads),        cmocka_unit_test(test_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
