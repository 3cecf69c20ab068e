/* SPDX-License-Identifier: MIT */
#include "base/wheel.h"

#include <stdbool.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define DAY      ((uint64_t)86400 * 1000)
#define FARTHEST ((uint64_t)255 << 18) /* the last level's reach */

static struct wheel w;

static void start(uint64_t now)
{
    wheel_init(&w, now);
}

/* The latest moment for a deadline `d` ahead, by the header's promise. */
static uint64_t latest(uint64_t d)
{
    if (d > FARTHEST)
        d = FARTHEST;
    if (d < 256)
        return d;
    return d < 16000 ? d + 63 : d + (d - 1) / 31;
}

/* Sets one node d ahead of now, asks for the next wake-up, checks it and that nothing comes before
 * it. */
static void assert_one(uint64_t now, uint64_t d)
{
    struct wheel_node n;
    uint64_t next;

    start(now);
    wheel_node_init(&n);
    wheel_set(&w, &n, now + d);
    next = wheel_next(&w);
    assert_true(next >= now + (d < FARTHEST ? d : FARTHEST));
    assert_true(next <= now + latest(d));
    assert_null(wheel_pop(&w, next - 1));
    assert_true(wheel_next(&w) == next);
    assert_ptr_equal(wheel_pop(&w, next), &n);
    assert_false(wheel_armed(&n));
    assert_null(wheel_pop(&w, next));
    assert_true(wheel_next(&w) == UINT64_MAX);
    assert_int_equal(w.n, 0);
}

static void test_empty(void **state)
{
    UNUSED(state);
    start(5);
    assert_true(wheel_next(&w) == UINT64_MAX);
    assert_null(wheel_pop(&w, 5));
    assert_null(wheel_pop(&w, 1000 * DAY));
    assert_true(w.now == 1000 * DAY);
}

static void test_one(void **state)
{
    UNUSED(state);
    assert_one(0, 1);
    assert_one(0, 255);
    assert_one(1000, 20);
    assert_one(123456789, 30000);
}

static void test_past_is_due_at_once(void **state)
{
    struct wheel_node a, b;

    UNUSED(state);
    start(1000);
    wheel_node_init(&a);
    wheel_node_init(&b);
    wheel_set(&w, &a, 1000);
    wheel_set(&w, &b, 3);
    assert_true(wheel_next(&w) == 1000);
    assert_ptr_equal(wheel_pop(&w, 1000), &a);
    assert_ptr_equal(wheel_pop(&w, 1000), &b);
    assert_null(wheel_pop(&w, 1000));
}

static void test_del(void **state)
{
    struct wheel_node a, b;

    UNUSED(state);
    start(0);
    wheel_node_init(&a);
    wheel_node_init(&b);
    wheel_del(&w, &a);
    wheel_set(&w, &a, 100);
    wheel_set(&w, &b, 100);
    assert_int_equal(w.n, 2);
    wheel_del(&w, &a);
    wheel_del(&w, &a);
    assert_false(wheel_armed(&a));
    assert_true(wheel_next(&w) == 100);
    wheel_del(&w, &b);
    assert_true(wheel_next(&w) == UINT64_MAX);
    assert_null(wheel_pop(&w, 1000));
    assert_int_equal(w.n, 0);
}

static void test_rearm(void **state)
{
    struct wheel_node a;

    UNUSED(state);
    start(0);
    wheel_node_init(&a);
    wheel_set(&w, &a, 100);
    wheel_set(&w, &a, 50);
    assert_true(wheel_next(&w) == 50);
    wheel_set(&w, &a, 200);
    assert_true(wheel_next(&w) == 200);
    assert_true(a.due == 200);
    assert_int_equal(w.n, 1);
    assert_null(wheel_pop(&w, 199));
    assert_ptr_equal(wheel_pop(&w, 200), &a);
}

/* A node on the due list keeps the slot it came from; taking it out must not forget who sits there
 * now. */
static void test_del_of_expired(void **state)
{
    struct wheel_node a, b, c;

    UNUSED(state);
    start(0);
    wheel_node_init(&a);
    wheel_node_init(&b);
    wheel_node_init(&c);
    wheel_set(&w, &a, 10);
    wheel_set(&w, &b, 10);
    assert_ptr_equal(wheel_pop(&w, 10), &a);
    wheel_set(&w, &c, 10 + 256); /* the same slot, one round later */
    wheel_del(&w, &b);
    assert_null(wheel_pop(&w, 10));
    assert_true(wheel_next(&w) == 266);
    assert_ptr_equal(wheel_pop(&w, 266), &c);
}

static void test_rearm_of_expired(void **state)
{
    struct wheel_node a, b;

    UNUSED(state);
    start(0);
    wheel_node_init(&a);
    wheel_node_init(&b);
    wheel_set(&w, &a, 10);
    wheel_set(&w, &b, 10);
    assert_ptr_equal(wheel_pop(&w, 20), &a);
    wheel_set(&w, &a, 15);
    wheel_set(&w, &b, 30);
    assert_ptr_equal(wheel_pop(&w, 20), &a);
    assert_null(wheel_pop(&w, 20));
    assert_ptr_equal(wheel_pop(&w, 30), &b);
}

/* Every distance near a level's edge, from every place of now within that level's slots. */
static void test_level_edges(void **state)
{
    static const int off[] = {-300, -65, -64, -9, -8, -2, -1, 0, 1, 2, 7, 8, 9, 63, 64, 65};

    UNUSED(state);
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        uint64_t g = (uint64_t)1 << 3 * level;

        for (size_t i = 0; i < ARRAY_LEN(off); i++)
            for (uint64_t slots = 255; slots <= 257; slots++)
                for (uint64_t k = 0; k < 16; k++) {
                    int64_t d = (int64_t)(slots * g) + off[i];

                    assert_one(7000 * DAY + k * g / 8 + k % 2, d > 0 ? (uint64_t)d : 1);
                    assert_one(7000 * DAY - k, d > 0 ? (uint64_t)d : 1);
                }
    }
}

static void test_every_distance(void **state)
{
    UNUSED(state);
    for (uint64_t d = 1; d < 20000; d++)
        assert_one(99999 + d % 257, d);
}

static void test_beyond_the_last_level(void **state)
{
    UNUSED(state);
    assert_one(0, FARTHEST);
    assert_one(12345, FARTHEST + 1);
    assert_one(12345, 100 * DAY);
    assert_one(12345, UINT64_MAX - 12345);
}

static void test_jump_of_days(void **state)
{
    static struct wheel_node v[100];
    bool seen[ARRAY_LEN(v)] = {false};
    struct wheel_node *n;

    UNUSED(state);
    start(77);
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        wheel_node_init(&v[i]);
        wheel_set(&w, &v[i], 77 + i * i * i * 60);
    }
    for (size_t left = ARRAY_LEN(v); left > 0; left--) {
        n = wheel_pop(&w, 300 * DAY);
        assert_non_null(n);
        assert_false(seen[n - v]);
        seen[n - v] = true;
    }
    assert_null(wheel_pop(&w, 300 * DAY));
}

static void test_clock_running_backwards_is_ignored(void **state)
{
    struct wheel_node a;

    UNUSED(state);
    start(1000);
    wheel_node_init(&a);
    wheel_set(&w, &a, 1010);
    assert_null(wheel_pop(&w, 500));
    assert_true(w.now == 1000);
    assert_ptr_equal(wheel_pop(&w, 1010), &a);
}

/* ---- against a model that knows only the promise ---- */

enum { NODES = 150 };

static struct {
    struct wheel_node node;
    uint64_t set_at;
} model[NODES];

static uint64_t random_distance(void)
{
    unsigned bits = (unsigned)rand() % 31;

    return (((uint64_t)rand() << 16) ^ (uint64_t)rand()) & (((uint64_t)1 << bits) - 1);
}

static uint64_t asked_distance(int i)
{
    return model[i].node.due > model[i].set_at ? model[i].node.due - model[i].set_at : 0;
}

static void model_set(int i, uint64_t now)
{
    uint64_t d = random_distance();

    model[i].set_at = now;
    wheel_set(&w, &model[i].node, rand() % 16 ? now + d : now - (d < now ? d : now));
}

static size_t model_armed(void)
{
    size_t n = 0;

    for (int i = 0; i < NODES; i++)
        n += wheel_armed(&model[i].node);
    return n;
}

static void model_drain(uint64_t now)
{
    struct wheel_node *n;

    while ((n = wheel_pop(&w, now))) {
        int i = (int)(CONTAINER_OF(n, __typeof__(model[0]), node) - model);
        uint64_t d = asked_distance(i);

        assert_false(wheel_armed(n));
        assert_true(now >= model[i].set_at + (d < FARTHEST ? d : FARTHEST)); /* never early */
    }
    assert_int_equal(w.n, model_armed());
    for (int i = 0; i < NODES; i++)
        if (wheel_armed(&model[i].node))
            assert_true(now < model[i].set_at +
                                  latest(asked_distance(i))); /* never later than promised */
}

/* Nothing comes before wheel_next, something comes then. */
static uint64_t model_next(uint64_t now)
{
    uint64_t next = wheel_next(&w);
    size_t n = w.n;

    assert_true((next == UINT64_MAX) == (n == 0));
    if (next == UINT64_MAX || next <= now)
        return now;
    assert_null(wheel_pop(&w, next - 1));
    assert_true(wheel_next(&w) == next);
    model_drain(next);
    assert_true(w.n < n);
    return next;
}

static uint64_t model_step(uint64_t now)
{
    int i = rand() % NODES;

    switch (rand() % 8) {
    case 0:
        wheel_del(&w, &model[i].node);
        return now;
    case 1:
        return model_next(now);
    case 2:
        now += random_distance();
        model_drain(now);
        return now;
    case 3:
        now += (uint64_t)rand() % 20;
        model_drain(now);
        return now;
    case 4: { /* one only: the rest stays on the due list */
        struct wheel_node *n = wheel_pop(&w, now + (uint64_t)rand() % 300);

        if (n)
            model_set((int)(CONTAINER_OF(n, __typeof__(model[0]), node) - model), w.now);
        return w.now;
    }
    default:
        model_set(i, now);
        return now;
    }
}

static void test_random_against_model(void **state)
{
    UNUSED(state);
    for (unsigned seed = 1; seed <= 20; seed++) {
        uint64_t now = seed * 1234567;

        srand(seed);
        start(now);
        for (int i = 0; i < NODES; i++)
            wheel_node_init(&model[i].node);
        for (int step = 0; step < 10000; step++)
            now = model_step(now);
        model_drain(now + 2 * FARTHEST);
        assert_int_equal(w.n, 0);
    }
}

/* A quiet wheel: as many wake-ups as deadlines, none in between. */
static void test_no_idle_wake_ups(void **state)
{
    static struct wheel_node v[50];
    unsigned wakes = 0, popped = 0;

    UNUSED(state);
    start(5);
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        wheel_node_init(&v[i]);
        wheel_set(&w, &v[i], 5 + 1000 * (i + 1) * (i + 1));
    }
    for (uint64_t next; (next = wheel_next(&w)) != UINT64_MAX; wakes++)
        while (wheel_pop(&w, next))
            popped++;
    assert_int_equal(popped, ARRAY_LEN(v));
    assert_true(wakes <= ARRAY_LEN(v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_one),
        cmocka_unit_test(test_past_is_due_at_once),
        cmocka_unit_test(test_del),
        cmocka_unit_test(test_rearm),
        cmocka_unit_test(test_del_of_expired),
        cmocka_unit_test(test_rearm_of_expired),
        cmocka_unit_test(test_level_edges),
        cmocka_unit_test(test_every_distance),
        cmocka_unit_test(test_beyond_the_last_level),
        cmocka_unit_test(test_jump_of_days),
        cmocka_unit_test(test_clock_running_backwards_is_ignored),
        cmocka_unit_test(test_no_idle_wake_ups),
        cmocka_unit_test(test_random_against_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
