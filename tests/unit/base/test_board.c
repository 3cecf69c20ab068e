/* SPDX-License-Identifier: MIT */
#include "base/board.h"

#include "support/memfail.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { VALUE_MAX = 64 };

static struct board *b;

static int setup(void **state)
{
    UNUSED(state);
    b = board_new(256, VALUE_MAX);
    return b ? 0 : -1;
}

static int teardown(void **state)
{
    UNUSED(state);
    board_free(b);
    return 0;
}

static void put(const char *key, uint64_t now, uint64_t ttl, const char *value)
{
    board_put(b, BOARD_DNS, slice_str(key), now, ttl, value, strlen(value));
}

/* value NULL: absent */
static void assert_fact(const char *key, uint64_t now, const char *value)
{
    char got[VALUE_MAX];
    size_t n = 4711;
    bool found = board_get(b, BOARD_DNS, slice_str(key), now, got, sizeof(got), &n);

    assert_true(found == (value != NULL));
    if (!value) {
        assert_int_equal(n, 4711);
        return;
    }
    assert_int_equal(n, strlen(value));
    assert_memory_equal(got, value, n);
}

static void test_empty(void **state)
{
    UNUSED(state);
    assert_fact("a", 0, NULL);
    board_del(b, BOARD_DNS, SLICE("a"));
    assert_int_equal(board_count(b), 0);
    board_free(NULL);
}

static void test_put_get_del(void **state)
{
    UNUSED(state);
    put("a", 0, 100, "one");
    put("b", 0, 100, "two");
    assert_fact("a", 0, "one");
    assert_fact("b", 0, "two");
    assert_fact("ab", 0, NULL);
    assert_int_equal(board_count(b), 2);
    board_del(b, BOARD_DNS, SLICE("a"));
    assert_fact("a", 0, NULL);
    assert_fact("b", 0, "two");
    assert_int_equal(board_count(b), 1);
}

static void test_replace(void **state)
{
    UNUSED(state);
    put("a", 0, 100, "one");
    put("a", 50, 100, "other");
    assert_fact("a", 149, "other");
    assert_int_equal(board_count(b), 1);
    put("a", 60, 10, "");
    assert_fact("a", 69, "");
    assert_fact("a", 70, NULL);
}

static void test_expiry(void **state)
{
    UNUSED(state);
    put("a", 1000, 5, "x");
    assert_fact("a", 1004, "x");
    assert_fact("a", 1005, NULL);
    assert_int_equal(board_count(b), 1); /* still held */
    put("for ever", 1000, UINT64_MAX, "x");
    assert_fact("for ever", UINT64_MAX - 1, "x");
}

static void test_kinds_are_apart(void **state)
{
    char got[VALUE_MAX];
    size_t n;

    UNUSED(state);
    put("a", 0, 100, "dns");
    assert_false(board_get(b, BOARD_FAMILY, SLICE("a"), 0, got, sizeof(got), &n));
    board_put(b, BOARD_FAMILY, SLICE("a"), 0, 100, "fam", 3);
    board_del(b, BOARD_DNS, SLICE("a"));
    assert_true(board_get(b, BOARD_FAMILY, SLICE("a"), 0, got, sizeof(got), &n));
    assert_memory_equal(got, "fam", 3);
}

static void test_sizes(void **state)
{
    char key[BOARD_KEY_MAX + 1], value[VALUE_MAX + 1], got[VALUE_MAX];
    size_t n;

    UNUSED(state);
    memset(key, 'k', sizeof(key));
    memset(value, 'v', sizeof(value));
    board_put(b, BOARD_DNS, slice_of(key, BOARD_KEY_MAX), 0, 9, value, VALUE_MAX);
    assert_true(board_get(b, BOARD_DNS, slice_of(key, BOARD_KEY_MAX), 0, got, sizeof(got), &n));
    assert_int_equal(n, VALUE_MAX);
    assert_memory_equal(got, value, n);
    assert_false(board_get(b, BOARD_DNS, slice_of(key, BOARD_KEY_MAX), 0, got, VALUE_MAX - 1, &n));
    board_put(b, BOARD_DNS, slice_of(key, BOARD_KEY_MAX + 1), 0, 9, value, 1);
    assert_false(
        board_get(b, BOARD_DNS, slice_of(key, BOARD_KEY_MAX + 1), 0, got, sizeof(got), &n));
    board_put(b, BOARD_DNS, SLICE("a"), 0, 9, value, VALUE_MAX + 1);
    assert_fact("a", 0, NULL);
    put("b", 0, 0, "no time to live");
    assert_fact("b", 0, NULL);
    board_put(b, BOARD_DNS, SLICE_NONE, 0, 9, NULL, 0);
    assert_fact("", 0, "");
    assert_int_equal(board_count(b), 2);
}

/* What replaces a fact and can't be kept still ends the old one. */
static void test_unkept_value_ends_the_old(void **state)
{
    char value[VALUE_MAX + 1] = {0};

    UNUSED(state);
    put("a", 0, 100, "old");
    put("a", 1, 0, "new");
    assert_fact("a", 1, NULL);
    put("a", 2, 100, "old");
    board_put(b, BOARD_DNS, SLICE("a"), 3, 100, value, sizeof(value));
    assert_fact("a", 3, NULL);
}

/* One fact a shard: the newcomer drives out whoever is there. */
static void test_smallest(void **state)
{
    char key[16];

    UNUSED(state);
    board_free(b);
    b = board_new(0, VALUE_MAX);
    assert_non_null(b);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        put(key, 0, 1 + (uint64_t)i * 7 % 1000, key);
        assert_fact(key, 0, key);
    }
    assert_int_equal(board_count(b), BOARD_SHARDS);
}

/* Far more than fits: in each shard those with the latest end stay. We can't see shards, but a fact
 * that went ended before every fact that came later to its shard, so the latest ends of all are all
 * still here. */
static void test_nearest_end_goes(void **state)
{
    char key[16];
    int kept = 0;

    UNUSED(state);
    for (int i = 0; i < 4096; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        put(key, 0, 1 + (uint64_t)(i * 1237 % 4096), key);
    }
    assert_int_equal(board_count(b), 256);
    for (int i = 0; i < 4096; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        if (i * 1237 % 4096 >= 4096 - 128) {
            char got[VALUE_MAX];
            size_t n;

            kept += board_get(b, BOARD_DNS, slice_str(key), 0, got, sizeof(got), &n);
        }
    }
    /* 128 over 16 shards of 16: about 8 each, hardly ever more than 16 */
    assert_true(kept >= 120);
}

static void test_expired_go_first(void **state)
{
    char key[16];

    UNUSED(state);
    for (int i = 0; i < 4096; i++) {
        snprintf(key, sizeof(key), "old %d", i);
        put(key, 0, 10, "old");
    }
    for (int i = 0; i < 48; i++) {
        snprintf(key, sizeof(key), "new %d", i);
        put(key, 100, 10, key);
    }
    for (int i = 0; i < 48; i++) {
        snprintf(key, sizeof(key), "new %d", i);
        assert_fact(key, 105, key);
    }
    assert_int_equal(board_count(b), 256);
}

static void test_each_allocation_refused(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct board *x = board_new(100, 10);

        assert_true((x == NULL) == memfail_hit());
        board_free(x);
    }
}

static void test_absurd_sizes(void **state)
{
    volatile size_t huge = SIZE_MAX;

    UNUSED(state);
    assert_null(board_new(huge, 10));
    assert_null(board_new(10, huge));
    assert_null(board_new(huge / 1024, 10));
}

/* ---- against a model without eviction: few keys, much room, so that nothing is ever driven out
 * ---- */

enum { KEYS = 40 };

static void test_random_against_model(void **state)
{
    struct {
        uint64_t end;
        unsigned value;
    } model[KEYS] = {{0, 0}};
    uint64_t now = 1;

    UNUSED(state);
    board_free(b);
    b = board_new((size_t)KEYS * BOARD_SHARDS, VALUE_MAX);
    assert_non_null(b);
    srand(4);
    for (unsigned step = 0; step < 100000; step++) {
        unsigned k = (unsigned)rand() % KEYS, got;
        struct slice key = slice_of(&k, sizeof(k));
        size_t n;

        switch (rand() % 4) {
        case 0:
            model[k].end = now + (uint64_t)rand() % 50;
            model[k].value = step;
            board_put(b, BOARD_DNS, key, now, model[k].end - now, &step, sizeof(step));
            break;
        case 1:
            if (rand() % 4 == 0) {
                model[k].end = 0;
                board_del(b, BOARD_DNS, key);
            }
            break;
        case 2:
            now += (uint64_t)rand() % 3;
            break;
        default:
            assert_true(board_get(b, BOARD_DNS, key, now, &got, sizeof(got), &n) ==
                        (now < model[k].end));
            if (now < model[k].end)
                assert_int_equal(got, model[k].value);
        }
    }
}

/* ---- the same with threads: every value says which key it belongs to ---- */

enum { THREADS = 4, TURNS = 50000 };

struct user {
    unsigned seed, wrong, found;
};

struct record {
    unsigned key, check[8];
};

static void *use_board(void *arg)
{
    struct user *u = arg;

    for (unsigned i = 0; i < TURNS; i++) {
        unsigned k = (unsigned)rand_r(&u->seed) % 1000;
        struct slice key = slice_of(&k, sizeof(k));
        struct record rec = {.key = k};
        size_t n = 0;

        for (size_t c = 0; c < ARRAY_LEN(rec.check); c++)
            rec.check[c] = k ^ i;
        if (rand_r(&u->seed) % 3 == 0) {
            board_put(b, BOARD_DNS, key, i, 1 + k, &rec, sizeof(rec));
        } else if (rand_r(&u->seed) % 50 == 0) {
            board_del(b, BOARD_DNS, key);
        } else if (board_get(b, BOARD_DNS, key, i, &rec, sizeof(rec), &n)) {
            u->found++;
            u->wrong += n != sizeof(rec) || rec.key != k;
            for (size_t c = 1; c < ARRAY_LEN(rec.check); c++)
                u->wrong += rec.check[c] != rec.check[0];
        }
        if (i % 1000 == 0)
            u->wrong += board_count(b) > 256;
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct user user[THREADS] = {{0, 0, 0}};
    pthread_t t[THREADS];

    UNUSED(state);
    for (unsigned i = 0; i < THREADS; i++) {
        user[i].seed = i + 1;
        assert_int_equal(pthread_create(&t[i], NULL, use_board, &user[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(user[i].wrong, 0);
        assert_true(user[i].found > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put_get_del, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replace, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kinds_are_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unkept_value_ends_the_old, setup, teardown),
        cmocka_unit_test_setup_teardown(test_smallest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nearest_end_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expired_go_first, setup, teardown),
        cmocka_unit_test(test_each_allocation_refused),
        cmocka_unit_test(test_absurd_sizes),
        cmocka_unit_test_setup_teardown(test_random_against_model, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
