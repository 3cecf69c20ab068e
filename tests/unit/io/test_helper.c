/* SPDX-License-Identifier: MIT */
#include "io/helper.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "support/memfail.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MANY = 5000 }; /* more than a loop's inbox holds */

static struct loop loop;
static _Atomic unsigned n_run, n_done, n_inside, most_inside;
static atomic_bool gate_open;
static pthread_t loop_thread;

struct job {
    struct helper_job job;
    bool was_run, was_done, waits, own_memory;
    bool signals_blocked;
};

static int setup(void **state)
{
    UNUSED(state);
    n_run = n_done = n_inside = most_inside = 0;
    gate_open = false;
    loop_thread = pthread_self();
    return loop_init(&loop, &world_linux);
}

static int teardown(void **state)
{
    UNUSED(state);
    loop_done(&loop);
    return 0;
}

static void run(struct helper_job *hj)
{
    struct job *j = CONTAINER_OF(hj, struct job, job);
    unsigned inside = atomic_fetch_add(&n_inside, 1) + 1, most = most_inside;
    sigset_t now;

    while (inside > most && !atomic_compare_exchange_weak(&most_inside, &most, inside))
        ;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    j->signals_blocked = sigismember(&now, SIGTERM) && sigismember(&now, SIGHUP);
    while (j->waits && !gate_open)
        usleep(200);
    j->was_run = !pthread_equal(pthread_self(), loop_thread);
    atomic_fetch_sub(&n_inside, 1);
    atomic_fetch_add(&n_run, 1);
}

static void done(struct helper_job *hj)
{
    struct job *j = CONTAINER_OF(hj, struct job, job);

    j->was_done = pthread_equal(pthread_self(), loop_thread);
    atomic_fetch_add(&n_done, 1);
    if (j->own_memory)
        free(j);
}

static void job_init(struct job *j)
{
    *j = (struct job){.job = {.run = run, .done = done}};
}

static void turn_until(unsigned want)
{
    for (int i = 0; i < 2000 && n_done < want; i++)
        loop_turn(&loop, 5);
    assert_int_equal(n_done, want);
}

static void test_one(void **state)
{
    struct helper_pool *p = helper_pool_new(1, 1);
    struct job j;

    UNUSED(state);
    job_init(&j);
    assert_non_null(p);
    assert_int_equal(helper_submit(p, &loop, &j.job), 0);
    turn_until(1);
    assert_true(j.was_run);
    assert_true(j.was_done);
    assert_true(j.signals_blocked);
    helper_pool_free(p);
}

static void test_unused(void **state)
{
    UNUSED(state);
    helper_pool_free(helper_pool_new(64, 1));
    helper_pool_free(NULL);
}

static void test_queue_full(void **state)
{
    struct helper_pool *p = helper_pool_new(1, 2);
    struct job j[4];

    UNUSED(state);
    for (int i = 0; i < 4; i++) {
        job_init(&j[i]);
        j[i].waits = true;
    }
    assert_int_equal(helper_submit(p, &loop, &j[0].job), 0);
    while (n_inside < 1)
        usleep(100);
    assert_int_equal(helper_submit(p, &loop, &j[1].job), 0);
    assert_int_equal(helper_submit(p, &loop, &j[2].job), 0);
    assert_int_equal(helper_submit(p, &loop, &j[3].job), ERR_LIMIT);
    gate_open = true;
    turn_until(3);
    assert_int_equal(most_inside, 1);
    assert_false(j[3].was_run);
    /* and then there is room again */
    assert_int_equal(helper_submit(p, &loop, &j[3].job), 0);
    turn_until(4);
    helper_pool_free(p);
}

static void test_threads_bounded(void **state)
{
    struct helper_pool *p = helper_pool_new(3, 16);
    struct job j[10];

    UNUSED(state);
    for (int i = 0; i < 10; i++) {
        job_init(&j[i]);
        j[i].waits = true;
        assert_int_equal(helper_submit(p, &loop, &j[i].job), 0);
    }
    for (int i = 0; i < 2000 && n_inside < 3; i++)
        usleep(500);
    usleep(5000);
    assert_int_equal(n_inside, 3);
    gate_open = true;
    turn_until(10);
    assert_int_equal(most_inside, 3);
    helper_pool_free(p);
}

static void *open_gate(void *arg)
{
    usleep(50000);
    gate_open = true;
    return arg;
}

/* What waits when the pool ends is answered without having run. */
static void test_free_answers(void **state)
{
    struct helper_pool *p = helper_pool_new(1, 8);
    struct job j[5];
    pthread_t opener;

    UNUSED(state);
    for (int i = 0; i < 5; i++) {
        job_init(&j[i]);
        j[i].waits = true;
    }
    assert_int_equal(helper_submit(p, &loop, &j[0].job), 0);
    while (n_inside < 1)
        usleep(100);
    for (int i = 1; i < 5; i++)
        assert_int_equal(helper_submit(p, &loop, &j[i].job), 0);
    /* The first job still runs when the pool is told to end: it alone opens the gate. */
    assert_int_equal(pthread_create(&opener, NULL, open_gate, NULL), 0);
    helper_pool_free(p);
    pthread_join(opener, NULL);
    turn_until(5);
    assert_true(j[0].was_run && j[0].was_done);
    for (int i = 1; i < 5; i++)
        assert_true(!j[i].was_run && j[i].was_done);
}

/* An inbox that is full loses nothing. */
static void test_inbox_full(void **state)
{
    struct helper_pool *p = helper_pool_new(2, MANY);

    UNUSED(state);
    for (unsigned i = 0; i < MANY; i++) {
        struct job *j = malloc(sizeof(*j));

        job_init(j);
        j->own_memory = true;
        assert_int_equal(helper_submit(p, &loop, &j->job), 0);
    }
    /* The loop does not turn until the helpers are stuck. */
    for (int i = 0; i < 2000 && n_run < 4096; i++)
        usleep(1000);
    usleep(5000);
    assert_true(n_run < MANY);
    turn_until(MANY);
    helper_pool_free(p);
}

struct other {
    struct loop loop;
    pthread_t thread;
    struct helper_pool *pool;
    unsigned n_done;
};

struct other_job {
    struct helper_job job;
    struct other *owner;
};

static void other_run(struct helper_job *hj)
{
    UNUSED(hj);
}

static void other_done(struct helper_job *hj)
{
    struct other_job *j = CONTAINER_OF(hj, struct other_job, job);

    CHECK(pthread_equal(pthread_self(), j->owner->thread));
    j->owner->n_done++;
    free(j);
}

static void *other_thread(void *arg)
{
    struct other *o = arg;

    o->thread = pthread_self();
    for (unsigned i = 0; i < 500; i++) {
        struct other_job *j = malloc(sizeof(*j));

        *j = (struct other_job){.job = {.run = other_run, .done = other_done}, .owner = o};
        while (helper_submit(o->pool, &o->loop, &j->job) == ERR_LIMIT)
            loop_turn(&o->loop, 1);
    }
    while (o->n_done < 500)
        loop_turn(&o->loop, 5);
    return NULL;
}

/* Several workers share the pool; each gets its own answers back. */
static void test_several_loops(void **state)
{
    struct helper_pool *p = helper_pool_new(4, 16);
    static struct other o[3];
    pthread_t threads[3];

    UNUSED(state);
    for (int i = 0; i < 3; i++) {
        o[i].pool = p;
        o[i].n_done = 0;
        assert_int_equal(loop_init(&o[i].loop, &world_linux), 0);
        assert_int_equal(pthread_create(&threads[i], NULL, other_thread, &o[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    helper_pool_free(p);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(o[i].n_done, 500);
        loop_done(&o[i].loop);
    }
}

static void test_memory(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct helper_pool *p = helper_pool_new(2, 2);

        assert_true(memfail_hit() == (p == NULL));
        helper_pool_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_free_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inbox_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_several_loops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
