/* SPDX-License-Identifier: MIT */
/* All workers are asked at once, on real loops in threads of their own; one that is stuck costs the time allowed, once, and its late answer nothing. */
#include "app/report_all.h"

#include "base/check.h"
#include "base/err.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"
#include "support/memfail.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { WORKERS = 3, STUCK = 1, PATIENCE_MS = 20000, SHORT_MS = 60 };

static const struct proxy_conf conf = {.sizes = {.line = 8192, .head = 65536, .fields = 100}, .name = "report"};
static const struct policy policy;
static const struct resolve_conf resolve;
static struct snapshot snap;
static struct worker workers[WORKERS], *all[WORKERS];
static pthread_t threads[WORKERS];
static struct session session;
static struct xchg xchg;
static struct access_record record;

static struct blocker {
    struct msg msg;
    sem_t begun, go;
} blocker;

static struct msg stop_msg[WORKERS];

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void wait_for(sem_t *s)
{
    int r;

    do
        r = sem_wait(s);
    while (r < 0 && errno == EINTR);
    CHECK(r == 0);
}

static void *run(void *arg)
{
    struct worker *w = arg;

    loop_run(&w->loop);
    return NULL;
}

static void stop_run(struct msg *m, struct loop *loop)
{
    UNUSED(m);
    loop->stop = true;
}

static void block_run(struct msg *m, struct loop *loop)
{
    struct blocker *b = CONTAINER_OF(m, struct blocker, msg);

    UNUSED(loop);
    sem_post(&b->begun);
    wait_for(&b->go);
}

/* One worker stands still until unblock(). */
static void block(void)
{
    blocker.msg.run = block_run;
    assert_true(loop_post(&workers[STUCK].loop, &blocker.msg));
    wait_for(&blocker.begun);
}

static void unblock(void)
{
    sem_post(&blocker.go);
}

static int setup(void **state)
{
    UNUSED(state);
    snap = (struct snapshot){.generation = 4, .conf = &conf, .policy = &policy, .resolve = &resolve};
    sem_init(&blocker.begun, 0, 0);
    sem_init(&blocker.go, 0, 0);
    memset(&session, 0, sizeof(session));
    memset(&xchg, 0, sizeof(xchg));
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker_opts o = {.id = i, .world = &world_linux, .snap = &snap};

        assert_int_equal(worker_init(&workers[i], &o), 0);
        all[i] = &workers[i];
    }
    /* The first worker has an exchange. */
    list_init(&session.xchgs);
    list_push(&session.xchgs, &xchg.link);
    session.n_xchgs = 1;
    record = (struct access_record){.id = 77, .host = SLICE("example.com"), .end = END_NONE};
    xchg.rec = &record;
    list_push(&workers[0].sessions, &session.link);
    atomic_store(&workers[0].load, 1);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, &workers[i]), 0);
    return 0;
}

/* The loops' end runs what was posted to them and not run: nothing leaks (the sanitizer looks). */
static int teardown(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < WORKERS; i++) {
        stop_msg[i].run = stop_run;
        assert_true(loop_post(&workers[i].loop, &stop_msg[i]));
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    list_init(&workers[0].sessions);
    for (unsigned i = 0; i < WORKERS; i++)
        worker_done(&workers[i]);
    sem_destroy(&blocker.begun);
    sem_destroy(&blocker.go);
    return 0;
}

static void test_all_answer(void **state)
{
    struct report_all *a;

    UNUSED(state);
    assert_int_equal(report_all(all, WORKERS, &(struct report_ask){.n_xchgs = 10, .wait_ms = PATIENCE_MS}, &a), 0);
    assert_int_equal(a->n, WORKERS);
    assert_int_equal(a->n_came, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_true(a->v[i].came);
        assert_int_equal(a->v[i].r.id, i);
        assert_int_equal(a->v[i].r.generation, 4);
    }
    assert_int_equal(a->v[0].r.exchanges, 1);
    assert_int_equal(a->v[0].r.n, 1);
    assert_int_equal(a->v[0].r.v[0].id, 77);
    assert_string_equal(a->v[0].r.v[0].host, "example.com");
    assert_int_equal(a->v[2].r.n, 0);
    report_all_free(a);
    report_all_free(NULL);
}

static void test_numbers_only(void **state)
{
    struct report_all *a;

    UNUSED(state);
    assert_int_equal(report_all(all, WORKERS, &(struct report_ask){.n_xchgs = 0, .wait_ms = PATIENCE_MS}, &a), 0);
    assert_int_equal(a->v[0].r.exchanges, 1);
    assert_int_equal(a->v[0].r.n, 0);
    report_all_free(a);
}

static void test_nobody(void **state)
{
    struct report_all *a;

    UNUSED(state);
    assert_int_equal(report_all(all, 0, &(struct report_ask){.n_xchgs = 10, .wait_ms = PATIENCE_MS}, &a), 0);
    assert_int_equal(a->n, 0);
    report_all_free(a);
}

/* The others' answers come; the wait is what was allowed, not more. */
static void test_one_is_stuck(void **state)
{
    struct report_all *a;
    uint64_t begun = now_ms(), took;

    UNUSED(state);
    block();
    begun = now_ms();
    assert_int_equal(report_all(all, WORKERS, &(struct report_ask){.n_xchgs = 10, .wait_ms = SHORT_MS}, &a), 0);
    took = now_ms() - begun;
    assert_true(took >= SHORT_MS && took < PATIENCE_MS / 2);
    assert_int_equal(a->n_came, WORKERS - 1);
    assert_false(a->v[STUCK].came);
    assert_int_equal(a->v[STUCK].r.id, STUCK);
    assert_int_equal(a->v[0].r.v[0].id, 77);
    report_all_free(a);
    unblock();
    /* It answers again, after what it had missed. */
    assert_int_equal(report_all(all, WORKERS, &(struct report_ask){.n_xchgs = 10, .wait_ms = PATIENCE_MS}, &a), 0);
    assert_int_equal(a->n_came, WORKERS);
    report_all_free(a);
}

/* Asked again and again, a stuck worker collects questions; all of them end with it. */
static void test_stuck_for_long(void **state)
{
    struct report_all *a;

    UNUSED(state);
    block();
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(report_all(all, WORKERS, &(struct report_ask){.n_xchgs = 10, .wait_ms = 1}, &a), 0);
        assert_false(a->v[STUCK].came);
        report_all_free(a);
    }
    unblock();
}

/* Its inbox is full: then it does not answer either, and the message is not lost. */
static void test_inbox_full(void **state)
{
    static struct msg many[1 << 16];
    struct report_all *a;
    unsigned n = 0;

    UNUSED(state);
    block();
    for (; n < ARRAY_LEN(many); n++) {
        many[n].run = stop_run;
        if (!loop_post(&workers[STUCK].loop, &many[n]))
            break;
    }
    assert_true(n < ARRAY_LEN(many));
    assert_int_equal(report_all(all, WORKERS, &(struct report_ask){.n_xchgs = 10, .wait_ms = PATIENCE_MS}, &a), 0);
    assert_int_equal(a->n_came, WORKERS - 1);
    assert_false(a->v[STUCK].came);
    report_all_free(a);
    unblock();
    /* Those messages have stopped its loop; the end's own must find room. */
    pthread_join(threads[STUCK], NULL);
    while (workers[STUCK].loop.inbox_more)
        loop_turn(&workers[STUCK].loop, 0);
    loop_turn(&workers[STUCK].loop, 0);
    workers[STUCK].loop.stop = false;
    assert_int_equal(pthread_create(&threads[STUCK], NULL, run, &workers[STUCK]), 0);
}

static void test_memory(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct report_all *a = NULL;
        int r = report_all(all, WORKERS, &(struct report_ask){.n_xchgs = 10, .wait_ms = PATIENCE_MS}, &a);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        report_all_free(a);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_all_answer),     TEST(test_numbers_only), TEST(test_nobody), TEST(test_one_is_stuck),
        TEST(test_stuck_for_long), TEST(test_inbox_full),   TEST(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
