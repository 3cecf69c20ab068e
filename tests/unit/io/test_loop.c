/* SPDX-License-Identifier: MIT */
/* The turn: its order, its bounds, its wake-ups. Times are measured on the real clock only where
 * waiting is what is tested.
 */
#include "io/loop.h"

#include "base/check.h"
#include "base/err.h"
#include "support/memfail.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/net.h"

/* A task that writes its letter down, and may wake another when it runs. */
struct probe {
    struct task task;
    char letter;
    unsigned runs, bits;
    struct task *wakes;
    struct task *cancels;
};

static char said[256];
static size_t n_said;
static struct probe a, b, c;

static void say(char letter)
{
    if (n_said < sizeof(said) - 1) {
        said[n_said++] = letter;
        said[n_said] = '\0';
    }
}

static void assert_said(const char *text)
{
    assert_string_equal(said, text);
    n_said = 0;
    said[0] = '\0';
}

static void probe_run(struct task *t, unsigned bits)
{
    struct probe *p = CONTAINER_OF(t, struct probe, task);

    p->runs++;
    p->bits = bits;
    say(p->letter);
    if (p->wakes)
        task_wake(p->wakes, TASK_GONE);
    if (p->cancels)
        task_cancel(p->cancels);
}

static void probe_init(struct probe *p, char letter)
{
    *p = (struct probe){.letter = letter};
    task_init(&p->task, &net_loop, "probe", probe_run);
}

static int setup(void **state)
{
    UNUSED(state);
    net_begin();
    n_said = 0;
    said[0] = '\0';
    probe_init(&a, 'a');
    probe_init(&b, 'b');
    probe_init(&c, 'c');
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    net_end();
    return 0;
}

/* ---- life ---- */

static void test_every_allocation_fails(void **state)
{
    int fds = net_fds();
    struct loop loop;

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        int r = loop_init(&loop, &world_linux);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        if (r == 0)
            loop_done(&loop);
        assert_int_equal(net_fds(), fds);
    }
}

/* ---- tasks ---- */

static void test_order_of_waking(void **state)
{
    UNUSED(state);
    task_wake(&b.task, TASK_RX);
    task_wake(&a.task, TASK_RX);
    task_wake(&c.task, TASK_RX);
    task_wake(NULL, TASK_RX);
    assert_said("");
    loop_turn(&net_loop, -1);
    assert_said("bac");
    net_turns(3);
    assert_said("");
}

static void test_bits_add_up(void **state)
{
    UNUSED(state);
    task_wake(&a.task, TASK_RX);
    task_wake(&b.task, TASK_TX);
    task_wake(&a.task, TASK_TIMER);
    loop_turn(&net_loop, -1);
    assert_said("ab");
    assert_int_equal(a.bits, TASK_RX | TASK_TIMER);
    assert_int_equal(b.bits, TASK_TX);
    task_wake(&a.task, TASK_HELPER);
    loop_turn(&net_loop, -1);
    assert_int_equal(a.bits, TASK_HELPER);
    assert_int_equal(net_loop.tasks_run, 3);
}

static void test_small_before_bulk(void **state)
{
    UNUSED(state);
    a.task.bulk = true;
    task_wake(&a.task, TASK_RX);
    task_wake(&b.task, TASK_RX);
    task_wake(&c.task, TASK_RX);
    loop_turn(&net_loop, -1);
    assert_said("bca");
}

/* Time as the loop sees it: each look at the clock is a step later. */
static uint64_t tick_us, tick_step;

static uint64_t ticking_now_us(struct loop *l)
{
    UNUSED(l);
    return tick_us += tick_step;
}

static void test_bulk_has_a_slice_of_the_turn(void **state)
{
    static struct probe many[9];
    struct world_ops world = *net_loop.world;
    unsigned runs = 0;

    UNUSED(state);
    tick_us = net_loop.now_us;
    tick_step = 20;
    world.now_us = ticking_now_us;
    net_loop.world = &world;
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        probe_init(&many[i], 'x');
        many[i].task.bulk = true;
        task_wake(&many[i].task, TASK_RX);
    }
    /* The slice of 50 us begins at one look, and the third one after is past it. */
    for (unsigned turn = 1; turn <= 3; turn++) {
        task_wake(&a.task, TASK_RX);
        loop_turn(&net_loop, -1);
        /* What is small does not wait for what is bulk. */
        assert_int_equal(a.runs, turn);
        assert_int_equal(net_loop.tasks_run, turn * (3 + 1));
    }
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        runs += many[i].runs == 1;
    assert_int_equal(runs, ARRAY_LEN(many));
    net_loop.world = &world_linux;
}

/* Where the slice is long over with the first one, each turn still runs one. */
static void test_bulk_is_never_starved(void **state)
{
    struct world_ops world = *net_loop.world;

    UNUSED(state);
    world.now_us = ticking_now_us;
    net_loop.world = &world;
    tick_us = net_loop.now_us;
    tick_step = 1000;
    b.task.bulk = c.task.bulk = true;
    task_wake(&b.task, TASK_RX);
    task_wake(&c.task, TASK_RX);
    a.wakes = &a.task;
    task_wake(&a.task, TASK_RX);
    for (unsigned turn = 1; turn <= 2; turn++) {
        loop_turn(&net_loop, -1);
        assert_int_equal(b.runs + c.runs, turn);
    }
    a.wakes = NULL;
    net_turns(2);
    net_loop.world = &world_linux;
}

/* Two tasks that wake each other for ever do not keep the loop from its timers. */
static void test_small_is_capped(void **state)
{
    struct timer timer;

    UNUSED(state);
    a.wakes = &b.task;
    b.wakes = &a.task;
    timer_init(&timer, &c.task);
    timer_set(&timer, 1);
    net_sleep_ms(2);
    task_wake(&a.task, TASK_RX);
    loop_turn(&net_loop, -1);
    assert_true(a.runs + b.runs <= LOOP_SMALL_CAP);
    assert_true(a.runs + b.runs >= LOOP_SMALL_CAP - 1);
    loop_turn(&net_loop, -1);
    assert_int_equal(c.runs, 1);
    task_cancel(&a.task);
    task_cancel(&b.task);
}

static void test_wake_while_running(void **state)
{
    UNUSED(state);
    a.wakes = &c.task;
    c.wakes = &b.task;
    task_wake(&a.task, TASK_RX);
    task_wake(&b.task, TASK_RX);
    loop_turn(&net_loop, -1);
    /* In the same turn, at the end, and again for a task that ran already. */
    assert_said("abcb");
    assert_int_equal(b.bits, TASK_GONE);
    b.wakes = &b.task;
    task_wake(&b.task, TASK_RX);
    loop_turn(&net_loop, -1);
    assert_true(b.runs > 3);
    b.wakes = NULL;
    net_turns(2);
}

static void test_cancel(void **state)
{
    UNUSED(state);
    task_wake(&a.task, TASK_RX);
    task_cancel(&a.task);
    net_turns(2);
    assert_said("");
    task_wake(&a.task, TASK_TX);
    loop_turn(&net_loop, -1);
    assert_int_equal(a.bits, TASK_TX);
    assert_said("a");
    /* From another task, in the same turn; and itself, which is nothing. */
    a.cancels = &b.task;
    c.cancels = &c.task;
    task_wake(&a.task, TASK_RX);
    task_wake(&b.task, TASK_RX);
    task_wake(&c.task, TASK_RX);
    net_turns(2);
    assert_said("ac");
}

/* ---- timers ---- */

struct alarm {
    struct task task;
    struct timer timer;
    uint64_t due;
    unsigned fired;
};

static void alarm_run(struct task *t, unsigned bits)
{
    struct alarm *al = CONTAINER_OF(t, struct alarm, task);

    assert_int_equal(bits, TASK_TIMER);
    assert_true(t->loop->now_ms >= al->due);
    assert_false(timer_armed(&al->timer));
    al->fired++;
}

static void test_timers_are_never_early(void **state)
{
    static struct alarm alarms[200];
    unsigned left = ARRAY_LEN(alarms);

    UNUSED(state);
    srand(1);
    loop_turn(&net_loop, 0);
    for (size_t i = 0; i < ARRAY_LEN(alarms); i++) {
        uint64_t delay = (uint64_t)rand() % 60;

        task_init(&alarms[i].task, &net_loop, "alarm", alarm_run);
        timer_init(&alarms[i].timer, &alarms[i].task);
        alarms[i].fired = 0;
        alarms[i].due = net_loop.now_ms + delay;
        timer_set(&alarms[i].timer, delay);
    }
    for (int turns = 0; left; turns++) {
        assert_true(turns < 1000);
        loop_turn(&net_loop, -1);
        left = 0;
        for (size_t i = 0; i < ARRAY_LEN(alarms); i++) {
            left += !alarms[i].fired;
            assert_true(alarms[i].fired <= 1);
            /* Exact to a millisecond at this distance: what is past has fired. */
            assert_true(alarms[i].fired || alarms[i].due + 2 > net_loop.now_ms);
        }
    }
}

static void test_timer_stop_and_reset(void **state)
{
    struct timer t;

    UNUSED(state);
    timer_init(&t, &a.task);
    assert_false(timer_armed(&t));
    timer_stop(&t);
    timer_set(&t, 10);
    assert_true(timer_armed(&t));
    timer_stop(&t);
    assert_false(timer_armed(&t));
    net_later_ms(50);
    assert_said("");
    timer_set(&t, 10);
    timer_set(&t, 100);
    net_later_ms(50);
    assert_said("");
    net_later_ms(60);
    assert_said("a");
    assert_int_equal(a.bits, TASK_TIMER);
    timer_set_at(&t, 1); /* long past */
    net_turns(1);
    assert_said("a");
    timer_set(&t, 12 * 3600 * 1000);
    net_later_ms(12 * 3600 * 1000 - 1000);
    assert_said("");
    net_later_ms(3600 * 1000);
    assert_said("a");
}

static void test_waiting_is_bounded(void **state)
{
    uint64_t t0;
    struct timer t;

    UNUSED(state);
    loop_turn(&net_loop, 0);
    t0 = net_loop.now_us;
    loop_turn(&net_loop, 20);
    assert_true(net_loop.now_us - t0 >= 19000);
    timer_init(&t, &a.task);
    timer_set(&t, 60000);
    t0 = net_loop.now_us;
    loop_turn(&net_loop, 20);
    assert_true(net_loop.now_us - t0 >= 19000 && net_loop.now_us - t0 < 10000000);
    assert_said("");
    timer_set(&t, 15);
    t0 = net_loop.now_us;
    while (!a.runs)
        loop_turn(&net_loop, -1);
    assert_true(net_loop.now_us - t0 >= 14000 && net_loop.now_us - t0 < 5000000);
    timer_stop(&t);
}

/* ---- the rest of the turn ---- */

struct end_of_turn {
    struct flush flush;
    struct grave grave;
    struct msg msg;
    char letter;
    struct end_of_turn *next; /* queued in turn */
};

static void flush_run(struct flush *f)
{
    struct end_of_turn *e = CONTAINER_OF(f, struct end_of_turn, flush);

    say(e->letter);
    if (e->next)
        loop_flush_later(&net_loop, &e->next->flush);
}

static void grave_run(struct grave *g)
{
    struct end_of_turn *e = CONTAINER_OF(g, struct end_of_turn, grave);

    say((char)(e->letter - 'a' + 'A'));
    if (e->next)
        loop_bury(&net_loop, &e->next->grave);
}

static void msg_run(struct msg *m, struct loop *loop)
{
    assert_ptr_equal(loop, &net_loop);
    say(CONTAINER_OF(m, struct end_of_turn, msg)->letter);
}

static struct end_of_turn end_of_turn(char letter)
{
    struct end_of_turn e = {.letter = letter};

    e.flush.run = flush_run;
    e.grave.free = grave_run;
    e.msg.run = msg_run;
    return e;
}

static void test_flush_once_a_turn(void **state)
{
    struct end_of_turn x = end_of_turn('x'), y = end_of_turn('y');

    UNUSED(state);
    list_init(&x.flush.link);
    list_init(&y.flush.link);
    x.next = &y;
    loop_flush_later(&net_loop, &x.flush);
    loop_flush_later(&net_loop, &x.flush);
    loop_turn(&net_loop, -1);
    assert_said("x");
    /* What is queued while flushing is the next turn's, which does not wait. */
    loop_turn(&net_loop, -1);
    assert_said("y");
    net_turns(2);
    assert_said("");
}

static void test_graveyard_to_the_end(void **state)
{
    struct end_of_turn x = end_of_turn('x'), y = end_of_turn('y'), z = end_of_turn('z');

    UNUSED(state);
    x.next = &z;
    loop_bury(&net_loop, &x.grave);
    loop_bury(&net_loop, &y.grave);
    assert_said("");
    loop_turn(&net_loop, -1);
    assert_said("XYZ");
}

struct eye {
    struct watch watch;
    unsigned seen;
};

static void eye_ready(struct watch *w, unsigned events)
{
    struct eye *e = CONTAINER_OF(w, struct eye, watch);

    e->seen = events;
    say('w');
}

static void test_order_of_the_turn(void **state)
{
    struct end_of_turn f = end_of_turn('f'), g = end_of_turn('g'), m = end_of_turn('m');
    struct eye eye = {.watch = {.fd = eventfd(1, EFD_CLOEXEC), .events = EPOLLIN,
                                .ready = eye_ready}};
    struct timer t;

    UNUSED(state);
    assert_int_equal(loop_watch(&net_loop, &eye.watch), 0);
    list_init(&f.flush.link);
    loop_bury(&net_loop, &g.grave);
    loop_flush_later(&net_loop, &f.flush);
    b.task.bulk = true;
    task_wake(&b.task, TASK_RX);
    timer_init(&t, &a.task);
    timer_set_at(&t, 0);
    assert_true(loop_post(&net_loop, &m.msg));
    loop_turn(&net_loop, -1);
    assert_said("wmabfG");
    loop_unwatch(&net_loop, &eye.watch);
    close(eye.watch.fd);
}

static void test_watch(void **state)
{
    struct eye eye = {.watch = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .events = EPOLLIN,
                                .ready = eye_ready}};
    uint64_t n = 1;

    UNUSED(state);
    assert_int_equal(loop_watch(&net_loop, &eye.watch), 0);
    assert_int_equal(loop_watch(&net_loop, &eye.watch), -EEXIST);
    net_turns(1);
    assert_said("");
    assert_int_equal(write(eye.watch.fd, &n, sizeof(n)), sizeof(n));
    net_turns(2); /* level-triggered */
    assert_said("ww");
    assert_int_equal(eye.seen, EPOLLIN);
    eye.watch.events = EPOLLOUT;
    assert_int_equal(loop_rewatch(&net_loop, &eye.watch), 0);
    net_turns(1);
    assert_said("w");
    assert_int_equal(eye.seen, EPOLLOUT);
    loop_unwatch(&net_loop, &eye.watch);
    net_turns(1);
    assert_said("");
    close(eye.watch.fd);
    assert_true(loop_watch(&net_loop, &eye.watch) < 0);
}

/* ---- other threads ---- */

static void *post_later(void *arg)
{
    net_sleep_ms(30);
    assert_true(loop_post(&net_loop, arg));
    return NULL;
}

static void test_a_message_wakes(void **state)
{
    struct end_of_turn m = end_of_turn('m');
    uint64_t t0 = net_real_ms();
    pthread_t thread;

    UNUSED(state);
    assert_int_equal(pthread_create(&thread, NULL, post_later, &m.msg), 0);
    while (!n_said)
        loop_turn(&net_loop, NET_PATIENCE_MS);
    assert_true(net_real_ms() - t0 < NET_PATIENCE_MS / 2);
    assert_said("m");
    pthread_join(thread, NULL);
}

static void test_full_inbox(void **state)
{
    static struct end_of_turn many[5000];
    size_t n = 0;

    UNUSED(state);
    for (; n < ARRAY_LEN(many); n++) {
        many[n] = end_of_turn('m');
        if (!loop_post(&net_loop, &many[n].msg))
            break;
    }
    assert_in_range(n, 1024, ARRAY_LEN(many) - 1);
    loop_turn(&net_loop, -1);
    assert_int_equal(n_said, sizeof(said) - 1);
    assert_true(loop_post(&net_loop, &many[n].msg));
    n_said = 0;
    loop_turn(&net_loop, -1);
    assert_said("m");
}

struct ball {
    struct msg msg;
    unsigned runs;
};

/* Posts itself again: the inbox is not empty when a turn's share of it has been read. */
static void ball_run(struct msg *m, struct loop *loop)
{
    struct ball *ball = CONTAINER_OF(m, struct ball, msg);

    if (++ball->runs < 20000)
        assert_true(loop_post(loop, m));
}

static void test_a_storm_in_the_inbox(void **state)
{
    struct ball balls[2] = {{.msg.run = ball_run}, {.msg.run = ball_run}};
    uint64_t t0 = net_real_ms();

    UNUSED(state);
    assert_true(loop_post(&net_loop, &balls[0].msg));
    assert_true(loop_post(&net_loop, &balls[1].msg));
    /* Nothing that is in the inbox waits for somebody else to wake the loop. */
    for (int i = 0; i < 100 && balls[1].runs < 20000; i++)
        loop_turn(&net_loop, 500);
    assert_int_equal(balls[0].runs, 20000);
    assert_int_equal(balls[1].runs, 20000);
    assert_true(net_real_ms() - t0 < 450);
}

static void stop_run(struct msg *m, struct loop *loop)
{
    UNUSED(m);
    loop->stop = true;
}

static void *run_loop(void *arg)
{
    UNUSED(arg);
    loop_run(&net_loop);
    return NULL;
}

static void test_a_quiet_loop_does_not_turn(void **state)
{
    struct msg stop = {.run = stop_run};
    pthread_t thread;
    struct timer t;
    struct conn *conn;
    uint64_t before;
    int peer;

    UNUSED(state);
    conn = net_conn(&peer, false);
    conn->task = &a.task;
    timer_init(&t, &a.task);
    timer_set(&t, 3600 * 1000);
    assert_int_equal(pthread_create(&thread, NULL, run_loop, NULL), 0);
    net_sleep_ms(50);
    before = atomic_load(&net_loop.heartbeat);
    net_sleep_ms(300);
    assert_int_equal(atomic_load(&net_loop.heartbeat), before);
    assert_true(loop_post(&net_loop, &stop));
    pthread_join(thread, NULL);
    assert_int_equal(net_loop.turns, before + 1);
    assert_int_equal(a.runs, 0);
    timer_stop(&t);
    conn_close(&conn);
    close(peer);
    net_loop.stop = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test_setup_teardown(test_order_of_waking, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bits_add_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wake_while_running, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_before_bulk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bulk_has_a_slice_of_the_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bulk_is_never_starved, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_is_capped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_stop_and_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timers_are_never_early, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waiting_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flush_once_a_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_graveyard_to_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_of_the_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_message_wakes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_inbox, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_storm_in_the_inbox, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_quiet_loop_does_not_turn, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
