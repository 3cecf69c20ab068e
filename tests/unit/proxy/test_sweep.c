/* SPDX-License-Identifier: MIT */
/* The sweep over real sockets, where the kernel's word counts and not ours: an edge that never came is found, an event on its way is not, and flags that are
 * set for nothing are nothing. */
#include "proxy/sweep.h"

#include "base/check.h"
#include "base/log.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct proxy_conf conf = {
    .sizes = {.line = 8192, .head = 65536, .fields = 100}, .timeouts = {.head = 60000, .idle = 60000, .keepalive = 60000}, .name = "sweep"};
static const struct policy policy;
static const struct resolve_conf resolve;
static struct snapshot snap;
static struct worker worker;
static struct session *session;
static struct conn *conn;
static int far; /* the client's end */
static struct task writer;
static char said[LOG_LINE_MAX];

static void keep_log(enum log_level level, const char *line, size_t n)
{
    UNUSED(level);
    n = min_size(n, sizeof(said) - 1);
    memcpy(said, line, n);
    said[n] = '\0';
}

static void write_run(struct task *t, unsigned bits)
{
    UNUSED(t);
    UNUSED(bits);
    assert_int_equal(write(far, "GET ", 4), 4);
}

/* A turn without waiting, and no sweep at its end, or one. */
static void turn(bool swept)
{
    worker.loop.sweep_at_ms = swept ? 0 : UINT64_MAX;
    loop_turn(&worker.loop, 0);
}

static int setup(void **state)
{
    struct worker_opts o = {.id = 3, .world = &world_linux, .snap = &snap};
    struct addr a;
    int fds[2];

    UNUSED(state);
    said[0] = '\0';
    log_set_sink(keep_log);
    snap = (struct snapshot){.generation = 9, .conf = &conf, .policy = &policy, .resolve = &resolve};
    memset(&worker, 0, sizeof(worker));
    assert_int_equal(worker_init(&worker, &o), 0);
    task_init(&writer, &worker.loop, "writer", write_run);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    far = fds[1];
    assert_int_equal(conn_tcp_new(&worker.loop, fds[0], false, &conn), 0);
    addr_v4(&a, (const uint8_t[4]){127, 0, 0, 1}, 4711);
    worker_take(&worker, conn, &a, 1, LISTEN_PROXY);
    session = LIST_ENTRY(worker.sessions.next, struct session, link);
    turn(false);
    turn(true);
    assert_int_equal(worker.sweep.found, 0);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    worker_drain(&worker, 0);
    for (int i = 0; i < 4; i++)
        turn(false);
    worker_done(&worker);
    close(far);
    log_set_sink(keep_log);
    return 0;
}

/* The kernel has nothing to say on this descriptor any more. */
static void lose_edges(void)
{
    assert_int_equal(epoll_ctl(worker.loop.epfd, EPOLL_CTL_DEL, conn_fd(conn, CONN_IN), NULL), 0);
}

static uint64_t lost(void)
{
    return stats_get(&worker.stats, COUNTER_LOST_WAKEUPS);
}

static void test_lost_edge(void **state)
{
    UNUSED(state);
    lose_edges();
    assert_int_equal(write(far, "GET ", 4), 4);
    turn(false);
    assert_int_equal(conn->rx_bytes, 0);
    turn(true);
    assert_int_equal(worker.sweep.found, 1);
    assert_int_equal(lost(), 0);
    assert_true(timer_armed(&worker.sweep.timer));
    turn(true);
    assert_int_equal(lost(), 1);
    assert_non_null(strstr(said, "worker 3: a wake-up was lost: a connection before its first byte from 127.0.0.1:4711 missed bytes"));
    turn(false);
    assert_int_equal(conn->rx_bytes, 4);
    assert_int_equal(session->n_xchgs, 1);
    /* It goes on waiting for the rest of the head, rightly. */
    turn(true);
    turn(true);
    assert_int_equal(worker.sweep.found, 1);
    assert_int_equal(lost(), 1);
    /* The same again is another one, of an exchange now. */
    assert_int_equal(write(far, "http", 4), 4);
    turn(true);
    turn(true);
    assert_int_equal(lost(), 2);
    assert_non_null(strstr(said, "exchange 211106232532993 from 127.0.0.1:4711, step head (head), missed bytes"));
    turn(false);
    assert_int_equal(conn->rx_bytes, 8);
}

static void test_lost_end(void **state)
{
    UNUSED(state);
    lose_edges();
    assert_int_equal(shutdown(far, SHUT_WR), 0);
    turn(true);
    turn(true);
    assert_int_equal(lost(), 1);
    turn(false);
    assert_true(list_empty(&worker.sessions));
}

/* It arrives behind the wait of the very turn that is swept: the event comes with the next turn. */
static void test_on_its_way(void **state)
{
    UNUSED(state);
    writer.bulk = true; /* behind everybody else */
    for (unsigned i = 1; i <= 3; i++) {
        task_wake(&writer, TASK_RX);
        turn(true);
        assert_int_equal(worker.sweep.found, i);
        assert_int_equal(conn->rx_bytes, 4 * (i - 1));
    }
    turn(true);
    turn(true);
    assert_int_equal(worker.sweep.found, 3);
    assert_int_equal(conn->rx_bytes, 12);
    assert_int_equal(lost(), 0);
    assert_string_equal(said, "");
}

/* A splice that finds nothing leaves the flag set, for nothing. */
static void test_flag_without_bytes(void **state)
{
    UNUSED(state);
    conn->ready |= CONN_RX;
    turn(true);
    turn(true);
    assert_int_equal(worker.sweep.found, 0);
}

/* A suspect that ends before the second look is forgotten, the cursor with it. */
static void test_suspect_ends(void **state)
{
    UNUSED(state);
    lose_edges();
    assert_int_equal(write(far, "GET ", 4), 4);
    turn(true);
    assert_int_equal(worker.sweep.n, 1);
    worker.sweep.next = session;
    session_cut(session);
    assert_null(worker.sweep.suspects[0].session);
    assert_null(worker.sweep.next);
    turn(true);
    assert_int_equal(lost(), 0);
    assert_int_equal(worker.sweep.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lost_edge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_on_its_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flag_without_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_suspect_ends, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
