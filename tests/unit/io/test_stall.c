/* SPDX-License-Identifier: MIT */
/* The watcher of loops that do not turn: one report a stall, with task, step and stack; nothing while the loop turns or waits; and an answer to whoever
 * asks. The clock is that of the thread's own processor time: a busy machine changes nothing. */
#include "io/stall.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { EVERY_MS = 60, LONG_MS = 4 * EVERY_MS, PATIENCE_MS = 20000 };

static struct loop loop;
static struct stall stall;
static pthread_t thread;
static _Atomic uint64_t stalls;
static int out[2]; /* where reports go */
static struct msg stop_msg, spin_msg;
static struct task spinner;
static _Atomic unsigned spun;   /* how often it has */
static _Atomic uint64_t spin_ms; /* of processor time */
static _Atomic bool hold;       /* the task spins until it is false */

static uint64_t cpu_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void spin(struct task *t, unsigned bits)
{
    uint64_t until = cpu_us() + atomic_load(&spin_ms) * 1000;

    UNUSED(t);
    UNUSED(bits);
    errno = EXDEV;
    while (cpu_us() < until || atomic_load(&hold))
        ;
    /* Whatever interrupted it has left it as it was. */
    CHECK(errno == EXDEV);
    atomic_fetch_add(&spun, 1);
}

static void spin_run(struct msg *m, struct loop *l)
{
    UNUSED(m);
    UNUSED(l);
    task_wake(&spinner, TASK_RX);
}

static void stop_run(struct msg *m, struct loop *l)
{
    UNUSED(m);
    l->stop = true;
}

static void describe(const struct task *t, struct stall_seen *seen)
{
    if (t == &spinner) {
        seen->step = "dance";
        seen->id = 42;
    }
}

static _Atomic int started;

static void *run(void *arg)
{
    struct stall_opts o = {.id = 7, .every_ms = *(unsigned *)arg, .fd = out[1], .describe = describe, .count = &stalls};

    atomic_store(&started, stall_start(&stall, &loop, &o) == 0 ? 1 : -1);
    loop_run(&loop);
    stall_stop(&stall);
    return NULL;
}

static int begin(unsigned every_ms)
{
    static unsigned every;

    every = every_ms;
    memset(&stall, 0, sizeof(stall));
    atomic_store(&stalls, 0);
    atomic_store(&spun, 0);
    atomic_store(&hold, false);
    atomic_store(&started, 0);
    assert_int_equal(pipe2(out, O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(loop_init(&loop, &world_linux), 0);
    task_init(&spinner, &loop, "spinner", spin);
    stop_msg.run = stop_run;
    spin_msg.run = spin_run;
    assert_int_equal(pthread_create(&thread, NULL, run, &every), 0);
    while (!atomic_load(&started))
        usleep(1000);
    assert_int_equal(atomic_load(&started), 1);
    return 0;
}

static int setup(void **state)
{
    UNUSED(state);
    return begin(EVERY_MS);
}

static int teardown(void **state)
{
    UNUSED(state);
    atomic_store(&hold, false);
    assert_true(loop_post(&loop, &stop_msg));
    pthread_join(thread, NULL);
    loop_done(&loop);
    close(out[0]);
    close(out[1]);
    return 0;
}

static void spin_for(uint64_t ms)
{
    unsigned before = atomic_load(&spun);

    atomic_store(&spin_ms, ms);
    assert_true(loop_post(&loop, &spin_msg));
    for (int i = 0; atomic_load(&spun) == before; i++) {
        assert_true(i < PATIENCE_MS);
        usleep(1000);
    }
}

/* Everything that was reported until now. */
static const char *reported(void)
{
    static char text[8192];
    ssize_t n = read(out[0], text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void expect_one(const char *text)
{
    const char *end = strchr(text, '\n');

    if (!end || end[1] || !strstr(text, "ginnel: error: worker 7 does not turn: task spinner, step dance, exchange 42, for ") || !strstr(text, " s; stack: "))
        fail_msg("not one report: %s", text);
    /* The program's own code, as an offset in it. */
    if (!strstr(text, "test_io_stall+0x"))
        fail_msg("no address of ours: %s", text);
}

static void test_quiet(void **state)
{
    UNUSED(state);
    usleep(3 * EVERY_MS * 1000);
    assert_string_equal(reported(), "");
    assert_int_equal(atomic_load(&stalls), 0);
}

/* Turns that are many, and use the processor up, are no stall. */
static void test_busy(void **state)
{
    UNUSED(state);
    for (int i = 0; i < LONG_MS; i++)
        spin_for(1);
    assert_string_equal(reported(), "");
    assert_int_equal(atomic_load(&stalls), 0);
}

/* Exactly one report a stall; then silence; a second stall is a second report. */
static void test_one_report(void **state)
{
    UNUSED(state);
    spin_for(LONG_MS);
    expect_one(reported());
    assert_int_equal(atomic_load(&stalls), 1);
    for (int i = 0; i < 2 * EVERY_MS; i++)
        spin_for(1);
    assert_string_equal(reported(), "");
    spin_for(LONG_MS);
    expect_one(reported());
    assert_int_equal(atomic_load(&stalls), 2);
}

/* Time that is not spent on a processor is no stall of this kind. */
static void test_blocked(void **state)
{
    struct stall_seen seen;

    UNUSED(state);
    assert_true(stall_ask(&stall, false, PATIENCE_MS, &seen));
    assert_null(seen.task);
    assert_null(seen.step);
    assert_string_equal(reported(), "");
}

static void test_asked(void **state)
{
    struct stall_seen seen;

    UNUSED(state);
    atomic_store(&hold, true);
    atomic_store(&spin_ms, 1);
    assert_true(loop_post(&loop, &spin_msg));
    do
        assert_true(stall_ask(&stall, false, PATIENCE_MS, &seen));
    while (!seen.task);
    assert_string_equal(seen.task, "spinner");
    assert_string_equal(seen.step, "dance");
    assert_int_equal(seen.id, 42);
    reported();
    assert_true(stall_ask(&stall, true, PATIENCE_MS, &seen));
    assert_non_null(strstr(reported(), "worker 7 does not turn: task spinner"));
}

/* A full pipe must not make a slow turn an endless one. */
static void test_nobody_reads(void **state)
{
    static char junk[4096];

    UNUSED(state);
    assert_int_equal(fcntl(out[1], F_SETFL, 0), 0);
    for (struct pollfd p = {.fd = out[1], .events = POLLOUT}; poll(&p, 1, 0) == 1;)
        assert_int_equal(write(out[1], junk, sizeof(junk)), sizeof(junk));
    spin_for(LONG_MS);
    assert_int_equal(atomic_load(&stalls), 1);
}

/* The signal of somebody else is nothing, on any thread. */
static void test_foreign_signal(void **state)
{
    sigset_t set;

    UNUSED(state);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    /* This thread has it blocked since stall_setup: the loop's takes it. */
    assert_int_equal(kill(getpid(), SIGRTMIN), 0);
    spin_for(1);
    assert_string_equal(reported(), "");
    /* One for this thread alone stays there. */
    assert_int_equal(pthread_kill(pthread_self(), SIGRTMIN), 0);
    assert_int_equal(sigwaitinfo(&set, NULL), SIGRTMIN);
}

static void test_stopped(void **state)
{
    struct stall_seen seen;

    UNUSED(state);
    begin(0);
    teardown(NULL);
    assert_false(stall_ask(&stall, false, 1, &seen));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_quiet, setup, teardown),
        cmocka_unit_test_setup_teardown(test_busy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_report, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blocked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foreign_signal, setup, teardown),
        cmocka_unit_test(test_stopped),
    };

    stall_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
